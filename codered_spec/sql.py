"""SQL text: the one place that quotes, and the lexer that splits what Postgres or people wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_PLAIN_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]*")

RESERVED: Final = frozenset(
    # every word that quote_ident() of Postgres 15 to 18 quotes (pg_get_keywords, catcode not 'U')
    """
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit
    boolean both case cast char character check coalesce collate collation column concurrently
    constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user dec decimal default deferrable desc distinct do else end except
    exists extract false fetch float for foreign freeze from full grant greatest group grouping
    having ilike in initially inner inout int integer intersect interval into is isnull join json
    json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar
    json_serialize json_table json_value lateral leading least left like limit localtime
    localtimestamp merge_action national natural nchar none normalize not notnull null nullif
    numeric offset on only or order out outer overlaps overlay placing position precision primary
    real references returning right row select session_user setof similar smallint some substring
    symmetric system_user table tablesample then time timestamp to trailing treat trim true union
    unique user using values varchar variadic verbose when where window with xmlattributes
    xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize
    xmltable
    """.split()
)

MAX_IDENTIFIER_BYTES: Final = 63


def identifier(*parts: str) -> str:
    """A qualified name, each part quoted exactly where ``quote_ident()`` would.

    >>> identifier("codered", "user")
    'codered."user"'
    """
    return ".".join(
        part
        if _PLAIN_IDENTIFIER.fullmatch(part) and part not in RESERVED
        else '"' + part.replace('"', '""') + '"'
        for part in parts
    )


def literal(text: str) -> str:
    """A string constant that means the same whatever ``standard_conforming_strings`` says."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def columns(names: tuple[str, ...]) -> str:
    """``(a, b)``."""
    return "(" + ", ".join(identifier(name) for name in names) + ")"


@dataclass(frozen=True, slots=True)
class Token:
    """A lexical unit: ``kind`` is word, quoted, string, number, operator, space or comment."""

    kind: str
    text: str
    start: int


_TOKEN: Final = re.compile(
    r"""
      (?P<space>[ \t\n\r\f\v]+)
    | (?P<comment>--[^\n\r]*)
    | (?P<block>/\*)
    | (?P<string>[eE]'(?:[^'\\]++|\\.|''|'[ \t\f\v]*[\n\r][ \t\n\r\f\v]*')*+'
               | (?:[bBxXnN]|[uU]&)?'(?:[^']++|'')*+')
    | (?P<quoted>(?:[uU]&)?"(?:[^"]++|"")*+")
    | (?P<endless>[eE]?['"])
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<parameter>\$\d+)
    | (?P<punctuation>[(),;\[\].] | ::? )
    | (?P<operator>(?:(?!--|/\*)[-+*/<>=~!@\#%^&|`?])+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SPACE: Final = " \t\n\r\f\v"  # what Postgres takes for space: ASCII only
_BLOCK_EDGE: Final = re.compile(r"/\*|\*/")


class UnterminatedError(ValueError):
    """A quote, dollar quote or block comment that never ends; ``start`` is its offset."""

    def __init__(self, what: str, start: int) -> None:
        self.what = what
        self.start = start
        super().__init__(f"unterminated {what}")


def _block_end(text: str, start: int) -> int:
    depth, position = 0, start
    while True:
        edge = _BLOCK_EDGE.search(text, position)
        if edge is None:
            raise UnterminatedError("comment", start)
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
        if depth == 0:
            return position


def tokenize(text: str) -> list[Token]:
    """All tokens of ``text``; joined together they are ``text`` again.

    Raises :class:`UnterminatedError` for a quote or comment without an end.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None  # the last branch takes any character
        kind, end = str(match.lastgroup), match.end()
        if kind == "block":
            kind, end = "comment", _block_end(text, position)
        elif kind == "dollar":
            close = text.find(match.group(), end)
            if close < 0:
                raise UnterminatedError("dollar quote", position)
            kind, end = "string", close + len(match.group())
        elif kind == "endless":
            raise UnterminatedError("quote", position)
        tokens.append(Token(kind, text[position:end], position))
        position = end
    return tokens


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement without its semicolon.

    ``line`` counts from 1 in the split text, ``start`` is the offset there; ``text`` occurs there
    unchanged.
    """

    text: str
    line: int
    start: int


def split_statements(text: str) -> tuple[Statement, ...]:
    """The statements of an SQL script, comments kept; linear in the text.

    Semicolons inside parentheses (rules) and ``BEGIN ATOMIC … END`` bodies do not split. Raises
    :class:`UnterminatedError`.
    """
    statements: list[Statement] = []
    parts: list[Token] = []
    line, counted = 1, 0
    atomic = case_depth = parentheses = 0
    previous = ""

    def finish() -> None:
        nonlocal line, counted
        if any(part.kind not in ("space", "comment") for part in parts):
            while parts[0].kind == "space":
                del parts[0]
            start = parts[0].start
            line, counted = line + text.count("\n", counted, start), start
            joined = "".join(part.text for part in parts).rstrip(_SPACE)
            statements.append(Statement(joined, line, start))
        parts.clear()

    for token in tokenize(text):
        word = token.text.lower() if token.kind == "word" else ""
        if word == "atomic" and previous == "begin":
            atomic += 1
        elif atomic and word == "case":
            case_depth += 1
        elif atomic and word == "end":
            if case_depth:
                case_depth -= 1
            else:
                atomic -= 1
        elif token.kind == "punctuation" and token.text in "()":
            parentheses = max(0, parentheses + (1 if token.text == "(" else -1))
        if token.text == ";" and token.kind == "punctuation" and not atomic and not parentheses:
            finish()
        else:
            parts.append(token)
        if token.kind not in ("space", "comment"):
            previous = word
    finish()
    return tuple(statements)
