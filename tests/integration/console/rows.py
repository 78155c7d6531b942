"""Attempts and gate runs for the console's tests, written directly."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from autopack_site.kernel import clock
from integration.models import GateRun
from runs.models import Attempt, Phase
from tests.factories import make_run

PATCH = b"""\
diff --git a/src/one.py b/src/one.py
--- a/src/one.py
+++ b/src/one.py
@@ -1 +1,2 @@
-def one(): return 1
+def one(): return "<script>alert(1)</script>"
+# end
"""


def make_attempt(phase: Phase | None = None, **fields: Any) -> Attempt:
    """Write a build, by default the next of a new run's first phase, with a candidate."""
    phase = phase or make_run().phases.get(phase_id="P1")
    values = {
        "kind": "build",
        "number": phase.attempts.filter(kind=fields.get("kind", "build")).count() + 1,
        "state": "GATING",
        "agent": "writer",
        "patch": PATCH,
        "patch_hash": "h" * 64,
        "base_commit": "b" * 40,
        "candidate_sha": "c" * 40,
        "tokens_used": 1200,
        "usage_source": "reported",
        "created_at": clock.now(),
        **fields,
    }
    return Attempt.objects.create(run=phase.run, phase=phase, **values)


def make_gate(attempt: Attempt, **fields: Any) -> GateRun:
    """Write a gate run of the attempt, by default a green one that took ten seconds."""
    now = clock.now()
    values = {
        "number": attempt.gate_runs.count() + 1,
        "profile": "normal",
        "candidate_sha": attempt.candidate_sha,
        "patch_hash": attempt.patch_hash,
        "base_commit": attempt.base_commit,
        "strategy_sha256": attempt.run.strategy.sha256,
        "state": "DONE",
        "verdict": "green",
        "created_at": now - timedelta(seconds=12),
        "started_at": now - timedelta(seconds=10),
        "deadline_at": now + timedelta(hours=1),
        **fields,
    }
    if values["state"] in ("DONE", "CANCELLED"):
        values.setdefault("ended_at", now)
    return GateRun.objects.create(run=attempt.run, phase=attempt.phase, attempt=attempt, **values)
