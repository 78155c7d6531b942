"""A strict, pure, bounded parser of git-format unified diffs.

What it accepts is a subset of what `git apply` accepts: whatever isn't understood is refused with the number
of the line, so that git is never handed bytes which it might read otherwise than the judge did. No prose
before or between the files (git skips such text, and a second diff could hide in it), prefixes `a/` and `b/`
only.
"""

from __future__ import annotations

import re
from typing import NoReturn

from integration.diff_types import DiffLimits, FileChange, Kind
from integration.patch_errors import PatchInvalid, PatchTooLarge

_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(?: .*)?")
_INDEX = re.compile(rb"index ([0-9a-f]{4,64})\.\.([0-9a-f]{4,64})(?: (\d{6}))?")
_MODE = re.compile(rb"(old mode|new mode|deleted file mode|new file mode) (\d{6})")
_PERCENT = re.compile(rb"(?:dis)?similarity index \d{1,3}%")
_BINARY = re.compile(rb"(literal|delta) \d{1,12}")
_BASE85 = re.compile(rb"[A-Za-z][0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]{5,}")
_OCTAL = re.compile(rb"[0-3][0-7]{2}")
_ESCAPES = {
    ord(key): value
    for key, value in {
        "a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92,
    }.items()
}  # fmt: skip
_PLAIN_DIFF = re.compile(rb"(--- |\+\+\+ |@@ |Index: |\*\*\* )")


def parse(patch: bytes, limits: DiffLimits | None = None) -> tuple[FileChange, ...]:
    """Return the files that patch changes, in order; none for a patch of nothing but blank lines.

    Raises PatchTooLarge past a limit and PatchInvalid (with the line) for anything not understood.
    """
    limits = limits or DiffLimits()
    if len(patch) > limits.max_bytes:
        raise PatchTooLarge(
            f"The patch has {len(patch)} bytes, allowed are {limits.max_bytes}", limit=limits.max_bytes
        )
    return _Parser(patch, limits).files()


