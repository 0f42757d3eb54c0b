"""The DDL emitter: golden cases, what it refuses, and that no text gets out of its quotes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from model_strategies import identifiers, schemas, texts

from codered_spec.connection import Connection
from codered_spec.emit.ddl import FINGERPRINT_LINE, column_comment, emit_migration, emit_sql
from codered_spec.emit.file import File
from codered_spec.errors import InputError
from codered_spec.model.check import check
from codered_spec.model.normalize import fingerprint
from codered_spec.model.schema import (
    Check,
    Column,
    Event,
    Extension,
    Function,
    Index,
    IndexKey,
    Literal,
    Matches,
    OneOf,
    OpaqueBody,
    OpaqueColumn,
    OtherObject,
    PrimaryKey,
    RowChanged,
    Schema,
    SetUpdatedAt,
    Table,
    Timing,
    Trait,
    Trigger,
)
from codered_spec.model.types import Text, Timestamptz, Uuid
from codered_spec.sources.spec import read_spec
from codered_spec.sql import split_statements, tokenize

CASES = Path(__file__).parent / "cases" / "ddl"

on_a_server = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

TABLE = Table("t", (Column("id", Uuid()),), PrimaryKey("t_pkey", ("id",)))


def case_schema(case: str) -> Schema:
    path = CASES / case / "schema.yaml"
    return read_spec(path.read_text(encoding="utf-8"), path.name).schema


CASE_NAMES = sorted(path.parent.name for path in CASES.glob("*/schema.yaml"))


@pytest.mark.parametrize("case", CASE_NAMES)
def test_a_spec_gives_the_expected_sql(case: str) -> None:
    expected = CASES / case / "expected.sql"
    text = emit_sql(case_schema(case))
    if os.environ.get("UPDATE_CASES"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASE_NAMES)
def test_a_case_is_a_sound_spec(case: str) -> None:
    assert check(case_schema(case)) == ()


@pytest.mark.parametrize("case", CASE_NAMES)
def test_postgres_accepts_a_case(connection: Connection, case: str) -> None:
    with connection.transaction():
        connection.execute(emit_sql(case_schema(case)).encode())


def test_a_migration_is_one_file() -> None:
    schema = Schema("s", (TABLE,))
    assert emit_migration(schema, "m/1.sql") == (File("m/1.sql", emit_sql(schema)),)


def test_the_header_says_the_fingerprint() -> None:
    schema = Schema("s", (TABLE,))
    assert f"\n{FINGERPRINT_LINE}{fingerprint(schema)}\n" in emit_sql(schema)


@pytest.mark.parametrize("name", ["public", "extensions"])
def test_a_schema_that_exists_already_is_not_made_again(name: str) -> None:
    schema = Schema(name, extensions=(Extension("vector", "extensions"),))
    made = [s.text for s in split_statements(emit_sql(schema)) if f"schema {name}" in s.text]
    assert all("if not exists" in statement for statement in made)


def test_a_column_without_known_values_has_its_own_comment() -> None:
    assert column_comment(Column("c", Text(), comment="why")) == "why"


def test_known_values_follow_the_comment() -> None:
    column = Column("c", Text(), known=("é", '"'), comment="why")
    assert column_comment(column) == 'why\nKnown values: ["é", "\\""]'


# ---- transaction control ----------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas())
def test_the_sql_has_no_transaction_control(schema: Schema) -> None:
    words = set()
    for statement in split_statements(emit_sql(schema)):
        tokens = tokenize(statement.text)
        words.add(next(token.text for token in tokens if token.kind not in ("space", "comment")))
    assert words <= {"set", "create", "alter", "comment", "revoke"}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas())
def test_equal_models_give_equal_bytes(schema: Schema) -> None:
    assert emit_sql(replace(schema, tables=tuple(schema.tables))) == emit_sql(schema)


# ---- refusals ---------------------------------------------------------------------------------


def with_table(**parts: Any) -> Schema:
    return Schema("s", (replace(TABLE, **parts),))


def with_trigger(**parts: Any) -> Schema:
    parts = {"timing": Timing.BEFORE, "events": (Event.UPDATE,), **parts}
    return with_table(triggers=(Trigger("g", "f", **parts),))


KEYS = (IndexKey("id"),)


@pytest.mark.parametrize(
    "schema",
    [
        Schema("s", others=(OtherObject("view", "v"),)),
        with_table(force_row_security=True),
        with_table(opaque_columns=(OpaqueColumn("c", "money"),)),
        with_table(opaque_constraints=(("k", "exclude"),)),
        with_table(storage="partitioned"),
        with_table(columns=(Column("id", Uuid(), generated="identity"),)),
        with_table(columns=(Column("id", Uuid(), collation="C"),)),
        with_table(indexes=(Index("i", KEYS, opaque_keys=("lower(id)",)),)),
        with_table(indexes=(Index("i", KEYS, include=("id",)),)),
        with_table(indexes=(Index("i", KEYS, valid=False),)),
        with_trigger(opaque="create constraint trigger"),
        with_trigger(enabled=False),
        with_table(primary_key=PrimaryKey("k", ("id",), (Trait.DEFERRABLE,))),
        with_table(checks=(Check("k", Matches("id", "^$"), (Trait.NOT_VALID,)),)),
    ],
)
def test_what_cannot_be_emitted_is_refused(schema: Schema) -> None:
    with pytest.raises(InputError) as caught:
        emit_sql(schema)
    assert {d.code for d in caught.value.diagnostics} == {"M021"}


def test_every_refusal_is_reported() -> None:
    schema = with_table(force_row_security=True, storage="partitioned")
    with pytest.raises(InputError) as caught:
        emit_sql(schema)
    assert len(caught.value.diagnostics) == 2


# ---- parts that only rollups have -------------------------------------------------------------


def test_an_unlogged_table_says_so() -> None:
    assert "create unlogged table s.t (" in emit_sql(with_table(storage="unlogged"))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            {"deferred": True},
            """create constraint trigger g
  after update on s.t
  deferrable initially deferred
  for each row
