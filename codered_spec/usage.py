"""What agents used, in tokens and dollars, by day, agent, model or project.

Made for the schema of CodeRed alone: its tables are known by name. Every amount is exact, an
``int`` or a ``Decimal``; all figures of an answer come from one snapshot.
"""

from __future__ import annotations

import csv
import difflib
import io
import unicodedata
import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, Final

import psycopg

from codered_spec.connection import Connection, database_error
from codered_spec.errors import DatabaseError, Diagnostic, FindingsError, InputError

SCHEMA: Final = "codered"
RUNS: Final = "agent_runs"
DAILY: Final = "llm_usage_daily"
WINDOWS: Final = "llm_usage_by_agent"

DAYS: Final = 30
"""Days of the period when nobody says which."""

FIRST: Final = date(2, 1, 1)
LAST: Final = date(9998, 12, 31)
"""The days that an argument may name: calendars of Python end a little beyond them."""

MANY: Final = 40_000
"""Days that are listed at most."""

_GRID: Final = 900  # seconds of a window that writes keep
_ZERO: Final = Decimal("0.000000")


@dataclass(frozen=True, slots=True)
class Line:
    """The usage of one key; ``runs`` is None where the source does not count them."""

    key: str
    runs: int | None
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal

    def to_dict(self) -> dict[str, object]:
        """The line as JSON data, money as text."""
        return {
            "key": self.key,
            "runs": self.runs,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": format(self.cost_usd, "f"),
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of a period, which contains the day ``since`` but not the day ``until``."""

    by: str
    since: date
    until: date
    timezone: str
    project: str | None
    source: str
    """The table that was summed."""
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def counted(self) -> bool:
        """Whether the runs are known."""
        return self.source == RUNS

    @property
    def total(self) -> Line:
        """The sum of all lines."""
        with localcontext(prec=1000):
            return Line(
                "total",
                sum(line.runs or 0 for line in self.lines) if self.counted else None,
                sum(line.input_tokens for line in self.lines),
                sum(line.output_tokens for line in self.lines),
                sum((line.cost_usd for line in self.lines), _ZERO),
            )

    def to_dict(self) -> dict[str, object]:
        """The usage as JSON data."""
        total = self.total.to_dict()
        del total["key"]
        return {
            "by": self.by,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "timezone": self.timezone,
            "project": self.project,
            "source": self.source,
            "rows": [line.to_dict() for line in self.lines],
            "total": total,
            "notes": list(self.notes),
        }


# ---- days -------------------------------------------------------------------------------------


def find_zone(name: str) -> zoneinfo.ZoneInfo:
    """The time zone of an IANA name. Raises InputError (C001) if there is none."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
    if not known:
        message = "this machine has no time zones"
        raise InputError(Diagnostic("C001", message, "pip install tzdata")) from None
    by_lower = {zone.lower(): zone for zone in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    hint = f" (did you mean {by_lower[close[0]]}?)" if close else ""
    message = f"there is no time zone {printable(name)}{hint}"
    fix = "use a name of the IANA list, such as Europe/Berlin or America/New_York"
    raise InputError(Diagnostic("C001", message, fix))


def midnight(day: date, zone: zoneinfo.ZoneInfo) -> datetime:
    """The instant, in UTC, at which a day begins.

    Where clocks skip midnight it is the instant of the jump, where they show it twice the first.
    """
    wall = datetime(day.year, day.month, day.day)  # noqa: DTZ001 -- what clocks show
    before = _offset(wall.replace(tzinfo=zone))
    after = _offset(wall.replace(tzinfo=zone, fold=1))
    low, high = (wall - offset for offset in (after, before))
    if (
        after > before
    ):  # clocks never show this midnight: they jump after low, at high at the latest
        while high - low > timedelta(seconds=1):
            middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
            if _offset(middle.replace(tzinfo=UTC).astimezone(zone)) == before:
                low = middle
            else:
                high = middle
    return high.replace(tzinfo=UTC)


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta()


def _on_grid(instant: datetime) -> bool:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) % timedelta(seconds=_GRID) == timedelta()


def _days(first: date, end: date) -> list[date]:
    """The days from ``first`` up to, not including, ``end``. Raises InputError (C001): too many."""
    count = (end - first).days
    if count > MANY:
        message = f"the {count:,} days from {first} to {end} are too many to list"
        raise InputError(Diagnostic("C001", message, "narrow the period with --since and --until"))
    return [first + timedelta(days=n) for n in range(count)]


# ---- the database -----------------------------------------------------------------------------


@contextmanager
def snapshot(connection: Connection, what: str) -> Iterator[None]:
    """A transaction that reads one state of the database and prints values in one way.

    What the database says against it is raised as :class:`~codered_spec.errors.CoderedError`.
    """
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    try:
        with connection.transaction():
            connection.execute("set local search_path = ''")
            connection.execute("set local timezone = 'UTC'")
            connection.execute("set local datestyle = 'ISO, MDY'")
            yield
    except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction) as error:
        message = f"{what}: {error.diag.message_primary}"
        raise FindingsError(Diagnostic("V004", message, _ASK_VERIFY)) from None
    except psycopg.Error as error:
        raise database_error(error, what) from None


