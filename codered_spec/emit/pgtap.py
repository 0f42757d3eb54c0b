"""The pgTAP emitter: the schema as test files for ``supabase test db`` and ``pg_prove``.

One file for each table and one for the schema. What SQL can name (columns, types, keys) is stated
in words. What a server rewrites (defaults, checks, indexes, triggers, policies, views) is compared
with a twin: a temporary table with the same name and the definitions of the spec, so that both
sides of the comparison are the words of the same server. Rows to try come from whoever calls.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from codered_spec.emit.access import with_access
from codered_spec.emit.ddl import constraint_sql, index_sql, trigger_sql
from codered_spec.emit.expressions import body_source, default_sql, sql_type
from codered_spec.emit.file import GENERATED, File
from codered_spec.emit.rollups import expanded
from codered_spec.model.schema import (
    Action,
    Column,
    ForeignKey,
    Function,
    Policy,
    Schema,
    Table,
    Trigger,
    Unique,
    View,
)
from codered_spec.model.types import Array, PgType, Vector, base_name
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier, literal

FOLDER: Final = "supabase/tests"
"""Where the Supabase CLI looks for tests."""

ACCEPTED: Final = "accepted"
"""The verdict on a row that the database takes."""


@dataclass(frozen=True, slots=True)
class Example:
    """An INSERT, and the verdict that it must get: ``accepted``, or SQLSTATE and constraint."""

    name: str
    statement: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows of one table to try, and the INSERTs of the rows that stand before."""

    before: tuple[str, ...]
    tried: tuple[Example, ...]


def emit_pgtap(
    schema: Schema, examples: Mapping[str, Examples], folder: str = FOLDER
) -> tuple[File, ...]:
    """``FOLDER/00_schema.sql`` and ``FOLDER/10_TABLE.sql`` for each table.

    ``examples`` are by table; a table may have none.
    """
    whole = with_access(schema, expanded(schema))
    files = [File(f"{folder}/00_schema.sql", _schema_file(whole))]
    files += [
        File(
            f"{folder}/10_{_file_name(table.name)}.sql",
            _table_file(schema, whole, table, examples.get(table.name)),
        )
        for table in whole.tables
    ]
    return tuple(files)


def _file_name(table: str) -> str:
    """The name of the table where it is plain, else something like it that no other table has."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", table):
        return table
    plain = re.sub(r"[^a-z0-9_]+", "_", table.lower())
    return f"{plain}-{hashlib.sha256(table.encode()).hexdigest()[:8]}"


# ---- the frame of a file ----------------------------------------------------------------------

# The search path: pg_catalog first, whatever is in the schema of pgTAP, and temporary tables last.
# pgTAP is found by one of its functions, because it can be installed without being an extension.
_FIND_PGTAP: Final = """\
begin;
set local client_min_messages = warning;
set local time zone 'UTC';
set local datestyle = 'ISO, MDY';

do $find$
begin
  if not exists (select from pg_catalog.pg_proc where proname = 'col_type_is') then
    create schema if not exists extensions;
    create extension pgtap with schema extensions;
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('pg_catalog, %I, pg_temp', (
    select n.nspname
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    left join pg_catalog.pg_depend d on d.objid = p.oid and d.deptype = 'e'
    where p.proname = 'col_type_is'
    order by d.objid is null, n.nspname
    limit 1
  )), true);
end
$find$;
"""


@dataclass(frozen=True, slots=True)
class _Helper:
    """A temporary function of the tests; the server's own words always in the same search path."""

    name: str
    arguments: str
    returns: str
    query: str

    @property
    def sql(self) -> str:
        return (
            f"create function pg_temp.{self.name}({self.arguments}) returns {self.returns}\n"
            "language sql stable set search_path = pg_catalog, pg_temp\n"
            f"as $helper$\n{self.query}\n$helper$;\n"
        )


_OBJECT: Final = "in_schema text, in_table text, named text"

