"""Connecting to Postgres, and turning what psycopg raises into diagnostics.

No message made here contains a password.
"""

from __future__ import annotations

import difflib
import os
import re
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict

from codered_spec.errors import DatabaseError, Diagnostic

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT: Final = 10
"""Seconds, unless the connection string or ``PGCONNECT_TIMEOUT`` says otherwise."""

OLDEST_SERVER: Final = 15

_SECRET: Final = r"(?:password|sslpassword|oauth_client_secret|scram_client_key|scram_server_key)"
_QUERY_VALUE: Final = re.compile(r"(?<=[?&])([^=&]*)=[^&]*")
_HARMLESS: Final = frozenset(
    "host hostaddr port dbname user options sslmode sslnegotiation gssencmode connect_timeout"
    " application_name fallback_application_name target_session_attrs client_encoding".split()
)
_SECRET_IN_PAIRS: Final = re.compile(
    rf"(?<![^\s])({_SECRET})\s*=\s*(?:'(?:[^'\\]|\\.)*'?|(?:\\.|[^\s\\])*)", re.DOTALL
)
_URI: Final = re.compile(r"postgres(?:ql)?://")
_NOT_A_PORT: Final = re.compile(
    r"((?:\[[^\]]*\]|[^/?@:\[])*:)(?!\d*(?:[,/?]|$))[^/?]*"  # a password where the @ is missing
)
_VERSION: Final = re.compile(r"\d+(?:\.\d+)*(?:devel|beta\d+|rc\d+)?(?: |$)")
_PERCENT_ENCODE: Final = (
    "percent-encode the special characters of the password (@ is %40, / is %2F, : is %3A, % is %25)"
)


def connect(dsn: str, *, read_only: bool = False) -> Connection:
    """An autocommit connection that works through a pooler (no prepared statements, no ``SET``).

    ``read_only`` makes every ``connection.transaction()`` block a READ ONLY transaction; nothing
    is set for the session, because that would leak through a pooler in transaction mode. Raises
    :class:`DatabaseError`: P008 malformed ``dsn``, P001 no connection, P002 not a Postgres of at
    least version 15.
    """
    given = "connect_timeout" in _parse(dsn) or "PGCONNECT_TIMEOUT" in os.environ
    try:
        connection = psycopg.connect(
            dsn,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=None if given else CONNECT_TIMEOUT,
            fallback_application_name="codered-spec",
            client_encoding="UTF8",
        )
    except psycopg.ProgrammingError as exc:
        raise _malformed(dsn, str(exc)) from None
    except (psycopg.Error, UnicodeError, OSError) as exc:
        raise _unreachable(dsn, str(exc).strip()) from None
    if complaint := _unsupported(connection):
        connection.close()
        raise DatabaseError(complaint)
    connection.read_only = read_only or None
    return connection


def redact(dsn: str) -> str:
    """The connection string with every secret replaced by ``***``, also when it is malformed.

    >>> redact("postgresql://ada:s3cret@db.example.org/brain")
    'postgresql://ada:***@db.example.org/brain'
    """
    scheme = _URI.match(dsn)
    if scheme is None:
        if "://" in dsn:  # of some other program
            return dsn.partition("://")[0] + "://***"
        try:
            conninfo_to_dict(dsn)
        except (psycopg.Error, UnicodeError):
            return "***"  # who knows what is the password
        return _SECRET_IN_PAIRS.sub(r"\1=***", dsn)
    rest = dsn[scheme.end() :]
    userinfo, host = _split_userinfo(rest)
    if userinfo is None:
        shown, host = "", re.sub(rf"\A{_NOT_A_PORT.pattern}", r"\1***", host)
    else:
        user, colon, _ = userinfo.partition(":")
        shown = f"{user}:***@" if colon else f"{user}@"
    return scheme.group() + shown + _QUERY_VALUE.sub(_masked, host)


def _masked(match: re.Match[str]) -> str:
    """A parameter of a URI, its value hidden unless the name is known to be harmless."""
    return match.group() if match.group(1) in _HARMLESS else f"{match.group(1)}=***"


def database_error(exc: psycopg.Error, what: str) -> DatabaseError:
    """The error to raise for ``exc``; ``what`` says what was being done ("reading the catalog").

    P004 read-only, P009 no privilege, P001 connection lost, else P003.
    """
    said = describe(exc)
    if connection_lost(exc):
        code, fix = "P001", "look at the log of the server, then run the command again"
    elif exc.sqlstate == "25006":
        code, fix = "P004", "connect to the primary, with a role and settings that may write"
    elif exc.sqlstate == "42501":
        code = "P009"
        fix = "connect as the role that owns the objects (postgres on Supabase), or grant it"
    else:
        code = "P003"
        fix = f"look up SQLSTATE {exc.sqlstate or 'in the message'} and mend the input or database"
    return DatabaseError(Diagnostic(code, f"{what}: {said}", fix))


