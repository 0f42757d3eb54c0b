"""Hypothesis strategies of valid and invalid rows, for any schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from codered_spec.contract.choices import DrawnChoices
from codered_spec.contract.faults import Fault, Scene, faults
from codered_spec.contract.rules import Row
from codered_spec.contract.world import Plan, World
from codered_spec.model.schema import Schema

DEFAULT_SPEC: Final = "schema.yaml"


@dataclass(frozen=True, slots=True)
class Valid:
    """A valid row of a table, after the rows that must stand before it."""

    table: str
    before: tuple[tuple[str, Row], ...]
    row: Row

    @property
    def rows(self) -> tuple[tuple[str, Row], ...]:
        """All rows with their tables, in the order in which they can be inserted."""
        return (*self.before, (self.table, self.row))


@dataclass(frozen=True, slots=True)
class Invalid:
    """A row with exactly one fault, after the rows that must stand before it."""

    before: tuple[tuple[str, Row], ...]
    fault: Fault


@lru_cache(maxsize=8)
def _plan_of_file(path: str, _changed: int) -> Plan:
    from codered_spec import load_spec

    return Plan(load_spec(path))


_PLANS: dict[int, tuple[Schema, Plan]] = {}


def plan(spec: Schema | str | Path | None = None) -> Plan:
    """What the generators know of a schema, of a spec file, or of ``schema.yaml`` right here."""
    if isinstance(spec, Schema):
        known = _PLANS.get(id(spec))
        if known is None or known[0] is not spec:
            known = _PLANS[id(spec)] = (spec, Plan(spec))
        return known[1]
    path = Path(spec or DEFAULT_SPEC).resolve()
    return _plan_of_file(str(path), path.stat().st_mtime_ns if path.exists() else 0)


def rows(table: str, spec: Schema | str | Path | None = None) -> SearchStrategy[Valid]:
    """Valid rows of the table, each with the parents that it needs.

    Edges of the domains are favoured: limits, odd texts, extreme dates, empty arrays, NULLs and
    omitted defaults. Shrinks towards few parents and simple values.
    """
    known = plan(spec)
    known.table(table)
    return _valid(known, table)


def connected_rows(
    table: str, spec: Schema | str | Path | None = None
) -> SearchStrategy[tuple[tuple[str, Row], ...]]:
    """The same as a plain sequence of table and row, parents first."""
    return rows(table, spec).map(lambda valid: valid.rows)


def invalid_rows(table: str, spec: Schema | str | Path | None = None) -> SearchStrategy[Invalid]:
    """Rows with exactly one named fault, and the SQLSTATE and constraint that must answer it."""
    known = plan(spec)
    known.table(table)
    return _invalid(known, table)


def _decisions(draw: DrawFn) -> DrawnChoices:
    source: Callable[[SearchStrategy[Any]], Any] = draw
    return DrawnChoices(source)


@st.composite
def _valid(draw: DrawFn, known: Plan, table: str) -> Valid:
    choices = _decisions(draw)
    world = World(known, choices)
    omittable = known.omittable(table)
    omit = {name for name in omittable if choices.integer(0, 3) == 3}
    row = world.row(table, omit=omit)
    return Valid(table, tuple(world.rows), row)


@st.composite
def _invalid(draw: DrawFn, known: Plan, table: str) -> Invalid:
    choices = _decisions(draw)
    scene = Scene(known, table, choices)
    found = choices.pick(list(faults(scene)))
    return Invalid(tuple(scene.before), found)
