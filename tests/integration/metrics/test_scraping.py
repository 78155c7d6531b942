"""`GET /prometheus`: who may scrape, in which format, and that every metric of the catalogue is there."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

from integration.metrics.catalogue import METRICS
from runs.tokens import create_token
from tests.factories import make_project

pytestmark = pytest.mark.django_db
FAR = "203.0.113.7"


@pytest.fixture(autouse=True)
def _own_redis(redis_url: str) -> None:
    """Every test starts with an empty broker."""


def scrape(*roles: str, project: Any = None, **options: Any) -> Any:
    headers = options.pop("headers", {})
    if roles:
        token = create_token("prometheus", roles=roles, project=project)
        headers = {"Authorization": f"Bearer {token}", **headers}
    return Client().get("/prometheus", headers=headers, **options)


def test_every_family_of_the_catalogue_is_exposed_with_its_kind():
    answer = scrape("reader")
    assert answer["Content-Type"].startswith("text/plain; version=")
    found = {family.name: family for family in classic(answer.content.decode())}
    for metric in METRICS.values():
        name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        assert found[name].type == metric.kind
        assert found[name].documentation == metric.help
    assert len(found) == len(METRICS)


def test_openmetrics_is_answered_where_it_is_asked_for():
    answer = scrape("reader", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer["Content-Type"].startswith("application/openmetrics-text")
    assert len(list(openmetrics(answer.content.decode()))) == len(METRICS)


@pytest.mark.parametrize("role", ["reader", "operator"])
def test_readers_and_operators_may_scrape(role: str):
    assert scrape(role).status_code == 200


@pytest.mark.parametrize("role", ["builder", "auditor", "verifier"])
def test_agents_may_not_scrape(role: str):
    answer = scrape(role)
    assert (answer.status_code, answer.json()["code"]) == (403, "role-missing")


def test_a_token_of_one_project_may_not_see_the_figures_of_all():
    answer = scrape("operator", project=make_project())
    assert (answer.status_code, answer.json()["code"]) == (403, "project-token")


def test_without_a_token_there_is_nothing_to_scrape():
    answer = scrape()
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_where_it_is_open_the_machine_itself_needs_no_token(settings: Any, address: str):
    settings.OPEN_PROMETHEUS = True
    assert scrape(REMOTE_ADDR=address).status_code == 200


@pytest.mark.parametrize("address", [FAR, "10.0.0.1", "", "localhost"])
def test_where_it_is_open_others_need_one_all_the_same(settings: Any, address: str):
    settings.OPEN_PROMETHEUS = True
    assert scrape(REMOTE_ADDR=address).status_code == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_what_a_proxy_on_the_machine_hands_on_is_not_local(settings: Any, header: str):
    settings.OPEN_PROMETHEUS = True
    assert scrape(headers={header: FAR}).status_code == 401


def test_a_bad_token_is_refused_where_it_is_open_too(settings: Any):
    settings.OPEN_PROMETHEUS = True
    assert scrape(headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_an_error_is_told_in_the_api_s_form_whatever_format_was_asked_for():
    answer = scrape(headers={"Accept": "application/openmetrics-text"})
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
