"""The demo itself, and what it stands on: the pinned library, the filled-in configuration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from autopack_site import embedded
from autopack_site.demo import library
from autopack_site.demo.configuration import PLAN, TEMPLATE, fill
from autopack_site.demo.errors import DemoFailed
from autopack_site.demo.facts import Facts
from autopack_site.embedded import folders as places
from autopack_site.embedded.accounts import service_account
from runs.models import Run
from runs.plan import parse_plan_document
from strategy.config import load_config

DEMO_LIMIT_S = 300


def test_the_plan_has_three_tiers_and_eight_phases_with_a_builder_each() -> None:
    plan = parse_plan_document(PLAN.read_text(encoding="utf-8"))
    names = ("python", "chain", "demo", "wheels", "dependency")
    config = load_config(fill(TEMPLATE.read_text(encoding="utf-8"), {name: f"/opt/{name}" for name in names}))
    assert (len(plan.tiers), len(plan.phases)) == (3, 8)
    served = [config.builders_for(phase.task_category or "")[0].name for phase in plan.phases]
    assert served == [phase.phase_id for phase in plan.phases]


def test_agents_of_the_demo_see_their_own_program_only() -> None:
    """What sandboxes show beside brief and checkout is toolchains: the plan, the configuration, the checks of the
    gate and the other agents' programs are in none of an agent's."""
    names = {
        "python": "/usr/bin/python",
        "chain": "/usr",
        "demo": str(PLAN.parent),
        "wheels": "/w",
        "dependency": "/w/d",
    }
    config = load_config(fill(TEMPLATE.read_text(encoding="utf-8"), names))
    files = [path for path in PLAN.parent.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {PLAN, TEMPLATE} < set(files)
    common = {PLAN.parent / "builders" / "task.py"}  # how a builder reads its brief
    for agent in (*config.builders, *config.auditors):
        shown = [Path(path) for path in config.toolchains_of(agent)]
        seen = {path for path in files if any(path.is_relative_to(place) for place in shown)}
        assert seen - common == {Path(agent.argv[-1])}, agent.name
    gate = [Path(path) for path in config.gate_toolchains]
    assert {path.parent.name for path in files if any(path.is_relative_to(place) for place in gate)} == {
        "checks"
    }


def test_paths_with_spaces_quotes_and_colons_stay_one_value() -> None:
    path = '/a b/it\'s: "x", [y]'
    text = fill('argv: [env, "P={{p}}", {{p}}/run.py]\nenv: {A: {{p}}, B: c}\n# {{kept}}\n', {"p": path})
    assert yaml.safe_load(text) == {
        "argv": ["env", f"P={path}", f"{path}/run.py"],
        "env": {"A": path, "B": "c"},
    }


def test_a_file_with_another_hash_is_not_taken_for_the_library(tmp_path: Path) -> None:
    (pin, _) = library.pins(library.REQUIREMENTS.read_text(encoding="utf-8"))
    (tmp_path / f"{pin.name}-{pin.version}.tar.gz").write_bytes(b"something else")
    assert library._find(tmp_path, pin) is None


@pytest.mark.parametrize("name", ["../out.py", "/out.py", "lib/link.py"])
def test_an_archive_that_leads_out_is_refused_whole(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "lib-1.tar.gz"
    with tarfile.open(archive, "w:gz") as made:
        member = tarfile.TarInfo(name)
        if name.endswith("link.py"):
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(member)
    with pytest.raises(DemoFailed, match="no plain file"):
        library.make_repository(archive, tmp_path / "work" / "lib")
    assert [path.name for path in (tmp_path / "work").iterdir()] == []
    assert not (tmp_path / "out.py").exists()


def test_an_index_without_the_library_is_a_clear_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(DemoFailed, match="package index"):
        library.fetch(tmp_path / "empty")


def facts(state: str = "DONE_SUCCESS", **fields: Any) -> Facts:
    """Return what a demo that keeps all its promises comes to, but for the fields."""
    run = Run(run_id="demo-1", state=state)
    kept = {
        "commits": [f"{n:07x} step" for n in range(5)],
        "gates": {"green": 8, "red": 1},
        "verdicts": {"approve": 1, "revise": 1},
        "is_promotable": True,
        "clone_tests": 90,
    }
    return Facts(run, Path("/srv/lib"), **{**kept, **fields})


def test_a_demo_that_keeps_its_promises_finds_no_fault_in_itself() -> None:
    assert facts().faults() == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"state": "DONE_FAILED_ENVIRONMENT"}, "the run ended DONE_FAILED_ENVIRONMENT"),
        ({"commits": ["0000000 step"] * 4}, "4 commits on autonomous/demo-1; at least 5"),
        ({"gates": {"green": 8}}, "no gate was red"),
        ({"verdicts": {"approve": 2}}, "no audit asked for a revision"),
        ({"is_promotable": False, "against_promotion": ["issues"]}, "not eligible for promotion: issues"),
        ({"clone_failures": 1}, "1 of 90 tests fail"),
        ({"clone_tests": 0}, "0 of 0 tests fail"),
        ({"clone_detail": "(timeout)"}, "tests fail (timeout)"),
    ],
)
def test_a_demo_names_the_promise_that_it_did_not_keep(broken: dict[str, Any], said: str) -> None:
    (fault,) = facts(**broken).faults()
    assert said in fault


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A state directory of its own, with what a demo of this checkout has downloaded before."""
    base = settings.BASE_DIR / ".autopack"
    downloads = base / "demo" / "downloads"
    library.fetch(downloads)
    folder = Path(tempfile.mkdtemp(prefix="demo-test-", dir=base))
    folder.chmod(0o755)
    try:
        shutil.copytree(downloads, folder / "demo" / "downloads")
        yield folder
    finally:
        embedded.discard(folder / "demo")
        shutil.rmtree(folder)


