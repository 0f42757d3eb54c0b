"""Every promise about rollups, one at a time: after a commit they equal a plain aggregate.

``Db.commit`` and ``Db.exact`` compare, in another session, both tables with the truth.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel, errors
from rollup_cases import (
    COLUMNS,
    NOON,
    RESET,
    USAGE,
    Connection,
    Db,
    Kept,
    Run,
    bypass,
    copy_of,
    fetch,
    insert,
    number,
    own_server,
    rows,
    run_sql,
    template,
)

from codered_spec import load_spec
from codered_spec.emit.ddl import emit_sql
from codered_spec.postgres import EmbeddedServer

LEVELS = [
    IsolationLevel.READ_COMMITTED,
    IsolationLevel.REPEATABLE_READ,
    IsolationLevel.SERIALIZABLE,
]
STRICT = LEVELS[1:]
RUNS = "codered.agent_runs"
MIXED = (
    Run(),
    Run(cost="0.000001"),
    Run(agent=2, at="2026-03-01 23:59:59.999999+00"),
    Run(project=2, at="2026-03-02 00:00:00+00", input=7),
    Run(project=2, agent=3, at="2026-03-02 00:14:59.999999+00"),
    Run(project=2, agent=3, at="2026-03-02 00:15:00+00", input=0, output=0, cost="0"),
)


@pytest.fixture(scope="module")
def world(server: EmbeddedServer) -> Iterator[str]:
    with template(server) as name:
        yield name


@pytest.fixture(scope="module")
def shared(server: EmbeddedServer, world: str) -> Iterator[str]:
    with copy_of(server, world) as name:
        yield name


@pytest.fixture
def db(server: EmbeddedServer, shared: str) -> Iterator[Db]:
    """A database without runs, for tests that change rows only."""
    db = Db(server, shared)
    with db.session:
        yield db
        db.session.rollback()
    bypass(db, *RESET)


@pytest.fixture
def own(server: EmbeddedServer, world: str) -> Iterator[Db]:
    """A database of its own with some runs, for tests that change more than rows."""
    with copy_of(server, world) as name:
        db = Db(server, name)
        with db.session:
            db.commit(insert(*MIXED))
            yield db
            db.session.rollback()


@pytest.fixture
def full(db: Db) -> Db:
    """A database with some runs."""
    db.commit(insert(*MIXED))
    return db


@pytest.fixture
def role(server: EmbeddedServer) -> Iterator[str]:
    """A role of its own; ask for it before ``own``, so that its rights are gone when it goes."""
    name = f"rollup_role_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        run_sql(connection, f"create role {name} login bypassrls")
    yield name
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        run_sql(connection, f"drop role {name}")


def until_waiting(db: Db, waiting: Connection) -> None:
    """Return when a session waits for a lock."""
    pid = waiting.info.backend_pid
    with db.superuser() as connection:
        connection.autocommit = True
        deadline = time.monotonic() + 30
        while not fetch(connection, f"select where cardinality(pg_blocking_pids({pid})) > 0"):
            assert time.monotonic() < deadline, "it does not wait"


class Aside(threading.Thread):
    """Something in another thread; what it raised comes out of ``result``."""

    def __init__(self, connection: Connection, *statements: str, commit: bool = True) -> None:
        super().__init__(daemon=True)
        self.connection = connection
        self.statements = statements
        self.commit = commit
        self.error: psycopg.Error | None = None
        self.start()

    def run(self) -> None:
        try:
            run_sql(self.connection, *self.statements)
            if self.commit:
                self.connection.commit()
        except psycopg.Error as error:
            self.error = error
            self.connection.rollback()

    def result(self) -> psycopg.Error | None:
        self.join(30)
        assert not self.is_alive()
        return self.error


# ---- statements -------------------------------------------------------------------------------


def test_an_insert(db: Db) -> None:
    db.commit(insert())
    assert db.counts() == (1, 1)


def test_an_insert_of_several_rows(db: Db) -> None:
    db.commit(insert(*MIXED))
    assert db.counts() == (4, 5)


def test_several_inserts_in_a_transaction(db: Db) -> None:
    db.commit(*(insert(run) for run in MIXED * 2))
    assert db.counts() == (4, 5)


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
def test_copy(full: Db, form: str) -> None:
    out = f"copy ({rows(MIXED)}) to stdout (format {form})"
    into = f"copy {RUNS} ({COLUMNS}) from stdin (format {form})"
    with full.session.cursor() as cursor:
        with cursor.copy(out.encode()) as copy:
            data = b"".join(bytes(block) for block in copy)
        with cursor.copy(into.encode()) as copy:
            copy.write(data)
    full.commit()
    assert full.value(f"select count(*) from {RUNS}") == 2 * len(MIXED)


def test_insert_from_a_query(full: Db) -> None:
    full.commit(f"insert into {RUNS} ({COLUMNS}) select {COLUMNS} from {RUNS}")


def test_an_insert_of_nothing(full: Db) -> None:
    full.commit(f"insert into {RUNS} ({COLUMNS}) select {COLUMNS} from {RUNS} where false")


@pytest.mark.parametrize(
    "action",
    [
        "do nothing",
        "do update set input_tokens = agent_runs.input_tokens + 1000",
        "do update set created_at = excluded.created_at, agent_id = excluded.agent_id",
        "do update set created_at = excluded.created_at where agent_runs.input_tokens = 7",
    ],
)
def test_insert_on_conflict(full: Db, action: str) -> None:
    full.commit(
        f"insert into {RUNS} (id, {COLUMNS})"
        f" select id, {number(2)!r}::uuid, {number(3)!r}::uuid, "
        "created_at + interval '1 day', 1, 1, 1"
        f" from {RUNS} where project_id = {number(2)!r}"
        f" union all select gen_random_uuid(), {number(1)!r}, {number(3)!r}, "
        f"timestamptz '{NOON}', 8, 8, 8"
        f" on conflict (id) {action}"
    )


def test_merge(full: Db) -> None:
    full.commit(
        f"merge into {RUNS} t using (select id, row_number() over (order by created_at, id) n"
        f" from {RUNS} union all select gen_random_uuid(), 99) s on t.id = s.id"
        " when matched and n = 1 then delete"
        " when matched and n = 2 then update set agent_id = " + repr(number(3)) + ""
        " when matched and n = 3 then update set input_tokens = 4711"
        f" when not matched then insert ({COLUMNS}) values"
        f" ({number(3)!r}, {number(3)!r}, '{NOON}', 1, 2, 3)"
    )


def test_several_writes_in_one_statement(full: Db) -> None:
    again = f"insert into {RUNS} ({COLUMNS}) select {COLUMNS} from {RUNS}"
    full.commit(
        f"with a as ({again} returning 1), b as ({again} returning 1),"
        f" c as (delete from {RUNS} where input_tokens = 7 returning 1),"
        f" d as (update {RUNS} set output_tokens = 9 where input_tokens = 0 returning 1) {again}"
    )


@pytest.mark.parametrize(
    "change",
    [
        "input_tokens = 3",
        "output_tokens = 0",
        "estimated_cost_usd = estimated_cost_usd * 3",
        "input_tokens = output_tokens, output_tokens = input_tokens",
        "input_tokens = 0, output_tokens = 0, estimated_cost_usd = 0",
        "created_at = created_at + interval '1 day'",
        "created_at = created_at + interval '15 minutes'",
        "created_at = created_at + interval '1 microsecond'",
        "created_at = created_at - interval '1 microsecond'",
        f"project_id = '{number(3)}'",
        f"agent_id = '{number(2)}'",
        f"agent_id = '{number(2)}', created_at = '2024-02-29', input_tokens = 1",
    ],
)
def test_an_update(full: Db, change: str) -> None:
    full.commit(f"update {RUNS} set {change}")
    full.commit(f"update {RUNS} set {change} where output_tokens > 0")


def test_an_update_that_exchanges_keys(full: Db) -> None:
    case = f"case agent_id when '{number(1)}' then '{number(3)}' else '{number(1)}' end::uuid"
    full.commit(f"update {RUNS} set agent_id = {case}")


@pytest.mark.parametrize(
    "change",
    ["status = 'failed', error_message = 'x'", "input_tokens = input_tokens", "id = id"],
)
def test_an_update_of_nothing_that_counts_leaves_the_rollups_alone(full: Db, change: str) -> None:
    query = "select ctid, xmin from codered.llm_usage_daily union all"
    query += " select ctid, xmin from codered.llm_usage_by_agent"
    before = full.rows(query)
    full.do(f"update {RUNS} set {change}")
    assert full.rows("table codered.agent_runs_deltas") == []
    full.commit()
    assert full.rows(query) == before


def test_an_update_of_a_key_respects_its_foreign_key(full: Db) -> None:
    with pytest.raises(errors.ForeignKeyViolation):
        full.do(f"update {RUNS} set agent_id = '{number(9)}'")
    full.session.rollback()
    full.exact()


@pytest.mark.parametrize("where", ["true", "input_tokens = 7", "output_tokens = 0", "false"])
def test_a_delete(full: Db, where: str) -> None:
    full.commit(f"delete from {RUNS} where {where}")


def test_deletes_one_by_one(full: Db) -> None:
    for (run,) in full.rows(f"select id from {RUNS}"):
        full.commit(f"delete from {RUNS} where id = '{run}'")
    assert full.counts() == (0, 0)


def test_a_task_that_goes_leaves_the_usage_of_its_runs(own: Db) -> None:
    columns = fetch(
        own.session,
        "select column_name, data_type from information_schema.columns"
        " where table_name = 'tasks' and is_nullable = 'NO' and column_default is null"
        " and column_name <> 'project_id'",
    )
    usual = {"integer": "1", "bigint": "1", "numeric": "1", "ARRAY": "'{}'"}
    values = [usual.get(kind, "'x'") for _, kind in columns]
    for name, check in own.rows(
        "select conname, pg_get_constraintdef(oid) from pg_constraint"
        " where conrelid = 'codered.tasks'::regclass and contype = 'c'"
    ):
        assert check
        own.do(f"alter table codered.tasks drop constraint {name}")
    names = ", ".join(name for name, _ in columns)
    (task,) = own.rows(
        f"insert into codered.tasks (project_id, {names})"
        f" values ('{number(1)}', {', '.join(values)}) returning id"
    )
    own.commit(f"update {RUNS} set task_id = '{task[0]}' where project_id = '{number(1)}'")
    own.commit("delete from codered.tasks")
    assert own.value(f"select count(task_id) from {RUNS}") == 0


def test_a_run_takes_what_hangs_on_it_along(full: Db) -> None:
    full.commit(
        "insert into codered.llm_degradation_events (agent_run_id, from_model, to_model, reason)"
        f" select id, 'a', 'b', 'c' from {RUNS}"
    )
    full.commit(f"delete from {RUNS}")
    assert full.value("select count(*) from codered.llm_degradation_events") == 0


# ---- truncate ---------------------------------------------------------------------------------

TRUNCATE = f"truncate {RUNS} cascade"


def test_truncate(full: Db) -> None:
    full.commit(TRUNCATE)
    assert full.counts() == (0, 0)


def test_truncate_of_an_empty_table(db: Db) -> None:
    db.commit(TRUNCATE)


def test_truncate_after_writes_in_the_same_transaction(full: Db) -> None:
    full.commit(insert(Run(project=3)), f"delete from {RUNS} where input_tokens = 7", TRUNCATE)
    assert full.counts() == (0, 0)


def test_truncate_then_inserts(full: Db) -> None:
    full.commit(insert(Run(project=3)), TRUNCATE, insert(Run(agent=3)), insert(Run()))
    assert full.counts() == (2, 2)


def test_truncate_that_is_rolled_back(full: Db) -> None:
    full.commit(
        insert(Run(project=3)), "savepoint s", TRUNCATE, insert(Run(agent=3)), "rollback to s"
    )
    assert full.value(f"select count(*) from {RUNS}") == len(MIXED) + 1


def test_truncate_by_cascade(full: Db) -> None:
    full.commit(insert(Run(project=3)), "truncate codered.projects cascade")
    assert full.counts() == (0, 0)


def test_truncate_forgets_windows_on_demand(full: Db) -> None:
    full.commit("select codered.refresh_llm_usage_by_agent('2026-03-01', '2026-03-03')")
    full.commit(TRUNCATE)
    assert full.counts() == (0, 0)


@pytest.mark.parametrize("level", LEVELS)
def test_truncate_takes_runs_along_that_its_snapshot_does_not_see(
    full: Db, level: IsolationLevel
) -> None:
    with full.connect(isolation=level) as other:
        fetch(other, f"select count(*) from {RUNS}")
        full.commit(insert(Run(project=3)))
        try:
            run_sql(other, TRUNCATE)
            other.commit()
        except psycopg.Error:  # to refuse is right, to leave rows without runs is not
            other.rollback()
            assert level is not IsolationLevel.READ_COMMITTED
    full.exact()


@pytest.mark.parametrize("level", STRICT)
def test_truncate_by_cascade_in_a_strict_transaction(full: Db, level: IsolationLevel) -> None:
    with full.connect(isolation=level) as other:
        try:
            run_sql(other, "truncate codered.projects cascade")
            other.commit()
        except psycopg.Error:
            other.rollback()
    full.exact()


# ---- transactions -----------------------------------------------------------------------------


def test_a_transaction_that_is_rolled_back(full: Db) -> None:
    full.do(insert(Run(project=3)), f"delete from {RUNS} where input_tokens = 7")
    full.session.rollback()
    full.exact()


def test_a_transaction_that_fails(full: Db) -> None:
    full.do(insert(Run(project=3)))
    with pytest.raises(errors.CheckViolation):
        full.do(insert(Run(input=-1)))
    full.session.commit()  # which is a rollback
    full.exact()


def test_writes_of_a_savepoint_that_is_rolled_back(full: Db) -> None:
    full.commit(
        insert(Run(project=3)),
        "savepoint s",
        insert(Run(project=3, agent=2)),
        f"update {RUNS} set input_tokens = 99",
        "rollback to s",
        insert(Run(project=3, agent=3)),
    )
    assert full.counts() == (6, 7)


def test_only_writes_of_a_savepoint_that_is_rolled_back(full: Db) -> None:
    full.commit("savepoint s", insert(Run(project=3)), "rollback to s")
    full.commit("savepoint s", insert(Run(project=3)), "rollback to s", insert(Run(agent=3)))


def test_a_delete_that_is_rolled_back(full: Db) -> None:
    full.commit(insert(Run(project=3)), "savepoint s", f"delete from {RUNS}", "rollback to s")
    assert full.value(f"select count(*) from {RUNS}") == len(MIXED) + 1


def test_nested_savepoints(full: Db) -> None:
    full.commit(
        "savepoint a",
        insert(Run(project=3)),
        "savepoint b",
        insert(Run(project=3, agent=2)),
        "release b",
        "savepoint c",
        f"delete from {RUNS} where project_id = '{number(3)}'",
        "rollback to c",
        "release a",
    )
    assert full.value(f"select count(*) from {RUNS}") == len(MIXED) + 2


def test_an_exception_that_is_caught(full: Db) -> None:
    full.commit(
        f"do $$ begin {insert(Run(project=3))};"
        f" begin {insert(Run(project=3))}; raise division_by_zero;"
        " exception when division_by_zero then null; end; end $$"
    )
    assert full.value(f"select count(*) from {RUNS}") == len(MIXED) + 1


def test_constraints_made_immediate(full: Db) -> None:
    full.do(insert(Run(project=3)), "set constraints all immediate")
    assert full.rows("table codered.agent_runs_deltas") == []
    assert full.counts() == (5, 6)
    full.do(insert(Run(project=3, agent=2)))
    assert full.counts() == (6, 7)
    full.do("set constraints all deferred", insert(Run(project=3, agent=3)))
    assert full.counts() == (6, 7)
    full.commit(
        f"update {RUNS} set input_tokens = 1", f"delete from {RUNS} where output_tokens = 0"
    )


def test_all_kinds_of_writes_in_one_immediate_statement(full: Db) -> None:
    again = f"insert into {RUNS} ({COLUMNS}) select {COLUMNS} from {RUNS}"
    full.commit(
        "set constraints codered.agent_runs_deltas_fold immediate",
        f"with a as (delete from {RUNS} where project_id = '{number(2)}' returning 1),"
        f" b as (update {RUNS} set agent_id = '{number(3)}', input_tokens = 0 returning 1) {again}",
    )


@pytest.mark.parametrize("after", ["", insert(Run(agent=3))])
def test_constraints_made_immediate_in_a_savepoint_that_is_rolled_back(
    full: Db, after: str
) -> None:
    full.commit(
        insert(Run(project=3)),
        "savepoint s",
        "set constraints all immediate",
        insert(Run(project=3, agent=2)),
        "rollback to s",
        after or "select",
    )


@pytest.mark.parametrize("level", LEVELS)
def test_a_single_writer_at_every_isolation_level(full: Db, level: IsolationLevel) -> None:
    with full.connect(isolation=level) as other:
        for statement in (
            insert(*MIXED),
            f"update {RUNS} set created_at = created_at + interval '1 day', input_tokens = 3",
            f"delete from {RUNS} where output_tokens = 0",
            "select codered.rebuild_llm_usage_daily()",
            f"delete from {RUNS}",
            insert(*MIXED) + "; " + TRUNCATE,
        ):
            try:
                run_sql(other, statement)
                other.commit()
            except psycopg.Error:  # not every snapshot is good for these two
                other.rollback()
                assert level in STRICT
                assert "rebuild" in statement or "truncate" in statement
            full.exact()


@pytest.mark.parametrize("level", STRICT)
@pytest.mark.parametrize(
    "statement",
    [insert(Run()), insert(Run(agent=3)), f"delete from {RUNS} where cost_of"],
    ids=["old key", "new key", "delete"],
)
def test_strict_writers_of_the_same_key_are_told_to_repeat(
    full: Db, level: IsolationLevel, statement: str
) -> None:
    statement = statement.replace("cost_of", "estimated_cost_usd = 0.000001")
    with full.connect(isolation=level) as other:
        run_sql(other, statement)
        full.commit(insert(Run()), insert(Run(agent=3)))
        with pytest.raises(errors.SerializationFailure):
            other.commit()
        full.exact()
        run_sql(other, statement)
        other.commit()
    full.exact()


def test_writers_of_the_same_key_wait_for_each_other(full: Db) -> None:
    full.do(insert(Run()), insert(Run(agent=3)), "set constraints all immediate")
    with full.connect() as other:
        aside = Aside(other, insert(Run()), insert(Run(agent=3)))
        until_waiting(full, other)
        full.session.commit()
        assert aside.result() is None
    full.exact()


def test_the_last_run_goes_while_a_run_without_tokens_comes(full: Db) -> None:
    empty = Run(project=3, input=0, output=0, cost="0")
    full.commit(insert(Run(project=3)))
    full.do(f"delete from {RUNS} where project_id = '{number(3)}'", "set constraints all immediate")
    with full.connect() as other:
        aside = Aside(other, insert(empty))
        until_waiting(full, other)
        full.session.commit()
        assert aside.result() is None
    full.exact()
    full.do(insert(empty), "set constraints all immediate")
    with full.connect() as other:
        aside = Aside(other, f"delete from {RUNS} where project_id = '{number(3)}'")
        until_waiting(full, other)
        full.session.commit()
        assert aside.result() is None
    full.exact()


def test_orders_of_keys_do_not_matter(full: Db) -> None:
    """Two transactions that write the same keys in opposite orders cannot block each other."""
    first, second = insert(Run(agent=2)), insert(Run(project=2))
    with full.connect() as other:
        full.do(first)
        run_sql(other, second, first)
        full.do(second)
        aside = Aside(other)
        full.session.commit()
        assert aside.result() is None
    full.exact()


def test_a_prepared_transaction() -> None:
    with own_server({"max_prepared_transactions": "4"}) as server, template(server) as name:
        db = Db(server, name)
        with db.session:
            for end in ("commit", "rollback"):
                db.do(insert(*MIXED), f"delete from {RUNS} where input_tokens = 7")
                db.do("prepare transaction 'a'")
                db.session.commit()
                db.exact()  # before its end others see nothing of it
                db.session.autocommit = True
                db.do(f"{end} prepared 'a'")
                db.session.autocommit = False
                db.exact()
            assert db.value(f"select count(*) from {RUNS}") == len(MIXED) - 1


# ---- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "zone",
    [
        "Asia/Kolkata",
        "Pacific/Kiritimati",
        "America/St_Johns",
        "Europe/London",
        "-11:30",
        "UTC+3",
        "<UTC>-11",
        "utc5",
    ],
)
def test_days_are_of_utc_whatever_the_session_thinks(full: Db, zone: str) -> None:
    full.commit(
        f"set time zone '{zone}'",
        insert(*MIXED),
        insert(Run(at="2026-06-30 23:59:59.999999+00"), Run(at="2026-07-01 00:00:00+00")),
        f"update {RUNS} set created_at = created_at + interval '15 minutes' where input_tokens = 7",
        f"delete from {RUNS} where output_tokens = 0",
    )
    full.do(f"set time zone '{zone}'")
    for rollup in ("llm_usage_daily", "llm_usage_by_agent"):
        assert full.rows(f"select * from codered.check_{rollup}()") == []
        assert full.value(f"select codered.rebuild_{rollup}()") == 0
    full.commit()


def test_the_edges_of_days_and_windows(db: Db) -> None:
    edges = ["00:00:00", "00:14:59.999999", "00:15:00", "23:44:59.999999", "23:45:00"]
    edges += ["23:59:59.999999"]
    days = ["2026-03-01", "2026-03-02", "2024-02-29", "1969-12-31", "1970-01-01"]
    runs = [Run(at=f"{day} {edge}+00") for day in days for edge in edges]
    db.commit(insert(*runs))
    assert db.counts() == (5, 20)
    db.commit(f"update {RUNS} set created_at = created_at - interval '1 microsecond'")
    db.commit(f"update {RUNS} set created_at = created_at + interval '2 microseconds'")
    db.commit(f"delete from {RUNS}")
    assert db.counts() == (0, 0)


def test_a_row_stands_as_long_as_there_are_runs_even_without_tokens(db: Db) -> None:
    empty = Run(input=0, output=0, cost="0")
    db.commit(insert(empty))
    assert db.counts() == (1, 1)
    db.commit(insert(empty))
    db.commit(f"delete from {RUNS} where id = (select min(id::text)::uuid from {RUNS})")
    assert db.counts() == (1, 1)
    db.commit(insert())
    db.commit(f"update {RUNS} set input_tokens = 0, output_tokens = 0, estimated_cost_usd = 0")
    assert db.counts() == (1, 1)
    db.commit(f"delete from {RUNS}")
    assert db.counts() == (0, 0)


@pytest.mark.parametrize(
    "at",
    [
        "0001-01-02 00:00:00+00",
        "9999-12-30 23:59:59.999999+00",
        "4714-11-24 00:00:00+00 BC",
        "0044-03-15 12:07:00+00 BC",
        "290000-01-01 00:00:00+00",
    ],
)
def test_extreme_instants(db: Db, at: str) -> None:
    db.commit(insert(Run(at=at)))
    db.commit(f"update {RUNS} set input_tokens = 0, output_tokens = 0")
    db.commit(f"delete from {RUNS}")
    assert db.counts() == (0, 0)


def test_an_instant_whose_window_has_no_end_is_refused(db: Db) -> None:
    with pytest.raises(errors.DatetimeFieldOverflow):
        db.commit(insert(Run(at="294276-12-31 23:59:59.999999+00")))
    db.session.rollback()
    db.exact()


TOO_MUCH = {
    "money in a day": (Run(cost="999999.999999"), Run(cost="0.000001", at="2026-03-01 13:00+00")),
    "money in a window": (Run(cost="999999.999999"), Run(cost="0.000001")),
    "input": (Run(input=2**63 - 1), Run(input=1)),
    "output": (Run(output=2**63 - 1), Run(output=2**63 - 1)),
}


@pytest.mark.parametrize("case", TOO_MUCH)
@pytest.mark.parametrize("together", [True, False])
def test_a_total_that_its_type_cannot_hold(full: Db, case: str, together: bool) -> None:
    first, second = (run._replace(project=3) for run in TOO_MUCH[case])
    full.commit(insert(first))
    full.do(f"delete from {RUNS} where project_id = '{number(3)}'")
    full.commit(insert(first))  # as much as fits, again
    full.do(f"delete from {RUNS}" if together else "select")
    full.do(insert(first, second) if together else insert(second))
    with pytest.raises(errors.NumericValueOutOfRange) as info:
        full.session.commit()
    assert info.value.sqlstate == "22003"
    message = info.value.diag.message_primary
    assert message is not None
    assert "codered.llm_usage_" in message
    assert "would exceed the type" in message
    assert info.value.diag.message_hint
    full.exact()
    assert full.value(f"select count(*) from {RUNS} where project_id = '{number(3)}'") == 1


def test_a_total_that_overflows_while_another_falls(full: Db) -> None:
    full.commit(insert(Run(project=3, cost="999999.999999", output=9)))
    full.do(
        f"update {RUNS} set output_tokens = 1 where project_id = '{number(3)}'",
        insert(Run(project=3, output=1)),
    )
    with pytest.raises(errors.NumericValueOutOfRange):
        full.session.commit()
    full.exact()


def test_a_total_that_overflows_in_between_only(full: Db) -> None:
    full.commit(insert(Run(project=3, cost="999999.999999")))
    full.commit(
        insert(Run(project=3, cost="5")),
        f"update {RUNS} set estimated_cost_usd = 7 where project_id = '{number(3)}'",
    )


def test_many_statements_in_one_transaction(db: Db) -> None:
    """The work at the end of a transaction grows with its statements, not with their square."""
    db.do("set local statement_timeout = '60s'")
    db.do(f"do $$ begin for n in 1..6000 loop {insert()}; end loop; end $$")
    start = time.perf_counter()
    db.do("set constraints all immediate")
    assert time.perf_counter() - start < 1.0
    db.commit()


def test_many_keys_in_one_transaction(db: Db) -> None:
    """The work at the end of a transaction grows with its keys, not with their square."""
    db.do("set local statement_timeout = '20s'")
    db.commit(
        f"insert into {RUNS} ({COLUMNS}) select '{number(1)}', '{number(2)}',"
        f" timestamptz '{NOON}' + n * interval '15 minutes', n, 1, 0.5"
        " from generate_series(1, 6000) n"
    )


# ---- rights -----------------------------------------------------------------------------------


def test_who_may_only_insert_runs_needs_no_other_right(role: str, own: Db) -> None:
    own.commit(
        f"grant usage on schema codered to {role}", f"grant insert on codered.agent_runs to {role}"
    )
    with own.connect(role) as writer:
        run_sql(writer, insert(Run(project=3)))
        writer.commit()
        for place in ("llm_usage_daily", "llm_usage_by_agent", "agent_runs_deltas"):
            for statement in (
                f"select from codered.{place}",
                f"delete from codered.{place}",
                f"truncate codered.{place}",
            ):
                with pytest.raises(errors.InsufficientPrivilege):
                    run_sql(writer, statement)
                writer.rollback()
        with pytest.raises(errors.InsufficientPrivilege):
            run_sql(writer, "insert into codered.agent_runs_deltas (xact) values (1)")
        writer.rollback()
    own.exact()
    assert own.counts() == (5, 6)


def test_the_functions_are_not_for_everybody(role: str, own: Db) -> None:
    own.commit(f"grant usage on schema codered to {role}")
    functions = own.rows(
        "select p.oid::regprocedure::text, prorettype = 'trigger'::regtype, array_to_string(array("
        " select coalesce('null::' || format_type(t, null)) from unnest(proargtypes) t), ', '),"
        " p.oid::regproc::text"
        " from pg_proc p where pronamespace = 'codered'::regnamespace"
        " and proname ~ '^(agent_runs|llm_usage|rebuild|check|refresh)'"
    )
    assert len(functions) >= 10
    with own.connect(role) as other:
        run_sql(other, "create temp table mine (id int)")
        other.commit()
        for signature, is_trigger, arguments, name in functions:
            with pytest.raises(errors.InsufficientPrivilege):
                run_sql(
                    other,
                    f"create trigger x after insert on mine execute function {signature}"
                    if is_trigger
                    else f"select {name}({arguments})",
                )
            other.rollback()
    own.exact()


HOSTILE = """
create schema hostile;
create table hostile.agent_runs_deltas (like codered.agent_runs_deltas);
create table hostile.llm_usage_daily (like codered.llm_usage_daily);
create table hostile.new_rows (like codered.agent_runs);
create table hostile.old_rows (like codered.agent_runs);
create table hostile.truth (like codered.llm_usage_daily);
create function hostile.sum(numeric) returns numeric language sql as 'select 42::numeric';
create function hostile.date_bin(interval, timestamptz, timestamptz) returns timestamptz
  language sql as 'select now()';
