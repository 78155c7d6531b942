"""Which host folders a program needs to be seen in the sandbox: a venv and the interpreter behind it."""

from __future__ import annotations

import os
from pathlib import Path

MAX_HOPS = 16
ALWAYS_VISIBLE = (Path("/usr"), Path("/bin"), Path("/lib"), Path("/lib64"), Path("/sbin"))


def _is_visible(path: Path) -> bool:
    return any(path.is_relative_to(root) for root in ALWAYS_VISIBLE)


def _hops(program: Path) -> list[Path]:
    """Return program and every path that its chain of symlinks passes, the real file last."""
    seen = [program]
    current = program
    for _ in range(MAX_HOPS):
        if not current.is_symlink():
            break
        current = Path(os.path.normpath(current.parent / os.readlink(current)))
        seen.append(current)
    real = Path(os.path.realpath(program))
    return seen if real in seen else [*seen, real]


def _is_prefix(folder: Path) -> bool:
    """Whether folder looks like one program's installation, and not like a home or a shared `.local`."""
    if folder in (Path("/"), Path.home()) or folder.name == ".local":
        return False
    return (folder / "bin").is_dir() and any((folder / name).is_dir() for name in ("lib", "lib64"))


def _homes(venv: Path) -> list[Path]:
    """Return the interpreter's folder that a venv names in `pyvenv.cfg`, if it names one."""
    for line in (venv / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() == "home":
            home = Path(value.strip())
            return [home] if home.is_absolute() else []
    return []


def toolchain_paths(venv_or_bin: Path) -> tuple[Path, ...]:
    """Return the folders to pass as `Command.readonly_paths` so that this venv or program works inside.

    Takes a venv's folder, its `bin`, or a program (a path; not looked up on PATH). What lies below /usr is
    always visible and left out. Raises FileNotFoundError when there is nothing at the path.
    """
    start = Path(os.path.abspath(venv_or_bin))
    if not start.exists():
        raise FileNotFoundError(f"No venv or program at {start}")
    found: list[Path] = []
    programs: list[Path] = []
    roots = (start, start.parent, start.parent.parent)
    venv = next((folder for folder in roots if (folder / "pyvenv.cfg").is_file()), None)
    if venv is not None:
        found += [venv, Path(os.path.realpath(venv))]
        programs += [venv / "bin" / "python"]
        programs += [home / "python3" for home in _homes(venv)]
    elif start.is_dir():
        found += [start, Path(os.path.realpath(start))]
    if start.is_file():
        programs.append(start)
    for program in programs:
        for hop in _hops(program):
            if not hop.exists():
                continue
            prefix = hop.parent.parent
            inside = hop.parent.name in ("bin", "sbin") and _is_prefix(prefix)
            for path in (prefix, Path(os.path.realpath(prefix))) if inside else (hop,):
                found.append(path)
    outermost: list[Path] = []
    for path in sorted(set(found)):
        if not _is_visible(path) and not any(path.is_relative_to(kept) for kept in outermost):
            outermost.append(path)
    return tuple(outermost)
