"""The project package: settings, routes, the Celery app and the wiring of ports to adapters."""

from autopack_site.celery import app as celery_app

__all__ = ["celery_app"]