create function hostile.timezone(text, timestamptz) returns timestamp
  language sql as 'select now()::timestamp';
create function hostile.pg_current_xact_id() returns xid8 language sql as $$select '1'::xid8$$;
create function hostile.isfinite(timestamptz) returns boolean language sql as 'select false';
create function hostile.never(uuid, uuid) returns boolean language sql as 'select false';
create operator hostile.= (leftarg = uuid, rightarg = uuid, function = hostile.never);
create function hostile.plus(bigint, bigint) returns bigint language sql as 'select 0::bigint';
create operator hostile.+ (leftarg = bigint, rightarg = bigint, function = hostile.plus);
create domain hostile.date as pg_catalog.date;
create domain hostile.text as pg_catalog.text;
"""


def test_a_hostile_search_path_changes_nothing(own: Db) -> None:
    own.do(HOSTILE)
    own.session.commit()
    own.do("set search_path = hostile, pg_catalog")
    own.commit(insert(*MIXED))
    own.commit(f"update {RUNS} set input_tokens = 4, created_at = created_at + interval '1 day'")
    own.commit(f"delete from {RUNS} where output_tokens = 0")
    own.commit("select codered.refresh_llm_usage_by_agent('2026-03-01', '2026-03-03')")
    assert own.value("select codered.rebuild_llm_usage_daily()") == 0
    assert own.value("select codered.rebuild_llm_usage_by_agent()") == 0
    assert own.rows("select * from codered.check_llm_usage_daily()") == []
    own.commit(TRUNCATE)


def test_temporary_objects_get_no_rights_of_the_owner(role: str, own: Db) -> None:
    """A session's own types and tables come first in every search path that does not name them."""
    own.commit(
        f"grant usage on schema codered to {role}",
        f"grant insert, select, update, delete on codered.agent_runs to {role}",
    )
    with own.connect(role) as other:
        run_sql(
            other,
            "create table pg_temp.seen (who pg_catalog.text)",
            "grant insert on pg_temp.seen to public",
            "create function pg_temp.spy(anyelement) returns boolean language plpgsql as $$"
            f" begin if current_user <> '{role}' then"
            " raise exception 'runs as %', current_user; end if; return true; end $$",
        )
        for kind in "date text timestamptz timestamp bigint int8 numeric uuid interval".split():
            run_sql(
                other,
                f'create domain pg_temp."{kind}" as pg_catalog."{kind}"'
                " check (pg_temp.spy(value))".replace('pg_catalog."bigint"', "pg_catalog.int8"),
            )
        for name in ("new_rows", "old_rows", "agent_runs_deltas", "llm_usage_daily", "truth"):
            run_sql(other, f"create temp table {name} (own pg_catalog.int4)")
        other.commit()
        run_sql(other, insert(*MIXED))
        other.commit()
        run_sql(other, f"update {RUNS} set input_tokens = 0, output_tokens = 0")
        other.commit()
        run_sql(other, f"update {RUNS} set estimated_cost_usd = 0")
        other.commit()
    bypass(own, "delete from codered.llm_usage_daily", "delete from codered.llm_usage_by_agent")
    with own.connect(role) as other:
        run_sql(
            other,
            "create function pg_temp.spy(anyelement) returns boolean language plpgsql as $$"
            f" begin if current_user <> '{role}' then"
            " raise exception 'runs as %', current_user; end if; return true; end $$",
            "create domain pg_temp.date as pg_catalog.date check (pg_temp.spy(value))",
            "create domain pg_temp.text as pg_catalog.text check (pg_temp.spy(value))",
            f"delete from {RUNS}",
        )
        other.commit()
    own.exact()


