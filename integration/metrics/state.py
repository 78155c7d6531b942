"""How things stand now: gauges, each counted in the database or the broker at the moment of the scrape."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import redis
import structlog
from django.conf import settings
from django.db.models import Count, Max, Min, Q
from django_celery_beat.models import PeriodicTask

from autopack_site.kernel import clock
from integration.metrics.cells import Cell, Key
from integration.models import GateRun, GitIntent
from issues.aging import Status
from issues.models import BacklogEntry
from runs.lifecycle import LIVE_PHASE_STATES, AttemptState, PhaseState, RunState
from runs.models import Attempt, Lease, Outbox, Phase, Run

log = structlog.get_logger(__name__)
BROKER_LIMIT_S = 1.0


def read() -> Iterator[Cell]:
    """Yield the cells of every gauge. Nine queries, and one round to the broker."""
    now = clock.database_now()
    yield _cell("autopack_build_info", 1, settings.VERSION)
    yield from _runs()
    yield from _phases(now)
    yield _cell("autopack_leases_live", Lease.objects.live().count())
    yield from _git(now)
    yield from _outbox(now)
    yield from _backlog()
    yield from _sweeps()
    yield from queues()


def _cell(metric: str, value: float, *labels: str) -> Cell:
    return Cell(Key(metric, labels), 0, float(value))


def _age_s(now: datetime, moment: datetime | None) -> float:
    return max((now - moment).total_seconds(), 0.0) if moment else 0.0


def _runs() -> Iterator[Cell]:
    counted = dict(Run.objects.order_by().values_list("state").annotate(runs=Count("pk")))
    for state in RunState:
        yield _cell("autopack_runs", counted.get(state, 0), state)


def _phases(now: datetime) -> Iterator[Cell]:
    waiting = Q(state=PhaseState.QUEUED, ready_at__isnull=False)
    phases = Phase.objects.filter(run__completed_at=None).order_by()
    counted = phases.aggregate(
        claim=Count("pk", filter=waiting),
        turn=Count("pk", filter=Q(state=PhaseState.QUEUED, ready_at=None)),
        oldest=Min("ready_at", filter=waiting),
        **{str(state): Count("pk", filter=Q(state=state)) for state in LIVE_PHASE_STATES},
    )
    audits = Attempt.objects.filter(run__completed_at=None, kind="audit", state=AttemptState.WANTED)
    wanted = audits.aggregate(rows=Count("pk"), oldest=Min("created_at"))
    for state in LIVE_PHASE_STATES:
        yield _cell("autopack_phases_in_flight", counted[str(state)], state)
    for reason, number in (("claim", counted["claim"]), ("audit", wanted["rows"]), ("turn", counted["turn"])):
        yield _cell("autopack_phases_waiting", number, reason)
    for reason, oldest in (("claim", counted["oldest"]), ("audit", wanted["oldest"])):
        yield _cell("autopack_phases_waiting_oldest_seconds", _age_s(now, oldest), reason)


def _git(now: datetime) -> Iterator[Cell]:
    gates = dict(GateRun.objects.open().order_by().values_list("state").annotate(gates=Count("pk")))
    for state in ("WAITING", "RUNNING"):
        yield _cell("autopack_gate_runs_open", gates.get(state, 0), state)
    intents = GitIntent.objects.open().aggregate(rows=Count("pk"), oldest=Min("created_at"))
    yield _cell("autopack_git_intents_open", intents["rows"])
    yield _cell("autopack_git_intents_oldest_seconds", _age_s(now, intents["oldest"]))


def _outbox(now: datetime) -> Iterator[Cell]:
    rows = Outbox.objects.order_by().values("topic")
    found = {
        row["topic"]: row
        for row in rows.annotate(rows=Count("pk"), oldest=Min("created_at"), due=Min("due_at"))
    }
    for topic in settings.AUTOPACK_TOPICS:
        yield _cell("autopack_outbox_rows", found[topic]["rows"] if topic in found else 0, topic)
    oldest, due = (min((row[name] for row in found.values()), default=None) for name in ("oldest", "due"))
    yield _cell("autopack_outbox_oldest_seconds", _age_s(now, oldest))
    yield _cell("autopack_outbox_overdue_seconds", _age_s(now, due))


def _backlog() -> Iterator[Cell]:
    counted = BacklogEntry.objects.order_by().values_list("project__project_id", "status")
    found: dict[str, dict[str, int]] = {}
    for project_id, status, rows in counted.annotate(rows=Count("pk")).order_by("project", "status"):
        found.setdefault(project_id, {})[status] = rows
    for project_id, by_status in found.items():
        for status in Status:
            yield _cell("autopack_backlog_entries", by_status.get(status, 0), project_id, status)


def _sweeps() -> Iterator[Cell]:
    tasks = PeriodicTask.objects.filter(name__in=list(settings.CELERY_BEAT_SCHEDULE)).order_by("name")
    for name, last, count in tasks.values_list("name").annotate(Max("last_run_at"), Max("total_run_count")):
        if last is not None:
            yield _cell("autopack_sweep_last_sent_timestamp_seconds", last.timestamp(), name)
        yield _cell("autopack_sweeps_sent_total", count, name)


def queues() -> Iterator[Cell]:
    """Yield how long the broker's queues are, or only that it does not answer."""
    names = [queue.name for queue in settings.CELERY_TASK_QUEUES]
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=BROKER_LIMIT_S, socket_connect_timeout=BROKER_LIMIT_S
        ) as client:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.llen(name)
            lengths = pipeline.execute()
    except (redis.RedisError, OSError) as error:
        log.warning("metrics.broker_failed", error=type(error).__name__)
        yield _cell("autopack_broker_up", 0)
        return
    yield _cell("autopack_broker_up", 1)
    for name, length in zip(names, lengths, strict=True):
        yield _cell("autopack_queue_messages", length, name)
