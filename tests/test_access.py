"""The walls between projects, proved by attack: each test is something that must not succeed.

The matrix comes from the roles of the spec. Tests whose name begins with ``test_known_`` show what
the walls do not hide, or do not stop, so that nobody is surprised.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Final

import psycopg
import pytest
from access_cases import (
    ACTORS,
    AGENTS,
    ANON,
    AUDIT,
    CLAIM,
    DENIED,
    NOWHERE,
    PARENTS,
    PERSON,
    ROLLUPS,
    SERVICE,
    SHARED,
    SPEC,
    TABLES,
    TOKEN,
    VIEWS,
    A,
    Actor,
    B,
    House,
    claims,
    copied,
    house,
    ids,
    insert_sql,
    own,
    right,
    role_of,
    setting,
    soon,
    table,
    tried,
)

from codered_spec.connection import Connection
from codered_spec.emit.access import KEYS, with_access
from codered_spec.emit.rollups import expanded
from codered_spec.migrate.diff import diff
from codered_spec.migrate.verify import verify
from codered_spec.model.schema import ACTIONS, ForeignKey, Function, Role, Schema
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sources.database import read_catalog
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier, literal

INTERNAL: Final = ("agent_runs_deltas", "access_keys")
LOCKED_VIEW: Final = "55000"  # a view that cannot be written to, whoever asks


@pytest.fixture(scope="module")
def walls(server: EmbeddedServer, template: str) -> Iterator[House]:
    """A database with rows of two projects."""
    with house(server, template) as found:
        yield found


@pytest.fixture(params=AGENTS, ids=lambda actor: actor.name)
def agent(walls: House, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A transaction of an agent of project A, once in each way that an agent can come."""
    with walls.acting(request.param) as connection:
        yield connection


@pytest.fixture
def direct(walls: House) -> Iterator[Connection]:
    """The same in a session of the agent's own login, in which he may run anything."""
    with walls.acting(TOKEN) as connection:
        yield connection


@pytest.fixture
def person(walls: House) -> Iterator[Connection]:
    """A transaction of somebody who signed in and whose account lists project A."""
    with walls.acting(PERSON) as connection:
        yield connection


def writable(action: str) -> list[str]:
    """Tables with which an agent may do something."""
    return [name for name in TABLES if right(TOKEN, action, name)]


# ---- the matrix -------------------------------------------------------------------------------


def reach(walls: House, actor: Actor, name: str) -> set[str]:
    """The ids of the rows that somebody of project A must see."""
    mine, others = walls.ids[name, A], walls.ids[name, B]
    return mine | others if actor is SERVICE or name in SHARED else mine


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.name)
def test_the_matrix_of_tables(walls: House, actor: Actor, name: str) -> None:
    with walls.acting(actor) as session:
        for check in (read, put, change, remove):
            check(walls, session, actor, name)


def read(walls: House, session: Connection, actor: Actor, name: str) -> None:
    allowed = right(actor, "select", name)
    every = [column.name for column in table(name).columns]
    for column in every:
        said = tried(session, f"select {identifier(column)} from {own(name)}")
        if allowed is None or column in allowed.without:
            assert said.state == DENIED, column
        else:
            assert (said.state, said.hits) == (None, len(reach(walls, actor, name))), column
    if allowed is not None:
        assert ids(session, name) == reach(walls, actor, name)
    whole = tried(session, f"table {own(name)}")
    assert (whole.state is None) == (allowed is not None and not allowed.without)


def put(walls: House, session: Connection, actor: Actor, name: str) -> None:
    allowed = right(actor, "insert", name)
    for project in (A, B):
        row = walls.spare[name, project]
        names = [c for c in row if allowed is None or c not in allowed.without]
        sql, values = insert_sql(name, names), [row[column] for column in names]
        said = tried(session, sql, values)
        if allowed is None or (project == B and actor is not SERVICE and name not in SHARED):
            assert said.state == DENIED, said
            continue
        assert (said.state, said.hits) == (None, 1), said
        for column in allowed.without:
            more = insert_sql(name, [*names, column])
            assert tried(session, more, [*values, row[column]]).state == DENIED, column
    assert tried(session, f"insert into {own(name)} default values").state is not None


def change(walls: House, session: Connection, actor: Actor, name: str) -> None:
    allowed = right(actor, "update", name)
    for column in (c.name for c in table(name).columns):
        sql = f"update {own(name)} set {identifier(column)} = {identifier(column)}"
        said = tried(session, sql)
        if allowed is None or column in allowed.without:
            assert said.state == DENIED, (column, said)
            blind = f"update {own(name)} set {identifier(column)} = default where false"
            assert tried(session, blind).state == DENIED, column
        else:
            assert (said.state, said.hits) == (None, len(reach(walls, actor, name))), said


def remove(walls: House, session: Connection, actor: Actor, name: str) -> None:
    allowed = right(actor, "delete", name)
    if allowed is None:
        for where in ("", f" where id = '{walls.id(name, A)}'", " where false"):
            assert tried(session, f"delete from {own(name)}{where}").state == DENIED
        return
    row = walls.spare[name, A]
    # one that nothing points to; who may remove it may put it here, too
    assert tried(session, insert_sql(name, list(row)), list(row.values()), keep=True).hits == 1
    said = tried(session, f"delete from {own(name)} where id = '{row['id']}'")
    assert (said.state, said.hits) == (None, 1), said
    if actor is not SERVICE:
        assert tried(session, f"delete from {own(name)}").hits == 1 + len(walls.ids[name, A])


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.name)
def test_the_matrix_of_views(walls: House, actor: Actor, name: str) -> None:
    seen = f"select project_id::text, count(*) from {own(name)} group by 1"
    truth: dict[str, int] = dict(walls.boss.execute(seen.encode()).fetchall())
    assert set(truth) == {A, B}
    with walls.acting(actor) as session:
        said, whole = tried(session, seen), tried(session, f"select * from {own(name)}")
        if right(actor, "select", name) is None:
            assert (said.state, whole.state) == (DENIED, DENIED)
        elif actor is SERVICE:
            assert (said.state, dict(said.rows)) == (None, truth)
        else:
            assert (said.state, dict(said.rows)) == (None, {A: truth[A]})
            assert whole.hits == truth[A]
        for sql in (
            f"insert into {own(name)} default values",
            f"update {own(name)} set project_id = '{A}'",
            f"delete from {own(name)}",
        ):
            assert tried(session, sql).state in (DENIED, LOCKED_VIEW)


@pytest.mark.parametrize("actor", ACTORS[1:], ids=lambda actor: actor.name)
def test_without_a_project_nothing_is_seen_or_put(walls: House, actor: Actor) -> None:
    with walls.acting(actor, None) as session:
        for name in (*TABLES, *VIEWS):
            said = tried(session, f"select count(*) from {own(name)} where true")
            assert actor is ANON or said.rows == [(len(shared(walls, name)),)], name
        for name in writable("insert"):
            row = walls.spare[name, A]
            said = tried(session, insert_sql(name, list(row)), list(row.values()))
            assert said.state == DENIED, name


def shared(walls: House, name: str) -> set[str]:
    return walls.ids[name, A] if name in SHARED else set()


def test_an_agent_of_b_is_walled_in_the_same_way(walls: House) -> None:
    for actor in AGENTS:
        with walls.acting(actor, B) as session:
            for name in TABLES:
                assert ids(session, name) == walls.ids[name, B], name


def test_somebody_of_two_projects_reads_both(walls: House) -> None:
    with walls.acting(PERSON) as session:
        both = {"app_metadata": {"projects": [A, B, NOWHERE, None]}}
        setting(session, "request.jwt.claims", json.dumps(both))
        for name in TABLES:
            assert ids_of_a_person(session, name) == walls.ids[name, A] | walls.ids[name, B]


def ids_of_a_person(session: Connection, name: str) -> set[str]:
    return {row[0] for row in tried(session, f"select id::text from {own(name)}").rows}


def test_the_role_of_a_login_may_be_taken_but_changes_nothing(
    walls: House, direct: Connection
) -> None:
    direct.execute("set local role codered_agent")
    assert ids(direct, "tasks") == walls.ids["tasks", A]


# ---- internal tables, functions and other rights ----------------------------------------------


@pytest.mark.parametrize("name", INTERNAL)
@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.name)
def test_nobody_gets_at_the_internal_tables(walls: House, actor: Actor, name: str) -> None:
    with walls.acting(actor) as session:
        for sql in (
            f"select from {own(name)}",
            f"select count(*) from {own(name)}",
            f"insert into {own(name)} default values",
            f"update {own(name)} set created_at = default",
            f"delete from {own(name)}",
            f"truncate {own(name)}",
            f"copy {own(name)} to stdout",
            f"lock table {own(name)} in access share mode",
        ):
            assert tried(session, sql).state in (DENIED, "42703"), sql


def test_who_may_read_everything_still_reads_no_keys(walls: House) -> None:
    reader = f"walls_reader_{uuid.uuid4().hex[:12]}"
    walls.boss.execute(f"create role {reader} login in role pg_read_all_data".encode())
    try:
        with walls.connect(reader) as session:
            for name in (*TABLES, *INTERNAL):
                assert tried(session, f"select * from {own(name)}")[:3] == (None, [], 0), name
    finally:
        walls.boss.execute(f"drop role {reader}".encode())


