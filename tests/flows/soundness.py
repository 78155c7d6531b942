"""What must hold after any fault: nothing lost, nothing twice, nothing left behind (ENGINE)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from django.conf import settings
from django.db.models import QuerySet

from integration.models import GateRun, GitIntent
from integration.refs import branch_ref
from integration.repository import mirror_of
from runs.lifecycle import AttemptState
from runs.models import Attempt, Outbox, Phase, Run, Tier, TokenEntry, Transition
from tests.flows.stack import eventually
from tests.flows.world import World


def assert_sound(
    world: World, run: Run, *, state: str = "DONE_SUCCESS", settle_s: float = 120.0, is_tidy: bool = True
) -> None:
    """Assert every promise about an ended run. Workers and beat must still be running: some of it takes a sweep.

    With `is_tidy` off folders may lie about: a frozen worker still holds its own.
    """
    run = Run.objects.select_related("project").get(pk=run.pk)
    assert run.state == state, world.history(run)
    assert_history(world, run)
    assert_ledger(run)
    eventually(
        lambda: not Outbox.objects.exists(), timeout_s=settle_s, what=lambda: f"open work: {open_work()}"
    )
    assert_branch(world, run)  # now: taking back a move that was given up is work like any other
    assert not run.leases.live().exists()
    assert not GateRun.objects.open().filter(run=run).exists()
    assert not GitIntent.objects.open().filter(run=run).exists()
    assert not Attempt.objects.filter(run=run).open().exists()
    if is_tidy:
        eventually(lambda: not left_folders(), timeout_s=settle_s, what=lambda: f"folders: {left_folders()}")
    mirror_of(run.project).fsck()


def assert_history(world: World, run: Run) -> None:
    """Versions are contiguous, the states chain, and there is one terminal event."""
    last: dict[tuple[str, str], tuple[int, str]] = {}
    for row in Transition.objects.filter(run=run, version__isnull=False).order_by("id"):
        version, before = last.get((row.machine, row.subject), (0, row.from_state))
        assert (row.version, row.from_state) == (version + 1, before), (row, world.history(run))
        last[row.machine, row.subject] = (version + 1, row.to_state)
    ends = Transition.objects.filter(run=run, machine="run", to_state__startswith="DONE_")
    assert ends.count() == int(Run.objects.get(pk=run.pk).is_terminal)
    for phase in run.phases.all():
        assert last.get(("phase", phase.phase_id), (0, "QUEUED")) == (phase.version, phase.state)


def assert_ledger(run: Run) -> None:
    """The ledger's sums are the counters, at every level, and nothing is held any more."""
    owners: list[tuple[Run | Tier | Phase, QuerySet[TokenEntry]]] = [
        (run, TokenEntry.objects.filter(run=run)),
        *((tier, TokenEntry.objects.filter(tier=tier)) for tier in run.tiers.all()),
        *((phase, TokenEntry.objects.filter(phase=phase)) for phase in run.phases.all()),
    ]
    for owner, entries in owners:
        sums: Counter[str] = Counter()
        for entry in entries:
            sums[entry.kind] += entry.tokens or 0
        assert sums["reserve"] == sums["release"], owner
        assert (sums["settle"] + sums["adjust"], 0) == (owner.tokens_used, owner.tokens_reserved), owner


def assert_branch(world: World, run: Run) -> None:
    """The branch in the user's repository is exactly the merged attempts: one commit a complete phase."""
    run = Run.objects.select_related("project").get(pk=run.pk)
    merged = {
        attempt.candidate_sha: attempt.phase.phase_id
        for attempt in Attempt.objects.filter(run=run, state=AttemptState.MERGED).select_related("phase")
    }
    complete = {phase.commit_sha: phase.phase_id for phase in run.phases.filter(state="COMPLETE")}
    assert merged == complete
    assert len(set(merged.values())) == len(merged)
    exists = bool(world.git("branch", "--list", run.branch).strip())
    log = world.git(
        "log", "--format=%H %(trailers:key=Autopack-Phase,valueonly,separator=%x2C)",
        f"{run.base_commit}..{run.branch}",
    ) if exists else ""  # fmt: skip
    assert dict(line.split(" ") for line in log.splitlines()) == merged
    assert len(log.splitlines()) == len(merged)
    tags = world.git("for-each-ref", "--format=%(objectname)", f"refs/tags/autopack/{run.pk}/").split()
    assert sorted(tags) == sorted(merged)
    intents = GitIntent.objects.filter(run=run, state=GitIntent.State.DONE).order_by("ended_at", "created_at")
    head = run.base_commit
    for intent in intents:
        assert intent.old_sha == head
        head = intent.new_sha
    assert head == run.head_commit == mirror_of(run.project).read_ref(branch_ref(run.pk))
    if exists:
        assert world.git("rev-parse", run.branch).strip() == head


def open_work() -> list[str]:
    """Return the open rows of the outbox as words."""
    return [f"{row} sends={row.sends}" for row in Outbox.objects.all()[:20]]


def left_folders() -> list[str]:
    """Return the checkouts and quarantines that lie about."""
    state = Path(settings.STATE_DIR)
    return [
        str(path)
        for pattern in ("work/*", "mirrors/*.git/autopack/quarantine/*")
        for path in state.glob(pattern)
    ]


def survivors() -> list[str]:
    """Return the processes that still work for this stack: its folder is in what they were given or see."""
    mark = str(Path(settings.STATE_DIR).parent).encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            seen = [(folder / name).read_bytes() for name in ("cmdline", "environ", "mountinfo")]
            is_zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            continue
        if any(mark in text for text in seen) and not is_zombie:
            found.append(f"{folder.name}: {seen[0][:200]!r}")
    return found
