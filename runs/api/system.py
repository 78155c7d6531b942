"""What anyone may ask: what this is, whether it lives, whether it is ready. And the API's description."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpResponse
from django.views.generic import TemplateView
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from autopack_site.kernel.errors import AutopackError
from runs.api import openapi
from runs.api.negotiation import METHODS
from runs.api.schema import shown
from runs.api.serializers.common import ProblemOut

log = structlog.get_logger(__name__)
BROKER_LIMIT_S = 1.0
# Swagger UI draws icons from data: addresses; it needs no script or style within the page.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DESCRIPTION = "Supervisor for autonomous code-building runs"


class NotReady(AutopackError):
    """Something that the service needs does not answer."""

    code, status, retryable = "not-ready", 503, True
    title = "The service is not ready"


class ServiceOut(serializers.Serializer[Any]):
    """What this is."""

    service = serializers.CharField()
    version = serializers.CharField()
    description = serializers.CharField()


class HealthOut(serializers.Serializer[Any]):
    """That the process answers."""

    status = serializers.CharField()


class ReadyOut(serializers.Serializer[Any]):
    """That what it needs answers too."""

    status = serializers.CharField()
    checks = serializers.DictField(child=serializers.CharField())


class OpenView(APIView):
    """A view that needs no token."""

    http_method_names = METHODS
    authentication_classes = ()
    permission_classes = ()


class RootView(OpenView):
    """`GET /`."""

    @extend_schema(
        responses=ServiceOut,
        operation_id="service",
        examples=shown(
            answered={"service": "autopack", "version": settings.VERSION, "description": DESCRIPTION}
        ),
    )
    def get(self, request: Request) -> Response:
        """Say what this is."""
        return Response({"service": "autopack", "version": settings.VERSION, "description": DESCRIPTION})


class HealthView(OpenView):
    """`GET /health`: liveness. Asks nothing of the database or the broker."""

    @extend_schema(responses=HealthOut, operation_id="health", examples=shown(answered={"status": "healthy"}))
    def get(self, request: Request) -> Response:
        """Answer."""
        return Response({"status": "healthy"})


class ReadyView(OpenView):
    """`GET /ready`: whether database, broker and the mirrors' folder can be used."""

    @extend_schema(
        operation_id="ready",
        examples=shown(
            answered={"status": "ready", "checks": {"database": "ok", "broker": "ok", "repository": "ok"}}
        ),
        responses={
            200: ReadyOut,
            (503, "application/problem+json"): OpenApiResponse(ProblemOut, "Not ready"),
        },
    )
    def get(self, request: Request) -> Response:
        """Ask all three; raise NotReady that names those that failed."""
        checks = {name: "ok" if check() else "failed" for name, check in CHECKS.items()}
        failed = [name for name, outcome in checks.items() if outcome != "ok"]
        if failed:
            raise NotReady(f"Not ready: {', '.join(failed)}", checks=checks, failed=failed)
        return Response({"status": "ready", "checks": checks})


def database_answers() -> bool:
    """Tell whether PostgreSQL answers a query."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone())
    except DatabaseError as error:
        log.warning("ready.database_failed", error=type(error).__name__)
        return False


def broker_answers() -> bool:
    """Tell whether Redis answers within BROKER_LIMIT_S."""
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=BROKER_LIMIT_S, socket_connect_timeout=BROKER_LIMIT_S
        ) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError) as error:
        log.warning("ready.broker_failed", error=type(error).__name__)
        return False


def mirrors_writable() -> bool:
    """Tell whether the folder of the mirrors, or the nearest one above that exists, may be written."""
    folder = Path(settings.STATE_DIR) / "mirrors"
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


CHECKS: dict[str, Callable[[], bool]] = {
    "database": database_answers,
    "broker": broker_answers,
    "repository": mirrors_writable,
}


class OpenApiView(OpenView):
    """`GET /openapi.json`."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """Describe the API."""
        return HttpResponse(openapi.text(), content_type="application/json")


class DocsView(TemplateView):
    """`GET /docs`: the description for people, from files of this host alone."""

    template_name = "runs/docs.html"

    def render_to_response(self, context: dict[str, Any], **response_kwargs: Any) -> HttpResponse:
        """Serve the page with a policy that lets it load nothing else."""
        headers = {"Content-Security-Policy": DOCS_POLICY}
        return super().render_to_response(context, headers=headers, **response_kwargs)
