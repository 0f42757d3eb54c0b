"""Reads the catalog of a live database: one snapshot, a constant number of round trips.

Only the system catalog is read, which every role may do, on a standby too. Not read, because the
model does not hold it: owners, comments of anything but schema, tables, columns and
functions, storage settings of tables and columns, tablespaces, replica identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from codered_spec.connection import Connection, database_error
from codered_spec.errors import Diagnostic, FindingsError
from codered_spec.model.schema import Schema
from codered_spec.sources.database.assemble import Row, assemble

QUERIES: Final = (
    "tables",
    "columns",
    "constraints",
    "indexes",
    "triggers",
    "functions",
    "views",
    "policies",
    "others",
)

_SETTINGS: Final = b"""\
set local search_path = '';
set local timezone = 'UTC';
set local datestyle = 'ISO, MDY';
set local intervalstyle = 'postgres';
set local extra_float_digits = 1;
set local standard_conforming_strings = on;
set local quote_all_identifiers = off;
set local bytea_output = 'hex';
set local jit = off"""
"""Everything that what Postgres prints for an expression depends on."""

_BEGIN: Final = b"begin isolation level repeatable read, read only;\n" + _SETTINGS
_NEST: Final = b"savepoint codered_read_catalog;\n" + _SETTINGS
_UNNEST: Final = (
    b"rollback to savepoint codered_read_catalog; release savepoint codered_read_catalog"
)


def read_database(connection: Connection, schema_name: str) -> Schema:
    """The live schema of that name, from one consistent snapshot.

    Takes twelve round trips, however large the schema is, in a transaction of its own that is
    always ended; the connection must not be in one. Raises :class:`FindingsError`: V001 if there is
    no such schema, else what :func:`database_error` says.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise ValueError("the connection is in a transaction: use read_catalog()")
    with _statements_as_written(connection), _diagnosed():
        try:
            connection.execute(_BEGIN)
            return _read(connection, schema_name)
        finally:
            if not connection.closed:
                connection.execute(b"rollback")


def read_catalog(connection: Connection, schema_name: str) -> Schema:
    """The same inside of a transaction that the caller began and goes on with.

    Sees what the transaction did; leaves no setting behind. Raises like :func:`read_database`.
    """
    with _diagnosed():
        connection.execute(_NEST)
        try:
            return _read(connection, schema_name)
        finally:
            if not connection.closed:
                connection.execute(_UNNEST)


@contextmanager
def _statements_as_written(connection: Connection) -> Iterator[None]:
    """Keeps psycopg from sending a BEGIN of its own before ours."""
    before = connection.autocommit
    if not before:
        connection.autocommit = True
    try:
        yield
    finally:
        if not before and not connection.closed:
            connection.autocommit = False


@contextmanager
def _diagnosed() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise database_error(error, "reading the catalog") from error


def _read(connection: Connection, schema_name: str) -> Schema:
    found = [] if "\0" in schema_name else _query(connection, "schema", {"schema": schema_name})
    if not found:
        raise FindingsError(
            Diagnostic(
                "V001",
                f"the database has no schema {schema_name!r}",
                "apply the migrations (codered-spec migrate), or check the connection string",
                subject="schema",
            )
        )
    schema = found[0]
    rows = {name: _query(connection, name, {"schema": schema["oid"]}) for name in QUERIES}
    return assemble(schema_name, schema, rows)


def _query(connection: Connection, name: str, parameters: dict[str, Any]) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_text(name), parameters, prepare=False).fetchall()


@cache
def _text(name: str) -> bytes:
    """The text of a catalog query; it belongs to the package, parameters are bound."""
    return (resources.files(__package__) / "catalog" / f"{name}.sql").read_bytes()
