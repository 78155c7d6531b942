"""docs/plans.md, run as a reader would: each command in its order, each answer against what is shown of it."""

from __future__ import annotations

import re
import shlex
from io import StringIO
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command

from strategy.validation import check_ruleset
from tests.factories import make_project

pytestmark = pytest.mark.django_db
GUIDE = (Path(settings.BASE_DIR) / "docs" / "plans.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_every_command_of_the_guide_answers_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_project("shop", is_default=True)
    (tmp_path / "plan.md").write_text(
        next(text for kind, text in BLOCKS if kind == "markdown"), encoding="utf-8"
    )
    asked = [(text, BLOCKS[place + 1]) for place, (kind, text) in enumerate(BLOCKS) if kind == "sh"]
    assert len(asked) == 5
    for command, (kind, shown) in asked:
        assert kind == "text"
        words = shlex.split(command)
        assert words[:2] == [".venv/bin/python", "manage.py"]
        out = StringIO()
        call_command(*words[2:], stdout=out)
        assert shown in out.getvalue(), command


def test_the_rows_of_the_guide_are_a_ruleset() -> None:
    [text] = [text for kind, text in BLOCKS if kind == "yaml"]
    assert len(check_ruleset(yaml.safe_load(text))["classification"]["rows"]) == 2
