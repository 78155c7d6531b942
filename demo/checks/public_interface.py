"""Gate step: what users have imported from the package for years is still there."""

from __future__ import annotations

import importlib
import sys

EXPECTED = (
    "slugify", "smart_truncate", "add_uppercase_char", "CYRILLIC", "GERMAN", "GREEK", "PRE_TRANSLATIONS",
)  # fmt: skip


def main() -> int:
    """Import as users do; return the number of names that are missing."""
    sys.path.insert(0, ".")
    package = importlib.import_module("slugify")
    star: dict[str, object] = {}
    exec("from slugify import *", star)  # noqa: S102 (a star import can't be written in a function)
    missing = [name for name in EXPECTED if not hasattr(package, name) or name not in star]
    print(f"missing: {missing}" if missing else f"all {len(EXPECTED)} names are there")
    return len(missing)


if __name__ == "__main__":
    sys.exit(main())
