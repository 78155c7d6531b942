"""Claude Code, `--output-format json` and `stream-json`.

`assistant` events repeat a message's usage for each of its blocks; the last `result` tells the session's whole, by
model too, with `total_cost_usd` and `num_turns`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from runs.figures import Figures, count_of, micro_usd_of, text_of

KEPT_MESSAGES = 4096
_PARTS = {
    "input_tokens": ("input_tokens", "inputTokens"),
    "cache_read_tokens": ("cache_read_input_tokens", "cacheReadInputTokens"),
    "cache_write_tokens": ("cache_creation_input_tokens", "cacheCreationInputTokens"),
    "output_tokens": ("output_tokens", "outputTokens"),
}


class Claude:
    """A session's events: messages are added up until the result tells the sum."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._open: OrderedDict[str, Figures] = OrderedDict()
        self._messages = Figures()  # those that are no longer kept apart
        self._turns = 0
        self._results: dict[str, Figures] = {}

    def take(self, line: str, value: Any) -> bool:
        """Take `system`, `assistant` and `result` events."""
        if not isinstance(value, dict):
            return False
        kind = value.get("type")
        if kind == "system" and "session_id" in value:
            self._name(value.get("session_id"), value.get("model"), value.get("claude_code_version"))
            return True
        if kind == "assistant" and isinstance(value.get("message"), dict):
            self._message(value["message"], value.get("session_id"))
            return True
        if kind == "result" and ("total_cost_usd" in value or isinstance(value.get("usage"), dict)):
            self._result(value)
            return True
        return False

    def figures(self) -> Figures:
        """Return the results, or the messages where they come to more: a session that goes on."""
        seen = self._messages
        for message in self._open.values():
            seen = seen.plus(message)
        if self._turns:
            seen = Figures(**{**_values(seen), "turns": self._turns, "is_derived": True})
        told = Figures()
        for result in self._results.values():
            told = told.plus(result)
        if seen.is_empty and told.is_empty:
            return Figures()
        grown, _lower = seen.grown(told)
        is_derived = told.is_empty or (seen.total or 0) > (told.total or 0)
        return Figures(**{**_values(grown), **self._texts, "agent": "claude-code", "is_derived": is_derived})

    def _name(self, session: Any, model: Any, version: Any = None) -> None:
        for name, value in (("session", session), ("model", model), ("version", version)):
            if text := text_of(value):
                self._texts[name] = text

    def _message(self, message: dict[str, Any], session: Any) -> None:
        told = _parts(message.get("usage"))
        if told.is_empty:
            return
        if "model" not in self._texts:
            self._name(session, message.get("model"))
        name = text_of(message.get("id"))
        if name not in self._open:
            self._turns += 1
        self._open[name], _lower = self._open.get(name, Figures()).grown(told)
        self._open.move_to_end(name)
        if len(self._open) > KEPT_MESSAGES:
            self._messages = self._messages.plus(self._open.popitem(last=False)[1])

    def _result(self, value: dict[str, Any]) -> None:
        session = text_of(value.get("session_id"))
        models = value.get("modelUsage")
        told = _parts(value.get("usage"))
        if isinstance(models, dict) and models:
            by_model = Figures()
            for row in list(models.values())[:100]:
                by_model = by_model.plus(_parts(row))
            told, _lower = told.grown(by_model)
            self._name(session, _main(models))
        self._name(session, None)
        told = Figures(
            **{
                **_values(told),
                "turns": count_of(value.get("num_turns")),
                "cost_micro_usd": micro_usd_of(value.get("total_cost_usd")),
            }
        )
        if session in self._results or len(self._results) < KEPT_MESSAGES:
            self._results[session], _lower = self._results.get(session, Figures()).grown(told)


def _main(models: dict[str, Any]) -> str:
    """Return the model that wrote most."""
    known = [
        (count_of(row.get("outputTokens")) or 0, name)
        for name, row in models.items()
        if isinstance(row, dict)
    ]
    return max(known)[1] if known else ""


def _parts(usage: Any) -> Figures:
    if not isinstance(usage, dict):
        return Figures()
    found = {
        field: next((n for n in (count_of(usage.get(name)) for name in names) if n is not None), None)
        for field, names in _PARTS.items()
    }
    return Figures(**found)  # type: ignore[arg-type]  # counts only


def _values(figures: Figures) -> dict[str, Any]:
    return {name: getattr(figures, name) for name in Figures.__dataclass_fields__}
