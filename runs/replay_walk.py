"""One past run under a ruleset: followed attempt by attempt, up to where a cap would have stopped it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autopack_site.kernel.errors import AutopackError
from runs import caps
from runs.diff_size import held_at
from runs.replay_read import PastAttempt, PastRun
from strategy import debt
from strategy.backlog import BacklogSeen
from strategy.engine import decide
from strategy.errors import TooManyPhases
from strategy.limits import cap_of, micro_usd
from strategy.rules import Rules
from strategy.types import Plan

_strictness = ("normal", "strict").index
_BUILD, _AUDIT = "build", "audit"
_Name = tuple[str, str, caps.Unit, str]
_NAMES: dict[str, tuple[_Name, ...]] = {
    level: (
        (whole, f"{level}_token_cap" if level != "phase" else whole, "tokens", ""),
        (f"{own}build_token_cap", f"{prefix}build_token_cap", "tokens", _BUILD),
        (f"{own}audit_token_cap", f"{prefix}audit_token_cap", "tokens", _AUDIT),
        (money, f"{level}_cost_cap_usd" if level != "phase" else money, "micro_usd", ""),
    )
    for level, own, prefix, whole, money in (
        ("phase", "", "", "incident_token_cap", "incident_cost_cap_usd"),
        ("tier", "", "tier_", "token_cap", "cost_cap_usd"),
        ("run", "run_", "run_", "run_token_cap", "run_cost_cap_usd"),
    )
}
"""Of each level: a cap's key in the document, its name, its unit, and the envelope that it is about ("": both)."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A cap that would have been met: at a phase, at a tier, or somewhere in the run."""

    cap: str
    level: str
    place: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a ruleset would have made of a past run. Lists are of phase ids."""

    stops: list[Stop] = field(default_factory=list)
    tokens_kept: int = 0
    refused: dict[str, str] | None = None
    audits_added: list[str] = field(default_factory=list)
    audits_spared: list[str] = field(default_factory=list)
    gates_stricter: list[str] = field(default_factory=list)
    gates_laxer: list[str] = field(default_factory=list)
    over_attempt_tokens: list[str] = field(default_factory=list)
    patches_refused: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the row."""
        return asdict(self)


def replay_run(past: PastRun, rules: Rules) -> Outcome:
    """Return what the rules would have changed; a refused start keeps no token."""
    try:
        document, plan = _decided(past, rules)
    except AutopackError as error:
        return Outcome(refused={"code": error.code, "detail": error.detail})
    walk = _Walk(past, document, plan)
    walk.follow()
    stops = [*walk.stops, *(() if walk.is_stopped else _caps_of_the_whole(past, document))]
    rows = document["phase_strategies"]
    found = Outcome(stops, walk.tokens, over_attempt_tokens=walk.over, patches_refused=walk.too_large)
    for phase_id in walk.reached:
        row, was = rows[phase_id], past.phases[phase_id]
        risky_debt = was.is_high_risk and row["task_category"] == debt.CATEGORY
        needs_audit = risky_debt or held_at(row, walk.judged_by(phase_id))["requires_audit"]
        if needs_audit and phase_id not in walk.audited:
            found.audits_added.append(phase_id)
        elif not needs_audit and phase_id in walk.approved:
            found.audits_spared.append(phase_id)
        changes = {
            _strictness("strict" if risky_debt else held_at(row, lines)["ci_profile"])
            - _strictness(held_at(was.limits, lines)["ci_profile"])
            for lines in walk.sizes.get(phase_id, (0,))
        }
        if max(changes) > 0:
            found.gates_stricter.append(phase_id)
        elif min(changes) < 0:
            found.gates_laxer.append(phase_id)
    return found


def _decided(past: PastRun, rules: Rules) -> tuple[dict[str, Any], Plan]:
    """Decide about the plan; where it is too large, without the cleanup phases that were inserted into it."""
    seen = past.backlog or BacklogSeen()
    try:
        return decide(rules, (), past.plan, options=past.options, seen=seen)
    except TooManyPhases:
        kept = tuple(phase for phase in past.plan.phases if phase.tier_id != debt.TIER_ID)
        if len(kept) == len(past.plan.phases):
            raise
        tiers = tuple(tier for tier in past.plan.tiers if tier.tier_id != debt.TIER_ID)
        return decide(rules, (), Plan(tiers, kept), options=past.options, seen=seen)


