"""Every way to damage a live schema that we could think of, and what a verifier must name.

The damages are made by a loop over any model, so that each of its columns, constraints, indexes,
triggers and comments is damaged in every way that fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from codered_spec.emit.ddl import emit_sql
from codered_spec.emit.expressions import rule_sql, sql_type
from codered_spec.model.schema import (
    Action,
    Check,
    Column,
    ForeignKey,
    Index,
    Method,
    OneOf,
    OpaqueCondition,
    PrimaryKey,
    Rule,
    Schema,
    SubsetOf,
    Table,
    Trigger,
    Unique,
    rule_columns,
)
from codered_spec.model.types import Text, Varchar, Vector
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier, literal


@dataclass(frozen=True)
class Damage:
    """``sql`` breaks one thing; ``addresses`` are what a verifier must name, no more, no less."""

    kind: str
    sql: str
    addresses: frozenset[str]

    def __str__(self) -> str:
        return f"{self.kind}: {', '.join(sorted(self.addresses))}"


def _damage(kind: str, sql: str, *addresses: str) -> Damage:
    return Damage(kind, sql, frozenset(addresses))


def damages(schema: Schema) -> Iterator[Damage]:
    """Every damage to every object of the schema. Only a superuser can do some of them."""
    yield from _of_schema(schema)
    for table in schema.tables:
        yield from _of_table(schema, table)
        for column in table.columns:
            yield from _of_column(schema, table, column)
        for constraint in table.constraints:
            yield from _of_constraint(schema, table, constraint)
        for index in table.indexes:
            yield from _of_index(schema, table, index)
        for trigger in table.triggers:
            yield from _of_trigger(schema, table, trigger)


# ---- schema -----------------------------------------------------------------------------------


def _of_schema(schema: Schema) -> Iterator[Damage]:
    def inside(name: str) -> str:
        return identifier(schema.name, name)

    own = identifier(schema.name)
    yield _damage("schema comment changed", f"comment on schema {own} is 'other'", "schema")
    yield _damage("table added", f"create table {inside('extra')} (id int)", "extra")
    for kind, sql in (
        ("view", f"create view {inside('extra')} as select 1 as a"),
        ("materialized view", f"create materialized view {inside('extra')} as select 1 as a"),
        ("sequence", f"create sequence {inside('extra')}"),
        ("enum", f"create type {inside('extra')} as enum ('a')"),
        ("domain", f"create domain {inside('extra')} as text"),
        ("type", f"create type {inside('extra')} as (a int)"),
        ("range type", f"create type {inside('extra')} as range (subtype = int)"),
    ):
        yield _damage(f"{kind} added", sql, "extra")
    body = "language sql as 'select 1'"
    yield _damage(
        "function added", f"create function {inside('extra')}() returns int {body}", "extra()"
    )
    yield _damage(
        "procedure added",
        f"create procedure {inside('extra')}() {body}",
        "extra()",
    )
    for extension in schema.extensions:
        yield _damage(
            "extension moved",
            f"create schema elsewhere; alter extension {identifier(extension.name)}"
            " set schema elsewhere",
            extension.name,
        )
    for function in schema.functions:
        name, address = inside(function.name), f"{function.name}({function.arguments})"
        signature = re.sub(" DEFAULT .*", "", function.arguments)
        call = f"function {name}({signature})"
        rights = "invoker" if function.security_definer else "definer"
        header = f"create or replace function {name}({function.arguments})"
        header += f" returns {function.returns} language plpgsql"
        path = "set search_path = ''"
        for kind, sql in (
            ("function body", f"{header} {path} as 'begin raise; end'"),
            ("function search_path", f"alter {call} set search_path = public"),
            ("function without search_path", f"alter {call} reset search_path"),
            ("function security definer", f"alter {call} security {rights}"),
            ("function public execute", f"grant execute on {call} to public"),
            ("function volatility", f"alter {call} immutable"),
            ("function strict", f"alter {call} strict"),
            ("function comment", f"comment on {call} is 'other'"),
        ):
            yield _damage(kind, sql, address)
        users = [
            f"{t.name}.{g.name}" for t in schema.tables for g in t.triggers
            if g.function == function.name
        ]  # fmt: skip
        yield _damage(
            "function renamed",
            f"alter {call} rename to other",
            address,
            f"other({function.arguments})",
            *users,
        )
        yield _damage("function dropped", f"drop {call} cascade", address, *users)


# ---- tables -----------------------------------------------------------------------------------


def _pointing(schema: Schema, table: Table) -> list[str]:
    """Foreign keys of other tables to this one."""
    return [
        f"{other.name}.{key.name}"
        for other in schema.tables
        for key in other.foreign_keys
        if key.table == table.name and other is not table
    ]


def _of_table(schema: Schema, table: Table) -> Iterator[Damage]:
    name, address = identifier(schema.name, table.name), table.name
    alter = f"alter table {name}"
    yield _damage("table dropped", f"drop table {name} cascade", address, *_pointing(schema, table))
    # keys that point to the table itself are seen inside of the renamed one
    yield _damage(
        "table renamed", f"{alter} rename to other_name", address, "other_name",
        *_pointing(schema, table),
    )  # fmt: skip
    yield _damage("table comment changed", f"comment on table {name} is 'other'", address)
    if table.comment:
        yield _damage("table comment removed", f"comment on table {name} is null", address)
    child = f"create schema other_one; create table other_one.child () inherits ({name})"
    for kind, sql, more in (
        ("column added", f"{alter} add column extra int", ".extra"),
        ("column of unknown type added", f"{alter} add column extra point", ".extra"),
        ("identity column added", f"{alter} add extra int generated always as identity", ".extra"),
        ("check added", f"{alter} add constraint extra check (1 > 0)", ".extra"),
        ("index added", f"create index extra on {name} ((1))", ".extra"),
        ("policy added", f"create policy extra on {name} using (true)", ".extra"),
        ("rule added", f"create rule extra as on delete to {name} do instead nothing", ".extra"),
        ("row security", f"{alter} enable row level security", ""),
        ("forced row security", f"{alter} force row level security", ""),
        ("inherited", child, ""),
    ):
        yield _damage(kind, sql, address + more)
    outgoing = {f"{address}.{key.name}" for key in table.foreign_keys}
    # the other half of a foreign key are the system triggers of the table that it points to
    if outgoing and not table.triggers:
        loops = set(_pointing(schema, table))
        yield _damage("system triggers off", f"{alter} disable trigger all", *outgoing, *loops)
    if not table.foreign_keys and not _pointing(schema, table):
        other = "logged" if table.storage == "unlogged" else "unlogged"
        yield _damage(f"table {other}", f"{alter} set {other}", address)


# ---- columns ----------------------------------------------------------------------------------


def _dependents(schema: Schema, table: Table, column: str) -> set[str]:
    """What goes, or changes its words, with a column."""
    found: set[str] = set()
    for constraint in table.constraints:
        names = (
            rule_columns(constraint.rule) if isinstance(constraint, Check) else constraint.columns
        )
        if column in names:
            found.add(f"{table.name}.{constraint.name}")
    for index in table.indexes:
        names = tuple(key.column for key in index.keys)
        if column in names or getattr(index.predicate, "column", None) == column:
            found.add(f"{table.name}.{index.name}")
    for trigger in table.triggers:
        told = isinstance(trigger.when, OpaqueCondition) and column in trigger.when.expression
        if column in trigger.columns or told:
            found.add(f"{table.name}.{trigger.name}")
    for other in schema.tables:
        for key in other.foreign_keys:
            if key.table == table.name and column in key.referenced:
                found.add(f"{other.name}.{key.name}")
    return found


def _of_column(schema: Schema, table: Table, column: Column) -> Iterator[Damage]:
    name, address = identifier(schema.name, table.name), f"{table.name}.{column.name}"
    own = identifier(column.name)
    alter = f"alter table {name} alter column {own}"
    dependents = _dependents(schema, table, column.name)
    yield _damage(
        "column dropped", f"alter table {name} drop column {own} cascade", address, *dependents
    )
    yield _damage(
        "column renamed",
        f"alter table {name} rename column {own} to other_name",
        address, f"{table.name}.other_name", *dependents,
    )  # fmt: skip
    in_key = table.primary_key is not None and column.name in table.primary_key.columns
    if column.nullable:
        yield _damage("not null set", f"{alter} set not null", address)
    elif not in_key:
        yield _damage("not null dropped", f"{alter} drop not null", address)
    if column.default is not None:
        yield _damage("default dropped", f"{alter} drop default", address)
    type_ = sql_type(column.type, schema.extension_schema("vector"))
    if not isinstance(column.type, Vector):
        # nothing else is of this form: a call of a function that the model does not know
        yield _damage("default changed", f"{alter} set default coalesce(null::{type_})", address)
    if not dependents:
        yield _damage("type changed", f"{alter} drop default, alter {own} type point using null",
                      address)  # fmt: skip
    if isinstance(column.type, Text) and not dependents:
        yield _damage("collation changed", f'{alter} type text collate "C"', address)
        yield _damage("length added", f"{alter} type varchar(9)", address)
    if isinstance(column.type, Varchar) and not dependents:
        yield _damage("length changed", f"{alter} type varchar({column.type.length + 1})", address)
    comment = f"comment on column {name}.{own} is"
    yield _damage("column comment changed", f"{comment} 'other'", address)
    if column.comment or column.known:
        yield _damage("column comment removed", f"{comment} null", address)
    if column.known:
        yield _damage("known value removed", f"{comment} 'Known values: []'", address)


# ---- constraints ------------------------------------------------------------------------------


def _recreated(schema: Schema, table: Table, changed: Table, kind: str, address: str) -> Damage:
    """The whole schema made anew with one thing changed, in the emitter's own words."""
    name = identifier(schema.name)
    tables = tuple(changed if t is table else t for t in schema.tables)
    sql = f"drop schema {name} cascade;\n{emit_sql(replace(schema, tables=tables))}"
    return _damage(kind, sql, address)