# ---- bypass, check and rebuild ----------------------------------------------------------------

CHECKS = ("llm_usage_daily", "llm_usage_by_agent")


def told(db: Db) -> list[int]:
    """How many keys each check names."""
    return [db.value(f"select count(*) from codered.check_{name}()") for name in CHECKS]


def rebuilt(db: Db) -> list[int]:
    """How many rows each rebuild changes."""
    return [db.value(f"select codered.rebuild_{name}()") for name in CHECKS]


ZEROS = (
    "insert into codered.llm_usage_daily select gen_random_uuid(), date '2020-01-01' + n,"
    f" '{number(1)}', '{number(1)}', 0, 0, 0 from generate_series(1, 3) n"
)


@pytest.mark.parametrize(
    ("statements", "daily", "windows"),
    [
        ([insert(Run(project=3))], 1, 1),
        ([insert(*MIXED)], 4, 4),  # one of five windows has no tokens
        ([insert(Run(project=3, input=0, output=0, cost="0"))], 1, 1),
        ([f"delete from {RUNS}"], 4, 5),
        ([f"update {RUNS} set input_tokens = input_tokens + 1"], 4, 5),
        (["delete from codered.llm_usage_daily"], 4, 0),
        (["update codered.llm_usage_by_agent set total_cost_usd = 8"], 0, 5),
        (["update codered.llm_usage_by_agent set window_end = window_end + '1h'"], 0, 5),
        ([f"update {RUNS} set status = 'failed'"], 0, 0),
        ([ZEROS], 3, 0),
    ],
)  # fmt: skip
def test_what_went_past_the_triggers_is_found_and_repaired(
    full: Db, statements: list[str], daily: int, windows: int
) -> None:
    bypass(full, *statements)
    assert told(full) == [daily, windows]
    assert rebuilt(full) == [daily, windows]
    assert told(full) == [0, 0]
    assert rebuilt(full) == [0, 0]
    full.session.commit()
    full.exact()


