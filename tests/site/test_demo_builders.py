"""The demo's builders and auditor, each as the process that Autopack starts: a brief, a checkout, a result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

DEMO = settings.BASE_DIR / "demo"
Build = Callable[..., dict[str, Any]]

REPEATING = """\
import re


def tidy(text, pairs=()):
    # before
    if pairs:
        for old, new in pairs:
            text = text.replace(old, new)

    text = re.sub("[^a-z]+", "-", text.lower())

    # after
    if pairs:
        for old, new in pairs:
            text = text.replace(old, new)
    return text
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "__init__.py").write_text("from .tidy import *\n")
    (folder / "lib" / "tidy.py").write_text(REPEATING)
    return folder


@pytest.fixture
def build(checkout: Path, tmp_path: Path) -> Build:
    """Run a builder as Autopack would and return its result."""

    def run(
        program: str, *, scope: tuple[str, ...] = (), notes: str = "", previous: tuple[Any, ...] = ()
    ) -> dict[str, Any]:
        brief = {
            "phase": {"name": "A task"}, "scope": list(scope), "notes": notes, "previous": list(previous),
            "base_commit": "0" * 40,
        }  # fmt: skip
        return serve(DEMO / "builders" / f"{program}.py", brief, checkout, tmp_path)

    return run


def serve(program: Path, brief: dict[str, Any], checkout: Path, papers: Path) -> dict[str, Any]:
    (papers / "brief.json").write_text(json.dumps(brief))
    environment = {
        **os.environ,
        "AUTOPACK_BRIEF": str(papers / "brief.json"),
        "AUTOPACK_RESULT": str(papers / "result.json"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((papers / "result.json").read_text())
    return result


def tidied(checkout: Path, text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    names: dict[str, Any] = {}
    exec((checkout / "lib" / "tidy.py").read_text(), names)
    answer: str = names["tidy"](text, pairs)
    return answer


def test_the_first_idea_about_repetition_breaks_behaviour_and_the_second_keeps_it(
    checkout: Path, build: Build
) -> None:
    before = tidied(checkout, "10 % off", (("%", "percent"),))
    build("remove_repetition")
    assert tidied(checkout, "10 % off", (("%", "percent"),)) != before

    (checkout / "lib" / "tidy.py").write_text(REPEATING)
    build("remove_repetition", notes="The patch breaks behaviour")
    text = (checkout / "lib" / "tidy.py").read_text()
    assert tidied(checkout, "10 % off", (("%", "percent"),)) == before
    assert text.count("for old, new in pairs") == 1
    assert text.count("text = _apply_pairs(text, pairs)") == 2


def test_a_red_gate_alone_makes_the_builder_careful_too(checkout: Path, build: Build) -> None:
    build("remove_repetition", previous=({"number": 1, "state": "RED", "code": "gate-red", "reason": "red"},))
    assert "_apply_pairs" in (checkout / "lib" / "tidy.py").read_text()


def test_a_block_that_may_return_is_never_made_a_function(checkout: Path, build: Build) -> None:
    block = "    if text:\n        text = text[1:]\n        return text\n"
    source = f"def cut(text):\n{block}    text = text * 2\n{block}    return text\n"
    (checkout / "lib" / "tidy.py").write_text(source)
    build("remove_repetition", notes="careful")
    assert (checkout / "lib" / "tidy.py").read_text() == source


def test_builders_change_nothing_outside_their_scope(checkout: Path, build: Build) -> None:
    for program in ("upgrade_syntax", "sort_imports", "name_exports", "remove_repetition", "annotate"):
        build(program, scope=("other/**",))
    assert (checkout / "lib" / "tidy.py").read_text() == REPEATING
    assert (checkout / "lib" / "__init__.py").read_text() == "from .tidy import *\n"


def test_old_syntax_is_upgraded(checkout: Path, build: Build) -> None:
    (checkout / "old.py").write_text("# -*- coding: utf-8 -*-\nNAME = u'x'\nTEXT = '{}'.format(NAME)\n")
    result = build("upgrade_syntax")
    assert (checkout / "old.py").read_text() == "NAME = 'x'\nTEXT = f'{NAME}'\n"
    assert "Fixed 3 errors" in result["notes"]


def test_imports_are_sorted_and_unused_ones_go_but_not_from_a_front(checkout: Path, build: Build) -> None:
    (checkout / "lib" / "more.py").write_text(
        "import sys\nimport os\nimport re\n\nprint(os.name, sys.path)\n"
    )
    (checkout / "lib" / "__init__.py").write_text("import os\nimport json\n")
    build("sort_imports")
    assert (checkout / "lib" / "more.py").read_text() == "import os\nimport sys\n\nprint(os.name, sys.path)\n"
    assert (checkout / "lib" / "__init__.py").read_text() == "import json\nimport os\n"


def test_star_imports_become_names(checkout: Path, build: Build) -> None:
    (checkout / "lib" / "tidy.py").write_text(REPEATING + "\n\n_hidden = 1\nSHOWN = 2\n")
    build("name_exports")
    front = (checkout / "lib" / "__init__.py").read_text()
    assert front == "from .tidy import SHOWN, tidy\n\n__all__ = [\n    'SHOWN',\n    'tidy',\n]\n"


def test_types_come_from_docstrings_defaults_and_results(checkout: Path, build: Build) -> None:
    source = (
        'def cut(text, size=3, mark=None, rest=None):\n    """\n    Cut.\n    :param text (str): what\n'
        '    :param mark (str): an end\n    """\n    print(text[:size], mark, rest)\n'
    )
    (checkout / "lib" / "tidy.py").write_text(source)
    build("annotate")
    text = (checkout / "lib" / "tidy.py").read_text()
    assert "def cut(text: str, size: int = 3, mark: Optional[str] = None, rest=None) -> None:" in text
    assert "from typing import Optional" in text


def test_the_auditor_names_failing_tests_and_the_code_that_is_gone(checkout: Path, tmp_path: Path) -> None:
    patch = (
        "diff --git a/lib/tidy.py b/lib/tidy.py\n--- a/lib/tidy.py\n+++ b/lib/tidy.py\n@@ -5,4 +5,2 @@\n"
        "     # before\n-    if pairs:\n-        text = swap(text)\n     return text\n"
    )
    gate = {"verdict": "red", "failing_tests": [{"id": "t::test_swap", "message": "'a' != 'b'"}]}
    result = serve(DEMO / "auditors" / "reviewer.py", audit(patch, gate), checkout, tmp_path)
    assert result["recommendation"] == "revise"
    assert "t::test_swap: 'a' != 'b'" in result["review_notes"]
    assert "lib/tidy.py:7 `text = swap(text)`" in result["review_notes"]


@pytest.mark.parametrize(
    ("line", "scope", "recommendation"),
    [
        ("x = 1", ["lib/**"], "approve"),
        ("x = 1", ["docs/**"], "revise"),
        ("x = eval(y)", ["lib/**"], "revise"),
        ("import subprocess", ["lib/**"], "revise"),
    ],
)
def test_the_auditor_approves_only_green_harmless_patches_in_scope(
    line: str, scope: list[str], recommendation: str, checkout: Path, tmp_path: Path
) -> None:
    head = "diff --git a/lib/tidy.py b/lib/tidy.py\n--- a/lib/tidy.py\n+++ b/lib/tidy.py\n"
    patch = f"{head}@@ -1 +1,2 @@\n a\n+{line}\n"
    brief = audit(patch, {"verdict": "green"}, scope)
    result = serve(DEMO / "auditors" / "reviewer.py", brief, checkout, tmp_path)
    assert result["recommendation"] == recommendation, result["review_notes"]


def audit(patch: str, gate: dict[str, Any], scope: list[str] | None = None) -> dict[str, Any]:
    return {"scope": scope or [], "target": {"patch": patch, "gate": gate, "failure_reason": "red"}}
