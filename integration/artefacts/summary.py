"""`run_summary.md`: how the run stands or how it ended, with the numbers of /reports/run_summary."""

from __future__ import annotations

from typing import Any

from integration.artefacts.rows import RunRows
from integration.artefacts.text import block, code, iso, markdown, money, table
from runs.models import Phase, Tier
from runs.promotion import is_eligible
from runs.reports import run_figures
from strategy.limits import written


def is_promotable(rows: RunRows) -> bool:
    """Tell whether the result may be promoted (SPEC section 10)."""
    return is_eligible(rows.run, rows.tiers)[0]


def run_summary(rows: RunRows) -> bytes:
    """Return the document. Pure."""
    figures = run_figures(
        rows.run, rows.tiers, rows.phases, distinct_issues=len(rows.issue_index["issues_by_key"])
    )
    return markdown(
        f"# Run {code(rows.run.run_id)}",
        _facts(rows),
        _failure(rows),
        "## Budgets",
        _budgets(rows, figures),
        "## Tiers",
        table(
            ("#", "Tier", "Name", "State", "Cleanliness", "Phases", "Minor", "Major", "Tokens", "Gate runs"),
            [_tier(tier, row) for tier, row in zip(rows.tiers, figures["tiers"], strict=True)],
        ),
        "## Phases",
        table(
            ("#", "Phase", "Name", "State", "Category", "Complexity", "Builds", "Audits", "Tokens", "Minor",
             "Major", "Commit"),
            [_phase(phase, row) for phase, row in zip(rows.phases, figures["phases"], strict=True)],
        ),
        _failed_phases(rows),
    )  # fmt: skip


def _facts(rows: RunRows) -> str:
    run = rows.run
    return table(
        ("Fact", "Value"),
        [
            ("State", code(run.state)),
            ("Project", code(rows.project_id)),
            ("Safety profile", code(run.safety_profile)),
            ("Run scope", code(run.run_scope)),
            ("Branch", code(run.branch)),
            ("Base commit", code(run.base_commit)),
            ("Head commit", code(run.head_commit)),
            ("Strategy SHA-256", code(rows.strategy_sha256)),
            ("Follows run", code(run.previous_id)),
            ("Debt status", code(run.debt_status)),
            ("Promotion eligible", "yes" if is_promotable(rows) else "no"),
            *_waived(rows),
            ("Created", code(iso(run.created_at))),
            ("Created by", code(run.created_by)),
            ("Started", code(iso(run.started_at))),
            ("Completed", code(iso(run.completed_at))),
        ],
    )


def _waived(rows: RunRows) -> list[tuple[str, str]]:
    """Return a row where patches were tested by nothing."""
    count = len({gate.phase_id for gate in rows.gates if gate.verdict == "waived"})
    return [("Gate without steps", f"{count} phases landed untested")] if count else []


def _failure(rows: RunRows) -> str:
    run = rows.run
    if not run.failure_code and not run.failure_reason:
        return ""
    return f"## Why it ended\n\nCode {code(run.failure_code)}.\n\n{block(run.failure_reason or '')}"


def _budgets(rows: RunRows, figures: dict[str, Any]) -> str:
    run, budgets, issues = rows.run, figures["budgets"], figures["issues"]
    unknown = sum(
        attempt.usage_source == "unknown" and attempt.ended_at is not None for attempt in rows.attempts
    )
    return table(
        ("Budget", "Used", "Cap"),
        [
            ("Tokens", budgets["tokens_used"], written(budgets["token_cap"])),
            ("Tokens of auditors", run.audit_tokens_used, code(run.audit_token_cap)),
            ("Dollars, as far as known", money(run.cost_micro_usd), money(run.cost_cap_micro_usd)),
            ("Tokens held by work in progress", run.tokens_reserved, "-"),
            ("Ended attempts whose usage is unknown", unknown, "-"),
            ("Phases", budgets["phase_count"], budgets["max_phases"]),
            ("Minutes", _minutes(rows), run.max_duration_minutes),
            ("Gate runs", run.ci_runs_used, "by tier"),
            ("Minor issues (distinct keys)", issues["minor_count"], issues["max_minor_total"]),
            ("Major issues (distinct keys)", issues["major_count"], "by tier"),
            ("Distinct issues", issues["distinct_issues"], "-"),
        ],
    )


def _minutes(rows: RunRows) -> str:
    """Return the run's length, once it has one: a run at work has none that stays true."""
    run = rows.run
    if run.started_at is None or run.completed_at is None:
        return "-"
    return f"{(run.completed_at - run.started_at).total_seconds() / 60:.1f}"


def _tier(tier: Tier, row: dict[str, Any]) -> tuple[object, ...]:
    return (
        tier.tier_index,
        code(row["tier_id"]),
        code(row["name"]),
        code(row["state"]),
        code(tier.cleanliness),
        row["phase_count"],
        row["minor_issues"],
        row["major_issues"],
        row["tokens_used"],
        f"{tier.ci_runs_used} of {tier.ci_run_cap}",
    )


def _phase(phase: Phase, row: dict[str, Any]) -> tuple[object, ...]:
    return (
        row["phase_index"],
        code(row["phase_id"]),
        code(row["name"]),
        code(row["state"]),
        code(row["task_category"]),
        code(row["complexity"]),
        row["builder_attempts"],
        row["auditor_attempts"],
        row["tokens_used"],
        row["minor_issues"],
        row["major_issues"],
        code(phase.commit_sha[:12]),
    )


def _failed_phases(rows: RunRows) -> str:
    lines = [
        f"- {code(phase.phase_id)} {code(phase.state)}: {code(phase.failure_code)}, {code(phase.failure_reason)}"
        for phase in rows.phases
        if phase.failure_code
    ]
    return "## Phases that did not complete\n\n" + "\n".join(lines) if lines else ""
