"""The engine's steps by hand, in the test's own process: for races that need a moment to be chosen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection

from integration import apply, gate
from integration.models import GateRun
from runs import services, supervisor
from runs.models import Attempt, Phase, Run
from runs.services import BuildResult, Claim

LIMIT_S = 60.0


def patch_of(phase_id: str) -> bytes:
    """Return a patch that adds one file named by the phase."""
    return (
        f"diff --git a/{phase_id}.txt b/{phase_id}.txt\nnew file mode 100644\n--- /dev/null\n+++ b/{phase_id}.txt\n"
        f"@@ -0,0 +1 @@\n+work of {phase_id}\n"
    ).encode()


def result_for(phase_id: str) -> BuildResult:
    return BuildResult(status="success", patch=patch_of(phase_id))


def claim(run: Run, phase_id: str, *, agent: str = "hand") -> Claim:
    """Prepare the run if need be and claim a phase."""
    supervisor.step(run.pk)
    found = services.claim_phase(run.pk, agent=agent, phase_id=phase_id)
    assert found is not None
    return found


def build(run: Run, phase_id: str) -> Attempt:
    """Claim, submit and build a phase; its gate waits."""
    lease = claim(run, phase_id)
    attempt = services.submit_build(lease.lease_id, fence=lease.fence, result=result_for(phase_id))
    apply.build(attempt.pk)
    return Attempt.objects.get(pk=attempt.pk)


def pass_gate(attempt: Attempt) -> Attempt:
    """Run the attempt's gate to its verdict, unless that was waived on the spot."""
    for waiting in GateRun.objects.open().filter(attempt=attempt):
        gate.execute(waiting.pk)
    return Attempt.objects.get(pk=attempt.pk)


def green(run: Run, phase_id: str) -> Attempt:
    """Bring a phase up to a green candidate that may be merged."""
    return pass_gate(build(run, phase_id))


def phase_of(run: Run, phase_id: str) -> Phase:
    return Phase.objects.get(run=run, phase_id=phase_id)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make all calls at the same moment, each on a connection of its own; return results or errors in order."""
    barrier = threading.Barrier(len(calls))
    outcomes: list[Any] = [None] * len(calls)

    def run(index: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(LIMIT_S)
            outcomes[index] = calls[index]()
        except BaseException as error:
            outcomes[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
        assert not thread.is_alive(), "a call is stuck"
    return outcomes
