"""Writes and checks artefacts: read one snapshot, render, write; the same bytes from the same rows, always.

A change of a run leaves an outbox row (`artefacts.write`, run id). `write_run` settles it **before** it reads, under
the run's row lock, so that a change which commits later enqueues anew, and in the same transaction leaves a second
row (`{run_id}:writing`), due after a lease's time, that is settled after the last file: a writer killed in between is
followed by another. One lock file a run orders writers from that first step to the last file, so that an older
snapshot never overwrites a newer one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from django.conf import settings
from django.db import transaction

from integration.artefacts import names
from integration.artefacts.documents import phase_document, tier_document
from integration.artefacts.errors import ArtefactsBusy, UnsafeName
from integration.artefacts.incident import MAX_TAIL_BYTES, incident_files
from integration.artefacts.names import Place
from integration.artefacts.rows import ProjectRows, RunRows, load_project, load_run, snapshot
from integration.artefacts.summary import run_summary
from integration.artefacts.text import json_bytes, json_object_parts, json_rows_bytes
from integration.artefacts.writer import FOLDER_MODE, Content, Tree
from integration.git_errors import GitTimedOut
from integration.locks import held
from integration.logs import tail
from integration.models import GateRun
from integration.repository import log_path
from issues.models import BacklogEntry
from runs import outbox
from runs.models import Outbox, Run
from strategy.models import Project

log = structlog.get_logger(__name__)
TOPIC = "artefacts.write"
PROJECT_TOPIC = "artefacts.project"
# A backlog beyond this is a file of megabytes: written at most every PROJECT_FILES_EVERY_S, not at every change.
MANY_ENTRIES = 5_000
LOCK_WAIT_S = 30.0
MAX_ROUNDS = 5
# The folders of a run's folder where nothing but what was rendered may lie.
OWN_FOLDERS: tuple[Place, ...] = (
    ("tiers",), ("phases",), ("issues",), (names.INCIDENT,), (names.INCIDENT, "patches"),
)  # fmt: skip

GateTail = Callable[[GateRun], bytes]


@dataclass(frozen=True)
class Difference:
    """A file that is not what the database says: `missing`, `changed` or `stray`. `path` is below the root."""

    path: str
    kind: str


def stored_gate_tail(gate: GateRun) -> bytes:
    """Return the end of a gate run's stored log; nothing where it has none."""
    path = log_path(gate.run_id, f"gate-{gate.pk}")
    try:
        return tail(path, MAX_TAIL_BYTES)
    except FileNotFoundError:
        return b""


def write_due(run_id: str) -> int:
    """Write the run's files as often as changes wait for it; return how often. What a message calls.

    A run has a message for every change, so most find nothing left to do. Where another writer is at work this
    one leaves: the other looks again after it let go. Raises ArtefactsUnwritable; the work stays in the outbox.
    """
    for rounds in range(MAX_ROUNDS):
        if not Outbox.objects.filter(topic=TOPIC, key__in=[run_id, _writing(run_id)]).exists():
            return rounds
        try:
            write_run(run_id, wait_s=0.0)
        except ArtefactsBusy:
            return rounds
    return MAX_ROUNDS  # the sweep goes on: others want this worker too


def write_run(
    run_id: str, *, gate_tail: GateTail = stored_gate_tail, wait_s: float = LOCK_WAIT_S
) -> list[Place]:
    """Bring the run's folder and its project's files up to date; return the places that changed.

    Safe to repeat and to race; waits up to `wait_s` for another writer of the run. Raises ArtefactsBusy and
    ArtefactsUnwritable; the work then stays in the outbox.
    """
    try:
        folder = names.run_folder(run_id)
    except UnsafeName:
        outbox.settle(TOPIC, run_id)
        log.error("artefacts.refused", run_id=run_id)
        return []
    tree = Tree(Path(settings.RUNS_DIR))
    with _locked(names.checked(run_id), wait_s):
        _begin(run_id)
        with snapshot():
            rows = load_run(run_id)
        if rows is None:
            outbox.settle(TOPIC, _writing(run_id))
            return []
        files = _under(folder, render_run(rows, gate_tail))
        changed = tree.write(files)
        tree.remove(_strays(tree, folder, files))
        changed += _write_project_in_turn(rows.run.project)
        outbox.settle(TOPIC, _writing(run_id))
    log.debug("artefacts.written", run_id=run_id, files=len(changed))
    return changed


def write_project(project_id: str, *, wait_s: float = LOCK_WAIT_S) -> list[Place]:
    """Bring the project's backlog and ruleset files up to date; return the places that changed."""
    with _locked(f".project.{names.checked(project_id)}", wait_s), snapshot():
        rows = load_project(project_id)
        return Tree(Path(settings.RUNS_DIR)).write(render_project(rows)) if rows else []


def write_project_due(project_id: str) -> bool:
    """Write the project's files if changes wait for it; tell whether they were. What a message calls.

    Changes from the beginning of the write on leave work anew, as with a run's files. Raises ArtefactsUnwritable.
    """
    open_work = Outbox.objects.filter(topic=PROJECT_TOPIC, key__in=[project_id, _writing(project_id)])
    if not open_work.exists() or outbox.is_put_off(PROJECT_TOPIC, project_id):
        return False
    with transaction.atomic():
        outbox.enqueue(
            PROJECT_TOPIC, _writing(project_id), delay_s=settings.LEASE_TTL_S, project_id=project_id
        )
        outbox.settle(PROJECT_TOPIC, project_id)
    try:
        write_project(project_id, wait_s=0.0)
    except ArtefactsBusy:
        return False  # the row of this write is found again: what the other had read may be older
    outbox.settle(PROJECT_TOPIC, _writing(project_id))
    return True


