"""`X-Correlation-Id`: taken when harmless, else made; on every answer and in every log line of the request."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.conf import settings as site
from django.test import Client

from autopack_site.kernel.correlation import accepted_or_new
from strategy.models import Project
from tests.runs.api.conftest import Api, plan, start

OURS = {"X-Correlation-Id": "build-42.retry:1"}


@pytest.mark.parametrize(
    "value", ["", "a b", "a\tb", "x" * 129, "caf\xe9", "<script>", "a;b", "a\x1b[31m", "{}", "../../x"]
)
def test_what_could_do_harm_in_a_log_is_replaced(anonymous: Api, value: str):
    answer = anonymous.get("/health", {"X-Correlation-Id": value})
    assert answer["X-Correlation-Id"] != value
    assert len(answer["X-Correlation-Id"]) == 32


def test_the_longest_harmless_one_is_taken():
    assert accepted_or_new("x" * 128) == "x" * 128
    assert accepted_or_new(None) != accepted_or_new(None)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/runs", 401),
        ("PUT", "/health", 405),
        ("GET", "/admin/", 302),
        ("GET", "/static/none.css", 404),
    ],
)
def test_every_answer_carries_it(anonymous: Api, method: str, path: str, status: int):
    answer = anonymous._call(method, path, None, OURS)
    assert (answer.status_code, answer["X-Correlation-Id"]) == (status, OURS["X-Correlation-Id"])


def test_a_static_file_carries_it(tmp_path: Path, settings: Any):
    (tmp_path / "a.css").write_text("a {}")
    settings.STATIC_ROOT = tmp_path
    answer = Client().get("/static/a.css", headers=OURS)
    assert (answer.status_code, answer["X-Correlation-Id"]) == (200, OURS["X-Correlation-Id"])
    assert answer.getvalue() == b"a {}"


def test_it_is_bound_before_anything_else_can_answer():
    assert site.MIDDLEWARE[0] == "autopack_site.kernel.correlation.CorrelationMiddleware"


@pytest.mark.django_db
def test_every_log_line_of_a_request_carries_it(
    project: Project, operator: Api, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    found: list[dict[str, Any]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append({"logger": record.name, **structlog.contextvars.get_contextvars()})

    listener = Listener()
    logging.getLogger().addHandler(listener)
    try:
        start(operator)
        found.clear()
        operator.post("/runs/r1/cancel", {}, OURS)
        operator.get("/runs/none", OURS)  # Django logs it after all middleware
        operator.post("/runs/start", plan(), OURS)
    finally:
        logging.getLogger().removeHandler(listener)
    assert {"runs.transitions", "django.request"} <= {row["logger"] for row in found}
    assert {row.get("correlation_id") for row in found} == {OURS["X-Correlation-Id"]}
    assert {row.get("run_id") for row in found} == {"r1", "none", None}


@pytest.mark.django_db
def test_nothing_of_a_request_stays_bound_after_it(operator: Api):
    operator.get("/runs/r1", OURS)
    assert structlog.contextvars.get_contextvars() == {}
