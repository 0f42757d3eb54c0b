"""The statements that turn an empty database of one schema into one of another.

Only for mutants, on tables without rows: a migration of data is another matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from codered_spec.emit.ddl import constraint_sql, index_sql, trigger_sql
from codered_spec.emit.expressions import default_sql, sql_type
from codered_spec.model.schema import Check, Column, ForeignKey, Index, Schema, Table, Trigger
from codered_spec.sql import identifier

T = TypeVar("T", ForeignKey, Check, Index, Trigger)


def alteration(before: Schema, after: Schema) -> str:
    """SQL for everything in which two schemas with the same tables and columns differ."""
    pairs = [(old, new) for old, new in zip(before.tables, after.tables, strict=True) if old != new]
    steps: list[Callable[[Schema, Table, Table], Iterator[str]]] = [
        _drop_foreign_keys,
        _drop_others,
        _columns,
        _add_others,
        _add_foreign_keys,
    ]
    lines = [line for step in steps for old, new in pairs for line in step(after, old, new)]
    return "\n".join(lines)


def _gone(old: tuple[T, ...], new: tuple[T, ...]) -> list[T]:
    return [item for item in old if item not in new]


def _alter(schema: Schema, table: Table) -> str:
    return f"alter table {identifier(schema.name, table.name)}"


def _drop_foreign_keys(schema: Schema, old: Table, new: Table) -> Iterator[str]:
    for key in _gone(old.foreign_keys, new.foreign_keys):
        yield f"{_alter(schema, old)} drop constraint {identifier(key.name)};"


def _drop_others(schema: Schema, old: Table, new: Table) -> Iterator[str]:
    for trigger in _gone(old.triggers, new.triggers):
        yield f"drop trigger {identifier(trigger.name)} on {identifier(schema.name, old.name)};"
    for index in _gone(old.indexes, new.indexes):
        yield f"drop index {identifier(schema.name, index.name)};"
    for constraint in (*(k for k in old.keys if k not in new.keys), *_gone(old.checks, new.checks)):
        yield f"{_alter(schema, old)} drop constraint {identifier(constraint.name)};"


def _columns(schema: Schema, old: Table, new: Table) -> Iterator[str]:
    vectors = schema.extension_schema("vector")
    for was, column in zip(old.columns, new.columns, strict=True):
        own = identifier(column.name)
        alter = f"{_alter(schema, old)} alter column {own}"
        if was.type != column.type:
            target = sql_type(column.type, vectors)
            if was.default is not None:
                yield f"{alter} drop default;"
            yield f"{alter} type {target} using {own}::text::{target};"
        if was.nullable != column.nullable:
            yield f"{alter} {'drop' if column.nullable else 'set'} not null;"
        if was.default != column.default or was.type != column.type:
            yield f"{alter} {_default(column)};"


def _default(column: Column) -> str:
    if column.default is None:
        return "drop default"
    return f"set default {default_sql(column.default, column)}"


def _add_others(schema: Schema, old: Table, new: Table) -> Iterator[str]:
    for constraint in (*(k for k in new.keys if k not in old.keys), *_gone(new.checks, old.checks)):
        yield f"{_alter(schema, old)} add {constraint_sql(schema, new, constraint)};"
    for index in _gone(new.indexes, old.indexes):
        yield index_sql(schema, new, index)
    for trigger in _gone(new.triggers, old.triggers):
        yield trigger_sql(schema, new, trigger)


def _add_foreign_keys(schema: Schema, old: Table, new: Table) -> Iterator[str]:
    for key in _gone(new.foreign_keys, old.foreign_keys):
        yield f"{_alter(schema, old)} add {constraint_sql(schema, new, key)};"