def _write_project_in_turn(project: Project) -> list[Place]:
    if not BacklogEntry.without_ages.filter(project=project)[MANY_ENTRIES : MANY_ENTRIES + 1].exists():
        return write_project(project.project_id)
    with transaction.atomic():
        outbox.enqueue(
            PROJECT_TOPIC,
            project.project_id,
            delay_s=settings.PROJECT_FILES_EVERY_S,
            project_id=project.project_id,
        )
    return []


def rebuild(run_ids: Sequence[str] | None = None, *, gate_tail: GateTail = stored_gate_tail) -> list[str]:
    """Write the folders of these runs, or of all runs and projects; return the paths that changed, sorted."""
    changed: list[Place] = []
    for run_id in _run_ids(run_ids):
        changed += write_run(run_id, gate_tail=gate_tail)
    for project_id in _project_ids(run_ids):
        changed += write_project(project_id)
    return sorted({"/".join(place) for place in changed})


def check(
    run_ids: Sequence[str] | None = None, *, gate_tail: GateTail = stored_gate_tail
) -> list[Difference]:
    """Compare files with the database byte for byte; return what differs, sorted by path. Writes nothing."""
    tree = Tree(Path(settings.RUNS_DIR))
    found: dict[str, str] = {}
    for run_id in _run_ids(run_ids):
        with snapshot():
            rows = load_run(run_id)
        if rows is not None:
            folder = names.run_folder(run_id)
            files = _under(folder, render_run(rows, gate_tail))
            found |= _differences(tree, files)
            found |= {"/".join(place): "stray" for place in _strays(tree, folder, files)}
    for project_id in _project_ids(run_ids):
        with snapshot():
            project = load_project(project_id)
            if project is not None:
                found |= _differences(tree, render_project(project))
    return [Difference(path, kind) for path, kind in sorted(found.items())]


def render_run(rows: RunRows, gate_tail: GateTail) -> dict[Place, bytes]:
    """Return every file of a run's folder, by its place in it. Asks the database nothing."""
    files: dict[Place, bytes] = {
        names.SUMMARY: run_summary(rows),
        names.STRATEGY: rows.strategy_text.encode("utf-8"),
        names.ISSUE_INDEX: json_rows_bytes(rows.issue_index, "issues_by_key"),
    }
    for tier in rows.tiers:
        files[names.tier_file(tier.tier_index, tier.tier_id)] = tier_document(rows, tier)
    for phase in rows.phases:
        key = (phase.phase_index, phase.phase_id)
        files[names.phase_file(*key)] = phase_document(rows, phase)
        files[names.phase_issues_file(*key)] = json_rows_bytes(rows.issue_files[phase.pk], "issues")
    if rows.has_failed:
        last = rows.last_gate
        files |= incident_files(rows, gate_tail(last) if last else b"")
    return files


def render_project(rows: ProjectRows) -> dict[Place, Content]:
    """Return the project's files by their places below the root. The backlog is read as it is written."""

    def backlog() -> Iterator[bytes]:
        return json_object_parts({"project_id": rows.project_id}, "issues_by_key", rows.backlog())

    files: dict[Place, Content] = {names.backlog_file(rows.project_id, is_default=rows.is_default): backlog}
    if rows.ruleset is not None:
        files[names.ruleset_file(rows.project_id)] = json_bytes(rows.ruleset)
    return files


def _begin(run_id: str) -> None:
    """Take the work on: nothing that commits after this is covered by it, and a crash doesn't lose it."""
    with transaction.atomic():
        # Whoever changes a run holds this lock until the commit: what they enqueued is in the snapshot that follows.
        Run.objects.select_for_update(no_key=True).filter(pk=run_id).only("pk").first()
        outbox.enqueue(TOPIC, _writing(run_id), delay_s=settings.LEASE_TTL_S, run_id=run_id)
        outbox.settle(TOPIC, run_id)


def _writing(run_id: str) -> str:
    return f"{run_id}:writing"


@contextmanager
def _locked(name: str, wait_s: float) -> Iterator[None]:
    """Hold the lock file of a run's id, or of a project's behind a dot, with which no id begins.

    A run holds its own while it takes its project's, so the two may never be one file.
    """
    locks = Path(settings.RUNS_DIR) / ".locks"
    locks.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    try:
        with held(locks / name, timeout_s=wait_s):
            yield
    except GitTimedOut as error:
        raise ArtefactsBusy(error.detail) from error


def _under(folder: Place, files: dict[Place, bytes]) -> dict[Place, bytes]:
    return {folder + place: data for place, data in files.items()}


def _strays(tree: Tree, folder: Place, files: dict[Place, bytes]) -> list[Place]:
    return [stray for own in OWN_FOLDERS for stray in tree.strays(folder + own, files.keys())]


def _differences(tree: Tree, files: Mapping[Place, Content]) -> dict[str, str]:
    return {
        "/".join(place): "changed" if os.path.lexists(tree.root.joinpath(*place)) else "missing"
        for place in tree.differing(files)
    }


def _run_ids(run_ids: Sequence[str] | None) -> list[str]:
    if run_ids is not None:
        return list(run_ids)
    return list(Run.objects.order_by("created_at", "run_id").values_list("run_id", flat=True))


def _project_ids(run_ids: Sequence[str] | None) -> list[str]:
    projects = Project.objects.order_by("project_id")
    if run_ids is not None:
        projects = projects.filter(runs__run_id__in=run_ids).distinct()
    return list(projects.values_list("project_id", flat=True))
