"""Rows for tests, written directly: projects with their default ruleset, runs with compiled strategies.

Nothing of the engine is asked: a test sets the state it needs. Every argument beyond the named ones is a
field of the row.
"""

from __future__ import annotations

import itertools
from typing import Any

from autopack_site.kernel import clock
from runs.models import Attempt, Phase, Run, Tier
from runs.proofs import TOUCHED_PATHS
from runs.transitions import note
from strategy.canonical import canonical_bytes, sha256_hex
from strategy.defaults import default_ruleset
from strategy.engine import compile_strategy
from strategy.models import Project, Ruleset, Strategy
from strategy.types import PhaseSpec, Plan, RunOptions, TierSpec

_numbers = itertools.count(1)
LIVE = "PHASE_QUEUEING"


def make_project(
    project_id: str | None = None, *, ruleset: dict[str, Any] | None = None, **fields: Any
) -> Project:
    """Write a project and version 1 of its ruleset; `ruleset` replaces parts of the default one."""
    project_id = project_id or f"project-{next(_numbers)}"
    values = {
        "name": project_id,
        "source": f"/srv/git/{project_id}.git",
        "default_branch": "main",
        "config": {},
        "config_hash": sha256_hex(canonical_bytes({})),
        **fields,
    }
    project = Project.objects.create(project_id=project_id, **values)
    make_ruleset(project, **(ruleset or {}))
    return project


def make_ruleset(project: Project, **parts: Any) -> Ruleset:
    """Write a project's next ruleset, the default one with parts replaced, and put it in force."""
    version = project.rulesets.count() + 1
    document = {**default_ruleset(project.project_id), "version": version, **parts}
    ruleset = Ruleset.objects.create(
        project=project,
        version=version,
        document=document,
        sha256=sha256_hex(canonical_bytes(document)),
        created_by="tests",
    )
    project.ruleset = ruleset
    project.save(update_fields=["ruleset"])
    return ruleset


