"""A spec with roles: through text, model, SQL, a server and the catalog, and back to the text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from model_strategies import role_schemas

from codered_spec.compiler import load
from codered_spec.connection import Connection
from codered_spec.emit.access import with_access, without_access
from codered_spec.emit.ddl import emit_sql
from codered_spec.emit.rollups import expanded
from codered_spec.migrate.diff import diff
from codered_spec.migrate.expressible import expressible
from codered_spec.migrate.lowering import lowered, raised
from codered_spec.model.check_roles import needed_names, way_to
from codered_spec.model.normalize import normalize, physical
from codered_spec.model.schema import (
    Column,
    ForeignKey,
    PrimaryKey,
    Right,
    Role,
    RowScope,
    Schema,
    Table,
)
from codered_spec.model.types import Uuid
from codered_spec.sources.database import read_catalog
from codered_spec.sources.spec import canonical_text, dump_schema, read_spec

ROOT: Final = Path(__file__).resolve().parent.parent
REAL: Final = load(str(ROOT / "schema.yaml")).schema

on_a_server = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)


def live(connection: Connection, schema: Schema, *more: str) -> Schema:
    """What a server says of the schema, after more statements."""
    connection.execute(b"begin")
    try:
        for statement in (emit_sql(schema), *more):
            connection.execute(statement.encode())
        return read_catalog(connection, schema.name)
    finally:
        connection.execute(b"rollback")


@on_a_server
@given(schema=role_schemas())
def test_any_roles_come_back_from_a_server(connection: Connection, schema: Schema) -> None:
    found = live(connection, schema)
    assert diff(schema, found) == ()
    assert found == lowered(schema)
    again, complaints = expressible(raised(found))
    assert complaints == ()
    assert normalize(again).roles == normalize(schema).roles


@on_a_server
@given(schema=role_schemas())
def test_any_roles_survive_their_text(schema: Schema) -> None:
    text = canonical_text({"format": 1, **dump_schema(schema)})
    again = read_spec(text, "x").schema
    assert normalize(again) == normalize(schema)
    assert canonical_text({"format": 1, **dump_schema(again)}) == text


@on_a_server
@given(schema=role_schemas())
def test_rights_given_and_taken_change_nothing(schema: Schema) -> None:
    wide = with_access(schema, expanded(schema))
    assert with_access(wide, wide) == wide
    assert physical(without_access(wide)) == physical(schema)


def test_a_way_over_several_tables_comes_back(connection: Connection) -> None:
    def own(name: str, *columns: Column, to: str | None = None) -> Table:
        keys = () if to is None else (ForeignKey(f"{name}_up", ("up",), to, ("id",)),)
        key = PrimaryKey(f"{name}_pkey", ("id",))
        return Table(name, (Column("id", Uuid()), *columns), key, foreign_keys=keys)

    up = Column("up", Uuid())
    tables = (own("a"), own("b", up, to="a"), own("c", up, to="b"), own("d", up, to="c"))
    rights = tuple(Right("select", table.name) for table in tables)
    schema = Schema("s", tables, roles=(Role("r", RowScope("a", ("a",)), rights),))
    found = live(connection, schema)
    assert diff(schema, found) == ()
    assert normalize(raised(found)).roles == normalize(schema).roles


def test_the_real_roles_come_back_with_the_rollups(connection: Connection) -> None:
    found = live(connection, REAL)
    assert diff(REAL, found) == ()
    again, complaints = expressible(raised(found))
    assert complaints == ()
    assert normalize(again).roles == normalize(REAL).roles
    assert again.rollups == normalize(REAL).rollups


@pytest.mark.parametrize(
    "damage",
    [
        "grant select on codered.tasks to anon",
        "alter policy codered_agent_select on codered.tasks using (true)",
        "alter table codered.tasks disable row level security",
        "grant execute on function codered.issue_token(uuid, interval) to codered_agent",
    ],
)
def test_rights_that_somebody_changed_are_no_roles(connection: Connection, damage: str) -> None:
    found = live(connection, REAL, damage)
    assert diff(REAL, found) != ()
    again, complaints = expressible(raised(found))
    assert again.roles == ()
    assert complaints


def test_grants_are_nobodys_business_without_roles(connection: Connection) -> None:
    plain = replace(REAL, roles=())
    assert diff(plain, live(connection, plain, "grant all on codered.tasks to anon")) == ()


def test_the_names_that_are_judged_are_the_names_that_are_made() -> None:
    wide = with_access(REAL, expanded(REAL))
    relations, functions = needed_names(REAL.roles)
    before = expanded(REAL)
    tables = {t.name for t in wide.tables} - {t.name for t in before.tables}
    keys = {k.name for t in wide.tables if t.name in tables for k in t.keys}
    assert tables | keys == set(relations)
    made = {f.name for f in wide.functions} - {f.name for f in before.functions}
    assert made == set(functions)


def test_every_table_belongs_to_a_project_or_to_none() -> None:
    ways = {t.name: way_to(REAL, t, "projects") for t in REAL.tables}
    assert {name for name, way in ways.items() if way is None} == {
        "agents",
        "llm_models",
        "llm_providers",
    }
    assert ways["projects"] == ()
    far = {name: [fk.table for fk in way] for name, way in ways.items() if way and len(way) > 1}
    assert far == {
        "llm_degradation_events": ["agent_runs", "projects"],
        "long_run_checkpoints": ["long_runs", "projects"],
    }
