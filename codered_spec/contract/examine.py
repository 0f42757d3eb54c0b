"""A live database held against its spec, row by row.

For each table a scene is inserted: rows with parents of their own. Then every fault of the table,
every valid row beside a limit, and random valid rows are shown to Postgres and to the validator.
Both must answer as the spec says, and what is stored must be what was promised. Everything happens
in a transaction that is rolled back, one for each table.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, TypeAlias
from uuid import UUID

import psycopg

from codered_spec.compiler import validators
from codered_spec.connection import Connection, connection_lost, database_error
from codered_spec.contract.acts import acts, differences, perform
from codered_spec.contract.choices import RandomChoices
from codered_spec.contract.faults import Fault, Scene, faults, neighbours
from codered_spec.contract.rules import Row
from codered_spec.contract.stored import kept
from codered_spec.contract.verdicts import Unsendable, Verdict, insert, text_of, verdicts
from codered_spec.contract.world import Plan, predicate_columns, unique_keys
from codered_spec.emit.expressions import default_sql, predicate_sql, sql_type
from codered_spec.errors import Diagnostic, FindingsError, InputError
from codered_spec.model.schema import (
    Column,
    Event,
    Literal,
    Now,
    Ordered,
    RandomUuid,
    Schema,
    SetUpdatedAt,
    Table,
    Timing,
    rule_columns,
)
from codered_spec.model.types import (
    Date,
)
from codered_spec.sql import identifier
from codered_spec.validation import Validator

ROWS: Final = 200
"""Random valid rows of each table, unless the caller asks for another number."""

_BATCH: Final = 2_000
_SCENES: Final = 10
"""How many scenes are tried before a table counts as impossible to judge."""
_MASKS: Final = 6
_TRIES: Final = 400
"""Rows that are shown to Postgres at most while one finding is made smaller."""
_LOCK: Final = 7_203_415_901
_LONG: Final = 120
_FIXES: Final = {
    "V006": "run `codered-spec verify`: the constraint is missing or too wide in the database",
    "V007": "run `codered-spec verify`: the database has a rule that the spec does not have",
    "V008": "run `codered-spec verify`: another rule answers first, or one has another name",
    "V009": "run `codered-spec verify`: a type, default, trigger or foreign key is another one",
    "V010": "this is a bug of codered-spec: report it with this row",
}

Stored: TypeAlias = "dict[str, Any]"


# ---- what an examination says -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that was not answered as the spec says.

    ``code`` is one of V006 to V010. ``column`` and ``clause`` (the name of a constraint or index)
    are None where nobody can say. ``row`` is the smallest row found that still shows it; ``count``
    is the number of rows that showed the same. ``examined`` is the table whose examination found
    it: that of the row, or one that points to it.
    """

    code: str
    table: str
    column: str | None
    clause: str | None
    case: str
    expected: str
    answered: str
    row: Row
    examined: str
    seed: int
    rows: int
    count: int = 1

    @property
    def repeat(self) -> str:
        """The command that finds it again."""
        return f"codered-spec contract {self.examined} --rows {self.rows} --seed {self.seed}"

    @property
    def diagnostic(self) -> Diagnostic:
        """The finding in words; long values are cut, :meth:`to_dict` has all of them."""
        subject = f"{self.table}.{self.column}" if self.column else self.table
        many = f" ({self.count:,} rows say so)" if self.count > 1 else ""
        case = self.case if len(self.case) <= _LONG else self.case[:_LONG] + "…"
        message = (
            f"{case}: expected {self.expected}, but {self.answered}{many}\n"
            f"    row: {json.dumps(_plain(self.row, _LONG))}\n"
            f"    repeat: {self.repeat}"
        )
        return Diagnostic(self.code, message, _FIXES[self.code], subject=subject)

    def to_dict(self) -> dict[str, object]:
        """The finding as JSON data. What JSON cannot hold, such as NaN, is text."""
        return {
            "code": self.code,
            "table": self.table,
            "column": self.column,
            "clause": self.clause,
            "case": self.case,
            "expected": self.expected,
            "answered": self.answered,
            "row": _plain(self.row),
            "count": self.count,
            "seed": self.seed,
            "repeat": self.repeat,
        }


