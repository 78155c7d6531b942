"""The names that reports bring are bound to issues; where one report binds two issues, they become one.

Names of one component of the graph "was brought by the same report" are one issue, and it goes by the least of its
keys in code point order, unless a person chose one. So neither which names are one issue nor the key that it goes by
depends on the order of reports, as long as none is refused for want of joints (`issues.joints`) and no issue has more
than MAX_RENAMED names: such a one keeps the key that it has, since each name would have to be written anew. A name
that a person split off decides for itself and binds nothing else.

Runs that have seen an issue under a key that it no longer goes by keep it until they see it again (`Named.former`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from autopack_site.kernel import clock
from autopack_site.kernel.prepared import Prepared, PreparedInsert
from issues.identity import Names
from issues.known import MAX_FORMER, IssueName

_KEY, _PLACE = IssueName.KEY, IssueName.PLACE
MAX_RENAMED = 1000
_put = PreparedInsert(IssueName, unique=["project", "name", "kind"])
_known = Prepared[IssueName](
    lambda project_pk, names: IssueName.objects.filter(project=project_pk, name__in=names)
)
_some_of_issues = Prepared[IssueName](
    lambda project_pk, keys: IssueName.objects.filter(project=project_pk, issue_key__in=keys)[
        : MAX_RENAMED + 1
    ]
)


@dataclass
class Named:
    """What reports are called: their issues' keys in their order, and what has changed by them.

    `former` has, by the key that an issue goes by, those that it went by before; `renamed` the keys that issues
    have lost just now, each with the one that it became; `refused` the pairs of keys that a report says are one, and
    that stay two for want of joints, the one that the report goes by first.
    """

    keys: list[str] = field(default_factory=list)
    former: dict[str, list[str]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)


def bind(project_pk: int, reported: Sequence[Names], *, joints_left: Callable[[], int]) -> Named:
    """Bind the names to issues and write what is new; return what each report's issue is called.

    Needs the backlog's lock. `joints_left` tells how many issues that were known before may be made one; it is asked
    once, when the first would be. One query where all names are known and issues go by what they are called, two
    where they don't, one more for all that is new.
    """
    binding = _Binding(project_pk, reported, joints_left)
    targets = [binding.target(names) for names in reported]
    return binding.settled(targets)


class _Binding:
    """Names by (kind, name), as they are and as they become; issues are joined as a forest of keys."""

    def __init__(self, project_pk: int, reported: Sequence[Names], joints_left: Callable[[], int]) -> None:
        self.project_pk = project_pk
        self.joints_left = joints_left
        self.left: int | None = None
        self.refused: dict[tuple[str, str], None] = {}
        wanted = sorted({name for names in reported for name in (names.key, names.place) if name})
        self.names = {(row.kind, row.name): row for row in _known(project_pk, wanted)}
        self.parents: dict[str, str] = {}
        self.stored: dict[tuple[str, ...], list[IssueName]] = {}
        self.changed: dict[tuple[str, str], IssueName] = {}
        keys = sorted({row.issue_key for row in self.names.values()})
        is_whole = all((_KEY, key) in self.names for key in keys)
        self.own = {key: self.names[_KEY, key] for key in keys} if is_whole else self._read_own(keys)
        # roots of what was known before: what only these reports have brought is no issue yet that anybody counted
        self.known = set(keys)

    def _read_own(self, keys: list[str]) -> dict[str, IssueName]:
        return {row.name: row for row in _known(self.project_pk, keys) if row.kind == _KEY}

    def target(self, names: Names) -> str:
        """Bind a report's names; return a key of its issue, as it was when this report came."""
        own = self.names.get((_KEY, names.key))
        place = self.names.get((_PLACE, names.place)) if names.place else None
        if own is not None and own.is_pinned:
            return own.issue_key
        if place is not None and place.is_pinned:
            return place.issue_key
        if own is None:
            # by its place if that is known, else an issue of its own
            own = self._add(_KEY, names.key, place.issue_key if place else names.key)
            if place is None:
                self.own[names.key] = own
        if names.place and place is None:
            self._add(_PLACE, names.place, own.issue_key, cause=names.cause, site=names.site)
        elif place is not None:
            self._join(own.issue_key, place.issue_key)
        return own.issue_key

    def _add(self, kind: str, name: str, issue_key: str, *, cause: str = "", site: str = "") -> IssueName:
        row = IssueName(
            project_id=self.project_pk, kind=kind, name=name, issue_key=issue_key, cause=cause, site=site,
            created_at=clock.now(),
        )  # fmt: skip
        self.names[kind, name] = self.changed[kind, name] = row
        return row

    def _root(self, key: str) -> str:
        while (above := self.parents.get(key, key)) != key:
            key = above
        return key

    def _join(self, one: str, other: str) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        if first == second:
            return
        if first in self.known and second in self.known:
            self.left = self.joints_left() if self.left is None else self.left
            if self.left < 1:
                self.refused[one, other] = None
                return
            self.left -= 1
        elif second in self.known:
            self.known.add(first)
        self.parents[second] = first

    def settled(self, targets: Iterable[str]) -> Named:
        """Write what is new and changed; return what the targets are called now."""
        members: dict[str, set[str]] = {}
        for key in {*self.own, *(row.issue_key for row in self.changed.values())}:
            members.setdefault(self._root(key), set()).add(key)
        called = {root: self._called(keys) for root, keys in members.items()}
        named = Named([called[self._root(key)] for key in targets])
        apart = ((called[self._root(one)], called[self._root(other)]) for one, other in self.refused)
        named.refused = list(dict.fromkeys(pair for pair in apart if pair[0] != pair[1]))
        for root, keys in members.items():
            self._rename(keys, called[root], named)
        _put.many([self.changed[name] for name in sorted(self.changed)])
        for key in dict.fromkeys(named.keys):
            if former := self.own[key].former:
                named.former[key] = former
        return named

    def _called(self, keys: set[str]) -> str:
        """Return what the issue of these keys goes by: one that a person chose, else the least of its names, but the
        one that it goes by where it has too many to be renamed.
        """
        fixed = [key for key in keys if key in self.own and self.own[key].is_fixed]
        if fixed:
            return min(fixed)
        brought = (row.name for row in self.changed.values() if row.kind == _KEY and row.issue_key in keys)
        least = min({*keys, *brought})
        lost = sorted(keys - {least})
        if lost and len(self._some_names(lost)) > MAX_RENAMED:
            # each is counted by itself: of all together so many may be one issue's, and not the largest's
            stored = sorted(key for key in keys if key in self.own and self.own[key].pk is not None)
            return max(stored, key=lambda key: len(self._some_names([key])))
        return least

    def _some_names(self, keys: list[str]) -> list[IssueName]:
        """Return the stored names of these issues; of more than MAX_RENAMED, so many and one."""
        if tuple(keys) not in self.stored:
            self.stored[tuple(keys)] = list(_some_of_issues(self.project_pk, keys))
        return self.stored[tuple(keys)]

    def _names(self, keys: list[str]) -> Iterable[IssueName]:
        some = self._some_names(keys)
        if len(some) <= MAX_RENAMED:
            return some
        # of what a person named, or of two that both have too many: as seldom as there are joints
        return IssueName.objects.filter(project=self.project_pk, issue_key__in=keys)

    def _rename(self, keys: set[str], new: str, named: Named) -> None:
        lost = sorted(key for key in keys if key != new)
        for row in self.changed.values():
            if row.issue_key in keys:
                row.issue_key = new
        if not lost:
            return
        for row in self._names(lost):
            row.issue_key, row.is_fixed = new, False
            self.changed.setdefault((row.kind, row.name), row)
        rows = {row.name: row for row in self.changed.values() if row.kind == _KEY}
        own = rows.get(new) or self.own[new]
        self.changed[_KEY, new] = self.own[new] = own
        own.issue_key = new
        before = [former for key in lost for former in (*self.own[key].former, key)]
        own.former = sorted({*own.former, *before} - {new})[:MAX_FORMER]
        named.renamed |= dict.fromkeys(lost, new)
