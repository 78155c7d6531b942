"""What a run's gates vouch for: which of a project's issues a run resolves that has not seen them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autopack_site.kernel import clock
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry
from runs.models import Attempt, Phase, Run
from runs.proofs import Proof, proofs_of, storable
from runs.transitions import note
from strategy.models import Project
from tests.factories import make_project, make_run, pass_gate
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()
TEST = {"category": "test_failure"}
OPINION = {"category": "resource_leak"}


@pytest.fixture
def project() -> Project:
    """A project that knows failures of tests and opinions of agents, at places and at none."""
    made = make_project()
    reports = (
        report("test-io", evidence_refs=("tests/io.py",), **TEST),
        report("test-flaky", category="flaky_test"),
        report("test-nowhere", **TEST),
        report("leak", evidence_refs=("src/io.py",), **OPINION),
        report("wide", evidence_refs=("src/io.py", "src/slow.py"), **OPINION),
        report("vague", **OPINION),
    )
    ledger.record(make_run(made).phases.get(phase_id="P1").pk, reports, reporter="b")
    return made


def end(run: Run) -> set[str]:
    """Let the run succeed; return the keys that are resolved then."""
    Run.objects.filter(pk=run.pk).update(state="DONE_SUCCESS", completed_at=clock.now())
    ledger.end_run(run.pk)
    return set(BacklogEntry.objects.filter(status="resolved").values_list("issue_key", flat=True))


def first(run: Run) -> Phase:
    return run.phases.get(phase_id="P1")


@pytest.mark.parametrize("verdict", ["green", "flaky"])
def test_the_gate_of_a_phase_without_a_scope_vouches_for_what_gates_find_and_for_the_files_it_changed(
    project: Project, verdict: str
) -> None:
    run = make_run(project)
    pass_gate(first(run), verdict, touched=("src/io.py", "docs/a.md"))
    assert end(run) == {"test-io", "test-flaky", "test-nowhere", "leak"}


def test_a_phase_of_documents_without_a_scope_resolves_nothing_that_agents_have_seen_elsewhere(
    project: Project,
) -> None:
    run = make_run(project, task_category="docs")
    pass_gate(first(run), touched=("docs/a.md",))
    assert end(run) == {"test-io", "test-flaky", "test-nowhere"}


def test_a_phase_with_a_scope_vouches_for_all_of_it_and_for_nothing_else(project: Project) -> None:
    run = make_run(project, scope=("src/**",))
    pass_gate(first(run), touched=("src/new.py",))
    assert end(run) == {"leak", "wide"}


def test_phases_vouch_together(project: Project) -> None:
    run = make_run(project)
    Phase.objects.filter(run=run, phase_id="P2").update(scope=["src/slow.py"])
    pass_gate(first(run), touched=("src/io.py",))
    pass_gate(run.phases.get(phase_id="P2"))
    assert end(run) >= {"leak", "wide"}


def test_a_gate_that_was_waived_vouches_for_nothing(project: Project) -> None:
    for scope in ((), ("**",)):
        run = make_run(project, scope=scope)
        pass_gate(first(run), "waived", touched=("src/io.py", "src/slow.py"))
        assert end(run) == set()
    scoped = make_run(project, scope=("**",))
    pass_gate(first(scoped))
    assert end(scoped) == {"test-io", "leak", "wide"}


def test_a_phase_that_was_made_complete_with_no_candidate_vouches_for_nothing(project: Project) -> None:
    run = make_run(project, scope=("**",))
    run.phases.update(state="COMPLETE", commit_sha="c" * 40)
    assert proofs_of(run) == []
    assert end(run) == set()


def test_the_last_verdict_on_what_was_merged_is_what_counts(project: Project) -> None:
    run = make_run(project, scope=("src/**",))
    phase = first(run)
    pass_gate(phase, "green", touched=("src/a.py",))
    merged = Attempt.objects.get(phase=phase)
    red = Attempt.objects.create(
        run=run,
        phase=phase,
        kind="build",
        number=2,
        state="RED",
        created_at=clock.now() + timedelta(seconds=1),
    )
    note(phase, "gate_waived", data={"attempt": red.pk})
    assert proofs_of(run) == [Proof("P1", ("src/**",), ("src/a.py",))]
    note(phase, "gate_waived", data={"attempt": merged.pk})  # rebuilt, and held to another profile
    assert proofs_of(run) == []


def test_a_candidate_of_before_its_files_were_kept_has_touched_nothing(project: Project) -> None:
    run = make_run(project)
    pass_gate(first(run))
    Attempt.objects.filter(run=run).update(report={})
    assert proofs_of(run) == [Proof("P1", (), ())]


def test_names_that_are_no_text_are_not_kept() -> None:
    assert storable(["b", "a", "b", "\udcff", "x\0"]) == ["a", "b"]


@pytest.mark.parametrize("hers", ["flaky_test", "test_failure"])
def test_a_report_does_not_make_another_s_issue_one_that_any_gate_resolves(
    project: Project, hers: str
) -> None:
    """Keys are known to every agent. The lesser word of two would have it, and `flaky_test` is less than most."""
    reporter = make_run(project)
    for key, own in (("leak", "resource_leak"), ("test-io", "security_auth_change")):
        ledger.record(first(reporter).pk, [report(key, category=own)], reporter="b")
        ledger.record(first(reporter).pk, [report(key, category=hers)], reporter="c")
    run = make_run(project)
    pass_gate(first(run), "green", touched=("docs/a.md",))
    assert end(run) == {"test-flaky", "test-nowhere"}
    kept = dict(BacklogEntry.objects.values_list("issue_key", "category"))
    assert (kept["leak"], kept["test-io"]) == ("resource_leak", "security_auth_change")
