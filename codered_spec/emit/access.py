"""Roles as the grants, policies and functions that give them their rights.

Row-level security is on for every table as soon as a spec declares a role. Policies come one for
each role and action; their conditions are written as a server prints them, so that a live policy
can be compared with the one that is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from codered_spec.model.check_roles import way_to
from codered_spec.model.normalize import grants
from codered_spec.model.schema import (
    ACTIONS,
    Column,
    Function,
    Now,
    OpaqueBody,
    Policy,
    PrimaryKey,
    RandomUuid,
    Right,
    Role,
    RowScope,
    Schema,
    Table,
)
from codered_spec.model.types import Timestamptz, Uuid
from codered_spec.sql import identifier, literal

KEYS: Final = "access_keys"
"""The table of the keys that sign tokens of sessions which do not come from the API."""
ISSUE: Final = "issue_token"
"""The function that makes such a token."""
TOKEN: Final = "token_scope"
"""The function that tells what a token opens."""
NOBODY: Final = "nobody"
"""The policy of a table that only functions of the owner use."""
COMMENT: Final = "Scope: "
"""Before the scope as JSON in the comment of its function: by it a reader knows it."""

_KEY_PARTS: Final = ("inner_a", "inner_b", "outer_a", "outer_b")


def with_access(spec: Schema, made: Schema) -> Schema:
    """``made`` (the spec with its rollups expanded) and what the roles of the spec need.

    Tables that are in ``made`` only belong to nobody. Idempotent, as the roles are gone then.
    """
    if not spec.roles:
        return made
    own = {table.name for table in spec.tables}
    token = any(role.scope is not None and role.scope.token for role in spec.roles)
    tables = [
        _walled(spec, table) if table.name in own else _closed(table)
        for table in (*made.tables, *((_keys_table(),) if token else ()))
    ]
    full = tuple(role.name for role in spec.roles if role.everything)
    verbs = ("rebuild", "check", "refresh")
    callable_ = {f"{verb}_{rollup.name}" for verb in verbs for rollup in spec.rollups}
    functions = [replace(f, execute=full) if f.name in callable_ else f for f in made.functions]
    functions += [_scope_function(spec, role.name, role.scope) for role in spec.roles if role.scope]
    if token:
        functions += _token_functions(spec, full)
    views = tuple(
        replace(view, select=tuple(r.name for r in spec.roles if _may(r, "select", view.name)))
        for view in made.views
    )
    return replace(
        made,
        tables=tuple(tables),
        functions=tuple(functions),
        views=views,
        usage=tuple(role.name for role in spec.roles),
        roles=(),
    )


def scope_function(role: str) -> str:
    """The function that tells which rows of the root are in reach of a role."""
    return f"{role}_scope"


def without_access(schema: Schema) -> Schema:
    """A schema that was read, with the roles that its grants, policies and functions tell of.

    Only a guess: it is right if :func:`with_access` makes the same schema of it again.
    """
    scopes = {f.name: _scope_of(f.comment) for f in schema.functions}
    gone = {ISSUE, TOKEN, *(scope_function(role) for role in schema.usage)}
    tables = tuple(t for t in schema.tables if t.name != KEYS)
    closed = {t.name for t in tables if any(p.name == NOBODY for p in t.policies)}
    roles = []
    for name in schema.usage:
        rights = [
            *(r for t in tables if t.name not in closed for r in _rights_of(t, name)),
            *(Right("select", view.name) for view in schema.views if name in view.select),
        ]
        most = (len(tables) - len(closed)) * len(ACTIONS) + len(schema.views)
        scope = scopes.get(scope_function(name))
        hidden = any(right.without for right in rights)
        everything = scope is None and len(rights) == most and not hidden
        roles.append(Role(name, scope, () if everything else tuple(rights), everything))
    return replace(
        schema,
        tables=tuple(replace(t, row_security=False, policies=(), grants=()) for t in tables),
        functions=tuple(replace(f, execute=()) for f in schema.functions if f.name not in gone),
        views=tuple(replace(v, select=()) for v in schema.views),
        usage=(),
        roles=tuple(roles),
    )


def _rights_of(table: Table, role: str) -> Iterator[Right]:
    present = {policy.name for policy in table.policies}
    for action in ACTIONS:
        if f"{role}_{action}" not in present:
            continue
        own = [g for g in table.grants if g.role == role and action in g.privileges]
        listed = {column for grant in own for column in grant.columns}
        whole = any(not grant.columns for grant in own)
        hidden = () if whole else tuple(c.name for c in table.columns if c.name not in listed)
        yield Right(action, table.name, hidden)


def _scope_of(comment: str | None) -> RowScope | None:
    if comment is None or not comment.startswith(COMMENT):
        return None
    try:
        data = json.loads(comment.removeprefix(COMMENT))
        return RowScope(str(data["root"]), tuple(map(str, data["claim"])), bool(data["token"]))
    except (ValueError, KeyError, TypeError):
        return None


# ---- tables -----------------------------------------------------------------------------------


def _right(role: Role, action: str, table: str) -> Right | None:
    if role.everything:
        return Right(action, table)
    return next((r for r in role.rights if (r.action, r.table) == (action, table)), None)


def _may(role: Role, action: str, table: str) -> bool:
    return _right(role, action, table) is not None


def _walled(spec: Schema, table: Table) -> Table:
    granted: list[tuple[str, str, str | None]] = []
    policies: list[Policy] = []
    for role in spec.roles:
        for action in ACTIONS:
            right = _right(role, action, table.name)
            if right is None:
                continue
            names = [c.name for c in table.columns if c.name not in right.without]
            columns = names if right.without and action != "delete" else [None]
            granted += [(role.name, action, column) for column in columns]
            policies.append(_policy(spec, table, role, action))
    return replace(
        table,
        row_security=True,
        policies=(*table.policies, *policies),
        grants=(*table.grants, *grants(granted)),
    )


def _policy(spec: Schema, table: Table, role: Role, action: str) -> Policy:
    seen = "true" if role.scope is None else _condition(spec, table, role.name, role.scope, True)
    own = "true" if role.scope is None else _condition(spec, table, role.name, role.scope, False)
    return Policy(
        f"{role.name}_{action}",
        action,
        (role.name,),
        using={"select": seen, "update": own, "delete": own}.get(action),
        with_check=own if action in ("insert", "update") else None,
    )


def _condition(spec: Schema, table: Table, role: str, scope: RowScope, shared: bool) -> str:
    """Whether a row is in reach: it belongs to a row of the root that is.

    ``shared``: whether rows that belong to no row of the root count, too.
    """
    way = way_to(spec, table, scope.root)
    if way is None:
        return "true"
    name = scope_function(role)
    called = f"SELECT {identifier(spec.name, name)}() AS {identifier(name)}"
    inside = f"ANY (( {called})::uuid[])"
    if not way:
        assert table.primary_key is not None
        return f"({identifier(table.primary_key.columns[0])} = {inside})"
    condition = f"{identifier(way[-1].columns[0])} = {inside}"
    for here in reversed(way[:-1]):
        parent = identifier(here.table)
        inner = f"({parent}.{condition})"
        condition = (
            f"{identifier(here.columns[0])} IN ( SELECT {parent}.{identifier(here.referenced[0])}"
            f" FROM {identifier(spec.name, here.table)} WHERE {inner})"
        )
    column = table.column(way[0].columns[0])
    if shared and column is not None and column.nullable:
        return f"(({identifier(column.name)} IS NULL) OR ({condition}))"
    return f"({condition})"


def _closed(table: Table) -> Table:
    """A table that functions of the owner use: nobody else sees any row of it."""
    nobody = Policy(NOBODY, "select", ("public",), permissive=False, using="false")
    return replace(table, row_security=True, policies=(nobody,))


# ---- who somebody is --------------------------------------------------------------------------


def _keys_table() -> Table:
    return Table(
        KEYS,
        (
            Column("id", Uuid(), default=RandomUuid()),
            *(Column(part, Uuid(), default=RandomUuid()) for part in _KEY_PARTS),
            Column("created_at", Timestamptz(), default=Now()),
        ),
        primary_key=PrimaryKey(f"{KEYS}_pkey", ("id",)),
        comment="Keys of the tokens by which sessions name their rows. The newest signs, all hold.",
    )


def _scope_function(spec: Schema, role: str, scope: RowScope) -> Function:
    path = literal("{" + ",".join(f'"{step}"' for step in scope.claim) + "}")
    token = ""
    if scope.token:
        setting = literal(f"{spec.name}.token")
        token = f"""
  if session_user <> 'authenticator' then
    -- whoever has a session of his own can set every setting: only a signature tells
    return {identifier(spec.name, TOKEN)}(current_setting({setting}, true));
  end if;"""
    body = f"""
