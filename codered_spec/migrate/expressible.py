"""The part of a live schema that a spec can contain, and a diagnostic for each part that it cannot.

What is left out takes with it whatever depends on it: the keys, checks and indexes of a column of
an unknown type, the foreign keys to them, the triggers of a function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from codered_spec.emit.expressions import predicate_sql
from codered_spec.errors import Diagnostic
from codered_spec.model.check_rollups import check_rollups
from codered_spec.model.schema import (
    Check,
    Column,
    ForeignKey,
    Function,
    Index,
    IsNotNull,
    IsNull,
    IsTrue,
    OpaqueBody,
    OpaqueCondition,
    OpaqueDefault,
    OpaquePredicate,
    OpaqueRule,
    PrimaryKey,
    Rollup,
    Schema,
    Table,
    Traits,
    Trigger,
    Unique,
    View,
    rule_columns,
)
from codered_spec.model.types import Array, Vector

T = TypeVar("T")


def expressible(schema: Schema) -> tuple[Schema, tuple[Diagnostic, ...]]:
    """The schema without what a spec cannot contain, and V005 for all that was left out."""
    filter_ = _Filter(schema)
    result = filter_.result()
    return result, tuple(filter_.found)


@dataclass(slots=True)
class _Filter:
    """One pass over a schema that collects diagnostics."""

    schema: Schema
    found: list[Diagnostic] = field(default_factory=list)

    def result(self) -> Schema:
        for other in self.schema.others:
            self._omit(other.name, f"a {other.kind}")
        for role in self.schema.usage:
            self._omit(self.schema.name, f"a grant to {role}")
        functions = self._keep(self.schema.functions, self._function, lambda f: f.name)
        views = self._keep(self.schema.views, self._view, lambda v: v.name)
        self.schema = replace(
            self.schema,
            functions=tuple(replace(f, execute=()) for f in functions),
            views=tuple(replace(v, select=()) for v in views),
            others=(),
            usage=(),
        )
        self.schema = replace(self.schema, tables=tuple(map(self._table, self.schema.tables)))
        # keys must survive before it is known which foreign keys have something to point to
        tables = tuple(
            replace(table, foreign_keys=self._part(table, table.foreign_keys, self._foreign_key))
            for table in self.schema.tables
        )
        vector = any(
            isinstance(c.type.element if isinstance(c.type, Array) else c.type, Vector)
            for table in tables
            for c in table.columns
        )
        extensions = tuple(e for e in self.schema.extensions if vector and e.name == "vector")
        found = replace(self.schema, tables=tables, extensions=extensions)
        rollups = self._keep(found.rollups, lambda r: _rollup_complaint(found, r), lambda r: r.name)
        return replace(found, rollups=rollups)

    # ---- bookkeeping

    def _omit(self, subject: str, what: str) -> None:
        fix = "change the database, or leave it outside of the spec; it was left out"
        message = f"{what} cannot be expressed in a spec"
        self.found.append(Diagnostic("V005", message, fix, subject=subject))

    def _keep(
        self, items: tuple[T, ...], complaint: Callable[[T], str | None], name: Callable[[T], str]
    ) -> tuple[T, ...]:
        kept: list[T] = []
        for item in items:
            said = complaint(item)
            if said is None:
                kept.append(item)
            else:
                self._omit(name(item), said)
        return tuple(kept)

    def _part(
        self, table: Table, items: tuple[T, ...], complaint: Callable[[Table, T], str | None]
    ) -> tuple[T, ...]:
        """The items of a table that pass; ``T`` has a name."""
        return self._keep(
            items,
            lambda item: complaint(table, item),
            lambda item: f"{table.name}.{item.name}",  # type: ignore[attr-defined]
        )

    # ---- what is left out, and why

    def _function(self, function: Function) -> str | None:
        if isinstance(function.body, OpaqueBody):
            return "the body of the function"
        for role in function.execute:
            self._omit(function.name, f"a grant to {role}")
        return None

    def _view(self, view: View) -> str | None:
        if not view.security_invoker:
            return "a view with the rights of its owner"
        for role in view.select:
            self._omit(view.name, f"a grant to {role}")
        return None

    def _table(self, table: Table) -> Table:
        for column in table.opaque_columns:
            self._omit(f"{table.name}.{column.name}", f"the type {column.type}")
        for name, definition in table.opaque_constraints:
            self._omit(f"{table.name}.{name}", f"the constraint {definition}")
        for policy in table.policies:
            self._omit(f"{table.name}.{policy.name}", "a policy")
        for role in sorted({grant.role for grant in table.grants}):
            self._omit(table.name, f"a grant to {role}")
        if table.storage is not None:
            self._omit(table.name, f"the storage ({table.storage})")
        if table.row_security or table.force_row_security:
            self._omit(table.name, "row-level security")
        keys = (table.primary_key,) if table.primary_key else ()
        table = replace(
            table,
            columns=tuple(self._column(table, c) for c in table.columns),
            opaque_columns=(),
            opaque_constraints=(),
            policies=(),
            grants=(),
            storage=None,
            row_security=False,
            force_row_security=False,
        )
        return replace(
            table,
            primary_key=next(iter(self._part(table, keys, self._key)), None),
            uniques=self._part(table, table.uniques, self._key),
            checks=self._part(table, table.checks, self._check),
            indexes=self._part(table, table.indexes, self._index),
            triggers=self._part(table, table.triggers, self._trigger),
        )

    def _column(self, table: Table, column: Column) -> Column:
        address = f"{table.name}.{column.name}"
        if column.generated is not None:
            self._omit(address, f"{column.generated}")
        if column.collation is not None:
            self._omit(address, f"the collation {column.collation}")
        default = column.default
        if isinstance(default, OpaqueDefault):
            self._omit(address, f"the default {default.expression}")
            default = None
        return replace(column, generated=None, collation=None, default=default)

    def _key(self, table: Table, key: PrimaryKey | Unique) -> str | None:
        return _trait_complaint(key.traits) or _column_complaint(table, key.columns)

    def _check(self, table: Table, check: Check) -> str | None:
        if isinstance(check.rule, OpaqueRule):
            return f"the check {check.rule.expression}"
        return _trait_complaint(check.traits) or _column_complaint(table, rule_columns(check.rule))

    def _foreign_key(self, table: Table, key: ForeignKey) -> str | None:
        complaint = _trait_complaint(key.traits) or _column_complaint(table, key.columns)
        target = self.schema.table(key.table)
        if complaint or target is None:
            return complaint or f"a foreign key to {key.table}"
        if any(set(k.columns) == set(key.referenced) for k in target.keys):
            return None
        return f"a foreign key to {key.table} without a key there"

    def _index(self, table: Table, index: Index) -> str | None:
        if index.opaque_keys:
            return f"the key {', '.join(index.opaque_keys)}"
        if index.include:
            return "included columns"
        if not index.valid:
            return "an invalid index"
        if isinstance(index.predicate, OpaquePredicate):
            return f"the predicate {predicate_sql(index.predicate)}"
        used = [key.column for key in index.keys]
        if isinstance(index.predicate, IsTrue | IsNull | IsNotNull):
            used.append(index.predicate.column)
        return _column_complaint(table, tuple(used))

    def _trigger(self, table: Table, trigger: Trigger) -> str | None:
        if trigger.opaque is not None:
            return f"the trigger {trigger.opaque}"
        if trigger.deferred:
            return "a trigger that waits for the end of the transaction"
        if trigger.old_rows is not None or trigger.new_rows is not None:
            return "a trigger with transition tables"
        if isinstance(trigger.when, OpaqueCondition):
            return f"the condition {trigger.when.expression}"
        if not trigger.enabled:
            return "a disabled trigger"
        if all(f.name != trigger.function for f in self.schema.functions):
            return f"a trigger with the function {trigger.function}"
        return _column_complaint(table, trigger.columns)


def _rollup_complaint(schema: Schema, rollup: Rollup) -> str | None:
    found = next(check_rollups(replace(schema, rollups=(rollup,))), None)
    return f"a rollup like this ({found.message})" if found else None


def _trait_complaint(traits: Traits) -> str | None:
    return f"a constraint that is {', '.join(t.value for t in traits)}" if traits else None


def _column_complaint(table: Table, names: tuple[str, ...]) -> str | None:
    unknown = [name for name in names if table.column(name) is None]
    return f"the use of column {', '.join(unknown)}" if unknown else None
