"""A live database against the spec, and a live database as a spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from codered_spec.connection import Connection, database_error
from codered_spec.errors import Diagnostic
from codered_spec.migrate.diff import Difference, diff
from codered_spec.migrate.expressible import expressible
from codered_spec.migrate.lowering import raised
from codered_spec.model.schema import Rollup, Schema
from codered_spec.sources.database import read_database
from codered_spec.sql import identifier


def verify(connection: Connection, want: Schema) -> tuple[Difference, ...]:
    """Every difference between the live schema and the wanted one; empty where they are equal.

    Raises :class:`~codered_spec.errors.FindingsError`: V001 if the schema does not exist.
    """
    return diff(want, read_database(connection, want.name))


@dataclass(frozen=True, slots=True)
class DataDifference:
    """A key of a rollup whose row is not what its source says.

    ``stored`` and ``expected`` are JSON texts, which keep every digit, or None for no row.
    """

    rollup: str
    source: str
    key: dict[str, str]
    stored: str | None
    expected: str | None

    def __str__(self) -> str:
        key = ", ".join(f"{name} {value}" for name, value in self.key.items())
        stored = self.stored or "no row"
        expected = self.expected or "no row"
        return f"{self.rollup} ({key}) has {stored}, {self.source} says {expected}"

    def to_dict(self) -> dict[str, object]:
        """The difference as JSON data, of the shape that structural ones have."""
        return {
            "kind": "data",
            "address": self.rollup,
            "what": "row",
            "want": self.expected,
            "have": self.stored,
            "message": str(self),
            "key": self.key,
        }


def check_data(connection: Connection, schema: Schema) -> Iterator[DataDifference]:
    """Every key in which a rollup differs from its source, all in one snapshot.

    The structure must be that of the schema: :func:`verify` says so. Raises DatabaseError.
    """
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    rollup = None
    try:
        with connection.transaction():
            connection.execute("set local timezone = 'UTC'")
            connection.execute("set local datestyle = 'ISO, MDY'")
            for rollup in sorted(schema.rollups, key=lambda rollup: rollup.name):
                yield from _check_rollup(connection, schema, rollup)
    except psycopg.Error as error:
        what = "checking the data" if rollup is None else f"checking the data of {rollup.name}"
        raise database_error(error, what) from None


def _check_rollup(
    connection: Connection, schema: Schema, rollup: Rollup
) -> Iterator[DataDifference]:
    names = (*rollup.key_columns, "stored", "expected")
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(n)) for n in names)
    function = sql.Identifier(schema.name, f"check_{rollup.name}")
    # on the server: whoever loaded a year past the triggers has many differences
    with connection.cursor(name="codered_check") as cursor:
        cursor.itersize = 5000
        cursor.execute(sql.SQL("select {} from {}()").format(texts, function))
        for *key, stored, expected in cursor:
            by_name = dict(zip(rollup.key_columns, key, strict=True))
            yield DataDifference(rollup.name, rollup.source, by_name, stored, expected)


def mend(schema: Schema, name: str, count: int) -> Diagnostic:
    """What to do about ``count`` rows of a rollup that differ."""
    source = next(rollup.source for rollup in schema.rollups if rollup.name == name)
    rows = f"{count:,} row{'s'[: count != 1]} differ{'s'[: count == 1]}"
    fix = f"as the owner: select {identifier(schema.name, f'rebuild_{name}')}();"
    return Diagnostic("V013", f"{rows} from what {source} says", fix, subject=name)


def introspect(connection: Connection, schema_name: str) -> tuple[Schema, tuple[Diagnostic, ...]]:
    """The live schema as far as a spec can contain it, and a V005 for everything else.

    Extensions that no column needs are left out without a diagnostic. Raises
    :class:`~codered_spec.errors.FindingsError`: V001 if the schema does not exist.
    """
    return expressible(raised(read_database(connection, schema_name)))
