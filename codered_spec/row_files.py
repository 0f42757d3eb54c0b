"""Rows from files, one at a time: JSON lines, a JSON array, or CSV with a header.

Files of any length are read in constant memory, a JSON array too.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn, TextIO

from codered_spec.errors import Diagnostic, InputError, Place
from codered_spec.validation import Column

FORMATS: Final = ("jsonl", "json", "csv")
_CHUNK: Final = 1 << 16
_WHOLE: Final = re.compile(r"-?[0-9]{1,400}", re.ASCII)
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def format_of(path: str) -> str:
    """The format that the ending of a file name says; JSON lines for any other and for ``-``."""
    ending = path.rpartition(".")[2].lower()
    return ending if ending in FORMATS else "jsonl"


def read_rows(
    file: TextIO, path: str, kind: str, columns: Mapping[str, Column]
) -> Iterator[tuple[Place, dict[str, Any] | Diagnostic]]:
    """Each row with the place where it starts, or a diagnostic (C007) where none can be read.

    ``columns`` says which numbers stay exact, and what the texts of a CSV file stand for. Raises
    InputError (C004, C007) when the rest of the file cannot be read.
    """
    try:
        if kind == "csv":
            yield from _csv(file, path, columns)
        elif kind == "json":
            yield from _json(file, path, columns)
        else:
            yield from _lines(file, path, columns)
    except UnicodeDecodeError as error:
        raise InputError(
            Diagnostic("C004", f"{path} is not UTF-8: {error.reason}", "save it as UTF-8")
        ) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)


def _unreadable(message: str, place: Place) -> Diagnostic:
    return Diagnostic("C007", message, "write one JSON object for each row", place)


def _row(value: Any, place: Place, columns: Mapping[str, Column]) -> dict[str, Any] | Diagnostic:
    if not isinstance(value, dict):
        return _unreadable(f"a row must be an object, not {type(value).__name__}", place)
    return {name: _number(item, columns.get(name)) for name, item in value.items()}


def _number(value: Any, column: Column | None) -> Any:
    """Decimals where the column is ``numeric``; floats elsewhere, at any depth."""
    if column is not None and column.type.startswith("numeric"):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_number(item, None) for item in value]
    if isinstance(value, dict):
        return {key: _number(item, None) for key, item in value.items()}
    return value


def _lines(
    file: TextIO, path: str, columns: Mapping[str, Column]
) -> Iterator[tuple[Place, dict[str, Any] | Diagnostic]]:
    for number, line in enumerate(file, 1):
        text = line.removeprefix("\ufeff") if number == 1 else line
        if not text.strip():
            continue
        place = Place(path, number, 1)
        try:
            value = _DECODER.decode(text.rstrip("\r\n"))
        except json.JSONDecodeError as error:
            place = Place(path, number, error.colno)
            yield place, _unreadable(f"not JSON: {error.msg}", place)
        except (ValueError, RecursionError) as error:
            yield place, _unreadable(f"not JSON: {error}", place)
        else:
            yield place, _row(value, place, columns)


class _Window:
    """The part of a file that is being decoded; grows until a value is complete."""

    def __init__(self, file: TextIO, path: str) -> None:
        self.file = file
        self.path = path
        self.text = file.read(_CHUNK).removeprefix("\ufeff")
        self.position = 0
        self.line = 1
        self.column = 1
        self.ended = not self.text

    def more(self) -> bool:
        """Reads on; each time as much as is there, so that a long value costs linear time."""
        self.text = self.text[self.position :]
        self.position = 0
        chunk = "" if self.ended else self.file.read(max(_CHUNK, len(self.text)))
        self.ended = not chunk
        self.text += chunk
        return not self.ended

    def move(self, end: int) -> None:
        passed = self.text[self.position : end]
        breaks = passed.count("\n")
        self.line += breaks
        self.column = len(passed) - passed.rfind("\n") if breaks else self.column + len(passed)
        self.position = end

    def place(self) -> Place:
        return Place(self.path, self.line, self.column)

    def peek(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            match = _SPACE.match(self.text, self.position)
            assert match is not None
            self.move(match.end())
            if self.position < len(self.text) or not self.more():
                return self.text[self.position : self.position + 1]

    def fail(self, message: str) -> NoReturn:
        raise InputError(Diagnostic("C007", message, "write a JSON array of objects", self.place()))

    def value(self) -> Any:
        """The next complete value."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.position)
            except json.JSONDecodeError as error:
                if not self.more():
                    self.fail(f"not JSON: {error.msg}")
            except (ValueError, RecursionError) as error:
                self.fail(f"not JSON: {error}")
            else:
                # a number may go on in the next chunk
                if end < len(self.text) or not self.more():
                    self.move(min(end, len(self.text)))
                    return value


def _json(
    file: TextIO, path: str, columns: Mapping[str, Column]
) -> Iterator[tuple[Place, dict[str, Any] | Diagnostic]]:
    window = _Window(file, path)
    if window.peek() == "{":
        place = window.place()
        yield place, _row(window.value(), place, columns)
    elif window.peek() != "[":
        window.fail("neither an array nor an object")
    else:
        window.move(window.position + 1)
        separator = window.peek()
        while separator != "]":
            window.peek()
            place = window.place()
            yield place, _row(window.value(), place, columns)
            separator = window.peek()
            if separator == ",":
                window.move(window.position + 1)
            elif separator != "]":
                window.fail("a comma or the end of the array is missing")
        window.move(window.position + 1)
    if window.peek():
        window.fail("something follows after the end")


def _csv(
    file: TextIO, path: str, columns: Mapping[str, Column]
) -> Iterator[tuple[Place, dict[str, Any] | Diagnostic]]:
    reader = csv.reader(file, strict=True)
    header: list[str] | None = None
    place = Place(path, 1, 1)
    try:
        while True:
            place = Place(path, reader.line_num + 1, 1)
            cells = next(reader, None)
            if cells is None:
                return
            if header is None:
                header = [cell.removeprefix("\ufeff") for cell in cells]
            elif len(cells) != len(header):
                message = f"{len(cells)} fields, but the header has {len(header)}"
                yield place, Diagnostic("C007", message, "quote fields with commas", place)
            else:
                yield (
                    place,
                    {n: _cell(c, columns.get(n)) for n, c in zip(header, cells, strict=True)},
                )
    except csv.Error as error:
        raise InputError(
            Diagnostic("C007", f"not CSV: {error}", "check the quotes", place)
        ) from None


def _cell(text: str, column: Column | None) -> Any:
    """What a CSV field stands for in its column; text that fits no type stays text."""
    if column is None:
        return text
    base = column.type.partition("(")[0]
    if base in ("text", "varchar"):
        return None if not text and column.nullable else text
    if not text:
        return None
    if base == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if base in ("smallint", "integer", "bigint"):
        return int(text) if _WHOLE.fullmatch(text) else text
    if base in ("real", "double precision", "jsonb", "vector") or base.endswith("[]"):
        try:
            return _number(_DECODER.decode(text), column)
        except (ValueError, RecursionError):
            return text
    return text
