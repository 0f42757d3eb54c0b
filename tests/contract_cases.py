"""Values of every kind, for every column, and the documented places of a stricter validator."""

from __future__ import annotations

import json
import re
import uuid
from array import array
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

from codered_spec.contract.rules import FLOAT32_MAX, Row
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


class Strange:
    """An object that no transport knows."""


NASTY: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2**15, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 10**400),
    *(0.0, -0.0, 0.1, 1.5, 2.5, 1e22, 1e300, 5e-324, 0.1 + 0.2, float("nan"), float("inf")),
    *map(Decimal, ("0", "-0", "-0.004", "-0.005", "1.005", "1E5", "1E-30", "NaN", "-Infinity")),
    *map(Decimal, ("99999999.994999", "99999999.995", "999999.9999995", "1E2000", "1E-2000")),
    *("", " ", "a", "5", " 5 ", "+7", "1e5", "5.0", "0x10", "1_000", "٣", "NaN", "Infinity"),
    *("true", "t", "yes", "on", "off", "null", "NULL", "{}", "[]", "{a}", "{a,NULL}", "{{a}}"),
    *("[5:5]={a}", "[1,2,3]", "now", "today", "epoch", "infinity", "2020-01-01", "01/02/2020"),
    *("2020-01-01T00:00:00", "2020-01-01T00:00:00Z", "2020-01-01T24:00:00Z", "2020-02-30"),
    *("2020-01-01 00:00:00+16:00", "2020-01-01 00:00:00.1234567+00:00", "0001-01-01T00:00:00Z"),
    *("20200101", "2020-001", "2020-W01-1", "2020-01-01T00:00:60Z", "-12", "12.", ".5", "1.50"),
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
    "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
    "a0eebc999c0b4ef8bb6d6bb9bd380a11",
    "urn:uuid:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    *("a\0b", "\ud800", "\udfff\ud800", "\U0010ffff", "e\u0301", "x" * 2600, "é" * 1301, "abc\n"),
    *("active", "Active", "active ", "green", "A", "queued", "manual", "text_1", "\x01", "\u00a0"),
    *(
        [],
        [None],
        ["A"],
        ["A", None],
        ["a", "b"],
        [["A"]],
        [["A"], ["B"]],
        [[]],
        ["a\0"],
        ["\ud800"],
    ),
    *(
        [""],
        ["NULL"],
        ["x" * 2601],
        ["x" * 2000, "y" * 601],
        [1],
        [True],
        [1.5],
        ("A",),
        {"A"},
        [b"A"],
    ),
    *([uuid.UUID(int=1)], ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], [uuid.UUID(int=1), "a"]),
    *([0.0] * 384, [1.0] * 384, [1] * 384, [1e-46] * 384, [1e-39] * 384, [1e39] * 384),
    *([True] * 384, [float("nan")] * 384, [Decimal(1)] * 384, ["1"] * 384, [1.0] * 383),
    *([3.4028235677973366e38] + [0.0] * 383, [3.4028235e38] * 384, [10**400] + [0] * 383),
    *({}, {"a": 1}, {"a": None}, {1: 2}, {"\0": 1}, {"a": "\0"}, {"a": float("nan")}, {"a": {1}}),
    *(
        {"a": Decimal(1)},
        {"a": 10**399},
        {"a": 10**400},
        ["\\u0000"],
        {"a": (1, 2)},
        {"a": "\ud83d"},
    ),
    *(b"bytes", bytearray(b"x"), Strange(), object, 1j, range(3), uuid.UUID(int=0), JsonText("{}")),
    *(date(2020, 1, 1), date.min, date.max, datetime(1, 1, 1, tzinfo=UTC)),
    datetime(2020, 1, 1),  # noqa: DTZ001 -- without a time zone, that is the point
    datetime(9999, 12, 31, 23, 59, tzinfo=UTC),
    datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59))),
    datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-3, seconds=-7))),
    datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-15, minutes=-59, seconds=-59))),
    datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=16))),
    datetime(2020, 1, 1, tzinfo=timezone(timedelta(microseconds=1))),
)

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


def same_value(type_: PgType, normal: Any, stored: Any) -> bool:
    """Whether the JSON that Postgres printed is the value that the validator promised."""
    if normal is None or stored is None:
        return normal is None and stored is None
    match type_:
        case Uuid():
            return bool(str(normal) == stored)
        case Numeric():
            return str(normal) == str(stored)
        case Timestamptz():
            instant = datetime.fromisoformat(stored)
            return bool(instant == normal and normal.utcoffset() == timedelta(0))
        case Date():
            return bool(normal.isoformat() == stored)
        case Jsonb():
            assert type(normal) is JsonText
            return bool(json.loads(normal, parse_float=Decimal) == stored)
        case Vector():
            return array("f", json.loads(stored)) == array("f", normal)
        case Array(element):
            return len(normal) == len(stored) and all(
                same_value(element, *pair) for pair in zip(normal, stored, strict=True)
            )
        case _:
            return type(normal) is type(stored) and bool(normal == stored)


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
            if not same_value(column.type, normal[column.name], value):
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
