"""The Content-Security-Policy of every HTML answer.

Our own pages get STRICT: nothing but files of this host, no script or style within the page, no evaluated text.
The tables of the admin are drawn by django-unfold, whose pages carry Alpine.js expressions in attributes and one
block of colours: they need evaluated text and styles within the page, and get ADMIN. Neither lets a script within
the page run, and neither asks another host for anything.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"
_COMMON = {
    "default-src": "'self'",
    "base-uri": "'none'",
    "object-src": "'none'",
    "frame-src": "'none'",
    "frame-ancestors": "'none'",
    "form-action": "'self'",
}


def _policy(**sources: str) -> str:
    rules = {**_COMMON, **{f"{name}-src": value for name, value in sources.items()}}
    return "; ".join(f"{name} {value}" for name, value in rules.items())


STRICT = _policy(script="'self'", style="'self'", img="'self'")
ADMIN = _policy(script="'self' 'unsafe-eval'", style="'self' 'unsafe-inline'", img="'self' data:")
_ADMIN_NAMESPACE = "admin"


class ContentSecurityMiddleware:
    """Set the policy on HTML; one that a view has set itself stays."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Serve the request."""
        response = self.get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            response.setdefault(HEADER, policy_for(request))
            response.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        return response


def policy_for(request: HttpRequest) -> str:
    """Return the policy of the page that was asked for: ADMIN for the admin's own tables, else STRICT."""
    match = request.resolver_match
    return ADMIN if match is not None and match.app_name == _ADMIN_NAMESPACE else STRICT
