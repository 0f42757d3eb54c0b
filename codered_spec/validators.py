"""Validators of CodeRed's rows: will the database accept this row, and if not, why.

``validate`` and ``problems`` agree with Postgres; the standard library is all they need.
"""

from codered_spec.generated.validators import TABLES
from codered_spec.validation import InvalidRow, JsonText, Problem
from codered_spec.validation import json_schema as _json_schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from codered_spec.validation import Validator

__all__ = ["InvalidRow", "JsonText", "Problem", "json_schema", "problems", "validate"]


def _table(name: str) -> "Validator":
    try:
        return TABLES[name]
    except KeyError:
        import difflib

        close = difflib.get_close_matches(str(name), TABLES, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise LookupError(f"there is no table {name}{hint}") from None


def validate(table: str, row: "Mapping[str, Any]", *, for_update: bool = False) -> "dict[str, Any]":
    """The row as the database would store it, in types that psycopg takes.

    ``for_update`` takes the columns of a change: none is required. Raises InvalidRow with every
    problem, and LookupError for an unknown table.
    """
    return _table(table).validate(row, for_update=for_update)


def problems(table: str, row: "Mapping[str, Any]", *, for_update: bool = False) -> list[Problem]:
    """Every reason why the database would refuse the row; empty when it would accept it."""
    return _table(table).problems(row, for_update=for_update)


def json_schema(table: str, *, strict: bool = False) -> "dict[str, Any]":
    """The JSON Schema of a row to insert; ``strict`` for tool-calling interfaces."""
    return _json_schema(_table(table).columns, table, strict=strict)
