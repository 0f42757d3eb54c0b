"""The pgTAP files of a schema, with rows that the database must accept and rows it must refuse.

No choice is left to chance, so that a file is the same on every machine, and legible.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

from codered_spec.contract.faults import Fault, Scene, faults
from codered_spec.contract.rules import FIRST_INSTANT, LAST_INSTANT, MICROSECOND, Row
from codered_spec.contract.verdicts import text_of
from codered_spec.contract.world import Plan, unique_keys
from codered_spec.emit.expressions import sql_type
from codered_spec.emit.file import File
from codered_spec.emit.pgtap import ACCEPTED, FOLDER, Example, Examples, emit_pgtap
from codered_spec.errors import Diagnostic, InputError
from codered_spec.model.schema import Event, Schema, Table
from codered_spec.model.types import INTEGRAL, TEXTUAL, Boolean, Numeric
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier, literal

T = TypeVar("T")

_LONG: Final = 2000
"""Characters of a statement that are better avoided."""
_IDS: Final = (0, 2**128 - 1)
_FIRST_ID: Final = UUID("c0de5bec-0000-4000-8000-000000000000")
_NEW_YEAR: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MIDDLES: Final = {
    (0, (LAST_INSTANT - FIRST_INSTANT) // MICROSECOND): (_NEW_YEAR - FIRST_INSTANT) // MICROSECOND,
    (1, date.max.toordinal()): _NEW_YEAR.toordinal(),
}
_RUN: Final = re.compile(r"(.{1,8}?)\1{19,}", re.DOTALL)


def pgtap_files(schema: Schema, folder: str = FOLDER) -> tuple[File, ...]:
    """The pgTAP files of the schema, with rows to try."""
    return emit_pgtap(schema, examples(schema), folder)


def examples(schema: Schema) -> dict[str, Examples]:
    """For each table a valid row, and for each of its constraints a row that breaks it alone.

    A table is left out whose rows pass through triggers before the constraints see them, or of
    which no three rows are known: a key has too few values, or the rules of a column too many.
    """
    plan = Plan(schema)
    found: dict[str, Examples] = {}
    for table in schema.tables:
        try:
            scene = Scene(plan, table.name, PlainChoices())
        except InputError:
            continue
        if not any(_changed(plan.tables[name]) for name in (*dict(scene.before), table.name)):
            found[table.name] = _examples(schema, scene)
    return found


class PlainChoices:
    """Legible values: the first option, zero, the year 2000; ids and free text that are counted.

    Nothing of it is likely to be a key of a row that somebody else has put into the database.
    """

    def __init__(self) -> None:
        self._ids = self._texts = 0

    def pick(self, options: Sequence[T]) -> T:
        """The first of the options."""
        if not options:
            raise InputError(Diagnostic("M008", "no value is known that the rules allow", ""))
        return options[0]

    def integer(self, low: int, high: int) -> int:
        """The next id, an instant of the year 2000, or the number that is nearest to zero."""
        if (low, high) == (0, 1):
            return 1  # a random value rather than one at an edge
        if (low, high) == _IDS:
            self._ids += 1
            return _FIRST_ID.int + self._ids
        return _MIDDLES.get((low, high), max(low, min(0, high)))

    def text(self, most: int) -> str:
        """A text that no other call returns, if so many characters are enough for one."""
        self._texts += 1
        return f"pgtap{self._texts}"[:most]


def _changed(table: Table) -> bool:
    """Whether a trigger of the schema's own sees a row that is inserted."""
    return any(Event.INSERT in trigger.events for trigger in table.triggers)


def _examples(schema: Schema, scene: Scene) -> Examples:
    table = scene.table
    found = [Example(f"{table.name} takes a good row", _insert(schema, table, scene.row), ACCEPTED)]
    # text of a megabyte needs a moment each: a shorter fault of the same constraint will do
    best: dict[str, tuple[tuple[bool, bool, str], Example]] = {}
    for fault in faults(scene):
        if fault.constraint is None:
            continue
        if fault.constraint in best and best[fault.constraint][0] <= (False, False, fault.name):
            continue
        statement = _insert(schema, table, fault.row)
        rank = (len(statement) > _LONG, "E'" in statement, fault.name)
        if fault.constraint not in best or rank < best[fault.constraint][0]:
            best[fault.constraint] = rank, _refusal(table, fault, statement)
    names = [c.name for c in table.constraints]
    names += [name for name, *_ in unique_keys(table) if name not in names]
    found += [best[name][1] for name in names if name in best]
    before = tuple(_insert(schema, scene.plan.tables[name], row) for name, row in scene.before)
    return Examples(before, tuple(found))


def _refusal(table: Table, fault: Fault, statement: str) -> Example:
    name = (
        fault.name if str(fault.constraint) in fault.name else f"{fault.constraint}: {fault.name}"
    )
    says = f"{table.name} refuses {name}"
    return Example(says, statement, f"{fault.sqlstate} {fault.constraint}")


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _insert(schema: Schema, table: Table, row: Row) -> str:
    target = identifier(schema.name, table.name)
    present = [column for column in table.columns if column.name in row]
    if not present:
        return f"insert into {target} default values"
    vectors = schema.extension_schema("vector")
    names = column_list(tuple(column.name for column in present))
    values = ", ".join(_value(column.type, row[column.name], vectors) for column in present)
    return f"insert into {target}\n  {names}\nvalues\n  ({values})"


def _value(type_: Any, value: Any, vectors: str | None) -> str:
    text = text_of(type_, value)
    if text is None:
        return "null"
    if isinstance(type_, (*INTEGRAL, Boolean)) or (
        isinstance(type_, Numeric) and Decimal(value).is_finite()
    ):
        return format(Decimal(text), "f") if isinstance(type_, Numeric) else text
    # without length or precision: those are for the column to judge
    cast = re.sub(r"\([0-9,]*\)", "", sql_type(type_, vectors))
    return _text(text) if isinstance(type_, TEXTUAL) else f"{_text(text)}::{cast}"


def _text(text: str) -> str:
    """A constant, or an expression that repeats what a long text repeats."""
    if len(text) <= 100 or not _RUN.search(text):
        return _constant(text)
    parts: list[str] = []
    end = 0
    for match in _RUN.finditer(text):
        if match.start() > end:
            parts.append(_constant(text[end : match.start()]))
        unit = match.group(1)
        parts.append(f"repeat({_constant(unit)}, {len(match.group()) // len(unit)})")
        end = match.end()
    if end < len(text):
        parts.append(_constant(text[end:]))
    return f"({' || '.join(parts)})"


def _constant(text: str) -> str:
    """A string constant in which nothing is invisible."""
    if _plain(text):
        return literal(text)
    marked = text.replace("\\", "\\\\").replace("'", "''")
    return "E'" + "".join(c if " " <= c <= "~" else _escape(c) for c in marked) + "'"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
