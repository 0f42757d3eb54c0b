"""The same schema for servers that lack something."""

from __future__ import annotations

from dataclasses import replace

from codered_spec.model.schema import Check, Flat, Method, NonZero, Schema, Table
from codered_spec.model.types import Array, DoublePrecision, PgType, Vector
from codered_spec.sql import MAX_IDENTIFIER_BYTES


def without_vectors(schema: Schema) -> Schema:
    """The schema for a server without pgvector: vectors become ``double precision[]``.

    The extension, its indexes and the rules that need it go. A check ``table_column_flat`` keeps
    what a rule can say of an array: one dimension, no NULL element. No rule says how many elements
    an array has or what they are, so the number of dimensions is not kept, and NaN and infinity
    pass. Comments and the queries of views stay as they are. Without vectors nothing changes.
    """
    return replace(
        schema,
        tables=tuple(map(_table, schema.tables)),
        extensions=tuple(e for e in schema.extensions if e.name != "vector"),
    )


def _table(table: Table) -> Table:
    vectors = [c.name for c in table.columns if isinstance(c.type, Vector)]
    nested = {c.name for c in table.columns if c.type != _type(c.type)} - {*vectors}
    checks = [
        check
        for check in table.checks
        if not isinstance(check.rule, NonZero)
        # an array of vectors has two dimensions now
        and not (isinstance(check.rule, Flat) and check.rule.column in nested)
    ]
    checks += [Check(_name(f"{table.name}_{name}_flat"), Flat(name)) for name in vectors]
    return replace(
        table,
        columns=tuple(replace(c, type=_type(c.type)) for c in table.columns),
        checks=tuple(checks),
        indexes=tuple(i for i in table.indexes if i.method not in (Method.HNSW, Method.IVFFLAT)),
    )


def _type(type_: PgType) -> PgType:
    element = type_.element if isinstance(type_, Array) else type_
    return Array(DoublePrecision()) if isinstance(element, Vector) else type_


def _name(name: str) -> str:
    """The name, cut as Postgres would."""
    return name.encode()[:MAX_IDENTIFIER_BYTES].decode(errors="ignore")
