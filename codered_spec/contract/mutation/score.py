"""Which mutants of a schema are noticed: by the comparison of catalogs, and by rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

import psycopg

from codered_spec.connection import Connection, connect
from codered_spec.contract.examine import examine
from codered_spec.contract.mutation.equivalents import equivalence
from codered_spec.contract.mutation.exam import Answer, Exam
from codered_spec.contract.mutation.operators import Mutant, mutants
from codered_spec.contract.world import Plan
from codered_spec.errors import CoderedError
from codered_spec.migrate.diff import diff
from codered_spec.model.check import check, errors
from codered_spec.model.schema import Schema
from codered_spec.sources.database.reader import read_catalog, read_database


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant in the ``database`` (or its access, or rollups), or in the ``spec``.

    ``stillborn`` is why it cannot exist, in the words of Postgres or of the checks of a spec.
    ``verify`` says whether the comparison with the catalog noticed it, ``contract`` whether the
    clause-wise rows and acts did, ``valid_rows`` whether random valid rows alone did.
    ``equivalence`` names the rule by which no row can notice it.
    """

    place: str
    operator: str
    mutant: str
    stillborn: str | None = None
    verify: bool = False
    contract: bool = False
    valid_rows: bool = False
    equivalence: str | None = None

    @property
    def sound(self) -> bool:
        """Whether the mutant was noticed as it must be.

        One in the database: by rows exactly if no rule excludes it. One in the spec: by the
        comparison alone, as the rows come from the spec and cannot know what it no longer says.
        """
        if self.stillborn is not None:
            return True
        if self.place == "spec":
            return self.verify
        return self.verify and self.contract is (self.equivalence is None)


class Judge:
    """Decides the fate of mutants on a database that has the schema, and no row."""

    def __init__(self, connection: Connection, schema: Schema) -> None:
        self.connection = connection
        self.schema = schema
        self.plan = Plan(schema)
        self.live = read_database(connection, schema.name)
        self._exams: dict[str, tuple[Exam, list[Answer], list[Answer]]] = {}

    def exam(self, table: str) -> tuple[Exam, list[Answer], list[Answer]]:
        """The exam of a table, and the answers of the unchanged schema: to all, to valid rows."""
        if table not in self._exams:
            exam = Exam(self.plan, table)
            right = list(exam.answers(self.connection))
            if right != list(exam.answers(self.connection)):
                raise AssertionError(f"the answers of {table} differ from run to run")
            valid = list(exam.answers_to_valid_rows(self.connection))
            self._exams[table] = exam, right, valid
        return self._exams[table]

    def in_database(self, mutant: Mutant) -> Fate:
        """The fate of a mutant that exists in the database only."""
        exams = [self.exam(name) for name in self._touched(mutant)]
        rule = equivalence(self.schema, mutant)
        with self.connection.transaction(force_rollback=True):
            try:
                with self.connection.transaction():
                    self.connection.execute(mutant.sql.encode())
            except psycopg.Error as exc:
                return Fate("database", mutant.operator, str(mutant), str(exc).splitlines()[0])
            return Fate(
                "database",
                mutant.operator,
                str(mutant),
                verify=bool(diff(self.schema, read_catalog(self.connection, self.schema.name))),
                contract=any(
                    answer != right
                    for exam, answers, _ in exams
                    for answer, right in zip(exam.answers(self.connection), answers, strict=False)
                ),
                valid_rows=any(
                    answer != right
                    for exam, _, answers in exams
                    for answer, right in zip(
                        exam.answers_to_valid_rows(self.connection), answers, strict=False
                    )
                ),
                equivalence=rule.name if rule else None,
            )

    def in_spec(self, mutant: Mutant) -> Fate:
        """The fate of a mutant that exists in the spec only: the database is the original."""
        assert mutant.schema is not None
        rule = equivalence(self.schema, mutant)
        refused = errors(check(mutant.schema))
        if refused:
            return Fate("spec", mutant.operator, str(mutant), f"refused with {refused[0].code}")
        return Fate(
            "spec",
            mutant.operator,
            str(mutant),
            verify=bool(diff(mutant.schema, self.live)),
            contract=self._found(mutant.schema, self._touched(mutant)),
            equivalence=rule.name if rule else None,
        )

    def _found(self, schema: Schema, tables: Iterable[str]) -> bool:
        try:
            reports = examine(self.connection, schema, tables, rows=0, shrink=False)
            return not all(report.ok for report in reports)
        except CoderedError:
            return True  # the rows of the mutant cannot even be made to stand

    def _touched(self, mutant: Mutant) -> list[str]:
        if mutant.schema is None:
            return [mutant.table]
        pairs = zip(self.schema.tables, mutant.schema.tables, strict=True)
        return [old.name for old, new in pairs if old != new]


def fates(
    dsns: Sequence[str], schema: Schema, *, every: int = 1, place: str = "database"
) -> list[Fate]:
    """The fates of every ``every``-th mutant, in the order of the mutants.

    Each DSN is a database with the schema and without rows, for one process of its own; ``place``
    is ``database`` or ``spec``.
    """
    wanted = list(chosen(schema, every, place))
    shares: list[list[int]] = [[] for _ in dsns]
    for table in schema.tables:  # whole tables, so that each exam is made once
        own = [number for number, mutant in wanted if mutant.table == table.name]
        min(shares, key=len).extend(own)
    jobs = [(dsn, schema, place, share) for dsn, share in zip(dsns, shares, strict=True)]
    with ProcessPoolExecutor(len(dsns), mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_share, jobs))
    found = {number: fate for part in parts for number, fate in part}
    return [found[number] for number, _ in wanted]


def _share(job: tuple[str, Schema, str, list[int]]) -> list[tuple[int, Fate]]:
    dsn, schema, place, numbers = job
    every = list(mutants(schema))
    found: list[tuple[int, Fate]] = []
    judge: Judge | None = None
    for start in range(0, len(numbers), _PER_CONNECTION):
        with connect(dsn) as connection:
            judge = judge or Judge(connection, schema)
            judge.connection = connection
            decide = judge.in_spec if place == "spec" else judge.in_database
            found += [(n, decide(every[n])) for n in numbers[start : start + _PER_CONNECTION]]
    return found


_PER_CONNECTION: Final = 25
"""A backend never frees what it keeps of a function or table that is gone: it grows, and slows."""


def chosen(schema: Schema, every: int, place: str) -> Iterator[tuple[int, Mutant]]:
    """Every ``every``-th mutant of the place, and the first of each operator."""
    seen: set[str] = set()
    for number, mutant in enumerate(mutants(schema)):
        if place == "spec" and mutant.schema is None:
            continue
        if number % every == 0 or mutant.operator not in seen:
            seen.add(mutant.operator)
            yield number, mutant
