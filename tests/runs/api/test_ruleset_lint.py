"""A ruleset looked at over HTTP: findings by line, an invalid one refused, nothing stored."""

from __future__ import annotations

import pytest

from strategy.models import Project, Ruleset
from tests.runs.api.conftest import Api, problem_of

pytestmark = pytest.mark.django_db


def test_findings_are_answered_by_code_field_and_line(project: Project, operator: Api):
    answer = operator.post("/rulesets/lint", {"text": "rules:\n- id: a\n  set: {ci_profile: normal}\n"})
    assert answer.status_code == 200
    (found,) = answer.json()["findings"]
    assert (found["code"], found["field"], found["line"]) == (
        "value-without-effect",
        "rules[0].set.ci_profile",
        3,
    )
    assert operator.post("/rulesets/lint", {"text": "run_token_cap: 400000\n"}).json() == {"findings": []}
    assert Ruleset.objects.count() == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run_token_cap: many", "line 1: "), ("{", "line "), ("a: &x [1]\nb: *y", "line 2: "),
        ("rules: [{id: a, set: {ci_profile: 7}}]", "'normal', 'strict'"), ("\x07", "line 1: "),
    ],
)  # fmt: skip
def test_what_is_no_ruleset_is_refused_with_its_line(project: Project, operator: Api, text: str, said: str):
    body = problem_of(operator.post("/rulesets/lint", {"text": text}), 422, "invalid")
    assert any(said in row["msg"] for row in body["detail"])


def test_a_text_is_bounded(project: Project, operator: Api):
    problem_of(operator.post("/rulesets/lint", {"text": "#" * (512 * 1024 + 1)}), 422, "invalid")
    problem_of(operator.post("/rulesets/lint", {}), 422, "invalid")
