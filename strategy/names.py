"""What path globs and branch names may look like: rules that plans, configurations and rulesets share.

Each function returns what is wrong as a phrase, or None: callers know where the text stands.
"""

from __future__ import annotations

import re

MAX_GLOB_CHARS = 512
MAX_BRANCH_CHARS = 200
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]*")
_BRANCH_PATTERN = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9._/+*-]*")


def glob_problem(glob: str) -> str | None:
    """Return what forbids the path glob: it must be relative, within the repository, and not git's own."""
    if not glob or len(glob) > MAX_GLOB_CHARS:
        return f"a path glob has 1 to {MAX_GLOB_CHARS} characters"
    if not glob.isprintable():
        return "a path glob holds printable characters only"
    if glob != glob.strip():
        return "a path glob does not begin or end with a blank"
    if "\\" in glob:
        return "a path glob has no backslash: folders are parted by '/'"
    if glob.startswith("/"):
        return "a path glob is relative to the repository: it can't start with '/'"
    parts = glob.removesuffix("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "a path glob has no empty part, no '.' and no '..'"
    if any(part.casefold() == ".git" for part in parts):
        return "a path glob can't name git's own folder"
    if glob.count("**") > 4:
        return "a path glob has at most four '**'"
    return None


def branch_problem(name: str, *, pattern: bool = False) -> str | None:
    """Return what forbids the branch name; with `pattern`, `*` stands for any characters."""
    accepted = _BRANCH_PATTERN if pattern else _BRANCH
    parts = name.split("/")
    if (
        len(name) > MAX_BRANCH_CHARS
        or not accepted.fullmatch(name)
        or ".." in name
        or any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    ):
        return "not a branch name that git accepts"
    if name == "HEAD" or name.startswith("refs/"):
        return "a branch is named without refs/, and is not HEAD"
    return None