_ASK_VERIFY: Final = (
    "this command is for the schema of CodeRed: see what differs with `codered-spec verify`"
)


def require_tables(connection: Connection, tables: Sequence[str]) -> None:
    """Raises FindingsError: V001 without the schema, V002 without a table."""
    found = connection.execute(
        "select c.relname from pg_catalog.pg_namespace n left join pg_catalog.pg_class c"
        " on c.relnamespace = n.oid and c.relkind in ('r', 'p', 'v', 'm', 'f')"
        " and c.relname = any(%s) where n.nspname = %s",
        [list(tables), SCHEMA],
    ).fetchall()
    if not found:
        message = f"the database has no schema {SCHEMA}, which this command is made for"
        raise FindingsError(Diagnostic("V001", message, "create it with `codered-spec migrate`"))
    there = {name for (name,) in found}
    missing = [f"{SCHEMA}.{name}" for name in tables if name not in there]
    if missing:
        message = f"missing in the database: {', '.join(missing)}"
        raise FindingsError(Diagnostic("V002", message, _ASK_VERIFY))


def partly_hidden(connection: Connection, tables: Sequence[str]) -> list[str]:
    """The tables of which row-level security may show a part only.

    Raises DatabaseError (P009) for one of which it shows nothing: no row would look like no usage.
    """
    found = connection.execute(_REACH, [SCHEMA, list(tables)]).fetchall()
    hidden = [f"{SCHEMA}.{name}" for name, some, _ in found if not some]
    if hidden:
        message = f"row-level security hides every row of {', '.join(hidden)} from this role"
        fix = "give the role `select` in the spec (docs/guides/roles.md), or connect as another one"
        raise DatabaseError(Diagnostic("P009", message, fix))
    return [f"{SCHEMA}.{name}" for name, _, whole in found if not whole]


_REACH: Final = """
    select
        c.relname::text,
        coalesce(bool_or(p.polpermissive), false),
        coalesce(bool_and(p.polpermissive), false)
        and bool_or(pg_catalog.pg_get_expr(p.polqual, p.polrelid) = 'true')
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_policy p
        on p.polrelid = c.oid
        and p.polcmd in ('r', '*')
        and (
            0 = any (p.polroles)
            or exists (
                select from unnest(p.polroles) r (oid) where pg_catalog.pg_has_role(r.oid, 'usage')
            )
        )
    where n.nspname = %s
        and c.relname = any (%s)
        and pg_catalog.row_security_active(c.oid)
        and pg_catalog.has_schema_privilege(n.oid, 'usage')
        and pg_catalog.has_any_column_privilege(c.oid, 'select')
    group by c.relname
    order by c.relname
"""  # what the role may not read at all is Postgres's to refuse


