"""A third opinion: the constraints of a schema again, as DDL of DuckDB, in expressions of its own.

Nothing here is taken from the expressions that go to Postgres. Both are written from the model, so
that a slip in one of them shows as a row on which the two databases disagree. What DuckDB cannot
say is an :class:`Omission`, and what it says otherwise a :class:`Disagreement`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final, assert_never

from codered_spec.errors import Diagnostic, InputError
from codered_spec.model.graph import creation_order
from codered_spec.model.schema import (
    Action,
    Column,
    Finite,
    Flat,
    ForeignKey,
    Index,
    IsNotNull,
    IsNull,
    IsTrue,
    Literal,
    Matches,
    MaxBytes,
    NonZero,
    Now,
    OneOf,
    OpaqueDefault,
    OpaqueRule,
    Ordered,
    RandomUuid,
    Range,
    Rollup,
    Rule,
    Schema,
    SubsetOf,
    Table,
)
from codered_spec.model.types import (
    FLOATING,
    INTEGRAL,
    TEMPORAL,
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
    SmallInt,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)

MAX_DIGITS: Final = 38
"""The longest DECIMAL of DuckDB; longer and unlimited numerics become DOUBLE."""
_EXACT: Final = Context(prec=200)


@dataclass(frozen=True, slots=True)
class Omission:
    """A constraint, or the named part of one, that DuckDB does not have."""

    table: str
    constraint: str
    part: str
    """What of it is missing: ``on delete cascade``; empty where all of it is."""
    reason: str


@dataclass(frozen=True, slots=True)
class DuckCheck:
    """A check as DuckDB gets it. ``constraint`` is None where it stands for a type of Postgres."""

    constraint: str | None
    column: str
    expression: str


# ---- what DuckDB says otherwise ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A reason for two verdicts: about values of a type, given as the text that both databases get.

    ``accepts`` says whether it is DuckDB that takes the value. ``applies`` gets the type and the
    text of a value, or those of an element unless it is about arrays.
    """

    name: str
    accepts: bool
    says: str
    applies: Callable[[PgType, str], bool]


_SPACES: Final = " \t\n\v\f\r"
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BASED: Final = re.compile(r"[+-]?0[xXoObB][0-9a-fA-F]+")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-5][0-9](?:\.[0-9]*)?)?(?:Z|[+-][0-9:]{2,9})?)?"
)
_WIDE_OFFSET: Final = re.compile(r".*[+-](?:1[6-9]|2[0-9])(?::[0-5][0-9])*", re.DOTALL)
_TRUTH: Final = frozenset(("true", "t", "yes", "y", "1", "false", "f", "no", "n", "0"))
_MORE_TRUTH: Final = frozenset(("tr", "tru", "ye", "fa", "fal", "fals", "on", "of", "off"))
_ITEM: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,{}"]+)', re.DOTALL)


def _number(text: str) -> Decimal | None:
    bare = text.strip(_SPACES)
    return Decimal(bare) if _NUMBER.fullmatch(bare) else None


def _fraction(type_: PgType, text: str) -> bool:
    if not isinstance(type_, INTEGRAL) or _number(text) is None:
        return False
    return re.fullmatch("[+-]?[0-9]+", text.strip(_SPACES)) is None


def _out_of_range(type_: PgType, text: str) -> bool:
    number = _number(text)
    if number is None or not isinstance(type_, (Numeric, *FLOATING)):
        return False
    size = abs(number)
    if isinstance(type_, Real):
        return size > Decimal(2) ** 128 - Decimal(2) ** 103 or 0 < size < Decimal(2) ** -149
    if isinstance(type_, DoublePrecision):
        return size >= Decimal(2) ** 1024 or 0 < size < Decimal("4.9E-324")
    exponent = number.as_tuple().exponent
    return number.adjusted() > 131071 or (isinstance(exponent, int) and exponent < -16383)


def _underscore(type_: PgType, text: str) -> bool:
    return (
        isinstance(type_, FLOATING) and "_" in text and _number(text.replace("_", "")) is not None
    )


def _negative_nan(type_: PgType, text: str) -> bool:
    return isinstance(type_, Numeric) and text.strip(_SPACES).lower() == "-nan"


def _json_number(type_: PgType, text: str) -> bool:
    return isinstance(type_, Jsonb) and re.search("NaN|Infinity", text) is not None


def _short_infinity(type_: PgType, text: str) -> bool:
    return isinstance(type_, TEMPORAL) and text.lower() in ("inf", "-inf")


