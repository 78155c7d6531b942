"""Documents against the published schemas, with errors that say where, and for texts on which line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from autopack_site.kernel.errors import Invalid, problem
from autopack_site.kernel.ids import ID_PATTERN, ID_RULE
from strategy import rules
from strategy.documents import Document, read_text, whole_numbers
from strategy.limits import UNLIMITED
from strategy.names import glob_problem
from strategy.strictness import BY_DIFF_SIZE

SchemaName = Literal["ruleset", "autopack", "plan", "strategy"]
SCHEMA_DIR = Path(__file__).resolve().parent / "schema"
MAX_PROBLEMS = 50
_MAX_MESSAGE = 300

Row = dict[str, Any]


@cache
def schema(name: SchemaName) -> dict[str, Any]:
    """Return a published JSON Schema (2020-12). Callers must not change it."""
    loaded: dict[str, Any] = json.loads((SCHEMA_DIR / f"{name}.schema.json").read_text(encoding="utf-8"))
    return loaded


@cache
def _validator(name: SchemaName) -> Draft202012Validator:
    return Draft202012Validator(schema(name))


def check(name: SchemaName, value: Any) -> Any:
    """Return value (whole floats as integers) if it obeys the schema; raises Invalid with a row a fault."""
    return check_document(name, Document(whole_numbers(value)))


def check_document(name: SchemaName, document: Document) -> Any:
    """The same for a text that was read: each message begins with `line N:`."""
    refuse(list(_unstorable(document.value, [])), document)
    refuse(list(_rows(_validator(name).iter_errors(document.value))), document)
    return document.value


def check_text(name: SchemaName, text: str) -> Any:
    """Read YAML or JSON text and check it. Raises Invalid with rows that name the line."""
    return check_document(name, read_text(text))


def refuse(rows: Sequence[Row], document: Document) -> None:
    """Raise Invalid if there are rows, in the order of their lines, each naming its line where known."""
    if not rows:
        return
    placed = []
    for row in rows:
        line = document.line(tuple(row["loc"]))
        message = row["msg"] if line is None else f"line {line}: {row['msg']}"
        placed.append((line or 0, problem(row["type"], row["loc"], message)))
    placed.sort(key=lambda pair: pair[0])
    raise Invalid([row for _, row in placed[:MAX_PROBLEMS]])


def check_ruleset(value: Any) -> dict[str, Any]:
    """Return a ruleset that the schema and the rules among its parts accept. Raises Invalid."""
    return check_ruleset_document(Document(whole_numbers(value)))


def check_ruleset_text(text: str) -> dict[str, Any]:
    """The same for a JSON or YAML text; rows name the line."""
    return check_ruleset_document(read_text(text))


def check_ruleset_document(document: Document) -> dict[str, Any]:
    """The same for a text that was read."""
    value: dict[str, Any] = check_document("ruleset", document)
    found: list[Row] = []
    spelled: dict[str, str] = {}
    for name in value.get("category_defaults", {}):
        canonical = rules.canonical_category(name, {})
        if canonical in spelled:
            text = f"{name} and {spelled[canonical]} are one category: write it once"
            found.append(problem("duplicate_category", ["category_defaults", name], text))
        spelled[canonical] = name
    for name in value.get("category_map", {}):
        if rules.is_published(name):
            text = f"{name} is a published category: it can't be mapped to another"
            found.append(problem("published_category", ["category_map", name], text))
    found += _globs(value.get("protected_paths", []), ["protected_paths"])
    found += _rules(value.get("rules", []))
    found += _prices(value.get("prices", []))
    if not found:
        for name, row in rules.read_rules(value).rows.items():
            if not row["auto_apply"] and row["max_auditor_attempts"] < 1:
                text = f"{name} needs an Auditor's approval (auto_apply is false) but allows no audit"
                found.append(
                    problem("no_audit_possible", ["category_defaults", spelled.get(name, name)], text)
                )
    refuse(found, document)
    return value


def _globs(globs: Sequence[str], loc: list[str | int]) -> Iterator[Row]:
    for index, glob in enumerate(globs):
        wrong = glob_problem(glob)
        if wrong:
            yield problem("bad_glob", [*loc, index], wrong)


def _prices(given: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """Find days that no calendar has, and rows that say of one model and day two things."""
    known: set[tuple[str, str]] = set()
    for index, row in enumerate(given):
        name, day = row["model"].lower(), row["from"]
        try:
            date.fromisoformat(day)
        except ValueError:
            yield problem("bad_day", ["prices", index, "from"], f"{day} is no day of the calendar")
        if (name, day) in known:
            text = f"{row['model']} has a price from {day} already: write it once"
            yield problem("duplicate_price", ["prices", index, "model"], text)
        known.add((name, day))


def _rules(given: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """Find what the schema can't say of rules: ids that stand twice, bad globs, what comes too late to be set."""
    ids: dict[str, int] = {}
    for index, rule in enumerate(given):
        first = ids.setdefault(rule["id"], index)
        if first != index:
            text = f"the rule {rule['id']} stands twice (also rules[{first}]): give each its own id"
            yield problem("duplicate_rule", ["rules", index, "id"], text)
        when = rule.get("when", {})
        yield from _globs(when.get("paths", ()), ["rules", index, "when", "paths"])
        yield from _globs(rule["set"].get("protected_paths", ()), ["rules", index, "set", "protected_paths"])
        if "diff_lines_at_least" in when:
            for name in rule["set"].keys() - BY_DIFF_SIZE:
                known = ", ".join(sorted(BY_DIFF_SIZE))
                text = (
                    f"{name} can't depend on the size of a diff, which is known too late; expected: {known}"
                )
                yield problem("not_by_diff_size", ["rules", index, "set", name], text)


def _rows(errors: Iterator[ValidationError]) -> Iterator[Row]:
    for error in errors:
        loc = list(error.absolute_path)
        if "propertyNames" in error.absolute_schema_path:
            loc.append(str(error.instance))  # what is wrong is a key: its line, not that of the mapping
        kind = str(error.validator)
        instance: Any = error.instance
        if kind == "additionalProperties" and error.validator_value is False:
            declared: Any = error.schema
            properties = declared.get("properties", {})
            known = ", ".join(sorted(properties))
            for key in instance:
                if key not in properties:
                    yield problem(
                        "unknown_key", [*loc, key], f"unknown key {_short(repr(key))}; known: {known}"
                    )
        elif kind == "required":
            # one error for each missing key: its message begins with the key
            required: Any = error.validator_value
            missing = [key for key in required if key not in instance]
            named = next((key for key in missing if error.message.startswith(repr(key))), missing[0])
            yield problem("missing", [*loc, named], f"{named} is required")
        elif kind == "pattern":
            rule = str(error.validator_value)
            expected = ID_RULE if ID_PATTERN in rule else f"text that matches {rule}"
            if rule.startswith(f"^{UNLIMITED}$"):
                expected = f"a number, null for the default, or {UNLIMITED}"
            yield problem(
                "pattern", loc, f"{_short(repr(instance))} is not allowed here; expected: {expected}"
            )
        else:
            yield problem(kind, loc, _short(error.message))


def _unstorable(value: Any, loc: list[str | int]) -> Iterator[Row]:
    """Find texts that neither PostgreSQL nor UTF-8 can hold: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
            yield problem("bad_text", loc, "a text holds NUL or half of a surrogate pair")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unstorable(key, loc)
            yield from _unstorable(item, [*loc, key])
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable(item, [*loc, index])


def _short(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}..."
