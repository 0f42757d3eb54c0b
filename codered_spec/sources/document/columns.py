"""The grammar of a column's bullet: ``- `name` – `type` (note)``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from codered_spec.errors import Place
from codered_spec.model.schema import Check, Column, ForeignKey, OneOf, SubsetOf
from codered_spec.model.types import TYPE_NAMES, Array, parse_type
from codered_spec.sources.document.notes import Note, read_note
from codered_spec.sources.document.pieces import DASHES, Cursor, Kind, Piece
from codered_spec.sources.document.text import Complaint, Complaints, did_you_mean, shown

FORM: Final = "write - `name` – `type` (note)"
_LONGEST_TYPE: Final = 64


@dataclass(frozen=True, slots=True)
class ColumnLine:
    """What one bullet states. ``column`` is None where the type is not known."""

    name: str
    place: Place
    column: Column | None
    note: Note = field(default_factory=Note)


def looks_like_column(pieces: tuple[Piece, ...]) -> bool:
    """Whether the pieces begin as a column does: code, dash, code."""
    cursor = Cursor(pieces)
    return cursor.code() is not None and cursor.dash() and cursor.code() is not None


def read_column(
    pieces: tuple[Piece, ...], schema: str | None, complaints: Complaints
) -> ColumnLine | None:
    """Grammar: column = code dash code [ "(" note ")" ].

    None, and a complaint, where not even a name can be read.
    """
    cursor = Cursor(pieces)
    name = cursor.code()
    if name is None:
        complaints.keep(_not_a_column(cursor, "the name in backticks"))
        return None
    broken = ColumnLine(name.text, name.place, None)
    if not cursor.dash():
        complaints.keep(_not_a_column(cursor, "a dash"))
        return broken
    code = cursor.code()
    if code is None:
        complaints.keep(_not_a_column(cursor, "the type in backticks"))
        return broken
    type_ = parse_type(code.text) if len(code.text) <= _LONGEST_TYPE else None
    if type_ is None:
        complaints.keep(_unknown_type(code))
    note = Note()
    try:
        if cursor.at("("):
            note = read_note(cursor.group(), type_, schema, complaints)
        _expect_end(cursor)
    except Complaint as complaint:
        complaints.keep(complaint)
    if type_ is None:
        return broken
    known = note.values.values if note.values and not note.values.closed else ()
    column = Column(
        name.text,
        type_,
        nullable=note.nullable is not None,
        default=note.default,
        known=known,
        comment=note.comment,
    )
    return ColumnLine(name.text, name.place, column, note)


def foreign_key(table: str, line: ColumnLine) -> ForeignKey | None:
    """The foreign key that the note states, if any."""
    target = line.note.reference
    if target is None:
        return None
    return ForeignKey(f"{table}_{line.name}_fkey", (line.name,), target.table, (target.column,))


def value_check(table: str, line: ColumnLine) -> Check | None:
    """The check that a closed list of values demands, if any."""
    values = line.note.values
    if line.column is None or values is None or not values.closed:
        return None
    rule = SubsetOf if isinstance(line.column.type, Array) else OneOf
    return Check(f"{table}_{line.name}_values", rule(line.name, values.values))


def _not_a_column(cursor: Cursor, expected: str) -> Complaint:
    return Complaint(
        "D001",
        f"not a column: expected {expected}, found {cursor.describe()}",
        FORM,
        cursor.peek().place,
    )


def _unknown_type(code: Piece) -> Complaint:
    known = ", ".join(TYPE_NAMES)
    return Complaint(
        "D006",
        f"`{shown(code.text)}` is not a column type that can be used",
        f"{did_you_mean(code.text.lower(), TYPE_NAMES)}use one of {known}, "
        "or such a type with [] behind it",
        code.place,
    )


def _expect_end(cursor: Cursor) -> None:
    piece = cursor.peek()
    if piece.kind is Kind.END:
        return
    closing = cursor.superfluous()
    if closing is not None:
        message, fix = "a parenthesis is closed that was never opened", "open the note with ("
        raise Complaint("D005", message, fix, closing.place)
    if piece.mark == "(":
        message, fix = "a second note", "put all of it into one pair of parentheses"
        raise Complaint("D005", message, fix, piece.place)
    hint = FORM
    if piece.text in DASHES or piece.kind is Kind.WORD:
        hint = f"put remarks in parentheses: {FORM}"
    elif piece.kind is Kind.CODE:
        hint = f"begin every column on a line of its own with a bullet: {FORM}"
    raise Complaint("D001", f"a column goes on with {cursor.describe()}", hint, piece.place)
