"""Rows with exactly one fault, clause by clause, and the valid rows right beside the limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any
from uuid import UUID

from codered_spec.contract.bad_values import value_faults
from codered_spec.contract.choices import Choices
from codered_spec.contract.rules import Row
from codered_spec.contract.world import Plan, World, predicate_columns, unique_keys
from codered_spec.model.schema import (
    Check,
    Column,
    ForeignKey,
    IsNotNull,
    IsNull,
    IsTrue,
    Literal,
    Ordered,
    Predicate,
    Table,
)
from codered_spec.model.types import Boolean, Uuid

CROSS_ROW = ("23503", "23505")
"""SQLSTATEs of faults that only the database can see, because they need other rows."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row with one fault, and the answer that the database owes.

    ``constraint`` is None where Postgres names none: a missing value (it names the column) and a
    value outside of the type (it names nothing).
    """

    table: str
    column: str
    name: str
    row: Row
    sqlstate: str
    constraint: str | None = None

    @property
    def cross_row(self) -> bool:
        """Whether the fault needs another row, so that no validator can see it."""
        return self.sqlstate in CROSS_ROW


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A valid row right beside a limit."""

    table: str
    column: str
    name: str
    row: Row


class Scene:
    """A table with two rows, each with parents of its own, and a third that is about to come."""

    def __init__(self, plan: Plan, table: str, choices: Choices) -> None:
        self.plan = plan
        self.table: Table = plan.table(table)
        self.world = World(plan, choices)
        for _ in range(2):
            row = self.world.row(table, self._enclosed(), fresh=True, full=True)
            self.world.add(table, row)
        self.row: Row = self.world.row(table, full=True)

    def _enclosed(self) -> Row:
        """What puts the row under the predicate of each unique index."""
        found: Row = {}
        for *_, predicate in unique_keys(self.table):
            if isinstance(predicate, IsTrue):
                found[predicate.column] = True
        return found

    @property
    def before(self) -> list[tuple[str, Row]]:
        """The rows that stand before, in the order in which they can be inserted."""
        return self.world.rows


def faults(scene: Scene) -> Iterator[Fault]:
    """Every fault of the scene's table, one at a time, in a row that is valid otherwise."""
    table, row = scene.table, scene.row
    for column in table.columns:
        if not column.nullable:
            yield _fault(scene, column.name, "null", {column.name: None}, "23502")
            if column.default is None:
                rest = {name: value for name, value in row.items() if name != column.name}
                yield Fault(table.name, column.name, "omitted", rest, "23502")
        domain = scene.plan.domains[table.name][column.name]
        for name, value, state, constraint in value_faults(domain, scene.plan.words):
            change = {column.name: value}
            unread = state != "23514" and isinstance(value, str)
            if unread or (change := _in_order(scene, column.name, value)):
                yield _fault(scene, column.name, name, change, state, constraint)
            elif value in ("infinity", "-infinity"):
                # out of order as well: the first in the order of names answers
                orders = [check.name for check in table.checks if _orders(check, column.name)]
                change = {column.name: value}
                answer = min(*orders, constraint or "")
                yield _fault(scene, column.name, name, change, state, answer)
    for check in table.checks:
        if isinstance(check.rule, Ordered):
            yield from _order_faults(scene, check.name, check.rule)
    yield from _duplicates(scene)
    for key in table.foreign_keys:
        yield from _strays(scene, key)


def _orders(check: Check, column: str) -> bool:
    rule = check.rule
    return isinstance(rule, Ordered) and column in (rule.lower, rule.upper)


def _fault(
    scene: Scene, column: str, name: str, change: Row, state: str, constraint: str | None = None
) -> Fault:
    return Fault(scene.table.name, column, name, {**scene.row, **change}, state, constraint)


def _in_order(scene: Scene, column: str, value: Any) -> Row:
    """The change to the value, and what keeps the order of columns with it; empty if none can."""
    change: Row = {column: value}
    for check in scene.table.checks:
        rule = check.rule
        if not isinstance(rule, Ordered) or column not in (rule.lower, rule.upper):
            continue
        other = rule.upper if column == rule.lower else rule.lower
        partner = scene.table.column(other)
        assert partner is not None
        if partner.nullable:
            change[other] = None
            continue
        outward = "-infinity" if column == rule.lower else "infinity"
        if isinstance(value, str):
            fits = value == outward
        else:
            low, high = (
                (value, scene.row[other]) if other == rule.upper else (scene.row[other], value)
            )
            fits = value == value and bool(low < high or (low == high and not rule.strict))
        if not fits:
            return {}
    return change


