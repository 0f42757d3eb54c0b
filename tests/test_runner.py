"""Applying migrations to a real server, as a role that is no superuser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from codered_spec.connection import Connection, connect
from codered_spec.errors import CoderedError, Exit
from codered_spec.migrate.directory import Migration
from codered_spec.migrate.runner import LOCK_KEY, migrate, status
from codered_spec.postgres import EmbeddedServer
from codered_spec.sql import identifier

CLI_TABLE = (
    "create schema supabase_migrations",
    "create table supabase_migrations.schema_migrations (version text not null primary key)",
    "alter table supabase_migrations.schema_migrations add column statements text[]",
    "alter table supabase_migrations.schema_migrations add column name text",
)


def migration(number: int, text: str) -> Migration:
    version = f"2026010100000{number}"
    return Migration(version, f"m{number}", f"migrations/{version}_m{number}.sql", text)


ONE = migration(1, "create table one (id int);\ninsert into one values (1);\n")
TWO = migration(2, "create table two (id int);")
THREE = migration(3, "create table three (id int);")


def apply(connection: Connection, *migrations: Migration, to: str | None = None) -> list[str]:
    """The names of what was applied."""
    return [m.name for m in migrate(connection, migrations, to=to, report=lambda _: None)]


def refused(action: Callable[[], object]) -> CoderedError:
    with pytest.raises(CoderedError) as caught:
        action()
    return caught.value


def complaint(action: Callable[[], object]) -> str:
    """The text of the only diagnostic."""
    (diagnostic,) = refused(action).diagnostics
    return str(diagnostic)


def tables(connection: Connection) -> list[str]:
    query = (
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    return sorted(str(name) for (name,) in connection.execute(query))


def history(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "select version, name, statements from supabase_migrations.schema_migrations order by 1"
    ).fetchall()


# -- applying -------------------------------------------------------------------------------------


def test_the_role_of_the_tests_is_no_superuser(connection: Connection) -> None:
    query = "select current_user::text, rolsuper from pg_roles where rolname = current_user"
    assert connection.execute(query).fetchone() == ("postgres", False)


def test_pending_files_are_applied_in_order(connection: Connection) -> None:
    assert apply(connection, TWO, ONE) == ["m1", "m2"]
    assert tables(connection) == ["one", "two"]


def test_the_history_row_is_the_one_of_the_supabase_cli(connection: Connection) -> None:
    apply(connection, ONE)
    statements = ["create table one (id int)", "insert into one values (1)"]
    assert history(connection) == [(ONE.version, "m1", statements)]


def test_a_second_run_does_nothing(connection: Connection) -> None:
    apply(connection, ONE)
    assert apply(connection, ONE) == []


def test_only_the_new_file_is_applied_later(connection: Connection) -> None:
    apply(connection, ONE)
    assert apply(connection, ONE, TWO) == ["m2"]


def test_to_stops_after_that_version(connection: Connection) -> None:
    assert apply(connection, ONE, TWO, THREE, to=TWO.version) == ["m1", "m2"]


def test_to_an_applied_version_does_nothing(connection: Connection) -> None:
    apply(connection, ONE, TWO)
    assert apply(connection, ONE, TWO, THREE, to=ONE.version) == []


def test_to_an_unknown_version_is_refused(connection: Connection) -> None:
    error = refused(lambda: apply(connection, ONE, to="20990101000000"))
    assert (error.diagnostics[0].code, error.exit_code) == ("R006", Exit.INPUT)


def test_a_dry_run_tells_and_applies_nothing(connection: Connection) -> None:
    said: list[str] = []
    assert migrate(connection, [ONE, TWO], dry_run=True, report=said.append) == ()
    assert said == [
        f"would apply {ONE.file_name} (2 statements)",
        f"would apply {TWO.file_name} (1 statement)",
    ]
    assert status(connection, [ONE, TWO]).pending == (ONE, TWO)
    query = "select to_regnamespace('supabase_migrations')::text"
    assert connection.execute(query).fetchone() == (None,)


def test_progress_and_notices_are_reported(connection: Connection) -> None:
    said: list[str] = []
    noisy = migration(1, "do $$ begin raise notice 'hello'; end $$")
    migrate(connection, [noisy], report=said.append)
    assert said == ["notice: hello", f"applied {noisy.file_name}"]


@pytest.mark.parametrize("text", ["", "-- nothing here\n", "/* nothing */;\n;"])
def test_an_empty_file_is_recorded_without_statements(connection: Connection, text: str) -> None:
    assert apply(connection, migration(1, text)) == ["m1"]
    assert history(connection) == [(ONE.version, "m1", [])]
    assert apply(connection, migration(1, text)) == []


@pytest.mark.parametrize(
    "value", ["%", "%s", "%(x)s", "%%", "é 漢字 🦆", "a\\b", "a;b", "line\r\nend"]
)
def test_text_arrives_unchanged(connection: Connection, value: str) -> None:
    file = migration(1, f"create table t (v text); insert into t values ($x${value}$x$)")
    apply(connection, file)
    assert connection.execute("select v from t").fetchone() == (value,)
    assert status(connection, [file]).edited == ()


def test_dollar_quotes_and_atomic_bodies_stay_whole(connection: Connection) -> None:
    apply(
        connection,
        migration(
            1,
            """
            create function f() returns int language plpgsql as $f$ begin return 1; end; $f$;
            create function g() returns int begin atomic select 1; select 2; end;
            """,
        ),
    )
    assert connection.execute("select f(), g()").fetchone() == (1, 2)


def test_session_settings_end_with_their_file(connection: Connection) -> None:
    apply(
        connection,
        migration(1, "select set_config('search_path', '', false); set role anon"),
        migration(2, "create table two (id int)"),
    )
    query = "select current_user::text, current_setting('search_path') <> ''"
    assert connection.execute(query).fetchone() == ("postgres", True)
    assert tables(connection) == ["two"]


def test_a_lock_is_waited_for_ten_seconds(connection: Connection) -> None:
    apply(connection, migration(1, "create table t as select current_setting('lock_timeout')"))
    assert connection.execute("table t").fetchone() == ("10s",)


def test_a_file_may_set_its_own_lock_timeout(database: str, connection: Connection) -> None:
    apply(connection, ONE)
    with connect(database) as other, other.transaction():
        other.execute("lock table one")
        file = migration(2, "set local lock_timeout = '50ms'; drop table one")
        text = complaint(lambda: apply(connection, ONE, file))
    assert "R005" in text
    assert "lock timeout (SQLSTATE 55P03)" in text


def test_a_connection_without_autocommit_is_a_mistake(database: str) -> None:
    with (
        psycopg.connect(database) as connection,
        pytest.raises(ValueError, match="autocommit"),
    ):
        apply(connection, ONE)


# -- refusals -------------------------------------------------------------------------------------


def test_an_edited_file_is_refused_by_name(connection: Connection) -> None:
    apply(connection, ONE)
    edited = migration(1, ONE.text + "select 1;")
    text = complaint(lambda: apply(connection, edited, TWO))
    assert text.startswith(f"{edited.path}:1:1: error R002: {edited.file_name} was edited")
    assert tables(connection) == ["one"]


def test_a_deleted_file_is_refused_by_version(connection: Connection) -> None:
    apply(connection, ONE, TWO)
    assert complaint(lambda: apply(connection, TWO)).startswith(f"{ONE.version}: error R003")


def test_a_late_file_is_refused_by_name(connection: Connection) -> None:
    apply(connection, TWO)
    text = complaint(lambda: apply(connection, ONE, TWO))
    assert text.startswith(f"{ONE.path}:1:1: error R004: {ONE.file_name} is older")


def test_all_refusals_come_at_once(connection: Connection) -> None:
    apply(connection, ONE, THREE)
    error = refused(lambda: apply(connection, TWO, migration(3, "select 3")))
    assert [d.code for d in error.diagnostics] == ["R002", "R003", "R004"]
    assert error.exit_code == Exit.FINDINGS


def test_a_change_of_layout_around_statements_is_no_edit(connection: Connection) -> None:
    apply(connection, ONE)
    assert (
        status(connection, [migration(1, ONE.text.replace("\n", "\r\n\n") + "-- end")]).edited == ()
    )


# -- failures -------------------------------------------------------------------------------------

FAILING = migration(
    2,
    "create table half (id int);\n"
    "insert into half values (1);\n"
    "-- é\n"
    "  insert into half\n"
    "  select 'é', no_such_column from half;\n",
)


def test_a_failing_statement_is_shown_with_its_place(connection: Connection) -> None:
    error = refused(lambda: apply(connection, ONE, FAILING))
    text = str(error.diagnostics[0])
    assert text.startswith(
        f"{FAILING.path}:5:15: error R005: {FAILING.file_name} failed at statement 3 of 3: "
        'column "no_such_column" does not exist (SQLSTATE 42703)'
    )
    assert "statement: -- é insert into half select 'é', no_such_column from half" in text
    assert f"applied before it: {ONE.file_name}" in text
    assert error.exit_code == Exit.DATABASE


def test_a_failing_file_is_undone_and_earlier_ones_stay(connection: Connection) -> None:
    refused(lambda: apply(connection, ONE, FAILING))
    assert tables(connection) == ["one"]
    assert [row[1] for row in history(connection)] == ["m1"]


def test_an_error_without_position_is_shown_at_its_statement(connection: Connection) -> None:
    file = migration(
        1,
        "select 1;\n do $$\nbegin\n"
        "  raise 'no' using detail = 'so it is', hint = 'try', errcode = 'P0099';\nend $$",
    )
    text = complaint(lambda: apply(connection, file))
    assert text.startswith(f"{file.path}:2:2: error R005")
    assert "no (SQLSTATE P0099)" in text
    assert "detail: so it is" in text
    assert "hint: try" in text
    assert "inline_code_block line 3" in text


def test_a_constraint_that_fails_at_the_end_is_shown(connection: Connection) -> None:
    file = migration(
        1,
        "create table p (id int primary key);"
        "create table c (p int references p deferrable initially deferred);"
        "insert into c values (1)",
    )
    text = complaint(lambda: apply(connection, file))
    assert "R005" in text
    assert "SQLSTATE 23503" in text
    assert tables(connection) == []


def test_a_statement_that_cannot_run_in_a_transaction_is_explained(connection: Connection) -> None:
    text = complaint(
        lambda: apply(connection, ONE, migration(2, "create index concurrently i on one (id)"))
    )
    assert "(SQLSTATE 25001)" in text
    assert "fix: drop CONCURRENTLY" in text


def test_a_block_that_commits_is_explained(connection: Connection) -> None:
    text = complaint(lambda: apply(connection, migration(1, "do $$ begin commit; end $$")))
    assert "(SQLSTATE 2D000)" in text
    assert "fix: take COMMIT" in text


def test_a_statement_that_ends_the_transaction_is_found(connection: Connection) -> None:
    text = complaint(lambda: apply(connection, migration(1, "select 1;\ncommit")))
    assert text.startswith(f"{ONE.path}:2:1: error R008")
    assert connection.execute("select 1").fetchone() == (1,)


def test_a_copy_that_waits_for_data_does_not_hang(connection: Connection) -> None:
    file = migration(1, "create table t (id int); copy t from stdin")
    assert "error R005" in complaint(lambda: apply(connection, file))


def test_a_killed_session_leaves_nothing_behind(database: str, connection: Connection) -> None:
    pid = connection.info.backend_pid

    def kill() -> None:
        with connect(database) as other:
            busy = "select from pg_stat_activity where pid = %s and query like 'select pg_sleep%%'"
            while other.execute(busy, [pid]).fetchone() is None:
                time.sleep(0.02)
            other.execute("select pg_terminate_backend(%s)", [pid])

    file = migration(2, "create table half (id int);\nselect pg_sleep(60)")
    with ThreadPoolExecutor() as pool:
        killed = pool.submit(kill)
        text = complaint(lambda: apply(connection, ONE, file))
        killed.result()
    assert text.startswith(f"{file.path}:2:1: error P001")
    with connect(database) as other:
        assert tables(other) == ["one"]
        assert status(other, [ONE, file]).pending == (file,)


# -- several runners ------------------------------------------------------------------------------


def test_a_second_runner_waits_and_finds_nothing_to_do(database: str) -> None:
    slow = migration(1, "create table one (id int); select pg_sleep(0.5)")
    said: list[str] = []

    def run(_: int) -> list[str]:
        with connect(database) as connection:
            done = migrate(connection, [slow, TWO], report=said.append)
            return [m.name for m in done]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(4)))
    assert sorted(name for result in results for name in result) == ["m1", "m2"]
    assert said.count("waiting for another run to finish") >= 3
    assert said.count(f"{slow.file_name} was applied by another run") == 3


@pytest.mark.parametrize("setting", ["lock_timeout = '50ms'", "statement_timeout = '50ms'"])
def test_waiting_has_no_time_limit(database: str, connection: Connection, setting: str) -> None:
    connection.execute(f"set {setting}".encode())
    waiting = threading.Event()

    def report(line: str) -> None:
        if "waiting" in line:
            waiting.set()

    with ThreadPoolExecutor() as pool, connect(database) as other:
        with other.transaction():
            other.execute("select pg_advisory_xact_lock(%s)", [LOCK_KEY])
            result = pool.submit(lambda: migrate(connection, [TWO], report=report))
            assert waiting.wait(10)
            time.sleep(0.2)
        assert result.result(10) == (TWO,)


def test_what_another_runner_did_is_seen_under_repeatable_read(
    database: str, connection: Connection
) -> None:
    connection.execute("set default_transaction_isolation = 'repeatable read'")
    waiting = threading.Event()
    with ThreadPoolExecutor() as pool, connect(database) as other:
        apply(other, ONE)
        with other.transaction():
            other.execute("select pg_advisory_xact_lock(%s)", [LOCK_KEY])
            result = pool.submit(
                lambda: migrate(connection, [ONE, TWO], report=lambda _: waiting.set())
            )
            assert waiting.wait(10)
            other.execute(TWO.text.encode())
            other.execute(
                "insert into supabase_migrations.schema_migrations values (%s)", [TWO.version]
            )
        assert result.result(10) == ()


# -- the history of others ------------------------------------------------------------------------


def test_rows_of_the_supabase_cli_are_accepted(connection: Connection) -> None:
    for statement in CLI_TABLE:
        connection.execute(statement.encode())
    file = migration(1, "-- head\ncreate table one (id int) ;\n\nselect 1 -- x\n;\n-- the end\n")
    stored = ["-- head\ncreate table one (id int)", "select 1 -- x", "-- the end"]
    connection.execute(
        "insert into supabase_migrations.schema_migrations (version, name, statements)"
        " values (%s, %s, %s)",
        [file.version, "m1", stored],
    )
    assert status(connection, [file]).problems == ()
    assert apply(connection, file, TWO) == ["m2"]


def test_a_row_without_statements_cannot_be_called_edited(connection: Connection) -> None:
    for statement in CLI_TABLE:
        connection.execute(statement.encode())
    connection.execute(
        "insert into supabase_migrations.schema_migrations values ('20260101000001')"
    )
    assert status(connection, [ONE]).applied == (ONE,)
    assert status(connection, [ONE]).edited == ()


def test_missing_columns_are_added(connection: Connection) -> None:
    for statement in CLI_TABLE[:2]:
        connection.execute(statement.encode())
    connection.execute(
        "insert into supabase_migrations.schema_migrations values ('20260101000001')"
    )
    assert apply(connection, ONE, TWO) == ["m2"]
    assert history(connection) == [
        (ONE.version, None, None),
        (TWO.version, "m2", ["create table two (id int)"]),
    ]


def test_a_row_of_another_tool_may_have_more_columns(connection: Connection) -> None:
    for statement in CLI_TABLE:
        connection.execute(statement.encode())
    connection.execute("alter table supabase_migrations.schema_migrations add created_by text")
    assert apply(connection, ONE) == ["m1"]


@pytest.mark.parametrize(
    "definition",
    [
        "view supabase_migrations.schema_migrations as select ''::text as version",
        "table supabase_migrations.schema_migrations (id int)",
        "table supabase_migrations.schema_migrations (version bigint)",
        "table supabase_migrations.schema_migrations (version text, statements text)",
    ],
)
def test_a_history_table_of_another_shape_is_refused(
    connection: Connection, definition: str
) -> None:
    connection.execute("create schema supabase_migrations")
    connection.execute(f"create {definition}".encode())
    assert "error R007" in complaint(lambda: status(connection, [ONE]))


# -- status, read-only servers, privileges --------------------------------------------------------


def test_without_a_history_everything_is_pending(connection: Connection) -> None:
    found = status(connection, [TWO, ONE])
    assert (found.pending, found.applied, found.problems) == ((ONE, TWO), (), ())


@pytest.fixture
def read_only(database: str) -> Connection:
    with connect(database) as connection:
        apply(connection, ONE)
        name = identifier(connection.info.dbname)
        setting = f"alter database {name} set default_transaction_read_only = on"
        connection.execute(setting.encode())
    return connect(database)


def test_the_status_of_a_read_only_database_is_known(read_only: Connection) -> None:
    with read_only:
        assert status(read_only, [ONE, TWO]).pending == (TWO,)


def test_a_read_only_database_is_refused(read_only: Connection) -> None:
    with read_only:
        assert "error P004" in complaint(lambda: apply(read_only, ONE, TWO))


def test_a_read_only_database_without_pending_files_is_well(read_only: Connection) -> None:
    with read_only:
        assert apply(read_only, ONE) == []


def test_a_role_that_may_not_create_the_history_is_refused(
    server: EmbeddedServer, connection: Connection
) -> None:
    with connect(server.dsn("authenticator", connection.info.dbname)) as other:
        assert "error P009" in complaint(lambda: apply(other, ONE))


def test_a_role_that_may_not_read_the_history_is_refused(
    server: EmbeddedServer, connection: Connection
) -> None:
    apply(connection, ONE)
    with connect(server.dsn("authenticator", connection.info.dbname)) as other:
        assert "error P009" in complaint(lambda: status(other, [ONE]))
