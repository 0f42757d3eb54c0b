"""The generated pgTAP files on Debian's Postgres 15: they pass, and each damage fails one of them.

Run as ``python -m gates.pgtap``. Every step prints one line; exit code 1 if any of them fails. The
files are run by ``pg_prove``, as by ``supabase test db``, as the role ``postgres``, no superuser.
pgTAP and ``pg_prove`` are Debian's packages. Without pgvector for 15 the schema is that for a
server without it (:func:`without_vectors`).
"""

from __future__ import annotations

import random
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.contract.pgtap import pgtap_files
from codered_spec.emit.ddl import emit_sql
from codered_spec.emit.file import File
from codered_spec.errors import CoderedError
from codered_spec.model.profiles import without_vectors
from codered_spec.model.schema import Schema
from codered_spec.postgres import SUPERUSER
from codered_spec.sql import identifier
from gates.matrix import WORLD, insert_runs, new_ids
from gates.servers import (
    ROOT,
    Failed,
    Steps,
    apt_candidate,
    apt_install,
    command,
    debian_postgres,
    find_program,
)

MAJOR: Final = 15
PROGRAMS: Final = Path(f"/usr/lib/postgresql/{MAJOR}/bin")
PROVE: Final = "libtap-parser-sourcehandler-pgtap-perl"
ODD: Final = 'tap "and" more'
"""A schema for pgTAP that nobody would think of."""

DAMAGES: Final[tuple[tuple[str, str], ...]] = (
    # tables and columns
    ("errors", "drop table codered.errors cascade"),
    ("schema", "create table codered.extra (id int)"),
    ("schema", "create sequence codered.extra"),
    ("schema", "create type codered.extra as enum ('a')"),
    ("tasks", "alter table codered.tasks drop column description cascade"),
    ("tasks", "alter table codered.tasks rename column title to heading"),
    ("tasks", "alter table codered.tasks add column extra int"),
    ("agent_runs", "alter table codered.agent_runs alter latency_ms type bigint"),
    ("agent_runs", "alter table codered.agent_runs alter input_summary type varchar(99)"),
    ("agents", 'alter table codered.agents alter description type text collate "C"'),
    ("agent_runs", "alter table codered.agent_runs alter model drop not null"),
    ("agent_runs", "alter table codered.agent_runs alter error_message set not null"),
    ("tasks", "alter table codered.tasks alter domain_tags drop default"),
    ("tasks", "alter table codered.tasks alter domain_tags set default '{infra}'"),
    ("tasks", "alter table codered.tasks alter created_at set default clock_timestamp()"),
    ("tasks", "alter table codered.tasks alter title set default ''"),
    ("errors", "create rule extra as on delete to codered.errors do instead nothing"),
    ("tasks", "create table public.child () inherits (codered.tasks)"),
    # constraints
    ("tasks", "alter table codered.tasks drop constraint tasks_zone_values"),
    (
        "tasks",
        (
            "alter table codered.tasks drop constraint tasks_zone_values,"
            " add constraint tasks_zone_values check (zone in ('green', 'yellow', 'red', 'blue'))"
        ),
    ),
    (
        "tasks",
        (
            "alter table codered.tasks drop constraint tasks_zone_values,"
            " add constraint tasks_zone_values check (zone in ('green', 'yellow', 'red')) not valid"
        ),
    ),
    ("tasks", "alter table codered.tasks add constraint extra check (size <> 'xs')"),
    ("tasks", "alter table codered.tasks rename constraint tasks_size_values to extra"),
    ("user_overrides", "alter table codered.user_overrides drop constraint user_overrides_pkey"),
    ("projects", "alter table codered.projects drop constraint projects_slug_key cascade"),
    (
        "agent_runs",
        "alter table codered.agent_runs drop constraint agent_runs_agent_id_fkey",
    ),
    (
        "task_runs",
        (
            "do $$ declare k record; begin"
            " select conname, pg_get_constraintdef(oid) as words into k from pg_constraint"
            " where conrelid = 'codered.task_runs'::regclass and contype = 'f' order by 1 limit 1;"
            " execute format('alter table codered.task_runs drop constraint %1$I, add constraint"
            " %1$I %2$s', k.conname, regexp_replace(k.words, ' ON DELETE .*$', '')"
            " || case when k.words ~ 'ON DELETE CASCADE' then '' else ' ON DELETE CASCADE' end);"
            " end $$"
        ),
    ),
    (
        "task_runs",
        (
            "do $$ declare k record; begin"
            " select conname, pg_get_constraintdef(oid) as words into k from pg_constraint"
            " where conrelid = 'codered.task_runs'::regclass and contype = 'f' order by 1 limit 1;"
            " execute format('alter table codered.task_runs drop constraint %1$I, add constraint"
            " %1$I %2$s', k.conname, k.words || ' DEFERRABLE'); end $$"
        ),
    ),
    # indexes
    ("agent_runs", "drop index codered.agent_runs_model_idx"),
    (
        "agent_runs",
        (
            "drop index codered.agent_runs_model_idx;"
            " create index agent_runs_model_idx on codered.agent_runs (mode)"
        ),
    ),
    (
        "agent_runs",
        (
            "drop index codered.agent_runs_model_idx;"
            " create index agent_runs_model_idx on codered.agent_runs using hash (model)"
        ),
    ),
    (
        "agent_runs",
        (
            "drop index codered.agent_runs_model_idx;"
            " create index agent_runs_model_idx on codered.agent_runs (model desc)"
        ),
    ),
    (
        "agent_runs",
        (
            "drop index codered.agent_runs_model_idx;"
            " create index agent_runs_model_idx on codered.agent_runs (model) where model <> ''"
        ),
    ),
    ("agent_runs", "create index extra on codered.agent_runs (model, tier)"),
    # triggers and rollups
    ("projects", "alter table codered.projects disable trigger projects_set_updated_at"),
    ("projects", "drop trigger projects_set_updated_at on codered.projects"),
    (
        "projects",
        (
            "create or replace trigger projects_set_updated_at before update on codered.projects"
            " for each row execute function codered.set_updated_at()"
        ),
    ),
    ("agent_runs", "alter table codered.agent_runs disable trigger agent_runs_note_insert"),
    (
        "agent_runs",
        (
            "create or replace function codered.agent_runs_note() returns trigger language plpgsql"
            " security definer set search_path = '' as 'begin return null; end'"
        ),
    ),
    ("agent_runs_deltas", "alter table codered.agent_runs_deltas set logged"),
    # functions
    ("schema", "drop function codered.set_updated_at() cascade"),
    ("schema", "create function codered.extra() returns int language sql as 'select 1'"),
    ("schema", "alter function codered.set_updated_at() reset search_path"),
    ("schema", "alter function codered.set_updated_at() security definer"),
    ("schema", "alter function codered.agent_runs_fold() security invoker"),
    ("schema", "alter function codered.set_updated_at() stable"),
    ("schema", "grant execute on function codered.set_updated_at() to public"),
    # views
    ("schema", "drop view codered.usage_by_day cascade"),
    ("schema", "create view codered.extra as select 1 as one"),
    ("schema", "alter view codered.usage_by_day set (security_invoker = false)"),
    (
        "schema",
        (
            "do $$ begin execute 'create or replace view codered.usage_by_day"
            " with (security_invoker = true) as select * from ('"
            " || trim(trailing ';' from pg_get_viewdef('codered.usage_by_day'::regclass))"
            " || ') v where false'; end $$"
        ),
    ),
    # rights
    ("tasks", "grant select on codered.tasks to anon"),
    ("tasks", "grant update (title) on codered.tasks to anon"),
    ("schema", "grant usage on schema codered to anon"),
    ("schema", "grant select on codered.usage_by_day to anon"),
    ("tasks", "create policy extra on codered.tasks using (true)"),
    ("tasks", "alter table codered.tasks force row level security"),
)
"""The file that must notice (without it, that of the schema), and what is done to the database."""

