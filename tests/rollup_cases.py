"""What the tests of rollups share: databases with some projects and agents, runs, and the truth.

The truth is written by hand here, in other words than those of the emitter.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import psycopg

from codered_spec import load_spec
from codered_spec.emit.ddl import emit_sql
from codered_spec.model.schema import Rollup, Schema
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sql import identifier

SPEC = Path(__file__).parents[1] / "schema.yaml"

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

NOON = "2026-03-01 12:00:00+00"


@dataclass(frozen=True, slots=True)
class Kept:
    """A rollup: its rows that writes keep, and what they must be."""

    table: str
    stored: str
    truth: str


USAGE = (
    Kept(
        "llm_usage_daily",
        "select date::text, project_id, agent_id,"
        " total_input_tokens, total_output_tokens, total_cost_usd"
        " from codered.llm_usage_daily",
        "select timezone(interval '0', created_at)::date::text, project_id, agent_id,"
        " sum(input_tokens), sum(output_tokens), sum(estimated_cost_usd)"
        " from codered.agent_runs group by 1, 2, 3",
    ),
    Kept(
        "llm_usage_by_agent",
        "select (extract(epoch from window_start) / 900)::bigint, project_id, agent_id,"
        " total_input_tokens, total_output_tokens, total_cost_usd"
        " from codered.llm_usage_by_agent"
        " where extract(epoch from window_start) % 900 = 0"
        " and window_end - window_start = interval '15 minutes'",
        "select floor(floor(extract(epoch from created_at)) / 900)::bigint, project_id, agent_id,"
        " sum(input_tokens), sum(output_tokens), sum(estimated_cost_usd)"
        " from codered.agent_runs group by 1, 2, 3",
    ),
)

_DEFAULTS = """
alter table codered.agent_runs
  alter mode set default 'intake', alter provider set default 'local',
  alter model set default 'm', alter tier set default 'gold', alter latency_ms set default 1,
  alter status set default 'succeeded', alter input_summary set default '',
  alter output_summary set default '';
"""

WORLD = """
insert into codered.projects (id, slug, name, description, status)
select ('00000000-0000-0000-0000-00000000000' || i)::uuid, 'p' || i, 'n', 'd', 'active'
from generate_series(1, 3) i on conflict do nothing;
insert into codered.agents (id, slug, name, description, default_tier, max_tokens_per_call,
  max_calls_per_task, cost_ceiling_usd_per_task)
select ('00000000-0000-0000-0000-00000000000' || i)::uuid, 'a' || i, 'n', 'd', 'gold', 1, 1, 1
from generate_series(1, 3) i on conflict do nothing;
"""


def number(n: int) -> str:
    """The id of project or agent number ``n``."""
    return f"00000000-0000-0000-0000-{n:012}"


class Run(NamedTuple):
    """A row of agent_runs, as far as usage goes."""

    project: int = 1
    agent: int = 1
    at: str = NOON
    input: int = 10
    output: int = 5
    cost: str = "0.25"


COLUMNS = "project_id, agent_id, created_at, input_tokens, output_tokens, estimated_cost_usd"


def rows(runs: Sequence[Run]) -> str:
    """``values …`` for :data:`COLUMNS`."""
    lines = [
        f"('{number(r.project)}'::uuid, '{number(r.agent)}'::uuid, '{r.at}'::timestamptz,"
        f" {r.input}::bigint, {r.output}::bigint, {r.cost}::numeric)"
        for r in runs
    ]
    return "values " + ", ".join(lines)


def insert(*runs: Run) -> str:
    """One INSERT of some runs, of one usual run if none is given."""
    return f"insert into codered.agent_runs ({COLUMNS}) {rows(runs or (Run(),))}"


@cache
def spec() -> Schema:
    """The schema of the project."""
    return load_spec(SPEC)


def usage(name: str) -> Rollup:
    """A rollup of the project."""
    return next(rollup for rollup in spec().rollups if rollup.name == name)


def run_sql(connection: Connection, *statements: str) -> None:
    """Execute texts that are not known before."""
    for statement in statements:
        connection.execute(statement.encode())


def fetch(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query that is not known before."""
    return connection.execute(query.encode()).fetchall()


@contextmanager
def own_server(settings: Mapping[str, str]) -> Iterator[EmbeddedServer]:
    """A running server for one test; it may be killed, and is gone afterwards."""
    state = Path(tempfile.mkdtemp(prefix="codered-test-"))
    server = EmbeddedServer(state, {"fsync": "off", **settings})
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(state, ignore_errors=True)


