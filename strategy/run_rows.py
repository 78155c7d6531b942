"""The strategy's values of the run and of its tiers, with the origin of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from autopack_site.kernel.errors import Invalid, problem
from strategy import defaults
from strategy.conditions import Rule
from strategy.limits import cap_of, exact, micro_usd, usd, written
from strategy.phase_rows import RULES, PhaseDraft, authors, draft, tier_share
from strategy.rules import Rules
from strategy.strictness import RUN_ORDERS
from strategy.types import Plan, RunOptions

ASKED = "asked"
PROFILE = "profile"
COUNT = "count"
_AGING = ("minor_issue_aging_runs_threshold", "minor_issue_aging_tiers_threshold")

_DEBT = ("debt_aged_issue_limit", "debt_max_phases")


@dataclass
class RunDraft:
    """The run's values, and the origin of those that are not simply the ruleset's."""

    values: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)

    def limit(self, name: str, most: int) -> None:
        """Set a cap that the number of phases gives, unless a rule has set a smaller one."""
        if name not in self.values or self.values[name] > most:
            self.values[name] = most
            self.origins[name] = COUNT


def run_values(rules: Rules, options: RunOptions) -> RunDraft:
    """Return the run's values before any rule: what was asked for, else the ruleset's. Raises Invalid."""
    problems: list[dict[str, Any]] = []
    profile_name = options.safety_profile or rules.default_safety_profile
    if profile_name not in rules.safety_profiles:
        known = ", ".join(sorted(rules.safety_profiles))
        text = f"Safety profile must be one of {known}"
        problems.append(problem("value_error", ["body", "run", "safety_profile"], text))
        profile_name = defaults.SAFETY_PROFILES[0]
    profile = rules.safety_profiles[profile_name]
    scope = options.run_scope or profile.get("run_scope_preference") or rules.default_run_scope
    scope = defaults.RUN_SCOPE_ALIASES.get(scope, scope)
    if scope not in defaults.RUN_SCOPES:
        text = f"Run scope must be one of {', '.join(defaults.RUN_SCOPES)}"
        problems.append(problem("value_error", ["body", "run", "run_scope"], text))
    for name, value, least in (
        ("token_cap", options.token_cap, 0),
        ("max_phases", options.max_phases, 0),
        ("max_duration_minutes", options.max_duration_minutes, 0),
    ):
        if value is not None and value < least:
            problems.append(problem("value_error", ["body", "run", name], f"Must be at least {least}"))
    if problems:
        raise Invalid(problems)
    made = RunDraft(
        {
            "safety_profile": profile_name,
            "run_scope": scope,
            "run_token_cap": _first(options.token_cap, rules.run_token_cap),
            "run_max_phases": _first(options.max_phases, rules.run_max_phases),
            "run_max_duration_minutes": _first(options.max_duration_minutes, rules.run_max_duration_minutes),
            "on_phase_failure": "stop" if profile_name == "safety_critical" else "continue",
            **{name: profile[name] for name in _AGING},
            "protected_paths": list(rules.protected_paths),
            "severity_upgrades": rules.severity_upgrades,
            # absent where there is none, so that a strategy of before them has the same bytes still
            **{name: cap for name, cap in rules.optional_caps.items() if cap is not None},
            **({"prices": list(rules.prices)} if rules.prices else {}),
        }
    )
    for name, given in (
        ("safety_profile", options.safety_profile),
        ("run_scope", options.run_scope),
        ("run_token_cap", options.token_cap),
        ("run_max_phases", options.max_phases),
        ("run_max_duration_minutes", options.max_duration_minutes),
    ):
        if given is not None and given != "":
            made.origins[name] = ASKED
    for name in ("on_phase_failure", *_AGING):
        made.origins[name] = PROFILE
    if "run_scope" not in made.origins and profile.get("run_scope_preference"):
        made.origins["run_scope"] = PROFILE
    return made


def ruled_run_values(asked: RunDraft, plan: Plan, holding: Iterable[Rule], rules: Rules) -> RunDraft:
    """Return the run's values under the rules that hold and match one of the plan's own phases."""
    made = RunDraft(dict(asked.values), dict(asked.origins))
    # in a strategy these stand only where a rule has set them, so that one without such a rule has the same bytes
    unsaid = dict(zip(_DEBT, debt_limits(asked, rules), strict=True))
    setting = [rule for rule in holding if rule.run_values]
    facts = [draft(phase, rules).facts for phase in plan.phases] if setting else []
    setting = [rule for rule in setting if not rule.asks_of_phases or any(map(rule.matches, facts))]
    for name in sorted({name for rule in setting for name in rule.run_values}):
        said = [(rule.rule_id, rule.run_values[name]) for rule in setting if name in rule.run_values]
        order = RUN_ORDERS[name]
        if name == "severity_upgrades":
            before: Any = sorted(made.values[name])
        else:
            before = made.values.get(name, unsaid.get(name))
        outcome = before if before is not None else said[0][1]
        for _, wanted in said:
            outcome = order.join(outcome, wanted)
        if outcome == before:
            continue
        is_map = name == "severity_upgrades"
        made.values[name] = {**made.values[name], **dict.fromkeys(outcome, "major")} if is_map else outcome
        start = before if before is not None else outcome
        made.origins[name] = RULES + ", ".join(authors(order, start, outcome, said))
    return made


def debt_limits(run: RunDraft, rules: Rules) -> tuple[int, int]:
    """Return how many aged issues a project may carry, and how many cleanup phases the run may get."""
    carried, most = (run.values.get(name) for name in _DEBT)
    return _first(carried, rules.debt_aged_limit), _first(most, rules.debt_max_phases)


SUMS: dict[str, tuple[str, Callable[[Any], int | None]]] = {
    "token_cap": ("incident_token_cap", cap_of),
    "build_token_cap": ("build_token_cap", cap_of),
    "audit_token_cap": ("audit_token_cap", cap_of),
    "cost_cap_usd": ("incident_cost_cap_usd", micro_usd),
}
"""A tier's caps that are its phases' caps, each times its phase's multiplier; one phase without makes it none."""