# the twin of a table has its name, so that only the place before it differs in what a server says
_WITHOUT_TABLE: Final = """\
  replace(replace(replace({words},
    {before} || quote_ident(n.nspname) || '.' || quote_ident(c.relname) || ' ', {after}),
    {before} || 'pg_temp.' || quote_ident(c.relname) || ' ', {after}),
    {before} || quote_ident(c.relname) || ' ', {after})"""

_RELATION: Final = _Helper(
    "relation",
    "in_schema text, named text",
    "pg_class",
    """\
select c.* from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relname = named
  and case in_schema when 'pg_temp' then n.oid = pg_my_temp_schema() else n.nspname = in_schema end
  and c.relkind in ('r', 'p', 'v', 'm', 'f')""",
)

_HELPERS: Final[tuple[_Helper, ...]] = (
    _Helper(
        "column_of",
        _OBJECT,
        "text",
        """\
select concat_ws(' ',
  format_type(a.atttypid, a.atttypmod),
  case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation end,
  case when a.attnotnull then 'not null' end,
  case when a.attidentity <> '' then 'identity' end,
  case when a.attgenerated <> '' then 'generated' end,
  'default ' || pg_get_expr(d.adbin, d.adrelid))
from pg_attribute a
join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = (pg_temp.relation(in_schema, in_table)).oid
  and a.attname = named and a.attnum > 0 and not a.attisdropped""",
    ),
    _Helper(
        "columns_of",
        "in_schema text, named text",
        "text[]",
        """\
select array(
  select a.attname || ' ' || format_type(a.atttypid, a.atttypmod) from pg_attribute a
  where a.attrelid = (pg_temp.relation(in_schema, named)).oid
    and a.attnum > 0 and not a.attisdropped
  order by a.attnum)""",
    ),
    _Helper(
        "constraints_of",
        "in_schema text, in_table text",
        "text[]",
        """\
select array(select w.word from (
  select conname::text from pg_constraint
  where conrelid = (pg_temp.relation(in_schema, in_table)).oid and contype not in ('n', 't')
) w (word) order by w.word collate "C")""",
    ),
    _Helper(
        "constraint_of",
        _OBJECT,
        "text",
        """\
select pg_get_constraintdef(oid) from pg_constraint
where conrelid = (pg_temp.relation(in_schema, in_table)).oid and conname = named
  and contype <> 'n'""",
    ),
    _Helper(
        "key_actions_of",
        _OBJECT,
        "text",
        """\
select format('on delete %s, on update %s',
  case confdeltype when 'a' then 'no action' when 'r' then 'restrict' when 'c' then 'cascade'
    when 'n' then 'set null' when 'd' then 'set default' end,
  case confupdtype when 'a' then 'no action' when 'r' then 'restrict' when 'c' then 'cascade'
    when 'n' then 'set null' when 'd' then 'set default' end)
from pg_constraint
where conrelid = (pg_temp.relation(in_schema, in_table)).oid and conname = named
  and contype = 'f'""",
    ),
    _Helper(
        "index_of",
        _OBJECT,
        "text",
        "select\n"
        + _WITHOUT_TABLE.format(words="pg_get_indexdef(i.oid)", before="' ON '", after="' '")
        + """
  || case when x.indisvalid then '' else ' invalid' end
from pg_index x
join pg_class i on i.oid = x.indexrelid
join pg_class c on c.oid = x.indrelid
join pg_namespace n on n.oid = c.relnamespace
where x.indrelid = (pg_temp.relation(in_schema, in_table)).oid and i.relname = named""",
    ),
    _Helper(
        "trigger_of",
        _OBJECT,
        "text",
        "select\n"
        + _WITHOUT_TABLE.format(words="pg_get_triggerdef(t.oid)", before="' ON '", after="' '")
        + """
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
where t.tgrelid = (pg_temp.relation(in_schema, in_table)).oid and t.tgname = named
  and not t.tgisinternal""",
    ),
    _Helper(
        "trigger_enabled",
        _OBJECT,
        "text",
        """\
select case tgenabled when 'O' then 'enabled' when 'D' then 'disabled'
  when 'R' then 'enabled for replicas' else 'enabled always' end
from pg_trigger
where tgrelid = (pg_temp.relation(in_schema, in_table)).oid and tgname = named
  and not tgisinternal""",
    ),
    _Helper(
        "policy_of",
        _OBJECT,
        "text",
        """\
select concat_ws(' ',
  case when p.polpermissive then 'permissive' else 'restrictive' end,
  'to ' || array(
    select case r.oid when 0 then 'public' else pg_get_userbyid(r.oid)::text end
    from unnest(p.polroles) r (oid) order by 1)::text,
  'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
  'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
from pg_policy p
where p.polrelid = (pg_temp.relation(in_schema, in_table)).oid and p.polname = named""",
    ),
    _Helper(
        "grants_of",
        "in_schema text, named text",
        "text[]",
        """\
select array(select w.word from (
  select case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee) end
    || ': ' || lower(a.privilege_type) || coalesce(' of ' || a.attname, '')
  from (
    select e.*, null::text as attname
    from aclexplode((pg_temp.relation(in_schema, named)).relacl) e
    union all
    select e.*, c.attname from pg_attribute c, aclexplode(c.attacl) e
    where c.attrelid = (pg_temp.relation(in_schema, named)).oid and not c.attisdropped
  ) a
  where a.grantee <> (pg_temp.relation(in_schema, named)).relowner
) w (word) order by w.word collate "C")""",
    ),
    _Helper(
        "usage_of",
        "in_schema text",
        "text[]",
        """\
select array(select w.word from (
  select case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end
    || case a.privilege_type when 'USAGE' then '' else ' (create)' end
  from pg_namespace n, aclexplode(n.nspacl) a
  where n.nspname = in_schema and a.grantee <> n.nspowner
) w (word) order by w.word collate "C")""",
    ),
    _Helper(
        "relations_of",
        "in_schema text, kinds text",
        "text[]",
        """\
select array(select w.word from (
  select c.relname::text from pg_class c
  where c.relnamespace = to_regnamespace(quote_ident(in_schema))
    and strpos(kinds, c.relkind::text) > 0
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('e', 'i'))
) w (word) order by w.word collate "C")""",
    ),
    _Helper(
        "types_of",
        "in_schema text",
        "text[]",
        """\
select array(select w.word from (
  select t.typname::text from pg_type t
  where t.typnamespace = to_regnamespace(quote_ident(in_schema))
    and (t.typrelid = 0 or exists (
      select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
    and t.typtype <> 'm'
    and not exists (select from pg_type e where e.typarray = t.oid)
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
) w (word) order by w.word collate "C")""",
    ),
    _Helper(
        "functions_of",
        "in_schema text",
        "text[]",
        """\
select array(select w.word from (
  select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' from pg_proc p
  where p.pronamespace = to_regnamespace(quote_ident(in_schema))
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype in ('e', 'i'))
) w (word) order by w.word collate "C")""",
    ),
    _Helper(
        "function_named",
        "in_schema text, signature text",
        "pg_proc",
        """\
select p.* from pg_proc p
where p.pronamespace = to_regnamespace(quote_ident(in_schema))
  and p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' = signature""",
    ),
    _Helper(
        "function_of",
        "in_schema text, signature text",
        "text",
        """\
select format('(%s) returns %s, language %s, %s, security %s',
  pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), l.lanname,
  concat_ws(' ',
    case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
    case when p.proisstrict then 'strict' end,
    case when p.proleakproof then 'leakproof' end,
    case p.proparallel when 's' then 'parallel safe' when 'r' then 'parallel restricted' end),
  case when p.prosecdef then 'definer' else 'invoker' end)
from pg_proc p
join pg_language l on l.oid = p.prolang
where p.oid = (pg_temp.function_named(in_schema, signature)).oid""",
    ),
    _Helper(
        "callers_of",
        "in_schema text, signature text",
        "text[]",
        """\
select array(select w.word from (
  select case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end
  from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
  where a.grantee <> p.proowner
) w (word) order by w.word collate "C")
from pg_temp.function_named(in_schema, signature) p""",
    ),
    _Helper(
        "view_of",
        "in_schema text, named text",
        "text",
        "select pg_get_viewdef((pg_temp.relation(in_schema, named)).oid)",
    ),
)

