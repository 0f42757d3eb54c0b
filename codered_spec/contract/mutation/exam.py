"""What a server answers to the clause-wise rows and acts of a table, in a form to compare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias
from uuid import UUID

import psycopg

from codered_spec.connection import Connection
from codered_spec.contract.acts import acts, perform
from codered_spec.contract.choices import RandomChoices
from codered_spec.contract.faults import Scene, faults, neighbours
from codered_spec.contract.rules import Row
from codered_spec.contract.verdicts import Verdict, insert, verdicts
from codered_spec.contract.world import Plan
from codered_spec.model.schema import Now, RandomUuid, Table

Answer: TypeAlias = tuple[object, ...]
"""Verdict, SQLSTATE, constraint, column and stored row; or the outcome of an act."""

VALID_ROWS: Final = 100
"""Random valid rows of a table, for the score that they reach alone."""
_MASKS: Final = 4


class Exam:
    """The questions to a table, made once: the same for the schema and for each of its mutants."""

    def __init__(self, plan: Plan, name: str) -> None:
        self.plan = plan
        self.table: Table = plan.table(name)
        self.scene = Scene(plan, name, RandomChoices(name))
        found = [fault.row for fault in faults(self.scene)]
        found += [near.row for near in neighbours(self.scene)]
        groups: dict[frozenset[str], list[Row]] = {}
        for row in found:
            groups.setdefault(frozenset(row), []).append(row)
        self.groups = list(groups.values())
        self.acts = list(acts(plan, name, RandomChoices(f"acts of {name}")))
        self.valid_scene = Scene(plan, name, RandomChoices(f"valid {name}"))
        self.valid = self._valid_rows()

    def _valid_rows(self) -> list[Row]:
        choices = RandomChoices(f"masks of {self.table.name}")
        possible = self.plan.omittable(self.table.name)
        masks = [
            frozenset(c for c in possible if choices.integer(0, 2) == 0) for _ in range(_MASKS)
        ]
        world = self.valid_scene.world
        return [world.row(self.table.name, omit=choices.pick(masks)) for _ in range(VALID_ROWS)]

    def answers(self, connection: Connection) -> Iterator[Answer]:
        """The answers to all questions, in pieces: whoever compares can stop at the first."""
        schema, name = self.plan.schema, self.table.name
        with connection.transaction(force_rollback=True):
            refusal = self._stand(connection, self.scene)
            if refusal is not None:
                yield refusal
                return
            for group in self.groups:
                found = verdicts(connection, schema, name, group)
                yield self._comparable(connection, group, found)
        for act in self.acts:
            yield ("act", perform(connection, schema, act))

    def answers_to_valid_rows(self, connection: Connection) -> Iterator[Answer]:
        """The answers to the random valid rows alone."""
        with connection.transaction(force_rollback=True):
            refusal = self._stand(connection, self.valid_scene)
            if refusal is not None:
                yield refusal
                return
            found = verdicts(connection, self.plan.schema, self.table.name, self.valid)
            yield self._comparable(connection, self.valid, found)

    def _stand(self, connection: Connection, scene: Scene) -> Answer | None:
        try:
            with connection.transaction():
                insert(connection, self.plan.schema, scene.before)
        except psycopg.errors.Error as exc:
            return ("scene", exc.sqlstate, exc.diag.constraint_name, exc.diag.column_name)
        return None

    def _comparable(self, connection: Connection, rows: list[Row], found: list[Verdict]) -> Answer:
        connection.execute("set local time zone 'UTC'")
        [[now]] = connection.execute("select to_jsonb(now())::text").fetchall()
        return tuple(
            (v.ok, v.sqlstate, v.constraint, v.column, self._stored(row, v.stored, str(now)))
            for row, v in zip(rows, found, strict=True)
        )

    def _stored(self, row: Row, stored: str | None, now: str) -> str | None:
        """The stored row without what differs from run to run: the time, and random UUIDs."""
        if stored is None or len(row) == len(self.table.columns):
            return stored
        values: dict[str, Any] = json.loads(stored)
        for column in self.table.columns:
            value = values.get(column.name)
            if column.name in row or not isinstance(value, str):
                continue
            if isinstance(column.default, Now) and json.dumps(value) == now:
                values[column.name] = "now()"
            elif isinstance(column.default, RandomUuid) and _is_random(value):
                values[column.name] = "gen_random_uuid()"
        return json.dumps(values)


def _is_random(text: str) -> bool:
    return re.fullmatch("[0-9a-f-]{36}", text) is not None and UUID(text).version == 4
