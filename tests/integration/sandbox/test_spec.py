"""A command that can't be passed on whole is refused before anything starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from integration.sandbox import bubblewrap, runner
from integration.sandbox.errors import SandboxMisuse
from integration.sandbox.spec import Command, Limits


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": ()},
        {"argv": ("",)},
        {"argv": ("a", "b\0c")},
        {"env": {"": "x"}},
        {"env": {"A=B": "x"}},
        {"env": {"A": "x\0y"}},
        {"cwd": Path("relative")},
        {"cwd": Path("/a/../b")},
        {"mount_at": Path("/")},
        {"mount_at": Path("relative")},
        {"readonly_paths": (Path("relative"),)},
        {"writable_paths": (Path("/a/../b"),)},
    ],
)
def test_a_bad_command_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(SandboxMisuse):
        Command(**{"argv": ("true",), "cwd": Path("/srv"), **fields})


@pytest.mark.parametrize("name", list(Limits.__dataclass_fields__))
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(SandboxMisuse):
        Limits(**{name: 0})


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    command = Command(argv=("true",), cwd=tmp_path / "none")
    uid = 233_000 if os.geteuid() == 0 else None
    with pytest.raises(SandboxMisuse, match="No such path"):
        runner.run(command, on_output=lambda _: None, should_stop=lambda: False, uid=uid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused for being root")
@pytest.mark.parametrize("uid", [None, 0])
def test_root_runs_nothing_as_itself(tmp_path: Path, uid: int | None) -> None:
    command = Command(argv=("true",), cwd=tmp_path)
    with pytest.raises(SandboxMisuse, match="an unprivileged uid of its own"):
        runner.run(command, on_output=lambda _: None, should_stop=lambda: False, uid=uid)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may choose")
def test_an_ordinary_user_cant_choose_a_uid(tmp_path: Path) -> None:
    command = Command(argv=("true",), cwd=tmp_path)
    with pytest.raises(SandboxMisuse, match="Only root"):
        runner.run(command, on_output=lambda _: None, should_stop=lambda: False, uid=os.geteuid() + 1)


def test_every_value_travels_apart_from_the_command_line(tmp_path: Path) -> None:
    command = Command(argv=("true",), cwd=tmp_path, env={"TOKEN": "s3cr3t"})
    order = bubblewrap.order(command, bwrap="/usr/bin/bwrap", uid=None)
    assert "s3cr3t" in order["options"]
    assert (order["argv"], order["env"]) == (["true"], {})


def test_the_network_is_shared_only_when_asked_for(tmp_path: Path) -> None:
    closed = bubblewrap.options(Command(argv=("true",), cwd=tmp_path), {tmp_path: str(tmp_path)})
    opened = bubblewrap.options(
        Command(argv=("true",), cwd=tmp_path, network=True), {tmp_path: str(tmp_path)}
    )
    assert "--unshare-net" in closed
    assert "--unshare-net" not in opened
