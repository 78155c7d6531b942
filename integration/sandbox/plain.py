"""The order for a host without bubblewrap or user namespaces: limits, a scrubbed environment, own session.

This is no sandbox: what the uid may read on the host, the command may read. The evidence says so
(`sandbox: none`), and a ruleset can refuse it. Under root the command still gets a uid of its own.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from integration.sandbox.bubblewrap import environment
from integration.sandbox.spec import Command


def order(command: Command, *, uid: int | None) -> dict[str, Any]:
    """Return the shim's order. The checkout keeps its own path; `mount_at` is not used."""
    paths = (command.cwd, *command.readonly_paths, *command.writable_paths)
    return {
        "program": None,
        "argv": list(command.argv),
        "options": [],
        "env": environment(command.env, tempfile.gettempdir()),
        "cwd": os.path.realpath(command.cwd),
        "stage": [],
        "expose": list(dict.fromkeys(os.path.realpath(path) for path in paths)) if uid is not None else [],
        "isolate_network": not command.network,
        "own_processes": 0,
    }
