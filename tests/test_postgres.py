"""The embedded server, with the real programs of the wheel."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from codered_spec import postgres, programs
from codered_spec.errors import DatabaseError
from codered_spec.postgres import SUPERUSER, EmbeddedServer

FAST = {"fsync": "off", "max_connections": "20", "shared_buffers": "16MB"}
CREATE_VECTOR = "create extension if not exists vector with schema extensions"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory outside of pytest's own, on whose permissions pytest has opinions."""
    with tempfile.TemporaryDirectory(prefix="codered-test-") as name:
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(folder / "state", FAST)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shared() -> Iterator[EmbeddedServer]:
    with tempfile.TemporaryDirectory(prefix="codered-test-") as name:
        server = EmbeddedServer(Path(name, "state"), FAST)
        server.start()
        yield server
        server.stop()


def query(
    server: EmbeddedServer, sql: str, role: str = "postgres", database: str = "postgres"
) -> str:
    dsn = server.dsn(role, database)
    command = server.psql_command(dsn, ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def postmaster(server: EmbeddedServer) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def socket_directory(server: EmbeddedServer) -> Path:
    return Path(parse_qs(urlsplit(server.dsn()).query)["host"][0])


# -- life cycle -----------------------------------------------------------------------------------


def test_making_the_object_touches_nothing(folder: Path) -> None:
    server = EmbeddedServer(folder / "state")
    assert not server.running()
    server.stop()
    assert list(folder.iterdir()) == []


def test_start_stop_and_start_again_keep_the_data(server: EmbeddedServer) -> None:
    server.start()
    assert server.running()
    pid = postmaster(server)
    server.start()
    assert postmaster(server) == pid
    query(server, "create table kept as select 1 as x")
    server.stop()
    assert not server.running()
    server.stop()
    server.start()
    assert query(server, "select x from kept") == "1"
    assert (server.state / ".gitignore").read_text() == "*\n"


def test_two_processes_start_at_once(folder: Path) -> None:
    code = textwrap.dedent(
        """
        import sys, pathlib
        from codered_spec.postgres import EmbeddedServer
        server = EmbeddedServer(pathlib.Path(sys.argv[1]), {"fsync": "off"})
        server.start()
        print((server.data / "postmaster.pid").read_text().split()[0])
        """
    )
    command = [sys.executable, "-c", code, str(folder / "state")]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        pids = {start.communicate(timeout=60)[0] for start in starts}
        assert len(pids) == 1
        assert {start.returncode for start in starts} == {0}
    finally:
        EmbeddedServer(folder / "state").stop()


def test_starts_again_after_a_kill(server: EmbeddedServer) -> None:
    server.start()
    query(server, "create table kept as select 1 as x")
    # a session that keeps its process busy while its postmaster dies
    sleeper = subprocess.Popen(
        server.psql_command(server.dsn(), ["-X", "-c", "select pg_sleep(600)"]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.kill(postmaster(server), signal.SIGKILL)
    while server.running():
        time.sleep(0.001)
    server.start()
    assert query(server, "select x from kept") == "1"
    sleeper.wait(timeout=10)


def test_a_left_over_pid_file_may_name_any_process(server: EmbeddedServer) -> None:
    server.start()
    left_over = (server.data / "postmaster.pid").read_text()
    server.stop()
    lines = left_over.splitlines()
    stranger = programs.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], server._account())
    try:
        lines[0] = stranger.stdout.strip()
        (server.data / "postmaster.pid").write_text("\n".join(lines) + "\n")
        assert not server.running()
        server.stop()
        server.start()
        assert postmaster(server) != int(lines[0])
    finally:
        os.kill(int(lines[0]), signal.SIGKILL)


def test_an_interrupted_creation_is_begun_again(server: EmbeddedServer) -> None:
    (server.state / "postgres.new" / "base").mkdir(parents=True)
    server.start()
    assert not (server.state / "postgres.new").exists()


def test_deleting_the_state_of_a_running_server(server: EmbeddedServer) -> None:
    server.start()
    pid = postmaster(server)
    shutil.rmtree(server.state)
    try:
        assert not server.running()
        server.start()
        assert query(server, "select 1") == "1"
    finally:
        os.kill(pid, signal.SIGQUIT)


@pytest.mark.parametrize(
    "name",
    ["x" * 120, "two words", "c:d", 'it\'s, a "quoted" \\ $HOME `id` %d @ été'],
    ids=["long", "space", "colon", "special"],
)
def test_unusual_paths(folder: Path, name: str) -> None:
    server = EmbeddedServer(folder / name, FAST)
    server.start()
    try:
        query(server, CREATE_VECTOR)
        assert len(bytes(socket_directory(server) / ".s.PGSQL.5432")) <= 103
    finally:
        server.stop()
    assert not socket_directory(server).exists()


def test_socket_is_found_whatever_the_temporary_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedServer(folder / ("x" * 120), FAST)
    server.start()
    try:
        (folder / "tmp").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        assert server.running()
        assert query(server, "select 1") == "1"
    finally:
        monkeypatch.undo()
        server.stop()


# -- the stand-in of a Supabase project -----------------------------------------------------------


def test_migrations_run_as_no_superuser(shared: EmbeddedServer) -> None:
    rights = (
        "select rolsuper, rolcreatedb, rolcreaterole, rolbypassrls from pg_roles where rolname="
    )
    assert query(shared, f"{rights} current_user") == "f|t|t|t"
    assert query(shared, f"{rights} current_user", SUPERUSER).startswith("t")


def test_settings(shared: EmbeddedServer) -> None:
    names = ["server_encoding", "timezone", "listen_addresses", "fsync", "server_version_num"]
    values = [query(shared, f"show {name}") for name in names]
    assert values[:4] == ["UTF8", "UTC", "", "off"]
    assert values[4].startswith("18")
    locale = "select datlocprovider, datlocale from pg_database where datname = 'postgres'"
    assert query(shared, locale) == "b|C.UTF-8"


def test_pgvector_in_the_prepared_and_in_a_new_database(shared: EmbeddedServer) -> None:
    query(shared, "create database fresh")
    for database in ("postgres", "fresh"):
        query(shared, CREATE_VECTOR, database=database)
        distance = "select '[1,0]'::extensions.vector OPERATOR(extensions.<=>) '[0,1]'"
        assert query(shared, distance, database=database) == "1"
        owner = "select extowner::regrole from pg_extension where extname = 'vector'"
        assert query(shared, owner, database=database) == "postgres"
    query(shared, "create database clone template fresh")
    query(shared, "drop extension vector", database="clone")
    query(shared, CREATE_VECTOR, database="clone")


def test_only_pgvector_became_trusted(shared: EmbeddedServer) -> None:
    command = shared.psql_command(shared.dsn(), ["-X", "-c", "create extension file_fdw"])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "permission denied" in done.stderr


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_claims_of_the_request(shared: EmbeddedServer, database: str) -> None:
    claims = (
        """set request.jwt.claims = '{"sub": "00000000-0000-0000-0000-000000000001", """
        """"role": "authenticated", "email": "a@example.com"}'; set role authenticated; """
    )
    read = "select auth.uid(), auth.role(), auth.email(), auth.jwt() ->> 'sub'"
    one = "00000000-0000-0000-0000-000000000001"
    assert query(shared, claims + read, database=database).endswith(
        f"{one}|authenticated|a@example.com|{one}"
    )
    assert query(shared, read, database=database) == "|||"


def test_the_stand_in_may_be_repeated(shared: EmbeddedServer) -> None:
    shared.create_stand_in("postgres")


def test_dsn_quotes(shared: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    query(shared, 'create database "a/b ?%c&d"')
    assert query(shared, "select current_database()", database="a/b ?%c&d") == "a/b ?%c&d"


# -- who may do what ------------------------------------------------------------------------------


def test_nothing_but_the_owner_gets_in(shared: EmbeddedServer) -> None:
    directory = socket_directory(shared)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.log.stat().st_mode) == 0o600
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 5432)) != 0


