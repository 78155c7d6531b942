"""A resolved issue is reopened by what has its fix, and by nothing older."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from autopack_site.kernel import clock
from issues.decisions import resolve_entry
from issues.ledger import DatabaseLedger
from issues.merging import merge_entries
from issues.models import BacklogEntry, BacklogEvent
from issues.reopening import judge
from issues.tasks import judge_sighting
from runs import ports, services
from runs.models import Attempt, Lease, Outbox, Phase, Run
from runs.services import BuildResult
from strategy.models import Project
from tests.factories import make_project, make_run, pass_gate
from tests.fakes import FakeWorkspace
from tests.issues.http import client, entry_of, saw
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
FIX, OLD, NEW = "f" * 40, "0" * 40, "1" * 40


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> FakeWorkspace:
    """Git, as the test says it is."""
    made = FakeWorkspace()
    made.fixes = {OLD: False, NEW: True}
    monkeypatch.setattr(ports, "workspace", lambda: made)
    return made


@pytest.fixture
def project() -> Project:
    """A project with a resolved issue, fixed by FIX."""
    project = make_project()
    saw(make_run(project), "leak")
    run = make_run(project, head_commit=FIX)
    pass_gate(run.phases.get(phase_id="P1"))
    now = clock.now()
    Run.objects.filter(pk=run.pk).update(state="DONE_SUCCESS", started_at=now, completed_at=now)
    DatabaseLedger().end_run(run.run_id)
    assert (entry_of("leak").status, entry_of("leak").fixed_by) == ("resolved", FIX)
    return project


def seen_at(project: Project, commit: str, head_commit: str = "") -> str:
    """Report the issue from a run at the commit, do what that leaves to do, and return the status then."""
    saw(make_run(project, base_commit=commit, head_commit=head_commit), "leak")
    before = entry_of("leak").status
    for row in Outbox.objects.filter(topic="issues.sighting"):
        judge_sighting(**row.reference)
    assert not Outbox.objects.filter(topic="issues.sighting").exists()
    assert before == "resolved"
    return str(entry_of("leak").status)


def told(event: str) -> list[str]:
    return list(BacklogEvent.objects.filter(event=event).values_list("why", flat=True))


def test_a_branch_that_has_the_fix_reopens_it(project: Project, workspace: FakeWorkspace) -> None:
    assert seen_at(project, NEW) == "reopened"
    assert entry_of("leak").fixed_by == ""
    assert told("reopened") == ["seen at 111111111111, which has its fix ffffffffffff"]


def test_an_old_branch_does_not_and_is_told_once_a_run(project: Project, workspace: FakeWorkspace) -> None:
    assert seen_at(project, OLD) == "resolved"
    saw(Run.objects.get(base_commit=OLD), "leak")
    judge(entry_of("leak").pk, OLD, run_id=Run.objects.get(base_commit=OLD).pk, who="b")
    assert told("seen_before_fix") == ["seen at 000000000000, which does not have its fix ffffffffffff"]
    # it is a sighting all the same
    assert entry_of("leak").occurrence_count == 3


def test_the_branch_as_it_is_now_counts_not_where_it_began(
    project: Project, workspace: FakeWorkspace
) -> None:
    assert seen_at(project, OLD, head_commit=NEW) == "reopened"


def attempt_at(run: Run, commit: str, **fields: Any) -> Attempt:
    phase = run.phases.get(phase_id="P1")
    number = phase.attempts.count() + 1
    return Attempt.objects.create(run=run, phase=phase, kind="build", number=number, state="RUNNING",
                                  base_commit=commit, created_at=clock.now(), **fields)  # fmt: skip


def test_an_attempt_from_before_the_fix_says_nothing_new_though_its_run_has_the_fix_by_now(
    project: Project, workspace: FakeWorkspace
) -> None:
    run = make_run(project, base_commit=OLD, head_commit=NEW)
    attempt_at(run, OLD)
    saw(run, "leak")
    assert asked_about() == [OLD]
    # a report that names its attempt's base is about that, whatever attempts came since
    ledger = DatabaseLedger()
    ledger.record(run.phases.get(phase_id="P1").pk, [report("leak")], reporter="late", base="2" * 40)
    assert asked_about() == [OLD, "2" * 40]
    attempt_at(run, NEW)
    saw(run, "leak")
    assert asked_about() == [OLD, NEW, "2" * 40]


def test_what_an_agent_hands_in_was_seen_where_its_attempt_began(project: Project) -> None:
    """The build's claim is older than the fix, which another phase of the run has merged since."""
    run = make_run(project, base_commit=OLD, head_commit=OLD, state="PHASE_EXECUTION")
    phase = run.phases.get(phase_id="P1")
    attempt = attempt_at(run, OLD, agent="builder-1")
    Phase.objects.filter(pk=phase.pk).update(state="EXECUTING", fence=1)
    lease = Lease.objects.create(
        run=run, phase=phase, attempt=attempt, owner="builder-1", fence=1, ttl_s=60, acquired_at=clock.now(),
        expires_at=clock.database_now() + timedelta(seconds=60),
    )  # fmt: skip
    Run.objects.filter(pk=run.pk).update(head_commit=NEW)
    result = BuildResult(status="failed", patch=b"", issues=(report("leak"),))
    services.submit_build(lease.pk, fence=1, result=result)
    assert asked_about() == [OLD]