def test_a_check_tells_what_is_stored_and_what_is_expected(full: Db) -> None:
    bypass(full, f"delete from {RUNS} where agent_id = '{number(2)}'", insert(Run(project=3)))
    full.do("update codered.llm_usage_daily set total_input_tokens = 1 where agent_id = " +
            repr(number(3)))  # fmt: skip
    found = full.rows(
        "select date::text, right(project_id::text, 1), right(agent_id::text, 1),"
        " stored ->> 'total_input_tokens', expected ->> 'total_input_tokens'"
        " from codered.check_llm_usage_daily()"
    )
    assert found == [
        ("2026-03-01", "1", "2", "10", None),
        ("2026-03-01", "3", "1", None, "10"),
        ("2026-03-02", "2", "3", "1", "10"),
    ]
    full.session.rollback()


@pytest.mark.parametrize(
    "damage",
    ["delete from codered.{}", "update codered.{} set total_input_tokens = 0, total_cost_usd = 0"],
)
@pytest.mark.parametrize(
    "write",
    [
        f"delete from {RUNS}",
        f"delete from {RUNS} where estimated_cost_usd = 0.000001",
        f"delete from {RUNS} where created_at = '2026-03-02 00:14:59.999999+00'",
        f"update {RUNS} set input_tokens = input_tokens - 1 where input_tokens > 0",
    ],
)
def test_a_write_that_takes_away_heals_its_keys(full: Db, damage: str, write: str) -> None:
    near = ("2026-03-01 23:59:59.999999+00", "2026-03-02 00:15:00+00", "2026-03-03 00:00:00+00")
    full.commit(insert(*(Run(project=2, agent=3, at=at) for at in near)))
    bypass(full, *(damage.format(name) for name in CHECKS))
    full.do(write)
    touched = full.rows(
        "select project_id::text || agent_id || key from codered.agent_runs_deltas,"
        " unnest(array[created_at_day::text, created_at_15m::text]) key"
    )
    full.session.commit()
    assert touched
    found = full.rows(
        "select project_id::text || agent_id || date from codered.check_llm_usage_daily()"
        " union all select project_id::text || agent_id || window_start"
        " from codered.check_llm_usage_by_agent()"
    )
    assert set(found).isdisjoint(touched)
    rebuilt(full)
    full.session.commit()
    full.exact()


