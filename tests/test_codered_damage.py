"""Every object of the CodeRed schema is damaged in every way, one damage at a time, and named."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from damage import Damage, damages

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.emit.access import with_access
from codered_spec.emit.rollups import expanded
from codered_spec.emit.views import view_sql
from codered_spec.migrate.diff import diff
from codered_spec.migrate.directory import read_directory
from codered_spec.migrate.expressible import expressible
from codered_spec.migrate.lowering import raised
from codered_spec.migrate.runner import migrate
from codered_spec.migrate.verify import verify
from codered_spec.model.check_roles import needed_names
from codered_spec.model.normalize import physical
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sources.database import read_catalog
from codered_spec.sources.spec import canonical_text, dump_schema, read_spec
from codered_spec.sql import identifier

ROOT = Path(__file__).resolve().parents[1]
SPEC = load_spec(ROOT / "schema.yaml")
CODERED = replace(expanded(replace(SPEC, roles=())), views=())
"""With the objects that keep the rollups; without views and policies, which go with each column
that they read. Damages to rights have a test of their own.
"""
DAMAGES = tuple(damages(CODERED))


def table_of(damage: Damage) -> str:
    """The first table that a damage names, or "schema"."""
    heads = sorted(address.partition(".")[0] for address in damage.addresses)
    return next((head for head in heads if CODERED.table(head)), "schema")


EVERY = int(os.environ.get("DAMAGES_EVERY", "3"))
"""Every so many-th damage is done, and the first of each kind; the deep session does all."""
GROUPS: dict[str, list[Damage]] = {}
KINDS: set[str] = set()
for number, found in enumerate(DAMAGES):
    if found.kind not in KINDS or number % EVERY == 0:
        KINDS.add(found.kind)
        GROUPS.setdefault(table_of(found), []).append(found)


@pytest.fixture(scope="module")
def database(server: EmbeddedServer, template: str) -> Iterator[str]:
    """The name of a database that the migrations have made."""
    with made_by_migrations(server, template) as name:
        with connect(server.dsn(database=name)) as connection:
            assert verify(connection, SPEC) == ()
            for statement in _bare():
                connection.execute(statement.encode())
        yield name


@pytest.fixture
def migrated(server: EmbeddedServer, database: str) -> Iterator[Connection]:
    """A superuser's connection to it: one for each test, as a backend slows with each damage."""
    with connect(server.dsn(SUPERUSER, database)) as superuser:
        yield superuser


@contextmanager
def made_by_migrations(server: EmbeddedServer, template: str) -> Iterator[str]:
    """The name of a database that is dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    with connect(server.dsn(SUPERUSER)) as owner:
        create = f"create database {identifier(name)} owner postgres template"
        owner.execute(f"{create} {identifier(template)}".encode())
        with connect(server.dsn(database=name)) as connection:
            migrate(connection, read_directory(ROOT / "migrations"), report=lambda _line: None)
        yield name
        owner.execute(f"drop database {identifier(name)} with (force)".encode())


def _bare() -> Iterator[str]:
    """Takes away what would go with a column: views, policies, and what these call."""
    yield from (f"drop view {identifier(SPEC.name, view.name)}" for view in SPEC.views)
    for table in with_access(SPEC, expanded(SPEC)).tables:
        name = identifier(SPEC.name, table.name)
        yield from (f"drop policy {identifier(p.name)} on {name}" for p in table.policies)
        yield f"alter table {name} disable row level security"
    relations, functions = needed_names(SPEC.roles)
    yield f"drop table {identifier(SPEC.name, relations[0])}"
    yield from (f"drop function {identifier(SPEC.name, function)}" for function in functions)


def test_the_migrations_make_what_the_spec_says(migrated: Connection) -> None:
    assert verify(migrated, CODERED) == ()


@pytest.mark.parametrize("name", [view.name for view in SPEC.views])
def test_each_damage_to_a_view_is_named(migrated: Connection, name: str) -> None:
    view = next(view for view in SPEC.views if view.name == name)
    want = replace(CODERED, views=(view,))
    own = identifier(SPEC.name, name)
    other = f"select * from ({view.query}) q where true"
    damage = [
        f"drop view {own}",
        f"create or replace view {own} with (security_invoker = true) as {other}",
        f"alter view {own} set (security_invoker = false)",
        f"alter view {own} reset (security_invoker)",
        f"comment on view {own} is 'another one'",
        f"comment on view {own} is null",
    ]
    for sql in ("select 1", *damage):
        with migrated.transaction(force_rollback=True):
            migrated.execute(view_sql(SPEC, view).encode())
            migrated.execute(sql.encode())
            named = {d.address for d in diff(want, read_catalog(migrated, SPEC.name))}
        assert named == (set() if sql == "select 1" else {name}), sql


WHOLE = with_access(SPEC, expanded(SPEC))
LOSSES = {
    **{
        f"table {t.name}": f"drop table {identifier(SPEC.name, t.name)} cascade"
        for t in WHOLE.tables
    },
    **{
        f"function {f.name}": f"drop function {identifier(SPEC.name, f.name)} cascade"
        for f in WHOLE.functions
    },
    **{f"view {v.name}": f"drop view {identifier(SPEC.name, v.name)}" for v in SPEC.views},
    "a view's rights": f"alter view {identifier(SPEC.name, SPEC.views[0].name)}"
    " reset (security_invoker)",
    "nothing": "select 1",
}


@pytest.fixture(scope="module")
def whole(server: EmbeddedServer, template: str) -> Iterator[Connection]:
    """A connection to a database that has everything."""
    with (
        made_by_migrations(server, template) as name,
        connect(server.dsn(database=name)) as connection,
    ):
        yield connection


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_left_is_a_spec(whole: Connection, loss: str) -> None:
    with whole.transaction(force_rollback=True):
        whole.execute(LOSSES[loss].encode())
        live, left_out = expressible(raised(read_catalog(whole, SPEC.name)))
    text = canonical_text({"format": 1, **dump_schema(live)})
    assert physical(read_spec(text, "live.yaml").schema) == physical(live)
    assert {d.code for d in left_out} <= {"V005"}
    assert loss != "nothing" or not left_out


@pytest.mark.parametrize("group", GROUPS)
def test_every_damage_is_named_and_nothing_else(migrated: Connection, group: str) -> None:
    wrong: list[str] = []
    for damage in GROUPS[group]:
        with migrated.transaction(force_rollback=True):
            migrated.execute(damage.sql.encode())
            named = diff(CODERED, read_catalog(migrated, CODERED.name))
        if {d.address for d in named} != damage.addresses:
            wrong.append(f"{damage}: {'; '.join(map(str, named)) or 'nothing named'}")
    assert not wrong, "\n".join(wrong)


def test_every_object_is_damaged() -> None:
    damaged = frozenset().union(*(damage.addresses for damage in DAMAGES))
    parts = {
        f"{table.name}.{part.name}"
        for table in CODERED.tables
        for part in (*table.columns, *table.constraints, *table.indexes, *table.triggers)
    }
    assert parts | {table.name for table in CODERED.tables} <= damaged


def test_every_comment_is_damaged() -> None:
    commented = {table.name for table in CODERED.tables if table.comment}
    commented |= {
        f"{table.name}.{column.name}"
        for table in CODERED.tables
        for column in table.columns
        if column.comment or column.known
    }
    damaged = frozenset().union(*(d.addresses for d in DAMAGES if "comment" in d.kind))
    assert commented <= damaged


def test_there_are_at_least_forty_kinds_of_damage() -> None:
    assert len({damage.kind for damage in DAMAGES}) >= 40
