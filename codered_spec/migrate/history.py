"""The migration history of a database, and how the files compare with it.

The table is Supabase's own, ``supabase_migrations.schema_migrations``. Rows that the Supabase CLI
or its dashboard wrote are as good as ours; columns that old versions lack are added when needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg

from codered_spec.connection import Connection, database_error
from codered_spec.errors import DatabaseError, Diagnostic, Place
from codered_spec.migrate.directory import Migration

TABLE: Final = "supabase_migrations.schema_migrations"

_ENSURE: Final = (  # what the Supabase CLI executes
    "CREATE SCHEMA IF NOT EXISTS supabase_migrations",
    """CREATE TABLE IF NOT EXISTS supabase_migrations.schema_migrations
    (version text NOT NULL PRIMARY KEY)""",
    "ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN IF NOT EXISTS statements text[]",
    "ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN IF NOT EXISTS name text",
)
_COLUMNS: Final = {
    "version": ("text", "character varying"),
    "statements": ("text[]",),
    "name": ("text", "character varying"),
}
_FIND: Final = """
    select c.relkind::text, a.attname::text, pg_catalog.format_type(a.atttypid, null)
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_attribute a
      on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname = 'supabase_migrations' and c.relname = 'schema_migrations'
"""
_READ: Final = """
    select h.version::text, pg_catalog.to_jsonb(h) -> 'statements'
    from supabase_migrations.schema_migrations h
    order by 1
"""  # to_jsonb, because the column may be missing
_RECORD: Final = """
    insert into supabase_migrations.schema_migrations (version, name, statements)
    values (%s, %s, %s::text[])
"""


@dataclass(frozen=True, slots=True)
class Status:
    """How the files and the history of a database compare. Every tuple is in version order.

    ``edited`` is a part of ``applied``, ``out_of_order`` a part of ``pending``; ``missing`` are
    the versions in the history that have no file. A row without statements (old versions of the
    Supabase CLI) cannot be compared and counts as unedited.
    """

    applied: tuple[Migration, ...]
    pending: tuple[Migration, ...]
    edited: tuple[Migration, ...]
    missing: tuple[str, ...]
    out_of_order: tuple[Migration, ...]

    @property
    def problems(self) -> tuple[Diagnostic, ...]:
        """What forbids to apply anything: R002, R003 and R004."""
        edited = (
            Diagnostic(
                "R002",
                f"{m.file_name} was edited after it was applied",
                "restore the file, and write the change into a new one (`codered-spec new`)",
                Place(m.path, 1, 1),
            )
            for m in self.edited
        )
        missing = (
            Diagnostic(
                "R003",
                f"the database has applied {version}, but there is no such file",
                "restore the file from version control, or fetch it (`supabase migration fetch`)",
                subject=version,
            )
            for version in self.missing
        )
        late = (
            Diagnostic(
                "R004",
                f"{m.file_name} is older than a file that is already applied",
                "rename the file, so that its version is the newest",
                Place(m.path, 1, 1),
            )
            for m in self.out_of_order
        )
        return (*edited, *missing, *late)


def status(connection: Connection, migrations: Sequence[Migration]) -> Status:
    """Compare ``migrations`` with the history; writes nothing and works on a read-only server.

    Raises :class:`DatabaseError`: R007 if the history table has another shape, P001, P003, P009.
    """
    try:
        history = _recorded(connection)
    except psycopg.Error as exc:
        raise database_error(exc, "reading the migration history") from exc
    ordered = sorted(migrations, key=lambda migration: migration.version)
    applied = tuple(m for m in ordered if m.version in history)
    pending = tuple(m for m in ordered if m.version not in history)
    newest = max(history, default="")
    return Status(
        applied=applied,
        pending=pending,
        edited=tuple(m for m in applied if not _matches(m, history[m.version])),
        missing=tuple(sorted(set(history) - {m.version for m in ordered})),
        out_of_order=tuple(m for m in pending if m.version < newest),
    )


def ensure(connection: Connection) -> None:
    """Create the table, or the columns that it lacks; nothing is executed if all is there."""
    if len(_columns(connection)) < len(_COLUMNS):
        for statement in _ENSURE:
            connection.execute(statement.encode())


def record(connection: Connection, migration: Migration) -> None:
    """Write the row of an applied file."""
    statements = [statement.text for statement in migration.statements]
    connection.execute(_RECORD, [migration.version, migration.name, statements])


def _matches(migration: Migration, recorded: list[str] | None) -> bool:
    return recorded is None or migration.recorded_as(recorded)


def _recorded(connection: Connection) -> dict[str, list[str] | None]:
    """Version to recorded statements; empty if there is no history yet."""
    if "version" not in _columns(connection):
        return {}
    rows = connection.execute(_READ).fetchall()
    return {
        version: None if statements is None else [s for s in statements if s is not None]
        for version, statements in rows
    }


def _columns(connection: Connection) -> dict[str, str]:
    """Column to type of the known columns of the history table; empty if there is no table."""
    rows = connection.execute(_FIND).fetchall()
    columns = {name: kind for _, name, kind in rows if name in _COLUMNS}
    wrong = [name for name, kind in columns.items() if kind not in _COLUMNS[name]]
    if any(relation not in ("r", "p") for relation, _, _ in rows):
        complaint = "it is not a table"
    elif rows and "version" not in columns:
        complaint = "it has no column version"
    elif wrong:
        complaint = f"its column {wrong[0]} has the type {columns[wrong[0]]}"
    else:
        return columns
    raise DatabaseError(
        Diagnostic(
            "R007",
            f"the history table {TABLE} is not the one of the Supabase CLI: {complaint}",
            "move it out of the way, or mend it: version text primary key, statements text[], "
            "name text",
        )
    )
