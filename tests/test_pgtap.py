"""The pgTAP files: the same on every run, planned exactly, and right about every schema.

What needs pgTAP itself runs where Debian's package (or ``PGTAP_SQL``, the path of the extension's
SQL file) is at hand; ``python -m gates.pgtap`` does it on Debian's own server with ``pg_prove``.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from damage import Damage, damages
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from model_strategies import rollup_schemas, schemas

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.contract.pgtap import PlainChoices, examples, pgtap_files
from codered_spec.emit.access import with_access
from codered_spec.emit.ddl import emit_sql
from codered_spec.emit.file import GENERATED, File
from codered_spec.emit.pgtap import ACCEPTED, VERDICT, Example, Examples, emit_pgtap
from codered_spec.emit.rollups import expanded
from codered_spec.model.schema import (
    Check,
    Column,
    Event,
    Extension,
    Function,
    OneOf,
    PrimaryKey,
    Schema,
    SetUpdatedAt,
    Table,
    Timing,
    Trigger,
    View,
)
from codered_spec.model.types import Array, Integer, Text, Timestamptz, Varchar, Vector
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sql import identifier, split_statements, tokenize

ROOT = Path(__file__).resolve().parents[1]
SPEC = load_spec(ROOT / "schema.yaml")
FILES = pgtap_files(SPEC)
WHOLE = with_access(SPEC, expanded(SPEC))
EXAMPLES = int(os.environ.get("PGTAP_EXAMPLES", "8"))
DAMAGES = int(os.environ.get("PGTAP_DAMAGES", "1"))
"""How many damages of each kind are tried."""

PROSE = re.compile(r"comment|known value")
"""Kinds of damage that are no business of these tests: what is written about things."""


def planned(file: File) -> int:
    found = re.findall(r"(?m)^select plan\((\d+)\);$", file.text)
    assert len(found) == 1, file.path
    return int(found[0])


def calls(file: File) -> list[str]:
    """The functions of pgTAP that the file calls, one for each statement that is a test."""
    found = []
    for statement in split_statements(file.text):
        words = [t.text for t in tokenize(statement.text) if t.kind not in ("space", "comment")]
        if words[0] == "select" and words[1] not in ("*", "plan"):
            found.append(words[1])
    return found


# ---- without pgTAP ----------------------------------------------------------------------------


def test_there_is_a_file_for_each_table_and_one_for_the_schema() -> None:
    tables = [f"supabase/tests/10_{table.name}.sql" for table in WHOLE.tables]
    assert [file.path for file in FILES] == ["supabase/tests/00_schema.sql", *tables]


def test_every_file_is_planned_exactly() -> None:
    assert [planned(file) for file in FILES] == [len(calls(file)) for file in FILES]
    assert min(map(planned, FILES)) > 20


@pytest.mark.parametrize("file", FILES, ids=lambda file: Path(file.path).stem)
def test_a_file_is_one_transaction_that_is_undone(file: File) -> None:
    assert file.text.startswith(f"-- {GENERATED}\n")
    statements = [statement.text for statement in split_statements(file.text)]
    assert statements[0].endswith("begin")
    assert statements[-2:] == ["select * from finish()", "rollback"]
    assert not any(re.match("(begin|commit|rollback)", s) for s in statements[1:-1])


def test_nothing_in_a_file_is_invisible() -> None:
    assert [file.path for file in FILES if not file.text.isascii()] == []
    assert not any(re.search(r"[ \t]$", file.text, re.MULTILINE) for file in FILES)


@pytest.mark.parametrize("seed", ["0", "1"])
def test_files_are_the_same_in_every_process(seed: str) -> None:
    program = (
        "import hashlib, sys\n"
        "from codered_spec import load_spec\n"
        "from codered_spec.contract.pgtap import pgtap_files\n"
        "for f in pgtap_files(load_spec('schema.yaml')):\n"
        "    print(f.path, hashlib.sha256(f.text.encode()).hexdigest())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    want = [f"{f.path} {hashlib.sha256(f.text.encode()).hexdigest()}" for f in FILES]
    assert done.stdout.splitlines() == want


def test_every_constraint_of_the_spec_has_a_row_that_breaks_it() -> None:
    found = examples(SPEC)
    for table in SPEC.tables:
        verdicts = {example.verdict for example in found[table.name].tried}
        # a key that contains another one cannot be broken alone
        wider = {k.name for k in table.keys for o in table.keys if {*o.columns} < {*k.columns}}
        # nor a foreign key whose columns all belong to another one as well
        keys = table.foreign_keys
        wider |= {k.name for k in keys for o in keys if {*k.columns} < {*o.columns}}
        names = {c.name for c in table.constraints} - wider
        missing = names - {verdict.partition(" ")[2] for verdict in verdicts}
        assert not missing, table.name
        assert ACCEPTED in verdicts


def test_the_database_says_of_each_row_what_the_files_expect(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute(emit_sql(SPEC).encode())
        connection.execute("set local time zone 'UTC'")
        connection.execute(VERDICT.encode())
        for name, own in examples(SPEC).items():
            with connection.transaction(force_rollback=True):
                for statement in own.before:
                    connection.execute(statement.encode())
                for example in own.tried:
                    query = "select pg_temp.verdict(%s)"
                    row = connection.execute(query, [example.statement]).fetchone()
                    assert row == (example.verdict,), (name, example)


def test_verdict_says_if_a_row_vanishes(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute(VERDICT.encode())
        connection.execute("create temp table t (a int not null)")
        for statement, want in (
            ("insert into t values (1)", ACCEPTED),
            ("insert into t select 1 where false", "no row"),
            ("insert into t values (null)", "23502"),
            ("insert into nowhere values (1)", "42P01"),
        ):
            row = connection.execute("select pg_temp.verdict(%s)", [statement]).fetchone()
            assert row is not None
            assert str(row[0]).partition(" ")[0] == want.partition(" ")[0]
        assert connection.execute("select count(*) from t").fetchone() == (0,)


def test_tables_behind_triggers_of_their_own_get_no_rows() -> None:
    table = Table(
        "a",
        (Column("id", Integer()), Column("changed_at", Timestamptz())),
        PrimaryKey("a_pkey", ("id",)),
        triggers=(Trigger("t", "f", Timing.BEFORE, (Event.INSERT,)),),
    )
    schema = Schema("s", (table,), functions=(Function("f", SetUpdatedAt("changed_at")),))
    assert examples(schema) == {}
    later = replace(table, triggers=(replace(table.triggers[0], events=(Event.UPDATE,)),))
    assert list(examples(replace(schema, tables=(later,)))) == ["a"]


def test_files_have_names_that_every_file_system_takes() -> None:
    names = ["a", "A", "a b", "a/b", "..", "é", "00_schema"]
    files = emit_pgtap(Schema("s", tuple(Table(n, (Column("c", Text()),)) for n in names)), {})
    paths = [file.path.lower() for file in files]
    assert len(set(paths)) == len(names) + 1
    assert all(re.fullmatch(r"supabase/tests/\d\d_[a-z0-9_-]+\.sql", path) for path in paths)


def test_quotes_and_directives_in_names_stay_in_their_place() -> None:
    odd = "it's \\ $sql$ # TODO \" x"
    table = Table(odd, (Column(odd, Text()),), PrimaryKey("k", (odd,)))
    tried = Examples((), (Example(odd, f"insert into {identifier(odd)} values ('$sql$')", odd),))
    files = emit_pgtap(Schema(odd, (table,)), {odd: tried})
    for file in files:
        assert planned(file) == len(calls(file))
        for statement in split_statements(file.text):
            description = [t.text for t in tokenize(statement.text) if t.kind == "string"]
            assert not any(re.search(r"(?<!\\)# TODO'?$", text) for text in description[-1:])


def test_long_text_is_written_as_a_repetition() -> None:
    table = Table("a", (Column("v", Vector(1536)), Column("t", Varchar(500))))
    schema = Schema("s", (table,), extensions=(Extension("vector", "extensions"),))
    (good, *_) = examples(schema)["a"].tried
    assert len(good.statement) < 200
    assert "::extensions.vector" in good.statement


def test_plain_choices_are_plain() -> None:
    choices = PlainChoices()
    assert [choices.text(40), choices.text(40)] == ["pgtap1", "pgtap2"]
    assert choices.text(3) == "pgt"
    assert [choices.integer(-5, 5), choices.integer(3, 9), choices.integer(-9, -3)] == [0, 3, -3]
    ids = [uuid.UUID(int=choices.integer(0, 2**128 - 1)) for _ in range(2)]
    assert len(set(ids)) == 2
    assert choices.pick("abc") == "a"


# ---- with pgTAP -------------------------------------------------------------------------------


def pgtap_sql() -> Path | None:
    """The SQL file of the extension, or None."""
    if "PGTAP_SQL" in os.environ:
        return Path(os.environ["PGTAP_SQL"])
    found = Path("/usr/share/postgresql").glob("*/extension/pgtap--*.sql")
    return next((path for path in found if path.name.count("--") == 1), None)


@pytest.fixture(scope="module")
def tapped(server: EmbeddedServer, template: str) -> Iterator[Connection]:
    """A superuser's connection to a database with pgTAP in a schema of its own."""
    path = pgtap_sql()
    if path is None or "unpackaged" in path.name:
        pytest.skip("pgTAP is not on this machine; python -m gates.pgtap installs it")
    text = path.read_text(encoding="utf-8")
    name = identifier(f"test_{uuid.uuid4().hex}")
    with connect(server.dsn(SUPERUSER)) as owner:
        create = f"create database {name} owner postgres template {identifier(template)}"
        owner.execute(create.encode())
        with connect(server.dsn(SUPERUSER, name)) as superuser:
            with superuser.transaction():
                superuser.execute("create schema tap")
                superuser.execute("set local search_path = tap")
                superuser.execute(re.sub(r"(?m)^\\.*$", "", text).encode())
            yield superuser
        owner.execute(f"drop database {name} with (force)".encode())