def _of_constraint(
    schema: Schema, table: Table, constraint: PrimaryKey | Unique | ForeignKey | Check
) -> Iterator[Damage]:
    name, own = identifier(schema.name, table.name), identifier(constraint.name)
    address, alter = f"{table.name}.{constraint.name}", f"alter table {name}"
    drop = f"{alter} drop constraint {own}"
    cascade: set[str] = set()
    if isinstance(constraint, PrimaryKey | Unique):
        cascade = {
            f"{t.name}.{key.name}"
            for t in schema.tables
            for key in t.foreign_keys
            if key.table == table.name and sorted(key.referenced) == sorted(constraint.columns)
        }
    kind = type(constraint).__name__
    yield _damage(f"{kind} dropped", f"{drop} cascade", address, *cascade)
    yield _damage(
        f"{kind} renamed",
        f"{alter} rename constraint {own} to other_name",
        address,
        f"{table.name}.other_name",
    )
    if isinstance(constraint, PrimaryKey | Unique) and not cascade:
        word = "primary key" if isinstance(constraint, PrimaryKey) else "unique"
        again = f"{drop}; {alter} add constraint {own} {word}"
        keys = column_list(constraint.columns)
        yield _damage(f"{kind} deferrable", f"{again} {keys} deferrable", address)
        spare = [c.name for c in table.columns if c.name not in constraint.columns]
        if spare:
            include = f"include ({identifier(spare[0])})"
            yield _damage(f"{kind} includes", f"{again} {keys} {include}", address)
        if isinstance(constraint, Unique):
            nulls = "nulls not distinct" if constraint.nulls_distinct else ""
            yield _damage(f"{kind} nulls", f"{again} {nulls} {keys}", address)
        if len(constraint.columns) > 1:
            turned = column_list(constraint.columns[::-1])
            yield _damage(f"{kind} order", f"{again} {turned}", address)
    if isinstance(constraint, ForeignKey):
        yield from _of_foreign_key(schema, constraint, drop, alter, address)
    if isinstance(constraint, Check):
        yield from _of_check(schema, table, constraint, drop, alter, address)


