"""The schema for servers without pgvector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from model_strategies import schemas

from codered_spec import load_spec
from codered_spec.connection import Connection
from codered_spec.contract.examine import examine
from codered_spec.emit.ddl import emit_sql
from codered_spec.migrate.diff import diff
from codered_spec.migrate.verify import introspect, verify
from codered_spec.model.check import check, errors
from codered_spec.model.profiles import without_vectors
from codered_spec.model.schema import (
    Check,
    Column,
    Extension,
    Flat,
    Index,
    IndexKey,
    Method,
    NonZero,
    PrimaryKey,
    Schema,
    Table,
)
from codered_spec.model.types import Array, DoublePrecision, Integer, Vector

SPEC = load_spec(Path(__file__).parents[1] / "schema.yaml")
PLAIN = without_vectors(SPEC)
FLOATS = Array(DoublePrecision())


def statements(schema: Schema) -> str:
    """The SQL without its comments, which are prose."""
    lines = emit_sql(schema).splitlines()
    return "\n".join(line for line in lines if not line.startswith(("--", "comment on")))


def test_nothing_of_pgvector_is_left() -> None:
    assert "vector" in statements(SPEC)
    assert "vector" not in statements(PLAIN)
    assert check(PLAIN) == check(SPEC)


def test_what_becomes_of_each_part() -> None:
    columns = (
        Column("k", Integer()),
        Column("v", Vector(3), nullable=True),
        Column("w", Array(Vector())),
        Column("f", FLOATS),
    )
    table = Table(
        "t",
        columns,
        PrimaryKey("t_pkey", ("k",)),
        checks=(
            Check("t_v_nonzero", NonZero("v")),
            Check("t_w_flat", Flat("w")),
            Check("t_f_flat", Flat("f")),
        ),
        indexes=(
            Index("a", (IndexKey("v", "vector_l2_ops"),), Method.HNSW),
            Index("b", (IndexKey("v", "vector_l2_ops"),), Method.IVFFLAT),
            Index("c", (IndexKey("f"),), Method.GIN),
        ),
    )
    extensions = (Extension("vector", "extensions"), Extension("citext", "extensions"))
    found = without_vectors(Schema("s", (table,), extensions))
    assert found.extensions == (Extension("citext", "extensions"),)
    (only,) = found.tables
    assert [(c.name, c.type) for c in only.columns] == [
        ("k", Integer()),
        ("v", FLOATS),
        ("w", FLOATS),
        ("f", FLOATS),
    ]
    assert only.columns[1].nullable
    assert only.checks == (Check("t_f_flat", Flat("f")), Check("t_v_flat", Flat("v")))
    assert [index.name for index in only.indexes] == ["c"]


def test_a_long_name_is_cut() -> None:
    column = Column("é" * 30, Vector())
    table = Table("t", (Column("k", Integer()), column), PrimaryKey("t_pkey", ("k",)))
    found = without_vectors(Schema("s", (table,), (Extension("vector", "extensions"),)))
    assert found.tables[0].checks == (Check("t_" + "é" * 30 + "_", Flat(column.name)),)
    assert check(found) == ()


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas())
def test_it_is_sound_and_can_be_repeated(schema: Schema) -> None:
    found = without_vectors(schema)
    assert errors(check(found)) == ()
    assert without_vectors(found) == found


def test_a_server_gives_it_back(connection: Connection) -> None:
    connection.execute(emit_sql(PLAIN).encode())
    assert verify(connection, PLAIN) == ()
    back, complaints = introspect(connection, PLAIN.name)
    assert complaints == ()
    # a database rewrites the query of a view
    assert diff(replace(PLAIN, views=()), replace(back, views=())) == ()
    assert verify(connection, SPEC) != ()


def test_the_contract_holds(connection: Connection) -> None:
    connection.execute(emit_sql(PLAIN).encode())
    (report,) = examine(connection, PLAIN, ["doc_chunks"], rows=100)
    assert report.diagnostics == ()
    assert report.faults > 0
