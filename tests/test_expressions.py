"""What Postgres prints for an expression, read as the model; all else stays as it is printed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codered_spec.model.schema import (
    Default,
    Finite,
    Flat,
    IsNotNull,
    IsNull,
    IsTrue,
    Literal,
    Matches,
    MaxBytes,
    NonZero,
    Now,
    OneOf,
    OpaqueCondition,
    OpaqueDefault,
    OpaquePredicate,
    OpaqueRule,
    Ordered,
    Predicate,
    RandomUuid,
    Range,
    RowChanged,
    Rule,
    SubsetOf,
)
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
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)
from codered_spec.sources.database.assemble import split_comment
from codered_spec.sources.database.expressions import (
    Surroundings,
    read_default,
    read_predicate,
    read_rule,
    read_when,
)

TYPES: dict[str, PgType] = {
    "a": Array(Text()),
    "b": Boolean(),
    "d": Date(),
    "f": DoublePrecision(),
    "i": Integer(),
    "j": Integer(),
    "l": BigInt(),
    "n": Numeric(10, 2),
    "r": Real(),
    "s": Text(),
    "ts": Timestamptz(),
    "v": Vector(3),
    "vc": Varchar(9),
    "*": Text(),
    "Odd name": Text(),
}
AROUND = Surroundings(TYPES, "extensions")
FLAT = """\
CASE
    WHEN ((array_ndims(a) > 1) OR (array_lower(a, 1) <> 1)) THEN false
    ELSE (array_position(a, NULL::text) IS NULL)
