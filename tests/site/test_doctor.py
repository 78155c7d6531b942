"""The doctor tells what is so, and what to do."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError

from autopack_site import doctor
from strategy.config import AgentConfig, GateStep, ProjectConfig
from strategy.models import Project
from tests.factories import make_project


def by_subject(findings):
    return {finding.subject: finding for finding in findings}


@pytest.mark.django_db
def test_a_healthy_machine_has_no_failure():
    findings = by_subject(doctor.examine())
    assert {"git", "git defences", "sandbox", "PostgreSQL", "migrations", "Redis"} <= set(findings)
    assert [finding for finding in findings.values() if finding.level == "fail"] == []


@pytest.mark.django_db
def test_every_finding_that_is_not_well_says_what_to_do(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    settings.REDIS_URL = f"unix://{tmp_path}/nowhere.sock"
    findings = doctor.examine()
    bad = by_subject(finding for finding in findings if finding.level != "ok")
    assert {"git", "sandbox", "Redis"} <= set(bad)
    assert all(finding.advice for finding in bad.values())
    assert "AUTOPACK_REDIS_URL" in bad["Redis"].advice


@pytest.mark.django_db
def test_the_json_form_carries_the_same_and_a_failure_exits_with_one(monkeypatch):
    monkeypatch.setattr(settings, "REDIS_URL", "unix:///nowhere/redis.sock?db=0")
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--json", stdout=out)
    document = json.loads(out.getvalue())
    assert ended.value.code == 1
    assert document["ok"] is False
    assert {row["subject"]: row["level"] for row in document["findings"]}["Redis"] == "fail"


def test_an_old_git_is_a_failure_that_names_the_version_wanted(monkeypatch, tmp_path):
    old = tmp_path / "git"
    old.write_text("#!/bin/sh\necho git version 2.20.1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    findings = by_subject(doctor.git())
    assert findings["git"].level == "fail"
    assert "2.39" in findings["git"].advice
    # This git answers nothing but its version, so its defences hold nothing back.
    assert findings["git defences"].level == "fail"


@pytest.mark.parametrize("hangs_at", ["--version", "init", "update-index"])
def test_a_git_that_hangs_is_a_failure_with_advice_and_no_traceback(hangs_at, monkeypatch, tmp_path):
    slow = tmp_path / "git"
    # `exec`, so that what is killed at the limit is what holds the output open
    slow.write_text(
        f'#!/bin/sh\ncase " $* " in *" {hangs_at} "*) exec sleep 60;; esac\necho git version 2.39.5\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(doctor, "_LIMIT_S", 0.5)
    *_, told = doctor.git()
    assert (told.subject, told.level) == ("git", "fail")
    assert str(slow) in told.detail
    assert "timed out after 0.5 seconds" in told.detail
    assert "git --version" in told.advice


def test_a_git_that_does_not_start_is_a_failure_with_advice(monkeypatch, tmp_path):
    broken = tmp_path / "git"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (told,) = doctor.git()
    assert (told.subject, told.level) == ("git", "fail")
    assert told.advice


@pytest.mark.django_db
def test_projects_that_no_database_tells_of_say_where_to_begin(monkeypatch):
    def unanswered(*_):
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(Project.objects, "order_by", unanswered)
    (told,) = doctor.projects()
    assert (told.subject, told.level) == ("projects", "warn")
    assert "PostgreSQL" in told.advice


def test_the_programs_of_a_configuration_are_looked_for_where_gates_look(tmp_path):
    tool = tmp_path / "bin" / "special-tool"
    tool.parent.mkdir()
    tool.write_text("")
    tool.chmod(0o755)
    chains = (str(tmp_path),)
    assert doctor.can_be_started("special-tool", chains)
    assert doctor.can_be_started(str(tool), chains)
    assert doctor.can_be_started("./brought-by-the-checkout", chains)
    assert not doctor.can_be_started("special-tool", ())
    assert not doctor.can_be_started("/no/such/program", chains)


def test_a_file_that_a_command_names_and_its_sandbox_does_not_show_is_told(tmp_path):
    """The commonest mistake: the agent's folder is not among the toolchains."""
    script = tmp_path / "agents" / "builder.py"
    script.parent.mkdir()
    script.write_text("")
    argv = ("/usr/bin/python3", str(script), "/no/such/file", "--output=/tmp")
    builder = AgentConfig("mine", "command", argv)
    assert doctor.hidden(ProjectConfig(builders=(builder,))) == [str(script)]
    assert doctor.hidden(ProjectConfig(builders=(builder,), toolchains=(str(script.parent),))) == []
    own, other = (str(script.parent),), AgentConfig("other", "command", argv)
    alone = ProjectConfig(builders=(replace(builder, toolchains=own),))
    assert doctor.hidden(alone) == []
    assert doctor.hidden(replace(alone, auditors=(other,))) == [str(script)]
    step = GateStep("unit", (str(script),))
    assert doctor.hidden(ProjectConfig(normal=(step,), own_of_gates=own)) == []
    assert doctor.hidden(ProjectConfig(normal=(step,), builders=alone.builders)) == [str(script)]
    assert doctor.hidden(ProjectConfig(normal=(step,), toolchains=(str(tmp_path / "other"),))) == [
        str(script)
    ]


@pytest.mark.django_db
def test_a_project_that_nobody_builds_and_nothing_tests_is_told_as_that():
    make_project("bare")
    found = [finding for finding in doctor.projects() if finding.subject == "project bare"]
    assert [(finding.level, finding.detail) for finding in found] == [
        ("warn", "nobody is configured to build: each phase waits for a claim over HTTP"),
        ("warn", "the gate has no steps (normal and strict): patches land untested"),
        ("ok", "all programs that it names were found"),
    ]
    assert "project config bare --config" in found[0].advice
