"""The HTTP contract, held to a served instance from outside: nothing here knows the code behind it."""
