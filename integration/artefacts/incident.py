"""The incident pack of a failed run: what failed, the last attempts, gate tail, budgets, strategy, timeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autopack_site.kernel.visible import visible
from integration.artefacts import names
from integration.artefacts.advice import NEXT_STEPS
from integration.artefacts.names import Place
from integration.artefacts.rows import RunRows
from integration.artefacts.text import block, code, iso, json_bytes, json_line, markdown, table
from integration.redaction import redact, redact_bytes
from runs.models import Attempt, Phase, Run, Tier, Transition
from strategy.limits import cap_of, dollars, micro_usd

MAX_TEXT_CHARS = 4_000
MAX_PATCH_BYTES = 1024 * 1024
MAX_TAIL_BYTES = 64 * 1024


def incident_files(rows: RunRows, gate_tail: bytes) -> dict[Place, bytes]:
    """Return every file of `incident/` for a failed run. Pure.

    `gate_tail` is the end of the last gate run's log, as it was stored.
    """
    phases = {phase.pk: phase for phase in rows.phases}
    patches = {
        attempt.pk: _patch_place(phases[attempt.phase_id], attempt)
        for attempt in rows.last_attempts
        if attempt.pk in rows.patches
    }
    files = {
        "incident.md": _report(rows, patches),
        "incident.json": json_bytes(_incident(rows, patches)),
        "attempts.json": json_bytes(_attempts(rows, phases, patches)),
        "gate_tail.txt": _tail(gate_tail),
        "budgets.json": json_bytes(_budgets(rows)),
        "strategy.json": rows.strategy_text.encode("utf-8"),
        "timeline.jsonl": b"".join(json_line(_event(event)) for event in rows.timeline),
    }
    pack: dict[Place, bytes] = {(names.INCIDENT, name): data for name, data in files.items()}
    for attempt_id, place in patches.items():
        pack[place] = _patch(rows.patches[attempt_id])
    return pack


def _report(rows: RunRows, patches: dict[str, Place]) -> bytes:
    run, first = rows.run, rows.first_failure
    return markdown(
        f"# Incident: run {code(run.run_id)}",
        table(
            ("Fact", "Value"),
            [
                ("State", code(run.state)),
                ("Code", code(run.failure_code)),
                ("First cause", code(first.failure_cause if first else None)),
                ("First failed phase", code(first.phase_id if first else None)),
                ("Project", code(rows.project_id)),
                ("Branch", code(run.branch)),
                ("Base commit", code(run.base_commit)),
                ("Head commit", code(run.head_commit)),
                ("Started", code(iso(run.started_at))),
                ("Completed", code(iso(run.completed_at))),
                ("Strategy SHA-256", code(rows.strategy_sha256)),
            ],
        ),
        f"## What failed\n\n{block(run.failure_reason or '')}",
        _first(first),
        "## What to do next\n\n" + "\n".join(f"- {step}" for step in _next_steps(rows, patches)),
        "## Last attempts",
        table(
            ("Phase", "Attempt", "State", "Code", "Reason", "Verdict", "Patch"),
            [_attempt_row(rows, attempt, patches) for attempt in rows.last_attempts],
        ),
        "## In this folder\n\n"
        "- `incident.json`: the facts above as data\n"
        "- `attempts.json`: the last attempts of every failed phase; `patches/`: what they handed in\n"
        "- `gate_tail.txt`: the end of the last gate's log\n"
        "- `budgets.json`: every cap and what was used of it\n"
        "- `strategy.json`: the strategy in force, byte for byte\n"
        "- `timeline.jsonl`: every event of the run, in order",
    )


def _next_steps(rows: RunRows, patches: Mapping[str, Place]) -> list[str]:
    """Return what to do, with the patch that it speaks of: the last of the first phase that failed."""
    first = rows.first_failure
    mine = [
        patches[attempt.pk]
        for attempt in rows.last_attempts
        if attempt.pk in patches and first is not None and attempt.phase_id == first.pk
    ]
    name = "/".join((mine or list(patches.values()))[-1][1:]) if patches else "the patch"
    return [step.replace("{patch}", name) for step in NEXT_STEPS[rows.run.state]]


def _first(phase: Phase | None) -> str:
    if phase is None:
        return ""
    return (
        f"## The first failure: phase {code(phase.phase_id)}\n\n"
        f"Code {code(phase.failure_code)}, at {code(iso(phase.completed_at))}.\n\n"
        f"{block(phase.failure_reason or '')}"
    )


def _attempt_row(rows: RunRows, attempt: Attempt, patches: dict[str, Place]) -> tuple[object, ...]:
    phase = next(phase for phase in rows.phases if phase.pk == attempt.phase_id)
    place = patches.get(attempt.pk)
    return (
        code(phase.phase_id),
        f"{attempt.kind} {attempt.number}",
        code(attempt.state),
        code(attempt.failure_code),
        code(attempt.failure_reason),
        code(attempt.verdict),
        code("/".join(place[1:]) if place else None),
    )


def _incident(rows: RunRows, patches: Mapping[str, Place]) -> dict[str, Any]:
    run, first = rows.run, rows.first_failure
    return {
        "run_id": run.run_id,
        "project_id": rows.project_id,
        "state": run.state,
        "failure_code": run.failure_code,
        "failure_reason": run.failure_reason,
        "first_cause": None
        if first is None
        else {
            "phase_id": first.phase_id,
            "cause": first.failure_cause,
            "code": first.failure_code,
            "reason": first.failure_reason,
            "at": iso(first.completed_at),
        },
        "failed_phases": [phase.phase_id for phase in rows.phases if phase.state == Phase.State.FAILED],
        "skipped_phases": [phase.phase_id for phase in rows.phases if phase.state == Phase.State.SKIPPED],
        "completed_phases": [phase.phase_id for phase in rows.phases if phase.state == Phase.State.COMPLETE],
        "branch": run.branch,
        "base_commit": run.base_commit,
        "head_commit": run.head_commit,
        "strategy_sha256": rows.strategy_sha256,
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at),
        "completed_at": iso(run.completed_at),
        "deadline_at": iso(run.deadline_at),
        "next_steps": _next_steps(rows, patches),
    }


def _attempts(rows: RunRows, phases: dict[int, Phase], patches: dict[str, Place]) -> list[dict[str, Any]]:
    gates: dict[str, list[dict[str, Any]]] = {}
    for gate in rows.gates:
        gates.setdefault(gate.attempt_id, []).append(
            {
                "number": gate.number,
                "profile": gate.profile,
                "state": gate.state,
                "verdict": gate.verdict,
                "reason": _cut(gate.reason),
                "candidate_sha": gate.candidate_sha,
                "started_at": iso(gate.started_at),
                "ended_at": iso(gate.ended_at),
            }
        )
    return [
        {
            "attempt_id": attempt.pk,
            "phase_id": phases[attempt.phase_id].phase_id,
            "kind": attempt.kind,
            "number": attempt.number,
            "state": attempt.state,
            "agent": attempt.agent,
            "failure_code": attempt.failure_code,
            "failure_reason": _cut(attempt.failure_reason),
            "is_policy_refusal": attempt.is_policy_refusal,
            "fingerprint": attempt.fingerprint,
            "purpose": attempt.purpose,
            "profile": attempt.profile,
            "verdict": attempt.verdict,
            "target": attempt.target_id,
            "notes": _cut(attempt.notes),
            "patch_sha256": attempt.patch_hash,
            "patch_file": "/".join(patches[attempt.pk][1:]) if attempt.pk in patches else None,
            "base_commit": attempt.base_commit,
            "candidate_sha": attempt.candidate_sha,
            "rebuilds": attempt.rebuilds,
            "infra_failures": attempt.infra_failures,
            "tokens_used": attempt.tokens_used,
            "usage_source": attempt.usage_source,
            "cost_usd": attempt.cost_usd,
            "priced_usd": attempt.priced_usd,
            "gates": gates.get(attempt.pk, []),
            "created_at": iso(attempt.created_at),
            "submitted_at": iso(attempt.submitted_at),
            "ended_at": iso(attempt.ended_at),
        }
        for attempt in rows.last_attempts
    ]


def _budgets(rows: RunRows) -> dict[str, Any]:
    run = rows.run
    spent_s = (
        (run.completed_at - run.started_at).total_seconds() if run.completed_at and run.started_at else None
    )
    return {
        "run": {
            **_spending(run, run, run.token_cap),
            "phases": _of(len(rows.phases), run.max_phases),
            "minutes": _of(None if spent_s is None else round(spent_s / 60, 3), run.max_duration_minutes),
            "minor_issues": _of(run.minor_issues_count, run.max_minor_issues_total),
            "major_issues": run.major_issues_count,
            "gate_runs": run.ci_runs_used,
        },
        "tiers": {
            tier.tier_id: {
                **_spending(tier, tier, tier.token_cap),
                "gate_runs": _of(tier.ci_runs_used, tier.ci_run_cap),
                "minor_issues": _of(tier.minor_issues_count, tier.max_minor_issues),
                "major_issues": _of(tier.major_issues_count, tier.max_major_issues),
                "cleanliness": tier.cleanliness,
            }
            for tier in rows.tiers
        },
        "phases": {phase.phase_id: _phase_budget(rows, phase) for phase in rows.phases},
    }


def _phase_budget(rows: RunRows, phase: Phase) -> dict[str, Any]:
    limits = phase.limits
    own = [attempt for attempt in rows.attempts if attempt.phase_id == phase.pk and attempt.ended_at]
    return {
        **_spending(
            phase,
            Caps(
                cap_of(limits.get("build_token_cap")),
                cap_of(limits.get("audit_token_cap")),
                micro_usd(limits.get("incident_cost_cap_usd")),
            ),
            cap_of(limits.get("incident_token_cap")),
        ),
        "builder_attempts": _of(phase.builder_attempts, limits.get("max_builder_attempts")),
        "auditor_attempts": _of(phase.auditor_attempts, limits.get("max_auditor_attempts")),
        "lost_attempts": phase.lost_attempts,
        "attempts_of_unknown_usage": sum(attempt.usage_source == "unknown" for attempt in own),
    }


@dataclass(frozen=True)
class Caps:
    """A phase's caps under the names that a run's and a tier's columns have; None is none."""

    build_token_cap: int | None
    audit_token_cap: int | None
    cost_cap_micro_usd: int | None