def _of_foreign_key(
    schema: Schema, key: ForeignKey, drop: str, alter: str, address: str
) -> Iterator[Damage]:
    target = f"{identifier(schema.name, key.table)} {column_list(key.referenced)}"
    again = (
        f"{drop}; {alter} add constraint {identifier(key.name)} foreign key"
        f" {column_list(key.columns)} references {target}"
    )
    action = f"on delete {key.on_delete.value}"
    if key.on_delete_columns:
        action += f" {column_list(key.on_delete_columns)}"
        yield _damage("key sets all", f"{again} on delete {key.on_delete.value}", address)
    other = Action.CASCADE if key.on_delete is not Action.CASCADE else Action.RESTRICT
    yield _damage("key on delete", f"{again} on delete {other.value}", address)
    yield _damage("key on update", f"{again} {action} on update cascade", address)
    yield _damage("key deferrable", f"{again} {action} deferrable", address)
    deferred = f"{again} {action} deferrable initially deferred"
    yield _damage("key deferred", deferred, address)
    yield _damage("key not valid", f"{again} {action} not valid", address)
    yield _damage("key match full", f"{again} match full {action}", address)


def _of_check(
    schema: Schema, table: Table, check: Check, drop: str, alter: str, address: str
) -> Iterator[Damage]:
    def again(rule: Rule) -> str:
        expression = rule_sql(rule, table, schema.extension_schema("vector"))
        return f"{drop}; {alter} add constraint {identifier(check.name)} check ({expression})"

    rule = check.rule
    yield _damage("check not valid", f"{again(rule)} not valid", address)
    yield _damage("check no inherit", f"{again(rule)} no inherit", address)
    weak = f"{drop}; {alter} add constraint {identifier(check.name)} check"
    yield _damage("check empty", f"{weak} (true)", address)
    expression = rule_sql(rule, table, schema.extension_schema("vector"))
    yield _damage("check weaker", f"{weak} (({expression}) or 1 > 2)", address)
    yield _damage("check accepts null", f"{weak} (({expression}) is not false)", address)
    if isinstance(rule, OneOf | SubsetOf):
        yield _damage("value added", again(replace(rule, values=(*rule.values, "x'y\\"))), address)
        if len(rule.values) > 1:
            yield _damage("value removed", again(replace(rule, values=rule.values[1:])), address)
            yield _damage("values turned", again(replace(rule, values=rule.values[::-1])), address)


