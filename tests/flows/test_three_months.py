"""Twelve runs over three months: what a project remembers of its issues, from the first sighting to the last.

Real services, supervisor, git, gates and judgement; the test is the worker, and the clock stands still but for it.
What must come of each run stands in tables that were written by hand.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings

from autopack_site.kernel import clock
from integration import apply, merge
from integration.artefacts import service as artefacts
from integration.models import GateRun
from issues.decisions import accept_entry
from issues.models import BacklogEntry, BacklogEvent, RunIndexEntry
from issues.tasks import judge_sighting
from runs import ports, services, supervisor
from runs.lifecycle import PhaseState
from runs.models import Attempt, Outbox, Run
from runs.ports import IssueReport
from runs.services import AuditResult, BuildResult
from tests.flows import hand
from tests.flows.stack import Stack
from tests.flows.world import World

pytestmark = pytest.mark.real
DAYS_APART = 8
LEAK = ("leak", "minor", "src/io.py", "The file is never closed")
# the same defect, as another agent calls it
HANDLE = ("handle-leak", "minor", "src/io.py", "the file  is never closed.")
TYPO = ("typo", "minor", "docs/a.md", "A word is misspelt")
SLOW = ("slow", "major", "src/slow.py", "Ten seconds for a page")
Seen = tuple[str, str, str, str]


class FrozenClock:
    """A clock that moves by a millisecond when it is read, and by days when it is told to."""

    def __init__(self) -> None:
        # in a time to come: the database goes by its own clock, and deadlines must not have passed there
        self.moment = datetime(2100, 3, 1, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        self.moment += timedelta(milliseconds=1)
        return self.moment


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    made = FrozenClock()
    monkeypatch.setattr(clock, "now", made.now)
    monkeypatch.setattr(clock, "database_now", made.now)
    return made


@pytest.fixture(autouse=True)
def quiet(stack: Stack) -> None:
    """The module's stack gives the database; no worker is started."""


def edit(world: World, base: str, path: str, text: str) -> bytes:
    """Return a patch that makes the file hold one line."""
    before = world.git("ls-tree", "--name-only", base, "--", path).strip()
    if not before:
        head, hunk = "new file mode 100644\n--- /dev/null", f"@@ -0,0 +1 @@\n+{text}\n"
    else:
        old = world.git("show", f"{base}:{path}").rstrip("\n")
        head, hunk = f"--- a/{path}", f"@@ -1 +1 @@\n-{old}\n+{text}\n"
    return f"diff --git a/{path} b/{path}\n{head}\n+++ b/{path}\n{hunk}".encode()


def land(world: World, run: Run, phase_id: str, path: str) -> None:
    """Build the phase, pass its gate, have it approved where it must be, and merge it."""
    lease = hand.claim(run, phase_id)
    base = Run.objects.get(pk=run.pk).head_commit or Run.objects.get(pk=run.pk).base_commit
    patch = edit(world, base, path, f"as {run.pk} left it")
    result = BuildResult(status="success", patch=patch)
    attempt = services.submit_build(lease.lease_id, fence=lease.fence, result=result)
    apply.build(attempt.pk)
    attempt = hand.pass_gate(Attempt.objects.get(pk=attempt.pk))
    if Attempt.objects.filter(phase=attempt.phase, kind="audit", state="WANTED").exists():
        verdict = AuditResult(verdict="approve", notes="fine")
        services.submit_audit_unleased(run.pk, phase_id, agent="reviewer", result=verdict)
    merge.merge(attempt.pk)
    supervisor.step(run.pk)
    assert hand.phase_of(run, phase_id).state == PhaseState.COMPLETE, attempt.failure_reason


def see(run: Run, *seen: Seen) -> None:
    """Report what a phase saw, and let a worker decide what that reopens."""
    reports = [
        IssueReport(key, severity, "probe", "defect", evidence_refs=(path,), description=text)
        for key, severity, path, text in seen
    ]
    ports.ledger().record(hand.phase_of(run, "work").pk, reports, reporter="probe")
    for row in Outbox.objects.filter(topic="issues.sighting"):
        judge_sighting(**row.reference)


def standing(world: World) -> dict[str, tuple[str, int, int, int]]:
    """Return each issue's status, ages in runs and tiers, and occurrences."""
    rows = BacklogEntry.objects.filter(project__project_id=world.key)
    return {
        row.issue_key: (row.status, row.age_in_runs, row.age_in_tiers, row.occurrence_count) for row in rows
    }


