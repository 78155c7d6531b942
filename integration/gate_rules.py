"""What tries add up to: pure rules for flaky, red and green (SPEC section 9; SAFETY, "Flakes")."""

from __future__ import annotations

import hashlib
from typing import Any

GREEN, RED, INFRA = "green", "red", "infra_failed"


def decide(tries: list[dict[str, Any]], max_tries: int) -> str | None:
    """Return the verdict that the tries so far give, or None when one more is needed.

    A first green is green. After a red only two greens of two pass, as flaky: a real bug that fails half
    the time passes a single rerun too often. A second red ends it. Infrastructure trouble is no verdict
    about the patch.
    """
    verdicts = [row["verdict"] for row in tries]
    if not verdicts:
        return None
    if verdicts[-1] == INFRA:
        return INFRA
    if verdicts[0] == GREEN:
        return GREEN
    if len(verdicts) >= 2 and verdicts[1] == RED:
        return RED
    if len(verdicts) >= 3:
        return "flaky" if verdicts[1:3] == [GREEN, GREEN] else RED
    return RED if len(verdicts) + (2 if len(verdicts) == 1 else 1) > max_tries else None


def fingerprint(row: dict[str, Any]) -> str:
    """Return the identity of a failure: its failing tests, else the step and how it ended."""
    tests = sorted(case["id"] for step in row["steps"] for case in step.get("failing", []))
    steps = sorted(f"{s['name']}:{s['reason']}:{s['exit_code']}" for s in row["steps"] if not s["passed"])
    return hashlib.sha256("\n".join(tests or steps).encode()).hexdigest()


def reason_for(row: dict[str, Any]) -> str:
    """Return one sentence about why a try is red."""
    for step in row["steps"]:
        if step["passed"]:
            continue
        failing = step.get("failing", [])
        if failing:
            names = ", ".join(case["id"] for case in failing[:3])
            more = f" and {len(failing) - 3} more" if len(failing) > 3 else ""
            return f"Step {step['name']}: {len(failing)} tests fail: {names}{more}"
        return f"Step {step['name']}: {said(step)}"
    return "The gate is red"


def said(step: dict[str, Any]) -> str:
    """Return how a step ended, and the last that it wrote where it names no test."""
    last = step.get("last", "")
    return f"{step['detail']}: {last}" if last else str(step["detail"])