def _require_upkeep(connection: Connection) -> None:
    """Raises FindingsError (V002) if writes to the runs do not keep the usage tables."""
    row = connection.execute(
        "select coalesce(bit_or(t.tgtype::integer), 0) & 28 from pg_catalog.pg_trigger t"
        " join pg_catalog.pg_class c on c.oid = t.tgrelid"
        " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
        " join pg_catalog.pg_proc p on p.oid = t.tgfoid"
        " where n.nspname = %s and c.relname = %s and p.proname = %s and t.tgenabled in ('O', 'A')",
        [SCHEMA, RUNS, f"{RUNS}_note"],
    ).fetchone()
    if row is None or row[0] != 28:  # insert, delete and update
        message = f"no trigger of {SCHEMA}.{RUNS} keeps the usage tables up to date"
        raise FindingsError(Diagnostic("V002", message, _ASK_VERIFY))


@dataclass(frozen=True, slots=True)
class _Source:
    """What can be summed in a table: ``moment`` says when it was, ``measures`` are the sums."""

    moment: str
    measures: str
    condition: str = "true"


_SOURCES: Final = {
    RUNS: _Source(
        "created_at",
        "count(*), sum(u.input_tokens), sum(u.output_tokens), sum(u.estimated_cost_usd)",
    ),
    DAILY: _Source(
        "date",
        "null, sum(u.total_input_tokens), sum(u.total_output_tokens), sum(u.total_cost_usd)",
    ),
    WINDOWS: _Source(
        "window_start",
        "null, sum(u.total_input_tokens), sum(u.total_output_tokens), sum(u.total_cost_usd)",
        # the windows that every write keeps, not those of the refresh function
        "u.window_end = u.window_start + interval '15 minutes'"
        " and u.window_start = date_bin('15 minutes', u.window_start, timestamptz 'epoch')",
    ),
}


def read_usage(
    connection: Connection,
    *,
    by: str,
    since: date | None = None,
    until: date | None = None,
    zone: zoneinfo.ZoneInfo | None = None,
    project: str | None = None,
) -> Usage:
    """The usage from the day ``since`` up to, not including, the day ``until``.

    Without ``zone``, days are those of UTC. Without ``until``, today is the last day; without
    ``since``, the period has thirty days. Raises InputError (C001) for a project that does not
    exist or an empty period, FindingsError (V001, V002, V004) where the schema is not CodeRed's,
    DatabaseError (P009) where the role may not read it.
    """
    table = RUNS if by == "model" else DAILY if zone is None else WINDOWS
    names = {by: f"{by}s"} if by in ("agent", "project") else {}
    if project is not None:
        names["project"] = "projects"
    with snapshot(connection, "reading the usage"):
        require_tables(connection, (table, *names.values()))
        if table != RUNS:
            _require_upkeep(connection)
        in_part = partly_hidden(connection, (table, *names.values()))
        since, until = _period(connection, since, until, zone)
        sums = _Sums(connection, by, None if project is None else _project_id(connection, project))
        if table == DAILY:
            lines = sums.lines(DAILY, since, until)
        elif zone is None or table == RUNS:
            here = zone or zoneinfo.ZoneInfo("UTC")
            lines = sums.lines(RUNS, midnight(since, here), midnight(until, here))
        else:
            table, lines = _of_zone(sums, since, until, zone)
            in_part = partly_hidden(connection, (table, *names.values()))
    if by == "day":
        lines = _without_gaps(lines)
    else:
        lines.sort(key=lambda line: (-line.cost_usd, line.key))
    notes: tuple[str, ...] = ()
    if table == RUNS and zone is not None and by != "model":
        notes += (f"days of {zone.key} begin off the quarter of an hour: summed from {RUNS}",)
    if in_part:
        notes += (f"row-level security may hide rows of {', '.join(in_part)} from this role",)
    name = zone.key if zone else "UTC"
    return Usage(by, since, until, name, project, table, tuple(lines), notes)


