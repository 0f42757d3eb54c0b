"""Canonical form: two schemas that mean the same are equal after it, and have one fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from operator import attrgetter

from codered_spec.model.schema import (
    Check,
    Function,
    Grant,
    Index,
    Range,
    Role,
    Schema,
    Table,
    View,
)

_by_name = attrgetter("name")


def normalize(schema: Schema) -> Schema:
    """The schema with everything that has no order of its own sorted by name.

    The order of tables and columns is kept: the document states it.
    """
    return replace(
        schema,
        tables=tuple(_table(table) for table in schema.tables),
        extensions=tuple(sorted(schema.extensions, key=_by_name)),
        functions=tuple(sorted(map(_function, schema.functions), key=_by_name)),
        rollups=tuple(sorted(schema.rollups, key=_by_name)),
        views=tuple(sorted(map(_view, schema.views), key=_by_name)),
        roles=tuple(sorted(map(_role, schema.roles), key=_by_name)),
        usage=tuple(sorted(schema.usage)),
        value_sets=tuple(sorted(schema.value_sets, key=_by_name)),
        others=tuple(sorted(schema.others, key=lambda o: (o.kind, o.name))),
    )


def physical(schema: Schema) -> Schema:
    """What a database can hold of the schema, for comparison with a live one.

    Tables come in the order of their names, as a database has none; names of shared value lists
    are left out, as they exist in the spec only.
    """
    normal = normalize(schema)
    return replace(normal, tables=tuple(sorted(normal.tables, key=_by_name)), value_sets=())


def fingerprint(schema: Schema) -> str:
    """SHA-256 (hex) of the physical form: equal exactly where the databases would be equal."""
    digest = hashlib.sha256()
    _feed(digest.update, physical(schema))
    return digest.hexdigest()


def _table(table: Table) -> Table:
    return replace(
        table,
        uniques=tuple(sorted(table.uniques, key=_by_name)),
        foreign_keys=tuple(sorted(table.foreign_keys, key=_by_name)),
        checks=tuple(sorted(map(_check, table.checks), key=_by_name)),
        indexes=tuple(sorted(map(_index, table.indexes), key=_by_name)),
        triggers=tuple(sorted(table.triggers, key=_by_name)),
        policies=tuple(sorted(table.policies, key=_by_name)),
        grants=tuple(sorted(table.grants, key=lambda g: (g.role, g.columns))),
        opaque_columns=tuple(sorted(table.opaque_columns, key=_by_name)),
        opaque_constraints=tuple(sorted(table.opaque_constraints)),
    )


def _function(function: Function) -> Function:
    return replace(function, execute=tuple(sorted(function.execute)))


def _view(view: View) -> View:
    return replace(view, select=tuple(sorted(view.select)))


def _role(role: Role) -> Role:
    rights = (replace(r, without=tuple(sorted(r.without))) for r in role.rights)
    return replace(role, rights=tuple(sorted(rights, key=attrgetter("table", "action"))))


def _check(check: Check) -> Check:
    if isinstance(check.rule, Range):
        rule = replace(
            check.rule, minimum=_decimal(check.rule.minimum), maximum=_decimal(check.rule.maximum)
        )
        check = replace(check, rule=rule)
    return replace(check, traits=tuple(sorted(check.traits, key=attrgetter("value"))))


def _decimal(value: Decimal | None) -> Decimal | None:
    """One spelling per number: 0, 0.0 and 0E+2 are the same bound."""
    if value is None:
        return None
    text = format(value, "f")  # not normalize(), which rounds to 28 digits
    whole = text.rstrip("0").rstrip(".") if "." in text else text
    return Decimal(0) if value == 0 else Decimal(whole)


def _index(index: Index) -> Index:
    return replace(index, parameters=tuple(sorted(index.parameters)))


def _feed(update: Callable[[bytes], None], node: object) -> None:
    """Feeds an unambiguous serialisation of a model tree to a hash."""
    if is_dataclass(node) and not isinstance(node, type):
        update(f"{type(node).__name__}(".encode())
        for field in fields(node):
            update(f"{field.name}=".encode())
            _feed(update, getattr(node, field.name))
        update(b")")
    elif isinstance(node, tuple):
        update(f"[{len(node)}:".encode())
        for item in node:
            _feed(update, item)
    elif isinstance(node, Enum):
        update(node.name.encode() + b";")
    elif node is None or isinstance(node, (str, bool, int, Decimal)):
        text = str(node).encode("utf-8", "surrogatepass")
        update(f"{type(node).__name__}{len(text)}:".encode() + text)
    else:
        raise TypeError(f"no canonical form for {type(node).__name__}")


def grants(granted: Iterable[tuple[str, str, str | None]]) -> tuple[Grant, ...]:
    """One grant for each role and set of columns, from triples of role, privilege and column.

    No column means the whole table.
    """
    columns: dict[tuple[str, str], set[str]] = {}
    whole: dict[str, set[str]] = {}
    for role, privilege, column in granted:
        if column is None:
            whole.setdefault(role, set()).add(privilege)
        else:
            columns.setdefault((role, privilege), set()).add(column)
    parts: dict[tuple[str, tuple[str, ...]], set[str]] = {
        (role, ()): privileges for role, privileges in whole.items()
    }
    for (role, privilege), names in columns.items():
        parts.setdefault((role, tuple(sorted(names))), set()).add(privilege)
    return tuple(
        Grant(role, tuple(sorted(privileges)), names)
        for (role, names), privileges in sorted(parts.items())
    )
