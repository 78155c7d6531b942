"""Longer examples of the published description: one run of one project, told through its routes.

Short ones stand beside their views (`schema.shown`). A test holds every example against its schema.
"""

from __future__ import annotations

RUN_ID, PHASE_ID, LEASE_ID = "shop-42", "discount", "0d7c5a1be0a14f5c9a55b8e6c7f0d2a4"
COMMIT, BASE = "8c1f0a6c5e9b3d7f2a4e6c8b0d1f3a5c7e9b2d4f", "5b7e2f9c1d3a4b6e8f0a2c4d6e8f1a3b5c7d9e0f"
AT, LATER = "2026-03-02T09:00:00.000000Z", "2026-03-02T09:01:00.000000Z"
PATCH = (
    "diff --git a/shop/prices.py b/shop/prices.py\n--- a/shop/prices.py\n+++ b/shop/prices.py\n"
    "@@ -1 +1,2 @@\n PRICE = 100\n+DISCOUNT = 0.1\n"
)
ISSUE = {
    "issue_key": "prices-no-rounding",
    "severity": "minor",
    "source": "cursor_self_doubt",
    "category": "correctness",
    "evidence_refs": ["shop/prices.py:14"],
    "description": "Totals are not rounded",
}

START = {
    "run": {"run_id": RUN_ID, "token_cap": 2_000_000, "max_duration_minutes": 60},
    "project_id": "shop",
    "tiers": [{"tier_id": "t1", "tier_index": 0, "name": "Pricing"}],
    "phases": [
        {
            "phase_id": PHASE_ID, "phase_index": 0, "tier_id": "t1", "name": "Discounts",
            "description": "Give ten per cent off from the third item on", "task_category": "feature_scaffolding",
            "complexity": "medium", "scope": ["shop/**"], "depends_on": [],
        }
    ],
}  # fmt: skip

PHASE = {
    "id": 7, "phase_id": PHASE_ID, "name": "Discounts", "state": "EXECUTING",
    "task_category": "feature_scaffolding", "complexity": "medium", "builder_mode": "scaffolding_heavy",
    "phase_index": 0,
}  # fmt: skip
TIER = {
    "id": 3, "tier_id": "t1", "name": "Pricing", "state": "IN_PROGRESS", "tier_index": 0, "cleanliness": "clean",
    "minor_issues_count": 0, "major_issues_count": 0, "phases": [PHASE],
}  # fmt: skip
RUN = {
    "id": RUN_ID, "run_id": RUN_ID, "state": "PHASE_EXECUTION", "safety_profile": "normal",
    "run_scope": "multi_tier", "created_at": AT, "started_at": AT, "completed_at": None, "tokens_used": 18_400,
    "ci_runs_used": 0, "minor_issues_count": 0, "major_issues_count": 0, "promotion_eligible_to_main": "false",
    "debt_status": "none", "failure_reason": None, "tiers": [TIER],
}  # fmt: skip
RUN_ROW = {
    **{name: value for name, value in RUN.items() if name not in ("promotion_eligible_to_main", "tiers")},
    "project_id": "shop",
    "token_cap": 2_000_000,
    "audit_tokens_used": 0,
    "cost_usd": 0.11,
    "cost_cap_usd": None,
    "overrun": 0,
}
EVENTS = {
    "run_id": RUN_ID,
    "events": [
        {
            "id": 81, "machine": "phase", "subject": PHASE_ID, "event": "claimed", "from_state": "QUEUED",
            "to_state": "EXECUTING", "who": "builder-1", "why": "", "data": {"fence": 1}, "version": 1, "at": AT,
            "correlation_id": "build-42.retry:1",
        }
    ],
    "next_after": 81,
    "has_more": False,
}  # fmt: skip

CLAIM = {
    "lease_id": LEASE_ID, "fence": 1, "run_id": RUN_ID, "phase_id": PHASE_ID, "kind": "build",
    "attempt_id": "b1946ac92492d2347c6235b4d2611184", "base_commit": BASE, "expires_at": LATER, "ttl_s": 60.0,
    "brief": {
        "run_id": RUN_ID, "project_id": "shop", "branch": f"autonomous/{RUN_ID}", "base_commit": BASE,
        "phase": {"phase_id": PHASE_ID, "tier_id": "t1", "index": 0, "name": "Discounts"},
        "scope": ["shop/**"], "notes": "", "previous": [],
    },
}  # fmt: skip

BUILDER_RESULT = {
    "run_id": RUN_ID, "phase_id": PHASE_ID, "lease_id": LEASE_ID, "fence": 1, "status": "success",
    "patch_content": PATCH, "files_changed": ["shop/prices.py"], "lines_added": 1, "lines_removed": 0,
    "usage": {"input_tokens": 15_000, "output_tokens": 3_400, "model": "a-model", "cost_usd": 0.11},
    "probe_results": [{"probe_type": "pytest", "exit_code": 0, "duration_seconds": 3.2}],
    "suggested_issues": [ISSUE], "notes": "Rounding is left as it was",
}  # fmt: skip
AUDITOR_RESULT = {
    "run_id": RUN_ID, "phase_id": PHASE_ID, "review_notes": "Negative quantities are not refused",
    "recommendation": "revise", "confidence": "high", "tokens_used": 6_100,
    "issues_found": [{**ISSUE, "issue_key": "prices-negative-quantity", "source": "auditor"}],
}  # fmt: skip