""",
        ),
        (
            {"old_rows": "old_ones", "new_rows": "New", "each_row": False},
            """create trigger g
  after update on s.t
  referencing old table as old_ones new table as "New"
  for each statement
""",
        ),
    ],
)
def test_a_trigger_says_when_it_fires_and_what_it_sees(
    parts: dict[str, Any], expected: str
) -> None:
    assert expected in emit_sql(with_trigger(timing=Timing.AFTER, **parts))


# ---- quoting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["$$", "$q$", "$$ $q$ $qq$", "begin $$;$$ end", "$"])
def test_the_body_of_a_function_stays_whole(connection: Connection, source: str) -> None:
    body = OpaqueBody(f"begin return null; /* {source} */ end")
    schema = Schema("s", functions=(Function("f", body),))
    with connection.transaction():
        connection.execute(emit_sql(schema).encode())
    row = connection.execute("select prosrc from pg_proc where proname = 'f'").fetchone()
    assert row == (body.source,)


ATTACKS = st.sampled_from(
    [
        "x; drop table public.canary; --", "x'; drop table public.canary; --",
        "x\"; drop table public.canary; --", "x\\'; drop table public.canary; --",
        "*/ drop table public.canary; /*", "x\n; drop table public.canary; --",
        "x\r; drop table public.canary; --", "$$; drop table public.canary; $$",
        "x)); drop table public.canary; --", "E'\\''; drop table public.canary; --",
    ]
)  # fmt: skip


@on_a_server
@given(
    names=st.lists(ATTACKS | identifiers(), min_size=8, max_size=8, unique=True),
    words=st.lists(ATTACKS | texts().filter(bool), min_size=4, max_size=4, unique=True),
)
@example(
    names=["s", "t", "k", "n", "i", "g", "f", "c"],
    words=["a", "x'; drop table public.canary; --", "b\\", "$$"],
)
def test_no_name_or_text_escapes_from_its_quotes(
    connection: Connection, names: list[str], words: list[str]
) -> None:
    space, table, key, column, index, trigger, function, rule = names
    assume(space not in ("public", "extensions", "auth", "information_schema"))
    assume(not space.startswith("pg_") and column not in ("id", "at"))
    attacked = Schema(
        space,
        (
            Table(
                table,
                (
                    Column("id", Uuid()),
                    Column("at", Timestamptz()),
                    Column(column, Text(), False, Literal(words[1]), comment=words[2]),
                    Column(f"{column[:10]}?", Text(), known=tuple(words)),
                ),
                PrimaryKey(key, ("id",)),
                checks=(Check(rule, OneOf(column, tuple(words))),),
                indexes=(Index(index, (IndexKey(column),)),),
                triggers=(
                    Trigger(
                        trigger, function, Timing.BEFORE, (Event.UPDATE,), True, RowChanged(),
                        (column,),
                    ),
                ),
                comment=words[0],
            ),
        ),
        functions=(Function(function, SetUpdatedAt("at"), comment=words[3]),),
        comment=words[3],
    )  # fmt: skip
    before = user_tables(connection)
    with connection.transaction(force_rollback=True):
        connection.execute("create table public.canary ()")
        connection.execute(emit_sql(attacked).encode())
        after = user_tables(connection)
    assert after - before == {("public", "canary"), (space, table)}


def user_tables(connection: Connection) -> set[tuple[str, str]]:
    rows = connection.execute(
        "select schemaname, tablename from pg_tables"
        " where schemaname not in ('pg_catalog', 'information_schema')"
    )
    return {(row[0], row[1]) for row in rows}