@as_root
def test_another_user_cannot_connect(shared: EmbeddedServer) -> None:
    nobody = programs.Account(65534, 65534)
    done = programs.run(shared.psql_command(shared.dsn(), ["-X", "-c", "select 1"]), nobody)
    assert "Permission denied" in done.stderr


@as_root
def test_below_a_closed_directory_only_search_is_granted(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedServer(closed / "state", FAST)
    server.start()
    server.stop()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
    assert server.data.stat().st_uid not in (0, closed.stat().st_uid)


@as_root
def test_programs_that_only_root_may_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an installation by root with umask 077."""
    package = programs.find_programs().parents[1]
    for original in (package, *package.parent.glob(f"{package.name}.libs")):
        shutil.copytree(original, folder / "site" / original.name, symlinks=True)
    subprocess.run(["chmod", "-R", "go=", str(folder / "site")], check=True)
    monkeypatch.setattr(sys, "path", [str(folder / "site")])
    server = EmbeddedServer(folder / "state", FAST)
    server.start()
    assert server.psql_command("")[0].startswith(str(folder))
    query(server, CREATE_VECTOR)
    server.stop()
    assert stat.S_IMODE((folder / "site").stat().st_mode) == 0o701


@as_root
def test_data_of_another_user_stay_theirs(folder: Path, shared: EmbeddedServer) -> None:
    assert shared.running()  # so the programs are open to other users
    os.chown(folder, 65534, 65534)
    code = f"""
        import os, pathlib
        from codered_spec import postgres
        # a Python below /root has nothing to read any more for another user
        wheel, text = postgres.find_programs(), postgres._stand_in()
        postgres.find_programs, postgres._stand_in = lambda: wheel, lambda: text
        os.setgroups([]), os.setgid(65534), os.setuid(65534)
        server = postgres.EmbeddedServer(pathlib.Path({str(folder / "state")!r}), {FAST!r})
        server.start()
        assert server.running()
        server.stop()
        assert not server.running()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    server = EmbeddedServer(folder / "state", FAST)
    server.start()
    server.stop()
    assert server.data.stat().st_uid == 65534


@as_root
def test_a_tree_given_to_root_is_given_back(server: EmbeddedServer) -> None:
    server.start()
    server.stop()
    subprocess.run(["chown", "-R", "0:0", str(server.state)], check=True)
    server.start()
    assert server.data.stat().st_uid != 0


@as_root
def test_no_useradd(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(programs, "SYSTEM_USER", "codered-test-nobody")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(DatabaseError, match="there is no useradd") as caught:
        EmbeddedServer(folder / "state", FAST).start()
    assert caught.value.diagnostics[0].code == "P007"


# -- complaints -----------------------------------------------------------------------------------


def test_the_wheel_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "WHEEL", "no_such_wheel")
    with pytest.raises(DatabaseError, match=r"pip install 'codered-spec\[embedded\]'") as caught:
        EmbeddedServer(folder / "state").start()
    assert caught.value.diagnostics[0].code == "P006"
    assert list(folder.iterdir()) == []


def test_a_failing_start_shows_the_log(folder: Path) -> None:
    server = EmbeddedServer(folder / "state", {**FAST, "shared_buffers": "many"})
    with pytest.raises(DatabaseError, match="invalid value for parameter") as caught:
        server.start()
    assert caught.value.diagnostics[0].code == "P007"
    assert not server.running()


def test_the_state_is_no_directory(folder: Path) -> None:
    (folder / "state").write_text("")
    with pytest.raises(DatabaseError, match="File exists") as caught:
        EmbeddedServer(folder / "state").start()
    assert caught.value.diagnostics[0].code == "P007"


def test_a_setting_has_a_name() -> None:
    with pytest.raises(ValueError, match="not a Postgres setting"):
        EmbeddedServer(Path("state"), {"fsync = off #": ""})


def test_another_process_holds_the_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(postgres, "TIMEOUT", 0.05)
    (folder / "state").mkdir()
    with (folder / "state" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = time.monotonic()
        with pytest.raises(DatabaseError, match="another process holds the lock"):
            EmbeddedServer(folder / "state").start()
    assert time.monotonic() - started < 5
