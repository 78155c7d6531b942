"""The shapes of answers, field by field, as the contract lists them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Check = Callable[[Any], bool]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def text(value: Any) -> bool:
    return isinstance(value, str)


def count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def time(value: Any) -> bool:
    return isinstance(value, str) and TIME.fullmatch(value) is not None


def key(value: Any) -> bool:
    return text(value) or count(value)


def thing(value: Any) -> bool:
    return isinstance(value, dict)


def ratio(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def one_of(*values: Any) -> Check:
    return lambda value: value in values


def maybe(shape: Any) -> Check:
    return lambda value: value is None or not faults(value, shape)


def by_key(shape: Any) -> Check:
    return lambda value: isinstance(value, dict) and not any(faults(row, shape) for row in value.values())


def faults(value: Any, shape: Any, at: str = "body") -> list[str]:
    """Return what differs: a missing or unknown field, or a value of another kind. Lists hold one shape."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{at} is {value!r}"]
        found = [f"{at}.{name} is missing" for name in shape.keys() - value.keys()]
        found += [f"{at}.{name} is not in the contract" for name in value.keys() - shape.keys()]
        for name in shape.keys() & value.keys():
            found += faults(value[name], shape[name], f"{at}.{name}")
        return found
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{at} is {value!r}"]
        return [fault for n, row in enumerate(value) for fault in faults(row, shape[0], f"{at}[{n}]")]
    return [] if shape(value) else [f"{at} is {value!r}"]


RUN_STATE = one_of(
    "PLAN_BOOTSTRAP", "RUN_CREATED", "PHASE_QUEUEING", "PHASE_EXECUTION", "GATE", "CI_RUNNING", "SNAPSHOT_CREATED",
    "DONE_SUCCESS", "DONE_FAILED_BUDGET_EXHAUSTED", "DONE_FAILED_POLICY_VIOLATION",
    "DONE_FAILED_REQUIRES_HUMAN_REVIEW", "DONE_FAILED_ENVIRONMENT", "DONE_FAILED_GATE", "DONE_CANCELLED",
)  # fmt: skip
TIER_STATE = one_of("PENDING", "IN_PROGRESS", "COMPLETE", "FAILED", "SKIPPED")
PHASE_STATE = one_of("QUEUED", "EXECUTING", "GATE", "CI_RUNNING", "COMPLETE", "FAILED", "SKIPPED")
SEVERITY = one_of("minor", "major")
CLEANLINESS = one_of("clean", "not_clean")

PHASE_OF_RUN = {
    "id": key, "phase_id": text, "name": text, "state": PHASE_STATE, "task_category": text, "complexity": text,
    "builder_mode": maybe(text), "phase_index": count,
}  # fmt: skip
TIER_OF_RUN = {
    "id": key, "tier_id": text, "name": text, "state": TIER_STATE, "tier_index": count, "cleanliness": CLEANLINESS,
    "minor_issues_count": count, "major_issues_count": count, "phases": [PHASE_OF_RUN],
}  # fmt: skip
RUN = {
    "id": text, "run_id": text, "state": RUN_STATE, "safety_profile": one_of("normal", "safety_critical"),
    "run_scope": one_of("multi_tier", "single_tier"), "created_at": time, "started_at": maybe(time),
    "completed_at": maybe(time), "tokens_used": count, "ci_runs_used": count, "minor_issues_count": count,
    "major_issues_count": count, "promotion_eligible_to_main": one_of("true", "false"), "debt_status": text,
    "failure_reason": maybe(text), "tiers": [TIER_OF_RUN],
}  # fmt: skip
ISSUE = {
    "issue_key": text, "severity": SEVERITY, "effective_severity": SEVERITY, "source": text, "category": text,
    "task_category": text, "complexity": text, "expected_fail": flag, "occurrence_count": count,
    "first_seen_run": text, "last_seen_run": text, "evidence_refs": [text],
}  # fmt: skip
PHASE_FILE = {
    "phase_id": text, "tier_id": text, "issues": [ISSUE], "minor_issue_count": count, "major_issue_count": count,
    "issue_state": one_of("no_issues", "has_minor_issues", "has_major_issues"),
}  # fmt: skip
INDEX_ENTRY = {
    "category": text, "severity": SEVERITY, "effective_severity": SEVERITY, "first_phase_index": count,
    "last_phase_index": count, "occurrence_count": count, "seen_in_tiers": [text], "seen_in_phases": [text],
}  # fmt: skip
BACKLOG_ENTRY = {
    "category": text, "base_severity": SEVERITY, "age_in_runs": count, "age_in_tiers": count,
    "first_seen_run_id": text, "last_seen_run_id": text, "last_seen_at": time, "seen_in_tiers": [text],
    "status": one_of("open", "needs_cleanup", "resolved", "reopened"),
}  # fmt: skip
RECORDED = {
    "message": text, "phase_file": PHASE_FILE, "run_index_entry": INDEX_ENTRY, "project_backlog_entry": BACKLOG_ENTRY
}  # fmt: skip
INDEX = {"run_id": text, "issues_by_key": by_key(INDEX_ENTRY)}
BACKLOG = {"project_id": text, "issues_by_key": by_key(BACKLOG_ENTRY)}
BUILT = {"message": text, "commit_sha": maybe(SHA.fullmatch), "phase_state": PHASE_STATE}
AUDIT_REQUESTED = {"message": text, "review_focus": text, "auditor_profile": text}
AUDITED = {
    "message": text, "recommendation": one_of("approve", "revise", "escalate"), "patches_applied": count,
    "commit_shas": [SHA.fullmatch], "phase_state": PHASE_STATE, "refusals": [thing],  # the last one is an addition
}  # fmt: skip
BRANCH = {
    "branch": text, "exists": one_of(True), "commit_count": count, "latest_commit": text, "ahead_of_main": count,
    "behind_main": count,
}  # fmt: skip
NO_BRANCH = {"branch": text, "exists": one_of(False), "message": text}
PROBLEM_ROW = {"type": text, "loc": [key], "msg": text}