def failures(connection: Connection, file: File) -> list[str]:
    """What goes wrong in a file; nothing of it stays."""
    body = file.text.replace("\nbegin;\n", "\n", 1).replace("\nrollback;\n", "\n")
    lines: list[str] = []
    with connection.transaction(force_rollback=True):
        try:
            cursor = connection.execute(body.encode())
        except psycopg.Error as error:
            return [str(error)]
        while True:
            lines += [str(row[0]) for row in cursor.fetchall()] if cursor.description else []
            if not cursor.nextset():
                break
    passed = sum(line.startswith("ok ") for line in lines)
    wrong = [line for line in lines if line.startswith("not ok ")]
    return wrong or ([] if passed == planned(file) else [f"{passed} of {planned(file)}"])


def every_failure(connection: Connection, files: tuple[File, ...]) -> list[str]:
    return [f"{file.path}: {line}" for file in files for line in failures(connection, file)]


def test_all_files_pass(tapped: Connection) -> None:
    with tapped.transaction(force_rollback=True):
        tapped.execute(emit_sql(SPEC).encode())
        assert every_failure(tapped, FILES) == []


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(schema=st.one_of(schemas(), schemas(vectors=False), rollup_schemas()))
def test_all_files_of_any_schema_pass(tapped: Connection, schema: Schema) -> None:
    files = pgtap_files(schema)
    assert [planned(file) for file in files] == [len(calls(file)) for file in files]
    with tapped.transaction(force_rollback=True):
        tapped.execute(emit_sql(schema).encode())
        assert every_failure(tapped, files) == []


