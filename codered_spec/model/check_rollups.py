"""Semantic rules of rollups: what must hold so that every write can keep them exact.

The names of the objects that keep a rollup are made by rules of their own, in
``codered_spec/emit/rollups.py``; :func:`needed_names` states them once more, because a model must
be judged without an emitter. A test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from codered_spec.errors import Diagnostic
from codered_spec.model.schema import (
    Column,
    Event,
    Finite,
    Measure,
    Method,
    Range,
    Rollup,
    RollupKey,
    Schema,
    Table,
    Window,
)
from codered_spec.model.types import (
    INTEGRAL,
    BigInt,
    Date,
    Integer,
    Numeric,
    PgType,
    Timestamptz,
)
from codered_spec.sql import MAX_IDENTIFIER_BYTES

MINUTES_OF_A_DAY: Final = 1440


def check_rollups(schema: Schema) -> Iterator[Diagnostic]:
    """Every violation by a rollup, in the order of the schema."""
    tables = {table.name: table for table in schema.tables}
    targets = {rollup.name for rollup in schema.rollups}
    sources = {rollup.source for rollup in schema.rollups}
    seen: set[str] = set()
    for rollup in schema.rollups:
        if rollup.name in seen:
            yield Diagnostic(
                "M004",
                f"the rollup {rollup.name} occurs twice",
                "keep one: a table is kept equal to one aggregate only",
                subject=rollup.name,
            )
        seen.add(rollup.name)
        if rollup.name in sources or rollup.source in targets:
            yield Diagnostic(
                "M025",
                f"the rollup {rollup.name} of {rollup.source} is part of a chain:"
                f" {rollup.name if rollup.name in sources else rollup.source}"
                " is both the source and the result of a rollup",
                "build every rollup on a table that is none",
                subject=rollup.name,
            )
            continue
        found = list(_missing(rollup, tables)) or list(_twice(rollup))
        yield from found
        if not found:
            yield from _check_rollup(rollup, tables[rollup.source], tables[rollup.name])
    yield from _check_names(schema, tables)


# ---- the parts --------------------------------------------------------------------------------


def _missing(rollup: Rollup, tables: dict[str, Table]) -> Iterator[Diagnostic]:
    absent = [name for name in (rollup.name, rollup.source) if name not in tables]
    for name in absent:
        yield Diagnostic(
            "M001",
            f"the rollup {rollup.name} needs the table {name}, which does not exist",
            "name a table of this schema",
            subject=rollup.name,
        )
    if absent:
        return
    window = rollup.window
    target_columns = [*rollup.key_columns, *(m.target for m in rollup.measures)]
    source_columns = [key.source for key in rollup.keys]
    source_columns += [] if window is None else [window.source]
    source_columns += [m.source for m in rollup.measures if m.source is not None]
    for table_name, names in ((rollup.name, target_columns), (rollup.source, source_columns)):
        table = tables[table_name]
        for name in dict.fromkeys(names):
            if table.column(name) is None:
                yield Diagnostic(
                    "M001",
                    f"the rollup {rollup.name} names {table.name}.{name}, which does not exist",
                    f"columns of {table.name}: {', '.join(c.name for c in table.columns)}",
                    subject=rollup.name,
                )


def _twice(rollup: Rollup) -> Iterator[Diagnostic]:
    names = [*rollup.key_columns, *(m.target for m in rollup.measures)]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield Diagnostic(
                "M004",
                f"the rollup {rollup.name} fills the column {name} twice",
                "fill each column once",
                subject=f"{rollup.name}.{name}",
            )
    for what, items in (("key", rollup.keys), ("measure", rollup.measures)):
        if not items:
            yield Diagnostic(
                "M031",
                f"the rollup {rollup.name} has no {what}",
                "add `keys:` or `days:`" if what == "key" else "add `sums:` or `counts:`",
                subject=rollup.name,
            )


def _check_rollup(rollup: Rollup, source: Table, target: Table) -> Iterator[Diagnostic]:
    for key in rollup.keys:
        yield from _check_key(key, source, target)
    if rollup.window is not None:
        yield from _check_window(rollup.window, source, target)
    if not _has_key(target, rollup.key_columns):
        columns = ", ".join(rollup.key_columns)
        yield Diagnostic(
            "M028",
            f"the rollup {rollup.name} may have two rows with the same ({columns}):"
            " no key or unique constraint has just these columns",
            f"add a unique constraint on ({columns})",
            subject=rollup.name,
        )
    filled = {*rollup.key_columns, *(m.target for m in rollup.measures)}
    for column in target.columns:
        if not column.nullable and column.default is None and column.name not in filled:
            yield Diagnostic(
                "M029",
                f"nothing fills {target.name}.{column.name}, which is required: it is neither a"
                f" key nor a measure of the rollup {rollup.name}",
                "give it a default, make it nullable, or name it in the rollup",
                subject=f"{target.name}.{column.name}",
            )
    for measure in rollup.measures:
        yield from _check_measure(measure, source, target)


def _column(table: Table, name: str) -> Column:
    column = table.column(name)
    assert column is not None
    return column


def _finite(table: Table, name: str) -> bool:
    return any(check.rule == Finite(name) and not check.traits for check in table.checks)


def _instant_problem(table: Table, name: str) -> str | None:
    column = _column(table, name)
    if not isinstance(column.type, Timestamptz):
        return f"is {column.type}, not timestamptz"
    if column.nullable:
        return "is nullable"
    return None if _finite(table, name) else "may be infinity: it has no check for that"


def _check_key(key: RollupKey, source: Table, target: Table) -> Iterator[Diagnostic]:
    here, there = _column(target, key.target), _column(source, key.source)
    problems: list[tuple[str, str | None]] = []
    if key.day:
        fits = isinstance(here.type, Date)
        problems.append((f"{source.name}.{key.source}", _instant_problem(source, key.source)))
        problems.append(
            (f"{target.name}.{key.target}", None if fits else f"is {here.type}, not date")
        )
    else:
        other = f"{source.name}.{key.source}"
        fits = here.type == there.type
        problems.append((other, "is nullable" if there.nullable else None))
        problems.append(
            (
                f"{target.name}.{key.target}",
                None if fits else f"is {here.type}, but {other} is {there.type}",
            )
        )
    if here.nullable:
        problems.append((f"{target.name}.{key.target}", "is nullable"))
    for address, problem in problems:
        if problem:
            yield Diagnostic(
                "M026",
                f"{address} {problem}: it cannot be a key of the rollup {target.name}",
                "keys are required and of one type; days are dates of finite instants",
                subject=address,
            )


def _check_window(window: Window, source: Table, target: Table) -> Iterator[Diagnostic]:
    problems = [(f"{source.name}.{window.source}", _instant_problem(source, window.source))]
    for name in (window.start, window.end):
        column = _column(target, name)
        problem = "is nullable" if column.nullable else None
        if not isinstance(column.type, Timestamptz):
            problem = f"is {column.type}, not timestamptz"
        problems.append((f"{target.name}.{name}", problem))
    for address, problem in problems:
        if problem:
            yield Diagnostic(
                "M027",
                f"{address} {problem}: it cannot be of the window of the rollup {target.name}",
                "a window is of a finite instant, between two required instants",
                subject=address,
            )
    if window.grid is not None and (window.grid < 1 or MINUTES_OF_A_DAY % window.grid):
        yield Diagnostic(
            "M027",
            f"the grid of the rollup {target.name}, {window.grid} minutes, does not divide a day",
            "choose a divisor of 1440, such as 15 or 60",
            subject=target.name,
        )


def _has_key(table: Table, columns: tuple[str, ...]) -> bool:
    """Whether ``on conflict (columns)`` finds an arbiter in the table."""
    candidates = [key.columns for key in table.keys if not key.traits]
    candidates += [
        tuple(key.column for key in index.keys)
        for index in table.indexes
        if index.unique
        and index.valid
        and index.method is Method.BTREE
        and index.predicate is None
        and not index.opaque_keys
    ]
    return any(sorted(candidate) == sorted(columns) for candidate in candidates)


def _scale(type_: PgType) -> int | None:
    """Digits after the point that the type keeps; None for a type that is not exact."""
    if isinstance(type_, Numeric):
        return None if type_.precision is None else type_.scale
    return 0 if isinstance(type_, INTEGRAL) else None


def _check_measure(measure: Measure, source: Table, target: Table) -> Iterator[Diagnostic]:
    column = _column(target, measure.target)
    problems: list[tuple[str, str | None, str]] = []
    own = f"{target.name}.{measure.target}"
    if measure.source is None:
        fits = isinstance(column.type, (Integer, BigInt))
        problem = None if fits else f"is {column.type}, but counts rows"
        problems.append((own, problem, "make it integer or bigint"))
    else:
        other = f"{source.name}.{measure.source}"
        problem, fix = _sum_source_problem(source, measure.source)
        problems.append((other, problem, fix))
        if problem is None:
            problem = _sum_target_problem(column.type, _column(source, measure.source).type)
            problems.append((own, problem, f"keep as many digits after the point as {other}"))
    nullable = "is nullable" if column.nullable else None
    problems.append((own, nullable, "remove `nullable`: a sum of nothing is 0"))
    for check in target.checks:
        rule = check.rule
        if isinstance(rule, Range) and rule.column == measure.target:
            low = rule.minimum is None or _ordered(rule.minimum, Decimal(0))
            high = rule.maximum is None or _ordered(Decimal(0), rule.maximum)
            refuses = None if low and high else f"may not be 0, says {check.name}"
            problems.append((own, refuses, "allow 0: rows may sum up to it"))
    for address, problem, fix in problems:
        if problem:
            yield Diagnostic(
                "M030",
                f"{address} {problem}: the rollup {target.name} cannot keep it exact",
                fix,
                subject=address,
            )


def _ordered(lower: Decimal, upper: Decimal) -> bool:
    """Whether ``lower <= upper``; False for NaN, which another rule refuses."""
    return not lower.is_nan() and not upper.is_nan() and lower <= upper


def _sum_source_problem(table: Table, name: str) -> tuple[str | None, str]:
    type_ = _column(table, name).type
    if _scale(type_) is None:
        return f"is {type_}", "sum integers, or numeric with a precision"
    bounds = [
        check.rule.minimum
        for check in table.checks
        if isinstance(check.rule, Range) and check.rule.column == name and not check.traits
    ]
    if any(bound is not None and _ordered(Decimal(0), bound) for bound in bounds):
        return None, ""
    return "may be negative", "add `min: 0`"


def _sum_target_problem(type_: PgType, source: PgType) -> str | None:
    if type_ == Numeric():
        return None
    here, there = _scale(type_), _scale(source)
    if here is None:
        return f"is {type_}, which is not exact"
    assert there is not None
    return f"is {type_}, but sums {source}" if here < there else None


# ---- names ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NeededNames:
    """The names of what keeps rollups, by namespace."""

    relations: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    """Of the source."""
    inner_triggers: tuple[str, ...] = ()
    """Of the table of deltas."""
    parts: tuple[tuple[str, str], ...] = ()
    """Columns of the table of deltas, each with what it holds."""


def needed_names(source: str, rollups: tuple[Rollup, ...]) -> NeededNames:
    """The names that ``source`` needs for the rollups of it that writes keep."""
    deltas = f"{source}_deltas"
    parts = [
        ("xact", "the number of the transaction"),
        ("entry", "the key of an entry"),
        ("ticket", "the mark of the first row of a statement"),
        ("row_count", "the number of rows"),
    ]
    for rollup in rollups:
        for key in rollup.keys:
            what = f"the UTC day of {key.source}" if key.day else f"the column {key.source}"
            parts.append((f"{key.source}_day" if key.day else key.source, what))
        window = rollup.window
        if window is not None:
            what = f"the window of {window.source}"
            parts.append((f"{window.source}_{window.grid}m", what))
        parts += [
            (f"sum_{m.source}", f"the sum of {m.source}") for m in rollup.measures if m.source
        ]
    return NeededNames(
        (deltas, f"{deltas}_pkey"),
        tuple(f"{source}_{verb}" for verb in ("note", "fold", "forget", "overflow")),
        (
            *(f"{source}_note_{e.value}" for e in (Event.INSERT, Event.UPDATE, Event.DELETE)),
            f"{source}_forget_truncate",
        ),
        (f"{deltas}_fold",),
        tuple(dict.fromkeys(parts)),
    )


def needed_functions(rollup: Rollup) -> tuple[str, ...]:
    """The names of the functions that a rollup has for itself."""
    verbs = ("rebuild", "check") if rollup.window is None else ("rebuild", "check", "refresh")
    own = tuple(f"{verb}_{rollup.name}" for verb in verbs)
    return (f"{rollup.name}_recount", *own) if rollup.kept else own


def _check_names(schema: Schema, tables: dict[str, Table]) -> Iterator[Diagnostic]:
    """Names that are needed must fit, and nothing else may have them."""
    relations: dict[str, str] = {}
    for table in schema.tables:
        relations[table.name] = f"the table {table.name}"
        for part in (*table.indexes, *table.keys):
            relations[part.name] = f"{table.name}.{part.name}"
    functions = {f.name: f"the function {f.name}" for f in schema.functions}
    groups: dict[str, list[Rollup]] = {}
    for rollup in schema.rollups:
        if rollup.kept and rollup.source in tables:
            groups.setdefault(rollup.source, []).append(rollup)
    for source, rollups in groups.items():
        name = rollups[0].name
        needed = needed_names(source, tuple(rollups))
        triggers = {t.name: f"the trigger {source}.{t.name}" for t in tables[source].triggers}
        parts: dict[str, str] = {}
        yield from _claim("table or index", needed.relations, relations, name)
        yield from _claim("function", needed.functions, functions, name)
        yield from _claim("trigger", needed.triggers, triggers, name)
        yield from _claim("trigger", needed.inner_triggers, {}, name)
        for column, what in needed.parts:
            yield from _claim("column of deltas", (column,), parts, name, what)
    for rollup in {rollup.name: rollup for rollup in schema.rollups}.values():
        yield from _claim("function", needed_functions(rollup), functions, rollup.name)
        for column in rollup.key_columns:
            yield from _claim("column of the check", (column,), dict(_OF_CHECK), rollup.name)
        if rollup.kept:
            columns = (*rollup.key_columns, *(m.target for m in rollup.measures))
            for column in columns:
                yield from _claim("column of the fold", (column,), dict(_OF_FOLD), rollup.name)
        if rollup.window is not None and rollup.keys:
            yield from _claim("argument", (f"only_{rollup.keys[0].target}",), {}, rollup.name)


_OF_CHECK: Final = {"stored": "the stored measures", "expected": "the expected measures"}
_OF_FOLD: Final = {"delta_rows": "the change of the number of rows"}


def _claim(
    kind: str, names: tuple[str, ...], taken: dict[str, str], rollup: str, what: str | None = None
) -> Iterator[Diagnostic]:
    for name in names:
        if len(name.encode()) > MAX_IDENTIFIER_BYTES:
            yield Diagnostic(
                "M005",
                f"the rollup {rollup} needs the {kind} {name}, a name of {len(name.encode())}"
                f" bytes; {MAX_IDENTIFIER_BYTES} are possible",
                "choose a shorter name for its table, its source or the column",
                subject=rollup,
            )
        if name in taken:
            yield Diagnostic(
                "M004",
                f"the rollup {rollup} needs the {kind} {name}"
                f"{f' for {what}' if what else ''}, but that name is taken: {taken[name]}",
                "rename the other one",
                subject=rollup,
            )
        taken.setdefault(name, what or f"a {kind} of the rollup {rollup}")