@pytest.mark.real
def test_the_demo_keeps_its_promises_and_leaves_nothing_running(state_dir: Path) -> None:
    environment = {**os.environ, "AUTOPACK_STATE_DIR": str(state_dir), "PIP_NO_INDEX": "1"}
    environment.pop("AUTOPACK_RUNS_DIR", None)
    demo = subprocess.Popen(
        [sys.executable, "manage.py", "demo"],
        cwd=settings.BASE_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = demo.communicate(timeout=DEMO_LIMIT_S)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 0, output[-6000:]
    assert processes_of(state_dir) == []
    assert "DONE_SUCCESS in" in output
    assert "1 red" in output
    assert "1 revise" in output
    # the summary: commits, gates, issues, tokens, the verdict, where the branch is, what to type next
    (commits,) = re.findall(r"^(\d+) commits on autonomous/demo-1$", output, re.MULTILINE)
    assert int(commits) >= 5
    assert re.search(r"^  issues   [1-9]", output, re.MULTILINE)
    assert re.search(r"^  tokens   \d+ of [\d,]+", output, re.MULTILINE)
    assert re.search(r"^  promotable to main: yes$", output, re.MULTILINE)
    assert re.search(r"^What to type next\n  git -C \S+ log --stat autonomous/demo-1$", output, re.MULTILINE)
    branches = library.git(
        state_dir / "demo" / "repositories" / "demo-1" / "python-slugify",
        "branch",
        "--format=%(refname:short)",
    )
    assert branches.splitlines() == ["autonomous/demo-1", "main"]


def processes_of(state_dir: Path) -> list[str]:
    """Return the command lines of processes that belong to a demo: by their environment, or by their data's folder.

    PostgreSQL and Redis have a bare environment; their command lines name where their data lies.
    """
    home = places.locate(state_dir / "demo", service_account()).home
    marks = [os.fsencode(state_dir), os.fsencode(home)]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            text = command + (entry / "environ").read_bytes()
            if any(mark in text for mark in marks):
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
