"""Results that come too late are refused; what they tell is booked all the same, once, whoever holds the phase."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from autopack_site.kernel import clock
from runs.models import Attempt, Lease, Phase, Run, TokenEntry, Transition
from strategy.models import Project
from tests.fakes import FakeGates, FakeLedger
from tests.runs.api.conftest import Api, api_for, make_project, plan, problem_of, start
from tests.runs.api.test_audits import verdict
from tests.runs.api.test_builder_result import PATCH, URL, result
from tests.runs.api.test_claims import claim

# A candidate is built in a thread of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)
AUDIT_URL = "/runs/r1/phases/p1/auditor_result"
FOUND = [{"issue_key": "late", "severity": "minor", "category": "x"}]
OTHER = [{"issue_key": "other", "severity": "major", "category": "x"}]


@pytest.fixture
def gated(project: Project, operator: Api, builder: Api) -> None:
    """A run whose phase is in GATE: `builder` has handed PATCH in, with one issue, for 100 tokens."""
    start(operator)
    body = result(status="needs_review", tokens_used=100, suggested_issues=FOUND)
    assert builder.post(URL, body).status_code == 200
    assert Phase.objects.get().state == "GATE"


@pytest.fixture
def audited(gated: None, auditor: Api, gates: FakeGates) -> None:
    """Then `auditor` has approved it, with one issue, for 40 tokens."""
    gates.finish(Attempt.objects.get().pk)
    body = verdict(tokens_used=40, issues_found=FOUND)
    assert auditor.post(AUDIT_URL, body).status_code == 200


def used() -> tuple[int, int]:
    """What the run has used, and its auditors of that; phase, tier and the ledger's lines say the same."""
    run, phase = Run.objects.get(), Phase.objects.get()
    tokens = (run.tokens_used, run.audit_tokens_used)
    assert (phase.tokens_used, phase.audit_tokens_used) == tokens
    assert (phase.tier.tokens_used, phase.tier.audit_tokens_used) == tokens
    lines = TokenEntry.objects.filter(kind__in=["settle", "adjust"]).values_list("tokens", "envelope")
    assert sum(count or 0 for count, _ in lines) == tokens[0]
    assert sum(count or 0 for count, envelope in lines if envelope == "audit") == tokens[1]
    return tokens


def keys(ledger: FakeLedger) -> list[tuple[str, str]]:
    return [(report.issue_key, reporter) for _, report, reporter in ledger.reports]


def late_events() -> list[Any]:
    return list(Transition.objects.filter(event="late_result").order_by("pk").values_list("data", flat=True))


# -- builders


def test_while_another_holds_the_phase_issues_and_usage_are_booked_once(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger
) -> None:
    start(operator)
    claim(api_for("builder", name="holder"))
    body = result(tokens_used=700, suggested_issues=FOUND)
    for _ in range(3):
        problem_of(builder.post(URL, body), 409, "lease-held")
    assert keys(ledger) == [("late", "builder")]
    assert used() == (700, 0)
    [event] = late_events()
    assert (event["attempt"], event["overrun"], event["usage"]["tokens"]) == (None, 0, 700)
    assert Attempt.objects.get().agent == "holder", "nothing was tried"


def test_what_nobody_asked_for_is_booked_over_the_cap_and_shown_as_overrun(
    project: Project, operator: Api, builder: Api
) -> None:
    start(operator, plan(token_cap=500_000))
    claim(api_for("builder", name="holder"))
    problem_of(builder.post(URL, result(tokens_used=500_600)), 409, "lease-held")
    phase = Phase.objects.get()
    assert (used(), Run.objects.get().overrun, phase.overrun) == ((500_600, 0), 600, 300_600)
    assert late_events()[0]["overrun"] == 300_600


def test_money_that_came_for_no_attempt_is_priced_and_grows_with_its_work(
    project: Project, operator: Api, builder: Api
) -> None:
    start(operator)
    claim(api_for("builder", name="holder"))
    usage = {"input_tokens": 2000, "output_tokens": 400, "model": "claude-sonnet-5-5-20260928"}
    for tokens in (2000, 1000, 4000, 4000):  # reordered and repeated
        body = result(usage={**usage, "input_tokens": tokens})
        problem_of(builder.post(URL, body), 409, "lease-held")
    assert used() == (4400, 0)
    assert Run.objects.get().cost_micro_usd == 12_000  # 4,000 x $2 + 400 x $10 a million
    problem_of(builder.post(URL, result(usage=usage, patch_content=PATCH + "+more\n")), 409, "lease-held")
    assert used() == (6800, 0), "other work is other usage"


