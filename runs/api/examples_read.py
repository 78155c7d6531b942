"""Examples of the routes that are read: the same run of the same project, as its routes answered.

A test holds every example against its schema.
"""

from __future__ import annotations

AUDITS = {
    "audits": [{"audit_id": "caa1d33e74b54646a53c3ad6f645086f", "project_id": "shop", "run_id": "shop-42",
    "phase_id": "login", "phase_name": "Log-in", "task_category": "security_auth_change", "complexity": "high",
    "number": 1, "purpose": "approval", "profile": "security_review", "attempt_id":
    "2af127b10c3d4440995ebb53c766f0c4", "patch_hash":
    "f692e3a975ba254978dcf590293f7b2d4e9fddd32e128a58094bfe22f50770de", "created_at":
    "2026-03-02T22:38:44.143619Z", "claim_deadline_at": "2026-03-02T22:53:44.145233Z"}], "next_cursor": None,
}  # fmt: skip
BACKLOG_SUMMARY = {
    "total_issues": 1, "open_count": 1, "needs_cleanup_count": 0, "resolved_count": 0, "top_aging_issues":
    [["prices-no-rounding", {"category": "correctness", "base_severity": "minor", "age_in_runs": 0,
    "age_in_tiers": 0, "first_seen_run_id": "shop-42", "last_seen_run_id": "shop-42", "last_seen_at":
    "2026-03-02T22:38:44.181878Z", "seen_in_tiers": ["t1"], "status": "open"}]], "needs_cleanup": [],
}  # fmt: skip
BUDGET_ANALYSIS = {
    "total_budget_failures": 0, "average_token_utilization": 0.0, "by_limit": {}, "by_tier": {},
    "by_category_complexity": {}, "overrun": {"runs": 0, "tokens": 0, "cost_usd": 0.0}, "by_envelope":
    {"build": {"attempts": 2, "merged": 2, "tokens_used": 36800, "unknown_usage": 0, "overrun": 0, "cost_usd": 0.22,
    "reported_usd": 0.22, "priced_usd": None, "unknown_cost": 0}},
    "by_agent": {"night-shift": {"attempts": 2, "merged": 2, "tokens_used": 36800,
    "unknown_usage": 0, "overrun": 0, "cost_usd": 0.22, "reported_usd": 0.22,
    "priced_usd": None, "unknown_cost": 0}}, "by_model": {"a-model": {"attempts": 2,
    "merged": 2, "tokens_used": 36800, "unknown_usage": 0, "overrun": 0, "cost_usd": 0.22, "reported_usd": 0.22,
    "priced_usd": None, "unknown_cost": 0}},
    "cost_per_accepted_phase": {"accepted_phases": 2, "tokens": 18400.0, "cost_usd": 0.11, "unknown_usage": 0,
    "unknown_cost": 0}, "audits_helped": {"audits": 0, "phases": 0, "completed": 0, "share": 0.0, "objections": 0,
    "tokens_used": 0}, "failures": [], "next_cursor": None,
}  # fmt: skip
METRICS_RUNS = {
    "total_runs": 1, "runs": [{"run_id": "shop-42", "state": "GATE", "safety_profile": "normal", "tokens_used":
    36800, "token_cap": 2000000, "token_utilization": 0.0184, "minor_issues_count": 1, "major_issues_count": 0,
    "max_minor_issues_total": 6, "phase_count": 2, "tier_count": 1, "started_at": "2026-03-02T22:38:43.663057Z",
    "completed_at": None}], "next_cursor": None,
}  # fmt: skip
METRICS_TIERS = {
    "run_id": "shop-42", "tier_count": 1, "tiers": [{"tier_id": "t1", "tier_index": 0, "name": "Pricing",
    "state": "IN_PROGRESS", "cleanliness": "clean", "minor_issues_count": 1, "major_issues_count": 0,
    "phase_count": 2, "phase_states": {"COMPLETE": 1, "GATE": 1}, "tokens_used": 36800}],
}  # fmt: skip
NEW_TOKEN = {
    "id": 2, "prefix": "apk_xxxxxxxx", "agent": "builder-2", "roles": ["builder"], "project_id": "shop",
    "state": "valid", "created_at": "2026-03-02T22:38:44.357924Z", "expires_at": None, "revoked_at": None,
    "last_used_at": None, "token": "apk_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
}  # fmt: skip
PHASE_DETAIL = {
    "id": 1, "run_id": "shop-42", "tier_id": "t1", "phase_id": "discount", "phase_index": 0, "name":
    "Discounts", "description": "", "task_category": "feature_scaffolding", "complexity": "medium",
    "builder_mode": "scaffolding_heavy", "scope": ["notes/**"], "depends_on": [], "limits": {"scope":
    ["notes/**"], "allowed": {"binary": False, "symlinks": False, "submodules": False, "protected_paths":
    False}, "because": ["complexity medium: the category's", "mode scaffolding_heavy: the category's"],
    "high_risk": False, "auto_apply": True, "ci_profile": "normal", "complexity": "medium", "builder_mode":
    "scaffolding_heavy", "task_category": "feature_scaffolding", "ci_max_retries": 3, "requires_audit": False,
    "auditor_profile": None, "default_severity": "minor", "incident_token_cap": 500000, "max_attempt_tokens":
    100000, "audit_after_failures": 2, "max_auditor_attempts": 2, "max_builder_attempts": 3}, "state":
    "COMPLETE", "version": 4, "fence": 1, "builder_attempts": 1, "auditor_attempts": 0, "lost_attempts": 0,
    "tokens_used": 18400, "tokens_reserved": 0, "audit_tokens_used": 0, "audit_tokens_reserved": 0,
    "cost_micro_usd": 110000,
    "cost_reserved_micro_usd": 0, "overrun": 0,
    "minor_issues_count": 1, "major_issues_count": 0, "notes": "",
    "audit_request": None, "commit_sha": "0dfed270a66f2177a041b23c2eca4b1739e4d406", "failure_cause": "",
    "failure_code": "", "failure_reason": None, "ready_at": "2026-03-02T22:38:43.694403Z", "claim_deadline_at":
    None, "started_at": "2026-03-02T22:38:43.718516Z", "completed_at": "2026-03-02T22:38:43.990592Z", "lease":
    None, "attempts": [{"attempt_id": "6e747bbc83244b7ca0f1184acb546ddc", "kind": "build", "number": 1, "state":
    "MERGED", "agent": "night-shift", "fence": 1, "patch_hash":
    "3ebe1265eb2f15024882f0220d4ded91009fec57a5a3b41e8944beca21af6604", "patch_bytes": 145, "base_commit":
    "a2a52172c556efb267093d81466b441bce0c228c", "candidate_sha": "0dfed270a66f2177a041b23c2eca4b1739e4d406",
    "rebuilds": 0, "infra_failures": 0, "failure_code": "", "failure_reason": "", "is_policy_refusal": False,
    "target_id": None, "purpose": "", "profile": "", "verdict": "", "notes": "",
    "tokens_reserved": 0, "token_cap": 100000, "overrun": 0, "cost_usd": 0.11, "priced_usd": None, "cost_cap_usd":
    None,
    "tokens_used": 18400, "usage_source": "reported", "usage": {"model": "a-model", "input_tokens": 15000,
    "output_tokens": 3400}, "created_at": "2026-03-02T22:38:43.724693Z", "submitted_at":
    "2026-03-02T22:38:43.780931Z", "ended_at": None}], "gate_runs": [{"gate_run_id":
    "57eebb61fff84d669eea3961c01a9765", "attempt_id": "6e747bbc83244b7ca0f1184acb546ddc", "number": 1,
    "profile": "normal", "candidate_sha": "0dfed270a66f2177a041b23c2eca4b1739e4d406", "base_commit":
    "a2a52172c556efb267093d81466b441bce0c228c", "state": "DONE", "verdict": "waived", "reason":
    "Profile normal has no steps", "tries": 0, "created_at": "2026-03-02T22:38:43.876825Z", "started_at":
    "2026-03-02T22:38:43.876825Z", "ended_at": "2026-03-02T22:38:43.876825Z"}],
}  # fmt: skip
PROJECT = {
    "project_id": "shop", "name": "Shop", "source": "/srv/git/shop.git", "default_branch": "main", "is_default":
    True, "ruleset_version": 1, "config_hash":
    "d2e08d3ad761bc3aaa20e004fa40d12342c9f80cbbf8c53db5dab044c39a535d", "created_at":
    "2026-03-02T22:38:42.823359Z", "updated_at": "2026-03-02T22:38:42.844205Z", "protected_branches": [],
    "protected_paths": [".circleci/**", ".github/**", ".gitlab-ci.yml", ".gitlab/**", "Jenkinsfile",
    "azure-pipelines.yml", "autopack.yaml", "bitbucket-pipelines.yml", "project_ruleset_*.json"], "builders":
    [{"name": "outside", "kind": "pull", "categories": [], "description": ""}], "auditors": [{"name":
    "reviewer", "kind": "pull", "categories": [], "description": ""}], "gates": {"normal": [], "strict": []},
}  # fmt: skip
PROJECTS = {
    "projects": [{"project_id": "shop", "name": "Shop", "source": "/srv/git/shop.git", "default_branch": "main",
    "is_default": True, "ruleset_version": 1, "config_hash":
    "d2e08d3ad761bc3aaa20e004fa40d12342c9f80cbbf8c53db5dab044c39a535d", "created_at":
    "2026-03-02T22:38:42.823359Z", "updated_at": "2026-03-02T22:38:42.844205Z"}], "next_cursor": None,
}  # fmt: skip
PROMOTION = {
    "run_id": "shop-42", "state": "GATE", "branch": "autonomous/shop-42", "head_commit":
    "0dfed270a66f2177a041b23c2eca4b1739e4d406", "eligible": False, "promotion_eligible_to_main": "false",
    "reasons": [{"code": "not-successful", "detail": "the run is GATE"}, {"code": "no-run-summary", "detail":
    "the run has not ended"}], "remarks": [],
}  # fmt: skip
REVOKED_TOKEN = {
    "id": 2, "prefix": "apk_xxxxxxxx", "agent": "builder-2", "roles": ["builder"], "project_id": "shop",
    "state": "revoked", "created_at": "2026-03-02T22:38:44.357924Z", "expires_at": None, "revoked_at":
    "2026-03-02T22:38:44.379603Z", "last_used_at": None,
}  # fmt: skip
RULESET = {
    "allow": {"binary": False, "protected_paths": False, "submodules": False, "symlinks": False},
    "category_defaults": {"docs": {"auditor_profile": None, "auto_apply": True, "ci_profile": "normal",
    "complexity": "low", "default_severity": "minor", "incident_token_cap": 200000, "max_auditor_attempts": 1,
    "max_builder_attempts": 2, "tier_ci_run_cap_multiplier": 2, "tier_max_major_issues_tolerated": 0,
    "tier_max_minor_issues_multiplier": 2, "tier_token_cap_multiplier": 3}}, "ci_max_retries": 3,
    "debt_cleanup": {"aged_issue_limit": 5, "max_phases": 5}, "default_run_scope": "multi_tier",
    "default_safety_profile": "normal", "high_risk_categories": ["cross_cutting_refactor",
    "index_registry_change", "schema_contract_change", "bulk_multi_file_operation", "security_auth_change"],
    "project_id": "shop", "protected_paths": [".circleci/**", ".github/**", ".gitlab-ci.yml", ".gitlab/**",
    "Jenkinsfile", "autopack.yaml", "azure-pipelines.yml", "bitbucket-pipelines.yml", "project_ruleset_*.json"],
    "run_max_duration_minutes": 120, "run_max_phases": 25, "run_token_cap": 5000000, "safety_profiles":
    {"normal": {"description": "A failed phase fails its tier; the rest is still tried",
    "minor_issue_aging_runs_threshold": 3, "minor_issue_aging_tiers_threshold": 2, "name": "normal",
    "run_scope_preference": "multi_tier"}}, "version": 1,
}  # fmt: skip
RULESETS = {
    "project_id": "shop", "rulesets": [{"version": 1, "sha256":
    "50da7c92fed2e4db0278eb9a33659f78891392f8aaa73b7a08fa7baea071f62c", "created_at":
    "2026-03-02T22:38:42.842097Z", "created_by": "ops", "is_in_force": True}], "next_cursor": None,
}  # fmt: skip
RUN_SUMMARY = {
    "run_id": "shop-42", "state": "GATE", "safety_profile": "normal", "run_scope": "multi_tier", "budgets":
    {"tokens_used": 36800, "token_cap": 2000000, "token_utilization": 0.0184, "phase_count": 2, "max_phases":
    25}, "issues": {"minor_count": 1, "major_count": 0, "max_minor_total": 6, "distinct_issues": 1}, "tiers":
    [{"tier_id": "t1", "name": "Pricing", "state": "IN_PROGRESS", "phase_count": 2, "minor_issues": 1,
    "major_issues": 0, "tokens_used": 36800}], "phases": [{"phase_id": "discount", "phase_index": 0, "name":
    "Discounts", "state": "COMPLETE", "task_category": "feature_scaffolding", "complexity": "medium",
    "builder_attempts": 1, "auditor_attempts": 0, "tokens_used": 18400, "minor_issues": 1, "major_issues": 0},
    {"phase_id": "login", "phase_index": 1, "name": "Log-in", "state": "GATE", "task_category":
    "security_auth_change", "complexity": "high", "builder_attempts": 0, "auditor_attempts": 0, "tokens_used":
    18400, "minor_issues": 0, "major_issues": 0}], "started_at": "2026-03-02T22:38:43.663057Z", "completed_at":
    None,
}  # fmt: skip
STRATEGY = {
    "advice": [{"code": "consider-splitting", "message":
    "Large scaffolding: consider splitting the phase in two or three", "phase_id": "discount"}],
    "category_strategies": {"*": {"auditor_profile": None, "auto_apply": True, "ci_profile": "normal",
    "complexity": "medium", "default_severity": "minor", "incident_token_cap": 500000, "max_auditor_attempts":
    2, "max_builder_attempts": 3, "tier_ci_run_cap_multiplier": 2, "tier_max_major_issues_tolerated": 0,
    "tier_max_minor_issues_multiplier": 2, "tier_token_cap_multiplier": 3}}, "minor_issue_aging_runs_threshold":
    3, "minor_issue_aging_tiers_threshold": 2, "on_phase_failure": "continue", "phase_strategies": {"discount":
    {"allowed": {"binary": False, "protected_paths": False, "submodules": False, "symlinks": False},
    "audit_after_failures": 2, "auditor_profile": None, "auto_apply": True, "because":
    ["complexity medium: the category's", "mode scaffolding_heavy: the category's"], "builder_mode":
    "scaffolding_heavy", "ci_max_retries": 3, "ci_profile": "normal", "complexity": "medium",
    "default_severity": "minor", "high_risk": False, "incident_token_cap": 500000, "max_attempt_tokens": 100000,
    "max_auditor_attempts": 2, "max_builder_attempts": 3, "requires_audit": False, "scope": ["notes/**"],
    "task_category": "feature_scaffolding"}}, "project_id": "shop", "protected_paths": [".circleci/**",
    ".github/**", ".gitlab-ci.yml", ".gitlab/**", "Jenkinsfile", "autopack.yaml", "azure-pipelines.yml",
    "bitbucket-pipelines.yml", "project_ruleset_*.json"], "ruleset_sha256":
    "50da7c92fed2e4db0278eb9a33659f78891392f8aaa73b7a08fa7baea071f62c", "ruleset_version": 1, "run_id":
    "shop-42", "run_max_duration_minutes": 60, "run_max_minor_issues_total": 6, "run_max_phases": 25,
    "run_scope": "multi_tier", "run_token_cap": 2000000, "safety_profile": "normal", "severity_upgrades": {},
    "tier_strategies": {"t1": {"ci_run_cap": 4, "gate_run_cap": 4, "max_major_issues_tolerated": 0,
    "max_minor_issues_tolerated": 2, "tier_id": "t1", "token_cap": 3900000}}, "version": "v1",
}  # fmt: skip
TOKENS = {
    "tokens": [{"id": 2, "prefix": "apk_xxxxxxxx", "agent": "builder-2", "roles": ["builder"], "project_id":
    "shop", "state": "valid", "created_at": "2026-03-02T22:38:44.357924Z", "expires_at": None, "revoked_at":
    None, "last_used_at": None}, {"id": 1, "prefix": "apk_yyyyyyyy", "agent": "night-shift", "roles":
    ["operator"], "project_id": None, "state": "valid", "created_at": "2026-03-02T22:38:42.846315Z",
    "expires_at": None, "revoked_at": None, "last_used_at": "2026-03-02T22:38:43.339344Z"}], "next_cursor": None,
}  # fmt: skip
UPDATED = {
    "message": "Phase login updated to state FAILED", "phase": {"id": 2, "run_id": "shop-42", "tier_id": "t1",
    "phase_id": "login", "phase_index": 1, "name": "Log-in", "description": "", "task_category":
    "security_auth_change", "complexity": "high", "builder_mode": None, "scope": ["notes/**"], "depends_on": [],
    "limits": {"scope": ["notes/**"], "allowed": {"binary": False, "symlinks": False, "submodules": False,
    "protected_paths": False}, "because": ["no mode: no rule of the table fits"], "high_risk": True,
    "auto_apply": False, "ci_profile": "strict", "complexity": "high", "builder_mode": None, "task_category":
    "security_auth_change", "ci_max_retries": 3, "requires_audit": True, "auditor_profile": "security_review",
    "default_severity": "major", "incident_token_cap": 800000, "max_attempt_tokens": 160000,
    "audit_after_failures": 1, "max_auditor_attempts": 3, "max_builder_attempts": 2}, "state": "FAILED",
    "version": 5, "fence": 1, "builder_attempts": 0, "auditor_attempts": 0, "lost_attempts": 0, "tokens_used":
    18400, "tokens_reserved": 0, "audit_tokens_used": 0, "audit_tokens_reserved": 0,
    "cost_micro_usd": 110000,
    "cost_reserved_micro_usd": 0, "overrun": 0,
    "minor_issues_count": 0, "major_issues_count": 0, "notes": "", "audit_request":
    None, "commit_sha": "", "failure_cause": "review", "failure_code": "operator-failed", "failure_reason":
    "superseded", "ready_at": "2026-03-02T22:38:43.696648Z", "claim_deadline_at": None, "started_at":
    "2026-03-02T22:38:44.015526Z", "completed_at": "2026-03-02T22:38:44.398916Z"},
}  # fmt: skip
EVENT_STREAM = 'retry: 2000\n\nid: 81\nevent: phase.claimed\ndata: {"id": 81, "machine": "phase"}\n\n'
GATE_LOG = "== try 1 ==\n-- unit tests --\n140 passed in 0.9s\n"
