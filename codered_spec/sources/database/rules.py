"""Recognises the rule of a check constraint in its parsed expression."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from codered_spec.model.schema import (
    Finite,
    Flat,
    Matches,
    MaxBytes,
    NonZero,
    OneOf,
    Ordered,
    Range,
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
    Date,
    Integer,
    Numeric,
    PgType,
    Real,
    SmallInt,
    Varchar,
    Vector,
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
)

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
INFINITE: Final = (*_FLOATS, ("real",))
TEXTS: Final = (("text",), ("character varying",))
_WHOLE: Final = re.compile(r"-?[0-9]{1,1000}")
DECIMAL: Final = re.compile(
    r"-?(?:[0-9]{1,1000}\.?[0-9]{0,1000}|\.[0-9]{1,1000})(?:e[-+]?[0-9]{1,3})?"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an expression may refer to: the types of the table's columns, and pgvector's schema."""

    types: Mapping[str, PgType]
    vector_schema: str | None = None


def recognise_rule(node: Node, around: Surroundings) -> Rule:
    """The rule, or UnrecognisedError."""
    match node:
        case AnyOf("=", left, array):
            return OneOf(_textual(left, around), _texts(array))
        case Binary("=", left, right):
            return OneOf(_textual(left, around), (constant_text(right),))
        case Binary("~", left, right):
            return Matches(_textual(left, around), constant_text(right))
        case Binary("<@", left, right):
            column = plain_column(left)
            element = _array(column, around).element
            if not isinstance(element, TEXTUAL):
                raise UnrecognisedError("not an array of text")
            return SubsetOf(column, _texts(right))
        case Call(("isfinite",), (argument,)):
            column = plain_column(argument)
            if not isinstance(around.types.get(column), TEMPORAL):
                raise UnrecognisedError("not a date or instant")
            return Finite(column)
        case Binary("<=", Call(("octet_length",), (argument,)), limit):
            return MaxBytes(_measured(argument, around), whole_number(limit))
        case Binary(">", Call((schema, "vector_norm"), (argument,)), right):
            column = plain_column(argument)
            known = schema == around.vector_schema
            if not (known and isinstance(around.types.get(column), Vector) and _bound(right) == 0):
                raise UnrecognisedError("not the norm of a vector")
            return NonZero(column)
        case Case():
            return _flat(node, around)
        case Binary():
            return _comparison(node, around)
    raise UnrecognisedError("no rule")


def plain_column(node: Node) -> str:
    """The name of a column that stands alone, or UnrecognisedError."""
    if isinstance(node, Name) and len(node.parts) == 1 and not node.star:
        return node.parts[0]
    raise UnrecognisedError("not a column")


def _widened(node: Node, around: Surroundings) -> str:
    """The column below the casts that Postgres adds by itself."""
    targets: tuple[str, ...] = ()
    while isinstance(node, Cast):
        targets += (".".join(node.type),)
        node = node.operand
    column = plain_column(node)
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


def constant_text(node: Node) -> str:
    """A constant of a type of text, without a length that could cut it."""
    while isinstance(node, Cast) and node.type in TEXTS:
        if isinstance(node.operand, Text):
            return node.operand.value
        node = node.operand
    raise UnrecognisedError("not a constant text")


def _texts(node: Node) -> tuple[str, ...]:
    while isinstance(node, Cast) and node.type in (("text[]",), ("character varying[]",)):
        node = node.operand
    if isinstance(node, Elements):
        return tuple(map(constant_text, node.items))
    raise UnrecognisedError("not an array of constants")


def _measured(node: Node, around: Surroundings) -> str:
    match node:
        case Call(("array_to_string",), (array, separator)) if constant_text(separator) == "":
            column = plain_column(array)
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
            column = plain_column(a)
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
    return isinstance(node, Cast) and node.type in INFINITE and node.operand == Text(text)


# ---- numbers ----------------------------------------------------------------------------------


def number_text(node: Node) -> str:
    """A constant number below casts that do not change it."""
    match node:
        case Number(text):
            found = text
        case Cast(Text(text), type_) if type_ in _INTEGERS and _WHOLE.fullmatch(text):
            found = text
        case Cast(Text(text), type_) if type_ in _FLOATS:
            found = text
        case Cast(operand, ("bigint",)) if _WHOLE.fullmatch(number_text(operand)):
            found = number_text(operand)
        case Cast(operand, type_) if type_ in _FLOATS:
            found = number_text(operand)
        case _:
            raise UnrecognisedError("not a constant number")
    if not DECIMAL.fullmatch(found):
        raise UnrecognisedError("not a number")
    return found if "e" not in found else format(Decimal(found), "f")


def _bound(node: Node) -> Decimal:
    return Decimal(number_text(node))


def whole_number(node: Node) -> int:
    """A constant whole number, or UnrecognisedError."""
    text = number_text(node)
    if _WHOLE.fullmatch(text):
        return int(text)
    raise UnrecognisedError("not an integer")