def _spending(row: Run | Tier | Phase, caps: Caps | Run | Tier, tokens: int | None) -> dict[str, Any]:
    """Return tokens as a whole and by envelope, and dollars; a cap of null is none."""
    used, held = row.audit_tokens_used, row.audit_tokens_reserved
    return {
        "tokens": _of(row.tokens_used, tokens, held=row.tokens_reserved),
        "build_tokens": _of(row.tokens_used - used, caps.build_token_cap, held=row.tokens_reserved - held),
        "audit_tokens": _of(used, caps.audit_token_cap, held=held),
        "cost_usd": {
            **_of(dollars(row.cost_micro_usd), dollars(caps.cost_cap_micro_usd)),
            "held": dollars(row.cost_reserved_micro_usd),
        },
    }


def _of(used: float | None, cap: object, *, held: int | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"used": used, "cap": cap}
    return row if held is None else {**row, "held": held}


def _event(event: Transition) -> dict[str, Any]:
    return {
        "id": event.pk,
        "at": iso(event.at),
        "machine": event.machine,
        "subject": event.subject,
        "version": event.version,
        "event": event.event,
        "from": event.from_state,
        "to": event.to_state,
        "who": event.who,
        "why": event.why,
        "data": event.data,
        "correlation_id": event.correlation_id,
    }


def _patch_place(phase: Phase, attempt: Attempt) -> Place:
    return names.patch_file(phase.phase_index, phase.phase_id, attempt.kind, attempt.number)


def _patch(patch: bytes) -> bytes:
    """Return a patch as it was handed in, but for credentials and what is beyond the bound: a diff is data."""
    shown = redact_bytes(patch)
    left_out = len(shown) - MAX_PATCH_BYTES
    if left_out > 0:
        shown = shown[:MAX_PATCH_BYTES] + f"\n[... {left_out} bytes left out ...]\n".encode()
    return shown


def _tail(log: bytes) -> bytes:
    """Return the log's end with control characters as escapes, from the start of a line where it was cut."""
    text = redact(log.decode("utf-8", "replace"))
    cut = text[-MAX_TAIL_BYTES:]
    if len(cut) < len(text):
        cut = cut[cut.find("\n") + 1 :]
    shown = visible(cut)
    return (shown if not shown or shown.endswith("\n") else shown + "\n").encode("utf-8")


def _cut(text: str) -> str:
    """Return at most MAX_TEXT_CHARS of text, redacted before the cut."""
    shown = redact(text)
    return shown if len(shown) <= MAX_TEXT_CHARS else shown[:MAX_TEXT_CHARS] + "…"
