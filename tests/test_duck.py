"""DuckDB as a third opinion: the spec, Postgres and DuckDB judge the same rows.

A normal run judges at least 4,000 random rows beside every fault and neighbour; ``DUCK_ROWS`` asks
for more.
"""

from __future__ import annotations

import os
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest
from every_type import (
    DATE_TEXTS,
    DECIMAL_TEXTS,
    INSTANT_TEXTS,
    SCALARS,
    UUID_TEXTS,
    every_type,
    table_name,
)
from hypothesis import HealthCheck, given, settings
from model_strategies import schemas
from test_contract import IMPLIED

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.contract import Fault, Plan, RandomChoices, Row, Scene, faults, neighbours
from codered_spec.contract.nasty import NASTY
from codered_spec.contract.verdicts import Unsendable, Verdict, insert, text_of, verdicts
from codered_spec.emit.ddl import emit_sql
from codered_spec.emit.duck import (
    DISAGREEMENTS,
    LEFT_OUT,
    duck_checks,
    duck_insert,
    duck_sql,
    explanations,
    omissions,
)
from codered_spec.errors import InputError
from codered_spec.model.graph import creation_order
from codered_spec.model.schema import (
    Action,
    Check,
    Column,
    ForeignKey,
    Index,
    IndexKey,
    IsNotNull,
    IsNull,
    IsTrue,
    OpaqueDefault,
    OpaquePredicate,
    OpaqueRule,
    PrimaryKey,
    Schema,
    SubsetOf,
    Table,
    Unique,
)
from codered_spec.model.types import (
    Array,
    Boolean,
    Integer,
    Jsonb,
    Numeric,
    PgType,
    Scalar,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)
from codered_spec.postgres import EmbeddedServer
from codered_spec.sql import identifier

