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

from codered_spec.emit.file import GENERATED, File, docstring
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
from codered_spec.validation import MAX_TEXT, size, unicode_ok

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
            form = f"{v}.isascii() and {v}.encode().translate(HEX_TO_ZERO) == UUID_FORM"
            return f"({form} if type({v}) is str else type({v}) is UUID)"
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
            usual = f"type({v}) is datetime and {v}.tzinfo is UTC and FIRST <= {v} <= LAST"
            return f"(({usual}) or instant({v}) is not None)"
        case Jsonb():
            return f"({v} is not None and json_ok({v}))"  # None is NULL here, not JSON null
        case Vector(dimensions):
            nonzero = _find(rules, NonZero) is not None
            return f"vector_ok({v}, {dimensions}, nonzero={nonzero})"
        case Array(element):
            return _array(column, element, rules, v, names)
    assert_never(column.type)


def _text(column: Column, rules: list[Rule], v: str, names: _Names) -> str:
    values = _find(rules, OneOf)
    limit = _find(rules, MaxBytes)
    patterns = [rule.pattern for rule in rules if isinstance(rule, Matches)]
    plain = any(map(_printable, patterns))
    tests = []
    if isinstance(values, OneOf):
        members = names.constant("_VALUES_", f"frozenset({_literal(values.values)})")
        tests.append(f"{v} in {members}")
    elif not plain:
        tests.append(f'("\\0" not in {v} if {v}.isascii() else unicode_ok({v}))')
    if isinstance(limit, MaxBytes):
        tests.append(f"{'len' if plain else 'size'}({v}) <= {limit.limit}")
    if isinstance(column.type, Varchar):
        tests.append(f"len({v}) <= {column.type.length}")
    elif values is None and not (isinstance(limit, MaxBytes) and limit.limit <= MAX_TEXT):
        tests.append(f"len({v}) <= MAX_TEXT")
    for pattern in patterns:
        match = names.constant("_FORMAT_", f"re.compile({_body(pattern)!r}).fullmatch")
        tests.append(f"{match}({v}) is not None")
    test = " and ".join(tests)
    known = [value for value in column.known if _fits(value, column, rules)]
    if known and values is None:  # most rows have one of these: no need to look into the text
        members = names.constant("_KNOWN_", f"frozenset({_literal(known)})")
        test = f"({v} in {members} or ({test}))"
    return f"(type({v}) is str and {test})"


def _body(pattern: str) -> str:
    return f"(?:{pattern.removeprefix('^').removesuffix('$')})"


def _printable(pattern: str) -> bool:
    """Whether a text that matches is printable ASCII, so that nobody need look for NUL in it.

    True only for patterns in which each character stands for itself or for a range.
    """
    return re.fullmatch("[ -~]*", pattern) is not None and not re.search(
        r"[\\.]|\[\^|\(\?(?!:)", pattern
    )


def _fits(value: str, column: Column, rules: list[Rule]) -> bool:
    """Whether a known value keeps the rules of its column: nobody else makes sure of it."""
    longest = column.type.length if isinstance(column.type, Varchar) else MAX_TEXT
    if not unicode_ok(value) or len(value) > longest:
        return False
    for rule in rules:
        if isinstance(rule, MaxBytes) and size(value) > rule.limit:
            return False
        if isinstance(rule, Matches) and re.fullmatch(_body(rule.pattern), value) is None:
            return False
    return True


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
    within = f"{left} {signs[0]} {{}} {signs[1]} {right}".format
    # what is short needs no number(), which would look for digits that no transport has
    short = f"{v}.is_finite() and -900 < {v}.adjusted() < 900 and len(str({v})) < 90"
    ways = [f"type({v}) is Decimal and {short} and {within(v)}"]
    if type_.precision is not None and 0 <= type_.scale <= type_.precision <= FLOAT_DIGITS:
        quick = _float_within(type_.scale, low, high, v, names)
        ways.insert(0, f"type({v}) is float and {quick}")
    ways.append(f"(n := number({v})) is not None and {within('n')}")
    return f"(({') or ('.join(ways)}))"


