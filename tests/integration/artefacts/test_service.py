"""Writing, rebuilding and checking artefacts, against real rows and real files."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from integration.artefacts import rows, service
from integration.repository import log_path
from runs import outbox
from runs.models import Outbox, Run
from tests.integration.artefacts.builders import (
    at,
    failed_run,
    make_attempt,
    make_gate,
    make_issue,
    make_phase,
    make_project,
    make_run,
    make_tier,
)
from tests.integration.artefacts.conftest import contents


def no_tail(_gate: object) -> bytes:
    return b""


def test_every_file_of_a_run_and_its_project_is_written(root: Path) -> None:
    run = make_run()
    make_phase(make_tier(run))
    service.write_run("r1")
    assert set(contents(root)) == {
        "r1/run_summary.md",
        "r1/project_implementation_strategy_v1.json",
        "r1/tiers/tier_01_t1.md",
        "r1/phases/phase_01_p1.md",
        "r1/issues/phase_01_p1_issues.json",
        "r1/issues/run_issue_index.json",
        "project_issue_backlog.json",
        "project_ruleset_web.json",
    }


def test_a_failed_run_gets_its_incident_pack(root: Path) -> None:
    failed_run()
    service.write_run("r1")
    pack = {path.removeprefix("r1/incident/") for path in contents(root) if "/incident/" in path}
    assert pack == {
        "incident.md",
        "incident.json",
        "attempts.json",
        "gate_tail.txt",
        "budgets.json",
        "strategy.json",
        "timeline.jsonl",
        "patches/phase_02_p2_build_1.diff",
        "patches/phase_02_p2_build_2.diff",
    }


def test_only_failed_states_have_an_incident_pack(root: Path) -> None:
    for state in Run.State:
        values: dict[str, Any] = {"completed_at": at(5)} if state.startswith("DONE_") else {}
        make_run(f"run-{state.lower()}", state=state, **values)
        service.write_run(f"run-{state.lower()}")
    packs = {
        path.split("/")[0].removeprefix("run-").upper() for path in contents(root) if "incident.md" in path
    }
    assert packs == {state for state in Run.State if state.startswith("DONE_FAILED_")}


def test_a_deleted_folder_is_rebuilt_byte_for_byte(root: Path) -> None:
    failed_run()
    service.write_run("r1")
    before = contents(root)
    assert len(before) > 15
    shutil.rmtree(root)
    service.rebuild()
    assert contents(root) == before


def test_writing_again_changes_no_file(root: Path) -> None:
    failed_run()
    service.write_run("r1")
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    assert service.write_run("r1") == []
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == stamps


def test_the_strategy_file_has_the_hash_that_the_run_froze(root: Path) -> None:
    run = make_run()
    service.write_run("r1")
    data = (root / "r1" / "project_implementation_strategy_v1.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == run.strategy.sha256


def test_the_backlog_of_a_second_project_lies_in_its_own_folder(root: Path) -> None:
    make_project()
    phase = make_phase(make_tier(make_run("r2", project=make_project("api", is_default=False))))
    make_issue(phase, "key-of-api")
    service.rebuild()
    assert json.loads((root / "api" / "project_issue_backlog.json").read_bytes())["project_id"] == "api"
    assert json.loads((root / "project_issue_backlog.json").read_bytes()) == {
        "project_id": "web",
        "issues_by_key": {},
    }
    assert json.loads((root / "project_ruleset_api.json").read_bytes())["project_id"] == "api"


def test_files_that_no_longer_belong_are_removed_and_strangers_at_the_top_are_kept(root: Path) -> None:
    phase = make_phase(make_tier(make_run()))
    service.write_run("r1")
    (root / "r1" / "phases" / "phase_09_gone.md").write_text("old")
    (root / "r1" / "notes.txt").write_text("an operator's own")
    service.write_run("r1")
    names = set(contents(root))
    assert "r1/phases/phase_09_gone.md" not in names
    assert "r1/notes.txt" in names
    assert f"r1/phases/phase_01_{phase.phase_id}.md" in names


def test_a_run_that_is_gone_leaves_no_work_and_no_file(root: Path) -> None:
    with transaction.atomic():
        outbox.enqueue("artefacts.write", "ghost", run_id="ghost")
    assert service.write_run("ghost") == []
    assert not Outbox.objects.filter(topic="artefacts.write").exists()
    assert contents(root) == {}


def test_a_run_called_as_its_project_s_lock_was_waits_for_nobody(root: Path) -> None:
    """It holds the lock of its own files while it takes the project's."""
    run = make_run("project.web")
    make_phase(make_tier(run))
    service.write_run(run.pk, wait_s=0.0)
    assert "project.web/run_summary.md" in contents(root)
    assert "project_issue_backlog.json" in contents(root)