def test_a_phase_in_its_gate_takes_issues_and_what_more_was_used(
    gated: None, builder: Api, ledger: FakeLedger
) -> None:
    body = result(tokens_used=150, suggested_issues=OTHER)
    for _ in range(2):
        problem_of(builder.post(URL, body), 409, "phase-not-ready")
    assert keys(ledger) == [("late", "builder"), ("other", "builder")]
    assert used() == (150, 0)
    attempt = Attempt.objects.get(kind="build")
    assert (attempt.tokens_used, late_events()[0]["attempt"]) == (150, attempt.pk)


def test_a_result_that_was_taken_and_comes_again_books_nothing(
    gated: None, builder: Api, ledger: FakeLedger
) -> None:
    body = result(status="needs_review", tokens_used=100, suggested_issues=FOUND)
    for _ in range(2):
        problem_of(builder.post(URL, body), 409, "phase-not-ready")
    assert (keys(ledger), used()) == ([("late", "builder")], (100, 0))
    assert len(late_events()) == 1


def test_a_lower_figure_that_comes_late_is_ignored(gated: None, builder: Api) -> None:
    problem_of(builder.post(URL, result(tokens_used=60)), 409, "phase-not-ready")
    assert used() == (100, 0)


def test_other_work_of_the_same_builder_is_booked_beside_its_attempt(gated: None, builder: Api) -> None:
    body = result(tokens_used=60, patch_content="diff --git a/other.md b/other.md\n")
    for _ in range(2):
        problem_of(builder.post(URL, body), 409, "phase-not-ready")
    assert used() == (160, 0)
    assert Attempt.objects.get(kind="build").tokens_used == 100


def test_a_lost_attempt_with_a_figure_takes_the_higher_one_that_comes_without_its_lease(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger
) -> None:
    start(operator)
    lease = claim(builder)
    beat = {"fence": lease["fence"], "usage": {"tokens": 50}}
    assert builder.post(f"/leases/{lease['lease_id']}/heartbeat", beat).status_code == 200
    Lease.objects.update(expires_at=clock.database_now() - timedelta(seconds=1))
    operator.post("/runs/r1/cancel", {})
    for _ in range(2):
        body = result(tokens_used=80, suggested_issues=FOUND)
        problem_of(builder.post(URL, body), 409, "phase-not-ready")
    attempt = Attempt.objects.get()
    assert (attempt.tokens_used, used(), keys(ledger)) == (80, (80, 0), [("late", "builder")])


def test_a_late_result_of_a_former_holder_is_booked_on_its_own_attempt_not_the_present_one(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger
) -> None:
    start(operator)
    mine = claim(builder)
    Lease.objects.update(expires_at=clock.database_now() - timedelta(seconds=1))
    operator.post("/runs/r1/phases/p1/update_status", {"state": "QUEUED"})
    theirs = claim(api_for("builder", name="holder"))
    problem_of(builder.post(URL, result(tokens_used=9, suggested_issues=FOUND)), 409, "lease-held")
    assert Attempt.objects.get(pk=mine["attempt_id"]).tokens_used == 9
    assert Attempt.objects.get(pk=theirs["attempt_id"]).tokens_used is None
    assert (used(), keys(ledger)) == ((9, 0), [("late", "builder")])


def test_a_leased_result_that_comes_again_records_its_issues_once(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger
) -> None:
    start(operator)
    lease = claim(builder)
    body = result(
        lease_id=lease["lease_id"], fence=lease["fence"], tokens_used=7, suggested_issues=FOUND,
        status="needs_review",
    )  # fmt: skip
    assert builder.post(URL, body).status_code == 200
    for _ in range(2):
        problem_of(builder.post(URL, body), 409, "stale-lease")
    assert (keys(ledger), used()) == ([("late", "builder")], (7, 0))


def test_a_result_of_another_kind_than_the_agent_s_lease_books_nothing_on_that_lease(
    gated: None, operator: Api, gates: FakeGates, ledger: FakeLedger
) -> None:
    both = api_for("builder", "auditor", name="both")
    gates.finish(Attempt.objects.get().pk)
    lease = claim(both, kind="audit")
    problem_of(both.post(URL, result(tokens_used=30, suggested_issues=OTHER)), 409, "no-build")
    assert (used(), keys(ledger)[1:]) == ((130, 0), [("other", "both")])
    Lease.objects.filter(pk=lease["lease_id"]).update(expires_at=clock.database_now() - timedelta(seconds=1))
    problem_of(both.post(URL, result(tokens_used=45)), 409, "stale-lease")
    assert used() == (145, 0)
    assert Attempt.objects.get(pk=lease["attempt_id"]).tokens_used is None


