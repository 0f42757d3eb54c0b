"""The validator emitter: plain Python source, one expression a column, standard library only.

Every column has one boolean expression. The verdict of a row is the conjunction of these
expressions, the explanation evaluates the same ones singly, so that the two cannot disagree.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, assert_never

from codered_spec.emit.file import GENERATED, File
from codered_spec.model.schema import (
    Column,
    Finite,
    Flat,
    Matches,
    MaxBytes,
    NonZero,
    OneOf,
    OpaqueRule,
    Ordered,
    Range,
    Rule,
    Schema,
    SubsetOf,
    Table,
    rule_columns,
)
from codered_spec.model.types import (
    Array,
    BigInt,
    Boolean,
    Date,
    DoublePrecision,
    Integer,
    Jsonb,
    Numeric,
    PgType,
    Real,
    Scalar,
    SmallInt,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)
from codered_spec.model.values import integer_range
from codered_spec.validation import MAX_TEXT

MAX_UNSCALED = 400
"""Digits on either side of the point of a ``numeric`` without precision."""


def emit_validators(schema: Schema, package: str) -> tuple[File, ...]:
    """``PACKAGE/validators.py`` for the schema."""
    return (File(f"{package}/validators.py", "\n".join(_module(schema)) + "\n"),)


# ---- expressions ------------------------------------------------------------------------------


def _rules_of(table: Table, column: Column) -> list[Rule]:
    return [
        check.rule
        for check in table.checks
        if not isinstance(check.rule, (Ordered, OpaqueRule))
        and rule_columns(check.rule) == (column.name,)
    ]


def _find(rules: list[Rule], kind: type[Rule]) -> Rule | None:
    return next((rule for rule in rules if isinstance(rule, kind)), None)


class _Names:
    """Module constants of the generated file, by definition: equal ones are defined once."""

    def __init__(self) -> None:
        self.definitions: dict[str, str] = {}

    def constant(self, prefix: str, definition: str) -> str:
        if definition not in self.definitions:
            taken = sum(name.startswith(prefix) for name in self.definitions.values())
            self.definitions[definition] = f"{prefix}{taken + 1}"
        return self.definitions[definition]


def _expression(column: Column, rules: list[Rule], v: str, names: _Names) -> str:
    """A Python expression that is true exactly for the storable, non-NULL values of a column."""
    match column.type:
        case Uuid():
            return f"(type({v}) is UUID or (type({v}) is str and uuid_text({v}) is not None))"
        case Text() | Varchar():
            return _text(column, rules, v, names)
        case Boolean():
            return f"({v} is True or {v} is False)"
        case SmallInt() | Integer() | BigInt():
            limits = integer_range(column.type)
            assert limits is not None
            low, high = limits
            for rule in rules:
                if isinstance(rule, Range):
                    low = max(low, int(rule.minimum)) if rule.minimum is not None else low
                    high = min(high, int(rule.maximum)) if rule.maximum is not None else high
            return f"(type({v}) is int and {low} <= {v} <= {high})"
        case Numeric():
            return _numeric(column.type, rules, v, names)
        case Real() | DoublePrecision():
            test = "real_ok" if isinstance(column.type, Real) else "float_ok"
            stored = f"single({v})" if isinstance(column.type, Real) else v
            parts = [f"{test}({v})"]
            for rule in rules:
                if isinstance(rule, Range):
                    if rule.minimum is not None:
                        parts.append(f"{stored} >= {float(rule.minimum)!r}")
                    if rule.maximum is not None:
                        parts.append(f"{stored} <= {float(rule.maximum)!r}")
            return "(" + " and ".join(parts) + ")"
        case Date():
            return f"(type({v}) is date or date_of({v}) is not None)"
        case Timestamptz():
            return f"(instant({v}) is not None)"
        case Jsonb():
            return f"json_ok({v})"
        case Vector(dimensions):
            nonzero = _find(rules, NonZero) is not None
            return f"vector_ok({v}, {dimensions}, nonzero={nonzero})"
        case Array(element):
            return _array(column, element, rules, v, names)
    assert_never(column.type)


def _text(column: Column, rules: list[Rule], v: str, names: _Names) -> str:
    parts = [f"type({v}) is str"]
    values = _find(rules, OneOf)
    if isinstance(values, OneOf):
        members = names.constant("_VALUES_", f"frozenset({_literal(values.values)})")
        parts.append(f"{v} in {members}")
    else:
        parts.append(f'("\\0" not in {v} if {v}.isascii() else unicode_ok({v}))')
    limit = _find(rules, MaxBytes)
    if isinstance(limit, MaxBytes):
        parts.append(f"size({v}) <= {limit.limit}")
    if isinstance(column.type, Varchar):
        parts.append(f"len({v}) <= {column.type.length}")
    elif values is None and not (isinstance(limit, MaxBytes) and limit.limit <= MAX_TEXT):
        parts.append(f"len({v}) <= MAX_TEXT")
    for rule in rules:
        if isinstance(rule, Matches):
            body = rule.pattern.removeprefix("^").removesuffix("$")
            pattern = names.constant("_FORMAT_", f"re.compile({f'(?:{body})'!r}).fullmatch")
            parts.append(f"{pattern}({v}) is not None")
    return "(" + " and ".join(parts) + ")"


def _numeric(type_: Numeric, rules: list[Rule], v: str, names: _Names) -> str:
    """Postgres rounds half away from zero to the scale and checks then: bounds move by half a unit.

    A bound that the rounding reaches from inside of the range belongs to it, one that it leaves by
    does not.
    """
    low, high = _type_bounds(type_)
    exact = type_.precision is None
    half = Decimal(0) if exact else Decimal(5).scaleb(-type_.scale - 1)
    unit = Decimal(1).scaleb(-type_.scale)
    for rule in rules:
        if not isinstance(rule, Range):
            continue
        if rule.minimum is not None:
            least = rule.minimum if exact else rule.minimum.quantize(unit, ROUND_CEILING, _WIDE)
            low = max(low, _Bound(_WIDE.subtract(least, half), exact or least > 0))
        if rule.maximum is not None:
            most = rule.maximum if exact else rule.maximum.quantize(unit, ROUND_FLOOR, _WIDE)
            high = min(high, _Bound(_WIDE.add(most, half), exact or most < 0))
    left, right = (names.constant("_NUMBER_", f"Decimal({str(b.value)!r})") for b in (low, high))
    signs = ["<=" if bound.inclusive else "<" for bound in (low, high)]
    return f"((n := number({v})) is not None and {left} {signs[0]} n {signs[1]} {right})"


@dataclass(frozen=True, slots=True, order=True)
class _Bound:
    value: Decimal
    inclusive: bool


def _type_bounds(type_: Numeric) -> tuple[_Bound, _Bound]:
    if type_.precision is None:
        edge = Decimal(1).scaleb(MAX_UNSCALED)
    else:
        whole = Decimal(1).scaleb(type_.precision - type_.scale)
        edge = _WIDE.subtract(whole, Decimal(5).scaleb(-type_.scale - 1))
    return _Bound(edge.copy_negate(), False), _Bound(edge, False)


_WIDE = Context(prec=2000)


def _array(column: Column, element: Scalar, rules: list[Rule], v: str, names: _Names) -> str:
    """Arrays are lists without NULL and of one dimension, whether the spec demands it or not."""
    values = _find(rules, SubsetOf)
    if isinstance(values, SubsetOf):
        members = names.constant("_VALUES_", f"frozenset({_literal(values.values)})")
        return f"subset_ok({v}, {members})"
    if isinstance(element, Text):
        limit = _find(rules, MaxBytes)
        return f"texts_ok({v}, {limit.limit})" if isinstance(limit, MaxBytes) else f"texts_ok({v})"
    if isinstance(element, Uuid):
        return f"uuids_ok({v})"
    one = _expression(Column(column.name, element), [], "e", names)
    if isinstance(element, Jsonb):  # JSON null would be NULL, and a list another dimension
        one = f"(e is not None and type(e) is not list and {one})"
    test = f"(type({v}) is list and len({v}) <= MAX_ITEMS and all({one} for e in {v}))"
    limit = _find(rules, MaxBytes)
    return f"({test} and texts_ok({v}, {limit.limit}))" if isinstance(limit, MaxBytes) else test


def _literal(values: Iterable[str]) -> str:
    return "{" + ", ".join(repr(value) for value in values) + "}"


# ---- the module -------------------------------------------------------------------------------


def _module(schema: Schema) -> Iterator[str]:
    names = _Names()
    bodies = [line for table in schema.tables for line in _table(table, names)]
    yield f"# {GENERATED}"
    yield f'"""Validators of the rows of the schema {schema.name}: the standard library only."""'
    yield ""
    yield "# ruff: noqa"
    yield "# mypy: ignore-errors"
    yield "import re"
    yield "from datetime import date"
    yield "from decimal import Decimal"
    yield "from operator import itemgetter"
    yield "from uuid import UUID"
    yield ""
    yield "from codered_spec.validation import ("
    yield from (f"    {name}," for name in _IMPORTS)
    yield ")"
    yield ""
    for definition, name in names.definitions.items():
        yield f"{name} = {definition}"
    yield from bodies
    yield ""
    yield ""
    yield "TABLES = {"
    for table in schema.tables:
        suffix = _python_name(table.name)
        yield (
            f"    {table.name!r}: Validator({table.name!r}, _ok_{suffix}, _problems_{suffix},"
            f" _COLUMNS_{suffix}, _CONVERT_{suffix}),"
        )
    yield "}"


_IMPORTS = (
    "MAX_ITEMS MAX_TEXT MISSING Column Problem Validator convert_date convert_each convert_float"
    " convert_instant convert_json convert_numeric convert_uuid convert_uuids convert_vector"
    " convert_vector_text date_of float_ok instant json_ok"
    " number ordered real_ok single size subset_ok texts_ok unicode_ok unknown_columns uuid_text"
    " uuids_ok vector_ok"
).split()


def _python_name(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", lambda match: f"_x{ord(match.group()):x}_", name)
    return plain + "_" if keyword.iskeyword(plain) else plain


def _table(table: Table, names: _Names) -> Iterator[str]:
    suffix = _python_name(table.name)
    expressions = {
        column.name: _expression(column, _rules_of(table, column), "v", names)
        for column in table.columns
    }
    required = [c for c in table.columns if not c.nullable and c.default is None]
    yield ""
    yield ""
    yield f"# ---- {' '.join(table.name.split())} ----"
    yield ""
    yield f"_COLUMNS_{suffix} = {{"
    yield from (f"    {c.name!r}: {_meta(table, c)}," for c in table.columns)
    yield "}"
    yield f"_NAMES_{suffix} = frozenset(_COLUMNS_{suffix})"
    yield f"_CONVERT_{suffix} = ("
    yield from (f"    ({c.name!r}, {how})," for c in table.columns if (how := _conversion(c.type)))
    yield ")"
    if len(required) > 1:
        yield f"_required_{suffix} = itemgetter({', '.join(repr(c.name) for c in required)})"
    yield ""
    yield ""
    orders = [
        (check.rule, _order_arguments(table, check.rule, names))
        for check in table.checks
        if isinstance(check.rule, Ordered)
    ]
    yield from _ok_function(table, suffix, required, expressions, orders)
    yield ""
    yield ""
    yield from _problems_function(table, suffix, required, expressions, orders)


def _ok_function(
    table: Table,
    suffix: str,
    required: list[Column],
    expressions: dict[str, str],
    orders: list[tuple[Ordered, str]],
) -> Iterator[str]:
    yield f"def _ok_{suffix}(row):"
    yield f"    if not _NAMES_{suffix}.issuperset(row):"
    yield "        return False"
    local = {column.name: f"c{i}" for i, column in enumerate(required)}
    if required:
        targets = ", ".join(local.values())
        source = f"_required_{suffix}(row)" if len(required) > 1 else f"row[{required[0].name!r}]"
        yield "    try:"
        yield f"        {targets} = {source}"
        yield "    except KeyError:"
        yield "        return False"
    yield "    get = row.get"
    yield "    return ("
    glue = "    "
    for column in table.columns:
        expression = expressions[column.name]
        if column.name in local:
            clause = re.sub(r"\bv\b", local[column.name], expression)
        elif column.nullable:
            clause = f"((v := get({column.name!r})) is None or {expression})"
        else:
            clause = f"((v := get({column.name!r}, MISSING)) is MISSING or {expression})"
        yield f"        {glue}{clause}"
        glue = "and "
    for _, arguments in orders:
        yield f"        {glue}ordered({arguments})"
        glue = "and "
    yield "    )"


def _problems_function(
    table: Table,
    suffix: str,
    required: list[Column],
    expressions: dict[str, str],
    orders: list[tuple[Ordered, str]],
) -> Iterator[str]:
    yield f"def _problems_{suffix}(row, partial):"
    yield f"    columns = _COLUMNS_{suffix}"
    yield "    found = unknown_columns(row, columns)"
    yield "    get = row.get"
    for column in table.columns:
        expression = expressions[column.name]
        yield f"    v = get({column.name!r}, MISSING)"
        if column in required:
            yield f"    if not (partial if v is MISSING else {expression}):"
        elif column.nullable:
            yield f"    if not (v is None or v is MISSING or {expression}):"
        else:
            yield f"    if not (v is MISSING or {expression}):"
        yield f"        found.append(Problem(columns[{column.name!r}], v))"
    for rule, arguments in orders:
        yield f"    if not ordered({arguments}):"
        yield (
            f"        found.append(Problem(columns[{rule.upper!r}], get({rule.upper!r}),"
            f" after={rule.lower!r}))"
        )
    yield "    return found"


def _order_arguments(table: Table, rule: Ordered, names: _Names) -> str:
    column = table.column(rule.lower)
    assert column is not None
    convert = _conversion(column.type) or "convert_numeric(None)"  # whole numbers
    if "(" in convert:
        convert = names.constant("_STORED_", convert)
    return f"get({rule.lower!r}), get({rule.upper!r}), {rule.strict}, {convert}"


def _conversion(type_: PgType) -> str | None:
    match type_:
        case Uuid():
            return "convert_uuid"
        case Numeric(precision, scale):
            return f"convert_numeric({None if precision is None else scale})"
        case Real():
            return "single"
        case DoublePrecision():
            return "convert_float"
        case Date():
            return "convert_date"
        case Timestamptz():
            return "convert_instant"
        case Jsonb():
            return "convert_json"
        case Vector():
            return "convert_vector"
        case Array(Uuid()):
            return "convert_uuids"
        case Array(Vector()):
            return "convert_each(convert_vector_text)"
        case Array(element):
            convert = _conversion(element)
            return None if convert is None else f"convert_each({convert})"
        case _:
            return None


def column_facts(table: Table, column: Column) -> dict[str, Any]:
    """What the explanation of a refusal and the JSON Schema need to know of a column."""
    facts: dict[str, Any] = {}
    if column.nullable:
        facts["nullable"] = True
    if column.default is not None:
        facts["default"] = True
    for rule in _rules_of(table, column):
        match rule:
            case OneOf(_, values) | SubsetOf(_, values):
                facts["allowed"] = values
            case Range(_, minimum, maximum):
                facts["minimum"] = None if minimum is None else format(minimum, "f")
                facts["maximum"] = None if maximum is None else format(maximum, "f")
            case Matches(_, pattern):
                facts["pattern"] = pattern
            case MaxBytes(_, limit):
                facts["max_bytes"] = limit
            case NonZero():
                facts["nonzero"] = True
            case Finite() | Flat() | Ordered() | OpaqueRule():
                pass
            case _:
                assert_never(rule)
    if column.known:
        facts["known"] = column.known
    return {name: fact for name, fact in facts.items() if fact is not None}


def _meta(table: Table, column: Column) -> str:
    facts = column_facts(table, column)
    extra = "".join(f", {name}={fact!r}" for name, fact in facts.items())
    return f"Column({column.name!r}, {str(column.type)!r}{extra})"
