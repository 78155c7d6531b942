"""What a scope covers, and that asking never takes long."""

from __future__ import annotations

import time

import pytest

from integration.globs import covered, folded, matches


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("src", "src/a/b.py", True),
        ("src/", "src/a.py", True),
        ("src/", "src", False),
        ("src/**", "src/a/b.py", True),
        ("src/**", "srcs/a.py", False),
        ("src/*", "src/a.py", True),
        ("src/*", "src/a/b.py", False),
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/z", "a/b/c/y", False),
        ("a/**/b/**/c.txt", "a/x/b/y/b/c.txt", True),
        ("pages/[id].tsx", "pages/[id].tsx", True),
        ("pages/[id].tsx", "pages/i.tsx", False),
        ("?.py", "a.py", True),
        ("?.py", "ab.py", False),
        ("/src/a.py", "src/a.py", True),
        ("./src/a.py", "src/a.py", True),
        ("", "a", False),
        ("Makefile", "Makefile", True),
        ("Makefile", "makefile", False),
        ("**", "a/b", True),
    ],
)
def test_pattern_covers_exactly_what_its_rules_say(pattern: str, path: str, expected: bool) -> None:
    assert matches(path, pattern) is expected


def test_folding_joins_cases_and_unicode_forms() -> None:
    assert matches(".GitHub/Workflows/x", ".github/**", fold=True)
    assert folded("CAFE\u0301") == folded("caf\u00e9")
    assert not covered("x", [])


def test_hostile_patterns_take_no_time() -> None:
    started = time.perf_counter()
    assert not matches("a" * 4000, "*a" * 500 + "b")
    assert not matches("/".join(["a"] * 2000), "/".join(["**", "a"] * 250) + "/b")
    assert not matches("a", "*" * 2000)
    assert time.perf_counter() - started < 5