CALLS: Final = {
    "issue_token": "issue_token(%s, '1 h')",
    "token_scope": "token_scope('')",
    "codered_agent_scope": "codered_agent_scope()",
    "authenticated_scope": "authenticated_scope()",
    "rebuild_llm_usage_daily": "rebuild_llm_usage_daily()",
    "rebuild_llm_usage_by_agent": "rebuild_llm_usage_by_agent()",
    "check_llm_usage_daily": "check_llm_usage_daily()",
    "check_llm_usage_by_agent": "check_llm_usage_by_agent()",
    "refresh_llm_usage_by_agent": "refresh_llm_usage_by_agent('2026-01-01', now())",
    "llm_usage_daily_recount": f"llm_usage_daily_recount('2026-01-01', '{B}', '{B}')",
    "llm_usage_by_agent_recount": f"llm_usage_by_agent_recount('{B}', '{B}', '2026-01-01', now())",
    "agent_runs_overflow": "agent_runs_overflow('')",
    "agent_runs_note": "agent_runs_note()",
    "agent_runs_fold": "agent_runs_fold()",
    "agent_runs_forget": "agent_runs_forget()",
    "set_updated_at": "set_updated_at()",
}
MAY_CALL: Final = {
    SERVICE: [n for n in CALLS if n.startswith(("issue", "rebuild", "check", "refresh"))],
    TOKEN: ["codered_agent_scope"],
    CLAIM: ["codered_agent_scope"],
    PERSON: ["authenticated_scope"],
    ANON: [],
}


@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.name)
def test_who_may_call_what(walls: House, actor: Actor) -> None:
    with walls.acting(actor) as session:
        allowed = []
        for name, call in CALLS.items():
            values = [B] if "%s" in call else None
            said = tried(session, f"select * from codered.{call}", values)
            if said.state is None:
                allowed.append(name)
            else:
                assert said.state == DENIED or "return type trigger" in said.text, said
        assert allowed == sorted(MAY_CALL[actor], key=list(CALLS).index)


def test_every_function_is_called(walls: House) -> None:
    found = walls.boss.execute(
        "select proname from pg_proc where pronamespace = 'codered'::regnamespace"
    ).fetchall()
    assert {row[0] for row in found} == set(CALLS)


@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.name)
def test_nobody_has_a_right_beside_the_four(walls: House, actor: Actor) -> None:
    found = walls.boss.execute(
        "select c.relname, p from pg_class c, unnest(array['truncate', 'references', 'trigger',"
        " 'maintain', 'select with grant option', 'insert with grant option']) p"
        " where relnamespace = 'codered'::regnamespace and relkind in ('r', 'v', 'S', 'm')"
        " and has_table_privilege(%s, c.oid, p)",
        [actor.role],
    ).fetchall()
    assert found == []


@pytest.mark.parametrize("name", TABLES)
def test_truncate(agent: Connection, name: str) -> None:
    for sql in (f"truncate {own(name)}", f"truncate {own(name)} cascade"):
        assert tried(agent, sql).state == DENIED


@pytest.mark.parametrize(
    "sql",
    [
        "create table codered.mine (a int)",
        "create table public.mine (a int)",
        "create view codered.mine as select 1",
        "create function codered.mine() returns int language sql as 'select 1'",
        "create type codered.mine as (a int)",
        "create sequence codered.mine",
        "create schema mine",
        "create extension hstore",
        "create publication mine for table codered.tasks",
        "create temp table mine () inherits (codered.tasks)",
        "create temp table mine (like codered.access_keys)",
        "create rule mine as on insert to codered.tasks do nothing",
        "create policy mine on codered.tasks using (true)",
        "alter policy codered_agent_select on codered.tasks using (true)",
        "drop policy codered_agent_select on codered.tasks",
        "alter table codered.tasks disable row level security",
        "alter table codered.tasks owner to codered_agent",
        "alter function codered.token_scope(text) owner to codered_agent",
        "alter default privileges for role postgres grant select on tables to codered_agent",
        "create or replace view codered.task_budgets as select 1",
        "create index on codered.tasks (title)",
        "create statistics codered.mine on title, zone from codered.tasks",
        "comment on table codered.tasks is 'mine'",
        "drop table codered.tasks cascade",
        "reindex table codered.tasks",
        "grant codered_agent to anon",
        "grant service_role to codered_agent",
        "alter role codered_agent bypassrls",
        "create role mine",
        "set session authorization postgres",
        "set role postgres",
        "copy codered.tasks to program 'cat'",
        "copy (select 1) to '/tmp/mine'",
        "select pg_read_file('/etc/passwd')",
        "select lo_import('/etc/passwd')",
        "select * from pg_authid",
        "select * from pg_statistic",
        "select * from pg_largeobject",
        "select pg_create_logical_replication_slot('mine', 'pgoutput')",
        "set session_replication_role = replica",
        "set local plpgsql.variable_conflict = use_column",
        "load 'auto_explain'",
    ],
)
def test_making_and_changing_objects(agent: Connection, sql: str) -> None:
    said = tried(agent, sql)
    assert said.state == DENIED or "must be" in said.text, said


def test_no_trigger_of_ours_can_be_hung_on_a_table_of_his_own(direct: Connection) -> None:
    direct.execute("create temp table mine (like codered.agent_runs)")
    for name in ("agent_runs_fold", "agent_runs_forget", "agent_runs_note", "set_updated_at"):
        sql = "create trigger mine before insert on mine for each row execute function"
        assert tried(direct, f"{sql} codered.{name}()").state == DENIED
    sql = "create trigger mine before insert on codered.agent_runs for each row execute function"
    assert tried(direct, f"{sql} suppress_redundant_updates_trigger()").state == DENIED


def test_no_temporary_table_can_point_to_ours(direct: Connection) -> None:
    said = tried(direct, "create temp table mine (a uuid references codered.tasks (id))")
    assert said.state == "42P16"


# ---- reading what is another project's --------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in TABLES if name not in SHARED])
def test_reading_by_primary_key(walls: House, agent: Connection, name: str) -> None:
    key = walls.id(name)
    for sql in (
        f"select id from {own(name)} where id = '{key}'",
        f"select id from {own(name)} where id = '{key}' or id = '{key}' or false",
        f"select id from {own(name)} where id <> '{walls.id(name, A)}' and id = '{key}'",
        f"select id from only {own(name)} where id = '{key}'",
        f"select id from {own(name)} tablesample system (100) where id = '{key}'",
        f"with x as materialized (select id from {own(name)}) select * from x where id = '{key}'",
        f"select id from {own(name)} where ctid is not null and id = '{key}'",
    ):
        assert tried(agent, sql)[:2] == (None, []), sql
    tried(agent, "set local enable_seqscan = off", keep=True)
    assert tried(agent, f"select id from {own(name)} where id = '{key}'").rows == []


def test_reading_by_the_place_of_a_row(walls: House, agent: Connection) -> None:
    (place,) = walls.boss.execute(
        "select ctid::text from codered.tasks where id = %s", [walls.id("tasks")]
    ).fetchall()[0]
    said = tried(agent, f"select id from codered.tasks where ctid = '{place}'")
    assert said[:2] == (None, [])


@pytest.mark.parametrize("name", [*TABLES, *VIEWS])
def test_copy_out(walls: House, agent: Connection, name: str) -> None:
    forms = [f"copy (select * from {own(name)}) to stdout"]
    forms += [f"copy {own(name)} to stdout"] if name in TABLES else []
    for sql in forms:
        text = copied(agent, sql)
        assert text
        assert B not in text
        if name in TABLES and name not in SHARED:
            assert walls.id(name) not in text


@pytest.mark.parametrize("name", writable("insert"))
def test_copy_in_is_not_possible(agent: Connection, name: str) -> None:
    assert tried(agent, f"copy {own(name)} (id) from stdin").state in ("0A000", DENIED)


@pytest.mark.parametrize("name", writable("insert"))
def test_what_returning_gives_is_his_own(walls: House, agent: Connection, name: str) -> None:
    row = mine(walls, name)
    sql = f"with new as ({insert_sql(name, list(row))} returning *) select new.* from new"
    said = tried(agent, sql, list(row.values()))
    assert said.hits == 1
    for sub in (f"(select min(o.id::text) from {own(name)} o where o.id = '{walls.id(name)}')",):
        sql = f"{insert_sql(name, list(row))} returning {sub}"
        assert tried(agent, sql, list(row.values())).rows == [(None,)]


def mine(walls: House, name: str, project: str = A) -> dict[str, str | None]:
    """A row that an agent might insert."""
    row = walls.spare[name, project]
    return {column: row[column] for column in row if column not in without("insert", name)}


def without(action: str, name: str) -> tuple[str, ...]:
    found = right(TOKEN, action, name)
    return () if found is None else found.without


def test_row_security_off_is_an_error(agent: Connection) -> None:
    tried(agent, "set local row_security = off", keep=True)
    for name in TABLES:
        said = tried(agent, f"select * from {own(name)}")
        assert said.state == DENIED, name
        assert "row-level security" in said.text, name


LEAK: Final = """
create function pg_temp.leak(value text) returns boolean language plpgsql cost 0.0000000001 as $$
begin
  raise notice 'leaked %', value;
  return true;
end $$;
"""


