"""Result files are read as files of the checkout, whatever a command put in their place."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from integration.sandbox.collect import Collected, collect
from integration.sandbox.errors import SandboxMisuse
from integration.sandbox.ownership import reclaim
from tests.integration.sandbox.conftest import Attempt


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "checkout"
    (path / "target" / "reports").mkdir(parents=True)
    (path / "report.xml").write_bytes(b"<testsuite/>")
    for name in ("b.xml", "a.xml", "notes.txt"):
        (path / "target" / "reports" / name).write_bytes(name.encode())
    (tmp_path / "secret.xml").write_bytes(b"the host's secret")
    return path


def one(tree: Path, pattern: str, max_bytes: int = 1000) -> Collected:
    (row,) = collect(tree, pattern, max_bytes=max_bytes)
    return row


def test_a_report_is_read(tree: Path) -> None:
    assert one(tree, "report.xml") == Collected("report.xml", "ok", b"<testsuite/>")
    assert one(tree, "target/reports/a.xml").data == b"a.xml"


def test_a_pattern_reads_all_that_match_in_order(tree: Path) -> None:
    rows = collect(tree, "*/reports/*.xml", max_bytes=1000)
    assert [(row.path, row.data) for row in rows] == [
        ("target/reports/a.xml", b"a.xml"),
        ("target/reports/b.xml", b"b.xml"),
    ]


def test_what_is_missing_is_said_to_be(tree: Path) -> None:
    for pattern in ("none.xml", "no/such/folder.xml", "*.json", "none/*.xml"):
        assert one(tree, pattern).status == "missing"
    assert one(tree / "gone", "report.xml").status == "missing"


def test_a_link_in_the_files_place_is_not_followed(tree: Path) -> None:
    for target in ("../secret.xml", str(tree.parent / "secret.xml"), "report.xml", "/etc/passwd"):
        (tree / "link.xml").symlink_to(target)
        assert one(tree, "link.xml") == Collected("link.xml", "not_regular")
        assert collect(tree, "l*.xml", max_bytes=1000) == (Collected("link.xml", "not_regular"),)
        (tree / "link.xml").unlink()


def test_a_link_in_a_folders_place_is_not_followed(tree: Path) -> None:
    (tree / "out").symlink_to(tree.parent)
    assert one(tree, "out/secret.xml").status == "not_regular"
    assert one(tree, "o*/secret.xml").status == "missing"


def test_a_link_in_the_checkouts_place_is_not_followed(tree: Path) -> None:
    link = tree.parent / "link"
    link.symlink_to(tree)
    assert one(link, "report.xml").status == "not_regular"


def test_a_fifo_does_not_block(tree: Path) -> None:
    os.mkfifo(tree / "fifo.xml")
    assert one(tree, "fifo.xml").status == "not_regular"


@pytest.mark.enable_socket
def test_a_socket_and_a_folder_are_not_regular(tree: Path) -> None:
    place = os.getcwd()
    os.chdir(tree)  # a socket's path may have 107 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.xml")
    finally:
        os.chdir(place)
    assert one(tree, "socket.xml").status == "not_regular"
    assert one(tree, "target").status == "not_regular"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_is_not_regular(tree: Path) -> None:
    os.mknod(tree / "zero.xml", 0o020666, os.makedev(1, 5))
    assert one(tree, "zero.xml").status == "not_regular"


def test_a_large_file_is_not_read(tree: Path) -> None:
    with open(tree / "large.xml", "wb") as handle:
        handle.truncate(10**12)  # sparse: costs nothing to leave, everything to read
    assert one(tree, "large.xml") == Collected("large.xml", "too_large")
    assert one(tree, "report.xml", max_bytes=12).status == "ok"
    assert one(tree, "report.xml", max_bytes=11).status == "too_large"


def test_many_files_are_bounded_together_and_in_number(tree: Path) -> None:
    for number in range(20):
        (tree / f"part-{number:02}.xml").write_bytes(b"x" * 10)
    rows = collect(tree, "part-*.xml", max_bytes=55)
    assert [row.status for row in rows] == ["ok"] * 5 + ["too_large"] * 15
    rows = collect(tree, "part-*.xml", max_bytes=1000, max_files=3)
    assert [row.status for row in rows] == ["ok"] * 3 + ["too_large"]


@pytest.mark.parametrize(
    "pattern", ["", "/etc/passwd", "../secret.xml", "a/../../b", "a//b", "./a", "a/", "a\0b"]
)
def test_a_path_that_is_not_plain_is_refused(tree: Path, pattern: str) -> None:
    with pytest.raises(SandboxMisuse):
        collect(tree, pattern, max_bytes=1000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_closed_file_is_unreadable(tree: Path) -> None:
    (tree / "report.xml").chmod(0)
    assert one(tree, "report.xml").status == "unreadable"


@pytest.mark.sandbox
def test_what_a_hostile_gate_leaves_at_the_reports_place(attempt: Attempt) -> None:
    outcome, output = attempt.shell(
        "ln -s /etc/passwd one.xml; mkfifo two.xml; ln -s / out; mkdir closed; echo x > closed/three.xml; "
        "chmod 0 closed/three.xml closed; ln one.xml four.xml; echo '<testsuite/>' > good.xml"
    )
    assert outcome.succeeded, output
    reclaim(attempt.checkout, attempt.uid)
    found = {
        path: one(attempt.checkout, path).status
        for path in ("one.xml", "two.xml", "out/etc/passwd", "closed/three.xml", "four.xml", "good.xml")
    }
    assert found == {
        "one.xml": "not_regular",
        "two.xml": "not_regular",
        "out/etc/passwd": "not_regular",
        "closed/three.xml": "ok",
        "four.xml": "not_regular",
        "good.xml": "ok",
    }
