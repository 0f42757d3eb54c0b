"""What a table does beyond taking rows: rows that go, keys that change, triggers on update.

An act is one statement on rows that stand, and what the spec says must come of it: a refusal, or
the rows as they are then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import psycopg

from codered_spec.connection import Connection
from codered_spec.contract.choices import Choices
from codered_spec.contract.rules import Row
from codered_spec.contract.verdicts import insert, live_types, text_of
from codered_spec.contract.world import Plan, World, predicate_columns, unique_keys
from codered_spec.model.schema import (
    Action,
    Event,
    ForeignKey,
    Ordered,
    RowChanged,
    Schema,
    SetUpdatedAt,
    Table,
    Timing,
)
from codered_spec.sql import identifier

Standing: TypeAlias = tuple[tuple[str, Row], ...]

LONG_AGO: Final = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
NOW: Final = "now()"
"""Stands for the start of the transaction among the values of a row."""
_STATES: Final = {Action.RESTRICT: ("23001", "23503"), Action.NO_ACTION: ("23503",)}
"""Postgres 18 has a SQLSTATE of its own for RESTRICT."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error: ``by`` is the constraint, of a missing value the column."""

    sqlstate: str
    by: str | None


@dataclass(frozen=True, slots=True)
class Act:
    """A statement on the row ``target`` of ``before``: ``change`` is None to delete it.

    ``refusals`` are the answers that the spec allows, one of which must come; empty where the
    statement must succeed, and ``after`` are the rows then, each with the columns that are certain.
    """

    table: str
    name: str
    before: Standing
    target: int
    change: Row | None
    refusals: frozenset[Refusal] = frozenset()
    after: tuple[tuple[str, Row], ...] = ()


def acts(plan: Plan, table: str, choices: Choices) -> Iterator[Act]:
    """Every act that shows a foreign key or a trigger of the table at work."""
    found = plan.table(table)
    for key in found.foreign_keys:
        before, parent = _related(plan, found, key, choices)
        yield from _deletion(plan, table, f"{key.name}: parent goes", before, parent)
        yield from _new_key(plan, table, key, before, parent)
    yield from _touches(plan, found, choices)


def _related(plan: Plan, table: Table, key: ForeignKey, choices: Choices) -> tuple[Standing, int]:
    """A row with as few other links as possible, and the place of the row ``key`` points to."""
    world = World(plan, choices)
    links = {column for other in table.foreign_keys for column in other.columns}
    links -= set(key.columns)
    alone: Row = {c.name: None for c in table.columns if c.nullable and c.name in links}
    row = world.row(table.name, alone, fresh=True, full=True)
    world.add(table.name, row)
    wanted = [row[column] for column in key.columns]
    parent = next(
        place
        for place, (name, other) in enumerate(world.rows)
        if name == key.table
        and other is not row
        and [other[column] for column in key.referenced] == wanted
    )
    return tuple(world.rows), parent


def _deletion(plan: Plan, table: str, name: str, before: Standing, target: int) -> Iterator[Act]:
    """What the deletion of a row comes to, by the ON DELETE of all keys that point to it."""
    rows: dict[int, Row] = {place: dict(row) for place, (_, row) in enumerate(before)}
    gone = [target]
    refusals: set[Refusal] = set()
    waiting: list[tuple[int, ForeignKey]] = []
    for place in gone:
        for child, key in _children(plan, before, rows, place):
            if child in gone:
                continue
            columns = key.on_delete_columns or key.columns
            if key.on_delete is Action.CASCADE:
                gone.append(child)
            elif key.on_delete is Action.SET_NULL:
                owner = plan.table(before[child][0])
                required = [c.name for c in owner.columns if c.name in columns and not c.nullable]
                refusals |= {Refusal("23502", column) for column in required}
                rows[child].update(dict.fromkeys(columns))
            elif key.on_delete is Action.SET_DEFAULT:
                return
            else:
                waiting.append((child, key))
    for child, key in waiting:
        if key.on_delete is Action.RESTRICT or child not in gone:
            refusals |= {Refusal(state, key.name) for state in _STATES[key.on_delete]}
    after = tuple(
        (name, _keys(plan.table(name), row))
        for place, row in rows.items()
        if place not in gone
        for name in [before[place][0]]
    )
    yield Act(table, name, before, target, None, frozenset(refusals), () if refusals else after)


