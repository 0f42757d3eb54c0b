"""The closed family of Postgres column types that a spec may use.

A type that is not in this family is refused by every source, so that no emitter meets one it does
not know. Spelling follows ``format_type()`` of Postgres, with the aliases people write accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Uuid:
    """``uuid``."""

    def __str__(self) -> str:
        return "uuid"


@dataclass(frozen=True, slots=True)
class Text:
    """``text``: at most 1 GB, no NUL."""

    def __str__(self) -> str:
        return "text"


@dataclass(frozen=True, slots=True)
class Varchar:
    """``varchar(length)``; ``length`` in code points."""

    length: int

    def __str__(self) -> str:
        return f"varchar({self.length})"


@dataclass(frozen=True, slots=True)
class Boolean:
    """``boolean``."""

    def __str__(self) -> str:
        return "boolean"


@dataclass(frozen=True, slots=True)
class SmallInt:
    """``smallint``, two bytes."""

    def __str__(self) -> str:
        return "smallint"


@dataclass(frozen=True, slots=True)
class Integer:
    """``integer``, four bytes."""

    def __str__(self) -> str:
        return "integer"


@dataclass(frozen=True, slots=True)
class BigInt:
    """``bigint``, eight bytes."""

    def __str__(self) -> str:
        return "bigint"


@dataclass(frozen=True, slots=True)
class Numeric:
    """``numeric(precision,scale)`` in decimal digits, or ``numeric`` when precision is None."""

    precision: int | None = None
    scale: int = 0

    def __str__(self) -> str:
        return "numeric" if self.precision is None else f"numeric({self.precision},{self.scale})"


@dataclass(frozen=True, slots=True)
class Real:
    """``real``, IEEE 754 single precision."""

    def __str__(self) -> str:
        return "real"


@dataclass(frozen=True, slots=True)
class DoublePrecision:
    """``double precision``, IEEE 754 double precision."""

    def __str__(self) -> str:
        return "double precision"


@dataclass(frozen=True, slots=True)
class Date:
    """``date``."""

    def __str__(self) -> str:
        return "date"


@dataclass(frozen=True, slots=True)
class Timestamptz:
    """``timestamptz``: an instant, microsecond resolution."""

    def __str__(self) -> str:
        return "timestamptz"


@dataclass(frozen=True, slots=True)
class Jsonb:
    """``jsonb``."""

    def __str__(self) -> str:
        return "jsonb"


@dataclass(frozen=True, slots=True)
class Vector:
    """pgvector's ``vector(dimensions)``; None where the dimension is not decided yet."""

    dimensions: int | None = None

    def __str__(self) -> str:
        return "vector" if self.dimensions is None else f"vector({self.dimensions})"


Scalar: TypeAlias = (
    Uuid
    | Text
    | Varchar
    | Boolean
    | SmallInt
    | Integer
    | BigInt
    | Numeric
    | Real
    | DoublePrecision
    | Date
    | Timestamptz
    | Jsonb
    | Vector
)


@dataclass(frozen=True, slots=True)
class Array:
    """An array of a scalar type; Postgres itself fixes neither dimension nor length."""

    element: Scalar

    def __str__(self) -> str:
        return f"{self.element}[]"


PgType: TypeAlias = Scalar | Array

TEXTUAL: Final = (Text, Varchar)
INTEGRAL: Final = (SmallInt, Integer, BigInt)
FLOATING: Final = (Real, DoublePrecision)
NUMBERS: Final = (*INTEGRAL, Numeric, *FLOATING)
TEMPORAL: Final = (Date, Timestamptz)

_PLAIN: Final[dict[str, Scalar]] = {
    "uuid": Uuid(),
    "text": Text(),
    "boolean": Boolean(),
    "bool": Boolean(),
    "smallint": SmallInt(),
    "int2": SmallInt(),
    "integer": Integer(),
    "int": Integer(),
    "int4": Integer(),
    "bigint": BigInt(),
    "int8": BigInt(),
    "numeric": Numeric(),
    "decimal": Numeric(),
    "real": Real(),
    "float4": Real(),
    "double precision": DoublePrecision(),
    "float8": DoublePrecision(),
    "date": Date(),
    "timestamptz": Timestamptz(),
    "timestamp with time zone": Timestamptz(),
    "jsonb": Jsonb(),
    "vector": Vector(),
}
TYPE_NAMES: Final = (*dict.fromkeys(str(t) for t in _PLAIN.values()), "varchar(n)")
"""Canonical spellings, for messages."""

_WITH_PARAMETERS: Final = re.compile(r"([a-z ]+?) ?\( ?([0-9]{1,9}) ?(?:, ?([0-9]{1,9}) ?)?\)")


def parse_type(text: str) -> PgType | None:
    """The type that ``text`` names, or None when it is not in the family.

    >>> parse_type("numeric(10,2)")
    Numeric(precision=10, scale=2)
    """
    name = " ".join(text.split()).lower()
    if name.endswith("[]"):
        if name.endswith("[][]"):
            return None  # Postgres does not distinguish dimensions, so one pair says it all
        element = parse_type(name[:-2])
        return None if element is None or isinstance(element, Array) else Array(element)
    if name in _PLAIN:
        return _PLAIN[name]
    match = _WITH_PARAMETERS.fullmatch(name)
    if match is None:
        return None
    base, first, second = match.group(1), int(match.group(2)), match.group(3)
    if base in ("numeric", "decimal"):
        return Numeric(first, int(second or 0))
    if second is not None:
        return None
    if base in ("varchar", "character varying"):
        return Varchar(first)
    if base == "vector":
        return Vector(first)
    return None


def base_name(type_: PgType) -> str:
    """The type without its parameters: ``numeric`` for ``numeric(10,2)``."""
    if isinstance(type_, Array):
        return base_name(type_.element) + "[]"
    return str(type_).partition("(")[0]
