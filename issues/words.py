"""Text search over a backlog: the words of an entry's key, category and files, and queries for them.

PostgreSQL's own, with the dictionary `simple`: keys and paths are no language. Punctuation is taken out first, since
the parser would keep `src/app.py` or `a-b` whole and find neither `app` nor `b`.
"""

from __future__ import annotations

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import Func, TextField, Value
from django.db.models.functions import Cast, Concat

MAX_WORDS = 12
CONFIG = "simple"
# All of ASCII's but the per cent sign, which joins nothing and which drivers take for a placeholder.
SEPARATORS = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
_TO_SPACES = str.maketrans(SEPARATORS, " " * len(SEPARATORS))
# The very expression of the index `backlog_words`: a query by another one would read the whole table.
ENTRY_WORDS = SearchVector(
    Func(
        Concat(
            "issue_key",
            Value(" "),
            "category",
            Value(" "),
            Cast("paths", TextField()),
            output_field=TextField(),
        ),
        Value(SEPARATORS),
        Value(" " * len(SEPARATORS)),
        function="translate",
        output_field=TextField(),
    ),
    config=CONFIG,
)


def words_of(text: str) -> list[str]:
    """Return the words of a text, the first dozen of them."""
    plain = text.translate(_TO_SPACES).replace("%", " ").replace("\x00", " ")
    return plain.split()[:MAX_WORDS]


def query_for(text: str, *, is_whole: bool = False) -> SearchQuery | None:
    """Return the query for entries that hold every word, each as the beginning of one; None without a word.

    `is_whole` takes all words but the last as they are: the text is the beginning of something.
    """
    words = words_of(text)
    if not words:
        return None
    parts = [f"'{word}'" if is_whole and word is not words[-1] else f"'{word}':*" for word in words]
    return SearchQuery(" & ".join(parts), config=CONFIG, search_type="raw")
