"""What only pages for people need: sessions, who is signed in, messages. The API knows tokens and none of these."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

PATH = "/admin/"


class _OfPages(MiddlewareMixin):
    """Stands aside where no page is asked for."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve the request, a page's by way of the middleware."""
        serve = super().__call__ if request.path_info.startswith(PATH) else self.get_response
        return cast(HttpResponseBase, serve(request))


class Sessions(_OfPages, SessionMiddleware):
    """Sessions."""


class People(_OfPages, AuthenticationMiddleware):
    """Who is signed in."""


class Messages(_OfPages, MessageMiddleware):
    """Messages."""
