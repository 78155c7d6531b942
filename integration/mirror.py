"""Autopack's own bare repository of a project. No agent can write it; every ref in it is Autopack's."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autopack_site.kernel.errors import AutopackError
from integration import git
from integration.checkouts import RAW_ATTRIBUTES, Checkout, write_checkout
from integration.git import ZERO, Completed, Place
from integration.git_errors import (
    GitFailed,
    GitTimedOut,
    ProtectedBranch,
    PushRejected,
    RefMoved,
    SourceUnavailable,
    UnknownRevision,
)
from integration.indexes import Indexes
from integration.locks import held
from integration.objects import is_sha
from integration.quarantine import Quarantine, quarantine
from integration.refs import PROJECT, candidate_ref, checked, full_sha, pushable, writable
from integration.source_errors import fetch_error, push_error, source_error
from integration.sources import Source
from integration.storage import set_stub_aside

_FOLDERS = ("refs/heads", "refs/tags", "info", "autopack/quarantine", "autopack/index")
_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tlogAllRefUpdates = true
[gc]
\tauto = 0
[transfer]
\tfsckObjects = true
"""
#: Loose objects beyond this number make git slow (the default of its `gc.auto`).
MANY_LOOSE = 6700
_NO_WAIT = ("core.filesRefLockTimeout=0", "core.packedRefsTimeout=0")
# Harmless warts of old histories that servers accepted for years; all else that fsck calls an error is one.
_OLD_WARTS = tuple(
    f"fetch.fsck.{name}=ignore"
    for name in (
        "badTimezone", "zeroPaddedFilemode", "missingSpaceBeforeDate", "missingSpaceBeforeEmail",
        "missingNameBeforeEmail", "missingEmail", "badDateOverflow", "missingTaggerEntry",
    )
)  # fmt: skip


