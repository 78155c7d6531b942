"""One try of a gate: a fresh checkout of exactly the candidate, and the profile's steps in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autopack_site.kernel import clock
from integration.cells import Cell, cell
from integration.gate_rules import GREEN, INFRA, RED
from integration.junit import BadReport, parse
from integration.last_words import LastWords
from integration.mirror import Mirror
from integration.repository import work_folder
from integration.sandbox.collect import collect
from integration.sandbox.errors import TreeTooDeep
from integration.sandbox.spec import MIB, Limits, Outcome
from integration.sandbox.visibility import hint
from strategy.config import GateStep, ProjectConfig

MAX_REPORT_BYTES = 20 * MIB
MAX_FAILING = 200


def run_try(
    mirror: Mirror,
    sha: str,
    config: ProjectConfig,
    steps: tuple[GateStep, ...],
    *,
    profile: str,
    number: int,
    ends: float,
    write: Callable[[bytes], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Run the steps in order until one fails; return the try's evidence. No step runs past `ends` (monotonic).

    A step that is cut off there has said nothing about the patch: the try is infra_failed, not red. Past the
    configuration's `wall_s`, which the steps of a try share, it is red.

    Keys: number, verdict (green, red, infra_failed, cancelled), sandbox, sandbox_detail, started_at,
    steps [{name, argv, passed, exit_code, reason, detail, duration_s, tests, failing [{id, message}]}].
    """
    evidence: dict[str, Any] = {
        "number": number, "verdict": GREEN, "sandbox": "", "sandbox_detail": "",
        "started_at": clock.now().isoformat(), "steps": [],
    }  # fmt: skip
    with work_folder("gate") as work:
        checkout = work.path / "checkout"
        mirror.checkout(sha, checkout, history=1)  # many tools want a repository around them
        with cell(
            checkout,
            toolchains=config.gate_toolchains,
            hold=(work.lock,),
            require_sandbox=config.require_sandbox,
        ) as place:
            wall_ends = time.monotonic() + config.limits.wall_s
            for step in (*config.setup, *steps):
                is_setup = step in config.setup
                write(f"\n=== try {number}: {step.name}: {' '.join(step.argv)}\n".encode())
                row, outcome = _run_step(
                    place, step, config, profile, min(ends, wall_ends), write, should_stop
                )
                evidence["steps"].append(row)
                evidence["sandbox"], evidence["sandbox_detail"] = outcome.sandbox, outcome.sandbox_detail
                if row["passed"]:
                    continue
                evidence["verdict"] = _failed(step, outcome, is_setup=is_setup)
                if outcome.reason == "timeout" and time.monotonic() >= ends:
                    evidence["verdict"], row["detail"] = (
                        INFRA,
                        "no verdict by the gate's or the run's deadline",
                    )
                break
            with suppress(TreeTooDeep):  # tests may leave what they like: it is removed all the same
                place.take_back()
    return evidence


def _failed(step: GateStep, outcome: Outcome, *, is_setup: bool) -> str:
    """Tell whether a step's failure speaks of the patch: it does where a limit is passed, or where a program that
    the checkout itself brings can't be started; not where a program of the machine can't, or the sandbox died.
    """
    if outcome.reason == "cancelled":
        return "cancelled"
    if is_setup or outcome.reason == "killed":
        return INFRA
    if outcome.reason == "start_failed" and not _is_of_checkout(step.argv[0]):
        return INFRA
    return RED


def _is_of_checkout(program: str) -> bool:
    return "/" in program and not program.startswith("/")


def _run_step(
    place: Cell,
    step: GateStep,
    config: ProjectConfig,
    profile: str,
    ends: float,
    write: Callable[[bytes], None],
    should_stop: Callable[[], bool],
) -> tuple[dict[str, Any], Outcome]:
    left_s = max(ends - time.monotonic(), 0.1)
    limits, tail = config.limits, LastWords(write)
    outcome = place.run(
        step.argv,
        env={"CI": "true", "CI_PROFILE": profile, "PYTHONDONTWRITEBYTECODE": "1", **dict(step.env)},
        network=limits.network,
        limits=Limits(
            wall_s=min(step.timeout_s, left_s),
            cpu_s=limits.cpu_s,
            memory_bytes=limits.memory_bytes,
            processes=limits.processes,
            file_size_bytes=limits.file_bytes,
            output_bytes=limits.output_bytes,
        ),
        on_output=tail,
        should_stop=should_stop,
    )
    row: dict[str, Any] = {
        "name": step.name,
        "suite": step.suite,
        "argv": list(step.argv),
        "passed": outcome.succeeded,
        "exit_code": outcome.exit_code,
        "reason": outcome.reason,
        "detail": _told(outcome),
        "duration_s": round(outcome.duration_s, 3),
        "cpu_s": round(outcome.cpu_s, 3),
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "failing": [],
    }
    if step.reports and outcome.reason == "exited":
        _read_reports(place.checkout, step, row)
    if not row["passed"] and not row["failing"]:
        row["last"] = _last(step, config, outcome, tail)
    write(f"=== {step.name}: {row['detail']}\n".encode())
    return row, outcome


def _told(outcome: Outcome) -> str:
    if outcome.reason == "exited":
        return f"exit code {outcome.exit_code}" if outcome.signal is None else f"signal {outcome.signal}"
    return outcome.detail or outcome.reason.replace("_", " ")


def _last(step: GateStep, config: ProjectConfig, outcome: Outcome, words: LastWords) -> str:
    """Return what a failed step said last, and what that is due to where the configuration shows it."""
    due = hint(step.words, config.gate_toolchains, words.text) if outcome.sandbox == "bubblewrap" else ""
    return ". ".join(part for part in (words.last_line(), due) if part)


def _read_reports(checkout: Path, step: GateStep, row: dict[str, Any]) -> None:
    """Read the step's JUnit files. A report that was promised and isn't sound fails the step."""
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    failing: list[dict[str, str]] = []
    for pattern in step.reports:
        for found in collect(checkout, pattern, max_bytes=MAX_REPORT_BYTES):
            if found.status != "ok":
                row["passed"] = False
                row["detail"] += f"; report {found.path}: {found.status.replace('_', ' ')}"
                continue
            try:
                report = parse(found.data)
            except BadReport as error:
                row["passed"] = False
                row["detail"] += f"; report {found.path}: {error.detail}"
                continue
            counted = asdict(report)
            for key in totals:
                totals[key] += counted[key]
            failing += [
                {"id": case.identity, "message": case.message, "file": case.file_named}
                for case in report.failed_cases
            ]
    row["tests"] = totals
    row["failing"] = failing[:MAX_FAILING]
    if failing:
        row["passed"] = False
        row["detail"] += f"; {len(failing)} failing tests"
