"""The probe scripts against a served instance, as a person on call or a CI job runs them."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from issues.services import record_reports
from runs import services
from runs.models import Phase, Run
from runs.tokens import create_token
from strategy.models import Project
from strategy.services import make_default
from tests.flows.stack import Stack
from tests.flows.world import World
from tests.issues.reports import report

pytestmark = pytest.mark.real
SCRIPTS = Path(settings.BASE_DIR) / "scripts"
SAMPLE = Path(settings.BASE_DIR) / "sample_run.json"


@pytest.fixture(scope="module")
def base(stack: Stack) -> str:
    return stack.web()


@pytest.fixture(scope="module")
def token(base: str) -> str:
    return create_token("on-call", roles=["reader"])


@pytest.fixture
def probe(base: str, token: str) -> Any:
    """Run a probe; return (status, lines of its output, what it complained about)."""

    def call(name: str, *args: str, **environment: str) -> tuple[int, list[str], str]:
        done = subprocess.run(
            [SCRIPTS / f"autonomous_probe_{name}.sh", *args],
            env={**os.environ, "AUTOPACK_URL": base, "AUTOPACK_TOKEN": token, **environment},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout.splitlines(), done.stderr

    return call


@pytest.fixture
def waiting(world: World) -> Run:
    """A run that nobody works on: its builder would have to come and claim."""
    world.project(builder=None, builders={"outside": {"kind": "pull"}})
    return world.start(world.plan("one", "two"))


def test_a_run_at_work_is_told_by_status_3(waiting: Run, probe: Any) -> None:
    status, lines, _ = probe("run_state", waiting.pk)
    assert status == 3
    assert "state=RUN_CREATED" in lines
    assert lines[-2:] == ["phases_complete=0", "phases=2"]


def test_a_run_that_ended_otherwise_is_told_by_status_1_and_its_reason_shows_as_plain_text(
    waiting: Run, probe: Any
) -> None:
    services.cancel_run(waiting.pk, by="tests", why="x\x1b[31mred\nstate=DONE_SUCCESS")
    status, lines, _ = probe("run_state", AUTOPACK_RUN_ID=waiting.pk)
    assert status == 1
    assert [line for line in lines if line.startswith("state=")] == ["state=DONE_CANCELLED"]
    assert not any("\x1b" in line for line in lines)


def test_what_stands_against_a_promotion_is_told_reason_by_reason(waiting: Run, probe: Any) -> None:
    head = [f"run_id={waiting.pk}", f"state={waiting.state}", f"head_commit={waiting.head_commit}"]
    against = ["reason=not-successful: the run is QUEUED", "reason=no-run-summary: the run has not ended"]
    status, lines, said = probe("promotion", waiting.pk)
    assert (status, lines[:4], said) == (3, [*head, "promotion_eligible_to_main=false"], "")
    assert lines[5] == against[1]
    services.cancel_run(waiting.pk, by="tests", why="")
    status, lines, _said = probe("promotion", waiting.pk)
    assert (status, lines[4]) == (1, "reason=not-successful: the run is DONE_CANCELLED")
    assert probe("promotion", "nobody")[0] == 5


def test_issues_are_listed_worst_first_and_a_major_one_is_told_by_status_1(waiting: Run, probe: Any) -> None:
    assert probe("issues", waiting.pk) == (0, ["minor=0", "major=0"], "")
    phase = Phase.objects.get(run=waiting, phase_id="one")
    record_reports(phase.pk, [report("b-minor"), report("a-minor"), report("b-minor")], reporter="tests")
    assert probe("issues", waiting.pk) == (
        0, ["minor 2 test_failure b-minor", "minor 1 test_failure a-minor", "minor=2", "major=0"], "",
    )  # fmt: skip
    record_reports(phase.pk, [report("worse", severity="major")], reporter="tests")
    status, lines, _ = probe("issues", waiting.pk)
    assert status == 1
    assert (lines[0], lines[-1]) == ("major 1 test_failure worse", "major=1")


@pytest.mark.parametrize("name", ["run_state", "issues"])
def test_each_thing_in_the_way_has_a_status_of_its_own_and_a_line_that_says_it(
    waiting: Run, probe: Any, name: str, tmp_path: Path
) -> None:
    cases: list[tuple[int, str, tuple[str, ...], dict[str, str]]] = [
        (2, "name a run", (), {}),
        (2, "not the id", ("../metrics",), {}),
        (2, "http://", (waiting.pk,), {"AUTOPACK_URL": "file:///etc/passwd"}),
        (2, "characters", (waiting.pk,), {"AUTOPACK_TOKEN": 'x"\noutput = "/tmp/x'}),
        (4, "401", (waiting.pk,), {"AUTOPACK_TOKEN": ""}),
        (4, "401", (waiting.pk,), {"AUTOPACK_TOKEN": "apk_unknown"}),
        (5, "no run nobody", ("nobody",), {}),
        (6, "no answer", (waiting.pk,), {"AUTOPACK_URL": "http://127.0.0.1:1"}),
    ]
    for status, complaint, args, environment in cases:
        got = probe(name, *args, **environment)
        assert (got[0], got[1]) == (status, []), (args, environment, got)
        assert complaint in got[2]


@contextmanager
def another_server(status: int, body: bytes) -> Iterator[str]:
    """Something that answers every GET alike; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", ["run_state", "issues"])
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"{}", 6),
        (200, b"<html>", 6),
        (200, b"[" * 9999, 6),
        (500, b"{}", 6),
        (302, b"", 6),
        (403, b"{}", 4),
    ],
)
def test_what_is_not_an_answer_of_autopack_s_is_told(
    probe: Any, name: str, status: int, body: bytes, expected: int
) -> None:
    with another_server(status, body) as address:
        got, lines, complaint = probe(name, "run-1", AUTOPACK_URL=address)
    assert (got, lines) == (expected, [])
    assert complaint.count("\n") == 1


