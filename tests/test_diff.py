"""Every field of the model is compared, and a person can read what differs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from model_examples import COST, DAYS, KIND, QUARTER, RUNS, rollup_schema, wanted_schema

from codered_spec.emit.rollups import expanded
from codered_spec.migrate.diff import Difference, diff
from codered_spec.model import schema as model
from codered_spec.model.schema import (
    Check,
    Extension,
    Grant,
    Measure,
    OneOf,
    OpaqueBody,
    OpaqueColumn,
    OpaqueCondition,
    OpaqueDefault,
    OpaquePredicate,
    OpaqueRule,
    OtherObject,
    Policy,
    PrimaryKey,
    Range,
    Right,
    Role,
    Rollup,
    RowScope,
    Schema,
    Table,
    Trait,
    View,
)
from codered_spec.model.types import Integer, Text

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
    views=(View("v", "select 1 as a", "one"),),
    others=(OtherObject("sequence", "seen"),),
)
OBJECTS = {
    "tables", "columns", "uniques", "foreign_keys", "checks", "indexes", "triggers", "policies",
    "grants", "extensions", "functions", "rollups", "roles", "views", "others",
    "opaque_columns", "opaque_constraints",
}  # fmt: skip
"""The fields whose members are changed one by one."""


_SPECIAL: dict[str, Any] = {
    "body": OpaqueBody("other"),
    "default": OpaqueDefault("other"),
    "maximum": Decimal(99),
    "minimum": Decimal(-99),
    "predicate": OpaquePredicate("other"),
    "primary_key": None,
    "rule": OpaqueRule("other"),
    "traits": (Trait.NOT_VALID,),
    "when": OpaqueCondition("other"),
}


def _other(name: str, value: Any) -> Any:
    """Another value that the field may have."""
    if name == "primary_key" and value is None:
        return PrimaryKey("other", ("id",))
    if name in _SPECIAL and value != _SPECIAL[name]:
        return _SPECIAL[name]
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
        objects = field.name in OBJECTS and (isinstance(node, Schema | Table))
        if not objects and field.name != "value_sets":  # value sets do not exist in a database
            yield here, replace(node, **{field.name: _other(field.name, value)})


MUTANTS = dict(_mutants(FULL))


@pytest.mark.parametrize("path", MUTANTS)
def test_a_changed_field_is_a_difference(path: str) -> None:
    assert diff(FULL, MUTANTS[path]) != ()


def _classes() -> list[type]:
    return [c for c in vars(model).values() if isinstance(c, type) and is_dataclass(c)]


ABSENT = {"Finite", "OpaqueBody", "OpaqueCondition", "OpaqueDefault", "OpaquePredicate",
          "OpaqueRule", "IsNull", "ValueSet", "Measure", "Rollup", "RollupKey",
          "Window", "Role", "RowScope", "Right"}  # fmt: skip
"""What the example does not contain; the values of these fields are compared as one.

