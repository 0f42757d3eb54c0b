"""A spec with rollups: through text, model, SQL, a server and the catalog, and back to the text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from model_strategies import rollup_schemas

from codered_spec.compiler import load
from codered_spec.connection import Connection
from codered_spec.emit.ddl import emit_sql
from codered_spec.emit.reference import emit_reference
from codered_spec.emit.rollups import contracted, expanded
from codered_spec.migrate.expressible import expressible
from codered_spec.migrate.lowering import lowered, raised
from codered_spec.migrate.verify import introspect, verify
from codered_spec.model.check import check
from codered_spec.model.check_rollups import needed_functions, needed_names
from codered_spec.model.normalize import fingerprint, normalize, physical
from codered_spec.model.schema import Measure, Rollup, RollupKey, Schema, Window
from codered_spec.sources.database import read_catalog
from codered_spec.sources.spec import (
    NotExpressibleError,
    canonical_text,
    dump_schema,
    parse_spec,
    read_spec,
)

ROOT: Final = Path(__file__).resolve().parent.parent
REAL: Final = load(str(ROOT / "schema.yaml")).schema

ERRORS: Final = """\
format: 1
schema: watch
title: What went wrong
rollups:
  errors_per_day:
    source: errors
    days:
      day: seen_at
    keys:
      severity: severity
    counts: [errors]
  errors_between:
    source: errors
    keys:
      service_id: service_id
    window:
      of: seen_at
      start: from_time
      end: to_time
    sums:
      repeats: repeats
    counts: [errors]
  errors_per_quarter:
    source: errors
    days:
      day: first_at
    keys:
      severity: severity
    window:
      of: seen_at
      start: from_time
      end: to_time
      grid: 15 minutes
    sums:
      cost: cost
      small_cost: cost
  errors_of_services:
    source: errors
    keys:
      service: service_id
    sums:
      repeats: repeats
    counts: [errors]
    on_demand: true
  answers_per_error:
    source: answers
    keys:
      error_id: error_id
    counts: [answers, rows]
tables:
  errors:
    columns:
      id: {type: uuid, primary_key: true, default: gen_random_uuid()}
      service_id: {type: uuid}
      severity: {type: text, one_of: [low, high]}
      first_at: {type: timestamptz, finite: true}
      seen_at: {type: timestamptz, default: now(), finite: true}
      repeats: {type: integer, default: 0, min: 0}
      cost: {type: "numeric(8,3)", nullable: true, min: 0}
  answers:
    columns:
      id: {type: bigint, primary_key: true}
      error_id: {type: uuid, references: errors.id, on_delete: cascade}
    indexes:
      answers_error_id_idx: {columns: [error_id]}
  errors_per_day:
    columns:
      day: {type: date}
      severity: {type: text, one_of: [low, high]}
      errors: {type: integer}
    primary_key: {columns: [day, severity]}
  errors_between:
    columns:
      id: {type: uuid, primary_key: true, default: gen_random_uuid()}
      service_id: {type: uuid}
      from_time: {type: timestamptz}
      to_time: {type: timestamptz}
      repeats: {type: bigint}
      errors: {type: bigint}
    uniques:
      errors_between_key: {columns: [service_id, from_time, to_time]}
  errors_per_quarter:
    columns:
      day: {type: date}
      severity: {type: text, one_of: [low, high]}
      from_time: {type: timestamptz}
      to_time: {type: timestamptz}
      cost: {type: numeric}
      small_cost: {type: "numeric(9,4)"}
    primary_key: {columns: [severity, day, from_time, to_time]}
  errors_of_services:
    columns:
      service: {type: uuid, primary_key: true}
      repeats: {type: bigint}
      errors: {type: integer}
      note: {type: text, nullable: true}
  answers_per_error:
    columns:
      error_id: {type: uuid, primary_key: true}
      answers: {type: bigint}
      rows: {type: integer}
