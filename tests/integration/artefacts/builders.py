"""Rows for the artefacts' tests, straight into the tables, with fixed times: what is rendered is known."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from integration.models import GateRun
from issues.models import BacklogEntry, Issue, RunIndexEntry
from runs.models import Attempt, Phase, Run, Tier, Transition
from strategy.canonical import canonical_bytes, sha256_hex
from strategy.models import Project, Ruleset, Strategy

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SHA = "0123456789abcdef0123456789abcdef01234567"
LIMITS = {
    "max_builder_attempts": 3,
    "max_auditor_attempts": 2,
    "incident_token_cap": 500_000,
    "ci_profile": "normal",
    "auto_apply": True,
    "requires_audit": False,
}


def at(minutes: float) -> datetime:
    """A moment, minutes after the run's start."""
    return START + timedelta(minutes=minutes)


def make_project(project_id: str = "web", *, is_default: bool = True) -> Project:
    """A project with a ruleset in force."""
    project = Project.objects.create(
        project_id=project_id,
        name=project_id,
        source="file:///nowhere",
        default_branch="main",
        is_default=is_default,
        config={},
        config_hash="0" * 64,
    )
    project.ruleset = Ruleset.objects.create(
        project=project,
        version=1,
        document={"version": 1, "project_id": project_id},
        sha256="1" * 64,
        created_by="op",
    )
    project.save()
    return project


def make_run(run_id: str = "r1", *, project: Project | None = None, **fields: Any) -> Run:
    """A run in PHASE_QUEUEING without tiers."""
    project = project or Project.objects.filter(is_default=True).first() or make_project()
    assert project.ruleset is not None
    canonical = canonical_bytes({"run_id": run_id, "version": 1})
    strategy = Strategy.objects.create(
        run_id=run_id,
        project=project,
        ruleset=project.ruleset,
        document={"run_id": run_id, "version": 1},
        canonical=canonical.decode(),
        sha256=sha256_hex(canonical),
    )
    values: dict[str, Any] = {
        "state": "PHASE_QUEUEING",
        "safety_profile": "normal",
        "run_scope": "multi_tier",
        "token_cap": 5_000_000,
        "max_phases": 25,
        "max_duration_minutes": 120,
        "max_minor_issues_total": 6,
        "base_commit": SHA,
        "head_commit": SHA,
        "created_by": "op",
        "created_at": START,
        "started_at": START,
    }
    return Run.objects.create(run_id=run_id, project=project, strategy=strategy, **{**values, **fields})


def make_tier(run: Run, tier_id: str = "t1", **fields: Any) -> Tier:
    """A tier at work."""
    values: dict[str, Any] = {
        "tier_index": run.tiers.count() + 1,
        "name": "First tier",
        "state": "IN_PROGRESS",
        "token_cap": 1_500_000,
        "ci_run_cap": 4,
        "max_minor_issues": 4,
        "max_major_issues": 0,
        "started_at": START,
    }
    return Tier.objects.create(run=run, tier_id=tier_id, **{**values, **fields})


def make_phase(tier: Tier, phase_id: str = "p1", **fields: Any) -> Phase:
    """A queued phase."""
    values: dict[str, Any] = {
        "phase_index": tier.run.phases.count() + 1,
        "name": "Write the parser",
        "description": "Do it well.",
        "task_category": "docs",
        "complexity": "low",
        "builder_mode": "tweak_light",
        "scope": ["src/**"],
        "limits": LIMITS,
    }
    return Phase.objects.create(run=tier.run, tier=tier, phase_id=phase_id, **{**values, **fields})


def make_attempt(phase: Phase, number: int = 1, *, patch: bytes = b"", **fields: Any) -> Attempt:
    """A red build, unless fields say otherwise."""
    values: dict[str, Any] = {
        "kind": "build",
        "state": "RED",
        "agent": "builder-1",
        "patch_hash": hashlib.sha256(patch).hexdigest() if patch else "",
        "base_commit": SHA,
        "candidate_sha": SHA,
        "failure_code": "gate-red",
        "failure_reason": "2 tests failed",
        "usage_source": "reported",
        "tokens_used": 1000 * number,
        "created_at": at(number),
        "submitted_at": at(number + 0.25),
        "ended_at": at(number + 0.5),
    }
    return Attempt.objects.create(
        run=phase.run, phase=phase, number=number, patch=patch, **{**values, **fields}
    )


