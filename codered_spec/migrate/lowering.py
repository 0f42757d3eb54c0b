"""Between a spec and what a database can hold of it: both sides of a comparison in one form."""

from __future__ import annotations

from dataclasses import replace

from codered_spec.emit.expressions import body_source
from codered_spec.model.normalize import physical
from codered_spec.model.schema import Function, OpaqueBody, Schema, SetUpdatedAt


def lowered(schema: Schema) -> Schema:
    """The schema as a reader of the database that was made from it would find it.

    Function bodies become their source text. A schema that was read is left as it is. Idempotent.
    """
    schema = physical(schema)
    return replace(
        schema,
        functions=tuple(replace(f, body=OpaqueBody(body_source(f.body))) for f in schema.functions),
    )


def raised(schema: Schema) -> Schema:
    """The schema with every function body recognised that a spec can contain."""
    columns = sorted({c.name for table in schema.tables for c in table.columns})
    known = {body_source(SetUpdatedAt(column)): column for column in columns}
    return replace(schema, functions=tuple(_raised(f, known) for f in schema.functions))


def _raised(function: Function, known: dict[str, str]) -> Function:
    if isinstance(function.body, OpaqueBody) and function.body.source in known:
        return replace(function, body=SetUpdatedAt(known[function.body.source]))
    return function