class _Parser:
    """One pass over the lines. `at` is the index of the line not yet taken."""

    def __init__(self, patch: bytes, limits: DiffLimits) -> None:
        self.lines = patch.split(b"\n")
        if self.lines and self.lines[-1] == b"":
            self.lines.pop()  # what follows the last line end is no line
        self.limits = limits
        self.at = 0
        self.hunks = 0
        for number, text in enumerate(self.lines, start=1):
            if len(text) >= limits.max_line_bytes:
                raise PatchTooLarge(
                    f"Line {number} has more than {limits.max_line_bytes} bytes",
                    line=number,
                    limit=limits.max_line_bytes,
                )

    def fail(self, why: str, line: int | None = None) -> NoReturn:
        number = self.at + 1 if line is None else line
        raise PatchInvalid(f"Line {number}: {why}", line=number)

    def peek(self) -> bytes | None:
        return self.lines[self.at] if self.at < len(self.lines) else None

    def take(self, why: str) -> bytes:
        text = self.peek()
        if text is None:
            self.fail(f"the patch ends where {why} was expected")
        self.at += 1
        return text

    def files(self) -> tuple[FileChange, ...]:
        changes: list[FileChange] = []
        while (text := self.peek()) is not None:
            if not text.startswith(b"diff --git "):
                self.stray(text, is_first=not changes)
                break
            if len(changes) >= self.limits.max_files:
                raise PatchTooLarge(
                    f"The patch changes more than {self.limits.max_files} files", limit=self.limits.max_files
                )
            changes.append(self.file())
        return tuple(changes)

    def stray(self, text: bytes, *, is_first: bool) -> None:
        """Blank lines after the last file are harmless; all else between files is refused."""
        if text.strip() == b"" and all(line.strip() == b"" for line in self.lines[self.at :]):
            self.at = len(self.lines)
            return
        if is_first and _PLAIN_DIFF.match(text):
            self.fail("this is a plain diff; send what `git diff` prints, with its `diff --git` lines")
        if is_first:
            self.fail("expected `diff --git a/... b/...`; text before the diff is not accepted")
        self.fail("expected the next hunk, the next `diff --git` line or the end")

    def file(self) -> FileChange:
        start = self.at + 1
        header = self.take("a file")[len(b"diff --git ") :]
        if header.endswith(b"\r"):
            self.fail("the diff's own lines end in CRLF; keep the line ends that git writes", start)
        names = _Names(self, start, header)
        old_mode = new_mode = index_mode = None
        is_new = is_deleted = has_index = False
        moved: Kind | None = None
        while (text := self.peek()) is not None:
            if match := _MODE.fullmatch(text):
                word, mode = match[1], match[2].decode("ascii")
                if word in (b"old mode", b"deleted file mode"):
                    if old_mode is not None:
                        self.fail("a second old mode")
                    old_mode, is_deleted = mode, word.startswith(b"deleted")
                else:
                    if new_mode is not None:
                        self.fail("a second new mode")
                    new_mode, is_new = mode, word.startswith(b"new file")
            elif text.startswith((b"rename from ", b"copy from ")):
                moved = self.moved(moved, Kind.RENAME if text.startswith(b"rename") else Kind.COPY)
                names.say_old(self.name(text.split(b" from ", 1)[1]))
            elif text.startswith((b"rename to ", b"copy to ")):
                moved = self.moved(moved, Kind.RENAME if text.startswith(b"rename") else Kind.COPY)
                names.say_new(self.name(text.split(b" to ", 1)[1]))
            elif match := _INDEX.fullmatch(text):
                if has_index:
                    self.fail("a second index line")
                has_index = True
                index_mode = match[3].decode("ascii") if match[3] else None
            elif not _PERCENT.fullmatch(text):
                break
            self.at += 1
        if (is_new and (is_deleted or old_mode or moved)) or (is_deleted and (new_mode or moved)):
            self.fail("the header says two things at once", start)
        if (old_mode is None) != (new_mode is None) and not (is_new or is_deleted):
            self.fail("an old mode without a new one, or the reverse", start)
        if index_mode is not None:
            if is_new or is_deleted or (old_mode is not None):
                self.fail("the index line repeats a mode that the header gave", start)
            old_mode = new_mode = index_mode
        is_binary, hunks, added, removed, lines = self.body(names, is_new=is_new, is_deleted=is_deleted)
        old, new = names.settle(is_new=is_new, is_deleted=is_deleted, is_moved=moved is not None)
        if is_new:
            kind = Kind.ADD
        elif is_deleted:
            kind = Kind.DELETE
        elif moved is not None:
            kind = moved
        elif not hunks and not is_binary:
            if old_mode is None or old_mode == new_mode:
                self.fail("a file without any change", start)
            kind = Kind.MODE
        else:
            kind = Kind.MODIFY
        return FileChange(
            old_path=None if is_new else old,
            new_path=None if is_deleted else new,
            kind=kind,
            old_mode=old_mode,
            new_mode=new_mode,
            is_binary=is_binary,
            hunks=hunks,
            added=added,
            removed=removed,
            line=start,
            added_lines=lines,
        )

    def moved(self, before: Kind | None, now: Kind) -> Kind:
        if before not in (None, now):
            self.fail("a rename and a copy at once")
        return now

    def body(
        self, names: _Names, *, is_new: bool, is_deleted: bool
    ) -> tuple[bool, int, int, int, tuple[tuple[int, bytes], ...]]:
        """Take what follows the header: text hunks, a binary patch, or nothing."""
        text = self.peek()
        if text == b"GIT binary patch":
            self.at += 1
            self.binary()
            return True, 0, 0, 0, ()
        if text is not None and text.startswith(b"Binary files "):
            self.fail("a binary change without its data; make the diff with `git diff --binary`")
        if text is None or not text.startswith(b"--- "):
            return False, 0, 0, 0, ()
        self.at += 1
        names.say_side(self.side(text[4:], b"a/"), is_old=True, must_be_null=is_new)
        text = self.take("the `+++` line")
        if not text.startswith(b"+++ "):
            self.fail("expected the `+++` line", self.at)
        names.say_side(self.side(text[4:], b"b/"), is_old=False, must_be_null=is_deleted)
        return (False, *self.text_hunks(is_new=is_new, is_deleted=is_deleted))

    def text_hunks(
        self, *, is_new: bool, is_deleted: bool
    ) -> tuple[int, int, int, tuple[tuple[int, bytes], ...]]:
        hunks = added = removed = 0
        lines: list[tuple[int, bytes]] = []
        old_end = 0
        while (text := self.peek()) is not None and text.startswith(b"@@ "):
            match = _HUNK.fullmatch(text)
            if match is None:
                self.fail("the hunk's header can't be read")
            self.hunks += 1
            if self.hunks > self.limits.max_hunks:
                raise PatchTooLarge(
                    f"The patch has more than {self.limits.max_hunks} hunks", limit=self.limits.max_hunks
                )
            old_start = int(match[1])
            old_left = int(match[2]) if match[2] is not None else 1
            new_left = int(match[4]) if match[4] is not None else 1
            if (is_new and old_left) or (is_deleted and new_left):
                self.fail("a new or deleted file whose hunk keeps old or new lines")
            if old_start < old_end:
                self.fail("the hunks overlap or are out of order")
            old_end = old_start + old_left
            self.at += 1
            before = added + removed
            last = b""
            while old_left or new_left:
                line = self.take(f"{old_left} old and {new_left} new lines more")
                last = line[:1]
                if last in (b" ", b""):  # an empty line is an empty context line, as git reads it
                    old_left, new_left = old_left - 1, new_left - 1
                elif last == b"-":
                    old_left, removed = old_left - 1, removed + 1
                elif last == b"+":
                    new_left, added = new_left - 1, added + 1
                    lines.append((self.at, line[1:]))
                elif not self.is_no_newline(line):
                    self.fail("expected a line of the hunk (space, `-` or `+`)", self.at)
                if old_left < 0 or new_left < 0:
                    self.fail("the hunk has other line counts than its header says", self.at)
            following = self.peek()
            if following is not None and self.is_no_newline(following):
                self.at += 1
            elif following is not None and following[:1] in (b" ", b"+", b"-"):
                self.fail("the hunk has more lines than its header says")
            if added + removed == before:
                self.fail("a hunk without any change", self.at)
            hunks += 1
        if not hunks:
            self.fail("expected a hunk (`@@ -... +... @@`)")
        return hunks, added, removed, tuple(lines)

    @staticmethod
    def is_no_newline(line: bytes) -> bool:
        """Tell git's own note; its wording differs by language, its length and start don't."""
        return line.startswith(b"\\ ") and len(line) >= 12

    def binary(self) -> None:
        """Take one or two base-85 blocks, each ended by an empty line."""
        blocks = 0
        while blocks < 2 and (text := self.peek()) is not None and _BINARY.fullmatch(text):
            self.at += 1
            while (text := self.peek()) is not None and text != b"":
                if not _BASE85.fullmatch(text):
                    self.fail("a line of a binary patch can't be read")
                self.at += 1
            self.take("the empty line that ends a binary block")
            blocks += 1
        if not blocks:
            self.fail("expected `literal N` or `delta N`")

    def side(self, raw: bytes, prefix: bytes) -> bytes | None:
        """Return the name of a `---` or `+++` line without prefix, None for /dev/null."""
        line = self.at
        if raw.endswith(b"\r"):
            self.fail("the diff's own lines end in CRLF; keep the line ends that git writes", line)
        raw = raw.removesuffix(b"\t")  # git closes a name that holds spaces with a tab
        if raw == b"/dev/null":
            return None
        name = self.name(raw, line)
        if not name.startswith(prefix) or len(name) == len(prefix):
            self.fail(f"a name without the prefix {prefix.decode()}", line)
        return name[len(prefix) :]

    def name(self, raw: bytes, line: int | None = None) -> bytes:
        """Return the name that raw, plain or C-quoted, stands for."""
        if not raw.startswith(b'"'):
            if not raw or b"\t" in raw or b"\r" in raw or b"\0" in raw:
                self.fail("an empty name, or one with a control character that git would quote", line)
            return raw
        name, rest = self.unquote(raw, line)
        if rest:
            self.fail("text after a quoted name", line)
        return name

    def unquote(self, raw: bytes, line: int | None) -> tuple[bytes, bytes]:  # noqa: RET503
        """Return the C-quoted name at the start of raw, and what follows it."""
        out = bytearray()
        at = 1
        while at < len(raw):
            byte = raw[at]
            if byte == 0x22:
                if not out:
                    self.fail("an empty name", line)
                return bytes(out), raw[at + 1 :]
            if byte != 0x5C:
                out.append(byte)
                at += 1
                continue
            nxt = raw[at + 1 : at + 2]
            if nxt and nxt[0] in _ESCAPES:
                out.append(_ESCAPES[nxt[0]])
                at += 2
            elif match := _OCTAL.match(raw, at + 1):
                value = int(match[0], 8)
                if value == 0:
                    self.fail("a name with a NUL", line)
                out.append(value)
                at += 4
            else:
                self.fail("a quoted name with an unknown escape", line)
        self.fail("a quoted name without its end", line)


