"""A checkout, a uid and a way to run hostile programs on it, in the real sandbox of this host."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from integration.sandbox import runner
from integration.sandbox.ownership import hand_over, remove_tree
from integration.sandbox.spec import MIB, Command, Limits, Outcome
from integration.sandbox.toolchain import toolchain_paths
from integration.sandbox.uids import UidLease, attempt_uid

REQUIRED = os.environ.get("AUTOPACK_REQUIRE_SANDBOX") == "1"
UID_BASE, UID_COUNT = 230_000, 1000
PYTHON = Path(sys.executable)
SMALL = Limits(
    wall_s=20,
    cpu_s=20,
    memory_bytes=512 * MIB,
    processes=40,
    file_size_bytes=8 * MIB,
    output_bytes=1 * MIB,
    tmp_bytes=4 * MIB,
)
PLAIN = runner.Detection("none", "chosen by the test")


@dataclass
class Attempt:
    """One checkout with its uid."""

    checkout: Path
    lease: UidLease | None
    using: runner.Detection | None = None
    readonly_paths: tuple[Path, ...] = field(default_factory=lambda: toolchain_paths(PYTHON))

    @property
    def uid(self) -> int | None:
        return self.lease.uid if self.lease else None

    def command(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        limits: Limits = SMALL,
        network: bool = False,
        writable_paths: tuple[Path, ...] = (),
    ) -> Command:
        return Command(
            argv=argv,
            cwd=self.checkout,
            env=env or {},
            limits=limits,
            network=network,
            readonly_paths=self.readonly_paths,
            writable_paths=writable_paths,
        )

    def run(
        self,
        command: Command,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_output: Callable[[bytes], None] | None = None,
    ) -> tuple[Outcome, str]:
        pieces: list[bytes] = []
        outcome = runner.run(
            command,
            on_output=on_output or pieces.append,
            should_stop=should_stop,
            uid=self.uid,
            hold=(self.lease.descriptor,) if self.lease else (),
            using=self.using,
        )
        return outcome, b"".join(pieces).decode(errors="replace")

    def shell(self, script: str, **options: object) -> tuple[Outcome, str]:
        return self.run(self.command("sh", "-c", script, **options))  # type: ignore[arg-type]

    def python(self, script: str, **options: object) -> tuple[Outcome, str]:
        return self.run(self.command(str(PYTHON), "-c", script, **options))  # type: ignore[arg-type]


def uid_of_tests(state_dir: Path) -> Iterator[UidLease | None]:
    with attempt_uid(base=UID_BASE, size=UID_COUNT, state_dir=state_dir) as lease:
        yield lease


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[UidLease | None]:
    yield from uid_of_tests(tmp_path / "state")


@pytest.fixture
def checkout(tmp_path: Path, lease: UidLease | None) -> Iterator[Path]:
    """A checkout below a folder that nobody else may enter, as the state folder is."""
    closed = tmp_path / "closed"
    path = closed / "checkout"
    path.mkdir(parents=True)
    closed.chmod(0o700)
    (path / "README").write_text("a file of the checkout\n")
    if lease:
        hand_over(path, lease.uid)
    yield path
    remove_tree(path)


@pytest.fixture
def plain_attempt(checkout: Path, lease: UidLease | None) -> Attempt:
    return Attempt(checkout, lease, using=PLAIN)


@pytest.fixture
def attempt(checkout: Path, lease: UidLease | None) -> Attempt:
    """An attempt in bubblewrap: skipped where it doesn't work, failed where it must."""
    found = runner.detect(lease.uid if lease else None)
    if found.kind != "bubblewrap":
        if REQUIRED:
            pytest.fail(f"AUTOPACK_REQUIRE_SANDBOX=1, but {found.detail}")
        pytest.skip(found.detail)
    return Attempt(checkout, lease, using=found)


def processes_with(word: str) -> list[int]:
    """Return the living processes whose command line holds word."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as handle:
                if word.encode() in handle.read():
                    found.append(int(name))
        except OSError:
            continue
    return found


def own_children() -> set[str]:
    """Return the ids of this process's children, ended ones that were not waited for among them.

    Other tests of this process may have some: a service that they share stays up to the end.
    """
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def wait_until(condition: Callable[[], object], *, within_s: float = 10.0) -> bool:
    """Poll until condition holds; tell whether it did in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """One of these tests at a time on this machine: they share accounts, and one of them lets a fork bomb go."""
    with (Path(tempfile.gettempdir()) / f"autopack-sandbox-tests-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
