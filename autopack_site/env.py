"""Typed readers for environment variables. A bad value stops the start with a message that names it.

Every reader also accepts NAME_FILE, the path of a file that holds the value, as container platforms
hand secrets over.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def env_str(name: str, default: str | None = None) -> str:
    """Return NAME, else the content of the file NAME_FILE names, else default.

    Raises ImproperlyConfigured when nothing is set and there is no default, or the file can't be read.
    """
    value = os.environ.get(name)
    if value is not None:
        return value
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(
                f"{name}_FILE names {path}, which can't be read: {error.strerror}"
            ) from error
    if default is None:
        raise ImproperlyConfigured(f"{name} is not set: set it, or {name}_FILE to a file that holds it")
    return default


def env_bool(name: str, *, default: bool) -> bool:
    """Return NAME as a boolean; 1/true/yes/on and 0/false/no/off are understood."""
    value = env_str(name, "1" if default else "0").strip().lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be one of 1/0, true/false, yes/no, on/off; it is {value!r}")


def env_int(name: str, *, default: int, minimum: int | None = None) -> int:
    """Return NAME as a whole number, at least `minimum` where one is given."""
    value = env_str(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number; it is {value!r}") from None
    if minimum is not None and number < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}; it is {number}")
    return number


def env_float(name: str, *, default: float, minimum: float | None = None) -> float:
    """Return NAME as a number, at least `minimum` where one is given."""
    value = env_str(name, str(default))
    try:
        number = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number; it is {value!r}") from None
    if minimum is not None and number < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}; it is {number}")
    return number


def env_list(name: str, *, default: str) -> list[str]:
    """Return NAME split at commas, blanks dropped."""
    return [part.strip() for part in env_str(name, default).split(",") if part.strip()]


def env_path(name: str, *, default: Path) -> Path:
    """Return NAME as an absolute path."""
    return Path(env_str(name, str(default))).expanduser().resolve()
