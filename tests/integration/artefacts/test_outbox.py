"""When artefacts are written: the work stands in the outbox until the files hold what they are to tell."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from django.db import connection, transaction

from integration.artefacts import service
from integration.artefacts.errors import ArtefactsBusy
from integration.locks import held
from runs import outbox
from runs.models import Outbox, Phase, Run
from runs.transitions import move, note
from tests.integration.artefacts.builders import at, failed_run, make_issue, make_phase, make_run, make_tier


@pytest.fixture
def large_backlog(root: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose project has a backlog beyond what is written at every change."""
    monkeypatch.setattr(service, "MANY_ENTRIES", 2)
    run = make_run()
    phase = make_phase(make_tier(run))
    for key in ("b", "a", "\u00e9", "Z"):
        make_issue(phase, key)
    return run


def test_a_large_backlog_is_written_when_its_time_has_come_and_once_for_all_changes(
    large_backlog: Run, root: Path
) -> None:
    for _ in range(3):
        service.write_run("r1")
    assert not (root / "project_issue_backlog.json").exists()
    row = Outbox.objects.get(topic="artefacts.project")
    assert (row.key, row.reference) == ("web", {"project_id": "web"})
    assert not service.write_project_due("web")
    Outbox.objects.update(due_at=at(0))
    assert service.write_project_due("web")
    assert not Outbox.objects.filter(topic="artefacts.project").exists()
    text = (root / "project_issue_backlog.json").read_text()
    assert list(json.loads(text)["issues_by_key"]) == ["Z", "a", "b", "\u00e9"]
    assert [row for row in service.check() if row.path == "project_issue_backlog.json"] == []


def test_a_killed_write_of_a_large_backlog_is_taken_up(large_backlog: Run, root: Path) -> None:
    with transaction.atomic():
        outbox.enqueue("artefacts.project", "web:writing", project_id="web")
    assert service.write_project_due("web")
    assert (root / "project_issue_backlog.json").is_file()
    assert not Outbox.objects.filter(topic="artefacts.project").exists()


def test_a_large_backlog_that_another_writes_stays_in_the_outbox(large_backlog: Run, root: Path) -> None:
    with transaction.atomic():
        outbox.enqueue("artefacts.project", "web", project_id="web")
    (root / ".locks").mkdir(parents=True)
    with held(root / ".locks" / ".project.web", timeout_s=1):
        assert not service.write_project_due("web")
    assert service.write_project_due("web")
    assert not Outbox.objects.filter(topic="artefacts.project").exists()


def test_the_work_leaves_the_outbox_when_the_files_stand(root: Path) -> None:
    run = make_run()
    with transaction.atomic():
        note(run, "seen")
    assert Outbox.objects.filter(topic="artefacts.write").count() == 1
    service.write_run("r1")
    assert not Outbox.objects.filter(topic="artefacts.write").exists()


def test_a_write_that_fails_stays_in_the_outbox(root: Path) -> None:
    run = make_run()
    with transaction.atomic():
        note(run, "seen")
    root.mkdir()
    (root / "r1").mkdir()
    (root / "r1" / "run_summary.md").mkdir()
    with pytest.raises(Exception, match="directory"):
        service.write_run("r1")
    row = Outbox.objects.get(topic="artefacts.write")
    assert row.key == "r1:writing"
    assert row.reference == {"run_id": "r1"}
    (root / "r1" / "run_summary.md").rmdir()
    service.write_run("r1")
    assert not Outbox.objects.filter(topic="artefacts.write").exists()


def test_a_change_that_commits_while_files_are_written_enqueues_anew(root: Path) -> None:
    run = failed_run()

    def change(_gate: object) -> bytes:
        with transaction.atomic():
            note(run, "late_report")
        return b""

    service.write_run("r1", gate_tail=change)
    assert [row.key for row in Outbox.objects.filter(topic="artefacts.write")] == ["r1"]


def test_a_change_that_was_open_when_the_write_began_is_in_the_files(root: Path) -> None:
    """Its enqueue found the old row and added none: only waiting for its commit keeps it from being lost."""
    run = make_run()
    phase = make_phase(make_tier(run))
    with transaction.atomic():
        note(run, "seen")
    written = threading.Event()

    def write() -> None:
        service.write_run("r1")
        written.set()
        connection.close()

    with transaction.atomic():
        Run.objects.select_for_update().get(pk="r1")
        move(phase, "claimed")
        writer = threading.Thread(target=write)
        writer.start()
        assert not written.wait(0.3)
    writer.join(20)
    assert written.is_set()
    assert b"`EXECUTING`" in (root / "r1" / "phases" / "phase_01_p1.md").read_bytes()


def test_concurrent_writers_leave_the_newest_state(root: Path) -> None:
    run = make_run()
    tier = make_tier(run)
    phases = [make_phase(tier, f"p{number}") for number in range(1, 7)]
    failures: list[BaseException] = []

    def work(mine: list[Phase]) -> None:
        try:
            for phase in mine:
                with transaction.atomic():
                    Run.objects.select_for_update().get(pk="r1")
                    move(phase, "claimed")
                service.write_run("r1")
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(phases[number::3],)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert not Outbox.objects.filter(topic="artefacts.write").exists()
    assert service.check() == []
    assert (root / "r1" / "run_summary.md").read_bytes().count(b"`EXECUTING`") == 6


def test_a_folder_that_is_held_answers_busy_and_keeps_the_work(root: Path) -> None:
    run = make_run()
    service.write_run("r1")
    with transaction.atomic():
        note(run, "seen")
    with held(root / ".locks" / "r1", timeout_s=1):
        with pytest.raises(ArtefactsBusy):
            service.write_run("r1", wait_s=0.05)
        assert service.write_due("r1") == 0
    assert [row.key for row in Outbox.objects.filter(topic="artefacts.write")] == ["r1"]


def test_a_message_without_work_writes_nothing(root: Path, django_assert_num_queries) -> None:
    run = make_run()
    with django_assert_num_queries(1):
        assert service.write_due("r1") == 0
    assert not root.exists()
    with transaction.atomic():
        note(run, "seen")
    assert [service.write_due("r1"), service.write_due("r1")] == [1, 0]
    assert service.check() == []


def test_a_change_during_a_write_is_written_by_the_same_writer(root: Path, monkeypatch) -> None:
    run = failed_run()
    with transaction.atomic():
        note(run, "seen")
    changes = iter(["late_report"])

    def change(_gate: object) -> bytes:
        for event in changes:
            with transaction.atomic():
                note(run, event)
        return b""

    monkeypatch.setitem(service.write_run.__kwdefaults__, "gate_tail", change)
    assert service.write_due("r1") == 2
    assert b"late_report" in (root / "r1" / "incident" / "timeline.jsonl").read_bytes()
    assert not Outbox.objects.filter(topic="artefacts.write").exists()


def test_the_work_of_a_killed_writer_is_taken_up(root: Path) -> None:
    make_run()
    with transaction.atomic():
        outbox.enqueue("artefacts.write", "r1:writing", run_id="r1")
    assert service.write_due("r1") == 1
    assert (root / "r1" / "run_summary.md").is_file()
    assert not Outbox.objects.filter(topic="artefacts.write").exists()
