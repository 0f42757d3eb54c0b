"""The roles of `docs/guides/roles.md`, made from its SQL: enough for the commands, and no more."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest
import yaml
from usage_rows import add_runs

from codered_spec import load_spec
from codered_spec.cli import main
from codered_spec.codes import CODES
from codered_spec.connection import Connection, connect
from codered_spec.emit.ddl import emit_sql
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sources.spec import canonical_text, parse_spec
from codered_spec.sql import identifier

Output = pytest.CaptureFixture[str]

ROOT: Final = Path(__file__).resolve().parent.parent
GUIDE: Final = (ROOT / "docs" / "guides" / "roles.md").read_text("utf-8")
ROLES: Final = re.compile(r"\bcodered_(?:agent|migrator|verifier|reader)(?=\b|_select\b)")
BASELINE: Final = "20261122000000_first.sql"
FIRST, LATER = "migrations/" + BASELINE, "migrations/20270101000000_later.sql"

USAGE: Final[tuple[tuple[str, ...], ...]] = (
    ("usage",),
    ("usage", "--timezone", "America/New_York"),
    ("usage", "--by", "model"),
    ("usage", "--by", "agent"),
    ("usage", "--by", "project"),
    ("usage", "--project", "red"),
)
EXPORT: Final = ("export", "--parquet", "out", "--replace")
CATALOG: Final = (("verify",), ("introspect",))
HISTORY: Final = (("status",), ("migrate", "--dry-run"))


def blocks(language: str, heading: str) -> list[str]:
    """The code blocks of a section of the guide."""
    section = GUIDE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def statements(block: str) -> list[str]:
    return [s.strip() for s in re.sub(r"--.*", "", block).split(";") if s.strip()]


(ONCE,) = blocks("sql", "Once for a database")
MIGRATOR, NO_CREATE, OLD_HISTORY, TEMPORARY = blocks("sql", "`codered_migrator`")
VERIFIER, HISTORY_RIGHTS = blocks("sql", "`codered_verifier`")
(READER,) = blocks("sql", "`codered_reader`")
(READER_SPEC,) = blocks("yaml", "`codered_reader`")


def undone(statement: str) -> str:
    """The statement that takes back what another one gave."""
    if login := re.fullmatch(r"create role (\w+) login", statement):
        return f"alter role {login[1]} nologin"
    assert statement.startswith("grant ")
    return re.sub(r"^grant (.*) to (\w+)$", r"revoke \1 from \2", statement)


class House:
    """A database, roles of its own under the names of the guide, and a project in this folder."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self.server = server
        self.name = f"test_{uuid.uuid4().hex}"
        self.suffix = uuid.uuid4().hex[:8]
        data, _ = parse_spec((ROOT / "schema.yaml").read_text("utf-8"), "schema.yaml")
        (decision,) = (d for d in data["decisions"].values() if "roles" in d)
        decision["roles"] |= yaml.safe_load(READER_SPEC)
        (folder / "schema.yaml").write_text(self.named(canonical_text(data)), "utf-8")
        (folder / "migrations").mkdir()
        sql = emit_sql(load_spec(str(folder / "schema.yaml")))
        (folder / FIRST).write_text(sql, "utf-8")

    def named(self, text: str) -> str:
        """The text with the names of this house: roles belong to all databases of the server."""
        text = ROLES.sub(lambda role: f"{role[0]}_{self.suffix}", text)
        return text.replace("database postgres ", f"database {self.name} ")

    def dsn(self, role: str) -> str:
        return self.server.dsn(self.named(role), self.name)

    def sql(self, text: str, role: str = "postgres") -> None:
        """Runs SQL of the guide."""
        with connect(self.dsn(role)) as connection:
            for statement in statements(text):
                connection.execute(self.named(statement).encode())

    @contextmanager
    def without(self, statement: str, role: str = "postgres") -> Iterator[None]:
        """A while without the right that a statement of the guide gives."""
        self.sql(undone(statement), role)
        try:
            yield
        finally:
            self.sql(re.sub(r"^create role (\w+)", r"alter role \1", statement), role)

    def refused(self, role: str, statement: str) -> str | None:
        """The SQLSTATE with which a role is refused, None if it is not."""
        with connect(self.dsn(role)) as connection:
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(self.named(statement).encode())
            except psycopg.Error as error:
                return error.sqlstate
        return None

    def open(self) -> None:
        with connect(self.server.dsn()) as connection:
            connection.execute(f"create database {self.name}".encode())
            connection.execute(f"revoke all on database {self.name} from public".encode())
        with connect(self.server.dsn(SUPERUSER, self.name)) as connection:
            connection.execute("alter schema extensions owner to postgres")  # as on Supabase
        self.sql(ONCE)

    def close(self) -> None:
        with connect(self.server.dsn(SUPERUSER)) as connection:
            connection.execute(f"drop database {self.name} with (force)".encode())
            made = "select rolname from pg_roles where rolname like %s"
            for (role,) in connection.execute(made, [f"%{self.suffix}"]).fetchall():
                connection.execute(f"drop role {identifier(role)}".encode())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path


