"""A schema with a table for every column type, its validators, and values that are traps."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Final, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from codered_spec.emit.validators import emit_validators
from codered_spec.model.schema import Column, Extension, PrimaryKey, Schema, Table
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
    Scalar,
    SmallInt,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)
from codered_spec.validation import JsonText, Validator

SCALARS: Final[tuple[Scalar, ...]] = (
    Uuid(),
    Text(),
    Varchar(5),
    Boolean(),
    SmallInt(),
    Integer(),
    BigInt(),
    Numeric(),
    Numeric(10, 2),
    Numeric(38, 10),
    Real(),
    DoublePrecision(),
    Date(),
    Timestamptz(),
    Jsonb(),
    Vector(3),
    Vector(),
)
TYPES: Final[tuple[PgType, ...]] = (*SCALARS, *map(Array, SCALARS))


def table_name(type_: PgType) -> str:
    return f"of {type_}"


def every_type() -> Schema:
    """A table for each type: a key and one column of the type that may be NULL."""
    return Schema(
        "everything",
        tuple(
            Table(
                table_name(type_),
                (Column("k", Integer()), Column("v", type_, nullable=True)),
                PrimaryKey(f"key of {type_}", ("k",)),
            )
            for type_ in TYPES
        ),
        extensions=(Extension("vector", "extensions"),),
    )


def validators_of(schema: Schema) -> dict[str, Validator]:
    """The generated validators of a schema, as its generated module would have them."""
    (file,) = emit_validators(schema, "x")
    module: dict[str, Any] = {}
    exec(compile(file.text, file.path, "exec"), module)
    tables: dict[str, Validator] = module["TABLES"]
    return tables


class Whole(int):
    pass


class Fraction(float):
    pass


class Word(str):
    __slots__ = ()


class Mapped(dict[str, object]):
    pass


class Listed(list[object]):
    pass


class Day(date):
    pass


class Moment(datetime):
    pass


class Money(Decimal):
    pass


class Identity(UUID):
    pass


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.StrEnum):
    RED = "red"


class Unwilling:
    """Raises whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


class Lost(tzinfo):
    """A time zone that raises."""

    def _raise(self, when: datetime | None) -> NoReturn:
        raise RuntimeError(when)

    utcoffset = dst = tzname = _raise


SOME_UUID: Final = UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
BERLIN: Final = ZoneInfo("Europe/Berlin")

