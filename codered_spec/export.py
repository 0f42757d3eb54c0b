"""The runs of agents and their usage as Parquet files, proved to hold what the database holds.

Made for the schema of CodeRed alone. Everything comes from one snapshot. Postgres sends the rows of
a month as CSV, in order of time; DuckDB turns every part of it into a file. Afterwards the files
are read back: for each month, the number of rows, the exact sum of every column of numbers and a
checksum of all values must be those that Postgres worked out. Only then does the folder appear
under its name.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Final, TypeAlias

from codered_spec.connection import Connection
from codered_spec.errors import DatabaseError, Diagnostic, FindingsError, InputError
from codered_spec.sql import identifier, literal
from codered_spec.usage import (
    DAILY,
    RUNS,
    SCHEMA,
    WINDOWS,
    partly_hidden,
    require_tables,
    snapshot,
)

Duck: TypeAlias = Any  # a connection of DuckDB, whose package is optional

TABLES: Final = {RUNS: "created_at", DAILY: "date", WINDOWS: "window_start"}
"""The tables, and the column whose month, in UTC, says where a row goes."""

MANIFEST: Final = "manifest.json"
PART_ROWS: Final = 100_000
PART_BYTES: Final = 24_000_000
"""A file ends after so many rows, or so many bytes of CSV: it is made in memory."""

_MEMORY: Final = 128_000_000  # for DuckDB
_FORMAT: Final = "codered-spec export 1"


# ---- columns ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """A column here and there; a text between them says its value exactly.

    Each expression has ``{}`` for the column.
    """

    name: str
    type: str
    to_text: str
    from_text: str
    back: str
    """From the type in DuckDB to the text again."""
    number: bool = False

    @property
    def quoted(self) -> str:
        """The name as both Postgres and DuckDB read it."""
        return '"' + self.name.replace('"', '""') + '"'

    def sent(self) -> str:
        return self.to_text.format(self.quoted)

    def stored(self) -> str:
        return f"{self.from_text.format(self.quoted)} as {self.quoted}"


def _column(name: str, type_: str) -> _Column:
    """The column of a type as Postgres prints it. What has no like in DuckDB stays text."""
    if type_ == "timestamp with time zone":
        sent = "(extract(epoch from {}) * 1000000)::bigint::text"
        back = "epoch_us({})::varchar"
        return _Column(name, "TIMESTAMPTZ", sent, "make_timestamptz({}::bigint)", back)
    if type_ == "date":
        sent = "({} - date '1970-01-01')::text"
        stored = "(date '1970-01-01' + {}::integer)"
        return _Column(name, "DATE", sent, stored, "({} - date '1970-01-01')::varchar")
    numeric = re.fullmatch(r"numeric\((\d+),(\d+)\)", type_)
    if numeric and int(numeric[2]) <= int(numeric[1]) <= 38:
        duck, number = f"DECIMAL({numeric[1]},{numeric[2]})", True
    else:
        number = type_ in ("bigint", "integer", "smallint")
        duck = type_.upper() if number or type_ in ("uuid", "boolean") else "VARCHAR"
    return _Column(name, duck, "{}::text", f"{{}}::{duck}", "{}::varchar", number)


def _columns(connection: Connection, table: str) -> tuple[_Column, ...]:
    found = connection.execute(
        "select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)"
        " from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid"
        " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped"
        " order by a.attnum",
        [SCHEMA, table],
    )
    return tuple(_column(name, type_) for name, type_ in found)


# ---- what must be equal -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Content:
    """What a set of rows amounts to, in whatever order. Of two sets it is added up.

    ``checks`` are sums, over the rows, of two halves of the MD5 of all values.
    """

    rows: int
    sums: tuple[Decimal, ...]
    checks: tuple[int, int]

    def __add__(self, other: Content) -> Content:
        with localcontext(prec=1000):
            sums = tuple(a + b for a, b in zip(self.sums, other.sums, strict=True))
        checks = (self.checks[0] + other.checks[0], self.checks[1] + other.checks[1])
        return Content(self.rows + other.rows, sums, checks)

    @property
    def checksum(self) -> str:
        """Both halves as one text."""
        return "".join(f"{check % 2**64:016x}" for check in self.checks)


def _content(values: Sequence[Any]) -> Content:
    rows, *sums, first, second = values
    return Content(
        int(rows),
        tuple(Decimal(value or 0) for value in sums),
        (int(first or 0), int(second or 0)),
    )


def _totals(columns: Sequence[_Column], number: str, text: str) -> str:
    """The select list of a content: sums as texts, of columns and of pieces of the MD5 ``h``.

    ``number`` makes a number of the hexadecimal digits ``{}``, ``text`` is the type of texts.
    """
    sums = [f"sum({column.quoted})::{text}" for column in columns if column.number]
    halves = [f"sum({number.format(f'substr(h, {start}, 15)')})::{text}" for start in (1, 16)]
    return ", ".join(["count(*)", *sums, *halves])


def _all_values(columns: Sequence[_Column], text: Callable[[_Column], str], length: str) -> str:
    """All values of a row as one text that no other row has: each after its length in bytes."""
    values = (text(column) for column in columns)
    return " || ".join(f"coalesce({length.format(v)} || ':' || {v}, 'N')" for v in values)


def _wanted(
    connection: Connection, table: str, columns: Sequence[_Column]
) -> Iterator[tuple[str, str, str, Content]]:
    """Of each month its name, its first and last moment, and its content, as Postgres says."""
    moment = identifier(TABLES[table])
    utc = f"{moment} at time zone interval '0'" if table != DAILY else f"{moment}::timestamp"
    text = _all_values(columns, _Column.sent, "octet_length(convert_to({}, 'UTF8'))")
    totals = _totals(columns, "('x' || {})::bit(60)::bigint", "text")
    query = (
        f"select extract(year from month)::text, extract(month from month)::integer,"
        f" min({moment})::text, max({moment})::text, {totals} from ("
        f"select *, date_trunc('month', {utc}) as month, md5(convert_to({text}, 'UTF8')) as h"
        f" from {identifier(SCHEMA, table)}) t group by month order by month"
    )
    for year, month, first, last, *values in connection.execute(query.encode()).fetchall():
        if year is None:
            message = f"a row of {SCHEMA}.{table} has no {TABLES[table]}"
            raise FindingsError(Diagnostic("V004", message, "see `codered-spec verify`"))
        yield f"year={year}/month={month}", first, last, _content(values)


def _found(duck: Duck, columns: Sequence[_Column], files: Sequence[Path]) -> Content:
    """The content of files, as DuckDB reads them."""
    text = _all_values(columns, lambda c: c.back.format(c.quoted), "strlen({})")
    totals = _totals(columns, "('0x' || {})::bigint", "varchar")
    paths = ", ".join(_path(file) for file in files)
    query = (
        f"select {totals} from (select *, md5({text}) as h"
        f" from read_parquet([{paths}], hive_partitioning = false))"
    )
    return _content(duck.execute(query).fetchone())


# ---- writing ----------------------------------------------------------------------------------


def need_duckdb() -> None:
    """Raises InputError (C008) where DuckDB is not installed."""
    try:
        import duckdb  # noqa: F401
    except ImportError:
        missing = "the package duckdb, which writes Parquet, is not installed"
        fix = "pip install 'codered-spec[export]'"
        raise InputError(Diagnostic("C008", missing, fix)) from None


def export(
    connection: Connection,
    folder: str,
    *,
    replace: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Writes the folder, proves it, and returns its manifest.

    ``replace`` allows a folder that holds an earlier export. Raises InputError (C003, C008) and
    leaves the folder as it was; FindingsError: V001 or V002 without the tables, V014 where what was
    written is not what the database holds; DatabaseError: P009 where the role may not read it all.
    """
    need_duckdb()
    with _writing(folder):
        target = Path(os.path.realpath(folder))
        _check_target(target, folder, replace=replace)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".codered-export-", dir=target.parent))
        try:
            made = scratch / "new"
            made.mkdir()
            with snapshot(connection, "exporting"):
                manifest = _write(connection, made, scratch, progress)
            text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
            (made / MANIFEST).write_text(text, encoding="utf-8")
            _settle(made)
            _swap(made, target, scratch / "old")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return manifest


