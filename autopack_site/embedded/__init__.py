"""Real PostgreSQL and Redis servers out of wheels, for development, tests and the demo (not production).

`shared(state_dir)` runs a checkout's lasting pair, `private(base)` a throw-away one.
"""

from __future__ import annotations

from autopack_site.embedded.services import Services, discard, is_set, private, shared, start, sweep

__all__ = ["Services", "discard", "is_set", "private", "shared", "start", "sweep"]
