"""Issues and backlogs in the admin. History changes by reports, runs and sweeps, and by what people decide."""

from issues.admin import backlog, seen

__all__ = ["backlog", "seen"]
