"""What anyone may ask, and the description of the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client, override_settings

from autopack_site import settings as site
from runs.api import system
from tests.runs.api.conftest import Api, problem_of


def test_the_root_says_what_this_is(anonymous: Api):
    answer = anonymous.get("/")
    assert answer.status_code == 200
    assert answer.json() == {
        "service": "autopack",
        "version": site.VERSION,
        "description": "Supervisor for autonomous code-building runs",
    }


def test_health_needs_no_token_and_no_database(anonymous: Api):
    answer = anonymous.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


def test_ready_says_ok_for_each_part(db: None, anonymous: Api, tmp_path, settings: Any):
    settings.STATE_DIR = tmp_path
    answer = anonymous.get("/ready")
    assert answer.status_code == 200, answer.content
    assert answer.json() == {
        "status": "ready",
        "checks": {"database": "ok", "broker": "ok", "repository": "ok"},
    }


def test_ready_names_the_broker_that_does_not_answer(db: None, anonymous: Api, tmp_path, settings: Any):
    settings.STATE_DIR = tmp_path
    with override_settings(REDIS_URL=f"unix://{tmp_path}/nobody.sock"):
        body = problem_of(anonymous.get("/ready"), 503, "not-ready")
    assert body["detail"] == "Not ready: broker"
    assert body["checks"] == {"database": "ok", "broker": "failed", "repository": "ok"}


def test_ready_names_the_folder_that_is_no_folder(db: None, anonymous: Api, tmp_path, settings: Any):
    (tmp_path / "mirrors").write_text("in the way")
    settings.STATE_DIR = tmp_path
    body = problem_of(anonymous.get("/ready"), 503, "not-ready")
    assert body["failed"] == ["repository"]


def test_ready_names_the_database_that_does_not_answer(
    anonymous: Api, tmp_path, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.STATE_DIR = tmp_path
    monkeypatch.setitem(system.CHECKS, "database", lambda: False)
    body = problem_of(anonymous.get("/ready"), 503, "not-ready")
    assert body["failed"] == ["database"]


def test_an_unknown_address_is_a_problem_document(anonymous: Api):
    for path in ("/nothing", "/health/", "/runs/a/b/c/d", "/runs/"):
        body = problem_of(anonymous.get(path), 404, "no-route")
        assert body["detail"] == "Nothing is at this address"


def test_a_wrong_method_is_a_problem_document(operator: Api):
    problem_of(operator.post("/health"), 405, "method-not-allowed")
    problem_of(operator.get("/claim"), 405, "method-not-allowed")


def test_an_unknown_host_name_is_a_problem_document():
    answer = Client().get("/health", headers={"host": "elsewhere.example"})
    problem_of(answer, 400, "bad-request")


def test_a_fault_of_the_server_is_a_problem_document(monkeypatch: pytest.MonkeyPatch):
    def broken(_self: Any, _request: Any) -> None:
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(system.HealthView, "get", broken)
    answer = Client(raise_request_exception=False).get("/health")
    problem_of(answer, 500, "internal")
    assert b"secret" not in answer.content


def test_a_correlation_id_comes_back(anonymous: Api):
    answer = anonymous.get("/health", headers={"X-Correlation-Id": "abc-1"})
    assert answer["X-Correlation-Id"] == "abc-1"


def test_the_api_describes_itself_without_a_warning(tmp_path):
    target = tmp_path / "openapi.json"
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", "--file", str(target)
    )
    assert '"openapi": "3.1.0"' in target.read_text()


def test_the_description_is_served(db: None, anonymous: Api):
    answer = anonymous.get("/openapi.json")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("application/json")
    paths = answer.json()["paths"]
    for path in (
        "/runs/start",
        "/runs/{run_id}",
        "/runs/{run_id}/phases/{phase_id}/builder_result",
        "/leases/{lease_id}/heartbeat",
        "/runs/{run_id}/issues/index",
    ):
        assert path in paths
