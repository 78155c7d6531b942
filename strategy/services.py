"""Projects, their rulesets, and the freezing of a run's strategy: each one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Max

from autopack_site.kernel import clock
from autopack_site.kernel.errors import Invalid, problem
from autopack_site.kernel.ids import ID_RULE, is_valid_id
from autopack_site.kernel.prepared import Prepared, PreparedInsert
from strategy.canonical import canonical_bytes, sha256_hex
from strategy.config import ProjectConfig, load_config
from strategy.defaults import default_ruleset
from strategy.engine import compile_strategy, phase_limit
from strategy.errors import (
    ConfigMoved,
    NoProject,
    NoRuleset,
    NothingChanged,
    ProjectExists,
    ProjectNotFound,
    RulesetMoved,
    StrategyFrozen,
)
from strategy.models import Project, ProjectRevision, Ruleset, Strategy
from strategy.published import FIRST, PRESENT
from strategy.rules import normal_form
from strategy.scopes import resolve_scopes
from strategy.sources import check_source
from strategy.types import BacklogItem, CompiledStrategy, Plan, RunOptions
from strategy.validation import check_ruleset, check_ruleset_text

_DEFAULT_PROJECT_LOCK = "strategy.default_project"
_named_project = Prepared[Project](
    lambda name: Project.objects.select_related("ruleset").filter(project_id=name)
)
_default_project = Prepared[Project](
    lambda: Project.objects.select_related("ruleset").filter(is_default=True)
)
_put_strategy = PreparedInsert(Strategy)
_frozen = Prepared[Strategy](
    lambda run_id: Strategy.objects.defer("document", "canonical").filter(run_id=run_id)
)


@transaction.atomic
def add_project(
    project_id: str, *, name: str, source: str, config_text: str | None, is_default: bool, by: str
) -> Project:
    """Create a project with version 1 of its ruleset; `is_default` takes the mark from the one that has it.

    `config_text` is an autopack.yaml. Raises Invalid (id, source, configuration) and ProjectExists.
    """
    if not is_valid_id(project_id):
        raise Invalid([problem("bad_id", ["project_id"], f"A project id is {ID_RULE}")])
    check_source(source)
    config = load_config(config_text or "")
    if is_default:
        _take_default_mark()
    try:
        with transaction.atomic():
            project = Project.objects.create(
                project_id=project_id,
                name=(name or project_id)[:200],
                source=source,
                default_branch=config.default_branch,
                is_default=is_default,
                config=config.to_json(),
                config_hash=config.sha256,
            )
    except IntegrityError:
        if not Project.objects.named(project_id).exists():
            raise
        raise ProjectExists(f"Project {project_id} exists already") from None
    _add_revision(project, config_text or "", config=config, number=1, by=by, why="the project was added")
    add_ruleset(project, {**default_ruleset(project_id), **_policy(config)}, by)
    return project


@transaction.atomic
def update_project_config(
    project_id: str, *, config_text: str, by: str, why: str = "", expected: int | None = None
) -> Project:
    """Replace a project's configuration; runs that have started keep the one they started with.

    When what patches may hold has changed (`allow`, `protected_paths`), the ruleset gets a new version with
    it. `expected` is the number of the revision that the change was made from. Raises ProjectNotFound,
    Invalid, and ConfigMoved when the newest revision is another.
    """
    config = load_config(config_text)
    project = _locked(project_id)
    newest = project.revisions.order_by("-number").first()
    number = newest.number if newest else 0
    if expected is not None and expected != number:
        raise ConfigMoved(f"Revision {number} of {project_id}'s configuration is newer than {expected}")
    if newest is None or newest.config_text != config_text:
        _add_revision(project, config_text, config=config, number=number + 1, by=by, why=why)
    before = _policy(project.settings)
    project.config = config.to_json()
    project.config_hash = config.sha256
    project.default_branch = config.default_branch
    project.updated_at = clock.now()
    project.save(update_fields=["config", "config_hash", "default_branch", "updated_at"])
    if _policy(config) != before and project.ruleset is not None:
        add_ruleset(project, {**written_out(project.ruleset.document), **_policy(config)}, by)
    return project


@transaction.atomic
def make_default(project_id: str) -> Project:
    """Mark the project as the one meant when none is named. Raises ProjectNotFound."""
    _take_default_mark()
    project = project_for(project_id)
    project.is_default = True
    project.updated_at = clock.now()
    project.save(update_fields=["is_default", "updated_at"])
    return project


@transaction.atomic
def add_ruleset(project: Project, document: Any, by: str) -> Ruleset:
    """Store the next version of the project's rules and put it in force; return it.

    The document's `version` and `project_id` are set here, and the present defaults' name where it has none.
    Raises Invalid.
    """
    checked = check_ruleset(document)
    if checked.get("project_id", project.project_id) != project.project_id:
        text = f"The ruleset is of project {checked['project_id']}, not of {project.project_id}"
        raise Invalid([problem("other_project", ["project_id"], text)])
    locked = Project.objects.select_for_update().get(pk=project.pk)
    newest = Ruleset.objects.filter(project=locked).aggregate(newest=Max("version"))["newest"] or 0
    stored = {
        "defaults": PRESENT,
        **normal_form(checked),
        "version": newest + 1,
        "project_id": locked.project_id,
    }
    ruleset = Ruleset.objects.create(
        project=locked,
        version=newest + 1,
        document=stored,
        sha256=sha256_hex(canonical_bytes(stored)),
        created_by=by[:150],
    )
    now = clock.now()
    Project.objects.filter(pk=project.pk).update(ruleset=ruleset, updated_at=now)
    project.ruleset, project.updated_at = ruleset, now
    return ruleset


@transaction.atomic
def revise_ruleset(project_id: str, *, text: str, by: str, expected: int) -> Ruleset:
    """Put a JSON or YAML text in force as the project's next ruleset; return it.

    `expected` is the version that was in force when the text was written (0 for none). Raises ProjectNotFound,
    Invalid (rows name line and field), RulesetMoved, and NothingChanged for the content in force.
    """
    document = check_ruleset_text(text)
    project = _locked(project_id)
    current = project.ruleset
    version = current.version if current else 0
    if version != expected:
        raise RulesetMoved(f"Version {version} of {project_id}'s ruleset is in force, no longer {expected}")
    named = {
        "defaults": PRESENT,
        **normal_form(document),
        "version": version,
        "project_id": document.get("project_id", project_id),
    }
    if current is not None and canonical_bytes(named) == canonical_bytes(written_out(current.document)):
        raise NothingChanged(f"That is version {version}, which is in force")
    return add_ruleset(project, document, by)


def written_out(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored ruleset with the defaults that it means named, to make the next one from it."""
    return {"defaults": FIRST, **stored}


