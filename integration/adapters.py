"""The adapters behind runs' ports: git and gates."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from autopack_site.kernel import clock
from integration import apply, crash, fixes, gate, merge
from integration.git_errors import BranchTaken, RefMoved, UnknownRevision
from integration.logs import tail
from integration.mirror import Mirror
from integration.models import GateRun
from integration.refs import branch_ref
from integration.repository import log_path, mirror_of
from integration.storage import storage_faults
from runs import rows
from runs.agents import config_of
from runs.diff_size import held_to
from runs.models import Attempt, Run
from runs.ports import Base
from strategy.models import Project, Strategy

TAIL_BYTES = 8_000


class GitWorkspace:
    """`runs.ports.Workspace` on Autopack's own bare mirror."""

    def prepare(self, run_id: str) -> Base:
        """Fetch the project's branch and start the run's branch there. Safe to repeat.

        A run of a split plan starts where the run before it ended. Raises AutopackError only: what the disk does
        is StorageFailed, so that it is counted and tried again like a source that can't be reached.
        """
        with storage_faults("The project's mirror can't be made or written"):
            return self._prepare(run_id)

    def _prepare(self, run_id: str) -> Base:
        run = Run.objects.select_related("project", "previous").get(pk=run_id)
        branch = config_of(run).default_branch
        mirror = mirror_of(run.project)
        mirror.create()
        base = mirror.fetch(run.project.source, branch)
        crash.line("base-fetched")
        if run.previous is not None:
            base = run.previous.head_commit
        ref = branch_ref(run_id)
        try:
            mirror.update_ref(ref, base, None)
        except RefMoved as moved:
            base = _own_start(mirror, moved.current, base, run)
        crash.line("branch-started")
        return Base(commit=base, branch=branch)

    def build_candidate(self, attempt_id: str) -> None:
        """See `apply.build`."""
        apply.build(attempt_id)

    def merge(self, attempt_id: str) -> None:
        """See `merge.merge`."""
        merge.merge(attempt_id)

    def contains(self, project_pk: int, commit: str, fix: str) -> bool | None:
        """See `fixes.contains`."""
        return fixes.contains(mirror_of(Project.objects.only("project_id").get(pk=project_pk)), commit, fix)

    def branch_status(self, run_id: str) -> dict[str, Any]:
        """Return integration_status of API.md."""
        run = Run.objects.select_related("project").get(pk=run_id)
        mirror = mirror_of(run.project)
        head = mirror.read_ref(branch_ref(run_id)) if mirror.exists() else None
        if head is None:
            return {
                "branch": run.branch,
                "exists": False,
                "message": f"Branch {run.branch} does not exist yet",
            }
        main = f"refs/remotes/project/{config_of(run).default_branch}"
        info = mirror.commit_info(head)
        return {
            "branch": run.branch,
            "exists": True,
            "commit_count": mirror.count(run.base_commit or head, head),
            "latest_commit": f"{info.sha} {info.subject}",
            "ahead_of_main": _count(mirror, main, head),
            "behind_main": _count(mirror, head, main),
        }


def _own_start(mirror: Mirror, current: str | None, base: str, run: Run) -> str:
    """Return where the run's branch starts when it is there already: an earlier try of this start made it.

    Raises BranchTaken for a branch that holds work of another run of the name: it is never overwritten.
    """
    if current is not None and (current == base or mirror.is_ancestor(current, base)):
        return current
    raise BranchTaken(f"{run.branch} exists already and is no part of the project's branch")


def _count(mirror: Mirror, old: str, new: str) -> int:
    try:
        return mirror.count(mirror.resolve(old), mirror.resolve(new))
    except UnknownRevision:
        return 0


class CeleryGates:
    """`runs.ports.GateDispatcher` on gate runs and the gate queue."""

    def dispatch(self, attempt_id: str) -> None:
        """Record a gate run for the attempt's candidate; a repeat after infrastructure trouble waits a little."""
        attempt = Attempt.objects.select_related("phase", "run__strategy").get(pk=attempt_id)
        gate.create(attempt, delay_s=settings.GATE_BACKOFF_S if attempt.infra_failures else 0.0)

    def cancel(self, phase_pk: int) -> None:
        """Call off the phase's open gate runs; their worker's next write changes no row."""
        GateRun.objects.open().filter(phase=phase_pk).update(
            state=GateRun.State.CANCELLED, ended_at=clock.now()
        )

    def is_green(self, attempt_id: str) -> bool:
        """Tell whether evidence bound to exactly this candidate lets it pass."""
        attempt = rows.attempt_by_id.first(attempt_id)
        if attempt is None:
            return False
        return GateRun.objects.filter(
            attempt=attempt,
            state=GateRun.State.DONE,
            verdict__in=GateRun.PASSING,
            candidate_sha=attempt.candidate_sha,
            patch_hash=attempt.patch_hash,
            base_commit=attempt.base_commit,
            strategy_sha256=Strategy.objects.values_list("sha256").filter(pk=attempt.run.strategy_id)[:1],
            profile=held_to(attempt)["ci_profile"],
        ).exists()

    def summary(self, attempt_id: str) -> dict[str, Any]:
        """Return the last gate's outcome: verdict, reason, failing tests, log tail."""
        last = GateRun.objects.filter(attempt=attempt_id).order_by("-number").first()
        if last is None:
            return {}
        failing = [
            case
            for row in last.evidence.get("tries", [])[-1:]
            for step in row["steps"]
            for case in step.get("failing", [])
        ]
        path = log_path(last.run_id, f"gate-{last.pk}")
        text = tail(path, TAIL_BYTES).decode("utf-8", "replace") if path.exists() else ""
        return {
            "verdict": last.verdict or last.state.lower(),
            "profile": last.profile,
            "reason": last.reason,
            "failing_tests": failing[:50],
            "log_tail": text,
        }
