"""Which reports are about one defect, whatever their reporters call it. Pure.

A report is known by up to two names: its own key, and where it is together with why (`site` and `cause`). Both are
normalised, so that what differs from run to run (line numbers, ids, hashes, times, temporary folders) makes no new
defect. What a report does not tell matches nothing: two reports without a path are not in the same place.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from issues.evidence import path_in
from issues.messages import normal_message, spaced
from runs.ports import IssueReport
from strategy.rules import canonical_category

MAX_SITE_CHARS = 512
_DIGEST_CHARS = 40
_ANCHOR = re.compile(r"::(?P<anchor>[^\s\[]{1,200})")
# What varies in the path of one file from run to run. A name that begins with a number or a hash and goes on
# (`0012_prices.py`, `9f8e7d6c5b1a_prices.py`, `20240101120000_prices`) is a migration's: two of these are two files.
_NAME = r"(?!(?<![^/])[0-9a-f_-]{1,64}[_-][A-Za-z_.])"
_TOKEN, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_VARIES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), mark)
    for pattern, mark in (
        (rf"{_TOKEN}[0-9a-fA-F]{{8}}(?:-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}{_END}", "<id>"),  # RFC 9562
        # a date alone is a name, as that of a post; with a time of day it is when something ran
        (
            rf"{_TOKEN}{_NAME}\d{{4}}-?\d\d-?\d\d[Tt_-]\d\d[-_.]?\d\d(?:[-_.]?\d\d)?(?:[-_.]\d{{1,9}})?Z?{_END}",
            "<time>",
        ),
        (r"(?<![^/])tmp(?=[a-z_]{0,8}[0-9])[a-z0-9_]{8}(?![^/.])", "<tmp>"),  # Python's mkdtemp
        (r"(?<![^/])(?:tmp|temp)[._-]?\d{1,20}(?![^/.])", "<tmp>"),
        # neither words nor words with a number (`ed25519`, `2024a`) are hashes
        (
            rf"{_TOKEN}{_NAME}(?![a-f]{{1,64}}\d{{1,64}}{_END}|\d{{1,64}}[a-f]{{1,64}}{_END})"
            rf"(?=[0-9a-f]{{0,64}}\d)(?=[0-9a-f]{{0,64}}[a-f])[0-9a-f]{{7,64}}{_END}",
            "<hash>",
        ),
        (rf"{_TOKEN}{_NAME}\d{{9,40}}{_END}", "<n>"),
    )
)


@dataclass(frozen=True, slots=True)
class Names:
    """What a report is known by. `place` is a digest of site and cause, `cause` of the cause alone.

    `site` is for people. What the report does not tell is "".
    """

    key: str
    place: str = ""
    cause: str = ""
    site: str = ""


def names_of(report: IssueReport) -> Names:
    """Return the names of a report that was made storable (`issues.evidence.cleaned`).

    A published category is one in either spelling. What a ruleset maps besides changes with the ruleset, and names
    must not.
    """
    category = canonical_category(_plain(report.category), {})
    message = normal_message(report.description)
    site = site_of(report.evidence_refs)
    cause = _digest("cause", category, message) if message else ""
    place = _digest("place", category, message, site) if cause and site else ""
    return Names(report.issue_key, place, cause, site if place else "")


def site_of(refs: tuple[str, ...]) -> str:
    """Return where the first evidence that names a file lies: its path, and the symbol after `::`; "" for none.

    Lines and columns are left out, and a parametrised test's parameters: they move without the defect. So are
    the hashes, ids, times and long numbers of a path (`build/9f8e7d6c5b/x.py` is `build/<hash>/x.py`).
    """
    for ref in refs:
        path = path_in(ref)
        if path is not None:
            for pattern, mark in _VARIES:
                path = pattern.sub(mark, path)
            anchor = _ANCHOR.search(ref)
            return (path + (f"::{anchor['anchor']}" if anchor else ""))[:MAX_SITE_CHARS]
    return ""


def _plain(text: str) -> str:
    return spaced(text).casefold()


def _digest(*parts: str) -> str:
    """Return a digest of the parts: none can be moved from one into the next."""
    joined = "\x00".join(part.replace("\x00", "") for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "replace")).hexdigest()[:_DIGEST_CHARS]