VERDICT: Final = f"""\
create function pg_temp.verdict(statement text) returns text
language plpgsql
as $helper$
declare
  inserted bigint;
  state text;
  named text;
begin
  execute statement;
  get diagnostics inserted = row_count;
  raise exception using errcode = 'CS001'; -- whatever the row has done is undone
exception
  when sqlstate 'CS001' then
    return case when inserted = 1 then '{ACCEPTED}' else 'no row' end;
  when others then
    get stacked diagnostics state = returned_sqlstate, named = constraint_name;
    return concat_ws(' ', state, nullif(named, ''));
end
$helper$;
"""
"""``pg_temp.verdict(statement)``: what the database says of one INSERT, which it then undoes."""


class _Script:
    """The tests of one file, counted."""

    def __init__(self, title: str) -> None:
        self._title = " ".join(title.split())
        self._lines: list[str] = []
        self._count = 0

    def part(self, title: str) -> None:
        """Begins a part of the file."""
        self._lines.append(f"\n-- {' '.join(title.split())}")

    def run(self, sql: str) -> None:
        """A statement that is no test."""
        self._lines.append(sql)

    def test(self, function: str, *arguments: str, says: str) -> None:
        """A call of a function of pgTAP whose last argument is the description."""
        self._count += 1
        call = f"select {function}({', '.join((*arguments, _description(says)))});"
        if len(call) > 100:
            inner = ",\n  ".join((*arguments, _description(says)))
            call = f"select {function}(\n  {inner}\n);"
        self._lines.append(call)

    @property
    def text(self) -> str:
        """The whole file."""
        body = "\n".join(self._lines)
        helpers = [h for h in (_RELATION, *_HELPERS) if f"pg_temp.{h.name}(" in body]
        while more := [
            h
            for h in (_RELATION, *_HELPERS)
            if h not in helpers and any(f"pg_temp.{h.name}(" in own.query for own in helpers)
        ]:
            helpers += more
        made = [h.sql for h in (_RELATION, *_HELPERS) if h in helpers]
        # a function of SQL needs those that it calls
        made.sort(key=lambda sql: not sql.startswith(_FIRST))
        if "pg_temp.verdict(" in body:
            made.append(VERDICT)
        frame = "\n".join([_FIND_PGTAP, *made])
        return (
            f"-- {GENERATED}\n-- {self._title}\n\n{frame}\nselect plan({self._count});\n{body}\n\n"
            "select * from finish();\nrollback;\n"
        )


