"""Input that no honest client sends: each gets a typed error that says where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from issues.models import Issue
from strategy.models import Project
from tests.edge.routes import routes
from tests.runs.api.conftest import Api, plan, problem_of, start
from tests.runs.api.test_claims import claim

pytestmark = pytest.mark.django_db
POSTS = [route for route in routes() if route.method == "POST"]
BROKEN = {
    "not JSON": (b"{", 422),
    "not UTF-8": (b'{"a": "\xff"}', 422),
    "UTF-16": ("{}".encode("utf-16"), 422),
    "a byte order mark": (b"\xef\xbb\xbf{}", 422),
    "two values": (b"{} {}", 422),
    "a member named twice": (b'{"a": 1, "a": 2}', 422),
    "a member named twice below": (b'{"a": [{"b": 1, "b": 1}]}', 422),
    "beyond all bounds": (b'{"a": 1e999}', 422),
    "very many digits": (b'{"a": %s}' % (b"9" * 5000), 422),
    "NaN": (b'{"a": NaN}', 422),
    "NUL": (b'{"a": "\\u0000"}', 422),
    "NUL in a name": (b'{"\\u0000": 1}', 422),
    "half a character": (b'{"a": "\\ud800"}', 422),
    "too deep": (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", 422),
    "far too deep": (b"[" * 100_000, 422),
    "compressed": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", 422),
}


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.name)
def test_every_post_refuses_every_broken_body(project: Project, operator: Api, route: Any):
    for name, (body, status) in BROKEN.items():
        answer = operator.post(route.path(), body)
        assert answer.status_code == status, (name, answer.content)
        assert answer["Content-Type"] == "application/problem+json"


def test_a_member_that_comes_twice_is_named(operator: Api):
    body = problem_of(operator.post("/runs/start", b'{"run": {}, "run": {}}'), 422, "invalid")
    assert body["detail"] == [
        {"type": "duplicate_key", "loc": ["body"], "msg": "An object names 'run' twice"}
    ]


def test_a_number_beyond_all_bounds_is_found_where_it_is(project: Project, operator: Api):
    answer = operator.post("/runs/start", b'{"run": {"run_id": "r", "odd": [1, 1e400]}}')
    assert problem_of(answer, 422, "invalid")["detail"][0]["loc"] == ["body", "run", "odd", 1]


@pytest.mark.parametrize(
    ("query", "kind", "loc"),
    [
        ("limit=1&limit=2", "duplicate_key", ["query", "limit"]),
        ("state=GATE&state=GATE", "duplicate_key", ["query", "state"]),
        ("state=%ff", "not_utf8", ["query"]),
        ("%ed%a0%80=1", "not_utf8", ["query"]),
        ("cursor=a%00b", "nul_character", ["query", "cursor"]),
        ("%00=1", "nul_character", ["query"]),
        ("limit=" + "9" * 400, "max_value", ["query", "limit"]),
        ("limit=1e3", "invalid", ["query", "limit"]),
        ("limit=-1", "min_value", ["query", "limit"]),
        ("cursor=" + "x" * 600, "max_length", ["query", "cursor"]),
    ],
)
def test_an_odd_query_says_where(operator: Api, query: str, kind: str, loc: list[str]):
    [row] = problem_of(operator.get(f"/runs?{query}"), 422, "invalid")["detail"]
    assert (row["type"], row["loc"]) == (kind, loc)


def test_a_query_of_too_many_parts_is_refused(operator: Api):
    problem_of(
        operator.get("/runs?" + "&".join(f"a{number}=1" for number in range(1500))), 400, "bad-request"
    )


def test_a_report_s_query_is_as_strict(project: Project, operator: Api):
    start(operator)
    path = "/runs/r1/phases/p1/record_issue?severity=minor&source=probe&category=style&issue_key="
    problem_of(operator.post(f"{path}%ff", []), 422, "invalid")
    problem_of(operator.post(f"{path}a&issue_key=b", {"category": "style"}), 422, "invalid")
    assert not Issue.objects.exists()


def test_what_is_accepted_does_not_matter(operator: Api, project: Project):
    for accepted in ("text/html", "application/xml", "nonsense", "*/*;q=0", ""):
        answer = operator.get("/runs", {"Accept": accepted})
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/json"), accepted


def test_a_format_in_the_query_is_nothing_special(operator: Api, project: Project):
    assert operator.get("/runs?format=xml").status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "json",
    ],
)
def test_another_type_of_body_is_415(operator: Api, content_type: str):
    answer = operator.client.generic(
        "POST",
        "/runs/start",
        json.dumps(plan()),
        content_type,
        headers={"authorization": f"Bearer {operator.token}"},
    )
    body = problem_of(answer, 415, "unsupported-media-type")
    assert body["title"] == "Unsupported Media Type"


def test_a_charset_is_not_believed(operator: Api, project: Project):
    answer = operator.client.generic(
        "POST", "/runs/start", json.dumps(plan()), "application/json; charset=utf-16",
        headers={"authorization": f"Bearer {operator.token}"},
    )  # fmt: skip
    assert answer.status_code == 201


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "PATCH", "DELETE"])
def test_an_odd_method_is_405(operator: Api, method: str):
    answer = operator._call(method, "/claim", None, None)
    problem_of(answer, 405, "method-not-allowed")
    assert answer["Allow"] == "POST"


@pytest.mark.parametrize(
    "value", ["Bearer \x00", "Bearer " + "x" * 8000, "Bearer\tx", ",", "Bearer apk_\u00e9"]
)
def test_an_odd_credential_is_401(value: str):
    problem_of(Client().get("/runs", headers={"authorization": value}), 401, "authentication-failed")


def test_lists_within_a_body_are_bounded(project: Project, operator: Api, builder: Api):
    start(operator)
    lease = claim(builder)
    result = {"status": "success", "lease_id": lease["lease_id"], "fence": lease["fence"]}
    path = "/runs/r1/phases/p1/builder_result"
    for name, row, most in (
        ("probe_results", {"probe_type": "x", "exit_code": 0}, 200),
        ("files_changed", "a", 10_000),
        ("suggested_issues", {"issue_key": "k", "severity": "minor", "category": "c"}, 500),
    ):
        answer = builder.post(path, {**result, name: [row] * (most + 1)})
        [fault] = problem_of(answer, 422, "invalid")["detail"]
        assert (fault["type"], fault["loc"]) == ("max_length", ["body", name])


def test_a_patch_over_the_limit_is_422(project: Project, operator: Api, builder: Api, settings: Any):
    settings.MAX_PATCH_BYTES = 1024
    start(operator)
    body = {"status": "success", "patch_content": "é" * 600}
    found = problem_of(builder.post("/runs/r1/phases/p1/builder_result", body), 422, "patch-too-large")
    assert found["limit_bytes"] == 1024
    assert found["detail"][0]["loc"] == ["body", "patch_content"]