def neighbours(scene: Scene) -> Iterator[Neighbour]:
    """Every valid value at an edge of its column, NULL and omission where they are allowed."""
    table, row = scene.table, scene.row
    omittable = set(scene.plan.omittable(table.name))
    bound = {c for key in table.foreign_keys for c in key.columns}
    ordered = {
        c for k in table.checks if isinstance(k.rule, Ordered) for c in (k.rule.lower, k.rule.upper)
    }
    for column in table.columns:
        name = column.name
        absent = {**row, name: None}
        if column.nullable and not scene.world.clashes(table.name, absent):
            yield Neighbour(table.name, name, "null", absent)
        if name in omittable or (name not in bound and _default_is_free(scene, column)):
            rest = {key: value for key, value in row.items() if key != name}
            yield Neighbour(table.name, name, "omitted", rest)
        if name in bound or name in ordered:
            continue
        for i, value in enumerate(scene.plan.domains[table.name][name].edges):
            changed = {**row, name: value}
            if not scene.world.clashes(table.name, changed):
                yield Neighbour(table.name, name, f"edge {i}", changed)
    for check in table.checks:
        if isinstance(check.rule, Ordered):
            lower, upper = check.rule.lower, check.rule.upper
            for name, pair in _pairs(scene, check.rule):
                if name == "after" or (name == "equal" and not check.rule.strict):
                    change = dict(zip((lower, upper), pair, strict=True))
                    yield Neighbour(table.name, upper, name, {**row, **change})
            if not bound & {check.rule.lower, check.rule.upper}:
                yield from _edges_in_order(scene, check.rule)
    yield from _beside_keys(scene)


def _default_is_free(scene: Scene, column: Column) -> bool:
    """Whether a boolean column of a key can be left out: no row has the key with its default."""
    if not isinstance(column.type, Boolean) or not isinstance(column.default, Literal):
        return False
    changed = {**scene.row, column.name: column.default.text == "true"}
    return not scene.world.clashes(scene.table.name, changed)


def _beside_keys(scene: Scene) -> Iterator[Neighbour]:
    """Rows that share all but one column of a key with another row, or a key of some rows only."""
    table, row = scene.table, scene.row
    first, second = scene.world.of(table.name)[:2]
    nullable = {column.name for column in table.columns if column.nullable}
    for name, columns, _, predicate in unique_keys(table):
        changes: list[tuple[str, Row]] = []
        for column in columns if len(columns) > 1 else ():
            shared = {c: first[c] for c in columns if c != column}
            values = (row[column], second[column], *_some(scene, column))
            changes += [(f"but {column}", {**shared, column: value}) for value in values]
        key = {c: first[c] for c in columns}
        match predicate:
            case IsTrue(column):
                changes.append(("outside", {**key, column: False}))
            case IsNull(column) if row[column] is not None:
                changes.append(("outside", {**key, column: row[column]}))
            case IsNotNull(column) if column not in columns and column in nullable:
                changes.append(("outside", {**key, column: None}))
        told = set()
        for title, change in changes:
            changed = None if title in told else _with(scene, change)
            if changed is None or any(changed[c] != value for c, value in change.items()):
                continue
            if not scene.world.clashes(table.name, changed) and _sound(scene, changed):
                told.add(title)
                yield Neighbour(table.name, columns[-1], f"{name}: all {title}", changed)


def _some(scene: Scene, column: str) -> Iterator[Any]:
    """A few other values of a column."""
    domain = scene.plan.domains[scene.table.name][column]
    value = scene.row[column]
    yield from domain.edges
    if value is not None:
        yield from islice(domain.successors(value), 3)


def _sound(scene: Scene, row: Row) -> bool:
    """Whether the columns that must stand in order do so."""
    domains = scene.plan.domains[scene.table.name]
    for check in scene.table.checks:
        if isinstance(check.rule, Ordered):
            lower, upper = (row[c] for c in (check.rule.lower, check.rule.upper))
            if lower is None or upper is None:
                continue
            low = domains[check.rule.lower].stored(lower)
            high = domains[check.rule.upper].stored(upper)
            if not (low < high or (low == high and not check.rule.strict)):
                return False
    return True


def _edges_in_order(scene: Scene, rule: Ordered) -> Iterator[Neighbour]:
    """The edges of two columns that stand in order, each with a partner that fits."""
    domains = scene.plan.domains[scene.table.name]
    for name, other, sign in ((rule.lower, rule.upper, 1), (rule.upper, rule.lower, -1)):
        for i, value in enumerate(domains[name].edges):
            stored = domains[name].stored(value)
            partners = chain(
                (scene.row[other],), domains[other].edges, domains[other].successors(stored)
            )
            for partner in partners:
                if partner is None:
                    continue
                kept = domains[other].stored(partner)
                if (kept > stored) is (sign > 0) and kept != stored:
                    row = {**scene.row, name: value, other: partner}
                    if not scene.world.clashes(scene.table.name, row):
                        yield Neighbour(scene.table.name, name, f"edge {i}", row)
                    break


