"""docker-compose.yml and Dockerfile name what the code has: commands, queues, variables, ports, secrets."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.urls import resolve

from autopack_site import configuration
from autopack_site.processes import QUEUES, process_table

ROOT = Path(settings.BASE_DIR)
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
PORT = "8790"
OURS = ("prepare", "web", *QUEUES, "beat")
SANDBOXED = {"agent", "gate"}


def default(name: str) -> str:
    """The code's own default: tests themselves run with others."""
    return configuration.known()[name].default


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_the_compose_file_keeps_to_its_published_schema():
    argv: list[str | Path] = [
        BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml",
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_nothing_in_the_dockerfile():
    done = subprocess.run([BIN / "hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_container_runs_the_very_command_that_up_runs(compose):
    programs = process_table(
        bind=f"0.0.0.0:{PORT}",
        web_workers=int(default("AUTOPACK_WEB_WORKERS")),
        web_threads=int(default("AUTOPACK_WEB_THREADS")),
        concurrency={queue: int(default(f"AUTOPACK_{queue.upper()}_WORKERS")) for queue in QUEUES},
    )
    for program in programs:
        wanted = ["python" if part == sys.executable else part for part in program.argv]
        assert compose["services"][program.label]["command"] == wanted
    assert set(compose["services"]) == {"prepare", "postgres", "redis", *(row.label for row in programs)}


def test_workers_get_the_variables_that_up_gives_them_and_time_to_stop(compose):
    for queue in QUEUES:
        service = compose["services"][queue]
        assert service["environment"]["REMAP_SIGTERM"] == "SIGQUIT"
        assert int(service["stop_grace_period"].removesuffix("s")) > float(
            default("AUTOPACK_SOFT_SHUTDOWN_S")
        )


def test_every_variable_exists_in_the_code(compose):
    known = {*configuration.known(), "REMAP_SIGTERM"}
    for name in OURS:
        given = {key.removesuffix("_FILE") for key in compose["services"][name]["environment"]}
        assert given <= known
    in_image = set(re.findall(r"\b(AUTOPACK_[A-Z_]+)=", DOCKERFILE))
    assert {"AUTOPACK_PRODUCTION", "AUTOPACK_BIND", "AUTOPACK_STATE_DIR", "AUTOPACK_RUNS_DIR"} <= in_image
    assert in_image <= known


def test_secrets_come_by_file_and_every_one_is_declared_and_explained(compose):
    manual = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    used = {name for service in compose["services"].values() for name in service.get("secrets", [])}
    assert used == set(compose["secrets"])
    for entry in compose["secrets"].values():
        assert f"> {entry['file'].removeprefix('./')}" in manual
    for name in OURS:
        environment = compose["services"][name]["environment"]
        for variable in ("AUTOPACK_SECRET_KEY", "DATABASE_URL", "AUTOPACK_REDIS_URL"):
            secret = environment[f"{variable}_FILE"].removeprefix("/run/secrets/")
            assert secret in compose["services"][name]["secrets"]
            assert variable not in environment


def test_what_lasts_lies_in_volumes_that_the_image_gives_to_its_user(compose):
    for name in OURS:
        mounted = dict(reversed(entry.split(":")) for entry in compose["services"][name]["volumes"])
        for variable, volume in (("AUTOPACK_STATE_DIR", "state"), ("AUTOPACK_RUNS_DIR", "runs")):
            found = re.search(rf"{variable}=(\S+)", DOCKERFILE)
            assert found
            assert mounted[found[1]] == volume
            assert found[1] in DOCKERFILE.partition("install --directory --owner=autopack")[2]
    declared = set(compose["volumes"])
    used = {entry.partition(":")[0] for row in compose["services"].values() for entry in row["volumes"]}
    assert used == declared


def test_nothing_runs_as_root_and_only_what_runs_foreign_code_is_allowed_namespaces(compose):
    assert re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE) == [("10001", "10001")]
    assert {compose["services"][name]["user"] for name in ("postgres", "redis")} == {"postgres", "redis"}
    for name in OURS:
        service = compose["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert ("seccomp=unconfined" in service["security_opt"]) == (name in SANDBOXED)
        assert "privileged" not in service


def test_every_root_file_system_is_read_only_and_what_is_written_is_a_volume_or_memory(compose):
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
    for name in OURS:  # tempfile's own default, which gunicorn's heartbeat files and the doctor use
        assert [entry.partition(":")[0] for entry in compose["services"][name]["tmpfs"]] == ["/tmp"]
    assert "/var/run/postgresql" in compose["services"]["postgres"]["tmpfs"]  # its socket


def test_the_image_has_the_pg_dump_of_the_server_that_it_is_run_with(compose):
    major = compose["services"]["postgres"]["image"].partition(":")[2]
    assert f"postgresql-client-{major} " in DOCKERFILE


def test_every_lasting_container_has_a_health_check_of_something_that_exists(compose):
    for name, service in compose["services"].items():
        assert ("healthcheck" in service) == (name != "prepare")
    (path,) = re.findall(rf"127\.0\.0\.1:{PORT}(/\w+)", str(compose["services"]["web"]["healthcheck"]))
    assert resolve(path).func is not None
    for queue in QUEUES:
        service = compose["services"][queue]
        assert f"{queue}@{service['hostname']}" in service["healthcheck"]["test"]
    (entry,) = re.findall(r"get\(name='([\w-]+)'\)", str(compose["services"]["beat"]["healthcheck"]))
    assert entry in settings.CELERY_BEAT_SCHEDULE


def test_only_the_web_process_is_reached_from_outside_and_there_from_this_machine(compose):
    published = {name: row["ports"] for name, row in compose["services"].items() if "ports" in row}
    assert published == {"web": [f"127.0.0.1:{PORT}:{PORT}"]}
    assert f"EXPOSE {PORT}\n" in DOCKERFILE


def test_the_image_holds_every_package_and_the_locked_requirements_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    copied = set(re.findall(r"^COPY (\w+) \./\w+$", DOCKERFILE, re.MULTILINE))
    assert copied == set(project["tool"]["importlinter"]["root_packages"])
    assert "requirements-dev" not in DOCKERFILE
    assert "--require-hashes" in DOCKERFILE
    assert {"git", "bubblewrap"} <= set(
        re.findall(r"[a-z][a-z-]+", DOCKERFILE.partition("apt-get install")[2])
    )
    kept = set((ROOT / ".dockerignore").read_text(encoding="utf-8").split())
    assert {f"!{name}" for name in (*copied, "manage.py", "requirements.txt")} <= kept
