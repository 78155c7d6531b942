"""What a report says without what varies from one sighting to the next. Pure.

Numbers vary: lines, counts, ids, addresses. But some name what is wrong: CVE-2024-1234 is not CVE-2023-99, E501 not
E302, HTTP 404 not HTTP 500. Those are kept as they are, everything else loses its numbers.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NORMAL_CHARS = 1000
# What may hold a code in its middle, and is none. In this order: what is cut out first may hold what is looked for
# later. No pattern can backtrack far: each is one run of characters, or ends at a bound.
_WHOLE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), mark)
    for pattern, mark in (
        # RFC 3339 and its kin, dates, and times of day
        (r"\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d)?(?:[.,]\d{1,9})?(?:z|[+-]\d\d:?\d\d)?)?", "<time>"),
        (r"\b\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\b", "<time>"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),  # RFC 9562
        (r"\b0x[0-9a-f]{1,32}\b", "<address>"),
        (r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.]*\d)", "<address>"),
        # folders that live for one run, up to the last of their parts
        (r"(?:/private)?/(?:tmp|var/tmp|var/folders|dev/shm)/[^\s'\"`:,;()\[\]]{1,512}/", "<tmp>/"),
        (r"(?:/private)?/(?:tmp|var/tmp|var/folders|dev/shm)/[^\s'\"`:,;()\[\]/]{1,512}", "<tmp>"),
        (r"[a-z]:\\(?:users\\[^\\\s]{1,64}\\appdata\\local\\)?temp\\[^\s'\"`:,;]{1,512}", "<tmp>"),
    )
)
# What names something by its number. `known` are the same in either case, `code` only in capitals: `user-123` is an
# id. `status` is a number after a word that says what it is; `version` has three parts, which no count has.
_NAMING = re.compile(
    r"""
    (?P<known> (?<![A-Za-z0-9]) (?:
        (?i:ghsa(?:-[0-9a-z]{4}){3})
      | (?i:(?:cve|cwe|rfc|pep|iso|pysec|rustsec|osv)[-\ ]?\d{1,8}(?:[-_]\d{1,8}){0,2})
      | (?i:(?:sha|md|utf|ipv|base|u?int|float|python|tlsv?|sslv?)[-_]?\d{1,4}(?:\.\d{1,4})?)
    ) (?![A-Za-z0-9]) )
  | (?P<code> (?<![A-Za-z0-9])
        (?!(?:L|LINES?|COL|ROW|PORT|PID|TID|THREAD|WORKER|PROCESS|TASK|JOB|RUN|BUILD|ID|USER|ORDER)[-_]?\d)
        [A-Z]{1,12}(?:[-_][A-Z]{1,16}){0,4}[-_]?\d{1,8}(?:[-_]\d{1,8}){0,3}
    (?![A-Za-z0-9]) )
  | (?P<status> (?<![A-Za-z0-9]) (?i:
        https?(?:/\d(?:\.\d)?)?[\s:=(]{1,3}[1-5]\d\d
      | (?:(?:(?:status|exit|return|response|error)[\s_-]?)?code|status|exit[\s_-]status|errno|winerror|signal)
        (?:\s(?:is|was|of))?[\s:=(\[#"']{1,3}-?\d{1,5}
      | error\s\d{3,5}
      | exit(?:ed)?(?:\swith)?\s-?\d{1,3}(?!\s?[a-z])
      | sqlstate[\s:=(\[]{1,3}[0-9a-z]{5}
    ) (?![A-Za-z0-9]) )
  | (?P<version> (?<![\w.]) v?\d{1,4}\.\d{1,4}\.\d{1,6}(?:[-.]?(?:a|b|rc|alpha|beta|dev|post)[.]?\d{0,6})?
    (?![A-Za-z0-9])(?!\.\d) )
  | (?P<dotted> (?<![A-Za-z0-9]) (?i:versions?\s)v?\d{1,4}\.\d{1,4} (?![A-Za-z0-9])(?!\.\d) )
    """,
    re.VERBOSE,
)
_VARIES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), mark)
    for pattern, mark in (
        (r"\b(?=[0-9a-f]{0,64}[0-9])(?=[0-9a-f]{0,64}[a-f])[0-9a-f]{7,64}\b", "<hash>"),
        (r"\b\d{1,18}(?:\.\d{1,9})?\s?(?:ns|us|µs|μs|ms|s|sec|seconds?|minutes?)\b", "<duration>"),
        # what is left: lines, columns, counts, ports, process ids
        (r"\d{1,40}(?:\.\d{1,40})?", "<n>"),
    )
)
_SPACES = re.compile(r"\s+")


def normal_message(text: str) -> str:
    """Return a message without what varies from one sighting to the next; "" when nothing is said.

    Compatible characters are one (NFKC), and so are letters of either case (but for codes) and spaces of any kind.
    """
    # clipped twice: made compatible, one character may become eighteen
    plain = spaced(text[: 4 * MAX_NORMAL_CHARS])[: 4 * MAX_NORMAL_CHARS]
    for pattern, mark in _WHOLE:
        plain = pattern.sub(mark, plain)
    parts, at = [], 0
    for found in _NAMING.finditer(plain):
        parts += [_without_numbers(plain[at : found.start()]), _named(found)]
        at = found.end()
    plain = "".join([*parts, _without_numbers(plain[at:])])[:MAX_NORMAL_CHARS].strip(" .:;,!-")
    return plain if re.search(r"[^\W_]", re.sub(r"<[a-z]+>", "", plain)) else ""


def spaced(text: str) -> str:
    """Return text with compatible characters made one, and each run of spaces one space."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip()


def _named(found: re.Match[str]) -> str:
    if found.lastgroup == "known":
        return found[0].upper().replace(" ", "-")
    return found[0] if found.lastgroup == "code" else found[0].casefold()


def _without_numbers(text: str) -> str:
    text = text.casefold()
    for pattern, mark in _VARIES:
        text = pattern.sub(mark, text)
    return text
