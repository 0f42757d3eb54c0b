"""Inline Markdown as pieces: words, marks and code spans, each with its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from codered_spec.errors import Place
from codered_spec.sources.document.text import Complaint, Span, Text, shown

if TYPE_CHECKING:
    from markdown_it.token import Token

DASHES: Final = frozenset("–—-")
ARROWS: Final = frozenset(("→", "->"))
_BREAKS: Final = frozenset(("softbreak", "hardbreak"))
_EMPHASIS: Final = frozenset(("em_open", "em_close", "strong_open", "strong_close"))
_PIECE: Final = re.compile(r"\s+|→|->|[();,|:]|(?:(?!->)[^\s();,|:→])+")
_MARKS: Final = frozenset("();,|:→") | {"->"}
_WINDOW: Final = 256  # how far behind the last piece the next one may begin: escapes, emphasis


class Kind(Enum):
    """What a piece is."""

    CODE = auto()
    WORD = auto()
    MARK = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Piece:
    """A unit of the grammar; ``spaced`` tells whether white space stands before it."""

    kind: Kind
    text: str
    place: Place
    spaced: bool

    @property
    def word(self) -> str:
        """The text in lower case where this is a word, otherwise nothing."""
        return self.text.casefold() if self.kind is Kind.WORD else ""

    @property
    def mark(self) -> str:
        """The text where this is a mark, otherwise nothing."""
        return self.text if self.kind is Kind.MARK else ""


def read_pieces(inline: Token, text: Text) -> tuple[Piece, ...]:
    """The pieces of an inline token; the last one has kind ``END``."""
    span = Span(text, inline.content, inline.map[0] if inline.map else 0)
    pieces: list[Piece] = []
    cursor, spaced = 0, False

    def find(wanted: str) -> int:
        found = span.flat.find(wanted, cursor, cursor + len(wanted) + _WINDOW)
        return cursor if found < 0 else found

    for child in inline.children or ():
        if child.type in _BREAKS:
            spaced = True
        elif child.type == "code_inline":
            cursor = find(child.markup) + len(child.markup)
            start = find(child.content)
            pieces.append(Piece(Kind.CODE, child.content, span.place(start), spaced))
            cursor = start + len(child.content)
            cursor, spaced = find(child.markup) + len(child.markup), False
        elif child.type == "text":
            start = find(child.content)
            for match in _PIECE.finditer(child.content):
                found = match.group()
                if found.isspace():
                    spaced = True
                    continue
                kind = Kind.MARK if found in _MARKS else Kind.WORD
                pieces.append(Piece(kind, found, span.place(start + match.start()), spaced))
                spaced = False
            cursor = start + len(child.content)
        elif child.type not in _EMPHASIS:
            raise AssertionError(f"the Markdown parser made {child.type}, which is switched off")
    pieces.append(Piece(Kind.END, "", span.place(len(span.flat)), spaced))
    return tuple(pieces)


def prose(pieces: Sequence[Piece]) -> str:
    """The pieces as plain text: no emphasis, no backticks, single spaces."""
    parts = [(" " if piece.spaced else "") + piece.text for piece in pieces]
    return " ".join("".join(parts).split())


class Cursor:
    """Reads pieces from left to right; the pieces end with one of kind ``END``."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._last = len(pieces) - 1
        self._position = 0

    def peek(self, ahead: int = 0) -> Piece:
        """The next piece, or one further ahead; the end piece for ever after the last."""
        return self._pieces[min(self._position + ahead, self._last)]

    def take(self) -> Piece:
        """The next piece, which is then behind the cursor."""
        piece = self.peek()
        self._position = min(self._position + 1, self._last)
        return piece

    def at(self, *expected: str) -> bool:
        """Whether the next pieces are these words or marks."""
        return all(
            expected[i] in (self.peek(i).word, self.peek(i).mark) for i in range(len(expected))
        )

    def accept(self, *expected: str) -> bool:
        """Take these words or marks where they come next, and tell whether they did."""
        found = self.at(*expected)
        if found:
            self._position = min(self._position + len(expected), self._last)
        return found

    def code(self) -> Piece | None:
        """Take a code span where it comes next."""
        return self.take() if self.peek().kind is Kind.CODE else None

    def dash(self) -> bool:
        """Take a dash where it comes next, and tell whether it did."""
        found = self.peek().text in DASHES and self.peek().kind is Kind.WORD
        if found:
            self.take()
        return found

    def group(self) -> tuple[Piece, ...]:
        """Take a pair of parentheses and return what it holds, with an end piece; else D005."""
        opening = self.take()
        depth, start = 1, self._position
        for position in range(start, self._last):
            mark = self._pieces[position].mark
            depth += (mark == "(") - (mark == ")")
            if depth == 0:
                closing = self._pieces[position]
                self._position = position + 1
                end = Piece(Kind.END, "", closing.place, closing.spaced)
                return (*self._pieces[start:position], end)
        raise Complaint(
            "D005",
            "a parenthesis is opened here and not closed in this bullet",
            "close it with )",
            opening.place,
        )

    def superfluous(self) -> Piece | None:
        """The first closing parenthesis ahead that has no partner ahead of it."""
        depth = 0
        for position in range(self._position, self._last):
            mark = self._pieces[position].mark
            depth += (mark == "(") - (mark == ")")
            if depth < 0:
                return self._pieces[position]
        return None

    def describe(self) -> str:
        """The next piece, for a message."""
        piece = self.peek()
        if piece.kind is Kind.END:
            return "the end"
        return f"`{shown(piece.text)}`" if piece.kind is Kind.CODE else f"“{shown(piece.text)}”"
