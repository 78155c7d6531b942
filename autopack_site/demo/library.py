"""The library that the demo works on: its source distribution, pinned by hash, as a git repository.

The package index is whatever pip is configured to use on this machine. What was downloaded once is used again
while its hash is right, so a second demo needs no network.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autopack_site.demo.errors import DemoFailed

DEMO = Path(__file__).resolve().parents[2] / "demo"
REQUIREMENTS = DEMO / "requirements.txt"
DOWNLOAD_LIMIT_S = 180
GIT_LIMIT_S = 60
BRANCH = "main"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+) \\\n\s+--hash=sha256:([0-9a-f]{64})$", re.MULTILINE)
# The same content gives the same commit, whoever runs the demo and whenever.
_COMMITTED_AT = "2022-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Pin:
    """One line of the demo's requirements."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Parts:
    """What was downloaded: the library's source and what it imports (a wheel, importable as it is)."""

    sdist: Path
    wheel: Path
    version: str


def pins(text: str) -> list[Pin]:
    """Return the pins of a requirements text."""
    return [Pin(*found) for found in _PINNED.findall(text)]


def fetch(folder: Path) -> Parts:
    """Return the library's parts in folder, downloading what isn't there. Raises DemoFailed."""
    library, dependency = pins(REQUIREMENTS.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    # Commands of the sandbox's account import the wheel.
    folder.chmod(0o755)
    if not (_find(folder, library) and _find(folder, dependency)):
        _download(folder, library, dependency)
    sdist, wheel = _find(folder, library), _find(folder, dependency)
    if sdist is None or wheel is None:
        raise DemoFailed(f"The package index gave no file with the hashes of {REQUIREMENTS.name}")
    wheel.chmod(0o644)
    return Parts(sdist, wheel, library.version)


def _find(folder: Path, pin: Pin) -> Path | None:
    for path in sorted(folder.iterdir()):
        is_file = path.is_file() and not path.is_symlink()
        if is_file and hashlib.sha256(path.read_bytes()).hexdigest() == pin.sha256:
            return path
    return None


def _download(folder: Path, library: Pin, dependency: Pin) -> None:
    argv = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet",
        "--no-deps", "--no-build-isolation", "--no-binary", library.name, "--only-binary", dependency.name,
        "--require-hashes", "--requirement", str(REQUIREMENTS), "--dest", str(folder),
    ]  # fmt: skip
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise DemoFailed(f"Downloading {library.name} took longer than {DOWNLOAD_LIMIT_S} s") from error
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-6:])
        raise DemoFailed(
            f"{library.name} {library.version} could not be downloaded. The demo needs the package index that "
            f"pip is configured for; check `pip config list` and the network.\n{last}"
        )


def make_repository(sdist: Path, target: Path) -> str:
    """Unpack the source distribution into target, a new git repository of one commit; return the commit."""
    unpacked = target.with_name(f".{target.name}.unpacked")
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(parents=True)
    try:
        with tarfile.open(sdist) as archive:
            _extract(archive, unpacked)
        (top,) = unpacked.iterdir()
        for generated in (*top.glob("*.egg-info"), top / "PKG-INFO"):
            if generated.is_dir():
                shutil.rmtree(generated)
            else:
                generated.unlink(missing_ok=True)
        top.rename(target)
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DemoFailed(f"{sdist.name} could not be unpacked: {error}") from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    git(target, "init", "--quiet", f"--initial-branch={BRANCH}")
    git(target, "add", "--all")
    git(target, "commit", "--quiet", "--message", f"{sdist.name.removesuffix('.tar.gz')}, as published")
    return git(target, "rev-parse", "HEAD")


def _extract(archive: tarfile.TarFile, target: Path) -> None:
    """Write the archive's files below target; links, devices and names that lead out are an error.

    Python 3.11 before 3.11.4 has no `filter` for `extractall`.
    """
    for member in archive:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
            raise ValueError(f"the member {member.name!r} is no plain file of the library")
        path = target / name
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        source = archive.extractfile(member)
        assert source is not None
        path.write_bytes(source.read())
        path.chmod(0o755 if member.mode & 0o100 else 0o644)


def git(folder: Path, *arguments: str) -> str:
    """Run git on a repository of the demo's own and return its output, stripped. Raises DemoFailed.

    Neither the user's configuration nor their hooks have a part in it.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Autopack demo", "GIT_AUTHOR_EMAIL": "demo@localhost",
        "GIT_COMMITTER_NAME": "Autopack demo", "GIT_COMMITTER_EMAIL": "demo@localhost",
        "GIT_AUTHOR_DATE": _COMMITTED_AT, "GIT_COMMITTER_DATE": _COMMITTED_AT,
    }  # fmt: skip
    argv = [
        "git",
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "core.autocrlf=false",
        "-C",
        str(folder),
        *arguments,
    ]
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=GIT_LIMIT_S, check=False
        )
    except FileNotFoundError as error:
        raise DemoFailed("git is not installed; on Debian or Ubuntu: apt-get install git") from error
    except subprocess.TimeoutExpired as error:
        raise DemoFailed(f"git {arguments[0]} took longer than {GIT_LIMIT_S} s") from error
    if done.returncode != 0:
        raise DemoFailed(f"git {arguments[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()
