"""Builder: run the library over a corpus and write a test that pins down what it answers today."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from task import Task, finish

TEXTS = (
    "", " ", "---", "Hello, World!", "ÜBER Über straße", "Компьютер и Ёлка", "影師嗎", "C'est déjà l'été.",
    "a  b\tc\nd", "1,000 reasons & 2,5 more", "foo &amp; bar", "&#381; &#x17D;", "I ♥ 🦄", "10 | 20 %",
    "ALLCAPS and camelCase", "under_scored-and.dotted", "ﬁne ½ ²", "x" * 40,
)  # fmt: skip
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"lowercase": False},
    {"separator": "_"},
    {"max_length": 9},
    {"max_length": 12, "word_boundary": True, "save_order": True},
    {"stopwords": ("and", "bar")},
    {"replacements": (("|", "or"), ("%", "percent"))},
    {"allow_unicode": True},
    {"entities": False, "decimal": False, "hexadecimal": False},
)


def packages() -> list[str]:
    """Return the packages of the checkout."""
    return sorted(path.parent.name for path in Path().glob("*/__init__.py"))


def observed(package: str) -> list[tuple[str, dict[str, Any], str]]:
    """Return (text, options, answer) for the package's function of its own name, for options it knows."""
    function = getattr(importlib.import_module(package), package)
    known = set(inspect.signature(function).parameters)
    return [
        (text, options, function(text, **options))
        for options in OPTIONS
        if set(options) <= known
        for text in TEXTS
    ]


def test_module(package: str, rows: list[tuple[str, dict[str, Any], str]]) -> str:
    """Return the text of a test module with a case for each set of options."""
    lines = [
        f'"""What {package} answers today, observed by running it: change an answer on purpose or not at all."""',
        "",
        "import unittest",
        "",
        f"from {package} import {package}",
        "",
        "",
        "class TestObserved(unittest.TestCase):",
        "    def check(self, options, pairs):",
        "        for text, answer in pairs:",
        "            with self.subTest(text=text, options=options):",
        f"                self.assertEqual({package}(text, **options), answer)",
    ]
    cases: dict[str, list[tuple[str, str]]] = {}
    for text, options, answer in rows:
        cases.setdefault(repr(options), []).append((text, answer))
    for options_text, pairs in cases.items():
        names = "_".join(sorted(names_of(options_text))) or "defaults"
        lines += ["", f"    def test_{names}(self):", f"        self.check({options_text}, ["]
        lines += [f"            ({text!r}, {answer!r})," for text, answer in pairs]
        lines += ["        ])"]
    return "\n".join([*lines, "", "", "if __name__ == '__main__':", "    unittest.main()", ""])


def names_of(options_text: str) -> list[str]:
    """Return the keys of options written as text."""
    return next(list(options) for options in OPTIONS if repr(options) == options_text)


def main() -> None:
    """Write one test module for each package whose namesake function can be called."""
    task = Task.read()
    sys.path.insert(0, str(Path.cwd()))
    written = []
    for package in packages():
        path = Path(f"test_{package}_observed.py")
        if task.allows(path.as_posix()):
            rows = observed(package)
            path.write_text(test_module(package, rows), encoding="utf-8")
            written.append(f"{path.as_posix()} ({len(rows)} answers)")
    finish(f"{task.name}: {', '.join(written) or 'no package found'}")


if __name__ == "__main__":
    main()
