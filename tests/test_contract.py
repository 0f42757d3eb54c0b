"""The spec, its validators and a real server say the same of every row, valid or not.

A normal run judges at least 20,000 rows; ``CONTRACT_ROWS`` asks for more.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from contract_cases import STRICTER, stored_differences
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.contract import (
    Invalid,
    Plan,
    RandomChoices,
    Row,
    Scene,
    Valid,
    faults,
    invalid_rows,
    neighbours,
    rows,
)
from codered_spec.contract.acts import acts, differences, perform
from codered_spec.contract.nasty import NASTY, Strange
from codered_spec.contract.verdicts import Verdict, insert, verdicts
from codered_spec.emit.ddl import emit_sql
from codered_spec.errors import InputError
from codered_spec.model.schema import Table, rule_columns
from codered_spec.postgres import EmbeddedServer
from codered_spec.sql import identifier
from codered_spec.validators import problems

SCHEMA: Final = load_spec(Path(__file__).resolve().parents[1] / "schema.yaml")
PLAN: Final = Plan(SCHEMA)
TABLES: Final = [table.name for table in SCHEMA.tables]
ROWS: Final = int(os.environ.get("CONTRACT_ROWS", "20000"))
PER_TABLE: Final = -(-ROWS // (2 * len(TABLES)))
"""Random valid rows of each table, and as many random mutated ones."""
MASKS: Final = 6
BATCH: Final = 2_000


@pytest.fixture(scope="module")
def codered(server: EmbeddedServer, template: str) -> Iterator[Connection]:
    """A database with the whole schema, in which nothing that a test does lasts."""
    name = f"contract_{uuid.uuid4().hex}"
    with connect(server.dsn()) as admin:
        admin.execute(
            f"create database {identifier(name)} template {identifier(template)}".encode()
        )
    with connect(server.dsn(database=name)) as connection:
        with connection.transaction():
            connection.execute(emit_sql(SCHEMA).encode())
        yield connection
    with connect(server.dsn()) as admin:
        admin.execute(f"drop database {identifier(name)} with (force)".encode())


@pytest.fixture
def sandbox(codered: Connection) -> Iterator[Connection]:
    """A transaction that is rolled back."""
    with codered.transaction(force_rollback=True):
        yield codered


# ---- clause by clause ----


@pytest.mark.parametrize("name", TABLES)
def test_each_fault_gets_exactly_its_answer(sandbox: Connection, name: str) -> None:
    scene = Scene(PLAN, name, RandomChoices(name))
    insert(sandbox, SCHEMA, scene.before)
    found = list(faults(scene))
    answers = verdicts(sandbox, SCHEMA, name, [fault.row for fault in found])
    wrong: list[object] = []
    for fault, answer in zip(found, answers, strict=True):
        column = fault.column if fault.sqlstate == "23502" else None
        if (answer.sqlstate, answer.constraint, answer.column) != (
            fault.sqlstate,
            fault.constraint,
            column,
        ):
            wrong.append((fault.column, fault.name, fault.sqlstate, fault.constraint, answer))
        refused = [problem.column for problem in problems(name, fault.row)]
        if refused != ([] if fault.cross_row else [fault.column]):
            wrong.append((fault.column, fault.name, "validator", refused, answer))
    assert not wrong


@pytest.mark.parametrize("name", TABLES)
def test_the_valid_neighbours_of_each_limit_are_accepted(sandbox: Connection, name: str) -> None:
    scene = Scene(PLAN, name, RandomChoices(name))
    insert(sandbox, SCHEMA, scene.before)
    found = list(neighbours(scene))
    answers = verdicts(sandbox, SCHEMA, name, [near.row for near in found])
    wrong: list[object] = []
    for near, answer in zip(found, answers, strict=True):
        refused = problems(name, near.row)
        if refused or not answer.ok:
            wrong.append((near.column, near.name, near.row.get(near.column), refused, answer))
        else:
            wrong += [(near.column, d) for d in stored_differences(scene.table, near.row, answer)]
    assert not wrong


@pytest.mark.parametrize("name", TABLES)
def test_each_act_comes_to_what_the_spec_says(sandbox: Connection, name: str) -> None:
    """Deletions, changed keys, and triggers on update."""
    wrong = []
    found = list(acts(PLAN, name, RandomChoices(name)))
    for act in found:
        said = differences(SCHEMA, act, perform(sandbox, SCHEMA, act))
        wrong += [(act.name, what) for what in said]
    assert not wrong
    exercised = {act.name.partition(":")[0] for act in found}
    table = PLAN.table(name)
    links, triggers = table.foreign_keys, table.triggers
    assert exercised == {key.name for key in links} | {trigger.name for trigger in triggers}


def test_every_clause_has_a_fault() -> None:
    """No constraint is forgotten, other than those that another one implies."""
    missing = set()
    for table in SCHEMA.tables:
        found = list(faults(Scene(PLAN, table.name, RandomChoices(table.name))))
        named = {fault.constraint for fault in found}
        wanted = {constraint.name for constraint in table.constraints}
        wanted |= {index.name for index in table.indexes if index.unique}
        missing |= wanted - named
        required = {column.name for column in table.columns if not column.nullable}
        assert {f.column for f in found if f.name == "null"} == required
    assert missing == IMPLIED


IMPLIED: Final = {
    # unique keys that contain the primary key, for composite foreign keys to point to
    "agent_runs_project_id_id_key",
    "ci_events_project_id_id_key",
    "deployments_project_id_id_key",
    "doc_manifest_project_id_id_key",
    "tasks_project_id_id_key",
    # a required composite foreign key leads to a row that itself has the project
    "doc_chunks_project_id_fkey",
    "task_runs_project_id_fkey",
}

# ---- random rows ----


def masks(name: str) -> list[frozenset[str]]:
    """A few sets of columns to leave out: none, all, and some between."""
    possible = PLAN.omittable(name)
    choices = RandomChoices(f"masks of {name}")
    some = [frozenset(c for c in possible if choices.integer(0, 2) == 0) for _ in range(MASKS - 2)]
    return [frozenset(), frozenset(possible), *some]


def random_rows(name: str, seed: str, count: int) -> Iterator[tuple[Scene, list[Row]]]:
    """Batches of random valid rows, each with the scene that must stand before it."""
    for start in range(0, count, BATCH):
        choices = RandomChoices(f"{seed} {name} {start}")
        scene = Scene(PLAN, name, choices)
        omitted = masks(name)
        batch = min(BATCH, count - start)
        yield scene, [scene.world.row(name, omit=choices.pick(omitted)) for _ in range(batch)]


@pytest.mark.parametrize("name", TABLES)
def test_random_valid_rows_are_accepted_and_stored_as_promised(
    codered: Connection, name: str
) -> None:
    tried = 0
    for scene, batch in random_rows(name, "valid", PER_TABLE):
        with codered.transaction(force_rollback=True):
            # parents that the rows brought along stand in the scene, too
            insert(codered, SCHEMA, scene.before)
            answers = verdicts(codered, SCHEMA, name, batch)
        tried += len(batch)
        wrong: list[object] = []
        for row, answer in zip(batch, answers, strict=True):
            refused = problems(name, row)
            if refused or not answer.ok:
                wrong.append((refused, answer))
            else:
                wrong += stored_differences(scene.table, row, answer)
        assert not wrong
    assert tried >= PER_TABLE


EXCUSED: Final[Counter[str]] = Counter()


def clauses(table: Table) -> dict[str, tuple[str, ...]]:
    return {check.name: rule_columns(check.rule) for check in table.checks}


def disagreements(table: Table, row: Row, answer: Verdict) -> list[object]:
    """Where the validator and Postgres differ about a row, other than documented."""
    refused = {problem.column for problem in problems(table.name, row)}
    if answer.ok and not refused:
        return list(stored_differences(table, row, answer))
    if answer.ok:
        found: list[object] = []
        for name in sorted(refused):
            column = table.column(name)
            assert column is not None
            reasons = [r.__name__ for r in STRICTER if r(column.type, row.get(name))]
            EXCUSED.update(reasons)
            if not reasons:
                found.append(("too strict", name, row.get(name, "omitted")))
        return found
    if answer.sqlstate in ("23503", "23505"):
        return []  # needs other rows
    if not refused:
        return [("falsely accepted", answer)]
    speakers = (
        {answer.column}
        if answer.column
        else set(clauses(table).get(str(answer.constraint), refused))
    )
    return [] if speakers & refused else [("another column", sorted(refused), answer)]


@pytest.mark.parametrize("name", TABLES)
def test_random_mutated_rows_get_the_same_verdict(codered: Connection, name: str) -> None:
    table = PLAN.table(name)
    columns = [column.name for column in table.columns]
    tried = 0
    for scene, batch in random_rows(name, "mutated", PER_TABLE):
        choices = RandomChoices(f"mutations of {name} {len(batch)}")
        for row in batch:
            for _ in range(choices.pick((1, 1, 1, 2, 3))):
                column = choices.pick(columns)
                if column in row:
                    row[column] = choices.pick(NASTY)
        with codered.transaction(force_rollback=True):
            insert(codered, SCHEMA, scene.before)
            answers = verdicts(codered, SCHEMA, name, batch)
        tried += len(batch)
        wrong = [
            d for row, a in zip(batch, answers, strict=True) for d in disagreements(table, row, a)
        ]
        assert not wrong
    assert tried >= PER_TABLE


def test_each_nasty_value_in_each_type_and_each_reason_has_a_case(sandbox: Connection) -> None:
    wrong: list[object] = []
    EXCUSED.clear()
    for type_ in sorted({str(c.type) for t in SCHEMA.tables for c in t.columns}):
        table, column = next(
            (t, c) for t in SCHEMA.tables for c in t.columns if str(c.type) == type_
        )
        scene = Scene(PLAN, table.name, RandomChoices(type_))
        with sandbox.transaction(force_rollback=True):
            insert(sandbox, SCHEMA, scene.before)
            batch = [{**scene.row, column.name: value} for value in NASTY]
            answers = verdicts(sandbox, SCHEMA, table.name, batch)
        for row, answer in zip(batch, answers, strict=True):
            wrong += disagreements(table, row, answer)
    assert not wrong
    assert {reason.__name__ for reason in STRICTER} == EXCUSED.keys(), "a reason without a case"


def test_a_normal_run_judges_enough_rows() -> None:
    assert ROWS >= 20_000
    assert 2 * PER_TABLE * len(TABLES) >= ROWS


# ---- strategies ----


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_drawn_rows_stand_together(codered: Connection, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(TABLES))
    valid: Valid = data.draw(rows(name, SCHEMA))
    with codered.transaction(force_rollback=True):
        insert(codered, SCHEMA, valid.rows)
    assert all(problems(table, row) == [] for table, row in valid.rows)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_drawn_faults_are_answered(codered: Connection, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(TABLES))
    invalid: Invalid = data.draw(invalid_rows(name, SCHEMA))
    with codered.transaction(force_rollback=True):
        insert(codered, SCHEMA, invalid.before)
        [answer] = verdicts(codered, SCHEMA, name, [invalid.fault.row])
    assert (answer.sqlstate, answer.constraint) == (
        invalid.fault.sqlstate,
        invalid.fault.constraint,
    )


def test_the_spec_is_a_model_or_a_file() -> None:
    assert repr(rows("tasks")) == repr(rows("tasks", "schema.yaml"))
    with pytest.raises(InputError, match="there is no table takss"):
        rows("takss", SCHEMA)


def test_a_verdict_leaves_nothing_behind(sandbox: Connection) -> None:
    scene = Scene(PLAN, "projects", RandomChoices(0))
    assert verdicts(sandbox, SCHEMA, "projects", [scene.row, scene.row])[1].ok
    assert sandbox.execute("select count(*) from codered.projects").fetchone() == (0,)
    assert verdicts(sandbox, SCHEMA, "projects", []) == []
    with pytest.raises(InputError, match="no column colour"):
        verdicts(sandbox, SCHEMA, "projects", [{"colour": 1}])
    unsendable = verdicts(sandbox, SCHEMA, "projects", [{**scene.row, "name": Strange()}])
    assert unsendable == [Verdict(False, message="Strange has no text form")]