@contextmanager
def template(server: EmbeddedServer, sql: str | None = None) -> Iterator[str]:
    """The name of a database with the schema of the project, and projects, or with another one."""
    name = f"rollups_{uuid.uuid4().hex}"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        run_sql(connection, f"create database {identifier(name)}")
    try:
        with psycopg.connect(server.dsn(database=name)) as connection:
            run_sql(connection, *((emit_sql(spec()), _DEFAULTS, WORLD) if sql is None else (sql,)))
        yield name
    finally:
        _drop(server, name)


@contextmanager
def copy_of(server: EmbeddedServer, name: str) -> Iterator[str]:
    """The name of a fresh copy of a template."""
    own = f"rollup_{uuid.uuid4().hex}"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        run_sql(connection, f"create database {identifier(own)} template {identifier(name)}")
    try:
        yield own
    finally:
        _drop(server, own)


def _drop(server: EmbeddedServer, name: str) -> None:
    """Drop a database, even if a session of a superuser is only just leaving it."""
    with psycopg.connect(server.dsn(SUPERUSER), autocommit=True) as connection:
        run_sql(connection, f"drop database {identifier(name)} with (force)")


def differences(
    connection: Connection, kept: Sequence[Kept] = USAGE, schema: str = "codered"
) -> list[str]:
    """What is wrong: rows of the rollups, what ``check_…()`` says, and deltas that are left."""
    found: list[str] = []
    for rollup in kept:
        stored = sorted(fetch(connection, rollup.stored))
        truth = sorted(fetch(connection, rollup.truth))
        found += [f"{rollup.table} has {row}" for row in stored if row not in truth]
        found += [f"{rollup.table} lacks {row}" for row in truth if row not in stored]
        check = identifier(schema, f"check_{rollup.table}")
        found += [
            f"check says {row}" for row in fetch(connection, f"select c::text from {check}() c")
        ]
    deltas = (
        f"select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = relnamespace"
        f" where nspname = '{schema}' and relkind = 'r' and relname like '%\\_deltas'"
    )
    for (name,) in fetch(connection, deltas):
        found += [f"{name} still has {row}" for row in fetch(connection, f"table {name}")]
    return found


class Db:
    """A database for a test: its own connection, others on request, and the judgement."""

    def __init__(
        self,
        server: EmbeddedServer,
        name: str,
        kept: Sequence[Kept] = USAGE,
        schema: str = "codered",
    ) -> None:
        self.server = server
        self.name = name
        self.kept = kept
        self.schema = schema
        self.session = self.connect()

    def connect(
        self, role: str = "postgres", isolation: psycopg.IsolationLevel | None = None
    ) -> Connection:
        """Another connection; whoever asks closes it."""
        connection = psycopg.connect(self.server.dsn(role=role, database=self.name))
        connection.isolation_level = isolation
        return connection

    def superuser(self) -> Connection:
        """A connection that may do anything."""
        return self.connect(SUPERUSER)

    def do(self, *statements: str) -> None:
        """Statements in the open transaction."""
        run_sql(self.session, *statements)

    def commit(self, *statements: str) -> None:
        """Statements in the open transaction, which ends; then everything must be exact."""
        self.do(*statements)
        self.session.commit()
        self.exact()

    def exact(self) -> None:
        """Everything must be exact, in the eyes of another session."""
        with self.connect() as other:
            found = differences(other, self.kept, self.schema)
        assert found == []

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query in the open transaction."""
        return fetch(self.session, query)

    def value(self, query: str) -> Any:
        """The only value of a query in the open transaction."""
        ((value,),) = self.rows(query)
        return value

    def counts(self) -> tuple[int, int]:
        """How many rows the rollups have."""
        return (
            self.value("select count(*) from codered.llm_usage_daily"),
            self.value("select count(*) from codered.llm_usage_by_agent"),
        )


RESET = (
    "truncate codered.agent_runs, codered.agent_runs_deltas, codered.llm_usage_daily cascade",
    "truncate codered.llm_usage_by_agent",
    WORLD,
)
"""Past the triggers: no runs any more, and the usual projects and agents."""


def bypass(db: Db, *statements: str) -> None:
    """Statements past all triggers, and past foreign keys."""
    with db.superuser() as connection:
        run_sql(connection, "set session_replication_role = replica", *statements)
