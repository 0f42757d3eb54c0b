"""Mutants that no test can tell from the schema, excluded by rules, each with its reason.

A rule looks at the schema and at what was changed, never at a name. The score fails if a mutant
that a rule excludes is noticed after all: then the rule is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from codered_spec.contract.mutation.operators import Mutant
from codered_spec.model.schema import (
    Action,
    Finite,
    Flat,
    ForeignKey,
    Matches,
    MaxBytes,
    Ordered,
    Range,
    Schema,
    SubsetOf,
    Table,
)
from codered_spec.model.types import Numeric


@dataclass(frozen=True, slots=True)
class Equivalence:
    """A rule: which mutants behave like the schema, and why."""

    name: str
    reason: str
    holds: Callable[[Schema, Mutant], bool]


def equivalence(schema: Schema, mutant: Mutant) -> Equivalence | None:
    """The rule by which a mutant behaves like the schema, or None."""
    return next((rule for rule in EQUIVALENCES if rule.holds(schema, mutant)), None)


def _table(schema: Schema, mutant: Mutant) -> Table:
    table = schema.table(mutant.table)
    assert table is not None
    return table


def _plain_index(_schema: Schema, mutant: Mutant) -> bool:
    return mutant.operator in (
        "index removed",
        "index column changed",
        "index order changed",
        "index method changed",
        "index operator class changed",
        "index shortened",
    )


def _implied_link(schema: Schema, mutant: Mutant) -> bool:
    table = _table(schema, mutant)
    key = next((k for k in table.foreign_keys if k.name == mutant.target), None)
    removable = ("foreign key removed", "ON DELETE changed", "ON UPDATE changed")
    return (
        key is not None
        and mutant.operator in removable
        and any(_leads_to(schema, table, other, key) for other in table.foreign_keys)
    )


def _leads_to(schema: Schema, table: Table, way: ForeignKey, key: ForeignKey) -> bool:
    """Whether the row that ``way`` points to must itself point to where ``key`` does."""
    required = {column.name for column in table.columns if not column.nullable}
    if way == key or not set(key.columns) < set(way.columns) <= required:
        return False
    parent = schema.table(way.table)
    assert parent is not None
    renamed = dict(zip(way.columns, way.referenced, strict=True))
    through = tuple(renamed[column] for column in key.columns)
    fixed = (Action.RESTRICT, Action.NO_ACTION)
    return any(
        (other.columns, other.table, other.referenced) == (through, key.table, key.referenced)
        and other.on_delete in fixed
        and other.on_update in fixed
        for other in parent.foreign_keys
    )


def _no_infinity(schema: Schema, mutant: Mutant) -> bool:
    table = _table(schema, mutant)
    check = next((c for c in table.checks if c.name == mutant.target), None)
    if check is None or not isinstance(check.rule, Range):
        return False
    column = table.column(check.rule.column)
    return (
        column is not None
        and isinstance(column.type, Numeric)
        and column.type.precision is not None
        and mutant.detail in ("< 'Infinity' to <=", "> '-Infinity' to >=")
    )


def _null_refused_before(schema: Schema, mutant: Mutant) -> bool:
    table = _table(schema, mutant)
    check = next((c for c in table.checks if c.name == mutant.target), None)
    if check is None or not isinstance(check.rule, SubsetOf):
        return False
    return mutant.operator == "null elements ignored" and any(
        isinstance(other.rule, Flat)
        and other.rule.column == check.rule.column
        and other.name < check.name
        for other in table.checks
    )


def _ascii_before(schema: Schema, mutant: Mutant) -> bool:
    table = _table(schema, mutant)
    check = next((c for c in table.checks if c.name == mutant.target), None)
    if check is None or not isinstance(check.rule, MaxBytes):
        return False
    return mutant.operator == "bytes as characters" and any(
        isinstance(other.rule, Matches)
        and other.rule.column == check.rule.column
        and other.name < check.name
        and re.fullmatch(r"\^(\[[\w-]+\][*+?]?)+\$", other.rule.pattern, re.ASCII) is not None
        for other in table.checks
    )


def _out_of_order_before(schema: Schema, mutant: Mutant) -> bool:
    table = _table(schema, mutant)
    check = next((c for c in table.checks if c.name == mutant.target), None)
    if mutant.operator != "clause removed" or check is None or not isinstance(check.rule, Finite):
        return False
    for other in table.checks:
        rule = other.rule
        if not isinstance(rule, Ordered) or other.name > check.name:
            continue
        side, partner = (
            ("infinity", rule.upper)
            if check.rule.column == rule.lower
            else ("-infinity", rule.lower)
        )
        column = table.column(partner)
        assert column is not None
        bounded = any(isinstance(c.rule, Finite) and c.rule.column == partner for c in table.checks)
        speaks = check.rule.column in (rule.lower, rule.upper)
        if speaks and bounded and not column.nullable and mutant.detail == side:
            return True
    return False


def _required_by_rollup(schema: Schema, mutant: Mutant) -> bool:
    return mutant.operator == "NOT NULL removed" and any(
        rollup.kept and rollup.source == mutant.table and key.source == mutant.target
        for rollup in schema.rollups
        for key in rollup.keys
        if not key.day
    )


EQUIVALENCES: Final = (
    Equivalence(
        "required by a rollup",
        "The column is a key of a rollup that every write keeps: the deltas refuse NULL with the"
        " same SQLSTATE and column.",
        _required_by_rollup,
    ),
    Equivalence(
        "plain index",
        "An index that is not unique changes how fast an answer comes, and not which.",
        _plain_index,
    ),
    Equivalence(
        "implied link",
        "Another foreign key of required columns, these among them, leads to a row that must point"
        " to the same parent itself, and holds it.",
        _implied_link,
    ),
    Equivalence(
        "no infinity",
        "A numeric with a precision cannot hold an infinity, and NaN is above it: < and <= refuse"
        " the same.",
        _no_infinity,
    ),
    Equivalence(
        "refused before",
        "Another check of the column refuses NULL elements, and Postgres evaluates checks in the"
        " order of their names.",
        _null_refused_before,
    ),
    Equivalence(
        "ASCII before",
        "Another check of the column lets nothing but ASCII through, where bytes and characters"
        " are as many, and Postgres evaluates checks in the order of their names.",
        _ascii_before,
    ),
    Equivalence(
        "out of order before",
        "The column must stand in order with a required, finite one: an infinity on that side is"
        " out of order, and the check of the order comes first by name.",
        _out_of_order_before,
    ),
)
