"""Files of a commit in a folder: raw, complete, and with nothing in it that leads back to the mirror."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from integration import git
from integration.git import Place
from integration.git_errors import GitFailed
from integration.quarantine import quarantine

# Blobs are taken and given as they are: no attribute of a project's tree changes a byte, starts a driver or
# leaves a file out. This file wins over every `.gitattributes`.
RAW_ATTRIBUTES = (
    "* -text !eol -ident -filter !working-tree-encoding !whitespace !merge !diff "
    "!export-ignore !export-subst\n"
)

_INNER_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogAllRefUpdates = true
[user]
\tname = Autopack builder
\temail = builder@localhost
[gc]
\tauto = 0
[commit]
\tgpgSign = false
"""


@dataclass(frozen=True)
class Checkout:
    """A folder that holds exactly the files of one commit. `has_git` tells whether it is a repository too."""

    path: Path
    sha: str
    has_git: bool


def write_checkout(mirror: Place, sha: str, directory: Path, *, history: int | None) -> Checkout:
    """Write the files of commit sha into directory (see `Mirror.checkout`)."""
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise GitFailed(f"{directory} is not empty")
    inner = directory / ".git"
    if history is not None:
        _make_repository(mirror, inner, sha, history)
    with _index(mirror, None if history is None else inner / "index") as index:
        place = Place(git_dir=mirror.git_dir, work_tree=directory, index_file=index)
        git.run("read-tree", "--end-of-options", sha, place=place)
        # -u writes the files' times into the index, so that `git status` in the copy reads no file.
        git.run("checkout-index", "--all", "--force", "--quiet", "-u", place=place, timeout_s=600)
    return Checkout(directory, sha, history is not None)


def _make_repository(mirror: Place, inner: Path, sha: str, history: int) -> None:
    """Make a repository whose one pack holds the last commits, copied. Two processes, no transport."""
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks"):
        (inner / folder).mkdir(parents=True)
    (inner / "config").write_text(_INNER_CONFIG)
    (inner / "info" / "attributes").write_text(RAW_ATTRIBUTES)
    (inner / "HEAD").write_text("ref: refs/heads/work\n")
    (inner / "refs" / "heads" / "work").write_text(f"{sha}\n")
    rows = git.run(
        "rev-list", "--parents", f"--max-count={history}", "--end-of-options", sha, "--", place=mirror
    ).text
    parents = {row.split()[0]: row.split()[1:] for row in rows.splitlines()}
    cut = sorted(name for name, above in parents.items() if any(one not in parents for one in above))
    if cut:
        (inner / "shallow").write_text("".join(f"{name}\n" for name in cut))
    wants = "".join(f"--shallow {name}\n" for name in cut) + f"{sha}\n"
    git.run(
        "pack-objects", "--quiet", "--revs", "--shallow", str(inner / "objects" / "pack" / "pack"),
        place=mirror, stdin=wants.encode(), timeout_s=600,
    )  # fmt: skip


@contextmanager
def _index(mirror: Place, path: Path | None) -> Iterator[Path]:
    """Give the index of the new repository, or one that is thrown away."""
    if path is not None:
        yield path
        return
    with quarantine(mirror.git_dir) as aside:
        yield aside.index
