"""What a successful run covered is resolved in batches: one at its end, the rest by a message, whatever is killed."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction

from autopack_site.kernel import clock
from issues import closing
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry, BacklogEvent
from issues.tasks import close_run
from runs import outbox
from runs.models import Outbox, Run
from strategy.models import Project
from tests.factories import make_project, make_run, pass_gate
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()
KEYS = [f"k{number}" for number in range(8)]


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of eight open issues, of which three make a batch; k1 and k6 lie outside of src/."""
    monkeypatch.setattr(closing, "BATCH", 3)
    made = make_project()
    say(made, *KEYS)
    return made


def say(project: Project, *keys: str) -> None:
    where = {"k1": "lib/1.py", "k6": "lib/6.py"}
    reports = [report(key, evidence_refs=(where.get(key, "src/a.py"),)) for key in keys]
    ledger.record(make_run(project).phases.get(phase_id="P1").pk, reports, reporter="b")


def ended(project: Project) -> Run:
    """A run that succeeded, whose gate vouches for src/."""
    run = make_run(project, scope=("src/**",))
    pass_gate(run.phases.get(phase_id="P1"))
    Run.objects.filter(pk=run.pk).update(state="DONE_SUCCESS", completed_at=clock.now())
    Outbox.objects.all().delete()
    with transaction.atomic():
        ledger.end_run(run.pk)
    return run


def resolved() -> list[str]:
    return list(BacklogEntry.objects.filter(status="resolved").values_list("issue_key", flat=True))


def events() -> list[str]:
    rows = BacklogEvent.objects.filter(event="resolved").order_by("id")
    return list(rows.values_list("entry__issue_key", flat=True))


def work() -> Outbox:
    return Outbox.objects.get(topic=closing.TOPIC)


def do() -> None:
    close_run(**work().reference)


def test_the_end_looks_at_one_batch_and_the_message_at_the_rest_and_renews_the_files(
    project: Project,
) -> None:
    run = ended(project)
    assert resolved() == ["k0", "k2"]
    assert (work().key, work().reference) == (run.pk, {"run_id": run.pk, "after": "k2"})
    do()
    assert resolved() == events() == ["k0", "k2", "k3", "k4", "k5", "k7"]
    assert list(Outbox.objects.values_list("topic", "key")) == [("artefacts.write", run.pk)]
    close_run(run.pk, "k2")  # a message of before comes late
    assert len(events()) == 6


def test_a_backlog_of_one_batch_leaves_no_work(project: Project) -> None:
    BacklogEntry.objects.filter(issue_key__gt="k1").update(status="resolved")
    ended(project)
    assert events() == ["k0"]
    assert not Outbox.objects.exists()


def test_a_worker_that_is_killed_between_batches_loses_none_and_repeats_none(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended(project)
    real, calls = closing.lock_backlog, []

    def dies(project_pk: int) -> Any:
        calls.append(project_pk)
        if len(calls) == 2:
            raise SystemExit("killed")
        return real(project_pk)

    with monkeypatch.context() as patched:
        patched.setattr(closing, "lock_backlog", dies)
        with pytest.raises(SystemExit):
            do()
    assert resolved() == ["k0", "k2", "k3", "k4", "k5"]
    assert work().reference == {"run_id": run.pk, "after": "k5"}
    # the message is lost with it: what the sweep sends again goes on from there
    Outbox.objects.update(due_at=clock.database_now())
    sent: list[Outbox] = []

    def publish(row: Outbox) -> bool:
        sent.append(row)
        return True

    monkeypatch.setattr(outbox, "publish", publish)
    outbox.resend()
    close_run(**next(row.reference for row in sent if row.topic == closing.TOPIC))
    assert events() == ["k0", "k2", "k3", "k4", "k5", "k7"]
    assert Outbox.objects.filter(topic="artefacts.write").exists()


def test_a_worker_that_is_killed_before_it_is_told_has_the_files_renewed_by_the_next(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(project)
    with monkeypatch.context() as patched:
        patched.setattr(closing, "renew_files", lambda project: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            do()
    assert len(resolved()) == 6
    assert not Outbox.objects.filter(topic="artefacts.write").exists()
    do()
    assert list(Outbox.objects.values_list("topic", flat=True)) == ["artefacts.write"]


def test_what_is_seen_before_its_batch_stays_open(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(project)
    say(project, "k4")
    real = closing.lock_backlog

    def late(project_pk: int) -> Any:
        if not BacklogEntry.objects.filter(issue_key="k7", occurrence_count=2).exists():
            say(project, "k7")  # after the batch was looked at, before its lock is had
        return real(project_pk)

    monkeypatch.setattr(closing, "lock_backlog", late)
    do()
    assert resolved() == ["k0", "k2", "k3", "k5"]


def test_of_two_workers_the_later_one_leaves(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended(project)
    real = closing._close_batch

    def overtaken(*args: Any, **fields: Any) -> str | None:
        following = real(*args, **fields)
        Outbox.objects.filter(topic=closing.TOPIC).update(reference={"run_id": run.pk, "after": "k6"})
        return following

    with monkeypatch.context() as patched:
        patched.setattr(closing, "_close_batch", overtaken)
        do()
    assert resolved() == ["k0", "k2", "k3", "k4", "k5"]
    do()
    assert events() == ["k0", "k2", "k3", "k4", "k5", "k7"]


@pytest.mark.django_db(transaction=True)
def test_the_backlog_is_free_between_the_batches(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(project)
    other, free = connection.copy(), []
    real = closing._close_batch

    def look() -> None:
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM issues_backlogtally FOR UPDATE SKIP LOCKED")
            found = cursor.fetchone()
            cursor.execute("SELECT count(*) FROM issues_backlogentry WHERE status = 'resolved'")
            free.append((found, *cursor.fetchone()))

    def watched(*args: Any, **fields: Any) -> str | None:
        following = real(*args, **fields)
        transaction.on_commit(look)
        return following

    monkeypatch.setattr(closing, "_close_batch", watched)
    try:
        do()
    finally:
        other.close()
    assert free == [((1,), 5), ((1,), 6)]
