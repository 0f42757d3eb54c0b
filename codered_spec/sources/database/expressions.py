"""Recognisers: what Postgres prints for a check, default, predicate or WHEN clause, to the model.

They are the inverse of ``emit/expressions.py`` as the server prints it with an empty
``search_path`` and the other settings of the reader. Whatever they do not know for sure becomes an
``Opaque…`` member with the printed text; no text raises an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final, TypeVar

from codered_spec.model.schema import (
    Default,
    IsNotNull,
    IsNull,
    IsTrue,
    Literal,
    Now,
    OpaqueCondition,
    OpaqueDefault,
    OpaquePredicate,
    OpaqueRule,
    Predicate,
    RandomUuid,
    RowChanged,
    Rule,
)
from codered_spec.model.types import (
    INTEGRAL,
    NUMBERS,
    TEXTUAL,
    Array,
    Boolean,
    PgType,
    base_name,
)
from codered_spec.sources.database.expression_tree import (
    Binary,
    Call,
    Cast,
    Elements,
    Keyword,
    Name,
    Node,
    NullTest,
    Text,
    UnrecognisedError,
    parse_expression,
)
from codered_spec.sources.database.rules import (
    DECIMAL,
    INFINITE,
    TEXTS,
    Surroundings,
    constant_text,
    number_text,
    plain_column,
    recognise_rule,
    whole_number,
)
from codered_spec.sql import tokenize

__all__ = ["Surroundings", "read_default", "read_predicate", "read_rule", "read_when"]

T = TypeVar("T")

_NEEDS_QUOTES: Final = re.compile(r'[{}",\\ \t\n\v\f\r]')


def read_rule(text: str, around: Surroundings) -> Rule:
    """The rule of a check constraint."""
    return _recognise(text, lambda node: recognise_rule(node, around)) or OpaqueRule(text)


def read_default(text: str, type_: PgType, vector_schema: str | None) -> Default | None:
    """The default of a column of that type; None for ``NULL``, which is no default."""
    node = _parse(text)
    while isinstance(node, Cast):
        node = node.operand
    if node == Keyword("null"):
        return None
    found = _recognise(text, lambda node: _default(node, type_, vector_schema))
    return found or OpaqueDefault(text)


def read_predicate(text: str, around: Surroundings) -> Predicate:
    """The predicate of a partial index."""
    return _recognise(text, lambda node: _predicate(node, around)) or OpaquePredicate(text)


def read_when(definition: str) -> RowChanged | OpaqueCondition:
    """The condition in the definition of a trigger that has a WHEN clause."""
    text = _when_clause(definition)
    changed = Binary("is distinct from", Name(("old",), True), Name(("new",), True))
    return RowChanged() if _parse(text) == changed else OpaqueCondition(text)


def _parse(text: str) -> Node | None:
    try:
        return parse_expression(text)
    except UnrecognisedError:
        return None


def _recognise(text: str, recogniser: Callable[[Node], T]) -> T | None:
    try:
        return recogniser(parse_expression(text))
    except UnrecognisedError:
        return None


def _when_clause(definition: str) -> str:
    """What stands between the parentheses after WHEN; the whole text if there is none."""
    try:
        tokens = tokenize(definition)
    except ValueError:
        return definition
    start, depth = -1, 0
    for token in tokens:
        if start < 0:
            if token.kind == "word" and token.text == "WHEN":
                start = token.start + len("WHEN")
        elif token.kind == "punctuation":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0:
                return definition[start : token.start].strip().removeprefix("(")
    return definition


# ---- defaults and predicates ------------------------------------------------------------------


def _default(node: Node, type_: PgType, vector_schema: str | None) -> Default:
    match node:
        case Call(("now",) | ("transaction_timestamp",), ()) | Keyword("current_timestamp"):
            return Now()
        case Call(("gen_random_uuid",), ()):
            return RandomUuid()
        case Keyword("true" | "false" as word) if isinstance(type_, Boolean):
            return Literal(word)
    if isinstance(type_, NUMBERS):
        match node:
            case Cast(Text("NaN" | "Infinity" | "-Infinity" as text), cast) if cast in INFINITE:
                return Literal(text)
            case Cast(Text(text), ("real",)) if DECIMAL.fullmatch(text):
                return Literal(format(Decimal(text), "f"))
        return Literal(number_text(node))
    if isinstance(node, Cast) and isinstance(node.operand, Text):
        if isinstance(type_, TEXTUAL) and node.type in TEXTS:
            return Literal(node.operand.value)
        if node.type == _type_parts(type_, vector_schema):
            return Literal(node.operand.value)
    if isinstance(type_, Array):
        return Literal(_array_text(node, type_))
    raise UnrecognisedError("no default")


def _type_parts(type_: PgType, vector_schema: str | None) -> tuple[str, ...]:
    """The name that a cast to the type has, without parameters."""
    name = base_name(type_)
    for short, long in (
        ("timestamptz", "timestamp with time zone"),
        ("varchar", "character varying"),
    ):
        if name.removesuffix("[]") == short:
            name = name.replace(short, long)
    if name.removesuffix("[]") == "vector":
        return (str(vector_schema), name)
    return (name,)


def _array_text(node: Node, type_: Array) -> str:
    """``ARRAY[…]`` of constants, as the text that the server prints for its value."""
    while isinstance(node, Cast) and node.type in (_type_parts(type_, None), ("text[]",)):
        node = node.operand
    if not isinstance(node, Elements):
        raise UnrecognisedError("not an array of constants")
    return "{" + ",".join(_element_text(item, type_) for item in node.items) + "}"


def _element_text(node: Node, type_: Array) -> str:
    if node == Keyword("null") or (isinstance(node, Cast) and node.operand == Keyword("null")):
        return "NULL"
    if isinstance(type_.element, INTEGRAL):
        return str(whole_number(node))
    if not isinstance(type_.element, TEXTUAL):
        raise UnrecognisedError("an element whose text is not known")
    text = constant_text(node)
    if text == "" or text.upper() == "NULL" or _NEEDS_QUOTES.search(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def _predicate(node: Node, around: Surroundings) -> Predicate:
    match node:
        case NullTest(operand, negated):
            column = plain_column(operand)
            return IsNotNull(column) if negated else IsNull(column)
        case Name():
            column = plain_column(node)
            if isinstance(around.types.get(column), Boolean):
                return IsTrue(column)
    raise UnrecognisedError("no predicate")