FLOAT_DIGITS = 15
"""Every decimal number of so few significant digits is another double."""


def _float_within(scale: int, low: _Bound, high: _Bound, v: str, names: _Names) -> str:
    """True only for a float that is the nearest to a multiple of the unit between the bounds.

    Then this multiple is what its digits say, and it has no more digits than the type: dividing two
    whole numbers that a double holds exactly gives the nearest double.
    """
    ten = 10**scale
    least = int(_WIDE.multiply(low.value, ten).to_integral_value(ROUND_CEILING))
    most = int(_WIDE.multiply(high.value, ten).to_integral_value(ROUND_FLOOR))
    least += not low.inclusive and least == _WIDE.multiply(low.value, ten)
    most -= not high.inclusive and most == _WIDE.multiply(high.value, ten)
    units = names.constant("_SCALE_", repr(float(ten)))
    rounded = f"({v} * {units} + NEAREST - NEAREST) / {units}"
    return f"{least / ten!r} <= {v} <= {most / ten!r} and {rounded} == {v}"


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
    if isinstance(element, Jsonb):  # a list would be another dimension
        one = f"(type(e) is not list and {one})"
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
    what = f"Validators of the rows of the schema {schema.name}: the standard library only."
    yield docstring(what)
    yield ""
    yield "# ruff: noqa"
    yield "# mypy: ignore-errors"
    yield "import re"
    yield "from datetime import UTC, date, datetime"
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
            f" _COLUMNS_{suffix}, _store_{suffix}),"
        )
    yield "}"


_IMPORTS = (
    "FIRST HEX_TO_ZERO LAST MAX_ITEMS MAX_TEXT MISSING NEAREST UUID_FORM Column Problem Validator"
    " convert_date convert_each convert_float convert_instant convert_json convert_numeric"
    " convert_uuid convert_uuids convert_vector convert_vector_text convert_whole date_of empty_row"
    " float_ok instant json_ok number ordered real_ok single size subset_ok texts_ok unicode_ok"
    " unknown_columns uuids_ok vector_ok"
).split()