def test_a_result_that_comes_too_early_books_nothing_and_can_be_taken_later(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger, settings: Any
) -> None:
    settings.APPLY_LIMIT_S = 0
    operator.post("/runs/start", plan())
    body = result(tokens_used=5, suggested_issues=FOUND)
    problem_of(builder.post(URL, body), 409, "phase-not-ready")
    assert (used(), keys(ledger), late_events()) == ((0, 0), [], [])
    operator.post("/runs/r1/cancel", {})
    problem_of(builder.post(URL, body), 409, "phase-not-ready")
    assert (used(), keys(ledger)) == ((5, 0), [("late", "builder")])


def test_a_result_that_was_refused_as_late_and_is_taken_later_is_booked_once(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger
) -> None:
    start(operator)
    claim(api_for("builder", name="holder"))
    usage = {"input_tokens": 50, "output_tokens": 20, "cost_usd": 0.5}
    body = result(usage=usage, suggested_issues=FOUND)
    problem_of(builder.post(URL, body), 409, "lease-held")
    operator.post("/runs/r1/phases/p1/update_status", {"state": "QUEUED"})
    more = {**body, "usage": {**usage, "output_tokens": 25, "cost_usd": 0.75}}
    assert builder.post(URL, more).status_code == 200
    attempt = Attempt.objects.get(agent="builder")
    assert (attempt.tokens_used, attempt.usage_source, attempt.cost_micro_usd) == (5, "derived", 250_000)
    assert (used(), keys(ledger)) == ((75, 0), [("late", "builder")])
    assert Run.objects.get().cost_micro_usd == 750_000


def test_a_result_that_was_refused_under_a_lease_and_is_taken_under_the_next_is_booked_once(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger
) -> None:
    start(operator)
    first = claim(builder)
    Lease.objects.update(expires_at=clock.database_now() - timedelta(seconds=1))
    body = result(tokens_used=700, suggested_issues=FOUND, status="needs_review")
    named = {"lease_id": first["lease_id"], "fence": first["fence"]}
    problem_of(builder.post(URL, body | named), 409, "stale-lease")
    operator.post("/runs/r1/phases/p1/update_status", {"state": "QUEUED"})
    second = claim(builder)
    named = {"lease_id": second["lease_id"], "fence": second["fence"]}
    assert builder.post(URL, body | named).status_code == 200
    assert (used(), keys(ledger)) == ((700, 0), [("late", "builder")])
    attempts = dict(Attempt.objects.values_list("pk", "tokens_used"))
    assert (attempts[first["attempt_id"]], attempts[second["attempt_id"]]) == (700, 0)


def test_what_a_new_lease_s_heartbeats_told_is_booked_though_the_work_is_the_same(
    project: Project, operator: Api, builder: Api
) -> None:
    """Done anew, to the same patch: what was seen being spent on it is no repeat."""
    start(operator)
    first = claim(builder)
    Lease.objects.update(expires_at=clock.database_now() - timedelta(seconds=1))
    body = result(tokens_used=700, status="needs_review")
    named = {"lease_id": first["lease_id"], "fence": first["fence"]}
    problem_of(builder.post(URL, body | named), 409, "stale-lease")
    operator.post("/runs/r1/phases/p1/update_status", {"state": "QUEUED"})
    second = claim(builder)
    beat = {"fence": second["fence"], "usage": {"tokens": 300}}
    assert builder.post(f"/leases/{second['lease_id']}/heartbeat", beat).status_code == 200
    named = {"lease_id": second["lease_id"], "fence": second["fence"]}
    assert builder.post(URL, body | named).status_code == 200
    assert used() == (1000, 0)


def test_issues_under_a_made_up_fence_do_not_make_the_work_s_usage_a_repeat(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger
) -> None:
    start(operator)
    lease = claim(builder)
    body = result(tokens_used=70, suggested_issues=FOUND, status="needs_review")
    named = {"lease_id": lease["lease_id"], "fence": lease["fence"] + 7}
    problem_of(builder.post(URL, body | named), 409, "stale-lease")
    assert used() == (0, 0), "the attempt goes on: what it used is told at its end"
    assert builder.post(URL, body).status_code == 200
    assert (used(), keys(ledger)) == ((70, 0), [("late", "builder")])


