"""What the tests of access share: a database with rows of two projects, and sessions in it.

What a role may do comes from the spec, where a row belongs to is written by hand here.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.contract import Plan, RandomChoices, Row, World
from codered_spec.contract.verdicts import insert, text_of
from codered_spec.migrate.directory import read_directory
from codered_spec.migrate.runner import migrate
from codered_spec.model.graph import creation_order
from codered_spec.model.schema import Right, Role, Table
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier

ROOT: Final = Path(__file__).resolve().parents[1]
SPEC: Final = load_spec(ROOT / "schema.yaml")
TABLES: Final = tuple(table.name for table in SPEC.tables)
VIEWS: Final = tuple(view.name for view in SPEC.views)

A: Final = "11111111-aaaa-4aaa-8aaa-111111111111"
"""The project of whoever attacks."""
B: Final = "22222222-bbbb-4bbb-8bbb-222222222222"
"""The project that is attacked."""
NOWHERE: Final = "33333333-cccc-4ccc-8ccc-333333333333"
"""An id of nothing."""
DENIED: Final = "42501"
"""No right, or no right to this row."""

SHARED: Final = ("agents", "llm_providers", "llm_models")
"""Tables whose rows belong to no project."""
ROLLUPS: Final = ("llm_usage_daily", "llm_usage_by_agent")
PARENTS: Final = {
    "llm_degradation_events": ("agent_run_id", "agent_runs"),
    "long_run_checkpoints": ("long_run_id", "long_runs"),
}
"""Tables whose rows belong to the project of another row."""
AUDIT: Final = (
    "agent_runs",
    "errors",
    "llm_degradation_events",
    "long_run_checkpoints",
    "user_overrides",
    *ROLLUPS,
)
"""What was logged stays as it was."""


class Actor(NamedTuple):
    """Somebody with a session: by which login, as which role, and how the project is named."""

    name: str
    role: str
    token: bool = False


SERVICE: Final = Actor("service_role", "service_role")
TOKEN: Final = Actor("agent with a token", "codered_agent", token=True)
CLAIM: Final = Actor("agent with a claim", "codered_agent")
PERSON: Final = Actor("authenticated", "authenticated")
ANON: Final = Actor("anon", "anon")
ACTORS: Final = (SERVICE, TOKEN, CLAIM, PERSON, ANON)
AGENTS: Final = (TOKEN, CLAIM)


def role_of(actor: Actor) -> Role | None:
    """The role in the spec; nobody else may do anything."""
    return next((role for role in SPEC.roles if role.name == actor.role), None)


def right(actor: Actor, action: str, relation: str) -> Right | None:
    """What the spec lets somebody do with a table or view."""
    role = role_of(actor)
    if role is None:
        return None
    if role.everything:
        return Right(action, relation) if relation in TABLES or action == "select" else None
    return next((r for r in role.rights if (r.action, r.table) == (action, relation)), None)


def table(name: str) -> Table:
    """The table of the spec."""
    found = SPEC.table(name)
    assert found is not None
    return found


def own(name: str) -> str:
    """The qualified name."""
    return identifier(SPEC.name, name)


# ---- rows -------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """Rows in the order of insertion, and one more of each table and project that would fit."""

    stored: tuple[tuple[str, Row], ...]
    spare: dict[tuple[str, str], Row]


@cache
def generated() -> Rows:
    """Rows of both projects in every table but the rollups, which the runs fill."""
    world = World(Plan(SPEC), RandomChoices("walls"))
    order = [found.name for found in creation_order(SPEC)[0]]
    first: dict[tuple[str, str], Row] = {}
    for name in order:
        for project in (A, B) if name not in ROLLUPS else ():
            row = world.row(name, _fixed(name, project, first), full=True)
            first[name, project] = world.add(name, row)
    spare = {
        (name, project): world.row(name, _fixed(name, project, first, spare=True), full=True)
        for name in order
        for project in (A, B)
    }
    return Rows(tuple(world.rows), spare)


def _fixed(
    name: str, project: str, first: dict[tuple[str, str], Row], spare: bool = False
) -> dict[str, Any]:
    # ids that occur nowhere else
    fixed: dict[str, Any] = {"id": uuid.uuid5(uuid.UUID(project), f"{name} {spare}")}
    if name == "projects" and not spare:
        fixed["id"] = uuid.UUID(project)
    if name in PARENTS:
        column, parent = PARENTS[name]
        fixed[column] = first[parent, project]["id"]
    if table(name).column("project_id"):
        fixed["project_id"] = uuid.UUID(project)
    if name in ("doc_chunks", "long_run_checkpoints"):
        column = "chunk_index" if name == "doc_chunks" else "checkpoint_index"
        fixed[column] = (7 if project == A else 17) + spare
    if name == "agent_runs":
        fixed |= {"created_at": datetime.now(UTC), "input_tokens": 10, "output_tokens": 5}
    if name == "llm_usage_daily":
        fixed["date"] = date(2001, 2, 3)
    if name == "llm_usage_by_agent":
        fixed["window_start"] = datetime(2001, 2, 3, 4, 1, tzinfo=UTC)
        fixed["window_end"] = datetime(2001, 2, 3, 5, 2, tzinfo=UTC)
    return fixed


def texts(name: str, row: Row) -> dict[str, str | None]:
    """The values of a row as texts without a type."""
    types = {column.name: column.type for column in table(name).columns}
    return {column: text_of(types[column], value) for column, value in row.items()}


def insert_sql(name: str, names: Sequence[str]) -> str:
    """An INSERT with a parameter for each of the columns, without any cast."""
    values = ", ".join(["%s"] * len(names))
    return f"insert into {own(name)} {column_list(tuple(names))} values ({values})"


# ---- statements -------------------------------------------------------------------------------


class Said(NamedTuple):
    """What came of a statement: an SQLSTATE or none, rows, and how many it touched."""

    state: str | None
    rows: list[tuple[Any, ...]]
    hits: int
    text: str = ""


def tried(
    connection: Connection, sql: str, values: Sequence[Any] | None = None, *, keep: bool = False
) -> Said:
    """Runs a statement, and undoes it unless it is to be kept."""
    try:
        with connection.transaction(force_rollback=not keep):
            cursor = connection.execute(sql.encode(), values)
            rows = cursor.fetchall() if cursor.description else []
            return Said(None, rows, cursor.rowcount)
    except psycopg.Error as error:
        return Said(error.sqlstate or "?", [], 0, str(error))


def ids(connection: Connection, name: str) -> set[str]:
    """The ids of all rows that somebody sees."""
    found = connection.execute(f"select id::text from {own(name)}".encode()).fetchall()
    return {row[0] for row in found}


def copied(connection: Connection, sql: str) -> str:
    """What COPY … TO STDOUT gives."""
    with connection.cursor() as cursor, cursor.copy(sql.encode()) as copy:
        return b"".join(bytes(block) for block in copy).decode()


def setting(connection: Connection, name: str, value: str) -> None:
    """Sets something for the transaction."""
    connection.execute(b"select set_config(%s, %s, true)", [name, value])


# ---- the database -----------------------------------------------------------------------------


class House:
    """A migrated database with the rows, and sessions in it in which nothing lasts."""

    def __init__(self, server: EmbeddedServer, name: str, login: str, stack: ExitStack) -> None:
        self.server = server
        self.name = name
        self.login = login
        self._stack = stack
        self._sessions: dict[str, Connection] = {}
        self.boss = self.session(SUPERUSER)
        rows = generated()
        with self.boss.transaction():
            insert(self.boss, SPEC, rows.stored)
        self.spare = {key: texts(key[0], row) for key, row in rows.spare.items()}
        self.ids = {
            (name, project): self._ids(name, project) for name in TABLES for project in (A, B)
        }
        self.tokens = {project: self._token(project) for project in (A, B)}
        (self.keys,) = self.boss.execute(
            "select inner_a, inner_b, outer_a, outer_b from codered.access_keys"
        ).fetchall()

    def _ids(self, name: str, project: str) -> set[str]:
        if name in SHARED:
            where = "true"
        elif name in PARENTS:
            column, parent = PARENTS[name]
            where = f"{column} in (select id from {own(parent)} where project_id = '{project}')"
        else:
            where = f"{'id' if name == 'projects' else 'project_id'} = '{project}'"
        query = f"select id::text from {own(name)} where {where}"
        found = {row[0] for row in self.boss.execute(query.encode()).fetchall()}
        assert found, f"{name} has no row of {project}"
        return found

    def _token(self, project: str) -> str:
        with self.acting(SERVICE) as service:
            row = service.execute(b"select codered.issue_token(%s, '1 h')", [project]).fetchone()
        assert row is not None
        return str(row[0])

    def id(self, name: str, project: str = B) -> str:
        """The id of some row of a project."""
        return min(self.ids[name, project])

    def connect(self, login: str) -> Connection:
        """A new session; whoever asks closes it."""
        return connect(self.server.dsn(login, self.name))

    def session(self, login: str) -> Connection:
        """The session of a login that the tests share."""
        if login not in self._sessions:
            self._sessions[login] = self._stack.enter_context(self.connect(login))
        return self._sessions[login]

    @contextmanager
    def acting(self, actor: Actor, project: str | None = A) -> Iterator[Connection]:
        """A transaction of somebody whose project is given; it is rolled back."""
        connection = self.session(self.login if actor.token else "authenticator")
        with connection.transaction(force_rollback=True):
            if actor.token:
                if project is not None:
                    setting(connection, "codered.token", self.tokens[project])
            else:
                connection.execute(f"set local role {actor.role}".encode())
                if project is not None:
                    setting(connection, "request.jwt.claims", claims(actor, project))
            yield connection

    def signed(self, text: str, keys: Sequence[uuid.UUID] | None = None) -> str:
        """A token with any claims, signed by the key of the database or by others."""
        inner_a, inner_b, outer_a, outer_b = keys or self.keys
        inner = sha256(inner_a.bytes + inner_b.bytes + text.encode()).digest()
        return f"{text}.{sha256(outer_a.bytes + outer_b.bytes + inner).hexdigest()}"


def claims(actor: Actor, project: str) -> str:
    """What the verified token of a request says of somebody."""
    found: dict[str, Any] = {"role": actor.role}
    if actor is not PERSON:
        found["project_id"] = project
    if actor is not CLAIM:
        found["app_metadata"] = {"projects": [project]}
    return json.dumps(found)


def soon(seconds: int = 3600) -> int:
    """The second until which a token that is made now is valid."""
    return int(time.time()) + seconds


@contextmanager
def house(server: EmbeddedServer, template: str) -> Iterator[House]:
    """A house of its own, with a login of its own; both are gone afterwards."""
    name, login = f"walls_{uuid.uuid4().hex}", f"agent_login_{uuid.uuid4().hex[:12]}"
    with connect(server.dsn(SUPERUSER)) as owner:
        owner.execute(
            f"create database {name} owner postgres template {identifier(template)}".encode()
        )
        try:
            # roles belong to the server: two migrations at once would both make them
            with owner.transaction(), connect(server.dsn(database=name)) as connection:
                owner.execute("select pg_advisory_xact_lock(4712)")
                migrate(connection, read_directory(ROOT / "migrations"), report=lambda _: None)
            owner.execute(f"create role {login} login in role codered_agent".encode())
            with ExitStack() as stack:
                yield House(server, name, login, stack)
        finally:
            owner.execute(f"drop database {name} with (force)".encode())
            owner.execute(f"drop role if exists {login}".encode())
