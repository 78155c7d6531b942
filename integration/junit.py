"""JUnit XML, as pytest, Maven's Surefire, jest-junit and go-junit-report write it, from a hostile hand.

The document is parsed as a stream (no tree is built), by defusedxml, with bounds on its size, depth, cases
and texts. Counts are those of the cases that are really there, never those that attributes claim.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import XMLParser

from autopack_site.kernel.errors import AutopackError
from autopack_site.kernel.visible import both_ends

MAX_BYTES = 32 * 1024 * 1024
MAX_CASES = 100_000
MAX_DEPTH = 64
NAME_CHARS = 500
MESSAGE_CHARS = 4000
MAX_DURATION_S = 10.0**7
OWN_PROPERTIES = "autopack."  # what Autopack's own export says of an issue, and nobody else's report
MAX_PROPERTIES = 200

CaseStatus = Literal["passed", "failed", "error", "skipped"]
_OUTCOMES: dict[str, CaseStatus] = {"failure": "failed", "error": "error", "skipped": "skipped"}
_RANK: dict[CaseStatus, int] = {"passed": 0, "skipped": 1, "error": 2, "failed": 3}
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
_INVISIBLE = r"\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # what reorders or hides text on a screen
_UNPRINTABLE = re.compile(f"[{_CONTROL}{_INVISIBLE}]")
_ESCAPE = re.compile(r"(?:\x1b|#x1B)\[[0-9;?]*[A-Za-z]")  # pytest writes ESC as the text "#x1B"


class BadReport(AutopackError):
    """The bytes are no JUnit report that can be trusted to be read."""

    code, status = "bad-test-report", 422
    title = "The test report could not be read"


class ForbiddenXml(BadReport):
    """The document declares a DTD or entities: no test runner does, attackers do."""

    code = "forbidden-xml"
    title = "The test report uses forbidden XML"


class ReportTooLarge(BadReport):
    """The document passes a bound on bytes, cases or depth."""

    code, status = "test-report-too-large", 413
    title = "The test report is too large"


@dataclass(frozen=True)
class TestCase:
    """One test. `message` is what failed or why it was skipped: cleaned, bounded, maybe empty.

    `properties` are those of Autopack's own exports, without their common beginning.
    """

    __test__ = False  # not a test class, whatever its name makes pytest think

    name: str
    classname: str
    file: str | None
    status: CaseStatus
    message: str
    duration_s: float | None
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def identity(self) -> str:
        """The name by which the test is known wherever it is reported: its place and its name."""
        where = self.classname or self.file or ""
        return f"{where}::{self.name}" if where else self.name

    @property
    def file_named(self) -> str:
        """The test's file: as the report says, else the one that a dotted class name of pytest's stands for."""
        if self.file:
            return self.file
        parts = [part for part in self.classname.split(".") if part and not part[0].isupper()]
        is_module = len(parts) > 1 and all(part.isidentifier() for part in parts)
        return "/".join(parts) + ".py" if is_module else ""


@dataclass(frozen=True)
class TestReport:
    """One document. `duration_s` is the sum over its cases, or what its root states when they say nothing."""

    __test__ = False

    tests: int
    failures: int
    errors: int
    skipped: int
    duration_s: float | None
    cases: tuple[TestCase, ...]

    @property
    def failed_cases(self) -> tuple[TestCase, ...]:
        """The cases that failed or ended in an error."""
        return tuple(case for case in self.cases if case.status in ("failed", "error"))


def clean(text: str, limit: int) -> str:
    """Return text without control, bidirectional and escape sequences, at most limit characters of it."""
    text = _ESCAPE.sub("", text[: limit * 4])
    text = _UNPRINTABLE.sub("", text.replace("\r\n", "\n")).strip()
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"


def _line(text: str) -> str:
    return clean(text[: NAME_CHARS * 4].replace("\n", " ").replace("\t", " "), NAME_CHARS)


def _duration(text: str | None) -> float | None:
    """Read seconds; None for what is missing, not a number, negative or beyond all reason."""
    if text is None or len(text) > 40:
        return None
    try:
        value = float(text.replace(",", ""))  # Surefire writes 1,234.5
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= MAX_DURATION_S else None


class _Reader:
    """The parser's target: keeps what is open and the cases that are closed."""

    def __init__(self, max_cases: int) -> None:
        self.max_cases = max_cases
        self.cases: list[TestCase] = []
        self.stack: list[tuple[str, dict[str, str]]] = []
        self.root_duration_s: float | None = None
        self.case: dict[str, str] | None = None
        self.outcome: CaseStatus = "passed"
        self.message = ""
        self.text: list[str] | None = None
        self.text_chars = 0
        self.attributes: dict[str, str] = {}
        self.properties: list[tuple[str, str]] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition("}")[2]
        if not self.stack:
            if name not in ("testsuites", "testsuite"):
                raise BadReport(f"The root is <{clean(name, 50)}>, not <testsuites> or <testsuite>")
            self.root_duration_s = _duration(attributes.get("time"))
        if len(self.stack) >= MAX_DEPTH:
            raise ReportTooLarge(f"Elements are nested deeper than {MAX_DEPTH}")
        parent = self.stack[-1][0] if self.stack else ""
        self.stack.append((name, attributes if name == "testsuite" else {}))
        if name == "testcase" and self.case is None:
            self.case, self.outcome, self.message, self.properties = attributes, "passed", "", []
        elif name == "property" and parent == "properties" and self.case is not None:
            self._note(attributes)
        elif name in _OUTCOMES and parent in ("testcase", "testsuite"):
            self.attributes, self.text, self.text_chars = attributes, [], 0

    def data(self, text: str) -> None:
        if self.text is not None and self.text_chars < MESSAGE_CHARS * 4:
            self.text.append(text[: MESSAGE_CHARS * 4])
            self.text_chars += len(text)

    def end(self, tag: str) -> None:
        name, _ = self.stack.pop()
        del tag
        parent = self.stack[-1][0] if self.stack else ""
        if name in _OUTCOMES and self.text is not None and parent in ("testcase", "testsuite"):
            status, message = _OUTCOMES[name], self._told()
            self.text = None
            if self.case is None:  # a suite that broke outside of any test
                self._add({"name": self._suite("name") or "(suite)"}, status, message)
            elif _RANK[status] > _RANK[self.outcome]:
                self.outcome, self.message = status, message
        elif name == "testcase" and self.case is not None and not self._is_inside("testcase"):
            self._add(self.case, self.outcome, self.message)
            self.case = None

    def close(self) -> None:
        """End of the document; called by the parser."""

    def report(self) -> TestReport:
        """Return what was read."""
        counts = dict.fromkeys(_RANK, 0)
        for case in self.cases:
            counts[case.status] += 1
        known = [case.duration_s for case in self.cases if case.duration_s is not None]
        return TestReport(
            tests=len(self.cases),
            failures=counts["failed"],
            errors=counts["error"],
            skipped=counts["skipped"],
            duration_s=math.fsum(known) if known else self.root_duration_s,
            cases=tuple(self.cases),
        )

    def _told(self) -> str:
        short = self.attributes.get("message") or self.attributes.get("type") or ""
        body = "".join(self.text or [])
        short, body = clean(short, MESSAGE_CHARS), clean(body, MESSAGE_CHARS * 4)
        if short and body and short not in body:
            body = f"{short}\n{body}"
        return both_ends(body or short, MESSAGE_CHARS)

    def _is_inside(self, name: str) -> bool:
        return any(open_name == name for open_name, _ in self.stack)

    def _suite(self, attribute: str) -> str | None:
        return next((row[attribute] for _, row in reversed(self.stack) if row.get(attribute)), None)

    def _note(self, attributes: dict[str, str]) -> None:
        name = attributes.get("name") or ""
        if name.startswith(OWN_PROPERTIES) and len(self.properties) < MAX_PROPERTIES:
            own = _line(name.removeprefix(OWN_PROPERTIES))
            self.properties.append((own, clean(attributes.get("value") or "", MESSAGE_CHARS)))

    def _add(self, attributes: dict[str, str], status: CaseStatus, message: str) -> None:
        if len(self.cases) >= self.max_cases:
            raise ReportTooLarge(f"The report holds more than {self.max_cases} tests")
        file = attributes.get("file") or self._suite("file")
        self.cases.append(
            TestCase(
                name=_line(attributes.get("name") or "") or "(unnamed)",
                classname=_line(attributes.get("classname") or self._suite("name") or ""),
                file=_line(file) if file else None,
                status=status,
                message=message,
                duration_s=_duration(attributes.get("time")),
                properties=tuple(self.properties) if attributes is self.case else (),
            )
        )


def parse(data: bytes, *, max_bytes: int = MAX_BYTES, max_cases: int = MAX_CASES) -> TestReport:
    """Return the tests that a JUnit XML document tells of.

    Raises ForbiddenXml for a DTD or entities, ReportTooLarge past a bound, BadReport for anything else that
    isn't a JUnit document. An empty document is a BadReport; one without tests is a report of 0 tests.
    """
    if len(data) > max_bytes:
        raise ReportTooLarge(f"The report is larger than {max_bytes} bytes")
    reader = _Reader(max_cases)
    parser = XMLParser(target=reader, forbid_dtd=True)
    try:
        parser.feed(data)
        parser.close()
    except DefusedXmlException as exc:
        raise ForbiddenXml(f"{type(exc).__name__}: the document declares a DTD or an entity") from exc
    except (ParseError, ValueError, LookupError) as exc:  # LookupError: an encoding that doesn't exist
        raise BadReport(f"Not well-formed XML: {clean(str(exc), 200)}") from exc
    return reader.report()
