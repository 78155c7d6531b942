"""Builder: rewrite old syntax by ruff's pyupgrade rules."""

from __future__ import annotations

from task import Task, finish, run_ruff


def main() -> None:
    """Fix what the rules find, with the fixes that ruff can't prove safe: the gate proves them."""
    task = Task.read()
    files = task.sources()
    account = run_ruff(files, "--select", "UP", "--unsafe-fixes", "--target-version", "py37")
    finish(f"{task.name}: {account}")


if __name__ == "__main__":
    main()
