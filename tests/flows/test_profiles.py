"""Each difference between the safety profiles and between the run scopes, and what rules demand, through runs.

The test is the worker: real services, real git, pull builders, gates without steps.
"""

from __future__ import annotations

from typing import Any

import pytest

from integration import apply, merge
from integration.models import GateRun
from issues.models import BacklogEntry
from runs import ports, services, supervisor
from runs.figures import Figures
from runs.lifecycle import PhaseState
from runs.models import Attempt, Run
from runs.ports import IssueReport
from runs.services import AuditResult, BuildResult
from tests.flows import hand
from tests.flows.stack import Stack
from tests.flows.world import World

pytestmark = pytest.mark.real
DOCS = {"task_category": "docs"}
TWO_TIERS = ({"phase_id": "one", **DOCS}, {"phase_id": "two", "tier_id": "t2", **DOCS})


@pytest.fixture(autouse=True)
def quiet(stack: Stack) -> None:
    """The module's stack gives the database; no worker is started."""


def begun(world: World, *phases: Any, tiers: int = 1, **options: Any) -> Run:
    world.project(builder=None)
    run = world.start(world.plan(*phases, tiers=tiers), **options)
    supervisor.step(run.pk)
    return run


def fail(run: Run, phase_id: str) -> None:
    services.set_phase_state(run.pk, phase_id, state=PhaseState.FAILED, by="tests")
    supervisor.step(run.pk)


def land(run: Run, phase_id: str) -> None:
    merge.merge(hand.green(run, phase_id).pk)
    supervisor.step(run.pk)


def report(run: Run, phase_id: str, severity: str, count: int = 1) -> None:
    found = [IssueReport(f"{severity}-{number}", severity, "probe", "odd") for number in range(count)]
    ports.ledger().record(hand.phase_of(run, phase_id).pk, found, reporter="tests")
    supervisor.step(run.pk)


def states(run: Run) -> dict[str, str]:
    return dict(run.phases.values_list("phase_id", "state"))


@pytest.mark.parametrize(
    ("profile", "later", "ended"),
    [("normal", "QUEUED", False), ("safety_critical", "SKIPPED", True)],
)
def test_a_failed_phase_ends_the_run_in_safety_critical_only(
    world: World, profile: str, later: str, ended: bool
) -> None:
    phases = ({"phase_id": "one", **DOCS}, {"phase_id": "later", "depends_on": (), **DOCS})
    run = begun(world, *phases, safety_profile=profile)
    fail(run, "one")
    assert states(run) == {"one": "FAILED", "later": later}
    assert Run.objects.get(pk=run.pk).is_terminal is ended


@pytest.mark.parametrize(("profile", "cleanliness"), [("normal", "clean"), ("safety_critical", "not_clean")])
def test_safety_critical_tolerates_one_minor_issue_a_phase_where_normal_takes_two(
    world: World, profile: str, cleanliness: str
) -> None:
    run = begun(world, {"phase_id": "one", **DOCS}, safety_profile=profile)
    report(run, "one", "minor", 2)
    assert run.tiers.get().cleanliness == cleanliness


@pytest.mark.parametrize(
    ("profile", "state"),
    [("normal", "PHASE_QUEUEING"), ("safety_critical", "DONE_FAILED_REQUIRES_HUMAN_REVIEW")],
)
def test_a_major_issue_ends_the_run_in_safety_critical_only(world: World, profile: str, state: str) -> None:
    run = begun(world, {"phase_id": "one", **DOCS}, safety_profile=profile)
    report(run, "one", "major")
    assert Run.objects.get(pk=run.pk).state == state
    if profile == "normal":
        assert run.tiers.get().cleanliness == "not_clean"


def test_what_the_ruleset_tolerates_of_major_issues_safety_critical_does_not(world: World) -> None:
    for profile, tolerated in (("normal", 3), ("safety_critical", 0)):
        if profile == "normal":
            project = world.project(builder=None)
            world.amend(project, category_defaults={"docs": {"tier_max_major_issues_tolerated": 3}})
        run = world.start(world.plan({"phase_id": "one", **DOCS}), run_id=f"{world.key}-{profile}",
                          safety_profile=profile)  # fmt: skip
        assert run.tiers.get().max_major_issues == tolerated
        supervisor.step(run.pk)
        report(run, "one", "major")
        assert Run.objects.get(pk=run.pk).is_terminal is (tolerated == 0)