def _year_zero(type_: PgType, text: str) -> bool:
    return isinstance(type_, TEMPORAL) and text.startswith("0000-")


def _wide_offset(type_: PgType, text: str) -> bool:
    return isinstance(type_, TEMPORAL) and _WIDE_OFFSET.fullmatch(text) is not None


def _hyphens(type_: PgType, text: str) -> bool:
    return isinstance(type_, Uuid) and re.fullmatch("[0-9a-fA-F-]{33,}", text) is not None


def _truth(type_: PgType, text: str) -> bool:
    word = text.strip(_SPACES).lower()
    return isinstance(type_, Boolean) and (
        word in _MORE_TRUTH or (word in _TRUTH and word != text.lower())
    )


def _based(type_: PgType, text: str) -> bool:
    return isinstance(type_, (Numeric, *FLOATING)) and bool(_BASED.fullmatch(text.strip(_SPACES)))


def _no_decimal(type_: PgType, text: str) -> bool:
    return (
        isinstance(type_, Numeric)
        and _is_decimal(type_)
        and text.strip(_SPACES).lower() in ("nan", "inf", "-inf", "infinity", "-infinity")
    )


def _date_words(type_: PgType, text: str) -> bool:
    return isinstance(type_, TEMPORAL) and _INSTANT.fullmatch(text) is None


def _shape(type_: PgType, text: str) -> bool:
    return isinstance(type_, Array) and re.match(r"\s*(?:\[|\{\s*\{)", text) is not None


DISAGREEMENTS: Final[tuple[Disagreement, ...]] = (
    Disagreement(
        "fraction",
        True,
        "a number with a point or an exponent for a whole number: DuckDB rounds it",
        _fraction,
    ),
    Disagreement(
        "out of range",
        True,
        "a number beyond the limits of a numeric or a float: DuckDB takes infinity or zero",
        _out_of_range,
    ),
    Disagreement("underscore", True, "digits in groups, `1_000`, for a float", _underscore),
    Disagreement("negative NaN", True, "`-NaN` for a numeric that is a DOUBLE", _negative_nan),
    Disagreement("JSON number", True, "`NaN` and `Infinity` in JSON", _json_number),
    Disagreement("short infinity", True, "`inf` for a date or instant", _short_infinity),
    Disagreement("year zero", True, "the year 0000", _year_zero),
    Disagreement("wide offset", True, "an offset of 16 hours or more", _wide_offset),
    Disagreement("hyphens", True, "a uuid with hyphens in any place", _hyphens),
    Disagreement("truth", False, "`on`, `off`, a shortened word or a space in a boolean", _truth),
    Disagreement("base", False, "`0x10`, `0o17` and `0b11` for a numeric or a float", _based),
    Disagreement("no decimal", False, "NaN in a numeric: a DECIMAL has none", _no_decimal),
    Disagreement(
        "date words",
        False,
        "a date or instant not as in ISO 8601: `now`, `20200101`, `4714-11-24 BC`, second 60",
        _date_words,
    ),
    Disagreement(
        "shape",
        False,
        "an array of several dimensions, or one that says where it starts",
        _shape,
    ),
)
"""Every reason for which a verdict of DuckDB may differ from that of Postgres. No other may."""


def explanations(type_: PgType, text: str, accepts: bool) -> tuple[str, ...]:
    """Names of the reasons for which DuckDB alone accepts, or refuses, the text of a value."""
    pairs = [(type_, text)]
    if isinstance(type_, Array):
        for quoted, bare in _ITEM.findall(text):
            pairs.append((type_.element, re.sub(r"\\(.)", r"\1", quoted) or bare))
    return tuple(
        reason.name
        for reason in DISAGREEMENTS
        if reason.accepts is accepts and any(reason.applies(*pair) for pair in pairs)
    )


LEFT_OUT: Final[tuple[tuple[str, str], ...]] = (
    ("indexes that are not unique", "they refuse no row"),
    ("functions and triggers", "they change what is stored, and DuckDB has none"),
    ("roles, grants and row-level security", "DuckDB has no users"),
    ("rollups", "they are kept by the database that has all rows"),
    ("comments and lists of known values", "they refuse no row"),
)
"""What the model knows beside constraints, and why DuckDB is not told of it."""


# ---- words ------------------------------------------------------------------------------------


def _name(*parts: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _texts(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, values))}]::VARCHAR[]"