@contextmanager
def _writing(folder: str) -> Iterator[None]:
    import duckdb

    try:
        yield
    except (OSError, UnicodeError, duckdb.Error) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        message = f"{folder} cannot be written: {reason}"
        fix = "check the folder, its permissions and the space on its disk"
        raise InputError(Diagnostic("C003", message, fix)) from None


def _check_target(target: Path, folder: str, *, replace: bool) -> None:
    """Raises InputError (C003) for a folder that must stay."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        reason, fix = "it is not a folder", "name a folder that does not exist yet"
    elif not replace:
        reason, fix = "it is not empty", "name another folder, or replace it with --replace"
    elif _is_export(target / MANIFEST):
        return
    else:
        reason, fix = "it is not an earlier export, which --replace needs", "name another folder"
    raise InputError(Diagnostic("C003", f"{folder} cannot be written: {reason}", fix))


def _is_export(manifest: Path) -> bool:
    try:
        return bool(json.loads(manifest.read_text(encoding="utf-8"))["format"] == _FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _settle(folder: Path) -> None:
    """Makes sure that every file is on disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with Path(parent, name).open("rb") as file:
                os.fsync(file.fileno())


def _swap(made: Path, target: Path, old: Path) -> None:
    """Puts a folder in the place of another, which goes to ``old``, or changes nothing."""
    if not target.exists() or not any(target.iterdir()):
        made.rename(target)
        return
    target.rename(old)
    try:
        made.rename(target)
    except BaseException:
        old.rename(target)
        raise