@dataclass(frozen=True, slots=True)
class TableReport:
    """What the examination of one table found.

    ``faults``, ``neighbours`` and ``random`` count the rows that were judged, ``acts`` the
    deletions, changes of keys and updates. ``obstacles`` say
    which rows could not be (V011, V012). ``unjudged`` names the constraints and unique indexes that
    no row could break alone; most are implied by another one.
    """

    table: str
    seed: int
    faults: int
    neighbours: int
    random: int
    acts: int
    findings: tuple[Finding, ...]
    obstacles: tuple[Diagnostic, ...]
    unjudged: tuple[str, ...]

    @property
    def rows(self) -> int:
        """All rows that were judged."""
        return self.faults + self.neighbours + self.random

    @property
    def ok(self) -> bool:
        """Whether nothing was found, other than warnings."""
        return not self.findings and all(obstacle.warning for obstacle in self.obstacles)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything there is to say, findings first."""
        return (*(finding.diagnostic for finding in self.findings), *self.obstacles)

    def to_dict(self) -> dict[str, object]:
        """The report as JSON data."""
        return {
            "table": self.table,
            "ok": self.ok,
            "rows": {
                "faults": self.faults,
                "neighbours": self.neighbours,
                "random": self.random,
            },
            "acts": self.acts,
            "findings": [finding.to_dict() for finding in self.findings],
            "obstacles": [
                {
                    "code": o.code,
                    "severity": "warning" if o.warning else "error",
                    "message": o.message,
                    "fix": o.fix,
                }
                for o in self.obstacles
            ],
            "unjudged": list(self.unjudged),
        }


def _plain(value: Any, longest: int | None = None) -> Any:
    """A value as JSON data; texts and lists of more than ``longest`` characters are cut."""
    if isinstance(value, dict):
        return {str(key): _plain(item, longest) for key, item in value.items()}
    if isinstance(value, list):
        items = [_plain(item, longest) for item in value]
        if longest is not None and len(json.dumps(items)) > longest and len(items) > 4:
            return [*items[:3], f"… ({len(items)} elements)"]
        return items
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)) or (isinstance(value, float) and value - value != 0):
        return str(value)
    if isinstance(value, int) and abs(value) > 10**40:
        return str(value)
    if isinstance(value, str) and longest is not None and len(value) > longest:
        return f"{value[:20]}… ({len(value)} characters)"
    return value


# ---- the examination --------------------------------------------------------------------------


def examine(
    connection: Connection,
    schema: Schema,
    tables: Iterable[str] = (),
    *,
    rows: int = ROWS,
    seed: int = 0,
    shrink: bool = True,
) -> Iterator[TableReport]:
    """Examines the tables (all without names) one after the other; ``rows`` random rows of each.

    Each table is examined in a transaction that is rolled back, or in a savepoint where the
    connection is in a transaction already. Equal schema, table, ``rows`` and ``seed`` give equal
    rows. Examinations of one database wait for each other. Without ``shrink`` the rows of findings
    are told as they were tried, which is faster.

    Raises at once InputError for an unknown table (M001), FindingsError if the schema (V001), a
    table or a column (V002) is missing in the database; and DatabaseError, also later, when the
    connection or a privilege fails.
    """
    plan = Plan(schema)
    names = tuple(dict.fromkeys(tables)) or tuple(plan.tables)
    needed = _with_parents(plan, names)
    require(connection, schema, needed)
    return _reports(connection, plan, names, rows, seed, shrink)


def _reports(
    connection: Connection, plan: Plan, names: Sequence[str], rows: int, seed: int, shrink: bool
) -> Iterator[TableReport]:
    known = _validators(plan.schema)
    for name in names:
        try:
            with connection.transaction(force_rollback=True):
                serialize(connection)
                connection.execute("set local time zone 'UTC'")
                report = _Examination(connection, plan, known, name, rows, seed, shrink).report()
        except psycopg.Error as error:
            raise database_error(error, f"examining the table {name}") from None
        yield report


@lru_cache(maxsize=4)
def _validators(schema: Schema) -> dict[str, Validator]:
    return validators(schema)


def _with_parents(plan: Plan, names: Iterable[str]) -> list[Table]:
    """The tables, and those that they point to, however many steps away."""
    found: dict[str, Table] = {}
    waiting = list(names)
    while waiting:
        table = plan.table(waiting.pop())
        if table.name not in found:
            found[table.name] = table
            waiting += [key.table for key in table.foreign_keys]
    return list(found.values())


def serialize(connection: Connection) -> None:
    """Waits until no other transaction on the database holds rows of an examination."""
    connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])


def require(connection: Connection, schema: Schema, tables: Iterable[Table]) -> None:
    """Raises FindingsError if the schema (V001), a table or a column (V002) is missing."""
    try:
        _require(connection, schema, tables)
    except psycopg.Error as error:
        raise database_error(error, "reading the catalog") from None


def _require(connection: Connection, schema: Schema, tables: Iterable[Table]) -> None:
    fix = "apply the migrations (codered-spec migrate), or check the connection string"
    known = connection.execute("select from pg_namespace where nspname = %s", [schema.name])
    if known.fetchone() is None:
        message = f"the database has no schema {schema.name!r}"
        raise FindingsError(Diagnostic("V001", message, fix, subject="schema"))
    query = (
        "select c.relname, array_agg(a.attname::text) from pg_class c join pg_attribute a"
        " on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        " where c.relnamespace = (select oid from pg_namespace where nspname = %s)"
        " and c.relkind in ('r', 'p') group by 1"
    )
    live: dict[str, list[str]] = dict(connection.execute(query, [schema.name]).fetchall())
    missing = []
    for table in tables:
        if table.name not in live:
            message = "the table is missing in the database"
            missing.append(Diagnostic("V002", message, fix, subject=table.name))
            continue
        missing += [
            Diagnostic(
                "V002",
                "the column is missing in the database",
                fix,
                subject=f"{table.name}.{column.name}",
            )
            for column in table.columns
            if column.name not in live[table.name]
        ]
    if missing:
        raise FindingsError(*missing)


@dataclass(frozen=True, slots=True)
class _Case:
    """A row, and what is to be expected of it: acceptance, or the answer to its fault."""

    column: str | None
    name: str
    row: Row
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class _Complaint:
    """What is wrong with the answer to a row; two rows with equal ``key`` show the same."""

    code: str
    column: str | None
    clause: str | None
    expected: str
    answered: str
    key: tuple[object, ...]


Cases: TypeAlias = "Callable[[Scene, RandomChoices], list[_Case]]"


class _Examination:
    """The examination of one table, inside of its transaction."""

    def __init__(
        self,
        connection: Connection,
        plan: Plan,
        known: dict[str, Validator],
        table: str,
        rows: int,
        seed: int,
        shrink: bool,
    ) -> None:
        self.shrink = shrink
        self.connection = connection
        self.plan = plan
        self.schema = plan.schema
        self.known = known
        self.table = plan.table(table)
        self.rows = rows
        self.seed = seed
        self.findings: dict[tuple[object, ...], Finding] = {}
        self.obstacles: list[Diagnostic] = []
        self.in_the_way = 0
        self.promises: dict[str, dict[str, Any]] = {}
        self.overwritten = self._overwritten()

    def report(self) -> TableReport:
        """Judges the rows of the table and sums up."""
        table = self.table
        clauses: set[str | None] = set()
        counts = {"faults": 0, "neighbours": 0, "random": 0, "acts": 0}
        unknowable = [
            name
            for name, columns in self._clause_columns(table).items()
            if self.overwritten & set(columns) and self._joins(table, name)
        ]
        if unknowable:
            self._obstacle(
                "V012",
                f"a trigger writes a column of {unknowable[0]}, so nobody knows what it answers",
                "test this table in tests of your own",
            )
        else:
            counts["faults"] = self._show("clauses", self._faults(clauses))
            counts["neighbours"] = self._show("clauses", self._neighbours)
            for start in range(0, self.rows, _BATCH):
                count = min(_BATCH, self.rows - start)
                counts["random"] += self._show(f"rows {start}", self._random(count))
            counts["acts"] = self._perform_all()
        if self.in_the_way:
            self._obstacle(
                "V011",
                f"{self.in_the_way} of the rows could not be judged: rows that were in the database"
                " before have their keys",
                "use an empty scratch database",
            )
        wanted = [c.name for c in table.constraints] + [i.name for i in table.indexes if i.unique]
        judged = counts["faults"] > 0
        return TableReport(
            table.name,
            self.seed,
            counts["faults"],
            counts["neighbours"],
            counts["random"],
            counts["acts"],
            self._told(),
            tuple(dict.fromkeys(self.obstacles)),
            tuple(name for name in wanted if name not in clauses or not judged),
        )

    def _obstacle(self, code: str, message: str, fix: str, *, warning: bool = True) -> None:
        self.obstacles.append(
            Diagnostic(code, message, fix, subject=self.table.name, warning=warning)
        )

    def _overwritten(self) -> set[str]:
        """Columns that a trigger of the spec writes before each insert."""
        bodies = {function.name: function.body for function in self.schema.functions}
        found = set()
        for trigger in self.table.triggers:
            body = bodies.get(trigger.function)
            before = trigger.timing is Timing.BEFORE and trigger.each_row
            if before and Event.INSERT in trigger.events and isinstance(body, SetUpdatedAt):
                found.add(body.column)
        return found

    @staticmethod
    def _joins(table: Table, clause: str) -> bool:
        """Whether the clause speaks of more than the values of one column."""
        check = next((check for check in table.checks if check.name == clause), None)
        return check is None or isinstance(check.rule, Ordered)

    @staticmethod
    def _clause_columns(table: Table) -> dict[str, tuple[str, ...]]:
        """The columns of each constraint and unique index."""
        found = {check.name: rule_columns(check.rule) for check in table.checks}
        found |= {
            name: (*columns, *predicate_columns(predicate))
            for name, columns, _, predicate in unique_keys(table)
        }
        return found | {key.name: key.columns for key in table.foreign_keys}

    # ---- the rows ----

    def _faults(self, clauses: set[str | None]) -> Cases:
        def cases(scene: Scene, _: RandomChoices) -> list[_Case]:
            found = [
                fault
                for fault in faults(scene)
                if (fault.column not in self.overwritten or fault.sqlstate[:3] != "235")
                and self._sendable(fault.row)
            ]
            clauses.update(fault.constraint for fault in found)
            return [_Case(f.column, f.name, f.row, f) for f in found]

        return cases

    def _neighbours(self, scene: Scene, _: RandomChoices) -> list[_Case]:
        return [
            _Case(near.column, f"a valid row ({near.name})", near.row)
            for near in neighbours(scene)
            if self._stands(scene, near.row)
        ]

    def _sendable(self, row: Row) -> bool:
        """Whether every value has a text form that the server can be shown."""
        types = {column.name: column.type for column in self.table.columns}
        try:
            for name, value in row.items():
                text_of(types[name], value)
        except Unsendable:
            return False
        return True

    def _stands(self, scene: Scene, row: Row) -> bool:
        """Whether the rows that it points to are in the scene."""
        for key in self.table.foreign_keys:
            wanted = [row[column] for column in key.columns if column in row]
            if len(wanted) < len(key.columns) or None in wanted:
                continue
            parents = scene.world.of(key.table)
            if not any(wanted == [p.get(column) for column in key.referenced] for p in parents):
                return False
        return True

    def _random(self, count: int) -> Cases:
        def cases(scene: Scene, choices: RandomChoices) -> list[_Case]:
            name = self.table.name
            possible = self.plan.omittable(name)
            masks = [frozenset[str](), frozenset(possible)]
            masks += [
                frozenset(c for c in possible if choices.integer(0, 2) == 0)
                for _ in range(_MASKS - len(masks))
            ]
            rows = (scene.world.row(name, omit=choices.pick(masks)) for _ in range(count))
            return [_Case(None, "a random row", row) for row in rows]

        return cases

    def _show(self, label: str, make: Cases) -> int:
        """Makes a scene that stands, judges the rows in it, and returns how many there were.

        Another scene is tried where one cannot be made or does not stand.
        """
        impossible: list[InputError] = []
        clashes = 0
        for attempt in range(_SCENES):
            choices = RandomChoices(f"{self.seed} {self.table.name} {label} {attempt}")
            try:
                scene = Scene(self.plan, self.table.name, choices)
                cases = make(scene, choices)
            except InputError as error:
                impossible.append(error)
                continue
            with self.connection.transaction(force_rollback=True):
                refused = self._stand(scene)
                if refused is None:
                    return self._judge_all(scene, cases)
                clashes += refused
        if len(impossible) == _SCENES:
            reason = impossible[0].diagnostics[0].message
            self._obstacle("V012", f"no rows can be made: {reason}", "widen the key or the check")
        elif clashes:
            self._obstacle(
                "V011",
                "the table cannot be judged: rows that were in the database before have the keys"
                " of the rows to insert",
                "use an empty scratch database, or another --seed",
                warning=False,
            )
        return 0

    def _perform_all(self) -> int:
        """Performs the acts of the table, where no row of its own could be taken for another."""
        choices = RandomChoices(f"{self.seed} {self.table.name} acts")
        try:
            found = list(acts(self.plan, self.table.name, choices))
        except InputError:
            return 0  # no rows can be made, which the rows have said already
        for name in sorted({name for act in found for name, _ in act.before}):
            query = f"select exists (select from {identifier(self.schema.name, name)})"
            if self.connection.execute(query.encode()).fetchone() == (True,):
                self.in_the_way += len(found)
                return 0
        for act in found:
            outcome = perform(self.connection, self.schema, act)
            if outcome is None:
                continue  # a row of it was refused before
            for said in differences(self.schema, act, outcome):
                wanted = " or ".join(sorted(f"{r.sqlstate} {r.by}" for r in act.refusals))
                complaint = _Complaint(
                    "V009",
                    None,
                    act.name.partition(":")[0],
                    wanted or "rows as the spec says",
                    said,
                    ("V009", act.name),
                )
                case = _Case(None, act.name, act.before[act.target][1])
                self._add(None, act.before[act.target][0], case, complaint)
        return len(found)

    # ---- the judgement ----

    def _stand(self, scene: Scene) -> bool | None:
        """Inserts the rows of the scene. None: all stand; else whether an old row was in the way.

        A row that is refused for another reason is a finding.
        """
        for name, row in scene.before:
            try:
                with self.connection.transaction():
                    insert(self.connection, self.schema, [(name, row)])
            except psycopg.Error as error:
                if connection_lost(error) or error.sqlstate in ("25006", "42501"):
                    raise
                if error.sqlstate == "23505" and self._taken(name, error.diag.constraint_name, row):
                    return True
                self._note(scene, name, _Case(None, "a row that others need", row))
                return False
        return None

    def _judge_all(self, scene: Scene, cases: list[_Case]) -> int:
        name = self.table.name
        answers = verdicts(self.connection, self.schema, name, [case.row for case in cases])
        judged = 0
        for case, answer in zip(cases, answers, strict=True):
            if self._hidden(scene, case, answer):
                self.in_the_way += 1
                continue
            judged += 1
            for complaint in self._complaints(name, case, answer):
                self._add(scene, name, case, complaint)
        return judged

    def _note(self, scene: Scene, table: str, case: _Case) -> None:
        """Judges one row alone, where it may be the row of another table."""
        (answer,) = verdicts(self.connection, self.schema, table, [case.row])
        for complaint in self._complaints(table, case, answer):
            self._add(scene, table, case, complaint)

    def _add(self, scene: Scene | None, table: str, case: _Case, complaint: _Complaint) -> None:
        key = (table, *complaint.key)
        known = self.findings.get(key)
        if known is not None:
            self.findings[key] = replace(known, count=known.count + 1)
            return
        row = case.row
        if scene is not None and self.shrink:
            row = self._shrunk(scene, table, case, complaint.key)
        self.findings[key] = Finding(
            complaint.code,
            table,
            complaint.column,
            complaint.clause,
            case.name,
            complaint.expected,
            complaint.answered,
            row,
            self.table.name,
            self.seed,
            self.rows,
        )

    def _complaints(self, table: str, case: _Case, answer: Verdict) -> Iterator[_Complaint]:
        """Everything that is wrong with the answers of Postgres and of the validator."""
        fault = case.fault
        refused = {problem.column for problem in self.known[table].problems(case.row)}
        got = (answer.sqlstate, answer.constraint)
        if fault is not None:
            column = fault.column if fault.sqlstate == "23502" else None
            wanted = _answer(fault.sqlstate, fault.constraint, column)
            if answer.ok or (*got, answer.column) != (fault.sqlstate, fault.constraint, column):
                code = "V006" if answer.ok else "V008"
                key: tuple[object, ...] = (
                    code,
                    fault.column,
                    fault.sqlstate,
                    fault.constraint,
                    *got,
                )
                yield _Complaint(code, fault.column, fault.constraint, wanted, _said(answer), key)
            right = set() if fault.cross_row else {fault.column}
            if refused != right:
                yield self._validator(case, right, refused)
            return
        if refused:
            yield self._validator(case, set(), refused)
        if not answer.ok:
            column = answer.column or self._column_of(table, answer.constraint)
            key = ("V007", *got, answer.column)
            wanted = "the row to be accepted"
            yield _Complaint("V007", column, answer.constraint, wanted, _said(answer), key)
        elif not refused:
            for column, wanted, have in self._differences(table, case.row, answer):
                said = f"{have} was stored"
                yield _Complaint(
                    "V009", column, None, f"{wanted} to be stored", said, ("V009", column)
                )

    def _column_of(self, table: str, clause: str | None) -> str | None:
        """The last column of a constraint or index, by the spec, or else by the database."""
        if clause is None:
            return None
        columns = self._clause_columns(self.plan.table(table)).get(clause)
        if columns:
            return columns[-1]
        query = (
            "select a.attname::text from ("
            "select conkey as keys from pg_constraint"
            " where conrelid = to_regclass(%(table)s) and conname = %(clause)s"
            " union all select indkey::int2[] from pg_index where indrelid = to_regclass(%(table)s)"
            " and indexrelid = (select oid from pg_class where relname = %(clause)s"
            " and relnamespace = (select oid from pg_namespace where nspname = %(schema)s))"
            ") as k join pg_attribute a on a.attrelid = to_regclass(%(table)s)"
            " and a.attnum = any(k.keys)"
            " order by array_position(k.keys, a.attnum) desc limit 1"
        )
        target = identifier(self.schema.name, table)
        names = {"clause": clause, "table": target, "schema": self.schema.name}
        found = self.connection.execute(query, names).fetchone()
        return str(found[0]) if found else None

    def _told(self) -> tuple[Finding, ...]:
        """The findings, without what only repeats another one.

        A rule that refuses valid rows refuses some of those with a fault, too.
        """
        refusals = {(key[0], *key[2:4]) for key in self.findings if key[1] == "V007"}
        return tuple(
            finding
            for key, finding in self.findings.items()
            if key[1] != "V008" or (key[0], *key[-2:]) not in refusals
        )

    @staticmethod
    def _validator(case: _Case, right: set[str], refused: set[str]) -> _Complaint:
        column = min(right ^ refused)
        wanted = f"the validator to refuse {', '.join(sorted(right)) or 'nothing'}"
        said = f"it refuses {', '.join(sorted(refused)) or 'nothing'}"
        clause = case.fault.constraint if case.fault else None
        key = ("V010", column, column in refused)
        return _Complaint("V010", column, clause, wanted, said, key)

    # ---- rows that were there before ----

    def _hidden(self, scene: Scene, case: _Case, answer: Verdict) -> bool:
        """Whether a row that was there before gave the answer, so that it proves nothing."""
        name, row = self.table.name, case.row
        if answer.sqlstate == "23505":
            own = scene.world.clashes(name, row)
            return answer.constraint not in own and self._taken(name, answer.constraint, row)
        if case.fault is not None and case.fault.sqlstate == "23503" and answer.ok:
            for key in self.table.foreign_keys:
                if key.name == case.fault.constraint:
                    pairs = zip(key.columns, key.referenced, strict=True)
                    return self._exists(key.table, {theirs: row[own] for own, theirs in pairs})
        return False

    def _taken(self, table: str, constraint: str | None, row: Row) -> bool:
        """Whether some row in the database has the row's values in the columns of that key."""
        for name, columns, _, predicate in unique_keys(self.plan.table(table)):
            if name == constraint and all(column in row for column in columns):
                where = f" and {predicate_sql(predicate)}" if predicate else ""
                return self._exists(table, {column: row[column] for column in columns}, where)
        return False

    def _exists(self, table: str, values: Row, where: str = "") -> bool:
        vectors = self.schema.extension_schema("vector")
        types = {column.name: column.type for column in self.plan.table(table).columns}
        tests = " and ".join(
            f"{identifier(name)} is not distinct from %s::text::{sql_type(types[name], vectors)}"
            for name in values
        )
        target = identifier(self.schema.name, table).replace("%", "%%")
        query = f"select from {target} where {tests}{where.replace('%', '%%')} limit 1"
        texts = [text_of(types[name], value) for name, value in values.items()]
        found = None
        with suppress(psycopg.DataError, psycopg.ProgrammingError), self.connection.transaction():
            found = self.connection.execute(query.encode(), texts).fetchone()
        return found is not None

    # ---- what was stored ----

    def _differences(self, table: str, row: Row, answer: Verdict) -> Iterator[tuple[str, str, str]]:
        """Column, promised and stored value wherever the two differ."""
        assert answer.stored is not None
        stored: Stored = json.loads(answer.stored, parse_float=Decimal)
        promised = self.known[table].validate(row)
        defaults = self._defaults(table)
        own = table == self.table.name
        for column in self.plan.table(table).columns:
            name = column.name
            have = stored.get(name)
            if own and name in self.overwritten:
                wanted: Any = defaults["now()"]
                same = have is not None and have == wanted
            elif name in promised:
                wanted = promised[name]
                same = kept(column.type, wanted, have)
            elif isinstance(column.default, RandomUuid):
                wanted = "a random UUID"
                same = have is not None and UUID(have).version == 4
            elif isinstance(column.default, Now) and isinstance(column.type, Date):
                wanted = defaults["now()"][:10]
                same = have == wanted
            else:
                wanted = defaults["now()"] if isinstance(column.default, Now) else defaults[name]
                same = have == wanted
            if not same:
                yield name, _shown(wanted), _shown(have)

    def _defaults(self, table: str) -> dict[str, Any]:
        """What the server makes of each constant default of the spec, and of ``now()``."""
        if table not in self.promises:
            found: dict[str, Any] = {}
            columns = self.plan.table(table).columns
            vectors = self.schema.extension_schema("vector")
            constants: list[Column] = [c for c in columns if isinstance(c.default, Literal)]
            parts = ["to_jsonb(now())::text"]
            for column in constants:
                assert column.default is not None
                text = default_sql(column.default, column)
                parts.append(f"to_jsonb(({text})::{sql_type(column.type, vectors)})::text")
            query = f"select {', '.join(parts)}"
            answer = self.connection.execute(query.encode()).fetchone()
            assert answer is not None
            texts = [json.loads(text, parse_float=Decimal) for text in answer]
            found = {column.name: None for column in columns}
            found |= dict(zip(("now()", *(c.name for c in constants)), texts, strict=True))
            self.promises[table] = found
        return self.promises[table]

    # ---- smaller rows ----

    def _shrunk(self, scene: Scene, table: str, case: _Case, key: tuple[object, ...]) -> Row:
        """The smallest row found that is as good or as bad by the spec and shows the same."""
        return _Shrinker(
            self.plan,
            scene,
            table,
            case,
            lambda row: key in self._keys(table, replace(case, row=row)),
        ).smallest()

    def _keys(self, table: str, case: _Case) -> set[tuple[object, ...]]:
        (answer,) = verdicts(self.connection, self.schema, table, [case.row])
        return {complaint.key for complaint in self._complaints(table, case, answer)}