ROOT: Final = Path(__file__).resolve().parents[1]
SCHEMA: Final = load_spec(ROOT / "schema.yaml")
EVERY_TYPE: Final = every_type()
PLAN: Final = Plan(SCHEMA)
TABLES: Final = [table.name for table in SCHEMA.tables]
ROWS: Final = int(os.environ.get("DUCK_ROWS", "4000"))
PER_TABLE: Final = -(-ROWS // (2 * len(TABLES)))


@dataclass(frozen=True, slots=True)
class Opinion:
    """What DuckDB says of a row: of a refusal the kind, and what it names."""

    ok: bool
    kind: str = ""
    """null, check, unique, foreign key, type, or unsendable."""
    name: str | None = None
    """The column that is NULL, the constraint of a check, the columns of a key."""
    message: str = ""


_KINDS: Final = (
    ("null", re.compile(r"NOT NULL constraint failed: [^.]*\.\"?(.*?)\"?$")),
    (
        "check",
        re.compile(r"CHECK constraint failed on table .*? with expression CHECK\((.*)\)$", re.S),
    ),
    (
        "unique",
        re.compile(r"Duplicate key \"(.*)\" violates (?:primary key|unique) constraint", re.S),
    ),
    (
        "foreign key",
        re.compile(r"foreign key constraint because key \"(.*)\" does not exist", re.S),
    ),
)


class Duck:
    """An empty DuckDB in memory with the tables of a schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute(duck_sql(schema))
        self.checks: dict[tuple[str, str], str | None] = {}
        """The constraint for the expression that DuckDB prints of it."""
        for table in schema.tables:
            found = self.connection.execute(
                "select expression from duckdb_constraints() where constraint_type = 'CHECK'"
                " and table_name = $1 order by constraint_index",
                [table.name],
            ).fetchall()
            checks = duck_checks(table)
            for (expression,), check in zip(found, checks, strict=True):
                self.checks[table.name, expression] = check.constraint or f"type {check.column}"

    def close(self) -> None:
        self.connection.close()

    def clear(self) -> None:
        """Takes all rows out, children first."""
        for table in reversed(creation_order(self.schema)[0]):
            self.connection.execute(f'delete from "{self.schema.name}"."{table.name}"')

    def insert(self, rows: Sequence[tuple[str, Row]]) -> None:
        """Inserts rows in their order, for good."""
        for name, row in rows:
            columns, texts = self._texts(name, row)
            statement = duck_insert(self.schema, name, columns)
            self.connection.execute(statement, texts or None)

    def opinions(self, name: str, rows: Sequence[Row], together: bool = False) -> list[Opinion]:
        """What DuckDB says of each row alone. Nothing is kept.

        ``together`` tries all rows at once and halves what fails, which is fast where most rows are
        good: rows that can stand together can stand alone.
        """
        answers: dict[int, Opinion] = {}
        groups: dict[tuple[str, ...], list[tuple[int, list[str | None]]]] = {}
        for position, row in enumerate(rows):
            try:
                columns, texts = self._texts(name, row)
                "".join(filter(None, texts)).encode()
            except (Unsendable, UnicodeEncodeError) as exc:
                answers[position] = Opinion(False, "unsendable", None, str(exc))
            else:
                groups.setdefault(columns, []).append((position, texts))
        for columns, group in groups.items():
            one = duck_insert(self.schema, name, columns)
            many = duck_insert(self.schema, name, columns, many=True)
            waiting = [group] if together and columns else [[single] for single in group]
            while waiting:
                batch = waiting.pop()
                answer = self._judge(name, one if len(batch) == 1 else many, batch)
                if answer.ok or len(batch) == 1:
                    answers.update((position, answer) for position, _ in batch)
                else:
                    middle = len(batch) // 2
                    waiting += [batch[:middle], batch[middle:]]
        return [answers[position] for position in range(len(rows))]

    def _texts(self, name: str, row: Row) -> tuple[tuple[str, ...], list[str | None]]:
        table = self.schema.table(name)
        assert table is not None
        present = [column for column in table.columns if column.name in row]
        texts = [text_of(column.type, row[column.name]) for column in present]
        return tuple(column.name for column in present), texts

    def _judge(
        self, name: str, statement: str, batch: list[tuple[int, list[str | None]]]
    ) -> Opinion:
        parameters: list[Any] = batch[0][1]
        if len(batch) > 1:
            parameters = [list(texts) for texts in zip(*(row for _, row in batch), strict=True)]
        self.connection.execute("begin")
        try:
            self.connection.execute(statement, parameters or None)
        except duckdb.Error as exc:
            return self._opinion(name, exc) if len(batch) == 1 else Opinion(False)
        finally:
            self.connection.execute("rollback")
        return Opinion(True)

    def _opinion(self, name: str, error: duckdb.Error) -> Opinion:
        text = str(error)
        if isinstance(error, duckdb.ConstraintException):
            for kind, pattern in _KINDS:
                found = pattern.search(text)
                if found and kind == "check":
                    expression = self.checks[name, found[1]]
                    return Opinion(False, kind, expression, text)
                if found:
                    return Opinion(False, kind, found[1], text)
        assert isinstance(error, (duckdb.ConversionException, duckdb.OutOfRangeException)), error
        return Opinion(False, "type", None, text)


@pytest.fixture(scope="module")
def duck() -> Iterator[Duck]:
    duck = Duck(SCHEMA)
    yield duck
    duck.close()


@pytest.fixture(scope="module")
def postgres(server: EmbeddedServer, template: str) -> Iterator[Connection]:
    """A database with the schema and with a table for each type, in which nothing lasts."""
    name = f"duck_{uuid.uuid4().hex}"
    with connect(server.dsn()) as admin:
        admin.execute(
            f"create database {identifier(name)} template {identifier(template)}".encode()
        )
    with connect(server.dsn(database=name)) as connection:
        for schema in (SCHEMA, EVERY_TYPE):
            with connection.transaction():
                connection.execute(emit_sql(schema).encode())
        yield connection
    with connect(server.dsn()) as admin:
        admin.execute(f"drop database {identifier(name)} with (force)".encode())


def judged(
    duck: Duck, postgres: Connection, scene: Scene, rows: Sequence[Row], together: bool = False
) -> Iterator[tuple[Row, Opinion, Verdict]]:
    """Each row with both verdicts, in a world of the rows that stand before."""
    name = scene.table.name
    duck.clear()
    duck.insert(scene.before)
    opinions = duck.opinions(name, rows, together)
    with postgres.transaction(force_rollback=True):
        insert(postgres, duck.schema, scene.before)
        answers = verdicts(postgres, duck.schema, name, rows)
    return zip(rows, opinions, answers, strict=True)


# ---- what may differ ----


def texts_of(table: Table, row: Row) -> Iterator[tuple[str, PgType, str]]:
    """Column, type and text of each value that has a text."""
    for column in table.columns:
        text = text_of(column.type, row.get(column.name))
        if text is not None:
            yield column.name, column.type, text


def reasons(schema: Schema, table: Table, row: Row, accepts: bool) -> set[str]:
    """Why DuckDB alone may accept, or refuse, the row."""
    loose = {(o.table, o.constraint) for o in omissions(schema) if o.part}
    found: set[str] = set()
    for column, type_, text in texts_of(table, row):
        found.update(explanations(type_, text, accepts))
        if accepts and (table.name, column) in loose:
            found.add("omission")
    return found


def test_every_column_type_meets_every_nasty_value(postgres: Connection) -> None:
    """Every difference has a reason, and every reason a case."""
    everything = Duck(EVERY_TYPE)
    plan = Plan(EVERY_TYPE)
    words = [*DECIMAL_TEXTS, *DATE_TEXTS, *INSTANT_TEXTS, *UUID_TEXTS]
    seen: Counter[str] = Counter()
    wrong: list[object] = []
    for type_ in (*SCALARS, *map(Array, LISTED)):
        scene = Scene(plan, table_name(type_), RandomChoices(str(type_)))
        values = [*NASTY, [], *([] if isinstance(type_, Array) else words)]
        batch = [{**scene.row, "v": value} for value in values]
        for row, opinion, answer in judged(everything, postgres, scene, batch):
            if opinion.ok is not answer.ok:
                found = reasons(EVERY_TYPE, scene.table, row, opinion.ok)
                seen.update(found)
                if not found:
                    wrong.append((str(type_), row["v"], opinion, answer))
    everything.close()
    assert not wrong
    assert {reason.name for reason in DISAGREEMENTS} <= seen.keys(), "a reason without a case"


LISTED: Final[tuple[Scalar, ...]] = (
    Text(),
    Varchar(5),
    Uuid(),
    Integer(),
    Numeric(10, 2),
    Timestamptz(),
    Jsonb(),
    Vector(),
)

# ---- clause by clause ----

KINDS: Final = {"23502": "null", "23514": "check", "23505": "unique", "23503": "foreign key"}


def named(opinion: Opinion, fault: Fault, table: Table) -> bool:
    """Whether DuckDB answers to a fault what the spec expects of Postgres."""
    kind = KINDS.get(fault.sqlstate)
    if kind is None:  # a value outside of the type
        return opinion.kind in ("type", "unsendable") or opinion.name == f"type {fault.column}"
    if opinion.kind != kind:
        return False
    if kind == "null":
        return opinion.name == fault.column
    if kind == "check":
        return opinion.name == fault.constraint
    columns = next((k.columns for k in table.keys if k.name == fault.constraint), ())
    # a key is told as "column: value, …"
    return all(f"{column}: " in str(opinion.name) for column in columns)


@pytest.mark.parametrize("name", TABLES)
def test_each_fault_gets_its_answer_and_each_constraint_speaks(
    duck: Duck, postgres: Connection, name: str
) -> None:
    scene = Scene(PLAN, name, RandomChoices(name))
    found = list(faults(scene))
    spoken: set[str | None] = set()
    wrong: list[object] = []
    both = judged(duck, postgres, scene, [fault.row for fault in found])
    for fault, (row, opinion, answer) in zip(found, both, strict=True):
        assert not answer.ok
        if named(opinion, fault, scene.table):
            spoken.add(opinion.name if opinion.kind in ("check", "null") else fault.constraint)
        elif not explained(scene, row, opinion):
            wrong.append((fault.column, fault.name, fault.constraint, opinion))
    assert not wrong
    wanted = {c.constraint or f"type {c.column}" for c in duck_checks(scene.table)}
    wanted |= {column.name for column in scene.table.columns if not column.nullable}
    wanted |= {constraint.name for constraint in scene.table.constraints}
    wanted |= {index.name for index in scene.table.indexes if index.unique}
    wanted -= {o.constraint for o in omissions(SCHEMA) if o.table == name and not o.part}
    assert wanted - spoken <= IMPLIED


def explained(scene: Scene, row: Row, opinion: Opinion) -> bool:
    """Whether another answer to a fault has one of the reasons that the emitter tells."""
    return bool(reasons(SCHEMA, scene.table, row, opinion.ok)) and opinion.kind in ("", "type")


@pytest.mark.parametrize("name", TABLES)
def test_the_valid_neighbours_of_each_limit_are_accepted(duck: Duck, name: str) -> None:
    scene = Scene(PLAN, name, RandomChoices(name))
    duck.clear()
    duck.insert(scene.before)
    found = list(neighbours(scene))
    answers = duck.opinions(name, [near.row for near in found])
    assert [
        (near.column, near.name, answer)
        for near, answer in zip(found, answers, strict=True)
        if not answer.ok
    ] == []


# ---- random rows ----


@pytest.mark.parametrize("name", TABLES)
def test_random_rows_get_the_verdict_of_postgres(
    duck: Duck, postgres: Connection, name: str
) -> None:
    choices = RandomChoices(f"duck {name}")
    scene = Scene(PLAN, name, choices)
    valid = [scene.world.row(name) for _ in range(PER_TABLE)]
    mutated = [dict(row) for row in valid]
    for row in mutated:
        for _ in range(choices.pick((1, 1, 1, 2, 3))):
            row[choices.pick(list(row))] = choices.pick(NASTY)
    assert all(o.ok and a.ok for _, o, a in judged(duck, postgres, scene, valid, together=True))
    wrong = [
        (row, opinion, answer)
        for row, opinion, answer in judged(duck, postgres, scene, mutated)
        if opinion.ok is not answer.ok and not reasons(SCHEMA, scene.table, row, accepts=opinion.ok)
    ]
    assert not wrong


# ---- any schema ----


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas())
def test_any_schema_becomes_a_script_that_duckdb_runs(schema: Schema) -> None:
    try:
        script = duck_sql(schema)
    except InputError:
        lower = [[t.name.lower() for t in schema.tables]]
        lower += [[c.name.lower() for c in t.columns] for t in schema.tables]
        assert any(len(set(names)) < len(names) for names in lower)
        return
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(script)


def test_names_that_differ_by_case_only_are_refused() -> None:
    tables = tuple(Table(name, (Column("k", Integer()),)) for name in ("a", "A"))
    with pytest.raises(InputError, match="tables with names that differ by case only"):
        duck_sql(Schema("s", tables))


def test_every_kind_of_omission_is_told() -> None:
    """What DuckDB cannot express is left out of the script, and nothing else is."""
    columns = (
        Column("k", Integer()),
        Column("n", Integer(), nullable=True),
        Column("j", Jsonb()),
        Column("l", Array(Text())),
        Column("d", Numeric()),
        Column("o", Text(), default=OpaqueDefault("version()")),
    )
    table = Table(
        "t",
        columns,
        PrimaryKey("t_pkey", ("k",)),
        uniques=(
            Unique("json_key", ("j",)),
            Unique("list_key", ("l",)),
            Unique("long_key", ("d",)),
            Unique("null_key", ("n",), nulls_distinct=False),
        ),
        foreign_keys=(
            ForeignKey("to_index", ("n",), "t", ("n",)),
            ForeignKey("round", ("k",), "u", ("k",)),
            ForeignKey("follow", ("n",), "t", ("k",), on_update=Action.CASCADE),
        ),
        checks=(Check("words", OpaqueRule("k <> 3")),),
        indexes=(
            Index("part", (IndexKey("n"),), unique=True, predicate=OpaquePredicate("k > 3")),
            Index("ends", (IndexKey("n"),), unique=True, predicate=IsNotNull("o")),
            Index("gaps", (IndexKey("k"),), unique=True, predicate=IsNull("n")),
        ),
    )
    other = Table(
        "u",
        (Column("k", Integer()),),
        PrimaryKey("u_pkey", ("k",)),
        foreign_keys=(ForeignKey("back", ("k",), "t", ("k",)),),
    )
    schema = Schema("s", (table, other))
    told = [(o.constraint, o.part) for o in omissions(schema)]
    assert sorted(told) == [
        ("back", ""),
        ("follow", "on update cascade"),
        ("json_key", ""),
        ("list_key", ""),
        ("long_key", ""),
        ("null_key", ""),
        ("o", "default"),
        ("part", ""),
        ("to_index", ""),
        ("words", ""),
    ]
    script = duck_sql(schema)
    named = {name for name, part in told if not part}
    every = [*table.constraints, *other.constraints, *table.indexes]
    for constraint in every:
        assert (f'"{constraint.name}"' in script) is (constraint.name not in named)
    with duckdb.connect() as connection:
        connection.execute(script)


def test_a_parent_in_use_cannot_go(duck: Duck) -> None:
    """What stands in for the actions of foreign keys that DuckDB does not have."""
    scene = Scene(PLAN, "task_runs", RandomChoices(1))
    duck.clear()
    duck.insert(scene.before)
    with pytest.raises(duckdb.ConstraintException, match="still referenced"):
        duck.connection.execute("delete from codered.tasks")


def test_rules_that_no_other_rule_of_the_spec_repeats() -> None:
    """Parts of rules that in ``schema.yaml`` another constraint would cover."""
    table = Table(
        "t",
        (
            Column("k", Integer()),
            Column("on", Boolean()),
            Column("n", Integer(), nullable=True),
            Column("l", Array(Text())),
        ),
        checks=(Check("subset", SubsetOf("l", ("a", "b"))),),
        indexes=(
            Index("one_on", (IndexKey("k"),), unique=True, predicate=IsTrue("on")),
            Index("one_given", (IndexKey("n"),), unique=True, predicate=IsNotNull("n")),
        ),
    )
    small = Duck(Schema("s", (table,)))
    first: Row = {"k": 1, "on": True, "n": 1, "l": ["a"]}
    small.insert([("t", first), ("t", {"k": 2, "on": False, "n": None, "l": []})])
    changes: dict[str, tuple[Row, str]] = {
        "another": ({"k": 3, "n": 3}, ""),
        "same in the predicate": ({"n": 3}, "unique"),
        "same outside of it": ({"on": False, "n": 3}, ""),
        "same as one outside": ({"k": 2, "n": 3}, ""),
        "null is no number": ({"k": 3, "n": None}, ""),
        "same number": ({"k": 3}, "unique"),
        "null element": ({"k": 3, "n": 3, "l": ["a", None]}, "check"),
        "strange element": ({"k": 3, "n": 3, "l": ["a", "c"]}, "check"),
    }
    rows = [{**first, **change} for change, _ in changes.values()]
    answers = [opinion.kind for opinion in small.opinions("t", rows)]
    small.close()
    assert dict(zip(changes, answers, strict=True)) == {n: kind for n, (_, kind) in changes.items()}


# ---- the page ----

PAGE: Final = ROOT / "docs" / "reference" / "duckdb.md"


def figures() -> str:
    """The part of the page that follows from the code."""
    whole = [o for o in omissions(SCHEMA) if not o.part]
    parts = [o for o in omissions(SCHEMA) if o.part]
    required = sum(not c.nullable for t in SCHEMA.tables for c in t.columns)
    checks = sum(len(t.checks) for t in SCHEMA.tables)
    keys = sum(len(t.keys) for t in SCHEMA.tables)
    keys += sum(index.unique for t in SCHEMA.tables for index in t.indexes)
    foreign = sum(len(t.foreign_keys) for t in SCHEMA.tables)
    total = checks + keys + foreign
    beyond = sum(c.constraint is None for t in SCHEMA.tables for c in duck_checks(t))
    kept = total - len(whole)
    lines = [
        f"Of the {total} constraints of `schema.yaml` DuckDB gets {kept}:",
        f"{checks} checks, {keys} keys and {foreign} foreign keys in all, and NOT NULL {required}",
        f"times. {beyond} further checks are for what only the types of Postgres refuse.",
        "",
        "| left out of `schema.yaml` | how often | why |",
        "|---|---|---|",
    ]
    counted = Counter((o.part or "the whole constraint", o.reason) for o in (*whole, *parts))
    lines += [f"| {part} | {n} | {reason} |" for (part, reason), n in sorted(counted.items())]
    lines += ["", "| left out of any spec | why |", "|---|---|"]
    lines += [f"| {what} | {reason} |" for what, reason in LEFT_OUT]
    lines += ["", "| reason | DuckDB | about |", "|---|---|---|"]
    lines += [
        f"| {d.name} | {'accepts' if d.accepts else 'refuses'} | {d.says} |" for d in DISAGREEMENTS
    ]
    return "\n".join([*lines, ""])


def test_the_page_tells_the_figures() -> None:
    assert figures() in PAGE.read_text(encoding="utf-8")


def test_the_example_of_the_page_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {})
    assert "refused" in capsys.readouterr().out
