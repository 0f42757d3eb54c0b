"""Valid rows that hang together: parents before children, same-project keys and uniques kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Any

from codered_spec.contract.choices import Choices
from codered_spec.contract.rules import Row
from codered_spec.contract.values import Domain
from codered_spec.errors import Diagnostic, InputError
from codered_spec.model.schema import (
    ForeignKey,
    IsNotNull,
    IsNull,
    IsTrue,
    OneOf,
    OpaquePredicate,
    Ordered,
    Predicate,
    RandomUuid,
    Schema,
    SubsetOf,
    Table,
)


class Plan:
    """What the generators need to know of a schema, worked out once."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.tables = {table.name: table for table in schema.tables}
        self.domains = {
            table.name: {column.name: Domain(table, column) for column in table.columns}
            for table in schema.tables
        }
        self.referenced: dict[str, set[str]] = {name: set() for name in self.tables}
        for table in schema.tables:
            for key in table.foreign_keys:
                self.referenced[key.table] |= set(key.referenced)
        self.words = tuple(
            dict.fromkeys(
                word
                for table in schema.tables
                for check in table.checks
                if isinstance(check.rule, (OneOf, SubsetOf))
                for word in check.rule.values
            )
        )
        """Every value that some column allows."""

    def table(self, name: str) -> Table:
        """The table of that name; raises InputError for another name."""
        try:
            return self.tables[name]
        except KeyError:
            raise InputError(
                Diagnostic("M001", f"there is no table {name}", f"tables: {', '.join(self.tables)}")
            ) from None

    def omittable(self, name: str) -> list[str]:
        """Columns that a row may leave out without losing its place among keys."""
        table = self.table(name)
        keyed = {column for _, columns, _, _ in unique_keys(table) for column in columns}
        keyed |= {c for *_, predicate in unique_keys(table) for c in predicate_columns(predicate)}
        # a default need not point to a row that is there
        keyed |= {
            column.name
            for column in table.columns
            if column.default is not None
            and any(column.name in key.columns for key in table.foreign_keys)
        }
        ordered = {
            c
            for check in table.checks
            if isinstance(check.rule, Ordered)
            for c in (check.rule.lower, check.rule.upper)
        }
        return [
            column.name
            for column in table.columns
            if (column.default is not None or column.nullable)
            and column.name not in ordered
            and (column.name not in keyed or isinstance(column.default, RandomUuid))
        ]


def unique_keys(table: Table) -> Iterator[tuple[str, tuple[str, ...], bool, Predicate | None]]:
    """Name, columns, whether NULLs differ, and predicate of each key, in order of creation."""
    for key in table.keys:
        yield key.name, key.columns, getattr(key, "nulls_distinct", True), None
    for index in table.indexes:
        if index.unique:
            columns = tuple(k.column for k in index.keys)
            yield index.name, columns, index.nulls_distinct, index.predicate


def predicate_columns(predicate: Predicate | None) -> tuple[str, ...]:
    """The columns that a predicate speaks of."""
    if predicate is None or isinstance(predicate, OpaquePredicate):
        return ()
    return (predicate.column,)


def _covers(predicate: Predicate | None, row: Row) -> bool:
    match predicate:
        case IsTrue(column):
            return row.get(column) is True
        case IsNull(column):
            return row.get(column) is None
        case IsNotNull(column):
            return row.get(column) is not None
        case _:
            return True


