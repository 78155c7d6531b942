"""Uids of attempts: their own, unknown to the host, free again after any end."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from integration.sandbox import uids
from integration.sandbox.errors import NoFreeUid, SandboxMisuse
from integration.sandbox.uids import attempt_uid
from tests.integration.sandbox.conftest import wait_until

BASE = 232_000
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has uids to choose from")


@pytest.mark.skipif(os.geteuid() == 0, reason="about ordinary users")
def test_an_ordinary_user_runs_as_itself(tmp_path: Path) -> None:
    with attempt_uid(base=BASE, size=1, state_dir=tmp_path) as lease:
        assert lease is None
    assert list(tmp_path.iterdir()) == []


@root_only
def test_two_attempts_at_once_have_two_uids_and_the_third_of_two_none(tmp_path: Path) -> None:
    with (
        attempt_uid(base=BASE, size=2, state_dir=tmp_path) as one,
        attempt_uid(base=BASE, size=2, state_dir=tmp_path) as two,
    ):
        assert one is not None
        assert two is not None
        assert {one.uid, two.uid} == {BASE, BASE + 1}
        with pytest.raises(NoFreeUid), attempt_uid(base=BASE, size=2, state_dir=tmp_path):
            pass
    with attempt_uid(base=BASE, size=1, state_dir=tmp_path) as again:
        assert again is not None
        assert again.uid == BASE


@root_only
def test_uids_of_other_processes_of_ours_are_left_alone_until_they_die(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from integration.sandbox.uids import attempt_uid\n"
        f"with attempt_uid(base={BASE}, size=3, state_dir=Path(sys.argv[1])) as lease:\n"
        "    print(lease.uid, flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder.stdout:
        held = int(holder.stdout.readline())
    with attempt_uid(base=BASE, size=3, state_dir=tmp_path) as lease:
        assert lease is not None
        assert lease.uid != held
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with attempt_uid(base=BASE, size=3, state_dir=tmp_path) as lease:
        assert lease is not None
        assert lease.uid == held


@root_only
def test_a_uid_with_a_living_process_is_left_alone(tmp_path: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "60"], user=BASE + 10, group=BASE + 10, extra_groups=[])
    try:
        assert wait_until(lambda: Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n")
        with attempt_uid(base=BASE + 10, size=2, state_dir=tmp_path) as lease:
            assert lease is not None
            assert lease.uid == BASE + 11
    finally:
        sleeper.kill()
        sleeper.wait()


@root_only
def test_uids_of_users_and_of_their_containers_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subordinate = tmp_path / "subuid"
    subordinate.write_text(f"someone:{BASE + 20}:2\nbroken line\n")
    monkeypatch.setattr(uids, "SUBORDINATE_FILES", (subordinate, tmp_path / "none"))
    real = pwd.getpwuid

    def known(uid: int) -> pwd.struct_passwd:
        return real(0) if uid == BASE + 22 else real(uid)

    monkeypatch.setattr(pwd, "getpwuid", known)
    with attempt_uid(base=BASE + 20, size=4, state_dir=tmp_path) as lease:
        assert lease is not None
        assert lease.uid == BASE + 23


@root_only
def test_a_range_of_system_users_is_refused(tmp_path: Path) -> None:
    for base, size in ((0, 10), (999, 10), (BASE, 0), (2**31 - 5, 10)):
        with pytest.raises(SandboxMisuse), attempt_uid(base=base, size=size, state_dir=tmp_path):
            pass


@root_only
def test_choosing_is_quick(tmp_path: Path) -> None:
    started = time.monotonic()
    with attempt_uid(base=BASE, size=1000, state_dir=tmp_path):
        pass
    assert time.monotonic() - started < 1