class _Sums:
    """Sums by one key, of one project or all, in one snapshot."""

    def __init__(self, connection: Connection, by: str, project_id: object) -> None:
        self.connection = connection
        self.by = by
        self.project_id = project_id

    def lines(
        self, table: str, low: date, high: date, edges: Sequence[datetime] = ()
    ) -> list[Line]:
        """The sums over what was in the half-open period.

        Of days, the key is the date in UTC or, with ``edges``, the number of the last edge before.
        """
        source = _SOURCES[table]
        key, join = {
            "agent": ("coalesce(k.slug, u.agent_id::text)", "agents k on k.id = u.agent_id"),
            "project": (
                "coalesce(k.slug, u.project_id::text)",
                "projects k on k.id = u.project_id",
            ),
            "model": ("u.model", ""),
            "day": (
                f"width_bucket(u.{source.moment}, %(edges)s::timestamptz[])" if edges else "u.date",
                "",
            ),
        }[self.by]
        if self.by == "day" and not edges and table != DAILY:
            return []
        named = f"left join {SCHEMA}.{join}" if join else ""
        found = self._execute(
            f"select ({key})::text, {source.measures} from {SCHEMA}.{table} u {named}"
            f" where {self._within(source)} group by 1",
            low,
            high,
            edges,
        )
        return [
            Line(name, runs, int(tokens_in), int(tokens_out), cost)
            for name, runs, tokens_in, tokens_out, cost in found
        ]

    def span(self, low: datetime, high: datetime) -> tuple[datetime, datetime] | None:
        """The first and the last kept window of a period that have a part of it."""
        source = _SOURCES[WINDOWS]
        ((first, last),) = self._execute(
            f"select min(u.window_start), max(u.window_start) from {SCHEMA}.{WINDOWS} u"
            f" where {self._within(source)}",
            low - timedelta(seconds=_GRID),
            high,
        )
        return None if first is None else (first, last)

    def _within(self, source: _Source) -> str:
        return (
            f"u.{source.moment} >= %(low)s and u.{source.moment} < %(high)s and {source.condition}"
            " and (%(project)s::uuid is null or u.project_id = %(project)s::uuid)"
        )

    def _execute(
        self, query: str, low: date, high: date, edges: Sequence[datetime] = ()
    ) -> list[tuple[Any, ...]]:
        arguments = {"low": low, "high": high, "project": self.project_id, "edges": list(edges)}
        return self.connection.execute(query.encode(), arguments).fetchall()


def _of_zone(
    sums: _Sums, since: date, until: date, zone: zoneinfo.ZoneInfo
) -> tuple[str, list[Line]]:
    """The table that was summed, and its lines, where days are those of a time zone."""
    low, high = midnight(since, zone), midnight(until, zone)
    days: list[date] = []
    edges: list[datetime] = []
    if sums.by == "day" and (span := sums.span(low, high)):
        first, last = (moment.astimezone(zone).date() for moment in span)
        one = timedelta(days=1)  # to spare: midnight is not always when the date changes
        days = _days(max(since, first - one), min(until, last + 2 * one))
        edges = [midnight(day, zone) for day in (*days, days[-1] + one)]
    table = WINDOWS if all(map(_on_grid, (low, high, *edges))) else RUNS
    if table == RUNS:
        require_tables(sums.connection, (RUNS,))
    lines = sums.lines(table, low, high, edges)
    if sums.by == "day":
        lines = [replace(line, key=str(days[int(line.key) - 1])) for line in lines]
    return table, lines


def _without_gaps(lines: Iterable[Line]) -> list[Line]:
    """All days from the first to the last that is there."""
    by_day = {date.fromisoformat(line.key): line for line in lines}
    if not by_day:
        return []
    runs = next(iter(by_day.values())).runs
    nothing = Line("", None if runs is None else 0, 0, 0, _ZERO)
    days = _days(min(by_day), max(by_day) + timedelta(days=1))
    return [by_day.get(day) or replace(nothing, key=str(day)) for day in days]


def _period(
    connection: Connection, since: date | None, until: date | None, zone: zoneinfo.ZoneInfo | None
) -> tuple[date, date]:
    if until is None:
        ((now,),) = connection.execute("select now()").fetchall()
        until = now.astimezone(zone or UTC).date() + timedelta(days=1)
    if since is None:
        since = max(until - timedelta(days=DAYS), FIRST)
    if since >= until:
        message = f"the period from {since} up to, not including, {until} has no day"
        fix = "let --since be earlier than --until, which is tomorrow unless it is given"
        raise InputError(Diagnostic("C001", message, fix))
    return since, until


