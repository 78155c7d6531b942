"""An issue of very many names: what one report costs does not grow with them."""

from __future__ import annotations

from typing import Any

import pytest

from autopack_site.kernel.prepared import Prepared
from issues import naming
from issues.known import IssueName
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry
from tests.factories import make_run
from tests.issues.reports import report

ledger = DatabaseLedger()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many names each call has written, where an issue of more than twenty is not renamed."""
    monkeypatch.setattr(naming, "MAX_RENAMED", 20)
    few = Prepared[IssueName](
        lambda project_pk, keys: IssueName.objects.filter(project=project_pk, issue_key__in=keys)[:21]
    )
    monkeypatch.setattr(naming, "_some_of_issues", few)
    written: list[int] = []
    put = naming._put.many

    def noted(rows: list[IssueName]) -> Any:
        written.append(len(rows))
        return put(rows)

    monkeypatch.setattr(naming._put, "many", noted)
    return written


@pytest.mark.django_db
def test_an_issue_of_many_names_keeps_its_key_since_each_would_have_to_be_written_anew(
    written: list[int],
) -> None:
    phase = make_run().phases.get(phase_id="P1")

    def say(*keys: str, **said: Any) -> None:
        place = {"description": "never closed", "evidence_refs": ("src/io.py",)}
        ledger.record(phase.pk, [report(key, **{**place, **said}) for key in keys], reporter="b")

    def issues() -> dict[str, int]:
        return dict(BacklogEntry.objects.values_list("issue_key", "occurrence_count"))

    say(*(f"m{number:02}" for number in range(15)))
    say("k")
    assert issues() == {"k": 16}, "below the bound the least key is taken"
    say(*(f"n{number:02}" for number in range(10)))
    written.clear()
    for number in range(9, 4, -1):
        say(f"a{number}")
    assert issues() == {"k": 31}
    assert max(written) <= 2
    # another issue that turns out to be the same is named as the large one, though its key is less
    say("b", description="leaks", evidence_refs=("src/other.py",))
    say("b")
    assert issues() == {"k": 33}


@pytest.mark.django_db
@pytest.mark.parametrize(("large", "middle"), [("p", "g"), ("g", "p")])
def test_of_issues_that_become_one_the_one_of_most_names_is_not_renamed(
    written: list[int], large: str, middle: str
) -> None:
    """Whichever of them is the first that the database comes upon."""
    phase = make_run().phases.get(phase_id="P1")

    def say(*reports: tuple[str, str]) -> None:
        said = [report(key, description="never closed", evidence_refs=(place,)) for key, place in reports]
        ledger.record(phase.pk, said, reporter="b")

    say(*((f"{middle}{number:02}", "src/middle.py") for number in range(18)))
    for part in range(3):
        say(*((f"{large}{part}{number:02}", "src/large.py") for number in range(20)))
    say(("a", "src/small.py"))
    written.clear()
    say(("a", "src/middle.py"), ("a", "src/large.py"))
    entry = BacklogEntry.objects.get()
    assert (entry.issue_key, entry.occurrence_count) == (f"{large}000", 81)
    assert max(written) <= 20 + 4, "the names of the others, and not the sixty of the large one"


@pytest.mark.django_db
def test_the_least_key_is_kept_where_it_is_that_of_the_larger_issue(written: list[int]) -> None:
    phase = make_run().phases.get(phase_id="P1")

    def say(*reports: tuple[str, str]) -> None:
        said = [report(key, description="never closed", evidence_refs=(place,)) for key, place in reports]
        ledger.record(phase.pk, said, reporter="b")

    for name, place in (("b", "src/b.py"), ("c", "src/c.py")):
        for part in range(3):
            say(*((f"{name}{part}{number:02}", place) for number in range(20)))
    say(("b000", "src/c.py"))
    assert BacklogEntry.objects.get().issue_key == "b000", "both are large, so the lesser key of the two"
