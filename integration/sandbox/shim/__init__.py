"""The small process between Autopack and a command. Standard library only; see `main.py`."""
