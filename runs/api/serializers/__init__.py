"""What the routes take in (`*In`) and give out (`*Out`). Input and output are never one class."""
