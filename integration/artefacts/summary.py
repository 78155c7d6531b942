"""`run_summary.md`: how the run stands or how it ended, with the numbers of /reports/run_summary."""

from __future__ import annotations

from integration.artefacts.rows import RunRows
from integration.artefacts.text import block, code, iso, markdown, table
from runs.lifecycle import RunState
from runs.models import Phase, Tier


def is_promotable(rows: RunRows) -> bool:
    """Tell whether the result may be promoted (SPEC section 10); the summary exists by being written."""
    run = rows.run
    return (
        run.state == RunState.DONE_SUCCESS
        and all(tier.cleanliness == "clean" for tier in rows.tiers)
        and run.minor_issues_count <= run.max_minor_issues_total
    )


def run_summary(rows: RunRows) -> bytes:
    """Return the document. Pure."""
    return markdown(
        f"# Run {code(rows.run.run_id)}",
        _facts(rows),
        _failure(rows),
        "## Budgets",
        _budgets(rows),
        "## Tiers",
        table(
            ("#", "Tier", "Name", "State", "Cleanliness", "Phases", "Minor", "Major", "Tokens", "Gate runs"),
            [_tier(rows, tier) for tier in rows.tiers],
        ),
        "## Phases",
        table(
            ("#", "Phase", "Name", "State", "Category", "Complexity", "Builds", "Audits", "Tokens", "Minor",
             "Major", "Commit"),
            [_phase(phase) for phase in rows.phases],
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
            ("Created", code(iso(run.created_at))),
            ("Created by", code(run.created_by)),
            ("Started", code(iso(run.started_at))),
            ("Completed", code(iso(run.completed_at))),
        ],
    )


def _failure(rows: RunRows) -> str:
    run = rows.run
    if not run.failure_code and not run.failure_reason:
        return ""
    return f"## Why it ended\n\nCode {code(run.failure_code)}.\n\n{block(run.failure_reason or '')}"


def _budgets(rows: RunRows) -> str:
    run = rows.run
    unknown = sum(
        attempt.usage_source == "unknown" and attempt.ended_at is not None for attempt in rows.attempts
    )
    return table(
        ("Budget", "Used", "Cap"),
        [
            ("Tokens", run.tokens_used, run.token_cap),
            ("Tokens held by work in progress", run.tokens_reserved, "-"),
            ("Ended attempts whose usage is unknown", unknown, "-"),
            ("Phases", len(rows.phases), run.max_phases),
            ("Minutes", _minutes(rows), run.max_duration_minutes),
            ("Gate runs", run.ci_runs_used, "by tier"),
            ("Minor issues (distinct keys)", run.minor_issues_count, run.max_minor_issues_total),
            ("Major issues (distinct keys)", run.major_issues_count, "by tier"),
            ("Distinct issues", len(rows.issue_index["issues_by_key"]), "-"),
        ],
    )


def _minutes(rows: RunRows) -> str:
    """Return the run's length, once it has one: a run at work has none that stays true."""
    run = rows.run
    if run.started_at is None or run.completed_at is None:
        return "-"
    return f"{(run.completed_at - run.started_at).total_seconds() / 60:.1f}"


def _tier(rows: RunRows, tier: Tier) -> tuple[object, ...]:
    return (
        tier.tier_index,
        code(tier.tier_id),
        code(tier.name),
        code(tier.state),
        code(tier.cleanliness),
        len(rows.phases_of(tier)),
        tier.minor_issues_count,
        tier.major_issues_count,
        tier.tokens_used,
        f"{tier.ci_runs_used} of {tier.ci_run_cap}",
    )


def _phase(phase: Phase) -> tuple[object, ...]:
    return (
        phase.phase_index,
        code(phase.phase_id),
        code(phase.name),
        code(phase.state),
        code(phase.task_category),
        code(phase.complexity),
        phase.builder_attempts,
        phase.auditor_attempts,
        phase.tokens_used,
        phase.minor_issues_count,
        phase.major_issues_count,
        code(phase.commit_sha[:12]),
    )


def _failed_phases(rows: RunRows) -> str:
    lines = [
        f"- {code(phase.phase_id)} {code(phase.state)}: {code(phase.failure_code)}, {code(phase.failure_reason)}"
        for phase in rows.phases
        if phase.failure_code
    ]
    return "## Phases that did not complete\n\n" + "\n".join(lines) if lines else ""
