"""Plans as texts, Markdown or JSON: read, checked for every fault, turned into the other form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autopack_site.kernel.errors import Invalid, problem
from runs.plan import parse_plan_document, plan_from_valid, plan_to_json, plan_to_markdown
from runs.plan_checks import every_problem
from runs.plan_markdown import with_lines
from runs.plan_render import numbered
from strategy.documents import Document, read_json, whole_numbers
from strategy.models import Project
from strategy.scopes import resolve_scopes
from strategy.types import Plan
from strategy.validation import check_document

Row = dict[str, Any]


def is_json(text: str) -> bool:
    """Tell JSON from Markdown: an object begins with a brace."""
    return text.lstrip("\ufeff \t\r\n")[:1] == "{"


def read_plan_text(text: str) -> Plan:
    """Return the checked plan of a Markdown document or of a start request's JSON.

    Raises Invalid with every fault that can be told; each `msg` begins with `line N:` where the line is known.
    """
    return _from_json(_document(text)) if is_json(text) else parse_plan_document(text)


def read_plan_rows(body: Mapping[str, Any]) -> Plan:
    """Return the checked plan of a start request's `tiers` and `phases`. Raises Invalid with every fault."""
    return _from_json(Document(whole_numbers(dict(body))))


def problems_of(
    text: str | Mapping[str, Any], project: Project | None = None
) -> tuple[Plan | None, list[Row]]:
    """Return the plan, if it can be read, and every fault of it: `type`, `loc`, `msg`, and `line` or None.

    With a project its named scopes are looked up as well.
    """
    try:
        plan = read_plan_text(text) if isinstance(text, str) else read_plan_rows(text)
    except Invalid as error:
        return None, [_lined(row) for row in error.problems]
    if project is not None:
        try:
            resolve_scopes(plan, project.settings)
        except Invalid as error:
            if isinstance(text, str) and not is_json(text):
                return plan, [_lined(row) for row in with_lines(text, error.problems)]
            document = _document(text) if isinstance(text, str) else Document({})
            return plan, [_lined(_placed(row, document)) for row in error.problems]
    return plan, []


def both_forms(plan: Plan, *, title: str = "Plan") -> dict[str, Any]:
    """Return the plan as Markdown (`plan`) and as JSON (`tiers`, `phases`), numbered in document order."""
    ordered = numbered(plan)
    return {"plan": plan_to_markdown(ordered, title=title), **plan_to_json(ordered)}


def _from_json(document: Document) -> Plan:
    body = document.value
    if not isinstance(body, dict):
        raise Invalid([problem("dict_type", ["body"], "must hold an object with tiers and phases")])
    try:
        value = check_document(
            "plan",
            Document({name: body[name] for name in ("tiers", "phases") if name in body}, document.lines),
        )
    except Invalid as error:
        raise Invalid(
            [problem(row["type"], ["body", *row["loc"]], row["msg"]) for row in error.problems]
        ) from None
    plan = plan_from_valid(value)
    rows = [_placed(row, document) for row in every_problem(plan)]
    if rows:
        rows.sort(key=lambda row: _line(row) or 0)
        raise Invalid(rows)
    return plan


def _document(text: str) -> Document:
    """Return the JSON in text with its lines; a plan too large for them goes without."""
    try:
        return read_json(text)
    except Invalid as error:
        if error.problems[0]["type"] != "too_large":
            raise
    return Document(whole_numbers(json.loads(text)))


def _placed(row: Row, document: Document) -> Row:
    line = document.line(tuple(row["loc"][1:])) if document.lines else None
    return row if line is None else problem(row["type"], row["loc"], f"line {line}: {row['msg']}")


def _line(row: Row) -> int | None:
    word, _, rest = str(row["msg"]).partition(" ")
    number = rest.partition(":")[0]
    return int(number) if word == "line" and number.isdecimal() else None


def _lined(row: Row) -> Row:
    return {**row, "line": _line(row)}
