"""The closed family of types: its spelling, its aliases, and what Postgres calls them."""

from __future__ import annotations

import pytest
from hypothesis import given
from model_strategies import types

from codered_spec.connection import Connection
from codered_spec.emit.expressions import sql_type
from codered_spec.model.types import (
    TYPE_NAMES,
    Array,
    BigInt,
    Boolean,
    DoublePrecision,
    Integer,
    Numeric,
    PgType,
    Real,
    SmallInt,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
    base_name,
    parse_type,
)

SCALARS = [
    "uuid", "text", "varchar(1)", "varchar(10485760)", "boolean", "smallint", "integer", "bigint",
    "numeric", "numeric(1,0)", "numeric(10,2)", "numeric(1000,1000)", "real", "double precision",
    "date", "timestamptz", "jsonb", "vector", "vector(1)", "vector(384)", "vector(16000)",
]  # fmt: skip


@given(type_=types(vectors=True))
def test_a_type_is_parsed_from_its_spelling(type_: PgType) -> None:
    assert parse_type(str(type_)) == type_


@pytest.mark.parametrize("spelling", SCALARS)
def test_the_canonical_spelling_is_kept(spelling: str) -> None:
    assert str(parse_type(spelling)) == spelling


def test_the_names_for_messages_are_canonical() -> None:
    assert {str(parse_type(name)) for name in TYPE_NAMES if name != "varchar(n)"} == {
        *TYPE_NAMES
    } - {"varchar(n)"}


@pytest.mark.parametrize(
    ("alias", "type_"),
    [
        ("bool", Boolean()),
        ("int2", SmallInt()),
        ("int", Integer()),
        ("int4", Integer()),
        ("int8", BigInt()),
        ("float4", Real()),
        ("float8", DoublePrecision()),
        ("decimal", Numeric()),
        ("decimal(5)", Numeric(5, 0)),
        ("numeric(5)", Numeric(5, 0)),
        ("character varying(3)", Varchar(3)),
        ("timestamp with time zone", Timestamptz()),
        ("TIMESTAMPTZ", Timestamptz()),
        ("Numeric ( 10 , 2 )", Numeric(10, 2)),
        ("double  precision", DoublePrecision()),
        (" uuid ", Uuid()),
        ("text[]", Array(Text())),
        ("text []", Array(Text())),
        ("vector(3)[]", Array(Vector(3))),
    ],
)
def test_an_alias_is_the_same_type(alias: str, type_: PgType) -> None:
    assert parse_type(alias) == type_


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "text[][]", "varchar", "char(3)", "timestamp", "time", "json", "money", "serial",
        "uuid(3)", "text(3)", "integer(3)", "varchar()", "varchar(1,2)", "vector(1,2)",
        "numeric(1,2,3)", "numeric(-1)", "numeric(1,-1)", "varchar(1000000000)", "numeric(٣)",
        "text; drop table x", "public.citext", "text collate C", "tex t", "text[3]", "float",
    ],
)  # fmt: skip
def test_a_type_outside_of_the_family_is_refused(text: str) -> None:
    assert parse_type(text) is None


@pytest.mark.parametrize(
    ("spelling", "base"),
    [("numeric(10,2)", "numeric"), ("varchar(3)[]", "varchar[]"), ("uuid", "uuid")],
)
def test_the_base_name_has_no_parameters(spelling: str, base: str) -> None:
    type_ = parse_type(spelling)
    assert type_ is not None
    assert base_name(type_) == base


@pytest.mark.parametrize("spelling", [*SCALARS, *(f"{scalar}[]" for scalar in SCALARS)])
def test_postgres_gives_the_type_the_name_that_is_parsed_back(
    connection: Connection, spelling: str
) -> None:
    connection.execute("create extension if not exists vector with schema extensions")
    type_ = parse_type(spelling)
    assert type_ is not None
    connection.execute(f"create temp table t (c {sql_type(type_, 'extensions')})".encode())
    connection.execute("set search_path = extensions")
    row = connection.execute(
        "select format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = 'pg_temp.t'::regclass and attname = 'c'"
    ).fetchone()
    assert row is not None
    assert parse_type(row[0]) == type_
