"""WSGI entry point for gunicorn. An unsafe production start is refused here too: gunicorn runs no checks."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from autopack_site import garbage
from autopack_site.checks import enforce

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopack_site.settings")
application = get_wsgi_application()
enforce()
garbage.keep_what_is_loaded()
