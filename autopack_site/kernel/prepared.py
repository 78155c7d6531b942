"""Statements that are compiled once and run with other values.

Django builds and compiles a query anew at each use, which for a wide table with its relations takes several
times as long as PostgreSQL needs to answer it. Where a row is read at every step of the engine, that is the
larger part of the step's time. Here the queryset is built once, with placeholders, and its SQL is kept; so is
PostgreSQL's plan (`kernel.statements`).
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model, QuerySet
from django.db.models.query import get_related_populators

from autopack_site.kernel.statements import Statement, written_in

M = TypeVar("M", bound=Model)
Value = str | int | datetime | Sequence[str] | Sequence[int]
_SINGLE = (str, int, datetime)
# Placeholders that no constant of a queryset equals: a private code point, PostgreSQL's last integers, a far day.
_TEXT = "\ue0ff"
_NUMBER = 2_147_000_000
_TIME = datetime(9000, 1, 1, tzinfo=UTC)
MAX_KEPT_ROWS = 16  # of one INSERT that is kept


@dataclass(frozen=True)
class _Compiled:
    """One statement, which value takes each of its places, and what becomes of a row."""

    statement: Statement
    places: tuple[int, ...]
    converters: list[tuple[int, list[Callable[..., Any]], Any]]
    made: Callable[[list[Any]], Any]


class _Late:
    """A SELECT that takes its values late.

    `build` returns the queryset for values; each is a str, an int, a time, or a list of strs or ints (for `__in`),
    and may be used in filters only. It must not branch on them. What the queryset says of related rows, deferred
    columns, order, limit and row locks holds as it would. Lists are filled up to the next power of two with their
    last value: lists of 1,000 lengths are eleven statements to keep.
    """

    def __init__(self, build: Callable[..., QuerySet[Any, Any]]) -> None:
        self._build = build
        self._compiled: dict[tuple[Any, ...], _Compiled] = {}

    def _found(self, values: tuple[Value, ...]) -> list[Any]:
        """Return what the rows for these values become. A list that is empty matches nothing and asks nothing."""
        if any(not isinstance(value, _SINGLE) and not value for value in values):
            return []
        values = tuple(_filled(value) for value in values)
        shape = tuple(_shape(value) for value in values)
        known = self._compiled.get(shape)
        if known is None:
            known = self._compiled[shape] = _compile(self._build(*_placeholders(shape)), shape)
        flat = _flat(values)
        rows = known.statement([flat[place] for place in known.places])
        connection = connections[DEFAULT_DB_ALIAS]
        return [known.made(_converted(known.converters, row, connection)) for row in rows]


class Prepared(_Late, Generic[M]):
    """A SELECT of model instances that takes its values late."""

    def __call__(self, *values: Value) -> list[M]:
        """Return the instances for these values."""
        return self._found(values)

    def first(self, *values: Value) -> M | None:
        """Return the first one for these values, or None."""
        found = self._found(values)
        return found[0] if found else None


class PreparedRows(_Late):
    """A SELECT of columns (`values_list`) that takes its values late: for what is only shown, or of many rows."""

    def __call__(self, *values: Value) -> list[Any]:
        """Return the rows for these values, as named tuples."""
        return self._found(values)


def _filled(value: Value) -> Value:
    """Return a list filled up with its last value, which `__in` does not mind; a single value as it is."""
    if isinstance(value, _SINGLE):
        return value
    length = 1 << (len(value) - 1).bit_length()
    return [*value, *[value[-1]] * (length - len(value))]


def _shape(value: Value) -> tuple[type, int]:
    """Return a value's type and, for a list, its length; 0 for a single value."""
    if isinstance(value, _SINGLE):
        return type(value), 0
    return type(value[0]), len(value)


def _placeholder(kind: type, place: int, index: int) -> str | int | datetime:
    number = place * 10_000 + index
    if issubclass(kind, datetime):
        return _TIME + timedelta(seconds=number)
    return f"{_TEXT}{number}" if issubclass(kind, str) else _NUMBER + number


def _placeholders(shape: tuple[tuple[type, int], ...]) -> list[Any]:
    found: list[Any] = []
    for place, (kind, length) in enumerate(shape):
        if length:
            found.append([_placeholder(kind, place, index) for index in range(length)])
        else:
            found.append(_placeholder(kind, place, 0))
    return found


def _flat(values: Sequence[Value]) -> list[Any]:
    """Return the values one after the other, those of lists too."""
    return [one for value in values for one in ([value] if isinstance(value, _SINGLE) else value)]


