"""The API as clients meet it: Django's client, real PostgreSQL and Redis, fakes at the ports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from django.test import Client

from runs import ports, supervisor
from runs.tokens import create_token
from strategy.models import Project
from strategy.services import add_project
from tests.fakes import PORTS, FakeGates, FakeLedger, FakeWorkspace

CONFIG = """
version: 1
default_branch: main
builders:
  outside: {kind: pull}
auditors:
  reviewer: {kind: pull}
"""


@dataclass
class Api:
    """A client with one token."""

    client: Client
    token: str | None

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str] | None) -> Any:
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        data = body if isinstance(body, (bytes, str)) else json.dumps(body)
        return self.client.generic(
            method, path, data if body is not None else b"", "application/json", headers=sent
        )

    def get(self, path: str, headers: dict[str, str] | None = None) -> Any:
        """GET."""
        return self._call("GET", path, None, headers)

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """POST a value as JSON; bytes and strings go as they are."""
        return self._call("POST", path, body, headers)


@pytest.fixture(autouse=True)
def _fake_ports(settings: Any) -> Iterator[None]:
    settings.AUTOPACK_PORTS = PORTS
    ports._adapter.cache_clear()
    yield
    ports._adapter.cache_clear()


@pytest.fixture(autouse=True)
def _own_redis(redis_url: str) -> None:
    """Every test starts with an empty broker."""


@pytest.fixture
def ledger() -> FakeLedger:
    return cast(FakeLedger, ports.ledger())


@pytest.fixture
def workspace() -> FakeWorkspace:
    return cast(FakeWorkspace, ports.workspace())


@pytest.fixture
def gates() -> FakeGates:
    return cast(FakeGates, ports.gates())


def make_project(project_id: str = "demo", *, is_default: bool = True, config: str = CONFIG) -> Project:
    return add_project(
        project_id,
        name=project_id,
        source="/srv/none.git",
        config_text=config,
        is_default=is_default,
        by="tests",
    )


@pytest.fixture
def project(db: None) -> Project:
    return make_project()


def api_for(*roles: str, name: str = "", project: Project | None = None) -> Api:
    """Return a client whose token carries the roles."""
    token = create_token(name or "-".join(roles), roles=roles, project=project)
    return Api(Client(), token)


@pytest.fixture
def anonymous() -> Api:
    return Api(Client(), None)


@pytest.fixture
def operator(db: None) -> Api:
    return api_for("operator")


@pytest.fixture
def builder(db: None) -> Api:
    return api_for("builder")


@pytest.fixture
def auditor(db: None) -> Api:
    return api_for("auditor")


@pytest.fixture
def reader(db: None) -> Api:
    return api_for("reader")


def plan(run_id: str = "r1", *, tiers: int = 1, phases: int = 1, **options: Any) -> dict[str, Any]:
    """Return a start request of `tiers` tiers with `phases` phases each: p1, p2 ... of category docs."""
    return {
        "run": {"run_id": run_id, **options},
        "tiers": [
            {"tier_id": f"t{number}", "tier_index": number, "name": f"Tier {number}"}
            for number in range(1, tiers + 1)
        ],
        "phases": [
            {
                "phase_id": f"p{(tier - 1) * phases + number}",
                "phase_index": (tier - 1) * phases + number,
                "tier_id": f"t{tier}",
                "name": f"Phase {number}",
                "description": "Write the page",
                "task_category": "docs",
                "complexity": "low",
                "depends_on": [],
            }
            for tier in range(1, tiers + 1)
            for number in range(1, phases + 1)
        ],
    }


def start(operator: Api, body: dict[str, Any] | None = None) -> str:
    """Start a run by HTTP, let the supervisor prepare it, and return its id."""
    body = body or plan()
    answer = operator.post("/runs/start", body)
    assert answer.status_code == 201, answer.content
    supervisor.step(body["run"]["run_id"])
    return cast(str, body["run"]["run_id"])


def problem_of(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Assert that the answer is this problem, and return it."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body = json.loads(answer.content)
    assert body["code"] == code, body
    assert body["correlation_id"] == answer["X-Correlation-Id"]
    return cast(dict[str, Any], body)