def test_a_rebuild_counts_what_its_transaction_wrote_before(full: Db) -> None:
    full.do(insert(Run(project=3)), f"delete from {RUNS} where input_tokens = 7")
    assert rebuilt(full) == [0, 0]
    full.commit(insert(Run(project=3)), f"update {RUNS} set input_tokens = 2")


def test_a_rebuild_after_a_bypass_in_a_transaction_with_writes(full: Db) -> None:
    bypass(full, insert(Run(project=3)), "delete from codered.llm_usage_by_agent")
    full.do(insert(Run(project=3)), insert(Run(agent=3)))
    rebuilt(full)
    full.commit()


def test_a_rebuild_that_is_rolled_back(full: Db) -> None:
    full.do(insert(Run(project=3)), "savepoint s")
    rebuilt(full)
    full.commit("rollback to s", insert(Run(agent=3)))


def test_a_rebuild_waits_for_writers(full: Db) -> None:
    full.do(insert(Run(project=3)))
    with full.connect() as other:
        aside = Aside(other, "select codered.rebuild_llm_usage_daily()")
        until_waiting(full, other)
        full.do(insert(Run(project=3, agent=2)))
        full.session.commit()
        assert aside.result() is None
    full.exact()


@pytest.mark.parametrize("level", STRICT)
def test_a_rebuild_with_an_old_snapshot(full: Db, level: IsolationLevel) -> None:
    with full.connect(isolation=level) as other:
        fetch(other, f"select count(*) from {RUNS}")
        full.commit(insert(Run(project=3)), f"delete from {RUNS} where input_tokens = 7")
        try:
            for name in CHECKS:
                run_sql(other, f"select codered.rebuild_{name}()")
            other.commit()
        except psycopg.Error:  # to refuse is right, to store what was true before is not
            other.rollback()
    full.exact()


