"""The documents of a run's tiers and phases. Pure functions of the rows."""

from __future__ import annotations

from integration.artefacts.rows import RunRows
from integration.artefacts.text import block, code, iso, markdown, money, table
from integration.models import GateRun
from runs.models import Attempt, Phase, Tier
from strategy.limits import micro_usd, written


def tier_document(rows: RunRows, tier: Tier) -> bytes:
    """Return `tiers/tier_{idx:02}_{tier_id}.md`."""
    phases = rows.phases_of(tier)
    return markdown(
        f"# Tier {code(tier.tier_id)}",
        table(
            ("Fact", "Value"),
            [
                ("Run", code(tier.run_id)),
                ("Index", tier.tier_index),
                ("Name", code(tier.name)),
                ("State", code(tier.state)),
                ("Cleanliness", code(tier.cleanliness)),
                ("Started", code(iso(tier.started_at))),
                ("Completed", code(iso(tier.completed_at))),
            ],
        ),
        f"## Description\n\n{block(tier.description)}" if tier.description else "",
        "## Budgets",
        table(
            ("Budget", "Used", "Cap"),
            [
                ("Tokens", tier.tokens_used, written(tier.token_cap)),
                ("Tokens of auditors", tier.audit_tokens_used, code(tier.audit_token_cap)),
                ("Dollars, as far as known", money(tier.cost_micro_usd), money(tier.cost_cap_micro_usd)),
                ("Tokens held by work in progress", tier.tokens_reserved, "-"),
                ("Gate runs", tier.ci_runs_used, tier.ci_run_cap),
                ("Minor issues", tier.minor_issues_count, tier.max_minor_issues),
                ("Major issues", tier.major_issues_count, tier.max_major_issues),
            ],
        ),
        "## Phases",
        table(
            ("#", "Phase", "Name", "State", "Commit", "Tokens", "Minor", "Major"),
            [
                (
                    phase.phase_index,
                    code(phase.phase_id),
                    code(phase.name),
                    code(phase.state),
                    code(phase.commit_sha[:12]),
                    phase.tokens_used,
                    phase.minor_issues_count,
                    phase.major_issues_count,
                )
                for phase in phases
            ],
        ),
    )


def phase_document(rows: RunRows, phase: Phase) -> bytes:
    """Return `phases/phase_{idx:02}_{phase_id}.md`."""
    attempts = [attempt for attempt in rows.attempts if attempt.phase_id == phase.pk]
    gates = [gate for gate in rows.gates if gate.phase_id == phase.pk]
    names = {attempt.pk: f"{attempt.kind} {attempt.number}" for attempt in attempts}
    return markdown(
        f"# Phase {code(phase.phase_id)}",
        _facts(rows, phase),
        f"## Description\n\n{block(phase.description)}" if phase.description else "",
        _limits(phase),
        f"## Why it did not complete\n\nCode {code(phase.failure_code)}.\n\n{block(phase.failure_reason or '')}"
        if phase.failure_code
        else "",
        "## Attempts",
        table(
            ("Attempt", "State", "Agent", "Code", "Reason", "Verdict", "Tokens", "Patch", "Candidate",
             "Created", "Ended"),
            [_attempt(attempt) for attempt in attempts],
        ),
        "## Gates",
        table(
            ("Attempt", "Gate", "Profile", "State", "Verdict", "Reason", "Candidate", "Started", "Ended"),
            [_gate(gate, names.get(gate.attempt_id, "")) for gate in gates],
        ),
        *_notes(attempts),
    )  # fmt: skip


def _facts(rows: RunRows, phase: Phase) -> str:
    issues = rows.issue_files[phase.pk]
    depends_on = "the earlier phases of its tier" if phase.depends_on is None else _codes(phase.depends_on)
    return table(
        ("Fact", "Value"),
        [
            ("Run", code(phase.run_id)),
            ("Tier", code(phase.tier.tier_id)),
            ("Index", phase.phase_index),
            ("Name", code(phase.name)),
            ("State", code(phase.state)),
            ("Category", code(phase.task_category)),
            ("Complexity", code(phase.complexity)),
            ("Builder mode", code(phase.builder_mode)),
            ("Scope", _codes(phase.scope) if phase.scope else "the whole repository"),
            ("Depends on", depends_on),
            ("Commit", code(phase.commit_sha)),
            ("Issues", f"{code(issues['issue_state'])}: {phase.minor_issues_count} minor, "
                       f"{phase.major_issues_count} major"),
            ("Started", code(iso(phase.started_at))),
            ("Completed", code(iso(phase.completed_at))),
        ],
    )  # fmt: skip


def _limits(phase: Phase) -> str:
    limits = phase.limits
    return "## Budgets\n\n" + table(
        ("Budget", "Used", "Cap"),
        [
            ("Builds", phase.builder_attempts, code(limits.get("max_builder_attempts"))),
            ("Audits", phase.auditor_attempts, code(limits.get("max_auditor_attempts"))),
            ("Tokens", phase.tokens_used, code(limits.get("incident_token_cap"))),
            ("Tokens of auditors", phase.audit_tokens_used, code(limits.get("audit_token_cap"))),
            (
                "Dollars, as far as known",
                money(phase.cost_micro_usd),
                money(micro_usd(limits.get("incident_cost_cap_usd"))),
            ),
            ("Tokens held by work in progress", phase.tokens_reserved, "-"),
            ("Attempts lost with their worker", phase.lost_attempts, "-"),
            ("Gate profile", code(limits.get("ci_profile")), "-"),
        ],
    )


def _attempt(attempt: Attempt) -> tuple[object, ...]:
    tokens = attempt.tokens_used if attempt.tokens_used is not None else "unknown"
    return (
        f"{attempt.kind} {attempt.number}",
        code(attempt.state),
        code(attempt.agent),
        code(attempt.failure_code),
        code(attempt.failure_reason),
        code(attempt.verdict),
        tokens,
        code(attempt.patch_hash[:12]),
        code(attempt.candidate_sha[:12]),
        code(iso(attempt.created_at)),
        code(iso(attempt.ended_at)),
    )


def _gate(gate: GateRun, attempt: str) -> tuple[object, ...]:
    return (
        attempt,
        gate.number,
        code(gate.profile),
        code(gate.state),
        code(gate.verdict),
        code(gate.reason),
        code(gate.candidate_sha[:12]),
        code(iso(gate.started_at)),
        code(iso(gate.ended_at)),
    )


def _notes(attempts: list[Attempt]) -> list[str]:
    """Return what builders and auditors wrote to their results, one section each."""
    return [
        f"## Notes of {attempt.kind} {attempt.number}\n\n{block(attempt.notes)}"
        for attempt in attempts
        if attempt.notes
    ]


def _codes(values: list[str]) -> str:
    return ", ".join(code(value) for value in values) or "nothing"
