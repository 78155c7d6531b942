"""`manage.py run`: starting from files, faults by line, watching to the end."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from runs import watch
from runs.management.commands.run import merge_command
from runs.models import Attempt, Run
from runs.services import cancel_run
from runs.transitions import note
from tests.factories import make_project, make_run

pytestmark = pytest.mark.django_db

PLAN = "# Plan\n\n## First\n\n- Write it\n  - id: write\n  - category: docs\n"
BODY: dict[str, Any] = {
    "run": {"run_id": "from-json", "token_cap": 1234},
    "tiers": [{"tier_id": "t", "tier_index": 0, "name": "T"}],
    "phases": [{"phase_id": "p", "phase_index": 0, "tier_id": "t", "name": "P"}],
}


def call(*arguments: str) -> str:
    out = StringIO()
    call_command("run", *arguments, stdout=out)
    return out.getvalue()


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_plan_document_becomes_a_run_and_says_what_next(tmp_path: Path) -> None:
    project = make_project()
    said = call(written(tmp_path, "plan.md", PLAN), "--project", project.project_id, "--run-id", "one")
    run = Run.objects.get(pk="one")
    assert (run.project, list(run.phases.values_list("phase_id", flat=True))) == (project, ["write"])
    assert "Run one started: 1 phases, branch autonomous/one" in said
    assert "manage.py run --attach one" in said


def test_json_plans_bring_their_id_and_caps_and_the_command_line_wins(tmp_path: Path) -> None:
    project = make_project()
    path = written(tmp_path, "plan.json", json.dumps(BODY))
    call(path, "--project", project.project_id, "--safety-profile", "safety_critical")
    run = Run.objects.get(pk="from-json")
    assert (run.token_cap, run.safety_profile) == (1234, "safety_critical")
    call(path, "--project", project.project_id, "--run-id", "other")
    assert Run.objects.filter(pk="other").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("plan.md", PLAN + "  - complexity: huge\n", "plan.md: line 8:"),
        ("plan.md", "nothing here\n", "plan.md: line 1:"),
        ("plan.json", '{\n"tiers": [}\n', "plan.json: line 2: not JSON"),
        ("plan.json", "[]", "plan.json: must hold an object"),
        (
            "plan.json",
            json.dumps({**BODY, "run": {"token_cap": "many"}}),
            "run.token_cap: must be a whole number",
        ),
    ],
)
def test_faults_name_the_file_and_the_place_and_leave_no_run(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    project = make_project()
    with pytest.raises(CommandError, match=message.replace(".", r"\.")):
        call(written(tmp_path, name, text), "--project", project.project_id)
    assert not Run.objects.exists()


def test_a_file_that_is_no_text_or_is_not_there_is_a_kind_fault(tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_bytes(b"# a\n\xff")
    with pytest.raises(CommandError, match="line 2: not UTF-8"):
        call(str(tmp_path / "plan.md"))
    with pytest.raises(CommandError, match="No such file"):
        call(str(tmp_path / "absent.md"))


def test_watching_a_run_that_ended_badly_ends_with_status_1() -> None:
    run = make_run()
    cancel_run(run.run_id, by="operator", why="enough")
    with pytest.raises(SystemExit) as ended:
        call("--attach", run.run_id)
    assert ended.value.code == 1


def test_watching_as_json_prints_each_event_once_and_the_run_last() -> None:
    run = make_run()
    cancel_run(run.run_id, by="operator", why="enough")
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("run", "--attach", run.run_id, "--json", stdout=out)
    *events, last = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [row["id"] for row in events] == list(run.transitions.order_by("id").values_list("id", flat=True))
    assert (last["run_id"], last["state"]) == (run.run_id, "DONE_CANCELLED")


def test_ctrl_c_stops_watching_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runs.watch.time.sleep", interrupt)
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("run", "--attach", run.run_id, stdout=out)
    run.refresh_from_db()
    assert (ended.value.code, run.is_terminal) == (130, False)
    assert f"manage.py run --attach {run.run_id}" in out.getvalue()


def test_an_unknown_run_is_said_to_be_unknown() -> None:
    with pytest.raises(CommandError, match="Run nope not found"):
        call("--attach", "nope")


def test_control_characters_of_agents_never_reach_the_terminal() -> None:
    assert watch.plain("a\x1b[2Jb\r\nc\u202ed") == "a [2Jb c d"
    assert watch.plain("x" * 500, 10) == "xxxxxxx..."


def test_a_run_that_succeeded_says_where_it_is_and_how_to_merge_it() -> None:
    run = make_run(make_project(source="/srv/git/my shop"), run_id="good")
    run.phases.update(state="COMPLETE", commit_sha="c" * 40)
    Run.objects.filter(pk="good").update(state="DONE_SUCCESS", completed_at=run.created_at)
    lines = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("run", "--attach", "good", stdout=lines)
    said = lines.getvalue()
    assert ended.value.code == 0
    assert "branch: autonomous/good, 2 commits" in said
    assert "promotable: yes" in said
    assert "merge it: git -C '/srv/git/my shop' merge autonomous/good" in said
    assert "incident" not in said


def test_a_run_that_failed_says_why_it_may_not_be_promoted_and_where_to_read_on() -> None:
    run = make_run(run_id="bad")
    Run.objects.filter(pk="bad").update(state="DONE_FAILED_GATE", completed_at=run.created_at)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("run", "--attach", "bad", stdout=out)
    assert "promotable: no, not-successful: the run is DONE_FAILED_GATE" in out.getvalue()
    assert "merge it" not in out.getvalue()
    assert "bad/incident/incident.md" in out.getvalue()


def test_a_repository_elsewhere_is_merged_in_a_clone() -> None:
    run = make_run(make_project(source="https://git.example.org/shop.git"), run_id="far")
    assert merge_command(run) == "git fetch origin autonomous/far && git merge FETCH_HEAD"


def test_a_start_says_that_nobody_builds_and_nothing_tests(tmp_path: Path) -> None:
    project = make_project()
    said = call(written(tmp_path, "plan.md", PLAN), "--project", project.project_id, "--run-id", "one")
    assert "note: no builder of the project takes docs: each such phase waits 900 s for a claim" in said
    assert "note: the gate profile normal has no steps: patches land untested (waived)" in said


def test_the_table_shows_what_a_gate_was_and_what_it_cost() -> None:
    run = make_run(run_id="shown", phases_per_tier=1)
    phase = run.phases.get()
    for number, state in enumerate(("LOST", "RED", "MERGED"), start=1):
        made = Attempt.objects.create(
            run=run,
            phase=phase,
            kind="build",
            number=number,
            state=state,
            created_at=run.created_at + timedelta(seconds=number),
        )
    note(phase, "gate_waived", data={"attempt": made.pk})
    [line] = watch.look("shown").phases
    assert (line.results, line.cost) == (("lost", "red", "waived"), "")
    assert [column.header for column in watch.table(watch.look("shown")).columns][-1] == "tokens"
    run.phases.update(cost_micro_usd=1_250_000)
    assert watch.look("shown").phases[0].cost == "$1.25"
    assert [column.header for column in watch.table(watch.look("shown")).columns][-1] == "cost"
