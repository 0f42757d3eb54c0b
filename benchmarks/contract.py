"""Rows a second of the contract tests, against sqlproof on the same tables of the same server."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.contract import Plan, RandomChoices, Row, Scene, Valid, rows
from codered_spec.contract.verdicts import Verdict, insert, verdicts
from codered_spec.emit.ddl import emit_sql
from codered_spec.emit.validators import emit_validators
from codered_spec.model.schema import Finite, Range, Schema, rule_columns
from codered_spec.model.types import Array, Numeric, Vector
from codered_spec.postgres import EmbeddedServer
from codered_spec.validation import JsonText, Validator

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("projects", "agents", "long_runs")
ROUNDS = 3
OWN_ROWS = 5_000
DRAWN = 40
PEER_ROWS, PEER_RUNS = 50, 4


def cut(schema: Schema) -> Schema:
    """The schema without what stops sqlproof: arrays, vectors, and checks that name Infinity."""
    tables = []
    for table in schema.tables:
        types = {column.name: column.type for column in table.columns}
        gone = {name for name, type_ in types.items() if isinstance(type_, (Array, Vector))}
        checks = [
            check
            for check in table.checks
            if not gone & set(rule_columns(check.rule))
            and not isinstance(check.rule, Finite)
            and not (
                isinstance(check.rule, Range) and isinstance(types[check.rule.column], Numeric)
            )
        ]
        tables.append(
            replace(
                table,
                columns=tuple(c for c in table.columns if c.name not in gone),
                checks=tuple(checks),
                indexes=tuple(i for i in table.indexes if not gone & {k.column for k in i.keys}),
            )
        )
    return replace(schema, tables=tuple(tables))


def validators_of(schema: Schema) -> dict[str, Validator]:
    """The generated validators of the schema."""
    (file,) = emit_validators(schema, "benchmark")
    module: dict[str, Any] = {}
    exec(compile(file.text, file.path, "exec"), module)
    found: dict[str, Validator] = module["TABLES"]
    return found


def stored_as_promised(validator: Validator, row: Row, answer: Verdict) -> bool:
    """Whether the row was accepted, and each of its values is stored as the validator says."""
    if answer.stored is None:
        return False
    stored = json.loads(answer.stored, parse_float=Decimal)
    return all(_same(value, stored[name]) for name, value in validator.validate(row).items())


def _same(normal: Any, stored: Any) -> bool:
    if isinstance(normal, datetime):
        return bool(datetime.fromisoformat(stored) == normal)
    if isinstance(normal, JsonText):
        return bool(json.loads(normal, parse_float=Decimal) == stored)
    plain = normal is None or isinstance(normal, (bool, int, Decimal))
    return bool((normal if plain else str(normal)) == stored)


def judge(connection: Connection, schema: Schema, validator: Validator, valid: Valid) -> int:
    """Verdicts of the last of the rows after the others are inserted; how many rows these are."""
    with connection.transaction(force_rollback=True):
        insert(connection, schema, valid.before)
        [answer] = verdicts(connection, schema, valid.table, [valid.row])
    if not stored_as_promised(validator, valid.row, answer):
        raise SystemExit(f"{valid.table}: {answer}")
    return len(valid.rows)


def own(connection: Connection, schema: Schema, validator: Validator, table: str) -> int:
    """A scene, random rows, the verdict of the server on each, and the comparison."""
    scene = Scene(Plan(schema), table, RandomChoices(table))
    batch = [scene.world.row(table) for _ in range(OWN_ROWS)]
    with connection.transaction(force_rollback=True):
        insert(connection, schema, scene.before)
        answers = verdicts(connection, schema, table, batch)
    for row, answer in zip(batch, answers, strict=True):
        if not stored_as_promised(validator, row, answer):
            raise SystemExit(f"{table}: {answer}")
    return len(batch)


def drawn(connection: Connection, schema: Schema, validator: Validator, table: str) -> int:
    """The same with Hypothesis, which draws one row and its parents at a time."""
    found = 0

    @seed(1)
    @settings(
        max_examples=DRAWN, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(rows(table, schema))
    def run(valid: Valid) -> None:
        nonlocal found
        found += judge(connection, schema, validator, valid)

    run()
    return found


def peer(proof: Any, schema: Schema, table: str) -> int:
    """Datasets of sqlproof, inserted by it, and the count of what is stored."""
    sizes = {table: PEER_ROWS}
    parents = [table]
    for name in parents:
        found = schema.table(name)
        assert found is not None
        parents += [k.table for k in found.foreign_keys if k.table not in parents]
    sizes |= {name: 5 for name in parents if name != table}
    total = 0

    def stored(db: Any, dataset: dict[str, list[Any]]) -> None:
        nonlocal total
        [count] = db.query(f"select count(*) as n from {schema.name}.{table}")
        assert count["n"] == len(dataset[table])
        total += sum(map(len, dataset.values()))

    proof.check("rows are stored", sizes=sizes, property=stored, runs=PEER_RUNS)
    return total


def rates(*calls: Callable[[], int]) -> list[float]:
    """Median rows a second of each, in turns, so that a busy machine slows all down alike."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, samples in zip(calls, found, strict=True):
            before = time.perf_counter()
            samples.append(call() / (time.perf_counter() - before))
    return [statistics.median(samples) for samples in found]


def bench_contract() -> None:
    """Rows a second: our rows, verdicts and comparisons against sqlproof's datasets."""
    try:
        import sqlproof
    except ImportError:
        raise SystemExit('sqlproof is missing; run pip install -e ".[bench]"') from None
    schema = cut(load_spec(ROOT / "schema.yaml"))
    validators = validators_of(schema)
    warnings.simplefilter("ignore")  # checks that sqlproof leaves to Postgres
    with tempfile.TemporaryDirectory(prefix="codered-bench-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedServer(Path(folder) / "state")
        server.start()
        try:
            with connect(server.dsn()) as connection:
                connection.execute(emit_sql(schema).encode())
                proof = sqlproof.SqlProof.from_connection_string(server.dsn(), schema=schema.name)
                print(
                    f"\n{'rows a second':<16} {'ours':>9} {'drawn':>9} {'sqlproof':>9}"
                    f" {'ours/sqlproof':>14} {'drawn/sqlproof':>15}"
                )
                for table in TABLES:
                    arguments = (connection, schema, validators[table], table)
                    ours, slow, other = rates(
                        partial(own, *arguments),
                        partial(drawn, *arguments),
                        partial(peer, proof, schema, table),
                    )
                    print(
                        f"{table:<16} {ours:9.0f} {slow:9.0f} {other:9.0f} {ours / other:14.1f}"
                        f" {slow / other:15.1f}"
                    )
                proof.disconnect()
        finally:
            server.stop()
    print(
        f"(sqlproof {version('sqlproof')}, on the same cut tables: without arrays, vectors and"
        " checks that name\n Infinity, at which it fails; ours: seeded rows, each with a verdict"
        " and a comparison;\n drawn: the same with Hypothesis, a row and its parents at a time)"
    )
