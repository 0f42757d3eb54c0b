"""The grammar of an index's bullet, and what its name says about its columns.

Four forms: ```name```, optionally with ``(unique)`` and ``– GIN on `column```; ``GIN index on
`column` (`name`)``; and ``Vector index on `column`: `CREATE INDEX …```.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from codered_spec import sql
from codered_spec.errors import Place
from codered_spec.model.schema import Index, IndexKey, Method, Unique
from codered_spec.sources.document.pieces import Cursor, Kind, Piece
from codered_spec.sources.document.text import Complaint, did_you_mean, shown

FORM: Final = (
    "write - `table_column_idx`, - `table_column_gin` – GIN on `column`, "
    "- `table_column_key` (unique), or - GIN index on `column` (`table_column_gin`)"
)
_VECTOR_FORM: Final = (
    "write - Vector index on `column`: `CREATE INDEX name ON schema.table "
    "USING ivfflat (column vector_cosine_ops);`"
)
_SUFFIXES: Final = {"_gin": "gin", "_idx": "btree", "_key": "unique"}
_KINDS: Final = {"gin": "gin", "btree": "btree", "b-tree": "btree", "unique": "unique"}
_VECTOR_METHODS: Final = {"ivfflat": Method.IVFFLAT, "hnsw": Method.HNSW}
_LONGEST_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class IndexLine:
    """What one bullet states: ``kind`` is gin, btree, unique or a vector method, None if unsaid."""

    name: str
    place: Place
    kind: str | None = None
    columns: tuple[Piece, ...] = ()
    opclass: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()


def looks_like_index(pieces: tuple[Piece, ...]) -> bool:
    """Whether the pieces begin as an index does: a code span with the suffix of an index."""
    first = pieces[0]
    return first.kind is Kind.CODE and first.text.endswith(tuple(_SUFFIXES))


def read_index(pieces: tuple[Piece, ...], schema: str | None, table: str | None) -> IndexLine:
    """Grammar: index = named | described | vector; raises :class:`Complaint` D001 or D005."""
    cursor = Cursor(pieces)
    if cursor.peek().kind is Kind.CODE:
        line = _named(cursor)
    elif cursor.accept("vector", "index", "on"):
        line = _vector(cursor, schema, table)
    elif cursor.peek().word in _KINDS and cursor.peek(1).word == "index":
        line = _described(cursor)
    else:
        raise _refuse(cursor, "not an index: it begins with")
    if cursor.peek().kind is not Kind.END:
        raise _refuse(cursor, "an index goes on with")
    return line


def resolve(line: IndexLine, table: str, columns: Set[str]) -> Index | Unique:
    """The index or unique constraint that a bullet means; raises :class:`Complaint` D008."""
    if line.opclass is not None and line.kind is not None:
        (column,) = (piece.text for piece in line.columns)
        _require_columns(line, table, columns)
        key = IndexKey(column, opclass=line.opclass)
        return Index(line.name, (key,), _VECTOR_METHODS[line.kind], parameters=line.parameters)
    suffix = line.name[-4:]
    kind = _SUFFIXES.get(suffix)
    if kind is None:
        raise _underivable(line, "does not end with _idx, _gin or _key", "give it such an ending")
    if line.kind not in (None, kind):
        raise _underivable(
            line,
            f"ends with {suffix}, which means {kind}, but the text says {line.kind}",
            "make the name and the text agree",
        )
    prefix = f"{table}_"
    if not line.name.startswith(prefix) or len(line.name) <= len(prefix) + len(suffix):
        raise _underivable(line, f"does not begin with {prefix}", f"name it {prefix}column{suffix}")
    stem = line.name[len(prefix) : -len(suffix)]
    readings = _splits(stem, columns)
    if line.columns:
        _require_columns(line, table, columns)
        names = tuple(piece.text for piece in line.columns)
        if readings and names not in readings:
            said, named = ", ".join(names), ", ".join(readings[0])
            raise _underivable(
                line, f"speaks of {named}, the text of {said}", "make the name and the text agree"
            )
    elif len(readings) == 1:
        (names,) = readings
    elif readings:
        ways = " or ".join(", ".join(reading) for reading in readings)
        raise _underivable(
            line, f"can be read as {ways}", f"say which: `{line.name}` – btree on `a`, `b`"
        )
    else:
        raise _underivable(
            line,
            f"leaves {shown(stem)!r} without {table} and {suffix}, which is no column of {table}",
            f"{did_you_mean(stem, columns)}name the index after its columns, or state them: "
            f"`{shown(line.name)}` – {kind} on `column`",
        )
    if kind == "unique":
        return Unique(line.name, names)
    method = Method.GIN if kind == "gin" else Method.BTREE
    return Index(line.name, tuple(map(IndexKey, names)), method)


# ---- the forms --------------------------------------------------------------------------------


def _named(cursor: Cursor) -> IndexLine:
    """Grammar: named = code [ "(" "unique" ")" ] [ dash kind "on" code { "," code } ]."""
    name = cursor.take()
    kind = "unique" if cursor.accept("(", "unique", ")") else None
    columns: tuple[Piece, ...] = ()
    if cursor.dash():
        said = _KINDS.get(cursor.peek().word)
        if said is not None:
            if kind not in (None, said):
                raise _refuse(cursor, "a unique index goes on with")
            kind = said
            cursor.take()
        columns = _on(cursor)
    return IndexLine(name.text, name.place, kind, columns)


def _described(cursor: Cursor) -> IndexLine:
    """Grammar: described = kind "index" "on" code { "," code } "(" code ")"."""
    kind = _KINDS[cursor.take().word]
    cursor.accept("index")
    columns = _on(cursor)
    if cursor.peek(1).kind is not Kind.CODE or not cursor.accept("("):
        raise _refuse(cursor, "expected the name in parentheses and backticks, found")
    name = cursor.take()
    if not cursor.accept(")"):
        raise _refuse(cursor, "expected ), found")
    return IndexLine(name.text, name.place, kind, columns)


def _on(cursor: Cursor) -> tuple[Piece, ...]:
    if not cursor.accept("on"):
        raise _refuse(cursor, "expected “on” and columns, found")
    columns: list[Piece] = []
    while not columns or cursor.accept(","):
        column = cursor.code()
        if column is None:
            raise _refuse(cursor, "expected a column in backticks, found")
        columns.append(column)
    return tuple(columns)


def _vector(cursor: Cursor, schema: str | None, table: str | None) -> IndexLine:
    """Grammar: vector = "Vector index on" code [hint] [","] ["e.g."] [":"] code."""
    column = cursor.code()
    if column is None:
        raise _refuse(cursor, "expected a column in backticks, found", _VECTOR_FORM)
    hint = None
    if cursor.accept("("):
        cursor.accept("e.g.")
        hint = cursor.code()
        if hint is None or not cursor.accept(")"):
            raise _refuse(cursor, "expected a method in backticks, found", _VECTOR_FORM)
    cursor.accept(",")
    cursor.accept("e.g.")
    cursor.accept(":")
    statement = cursor.code()
    if statement is None:
        raise _refuse(cursor, "expected CREATE INDEX in backticks, found", _VECTOR_FORM)
    line = _Statement(statement).read(schema, table)
    if line.columns[0].text != column.text:
        raise _disagree(statement, f"indexes {line.columns[0].text}, the text {column.text}")
    if hint is not None and hint.text.strip().lower() != line.kind:
        raise _disagree(statement, f"uses {line.kind}, the text {shown(hint.text)}")
    return line


class _Statement:
    """Reads ``CREATE INDEX name ON schema.table USING method (column opclass) [WITH (…)];``."""

    def __init__(self, code: Piece) -> None:
        self._code = code
        try:
            tokens = sql.tokenize(code.text)
        except sql.UnterminatedError as error:
            raise self._bad(f"has an {error}") from None
        self._tokens = [token for token in tokens if token.kind != "space"]
        self._position = 0

    def read(self, schema: str | None, table: str | None) -> IndexLine:
        """The index that the statement makes; D001 where it is another statement or table."""
        self._expect("create", "index")
        name = self._name()
        self._expect("on")
        path = [self._name()]
        if self._accept("."):
            path.append(self._name())
        expected = [table] if len(path) == 1 else [schema, table]
        if table is not None and schema is not None and path != expected:
            raise _disagree(
                self._code, f"is about {shown('.'.join(path))}, the section about {schema}.{table}"
            )
        self._expect("using")
        method = self._name()
        if method not in _VECTOR_METHODS:
            raise self._bad(f"uses {shown(method)}: a vector index is ivfflat or hnsw")
        self._expect("(")
        column, opclass = self._name(), self._name()
        self._expect(")")
        parameters = self._parameters() if self._accept("with") else ()
        self._accept(";")
        if self._position < len(self._tokens):
            raise self._bad(f"goes on with {shown(self._tokens[self._position].text)}")
        piece = Piece(Kind.CODE, column, self._code.place, spaced=False)
        return IndexLine(name, self._code.place, method, (piece,), opclass, parameters)

    def _parameters(self) -> tuple[tuple[str, str], ...]:
        self._expect("(")
        parameters: dict[str, str] = {}
        while not parameters or self._accept(","):
            key = self._name()
            self._expect("=")
            token = self._take()
            if token is None or token.kind != "number" or key in parameters:
                raise self._bad(f"gives {shown(key)} no number, or gives it twice")
            parameters[key] = token.text
        self._expect(")")
        return tuple(sorted(parameters.items()))

    def _take(self) -> sql.Token | None:
        if self._position == len(self._tokens):
            return None
        self._position += 1
        return self._tokens[self._position - 1]

    def _accept(self, text: str) -> bool:
        found = self._position < len(self._tokens)
        found = found and self._tokens[self._position].text.lower() == text
        self._position += found
        return found

    def _expect(self, *words: str) -> None:
        for word in words:
            if not self._accept(word):
                token = self._take()
                found = f"found {shown(token.text)}" if token else "found the end"
                raise self._bad(f"does not parse: expected {word.upper()}, {found}")

    def _name(self) -> str:
        token = self._take()
        if token is not None and token.kind == "word":
            return token.text.lower()
        if token is not None and token.kind == "quoted" and token.text.startswith('"'):
            return token.text[1:-1].replace('""', '"')
        found = f"found {shown(token.text)}" if token else "found the end"
        raise self._bad(f"does not parse: expected a name, {found}")

    def _bad(self, problem: str) -> Complaint:
        return Complaint("D001", f"the statement {problem}", _VECTOR_FORM, self._code.place)


# ---- names and columns ------------------------------------------------------------------------


def _splits(stem: str, columns: Set[str]) -> list[tuple[str, ...]]:
    """The ways to read ``a_b_c`` as columns joined by ``_``; a single column goes before all."""
    if stem in columns:
        return [(stem,)]
    if len(stem) > _LONGEST_NAME:
        return []
    parts = stem.split("_")
    ways: list[list[tuple[str, ...]]] = [[()]]
    for end in range(1, len(parts) + 1):
        found: list[tuple[str, ...]] = []
        for start in range(end):
            column = "_".join(parts[start:end])
            if column in columns:
                found += [(*way, column) for way in ways[start] if column not in way]
        ways.append(found[:3])  # two ways are too many already
    return ways[-1][:2]


def _require_columns(line: IndexLine, table: str, columns: Set[str]) -> None:
    for piece in line.columns:
        if piece.text not in columns:
            raise Complaint(
                "D008",
                f"`{shown(piece.text)}` is no column of {table}",
                f"{did_you_mean(piece.text, columns)}name a column that the table's list states",
                piece.place,
                f"{table}.{line.name}",
            )


def _underivable(line: IndexLine, problem: str, fix: str) -> Complaint:
    return Complaint("D008", f"the name `{shown(line.name)}` {problem}", fix, line.place)


def _disagree(statement: Piece, problem: str) -> Complaint:
    return Complaint(
        "D001", f"the statement {problem}", "make the statement and the text agree", statement.place
    )


def _refuse(cursor: Cursor, problem: str, form: str = FORM) -> Complaint:
    return Complaint("D001", f"{problem} {cursor.describe()}", form, cursor.peek().place)
