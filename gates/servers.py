"""What the gates share: commands with a time limit, Debian packages, clusters, steps.

Everything here raises :class:`Failed` with a message that a person can act on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import psycopg

from codered_spec.errors import CoderedError
from codered_spec.postgres import SUPERUSER
from codered_spec.programs import PORT, Account, system_account

ROOT: Final = Path(__file__).resolve().parents[1]
"""The project."""

_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "timezone": "UTC",
    "log_timezone": "UTC",
    "fsync": "off",
}
_SHOWN: Final = 30
"""Lines of output that a failure shows."""


class Failed(Exception):  # noqa: N818 - the word that is printed
    """A step of a gate failed; the message says why."""


# ---- commands -----------------------------------------------------------------------------------


def command(
    args: Sequence[str | Path],
    *,
    seconds: float = 300,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    text: str = "",
    account: Account | None = None,
    codes: Sequence[int] = (0,),
    bare: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command and return it when it ended with one of ``codes``.

    ``env`` is added to the caller's environment or, if ``bare``, all that it gets; ``text`` is its
    input, ``account`` who runs it (``None``: as the caller). It is killed with all its children
    after ``seconds``.
    """
    words = [str(arg) for arg in args]
    name = Path(words[0]).name
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            process = subprocess.Popen(
                words,
                cwd=cwd,
                env={**({} if bare else os.environ), **(env or {})},
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except OSError as exc:
            raise Failed(f"{name} cannot be run: {exc}") from None
        late = False
        try:
            process.communicate(text, timeout=seconds)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        err.seek(0)
        done = subprocess.CompletedProcess(words, process.returncode, out.read(), err.read())
    if late:
        raise Failed(f"{name} did not end within {seconds:g} s{_tail(done)}")
    if done.returncode not in codes:
        raise Failed(f"{name} ended with code {done.returncode}{_tail(done)}")
    return done


def _tail(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return "".join(f"\n    | {line}" for line in lines[-_SHOWN:])


def codered(
    *args: str, dsn: str, codes: Sequence[int] = (0,), env: Mapping[str, str] | None = None
) -> str:
    """What `codered-spec ARGS` prints for the database ``dsn``, run in the project."""
    tool = [sys.executable, "-m", "codered_spec", *args]
    variables = {"DATABASE_URL": dsn, **(env or {})}
    return command(tool, env=variables, cwd=ROOT, codes=codes).stdout


def find_program(name: str, advice: str, *places: Path) -> str:
    """Where a program is: on the path or in one of ``places``; ``advice`` says how to get it."""
    for place in (None, *places):
        if found := shutil.which(name, path=str(place) if place else None):
            return found
    raise Failed(f"{name} is missing: {advice}")


# ---- Debian packages ----------------------------------------------------------------------------


def apt_candidate(package: str) -> bool:
    """Whether Debian's registry, as this machine knows it, has the package."""
    if not shutil.which("apt-cache"):
        return False
    said = command(["apt-cache", "policy", package], env={"LC_ALL": "C"}).stdout
    return "Candidate:" in said and "Candidate: (none)" not in said


def apt_install(*packages: str) -> None:
    """Install the missing ones of the packages; needs Debian and, if any is missing, root."""
    missing = [package for package in packages if not _installed(package)]
    if not missing:
        return
    names = " ".join(missing)
    if not shutil.which("apt-get"):
        raise Failed(f"this step needs Debian with the packages {names}")
    if os.geteuid() != 0:
        raise Failed(f"packages are missing; as root: apt-get install {names}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    try:
        command(install, seconds=600, env=quiet)
    except Failed:  # the lists may be too old
        command(["apt-get", "update", "-q"], seconds=600, env=quiet)
        command(install, seconds=600, env=quiet)


def _installed(package: str) -> bool:
    if not shutil.which("dpkg-query"):
        return False
    ask = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return command(ask, codes=(0, 1)).stdout == "installed"


# ---- clusters -----------------------------------------------------------------------------------


@contextlib.contextmanager
def debian_postgres(
    folder: Path, *, major: int = 15, settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A fresh cluster of Debian's Postgres while the block runs; see :func:`cluster`.

    The package of the server is installed if it is missing.
    """
    apt_install(f"postgresql-{major}")
    with cluster(Path(f"/usr/lib/postgresql/{major}/bin"), folder, settings=settings) as dsn:
        yield dsn


@contextlib.contextmanager
def cluster(
    programs: Path,
    folder: Path,
    *,
    settings: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A fresh cluster from the directory ``programs`` while the block runs.

    Gives the DSN of the superuser ``supabase_admin`` and the database ``postgres``; there is no
    role ``postgres`` until somebody creates it, and no password. Data, socket and log are in
    ``folder``, which is created, must be fresh and may be in a private directory; it stays. The
    server listens on a socket only. Started by root it runs as an unprivileged user. ``env`` is
    added to the bare environment of the server's programs.
    """
    if not (programs / "initdb").exists():
        raise Failed(f"there is no initdb in {programs}")
    account = unprivileged()
    folder.mkdir(parents=True)
    data, log = folder / "data", folder / "log"
    runtime = Path(tempfile.mkdtemp(prefix="gate-"))  # a socket's path must be short
    try:
        if account:
            for place in (folder, runtime):
                os.chown(place, account.uid, account.gid)
                account.allow_way_to(place / "anything")
        options: list[str | Path] = [
            "-U",
            SUPERUSER,
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]
        options += ["--auth-local=trust", "--auth-host=reject", "--pgdata", str(data)]
        _program([programs / "initdb", *options], account, env)
        wanted = {**_SETTINGS, "unix_socket_directories": str(runtime), **(settings or {})}
        with (data / "postgresql.conf").open("a") as config:
            for name, value in wanted.items():
                escaped = value.replace("'", "''")
                config.write(f"{name} = '{escaped}'\n")
        control: list[str | Path] = [programs / "pg_ctl", "--pgdata", str(data), "-w", "-t", "60"]
        try:
            _start([*control, "--log", str(log), "start"], log, account, env)
            yield socket_dsn(runtime)
        finally:
            if (data / "postmaster.pid").exists():
                _program([*control, "-m", "immediate", "stop"], account, env)
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def socket_dsn(
    runtime: Path, *, role: str = SUPERUSER, database: str = "postgres", port: int = PORT
) -> str:
    """The DSN of a role at the socket in the directory ``runtime``."""
    query = urlencode({"host": str(runtime), "port": port}, quote_via=quote, safe="/")
    return f"postgresql://{quote(role, safe='')}@/{quote(database, safe='')}?{query}"


def unprivileged() -> Account | None:
    """Who runs servers: a system user if the caller is root, else the caller (``None``)."""
    try:
        return system_account() if os.geteuid() == 0 else None
    except CoderedError as exc:
        raise Failed(str(exc)) from None


def _start(
    words: Sequence[str | Path], log: Path, account: Account | None, env: Mapping[str, str] | None
) -> None:
    try:
        _program(words, account, env)
    except Failed as exc:
        said = log.read_text(errors="replace").splitlines() if log.exists() else []
        raise Failed("\n    | ".join([str(exc), *said[-_SHOWN:]])) from None


def _program(
    words: Sequence[str | Path], account: Account | None, env: Mapping[str, str] | None
) -> None:
    """Run a program of the server with nothing of the caller's environment but the path."""
    bare = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **(env or {})}
    command(words, env=bare, bare=True, account=account, cwd=Path("/"))


# ---- steps --------------------------------------------------------------------------------------


class Steps:
    """The steps of a gate; each prints one line with its result."""

    def __init__(self) -> None:
        self.failed = 0

    def run(self, name: str, act: Callable[[], str]) -> bool:
        """Run a step, which gives its result or raises; say whether it went well."""
        start = time.monotonic()
        try:
            result, word = act(), "ok"
        except (Failed, CoderedError, psycopg.Error) as exc:
            result, word = str(exc).strip(), "FAILED"
        except (LookupError, OSError, TypeError, ValueError) as exc:
            result, word = f"{type(exc).__name__}: {exc}", "FAILED"
        self.failed += word != "ok"
        self._say(word, name, f"{result} ({time.monotonic() - start:.1f} s)")
        return word == "ok"

    def skip(self, *names: str) -> None:
        """Count steps as failed that cannot run because an earlier one failed."""
        for name in names:
            self._say("FAILED", name, "not run, as a step before it failed")
            self.failed += 1

    @staticmethod
    def _say(word: str, name: str, result: str) -> None:
        sys.stdout.write(f"{word:<7} {name:<18} {result}\n")
        sys.stdout.flush()
