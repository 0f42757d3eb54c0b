"""Reads the schema document: Markdown in, the model out, nothing skipped and nothing invented.

``text`` keeps places, ``blocks`` cuts the Markdown into sections, ``pieces`` cuts lines into words
and code spans; ``tables`` reads a section with the grammars in ``columns``, ``notes``, ``values``
and ``indexes``. The grammar is described in ``docs/reference/document-format.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from codered_spec.errors import Diagnostic, InputError, Place
from codered_spec.model.schema import Schema, Table
from codered_spec.sources.document import blocks as markdown
from codered_spec.sources.document.blocks import Block, Section, plain
from codered_spec.sources.document.columns import looks_like_column
from codered_spec.sources.document.indexes import looks_like_index
from codered_spec.sources.document.pieces import read_pieces
from codered_spec.sources.document.tables import Heading, TableReader, label_of, read_heading
from codered_spec.sources.document.text import Complaints, Text, shown

__all__ = ["Document", "read_document"]


@dataclass(frozen=True, slots=True)
class Document:
    """What a schema document states: no more than it says, and where it says it."""

    schema: Schema
    places: Mapping[str, Place]
    """Address to place: ``""`` is the schema, then ``tasks``, ``tasks.zone``, and
    ``tasks.tasks_zone_idx`` for indexes, keys and checks, behind columns where names clash."""


def read_document(text: str, path: str) -> Document:
    """The facts of a schema document; ``path`` is only used in places.

    Raises :class:`InputError` with every complaint of the codes D001 to D010, in document order.
    """
    source = Text(text, path)
    reader = _Reader(source)
    try:
        document = reader.read()
    except RecursionError:
        fix = "write the document with headings, paragraphs and plain bullets"
        deep = Diagnostic("D001", "the document is nested too deeply", fix, source.place(1))
        raise InputError(deep) from None
    if reader.complaints.found:
        raise InputError(*sorted(reader.complaints.found, key=_by_place))
    return document


def _by_place(complaint: Diagnostic) -> tuple[int, int, str]:
    place = complaint.place
    return (place.line, place.column, complaint.code) if place else (0, 0, complaint.code)


class _Reader:
    def __init__(self, text: Text) -> None:
        self.text = text
        self.complaints = Complaints()
        self._places: dict[str, Place] = {}
        self._headings = 0

    def read(self) -> Document:
        """Schema name first, then section by section."""
        blocks = markdown.group(markdown.parse(self.text))
        name = self._schema_name(blocks)
        tables: list[Table] = []
        comment: str | None = None
        for section in markdown.sections(blocks):
            heading = section.heading
            if heading is not None and heading.level == 1 and comment is None:
                comment = plain(heading, self.text) or None
            table = self._section(section, name)
            if table is not None:
                tables.append(table)
        if not self._headings:
            self.complaints.add(
                "D010",
                "the document states no table",
                "write a heading ### 2.1 `schema.table` with **Columns:** below it",
                self.text.place(1),
            )
        return Document(
            Schema(name or "", tuple(tables), comment=comment), MappingProxyType(self._places)
        )

    # ---- the schema's name --------------------------------------------------------------------

    def _schema_name(self, blocks: Sequence[Block]) -> str | None:
        """The name in the fenced block ``schema: name``; D003 where there is not exactly one."""
        name: str | None = None
        for block in blocks:
            lines = block.tokens[0].content.strip().splitlines() if block.kind == "fence" else []
            if len(lines) != 1 or not lines[0].lower().startswith("schema:"):
                continue
            row = block.row + 1
            while row + 1 < len(self.text.lines) and not self.text.lines[row].strip():
                row += 1
            stated = lines[0].partition(":")[2].strip()
            line = self.text.lines[min(row, len(self.text.lines) - 1)]
            place = self.text.place(row + 1, line.find(":") + 2)
            if stated:
                place = self.text.place(row + 1, line.rfind(stated) + 1)
            if not stated or len(stated.split()) > 1:
                self.complaints.add(
                    "D003", "a schema block without one name", "write schema: name", place
                )
            elif name is None:
                name, self._places[""] = stated, place
            elif name != stated:
                self.complaints.add(
                    "D003",
                    f"the document names two schemas, {shown(name)} and {shown(stated)}",
                    "describe one schema in one document",
                    place,
                )
        if name is None and not any(c.code == "D003" for c in self.complaints.found):
            self.complaints.add(
                "D003",
                "the document states no schema name",
                "write a fenced block with the one line schema: name",
                self.text.place(1),
            )
        return name

    # ---- sections -----------------------------------------------------------------------------

    def _section(self, section: Section, schema: str | None) -> Table | None:
        """A table, or None where the section is prose or cannot be read."""
        heading = None
        if section.heading is not None:
            heading = read_heading(section.heading, self.text, schema, self.complaints)
        if heading is None:
            labels = (i for i, b in enumerate(section.blocks) if label_of(b, self.text))
            first = next(labels, None)
            if first is None:
                self._prose(section.blocks)
                return None
            heading = self._orphan(section, first)
            section = Section(section.heading, section.blocks[first:])
        self._headings += 1
        reader = TableReader(self.text, schema, heading, self.complaints)
        table = reader.read(section)
        if heading.name is None:
            return None
        if heading.name in self._places:
            self.complaints.add(
                "D004",
                f"the table {shown(heading.name)} is stated twice",
                "put all columns and indexes into one section",
                heading.place,
                heading.name,
            )
            return None
        self._places[heading.name] = heading.place
        self._places.update(reader.places)
        return table

    def _orphan(self, section: Section, first: int) -> Heading:
        """Complain about columns or indexes below something that is no table's heading."""
        fix = "give the table a heading ### 2.1 `schema.table` directly above its text"
        if section.heading is not None and section.heading.level > 1:
            place = self.text.line_start(section.heading.row)
            self.complaints.add("D002", "a heading above columns names no table", fix, place)
        else:
            place = self.text.line_start(section.blocks[first].row)
            self.complaints.add("D001", "columns or indexes outside of a table", fix, place)
        return Heading(None, place, sound=False)

    def _prose(self, blocks: Sequence[Block]) -> None:
        """Anything may stand here, except what somebody meant for a table."""
        for block in blocks:
            item = False
            for position, token in enumerate(block.tokens):
                if token.type == "inline" and "`" in token.content:
                    item = block.tokens[position - 2].type == "list_item_open"
                    pieces = read_pieces(token, self.text)
                    if looks_like_column(pieces) or (item and looks_like_index(pieces)):
                        self.complaints.add(
                            "D001",
                            "a column or index outside of a table",
                            "move it below **Columns:** or **Indexes:** of a table; "
                            "in prose, do not begin with a name in backticks and a dash",
                            pieces[0].place,
                        )
            if block.kind == "paragraph":
                for run in block.bold_runs():
                    if run.lower() in ("columns:", "indexes:"):
                        self.complaints.add(
                            "D001",
                            f"the label {run} in the midst of a paragraph",
                            "put it between empty lines, below a table's heading",
                            self.text.line_start(block.row),
                        )