@pytest.mark.parametrize("name", [name for name in TABLES if name not in SHARED])
def test_a_cheap_function_that_tells_sees_no_row_of_others(
    walls: House, direct: Connection, name: str
) -> None:
    heard: list[str] = []
    direct.execute(LEAK.encode())

    def listen(said: psycopg.errors.Diagnostic) -> None:
        heard.append(said.message_primary or "")

    direct.add_notice_handler(listen)
    try:
        for sql in (
            f"select from {own(name)} where pg_temp.leak(id::text)",
            f"select from {own(name)} where pg_temp.leak(id::text) and id = '{walls.id(name)}'",
            f"select from {own(name)} t where pg_temp.leak(t::text)",
            f"select count(*) filter (where pg_temp.leak(id::text)) from {own(name)}",
            f"select from {own(name)} group by id having pg_temp.leak(id::text)",
            f"select from {own(name)} a join {own(name)} b on pg_temp.leak(a.id::text)",
            f"update {own(name)} set id = id where pg_temp.leak(id::text)",
            f"delete from {own(name)} where pg_temp.leak(id::text)",
        ):
            assert tried(direct, sql).state in (None, DENIED)
        for view in VIEWS:
            tried(direct, f"select from {own(view)} v where pg_temp.leak(v::text)")
    finally:
        direct.remove_notice_handler(listen)
    assert any(walls.id(name, A) in line for line in heard)
    assert not any(walls.id(name) in line or B in line for line in heard)


def test_an_error_in_a_condition_tells_nothing_of_others(walls: House, agent: Connection) -> None:
    key = walls.id("tasks")
    sql = f"select 1 / (case when id = '{key}' then 0 else 1 end) from codered.tasks"
    assert tried(agent, sql).state is None
    sql = f"select from codered.tasks where 1 / (case when id = '{key}' then 0 else 1 end) = 1"
    assert tried(agent, sql).state is None
    sql = f"select from codered.tasks where (case id when '{key}' then 'x' else '1' end)::int = 1"
    assert tried(agent, sql).state is None


def test_no_function_can_be_called_leakproof(direct: Connection) -> None:
    sql = "create function pg_temp.f() returns boolean language sql leakproof as 'select true'"
    assert tried(direct, sql).state == DENIED


def test_statistics_of_values_are_hidden(walls: House, agent: Connection) -> None:
    walls.boss.execute("analyze codered.tasks")
    for name in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
        said = tried(agent, f"select * from {name} where schemaname = 'codered'")
        assert said[:2] == (None, []), name


def test_a_plan_that_is_kept_sees_each_time_what_is_allowed_then(
    walls: House, direct: Connection
) -> None:
    direct.execute("set local plan_cache_mode = force_generic_plan")
    direct.execute("prepare peek as select project_id::text from codered.tasks")
    try:
        for token, seen in (
            (walls.tokens[A], [(A,)]),
            (walls.tokens[B], [(B,)]),
            ("", []),
            (walls.tokens[A], [(A,)]),
        ):
            setting(direct, "codered.token", token)
            assert tried(direct, "execute peek").rows == seen
    finally:
        direct.execute("deallocate peek")


def test_a_plan_of_another_role_is_not_used(walls: House) -> None:
    with walls.acting(SERVICE) as session:
        session.execute("prepare peek as select project_id::text from codered.tasks")
        try:
            assert tried(session, "execute peek").hits == 2
            session.execute("set local role codered_agent")
            setting(session, "request.jwt.claims", claims(CLAIM, A))
            assert tried(session, "execute peek").rows == [(A,)]
            session.execute("set local role authenticated")
            assert tried(session, "execute peek").rows == []
            session.execute("set local role anon")
            assert tried(session, "execute peek").state == DENIED
        finally:
            session.execute("deallocate peek")


def test_row_locks_do_not_reach_others(walls: House, agent: Connection) -> None:
    for name in TABLES:
        said = tried(agent, f"select id::text from {own(name)} for update")
        if right(TOKEN, "update", name):
            assert {row[0] for row in said.rows} == walls.ids[name, A]
        else:
            assert said.state == DENIED


# ---- writing what is another project's --------------------------------------------------------


@pytest.mark.parametrize("name", writable("insert"))
def test_inserting_for_another_project(walls: House, agent: Connection, name: str) -> None:
    row = mine(walls, name, B)
    values = list(row.values())
    sql = insert_sql(name, list(row))
    assert tried(agent, sql, values).state == DENIED
    for tail in ("returning id", "on conflict do nothing", "on conflict (id) do nothing"):
        assert tried(agent, f"{sql} {tail}", values).state == DENIED, tail
    text = f"with x as ({sql} returning id) select from x"
    assert tried(agent, text, values).state == DENIED
    # his own first, then the other: nothing of it stays
    both = f"{sql}, ({', '.join(['%s'] * len(row))})"
    assert tried(agent, both, [*mine(walls, name).values(), *values]).state == DENIED


@pytest.mark.parametrize("name", writable("update"))
def test_moving_a_row_to_another_project(walls: House, agent: Connection, name: str) -> None:
    for sql in (
        f"update {own(name)} set project_id = '{B}'",
        f"update {own(name)} set project_id = '{B}' where id = '{walls.id(name, A)}' returning id",
        f"update {own(name)} set project_id = '{NOWHERE}'",
    ):
        assert tried(agent, sql).state == DENIED, sql
    assert tried(agent, f"update {own(name)} set project_id = null").state in (DENIED, "23502")


@pytest.mark.parametrize("name", TABLES)
def test_changing_and_removing_by_primary_key(walls: House, agent: Connection, name: str) -> None:
    where = f"where id = '{walls.id(name)}'"
    for sql, action in (
        (f"update {own(name)} set id = id {where}", "update"),
        (f"update {own(name)} t set id = t.id from (select 1) o where t.{where[6:]}", "update"),
        (f"delete from {own(name)} {where}", "delete"),
        (f"delete from {own(name)} {where} returning *", "delete"),
    ):
        said = tried(agent, sql)
        assert said.state == (None if right(TOKEN, action, name) else DENIED), sql
        assert (said.rows, said.hits) == ([], 0), sql


def test_taking_a_row_of_another_project(agent: Connection) -> None:
    for name in writable("update"):
        sql = f"update {own(name)} set project_id = '{A}' where project_id = '{B}'"
        assert tried(agent, sql)[:3] == (None, [], 0)


def test_giving_a_row_the_id_of_another_one(walls: House, agent: Connection) -> None:
    sql = f"update codered.lessons set id = '{walls.id('lessons')}'"
    assert tried(agent, sql).state == "23505"


LINKS: Final = [
    (name, key)
    for name in dict.fromkeys((*writable("insert"), *writable("update")))
    for key in table(name).foreign_keys
    if key.table not in SHARED
]


@pytest.mark.parametrize(("name", "key"), LINKS, ids=lambda part: getattr(part, "name", part))
def test_pointing_to_a_row_of_another_project(
    walls: House, agent: Connection, name: str, key: ForeignKey
) -> None:
    column = key.columns[0]
    # keys with the project are refused by themselves; where a key is the way to it, by the policy
    wanted = "23503" if len(key.columns) > 1 else DENIED
    for target in (walls.id(key.table), NOWHERE):
        if right(TOKEN, "insert", name):
            row = mine(walls, name) | {column: target}
            said = tried(agent, insert_sql(name, list(row)), list(row.values()))
            assert said.state == wanted, said
        if right(TOKEN, "update", name):
            said = tried(agent, f"update {own(name)} set {identifier(column)} = '{target}'")
            assert said.state == wanted, said


def test_keys_of_one_column_are_few_and_walled_by_policy() -> None:
    single = {
        f"{name}.{key.columns[0]}"
        for name, key in LINKS
        if len(key.columns) == 1 and key.columns != ("project_id",)
    }
    assert single == {f"{name}.{column}" for name, (column, _) in PARENTS.items()}


@pytest.mark.parametrize("name", writable("insert"))
def test_an_upsert_on_the_id_of_another_project(walls: House, agent: Connection, name: str) -> None:
    row = mine(walls, name)
    row["id"] = walls.id(name)
    values = list(row.values())
    sql = insert_sql(name, list(row))
    assert tried(agent, sql, values).state == "23505"
    change = f"{sql} on conflict (id) do update set id = excluded.id"
    assert tried(agent, change, values).state == DENIED
    assert tried(agent, f"{change} where false", values)[0] in (None, DENIED)
    assert tried(agent, f"{change} where false", values).hits == 0
    ignore = f"{sql} on conflict (id) do nothing returning *"
    assert tried(agent, ignore, values)[:3] == (None, [], 0)


