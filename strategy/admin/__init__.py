"""Projects, rulesets and strategies in the admin, and what every table of the admin stands on."""

from strategy.admin import projects, rulesets
from strategy.admin.base import CappedPaginator, ReadOnlyAdmin, foreign
from strategy.admin.decisions import DecidingAdmin, Decision, WhyForm

__all__ = [
    "CappedPaginator",
    "DecidingAdmin",
    "Decision",
    "ReadOnlyAdmin",
    "WhyForm",
    "foreign",
    "projects",
    "rulesets",
]
