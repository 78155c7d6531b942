"""Issues as CSV: rows of a run or of a backlog written, reports read back. What a report holds survives the way.

A cell that a spreadsheet would take for a formula is written behind an apostrophe, and so is one that begins with an
apostrophe itself, so that reading can take it off again. Lists are JSON; one that is read may also be lines of text.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from autopack_site.kernel import clock
from autopack_site.kernel.errors import AutopackError, Invalid, problem
from issues.batch import MAX_IMPORTED
from issues.evidence import MAX_COMPLEXITY_CHARS, MAX_KEY_CHARS, MAX_TOKEN_CHARS
from issues.models import BacklogEntry, Issue
from issues.severity import MAJOR, MINOR
from runs.ports import IssueReport

CSV_TYPE = "text/csv; charset=utf-8"
MAX_PROBLEMS = 20
MAX_CELL_CHARS = 65_536
MAX_REFS = 1000
# A hundred pieces of evidence in JSON may be longer than what the module takes by itself; bodies are bounded anyway.
csv.field_size_limit(1024 * 1024)
REQUIRED = ("issue_key", "severity", "category")
REPORTED = (
    "issue_key", "severity", "category", "source", "task_category", "complexity", "expected_fail", "description",
    "evidence_refs",
)  # fmt: skip
OF_ISSUE = (
    *REPORTED, "run_id", "phase_id", "effective_severity", "occurrence_count", "first_seen_run", "last_seen_run",
    "first_seen_at", "last_seen_at", "reporters",
)  # fmt: skip
OF_ENTRY = (
    "issue_key", "severity", "category", "effective_severity", "status", "accepted_until", "age_in_runs",
    "age_in_tiers", "occurrence_count", "first_seen_run", "last_seen_run", "first_seen_at", "last_seen_at",
    "opened_at", "seen_in_runs", "seen_in_tiers", "scopes", "evidence_refs",
)  # fmt: skip
# Columns that are known, and say nothing that a report could say.
TOLD_ONLY = frozenset({*OF_ISSUE, *OF_ENTRY}) - frozenset(REPORTED)
IMPORTED = "import"  # the source of a row that names none
_DEFUSED = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
_YES, _NO = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0", ""})


class TooManyRows(AutopackError):
    """The file tells of more issues than one import may bring."""

    code, status = "too-many-issues", 413
    title = "The file holds too many issues"

    def __init__(self) -> None:
        super().__init__(f"An import may bring {MAX_IMPORTED} issues: split the file", limit=MAX_IMPORTED)


def defused(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_DEFUSED) else cell


def plain(cell: str) -> str:
    """Return what `defused` was given."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_DEFUSED) else cell


def issue_cells(issue: Issue) -> list[str]:
    """Return an issue's cells in the order of OF_ISSUE; `phase` should be loaded."""
    return _cells(
        OF_ISSUE,
        {name: getattr(issue, name, None) for name in OF_ISSUE}
        | {"run_id": issue.phase.run_id, "phase_id": issue.phase.phase_id},
    )


def entry_cells(entry: BacklogEntry) -> list[str]:
    """Return an entry's cells in the order of OF_ENTRY."""
    values = {name: getattr(entry, name, None) for name in OF_ENTRY} | {
        "severity": entry.base_severity,
        "first_seen_run": entry.first_seen_run_id,
        "last_seen_run": entry.last_seen_run_id,
        "evidence_refs": entry.paths,
    }
    return _cells(OF_ENTRY, values)