Rollups and roles are compared as the objects that they become: see below.
"""


def test_every_field_of_every_class_of_the_model_is_changed() -> None:
    changed = {tuple(path.split(".")[-2:]) for path in MUTANTS}
    expected = {
        (cls.__name__, field.name)
        for cls in _classes()
        for field in fields(cls)
        if cls.__name__ not in ABSENT
        and (field.name not in OBJECTS or (field.name == "columns" and cls is not Table))
        and field.name != "value_sets"
    }
    assert expected - changed == set()


ROLLED = rollup_schema()
DAILY, WINDOWED = ROLLED.rollups
OTHER_ROLLUPS: dict[str, tuple[Rollup, ...]] = {
    "Rollup.name": (WINDOWED, replace(DAILY, name="costs_too")),
    "Rollup.source": (replace(DAILY, source="old_runs"), WINDOWED),
    "Rollup.keys": (replace(DAILY, keys=DAILY.keys[::-1]), WINDOWED),
    "Rollup.measures": (replace(DAILY, measures=DAILY.measures[:1]), WINDOWED),
    "Rollup.window": (DAILY, replace(WINDOWED, window=None)),
    "Rollup.on_write": (replace(DAILY, on_write=False), WINDOWED),
    "RollupKey.target": (replace(DAILY, keys=(DAYS, replace(KIND, target="other_kind"))), WINDOWED),
    "RollupKey.source": (replace(DAILY, keys=(replace(DAYS, source="ended_at"), KIND)), WINDOWED),
    "RollupKey.day": (replace(DAILY, keys=(replace(DAYS, day=False), KIND)), WINDOWED),
    "Measure.target": (replace(DAILY, measures=(COST, Measure("more"))), WINDOWED),
    "Measure.source": (replace(DAILY, measures=(Measure("cost", "price"), RUNS)), WINDOWED),
    "Window.source": (DAILY, replace(WINDOWED, window=replace(QUARTER, source="ended_at"))),
    "Window.start": (DAILY, replace(WINDOWED, window=replace(QUARTER, start="day"))),
    "Window.end": (DAILY, replace(WINDOWED, window=replace(QUARTER, end="day"))),
    "Window.grid": (DAILY, replace(WINDOWED, window=replace(QUARTER, grid=60))),
}
"""For each field of a rollup, rollups that differ in it alone; whether they are sound is open."""


@pytest.mark.parametrize("field", OTHER_ROLLUPS)
def test_another_rollup_is_a_difference(field: str) -> None:
    other = replace(ROLLED, rollups=OTHER_ROLLUPS[field])
    assert diff(ROLLED, other) != ()
    assert diff(other, ROLLED) != ()


def test_every_field_of_a_rollup_is_changed() -> None:
    classes = (model.Rollup, model.RollupKey, model.Measure, model.Window)
    names = {f"{cls.__name__}.{field.name}" for cls in classes for field in fields(cls)}
    assert set(OTHER_ROLLUPS) == names


SCOPE = RowScope("tasks", ("task",), token=True)
READ, WRITE = Right("select", "tasks", ("title",)), Right("insert", "tasks")
AGENT, BRAIN = Role("agent", SCOPE, (READ, WRITE)), Role("brain", everything=True)
WALLED = replace(wanted_schema(), roles=(AGENT, BRAIN))
OTHER_ROLES: dict[str, tuple[Role, ...]] = {
    "Role.name": (replace(AGENT, name="agents"), BRAIN),
    "Role.scope": (replace(AGENT, scope=None), BRAIN),
    "Role.rights": (replace(AGENT, rights=(READ,)), BRAIN),
    "Role.everything": (AGENT, Role("brain", rights=(WRITE,))),
    "RowScope.root": (replace(AGENT, scope=replace(SCOPE, root="projects")), BRAIN),
    "RowScope.claim": (replace(AGENT, scope=replace(SCOPE, claim=("tasks",))), BRAIN),
    "RowScope.token": (replace(AGENT, scope=replace(SCOPE, token=False)), BRAIN),
    "Right.action": (replace(AGENT, rights=(READ, replace(WRITE, action="update"))), BRAIN),
    "Right.table": (replace(AGENT, rights=(READ, replace(WRITE, table="projects"))), BRAIN),
    "Right.without": (replace(AGENT, rights=(replace(READ, without=()), WRITE)), BRAIN),
}
"""For each field of a role, roles that differ in it alone; whether they are sound is open."""


@pytest.mark.parametrize("field", OTHER_ROLES)
def test_another_role_is_a_difference(field: str) -> None:
    other = replace(WALLED, roles=OTHER_ROLES[field])
    assert diff(WALLED, other) != ()
    assert diff(other, WALLED) != ()


def test_every_field_of_a_role_is_changed() -> None:
    classes = (model.Role, model.RowScope, model.Right)
    names = {f"{cls.__name__}.{field.name}" for cls in classes for field in fields(cls)}
    assert set(OTHER_ROLES) == names


def test_the_order_of_roles_does_not_matter() -> None:
    assert diff(WALLED, replace(WALLED, roles=WALLED.roles[::-1])) == ()


def test_the_order_of_rollups_does_not_matter() -> None:
    assert diff(ROLLED, replace(ROLLED, rollups=ROLLED.rollups[::-1])) == ()


def test_a_rollup_is_what_keeps_it() -> None:
    assert diff(ROLLED, expanded(ROLLED)) == ()


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


def test_every_digit_of_a_bound_counts() -> None:
    first, second = (
        _tasks(checks=(Check("c", Range("cost", Decimal("1" * 29 + digit))),)) for digit in "12"
    )
    assert diff(first, second) != ()


def test_zeros_at_the_end_of_a_bound_do_not_count() -> None:
    first, second = (
        _tasks(checks=(Check("c", Range("cost", Decimal(text))),)) for text in ("1E+2", "100.00")
    )
    assert diff(first, second) == ()


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
