"""The first configuration: written by `project init`, judged by `doctor`, its gate tried before any run."""

from __future__ import annotations

import subprocess
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from autopack_site import doctor
from integration.sandbox.visibility import hidden_paths
from strategy.config import load_config
from tests.factories import make_project
from tests.flows.world import PYTHON


def call(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def status_of(*arguments: str) -> tuple[Any, str]:
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command(*arguments, stdout=out)
    return ended.value.code, out.getvalue()


def add_project(folder: Path, **document: Any) -> None:
    """Make a repository of one commit, and the project `shop` of it."""
    repository = folder / "shop"
    repository.mkdir()
    who = ["-c", "user.name=dev", "-c", "user.email=dev@example.org"]
    for words in (["init", "-q", "-b", "main"], [*who, "commit", "-q", "--allow-empty", "-m", "start"]):
        subprocess.run(["git", "-C", repository, *words], check=True)
    (folder / "shop.yaml").write_text(yaml.safe_dump(document))
    call("project", "add", str(repository), "--config", str(folder / "shop.yaml"))


def test_init_writes_a_configuration_that_is_valid_and_says_how_to_give_it(tmp_path: Path) -> None:
    path = tmp_path / "my shop.yaml"
    assert f"--config '{path}'" in call("project", "init", str(path))
    config = load_config(path.read_text())
    assert config.builders_for("docs")
    assert config.gate_steps("normal")
    assert config.require_sandbox


def test_init_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "autopack.yaml"
    path.write_text("mine")
    with pytest.raises(CommandError, match="is there already"):
        call("project", "init", str(tmp_path))
    assert path.read_text() == "mine"


@pytest.mark.django_db
def test_a_toolchain_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    make_project("shop", config={"toolchains": [f"{tmp_path}/none"]})
    details = {finding.level: finding.detail for finding in doctor.projects()}
    assert details["fail"] == f"toolchains that are not there: {tmp_path}/none"
    assert "ok" not in details


def test_only_what_this_machine_has_and_the_sandbox_lacks_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "link").symlink_to("/etc/hostname")
    argv = [
        PYTHON, "/checkout/x", "/dev/null", "/tmp", f"{tmp_path}/absent", f"PYTHONPATH=/usr/lib:{tmp_path}/lib",
        f"--file={tmp_path}/link", "relative/path",
    ]  # fmt: skip
    assert hidden_paths(argv, []) == [f"{tmp_path}/lib", f"{tmp_path}/link"]
    # a link is shown where it leads to is shown, not where it lies
    assert hidden_paths(argv, [str(tmp_path)]) == [f"{tmp_path}/link"]


@pytest.mark.django_db
@pytest.mark.sandbox
def test_the_gate_is_tried_on_the_branch_as_it_is_and_told_with_its_last_words(
    tmp_path: Path, settings: Any
) -> None:
    settings.STATE_DIR = tmp_path / "state"
    ok = {"name": "unit", "argv": [PYTHON, "-c", "print(1)"]}
    red = {"name": "unit", "argv": [PYTHON, "-m", "pytestt"]}
    add_project(tmp_path, gates={"profiles": {"normal": [ok], "strict": [red]}})
    status, said = status_of("doctor", "--gate", "shop")
    assert (status, "shop, profile normal: green on commit" in said) == (0, True)
    status, said = status_of("doctor", "--gate", "shop", "--profile", "strict")
    assert status == 1
    assert "Step unit: exit code 1: " in said
    assert "No module named pytestt" in said.splitlines()[-2]


@pytest.mark.django_db
def test_a_project_without_steps_has_no_gate_to_try(tmp_path: Path, settings: Any) -> None:
    settings.STATE_DIR = tmp_path / "state"
    add_project(tmp_path)
    status, said = status_of("doctor", "--gate", "shop")
    assert (status, "waived on commit" in said) == (1, True)