def _cells(columns: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    return [defused(_text(values[name])) for name in columns]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return clock.stamp(value) or "" if hasattr(value, "astimezone") else str(value)


def csv_chunks(columns: Sequence[str], chunks: Iterable[Iterable[Sequence[str]]]) -> Iterator[bytes]:
    """Yield a CSV document: the header, then each chunk of rows."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(columns)
    yield _taken(buffer)
    for chunk in chunks:
        writer.writerows(chunk)
        yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    data = buffer.getvalue().encode("utf-8", "replace")
    buffer.seek(0)
    buffer.truncate()
    return data


def read_csv(data: bytes) -> list[IssueReport]:
    """Return the reports that a CSV document holds, row by row.

    The first row names the columns: issue_key, severity and category must be there. Raises TooManyRows, and Invalid
    with a row for each of the first 20 faults, naming line and column.
    """
    return _Reader(data).read()


class _Reader:
    """One document on its way to reports."""

    def __init__(self, data: bytes) -> None:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise Invalid(
                [problem("not_utf8", ["body", line], f"Line {line}: the text is not UTF-8")]
            ) from None
        self.rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        self.problems: list[dict[str, Any]] = []
        self.columns: list[str] = []

    def read(self) -> list[IssueReport]:
        reports: list[IssueReport] = []
        try:
            self.columns = self._header()
            for row in self.rows:
                if not row:
                    continue
                if len(reports) >= MAX_IMPORTED:
                    raise TooManyRows
                reports += self._report(row)
                if len(self.problems) >= MAX_PROBLEMS:
                    break
        except csv.Error as error:
            self._fault("csv", self.rows.line_num, None, str(error))
        if self.problems:
            raise Invalid(self.problems)
        return reports

    def _header(self) -> list[str]:
        names = [name.strip() for name in next(self.rows, [])]
        for place, name in enumerate(names, 1):
            if name not in REPORTED and name not in TOLD_ONLY:
                self._fault("unknown_column", 1, place, f"No such column: {name[:64]!r}; known are {_KNOWN}")
            elif name in names[: place - 1]:
                self._fault("duplicate_column", 1, place, f"{name} comes twice")
        for name in REQUIRED:
            if name not in names:
                self._fault("missing_column", 1, None, f"The column {name} is missing")
        if self.problems:
            raise Invalid(self.problems[:MAX_PROBLEMS])
        return names

    def _report(self, row: list[str]) -> list[IssueReport]:
        """Return the row's report in a list, or none and note what is wrong with it."""
        if len(row) != len(self.columns):
            words = f"{len(row)} cells where the header has {len(self.columns)}"
            self._fault("cells", self.rows.line_num, min(len(row), len(self.columns)) + 1, words)
            return []
        values: dict[str, Any] = {"source": IMPORTED}
        before = len(self.problems)
        for place, (name, cell) in enumerate(zip(self.columns, row, strict=True), 1):
            if name in TOLD_ONLY:
                continue
            try:
                value = _VALUES[name](plain(cell))
            except ValueError as error:
                self._fault("value_error", self.rows.line_num, place, str(error))
                continue
            if value != "" or name != "source":
                values[name] = value
        return [IssueReport(**values)] if len(self.problems) == before else []

    def _fault(self, kind: str, line: int, place: int | None, words: str) -> None:
        loc: list[str | int] = ["body", line]
        where = f"Line {line}"
        if place is not None:
            named = self.columns[place - 1] if place <= len(self.columns) else ""
            loc.append(named or place)
            where += f", column {place}" + (f" ({named})" if named else "")
        self.problems.append(problem(kind, loc, f"{where}: {words}"))


def _bounded(limit: int, *, is_needed: bool = False) -> Callable[[str], str]:
    def check(cell: str) -> str:
        if is_needed and not cell:
            raise ValueError("It is empty")
        if len(cell) > limit:
            raise ValueError(f"{len(cell)} characters where {limit} are the most")
        if "\x00" in cell:
            raise ValueError("A NUL character is not text")
        return cell

    return check


def _severity(cell: str) -> str:
    if cell not in (MINOR, MAJOR):
        raise ValueError(f"{MINOR} or {MAJOR}, not {cell[:32]!r}")
    return cell


def _flag(cell: str) -> bool:
    word = cell.strip().lower()
    if word not in _YES and word not in _NO:
        raise ValueError(f"true or false, not {cell[:32]!r}")
    return word in _YES


def _refs(cell: str) -> tuple[str, ...]:
    """Read a JSON list of strings, or lines."""
    if cell.startswith("["):
        try:
            refs = json.loads(cell)
        except (ValueError, RecursionError):
            raise ValueError("It begins as a JSON list and is none") from None
        if not all(isinstance(ref, str) for ref in refs):
            raise ValueError("A list of strings")
    else:
        refs = cell.splitlines()
    if len(refs) > MAX_REFS:
        raise ValueError(f"{len(refs)} pieces of evidence where {MAX_REFS} are the most")
    if any("\x00" in ref for ref in refs):
        raise ValueError("A NUL character is not text")
    return tuple(refs)


_VALUES: Mapping[str, Callable[[str], Any]] = {
    "issue_key": _bounded(MAX_KEY_CHARS, is_needed=True),
    "severity": _severity,
    "category": _bounded(MAX_TOKEN_CHARS, is_needed=True),
    "source": _bounded(MAX_TOKEN_CHARS),
    "task_category": _bounded(MAX_TOKEN_CHARS),
    "complexity": _bounded(MAX_COMPLEXITY_CHARS),
    "expected_fail": _flag,
    "description": _bounded(MAX_CELL_CHARS),
    "evidence_refs": _refs,
}
_KNOWN = ", ".join(REPORTED)
