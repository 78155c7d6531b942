"""A run's frozen strategy, value by value, with the rule behind each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runs.models import Run
from strategy.explain import Explained, explain_phase, explain_run, explain_tier
from strategy.models import Strategy


@dataclass(frozen=True)
class ExplainedStrategy:
    """The strategy's parts in plan order; the parts of a phase are (id, name, tier id, values)."""

    strategy: Strategy
    run: tuple[Explained, ...]
    tiers: tuple[tuple[str, str, tuple[Explained, ...]], ...]
    phases: tuple[tuple[str, str, str, tuple[Explained, ...]], ...]
    advice: tuple[dict[str, Any], ...]


def explained(run: Run) -> ExplainedStrategy:
    """Explain a run's strategy: three queries."""
    strategy = Strategy.objects.select_related("ruleset").defer("canonical").get(pk=run.strategy_id)
    document, ruleset = strategy.document, strategy.ruleset.document
    tiers = list(run.tiers.order_by("tier_index", "tier_id").values_list("pk", "tier_id", "name"))
    phases = list(
        run.phases.order_by("tier__tier_index", "phase_index", "phase_id").values_list(
            "phase_id", "name", "tier_id"
        )
    )
    names = {pk: tier_id for pk, tier_id, _ in tiers}
    return ExplainedStrategy(
        strategy=strategy,
        run=tuple(explain_run(document, ruleset)),
        tiers=tuple(
            (tier_id, name, tuple(explain_tier(tier_id, document, [p for p, _, of in phases if of == pk])))
            for pk, tier_id, name in tiers
        ),
        phases=tuple(
            (phase_id, name, names[tier_pk], tuple(explain_phase(phase_id, document, ruleset)))
            for phase_id, name, tier_pk in phases
        ),
        advice=tuple(document.get("advice", ())),
    )
