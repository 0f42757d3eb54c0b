"""The Supabase CLI, its advisors and independent linters have nothing to say about our migrations.

The CLI also runs the commands of docs/guides/supabase.md, in their order.

Run as ``python -m gates.supabase``. Every step prints one line; exit code 1 if any of them fails.
Steps that look for faults also meet a planted one, so that silence means something. Needs npm and,
for the steps after ``squawk``, Debian. Everything happens in a temporary folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import jwt
import psycopg
from psycopg import sql

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.demo import insert_rows
from codered_spec.emit.ddl import emit_sql
from codered_spec.model.profiles import without_vectors
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from gates.servers import (
    ROOT,
    Failed,
    Steps,
    apt_candidate,
    apt_install,
    codered,
    command,
    debian_postgres,
    find_program,
    socket_dsn,
    unprivileged,
)

CLI: Final = "3.1.0"
"""The version of the npm package ``supabase``."""

QUIET: Final = "unused_index"
"""The only finding that an empty database may have: nobody has used any index."""

SQUAWK: Final = (
    "--pg-version=15.0",
    "--assume-in-transaction",
    "--include=require-table-schema",
    "--exclude=prefer-bigint-over-int",
)
MIGRATIONS: Final = ROOT / "migrations"
SCHEMA: Final = load_spec(ROOT / "schema.yaml")

GUIDE: Final = (ROOT / "docs" / "guides" / "supabase.md").read_text(encoding="utf-8")
ELSEWHERE: Final = ("login", "link", "start", "test db", "config push")
"""Commands of the guide that need the hosted platform or Docker: only known to exist."""
WITHOUT: Final = ("pip", "npm", "export", "curl", "api", "api()")
"""Other programs of the guide that are not run here, because they set up or need the platform."""

CLIENTS, TRANSACTIONS, POOL = 8, 40, 3
POOL_PORT: Final = 6432  # only part of the name of the socket

_PLANT: Final = """
    create table {schema}.planted (id uuid primary key, task_id uuid references {schema}.tasks);
    grant usage on schema {schema} to anon;
    grant select on {schema}.planted to anon;
"""
_CONFIG: Final = """\
project_id = "gate"

