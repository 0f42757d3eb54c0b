"""Semantic rules about types: parameters, defaults, check rules, index methods."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, assert_never

from codered_spec.errors import Diagnostic
from codered_spec.model.patterns import pattern_problem
from codered_spec.model.schema import (
    Column,
    Finite,
    Flat,
    Index,
    Literal,
    Matches,
    MaxBytes,
    Method,
    NonZero,
    Now,
    OneOf,
    OpaqueDefault,
    OpaqueRule,
    Ordered,
    RandomUuid,
    Range,
    Rule,
    SubsetOf,
    Table,
)
from codered_spec.model.types import (
    FLOATING,
    NUMBERS,
    TEMPORAL,
    TEXTUAL,
    Array,
    Boolean,
    Jsonb,
    Numeric,
    PgType,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)
from codered_spec.model.values import bound_problem, literal_problem, storable

MAX_INDEXED_DIMENSIONS: Final = 2000
MAX_INDEX_COLUMNS: Final = 32


def check_column(table: Table, column: Column) -> Iterator[Diagnostic]:
    """Type parameters, default and known values of one column."""
    address = f"{table.name}.{column.name}"
    problem = parameter_problem(column.type)
    if problem:
        yield Diagnostic("M013", f"{address}: {problem}", "correct the type", subject=address)
    default = column.default
    match default:
        case None | OpaqueDefault():
            problem = None
        case Now():
            fits = isinstance(column.type, Timestamptz)
            problem = None if fits else "now() is for timestamptz"
        case RandomUuid():
            fits = isinstance(column.type, Uuid)
            problem = None if fits else "gen_random_uuid() is for uuid"
        case Literal(text):
            problem = literal_problem(column.type, text) or _against_rules(table, column, text)
        case _:
            assert_never(default)
    if problem:
        shown = default.text if isinstance(default, Literal) else "its default"
        yield Diagnostic(
            "M010",
            f"the default of {address} does not fit {column.type}: {shown}: {problem}",
            "correct the default",
            subject=address,
        )
    if column.known:
        yield from _check_values(column.known, column.type, address, array_ok=True)


def _against_rules(table: Table, column: Column, text: str) -> str | None:
    for check in table.checks:
        rule = check.rule
        if isinstance(rule, OneOf) and rule.column == column.name and text not in rule.values:
            return f"not one of {', '.join(rule.values)}"
    return None


def parameter_problem(type_: PgType) -> str | None:
    """Why the parameters of a type are out of range, or None."""
    match type_:
        case Array(element):
            return parameter_problem(element)
        case Varchar(length):
            return None if 1 <= length <= 10_485_760 else "varchar takes 1 to 10485760 characters"
        case Numeric(precision, scale):
            if precision is None:
                return None
            if not 1 <= precision <= 1000:
                return "numeric takes 1 to 1000 digits"
            return None if 0 <= scale <= precision else "the scale is larger than the precision"
        case Vector(dimensions):
            if dimensions is None or 1 <= dimensions <= 16_000:
                return None
            return "vector takes 1 to 16000 dimensions"
        case _:
            return None


def _check_values(
    values: tuple[str, ...], type_: PgType, address: str, *, array_ok: bool = False
) -> Iterator[Diagnostic]:
    element = type_.element if array_ok and isinstance(type_, Array) else type_
    problem = None
    if not isinstance(element, TEXTUAL):
        problem = f"a value list is for text, not {type_}"
    elif not values:
        problem = "the list is empty"
    elif len(set(values)) != len(values):
        twice = sorted({v for v in values if values.count(v) > 1})
        problem = f"{', '.join(twice)} occurs twice"
    elif not all(map(storable, values)):
        problem = "a value has a NUL or a lone surrogate"
    elif isinstance(element, Varchar) and any(len(v) > element.length for v in values):
        problem = f"a value is longer than {element}"
    if problem:
        yield Diagnostic(
            "M006",
            f"the value list of {address} is not usable: {problem}",
            "correct the list",
            subject=address,
        )


def check_rule(table: Table, rule: Rule, address: str) -> Iterator[Diagnostic]:
    """Whether a check fits its columns, which exist."""
    if isinstance(rule, OpaqueRule):
        return
    if isinstance(rule, Ordered):
        lower, upper = table.column(rule.lower), table.column(rule.upper)
        assert lower is not None
        assert upper is not None
        if lower.type != upper.type or not isinstance(lower.type, (*NUMBERS, *TEMPORAL)):
            yield _misfit(address, f"cannot order {lower.type} and {upper.type}")
        return
    column = table.column(rule.column)
    assert column is not None
    problem: str | None = None
    match rule:
        case OneOf(_, values):
            yield from _check_values(values, column.type, address)
        case SubsetOf(_, values):
            if isinstance(column.type, Array) and isinstance(column.type.element, Text):
                yield from _check_values(values, column.type.element, address)
            else:
                problem = f"a subset is for text[], not {column.type}"
        case Matches(_, pattern):
            if not isinstance(column.type, TEXTUAL):
                problem = f"a format is for text, not {column.type}"
            elif reason := pattern_problem(pattern):
                yield Diagnostic(
                    "M016",
                    f"the format of {address} is outside of the subset: {reason}",
                    "simplify it",
                    subject=address,
                )
        case Range():
            problem = _range_problem(rule, column.type)
        case Finite():
            if not isinstance(column.type, (*TEMPORAL, Numeric, *FLOATING)):
                problem = f"finite is for dates, instants, numeric and floats, not {column.type}"
        case Flat():
            if not isinstance(column.type, Array):
                problem = f"flat is for arrays, not {column.type}"
        case MaxBytes(_, limit):
            element = column.type.element if isinstance(column.type, Array) else column.type
            if not isinstance(element, TEXTUAL):
                problem = f"max_bytes is for text and text[], not {column.type}"
            elif not 1 <= limit < 2**30:
                problem = "the limit is outside of 1 byte to 1 GB"
        case NonZero():
            if not isinstance(column.type, Vector):
                problem = f"nonzero is for vectors, not {column.type}"
        case _:
            assert_never(rule)
    if problem:
        yield _misfit(address, problem)


def _misfit(address: str, problem: str) -> Diagnostic:
    return Diagnostic("M011", f"the check {address}: {problem}", "correct it", subject=address)


def _range_problem(rule: Range, type_: PgType) -> str | None:
    if not isinstance(type_, NUMBERS):
        return f"a range is for numbers, not {type_}"
    bounds = [b for b in (rule.minimum, rule.maximum) if b is not None]
    if not bounds:
        return "a range needs a minimum or a maximum"
    for bound in bounds:
        problem = bound_problem(type_, bound)
        if problem:
            return f"the bound {bound} is {problem}"
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        return "the minimum is above the maximum"
    return None


_OPCLASSES: Final[dict[tuple[Method, type], tuple[str, ...]]] = {
    (Method.BTREE, Text): ("text_pattern_ops",),
    (Method.BTREE, Varchar): ("varchar_pattern_ops",),
    (Method.GIN, Jsonb): ("jsonb_path_ops",),
    (Method.HNSW, Vector): (
        "vector_cosine_ops",
        "vector_l2_ops",
        "vector_ip_ops",
        "vector_l1_ops",
    ),
    (Method.IVFFLAT, Vector): ("vector_cosine_ops", "vector_l2_ops", "vector_ip_ops"),
}
_PARAMETER: Final = re.compile("[1-9][0-9]{0,9}")
_PARAMETERS: Final[dict[Method, dict[str, tuple[int, int]]]] = {
    Method.BTREE: {"fillfactor": (10, 100)},
    Method.HASH: {"fillfactor": (10, 100)},
    Method.GIN: {"gin_pending_list_limit": (64, 2_147_483_647)},
    Method.GIST: {"fillfactor": (10, 100)},
    Method.BRIN: {"pages_per_range": (1, 131_072)},
    Method.HNSW: {"m": (2, 100), "ef_construction": (4, 1000)},
    Method.IVFFLAT: {"lists": (1, 32_768)},
}


def check_index_types(
    table: Table,
    method: Method,
    columns: tuple[str, ...],
    address: str,
    index: Index | None = None,
) -> Iterator[Diagnostic]:
    """Whether the method can index the columns, which exist."""
    if len(columns) > MAX_INDEX_COLUMNS:
        yield Diagnostic(
            "M009",
            f"{address} has {len(columns)} columns, {MAX_INDEX_COLUMNS} are possible",
            "leave out those that the others determine",
            subject=address,
        )
    for name in columns:
        column = table.column(name)
        assert column is not None
        if method in (Method.HNSW, Method.IVFFLAT):
            yield from _check_vector_index(method, column, address)
        elif not _indexable(method, column.type):
            yield Diagnostic(
                "M009",
                f"{address}: {method.value} cannot index {name}, which is {column.type}",
                "choose another method: gin for arrays and jsonb, hnsw for vectors, else btree",
                subject=address,
            )
    if index is None:
        return
    problem = _index_problem(table, index)
    if problem:
        yield Diagnostic("M009", f"{address}: {problem}", "correct the index", subject=address)


def _indexable(method: Method, type_: PgType) -> bool:
    if isinstance(type_, Vector) or (
        isinstance(type_, Array) and isinstance(type_.element, Vector)
    ):
        return False
    match method:
        case Method.BTREE | Method.HASH:
            return True
        case Method.GIN:
            return isinstance(type_, (Array, Jsonb))
        case Method.GIST:
            return False
        case Method.BRIN:
            return not isinstance(type_, (Array, Jsonb, Boolean))
        case Method.HNSW | Method.IVFFLAT:
            return isinstance(type_, Vector)
    assert_never(method)


def _check_vector_index(method: Method, column: Column, address: str) -> Iterator[Diagnostic]:
    type_ = column.type
    problem = None
    if not isinstance(type_, Vector):
        problem = f"{column.name} is {type_}"
    elif type_.dimensions is None:
        problem = f"{column.name} has no fixed dimension"
    elif type_.dimensions > MAX_INDEXED_DIMENSIONS:
        problem = f"{column.name} has {type_.dimensions} dimensions"
    elif method is Method.IVFFLAT and type_.dimensions < 2:
        problem = f"{column.name} has one dimension, and ivfflat needs two"
    if problem:
        yield Diagnostic(
            "M007",
            f"{address}: a vector index needs a fixed dimension of at most"
            f" {MAX_INDEXED_DIMENSIONS}, but {problem}",
            "decide `embedding_dimensions`, or give the type one: vector(384)",
            subject=address,
        )


def _index_problem(table: Table, index: Index) -> str | None:
    method = index.method
    if index.unique and method is not Method.BTREE:
        return "only btree can be unique"
    if not index.unique and not index.nulls_distinct:
        return "nulls_distinct is for unique indexes"
    if method in (Method.HASH, Method.HNSW, Method.IVFFLAT) and len(index.keys) > 1:
        return f"{method.value} takes one column"
    for key in index.keys:
        column = table.column(key.column)
        assert column is not None
        if method is not Method.BTREE and (key.descending or key.nulls_first):
            return f"{method.value} has no order"
        allowed = _OPCLASSES.get((method, type(column.type)), ())
        if key.opclass is not None and key.opclass not in allowed:
            return f"{key.opclass} is no operator class for {column.type} in {method.value}"
        if key.opclass is None and method in (Method.HNSW, Method.IVFFLAT):
            return f"say the operator class of {key.column}: {', '.join(allowed)}"
    for name, value in index.parameters:
        limits = _PARAMETERS[method].get(name)
        if limits is None:
            known = ", ".join(_PARAMETERS[method])
            return f"unknown parameter {name}; {method.value} has {known}"
        # a leading 0 would make it octal
        if not _PARAMETER.fullmatch(value) or not limits[0] <= int(value) <= limits[1]:
            return f"{name} must be a whole number from {limits[0]} to {limits[1]}"
    given = dict(index.parameters)
    if len(given) != len(index.parameters):
        return "a parameter is given twice"
    if method is Method.HNSW:
        m, construction = int(given.get("m", 16)), int(given.get("ef_construction", 64))
        if construction < 2 * m:
            return f"ef_construction, {construction}, must be at least twice m, {m}"
    return None
