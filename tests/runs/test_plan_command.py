"""`manage.py plan` and `manage.py ruleset`: faults by file and line, answers for people and as JSON."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.factories import make_project
from tests.runs.test_replay import attempt, ended

pytestmark = pytest.mark.django_db
PLAN = "# Plan\n\n## One\n\n- Fix a typo in the README\n  id: typo\n- Add the login page\n  id: login\n"


def call(*arguments: object) -> str:
    out = StringIO()
    call_command(*map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.md"
    path.write_text(PLAN, encoding="utf-8")
    return path


def test_check_lists_every_fault_by_file_and_line(plan: Path) -> None:
    assert "1 tiers, 2 phases, no fault" in call("plan", "check", plan)
    plan.write_text(PLAN + "  complexity: huge\n  scope: ../up\n", encoding="utf-8")
    with pytest.raises(CommandError) as caught:
        call("plan", "check", plan)
    said = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in said[:2]] == ["line 9", "line 10"]
    assert said[2] == "2 faults"
    with pytest.raises(CommandError, match="can't be read"):
        call("plan", "check", plan.with_name("none.md"))


def test_check_of_json_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"tiers": [],\n "phases": [\n  {"phase_id": 3}]}', encoding="utf-8")
    with pytest.raises(CommandError, match="line 3"):
        call("plan", "check", path)
    path.write_text('{"tiers": [], "phases": [}', encoding="utf-8")
    with pytest.raises(CommandError, match="line 1"):
        call("plan", "check", path)
    path.write_text('{"tiers": ' + "[" * 100_000, encoding="utf-8")
    with pytest.raises(CommandError):
        call("plan", "check", path)


def test_explain_gives_each_value_with_its_reason(plan: Path) -> None:
    make_project("shop")
    said = call("plan", "explain", plan, "--project", "shop")
    assert "Phase login: Add the login page" in said
    assert (
        "  task_category: security_auth_change  (category security_auth_change: the text says 'login')"
        in said
    )
    assert json.loads(call("plan", "explain", plan, "--project", "shop", "--json"))["ruleset_version"] == 1


def test_split_shows_the_linked_runs(plan: Path) -> None:
    make_project("shop", ruleset={"run_max_phases": 1})
    said = call("plan", "split", plan, "--project", "shop")
    assert said.splitlines() == [
        "RUN: 1 phases", "  one: typo", "RUN.2: 1 phases, after RUN has succeeded", "  one: login"
    ]  # fmt: skip
    assert len(json.loads(call("plan", "split", plan, "--max-phases", 5, "--json"))["runs"]) == 1


def test_convert_goes_there_and_back(plan: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(call("plan", "convert", plan), encoding="utf-8")
    text = call("plan", "convert", path)
    assert text.startswith("# plan\n\n## One\n\n- id: one\n")
    plan.write_text(text, encoding="utf-8")
    assert json.loads(call("plan", "convert", plan)) == json.loads(path.read_text(encoding="utf-8"))


def test_a_dry_run_shows_what_would_change_and_why(plan: Path, tmp_path: Path) -> None:
    make_project("shop")
    ruleset = tmp_path / "rules.yaml"
    ruleset.write_text("run_token_cap: 300000\n", encoding="utf-8")
    arguments = ("ruleset", "dry-run", ruleset, "--plan", plan, "--project", "shop")
    said = call(*arguments)
    assert "dry-run: run_token_cap: 5000000 -> 300000  (ruleset version 2: run_token_cap)" in said
    assert json.loads(call(*arguments, "--json"))["in_force_version"] == 1
    ruleset.write_text("{}\n", encoding="utf-8")
    assert "nothing would change for this plan" in call(*arguments)
    ruleset.write_text("a: 1\n", encoding="utf-8")
    with pytest.raises(CommandError, match=r"rules\.yaml: line 1: unknown key"):
        call(*arguments)
    plan.write_text("nothing", encoding="utf-8")
    with pytest.raises(CommandError, match=r"plan\.md: line 1"):
        call(*arguments)


def test_a_replay_says_where_runs_would_have_stopped(tmp_path: Path) -> None:
    run = ended(make_project("shop"), "r1")
    attempt(run, "P1", "build", "RED", 60_000)
    attempt(run, "P1", "build", "MERGED", 60_000)
    ruleset = tmp_path / "rules.json"
    ruleset.write_text('{"category_defaults": {"docs": {"max_builder_attempts": 1}}}', encoding="utf-8")
    said = call("ruleset", "replay", ruleset, "--project", "shop")
    assert said.startswith("1 of your last 1 runs would have been stopped by a cap.\n")
    assert "  stopped at phase P1: max_builder_attempts, 1 attempts are allowed" in said
    assert "Spend would have been capped at 60,000 of the 120,000 tokens recorded." in said
    assert (
        json.loads(call("ruleset", "replay", ruleset, "--project", "shop", "--json"))["totals"]["runs"] == 1
    )
    with pytest.raises(CommandError, match="1 to 1000"):
        call("ruleset", "replay", ruleset, "--project", "shop", "--runs", 0)


def test_the_table_in_force_is_shown() -> None:
    row = {"category": "payments", "words": ["refund*"]}
    make_project("shop", ruleset={"classification": {"rows": [row], "ignored_words": ["schema"]}})
    said = call("ruleset", "classification", "--project", "shop")
    assert "payments (the ruleset's row 1)\n  words: refund*\n" in said
    assert said.endswith("ignored: schema\n")
    assert len(json.loads(call("ruleset", "classification", "--project", "shop", "--json"))["rows"]) == 12


def test_check_and_run_tell_of_a_category_that_nothing_knows(plan: Path) -> None:
    make_project(
        "shop", is_default=True, config={"builders": {"own": {"kind": "pull", "categories": ["our_own"]}}}
    )
    plan.write_text(
        "# Plan\n\n## One\n\n- Log in\n  id: a\n  category: security_auth_chnge\n- Own\n  category: our_own\n"
        "- Alias\n  category: schema_change\n- Plain\n",
        encoding="utf-8",
    )
    wanted = (
        "note: the category 'security_auth_chnge' is in neither the ruleset nor the table: taken as any other; "
        "did you mean 'security_auth_change'?"
    )
    for said in (call("plan", "check", plan), call("run", plan, "--run-id", "told")):
        assert wanted in said
        assert said.count("in neither the ruleset") == 1


def test_check_without_any_project_judges_by_the_published_table(plan: Path) -> None:
    plan.write_text("# Plan\n\n## One\n\n- Log in\n  category: docz\n", encoding="utf-8")
    assert "did you mean 'docs'?" not in call("plan", "check", plan)  # four letters are near to too much
    assert "the category 'docz' is in neither" in call("plan", "check", plan)


def test_a_scope_that_the_project_lacks_is_told_by_its_line(plan: Path) -> None:
    make_project("shop")
    plan.write_text(PLAN + "  scope: @core\n", encoding="utf-8")
    with pytest.raises(CommandError, match=r"plan\.md: line 9: Phase login: the project has no scope @core"):
        call("plan", "check", plan, "--project", "shop")
    assert "no fault" in call("plan", "check", plan)
