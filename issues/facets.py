"""The categories that backlogs hold, found without reading the backlogs."""

from __future__ import annotations

from django.db import connection

# One look into the index for each category, not one for each entry.
_CATEGORIES = """
WITH RECURSIVE found(category) AS (
    (SELECT category FROM issues_backlogentry ORDER BY category LIMIT 1)
    UNION ALL
    SELECT (SELECT e.category FROM issues_backlogentry e WHERE e.category > found.category
            ORDER BY e.category LIMIT 1)
    FROM found WHERE found.category IS NOT NULL
)
SELECT category FROM found WHERE category IS NOT NULL LIMIT %s
"""


def categories(limit: int) -> list[str]:
    """Return the first categories of all backlogs in the database's order, each once."""
    with connection.cursor() as cursor:
        cursor.execute(_CATEGORIES, [limit])
        return [row[0] for row in cursor.fetchall()]


_CATEGORIES_OF = """
WITH RECURSIVE found(category) AS (
    (SELECT category FROM issues_backlogentry WHERE project_id = %s ORDER BY category LIMIT 1)
    UNION ALL
    SELECT (SELECT e.category FROM issues_backlogentry e
            WHERE e.project_id = %s AND e.category > found.category ORDER BY e.category LIMIT 1)
    FROM found WHERE found.category IS NOT NULL
)
SELECT category FROM found WHERE category IS NOT NULL LIMIT %s
"""


def categories_of(project_pk: int, limit: int) -> list[str]:
    """Return the first categories of a project's backlog in the database's order, each once."""
    with connection.cursor() as cursor:
        cursor.execute(_CATEGORIES_OF, [project_pk, project_pk, limit])
        return [row[0] for row in cursor.fetchall()]
