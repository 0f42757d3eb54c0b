"""Recognisers: what Postgres prints for a check, default, predicate or WHEN clause, to the model.

They are the inverse of ``emit/expressions.py`` as the server prints it with an empty
``search_path`` and the other settings of the reader. Whatever they do not know for sure becomes an
``Opaque…`` member with the printed text; no text raises an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeVar

from codered_spec.model.schema import (
    Default,
    Finite,
    Flat,
    IsNotNull,
    IsNull,
    IsTrue,
    Literal,
    Matches,
    MaxBytes,
    NonZero,
    Now,
    OneOf,
    OpaqueCondition,
    OpaqueDefault,
    OpaquePredicate,
    OpaqueRule,
    Ordered,
    Predicate,
    RandomUuid,
    Range,
    RowChanged,
    Rule,
    SubsetOf,
)
from codered_spec.model.types import (
    INTEGRAL,
    NUMBERS,
    TEMPORAL,
    TEXTUAL,
    Array,
    BigInt,
    Boolean,
    Date,
    Integer,
    Numeric,
    PgType,
    Real,
    SmallInt,
    Varchar,
    Vector,
    base_name,
)
from codered_spec.sources.database.expression_tree import (
    AnyOf,
    Binary,
    Call,
    Case,
    Cast,
    Elements,
    Keyword,
    Name,
    Node,
    NullTest,
    Number,
    Text,
    UnrecognisedError,
    parse_expression,
)
from codered_spec.sql import tokenize

T = TypeVar("T")

_WIDER: Final[dict[type[object], tuple[str, ...]]] = {
    SmallInt: ("integer", "bigint", "numeric", "double precision"),
    Integer: ("bigint", "numeric", "double precision"),
    BigInt: ("numeric", "double precision"),
    Numeric: ("double precision",),
    Real: ("double precision",),
    Date: ("timestamp with time zone",),
    Varchar: ("text",),
}
"""The casts that Postgres itself puts around an operand, by the type of the operand."""

_INTEGERS: Final = (("smallint",), ("integer",), ("bigint",))
_FLOATS: Final = (("numeric",), ("double precision",))
_INFINITE: Final = (*_FLOATS, ("real",))
_TEXTS: Final = (("text",), ("character varying",))
_WHOLE: Final = re.compile(r"-?[0-9]{1,1000}")
_DECIMAL: Final = re.compile(
    r"-?(?:[0-9]{1,1000}\.?[0-9]{0,1000}|\.[0-9]{1,1000})(?:e[-+]?[0-9]{1,3})?"
)
_NEEDS_QUOTES: Final = re.compile(r'[{}",\\ \t\n\v\f\r]')


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an expression may refer to: the types of the table's columns, and pgvector's schema."""

    types: Mapping[str, PgType]
    vector_schema: str | None = None


def read_rule(text: str, around: Surroundings) -> Rule:
    """The rule of a check constraint."""
    return _recognise(text, lambda node: _rule(node, around)) or OpaqueRule(text)


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


# ---- rules ------------------------------------------------------------------------------------


def _rule(node: Node, around: Surroundings) -> Rule:
    match node:
        case AnyOf("=", left, array):
            return OneOf(_textual(left, around), _texts(array))
        case Binary("=", left, right):
            return OneOf(_textual(left, around), (_text(right),))
        case Binary("~", left, right):
            return Matches(_textual(left, around), _text(right))
        case Binary("<@", left, right):
            column = _column(left)
            element = _array(column, around).element
            if not isinstance(element, TEXTUAL):
                raise UnrecognisedError("not an array of text")
            return SubsetOf(column, _texts(right))
        case Call(("isfinite",), (argument,)):
            column = _column(argument)
            if not isinstance(around.types.get(column), TEMPORAL):
                raise UnrecognisedError("not a date or instant")
            return Finite(column)
        case Binary("<=", Call(("octet_length",), (argument,)), limit):
            return MaxBytes(_measured(argument, around), _integer(limit))
        case Binary(">", Call((schema, "vector_norm"), (argument,)), right):
            column = _column(argument)
            known = schema == around.vector_schema
            if not (known and isinstance(around.types.get(column), Vector) and _bound(right) == 0):
                raise UnrecognisedError("not the norm of a vector")
            return NonZero(column)
        case Case():
            return _flat(node, around)
        case Binary():
            return _comparison(node, around)
    raise UnrecognisedError("no rule")


def _column(node: Node) -> str:
    if isinstance(node, Name) and len(node.parts) == 1 and not node.star:
        return node.parts[0]
    raise UnrecognisedError("not a column")


def _widened(node: Node, around: Surroundings) -> str:
    """The column below the casts that Postgres adds by itself."""
    targets: tuple[str, ...] = ()
    while isinstance(node, Cast):
        targets += (".".join(node.type),)
        node = node.operand
    column = _column(node)
    allowed = _WIDER.get(type(around.types.get(column)), ())
    if column in around.types and len(targets) <= 1 and set(targets) <= set(allowed):
        return column
    raise UnrecognisedError("an unknown cast of a column")


def _textual(node: Node, around: Surroundings) -> str:
    column = _widened(node, around)
    if isinstance(around.types[column], TEXTUAL):
        return column
    raise UnrecognisedError("not a column of text")


def _array(column: str, around: Surroundings) -> Array:
    type_ = around.types.get(column)
    if isinstance(type_, Array):
        return type_
    raise UnrecognisedError("not an array")


def _text(node: Node) -> str:
    """A constant of a type of text, without a length that could cut it."""
    while isinstance(node, Cast) and node.type in _TEXTS:
        if isinstance(node.operand, Text):
            return node.operand.value
        node = node.operand
    raise UnrecognisedError("not a constant text")


