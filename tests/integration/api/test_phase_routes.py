"""A phase's detail, an attempt's diff and its gate log: exact shapes, byte ranges, following."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from integration.models import GateRun
from integration.repository import log_path
from runs.models import Attempt, Lease, Phase
from runs.tokens import create_token
from runs.waiting import waiters
from tests.integration.artefacts.builders import make_attempt, make_gate, make_phase, make_run, make_tier

pytestmark = pytest.mark.django_db
PATCH = b"diff --git a/x b/x\n+caf\xe9\n"
LOG = b"0123456789" * 20


@pytest.fixture
def phase() -> Phase:
    return make_phase(make_tier(make_run()))


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, settings: Any) -> None:
    settings.STATE_DIR = tmp_path


def get(path: str, role: str = "reader", **headers: str) -> Any:
    token = create_token(role, roles=[role])
    return Client().get(path, headers={"Authorization": f"Bearer {token}", **headers})


def url(attempt: Attempt, what: str) -> str:
    return f"/runs/r1/phases/p1/attempts/{attempt.pk}/{what}"


def write_log(gate: GateRun, data: bytes = LOG) -> Path:
    path = log_path("r1", f"gate-{gate.pk}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def body_of(answer: Any) -> bytes:
    found: bytes = answer.getvalue()  # reading to the end closes it, as a server does
    return found


def test_a_phase_shows_its_fields_attempts_and_gate_runs(phase: Phase):
    attempt = make_attempt(phase, patch=PATCH)
    audit = make_attempt(
        phase, 2, kind="audit", state="DECIDED", verdict="revise", target=attempt, notes="no"
    )
    make_gate(attempt, evidence={"tries": [{}, {}]})
    body = get("/runs/r1/phases/p1").json()
    columns = {field.name for field in Phase._meta.concrete_fields} - {"run", "tier"}
    assert set(body) == columns | {"run_id", "tier_id", "overrun", "lease", "attempts", "gate_runs"}
    assert [row["attempt_id"] for row in body["attempts"]] == [attempt.pk, audit.pk]
    assert (body["attempts"][0]["patch_bytes"], body["attempts"][0]["failure_code"]) == (
        len(PATCH),
        "gate-red",
    )
    verdict = body["attempts"][1]
    assert (verdict["verdict"], verdict["target_id"], verdict["notes"]) == ("revise", attempt.pk, "no")
    [gate] = body["gate_runs"]
    assert (gate["attempt_id"], gate["verdict"], gate["tries"]) == (attempt.pk, "red", 2)
    assert body["lease"] is None


def test_a_phase_shows_who_holds_it(phase: Phase):
    attempt = make_attempt(phase, state="RUNNING")
    now = clock.now()
    lease = Lease.objects.create(
        run=phase.run,
        phase=phase,
        attempt=attempt,
        owner="bot",
        fence=3,
        ttl_s=60,
        acquired_at=now,
        expires_at=now,
    )
    shown = get("/runs/r1/phases/p1").json()["lease"]
    assert (shown["lease_id"], shown["owner"], shown["fence"]) == (lease.pk, "bot", 3)


def test_a_gate_without_evidence_has_no_tries(phase: Phase):
    make_gate(make_attempt(phase), evidence={})
    assert get("/runs/r1/phases/p1").json()["gate_runs"][0]["tries"] == 0


def test_an_absent_phase_or_attempt_is_not_found(phase: Phase):
    body = get("/runs/r1/phases/p9").json()
    assert (body["code"], body["detail"]) == ("phase-not-found", "Phase p9 not found in run r1")
    for what in ("diff", "gate_log"):
        answer = get(f"/runs/r1/phases/p1/attempts/abc/{what}", Accept="text/plain")
        assert (answer.status_code, answer.json()["code"]) == (404, "attempt-not-found")
        assert answer["Content-Type"] == "application/problem+json"


def test_another_phases_attempt_is_not_there(phase: Phase):
    other = make_attempt(make_phase(phase.tier, "p2"), patch=PATCH)
    assert get(url(other, "diff")).json()["code"] == "attempt-not-found"


def test_the_detail_takes_the_same_number_of_queries_at_any_size(phase: Phase):
    token = create_token("r", roles=["reader"])

    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            Client().get("/runs/r1/phases/p1", headers={"Authorization": f"Bearer {token}"})
        return len(captured)

    make_gate(make_attempt(phase))
    cost()
    few = cost()
    for number in range(2, 7):
        make_gate(make_attempt(phase, number, patch=PATCH), evidence={"tries": [{}]})
    assert cost() == few == 5, "token, phase, lease, attempts, gate runs"


def test_a_diff_is_the_patch_byte_for_byte(phase: Phase):
    attempt = make_attempt(phase, patch=PATCH)
    answer = get(url(attempt, "diff"), Accept="application/json")
    assert (answer.status_code, answer.content) == (200, PATCH)
    assert answer["Content-Type"] == "text/x-diff; charset=utf-8"
    assert answer["ETag"] == f'"{attempt.patch_hash}"'
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]


def test_a_patch_that_never_passed_the_judge_is_shown_without_its_secrets(phase: Phase):
    secret = b"+token = apk_" + b"x" * 43 + b"\n"
    refused = make_attempt(phase, patch=secret, state="REFUSED", candidate_sha="")
    answer = get(url(refused, "diff"))
    assert b"apk_" not in answer.content
    assert b"[redacted: Autopack token]" in answer.content
    assert answer["ETag"] == f'"{refused.patch_hash}-redacted"'


RANGES = [
    ("bytes=0-9", 206, LOG[:10], "bytes 0-9/200"),
    ("bytes=5-", 206, LOG[5:], "bytes 5-199/200"),
    ("bytes=-7", 206, LOG[-7:], "bytes 193-199/200"),
    ("bytes=190-900", 206, LOG[190:], "bytes 190-199/200"),
    ("bytes=0-", 206, LOG, "bytes 0-199/200"),
    ("bytes=-900", 206, LOG, "bytes 0-199/200"),
    ("bytes=9-3", 200, LOG, None),
    ("bytes=0-1,5-6", 200, LOG, None),
    ("lines=0-1", 200, LOG, None),
    ("bytes=a-b", 200, LOG, None),
    ("", 200, LOG, None),
]


@pytest.mark.parametrize("what", ["diff", "gate_log"])
@pytest.mark.parametrize(("header", "status", "body", "content_range"), RANGES)
def test_one_range_of_bytes_is_given_where_it_can_be_read(
    phase: Phase, what: str, header: str, status: int, body: bytes, content_range: str | None
):
    attempt = make_attempt(phase, patch=LOG)
    write_log(make_gate(attempt))
    answer = get(url(attempt, what), Range=header)
    assert (answer.status_code, body_of(answer)) == (status, body)
    assert answer.get("Content-Range") == content_range
    assert int(answer["Content-Length"]) == len(body)


@pytest.mark.parametrize("what", ["diff", "gate_log"])
@pytest.mark.parametrize("header", ["bytes=200-", "bytes=-0", "bytes=900-901"])
def test_a_range_behind_the_end_is_416(phase: Phase, what: str, header: str):
    attempt = make_attempt(phase, patch=LOG)
    write_log(make_gate(attempt))
    answer = get(url(attempt, what), Range=header)
    assert (answer.status_code, answer.json()["code"]) == (416, "range-not-satisfiable")
    assert answer.json()["size_bytes"] == 200


def test_a_range_of_another_state_of_the_diff_gives_the_whole(phase: Phase):
    attempt = make_attempt(phase, patch=LOG)
    etag = f'"{attempt.patch_hash}"'
    changed = {"Range": "bytes=0-1", "If-Range": '"old"'}
    assert get(url(attempt, "diff"), **changed).content == LOG
    assert get(url(attempt, "diff"), **{**changed, "If-Range": etag}).content == LOG[:2]


def test_the_last_gate_runs_log_is_meant_unless_another_is_named(phase: Phase):
    attempt = make_attempt(phase)
    write_log(make_gate(attempt, 1), b"first")
    write_log(make_gate(attempt, 2), b"second")
    answer = get(url(attempt, "gate_log"))
    assert (body_of(answer), answer["Autopack-Gate-Run"]) == (b"second", "2")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert body_of(get(url(attempt, "gate_log?gate_run=1"))) == b"first"
    assert get(url(attempt, "gate_log?gate_run=3")).json()["code"] == "gate-log-not-found"


def test_a_gate_that_wrote_nothing_has_an_empty_log(phase: Phase):
    attempt = make_attempt(phase)
    make_gate(attempt)
    assert body_of(get(url(attempt, "gate_log"))) == b""


def test_a_log_is_followed_until_its_gate_ends(phase: Phase, monkeypatch: pytest.MonkeyPatch):
    attempt = make_attempt(phase, state="GATING")
    gate = make_gate(attempt, state="RUNNING", verdict="", ended_at=None)
    path = write_log(gate, b"one\n")
    steps = iter([b"two\n", b"three\n"])

    def goes_on(_s: float) -> None:
        with path.open("ab") as out:
            out.write(next(steps))
        if path.stat().st_size > 10:
            GateRun.objects.update(state="DONE", verdict="green")

    monkeypatch.setattr(time, "sleep", goes_on)
    answer = get(url(attempt, "gate_log?follow=1&offset=1"))
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert waiters.count == 1
    assert body_of(answer) == b"ne\ntwo\nthree\n"
    assert waiters.count == 0


def test_following_ends_in_time_though_the_gate_does_not(
    phase: Phase, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.STREAM_LIMIT_S = 5.0
    gate = make_gate(make_attempt(phase), state="RUNNING", verdict="", ended_at=None)
    write_log(gate)
    now = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(time, "sleep", lambda _s: None)
    assert body_of(get(url(gate.attempt, "gate_log?follow=1"))) == LOG
    assert next(now) < 10


def test_a_follower_of_a_log_that_is_shortened_is_told(phase: Phase, monkeypatch: pytest.MonkeyPatch):
    gate = make_gate(make_attempt(phase), state="RUNNING", verdict="", ended_at=None)
    path = write_log(gate)

    def is_shortened(_s: float) -> None:
        path.write_bytes(b"short")
        GateRun.objects.update(state="DONE", verdict="green")

    monkeypatch.setattr(time, "sleep", is_shortened)
    found = body_of(get(url(gate.attempt, "gate_log?follow=1")))
    assert found.startswith(LOG)
    assert b"shortened" in found[len(LOG) :]


def test_followers_are_capped(phase: Phase, settings: Any):
    settings.MAX_WAITERS = 0
    gate = make_gate(make_attempt(phase), state="RUNNING", verdict="", ended_at=None)
    answer = get(url(gate.attempt, "gate_log?follow=1"))
    assert (answer.status_code, answer["Retry-After"]) == (204, "2")
    assert json.loads(get("/runs/r1/phases/p1").content)["phase_id"] == "p1"
