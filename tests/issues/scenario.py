"""Seven runs of two projects, an hour apart, whose figures can be reckoned by hand (`test_report_scenario`).

Tokens go through the ledger of tokens, issues through the ledger of issues, failures and ends through the
engine's own functions; only the states of phases that complete are written straight.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from autopack_site.kernel import clock
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry, BacklogTally
from runs import budgets, caps, endings
from runs.lifecycle import Cause
from runs.models import Attempt, Phase, Run
from strategy.models import Project
from tests.factories import make_project, make_run
from tests.issues.reports import report

START = datetime(2026, 3, 1, tzinfo=UTC)
ledger = DatabaseLedger()


def hour(number: float) -> datetime:
    """A moment, hours after the scenario's start."""
    return START + timedelta(hours=number)


class Story:
    """Writes the scenario; `now` is the hour that its rows carry."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(clock, "now", lambda: hour(self.now))
        self.shop = make_project("shop", is_default=True)
        self.other = make_project("other")

    def run(self, run_id: str, project: Project, at: float, **fields: Any) -> Run:
        """Start a run at an hour, and age the project's backlog for it."""
        self.now = at
        run = make_run(project, run_id=run_id, created_at=hour(at), **fields)
        ledger.begin_run(run.run_id, project.pk)
        return run

    def spend(
        self,
        run: Run,
        phase_id: str,
        tokens: int | None,
        *,
        audit: bool = False,
        state: str = "",
        cap: int | None = None,
        **usage: Any,
    ) -> None:
        """Settle one attempt of a phase: a build, or an audit after a failure; `cap` is what it was given."""
        phase = phase_of(run, phase_id)
        attempt = Attempt.objects.create(
            run=run,
            phase=phase,
            kind="audit" if audit else "build",
            purpose="failure" if audit else "",
            number=phase.attempts.filter(kind="audit" if audit else "build").count() + 1,
            state=state or ("DECIDED" if audit else "RED"),
            agent="auditor" if audit else "builder",
            token_cap=cap,
            created_at=clock.now(),
        )
        budgets.reserve(attempt, budgets.Reservation(caps.Share(cap, "max_attempt_tokens")))
        source = "unknown" if tokens is None else "reported"
        budgets.settle(attempt, budgets.Usage(tokens, source, usage), reason="tests")

    def object_to(self, run: Run, phase_id: str, *, state: str) -> None:
        """Have an audit for approval refuse the phase's first build, which ended in this state."""
        phase = phase_of(run, phase_id)
        target = phase.attempts.filter(kind="build").first()
        assert target is not None
        Attempt.objects.filter(pk=target.pk).update(state=state)
        Attempt.objects.create(
            run=run, phase=phase, kind="audit", purpose="approval", verdict="revise", number=90, target=target,
            state="DECIDED", agent="auditor", tokens_used=0, usage_source="reported", created_at=clock.now(),
        )  # fmt: skip

    def see(self, run: Run, phase_id: str, *reports: Any) -> None:
        """Record issues of a phase."""
        ledger.record(phase_of(run, phase_id).pk, reports, reporter="builder")

    def complete(self, run: Run, *phase_ids: str) -> None:
        """Complete phases."""
        run.phases.filter(phase_id__in=phase_ids).update(
            state="COMPLETE", commit_sha="c" * 40, builder_attempts=1
        )

    def fail(self, run: Run, phase_id: str, cause: Cause, code: str) -> None:
        """Fail a phase."""
        endings.fail_phase(phase_of(run, phase_id), cause, code, "it was too much")

    def finish(self, run: Run, at: float) -> None:
        """End the run as its phases say."""
        self.now = at
        with transaction.atomic():
            endings.finish_run(Run.objects.get(pk=run.pk))

    def break_off(self, run: Run, at: float, limit: str) -> None:
        """End the run by a limit of its own."""
        self.now = at
        with transaction.atomic():
            endings.end_run(Run.objects.get(pk=run.pk), Cause.BUDGET, limit, "it was too much")


def phase_of(run: Run, phase_id: str) -> Phase:
    """The phase as it is now."""
    return Phase.objects.select_related("tier", "run").get(run=run, phase_id=phase_id)


def tell(monkeypatch: pytest.MonkeyPatch) -> Story:
    """Write everything that happened."""
    story = Story(monkeypatch)
    shop, other = story.shop, story.other

    a = story.run("a", shop, 0, tiers=2, task_category="docs", token_cap=1_000_000)
    story.see(a, "P1", report("k-style"), report("k-style"))
    story.see(a, "P2", report("k-style"), report("k-crash", severity="major"))
    story.see(a, "P3", report("k-expected", expected_fail=True))
    story.spend(a, "P1", 100_000, state="MERGED", cap=90_000, model="m-large", cost_usd=1.25)
    story.spend(a, "P2", 150_000, state="MERGED", cap=200_000, model="m-small", cost_usd=0.5)
    story.spend(a, "P2", 20_000, audit=True, model="m-large", cost_usd="dear")  # no number: not known
    story.spend(a, "P3", 30_000, state="MERGED")
    story.complete(a, "P1", "P2", "P3", "P4")
    a.phases.filter(phase_id="P2").update(auditor_attempts=1)
    story.finish(a, 1)

    b = story.run("b", shop, 2, task_category="docs", token_cap=400_000)
    story.see(b, "P1", report("k-new"))
    story.spend(b, "P1", 200_000)
    story.spend(b, "P1", 40_000, audit=True)
    story.spend(b, "P2", 60_000)
    story.spend(b, "P2", None, model="m-small")
    story.object_to(b, "P2", state="DROPPED")  # no gate had refused it
    story.fail(b, "P1", Cause.BUDGET, "incident_token_cap")
    story.fail(b, "P2", Cause.BUDGET, "incident_token_cap")
    story.finish(b, 3)

    c = story.run(
        "c", shop, 4, tiers=2, phases_per_tier=1, task_category="security_auth_change", token_cap=100_000
    )
    story.spend(c, "P1", 110_000)
    story.break_off(c, 5, "run_token_cap")

    d = story.run("d", shop, 6, tiers=2, phases_per_tier=1, task_category="tests", token_cap=200_000)
    story.spend(d, "P2", 50_000)
    story.object_to(d, "P2", state="RED")  # the gate had seen as much
    story.complete(d, "P1")
    story.fail(d, "P2", Cause.BUDGET, "tier_ci_run_cap")
    story.finish(d, 7)

    e = story.run("e", other, 8, token_cap=500_000, max_minor_issues_total=0)
    story.see(e, "P1", report("k-else"))
    story.break_off(e, 9, "run_max_minor_issues_total")

    f = story.run("f", other, 10, phases_per_tier=1, task_category="docs", token_cap=0)
    story.spend(f, "P1", 5_000, audit=True)
    story.spend(f, "P1", 5_000, audit=True)
    story.fail(f, "P1", Cause.GATE, "gate-red")
    story.finish(f, 11)

    g = story.run("g", other, 12, tiers=3, phases_per_tier=1, token_cap=1_000)
    story.spend(g, "P1", 250, audit=True)

    shop_runs = BacklogTally.objects.get(project=shop).runs
    for key, status, offset in (("k-old", "resolved", 9), ("k-back", "reopened", 1 - shop_runs)):
        BacklogEntry.objects.create(
            project=shop, issue_key=key, category="style", base_severity="minor", effective_severity="minor",
            status=status, runs_offset=offset, occurrence_count=1, first_seen_run_id="a", last_seen_run_id="a",
            first_seen_at=hour(0), last_seen_at=hour(0), opened_at=hour(0),
        )  # fmt: skip
    return story
