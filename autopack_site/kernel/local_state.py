"""The small file in which a checkout remembers its own services: `<state dir>/local.json`, mode 0600.

Keys, all optional: `database_url`, `redis_url` (embedded services while they run) and `secret_key`
(generated at the first start). Environment variables win over it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

FILE_NAME = "local.json"


def read(state_dir: Path) -> dict[str, str]:
    """Return what is remembered; an absent or unreadable file is an empty answer."""
    try:
        data = json.loads((state_dir / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else {}


def write(state_dir: Path, values: dict[str, str]) -> None:
    """Replace the file, whole, by a rename."""
    state_dir.mkdir(parents=True, exist_ok=True)
    temporary = state_dir / f".{FILE_NAME}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        json.dump(values, handle, indent=2, sort_keys=True)
    temporary.replace(state_dir / FILE_NAME)