declare
  claim pg_catalog.jsonb;
begin{token}
  claim := nullif(current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb #> {path};
  if jsonb_typeof(claim) is distinct from 'array' then
    claim := jsonb_build_array(claim);
  end if;
  return array(
    select e.id::pg_catalog.uuid from jsonb_array_elements_text(claim) e (id) where e.id is not null
  );
exception when data_exception then
  return '{{}}'::pg_catalog.uuid[]; -- a claim that is none opens nothing
end
"""
    return Function(
        scope_function(role),
        OpaqueBody(body),
        returns="uuid[]",
        volatility="stable",
        security_definer=scope.token,
        execute=(role,),
        comment=COMMENT
        + json.dumps(
            {"root": scope.root, "claim": list(scope.claim), "token": scope.token},
            ensure_ascii=False,
        ),
    )


def _token_functions(spec: Schema, full: tuple[str, ...]) -> Iterator[Function]:
    keys = identifier(spec.name, KEYS)
    inner, outer = (
        " || ".join(f"uuid_send(k.{part})" for part in _KEY_PARTS if part.startswith(side))
        for side in ("inner", "outer")
    )
    mac = f"encode(sha256({outer} || sha256({inner} || convert_to(%s, 'UTF8'))), 'hex')"
    yield Function(
        ISSUE,
        OpaqueBody(
            f"""
declare
  claims pg_catalog.text;
begin
  if $1 is null or $2 is null or $2 <= interval '0' or not isfinite(clock_timestamp() + $2) then
    raise exception using errcode = '22023',
      message = 'a token is for one row and for some time',
      hint = 'give an id, and how long it is valid';
  end if;
  claims := $1 || '.' || extract(epoch from date_trunc('second', clock_timestamp() + $2))::bigint;
  return (
    select claims || '.' || {mac % "claims"}
    from {keys} k order by k.created_at desc, k.id limit 1
  );
end
"""
        ),
        arguments="row_id uuid, valid_for interval DEFAULT '01:00:00'::interval",
        returns="text",
        security_definer=True,
        execute=full,
        comment=f"A token for {spec.name}.token: its session reaches the rows of one id.",
    )
    yield Function(
        TOKEN,
        OpaqueBody(
            f"""
declare
  parts pg_catalog.text[] := string_to_array($1, '.');
begin
  if cardinality(parts) = 3
    and parts[2]::bigint > extract(epoch from statement_timestamp())
    and exists (
      select from {keys} k where parts[3] = {mac % "parts[1] || '.' || parts[2]"}
    )
  then
    return array[parts[1]::pg_catalog.uuid];
  end if;
  return '{{}}'::pg_catalog.uuid[];
exception when data_exception then
  return '{{}}'::pg_catalog.uuid[]; -- what is no token opens nothing
end
"""
        ),
        arguments="token text",
        returns="uuid[]",
        volatility="stable",
        security_definer=True,
    )


# ---- SQL --------------------------------------------------------------------------------------


def roles_sql(schema: Schema) -> Iterator[str]:
    """Makes the roles that a server lacks, and lets them use the schema."""
    names = schema.usage
    if not names:
        return
    listed = ", ".join(literal(name) for name in names)
    yield f"""do $roles$
declare
  wanted text;
begin
  foreach wanted in array array[{listed}] loop
    -- roles belong to the whole server: another migration may make them at this moment
    begin
      if to_regrole(quote_ident(wanted)) is null then
        execute format('create role %I nologin', wanted);
      end if;
    exception when duplicate_object or unique_violation then
      null;
    end;
    begin
      if to_regrole('authenticator') is not null
        and not pg_has_role('authenticator', wanted, 'member')
      then
        execute format('grant %I to authenticator', wanted);
      end if;
    exception when unique_violation then
      null;
    end;
  end loop;
end
$roles$;"""
    listed = ", ".join(identifier(name) for name in names)
    yield f"grant usage on schema {identifier(schema.name)} to {listed};"
    for space in dict.fromkeys(e.schema for e in schema.extensions if e.schema != schema.name):
        name = identifier(space)
        yield f"""do $usage$
begin
  -- where it belongs to somebody else, who has not passed the right on, it stays as it is
  if has_schema_privilege({literal(name)}, 'usage with grant option') then
    grant usage on schema {name} to {listed};
  end if;
end
$usage$;"""


def table_rights_sql(schema: Schema, table: Table) -> Iterator[str]:
    """Row-level security of a table, its policies and grants."""
    name = identifier(schema.name, table.name)
    lines = []
    if table.row_security:
        lines.append(f"alter table {name} enable row level security;")
    for grant in table.grants:
        listed = f" ({', '.join(map(identifier, grant.columns))})" if grant.columns else ""
        rights = ", ".join(f"{privilege}{listed}" for privilege in grant.privileges)
        lines.append(f"grant {rights} on {name} to {identifier(grant.role)};")
    if lines:
        yield "\n".join(lines)
    for policy in table.policies:
        roles = ", ".join("public" if r == "public" else identifier(r) for r in policy.roles)
        text = f"create policy {identifier(policy.name)} on {name}"
        if not policy.permissive:
            text += " as restrictive"
        text += f"\n  for {policy.command} to {roles}"
        if policy.using is not None:
            text += f"\n  using ({policy.using})"
        if policy.with_check is not None:
            text += f"\n  with check ({policy.with_check})"
        yield f"{text};"


def first_rows_sql(schema: Schema) -> Iterator[str]:
    """The first key, where tokens are in use."""
    table = schema.table(KEYS)
    if table is not None and table.row_security and schema.usage:
        yield f"insert into {identifier(schema.name, KEYS)} default values;"
