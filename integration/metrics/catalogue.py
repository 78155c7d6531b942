"""Every metric by name: its kind, its labels, what it says. Documents and tests read it here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One family. `kind` is gauge, counter or histogram; `buckets` are a histogram's upper bounds (seconds)."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_GATE_S = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
_APPLY_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SPENDER = ("project", "agent")

_ALL = (
    Metric("autopack_build_info", "gauge", "1, with the version that answers.", ("version",)),
    Metric("autopack_runs", "gauge", "Runs by state.", ("state",)),
    Metric("autopack_phases_in_flight", "gauge", "Phases of active runs that are worked on.", ("state",)),
    Metric(
        "autopack_phases_waiting",
        "gauge",
        "Phases of active runs that wait: for a builder (claim), for an auditor (audit), for their turn (turn).",
        ("waits_for",),
    ),
    Metric(
        "autopack_phases_waiting_oldest_seconds",
        "gauge",
        "How long the longest has waited for a builder (claim) or an auditor (audit).",
        ("waits_for",),
    ),
    Metric("autopack_leases_live", "gauge", "Leases that are not released."),
    Metric("autopack_gate_runs_open", "gauge", "Gate runs without a verdict.", ("state",)),
    Metric(
        "autopack_git_intents_open", "gauge", "Moves of branches that are recorded and not known to be done."
    ),
    Metric("autopack_git_intents_oldest_seconds", "gauge", "Age of the oldest of these moves."),
    Metric("autopack_broker_up", "gauge", "1 when Redis answered this scrape."),
    Metric("autopack_queue_messages", "gauge", "Messages that wait in a queue of the broker.", ("queue",)),
    Metric("autopack_outbox_rows", "gauge", "Open work in the outbox.", ("topic",)),
    Metric("autopack_outbox_oldest_seconds", "gauge", "Age of the oldest row of the outbox."),
    Metric(
        "autopack_outbox_overdue_seconds", "gauge", "How long the next message of a row is overdue, at most."
    ),
    Metric("autopack_backlog_entries", "gauge", "Entries of the issue backlogs.", ("project", "status")),
    Metric("autopack_sweep_last_sent_timestamp_seconds", "gauge", "When beat last sent a sweep.", ("sweep",)),
    Metric("autopack_sweeps_sent_total", "counter", "Sweeps that beat has sent.", ("sweep",)),
    Metric(
        "autopack_gate_duration_seconds",
        "histogram",
        "How long gates took from their start to their verdict.",
        ("profile", "verdict"),
        _GATE_S,
    ),
    Metric(
        "autopack_flaky_gates_total", "counter", "Gates red, then green on the same commit.", ("project",)
    ),
    Metric(
        "autopack_apply_duration_seconds",
        "histogram",
        "From the submission of a build's patch to its candidate commit or its refusal.",
        ("outcome",),
        _APPLY_S,
    ),
    Metric("autopack_tokens_total", "counter", "Tokens booked as spent.", _SPENDER),
    Metric("autopack_tokens_returned_total", "counter", "Tokens that corrections took back.", _SPENDER),
    Metric(
        "autopack_usage_unknown_total",
        "counter",
        "Attempts that were settled without a figure: they are in no count of tokens.",
        _SPENDER,
    ),
    Metric(
        "autopack_cost_usd_total",
        "counter",
        "US dollars, where agents or the price table tell them.",
        _SPENDER,
    ),
    Metric(
        "autopack_lease_expiries_total", "counter", "Leases that ran out on a silent holder.", ("project",)
    ),
    Metric(
        "autopack_metrics_sealed_until_timestamp_seconds",
        "gauge",
        "Up to when counters come from sealed totals; later rows are counted at each scrape.",
    ),
)
METRICS = {metric.name: metric for metric in _ALL}


def sample_names(metric: Metric) -> set[str]:
    """Return the names that the family's samples carry."""
    if metric.kind == "histogram":
        return {f"{metric.name}_{end}" for end in ("bucket", "count", "sum")}
    return {metric.name}
