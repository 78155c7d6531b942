"""Judge a patch by Autopack's own rules, before git is asked, and the tree that git made of it afterwards."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from autopack_site.kernel.globs import covered, folded
from integration.diff_types import DiffLimits, FileChange, Kind
from integration.diffs import parse
from integration.names import judge_path
from integration.patch_errors import (
    BinaryChange,
    CaseCollision,
    ConflictMarkers,
    FileMode,
    GitattributesChange,
    PatchEmpty,
    PatchInvalid,
    PatchTooLarge,
    PathOutOfScope,
    ProtectedPath,
    SecretFound,
    SubmoduleChange,
    SymlinkChange,
    printable,
)
from integration.secret_shapes import kind_of_secret

#: What governs the gate or Autopack itself. Compared case-folded; a pattern covers what is below it.
DEFAULT_PROTECTED: tuple[str, ...] = (
    ".github/**", ".gitlab-ci.yml", ".gitlab-ci.yaml", ".gitlab/**", ".gitea/**", ".forgejo/**",
    ".circleci/**", ".buildkite/**", ".woodpecker/**", ".woodpecker.yml", ".woodpecker.yaml", ".drone.yml",
    ".travis.yml", ".ci/**", ".teamcity/**", "Jenkinsfile", "azure-pipelines.yml", "azure-pipelines.yaml",
    "bitbucket-pipelines.yml", "appveyor.yml", ".appveyor.yml", ".cirrus.yml", ".zuul.yaml", "zuul.yaml",
    "cloudbuild.yaml", "CODEOWNERS", "docs/CODEOWNERS", ".pre-commit-config.yaml", "**/.lfsconfig",
    "**/autopack.yaml", "**/autopack.yml", "**/project_ruleset_*.json", ".autonomous_runs/**",
)  # fmt: skip

NO_FILE = "000000"
_NAMING = frozenset({Kind.ADD, Kind.RENAME, Kind.COPY})
_MARKER = re.compile(rb"(?:<{7}|>{7}|\|{7})(?: .*)?\r?")


@dataclass(frozen=True)
class PatchRules:
    """What one patch may do. Globs are those of `kernel.globs`.

    An empty `scope` is the whole repository; `max_lines` counts added and removed lines, None being no limit.
    `protected_paths` are refused unless `allowed_protected` covers them too; both are compared case-folded. Sizes
    are bytes.
    """

    scope: tuple[str, ...] = ()
    protected_paths: tuple[str, ...] = DEFAULT_PROTECTED
    allowed_protected: tuple[str, ...] = ()
    max_bytes: int = 5 * 1024 * 1024
    max_files: int = 500
    max_hunks: int = 20_000
    max_line_bytes: int = 256 * 1024
    max_lines: int | None = None
    allow_binary: bool = False
    allow_symlinks: bool = False
    allow_submodules: bool = False
    allow_executable: bool = True
    allow_hooks: bool = False
    allow_gitattributes: bool = False
    allow_secrets: bool = False
    allow_conflict_markers: bool = False


@dataclass(frozen=True)
class ParsedPatch:
    """A patch that passed the judge. `content` is what git is given: the bytes sent, closed by a line end."""

    content: bytes
    files: tuple[FileChange, ...]
    sha256: str

    @property
    def paths(self) -> tuple[str, ...]:
        """Return every old and new name, sorted."""
        return tuple(sorted({path for change in self.files for path in change.paths}))

    @property
    def added(self) -> int:
        """Return the number of added lines."""
        return sum(change.added for change in self.files)

    @property
    def removed(self) -> int:
        """Return the number of removed lines."""
        return sum(change.removed for change in self.files)


@dataclass(frozen=True)
class TreeChange:
    """One row of `git diff-tree --raw`: modes are six digits, `000000` where there is no file."""

    path: str
    old_mode: str
    new_mode: str
    status: str


def judge(patch: bytes, rules: PatchRules) -> ParsedPatch:
    """Return the patch, parsed, when every rule allows it. Pure; no git, no file.

    Raises a subclass of PatchRefused: the first reason found, in the order of the patch.
    """
    limits = DiffLimits(rules.max_bytes, rules.max_files, rules.max_hunks, rules.max_line_bytes)
    files = parse(patch, limits)
    if not files:
        raise PatchEmpty
    lines = sum(change.added + change.removed for change in files)
    if rules.max_lines is not None and lines > rules.max_lines:
        raise PatchTooLarge(f"The patch changes {lines} lines; the phase allows {rules.max_lines}")
    for change in files:
        for path in change.paths:
            judge_name(path, rules, is_new=path == change.new_path and change.kind in _NAMING)
        for mode in (change.old_mode, change.new_mode):
            judge_mode(mode, change.new_path or change.old_path or "", rules, line=change.line)
        if change.is_binary and not rules.allow_binary:
            name = change.paths[0]
            raise BinaryChange(f"{printable(name)} is binary", path=name, line=change.line)
        _judge_lines(change, rules)
    _judge_pairs(files)
    _judge_beyond(files)
    content = patch if patch.endswith(b"\n") else patch + b"\n"
    return ParsedPatch(content, files, hashlib.sha256(patch).hexdigest())


def judge_name(path: str, rules: PatchRules, *, is_new: bool) -> None:
    """Raise the refusal for touching path under these rules, if there is one.

    A name that the base already has (`is_new` false) may be unwise, such as `aux.c`, but not unsafe.
    """
    judge_path(path, allow_hooks=rules.allow_hooks, allow_unwise=not is_new)
    last = folded(path).rsplit("/", 1)[-1]
    if last == ".gitmodules" and not rules.allow_submodules:
        raise SubmoduleChange(f"{printable(path)} declares submodules", path=path)
    if last == ".gitattributes" and not rules.allow_gitattributes:
        raise GitattributesChange(f"{printable(path)} may switch on filters", path=path)
    if covered(path, rules.protected_paths, fold=True) and not covered(
        path, rules.allowed_protected, fold=True
    ):
        raise ProtectedPath(f"{printable(path)} is protected", path=path)
    if rules.scope and not covered(path, rules.scope):
        raise PathOutOfScope(f"{printable(path)} is outside the scope of this phase", path=path)


def judge_mode(mode: str | None, path: str, rules: PatchRules, *, line: int | None = None) -> None:
    """Raise the refusal for a file of this mode, if there is one. None and `000000` are no file."""
    if mode in (None, NO_FILE, "100644"):
        return
    if mode == "100755":
        if not rules.allow_executable:
            raise FileMode(f"{printable(path)} is executable", path=path, line=line, mode=mode)
        return
    if mode == "120000":
        if not rules.allow_symlinks:
            raise SymlinkChange(f"{printable(path)} is a symbolic link", path=path, line=line)
        return
    if mode == "160000":
        if not rules.allow_submodules:
            raise SubmoduleChange(f"{printable(path)} is a submodule", path=path, line=line)
        return
    raise FileMode(f"{printable(path)} has the mode {mode}", path=path, line=line, mode=mode)


def judge_tree_changes(changes: Sequence[TreeChange], rules: PatchRules) -> None:
    """Judge the result that git made: names, modes and scope of everything that differs from the base."""
    if not changes:
        raise PatchEmpty
    for change in changes:
        judge_name(change.path, rules, is_new=change.old_mode == NO_FILE)
        judge_mode(change.old_mode, change.path, rules)
        judge_mode(change.new_mode, change.path, rules)


def _judge_lines(change: FileChange, rules: PatchRules) -> None:
    name = change.new_path or change.old_path or ""
    for line, text in change.added_lines:
        if not rules.allow_conflict_markers and _MARKER.fullmatch(text):
            raise ConflictMarkers(f"{printable(name)} holds a conflict marker", path=name, line=line)
        if not rules.allow_secrets and (kind := kind_of_secret(text)):
            why = f"{printable(name)} holds what looks like a secret ({kind})"
            raise SecretFound(why, path=name, line=line)


def parents_of(path: str) -> list[str]:
    """Return the folders that path lies in, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def vacated(files: Sequence[FileChange]) -> set[str]:
    """Return the names that a patch takes away: whatever was there is in nobody's way any more."""
    kept = {change.new_path for change in files}
    return {
        change.old_path
        for change in files
        if change.old_path is not None and change.kind != Kind.COPY and change.old_path not in kept
    }


