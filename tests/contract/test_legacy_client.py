"""An old client, unchanged: no token, no project, no lease, no turn awaited; it completes a run."""

from __future__ import annotations

import pytest

from tests.contract.conftest import new_file, plan, wait_for
from tests.contract.served import Api, Served

pytestmark = pytest.mark.real


@pytest.fixture
def legacy(served: Served) -> Api:
    return served["legacy"]


def test_an_old_client_completes_a_run_with_an_audit(legacy: Api, fresh_id: str):
    body = plan(fresh_id, phases=3, project=None)
    body["phases"][1]["task_category"] = "security_auth_change"
    assert legacy.post("/runs/start", body).status == 201
    for phase_id in ("p1", "p2", "p3"):
        path = f"/runs/{fresh_id}/phases/{phase_id}"
        result = {
            "phase_id": phase_id, "run_id": fresh_id, "patch_content": new_file(f"{phase_id}.txt"),
            "files_changed": [f"{phase_id}.txt"], "lines_added": 1, "lines_removed": 0, "status": "success",
        }  # fmt: skip
        answer = legacy.post(f"{path}/builder_result", result)
        assert answer.status == 200, answer.raw
        if phase_id == "p2":
            assert answer.body["commit_sha"] is None
            assert legacy.post(f"{path}/auditor_request").status == 200
            verdict = {
                "phase_id": phase_id,
                "run_id": fresh_id,
                "review_notes": "fine",
                "recommendation": "approve",
            }
            assert legacy.post(f"{path}/auditor_result", verdict).status == 200
        issue = f"{path}/record_issue?issue_key={phase_id}&severity=minor&source=probe&category=style"
        assert legacy.post(issue).status == 200
    run = wait_for(legacy, fresh_id, lambda run: run["state"].startswith("DONE_"))
    assert run["state"] == "DONE_SUCCESS", legacy.get(f"/runs/{fresh_id}/events").raw
    assert legacy.get(f"/runs/{fresh_id}/integration_status").body["commit_count"] == 3
    assert run["minor_issues_count"] == 3
    assert fresh_id in legacy.get("/project/issues/backlog").body["issues_by_key"]["p1"]["last_seen_run_id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/runs/{run}/cancel"),
        ("POST", "/runs/{run}/phases/p1/update_status"),
        ("GET", "/tokens"),
        ("POST", "/tokens"),
    ],
)
def test_an_old_client_is_no_operator(legacy: Api, started: str, method: str, path: str):
    assert legacy.call(method, path.format(run=started), {"state": "SKIPPED"}).status == 403


def test_a_token_that_is_wrong_is_not_taken_for_an_old_client(legacy: Api, started: str):
    wrong = Api(legacy.port, "apk_wrong")
    assert wrong.get(f"/runs/{started}").status == 401
