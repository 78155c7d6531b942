"""What builders and auditors hand in: builder_result, auditor_request, auditor_result, and a run's good end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import new_file, plan, wait_for
from tests.contract.served import Api, Served
from tests.contract.shapes import AUDIT_REQUESTED, AUDITED, BRANCH, BUILT, RUN, faults

pytestmark = pytest.mark.real
PROBE = {"probe_type": "unit", "exit_code": 0, "stdout": "ok", "stderr": "", "duration_seconds": 0.5}
SUGGESTED = {
    "issue_key": "s1",
    "severity": "minor",
    "category": "style",
    "evidence_refs": ["a"],
    "description": "d",
}


def phase_path(run_id: str, route: str, phase_id: str = "p1") -> str:
    return f"/runs/{run_id}/phases/{phase_id}/{route}"


def built(of: str, **changes: Any) -> dict[str, Any]:
    """Return a builder's result with every field of the contract."""
    return {
        "phase_id": "p1", "run_id": of, "patch_content": new_file("a.txt"), "files_changed": ["a.txt"],
        "lines_added": 1, "lines_removed": 0, "builder_attempts": 1, "tokens_used": 5, "duration_minutes": 0.1,
        "probe_results": [PROBE], "suggested_issues": [SUGGESTED], "status": "success", "notes": "done", **changes,
    }  # fmt: skip


def audited(of: str, **changes: Any) -> dict[str, Any]:
    """Return an auditor's verdict with every field of the contract."""
    return {
        "phase_id": "p1", "run_id": of, "review_notes": "read it", "issues_found": [], "suggested_patches": [],
        "auditor_attempts": 1, "tokens_used": 3, "recommendation": "approve", "confidence": "high", **changes,
    }  # fmt: skip


def test_a_result_without_a_lease_is_taken_and_answered_with_its_candidate(
    builder: Api, reader: Api, ready: str
):
    answer = builder.post(phase_path(ready, "builder_result"), built(ready))
    assert answer.status == 200, answer.raw
    assert not faults(answer.body, BUILT)
    assert answer.body["message"] == "Builder result processed for phase p1"
    assert answer.body["commit_sha"]
    assert reader.get(f"/runs/{ready}").body["tokens_used"] == 5
    issues = reader.get(f"/runs/{ready}/issues/index").body["issues_by_key"]
    assert issues["s1"]["severity"] == "minor"


def test_a_status_alone_is_a_result(builder: Api, ready: str):
    answer = builder.post(phase_path(ready, "builder_result"), {"status": "gave up", "unknown": 1})
    assert answer.status == 200, answer.raw
    assert not faults(answer.body, BUILT)
    assert answer.body["commit_sha"] is None