def duck_type(type_: PgType) -> str:
    """The type of DuckDB that holds the values of a type."""
    match type_:
        case Uuid():
            return "UUID"
        case Text() | Varchar():
            return "VARCHAR"
        case Boolean():
            return "BOOLEAN"
        case SmallInt():
            return "SMALLINT"
        case Integer():
            return "INTEGER"
        case BigInt():
            return "BIGINT"
        case Numeric(precision, scale):
            return f"DECIMAL({precision}, {scale})" if _is_decimal(type_) else "DOUBLE"
        case Real():
            return "FLOAT"
        case DoublePrecision():
            return "DOUBLE"
        case Date():
            return "DATE"
        case Timestamptz():
            return "TIMESTAMPTZ"
        case Jsonb():
            return "JSON"
        case Vector(dimensions):
            return f"FLOAT[{'' if dimensions is None else dimensions}]"
        case Array(element):
            return f"{duck_type(element)}[]"
    assert_never(type_)


def _is_decimal(type_: Numeric) -> bool:
    return (
        type_.precision is not None
        and type_.precision <= MAX_DIGITS
        and type_.scale <= type_.precision
    )


# ---- checks -----------------------------------------------------------------------------------


def _type_rules(type_: PgType, value: str) -> Iterator[str]:
    """What the type of Postgres demands beyond that of DuckDB, of an expression of that type."""
    match type_:
        case Text():
            yield f"not contains({value}, chr(0))"
        case Varchar(length):
            yield f"not contains({value}, chr(0))"
            yield f"length(rtrim({value}, ' ')) <= {length}"
        case Jsonb():
            # an escaped NUL: \u0000 behind an even number of backslashes
            yield rf"not regexp_matches({value}::VARCHAR, '(^|[^\\])(\\\\)*\\u0000')"
        case Vector(dimensions):
            if dimensions is None:
                yield f"len({value}) between 1 and 16000"
            yield f"list_count({value}) = len({value})"
            yield f"isfinite(list_min({value})) and isfinite(list_max({value}))"
        case Array(Text() | Varchar()):
            yield f"not contains(array_to_string({value}, ''), chr(0))"
        case Array(Jsonb() as element):
            yield from _type_rules(element, f"array_to_string({value}::VARCHAR[], ',')")
        case Array(Vector()):
            yield f"not regexp_matches({value}::VARCHAR, 'nan|inf')"
        case _:
            pass


def _no_null(value: str) -> str:
    return f"list_count({value}) = len({value})"


def _range(rule: Range, type_: PgType) -> str:
    value = _name(rule.column)
    low, high = rule.minimum, rule.maximum
    if isinstance(type_, INTEGRAL):
        parts = [] if low is None else [f"{value} >= {low:f}"]
        return " and ".join(parts + ([] if high is None else [f"{value} <= {high:f}"]))
    if isinstance(type_, Numeric) and _is_decimal(type_):
        return _decimal_range(value, type_, low, high)
    parts = [f"isfinite({value})"]
    if low is not None:
        parts.append(f"{value}::DOUBLE >= '{low:f}'::DOUBLE")
    if high is not None:
        parts.append(f"{value}::DOUBLE <= '{high:f}'::DOUBLE")
    return " and ".join(parts)


def _decimal_range(value: str, type_: Numeric, low: Decimal | None, high: Decimal | None) -> str:
    """The bounds as the nearest decimals inside of them that the column can hold."""
    assert type_.precision is not None
    unit = Decimal(1).scaleb(-type_.scale)
    largest = _EXACT.subtract(Decimal(10) ** (type_.precision - type_.scale), unit)
    kind = duck_type(type_)
    parts = []
    for bound, rounding, sign in ((low, ROUND_CEILING, ">="), (high, ROUND_FLOOR, "<=")):
        if bound is None:
            continue
        inside = bound.quantize(unit, rounding, _EXACT)
        if abs(inside) > largest:
            passes = (inside < 0) is (sign == ">=")
            parts.append(f"({value} is null or {'true' if passes else 'false'})")
        else:
            parts.append(f"{value} {sign} '{inside:f}'::{kind}")
    return " and ".join(parts) or f"isfinite({value}::DOUBLE)"


