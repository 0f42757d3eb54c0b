"""A model without errors is accepted by Postgres: random valid models with one field changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy
from model_strategies import identifiers, rollup_schemas, schemas, texts, types

from codered_spec.connection import Connection
from codered_spec.emit.ddl import emit_sql
from codered_spec.model.check import check, errors
from codered_spec.model.schema import (
    Column,
    Default,
    Finite,
    Flat,
    Literal,
    MaxBytes,
    NonZero,
    Now,
    OneOf,
    RandomUuid,
    Range,
    RowChanged,
    Rule,
    Schema,
)
from codered_spec.model.types import Text

EXAMPLES = int(os.environ.get("MUTATION_EXAMPLES", "100"))
"""Raise it for a deep run: ``MUTATION_EXAMPLES=20000 pytest tests/test_model_mutations.py``."""

Path: TypeAlias = tuple[str | int, ...]

LIVE_ONLY: Final = frozenset(
    # fields that no spec can fill, or that Postgres alone can judge (the name of an extension)
    """
    OpaqueBody.source Function.arguments Function.returns Function.language Function.volatility
    Function.settings Column.generated Column.collation Table.storage Table.opaque_columns
    Table.opaque_constraints Table.policies Table.grants Table.row_security
    Table.force_row_security Index.include Index.valid Index.opaque_keys Trigger.enabled
    Trigger.opaque Schema.others Schema.extensions Extension.name
    """.split()
)


FOREIGN_SCHEMAS: Final = ("public", "extensions", "auth")
"""Schemas of the stand-in for a hosted project, which belong to somebody else."""


def places(node: object, path: Path = ()) -> Iterator[Path]:
    """The path of every field and tuple entry of a model tree that a mutation may change."""
    if path:
        yield path
    if isinstance(node, tuple):
        for position, item in enumerate(node):
            yield from places(item, (*path, position))
    elif is_dataclass(node) and not isinstance(node, type):
        for field in fields(node):
            if f"{type(node).__name__}.{field.name}" not in LIVE_ONLY and field.name != "traits":
                yield from places(getattr(node, field.name), (*path, field.name))


def at(node: object, path: Path) -> Any:
    """The part of a tree at a path."""
    for step in path:
        node = node[step] if isinstance(step, int) else getattr(node, step)  # type: ignore[index]
    return node


def changed(node: Any, path: Path, value: object) -> Any:
    """The tree with another part at a path."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    new = changed(at(node, path[:1]), rest, value)
    if isinstance(step, int):
        return (*node[:step], new, *node[step + 1 :])
    return replace(node, **{step: new})


def names(node: object) -> Iterator[str]:
    """Every text of at most 63 characters in the tree: names above all."""
    if isinstance(node, str):
        if 0 < len(node.encode()) <= 63:
            yield node
    elif isinstance(node, tuple):
        for item in node:
            yield from names(item)
    elif is_dataclass(node) and not isinstance(node, type):
        for field in fields(node):
            yield from names(getattr(node, field.name))


def other_texts(schema: Schema) -> SearchStrategy[str]:
    """Names of the same model, other names, constants and what is no name at all."""
    implied = [f"{t.name}_{c.name}_not_null" for t in schema.tables for c in t.columns]
    return (
        st.sampled_from([*sorted(set(names(schema))), *implied])
        | identifiers()
        | texts()
        | st.sampled_from(["", "0", "-1", "007", "255", "٣", "t", "xmin", "x" * 64, "public"])
    )


def other_rules(schema: Schema) -> SearchStrategy[Rule]:
    """Rules about any column of the model, whatever its type."""
    columns = st.sampled_from([c.name for t in schema.tables for c in t.columns])
    return columns.flatmap(
        lambda name: st.sampled_from(
            [
                Flat(name),
                Finite(name),
                NonZero(name),
                MaxBytes(name, 10),
                Range(name, Decimal(0)),
                OneOf(name, ("a",)),
            ]
        )
    )


DEFAULTS: Final[SearchStrategy[Default | None]] = st.sampled_from(
    [None, Now(), RandomUuid()]
) | st.sampled_from(
    ["", "0", "-1", "1.5", "true", "{}", "[]", "a", "2020-02-30", "2020-01-01", "1e5", "NaN"]
).map(Literal)


