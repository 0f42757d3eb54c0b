"""The guide for Supabase is real: what it shows runs, and prints what it says.

Its `supabase` commands are run by `nox -s supabase`; here a stub does what two of them do to the
folder and the database.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import jwt
import psycopg
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from codered_spec import load_spec
from codered_spec.connection import connect
from codered_spec.migrate.directory import read_directory
from codered_spec.migrate.runner import migrate
from codered_spec.postgres import SUPERUSER, EmbeddedServer

ROOT: Final = Path(__file__).resolve().parents[1]
GUIDE: Final = (ROOT / "docs" / "guides" / "supabase.md").read_text(encoding="utf-8")
BLOCKS: Final[list[tuple[str, str]]] = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)
SCHEMA: Final = load_spec(ROOT / "schema.yaml")

RUN: Final = ("codered-spec", "supabase", "ln", "echo")
PLAYED: Final = ("api", "api()", "curl")
NOT_RUN: Final = ("pip", "npm", "export")

STUB: Final = """\
case "$1 $2" in
  "db push") codered-spec migrate ;;
  "migration new") touch "migrations/$(date -u +%Y%m%d%H%M%S)_$3.sql" ;;
esac
"""
FACT: Final = "- `latency_ms` – `integer`"

ROWS, ROLE, TOKEN = 1, 2, 3
"""Which of the blocks of SQL; the first one is for the API."""


class Command(NamedTuple):
    """A command line, and what the guide shows below it."""

    line: str
    shown: list[str]


def blocks(language: str) -> list[str]:
    return [body for name, body in BLOCKS if name == language]


def commands() -> Iterator[Command]:
    for body in blocks("console"):
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            yield Command(line, output.splitlines())


def of(program: str) -> list[Command]:
    return [command for command in commands() if command.line.split()[0] == program]


def is_shown(shown: str, line: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), line) is not None


# ---- the shell --------------------------------------------------------------------------------


class Shell:
    """A copy of the project, and a shell in it that finds our tool and the stub."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.project = folder / "project"
        self.project.mkdir()
        for name in ("schema.yaml", "docs", "migrations", "codered_spec", "supabase"):
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.project / name, ignore=ignored)
            else:
                shutil.copy(source, self.project / name)
        programs = folder / "bin"
        programs.mkdir()
        tool = f'exec {shlex.quote(sys.executable)} -m codered_spec "$@"\n'
        for name, text in (("codered-spec", tool), ("supabase", STUB)):
            (programs / name).write_text(f"#!/bin/sh\n{text}")
            (programs / name).chmod(0o755)
        self.env = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(folder),
            "DATABASE_URL": dsn,
            "PYTHONPATH": str(ROOT),
        }

    def run(self, line: str) -> list[str]:
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.project,
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.env,
        )
        return done.stdout.splitlines()

    def change_a_fact(self) -> None:
        document = self.project / "docs" / "schema-supabase.md"
        before = document.read_text(encoding="utf-8")
        assert FACT in before
        document.write_text(before.replace(FACT, FACT.replace("integer", "bigint")), "utf-8")


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    return Shell(tmp_path, database)


def test_every_command_is_somebodys_task() -> None:
    known = (*RUN, *PLAYED, *NOT_RUN)
    assert [line for line, _ in commands() if line.split()[0] not in known] == []
    assert {name for name, _ in BLOCKS} == {"console", "python", "sql", "text", "toml", "yaml"}
    assert len(blocks("sql")) == TOKEN + 1


def test_the_commands_print_what_it_says(shell: Shell) -> None:
    for line, shown in commands():
        program = line.split()[0]
        if program not in RUN:
            continue
        if line == "codered-spec sync":
            shell.change_a_fact()
        printed = shell.run(line)
        if program != "supabase":
            assert len(printed) == len(shown), (line, printed)
            pairs = zip(sorted(shown), sorted(printed), strict=True)
            assert [pair for pair in pairs if not is_shown(*pair)] == [], line


