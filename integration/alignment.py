"""Mirrors brought back to what the database says, after both came from a backup (autopack_site.backup)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from integration.apply import ref_number
from integration.mirror import Mirror
from integration.models import GitIntent
from integration.refs import BRANCHES, OWN, TAGS, branch_ref, candidate_ref, tag_ref
from integration.repository import mirror_of
from integration.sources import Source
from runs.models import Attempt, Phase, Run
from strategy.models import Project


@dataclass(frozen=True)
class Ahead:
    """A ref of a live run that the project's own repository has further on than the database knows.

    `wanted` is None where it should not exist. `command` takes it back; Autopack never does that itself: it
    writes there by fast-forward only.
    """

    run_id: str
    ref: str
    present: str
    wanted: str | None
    command: str


def align(project: Project) -> int:
    """Set the mirror's own refs to what the database says; return how many were changed or removed.

    A branch goes to the run's head (an open intent moves it again), a tag stays for a phase that is complete,
    a candidate for an attempt that has it. Nothing may work on the mirror meanwhile.
    """
    mirror = mirror_of(project)
    wanted = {**_branches(project), **_tags(project)}
    changed = 0
    for ref, present in {**mirror.refs(BRANCHES), **mirror.refs(TAGS)}.items():
        target = wanted.get(ref)
        if target is None:
            mirror.delete_ref(ref, present)
        elif target != present:
            mirror.update_ref(ref, target, present)
        changed += target != present
    for ref, target in wanted.items():
        if mirror.read_ref(ref) is None:
            mirror.update_ref(ref, target, None)
            changed += 1
    known = _candidates(project)
    for ref, present in mirror.refs(OWN).items():
        if ref not in known or known[ref] not in (None, present):
            mirror.delete_ref(ref, present)
            changed += 1
    return changed


def missing(project: Project) -> list[str]:
    """Return the commits that the database names and the mirror has not; none after a sound backup."""
    named = {
        *_branches(project).values(),
        *_tags(project).values(),
        *Run.objects.filter(project=project).exclude(base_commit="").values_list("base_commit", flat=True),
        *Attempt.objects.filter(run__project=project)
        .exclude(candidate_sha="")
        .values_list("candidate_sha", flat=True),
        *GitIntent.objects.open().filter(run__project=project).values_list("new_sha", flat=True),
    }
    mirror = mirror_of(project)
    if not named or not mirror.exists():
        return sorted(named)
    asked = "".join(f"{sha}\n" for sha in sorted(named)).encode()
    done = mirror.git("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=asked)
    return [line.split()[0] for line in done.text.splitlines() if not line.endswith(" commit")]


def ahead(project: Project) -> Iterator[Ahead]:
    """Yield what live runs would run into in the project's own repository. Raises as `Mirror.push` does."""
    mirror = mirror_of(project)
    there = Source.of(project.source)
    for run in Run.objects.filter(project=project, completed_at=None).order_by("pk"):
        phases = run.phases.values_list("phase_id", flat=True)
        asked = (branch_ref(run.pk), *(tag_ref(run.pk, phase_id) for phase_id in phases))
        present = mirror.remote_refs(there, asked, timeout_s=60.0)
        accepted = {ref: {sha} for ref, sha in {**_branches(project, run), **_tags(project, run)}.items()}
        for intent in GitIntent.objects.open().filter(run=run):
            accepted.setdefault(intent.ref, set()).add(intent.new_sha)
            accepted.setdefault(intent.tag_ref, set()).add(intent.new_sha)
        for ref, sha in sorted(present.items()):
            if sha not in accepted.get(ref, ()):
                wanted = run.head_commit if ref == branch_ref(run.pk) and run.head_commit else None
                yield Ahead(run.pk, ref, sha, wanted, _taking_back(mirror, there, ref, sha, wanted))


def _taking_back(mirror: Mirror, there: Source, ref: str, present: str, wanted: str | None) -> str:
    return f"git --git-dir={mirror.path} push --force-with-lease={ref}:{present} {there.shown} {wanted or ''}:{ref}"


def _runs(project: Project, run: Run | None) -> dict[str, object]:
    return {"run__project": project} if run is None else {"run": run}


def _branches(project: Project, run: Run | None = None) -> dict[str, str]:
    runs = Run.objects.filter(project=project).exclude(head_commit="")
    rows = (runs if run is None else runs.filter(pk=run.pk)).values_list("pk", "head_commit")
    return {branch_ref(str(pk)): str(head) for pk, head in rows}


def _tags(project: Project, run: Run | None = None) -> dict[str, str]:
    phases = Phase.objects.filter(**_runs(project, run)).exclude(commit_sha="")
    rows = phases.values_list("run_id", "phase_id", "commit_sha")
    return {tag_ref(str(run_id), str(phase_id)): str(sha) for run_id, phase_id, sha in rows}


def _candidates(project: Project) -> dict[str, str | None]:
    """Return the refs of candidates and what each holds; None where that is not known, before a rebuild."""
    found: dict[str, str | None] = {}
    attempts = Attempt.objects.filter(run__project=project).select_related("phase")
    for attempt in attempts.defer("patch", "report", "notes").iterator(chunk_size=500):
        for rebuild in range(attempt.rebuilds):
            found[_ref(attempt, rebuild)] = None
        if attempt.candidate_sha:
            found[_ref(attempt, attempt.rebuilds)] = attempt.candidate_sha
    return found


def _ref(attempt: Attempt, rebuild: int) -> str:
    return candidate_ref(attempt.run_id, attempt.phase.phase_id, ref_number(attempt, rebuild))