def make_gate(attempt: Attempt, number: int = 1, **fields: Any) -> GateRun:
    """A red gate."""
    values: dict[str, Any] = {
        "profile": "normal",
        "candidate_sha": SHA,
        "patch_hash": attempt.patch_hash,
        "base_commit": SHA,
        "strategy_sha256": "2" * 64,
        "state": "DONE",
        "verdict": "red",
        "reason": "2 tests failed",
        "deadline_at": at(60),
        "created_at": attempt.created_at + timedelta(seconds=1),
        "started_at": attempt.created_at + timedelta(seconds=2),
        "ended_at": attempt.created_at + timedelta(seconds=9),
    }
    return GateRun.objects.create(
        run_id=attempt.run_id, phase=attempt.phase, attempt=attempt, number=number, **{**values, **fields}
    )


def make_transition(run: Run, event: str, minute: float, **fields: Any) -> Transition:
    """An event of the run's history."""
    values: dict[str, Any] = {
        "machine": "run",
        "subject": run.run_id,
        "version": None,
        "from_state": "GATE",
        "to_state": "GATE",
        "who": "autopack",
        "at": at(minute),
    }
    return Transition.objects.create(run=run, event=event, **{**values, **fields})


def make_issue(phase: Phase, key: str = "flaky-clock", **fields: Any) -> Issue:
    """A minor issue of a phase, with its entries of run and project. Counters are the caller's."""
    common: dict[str, Any] = {"category": "tests", "effective_severity": "minor", "occurrence_count": 2}
    values: dict[str, Any] = {
        **common,
        "severity": "minor",
        "source": "ci",
        "first_seen_run": phase.run_id,
        "last_seen_run": phase.run_id,
        "first_seen_at": at(1),
        "last_seen_at": at(2),
        "evidence_refs": ["src/clock.py:12"],
    }
    RunIndexEntry.objects.create(
        run=phase.run,
        issue_key=key,
        severity="minor",
        first_phase_index=phase.phase_index,
        last_phase_index=phase.phase_index,
        seen_in_tiers=[phase.tier.tier_id],
        seen_in_phases=[phase.phase_id],
        **common,
    )
    BacklogEntry.objects.create(
        project=phase.run.project,
        issue_key=key,
        base_severity="minor",
        status="open",
        runs_offset=1,
        first_seen_run_id=phase.run_id,
        last_seen_run_id=phase.run_id,
        first_seen_at=at(1),
        last_seen_at=at(2),
        opened_at=at(1),
        seen_in_tiers=[phase.tier.tier_id],
        **common,
    )
    return Issue.objects.create(phase=phase, issue_key=key, **{**values, **fields})


def failed_run(run_id: str = "r1", **fields: Any) -> Run:
    """A run that ended on red gates: one complete phase, one failed after two builds and an audit, one skipped."""
    values: dict[str, Any] = {
        "state": "DONE_FAILED_GATE",
        "failure_code": "gate-red",
        "failure_reason": "Phase p2: 2 tests failed",
        "completed_at": at(10),
        "tokens_used": 13_000,
        "ci_runs_used": 3,
        "minor_issues_count": 1,
    }
    run = make_run(run_id, **{**values, **fields})
    tier = make_tier(
        run, state="FAILED", cleanliness="not_clean", tokens_used=13_000, ci_runs_used=3, completed_at=at(10)
    )
    make_phase(tier, "p1", state="COMPLETE", commit_sha=SHA, tokens_used=10_000, completed_at=at(1))
    phase = make_phase(
        tier,
        "p2",
        state="FAILED",
        failure_cause="gate",
        failure_code="gate-red",
        failure_reason="2 tests failed",
        builder_attempts=2,
        auditor_attempts=1,
        tokens_used=3_000,
        minor_issues_count=1,
        completed_at=at(9),
    )
    make_phase(tier, "p3", state="SKIPPED", failure_code="dependency-failed", completed_at=at(9))
    make_issue(phase)
    for number in (1, 2):
        build = make_attempt(phase, number, patch=b"diff --git a/src/x b/src/x\n+line %d\n" % number)
        make_gate(build)
    make_attempt(
        phase,
        kind="audit",
        state="DECIDED",
        verdict="revise",
        notes="Mind the empty list.",
        target=build,
        purpose="failure",
        profile="general_review",
        failure_code="",
        failure_reason="",
        patch_hash=build.patch_hash,
        created_at=at(4),
        ended_at=at(5),
        tokens_used=None,
        usage_source="unknown",
    )
    make_transition(run, "prepared", 0, version=1, to_state="PHASE_QUEUEING", from_state="RUN_CREATED")
    make_transition(run, "gate_red", 2, machine="phase", subject="p2", why="2 tests failed")
    make_transition(
        run, "gate_failed", 10, version=2, to_state="DONE_FAILED_GATE", from_state="PHASE_QUEUEING"
    )
    return run
