"""The words and paths that a search goes by, whatever the text."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autopack_site.kernel import clock
from issues import search
from issues.models import BacklogEntry
from issues.search import Wanted
from issues.words import MAX_WORDS, words_of
from strategy.models import Project
from tests.factories import make_project

TEXTS = st.text(max_size=40).map(lambda text: text.replace("\x00", ""))
SEGMENTS = st.text(st.sampled_from("abAB01.-_+e~"), min_size=1, max_size=6).filter(
    lambda part: part not in (".", "..")
)


@given(TEXTS)
@settings(max_examples=100)
def test_words_have_no_separator_and_are_few(text):
    words = words_of(text)
    assert len(words) <= MAX_WORDS
    assert all(words_of(word) == [word] for word in words)


@given(st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
def test_a_path_s_beginning_finds_exactly_the_paths_that_begin_so(db, data):
    project = Project.objects.filter(project_id="paths").first() or make_project("paths")
    paths = data.draw(
        st.lists(
            st.lists(SEGMENTS, min_size=2, max_size=3).map("/".join), min_size=1, max_size=4, unique=True
        )
    )
    now = clock.now()
    BacklogEntry.objects.filter(project=project).delete()
    BacklogEntry.objects.bulk_create(
        BacklogEntry(
            project=project, issue_key=f"k{number}", category="c", base_severity="minor",
            effective_severity="minor", status="open", occurrence_count=1, first_seen_run_id="r",
            last_seen_run_id="r", first_seen_at=now, last_seen_at=now, opened_at=now, paths=["zz/z.py", path],
        )
        for number, path in enumerate(paths)
    )  # fmt: skip
    prefix = data.draw(st.sampled_from(paths))
    prefix = prefix[: data.draw(st.integers(1, len(prefix)))]
    found = search.entries(project.pk, Wanted(path=prefix))
    expected = {f"k{number}" for number, path in enumerate(paths) if path.startswith(prefix)}
    assert set(found.values_list("issue_key", flat=True)) == expected


@given(TEXTS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
def test_no_text_is_too_odd_to_be_searched_for(db, text):
    assert list(search.with_words(BacklogEntry.objects.all(), text)) == []
