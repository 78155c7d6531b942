"""Who may see a page, and what every page is drawn with."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse

View = Callable[..., HttpResponseBase]

VIEW_RUNS = "runs.view_run"
CHANGE_RUNS = "runs.change_run"


def operators_only(*permissions: str) -> Callable[[View], View]:
    """Let a view be reached by staff with every one of the permissions.

    Others are sent to the log-in, or refused (403). Answers are never stored by a cache.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.has_perms(permissions):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        @wraps(view)
        def entered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            guarded: View = admin.site.admin_view(checked)
            return guarded(request, *args, **kwargs)

        return entered

    return decorate


def page(request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
    """Return a whole page: the console's frame with its menu around the template's content."""
    return TemplateResponse(request, template, {**admin.site.each_context(request), **context})


def fragment(request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
    """Return a piece of a page, which the page fetches again and again."""
    return TemplateResponse(request, template, context)
