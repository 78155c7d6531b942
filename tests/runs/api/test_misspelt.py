"""A misspelt member of a body is refused with the name that was meant; what is merely unknown is ignored."""

from __future__ import annotations

import time
from typing import Any

import pytest

from runs.api.misspelt import LOOKED_AT, misspelt
from runs.api.serializers.results import BuilderResultIn
from runs.api.serializers.runs import StartIn
from runs.models import Run
from strategy.models import Project
from tests.runs.api.conftest import Api, plan


def told(serializer: Any, body: dict[str, Any]) -> list[tuple[list[Any], str]]:
    return [(row["loc"], row["msg"]) for row in misspelt(serializer, body)]


@pytest.mark.django_db
def test_a_misspelt_cap_starts_no_run(project: Project, operator: Api) -> None:
    body = plan("typo", tiers=1, phases=1)
    body["run"]["token_kap"] = 5
    answer = operator.post("/runs/start", body)
    assert answer.status_code == 422
    assert answer.json()["detail"] == [
        {"type": "unknown_field", "loc": ["body", "run", "token_kap"],
         "msg": "unknown field 'token_kap'; did you mean 'token_cap'?"},
    ]  # fmt: skip
    assert not Run.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("sent", "meant"), [("categorys", "categories"), ("wait", "wait_s")])
def test_a_misspelt_claim_takes_nothing(project: Project, operator: Api, sent: str, meant: str) -> None:
    answer = operator.post("/claim", {"kind": "build", sent: 5})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", sent])
    assert f"did you mean '{meant}'?" in answer.json()["detail"][0]["msg"]


@pytest.mark.django_db
def test_unknown_members_are_ignored_at_every_depth(project: Project, operator: Api) -> None:
    body = plan("more", tiers=1, phases=1)
    for part in (body, body["run"], body["tiers"][0], body["phases"][0]):
        part["x_trace"] = {"token_kap": 1}
    assert operator.post("/runs/start", body).status_code == 201


def test_rows_are_looked_into_and_named_by_their_place() -> None:
    body = {"phases": [{"phase_id": "a"}, {"phase_id": "b", "depend_on": ["a"]}], "tiers": [{"tier_indx": 0}]}
    places = sorted(loc for loc, _ in told(StartIn, body))
    assert places == [["body", "phases", 1, "depend_on"], ["body", "tiers", 0, "tier_indx"]]
    report = {"suggested_issues": [{"issue_key": "k", "severty": "minor"}], "usage": {"input_token": 2}}
    assert sorted(told(BuilderResultIn, report), key=str) == [
        (["body", "suggested_issues", 0, "severty"], "unknown field 'severty'; did you mean 'severity'?"),
        (["body", "usage", "input_token"], "unknown field 'input_token'; did you mean 'input_tokens'?"),
    ]


def test_another_word_of_the_api_is_no_misspelling() -> None:
    assert told(BuilderResultIn, {"phase_index": 1, "run_state": "GATE", "tier_index": 0}) == []


def test_a_member_beside_the_one_that_it_resembles_is_no_misspelling() -> None:
    assert told(StartIn, {"run": {"run_id": "a", "token_cap": 5, "token_caps": [5]}}) == []


def test_what_a_body_costs_has_a_bound() -> None:
    strange = {f"token_kap_{number:06}": 1 for number in range(100_000)}
    began = time.monotonic()
    assert len(misspelt(StartIn, {"run": strange})) <= LOOKED_AT
    assert time.monotonic() - began < 2.0