def _texts(node: Node) -> tuple[str, ...]:
    while isinstance(node, Cast) and node.type in (("text[]",), ("character varying[]",)):
        node = node.operand
    if isinstance(node, Elements):
        return tuple(map(_text, node.items))
    raise UnrecognisedError("not an array of constants")


def _measured(node: Node, around: Surroundings) -> str:
    match node:
        case Call(("array_to_string",), (array, separator)) if _text(separator) == "":
            column = _column(array)
            _array(column, around)
            return column
    return _textual(node, around)


def _flat(node: Case, around: Surroundings) -> Rule:
    match node:
        case Case(
            branches=(
                (
                    Binary(
                        "or",
                        Binary(">", Call(("array_ndims",), (a,)), Number("1")),
                        Binary("<>", Call(("array_lower",), (b, Number("1"))), Number("1")),
                    ),
                    Keyword("false"),
                ),
            ),
            otherwise=NullTest(
                Call(("array_position",), (c, Cast(Keyword("null"), _))), negated=False
            ),
        ) if a == b == c:
            column = _column(a)
            _array(column, around)
            return Flat(column)
    raise UnrecognisedError("another CASE")


def _comparison(node: Binary, around: Surroundings) -> Rule:
    """A range, the two infinity clauses, or an order of two columns."""
    clauses: list[Node] = []
    rest: Node = node
    while isinstance(rest, Binary) and rest.operator == "and":
        clauses.append(rest.right)
        rest = rest.left
    clauses.append(rest)
    if len(clauses) == 1 and node.operator in ("<", "<="):
        right = node.right
        while isinstance(right, Cast):
            right = right.operand
        if isinstance(right, Name):
            lower, upper = _widened(node.left, around), _widened(node.right, around)
            return Ordered(lower, upper, node.operator == "<")
    return _range(clauses, around)


def _range(clauses: list[Node], around: Surroundings) -> Rule:
    columns: set[str] = set()
    bounds: dict[str, Decimal | None] = {}
    for clause in clauses:
        if not isinstance(clause, Binary):
            raise UnrecognisedError("not a comparison")
        column = _widened(clause.left, around)
        columns.add(column)
        lossy = isinstance(clause.left, Cast) and isinstance(around.types[column], BigInt | Numeric)
        if lossy and clause.left != Cast(Name((column,)), ("numeric",)):
            raise UnrecognisedError("the cast loses digits")
        infinite = {">": "-Infinity", "<": "Infinity"}.get(clause.operator)
        bound = None if infinite else _bound(clause.right)
        if infinite and not _is_infinity(clause.right, infinite):
            raise UnrecognisedError("not the infinity")
        side = clause.operator.rstrip("=")
        if side in bounds or side not in ("<", ">"):
            raise UnrecognisedError("not a range")
        bounds[side] = bound
    column = columns.pop()
    type_ = around.types[column]
    endless = not isinstance(type_, INTEGRAL)
    minimum, maximum = bounds.get(">"), bounds.get("<")
    # without both clauses NaN or an infinity passes; whole numbers have neither
    complete = len(bounds) == 2 if endless else None not in bounds.values()
    if columns or not isinstance(type_, NUMBERS) or not complete:
        raise UnrecognisedError("not a range of one number")
    if minimum is None and maximum is None:
        return Finite(column)
    return Range(column, minimum, maximum)


def _is_infinity(node: Node, text: str) -> bool:
    return isinstance(node, Cast) and node.type in _INFINITE and node.operand == Text(text)


# ---- numbers ----------------------------------------------------------------------------------


def _number_text(node: Node) -> str:
    """A constant number below casts that do not change it."""
    match node:
        case Number(text):
            found = text
        case Cast(Text(text), type_) if type_ in _INTEGERS and _WHOLE.fullmatch(text):
            found = text
        case Cast(Text(text), type_) if type_ in _FLOATS:
            found = text
        case Cast(operand, ("bigint",)) if _WHOLE.fullmatch(_number_text(operand)):
            found = _number_text(operand)
        case Cast(operand, type_) if type_ in _FLOATS:
            found = _number_text(operand)
        case _:
            raise UnrecognisedError("not a constant number")
    if not _DECIMAL.fullmatch(found):
        raise UnrecognisedError("not a number")
    return found if "e" not in found else format(Decimal(found), "f")


def _bound(node: Node) -> Decimal:
    return Decimal(_number_text(node))


def _integer(node: Node) -> int:
    text = _number_text(node)
    if _WHOLE.fullmatch(text):
        return int(text)
    raise UnrecognisedError("not an integer")


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
            case Cast(Text("NaN" | "Infinity" | "-Infinity" as text), cast) if cast in _INFINITE:
                return Literal(text)
            case Cast(Text(text), ("real",)) if _DECIMAL.fullmatch(text):
                return Literal(format(Decimal(text), "f"))
        return Literal(_number_text(node))
    if isinstance(node, Cast) and isinstance(node.operand, Text):
        if isinstance(type_, TEXTUAL) and node.type in _TEXTS:
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
        return str(_integer(node))
    if not isinstance(type_.element, TEXTUAL):
        raise UnrecognisedError("an element whose text is not known")
    text = _text(node)
    if text == "" or text.upper() == "NULL" or _NEEDS_QUOTES.search(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def _predicate(node: Node, around: Surroundings) -> Predicate:
    match node:
        case NullTest(operand, negated):
            column = _column(operand)
            return IsNotNull(column) if negated else IsNull(column)
        case Name():
            column = _column(node)
            if isinstance(around.types.get(column), Boolean):
                return IsTrue(column)
    raise UnrecognisedError("no predicate")
