"""Autopack's hot paths against the least that could do the same: `make bench`, or `python -m benchmarks NAME`."""
