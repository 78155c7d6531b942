"""The pure rules: severities, statuses, evidence, coverage."""

from __future__ import annotations

import itertools

import pytest

from autopack_site.kernel.errors import IllegalTransition
from issues.aging import BACKLOG_MOVES, Status, Thresholds, after, project_thresholds
from issues.coverage import Coverage
from issues.evidence import joined, latest, path_in, paths_in, stable_key, storable
from issues.severity import count_change, severity_rules, worst
from runs.proofs import Proof
from strategy.defaults import default_ruleset

EVENTS = ("aged", "resolved", "reopened", "accepted", "lapsed", "worsened")
LEGAL = {
    ("open", "aged"): "needs_cleanup",
    ("reopened", "aged"): "needs_cleanup",
    ("open", "resolved"): "resolved",
    ("reopened", "resolved"): "resolved",
    ("needs_cleanup", "resolved"): "resolved",
    ("resolved", "reopened"): "reopened",
    ("open", "accepted"): "accepted",
    ("reopened", "accepted"): "accepted",
    ("needs_cleanup", "accepted"): "accepted",
    ("accepted", "accepted"): "accepted",
    ("accepted", "lapsed"): "open",
    ("accepted", "worsened"): "open",
    ("accepted", "resolved"): "resolved",
}


@pytest.mark.parametrize(("status", "event"), list(itertools.product(map(str, Status), EVENTS)))
def test_every_status_and_event_moves_as_the_table_says_or_is_refused(status, event):
    if (status, event) in LEGAL:
        assert after(status, event) == LEGAL[status, event]
    else:
        with pytest.raises(IllegalTransition):
            after(status, event)


def test_the_table_has_no_other_event():
    assert {event for _, event in BACKLOG_MOVES} == set(EVENTS)


@pytest.mark.parametrize(
    ("runs", "tiers", "is_reached"), [(2, 1, False), (3, 0, True), (0, 2, True), (4, 5, True), (0, 0, False)]
)
def test_either_threshold_is_enough(runs, tiers, is_reached):
    assert Thresholds(runs=3, tiers=2).reached(runs, tiers) is is_reached


def test_thresholds_are_of_the_default_profile_and_absent_parts_are_published_defaults():
    assert project_thresholds({}) == Thresholds(3, 2)
    assert project_thresholds(default_ruleset("p")) == Thresholds(3, 2)
    assert project_thresholds({"default_safety_profile": "safety_critical"}) == Thresholds(2, 1)
    own = {"safety_profiles": {"normal": {"minor_issue_aging_runs_threshold": 7}}}
    assert project_thresholds(own) == Thresholds(7, 2)


@pytest.mark.parametrize(
    ("severities", "result"),
    [
        (("minor",), "minor"),
        (("minor", "major"), "major"),
        (("major", "minor"), "major"),
        (("minor", "fatal"), "major"),
        (("",), "major"),
    ],
)
def test_the_worst_severity_wins_and_an_unknown_one_is_major(severities, result):
    assert worst(*severities) == result


@pytest.mark.parametrize(
    ("before", "after_", "change"),
    [
        (None, "minor", (1, 0)),
        (None, "major", (0, 1)),
        ("minor", "minor", (0, 0)),
        ("minor", "major", (-1, 1)),
        ("minor", None, (-1, 0)),
        (None, None, (0, 0)),
    ],
)
def test_counts_move_with_a_keys_standing(before, after_, change):
    assert count_change(before, after_) == change


