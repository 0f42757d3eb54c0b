"""Values of every kind for every column: right for some types, traps or nonsense for the others."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

from codered_spec.validation import JsonText


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
