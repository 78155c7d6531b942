"""SQL that PostgreSQL itself keeps for a connection: read and planned once, run with other values.

Of a row that is found by its key, PostgreSQL spends more time on reading and planning the statement than on the row:
twice to three times as much for a join of wide tables. What is asked at every request and every step of the engine is
therefore prepared. The first use on a connection is an ordinary one, since a short-lived connection gains nothing.

A pooler that gives each transaction another connection loses what is prepared: AUTOPACK_PREPARED_STATEMENTS=0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

_MARK = re.compile(r"%(?:%|s|\((?P<name>\w+)\)s)")
_numbers = count(1)


def written_in(sql: str, texts: Sequence[str | None]) -> str:
    """Return the SQL with a text in each place that has one; where it is None the place stays."""
    found = iter(texts)

    def replaced(mark: re.Match[str]) -> str:
        text = None if mark[0] == "%%" else next(found)
        return mark[0] if text is None else text.replace("%", "%%")

    return _MARK.sub(replaced, sql)


class Statement:
    """One statement, `%s` or `%(name)s` where values go and `%%` for a percent sign.

    The types of its values must follow from where they stand: a column, or a cast. `label` is how its name in the
    server begins.
    """

    def __init__(self, sql: str, *, label: str) -> None:
        self._label = label
        self._order = [mark["name"] for mark in _MARK.finditer(sql) if mark["name"]]
        self._sql = _MARK.sub(lambda mark: "%%" if mark[0] == "%%" else "%s", sql)
        numbers = count(1)
        self._numbered = _MARK.sub(lambda mark: "%%" if mark[0] == "%%" else f"${next(numbers)}", sql)
        places = next(numbers) - 1
        self._values = f" ({', '.join(['%s'] * places)})" if places else ""
        # by the driver's connection, which is gone when the server's is: the name there, "" after the first use
        self._names: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    def __call__(self, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run it with a value for each place, or by name; return the rows that it gives, if it gives any."""
        if isinstance(values, Mapping):
            values = [values[name] for name in self._order]
        wrapper = connections[DEFAULT_DB_ALIAS]
        with wrapper.cursor() as cursor:
            driver, prepares = wrapper.connection, settings.PREPARED_STATEMENTS
            name = self._names.get(driver) if prepares else None
            if name:
                cursor.execute(f"EXECUTE {name}{self._values}", values)
            elif name is None:
                cursor.execute(self._sql, values)
                if prepares:
                    self._names[driver] = ""
            else:
                # both in one message; one that failed may have left its name behind, so each try has its own
                name = f"{self._label}_{next(_numbers)}"
                cursor.execute(f"PREPARE {name} AS {self._numbered}; EXECUTE {name}{self._values}", values)
                self._names[driver] = name
            return cursor.fetchall() if cursor.description else []
