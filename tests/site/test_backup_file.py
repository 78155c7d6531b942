"""The file of a backup: whole or refused, nothing in it but a backup's own names, and no way out of the folder."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from autopack_site.backup import archive, postgres
from autopack_site.backup.errors import BackupFailed, BackupUnsound, RestoreRefused
from autopack_site.backup.restore import restore
from autopack_site.backup.save import save
from tests.factories import make_project


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A small backup with a database's dump, a mirror's ref and a log."""
    (tmp_path / "content").write_bytes(b"x" * 3000)
    with archive.Writer(tmp_path / "made.tar") as writer:
        for name in (archive.DATABASE, "mirrors/p.git/refs/heads/autonomous/r", "logs/r/gate-1.log"):
            assert writer.add(name, tmp_path / "content")
        writer.finish({"autopack": "0.1.0", "created_at": "2026-01-01T00:00:00+00:00", "migrations": []})
    return tmp_path / "made.tar"


def rewritten(made: Path, change) -> Path:
    """The backup with its members passed through `change(name, data)`, which gives a list of members."""
    target = made.with_name("changed.tar")
    with tarfile.open(made) as old, tarfile.open(target, "w") as new:
        for entry in old:
            content = old.extractfile(entry)
            assert content is not None
            for info, data in change(entry, content.read()):
                info.size = len(data)
                new.addfile(info, io.BytesIO(data))
    return target


def test_what_was_put_in_comes_out_and_only_its_owner_may_read_it(made, tmp_path):
    manifest = archive.check(made)
    assert len(manifest["files"]) == 3
    archive.extract(made, tmp_path / "out")
    assert (tmp_path / "out/mirrors/p.git/refs/heads/autonomous/r").read_bytes() == b"x" * 3000
    assert made.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".*partial"))


def test_a_byte_that_changed_is_told(made):
    def flip(entry, data):
        return [(entry, b"y" + data[1:] if entry.name == archive.DATABASE else data)]

    with pytest.raises(BackupUnsound, match=r"differs from its manifest: database\.dump"):
        archive.check(rewritten(made, flip))


@pytest.mark.parametrize("name", ["logs/r/gate-1.log", archive.MANIFEST, archive.DATABASE])
def test_a_file_that_is_missing_is_told(made, name):
    with pytest.raises(BackupUnsound):
        archive.check(rewritten(made, lambda entry, data: [(entry, data)] if entry.name != name else []))


def test_a_backup_that_was_cut_short_is_refused(made):
    whole = made.read_bytes()
    for length in (0, 100, 5000, len(whole) // 2):
        made.write_bytes(whole[:length])
        with pytest.raises(BackupUnsound):
            archive.check(made)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "mirrors/../../evil",
        "mirrors/p.git/./x",
        "runs",
        "logs",
        "mirrors//x",
        "other/x",
    ],
)
def test_a_name_that_no_backup_has_is_refused(made, name):
    def add(entry, data):
        return [(entry, data), *([(tarfile.TarInfo(name), b"x")] if entry.name == archive.DATABASE else [])]

    changed = rewritten(made, add)
    with pytest.raises(BackupUnsound, match="what no backup does"):
        archive.check(changed)
    with pytest.raises(BackupUnsound):
        archive.extract(changed, made.parent / "out")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_or_a_device_is_refused(made, kind):
    def link(entry, data):
        if entry.name != "logs/r/gate-1.log":
            return [(entry, data)]
        entry.type, entry.linkname = kind, "/etc/passwd"
        return [(entry, b"")]

    with pytest.raises(BackupUnsound):
        archive.check(rewritten(made, link))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"{", b'{"files": []}', b'{"files": {}, "format": 99}'])
def test_a_manifest_that_is_none_is_refused(made, data):
    with pytest.raises(BackupUnsound):
        archive.check(
            rewritten(made, lambda entry, old: [(entry, data if entry.name == archive.MANIFEST else old)])
        )


def test_what_is_no_regular_file_is_left_out(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    with archive.Writer(tmp_path / "new.tar") as writer:
        assert [writer.add(f"logs/{name}", tmp_path / name) for name in ("link", "pipe", "gone")] == [
            False
        ] * 3
    assert not (tmp_path / "new.tar").exists()  # it was not finished, so nothing is left


def test_a_log_that_shrinks_while_it_is_read_leaves_the_backup_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(archive.os, "fstat", lambda _descriptor: type("Stat", (), {"st_size": 10}))
    (tmp_path / "log").write_bytes(b"1234")
    with archive.Writer(tmp_path / "new.tar") as writer:
        for name in (archive.DATABASE, "logs/r/x.log"):
            writer.add(name, tmp_path / "log")
        writer.finish({})
    assert archive.check(tmp_path / "new.tar")["files"]["logs/r/x.log"]["bytes"] == 10


@pytest.fixture
def system(tmp_path, settings):
    """Folders of this test's own, empty."""
    settings.STATE_DIR, settings.RUNS_DIR = tmp_path / "state", tmp_path / "files"
    return tmp_path


@pytest.mark.django_db
def test_a_backup_says_what_made_it_and_is_never_written_over(system):
    target = save(system / "b.tar")
    manifest = archive.check(target)
    assert manifest["autopack"] == "0.1.0"
    assert "runs.0001_runs" in manifest["migrations"]
    with pytest.raises(BackupFailed, match="exists already"):
        save(target)
    with pytest.raises(CommandError, match="is no folder"):
        call_command("backup", system / "nowhere" / "b.tar")


@pytest.mark.django_db
def test_a_system_that_has_something_is_refused(made, system, monkeypatch):
    monkeypatch.setattr(postgres, "other_sessions", lambda: 0)
    (system / "state" / "mirrors" / "p.git").mkdir(parents=True)
    make_project()
    with pytest.raises(RestoreRefused, match="projects in the database, mirrors in"):
        restore(made)


@pytest.mark.django_db
def test_a_restore_beside_running_processes_is_refused(made, system):
    second = connection.copy()
    try:
        second.ensure_connection()
        with pytest.raises(RestoreRefused, match="stop web, workers and beat"):
            restore(made)
    finally:
        second.close()


@pytest.mark.django_db
def test_a_backup_of_a_newer_autopack_is_refused(system):
    MigrationRecorder(connection).record_applied("runs", "9999_from_the_future")
    made = save(system)
    with pytest.raises(BackupUnsound, match=r"newer than this one: it has runs\.9999"):
        restore(made)


def test_the_check_alone_tells_whether_a_file_is_whole(made, capsys):
    call_command("restore", made, check=True)
    assert "whole: 3 files" in capsys.readouterr().out
    made.write_text(json.dumps({}))
    with pytest.raises(CommandError):
        call_command("restore", made, check=True)