[api]
schemas = ["public", "graphql_public", "{schema}"]
"""
_POOLER: Final = """\
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr =
listen_port = {pool_port}
unix_socket_dir = {runtime}
unix_socket_mode = 0700
auth_type = trust
auth_file = {runtime}/users
logfile = {runtime}/log
pool_mode = transaction
default_pool_size = {pool}
"""


class Gate:
    """The steps, in order; ``folder`` is temporary."""

    def __init__(self, folder: Path, server: EmbeddedServer) -> None:
        self.folder = folder
        self.server = server
        self.project = folder / "project"

    # -- the Supabase CLI -------------------------------------------------------------------------

    def install(self) -> str:
        """Install the CLI and lay out a project around our migrations."""
        npm = find_program("npm", "install Node.js 20 or later with npm")
        place = self.folder / "cli"
        options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        command([npm, "install", "--prefix", place, *options, f"supabase@{CLI}"], seconds=600)
        shutil.copytree(MIGRATIONS, self.project / "supabase" / "migrations")
        config = self.project / "supabase" / "config.toml"
        config.write_text(_CONFIG.format(schema=SCHEMA.name))
        version = self._cli("--version").strip()
        if version != CLI:
            raise Failed(f"wanted version {CLI} and got {version}")
        return f"version {version} from npm"

    def push(self) -> str:
        """`db push` as the role postgres; our own commands agree with the result."""
        self.server.start()
        self._create("pushed")
        done = self._json("db", "push", "--yes", "--remote", self._url("pushed"))
        _expect(len(done["migrations"]), len(_files()), f"pushed migrations of {done}")
        self._agree("pushed")
        again = self._json("db", "push", "--yes", "--remote", self._url("pushed"))
        _expect(again["upToDate"], True, f"upToDate of {again}")
        return f"{_count('file')} pushed as postgres; status and verify agree"

    def adopt(self) -> str:
        """What `codered-spec migrate` applied is applied in the eyes of the CLI."""
        self._create("migrated")
        codered("migrate", dsn=self.server.dsn(database="migrated"))
        self._agree("migrated")
        listed = self._json("migration", "list", "--remote", self._url("migrated"))["migrations"]
        versions = [path.name.partition("_")[0] for path in _files()]
        _expect([m["local"] for m in listed], versions, "local versions")
        _expect([m["remote"] for m in listed], versions, "remote versions")
        done = self._json("db", "push", "--yes", "--remote", self._url("migrated"))
        _expect(done["upToDate"], True, f"upToDate of {done}")
        self._plant()
        return f"migration list shows {_count('file')} as applied, db push has nothing to do"

    def query(self) -> str:
        """`db query` reads our tables."""
        statement = f"select count(*) as runs from {SCHEMA.name}.agent_runs"
        said = self._cli(
            *("db", "query", "--read-only", "--output-format", "json"),
            *("--remote", self._url("pushed"), statement),
        )
        _expect(json.loads(said), [{"runs": 0}], "rows")
        return "reads codered.agent_runs"

    def advisors(self) -> str:
        """The advisors for performance and security, at the lowest level."""
        found = self._advice("pushed")
        other = sorted(f"{one['name']}: {one['detail']}" for one in found if one["name"] != QUIET)
        if other:
            raise Failed(f"{len(other)} findings" + _listed(other))
        planted = {one["name"] for one in self._advice("planted")}
        missed = {"rls_disabled_in_public", "unindexed_foreign_keys"} - planted
        if missed:
            raise Failed(f"did not find what was planted: {', '.join(sorted(missed))}")
        return f"nothing but {len(found)} of {QUIET}, performance and security"

    def types(self) -> str:
        """`gen types` knows every table and view."""
        with connect(self.server.dsn(database="pushed")) as connection:
            names = [
                name
                for (name,) in connection.execute(
                    "select relname::text from pg_class"
                    " where relnamespace = %s::regnamespace and relkind in ('r', 'p', 'v', 'm')",
                    [SCHEMA.name],
                )
            ]
        shapes = {"typescript": r"\b{0}\"?: \{{", "python": r"^class {1}\("}
        for language, shape in shapes.items():
            options = ["--lang", language, "--schema", SCHEMA.name]
            text = self._cli("gen", "types", *options, "--remote", self._url("pushed"))
            missing = [
                name
                for name in names
                if not re.search(shape.format(name, _camel(f"{SCHEMA.name}_{name}")), text, re.M)
            ]
            if missing:
                raise Failed(f"the types for {language} lack {', '.join(missing)}")
            if language == "python":  # it is a program, which needs pydantic
                command([sys.executable, "-"], text=text)
        return f"TypeScript and Python name all of {len(names)} tables and views"

    def diff(self) -> str:
        """`db diff` between the pushed database and the migrated one."""
        for a, b in (("pushed", "migrated"), ("migrated", "pushed")):
            if said := self._diff(a, b):
                raise Failed(f"from {a} to {b}{_listed(said.splitlines())}")
        if "planted" not in self._diff("migrated", "planted"):
            raise Failed("did not find the planted difference")
        return "pushed and migrated databases are equal, both ways"

    def guide(self) -> str:
        """What docs/guides/supabase.md shows, in a fresh project and database."""
        _expect(re.findall(r"supabase@(\S+)", GUIDE), [CLI], "versions of the CLI")
        project = self.folder / "guide"
        for name in ("docs", "migrations", "codered_spec", "supabase/tests"):
            shutil.copytree(ROOT / name, project / name)
        shutil.copy(ROOT / "schema.yaml", project)
        self._create("guided")
        done: list[str] = []
        elsewhere = re.findall(r"(?<!`)`supabase ([^`…]+)`(?!`)", GUIDE)  # in the text
        for line, shown in _commands():
            name, _, rest = line.partition(" ")
            if name == "supabase" and rest.startswith(ELSEWHERE):
                elsewhere.append(rest)
            elif name not in WITHOUT:
                if line == "codered-spec sync":
                    _change_a_fact(project / "docs" / "schema-supabase.md")
                self._follow(line, shown, project)
                done.append(line)
                if line == "supabase init":
                    self._expose(project / "supabase" / "config.toml")
        self._tokens_agree(next(line for line in done if "bearer-jwt" in line), project)
        self._all_exist(elsewhere)
        number = sum(line.startswith("supabase ") for line in done)
        return (
            f"{number} commands of the CLI and {len(done) - number} others; {len(elsewhere)} exist"
        )

    def _follow(self, line: str, shown: Sequence[str], project: Path) -> str:
        """Run a line of the guide; it prints what the guide shows, and maybe more."""
        tools = (self._program().parent, _venv())
        path = os.pathsep.join([*map(str, tools), os.environ.get("PATH", os.defpath)])
        env = {**self._environment(), "PATH": path, "DATABASE_URL": self._url("guided")}
        codes = (0,) if line.startswith("supabase ") else (0, 1)
        words = ["sh", "-c", line]
        said = command(words, env=env, bare=True, cwd=project, codes=codes)
        lines = [one.strip() for one in (said.stdout + said.stderr).splitlines()]
        for one in shown:
            pattern = ".*".join(map(re.escape, one.strip().split("…")))
            if not any(re.fullmatch(pattern, found) for found in lines):
                raise Failed(f"{line}: no line {one!r}{_listed(lines)}")
        return said.stdout

    def _expose(self, config: Path) -> None:
        """Put the table of the guide into the configuration."""
        (block,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
        (setting,) = [line for line in block.splitlines() if "=" in line]
        config.write_text(re.sub(r"(?m)^schemas = .*$", setting, config.read_text()))
        schemas = tomllib.loads(config.read_text())["api"]["schemas"]
        _expect(schemas, tomllib.loads(block)["api"]["schemas"], "exposed schemas")

    def _tokens_agree(self, line: str, project: Path) -> None:
        """With the key of the CLI, the guide's Python makes the same JWT as the CLI."""
        block = next(b for b in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "jwt" in b)
        env = self._environment()
        key = jwt.PyJWK(json.loads((Path(env["HOME"]) / "agent-key.json").read_text()))
        token = self._follow(line, (), project).strip()
        claims = jwt.decode(token, key)
        program = f"{block}\nprint(agent_jwt({claims['project_id']!r}))"
        other = command([sys.executable, "-c", program], env=env, bare=True).stdout.strip()
        same = jwt.decode(other, key)
        for found in (claims, same):
            found["seconds"] = found.pop("exp") - found.pop("iat")
        _expect(same, claims, "claims")
        header = jwt.get_unverified_header
        _expect(header(other), header(token), "header")

    def _all_exist(self, commands: Sequence[str]) -> None:
        """All of them are commands of the CLI, and all of ELSEWHERE are among them."""
        for rest in commands:
            self._exists(rest)
        if idle := [one for one in ELSEWHERE if not any(c.startswith(one) for c in commands)]:
            raise Failed(f"the guide no longer has {', '.join(idle)}")
        for planted in ("db posh", "db push --remove"):
            try:
                self._exists(planted)
            except Failed:
                continue
            raise Failed(f"did not miss supabase {planted}")

    def _exists(self, rest: str) -> None:
        """`supabase REST` is a command of the CLI, with these options."""
        words = rest.split()
        names = [word for word in words if not word.startswith("-")]
        said = self._cli(*names, "--help")
        usage = re.search(r"(?m)^  supabase ((?:[a-z-]+ )+)\[flags\]", said)
        if usage is None or names[: len(usage[1].split())] != usage[1].split():
            raise Failed(f"the CLI has no command supabase {rest}")
        for option in (word.partition("=")[0] for word in words if word.startswith("-")):
            if not re.search(rf"(?m)^  {re.escape(option)}\b", said):
                raise Failed(f"supabase {usage[1]}has no option {option}")

    def _agree(self, database: str) -> None:
        dsn = self.server.dsn(database=database)
        states = json.loads(codered("--json", "status", dsn=dsn))
        _expect([s["state"] for s in states], ["applied"] * len(_files()), "states")
        codered("verify", dsn=dsn)

    def _plant(self) -> None:
        """A third database, with faults."""
        self._create("planted")
        codered("migrate", dsn=self.server.dsn(database="planted"))
        with connect(self.server.dsn(database="planted")) as connection:
            connection.execute(_PLANT.format(schema=SCHEMA.name).encode())

    def _advice(self, database: str) -> list[dict[str, Any]]:
        options = ["--type", "all", "--level", "info"]
        done = self._json("db", "advisors", *options, "--remote", self._url(database))
        found: list[dict[str, Any]] = done["results"]
        return found

    def _diff(self, a: str, b: str) -> str:
        ends = ["--from", self._url(a), "--to", self._url(b)]
        said = self._json("db", "diff", "--use-pg-delta", "--strict-coverage", *ends)
        return str(said["diff"]).strip()

    def _create(self, database: str) -> None:
        with connect(self.server.dsn(SUPERUSER)) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
        self.server.create_stand_in(database)  # rights at the database are not copied

    def _url(self, database: str) -> str:
        return _cli_url(self.server.dsn(database=database))

    def _lint(self, dsn: str) -> list[object]:
        """What `db lint` finds, which is plpgsql_check once more."""
        options = ["--level", "warning", "--schema", SCHEMA.name, "--remote", _cli_url(dsn)]
        found: list[object] = self._json("db", "lint", *options)["results"]
        return found

    def _json(self, *args: str) -> Any:
        said = self._cli(*args, "--output-format", "json")
        try:
            return json.loads(said)
        except ValueError:
            raise Failed(f"supabase {' '.join(args[:2])}: not JSON: {said[:200]!r}") from None

    def _cli(self, *args: str) -> str:
        words = [str(self._program()), *args, "--agent", "no"]
        if "--version" not in args:
            words += ["--workdir", str(self.project)]
        return command(words, env=self._environment(), bare=True, cwd=self.project).stdout

    def _program(self) -> Path:
        return self.folder / "cli" / "node_modules" / ".bin" / "supabase"

    def _environment(self) -> dict[str, str]:
        """Nothing else of the caller's: a token or a project would matter."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "DO_NOT_TRACK": "1",
            "SUPABASE_TELEMETRY_DISABLED": "1",
        }

    # -- linters ----------------------------------------------------------------------------------

    def squawk(self) -> str:
        """Squawk on the files."""
        squawk = find_program("squawk", "pip install 'codered-spec[gates]'", _venv())
        command([squawk, *SQUAWK, *map(str, _files())])
        planted = "create table planted (id serial primary key);"
        said = command([squawk, *SQUAWK], text=planted, codes=(1,)).stdout
        if "require-table-schema" not in said:
            raise Failed("did not find what was planted")
        return f"nothing in {_count('file')}"

    def plpgsql(self) -> str:
        """plpgsql_check with every warning, on the oldest server that we support."""
        apt_install("postgresql-15", "postgresql-15-plpgsql-check")
        vectors = apt_candidate("postgresql-15-pgvector")
        if vectors:
            apt_install("postgresql-15-pgvector")
        schema = SCHEMA if vectors else without_vectors(SCHEMA)
        settings = {"shared_preload_libraries": "plpgsql,plpgsql_check"}
        with (
            debian_postgres(self.folder / "fifteen", settings=settings) as dsn,
            connect(dsn) as connection,
        ):
            connection.execute(
                resources.files("codered_spec").joinpath("stand_in.sql").read_bytes()
            )
            connection.execute("create extension plpgsql_check")
            if vectors:
                connection.execute("create extension vector with schema extensions")
            with connection.transaction():
                connection.execute("set local role postgres")
                connection.execute(emit_sql(schema).encode())
            checked, found = _plpgsql_check(connection)
            if found:
                raise Failed(f"{len(found)} findings{_listed(found)}")
            if not checked:
                raise Failed("found no function to check")
            if found_by_cli := self._lint(dsn):
                raise Failed(f"db lint finds {found_by_cli}")
            connection.execute(
                sql.SQL(
                    "create function {}.planted() returns void language plpgsql"
                    " as 'declare unused int; begin perform nothing; end'"
                ).format(sql.Identifier(schema.name))
            )
            planted = _plpgsql_check(connection)[1]
            if len(planted) < 2 or not self._lint(dsn):
                raise Failed(f"did not find what was planted, but {planted}")
        left_out = "" if vectors else ", schema without vectors"
        return f"nothing in {checked} functions on Postgres 15{left_out}; nor does db lint"

    # -- the pooler -------------------------------------------------------------------------------

    def pooled(self) -> str:
        """Writers and our commands through pgbouncer in transaction mode."""
        self.server.start()
        apt_install("pgbouncer")
        self._create("pooled")
        codered("migrate", dsn=self.server.dsn(database="pooled"))
        with self._pooler() as dsn:
            with connect(dsn) as connection:
                insert_rows(connection, SCHEMA)
                before = _totals(connection)
            with ThreadPoolExecutor(CLIENTS) as pool:
                results = list(pool.map(lambda seed: _write(dsn, seed), range(CLIENTS)))
            backends = {pid for _, pids in results for pid in pids}
            if len(backends) > POOL or not any(len(pids) > 1 for _, pids in results):
                raise Failed(f"the clients did not share connections: {len(backends)} of them")
            with connect(dsn) as connection:
                after = _totals(connection)
            written = tuple(map(sum, zip(*(total for total, _ in results), strict=True)))
            _expect(tuple(a - b for a, b in zip(after, before, strict=True)), written, "totals")
            codered("verify", "--data", dsn=dsn)
            self._usage_is_exact(dsn)
            with connect(self.server.dsn(database="pooled")) as connection:
                ids = _two_projects(connection)
            with ThreadPoolExecutor(CLIENTS) as pool:
                met = list(pool.map(lambda seed: _as_agents(dsn, ids, seed), range(CLIENTS)))
            if len(set().union(*met)) > POOL:
                raise Failed(f"the agents had connections of their own: {met}")
            codered("verify", "--data", dsn=dsn)
        return (
            f"{written[0]} runs by {CLIENTS} clients over {len(backends)} connections of pgbouncer;"
            " verify --data and usage are exact;"
            f" {CLIENTS * TRANSACTIONS} transactions of agents of two projects see their own only"
        )

    @contextlib.contextmanager
    def _pooler(self) -> Iterator[str]:
        """The DSN of a pgbouncer in front of the embedded server, as the server's own user."""
        pgbouncer = find_program("pgbouncer", "apt-get install pgbouncer", Path("/usr/sbin"))
        account = unprivileged()
        parts = urlsplit(self.server.dsn())
        host, port = (parse_qs(parts.query)[name][0] for name in ("host", "port"))
        with tempfile.TemporaryDirectory(prefix="gate-") as name:
            runtime = Path(name)
            config = runtime / "config"
            config.write_text(
                _POOLER.format(
                    host=host, port=port, runtime=runtime, pool=POOL, pool_port=POOL_PORT
                )
            )
            (runtime / "users").write_text('"postgres" ""\n')
            if account:
                for path in (runtime, config, runtime / "users"):
                    os.chown(path, account.uid, account.gid)
                account.allow_way_to(config)
            process = subprocess.Popen(
                [pgbouncer, "-q", config],
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
            try:
                deadline = time.monotonic() + 20
                while not (runtime / f".s.PGSQL.{POOL_PORT}").exists():
                    if process.poll() is not None or time.monotonic() > deadline:
                        log = runtime / "log"
                        said = log.read_text().splitlines() if log.exists() else []
                        raise Failed(f"pgbouncer did not start{_listed(said)}")
                    time.sleep(0.05)
                yield socket_dsn(runtime, role="postgres", database="pooled", port=POOL_PORT)
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _usage_is_exact(self, dsn: str) -> None:
        today = datetime.now(UTC).date()
        days = [str(today - timedelta(days=3)), str(today + timedelta(days=2))]
        period = ["--since", days[0], "--until", days[1]]
        total = json.loads(codered("--json", "usage", *period, dsn=dsn))["total"]
        with connect(dsn) as connection:
            row = connection.execute(
                "select sum(input_tokens), sum(output_tokens), sum(estimated_cost_usd)"
                " from codered.agent_runs"
                " where created_at >= %s::timestamp at time zone 'UTC'"
                " and created_at < %s::timestamp at time zone 'UTC'",
                days,
            ).fetchone()
        shown = [total[name] for name in ("input_tokens", "output_tokens", "cost_usd")]
        _expect([str(value) for value in shown], [str(value) for value in row or ()], "usage")


def _commands() -> Iterator[tuple[str, list[str]]]:
    """Each command line of the guide, and what it shows below."""
    for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL):
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            line, *shown = part.splitlines()
            yield line, shown