def judge_base_links(links: Collection[str], parsed: ParsedPatch) -> None:
    """Refuse a patch that reaches through a symbolic link of its base. `links` are names of the base's links.

    A link that the patch takes away is none any more; whether it may is judged by its mode.
    """
    in_the_way = set(links) - vacated(parsed.files)
    for change in parsed.files:
        for path in change.paths:
            link = next((parent for parent in parents_of(path) if parent in in_the_way), None)
            if link is not None:
                why = f"{printable(path)} lies beyond the symbolic link {printable(link)}"
                raise SymlinkChange(why, path=path, line=change.line)


def _judge_beyond(files: tuple[FileChange, ...]) -> None:
    """Refuse a name below another one that the patch itself makes a file or a link, as CVE-2023-23946 did."""
    made = {change.new_path: change for change in files if change.new_path is not None}
    for change in files:
        if change.new_path is None:
            continue
        for parent in parents_of(change.new_path):
            above = made.get(parent)
            if above is None:
                continue
            mode = above.new_mode or above.old_mode
            why = f"{printable(change.new_path)} lies below {printable(parent)}, which the patch makes a file"
            # Without a mode (a pure rename or copy) it may be a link: the patch need not say so.
            if mode == "120000" or (mode is None and above.kind != Kind.ADD):
                raise SymlinkChange(f"{why} or a link", path=change.new_path, line=change.line)
            raise PatchInvalid(why, path=change.new_path, line=change.line)


def _judge_pairs(files: tuple[FileChange, ...]) -> None:
    """Refuse two changes of one name, and names that collide with each other."""
    seen: dict[str, str] = {}
    taken: set[str] = set()
    for change in files:
        if change.new_path is None:
            continue
        form = folded(change.new_path)
        other = seen.setdefault(form, change.new_path)
        if other != change.new_path:
            raise CaseCollision(
                f"{printable(change.new_path)} and {printable(other)} are one name on some file systems",
                path=change.new_path,
            )
        if form in taken:
            raise PatchInvalid(
                f"{printable(change.new_path)} is changed twice", path=change.new_path, line=change.line
            )
        taken.add(form)
