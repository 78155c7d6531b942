"""Where each value of a frozen strategy came from, in words. Pure.

Nothing is guessed. The strategy's `origins` were recorded while it was compiled; a value of a phase that has none
there is its category's, whose origin is read from the ruleset by the code that read the value. A strategy compiled
before origins were recorded says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strategy.limits import OPTIONAL, OPTIONAL_OF_RUN
from strategy.phase_rows import (
    CLASSIFIED,
    DEBT_RISK,
    HIGH_RISK,
    MODE,
    NEEDS_AUDITOR,
    PLAN,
    RULES,
    RUN_CAP,
    RUN_COST_CAP,
)
from strategy.rules import DEFAULTS, HARDENED, Rules, read_rules
from strategy.run_rows import ASKED, COUNT, PROFILE, SUMS

UNRECORDED = "not recorded: the strategy was compiled before origins were"


@dataclass(frozen=True)
class Explained:
    """One value with the rule behind it; `name` is its key in the strategy document."""

    name: str
    value: Any
    rule: str

    @property
    def text(self) -> str:
        """Return the value as people read it."""
        return _text(self.value)


_RUN_KEYS = (
    "safety_profile", "run_scope", "run_token_cap", "run_max_phases", "run_max_duration_minutes", "on_phase_failure",
    "run_max_minor_issues_total", "minor_issue_aging_runs_threshold", "minor_issue_aging_tiers_threshold",
    "protected_paths", "severity_upgrades", *OPTIONAL_OF_RUN, "prices",
    "debt_aged_issue_limit", "debt_max_phases",
)  # fmt: skip
_RULESET_KEYS = {"safety_profile": "default_safety_profile", "run_scope": "default_run_scope"}
_PHASE_KEYS = (
    "complexity", "ci_profile", "max_builder_attempts", "max_auditor_attempts", "incident_token_cap", "auto_apply",
    "auditor_profile", "ci_max_retries", "default_severity", "least_severity",
    "on_phase_failure", *OPTIONAL, "allowed",
)  # fmt: skip


def explain_run(document: Mapping[str, Any], ruleset: Mapping[str, Any]) -> list[Explained]:
    """Return the run's own values."""
    told = _Teller(document, ruleset)
    return [Explained(key, document[key], told.of_run(key)) for key in _RUN_KEYS if key in document]


def explain_tier(tier_id: str, document: Mapping[str, Any], phase_ids: list[str]) -> list[Explained]:
    """Return a tier's caps; `phase_ids` are its phases."""
    row = document["tier_strategies"][tier_id]
    critical = document["safety_profile"] == "safety_critical"
    count = f"{len(phase_ids)} phase" + ("" if len(phase_ids) == 1 else "s")
    said = {
        **{
            name: f"the sum of tier_token_cap_multiplier x {cap} over {count}"
            for name, (cap, _) in SUMS.items()
            if name in row
        },
        "ci_run_cap": f"the sum of tier_ci_run_cap_multiplier over {count}",
        "max_minor_issues_tolerated": f"the sum of tier_max_minor_issues_multiplier over {count}",
        "max_major_issues_tolerated": "the least tier_max_major_issues_tolerated of its phases",
    }
    if critical:
        said["max_minor_issues_tolerated"] += ", bounded for each by safety_critical"
        said["max_major_issues_tolerated"] = "safety_critical tolerates none"
    origins = document.get("origins", {}).get("tiers", {}).get(tier_id, {})
    return [
        Explained(key, row[key], text + (f", lowered by {origins[key]}" if key in origins else ""))
        for key, text in said.items()
    ]


def explain_phase(phase_id: str, document: Mapping[str, Any], ruleset: Mapping[str, Any]) -> list[Explained]:
    """Return a phase's values; then what its patch's size would change, a row a size, and what it cleans up."""
    told = _Teller(document, ruleset)
    phase = document["phase_strategies"][phase_id]
    keys = ("task_category", "builder_mode", *(key for key in _PHASE_KEYS if key in phase))
    found = [Explained(key, phase[key], told.of_phase(phase_id, key)) for key in keys]
    for key, text in (
        ("max_attempt_tokens", "incident_token_cap, shared by the attempts that are allowed before any rule"),
        ("audit_after_failures", "one less than max_builder_attempts, 1 at least"),
        ("max_attempt_cost_usd", "incident_cost_cap_usd, shared as max_attempt_tokens is"),
    ):
        if key not in phase:
            continue
        found.append(Explained(key, phase[key], told.recorded("phases", phase_id, key) or text))
    found += [
        Explained("requires_audit", phase["requires_audit"], "the opposite of auto_apply"),
        Explained("high_risk", phase["high_risk"], told.of_risk(phase)),
    ]
    for row in phase.get("by_diff_size", ()):
        value = {key: row[key] for key in ("ci_profile", "requires_audit", "auditor_profile")}
        rule = f"{told.title}: {RULES}{', '.join(row['rules'])}"
        found.append(Explained(f"from {row['diff_lines']} changed lines", value, rule))
    for row in phase.get("cleans_up", ()):
        ages = {key: row[key] for key in ("age_in_runs", "age_in_tiers")}
        found.append(Explained(f"cleans up {row['issue_key']}", ages, "; ".join(row["because"])))
    return found


