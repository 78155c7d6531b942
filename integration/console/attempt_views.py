"""The views of an attempt and of its gates' logs."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from integration.console import attempt_page, gate_log
from integration.console.access import fragment, operators_only, page
from integration.console.run_views import found_or_404, plain
from integration.models import GateRun

VIEW_ATTEMPTS = "runs.view_attempt"


@require_safe
@operators_only(VIEW_ATTEMPTS)
@found_or_404
def attempt(request: HttpRequest, attempt_id: str) -> HttpResponse:
    """Show an attempt: what was handed in, what gates and auditors said, what it cost."""
    shown = attempt_page.load(attempt_id)
    name = f"{shown.attempt.get_kind_display()} {shown.attempt.number} of {shown.attempt.phase.phase_id}"
    return page(
        request,
        "console/attempt.html",
        title=name,
        shown=shown,
        patch=attempt_page.patch_of(attempt_id),
        live_url=reverse("console:attempt-live", args=[attempt_id]),
        **_log(request, shown.gates),
    )


@require_safe
@operators_only(VIEW_ATTEMPTS)
@found_or_404
def attempt_live(request: HttpRequest, attempt_id: str) -> HttpResponse:
    """Show what the page of an attempt fetches again."""
    return fragment(request, "console/attempt_live.html", shown=attempt_page.load(attempt_id))


@require_safe
@operators_only(VIEW_ATTEMPTS)
@found_or_404
def attempt_patch(request: HttpRequest, attempt_id: str) -> HttpResponse:
    """Send the whole patch as it was handed in, to be kept as a file."""
    answer = plain(attempt_page.whole_patch(attempt_id))
    answer["Content-Disposition"] = f'attachment; filename="{attempt_id}.patch"'
    return answer


@require_safe
@operators_only(VIEW_ATTEMPTS)
@found_or_404
def gate_log_part(request: HttpRequest, gate_id: str) -> HttpResponse:
    """Answer what follows a place in a gate's log: {html, next_offset, size_bytes, restarted, ended}."""
    gate = attempt_page.find_gate(gate_id)
    offset = _number(request.GET.get("offset"))
    has_ended = gate.ended_at is not None
    part = gate_log.window(gate, offset, is_end=has_ended)
    return JsonResponse(
        {
            "html": part.html,
            "next_offset": part.next_offset,
            "size_bytes": part.size_bytes,
            "restarted": part.start != offset,
            "ended": has_ended and part.next_offset >= part.size_bytes,
        }
    )


@require_safe
@operators_only(VIEW_ATTEMPTS)
@found_or_404
def gate_log_whole(request: HttpRequest, gate_id: str) -> HttpResponseBase:
    """Send the whole log as stored, to be kept as a file."""
    gate = attempt_page.find_gate(gate_id)
    return StreamingHttpResponse(
        gate_log.chunks(gate),
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="gate-{gate.pk}.log"'},
    )


def _log(request: HttpRequest, gates: tuple[GateRun, ...]) -> dict[str, Any]:
    """Return the log that the page shows: of the gate that was chosen, else of the last one."""
    chosen = next(
        (gate for gate in gates if gate.pk == request.GET.get("gate")), gates[-1] if gates else None
    )
    if chosen is None:
        return {"gate": None}
    search = request.GET.get("find", "").replace("\x00", "")[: gate_log.MAX_SEARCH_CHARS]
    found = gate_log.search(chosen, search) if search else None
    has_ended = chosen.ended_at is not None
    offset = request.GET.get("from")
    window = (
        gate_log.last(chosen)
        if offset is None
        else gate_log.window(chosen, _number(offset), is_end=has_ended)
    )
    return {
        "gate": chosen,
        "find": search,
        "found": found,
        "window": window,
        "follows": not has_ended and offset is None,
        "log_url": reverse("console:gate-log", args=[chosen.pk]),
    }


def _number(text: str | None) -> int:
    """Return a byte offset; 0 for what is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0