def make_run(
    project: Project | None = None,
    *,
    run_id: str | None = None,
    tiers: int = 1,
    phases_per_tier: int = 2,
    scope: tuple[str, ...] = (),
    task_category: str | None = None,
    safety_profile: str | None = None,
    **fields: Any,
) -> Run:
    """Write a run in PHASE_QUEUEING with tiers T1, T2, ... and phases P1, P2, ... numbered through the run.

    Its strategy is compiled from the project's ruleset. Every phase has the scope and category given.
    """
    project = project or make_project()
    ruleset = project.ruleset or make_ruleset(project)
    run_id = run_id or f"run-{next(_numbers)}"
    names = [f"T{number}" for number in range(1, tiers + 1)]
    plan = Plan(
        tuple(TierSpec(name, index, f"Tier {name}") for index, name in enumerate(names)),
        tuple(
            PhaseSpec(f"P{index + 1}", names[index // phases_per_tier], index, f"Phase {index + 1}",
                      task_category=task_category, scope=scope)
            for index in range(tiers * phases_per_tier)
        ),
    )  # fmt: skip
    document = _compile(project, run_id, plan, RunOptions(safety_profile=safety_profile, max_phases=1000))
    strategy = Strategy.objects.create(
        run_id=run_id,
        project=project,
        ruleset=ruleset,
        document=document,
        canonical=canonical_bytes(document).decode(),
        sha256=sha256_hex(canonical_bytes(document)),
        backlog_seen=[],
    )
    now = clock.now()
    values = {
        "state": LIVE,
        "safety_profile": document["safety_profile"],
        "run_scope": document["run_scope"],
        "token_cap": document["run_token_cap"],
        "max_phases": document["run_max_phases"],
        "max_duration_minutes": document["run_max_duration_minutes"],
        "max_minor_issues_total": document["run_max_minor_issues_total"],
        "created_by": "tests",
        "created_at": now,
        "started_at": now,
        **fields,
    }
    run = Run.objects.create(run_id=run_id, project=project, strategy=strategy, **values)
    for spec in plan.tiers:
        make_tier(run, tier_id=spec.tier_id, tier_index=spec.tier_index)
    by_id = {tier.tier_id: tier for tier in run.tiers.all()}
    for phase in plan.phases:
        make_phase(
            run,
            by_id[phase.tier_id],
            phase_id=phase.phase_id,
            phase_index=phase.phase_index,
            scope=list(scope),
            limits=document["phase_strategies"][phase.phase_id],
        )
    return run


def pass_gate(
    phase: Phase, verdict: str = "green", *, touched: tuple[str, ...] = (), commit: str = "c" * 40
) -> None:
    """Complete a phase as a merge does: by an attempt whose gate came to the verdict, with a patch of these files."""
    attempt = Attempt.objects.create(
        run_id=phase.run_id, phase=phase, kind="build", number=phase.attempts.filter(kind="build").count() + 1,
        state="MERGED", agent="tests", candidate_sha=commit, report={TOUCHED_PATHS: list(touched)},
        created_at=clock.now(),
    )  # fmt: skip
    note(phase, f"gate_{verdict}", data={"attempt": attempt.pk, "candidate": commit})
    Phase.objects.filter(pk=phase.pk).update(state="COMPLETE", commit_sha=commit)


def make_tier(run: Run | None = None, *, tier_id: str | None = None, **fields: Any) -> Tier:
    """Write a tier, by default of a new run and after its other tiers, with the caps of its strategy."""
    run = run or make_run(tiers=0)
    tier_id = tier_id or f"T{run.tiers.count() + 1}"
    caps = run.strategy.document["tier_strategies"].get(tier_id, {})
    values = {
        "tier_index": run.tiers.count(),
        "name": f"Tier {tier_id}",
        "token_cap": caps.get("token_cap", 1_000_000),
        "ci_run_cap": caps.get("ci_run_cap", 100),
        "max_minor_issues": caps.get("max_minor_issues_tolerated", 100),
        "max_major_issues": caps.get("max_major_issues_tolerated", 0),
        **fields,
    }
    return Tier.objects.create(run=run, tier_id=tier_id, **values)


def make_phase(
    run: Run | None = None, tier: Tier | None = None, *, phase_id: str | None = None, **fields: Any
) -> Phase:
    """Write a phase, by default of a new run's only tier and after its other phases."""
    run = run or (tier.run if tier else make_run(tiers=1, phases_per_tier=0))
    tier = tier or run.tiers.first() or make_tier(run)
    phase_id = phase_id or f"P{run.phases.count() + 1}"
    limits = fields.pop("limits", None) or _limits(run, tier, phase_id, fields.get("task_category"))
    values = {
        "phase_index": run.phases.count(),
        "name": f"Phase {phase_id}",
        "task_category": limits["task_category"],
        "complexity": limits["complexity"],
        "builder_mode": limits["builder_mode"] or "",
        **fields,
    }
    return Phase.objects.create(run=run, tier=tier, phase_id=phase_id, limits=limits, **values)


def _limits(run: Run, tier: Tier, phase_id: str, task_category: str | None) -> dict[str, Any]:
    """Return a phase's part of the strategy as the engine would have compiled it."""
    plan = Plan(
        (TierSpec(tier.tier_id, tier.tier_index, tier.name),),
        (PhaseSpec(phase_id, tier.tier_id, 0, f"Phase {phase_id}", task_category=task_category),),
    )
    document = _compile(run.project, run.run_id, plan, RunOptions())
    limits: dict[str, Any] = document["phase_strategies"][phase_id]
    return limits


def _compile(project: Project, run_id: str, plan: Plan, options: RunOptions) -> dict[str, Any]:
    ruleset = project.ruleset
    return compile_strategy(
        ruleset.document if ruleset else {},
        (),
        plan,
        run_id=run_id,
        project_id=project.project_id,
        options=options,
    ).document
