"""Log files: bounded, whole at both ends, never written through a link."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopack_site.kernel.errors import Invalid
from integration.logs import MIN_BYTES, LogWriter, log_path, read_range, tail


def test_what_is_written_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.log"
    with LogWriter(path, 10_000) as log:
        log.write(b"one\n")
        assert read_range(path, 0, 100).data == b"one\n"
        log.write(b"\x1b[31mtwo\x00\n")
        found = read_range(path, 4, 100)
    assert found.data == b"\x1b[31mtwo\x00\n"
    assert (found.next_offset, found.size_bytes) == (14, 14)
    assert path.stat().st_mode & 0o077 == 0


def test_ranges_and_tails_keep_within_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    assert read_range(path, 0, 10).data == b""
    assert tail(path, 10) == b""
    with LogWriter(path, 10_000) as log:
        log.write(b"0123456789")
    assert read_range(path, 3, 4).data == b"3456"
    assert read_range(path, 99, 4).data == b""
    assert tail(path, 3) == b"789"
    assert tail(path, 99) == b"0123456789"
    for call in (lambda: read_range(path, -1, 1), lambda: read_range(path, 0, -1), lambda: tail(path, -1)):
        with pytest.raises(Invalid):
            call()


def test_a_second_writer_appends(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    for word in (b"one ", b"two"):
        with LogWriter(path, 10_000) as log:
            log.write(word)
    assert path.read_bytes() == b"one two"


def test_a_long_log_keeps_head_and_tail_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    lines = [b"line %06d\n" % number for number in range(20_000)]
    with LogWriter(path, 20_000) as log:
        for line in lines:
            log.write(line)
        omitted = log.omitted_bytes
    data = path.read_bytes()
    head, mark, rest = data.partition(b"\n[... ")
    digits, _, end = rest.partition(b" bytes left out ...]\n")
    whole = b"".join(lines)
    assert len(data) <= 20_000
    assert mark
    assert head == whole[:10_000]
    assert whole.endswith(end)
    assert len(end) >= 5_000
    assert int(digits) == omitted == len(whole) - len(head) - len(end)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x.log"]


def test_the_count_of_missing_bytes_survives_a_new_writer(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    for _ in range(2):
        with LogWriter(path, MIN_BYTES) as log:
            log.write(b"x" * 50_000)
    kept = path.read_bytes().count(b"x")
    assert log.omitted_bytes + kept == 100_000


def test_a_link_in_the_logs_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "x.log").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        LogWriter(tmp_path / "x.log", 10_000)
    with pytest.raises(OSError, match="symbolic"):
        read_range(tmp_path / "x.log", 0, 10)
    assert target.read_bytes() == b"precious"


def test_names_are_made_of_ids_alone(tmp_path: Path) -> None:
    assert log_path(tmp_path, "run-1", "gate-2") == tmp_path / "run-1" / "gate-2.log"
    for ids in ([], ["../x"], ["a/b"], [""], ["a", ".."], ["-rf"]):
        with pytest.raises(Invalid):
            log_path(tmp_path, *ids)


@given(st.lists(st.binary(max_size=3000), max_size=12))
def test_any_writes_leave_a_bounded_log_with_true_ends(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("log") / "x.log"
    whole = b"".join(chunks)
    with LogWriter(path, MIN_BYTES) as log:
        for chunk in chunks:
            log.write(chunk)
    data = path.read_bytes()
    assert len(data) <= MIN_BYTES
    if len(whole) <= MIN_BYTES:
        assert data == whole
    assert data[: MIN_BYTES // 2] == whole[: MIN_BYTES // 2]
    assert data[-MIN_BYTES // 8 :] == whole[-MIN_BYTES // 8 :]
