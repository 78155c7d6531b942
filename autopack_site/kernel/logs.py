"""Structured logs: constant event names with ids as fields, JSON lines or a console form.

Secrets never reach a log: a processor drops values of fields whose name says that they are secret, and another
masks tokens of ours and logins of addresses wherever they stand, in tracebacks too.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET = re.compile(r"(token|secret|password|authorization|api_key|credential)$", re.IGNORECASE)
# Words that end like a secret's name but carry none.
_HARMLESS = {"fencing_token"}
_TOKEN = re.compile(r"\bapk_[A-Za-z0-9_-]{8,}")
_LOGIN = re.compile(r"(?<=://)[^\s/@'\"]+@")


def drop_secrets(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Replace the value of every field whose name ends like a secret's."""
    for key in event:
        if key not in _HARMLESS and _SECRET.search(key) and event[key] is not None:
            event[key] = "[redacted]"
    return event


def mask_text(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask what looks like a token of ours or an address's login in every text of the event."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _LOGIN.sub("[redacted]@", _TOKEN.sub("apk_[redacted]", value))
    return event


def configure(*, level: str, as_json: bool) -> None:
    """Send structlog events and the standard library's records to stderr in one form.

    As JSON each line is one object; Python's warnings are records then too.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        drop_secrets,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(default=repr)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                mask_text,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    if as_json:
        logging.captureWarnings(True)