# ---- windows on demand ------------------------------------------------------------------------

REFRESH = "select codered.refresh_llm_usage_by_agent"


def windows(db: Db, start: str, end: str) -> list[tuple[Any, ...]]:
    """The rows of one window."""
    return db.rows(
        "select project_id, agent_id, total_input_tokens, total_output_tokens, total_cost_usd"
        " from codered.llm_usage_by_agent"
        f" where window_start = '{start}' and window_end = '{end}' order by 1, 2"
    )


def usage_between(db: Db, start: str, end: str) -> list[tuple[Any, ...]]:
    """What the runs say of one window."""
    return db.rows(
        "select project_id, agent_id, sum(input_tokens), sum(output_tokens),"
        f" sum(estimated_cost_usd) from {RUNS}"
        f" where created_at >= '{start}' and created_at < '{end}' group by 1, 2 order by 1, 2"
    )


DAYS = ("2026-03-01 00:00+00", "2026-03-03 00:00+00")


@pytest.mark.parametrize(
    ("start", "end"),
    [
        DAYS,
        ("2026-03-01 12:00+00", "2026-03-02 00:00+00"),
        ("2026-03-01 12:00+00", "2026-03-02 00:00:00.000001+00"),
        ("2026-03-01 12:00:00.000001+00", "2026-03-02 00:14:59.999999+00"),
        ("2026-03-01 12:01+00", "2026-03-01 12:16+00"),
        ("2026-03-01 12:00+00", "2026-03-01 12:30+00"),
        ("0001-01-01 00:00+00", "9999-12-31 00:00+00"),
        ("2020-01-01 00:00+00", "2020-01-02 00:00+00"),
    ],
)
def test_a_window_on_demand(full: Db, start: str, end: str) -> None:
    truth = usage_between(full, start, end)
    assert full.value(f"{REFRESH}('{start}', '{end}')") == len(truth)
    assert windows(full, start, end) == truth
    assert full.value(f"{REFRESH}('{start}', '{end}')") == 0
    full.commit()
    assert told(full) == [0, 0]
    assert rebuilt(full) == [0, 0]
    assert windows(full, start, end) == truth
    full.commit()


