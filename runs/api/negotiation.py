"""Which methods there may be, and the forms of bodies: a view's own, whatever the request says it accepts."""

from __future__ import annotations

from collections.abc import Sequence

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
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
    """Take the view's first renderer and, for a body whose type is not said, its first parser.

    A client that asks for another form is better told in JSON than with 406; simple clients name no type.
    """

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:
        """Return the first parser for a body without a type, else the one of its type."""
        return parsers[0] if not request.content_type else super().select_parser(request, parsers)

    def select_renderer(
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the first renderer and its media type."""
        return renderers[0], renderers[0].media_type
