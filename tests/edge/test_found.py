"""What generated requests found, each once more by hand."""

from __future__ import annotations

from typing import Any

import pytest

from runs import ports
from strategy.models import Project
from tests.edge.test_openapi import DOCUMENT, schema_of
from tests.runs.api.conftest import Api, plan, start

pytestmark = pytest.mark.django_db


def holds(name: str, value: Any) -> None:
    schema_of(DOCUMENT["components"]["schemas"][name]).validate(value)


def test_a_phase_without_a_builder_mode_is_within_the_description(project: Project, operator: Api):
    started = operator.post("/runs/start", plan()).json()
    assert started["tiers"][0]["phases"][0]["builder_mode"] is None
    holds("RunOut", started)


def test_an_expected_failure_that_no_backlog_knows_is_within_the_description(
    project: Project, operator: Api, settings: Any
):
    settings.AUTOPACK_PORTS = {**settings.AUTOPACK_PORTS, "ledger": "issues.ledger.DatabaseLedger"}
    ports._adapter.cache_clear()
    start(operator)
    issue = {"issue_key": "k", "severity": "minor", "source": "test", "category": "c", "expected_fail": True}
    recorded = operator.post("/runs/r1/phases/p1/record_issue", issue).json()
    assert recorded["project_backlog_entry"] == {}
    holds("RecordedOut", recorded)