def test_a_project_s_token_sees_no_other_project_s_run(waiting: Run, probe: Any, world: World) -> None:
    other = Project.objects.exclude(pk=waiting.project_id).first()
    if other is None:
        other = world.project()
    mine = create_token(f"scoped-{world.key}", roles=["reader"], project=other)
    assert probe("run_state", waiting.pk, AUTOPACK_TOKEN=mine)[0] in (4, 5)


def promote(base: str, folder: Path, **environment: str) -> tuple[int, list[list[str]]]:
    """Run the promotion workflow's own step beside a `gh` that notes what it was asked: (status, calls)."""
    workflow = yaml.safe_load((SCRIPTS.parent / ".github/workflows/promotion.yml").read_text())
    (step,) = [step for step in workflow["jobs"]["promote"]["steps"] if "run" in step]
    gh, calls = folder / "gh", folder / "calls"
    gh.write_text(
        '#!/bin/sh\nprintf "%s " "$@" >>"$CALLS"; echo >>"$CALLS"\necho "${OPEN_PULL_REQUESTS:-0}"\n'
    )
    gh.chmod(0o755)
    calls.write_text("")
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]], cwd=SCRIPTS.parent, capture_output=True, timeout=60,
        env={
            **os.environ, **dict.fromkeys(step["env"], ""), "PATH": f"{folder}:{os.environ['PATH']}",
            "CALLS": str(calls), "RUNNER_TEMP": str(folder), "BASE_BRANCH": "main", "AUTOPACK_URL": base,
            "AUTOPACK_TOKEN": create_token("promoter", roles=["reader"]), **environment,
        },
    )  # fmt: skip
    asked = [line.split() for line in calls.read_text().splitlines()]
    return done.returncode, [row[:6] if row[1] == "create" else row[:2] for row in asked]


def test_the_promotion_workflow_opens_nothing_for_a_run_that_has_not_ended_or_is_not_eligible(
    waiting: Run, base: str, tmp_path: Path
) -> None:
    assert promote(base, tmp_path, ASKED_RUN_ID=waiting.pk) == (0, [])
    services.cancel_run(waiting.pk, by="tests", why="")
    assert promote(base, tmp_path, ASKED_RUN_ID=waiting.pk) == (1, [])
    assert promote(base, tmp_path, HEAD_BRANCH="autonomous/x; touch /tmp/pwned #") == (2, [])


def test_the_sample_run_is_started_as_it_is_and_goes_to_its_end(
    stack: Stack, base: str, world: World, probe: Any, tmp_path: Path
) -> None:
    make_default(world.project().project_id)
    stack.worker()
    stack.beat()
    request = urllib.request.Request(f"{base}/runs/start", data=SAMPLE.read_bytes(), method="POST")
    request.add_header("Content-Type", "application/json")
    request.add_header("Authorization", f"Bearer {create_token('starter', roles=['operator'])}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 201
    run_id = json.loads(SAMPLE.read_text())["run"]["run_id"]
    world.ended(Run.objects.get(pk=run_id))
    assert probe("run_state", run_id) == (
        0,
        [
            f"run_id={run_id}", "state=DONE_SUCCESS", "promotion_eligible_to_main=true", "tokens_used=30",
            "minor_issues_count=0", "major_issues_count=0", "failure_reason=", "phases_complete=3", "phases=3",
        ],
        "",
    )  # fmt: skip
    assert promote(base, tmp_path, ASKED_RUN_ID=run_id) == (
        0, [["pr", "list"], ["pr", "create", "--base", "main", "--head", f"autonomous/{run_id}"]],
    )  # fmt: skip
    assert "state=DONE_SUCCESS" in (tmp_path / "body.md").read_text()
    assert probe("promotion", run_id)[1][0::3] == [f"run_id={run_id}", "promotion_eligible_to_main=true"]
    asked = promote(base, tmp_path, HEAD_BRANCH=f"autonomous/{run_id}", OPEN_PULL_REQUESTS="1")
    assert asked == (0, [["pr", "list"]])