def project_for(project_id: str | None) -> Project:
    """Return the named project, or for None the default one.

    Raises ProjectNotFound (404) and NoProject (422).
    """
    if project_id is None:
        project = _default_project.first()
        if project is None:
            raise NoProject([problem("no_project", ["body", "project_id"], NoProject.title)])
        return project
    project = _named_project.first(project_id)
    if project is None:
        raise ProjectNotFound(f"Project {project_id[:128]} not found")
    return project


def compile_for(
    project: Project,
    backlog: Sequence[BacklogItem],
    plan: Plan,
    *,
    run_id: str,
    options: RunOptions,
    cleans_up: bool = True,
) -> CompiledStrategy:
    """Compile the plan, its named scopes resolved, under the project's ruleset in force; nothing is stored.

    `cleans_up` false inserts no debt_cleanup phase. Raises NoRuleset, Invalid (options, scopes) and TooManyPhases.
    """
    if project.ruleset is None:
        raise NoRuleset(f"Project {project.project_id} has no ruleset in force")
    return compile_strategy(
        project.ruleset.document,
        backlog,
        resolve_scopes(plan, project.settings),
        run_id=run_id,
        project_id=project.project_id,
        options=options,
        cleans_up=cleans_up,
    )


def phase_limit_for(
    project: Project, backlog: Sequence[BacklogItem], plan: Plan, *, options: RunOptions
) -> int:
    """Return how many phases one run of the plan may have. Raises NoRuleset and Invalid (options, scopes)."""
    if project.ruleset is None:
        raise NoRuleset(f"Project {project.project_id} has no ruleset in force")
    return phase_limit(project.ruleset.document, backlog, resolve_scopes(plan, project.settings), options)


def freeze(run_id: str, project: Project, compiled: CompiledStrategy) -> Strategy:
    """Store the run's strategy for good and return it; the same content again is the same row.

    Of two at once for one run, the later gets the database's IntegrityError. Raises StrategyFrozen when the
    run has another one, Invalid when it wasn't compiled for this run and project from one of its rulesets.
    """
    document = compiled.document
    ruleset = project.ruleset
    if ruleset is None or ruleset.sha256 != document["ruleset_sha256"]:
        ruleset = Ruleset.objects.filter(project=project, sha256=document["ruleset_sha256"]).first()
    if ruleset is None or (document["run_id"], document["project_id"]) != (run_id, project.project_id):
        raise Invalid(
            f"The strategy was not compiled for run {run_id} from a ruleset of {project.project_id}"
        )
    known = _frozen.first(run_id)
    if known is None:
        return _put_strategy(
            run_id=run_id,
            project=project,
            ruleset=ruleset,
            document=document,
            canonical=compiled.canonical.decode("utf-8"),
            sha256=compiled.sha256,
            backlog_seen=compiled.backlog_seen,
        )
    if known.sha256 != compiled.sha256:
        raise StrategyFrozen(f"Run {run_id} has a strategy already, with other content")
    return known


def _locked(project_id: str) -> Project:
    project = (
        Project.objects.select_related("ruleset")
        .select_for_update(of=("self",))
        .filter(project_id=project_id)
        .first()
    )
    if project is None:
        raise ProjectNotFound(f"Project {project_id[:128]} not found")
    return project


def _add_revision(
    project: Project, text: str, *, config: ProjectConfig, number: int, by: str, why: str
) -> None:
    ProjectRevision.objects.create(
        project=project,
        number=number,
        config_text=text,
        config=config.to_json(),
        config_hash=config.sha256,
        created_by=by[:150],
        why=why,
    )


def _take_default_mark() -> None:
    """Take the mark from whoever has it. The lock, held to the end of the transaction, makes takers queue."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [_DEFAULT_PROJECT_LOCK])
    Project.objects.default().update(is_default=False, updated_at=clock.now())


def _policy(config: ProjectConfig) -> dict[str, Any]:
    """Return the part of the configuration that the ruleset carries, so that a strategy freezes it."""
    return {"allow": asdict(config.allow), "protected_paths": sorted(set(config.protected_paths))}
