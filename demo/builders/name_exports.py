"""Builder: replace star imports in packages' `__init__.py` by the names they bring, and list these."""

from __future__ import annotations

import ast
from pathlib import Path

from task import Task, finish


def exported_names(module: ast.Module) -> list[str]:
    """Return what `import *` takes from a module: its `__all__`, else its own public top-level names."""
    names: list[str] = []
    for node in module.body:
        if isinstance(node, ast.Assign):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if targets == ["__all__"]:
                return [str(name) for name in ast.literal_eval(node.value)]
            names += targets
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return sorted({name for name in names if not name.startswith("_")})


def rewritten(front: Path) -> str | None:
    """Return the new text of an `__init__.py`, None when it has no star import of a sibling module."""
    text = front.read_text(encoding="utf-8")
    lines, exports = text.splitlines(), []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ImportFrom) or node.names[0].name != "*":
            continue
        module = (node.module or "").removeprefix(f"{front.parent.name}.")
        sibling = front.parent / f"{module}.py"
        if not module or not sibling.is_file():
            continue
        names = exported_names(ast.parse(sibling.read_text(encoding="utf-8")))
        exports += names
        lines[node.lineno - 1] = statement(f"from {'.' * node.level}{node.module} import", names)
    if not exports or "__all__" in text:
        return None
    listed = "".join(f"    '{name}',\n" for name in sorted(set(exports)))
    return "\n".join(lines).rstrip("\n") + f"\n\n__all__ = [\n{listed}]\n"


def statement(start: str, names: list[str]) -> str:
    """Return the import statement, one name a line when there are many."""
    if len(names) <= 3:
        return f"{start} {', '.join(names)}"
    return f"{start} (\n" + "".join(f"    {name},\n" for name in names) + ")"


def main() -> None:
    """Rewrite every package front in scope."""
    task = Task.read()
    changed = []
    for front in task.sources(tests=False):
        if front.name == "__init__.py" and (text := rewritten(front)) is not None:
            front.write_text(text, encoding="utf-8")
            changed.append(front.as_posix())
    finish(f"{task.name}: {', '.join(changed) or 'no star import left'}")


if __name__ == "__main__":
    main()
