"""The adapter behind `runs.ports.IssueLedger`; settings name it by path."""

from __future__ import annotations

from collections.abc import Sequence

from issues import backlog, closing, services
from runs.ports import IssueReport, Shared
from strategy.types import BacklogItem


class DatabaseLedger:
    """The memory of problems, in PostgreSQL. Every method joins the caller's transaction."""

    def record(
        self, phase_pk: int, reports: Sequence[IssueReport], *, reporter: str, base: str = ""
    ) -> list[Shared]:
        """Record reports about a phase; return what each touched. Raises PhaseNotFound."""
        return services.record_reports(phase_pk, reports, reporter=reporter, base=base)

    def begin_run(self, run_id: str, project_pk: int) -> None:
        """Age the project's open entries for a new run, once."""
        backlog.begin_run(run_id, project_pk)

    def backlog(self, project_pk: int) -> list[BacklogItem]:
        """Return the project's open backlog, ordered by key."""
        return backlog.open_items(project_pk)

    def begin_tier(self, run_id: str, tier_id: str) -> None:
        """Age the project's open entries for a tier that starts, once."""
        backlog.begin_tier(run_id, tier_id)

    def end_cleanup(self, phase_pk: int) -> None:
        """Resolve what a completed cleanup phase names and nobody saw again."""
        closing.end_cleanup(phase_pk)

    def end_run(self, run_id: str) -> None:
        """Resolve what the ended run covered and did not see again."""
        closing.end_run(run_id)