def _change_a_fact(document: Path) -> None:
    """The change of the last section of the guide."""
    before = document.read_text(encoding="utf-8")
    fact = "- `latency_ms` – `integer`"
    _expect(before.count(fact), 1, f"times {fact}")
    document.write_text(before.replace(fact, fact.replace("integer", "bigint")), "utf-8")


def _cli_url(dsn: str) -> str:
    """The DSN of a socket as the CLI understands it: all but the database are parameters."""
    parts = urlsplit(dsn)
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    query |= {"user": parts.username or "", "sslmode": "disable"}
    return f"postgresql://{parts.path}?{urlencode(query, quote_via=quote, safe='/')}"


def _write(dsn: str, seed: int) -> tuple[tuple[int, ...], set[int]]:
    """Transactions of one client; what they add to :func:`_totals`, and the backends they met."""
    random = Random(seed)
    total = [0, 0, 0, 0]
    pids: set[int] = set()
    with connect(dsn) as connection:
        for _ in range(TRANSACTIONS):
            gain = [0, 0, 0, 0]
            with connection.transaction() as transaction:
                pids |= {pid for (pid,) in connection.execute("select pg_backend_pid()")}
                for _ in range(random.randint(1, 3)):
                    amounts = [
                        random.randint(0, 5000),
                        random.randint(0, 900),
                        random.randint(0, 99),
                    ]
                    made = _insert(connection, random.randint(0, 8), *amounts)
                    if random.random() < 0.2:
                        connection.execute("delete from codered.agent_runs where id = %s", [made])
                        continue
                    if random.random() < 0.3:
                        amounts[0] += 7
                        connection.execute(
                            "update codered.agent_runs set input_tokens = input_tokens + 7"
                            " where id = %s",
                            [made],
                        )
                    gain = [a + b for a, b in zip(gain, [1, *amounts], strict=True)]
                if random.random() < 0.1:
                    gain = [0, 0, 0, 0]
                    raise psycopg.Rollback(transaction)
            total = [a + b for a, b in zip(total, gain, strict=True)]
    return tuple(total), pids