MISSING = [
    ({"status": ...}, ["body", "status"]),
    ({"probe_results": [{"exit_code": 0}]}, ["body", "probe_results", 0, "probe_type"]),
    ({"probe_results": [{"probe_type": "x"}]}, ["body", "probe_results", 0, "exit_code"]),
    *[
        ({"suggested_issues": [{k: v for k, v in SUGGESTED.items() if k != name}]},
         ["body", "suggested_issues", 0, name])
        for name in ("issue_key", "severity", "category")
    ],
    ({"run_id": "another"}, ["body", "run_id"]),
    ({"tokens_used": "many"}, ["body", "tokens_used"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "loc"), MISSING)
def test_a_result_that_breaks_a_rule_is_422_at_its_place(
    builder: Api, started: str, changes: dict[str, Any], loc: list[Any]
):
    body = {name: value for name, value in built(started, **changes).items() if value is not ...}
    answer = builder.post(phase_path(started, "builder_result"), body)
    assert answer.status == 422
    assert [row["loc"] for row in answer.body["detail"]] == [loc]


def test_a_patch_that_cannot_be_applied_is_422_with_its_code_and_git_is_untouched(
    builder: Api, reader: Api, ready: str
):
    before = reader.get(f"/runs/{ready}/integration_status").body
    patch = "diff --git a/none b/none\n--- a/none\n+++ b/none\n@@ -1 +1 @@\n-old\n+new\n"
    answer = builder.post(phase_path(ready, "builder_result"), built(ready, patch_content=patch))
    assert answer.status == 422
    assert answer.body["code"] not in ("", "invalid")
    assert answer.body["detail"][0]["loc"] == ["body", "patch_content"]
    assert reader.get(f"/runs/{ready}/integration_status").body == before


def test_anothers_live_lease_is_409(operator: Api, builder: Api, ready: str):
    lease = operator.post(f"/runs/{ready}/claim", {"phase_id": "p1"})
    assert lease.status == 201
    answer = builder.post(phase_path(ready, "builder_result"), built(ready))
    assert (answer.status, answer.body["code"]) == (409, "lease-held")


def test_a_stale_fence_is_409_and_its_tokens_are_booked(builder: Api, reader: Api, ready: str):
    lease = builder.post(f"/runs/{ready}/claim", {"phase_id": "p1"}).body
    under = {"lease_id": lease["lease_id"], "fence": lease["fence"]}
    assert builder.post(f"/leases/{lease['lease_id']}/release", {"fence": lease["fence"]}).status == 204
    answer = builder.post(phase_path(ready, "builder_result"), built(ready, **under))
    assert (answer.status, answer.body["code"]) == (409, "stale-lease")
    assert reader.get(f"/runs/{ready}").body["tokens_used"] == 5


def test_an_audit_is_requested_with_an_empty_body(auditor: Api, started: str):
    answer = auditor.post(phase_path(started, "auditor_request"))
    assert answer.status == 200, answer.raw
    assert not faults(answer.body, AUDIT_REQUESTED)
    assert answer.body == {
        "message": "Auditor review requested for phase p1",
        "review_focus": "general",
        "auditor_profile": "general_review",
    }


def test_an_audit_is_requested_with_every_field(auditor: Api, started: str):
    body = {
        "phase_id": "p1", "run_id": started, "tier_id": "t1", "builder_result": {"status": "failed"},
        "failure_context": "red", "review_focus": "security", "auditor_profile": "security_review",
    }  # fmt: skip
    answer = auditor.post(phase_path(started, "auditor_request"), body)
    assert answer.status == 200, answer.raw
    assert (answer.body["review_focus"], answer.body["auditor_profile"]) == ("security", "security_review")


def test_a_verdict_on_nothing_is_409(auditor: Api, started: str):
    assert auditor.post(phase_path(started, "auditor_result"), audited(started)).status == 409


WRONG = [
    ({"review_notes": ...}, ["body", "review_notes"]),
    ({"recommendation": ...}, ["body", "recommendation"]),
    ({"recommendation": "maybe"}, ["body", "recommendation"]),
    ({"suggested_patches": [{"description": "d"}]}, ["body", "suggested_patches", 0, "patch_content"]),
    ({"suggested_patches": [{"patch_content": "p"}]}, ["body", "suggested_patches", 0, "description"]),
    ({"run_id": "another"}, ["body", "run_id"]),
]


@pytest.mark.parametrize(("changes", "loc"), WRONG)
def test_a_verdict_that_breaks_a_rule_is_422_at_its_place(
    auditor: Api, started: str, changes: dict[str, Any], loc: list[Any]
):
    body = {name: value for name, value in audited(started, **changes).items() if value is not ...}
    answer = auditor.post(phase_path(started, "auditor_result"), body)
    assert answer.status == 422
    assert [row["loc"] for row in answer.body["detail"]] == [loc]


def test_an_auditors_patch_is_tried_and_its_commit_answered(auditor: Api, builder: Api, ready: str):
    builder.post(phase_path(ready, "builder_result"), built(ready, status="needs_review"))
    patches = [{"description": "better", "patch_content": new_file("b.txt"), "files_affected": ["b.txt"]}]
    body = audited(ready, recommendation="revise", suggested_patches=patches)
    answer = auditor.post(phase_path(ready, "auditor_result"), body)
    assert answer.status == 200, answer.raw
    assert not faults(answer.body, AUDITED)
    assert answer.body["message"] == "Auditor result processed for phase p1"
    assert (answer.body["recommendation"], answer.body["patches_applied"]) == ("revise", 1)
    assert len(answer.body["commit_shas"]) == 1


@pytest.mark.parametrize("role", ["auditor", "verifier", "reader"])
def test_only_builders_hand_in_patches(served: Served, started: str, role: str):
    assert served[role].post(phase_path(started, "builder_result"), built(started)).status == 403


@pytest.mark.parametrize("role", ["builder", "verifier", "reader"])
def test_only_auditors_hand_in_verdicts(served: Served, started: str, role: str):
    assert served[role].post(phase_path(started, "auditor_result"), audited(started)).status == 403


def test_a_run_ends_well_and_may_be_promoted(operator: Api, builder: Api, reader: Api, fresh_id: str):
    operator.post("/runs/start", plan(fresh_id, phases=1, project="ends"))
    answer = builder.post(phase_path(fresh_id, "builder_result"), built(fresh_id, suggested_issues=[]))
    assert answer.status == 200, answer.raw
    run = wait_for(reader, fresh_id, lambda run: run["state"].startswith("DONE_"))
    assert not faults(run, RUN)
    assert (run["state"], run["promotion_eligible_to_main"]) == ("DONE_SUCCESS", "true")
    branch = reader.get(f"/runs/{fresh_id}/integration_status").body
    assert not faults(branch, BRANCH)
    assert (branch["branch"], branch["commit_count"]) == (f"autonomous/{fresh_id}", 1)
    sha, _, subject = branch["latest_commit"].partition(" ")
    assert (len(sha), bool(subject)) == (40, True)
    assert (branch["ahead_of_main"], branch["behind_main"]) == (1, 0)
    late = builder.post(phase_path(fresh_id, "builder_result"), built(fresh_id, suggested_issues=[SUGGESTED]))
    assert late.status == 409
    assert reader.get(f"/runs/{fresh_id}/issues/index").body["issues_by_key"].keys() == {"s1"}
