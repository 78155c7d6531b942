"""Mirrors are packed as they grow: nothing is lost, and the work goes by what is new."""

from __future__ import annotations

import itertools
import shutil

from django.conf import LazySettings

from integration import git, repository
from integration.locks import held
from integration.mirror import Mirror
from integration.objects import name_of
from tests.integration.git.conftest import build, new_file


def test_packing_loses_nothing_not_even_what_no_ref_reaches(mirror: Mirror, base: str) -> None:
    kept = build(mirror, base, new_file("kept"))
    mirror.keep("run1", "p1", 1, kept.sha)
    loose = build(mirror, base, new_file("loose"))
    mirror.pack()
    assert list((mirror.path / "objects").glob("[0-9a-f][0-9a-f]/*")) == []
    assert mirror.commit_info(kept.sha).parents == (base,)
    assert mirror.commit_info(loose.sha).subject == "Change it"
    assert build(mirror, kept.sha, new_file("more")).base == kept.sha
    mirror.fsck()


def test_packing_leaves_large_packs_alone(mirror: Mirror, base: str) -> None:
    for number in range(40):
        build(mirror, base, new_file(f"file-{number}"))
    mirror.pack()
    packs = set((mirror.path / "objects" / "pack").glob("*.pack"))
    build(mirror, base, new_file("one-more"))
    mirror.pack()
    assert packs < set((mirror.path / "objects" / "pack").glob("*.pack"))


def test_a_candidate_finds_its_folder_gone_and_makes_it_anew(mirror: Mirror, base: str) -> None:
    with mirror.quarantine() as aside:
        mirror.read_index(base, aside)
        blob = git.run("hash-object", "-w", "--stdin", place=aside.place, stdin=b"new").text
        shutil.rmtree(mirror.path / "objects" / blob[:2])
        assert aside.release(last=blob) == 1
    assert mirror.git("cat-file", "-p", blob).text == "new"


def test_only_cluttered_mirrors_are_packed(mirror: Mirror, settings: LazySettings) -> None:
    settings.STATE_DIR = mirror.path.parent.parent
    assert repository.pack_mirrors() == 0
    loosen(mirror)
    assert mirror.is_cluttered()
    assert repository.pack_mirrors() == 1
    assert not mirror.is_cluttered()
    assert repository.pack_mirrors() == 0


def test_a_mirror_at_work_is_packed_the_next_time(mirror: Mirror, settings: LazySettings) -> None:
    settings.STATE_DIR = mirror.path.parent.parent
    loosen(mirror)
    with held(mirror.path / "autopack" / "fetch.lock", timeout_s=1):
        assert repository.pack_mirrors() == 0
    assert repository.pack_mirrors() == 1


def loosen(mirror: Mirror) -> None:
    """Write so many loose objects that one folder alone tells of clutter."""
    numbers = (number for number in range(100_000) if name_of("blob", b"%d" % number).startswith("17"))
    for number in itertools.islice(numbers, 27):
        mirror.git("hash-object", "-w", "--stdin", stdin=b"%d" % number)
