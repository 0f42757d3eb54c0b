"""Names and words that the two directions of the spec vocabulary share.

A fact about one column is written at the column (``min: 0``, ``references: tasks.id``); the name of
the constraint follows from the conventions here. Whatever does not follow them is written under
``primary_key``, ``uniques``, ``foreign_keys`` or ``checks`` of the table, with its name.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from codered_spec.model.schema import (
    Finite,
    Flat,
    Matches,
    MaxBytes,
    NonZero,
    OneOf,
    OpaqueRule,
    Ordered,
    Range,
    Rule,
    SubsetOf,
)

Record: TypeAlias = dict[str, Any]
"""A mapping of plain spec data."""

COLUMN_KEYS: Final = (
    "type primary_key unique references within on_delete on_update nullable default touch one_of"
    " subset_of known format min max finite flat max_bytes nonzero note"
).split()
"""Facts of a column in canonical order."""

_SUFFIX: Final[dict[type, str]] = {
    OneOf: "values",
    SubsetOf: "values",
    Matches: "format",
    Range: "range",
    Finite: "finite",
    Flat: "flat",
    MaxBytes: "size",
    NonZero: "nonzero",
}


FACT_SUFFIXES: Final = {
    "one_of": "values",
    "subset_of": "values",
    "format": "format",
    "min": "range",
    "max": "range",
    "finite": "finite",
    "flat": "flat",
    "max_bytes": "size",
    "nonzero": "nonzero",
}
"""Fact of a column to the last part of the name of its check."""


def conventional_check_name(table: str, rule: Rule) -> str | None:
    """The name of a check that is written at its column; None for a rule that cannot be."""
    if isinstance(rule, (Ordered, OpaqueRule)):
        return None
    return f"{table}_{rule.column}_{_SUFFIX[type(rule)]}"


def key_name(table: str) -> str:
    """The name of a primary key."""
    return f"{table}_pkey"


def unique_name(table: str, column: str) -> str:
    """The name of the unique constraint of one column."""
    return f"{table}_{column}_key"


def foreign_key_name(table: str, column: str) -> str:
    """The name of the foreign key that starts with the column."""
    return f"{table}_{column}_fkey"


def touch_names(table: str, column: str) -> tuple[str, str]:
    """The names of the trigger that keeps an ``updated_at`` column, and of its function."""
    return f"{table}_set_{column}", f"set_{column}"