_FIRST: Final = (
    "create function pg_temp.relation(",
    "create function pg_temp.function_named(",
)


# ---- words ------------------------------------------------------------------------------------


def _description(text: str) -> str:
    # a number sign would begin a directive such as TODO
    return literal(text.replace("#", "\\#"))


def _array(items: Iterable[str], type_: str) -> str:
    return f"array[{', '.join(map(literal, items))}]::{type_}[]"


def _quoted(sql: str) -> str:
    """A statement in dollar quotes."""
    tag = "sql"
    while f"${tag}$" in f"{sql}$":
        tag += "q"
    return f"${tag}${sql}${tag}$"


def _in_c_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=str.encode)


_SPELLED: Final = {"timestamptz": "timestamp with time zone", "varchar": "character varying"}


def _catalog_type(type_: PgType) -> str | None:
    """The type as the catalog spells it; None for a vector, whose words depend on its schema."""
    if isinstance(type_, Array):
        element = _catalog_type(type_.element)
        return None if element is None else f"{element}[]"
    if isinstance(type_, Vector):
        return None
    name = base_name(type_)
    return _SPELLED.get(name, name) + str(type_)[len(name) :]


def _is(script: _Script, have: str, want: str, says: str) -> None:
    script.test("is", have, want, says=says)


# ---- the schema -------------------------------------------------------------------------------