class _Names:
    """The two names of one file, collected from every line that gives one; all must agree."""

    def __init__(self, parser: _Parser, line: int, header: bytes) -> None:
        self.parser = parser
        self.line = line
        self.header = header
        self.old: bytes | None = None
        self.new: bytes | None = None

    def say_old(self, name: bytes) -> None:
        if self.old not in (None, name):
            self.parser.fail("the old name differs from the one above")
        self.old = name

    def say_new(self, name: bytes) -> None:
        if self.new not in (None, name):
            self.parser.fail("the new name differs from the one above")
        self.new = name

    def say_side(self, name: bytes | None, *, is_old: bool, must_be_null: bool) -> None:
        if must_be_null != (name is None):
            self.parser.fail("/dev/null does not fit what the header says", self.parser.at)
        if name is not None:
            (self.say_old if is_old else self.say_new)(name)

    def settle(self, *, is_new: bool, is_deleted: bool, is_moved: bool) -> tuple[str, str]:
        """Return old and new name, checked against the `diff --git` line."""
        old, new = self.old, self.new
        if is_moved:
            if old is None or new is None:
                self.parser.fail("a rename or copy without both names", self.line)
        else:
            old, new = old or new, new or old
            if old is None or new is None:
                old = new = self.from_header()
            if old != new:
                self.parser.fail("old and new name differ without a rename", self.line)
        if not self.fits(old, new):
            self.parser.fail("the `diff --git` line names other files than the lines below it", self.line)
        return old.decode("utf-8", "surrogateescape"), new.decode("utf-8", "surrogateescape")

    def from_header(self) -> bytes:
        """Return the one name that a header without further names gives: `a/NAME b/NAME`."""
        if self.header.startswith(b'"'):
            first, _rest = self.parser.unquote(self.header, self.line)
        else:
            # Both halves are equally long: "a/" NAME " b/" NAME.
            first = self.header[: (len(self.header) - 1) // 2]
        if not first.startswith(b"a/") or len(first) == 2:
            self.parser.fail("expected `diff --git a/... b/...`", self.line)
        return first[2:]

    def fits(self, old: bytes, new: bytes) -> bool:
        """Tell whether the header reads exactly as these two names, each plain or quoted."""
        rest = self.header
        for name, prefix, end in ((old, b"a/", b" "), (new, b"b/", b"")):
            wanted = prefix + name
            if rest.startswith(b'"'):
                found, rest = self.parser.unquote(rest, self.line)
                if found != wanted:
                    return False
            elif rest.startswith(wanted):
                rest = rest[len(wanted) :]
            else:
                return False
            if end and not rest.startswith(end):
                return False
            rest = rest[len(end) :]
        return rest == b""
