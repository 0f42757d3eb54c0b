"""The main job, end to end, on the embedded server: document, spec, database, proof, rows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg
from psycopg import sql

from codered_spec.compiler import MIGRATIONS, load, root_of, sync
from codered_spec.connection import Connection, connect, database_error
from codered_spec.emit.access import ISSUE
from codered_spec.errors import Diagnostic, FindingsError, InputError
from codered_spec.files import write_text
from codered_spec.migrate.directory import read_directory
from codered_spec.migrate.runner import migrate
from codered_spec.migrate.verify import verify
from codered_spec.model.schema import Schema
from codered_spec.model.types import Vector
from codered_spec.postgres import EmbeddedServer
from codered_spec.usage import Usage, read_usage, to_lines

DATABASE: Final = "codered_demo"
FIRST: Final = date(2026, 11, 20)
LAST: Final = date(2026, 11, 23)
"""The days of the demo rows, the last one not among them."""
_ROWS: Final = Path(__file__).with_name("demo_rows.json")


@dataclass(frozen=True, slots=True)
class Reach:
    """What a role saw and could do, with row-level security on."""

    role: str
    whose: str
    """Whose rows it asked for, in words."""
    rows: int
    """Rows in sight, of all tables."""
    writes: bool
    """Whether it could log a run of the project."""

    def __str__(self) -> str:
        can = "logs a run of it" if self.writes else "may not log a run of the first"
        return f"{self.role} of {self.whose} sees {self.rows} rows and {can}"


@dataclass(frozen=True, slots=True)
class Demo:
    """What a run of the demo made, or in what the database differs."""

    schema: Schema
    changes: tuple[str, ...]
    """Facts in which the document was ahead of the spec, in words."""
    applied: tuple[str, ...]
    """File names of the migrations."""
    differences: tuple[str, ...]
    rows: dict[str, int]
    """Rows by table."""
    reach: tuple[Reach, ...]
    usage: tuple[Usage, ...]
    """By day and by agent, equal to the sums over the runs."""
    server_version: str
    dsn: str
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """The run as JSON data."""
        return {
            "tables": len(self.schema.tables),
            "changes": self.changes,
            "applied": self.applied,
            "differences": self.differences,
            "rows": self.rows,
            "access": [asdict(reach) for reach in self.reach],
            "usage": [usage.to_dict() for usage in self.usage],
            "server_version": self.server_version,
            "dsn": self.dsn,
            "seconds": round(self.seconds, 3),
        }


def demo(spec_path: str, server: EmbeddedServer, progress: Callable[[str], None]) -> Demo:
    """Runs the demo in a database that is made anew each time.

    No row is inserted into a database that differs from the spec.
    """
    started = time.monotonic()
    copy, document = _copy(spec_path)
    progress("1/5  starting the embedded Postgres")
    server.start()
    progress("2/5  reading the document into a copy of the spec")
    result = sync(document, copy)
    write_text(copy, result.text)
    schema = load(copy).schema
    progress("3/5  applying the migrations to a fresh database")
    _fresh_database(server)
    migrations = read_directory(root_of(spec_path) / MIGRATIONS)
    rows: dict[str, int] = {}
    usage: tuple[Usage, ...] = ()
    reach: tuple[Reach, ...] = ()
    with connect(server.dsn(database=DATABASE)) as connection:
        applied = migrate(connection, migrations, report=lambda _line: None)
        progress("4/5  comparing the live database with the spec")
        differences = verify(connection, schema)
        if not differences:
            progress("5/5  inserting connected rows, and reading the usage that they add up to")
            rows = insert_rows(connection, schema)
            reach = try_agents(connection, schema)
            usage = read_back(connection)
        version = connection.info.parameter_status("server_version")
    return Demo(
        schema,
        result.changes,
        tuple(migration.file_name for migration in applied),
        tuple(map(str, differences)),
        rows,
        reach,
        usage,
        str(version),
        server.dsn(database=DATABASE),
        time.monotonic() - started,
    )


def _copy(spec_path: str) -> tuple[str, str]:
    """A copy of the spec, so that the demo changes nothing of the project, and its document."""
    spec = load(spec_path)
    if "document" not in spec.data:
        raise InputError(
            Diagnostic("C001", f"{spec_path} names no document", "run the demo on a spec with one")
        )
    root = root_of(spec_path)
    copied = str(root / ".codered" / "demo" / Path(spec_path).name)
    write_text(copied, spec.text)
    return copied, str(root / spec.data["document"])


def _fresh_database(server: EmbeddedServer) -> None:
    name = sql.Identifier(DATABASE)
    with connect(server.dsn()) as connection:
        try:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(name))
            connection.execute(sql.SQL("create database {}").format(name))
        except psycopg.Error as error:
            raise database_error(error, f"making the database {DATABASE}") from None


def insert_rows(connection: Connection, schema: Schema) -> dict[str, int]:
    """Inserts the demo rows in one transaction; returns the rows of every table after it.

    Raises InputError when the spec has a table that the rows do not know, or lacks one they need.
    """
    rows = _demo_rows()
    kept = {rollup.name for rollup in schema.rollups}  # these fill themselves
    tables = {table.name for table in schema.tables} - kept
    unknown = {table for table, _ in rows} ^ tables
    if unknown:
        raise InputError(
            Diagnostic(
                "C001",
                f"the demo rows and the spec differ in tables: {', '.join(sorted(unknown))}",
                "run the demo on the CodeRed spec",
            )
        )
    try:
        with connection.transaction():
            _become(connection, _writer(schema))
            for table, row in rows:
                _insert(connection, schema, table, row)
        return dict(_counts(connection, schema))
    except psycopg.Error as error:
        raise database_error(error, "inserting the demo rows") from None


def _demo_rows() -> list[tuple[str, dict[str, str]]]:
    rows: list[tuple[str, dict[str, str]]] = json.loads(_ROWS.read_text(encoding="utf-8"))
    return rows


def _writer(schema: Schema) -> str | None:
    """The role that may do everything: the back end's."""
    return next((role.name for role in schema.roles if role.everything), None)


