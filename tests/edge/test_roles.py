"""Who may call what: every route with every role, against a table written by hand. And what a token is."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from autopack_site.kernel import clock
from autopack_site.kernel.auth import Role
from runs.models import ApiToken
from runs.tokens import PREFIX, SHOWN, create_token, digest_of, revoke_token
from strategy.models import Project
from tests.edge.routes import Route, routes
from tests.runs.api.conftest import Api, api_for, make_project, problem_of, start

pytestmark = pytest.mark.django_db

OPEN = frozenset({"operator", "builder", "auditor", "verifier", "reader", "nobody"})
ANY = OPEN - {"nobody"}
OPERATOR = frozenset({"operator"})
BUILDER = OPERATOR | {"builder"}
AUDITOR = OPERATOR | {"auditor"}
WORKER = BUILDER | AUDITOR
REPORTER = WORKER | {"verifier"}
MAY = {
    "GET /": OPEN,
    "GET /health": OPEN,
    "GET /ready": OPEN,
    "GET /openapi.json": OPEN,
    "GET /docs": OPEN,
    "GET /runs": ANY,
    "GET /runs/start": ANY,
    "POST /runs/start": OPERATOR,
    "GET /runs/{run_id}": ANY,
    "GET /runs/{run_id}/events": ANY,
    "GET /runs/{run_id}/integration_status": ANY,
    "GET /runs/{run_id}/events/stream": ANY,
    "GET /runs/{run_id}/strategy": ANY,
    "GET /runs/{run_id}/promotion": ANY,
    "GET /runs/{run_id}/phases/{phase_id}": ANY,
    "GET /runs/{run_id}/phases/{phase_id}/attempts/{attempt_id}/diff": ANY,
    "GET /runs/{run_id}/phases/{phase_id}/attempts/{attempt_id}/gate_log": ANY,
    "POST /runs/{run_id}/phases/{phase_id}/update_status": OPERATOR,
    "GET /audits": AUDITOR,
    "GET /projects": ANY,
    "GET /projects/{project_id}": ANY,
    "GET /projects/{project_id}/rulesets": ANY,
    "GET /projects/{project_id}/rulesets/{version}": ANY,
    "POST /rulesets/lint": OPERATOR,
    "POST /projects/{project_id}/rulesets/dry_run": OPERATOR,
    "POST /projects/{project_id}/rulesets/replay": OPERATOR,
    "GET /projects/{project_id}/classification": ANY,
    "POST /plans/check": ANY,
    "POST /plans/explain": ANY,
    "POST /plans/split": ANY,
    "POST /plans/convert": ANY,
    "GET /tokens": OPERATOR,
    "POST /tokens": OPERATOR,
    "POST /tokens/{token_id}/revoke": OPERATOR,
    "GET /metrics/runs": ANY,
    "GET /metrics/tiers/{run_id}": ANY,
    "GET /reports/issue_backlog_summary": ANY,
    "GET /reports/budget_analysis": ANY,
    "GET /reports/run_summary/{run_id}": ANY,
    "GET /prometheus": OPERATOR | {"reader"},
    "GET /runs/{run_id}/issues/index": ANY,
    "GET /project/issues/backlog": ANY,
    "POST /runs/{run_id}/cancel": OPERATOR,
    "POST /claim": WORKER,
    "POST /runs/{run_id}/claim": WORKER,
    "POST /leases/{lease_id}/heartbeat": WORKER,
    "POST /leases/{lease_id}/release": WORKER,
    "POST /runs/{run_id}/phases/{phase_id}/builder_result": BUILDER,
    "POST /runs/{run_id}/phases/{phase_id}/auditor_request": AUDITOR,
    "POST /runs/{run_id}/phases/{phase_id}/auditor_result": AUDITOR,
    "POST /runs/{run_id}/phases/{phase_id}/record_issue": REPORTER,
    "POST /runs/{run_id}/phases/{phase_id}/record_issues": REPORTER,
    "POST /runs/{run_id}/phases/{phase_id}/import_csv": REPORTER,
    "POST /runs/{run_id}/phases/{phase_id}/import_junit": REPORTER,
    "GET /runs/{run_id}/issues/export": ANY,
    "GET /project/issues": ANY,
    "GET /project/issues/facets": ANY,
    "GET /project/issues/export": ANY,
    "GET /project/issues/{entry_id}": ANY,
    "GET /project/issues/{entry_id}/timeline": ANY,
    "POST /project/issues/{entry_id}/accept": OPERATOR,
    "POST /project/issues/{entry_id}/resolve": OPERATOR,
    "POST /project/issues/{entry_id}/merge": OPERATOR,
    "POST /project/issues/{entry_id}/split": OPERATOR,
}
ROUTES = routes()


def status_of(api: Api, route: Route) -> int:
    """Send a body that no route takes: who may call is told 422 or 404, and nothing changes."""
    body: list[str] | None = [] if route.method == "POST" else None
    return int(api._call(route.method, route.path(), body, None).status_code)


def test_the_table_names_every_route_and_no_other():
    assert sorted(MAY) == sorted(route.name for route in ROUTES)


@pytest.mark.parametrize("role", sorted(Role))
def test_a_role_may_call_what_the_table_says_and_nothing_else(project: Project, role: str):
    api = api_for(role)
    answers = {route.name: status_of(api, route) for route in ROUTES}
    assert {name: status for name, status in answers.items() if status == 401} == {}
    assert {name for name, status in answers.items() if status != 403} == {
        name for name, roles in MAY.items() if role in roles
    }


def test_without_a_token_there_is_what_is_open_and_nothing_else(project: Project, anonymous: Api):
    answers = {route.name: status_of(anonymous, route) for route in ROUTES}
    assert {name for name, status in answers.items() if status != 401} == {
        name for name, roles in MAY.items() if "nobody" in roles
    }


def test_several_roles_may_do_what_each_may(project: Project):
    api = api_for("builder", "verifier")
    for route in ROUTES:
        assert (status_of(api, route) != 403) == bool(MAY[route.name] & {"builder", "verifier"}), route.name


@pytest.mark.parametrize("how", ["unknown", "revoked", "expired", "cut", "lengthened", "in capitals"])
def test_a_token_that_does_not_hold_opens_nothing(project: Project, how: str):
    value = create_token("agent", roles=["operator"])
    if how == "revoked":
        revoke_token(ApiToken.objects.get().pk)
    elif how == "expired":
        ApiToken.objects.update(expires_at=clock.now())
    sent = {
        "unknown": PREFIX + "x" * 43, "cut": value[:-1], "lengthened": value + "x", "in capitals": value.upper()
    }.get(how, value)  # fmt: skip
    api = Api(Client(), sent)
    for route in ROUTES:
        if "nobody" not in MAY[route.name]:
            answer = api._call(route.method, route.path(), None, None)
            problem_of(answer, 401, "authentication-failed")
            assert answer["WWW-Authenticate"] == 'Bearer realm="autopack"'


def test_a_token_that_expires_later_holds_until_then(project: Project):
    value = create_token("agent", roles=["reader"], expires_at=clock.now() + timedelta(hours=1))
    assert Api(Client(), value).get("/runs").status_code == 200


def test_a_token_is_stored_as_its_hash_and_its_first_characters(project: Project):
    value = create_token("agent", roles=["reader"])
    row = ApiToken.objects.get()
    assert (row.digest, row.prefix) == (digest_of(value), value[:SHOWN])
    stored = {str(getattr(row, column.attname)) for column in ApiToken._meta.concrete_fields}
    assert value not in "".join(stored)
    assert len(value) - SHOWN >= 32, "what is shown leaves enough to guess"


def test_two_tokens_are_never_alike():
    values = {create_token("agent", roles=["reader"]) for _ in range(20)}
    assert len(values) == 20
    assert all(re.fullmatch(r"apk_[A-Za-z0-9_-]{43}", value) for value in values)


def test_a_token_s_last_use_is_seen_once_a_minute(project: Project, reader: Api):
    assert ApiToken.objects.get().last_used_at is None
    reader.get("/runs")
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    assert abs(clock.now() - first) < timedelta(minutes=1)
    reader.get("/runs")
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(seconds=61))
    reader.get("/runs")
    again = ApiToken.objects.get().last_used_at
    assert again is not None
    assert again >= first


def test_a_refused_token_s_use_is_not_its_use(project: Project):
    value = create_token("agent", roles=["reader"])
    revoke_token(ApiToken.objects.get().pk)
    Api(Client(), value).get("/runs")
    assert ApiToken.objects.get().last_used_at is None


def test_a_token_is_revoked_once(project: Project):
    create_token("agent", roles=["reader"])
    pk = ApiToken.objects.get().pk
    assert [revoke_token(pk), revoke_token(pk), revoke_token(pk + 1)] == [True, False, False]


IN_A_RUN = [route for route in ROUTES if "{run_id}" in route.template]


@pytest.mark.parametrize("route", IN_A_RUN, ids=lambda route: route.name)
def test_a_run_of_another_project_is_as_absent_as_one_that_is_not_there(
    project: Project, operator: Api, route: Route
):
    start(operator)
    scoped = api_for("operator", name="scoped", project=make_project("other", is_default=False))
    issue = {"issue_key": "k", "severity": "minor", "source": "probe", "category": "c"}
    body = {
        **issue, "status": "success", "review_notes": "", "recommendation": "approve", "state": "QUEUED",
        "issues": [issue], "document": "issue_key,severity,category\n",
    }  # fmt: skip
    sent = body if route.method == "POST" else None
    absent, strange = (
        scoped._call(route.method, route.path(run_id=run_id, phase_id="p1", attempt_id="a"), sent, None)
        for run_id in ("r2", "r1")
    )
    assert absent.status_code == strange.status_code == 404
    said = [json.loads(answer.content) for answer in (absent, strange)]
    for document in said:
        del document["correlation_id"]
    assert json.dumps(said[0]).replace("r2", "r1") == json.dumps(said[1])


def test_a_token_of_one_project_sees_that_project_only(project: Project, operator: Api):
    start(operator)
    scoped: Any = api_for("reader", name="scoped", project=make_project("other", is_default=False))
    assert scoped.get("/runs").json()["runs"] == []
    problem_of(scoped.get("/project/issues/backlog?project_id=demo"), 404, "project-not-found")