@dataclass(frozen=True)
class CommitInfo:
    """One commit as people read it. Times are UTC."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author_name: str
    author_email: str
    committed_at: datetime
    subject: str
    message: str


class Mirror:
    """The bare repository at `path`. Cheap to make; holds nothing open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = Place(git_dir=path)
        self.indexes = Indexes(path)

    def git(
        self, *args: str, ok: Sequence[int] = (0,), stdin: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        """Run one hardened git call on this mirror."""
        return git.run(*args, place=self.place, ok=ok, stdin=stdin, timeout_s=timeout_s)

    # -- making and filling -------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Tell whether the mirror has been made: `create` renames it into place whole."""
        return (self.path / "HEAD").is_file()

    def create(self) -> bool:
        """Make the mirror unless it is there; tell whether it was made now. Processes may race for it.

        A stub in its place (see `set_stub_aside`) makes way. Raises StorageFailed when more than a stub is there,
        OSError, GitTimedOut.
        """
        if self.exists():
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with held(self._beside("create"), timeout_s=30):
            if self.exists():
                return False
            for leftover in self.path.parent.glob(
                f".{self.path.name}.*/"
            ):  # of one killed while it made this
                shutil.rmtree(leftover, ignore_errors=True)
            staged = Path(tempfile.mkdtemp(dir=self.path.parent, prefix=f".{self.path.name}."))
            try:
                # All folders of loose objects are made now, so that a candidate's objects are only renamed.
                fan_out = [f"objects/{number:02x}" for number in range(256)]
                for folder in (*fan_out, "objects/info", "objects/pack", *_FOLDERS):
                    (staged / folder).mkdir(parents=True)
                (staged / "config").write_text(_CONFIG)
                (staged / "info" / "attributes").write_text(RAW_ATTRIBUTES)
                # HEAD names no branch that is ever written, so nothing counts as checked out.
                (staged / "HEAD").write_text("ref: refs/heads/autopack-none\n")
                set_stub_aside(self.path, staged)
                staged.rename(self.path)
            except BaseException:
                shutil.rmtree(staged, ignore_errors=True)
                raise
        return True

    def fetch(self, source: str | Path, branch: str, *, timeout_s: float = 600.0) -> str:
        """Take over `branch` of the project's repository; return its commit.

        The ref is `refs/remotes/project/<branch>`, moved even when the project rewrote its history. Objects
        pass git's checks before anything refers to them. Raises SourceUnavailable, SourceUnsound,
        SourceRefused, UnknownRevision when there is no such branch.
        """
        ref = checked(PROJECT, branch)
        there = Source.of(source)
        with held(self.path / "autopack" / "fetch.lock", timeout_s=timeout_s) as lock:
            try:
                git.run(
                    "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance",
                    *there.serving("upload-pack"), "--", there.address, f"refs/heads/{branch}",
                    place=self.place, protocols=(there.protocol,), config=_OLD_WARTS,
                    timeout_s=timeout_s, extra_env=there.env(), pass_fds=(lock,),
                )  # fmt: skip
            except GitFailed as error:
                raise fetch_error(error, there, branch) from error
            sha = (self.path / "FETCH_HEAD").read_text().split("\t", 1)[0]
        if not is_sha(sha):
            raise SourceUnavailable(f"{there.shown} answered without a commit")
        self._write_ref(ref, sha, None)
        return sha

    def quarantine(self) -> AbstractContextManager[Quarantine]:
        """Open a quarantine for new objects (a context manager)."""
        return quarantine(self.path)

    def read_index(self, commit: str, aside: Quarantine) -> None:
        """Give the quarantine the index of commit, a full name. Raises UnknownRevision."""
        if self.indexes.take(full_sha(commit), aside.index):
            return
        try:
            git.run("read-tree", "--end-of-options", f"{commit}^{{tree}}", place=aside.place)
        except GitTimedOut:
            raise
        except GitFailed:
            self.resolve(commit)  # tells an absent commit by its own error
            raise
        self.indexes.keep(commit, aside.index)

    # -- reading ------------------------------------------------------------------------------------------

    def resolve(self, name: str) -> str:
        """Return the full name of the commit that name (a ref, a full or short sha) stands for.

        Raises UnknownRevision.
        """
        if not name or name.startswith("-") or re.search(r"[\s:^~@{\\\x00-\x1f]", name):
            raise UnknownRevision(f"Not a revision: {name[:200]!r}")
        wanted = f"{name}^{{commit}}"
        done = self.git("rev-parse", "--verify", "--quiet", "--end-of-options", wanted, ok=(0, 1, 128))
        if done.status or not is_sha(done.text):
            raise UnknownRevision(f"No commit answers to {name[:200]}")
        return done.text

    def read_ref(self, ref: str) -> str | None:
        """Return what a full ref name points at, None when it doesn't exist."""
        done = self.git("rev-parse", "--verify", "--quiet", "--end-of-options", ref, ok=(0, 1, 128))
        return done.text if done.status == 0 and is_sha(done.text) else None

    def refs(self, prefix: str) -> dict[str, str]:
        """Return every ref below prefix and what it points at."""
        done = self.git("for-each-ref", "--format=%(refname) %(objectname)", "--", prefix)
        rows = (line.partition(" ") for line in done.text.splitlines())
        return {name: value for name, _, value in rows}

    def is_ancestor(self, old: str, new: str) -> bool:
        """Tell whether commit old is new or comes before it. Raises UnknownRevision for absent commits."""
        done = self.git("merge-base", "--is-ancestor", full_sha(old), full_sha(new), ok=(0, 1, 128))
        if done.status == 128:
            raise UnknownRevision(f"No such commit: {old} or {new}")
        return done.status == 0

    def commit_info(self, sha: str) -> CommitInfo:
        """Return one commit. Raises UnknownRevision."""
        shape = "%H%x00%T%x00%P%x00%an%x00%ae%x00%ct%x00%s%x00%B"
        done = self.git("log", "-1", "--no-decorate", "--no-show-signature", f"--format=tformat:{shape}",
                        "--end-of-options", full_sha(sha), "--", ok=(0, 128))  # fmt: skip
        if done.status:
            raise UnknownRevision(f"No such commit: {sha}")
        parts = done.stdout.decode("utf-8", "replace").split("\0")
        return CommitInfo(
            sha=parts[0],
            tree=parts[1],
            parents=tuple(parts[2].split()),
            author_name=parts[3],
            author_email=parts[4],
            committed_at=datetime.fromtimestamp(int(parts[5]), UTC),
            subject=parts[6],
            message=parts[7].rstrip("\n") + "\n",
        )

    def count(self, old: str | None, new: str) -> int:
        """Return how many commits new has that old (None: nothing) has not."""
        span = full_sha(new) if old is None else f"{full_sha(old)}..{full_sha(new)}"
        return int(self.git("rev-list", "--count", "--end-of-options", span, "--").text)

    def diff(self, base: str, head: str) -> bytes:
        """Return the git-format diff from base to head, with binary data and full object names."""
        return self.git(
            "diff-tree", "-r", "-p", "--binary", "--full-index", "--no-renames", "--no-color",
            "--src-prefix=a/", "--dst-prefix=b/", "--end-of-options", full_sha(base), full_sha(head), "--",
        ).stdout  # fmt: skip

    # -- refs ---------------------------------------------------------------------------------------------

    def update_ref(self, ref: str, new: str, old: str | None) -> None:
        """Move ref from old (None: it must not exist) to new, or change nothing.

        Only Autopack's own refs: `autonomous/<run>`, its tags and `refs/autopack/`. Raises ProtectedBranch
        for any other, RefMoved with the present value when ref isn't at old, UnknownRevision for an absent
        commit.
        """
        writable(ref)
        self._write_ref(ref, full_sha(new), ZERO if old is None else full_sha(old))

    def delete_ref(self, ref: str, old: str) -> None:
        """Delete ref if it is at old. Raises as `update_ref` does; an absent ref is RefMoved."""
        writable(ref)
        self._write_ref(ref, None, full_sha(old))

    def keep(self, run_id: str, phase_id: str, attempt: int, sha: str) -> str:
        """Keep a candidate under its own ref; return the ref.

        Repeating it is fine; another commit for the same attempt is RefMoved.
        """
        ref = candidate_ref(run_id, phase_id, attempt)
        try:
            self.update_ref(ref, sha, None)
        except RefMoved as moved:
            if moved.current != sha:
                raise
        return ref

    def _write_ref(self, ref: str, new: str | None, old: str | None) -> None:
        change = ("-d", ref) if new is None else (ref, new)
        args = ("update-ref", "--no-deref", *change, *(() if old is None else (old,)))
        # Every writer of refs holds this lock, and git inherits it: so a `.lock` file found while holding it
        # was left by a process that is gone, and may be removed.
        with held(self.path / "autopack" / "refs.lock", timeout_s=60) as lock:

            def write() -> Completed:
                return git.run(
                    *args, place=self.place, ok=(0, 1, 128), config=_NO_WAIT, timeout_s=60, pass_fds=(lock,)
                )

            done = write()
            if done.status and "File exists" in done.stderr and self._drop_stale_locks(ref):
                done = write()
            if not done.status:
                return
            current = self.read_ref(ref)
        if old is not None and current != (None if old == ZERO else old):
            raise RefMoved(ref, expected=None if old == ZERO else old, current=current)
        if new is not None and self.git("cat-file", "-e", new, ok=(0, 1, 128)).status:
            raise UnknownRevision(f"No such commit: {new}")
        raise GitFailed(f"{ref} was not written: {done.stderr}", stderr=done.stderr, exit_status=done.status)

    def _drop_stale_locks(self, ref: str) -> bool:
        dropped = False
        for name in (f"{ref}.lock", "packed-refs.lock", "HEAD.lock"):
            path = self.path / name
            if path.is_file():
                path.unlink(missing_ok=True)
                dropped = True
        return dropped

    # -- pushing ------------------------------------------------------------------------------------------

    def push(
        self, source: str | Path, refspecs: Sequence[tuple[str, str]], *, timeout_s: float = 300.0
    ) -> tuple[str, ...]:
        """Bring (commit, ref) pairs to the project's repository, all or none; return the refs that moved.

        Only `refs/heads/autonomous/<run>` and `refs/tags/autopack/...` are accepted, fast-forward only; a ref
        that is there already with this value is left alone. Raises ProtectedBranch, PushRejected (not a
        fast-forward, another tag of the name, refused there), SourceUnavailable.
        """
        there = Source.of(source)
        wanted = {ref: full_sha(sha) for sha, ref in refspecs}
        if len(wanted) != len(refspecs):
            raise PushRejected("One ref is named twice")
        for ref in wanted:
            pushable(ref)
        present = self.remote_refs(there, tuple(wanted), timeout_s=timeout_s)
        missing = {ref: sha for ref, sha in wanted.items() if present.get(ref) != sha}
        if not missing:
            return ()
        try:
            git.run(
                "push", "--quiet", "--porcelain", "--atomic", "--no-verify", "--no-follow-tags",
                "--no-signed", "--recurse-submodules=no", *there.serving("receive-pack"), "--",
                there.address, *(f"{sha}:{ref}" for ref, sha in missing.items()),
                place=self.place, protocols=(there.protocol,), timeout_s=timeout_s, extra_env=there.env(),
            )  # fmt: skip
        except GitFailed as error:
            if isinstance(error, GitTimedOut):
                raise
            raise push_error(error, there) from error
        return tuple(missing)

    def has_pushed(self, source: str | Path, refspecs: Sequence[tuple[str, str]]) -> bool:
        """Tell whether the project's repository is seen to have every (commit, ref) pair."""
        wanted = {ref: sha for sha, ref in refspecs}
        try:
            return self.remote_refs(Source.of(source), tuple(wanted), timeout_s=60.0) == wanted
        except AutopackError:
            return False

    def remote_refs(self, there: Source, refs: Sequence[str], *, timeout_s: float) -> dict[str, str]:
        """Return what the remote has of refs. A symbolic one is refused: writing it would write another."""
        try:
            done = git.run(
                "ls-remote", "--symref", "--quiet", *there.serving("upload-pack"), "--", there.address, *refs,
                place=self.place, protocols=(there.protocol,), timeout_s=timeout_s, extra_env=there.env(),
            )  # fmt: skip
        except GitFailed as error:
            raise source_error(error, there) from error
        found: dict[str, str] = {}
        for line in done.text.splitlines():
            value, _, ref = line.partition("\t")
            if ref in refs:
                if value.startswith("ref: "):
                    raise ProtectedBranch(f"{ref} is an alias of {value[5:]} there", ref=ref)
                found[ref] = value
        return found

    # -- files --------------------------------------------------------------------------------------------

    def checkout(self, sha: str, directory: Path, *, history: int | None = None) -> Checkout:
        """Write exactly the files of commit sha into directory, which must be empty or absent.

        No hook, filter or line-end conversion runs: files hold the blobs' bytes. With `history` (1 or more)
        the folder becomes a repository of its own, with the last that many commits as a copied, shallow pack:
        nothing in it leads back to the mirror, so an agent may do to it what it likes. Without, there is no
        `.git`: the fastest form.

        Raises UnknownRevision; GitFailed when the folder isn't empty.
        """
        return write_checkout(self.place, self.resolve(sha), directory, history=history)

    # -- upkeep -------------------------------------------------------------------------------------------

    def fsck(self) -> None:
        """Check every object and ref. Raises GitFailed with what git found."""
        self.git("fsck", "--full", "--strict", "--no-dangling", "--no-progress", timeout_s=1800)

    def is_cluttered(self) -> bool:
        """Tell whether loose objects are many: by one of their 256 folders, as `git gc --auto` guesses."""
        folder = self.path / "objects" / "17"
        return folder.is_dir() and len(os.listdir(folder)) > MANY_LOOSE // 256

    def pack(self, *, wait_s: float = 600.0, timeout_s: float = 1800.0) -> None:
        """Pack loose objects, and small packs with them; nothing is lost, also what no ref reaches.

        Each pack stays at least twice as large as the next (`git repack --geometric`), so that the work goes by
        what is new and not by the project's size. Fetches wait meanwhile. Raises GitTimedOut.
        """
        with held(self.path / "autopack" / "fetch.lock", timeout_s=wait_s) as lock:
            git.run(
                "repack", "--geometric=2", "-d", "-l", "--quiet",
                place=self.place, timeout_s=timeout_s, pass_fds=(lock,),
            )  # fmt: skip

    def _beside(self, what: str) -> Path:
        return self.path.parent / f".{self.path.name}.{what}.lock"
