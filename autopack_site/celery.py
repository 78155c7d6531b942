"""The Celery app. The queue carries hints only; PostgreSQL rows are the truth, so no results are kept."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopack_site.settings")

app = Celery("autopack")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