@pytest.mark.parametrize("run_id", ["project_issue_backlog.json", "project_ruleset_web.json"])
def test_a_run_named_like_a_project_file_can_t_take_its_place(root: Path, run_id: str) -> None:
    make_run(run_id)
    assert service.write_run(run_id) == []
    service.write_project("web")
    assert (root / "project_issue_backlog.json").is_file()
    assert not Outbox.objects.filter(topic="artefacts.write").exists()


@pytest.mark.parametrize("run_id", ["..", "a/../../b", ".hidden", "x.lock", ""])
def test_an_id_that_is_no_name_writes_nothing(root: Path, run_id: str) -> None:
    assert service.write_run(run_id) == []
    assert not root.exists()


def test_reading_takes_the_same_number_of_queries_for_any_size(root: Path, django_assert_num_queries) -> None:
    small, large = make_run("small"), make_run("large")
    make_phase(make_tier(small))
    for number in range(4):
        tier = make_tier(large, f"t{number}")
        for extra in range(3):
            phase = make_phase(tier, f"p{number}-{extra}")
            make_gate(make_attempt(phase))
    for run_id in ("small", "large"):
        with django_assert_num_queries(7):
            found = rows.load_run(run_id)
        assert found is not None
        with django_assert_num_queries(0):
            service.render_run(found, no_tail)


def test_rendering_a_failed_run_asks_the_database_nothing(root: Path, django_assert_num_queries) -> None:
    failed_run()
    found = rows.load_run("r1")
    assert found is not None
    with django_assert_num_queries(0):
        first = service.render_run(found, no_tail)
        assert service.render_run(found, no_tail) == first


def test_the_gate_tail_is_the_end_of_the_last_gate_s_log(root: Path) -> None:
    run = failed_run()
    last = run.gate_runs.order_by("created_at").last()
    assert last is not None
    path = log_path("r1", f"gate-{last.pk}")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"collected 2 items\n\x1b[31mE   AssertionError\x1b[0m\nhalf a \xff byte\n")
    service.write_run("r1")
    assert (root / "r1" / "incident" / "gate_tail.txt").read_text(encoding="utf-8") == (
        "collected 2 items\n\\x1b[31mE   AssertionError\\x1b[0m\nhalf a \ufffd byte\n"
    )


def test_check_names_what_differs_and_writes_nothing(root: Path, capsys) -> None:
    make_phase(make_tier(make_run()))
    service.write_run("r1")
    call_command("artefacts", "rebuild", "--check")
    assert capsys.readouterr().out == "0 files differ\n"
    (root / "r1" / "run_summary.md").write_bytes(b"forged")
    (root / "r1" / "tiers" / "tier_01_t1.md").unlink()
    (root / "r1" / "tiers" / "extra.md").write_bytes(b"")
    before = contents(root)
    with pytest.raises(SystemExit) as exit_:
        call_command("artefacts", "rebuild", "r1", "--check", "--json")
    assert exit_.value.code == 1
    assert json.loads(capsys.readouterr().out) == {
        "differing": [
            {"path": "r1/run_summary.md", "kind": "changed"},
            {"path": "r1/tiers/extra.md", "kind": "stray"},
            {"path": "r1/tiers/tier_01_t1.md", "kind": "missing"},
        ]
    }
    assert contents(root) == before
    call_command("artefacts", "rebuild", "r1")
    assert service.check() == []


def test_the_command_refuses_a_run_that_does_not_exist(root: Path) -> None:
    with pytest.raises(Exception, match="Run not found: nothing-here"):
        call_command("artefacts", "rebuild", "nothing-here")
