"""A watched run: what it does while nothing happens, what is left out, and a database that goes away."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError
from rich.console import Console

from autopack_site.kernel import clock, unreachable
from runs import services, supervisor, watch
from runs.doing import doing
from runs.models import Phase, Run
from runs.services import cancel_run
from tests.factories import make_project, make_run

pytestmark = pytest.mark.django_db


def lines(run: Run) -> list[tuple[str, bool]]:
    return [(line.text, line.is_waiting) for line in doing(run.pk)]


def test_a_run_that_no_worker_took_up_says_so() -> None:
    [(text, is_waiting)] = lines(make_run(state="RUN_CREATED"))
    assert is_waiting
    assert "waits for a worker" in text


def test_a_phase_that_nobody_builds_is_told_with_the_time_that_it_has() -> None:
    run = make_run(phases_per_tier=1)
    supervisor.step(run.pk)
    phase = Phase.objects.get(run=run)
    [(text, is_waiting)] = lines(run)
    assert is_waiting
    assert text == (
        f"{phase.phase_id}: no builder of the project takes {phase.task_category}: waits for a claim over HTTP "
        f"until {phase.claim_deadline_at:%H:%M:%S} UTC"
    )


def test_a_pull_agent_that_may_claim_it_is_named() -> None:
    run = make_run(phases_per_tier=1, config={"builders": {"far": {"kind": "pull"}}})
    supervisor.step(run.pk)
    assert "waits for far to claim it until" in lines(run)[0][0]


def test_who_builds_and_for_how_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(phases_per_tier=1)
    supervisor.step(run.pk)
    services.claim_phase(run.pk, agent="mine")
    later = clock.now() + timedelta(minutes=5, seconds=5)
    monkeypatch.setattr("runs.doing.clock.now", lambda: later)
    [(text, is_waiting)] = lines(run)
    assert (text.partition(": ")[2], is_waiting) == ("built by mine for 5 min", False)


def watched(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, looks: int, is_terminal: bool = False, **options: Any
) -> str:
    """Return what a watch prints of a run that is cancelled after some looks."""
    left = iter(range(looks))

    def next_look(_seconds: float) -> None:
        if next(left, None) is None and not Run.objects.get(pk=run.pk).is_terminal:
            cancel_run(run.pk, by="operator", why="enough")

    monkeypatch.setattr("runs.watch.time.sleep", next_look)
    out = StringIO()
    watch.follow(run.pk, Console(file=out, width=120, force_terminal=is_terminal), **options)
    return out.getvalue()


def test_silence_is_broken_by_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WAITING_S", 0.0)
    said = watched(make_run(state="RUN_CREATED"), monkeypatch, looks=3)
    assert said.count("... waits for a worker") == 1


def test_on_a_terminal_the_picture_holds_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WAITING_S", 0.0)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    said = watched(make_run(state="RUN_CREATED"), monkeypatch, looks=3, is_terminal=True)
    assert "... waits for a worker" in said


def test_what_only_echoes_a_phase_is_left_out_unless_all_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for shows_all in (False, True):
        run = make_run(phases_per_tier=1)
        supervisor.step(run.pk)
        services.claim_phase(run.pk, agent="mine")
        said = watched(run, monkeypatch, looks=0, shows_all=shows_all)
        assert "claimed -> EXECUTING" in said
        assert ("execution_seen" in said) is shows_all


def test_a_watch_whose_database_goes_away_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()

    def gone(*_args: Any, **_options: Any) -> Run:
        raise OperationalError("server closed the connection unexpectedly\n\tThis probably means")

    monkeypatch.setattr(watch, "follow", gone)
    said = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("run", "--attach", run.run_id, stdout=StringIO(), stderr=said)
    assert ended.value.code == unreachable.STATUS
    assert f"manage.py run --attach {run.run_id}" in said.getvalue()
    assert "This probably means" not in said.getvalue()


def test_a_command_without_a_database_ends_in_two_lines(tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin", "AUTOPACK_STATE_DIR": str(tmp_path),
        "DATABASE_URL": f"postgres://nobody@/none?host={tmp_path}",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, settings.BASE_DIR / "manage.py", "project", "list"],
        env=environment, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == unreachable.STATUS
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("PostgreSQL: ")
    assert "make up" in done.stderr.splitlines()[1]


def test_a_complaint_of_a_server_that_answers_is_no_silence() -> None:
    class Answered(Exception):
        pgcode = "53300"  # too many connections

    error = OperationalError("too many")
    error.__cause__ = Answered()
    assert not unreachable.is_unreachable(error)
    Answered.pgcode = "57P01"
    assert unreachable.is_unreachable(error)


def test_caps_of_the_command_line_win_over_the_files(tmp_path: Path) -> None:
    project = make_project()
    plan = tmp_path / "plan.md"
    plan.write_text("# Plan\n\n## First\n\n- Write it\n  - id: write\n  - category: docs\n")
    call_command(
        "run", str(plan), "--project", project.project_id, "--run-id", "capped", "--token-cap", "70000",
        "--max-phases", "3", "--max-minutes", "7", stdout=StringIO(),
    )  # fmt: skip
    run = Run.objects.get(pk="capped")
    assert (run.token_cap, run.max_phases, run.max_duration_minutes) == (70_000, 3, 7)
    with pytest.raises(CommandError, match="Must be at least 0"):
        call_command(
            "run", str(plan), "--project", project.project_id, "--max-minutes", "-1", stdout=StringIO()
        )


def test_a_misspelt_cap_of_a_json_plan_starts_nothing(tmp_path: Path) -> None:
    make_project(is_default=True)
    plan = tmp_path / "plan.json"
    plan.write_text('{"run": {"token_kap": 5}, "tiers": [], "phases": []}')
    with pytest.raises(
        CommandError, match=r"run\.token_kap: unknown field 'token_kap'; did you mean 'token_cap'"
    ):
        call_command("run", str(plan), stdout=StringIO())


def test_a_run_is_cancelled_with_its_reason_and_once() -> None:
    run = make_run()
    out = StringIO()
    call_command("run", "--cancel", run.run_id, "--why", "wrong plan", stdout=out)
    run.refresh_from_db()
    assert (run.state, run.failure_reason) == ("DONE_CANCELLED", "wrong plan")
    assert f"Run {run.run_id} ended DONE_CANCELLED" in out.getvalue()
    with pytest.raises(CommandError, match="has ended"):
        call_command("run", "--cancel", run.run_id, stdout=out)
