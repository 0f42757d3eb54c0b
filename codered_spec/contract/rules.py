"""What a column demands of a value: the limits of its type, and which rules a value breaks."""

from __future__ import annotations

import random
import re
import string
from array import array
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final, TypeAlias, assert_never

from codered_spec.model.check import ENTRY
from codered_spec.model.schema import (
    Check,
    Column,
    Finite,
    Flat,
    Matches,
    MaxBytes,
    NonZero,
    OneOf,
    OpaqueRule,
    Ordered,
    Range,
    SubsetOf,
    Table,
)
from codered_spec.model.types import (
    Array,
    BigInt,
    Date,
    DoublePrecision,
    Integer,
    Jsonb,
    Numeric,
    PgType,
    Real,
    SmallInt,
    Timestamptz,
    Varchar,
)
from codered_spec.model.values import integer_range

Row: TypeAlias = dict[str, Any]
"""A row by column; a column that is not named gets its default."""

EXACT: Final = Context(prec=2500, rounding=ROUND_HALF_UP)
FIRST_INSTANT: Final = datetime(1, 1, 2, tzinfo=UTC)
LAST_INSTANT: Final = datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)
FLOAT32_MAX: Final = 3.4028234663852886e38
FLOAT32_MIN: Final = 1.1754943508222875e-38
MICROSECOND: Final = timedelta(microseconds=1)
COMPRESSED: Final = 100_000
"""Bytes of a repeated letter that compression makes short enough for any index."""
LONGEST: Final = 2**20
"""Bytes of the longest text that is worth trying."""


def noise(size: int) -> str:
    """ASCII letters that do not compress, always the same ones."""
    return "".join(random.Random(size).choices(string.ascii_lowercase, k=size))


class Demands:
    """The type of one column and all rules that speak of it alone."""

    def __init__(self, table: Table, column: Column) -> None:
        self.column = column
        self.type: PgType = column.type
        self.checks: list[Check] = [
            check
            for check in table.checks
            if not isinstance(check.rule, (Ordered, OpaqueRule))
            and check.rule.column == column.name
        ]

    # ---- rules ----

    def violated(self, value: Any) -> list[str]:
        """Names of the checks that a value of the type breaks, as Postgres evaluates them."""
        if value is None:
            return []
        stored = self.stored(value)
        return sorted(check.name for check in self.checks if not _passes(check, stored))

    def stored(self, value: Any) -> Any:
        """The value after the rounding of the column's type."""
        kind = self.type
        if isinstance(kind, Numeric) and kind.precision is not None and Decimal(value).is_finite():
            rounded = Decimal(value).quantize(Decimal(1).scaleb(-kind.scale), context=EXACT)
            return rounded if rounded else abs(rounded)
        if isinstance(kind, Real) and abs(value) <= FLOAT32_MAX:
            return array("f", (value,))[0]
        return value

    def fits_type(self, value: Any) -> bool:
        """Whether a value of the right kind is within the limits of the type."""
        limits = integer_range(self.type)
        match self.type:
            case SmallInt() | Integer() | BigInt():
                assert limits is not None
                return limits[0] <= int(value) <= limits[1]
            case Numeric(precision, scale) if precision is not None:
                edge = Decimal(10) ** (precision - scale)
                return Decimal(value).is_nan() or bool(abs(self.stored(value)) < edge)
            case Varchar(length):
                return len(value) <= length
            case Array(element) if not isinstance(element, Jsonb):
                member = Demands(Table("", ()), Column("element", element))
                return all(item is None or member.fits_type(item) for item in flatten(value))
            case _:
                return True

    def admits(self, value: Any) -> bool:
        """Whether the column can store a value of the right kind."""
        return self.fits_type(value) and not self.violated(value)

    @property
    def bounds(self) -> tuple[Decimal | None, Decimal | None]:
        """The tightest minimum and maximum of the range rules."""
        ranges = [check.rule for check in self.checks if isinstance(check.rule, Range)]
        lows = [rule.minimum for rule in ranges if rule.minimum is not None]
        highs = [rule.maximum for rule in ranges if rule.maximum is not None]
        return max(lows, default=None), min(highs, default=None)

    @property
    def max_bytes(self) -> int | None:
        """The tightest limit in bytes."""
        found = [check.rule.limit for check in self.checks if isinstance(check.rule, MaxBytes)]
        return min(found, default=None)

    @property
    def step(self) -> Any:
        """The smallest difference between two stored values."""
        match self.type:
            case Numeric(_, scale):
                return Decimal(1).scaleb(-scale)
            case Timestamptz():
                return MICROSECOND
            case Date():
                return timedelta(days=1)
            case Real() | DoublePrecision():
                return 0.5
            case _:
                return 1

    def texts_of(self, excess: int) -> Iterator[str]:
        """Texts of exactly the largest size plus ``excess``, in bytes or in code points."""
        if isinstance(self.type, Varchar):
            size = self.type.length + excess
            yield from (fill * size for fill in "a0é😀" if size <= 5000)
        if self.max_bytes is not None:
            size = self.max_bytes + excess
            if size > (LONGEST if excess else COMPRESSED):
                return
            yield noise(size) if size <= ENTRY + 1 else "x" * size
            yield from (
                ("a" * (size % len(f.encode()))) + f * (size // len(f.encode())) for f in "é中😀"
            )


def numbers_around(type_: Numeric, low: Decimal | None, high: Decimal | None) -> Iterator[Decimal]:
    """Numbers at and beside each limit, also where only rounding decides; valid or not."""
    unit = Decimal(1).scaleb(-type_.scale)
    ends = [Decimal(0), *(bound for bound in (low, high) if bound is not None)]
    if type_.precision is None:
        ends += [Decimal("1E50"), Decimal("1E-50"), Decimal("-12345.6789")]
    else:
        edge = Decimal(10) ** (type_.precision - type_.scale)
        ends += [edge, -edge]
    parts = ["0", "1", "-1", "0.5", "-0.5", "0.4999999", "-0.4999999", "-0.5000001", "-1.5"]
    for end in ends:
        yield from (EXACT.add(end, EXACT.multiply(unit, Decimal(part))) for part in parts)


def _passes(check: Check, value: Any) -> bool:
    rule = check.rule
    match rule:
        case OneOf(_, values):
            return value in values
        case SubsetOf(_, values):
            return all(item in values for item in flatten(value))
        case Matches(_, pattern):
            return re.fullmatch(f"(?:{pattern[1:-1]})", value) is not None
        case Range(_, minimum, maximum):
            exact = float if isinstance(value, float) else Decimal  # Postgres casts the bound
            return (
                Decimal(value).is_finite()
                and (minimum is None or value >= exact(minimum))
                and (maximum is None or value <= exact(maximum))
            )
        case Finite():
            return not isinstance(value, (Decimal, float)) or Decimal(value).is_finite()
        case Flat():
            return not any(item is None or isinstance(item, list) for item in value)
        case MaxBytes(_, limit):
            texts = flatten(value) if isinstance(value, list) else [value]
            return sum(len(text.encode()) for text in texts if text is not None) <= limit
        case NonZero():
            return any(value)
        case Ordered() | OpaqueRule():
            return True
    assert_never(rule)


def flatten(value: Iterable[Any]) -> Iterator[Any]:
    """The elements of nested lists."""
    for item in value:
        if isinstance(item, list):
            yield from flatten(item)
        else:
            yield item
