"""SQL expressions of the closed families: rules, defaults, predicates and function bodies.

Each family member has one rendition. ``sources/database`` recognises what Postgres makes of it, and
a round trip over random models on a real server proves the two to be inverse.
"""

from __future__ import annotations

from decimal import Decimal
from typing import assert_never

from codered_spec.model.schema import (
    Column,
    Default,
    Finite,
    Flat,
    FunctionBody,
    IsNotNull,
    IsNull,
    IsTrue,
    Literal,
    Matches,
    MaxBytes,
    NonZero,
    Now,
    OneOf,
    OpaqueBody,
    OpaqueDefault,
    OpaquePredicate,
    OpaqueRule,
    Ordered,
    Predicate,
    RandomUuid,
    Range,
    Rule,
    SetUpdatedAt,
    SubsetOf,
    Table,
)
from codered_spec.model.types import (
    FLOATING,
    INTEGRAL,
    NUMBERS,
    Array,
    Boolean,
    Numeric,
    PgType,
    Vector,
)
from codered_spec.sql import identifier, literal


def sql_type(type_: PgType, vector_schema: str | None) -> str:
    """The type as DDL spells it; pgvector's is qualified with its extension's schema."""
    if isinstance(type_, Array):
        return sql_type(type_.element, vector_schema) + "[]"
    if isinstance(type_, Vector) and vector_schema is not None:
        return f"{identifier(vector_schema)}.{type_}"
    return str(type_)


def default_sql(default: Default, column: Column) -> str:
    """The expression after ``default``."""
    match default:
        case Now():
            return "now()"
        case RandomUuid():
            return "gen_random_uuid()"
        case Literal(text):
            if isinstance(column.type, (*INTEGRAL, Numeric, *FLOATING, Boolean)):
                return text
            return literal(text)
        case OpaqueDefault(expression):
            return expression
    assert_never(default)


def _number(value: Decimal) -> str:
    return format(value, "f")


def _range(rule: Range, column: Column) -> str:
    name = identifier(rule.column)
    endless = not isinstance(column.type, INTEGRAL)  # has NaN and infinities
    parts = []
    if rule.minimum is not None:
        parts.append(f"{name} >= {_number(rule.minimum)}")
    elif endless:
        parts.append(f"{name} > '-Infinity'")
    if rule.maximum is not None:
        parts.append(f"{name} <= {_number(rule.maximum)}")
    elif endless:
        # NaN sorts above Infinity, so this clause refuses both
        parts.append(f"{name} < 'Infinity'")
    return " and ".join(parts)


def rule_sql(rule: Rule, table: Table, vector_schema: str | None) -> str:
    """The expression of a check constraint."""
    match rule:
        case OneOf(column, values):
            return f"{identifier(column)} in ({', '.join(map(literal, values))})"
        case SubsetOf(column, values):
            return f"{identifier(column)} <@ array[{', '.join(map(literal, values))}]::text[]"
        case Matches(column, pattern):
            return f"{identifier(column)} ~ {literal(pattern)}"
        case Range(column):
            found = table.column(column)
            assert found is not None
            return _range(rule, found)
        case Finite(column):
            found = table.column(column)
            assert found is not None
            if isinstance(found.type, NUMBERS):
                return _range(Range(column), found)
            return f"isfinite({identifier(column)})"
        case Flat(column):
            name = identifier(column)
            # CASE, because array_position() raises an error for more than one dimension
            return (
                f"case when array_ndims({name}) > 1 or array_lower({name}, 1) <> 1 then false "
                f"else array_position({name}, null) is null end"
            )
        case MaxBytes(column, limit):
            found = table.column(column)
            assert found is not None
            name = identifier(column)
            text = f"array_to_string({name}, '')" if isinstance(found.type, Array) else name
            return f"octet_length({text}) <= {limit}"
        case NonZero(column):
            function = identifier(*filter(None, (vector_schema, "vector_norm")))
            return f"{function}({identifier(column)}) > 0"
        case Ordered(lower, upper, strict):
            return f"{identifier(lower)} {'<' if strict else '<='} {identifier(upper)}"
        case OpaqueRule(expression):
            return expression
    assert_never(rule)


def predicate_sql(predicate: Predicate) -> str:
    """The expression after ``where`` of a partial index."""
    match predicate:
        case IsTrue(column):
            return identifier(column)
        case IsNull(column):
            return f"{identifier(column)} is null"
        case IsNotNull(column):
            return f"{identifier(column)} is not null"
        case OpaquePredicate(expression):
            return expression
    assert_never(predicate)


def body_source(body: FunctionBody) -> str:
    """The text between the dollar quotes of a function."""
    match body:
        case SetUpdatedAt(column):
            return f"\nbegin\n  new.{identifier(column)} := now();\n  return new;\nend\n"
        case OpaqueBody(source):
            return source
    assert_never(body)
