"""Passwords and keys: in no output, no file, no process that a command starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from usage_rows import prepare

from codered_spec.cli import main
from codered_spec.connection import Connection
from codered_spec.postgres import EmbeddedServer

Output = pytest.CaptureFixture[str]

ROOT = Path(__file__).resolve().parent.parent
SECRET = "s3cret"
ONLINE = (
    ("introspect",),
    ("status",),
    ("migrate", "--dry-run"),
    ("migrate",),
    ("verify",),
    ("verify", "--data"),
    ("usage", "--by", "project"),
    ("export", "--parquet", "out", "--replace"),
    ("contract", "llm_providers", "--rows", "2"),
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own in the current folder, which the embedded server may enter."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "migrations", root / "migrations")
    shutil.copyfile(ROOT / "schema.yaml", root / "schema.yaml")
    monkeypatch.chdir(root)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return root


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The command line and the environment of every process that is started, as text."""
    processes: list[tuple[str, str]] = []
    popen = subprocess.Popen

    def recorded(args: Any, *more: Any, **options: Any) -> Any:
        processes.append((repr(args), repr(options.get("env"))))
        return popen(args, *more, **options)

    monkeypatch.setattr(subprocess, "Popen", recorded)
    return processes


def found_in_files(folder: Path, *secrets: str) -> list[str]:
    return [
        f"{path}: {secret}"
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
        for secret in secrets
        if secret.encode() in path.read_bytes()
    ]


def test_no_command_shows_or_keeps_a_password_or_key(
    project: Path,
    connection: Connection,
    started: list[tuple[str, str]],
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server trusts whoever reaches its socket, so that any password works."""
    info = connection.info
    dsn = f"postgresql://postgres:{SECRET}@/{info.dbname}?host={info.host}&port={info.port}"
    monkeypatch.setenv("DATABASE_URL", dsn)
    said = ""
    assert main(["migrate"]) == 0
    keys = connection.execute(
        "select array[id, inner_a, inner_b, outer_a, outer_b]::text[] from codered.access_keys"
    ).fetchall()
    secrets = [SECRET, *(text for (row,) in keys for text in row)]
    assert len(secrets) == 6
    for arguments in ONLINE:
        for options in ([], ["--json"], ["-v"]):
            assert main([*arguments, *options]) == 0, arguments
            said += "".join(capsys.readouterr())
    connection.execute("alter table codered.llm_usage_daily rename to other")
    connection.execute("alter table codered.access_keys drop column inner_a")
    (project / "migrations" / "20270101000000_wrong.sql").write_text("select 1 / 0;\n")
    for arguments in ONLINE[1:]:
        for options in ([], ["--json"], ["-v"]):
            assert main([*arguments, *options]) in (0, 1, 3), arguments
            said += "".join(capsys.readouterr())
    assert len(said) > 10_000
    assert "R005" in said
    assert [secret for secret in secrets if secret in said] == []
    assert found_in_files(project, *secrets) == []
    assert started == []
    activity = "select string_agg(application_name || query, '') from pg_stat_activity"
    assert SECRET not in str(connection.execute(activity).fetchone())


def test_what_is_verified_of_the_keys_is_their_table(
    connection: Connection, database: str, capsys: Output
) -> None:
    """A difference in the very table of the keys shows no key."""
    prepare(connection)
    connection.execute("alter table codered.access_keys add column note text default 'x'")
    (keys,) = connection.execute(
        "select array[id, inner_a, inner_b, outer_a, outer_b]::text[] from codered.access_keys"
    ).fetchone() or ([],)
    assert len(keys) == 5
    assert main(["verify", "--spec", str(ROOT / "schema.yaml"), "--dsn", database]) == 1
    said = "".join(capsys.readouterr())
    assert "access_keys.note" in said
    assert [key for key in keys if key in said] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--dsn", f"postgresql://ada:{SECRET}@h/d", "verify"),
        ("--dsn", f"postgresql://ada:x y{SECRET}@h/d", "verify"),
        ("--dsn", f"postgresql://ada:x'\"{SECRET}@h/d", "verify"),
        ("--dsn", f"postgresql://h/d?sslpassword={SECRET}", "verify"),
        ("--dsn", f"host=h password='x {SECRET}'", "verify"),
        ("--dsn", f"host=h password = {SECRET}", "verify"),
        ("--dsn", f"host=h oauth_client_secret={SECRET} user=u", "verify"),
        ("--dsn", f"host=h scram_client_key={SECRET} user=u", "verify"),
        ("verify", f"PASSWORD={SECRET}"),
        ("usage", "--by", f"host=h password='{SECRET}'"),
        ("contract", "--rows", f"postgresql://ada:{SECRET}@h/d"),
        ("db", "url", f"postgresql://ada:{SECRET}@h/d"),
    ],
)
def test_a_connection_string_in_a_wrong_place_is_not_repeated(
    arguments: tuple[str, ...], capsys: Output
) -> None:
    assert main([*arguments]) == 2
    said = "".join(capsys.readouterr())
    assert "error C001: " in said
    assert SECRET not in said


def processes_with(secret: str) -> list[str]:
    """The command lines of this machine that contain a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if secret in text:
            found.append(text)
    return found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="command lines are read from /proc")
def test_while_it_runs_no_command_line_shows_the_password(
    project: Path, connection: Connection
) -> None:
    info = connection.info
    dsn = f"postgresql://postgres:{SECRET}@/{info.dbname}?host={info.host}&port={info.port}"
    (project / "migrations" / "20200101000000_wait.sql").write_text("select pg_sleep(1.5);\n")
    waiting = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'"
    command = [sys.executable, "-m", "codered_spec", "migrate", "--to", "20200101000000"]
    environment = {**os.environ, "DATABASE_URL": dsn}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while connection.execute(waiting).fetchone() == (0,) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert connection.execute(waiting).fetchone() == (1,)
        assert processes_with("codered_spec migrate") != []
        assert processes_with(SECRET) == []
    assert process.returncode == 0


def test_the_embedded_server_and_its_programs_do_not_get_the_callers_secrets(
    project: Path,
    started: list[tuple[str, str]],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ada:{SECRET}@127.0.0.1:1/brain")
    monkeypatch.setenv("PGPASSWORD", SECRET)
    server = EmbeddedServer(project / ".codered")
    try:
        for arguments in (
            ["db", "start"],
            ["db", "url"],
            ["db", "psql", "-X", "-c", "select 40 + 2"],
            ["db", "stop"],
        ):
            assert main(arguments) == 0
        texts = "".join(capfd.readouterr())
        assert "42" in texts
        assert SECRET not in texts
        commands = [command for command, _ in started]
        assert [command for command in commands if "pg_ctl" in command] != []
        assert [command for command in commands if SECRET in command] == []
        (psql,) = (command for command in commands if "select 40 + 2" in command)
        assert "postgresql://" not in psql
        # psql is the caller's own program, everything else is the server's
        passed = [command for command, environment in started if SECRET in environment]
        assert passed == [psql]
        assert found_in_files(project, SECRET) == []
    finally:
        server.stop()