TEXTS: Final = (
    *("", " ", "a\0b", "\0", "\ud800", "x\udfff", "\uffff", "\U0010ffff", "\ufeff", "é", "e\u0301"),
    *(
        "abc   ",
        "abcde",
        "abcde ",
        "abcdef",
        "😀😀😀",
        "😀" * 6,
        "\\N",
        "\\",
        "\\.",
        "\\x41",
        "a\tb",
    ),
    *("a\nb", "a\rb", "\r\n", "{", "}", "{}", "{a,b}", '"', "'", ",", "NULL", "null", "\x7f"),
    *("\x01", "\u2028", "\x85", "\xa0", "x" * 2601, "İß", "٣", "a'b\"c\\d", "%s", "$1", "true"),
    *("[1,2,3]", "[]", '"', "\\u0000", "\\ud800", "1", "0", "-0", "NaN", "Infinity", "\v", "\b"),
)
INTEGERS: Final = (
    *(
        sign * (base + step)
        for base in (0, 2**7, 2**15, 2**24, 2**31, 2**53, 2**63, 10**8, 10**28, 10**38, 10**400)
        for step in (-1, 0, 1)
        for sign in (1, -1)
    ),
    10**30,
    10**5000,
)
FLOATS: Final = (
    *(0.0, -0.0, 0.1, 0.1 + 0.2, 1.005, 0.285, 2.675, 0.005, -0.005, 1e15, 1e16, 1e22, 1e23, 1e-7),
    *(5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, float("nan"), float("inf")),
    *(float("-inf"), 3.4028234663852886e38, 3.4028235677973366e38, 3.4028236e38, 1e39, 1e-46),
    *(1.1754943508222875e-38, 1.1754942e-38, 16777217.0, 999999.9999994999, 99999999.994999),
    *(99999999.995, 1e8, 5.5, 2.5, 2147483647.4, 9223372036854775807.0, 1e300, 1e-300, 1e-30),
    *(1.0000000596046448, 1.0000001788139343, 0.10000000521540642, 33554434.0, 1e30),
)
DECIMAL_TEXTS: Final = (
    *("0", "-0", "-0.00", "007", "12.50", "1.10", "0.004", "0.005", "0.015", "-0.005", "-0.004"),
    *("99999999.99", "99999999.994999", "99999999.995", "-99999999.995", "1e5", "1E+5", " 12 "),
    *("12.", ".5", "+7", "1,5", "0x10", "0b11", "1_000", "NaN", "-NaN", "sNaN", "inf", "-Infinity"),
    *("1e-30", "5e-324", "9" * 400, "9" * 401, "0." + "1" * 400, "0." + "1" * 401, "٣", "1\n"),
    *("9" * 28 + "." + "9" * 10, "9" * 28 + "." + "9" * 10 + "4", "9" * 28 + "." + "9" * 10 + "5"),
    *("1." + "1" * 50, "1e131071", "1e131072", "1e-16384", "1e1000", "1e-1000", "0e999", "1e400"),
)
DECIMALS: Final = (
    *(
        Decimal(text)
        for text in DECIMAL_TEXTS
        if text not in ("1,5", "0x10", "0b11", "1_000", "-NaN", "sNaN")
    ),
    Decimal("-NaN"),
    Decimal("sNaN"),
    Decimal("9" * 398 + "." + "9" * 990),
)
DATE_TEXTS: Final = (
    *("2020-01-01", "2020-02-29", "2020-02-30", "0000-01-01", "0001-01-01", "9999-12-31"),
    *("13/02/2020", "01/02/2020", "20200101", "2020-W01-1", "2020-1-1", "now", "today", "epoch"),
    *("infinity", "-infinity", "yesterday", "4714-11-24 BC", "10000-01-01", "2020-01-01\n"),
)
INSTANT_TEXTS: Final = (
    *("2020-01-01T00:00:00Z", "2020-01-01 00:00:00+00:00", "2020-01-01T00:00:00.123456-08:00"),
    *("2020-01-01T00:00:00.1+15:59", "2020-01-01T00:00:00+16:00", "2020-01-01T00:00:00"),
    *("2020-01-01 24:00:00Z", "2020-01-01T23:59:60Z", "2020-01-01T23:59:61Z", "2020-01-01"),
    *("2020-01-01T00:00:00.1234567Z", "2020-01-01T00:00:00z", "2020-01-01T00:00Z", "epoch"),
    *("2020-01-01T00:00:00+0100", "2020-01-01T00:00:00+01", "2020-01-01T00:00:00 Europe/Berlin"),
    *("0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z", "9999-12-30T23:59:59.999999Z", "1577836800"),
    *("9999-12-31T00:00:00Z", "0001-01-01T00:00:00+14:00", "2020-01-01T00:00:00+05:53:28", "now"),
    *("2020-01-01T00:00:00,5Z", "infinity", "-infinity", "٢020-01-01T00:00:00Z", "tomorrow"),
)
INSTANTS: Final = (
    datetime(2020, 1, 1, tzinfo=UTC),
    datetime(2020, 1, 1),  # noqa: DTZ001 -- the trap
    datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN),
    datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    datetime(2020, 3, 29, 2, 30, tzinfo=BERLIN),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1, 1, 2, tzinfo=UTC),
    datetime(1883, 1, 1, tzinfo=ZoneInfo("America/New_York")),
    datetime(
        2020, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=53, seconds=28, microseconds=1))
    ),
    datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-23, minutes=-59))),
    datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12))),
    datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
    datetime(2020, 1, 1, tzinfo=Lost()),
)
UUID_TEXTS: Final = (
    *(str(SOME_UUID), str(SOME_UUID).upper(), SOME_UUID.hex, f"{{{SOME_UUID}}}", SOME_UUID.urn),
    *("a0eebc999c0b-4ef8-bb6d-6bb9bd380a11", "a0e-ebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    *(f"{SOME_UUID}-", f" {SOME_UUID}", f"{SOME_UUID}\n", f"{{{SOME_UUID}", str(SOME_UUID)[:-1]),
    *(f"{SOME_UUID}1", str(SOME_UUID).replace("0", "٠"), "00000000-0000-0000-0000-000000000000"),
    "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
)


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def _endless() -> list[object]:
    value: list[object] = []
    value += [value] * 1000
    return value


JSON_VALUES: Final[tuple[object, ...]] = (
    *({}, [], {"a": 1}, {"a": None}, {"a\0": 1}, {"a": "\0"}, {"\ud800": 1}, {"a": ["\udfff"]}),
    *({1: 2}, {True: 1}, {None: 1}, {"a": float("nan")}, {"a": float("inf")}, [10**399], [10**400]),
    *(
        [1.10, -0.0, 1e22, 5e-324, 1e308],
        {"a": {"b": {"c": []}}},
        [[1], [2]],
        "text",
        1,
        True,
        None,
    ),
    *({"a": SOME_UUID}, {"a": (1, 2)}, {"a": {1, 2}}, [Decimal(1)], {"": ""}, [[], [[]]], b"x"),
    *(_nested(99), _nested(100), _nested(101), _endless(), {"a": Whole(1)}, {Word("a"): 1}, "\\N"),
    *({"z": 1, "aa": 2, "é": "\u2028"}, JsonText("{}"), [Mapped()], [Listed()], {"a": "\\u0000"}),
)
VECTORS: Final[tuple[object, ...]] = (
    *([1, 2, 3], [1.0, 2.0, 3.0], [1, 2.5, 3], [0, 0, 0], [0.0, -0.0, 0.0], [-0.0, 1, 2], [1, 2]),
    *([], [1, 2, 3, 4], [1.0, None, 2.0], [1, float("nan"), 2], [1, float("inf"), 2], [1, 1e39, 2]),
    *([3.4028234663852886e38, 1, 1], [3.4028236e38, 1, 1], [1e-46, 0, 0], [1e-40, 1, 1], (1, 2, 3)),
    *(
        [True, False, True],
        ["1", "2", "3"],
        "[1,2,3]",
        [Decimal(1), 2, 3],
        [[1, 2, 3]],
        [10**400] * 3,
    ),
    *([2**53 + 1, 1, 1], [2**60 + 2**36 + 1, 1, 1], [16777217, 1, 1], [33554434.0, 0.1, 1e-30]),
    *([1.0000000596046448, 1.0000001788139343, 0.10000000521540642], [Fraction(1), 1, 1]),
)
STRANGE: Final[tuple[object, ...]] = (
    *(
        None,
        True,
        False,
        0,
        1,
        5,
        1.0,
        "t",
        "1",
        b"abc",
        bytearray(b"a"),
        (1, 2),
        {1},
        object(),
        print,
    ),
    *(1j, ..., NotImplemented, int, Whole(5), Fraction(1.5), Word("abc"), Mapped(a=1), Listed([1])),
    *(Day(2020, 1, 1), Moment(2020, 1, 1, tzinfo=UTC), Money("1.5"), Identity(int=5), Level.LOW),
    *(Colour.RED, timedelta(1), Unwilling(), datetime(2020, 1, 1, tzinfo=UTC).time(), range(3)),
    *(
        date(2020, 1, 1),
        date.min,
        date.max,
        SOME_UUID,
        Decimal("2.5"),
        [[1], [2]],
        [None],
        [[]],
        [],
    ),
)


def pick(options: Sequence[Any]) -> st.SearchStrategy[Any]:
    """One of the options, which may be of a kind that Hypothesis cannot hash or show."""
    return st.integers(0, len(options) - 1).map(options.__getitem__)


_single_width = st.floats(width=32)
_halfway = st.builds(
    lambda near, sign: sign * (near + near * 2.0**-25),
    st.floats(1, 2, width=32) | st.floats(2.0**-100, 2.0**100, width=32),
    pick([1, -1]),
)
_numbers = st.one_of(
    st.integers(-(10**9), 10**9),
    st.integers(-(10**12), 10**12).map(lambda n: n / 1000),
    st.floats(),
    st.decimals(
        allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
    ),
    st.decimals(),
    st.from_regex(r"\A-?[0-9]{1,12}(\.[0-9]{1,12})?\Z"),
    pick([*INTEGERS, *FLOATS, *DECIMALS, *DECIMAL_TEXTS]),
)
_texts = st.text(max_size=12) | st.text("\\{}\",'\t\n\r NUL\0x", max_size=6) | pick(TEXTS)
_floats = st.one_of(
    st.floats(),
    _single_width,
    _halfway,
    st.floats(-1000, 1000),
    st.integers(-(2**60), 2**60),
    pick([*FLOATS, *INTEGERS]),
)
_dates = st.dates()
_zones = pick([UTC, BERLIN, timezone(timedelta(hours=-9, minutes=-30))])
_instants = st.datetimes(timezones=_zones | st.none())
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _texts
    | pick([*INTEGERS[:-1], *FLOATS]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=6,
)
_elements = st.floats(-2, 2) | _single_width | _halfway | st.integers(-9, 9) | pick(FLOATS)


def _fitting(type_: Scalar) -> st.SearchStrategy[object]:
    match type_:
        case Uuid():
            return st.uuids() | st.uuids().map(str) | pick(UUID_TEXTS)
        case Text() | Varchar():
            return _texts
        case Boolean():
            return st.booleans()
        case SmallInt():
            return st.integers(-(2**15), 2**15) | pick(INTEGERS)
        case Integer() | BigInt():
            return st.integers(-(2**31), 2**31) | st.integers() | pick(INTEGERS)
        case Numeric():
            return _numbers
        case Real() | DoublePrecision():
            return _floats
        case Date():
            return _dates | _dates.map(str) | pick(DATE_TEXTS)
        case Timestamptz():
            return st.one_of(
                _instants,
                _instants.map(datetime.isoformat),
                pick([*INSTANT_TEXTS, *INSTANTS]),
            )
        case Jsonb():
            return _json | pick(JSON_VALUES)
        case Vector(dimensions):
            sizes = (1, 6) if dimensions is None else (dimensions, dimensions)
            lists = st.lists(_elements, min_size=sizes[0], max_size=sizes[1])
            return lists | lists | pick(VECTORS)


ANYTHING: Final[tuple[object, ...]] = (
    *TEXTS,
    *INTEGERS,
    *FLOATS,
    *DECIMALS,
    *DECIMAL_TEXTS,
    *DATE_TEXTS,
    *INSTANT_TEXTS,
    *INSTANTS,
    *UUID_TEXTS,
    *JSON_VALUES,
    *VECTORS,
    *STRANGE,
)


def values(type_: PgType) -> st.SearchStrategy[object]:
    """Values for a column of the type, most of the right kind, many of them traps."""
    if isinstance(type_, Array):
        one = _fitting(type_.element)
        fitting: st.SearchStrategy[object] = st.lists(one, max_size=3) | one.map(lambda v: [v])
    else:
        fitting = _fitting(type_)
    return st.integers(0, 15).flatmap(lambda n: pick(ANYTHING) if n == 0 else fitting)


def json_native(value: object) -> bool:
    """Whether JSON carries the value as it is."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError, RuntimeError):
        return False