# ---- indexes and triggers ---------------------------------------------------------------------


def _of_index(schema: Schema, table: Table, index: Index) -> Iterator[Damage]:
    own, address = identifier(schema.name, index.name), f"{table.name}.{index.name}"
    name = identifier(schema.name, table.name)
    yield _damage("index dropped", f"drop index {own}", address)
    yield _damage(
        "index renamed", f"alter index {own} rename to other_name", address,
        f"{table.name}.other_name",
    )  # fmt: skip
    create = f"drop index {own}; create index {identifier(index.name)} on {name}"
    key = identifier(index.keys[0].column)
    yield _damage("index on expression", f"{create} (({key} is null))", address)
    spare = [c.name for c in table.columns if c.name not in {k.column for k in index.keys}]
    if spare:
        yield _damage("index on other column", f"{create} ({identifier(spare[0])})", address)
    if index.method is Method.BTREE and len(index.keys) == 1:
        hashed = create + " using hash"
        yield _damage("index method", f"{hashed} ({key})", address)
    for changed, kind in _changed_indexes(index):
        indexes = tuple(changed if i is index else i for i in table.indexes)
        yield _recreated(schema, table, replace(table, indexes=indexes), kind, address)
    yield _damage(
        "invalid index",
        f"update pg_index set indisvalid = false where indexrelid = {literal(own)}::regclass",
        address,
    )


def _changed_indexes(index: Index) -> Iterable[tuple[Index, str]]:
    if index.predicate is not None:
        yield replace(index, predicate=None), "index not partial"
    if index.method is Method.BTREE:
        first, *rest = index.keys
        down = replace(first, descending=not first.descending)
        yield replace(index, keys=(down, *rest)), "index direction"
        nulls = replace(first, nulls_first=not first.nulls_first)
        yield replace(index, keys=(nulls, *rest)), "index nulls"
        unique = replace(index, unique=not index.unique, nulls_distinct=True)
        yield unique, "index uniqueness"
        yield replace(index, parameters=(("fillfactor", "70"),)), "index parameter"
        if index.unique:
            yield replace(index, nulls_distinct=not index.nulls_distinct), "index nulls distinct"
        if rest:
            yield replace(index, keys=(*rest, first)), "index order"
            yield replace(index, keys=(first,)), "index shorter"
    if index.method in (Method.HNSW, Method.IVFFLAT):
        other = "vector_ip_ops" if index.keys[0].opclass != "vector_ip_ops" else "vector_l2_ops"
        key = replace(index.keys[0], opclass=other)
        yield replace(index, keys=(key,)), "index operator class"


def _of_trigger(schema: Schema, table: Table, trigger: Trigger) -> Iterator[Damage]:
    name, address = identifier(schema.name, table.name), f"{table.name}.{trigger.name}"
    own = identifier(trigger.name)
    yield _damage("trigger dropped", f"drop trigger {own} on {name}", address)
    yield _damage(
        "trigger renamed", f"alter trigger {own} on {name} rename to other_name", address,
        f"{table.name}.other_name",
    )  # fmt: skip
    for word in ("disable", "enable always", "enable replica"):
        yield _damage(f"trigger {word}", f"alter table {name} {word} trigger {own}", address)
    if trigger.deferred or not trigger.each_row:
        return  # a trigger of a rollup has no neighbours that Postgres would let it become
    events = " or ".join(event.value for event in trigger.events)
    call = f"execute function {identifier(schema.name, trigger.function)}"
    again = f"create or replace trigger {own} {trigger.timing.value}"
    row = "for each row"
    column = identifier(table.columns[0].name)
    for kind, sql in (
        ("trigger without condition", f"{again} {events} on {name} {row} {call}()"),
        ("trigger condition", f"{again} {events} on {name} {row} when (1 > 0) {call}()"),
        ("trigger events", f"{again} {events} or delete on {name} {row} {call}()"),
        ("trigger columns", f"{again} update of {column} on {name} {row} {call}()"),
        ("trigger arguments", f"{again} {events} on {name} {row} {call}('a')"),
        (
            "trigger timing",
            f"create or replace trigger {own} after {events} on {name} {row} {call}()",
        ),
        ("trigger level", f"{again} {events} on {name} for each statement {call}()"),
    ):
        yield _damage(kind, sql, address)
