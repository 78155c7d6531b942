"""Examples of the issue routes, told of the same run as the others. A test holds each against its schema."""

from __future__ import annotations

from runs.api import examples

KEY = str(examples.ISSUE["issue_key"])
INDEX_ENTRY = {
    "category": "correctness", "severity": "minor", "effective_severity": "minor", "first_phase_index": 0,
    "last_phase_index": 0, "occurrence_count": 1, "seen_in_tiers": ["t1"], "seen_in_phases": ["discount"],
}  # fmt: skip
BACKLOG_ENTRY = {
    "category": "correctness", "base_severity": "minor", "age_in_runs": 1, "age_in_tiers": 1,
    "first_seen_run_id": "shop-41", "last_seen_run_id": "shop-42", "last_seen_at": examples.AT,
    "seen_in_tiers": ["t1"], "status": "open",
}  # fmt: skip
RECORDED = {
    "message": f"Issue {KEY} recorded",
    "phase_file": {
        "phase_id": "discount", "tier_id": "t1", "minor_issue_count": 1, "major_issue_count": 0,
        "issue_state": "has_minor_issues",
        "issues": [
            {
                "issue_key": KEY, "severity": "minor", "effective_severity": "minor", "source": "probe",
                "category": "correctness", "task_category": "feature_scaffolding", "complexity": "medium",
                "expected_fail": False, "occurrence_count": 1, "first_seen_run": "shop-41",
                "last_seen_run": "shop-42", "evidence_refs": ["shop/prices.py:14"],
            }
        ],
    },
    "run_index_entry": INDEX_ENTRY,
    "project_backlog_entry": BACKLOG_ENTRY,
}  # fmt: skip
ENTRY_ROW = {
    "id": 17, "issue_key": KEY, "category": "correctness", "base_severity": "minor", "effective_severity": "minor",
    "status": "open", "accepted_until": None, "age_in_runs": 1, "age_in_tiers": 1, "occurrence_count": 3,
    "first_seen_run_id": "shop-41", "last_seen_run_id": "shop-42", "first_seen_at": examples.AT,
    "last_seen_at": examples.LATER, "opened_at": examples.AT, "paths": ["shop/prices.py"],
    "votes": 2,
}  # fmt: skip
ENTRY = {
    **ENTRY_ROW, "project_id": "shop", "scopes": [["shop/**"]], "seen_in_runs": ["shop-41", "shop-42"],
    "seen_in_tiers": ["t1"], "merged_into": None, "fixed_by": "", "reporters": ["builder-1", "reviewer"],
    "names": [
        {"id": 5, "kind": "key", "name": KEY, "site": "", "is_pinned": False},
        {"id": 7, "kind": "place", "name": "5f1d6c07e2a94b3f8c5d1e0a7b9c2d4e6f8a0b1c", "site": "shop/prices.py",
         "is_pinned": False},
    ],
    "group": [{"id": 21, "issue_key": "basket-no-rounding", "status": "open", "site": "shop/basket.py"}],
    "sightings": [
        {
            "run_id": "shop-42", "phase_id": "discount", "issue_key": KEY, "severity": "minor",
            "effective_severity": "minor", "source": "probe", "reporters": ["builder-1"], "occurrence_count": 1,
            "last_seen_at": examples.LATER, "description": "Totals are not rounded",
            "evidence_refs": ["shop/prices.py:14"],
        }
    ],
}  # fmt: skip
EVENT = {
    "id": 90, "event": "opened", "from_status": "", "to_status": "open", "who": "builder-1",
    "why": "reported in phase discount", "run_id": "shop-41", "phase_id": "discount", "until": None,
    "at": examples.AT,
    "correlation_id": "build-42.retry:1",
}  # fmt: skip
FACETS = {
    "status": [{"value": "open", "count": 3, "is_at_least": False}],
    "severity": [{"value": "minor", "count": 10000, "is_at_least": True}],
    "category": [{"value": "correctness", "count": 3, "is_at_least": False}],
}
CSV = (
    "issue_key,severity,category,evidence_refs,description\r\n"
    'prices-no-rounding,minor,correctness,shop/prices.py:14,"Totals are not rounded"\r\n'
)
JUNIT = (
    '<testsuite name="unit"><testcase classname="tests.test_prices" name="test_total">'
    '<failure message="99.995 is not 100.00"/></testcase></testsuite>'
)
JUNIT_OUT = '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="autopack">\n</testsuites>\n'
IMPORTED = {
    "message": "1 issues recorded", "reports": 1, "issues": 1, "minor_issue_count": 1, "major_issue_count": 0,
    "issue_state": "has_minor_issues",
}  # fmt: skip
