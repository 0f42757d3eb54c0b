"""A sample of the mutants in a normal run; `nox -s mutation` tries all of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.contract import Plan
from codered_spec.contract.mutation.equivalents import EQUIVALENCES
from codered_spec.contract.mutation.exam import Exam
from codered_spec.contract.mutation.operators import Mutant, mutants
from codered_spec.contract.mutation.score import Fate, Judge, chosen
from codered_spec.contract.mutation.source import source_mutants
from codered_spec.contract.mutation.validators import Differential
from codered_spec.emit.ddl import emit_sql
from codered_spec.emit.validators import emit_validators
from codered_spec.migrate.diff import diff
from codered_spec.migrate.lowering import lowered
from codered_spec.postgres import EmbeddedServer
from codered_spec.sources.database.reader import read_catalog
from codered_spec.sql import identifier

ROOT: Final = Path(__file__).resolve().parents[1]
# a view would keep the columns that it reads from changing their type
SCHEMA: Final = replace(load_spec(ROOT / "schema.yaml"), views=(), roles=())
EVERY: Final = 60
SAMPLE: Final = [mutant for _, mutant in chosen(SCHEMA, EVERY, "database")]


@pytest.fixture(scope="module")
def judge(server: EmbeddedServer, template: str) -> Iterator[Judge]:
    """A database with the schema, in which nothing lasts."""
    name = f"mutation_{uuid.uuid4().hex}"
    with connect(server.dsn()) as admin:
        create = f"create database {identifier(name)} template {identifier(template)}"
        admin.execute(create.encode())
    with connect(server.dsn(database=name)) as connection:
        with connection.transaction():
            connection.execute(emit_sql(SCHEMA).encode())
        yield Judge(connection, SCHEMA)
    with connect(server.dsn()) as admin:
        admin.execute(f"drop database {identifier(name)} with (force)".encode())


@pytest.mark.parametrize("table", [table.name for table in SCHEMA.tables])
def test_mutants_in_the_database_are_noticed(judge: Judge, table: str) -> None:
    wrong: list[Fate] = []
    for mutant in SAMPLE:
        if mutant.table == table:
            fate = judge.in_database(mutant)
            if not fate.sound:
                wrong.append(fate)
    assert not wrong


def test_a_mutant_in_the_database_is_what_it_says(judge: Judge) -> None:
    told = 0
    for mutant in SAMPLE:
        if mutant.schema is None:
            continue
        with judge.connection.transaction(force_rollback=True):
            try:
                with judge.connection.transaction():
                    judge.connection.execute(mutant.sql.encode())
            except Exception:  # noqa: BLE001 -- one that cannot exist
                continue
            live = read_catalog(judge.connection, SCHEMA.name)
        assert not diff(lowered(mutant.schema), live), str(mutant)
        told += 1
    assert told > 40


def test_mutants_in_the_spec_are_noticed_by_the_comparison(judge: Judge) -> None:
    for mutant in SAMPLE[::3]:
        if mutant.schema is not None:
            fate = judge.in_spec(mutant)
            assert fate.sound, str(fate)


def test_the_sample_has_every_operator_and_the_whole_is_large() -> None:
    everything = list(mutants(SCHEMA))
    assert len(everything) >= 2000
    assert {m.operator for m in SAMPLE} == {m.operator for m in everything}
    assert {m.table for m in everything} == {table.name for table in SCHEMA.tables}
    assert len({m.sql for m in everything}) == len(everything)


def test_each_rule_of_equivalence_excludes_something() -> None:
    excluded = {
        rule.name for rule in EQUIVALENCES for m in mutants(SCHEMA) if rule.holds(SCHEMA, m)
    }
    assert excluded == {rule.name for rule in EQUIVALENCES}


def test_a_rollup_requires_the_keys_that_its_source_no_longer_does(judge: Judge) -> None:
    found = [
        mutant
        for mutant in mutants(SCHEMA)
        if (mutant.operator, mutant.table) == ("NOT NULL removed", "agent_runs")
        and mutant.target in ("project_id", "agent_id")
    ]
    fates = [judge.in_database(mutant) for mutant in found]
    assert [fate.equivalence for fate in fates] == ["required by a rollup"] * 2
    assert all(fate.sound for fate in fates)


def test_who_asks_only_for_valid_rows_notices_less(judge: Judge) -> None:
    mutant = next(m for m in mutants(SCHEMA) if m.operator == "check removed")
    fate = judge.in_database(mutant)
    assert fate.contract
    assert not fate.valid_rows


def test_a_mutant_that_changes_nothing_survives(judge: Judge) -> None:
    mutant = Mutant("nothing", "tasks", "tasks", "", "select 1")
    fate = judge.in_database(mutant)
    assert not fate.verify
    assert not fate.contract
    assert not fate.sound


def test_mutants_of_validators_are_noticed(judge: Judge) -> None:
    noticed, differing = 0, 0
    for name in ("agent_runs", "doc_chunks", "llm_usage_by_agent"):
        test = Differential(judge.connection, Plan(SCHEMA), name)
        only = SCHEMA.table(name)
        assert only is not None
        (file,) = emit_validators(judge.schema.__class__(SCHEMA.name, (only,)), "generated")
        assert not test.kills(compile(file.text, "original", "exec"))
        for mutant in source_mutants(file.text, every=25):
            killed = test.kills(mutant.code)
            if mutant.equivalence is not None:
                assert not killed, f"{mutant.equivalence} does not hold: {mutant}"
            else:
                differing += 1
                noticed += killed
    assert differing > 20
    assert noticed >= 0.9 * differing


def test_the_answers_are_the_same_each_time(judge: Judge) -> None:
    connection: Connection = judge.connection
    exam = Exam(judge.plan, "projects")
    assert list(exam.answers(connection)) == list(exam.answers(connection))