def connection_lost(exc: psycopg.Error) -> bool:
    """Whether the connection cannot be used any more."""
    if isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError) and exc.sqlstate is None:
        return True
    fatal = exc.diag.severity_nonlocalized in ("FATAL", "PANIC")
    return fatal or (exc.sqlstate or "")[:2] == "08" or exc.sqlstate in ("57P01", "57P02", "57P05")


def describe(exc: psycopg.Error) -> str:
    """What Postgres said: message, SQLSTATE, detail, hint and context, without the position."""
    diag = exc.diag
    message = diag.message_primary or str(exc).strip() or type(exc).__name__
    lines = [f"{message} (SQLSTATE {exc.sqlstate})" if exc.sqlstate else message]
    for title, text in (
        ("detail", diag.message_detail),
        ("hint", diag.message_hint),
        ("context", diag.context),
    ):
        if text:
            lines.append(f"    {title}: {text}")
    return "\n".join(lines)


def _split_userinfo(rest: str) -> tuple[str | None, str]:
    """``user:password`` and what follows.

    A password may hold any character, unescaped ones too, so that only the last @ surely ends it;
    rather too much is hidden than a part of it shown.
    """
    at = rest.find("@")
    if at < 0:
        return None, rest
    before = rest[:at]
    if "?" in before and not _NOT_A_PORT.match(rest):
        return None, rest  # the @ belongs to the query
    at = rest.rfind("@")
    return rest[:at], rest[at + 1 :]


def _parse(dsn: str) -> dict[str, Any]:
    if "\0" in dsn:
        raise _malformed(dsn, "it contains a NUL character")
    try:
        parsed = conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeError) as exc:
        raise _malformed(dsn, str(exc)) from None
    host, port = str(parsed.get("host", "")), str(parsed.get("port", ""))
    unescaped = "@" in host and not host.startswith(("/", "@"))
    userinfo = _split_userinfo(_URI.sub("", dsn, count=1))[0] or ""
    if unescaped or (_URI.match(dsn) and "/" in userinfo):
        raise _malformed(dsn, "the password contains @ or /")
    if not re.fullmatch(r"[0-9,]*", port):
        raise _malformed(dsn, "the port is not a number")
    return parsed


def _malformed(dsn: str, complaint: str) -> DatabaseError:
    # libpq quotes pieces of the string, which may be pieces of the password
    quoted = re.search(r"""(["'])(.*)\1""", complaint, re.DOTALL)
    fix = "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE or host=… user=… dbname=…"
    if quoted:
        complaint = complaint.replace(quoted.group(), '"***"')
        known = [option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()]
        if near := difflib.get_close_matches(quoted[2], known, n=1):
            fix = f"did you mean {near[0]}? {fix}"
    if _URI.match(dsn):
        fix += "; " + _PERCENT_ENCODE
    message = f"the connection string {redact(dsn)} is malformed: {complaint.strip()}"
    return DatabaseError(Diagnostic("P008", message, fix))


def _unreachable(dsn: str, complaint: str) -> DatabaseError:
    fixes = (
        ("password authentication failed", "check the user and the password"),
        ("no password supplied", "put the password into the string, PGPASSWORD or ~/.pgpass"),
        ("permission denied for database", "grant connect on the database to the role"),
        ("not permitted to log in", "alter role … login, or connect as another role"),
        ("database ", "check the name of the database, or create it"),
        ("role ", "check the name of the user"),
        ("resolve host", "check the name of the host and the network"),
        ("timeout expired", "check host, port and firewall, or raise connect_timeout"),
    )
    known = [
        fix
        for sign, fix in fixes
        if sign in complaint.partition("FATAL:")[2]
        or (sign in complaint and "FATAL:" not in complaint and not sign.endswith(" "))
    ]
    fix = known[0] if known else "check host and port, and whether the server runs"
    return DatabaseError(Diagnostic("P001", f"cannot connect to {redact(dsn)}: {complaint}", fix))


def _unsupported(connection: Connection) -> Diagnostic | None:
    info = connection.info
    version = info.parameter_status("server_version") or "of unknown version"
    other = info.parameter_status("crdb_version") or info.parameter_status("crate_version")
    if not other and _VERSION.match(version) and info.server_version >= OLDEST_SERVER * 10000:
        return None
    return Diagnostic(
        "P002",
        f"the server is {other or version}, not a Postgres of version {OLDEST_SERVER} or newer",
        f"use Postgres {OLDEST_SERVER} to 18; without --dsn and DATABASE_URL the embedded one runs",
    )
