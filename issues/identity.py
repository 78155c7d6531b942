"""Which reports are about one defect, whatever their reporters call it. Pure.

A report is known by up to two names: its own key, and where it is together with why (`site` and `cause`). Both are
normalised, so that what differs from run to run (line numbers, ids, hashes, times, temporary folders) makes no new
defect. What a report does not tell matches nothing: two reports without a path are not in the same place.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

from issues.evidence import path_in
from runs.ports import IssueReport

MAX_NORMAL_CHARS = 1000
MAX_SITE_CHARS = 512
_DIGEST_CHARS = 40
_ANCHOR = re.compile(r"::(?P<anchor>[^\s\[]{1,200})")
# In this order: what is cut out first may hold what is looked for later. No pattern can backtrack far: each is one
# run of characters, or ends at a bound.
_VARIES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), mark)
    for pattern, mark in (
        # RFC 3339 and its kin, dates, and times of day
        (r"\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d)?(?:[.,]\d{1,9})?(?:z|[+-]\d\d:?\d\d)?)?", "<time>"),
        (r"\b\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\b", "<time>"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),  # RFC 9562
        (r"\b0x[0-9a-f]{1,32}\b", "<address>"),
        # folders that live for one run, up to the last of their parts
        (r"(?:/private)?/(?:tmp|var/tmp|var/folders|dev/shm)/[^\s'\"`:,;()\[\]]{1,512}/", "<tmp>/"),
        (r"(?:/private)?/(?:tmp|var/tmp|var/folders|dev/shm)/[^\s'\"`:,;()\[\]/]{1,512}", "<tmp>"),
        (r"[a-z]:\\(?:users\\[^\\\s]{1,64}\\appdata\\local\\)?temp\\[^\s'\"`:,;]{1,512}", "<tmp>"),
        (r"\b(?=[0-9a-f]{0,64}[0-9])(?=[0-9a-f]{0,64}[a-f])[0-9a-f]{7,64}\b", "<hash>"),
        (r"\b\d{1,18}(?:\.\d{1,9})?\s?(?:ns|us|µs|μs|ms|s|sec|seconds?|minutes?)\b", "<duration>"),
        # what is left: lines, columns, counts, ports, process ids
        (r"\d{1,40}(?:\.\d{1,40})?", "<n>"),
    )
)
_SPACES = re.compile(r"\s+")


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
    """Return the names of a report that was made storable (`issues.evidence.cleaned`)."""
    category = _plain(report.category)
    message = normal_message(report.description)
    site = site_of(report.evidence_refs)
    cause = _digest("cause", category, message) if message else ""
    place = _digest("place", category, message, site) if cause and site else ""
    return Names(report.issue_key, place, cause, site if place else "")


def site_of(refs: tuple[str, ...]) -> str:
    """Return where the first evidence that names a file lies: its path, and the symbol after `::`; "" for none.

    Lines and columns are left out, and a parametrised test's parameters: they move without the defect.
    """
    for ref in refs:
        path = path_in(ref)
        if path is not None:
            anchor = _ANCHOR.search(ref)
            return (path + (f"::{anchor['anchor']}" if anchor else ""))[:MAX_SITE_CHARS]
    return ""


def normal_message(text: str) -> str:
    """Return a message without what varies from one sighting to the next; "" when nothing is said.

    Compatible characters are one (NFKC), and so are letters of either case and spaces of any kind.
    """
    plain = _plain(text[: 4 * MAX_NORMAL_CHARS])
    for pattern, mark in _VARIES:
        plain = pattern.sub(mark, plain)
    plain = plain[:MAX_NORMAL_CHARS].strip(" .:;,!-")
    return plain if re.search(r"[^\W_]", re.sub(r"<[a-z]+>", "", plain)) else ""


def _plain(text: str) -> str:
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _digest(*parts: str) -> str:
    """Return a digest of the parts: none can be moved from one into the next."""
    joined = "\x00".join(part.replace("\x00", "") for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "replace")).hexdigest()[:_DIGEST_CHARS]
