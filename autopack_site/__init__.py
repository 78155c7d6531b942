"""The project package: settings, routes, the Celery app and the wiring of ports to adapters."""

from autopack_site.garbage import look_seldom

look_seldom()  # first: the imports below make most of what a process holds

from autopack_site.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