_POLICY: Final = """
do $$
begin
  execute (
    select format({}, polname) from pg_policy
    where polrelid = 'codered.tasks'::regclass and polcmd = 'r'
    order by 1 limit 1
  );
end
$$
"""
RIGHTS: Final[tuple[tuple[str, str], ...]] = (
    ("tasks", "alter table codered.tasks disable row level security"),
    ("tasks", _POLICY.format("'drop policy %I on codered.tasks'")),
    ("tasks", _POLICY.format("'alter policy %I on codered.tasks using (false)'")),
    ("tasks", _POLICY.format("'alter policy %I on codered.tasks to anon'")),
    ("tasks", "revoke all on codered.tasks from service_role"),
)
"""The same, of a schema that has roles."""


# ---- the database -----------------------------------------------------------------------------


class Database:
    """A database with the schema, and pgTAP in a schema of its own."""

    def __init__(self, cluster: str, schema: Schema) -> None:
        self.schema = schema
        self.files = pgtap_files(schema)
        self._superuser = make_conninfo(cluster, user=SUPERUSER, dbname="pgtap")
        self.dsn = make_conninfo(cluster, user="postgres", dbname="pgtap")
        stand_in = resources.files("codered_spec").joinpath("stand_in.sql").read_bytes()
        with connect(make_conninfo(cluster, dbname="template1")) as connection:
            connection.execute(stand_in)
        with connect(cluster) as connection:
            connection.execute("create database pgtap owner postgres")
        with connect(self._superuser) as connection:
            for extension in schema.extensions:
                place = identifier(extension.schema)
                make = f"create extension if not exists {identifier(extension.name)} schema {place}"
                connection.execute(make.encode())

    def create(self) -> str:
        """Makes the schema, as the role ``postgres``."""
        text = emit_sql(self.schema)
        with connect(self.dsn) as connection, connection.transaction():
            connection.execute(text.encode())
        return f"{len(self.schema.tables)} tables, {len(self.files)} test files"

    def install(self, place: str) -> None:
        """Puts pgTAP into another schema."""
        with connect(self._superuser) as connection:
            own = identifier(place)
            connection.execute("drop extension if exists pgtap")
            connection.execute(f"create schema if not exists {own}".encode())
            connection.execute(f"grant usage on schema {own} to postgres".encode())
            connection.execute(f"create extension pgtap with schema {own}".encode())

    def prove(self, folder: Path, place: str) -> str:
        """All files by ``pg_prove``, with pgTAP in a schema; gives its figures."""
        self.install(place)
        shutil.rmtree(folder, ignore_errors=True)
        for file in self.files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, encoding="utf-8")
        options = conninfo_to_dict(self.dsn)
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
        variables = {name: str(options[key]) for key, name in names.items() if key in options}
        program = find_program("pg_prove", f"as root: apt-get install {PROVE}")
        words: list[str | Path] = [
            program,
            "--psql-bin",
            PROGRAMS / "psql",
            "--ext",
            ".sql",
            "--recurse",
            folder,
        ]
        said = command(words, env={**variables, "PGCLIENTENCODING": "UTF8"}).stdout
        figures = re.search(r"Files=(\d+), Tests=(\d+)", said)
        planned = sum(map(plan, self.files))
        if "Result: PASS" not in said or figures is None:
            raise Failed(said.strip())
        if (int(figures[1]), int(figures[2])) != (len(self.files), planned):
            raise Failed(f"{figures[0]}, not {len(self.files)} and {planned}")
        return f"{len(self.files)} files, {planned} assertions pass, pgTAP in {place}"

    def load(self) -> str:
        """Rows of others, which must not disturb the tests."""
        draw = random.Random(MAJOR)
        with connect(self.dsn) as connection, connection.transaction():
            connection.execute(WORLD)
            connection.execute(insert_runs(draw, new_ids(draw, 200)))
        return "200 runs"

    def sabotage(self) -> str:
        """Does every damage, each alone, and wants a failure."""
        files = {Path(file.path).stem.partition("_")[2]: file for file in self.files}
        every = (*DAMAGES, *(RIGHTS if self.schema.roles else ()))
        missed = []
        # a superuser, who can do each of them
        with connect(self._superuser) as connection:
            for name, damage in every:
                with connection.transaction(force_rollback=True):
                    try:
                        connection.execute(damage.encode())
                    except psycopg.Error as exc:
                        raise Failed(f"{damage}: {exc}") from None
                    if not any(failures(connection, files[name])):
                        missed.append(damage)
        if missed:
            raise Failed("no test fails after: " + "; ".join(missed))
        return f"{len(every)} damages, each fails a test"


