"""`GET /prometheus`: the metrics, for a token that may read every project, or for loopback where that is open."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request

from autopack_site.kernel.auth import Role
from autopack_site.kernel.errors import AutopackError
from integration.metrics.exposition import exposition
from runs.api.authentication import TokenAuthentication
from runs.api.views import AgentView
from runs.tokens import Caller

SCRAPER = Caller(name="prometheus", roles=frozenset({Role.READER}))
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")


class ProjectToken(AutopackError):
    """The token is limited to one project, and the figures are of all."""

    code, status = "project-token", 403
    title = "The metrics are of all projects, and the token is for one"


class ScrapeAuthentication(TokenAuthentication):
    """A token; or none from this very machine, where AUTOPACK_OPEN_PROMETHEUS lets that be."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        """Return the caller; see TokenAuthentication."""
        if "Authorization" not in request.headers and settings.OPEN_PROMETHEUS and is_local(request):
            return SCRAPER, None
        return super().authenticate(request)


def is_local(request: Request) -> bool:
    """Tell whether the request comes from this machine, and not by way of a proxy on it."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


class _Unasked(BaseContentNegotiation):
    """The Accept header chooses among Prometheus's formats, not among DRF's renderers."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the renderer of errors."""
        return renderers[0], renderers[0].media_type

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the only parser."""
        return parsers[0]


class PrometheusView(AgentView):
    """`/prometheus`."""

    authentication_classes = [ScrapeAuthentication]
    content_negotiation_class = _Unasked
    allowed_roles = (Role.READER,)

    @extend_schema(exclude=True)  # for Prometheus, which asks for no description
    def get(self, request: Request) -> HttpResponse:
        """Show every metric (docs/metrics.md) as Prometheus or OpenMetrics text."""
        if self.caller.project_scope is not None:
            raise ProjectToken
        text, content_type = exposition(request.headers.get("Accept", ""))
        return HttpResponse(text, content_type=content_type)