@pytest.mark.parametrize("name", writable("update"))
def test_merge(walls: House, agent: Connection, name: str) -> None:
    key, count = walls.id(name), len(walls.ids[name, A])
    merge = f"merge into {own(name)} t using (values ('{key}'::uuid)) s (id) on t.id = s.id"
    assert tried(agent, f"{merge} when matched then update set id = t.id").hits == 0
    # a condition without any column is refused by a delete policy (Postgres 18), whatever it says
    blind = f"merge into {own(name)} t using (select 1) s on t.id is not null"
    assert tried(agent, f"{blind} when matched then update set id = t.id").hits == count
    moved = tried(agent, f"{blind} when matched then update set project_id = '{B}'")
    assert moved.state == DENIED
    gone = tried(agent, f"{blind} when matched then delete")
    rest = tried(agent, f"{merge} when not matched by source then delete")
    if right(TOKEN, "delete", name):
        assert (gone.hits, rest.hits) == (count, count), gone
    else:
        assert (gone.state, rest.state) == (DENIED, DENIED)
    row = mine(walls, name, B)
    put = f"when not matched then insert {column_list(tuple(row))} values "
    put += f"({', '.join(['%s'] * len(row))})"
    assert tried(agent, f"{merge} {put}", list(row.values())).state == DENIED
    row |= {"id": key, "project_id": A}
    assert tried(agent, f"{merge} {put}", list(row.values())).state == "23505"


@pytest.mark.parametrize("name", AUDIT)
def test_what_was_logged_stays_as_it_was(walls: House, agent: Connection, name: str) -> None:
    for where in ("", f" where id = '{walls.id(name, A)}'"):
        assert tried(agent, f"update {own(name)} set id = id{where}").state == DENIED
        assert tried(agent, f"delete from {own(name)}{where}").state == DENIED
    row = walls.spare[name, A] | {"id": walls.id(name, A)}
    again = f"{insert_sql(name, list(row))} on conflict (id) do update set id = excluded.id"
    assert tried(agent, again, list(row.values())).state == DENIED
    merge = f"merge into {own(name)} t using (select 1) s on true when matched then"
    assert tried(agent, f"{merge} delete").state == DENIED
    assert tried(agent, f"{merge} update set id = t.id").state == DENIED


@pytest.mark.parametrize("name", ["llm_usage_daily", "llm_usage_by_agent", "user_overrides"])
def test_what_only_others_write(walls: House, agent: Connection, name: str) -> None:
    row = walls.spare[name, A]
    assert tried(agent, insert_sql(name, list(row)), list(row.values())).state == DENIED


@pytest.mark.parametrize(
    "column",
    [
        "projects.max_daily_spend_usd",
        "projects.max_daily_tokens",
        "projects.status",
        "tasks.task_token_budget",
        "tasks.task_cost_ceiling_usd",
        "long_runs.max_total_cost_usd",
        "long_runs.max_total_tokens",
        "long_runs.allowed_agents",
        "long_runs.status",
        "agents.cost_ceiling_usd_per_task",
        "agents.max_tokens_per_call",
        "agents.allowed_models",
        "agents.allowed_tools",
        "agents.is_active",
        "llm_models.status",
        "llm_models.tier",
        "llm_models.approx_cost_input_per_1k",
        "llm_providers.base_url",
        "llm_providers.status",
    ],
)
def test_budgets_and_routing(agent: Connection, column: str) -> None:
    name, _, field = column.partition(".")
    merge = f"merge into {own(name)} t using (select 1) s on true when matched then"
    for sql in (
        f"update {own(name)} set {field} = default",
        f"update {own(name)} set {field} = {field}",
        f"update {own(name)} set (id, {field}) = (id, default)",
        f"insert into {own(name)} ({field}) values (default)",
        f"{merge} update set {field} = default",
    ):
        assert tried(agent, sql).state == DENIED, sql


def test_a_budget_cannot_be_set_by_an_upsert(walls: House, agent: Connection) -> None:
    row = walls.spare["tasks", A]
    for column in without("insert", "tasks"):
        kept = {c: v for c, v in row.items() if c not in without("insert", "tasks")}
        sql = f"{insert_sql('tasks', list(kept))} on conflict (id) do update set {column} = 1"
        assert tried(agent, sql, list(kept.values())).state == DENIED


def test_a_cascade_stays_in_the_project(walls: House) -> None:
    with walls.acting(CLAIM) as session:
        tried(session, "delete from codered.doc_manifest", keep=True)
        assert ids(session, "doc_chunks") == set()
        session.execute("set local role service_role")
        for name in ("doc_manifest", "doc_chunks"):
            assert ids(session, name) == walls.ids[name, B]


def test_the_usage_of_others_is_untouched_by_his_runs(walls: House) -> None:
    with walls.acting(CLAIM) as session:
        row = walls.spare["agent_runs", A]
        tried(session, insert_sql("agent_runs", list(row)), list(row.values()), keep=True)
        session.execute("set constraints all immediate")
        session.execute("set local role service_role")
        for name in ROLLUPS:
            query = f"select total_input_tokens from {own(name)} where project_id = %s order by 1"
            assert tried(session, query, [B]).rows == [(10,)]
            mine = sum(total for (total,) in tried(session, query, [A]).rows)
            assert mine == 20
            assert tried(session, f"select * from codered.check_{name}()").rows == []


# ---- tokens -----------------------------------------------------------------------------------


def open_to(session: Connection, token: str) -> set[str]:
    """The projects of which somebody with a token sees tasks."""
    setting(session, "codered.token", token)
    return {row[0] for row in tried(session, "select project_id::text from codered.tasks").rows}


def test_a_token_opens_its_project_and_no_other(walls: House, direct: Connection) -> None:
    assert open_to(direct, walls.tokens[A]) == {A}
    assert open_to(direct, walls.tokens[B]) == {B}
    assert open_to(direct, walls.signed(f"{A}.{soon()}")) == {A}, "how it is signed"


def part(token: str, place: int, value: str) -> str:
    parts = token.split(".")
    return ".".join([*parts[:place], value, *parts[place + 1 :]])


