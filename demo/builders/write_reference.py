"""Builder: write the reference of a package's public functions out of signatures and docstrings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from task import Task, finish

_PARAM = re.compile(r":param (\w+)(?: \((.+?)\))?:[ \t]*(.*)")


def public_functions(path: Path) -> list[ast.FunctionDef]:
    """Return the public top-level functions of a module."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node for node in module.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


def section(module: str, function: ast.FunctionDef) -> list[str]:
    """Return the Markdown lines of one function."""
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    lines = [f"### `{module}.{function.name}`", "", "```python"]
    lines += [f"{function.name}({ast.unparse(function.args)}){returns}", "```", ""]
    docstring = ast.get_docstring(function) or ""
    prose = [line for line in docstring.splitlines() if line.strip() and not line.lstrip().startswith(":")]
    rows = _PARAM.findall(docstring)
    if prose:
        lines += [" ".join(line.strip() for line in prose), ""]
    if rows:
        lines += ["| parameter | type | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | {kind or ''} | {cell(meaning)} |" for name, kind, meaning in rows]
        lines.append("")
    return lines


def cell(text: str) -> str:
    """Return text as a table's cell."""
    return text.replace("|", "\\|")


def main() -> None:
    """Write docs/reference.md for the packages of the checkout."""
    task = Task.read()
    target = Path("docs/reference.md")
    lines = ["# Reference", "", "Written out of the code: signatures and docstrings are the source.", ""]
    count = 0
    for front in sorted(Path().glob("*/__init__.py")):
        lines += [f"## Package `{front.parent.name}`", ""]
        for path in sorted(front.parent.glob("*.py")):
            for function in public_functions(path):
                lines += section(f"{front.parent.name}.{path.stem}", function)
                count += 1
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines).rstrip("\n") + "\n", encoding="utf-8")
    finish(f"{task.name}: {count} functions in {target.as_posix()}")


if __name__ == "__main__":
    main()