class World:
    """Rows that stand together, in the order in which they can be inserted."""

    def __init__(self, plan: Plan, choices: Choices) -> None:
        self.plan = plan
        self.choices = choices
        self.rows: list[tuple[str, Row]] = []
        self._by_table: dict[str, list[Row]] = {name: [] for name in plan.tables}
        self._open: list[str] = []

    def of(self, table: str) -> list[Row]:
        """The rows of one table."""
        return self._by_table[table]

    def add(self, table: str, row: Row) -> Row:
        """Takes the row in: later rows may point to it and must not repeat its keys."""
        self.rows.append((table, row))
        self._by_table[table].append(row)
        return row

    def clashes(self, name: str, row: Row) -> list[str]:
        """Names of the keys that the row would repeat, in the order of their creation."""
        domains = self.plan.domains[name]
        found = []
        for key, columns, nulls_distinct, predicate in unique_keys(self.plan.table(name)):
            own = [domains[c].stored(row[c]) if row.get(c) is not None else None for c in columns]
            if not _covers(predicate, row) or (nulls_distinct and None in own):
                continue
            if not all(c in row for c in columns):  # a default that never repeats
                continue
            for other in self._by_table[name]:
                if _covers(predicate, other) and own == [
                    domains[c].stored(other[c]) if other.get(c) is not None else None
                    for c in columns
                ]:
                    found.append(key)
                    break
        return found

    def row(
        self,
        name: str,
        fixed: Mapping[str, Any] | None = None,
        *,
        fresh: bool = False,
        full: bool = False,
        omit: Collection[str] = (),
    ) -> Row:
        """A valid row, not taken in. Missing parents are made and taken in.

        ``fixed`` values are kept. ``fresh`` makes new parents rather than pointing to those that
        are there; ``full`` leaves nothing NULL; columns of ``omit`` are left out.
        """
        table = self.plan.table(name)
        row: Row = dict(fixed or {})
        self._open.append(name)
        keys = sorted(
            table.foreign_keys, key=lambda key: (self._optional(table, key), -len(key.columns))
        )
        for key in keys:
            if not set(key.columns) & set(omit):
                self._point(table, key, row, fresh, full)
        self._open.pop()
        bound = set(row)
        for column in table.columns:
            if column.name in row or column.name in omit:
                continue
            if column.nullable and not full and self.choices.integer(0, 4) == 0:
                row[column.name] = None
            else:
                row[column.name] = self.plan.domains[name][column.name].value(self.choices)
        self._order(table, row, bound)
        self._part(table, row, bound)
        return {c.name: row[c.name] for c in table.columns if c.name in row}

    @staticmethod
    def _optional(table: Table, key: ForeignKey) -> bool:
        return any(c.nullable for c in table.columns if c.name in key.columns)

    def _point(self, table: Table, key: ForeignKey, row: Row, fresh: bool, full: bool) -> None:
        if any(column in row and row[column] is None for column in key.columns):
            return
        loose = [
            c.name
            for c in table.columns
            if c.nullable and c.name in key.columns and c.name not in row
        ]
        cyclic = key.table in self._open
        if loose and (cyclic or (not full and self.choices.integer(0, 2) == 0)):
            row.update(dict.fromkeys(loose))
            return
        pairs = list(zip(key.columns, key.referenced, strict=True))
        known = {theirs: row[own] for own, theirs in pairs if own in row}
        options = [
            other
            for other in self._by_table[key.table]
            if all(other[theirs] == value for theirs, value in known.items())
            and all(other[theirs] is not None for _, theirs in pairs)
        ]
        # a parent that the fixed columns name must be the one that is there
        if options and (not fresh or len(known) == len(pairs)):
            parent = self.choices.pick(options[-3:])
        else:
            wanted = set(key.referenced)
            parent = self.row(key.table, known, fresh=fresh, full=full)
            for column in sorted(wanted):
                if parent[column] is None:
                    parent[column] = self.plan.domains[key.table][column].value(self.choices)
            self.add(key.table, parent)
        theirs_stored = self.plan.domains[key.table]
        found = {own: theirs_stored[theirs].stored(parent[theirs]) for own, theirs in pairs}
        domains = self.plan.domains[table.name]
        if not all(domains[own].admits(value) for own, value in found.items()):
            if not loose:
                raise InputError(
                    Diagnostic("M008", f"{key.name} of {table.name} has rules of its own", "")
                )
            found = dict.fromkeys(loose)
        row.update(found)

    def _order(self, table: Table, row: Row, bound: Collection[str]) -> None:
        for check in table.checks:
            rule = check.rule
            if not isinstance(rule, Ordered):
                continue
            lower, upper = row.get(rule.lower), row.get(rule.upper)
            if lower is None or upper is None:
                continue
            if not self._in_order(table, rule, row, bound):
                empty = [
                    c.name
                    for c in table.columns
                    if c.nullable and c.name in (rule.lower, rule.upper) and c.name not in bound
                ]
                if not empty:
                    raise InputError(
                        Diagnostic("M008", f"{check.name} of {table.name} leaves no value", "")
                    )
                row[empty[0]] = None

    def _in_order(self, table: Table, rule: Ordered, row: Row, bound: Collection[str]) -> bool:
        """Puts two columns in order, and says whether it could."""
        names = rule.lower, rule.upper
        domains = [self.plan.domains[table.name][name] for name in names]
        low, high = (d.stored(row[name]) for d, name in zip(domains, names, strict=True))
        if low < high or (low == high and not rule.strict):
            return True
        free = low != high and not set(bound) & set(names)
        if free and domains[0].admits(high) and domains[1].admits(low):
            row[rule.lower], row[rule.upper] = high, low
            return True
        for name, domain, fixed, sign in (
            (rule.upper, domains[1], low, 1),
            (rule.lower, domains[0], high, -1),
        ):
            for value in domain.successors(fixed) if name not in bound else ():
                if (domain.stored(value) > fixed) is (sign > 0) and domain.stored(value) != fixed:
                    row[name] = value
                    return True
        return False

    def _part(self, table: Table, row: Row, bound: set[str]) -> None:
        """Changes free key columns until no key repeats one that is there."""
        for _ in range(10):
            clashes = self.clashes(table.name, row)
            if not clashes:
                return
            columns = next(cols for name, cols, *_ in unique_keys(table) if name == clashes[0])
            for column in columns:
                if column in bound or not self._replace(table, row, column, clashes[0]):
                    continue
                break
            else:
                raise InputError(
                    Diagnostic("M008", f"no further row of {table.name}: {clashes[0]} is full", "")
                )

    def _replace(self, table: Table, row: Row, column: str, key: str) -> bool:
        before = row[column]
        orders = [c.rule for c in table.checks if isinstance(c.rule, Ordered)]
        domain = self.plan.domains[table.name][column]
        start = domain.edges[0] if before is None else before
        for other in chain((start,), domain.successors(start)):
            row[column] = other
            sound = all(
                row.get(o.lower) is None
                or row.get(o.upper) is None
                or (row[o.lower] < row[o.upper] if o.strict else row[o.lower] <= row[o.upper])
                for o in orders
            )
            if sound and key not in self.clashes(table.name, row):
                return True
        row[column] = before
        return False
