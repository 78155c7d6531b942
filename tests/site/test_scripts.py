"""The shell scripts: nothing for shellcheck to find, and a preflight gate that tells the truth."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
GATE = ROOT / "scripts" / "preflight_gate.sh"
SCRIPTS = [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci" / "run"]
# The project's tests count their own tries in a file, so that a test may fail the first time only.
FLAKY = """
import pathlib
def test_second_time():
    tries = pathlib.Path("tries")
    tries.write_text((tries.read_text() if tries.exists() else "") + "x")
    assert len(tries.read_text()) == 2
"""
MARKED = """
import pytest
def test_unit(): pass
@pytest.mark.e2e
def test_whole(): pass
@pytest.mark.safety_critical
def test_safe(): pass
"""
Gate = Callable[..., "subprocess.CompletedProcess[str]"]


def test_shellcheck_finds_nothing():
    shellcheck = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([shellcheck, "-x", *SCRIPTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n    e2e\n    safety_critical\naddopts = -q -p no:cacheprovider\n"
    )
    return tmp_path


@pytest.fixture
def gate(project: Path) -> Gate:
    """Run the gate on one file of tests."""

    def run(text: str | None, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        if text is not None:
            (project / "test_it.py").write_text(text)
        ours = ("PYTEST_", "COV_", "DJANGO_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a plain project's pytest, and quick to start
        return subprocess.run(
            [GATE, *args], cwd=project, capture_output=True, text=True, timeout=120,
            env={**kept, "PREFLIGHT_BACKOFF_S": "0", "PYTHON": sys.executable, **environment},
        )  # fmt: skip

    return run


def cases(path: Path) -> list[str]:
    return [str(case.get("name")) for case in ElementTree.parse(path).iter("testcase")]


@pytest.mark.parametrize(
    ("profile", "names"),
    [("normal", ["test_unit"]), ("strict", ["test_unit", "test_whole", "test_safe"])],
)
def test_the_profile_says_which_tests_are_run_and_the_report_names_them(gate, project, profile, names):
    done = gate(MARKED, CI_PROFILE=profile)
    assert done.returncode == 0, done.stderr
    assert f"preflight: passed, {len(names)} tests" in done.stderr
    assert cases(project / ".reports" / "preflight.xml") == names


def test_a_red_gate_tries_three_times_and_keeps_the_tests_own_status_and_every_report(gate, project):
    done = gate("def test_red(): assert False\n", PREFLIGHT_JUNIT="out/gate.xml")
    assert done.returncode == 1
    assert done.stderr.count("attempt 3 of 3") == 1
    assert "FAILED with status 1 in each of 3 attempts" in done.stderr
    assert sorted(path.name for path in (project / "out").iterdir()) == [
        "gate-1.xml",
        "gate-2.xml",
        "gate.xml",
    ]


def test_a_pass_after_a_failure_passes_and_is_called_flaky(gate):
    done = gate(FLAKY)
    assert done.returncode == 0
    assert "passed at attempt 2 of 3: FLAKY, 1 tests" in done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "none was collected"),
        ("import pytest\n@pytest.mark.e2e\ndef test_whole(): pass\n", "none was collected"),
        ("import pytest\n@pytest.mark.skip\ndef test_no(): pass\n", "all were skipped"),
    ],
)
def test_a_gate_that_ran_no_test_fails_and_says_so(gate, text, reason):
    done = gate(text)
    assert done.returncode == 5
    assert f"FAILED: no test was run ({reason})" in done.stderr
    assert "attempt 2" not in done.stderr  # it would only be so again


def test_a_pass_without_a_report_is_no_pass(gate):
    done = gate("import os\ndef test_leaves(): os._exit(0)\n")
    assert done.returncode == 5
    assert "no readable report" in done.stderr


def test_the_pause_between_two_tries_is_the_one_that_is_set(gate, project):
    bin_folder = project / "bin"
    bin_folder.mkdir()
    fake = bin_folder / "sleep"
    fake.write_text('#!/bin/sh\necho "$1" >>slept\n')
    fake.chmod(0o755)
    gate("def test_red(): assert False\n", PATH=f"{bin_folder}:{os.environ['PATH']}", PREFLIGHT_BACKOFF_S="")
    gate(
        None, PATH=f"{bin_folder}:{os.environ['PATH']}", PREFLIGHT_BACKOFF_S="7", PREFLIGHT_ATTEMPTS="2",
    )  # fmt: skip
    assert (project / "slept").read_text().split() == ["5", "5", "7"]


def test_arguments_and_variables_are_never_read_by_a_shell(gate, project):
    hostile = "$(touch pwned); `touch pwned`; touch pwned"
    assert gate(MARKED, "-k", hostile, PREFLIGHT_NORMAL_MARKS=hostile).returncode == 4
    assert gate(MARKED, CI_PROFILE=hostile).returncode == 2
    assert gate(MARKED, PREFLIGHT_ATTEMPTS=hostile).returncode == 2
    assert not (project / "pwned").exists()