"""
"""A second spec with every word: two sources, one of them with several rollups."""

ERRORS_SCHEMA: Final = read_spec(ERRORS, "errors.yaml").schema


def rollup(schema: Schema, name: str) -> Rollup:
    return next(r for r in schema.rollups if r.name == name)


# ---- text and model ---------------------------------------------------------------------------


def test_every_word_has_its_place_in_the_model() -> None:
    assert rollup(ERRORS_SCHEMA, "errors_per_quarter") == Rollup(
        "errors_per_quarter",
        "errors",
        (RollupKey("day", "first_at", day=True), RollupKey("severity", "severity")),
        (Measure("cost", "cost"), Measure("small_cost", "cost")),
        Window("seen_at", "from_time", "to_time", 15),
    )


def test_a_count_has_no_source() -> None:
    found = rollup(ERRORS_SCHEMA, "answers_per_error")
    assert found.measures == (Measure("answers"), Measure("rows"))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("errors_per_day", True),
        ("errors_between", False),
        ("errors_per_quarter", True),
        ("errors_of_services", False),
    ],
)
def test_writes_keep_what_is_neither_on_demand_nor_without_a_grid(name: str, kept: bool) -> None:
    assert rollup(ERRORS_SCHEMA, name).kept is kept


@pytest.mark.parametrize("schema", [ERRORS_SCHEMA, REAL], ids=["errors", "codered"])
def test_a_spec_with_rollups_is_sound(schema: Schema) -> None:
    assert check(schema) == ()


@pytest.mark.parametrize("schema", [ERRORS_SCHEMA, REAL], ids=["errors", "codered"])
def test_a_spec_with_rollups_survives_its_text(schema: Schema) -> None:
    text = canonical_text({"format": 1, **dump_schema(schema)})
    assert read_spec(text, "x").schema == schema


def test_a_complaint_of_a_rollup_has_a_place() -> None:
    spec = read_spec(ERRORS.replace("finite: true", "note: why"), "errors.yaml")
    places = {str(d.place) for d in spec.locate(check(spec.schema))}
    assert places
    assert all(place.startswith("errors.yaml:") for place in places)


# ---- the reference page -----------------------------------------------------------------------


def test_the_page_of_tables_says_what_is_a_rollup_of_what() -> None:
    page = emit_reference(ERRORS_SCHEMA, ())[0].text
    parts = {p.partition("`")[0]: p for p in page.split("\n## `")}
    assert {name for name in parts if "Rollup of" in parts[name]} == {
        r.name for r in ERRORS_SCHEMA.rollups
    }
    assert (
        "Rollup of `errors`, kept on every write: one row per `day` (UTC day of `first_at`),"
        " `severity` and window of 15 minutes of `seen_at` from `from_time` to `to_time`;"
        " `cost` = sum of `cost`, `small_cost` = sum of `cost`."
    ) in parts["errors_per_quarter"]
    assert "\nRolled up into `errors_per_day`, " in parts["errors"]


# ---- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [ERRORS_SCHEMA, REAL], ids=["errors", "codered"])
def test_the_names_that_are_judged_are_the_names_that_are_made(schema: Schema) -> None:
    made = expanded(schema)
    old = {t.name: t for t in schema.tables}
    tables = [t for t in made.tables if t.name not in old]
    kept = [r for r in schema.rollups if r.kept]
    sources = dict.fromkeys(r.source for r in kept)
    needed = {s: needed_names(s, tuple(r for r in kept if r.source == s)) for s in sources}
    assert {t.name: [key.name for key in t.keys] for t in tables} == {
        n.relations[0]: list(n.relations[1:]) for n in needed.values()
    }
    assert {f.name for f in made.functions} - {f.name for f in schema.functions} == {
        *(name for n in needed.values() for name in n.functions),
        *(name for r in schema.rollups for name in needed_functions(r)),
    }
    for source, names in needed.items():
        new = _triggers(made, source) - {t.name for t in old[source].triggers}
        assert new == set(names.triggers)
        assert _triggers(made, names.relations[0]) == set(names.inner_triggers)
        deltas = made.table(names.relations[0])
        assert deltas is not None
        assert {c.name for c in deltas.columns} == {column for column, _ in names.parts}


def _triggers(schema: Schema, table: str) -> set[str]:
    found = schema.table(table)
    assert found is not None
    return {t.name for t in found.triggers}


# ---- the server -------------------------------------------------------------------------------


def apply(connection: Connection, schema: Schema) -> None:
    """Makes the schema in the database, for good."""
    with connection.transaction():
        connection.execute(emit_sql(schema).encode())


@pytest.mark.parametrize("schema", [ERRORS_SCHEMA, REAL], ids=["errors", "codered"])
def test_a_live_schema_with_rollups_is_what_was_asked_for(
    connection: Connection, schema: Schema
) -> None:
    apply(connection, schema)
    assert verify(connection, schema) == ()
    with connection.transaction():
        live = read_catalog(connection, schema.name)
    assert stored(live) == stored(lowered(schema))
    assert fingerprint(stored(raised(live))) == fingerprint(stored(schema))


@pytest.mark.parametrize("schema", [ERRORS_SCHEMA, REAL], ids=["errors", "codered"])
def test_a_live_schema_is_a_spec_with_its_rollups(connection: Connection, schema: Schema) -> None:
    apply(connection, schema)
    live, complaints = introspect(connection, schema.name)
    assert complaints == ()
    assert stored(live) == stored(schema)


def stored(schema: Schema) -> Schema:
    """The schema without views, whose queries a server spells in its own way."""
    return replace(physical(schema), views=())


def test_a_live_schema_has_the_text_of_its_spec(connection: Connection) -> None:
    data, _ = parse_spec(ERRORS, "errors.yaml")
    apply(connection, ERRORS_SCHEMA)
    live, _ = introspect(connection, "watch")
    found = canonical_text({"format": 1, **_sorted(dump_schema(live))})
    assert found == canonical_text(_sorted(data))


def _sorted(data: dict[str, Any]) -> dict[str, Any]:
    """Tables and rollups by name: a database has no order of them."""
    return {k: dict(sorted(v.items())) if isinstance(v, dict) else v for k, v in data.items()}


def test_a_rollup_that_somebody_changed_is_no_rollup(connection: Connection) -> None:
    apply(connection, ERRORS_SCHEMA)
    connection.execute(b"drop trigger errors_note_delete on watch.errors")
    found = verify(connection, ERRORS_SCHEMA)
    live, complaints = introspect(connection, "watch")
    assert [(d.kind, d.address) for d in found] == [("missing", "errors.errors_note_delete")]
    assert live.rollups == ()
    said = {d.subject: d.message for d in complaints}
    assert said["errors.errors_note_insert"] == (
        "a trigger with transition tables cannot be expressed in a spec"
    )
    assert said["errors_deltas.errors_deltas_fold"] == (
        "a trigger that waits for the end of the transaction cannot be expressed in a spec"
    )
    assert said["errors_deltas"] == "the storage (unlogged) cannot be expressed in a spec"
    assert {d.code for d in complaints} == {"V005"}


@pytest.mark.parametrize("name", ["errors", "errors_deltas"])
def test_triggers_of_a_rollup_have_no_words(name: str) -> None:
    made = expanded(ERRORS_SCHEMA)
    table = made.table(name)
    assert table is not None
    alone = Schema("s", (replace(table, storage=None),))
    with pytest.raises(NotExpressibleError, match="trigger"):
        dump_schema(alone)


def test_a_live_rollup_that_no_spec_may_have_is_left_out(connection: Connection) -> None:
    apply(connection, ERRORS_SCHEMA)
    connection.execute(
        b"alter table watch.errors_of_services drop constraint errors_of_services_pkey"
    )
    live, complaints = introspect(connection, "watch")
    assert "errors_of_services" not in {r.name for r in live.rollups}
    assert [(d.code, d.subject) for d in complaints] == [("V005", "errors_of_services")]


# ---- names of columns -------------------------------------------------------------------------

NAMES: Final = """\
format: 1
schema: s
rollups:
  r:
    source: e
    keys: {KEY: OF}
    window: {of: at, start: START, end: END, grid: 15 minutes}
    sums: {SUM: cost}
