"""The section of a table: its heading, purpose, columns and indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from codered_spec.errors import Place
from codered_spec.model.schema import (
    Check,
    Column,
    ForeignKey,
    Index,
    PrimaryKey,
    Table,
    Unique,
)
from codered_spec.sources.document import columns as column_grammar
from codered_spec.sources.document import indexes as index_grammar
from codered_spec.sources.document.blocks import Block, Section, pieces_of, plain
from codered_spec.sources.document.pieces import Kind, Piece
from codered_spec.sources.document.text import Complaint, Complaints, Text, did_you_mean, shown

HEADING_FORM: Final = "write ### 2.1 `{schema}.table`"
_LABEL: Final = re.compile(r"(columns|indexes)(?: \([^()]*\))?:", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*\.?")
_LABEL_WORDS: Final = ("Columns:", "Indexes:")


@dataclass(frozen=True, slots=True)
class Heading:
    """What a table's heading says; ``name`` is None where it cannot be read.

    ``sound`` is False where the heading has a complaint; what is missing below it is then no news.
    """

    name: str | None
    place: Place
    sound: bool = True


@dataclass(slots=True)
class TableReader:
    """Reads one section and remembers the places of all that it states."""

    text: Text
    schema: str | None
    heading: Heading
    complaints: Complaints
    places: dict[str, Place] = field(default_factory=dict)
    _lines: dict[str, column_grammar.ColumnLine] = field(default_factory=dict)
    _indexes: list[index_grammar.IndexLine] = field(default_factory=list)
    _all_columns_named: bool = True

    def read(self, section: Section) -> Table:
        """The table; what does not parse is left out, with a complaint."""
        purpose: list[str] = []
        label, filled = "", {"columns": False, "indexes": False}
        seen: dict[str, Place] = {}
        for block in section.blocks:
            place = self.text.line_start(block.row)
            found = label_of(block, self.text)
            if found is not None:
                if found in seen or (found == "columns" and label):
                    self.complaints.add(
                        "D001",
                        f"a second or misplaced list of {found}",
                        "state **Columns:** once and **Indexes:** once behind it",
                        place,
                    )
                elif found == "indexes" and not label and self.heading.sound:
                    self.complaints.add(
                        "D001",
                        "**Indexes:** stands before **Columns:**",
                        "state the columns first",
                        place,
                    )
                label = found
                seen.setdefault(found, place)
            elif block.kind == "bullet_list" and label:
                filled[label] = True
                for item in block.children():
                    self._item(item, label)
            elif block.kind == "paragraph" and not label:
                self._purpose(block, purpose)
            else:
                self._stray(block, label)
        self._require_lists(seen, filled)
        return self._table(" ".join(purpose) or None)

    # ---- blocks -------------------------------------------------------------------------------

    def _purpose(self, block: Block, purpose: list[str]) -> None:
        place = self.text.line_start(block.row)
        words = plain(block, self.text)
        bold = next((run for run in block.bold_runs() if _is_label(run)), None)
        if bold is not None or _is_label(words):
            self.complaints.add(
                "D001",
                f"{shown(bold or words)!r} is not a paragraph of its own in bold",
                "write **Columns:** or **Indexes:** between empty lines",
                place,
            )
        elif block.is_strong() and words.endswith(":"):
            self.complaints.add(
                "D001",
                f"unknown part {shown(words)!r} of a table",
                f"{did_you_mean(words, _LABEL_WORDS)}"
                "a table has **Columns:** and **Indexes:** only",
                place,
            )
        elif column_grammar.looks_like_column(pieces_of(block, self.text)):
            self.complaints.add(
                "D001",
                "a column outside of a list",
                f"begin the line with a hyphen below **Columns:**; {column_grammar.FORM}",
                place,
            )
        else:
            purpose.append(words)

    def _stray(self, block: Block, label: str) -> None:
        where = f"in the list of {label}" if label else "before **Columns:**"
        kind = block.kind.replace("_", " ")
        self.complaints.add(
            "D001",
            f"unexpected {kind} {where} of a table",
            "a table's section holds a purpose, **Columns:** with bullets and **Indexes:** with "
            "bullets; put anything else into another section",
            self.text.line_start(block.row),
        )

    def _item(self, item: Block, label: str) -> None:
        content = item.children()
        place = self.text.line_start(item.row)
        if not content or content[0].kind != "paragraph":
            self.complaints.add(
                "D001",
                "a bullet without a line of text",
                "write one line behind each bullet",
                place,
            )
            self._all_columns_named &= label != "columns"
            return
        for block in content[1:]:
            self.complaints.add(
                "D001",
                f"a bullet holds a {block.kind.replace('_', ' ')}",
                "write a bullet as one paragraph, without lists or code blocks inside",
                self.text.line_start(block.row),
            )
        pieces = pieces_of(content[0], self.text)
        if label == "columns":
            self._column(pieces)
        else:
            self._index(pieces)

    def _column(self, pieces: tuple[Piece, ...]) -> None:
        line = column_grammar.read_column(pieces, self.schema, self.complaints)
        if line is None:
            self._all_columns_named = False
        elif line.name in self._lines:
            self.complaints.add(
                "D004",
                f"the column {shown(line.name)} is stated twice",
                "remove one of the two lines",
                line.place,
                self._address(line.name),
            )
        else:
            self._lines[line.name] = line

    def _index(self, pieces: tuple[Piece, ...]) -> None:
        try:
            line = index_grammar.read_index(pieces, self.schema, self.heading.name)
        except Complaint as complaint:
            self.complaints.keep(complaint)
        else:
            self._indexes.append(line)

    def _require_lists(self, seen: dict[str, Place], filled: dict[str, bool]) -> None:
        if "columns" not in seen and self.heading.sound:
            self.complaints.add(
                "D009",
                "a table without **Columns:**",
                "write **Columns:** and a bullet for each column, "
                "or use a heading without a qualified name",
                self.heading.place,
                self.heading.name,
            )
        for label, place in seen.items():
            if not filled[label]:
                self.complaints.add(
                    "D009",
                    f"the list of {label} is empty",
                    "write a bullet for each, or leave out **Indexes:** where there are none",
                    place,
                    self.heading.name,
                )

    # ---- the table ----------------------------------------------------------------------------

    def _table(self, comment: str | None) -> Table:
        name = self.heading.name or ""
        uniques, indexes = self._resolve(name)
        for line in self._lines.values():
            self.places[self._address(line.name)] = line.place
        key = [line for line in self._lines.values() if line.note.primary_key]
        primary_key = None
        if key and key[0].note.primary_key:
            primary_key = PrimaryKey(f"{name}_pkey", tuple(line.name for line in key))
            self._put(primary_key, key[0].note.primary_key)
        foreign_keys: list[ForeignKey] = []
        checks: list[Check] = []
        stated: dict[tuple[str, ...], Unique] = {}
        for unique in uniques:
            stated.setdefault(unique.columns, unique)
        claimed: list[Unique] = []
        for line in self._lines.values():
            note = line.note
            if note.unique:
                invented = Unique(f"{name}_{line.name}_key", (line.name,))
                claimed.append(stated.get((line.name,), invented))
                self._put(claimed[-1], note.unique)
            foreign_key = column_grammar.foreign_key(name, line)
            if foreign_key is not None and note.reference is not None:
                foreign_keys.append(foreign_key)
                self._put(foreign_key, note.reference.place)
            check = column_grammar.value_check(name, line)
            if check is not None and note.values is not None:
                checks.append(check)
                self._put(check, note.values.place)
        return Table(
            name,
            columns=tuple(self._columns()),
            primary_key=primary_key,
            uniques=tuple(dict.fromkeys((*claimed, *uniques))),
            foreign_keys=tuple(foreign_keys),
            checks=tuple(checks),
            indexes=tuple(indexes),
            comment=comment,
        )

    def _columns(self) -> Iterator[Column]:
        return (line.column for line in self._lines.values() if line.column is not None)

    def _resolve(self, table: str) -> tuple[list[Unique], list[Index]]:
        """The objects that the index lines mean, with the places of their names."""
        uniques: list[Unique] = []
        indexes: list[Index] = []
        if self.heading.name is None:
            return uniques, indexes
        for line in self._indexes:
            address = self._address(line.name)
            try:
                found = index_grammar.resolve(line, table, self._lines.keys())
            except Complaint as complaint:
                if self._all_columns_named:  # otherwise the column may be one that did not parse
                    self.complaints.keep(complaint)
                continue
            if address in self.places:
                self.complaints.add(
                    "D004",
                    f"the index {shown(line.name)} is stated twice",
                    "remove one of the two lines",
                    line.place,
                    address,
                )
                continue
            self.places[address] = line.place
            if isinstance(found, Unique):
                uniques.append(found)
            else:
                indexes.append(found)
        return uniques, indexes

    def _put(self, thing: PrimaryKey | Unique | ForeignKey | Check, place: Place) -> None:
        self.places.setdefault(self._address(thing.name), place)

    def _address(self, name: str) -> str:
        return f"{self.heading.name or ''}.{name}"


# ---- labels and headings ----------------------------------------------------------------------


def _is_label(words: str) -> bool:
    return _LABEL.fullmatch(words) is not None


def label_of(block: Block, text: Text) -> str | None:
    """``columns`` or ``indexes`` where the block is such a label in bold."""
    if block.kind != "paragraph" or not block.is_strong():
        return None
    match = _LABEL.fullmatch(plain(block, text))
    return match.group(1).lower() if match else None


def read_heading(
    block: Block, text: Text, schema: str | None, complaints: Complaints
) -> Heading | None:
    """Grammar: heading = "###" [ number ] code, the code being ``schema.table``; None for prose.

    Below the title, a heading with a dot in a code span or with a word that begins with the
    schema's name and a dot is meant for a table; it parses, or there is a complaint D002.
    """
    pieces = pieces_of(block, text)[:-1]
    qualified = next((piece for piece in pieces if _is_qualified(piece, block.level, schema)), None)
    if block.level == 1 or qualified is None:
        return None
    problem = ""
    parts = qualified.text.split(".")
    if block.level != 3:
        problem = f"the heading of a table has level 3, not {block.level}"
    elif qualified.kind is not Kind.CODE:
        problem = "the name of a table stands in backticks"
    elif len(parts) != 2 or not all(parts):
        problem = f"`{shown(qualified.text)}` is not of the form schema.table"
    elif schema is not None and parts[0] != schema:
        problem = f"`{shown(qualified.text)}` is not in the schema {schema}"
    elif len(pieces) > 2 or (len(pieces) == 2 and not _NUMBER.fullmatch(pieces[0].text)):
        problem = "a table's heading holds a number and the name, nothing else"
    elif pieces[-1] is not qualified:
        problem = "the number of a table's heading stands before the name"
    if problem:
        fix = HEADING_FORM.format(schema=schema or "schema")
        complaints.add("D002", problem, fix, qualified.place)
    name = parts[-1] if len(parts) == 2 and all(parts) else None
    return Heading(name, qualified.place, sound=not problem)


def _is_qualified(piece: Piece, level: int, schema: str | None) -> bool:
    if schema is not None and piece.text.startswith(f"{schema}."):
        return len(piece.text) > len(schema) + 1 or piece.kind is Kind.CODE
    return piece.kind is Kind.CODE and "." in piece.text and level > 2