@pytest.mark.parametrize(("profile", "status"), [("normal", "open"), ("safety_critical", "needs_cleanup")])
def test_an_issue_ages_sooner_in_safety_critical(world: World, profile: str, status: str) -> None:
    world.project(builder=None)
    first = world.start(world.plan({"phase_id": "one", **DOCS}), run_id=f"{world.key}-first")
    supervisor.step(first.pk)
    report(first, "one", "minor")
    second = world.start(
        world.plan({"phase_id": "one", **DOCS}), run_id=f"{world.key}-second", safety_profile=profile
    )
    supervisor.step(second.pk)
    assert BacklogEntry.objects.get(project__project_id=world.key).status == status


def begun_run(world: World, run_id: str, **options: Any) -> Run:
    """Start a run of one phase, and let it begin its tier."""
    run = world.start(world.plan({"phase_id": "one", **DOCS}), run_id=f"{world.key}-{run_id}", **options)
    supervisor.step(run.pk)
    return run


def only_runs_age(world: World, aged_issue_limit: int = 5) -> None:
    """Add the project, whose tiers age nothing within a test: the threshold in runs alone can be reached."""
    project = world.project(builder=None)
    profiles = {name: {"minor_issue_aging_tiers_threshold": 100} for name in ("normal", "safety_critical")}
    limit = {"aged_issue_limit": aged_issue_limit, "max_phases": 5}
    world.amend(project, safety_profiles=profiles, debt_cleanup=limit)


def see(run: Run, path: str = "") -> str:
    """Report a minor issue in a run's phase; return what it counts as there."""
    found = IssueReport("odd", "minor", "probe", "odd", evidence_refs=(path,) if path else ())
    ports.ledger().record(hand.phase_of(run, "one").pk, [found], reporter="tests")
    return str(run.issue_index.get(issue_key="odd").effective_severity)


@pytest.mark.parametrize(
    ("profile", "by_run"),
    [
        ("normal", [("minor", "open"), ("minor", "open"), ("major", "needs_cleanup")]),
        ("safety_critical", [("minor", "open"), ("major", "needs_cleanup"), ("major", "needs_cleanup")]),
    ],
)
def test_an_issue_counts_as_major_when_it_is_two_runs_old_in_safety_critical_and_three_otherwise(
    world: World, profile: str, by_run: list[tuple[str, str]]
) -> None:
    only_runs_age(world)
    see(begun_run(world, "first"))
    entry = BacklogEntry.objects.filter(project__project_id=world.key)
    counted = []
    for number in (1, 2, 3):
        run = begun_run(world, f"later-{number}", safety_profile=profile)
        assert entry.get().age_in_runs == number
        counted.append((see(run), entry.get().status))
    assert counted == by_run


@pytest.mark.parametrize(("profile", "inserted_in"), [("normal", 3), ("safety_critical", 2)])
def test_cleanup_is_inserted_a_run_sooner_in_safety_critical(
    world: World, profile: str, inserted_in: int
) -> None:
    only_runs_age(world, aged_issue_limit=0)
    see(begun_run(world, "first"), "src/io.py")
    cleanups = {}
    for number in (1, 2, 3):
        run = begun_run(world, f"later-{number}", safety_profile=profile)
        names = set(run.phases.values_list("phase_id", flat=True)) - {"one"}
        cleanups[number] = names
        if names:
            assert run.phases.get(phase_id="debt-cleanup-1").scope == ["src/io.py"]
    assert cleanups == {
        number: {"debt-cleanup-1"} if number >= inserted_in else set() for number in (1, 2, 3)
    }


@pytest.mark.parametrize(
    ("scope", "second", "ended"), [("multi_tier", "QUEUED", False), ("single_tier", "SKIPPED", True)]
)
def test_a_failed_tier_ends_a_single_tier_run_only(
    world: World, scope: str, second: str, ended: bool
) -> None:
    run = begun(world, *TWO_TIERS, tiers=2, run_scope=scope)
    fail(run, "one")
    assert states(run) == {"one": "FAILED", "two": second}
    assert Run.objects.get(pk=run.pk).is_terminal is ended


