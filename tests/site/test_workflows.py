"""The workflows: the published schema, least permissions, and no text of others where a shell would read it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent
WRITES = {"pull-requests"}


def load(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{path.name}:{name}", step)
        for path in FILES
        for name, job in load(path)["jobs"].items()
        for step in job["steps"]
    ]


def test_there_are_two_and_they_keep_to_the_published_schema():
    assert [path.name for path in FILES] == ["ci.yml", "promotion.yml"]
    argv: list[str | Path] = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *FILES]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_shell_reads_what_an_expression_brings():
    for name, step in steps():
        assert "${{" not in step.get("run", ""), name


def test_shellcheck_finds_nothing_in_what_the_steps_run():
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, (_, step) in enumerate(steps()):
            if "run" in step:
                files.append(Path(folder) / f"{number}.sh")
                files[-1].write_text(f"#!/bin/bash\nset -e\n{step['run']}")
        assert files
        done = subprocess.run([BIN / "shellcheck", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_may_write_but_what_opens_a_pull_request_and_every_job_has_a_limit(path):
    workflow = load(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for job in workflow["jobs"].values():
        granted = job.get("permissions", {})
        assert {key for key, value in granted.items() if value == "write"} <= WRITES
        assert job["timeout-minutes"] <= 60


def test_actions_are_pinned_and_checkouts_leave_no_credentials_behind():
    for name, step in steps():
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@(v\d+(\.\d+)*|[0-9a-f]{40})", step["uses"]), name
            if step["uses"].startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_only_the_workflow_that_runs_no_agent_s_code_has_a_secret():
    ci, promotion = (path.read_text(encoding="utf-8") for path in FILES)
    assert "secrets." not in ci
    checkout = load(FILES[1])["jobs"]["promote"]["steps"][0]
    assert checkout["with"]["ref"] == "${{ github.event.repository.default_branch }}"
    assert promotion.count("secrets.") == 1


def test_branches_of_runs_pass_the_preflight_gate_in_both_profiles():
    workflow = load(FILES[0])
    assert "autonomous/**" in workflow[True]["push"]["branches"]  # YAML 1.1 reads the key `on` as true
    job = workflow["jobs"]["preflight"]
    assert job["strategy"]["matrix"] == {"profile": ["normal", "strict"]}
    assert job["env"]["CI_PROFILE"] == "${{ matrix.profile }}"
    assert any("scripts/preflight_gate.sh" in step.get("run", "") for step in job["steps"])


def test_every_target_script_and_marker_that_they_name_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = "\n".join(step.get("run", "") for _, step in steps())
    targets = " ".join(re.findall(r"^make ([a-z ]+)$", text, re.MULTILINE)).split()
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for script in re.findall(r"scripts/\w+\.sh", text):
        assert (ROOT / script).stat().st_mode & 0o111, script
    env = load(FILES[0])["jobs"]["preflight"]["env"]
    gate = (ROOT / "scripts" / "preflight_gate.sh").read_text(encoding="utf-8")
    assert all(name in gate for name in env if name.startswith(("PREFLIGHT_", "CI_", "PYTHON")))
    markers = re.findall(r'"(\w+): ', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    marks = f"{env['PREFLIGHT_NORMAL_MARKS']} {env['PREFLIGHT_STRICT_MARKS']}"
    assert set(marks.split()) - {"not", "and"} <= set(markers)
