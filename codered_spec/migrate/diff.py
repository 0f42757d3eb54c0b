"""Two models compared, object by object and field by field; every difference has a name.

The walk goes over the dataclass fields themselves, so that a field which is added to the model is
compared without being mentioned here. Not compared, because it has no meaning for a database: the
order of tables and of columns, and the names of shared value lists. Extensions that the wanted
schema does not declare are ignored, as a database hosts more than one schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final, Literal, TypeAlias, cast

from codered_spec.errors import Diagnostic
from codered_spec.migrate.describe import (
    OpaqueConstraint,
    SchemaObject,
    Scope,
    object_text,
    value_text,
)
from codered_spec.migrate.lowering import lowered
from codered_spec.model.schema import (
    Column,
    Extension,
    Function,
    Grant,
    OneOf,
    OpaqueColumn,
    OtherObject,
    Schema,
    SubsetOf,
    Table,
)
from codered_spec.sql import columns as column_list
from codered_spec.sql import literal

Kind: TypeAlias = Literal["missing", "unexpected", "different"]

_CODES: Final[Mapping[Kind, str]] = {"missing": "V002", "unexpected": "V003", "different": "V004"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which a database is not what the spec asks for.

    ``address`` names the object (``tasks``, ``tasks.zone``, ``tasks.tasks_zone_values``, or
    ``schema``), ``what`` the kind of object that is missing or unexpected, or the field that
    differs; ``want`` and ``have`` are what is asked for and what is there, None for nothing.
    """

    kind: Kind
    address: str
    what: str
    want: str | None
    have: str | None
    hint: str | None = None

    def __str__(self) -> str:
        if self.kind == "missing":
            text = f"{self.what} {self.address} is missing: {self.want}"
        elif self.kind == "unexpected":
            text = f"{self.what} {self.address} is not in the spec: {self.have}"
        else:
            have, want = self.have or "none", self.want or "none"
            text = f"{self.address}: {self.what} is {have}, the spec says {want}"
        return f"{text} ({self.hint})" if self.hint else text

    def diagnostic(self) -> Diagnostic:
        """The difference as V002, V003 or V004."""
        fix = {
            "missing": "apply the pending migrations, or write one that creates it",
            "unexpected": "put it into the spec, or write a migration that drops it",
            "different": "write a migration that changes it, or change the spec",
        }[self.kind]
        return Diagnostic(_CODES[self.kind], str(self), fix, subject=self.address)


def diff(want: Schema, have: Schema) -> tuple[Difference, ...]:
    """Every difference, sorted by address. Empty exactly where the databases would be equal."""
    if not (want.roles or want.usage or any(table.grants for table in want.tables)):
        # it is nobody's business here who may do what
        have = _without_grants(have)
    want, have = lowered(want), lowered(have)
    found = _node(want, have, "schema", Scope(want), Scope(have))
    return tuple(sorted(found, key=lambda d: (d.address, d.kind, d.what)))


def _without_grants(schema: Schema) -> Schema:
    return replace(
        schema,
        usage=(),
        functions=tuple(replace(f, execute=()) for f in schema.functions),
        views=tuple(replace(v, select=()) for v in schema.views),
        tables=tuple(replace(t, grants=()) for t in schema.tables),
    )


_NESTED: Final[Mapping[str, str]] = {
    "tables": "table",
    "extensions": "extension",
    "functions": "function",
    "rollups": "rollup",
    "roles": "role",
    "views": "view",
    "others": "object",
    "columns": "column",
    "opaque_columns": "column",
    "primary_key": "primary key",
    "uniques": "unique constraint",
    "foreign_keys": "foreign key",
    "checks": "check",
    "indexes": "index",
    "triggers": "trigger",
    "policies": "policy",
    "grants": "grant",
    "opaque_constraints": "constraint",
}
"""The fields of Schema and Table that hold objects, and what such an object is called."""


def _node(
    want: SchemaObject | Schema, have: SchemaObject | Schema, address: str, w: Scope, h: Scope
) -> Iterator[Difference]:
    """The differences of two objects of one class and one identity."""
    if isinstance(want, tuple):  # a name and a definition that only the server understands
        if want != have:
            yield _changed(address, "definition", want[1], cast("OpaqueConstraint", have)[1], w, h)
        return
    for field in fields(want):
        a, b = getattr(want, field.name), getattr(have, field.name)
        if isinstance(want, Schema | Table) and field.name in _NESTED:
            if field.name != "opaque_columns":  # they are compared with the columns
                prefix = "" if isinstance(want, Schema) else f"{address}."
                yield from _objects(field.name, want, cast("Schema | Table", have), prefix, w, h)
        elif a != b:
            yield _changed(address, field.name.replace("_", " "), a, b, w, h)