def _pairs(scene: Scene, rule: Ordered) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """A pair of equal values, and one with the upper one right after and right before the lower."""
    lowers = scene.plan.domains[scene.table.name][rule.lower]
    uppers = scene.plan.domains[scene.table.name][rule.upper]
    if scene.row[rule.lower] is None or scene.row[rule.upper] is None:
        return  # the rules of the two columns leave no pair
    told = set()
    for value in (scene.row[rule.lower], *lowers.edges):
        lower = lowers.stored(value)
        if "equal" not in told and uppers.admits(lower):
            told.add("equal")
            yield "equal", (lower, lower)
        for sign, name in ((1, "after"), (-1, "before")):
            for other in uppers.successors(lower) if name not in told else ():
                if (other > lower) is (sign > 0) and other != lower:
                    told.add(name)
                    yield name, (lower, other)
                    break


def _order_faults(scene: Scene, constraint: str, rule: Ordered) -> Iterator[Fault]:
    for name, pair in _pairs(scene, rule):
        if name == "before" or (name == "equal" and rule.strict):
            change = dict(zip((rule.lower, rule.upper), pair, strict=True))
            yield _fault(scene, rule.upper, f"{constraint}: {name}", change, "23514", constraint)


def _duplicates(scene: Scene) -> Iterator[Fault]:
    """For each key, rows that share nothing but the key with one of the rows that stand."""
    table = scene.table
    for place, standing in enumerate(scene.world.of(table.name)[:2], 1):
        for name, columns, nulls_distinct, predicate in unique_keys(table):
            inside = _inside(predicate, standing)
            if inside is None:
                continue
            shared = {column: standing[column] for column in columns}
            if nulls_distinct and None in shared.values():
                continue
            changed = _with(scene, {**shared, **inside})
            if changed is None:
                continue
            broken = scene.world.clashes(table.name, changed)
            # a key that contains another one cannot be broken alone: the smaller one answers
            if broken and broken[0] == name:
                title = f"{name}: duplicate of row {place}"
                yield Fault(table.name, columns[-1], title, changed, "23505", name)


def _inside(predicate: Predicate | None, first: Row) -> Row | None:
    match predicate:
        case IsTrue(column):
            return {column: True} if first[column] is True else None
        case IsNull() | IsNotNull():
            return {c: first[c] for c in predicate_columns(predicate)}
        case None:
            return {}
        case _:
            return None


def _with(scene: Scene, change: Row) -> Row | None:
    """The row with other keys, and parents to match them: those of the first row where needed."""
    row = {**scene.row, **change}
    for key in scene.table.foreign_keys:
        if not set(key.columns) & set(change) or _stands(scene, key, row):
            continue
        first = scene.world.of(scene.table.name)[0]
        row.update({c: first[c] for c in key.columns if c not in change})
        if not _stands(scene, key, row):
            return None
    return row


def _stands(scene: Scene, key: ForeignKey, row: Row) -> bool:
    wanted = [row[column] for column in key.columns]
    parents = scene.world.of(key.table)
    if key.table == scene.table.name:
        parents = [*parents, row]  # a row may point to itself
    return None in wanted or any(
        wanted == [parent.get(column) for column in key.referenced] for parent in parents
    )


def _strays(scene: Scene, key: ForeignKey) -> Iterator[Fault]:
    """A key that points to nothing, and one that mixes the columns of two parents."""
    table = scene.table
    parents = scene.world.of(key.table)
    shared = {c for other in table.foreign_keys if other != key for c in other.columns}
    own = [column for column in key.columns if column not in shared] or list(key.columns[:1])
    changes: list[tuple[str, Row]] = []
    domain = scene.plan.domains[table.name][own[0]]
    known = {repr(p.get(r)) for p in parents for r in key.referenced}
    start = scene.row[own[0]]
    if isinstance(domain.type, Uuid):
        start = UUID(int=0x5EED)
    elif start is None:
        start = domain.edges[0]
    nowhere = next((v for v in domain.successors(start) if repr(v) not in known), None)
    if nowhere is not None:
        changes.append(("dangling", {own[0]: nowhere}))
    if len(key.columns) > 1:
        for parent in parents:
            pairs = dict(zip(key.columns, key.referenced, strict=True))
            mixed = {column: parent[pairs[column]] for column in own}
            if not _stands(scene, key, {**scene.row, **mixed}):
                changes.append(("of another owner", mixed))
                break
    for name, change in changes:
        row = {**scene.row, **change}
        for other in table.foreign_keys:
            if other != key and not _stands(scene, other, row):
                loose = [c.name for c in table.columns if c.nullable and c.name in other.columns]
                row.update(dict.fromkeys(set(loose) - set(key.columns)))
        alone = all(_stands(scene, other, row) for other in table.foreign_keys if other != key)
        if alone and not _stands(scene, key, row) and not scene.world.clashes(table.name, row):
            yield Fault(table.name, own[0], f"{key.name}: {name}", row, "23503", key.name)