class _Walk:
    """Follows the attempts in the order in which they began."""

    def __init__(self, past: PastRun, document: dict[str, Any], plan: Plan) -> None:
        self.past = past
        self.document = document
        self.rows: dict[str, dict[str, Any]] = document["phase_strategies"]
        self.tier_of = {phase.phase_id: phase.tier_id for phase in plan.phases}
        self.waiters: dict[str, list[str]] = {}
        for phase in plan.phases:
            for name in phase.depends_on or ():
                self.waiters.setdefault(name, []).append(phase.phase_id)
        self.stops: list[Stop] = []
        self.is_stopped = False
        self.tokens = 0
        self.reached: dict[str, None] = {}
        self.audited: set[str] = set()
        self.approved: set[str] = set()
        self.over: list[str] = []
        self.too_large: list[str] = []
        self.sizes: dict[str, list[int]] = {}
        self._merged: dict[str, int] = {}
        self._ended: set[str] = set()
        self._spent: Counter[tuple[str, str, str]] = Counter()
        self._counted: Counter[tuple[str, str]] = Counter()

    def follow(self) -> None:
        """Follow all attempts, or those up to where the run stops."""
        for attempt in self.past.attempts:
            if attempt.phase_id not in self.rows or attempt.phase_id in self._ended:
                continue
            stop = self._stop_before(attempt)
            if stop is None:
                self._take(attempt)
                stop = self._refusal(attempt)
            if stop is None:
                continue
            self.stops.append(stop)
            on_failure = self.rows[attempt.phase_id].get(
                "on_phase_failure", self.document["on_phase_failure"]
            )
            if stop.level == "run" or on_failure == "stop":
                self.is_stopped = True
                return
            self._end(attempt.phase_id)

    def judged_by(self, phase_id: str) -> int:
        """Return the size of the phase's patch that was merged, else of its last; 0 where none is known."""
        return self._merged.get(phase_id, self.sizes.get(phase_id, (0,))[-1])

    def _refusal(self, attempt: PastAttempt) -> Stop | None:
        """Note a patch that would have been too large, and return the stop where no builder would have come after.

        Of a patch that was refused or red the next attempt is what came next; of one that was merged it is not
        known, but for that there is none.
        """
        phase_id, lines = attempt.phase_id, attempt.diff_lines
        if lines is None:
            return None
        row = self.rows[phase_id]
        most = row["max_diff_lines"]
        if most is None or lines <= most:
            self.sizes.setdefault(phase_id, []).append(lines)
            if attempt.is_merged:
                self._merged[phase_id] = lines
            return None
        if phase_id not in self.too_large:
            self.too_large.append(phase_id)
        if attempt.kind == _BUILD and not attempt.is_counted:
            self._counted[_BUILD, phase_id] += 1  # a refused patch counts, what was merged did not
        if attempt.kind != _BUILD or self._counted[_BUILD, phase_id] < row["max_builder_attempts"]:
            return None
        text = f"a patch of {lines} lines, {most} are allowed, and no attempt is left"
        return Stop("max_diff_lines", "phase", f"phase {phase_id}", text)

    def _stop_before(self, attempt: PastAttempt) -> Stop | None:
        """Return the cap that keeps the attempt from starting (`caps.start_breach`)."""
        phase_id = attempt.phase_id
        row, tier_id = self.rows[phase_id], self.tier_of[phase_id]
        place = f"phase {phase_id}"
        for kind, cap in ((_BUILD, "max_builder_attempts"), (_AUDIT, "max_auditor_attempts")):
            if attempt.kind == kind and self._counted[kind, phase_id] >= row[cap]:
                return Stop(cap, "phase", place, f"{row[cap]} attempts are allowed")
        breach = caps.breach_of(list(self._accounts(phase_id, tier_id, _envelope(attempt))), row)
        if breach is None:
            return None
        level = "run" if breach.level == "run" and attempt.kind == _BUILD else "phase"
        return Stop(breach.limit, level, place, breach.detail)

    def _accounts(self, phase_id: str, tier_id: str, envelope: caps.Envelope) -> Iterator[caps.Account]:
        """Yield what the attempt draws on (`caps.accounts`): a replay holds nothing, as it knows no time."""
        document = self.document
        for level, subject, row, names in (
            ("phase", phase_id, self.rows[phase_id], _NAMES["phase"]),
            ("tier", tier_id, document["tier_strategies"][tier_id], _NAMES["tier"]),
            ("run", "", document, _NAMES["run"]),
        ):
            for key, name, unit, of in names:
                if of not in ("", envelope):
                    continue
                cap = micro_usd(row.get(key)) if unit == "micro_usd" else cap_of(row.get(key))
                if cap is not None:
                    used = self._spent[level, subject, of or unit]
                    yield caps.Account(name, level, unit, cap, used, 0)

    def _take(self, attempt: PastAttempt) -> None:
        phase_id, tokens = attempt.phase_id, attempt.tokens or 0
        self.reached[phase_id] = None
        self.tokens += tokens
        for place in (("phase", phase_id), ("tier", self.tier_of[phase_id]), ("run", "")):
            self._spent[(*place, "tokens")] += tokens
            self._spent[(*place, _envelope(attempt))] += tokens
            self._spent[(*place, "micro_usd")] += attempt.micro_usd or 0
        if attempt.is_counted:
            self._counted[attempt.kind, phase_id] += 1
        share = cap_of(self.rows[phase_id]["max_attempt_tokens"])
        if share is not None and tokens > share and phase_id not in self.over:
            self.over.append(phase_id)
        if attempt.kind == _AUDIT and attempt.is_counted:
            self.audited.add(phase_id)
            if attempt.purpose == "approval":
                self.approved.add(phase_id)

    def _end(self, phase_id: str) -> None:
        """End a phase, and with it those that depend on it."""
        todo = [phase_id]
        while todo:
            name = todo.pop()
            if name not in self._ended:
                self._ended.add(name)
                todo += self.waiters.get(name, [])


