"""Names, votes and groups on an entry's page; merging and splitting from there."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from issues.known import IssueName
from issues.models import BacklogEntry
from tests.factories import make_run
from tests.issues.http import entry_of, saw
from tests.issues.test_admin import TRICKS, WHY, operator, page_of

__all__ = ["operator"]
pytestmark = pytest.mark.django_db


def post(client: Client, entry: BacklogEntry, action: str, **fields: object) -> str:
    """Confirm a decision about the entry; return where that leads, "" where the form comes back."""
    assert client.get(page_of(entry, action)).status_code == 200
    answer = client.post(page_of(entry, action), {"why": WHY, "confirmed": "yes", **fields})
    return str(answer.headers.get("Location", ""))


def test_an_entry_s_page_shows_its_names_votes_and_group_as_text(operator: Client) -> None:
    run = make_run()
    saw(run, "a", f"b{TRICKS}", reporter=TRICKS, description="It leaks", evidence_refs=("src/<b>.py",))
    saw(run, "elsewhere", description="it leaks", evidence_refs=("src/net.py",))
    text = operator.get(page_of(entry_of("a"))).content.decode()
    assert "place · src/&lt;b&gt;.py" in text
    assert (
        f'href="/admin/issues/backlogentry/{entry_of("elsewhere").pk}/change/">elsewhere</a> · open' in text
    )
    listed = f"/admin/issues/backlogentry/?group={entry_of('a').pk}"
    assert f'href="{listed}">As a list</a>' in text
    saw(run, "other", description="it breaks", evidence_refs=("src/net.py",))
    found = operator.get(listed).context["cl"].queryset.values_list("issue_key", flat=True)
    assert list(found) == ["elsewhere", "a"]
    for odd in ("x", "0", "9" * 30, "-1", "²"):
        assert operator.get(f"/admin/issues/backlogentry/?group={odd}").status_code == 200
    assert "<script>alert(1)" not in text
    assert "\u202e" not in text


def test_another_entry_is_merged_from_the_page_and_the_trail_says_so(operator: Client) -> None:
    saw(make_run(), "a", "b")
    kept = entry_of("b")
    assert post(operator, kept, "merge", other="a") == page_of(kept)
    assert BacklogEntry.objects.get().occurrence_count == 2
    assert LogEntry.objects.get().change_message == f"Merged a into it. Why: {WHY}"


def test_a_name_is_split_off_from_the_page(operator: Client) -> None:
    saw(make_run(), "a", "b", description="It leaks", evidence_refs=("src/a.py",))
    entry = BacklogEntry.objects.get()
    assert post(operator, entry, "split", name_id=IssueName.objects.get(name="b").pk) == page_of(entry)
    assert {row.issue_key for row in BacklogEntry.objects.all()} == {"a", "b"}
    place = IssueName.objects.get(kind="place")
    assert post(operator, entry, "split", name_id=place.pk) == ""  # a place needs a key
    assert post(operator, entry, "split", name_id=place.pk, issue_key="leak") == page_of(entry)
    assert entry_of("leak").occurrence_count == 0


@pytest.mark.parametrize("other", ["", "nobody", "a"])
def test_what_can_t_be_merged_comes_back_with_the_reason(operator: Client, other: str) -> None:
    saw(make_run(), "a")
    entry = BacklogEntry.objects.get()
    assert post(operator, entry, "merge", other=other) == ""
    assert not LogEntry.objects.exists()
