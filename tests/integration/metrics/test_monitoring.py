"""Rules, dashboard and manual speak of metrics, labels and label values that a real scrape has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from integration.metrics import totals
from integration.metrics.catalogue import METRICS, sample_names
from integration.metrics.exposition import exposition
from issues.ledger import DatabaseLedger
from tests.factories import make_project, make_run
from tests.integration.metrics.rows import applied, attempt, gate, lease, spend
from tests.issues.reports import report

# the module's samples come from the database, which is made only where a test says that it uses it
pytestmark = pytest.mark.django_db
ROOT = Path(settings.BASE_DIR)
RULES = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
BOARD = json.loads((ROOT / "deploy/grafana/autopack.json").read_text(encoding="utf-8"))
PANELS = BOARD["panels"]
MANUAL = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
EXPRESSIONS = [
    *((rule["alert"], rule["expr"]) for rule in ALERTS),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]
# A word that stands before a bracket calls a function; these stand before one too, or between series.
_SYNTAX = re.compile(
    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\b(?:or|and|unless|bool|offset)\b"
)
_SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\b(?!\s*\()(\{[^}]*\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')

Samples = dict[str, list[dict[str, str]]]


def selected(expression: str) -> list[tuple[str, str]]:
    """Return what an expression reads: each metric's name with its matchers as text."""
    bare = _SYNTAX.sub(" ", re.sub(r"\[[^\]]*\]", "", expression))
    return [(match[1], match[2] or "") for match in _SELECTOR.finditer(bare)]


@pytest.fixture(scope="module")
def samples(django_db_setup: None, django_db_blocker: Any) -> Samples:
    """Return the labels of every sample of a scrape of an installation in which everything has happened."""
    from django.db import transaction
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    with django_db_blocker.unblock(), transaction.atomic():
        run = make_run(make_project("shop"))
        build = attempt(run.phases.earliest("pk"), usage={"cost_usd": 1})
        gate(build, 1.0)
        applied(build, 1.0)
        for tokens, kind in ((10, "settle"), (None, "settle"), (-1, "adjust")):
            spend(build, tokens, kind, micro_usd=tokens)
        lease(build)
        DatabaseLedger().record(build.phase_id, [report()], reporter="tests")
        every = IntervalSchedule.objects.create(every=5, period=IntervalSchedule.SECONDS)
        for name in settings.CELERY_BEAT_SCHEDULE:
            PeriodicTask.objects.create(name=name, task=name, interval=every, last_run_at=build.created_at)
        totals.seal()
        text, _content_type = exposition("")
        transaction.set_rollback(True)
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_a_scrape_has_a_sample_of_every_metric_of_the_catalogue(samples: Samples):
    assert set(samples) == {name for metric in METRICS.values() for name in sample_names(metric)}


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS, ids=[title for title, _ in EXPRESSIONS])
def test_an_expression_reads_metrics_labels_and_values_that_are_there(
    samples: Samples, title: str, expression: str
):
    read = selected(expression)
    assert read
    for name, matchers in read:
        assert name in samples, f"{title}: {name}"
        for label, operator, value in _MATCHER.findall(matchers):
            values = {labels[label] for labels in samples[name]}  # KeyError: no such label
            if not value.startswith("$"):
                assert any(re.fullmatch(value, one) if "~" in operator else value == one for one in values), (
                    value
                )


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS, ids=[title for title, _ in EXPRESSIONS])
def test_an_expression_groups_by_labels_that_its_metrics_have(samples: Samples, title: str, expression: str):
    grouped = {label.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(",")}
    for name, _matchers in selected(expression):
        assert grouped <= set(samples[name][0]), f"{title}: {name}"
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("sum by (project) (increase(a_total[1h])) > 2 * 86400", [("a_total", "")]),
        ('time() - b{sweep="x"} > 600', [("b", '{sweep="x"}')]),
        ("histogram_quantile(0.9, sum by (le) (rate(c_bucket[$__rate_interval])))", [("c_bucket", "")]),
        ("d or 0 * e", [("d", ""), ("e", "")]),
        ("absent(f)", [("f", "")]),
    ],
)
def test_what_an_expression_reads_is_found(expression: str, read: list[tuple[str, str]]):
    assert selected(expression) == read


def test_the_rules_have_the_form_that_prometheus_takes():
    assert set(RULES) == {"groups"}
    for group in RULES["groups"]:
        assert set(group) == {"name", "rules"}
    for rule in ALERTS:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule) <= {
            "alert", "expr", "for", "labels", "annotations",
        }  # fmt: skip
        assert re.fullmatch(r"[0-9]+[smhd]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)


def test_an_alert_names_only_labels_that_it_keeps():
    for rule in ALERTS:
        told = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        grouped = set(re.findall(r"by \((\w+)\)", rule["expr"]))
        own = {
            label
            for name, _ in selected(rule["expr"])
            for label in METRICS.get(name, METRICS["autopack_runs"]).labels
        }
        assert told <= (grouped or own), rule["alert"]


def test_every_alert_has_its_section_in_the_manual_and_names_it():
    sections = re.findall(r"^### (\w+)$", MANUAL, re.MULTILINE)
    assert sections == [rule["alert"] for rule in ALERTS]
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"docs/metrics.md#{rule['alert'].lower()}"


def test_the_manual_s_table_is_the_catalogue():
    rows = re.findall(r"^\| `(autopack_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", MANUAL, re.MULTILINE)
    assert rows == [
        (metric.name, metric.kind, ", ".join(f"`{label}`" for label in metric.labels) or "-", metric.help)
        for metric in METRICS.values()
    ]


def test_the_manual_speaks_of_no_metric_that_is_not_there():
    known = {name for metric in METRICS.values() for name in sample_names(metric)} | set(METRICS)
    assert set(re.findall(r"`(autopack_\w+)`", MANUAL)) <= known


def test_every_metric_but_the_version_is_on_the_board_and_no_panel_overlaps_another():
    shown = {name for panel in PANELS for target in panel["targets"] for name, _ in selected(target["expr"])}
    missing = {name for name, metric in METRICS.items() if not shown & sample_names(metric)}
    assert missing == {"autopack_build_info"}
    cells: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, panel["title"]
        assert max(x for x, _ in own) < 24
        cells |= own
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_the_board_s_variables_are_the_ones_that_its_panels_use():
    text = json.dumps(PANELS)
    used = set(re.findall(r"\$\{?(\w+)\}?", text)) - {"__rate_interval"}
    assert used == {variable["name"] for variable in BOARD["templating"]["list"]}