def test_upgrades_and_default_severities_are_found_by_any_spelling():
    rows = {"schema_contract_change": {"default_severity": "major"}, "docs": {"default_severity": "minor"}}
    rules = severity_rules(["Data Loss"], rows, {"rows_gone": "data loss"})
    for category in ("data_loss", "data-loss", "ROWS_GONE", "schema_change", "schema_contract_change"):
        assert rules.floor(category) == "major", category
    for category in ("docs", "test_failure", "*", ""):
        assert rules.floor(category) == "minor", category


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        ("src/app.py", "src/app.py"),
        ("./src/app.py", "src/app.py"),
        ("src/app.py:12", "src/app.py"),
        ("src/app.py:12:7", "src/app.py"),
        ("src/app.py:12-20", "src/app.py"),
        ("tests/test_a.py::TestB::test_c[x y]", "tests/test_a.py"),
        ("src/app.py#L12", "src/app.py"),
        ("src/app.py#L12-L20", "src/app.py"),
        ("src/app.ts(12,5)", "src/app.ts"),
        ("src/app.py, line 12", "src/app.py"),
        ('File "src/app.py", line 12, in main', "src/app.py"),
        ("/tmp/a-1/src/app.py:12", "src/app.py"),
        ("build/9f8e7d6c5b/x.py", "build/9f8e7d6c5b/x.py"),
        ("/tmp/app.py", None),
        ("/tmp/a-1/../../etc/passwd", None),
        ("/tmp/../etc/passwd", None),
        ("/tmp/./../etc/passwd.d/x.py", None),
        ("/tmp//etc/passwd.py", None),
        ("/tmp/a-1//etc/x.py", None),
        ("/tmp/a-1/.git/config", None),
        ("/var/folders/../../etc/x/y.py", None),
        ('File "/etc/passwd", line 1', None),
        ('File "/usr/lib/python3/io.py", line 1', None),
        ("/home/ann/src/app.py:12", None),
        ("see line 12", None),
        ("setup.py", "setup.py"),
        ("Makefile", None),
        ("just some words", None),
        ("https://example.org/x.py", None),
        ("/etc/passwd", None),
        ("../up.py", None),
        ("a/../../b.py", None),
        (".git/config", None),
        ("src/.GIT/hooks", None),
        ("src/*.py", None),
        ("a\\b.py", None),
        ("a//b.py", None),
        ("src/a\x07.py", None),
        ("", None),
        ("x" * 600 + "/a.py", None),
    ],
)
def test_a_path_is_read_out_of_evidence_only_where_one_is(ref, path):
    assert path_in(ref) == path


def test_paths_keep_their_order_and_lose_doubles():
    assert paths_in(["b.py:1", "no", "a.py", "b.py::t"]) == ["b.py", "a.py"]


def test_bounded_lists_keep_the_first_or_the_last():
    assert joined(["a", "b"], ["b", "c", "d"], 3) == ["a", "b", "c"]
    assert latest(["a", "b"], ["b", "c", "d"], 3) == ["b", "c", "d"]


def test_a_long_key_keeps_its_identity():
    long, other = "k" * 300, "k" * 299 + "j"
    assert stable_key(long) == stable_key(long)
    assert len({stable_key(long), stable_key(other), stable_key("k" * 256)}) == 3
    assert {len(stable_key(key)) for key in (long, other)} == {256}
    assert stable_key("short") == "short"


def test_text_is_made_storable():
    assert storable("a\x00b\ud800c", 10) == "ab?c"
    assert storable("abcdef", 3) == "abc"


@pytest.mark.parametrize(
    ("scopes", "paths", "entry_scopes", "is_held"),
    [
        ([[]], ["any/where.py"], [], False),
        ([[]], [], [[]], False),
        ([["src/**"], []], [], [[]], False),
        ([[]], ["src/touched.py"], [[]], True),
        ([["lib/**"]], ["src/touched.py"], [[]], False),
        ([["lib/**"], []], ["src/touched.py", "lib/a.py"], [[]], True),
        ([["src/**"]], ["src/a/b.py"], [[]], True),
        ([["src/**"]], ["src/a.py", "docs/b.md"], [], False),
        ([["src/**"], ["docs"]], ["src/a.py", "docs/b.md"], [], True),
        ([["src/**"]], [], [[]], False),
        ([["src/**"]], [], [["src/**"]], True),
        ([["src/**"]], [], [["src/a/*.py"]], True),
        ([["src/*"]], [], [["src/**"]], False),
        ([["src/a?.py"]], [], [["src/a*.py"]], False),
        ([["src"]], [], [["src/"]], True),
        ([["src/"]], [], [["src/sub"]], True),
        ([["src/*.py"]], [], [["src"]], False),
        ([["src/**"]], [], [["src/**"], ["docs/**"]], False),
        ([["src/**"]], [], [], False),
        ([], ["src/a.py"], [["src/**"]], False),
    ],
)
def test_a_run_covers_what_its_scopes_cover(scopes, paths, entry_scopes, is_held):
    coverage = Coverage.of(Proof("P1", tuple(scope), ("src/touched.py",)) for scope in scopes)
    assert coverage.holds("wording", paths, entry_scopes) is is_held
    # what gates find a gate answers wherever it lies, unless its phase has a scope
    for category in ("test_failure", "flaky_test"):
        assert coverage.holds(category, paths, entry_scopes) is (is_held or [] in scopes)