def tier_strategies(
    plan: Plan, drafts: Mapping[str, PhaseDraft], rules: Rules, safety_profile: str
) -> dict[str, dict[str, Any]]:
    """Return each tier's caps: sums over its phases, and the least major issues that one of them tolerates."""
    is_critical = safety_profile == "safety_critical"
    most_minor = Fraction(rules.published.safety_critical_minor_multiplier)
    tiers: dict[str, dict[str, Any]] = {}
    for tier in plan.tiers:
        runs = minor = Fraction(0)
        majors: list[int] = []
        spent: dict[str, Fraction | None] = dict.fromkeys(SUMS, Fraction(0))
        for phase in plan.phases:
            if phase.tier_id != tier.tier_id:
                continue
            made = drafts[phase.phase_id]
            share = tier_share(made)
            times = exact(share["tier_token_cap_multiplier"])
            for name, (cap, read) in SUMS.items():
                so_far, of_phase = spent[name], read(made.values[cap])
                spent[name] = None if so_far is None or of_phase is None else so_far + times * of_phase
            runs += exact(share["tier_ci_run_cap_multiplier"])
            issues = exact(share["tier_max_minor_issues_multiplier"])
            minor += min(issues, most_minor) if is_critical else issues
            majors.append(share["tier_max_major_issues_tolerated"])
        gate_runs = int(runs)
        tiers[tier.tier_id] = {
            "tier_id": tier.tier_id,
            "token_cap": written(_whole(spent.pop("token_cap"))),
            **{
                name: usd(int(total)) if name == "cost_cap_usd" else int(total)
                for name, total in spent.items()
                if total is not None and majors
            },
            "ci_run_cap": gate_runs,
            "gate_run_cap": gate_runs,
            "max_minor_issues_tolerated": int(minor),
            "max_major_issues_tolerated": 0 if is_critical else min(majors, default=0),
        }
    return tiers


_OF_TIER = {
    **{name: ("tier_token_cap_multiplier", cap) for name, (cap, _) in SUMS.items()},
    "ci_run_cap": ("tier_ci_run_cap_multiplier",),
    "max_minor_issues_tolerated": ("tier_max_minor_issues_multiplier",),
    "max_major_issues_tolerated": ("tier_max_major_issues_tolerated",),
}


def tier_origins(plan: Plan, drafts: Mapping[str, PhaseDraft]) -> dict[str, dict[str, str]]:
    """Return, for the caps of tiers that rules have changed by way of a phase, the rules."""
    found: dict[str, dict[str, str]] = {}
    for tier in plan.tiers:
        for cap, names in _OF_TIER.items():
            said = {
                made.origins[name].removeprefix(RULES)
                for phase in plan.phases
                if phase.tier_id == tier.tier_id
                for made in [drafts[phase.phase_id]]
                for name in names
                if made.origins.get(name, "").startswith(RULES)
            }
            if said:
                ids = sorted({rule_id for row in said for rule_id in row.split(", ")})
                found.setdefault(tier.tier_id, {})[cap] = RULES + ", ".join(ids)
    return found


def _whole(total: Fraction | None) -> int | None:
    return None if total is None else int(total)


def _first(wanted: int | None, otherwise: Any) -> Any:
    return otherwise if wanted is None else wanted