def _become(connection: Connection, role: str | None) -> None:
    if role is not None:
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))


def try_agents(connection: Connection, schema: Schema) -> tuple[Reach, ...]:
    """What an agent of the demo's project reaches, and one of another project; nothing stays."""
    agent = next((r.name for r in schema.roles if r.scope is not None and r.scope.token), None)
    if agent is None:
        return ()
    run = next(row for table, row in _demo_rows() if table == "agent_runs")
    del run["id"]
    projects = {"the project": run["project_id"], "another project": str(uuid4())}
    found = []
    try:
        for whose, project in projects.items():
            with connection.transaction(force_rollback=True):
                name = sql.Identifier(agent)
                connection.execute(sql.SQL("grant {} to current_user").format(name))
                _become(connection, _writer(schema))
                issue = sql.SQL("select {}(%s)").format(sql.Identifier(schema.name, ISSUE))
                token = connection.execute(issue, [project]).fetchone()
                assert token is not None
                _become(connection, agent)
                setting = f"{schema.name}.token"
                connection.execute("select set_config(%s, %s, true)", [setting, token[0]])
                seen = sum(count for _, count in _counts(connection, schema))
                try:
                    with connection.transaction():
                        _insert(connection, schema, "agent_runs", run)
                    writes = True
                except psycopg.errors.InsufficientPrivilege:
                    writes = False
                found.append(Reach(agent, whose, seen, writes))
    except psycopg.Error as error:
        raise database_error(error, "trying the roles") from None
    return tuple(found)


def _insert(connection: Connection, schema: Schema, table: str, row: dict[str, str]) -> None:
    values = dict(row)
    for column in values:
        found = next(t for t in schema.tables if t.name == table).column(column)
        if found is not None and isinstance(found.type, Vector):
            values[column] = json.dumps([1] + [0] * ((found.type.dimensions or 1) - 1))
    statement = sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(schema.name, table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.Placeholder() for _ in values),
    )
    connection.execute(statement, list(values.values()))


def read_back(connection: Connection) -> tuple[Usage, ...]:
    """The usage of the demo's days, by day and by agent.

    Raises FindingsError (V013) where a total is not the sum over the runs.
    """
    found = tuple(read_usage(connection, by=by, since=FIRST, until=LAST) for by in ("day", "agent"))
    query = (
        "select sum(input_tokens), sum(output_tokens), sum(estimated_cost_usd)"
        " from codered.agent_runs"
    )
    runs = connection.execute(query).fetchone()
    for usage in found:
        total = usage.total
        if (total.input_tokens, total.output_tokens, total.cost_usd) != runs:
            fix = "select codered.rebuild_llm_usage_daily()"
            message = f"the usage by {usage.by} is not the sum over the runs"
            raise FindingsError(Diagnostic("V013", message, fix))
    return found


def _counts(connection: Connection, schema: Schema) -> Iterator[tuple[str, int]]:
    for table in schema.tables:
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema.name, table.name))
        row = connection.execute(query).fetchone()
        yield table.name, row[0] if row else 0


def summary(run: Demo) -> Iterator[str]:
    """The lines that a person reads after a run."""
    tables = run.schema.tables
    checks, foreign_keys, keys, indexes, triggers = (
        sum(len(getattr(table, part)) for table in tables)
        for part in ("checks", "foreign_keys", "keys", "indexes", "triggers")
    )
    columns = sum(len(table.columns) for table in tables)
    yield ""
    yield f"document    {_count(len(run.changes), 'change')} since the last sync"
    yield f"spec        {len(tables)} tables, {columns} columns in the schema {run.schema.name}"
    yield f"migrated    {_count(len(run.applied), 'file')} into Postgres {run.server_version}"
    if run.differences:
        yield f"verified    {_count(len(run.differences), 'difference')}"
        yield from (f"            {difference}" for difference in run.differences)
    else:
        yield (
            f"verified    no difference: {keys} keys, {foreign_keys} foreign keys, {checks} checks,"
            f" {indexes} indexes, {triggers} triggers"
        )
        yield f"rows        {sum(run.rows.values())} in {len(run.rows)} tables"
        width = max(map(len, run.rows))
        yield from (f"            {name:<{width}}  {count}" for name, count in run.rows.items())
        if run.reach:
            writer = _writer(run.schema)
            yield f"access      row-level security is on; the rows were written as {writer}"
            yield from (f"            {reach}" for reach in run.reach)
        for usage in run.usage:
            first, *lines = to_lines(usage, 68, colour=False)
            yield f"usage       {first.removeprefix('usage ')}, equal to the runs"
            yield from (f"            {line}" for line in lines)
    yield ""
    yield f"connect     codered-spec db psql -d {DATABASE}"
    yield f"            {run.dsn}"
    yield "stop        codered-spec db stop"
    yield f"took        {run.seconds:.1f} s"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'s'[: number != 1]}"
