"""Which mutants of access and of rollups are noticed: by the catalog, and by behaviour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

import psycopg

from codered_spec.connection import Connection, connect
from codered_spec.contract.access import AccessExam
from codered_spec.contract.mutation.access import access_mutants
from codered_spec.contract.mutation.access_rules import access_equivalence
from codered_spec.contract.mutation.operators import Mutant
from codered_spec.contract.mutation.rollups import rollup_equivalence, rollup_mutants
from codered_spec.contract.mutation.score import Fate
from codered_spec.contract.rollups import RollupExam
from codered_spec.migrate.diff import diff
from codered_spec.model.schema import Schema
from codered_spec.sources.database.reader import read_catalog

_PER_CONNECTION: Final = 50
"""As with other mutants: a backend grows with every object that is gone."""
PLACES: Final = {
    "access": (access_mutants, access_equivalence),
    "rollups": (rollup_mutants, rollup_equivalence),
}
"""The mutants of each place, and the rules by which some of them are equivalent."""


class GuardJudge:
    """Decides the fate of mutants on a scratch database with the schema, as a superuser.

    ``place`` is ``access``, which leaves rows in the database, or ``rollups``.
    """

    def __init__(self, connection: Connection, schema: Schema, place: str) -> None:
        self.connection = connection
        self.schema = schema
        self.place = place
        self.access = AccessExam(connection, schema) if place == "access" else None
        sources = sorted({rollup.source for rollup in schema.rollups})
        self.rollups = [RollupExam(schema, name) for name in sources if place == "rollups"]
        holes = list(self._holes(None))
        if holes:
            raise AssertionError("the schema itself fails: " + "; ".join(holes[:5]))

    def fate(self, mutant: Mutant) -> Fate:
        """What becomes of one mutant."""
        rule = PLACES[self.place][1](self.schema, mutant)
        with self.connection.transaction(force_rollback=True):
            try:
                with self.connection.transaction():
                    self.connection.execute(mutant.sql.encode())
            except psycopg.Error as exc:
                return Fate(self.place, mutant.operator, str(mutant), str(exc).splitlines()[0])
            live = read_catalog(self.connection, self.schema.name)
            noticed = any(self._holes(mutant.table))
            if not noticed and rule is None:
                noticed = any(self._holes(None))
            return Fate(
                self.place,
                mutant.operator,
                str(mutant),
                verify=bool(diff(self.schema, live)),
                contract=noticed,
                equivalence=rule.name if rule else None,
            )

    def _holes(self, subject: str | None) -> Iterator[str]:
        if self.access is not None:
            yield from self.access.holes(self.connection, None if subject is None else [subject])
        for exam in self.rollups:
            yield from exam.holes(self.connection)


def guarded_fates(dsns: Sequence[str], schema: Schema, place: str, *, every: int = 1) -> list[Fate]:
    """The fates of every ``every``-th mutant of a place and the first of each operator.

    Each DSN is a scratch database with the schema, of a superuser, for one process of its own.
    """
    wanted = list(guarded(schema, place, every))
    jobs = [(dsn, schema, place, wanted[start :: len(dsns)]) for start, dsn in enumerate(dsns)]
    with ProcessPoolExecutor(len(dsns), mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_share, jobs))
    found = {number: fate for part in parts for number, fate in part}
    return [found[number] for number in wanted]


def guarded(schema: Schema, place: str, every: int) -> Iterator[int]:
    """Numbers of every ``every``-th mutant of a place, and of the first of each operator."""
    seen: set[str] = set()
    for number, mutant in enumerate(PLACES[place][0](schema)):
        if number % every == 0 or mutant.operator not in seen:
            seen.add(mutant.operator)
            yield number


def _share(job: tuple[str, Schema, str, list[int]]) -> list[tuple[int, Fate]]:
    dsn, schema, place, numbers = job
    everything = list(PLACES[place][0](schema))
    found: list[tuple[int, Fate]] = []
    judge: GuardJudge | None = None
    for start in range(0, len(numbers), _PER_CONNECTION):
        with connect(dsn) as connection:
            judge = judge or GuardJudge(connection, schema, place)
            judge.connection = connection
            some = numbers[start : start + _PER_CONNECTION]
            found += [(number, judge.fate(everything[number])) for number in some]
    return found
