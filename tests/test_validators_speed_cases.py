"""Where the generated expressions take a shortcut: its edges, and what must not slip through."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from every_type import SOME_UUID, validators_of

from codered_spec import validation
from codered_spec.model.schema import (
    Check,
    Column,
    Literal,
    Matches,
    MaxBytes,
    Now,
    PrimaryKey,
    Range,
    Rule,
    Schema,
    Table,
)
from codered_spec.model.types import Jsonb, Numeric, PgType, Text, Timestamptz, Uuid, Varchar
from codered_spec.validation import Validator


def table(*columns: Column, rules: tuple[Rule, ...] = ()) -> Validator:
    checks = tuple(Check(f"check_{i}", rule) for i, rule in enumerate(rules))
    made = Table("t", columns, PrimaryKey("t_pkey", (columns[0].name,)), checks=checks)
    return validators_of(Schema("s", (made,)))["t"]


def accepts(type_: PgType, value: object, *rules: Rule, known: tuple[str, ...] = ()) -> bool:
    tested = table(Column("v", type_, known=known), rules=rules)
    verdict = tested.ok({"v": value})
    assert verdict == (tested.problems({"v": value}) == [])
    return verdict


# ---- numbers ----


@pytest.mark.parametrize(
    ("text", "good"),
    [
        *((f"0E{exponent}", good) for exponent, good in (("-1000", True), ("-1001", False))),
        *((f"0E+{exponent}", good) for exponent, good in (("899", True), ("1000", True))),
        *((f"1E-{exponent}", True) for exponent in (899, 900, 901, 1000)),
        *((f"1E-{exponent}", False) for exponent in (1001, 2000)),
        ("0E+1001", False),
        ("1." + "0" * 87, True),
        ("1." + "0" * 88, True),
        ("1." + "0" * 1000, True),
        ("1." + "0" * 1001, False),
        ("1" * 86 + "E-985", True),
        ("1" * 91 + "E-1000", True),
        ("1" * 91 + "E-1001", False),
        *(("NaN", False), ("sNaN", False), ("-NaN7", False), ("-Infinity", False)),
    ],
)
def test_a_decimal_is_judged_by_its_exponent_however_short_or_long(text: str, good: bool) -> None:
    assert accepts(Numeric(), Decimal(text)) == good
    assert accepts(Numeric(12, 6), Decimal(text)) == good


def nearest(number: float, count: int = 3) -> list[float]:
    """The number and its next neighbours on both sides."""
    below = above = number
    found = [number]
    for _ in range(count):
        below, above = math.nextafter(below, -math.inf), math.nextafter(above, math.inf)
        found += [below, above]
    return found


@pytest.mark.parametrize("middle", [0.0, 0.000001, -0.0000005, 0.1, 1.005, 999999.999999, 1e6, 4e5])
@pytest.mark.parametrize("scale", [0, 2, 6])
def test_a_float_is_judged_by_its_digits(middle: float, scale: int) -> None:
    type_ = Numeric(scale + 6, scale)
    for value in (*nearest(middle), *(-n for n in nearest(middle)), round(middle * 0.7, scale)):
        text = Decimal(repr(value))
        digits = len(text.normalize().as_tuple().digits)
        same = accepts(type_, text, Range("v", Decimal(0)))
        assert accepts(type_, value, Range("v", Decimal(0))) == (same and digits <= 15)


def test_a_number_that_is_stored_as_it_is_has_no_negative_zero() -> None:
    tested = table(Column("v", Numeric(12, 6)))
    assert str(tested.validate({"v": Decimal("-0.000000")})["v"]) == "0.000000"
    assert str(tested.validate({"v": Decimal("-0.000001")})["v"]) == "-0.000001"
    assert str(tested.validate({"v": Decimal("1")})["v"]) == "1.000000"


# ---- text ----


def test_a_known_value_is_no_way_around_a_rule() -> None:
    known = ("fine", "Wrong", "long_long", "a\0", "\ud800")
    form, limit = Matches("v", "^[a-z_]*$"), MaxBytes("v", 6)
    judged = [value for value in known if accepts(Text(), value, form, limit, known=known)]
    assert judged == ["fine"]
    assert [v for v in known if accepts(Varchar(5), v, known=known)] == ["fine", "Wrong"]
    assert [v for v in known if accepts(Text(), v, known=known)] == ["fine", "Wrong", "long_long"]


@pytest.mark.parametrize(
    "pattern", ["^[^a]*$", "^.*$", "^[\\x00-z]*$", "^[a\\0]*$", "^[a\u00e9]*$"]
)
@pytest.mark.parametrize("value", ["\0", "b\0", "\ud800"])
def test_a_pattern_that_takes_anything_takes_no_nul(pattern: str, value: str) -> None:
    assert not accepts(Text(), value, Matches("v", pattern))


@pytest.mark.parametrize("pattern", ["^[a-z][a-z0-9_]*$", "^(?:ab|c)+$", "^[ -~]{1,3}$"])
def test_a_pattern_of_plain_characters_alone_takes_none_either(pattern: str) -> None:
    for value in ("a\0", "\ud800", "é", "ab\n", "\0"):
        assert not accepts(Text(), value, Matches("v", pattern))
    assert accepts(Text(), "ab", Matches("v", pattern))


# ---- instants and identifiers ----


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (datetime(1, 1, 2, tzinfo=UTC), True),
        (datetime(1, 1, 1, 23, 59, tzinfo=UTC), False),
        (datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC), True),
        (datetime(9999, 12, 31, tzinfo=UTC), False),
        (datetime(2020, 1, 1, tzinfo=timezone(timedelta(0), "zero")), True),
        ("2020-01-01T00:00:00+00:00", True),
        ("2020-01-01T00:00:00+00:000", False),
        ("2020-01-01T00:00:00.5+00:00", True),
        ("2020-01-01T24:00:00+00:00", False),
        ("2020-01-01T00:00:00-15:59", True),
    ],
)
def test_instants(value: object, good: bool) -> None:
    assert accepts(Timestamptz(), value) == good


def test_an_identifier_in_text_becomes_the_same_as_by_the_standard_library() -> None:
    for number in (SOME_UUID.int, 0, 1, 2**128 - 1):
        text = str(UUID(int=number))
        assert validation.convert_uuid(text) == UUID(text)
        assert validation.convert_uuid(text.upper()) == UUID(text)


# ---- columns that are there, absent, NULL or unknown ----

MIXED = (
    Column("id", Uuid()),
    Column("note", Text(), nullable=True),
    Column("zone", Text(), default=Literal("green")),
    Column("at", Timestamptz(), default=Now(), nullable=True),
)


@pytest.mark.parametrize("required", [True, False])
def test_optional_and_unknown_columns_are_counted(required: bool) -> None:
    tested = table(*(MIXED if required else MIXED[1:]))
    base: dict[str, object] = {"id": SOME_UUID} if required else {}
    optional: dict[str, object] = {"note": "x", "zone": "z", "at": None}
    for mask in range(8):
        row = base | {n: v for i, (n, v) in enumerate(optional.items()) if mask >> i & 1}
        assert tested.ok(row)
        assert tested.problems(row) == []
        assert tested.validate(row) == row
        assert tested.validate(row) is not row
        strange = row | {"colour": 1}
        assert not tested.ok(strange)
        assert [p.code for p in tested.problems(strange)] == ["unknown_column"]
    assert tested.ok(base | {"note": None})
    assert not tested.ok(base | {"zone": None})
    assert tested.ok(optional) is not required


@pytest.mark.parametrize("default", [None, Literal("{}")])
def test_null_is_no_json_value_of_a_column_that_needs_one(default: Literal | None) -> None:
    tested = table(Column("id", Uuid()), Column("v", Jsonb(), default=default))
    row = {"id": SOME_UUID, "v": None}
    assert not tested.ok(row)
    assert [p.code for p in tested.problems(row)] == ["null"]
    assert tested.ok(row | {"v": {"a": None}})
