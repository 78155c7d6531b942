"""Every route of the API, read from the URL conf itself: a new one is tested without being named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.urls import URLPattern, URLResolver, get_resolver

METHODS = ("get", "post", "put", "patch", "delete")
NOT_OURS = ("admin/",)  # Django's own pages, behind its own log-in
_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")


class Route(NamedTuple):
    """One method of one address: `POST /runs/{run_id}/claim`, and the class that serves it."""

    method: str
    template: str
    view: Any

    @property
    def name(self) -> str:
        """Method and template, as the OpenAPI document has them."""
        return f"{self.method} {self.template}"

    @property
    def needs_token(self) -> bool:
        """Whether it is served to callers with a token only."""
        return bool(getattr(self.view.view_class, "permission_classes", ()))

    def path(self, **ids: str) -> str:
        """The address with its parameters filled: those given, else `x` or 1 by the converter."""
        return re.sub(r"\{(\w+)\}", lambda match: ids.get(match[1], self._default(match[1])), self.template)

    def _default(self, name: str) -> str:
        return "1" if name in self.view.numbers else "x"


class _Served(NamedTuple):
    view_class: Any
    numbers: frozenset[str]


def _patterns(resolver: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        here = prefix + str(entry.pattern)
        if here.startswith(NOT_OURS):
            continue
        if isinstance(entry, URLResolver):
            yield from _patterns(entry, here)
        else:
            yield here, entry


def routes() -> list[Route]:
    """Return every method of every class-based view outside the admin, in the URL conf's order."""
    found = []
    for route, entry in _patterns(get_resolver()):
        view_class = getattr(entry.callback, "view_class", getattr(entry.callback, "cls", None))
        if view_class is None:
            continue
        numbers = frozenset(name for kind, name in _PARAMETER.findall(route) if kind == "int")
        template = "/" + _PARAMETER.sub(r"{\2}", route)
        found += [
            Route(method.upper(), template, _Served(view_class, numbers))
            for method in METHODS
            if hasattr(view_class, method)
        ]
    return found
