"""The edge of the API is tested with the same clients as its routes."""

from __future__ import annotations

from tests.runs.api.conftest import (  # noqa: F401
    _fake_ports,
    _own_redis,
    anonymous,
    auditor,
    builder,
    gates,
    ledger,
    operator,
    project,
    reader,
    workspace,
)