def _write(
    connection: Connection, made: Path, scratch: Path, progress: Callable[[str], None]
) -> dict[str, Any]:
    import duckdb

    require_tables(connection, tuple(TABLES))
    if in_part := partly_hidden(connection, tuple(TABLES)):
        message = f"row-level security may hide rows of {', '.join(in_part)} from this role"
        fix = "give the role `select` without a scope in the spec (docs/guides/roles.md)"
        raise DatabaseError(Diagnostic("P009", message, fix))
    ((now,),) = connection.execute("select now()::text").fetchall()
    tables: dict[str, Any] = {}
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": str(scratch / "spill"),
        "threads": 2,
    }
    with duckdb.connect(":memory:", config=settings) as duck:
        duck.execute("set timezone = 'UTC'")
        for table in TABLES:
            tables[table] = _Table(connection, duck, table, made, scratch, progress).export()
    return {"format": _FORMAT, "snapshot": now, "tables": tables}


class _Table:
    """The export of one table."""

    def __init__(
        self,
        connection: Connection,
        duck: Duck,
        name: str,
        made: Path,
        scratch: Path,
        progress: Callable[[str], None],
    ) -> None:
        self.connection = connection
        self.duck = duck
        self.name = name
        self.folder = made / name
        self.spool = scratch / "rows.csv"
        self.progress = progress
        self.columns = _columns(connection, name)
        self.told = time.monotonic()
        self.rows = 0

    def export(self) -> dict[str, Any]:
        """Writes and proves all months; returns the table's part of the manifest."""
        self.folder.mkdir()
        numbers = [column.name for column in self.columns if column.number]
        total = Content(0, (Decimal(0),) * len(numbers), (0, 0))
        months: list[dict[str, Any]] = []
        for month, first, last, wanted in _wanted(self.connection, self.name, self.columns):
            files = list(self._month(month, first, last))
            self._prove(month, wanted, files)
            total += wanted
            months.append({"month": month, **self._listed(wanted, files)})
        if not months:
            empty = self.folder / "empty.parquet"
            names = ", ".join(f"null::varchar as {c.quoted}" for c in self.columns)
            self._to_parquet(f"(select {names} where false)", empty)
            self._prove("empty.parquet", total, [empty])
            months.append({"month": None, **self._listed(total, [empty])})
        return {
            "columns": {column.name: column.type for column in self.columns},
            "rows": total.rows,
            "bytes": sum(file["bytes"] for month in months for file in month["files"]),
            "sums": {n: format(s, "f") for n, s in zip(numbers, total.sums, strict=True)},
            "checksum": total.checksum,
            "months": months,
        }

    def _listed(self, content: Content, files: Sequence[Path]) -> dict[str, Any]:
        root = self.folder.parent
        return {
            "rows": content.rows,
            "checksum": content.checksum,
            "files": [
                {"path": file.relative_to(root).as_posix(), "bytes": file.stat().st_size}
                for file in files
            ],
        }

    def _month(self, month: str, first: str, last: str) -> Iterator[Path]:
        """Writes the files of a month."""
        folder = self.folder / month
        folder.mkdir(parents=True)
        with closing(self._parts(first, last)) as parts:
            for number, longest in enumerate(parts):
                file = folder / f"part-{number:04}.parquet"
                self._part(file, longest)
                yield file

    def _parts(self, first: str, last: str) -> Generator[int, None, None]:
        """Spools rows of a month; yields the longest one's bytes whenever a file is full."""
        moment = identifier(TABLES[self.name])
        type_ = "date" if self.name == DAILY else "timestamptz"
        query = (
            f"copy (select {', '.join(column.sent() for column in self.columns)}"
            f" from {identifier(SCHEMA, self.name)}"
            f" where {moment} between {type_} {literal(first)} and {type_} {literal(last)}"
            f" order by {moment}, id) to stdout (format csv, force_quote *)"
        )
        with self.connection.cursor() as cursor, cursor.copy(query.encode()) as rows:
            sent = iter(rows)
            more = next(sent, None)
            while more is not None:
                count = size = longest = 0
                with self.spool.open("wb") as spool:
                    while more is not None and count < PART_ROWS and size < PART_BYTES:
                        spool.write(more)
                        count += 1
                        size += len(more)
                        longest = max(longest, len(more))
                        more = next(sent, None)
                self.rows += count
                if time.monotonic() - self.told > 2:
                    self.told = time.monotonic()
                    self.progress(f"{self.name}: {self.rows:,} rows")
                yield longest

    def _part(self, file: Path, longest: int) -> None:
        """Turns the spooled rows into a file."""
        self.duck.execute(f"set memory_limit = '{_MEMORY + 8 * longest}B'")
        names = ", ".join(f"{literal(c.name)}: 'VARCHAR'" for c in self.columns)
        rows = (
            f"read_csv({_path(self.spool)}, columns = {{{names}}}, auto_detect = false,"
            " header = false, delim = ',', quote = '\"', escape = '\"', nullstr = '',"
            " allow_quoted_nulls = false, new_line = '\\n', parallel = false,"
            f" max_line_size = {max(2_000_000, longest + 1)})"
        )
        self._to_parquet(rows, file)

    def _to_parquet(self, rows: str, file: Path) -> None:
        stored = ", ".join(column.stored() for column in self.columns)
        place = "'" + str(file).replace("'", "''") + "'"
        self.duck.execute(
            f"copy (select {stored} from {rows}) to {place} (format parquet, compression zstd)"
        )

    def _prove(self, month: str, wanted: Content, files: Sequence[Path]) -> None:
        """Raises FindingsError (V014) unless the files hold what the database holds."""
        found = _found(self.duck, self.columns, files)
        if found == wanted:
            return
        numbers = [column.name for column in self.columns if column.number]
        told = [
            f"{name} {have} instead of {want}"
            for name, want, have in zip(
                ("rows", *(f"sum of {name}" for name in numbers)),
                (wanted.rows, *wanted.sums),
                (found.rows, *found.sums),
                strict=True,
            )
            if want != have
        ] or ["some value"]
        message = f"{self.name}/{month} differs from the database: {', '.join(told)}"
        fix = "nothing was kept: export again, and report it if it comes back"
        raise FindingsError(Diagnostic("V014", message, fix))


def _path(file: Path) -> str:
    """A file, as DuckDB reads names that may hold wild cards."""
    return "'" + glob.escape(str(file)).replace("'", "''") + "'"


def summary(manifest: dict[str, Any], folder: str) -> Iterator[str]:
    """The lines that a person reads."""
    width = max(map(len, manifest["tables"]))
    for name, table in manifest["tables"].items():
        count = sum(len(month["files"]) for month in table["months"])
        files = f"{count} file{'s'[: count != 1]}"
        yield f"{name:<{width}}  {table['rows']:>11,} rows  {files:>9}  {table['bytes']:>13,} bytes"
    yield f"wrote {folder}: counts, sums and checksums are those of the database"