def _schema_file(schema: Schema) -> str:
    name = literal(schema.name)
    script = _Script(f"The schema {schema.name}: which objects it has, its functions, its views.")
    script.part("what there is, and nothing else")
    script.test("has_schema", f"{name}::name", says=f"the schema {schema.name} exists")
    _is(
        script, f"pg_temp.usage_of({name})", _array(_in_c_order(schema.usage), "text"),
        f"who may use {schema.name}",
    )  # fmt: skip
    for extension in schema.extensions:
        script.test(
            "has_extension",
            f"{literal(extension.schema)}::name",
            f"{literal(extension.name)}::name",
            says=f"the extension {extension.name} is in {extension.schema}",
        )
    for kinds, title, names in (
        ("rp", "tables", [table.name for table in schema.tables]),
        ("v", "views", [view.name for view in schema.views]),
        ("mSf", "materialized views, sequences and foreign tables", []),
    ):
        have = f"pg_temp.relations_of({name}, '{kinds}')"
        _is(script, have, _array(_in_c_order(names), "text"), f"the {title} of {schema.name}")
    _is(
        script, f"pg_temp.types_of({name})", _array((), "text"),
        f"the types of {schema.name} that are of no table",
    )  # fmt: skip
    signatures = _in_c_order(map(_signature, schema.functions))
    _is(
        script, f"pg_temp.functions_of({name})", _array(signatures, "text"),
        f"the functions of {schema.name}",
    )  # fmt: skip
    for function in schema.functions:
        _function(script, schema, function)
    for view in schema.views:
        _view(script, schema, view)
    return script.text


def _signature(function: Function) -> str:
    arguments = re.sub(" DEFAULT [^,)]*", "", function.arguments)
    return f"{function.name}({arguments})"


def _function(script: _Script, schema: Schema, function: Function) -> None:
    signature = _signature(function)
    script.part(f"the function {signature}")
    names = [other.name for other in schema.functions]
    if names.count(function.name) == 1:
        own = (f"{literal(schema.name)}::name", f"{literal(function.name)}::name")
        script.test("has_function", *own, says=f"the function {function.name} exists")
        volatility = function.volatility.split()[0]
        script.test(
            "volatility_is", *own, f"'{volatility}'::text", says=f"{function.name} is {volatility}"
        )
        right = "is_definer" if function.security_definer else "isnt_definer"
        owner = "its owner" if function.security_definer else "its caller"
        script.test(right, *own, says=f"{function.name} has the rights of {owner}")
    place = f"{literal(schema.name)}, {literal(signature)}"
    settings = [f"{key}={value}" for key, value in function.settings]
    _is(
        script, f"(pg_temp.function_named({place})).proconfig",
        _array(settings, "text") if settings else "null::text[]",
        f"the settings of {function.name}",
    )  # fmt: skip
    facts = (
        f"({function.arguments}) returns {function.returns}, language {function.language},"
        f" {function.volatility}, security {'definer' if function.security_definer else 'invoker'}"
    )
    _is(
        script, f"pg_temp.function_of({place})", literal(facts),
        f"arguments, result and traits of {function.name}",
    )  # fmt: skip
    callers = [*function.execute, *(["public"] if function.public_execute else [])]
    _is(
        script, f"pg_temp.callers_of({place})", _array(_in_c_order(callers), "text"),
        f"who may call {function.name}",
    )  # fmt: skip
    digest = hashlib.md5(body_source(function.body).encode(), usedforsecurity=False).hexdigest()
    _is(
        script, f"md5((pg_temp.function_named({place})).prosrc)", literal(digest),
        f"the body of {function.name} is that of the spec",
    )  # fmt: skip


def _view(script: _Script, schema: Schema, view: View) -> None:
    script.part(f"the view {view.name}")
    own = f"{literal(schema.name)}, {literal(view.name)}"
    twin = f"'pg_temp', {literal(view.name)}"
    script.run(f"create temp view {identifier(view.name)} as\n{view.query};")
    script.test(
        "has_view", f"{literal(schema.name)}::name", f"{literal(view.name)}::name",
        says=f"the view {view.name} exists",
    )  # fmt: skip
    for helper, title in (("columns_of", "columns"), ("view_of", "query")):
        _is(
            script, f"pg_temp.{helper}({own})", f"pg_temp.{helper}({twin})",
            f"the {title} of {view.name}",
        )  # fmt: skip
    _is(
        script, f"coalesce((pg_temp.relation({own})).reloptions, '{{}}')",
        _array(["security_invoker=true"] if view.security_invoker else [], "text"),
        f"whose rights {view.name} has",
    )  # fmt: skip
    _is(
        script, f"pg_temp.grants_of({own})",
        _array(_in_c_order(f"{role}: select" for role in view.select), "text"),
        f"who may read {view.name}",
    )  # fmt: skip


