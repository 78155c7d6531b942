"""Builder: write down the types that docstrings, defaults and returned values already tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from task import LINE_LENGTH, Task, finish

KNOWN = {"str": "str", "int": "int", "bool": "bool", "float": "float", "iterable": "Iterable", "list": "list"}
_PARAM = re.compile(r":param (\w+) \((\w+)\):")
_RETURN = re.compile(r":return \((\w+)\):")
Insertion = tuple[int, int, str]


def known_types(function: ast.FunctionDef) -> Iterator[Insertion]:
    """Yield (line from 1, column in bytes, text) for each type that is known and not written."""
    told = dict(_PARAM.findall(ast.get_docstring(function) or ""))
    positional = [*function.args.posonlyargs, *function.args.args]
    defaults: dict[str, ast.expr | None] = dict(
        zip([arg.arg for arg in reversed(positional)], reversed(function.args.defaults), strict=False)
    )
    defaults |= {
        arg.arg: value for arg, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    }
    for arg in (*positional, *function.args.kwonlyargs):
        kind = type_of(told.get(arg.arg), defaults.get(arg.arg))
        if arg.annotation is None and kind and arg.end_lineno and arg.end_col_offset:
            yield arg.end_lineno, arg.end_col_offset, f": {kind}"


def type_of(told: str | None, default: ast.expr | None) -> str | None:
    """Return a parameter's type from its docstring and its default; None when they tell too little."""
    kind = KNOWN.get(told or "")
    if isinstance(default, ast.Constant):
        if default.value is None:
            return f"Optional[{kind}]" if kind else None
        return kind or KNOWN.get(type(default.value).__name__)
    return kind


def return_type(function: ast.FunctionDef) -> str | None:
    """Return the type of the result: told by the docstring, or nothing at all, or a dict in every return."""
    values = [node.value for node in own_nodes(function) if isinstance(node, ast.Return)]
    told = _RETURN.search(ast.get_docstring(function) or "")
    if told:
        return KNOWN.get(told[1])
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in own_nodes(function)):
        return None
    if all(value is None for value in values):
        return "None"
    is_dict = all(
        isinstance(value, ast.Dict)
        or (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict")
        for value in values
    )
    return "dict" if is_dict else None


def own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            waiting += ast.iter_child_nodes(node)


def annotated(text: str) -> tuple[str, int]:
    """Return the text with the types inserted, and how many there are."""
    module = ast.parse(text)
    found: list[Insertion] = []
    lines = text.split("\n")
    for function in [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]:
        found += known_types(function)
        kind = return_type(function) if function.returns is None else None
        if kind and (end := signature_end(lines, function)):
            found.append((*end, f" -> {kind}"))
    for line, column, addition in sorted(found, reverse=True):
        raw = lines[line - 1].encode()
        lines[line - 1] = (raw[:column] + addition.encode() + raw[column:]).decode()
    lines = "\n".join(spaced(lines, found)).split("\n")
    needed = [name for name in ("Iterable", "Optional") if any(name in addition for *_, addition in found)]
    if needed:
        insert_import(lines, module, f"from typing import {', '.join(needed)}")
    return "\n".join(wrapped(lines)), len(found)


def spaced(lines: list[str], found: list[Insertion]) -> list[str]:
    """Put spaces around the default of a parameter that has a type now (`a: int=0` -> `a: int = 0`)."""
    kinds = "|".join(sorted({re.escape(text[2:]) for *_, text in found if text.startswith(": ")}))
    pattern = re.compile(rf"(: (?:{kinds}))=(?=\S)") if kinds else None
    return [pattern.sub(r"\1 = ", line) if pattern else line for line in lines]


def wrapped(lines: list[str]) -> list[str]:
    """Give each parameter a line of its own in signatures that have become too long."""
    lines = list(lines)
    functions = [node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.FunctionDef)]
    for function in sorted(functions, key=lambda node: node.lineno, reverse=True):
        end = signature_end(lines, function)
        if end is None:
            continue
        header = lines[function.lineno - 1 : end[0]]
        if all(len(line) <= LINE_LENGTH for line in header) or any("#" in line for line in header):
            continue
        arguments = function.args
        if arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg:
            continue
        indent = " " * function.col_offset
        defaults: list[ast.expr | None] = [None] * (len(arguments.args) - len(arguments.defaults))
        parts = [
            ast.unparse(arg) + (f" = {ast.unparse(default)}" if default is not None else "")
            for arg, default in zip(arguments.args, [*defaults, *arguments.defaults], strict=True)
        ]
        returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
        lines[function.lineno - 1 : end[0]] = [
            f"{indent}def {function.name}(",
            *[f"{indent}    {part}," for part in parts],
            f"{indent}){returns}:",
        ]
    return lines


def signature_end(lines: list[str], function: ast.FunctionDef) -> tuple[int, int] | None:
    """Return the place of the colon that ends the signature: line from 1, column in bytes."""
    first_body = function.body[0].lineno
    for number in range(first_body - 1, function.lineno - 1, -1):
        match = re.search(r"\)(?: -> [^:]+)?(:)\s*(#.*)?$", lines[number - 1])
        if match:
            return number, len(lines[number - 1][: match.start(1)].encode())
    return None


def insert_import(lines: list[str], module: ast.Module, statement: str) -> None:
    """Put an import after the last plain top-level one of the standard library's style."""
    plain = [
        node for node in module.body if isinstance(node, (ast.Import, ast.ImportFrom)) and not is_local(node)
    ]
    after = max((node.end_lineno or 0 for node in plain), default=0)
    lines.insert(after, statement)


def is_local(node: ast.Import | ast.ImportFrom) -> bool:
    """Tell whether an import is relative."""
    return isinstance(node, ast.ImportFrom) and node.level > 0


def main() -> None:
    """Annotate the library's files in scope."""
    task = Task.read()
    counts: dict[Path, int] = {}
    for path in task.sources(tests=False):
        text, count = annotated(path.read_text(encoding="utf-8"))
        if count:
            compile(text, str(path), "exec")
            path.write_text(text, encoding="utf-8")
            counts[path] = count
    told = ", ".join(f"{count} in {path.as_posix()}" for path, count in counts.items())
    finish(f"{task.name}: {told or 'nothing new is known'}")


if __name__ == "__main__":
    main()
