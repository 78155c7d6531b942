"""Pull agents over HTTP against a served instance: claim, heartbeat, submit, audit, all with bearer tokens."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from issues.models import BacklogEntry, RunIndexEntry
from runs.models import Attempt, Phase, Run
from runs.tokens import create_token
from tests.flows.stack import Stack, eventually
from tests.flows.world import PYTHON, World

pytestmark = pytest.mark.real
GREEN = [{"name": "unit", "argv": [PYTHON, "-c", "pass"]}]


class Client:
    """One agent's HTTP calls."""

    def __init__(self, base: str, token: str | None) -> None:
        self.base = base
        self.token = token

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return (status, parsed body)."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                raw, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            raw, status = error.read(), error.code
        return status, json.loads(raw) if raw else None


@pytest.fixture(scope="module")
def web(stack: Stack) -> str:
    """Workers, beat and gunicorn; the address of the API."""
    stack.worker()
    stack.beat()
    return stack.web()


@pytest.fixture
def agents(web: str, world: World) -> dict[str, Client]:
    roles = ("builder", "auditor", "operator", "reader")
    return {role: Client(web, create_token(f"{role}-{world.key}", roles=[role])) for role in roles}


def new_file(name: str, text: str) -> str:
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{text}\n"


def start(agents: dict[str, Client], world: World, *phases: dict[str, Any]) -> str:
    run_id = f"http-{world.key}"
    body = {
        "project_id": world.key,
        "run": {"run_id": run_id},
        "tiers": [{"tier_id": "t1", "tier_index": 0, "name": "Tier"}],
        "phases": [
            {"phase_index": n, "tier_id": "t1", "name": row["phase_id"], **row}
            for n, row in enumerate(phases)
        ],
    }
    status, answer = agents["operator"].call("POST", "/runs/start", body)
    assert status == 201, answer
    assert answer["id"] == run_id
    return run_id


def claim(client: Client, run_id: str, kind: str = "build") -> dict[str, Any]:
    def ask() -> Any:
        status, answer = client.call("POST", f"/runs/{run_id}/claim", {"kind": kind, "wait_s": 5})
        assert status in (201, 204), answer
        return answer

    found: dict[str, Any] = eventually(ask, what=f"nothing to claim ({kind})")
    return found


def submit(client: Client, lease: dict[str, Any], patch: str, **extra: Any) -> tuple[int, Any]:
    body = {
        "phase_id": lease["phase_id"], "run_id": lease["run_id"], "patch_content": patch, "files_changed": [],
        "lines_added": 1, "lines_removed": 0, "tokens_used": 7, "status": "success", "notes": "",
        "lease_id": lease["lease_id"], "fence": lease["fence"], **extra,
    }  # fmt: skip
    return client.call("POST", f"/runs/{lease['run_id']}/phases/{lease['phase_id']}/builder_result", body)


def test_a_pull_builder_and_a_pull_auditor_bring_a_run_to_its_end(
    agents: dict[str, Client], world: World
) -> None:
    world.project(builder=None, gate=GREEN, auditors={"people": {"kind": "pull"}})
    run_id = start(agents, world, {"phase_id": "one", "task_category": "security_auth"})
    lease = claim(agents["builder"], run_id)
    status, answer = agents["builder"].call(
        "POST", f"/leases/{lease['lease_id']}/heartbeat", {"fence": lease["fence"]}
    )
    assert status == 200
    assert answer["expires_at"] > lease["expires_at"]
    status, answer = submit(agents["builder"], lease, new_file("auth.py", "checked"))
    assert status == 200, answer
    assert answer["message"] == "Builder result processed for phase one"
    assert answer["commit_sha"] is None  # it waits for an audit
    audit = claim(agents["auditor"], run_id, "audit")
    assert "+checked" in audit["brief"]["target"]["patch"]
    status, answer = agents["auditor"].call(
        "POST",
        f"/runs/{run_id}/phases/one/auditor_result",
        {
            "phase_id": "one", "run_id": run_id, "review_notes": "fine", "recommendation": "approve",
            "lease_id": audit["lease_id"], "fence": audit["fence"],
        },
    )  # fmt: skip
    assert status == 200, answer
    assert answer["recommendation"] == "approve"
    run = world.ended(Run.objects.get(pk=run_id))
    assert run.state == "DONE_SUCCESS", world.history(run)
    status, answer = agents["reader"].call("GET", f"/runs/{run_id}/integration_status")
    assert (status, answer["exists"], answer["commit_count"]) == (200, True, 1)
    status, answer = agents["reader"].call("GET", f"/runs/{run_id}")
    assert answer["promotion_eligible_to_main"] == "true"