def test_the_workflow_finds_nothing(shell: Shell) -> None:
    (job,) = yaml.safe_load(blocks("yaml")[0])["jobs"].values()
    lines = [step["run"] for step in job["steps"] if "run" in step]
    installs, *checks = lines
    assert installs.startswith("pip install ")
    for line in checks:
        assert line.startswith("codered-spec ")
        assert shell.run(f"{line} || echo FAILED")[-1:] != ["FAILED"], line
    shell.change_a_fact()
    assert shell.run(f"{checks[0]} || echo FAILED")[-1:] == ["FAILED"]


# ---- the database -----------------------------------------------------------------------------


class Server:
    """A migrated database with the rows of the guide, and ways into it."""

    def __init__(self, server: EmbeddedServer, dsn: str) -> None:
        self._server = server
        self.name = str(conninfo_to_dict(dsn)["dbname"])
        with connect(dsn) as owner:
            migrate(owner, read_directory(ROOT / "migrations"), report=lambda _: None)
            owner.execute(blocks("sql")[ROWS].encode())

    def dsn(self, role: str = "postgres") -> str:
        return self._server.dsn(role, self.name)

    def ask(self, claims: dict[str, Any], statement: sql.Composed | str) -> str:
        """What PostgREST answers; it logs in, switches and tells the claims in this way."""
        with connect(self.dsn("authenticator")) as session:
            try:
                with session.transaction():
                    session.execute(
                        "select set_config('search_path', '\"codered\", \"public\"', true),"
                        " set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
                        [claims["role"], json.dumps(claims)],
                    )
                    rows = session.execute(
                        sql.SQL("with t as ({}) select coalesce(json_agg(t), '[]')::text from t")
                        .format(sql.SQL(statement) if isinstance(statement, str) else statement)
                        .as_bytes(session)
                    )
                    return str((rows.fetchone() or [None])[0])
            except psycopg.Error as error:
                said = {
                    "code": error.sqlstate,
                    "details": error.diag.message_detail,
                    "hint": error.diag.message_hint,
                    "message": error.diag.message_primary,
                }
                return json.dumps(said, separators=(",", ":"))


@pytest.fixture
def guided(server: EmbeddedServer, database: str) -> Server:
    return Server(server, database)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The claims of the JWT that the back end of the guide makes, once verified."""
    made = ec.generate_private_key(ec.SECP256R1())
    key = jwt.algorithms.ECAlgorithm.to_jwk(made, as_dict=True)
    key |= {"kid": str(uuid.uuid4()), "alg": "ES256", "use": "sig"}
    (tmp_path / "agent-key.json").write_text(json.dumps(key))
    monkeypatch.setenv("HOME", str(tmp_path))
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    token = names["agent_jwt"](json.loads(payload())["project_id"])
    assert jwt.get_unverified_header(token)["kid"] == key["kid"]
    claims: dict[str, Any] = jwt.decode(token, made.public_key(), algorithms=["ES256"])
    return claims


def payload() -> str:
    """The claims of the command that makes a JWT."""
    (line,) = [line for line, _ in of("supabase") if "bearer-jwt" in line]
    words = shlex.split(line.partition("<")[0])
    return words[words.index("--payload") + 1]


def request(line: str) -> sql.Composed | str:
    """The SQL of a call of the guide's `api`, as PostgREST would make it."""
    path, *options = shlex.split(line)[1:]
    parts = urlsplit(path)
    table = sql.Identifier("codered", parts.path)
    query = dict(parse_qsl(parts.query))
    names = query.pop("select", "")
    wanted = sql.SQL(", ").join(map(sql.Identifier, names.split(","))) if names else sql.SQL("1")
    where: sql.Composable = sql.SQL("true")
    if query:
        ((column, value),) = query.items()
        assert value.startswith("eq.")
        where = sql.SQL("{} = {}").format(sql.Identifier(column), value.removeprefix("eq."))
    if "--json" not in options:
        return sql.SQL("select {} from {} where {}").format(wanted, table, where)
    body = options[options.index("--json") + 1]
    columns = sql.SQL(", ").join(map(sql.Identifier, json.loads(body)))
    values = sql.SQL("select {} from json_populate_record(null::{}, {})").format(
        columns, table, body
    )
    if "PATCH" in options:
        change = "update {} set ({}) = ({}) where {} returning {}"
        return sql.SQL(change).format(table, columns, values, where, wanted)
    return sql.SQL("insert into {} ({}) {} returning {}").format(table, columns, values, wanted)


