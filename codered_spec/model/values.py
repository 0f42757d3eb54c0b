"""What values a type admits: canonical literals, bounds and format patterns."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import Final, assert_never

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

INTEGER_BITS: Final[dict[type, int]] = {SmallInt: 16, Integer: 32, BigInt: 64}
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def integer_range(type_: PgType) -> tuple[int, int] | None:
    """Smallest and largest value of an integer type, or None for another type."""
    bits = INTEGER_BITS.get(type(type_))
    return None if bits is None else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def storable(text: str) -> bool:
    """Whether Postgres can store the text: no NUL and no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def literal_problem(type_: PgType, text: str) -> str | None:
    """Why ``text`` is not a canonical constant of the type, or None when it is.

    Canonical means: Postgres prints the very same characters for it; for numeric and the floats,
    whose digits depend on the scale, it keeps the very same number.
    """
    match type_:
        case SmallInt() | Integer() | BigInt():
            limits = integer_range(type_)
            assert limits is not None
            if not _INTEGER.fullmatch(text) or len(text) > 20:
                return "not a whole number"
            return None if limits[0] <= int(text) <= limits[1] else "out of range"
        case Numeric() | Real() | DoublePrecision():
            return _decimal_problem(type_, text)
        case Boolean():
            return None if text in ("true", "false") else "neither true nor false"
        case Uuid():
            return None if _UUID.fullmatch(text) else "not a lower-case UUID with hyphens"
        case Text():
            return None if storable(text) else "not storable: NUL or lone surrogate"
        case Varchar(length):
            if not storable(text):
                return "not storable: NUL or lone surrogate"
            return None if len(text) <= length else f"longer than {length} characters"
        case Date():
            return None if _is_date(text) else "not a date as YYYY-MM-DD"
        case Timestamptz():
            day, _, rest = text.partition(" ")
            clock = re.fullmatch(r"([01][0-9]|2[0-3])(:[0-5][0-9]){2}\+00", rest)
            return None if _is_date(day) and clock else "not an instant as YYYY-MM-DD HH:MM:SS+00"
        case Jsonb():
            return None if text in ("{}", "[]") else "a JSON default is {} or []"
        case Array():
            return None if text == "{}" else "an array default is {}"
        case Vector():
            return "a vector has no default"
    assert_never(type_)


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _decimal_problem(type_: Numeric | Real | DoublePrecision, text: str) -> str | None:
    if not _DECIMAL.fullmatch(text) or (text.startswith("-0") and not text.strip("-0.")):
        return "not a decimal number"
    whole, _, fraction = text.removeprefix("-").partition(".")
    if isinstance(type_, Numeric):
        if type_.precision is None:
            return None if len(whole) + len(fraction) <= 1000 else "too many digits"
        if len(fraction) > type_.scale or len(whole.lstrip("0")) > type_.precision - type_.scale:
            return f"does not fit {type_}"
        return None
    return (
        None
        if len(whole) + len(fraction) <= (6 if isinstance(type_, Real) else 15)
        else ("more digits than the type keeps")
    )


def bound_problem(type_: PgType, bound: Decimal) -> str | None:
    """Why the number cannot be a bound of a range check on the type, or None when it can."""
    if not bound.is_finite():
        return "not a finite number"
    limits = integer_range(type_)
    if limits is not None:
        if bound != bound.to_integral_value():
            return "not a whole number"
        return None if limits[0] <= bound <= limits[1] else "outside of the type's range"
    _, digits, exponent = bound.as_tuple()
    assert isinstance(exponent, int)
    return None if len(digits) <= 30 and -30 <= exponent <= 30 else "over 30 digits"
