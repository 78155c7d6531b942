"""Starting runs: all or nothing, in one transaction."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from autopack_site.kernel import clock
from autopack_site.kernel.errors import Invalid, problem
from autopack_site.kernel.ids import ID_RULE, is_valid_id
from autopack_site.kernel.prepared import PreparedInsert
from autopack_site.kernel.problem import correlation_id
from runs import outbox, ports, rows
from runs.errors import RunExists
from runs.models import Phase, Run, Tier
from runs.plan import check_plan, parse_plan_document
from runs.plan_split import part_ids, split_plan
from runs.transitions import move
from strategy.limits import cap_of, micro_usd
from strategy.models import Project
from strategy.services import compile_for, freeze, phase_limit_for, project_for
from strategy.types import BacklogItem, CompiledStrategy, PhaseSpec, Plan, RunOptions, TierSpec

_put_run, _put_tiers, _put_phases = PreparedInsert(Run), PreparedInsert(Tier), PreparedInsert(Phase)


def start_run(
    run_id: str,
    *,
    project_id: str | None,
    plan: Plan,
    options: RunOptions,
    by: str,
    previous: Run | None = None,
) -> Run:
    """Create a run from a plan: strategy compiled and frozen, rows written, first step intended.

    Raises Invalid (422: bad ids, duplicates, cycles), UnknownTier and RunExists (400), TooManyPhases and
    NoProject (422). A refused start leaves no row.
    """
    _check_id(run_id)
    return _start(run_id, project_for(project_id), plan, options, by, previous)


def start_plan_document(
    run_id: str, *, project_id: str | None, text: str, options: RunOptions, by: str
) -> list[Run]:
    """Start the run, or the linked runs, of a plan document (SPEC section 4).

    A plan of more phases than one run may hold is split by tier and dependency into `{run_id}`, `{run_id}.2`, ...;
    each starts from the branch of the one before, after that succeeded. Returns the runs in order. Raises like
    `start_run`; a refused start leaves no row.
    """
    plan = parse_plan_document(text)
    check_plan(plan)
    _check_id(run_id)
    project = project_for(project_id)
    runs: list[Run] = []
    with transaction.atomic():
        # rules may ask for the backlog: the limit that splits the plan is that of the backlog which the runs are
        # compiled with, aged by this start
        backlog = _backlog_at_start(run_id, project, None)
        parts = split_plan(plan, phase_limit_for(project, backlog, plan, options=options))
        for name, part in zip(part_ids(run_id, len(parts)), parts, strict=True):
            _check_id(name)
            previous = runs[-1] if runs else None
            runs.append(_start(name, project, part.plan, options, by, previous, backlog))
    return runs


def _check_id(run_id: str) -> None:
    if not is_valid_id(run_id):
        raise Invalid([problem("value_error", ["body", "run", "run_id"], f"A run id is {ID_RULE}")])
    if run_id.lower().startswith(
        ("project_issue_backlog", "project_ruleset_")
    ):  # as file systems may read it
        text = "This id is the name of a project's own file beside the runs' folders"
        raise Invalid([problem("reserved", ["body", "run", "run_id"], text)])


def _start(
    run_id: str,
    project: Project,
    plan: Plan,
    options: RunOptions,
    by: str,
    previous: Run | None,
    backlog: list[BacklogItem] | None = None,
) -> Run:
    check_plan(plan)
    if rows.run_begun(run_id):
        raise RunExists(f"Run {run_id} already exists")
    try:
        with transaction.atomic():
            if backlog is None:
                backlog = _backlog_at_start(run_id, project, previous)
            return _create(run_id, project, plan, options, by, previous, backlog)
    except IntegrityError as error:
        if Run.objects.filter(pk=run_id).exists():
            raise RunExists(f"Run {run_id} already exists") from error
        raise


def _backlog_at_start(run_id: str, project: Project, previous: Run | None) -> list[BacklogItem]:
    """Age the project's backlog for the run and return it. Needs a transaction, which the run is to be made in."""
    ledger = ports.ledger()
    if previous is None:  # a later run of a split plan begins when the one before has ended
        ledger.begin_run(run_id, project.pk)
    return ledger.backlog(project.pk)


def _create(
    run_id: str,
    project: Project,
    plan: Plan,
    options: RunOptions,
    by: str,
    previous: Run | None,
    backlog: list[BacklogItem],
) -> Run:
    compiled = compile_for(
        project,
        backlog,
        plan,
        run_id=run_id,
        options=options,
        # the first run of a split plan cleans up; the later ones would only do it again
        cleans_up=previous is None,
    )
    document = compiled.document
    run = _put_run(
        run_id=run_id,
        project=project,
        strategy=freeze(run_id, project, compiled),
        previous=previous,
        safety_profile=document["safety_profile"],
        run_scope=document["run_scope"],
        token_cap=cap_of(document["run_token_cap"]),
        build_token_cap=document.get("run_build_token_cap"),
        audit_token_cap=document.get("run_audit_token_cap"),
        cost_cap_micro_usd=micro_usd(document.get("run_cost_cap_usd")),
        max_phases=document["run_max_phases"],
        max_duration_minutes=document["run_max_duration_minutes"],
        max_minor_issues_total=document["run_max_minor_issues_total"],
        config=project.config,
        debt_status="cleanup_planned" if len(compiled.plan.phases) > len(plan.phases) else "none",
        created_by=by,
        correlation_id=correlation_id() or "",
        created_at=clock.now(),
    )
    _create_rows(run, compiled)
    move(run, "compiled", who=by, data={"strategy_sha256": compiled.sha256})
    outbox.enqueue("run.step", run_id, run_id=run_id)
    return run


def _create_rows(run: Run, compiled: CompiledStrategy) -> None:
    document = compiled.document
    tiers = {tier.tier_id: _tier(run, tier, document) for tier in compiled.plan.tiers}
    _put_tiers.many(list(tiers.values()))
    _put_phases.many([_phase(run, tiers[phase.tier_id], phase, document) for phase in compiled.plan.phases])


def _tier(run: Run, tier: TierSpec, document: dict[str, Any]) -> Tier:
    caps = document["tier_strategies"][tier.tier_id]
    return Tier(
        run=run,
        tier_id=tier.tier_id,
        tier_index=tier.tier_index,
        name=tier.name,
        description=tier.description,
        token_cap=cap_of(caps["token_cap"]),
        build_token_cap=caps.get("build_token_cap"),
        audit_token_cap=caps.get("audit_token_cap"),
        cost_cap_micro_usd=micro_usd(caps.get("cost_cap_usd")),
        ci_run_cap=caps["ci_run_cap"],
        max_minor_issues=caps["max_minor_issues_tolerated"],
        max_major_issues=caps["max_major_issues_tolerated"],
    )


def _phase(run: Run, tier: Tier, phase: PhaseSpec, document: dict[str, Any]) -> Phase:
    limits = document["phase_strategies"][phase.phase_id]
    return Phase(
        run=run,
        tier_id=tier.pk,
        phase_id=phase.phase_id,
        phase_index=phase.phase_index,
        name=phase.name,
        description=phase.description,
        task_category=limits["task_category"],
        complexity=limits["complexity"],
        builder_mode=limits["builder_mode"],
        scope=list(phase.scope),
        depends_on=None if phase.depends_on is None else list(phase.depends_on),
        # the prices go with the limits: they are needed where only the phase is read
        limits={**limits, "prices": document["prices"]} if "prices" in document else limits,
    )
