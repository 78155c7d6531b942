"""What a venv or a program needs to be seen is found, and no more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from integration.sandbox.toolchain import toolchain_paths


def installation(folder: Path) -> Path:
    """Make what an interpreter's installation looks like; return its program."""
    (folder / "bin").mkdir(parents=True)
    (folder / "lib" / "python3.11").mkdir(parents=True)
    program = folder / "bin" / "python3.11"
    program.write_text("")
    program.chmod(0o755)
    (folder / "bin" / "python3").symlink_to("python3.11")
    return program


def venv(folder: Path, program: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "pyvenv.cfg").write_text(f"home = {program.parent}\ninclude-system-site-packages = false\n")
    (folder / "bin" / "python").symlink_to(program)
    (folder / "bin" / "pytest").write_text("#!")
    return folder


def test_a_venv_brings_the_interpreter_behind_it(tmp_path: Path) -> None:
    program = installation(tmp_path / "versions" / "3.11.7")
    made = venv(tmp_path / "project" / ".venv", program)
    expected = (made, tmp_path / "versions" / "3.11.7")
    for given in (made, made / "bin", made / "bin" / "python", made / "bin" / "pytest"):
        assert toolchain_paths(given) == expected


def test_links_bring_both_their_names(tmp_path: Path) -> None:
    program = installation(tmp_path / "versions" / "3.11.7")
    (tmp_path / "versions" / "3.11").symlink_to("3.11.7")
    real = venv(tmp_path / "real", tmp_path / "versions" / "3.11" / "bin" / program.name)
    link = tmp_path / "link"
    link.symlink_to(real)
    found = toolchain_paths(link)
    versions = tmp_path / "versions"
    assert set(found) == {link, real, versions / "3.11", versions / "3.11.7"}


def test_a_program_of_the_system_needs_nothing() -> None:
    assert toolchain_paths(Path("/usr/bin/env")) == ()


def test_a_program_in_a_home_does_not_bring_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in (tmp_path, tmp_path / ".local"):
        program = installation(folder)
        assert toolchain_paths(program) == (program,)


def test_an_installation_elsewhere_is_brought_whole(tmp_path: Path) -> None:
    program = installation(tmp_path / "opt" / "node")
    assert toolchain_paths(program) == (tmp_path / "opt" / "node",)


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").write_text("home = relative\n")
    (tmp_path / "venv" / "bin" / "python").symlink_to("python")
    assert toolchain_paths(tmp_path / "venv") == (tmp_path / "venv",)


def test_the_interpreter_of_these_tests_is_found() -> None:
    found = toolchain_paths(Path(sys.executable))
    prefixes = (Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve())
    for prefix in prefixes:
        assert prefix.is_relative_to("/usr") or any(prefix.is_relative_to(path) for path in found)


def test_what_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        toolchain_paths(tmp_path / "nothing")