@pytest.mark.parametrize(
    ("scope", "state", "second"),
    [("multi_tier", None, "QUEUED"), ("single_tier", "DONE_FAILED_BUDGET_EXHAUSTED", "SKIPPED")],
)
def test_a_tier_that_is_not_clean_ends_a_single_tier_run_only(
    world: World, scope: str, state: str | None, second: str
) -> None:
    run = begun(world, *TWO_TIERS, tiers=2, run_scope=scope)
    report(run, "one", "minor", 3)
    land(run, "one")
    assert states(run) == {"one": "COMPLETE", "two": second}
    ended = Run.objects.get(pk=run.pk)
    assert ended.is_terminal is (state is not None)
    if state is not None:
        assert (ended.state, ended.failure_code) == (state, "tier_max_minor_issues_tolerated")


# --- what a rule holds a patch to ------------------------------------------------------------------------


def sized(phase_id: str, lines: int) -> bytes:
    body = "".join(f"+line {number}\n" for number in range(lines))
    return (
        f"diff --git a/{phase_id}.txt b/{phase_id}.txt\nnew file mode 100644\n--- /dev/null\n+++ b/{phase_id}.txt\n"
        f"@@ -0,0 +1,{lines} @@\n{body}"
    ).encode()


def submit(run: Run, phase_id: str, lines: int) -> Attempt:
    lease = hand.claim(run, phase_id)
    result = BuildResult(status="success", patch=sized(phase_id, lines), report={"diff_lines": 0})
    attempt = services.submit_build(lease.lease_id, fence=lease.fence, result=result)
    apply.build(attempt.pk)
    return Attempt.objects.get(pk=attempt.pk)


def ruled(world: World, *rules: dict[str, Any]) -> Run:
    world.project(builder=None, ruleset={"rules": list(rules)})
    run = world.start(
        world.plan({"phase_id": "small", **DOCS}, {"phase_id": "large", "depends_on": (), **DOCS})
    )
    supervisor.step(run.pk)
    return run


def test_a_large_diff_passes_the_strict_gate_and_lands_only_when_an_auditor_has_approved_it(
    world: World,
) -> None:
    run = ruled(
        world,
        {"id": "large", "when": {"diff_lines_at_least": 10}, "set": {"ci_profile": "strict"}},
        {"id": "larger", "when": {"diff_lines_at_least": 20},
         "set": {"auto_apply": False, "auditor_profile": "size_review"}},
    )  # fmt: skip
    small = submit(run, "small", 9)
    merge.merge(small.pk)
    large = submit(run, "large", 20)
    profiles = dict(GateRun.objects.filter(run=run).values_list("phase__phase_id", "profile"))
    assert profiles == {"small": "normal", "large": "strict"}
    merge.merge(large.pk)
    assert states(run) == {"small": "COMPLETE", "large": "GATE"}
    audit = Attempt.objects.get(run=run, kind="audit")
    assert (audit.profile, audit.purpose, audit.target_id) == ("size_review", "approval", large.pk)
    verdict = AuditResult("approve", "read it all")
    services.submit_audit_unleased(run.pk, "large", agent="auditor", result=verdict)
    merge.merge(large.pk)
    assert states(run) == {"small": "COMPLETE", "large": "COMPLETE"}


def test_a_patch_of_more_lines_than_a_rule_allows_is_refused(world: World) -> None:
    run = ruled(world, {"id": "short", "set": {"max_diff_lines": 5}})
    assert submit(run, "small", 5).state == "GREEN"
    refused = submit(run, "large", 6)
    assert (refused.state, refused.failure_code) == ("REFUSED", "patch-too-large")
    assert "6 lines; the phase allows 5" in refused.failure_reason


