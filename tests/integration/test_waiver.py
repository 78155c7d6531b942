"""A gate profile without steps is waived on the spot: recorded, acted on, and no worker asked."""

from __future__ import annotations

import pytest

from integration.models import GateRun
from runs import services, supervisor
from runs.budgets import Usage
from runs.models import Attempt, Outbox, Run
from runs.services import BuildResult
from tests.factories import make_run

pytestmark = pytest.mark.django_db
HEAD, CANDIDATE = "a" * 40, "b" * 40
PATCH = b"diff --git a/a b/a\nnew file mode 100644\n--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+a\n"


@pytest.fixture
def attempt() -> Attempt:
    """A submitted build whose candidate has been recorded, in a project without gate steps."""
    run = make_run(head_commit=HEAD, base_commit=HEAD)
    supervisor.step(run.pk)
    claim = services.claim_phase(run.pk, agent="a")
    assert claim is not None
    result = BuildResult("success", PATCH, Usage(1, "reported", {}))
    services.submit_build(claim.lease_id, fence=claim.fence, result=result)
    services.record_candidate(claim.attempt_id, base=HEAD, sha=CANDIDATE, diff_lines=1)
    return Attempt.objects.select_related("phase", "run").get(pk=claim.attempt_id)


def test_the_waiver_is_recorded_with_what_it_is_bound_to(attempt: Attempt) -> None:
    gate = GateRun.objects.get(attempt=attempt)
    assert (gate.state, gate.verdict, gate.candidate_sha) == ("DONE", "waived", CANDIDATE)
    assert (gate.base_commit, gate.patch_hash) == (HEAD, attempt.patch_hash)
    assert "no steps" in gate.reason


def test_the_waived_candidate_is_green_and_about_to_be_merged(attempt: Attempt) -> None:
    assert attempt.state == "GREEN"
    assert Outbox.objects.filter(topic="candidate.merge", key=attempt.pk).exists()
    assert not Outbox.objects.filter(topic="gate.run").exists()


def test_the_run_shows_its_most_advanced_phase_after_a_waiver(attempt: Attempt) -> None:
    run = Run.objects.get(pk=attempt.run_id)
    events = list(run.transitions.filter(machine="run").values_list("event", flat=True))
    assert (attempt.phase.state, run.state) == ("CI_RUNNING", "CI_RUNNING")
    assert len(events) == len(set(events))
