"""What holds for every route: ids, refusals, tokens, the form of problems, bodies of every kind."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from tests.contract.conftest import plan
from tests.contract.served import Api, Served
from tests.contract.shapes import PROBLEM_ROW, faults

pytestmark = pytest.mark.real
CHUNKED = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
GOOD_IDS = ["0", "A", "a.b-c_d", "Z9.lock.x", "x" * 128]
BAD_IDS = ["", ".a", "-a", "_a", "a..b", "a.", "a.lock", "a/b", "a b", "é", "a\n", "a~b", "x" * 129, None, 7]
AUDIT = {"review_notes": "ok", "recommendation": "approve"}
ISSUE = {"issue_key": "k", "severity": "minor", "source": "probe", "category": "c"}
# method, path, body: every route that names a run or a phase
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/runs/{run}", ...),
    ("GET", "/runs/{run}/issues/index", ...),
    ("GET", "/runs/{run}/integration_status", ...),
    ("POST", "/runs/{run}/phases/{phase}/update_status", {"state": "SKIPPED"}),
    ("POST", "/runs/{run}/phases/{phase}/record_issue", ISSUE),
    ("POST", "/runs/{run}/phases/{phase}/builder_result", {"status": "success"}),
    ("POST", "/runs/{run}/phases/{phase}/auditor_request", ...),
    ("POST", "/runs/{run}/phases/{phase}/auditor_result", AUDIT),
]
OF_PHASES = [row for row in ROUTES if "{phase}" in row[1]]
OF_RUNS = [row for row in ROUTES if "{phase}" not in row[1]]
PHASE_WORDS = {"update_status": "Phase p9 not found in run {run}", "builder_result": "Phase p9 not found"}


@pytest.mark.parametrize(("method", "path", "body"), OF_RUNS)
def test_an_absent_run_is_404_in_the_contracts_words(operator: Api, method: str, path: str, body: Any):
    answer = operator.call(method, path.format(run="nowhere"), body)
    assert answer.status == 404
    assert answer.body["detail"] == "Run nowhere not found"


@pytest.mark.parametrize(("method", "path", "body"), OF_PHASES)
def test_an_absent_phase_is_404(operator: Api, started: str, method: str, path: str, body: Any):
    answer = operator.call(method, path.format(run=started, phase="p9"), body)
    assert answer.status == 404
    words = PHASE_WORDS.get(path.rpartition("/")[2])
    if words is not None:
        assert answer.body["detail"] == words.format(run=started)


def test_an_absent_project_is_404(reader: Api):
    assert reader.get("/project/issues/backlog?project_id=nowhere").status == 404


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_without_a_token_every_route_is_401(served: Served, method: str, path: str, body: Any):
    answer = served["nobody"].call(method, path.format(run="r", phase="p"), body)
    assert answer.status == 401
    assert answer.is_problem
    assert isinstance(answer.body["detail"], str)


@pytest.mark.parametrize("value", GOOD_IDS)
def test_a_good_id_names_runs_tiers_and_phases(operator: Api, value: str):
    body = plan(value, phases=1)
    body["tiers"][0]["tier_id"] = body["phases"][0]["tier_id"] = body["phases"][0]["phase_id"] = value
    assert operator.post("/runs/start", body).status == 201
    assert operator.get(f"/runs/{value}").body["tiers"][0]["phases"][0]["phase_id"] == value


@pytest.mark.parametrize("place", ["run", "tier", "phase"])
@pytest.mark.parametrize("value", BAD_IDS)
def test_a_bad_id_is_422(operator: Api, fresh_id: str, place: str, value: Any):
    body = plan(fresh_id, phases=1)
    if place == "run":
        body["run"]["run_id"] = value
    elif place == "tier":
        body["tiers"][0]["tier_id"] = body["phases"][0]["tier_id"] = value
    else:
        body["phases"][0]["phase_id"] = value
    assert operator.post("/runs/start", body).status == 422


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_a_bad_id_in_a_path_is_422(operator: Api, method: str, path: str, body: Any):
    answer = operator.call(method, path.format(run="a..b", phase="p"), body)
    assert answer.status == 422
    assert answer.body["detail"][0]["loc"] == ["path", "run_id"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/runs/nowhere", ..., 404),
        ("GET", "/nothing/here", ..., 404),
        ("POST", "/health", {}, 405),
        ("POST", "/runs/start", b"{", 422),
        ("POST", "/runs/start", b"[]", 422),
        ("POST", "/runs/start", {}, 422),
        ("POST", "/runs/start", b"\xff", 422),
        ("GET", "/runs/.hidden", ..., 422),
    ],
)
def test_every_error_is_a_problem_with_detail_code_and_correlation_id(
    operator: Api, method: str, path: str, body: Any, status: int
):
    answer = operator.call(method, path, body, {"X-Correlation-Id": "trace-7"})
    assert answer.status == status
    assert answer.is_problem
    assert answer.body["status"] == status
    assert answer.body["code"]
    assert answer.body["correlation_id"] == answer.headers["x-correlation-id"] == "trace-7"
    if status == 422:
        assert not faults(answer.body["detail"], [PROBLEM_ROW])
        assert answer.body["detail"]
    else:
        assert isinstance(answer.body["detail"], str)


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", ""])
def test_a_body_is_json_also_where_no_type_is_said(operator: Api, fresh_id: str, content_type: str):
    answer = operator.call("POST", "/runs/start", plan(fresh_id), {"Content-Type": content_type})
    assert answer.status == 201, answer.raw


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", ""])
def test_an_empty_body_is_fine_whatever_its_type(auditor: Api, started: str, content_type: str):
    headers = {"Content-Type": content_type}
    answer = auditor.call("POST", f"/runs/{started}/phases/p1/auditor_request", b"", headers)
    assert answer.status == 200, answer.raw


def test_no_path_has_a_trailing_slash(operator: Api, started: str):
    assert operator.get(f"/runs/{started}/").status == 404


def test_a_body_in_chunks_is_refused_and_not_read_as_none(served: Served) -> None:
    link = http.client.HTTPConnection("127.0.0.1", served["operator"].port, timeout=60)
    headers = {**CHUNKED, "Authorization": f"Bearer {served['operator'].token}"}
    try:
        for path in ("/runs/start", "/claim"):
            link.request("POST", path, iter([b"{}"]), headers, encode_chunked=True)
            answer = link.getresponse()
            assert (answer.status, json.loads(answer.read())["code"]) == (411, "length-required")
    finally:
        link.close()