# ---- a table ----------------------------------------------------------------------------------


def _table_file(schema: Schema, whole: Schema, table: Table, examples: Examples | None) -> str:
    script = _Script(f"The table {table.name} of {schema.name}.")
    own = f"{literal(schema.name)}::name, {literal(table.name)}::name"
    place = f"{literal(schema.name)}, {literal(table.name)}"
    _twin(script, whole, table)
    script.part("the table")
    script.test("has_table", own, says=f"{table.name} exists")
    names = _array([column.name for column in table.columns], "name")
    script.test("columns_are", own, names, says=f"the columns of {table.name}")
    relation = f"(pg_temp.relation({place}))"
    stored = "u" if table.storage == "unlogged" else "p"
    _is(
        script, f"{relation}.relpersistence", f"'{stored}'::\"char\"",
        f"{table.name} is {'unlogged' if stored == 'u' else 'logged'}",
    )  # fmt: skip
    script.test("rules_are", own, _array((), "name"), says=f"{table.name} has no rules")
    related = f"exists(select from pg_inherits where {relation}.oid in (inhparent, inhrelid))"
    _is(script, related, "false", f"{table.name} neither inherits nor is inherited")
    for column in table.columns:
        _column(script, own, place, table, column)
    _keys(script, own, place, table)
    for key in table.foreign_keys:
        _foreign_key(script, whole, own, place, table, key)
    _indexes(script, own, place, table)
    _triggers(script, whole, own, place, table)
    _access(script, whole, own, place, table)
    if examples is not None:
        _rows(script, schema, table, examples)
    return script.text


def _twin(script: _Script, schema: Schema, table: Table) -> None:
    """The table as the spec has it, among the temporary tables."""
    vectors = schema.extension_schema("vector")
    lines = [_column_line(column, vectors) for column in table.columns]
    lines += [
        constraint_sql(schema, table, constraint)
        for constraint in table.constraints
        if not isinstance(constraint, ForeignKey)
    ]
    body = ",\n".join(f"  {line}" for line in lines)
    script.part("the twin: what the server makes of the definitions in the spec")
    script.run(f"create temp table {identifier(table.name)} (\n{body}\n);")
    here = replace(schema, name="pg_temp")
    for index in table.indexes:
        script.run(index_sql(here, table, index))
    for trigger in table.triggers:
        script.run(_twin_trigger(schema, table, trigger))
    for policy in table.policies:
        script.run(_policy_sql(table, policy))


def _column_line(column: Column, vectors: str | None) -> str:
    text = f"{identifier(column.name)} {sql_type(column.type, vectors)}"
    text += "" if column.nullable else " not null"
    if column.default is not None:
        text += f" default {default_sql(column.default, column)}"
    return text


def _twin_trigger(schema: Schema, table: Table, trigger: Trigger) -> str:
    text = trigger_sql(schema, table, trigger)
    real, twin = identifier(schema.name, table.name), identifier("pg_temp", table.name)
    return text.replace(f" on {real}\n", f" on {twin}\n", 1)


def _policy_sql(table: Table, policy: Policy) -> str:
    roles = ", ".join(r if r == "public" else identifier(r) for r in policy.roles) or "public"
    text = (
        f"create policy {identifier(policy.name)} on {identifier('pg_temp', table.name)}"
        f" as {'permissive' if policy.permissive else 'restrictive'}"
        f" for {policy.command} to {roles}"
    )
    if policy.using is not None:
        text += f" using ({policy.using})"
    if policy.with_check is not None:
        text += f" with check ({policy.with_check})"
    return text + ";"


