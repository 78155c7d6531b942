"""Examples of what is tried: answers as the routes gave them, long lists cut. A test holds each to its schema."""

from __future__ import annotations

from typing import Any


def _planned(*, token_cap: int) -> dict[str, Any]:
    """Return what the two rulesets make of the plan's tier and phases: alike but for the tier's tokens."""
    return {
        "tiers": [
            {
                "tier_id": "pricing",
                "name": "Pricing",
                "values": [
                    {
                        "name": "token_cap",
                        "value": token_cap,
                        "rule": "the sum of tier_token_cap_multiplier x incident_token_cap over 2 phases",
                    },
                    {
                        "name": "ci_run_cap",
                        "value": 4,
                        "rule": "the sum of tier_ci_run_cap_multiplier over 2 phases",
                    },
                ],
            }
        ],
        "phases": [
            {
                "phase_id": "typo",
                "tier_id": "pricing",
                "name": "Fix a typo in the README",
                "is_inserted": False,
                "because": ["category docs: the text says 'typo'", "complexity low: the category's"],
                "values": [
                    {
                        "name": "task_category",
                        "value": "docs",
                        "rule": "category docs: the text says 'typo'",
                    },
                    {
                        "name": "builder_mode",
                        "value": "tweak_light",
                        "rule": "mode tweak_light: low, and the text says 'typo'",
                    },
                ],
            },
            {
                "phase_id": "login",
                "tier_id": "pricing",
                "name": "Add the login page",
                "is_inserted": False,
                "because": [
                    "category security_auth_change: the text says 'login'",
                    "no mode: no rule of the table fits",
                ],
                "values": [
                    {
                        "name": "task_category",
                        "value": "security_auth_change",
                        "rule": "category security_auth_change: the text says 'login'",
                    },
                    {"name": "builder_mode", "value": None, "rule": "no mode: no rule of the table fits"},
                ],
            },
        ],
        "advice": [],
    }