def history(world: World, key: str) -> list[tuple[str, str]]:
    """Return an issue's events with the number of the run, "" for none."""
    entry = BacklogEntry.objects.get(project__project_id=world.key, issue_key=key)
    rows = BacklogEvent.objects.filter(entry=entry).order_by("pk").values_list("event", "run_id")
    return [(event, run_id.rpartition("-")[2]) for event, run_id in rows]


def resolved_by(world: World) -> dict[tuple[str, str], str]:
    """Return the phase that resolved an issue in a run, "" where the run did: by the issue's name of then."""
    rows = BacklogEvent.objects.filter(entry__project__project_id=world.key, event="resolved")
    return {
        (row.entry.issue_key.removeprefix("handle-"), row.run_id.rpartition("-")[2]): row.phase_id
        for row in rows.select_related("entry")
    }


def cleans_up(run: Run, phase_id: str) -> list[tuple[str, int, int, list[str]]]:
    """Return what the run's frozen strategy says that a phase cleans up, and why."""
    rows = run.strategy.document["phase_strategies"][phase_id]["cleans_up"]
    return [(row["issue_key"], row["age_in_runs"], row["age_in_tiers"], row["because"]) for row in rows]


def test_twelve_runs_over_three_months(world: World, frozen: FrozenClock) -> None:
    gate = [{"name": "unit", "argv": ["/bin/sh", "-c", "ls"]}]
    world.project(builder=None, gate=gate, ruleset={"debt_cleanup": {"aged_issue_limit": 0, "max_phases": 2}})
    began = frozen.moment
    number = 0
    written: dict[Path, bytes] = {}

    def run(folder: str, *seen: Seen, cleanup: dict[str, str] | None = None) -> Run:
        """Go through a whole run whose phase works below a folder; `cleanup` has what its debt phases touch."""
        nonlocal number
        number += 1
        frozen.moment = began + timedelta(days=DAYS_APART * number)
        phase = {"phase_id": "work", "task_category": "docs", "scope": (f"{folder}/**",)}
        made = world.start(world.plan(phase), run_id=f"{world.key}-{number}")
        assert set(made.phases.values_list("phase_id", flat=True)) == {"work", *(cleanup or {})}
        supervisor.step(made.pk)
        see(made, *seen)
        land(world, made, "work", f"{folder}/{number}.txt")
        for phase_id, path in (cleanup or {}).items():
            assert hand.phase_of(made, phase_id).scope == [path]
            land(world, made, phase_id, path)
        made.refresh_from_db()
        assert made.state == "DONE_SUCCESS"
        assert set(GateRun.objects.filter(run=made).values_list("verdict", flat=True)) == {"green"}
        artefacts.write_run(made.pk)
        written.update(files_below(made.pk))
        return made

    def promote(made: Run) -> None:
        """Merge a run's branch into the project's, as its owner would."""
        world.git("-c", "user.name=dev", "-c", "user.email=dev@example.org", "merge", "-q", "--no-edit",
                  f"autonomous/{made.pk}")  # fmt: skip

    run("tools", LEAK, TYPO)
    assert standing(world) == {"leak": ("open", 0, 0, 1), "typo": ("open", 0, 0, 1)}

    second = run("docs")
    assert standing(world) == {"leak": ("open", 1, 1, 1), "typo": ("resolved", 1, 1, 1)}

    run("tools", TYPO)  # from a base without the fix
    assert standing(world) == {"leak": ("needs_cleanup", 2, 2, 1), "typo": ("resolved", 1, 1, 2)}

    promote(second)
    fourth = run("tools", TYPO, cleanup={"debt-cleanup-1": "src/io.py"})
    assert standing(world) == {"leak": ("resolved", 3, 4, 1), "typo": ("needs_cleanup", 1, 2, 3)}

    typo = BacklogEntry.objects.get(project__project_id=world.key, issue_key="typo")
    until = began + timedelta(days=DAYS_APART * 6 + 4)
    accept_entry(typo.pk, until=until, by="ann", why="the manual is rewritten in April")
    run("tools", SLOW)
    assert standing(world)["typo"] == ("accepted", 1, 2, 3)
    assert standing(world)["slow"] == ("open", 0, 0, 1)

    run("tools", LEAK)  # the fix of the fourth run is not promoted yet
    assert standing(world) == {
        "leak": ("resolved", 3, 4, 2), "typo": ("accepted", 1, 2, 3), "slow": ("open", 1, 1, 1),
    }  # fmt: skip

    promote(fourth)
    seventh = run(
        "tools", cleanup={"debt-cleanup-1": "docs/a.md"}
    )  # the acceptance has ended, and its age has not
    assert standing(world) == {
        "leak": ("resolved", 3, 4, 2), "typo": ("resolved", 2, 4, 3), "slow": ("needs_cleanup", 2, 3, 1),
    }  # fmt: skip

    # slow is seen again, so its cleanup resolves nothing; leak is seen where its fix is
    run("tools", SLOW, LEAK, cleanup={"debt-cleanup-1": "src/slow.py"})
    assert standing(world) == {
        "leak": ("needs_cleanup", 3, 5, 3), "typo": ("resolved", 2, 4, 3), "slow": ("needs_cleanup", 3, 5, 2),
    }  # fmt: skip

    run("tools", HANDLE, cleanup={"debt-cleanup-1": "src/io.py", "debt-cleanup-2": "src/slow.py"})
    assert standing(world) == {
        "handle-leak": ("needs_cleanup", 4, 7, 4), "typo": ("resolved", 2, 4, 3), "slow": ("resolved", 4, 7, 2),
    }  # fmt: skip

    run("tools", cleanup={"debt-cleanup-1": "src/io.py"})
    promote(seventh)
    run("tools", SLOW)  # the ninth run's fix is not promoted
    run(
        "tools", LEAK, TYPO
    )  # nor is the tenth's, but the seventh's is: by its old name the leak is known still
    assert standing(world) == {
        "handle-leak": ("resolved", 5, 9, 5), "typo": ("reopened", 2, 4, 4), "slow": ("resolved", 4, 7, 3),
    }  # fmt: skip

    assert number == 12
    assert frozen.moment - began > timedelta(days=90)
    assert history(world, "handle-leak") == [
        ("opened", "1"), ("aged", "3"), ("resolved", "4"), ("seen_before_fix", "6"), ("reopened", "8"), ("aged", "8"),
        ("renamed", "9"), ("resolved", "10"), ("seen_before_fix", "12"),
    ]  # fmt: skip
    assert history(world, "typo") == [
        ("opened", "1"), ("resolved", "2"), ("seen_before_fix", "3"), ("reopened", "4"), ("aged", "4"),
        ("accepted", ""), ("lapsed", "7"), ("aged", "7"), ("resolved", "7"), ("reopened", "12"),
    ]  # fmt: skip
    assert history(world, "slow") == [
        ("opened", "5"), ("aged", "7"), ("resolved", "9"), ("seen_before_fix", "11"),
    ]  # fmt: skip
    # a cleanup phase resolves what its strategy names, and says so; typo's end in the second run was a run's doing
    assert resolved_by(world) == {
        ("typo", "2"): "", ("leak", "4"): "debt-cleanup-1", ("typo", "7"): "debt-cleanup-1",
        ("slow", "9"): "debt-cleanup-2", ("leak", "10"): "debt-cleanup-1",
    }  # fmt: skip
    assert cleans_up(fourth, "debt-cleanup-1") == [
        ("leak", 3, 2, ["3 runs old, the limit is 3", "2 tiers old, the limit is 2"])
    ]
    assert cleans_up(seventh, "debt-cleanup-1") == [("typo", 2, 2, ["2 tiers old, the limit is 2"])]
    # what has aged counts as major where it is seen, whatever it was reported as
    seen_in = {
        row.run_id.rpartition("-")[2]: row
        for row in RunIndexEntry.objects.filter(
            run__project__project_id=world.key, issue_key__in=["leak", "handle-leak"]
        )
    }
    assert {number: row.effective_severity for number, row in seen_in.items()} == {
        "1": "minor", "6": "major", "8": "major", "9": "major", "12": "major",
    }  # fmt: skip
    # the files of the runs as each was written at its end, thrown away and made anew: byte for byte the same
    runs = sorted(Run.objects.filter(project__project_id=world.key).values_list("run_id", flat=True))
    assert artefacts.check(runs) == []
    last = files_below(world.key)
    for name in (*runs, world.key):
        shutil.rmtree(Path(settings.RUNS_DIR) / name)
    artefacts.rebuild(runs)
    anew = {path: data for run_id in runs for path, data in files_below(run_id).items()}
    assert anew == written
    assert files_below(world.key) == last
    assert len([path for path in written if path.name == "run_issue_index.json"]) == 12


def files_below(folder: str) -> dict[Path, bytes]:
    """Return a folder's files as they are."""
    root = Path(settings.RUNS_DIR)
    return {
        path.relative_to(root): path.read_bytes() for path in (root / folder).rglob("*") if path.is_file()
    }
