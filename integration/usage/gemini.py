"""Gemini CLI: `stats` of `--output-format json`, and the `result` event of `stream-json`.

By model: `prompt` holds the cached tokens; `thoughts` come on top of `candidates`, tools' prompts on top of `prompt`.
"""

from __future__ import annotations

from typing import Any

from runs.figures import Figures, count_of, text_of


class Gemini:
    """The last `stats` that was told."""

    def __init__(self) -> None:
        self._figures = Figures()
        self._session = ""
        self._model = ""

    def take(self, line: str, value: Any) -> bool:
        """Take `init`, and whatever holds `stats`."""
        if not isinstance(value, dict):
            return False
        if value.get("type") == "init":
            self._session, self._model = text_of(value.get("session_id")), text_of(value.get("model"))
            return True
        stats = value.get("stats")
        if not isinstance(stats, dict) or value.get("type") not in (None, "result"):
            return False
        self._session = text_of(value.get("session_id")) or self._session
        models = stats.get("models")
        told = _models(models) if isinstance(models, dict) else Figures()
        if isinstance(models, dict) and len(models) == 1:
            self._model = text_of(next(iter(models)))
        if told.is_empty:
            told = _flat(stats)
        self._figures, _lower = self._figures.grown(told)
        return True

    def figures(self) -> Figures:
        """Return what was told."""
        if self._figures.is_empty:
            return self._figures
        return self._figures.plus(Figures(agent="gemini-cli", model=self._model, session=self._session))


def _models(models: dict[str, Any]) -> Figures:
    total = Figures()
    for row in list(models.values())[:100]:
        tokens = row.get("tokens") if isinstance(row, dict) else None
        if not isinstance(tokens, dict):
            continue
        prompt, cached = count_of(tokens.get("prompt")), count_of(tokens.get("cached"))
        written, thoughts = count_of(tokens.get("candidates")), count_of(tokens.get("thoughts"))
        tools = count_of(tokens.get("tool")) or 0
        api = row.get("api")
        total = total.plus(
            Figures(
                tokens=count_of(tokens.get("total")),
                input_tokens=None if prompt is None else max(prompt - (cached or 0), 0) + tools,
                cache_read_tokens=cached,
                output_tokens=None if written is None else written + (thoughts or 0),
                reasoning_tokens=thoughts,
                turns=count_of(api.get("totalRequests")) if isinstance(api, dict) else None,
            )
        )
    return total


def _flat(stats: dict[str, Any]) -> Figures:
    prompt, cached = count_of(stats.get("input_tokens")), count_of(stats.get("cached"))
    return Figures(
        tokens=count_of(stats.get("total_tokens")),
        input_tokens=None if prompt is None else max(prompt - (cached or 0), 0),
        cache_read_tokens=cached,
        output_tokens=count_of(stats.get("output_tokens")),
    )