def _keys(table: Table, row: Row) -> Row:
    """The columns by which rows are known and hang together."""
    names = {c for key in table.foreign_keys for c in key.columns} | set(_identity(table))
    return {name: value for name, value in row.items() if name in names}


def _identity(table: Table) -> tuple[str, ...]:
    if table.primary_key is not None:
        return table.primary_key.columns
    return tuple(column.name for column in table.columns)


def _children(
    plan: Plan, before: Standing, rows: dict[int, Row], parent: int
) -> Iterator[tuple[int, ForeignKey]]:
    """Rows that point to a row, with the key by which they do."""
    table, row = before[parent][0], before[parent][1]
    for place, (name, _) in enumerate(before):
        for key in plan.table(name).foreign_keys:
            own = [rows[place].get(column) for column in key.columns]
            theirs = [row.get(column) for column in key.referenced]
            if key.table == table and None not in own and own == theirs:
                yield place, key


def _new_key(
    plan: Plan, table: str, key: ForeignKey, before: Standing, parent: int
) -> Iterator[Act]:
    """The first column of the parent's key takes another value."""
    owner, row = before[parent]
    column = key.referenced[0]
    if any(column in other.columns for other in plan.table(owner).foreign_keys):
        return
    rows = {place: row for place, (_, row) in enumerate(before)}
    refusals: set[Refusal] = set()
    for _, other in _children(plan, before, rows, parent):
        if column in other.referenced:
            if other.on_update not in _STATES:
                return
            refusals |= {Refusal(state, other.name) for state in _STATES[other.on_update]}
    value = next(plan.domains[owner][column].successors(row[column]), None)
    if value is not None:
        change = {column: value}
        name = f"{key.name}: parent changes its key"
        yield Act(table, name, before, parent, change, frozenset(refusals))


def _touches(plan: Plan, table: Table, choices: Choices) -> Iterator[Act]:
    """An update with and one without a change, for each trigger that keeps a time of change."""
    bodies = {function.name: function.body for function in plan.schema.functions}
    for trigger in table.triggers:
        body = bodies.get(trigger.function)
        at_work = trigger.timing is Timing.BEFORE and Event.UPDATE in trigger.events
        if not isinstance(body, SetUpdatedAt) or not at_work or trigger.columns:
            continue
        world = World(plan, choices)
        row = world.row(table.name, full=True)
        if not plan.domains[table.name][body.column].admits(LONG_AGO):
            continue
        row[body.column] = LONG_AGO
        world.add(table.name, row)
        before: Standing = tuple(world.rows)
        column, value = _other_value(plan, table, row, body.column)
        for kind, change in (("change", {column: value}), ("no change", {column: row[column]})):
            moved = kind == "change" or not isinstance(trigger.when, RowChanged)
            after = [(name, _keys(plan.table(name), row)) for name, row in before]
            after[-1][1][body.column] = NOW if moved else LONG_AGO
            yield Act(
                table.name,
                f"{trigger.name}: {kind}",
                before,
                len(before) - 1,
                change,
                after=tuple(after),
            )


def _other_value(plan: Plan, table: Table, row: Row, but: str) -> tuple[str, Any]:
    """A column that no key and no order of columns speaks of, and another value for it."""
    taken = {but} | {c for key in table.foreign_keys for c in key.columns}
    for _, columns, _, predicate in unique_keys(table):
        taken |= {*columns, *predicate_columns(predicate)}
    for check in table.checks:
        if isinstance(check.rule, Ordered):
            taken |= {check.rule.lower, check.rule.upper}
    return next(
        (column.name, value)
        for column in table.columns
        if column.name not in taken
        for value in plan.domains[table.name][column.name].edges
        if repr(value) != repr(row[column.name])
    )