class _Shrinker:
    """Makes a row smaller, column by column, as long as it ``shows`` the same.

    Changes keep to what the spec allows: a valid row stays valid, and a row with one fault keeps
    this one alone, because the columns of the fault stay as they are.
    """

    def __init__(
        self, plan: Plan, scene: Scene, table: str, case: _Case, shows: Callable[[Row], bool]
    ) -> None:
        self.plan = plan
        self.scene = scene
        self.table = plan.table(table)
        self.domains = plan.domains[table]
        self.case = case
        self.shows = shows
        self.tries = _TRIES
        self.row = dict(case.row)
        self.omittable = set(plan.omittable(table))
        self.bound = {c for key in self.table.foreign_keys for c in key.columns}
        self.locked: set[str] = set()
        if case.fault is not None:
            before = scene.row
            self.locked = {n for n in before if n not in self.row or self.row[n] is not before[n]}
            self.locked |= {case.fault.column}
            clauses = _Examination._clause_columns(self.table)
            self.locked |= set(clauses.get(str(case.fault.constraint), ()))

    def smallest(self) -> Row:
        """The smallest row, its columns in the order of the table."""
        for column in self.table.columns:
            if column.name in self.row and column.name not in self.locked:
                self._simplify(column)
        return self.row

    def _simplify(self, column: Column) -> None:
        name = column.name
        free = name not in self.bound
        if name in self.omittable and (free or column.default is None):
            rest = {key: value for key, value in self.row.items() if key != name}
            if self._accepted(rest):
                return
        value = self.row[name]
        if value is None:
            return
        if column.nullable and self._accepted({**self.row, name: None}):
            return
        if not free:
            return
        for edge in self.domains[name].edges:
            if repr(edge) == repr(value):
                break
            if self._accepted({**self.row, name: edge}):
                break
        again = True
        while again:  # each round takes away what it can
            again = any(
                self._accepted({**self.row, name: smaller}) for smaller in _smaller(self.row[name])
            )

    def _accepted(self, row: Row) -> bool:
        """Takes the row if it is sound and still shows the finding."""
        if self.tries <= 0 or not self._sound(row):
            return False
        self.tries -= 1
        if not self.shows(row):
            return False
        self.row = row
        return True

    def _sound(self, row: Row) -> bool:
        changed = {name for name, value in row.items() if value is not self.row[name]}
        if not all(row[name] is None or self.domains[name].admits(row[name]) for name in changed):
            return False
        for check in self.table.checks:
            rule = check.rule
            if not isinstance(rule, Ordered) or {rule.lower, rule.upper} <= self.locked:
                continue
            low, high = row.get(rule.lower), row.get(rule.upper)
            if low is not None and high is not None:
                try:
                    if not (low < high or (low == high and not rule.strict)):
                        return False
                except TypeError:  # the fault is a value of another kind
                    return False
        name = self.table.name
        try:
            return set(self.scene.world.clashes(name, row)) <= set(
                self.scene.world.clashes(name, self.row)
            )
        except (ArithmeticError, TypeError, ValueError):  # a value of another kind in a key
            return row.keys() <= self.row.keys()


