"""Path globs: anchored, by component, and in time that hostile patterns can't stretch."""

from __future__ import annotations

import fnmatch
import itertools
import re
import time

import pytest

from autopack_site.kernel.globs import MAX_PATTERN, covered, folded, matches


@pytest.mark.parametrize(
    ("pattern", "path", "is_match"),
    [
        ("src/**", "src/a.py", True),
        ("src/**", "src/a/b/c.py", True),
        ("src/**", "srcs/a.py", False),
        ("src", "src/a/b.py", True),
        ("src", "src", True),
        ("src/", "src/a.py", True),
        ("src/", "src", False),
        ("*.py", "a.py", True),
        ("*.py", "src/a.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "src/x/a.py", True),
        ("**/*.py", "src/a.pyc", False),
        ("src/*/a.py", "src/x/a.py", True),
        ("src/*/a.py", "src/x/y/a.py", False),
        ("src/**/a.py", "src/a.py", True),
        ("src/**/t/**/a.py", "src/q/t/w/e/a.py", True),
        ("a?.py", "ab.py", True),
        ("a?.py", "a/.py", False),
        ("pages/[id].tsx", "pages/[id].tsx", True),
        ("pages/[id].tsx", "pages/i.tsx", False),
        ("/src", "src/a.py", True),
        ("./src", "src/a.py", True),
        ("", "a.py", False),
        ("a+b.py", "aab.py", False),
    ],
)
def test_a_pattern_covers_what_its_rules_say(pattern, path, is_match):
    assert matches(path, pattern) is is_match


def test_components_agree_with_fnmatch_wherever_both_know_the_signs():
    names = ["".join(letters) for size in range(1, 5) for letters in itertools.product("ab", repeat=size)]
    patterns = ["".join(signs) for size in range(1, 5) for signs in itertools.product("ab*?", repeat=size)]
    for pattern in patterns:
        if set(pattern) == {"*"}:
            continue  # a whole component of stars has a meaning of its own
        expression = re.compile(fnmatch.translate(pattern))
        for name in names:
            assert matches(name, pattern) is bool(expression.match(name)), (pattern, name)


def test_folding_joins_names_that_are_one_on_some_file_system():
    assert matches("SRC/Straße.py", "src/strasse.py", fold=True)
    assert not matches("SRC/a.py", "src/a.py")
    assert folded("\ufb01le") == "file"


def test_any_of_the_patterns_is_enough_and_none_covers_nothing():
    assert covered("docs/a.md", ["src/**", "docs"])
    assert not covered("docs/a.md", [])


def test_a_pattern_over_the_limit_covers_nothing():
    assert not matches("a" * 2000, "a" * (MAX_PATTERN + 1))


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 500 + "b", "a" * 4000),
        ("**/" * 300 + "x", "a/" * 2000 + "b"),
        ("/".join(["**", "a"] * 150) + "/b", "a/" * 2000 + "c"),
    ],
)
def test_hostile_patterns_take_no_time_to_speak_of(pattern, path):
    started = time.process_time()
    assert not matches(path, pattern)
    assert time.process_time() - started < 2
