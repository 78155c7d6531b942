"""What a run's frozen strategy says about its issues: severities and aging thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from issues.aging import Thresholds, thresholds_of
from issues.severity import MAJOR, SeverityRules, severity_rules
from runs.models import Run
from strategy.models import Strategy
from strategy.rules import normal_name


@dataclass(frozen=True, slots=True)
class RunRules:
    """The part of a strategy that judges issues."""

    severity: SeverityRules
    thresholds: Thresholds
    major_phases: frozenset[str]

    def floor(self, phase_id: str, category: str) -> str:
        """Return the least that an issue of the category counts as where the phase sees it."""
        return MAJOR if phase_id in self.major_phases else self.severity.floor(category)


def rules_of(run: Run) -> RunRules:
    """Return the rules of a run, read once a process: one small query unless `run.strategy` is loaded.

    They are known by the strategy's hash and not by its key alone, which means another one after a restore.
    """
    if Run.strategy.is_cached(run):
        return _rules(run.strategy_id, run.strategy.sha256)
    return _rules(run.strategy_id, Strategy.objects.values_list("sha256", flat=True).get(pk=run.strategy_id))


@lru_cache(maxsize=256)
def _rules(strategy_pk: int, _sha256: str) -> RunRules:
    document, ruleset = Strategy.objects.values_list("document", "ruleset__document").get(pk=strategy_pk)
    category_map = {normal_name(name): value for name, value in ruleset.get("category_map", {}).items()}
    return RunRules(
        severity_rules(
            document.get("severity_upgrades", {}), document.get("category_strategies", {}), category_map
        ),
        thresholds_of(document),
        frozenset(
            phase_id
            for phase_id, row in document.get("phase_strategies", {}).items()
            if row.get("least_severity") == MAJOR
        ),
    )
