#!/usr/bin/env python3
"""Autopack's command line: `manage.py up`, `project`, `run`, `doctor` and Django's own commands."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopack_site.settings")
    from django.core.management import execute_from_command_line
    from django.db import Error

    try:
        execute_from_command_line(sys.argv)
    except Error as error:
        from autopack_site.kernel import unreachable

        if not unreachable.is_unreachable(error):
            raise
        print("\n".join(unreachable.lines_for(error)), file=sys.stderr)
        sys.exit(unreachable.STATUS)


if __name__ == "__main__":
    main()