def _python_name(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", lambda match: f"_x{ord(match.group()):x}_", name)
    return plain + "_" if keyword.iskeyword(plain) else plain


def _table(table: Table, names: _Names) -> Iterator[str]:
    suffix = _python_name(table.name)
    expressions = {
        column.name: _expression(column, _rules_of(table, column), _local(table, column), names)
        for column in table.columns
    }
    yield ""
    yield ""
    yield f"# ---- {' '.join(table.name.split())} ----"
    yield ""
    yield f"_COLUMNS_{suffix} = {{"
    yield from (f"    {c.name!r}: {_meta(table, c)}," for c in table.columns)
    yield "}"
    yield f"_EMPTY_{suffix} = empty_row(_COLUMNS_{suffix})"
    if len(required := _required(table)) > 1:
        yield f"_required_{suffix} = itemgetter({', '.join(repr(c.name) for c in required)})"
    yield ""
    yield ""
    orders = [
        (check.rule, _order_arguments(table, check.rule, names))
        for check in table.checks
        if isinstance(check.rule, Ordered)
    ]
    yield from _ok_function(table, suffix, expressions, orders)
    yield ""
    yield ""
    yield from _problems_function(table, suffix, expressions, orders)
    yield ""
    yield ""
    yield from _store_function(table, suffix, names)


def _local(table: Table, column: Column) -> str:
    """The local variable that has the value of a column."""
    return f"c{table.columns.index(column)}"


def _ok_function(
    table: Table, suffix: str, expressions: dict[str, str], orders: list[tuple[Ordered, str]]
) -> Iterator[str]:
    """The required columns at once, an optional one only if it is there, and then none besides.

    Optional ones of any length, such as error messages, are looked for if there is more to find.
    """
    required = _required(table)
    optional = [column for column in table.columns if column not in required]
    rare = [column for column in optional if isinstance(column.type, _BULKY)]
    yield f"def _ok_{suffix}(row):"
    if required:
        targets = ", ".join(_local(table, column) for column in required)
        source = f"_required_{suffix}(row)" if len(required) > 1 else f"row[{required[0].name!r}]"
        yield "    try:"
        yield f"        {targets} = {source}"
        yield "    except KeyError:"
        yield "        return False"
    yield f"    known = {len(required)}"
    for column in optional:
        if column not in rare:
            yield from _optional(column, _local(table, column), expressions[column.name])
    if rare:
        yield "    if len(row) != known:"
        for column in rare:
            for line in _optional(column, _local(table, column), expressions[column.name]):
                yield f"    {line}"
    # an if, because Python 3.11 compares faster there than in a value to return
    yield "    if ("
    yield "        len(row) == known"
    for column in required:
        yield f"        and {expressions[column.name]}"
    for _, arguments in orders:
        yield f"        and ordered({arguments})"
    yield "    ):"
    yield "        return True"
    yield "    return False"


_BULKY = (Text, Varchar, Jsonb, Array, Vector)


def _optional(column: Column, v: str, expression: str) -> Iterator[str]:
    absent = "None" if column.nullable else "MISSING"
    yield f"    if {column.name!r} in row:"
    yield "        known += 1"
    yield f"        {v} = row[{column.name!r}]"
    yield f"        if not ({v} is {absent} or {expression}):"
    yield "            return False"


def _required(table: Table) -> list[Column]:
    return [c for c in table.columns if not c.nullable and c.default is None]


def _problems_function(
    table: Table, suffix: str, expressions: dict[str, str], orders: list[tuple[Ordered, str]]
) -> Iterator[str]:
    yield f"def _problems_{suffix}(row, partial):"
    yield f"    columns = _COLUMNS_{suffix}"
    yield f"    full = {{**_EMPTY_{suffix}, **row}}"
    yield f"    found = unknown_columns(row, columns) if len(full) > {len(table.columns)} else []"
    targets = ", ".join(_local(table, column) for column in table.columns)
    yield f"    {targets}, *_ = full.values()"
    for column in table.columns:
        v, expression = _local(table, column), expressions[column.name]
        if column.nullable:
            test = f"{v} is None or {v} is MISSING or {expression}"
        elif column.default is not None:
            test = f"{v} is MISSING or {expression}"
        else:
            test = f"partial if {v} is MISSING else {expression}"
        yield f"    if not ({test}):"
        yield f"        found.append(Problem(columns[{column.name!r}], {v}))"
    for rule, arguments in orders:
        yield f"    if not ordered({arguments}):"
        yield (
            f"        found.append(Problem(columns[{rule.upper!r}], row.get({rule.upper!r}),"
            f" after={rule.lower!r}))"
        )
    yield "    return found"


def _store_function(table: Table, suffix: str, names: _Names) -> Iterator[str]:
    """Turns the values of a valid row into what is stored, those that are not already."""
    yield f"def _store_{suffix}(row):"
    yield "    get = row.get"
    for column in table.columns:
        convert = _conversion(column.type)
        if convert is None:
            continue
        if "(" in convert:
            convert = names.constant("_STORED_", convert)
        yield f"    v = get({column.name!r})"
        yield f"    if not (v is None{_as_stored(column.type, names)}):"
        yield f"        row[{column.name!r}] = {convert}(v)"
    yield "    return row"


def _as_stored(type_: PgType, names: _Names) -> str:
    """More cases in which there is nothing to convert."""
    match type_:
        case Uuid():
            return " or type(v) is UUID"
        case Date():
            return " or type(v) is date"
        case Timestamptz():
            return " or (type(v) is datetime and v.tzinfo is UTC)"
        case Numeric(precision, scale) if precision is not None:
            unit = names.constant("_UNIT_", f"Decimal({str(Decimal(1).scaleb(-scale))!r})")
            return f" or (type(v) is Decimal and v and v.same_quantum({unit}))"
        case _:
            return ""


def _order_arguments(table: Table, rule: Ordered, names: _Names) -> str:
    column = table.column(rule.lower)
    assert column is not None
    convert = _conversion(column.type) or "convert_whole"
    if "(" in convert:
        convert = names.constant("_STORED_", convert)
    return f"row.get({rule.lower!r}), row.get({rule.upper!r}), {rule.strict}, {convert}"


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
