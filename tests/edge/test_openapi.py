"""The published description: complete, in step, and with examples that are true to it. And the page that shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.contrib.staticfiles import finders
from django.core.management import CommandError, call_command
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from jsonschema import Draft202012Validator

from runs.api import openapi
from tests.edge.routes import routes

DOCUMENT: dict[str, Any] = json.loads(openapi.text())
# Served, but not part of the contract: the description itself, the page about it, and for Prometheus.
UNDESCRIBED = {"GET /openapi.json", "GET /docs", "GET /prometheus", "GET /runs/start"}
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
every_operation = pytest.mark.parametrize("name", sorted(OPERATIONS))


def schema_of(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    _, _, kind, name = value["$ref"].split("/")
    found: dict[str, Any] = DOCUMENT["components"][kind][name]
    return found


def good_answers(name: str) -> list[dict[str, Any]]:
    """The contents of an operation's 2xx answers."""
    answers = OPERATIONS[name]["responses"].items()
    return [
        media for status, answer in answers if status < "300" for media in answer.get("content", {}).values()
    ]


def test_the_document_in_docs_is_the_code_s():
    call_command("openapi", check=True)  # ends with status 1 when it is out of step


def test_a_document_that_is_out_of_step_is_told_and_mended(tmp_path: Path, settings: Any):
    (tmp_path / "docs").mkdir()
    settings.BASE_DIR = tmp_path
    with pytest.raises(SystemExit):
        call_command("openapi", check=True)
    call_command("openapi", write=True)
    call_command("openapi", check=True)
    assert (tmp_path / "docs" / "openapi.json").read_text(encoding="utf-8") == openapi.text()


def test_a_warning_of_the_generator_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(GENERATOR_STATS._warn_cache, "something is guessed", 1)
    with pytest.raises(CommandError):
        call_command("openapi", check=True)


def test_what_is_served_is_what_is_in_docs():
    answer = Client().get("/openapi.json")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert answer.content == (Path(site.BASE_DIR) / "docs" / "openapi.json").read_bytes()


def test_every_route_is_described_and_nothing_else():
    served = {route.name for route in routes()} - UNDESCRIBED
    assert set(OPERATIONS) == served


@every_operation
def test_an_operation_has_a_name_and_words_of_its_own(name: str):
    operation = OPERATIONS[name]
    assert operation["description"].strip()
    assert re.fullmatch(r"[a-z][a-z_]+", operation["operationId"])
    same = [other for other, value in OPERATIONS.items() if value["operationId"] == operation["operationId"]]
    assert same == [name]


@every_operation
def test_an_operation_s_body_has_an_example_that_holds(name: str):
    for media in OPERATIONS[name].get("requestBody", {}).get("content", {}).values():
        assert media.get("examples"), f"{name}: extend_schema(examples=shown(sent=...))"
        for example in media["examples"].values():
            schema_of(media["schema"]).validate(example["value"])


@every_operation
def test_an_operation_s_answer_has_an_example_that_holds(name: str):
    for media in good_answers(name):
        assert media.get("examples"), f"{name}: extend_schema(examples=shown(answered=..., status=...))"
        for example in media["examples"].values():
            schema_of(media["schema"]).validate(example["value"])


@every_operation
def test_an_operation_s_problems_are_described_with_examples(name: str):
    for status, answer in OPERATIONS[name]["responses"].items():
        if status >= "400":
            [(media_type, media)] = answer["content"].items()
            assert media_type == "application/problem+json"
            value = resolved(media["examples"]["problem"])["value"]
            schema_of(media["schema"]).validate(value)
            assert value["status"] == int(status)
            assert answer["description"].strip()


@every_operation
def test_an_operation_tells_of_the_correlation_id(name: str):
    operation = OPERATIONS[name]
    assert "X-Correlation-Id" in [resolved(parameter)["name"] for parameter in operation["parameters"]]
    assert all("X-Correlation-Id" in answer["headers"] for answer in operation["responses"].values())


@every_operation
def test_what_needs_a_token_says_so_and_how_it_is_refused(name: str):
    needs_token = any(OPERATIONS[name].get("security", []))
    [route] = [route for route in routes() if route.name == name]
    assert needs_token == route.needs_token
    refusals = {"401", "403", "422", "429"} if needs_token else set()
    assert refusals <= set(OPERATIONS[name]["responses"])
    if needs_token:
        assert "Retry-After" in OPERATIONS[name]["responses"]["429"]["headers"]


@pytest.mark.parametrize("name", sorted(name for name in OPERATIONS if name.startswith("POST")))
def test_a_post_tells_of_its_key(name: str):
    operation = OPERATIONS[name]
    assert "Idempotency-Key" in [resolved(parameter)["name"] for parameter in operation["parameters"]]
    assert "key-reused" in operation["responses"]["409"]["description"]
    good = [answer for status, answer in operation["responses"].items() if status < "300"]
    assert good
    assert all("Idempotency-Replayed" in answer["headers"] for answer in good)


def test_the_page_names_files_of_this_host_alone():
    answer = Client().get("/docs")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/html; charset=utf-8")
    page = answer.content.decode()
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]* src=)", page)
    assert not re.search(r"\son\w+=|style=", page)
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert "openapi.json" in sources
    for source in set(sources) - {"openapi.json"}:
        assert source.startswith("/static/"), source
        assert finders.find(source.removeprefix("/static/")), source


def test_the_page_may_load_nothing_of_another_host():
    policy = Client().get("/docs")["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_page_s_own_script_asks_no_other_host():
    path = finders.find("runs/docs.js")
    assert isinstance(path, str)
    script = Path(path).read_text(encoding="utf-8")
    assert "http" not in script
    assert "validatorUrl: null" in script
