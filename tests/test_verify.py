"""Verification of a live database: nothing is said of a sound one, every damage is named."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from damage import Damage, damages
from model_examples import wanted_schema

from codered_spec.connection import Connection, connect
from codered_spec.emit.ddl import emit_sql
from codered_spec.errors import FindingsError
from codered_spec.migrate.diff import diff
from codered_spec.migrate.verify import introspect, verify
from codered_spec.model.normalize import physical
from codered_spec.model.schema import Column, PrimaryKey, Schema, Table
from codered_spec.model.types import Integer
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sources.database import read_catalog, read_database
from codered_spec.sql import identifier

WANTED = wanted_schema()
DAMAGES = tuple(damages(WANTED))
ROUND_TRIPS = 12


@pytest.fixture(scope="module")
def sound(server: EmbeddedServer, template: str) -> Iterator[Connection]:
    """A superuser's connection to a database that is exactly what is wanted."""
    name = identifier(f"test_{uuid.uuid4().hex}")
    # only a superuser may end the session of one that is about to close
    with connect(server.dsn(SUPERUSER)) as connection:
        create = f"create database {name} owner postgres template {identifier(template)}"
        connection.execute(create.encode())
        with connect(server.dsn(database=name)) as owner, owner.transaction():
            owner.execute(emit_sql(WANTED).encode())
        with connect(server.dsn(SUPERUSER, name)) as superuser:
            yield superuser
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def live(connection: Connection) -> Connection:
    """The connection of an ordinary role to a database of its own."""
    with connection.transaction():
        connection.execute(emit_sql(WANTED).encode())
    return connection


class Counting(psycopg.Connection[Any]):
    """A connection that counts what it sends and waits for."""

    round_trips = 0

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        type(self).round_trips += 1
        return super().wait(*args, **kwargs)


def _round_trips(connection: Connection, schema: Schema) -> int:
    with Counting.connect(connection.info.dsn, autocommit=True) as counting:
        before = Counting.round_trips
        verify(counting, schema)
        return Counting.round_trips - before


def _many_tables(number: int) -> Schema:
    tables = (
        Table(f"t{i}", (Column("a", Integer()),), PrimaryKey(f"t{i}_pkey", ("a",)))
        for i in range(number)
    )
    return Schema("many", tuple(tables))


def test_a_sound_database_has_no_difference(sound: Connection) -> None:
    assert verify(sound, WANTED) == ()


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_a_damage_is_named_and_nothing_else(sound: Connection, damage: Damage) -> None:
    with sound.transaction(force_rollback=True):
        sound.execute(damage.sql.encode())
        found = diff(WANTED, read_catalog(sound, WANTED.name))
    assert {d.address for d in found} == damage.addresses, "\n".join(map(str, found))


def test_there_are_many_kinds_of_damage() -> None:
    assert len({damage.kind for damage in DAMAGES}) >= 40


def test_every_object_is_damaged() -> None:
    damaged = frozenset().union(*(damage.addresses for damage in DAMAGES))
    parts = [
        f"{table.name}.{part.name}"
        for table in WANTED.tables
        for part in (*table.columns, *table.constraints, *table.indexes, *table.triggers)
    ]
    assert set(parts) <= damaged


def test_extra_extensions_are_ignored(sound: Connection) -> None:
    with sound.transaction(force_rollback=True):
        sound.execute(b"create extension hstore with schema extensions")
        assert diff(WANTED, read_catalog(sound, WANTED.name)) == ()


def test_a_missing_extension_is_named(live: Connection) -> None:
    live.execute(b"drop extension vector cascade")
    assert "vector" in {d.address for d in verify(live, WANTED)}


def test_a_missing_schema_is_an_error(live: Connection) -> None:
    with pytest.raises(FindingsError) as caught:
        verify(live, replace(WANTED, name="absent"))
    assert caught.value.diagnostics[0].code == "V001"


@pytest.mark.parametrize("name", ["", "a\0b", "codered\n", "x" * 100, "'; drop schema codered; --"])
def test_a_strange_schema_name_is_an_error(live: Connection, name: str) -> None:
    with pytest.raises(FindingsError):
        read_database(live, name)


def test_the_transaction_is_ended(live: Connection) -> None:
    verify(live, WANTED)
    assert live.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_the_transaction_is_ended_after_an_error(live: Connection) -> None:
    with pytest.raises(FindingsError):
        read_database(live, "absent")
    assert live.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_connection_without_autocommit_stays_one(live: Connection) -> None:
    live.autocommit = False
    assert (verify(live, WANTED), live.autocommit) == ((), False)


def test_settings_of_the_session_do_not_matter(live: Connection) -> None:
    live.execute(
        b"set search_path = codered, extensions; set quote_all_identifiers = on;"
        b" set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set extra_float_digits = -5;"
        b" set standard_conforming_strings = on; set intervalstyle = 'iso_8601'"
    )
    assert verify(live, WANTED) == ()


def test_reading_leaves_no_setting_behind(live: Connection) -> None:
    with live.transaction():
        live.execute(b"set local search_path = codered")
        read_catalog(live, WANTED.name)
        row = live.execute(b"show search_path").fetchone()
    assert row == ("codered",)


def test_a_role_without_privileges_can_verify(live: Connection) -> None:
    with live.transaction(force_rollback=True):
        live.execute(b"set local role anon")
        assert diff(WANTED, read_catalog(live, WANTED.name)) == ()


def test_a_read_only_session_can_verify(live: Connection) -> None:
    live.execute(b"set default_transaction_read_only = on")
    assert verify(live, WANTED) == ()


def test_the_number_of_round_trips(live: Connection) -> None:
    assert _round_trips(live, WANTED) == ROUND_TRIPS


def test_the_number_of_round_trips_does_not_grow(live: Connection) -> None:
    many = _many_tables(200)
    live.execute(emit_sql(many).encode())
    assert _round_trips(live, many) == ROUND_TRIPS


def test_introspection_gives_the_spec_back(live: Connection) -> None:
    assert introspect(live, WANTED.name) == (physical(WANTED), ())


def test_introspection_names_what_a_spec_cannot_contain(live: Connection) -> None:
    live.execute(b"alter table codered.tasks add place point, add check (attempts % 2 = 0)")
    found = {(d.code, d.subject) for d in introspect(live, WANTED.name)[1]}
    assert found == {("V005", "tasks.place"), ("V005", "tasks.tasks_attempts_check")}


def test_introspection_leaves_out_what_depends_on_it(live: Connection) -> None:
    live.execute(
        b"alter table codered.tasks add place point, add extra int, "
        b"add constraint odd unique (extra) include (place)"
    )
    schema, _ = introspect(live, WANTED.name)
    tasks = schema.table("tasks")
    assert tasks is not None
    assert [unique.name for unique in tasks.uniques] == ["tasks_project_id_id_key"]