def _two_projects(connection: Connection) -> tuple[str, str, str]:
    """The ids of an agent and of two projects, each with one run."""
    agent = connection.execute("select id from codered.agents order by id limit 1").fetchone()
    assert agent is not None
    ids = [str(agent[0])]
    for slug in ("pooled-a", "pooled-b"):
        row = connection.execute(
            "insert into codered.projects (slug, name, description, status)"
            " values (%s, 'Pooled', 'Behind pgbouncer', 'active') returning id",
            [slug],
        ).fetchone()
        assert row is not None
        ids.append(str(row[0]))
        connection.execute(_RUN, [ids[-1], ids[0]])
    return ids[0], ids[1], ids[2]


_RUN: Final = (
    "insert into codered.agent_runs (project_id, agent_id, mode, provider, model, tier,"
    " input_tokens, output_tokens, estimated_cost_usd, latency_ms, status, input_summary,"
    " output_summary) values (%s, %s, 'testing', 'local', 'small', 'bronze', 1, 1, 0, 1,"
    " 'succeeded', '', '')"
)


def _as_agents(dsn: str, ids: tuple[str, str, str], seed: int) -> set[int]:
    """Transactions of an agent of one project, of another and of none; the backends they met."""
    agent, *projects = ids
    random = Random(seed)
    pids: set[int] = set()
    with connect(dsn) as connection:
        for _ in range(TRANSACTIONS):
            own = random.choice([*projects, None])
            with connection.transaction():
                if own is not None:
                    issue = "select codered.issue_token(%s, interval '1 minute')"
                    connection.execute(
                        f"select set_config('codered.token', ({issue}), true)".encode(), [own]
                    )
                connection.execute("set local role codered_agent")
                pids |= {pid for (pid,) in connection.execute("select pg_backend_pid()")}
                seen = "select distinct project_id::text from codered.agent_runs"
                found = {project for (project,) in connection.execute(seen.encode())}
                _expect(found, {own} - {None}, "projects that an agent sees")
                for project in projects:
                    _expect(_may_log(connection, project, agent), project == own, "right to log")
    return pids