def plan(file: File) -> int:
    """How many tests a file promises."""
    found = re.search(r"(?m)^select plan\((\d+)\);$", file.text)
    if found is None:
        raise Failed(f"{file.path} has no plan")
    return int(found[1])


def failures(connection: Connection, file: File) -> Iterator[str]:
    """What goes wrong in a file, inside of the connection's transaction, which it leaves dirty."""
    body = file.text.replace("\nbegin;\n", "\n", 1).replace("\nrollback;\n", "\n")
    passed = 0
    try:
        cursor = connection.execute(body.encode())
    except psycopg.Error as exc:
        yield str(exc)
        return
    while True:
        for row in cursor.fetchall() if cursor.description else ():
            line = str(row[0])
            passed += line.startswith("ok ")
            if line.startswith("not ok "):
                yield line
        if not cursor.nextset():
            break
    if passed != plan(file):
        yield f"{passed} of {plan(file)} tests pass"


# ---- the whole --------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Every step; the exit code."""
    if argv if argv is not None else sys.argv[1:]:
        sys.stderr.write("python -m gates.pgtap takes no arguments\n")
        return 2
    steps = Steps()
    folder = Path(tempfile.mkdtemp(prefix="pgtap-"))
    vector = f"postgresql-{MAJOR}-pgvector"
    try:
        with_vector = apt_candidate(vector)
        packages = [f"postgresql-{MAJOR}", f"postgresql-{MAJOR}-pgtap", PROVE]
        apt_install(*packages, *([vector] if with_vector else []))
        whole = load_spec(ROOT / "schema.yaml")
        with debian_postgres(folder / "server", major=MAJOR) as cluster:
            database = Database(cluster, whole if with_vector else without_vectors(whole))
            rest = (
                ("pass", lambda: database.prove(folder / "tests", "extensions")),
                ("damages", database.sabotage),
                ("rows of others", database.load),
                ("pass beside them", lambda: database.prove(folder / "tests", ODD)),
            )
            if steps.run("schema", database.create):
                for name, act in rest:
                    steps.run(name, act)
            else:
                steps.skip(*(name for name, _ in rest))
    except (Failed, CoderedError, OSError, psycopg.Error) as exc:
        sys.stdout.write(f"FAILED  {exc}\n")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if steps.failed else 0


if __name__ == "__main__":
    sys.exit(main())
