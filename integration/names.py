"""File names that no patch may use, whatever its scope: one judgement for patches, results and checkouts."""

from __future__ import annotations

import re
import unicodedata

from integration.patch_errors import GitDirectory, HooksPath, PathOutsideRepository, SuspiciousName, printable

MAX_PATH_BYTES = 4096
MAX_COMPONENT_BYTES = 255
MAX_FOLDERS = 100  # above a file; whoever walks a checkout holds a descriptor for each

# Code points that HFS+ skips when it compares names (git's own list, utf8.c).
_HFS_IGNORED = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
    | {f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789¹²³"}
)
_WINDOWS_FORBIDDEN = frozenset('<>:"|?*')
_SHORT_GIT = re.compile(r"(git~\d+|gi[0-9a-f]{4}~\d+)")
_HOOK_FOLDERS = frozenset({"hooks", ".githooks", ".husky", "githooks", "git-hooks", ".git-hooks"})
_HOOK_NAMES = frozenset(
    [
        "applypatch-msg",
        "pre-applypatch",
        "post-applypatch",
        "pre-commit",
        "pre-merge-commit",
        "prepare-commit-msg",
        "commit-msg",
        "post-commit",
        "pre-rebase",
        "post-checkout",
        "post-merge",
        "pre-push",
        "pre-receive",
        "update",
        "proc-receive",
        "post-receive",
        "post-update",
        "reference-transaction",
        "push-to-checkout",
        "pre-auto-gc",
        "post-rewrite",
        "sendemail-validate",
        "fsmonitor-watchman",
        "p4-changelist",
        "p4-prepare-changelist",
        "p4-post-changelist",
        "p4-pre-submit",
        "post-index-change",
    ]
)


def judge_path(path: str, *, allow_hooks: bool = False, allow_unwise: bool = False) -> None:
    """Raise the refusal that path (relative, `/` between components) deserves, if any.

    `allow_unwise` lets names pass that only some systems or programs misread.

    Raises PathOutsideRepository, GitDirectory, HooksPath or SuspiciousName.
    """
    if path.startswith(("/", "~/")) or re.match(r"[A-Za-z]:", path):
        raise PathOutsideRepository(f"{printable(path)} is absolute", path=path)
    components = path.split("/")
    if any(part in ("", ".", "..") for part in components):
        raise PathOutsideRepository(f"{printable(path)} leaves the repository or is ambiguous", path=path)
    # Read as Windows would: a backslash separates too, so `..\x` and `.git\config` get their true name.
    for part in re.split(r"[/\\]", path):
        if part == "..":
            raise PathOutsideRepository(f"{printable(path)} leaves the repository", path=path)
        if is_git_like(part):
            raise GitDirectory(f"{printable(path)} reads as a git directory on some file system", path=path)
    for part in components:
        if why := _unsafe(part) or ("" if allow_unwise else _unwise(part)):
            raise SuspiciousName(f"{printable(path)}: {why}", path=path)
    if len(path.encode("utf-8")) > MAX_PATH_BYTES:
        raise SuspiciousName(f"A path has more than {MAX_PATH_BYTES} bytes", path=path)
    if len(components) > MAX_FOLDERS + 1:
        raise SuspiciousName(f"A file lies more than {MAX_FOLDERS} folders deep", path=path)
    if not allow_hooks and is_hook(components):
        raise HooksPath(f"{printable(path)} would run as a hook", path=path)


def is_git_like(part: str) -> bool:
    """Tell whether one component is `.git`, or becomes it on HFS+, NTFS or a folding file system."""
    if part.isascii() and part[:1] not in (".", "g", "G"):
        return False
    bare = unicodedata.normalize("NFKC", part.translate(_HFS_IGNORED)).casefold()
    bare = bare.translate(_HFS_IGNORED)
    stem = bare.split(":", 1)[0].rstrip(". ")  # alternate data streams; trailing dots and spaces
    return stem == ".git" or _SHORT_GIT.fullmatch(stem) is not None


def is_hook(components: list[str]) -> bool:
    """Tell whether a path is a hook script, or lies where hook managers keep theirs."""
    *folders, name = [part.casefold() for part in components]
    if any(part in (".husky", ".githooks", ".git-hooks") for part in folders):
        return True
    return bool(folders) and folders[-1] in _HOOK_FOLDERS and name.removesuffix(".sample") in _HOOK_NAMES


def _unsafe(part: str) -> str:
    """Return why one component can't even be carried, or nothing."""
    if any("\ud800" <= sign <= "\udfff" for sign in part):
        return "not valid UTF-8"
    if len(part.encode("utf-8")) > MAX_COMPONENT_BYTES:
        return f"a component has more than {MAX_COMPONENT_BYTES} bytes"
    return ""


def _unwise(part: str) -> str:
    """Return which programs or systems misread one component, or nothing."""
    if part.startswith("-"):
        return "a name that programs read as an option"
    if "\\" in part:
        return "a backslash separates folders on Windows"
    if any(unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp", "Co") for sign in part):
        return "control or invisible characters"
    if part[-1] in ". " or part[0] == " ":
        return "spaces at an end, or a dot at the end, are lost on some systems"
    if any(sign in _WINDOWS_FORBIDDEN for sign in part):
        return "a character that Windows does not allow"
    if unicodedata.normalize("NFKC", part).casefold().split(".", 1)[0].rstrip(" ") in _DEVICES:
        return "a device of Windows"
    return ""