@pytest.fixture
def house(server: EmbeddedServer, project: Path) -> Iterator[House]:
    """The administrator has done his part, nothing else."""
    house = House(server, project)
    try:
        house.open()
        yield house
    finally:
        house.close()


@pytest.fixture
def home(house: House, capsys: Output) -> House:
    """All of the guide, with a run of an agent."""
    for block in (MIGRATOR, VERIFIER, READER, TEMPORARY):
        house.sql(block)
    assert tried(house, capsys, "codered_migrator", "migrate")[0] == 0
    house.sql(NO_CREATE)
    house.sql(HISTORY_RIGHTS, "codered_migrator")
    with connect(house.dsn("codered_migrator")) as connection:
        fill(connection)
    return house


def fill(connection: Connection) -> None:
    connection.execute(
        "insert into codered.projects (slug, name, description, status)"
        " values ('red', 'red', 'red', 'active')"
    )
    connection.execute(
        "insert into codered.agents (slug, name, description, default_tier,"
        " max_tokens_per_call, max_calls_per_task, cost_ceiling_usd_per_task)"
        " values ('code', 'code', 'code', 'gold', 1, 1, 1)"
    )
    add_runs(connection, ["2026-01-10 12:00Z"], tokens=(7001, 2))


def tried(house: House, capsys: Output, role: str, *arguments: str) -> tuple[int, str]:
    """The exit code of a command and all that it says; a refusal is a diagnostic."""
    capsys.readouterr()
    more = ("--since", "2026-01-01", "--until", "2026-02-01") if arguments[0] == "usage" else ()
    code = main([*arguments, *more, "--dsn", house.dsn(role)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert "internal error" not in err
    if code:
        (found,) = re.findall(r"error ([A-Z]\d{3}):", err)
        assert found in CODES
        assert "\n    fix: " in err
    return code, out + err


def refusal(house: House, capsys: Output, role: str, *arguments: str) -> str:
    """What a command says that the database refuses."""
    code, text = tried(house, capsys, role, *arguments)
    assert code == 3, text
    return text


# ---- migrate ----------------------------------------------------------------------------------


def test_migrate_needs_every_right_of_the_guide(house: House, capsys: Output) -> None:
    house.sql(MIGRATOR)
    asked = "codered_migrator", "migrate"
    logins, others = statements(ONCE)[:3], statements(ONCE)[3:]
    roles = [s for s in others if s.endswith("to authenticator")]
    assert len(roles) == 2
    for statement in (logins[0], *statements(MIGRATOR), *roles):
        with house.without(statement):
            text = refusal(house, capsys, *asked)
        said = {
            "create role codered_migrator login": ("P001", "alter role … login"),
            "grant connect on database postgres to codered_migrator": ("P001", "grant connect"),
            "grant create on database postgres to codered_migrator": (
                "P009",
                "denied for database",
            ),
        }
        code, words = said.get(statement, ("R005", "permission denied"))
        assert f"error {code}:" in text, statement
        assert words in text, statement
    assert tried(house, capsys, *asked) == (0, f"1 migration applied\napplied {BASELINE}\n")


def test_migrate_needs_the_roles_of_the_schema(house: House, capsys: Output) -> None:
    house.sql(MIGRATOR)
    house.sql("revoke usage on schema extensions from codered_agent; drop role codered_agent")
    text = refusal(house, capsys, "codered_migrator", "migrate")
    assert "error R005:" in text
    assert "permission denied to create role" in text


def test_what_the_supabase_cli_began_needs_its_history(house: House, capsys: Output) -> None:
    house.sql(
        "create schema supabase_migrations;"
        "create table supabase_migrations.schema_migrations"
        " (version text not null primary key, statements text[], name text)"
    )
    house.sql(MIGRATOR)
    house.sql(OLD_HISTORY)
    rights = [
        f"grant {right} on {rest}"
        for whole in statements(OLD_HISTORY)
        for names, rest in re.findall(r"grant (.*?) on (.*)", whole)
        for right in names.split(", ")
    ]

    for statement in rights:
        with house.without(statement):
            assert "error P009:" in refusal(house, capsys, "codered_migrator", "migrate")
    assert tried(house, capsys, "codered_migrator", "migrate")[0] == 0
    assert tried(house, capsys, "codered_migrator", "status")[0] == 0


def test_the_migrator_does_its_other_jobs(home: House, capsys: Output, project: Path) -> None:
    role = "codered_migrator"
    for arguments in (("status",), ("verify",), ("verify", "--data")):
        assert tried(home, capsys, role, *arguments)[0] == 0
    for table in ("agent_runs", "llm_usage_daily"):
        assert home.refused(role, f"truncate codered.{table} cascade") is None
    contract = ("contract", "llm_providers", "--rows", "5", "--seed", "1")
    assert tried(home, capsys, role, *contract)[0] == 0
    (temporary,) = statements(TEMPORARY)
    with home.without(temporary):
        assert "temporary tables" in refusal(home, capsys, role, *contract)
    (project / LATER).write_text("create table codered.later (id uuid primary key);\n")
    assert home.refused(role, "create schema more") == "42501"
    assert tried(home, capsys, role, "migrate")[0] == 0


def test_the_migrator_can_do_nothing_elsewhere(home: House) -> None:
    for statement in (
        "create role other",
        "create extension pg_stat_statements",
        "create schema other",
        "create table public.other (id int)",
        "create table extensions.other (id int)",
        "select from auth.users",
        "set role service_role",
        "set role codered_agent",
        "set role postgres",
        "set session_replication_role = replica",
        "alter role codered_agent bypassrls",
    ):
        assert home.refused("codered_migrator", statement) == "42501", statement
    attributes = "select rolcreatedb from pg_roles where rolname = current_user"
    with connect(home.dsn("codered_migrator")) as connection:
        assert connection.execute(attributes).fetchone() == (False,)


# ---- verify, introspect, status ---------------------------------------------------------------


def test_the_verifier_has_what_it_needs(home: House, capsys: Output) -> None:
    for arguments in (*CATALOG, *HISTORY):
        assert tried(home, capsys, "codered_verifier", *arguments)[0] == 0
    for statement in (statements(ONCE)[1], *statements(VERIFIER)):
        with home.without(statement):
            for arguments in (*CATALOG, *HISTORY):
                assert "P001" in refusal(home, capsys, "codered_verifier", *arguments)
    for statement in statements(HISTORY_RIGHTS):
        with home.without(statement, "codered_migrator"):
            for arguments in HISTORY:
                text = refusal(home, capsys, "codered_verifier", *arguments)
                assert "P009: reading the migration history: permission denied" in text
            for arguments in CATALOG:
                assert tried(home, capsys, "codered_verifier", *arguments)[0] == 0


def test_the_verifier_finds_what_differs(home: House, capsys: Output) -> None:
    home.sql("alter table codered.tasks drop constraint tasks_zone_values", "codered_migrator")
    home.sql("grant select on codered.access_keys to codered_verifier", "codered_migrator")
    code = main(["verify", "--dsn", home.dsn("codered_verifier")])
    out = capsys.readouterr().out
    assert code == 1
    assert "2 differences" in out
    assert "tasks_zone_values is missing" in out
    assert "access_keys" in out


def test_the_verifier_can_do_nothing_else(home: House, capsys: Output, project: Path) -> None:
    role = "codered_verifier"
    for relation in relations(home):
        for statement in (f"select from {relation}", f"delete from {relation}"):
            assert home.refused(role, statement) == "42501", statement
    for statement in (
        "create table codered.t ()",
        "create temporary table t ()",
        "select codered.issue_token(gen_random_uuid())",
        "delete from supabase_migrations.schema_migrations",
        "insert into supabase_migrations.schema_migrations (version) values ('1')",
    ):
        assert home.refused(role, statement) == "42501", statement
    for arguments in (
        ("verify", "--data"),
        *USAGE,
        EXPORT,
        ("contract", "projects", "--rows", "1"),
    ):
        assert "error P009:" in refusal(home, capsys, role, *arguments)
    (project / LATER).write_text("create table codered.later (id uuid primary key);\n")
    assert "error R005:" in refusal(home, capsys, role, "migrate")


def relations(house: House) -> list[str]:
    """The tables and views of the schema."""
    with connect(house.dsn("postgres")) as connection:
        found = connection.execute(
            "select oid::regclass::text from pg_class where relkind in ('r', 'v')"
            " and relnamespace = 'codered'::regnamespace order by 1"
        )
        return [name for (name,) in found]


# ---- usage, export ----------------------------------------------------------------------------


def test_the_reader_has_what_it_needs(home: House, capsys: Output) -> None:
    for arguments in USAGE:
        code, text = tried(home, capsys, "codered_reader", *arguments)
        assert code == 0
        assert "7,001" in text
        assert "note:" not in text
    assert (
        "agent_runs                    1 rows" in tried(home, capsys, "codered_reader", *EXPORT)[1]
    )
    assert tried(home, capsys, "codered_verifier", "verify")[0] == 0
    for statement in (statements(ONCE)[2], *statements(READER)):
        with home.without(statement):
            for arguments in (USAGE[0], EXPORT):
                assert "error P001:" in refusal(home, capsys, "codered_reader", *arguments)


def test_the_reader_needs_every_table_of_the_spec(home: House, capsys: Output) -> None:
    tables = yaml.safe_load(READER_SPEC)["codered_reader"]["select"]
    commands = (*USAGE, EXPORT)
    needed = {
        "projects": {4, 5},
        "agents": {3},
        "agent_runs": {2, 6},
        "llm_usage_daily": {0, 3, 4, 5, 6},
        "llm_usage_by_agent": {1, 6},
    }
    assert needed.keys() == set(tables)
    for table, affected in needed.items():
        policy = f"codered_reader_select on codered.{table}"
        for take, give, words in (
            (
                f"revoke select on codered.{table} from codered_reader",
                f"grant select on codered.{table} to codered_reader",
                f"permission denied for table {table}",
            ),
            (
                f"drop policy {policy}",
                f"create policy {policy} for select to codered_reader using (true)",
                f"row-level security hides every row of codered.{table} from this role",
            ),
        ):
            home.sql(take, "codered_migrator")
            for number, arguments in enumerate(commands):
                if number in affected:
                    text = refusal(home, capsys, "codered_reader", *arguments)
                    assert "error P009:" in text
                    assert words in text
                else:
                    assert tried(home, capsys, "codered_reader", *arguments)[0] == 0
            home.sql(give, "codered_migrator")


def test_the_reader_needs_the_use_of_the_schema(home: House, capsys: Output) -> None:
    with home.without("grant usage on schema codered to codered_reader", "codered_migrator"):
        for arguments in (*USAGE, EXPORT):
            text = refusal(home, capsys, "codered_reader", *arguments)
            assert "permission denied for schema codered" in text


def test_rows_that_are_hidden_in_part_are_told_of(home: House, capsys: Output) -> None:
    def check() -> None:
        told = "row-level security may hide rows of codered.agent_runs from this role"
        code, text = tried(home, capsys, "codered_reader", "usage", "--by", "model")
        assert (code, f"note: {told}" in text) == (0, True)
        assert f"error P009: {told}" in refusal(home, capsys, "codered_reader", *EXPORT)
        assert "note:" not in tried(home, capsys, "codered_reader", "usage")[1]

    policy = "policy codered_reader_select on codered.agent_runs"
    home.sql(f"alter {policy} using (input_tokens < 7000)", "codered_migrator")
    check()
    home.sql(f"alter {policy} using (true)", "codered_migrator")
    home.sql(
        "create policy narrow on codered.agent_runs as restrictive to public using (true)",
        "codered_migrator",
    )
    check()


def test_the_reader_can_do_nothing_else(home: House, capsys: Output) -> None:
    role = "codered_reader"
    listed = set(yaml.safe_load(READER_SPEC)["codered_reader"]["select"])
    read = {name for name in relations(home) if home.refused(role, f"select from {name}") is None}
    assert read == {f"codered.{name}" for name in listed}
    for relation in relations(home):
        for statement in (
            f"delete from {relation}",
            f"insert into {relation} default values",
            f"truncate {relation}",
        ):
            # a view that is no table's cannot be written by anybody
            assert home.refused(role, statement) in ("42501", "55000", "42809"), statement
    for statement in (
        "update codered.llm_usage_daily set total_cost_usd = 0",
        "create table codered.t ()",
        "create temporary table t ()",
        "select codered.issue_token(gen_random_uuid())",
        "select codered.rebuild_llm_usage_daily()",
        "select from supabase_migrations.schema_migrations",
        "set role service_role",
    ):
        assert home.refused(role, statement) == "42501", statement
    for arguments in (("status",), ("migrate",), ("verify", "--data")):
        assert "error P009:" in refusal(home, capsys, role, *arguments)