def _rule(rule: Rule, table: Table) -> str | None:
    """The condition of a rule over the columns of its table; None for one in words of Postgres."""
    if isinstance(rule, OpaqueRule):
        return None
    if isinstance(rule, Ordered):
        sign = "<" if rule.strict else "<="
        return f"{_name(rule.lower)} {sign} {_name(rule.upper)}"
    column = table.column(rule.column)
    assert column is not None
    value = _name(column.name)
    match rule:
        case OneOf(_, values):
            return f"list_contains({_texts(values)}, {value})"
        case SubsetOf(_, values):
            return f"list_has_all({_texts(values)}, {value}) and {_no_null(value)}"
        case Matches(_, pattern):
            return f"regexp_full_match({value}, {_text(pattern[1:-1])})"
        case Range():
            return _range(rule, column.type)
        case Finite():
            exact = isinstance(column.type, (*TEMPORAL, *FLOATING))
            return f"isfinite({value})" if exact else f"isfinite({value}::DOUBLE)"
        case Flat():
            return _no_null(value)  # a list of DuckDB has one dimension and starts at 1
        case MaxBytes(_, limit):
            if isinstance(column.type, Array):
                value = f"array_to_string({value}, '')"
            return f"strlen({value}) <= {limit}"
        case NonZero():
            return f"list_max({value}) > 0 or list_min({value}) < 0"
    assert_never(rule)


def duck_checks(table: Table) -> tuple[DuckCheck, ...]:
    """The checks of a table in the order of its DDL: those of the types, then those of the spec.

    Of several broken checks DuckDB tells the first of the table and Postgres the first by name:
    sorted, they tell the same.
    """
    found = [
        DuckCheck(None, column.name, expression)
        for column in table.columns
        for expression in _type_rules(column.type, _name(column.name))
    ]
    for check in sorted(table.checks, key=lambda check: check.name):
        expression = _rule(check.rule, table)
        if expression is not None:
            speaks_of = check.rule.upper if isinstance(check.rule, Ordered) else ""
            column = speaks_of or getattr(check.rule, "column", "")
            found.append(DuckCheck(check.name, column, expression))
    return tuple(found)


# ---- keys -------------------------------------------------------------------------------------


def _key_problem(table: Table, columns: tuple[str, ...], nulls_distinct: bool) -> str | None:
    """Why DuckDB cannot keep a key unique, or None when it can."""
    types = [column.type for column in table.columns if column.name in columns]
    if any(isinstance(type_, (Array, Vector)) for type_ in types):
        return "DuckDB has no index over lists"
    if any(isinstance(type_, Jsonb) for type_ in types):
        return "DuckDB compares JSON as text, Postgres as values"
    if any(isinstance(type_, Numeric) and not _is_decimal(type_) for type_ in types):
        return "DuckDB has no decimal that long, and DOUBLE would find false duplicates"
    if not nulls_distinct and any(c.nullable for c in table.columns if c.name in columns):
        return "in a key of DuckDB every NULL is different"
    return None


def _index_problem(table: Table, index: Index) -> str | None:
    if index.opaque_keys or not isinstance(
        index.predicate, (IsTrue, IsNull, IsNotNull, type(None))
    ):
        return "it is known in words of Postgres only"
    return _key_problem(table, tuple(k.column for k in index.keys), index.nulls_distinct)


def _parent_key(schema: Schema, key: ForeignKey) -> tuple[str, ...] | None:
    """The columns of the constraint that a foreign key points to, in the order of that one."""
    parent = schema.table(key.table)
    for own in () if parent is None else parent.keys:
        if set(own.columns) == set(key.referenced):
            assert parent is not None
            nulls_distinct = getattr(own, "nulls_distinct", True)
            if _key_problem(parent, own.columns, nulls_distinct) is None:
                return own.columns
    return None


def _omitted_actions(key: ForeignKey) -> Iterator[str]:
    plain = (Action.NO_ACTION, Action.RESTRICT)
    if key.on_delete not in plain:
        yield f"on delete {key.on_delete.value}"
    if key.on_update not in plain:
        yield f"on update {key.on_update.value}"


def _omitted_of(type_: PgType) -> Iterator[str]:
    match type_:
        case Array(Varchar(length)):
            yield f"at most {length} characters in an element"
        case Array(Vector(dimensions)):
            yield "no NULL in a vector"
            if dimensions is None:
                yield "1 to 16000 dimensions"
        case _:
            pass


