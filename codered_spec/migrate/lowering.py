"""Between a spec and what a database can hold of it: both sides of a comparison in one form."""

from __future__ import annotations

from dataclasses import replace

from codered_spec.emit.access import with_access, without_access
from codered_spec.emit.expressions import body_source
from codered_spec.emit.rollups import contracted, expanded
from codered_spec.emit.views import query_digest
from codered_spec.model.normalize import physical
from codered_spec.model.schema import Function, OpaqueBody, Schema, SetUpdatedAt


def lowered(schema: Schema) -> Schema:
    """The schema as a reader of the database that was made from it would find it.

    Rollups become what keeps them, function bodies their source text. A schema that was read is
    left as it is. Idempotent.
    """
    schema = physical(with_access(schema, expanded(schema)))
    return replace(
        schema,
        functions=tuple(replace(f, body=OpaqueBody(body_source(f.body))) for f in schema.functions),
        views=tuple(replace(v, query="", digest=v.digest or query_digest(v)) for v in schema.views),
    )


def raised(schema: Schema) -> Schema:
    """The schema with every rollup, role and function body recognised that a spec can contain."""
    guess = contracted(without_access(schema))
    same = physical(with_access(guess, expanded(guess))) == physical(schema)
    schema = guess if guess.roles and same else contracted(schema)
    schema = replace(schema, views=tuple(replace(v, digest=None) for v in schema.views))
    columns = sorted({c.name for table in schema.tables for c in table.columns})
    known = {body_source(SetUpdatedAt(column)): column for column in columns}
    return replace(schema, functions=tuple(_raised(f, known) for f in schema.functions))


def _raised(function: Function, known: dict[str, str]) -> Function:
    if isinstance(function.body, OpaqueBody) and function.body.source in known:
        return replace(function, body=SetUpdatedAt(known[function.body.source]))
    return function
