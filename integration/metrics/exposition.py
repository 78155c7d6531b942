"""From cells to the text that Prometheus reads. No label has more values than MAX_VALUES and `other`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from integration.artefacts.rows import snapshot
from integration.metrics import state, totals
from integration.metrics.catalogue import METRICS, Metric
from integration.metrics.cells import INFINITE, Cell, Key, added
from integration.models import GateRun
from strategy.models import Project

MAX_VALUES = 50
OTHER = "other"
# Labels whose values are known: their series are there at 0 before anything happened, so that the first event
# is an increase.
CLOSED = {
    "profile": ("normal", "strict"),
    "verdict": tuple(verdict for verdict in GateRun.Verdict.values if verdict),
    "outcome": ("candidate", "refused"),
}


class Names:
    """Which values of a label are told apart: the first MAX_VALUES that ever were, so that a series stays one.

    The largest would be more telling, but a value that came in or went out would make `other` fall, and a
    counter that falls reads as a restart.
    """

    def __init__(self, projects: Iterable[str]) -> None:
        self._projects = list(projects)
        self._seen: dict[str, set[str]] = {}

    def closed(self, label: str) -> tuple[str, ...]:
        """Return a label's values where they are known beforehand, else nothing."""
        return tuple(self._projects) if label == "project" else CLOSED.get(label, ())

    def shown(self, label: str, value: str) -> str:
        """Return the value, or `other`."""
        if label == "project":
            return value if value in self._projects else OTHER
        seen = self._seen.setdefault(label, set())
        if value not in seen and len(seen) >= MAX_VALUES:
            return OTHER
        seen.add(value)
        return value


class _Once(Collector):
    """A collector of families that are there already."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        """Yield them."""
        yield from self._families


def exposition(accept: str) -> tuple[bytes, str]:
    """Return the text and its content type, in the format that the Accept header asks for.

    About twenty queries, all of one state of the database, whatever it holds.
    """
    with snapshot():
        until, cells = totals.read()
        standing = list(state.read())
        projects = list(Project.objects.order_by("pk").values_list("project_id", flat=True)[:MAX_VALUES])
    sealed = Cell(Key("autopack_metrics_sealed_until_timestamp_seconds", ()), 0, until.timestamp())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(list(families([*standing, *cells, sealed], Names(projects)))))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def families(cells: list[Cell], names: Names) -> Iterator[Family]:
    """Yield every family of the catalogue with its samples, those without samples too."""
    bounded = [Cell(_bounded(cell.key, names), cell.count, cell.total) for cell in cells]
    bounded = added([*bounded, *_zeros(names)])
    by_metric: dict[str, list[Cell]] = {name: [] for name in METRICS}
    for cell in bounded:
        by_metric[cell.key.metric].append(cell)
    for name, own in by_metric.items():
        yield _family(METRICS[name], own)


def _zeros(names: Names) -> Iterator[Cell]:
    for metric in METRICS.values():
        if metric.kind != "gauge":
            for labels in product(*(names.closed(label) for label in metric.labels)):
                yield Cell(Key(metric.name, labels), 0, 0.0)


def _bounded(key: Key, names: Names) -> Key:
    labels = METRICS[key.metric].labels
    shown = tuple(names.shown(label, value) for label, value in zip(labels, key.labels, strict=True))
    return Key(key.metric, shown, key.le)


def _family(metric: Metric, cells: list[Cell]) -> Family:
    if metric.kind == "histogram":
        return _histogram(metric, cells)
    plain = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = plain(metric.name, metric.help, labels=metric.labels)
    for cell in cells:
        family.add_metric(cell.key.labels, cell.total)
    return family


def _histogram(metric: Metric, cells: list[Cell]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    series: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        series.setdefault(cell.key.labels, []).append(cell)
    for labels, own in series.items():
        buckets = [
            (_bound(bound), float(sum(cell.count for cell in own if cell.key.le <= bound)))
            for bound in (*metric.buckets, INFINITE)
        ]
        family.add_metric(labels, buckets, sum(cell.total for cell in own))
    return family


def _bound(value: float) -> str:
    return "+Inf" if value == INFINITE else f"{value:g}"
