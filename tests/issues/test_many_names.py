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


@pytest.mark.django_db
def test_an_issue_of_many_names_keeps_its_key_since_each_would_have_to_be_written_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
