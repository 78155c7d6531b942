"""The incident pack says what failed, from what rows, and gives nothing away."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from integration.artefacts import incident, service
from runs.lifecycle import RunState
from runs.models import Phase
from tests.integration.artefacts.builders import (
    at,
    failed_run,
    make_attempt,
    make_phase,
    make_tier,
    make_transition,
)

SECRET = "ghp_" + "Abc123dEf456Ghi789jKl012Mno345pQr678"


def pack_of(root: Path, name: str) -> Any:
    """The content of one JSON file of the pack."""
    return json.loads((root / "r1" / "incident" / name).read_bytes())


def test_it_names_the_first_cause_and_what_to_do(root: Path) -> None:
    run = failed_run()
    make_phase(
        run.tiers.get(),
        "later",
        state="FAILED",
        failure_cause="budget",
        failure_code="x",
        completed_at=at(9.5),
    )
    service.write_run("r1")
    facts = pack_of(root, "incident.json")
    assert facts["state"] == "DONE_FAILED_GATE"
    assert facts["failure_code"] == "gate-red"
    assert facts["failure_reason"] == "Phase p2: 2 tests failed"
    assert facts["first_cause"] == {
        "phase_id": "p2",
        "cause": "gate",
        "code": "gate-red",
        "reason": "2 tests failed",
        "at": "2026-01-02T03:13:05.678901Z",
    }
    assert (facts["completed_phases"], facts["failed_phases"], facts["skipped_phases"]) == (
        ["p1"], ["p2", "later"], ["p3"],
    )  # fmt: skip
    report = (root / "r1" / "incident" / "incident.md").read_text(encoding="utf-8")
    assert "gate_tail.txt" in report.split("## What to do next")[1].split("##")[0]


def test_a_phase_that_the_end_called_off_is_not_the_first_cause(root: Path) -> None:
    run = failed_run()
    make_phase(
        run.tiers.get(),
        "early",
        state="FAILED",
        failure_cause="cancelled",
        failure_code="run-ended",
        completed_at=at(2),
    )
    service.write_run("r1")
    assert pack_of(root, "incident.json")["first_cause"]["phase_id"] == "p2"


def test_every_failed_state_has_advice_of_its_own() -> None:
    failed = [state for state in RunState if state.startswith("DONE_FAILED_")]
    assert len({incident.NEXT_STEPS[state] for state in failed}) == len(failed) == 5


def test_a_run_that_failed_without_a_failed_phase_has_its_pack_too(root: Path) -> None:
    run = failed_run(state="DONE_FAILED_ENVIRONMENT", failure_code="repository-broken")
    Phase.objects.filter(run=run).update(state="SKIPPED")
    service.write_run("r1")
    facts = pack_of(root, "incident.json")
    assert facts["first_cause"] is None
    assert facts["failure_code"] == "repository-broken"
    assert pack_of(root, "attempts.json") == []


def test_attempts_tell_code_reason_verdict_and_where_the_patch_is(root: Path) -> None:
    failed_run()
    service.write_run("r1")
    rows = pack_of(root, "attempts.json")
    assert [(row["kind"], row["number"], row["state"], row["verdict"]) for row in rows] == [
        ("build", 1, "RED", ""),
        ("build", 2, "RED", ""),
        ("audit", 1, "DECIDED", "revise"),
    ]
    build, audit = rows[1], rows[2]
    assert build["failure_code"] == "gate-red"
    assert build["tokens_used"] == 2000
    assert build["gates"][0]["verdict"] == "red"
    assert audit["tokens_used"] is None
    assert audit["usage_source"] == "unknown"
    assert audit["notes"] == "Mind the empty list."
    assert audit["target"] == build["attempt_id"]
    patch = (root / "r1" / "incident" / build["patch_file"]).read_bytes()
    assert hashlib.sha256(patch).hexdigest() == build["patch_sha256"]


def test_only_the_last_attempts_and_patches_are_kept(root: Path) -> None:
    run = failed_run()
    phase = run.phases.get(phase_id="p2")
    for number in range(3, 20):
        make_attempt(phase, number, patch=b"+%d\n" % number)
    service.write_run("r1")
    rows = pack_of(root, "attempts.json")
    assert [row["number"] for row in rows] == list(range(10, 20))
    patches = sorted(path.name for path in (root / "r1" / "incident" / "patches").iterdir())
    assert patches == [f"phase_02_p2_build_{number}.diff" for number in range(10, 20)]


def test_the_timeline_holds_every_event_in_order(root: Path) -> None:
    run = failed_run()
    make_transition(
        run, "late_report", 11, machine="phase", subject="p2", data={"n": 1}, why="two\nlines\x1b[0m"
    )
    service.write_run("r1")
    lines = (root / "r1" / "incident" / "timeline.jsonl").read_bytes().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["prepared", "gate_red", "gate_failed", "late_report"]
    assert events[2]["to"] == "DONE_FAILED_GATE"
    assert events[3]["why"] == "two\nlines\x1b[0m"
    assert [event["id"] for event in events] == list(
        run.transitions.order_by("id").values_list("pk", flat=True)
    )


def test_budgets_set_what_was_used_beside_each_cap(root: Path) -> None:
    failed_run()
    service.write_run("r1")
    budgets = pack_of(root, "budgets.json")
    assert budgets["run"]["tokens"] == {"used": 13_000, "cap": 5_000_000, "held": 0}
    assert budgets["run"]["minutes"] == {"used": 10.0, "cap": 120}
    assert budgets["tiers"]["t1"]["gate_runs"] == {"used": 3, "cap": 4}
    assert budgets["phases"]["p2"] == {
        "tokens": {"used": 3_000, "cap": 500_000, "held": 0},
        "build_tokens": {"used": 3_000, "cap": None, "held": 0},
        "audit_tokens": {"used": 0, "cap": None, "held": 0},
        "cost_usd": {"used": 0.0, "cap": None, "held": 0.0},
        "builder_attempts": {"used": 2, "cap": 3},
        "auditor_attempts": {"used": 1, "cap": 2},
        "lost_attempts": 0,
        "attempts_of_unknown_usage": 1,
    }


def test_the_strategy_in_the_pack_is_the_frozen_one(root: Path) -> None:
    run = failed_run()
    service.write_run("r1")
    assert (root / "r1" / "incident" / "strategy.json").read_text(encoding="utf-8") == run.strategy.canonical


def test_no_secret_of_an_agent_reaches_any_file(root: Path) -> None:
    run = failed_run(failure_reason=f"refused: {SECRET}")
    phase = make_phase(
        make_tier(run, "t2", name=SECRET, description=SECRET),
        "leaky",
        name=f"x {SECRET}",
        description=SECRET,
        state="FAILED",
        failure_cause="policy",
        failure_code="secret-found",
        failure_reason=f"in {'y' * 290} {SECRET}",
        completed_at=at(3),
    )
    make_attempt(
        phase,
        patch=b"+key = '" + SECRET.encode() + b"'\n",
        failure_reason=f"{'z' * 3990} {SECRET}",
        notes=SECRET,
        agent=f"agent {SECRET}",
    )
    make_transition(run, "attempt_refused", 3, why=SECRET, data={SECRET: [SECRET]})
    service.write_run("r1", gate_tail=lambda _gate: f"env: TOKEN={SECRET}\n".encode())
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path.name for path in files if b"ghp_" in path.read_bytes()] == []
    assert (
        b"[redacted: GitHub token]" in (root / "r1/incident/patches/phase_04_leaky_build_1.diff").read_bytes()
    )


def test_a_patch_of_any_bytes_is_kept_as_it_was(root: Path) -> None:
    run = failed_run()
    data = bytes(range(256)) * 4
    make_attempt(run.phases.get(phase_id="p2"), 3, patch=data)
    service.write_run("r1")
    assert (root / "r1/incident/patches/phase_02_p2_build_3.diff").read_bytes() == data


def test_a_huge_patch_and_a_huge_log_are_cut(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(incident, "MAX_PATCH_BYTES", 1000)
    run = failed_run()
    make_attempt(run.phases.get(phase_id="p2"), 3, patch=b"+" * 1500)
    log = b"first line\n" + b"x" * incident.MAX_TAIL_BYTES + b"\nlast line"
    service.write_run("r1", gate_tail=lambda _gate: log)
    patch = (root / "r1/incident/patches/phase_02_p2_build_3.diff").read_bytes()
    assert patch == b"+" * 1000 + b"\n[... 500 bytes left out ...]\n"
    assert (root / "r1/incident/gate_tail.txt").read_bytes() == b"last line\n"