def other_values(schema: Schema, path: Path) -> SearchStrategy[object]:
    """Values that have the right Python type for the place, and may mean anything."""
    value = at(schema, path)
    match path[-1]:
        case "type":
            return types(vectors=True)
        case "default":
            return DEFAULTS
        case "rule":
            return other_rules(schema)
        case "when":
            return st.sampled_from([None, RowChanged()])
        case "comment" | "opclass" | "old_rows" | "new_rows":
            return st.none() | other_texts(schema)
        case "precision" | "scale" | "dimensions" | "length" | "limit":
            return st.integers(-1, 2**31)
        case "grid":
            return st.sampled_from([None, 0, 1, 7, 15, 1440, 2880])
        case "window" if value is not None:
            return st.none()
        case "source" if value is None:
            return other_texts(schema)
        case "minimum" | "maximum":
            return st.none() | st.decimals(allow_nan=True, allow_infinity=True)
    match value:
        case bool():
            return st.just(not value)
        case Enum():
            return st.sampled_from(list(type(value)))
        case str():
            return other_texts(schema)
        case tuple() if isinstance(path[-1], str):
            return other_tuples(schema, value, path[-1])
        case _:
            return st.nothing()


NAME_FIELDS: Final = ("known", "values", "columns", "referenced", "on_delete_columns")


def other_tuples(
    schema: Schema, value: tuple[object, ...], field: str
) -> SearchStrategy[tuple[object, ...]]:
    """The tuple without, with twice, or with entries in another order; or with another text."""
    found: list[SearchStrategy[tuple[object, ...]]] = []
    if value:
        found.append(st.integers(0, len(value) - 1).map(lambda i: value[:i] + value[i + 1 :]))
        found.append(st.integers(0, len(value) - 1).map(lambda i: (*value, value[i])))
        found.append(st.permutations(value).map(tuple))
    if field in NAME_FIELDS and not any(map(is_dataclass, value)):
        found.append(other_texts(schema).map(lambda text: (*value, text)))
    return st.one_of(found)


def accepted(connection: Connection, sql: str) -> str | None:
    """What the server says against the script; the script leaves no trace."""
    connection.execute(b"begin")
    try:
        connection.execute(sql.encode())
    except psycopg.Error as refusal:
        return str(refusal)
    finally:
        connection.execute(b"rollback")
    return None


random_changes = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # no shrinking: the note says what was changed, and a smaller model takes minutes to find
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


@pytest.fixture
def vectors(connection: Connection) -> Connection:
    """A connection to a fresh database with pgvector that finds it only by its full name."""
    connection.execute(b"create extension if not exists vector with schema extensions")
    connection.execute(b"set search_path = ''")
    return connection


@random_changes
@given(schema=schemas(), data=st.data())
def test_a_changed_model_without_errors_is_accepted(
    vectors: Connection, schema: Schema, data: DataObject
) -> None:
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(list(places(schema))))
        options = other_values(schema, path)
        assume(not options.is_empty)
        value = data.draw(options)
        schema = changed(schema, path, value)
        note(f"{'.'.join(map(str, path))} = {value!r}")
    assume(not errors(check(schema)))
    assume(schema.name not in FOREIGN_SCHEMAS)
    assert accepted(vectors, emit_sql(schema)) is None


@random_changes
@given(schema=rollup_schemas(), data=st.data())
def test_a_changed_rollup_without_errors_is_accepted(
    vectors: Connection, schema: Schema, data: DataObject
) -> None:
    path = data.draw(st.sampled_from(list(places(schema))))
    options = other_values(schema, path)
    assume(not options.is_empty)
    value = data.draw(options)
    schema = changed(schema, path, value)
    note(f"{'.'.join(map(str, path))} = {value!r}")
    assume(not errors(check(schema)))
    assume(schema.name not in FOREIGN_SCHEMAS)
    assert accepted(vectors, emit_sql(schema)) is None


@random_changes
@given(schema=schemas() | rollup_schemas(), data=st.data())
def test_no_change_of_a_model_makes_check_fail(schema: Schema, data: DataObject) -> None:
    path = data.draw(st.sampled_from(list(places(schema))))
    options = other_values(schema, path)
    assume(not options.is_empty)
    check(changed(schema, path, data.draw(options)))


def test_the_mutations_reach_every_field_of_a_column() -> None:
    column = Column("a", Text())
    assert {path[0] for path in places(column)} == {field.name for field in fields(Column)} - {
        "generated",
        "collation",
    }
