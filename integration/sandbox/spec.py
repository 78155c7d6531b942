"""What a hostile command is given, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from integration.sandbox.errors import SandboxMisuse

SandboxKind = Literal["bubblewrap", "none"]
Reason = Literal[
    "exited", "timeout", "cancelled", "stopped", "output_limit", "over_limit", "start_failed", "killed"
]
#: What the caller wishes of a running command: nothing, that it be told (SIGUSR1), that it end (SIGTERM).
Wish = Literal["", "tell", "end"]

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that one command and everything it starts may take.

    `wall_s` and `cpu_s` are seconds (CPU: of the whole tree, as measured, and of each process, by the
    kernel). `memory_bytes` bounds the private memory of each process in the kernel (RLIMIT_DATA, because
    Java, Go and V8 reserve far more address space than they use) and the tree's as measured four times a
    second. `processes` counts threads too. `tmp_bytes` sizes the /tmp that bubblewrap gives;
    `output_bytes` ends the command when passed. `grace_s` is what a command has to end after it was asked to.
    """

    wall_s: float = 600.0
    cpu_s: float = 1200.0
    memory_bytes: int = 4096 * MIB
    processes: int = 512
    file_size_bytes: int = 512 * MIB
    output_bytes: int = 64 * MIB
    tmp_bytes: int = 1024 * MIB
    open_files: int = 4096
    grace_s: float = 30.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise SandboxMisuse(f"Limit {name} must be above 0", limit=name)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One program to run on a checkout.

    `cwd` is the checkout on this host, writable for the command; it appears as `mount_at` in bubblewrap and
    under its own path without (`runner.visible_checkout` tells). `argv` is run as it is, by no shell, and
    is visible in the process list: secrets belong into `env`, which is the whole environment but for
    defaults of HOME, PATH, TMPDIR and LANG. `readonly_paths` and `writable_paths` appear under their own
    paths. `network` shares the host's network whole, its loopback servers and abstract sockets included:
    for agents that must reach their provider, never for gates.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    limits: Limits = field(default_factory=Limits)
    readonly_paths: tuple[Path, ...] = ()
    writable_paths: tuple[Path, ...] = ()
    mount_at: Path = Path("/checkout")

    def __post_init__(self) -> None:
        """Refuse what can't be passed to a process whole. Raises SandboxMisuse."""
        if not self.argv or not self.argv[0]:
            raise SandboxMisuse("A command needs a program")
        if any("\0" in word for word in self.argv):
            raise SandboxMisuse("A command's words can't hold NUL")
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name or "\0" in value:
                raise SandboxMisuse("An environment name or value can't be passed on", name=name)
        for path in (self.cwd, self.mount_at, *self.readonly_paths, *self.writable_paths):
            if not path.is_absolute() or ".." in path.parts:
                raise SandboxMisuse(f"Not an absolute path without '..': {path}")
        if len(self.mount_at.parts) < 2:
            raise SandboxMisuse("The checkout can't be the root folder")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened. `exit_code` and `signal` are set for `exited` only, one of the two.

    `asked` says that the command was asked to end before it did: `exited` then means within its grace,
    `stopped` that it was killed at the end of that.

    In bubblewrap a program killed by signal N and one that exits with 128+N look alike: both are told as
    the signal. `peak_memory_bytes` and `cpu_s` are measured over the tree and are lower bounds.
    `output_bytes` counts what was handed to `on_output`; `truncated` says that there was more. `detail`
    explains `start_failed`, `over_limit` and `killed` in a sentence.
    """

    exit_code: int | None
    signal: int | None
    reason: Reason
    duration_s: float
    cpu_s: float
    peak_memory_bytes: int
    sandbox: SandboxKind
    sandbox_detail: str
    output_bytes: int
    truncated: bool
    detail: str = ""
    asked: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the command came to its own end with exit code 0."""
        return self.reason == "exited" and self.exit_code == 0
