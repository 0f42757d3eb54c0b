"""The generators of rows know every schema, and its validators agree with Postgres, too."""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from model_strategies import schemas

from codered_spec.compiler import validators
from codered_spec.connection import Connection
from codered_spec.contract import Plan, RandomChoices, Scene, faults, neighbours
from codered_spec.contract.verdicts import insert, verdicts
from codered_spec.emit.ddl import emit_sql
from codered_spec.errors import InputError
from codered_spec.model.schema import Method, Schema

EXAMPLES = int(os.environ.get("ANY_SPEC_EXAMPLES", "8"))
"""A large random schema takes some ten seconds: it has thousands of faults and neighbours."""


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(schema=schemas(vectors=False), seed=st.integers(0, 2**32))
def test_faults_and_neighbours_of_any_schema(
    connection: Connection, schema: Schema, seed: int
) -> None:
    # what a trigger does to a row, no generator and no validator can know; and a BRIN index on
    # long text refuses what the checks allow
    plain = (
        replace(t, triggers=(), indexes=tuple(i for i in t.indexes if i.method != Method.BRIN))
        for t in schema.tables
    )
    schema = replace(schema, tables=tuple(plain))
    plan = Plan(schema)
    known = validators(schema)
    with connection.transaction(force_rollback=True):
        connection.execute(emit_sql(schema).encode())
        for table in schema.tables:
            try:
                scene = Scene(plan, table.name, RandomChoices(seed))
            except InputError:
                event("a key of so few values that three rows do not fit")
                continue
            with connection.transaction(force_rollback=True):
                insert(connection, schema, scene.before)
                bad, good = list(faults(scene)), list(neighbours(scene))
                answers = verdicts(connection, schema, table.name, [f.row for f in bad])
                for fault, answer in zip(bad, answers, strict=True):
                    got = answer.sqlstate, answer.constraint
                    assert got == (fault.sqlstate, fault.constraint), (fault, answer)
                    refused = {p.column for p in known[table.name].problems(fault.row)}
                    assert refused == (set() if fault.cross_row else {fault.column}), fault
                answers = verdicts(connection, schema, table.name, [n.row for n in good])
                for near, answer in zip(good, answers, strict=True):
                    assert answer.ok, (near, answer)
                    assert not known[table.name].problems(near.row), near
