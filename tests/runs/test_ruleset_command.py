"""`manage.py ruleset put` and `show`: the next version by a command, and what is in force."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.factories import make_project

pytestmark = pytest.mark.django_db


def called(*words: str) -> str:
    out = StringIO()
    call_command("ruleset", *words, stdout=out)
    return out.getvalue()


def test_a_text_that_is_put_is_the_next_version_and_in_force(tmp_path: Path) -> None:
    project = make_project("shop", is_default=True)
    file = tmp_path / "rules.yaml"
    file.write_text("run_cost_cap_usd: 25\nrun_token_cap: unlimited\n")
    assert called("put", str(file)).startswith("Version 2 of shop is in force")
    project.refresh_from_db()
    assert project.ruleset is not None
    assert (project.ruleset.version, project.ruleset.document["run_cost_cap_usd"]) == (2, 25)
    shown = json.loads(called("show"))
    assert (shown["version"], shown["run_token_cap"], shown["defaults"]) == (2, "unlimited", "2026-11")
    assert json.loads(called("show", "--number", "1"))["run_token_cap"] == 5_000_000


def test_a_text_that_is_refused_names_the_line_and_changes_nothing(tmp_path: Path) -> None:
    project = make_project("shop", is_default=True)
    file = tmp_path / "rules.yaml"
    file.write_text("version: 1\nrun_cost_cap_usd: none\n")
    with pytest.raises(CommandError) as caught:
        called("put", str(file))
    assert f"{file}: line 2: " in str(caught.value)
    assert "a number, null for the default, or unlimited" in str(caught.value)
    assert project.rulesets.count() == 1


def test_a_version_that_is_not_there_is_told_with_those_that_are() -> None:
    make_project("shop")
    with pytest.raises(CommandError, match="shop has no version 7: it has 1 to 1"):
        called("show", "--project", "shop", "--number", "7")
