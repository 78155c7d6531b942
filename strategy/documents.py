"""Operators' YAML and JSON as plain values, each with the line that it stands on.

The reader is strict and bounded: one document, no tags, no duplicate keys, no merge keys, YAML 1.2's core
scalars (`yes`, `on` and dates are strings), aliases only as far as the expanded document stays small.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from autopack_site.kernel.errors import Invalid, problem

MAX_CHARS = 512 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 40

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9]{1,40}\.[0-9]{0,40}|\.[0-9]{1,40}|[0-9]{1,40}(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?"
)
_ESCAPED = re.compile(r"\\\\|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_CONSTANTS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed text: its value, and for each path (keys and indexes) the line it starts on, from 1."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int | None:
        """Return the line of path, or of its nearest ancestor that has one."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None


def read_text(text: str) -> Document:
    """Return the document in text: JSON when it starts with a brace, else YAML.

    Raises Invalid; each row's `msg` begins with the line.
    """
    if len(text) > MAX_CHARS:
        raise Invalid([problem("too_large", [], f"The text is longer than {MAX_CHARS} characters")])
    text = text.removeprefix("\ufeff")
    return read_json(text) if text.lstrip()[:1] == "{" and _is_json(text) else read_yaml(text)


def read_json(text: str) -> Document:
    """Return the JSON document in text, refusing duplicate keys and numbers that JSON doesn't have."""
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique_pairs)
    except json.JSONDecodeError as error:
        _refuse("json_invalid", error.lineno, error.msg)
    except _Duplicate as error:
        _json_lines(text)  # refuses it too, and knows the very line
        line = text.count("\n", 0, max(text.rfind(json.dumps(error.key)), 0)) + 1
        _refuse("duplicate_key", line, f"the key {error.key!r} stands twice in one object")
    except (ValueError, RecursionError) as error:
        _refuse("json_invalid", 1, str(error)[:200] or "nested too deeply")
    return Document(whole_numbers(value), _json_lines(text))


def _json_lines(text: str) -> dict[Path, int]:
    """Return the lines of a valid JSON text, by reading it as the YAML that it nearly is.

    Tabs (never inside a JSON string) and halves of surrogate pairs are what YAML lacks; neither moves a line.
    What is too deep or too large is refused; where YAML still differs only the whole document has a line.
    """
    plain = _ESCAPED.sub(lambda match: match[0] if match[0] == "\\\\" else "x", text.replace("\t", " "))
    try:
        return read_yaml(plain).lines
    except Invalid as error:
        if error.problems[0]["type"] != "yaml_invalid":
            raise
        return {(): 1}


def read_yaml(text: str) -> Document:
    """Return the YAML document in text."""
    try:
        return _Builder(yaml.parse(text, Loader=yaml.CSafeLoader)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _refuse("yaml_invalid", mark.line + 1 if mark else 1, error.problem or "not valid YAML")
    except (yaml.YAMLError, UnicodeError) as error:
        _refuse("yaml_invalid", 1, str(error).splitlines()[0][:200] if str(error) else "not valid YAML")


def whole_numbers(value: Any) -> Any:
    """Return value with every float that is a whole number as an integer: 2.0 and 2 are one JSON number."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    return value


class _Duplicate(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


class _Builder:
    """Builds values from parser events, so that depth and size are checked before anything is built."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._lines: dict[Path, int] = {}
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0

    def document(self) -> Document:
        next(self._events)  # stream start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Document(None, {})
        value = self._node(next(self._events), (), 0)
        next(self._events)  # document end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            _refuse("yaml_invalid", event.start_mark.line + 1, "only one document is allowed")
        return Document(value, self._lines)

    def _node(self, event: Any, path: Path, depth: int) -> Any:
        line = event.start_mark.line + 1
        self._lines.setdefault(path, line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        self._count(1, line)
        if depth > MAX_DEPTH:
            _refuse("too_deep", line, f"nested more than {MAX_DEPTH} levels deep")
        if event.tag is not None and event.tag != "!":
            _refuse("yaml_tag", line, "tags are not allowed")
        before = self._nodes
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            is_plain = not event.style and event.tag is None  # the C parser tells plain style as ""
            value = _scalar(event.value) if is_plain else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - before + 1)
        return value

    def _sequence(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                _refuse("yaml_key", line, "a key must be plain text")
            key: str = event.value
            if key in mapping:
                _refuse("duplicate_key", line, f"the key {key[:80]!r} stands twice in one mapping")
            self._count(1, line)
            self._lines[(*path, key)] = line
            mapping[key] = self._node(next(self._events), (*path, key), depth + 1)
        return mapping

    def _alias(self, anchor: str | None, line: int) -> Any:
        if anchor is None or anchor not in self._anchors:
            _refuse("yaml_alias", line, f"the alias *{str(anchor)[:80]} refers to nothing before it")
        value, size = self._anchors[anchor]
        self._count(size, line)
        return value

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            _refuse("too_large", line, f"more than {MAX_NODES} values, aliases expanded")


def _scalar(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return whole_numbers(number) if math.isfinite(number) else text
    return text


def _is_json(text: str) -> bool:
    """Tell JSON from YAML's flow form by its first key: JSON quotes it."""
    rest = text.lstrip()[1:].lstrip()
    return rest[:1] in ('"', "}")


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Duplicate(key)
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _refuse(kind: str, line: int, message: str) -> NoReturn:
    raise Invalid([problem(kind, [], f"line {line}: {message}")])
