"""Connecting: every failure is a diagnostic, and no diagnostic shows a password."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codered_spec.connection import connect, database_error, redact
from codered_spec.errors import DatabaseError
from codered_spec.postgres import EmbeddedServer

SECRET = "hunter2-geheim"


def complaint(dsn: str) -> str:
    with pytest.raises(DatabaseError) as caught:
        connect(dsn)
    assert caught.value.__cause__ is None
    (diagnostic,) = caught.value.diagnostics
    return str(diagnostic)


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://ada:{SECRET}@127.0.0.1:1/brain",
        f"postgresql://ada:{SECRET}@no-such-host.invalid/brain",
        f"host=/no/such/folder user=ada password={SECRET}",
        f"postgresql:///brain?host=/no/such/folder&password={SECRET}",
    ],
)
def test_an_unreachable_server_is_a_diagnostic_without_the_password(dsn: str) -> None:
    text = complaint(dsn)
    assert "error P001: cannot connect to" in text
    assert "geheim" not in text


@pytest.mark.parametrize(
    "dsn",
    [
        SECRET,
        f"http://ada:{SECRET}@host/db",
        f"host=h password='{SECRET}",
        f"host=h password={SECRET} hots=x",
        f"host=h password=x {SECRET}",
        f"host=h password={SECRET} port=abc",
        f"host=h password={SECRET} connect_timeout=abc",
        f"postgresql://ada:{SECRET}@host:port/db",
        f"postgresql://ada:a/{SECRET}@host/db",
        f"postgresql://ada:1/{SECRET}@host/db",
        f"postgresql://ada:a@{SECRET}@host/db",
        f"postgresql://ada:%zz{SECRET}@host/db",
        f"postgresql://ada:{SECRET}@host/db?nope=1",
        f"postgresql://ada:{SECRET}",
        f"host=h password={SECRET}\0",
    ],
)
def test_a_malformed_string_is_a_diagnostic_without_the_password(dsn: str) -> None:
    text = complaint(dsn)
    assert "error P008" in text
    assert "geheim" not in text


@pytest.mark.parametrize("dsn", ["hots=x", "postgresql:///d?hots=x"])
def test_a_misspelt_option_is_corrected(dsn: str) -> None:
    assert "fix: did you mean host?" in complaint(dsn)


def test_a_database_that_does_not_exist_is_named(server: EmbeddedServer) -> None:
    text = complaint(server.dsn(database="nowhere") + f"&password={SECRET}")
    assert 'database "nowhere" does not exist' in text
    assert "fix: check the name of the database" in text
    assert "geheim" not in text


def test_a_role_that_does_not_exist_is_named(server: EmbeddedServer) -> None:
    assert "fix: check the name of the user" in complaint(server.dsn("nobody"))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_server_that_does_not_answer_times_out(silent_port: int) -> None:
    text = complaint(f"host=127.0.0.1 port={silent_port} connect_timeout=2")
    assert "error P001" in text
    assert "timeout" in text


def test_a_connection_commits_every_statement(server: EmbeddedServer) -> None:
    with connect(server.dsn()) as connection:
        assert connection.autocommit
        assert connection.prepare_threshold is None


def test_a_connection_says_who_it_is(server: EmbeddedServer) -> None:
    with connect(server.dsn()) as connection:
        query = "select current_setting('application_name')"
        assert connection.execute(query).fetchone() == ("codered-spec",)


def test_the_transactions_of_a_read_only_connection_cannot_write(server: EmbeddedServer) -> None:
    with (
        connect(server.dsn(), read_only=True) as connection,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
        connection.transaction(),
    ):
        connection.execute("create table t (id int)")


def test_a_server_that_is_no_postgres_is_refused(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codered_spec.connection.OLDEST_SERVER", 99)
    assert "error P002: the server is 18." in complaint(server.dsn())


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("select 1/0", "P003"),
        ("create table pg_catalog.t (id int)", "P009"),
        ("select pg_terminate_backend(pg_backend_pid())", "P001"),
        ("begin read only; create table t (id int)", "P004"),
    ],
)
def test_errors_of_statements_have_a_code(
    server: EmbeddedServer, statement: str, code: str
) -> None:
    connection = connect(server.dsn())
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    connection.close()
    diagnostic = database_error(caught.value, "doing it").diagnostics[0]
    assert diagnostic.code == code
    assert diagnostic.message.startswith("doing it: ")


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        (
            "postgresql://u:p@h:5432/d?sslmode=require",
            "postgresql://u:***@h:5432/d?sslmode=require",
        ),
        ("postgres://u:p@h,i:1/d", "postgres://u:***@h,i:1/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        (
            "postgresql:///d?host=/run&password=p&user=u",
            "postgresql:///d?host=/run&password=***&user=u",
        ),
        ("postgresql://h/d?options=a@b", "postgresql://h/d?options=a@b"),
        ("postgresql://u:p@h?options=a@b", "postgresql://u:***@b"),
        ("postgresql://u:a@/b@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:a@b@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:a/b@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:a?b@h/d", "postgresql://u:***@h/d"),
        ("host=h password=p user=u", "host=h password=*** user=u"),
        (r"host=h password = 'a \' b' user=u", "host=h password=*** user=u"),
        ("postgresql://[::1]:5432/d", "postgresql://[::1]:5432/d"),
        ("postgresql://u:p@[::1]/d", "postgresql://u:***@[::1]/d"),
        ("host=h sslpassword=p", "host=h sslpassword=***"),
        ("host=h dbname=password", "host=h dbname=password"),
    ],
)
def test_passwords_are_redacted(dsn: str, shown: str) -> None:
    assert redact(dsn) == shown


SECRETS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12)


@example("@/")
@example("@?")
@given(SECRETS)
def test_no_password_of_a_uri_is_ever_shown(secret: str) -> None:
    assert "Q7Z" not in redact(f"postgresql://ada:x{secret}Q7Z@db.example.org/brain")
