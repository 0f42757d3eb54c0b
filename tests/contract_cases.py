"""The documented places of a stricter validator, and what must be stored."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from codered_spec.contract.rules import FLOAT32_MAX, Row
from codered_spec.contract.stored import kept
from codered_spec.contract.verdicts import Verdict
from codered_spec.model.schema import Literal, Now, RandomUuid, Table
from codered_spec.model.types import (
    Array,
    BigInt,
    Boolean,
    Date,
    DoublePrecision,
    Integer,
    Jsonb,
    Numeric,
    PgType,
    Real,
    SmallInt,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)
from codered_spec.validation import JsonText
from codered_spec.validators import validate

_KINDS: Final[dict[type, tuple[type, ...]]] = {
    Uuid: (uuid.UUID, str),
    Text: (str,),
    Varchar: (str,),
    Boolean: (bool,),
    SmallInt: (int,),
    Integer: (int,),
    BigInt: (int,),
    Numeric: (int, float, Decimal, str),
    Real: (int, float),
    DoublePrecision: (int, float),
    Date: (date, str),
    Timestamptz: (datetime, str),
    Array: (list,),
    Vector: (list,),
}
_SPELLED: Final = {
    Uuid: r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    Numeric: r"-?[0-9]+(\.[0-9]+)?",
    Date: r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    Timestamptz: r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-](0\d|1[0-5]):[0-5]\d)",
}


def wrong_kind(type_: PgType, value: Any) -> bool:
    """Another Python type than the column's: its text might be readable, but hardly meant."""
    return type(type_) in _KINDS and type(value) not in _KINDS[type(type_)]


def wrong_elements(type_: PgType, value: Any) -> bool:
    """The same for an element of a list, a nested or a NULL element."""
    if not isinstance(type_, (Array, Vector)) or type(value) is not list:
        return False
    if isinstance(type_, Vector):
        return any(type(item) not in (int, float) for item in value)
    return any(wrong_kind(type_.element, i) or other_spelling(type_.element, i) for i in value)


def other_spelling(type_: PgType, value: Any) -> bool:
    """A text form that only some transports, versions or settings read alike."""
    pattern = _SPELLED.get(type(type_))
    return (
        pattern is not None
        and type(value) is str
        and re.fullmatch(pattern, value, re.ASCII) is None
    )


def no_time_zone(type_: PgType, value: Any) -> bool:
    """An instant that would depend on the session."""
    return isinstance(type_, Timestamptz) and type(value) is datetime and value.tzinfo is None


def outside_the_calendar(type_: PgType, value: Any) -> bool:
    """An instant within a day of the ends of Python's calendar, or 24:00 and a second 60."""
    if not isinstance(type_, Timestamptz):
        return False
    text = value.isoformat() if type(value) is datetime else str(value)
    return text[:10] in ("0001-01-01", "9999-12-31") or "T24:" in text or ":60" in text


def too_many_digits(type_: PgType, value: Any) -> bool:
    """A float of more than 15 digits for a numeric, or a number of absurd size."""
    if not isinstance(type_, Numeric):
        return False
    if type(value) is float:
        return len(repr(value).partition("e")[0].replace(".", "").strip("-0")) > 15
    return type(value) in (int, Decimal) and not (abs(Decimal(value).adjusted()) < 400)


def vanishing(type_: PgType, value: Any) -> bool:
    """A vector with numbers so small that single precision loses digits of them."""
    return (
        isinstance(type_, Vector)
        and type(value) is list
        and any(isinstance(item, float) and 0 < abs(item) < 2**-126 for item in value)
    )


def beyond_single_precision(type_: PgType, value: Any) -> bool:
    """A vector with a number above the largest single that rounding would bring down to it."""
    return (
        isinstance(type_, Vector)
        and type(value) is list
        and any(isinstance(item, float) and abs(item) > FLOAT32_MAX for item in value)
    )


def not_plain_json(type_: PgType, value: Any) -> bool:
    """JSON that Python writes otherwise than it was given: keys that are no text, tuples."""
    if not isinstance(type_, Jsonb):
        return False
    try:
        return bool(json.loads(json.dumps(value)) != value) or type(value) is JsonText
    except (TypeError, ValueError):
        return True


def huge_json_number(type_: PgType, value: Any) -> bool:
    """A whole number of more than 400 digits in JSON."""
    return isinstance(type_, Jsonb) and re.search("[0-9]{401}", repr(value)) is not None


STRICTER: Final[tuple[Callable[[PgType, Any], bool], ...]] = (
    wrong_kind,
    wrong_elements,
    other_spelling,
    no_time_zone,
    outside_the_calendar,
    too_many_digits,
    vanishing,
    beyond_single_precision,
    not_plain_json,
    huge_json_number,
)
"""Every place where the validator refuses what a cast of the text would take. Nothing else may."""


# ---- what was stored ----


def stored_differences(table: Table, row: Row, verdict: Verdict) -> list[str]:
    """Columns that Postgres stored otherwise than the validator or the default says."""
    assert verdict.stored is not None
    stored = json.loads(verdict.stored, parse_float=Decimal)
    normal = validate(table.name, row)
    assert normal.keys() == row.keys()
    assert stored.keys() == {column.name for column in table.columns}
    found = []
    for column in table.columns:
        value = stored[column.name]
        if column.name in normal:
            if not kept(column.type, normal[column.name], value):
                found.append(f"{column.name}: {normal[column.name]!r} is stored as {value!r}")
        elif not default_fits(column.default, value):
            found.append(f"{column.name}: the default gave {value!r}")
    return found


def default_fits(default: object, value: Any) -> bool:
    """Whether the stored value is what the default gives."""
    match default:
        case None:
            return value is None
        case Now():
            return abs(datetime.now(UTC) - datetime.fromisoformat(value)) < timedelta(hours=1)
        case RandomUuid():
            return uuid.UUID(value).version == 4
        case Literal(text):
            return bool(value == ([] if text == "{}" else json.loads(text)))
        case _:
            return False
