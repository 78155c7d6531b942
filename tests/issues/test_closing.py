"""A cleanup phase resolves the issues that its strategy names, when it completes and nobody saw them again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from issues.ledger import DatabaseLedger
from issues.merging import merge_entries
from issues.models import BacklogEntry, BacklogEvent
from runs.models import Phase, Run
from strategy.models import Project
from tests.factories import make_project, make_run, pass_gate
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()
COMMIT = "c" * 40


@pytest.fixture
def project() -> Project:
    """A project that knows `leak` in src/io.py and `slow` in src/slow.py."""
    project = make_project()
    say(make_run(project), report("leak", evidence_refs=("src/io.py",), description="The file is never closed"),
        report("slow", evidence_refs=("src/slow.py",)))  # fmt: skip
    return project


def say(run: Run, *reports: Any) -> None:
    ledger.record(run.phases.get(phase_id="P1").pk, reports, reporter="ann")


def cleanup(
    project: Project,
    *keys: str,
    scope: tuple[str, ...] = ("src/io.py", "src/slow.py"),
    verdict: str = "green",
) -> Phase:
    """Return the second phase of a run that began since: it cleans up issues and completed by its gate."""
    run = make_run(project)
    last = BacklogEntry.objects.order_by("-last_seen_at").values_list("last_seen_at", flat=True)[0]
    Run.objects.filter(pk=run.pk).update(started_at=last + timedelta(microseconds=1))
    phase = run.phases.get(phase_id="P2")
    phase.limits = {**phase.limits, "cleans_up": [{"issue_key": key} for key in keys]}
    phase.scope = list(scope)
    phase.save()
    pass_gate(phase, verdict, commit=COMMIT)
    phase.refresh_from_db()
    return phase


def standing() -> dict[str, tuple[str, str]]:
    return {row.issue_key: (row.status, row.fixed_by) for row in BacklogEntry.objects.all()}


def test_a_completed_cleanup_resolves_what_it_names_and_the_event_names_it(project: Project) -> None:
    phase = cleanup(project, "leak")
    ledger.end_cleanup(phase.pk)
    assert standing() == {"leak": ("resolved", COMMIT), "slow": ("open", "")}
    event = BacklogEvent.objects.get(event="resolved")
    assert (event.run_id, event.phase_id) == (phase.run_id, "P2")
    assert event.why == "cleaned up by phase P2, and not seen again"
    ledger.end_cleanup(phase.pk)
    assert BacklogEvent.objects.filter(event="resolved").count() == 1


def test_a_cleanup_that_failed_or_is_under_way_resolves_nothing(project: Project) -> None:
    phase = cleanup(project, "leak")
    for state in Phase.State:
        if state != "COMPLETE":
            Phase.objects.filter(pk=phase.pk).update(state=state)
            ledger.end_cleanup(phase.pk)
    assert standing() == {"leak": ("open", ""), "slow": ("open", "")}


def test_a_cleanup_whose_gate_was_waived_resolves_nothing_and_neither_does_its_run(project: Project) -> None:
    phase = cleanup(project, "leak", verdict="waived")
    ledger.end_cleanup(phase.pk)
    Run.objects.filter(pk=phase.run_id).update(state="DONE_SUCCESS", completed_at=phase.run.created_at)
    ledger.end_run(phase.run_id)
    assert standing() == {"leak": ("open", ""), "slow": ("open", "")}
    ledger.end_cleanup(cleanup(project, "leak", verdict="flaky").pk)
    assert standing() == {"leak": ("resolved", COMMIT), "slow": ("open", "")}


def test_what_was_seen_again_stays_under_whatever_name_it_was_seen(project: Project) -> None:
    phase = cleanup(project, "leak", "slow")
    say(phase.run, report("io-leak", evidence_refs=("src/io.py",), description="the file is never closed"))
    ledger.end_cleanup(phase.pk)
    assert standing() == {"io-leak": ("open", ""), "slow": ("resolved", COMMIT)}


def test_an_issue_is_followed_to_what_it_was_merged_into_but_not_beyond_the_scope(project: Project) -> None:
    others = report("wide", evidence_refs=("lib/other.py",)), report("near", evidence_refs=("src/io.py",))
    say(make_run(project), *others)
    rows = {row.issue_key: row.pk for row in BacklogEntry.objects.all()}
    phase = cleanup(project, "leak", "slow")
    merge_entries(rows["near"], [rows["leak"]], by="ann", why="one")
    merge_entries(rows["wide"], [rows["slow"]], by="ann", why="one")
    ledger.end_cleanup(phase.pk)
    assert standing() == {"near": ("resolved", COMMIT), "wide": ("open", "")}


def test_the_fix_of_a_run_that_fails_afterwards_is_forgotten_so_that_any_sighting_reopens(
    project: Project,
) -> None:
    phase = cleanup(project, "leak")
    ledger.end_cleanup(phase.pk)
    Run.objects.filter(pk=phase.run_id).update(state="DONE_FAILED_GATE", completed_at=phase.run.created_at)
    ledger.end_run(phase.run_id)
    ledger.end_run(phase.run_id)
    assert standing()["leak"] == ("resolved", "")
    assert list(BacklogEvent.objects.filter(event="fix_not_kept").values_list("phase_id", flat=True)) == [
        "P2"
    ]
    later = make_run(project)
    Run.objects.filter(pk=later.pk).update(base_commit="b" * 40)
    say(later, report("leak", evidence_refs=("src/io.py",)))
    assert standing()["leak"] == ("reopened", "")
    # and one that completes after its run failed resolves nothing
    late = cleanup(project, "slow")
    Run.objects.filter(pk=late.run_id).update(state="DONE_FAILED_GATE", completed_at=late.run.created_at)
    ledger.end_cleanup(late.pk)
    assert standing()["slow"] == ("open", "")


def test_closing_costs_the_same_for_one_issue_and_for_fifty(project: Project) -> None:
    def statements(phase: Phase) -> int:
        with CaptureQueriesContext(connection) as captured:
            ledger.end_cleanup(phase.pk)
        return len(captured)

    one = statements(cleanup(project, "leak"))
    many = [f"many-{number}" for number in range(50)]
    say(make_run(project), *(report(key, evidence_refs=("src/io.py",)) for key in many))
    assert statements(cleanup(project, *many)) == one
    assert BacklogEntry.objects.filter(status="resolved").count() == 51