def _same(script: _Script, helper: str, place: str, table: Table, name: str, says: str) -> None:
    """The object and that of the twin are the same in the words of the server."""
    twin = f"'pg_temp', {literal(table.name)}"
    _is(
        script, f"pg_temp.{helper}({place}, {literal(name)})",
        f"pg_temp.{helper}({twin}, {literal(name)})", says,
    )  # fmt: skip


def _column(script: _Script, own: str, place: str, table: Table, column: Column) -> None:
    name, address = literal(column.name), f"{table.name}.{column.name}"
    script.part(f"the column {column.name}")
    type_ = _catalog_type(column.type)
    if type_ is not None:
        script.test(
            "col_type_is", own, f"{name}::name", f"{literal(type_)}::text",
            says=f"{address} is {type_}",
        )  # fmt: skip
    nulls, words = ("col_is_null", "may be NULL"), "must not be NULL"
    test, words = nulls if column.nullable else ("col_not_null", words)
    script.test(test, own, f"{name}::name", says=f"{address} {words}")
    if column.default is None:
        script.test("col_hasnt_default", own, f"{name}::name", says=f"{address} has no default")
    else:
        script.test("col_has_default", own, f"{name}::name", says=f"{address} has a default")
    _same(
        script, "column_of", place, table, column.name,
        f"type, collation and default of {address}",
    )  # fmt: skip


def _keys(script: _Script, own: str, place: str, table: Table) -> None:
    script.part("keys and checks")
    names = _array(_in_c_order(c.name for c in table.constraints), "text")
    _is(script, f"pg_temp.constraints_of({place})", names, f"the constraints of {table.name}")
    if table.primary_key is None:
        script.test("hasnt_pk", own, says=f"{table.name} has no primary key")
    for key in table.keys:
        columns = _array(key.columns, "name")
        words = ", ".join(key.columns)
        unique = isinstance(key, Unique)
        test, kind = ("col_is_unique", "unique") if unique else ("col_is_pk", "the primary key")
        script.test(test, own, columns, says=f"({words}) is {kind} of {table.name}")
        _same(script, "constraint_of", place, table, key.name, f"the key {key.name}")
    for check in table.checks:
        _same(script, "constraint_of", place, table, check.name, f"the check {check.name}")


def _foreign_key(
    script: _Script, schema: Schema, own: str, place: str, table: Table, key: ForeignKey
) -> None:
    script.part(f"the foreign key {key.name}")
    same = [other for other in table.foreign_keys if other.columns == key.columns]
    target = f"{key.table} ({', '.join(key.referenced)})"
    if len(same) == 1:  # pgTAP looks at one of them
        script.test(
            "fk_ok", own, _array(key.columns, "name"), f"{literal(schema.name)}::name",
            f"{literal(key.table)}::name", _array(key.referenced, "name"),
            says=f"({', '.join(key.columns)}) points to {target}",
        )  # fmt: skip
    named = f"{place}, {literal(key.name)}"
    actions = f"on delete {key.on_delete.value}, on update {key.on_update.value}"
    have = f"pg_temp.key_actions_of({named})"
    _is(script, have, literal(actions), f"what {key.name} does: {actions}")
    _is(
        script, f"pg_temp.constraint_of({named})", literal(_key_words(schema, key)),
        f"the foreign key {key.name} points to {target}",
    )  # fmt: skip


def _key_words(schema: Schema, key: ForeignKey) -> str:
    """The foreign key as Postgres prints it."""
    text = (
        f"FOREIGN KEY {column_list(key.columns)} REFERENCES"
        f" {identifier(schema.name, key.table)}{column_list(key.referenced)}"
    )
    if key.on_update is not Action.NO_ACTION:
        text += f" ON UPDATE {key.on_update.value.upper()}"
    if key.on_delete is not Action.NO_ACTION:
        text += f" ON DELETE {key.on_delete.value.upper()}"
        if key.on_delete_columns:
            text += f" {column_list(key.on_delete_columns)}"
    return text