def _objects(
    field: str, want: Schema | Table, have: Schema | Table, prefix: str, w: Scope, h: Scope
) -> Iterator[Difference]:
    """The differences of two collections, matched by name."""
    wanted, live = _by_name(field, want), _by_name(field, have)
    missing = {name: o for name, o in wanted.items() if name not in live}
    unexpected = {name: o for name, o in live.items() if name not in wanted}
    renamed = _renamed(missing, unexpected)
    back = {new: old for old, new in renamed.items()}
    for name, found in missing.items():
        hint = f"renamed to {renamed[name]}?" if name in renamed else None
        yield Difference(
            "missing",
            _address(prefix, name, found),
            _word(field, found),
            object_text(found, w),
            None,
            hint,
        )
    for name, found in unexpected.items():
        if not isinstance(found, Extension):
            hint = f"renamed from {back[name]}?" if name in back else None
            yield Difference(
                "unexpected",
                _address(prefix, name, found),
                _word(field, found),
                None,
                object_text(found, h),
                hint,
            )
    for name, a in wanted.items():
        if name not in live:
            continue
        b, address = live[name], prefix + name
        inner_w, inner_h = _inside(a, w), _inside(b, h)
        if isinstance(a, Column | OpaqueColumn) and type(a) is not type(b):
            types = (str(o.type) for o in (a, cast("Column | OpaqueColumn", b)))
            yield Difference("different", address, "type", *types)
        else:
            yield from _node(a, b, address, inner_w, inner_h)


def _by_name(field: str, parent: Schema | Table) -> dict[str, SchemaObject]:
    value = getattr(parent, field)
    found: tuple[SchemaObject | None, ...] = value if isinstance(value, tuple) else (value,)
    if field == "columns" and isinstance(parent, Table):
        found = (*found, *parent.opaque_columns)
    return {_name(item): item for item in found if item is not None}


def _name(item: SchemaObject) -> str:
    match item:
        case Function(name, _, arguments):
            return f"{name}({arguments})"
        case Grant(role, _, columns):
            return f"grant to {role}" + (f" {column_list(columns)}" if columns else "")
        case OtherObject(kind, name):
            return f"{kind} {name}"
        case (str(name), str()):
            return name
        case _:
            return item.name


def _address(prefix: str, name: str, item: SchemaObject) -> str:
    return item.name if isinstance(item, OtherObject) else prefix + name


def _word(field: str, item: SchemaObject) -> str:
    return item.kind if isinstance(item, OtherObject) else _NESTED[field]


def _inside(item: SchemaObject, scope: Scope) -> Scope:
    if isinstance(item, Table):
        return replace(scope, table=item)
    return replace(scope, column=item) if isinstance(item, Column) else scope


def _renamed(
    missing: dict[str, SchemaObject], unexpected: dict[str, SchemaObject]
) -> dict[str, str]:
    """Missing names to the unexpected one of the same definition, where there is exactly one."""
    pairs: dict[str, str] = {}
    for old, a in missing.items():
        new = [name for name, b in unexpected.items() if _nameless(a) == _nameless(b)]
        twins = [name for name, b in missing.items() if _nameless(a) == _nameless(b)]
        if len(new) == 1 and twins == [old]:
            pairs[old] = new[0]
    return pairs


def _nameless(item: SchemaObject) -> object:
    match item:
        case Extension() | OtherObject() | Grant():
            return item
        case (_, definition):
            return definition
    return replace(item, name="")


_HINTS: Final[tuple[type[OneOf] | type[SubsetOf], ...]] = (OneOf, SubsetOf)


def _changed(address: str, what: str, want: object, have: object, w: Scope, h: Scope) -> Difference:
    hint = None
    if isinstance(want, _HINTS) and isinstance(have, type(want)) and want.column == have.column:
        hint = _value_hint(want.values, have.values)
    return Difference("different", address, what, value_text(want, w), value_text(have, h), hint)


def _value_hint(want: tuple[str, ...], have: tuple[str, ...]) -> str | None:
    """Which values of a list are missing or too many."""
    lists: list[tuple[str, Callable[[str], bool], tuple[str, ...]]] = [
        ("missing", lambda v: v not in have, want),
        ("not in the spec", lambda v: v not in want, have),
    ]
    parts = [
        f"{title} {', '.join(literal(v) for v in values if test(v))}"
        for title, test, values in lists
        if any(map(test, values))
    ]
    return "; ".join(parts) or "only the order differs"
