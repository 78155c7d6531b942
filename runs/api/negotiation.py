"""Which methods there may be, and which form an answer has: JSON, whatever the request says it accepts."""

from __future__ import annotations

from collections.abc import Sequence

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

METHODS = [
    "get",
    "post",
    "put",
    "patch",
    "delete",
    "head",
]  # no OPTIONS: it would tell what the description tells


class OneForm(DefaultContentNegotiation):
    """Take the view's first renderer. A client that asks for another form is better told in JSON than with 406."""

    def select_renderer(
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the first renderer and its media type."""
        return renderers[0], renderers[0].media_type
