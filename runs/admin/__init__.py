"""Runs in the admin, by topic. History is read; what changes, changes through services."""

from runs.admin import agents, history, plan, tokens, trials, work

__all__ = ["agents", "history", "plan", "tokens", "trials", "work"]
