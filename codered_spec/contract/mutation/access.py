"""The mutants of access: policies, grants, row-level security, readers, functions, the schema.

Each is the schema as a database holds it (roles and rollups expanded) with one of these things
removed, loosened, tightened or exchanged. What a model can say of a mutant is its ``schema``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from codered_spec.contract.access import OUTSIDER, SCHEMA
from codered_spec.contract.mutation.operators import Mutant
from codered_spec.emit.access import ISSUE, TOKEN, scope_function
from codered_spec.emit.ddl import function_sql
from codered_spec.migrate.lowering import lowered
from codered_spec.model.normalize import grants
from codered_spec.model.schema import (
    ACTIONS,
    Function,
    OpaqueBody,
    Policy,
    Schema,
    Table,
    View,
)
from codered_spec.sql import identifier, literal

OPTION: Final = " with grant option"
_Triple = tuple[str, str, str | None]
"""Role, privilege, and column or None for the whole table."""


def access_mutants(spec: Schema) -> Iterator[Mutant]:
    """Every mutant of what the roles of a spec need."""
    schema = lowered(spec)
    roles = tuple(role.name for role in spec.roles)
    for table in schema.tables:
        yield from _of_table(schema, table)
        for policy in table.policies:
            yield from _of_policy(schema, table, policy, roles)
        yield from _of_grants(schema, table, roles)
    for view in schema.views:
        yield from _of_view(schema, view, roles)
    for function in schema.functions:
        yield from _of_function(schema, function, roles)
        for detail, source in _bodies(spec, function):
            yield replaced(schema, function, "access function changed", detail, source)
    yield from _of_schema(schema, roles)


def _put(schema: Schema, table: Table) -> Schema:
    tables = tuple(table if t.name == table.name else t for t in schema.tables)
    return replace(schema, tables=tables)


def _to(role: str) -> str:
    return "public" if role == "public" else identifier(role)


# ---- tables and policies ----------------------------------------------------------------------


def _of_table(schema: Schema, table: Table) -> Iterator[Mutant]:
    own = f"alter table {identifier(schema.name, table.name)}"
    if table.row_security:
        off = _put(schema, replace(table, row_security=False))
        sql = f"{own} disable row level security;"
        yield Mutant("row security disabled", table.name, table.name, "", sql, off)
        forced = _put(schema, replace(table, force_row_security=True))
        sql = f"{own} force row level security;"
        yield Mutant("row security forced", table.name, table.name, "", sql, forced)
    for command in ("select", "insert", "update", "delete", "all"):
        using = None if command == "insert" else "true"
        check = "true" if command == "insert" else None
        more = Policy("mutant", command, ("public",), using=using, with_check=check)
        changed = replace(table, policies=(*table.policies, more))
        sql = _policy_sql(schema, table, more)
        yield Mutant(
            "policy added", table.name, "mutant", f"for {command}", sql, _put(schema, changed)
        )


def _policy_sql(schema: Schema, table: Table, policy: Policy) -> str:
    parts = [
        f"create policy {identifier(policy.name)} on {identifier(schema.name, table.name)}",
        f"as {'permissive' if policy.permissive else 'restrictive'}",
        f"for {policy.command} to {', '.join(map(_to, policy.roles))}",
    ]
    parts += [f"using ({policy.using})"] if policy.using is not None else []
    parts += [f"with check ({policy.with_check})"] if policy.with_check is not None else []
    return f"{' '.join(parts)};"


def _of_policy(
    schema: Schema, table: Table, policy: Policy, roles: tuple[str, ...]
) -> Iterator[Mutant]:
    drop = f"drop policy {identifier(policy.name)} on {identifier(schema.name, table.name)};"

    def other(operator: str, detail: str, *new: Policy) -> Mutant:
        rest = tuple(p for p in table.policies if p != policy)
        by_name = sorted((*rest, *new), key=lambda p: p.name)
        after = _put(schema, replace(table, policies=tuple(by_name)))
        sql = "\n".join([drop, *(_policy_sql(schema, table, p) for p in new)])
        return Mutant(operator, table.name, policy.name, detail, sql, after)

    yield other("policy removed", "")
    if policy.roles != ("public",):
        yield other("policy role changed", "to public", replace(policy, roles=("public",)))
    for role in roles:
        if role not in policy.roles:
            yield other("policy role changed", f"to {role}", replace(policy, roles=(role,)))
            if policy.roles != ("public",):
                both = replace(policy, roles=tuple(sorted((*policy.roles, role))))
                yield other("policy role added", role, both)
    for field, name in (("using", "USING"), ("with_check", "WITH CHECK")):
        condition = getattr(policy, field)
        if condition is None:
            continue
        for constant in ("true", "false"):
            if condition != constant:
                changed = replace(policy, **{field: constant})  # type: ignore[arg-type]
                yield other(f"{name} constant", constant, changed)
        for detail, text in _conditions_beside(schema, table, condition, roles):
            changed = replace(policy, **{field: text})  # type: ignore[arg-type]
            yield other(f"{name} changed", detail, changed)
    if policy.using is not None and policy.with_check is not None:
        yield other("WITH CHECK removed", "", replace(policy, with_check=None))
    turned = replace(policy, permissive=not policy.permissive)
    yield other("policy permissiveness changed", "", turned)
    if policy.using is not None:
        yield other("policy command changed", "to all", replace(policy, command="all"))


def _conditions_beside(
    schema: Schema, table: Table, condition: str, roles: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    scoped = [r for r in roles if any(f.name == scope_function(r) for f in schema.functions)]
    own = next((r for r in scoped if f".{scope_function(r)}()" in condition), None)
    if own is None:
        return
    for role in scoped:
        if role != own:
            text = condition.replace(scope_function(own), scope_function(role))
            yield f"to the scope of {role}", text
    first = re.match(r"\((\w+) = ANY", condition)
    if first is not None:
        for column in table.columns:
            if type(column.type).__name__ == "Uuid" and column.name != first[1]:
                yield f"to {column.name}", condition.replace(first[1], column.name, 1)
    way = re.search(r" WHERE \(.*\)\)\)$", condition)
    if way is not None:
        yield "cut", condition[: way.start()] + "))"
    yield "negated", f"(NOT {condition})"


# ---- grants -----------------------------------------------------------------------------------


def _triples(table: Table) -> set[_Triple]:
    return {
        (grant.role, privilege, column)
        for grant in table.grants
        for privilege in grant.privileges
        for column in (grant.columns or (None,))
    }


def _of_grants(schema: Schema, table: Table, roles: tuple[str, ...]) -> Iterator[Mutant]:
    before = _triples(table)
    own = identifier(schema.name, table.name)

    def other(operator: str, detail: str, gone: set[_Triple], more: set[_Triple]) -> Mutant:
        after = _put(schema, replace(table, grants=grants((before - gone) | more)))
        lines = [
            f"revoke {privilege}{_listed(column)} on {own} from {_to(role)};"
            for role, privilege, column in sorted(gone, key=str)
            if (role, f"{privilege}{OPTION}", column) not in more
        ]
        lines += [
            f"grant {privilege.removesuffix(OPTION)}{_listed(column)} on {own} to {_to(role)}"
            + (f"{OPTION};" if privilege.endswith(OPTION) else ";")
            for role, privilege, column in sorted(more, key=str)
        ]
        return Mutant(operator, table.name, "grants", detail, "\n".join(lines), after)

    for grant in table.grants:
        for privilege in grant.privileges:
            words = f"{privilege} to {grant.role}"
            held: set[_Triple] = {(grant.role, privilege, c) for c in (grant.columns or (None,))}
            yield other("grant removed", words, held, set())
            handed: set[_Triple] = {(r, f"{p}{OPTION}", c) for r, p, c in held}
            yield other("grant option added", words, held, handed)
            if not grant.columns:
                continue
            yield other("grant widened", words, set(), {(grant.role, privilege, None)})
            for column in (c.name for c in table.columns):
                one: set[_Triple] = {(grant.role, privilege, column)}
                if column in grant.columns:
                    yield other("grant column removed", f"{words} of {column}", one, set())
                else:
                    yield other("grant column added", f"{words} of {column}", set(), one)
    for role in (*roles, OUTSIDER, "public"):
        for privilege in (*ACTIONS, "truncate", "trigger"):
            if any((r, p) == (role, privilege) for r, p, _ in before):
                continue
            words = f"{privilege} to {role}"
            yield other("grant added", words, set(), {(role, privilege, None)})
            if privilege in ("select", "insert", "update"):
                column = table.columns[-1].name
                words = f"{privilege} of {column} to {role}"
                yield other("column grant added", words, set(), {(role, privilege, column)})


def _listed(column: str | None) -> str:
    return "" if column is None else f" ({identifier(column)})"


# ---- views, functions, the schema -------------------------------------------------------------


def _of_view(schema: Schema, view: View, roles: tuple[str, ...]) -> Iterator[Mutant]:
    own = identifier(schema.name, view.name)

    def other(operator: str, detail: str, sql: str, new: View | None) -> Mutant:
        views = tuple(v for v in schema.views if v.name != view.name)
        after = None if new is None else replace(schema, views=(*views, new))
        return Mutant(operator, view.name, "view", detail, sql, after)

    invoker = replace(view, security_invoker=False)
    sql = f"alter view {own} set (security_invoker = false);"
    yield other("view runs as its owner", "", sql, invoker)
    for role in view.select:
        rest = replace(view, select=tuple(r for r in view.select if r != role))
        yield other("reader removed", role, f"revoke select on {own} from {_to(role)};", rest)
        sql = f"grant select on {own} to {_to(role)}{OPTION};"
        yield other("grant option added", f"select to {role}", sql, None)
    for role in (*roles, OUTSIDER, "public"):
        if role not in view.select:
            more = replace(view, select=tuple(sorted((*view.select, role))))
            sql = f"grant select on {own} to {_to(role)};"
            yield other("reader added", role, sql, more)


def _of_function(schema: Schema, function: Function, roles: tuple[str, ...]) -> Iterator[Mutant]:
    signature = re.sub(" DEFAULT [^,]*", "", function.arguments)
    own = f"function {identifier(schema.name, function.name)}({signature})"

    def other(operator: str, detail: str, sql: str, new: Function | None) -> Mutant:
        after = None if new is None else _with_function(schema, new)
        return Mutant(operator, function.name, "function", detail, sql, after)

    for role in function.execute:
        rest = tuple(r for r in function.execute if r != role)
        sql = f"revoke execute on {own} from {_to(role)};"
        yield other("caller removed", role, sql, replace(function, execute=rest))
        sql = f"grant execute on {own} to {_to(role)}{OPTION};"
        yield other("grant option added", f"execute to {role}", sql, None)
    for role in (*roles, OUTSIDER):
        if role not in function.execute:
            more = replace(function, execute=tuple(sorted((*function.execute, role))))
            yield other("caller added", role, f"grant execute on {own} to {_to(role)};", more)
    if not function.public_execute:
        everybody = replace(function, public_execute=True)
        yield other("caller added", "public", f"grant execute on {own} to public;", everybody)
    word = "invoker" if function.security_definer else "definer"
    turned = replace(function, security_definer=not function.security_definer)
    yield other("function runs as another", word, f"alter {own} security {word};", turned)
    if function.settings:
        bare = replace(function, settings=())
        yield other("search path removed", "", f"alter {own} reset search_path;", bare)


def _with_function(schema: Schema, new: Function) -> Schema:
    functions = tuple(new if f.name == new.name else f for f in schema.functions)
    return replace(schema, functions=functions)


def replaced(schema: Schema, function: Function, operator: str, detail: str, source: str) -> Mutant:
    """A mutant whose function has another body."""
    new = replace(function, body=OpaqueBody(source))
    # without its rights, which it keeps
    bare = replace(new, public_execute=True, execute=(), comment=None)
    sql = function_sql(schema, bare).replace("create function", "create or replace function", 1)
    after = _with_function(schema, new)
    return Mutant(operator, function.name, "function", detail, sql, after)


def _of_schema(schema: Schema, roles: tuple[str, ...]) -> Iterator[Mutant]:
    own = f"schema {identifier(schema.name)}"
    for role in schema.usage:
        rest = replace(schema, usage=tuple(r for r in schema.usage if r != role))
        sql = f"revoke usage on {own} from {_to(role)};"
        yield Mutant("schema usage removed", SCHEMA, SCHEMA, role, sql, rest)
        sql = f"grant usage on {own} to {_to(role)}{OPTION};"
        yield Mutant("grant option added", SCHEMA, SCHEMA, f"usage to {role}", sql)
    for role in (*roles, OUTSIDER, "public"):
        if role not in schema.usage:
            more = replace(schema, usage=tuple(sorted((*schema.usage, role))))
            sql = f"grant usage on {own} to {_to(role)};"
            yield Mutant("schema usage added", SCHEMA, SCHEMA, role, sql, more)
        sql = f"grant create on {own} to {_to(role)};"
        yield Mutant("schema creation allowed", SCHEMA, SCHEMA, role, sql)


# ---- bodies of the functions of access --------------------------------------------------------

_BLOCK: Final = r"\n  if (?:(?!\n  if ).)*?\n  end if;"
_HANDLER: Final = r"\nexception when data_exception then\n[^\n]*"
NULL_ID: Final = "null among the ids"
FAULTS_TOLD: Final = "faults told"


def _bodies(spec: Schema, function: Function) -> Iterator[tuple[str, str]]:
    source = getattr(function.body, "source", "")
    scopes = {scope_function(r.name): r.scope for r in spec.roles if r.scope is not None}
    edits: list[tuple[str, str, str]] = []
    if function.name in scopes:
        scope = scopes[function.name]
        table = identifier(spec.name, scope.root)
        root = spec.table(scope.root)
        assert root is not None
        assert root.primary_key is not None
        key = identifier(root.primary_key.columns[0])
        yield "opens nothing", "begin return '{}'; end"
        yield "opens null", "begin return null; end"
        yield "opens everything", f"begin return array(select {key} from {table}); end"
        path = literal("{" + ",".join(f'"{step}"' for step in scope.claim) + "}")
        edits = [
            (NULL_ID, r" where e\.id is not null", ""),
            ("another path", re.escape(path), "'{mutant}'"),
            ("list and value exchanged", "is distinct from 'array'", "= 'array'"),
            ("door and session exchanged", "session_user <> ", "session_user = "),
            ("the token of another setting", rf"'{spec.name}\.token'", "'mutant.token'"),
        ]
    elif function.name == TOKEN:
        edits = [
            ("number of parts unchecked", r"cardinality\(parts\) = 3\n    and ", ""),
            ("end unchecked", r"parts\[2\]::bigint > extract[^\n]*", "true"),
            ("end turned", r"bigint > extract", "bigint < extract"),
            ("signature unchecked", r"(?s)exists \(.*?\n    \)", "true"),
            ("end not signed", r"parts\[1\] \|\| '\.' \|\| parts\[2\]", "parts[1]"),
            ("the end opened", r"array\[parts\[1\]", "array[parts[2]"),
        ]
    elif function.name == ISSUE:
        edits = [
            ("id unchecked", r"\$1 is null or ", ""),
            ("time unchecked", r"\$2 is null or ", ""),
            ("no time allowed", r"<= interval '0'", "< interval '0'"),
            ("dead token allowed", r"\$2 <= interval '0' or ", ""),
            ("endless token allowed", r" or not isfinite\([^)]*\) \+ \$2\)", ""),
            ("valid at once no more", r"clock_timestamp\(\) \+ \$2\)\)", "clock_timestamp()))"),
            ("unsigned", r"select claims \|\| '\.' \|\| encode", "select claims || encode"),
        ]
    if edits:
        for number, block in enumerate(re.findall(f"(?s){_BLOCK}", source)):
            edits.append((f"condition {number + 1} removed", re.escape(block), ""))
        edits.append((FAULTS_TOLD, _HANDLER, ""))
    for detail, pattern, new in edits:
        changed = re.sub(pattern, lambda _, new=new: new, source, count=1)
        if changed != source:
            yield detail, changed
