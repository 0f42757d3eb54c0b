"""One embedded server for a whole test run, and a fresh database for every test that asks for one.

The workers of xdist share the server: the first that needs it starts it, the process that began
the run stops it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from codered_spec.connection import connect
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sql import identifier

STATE = "CODERED_TEST_STATE"
TEMPLATE = "codered_template"
TEMPLATE_LOCK = 4711
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
}


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # not in a worker of xdist; these inherit the variable
        os.environ[STATE] = tempfile.mkdtemp(prefix="codered-test-")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        state = Path(os.environ.pop(STATE))
        EmbeddedServer(state).stop()
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> EmbeddedServer:
    """The running server of this test run."""
    server = EmbeddedServer(Path(os.environ[STATE]), SETTINGS)
    server.start()
    return server


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> str:
    """The name of the database that ``database`` copies."""
    with connect(server.dsn()) as connection:
        connection.execute("select pg_advisory_lock(%s)", [TEMPLATE_LOCK])
        known = "select from pg_database where datname = %s"
        if connection.execute(known, [TEMPLATE]).fetchone() is None:
            connection.execute(f"create database {identifier(TEMPLATE)}".encode())
    return TEMPLATE


@pytest.fixture
def database(server: EmbeddedServer, template: str) -> Iterator[str]:
    """The DSN of a fresh database that the role ``postgres``, no superuser, owns."""
    name = f"test_{uuid.uuid4().hex}"
    with connect(server.dsn()) as connection:
        create = f"create database {identifier(name)} template {identifier(template)}"
        connection.execute(create.encode())
    yield server.dsn(database=name)
    with connect(server.dsn(SUPERUSER)) as connection:  # autovacuum may be at work in it
        connection.execute(f"drop database {identifier(name)} with (force)".encode())


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """An open connection to ``database``."""
    with connect(database) as connection:
        yield connection
