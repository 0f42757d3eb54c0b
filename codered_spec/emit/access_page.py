"""The reference page of roles: who may do what with which rows, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from codered_spec.emit.access import ISSUE, KEYS, TOKEN, scope_function, with_access
from codered_spec.emit.file import GENERATED, File
from codered_spec.emit.markdown import code, prose
from codered_spec.emit.rollups import expanded
from codered_spec.model.check_roles import way_to
from codered_spec.model.schema import ACTIONS, Function, Role, Schema, Table

PATH = "docs/reference/access.md"


def emit_access_page(schema: Schema) -> tuple[File, ...]:
    """``docs/reference/access.md``; nothing for a spec without roles."""
    if not schema.roles:
        return ()
    text = "\n".join((*_roles(schema), *_matrix(schema), *_own(schema)))
    return (File(PATH, f"<!-- {GENERATED} -->\n\n{text}"),)


def _roles(schema: Schema) -> Iterator[str]:
    yield f"# Access to the schema {code(schema.name)}\n"
    yield "Row-level security is on for every table. What this page does not list is refused.\n"
    yield "## Roles\n"
    yield "| role | rows in reach | named by |"
    yield "|---|---|---|"
    for role in schema.roles:
        yield f"| {code(role.name)} | {_reach(role)} | {_named_by(schema, role)} |"
    yield ""


def _reach(role: Role) -> str:
    if role.scope is not None:
        return f"of some {code(role.scope.root)}"
    return "all, with every right" if role.everything else "all"


def _named_by(schema: Schema, role: Role) -> str:
    if role.scope is None:
        return ""
    claim = f"the claim {' → '.join(map(code, role.scope.claim))} of the request"
    if not role.scope.token:
        return claim
    setting = code(f"{schema.name}.token")
    return f"{claim}; outside of the API, the token in {setting}"


# ---- the matrix -------------------------------------------------------------------------------


def _matrix(schema: Schema) -> Iterator[str]:
    roots = list(dict.fromkeys(r.scope.root for r in schema.roles if r.scope is not None))
    yield "## Rights\n"
    if roots:
        yield "A row is in reach if it belongs to a row that is: by a column of its own, or along"
        yield "foreign keys. All rows of a table that belongs to none are in reach of each role"
        yield "that has a right on it. A role without a scope reaches all rows of every table.\n"
    head = ["table or view", *(f"belongs to {code(root)} by" for root in roots)]
    head += [code(role.name) for role in schema.roles]
    yield _row(head)
    yield f"|{'---|' * len(head)}"
    for table in schema.tables:
        ways = (_way(schema, table, root) for root in roots)
        rights = (_rights(role, table.name, ACTIONS) for role in schema.roles)
        yield _row([code(table.name), *ways, *rights])
    for view in schema.views:
        ways = ("the rights of the reader" for _ in roots)
        rights = (_rights(role, view.name, ("select",)) for role in schema.roles)
        yield _row([f"{code(view.name)} (view)", *ways, *rights])
    yield ""


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _way(schema: Schema, table: Table, root: str) -> str:
    """By which columns rows of the table belong to rows of the root."""
    way = way_to(schema, table, root)
    if way is None:
        return "none: all rows"
    if not way:
        key = table.primary_key
        return f"its own {', '.join(map(code, key.columns if key is not None else ()))}"
    steps = [code(way[0].columns[0])]
    for here, there in pairwise(way):
        steps.append(code(f"{here.table}.{there.columns[0]}"))
    found = " → ".join(steps)
    column = table.column(way[0].columns[0])
    if column is not None and column.nullable:
        found += "; rows without one can be read, not written"
    return found


def _rights(role: Role, name: str, actions: tuple[str, ...]) -> str:
    if role.everything:
        return ", ".join(actions)
    shown = []
    for action in actions:
        for right in role.rights:
            if (right.action, right.table) == (action, name):
                without = " and ".join(map(code, right.without))
                shown.append(f"{action} without {without}" if without else action)
    return "; ".join(shown) if any(" " in each for each in shown) else ", ".join(shown)


# ---- what the roles and rollups bring along ---------------------------------------------------


def _own(schema: Schema) -> Iterator[str]:
    made = with_access(schema, expanded(schema))
    declared = {table.name for table in schema.tables}
    closed = [table for table in made.tables if table.name not in declared]
    if closed:
        yield "## Closed tables\n"
        yield "No role has a right on them. The owner and functions with its rights use them.\n"
        yield "| table | holds |"
        yield "|---|---|"
        for table in closed:
            yield f"| {code(table.name)} | {prose(table.comment or '')} |"
        yield ""
    yield "## Functions\n"
    yield "Nobody else may call them. A function with the rights of the owner is"
    yield "`security definer`; each has an empty search path.\n"
    yield "| function | for | rights of | callers |"
    yield "|---|---|---|---|"
    for function in sorted(made.functions, key=lambda f: f.name):
        yield _row(
            [
                code(function.name),
                _purpose(schema, function),
                "the owner" if function.security_definer else "the caller",
                _callers(function),
            ]
        )
    yield ""


def _callers(function: Function) -> str:
    if function.public_execute:
        return "everybody"
    return ", ".join(map(code, function.execute)) or "only the owner"


def _purpose(schema: Schema, function: Function) -> str:
    for role in schema.roles:
        if role.scope is not None and function.name == scope_function(role.name):
            return f"the {code(role.scope.root)} in reach of {code(role.name)}"
    if function.returns == "trigger":
        return "a trigger"
    known = {
        ISSUE: f"makes a token for {code(f'{schema.name}.token')}",
        TOKEN: f"holds a token against {code(KEYS)}",
    }
    for rollup in schema.rollups:
        name = code(rollup.name)
        known[f"rebuild_{rollup.name}"] = f"makes {name} anew"
        known[f"check_{rollup.name}"] = f"lists what is wrong in {name}"
        known[f"refresh_{rollup.name}"] = f"works out a window of {name}"
    return known.get(function.name, "other functions")
