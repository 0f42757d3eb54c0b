"""What the pytest fixture ``contract`` is; :mod:`codered_spec.pytest_plugin` offers it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import psycopg
from hypothesis.strategies import SearchStrategy

from codered_spec import load_spec
from codered_spec.connection import Connection, connect, database_error
from codered_spec.contract import strategies
from codered_spec.contract.examine import ROWS, examine, require, serialize
from codered_spec.contract.rules import Row
from codered_spec.contract.strategies import Invalid, Valid
from codered_spec.contract.verdicts import Verdict, insert, verdicts
from codered_spec.emit.ddl import emit_sql
from codered_spec.model.schema import Schema
from codered_spec.postgres import EmbeddedServer
from codered_spec.sql import identifier

_SETTINGS: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Contract:
    """A spec, strategies of rows for it, and a database that judges rows and keeps none."""

    def __init__(self, schema: Schema, connection: Connection) -> None:
        self.schema = schema
        """The model of the spec."""
        self._connection = connection
        self._depth = 0

    def __repr__(self) -> str:
        return f"<contract of the schema {self.schema.name}>"

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables, in the order of the spec."""
        return tuple(table.name for table in self.schema.tables)

    def rows(self, table: str) -> SearchStrategy[Valid]:
        """Valid rows of the table, each with the parents that it needs."""
        return strategies.rows(table, self.schema)

    def invalid_rows(self, table: str) -> SearchStrategy[Invalid]:
        """Rows with exactly one fault, each with its parents and the answer that Postgres owes."""
        return strategies.invalid_rows(table, self.schema)

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """An open connection to the database, in a transaction that is rolled back at the end.

        Only one process at a time is inside, because rows of two transactions could wait for each
        other for ever.
        """
        with self._connection.transaction(force_rollback=True):
            serialize(self._connection)
            self._depth += 1
            try:
                yield self._connection
            finally:
                self._depth -= 1

    def insert(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Inserts rows with their tables, in that order. Raises psycopg.Error for a refused one.

        Only inside of :meth:`database`, else RuntimeError: the rows would stay.
        """
        if not self._depth:
            raise RuntimeError("insert() is for the inside of `with contract.database():`")
        insert(self._connection, self.schema, list(rows))

    def verdicts(self, table: str, rows: Sequence[Row]) -> list[Verdict]:
        """What Postgres says of each row alone; none is kept.

        Inside of :meth:`database` it sees the rows that were inserted there.
        """
        return verdicts(self._connection, self.schema, table, rows)

    def check(self, *tables: str, rows: int = ROWS, seed: int | None = None) -> None:
        """Holds the tables (all without names) against the spec; ``rows`` random rows of each.

        Raises AssertionError with every finding. Without a seed the random rows are others each
        time; the report names the seed.
        """
        __tracebackhide__ = True
        seed = random.randrange(10**6) if seed is None else seed
        reports = list(examine(self._connection, self.schema, tables, rows=rows, seed=seed))
        bad = [report for report in reports if not report.ok]
        if bad:
            judged = sum(report.rows for report in reports)
            named = ", ".join(repr(report.table) for report in bad)
            lines = [
                f"{len(bad)} of {len(reports)} tables are not what the spec says ({judged:,} rows)",
                *(str(diagnostic) for report in bad for diagnostic in report.diagnostics),
                f"repeat here: contract.check({named}, rows={rows}, seed={seed})",
            ]
            raise AssertionError("\n".join(lines))


@contextmanager
def opened(spec: Path, dsn: str | None, state: Path) -> Iterator[Contract]:
    """The contract of a spec file with the database ``dsn``.

    Without one a scratch database is made from the spec, on an embedded server in the folder
    ``state``, which is started if need be; the caller stops it. Raises CoderedError: the spec or
    the server cannot be used, or the schema is missing in the database.
    """
    schema = load_spec(spec)
    if dsn is None:
        dsn = _scratch(schema, state)
    with closing(connect(dsn)) as connection:
        require(connection, schema, schema.tables)
        yield Contract(schema, connection)


def _scratch(schema: Schema, state: Path) -> str:
    state.mkdir(mode=0o700, exist_ok=True)
    server = EmbeddedServer(state, _SETTINGS)
    server.start()
    name = f"contract_{uuid.uuid4().hex}"
    dsn = server.dsn(database=name)
    try:
        with closing(connect(server.dsn())) as admin:
            admin.execute(f"create database {identifier(name)}".encode())
        with closing(connect(dsn)) as connection, connection.transaction():
            connection.execute(emit_sql(schema).encode())
    except psycopg.Error as error:
        raise database_error(error, "making a scratch database from the spec") from None
    return dsn
