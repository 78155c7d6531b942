"""Issues as JUnit XML, for what shows test results: an open issue is a failing case, a resolved one passes.

What JUnit has no place for stands in properties named `autopack.*`, which the import reads again.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from issues.aging import Status
from issues.models import BacklogEntry, Issue

JUNIT_TYPE = "application/xml; charset=utf-8"
PREFIX = "autopack."
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STANDING = {Status.RESOLVED: "", Status.ACCEPTED: "skipped"}
_LINES = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


@dataclass(frozen=True, slots=True)
class Case:
    """One issue as a test case. `outcome` is `failure`, `skipped`, or empty for one that passes."""

    suite: str
    key: str
    outcome: str
    message: str
    details: str
    properties: tuple[tuple[str, str], ...]


def issue_case(issue: Issue) -> Case:
    """Return an issue of a phase, in the suite of its phase; `phase` should be loaded. Expected ones are skipped."""
    return Case(
        suite=f"{issue.phase.run_id}/{issue.phase.phase_id}",
        key=issue.issue_key,
        outcome="skipped" if issue.expected_fail else "failure",
        message=issue.description or issue.category,
        details=issue.description,
        properties=(
            ("issue_key", issue.issue_key),
            ("severity", issue.severity),
            ("category", issue.category),
            ("source", issue.source),
            ("task_category", issue.task_category),
            ("complexity", issue.complexity),
            ("occurrence_count", str(issue.occurrence_count)),
            *(("evidence_ref", ref) for ref in issue.evidence_refs),
        ),
    )


def entry_case(entry: BacklogEntry) -> Case:
    """Return an entry of a backlog: an accepted one is skipped, a resolved one passes."""
    return Case(
        suite="backlog",
        key=entry.issue_key,
        outcome=_STANDING.get(Status(entry.status), "failure"),
        message=f"{entry.status}, seen {entry.occurrence_count} times, last in run {entry.last_seen_run_id}",
        details="\n".join(entry.paths),
        properties=(
            ("issue_key", entry.issue_key),
            ("severity", entry.base_severity),
            ("category", entry.category),
            ("status", str(entry.status)),
            ("age_in_runs", str(entry.age_in_runs)),
            ("age_in_tiers", str(entry.age_in_tiers)),
            ("occurrence_count", str(entry.occurrence_count)),
            *(("evidence_ref", path) for path in entry.paths),
        ),
    )


def junit_chunks(chunks: Iterable[Iterable[Case]]) -> Iterator[bytes]:
    """Yield a JUnit document. A suite of many cases comes in several elements, so that each one's counts are true."""
    yield b'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="autopack">\n'
    for chunk in chunks:
        for suite, cases in itertools.groupby(chunk, key=lambda case: case.suite):
            yield _suite(suite, list(cases)).encode("utf-8")
    yield b"</testsuites>\n"


def _suite(name: str, cases: list[Case]) -> str:
    outcomes = [case.outcome for case in cases]
    head = (
        f'<testsuite name={_attribute(name)} tests="{len(cases)}" failures="{outcomes.count("failure")}" '
        f'errors="0" skipped="{outcomes.count("skipped")}">\n'
    )
    return head + "".join(map(_case, cases)) + "</testsuite>\n"


def _case(case: Case) -> str:
    where, _, name = case.key.rpartition("::")
    rows = "".join(
        f"<property name={_attribute(PREFIX + key)} value={_attribute(value)}/>"
        for key, value in case.properties
    )
    told = ""
    if case.outcome:
        kind = f" type={_attribute(dict(case.properties)['severity'])}" if case.outcome == "failure" else ""
        message = _attribute(case.message)
        told = f"<{case.outcome}{kind} message={message}>{escape(_xml(case.details))}</{case.outcome}>"
    classname = _attribute(where or case.suite)
    return (
        f"<testcase classname={classname} name={_attribute(name)}>"
        f"<properties>{rows}</properties>{told}</testcase>\n"
    )


def _attribute(text: str) -> str:
    return quoteattr(_xml(text), _LINES)


def _xml(text: str) -> str:
    """Return text without what XML 1.0 can't hold."""
    return _NOT_XML.sub("\ufffd", text)
