"""The demo: a real plan over a real library, in a state directory and beside services of its own."""