def test_an_attempt_of_more_turns_than_a_rule_allows_is_told_and_then_ends(world: World) -> None:
    run = ruled(world, {"id": "few-turns", "set": {"max_turns": 5}})
    lease = hand.claim(run, "small")
    assert lease.budget.turn_cap == 5
    told = [
        services.heartbeat(lease.lease_id, fence=lease.fence, figures=Figures(turns=turns)).budget
        for turns in (3, 4, 5)
    ]
    assert [(budget.state, budget.limit) for budget in told] == [
        ("ok", None), ("nearly_spent", "max_turns"), ("spent", "max_turns"),
    ]  # fmt: skip
    assert told[-1].stop_by is not None


@pytest.mark.parametrize(("failing", "later"), [("small", "SKIPPED"), ("large", "QUEUED")])
def test_a_failed_phase_ends_the_run_where_a_rule_says_it_of_the_phase(
    world: World, failing: str, later: str
) -> None:
    rule = {"id": "must", "when": {"paths": ["small.txt"]}, "set": {"on_phase_failure": "stop"}}
    world.project(builder=None, ruleset={"rules": [rule]})
    small, large = (
        {"phase_id": "small", "scope": ("small.txt",)},
        {"phase_id": "large", "scope": ("large.txt",)},
    )
    run = world.start(world.plan(*({**one, "depends_on": (), **DOCS} for one in (small, large))))
    supervisor.step(run.pk)
    fail(run, failing)
    other = "large" if failing == "small" else "small"
    assert states(run) == {failing: "FAILED", other: later}
    assert Run.objects.get(pk=run.pk).is_terminal is (failing == "small")


def test_what_a_phase_sees_counts_as_major_where_a_rule_says_so(world: World) -> None:
    rule = {"id": "grave", "when": {"paths": ["grave/**"]}, "set": {"default_severity": "major"}}
    world.project(builder=None, ruleset={"rules": [rule]})
    grave, light = ({"phase_id": name, "scope": (f"{name}/**",)} for name in ("grave", "light"))
    run = world.start(world.plan(*({**one, "depends_on": (), **DOCS} for one in (grave, light))))
    supervisor.step(run.pk)
    for name in ("grave", "light"):
        found = IssueReport(f"in-{name}", "minor", "probe", name)
        ports.ledger().record(hand.phase_of(run, name).pk, [found], reporter="tests")
    counts = run.phases.order_by("phase_id").values_list(
        "phase_id", "minor_issues_count", "major_issues_count"
    )
    assert list(counts) == [("grave", 0, 1), ("light", 1, 0)]
    entries = BacklogEntry.objects.filter(project__project_id=world.key).order_by("issue_key")
    assert [(one.base_severity, one.effective_severity) for one in entries] == [
        ("minor", "major"), ("minor", "minor")
    ]  # fmt: skip


def test_a_rule_on_the_backlog_brings_the_cleanup_of_the_next_run_forward(world: World) -> None:
    rule = {"id": "in-debt", "when": {"backlog": {"aged_at_least": 1}}, "set": {"debt_aged_issue_limit": 0}}
    run = ruled(world, rule)
    seen = IssueReport("leak", "minor", "probe", "memory", evidence_refs=("src/pool.py",))
    ports.ledger().record(hand.phase_of(run, "small").pk, [seen], reporter="tests")
    for number in range(3):
        later = world.start(world.plan({"phase_id": "one", **DOCS}), run_id=f"{world.key}-{number}")
        assert [phase.phase_id for phase in later.phases.order_by("phase_index")] == (
            ["one"] if number < 2 else ["one", "debt-cleanup-1"]
        )


def test_a_rule_on_the_backlog_lowers_the_next_run(world: World) -> None:
    rule = {"id": "in-debt", "when": {"backlog": {"open_at_least": 2}}, "set": {"run_token_cap": 70_000}}
    run = ruled(world, rule)
    assert run.token_cap == 5_000_000
    report(run, "small", "minor", 2)
    second = world.start(world.plan({"phase_id": "one", **DOCS}), run_id=f"{world.key}-second")
    assert second.token_cap == 70_000
    assert second.strategy.document["origins"]["run"]["run_token_cap"] == "rule in-debt"
    assert run.strategy.backlog_seen == []
    assert second.strategy.backlog_seen == [[0, 0, 1, 0, 2]], (
        "two minor ones, a run old: a replay asks for them"
    )