def test_a_builder_that_fails_again_is_no_repeat_of_its_late_failure(
    project: Project, operator: Api, builder: Api
) -> None:
    start(operator)
    claim(api_for("builder", name="holder"))
    failed = {"status": "failed", "patch_content": ""}
    for _ in range(2):
        problem_of(builder.post(URL, result(**failed, tokens_used=100)), 409, "lease-held")
    operator.post("/runs/r1/phases/p1/update_status", {"state": "QUEUED"})
    assert builder.post(URL, result(**failed, tokens_used=80)).status_code == 200
    assert used() == (180, 0)


def test_an_agent_that_does_not_take_the_phase_spends_nothing_of_it(
    operator: Api, ledger: FakeLedger
) -> None:
    make_project(
        config="version: 1\ndefault_branch: main\nbuilders:\n  picky: {kind: pull, categories: [tests]}\n"
        "  holder: {kind: pull}\n"
    )
    start(operator)
    claim(api_for("builder", name="holder"))
    body = result(tokens_used=10**12, suggested_issues=FOUND)
    problem_of(api_for("builder", name="picky").post(URL, body), 409, "lease-held")
    assert (used(), keys(ledger)) == ((0, 0), [("late", "picky")])


# -- auditors


def test_a_verdict_while_another_audits_books_issues_and_usage_once(
    gated: None, auditor: Api, gates: FakeGates, ledger: FakeLedger
) -> None:
    gates.finish(Attempt.objects.get().pk)
    claim(api_for("auditor", name="holder"), kind="audit")
    for _ in range(2):
        body = verdict(tokens_used=30, issues_found=OTHER)
        problem_of(auditor.post(AUDIT_URL, body), 409, "lease-held")
    assert (used(), keys(ledger)[1:]) == ((130, 30), [("other", "auditor")])


def test_a_verdict_on_a_run_that_has_ended_books_issues_and_usage_once(
    audited: None, operator: Api, auditor: Api, ledger: FakeLedger
) -> None:
    operator.post("/runs/r1/cancel", {})
    again = verdict(tokens_used=55, issues_found=FOUND)  # the one that was taken, and a higher figure
    other = verdict("escalate", tokens_used=8, issues_found=OTHER)
    for body in (again, other, again, other):
        problem_of(auditor.post(AUDIT_URL, body), 409, "no-audit")
    assert (used(), keys(ledger)[1:]) == ((163, 63), [("late", "auditor"), ("other", "auditor")])
    assert Attempt.objects.get(kind="audit").tokens_used == 55


@pytest.mark.parametrize("is_named", [True, False])
def test_a_verdict_under_an_own_lease_that_ran_out_is_booked_on_its_audit_once(
    gated: None, auditor: Api, gates: FakeGates, ledger: FakeLedger, is_named: bool
) -> None:
    gates.finish(Attempt.objects.get().pk)
    lease = claim(auditor, kind="audit")
    Lease.objects.update(expires_at=clock.database_now() - timedelta(seconds=1))
    named = {"lease_id": lease["lease_id"], "fence": lease["fence"]} if is_named else {}
    body = verdict(tokens_used=21, issues_found=OTHER, **named)
    problem_of(auditor.post(AUDIT_URL, body), 409, "stale-lease")
    audit = Attempt.objects.get(pk=lease["attempt_id"])
    assert (audit.state, audit.tokens_used, used()) == ("LOST", 21, (121, 21))
    if is_named:
        problem_of(auditor.post(AUDIT_URL, body), 409, "stale-lease")
        lease = claim(auditor, kind="audit")
        body |= {"lease_id": lease["lease_id"], "fence": lease["fence"]}
    # the audit is open again, and this decides it
    assert auditor.post(AUDIT_URL, body).status_code == 200
    assert (keys(ledger)[1:], used()) == ([("other", "auditor")], (121, 21))


def test_a_verdict_about_another_patch_books_issues_and_usage_and_decides_nothing(
    gated: None, auditor: Api, gates: FakeGates, ledger: FakeLedger
) -> None:
    gates.finish(Attempt.objects.get().pk)
    body = verdict(patch_hash="0" * 64, tokens_used=12, issues_found=OTHER)
    for _ in range(2):
        problem_of(auditor.post(AUDIT_URL, body), 409, "patch-changed")
    assert (used(), keys(ledger)[1:]) == ((112, 12), [("other", "auditor")])
    assert Attempt.objects.get(kind="audit").state == "WANTED"


def test_a_verdict_before_anything_is_built_books_nothing(
    project: Project, operator: Api, auditor: Api, ledger: FakeLedger
) -> None:
    start(operator)
    body = verdict(tokens_used=12, issues_found=OTHER)
    answer = problem_of(auditor.post(AUDIT_URL, body), 409, "no-audit")
    assert "is_early" not in answer
    assert (used(), keys(ledger)) == ((0, 0), [])
