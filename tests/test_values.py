"""Constants and patterns that mean the same to the model, to Postgres and to Python."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from model_strategies import texts

from codered_spec.connection import Connection
from codered_spec.model.patterns import pattern_problem
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
from codered_spec.model.values import (
    bound_problem,
    integer_range,
    literal_problem,
    storable,
)
from codered_spec.sql import literal

on_a_server = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

EXACT: list[PgType] = [
    SmallInt(), Integer(), BigInt(), Boolean(), Uuid(), Text(), Varchar(5), Date(), Timestamptz(),
    Jsonb(), Array(Text()), Array(Integer()),
]  # fmt: skip
DECIMAL: list[PgType] = [Numeric(), Numeric(10, 2), Numeric(3, 3), Real(), DoublePrecision()]

NUMBERS = (
    st.integers(-(2**64), 2**64).map(str)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda d: format(d, "f"))
    | st.text("0123456789.-", max_size=8)
)
WORDS = st.sampled_from(
    [
        "true", "false", "t", "{}", "[]", "{ }", "null", "NaN", "Infinity", "-0", "-0.0",
        "1.", ".5", "+1", "1e5", " 1", "0x10", "1_000", "٣", "2020-02-29", "2020-02-30", "today",
        "0000-01-01", "0001-01-01", "9999-12-31", "2020-1-1", "2020-01-01 00:00:00+00",
        "2020-01-01 24:00:00+00", "2020-01-01 00:00:00", "2020-01-01 00:00:00.5+00",
        "2020-01-01T00:00:00+00", "infinity", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "abcdef",
        "abcde ", "32767", "32768", "-32769", "9223372036854775808", "99999999.99", "1.005",
        "0.001", "123456.7", "0.000001", "2020-01-01\n", "5\n",
    ]
)  # fmt: skip
CANDIDATES = (
    NUMBERS
    | WORDS
    | texts()
    | st.uuids().map(str)
    | st.dates().map(str)
    | st.datetimes().map(lambda t: t.isoformat(" ", "seconds") + "+00")
)


def printed(connection: Connection, type_: PgType, text: str, as_: str = "text") -> object:
    """What Postgres prints for the constant; None where it refuses it."""
    query = f"select ({literal(text)}::{type_})::text::{as_}"
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@on_a_server
@given(type_=st.sampled_from(EXACT), text=CANDIDATES)
def test_postgres_prints_a_canonical_constant_unchanged(
    connection: Connection, type_: PgType, text: str
) -> None:
    if literal_problem(type_, text) is None:
        connection.execute("set timezone = 'UTC'")
        assert printed(connection, type_, text) == text


@on_a_server
@given(type_=st.sampled_from(DECIMAL), text=NUMBERS | WORDS)
@example(type_=Real(), text="0.000001")
@example(type_=Real(), text="123456")
@example(type_=DoublePrecision(), text="123456789012345")
def test_postgres_keeps_a_canonical_number(
    connection: Connection, type_: PgType, text: str
) -> None:
    if literal_problem(type_, text) is None:
        assert printed(connection, type_, text, "numeric") == Decimal(text)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (SmallInt(), "-32768"),
        (Integer(), "0"),
        (BigInt(), "9223372036854775807"),
        (Numeric(), "-1.50"),
        (Numeric(10, 2), "99999999.99"),
        (Numeric(10, 2), "0"),
        (Numeric(3, 3), "0.999"),
        (Real(), "0.1"),
        (DoublePrecision(), "-1.5"),
        (Boolean(), "true"),
        (Uuid(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (Text(), ""),
        (Text(), "it's \\ 漢"),
        (Varchar(2), "漢🚀"),
        (Date(), "2020-02-29"),
        (Timestamptz(), "2020-02-29 23:59:59+00"),
        (Jsonb(), "{}"),
        (Jsonb(), "[]"),
        (Array(Text()), "{}"),
    ],
)
def test_a_canonical_constant_is_accepted(type_: PgType, text: str) -> None:
    assert literal_problem(type_, text) is None


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (SmallInt(), "32768"),
        (Integer(), "1.0"),
        (Integer(), "-0"),
        (Integer(), "٣"),
        (Integer(), "5\n"),
        (BigInt(), "9" * 5000),
        (Numeric(), "NaN"),
        (Numeric(), "1e5"),
        (Numeric(10, 2), "100000000"),
        (Numeric(10, 2), "0.001"),
        (Numeric(3, 3), "1"),
        (Real(), "1234567"),
        (DoublePrecision(), "-0.0"),
        (Boolean(), "t"),
        (Uuid(), "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
        (Text(), "a\0b"),
        (Text(), "\ud800"),
        (Varchar(2), "abc"),
        (Date(), "2020-02-30"),
        (Date(), "today"),
        (Date(), "infinity"),
        (Timestamptz(), "2020-01-01 00:00:00"),
        (Timestamptz(), "2020-01-01 24:00:00+00"),
        (Jsonb(), "null"),
        (Array(Text()), "{a}"),
        (Vector(1), "[1]"),
    ],
)
def test_another_constant_is_refused(type_: PgType, text: str) -> None:
    assert literal_problem(type_, text) is not None


@pytest.mark.parametrize("type_", [SmallInt(), Integer(), BigInt()])
def test_the_range_of_an_integer_is_that_of_postgres(connection: Connection, type_: PgType) -> None:
    limits = integer_range(type_)
    assert limits is not None
    row = connection.execute(
        f"select pg_input_is_valid('{limits[0]}', '{type_}'),"
        f" pg_input_is_valid('{limits[1]}', '{type_}'),"
        f" pg_input_is_valid('{limits[0] - 1}', '{type_}'),"
        f" pg_input_is_valid('{limits[1] + 1}', '{type_}')".encode()
    ).fetchone()
    assert row == (True, True, False, False)


def test_other_types_have_no_integer_range() -> None:
    assert integer_range(Numeric()) is None


@pytest.mark.parametrize(("text", "expected"), [("é", True), ("\0", False), ("\udfff", False)])
def test_text_without_nul_and_surrogates_is_storable(text: str, *, expected: bool) -> None:
    assert storable(text) is expected


@pytest.mark.parametrize(
    ("type_", "bound"),
    [(Integer(), "-2147483648"), (SmallInt(), "1E+2"), (Numeric(), "0.1"), (Real(), "1e30")],
)
def test_a_number_of_the_type_is_a_bound(type_: PgType, bound: str) -> None:
    assert bound_problem(type_, Decimal(bound)) is None


@pytest.mark.parametrize(
    ("type_", "bound"),
    [
        (Integer(), "2147483648"),
        (Integer(), "0.5"),
        (Numeric(), "NaN"),
        (Numeric(), "sNaN"),
        (Numeric(), "Infinity"),
        (Numeric(), "1e31"),
        (Numeric(), "1" * 31),
    ],
)
def test_another_number_is_no_bound(type_: PgType, bound: str) -> None:
    assert bound_problem(type_, Decimal(bound)) is not None


# ---- patterns ---------------------------------------------------------------------------------

_CLASSES = ["[a-c]", "[^a-z]", "[0-9A-Z_]", "[ab-]", "[_-z]", "[ .:/@+,;=]", "[^a]", "[:-z]", "[a]"]
_ATOMS: SearchStrategy[str] = st.sampled_from(
    [*"abc019_ :/@,;=~<>!%&#'\"`-", *(f"\\{c}" for c in ".^$*+?()[]{}|/-\\"), *_CLASSES]
)
_REPEATS = st.sampled_from(
    ["", "", "", "*", "+", "?", "{2}", "{0}", "{1,}", "{0,2}", "{1,3}", "{255}"]
)


def _grown(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    sequence = st.lists(inner, min_size=1, max_size=3).map("".join)
    choices = st.lists(sequence, min_size=1, max_size=3).map("|".join)
    group = st.tuples(st.sampled_from(["(", "(?:"]), choices).map(lambda t: f"{t[0]}{t[1]})")
    return st.tuples(group, _REPEATS).map("".join)


PATTERNS = st.lists(
    st.recursive(st.tuples(_ATOMS, _REPEATS).map("".join), _grown, max_leaves=5), max_size=4
).map(lambda parts: f"^{''.join(parts)}$")
SUBJECTS = st.text("abcz019_A :/.-\\|()[]{}\n\r\té٣\u00a0🚀", max_size=6)


@on_a_server
@given(pattern=PATTERNS, subjects=st.lists(SUBJECTS, min_size=1, max_size=20), data=st.data())
def test_postgres_and_python_read_a_pattern_alike(
    connection: Connection, pattern: str, subjects: list[str], data: st.DataObject
) -> None:
    if pattern_problem(pattern) is not None:
        return
    fitting = st.from_regex(pattern, fullmatch=True).filter(storable)
    if len(pattern) < 30 and "255" not in pattern:
        subjects = [*subjects, one := data.draw(fitting), one + "\n", "\n" + one]
    connection.execute("set statement_timeout = '20s'")
    rows = connection.execute(
        "select s ~ %s from unnest(%s::text[]) with ordinality as u (s, n) order by n",
        [pattern, subjects],
    )
    assert [row[0] for row in rows] == [bool(re.fullmatch(pattern, s)) for s in subjects]


@given(pattern=PATTERNS)
def test_a_pattern_of_the_subset_is_accepted(pattern: str) -> None:
    problem = pattern_problem(pattern)
    assert problem is None or "longer" in problem or "exponential" in problem


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d$", r"^\s$", r"^\w$", r"^\b$", r"^\Aa$", r"^a\Z$", r"^a\n$", r"^\x41$", "^.$", "^a.*$",
        "^(?=a)$", "^(?!a)$", "^(?<=a)$", "^(?<n>a)$", "^(?P<n>a)$", "^(?i)a$", "^(?#x)$", "^(*)$",
        r"^(a)\1$", "^a{256}$", "^a{3,2}$", "^a{,2}$", "^a{$", "^a}$", "^a|b$", "^a$|^b$", "a$",
        "^a", "^", "$", "", "^a\\$", "^(a$", "^a)$", "^()$", "^(a|)$", "^(|a)$", "^(a||b)$", "^*$",
        "^(*a)$", "^a**$", "^a+?$", "^a{2}{3}$", "^[]$", "^[^]$", "^[[:alpha:]]$", "^[z-a]$",
        "^[9-:]$", r"^[\d]$", r"^[\]]$", "^[a-c-e]$", "^[é]$", "^é$", "^a\n$", "^a^b$", "^a$b$",
        "***:^a$", "^[;-0]$", "^(([a-z]{255}){255}){2}$", "^([a-z]?){255}(a{255}){2}$",
        f"^{'(' * 1000}a{')' * 1000}$",
    ],
)  # fmt: skip
def test_a_pattern_outside_of_the_subset_is_refused(pattern: str) -> None:
    assert pattern_problem(pattern) is not None


SLOW = [
    "^(a+)+$", "^(a*)*$", "^(?:([a]+))+$", "^((a?)+)+$", "^(a|a)*$", "^(a|ab|b)*$", "^([ab]|b)+$",
    "^(a+b?)+$", "^(a*b*)*$", "^([a-z0-9]+-?)+$", "^(a{1,3})+$", "^(a{0,2}){255}$", "^(a?){255}$",
    "^((a|a)b){200}$", "^(-[a-z]*)*-(_?[a-z]+){2,}$", "^([^a]|b)*$", "^(a?b?c?)*d$",
    "^((a{2}){1,3}){2,}$",
]  # fmt: skip
"""Patterns that a text of one letter more takes twice as long to fail."""


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_may_take_forever_is_refused(pattern: str) -> None:
    assert "exponential" in str(pattern_problem(pattern))


@pytest.mark.parametrize(
    "pattern",
    [
        "^[a-z0-9]+(-[a-z0-9]+)*$", "^([0-9]{1,3}\\.){3}[0-9]{1,3}$", "^(ab|cd)*$", "^(a?-)*$",
        "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "^([a-z]{3}){2}$", "^((ab|c)-)*$",
        "^([a-z]+/)*[a-z]+$", "^((a|b)(c|d)){3}$", "^(a{0}b)*$", "^(a+){1}$", "^(a+)?$",
    ],
)  # fmt: skip
def test_a_pattern_that_never_takes_long_is_not_refused(pattern: str) -> None:
    assert pattern_problem(pattern) is None
    text = "".join(re.findall("[a-z0-9]", pattern)) * 3000 + "\n"
    assert re.fullmatch(pattern, text) is None


@pytest.mark.parametrize(
    "pattern", ["^$", r"^(\()$", r"^(\||\)|a\()$", "^[a-z][a-z0-9_]*$", "^a{255}$"]
)
def test_a_pattern_within_the_subset_is_not_refused(pattern: str) -> None:
    assert pattern_problem(pattern) is None
