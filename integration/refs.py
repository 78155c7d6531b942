"""Names of refs: which ones Autopack has, and which ones it may ever write (SPEC section 1)."""

from __future__ import annotations

import re

from autopack_site.kernel.ids import is_valid_id
from integration.git_errors import ProtectedBranch, UnknownRevision
from integration.objects import is_sha

BRANCHES = "refs/heads/autonomous/"
TAGS = "refs/tags/autopack/"
PROJECT = "refs/remotes/project/"
OWN = "refs/autopack/"


def candidate_ref(run_id: str, phase_id: str, attempt: int) -> str:
    """Return the ref that keeps a candidate. Raises ProtectedBranch for ids that aren't ids."""
    if attempt < 0:
        raise ProtectedBranch(f"Not an attempt: {attempt}")
    return checked(f"{OWN}candidates/", f"{_id(run_id)}/{_id(phase_id)}/{attempt}")


def branch_ref(run_id: str) -> str:
    """Return `refs/heads/autonomous/<run>`. Raises ProtectedBranch for an id that isn't one."""
    return BRANCHES + _id(run_id)


def tag_ref(*parts: str) -> str:
    """Return `refs/tags/autopack/<part>/...`. Raises ProtectedBranch for parts that aren't ids."""
    return TAGS + "/".join(_id(part) for part in parts)


def pushable(ref: str) -> None:
    """Raise ProtectedBranch unless ref is one that Autopack may write in a project's repository."""
    if ref.startswith(BRANCHES) and is_valid_id(ref[len(BRANCHES) :]):
        return
    parts = ref[len(TAGS) :].split("/") if ref.startswith(TAGS) else []
    if parts and len(parts) <= 4 and all(is_valid_id(part) for part in parts):
        return
    raise ProtectedBranch(f"{ref[:200]!r} is not a branch of a run or a snapshot tag", ref=ref[:200])


def writable(ref: str) -> None:
    """Raise ProtectedBranch unless ref is one that Autopack may write in its mirror."""
    parts = ref[len(OWN) :].split("/") if ref.startswith(OWN) else []
    if not (parts and all(is_valid_id(part) for part in parts)):
        pushable(ref)


def _id(value: str) -> str:
    if not is_valid_id(value):
        raise ProtectedBranch(f"Not an id: {value[:200]!r}")
    return value


def checked(prefix: str, name: str) -> str:
    """Return the ref; the rule is that of `git check-ref-format`, narrowed."""
    if (
        not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/+@=,#-]{0,199}", name)
        or re.search(r"\.\.|//|/\.|@\{|\.lock(/|$)", name)
        or name.endswith(("/", "."))
    ):
        raise ProtectedBranch(f"Not a branch name: {name[:200]!r}")
    return prefix + name


def full_sha(value: str) -> str:
    if not is_sha(value):
        raise UnknownRevision(f"Not a full commit name: {value[:200]!r}")
    return value
