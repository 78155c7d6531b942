"""What coding agents write of their usage, after their public documentation. Unknown stays unknown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.spending import Growing
from integration.usage import Stream, read_all
from integration.usage.stream import MAX_LINE_BYTES
from runs.figures import Figures, read

DATA = Path(__file__).with_name("data")


def of_file(name: str) -> Figures:
    return read_all((DATA / name).read_bytes())


def test_claudes_result_counts_every_model_and_its_price() -> None:
    told = of_file("claude_result.json")
    assert told == Figures(
        input_tokens=1242,
        cache_read_tokens=121_004,
        cache_write_tokens=18_230,
        output_tokens=3_999,
        turns=7,
        cost_micro_usd=187_342,
        agent="claude-code",
        model="claude-sonnet-4-5",
        session="6f2b1c1e-6d0d-4a43-9a55-0d5a3f2f9b10",
    )
    assert told.total == 1242 + 121_004 + 18_230 + 3_999


def test_claudes_messages_are_added_up_before_there_is_a_result_each_once() -> None:
    told = of_file("claude_stream.jsonl")
    assert (told.input_tokens, told.cache_write_tokens, told.cache_read_tokens) == (10, 9_500, 9_000)
    assert (told.output_tokens, told.turns, told.is_derived) == (520, 2, True)
    assert (told.version, told.model, told.session) == ("2.0.14", "claude-sonnet-4-5", "s-1")
    assert told.cost_micro_usd is None  # not said is not 0


def test_codex_tells_its_thread_so_far_and_cached_input_within_the_input() -> None:
    told = of_file("codex_exec.jsonl")
    assert (told.input_tokens, told.cache_read_tokens) == (3_000, 48_000)
    assert (told.output_tokens, told.reasoning_tokens, told.turns) == (900, 320, 2)
    assert (told.total, told.agent) == (51_900, "codex")
    assert told.session == "0199a213-81c0-7800-8aa1-bbab2a035a53"


def test_geminis_stats_count_thoughts_on_top_and_every_model() -> None:
    told = of_file("gemini.json")
    assert (told.input_tokens, told.cache_read_tokens) == (24_939 - 21_263 + 8_965 + 28, 21_263)
    assert (told.output_tokens, told.reasoning_tokens, told.turns) == (214, 184, 3)
    assert told.total == 25_113 + 9_033
    assert of_file("gemini_stream.jsonl") == Figures(
        tokens=250,
        input_tokens=40,
        cache_read_tokens=10,
        output_tokens=200,
        agent="gemini-cli",
        model="gemini-2.5-pro",
        session="abc123",
    )


def test_aiders_rounded_lines_are_added_up_and_called_derived() -> None:
    told = of_file("aider.txt")
    assert (told.input_tokens, told.cache_write_tokens, told.cache_read_tokens) == (
        3_000 + 7_900,
        1_200,
        3_100,
    )
    assert (told.output_tokens, told.turns, told.cost_micro_usd) == (1_162, 2, 60_000)
    assert (told.version, told.model, told.is_derived) == ("0.86.1", "claude-sonnet-4-5", True)


def test_our_own_lines_are_cumulative_and_win_over_a_guess() -> None:
    stream = Stream()
    stream.feed((DATA / "codex_exec.jsonl").read_bytes())
    stream.feed(
        b'{"usage": {"tokens": 10, "reasoning_tokens": 3}}\n{"tokens": 8, "model": "m"}\n{"listens": true}\n'
    )
    assert stream.figures() == Figures(tokens=10, reasoning_tokens=3, model="m")
    assert stream.listens


@pytest.mark.parametrize(
    "text",
    ["", "no json", "{", '{"usage": 3}', '{"usage": {"tokens": true}}', '{"tokens": -1}', '{"tokens": 1e3}',
     '{"type": "result"}', '{"type": "turn.completed", "usage": null}', '{"stats": {"models": {"m": 3}}}',
     '{"type": "assistant", "message": {"usage": {"input_tokens": "9"}}}', "[" * 100_000,
     '{"tokens": 10000000000000}'],
)  # fmt: skip
def test_what_cannot_be_understood_is_unknown(text: str) -> None:
    assert read_all(text.encode()).total is None


def test_a_line_beyond_the_bound_is_passed_over_and_the_next_one_is_read() -> None:
    stream = Stream()
    stream.feed(b'{"tokens": 5, "x": "')
    for _ in range(3):
        stream.feed(b"y" * MAX_LINE_BYTES)
    stream.feed(b'"}\n{"tokens": 7}\n')
    assert stream.figures().total == 7


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.iterdir()))
def test_where_the_bytes_are_cut_does_not_matter(name: str) -> None:
    data = (DATA / name).read_bytes()
    whole = read_all(data)
    assert whole.total
    for size in (1, 7, 1000):
        stream = Stream()
        for at in range(0, len(data), size):
            stream.feed(data[at : at + size])
        assert stream.finish() == whole


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["type", "usage", "message", "stats", "models", "tokens", "result", "assistant", "id",
                         "input_tokens", "output_tokens", "modelUsage", "total_cost_usd", "cost_usd", "num_turns",
                         "turn.completed", "session_id", "listens", "api", "prompt", "cached"]),
        inner, max_size=5,
    ),
    max_leaves=6,
)  # fmt: skip


def no_stream_raises_or_shrinks(values: list[Any]) -> None:
    stream = Stream()
    known = Figures()
    for value in values:
        stream.feed(json.dumps(value).encode() + b"\n")
        known, _lower = known.grown(stream.figures())
        assert known.total is None or known.total >= 0
    assert read(known.to_json()).total == known.total


@given(st.lists(_JSON, max_size=5))
@settings(max_examples=60, deadline=None)
def test_no_line_raises(values: list[Any]) -> None:
    no_stream_raises_or_shrinks(values)


@pytest.mark.torture
@given(st.lists(_JSON, max_size=5))
@settings(max_examples=10_000, deadline=None)
def test_no_line_raises_ten_thousand_times(values: list[Any]) -> None:
    no_stream_raises_or_shrinks(values)


def test_a_file_is_read_as_it_grows_and_one_that_is_written_anew_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    file = Growing(tmp_path, path.name)
    assert file.look().is_empty
    path.write_text("Tokens: 1.0k sent, 500 received.\nTokens: 100 se")
    assert file.look().total == 1500
    with path.open("a") as out:
        out.write("nt, 50 received.\n")
    assert file.look().total == 1650
    path.write_text("Tokens: 1.0k sent, 500 received.\n")  # cut: not added to what was told
    assert file.look().total == 1650
    fresh = tmp_path / "fresh"
    fresh.write_text("Tokens: 9.0k sent, 500 received.\n")
    fresh.replace(path)
    assert file.finish().total == 9550  # of each figure the highest: 9,000 sent, 550 received


def test_links_pipes_and_folders_in_the_files_place_are_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"tokens": 5}\n')
    out = tmp_path / "out"
    out.mkdir()
    path = out / "usage.jsonl"
    path.symlink_to(secret)
    assert Growing(out, path.name).finish().is_empty
    path.unlink()
    os.mkfifo(path)
    assert Growing(out, path.name).finish().is_empty
    path.unlink()
    path.mkdir()
    assert Growing(out, path.name).finish().is_empty
