"""The one place that runs git. Every call is hardened as SAFETY (Git, point 3) says.

GitPython's `Git.execute` isn't used to start the process, for three reasons seen in version 3.2.1: it hands
the whole environment of this process to git (its `env` argument only adds), it reads all output into memory
without a bound, and its timeout finds children by running `ps`, so what git started may survive it. What is
used of GitPython is its reading of git's objects, which needs no process at all (see `strict.py`).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from integration.git_errors import GitFailed, GitMissing, GitOutputTooLarge, GitTimedOut

ZERO = "0" * 40
NOWHERE = "/dev/null"  # never a directory: neither a HOME nor a folder of hooks can be made below it
IDENTITY = ("Autopack", "autopack@localhost")

#: Configuration that no repository, user or system file may override.
HARDENING: tuple[str, ...] = (
    "safe.bareRepository=explicit",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.alternateRefsCommand=true",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.symlinks=true",
    "submodule.recurse=false",
    "protocol.allow=never",
    "transfer.fsckObjects=true",
    "credential.helper=",
    "gc.auto=0",
    "maintenance.auto=false",
)

#: Subcommands that can show a diff: external diff programs and text converters stay off.
DIFFING = frozenset({"diff", "diff-tree", "diff-index", "diff-files", "log", "show"})


@dataclass(frozen=True)
class Completed:
    """How one git process ended. `stdout` is raw; `stderr` is decoded for people."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Return stdout as text without its last line end."""
        return self.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


@dataclass(frozen=True)
class Place:
    """Where a git process works. Only `git_dir` is needed by most calls.

    `object_dir` is a quarantine: objects are written there, and `alternates` are read beside it.
    """

    git_dir: Path
    work_tree: Path | None = None
    index_file: Path | None = None
    object_dir: Path | None = None
    alternates: tuple[Path, ...] = ()


def environment(place: Place | None) -> dict[str, str]:
    """Return the whole environment of a git process: nothing is inherited but PATH."""
    name, email = IDENTITY
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": NOWHERE,
        "XDG_CONFIG_HOME": NOWHERE,
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": NOWHERE,
        "GIT_CONFIG_GLOBAL": NOWHERE,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_GRAFT_FILE": f"{NOWHERE}/none",
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
    }
    if place is not None:
        if place.index_file is not None:
            env["GIT_INDEX_FILE"] = str(place.index_file)
        if place.object_dir is not None:
            env["GIT_OBJECT_DIRECTORY"] = str(place.object_dir)
            # A quoted entry may hold any character; a bare one is cut at colons.
            env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = ":".join(_quoted(path) for path in place.alternates)
    return env


def command(
    args: Sequence[str], *, place: Place | None, protocols: Sequence[str] = (), config: Sequence[str] = ()
) -> list[str]:
    """Return the argv of a hardened call of `git ARGS`."""
    argv = ["git", "--no-pager"]
    for value in (*HARDENING, *config, *(f"protocol.{name}.allow=always" for name in protocols)):
        argv += ("-c", value)
    if place is not None:
        argv.append(f"--git-dir={place.git_dir}")
        if place.work_tree is not None:
            argv.append(f"--work-tree={place.work_tree}")
    argv.append(args[0])
    if args[0] in DIFFING:
        argv += ("--no-ext-diff", "--no-textconv")
    argv += args[1:]
    return argv


def run(
    *args: str,
    place: Place | None,
    stdin: bytes = b"",
    ok: Sequence[int] = (0,),
    timeout_s: float = 60.0,
    max_output_bytes: int = 256 * 1024 * 1024,
    protocols: Sequence[str] = (),
    config: Sequence[str] = (),
    extra_env: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run `git ARGS` to its end and return what it wrote.

    `protocols` names the transports that this one call may speak (none by default). `pass_fds` stay open in
    the child, so that a lock held on one outlives a killed parent exactly as long as git works.

    Raises GitFailed for a status not in `ok`, GitTimedOut past `timeout_s`, GitOutputTooLarge past
    `max_output_bytes`, GitMissing without a git. Past time or bytes the whole process group is killed.
    """
    argv = command(args, place=place, protocols=protocols, config=config)
    env = environment(place)
    if extra_env:
        env.update(extra_env)
    try:
        process = subprocess.Popen(
            argv,
            env=env,
            # A folder that can't hold a repository: relative names and discovery find nothing.
            cwd=str(place.work_tree) if place is not None and place.work_tree is not None else "/",
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except FileNotFoundError as error:
        raise GitMissing from error
    try:
        out, err = _converse(process, stdin, time.monotonic() + timeout_s, max_output_bytes, args[0])
        status = process.wait()
    except BaseException:
        _kill_group(process)
        raise
    finally:
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                stream.close()
    stderr = err.decode("utf-8", "replace").strip()
    if status not in ok:
        raise GitFailed(
            f"git {args[0]} ended with status {status}: {stderr[-2000:]}", stderr=stderr, exit_status=status
        )
    return Completed(status, out, stderr)


def _converse(
    process: subprocess.Popen[bytes], stdin: bytes, deadline: float, max_bytes: int, name: str
) -> tuple[bytes, bytes]:
    """Feed stdin and drain stdout and stderr at once, up to the deadline and the bound."""
    out: list[bytes] = []
    err: list[bytes] = []
    taken = 0
    rest = memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        assert process.stdout is not None
        assert process.stderr is not None
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, err)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise GitTimedOut(f"git {name} ran past its time limit")
            for key, _events in selector.select(left_s):
                if key.fileobj is process.stdin:
                    try:
                        rest = rest[os.write(key.fd, rest[:65536]) :]
                    except BlockingIOError:
                        continue
                    except BrokenPipeError:  # git has read what it wanted; its status tells the rest
                        rest = rest[:0]
                    if not rest:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                    continue
                taken += len(chunk)
                if taken > max_bytes:
                    raise GitOutputTooLarge(f"git {name} wrote more than {max_bytes} bytes")
                key.data.append(chunk)
    left_s = max(deadline - time.monotonic(), 0.0)
    try:
        process.wait(left_s)
    except subprocess.TimeoutExpired as error:
        raise GitTimedOut(f"git {name} ran past its time limit") from error
    return b"".join(out), b"".join(err)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill git and all it started. The leader isn't reaped before, so the group's number is its own."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