def _compile(queryset: QuerySet[Any, Any], shape: tuple[tuple[type, int], ...]) -> _Compiled:
    compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
    sql, parameters = compiler.as_sql()
    sql, places = _with_constants(sql, parameters, _flat(_placeholders(shape)))
    converters = compiler.get_converters([column for column, _, _ in compiler.select])
    return _Compiled(
        statement=Statement(sql, label=queryset.model._meta.db_table),
        places=places,
        converters=[(place, *how) for place, how in converters.items()],
        made=_row_of(queryset) if queryset.query.values_select else _maker(compiler),
    )


def _maker(compiler: Any) -> Callable[[list[Any]], Any]:
    """Return what makes a model instance of a row."""
    select, info = compiler.select, compiler.klass_info
    start, end = info["select_fields"][0], info["select_fields"][-1] + 1
    model, names = info["model"], [column.target.attname for column, _, _ in select[start:end]]
    populators = get_related_populators(info, select, DEFAULT_DB_ALIAS)  # type: ignore[call-arg]  # of 5.2

    def made(row: list[Any]) -> Any:
        instance = model.from_db(DEFAULT_DB_ALIAS, names, row[start:end])
        for populator in populators:
            populator.populate(row, instance)
        return instance

    return made


def _row_of(queryset: QuerySet[Any, Any]) -> Callable[[list[Any]], Any]:
    """Return what makes a named tuple of a row."""
    row: Any = namedtuple("Row", queryset.query.values_select)  # type: ignore[misc]  # names of a queryset
    made: Callable[[list[Any]], Any] = row._make
    return made


def _with_constants(
    sql: str, parameters: Sequence[Any], placeholders: list[Any]
) -> tuple[str, tuple[int, ...]]:
    """Return the SQL with the queryset's own constants written into it, and which value takes each place left.

    A plan for any values may then use a partial index, whose condition a constant meets.
    """
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        written = written_in(
            sql,
            [
                None if value in placeholders else cursor.mogrify("%s", [value]).decode()
                for value in parameters
            ],
        )
    return written, tuple(placeholders.index(value) for value in parameters if value in placeholders)


def _converted(converters: Any, row: Sequence[Any], connection: Any) -> list[Any]:
    values = list(row)
    for place, functions, expression in converters:
        for function in functions:
            values[place] = function(values[place], expression, connection)
    return values


class PreparedInsert(Generic[M]):
    """An INSERT into a model's table whose SQL is made once; with `unique` it overwrites rows of the same key.

    No signal is sent, and nothing is validated but by the database. `unique` names the fields of a unique
    constraint of the table.
    """

    def __init__(self, model: type[M], *, unique: Sequence[str] = ()) -> None:
        self._model, self._unique = model, tuple(unique)
        self._known: tuple[str, str, str, list[Any]] | None = None
        self._statements: dict[int, Statement] = {}

    def __call__(self, **values: Any) -> M:
        """Insert a row and return its instance, with the key that the database gave it."""
        row = self._model(**values)
        self.many([row])
        return row

    def many(self, rows: Sequence[M]) -> None:
        """Insert instances in one statement, whatever keys they have had; give each the key of its row."""
        if not rows:
            return
        connection = connections[DEFAULT_DB_ALIAS]
        head, marks, tail, fields = self._known or self._make()
        parameters = [
            field.get_db_prep_save(getattr(row, field.attname), connection=connection)
            for row in rows
            for field in fields
        ]
        count = len(rows)
        statement = self._statements.get(count) or Statement(
            head + ", ".join([marks] * count) + tail, label=f"put_{self._model._meta.db_table}"
        )
        if count <= MAX_KEPT_ROWS:
            self._statements[count] = statement
        for row, (key,) in zip(rows, statement(parameters), strict=True):
            row.pk = key
            row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS

    def _make(self) -> tuple[str, str, str, list[Any]]:
        meta: Any = self._model._meta
        fields = [
            field for field in meta.concrete_fields if not field.get_internal_type().endswith("AutoField")
        ]
        quote = connections[DEFAULT_DB_ALIAS].ops.quote_name
        columns = ", ".join(quote(field.column) for field in fields)
        conflict = ""
        if self._unique:
            key = ", ".join(quote(meta.get_field(name).column) for name in self._unique)
            others = [quote(field.column) for field in fields if field.name not in self._unique]
            changes = ", ".join(f"{column} = EXCLUDED.{column}" for column in others)
            conflict = f" ON CONFLICT ({key}) DO UPDATE SET {changes}"
        self._known = (
            f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES ",  # noqa: S608 (names of a model)
            "(" + ", ".join(["%s"] * len(fields)) + ")",
            f"{conflict} RETURNING {quote(meta.pk.column)}",
            fields,
        )
        return self._known
