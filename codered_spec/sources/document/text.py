"""The text of a document: its lines, its places, and the complaints about it."""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Iterable
from itertools import islice

from codered_spec.errors import Diagnostic, Place

_SPACES = dict.fromkeys(map(ord, "\u00a0\u2007\u202f"), " ")


class Complaint(Exception):  # noqa: N818 - control flow of the grammar, never leaves the package
    """Ends the reading of one piece of the document; the reader goes on behind that piece."""

    def __init__(
        self, code: str, message: str, fix: str, place: Place, subject: str | None = None
    ) -> None:
        self.diagnostic = Diagnostic(code, message, fix, place, subject)
        super().__init__(message)


class Complaints:
    """Gathers what is wrong, so that all of it can be reported at once."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []

    def add(
        self, code: str, message: str, fix: str, place: Place, subject: str | None = None
    ) -> None:
        """Note down a complaint and go on."""
        self.found.append(Diagnostic(code, message, fix, place, subject))

    def keep(self, complaint: Complaint) -> None:
        """Note down a complaint that ended the reading of a piece."""
        self.found.append(complaint.diagnostic)


class Text:
    r"""A document as people wrote it, made regular without moving any character.

    A byte order mark is dropped, every line ending becomes ``\n``, NUL becomes U+FFFD (Markdown
    demands both) and the fixed spaces of word processors become ordinary ones.
    """

    def __init__(self, text: str, path: str) -> None:
        regular = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        self.content = regular.replace("\0", "\ufffd").translate(_SPACES)
        self.lines = self.content.split("\n")
        self.path = path

    def place(self, line: int, column: int = 1) -> Place:
        """The place of a line and column, both from 1, moved into the text where outside of it."""
        row = min(max(line, 1), len(self.lines))
        return Place(self.path, row, min(max(column, 1), len(self.lines[row - 1]) + 1))

    def line_start(self, row: int) -> Place:
        """The place of the first visible character of a line; ``row`` counts from 0."""
        line = self.lines[row] if row < len(self.lines) else ""
        return self.place(row + 1, len(line) - len(line.lstrip()) + 1)


class Span:
    """A run of inline Markdown, from which an offset leads back to a place in the text."""

    def __init__(self, text: Text, content: str, row: int) -> None:
        self._text = text
        self._row = row
        self.flat = content.replace("\n", " ")
        """The run with spaces for line ends, as code spans have them; offsets are the same."""
        self._starts = [0]
        self._shifts: list[int] = []
        for number, line in enumerate(content.split("\n")):
            visible = line.lstrip()
            source = text.lines[row + number] if row + number < len(text.lines) else ""
            self._shifts.append(source.rfind(visible) - (len(line) - len(visible)))
            self._starts.append(self._starts[-1] + len(line) + 1)

    def place(self, offset: int) -> Place:
        """The place of the character at ``offset``."""
        number = min(bisect_right(self._starts, offset) - 1, len(self._shifts) - 1)
        column = offset - self._starts[number] + self._shifts[number] + 1
        return self._text.place(self._row + number + 1, column)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"did you mean x? "`` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word[:64], islice(known, 200), n=1)
    return f"did you mean {near[0]}? " if near else ""


def shown(text: str) -> str:
    """A piece of the document in a message: on one line, and short."""
    folded = " ".join(text.split())
    return folded if len(folded) <= 60 else folded[:57] + "..."
