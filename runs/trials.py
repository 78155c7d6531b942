"""A ruleset tried on a plan before it is put in force: what runs would get, what that changes. Nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Max

from autopack_site.kernel.errors import AutopackError, Invalid, problem
from runs import ports
from runs.plan import check_plan
from runs.plan_split import Part, part_ids, split_plan
from strategy import dryrun
from strategy.backlog import MARKED, is_aged
from strategy.canonical import canonical_bytes, sha256_hex
from strategy.differences import differences
from strategy.documents import whole_numbers
from strategy.engine import compile_strategy, phase_limit
from strategy.errors import NoRuleset
from strategy.models import Project, Ruleset
from strategy.published import PRESENT
from strategy.rules import normal_form, read_rules
from strategy.scopes import resolve_scopes
from strategy.services import phase_limit_for, written_out
from strategy.types import BacklogItem, CompiledStrategy, Plan, RunOptions
from strategy.validation import check_ruleset, check_ruleset_text

RUN_ID = "dry-run"
_VERSION = "version"


@dataclass(frozen=True)
class Trial:
    """The strategies that a plan's runs would get under one ruleset."""

    ruleset: dict[str, Any]
    parts: tuple[tuple[Part, CompiledStrategy], ...]

    @property
    def values(self) -> dryrun.Values:
        """Return every value with the rule behind it."""
        return dryrun.joined([dryrun.values_of(compiled, self.ruleset) for _, compiled in self.parts])

    def shown(self) -> list[dict[str, Any]]:
        """Return the runs for people and programs."""
        return [dryrun.shown(compiled, self.ruleset, part.plan) for part, compiled in self.parts]


def candidate(project: Project, given: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the ruleset as it would be stored: checked, with the number it would get. Raises Invalid."""
    checked = check_ruleset_text(given) if isinstance(given, str) else check_ruleset(given)
    if checked.get("project_id", project.project_id) != project.project_id:
        text = f"The ruleset is of project {checked['project_id']}, not of {project.project_id}"
        raise Invalid([problem("other_project", ["project_id"], text)])
    newest = Ruleset.objects.filter(project=project).aggregate(newest=Max(_VERSION))["newest"] or 0
    return {
        "defaults": PRESENT,
        **normal_form(checked),
        _VERSION: newest + 1,
        "project_id": project.project_id,
    }


def in_force(project: Project) -> dict[str, Any]:
    """Return the document in force. Raises NoRuleset."""
    if project.ruleset is None:
        raise NoRuleset(f"Project {project.project_id} has no ruleset in force")
    document: dict[str, Any] = project.ruleset.document
    return document


def try_out(
    project: Project,
    ruleset: dict[str, Any],
    plan: Plan,
    *,
    options: RunOptions,
    backlog: Sequence[BacklogItem],
    splits: bool,
    run_id: str = RUN_ID,
) -> Trial:
    """Compile the plan's runs. With `splits` (a plan document) a plan that is too large becomes linked runs.

    Raises Invalid, UnknownTier and TooManyPhases, as the start of a run does.
    """
    check_plan(plan)
    asked = resolve_scopes(plan, project.settings)
    parts = split_plan(asked, phase_limit(ruleset, backlog, asked, options)) if splits else [Part(asked, {})]
    found = []
    for number, (name, part) in enumerate(zip(part_ids(run_id, len(parts)), parts, strict=True)):
        compiled = compile_strategy(
            ruleset,
            backlog,
            part.plan,
            run_id=name,
            project_id=project.project_id,
            options=options,
            cleans_up=number == 0,  # the first run of a split plan cleans up
        )
        found.append((part, compiled))
    return Trial(ruleset, tuple(found))


def backlog_at_start(project: Project, ruleset: Mapping[str, Any]) -> list[BacklogItem]:
    """Return the backlog as a run that starts now under the ruleset would find it.

    Each entry is a run older, and marked where it is of age by the ruleset's default safety profile: a start marks
    before it compiles, and what is marked is of age in whatever profile the run has.
    """
    return _aged_by_a_start(ports.ledger().backlog(project.pk), ruleset)


def _aged_by_a_start(items: Sequence[BacklogItem], ruleset: Mapping[str, Any]) -> list[BacklogItem]:
    rules = read_rules(ruleset)
    profile = rules.safety_profiles[rules.default_safety_profile]
    limits = {
        "runs_threshold": profile["minor_issue_aging_runs_threshold"],
        "tiers_threshold": profile["minor_issue_aging_tiers_threshold"],
    }
    older = [replace(item, age_in_runs=item.age_in_runs + 1) for item in items]
    return [replace(item, status=MARKED) if is_aged(item, **limits) else item for item in older]


def dry_run(
    project: Project,
    given: str | Mapping[str, Any],
    plan: Plan,
    *,
    options: RunOptions | None = None,
    splits: bool = True,
) -> dict[str, Any]:
    """Return what the ruleset would make of the plan now, and how that differs from the ruleset in force.

    Raises Invalid (the ruleset's rows name line and field) and what `try_out` raises. A plan that the ruleset in
    force refuses is no error: `in_force_refused` says why.
    """
    wanted = options or RunOptions()
    ruleset = candidate(project, given)
    items = ports.ledger().backlog(project.pk)
    backlog = _aged_by_a_start(items, ruleset)
    trial = try_out(project, ruleset, plan, options=wanted, backlog=backlog, splits=splits)
    present = project.ruleset.document if project.ruleset else None
    before: dryrun.Values = {}
    refused = None
    if present is not None:
        try:
            backlog = _aged_by_a_start(items, present)
            before = try_out(project, present, plan, options=wanted, backlog=backlog, splits=splits).values
        except AutopackError as error:
            refused = {"code": error.code, "detail": error.detail}
    return {
        "project_id": project.project_id,
        "ruleset_version": ruleset[_VERSION],
        "ruleset_sha256": sha256_hex(canonical_bytes(ruleset)),
        "in_force_version": present[_VERSION] if present else None,
        "in_force_refused": refused,
        "ruleset_differences": ruleset_differences(present, ruleset),
        "differences": [change.to_json() for change in dryrun.changes(before, trial.values)],
        "runs": trial.shown(),
    }


def explain(
    project: Project, plan: Plan, *, options: RunOptions | None = None, splits: bool = True
) -> dict[str, Any]:
    """Return what the plan's runs would get under the ruleset in force, with the reason of every value."""
    ruleset = in_force(project)
    trial = try_out(
        project,
        ruleset,
        plan,
        options=options or RunOptions(),
        backlog=backlog_at_start(project, ruleset),
        splits=splits,
    )
    return {
        "project_id": project.project_id,
        "ruleset_version": trial.ruleset[_VERSION],
        "runs": trial.shown(),
    }


def split_limit(project: Project, plan: Plan) -> int:
    """Return how many phases one run of the plan may have now. Raises NoRuleset and Invalid."""
    backlog = backlog_at_start(project, in_force(project))
    return phase_limit_for(project, backlog, plan, options=RunOptions())


def ruleset_differences(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what differs between two rulesets, by place."""
    before = {} if old is None else whole_numbers(written_out(old))
    return [
        {"place": row.place, "kind": str(row.kind), "before": row.old, "after": row.new}
        for row in differences(before, whole_numbers(dict(new)), ignored=[_VERSION])
    ]
