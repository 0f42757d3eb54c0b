"""What the emitter writes and Postgres keeps, the reader finds again: for random valid models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from model_strategies import schemas

from codered_spec.connection import Connection
from codered_spec.emit.ddl import emit_sql
from codered_spec.migrate.diff import diff
from codered_spec.migrate.expressible import expressible
from codered_spec.migrate.lowering import lowered, raised
from codered_spec.model.check import check, errors
from codered_spec.model.normalize import fingerprint
from codered_spec.model.schema import Schema
from codered_spec.sources.database import read_catalog

EXAMPLES = int(os.environ.get("ROUND_TRIP_EXAMPLES", "200"))
"""Raise it for a deep run: ``ROUND_TRIP_EXAMPLES=20000 pytest tests/test_round_trip.py``."""


def random_schemas(share: int = 1) -> settings:
    """Settings of a test on a live database: ``EXAMPLES`` divided by ``share``."""
    return settings(
        max_examples=max(EXAMPLES // share, 1),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    )


@pytest.fixture
def vectors(connection: Connection) -> Connection:
    """A connection to a fresh database with pgvector."""
    connection.execute(b"create extension if not exists vector with schema extensions")
    return connection


@contextmanager
def applied(connection: Connection, schema: Schema) -> Iterator[None]:
    """A transaction in which the schema exists, and nowhere else."""
    connection.execute(b"begin")
    try:
        connection.execute(emit_sql(schema).encode())
        yield
    finally:
        connection.execute(b"rollback")


def read_back(connection: Connection, schema: Schema) -> Schema:
    """What the database says that it got."""
    with applied(connection, schema):
        return read_catalog(connection, schema.name)


@random_schemas()
@given(schema=schemas())
def test_a_schema_comes_back_as_it_was(vectors: Connection, schema: Schema) -> None:
    assert read_back(vectors, schema) == lowered(schema)


@random_schemas(share=10)
@given(schema=schemas())
def test_the_fingerprint_survives(vectors: Connection, schema: Schema) -> None:
    assert fingerprint(read_back(vectors, schema)) == fingerprint(lowered(schema))


@random_schemas(share=10)
@given(schema=schemas())
def test_there_is_no_difference(vectors: Connection, schema: Schema) -> None:
    assert diff(schema, read_back(vectors, schema)) == ()


@random_schemas(share=10)
@given(schema=schemas())
def test_what_is_read_is_a_valid_spec_again(vectors: Connection, schema: Schema) -> None:
    live, _ = expressible(raised(read_back(vectors, schema)))
    assert errors(check(live)) == ()