def test_damaged_views_and_values_fail(tapped: Connection) -> None:
    table = Table(
        "t",
        (Column("a", Text()), Column("b", Array(Integer()))),
        PrimaryKey("t_pkey", ("a",)),
        checks=(Check("t_a_values", OneOf("a", ("x", "y", "z"))),),
    )
    schema = Schema("s", (table,), views=(View("v", "select t.a from s.t"),))
    files = pgtap_files(schema)
    with tapped.transaction(force_rollback=True):
        tapped.execute(emit_sql(schema).encode())
        assert every_failure(tapped, files) == []
        for damage in (
            "drop view s.v",
            "create or replace view s.v as select t.a from s.t",
            (
                "create or replace view s.v with (security_invoker = true)"
                " as select t.a from s.t where t.a <> 'x'"
            ),
            "alter table s.t alter b type bigint[]",
            "alter table s.t drop constraint t_a_values",
        ):
            with tapped.transaction(force_rollback=True):
                tapped.execute(damage.encode())
                assert every_failure(tapped, files), damage


def some_damages() -> list[Damage]:
    """The first damages of each kind."""
    found: dict[str, list[Damage]] = {}
    for damage in damages(WHOLE):
        if not PROSE.search(damage.kind):
            found.setdefault(damage.kind, []).append(damage)
    return [damage for same in found.values() for damage in same[:DAMAGES]]


def test_a_test_fails_after_every_damage(tapped: Connection) -> None:
    files = {Path(file.path).stem.partition("_")[2]: file for file in FILES}
    missed: list[str] = []
    with tapped.transaction(force_rollback=True):
        tapped.execute(emit_sql(replace(SPEC, views=())).encode())
        for damage in some_damages():
            if damage.kind == "row security" and WHOLE.tables[0].row_security:
                continue  # it is on already
            heads = {address.partition(".")[0] for address in damage.addresses}
            near = [file for name, file in files.items() if name in heads]
            with tapped.transaction(force_rollback=True):
                tapped.execute(damage.sql.encode())
                if not any(failures(tapped, file) for file in (*near, files["schema"])):
                    missed.append(str(damage))
    assert missed == []