def test_a_window_follows_on_the_next_refresh_only(full: Db) -> None:
    full.commit(f"{REFRESH}('{DAYS[0]}', '{DAYS[1]}')")
    before = windows(full, *DAYS)
    full.commit(
        f"delete from {RUNS} where project_id = '{number(1)}'",
        f"update {RUNS} set input_tokens = 8 where input_tokens = 7",
        insert(Run(project=3)),
    )
    assert windows(full, *DAYS) == before
    assert full.value(f"{REFRESH}('{DAYS[0]}', '{DAYS[1]}')") == 4
    assert windows(full, *DAYS) == usage_between(full, *DAYS)
    full.commit(f"delete from {RUNS}", f"{REFRESH}('{DAYS[0]}', '{DAYS[1]}')")
    assert full.counts() == (0, 0)


def test_a_window_of_one_project(full: Db) -> None:
    one, two = (f"{REFRESH}('{DAYS[0]}', '{DAYS[1]}', '{number(n)}')" for n in (1, 2))
    assert full.value(one) == 2
    assert {str(row[0]) for row in windows(full, *DAYS)} == {number(1)}
    assert full.value(two) == 2
    assert windows(full, *DAYS) == usage_between(full, *DAYS)
    full.do(f"delete from {RUNS}")
    assert full.value(one) == 2
    assert {str(row[0]) for row in windows(full, *DAYS)} == {number(2)}
    assert full.value(f"{REFRESH}('{DAYS[0]}', '{DAYS[1]}', '{number(9)}')") == 0
    full.commit()