def omissions(schema: Schema) -> tuple[Omission, ...]:
    """Every constraint of the schema, or part of one, that :func:`duck_sql` leaves out."""
    _, late = creation_order(schema)
    waiting = {(table, key.name) for table, key in late if table != key.table}
    found: list[Omission] = []
    for table in schema.tables:
        for unique in table.keys:
            problem = _key_problem(table, unique.columns, getattr(unique, "nulls_distinct", True))
            if problem:
                found.append(Omission(table.name, unique.name, "", problem))
        for key in table.foreign_keys:
            if (table.name, key.name) in waiting:
                reason = "DuckDB cannot add a foreign key to a table that stands: a cycle"
                found.append(Omission(table.name, key.name, "", reason))
            elif _parent_key(schema, key) is None:
                reason = "DuckDB needs a primary key or unique constraint there, not an index"
                found.append(Omission(table.name, key.name, "", reason))
            else:
                reason = "DuckDB refuses the change in the other table instead"
                found += [Omission(table.name, key.name, p, reason) for p in _omitted_actions(key)]
        for index in table.indexes:
            problem = _index_problem(table, index) if index.unique else None
            if problem:
                found.append(Omission(table.name, index.name, "", problem))
        reason = "a check of DuckDB cannot look at each element of a list"
        found += [
            Omission(table.name, column.name, part, reason)
            for column in table.columns
            for part in _omitted_of(column.type)
        ]
        opaque = [c.name for c in table.checks if isinstance(c.rule, OpaqueRule)]
        opaque += [name for name, _ in table.opaque_constraints]
        reason = "it is known in words of Postgres only"
        found += [Omission(table.name, name, "", reason) for name in opaque]
        found += [
            Omission(table.name, column.name, "default", reason)
            for column in table.columns
            if isinstance(column.default, OpaqueDefault)
        ]
    return tuple(found)


# ---- the script -------------------------------------------------------------------------------


def duck_sql(schema: Schema) -> str:
    """The tables and constraints of the schema as a script for an empty DuckDB.

    Raises InputError (M021) where names differ by case only, or a type is unknown to the model.
    """
    _refuse(schema)
    left_out = {(o.table, o.constraint) for o in omissions(schema) if not o.part}
    tables, _ = creation_order(schema)
    blocks = ["set TimeZone = 'UTC';", f"create schema if not exists {_name(schema.name)};"]
    for table in tables:
        blocks.append(_table(schema, table, left_out))
        blocks += [
            _unique_index(schema, table, index)
            for index in table.indexes
            if index.unique and (table.name, index.name) not in left_out
        ]
    return "\n\n".join(blocks) + "\n"


def _refuse(schema: Schema) -> None:
    found: list[str] = []
    groups = [("tables", [table.name for table in schema.tables])]
    for table in schema.tables:
        groups.append((f"columns of {table.name}", [column.name for column in table.columns]))
        found += [f"column {table.name}.{column.name}" for column in table.opaque_columns]
    for what, names in groups:
        if len({name.lower() for name in names}) < len(names):
            found.append(f"{what} with names that differ by case only")
    if found:
        raise InputError(
            *(Diagnostic("M021", f"cannot emit {what} for DuckDB", "rename it") for what in found)
        )


def _table(schema: Schema, table: Table, left_out: set[tuple[str, str]]) -> str:
    lines = [_column(column) for column in table.columns]
    for key in table.keys:
        if (table.name, key.name) not in left_out:
            kind = "primary key" if key is table.primary_key else "unique"
            lines.append(f"constraint {_name(key.name)} {kind} ({_list(key.columns)})")
    for check in duck_checks(table):
        label = "" if check.constraint is None else f"constraint {_name(check.constraint)} "
        lines.append(f"{label}check ({check.expression})")
    lines += [
        _foreign_key(schema, key)
        for key in table.foreign_keys
        if (table.name, key.name) not in left_out
    ]
    body = ",\n".join(f"  {line}" for line in lines)
    return f"create table {_name(schema.name, table.name)} (\n{body}\n);"


def _list(columns: Iterable[str]) -> str:
    return ", ".join(map(_name, columns))


def _column(column: Column) -> str:
    text = f"{_name(column.name)} {duck_type(column.type)}"
    match column.default:
        case Now():
            text += " default now()"
        case RandomUuid():
            text += " default gen_random_uuid()"
        case Literal("{}") if isinstance(column.type, Array):
            text += " default []"
        case Literal(value):
            text += f" default {_text(value)}::{duck_type(column.type)}"
        case None | OpaqueDefault():
            pass
    return text if column.nullable else f"{text} not null"


def _foreign_key(schema: Schema, key: ForeignKey) -> str:
    target = _parent_key(schema, key)
    assert target is not None
    own = {theirs: ours for ours, theirs in zip(key.columns, key.referenced, strict=True)}
    return (
        f"constraint {_name(key.name)} foreign key ({_list(own[theirs] for theirs in target)})"
        f" references {_name(schema.name, key.table)} ({_list(target)})"
    )