def test_a_forbidden_patch_answers_422_with_its_code_and_writes_nothing(
    agents: dict[str, Client], world: World
) -> None:
    world.project(builder=None, gate=GREEN)
    run_id = start(agents, world, {"phase_id": "one", "task_category": "docs", "scope": ["docs/**"]})
    lease = claim(agents["builder"], run_id)
    status, answer = submit(agents["builder"], lease, new_file("src/evil.py", "x"))
    assert (status, answer["code"]) == (422, "path-out-of-scope"), answer
    assert not Attempt.objects.filter(run=run_id).exclude(candidate_sha="").exists()
    assert Phase.objects.get(run=run_id).builder_attempts == 1


def test_a_stale_fence_is_refused_and_its_tokens_are_booked(agents: dict[str, Client], world: World) -> None:
    world.project(builder=None, gate=GREEN)
    run_id = start(agents, world, {"phase_id": "one", "task_category": "docs"})
    old = claim(agents["builder"], run_id)
    agents["builder"].call(
        "POST", f"/leases/{old['lease_id']}/release", {"fence": old["fence"], "why": "no time"}
    )
    new = claim(agents["builder"], run_id)
    assert new["fence"] > old["fence"]
    status, answer = submit(agents["builder"], old, new_file("late.txt", "late"))
    assert (status, answer["code"]) == (409, "stale-lease"), answer
    assert Run.objects.get(pk=run_id).tokens_used == 7
    status, _ = submit(agents["builder"], new, new_file("docs.txt", "in time"))
    assert status == 200
    run = world.ended(Run.objects.get(pk=run_id))
    assert world.git("show", f"autonomous/{run_id}:docs.txt") == "in time\n"
    assert run.tokens_used == 14


def test_an_old_client_without_leases_posts_results_and_completes(
    agents: dict[str, Client], world: World
) -> None:
    world.project(builder=None, gate=GREEN)
    run_id = start(agents, world, {"phase_id": "one", "task_category": "docs"})
    eventually(lambda: Phase.objects.filter(run=run_id, ready_at__isnull=False).exists())
    status, answer = agents["builder"].call(
        "POST",
        f"/runs/{run_id}/phases/one/builder_result",
        {"phase_id": "one", "run_id": run_id, "patch_content": new_file("a.txt", "a"), "status": "success"},
    )
    assert status == 200, answer
    assert len(answer["commit_sha"]) == 40
    assert world.ended(Run.objects.get(pk=run_id)).state == "DONE_SUCCESS"
    assert Attempt.objects.get(run=run_id).tokens_used is None  # unknown, never 0


def test_tokens_and_roles_are_needed(agents: dict[str, Client], web: str, world: World) -> None:
    world.project(builder=None, gate=GREEN)
    run_id = start(agents, world, {"phase_id": "one"})
    assert Client(web, None).call("GET", f"/runs/{run_id}")[0] == 401
    assert Client(web, "apk_wrong").call("GET", f"/runs/{run_id}")[0] == 401
    assert agents["reader"].call("POST", f"/runs/{run_id}/claim", {"kind": "build"})[0] == 403
    assert agents["auditor"].call("POST", f"/runs/{run_id}/claim", {"kind": "build"})[0] == 403
    assert agents["builder"].call("POST", f"/runs/{run_id}/cancel", {})[0] == 403
    status, answer = agents["operator"].call("POST", f"/runs/{run_id}/cancel", {"why": "enough"})
    assert (status, answer["state"]) == (200, "DONE_CANCELLED"), answer


def test_an_issue_recorded_over_http_stands_in_index_and_backlog(
    agents: dict[str, Client], world: World
) -> None:
    world.project(builder=None, gate=GREEN)
    run_id = start(agents, world, {"phase_id": "one"})
    path = f"/runs/{run_id}/phases/one/record_issue?issue_key=k1&severity=minor&source=probe&category=style"
    status, answer = agents["builder"].call("POST", path, ["a.py:3"])
    assert (status, answer["message"]) == (200, "Issue k1 recorded"), answer
    assert agents["reader"].call("GET", f"/runs/{run_id}/issues/index")[1]["issues_by_key"].keys() == {"k1"}
    status, answer = agents["reader"].call("GET", f"/project/issues/backlog?project_id={world.key}")
    assert answer["issues_by_key"]["k1"]["status"] == "open"
    assert RunIndexEntry.objects.filter(run=run_id).count() == BacklogEntry.objects.filter(
        project__project_id=world.key
    ).count() == 1  # fmt: skip