def _envelope(attempt: PastAttempt) -> caps.Envelope:
    return "build" if attempt.kind == _BUILD else "audit"


def _caps_of_the_whole(past: PastRun, document: Mapping[str, Any]) -> Iterator[Stop]:
    """Yield the caps that what is known of a tier or run as a whole passes; where exactly is not known."""
    # what makes a tier not clean ends a run that goes one tier at a time; major issues end a critical one at once
    stops_dirty = document["run_scope"] == "single_tier"
    is_critical = document["safety_profile"] == "safety_critical"
    for tier_id, row in document["tier_strategies"].items():
        was = past.tiers[tier_id]
        place = f"tier {tier_id}"
        if was.gate_runs > row["ci_run_cap"]:
            text = f"{was.gate_runs} gate runs, {row['ci_run_cap']} are allowed"
            yield Stop("tier_ci_run_cap", "tier", place, text)
        if (is_critical or stops_dirty) and was.major_issues > row["max_major_issues_tolerated"]:
            text = f"{was.major_issues} major issues, {row['max_major_issues_tolerated']} are tolerated"
            yield Stop("tier_max_major_issues_tolerated", "tier", place, text)
        elif stops_dirty and was.minor_issues > row["max_minor_issues_tolerated"]:
            text = f"{was.minor_issues} minor issues, {row['max_minor_issues_tolerated']} are tolerated"
            yield Stop("tier_max_minor_issues_tolerated", "tier", place, text)
    most = document["run_max_minor_issues_total"]
    if past.minor_issues > most:
        text = f"{past.minor_issues} minor issues, {most} are allowed"
        yield Stop("run_max_minor_issues_total", "run", "the run", text)
    minutes = document["run_max_duration_minutes"]
    if past.minutes is not None and past.minutes > minutes:
        text = f"{past.minutes:.0f} minutes, {minutes} are allowed"
        yield Stop("run_max_duration_minutes", "run", "the run", text)
