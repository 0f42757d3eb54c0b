"""The runner: applies migration files to a database, and says what is applied.

The history is Supabase's own table, ``supabase_migrations.schema_migrations``, so this runner and
the Supabase CLI can take turns. Every file runs in one transaction, statement by statement,
together with its history row: it is applied wholly or not at all. Runners that start at once take
turns by an advisory lock. Nothing outlives a transaction, so session settings of a file end with
it, and a pooler in transaction mode does no harm.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import psycopg
from psycopg.pq import TransactionStatus

from codered_spec.connection import Connection, connection_lost, database_error, describe
from codered_spec.errors import DatabaseError, Diagnostic, FindingsError, InputError, Place
from codered_spec.migrate import history
from codered_spec.migrate.directory import Migration
from codered_spec.migrate.history import Status, status
from codered_spec.sql import Statement

__all__ = ["LOCK_KEY", "LOCK_TIMEOUT", "Status", "migrate", "status"]

LOCK_KEY: Final = int.from_bytes(b"codered_", "big")
"""The key of ``pg_advisory_xact_lock`` that every runner holds while it applies a file."""

LOCK_TIMEOUT: Final = "10s"
"""``lock_timeout`` of the statements of a file, unless the file sets its own."""

_FIXES: Final = {
    "25001": "drop CONCURRENTLY if the table is small; else run this statement by hand and keep it "
    "out of the migrations, or write it here with IF NOT EXISTS and without CONCURRENTLY",
    "2D000": "take COMMIT and ROLLBACK out of the DO block or procedure; split the file instead",
    "55P04": "move the statement that adds the value of the enum to an earlier file",
    "55P03": "run it again when the table is less busy, or begin the file with "
    "SET LOCAL lock_timeout = '60s'",
    "57014": "run it again, or begin the file with SET LOCAL statement_timeout = '15min'",
    "0A000": "if an extension is not available, install it on the server (pgvector is one package)",
    "42704": "if extensions.vector is unknown, pgvector lives in another schema: "
    "alter extension vector set schema extensions",
    "42P06": "the schema is there, but not by these migrations: compare it with "
    "`codered-spec verify`, or use another database",
    "42501": "connect as the role that owns the objects (postgres on Supabase), or grant it",
}


def migrate(
    connection: Connection,
    migrations: Sequence[Migration],
    *,
    to: str | None = None,
    dry_run: bool = False,
    report: Callable[[str], None],
) -> tuple[Migration, ...]:
    """Apply what is pending, up to the version ``to``; return what this call applied.

    ``migrations`` are all files of the directory. ``report`` gets lines of progress, and the
    notices of the server. A dry run applies nothing and returns ``()``.

    Raises :class:`FindingsError` (R002, R003, R004), :class:`InputError` (R006) and
    :class:`DatabaseError` (R005 a statement failed, R007, R008, P001, P003, P004, P009). Files
    applied before the failing one stay applied; of the failing one nothing does.
    """
    if not connection.autocommit:
        raise ValueError("migrate() needs an autocommit connection")
    if to is not None and to not in {migration.version for migration in migrations}:
        raise InputError(
            Diagnostic("R006", f"there is no migration {to!r}", "give the 14 digits of a file name")
        )
    current = status(connection, migrations)
    _refuse(current)
    wanted = [m for m in current.pending if to is None or m.version <= to]
    if dry_run:
        for migration in wanted:
            count = len(migration.statements)
            report(f"would apply {migration.file_name} ({count} statement{'s'[: count != 1]})")
        return ()
    done: list[Migration] = []
    with _notices(connection, report):
        for migration in wanted:
            if _apply(connection, migration, migrations, done, report):
                done.append(migration)
                report(f"applied {migration.file_name}")
            else:
                report(f"{migration.file_name} was applied by another run")
    return tuple(done)


def _apply(
    connection: Connection,
    migration: Migration,
    migrations: Sequence[Migration],
    done: Sequence[Migration],
    report: Callable[[str], None],
) -> bool:
    """Apply one file; ``False`` if another runner did it while this one waited."""
    complete = False
    try:
        with connection.transaction():
            _begin(connection, report)
            current = status(connection, migrations)
            _refuse(current)
            if migration in current.applied:
                return False
            for index, statement in enumerate(migration.statements):
                _execute(connection, migration, index, statement, done)
            _finish(connection, migration, done)
            complete = True
    except psycopg.Error as exc:
        what = f"applying {migration.file_name}"
        if complete and connection_lost(exc):
            what = f"committing {migration.file_name}; `codered-spec status` tells if it is applied"
        raise database_error(exc, what) from exc
    return True


def _begin(connection: Connection, report: Callable[[str], None]) -> None:
    # under READ COMMITTED the history is read as it is after the wait for the lock
    connection.execute("set transaction isolation level read committed")
    read_only = connection.execute("select current_setting('transaction_read_only')").fetchone()
    if read_only == ("on",):
        raise psycopg.errors.ReadOnlySqlTransaction("the server or the role is set to read-only")
    free = connection.execute("select pg_try_advisory_xact_lock(%s)", [LOCK_KEY]).fetchone()
    if free != (True,):
        report("waiting for another run to finish")
        limits = connection.execute(
            "select current_setting('statement_timeout'), set_config('lock_timeout', '0', true),"
            " set_config('statement_timeout', '0', true)"
        ).fetchone()
        assert limits is not None
        connection.execute("select pg_advisory_xact_lock(%s)", [LOCK_KEY])
        connection.execute("select set_config('statement_timeout', %s, true)", [limits[0]])
    connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
    history.ensure(connection)


def _execute(
    connection: Connection,
    migration: Migration,
    index: int,
    statement: Statement,
    done: Sequence[Migration],
) -> None:
    try:
        # without parameters, so % stays what it is
        connection.execute(statement.text.encode(connection.info.encoding))
    except psycopg.Error as exc:
        if connection.info.transaction_status == TransactionStatus.ACTIVE:
            connection.close()  # the server waits for data of a COPY
        raise _failed(exc, migration, index, statement, done) from exc
    if connection.info.transaction_status != TransactionStatus.INTRANS:
        raise DatabaseError(
            Diagnostic(
                "R008",
                f"{migration.file_name}: this statement ended the transaction; what came before it "
                "is in the database, but the file is not recorded",
                "undo it by hand, and remove the transaction control from the file",
                migration.place(index),
            )
        )


def _failed(
    exc: psycopg.Error,
    migration: Migration,
    index: int,
    statement: Statement,
    done: Sequence[Migration],
) -> DatabaseError:
    head = " ".join(statement.text.split())
    position = int(exc.diag.statement_position or 1)
    count = len(migration.statements)
    message = (
        f"{migration.file_name} failed at statement {index + 1} of {count}: {describe(exc)}\n"
        f"    statement: {head if len(head) <= 100 else head[:99] + '…'}\n    {_kept(done)}"
    )
    place = migration.place(index, position - 1)
    mapped = database_error(exc, "").diagnostics[0]
    if mapped.code in ("P001", "P004"):
        return DatabaseError(Diagnostic(mapped.code, message, mapped.fix, place))
    fix = _FIXES.get(exc.sqlstate or "", "mend the file and run it again")
    return DatabaseError(Diagnostic("R005", message, fix, place))


def _kept(done: Sequence[Migration]) -> str:
    if not done:
        return "nothing was applied"
    return "nothing of this file was applied; applied before it: " + ", ".join(
        migration.file_name for migration in done
    )


def _finish(connection: Connection, migration: Migration, done: Sequence[Migration]) -> None:
    try:
        connection.execute("set constraints all immediate")
    except psycopg.Error as exc:
        message = f"{migration.file_name} failed at its end: {describe(exc)}\n    {_kept(done)}"
        place = Place(migration.path, 1, 1)
        raise DatabaseError(Diagnostic("R005", message, "mend the data first", place)) from exc
    connection.execute("reset role")
    connection.execute("reset all")
    history.record(connection, migration)


def _refuse(current: Status) -> None:
    if current.problems:
        raise FindingsError(*current.problems)


@contextlib.contextmanager
def _notices(connection: Connection, report: Callable[[str], None]) -> Iterator[None]:
    def handle(diag: psycopg.errors.Diagnostic) -> None:
        report(f"{(diag.severity or 'notice').lower()}: {diag.message_primary}")

    connection.add_notice_handler(handle)
    try:
        yield
    finally:
        connection.remove_notice_handler(handle)
