"""Runs in the admin, by topic. History is read; what changes, changes through services."""

from runs.admin import access, history, plan, work

__all__ = ["access", "history", "plan", "work"]
