"""A live database against the spec, and a live database as a spec."""

from __future__ import annotations

from codered_spec.connection import Connection
from codered_spec.errors import Diagnostic
from codered_spec.migrate.diff import Difference, diff
from codered_spec.migrate.expressible import expressible
from codered_spec.migrate.lowering import raised
from codered_spec.model.schema import Schema
from codered_spec.sources.database import read_database


def verify(connection: Connection, want: Schema) -> tuple[Difference, ...]:
    """Every difference between the live schema and the wanted one; empty where they are equal.

    Raises :class:`~codered_spec.errors.FindingsError`: V001 if the schema does not exist.
    """
    return diff(want, read_database(connection, want.name))


def introspect(connection: Connection, schema_name: str) -> tuple[Schema, tuple[Diagnostic, ...]]:
    """The live schema as far as a spec can contain it, and a V005 for everything else.

    Extensions that no column needs are left out without a diagnostic. Raises
    :class:`~codered_spec.errors.FindingsError`: V001 if the schema does not exist.
    """
    return expressible(raised(read_database(connection, schema_name)))