tables:
  e:
    columns:
      id: {type: integer, primary_key: true}
      OF: {type: integer}
      at: {type: timestamptz, finite: true}
      cost: {type: integer, min: 0}
  r:
    columns:
      KEY: {type: integer}
      START: {type: timestamptz}
      END: {type: timestamptz}
      SUM: {type: bigint}
    primary_key: {columns: [KEY, START, END]}
"""


@pytest.mark.parametrize(
    "names",
    [
        {"START": "window_from", "END": "window_to"},
        {"START": "only_k"},
        {"KEY": "changed"},
        {"KEY": "own"},
        {"KEY": "d"},
        {"KEY": "empty"},
        {"KEY": "rising"},
        {"SUM": "changed"},
        {"SUM": "own"},
        {"SUM": "r"},
        {"KEY": "xact", "SUM": "ticket"},
        {"OF": "own"},
        {"OF": "d"},
        {"OF": "rising"},
        {"OF": "k2", "KEY": "e", "SUM": "t"},
    ],
)
def test_a_column_may_have_the_name_of_a_variable(
    connection: Connection, names: dict[str, str]
) -> None:
    names = {"OF": "k", "KEY": "k", "START": "a", "END": "b", "SUM": "total", **names}
    text = NAMES
    for word, name in names.items():
        text = text.replace(word, name)
    schema = read_spec(text, "x").schema
    assert check(schema) == ()
    apply(connection, schema)

    def rows(statement: str) -> list[tuple[object, ...]]:
        return connection.execute(statement.encode()).fetchall()

    connection.execute(b"insert into s.e values (1, 1, '2026-01-01 00:01Z', 5)")
    connection.execute(b"insert into s.e values (2, 1, '2026-01-01 00:20Z', 5)")
    connection.execute(b"update s.e set cost = cost - 1 where id = 1")
    connection.execute(b"delete from s.e where id = 2")
    assert rows(f"select {names['KEY']}, {names['SUM']} from s.r") == [(1, 4)]
    connection.execute(b"truncate s.r")
    assert rows("select count(*) from s.check_r()") == [(1,)]
    assert rows("select s.rebuild_r()") == [(1,)]
    assert rows("select s.refresh_r('2026-01-01Z', '2026-01-02Z')") == [(1,)]
    assert rows("select s.refresh_r('2026-01-01Z', '2026-01-02Z', 1)") == [(0,)]
    connection.execute(b"truncate s.r")
    connection.execute(b"update s.e set cost = 1")
    assert rows("select count(*) from s.check_r()") == [(0,)]


# ---- random specs -----------------------------------------------------------------------------

on_a_server = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)


@on_a_server
@given(schema=rollup_schemas())
def test_any_rollup_comes_back_from_a_server(connection: Connection, schema: Schema) -> None:
    connection.execute(b"begin")
    try:
        connection.execute(emit_sql(schema).encode())
        live = read_catalog(connection, schema.name)
    finally:
        connection.execute(b"rollback")
    assert live == lowered(schema)
    found, complaints = expressible(raised(live))
    assert complaints == ()
    assert physical(found) == physical(schema)


@on_a_server
@given(schema=rollup_schemas())
def test_any_rollup_survives_its_text(schema: Schema) -> None:
    text = canonical_text({"format": 1, **dump_schema(schema)})
    again = read_spec(text, "x").schema
    assert normalize(again) == normalize(schema)
    assert canonical_text({"format": 1, **dump_schema(again)}) == text


@on_a_server
@given(schema=rollup_schemas())
def test_expanding_and_contracting_change_nothing(schema: Schema) -> None:
    wide = expanded(schema)
    assert expanded(wide) == wide
    assert physical(contracted(wide)) == physical(schema)
