"""What to do next after a failed run: words for people, chosen by the run's terminal state alone."""

from __future__ import annotations

from runs.lifecycle import RunState

NEXT_STEPS: dict[str, tuple[str, ...]] = {
    RunState.DONE_FAILED_BUDGET_EXHAUSTED: (
        "Read `budgets.json`: each cap with what was used of it; the code above names the one that broke.",
        "If the work is worth more, raise that cap: in the ruleset (`.venv/bin/python manage.py ruleset put`), or "
        "for one run by what it is started with (`token_cap`, `max_phases`, `max_duration_minutes`). If not, split "
        "the phase or narrow its scope.",
        "Start a new run. This one stays as it is.",
    ),
    RunState.DONE_FAILED_POLICY_VIOLATION: (
        "Read `attempts.json`: each refusal has its code and reason; the patches are in `patches/`.",
        "If the change is meant, an operator widens the phase's scope or the project's rules; if not, "
        "change the plan's wording or the builder.",
        "If a secret was found, treat it as leaked and replace it.",
    ),
    RunState.DONE_FAILED_REQUIRES_HUMAN_REVIEW: (
        "Read `attempts.json`: why each attempt ended, and where an Auditor judged its notes, beside the patches in "
        "`patches/`. A builder that failed by itself has left its words in `logs/` of the run's folder.",
        "Decide what they could not; put the decision into the plan's description and start a new run.",
    ),
    RunState.DONE_FAILED_ENVIRONMENT: (
        "Read the reason above: a repository, command, agent or gate was missing or broken, not a patch.",
        "Run `.venv/bin/python manage.py doctor`, mend what it names, and start a new run.",
    ),
    RunState.DONE_FAILED_GATE: (
        "Read `gate_tail.txt` and the failing tests in `issues/`.",
        "Apply `{patch}` to the base commit to see the failure at one's own desk.",
        "Say in the plan what the failing tests expect, or give the phase more attempts, and start a new run.",
    ),
}  # fmt: skip
