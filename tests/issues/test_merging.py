"""People make issues one, or a name an issue of its own; it holds for whatever is reported later."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from autopack_site.kernel.errors import AutopackError, Invalid
from issues import merging
from issues.errors import NameNotFound, NotMergeable
from issues.known import IssueName
from issues.models import BacklogEntry, BacklogEvent, RunIndexEntry
from runs.models import Run
from tests.factories import make_project, make_run
from tests.issues.http import client, entry_of, saw
from tests.issues.reports import counts

pytestmark = pytest.mark.django_db
LEAK: dict[str, Any] = {"description": "The file is never closed", "evidence_refs": ("src/io.py:12",)}


def merge(into: str, *others: str) -> BacklogEntry:
    pks = [entry_of(key).pk for key in others]
    return merging.merge_entries(entry_of(into).pk, pks, by="ann", why="one defect")


def split(key: str, name: str, as_key: str = "") -> BacklogEntry:
    entry = entry_of(key)
    row = IssueName.objects.get(name=name) if name != "place" else IssueName.objects.get(kind="place")
    return merging.split_name(entry.pk, row.pk, by="ann", why="another defect", as_key=as_key)


def run_with(*keys: str, **fields: Any) -> Run:
    run = make_run()
    for key in keys:
        saw(run, key, **fields)
    return run


def test_merged_entries_stay_one_whatever_is_reported_later() -> None:
    run = run_with("b", "c", "a")
    merge("b", "c", "a")
    assert [row.issue_key for row in BacklogEntry.objects.all()] == ["b"]
    assert entry_of("b").occurrence_count == 3
    later = make_run(run.project)
    for key in ("a", "c", "b", "a"):
        saw(later, key)
    # the key that a person chose stays, though others are less
    assert [row.issue_key for row in BacklogEntry.objects.all()] == ["b"]
    assert entry_of("b").occurrence_count == 7
    assert counts(later) == (1, 0)
    saw(later, "0-new", **LEAK)
    saw(later, "c", **LEAK)
    assert [row.issue_key for row in BacklogEntry.objects.all()] == ["b"]


def test_a_run_counts_merged_issues_as_one_when_it_sees_them_again() -> None:
    run = run_with("b", "c")
    assert counts(run) == (2, 0)
    merge("b", "c")
    saw(run, "c")
    assert counts(run) == (1, 0)
    assert run.issue_index.get().occurrence_count == 3


def test_no_reporter_can_take_the_key_that_a_merged_entry_is_hidden_under() -> None:
    run = run_with("b", "c")
    gone = entry_of("c").pk
    for guess in (f"merged:{gone}:c", "merged::c", "merged:c"):
        saw(run, guess)
    merge("b", "c")
    saw(run, "c")
    assert entry_of("b").occurrence_count == 3


def test_both_histories_tell_of_a_merge() -> None:
    run_with("b", "c")
    gone = entry_of("c")
    kept = merge("b", "c")
    told = (
        BacklogEvent.objects.exclude(event="opened")
        .order_by("pk")
        .values_list("entry", "event", "who", "why")
    )
    assert list(told) == [
        (gone.pk, "merged", "ann", "one defect (c is one issue with b)"),
        (kept.pk, "absorbed", "ann", "one defect (c is one issue with b)"),
    ]


def test_a_key_that_was_split_off_decides_for_itself() -> None:
    run = run_with("a", "b", **LEAK)
    assert [row.issue_key for row in BacklogEntry.objects.all()] == ["a"]
    new = split("a", "b")
    assert (new.issue_key, new.occurrence_count, new.status) == ("b", 0, "open")
    later = make_run(run.project)
    saw(later, "b", **LEAK)  # where and why say otherwise
    saw(later, "a", **LEAK)
    saw(later, "c", **LEAK)
    assert {row.issue_key: row.occurrence_count for row in BacklogEntry.objects.all()} == {"a": 4, "b": 1}
    assert counts(later) == (2, 0)


def test_a_place_that_was_split_off_takes_its_reports_along_whatever_their_keys() -> None:
    run = run_with("a", **LEAK)
    new = split("a", "place", as_key="leak-in-io")
    later = make_run(run.project)
    saw(later, "a", **LEAK)
    saw(later, "0", **LEAK)
    saw(later, "a")
    assert new.issue_key == "leak-in-io"
    assert {row.issue_key: row.occurrence_count for row in BacklogEntry.objects.all()} == {
        "a": 2, "leak-in-io": 2,
    }  # fmt: skip


def test_what_was_merged_can_be_split_off_again() -> None:
    run = run_with("b", "c")
    merge("b", "c")
    split("b", "c")
    saw(run, "c")
    saw(run, "b")
    assert {row.issue_key: row.occurrence_count for row in BacklogEntry.objects.all()} == {"b": 3, "c": 1}


def test_keys_that_an_issue_went_by_before_do_not_leave_with_a_name_that_is_split_off() -> None:
    ended = run_with("m", **LEAK)
    Run.objects.filter(pk=ended.pk).update(state="DONE_SUCCESS", completed_at=clock.now())
    run = make_run(ended.project)
    saw(run, "d", **LEAK)  # the issue went by m, and now by d
    saw(run, "e")
    merge("e", "d")
    split("e", "d")
    saw(ended, "d")
    rows = RunIndexEntry.objects.filter(run=ended).values_list("issue_key", "occurrence_count")
    assert dict(rows) == {"m": 1, "d": 1}, "m stayed with e, and so does what this run saw as m"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: merge("a", "a"), "value_error"),
        (lambda: merging.merge_entries(entry_of("a").pk, [], by="x", why="y"), "value_error"),
        (lambda: merging.merge_entries(entry_of("a").pk, [entry_of("z").pk], by="x", why=" "), "missing"),
        (lambda: split("a", "a"), NotMergeable),
        (lambda: split("z", "a"), NameNotFound),
        (lambda: split("a", "place"), "missing"),
        (lambda: split("a", "place", as_key="z"), "value_error"),
    ],
)
def test_what_can_t_be_is_refused_and_changes_nothing(call: Any, error: Any) -> None:
    run_with("a", **LEAK)
    saw(Run.objects.get(), "z")
    names = set(IssueName.objects.values_list("name", "issue_key", "is_pinned"))
    with pytest.raises(AutopackError) as refused:
        call()
    if isinstance(refused.value, Invalid):
        assert [row["type"] for row in refused.value.problems] == [error]
    else:
        assert type(refused.value) is error
    assert set(IssueName.objects.values_list("name", "issue_key", "is_pinned")) == names
    assert not BacklogEvent.objects.exclude(event="opened").exists()


def test_over_http_an_entry_shows_its_names_votes_and_group() -> None:
    project = make_project("shop", is_default=True)
    run = make_run(project, run_id="r1")
    saw(run, "b", reporter="ann", **LEAK)
    saw(run, "a", reporter="bob", **LEAK)
    saw(run, "z", description=LEAK["description"], evidence_refs=("src/net.py:3",))
    http = client("operator")
    shown = http.get(f"/project/issues/{entry_of('a').pk}").json()
    assert [(row["kind"], row["name"]) for row in shown["names"] if row["kind"] == "key"] == [
        ("key", "a"), ("key", "b"),
    ]  # fmt: skip
    assert [row["site"] for row in shown["names"] if row["kind"] == "place"] == ["src/io.py"]
    assert (shown["votes"], shown["reporters"], shown["merged_into"]) == (2, ["ann", "bob"], None)
    assert shown["group"] == [
        {"id": entry_of("z").pk, "issue_key": "z", "status": "open", "site": "src/net.py"}
    ]  # fmt: skip
    # any of its keys finds it, and so does who reported it
    assert [row["issue_key"] for row in http.get("/project/issues?issue_key=b").json()["entries"]] == ["a"]
    assert [row["issue_key"] for row in http.get("/project/issues?reporter=bob").json()["entries"]] == ["a"]
    assert [row["votes"] for row in http.get("/project/issues").json()["entries"]] == [1, 2]
    later = make_run(project, run_id="r2")
    saw(later, "0", **LEAK)
    # a run that saw it under a key that it has lost since is found by it still
    found = http.get("/project/issues?seen_in_run=r1").json()["entries"]
    assert [row["issue_key"] for row in found] == ["z", "0"]


def test_over_http_entries_are_merged_and_split() -> None:
    project = make_project("shop", is_default=True)
    run = make_run(project, run_id="r1")
    saw(run, "a", "b")
    http = client("operator", name="oscar")
    gone = entry_of("b").pk
    path = f"/project/issues/{entry_of('a').pk}"
    answer = http.post(f"{path}/merge", {"entries": [gone], "why": "one"}, format="json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["occurrence_count"] == 2
    assert http.get(f"/project/issues/{gone}").json()["merged_into"] == entry_of("a").pk
    again = http.post(f"{path}/merge", {"entries": [gone], "why": "one"}, format="json")
    assert (again.status_code, again.json()["code"]) == (409, "issue-not-mergeable")
    [name] = [row for row in answer.json()["names"] if row["name"] == "b"]
    answer = http.post(f"{path}/split", {"name_id": name["id"], "why": "two after all"}, format="json")
    assert answer.status_code == 200, answer.content
    assert (answer.json()["issue_key"], answer.json()["names"][0]["is_pinned"]) == ("b", True)
    assert BacklogEvent.objects.filter(who="oscar").count() == 4
    missing = http.post(f"{path}/split", {"name_id": name["id"], "why": "x"}, format="json")
    assert (missing.status_code, missing.json()["code"]) == (404, "issue-name-not-found")


def test_entries_of_another_project_are_not_merged() -> None:
    run_with("a")
    saw(make_run(make_project("side")), "b")
    http = client("operator", project=Run.objects.get(issue_index__issue_key="a").project)
    path = f"/project/issues/{entry_of('a').pk}/merge"
    answer = http.post(path, {"entries": [entry_of("b").pk], "why": "one"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (404, "backlog-entry-not-found")
    everybody = client("operator", name="all")
    answer = everybody.post(path, {"entries": [entry_of("b").pk], "why": "one"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (404, "backlog-entry-not-found")


def test_an_entry_and_a_list_take_the_same_queries_for_many_names_and_votes() -> None:
    project = make_project("shop", is_default=True)
    run = make_run(project, run_id="r1")
    http = client("operator")
    taken = []
    for size in (1, 30):
        for number in range(size):
            saw(
                run,
                f"k{size}-{number}",
                reporter=f"r{number}",
                **{**LEAK, "description": f"size {'x' * size}"},
            )
            saw(
                run,
                f"other-{size}-{number}",
                description=f"size {'x' * size}",
                evidence_refs=(f"a{number}.py",),
            )
        entry = entry_of(f"k{size}-0")
        for path in (f"/project/issues/{entry.pk}", "/project/issues"):
            with CaptureQueriesContext(connection) as captured:
                assert http.get(path).status_code == 200
            taken.append(len(captured))
    assert taken[:2] == taken[2:]
