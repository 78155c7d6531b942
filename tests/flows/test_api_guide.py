"""docs/api.md, run as a reader would: each block of shell in order, each answer against the one that is shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from runs.tokens import create_token
from strategy.services import make_default
from tests.flows.stack import Stack
from tests.flows.world import PYTHON, World

pytestmark = pytest.mark.real
GUIDE = (Path(settings.BASE_DIR) / "docs" / "api.md").read_text(encoding="utf-8")
GREEN = [{"name": "unit", "argv": [PYTHON, "-c", "pass"]}]
MARK = "----- block "


def examples() -> list[tuple[str, Any]]:
    """(shell, the answer that is shown or None) in the page's order."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == {"sh", "json"}
    found: list[tuple[str, Any]] = []
    for language, text in blocks:
        if language == "sh":
            found.append((text, None))
        else:
            found[-1] = (found[-1][0], json.loads(text))
    return found


def differences(shown: Any, given: Any, at: str = "") -> list[str]:
    """Where the answer lacks what is shown. "..." is anything; keys and rows that are not shown may be there."""
    if shown == "...":
        return []
    if isinstance(shown, dict) and isinstance(given, dict):
        return [
            line
            for key, value in shown.items()
            for line in (
                differences(value, given[key], f"{at}.{key}")
                if key in given
                else [f"{at}.{key} is not there"]
            )
        ]
    if isinstance(shown, list) and isinstance(given, list) and len(given) >= len(shown):
        return [
            line
            for number, value in enumerate(shown)
            for line in differences(value, given[number], f"{at}[{number}]")
        ]
    return [] if shown == given else [f"{at}: shown {shown!r}, given {given!r}"]


def test_every_example_of_the_guide_answers_as_it_says(stack: Stack, world: World, tmp_path: Path) -> None:
    make_default(world.project(builder=None, gate=GREEN, builders={"outside": {"kind": "pull"}}).project_id)
    stack.worker()
    stack.beat()
    base = stack.web()
    subprocess.run(["git", "clone", "-q", world.repo, tmp_path / "clone"], check=True)
    pages = examples()
    script = "".join(f"echo '{MARK}{number}'\n{shell}\necho\n" for number, (shell, _) in enumerate(pages))
    folder = tmp_path / "reader"
    folder.mkdir()
    token = create_token("reader", roles=["operator", "builder", "auditor"])
    done = subprocess.run(
        ["bash", "-e", "-u", "-o", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, "AUTOPACK": base, "TOKEN": token, "REPOSITORY": str(tmp_path / "clone")},
    )  # fmt: skip
    answers = re.split(rf"^{MARK}\d+\n", done.stdout, flags=re.MULTILINE)[1:]
    assert done.returncode == 0, (answers[-1:], done.stderr)
    assert len(answers) == len(pages)
    wrong = {
        shell: differences(shown, json.loads(answer))
        for (shell, shown), answer in zip(pages, answers, strict=True)
        if shown is not None
    }
    assert {shell: lines for shell, lines in wrong.items() if lines} == {}
    assert len(wrong) >= 12


def test_a_difference_is_seen_where_there_is_one() -> None:
    given = {"a": 1, "b": [{"c": 2, "d": 3}], "e": None}
    assert differences({"a": "...", "b": [{"c": 2}]}, given) == []
    assert differences({"a": 2}, given) == [".a: shown 2, given 1"]
    assert differences({"b": [{"c": 2}, {}]}, given) != []
    assert differences({"x": "..."}, given) == [".x is not there"]