# ---- on a server ------------------------------------------------------------------------------

Outcome: TypeAlias = Refusal | tuple[tuple[str, str], ...]
"""A refusal, or every row that stands: table and JSON text, sorted, the start of the transaction
written as ``now()``."""


def perform(connection: Connection, schema: Schema, act: Act) -> Outcome | None:
    """What comes of an act on a server; None where not even its rows stand. Nothing lasts."""
    with connection.transaction(force_rollback=True):
        connection.execute("set local time zone 'UTC'")
        try:
            with connection.transaction():
                insert(connection, schema, act.before)
        except psycopg.errors.Error:
            return None
        try:
            with connection.transaction():
                text, parameters = _statement(connection, schema, act)
                connection.execute(text.encode(), parameters)
        except psycopg.errors.Error as exc:
            return Refusal(exc.sqlstate or "", exc.diag.constraint_name or exc.diag.column_name)
        [[now]] = connection.execute("select to_jsonb(now())::text").fetchall()
        found: list[tuple[str, str]] = []
        for name in sorted({name for name, _ in act.before}):
            query = f"select to_jsonb(t)::text from {identifier(schema.name, name)} t"
            found += [
                (name, str(text).replace(str(now), json.dumps(NOW)))
                for (text,) in connection.execute(query.encode()).fetchall()
            ]
        return tuple(sorted(found))


def _statement(connection: Connection, schema: Schema, act: Act) -> tuple[str, list[str | None]]:
    name, row = act.before[act.target]
    table = schema.table(name)
    assert table is not None
    types = {column.name: column.type for column in table.columns}
    live = live_types(connection, schema, table)
    casts = {column: text.replace("%", "%%") for column, text in live.items()}
    own = {column: identifier(column).replace("%", "%%") for column in types}
    target = identifier(schema.name, name).replace("%", "%%")
    key = _identity(table)
    where = " and ".join(f"{own[c]} = %s::text::{casts[c]}" for c in key)
    values = [text_of(types[column], row[column]) for column in key]
    if act.change is None:
        return f"delete from {target} where {where}", values
    [(column, value)] = act.change.items()
    text = f"update {target} set {own[column]} = %s::text::{casts[column]} where {where}"
    return text, [text_of(types[column], value), *values]


def differences(schema: Schema, act: Act, outcome: Outcome | None) -> list[str]:
    """Where an outcome is not what the spec says, in words; empty where it is."""
    if outcome is None:
        return ["the rows do not stand"]
    if isinstance(outcome, Refusal):
        if outcome in act.refusals:
            return []
        return [f"refused with {outcome.sqlstate} by {outcome.by}"]
    if act.refusals:
        return ["not refused"]
    standing: dict[tuple[str, ...], Row] = {}
    for name, text in outcome:
        row = json.loads(text)
        table = schema.table(name)
        assert table is not None
        standing[(name, *(str(row.get(c)) for c in _identity(table)))] = row
    found: list[str] = []
    for name, row in act.after:
        table = schema.table(name)
        assert table is not None
        other = standing.pop((name, *(str(row[c]) for c in _identity(table))), None)
        if other is None:
            found.append(f"a row of {name} is gone")
            continue
        found += [
            f"{name}.{column} is {other.get(column)!r}, not {value!r}"
            for column, value in row.items()
            if not _same(value, other.get(column))
        ]
    return [*found, *(f"a row of {name} still stands" for name, *_ in standing)]


def _same(expected: Any, stored: Any) -> bool:
    if expected is None or stored is None or expected == NOW:
        return bool(expected == stored)
    if isinstance(expected, datetime):
        return stored != NOW and datetime.fromisoformat(stored) == expected
    return str(expected) == str(stored)