def _may_log(connection: Connection, project: str, agent: str) -> bool:
    try:
        with connection.transaction():
            connection.execute(_RUN, [project, agent])
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _insert(connection: Connection, quarters: int, tokens_in: int, out: int, cost: int) -> str:
    """A run like the demo's first one, some quarters of an hour ago, at ``cost`` micro-dollars."""
    row = connection.execute(
        "insert into codered.agent_runs (project_id, task_id, agent_id, mode, provider, model,"
        " tier, input_tokens, output_tokens, estimated_cost_usd, latency_ms, status,"
        " input_summary, output_summary, created_at)"
        " (select project_id, task_id, agent_id, mode, provider, model, tier, %s, %s, %s / 1e6,"
        " latency_ms, status, input_summary, output_summary, now() - %s * interval '15 minutes'"
        " from codered.agent_runs where status = 'succeeded' order by id limit 1) returning id",
        [tokens_in, out, cost, quarters],
    ).fetchone()
    assert row is not None
    return str(row[0])


def _totals(connection: Connection) -> tuple[int, ...]:
    """Runs, tokens in and out, and micro-dollars of all runs."""
    row = connection.execute(
        "select count(*), sum(input_tokens)::bigint, sum(output_tokens)::bigint,"
        " (sum(estimated_cost_usd) * 1000000)::bigint from codered.agent_runs"
    ).fetchone()
    return tuple(row or ())


