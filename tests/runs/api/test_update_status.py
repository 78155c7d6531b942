"""`update_status`: an operator's moves by hand, with what each must leave behind."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from autopack_site.kernel.errors import IllegalTransition
from runs import services, supervisor
from runs.lifecycle import PHASE_MOVES, PhaseState
from runs.models import Attempt, Lease, Phase, Run, Tier, TokenEntry, Transition
from strategy.models import Project
from tests.factories import make_run
from tests.fakes import FakeGates
from tests.runs.api.conftest import Api, api_for, plan, problem_of, start
from tests.runs.api.test_claims import claim

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)
URL = "/runs/r1/phases/p1/update_status"
PATCH = "diff --git a/page.md b/page.md\n"


def build(builder: Api, **changes: Any) -> Attempt:
    """Have p1 built: its candidate waits for the gate."""
    body = {"patch_content": PATCH, "status": "success", **changes}
    assert builder.post("/runs/r1/phases/p1/builder_result", body).status_code == 200
    return Attempt.objects.get(kind="build")


def test_the_answer_says_the_state_and_every_field(project: Project, operator: Api):
    start(operator)
    answer = operator.post(URL, {"state": "SKIPPED"})
    assert answer.status_code == 200, answer.content
    assert set(answer.json()) == {"message", "phase"}
    assert answer.json()["message"] == "Phase p1 updated to state SKIPPED"
    columns = {field.name for field in Phase._meta.concrete_fields} - {"run", "tier"}
    assert set(answer.json()["phase"]) == columns | {"run_id", "tier_id", "overrun"}
    assert answer.json()["phase"]["tier_id"] == "t1"


def test_a_state_that_does_not_exist_is_refused_in_the_contracts_words(project: Project, operator: Api):
    start(operator)
    for name in ("DONE", "queued", ""):
        body = problem_of(operator.post(URL, {"state": name}), 400, "invalid-phase-state")
        assert body["detail"] == f"Invalid phase state: {name}"


def test_an_absent_phase_is_not_found_in_the_contracts_words(project: Project, operator: Api):
    start(operator)
    for run_id, phase_id in (("r1", "p9"), ("r9", "p1")):
        answer = operator.post(f"/runs/{run_id}/phases/{phase_id}/update_status", {"state": "QUEUED"})
        detail = problem_of(answer, 404, "phase-not-found")["detail"]
        assert detail == f"Phase {phase_id} not found in run {run_id}"


@pytest.mark.parametrize("body", [{}, {"state": None}, {"state": 7}, {"state": "QUEUED", "tokens_used": -1}])
def test_a_faulty_body_is_422(project: Project, operator: Api, body: dict[str, Any]):
    start(operator)
    problem_of(operator.post(URL, body), 422, "invalid")


@pytest.mark.parametrize("role", ["builder", "auditor", "verifier", "reader"])
def test_only_operators_move_phases(project: Project, operator: Api, role: str):
    start(operator)
    problem_of(api_for(role).post(URL, {"state": "SKIPPED"}), 403, "role-missing")


@pytest.mark.parametrize("state", ["QUEUED", "EXECUTING", "GATE", "CI_RUNNING"])
def test_completion_without_gate_evidence_is_refused_from_every_state(
    project: Project, operator: Api, state: str
):
    start(operator)
    Phase.objects.update(state=state)
    problem_of(operator.post(URL, {"state": "COMPLETE"}), 409, "evidence-missing")
    assert Phase.objects.get().state == state


@committed
def test_completion_of_a_green_candidate_is_its_merges_affair(
    project: Project, operator: Api, builder: Api, gates: FakeGates
):
    start(operator)
    attempt = build(builder)
    gates.finish(attempt.pk)
    answer = operator.post(URL, {"state": "COMPLETE"})
    problem_of(answer, 409, "merge-pending")
    assert answer["Retry-After"] == "1"


@committed
def test_completion_needs_the_auditors_approval_where_one_is_wanted(
    project: Project, operator: Api, builder: Api, gates: FakeGates
):
    start(operator)
    gates.finish(build(builder, status="needs_review").pk)
    body = problem_of(operator.post(URL, {"state": "COMPLETE"}), 409, "evidence-missing")
    assert "Auditor" in body["detail"]


LEGAL = {("QUEUED", "EXECUTING"), ("QUEUED", "SKIPPED"), ("QUEUED", "FAILED")} | {
    (state, wanted) for state in ("EXECUTING", "GATE", "CI_RUNNING") for wanted in ("QUEUED", "FAILED")
}


@pytest.mark.parametrize("state", list(PhaseState))
@pytest.mark.parametrize("wanted", [state for state in PhaseState if state != "COMPLETE"])
def test_every_pair_of_states_is_moved_or_refused_as_the_table_says(
    state: PhaseState, wanted: PhaseState, db: None
):
    run = make_run(phases_per_tier=1)
    supervisor.step(run.pk)
    commit, cause = ("c" * 40, "") if state == "COMPLETE" else ("", "review")
    Phase.objects.update(state=state, commit_sha=commit, failure_cause=cause)
    if state == wanted or (state, wanted) in LEGAL:
        services.set_phase_state(run.pk, "P1", state=wanted, by="operator")
        assert Phase.objects.get().state == wanted
    else:
        with pytest.raises(IllegalTransition):
            services.set_phase_state(run.pk, "P1", state=wanted, by="operator")
        assert Phase.objects.get().state == state


def test_the_table_above_is_within_the_machines_table():
    assert {(str(old), str(new)) for (old, _), new in PHASE_MOVES.items()} >= LEGAL


def test_a_phase_taken_back_leaves_no_lease_no_reservation_and_no_attempt(
    project: Project, operator: Api, builder: Api, gates: FakeGates
):
    start(operator)
    lease = claim(builder)
    assert operator.post(URL, {"state": "QUEUED", "why": "wrong agent"}).status_code == 200
    released = Lease.objects.get()
    assert (released.release_reason, released.released_at is None) == ("operator-requeued", False)
    assert Attempt.objects.get().state == "DROPPED"
    phase = Phase.objects.get()
    assert (phase.tokens_reserved, phase.builder_attempts) == (0, 0)
    assert Run.objects.get().tokens_reserved == Tier.objects.get().tokens_reserved == 0
    assert gates.cancelled == [phase.pk]
    answer = builder.post(f"/leases/{lease['lease_id']}/heartbeat", {"fence": lease["fence"]})
    problem_of(answer, 409, "stale-lease")
    event = Transition.objects.get(event="requeued")
    assert (event.who, event.why) == ("operator", "wrong agent")


def test_a_phase_taken_back_can_be_claimed_again_at_once(project: Project, operator: Api, builder: Api):
    start(operator)
    first = claim(builder)
    operator.post(URL, {"state": "QUEUED"})
    assert claim(builder)["fence"] == first["fence"] + 1


def test_a_phase_without_builder_attempts_is_not_given_another_by_hand(
    project: Project, operator: Api, builder: Api
):
    start(operator)
    claim(builder)
    Phase.objects.update(builder_attempts=2)
    problem_of(operator.post(URL, {"state": "QUEUED"}), 409, "attempts-exhausted")


@committed
def test_a_phase_whose_candidate_is_landing_is_left_to_it(project: Project, operator: Api, builder: Api):
    start(operator)
    build(builder)
    Attempt.objects.update(state="MERGING")
    for wanted in ("QUEUED", "FAILED"):
        problem_of(operator.post(URL, {"state": wanted}), 409, "merge-pending")


def test_a_phase_failed_by_hand_ends_the_run_for_a_human(project: Project, operator: Api, builder: Api):
    start(operator)
    claim(builder)
    assert operator.post(URL, {"state": "FAILED", "why": "not wanted"}).status_code == 200
    assert not Lease.objects.filter(released_at=None).exists()
    run = operator.get("/runs/r1").json()
    assert (run["state"], run["failure_reason"]) == (
        "DONE_FAILED_REQUIRES_HUMAN_REVIEW",
        "Phase p1: not wanted",
    )


def test_a_phase_skipped_by_hand_lets_the_others_go_on(project: Project, operator: Api, builder: Api):
    body = plan(phases=3)
    body["phases"][1]["depends_on"] = ["p1"]
    start(operator, body)
    operator.post(URL, {"state": "SKIPPED"})
    states = dict(Phase.objects.values_list("phase_id", "state"))
    assert states == {"p1": "SKIPPED", "p2": "SKIPPED", "p3": "QUEUED"}
    assert Phase.objects.get(phase_id="p1").failure_code == "operator-skipped"
    assert claim(builder)["phase_id"] == "p3"


@committed
def test_executing_by_hand_is_the_operators_own_claim(project: Project, operator: Api, builder: Api):
    start(operator)
    operator.post(URL, {"state": "EXECUTING"})
    assert Lease.objects.get().owner == "operator"
    problem_of(builder.post("/runs/r1/claim", {"phase_id": "p1"}), 409, "lease-held")
    answer = operator.post("/runs/r1/phases/p1/builder_result", {"patch_content": PATCH, "status": "success"})
    assert answer.json()["commit_sha"] == hashlib.sha1(PATCH.encode()).hexdigest()


def test_a_phase_whose_turn_has_not_come_is_not_executing_by_hand(project: Project, operator: Api):
    body = plan(phases=2)
    body["phases"][1]["depends_on"] = ["p1"]
    start(operator, body)
    answer = operator.post("/runs/r1/phases/p2/update_status", {"state": "EXECUTING"})
    problem_of(answer, 409, "phase-not-ready")


def test_absolute_tokens_are_one_adjustment_of_the_ledger(project: Project, operator: Api):
    start(operator)
    for tokens, change in ((700, 700), (700, None), (200, -500)):
        operator.post(URL, {"state": "QUEUED", "tokens_used": tokens})
        entries = TokenEntry.objects.filter(kind="adjust").order_by("id")
        if change is not None:
            assert entries.last().tokens == change  # type: ignore[union-attr]
        for model in (Phase, Tier, Run):
            assert model.objects.get().tokens_used == tokens
    assert TokenEntry.objects.count() == 2
    events = Transition.objects.filter(event="tokens_adjusted").order_by("id")
    assert [event.data for event in events] == [{"from": 0, "to": 700}, {"from": 700, "to": 200}]


def test_counts_that_differ_are_an_event_and_change_nothing(project: Project, operator: Api):
    start(operator)
    before = Phase.objects.values().get()
    body = {"state": "QUEUED", "builder_attempts": 2, "minor_issues_count": 0, "major_issues_count": 5}
    assert operator.post(URL, body).status_code == 200
    assert Phase.objects.values().get() == before
    event = Transition.objects.get(event="counts_differ")
    assert event.who == "operator"
    assert event.data == {
        "builder_attempts": {"reported": 2, "derived": 0},
        "major_issues_count": {"reported": 5, "derived": 0},
    }


def test_a_refused_move_changes_nothing(project: Project, operator: Api):
    start(operator)
    answer = operator.post(URL, {"state": "GATE", "tokens_used": 9, "builder_attempts": 1})
    problem_of(answer, 409, "illegal-transition")
    assert not TokenEntry.objects.exists()
    assert not Transition.objects.filter(event="counts_differ").exists()


def test_late_tokens_are_booked_though_the_move_is_refused(project: Project, operator: Api):
    start(operator)
    operator.post("/runs/r1/cancel", {})
    answer = operator.post(URL, {"state": "QUEUED", "tokens_used": 40})
    problem_of(answer, 409, "illegal-transition")
    assert Run.objects.get().tokens_used == 40
    assert operator.post(URL, {"state": "SKIPPED", "tokens_used": 50}).status_code == 200
    assert Run.objects.get().tokens_used == 50


def test_a_phase_is_moved_before_the_run_has_begun(project: Project, operator: Api):
    operator.post("/runs/start", plan(phases=2))
    assert operator.post(URL, {"state": "SKIPPED"}).status_code == 200
    problem_of(
        operator.post("/runs/r1/phases/p2/update_status", {"state": "EXECUTING"}), 409, "phase-not-ready"
    )
    services.set_phase_state("r1", "p2", state=PhaseState.FAILED, by="operator")
    assert Run.objects.get().state == "RUN_CREATED"