def test_a_window_of_the_grid_needs_no_refresh(full: Db) -> None:
    assert full.value(f"{REFRESH}('2026-03-01 12:00+00', '2026-03-01 12:15+00')") == 0
    full.do(insert(Run(project=3)))
    assert full.value(f"{REFRESH}('2026-03-01 12:00+00', '2026-03-01 12:15+00')") == 0
    full.commit()


@pytest.mark.parametrize(
    "window",
    [
        "null, now()",
        "now(), null",
        "now(), now()",
        "'2026-03-02', '2026-03-01'",
        "'-infinity', now()",
        "now(), 'infinity'",
    ],
)
def test_a_bad_window(full: Db, window: str) -> None:
    with pytest.raises(errors.InvalidParameterValue) as info:
        full.do(f"{REFRESH}({window})")
    assert info.value.sqlstate == "22023"
    assert info.value.diag.message_hint
    full.session.rollback()


def test_two_refreshes_of_a_window_wait_for_each_other(full: Db) -> None:
    refresh = f"{REFRESH}('{DAYS[0]}', '{DAYS[1]}')"
    full.do(refresh, insert(Run(project=3)))
    with full.connect() as other:
        aside = Aside(other, refresh)
        until_waiting(full, other)
        full.session.commit()
        assert aside.result() is None
    assert windows(full, *DAYS) == usage_between(full, *DAYS)


# ---- another spec -----------------------------------------------------------------------------

OTHER = """\
format: 1
schema: ops
tables:
  errors:
    columns:
      id:
        type: uuid
        primary_key: true
        default: gen_random_uuid()
      severity:
        type: text
      lost:
        type: integer
        nullable: true
        min: 0
      at:
        type: timestamptz
        finite: true
  errors_daily:
    columns:
      id:
        type: uuid
        primary_key: true
        default: gen_random_uuid()
      day:
        type: date
      severity:
        type: text
      number:
        type: bigint
      lost:
        type: bigint
    uniques:
      errors_daily_key: {columns: [day, severity]}
rollups:
  errors_daily:
    source: errors
    days: {day: at}
    keys: {severity: severity}
    sums: {lost: lost}
    counts: [number]
"""

OTHER_KEPT = (
    Kept(
        "errors_daily",
        "select day, severity, number, lost from ops.errors_daily",
        "select timezone(interval '0', at)::date, severity, count(*), coalesce(sum(lost), 0)"
        " from ops.errors group by 1, 2",
    ),
)


@pytest.fixture(scope="module")
def other_world(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("spec") / "schema.yaml"
    path.write_text(OTHER, encoding="utf-8")
    with template(server, emit_sql(load_spec(path))) as name:
        yield name


@pytest.fixture
def other_db(server: EmbeddedServer, other_world: str) -> Iterator[Db]:
    with copy_of(server, other_world) as name:
        db = Db(server, name, OTHER_KEPT, "ops")
        with db.session:
            yield db
            db.session.rollback()


def test_another_spec(other_db: Db) -> None:
    db = other_db
    values = "('low', 3, '{0}'), ('low', null, '{0}'), ('high', null, '{0}'), ('a''\"', 0, '{0}')"
    both = [values.format(at) for at in ("2026-03-01 23:59:59.999999+00", "2026-03-02 00:00+00")]
    into = "insert into ops.errors (severity, lost, at) values "
    db.commit(into + ", ".join(both))
    db.commit(*(into + value for value in both))
    db.commit("update ops.errors set lost = null where severity = 'low'")
    db.commit("update ops.errors set lost = 4 where lost is null")
    db.commit("update ops.errors set severity = 'high', lost = lost - 4 where severity = 'low'")
    db.commit("delete from ops.errors where severity = 'high' and at < '2026-03-02'")
    db.commit("savepoint s", "delete from ops.errors", "rollback to s", into + both[0])
    with db.superuser() as past:
        run_sql(past, "set session_replication_role = replica", "delete from ops.errors_daily")
    assert db.value("select count(*) from ops.check_errors_daily()") == 5
    assert db.value("select ops.rebuild_errors_daily()") == 5
    db.commit("delete from ops.errors where severity = 'low'")
    db.commit("truncate ops.errors", into + both[0])
    db.commit("delete from ops.errors")
    assert db.value("select count(*) from ops.errors_daily") == 0


def test_the_usual_cases_are_of_all_rollups() -> None:
    assert [kept.table for kept in USAGE] == list(CHECKS)
