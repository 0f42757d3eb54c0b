"""Which mutants of the validators are noticed when their verdicts are held against Postgres."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from multiprocessing import get_context
from types import CodeType
from typing import Any
from uuid import UUID

from codered_spec.compiler import validators
from codered_spec.connection import Connection, connect
from codered_spec.contract.choices import RandomChoices
from codered_spec.contract.faults import Scene, faults, neighbours
from codered_spec.contract.mutation.exam import Exam
from codered_spec.contract.mutation.source import source_mutants
from codered_spec.contract.nasty import NASTY
from codered_spec.contract.rules import Row
from codered_spec.contract.stored import kept
from codered_spec.contract.verdicts import Verdict, insert, verdicts
from codered_spec.contract.world import Plan
from codered_spec.emit.validators import emit_validators
from codered_spec.model.schema import Schema, Table
from codered_spec.validation import Validator


@dataclass(frozen=True, slots=True)
class Item:
    """A row, the columns that a validator must refuse, and what Postgres stores where it accepts.

    ``refused`` with a stored row is a documented place where the validator is stricter: it may
    accept the row, but then must promise what is stored.
    """

    row: Row
    refused: frozenset[str]
    stored: dict[str, Any] | None
    partial: bool = False


class Differential:
    """The differential test of one table's validator, on rows that Postgres has judged once."""

    def __init__(self, connection: Connection, plan: Plan, name: str) -> None:
        self.table: Table = plan.table(name)
        right = validators(replace(plan.schema, tables=(self.table,)))[name]
        scene = Scene(plan, name, RandomChoices(name))
        rows = [fault.row for fault in faults(scene)]
        rows += [near.row for near in neighbours(scene)]
        rows += Exam(plan, name).valid
        rows += [
            {**row, name: form}
            for row in rows[:]
            for name, value in row.items()
            if scene.row.get(name) is not value
            for form in _other_forms(value)
        ]
        rows += [{**scene.row, n: f} for n, v in scene.row.items() for f in _other_forms(v)]
        rows += [{**scene.row, c.name: value} for c in self.table.columns for value in NASTY]
        with connection.transaction(force_rollback=True):
            insert(connection, plan.schema, scene.before)
            answers = verdicts(connection, plan.schema, name, rows)
        self.items = [self._item(right, *pair) for pair in zip(rows, answers, strict=True)]
        self.items += self._partial(scene.row)
        self.items.append(Item({**scene.row, "mutant": 1}, frozenset({"mutant"}), None))
        wrong = [item for item in self.items if self._notices(right, item)]
        if wrong:
            raise AssertionError(f"the validator of {name} is wrong about {wrong[0].row}")

    @staticmethod
    def _item(right: Validator, row: Row, answer: Verdict) -> Item:
        stored = json.loads(answer.stored, parse_float=Decimal) if answer.stored else None
        return Item(row, frozenset(p.column for p in right.problems(row)), stored)

    def _partial(self, row: Row) -> list[Item]:
        """Rows of one column, as for an UPDATE, good and NULL."""
        found = [Item({name: value}, frozenset(), None, True) for name, value in row.items()]
        for column in self.table.columns:
            refused = frozenset() if column.nullable else frozenset({column.name})
            found.append(Item({column.name: None}, refused, None, True))
        return found

    def kills(self, code: CodeType) -> bool:
        """Whether a compiled validator module says something else than Postgres."""
        namespace: dict[str, Any] = {}
        try:
            exec(code, namespace)
            validator: Validator = namespace["TABLES"][self.table.name]
        except Exception:  # noqa: BLE001 -- a mutant may raise anything
            return True
        return any(self._notices(validator, item) for item in self.items)

    def _notices(self, validator: Validator, item: Item) -> bool:
        try:
            refused = frozenset(
                p.column for p in validator.problems(item.row, for_update=item.partial)
            )
            if not item.partial and validator.ok(item.row) is bool(refused):
                return True  # verdict and explanation disagree
            if refused and (refused != item.refused):
                return True
            if refused:
                return False
            if item.refused and item.stored is None:
                return True
            promised = validator.validate(item.row, for_update=item.partial)
        except Exception:  # noqa: BLE001 -- a mutant may raise anything
            return True
        if item.stored is None:
            return False
        return promised.keys() != item.row.keys() or not all(
            kept(column.type, promised[column.name], item.stored[column.name])
            for column in self.table.columns
            if column.name in promised
        )


def _other_forms(value: Any) -> list[Any]:
    """Other Python values that name the same thing."""
    match value:
        case Decimal() if value.is_finite():
            whole = [int(value)] if value == value.to_integral_value() else []
            return [float(value), format(value, "f"), *whole]
        case datetime() if value.tzinfo is not None:
            return [value.isoformat(), value.astimezone(timezone(timedelta(hours=2))).isoformat()]
        case date() | UUID():
            return [str(value)]
        case _:
            return []


@dataclass(frozen=True, slots=True)
class SourceFate:
    """Whether the differential test noticed a mutant of a table's validator, and must not."""

    table: str
    operator: str
    mutant: str
    noticed: bool
    equivalence: str | None


def source_fates(dsns: Sequence[str], schema: Schema, every: int = 1) -> list[SourceFate]:
    """The fates of every ``every``-th mutant of each table's validator; see ``score.fates``."""
    count = len(dsns)
    names = [table.name for table in schema.tables]
    jobs = [(dsn, schema, names[part::count], every) for part, dsn in enumerate(dsns)]
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_share, jobs))
    found = [fate for part in parts for fate in part]
    return sorted(found, key=lambda fate: names.index(fate.table))


def _share(job: tuple[str, Schema, list[str], int]) -> list[SourceFate]:
    dsn, schema, names, every = job
    plan = Plan(schema)
    found: list[SourceFate] = []
    for name in names:
        with connect(dsn) as connection:
            test = Differential(connection, plan, name)
        (file,) = emit_validators(replace(schema, tables=(test.table,)), "generated")
        found += [
            SourceFate(
                name,
                mutant.operator,
                f"{name}: {mutant}",
                test.kills(mutant.code),
                mutant.equivalence,
            )
            for mutant in source_mutants(file.text, every)
        ]
    return found
