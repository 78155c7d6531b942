"""What the documentation promises to cover is what the code has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from runs.lifecycle import PHASE_MOVES, TERMINAL_RUN_STATES, RunState
from tests.site.error_codes import every_code, in_source

DOCS = Path(settings.BASE_DIR) / "docs"
TROUBLE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^\| `([\w.-]+)` \| ([^|]+) \| ([^|]+) \|$", TROUBLE, re.MULTILINE)


def test_the_site_is_built_with_every_link_checked_and_asks_nothing_of_the_network(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=settings.BASE_DIR, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").glob("*.html"))
    assert {page.stem for page in pages} >= {path.stem for path in DOCS.glob("*.md")}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=\"?([^\" >]+)", text)
        assert loaded
        assert [address for address in loaded if "//" in address] == [], page.name
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), (
            sheet.name
        )


def test_the_one_command_builds_that_site():
    makefile = (Path(settings.BASE_DIR) / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^docs: .*\n\t.* -m mkdocs build --strict", makefile, re.MULTILINE)
    site = yaml.safe_load((Path(settings.BASE_DIR) / "mkdocs.yml").read_text(encoding="utf-8"))
    assert site["theme"]["font"] is False
    assert sorted(name for row in site["nav"] for name in row.values()) == sorted(
        path.name for path in DOCS.glob("*.md")
    )


def test_the_lifecycle_that_is_drawn_is_the_one_in_force():
    concepts = (DOCS / "concepts.md").read_text(encoding="utf-8")
    moves = re.findall(r"^\| ([A-Z_]+) \| `(\w+)` \| ([A-Z_]+) \|$", concepts, re.MULTILINE)
    assert {(old, event): new for old, event, new in moves} == {
        (str(old), event): str(new) for (old, event), new in PHASE_MOVES.items()
    }
    drawn = set(re.findall(r"\b(?:PLAN|RUN|PHASE|CI|SNAPSHOT|DONE)_[A-Z_]+\b|\bGATE\b", concepts))
    assert drawn == set(map(str, RunState))


def test_the_readme_draws_every_state_and_explains_every_ending():
    text = (Path(settings.BASE_DIR) / "README.md").read_text(encoding="utf-8")
    (drawing,) = re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
    endings = {
        f"DONE_FAILED_{name.strip()}"
        for name in re.findall(r"DONE_FAILED --> \[\*\]: (.*)", drawing)[0].split(",")
    }
    states = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bGATE\b", re.sub(r"DONE_FAILED -->.*", "", drawing)))
    assert (states - {"DONE_FAILED"}) | endings == set(map(str, RunState))
    explained = set(re.findall(r"^\| `(DONE_[A-Z_]+)` \|", text, re.MULTILINE))
    assert explained == set(map(str, TERMINAL_RUN_STATES))


def test_every_code_has_its_entry_under_troubleshooting():
    assert sorted(every_code() - {code for code, _, _ in ENTRIES}) == []


def test_every_entry_says_what_happened_and_what_to_do_once():
    assert [code for code, count in Counter(code for code, _, _ in ENTRIES).items() if count > 1] == []
    for code, meaning, advice in ENTRIES:
        assert len(meaning.split()) >= 3, code
        assert advice.strip(), code


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ('fail_phase(p, Cause.GATE, "some-code", "why")', {"some-code"}),
        ('_Failure(f"{who}-late", "why")', {"builder-late", "auditor-late"}),
        ('code, reason = "one-code", "why"', {"one-code"}),
        ('move(p, "skipped", failure_code="other-code")', {"other-code"}),
        ('log.info("gate.done", reason="no-code")', set()),
    ],
)
def test_codes_are_found_in_every_form_that_the_code_gives_them(source, codes):
    assert in_source(source) == codes


def test_commands_are_written_as_they_can_be_typed():
    """In containers `python` is the image's; everywhere else it is the checkout's own."""
    wrong = []
    for path in [Path(settings.BASE_DIR) / "README.md", *DOCS.glob("*.md")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            is_typed = re.search(r"(^|`|\$ )(python |\./)?manage\.py [a-z_]+( |`|$)", line)
            is_name = "processes of `manage.py up`" in line.lower()
            if is_typed and not is_name:
                wrong.append(f"{path.name}:{number}: {line[:80]}")
    assert wrong == []
