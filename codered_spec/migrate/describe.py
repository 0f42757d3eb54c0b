"""Model values in words: what a person reads in a difference."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, get_args

from codered_spec.emit.expressions import body_source, default_sql, predicate_sql, rule_sql
from codered_spec.model.schema import (
    Check,
    Column,
    Default,
    Extension,
    ForeignKey,
    Function,
    FunctionBody,
    Grant,
    Index,
    IndexKey,
    Measure,
    OpaqueColumn,
    OpaqueCondition,
    OtherObject,
    Policy,
    Predicate,
    PrimaryKey,
    Role,
    Rollup,
    RowChanged,
    Rule,
    Schema,
    Table,
    Trigger,
    Unique,
    View,
    rule_columns,
)
from codered_spec.model.types import PgType
from codered_spec.sql import columns, identifier, literal

OpaqueConstraint: TypeAlias = tuple[str, str]
SchemaObject: TypeAlias = (
    Table
    | Column
    | OpaqueColumn
    | PrimaryKey
    | Unique
    | ForeignKey
    | Check
    | Index
    | Trigger
    | Policy
    | Grant
    | Extension
    | Function
    | Rollup
    | Role
    | View
    | OtherObject
    | OpaqueConstraint
)
"""What a difference can call missing or unexpected."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a value belongs to: expressions are spelled by the types of their columns."""

    schema: Schema
    table: Table | None = None
    column: Column | None = None

    @property
    def vector_schema(self) -> str | None:
        """The schema of pgvector on this side of the comparison."""
        return self.schema.extension_schema("vector")


def value_text(value: object, scope: Scope) -> str | None:
    """The value of a field; None for nothing at all."""
    if value is None or value == ():
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, get_args(Rule)):
        return _rule(value, scope)
    if isinstance(value, get_args(Default)) and scope.column:
        return default_sql(value, scope.column)
    if isinstance(value, get_args(Predicate)):
        return predicate_sql(value)
    if isinstance(value, get_args(FunctionBody)):
        return body_source(value)
    if isinstance(value, get_args(PgType)):
        return str(value)
    if isinstance(value, RowChanged):
        return "old.* is distinct from new.*"
    if isinstance(value, OpaqueCondition):
        return value.expression
    if isinstance(value, IndexKey):
        return _key(value)
    if isinstance(value, Measure):
        return f"{value.target} = {f'sum({value.source})' if value.source else 'count(*)'}"
    if isinstance(value, tuple):
        return ", ".join(value_text(item, scope) or "none" for item in value)
    return str(value)


def object_text(found: SchemaObject, scope: Scope) -> str:
    """The definition of an object without its name."""
    match found:
        case Table():
            opaque = tuple(c.name for c in found.opaque_columns)
            return columns((*(c.name for c in found.columns), *opaque))
        case Column():
            return _column(found)
        case OpaqueColumn(_, type_):
            return type_
        case PrimaryKey():
            return _with("primary key " + columns(found.columns), found.traits, scope)
        case Unique():
            nulls = "" if found.nulls_distinct else "nulls not distinct "
            return _with(f"unique {nulls}{columns(found.columns)}", found.traits, scope)
        case ForeignKey():
            return _with(_foreign_key(found), found.traits, scope)
        case Check():
            return _with(f"check ({_rule(found.rule, scope)})", found.traits, scope)
        case Index():
            return _index(found)
        case Trigger():
            return found.opaque or _trigger(found, scope)
        case Policy():
            return f"for {found.command} to {', '.join(found.roles)}"
        case Grant():
            return f"{', '.join(found.privileges)} to {found.role}"
        case Extension(_, schema):
            return f"in schema {identifier(schema)}"
        case Function():
            return f"returns {found.returns} language {found.language}"
        case Rollup():
            return f"from {found.source}"
        case Role():
            return "everything" if found.everything else "role"
        case View():
            return "view"
        case OtherObject(kind, _):
            return kind
        case (_, definition):
            return definition


def _rule(rule: Rule, scope: Scope) -> str:
    table = scope.table
    if table is None or any(table.column(name) is None for name in rule_columns(rule)):
        return str(rule)
    return rule_sql(rule, table, scope.vector_schema)


def _with(text: str, more: tuple[object, ...], scope: Scope) -> str:
    return " ".join([text, *(value_text(item, scope) or "" for item in more)])


def _column(column: Column) -> str:
    text = str(column.type) + ("" if column.nullable else " not null")
    if column.default is not None:
        text += f" default {default_sql(column.default, column)}"
    return text


def _foreign_key(key: ForeignKey) -> str:
    text = (
        f"foreign key {columns(key.columns)} references {identifier(key.table)} "
        f"{columns(key.referenced)} on delete {key.on_delete.value}"
    )
    if key.on_delete_columns:
        text += f" {columns(key.on_delete_columns)}"
    return f"{text} on update {key.on_update.value}"


def _index(index: Index) -> str:
    unique = "unique " if index.unique else ""
    keys = ", ".join([*map(_key, index.keys), *index.opaque_keys])
    text = f"{unique}{index.method.value} ({keys})"
    if index.include:
        text += f" include {columns(index.include)}"
    if index.parameters:
        text += f" with ({', '.join(f'{k} = {literal(v)}' for k, v in index.parameters)})"
    if index.predicate is not None:
        text += f" where {predicate_sql(index.predicate)}"
    return text


def _key(key: IndexKey) -> str:
    text = identifier(key.column) + (f" {key.opclass}" if key.opclass else "")
    if key.descending:
        text += " desc"
    if key.nulls_first != key.descending:
        text += " nulls first" if key.nulls_first else " nulls last"
    return text


def _trigger(trigger: Trigger, scope: Scope) -> str:
    events = " or ".join(event.value for event in trigger.events)
    when = f" when ({value_text(trigger.when, scope)})" if trigger.when else ""
    each = "row" if trigger.each_row else "statement"
    return (
        f"{trigger.timing.value} {events} for each {each}{when}"
        f" execute function {identifier(trigger.function)}()"
    )
