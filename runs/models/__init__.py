"""The tables of a run's life. `lifecycle.py` says which moves are legal; constraints hold the rest."""

from runs.models.agents import Agent, ApiToken
from runs.models.answers import KeptAnswer
from runs.models.history import Outbox, TokenEntry, Transition
from runs.models.meters import Meter
from runs.models.plan import Phase, Run, Tier
from runs.models.work import Attempt, Lease

__all__ = [
    "Agent",
    "ApiToken",
    "Attempt",
    "KeptAnswer",
    "Lease",
    "Meter",
    "Outbox",
    "Phase",
    "Run",
    "Tier",
    "TokenEntry",
    "Transition",
]