def _plpgsql_check(connection: Connection) -> tuple[int, list[str]]:
    """How many functions there are, and what plpgsql_check says about them."""
    functions = connection.execute("""
        select p.oid::regprocedure::text, coalesce(t.tgrelid, 0)::text,
               p.prorettype = 'trigger'::regtype,
               max(t.tgoldtable)::text, max(t.tgnewtable)::text
        from pg_proc p
        join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
        left join pg_trigger t on t.tgfoid = p.oid and not t.tgisinternal
        where p.pronamespace::regnamespace::text <> 'information_schema'
          and not exists (
            select from pg_depend d
            where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
        group by p.oid, t.tgrelid
        order by 1, 2
    """).fetchall()
    found: list[str] = []
    for function, relation, trigger, old, new in functions:
        if trigger and relation == "0":
            found.append(f"{function}: no trigger uses it")
            continue
        rows = connection.execute(
            "select lineno, level, sqlstate, message, detail, hint"
            " from plpgsql_check_function_tb(%s::regprocedure, %s::regclass, fatal_errors => false,"
            " all_warnings => true, oldtable => %s, newtable => %s)",
            [function, relation, old, new],
        ).fetchall()
        for line, *said in rows:
            found.append(f"{function} line {line}: {' | '.join(s for s in said if s)}")
    return len({function for function, *_ in functions}), found


