"""The order in which tables can be made, and the cycles in which no row can."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from model_strategies import schemas

from codered_spec.model.graph import creation_order, required_cycles
from codered_spec.model.schema import Column, ForeignKey, Schema, Table
from codered_spec.model.types import Uuid

few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def table(name: str, *parents: str, nullable: bool = False) -> Table:
    """A table with a foreign key, named after its target, to each parent."""
    return Table(
        name,
        tuple(Column(f"{p}_id", Uuid(), nullable) for p in parents),
        foreign_keys=tuple(ForeignKey(p, (f"{p}_id",), p, ("id",)) for p in parents),
    )


def order(*tables: Table) -> list[str]:
    return [found.name for found in creation_order(Schema("s", tables))[0]]


def late(*tables: Table) -> list[tuple[str, str]]:
    """Owner and target of the keys that must wait."""
    return [(owner, key.table) for owner, key in creation_order(Schema("s", tables))[1]]


def test_parents_come_first() -> None:
    assert order(table("c", "b"), table("b", "a"), table("a")) == ["a", "b", "c"]


def test_tables_without_parents_keep_their_order() -> None:
    assert order(table("c"), table("a"), table("b")) == ["c", "a", "b"]


def test_parents_come_in_the_order_of_the_schema() -> None:
    assert order(table("x", "b", "a"), table("a"), table("b")) == ["a", "b", "x"]


def test_without_a_cycle_no_key_is_late() -> None:
    assert late(table("c", "b", "a"), table("b", "a"), table("a")) == []


def test_a_cycle_starts_with_its_parents_and_ends_late() -> None:
    tables = table("a", "b", nullable=True), table("b", "a", nullable=True)
    assert order(*tables) == ["b", "a"]
    assert late(*tables) == [("b", "a")]


def test_a_longer_cycle_has_one_late_key() -> None:
    assert late(table("a", "b"), table("b", "c"), table("c", "a")) == [("c", "a")]


def test_a_key_to_the_table_itself_is_not_late() -> None:
    assert late(table("a", "a")) == []


def test_a_key_to_an_unknown_table_does_not_matter() -> None:
    assert order(table("a", "x")) == ["a"]


def test_a_chain_of_two_thousand_tables_is_no_problem() -> None:
    chain = [table("0"), *(table(str(i), str(i - 1)) for i in range(1, 2000))]
    assert order(*reversed(chain)) == [str(i) for i in range(2000)]


@few
@given(schema=schemas())
def test_every_table_comes_once(schema: Schema) -> None:
    assert sorted(t.name for t in creation_order(schema)[0]) == sorted(
        t.name for t in schema.tables
    )


@few
@given(schema=schemas())
def test_a_key_that_is_not_late_points_backwards(schema: Schema) -> None:
    tables, waiting = creation_order(schema)
    position = {t.name: i for i, t in enumerate(tables)}
    assert all(
        position[key.table] <= position[t.name]
        for t in tables
        for key in t.foreign_keys
        if (t.name, key) not in waiting
    )


@few
@given(schema=schemas())
def test_only_a_key_that_points_forwards_is_late(schema: Schema) -> None:
    tables, waiting = creation_order(schema)
    position = {t.name: i for i, t in enumerate(tables)}
    assert all(position[key.table] > position[owner] for owner, key in waiting)


def cycles(*tables: Table) -> set[tuple[str, ...]]:
    return set(required_cycles(Schema("s", tables)))


def test_required_keys_in_a_circle_are_a_cycle() -> None:
    assert cycles(table("a", "b"), table("b", "c"), table("c", "a"), table("d", "a")) == {
        ("a", "b", "c")
    }


def test_a_nullable_key_opens_the_cycle() -> None:
    assert cycles(table("a", "b"), table("b", "a", nullable=True)) == set()


def test_a_key_with_one_nullable_column_opens_the_cycle() -> None:
    columns = (Column("x", Uuid()), Column("y", Uuid(), True))
    key = ForeignKey("k", ("x", "y"), "t", ("x", "y"))
    assert cycles(Table("t", columns, foreign_keys=(key,))) == set()


def test_a_table_that_requires_itself_is_a_cycle() -> None:
    assert cycles(table("a", "a"), table("b", "b", nullable=True)) == {("a",)}


def test_two_cycles_are_two_groups() -> None:
    assert cycles(table("a", "b"), table("b", "a"), table("c", "d", "a"), table("d", "c")) == {
        ("a", "b"),
        ("c", "d"),
    }


def test_a_cycle_of_two_thousand_tables_is_found() -> None:
    (group,) = cycles(*(table(str(i), str((i + 1) % 2000)) for i in range(2000)))
    assert len(group) == 2000
