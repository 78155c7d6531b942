"""What the page of an attempt shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import BinaryField, Value
from django.db.models.functions import Length, Substr

from autopack_site.kernel.errors import NotFound
from integration.console.side_by_side import SHOWN_BYTES, ShownPatch, show
from integration.models import GateRun
from runs.lifecycle import AttemptState
from runs.models import Attempt, Lease, Meter, TokenEntry
from runs.services.late import DELIVERY

SHOWN_JSON_CHARS = 20_000
_ENDED = frozenset(
    {
        AttemptState.MERGED, AttemptState.RED, AttemptState.REFUSED, AttemptState.FAILED, AttemptState.LOST,
        AttemptState.DECIDED, AttemptState.DROPPED,
    }
)  # fmt: skip


class AttemptNotFound(NotFound):
    """No attempt has this id."""

    code = "attempt-not-found"
    title = "No such attempt"


@dataclass(frozen=True)
class AttemptPage:
    """An attempt as its page shows it now: six queries."""

    attempt: Attempt
    gates: tuple[GateRun, ...]
    audits: tuple[Attempt, ...]
    leases: tuple[Lease, ...]
    entries: tuple[TokenEntry, ...]
    meter: Meter | None
    usage: tuple[tuple[str, str], ...]
    report: tuple[tuple[str, str], ...]

    @property
    def is_ended(self) -> bool:
        """Tell whether neither the attempt nor a gate of it can change any more."""
        return self.attempt.state in _ENDED and all(gate.ended_at for gate in self.gates)

    @property
    def summary(self) -> str:
        """Return what is read out when it changes."""
        gate = self.gates[-1] if self.gates else None
        told = f", gate {gate.verdict or gate.state}".lower() if gate else ""
        return f"{self.attempt.get_kind_display()} {self.attempt.state.lower()}{told}"


def load(attempt_id: str) -> AttemptPage:
    """Read the page, but for the patch. Raises AttemptNotFound."""
    attempt = (
        Attempt.objects.select_related("phase__tier", "run__project", "target", "meter")
        .defer("patch", "target__patch", "run__config", "phase__limits", "phase__description")
        .filter(pk=attempt_id)
        .first()
    )
    if attempt is None:
        raise AttemptNotFound(f"Attempt {attempt_id} not found")
    audits = (
        Attempt.objects.filter(target=attempt).defer("patch", "report", "brief_notes").order_by("created_at")
    )
    return AttemptPage(
        attempt=attempt,
        gates=tuple(GateRun.objects.filter(attempt=attempt).order_by("number")),
        audits=tuple(audits),
        leases=tuple(Lease.objects.filter(attempt=attempt).order_by("fence")),
        entries=tuple(TokenEntry.objects.filter(attempt=attempt).order_by("id")),
        meter=getattr(attempt, "meter", None),
        usage=_rows(attempt.usage),
        report=_rows({name: value for name, value in attempt.report.items() if name != DELIVERY}),
    )


def patch_of(attempt_id: str) -> ShownPatch | None:
    """Return the beginning of the attempt's patch, ready to be shown; None where it has none."""
    head = Substr("patch", Value(1), Value(SHOWN_BYTES), output_field=BinaryField())
    row = Attempt.objects.filter(pk=attempt_id).values_list(head, Length("patch")).first()
    return show(bytes(row[0]), row[1]) if row and row[1] else None


def whole_patch(attempt_id: str) -> bytes:
    """Return the patch as it was handed in. Raises AttemptNotFound."""
    patch = Attempt.objects.filter(pk=attempt_id).values_list("patch", flat=True).first()
    if patch is None:
        raise AttemptNotFound(f"Attempt {attempt_id} not found")
    return bytes(patch)


def find_gate(gate_id: str) -> GateRun:
    """Return a gate run without its evidence. Raises NotFound."""
    gate = GateRun.objects.defer("evidence").filter(pk=gate_id).first()
    if gate is None:
        raise NotFound(f"Gate run {gate_id} not found")
    return gate


def _rows(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return JSON data as (name, text) rows; what is no text or number is written as JSON."""
    shown = []
    for name in sorted(values):
        value = values[name]
        text = (
            value
            if isinstance(value, str)
            else json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
        )
        if value not in (None, "", [], {}):
            shown.append((name, text[:SHOWN_JSON_CHARS]))
    return tuple(shown)