def _files() -> list[Path]:
    return sorted(MIGRATIONS.glob("*.sql"))


def _count(what: str) -> str:
    number = len(_files())
    return f"{number} {what}{'s'[: number != 1]}"


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _venv() -> Path:
    return Path(sys.executable).parent


def _listed(lines: Sequence[str]) -> str:
    return "".join(f"\n    | {line}" for line in lines)


def _expect(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise Failed(f"{what}: {found!r} instead of {wanted!r}")


def main() -> int:
    """Run every step; 1 if any of them fails."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="gate-") as name:
        folder = Path(name)
        server = EmbeddedServer(folder / "server", {"fsync": "off"})
        gate = Gate(folder, server)
        try:
            if (
                steps.run("supabase", gate.install)
                and steps.run("db push", gate.push)
                and steps.run("migration list", gate.adopt)
            ):
                steps.run("db query", gate.query)
                steps.run("db advisors", gate.advisors)
                steps.run("gen types", gate.types)
                steps.run("db diff", gate.diff)
                steps.run("guide", gate.guide)
            else:
                steps.skip("other commands of the CLI")
            steps.run("squawk", gate.squawk)
            steps.run("plpgsql_check", gate.plpgsql)  # and db lint
            steps.run("pgbouncer", gate.pooled)
        finally:
            server.stop()
    return 1 if steps.failed else 0


if __name__ == "__main__":
    sys.exit(main())
