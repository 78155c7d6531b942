"""Every error code that the code can answer with or write down, read out of the code itself."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from rest_framework.exceptions import APIException

from autopack_site.kernel.errors import AutopackError

PACKAGES = ("autopack_site", "strategy", "runs", "issues", "integration")
# What carries a code as an argument: function -> position.
CARRIERS = {"_Failure": 0, "Breach": 0, "_problem": 1, "Error": -1, "Warning": -1}
# With one of these among the arguments the first text is the code of an ending.
ENDINGS = {"Cause", "AttemptState"}


def subclasses(kind: Any) -> Iterator[Any]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def of_types() -> set[str]:
    """The codes of typed errors: ours, and those that the framework raises."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if module.name != "autopack_site.wsgi" and ".migrations" not in module.name:
                importlib.import_module(module.name)
    ours = {kind.code for kind in subclasses(AutopackError) if kind.__module__.split(".")[0] in PACKAGES}
    theirs = {
        str(kind.default_code).replace("_", "-")
        for kind in subclasses(APIException)
        if kind.__module__ == "rest_framework.exceptions"
    }
    # problem.py answers these two with codes of its own.
    return ours | (theirs - {"parse-error", "invalid"})


def in_source(source: str) -> set[str]:
    """The codes that a module's text gives to attempts, phases, runs, answers and system checks."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            found |= _in_call(node)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            for target in node.targets:
                names = target.elts if isinstance(target, ast.Tuple) else []
                for name, value in zip(names, node.value.elts, strict=False):
                    if isinstance(name, ast.Name) and name.id == "code":
                        found |= _text(value)
    return found


def _in_call(node: ast.Call) -> set[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    found = {
        text
        for keyword in node.keywords
        if keyword.arg in ("code", "failure_code") or (name in ("Error", "Warning") and keyword.arg == "id")
        for text in _text(keyword.value)
    }
    position = CARRIERS.get(name, -1)
    if 0 <= position < len(node.args):
        found |= _text(node.args[position])
    is_ending = any(
        isinstance(arg, ast.Attribute) and isinstance(arg.value, ast.Name) and arg.value.id in ENDINGS
        for arg in node.args
    )
    if is_ending and name not in CARRIERS:
        found |= next(
            (_text(arg) for arg in node.args if isinstance(arg, ast.Constant) and _text(arg)), set()
        )
    return found


def _text(node: ast.expr) -> set[str]:
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[-1], ast.Constant):
        end = str(node.values[-1].value)  # f"{who}-timeout": the code of either kind of agent
        return {f"{who}{end}" for who in ("builder", "auditor")} if end.startswith("-") else set()
    value = node.value if isinstance(node, ast.Constant) else None
    return {value} if isinstance(value, str) and value else set()


def every_code() -> set[str]:
    """All of them."""
    root = Path(settings.BASE_DIR)
    sources = [
        path.read_text(encoding="utf-8")
        for name in PACKAGES
        for path in (root / name).rglob("*.py")
        if "migrations" not in path.parts
    ]
    return of_types().union(*map(in_source, sources))
