"""Semantic rules: what a model must satisfy beyond its types. Linear in the size of the model.

Every rule yields diagnostics whose ``subject`` is the address of the object (``tasks.zone``); the
caller adds places. A model without errors here is accepted by Postgres.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from codered_spec.errors import Diagnostic
from codered_spec.model.check_roles import check_roles
from codered_spec.model.check_rollups import check_rollups
from codered_spec.model.check_types import check_column, check_index_types, check_rule
from codered_spec.model.graph import required_cycles
from codered_spec.model.schema import (
    Action,
    Check,
    Column,
    Event,
    ForeignKey,
    Function,
    Index,
    IsTrue,
    MaxBytes,
    Method,
    OneOf,
    OpaquePredicate,
    OpaqueRule,
    PrimaryKey,
    RowChanged,
    Schema,
    SetUpdatedAt,
    SubsetOf,
    Table,
    Timing,
    Trigger,
    Unique,
    rule_columns,
)
from codered_spec.model.types import Array, Boolean, Text, Timestamptz, Varchar, base_name
from codered_spec.model.values import storable
from codered_spec.sql import MAX_IDENTIFIER_BYTES

MAX_COLUMNS: Final = 1600
SYSTEM_COLUMNS: Final = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
ENTRY: Final = 2600
"""Bytes that a btree entry surely holds."""
_BOUNDED_VARCHAR: Final = ENTRY // 4
"""Code points that take at most as many."""


def check(schema: Schema) -> tuple[Diagnostic, ...]:
    """Every violation in the schema, errors and warnings, in the order of the schema."""
    return tuple(_check_schema(schema))


def errors(diagnostics: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """Those that are not warnings."""
    return tuple(d for d in diagnostics if not d.warning)


def _check_schema(schema: Schema) -> Iterator[Diagnostic]:
    yield from _check_name(schema.name, "schema", schema.name)
    if schema.name.startswith("pg_") or schema.name == "information_schema":
        yield Diagnostic(
            "M005",
            f"the schema name {schema.name} is reserved by Postgres",
            "choose another name",
            subject="",
        )
    yield from _check_text(schema.comment, "title", "")
    yield from _check_names(schema)
    tables = {table.name: table for table in schema.tables}
    for extension in schema.extensions:
        yield from _check_name(extension.name, "extension", extension.name)
        yield from _check_name(extension.schema, "schema of the extension", extension.name)
        if extension.schema.startswith("pg_"):
            yield Diagnostic(
                "M005",
                f"the schema name {extension.schema} is reserved by Postgres",
                "choose another schema for the extension, such as extensions",
                subject=extension.name,
            )
    if schema.extension_schema("vector") is None:
        for table in schema.tables:
            for column in table.columns:
                if base_name(column.type) in ("vector", "vector[]"):
                    yield Diagnostic(
                        "M023",
                        f"{table.name}.{column.name} is a vector, but no extension is declared",
                        "declare `extensions: {vector: extensions}`",
                        subject=f"{table.name}.{column.name}",
                    )
    for function in schema.functions:
        yield from _check_name(function.name, "function", function.name)
        yield from _check_text(function.comment, "note", function.name)
        if isinstance(function.body, SetUpdatedAt):
            yield from _check_name(function.body.column, "column", function.name)
    for table in schema.tables:
        yield from _check_table(table, tables, schema)
    for group in required_cycles(schema):
        yield Diagnostic(
            "M008",
            f"no first row is possible: required foreign keys form a cycle of {', '.join(group)}",
            "make one of the columns nullable",
            subject=group[0],
        )
    yield from _check_value_sets(schema, tables)
    yield from check_rollups(schema)
    yield from check_roles(schema)


def _check_name(name: str, what: str, subject: str) -> Iterator[Diagnostic]:
    problem = None
    if not name:
        problem = "is empty"
    elif not storable(name):
        problem = "has a NUL or a lone surrogate"
    elif len(name.encode()) > MAX_IDENTIFIER_BYTES:
        problem = f"has {len(name.encode())} bytes, {MAX_IDENTIFIER_BYTES} are possible"
    if problem:
        yield Diagnostic(
            "M005", f"the name of the {what} {name!r} {problem}", "choose another", subject=subject
        )


def _check_text(text: str | None, what: str, subject: str) -> Iterator[Diagnostic]:
    if text is None:
        return
    if not text:
        yield Diagnostic(
            "M017", f"the {what} is empty: Postgres drops it", "leave it out", subject=subject
        )
    if not storable(text):
        yield Diagnostic(
            "M017", f"the {what} has a NUL or a lone surrogate", "remove it", subject=subject
        )


def _check_names(schema: Schema) -> Iterator[Diagnostic]:
    """Tables, indexes and the indexes of keys share one namespace."""
    relations: dict[str, str] = {}
    for table in schema.tables:
        own = [(table.name, table.name)]
        own += [(i.name, f"{table.name}.{i.name}") for i in table.indexes]
        own += [(key.name, f"{table.name}.{key.name}") for key in table.keys]
        for name, address in own:
            if name in relations:
                yield Diagnostic(
                    "M004",
                    f"the name {name} is used twice: {relations[name]} and {address}"
                    " (tables, indexes and keys share one namespace)",
                    "rename one of them",
                    subject=address,
                )
            relations.setdefault(name, address)
    yield from _duplicates([f.name for f in schema.functions], "function", "")
    yield from _duplicates([e.name for e in schema.extensions], "extension", "")


def _duplicates(names: list[str], what: str, table: str) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            address = f"{table}.{name}" if table else name
            yield Diagnostic(
                "M004", f"the {what} {address} occurs twice", "keep one", subject=address
            )
        seen.add(name)


def _check_table(table: Table, tables: dict[str, Table], schema: Schema) -> Iterator[Diagnostic]:
    yield from _check_name(table.name, "table", table.name)
    yield from _check_text(table.comment, "note", table.name)
    columns = {column.name: column for column in table.columns}
    yield from _duplicates([c.name for c in table.columns], "column", table.name)
    constraints = table.constraints
    named = [c.name for c in constraints] + [t.name for t in table.triggers if t.deferred]
    yield from _duplicates(named, "constraint", table.name)
    yield from _check_not_null_names(table)
    yield from _duplicates([t.name for t in table.triggers], "trigger", table.name)
    if not columns or table.primary_key is None:
        yield Diagnostic(
            "M014",
            f"{table.name} has no {'column' if not columns else 'primary key'}",
            "mark a column `(PK)` in the document, or `primary_key: true` in the spec",
            subject=table.name,
        )
    alike: dict[tuple[tuple[str, ...], bool], str] = {}
    for key in table.keys:
        kind = key.columns, isinstance(key, PrimaryKey) or key.nulls_distinct
        if kind in alike:
            yield Diagnostic(
                "M004",
                f"{table.name}.{key.name} has the columns of {alike[kind]}:"
                " Postgres keeps one of the two",
                "remove one of them",
                subject=f"{table.name}.{key.name}",
            )
        alike.setdefault(kind, key.name)
    if len(table.columns) > MAX_COLUMNS:
        yield Diagnostic(
            "M024",
            f"{table.name} has {len(table.columns)} columns, Postgres takes {MAX_COLUMNS}",
            "move some of them into a table of their own",
            subject=table.name,
        )
    for column in table.columns:
        address = f"{table.name}.{column.name}"
        yield from _check_name(column.name, "column", address)
        if column.name in SYSTEM_COLUMNS:
            yield Diagnostic(
                "M005",
                f"{address} has the name of a system column",
                "choose another name",
                subject=address,
            )
        yield from _check_text(column.comment, "note", address)
        yield from check_column(table, column)
    for constraint in constraints:
        address = f"{table.name}.{constraint.name}"
        yield from _check_name(constraint.name, "constraint", address)
        if isinstance(constraint, Check) and isinstance(constraint.rule, OpaqueRule):
            continue
        missing = _missing(_own_columns(constraint), columns, table, address)
        yield from missing
        if missing:
            continue
        if isinstance(constraint, ForeignKey):
            yield from _check_foreign_key(table, constraint, tables, address)
        elif isinstance(constraint, Check):
            yield from check_rule(table, constraint.rule, address)
        elif isinstance(constraint, (PrimaryKey, Unique)):
            yield from _check_key(constraint, columns, table, address)
    for index in table.indexes:
        yield from _check_index(table, index, columns)
    yield from _check_bounds(table, columns)
    yield from _check_fk_indexes(table, columns)
    yield from _check_triggers(table, schema, columns)


def _check_not_null_names(table: Table) -> Iterator[Diagnostic]:
    """Since Postgres 18 NOT NULL is a constraint, named before keys but after checks."""
    implied = {f"{table.name}_{c.name}_not_null" for c in table.columns if not c.nullable}
    deferred = (trigger for trigger in table.triggers if trigger.deferred)
    for own in (*table.keys, *table.foreign_keys, *deferred):
        if own.name in implied:
            address = f"{table.name}.{own.name}"
            yield Diagnostic(
                "M004",
                f"Postgres 18 gives the name of {address} to a NOT NULL constraint",
                "choose another name",
                subject=address,
            )


def _own_columns(constraint: PrimaryKey | Unique | ForeignKey | Check) -> tuple[str, ...]:
    if isinstance(constraint, Check):
        return rule_columns(constraint.rule)
    return constraint.columns


def _missing(
    names: tuple[str, ...], columns: dict[str, Column], table: Table, address: str
) -> list[Diagnostic]:
    found = [
        Diagnostic(
            "M001",
            f"{address} names the column {name}, which {table.name} does not have",
            f"columns of {table.name}: {', '.join(columns)}",
            subject=address,
        )
        for name in names
        if name not in columns
    ]
    if len(set(names)) != len(names) or not names:
        found.append(
            Diagnostic(
                "M004",
                f"{address} names {'a column twice' if names else 'no column'}",
                "name each column once",
                subject=address,
            )
        )
    return found


def _check_key(
    key: PrimaryKey | Unique, columns: dict[str, Column], table: Table, address: str
) -> Iterator[Diagnostic]:
    for name in key.columns:
        column = columns[name]
        if isinstance(key, PrimaryKey) and column.nullable:
            yield Diagnostic(
                "M022",
                f"{table.name}.{name} is part of the primary key but nullable",
                "remove `nullable`",
                subject=f"{table.name}.{name}",
            )
    yield from check_index_types(table, Method.BTREE, key.columns, address)


def _check_foreign_key(
    table: Table, key: ForeignKey, tables: dict[str, Table], address: str
) -> Iterator[Diagnostic]:
    target = tables.get(key.table)
    if target is None:
        yield Diagnostic(
            "M001",
            f"{address} points to the table {key.table}, which does not exist",
            "name a table of this schema",
            subject=address,
        )
        return
    missing = [name for name in key.referenced if target.column(name) is None]
    if missing:
        yield Diagnostic(
            "M001",
            f"{address} points to {key.table}.{missing[0]}, which does not exist",
            f"columns of {key.table}: {', '.join(c.name for c in target.columns)}",
            subject=address,
        )
        return
    pairs = list(zip(key.columns, key.referenced, strict=False))
    if len(key.columns) != len(key.referenced):
        yield Diagnostic(
            "M002",
            f"{address} joins {len(key.columns)} columns to {len(key.referenced)}",
            "name as many on both sides",
            subject=address,
        )
    for own, referenced in pairs:
        left, right = table.column(own), target.column(referenced)
        assert left is not None
        assert right is not None
        if isinstance(left.type, Array):
            yield Diagnostic(
                "M002",
                f"{table.name}.{own} is {left.type}: an array cannot be a foreign key",
                "use a table of its own for the links",
                subject=address,
            )
        if base_name(left.type) != base_name(right.type):
            yield Diagnostic(
                "M002",
                f"{table.name}.{own} is {left.type}, but {key.table}.{referenced} is {right.type}",
                "give both the same type",
                subject=address,
            )
    candidates = [unique.columns for unique in target.keys]
    candidates += [
        tuple(k.column for k in i.keys) for i in target.indexes if i.unique and i.predicate is None
    ]
    wanted = sorted(key.referenced)
    if len(set(wanted)) != len(wanted) or not any(sorted(c) == wanted for c in candidates):
        yield Diagnostic(
            "M003",
            f"{address} points to {key.table} ({', '.join(key.referenced)}),"
            " which is neither its primary key nor unique",
            "add a unique constraint there",
            subject=address,
        )
    yield from _check_actions(table, key, address)


def _check_actions(table: Table, key: ForeignKey, address: str) -> Iterator[Diagnostic]:
    sets = (Action.SET_NULL, Action.SET_DEFAULT)
    if key.on_delete_columns and (
        key.on_delete not in sets or not set(key.on_delete_columns) <= set(key.columns)
    ):
        yield Diagnostic(
            "M012",
            f"{address} lists columns for ON DELETE that it cannot set",
            "list columns of the key, with set null or set default",
            subject=address,
        )
        return
    emptied: set[str] = set()
    if key.on_delete is Action.SET_NULL:
        emptied |= set(key.on_delete_columns or key.columns)
    if key.on_update is Action.SET_NULL:
        emptied |= set(key.columns)
    for name in sorted(emptied):
        column = table.column(name)
        if column is not None and not column.nullable:
            yield Diagnostic(
                "M012",
                f"{address} would set {table.name}.{name} to NULL, but it is required",
                "make it nullable, or choose restrict or cascade",
                subject=address,
            )


def _check_index(table: Table, index: Index, columns: dict[str, Column]) -> Iterator[Diagnostic]:
    address = f"{table.name}.{index.name}"
    yield from _check_name(index.name, "index", address)
    names = tuple(key.column for key in index.keys)
    missing = _missing(names, columns, table, address)
    yield from missing
    predicate = index.predicate
    if predicate is not None and not isinstance(predicate, OpaquePredicate):
        column = columns.get(predicate.column)
        if column is None:
            yield Diagnostic(
                "M001",
                f"the condition of {address} names {predicate.column}, which does not exist",
                f"columns of {table.name}: {', '.join(columns)}",
                subject=address,
            )
        elif isinstance(predicate, IsTrue) and not isinstance(column.type, Boolean):
            yield Diagnostic(
                "M009",
                f"the condition of {address} needs a boolean column",
                "use is_null or is_not_null",
                subject=address,
            )
    if not missing:
        yield from check_index_types(table, index.method, names, address, index)


def _check_bounds(table: Table, columns: dict[str, Column]) -> Iterator[Diagnostic]:
    bounded = {
        rule.column
        for rule in (check.rule for check in table.checks)
        if isinstance(rule, (OneOf, SubsetOf))
        or (isinstance(rule, MaxBytes) and rule.limit <= ENTRY)
    }
    indexed: dict[str, str] = {}
    for key in table.keys:
        indexed.update(dict.fromkeys(key.columns, key.name))
    for index in table.indexes:
        if index.method in (Method.BTREE, Method.GIN, Method.BRIN):
            indexed.update({k.column: index.name for k in index.keys})
    for name, owner in indexed.items():
        column = columns.get(name)
        if column is None or name in bounded:
            continue
        element = column.type.element if isinstance(column.type, Array) else column.type
        if isinstance(element, Text) or (
            isinstance(element, Varchar) and element.length > _BOUNDED_VARCHAR
        ):
            yield Diagnostic(
                "M015",
                f"{table.name}.{name} is in the index {owner} without a size bound: whether a"
                " long value fits depends on how well it compresses",
                "add `max_bytes: 2600`",
                subject=f"{table.name}.{name}",
                warning=True,
            )


def _check_fk_indexes(table: Table, columns: dict[str, Column]) -> Iterator[Diagnostic]:
    leading = [tuple(k.column for k in i.keys) for i in table.indexes if i.predicate is None]
    leading += [key.columns for key in table.keys]
    for key in table.foreign_keys:
        if not set(key.columns[:1]) & columns.keys():
            continue  # its own complaint
        if not any(names[:1] == key.columns[:1] for names in leading):
            yield Diagnostic(
                "M018",
                f"no index of {table.name} leads with {key.columns[0]}, the column of {key.name}:"
                f" deleting from {key.table} reads the whole table",
                f"add an index on {key.columns[0]}",
                subject=f"{table.name}.{key.name}",
                warning=True,
            )


def _check_triggers(
    table: Table, schema: Schema, columns: dict[str, Column]
) -> Iterator[Diagnostic]:
    functions = {f.name: f for f in schema.functions}
    for trigger in table.triggers:
        address = f"{table.name}.{trigger.name}"
        yield from _check_name(trigger.name, "trigger", address)
        for rows in (trigger.old_rows, trigger.new_rows):
            if rows is not None:
                yield from _check_name(rows, "transition table", address)
        function = functions.get(trigger.function)
        if function is None:
            problem: str | None = f"calls the function {trigger.function}, which does not exist"
        else:
            problem = _function_problem(trigger, function, columns)
        problem = problem or _trigger_problem(trigger, columns) or _special_problem(trigger)
        if problem:
            yield Diagnostic(
                "M020", f"the trigger {address} {problem}", "correct it", subject=address
            )


def _function_problem(
    trigger: Trigger, function: Function, columns: dict[str, Column]
) -> str | None:
    if function.returns != "trigger" or function.arguments:
        return f"calls the function {function.name}, which is no trigger function"
    if not isinstance(function.body, SetUpdatedAt):
        return None
    column = columns.get(function.body.column)
    if column is None or not isinstance(column.type, Timestamptz):
        return f"sets {function.body.column}, which is no timestamptz column"
    if not trigger.each_row or trigger.timing is not Timing.BEFORE:
        return "must fire before each row to change it"
    if set(trigger.events) - {Event.INSERT, Event.UPDATE}:
        return "can change a row on insert and update only"
    return None


def _trigger_problem(trigger: Trigger, columns: dict[str, Column]) -> str | None:
    if not trigger.events or len(set(trigger.events)) != len(trigger.events):
        return "must name each event once, and at least one"
    if trigger.timing is Timing.INSTEAD_OF:
        return "fires instead of an event, which is for views"
    if Event.TRUNCATE in trigger.events and trigger.each_row:
        return "cannot fire for each row of a truncated table"
    if isinstance(trigger.when, RowChanged) and (
        not trigger.each_row or trigger.events != (Event.UPDATE,)
    ):
        return "can compare old and new rows for each row on update only"
    unknown = [name for name in trigger.columns if name not in columns]
    if unknown:
        return f"watches {unknown[0]}, which does not exist"
    if len(set(trigger.columns)) != len(trigger.columns):
        return "watches a column twice"
    if trigger.columns and Event.UPDATE not in trigger.events:
        return "watches columns without the event update"
    return None


def _special_problem(trigger: Trigger) -> str | None:
    """What Postgres has against a deferred trigger or one with transition tables."""
    rows = [name for name in (trigger.old_rows, trigger.new_rows) if name is not None]
    if trigger.deferred and (trigger.timing is not Timing.AFTER or not trigger.each_row or rows):
        return "can wait for the end of the transaction only after each row"
    if not rows:
        return None
    if trigger.timing is not Timing.AFTER or len(trigger.events) > 1 or trigger.columns:
        return "has transition tables, which are for one event, after it"
    events = set(trigger.events)
    if trigger.old_rows is not None and not events <= {Event.UPDATE, Event.DELETE}:
        return f"has no old rows on {trigger.events[0].value}"
    if trigger.new_rows is not None and not events <= {Event.INSERT, Event.UPDATE}:
        return f"has no new rows on {trigger.events[0].value}"
    return "gives two transition tables one name" if len(set(rows)) != len(rows) else None


def _check_value_sets(schema: Schema, tables: dict[str, Table]) -> Iterator[Diagnostic]:
    yield from _duplicates([s.name for s in schema.value_sets], "value set", "")
    for value_set in schema.value_sets:
        lists: dict[str, tuple[str, ...]] = {}
        for address in value_set.columns:
            table_name, _, column_name = address.partition(".")
            table = tables.get(table_name)
            column = table.column(column_name) if table else None
            if table is None or column is None:
                yield Diagnostic(
                    "M001",
                    f"the value set {value_set.name} names {address}, which does not exist",
                    "name it as table.column",
                    subject=value_set.name,
                )
                continue
            lists[address] = column_values(table, column)
        if len(set(lists.values())) > 1 or () in lists.values():
            shown = "; ".join(f"{k}: {', '.join(v) or 'none'}" for k, v in lists.items())
            yield Diagnostic(
                "M019",
                f"the columns of the value set {value_set.name} differ: {shown}",
                "make the lists equal, or take the column out of the set",
                subject=value_set.name,
            )


def column_values(table: Table, column: Column) -> tuple[str, ...]:
    """The values of a column's list, closed or open, in stated order; () where it has none."""
    for constraint in table.checks:
        rule = constraint.rule
        if isinstance(rule, (OneOf, SubsetOf)) and rule.column == column.name:
            return rule.values
    return column.known