def _indexes(script: _Script, own: str, place: str, table: Table) -> None:
    script.part("indexes")
    names = [key.name for key in table.keys] + [index.name for index in table.indexes]
    script.test("indexes_are", own, _array(names, "name"), says=f"the indexes of {table.name}")
    for index in table.indexes:
        method = index.method.value
        script.test(
            "index_is_type", own, f"{literal(index.name)}::name", f"'{method}'::name",
            says=f"{index.name} is a {method} index",
        )  # fmt: skip
        columns = ", ".join(key.column for key in index.keys)
        _same(script, "index_of", place, table, index.name, f"the index {index.name} ({columns})")


def _triggers(script: _Script, schema: Schema, own: str, place: str, table: Table) -> None:
    script.part("triggers")
    names = [trigger.name for trigger in table.triggers]
    script.test("triggers_are", own, _array(names, "name"), says=f"the triggers of {table.name}")
    for trigger in table.triggers:
        name = literal(trigger.name)
        script.test(
            "trigger_is", own, f"{name}::name", f"{literal(schema.name)}::name",
            f"{literal(trigger.function)}::name",
            says=f"{trigger.name} calls {trigger.function}",
        )  # fmt: skip
        have = f"pg_temp.trigger_enabled({place}, {name})"
        _is(script, have, "'enabled'", f"{trigger.name} is enabled")
        _same(script, "trigger_of", place, table, trigger.name, f"when {trigger.name} fires")


def _access(script: _Script, schema: Schema, own: str, place: str, table: Table) -> None:
    script.part("row security and rights")
    relation = f"(pg_temp.relation({place}))"
    for field, value, words in (
        ("relrowsecurity", table.row_security, "row security"),
        ("relforcerowsecurity", table.force_row_security, "row security for the owner"),
    ):
        says = f"{table.name} has {'' if value else 'no '}{words}"
        _is(script, f"{relation}.{field}", str(value).lower(), says)
    names = [policy.name for policy in table.policies]
    script.test("policies_are", own, _array(names, "name"), says=f"the policies of {table.name}")
    for policy in table.policies:
        script.test(
            "policy_cmd_is", own, f"{literal(policy.name)}::name",
            f"{literal(policy.command)}::text", says=f"{policy.name} is for {policy.command}",
        )  # fmt: skip
        _same(script, "policy_of", place, table, policy.name, f"what {policy.name} lets pass")
    rights = {
        f"{g.role}: {privilege.lower()}{f' of {column}' if column else ''}"
        for g in table.grants
        for privilege in g.privileges
        for column in (g.columns or (None,))
    }
    _is(
        script, f"pg_temp.grants_of({place})", _array(_in_c_order(rights), "text"),
        f"the rights that others have on {table.name}",
    )  # fmt: skip
    for role in schema.usage:
        held = {p.upper() for g in table.grants if g.role == role and not g.columns
                for p in g.privileges}  # fmt: skip
        script.test(
            "table_privs_are", own, f"{literal(role)}::name", _array(sorted(held), "name"),
            says=f"what {role} may do with {table.name}",
        )  # fmt: skip


def _rows(script: _Script, schema: Schema, table: Table, examples: Examples) -> None:
    script.part("rows that stand before")
    if examples.before:
        rows = ";\n".join(examples.before)
        script.test("lives_ok", _quoted(rows), says=f"the rows beside that of {table.name}")
    kept = [r for r in schema.rollups if r.source == table.name and r.kept]
    if kept and examples.before:
        fold = "set constraints all immediate; set constraints all deferred"
        script.test("lives_ok", literal(fold), says=f"the rollups of {table.name} take them in")
    for rollup in kept if examples.before else ():
        check = identifier(schema.name, f"check_{rollup.name}")
        script.test(
            "is_empty", literal(f"select * from {check}()"),
            says=f"{rollup.name} equals its source {rollup.source}",
        )  # fmt: skip
    script.part("rows to try")
    for example in examples.tried:
        _is(
            script, f"pg_temp.verdict({_quoted(example.statement)})", literal(example.verdict),
            example.name,
        )  # fmt: skip
