"""Whole rows through the other transports: JSON as PostgREST inserts it, and psycopg's parameters.

A row that a validator accepts gets the same verdict, and is stored the same, as through texts with
casts. ``CONTRACT_ROWS`` scales the number of random rows, as it does for the contract tests.
"""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pgvector
import pytest
from pgvector.psycopg import register_vector
from test_contract import PLAN, SCHEMA, TABLES, random_rows

from codered_spec.connection import Connection, connect
from codered_spec.contract import Fault, RandomChoices, Row, Scene, faults, neighbours
from codered_spec.contract.nasty import NASTY, Strange
from codered_spec.contract.verdicts import UNSENDABLE, Verdict, insert, json_of, verdicts
from codered_spec.emit.ddl import emit_sql
from codered_spec.model.schema import RandomUuid, Table
from codered_spec.model.types import Array, Jsonb, Numeric, PgType, Text, Timestamptz, Vector
from codered_spec.postgres import EmbeddedServer
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier
from codered_spec.validation import JsonText
from codered_spec.validators import problems, validate

ROWS: Final = int(os.environ.get("CONTRACT_ROWS", "20000")) // 2
PER_TABLE: Final = -(-ROWS // (2 * len(TABLES)))
"""Random valid rows of each table, and as many random mutated ones."""
BOUND: Final = 20
"""Random rows of each table that are bound as parameters, next to the rows at the limits."""


@pytest.fixture(scope="module")
def codered(server: EmbeddedServer, template: str) -> Iterator[Connection]:
    """A database with the whole schema, in which nothing that a test does lasts."""
    name = identifier(f"transports_{uuid.uuid4().hex}")
    with connect(server.dsn()) as admin:
        admin.execute(f"create database {name} template {identifier(template)}".encode())
    with connect(server.dsn(database=name.strip('"'))) as connection:
        with connection.transaction():
            connection.execute(emit_sql(SCHEMA).encode())
        yield connection
    with connect(server.dsn()) as admin:
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def sandbox(codered: Connection) -> Iterator[Connection]:
    """A transaction that is rolled back."""
    with codered.transaction(force_rollback=True):
        yield codered


def comparable(table: Table, row: Row, verdict: Verdict) -> tuple[object, ...]:
    """All of a verdict but its words, with numbers as they are printed, without random defaults."""
    stored = None
    if verdict.stored is not None:
        stored = json.loads(verdict.stored, parse_float=str, parse_int=str)
        for column in table.columns:
            if column.name not in row and isinstance(column.default, RandomUuid):
                del stored[column.name]
    return verdict.ok, verdict.sqlstate, verdict.constraint, verdict.column, stored


# ---- JSON -------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A normalised value as it would be put into JSON: what is JSON already is not quoted again."""
    if isinstance(value, JsonText):
        return json.loads(value)
    return [plain(item) for item in value] if isinstance(value, list) else value


def differences(connection: Connection, name: str, rows: Sequence[Row]) -> list[object]:
    """Accepted rows on which JSON, of the row or of what the validator made of it, differs."""
    table = PLAN.table(name)
    made = [{k: plain(v) for k, v in validate(name, row).items()} for row in rows]
    wanted = verdicts(connection, SCHEMA, name, rows)
    found: list[object] = []
    for form, sent in (("as it came", rows), ("normalised", made)):
        answers = verdicts(connection, SCHEMA, name, sent, transport="json")
        for row, want, answer in zip(rows, wanted, answers, strict=True):
            if comparable(table, row, want) != comparable(table, row, answer):
                found.append((form, row, want, answer))
    return found


@pytest.mark.parametrize("name", TABLES)
def test_the_valid_neighbours_of_each_limit_are_stored_alike_from_json(
    sandbox: Connection, name: str
) -> None:
    scene = Scene(PLAN, name, RandomChoices(name))
    insert(sandbox, SCHEMA, scene.before)
    assert not differences(sandbox, name, [near.row for near in neighbours(scene)])


@pytest.mark.parametrize("name", TABLES)
def test_random_valid_rows_are_accepted_and_stored_alike_from_json(
    codered: Connection, name: str
) -> None:
    for scene, batch in random_rows(name, "valid JSON", PER_TABLE):
        with codered.transaction(force_rollback=True):
            insert(codered, SCHEMA, scene.before)
            assert not differences(codered, name, batch)
            answers = verdicts(codered, SCHEMA, name, batch, transport="json")
        assert all(answer.ok for answer in answers)


@pytest.mark.parametrize("name", TABLES)
def test_random_mutated_rows_that_a_validator_accepts_are_stored_alike_from_json(
    codered: Connection, name: str
) -> None:
    for scene, batch in random_rows(name, "mutated JSON", PER_TABLE):
        choices = RandomChoices(f"JSON mutations of {name} {len(batch)}")
        columns = [column.name for column in scene.table.columns]
        for row in batch:
            column = choices.pick(columns)
            good = [v for v in NASTY if not problems(name, {**row, column: v})]
            if good:
                row[column] = choices.pick(good)
        with codered.transaction(force_rollback=True):
            insert(codered, SCHEMA, scene.before)
            assert not differences(codered, name, batch)


def test_a_normal_run_compares_enough_rows() -> None:
    assert ROWS >= 10_000
    assert PER_TABLE * len(TABLES) >= 5_000


def has_nul(value: object) -> bool:
    """JSON can write NUL, as an escape; no text can hold what comes of it."""
    return "\\u0000" in json.dumps(value)


def has_lone_surrogate(value: object) -> bool:
    """JSON can write half of a pair, as an escape; the parser refuses it."""
    return "\\ud8" in json.dumps(value)


REWORDED: Final[dict[Callable[[object], bool], str]] = {
    has_nul: "22P05",
    has_lone_surrogate: "22P02",
}
"""Faults that no client can send as text (22021), but JSON can; with the answer that they get."""


def wanted(fault: Fault) -> str:
    """The SQLSTATE of a fault that comes as JSON."""
    if fault.sqlstate == UNSENDABLE:
        return next(state for rule, state in REWORDED.items() if rule(fault.row[fault.column]))
    return fault.sqlstate


@pytest.mark.parametrize("name", TABLES)
def test_each_fault_gets_its_answer_from_json(sandbox: Connection, name: str) -> None:
    scene = Scene(PLAN, name, RandomChoices(name))
    insert(sandbox, SCHEMA, scene.before)
    found = list(faults(scene))
    answers = verdicts(sandbox, SCHEMA, name, [f.row for f in found], transport="json")
    wrong: list[object] = []
    for fault, answer in zip(found, answers, strict=True):
        column = fault.column if fault.sqlstate == "23502" else None
        right = (wanted(fault), fault.constraint, column)
        if (answer.sqlstate, answer.constraint, answer.column) != right:
            wrong.append((fault.column, fault.name, right, answer))
    assert not wrong


def test_each_fault_that_json_rewords_has_a_case() -> None:
    cases = {
        rule
        for name in TABLES
        for fault in faults(Scene(PLAN, name, RandomChoices(name)))
        for rule in REWORDED
        if fault.sqlstate == UNSENDABLE and rule(fault.row[fault.column])
    }
    assert cases == REWORDED.keys()


def test_what_json_cannot_say_is_a_string() -> None:
    number, vector = Numeric(10, 2), Vector(2)
    assert json_of(number, Decimal("-0.10")) == "-0.10"
    assert json_of(number, Decimal("NaN")) == '"NaN"'
    assert json_of(vector, [1, -0.5]) == "[1,-0.5]"
    assert json_of(vector, [1, math.inf]) == '"[1,inf]"'
    assert json_of(Array(vector), [[1, 2], None]) == '["[1,2]",null]'
    assert json_of(Array(Text()), [["a"], ['"']]) == '[["a"],["\\""]]'
    assert json_of(Array(Jsonb()), [{"a": [1]}, "b"]) == '[{"a": [1]},"b"]'
    assert json_of(Text(), None) == "null"
    assert (
        json_of(Timestamptz(), datetime(2026, 1, 31, tzinfo=UTC)) == '"2026-01-31T00:00:00+00:00"'
    )


def test_json_without_columns_is_a_row_of_defaults(sandbox: Connection) -> None:
    [answer] = verdicts(sandbox, SCHEMA, "projects", [{}], transport="json")
    assert (answer.sqlstate, answer.column) == ("23502", "slug")
    [answer] = verdicts(sandbox, SCHEMA, "projects", [{"slug": Strange()}], transport="json")
    assert answer == Verdict(False, message="Strange has no text form")


# ---- parameters of psycopg --------------------------------------------------------------------


def listed(_type: PgType, value: Any) -> Any:
    """A normalised value as it is."""
    return value


def registered(type_: PgType, value: Any) -> Any:
    """A vector in the class of pgvector, which is registered with the connection."""
    return pgvector.Vector(value) if isinstance(type_, Vector) and value is not None else value


def bound(
    connection: Connection, table: Table, row: Row, form: Callable[[PgType, Any], Any]
) -> Verdict:
    """What is stored of the normalised row, each value bound by the server, without any cast."""
    normal = validate(table.name, row)
    target = identifier(SCHEMA.name, table.name)
    source = f"{column_list(tuple(normal))} values ({', '.join(['%s'] * len(normal))})"
    query = f"insert into {target} as t {source} returning to_jsonb(t.*)::text"
    types = {column.name: column.type for column in table.columns}
    with connection.transaction(force_rollback=True):
        values = [form(types[name], value) for name, value in normal.items()]
        found = connection.execute(query.encode(), values).fetchone()
    assert found is not None
    return Verdict(True, stored=found[0])


@pytest.mark.parametrize("form", [listed, registered], ids=lambda form: form.__name__)
@pytest.mark.parametrize("name", TABLES)
def test_normalised_rows_are_stored_alike_from_parameters(
    sandbox: Connection, name: str, form: Callable[[PgType, Any], Any]
) -> None:
    scene = Scene(PLAN, name, RandomChoices(f"parameters of {name}"))
    rows = [near.row for near in neighbours(scene)]
    rows += [scene.world.row(name) for _ in range(BOUND)]
    insert(sandbox, SCHEMA, scene.before)
    sandbox.execute("set local time zone 'UTC'")
    if form is registered:
        vectors = SCHEMA.extension_schema("vector") or "public"
        sandbox.execute(f"set local search_path to {identifier(vectors)}".encode())
        register_vector(sandbox)
    wrong: list[object] = []
    for row, want in zip(rows, verdicts(sandbox, SCHEMA, name, rows), strict=True):
        answer = bound(sandbox, scene.table, row, form)
        if comparable(scene.table, row, want) != comparable(scene.table, row, answer):
            wrong.append((row, want, answer))
    assert not wrong
