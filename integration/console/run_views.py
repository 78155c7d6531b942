"""The views of one run: its page, what the page fetches again, its strategy, events and files, and its cancelling."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from autopack_site.kernel.errors import AutopackError, NotFound
from integration.artefacts.rows import load_run, snapshot
from integration.artefacts.service import render_run, stored_gate_tail
from integration.console import run_page
from integration.console.access import CHANGE_RUNS, VIEW_RUNS, fragment, operators_only, page
from integration.console.strategy_page import explained
from runs import ports, services
from strategy.admin.decisions import audit, audit_line

EVENTS_A_PAGE = 100
MAX_REASON_CHARS = 500
View = Callable[..., HttpResponseBase]


def found_or_404(view: View) -> View:
    """Answer 404 for what isn't there. Nothing has a name with a NUL, which the database refuses to look for."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if any("\x00" in str(value) for value in (*args, *kwargs.values())):
            raise Http404
        try:
            return view(request, *args, **kwargs)
        except NotFound as error:
            raise Http404(error.detail) from None

    return checked


@require_safe
@operators_only(VIEW_RUNS)
@found_or_404
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show a run."""
    shown = run_page.load(run_id)
    return page(
        request,
        "console/run.html",
        title=f"Run {run_id}",
        shown=shown,
        branch=_branch(run_id),
        can_cancel=request.user.has_perm(CHANGE_RUNS),
        live_url=reverse("console:run-live", args=[run_id]),
    )


@require_safe
@operators_only(VIEW_RUNS)
@found_or_404
def run_live(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show what the page of a run fetches again."""
    return fragment(request, "console/run_live.html", shown=run_page.load(run_id))


@require_safe
@operators_only(VIEW_RUNS)
@found_or_404
def run_events(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show a run's events, newest first, a page at a time."""
    shown = run_page.find(run_id)
    before = request.GET.get("before", "")
    limit = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    rows = list(run_page.events_of(shown, before=limit)[: EVENTS_A_PAGE + 1])
    events, is_last = rows[:EVENTS_A_PAGE], len(rows) <= EVENTS_A_PAGE
    return page(
        request,
        "console/events.html",
        title=f"Events of {run_id}",
        run=shown,
        events=events,
        next_before=None if is_last else events[-1].pk,
    )


@require_safe
@operators_only(VIEW_RUNS)
@found_or_404
def run_strategy(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show a run's frozen strategy with the rule behind each value."""
    shown = run_page.find(run_id)
    return page(
        request, "console/strategy.html", title=f"Strategy of {run_id}", run=shown, strategy=explained(shown)
    )


@require_safe
@operators_only(VIEW_RUNS)
@found_or_404
def run_files(request: HttpRequest, run_id: str) -> HttpResponse:
    """List the files of a run's folder as the database has them."""
    shown = run_page.find(run_id)
    files = [("/".join(place), len(data)) for place, data in sorted(_files(run_id).items())]
    return page(request, "console/files.html", title=f"Files of {run_id}", run=shown, files=files)


@require_safe
@operators_only(VIEW_RUNS)
@found_or_404
def run_file(request: HttpRequest, run_id: str, name: str) -> HttpResponse:
    """Send one of them as plain text."""
    data = _files(run_id).get(tuple(name.split("/")))
    if data is None:
        raise NotFound(f"Run {run_id} has no file {name}")
    return plain(data)


@require_http_methods(["GET", "HEAD", "POST"])
@operators_only(VIEW_RUNS, CHANGE_RUNS)
@found_or_404
def run_cancel(request: HttpRequest, run_id: str) -> HttpResponse:
    """Ask whether a run is to be cancelled, and why; cancel it."""
    shown = run_page.find(run_id)
    if request.method != "POST":
        return page(request, "console/cancel.html", title=f"Cancel {run_id}", run=shown)
    why = " ".join(request.POST.get("why", "").split())[:MAX_REASON_CHARS]
    if not why:
        messages.error(request, "Say why: the reason is written into the run's history")
        return page(request, "console/cancel.html", title=f"Cancel {run_id}", run=shown)
    try:
        with transaction.atomic():
            services.cancel_run(run_id, by=request.user.get_username(), why=why)
            audit(request, shown, audit_line("Cancelled on the run's page", {"why": why}))
    except AutopackError as error:
        messages.error(request, f"Not cancelled: {error.detail} ({error.code})")
    else:
        messages.success(request, f"Run {run_id} is cancelled")
    return redirect("console:run", run_id)


def plain(data: bytes) -> HttpResponse:
    """Return bytes as text that no browser takes for anything else."""
    return HttpResponse(
        data,
        content_type="text/plain; charset=utf-8",
        headers={"Content-Security-Policy": "default-src 'none'; sandbox"},
    )


def _files(run_id: str) -> dict[tuple[str, ...], bytes]:
    with snapshot():
        rows = load_run(run_id)
    if rows is None:
        raise NotFound(f"Run {run_id} not found")
    return render_run(rows, stored_gate_tail)


def _branch(run_id: str) -> dict[str, Any]:
    """Return what git says of the run's branch; what it can't say is told as a message."""
    try:
        return ports.workspace().branch_status(run_id)
    except AutopackError as error:
        return {"exists": False, "message": error.detail}
