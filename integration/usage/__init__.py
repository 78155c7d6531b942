"""What coding agents write about their own usage, a format a module. Facts only; unknown stays unknown."""

from integration.usage.stream import Stream, read_all

__all__ = ["Stream", "read_all"]