END"""
INFINITE = "(f > '-Infinity'::double precision) AND (f < 'Infinity'::double precision)"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (
            r"(s = ANY (ARRAY['a'::text, 'b''c'::text, 'd\e'::text]))",
            OneOf("s", ("a", "b'c", r"d\e")),
        ),
        ("(s = 'a'::text)", OneOf("s", ("a",))),
        (r"(s = E'a\\b\'\n'::text)", OneOf("s", ("a\\b'\n",))),
        (
            "((vc)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
            OneOf("vc", ("a", "b")),
        ),
        ("""("*" = 'a'::text)""", OneOf("*", ("a",))),
        ("(a <@ ARRAY['A'::text])", SubsetOf("a", ("A",))),
        ("(s ~ '^[a-z]$'::text)", Matches("s", "^[a-z]$")),
        ("((i >= 1) AND (i <= 5))", Range("i", Decimal(1), Decimal(5))),
        ("(i >= '-5'::integer)", Range("i", Decimal(-5))),
        ("(l <= '3000000000'::bigint)", Range("l", None, Decimal(3000000000))),
        ("((n >= (0)::numeric) AND (n < 'Infinity'::numeric))", Range("n", Decimal(0))),
        (
            "((f >= (0.5)::double precision) AND (f < 'Infinity'::double precision))",
            Range("f", Decimal("0.5")),
        ),
        (
            "((r > '-Infinity'::real) AND (r <= (1)::double precision))",
            Range("r", None, Decimal(1)),
        ),
        (f"({INFINITE})", Finite("f")),
        ("isfinite(ts)", Finite("ts")),
        (FLAT, Flat("a")),
        ("(octet_length(s) <= 9)", MaxBytes("s", 9)),
        ("(octet_length((vc)::text) <= 9)", MaxBytes("vc", 9)),
        ("(octet_length(array_to_string(a, ''::text)) <= 2600)", MaxBytes("a", 2600)),
        ("(extensions.vector_norm(v) > (0)::double precision)", NonZero("v")),
        ("(i < j)", Ordered("i", "j")),
        ("((i)::numeric <= n)", Ordered("i", "n", strict=False)),
    ],
)
def test_a_rule_is_recognised(text: str, rule: Rule) -> None:
    assert read_rule(text, AROUND) == rule


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("(n >= (0)::numeric)", id="lets NaN in"),
        pytest.param("(f <= (5)::double precision)", id="lets -Infinity in"),
        pytest.param(f"({INFINITE.replace('-', '')})", id="other infinity"),
        pytest.param("((i >= 1) OR (i <= 5))", id="or"),
        pytest.param("((i >= 1) AND (j <= 5))", id="two columns"),
        pytest.param("(i > 1)", id="strict bound"),
        pytest.param("((n >= (1.5)::integer) AND (n <= (3)::numeric))", id="rounding cast"),
        pytest.param("(s = ANY (ARRAY[('a'::character varying(1))::text]))", id="cut value"),
        pytest.param("(s <> 'a'::text)", id="negated"),
        pytest.param("(s ~* 'a'::text)", id="case-insensitive"),
        pytest.param("(s = 'a'::bpchar)", id="padded"),
        pytest.param("((i)::text = 'a'::text)", id="column of another type"),
        pytest.param("(x = 'a'::text)", id="unknown column"),
        pytest.param("(lower(s) = 'a'::text)", id="function of the column"),
        pytest.param("(public.vector_norm(v) > (0)::double precision)", id="function of somebody"),
        pytest.param("(public.isfinite(ts))", id="isfinite of somebody"),
        pytest.param("(extensions.vector_norm(v) > (1)::double precision)", id="other norm"),
        pytest.param(FLAT.replace("false", "true"), id="flat turned"),
        pytest.param(FLAT.replace("position(a", "position(b"), id="flat of two columns"),
        pytest.param("(octet_length(array_to_string(a, ','::text)) <= 9)", id="other separator"),
        pytest.param("((s)::bytea = ANY (ARRAY['a'::text]))", id="cast of the column"),
        pytest.param("(s COLLATE \"C\" = 'a'::text)", id="collation"),
        pytest.param("(" * 5000 + "s", id="deep"),
        pytest.param("'", id="unterminated"),
        pytest.param("", id="empty"),
    ],
)  # fmt: skip
def test_another_rule_stays_opaque(text: str) -> None:
    assert read_rule(text, AROUND) == OpaqueRule(text)


@pytest.mark.parametrize(
    ("text", "type_", "default"),
    [
        ("now()", Timestamptz(), Now()),
        ("CURRENT_TIMESTAMP", Timestamptz(), Now()),
        ("transaction_timestamp()", Timestamptz(), Now()),
        ("gen_random_uuid()", Uuid(), RandomUuid()),
        ("public.gen_random_uuid()", Uuid(), OpaqueDefault("public.gen_random_uuid()")),
        ("clock_timestamp()", Timestamptz(), OpaqueDefault("clock_timestamp()")),
        ("CURRENT_TIMESTAMP(3)", Timestamptz(), OpaqueDefault("CURRENT_TIMESTAMP(3)")),
        ("'-1'::integer", Integer(), Literal("-1")),
        ("1.50", Numeric(10, 2), Literal("1.50")),
        ("'-1.5'::numeric", DoublePrecision(), Literal("-1.5")),
        ("'NaN'::numeric", Numeric(), Literal("NaN")),
        ("(1.5)::integer", Integer(), OpaqueDefault("(1.5)::integer")),
        ("true", Boolean(), Literal("true")),
        ("'x'::character varying", Varchar(3), Literal("x")),
        ("'a''b'::text", Text(), Literal("a'b")),
        ("'{}'::text[]", Array(Text()), Literal("{}")),
        ("ARRAY['a'::text, 'b c'::text, ''::text]", Array(Text()), Literal('{a,"b c",""}')),
        ("ARRAY[]::text[]", Array(Text()), Literal("{}")),
        ("ARRAY[1, 2]", Array(Integer()), Literal("{1,2}")),
        ("'{}'::jsonb", Jsonb(), Literal("{}")),
        ("'2020-01-01'::date", Date(), Literal("2020-01-01")),
        ("'2020-01-01'::date", Timestamptz(), OpaqueDefault("'2020-01-01'::date")),
        ("'[1,2,3]'::extensions.vector", Vector(3), Literal("[1,2,3]")),
        ("NULL::text", Text(), None),
        ("nextval('s'::regclass)", Integer(), OpaqueDefault("nextval('s'::regclass)")),
    ],
)
def test_a_default(text: str, type_: PgType, default: Default | None) -> None:
    assert read_default(text, type_, "extensions") == default


@pytest.mark.parametrize(
    ("text", "predicate"),
    [
        ("b", IsTrue("b")),
        ("(s IS NULL)", IsNull("s")),
        ("(s IS NOT NULL)", IsNotNull("s")),
        ("(NOT b)", OpaquePredicate("(NOT b)")),
        ("(b IS TRUE)", OpaquePredicate("(b IS TRUE)")),
        ("s", OpaquePredicate("s")),
    ],
)
def test_a_predicate(text: str, predicate: Predicate) -> None:
    assert read_predicate(text, AROUND) == predicate


def _definition(condition: str) -> str:
    return (
        'CREATE TRIGGER "WHEN (" BEFORE UPDATE ON x.y FOR EACH ROW'
        f" WHEN ({condition}) EXECUTE FUNCTION x.f()"
    )


def test_a_changed_row() -> None:
    assert read_when(_definition("(old.* IS DISTINCT FROM new.*)")) == RowChanged()


@pytest.mark.parametrize(
    "condition", ["(old.a > 1)", '(old."*" IS DISTINCT FROM new."*")', "(old.x = ')'::text)"]
)
def test_another_condition_stays_opaque(condition: str) -> None:
    assert read_when(_definition(condition)) == OpaqueCondition(condition)


PIECES = st.sampled_from(
    [*"()[].,;*=<>'\"$\\\n 1-", "::", " AND ", " OR ", " IS ", "NULL", " NOT ", "ANY", "CASE",
     " WHEN ", " THEN ", " ELSE ", " END", "ARRAY[", "text", "numeric(", "'a'::text", "s", "n",
     "octet_length(", "isfinite(", "array_to_string(", "Infinity", "E'\\x'", "1e999", "٣", "<@",
     "DISTINCT FROM", "old", "new", "now()", "/*", "--", "$$", "double precision", "<=", "~"]
)  # fmt: skip
ANYTHING = st.text() | st.lists(PIECES, max_size=15).map("".join)


@given(text=ANYTHING)
def test_no_text_raises_an_error(text: str) -> None:
    read_rule(text, AROUND)
    read_predicate(text, AROUND)
    read_when(text)
    split_comment(text)
    for type_ in TYPES.values():
        read_default(text, type_, "extensions")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, (None, ())),
        ("prose", ("prose", ())),
        ('Known values: ["a", "b"]', (None, ("a", "b"))),
        ('prose\nmore\nKnown values: ["é"]', ("prose\nmore", ("é",))),
        ('Known values: ["a"', ('Known values: ["a"', ())),
        ("Known values: []", ("Known values: []", ())),
        ("Known values: [1]", ("Known values: [1]", ())),
        ('Known values: {"a": 1}', ('Known values: {"a": 1}', ())),
    ],
)
def test_the_comment_of_a_column(
    text: str | None, expected: tuple[str | None, tuple[str, ...]]
) -> None:
    assert split_comment(text) == expected