CHECK: dict[str, Any] = {
    "project_id": "shop",
    "plan": "# Plan\n\n## Pricing\n\n- Log-in\n  complexity: huge\n",
}
CHECKED: dict[str, Any] = {
    "is_valid": False,
    "tier_count": None,
    "phase_count": None,
    "problems": [
        {
            "type": "bad_complexity",
            "loc": ["body", "plan"],
            "msg": "line 6: Complexity must be one of low, medium, high",
            "line": 6,
        }
    ],
}
EXPLAIN: dict[str, Any] = {
    "project_id": "shop",
    "plan": "# Plan\n\n## Pricing\n\n- Fix a typo in the README\n  id: typo\n- Add the login page\n  id: login\n",
}
EXPLAINED: dict[str, Any] = {
    "project_id": "shop",
    "ruleset_version": 1,
    "runs": [
        {
            "run_id": "dry-run",
            "strategy_sha256": "3975626bdaf0899419da784713e10931a7644d15756bb632046e2ed81ccfd946",
            "phase_count": 2,
            "values": [
                {
                    "name": "safety_profile",
                    "value": "normal",
                    "rule": "ruleset version 1: default_safety_profile",
                },
                {
                    "name": "run_scope",
                    "value": "multi_tier",
                    "rule": "ruleset version 1: safety_profiles.normal",
                },
            ],
            **_planned(token_cap=2700000),
        }
    ],
}
SPLIT: dict[str, Any] = {
    "plan": "# Plan\n\n## Pricing\n\n- Fix a typo in the README\n  id: typo\n- Add the login page\n  id: login\n",
    "run_id": "shop-42",
    "max_phases": 1,
}
SPLITTED: dict[str, Any] = {
    "max_phases": 1,
    "runs": [
        {
            "run_id": "shop-42",
            "after": None,
            "phase_count": 1,
            "tiers": [{"tier_id": "pricing", "phases": ["typo"]}],
            "waits_for": [],
        },
        {
            "run_id": "shop-42.2",
            "after": "shop-42",
            "phase_count": 1,
            "tiers": [{"tier_id": "pricing", "phases": ["login"]}],
            "waits_for": [],
        },
    ],
}
CONVERTED: dict[str, Any] = {
    "plan": "# Plan\n\n## Pricing\n\n- id: pricing\n\n### Fix a typo in the README\n\n- id: typo\n\n"
    "### Add the login page\n\n- id: login\n",
    "tiers": [{"tier_id": "pricing", "tier_index": 0, "name": "Pricing"}],
    "phases": [
        {"phase_id": "typo", "phase_index": 0, "tier_id": "pricing", "name": "Fix a typo in the README"},
        {"phase_id": "login", "phase_index": 1, "tier_id": "pricing", "name": "Add the login page"},
    ],
}
DRY_RUN: dict[str, Any] = {
    "plan": "# Plan\n\n## Pricing\n\n- Fix a typo in the README\n  id: typo\n- Add the login page\n  id: login\n",
    "ruleset": {"run_token_cap": 300000},
}
DRY_RAN: dict[str, Any] = {
    "project_id": "shop",
    "ruleset_version": 2,
    "ruleset_sha256": "9ec3b792ec3f761ab46ca88941cf108910415b5ab44a3e0ce3c6293fd0f7af02",
    "in_force_version": 1,
    "in_force_refused": None,
    "ruleset_differences": [
        {"place": "run_token_cap", "kind": "changed", "before": 5000000, "after": 300000},
        {
            "place": "allow",
            "kind": "removed",
            "before": {"binary": False, "symlinks": False, "submodules": False, "protected_paths": False},
            "after": None,
        },
    ],
    "differences": [
        {
            "level": "run",
            "run_id": "dry-run",
            "subject": "dry-run",
            "name": "run_token_cap",
            "before": 5000000,
            "before_rule": "ruleset version 1: run_token_cap",
            "after": 300000,
            "after_rule": "ruleset version 2: run_token_cap",
        },
        {
            "level": "tier",
            "run_id": "dry-run",
            "subject": "pricing",
            "name": "token_cap",
            "before": 2700000,
            "before_rule": "the sum of tier_token_cap_multiplier x incident_token_cap over 2 phases",
            "after": 1200000,
            "after_rule": "the sum of tier_token_cap_multiplier x incident_token_cap over 2 phases",
        },
        {
            "level": "phase",
            "run_id": "dry-run",
            "subject": "login",
            "name": "incident_token_cap",
            "before": 800000,
            "before_rule": "ruleset version 1: category_defaults.security_auth_change",
            "after": 300000,
            "after_rule": "no more than the run's token cap",
        },
    ],
    "runs": [
        {
            "run_id": "dry-run",
            "strategy_sha256": "13e387fca1b74a49c49d328fff3661a6c2ff3f985bb98170dc771b5f6cd6d6a9",
            "phase_count": 2,
            "values": [
                {"name": "safety_profile", "value": "normal", "rule": "the published default"},
                {
                    "name": "run_scope",
                    "value": "multi_tier",
                    "rule": "the published default of safety profile normal",
                },
            ],
            **_planned(token_cap=1200000),
        }
    ],
}
REPLAY: dict[str, Any] = {"ruleset": {"category_defaults": {"docs": {"max_builder_attempts": 1}}}, "runs": 40}
REPLAYED: dict[str, Any] = {
    "project_id": "shop",
    "ruleset_version": 2,
    "ruleset_sha256": "61ac87d0ba1adc2d4cfd074c137cc38a600883b1afd072fae8aec7d86ee5f3a1",
    "in_force_version": 1,
    "ruleset_differences": [
        {"place": "category_defaults.docs.max_builder_attempts", "kind": "changed", "before": 2, "after": 1},
        {"place": "category_defaults.docs.auto_apply", "kind": "removed", "before": True, "after": None},
    ],
    "summary": [
        "1 of your last 1 runs would have been stopped by a cap.",
        "1 by max_builder_attempts, first in run shop-41 at phase P1.",
        "0 phases would have needed an audit that they did not have, 0 had one that would not have been needed.",
        "0 phases would have had a stricter gate, 0 a laxer one.",
        "Spend would have been capped at 90,000 of the 130,000 tokens recorded.",
    ],
    "totals": {
        "runs": 1,
        "runs_stopped": 1,
        "runs_refused": 0,
        "phases_audited": 0,
        "audits_spared": 0,
        "gates_stricter": 0,
        "gates_laxer": 0,
        "patches_refused": 0,
        "tokens": 130000,
        "tokens_kept": 90000,
        "caps": [
            {"cap": "max_builder_attempts", "runs": 1, "first_run": "shop-41", "first_place": "phase P1"}
        ],
    },
    "totals_in_force": {
        "runs": 1,
        "runs_stopped": 0,
        "runs_refused": 0,
        "phases_audited": 0,
        "audits_spared": 0,
        "gates_stricter": 0,
        "gates_laxer": 0,
        "patches_refused": 0,
        "tokens": 130000,
        "tokens_kept": 130000,
        "caps": [],
    },
    "runs": [
        {
            "stops": [
                {
                    "cap": "max_builder_attempts",
                    "level": "phase",
                    "place": "phase P1",
                    "detail": "1 attempts are allowed",
                }
            ],
            "tokens_kept": 90000,
            "refused": None,
            "audits_added": [],
            "audits_spared": [],
            "gates_stricter": [],
            "gates_laxer": [],
            "over_attempt_tokens": [],
            "patches_refused": [],
            "run_id": "shop-41",
            "state": "DONE_SUCCESS",
            "tokens": 130000,
            "in_force": {
                "stops": [],
                "tokens_kept": 130000,
                "refused": None,
                "audits_added": [],
                "audits_spared": [],
                "gates_stricter": [],
                "gates_laxer": [],
                "over_attempt_tokens": ["P1"],
                "patches_refused": [],
            },
        }
    ],
    "not_known": [
        "debt_cleanup phases are those that were inserted then: what other ones would have cost is not known.",
    ],
}
CLASSIFICATION: dict[str, Any] = {
    "project_id": "shop",
    "ruleset_version": 1,
    "rows": [
        {
            "category": "security_auth_change",
            "words": ["auth", "authn"],
            "paths": ["*auth/*", "*security/*"],
            "of": "published",
        },
        {
            "category": "schema_contract_change",
            "words": ["schema", "schemas"],
            "paths": ["*migrations/*", "*.sql"],
            "of": "published",
        },
    ],
    "ignored_words": [],
    "high_complexity_words": ["rewrit*", "overhaul*"],
    "light_tweak_words": ["typo", "typos"],
    "mode_by_category": {
        "schema_contract_change": "schema_heavy",
        "cross_cutting_refactor": "refactor_heavy",
        "bulk_multi_file_operation": "refactor_heavy",
        "index_registry_change": "refactor_heavy",
        "feature_scaffolding": "scaffolding_heavy",
    },
}
