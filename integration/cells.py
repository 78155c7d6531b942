"""A cell: one checkout, one uid, and the commands that run in it one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from autopack_site.kernel.errors import AutopackError
from integration.sandbox import runner
from integration.sandbox.ownership import hand_over, reclaim
from integration.sandbox.runner import Detection
from integration.sandbox.spec import Command, Limits, Outcome, Wish
from integration.sandbox.toolchain import toolchain_paths
from integration.sandbox.uids import UidLease, attempt_uid

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
UID_RANGE = 4096


class SandboxRequired(AutopackError):
    """The project demands a sandbox and this host has none: nothing of it is run (fail closed)."""

    code, status = "sandbox-required", 503
    title = "The project requires a sandbox"


@dataclass(frozen=True)
class Cell:
    """Where commands run. `writable` folders belong to the commands' uid as the checkout does."""

    checkout: Path
    lease: UidLease | None
    toolchains: tuple[Path, ...]
    readonly: tuple[Path, ...]
    writable: tuple[Path, ...]
    hold: tuple[int, ...] = ()

    @property
    def uid(self) -> int | None:
        """The uid that commands run as under root, else None."""
        return self.lease.uid if self.lease else None

    @property
    def sandbox(self) -> Detection:
        """Which sandbox commands of this cell get, and why."""
        return runner.detect(self.uid)

    @property
    def path(self) -> str:
        """The PATH of commands: the toolchains' programs first, then the system's."""
        own = [str(folder) for chain in self.toolchains for folder in _programs(chain)]
        return ":".join([*own, SYSTEM_PATH])

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        network: bool,
        limits: Limits,
        on_output: Callable[[bytes], None],
        should_stop: Callable[[], bool],
        wish: Callable[[], Wish] = lambda: "",
    ) -> Outcome:
        """Run one command to its end; see `sandbox.runner.run`."""
        command = Command(
            argv=tuple(argv),
            cwd=self.checkout,
            env={"PATH": self.path, **env},
            network=network,
            limits=limits,
            readonly_paths=tuple(dict.fromkeys((*self._chains(), *self.readonly))),
            writable_paths=self.writable,
        )
        hold = (*self.hold, *((self.lease.descriptor,) if self.lease else ()))
        return runner.run(
            command, on_output=on_output, should_stop=should_stop, uid=self.uid, hold=hold, wish=wish
        )

    def take_back(self) -> None:
        """Make what the commands left readable and ours; every process of theirs is dead."""
        for folder in (self.checkout, *self.writable):
            reclaim(folder, self.uid)

    def _chains(self) -> Iterator[Path]:
        for chain in self.toolchains:
            yield from toolchain_paths(chain)


def _programs(chain: Path) -> list[Path]:
    if chain.is_file():
        return [chain.parent]
    return [chain / "bin"] if (chain / "bin").is_dir() else [chain]


@contextmanager
def cell(
    checkout: Path,
    *,
    toolchains: Sequence[str] = (),
    readonly: Sequence[Path] = (),
    writable: Sequence[Path] = (),
    hold: Sequence[int] = (),
    require_sandbox: bool = False,
) -> Iterator[Cell]:
    """Hold a uid of its own for the block (under root) and hand the checkout over to it.

    `hold` are descriptors that stay open as long as a command lives, even when this process is killed. Raises
    SandboxRequired where one is demanded and there is none.
    """
    with attempt_uid(
        base=settings.SANDBOX_UID_BASE, size=UID_RANGE, state_dir=Path(settings.UID_LOCK_DIR)
    ) as lease:
        made = Cell(
            checkout=checkout,
            lease=lease,
            toolchains=tuple(Path(chain) for chain in toolchains),
            readonly=tuple(readonly),
            writable=tuple(writable),
            hold=tuple(hold),
        )
        if require_sandbox and made.sandbox.kind == "none":
            raise SandboxRequired(f"The project requires a sandbox: {made.sandbox.detail}")
        if lease is not None:
            for folder in (checkout, *writable):
                hand_over(folder, lease.uid)
        yield made
