"""The values of a column: the edges of its domain, random members, and which rules one breaks."""

from __future__ import annotations

import string
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache, cached_property
from typing import Any, Final, assert_never
from uuid import UUID

from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from codered_spec.contract.choices import Choices
from codered_spec.contract.rules import (
    FIRST_INSTANT,
    FLOAT32_MAX,
    FLOAT32_MIN,
    LAST_INSTANT,
    MICROSECOND,
    Demands,
    noise,
    numbers_around,
)
from codered_spec.model.check import ENTRY
from codered_spec.model.schema import (
    Column,
    Matches,
    OneOf,
    SubsetOf,
    Table,
)
from codered_spec.model.types import (
    INTEGRAL,
    TEXTUAL,
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
from codered_spec.model.values import integer_range

_TEXTS: Final = (
    *("a", "", " ", "0", "NULL", "null", "a b", " a ", "\t\n\r", "\x01\x1b\x7f", "é", "e\u0301"),
    *(
        "ß",
        "İ",
        "😀",
        "👩‍👩‍👧",
        "שלום\u200f",
        "\u202eabc",
        "\ufeff",
        "\uffff",
        "\U0010ffff",
        "中文",
    ),
    *("\u00a0", "\u3000", "'", '"', "\\", "\\N", "\\.", "{}", "{a,b}", "[1:1]={a}", "%s %", "a;--"),
    *("a_1", "abc", "x" * 300),
)
_LISTS: Final = (
    (),
    ("a",),
    ("a", "a"),
    ("",),
    ("NULL",),
    ("x" * 300,),
    ("a,b", '"', "\\", "{", "}"),
    ("😀", " "),
)
_UUIDS: Final = tuple(
    map(
        UUID,
        (
            "a2f4c1d8-0b1e-4c5a-9d3f-2f1e0d9c8b7a",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "c232ab00-9414-11ec-b3c8-9f6bdeced846",
            "018f4d5e-7c3b-7def-8abc-0123456789ab",
        ),
    )
)
_JSON: Final[tuple[Any, ...]] = (
    *({}, [], "", "a", 0, -1, 1.5, True, False, 10**60, 1e300, 5e-324, -0.0),
    *({"": None}, {"a": [1, {"b": [None, "\u2028😀"]}]}, [[[[]]]], ["\\u0000", "\x01\x7f"]),
)


@cache
def matching(pattern: str, least: int = 0) -> str | None:
    """The simplest ASCII text of at least so many characters that matches, or None."""
    try:
        return find(
            st.from_regex(pattern, fullmatch=True, alphabet=st.characters(codec="ascii")),
            lambda text: len(text) >= least and not text.endswith("\n"),
            settings=settings(
                database=None,
                derandomize=True,
                deadline=None,
                max_examples=200,
                phases=(Phase.generate, Phase.shrink),
            ),
        )
    except NoSuchExample:
        return None


class Domain(Demands):
    """The values of one column: edges, random members, successors."""

    @cached_property
    def edges(self) -> tuple[Any, ...]:
        """Valid values at the ends and corners of the domain, the simplest first, no NULL."""
        found: list[Any] = []
        for value in self._candidates(self.type):
            if self.admits(value) and not any(_same(value, other) for other in found):
                found.append(value)
        return tuple(found)

    def _candidates(self, type_: PgType) -> Iterator[Any]:
        low, high = self.bounds
        match type_:
            case Uuid():
                yield from _UUIDS
            case Text() | Varchar():
                yield from self._texts()
            case Boolean():
                yield from (False, True)
            case SmallInt() | Integer() | BigInt():
                limits = integer_range(type_)
                assert limits is not None
                ends = [int(b) for b in (low, high) if b is not None]
                yield from (0, 1, -1, *limits, *(e + d for e in ends for d in (0, 1, -1)))
            case Numeric():
                yield from numbers_around(type_, low, high)
            case Real() | DoublePrecision():
                yield from (0.0, 1.0, -1.0, 0.5, -0.0, 16777216.0, FLOAT32_MAX, FLOAT32_MIN)
                yield from (float(b) for b in (low, high) if b is not None)
                if isinstance(type_, DoublePrecision):
                    yield from (0.1, 5e-324, 1.7976931348623157e308)
            case Date():
                yield from (date(2000, 2, 29), date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1))
            case Timestamptz():
                yield from (datetime(2000, 1, 1, tzinfo=UTC), FIRST_INSTANT, LAST_INSTANT)
                yield datetime(2024, 2, 29, 23, 59, 59, 999999, timezone(timedelta(hours=-11)))
                yield datetime(1883, 11, 18, 12, tzinfo=timezone(timedelta(hours=15, minutes=59)))
            case Jsonb():
                yield from _JSON
            case Vector(dimensions):
                yield from _vectors(dimensions or 3)
            case Array(element):
                yield from self._lists(element)
            case _:
                assert_never(type_)

    def _texts(self) -> Iterator[str]:
        for check in self.checks:
            if isinstance(check.rule, OneOf):
                yield from check.rule.values
                return
        yield from self.column.known
        for check in self.checks:
            if isinstance(check.rule, Matches):
                found = (matching(check.rule.pattern, least) for least in (0, 2, 40))
                yield from (text for text in found if text is not None)
        yield from _TEXTS
        yield from self.texts_of(0)

    def _lists(self, element: PgType) -> Iterator[list[Any]]:
        subset = next((c.rule for c in self.checks if isinstance(c.rule, SubsetOf)), None)
        if isinstance(subset, SubsetOf):
            values = subset.values
            yield from ([], [values[0]], [*values], [*reversed(values)], [values[-1]] * 50)
        elif isinstance(element, TEXTUAL):
            yield from (list(texts) for texts in _LISTS)
            yield list(self.column.known)
            if self.max_bytes is not None:
                most = min(self.max_bytes, ENTRY)
                yield [noise(most // 2), noise(most - most // 2)]
                yield [noise(most)]
        else:
            members = list(Domain(Table("", ()), Column("e", element)).edges)
            if isinstance(element, Jsonb):  # a list would be another dimension
                members = [member for member in members if not isinstance(member, list)]
            yield from ([], members[:1], members, members[:1] * 20)

    def value(self, choices: Choices) -> Any:
        """A random member of the domain: an edge as often as not."""
        if choices.integer(0, 1) == 0:
            return choices.pick(self.edges)
        found = self._random(choices, self.type)
        return found if self.admits(found) else choices.pick(self.edges)

    def _random(self, choices: Choices, type_: PgType) -> Any:
        low, high = self.bounds
        match type_:
            case Uuid():
                return UUID(int=choices.integer(0, 2**128 - 1))
            case Text() | Varchar():
                if any(isinstance(check.rule, OneOf) for check in self.checks):
                    return choices.pick(self.edges)
                if any(isinstance(check.rule, Matches) for check in self.checks):
                    return f"{choices.pick(self.edges)}{choices.pick(string.ascii_lowercase)}"
                return choices.text(min(self.max_bytes or 40, ENTRY))
            case SmallInt() | Integer() | BigInt():
                limits = integer_range(type_)
                assert limits is not None
                least = limits[0] if low is None else int(low)
                return choices.integer(least, limits[1] if high is None else int(high))
            case Numeric(precision, scale):
                edge = 10 ** min((precision or 30) + 3, 40)
                return Decimal(choices.integer(-edge if low is None else 0, edge)).scaleb(
                    -scale - 2
                )
            case Real() | DoublePrecision():
                return choices.integer(-(2**20), 2**20) / 64
            case Date():
                return date.fromordinal(choices.integer(1, date.max.toordinal()))
            case Timestamptz():
                span = (LAST_INSTANT - FIRST_INSTANT) // MICROSECOND
                return FIRST_INSTANT + choices.integer(0, span) * MICROSECOND
            case Jsonb():
                inner = choices.pick(self.edges)
                return {choices.text(5): inner, "n": choices.integer(-(10**20), 10**20)}
            case Vector(dimensions):
                found = next(_vectors(dimensions or 3))
                found[choices.integer(0, len(found) - 1)] = choices.integer(-999, 999) / 7
                return found
            case Array(element):
                if any(isinstance(check.rule, SubsetOf) for check in self.checks):
                    return [choices.pick(self.edges[2]) for _ in range(choices.integer(0, 4))]
                member = Domain(Table("", ()), Column("e", element))
                items: list[Any] = [member.value(choices) for _ in range(choices.integer(0, 3))]
                return [item for item in items if not isinstance(item, list)]
            case Boolean():
                return choices.pick((False, True))
        assert_never(type_)

    def successors(self, value: Any) -> Iterator[Any]:
        """Other members, endlessly many where the type has them, for keys that must differ."""
        if isinstance(self.type, Uuid):
            yield from (UUID(int=(value.int + i) % 2**128) for i in range(1, 1000))
        elif isinstance(self.type, TEXTUAL):
            yield from filter(
                self.admits, (f"{form}{i}" for i in range(1000) for form in ("", "a"))
            )
        elif isinstance(self.type, (*INTEGRAL, Numeric, Timestamptz, Date)):
            for i in (*range(1, 500), *range(-1, -500, -1)):
                try:
                    other = value + i * self.step
                    in_calendar = not isinstance(other, datetime) or (
                        FIRST_INSTANT <= other <= LAST_INSTANT
                    )
                except OverflowError:
                    continue
                if in_calendar and self.admits(other):
                    yield other
        else:
            yield from self.edges


def _vectors(dimensions: int) -> Iterator[list[float]]:
    zeros = [0.0] * (dimensions - 1)
    yield [1.0, *zeros]
    yield [*zeros, -0.5]
    yield [FLOAT32_MAX, *zeros]
    yield [*zeros, FLOAT32_MIN]
    yield [0.1] * dimensions
    yield [0.0, *zeros]


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and repr(left) == repr(right)
