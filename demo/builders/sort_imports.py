"""Builder: put imports in order, and drop the ones that nothing uses."""

from __future__ import annotations

from task import Task, finish, run_ruff


def main() -> None:
    """Sort everywhere; remove unused imports outside packages' fronts, where they may be the interface."""
    task = Task.read()
    files = task.sources()
    account = run_ruff(files, "--select", "I")
    inner = [path for path in files if path.name != "__init__.py"]
    finish(f"{task.name}: {account}; unused imports: {run_ruff(inner, '--select', 'F401')}")


if __name__ == "__main__":
    main()