ARABIC: Final = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
FORGERIES: Final[dict[str, Callable[[House, str], str]]] = {
    "nothing": lambda _h, _t: "",
    "a space": lambda _h, _t: " ",
    "dots": lambda _h, _t: "..",
    "many dots": lambda _h, _t: "." * 1000,
    "null": lambda _h, _t: "null",
    "nulls": lambda _h, _t: "NULL.NULL.NULL",
    "only the project": lambda _h, _t: B,
    "no signature": lambda _h, _t: f"{B}.{soon()}",
    "an empty signature": lambda _h, _t: f"{B}.{soon()}.",
    "zeros": lambda _h, _t: f"{B}.{soon()}.{'0' * 64}",
    "a plain hash": lambda h, _t: f"{B}.{soon()}.{h.signed(B)[-64:]}",
    "the other project": lambda _h, t: part(t, 0, B),
    "a later end": lambda _h, t: part(t, 1, str(soon(7200))),
    "an end with a zero": lambda _h, t: part(t, 1, "0" + t.split(".")[1]),
    "an end with a sign": lambda _h, t: part(t, 1, "+" + t.split(".")[1]),
    "an end with a space": lambda _h, t: part(t, 1, " " + t.split(".")[1]),
    "other digits": lambda _h, t: part(t, 1, t.split(".")[1].translate(ARABIC)),
    "other digits, signed": lambda h, _t: h.signed(f"{B}.{str(soon()).translate(ARABIC)}"),
    "upper case": lambda _h, t: t.upper(),
    "a project in braces": lambda _h, t: part(t, 0, "{" + t.split(".")[0] + "}"),
    "one letter less": lambda _h, t: t[:-1],
    "one letter more": lambda _h, t: t + "0",
    "another letter": lambda _h, t: t[:-1] + ("0" if t[-1] != "0" else "1"),
    "a newline": lambda _h, t: t + "\n",
    "a space before": lambda _h, t: " " + t,
    "a fourth part": lambda _h, t: t + ".x",
    "turned": lambda _h, t: ".".join(reversed(t.split("."))),
    "two tokens": lambda _h, t: t + t,
    "quoted": lambda _h, t: f"'{t}'",
    "a pattern": lambda _h, t: part(t, 2, "%"),
    "sql": lambda _h, _t: f"{B}.{soon()}.' or true --",
    "another key": lambda h, _t: h.signed(f"{B}.{soon()}", [uuid.UUID(int=0)] * 4),
    "keys turned": lambda h, _t: h.signed(f"{B}.{soon()}", h.keys[::-1]),
    "over": lambda h, _t: h.signed(f"{B}.{soon(-1)}"),
    "over long ago": lambda h, _t: h.signed(f"{B}.0"),
    "before time": lambda h, _t: h.signed(f"{B}.{-soon()}"),
    "beyond bigint": lambda h, _t: h.signed(f"{B}.{'9' * 30}"),
    "never": lambda h, _t: h.signed(f"{B}.infinity"),
    "no end": lambda h, _t: h.signed(f"{B}."),
    "signed, but no project": lambda h, _t: h.signed(f"x.{soon()}"),
    "signed, an empty project": lambda h, _t: h.signed(f".{soon()}"),
    "signed, two projects": lambda h, _t: h.signed(f"{A},{B}.{soon()}"),
    "signed, four parts": lambda h, _t: h.signed(f"{B}.{soon()}.x"),
    "huge": lambda _h, _t: "x" * 1_000_000,
    "huge parts": lambda _h, _t: ".".join(["9" * 300_000] * 3),
    "many parts": lambda _h, t: t + ".x" * 100_000,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_opens_nothing(walls: House, direct: Connection, name: str) -> None:
    token = FORGERIES[name](walls, walls.tokens[A])
    setting(direct, "codered.token", token)
    for relation in ("tasks", "projects", "agent_runs", "long_run_checkpoints", "task_budgets"):
        assert tried(direct, f"select * from {own(relation)}")[:2] == (None, []), relation
    for project in (A, B):
        row = walls.spare["lessons", project]
        said = tried(direct, insert_sql("lessons", list(row)), list(row.values()))
        assert said.state == DENIED
    assert tried(direct, "delete from codered.doc_manifest").hits == 0


def test_every_letter_of_a_token_counts(walls: House, direct: Connection) -> None:
    token = walls.tokens[A]
    for place, letter in enumerate(token):
        other = token[:place] + ("1" if letter != "1" else "2") + token[place + 1 :]
        assert open_to(direct, other) == set(), place


def test_the_signature_of_an_empty_key_is_none(walls: House, direct: Connection) -> None:
    """Without a key nothing is signed and nothing holds."""
    with walls.boss.transaction(force_rollback=True):
        walls.boss.execute(f"delete from {own(KEYS)}".encode())
        issued = "select codered.issue_token(gen_random_uuid())"
        assert walls.boss.execute(issued.encode()).fetchall() == [(None,)]
        found = walls.boss.execute(b"select codered.token_scope(%s)", [walls.tokens[A]]).fetchone()
        assert found == ([],)
    assert open_to(direct, walls.tokens[A]) == {A}


def test_a_new_key_signs_and_the_old_one_holds_until_it_goes(walls: House) -> None:
    boss = walls.boss

    def scope(token: str) -> list[str]:
        found = boss.execute(b"select codered.token_scope(%s)::text[]", [token]).fetchone()
        assert found is not None
        return list(found[0])

    with boss.transaction(force_rollback=True):
        sql = f"insert into {own(KEYS)} (created_at) values (now() + interval '1 s') returning id"
        ((key,),) = boss.execute(sql.encode()).fetchall()
        ((new,),) = boss.execute("select codered.issue_token(%s)", [B]).fetchall()
        assert new.rpartition(".")[2] != walls.signed(new.rpartition(".")[0]).rpartition(".")[2]
        assert (scope(new), scope(walls.tokens[A])) == ([B], [A])
        boss.execute(f"delete from {own(KEYS)} where id <> %s".encode(), [key])
        assert (scope(new), scope(walls.tokens[A])) == ([B], [])


@pytest.mark.parametrize(
    "arguments",
    [
        "null, '1 h'",
        f"'{A}', null",
        f"'{A}', '0'",
        f"'{A}', '-1 s'",
        f"'{A}', 'infinity'",
        f"'{A}', '-infinity'",
        f"'{A}', '178000000 years'",
        "'x', '1 h'",
        "'', '1 h'",
    ],
)
def test_no_token_of_nonsense_is_issued(walls: House, arguments: str) -> None:
    with walls.acting(SERVICE) as session:
        said = tried(session, f"select codered.issue_token({arguments})")
        assert said.state in ("22023", "22P02", "22008", "0A000"), said


def test_a_token_is_over_at_the_next_statement(walls: House, direct: Connection) -> None:
    end = soon(1)
    assert open_to(direct, walls.signed(f"{A}.{end}")) == {A}
    time.sleep(max(0.0, end - time.time()) + 0.05)
    assert tried(direct, "select from codered.tasks").hits == 0


def test_a_token_of_a_transaction_does_not_stay(walls: House) -> None:
    with walls.connect(walls.login) as session:
        with session.transaction():
            assert open_to(session, walls.tokens[A]) == {A}
        assert ids(session, "tasks") == set()


def test_nobody_can_make_a_token_stay_with_the_login(walls: House, direct: Connection) -> None:
    for name in ("codered.token", "request.jwt.claims"):
        assert tried(direct, f"alter role {walls.login} set {name} = 'x'").state == DENIED
        database = f"alter database {walls.name} set {name} = 'x'"
        assert tried(direct, database).state == DENIED


def test_the_keys_are_in_no_text_that_everybody_reads(walls: House, agent: Connection) -> None:
    texts = tried(
        agent,
        "select prosrc from pg_proc union all select description from pg_description union all"
        " select pg_get_expr(adbin, adrelid) from pg_attrdef union all"
        " select array_to_string(proconfig, ',') from pg_proc",
    ).rows
    joined = "".join(text or "" for (text,) in texts)
    assert len(joined) > 10_000
    for key in walls.keys:
        assert str(key) not in joined
        assert key.hex not in joined


# ---- claims -----------------------------------------------------------------------------------

GARBAGE: Final = {
    "nothing": "",
    "a space": " ",
    "no json": "not json",
    "half of it": '{"project_id": ',
    "a tail": f'{{"project_id": "{B}", "app_metadata": {{"projects": ["{B}"]}}}} x',
    "null": "null",
    "a number": "1",
    "a text": json.dumps(B),
    "a list": json.dumps([B]),
    "true": "true",
    "an empty object": "{}",
    "null inside": '{"project_id": null, "app_metadata": null}',
    "nulls inside": '{"project_id": [null], "app_metadata": {"projects": [null]}}',
    "number inside": '{"project_id": 1, "app_metadata": {"projects": 1}}',
    "true inside": '{"project_id": true, "app_metadata": {"projects": [true]}}',
    "an empty text": '{"project_id": "", "app_metadata": {"projects": [""]}}',
    "a text of a list": json.dumps(
        {"project_id": f'["{B}"]', "app_metadata": {"projects": f'["{B}"]'}}
    ),
    "an array of postgres": json.dumps(
        {"project_id": f"{{{A},{B}}}", "app_metadata": {"projects": f"{{{A},{B}}}"}}
    ),
    "objects": json.dumps(
        {"project_id": {"id": B}, "app_metadata": {"projects": {"id": B, B: True}}}
    ),
    "lists in lists": json.dumps({"project_id": [[B]], "app_metadata": {"projects": [[B]]}}),
    "one is garbage": json.dumps({"project_id": [B, "x"], "app_metadata": {"projects": [B, {}]}}),
    "other names": json.dumps(
        {
            "Project_Id": B,
            "projectId": B,
            "projects": [B],
            "user_metadata": {"projects": [B], "project_id": B},
            "app_metadata": {"project_id": B, "Projects": [B]},
        }
    ),
    "sql": json.dumps(
        {"project_id": f"{A}' or true --", "app_metadata": {"projects": ["') or true --"]}}
    ),
    "a zero": '{"project_id": "\\u0000", "app_metadata": {"projects": ["\\u0000"]}}',
    "half a letter": '{"project_id": "\\ud800", "app_metadata": {"projects": ["\\ud800"]}}',
    "a megabyte": json.dumps({"project_id": "x" * 1_000_000, "app_metadata": "x"}),
    "a megabyte of nulls": '{"app_metadata": {"projects": [' + "null," * 200_000 + "null]}}",
    "deep": "[" * 100_000,
    "deep and closed": '{"project_id": ' + "[" * 5_000 + "]" * 5_000 + "}",
}


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("actor", [CLAIM, PERSON], ids=lambda actor: actor.name)
def test_a_malformed_claim_opens_nothing(walls: House, actor: Actor, name: str) -> None:
    with walls.acting(actor, None) as session:
        setting(session, "request.jwt.claims", GARBAGE[name])
        for relation in ("tasks", "projects", "long_run_checkpoints", "task_budgets"):
            said = tried(session, f"select project from codered.{relation} t (project)")
            assert said.rows == []
            assert said.state in (None, "54001"), said  # nested too deeply to be read
        if actor is CLAIM:
            row = walls.spare["lessons", B]
            said = tried(session, insert_sql("lessons", list(row)), list(row.values()))
            assert said.state in (DENIED, "54001")


@pytest.mark.parametrize("actor", [CLAIM, PERSON], ids=lambda actor: actor.name)
def test_the_claim_of_the_other_role_opens_nothing(walls: House, actor: Actor) -> None:
    other = PERSON if actor is CLAIM else CLAIM
    with walls.acting(actor, None) as session:
        setting(session, "request.jwt.claims", claims(other, B))
        setting(session, "codered.token", walls.tokens[B])
        for name in ("request.jwt.claim.project_id", "request.jwt.claim", "project_id"):
            setting(session, f"request.{name}", B)
        assert ids(session, "tasks") == set()


SPOOFS: Final = {
    "request.jwt.claims": json.dumps({"project_id": B, "app_metadata": {"projects": [B]}}),
    "request.jwt.claim": json.dumps({"project_id": B}),
    "request.jwt.claim.project_id": B,
    "codered.project_id": B,
    "app.project_id": B,
    "codered.token.project": B,
}


def test_claims_in_a_session_of_his_own_open_nothing(walls: House) -> None:
    with walls.connect(walls.login) as session:
        for name, value in SPOOFS.items():
            session.execute(b"select set_config(%s, %s, false)", [name, value])
        for relation in (*TABLES, *VIEWS):
            if relation not in SHARED:
                assert tried(session, f"select from {own(relation)}")[:2] == (None, []), relation
        row = walls.spare["lessons", B]
        said = tried(session, insert_sql("lessons", list(row)), list(row.values()))
        assert said.state == DENIED


def test_claims_do_not_widen_a_token(walls: House, direct: Connection) -> None:
    for name, value in SPOOFS.items():
        setting(direct, name, value)
    for name in TABLES:
        assert ids(direct, name) == walls.ids[name, A]


def test_claims_given_when_connecting_open_nothing(walls: House) -> None:
    value = SPOOFS["request.jwt.claims"].replace(" ", "")
    dsn = walls.server.dsn(walls.login, walls.name)
    with psycopg.connect(dsn, options=f"-c request.jwt.claims={value}") as session:
        assert session.execute("show request.jwt.claims").fetchone() == (value,)
        assert session.execute("select from codered.tasks").rowcount == 0


@pytest.mark.parametrize(
    "sql",
    [
        *(f"set role {role}" for role in ("service_role", "authenticated", "anon", "postgres")),
        *(f"set local role {role}" for role in ("authenticator", SUPERUSER)),
        *(f"set session authorization {role}" for role in ("authenticator", "service_role")),
        f"set session authorization {SUPERUSER}",
        "select set_config('role', 'service_role', false)",
        "select set_config('session_authorization', 'authenticator', false)",
        "set is_superuser = on",
    ],
)
def test_becoming_somebody_else(direct: Connection, sql: str) -> None:
    assert tried(direct, sql).state in (DENIED, "55P02")


def test_resetting_the_role_changes_nothing(walls: House, direct: Connection) -> None:
    for sql in (
        "reset role",
        "set role none",
        "reset session authorization",
        "set session authorization default",
        "set role codered_agent",
    ):
        tried(direct, sql, keep=True)
        assert ids(direct, "tasks") == walls.ids["tasks", A]


def test_a_name_like_the_authenticator_is_not_his(walls: House) -> None:
    login = f'"Authenticator {uuid.uuid4().hex[:8]}"'
    walls.boss.execute(f"create role {login} login in role codered_agent".encode())
    try:
        with walls.connect(login.strip('"')) as session:
            sql = b"select set_config('request.jwt.claims', %s, false)"
            session.execute(sql, [claims(CLAIM, B)])
            assert ids(session, "tasks") == set()
    finally:
        walls.boss.execute(f"drop role {login}".encode())


# ---- names of ours for things of theirs -------------------------------------------------------

TRICKS: Final = [
    *(f"create temp table {identifier(name)} (like codered.{name})" for name in TABLES),
    *(f"create temp view {name} as select null::uuid as project_id" for name in VIEWS),
    "create temp table access_keys (id uuid, inner_a uuid, outer_a uuid, created_at timestamptz)",
    "create temp table agent_runs_deltas (xact bigint)",
    "create temp table new_rows (like codered.agent_runs)",
    "create temp table old_rows (like codered.agent_runs)",
    *(
        f"create function pg_temp.{name}() returns {kind} language sql as $$select {value}$$"
        for name, kind, value in (
            ("codered_agent_scope", "uuid[]", f"array['{B}'::uuid]"),
            ("authenticated_scope", "uuid[]", f"array['{B}'::uuid]"),
            ("now", "timestamptz", "'2000-01-01'::timestamptz"),
            ("statement_timestamp", "timestamptz", "'2000-01-01'::timestamptz"),
            ("clock_timestamp", "timestamptz", "'2000-01-01'::timestamptz"),
            ("pg_current_xact_id", "xid8", "'1'::xid8"),
        )
    ),
    *(
        f"create function pg_temp.{call} returns {kind} language sql as $$select {value}$$"
        for call, kind, value in (
            ("token_scope(text)", "uuid[]", f"array['{B}'::uuid]"),
            ("current_setting(text, boolean)", "text", f"'{B}'"),
            ("sha256(bytea)", "bytea", "''::bytea"),
            ("encode(bytea, text)", "text", "''"),
        )
    ),
    "create function pg_temp.yes(uuid, uuid) returns boolean language sql as 'select true'",
    "create operator pg_temp.= (leftarg = uuid, rightarg = uuid, function = pg_temp.yes)",
    "create function pg_temp.yes(text, text) returns boolean language sql as 'select true'",
    "create operator pg_temp.= (leftarg = text, rightarg = text, function = pg_temp.yes)",
    "create function pg_temp.no(name, text) returns boolean language sql as 'select false'",
    "create operator pg_temp.<> (leftarg = name, rightarg = text, function = pg_temp.no)",
]
PATHS: Final = (
    "pg_temp, codered, public",
    "pg_temp, pg_catalog, codered",
    "codered, pg_temp",
    "''",
)


@pytest.fixture
def tricked(walls: House) -> Iterator[Connection]:
    """A session full of temporary things with our names."""
    with walls.connect(walls.login) as session:
        for sql in TRICKS:
            session.execute(sql.encode())
        yield session


@pytest.mark.parametrize("path", PATHS)
def test_things_named_like_ours_are_not_used_in_a_query(
    walls: House, tricked: Connection, path: str
) -> None:
    with tricked.transaction(force_rollback=True):
        setting(tricked, "codered.token", walls.tokens[A])
        tricked.execute(f"set local search_path = {path}".encode())
        for name in TABLES:
            assert ids(tricked, name) == walls.ids[name, A], name
        for name in VIEWS:
            said = tried(tricked, f"select distinct project_id::pg_catalog.text from {own(name)}")
            assert said.rows == [(A,)], name
        setting(tricked, "codered.token", "x")
        assert ids(tricked, "tasks") == set()


@pytest.mark.parametrize("path", PATHS)
def test_things_named_like_ours_are_not_used_by_triggers(
    walls: House, tricked: Connection, path: str
) -> None:
    row = walls.spare["agent_runs", A]
    with tricked.transaction(force_rollback=True):
        setting(tricked, "codered.token", walls.tokens[A])
        tricked.execute(f"set local search_path = {path}".encode())
        said = tried(tricked, insert_sql("agent_runs", list(row)), list(row.values()), keep=True)
        assert said.state is None, said
        tricked.execute("set constraints all immediate")
        for name in ROLLUPS:
            query = f"select sum(total_input_tokens)::pg_catalog.int8 from {own(name)}"
            assert tried(tricked, query).rows == [(20,)]
        assert tried(tricked, "select from pg_temp.agent_runs").hits == 0


def spying(session: Connection, names: list[str]) -> list[str]:
    """Types of these names that tell who uses them; returns the list of what they tell."""
    heard: list[str] = []
    session.add_notice_handler(lambda said: heard.append(said.message_primary or ""))
    session.execute(
        "create function pg_temp.spy(value pg_catalog.int4) returns pg_catalog.bool"
        " language plpgsql as $$ begin"
        " raise notice 'run as %', current_user; return true; end $$"
    )
    for name in names:
        session.execute(
            f"create domain pg_temp.{identifier(name)} as pg_catalog.int4"
            " check (pg_temp.spy(value))".encode()
        )
    return heard


def test_a_type_named_like_one_of_postgres_runs_nothing_as_the_owner(walls: House) -> None:
    """A function of the owner that declares an unqualified type would take the caller's."""
    row = walls.spare["agent_runs", A]
    names = walls.boss.execute(
        "select typname from pg_type where typnamespace = 'pg_catalog'::regnamespace"
        " and typelem = 0 and typrelid = 0 order by 1"
    ).fetchall()
    assert ("record",) in names
    with walls.connect(walls.login) as session:
        heard = spying(session, [name for (name,) in names])
        with session.transaction(force_rollback=True):
            setting(session, "codered.token", walls.tokens[A])
            sql, values = insert_sql("agent_runs", list(row)), list(row.values())
            assert tried(session, sql, values, keep=True).state is None
            session.execute("set constraints all immediate")
            for other in (
                "update codered.tasks set status = 'done'",
                "delete from codered.doc_manifest",
                "select id from codered.tasks",
            ):
                assert tried(session, other).hits == 1
    assert heard == []


def test_every_type_in_a_function_of_ours_is_qualified_or_a_keyword(walls: House) -> None:
    """Only these two are safe from a temporary type of the same name."""
    keywords = {"bigint", "boolean", "integer", "numeric", "smallint", "interval", "int"}
    found = walls.boss.execute(
        "select proname, prosrc from pg_proc where pronamespace = 'codered'::regnamespace"
        " and prosecdef"
    ).fetchall()
    loose = []
    for name, source in found:
        head = re.search(r"^declare\n(.*?)^begin", source, re.DOTALL | re.MULTILINE)
        for line in head[1].splitlines() if head else ():
            kind = re.sub(r"\b(constant)\b", "", line.split(":=")[0]).split()[1].rstrip(";")
            if not kind.startswith("pg_catalog.") and kind not in keywords:
                loose.append(f"{name}: {line.strip()}")
        loose += [
            f"{name}: ::{kind}"
            for kind in re.findall(r"::([a-z_.]+)", source)
            if not kind.startswith("pg_catalog.") and kind not in keywords | {"timestamp"}
        ]
    assert loose == []


def test_settings_of_his_do_not_change_what_a_token_means(walls: House, direct: Connection) -> None:
    row = walls.spare["agent_runs", A]
    for name, value in (
        ("timezone", "Pacific/Kiritimati"),
        ("datestyle", "German"),
        ("intervalstyle", "sql_standard"),
        ("standard_conforming_strings", "off"),
        ("transform_null_equals", "on"),
        ("array_nulls", "off"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "-15"),
        ("check_function_bodies", "off"),
        ("default_transaction_deferrable", "on"),
        ("quote_all_identifiers", "on"),
        ("lc_monetary", "C"),
        ("plan_cache_mode", "force_generic_plan"),
        ("debug_parallel_query", "on"),
    ):
        said = tried(direct, f"set local {name} = {literal(value)}", keep=True)
        assert said.state in (None, "22023", "0A000"), said
    for name in TABLES:
        assert ids(direct, name) == walls.ids[name, A]
    said = tried(direct, insert_sql("agent_runs", list(row)), list(row.values()), keep=True)
    assert said.state is None
    direct.execute("set constraints all immediate")
    for name in ROLLUPS:
        total = tried(direct, f"select sum(total_input_tokens)::int8 from {own(name)}")
        assert total.rows == [(20,)]
    assert open_to(direct, part(walls.tokens[A], 0, B)) == set()


# ---- people who sign in -----------------------------------------------------------------------

HIDDEN: Final = ("full_input", "full_output")


@pytest.mark.parametrize(
    "sql",
    [
        "select * from codered.agent_runs",
        "table codered.agent_runs",
        "select r from codered.agent_runs r",
        "select r::text from codered.agent_runs r",
        "select to_jsonb(r) from codered.agent_runs r",
        "select row_to_json(r) ->> 'full_input' from codered.agent_runs r",
        "select (r).full_input from codered.agent_runs r",
        "select count(full_input) from codered.agent_runs",
        "select count(r) from codered.agent_runs r",
        "select id from codered.agent_runs where full_input like '%x%'",
        "select id from codered.agent_runs order by full_output",
        "select id from codered.agent_runs group by id, full_output",
        "select id from codered.agent_runs r where r is not null",
        "select id from codered.agent_runs natural join (select ''::text as full_input) x",
        "select id from codered.agent_runs join (select '' as full_output) x using (full_output)",
        "select x.* from codered.tasks t, lateral (select full_input from codered.agent_runs) x",
        "with x as (select * from codered.agent_runs) select id from x",
        "select a.full_input from codered.tasks t join codered.agent_runs a on a.task_id = t.id",
        "select id, max(full_input) over () from codered.agent_runs",
        "copy codered.agent_runs to stdout",
        "copy codered.agent_runs (id, full_input) to stdout",
        "copy (select * from codered.agent_runs) to stdout",
        "update codered.agent_runs set id = id returning full_input",
        "delete from codered.agent_runs returning full_input",
        "insert into codered.agent_runs default values returning full_input",
        "select id from codered.agent_runs for update",
        "create temp table mine as select * from codered.agent_runs",
    ],
)
def test_nobody_who_signs_in_reads_full_texts(person: Connection, sql: str) -> None:
    assert tried(person, sql).state == DENIED


def test_a_view_of_his_own_does_not_show_full_texts(person: Connection) -> None:
    tried(person, "create temp view mine as select * from codered.agent_runs", keep=True)
    assert tried(person, "select * from mine").state == DENIED


def test_no_view_shows_full_texts(walls: House, person: Connection) -> None:
    secret = walls.boss.execute(
        "select full_input, full_output from codered.agent_runs where project_id = %s", [A]
    ).fetchall()
    for name in VIEWS:
        text = copied(person, f"copy (select * from {own(name)}) to stdout")
        assert not any(len(part) > 3 and part in text for row in secret for part in row)
        names = tried(person, f"select * from {own(name)}")
        assert names.state is None


def test_everything_but_full_texts_is_read(person: Connection) -> None:
    names = [c.name for c in table("agent_runs").columns if c.name not in HIDDEN]
    said = tried(person, f"select {', '.join(names)} from codered.agent_runs")
    assert said.hits == 1


def test_an_agent_reads_the_full_texts_of_his_project(agent: Connection) -> None:
    assert tried(agent, "select full_input, full_output from codered.agent_runs").hits == 1


# ---- known: what the walls do not hide --------------------------------------------------------


def test_known_a_duplicate_tells_that_an_id_exists(walls: House, agent: Connection) -> None:
    """Whoever knows the id of a row can learn that it exists, and nothing else."""
    row = dict(walls.spare["lessons", A])
    sql = insert_sql("lessons", list(row))
    for key, state in ((walls.id("lessons"), "23505"), (NOWHERE, None)):
        said = tried(agent, sql, list((row | {"id": key}).values()))
        assert said.state == state
        assert "Key" not in said.text or B not in said.text
    again = f"{sql} on conflict (id) do nothing"
    for key, count in ((walls.id("lessons"), 0), (NOWHERE, 1)):
        assert tried(agent, again, list((row | {"id": key}).values())).hits == count


def test_known_a_duplicate_tells_that_a_chunk_exists(walls: House, agent: Connection) -> None:
    """By the id of a document of others one learns which numbers its passages have."""
    ((number,),) = walls.boss.execute(
        "select chunk_index from codered.doc_chunks where id = %s", [walls.id("doc_chunks")]
    ).fetchall()
    row = walls.spare["doc_chunks", A] | {"doc_id": walls.id("doc_manifest")}
    sql = insert_sql("doc_chunks", list(row))
    for index, state in ((number, "23505"), (number - 1 if number else 1, "23503")):
        said = tried(agent, sql, list((row | {"chunk_index": str(index)}).values()))
        assert said.state == state, said


@pytest.mark.parametrize(("name", "key"), LINKS, ids=lambda part: getattr(part, "name", part))
def test_a_foreign_key_does_not_tell_whether_a_row_exists(
    walls: House, agent: Connection, name: str, key: ForeignKey
) -> None:
    texts = set()
    for target in (walls.id(key.table), NOWHERE):
        row = mine(walls, name) | {key.columns[0]: target}
        said = tried(agent, insert_sql(name, list(row)), list(row.values()))
        texts.add((said.state, said.text.replace(target, "?")))
    assert len(texts) == 1


def test_known_the_size_of_tables_is_public(walls: House, agent: Connection) -> None:
    """How many rows a table has, those of others among them."""
    walls.boss.execute("analyze codered.tasks")
    said = tried(agent, "select reltuples::int from pg_class where oid = 'codered.tasks'::regclass")
    assert said.rows == [(2,)]
    assert tried(agent, "select pg_relation_size('codered.tasks') > 0").rows == [(True,)]
    assert tried(agent, "select n_live_tup from pg_stat_all_tables").state is None


def test_known_explain_counts_the_rows_that_are_hidden(agent: Connection) -> None:
    tried(agent, "set local enable_indexscan = off", keep=True)
    tried(agent, "set local enable_bitmapscan = off", keep=True)
    plan = tried(agent, "explain (analyze, costs off) select * from codered.tasks").rows
    assert any("Rows Removed by Filter: 1" in line for (line,) in plan)


def test_known_sessions_of_one_login_see_the_statements_of_each_other(
    walls: House, direct: Connection
) -> None:
    """A token that is written into a statement is seen, a parameter is not.

    A login for each project keeps them apart.
    """
    peek = f"select query from pg_stat_activity where usename = '{walls.login}'"
    fresh = "select pg_stat_clear_snapshot()"
    with walls.connect(walls.login) as other:
        setting(other, "codered.token", walls.tokens[B])
        seen = "".join(text for (text,) in tried(direct, peek).rows)
        assert walls.tokens[B] not in seen
        other.execute(f"select set_config('codered.token', '{walls.tokens[B]}', true)".encode())
        tried(direct, fresh, keep=True)
        seen = "".join(text for (text,) in tried(direct, peek).rows)
        assert walls.tokens[B] in seen
        ended = f"select pg_terminate_backend({other.info.backend_pid})"
        assert tried(direct, ended).rows == [(True,)]


def test_sessions_of_other_logins_are_hidden(walls: House, direct: Connection) -> None:
    walls.boss.execute("select 'secret' /* of the boss */")
    said = tried(direct, "select query from pg_stat_activity where query like '%of the boss%'")
    assert all("pg_stat_activity" in text for (text,) in said.rows)
    pid = walls.boss.info.backend_pid
    assert tried(direct, f"select pg_terminate_backend({pid})").state == DENIED


def test_known_an_agent_can_make_others_wait(direct: Connection) -> None:
    """Who may change rows may lock the table, and anybody may take an advisory lock."""
    assert tried(direct, "lock table codered.lessons in access exclusive mode").state is None
    assert tried(direct, "lock table codered.projects in row exclusive mode").state == DENIED
    assert tried(direct, "select pg_advisory_xact_lock(1)").state is None


def test_known_large_objects_can_be_made(agent: Connection) -> None:
    """Anybody can, unless that is revoked; none of our data is in them."""
    said = tried(agent, "select lo_from_bytea(0, 'x') > 0")
    assert said.rows == [(True,)]


def test_known_sql_in_a_session_of_the_authenticator_is_anybody(walls: House) -> None:
    """It is the one who checks tokens: nobody else may run SQL of his own there."""
    with walls.acting(CLAIM) as session:
        setting(session, "request.jwt.claims", claims(CLAIM, B))
        assert ids(session, "tasks") == walls.ids["tasks", B]
        session.execute("set local role service_role")
        assert ids(session, "tasks") == walls.ids["tasks", A] | walls.ids["tasks", B]


def test_known_a_login_that_is_a_member_of_authenticated_names_any_project(walls: House) -> None:
    """Realtime and the SQL editor speak for people in sessions of their own.

    So claims count in every session of that role, and no other login may be a member of it.
    """
    login = f"walls_person_{uuid.uuid4().hex[:12]}"
    walls.boss.execute(f"create role {login} login in role authenticated".encode())
    try:
        with walls.connect(login) as session:
            sql = b"select set_config('request.jwt.claims', %s, false)"
            session.execute(sql, [claims(PERSON, B)])
            assert ids(session, "tasks") == walls.ids["tasks", B]
    finally:
        walls.boss.execute(f"drop role {login}".encode())


def test_known_bypassrls_and_pg_read_all_data_read_the_keys(walls: House) -> None:
    """As supabase_read_only_user is hosted: it can make tokens, so its password is a secret."""
    reader = f"walls_reader_{uuid.uuid4().hex[:12]}"
    walls.boss.execute(f"create role {reader} login bypassrls in role pg_read_all_data".encode())
    try:
        with walls.connect(reader) as session:
            assert tried(session, f"select * from {own(KEYS)}").hits == 1
    finally:
        walls.boss.execute(f"drop role {reader}".encode())


def test_known_a_cursor_asks_when_its_first_row_is_fetched(direct: Connection) -> None:
    """Who the session is for is asked once for each statement."""
    direct.execute("declare peek cursor for select project_id::text from codered.tasks")
    direct.execute("fetch 0 from peek")
    setting(direct, "codered.token", "")
    assert direct.execute("fetch all from peek").fetchall() == []


# ---- loosening is noticed ---------------------------------------------------------------------

WANTED: Final = with_access(SPEC, expanded(SPEC))
OTHER_ROLES: Final = ("codered_agent", "authenticated", "anon", "public")
Damage = tuple[str, str]
"""What is done, and where a verifier must name it."""


def of_table(name: str) -> Iterator[Damage]:
    found = next(t for t in WANTED.tables if t.name == name)
    for policy in found.policies:
        own_name, address = identifier(policy.name), f"{name}.{policy.name}"
        alter = f"alter policy {own_name} on {own(name)}"
        yield f"drop policy {own_name} on {own(name)}", address
        if policy.roles == ("public",):
            yield f"{alter} to anon", address
            yield f"{alter} using (true)", address
        elif policy.roles != ("service_role",):
            yield f"{alter} to {', '.join(policy.roles)}, anon", address
            if policy.using not in (None, "true"):
                yield f"{alter} using (true)", address
            if policy.with_check is not None:
                yield f"{alter} with check (true)", address
    for grant in found.grants:
        to, address = identifier(grant.role), f"{name}.grant to {grant.role}"
        listed = column_list(grant.columns) if grant.columns else ""
        for privilege in grant.privileges:
            yield f"revoke {privilege} {listed} on {own(name)} from {to}", address
            if grant.columns:
                yield f"grant {privilege} on {own(name)} to {to}", address
                more = next(c.name for c in found.columns if c.name not in grant.columns)
                yield f"grant {privilege} ({more}) on {own(name)} to {to}", address
                yield f"revoke {privilege} ({grant.columns[0]}) on {own(name)} from {to}", address
    for action in (*ACTIONS, "truncate"):
        for role in ("codered_agent", "authenticated", "anon"):
            own_grants = [g.privileges for g in found.grants if g.role == role]
            if not any(action in privileges for privileges in own_grants):
                yield f"grant {action} on {own(name)} to {role}", f"{name}.grant to {role}"
    yield f"grant all on {own(name)} to public", f"{name}.grant to public"
    yield f"alter table {own(name)} disable row level security", name
    yield f"alter table {own(name)} force row level security", name
    yield f"create policy more on {own(name)} using (true)", f"{name}.more"


def of_function(function: Function) -> Iterator[Damage]:
    signature = re.sub(" DEFAULT [^,]*", "", function.arguments)
    own_name = f"function {own(function.name)}({signature})"
    address = f"{function.name}({function.arguments})"
    other = "invoker" if function.security_definer else "definer"
    yield f"alter {own_name} security {other}", address
    yield f"alter {own_name} reset search_path", address
    for role in (*OTHER_ROLES, "service_role"):
        if role in function.execute:
            yield f"revoke execute on {own_name} from {role}", address
        else:
            yield f"grant execute on {own_name} to {role}", address


def of_view(name: str) -> Iterator[Damage]:
    found = next(view for view in WANTED.views if view.name == name)
    for role in (*OTHER_ROLES, "service_role"):
        if role in found.select:
            yield f"revoke select on {own(name)} from {role}", name
        else:
            yield f"grant select on {own(name)} to {role}", name
            yield f"grant select (project_id) on {own(name)} to {role}", name
    yield f"grant insert on {own(name)} to codered_agent", name
    yield f"alter view {own(name)} reset (security_invoker)", name
    yield f"alter view {own(name)} set (security_invoker = false)", name


def of_schema(want: Schema) -> Iterator[Damage]:
    name = identifier(want.name)
    for role in ("anon", "public"):
        yield f"grant usage on schema {name} to {role}", "schema"
    for role in (*OTHER_ROLES, "service_role"):
        yield f"grant create on schema {name} to {role}", "schema"
    for role in want.usage:
        yield f"revoke usage on schema {name} from {role}", "schema"
    yield f"create view {name}.more as select * from {name}.tasks", "more"
    yield f"create materialized view {name}.more as select * from {name}.tasks", "more"
    yield f"create table {name}.more as select * from {name}.tasks", "more"
    body = "language sql security definer as 'select count(*) from codered.tasks'"
    yield f"create function {name}.more() returns bigint {body}", "more()"


GROUPS: Final = (
    *(list(of_table(table.name)) for table in WANTED.tables),
    *(list(of_function(function)) for function in WANTED.functions),
    *(list(of_view(name)) for name in VIEWS),
    list(of_schema(WANTED)),
)
ROUNDS: Final = [[damage for damage in some if damage is not None] for some in zip_longest(*GROUPS)]
"""One damage of each table, function and view at a time: reading a catalog takes a while."""
PARTS: Final = 6


@pytest.mark.parametrize("start", range(PARTS))
def test_each_loosening_is_named(walls: House, start: int) -> None:
    wrong = [line for some in ROUNDS[start::PARTS] for line in unnoticed(walls.boss, some)]
    assert not wrong, "\n".join(wrong)


def unnoticed(boss: Connection, damages: list[Damage]) -> list[str]:
    """Damages that are not named, and what is named although nothing happened to it."""
    with boss.transaction(force_rollback=True):
        for sql, _ in damages:
            boss.execute(sql.encode())
        named = {d.address for d in diff(SPEC, read_catalog(boss, SPEC.name))}
    wrong = [
        f"{sql}: {address} is not named"
        for sql, address in damages
        if not any(n.startswith(address) for n in named)
    ]
    heads = {address.split(".")[0] for _, address in damages}
    return wrong + [f"{n} is named" for n in named if not n.startswith(tuple(heads))]


def test_what_is_migrated_is_what_is_wanted(walls: House) -> None:
    assert verify(walls.boss, SPEC) == ()


def test_every_policy_and_grant_of_the_catalog_is_loosened(walls: House) -> None:
    done = {address for group in GROUPS for _, address in group}
    policies = walls.boss.execute(
        "select tablename || '.' || policyname from pg_policies where schemaname = 'codered'"
    ).fetchall()
    assert {row[0] for row in policies} <= done
    assert len(policies) > 100
    granted = walls.boss.execute(
        "select distinct c.relname || '.grant to ' || a.grantee::regrole from pg_class c,"
        " aclexplode(c.relacl) a where c.relnamespace = 'codered'::regnamespace"
        " and c.relkind = 'r' and a.grantee <> c.relowner"
    ).fetchall()
    assert {row[0] for row in granted} <= done
    assert sum(map(len, GROUPS)) > 900


@pytest.mark.parametrize(
    ("sql", "address"),
    [
        ("grant select on codered.tasks to codered_agent with grant option", "tasks"),
        (
            "grant execute on function codered.issue_token to service_role with grant option",
            "issue_token(",
        ),
        ("grant select on codered.task_budgets to codered_agent with grant option", "task_budgets"),
        ("grant usage on schema codered to codered_agent with grant option", "schema"),
    ],
)
def test_the_right_to_hand_rights_on_is_named(walls: House, sql: str, address: str) -> None:
    assert unnoticed(walls.boss, [(sql, address)]) == []


@pytest.mark.parametrize(
    "sql",
    [
        "alter role codered_agent bypassrls",
        "grant service_role to codered_agent",
        "alter function codered.token_scope(text) owner to codered_agent",
        "alter default privileges for role postgres grant select on tables to anon",
    ],
)
def test_known_roles_and_owners_are_not_compared(walls: House, sql: str) -> None:
    """They belong to the server, or to whoever migrates."""
    with walls.boss.transaction(force_rollback=True):
        walls.boss.execute(sql.encode())
        assert diff(SPEC, read_catalog(walls.boss, SPEC.name)) == ()


def test_the_roles_of_the_spec_are_the_actors() -> None:
    roles = {role.name for role in SPEC.roles}
    assert roles == {actor.role for actor in ACTORS if actor is not ANON}
    assert all(isinstance(role_of(actor), Role) for actor in ACTORS if actor is not ANON)
    assert {r.action for role in SPEC.roles for r in role.rights} == set(ACTIONS)
