"""Rows that Prometheus counts, at moments of the test's own; and what a scrape says of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from autopack_site.kernel import clock
from integration.metrics.exposition import exposition
from integration.models import GateRun
from runs.models import Attempt, Lease, Phase, TokenEntry, Transition

Labels = dict[str, str]


def scraped() -> dict[str, dict[tuple[str, ...], float]]:
    """Return every sample of a scrape: name -> label values in the order of their names -> value."""
    text, _content_type = exposition("")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = tuple(value for _name, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def ago(**delta: float) -> datetime:
    """Return a moment before now."""
    return clock.now() - timedelta(**delta)


def attempt(phase: Phase, agent: str = "builder", **fields: Any) -> Attempt:
    """Write a build of a phase."""
    values = {"kind": "build", "state": "RED", "created_at": clock.now(), **fields}
    number = phase.attempts.filter(kind=values["kind"]).count() + 1
    return Attempt.objects.create(run=phase.run, phase=phase, number=number, agent=agent, **values)


def gate(of: Attempt, seconds: float, verdict: str = "green", *, at: datetime | None = None) -> GateRun:
    """Write a gate that ended at a moment, after so many seconds."""
    ended = at or clock.now()
    return GateRun.objects.create(
        run=of.run, phase=of.phase, attempt=of, number=of.gate_runs.count() + 1, profile="normal",
        candidate_sha="c", patch_hash="p", base_commit="b", strategy_sha256="s", state="DONE", verdict=verdict,
        deadline_at=ended, created_at=ended, started_at=ended - timedelta(seconds=seconds), ended_at=ended,
    )  # fmt: skip


def spend(
    of: Attempt,
    tokens: int | None,
    kind: str = "settle",
    *,
    micro_usd: int | None = None,
    at: datetime | None = None,
) -> TokenEntry:
    """Append a line to the ledger."""
    return TokenEntry.objects.create(
        run=of.run, phase=of.phase, attempt=of, kind=kind, envelope="build", tokens=tokens,
        micro_usd=micro_usd, usage_source="reported", at=at or clock.now(),
    )  # fmt: skip


def applied(of: Attempt, seconds: float, event: str = "applied", *, at: datetime | None = None) -> None:
    """Write that the attempt's patch was judged so many seconds after it was submitted."""
    moment = at or clock.now()
    Attempt.objects.filter(pk=of.pk).update(submitted_at=moment - timedelta(seconds=seconds))
    Transition.objects.create(
        run=of.run, machine="phase", subject=of.phase.phase_id, from_state="EXECUTING", to_state="GATE",
        event=event, who="autopack", data={"attempt": of.pk}, at=moment,
    )  # fmt: skip


def lease(of: Attempt, reason: str = "expired", *, at: datetime | None = None) -> Lease:
    """Write a lease that ended at a moment."""
    moment = at or clock.now()
    fence = Lease.objects.count() + 1
    return Lease.objects.create(
        run=of.run, phase=of.phase, attempt=of, owner="builder", fence=fence, ttl_s=60.0, acquired_at=moment,
        expires_at=moment, released_at=moment, release_reason=reason,
    )  # fmt: skip