def _project_id(connection: Connection, slug: str) -> object:
    try:
        sent = slug.encode().replace(b"\0", b"").decode()
    except UnicodeEncodeError:  # an argument of the command line that is not text
        sent = ""
    found = connection.execute("select id from codered.projects where slug = %s", [sent]).fetchone()
    if found and sent == slug:
        return found[0]
    slugs = [row[0] for row in connection.execute("select slug from codered.projects limit 10000")]
    close = difflib.get_close_matches(slug, slugs, n=1)
    hint = f" (did you mean {printable(close[0])}?)" if close else ""
    message = f"there is no project {printable(slug)}{hint}"
    raise InputError(
        Diagnostic("C001", message, "list them with `codered-spec usage --by project`")
    )


# ---- for people and programs ------------------------------------------------------------------


def to_csv(usage: Usage) -> str:
    """A header and the lines, without their total."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    runs = ("runs",) if usage.counted else ()
    writer.writerow((usage.by, *runs, "input_tokens", "output_tokens", "cost_usd"))
    for line in usage.lines:
        counted = (line.runs,) if usage.counted else ()
        amounts = (line.input_tokens, line.output_tokens, format(line.cost_usd, "f"))
        writer.writerow((line.key, *counted, *amounts))
    return text.getvalue()


def printable(text: str) -> str:
    """The text without anything that would disturb a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def to_lines(usage: Usage, width: int, *, colour: bool, ascii_only: bool = False) -> Iterator[str]:
    """The table for a terminal of ``width`` columns, with a bar for each line."""
    whose = "" if usage.project is None else f" of {printable(usage.project)}"
    yield (
        f"usage{whose} by {usage.by}, from {usage.since} up to, not including, {usage.until},"
        f" {usage.timezone}"
    )
    if not usage.lines:
        yield "none"
        return
    heads = (*(("runs",) if usage.counted else ()), "input tokens", "output tokens", "USD")
    table = [(usage.by, heads), *((printable(n.key), _amounts(n)) for n in usage.lines)]
    table.append(("total", _amounts(usage.total)))
    widths = [max(len(cells[i]) for _, cells in table) for i in range(len(heads))]
    room = width - sum(widths) - 2 * len(widths)
    longest = max(_columns(key) for key, _ in table)
    names = min(longest, max(room - _BAR - 2, 12))
    bar = min(room - names - 2, 4 * _BAR)
    tops = _heights(usage.lines)
    for number, (key, cells) in enumerate(table):
        numbers = "".join(f"  {cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
        text = f"{_fitted(key, names)}{numbers}"
        if 0 < number < len(table) - 1 and bar >= 4:
            drawn = _bar(tops[number - 1], max(tops), bar, ascii_only=ascii_only)
            if drawn:
                text += f"  \033[36m{drawn}\033[0m" if colour else f"  {drawn}"
        elif colour:
            text = f"\033[1m{text}\033[0m"
        yield text


_BAR: Final = 12  # columns that a bar has before long keys are cut
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"


def _amounts(line: Line) -> tuple[str, ...]:
    runs = () if line.runs is None else (f"{line.runs:,}",)
    return (*runs, f"{line.input_tokens:,}", f"{line.output_tokens:,}", f"{line.cost_usd:,f}")


def _heights(lines: Sequence[Line]) -> list[int]:
    """What the bars show: money or, where all was free, tokens."""
    with localcontext(prec=1000):
        costs = [int(line.cost_usd.scaleb(6)) for line in lines]
    return costs if any(costs) else [line.input_tokens + line.output_tokens for line in lines]


def _bar(value: int, top: int, width: int, *, ascii_only: bool) -> str:
    """A bar for a share of ``top``; only nothing has none."""
    if value <= 0:
        return ""
    if ascii_only:
        return "#" * max(1, value * width // top)
    full, part = divmod(max(1, value * width * 8 // top), 8)
    return _BLOCKS[8] * full + _BLOCKS[part].strip()


def _columns(text: str) -> int:
    """The columns of a terminal that a text takes."""
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fitted(text: str, columns: int) -> str:
    """The text in so many columns, cut or filled."""
    if _columns(text) > columns:
        kept = ""
        for character in text:
            if _columns(kept + character) >= columns:
                break
            kept += character
        text = kept + "…"
    return text + " " * (columns - _columns(text))
