"""The board's views, and where a person who logs in arrives."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from integration.console import board as boards
from integration.console import trends as all_trends
from integration.console.access import VIEW_RUNS, fragment, operators_only, page
from strategy.models import Project


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Lead to the board; who may not see it gets the admin's list of what they may."""
    if request.user.has_perm(VIEW_RUNS) and request.user.is_staff:
        return redirect("console:board")
    return admin.site.admin_view(admin.site.index)(request)


@require_safe
@operators_only(VIEW_RUNS)
def board(request: HttpRequest) -> HttpResponse:
    """Show the board."""
    return page(request, "console/board.html", title="Run board", projects=_projects(), **_shown(request))


@require_safe
@operators_only(VIEW_RUNS)
def board_rows(request: HttpRequest) -> HttpResponse:
    """Show what the board fetches again."""
    return fragment(request, "console/board_rows.html", **_shown(request))


@require_safe
@operators_only(VIEW_RUNS)
def trends(request: HttpRequest) -> HttpResponse:
    """Show tokens, gates and issues over days."""
    return page(
        request,
        "console/trends.html",
        title="Trends",
        projects=_projects(),
        spans=all_trends.SPANS,
        trends=all_trends.load(request.GET.dict()),
    )


def _projects() -> list[str]:
    return list(Project.objects.order_by("project_id").values_list("project_id", flat=True))


def _shown(request: HttpRequest) -> dict[str, Any]:
    found = boards.load(boards.Filters.of(request.GET.dict()), page=request.GET.get("page"))
    kept = {"project": found.filters.project, "q": found.filters.search}
    query = urlencode({name: value for name, value in kept.items() if value})
    everything = {**kept, "state": found.filters.group, "page": found.page.number}
    return {
        "board": found,
        "filter_query": f"&{query}" if query else "",
        "live_url": f"{reverse('console:board-rows')}?{urlencode(everything)}",
    }
