"""The mutants of a schema: each is the schema with one small thing weaker, stricter or other.

The operators follow the literature on mutation analysis of relational schemas (Kapfhammer, McMinn
and Wright 2013; Wright, Kapfhammer and McMinn 2013): remove, weaken and exchange the parts of each
constraint; with operators of our own for rules that hide a second clause (NaN, dimensions, NULL
elements), for types, ON DELETE, defaults, indexes and triggers. Comments are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from codered_spec.contract.mutation.alteration import alteration
from codered_spec.emit.ddl import function_sql, trigger_sql
from codered_spec.emit.expressions import rule_sql
from codered_spec.model.schema import (
    Action,
    Check,
    Column,
    Event,
    Finite,
    Flat,
    ForeignKey,
    Index,
    IndexKey,
    Literal,
    Matches,
    MaxBytes,
    Method,
    NonZero,
    Now,
    OneOf,
    OpaqueBody,
    Ordered,
    PrimaryKey,
    RandomUuid,
    Range,
    Rule,
    Schema,
    SetUpdatedAt,
    SubsetOf,
    Table,
    Timing,
    Trigger,
    Unique,
)
from codered_spec.model.types import (
    INTEGRAL,
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
from codered_spec.sql import identifier


@dataclass(frozen=True, slots=True)
class Mutant:
    """``sql`` turns an empty database of the schema into the mutant.

    ``schema`` is the mutant as a model, None where no spec can say it.
    """

    operator: str
    table: str
    target: str
    detail: str
    sql: str
    schema: Schema | None = None

    def __str__(self) -> str:
        return f"{self.operator}: {self.table}.{self.target} {self.detail}".rstrip()


def mutants(schema: Schema) -> Iterator[Mutant]:
    """Every mutant of every table, in the order of the schema."""
    for table in schema.tables:
        for column in table.columns:
            yield from _of_column(schema, table, column)
        for key in table.keys:
            yield from _of_key(schema, table, key)
        for foreign in table.foreign_keys:
            yield from _of_foreign_key(schema, table, foreign)
        for check in table.checks:
            yield from _of_check(schema, table, check)
        for index in table.indexes:
            yield from _of_index(schema, table, index)
        for trigger in table.triggers:
            yield from _of_trigger(schema, table, trigger)


class _Maker:
    """Makes mutants of one thing of one table."""

    def __init__(self, schema: Schema, table: Table, target: str) -> None:
        self.schema, self.table, self.target = schema, table, target

    def modelled(
        self, operator: str, detail: str, table: Table, others: Iterable[Table] = ()
    ) -> Mutant:
        """A mutant with another form of the table (and of other ones)."""
        changed = {t.name: t for t in (*others, table)}
        tables = tuple(changed.get(t.name, t) for t in self.schema.tables)
        after = replace(self.schema, tables=tables)
        sql = alteration(self.schema, after)
        return Mutant(operator, self.table.name, self.target, detail, sql, after)

    def written(self, operator: str, detail: str, *statements: str) -> Mutant:
        """A mutant that only SQL can say."""
        return Mutant(operator, self.table.name, self.target, detail, "\n".join(statements))

    @property
    def alter(self) -> str:
        """``alter table …``."""
        return f"alter table {identifier(self.schema.name, self.table.name)}"


def _put(items: tuple[object, ...], old: object, *new: object) -> tuple[object, ...]:
    place = items.index(old)
    return (*items[:place], *new, *items[place + 1 :])


# ---- columns ----------------------------------------------------------------------------------


def _of_column(schema: Schema, table: Table, column: Column) -> Iterator[Mutant]:
    make = _Maker(schema, table, column.name)

    def other(operator: str, detail: str, **changes: object) -> Mutant:
        changed = replace(column, **changes)  # type: ignore[arg-type]
        columns = _put(table.columns, column, changed)
        return make.modelled(operator, detail, replace(table, columns=columns))  # type: ignore[arg-type]

    primary = table.primary_key is not None and column.name in table.primary_key.columns
    if column.nullable:
        yield other("NOT NULL added", "", nullable=False)
    elif not primary:
        yield other("NOT NULL removed", "", nullable=True)
    yield from _of_default(make, table, column)
    linked = _is_linked(schema, table, column)
    for type_ in () if linked else _types_beside(column.type):
        operator = "type narrowed" if _narrower(type_, column.type) else "type widened"
        yield other(operator, f"to {type_}", type=type_)
    own = identifier(column.name)
    if isinstance(column.type, Timestamptz):
        for name in ("timestamp", "timestamptz(0)", "timestamptz(3)"):
            statement = f"{make.alter} alter column {own} type {name};"
            yield make.written("type narrowed", f"to {name}", statement)


def _is_linked(schema: Schema, table: Table, column: Column) -> bool:
    """Whether a foreign key needs the column to have the type that it has."""
    outward = any(column.name in key.columns for key in table.foreign_keys)
    return outward or any(
        key.table == table.name and column.name in key.referenced
        for other in schema.tables
        for key in other.foreign_keys
    )


def _of_default(make: _Maker, table: Table, column: Column) -> Iterator[Mutant]:
    alter = f"{make.alter} alter column {identifier(column.name)}"

    def with_default(operator: str, detail: str, default: Literal | Now | None) -> Mutant:
        columns = _put(table.columns, column, replace(column, default=default))
        return make.modelled(operator, detail, replace(table, columns=columns))  # type: ignore[arg-type]

    if column.default is None:
        keyed = {c for key in (*table.keys, *table.foreign_keys) for c in key.columns}
        found = None if column.name in keyed else _some_default(table, column)
        if found is not None:
            yield with_default("default added", "", found)
        return
    yield with_default("default removed", "", None)
    match column.default:
        case Now():
            for expression in ("now() - interval '1 day'", "clock_timestamp()", "current_date"):
                statement = f"{alter} set default {expression};"
                yield make.written("default changed", f"to {expression}", statement)
        case RandomUuid():
            yield with_default("default changed", "to nil", Literal(str(_NIL)))
        case Literal("true" | "false" as text):
            changed = Literal("false" if text == "true" else "true")
            yield with_default("default changed", f"to {changed.text}", changed)
        case Literal("{}"):
            values = next(iter(_lists_of(table, column.name)), ("mutant",))
            yield with_default("default changed", "to one element", Literal(f'{{"{values[0]}"}}'))
        case Literal(text) if isinstance(column.type, INTEGRAL):
            yield with_default("default changed", "by one", Literal(str(int(text) + 1)))


_NIL: Final = "00000000-0000-0000-0000-000000000000"


def _lists_of(table: Table, column: str) -> Iterator[tuple[str, ...]]:
    for check in table.checks:
        if isinstance(check.rule, (OneOf, SubsetOf)) and check.rule.column == column:
            yield check.rule.values


def _some_default(table: Table, column: Column) -> Literal | Now | None:
    values = next(_lists_of(table, column.name), None)
    match column.type:
        case Text() | Varchar():
            return Literal("a" if values is None else values[0])
        case SmallInt() | Integer() | BigInt() | Numeric() | Real() | DoublePrecision():
            return Literal("1")
        case Boolean():
            return Literal("true")
        case Date():
            return Literal("2001-02-03")
        case Timestamptz():
            return Now()
        case Jsonb() | Array():
            return Literal("{}")
        case Uuid():
            return Literal(_NIL)
        case Vector():
            return None


def _types_beside(type_: PgType) -> Iterator[PgType]:
    match type_:
        case SmallInt():
            yield Integer()
        case Integer():
            yield from (BigInt(), SmallInt())
        case BigInt():
            yield from (Numeric(None, 0), Integer())
        case Numeric(precision, scale) if precision is not None:
            yield from (Numeric(precision + 1, scale), Numeric(precision - 1, scale))
            yield from (Numeric(precision + 1, scale + 1), Numeric(None, 0))
            if scale:
                yield Numeric(precision - 1, scale - 1)
        case Text():
            yield Varchar(255)
        case Varchar(length):
            yield from (Varchar(length + 1), Varchar(length - 1), Text())
        case Boolean() | Uuid():
            yield Text()
        case Date():
            yield Timestamptz()
        case Timestamptz():
            yield from (Date(), Text())
        case Jsonb():
            yield Text()
        case Real():
            yield DoublePrecision()
        case DoublePrecision():
            yield Real()
        case Vector(dimensions):
            yield Array(Real())
            if dimensions is not None:
                yield from (Vector(dimensions + 1), Vector(None))
        case Array(Text()):
            yield from (Array(Varchar(20)), Text())


def _narrower(new: PgType, old: PgType) -> bool:
    order = (SmallInt, Integer, BigInt)
    match new, old:
        case ((SmallInt() | Integer() | BigInt()), (SmallInt() | Integer() | BigInt())):
            return order.index(type(new)) < order.index(type(old))
        case Numeric(precision), Numeric(before):
            return precision is not None and before is not None and precision < before
        case Varchar(length), Varchar(before):
            return length < before
        case ((Varchar() | Date() | Real()), _):
            return True
        case Array(Varchar()), _:
            return True
    return False


# ---- keys -------------------------------------------------------------------------------------


def _of_key(schema: Schema, table: Table, key: PrimaryKey | Unique) -> Iterator[Mutant]:
    make = _Maker(schema, table, key.name)
    kind = "primary key" if isinstance(key, PrimaryKey) else "unique key"
    # foreign keys that rest on the key go with it
    resting = tuple(
        replace(t, foreign_keys=tuple(f for f in t.foreign_keys if not _rests(f, table, key)))
        for t in schema.tables
    )
    here = next(t for t in resting if t.name == table.name)

    def other(operator: str, detail: str, new: PrimaryKey | Unique | None) -> Mutant:
        if isinstance(key, PrimaryKey):
            assert not isinstance(new, Unique)
            changed = replace(here, primary_key=new)
        else:
            uniques = tuple(u for u in here.uniques if u is not key)
            assert not isinstance(new, PrimaryKey)
            changed = replace(here, uniques=(*uniques, *([new] if new else [])))
        return make.modelled(operator, detail, changed, resting)

    yield other(f"{kind} removed", "", None)
    spare = [c for c in table.columns if c.name not in key.columns and not c.nullable]
    if spare:
        wider = replace(key, columns=(*key.columns, spare[0].name))
        yield other(f"{kind} widened", f"by {spare[0].name}", wider)
        exchanged = replace(key, columns=(*key.columns[:-1], spare[-1].name))
        yield other(f"{kind} exchanged", f"for {spare[-1].name}", exchanged)
    if len(key.columns) > 1:
        for column in key.columns:
            rest = tuple(c for c in key.columns if c != column)
            yield other(f"{kind} narrowed", f"without {column}", replace(key, columns=rest))
    if isinstance(key, Unique) and _has_nullable(table, key.columns):
        nulls = replace(key, nulls_distinct=not key.nulls_distinct)
        yield other("NULLS DISTINCT changed", "", nulls)


def _has_nullable(table: Table, columns: Iterable[str]) -> bool:
    return any(c.nullable for c in table.columns if c.name in columns)


def _rests(foreign: ForeignKey, table: Table, key: PrimaryKey | Unique) -> bool:
    return foreign.table == table.name and sorted(foreign.referenced) == sorted(key.columns)


def _of_foreign_key(schema: Schema, table: Table, key: ForeignKey) -> Iterator[Mutant]:
    make = _Maker(schema, table, key.name)

    def other(operator: str, detail: str, *new: ForeignKey) -> Mutant:
        keys = _put(table.foreign_keys, key, *new)
        return make.modelled(operator, detail, replace(table, foreign_keys=keys))  # type: ignore[arg-type]

    yield other("foreign key removed", "")
    nullable = _has_nullable(table, key.on_delete_columns or key.columns)
    for action in Action:
        if action is not key.on_delete and action is not Action.SET_DEFAULT:
            if action is Action.SET_NULL and not nullable:
                continue
            changed = replace(key, on_delete=action, on_delete_columns=())
            yield other("ON DELETE changed", f"to {action.value}", changed)
    if key.on_delete_columns:
        yield other("ON DELETE changed", "to set all null", replace(key, on_delete_columns=()))
    for action in (Action.CASCADE, Action.SET_NULL):
        if action is not key.on_update:
            yield other("ON UPDATE changed", f"to {action.value}", replace(key, on_update=action))
    target = _another_target(schema, table, key)
    if target is not None:
        yield other("foreign key target changed", f"to {target.table}", target)
    if len(key.columns) > 1:
        yield from _cut(schema, key, other)


def _cut(
    schema: Schema, key: ForeignKey, other: Callable[[str, str, ForeignKey], Mutant]
) -> Iterator[Mutant]:
    """A key of several columns cut down to one that its target still knows as a key."""
    target = schema.table(key.table)
    assert target is not None
    for own, theirs in zip(key.columns, key.referenced, strict=True):
        if any(k.columns == (theirs,) for k in target.keys):
            columns = tuple(c for c in key.on_delete_columns if c == own)
            cut = replace(key, columns=(own,), referenced=(theirs,), on_delete_columns=columns)
            yield other("foreign key cut", f"to {own}", cut)


def _another_target(schema: Schema, table: Table, key: ForeignKey) -> ForeignKey | None:
    """The same key to another table that has a key of the same columns and types."""

    def types(owner: Table, columns: Iterable[str]) -> list[PgType | None]:
        found = (owner.column(column) for column in columns)
        return [None if column is None else column.type for column in found]

    wanted = types(table, key.columns)
    for other in schema.tables:
        if other.name not in (key.table, table.name):
            for candidate in other.keys:
                if (
                    candidate.columns == key.referenced
                    and types(other, candidate.columns) == wanted
                ):
                    return replace(key, table=other.name)
    return None


# ---- checks -----------------------------------------------------------------------------------


def _of_check(schema: Schema, table: Table, check: Check) -> Iterator[Mutant]:
    make = _Maker(schema, table, check.name)
    own = identifier(check.name)
    drop = f"{make.alter} drop constraint {own};"

    def ruled(operator: str, detail: str, *rules: Rule) -> Mutant:
        checks = _put(table.checks, check, *(replace(check, rule=rule) for rule in rules))
        return make.modelled(operator, detail, replace(table, checks=checks))  # type: ignore[arg-type]

    def written(operator: str, detail: str, expression: str) -> Mutant:
        add = f"{make.alter} add constraint {own} check ({expression});"
        return make.written(operator, detail, drop, add)

    text = rule_sql(check.rule, table, schema.extension_schema("vector"))
    yield ruled("check removed", "")
    yield written("check negated", "", f"not ({text})")
    for detail, rule in _rules_beside(schema, table, check.rule):
        yield ruled(_OPERATORS[type(check.rule)], detail, rule)
    for operator, detail, expression in _expressions_beside(table, check.rule, text):
        yield written(operator, detail, expression)


_OPERATORS: Final[dict[type, str]] = {
    OneOf: "allowed values changed",
    SubsetOf: "allowed values changed",
    Matches: "pattern changed",
    Range: "bound changed",
    MaxBytes: "bound changed",
    Ordered: "relational operator changed",
}


def _rules_beside(schema: Schema, table: Table, rule: Rule) -> Iterator[tuple[str, Rule]]:
    match rule:
        case OneOf(_, values) | SubsetOf(_, values):
            if len(values) > 1:
                for value in values:
                    rest = tuple(v for v in values if v != value)
                    yield f"without {value}", replace(rule, values=rest)
            for value in _strangers(schema, values):
                yield f"with {value}", replace(rule, values=(*values, value))
        case Matches(_, pattern):
            for old, new in (
                ("*$", "+$"),
                ("_]", "_-]"),
                ("a-z0-9", "a-zA-Z0-9"),
                ("^[a-z]", "^[a-z_]"),
            ):
                if old in pattern:
                    yield f"{old} to {new}", replace(rule, pattern=pattern.replace(old, new, 1))
        case Range(name, minimum, maximum):
            column = table.column(name)
            assert column is not None
            step = Decimal(1)
            if isinstance(column.type, Numeric) and column.type.precision is not None:
                step = Decimal(1).scaleb(-column.type.scale)
            for word, bound in (("minimum", minimum), ("maximum", maximum)):
                if bound is not None:
                    for sign, amount in (("plus", step), ("minus", -step)):
                        moved = bound + amount
                        changed = (
                            replace(rule, minimum=moved)
                            if word == "minimum"
                            else replace(rule, maximum=moved)
                        )
                        yield f"{word} {sign} {step}", changed
            if minimum is not None and maximum is not None:
                yield "without minimum", replace(rule, minimum=None)
                yield "without maximum", replace(rule, maximum=None)
        case MaxBytes(_, limit):
            yield "plus 1", replace(rule, limit=limit + 1)
            yield "minus 1", replace(rule, limit=limit - 1)
        case Ordered(lower, upper, strict):
            yield "strictness", replace(rule, strict=not strict)
            yield "turned", replace(rule, lower=upper, upper=lower)


def _strangers(schema: Schema, values: tuple[str, ...]) -> Iterator[str]:
    """Values that could slip into a list: one of another list, and other spellings."""
    yield values[0].upper() if values[0].upper() not in values else values[0].lower()
    everything = [
        value
        for table in schema.tables
        for check in table.checks
        if isinstance(check.rule, (OneOf, SubsetOf))
        for value in check.rule.values
    ]
    yield from [value for value in everything if value not in values][:1]


def _expressions_beside(table: Table, rule: Rule, text: str) -> Iterator[tuple[str, str, str]]:
    """What only SQL can say: halves of a rule, other operators."""
    match rule:
        case OneOf(name):
            own = identifier(name)
            yield "case ignored", "", text.replace(own, f"lower({own})", 1)
            yield "space ignored", "", text.replace(own, f"btrim({own})", 1)
        case SubsetOf(name):
            own = identifier(name)
            yield "relational operator changed", "to overlap", text.replace("<@", "&&", 1)
            some = f"({own} = '{{}}' or {text.replace('<@', '&&', 1)})"
            yield "relational operator changed", "to overlap or empty", some
            yield "relational operator changed", "to superset", text.replace("<@", "@>", 1)
            yield "null elements ignored", "", text.replace(own, f"array_remove({own}, null)", 1)
        case Matches(name, pattern):
            yield "case ignored", "", text.replace(" ~ ", " ~* ", 1)
            yield "anchor removed", "first", text.replace("'^", "'", 1)
            yield "anchor removed", "last", text.replace("$'", "'", 1)
            del name, pattern
        case Range() | Finite():
            yield from _numeric_expressions(table, rule, text)
        case Flat(name):
            own = identifier(name)
            yield "clause removed", "dimensions", f"array_position({own}, null) is null"
            yield (
                "clause removed",
                "null elements",
                (f"not coalesce(array_ndims({own}) > 1 or array_lower({own}, 1) <> 1, false)"),
            )
            yield (
                "clause removed",
                "first index",
                text.replace(f" or array_lower({own}, 1) <> 1", "", 1),
            )
        case MaxBytes():
            yield "bytes as characters", "", text.replace("octet_length", "char_length", 1)
            yield "relational operator changed", "to <", text.replace("<=", "<", 1)
        case NonZero():
            yield "relational operator changed", "to >=", text.replace("> 0", ">= 0", 1)
        case Ordered(_, _, strict):
            sign = "<" if strict else "<="
            yield "relational operator changed", "to <>", text.replace(f" {sign} ", " <> ", 1)
            yield "relational operator changed", "to =", text.replace(f" {sign} ", " = ", 1)


def _numeric_expressions(
    table: Table, rule: Range | Finite, text: str
) -> Iterator[tuple[str, str, str]]:
    column = table.column(rule.column)
    assert column is not None
    own = identifier(rule.column)
    if text.startswith("isfinite"):
        yield "clause removed", "infinity", f"{own} > '-infinity'"
        yield "clause removed", "-infinity", f"{own} < 'infinity'"
        return
    clauses = text.split(" and ")
    for place, clause in enumerate(clauses):
        name, sign, bound = clause.rsplit(" ", 2)
        rest = [c for i, c in enumerate(clauses) if i != place]
        if rest:
            yield "clause removed", f"{sign} {bound}", " and ".join(rest)
        for other in ("<", "<=", ">", ">=", "=", "<>"):
            if other != sign:
                changed = [*clauses[:place], f"{name} {other} {bound}", *clauses[place + 1 :]]
                detail = f"{sign} {bound} to {other}"
                yield "relational operator changed", detail, " and ".join(changed)


# ---- indexes and triggers ---------------------------------------------------------------------


def _of_index(schema: Schema, table: Table, index: Index) -> Iterator[Mutant]:
    make = _Maker(schema, table, index.name)
    kind = "unique index" if index.unique else "index"

    def other(operator: str, detail: str, *new: Index) -> Mutant:
        indexes = _put(table.indexes, index, *new)
        return make.modelled(operator, detail, replace(table, indexes=indexes))  # type: ignore[arg-type]

    yield other(f"{kind} removed", "")
    if index.unique:
        yield other("unique index weakened", "not unique", replace(index, unique=False))
    if index.predicate is not None:
        yield other("index predicate removed", "", replace(index, predicate=None))
    columns = {key.column for key in index.keys}
    spare = [c.name for c in table.columns if c.name not in columns and isinstance(c.type, Uuid)]
    if spare and index.method is Method.BTREE:
        changed = replace(index, keys=(*index.keys[:-1], IndexKey(spare[0])))
        yield other(f"{kind} column changed", f"to {spare[0]}", changed)
    if index.method is Method.BTREE and not index.unique:
        [first, *rest] = index.keys
        turned = replace(first, descending=not first.descending, nulls_first=not first.descending)
        yield other("index order changed", "", replace(index, keys=(turned, *rest)))
        if not rest:
            yield other("index method changed", "to hash", replace(index, method=Method.HASH))
    if len(index.keys) > 1:
        shorter = replace(index, keys=index.keys[:-1])
        yield other(f"{kind} shortened", f"without {index.keys[-1].column}", shorter)
    if index.method is Method.HNSW:
        for opclass in ("vector_l2_ops", "vector_ip_ops"):
            changed = replace(index, keys=(replace(index.keys[0], opclass=opclass),))
            yield other("index operator class changed", f"to {opclass}", changed)


def _of_trigger(schema: Schema, table: Table, trigger: Trigger) -> Iterator[Mutant]:
    make = _Maker(schema, table, trigger.name)

    def other(operator: str, detail: str, *new: Trigger) -> Mutant:
        triggers = _put(table.triggers, trigger, *new)
        return make.modelled(operator, detail, replace(table, triggers=triggers))  # type: ignore[arg-type]

    yield other("trigger removed", "")
    own = identifier(trigger.name)
    yield make.written("trigger disabled", "", f"{make.alter} disable trigger {own};")
    if trigger.when is not None:
        yield other("trigger condition removed", "", replace(trigger, when=None))
    if trigger.timing is Timing.BEFORE:
        yield other("trigger changed", "to after", replace(trigger, timing=Timing.AFTER))
    if Event.UPDATE in trigger.events:
        only = replace(trigger, events=(Event.INSERT,), when=None)
        yield other("trigger changed", "to insert", only)
    function = next((f for f in schema.functions if f.name == trigger.function), None)
    if function is None or not isinstance(function.body, SetUpdatedAt):
        return
    column = identifier(function.body.column)
    for detail, source in (
        ("does nothing", "begin return new; end"),
        ("another clock", f"begin new.{column} := clock_timestamp(); return new; end"),
        ("only once", f"begin new.{column} := old.{column}; return new; end"),
        ("loses the row", "begin return null; end"),
    ):
        # a function of this trigger's own, so that no other table changes
        changed = replace(function, name=f"mutant_{trigger.name}"[:63], body=OpaqueBody(source))
        statements = (
            function_sql(schema, changed),
            f"drop trigger {own} on {identifier(schema.name, table.name)};",
            trigger_sql(schema, table, replace(trigger, function=changed.name)),
        )
        yield make.written("function changed", detail, *statements)
