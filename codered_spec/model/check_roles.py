"""Semantic rules of roles: what must hold so that their rights mean something."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from codered_spec.errors import Diagnostic
from codered_spec.model.schema import ACTIONS, ForeignKey, Right, Role, Schema, Table
from codered_spec.model.types import Uuid
from codered_spec.sql import MAX_IDENTIFIER_BYTES

RESERVED: Final = frozenset({"public", "none", "current_role", "current_user", "session_user"})


def needed_names(roles: tuple[Role, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tables and the functions that roles need; the emitter's names, held equal by a test."""
    functions = [f"{role.name}_scope" for role in roles if role.scope is not None]
    if any(role.scope is not None and role.scope.token for role in roles):
        return ("access_keys", "access_keys_pkey"), (*functions, "issue_token", "token_scope")
    return (), tuple(functions)


def check_roles(schema: Schema) -> Iterator[Diagnostic]:
    """Every violation by a role, in the order of the schema."""
    tables = {table.name: table for table in schema.tables}
    views = {view.name for view in schema.views}
    seen: set[str] = set()
    for role in schema.roles:
        if role.name in seen:
            yield Diagnostic(
                "M004", f"the role {role.name} occurs twice", "keep one", subject=role.name
            )
        seen.add(role.name)
        yield from _check_name(role)
        if role.everything == bool(role.rights) or (role.everything and role.scope is not None):
            yield Diagnostic(
                "M033",
                f"the role {role.name} has "
                + ("everything, and something less beside it" if role.everything else "no right"),
                "say either `everything: true` or what it may do",
                subject=role.name,
            )
        if _is_everything(role, schema):
            yield Diagnostic(
                "M033",
                f"the role {role.name} has every right on every table and view",
                "say `everything: true`",
                subject=role.name,
            )
        known = list(_missing(role, tables, views))
        yield from known
        if not known:
            yield from _check_scope(role, tables)
            yield from _check_rights(role, schema)
    yield from _check_needed(schema)


def _is_everything(role: Role, schema: Schema) -> bool:
    if role.scope is not None or any(right.without for right in role.rights):
        return False
    own = {(right.action, right.table) for right in role.rights}
    every = {(action, table.name) for table in schema.tables for action in ACTIONS}
    return bool(own) and own >= every | {("select", view.name) for view in schema.views}


def way_to(
    schema: Schema, table: Table, root: str, seen: frozenset[str] = frozenset()
) -> tuple[ForeignKey, ...] | None:
    """The foreign keys from a table to the root of a scope; None where there is no way.

    Each has one column; those before the last one are required. One to the root itself comes first.
    """
    if table.name == root:
        return ()
    seen = seen | {table.name}
    keys = [fk for fk in table.foreign_keys if len(fk.columns) == 1]
    for fk in keys:
        if fk.table == root:
            return (fk,)
    for fk in keys:
        parent, column = schema.table(fk.table), table.column(fk.columns[0])
        if parent is None or parent.name in seen or column is None or column.nullable:
            continue
        further = way_to(schema, parent, root, seen)
        if further is not None:
            return (fk, *further)
    return None


def _leads(schema: Schema, table: Table, root: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether any foreign keys lead to the root, usable ones or not."""
    if table.name == root:
        return True
    seen = seen | {table.name}
    parents = [schema.table(fk.table) for fk in table.foreign_keys if fk.table not in seen]
    return any(_leads(schema, parent, root, seen) for parent in parents if parent is not None)


def _check_name(role: Role) -> Iterator[Diagnostic]:
    longest = f"{role.name}_select"
    if not role.name or role.name in RESERVED or role.name.startswith("pg_"):
        problem = "is no name for a role"
    elif len(longest.encode()) > MAX_IDENTIFIER_BYTES:
        problem = f"is too long: its policies could not be called {longest}"
    else:
        return
    yield Diagnostic("M005", f"{role.name!r} {problem}", "choose another name", subject=role.name)


def _missing(role: Role, tables: dict[str, Table], views: set[str]) -> Iterator[Diagnostic]:
    if role.scope is not None and role.scope.root not in tables:
        yield _unknown(role, f"the table {role.scope.root}")
    for right in role.rights:
        if right.table in views and right.action == "select" and not right.without:
            continue
        table = tables.get(right.table)
        if table is None:
            what = "a view can only be read, and as a whole" if right.table in views else ""
            yield _unknown(role, f"the table {right.table}", what)
            continue
        for column in right.without:
            if table.column(column) is None:
                yield _unknown(role, f"the column {right.table}.{column}")


def _unknown(role: Role, what: str, more: str = "") -> Diagnostic:
    return Diagnostic(
        "M001",
        f"the role {role.name} names {what}, which does not exist",
        more or "name a table or column of this schema",
        subject=role.name,
    )


def _check_scope(role: Role, tables: dict[str, Table]) -> Iterator[Diagnostic]:
    if role.scope is None:
        return
    root = tables[role.scope.root]
    key = root.primary_key
    column = root.column(key.columns[0]) if key is not None and len(key.columns) == 1 else None
    if column is None or column.type != Uuid():
        yield Diagnostic(
            "M032",
            f"rows cannot belong to {root.name}: its primary key is not one uuid",
            "take a table with such a key as the root of the scope",
            subject=role.name,
        )


def _check_rights(role: Role, schema: Schema) -> Iterator[Diagnostic]:
    readable = {right.table: right for right in role.rights if right.action == "select"}
    for right in role.rights:
        table = schema.table(right.table)
        if table is None:
            continue
        if len(right.without) >= len(table.columns):
            yield _useless(role, right, "all columns are left out", "leave the right out")
        if right.action in ("update", "delete") and right.table not in readable:
            yield _useless(
                role, right, "it may not read the table", "let it `select` from the table, too"
            )
        if right.action == "insert":
            for name in right.without:
                column = table.column(name)
                if column is not None and not column.nullable and column.default is None:
                    yield _useless(role, right, f"{name} is required", f"let it write {name}")
        if role.scope is None:
            continue
        way = way_to(schema, table, role.scope.root)
        if way is None and _leads(schema, table, role.scope.root):
            yield Diagnostic(
                "M032",
                f"it is not certain to which row of {role.scope.root} a row of {table.name}"
                " belongs: on every way there is a column that may be NULL, or a key of several",
                f"add a required column with a foreign key to {role.scope.root}",
                subject=role.name,
            )
        for here, there in pairwise(way or ()):
            own = readable.get(here.table)
            for needed in (here.referenced[0], there.columns[0]):
                if own is None or needed in own.without:
                    yield _useless(
                        role,
                        right,
                        f"its rows are found by {here.table}.{needed}, which it may not read",
                        f"let it `select` {needed} from {here.table}",
                    )


def _useless(role: Role, right: Right, why: str, fix: str) -> Diagnostic:
    return Diagnostic(
        "M034",
        f"{role.name} cannot use its right to {right.action} on {right.table}: {why}",
        fix,
        subject=role.name,
    )


def _check_needed(schema: Schema) -> Iterator[Diagnostic]:
    relations, functions = needed_names(schema.roles)
    taken = {t.name for t in schema.tables} | {view.name for view in schema.views}
    taken |= {part.name for t in schema.tables for part in (*t.keys, *t.indexes)}
    declared = {f.name for f in schema.functions}
    clashes = [name for name in relations if name in taken]
    clashes += [name for name in functions if name in declared]
    for name in clashes:
        yield Diagnostic(
            "M004",
            f"the roles need the name {name}, which is taken",
            "rename the other one",
            subject=name,
        )