def asked_about() -> list[str]:
    rows = Outbox.objects.filter(topic="issues.sighting")
    return sorted(row.reference["commit"] for row in rows)


def test_what_git_can_t_tell_is_reopened(project: Project, workspace: FakeWorkspace) -> None:
    assert seen_at(project, "2" * 40) == "reopened"
    assert told("reopened") == ["seen at 222222222222; whether that has its fix ffffffffffff can't be told"]


def test_without_a_known_fix_it_is_reopened_at_once(project: Project, workspace: FakeWorkspace) -> None:
    BacklogEntry.objects.update(fixed_by="")
    saw(make_run(project, base_commit=OLD), "leak")
    assert entry_of("leak").status == "reopened"
    assert not Outbox.objects.filter(topic="issues.sighting").exists()


def test_work_that_is_done_twice_or_too_late_changes_nothing(
    project: Project, workspace: FakeWorkspace
) -> None:
    assert seen_at(project, NEW) == "reopened"
    assert not judge(entry_of("leak").pk, NEW, run_id="r", who="b")
    assert len(told("reopened")) == 1
    assert not judge(10**9, NEW, run_id="r", who="b")


def test_a_fix_that_came_while_git_was_asked_is_asked_about_in_its_turn(
    project: Project, workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def contains(_project: int, _commit: str, fix: str) -> bool:
        asked.append(fix)
        if len(asked) == 1:
            BacklogEntry.objects.update(fixed_by="e" * 40)
        return len(asked) == 1

    monkeypatch.setattr(workspace, "contains", contains)
    assert not judge(entry_of("leak").pk, NEW, run_id="r", who="b")
    assert asked == [FIX, "e" * 40]
    assert entry_of("leak").status == "resolved"


@pytest.mark.parametrize("when", ["before git is asked", "while git is asked"])
def test_what_is_merged_meanwhile_was_a_sighting_of_the_entry_that_is_kept(
    project: Project, workspace: FakeWorkspace, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    saw(make_run(project), "other")
    resolve_entry(entry_of("other").pk, by="ann", why="fixed", commit=NEW)
    kept, gone = entry_of("other").pk, entry_of("leak").pk

    def join() -> None:
        if BacklogEntry.objects.filter(pk=gone).exists():
            merge_entries(kept, [gone], by="ann", why="one")

    def contains(_project: int, _commit: str, _fix: str) -> bool:
        join()
        return True

    if when == "before git is asked":
        join()
    monkeypatch.setattr(workspace, "contains", contains)
    assert judge(gone, NEW, run_id="r", who="b")
    assert (entry_of("other").pk, entry_of("other").status) == (kept, "reopened")


def test_a_sighting_from_before_a_person_resolved_it_does_not_undo_that(
    project: Project, workspace: FakeWorkspace
) -> None:
    saw(make_run(project, base_commit=NEW), "leak")
    unknown = "4" * 40
    saw(make_run(project, base_commit=unknown), "leak")
    assert judge(entry_of("leak").pk, unknown, run_id="r", who="b")
    resolve_entry(entry_of("leak").pk, by="ann", why="the file is gone")
    assert not judge(entry_of("leak").pk, NEW, run_id="r", who="b")
    assert entry_of("leak").status == "resolved"


@pytest.mark.django_db(transaction=True)
def test_two_workers_reopen_it_once(project: Project, workspace: FakeWorkspace) -> None:
    start = threading.Barrier(2)
    pk, answers = entry_of("leak").pk, []

    def work() -> None:
        try:
            start.wait(10)
            answers.append(judge(pk, NEW, run_id="r", who="b"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [False, True]
    assert len(told("reopened")) == 1


def test_a_person_names_the_commit_that_fixed_it(workspace: FakeWorkspace) -> None:
    saw(make_run(make_project("shop", is_default=True)), "leak")
    http = client("operator")
    path = f"/project/issues/{entry_of('leak').pk}/resolve"
    for commit in ("main", "F" * 40, "3" * 40, "--help"):
        answer = http.post(path, {"why": "fixed", "commit": commit}, format="json")
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["commit"])
    answer = http.post(path, {"why": "fixed", "commit": NEW}, format="json")
    assert answer.status_code == 200, answer.content
    assert (answer.json()["status"], answer.json()["fixed_by"]) == ("resolved", NEW)