def _smaller(value: Any) -> Iterator[Any]:
    """Values of the same kind with less in them, the smallest first."""
    if isinstance(value, (str, list)):
        size = len(value)
        while size:
            for start in range(0, len(value), size):
                yield _without(value, start, start + size)
            size //= 2
    elif type(value) is int and value:
        yield from dict.fromkeys((0, abs(value) // 2 * (1 if value > 0 else -1)))


def _without(value: str | list[Any], start: int, end: int) -> str | list[Any]:
    """The value without what is between the two positions."""
    return value[:start] + value[end:] if isinstance(value, str) else [*value[:start], *value[end:]]


# ---- words and comparisons --------------------------------------------------------------------


def _answer(sqlstate: str | None, clause: str | None, column: str | None) -> str:
    return " ".join(filter(None, (sqlstate, clause, column and f"for {column}")))


def _said(answer: Verdict) -> str:
    if answer.ok:
        return "Postgres accepted it"
    words = " ".join((answer.message or "").split())
    words = words if len(words) <= _LONG else words[:_LONG] + "…"
    said = json.dumps(words)[1:-1].replace('\\"', '"')
    code = _answer(answer.sqlstate, answer.constraint, answer.column)
    return f"Postgres said {code}: {said}" if code else f"it was not stored: {said}"


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, array):
        value = value.tolist()
    return json.dumps(_plain(value, _LONG))
