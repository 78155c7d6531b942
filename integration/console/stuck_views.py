"""The page of stuck work, and the page that asks before anything is done about a row of it."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from autopack_site.kernel.errors import AutopackError
from autopack_site.kernel.visible import visible
from integration.console import stuck
from integration.console.access import operators_only, page
from strategy.admin.decisions import audit, audit_line

VIEW_WORK = "runs.view_outbox"
MAX_REASON_CHARS = 500


@require_safe
@operators_only(VIEW_WORK)
def stuck_work(request: HttpRequest) -> HttpResponse:
    """Show what does not move."""
    sections = stuck.load(request)
    return page(
        request,
        "console/stuck.html",
        title="Stuck work",
        sections=sections,
        is_sound=not any(section.rows for section in sections),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@operators_only(VIEW_WORK)
def retry(request: HttpRequest, kind: str, key: str) -> HttpResponse:
    """Ask for the reason; with it, do by the service what the row's kind allows, and write it down."""
    found = stuck.KINDS.get(kind)
    row = None if found is None else found.model.objects.filter(pk=_key(found, key)).first()
    if found is None or row is None:
        raise Http404
    if not request.user.has_perm(found.permission):
        raise PermissionDenied
    why = " ".join(request.POST.get("why", "").split())[:MAX_REASON_CHARS]
    if request.method != "POST" or not why:
        if request.method == "POST":
            messages.error(request, "Say why: the reason is written into the audit trail")
        return page(request, "console/retry.html", title=found.button, kind=found, subject=str(row))
    try:
        with transaction.atomic():
            done = found.retry(key)
            audit(request, row, audit_line(done, {"why": why}))
    except AutopackError as error:
        messages.error(request, f"Refused: {visible(error.detail)} ({error.code})")
    else:
        messages.success(request, f"{done}: {visible(str(row))[:200]}")
    return redirect("console:stuck")


def _key(kind: stuck.Kind, key: str) -> str | int:
    """Return a key that its column can be asked for; one of another form is nobody's."""
    if kind.name != "work":
        return key.replace("\x00", "")
    return int(key) if key.isascii() and key.isdigit() and len(key) < 18 else 0
