"""Builder: take out code that a function repeats word for word.

Its first idea is the cheap one: of equal blocks keep the last. That is wrong wherever the code between them
reads what the first block made, and only tests can tell. Told so by a review, it does the careful thing: every
block stays where it was, as a call of one new function.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from task import Task, finish

MIN_LINES = 3


@dataclass(frozen=True)
class Repetition:
    """Statements of one function that are equal: their lines (first, last), from 1, in order."""

    function: ast.FunctionDef
    nodes: tuple[ast.stmt, ...]


def repetitions(module: ast.Module) -> list[Repetition]:
    """Return the groups of equal compound statements in each function's own body."""
    found = []
    for function in module.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        groups: dict[str, list[ast.stmt]] = {}
        for node in function.body:
            if length(node) >= MIN_LINES and not leaves_early(node):
                groups.setdefault(ast.dump(node), []).append(node)
        found += [Repetition(function, tuple(nodes)) for nodes in groups.values() if len(nodes) > 1]
    return found


def length(node: ast.stmt) -> int:
    """Return the number of lines that a statement takes."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def leaves_early(node: ast.stmt) -> bool:
    """Tell whether the statement may leave its function: then it can't become a function."""
    return any(isinstance(part, (ast.Return, ast.Yield, ast.YieldFrom)) for part in ast.walk(node))


def names(node: ast.AST, context: type[ast.expr_context]) -> set[str]:
    """Return the names that are read (ast.Load) or bound (ast.Store) in node."""
    return {
        part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, context)
    }


def without_repeats(lines: list[str], groups: list[Repetition]) -> list[str]:
    """Keep only the last of equal blocks, and drop the comments above the others."""
    dropped: set[int] = set()
    for group in groups:
        for node in group.nodes[:-1]:
            first = node.lineno
            while lines[first - 2].strip().startswith("#"):
                first -= 1
            last = node.end_lineno or node.lineno
            if not lines[min(last, len(lines) - 1)].strip():
                last += 1
            dropped |= set(range(first, last + 1))
    return [line for number, line in enumerate(lines, start=1) if number not in dropped]


def as_functions(lines: list[str], groups: list[Repetition]) -> list[str]:
    """Move each repeated block into a function above, and call it where the blocks were."""
    lines = list(lines)
    replacements: list[tuple[int, int, str]] = []
    functions: dict[int, str] = {}
    for group in groups:
        block, function = group.nodes[0], group.function
        local = names(function, ast.Store) | {
            arg.arg for arg in ast.walk(function) if isinstance(arg, ast.arg)
        }
        inside = {id(part) for node in group.nodes for part in ast.walk(node)}
        read_outside = {
            part.id
            for part in ast.walk(function)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and id(part) not in inside
        }
        bound = names(block, ast.Store)
        results = sorted(bound & read_outside)
        if not results:  # it works by side effects alone: what they touch can't be told from here
            continue
        needed = names(block, ast.Load) & local - (bound - read_outside)
        others = sorted(needed - set(results))
        given = [*results, *others]
        name = f"_apply_{others[0]}" if others else f"_normalise_{'_'.join(results)}"
        start, end = block.lineno, block.end_lineno or block.lineno
        body = "\n".join(lines[start - 1 : end])
        functions[function.lineno] = functions.get(function.lineno, "") + (
            f"def {name}({', '.join(given)}):\n{body}\n    return {', '.join(results)}\n\n\n"
        )
        call = f"    {', '.join(results)} = {name}({', '.join(given)})"
        replacements += [(node.lineno, node.end_lineno or node.lineno, call) for node in group.nodes]
    replacements += [(line, line, functions[line] + lines[line - 1]) for line in functions]
    for first, last, text in sorted(replacements, reverse=True):
        lines[first - 1 : last] = text.split("\n")
    return lines


def main() -> None:
    """Work on every file in scope: boldly at first, carefully once a review or a red gate spoke."""
    task = Task.read()
    is_careful = bool(task.notes or task.failures)
    changed = []
    for path in task.sources(tests=False):
        text = path.read_text(encoding="utf-8")
        groups = repetitions(ast.parse(text))
        if groups:
            rewrite = as_functions if is_careful else without_repeats
            path.write_text("\n".join(rewrite(text.split("\n"), groups)), encoding="utf-8")
            changed.append(f"{path.as_posix()} ({len(groups)} repeated blocks)")
    how = "as functions, called where the blocks were" if is_careful else "kept the last of each"
    finish(f"{task.name}: {', '.join(changed) or 'nothing is repeated'}; {how}")


if __name__ == "__main__":
    main()