def test_the_claims_are_those_of_the_spec(agent: dict[str, Any]) -> None:
    (line,) = [line for line, _ in of("supabase") if "bearer-jwt" in line]
    assert f"--role {agent['role']} " in line
    assert agent.pop("exp") - agent.pop("iat") == 900
    assert agent == {"role": "codered_agent", **json.loads(payload())}
    (role,) = [role for role in SCHEMA.roles if role.name == agent["role"]]
    assert role.scope is not None
    assert role.scope.claim == ("project_id",)
    assert role.scope.root == "projects"


def test_the_api_answers_what_it_says(guided: Server, agent: dict[str, Any]) -> None:
    calls = of("api")
    assert [guided.ask(agent, request(line)) for line, _ in calls] == [
        "\n".join(shown) for _, shown in calls
    ]
    assert sum('"42501"' in "".join(shown) for _, shown in calls) == 2


def test_each_key_reaches_what_it_says(guided: Server, agent: dict[str, Any]) -> None:
    projects, keys = "select slug from projects order by slug", "select id from access_keys"
    assert guided.ask(agent, projects) == '[{"slug":"red"}]'
    assert json.loads(guided.ask({"role": "service_role"}, projects)) == [
        {"slug": "blue"},
        {"slug": "red"},
    ]
    assert '"permission denied for table access_keys"' in guided.ask({"role": "service_role"}, keys)
    assert '"permission denied for schema codered"' in guided.ask(
        {"role": "anon"}, "select slug from codered.projects"
    )


def test_a_person_reads_the_projects_of_the_account(guided: Server) -> None:
    words = shlex.split(of("curl")[0].line)
    account = {"role": "authenticated", **json.loads(words[words.index("--json") + 1])}
    assert guided.ask(account, "select slug from projects") == '[{"slug":"red"}]'
    denied = guided.ask(account, "update projects set slug = 'mine' returning slug")
    assert '"42501"' in denied


def test_a_token_opens_one_project(guided: Server) -> None:
    name = f"writer_{uuid.uuid4().hex}"  # roles belong to the server, which other tests share
    names: dict[str, Any] = {}
    exec(blocks("python")[1], names)
    with connect(guided.dsn()) as owner:
        owner.execute(blocks("sql")[ROLE].replace("writer_agent", name).encode())
        try:
            ((token,),) = owner.execute(blocks("sql")[TOKEN].encode()).fetchall()
            assert is_shown(blocks("text")[0].strip(), token)
            assert names["slugs"](guided.dsn(name), token) == ["red"]
            assert names["slugs"](guided.dsn(name), token[:-1]) == []
        finally:
            owner.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_nothing_is_to_be_granted(guided: Server, shell: Shell) -> None:
    with connect(guided.dsn(SUPERUSER)) as admin, admin.transaction(force_rollback=True):
        admin.execute(blocks("sql")[0].encode())
        setting = "select rolconfig from pg_roles where rolname = 'authenticator'"
        ((found,),) = admin.execute(setting).fetchall()
        assert "pgrst.db_schemas=public, graphql_public, codered" in found
    said = "no difference: the database is what schema.yaml says"
    assert shell.run("codered-spec verify") == [said]
    everybody = "anon, authenticated, service_role"  # as Supabase's page on custom schemas does it
    with connect(guided.dsn()) as owner:
        owner.execute(f"grant usage on schema codered to {everybody}".encode())
        for what in ("tables", "routines", "sequences"):
            grant = f"grant all on all {what} in schema codered to {everybody}"
            owner.execute(grant.encode())
    listed = shell.run("codered-spec verify")
    assert any("anon" in line for line in listed)
    assert any("authenticated" in line for line in listed)
