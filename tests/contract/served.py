"""A served Autopack of its own: gunicorn, workers and beat over a fresh database, reached by HTTP alone."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.flows.stack import FAST, Stack, eventually, running

PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
CONFIG = f"""
builders:
  outside: {{kind: pull}}
auditors:
  reviewer: {{kind: pull}}
gates:
  profiles:
    normal: [{{name: unit, argv: [{PYTHON}, -c, pass]}}]
    strict: [{{name: unit, argv: [{PYTHON}, -c, pass]}}]
"""
ROLES = ("builder", "auditor", "verifier", "reader")
# Beside the default one, which few runs belong to: issues age from run to run, and aged ones add phases to plans.
PROJECTS = ("quiet", "noisy", "ends")  # no issue is reported in the first, every kind in the second


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The parsed body; None for an empty one."""
        return json.loads(self.raw) if self.raw else None

    @property
    def is_problem(self) -> bool:
        """Tell whether it says that it is a problem document."""
        return self.headers.get("content-type", "").startswith("application/problem+json")


@dataclass(frozen=True)
class Api:
    """One caller of the instance."""

    port: int
    token: str | None

    def call(self, method: str, path: str, body: Any = ..., headers: dict[str, str] | None = None) -> Answer:
        """Send a request: a value as JSON, bytes as they are, nothing for `...`."""
        sent = dict(headers or {})
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        data: bytes | None = None
        if body is not ...:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            link.request(method, path, data, {name: value for name, value in sent.items() if value})
            answer = link.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read())
        finally:
            link.close()

    def get(self, path: str) -> Answer:
        """GET."""
        return self.call("GET", path)

    def post(self, path: str, body: Any = ...) -> Answer:
        """POST."""
        return self.call("POST", path, body)


@dataclass(frozen=True)
class Served:
    """The instance and its callers. `before` is the answer to a start before there was a default project."""

    stack: Stack
    callers: dict[str, Api]
    runs_dir: Path
    before: Answer

    def __getitem__(self, role: str) -> Api:
        return self.callers[role]


@contextmanager
def serve(folder: Path, environment: dict[str, str], manage: Callable[..., str]) -> Iterator[Served]:
    """Serve the migrated, empty database at DATABASE_URL, with projects on a small repository.

    `manage` carries out a management command on that database and returns what it prints.
    """
    env = {
        **os.environ,
        **FAST,
        "AUTOPACK_LEASE_TTL_S": "60",
        "AUTOPACK_STATE_DIR": str(folder / "state"),
        "AUTOPACK_RUNS_DIR": str(folder / "runs"),
        "DJANGO_SETTINGS_MODULE": "autopack_site.settings",
        **environment,
    }
    root = json.loads(manage("token", "add", "operator", "--role", "operator", "--json"))["token"]
    for stack in running(env, folder / "log"):
        open_port = _web(stack, {"AUTOPACK_OPEN_LOOPBACK": "1"})
        operator = Api(_web(stack, {}), root)
        stack.worker()
        stack.beat()
        for port in (open_port, operator.port):
            eventually(partial(_is_up, port), what=stack.logs)
        before = operator.post("/runs/start", {"run": {"run_id": "early"}, "tiers": [], "phases": []})
        _add_projects(folder, manage)
        callers = {"operator": operator, "nobody": Api(operator.port, None), "legacy": Api(open_port, None)}
        for role in ROLES:
            token = operator.post("/tokens", {"agent": role, "roles": [role]}).body["token"]
            callers[role] = Api(operator.port, token)
        yield Served(stack, callers, folder / "runs", before)


def _add_projects(folder: Path, manage: Callable[..., str]) -> None:
    repo, config = folder / "repo", folder / "autopack.yaml"
    config.write_text(CONFIG)
    repo.mkdir()
    (repo / "README").write_text("a project\n")
    who = ("-c", "user.name=dev", "-c", "user.email=dev@example.org")
    for argv in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-qm", "start"]):
        subprocess.run(["git", "-C", str(repo), *argv], check=True, capture_output=True)
    add = ("project", "add", str(repo), "--config", str(config), "--id")
    manage(*add, "main", "--default")
    for name in PROJECTS:
        manage(*add, name)


def _web(stack: Stack, extra: dict[str, str]) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    stack.start(
        "gunicorn", "autopack_site.wsgi:application", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread",
        "--workers", "1", "--threads", "12", label="web", extra={**extra, "AUTOPACK_BIND": f"127.0.0.1:{port}"},
    )  # fmt: skip
    return port


def _is_up(port: int) -> bool:
    try:
        return Api(port, None).get("/health").status == 200
    except OSError:
        return False


def until(check: Callable[[], Any], what: str) -> Any:
    """Wait for something that workers do."""
    return eventually(check, timeout_s=60, what=what)
