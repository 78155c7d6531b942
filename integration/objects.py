"""Git objects made without a process: names, commits, loose objects of a quarantine."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_SHA = re.compile(r"[0-9a-f]{40}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
# What a reader may take for one of our trailers, or for the end of the message (`---`), inside a text.
_FORGED = re.compile(r"^(\s*)(autopack-|signed-off-by|co-authored-by|reviewed-by|---)", re.IGNORECASE)
MAX_MESSAGE_CHARS = 32_000
MAX_TRAILER_CHARS = 1_000


@dataclass(frozen=True)
class Identity:
    """Who a commit is by. Signs that would break the commit's header are dropped."""

    name: str
    email: str

    def line(self, at: datetime) -> str:
        """Return `NAME <EMAIL> SECONDS +0000` as git writes it."""
        # Git strips these at both ends of a name; an empty name is refused by fsck.
        name = one_line(re.sub(r"[<>]", "", self.name)).strip(" .,:;'\"\\") or "unknown"
        email = re.sub(r"[<>\s]", "", one_line(self.email)) or "unknown@localhost"
        return f"{name} <{email}> {int(at.astimezone(UTC).timestamp())} +0000"


def is_sha(value: str) -> bool:
    """Tell a full object name: 40 lower-case hexadecimal digits."""
    return _SHA.fullmatch(value) is not None


def commit_bytes(
    *,
    tree: str,
    parents: Sequence[str],
    author: Identity,
    committer: Identity,
    at: datetime,
    message: str,
    trailers: Sequence[tuple[str, str]],
) -> bytes:
    """Return the content of a commit object. The same arguments give the same bytes.

    `at` is aware. Raises ValueError for a naive time, a trailer's key that isn't one, or a bad object name.
    """
    if at.tzinfo is None:
        raise ValueError("the time of a commit needs a time zone")
    if not all(is_sha(name) for name in (tree, *parents)):
        raise ValueError("a commit names its tree and parents in full")
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    lines += [f"author {author.line(at)}", f"committer {committer.line(at)}", ""]
    return ("\n".join(lines) + "\n" + full_message(message, trailers)).encode("utf-8", "replace")


def full_message(message: str, trailers: Sequence[tuple[str, str]]) -> str:
    """Return message and trailers so that no text in either can pass for a trailer of its own.

    The trailers are one last paragraph, one line each. A line of the message that reads like one of
    Autopack's or like a signature, or that would end the message for a mail reader, is quoted with `> `.
    """
    for key, _value in trailers:
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"not a trailer's key: {key!r}")
    text = "".join(sign for sign in message[:MAX_MESSAGE_CHARS] if sign in "\n\t" or _shown(sign))
    lines = [_FORGED.sub(r"> \1\2", line.rstrip()) for line in text.strip().split("\n")]
    body = "\n".join(lines).strip() or "Change"
    block = "\n".join(f"{key}: {one_line(value)[:MAX_TRAILER_CHARS]}" for key, value in trailers)
    return f"{body}\n\n{block}\n" if block else f"{body}\n"


def one_line(text: str) -> str:
    """Return text on one line: every line break and control character becomes a space."""
    return " ".join("".join(sign if _shown(sign) else " " for sign in text).split())


def write(objects: Path, kind: str, content: bytes) -> str:
    """Write one loose object below `objects`, a quarantine's folder; return its name. Raises OSError."""
    name = name_of(kind, content)
    folder = objects / name[:2]
    with suppress(FileExistsError):
        folder.mkdir()
    packed = zlib.compress(b"%s %d\0" % (kind.encode(), len(content)) + content, 1)
    with suppress(FileExistsError):  # the same content gives the same file
        descriptor = os.open(folder / name[2:], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(packed)
    return name


def name_of(kind: str, content: bytes) -> str:
    """Return the name that git gives to an object."""
    header = b"%s %d\0" % (kind.encode(), len(content))
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _shown(sign: str) -> bool:
    return sign.isprintable() and not "\ud800" <= sign <= "\udfff"
