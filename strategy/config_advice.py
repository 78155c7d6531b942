"""What a project's configuration lacks that is no mistake, and that nobody would want without knowing. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from strategy.config import ProjectConfig

RECONFIGURE = ".venv/bin/python manage.py project config ID --config autopack.yaml"


def gaps(config: ProjectConfig) -> Iterator[tuple[str, str]]:
    """Yield what is missing, each with what to do about it."""
    if not config.builders:
        yield (
            "nobody is configured to build: each phase waits for a claim over HTTP",
            f"name a builder under `builders` in autopack.yaml, then {RECONFIGURE}",
        )
    empty = [name for name in ("normal", "strict") if not config.gate_steps(name)]
    if empty:
        which = " and ".join(empty)
        yield (
            f"the gate has no steps ({which}): patches land untested",
            f"list them under `gates` in autopack.yaml, then {RECONFIGURE}",
        )
