"""The rows that every step of the engine reads, by statements that are compiled once (`kernel.prepared`)."""

from __future__ import annotations

from autopack_site.kernel.prepared import Prepared, PreparedRows
from runs.models import ApiToken, Attempt, Lease, Meter, Phase, Run, Tier

# whether a run is there, and since when
run_begun = PreparedRows(lambda run_id: Run.objects.filter(pk=run_id).values_list("created_at"))
# Each takes the key that its name says; what belongs to the row comes with it.
run_to_lock = Prepared[Run](lambda run_id: Run.objects.select_for_update(of=("self",)).filter(pk=run_id))
run_by_id = Prepared[Run](lambda run_id: Run.objects.filter(pk=run_id))
run_with_project = Prepared[Run](lambda run_id: Run.objects.select_related("project").filter(pk=run_id))
phases_of_run = Prepared[Phase](lambda run_id: Phase.objects.filter(run=run_id))
tiers_of_run = Prepared[Tier](lambda run_id: Tier.objects.filter(run=run_id))
phase_by_pk = Prepared[Phase](lambda pk: Phase.objects.select_related("tier").filter(pk=pk))
phase_with_run = Prepared[Phase](
    lambda run_id, phase_id: Phase.objects.select_related("run__project", "tier").filter(
        run=run_id, phase_id=phase_id
    )
)
# whether a phase is there, and in which project
phase_placed = Prepared[Phase](
    lambda run_id, phase_id: (
        Phase.objects.select_related("run__project")
        .only("run__project__project_id")
        .filter(run=run_id, phase_id=phase_id)
    )
)
phase_by_name = Prepared[Phase](
    lambda run_id, phase_id: Phase.objects.select_related("tier").filter(run=run_id, phase_id=phase_id)
)
attempt_by_id = Prepared[Attempt](
    lambda attempt_id: Attempt.objects.select_related("phase__tier", "run").filter(pk=attempt_id)
)
attempt_to_build = Prepared[Attempt](
    lambda attempt_id: Attempt.objects.select_related("phase__tier", "run__project", "run__strategy").filter(
        pk=attempt_id
    )
)
attempt_shown = Prepared[Attempt](
    lambda attempt_id: (
        Attempt.objects.select_related("phase").defer("patch", "phase__description").filter(pk=attempt_id)
    )
)
lease_by_id = Prepared[Lease](
    lambda lease_id: Lease.objects.select_related("attempt", "phase__tier").filter(pk=lease_id)
)
# RunResponse of API.md: a run, its tiers and its phases, without what it does not show
TIER_SHOWN = (
    "id", "tier_id", "name", "state", "tier_index", "cleanliness", "minor_issues_count", "major_issues_count",
)  # fmt: skip
PHASE_SHOWN = (
    "id", "phase_id", "name", "state", "task_category", "complexity", "builder_mode", "phase_index",
)  # fmt: skip
run_shown = Prepared[Run](lambda run_id: Run.objects.defer("config").filter(pk=run_id))
run_shown_of = Prepared[Run](
    lambda run_id, project_id: Run.objects.defer("config").filter(pk=run_id, project__project_id=project_id)
)
# a row each phase, with its tier before it; one with an id of None each tier that has no phase
plan_shown = PreparedRows(
    lambda run_id: (
        Tier.objects.filter(run=run_id)
        .order_by("tier_index", "tier_id", "phases__phase_index", "phases__phase_id")
        .values_list(*TIER_SHOWN, *(f"phases__{name}" for name in PHASE_SHOWN))
    )
)
meter_of_attempt = Prepared[Meter](lambda attempt_id: Meter.objects.filter(attempt=attempt_id))
token_by_digest = Prepared[ApiToken](
    lambda digest: ApiToken.objects.select_related("agent", "project").filter(digest=digest)
)


def reread(row: Run | Phase) -> None:
    """Bring a row's fields up to date, a phase with its tier; counters move by SQL, not in memory.

    Raises the model's DoesNotExist where the row is gone.
    """
    fresh: Run | Phase | None = run_by_id.first(row.pk) if isinstance(row, Run) else phase_by_pk.first(row.pk)
    if fresh is None:
        raise type(row).DoesNotExist(row.pk)
    for field in row._meta.concrete_fields:
        setattr(row, field.attname, getattr(fresh, field.attname))
    if isinstance(row, Phase) and isinstance(fresh, Phase):
        row.tier = fresh.tier
