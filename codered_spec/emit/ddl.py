"""The DDL emitter: a whole schema for an empty database, as one migration file or on stdout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import assert_never

from codered_spec.emit.access import first_rows_sql, roles_sql, table_rights_sql, with_access
from codered_spec.emit.expressions import (
    body_source,
    default_sql,
    predicate_sql,
    rule_sql,
    sql_type,
)
from codered_spec.emit.file import GENERATED, File
from codered_spec.emit.rollups import expanded
from codered_spec.emit.views import view_sql
from codered_spec.errors import Diagnostic, InputError
from codered_spec.model.graph import creation_order
from codered_spec.model.normalize import fingerprint
from codered_spec.model.schema import (
    Action,
    Check,
    Column,
    ForeignKey,
    Function,
    Index,
    IndexKey,
    Method,
    PrimaryKey,
    RowChanged,
    Schema,
    Table,
    Timing,
    Trigger,
    Unique,
)
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier, literal

FINGERPRINT_LINE = "-- schema fingerprint: "
"""Prefix of the header line by which a migration says which spec it leads to."""

_VECTOR_OPCLASSES = ("vector_cosine_ops", "vector_l2_ops", "vector_ip_ops", "vector_l1_ops")


def emit_migration(schema: Schema, path: str) -> tuple[File, ...]:
    """The first migration of a project: everything that the schema needs, in one file."""
    return (File(path, emit_sql(schema)),)


def emit_sql(schema: Schema) -> str:
    """The whole schema as SQL for an empty database.

    The text has no transaction control: whoever runs it wraps it in one transaction. Raises
    InputError (M021) for an object kind that this emitter does not handle yet.
    """
    header = _header(schema)
    schema = with_access(schema, expanded(schema))
    _refuse_unhandled(schema)
    blocks = [header, _settings(), *_prologue(schema)]
    tables, late = creation_order(schema)
    vector_schema = schema.extension_schema("vector")
    for table in tables:
        own = _keys_to_own_indexes(table)
        postponed = {fk.name for owner, fk in late if owner == table.name} | {fk.name for fk in own}
        blocks.append(_create_table(schema, table, postponed, vector_schema))
        blocks.extend(index_sql(schema, table, index) for index in table.indexes)
        blocks.extend(_add_foreign_key(schema, table, fk) for fk in own)
        blocks.extend(trigger_sql(schema, table, trigger) for trigger in table.triggers)
        comments = "\n".join(_comments(schema, table))
        if comments:
            blocks.append(comments)
        blocks.extend(table_rights_sql(schema, table))
    named = {table.name: table for table in tables}
    blocks.extend(_add_foreign_key(schema, named[owner], key) for owner, key in late)
    blocks.extend(view_sql(schema, view) for view in schema.views)
    blocks.extend(first_rows_sql(schema))
    return "\n\n".join(blocks) + "\n"


def _keys_to_own_indexes(table: Table) -> tuple[ForeignKey, ...]:
    """Foreign keys to the table itself that rest on a unique index, which comes after the table."""
    constrained = [sorted(key.columns) for key in table.keys]
    return tuple(
        fk
        for fk in table.foreign_keys
        if fk.table == table.name and sorted(fk.referenced) not in constrained
    )


def _add_foreign_key(schema: Schema, table: Table, key: ForeignKey) -> str:
    constraint = constraint_sql(schema, table, key)
    return f"alter table {identifier(schema.name, table.name)}\n  add {constraint};"


def _refuse_unhandled(schema: Schema) -> None:
    found: list[str] = []
    found += [f"{o.kind} {o.name}" for o in schema.others]
    for table in schema.tables:
        if table.force_row_security:
            found.append(f"forced row-level security of {table.name}")
        found += [f"column {table.name}.{c.name} {c.type}" for c in table.opaque_columns]
        found += [f"constraint {name} of {table.name}" for name, _ in table.opaque_constraints]
        if table.storage not in (None, "unlogged"):
            found.append(f"storage {table.storage} of {table.name}")
        for column in table.columns:
            if column.generated is not None or column.collation is not None:
                found.append(f"generated or collated column {table.name}.{column.name}")
        for index in table.indexes:
            if index.opaque_keys or index.include or not index.valid:
                found.append(f"index {index.name}")
        for trigger in table.triggers:
            if trigger.opaque is not None or not trigger.enabled:
                found.append(f"trigger {trigger.name} of {table.name}")
        for constraint in table.constraints:
            if constraint.traits:
                found.append(f"constraint {constraint.name} of {table.name}")
    if found:
        raise InputError(
            *(
                Diagnostic("M021", f"cannot emit {what}", "leave it out of the spec")
                for what in found
            )
        )


def _header(schema: Schema) -> str:
    title = schema.comment or schema.name
    return f"-- {GENERATED}\n-- {' '.join(title.split())}\n{FINGERPRINT_LINE}{fingerprint(schema)}"


def _settings() -> str:
    return (
        "set local lock_timeout = '10s';\n"
        "set local statement_timeout = '5min';\n"
        "set local client_min_messages = warning;"
    )


def _prologue(schema: Schema) -> Iterator[str]:
    for extension in schema.extensions:
        yield (
            f"create schema if not exists {identifier(extension.schema)};\n"
            f"create extension if not exists {identifier(extension.name)}"
            f" with schema {identifier(extension.schema)};"
        )
    exists = schema.name in ("public", *(e.schema for e in schema.extensions))
    block = f"create schema {'if not exists ' * exists}{identifier(schema.name)};"
    if schema.comment:
        block += f"\ncomment on schema {identifier(schema.name)} is {literal(schema.comment)};"
    yield block
    yield from roles_sql(schema)
    for function in schema.functions:
        yield function_sql(schema, function)


def function_sql(schema: Schema, function: Function) -> str:
    """``create function …;`` with its rights and comment."""
    name = f"{identifier(schema.name, function.name)}({function.arguments})"
    source = body_source(function.body)
    quote = "$$"
    while quote in source:
        quote = "$" + "q" * (len(quote) - 1) + "$"
    lines = [
        f"create function {name}",
        f"  returns {function.returns}",
        f"  language {identifier(function.language)}",
        f"  {function.volatility}",
    ]
    if function.security_definer:
        lines.append("  security definer")
    lines += [f"  set {key} = {_setting(value)}" for key, value in function.settings]
    text = "\n".join(lines) + f"\nas {quote}{source}{quote};"
    signature = re.sub(" DEFAULT [^,)]*", "", name)
    if not function.public_execute:
        text += f"\nrevoke all on function {signature} from public;"
    if function.execute:
        listed = ", ".join(map(identifier, function.execute))
        text += f"\ngrant execute on function {signature} to {listed};"
    if function.comment:
        text += f"\ncomment on function {signature} is {literal(function.comment)};"
    return text


def _setting(value: str) -> str:
    return "''" if value == '""' else literal(value)


def _create_table(
    schema: Schema, table: Table, postponed: set[str], vector_schema: str | None
) -> str:
    lines = [_column(column, vector_schema) for column in table.columns]
    lines += [
        constraint_sql(schema, table, constraint)
        for constraint in table.constraints
        if constraint.name not in postponed
    ]
    body = ",\n".join(f"  {line}" for line in lines)
    kind = "unlogged table" if table.storage == "unlogged" else "table"
    return f"create {kind} {identifier(schema.name, table.name)} (\n{body}\n);"


def _column(column: Column, vector_schema: str | None) -> str:
    text = f"{identifier(column.name)} {sql_type(column.type, vector_schema)}"
    if not column.nullable:
        text += " not null"
    if column.default is not None:
        text += f" default {default_sql(column.default, column)}"
    return text


def constraint_sql(
    schema: Schema, table: Table, constraint: PrimaryKey | Unique | ForeignKey | Check
) -> str:
    """``constraint name …``, as in CREATE TABLE and after ALTER TABLE … ADD."""
    match constraint:
        case PrimaryKey(name, columns):
            definition = f"primary key {column_list(columns)}"
        case Unique(name, columns, nulls_distinct):
            nulls = "" if nulls_distinct else "nulls not distinct "
            definition = f"unique {nulls}{column_list(columns)}"
        case ForeignKey(name):
            definition = _foreign_key(schema, constraint)
        case Check(name, rule):
            definition = f"check ({rule_sql(rule, table, schema.extension_schema('vector'))})"
        case _:
            assert_never(constraint)
    return f"constraint {identifier(name)} {definition}"


def _foreign_key(schema: Schema, key: ForeignKey) -> str:
    text = (
        f"foreign key {column_list(key.columns)}"
        f" references {identifier(schema.name, key.table)} {column_list(key.referenced)}"
    )
    if key.on_delete is not Action.NO_ACTION:
        text += f" on delete {key.on_delete.value}"
        if key.on_delete_columns:
            text += f" {column_list(key.on_delete_columns)}"
    if key.on_update is not Action.NO_ACTION:
        text += f" on update {key.on_update.value}"
    return text


def index_sql(schema: Schema, table: Table, index: Index) -> str:
    """``create index …;``."""
    vector_schema = schema.extension_schema("vector")
    unique = "unique " if index.unique else ""
    method = "" if index.method is Method.BTREE else f" using {index.method.value}"
    keys = ", ".join(_index_key(key, vector_schema) for key in index.keys)
    text = (
        f"create {unique}index {identifier(index.name)}"
        f" on {identifier(schema.name, table.name)}{method} ({keys})"
    )
    if not index.nulls_distinct:
        text += " nulls not distinct"
    if index.parameters:
        pairs = ", ".join(f"{name} = {literal(value)}" for name, value in index.parameters)
        text += f" with ({pairs})"
    if index.predicate is not None:
        text += f" where {predicate_sql(index.predicate)}"
    return text + ";"


def _index_key(key: IndexKey, vector_schema: str | None) -> str:
    text = identifier(key.column)
    if key.opclass is not None:
        qualified = key.opclass in _VECTOR_OPCLASSES and vector_schema is not None
        text += " " + (
            identifier(vector_schema, key.opclass)
            if qualified and vector_schema is not None
            else identifier(key.opclass)
        )
    if key.descending:
        text += " desc"
    if key.nulls_first != key.descending:
        text += " nulls first" if key.nulls_first else " nulls last"
    return text


def trigger_sql(schema: Schema, table: Table, trigger: Trigger) -> str:
    """``create trigger …;``."""
    events = " or ".join(
        f"update of {', '.join(map(identifier, trigger.columns))}"
        if event.value == "update" and trigger.columns
        else event.value
        for event in trigger.events
    )
    when = ""
    if isinstance(trigger.when, RowChanged):
        when = "\n  when (old.* is distinct from new.*)"
    elif trigger.when is not None:
        when = f"\n  when ({trigger.when.expression})"
    assert trigger.timing is not Timing.INSTEAD_OF
    rows = [("old", trigger.old_rows), ("new", trigger.new_rows)]
    named = "".join(f" {word} table as {identifier(name)}" for word, name in rows if name)
    return (
        f"create {'constraint ' * trigger.deferred}trigger {identifier(trigger.name)}\n"
        f"  {trigger.timing.value} {events} on {identifier(schema.name, table.name)}\n"
        f"{f'  referencing{named}' + chr(10) if named else ''}"
        f"{'  deferrable initially deferred' + chr(10) if trigger.deferred else ''}"
        f"  for each {'row' if trigger.each_row else 'statement'}{when}\n"
        f"  execute function {identifier(schema.name, trigger.function)}();"
    )


def _comments(schema: Schema, table: Table) -> Iterator[str]:
    if table.comment:
        yield (
            f"comment on table {identifier(schema.name, table.name)} is {literal(table.comment)};"
        )
    for column in table.columns:
        text = column_comment(column)
        if text:
            where = identifier(schema.name, table.name, column.name)
            yield f"comment on column {where} is {literal(text)};"


def column_comment(column: Column) -> str | None:
    """The comment of a column in the database: its prose, then the known values as JSON.

    The database thus carries the whole column: reading it back gives both parts again.
    """
    if not column.known:
        return column.comment
    import json

    known = "Known values: " + json.dumps(list(column.known), ensure_ascii=False)
    return f"{column.comment}\n{known}" if column.comment else known
