"""The grammar of a column's note: what stands in parentheses behind its type.

A note is cut into segments by ``;`` and into clauses by ``,``. A clause is a fact (``PK``,
``unique``, ``nullable``, ``optional``, ``FK → …``, ``default …``), the beginning of a list of
values, or prose. The words of facts are refused inside prose, so that no statement is overlooked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from codered_spec.errors import Place
from codered_spec.model.schema import Default
from codered_spec.model.types import Array, PgType, Text, Varchar
from codered_spec.sources.document.pieces import ARROWS, Cursor, Kind, Piece, prose
from codered_spec.sources.document.text import Complaint, Complaints, shown
from codered_spec.sources.document.values import is_braced, read_braced, read_default

_RESERVED: Final = frozenset(("pk", "fk", "unique", "nullable", "optional", "default", "null"))
_FACTS: Final = _RESERVED - {"null"}
_KEY_PHRASES: Final = frozenset((("primary", "key"), ("foreign", "key"), ("not", "null")))
_EXAMPLES: Final = frozenset(("e.g.", "e.g", "eg."))
_AND_SO_ON: Final = frozenset(("etc.", "etc", "…", "..."))


@dataclass(frozen=True, slots=True)
class Reference:
    """The target of ``FK → `schema.table.column```."""

    table: str
    column: str
    place: Place


@dataclass(frozen=True, slots=True)
class Values:
    """A list of values: ``closed`` where nothing else is allowed."""

    values: tuple[str, ...]
    closed: bool
    place: Place


@dataclass(slots=True)
class Note:
    """What a note says."""

    primary_key: Place | None = None
    unique: Place | None = None
    nullable: Place | None = None
    default: Default | None = None
    reference: Reference | None = None
    values: Values | None = None
    comment: str | None = None


def read_note(
    group: tuple[Piece, ...],
    type_: PgType | None,
    schema: str | None,
    complaints: Complaints,
) -> Note:
    """The facts of a note; appends D005 and D007 to ``complaints``, at most one for a segment.

    ``type_`` and ``schema`` are None where the document fails to state them properly; what depends
    on them is then not examined.
    """
    return _Reader(group, type_, schema, complaints).read()


class _Reader:
    def __init__(
        self,
        group: tuple[Piece, ...],
        type_: PgType | None,
        schema: str | None,
        complaints: Complaints,
    ) -> None:
        self._cursor = Cursor(group)
        self._type = type_
        self._schema = schema
        self._complaints = complaints
        self._note = Note()
        self._clauses: list[tuple[Piece, str]] = []
        self._default_seen = False

    def read(self) -> Note:
        """Grammar: note = segment { ";" segment }."""
        segments: list[str] = []
        going_on = True
        while going_on:
            try:
                segments.append(self._segment())
            except Complaint as complaint:
                self._complaints.keep(complaint)
                while self._cursor.peek().kind is not Kind.END and not self._cursor.at(";"):
                    self._cursor.take()
            going_on = self._cursor.accept(";")
        self._note.comment = "; ".join(filter(None, segments)) or None
        return self._note

    def _segment(self) -> str:
        """Grammar: segment = clause { "," clause }; returns the prose in it."""
        self._clauses = []
        self._clause()
        while self._cursor.accept(","):
            self._clause()
        bare = [piece for piece, text in self._clauses if " " not in text]
        if len(bare) > 1 and len(bare) == len(self._clauses):
            raise Complaint(
                "D007",
                "this looks like a list of values, but the values are not in backticks",
                "put every value in backticks, or write the remark as a phrase",
                bare[0].place,
            )
        return ", ".join(text for _, text in self._clauses)

    # ---- clauses ------------------------------------------------------------------------------

    def _clause(self) -> None:
        cursor, piece = self._cursor, self._cursor.peek()
        if self._at_end():
            raise Complaint(
                "D005",
                "a part of the note is empty",
                "remove the superfluous parentheses, comma or semicolon",
                piece.place,
            )
        if cursor.accept("pk") or cursor.accept("primary", "key"):
            self._note.primary_key = self._once(self._note.primary_key, piece)
            self._end_of_fact(piece)
        elif cursor.accept("unique"):
            self._note.unique = self._once(self._note.unique, piece)
            self._end_of_fact(piece)
        elif cursor.accept("default"):
            self._default(piece)
        elif cursor.accept("fk") or cursor.accept("foreign", "key"):
            self._foreign_key(piece)
        elif cursor.accept("nullable") or cursor.accept("optional"):
            self._note.nullable = self._once(self._note.nullable, piece)
            if cursor.accept("fk") or cursor.accept("foreign", "key"):
                self._foreign_key(piece)
            elif not self._at_end():
                _ = cursor.accept(":") or cursor.dash()
                self._list_or_prose()
        else:
            self._list_or_prose()

    def _default(self, word: Piece) -> None:
        code = self._cursor.code()
        if code is None:
            raise Complaint(
                "D005",
                "the word default is not followed by a value in backticks",
                "write default `0`, default `now()`; in a remark use another word",
                word.place,
            )
        if self._default_seen:
            raise _twice(word)
        self._default_seen = True
        self._note.default = read_default(code)
        self._end_of_fact(word)

    def _foreign_key(self, word: Piece) -> None:
        cursor = self._cursor
        target = cursor.peek(1)
        if cursor.peek().mark not in ARROWS or target.kind is not Kind.CODE:
            raise Complaint(
                "D005",
                "FK is not followed by an arrow and a column in backticks",
                f"write FK → `{self._schema or 'schema'}.table.column`",
                word.place,
            )
        cursor.take()
        cursor.take()
        parts = target.text.split(".")
        if len(parts) != 3 or not all(parts) or (self._schema and parts[0] != self._schema):
            raise Complaint(
                "D005",
                f"`{shown(target.text)}` is not a column of this schema",
                f"write `{self._schema or 'schema'}.table.column`; links into other schemas "
                "cannot be stated",
                target.place,
            )
        if self._note.reference is not None:
            raise _twice(word)
        self._note.reference = Reference(parts[1], parts[2], target.place)
        self._end_of_fact(word)

    def _once(self, before: Place | None, piece: Piece) -> Place:
        if before is not None:
            raise _twice(piece)
        return piece.place

    def _at_end(self, ahead: int = 0) -> bool:
        piece = self._cursor.peek(ahead)
        return piece.kind is Kind.END or piece.mark in (",", ";")

    def _end_of_fact(self, word: Piece) -> None:
        if not self._at_end():
            raise Complaint(
                "D005",
                f"“{word.text}” is followed by {self._cursor.describe()}",
                "end the fact with a comma or semicolon before anything else; "
                "in a remark use another word",
                self._cursor.peek().place,
            )

    # ---- lists of values ----------------------------------------------------------------------

    def _list_or_prose(self) -> None:
        cursor, first = self._cursor, self._cursor.peek()
        if first.word in _EXAMPLES:
            ahead = 2 if cursor.peek(1).mark == "," else 1
            if cursor.peek(ahead).kind is Kind.CODE or self._at_end(ahead):
                for _ in range(ahead):
                    cursor.take()
                self._list(first, is_open=True)
            else:
                self._prose()
        elif cursor.at("subset", "of") and cursor.peek(2).kind is Kind.CODE:
            cursor.accept("subset", "of")
            self._list(first, subset=True)
        elif self._begins_list():
            self._list(first)
        else:
            self._prose()

    def _begins_list(self) -> bool:
        """Whether a value comes next: followed by a separator or by the end of the segment."""
        first, following = self._cursor.peek(), self._cursor.peek(1).mark
        if first.kind is Kind.CODE:
            return following == "|" or self._at_end(1)
        if first.word in _AND_SO_ON:
            return not self._clauses and self._at_end(1)
        return first.word == "null" and following in ("|", ",")

    def _list(self, start: Piece, *, is_open: bool = False, subset: bool = False) -> None:
        """Grammar: list = element { ("," | "|") element }, one kind of separator in all of it."""
        cursor = self._cursor
        values: list[Piece] = []
        separator, count, closed = "", 0, not is_open
        while True:
            element = cursor.peek()
            count += 1
            if element.kind is Kind.CODE:
                values.append(cursor.take())
            elif cursor.accept("null"):
                self._note.nullable = self._once(self._note.nullable, element)
            elif element.word in _AND_SO_ON or element.word == "future":
                closed = False
                cursor.take()
                while element.word == "future" and cursor.peek().kind is Kind.WORD:
                    cursor.take()
                if cursor.peek().kind is not Kind.END and cursor.peek().mark not in (",", ";"):
                    raise _bad_list(cursor)
                break
            else:
                raise _bad_list(cursor)
            following = cursor.peek()
            if following.kind is Kind.END or following.mark == ";":
                break
            if following.mark == "," and cursor.peek(1).word in _FACTS:
                break
            if following.mark not in (",", "|"):
                raise _bad_list(cursor)
            if separator and following.mark != separator:
                raise Complaint(
                    "D007",
                    "a list of values mixes commas and bars",
                    "put the same separator between all values",
                    following.place,
                )
            separator = cursor.take().text
        if closed and not subset and count == 1 and not is_braced(values[0].text if values else ""):
            raise Complaint(
                "D007",
                f"`{shown(start.text)}` stands alone: it may be the only value or a reference",
                "write e.g. before an example, list all values of a closed list, "
                "or say in words what is referred to",
                start.place,
            )
        self._finish_list(start, values, closed=closed, subset=subset)

    def _finish_list(
        self, start: Piece, pieces: list[Piece], *, closed: bool, subset: bool
    ) -> None:
        values = self._expand(pieces)
        problem = fix = ""
        if self._note.values is not None:
            problem, fix = "a second list of values", "state one list for a column"
        elif not values:
            problem, fix = "a list without any value", "name at least one value in backticks"
        elif len(set(values)) < len(values):
            again = Counter(values).most_common(1)[0][0]
            problem, fix = f"the value {shown(again)!r} is listed twice", "name every value once"
        elif not all(v == v.strip() and any(map(str.isalnum, v)) for v in values):
            problem = "a value is empty, begins or ends with a space, or has no letter or digit"
            fix = "check the backticks of the list"
        elif self._type is not None and not self._fits(subset):
            problem = f"a {'subset' if subset else 'list of values'} does not fit {self._type}"
            fix = "state lists for text and text[] only, and “subset of” for text[] only"
        if problem:
            raise Complaint("D007", problem, fix, start.place)
        self._note.values = Values(values, closed, start.place)

    def _fits(self, subset: bool) -> bool:
        element = self._type.element if isinstance(self._type, Array) else self._type
        return isinstance(element, Text | Varchar) and (not subset or isinstance(self._type, Array))

    def _expand(self, pieces: list[Piece]) -> tuple[str, ...]:
        if not any(is_braced(piece.text) for piece in pieces):
            return tuple(piece.text for piece in pieces)
        if len(pieces) > 1 or (self._type is not None and not isinstance(self._type, Array)):
            raise Complaint(
                "D007",
                "a list in braces stands for all values of an array column",
                "write one `{'A','B'}` for text[]; for text write `a` | `b`",
                pieces[0].place,
            )
        return read_braced(pieces[0])

    # ---- prose --------------------------------------------------------------------------------

    def _prose(self) -> None:
        """Grammar: prose = every piece up to a comma or semicolon outside of inner parentheses."""
        cursor = self._cursor
        taken: list[Piece] = []
        depth = 0
        if cursor.peek().word in _EXAMPLES and cursor.peek(1).mark == ",":
            taken += (cursor.take(), cursor.take())
        while cursor.peek().kind is not Kind.END and (depth or not self._at_end()):
            self._refuse_grammar(inner=depth > 0)
            piece = cursor.take()
            depth += (piece.mark == "(") - (piece.mark == ")")
            taken.append(piece)
        text = prose(taken)
        if "if available" in text.casefold() and self._note.nullable is None:
            self._note.nullable = taken[0].place
        self._clauses.append((taken[0], text))

    def _refuse_grammar(self, *, inner: bool) -> None:
        cursor, piece = self._cursor, self._cursor.peek()
        if piece.mark == "|" or (inner and piece.kind is Kind.CODE and cursor.peek(1).mark == ","):
            raise Complaint(
                "D007",
                "this looks like a list of values inside a remark",
                "begin the list behind the parenthesis, a comma or a semicolon, "
                "with every value in backticks",
                piece.place,
            )
        phrase = (piece.word, cursor.peek(1).word)
        words = piece.text
        if phrase in _KEY_PHRASES:
            words = f"{piece.text} {cursor.peek(1).text}"
        if piece.word in _RESERVED or piece.mark in ARROWS or phrase in _KEY_PHRASES:
            raise Complaint(
                "D005",
                f"“{words}” inside a remark says nothing certain about the column",
                "give the fact its own clause, set off with commas or semicolons, "
                "or use another word",
                piece.place,
            )
        if "`" in piece.text:
            raise Complaint(
                "D005", "a backtick without a partner", "close the backticks", piece.place
            )


def _twice(piece: Piece) -> Complaint:
    return Complaint(
        "D005",
        f"“{piece.text}” says a thing that the note has said before",
        "say it once",
        piece.place,
    )


def _bad_list(cursor: Cursor) -> Complaint:
    return Complaint(
        "D007",
        f"a list of values goes on with {cursor.describe()}",
        "put every value in backticks, one separator between two values, and remarks behind a "
        "semicolon",
        cursor.peek().place,
    )
