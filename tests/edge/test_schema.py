"""Whatever is sent: no fault of the server, and no answer outside the published description.

Requests are generated from the description, sound ones and broken ones, for every operation and with every role.
Each goes to the WSGI application in this process, over one run that has a claimed phase; what it changes is taken
back after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from autopack_site.kernel.auth import Role
from issues.models import BacklogEntry
from runs import ports
from runs.api import openapi, results
from runs.models import ApiToken
from runs.tokens import create_token
from strategy.models import Project
from tests.runs.api.conftest import api_for, plan, start
from tests.runs.api.test_claims import claim

pytestmark = [
    pytest.mark.django_db,
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES, MANY = 12, 1000
SCHEMA = schemathesis.openapi.from_dict(json.loads(openapi.text()))
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}  # type: ignore[union-attr]
every_operation = pytest.mark.parametrize("label", sorted(OPERATIONS))


@schemathesis.serializer("text/csv")
def _as_csv(_context: Any, value: Any) -> Any:
    """Send text as the file that it is, and anything else as no honest client would."""
    return {"data": value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")}


@dataclass
class World:
    """What the requests are sent to, and as whom."""

    application: Any
    tokens: dict[str, str | None]
    known: dict[str, str]


@contextmanager
def taken_back() -> Iterator[None]:
    """Leave the test's connection alone at both ends of a request, as Django's client does; undo what it did."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        with transaction.atomic():
            yield
            transaction.set_rollback(True)
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


@pytest.fixture
def world(project: Project, settings: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    settings.MAX_WAITERS = 0  # a claim that waits comes back at once
    settings.IDEMPOTENCY_WAIT_S = 0.0

    def build(attempt_id: str) -> bool:
        """Build in this thread: another would not see what is not committed."""
        ports.workspace().build_candidate(attempt_id)
        return True

    monkeypatch.setattr(results, "build_within", build)
    operator, builder = api_for("operator"), api_for("builder")
    start(operator, plan(phases=3))
    lease = claim(builder)
    report = {"issue_key": "a::b", "severity": "minor", "source": "probe", "category": "docs"}
    assert builder.post("/runs/r1/phases/p1/record_issue", report).status_code == 200
    tokens: dict[str, str | None] = {role: create_token(f"fuzz-{role}", roles=[role]) for role in Role}
    tokens["holder"], tokens["nobody"], tokens["unknown"] = builder.token, None, "apk_unknown"
    known = {
        "run_id": "r1", "phase_id": "p1", "tier_id": "t1", "lease_id": lease["lease_id"],
        "attempt_id": lease["attempt_id"], "project_id": project.project_id,
        "token_id": str(ApiToken.objects.earliest("pk").pk), "entry_id": str(BacklogEntry.objects.get().pk),
    }  # fmt: skip
    return World(get_wsgi_application(), tokens, known)


def requests_of(label: str, world: World) -> st.SearchStrategy[tuple[Case, str]]:
    """Draw requests of an operation, half of them sound, most of them about what is there, with some role."""
    operation = OPERATIONS[label]

    @st.composite
    def draw_one(draw: st.DrawFn) -> tuple[Case, str]:
        mode = draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case: Case = draw(operation.as_strategy(generation_mode=mode))
        for name in case.path_parameters or {}:
            if name in world.known and draw(st.integers(0, 3)):
                case.path_parameters[name] = world.known[name]
        return case, draw(st.sampled_from(sorted(world.tokens)))

    return draw_one()


def check(label: str, world: World, *, examples: int, is_repeatable: bool) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=is_repeatable,
        phases=[Phase.generate] if is_repeatable else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests_of(label, world))
    def holds(drawn: tuple[Case, str]) -> None:
        case, role = drawn
        token = world.tokens[role]
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with taken_back():
            response = case.call(app=world.application, headers=headers)
        case.validate_response(response, checks=CHECKS)

    holds()


@every_operation
def test_no_request_meets_a_fault_or_an_answer_that_is_not_described(label: str, world: World) -> None:
    check(label, world, examples=EXAMPLES, is_repeatable=True)


@pytest.mark.torture
@every_operation
def test_no_request_of_very_many_does(label: str, world: World) -> None:
    check(label, world, examples=MANY, is_repeatable=False)