def _unique_index(schema: Schema, table: Table, index: Index) -> str:
    """A unique index; a partial one has NULL, which never repeats, for rows that it leaves out."""
    first, *rest = (_name(key.column) for key in index.keys)
    match index.predicate:
        case IsTrue(column):
            first = f"(case when {_name(column)} then {first} end)"
        case IsNull(column):
            first = f"(case when {_name(column)} is null then {first} end)"
        case IsNotNull(column):
            first = f"(case when {_name(column)} is not null then {first} end)"
        case _:
            pass
    where = _name(schema.name, table.name)
    return f"create unique index {_name(index.name)} on {where} ({', '.join((first, *rest))});"


def duck_insert(schema: Schema, table: str, columns: tuple[str, ...], many: bool = False) -> str:
    """An INSERT with one parameter for each column: a text, or of ``many`` rows a list of texts.

    The texts are those that a cast of Postgres reads, so that both databases get the same ones. An
    array comes as ``{…}``; one of more dimensions is refused, because DuckDB has no such value.
    """
    found = schema.table(table)
    assert found is not None
    target = _name(schema.name, table)
    if not columns:
        return f"insert into {target} default values"
    types = {column.name: column.type for column in found.columns}
    numbers = range(1, len(columns) + 1)
    texts = [f"given.v{i}" if many else f"${i}::VARCHAR" for i in numbers]
    values = ", ".join(_read(types[c], text) for c, text in zip(columns, texts, strict=True))
    head = f"insert into {target} ({_list(columns)})"
    if not many:
        return f"{head} values ({values})"
    given = ", ".join(f"unnest(${i}::VARCHAR[]) as v{i}" for i in numbers)
    return f"{head} select {values} from (select {given}) as given"


# ---- rollups ----------------------------------------------------------------------------------


def duck_rollup_sql(rollup: Rollup, source: str | None = None, *, on_demand: bool = False) -> str:
    """What the rollup should hold, as a query of DuckDB: its keys, then its measures, in order.

    ``source`` is the SQL name of the table in DuckDB if that is not the one of the spec. A rollup
    with windows has those of its grid, or, ``on_demand``, one from parameter ``$1`` to ``$2``.
    """
    columns: list[tuple[str, str]] = []
    for key in rollup.keys:
        own = f"r.{_name(key.source)}"
        columns.append((key.target, f"({_utc(own)})::DATE" if key.day else own))
    groups, where = list(columns), ""
    window = rollup.window
    if window is not None:
        own = f"r.{_name(window.source)}"
        if on_demand:
            start, end = "$1::TIMESTAMPTZ", "$2::TIMESTAMPTZ"
            where = f" where {own} >= {start} and {own} < {end}"
        elif window.grid is not None:
            # in whole numbers from 1970: independent of the time zone of the session
            step = window.grid * 60_000_000
            since = f"epoch_us({own})"
            begin = f"({since} - (({since} % {step}) + {step}) % {step})"
            start, end = (f"make_timestamptz({begin} + {after})" for after in (0, step))
            groups += [(window.start, start), (window.end, end)]
        else:
            start = end = "NULL::TIMESTAMPTZ"
            where = " where false"
        columns += [(window.start, start), (window.end, end)]
    for measure in rollup.measures:
        total = "count(*)"
        if measure.source is not None:
            total = f"coalesce(sum(r.{_name(measure.source)}), 0)"
        columns.append((measure.target, total))
    selected = ", ".join(f"{expression} as {_name(name)}" for name, expression in columns)
    grouped = ", ".join(expression for _, expression in groups)
    places = ", ".join(str(n) for n in range(1, len(groups) + 1))
    table = _name(rollup.source) if source is None else source
    return f"select {selected} from {table} as r{where} group by {grouped} order by {places}"


def _utc(instant: str) -> str:
    return f"make_timestamp(epoch_us({instant}))"


def _read(type_: PgType, text: str) -> str:
    if isinstance(type_, Array):
        one_dimension = rf"regexp_full_match({text}, '(?s)\s*\{{(\s*[^{{\s].*)?\}}\s*')"
        inner = f"'[' || trim({text})[2:-2] || ']'"
        text = f"case when {text} is null or {one_dimension} then {inner} else '{{' end::VARCHAR[]"
    return f"{text}::{duck_type(type_)}"
