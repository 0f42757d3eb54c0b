"""Every field of the model is compared, and a person can read what differs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from codered_spec.migrate.diff import Difference, diff
from codered_spec.model import schema as model
from codered_spec.model.schema import (
    Extension,
    Grant,
    Measure,
    OneOf,
    OpaqueColumn,
    OtherObject,
    Policy,
    Rollup,
    Schema,
    Table,
)
from codered_spec.model.types import Integer, Text
from tests.model_examples import wanted_schema

FULL = replace(
    wanted_schema(),
    tables=(
        *wanted_schema().tables,
        Table(
            "odd",
            (),
            policies=(Policy("p", "all", ("public",)),),
            grants=(Grant("anon", ("select",)),),
            opaque_columns=(OpaqueColumn("place", "point"),),
            opaque_constraints=(("ex", "EXCLUDE"),),
        ),
    ),
    rollups=(Rollup("r", "tasks", "odd", (("day", "day"),), (Measure("n", "count"),)),),
    others=(OtherObject("view", "seen"),),
)
NOT_COMPARED = {"value_sets", "tables[", "columns["}
"""Nothing in a database corresponds to them; a missing member of the last two is one."""


def _other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | Decimal():
            return value + 1
        case str():
            return value + "x"
        case None:
            return "something"
        case Enum():
            return next(member for member in type(value) if member is not value)
        case Text():
            return Integer()
        case tuple():
            return value[1:] if value else ("something",)
    return Text() if not isinstance(value, Text) else Integer()


def _mutants(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The tree with one field changed, once for every field of every object in it."""
    if isinstance(node, tuple):
        for i, item in enumerate(node):
            for where, changed in _mutants(item, f"{path}[{i}]"):
                yield where, (*node[:i], changed, *node[i + 1 :])
        return
    if not is_dataclass(node) or isinstance(node, type):
        return
    for field in fields(node):
        value = getattr(node, field.name)
        here = f"{path}.{type(node).__name__}.{field.name}"
        inner = list(_mutants(value, here))
        for where, changed in inner:
            yield where, replace(node, **{field.name: changed})
        plain = not (isinstance(value, tuple) and (inner or field.name in _OBJECTS))
        if plain and field.name != "value_sets":
            yield here, replace(node, **{field.name: _other(value)})


_OBJECTS = {
    "tables", "columns", "uniques", "foreign_keys", "checks", "indexes", "triggers", "policies",
    "grants", "extensions", "functions", "rollups", "others", "opaque_columns",
    "opaque_constraints",
}  # fmt: skip
MUTANTS = dict(_mutants(FULL))


@pytest.mark.parametrize("path", MUTANTS)
def test_a_changed_field_is_a_difference(path: str) -> None:
    assert diff(FULL, MUTANTS[path]) != ()


def test_every_field_of_every_class_of_the_model_is_changed() -> None:
    ours = {path.rpartition("[")[2].partition("]")[2] or path for path in MUTANTS}
    changed = {tuple(path.split(".")[-2:]) for path in ours}
    expected = {
        (cls.__name__, field.name)
        for cls in (model.Column, model.Index, model.ForeignKey, model.Check, model.Trigger,
                    model.Function, model.Unique, model.PrimaryKey, model.Policy, model.Grant,
                    model.Rollup, model.Extension, model.OtherObject, model.OpaqueColumn)
        for field in fields(cls)
        if field.name not in ("body", "rule", "type", "default", "predicate", "when", "keys",
                              "measures")
    }  # fmt: skip
    assert expected <= changed


def test_equal_models_do_not_differ() -> None:
    assert diff(FULL, FULL) == ()


def test_the_order_of_tables_and_columns_does_not_matter() -> None:
    turned = tuple(replace(t, columns=t.columns[::-1]) for t in FULL.tables[::-1])
    assert diff(FULL, replace(FULL, tables=turned)) == ()


def test_the_order_of_the_differences_does_not_depend_on_the_input() -> None:
    found = {
        diff(FULL, Schema("codered", tables=tables))
        for tables in itertools.permutations(FULL.tables[1:])
    }
    assert len(found) == 1


def test_extra_extensions_are_ignored() -> None:
    more = (*FULL.extensions, Extension("hstore", "public"))
    assert diff(FULL, replace(FULL, extensions=more)) == ()


def _tasks(**changes: Any) -> Schema:
    tables = [replace(t, **changes) if t.name == "tasks" else t for t in FULL.tables]
    return replace(FULL, tables=tuple(tables))


def _sole(have: Schema) -> Difference:
    (found,) = diff(FULL, have)
    return found


TASKS = next(t for t in FULL.tables if t.name == "tasks")


def test_a_missing_table_is_one_difference() -> None:
    have = replace(FULL, tables=tuple(t for t in FULL.tables if t.name != "tasks"))
    assert _sole(have).address == "tasks"


def test_a_rename_is_guessed() -> None:
    columns = tuple(replace(c, name="n") if c.name == "zone" else c for c in TASKS.columns)
    hints = [d.hint for d in diff(FULL, _tasks(columns=columns)) if d.what == "column"]
    assert hints == ["renamed from zone?", "renamed to n?"]


def test_a_list_of_values_says_which_ones() -> None:
    checks = tuple(
        replace(c, rule=OneOf("zone", ("green", "red", "x'y"))) if c.name == "tasks_zone_values"
        else c
        for c in TASKS.checks
    )  # fmt: skip
    assert str(_sole(_tasks(checks=checks))) == (
        "tasks.tasks_zone_values: rule is zone in ('green', 'red', 'x''y'), the spec says"
        " zone in ('green', 'yellow', 'red') (missing 'yellow'; not in the spec 'x''y')"
    )


def test_a_missing_check_is_printed_as_sql() -> None:
    found = _sole(_tasks(checks=TASKS.checks[:-1]))
    assert str(found) == (
        "check tasks.tasks_zone_values is missing: check (zone in ('green', 'yellow', 'red'))"
    )


def test_a_changed_type_is_printed_as_sql() -> None:
    columns = tuple(c for c in TASKS.columns if c.name != "payload")
    have = _tasks(columns=columns, opaque_columns=(OpaqueColumn("payload", "json"),))
    assert str(_sole(have)) == "tasks.payload: type is json, the spec says jsonb"


@pytest.mark.parametrize(
    ("kind", "code"), [("missing", "V002"), ("unexpected", "V003"), ("different", "V004")]
)
def test_a_difference_has_a_code(kind: Any, code: str) -> None:
    assert Difference(kind, "a", "table", None, None).diagnostic().code == code