def _text(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(item)}" for name, item in sorted(value.items()))
    return str(value)


class _Teller:
    """Turns recorded origins into words."""

    def __init__(self, document: Mapping[str, Any], ruleset: Mapping[str, Any]) -> None:
        self.document = document
        self.ruleset = ruleset
        self.rules: Rules = read_rules(ruleset)
        self.title = f"ruleset version {document['ruleset_version']}"
        self.published = f"the published default of {self.rules.published.name}"
        self.has_origins = "origins" in document

    def recorded(self, part: str, phase_id: str, key: str) -> str | None:
        """Return what was recorded of a value of a phase, rules by their ruleset."""
        origin = self.document.get("origins", {}).get(part, {}).get(phase_id, {}).get(key)
        return None if origin is None else self._words(str(origin))

    def of_run(self, key: str) -> str:
        """Explain one of the run's values."""
        if not self.has_origins:
            return UNRECORDED
        profile = self.document["safety_profile"]
        origin = self.document["origins"]["run"].get(key)
        if origin == ASKED:
            return "asked for when the run was started"
        if origin == COUNT:
            each = self.rules.published.run_minor_issues_per_phase
            # not of all phases: those that a rule adds to clean up raise no cap
            return f"{each} for each of {self.document[key] // each} phases"
        if origin == PROFILE:
            own = self.ruleset.get("safety_profiles", {}).get(profile, {})
            if key == "on_phase_failure":
                return f"safety profile {profile}"
            if ("run_scope_preference" if key == "run_scope" else key) in own:
                return f"{self.title}: safety_profiles.{profile}"
            return f"{self.published} for safety profile {profile}"
        if origin is not None:
            return self._words(origin)
        name = _RULESET_KEYS.get(key, key)
        return f"{self.title}: {name}" if name in self.ruleset else self.published

    def of_phase(self, phase_id: str, key: str) -> str:
        """Explain one of a phase's values."""
        if not self.has_origins:
            return UNRECORDED
        phase = self.document["phase_strategies"][phase_id]
        name = "allow" if key == "allowed" else key
        origin = self.document["origins"]["phases"][phase_id].get(name)
        category = phase["task_category"]
        if origin == CLASSIFIED:
            return self._reason(phase, name)
        if origin is not None:
            return self._words(origin, category)
        if name in ("ci_max_retries", "allow") and name not in self.rules.row(category):
            return f"{self.title}: {name}" if name in self.ruleset else self.published
        if name in OPTIONAL and name not in self.rules.row(category):
            return "no rule sets a limit"
        return self._of_category(self.rules.origin(category, name), category)

    def of_risk(self, phase: Mapping[str, Any]) -> str:
        """Explain whether the phase is of high risk."""
        if phase["high_risk"] and phase["task_category"] not in self.rules.high_risk:
            return self._words(DEBT_RISK)
        return (
            f"{self.title}: high_risk_categories"
            if "high_risk_categories" in self.ruleset
            else self.published
        )

    def _reason(self, phase: Mapping[str, Any], name: str) -> str:
        wanted = {"task_category": ("category",), "builder_mode": ("mode", "no mode")}.get(name, (name,))
        for text in phase["because"]:
            if any(text.startswith((f"{word} ", f"{word}:")) for word in wanted):
                return str(text)
        return "the table of words and paths"

    def _of_category(self, origin: str, category: str) -> str:
        if origin == DEFAULTS:
            return f"{self.published} for category {category if category in self.rules.rows else '*'}"
        if origin == HARDENED:
            return f"hardened: {self.title} lists {category} as high risk"
        return f"{self.title}: {origin}"

    def _words(self, origin: str, category: str = "") -> str:
        if origin.startswith(RULES):
            return f"{self.title}: {origin}"
        if origin.startswith(MODE):
            return f"narrowed by builder {origin}"
        return {
            PLAN: "the plan",
            HIGH_RISK: f"category {category} is high risk",
            DEBT_RISK: "it cleans up debt of a high-risk category",
            NEEDS_AUDITOR: "what is not applied without an audit has an auditor",
            RUN_CAP: "no more than the run's token cap",
            RUN_COST_CAP: "no more than the run's money cap",
        }.get(origin, origin)
