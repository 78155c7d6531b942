"""The services of runs: verbs, each one transaction. Views, tasks, admin and the apps above call these."""

from runs.services.audits import (
    AuditResult,
    SuggestedPatch,
    request_audit,
    submit_audit,
    submit_audit_unleased,
)
from runs.services.builds import BuildResult, fail_attempt, submit_build, submit_build_unleased
from runs.services.claims import Claim, Heartbeat, claim_phase, heartbeat, release_lease
from runs.services.control import cancel_run, note_issue_counts
from runs.services.hand import set_phase_state
from runs.services.start import start_plan_document, start_run
from runs.services.verdicts import (
    begin_merge,
    conflict_merge,
    finish_merge,
    forget_build,
    gate_finished,
    gate_started,
    record_broken_apply,
    record_candidate,
    record_refusal,
)

__all__ = [
    "AuditResult",
    "BuildResult",
    "Claim",
    "Heartbeat",
    "SuggestedPatch",
    "begin_merge",
    "cancel_run",
    "claim_phase",
    "conflict_merge",
    "fail_attempt",
    "finish_merge",
    "forget_build",
    "gate_finished",
    "gate_started",
    "heartbeat",
    "note_issue_counts",
    "record_broken_apply",
    "record_candidate",
    "record_refusal",
    "release_lease",
    "request_audit",
    "set_phase_state",
    "start_plan_document",
    "start_run",
    "submit_audit",
    "submit_audit_unleased",
    "submit_build",
    "submit_build_unleased",
]
