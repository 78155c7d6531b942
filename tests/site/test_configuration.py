"""The documented variables are those that the code reads, with the code's defaults; documents are in step."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from autopack_site import configuration
from autopack_site.management.commands.config_reference import DOCUMENTS
from integration.papers import write_brief
from runs.lifecycle import TERMINAL_RUN_STATES
from runs.plan_markdown import parse_plan_document
from strategy.config import load_config
from strategy.scopes import resolve_scopes

ROOT = Path(settings.BASE_DIR)
PACKAGES = ("autopack_site", "strategy", "runs", "issues", "integration")
README = (ROOT / "README.md").read_text(encoding="utf-8")
AGENTS = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")


def named_in_code() -> set[str]:
    """Every text constant of the code that is the name of a variable of ours."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found |= set(re.findall(r"\AAUTOPACK_[A-Z0-9_]*[A-Z0-9]\Z", node.value))
    return found


def given_to_agents(tmp_path: Path) -> set[str]:
    """The variables that a command agent finds."""
    brief = {
        "run_id": "r", "base_commit": "0" * 40, "scope": [], "notes": "", "previous": [],
        "phase": dict.fromkeys(
            ("phase_id", "name", "description", "task_category", "complexity", "builder_mode"), "x"
        ),
        "attempt": {"number": 1}, "limits": {"tokens_reserved": 1},
    }  # fmt: skip
    return {*write_brief(tmp_path, brief, usage=tmp_path / "u", budget=tmp_path / "b"), "AUTOPACK_RESULT"}


def test_every_setting_has_a_meaning_and_every_meaning_a_setting():
    meant = [name for group in configuration.MEANINGS.values() for name in group]
    assert sorted(meant) == sorted(configuration.known())


def test_the_code_names_no_variable_that_is_not_documented(tmp_path):
    ours = {name for name in named_in_code() if not name.endswith("_")}
    documented = {*configuration.known(), *configuration.FOR_TESTS, *given_to_agents(tmp_path)}
    assert ours - documented == set()


def test_what_a_command_agent_finds_is_in_the_agents_manual(tmp_path):
    for name in given_to_agents(tmp_path):
        assert f"`{name}`" in AGENTS


def test_a_default_and_a_limit_are_read_out_of_the_source():
    source = 'A = env_int("A", default=3 * 1024, minimum=8)\nB = env_path("B", default=BASE / ".b")\n'
    first, second = configuration.settings_read(source)
    assert (first.name, first.default, first.minimum) == ("A", "3,072", "8")
    assert (second.name, second.default) == ("B", "`.b` in the checkout")


def test_a_default_that_only_running_code_knows_is_refused():
    with pytest.raises(ValueError, match="malformed"):
        list(configuration.settings_read('A = env_int("A", default=cores())\n'))


def test_the_documents_carry_the_tables_as_the_code_gives_them():
    call_command("config_reference", check=True)  # ends with status 1 when one is out of step


def test_a_document_that_is_out_of_step_is_told_and_mended(tmp_path, settings):
    (tmp_path / "docs").mkdir()
    for name in DOCUMENTS:
        stale = (ROOT / name).read_text(encoding="utf-8").replace("| 60 |", "| 61 |")
        (tmp_path / name).write_text(stale, encoding="utf-8")
    settings.BASE_DIR = tmp_path
    with pytest.raises(SystemExit):
        call_command("config_reference", check=True)
    call_command("config_reference", write=True)
    for name in DOCUMENTS:
        assert (tmp_path / name).read_text(encoding="utf-8") == (ROOT / name).read_text(encoding="utf-8")


def block(language: str, text: str = README) -> str:
    """The one block of code in a language, of the README unless said otherwise."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_readme_s_configuration_is_a_sound_one():
    config = load_config(block("yaml"))
    assert [agent.name for agent in config.builders_for("docs")] == ["changelog"]
    assert [agent.kind for agent in config.builders_for("security_auth_change")] == ["pull"]
    assert [step.name for step in config.gate_steps("strict")] == ["unit tests"]


def test_the_readme_s_plan_is_a_sound_one_for_its_configuration():
    plan = resolve_scopes(parse_plan_document(block("markdown")), load_config(block("yaml")))
    assert [(phase.phase_id, phase.scope) for phase in plan.phases] == [
        ("discount", ("*.py", "src/**")),
        ("write-the-changelog", ("CHANGELOG.md", "docs/**")),
    ]
    assert plan.phases[1].depends_on == ("discount",)


def test_the_quick_start_s_configuration_and_plan_are_sound_ones():
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    config = load_config(block("yaml", page))
    assert [step.name for step in config.gate_steps("normal")] == ["unit tests"]
    plan = parse_plan_document(block("markdown", page))
    for phase in plan.phases:
        assert [agent.name for agent in config.builders_for(str(phase.task_category))] == ["mine"]


def test_the_readme_tells_what_to_do_after_every_way_to_end():
    rows = re.findall(r"^\| `(DONE_\w+)` \|", README, re.MULTILINE)
    assert sorted(rows) == sorted(TERMINAL_RUN_STATES)
