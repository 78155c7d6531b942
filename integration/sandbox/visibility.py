"""Which host paths that a command names are not there inside bubblewrap: the commonest slip in a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from integration.sandbox.bubblewrap import ETC, PROCESS_ROOTS
from integration.sandbox.toolchain import toolchain_paths

# What is bound or made for every command (`bubblewrap.options`), with all that lies below.
_SYSTEM = (
    Path("/usr"), *(Path("/") / name for name in PROCESS_ROOTS), *(Path("/etc") / name for name in ETC),
    Path("/dev"), Path("/proc"), Path("/checkout"),
)  # fmt: skip
# There inside, as a folder of its own: what the host has below it is not.
_EMPTY_INSIDE = frozenset(map(Path, ("/", "/etc", "/tmp", "/run", "/var", "/var/tmp", "/var/run")))  # noqa: S108


def hidden_paths(argv: Sequence[str], toolchains: Sequence[str]) -> list[str]:
    """Return the absolute paths in argv that this host has and the sandbox does not show, in order.

    Seen as words of their own, after a `=`, and in lists with colons. What only exists inside is not judged.
    """
    shown = [*_SYSTEM, *_bound(toolchains)]
    found = (path for word in argv for path in _paths(word) if _is_there(path) and not _is_shown(path, shown))
    return list(dict.fromkeys(found))


def missing_toolchains(toolchains: Sequence[str]) -> list[str]:
    """Return the toolchains that this host does not have: with one of them no command of the project can run."""
    return [chain for chain in toolchains if not _is_there(chain)]


def hint(argv: Sequence[str], toolchains: Sequence[str], said: str) -> str:
    """Return a sentence on the hidden paths of argv that a failed command itself complains of, else nothing."""
    named = [path for path in hidden_paths(argv, toolchains) if path in said]
    return (
        f"{named[0]} is on this machine, but the sandbox does not show it: {advice(named)}" if named else ""
    )


def advice(hidden: Sequence[str]) -> str:
    """Return what to do about hidden paths."""
    folders = sorted({path if os.path.isdir(path) else os.path.dirname(path) for path in hidden})
    return f"add {', '.join(folders)} to `toolchains` of the agent, of `gates` or of the whole configuration"


def _paths(word: str) -> Iterator[str]:
    value = word if word.startswith("/") else word.partition("=")[2]
    yield from (part for part in value.split(":") if part.startswith("/"))


def _bound(toolchains: Sequence[str]) -> Iterator[Path]:
    for chain in toolchains:
        try:
            yield from toolchain_paths(Path(chain))
        except OSError:  # it isn't there: told apart, by `missing_toolchains`
            continue


def _is_there(path: str) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:
        return False


def _is_shown(path: str, shown: Sequence[Path]) -> bool:
    """Tell whether the path, and the file behind its links, lie in what is shown."""
    places = (Path(os.path.normpath(path)), Path(os.path.realpath(path)))
    return all(
        place in _EMPTY_INSIDE or any(place.is_relative_to(root) for root in shown) for place in places
    )
