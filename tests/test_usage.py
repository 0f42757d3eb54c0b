"""`usage`: exact sums over days of any zone, from the tables that writes keep."""

from __future__ import annotations

import csv
import io
import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from usage_rows import QUARTER, add_runs, prepare

from codered_spec.cli import main
from codered_spec.connection import Connection, connect
from codered_spec.postgres import EmbeddedServer
from codered_spec.sql import identifier
from codered_spec.usage import Line, Usage, find_zone, midnight, read_usage, to_csv, to_lines

Output = pytest.CaptureFixture[str]
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture
def db(connection: Connection) -> Connection:
    """A connection to an empty database with the schema of CodeRed."""
    prepare(connection)
    return connection


def usage(connection: Connection, since: str, until: str, **options: Any) -> Usage:
    """What another connection reads."""
    with connect(connection.info.dsn, read_only=True) as reader:
        days = {"since": date.fromisoformat(since), "until": date.fromisoformat(until)}
        return read_usage(reader, **{"by": "day", **days, **options})


def tokens(usage: Usage) -> dict[str, int]:
    return {line.key: line.input_tokens for line in usage.lines}


def quarters(low: datetime, high: datetime) -> list[datetime]:
    return [low + n * QUARTER for n in range((high - low) // QUARTER)]


def run(capsys: Output, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["usage", *arguments])
    return code, *capsys.readouterr()


# ---- when a day begins ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "zone", "instant", "hours"),
    [
        ("2026-03-07", "America/New_York", "2026-03-07T05:00", 24),
        ("2026-03-08", "America/New_York", "2026-03-08T05:00", 23),
        ("2026-11-01", "America/New_York", "2026-11-01T04:00", 25),
        ("2026-05-05", "Asia/Kathmandu", "2026-05-04T18:15", 24),
        ("2026-10-04", "Australia/Lord_Howe", "2026-10-03T13:30", 23.5),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00", 23),  # 00:00 is skipped
        ("2018-02-17", "America/Sao_Paulo", "2018-02-17T02:00", 25),  # 23:00 comes twice
        ("2013-11-03", "America/Havana", "2013-11-03T04:00", 25),  # 00:00 comes twice
        ("1919-03-31", "America/Toronto", "1919-03-31T04:30", 23.5),  # 23:30 jumps to 00:30
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00", 0),  # a day that was left out
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00", 24),
    ],
)
def test_a_day_begins_at_local_midnight(day: str, zone: str, instant: str, hours: float) -> None:
    first = date.fromisoformat(day)
    begin = midnight(first, ZoneInfo(zone))
    assert begin == datetime.fromisoformat(instant).replace(tzinfo=UTC)
    end = midnight(first + timedelta(days=1), ZoneInfo(zone))
    assert end - begin == timedelta(hours=hours)


@pytest.mark.parametrize("zone", ["Africa/Monrovia", "America/St_Johns", "Pacific/Kwajalein"])
def test_days_follow_each_other(zone: str) -> None:
    days = [date(1965, 1, 1) + timedelta(days=n) for n in range(12_000)]
    edges = [midnight(day, ZoneInfo(zone)) for day in days]
    assert edges == sorted(edges)


# ---- sums over days ---------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "count"), [("2026-03-08", 92), ("2026-11-01", 100)])
def test_a_day_of_23_or_25_hours_is_whole(db: Connection, day: str, count: int) -> None:
    middle = datetime.fromisoformat(day).replace(tzinfo=UTC)
    moments = quarters(middle - timedelta(days=3), middle + timedelta(days=4))
    with db.transaction():
        add_runs(db, moments)
        add_runs(db, [m + QUARTER - timedelta(microseconds=1) for m in moments], agent="test")
    one = timedelta(days=1)
    first = date.fromisoformat(day)
    found = usage(db, str(first - one), str(first + 2 * one), zone=NEW_YORK)
    assert tokens(found) == {str(first - one): 192, day: 2 * count, str(first + one): 192}
    assert (found.source, found.notes) == ("llm_usage_by_agent", ())
    assert found.total.cost_usd == Decimal(2 * (192 + count)) / 10**6
    alone = usage(db, day, str(first + one), zone=NEW_YORK, by="agent")
    assert tokens(alone) == {"code": count, "test": count}
    model = usage(db, day, str(first + one), zone=NEW_YORK, by="model")
    assert (tokens(model), model.total.runs) == ({"m": 2 * count}, 2 * count)


def test_an_offset_of_three_quarters_fits_the_windows(db: Connection) -> None:
    moments = ["2026-05-04 18:14:59.999999Z", "2026-05-04 18:15Z", "2026-05-05 18:14:59.999999Z"]
    add_runs(db, [*moments, "2026-05-05 18:15Z"])
    found = usage(db, "2026-05-04", "2026-05-06", zone=ZoneInfo("Asia/Kathmandu"))
    assert tokens(found) == {"2026-05-04": 1, "2026-05-05": 2}
    assert found.source == "llm_usage_by_agent"


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_a_period_contains_its_begin_but_not_its_end(db: Connection, zone: str | None) -> None:
    here = None if zone is None else ZoneInfo(zone)
    begin = midnight(date(2026, 1, 10), here or ZoneInfo("UTC"))
    tick = timedelta(microseconds=1)
    day = timedelta(days=1)
    add_runs(db, [begin - tick, begin, begin + day - tick, begin + day])
    assert tokens(usage(db, "2026-01-10", "2026-01-11", zone=here)) == {"2026-01-10": 2}
    both = usage(db, "2026-01-09", "2026-01-12", zone=here)
    assert tokens(both) == {"2026-01-09": 1, "2026-01-10": 2, "2026-01-11": 1}


def test_windows_on_demand_do_not_count(db: Connection) -> None:
    add_runs(db, ["2026-01-10 12:00Z"])
    for low, high in (("00:00", "24:00"), ("12:00", "12:07"), ("11:53", "12:08")):
        call = (
            f"select codered.refresh_llm_usage_by_agent('2026-01-10 {low}Z', '2026-01-10 {high}Z')"
        )
        db.execute(call.encode())
    assert db.execute("select count(*) from codered.llm_usage_by_agent").fetchone() == (4,)
    assert tokens(usage(db, "2026-01-09", "2026-01-12", zone=NEW_YORK)) == {"2026-01-10": 1}


def test_mean_time_is_summed_from_the_runs(db: Connection) -> None:
    begin = midnight(date(1883, 11, 2), NEW_YORK)
    assert begin == datetime(1883, 11, 2, 4, 56, 2, tzinfo=UTC)
    add_runs(db, [begin - timedelta(seconds=1), begin, begin + timedelta(days=1)])
    found = usage(db, "1883-11-01", "1883-11-04", zone=NEW_YORK)
    assert tokens(found) == {"1883-11-01": 1, "1883-11-02": 1, "1883-11-03": 1}
    assert (found.source, found.total.runs) == ("agent_runs", 3)
    (note,) = found.notes
    assert "agent_runs" in note
    alone = usage(db, "1883-11-02", "1883-11-03", zone=NEW_YORK, by="project")
    assert (tokens(alone), alone.notes) == ({"red": 1}, found.notes)


@pytest.mark.parametrize("zone", ["UTC", "Australia/Lord_Howe", "Asia/Kolkata", "America/New_York"])
def test_windows_and_days_agree_with_postgres(db: Connection, zone: str) -> None:
    chance = random.Random(zone)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    with db.transaction():
        for number in range(300):
            moment = begin + timedelta(seconds=chance.randrange(365 * 86_400))
            cost = Decimal(chance.randrange(10**9)).scaleb(-6)
            project, agent = chance.choice(("red", "blue")), chance.choice(("code", "test"))
            add_runs(db, [moment], project=project, agent=agent, tokens=(number, 1), cost=cost)
    wanted = db.execute(
        "select (r.created_at at time zone %s)::date::text, sum(input_tokens)::bigint,"
        " sum(estimated_cost_usd) from codered.agent_runs r"
        " join codered.projects p on p.id = project_id where p.slug = 'blue' group by 1",
        [zone],
    ).fetchall()
    found = usage(db, "2025-12-01", "2027-02-01", zone=ZoneInfo(zone), project="blue")
    lines = [(line.key, line.input_tokens, line.cost_usd) for line in found.lines if line.cost_usd]
    assert lines == sorted(wanted)
    utc = usage(db, "2025-12-01", "2027-02-01", project="blue")
    assert utc.total == found.total
    if zone == "UTC":
        assert utc.lines == found.lines


def test_days_without_runs_are_shown_between_days_with_some(db: Connection) -> None:
    add_runs(db, ["2026-01-10 12:00Z", "2026-01-13 12:00Z"])
    for zone in (None, NEW_YORK):
        found = usage(db, "2026-01-01", "2026-02-01", zone=zone)
        assert list(tokens(found).values()) == [1, 0, 0, 1]
    assert tokens(usage(db, "2026-01-11", "2026-01-13")) == {}


def test_amounts_are_exact(db: Connection) -> None:
    with db.transaction():
        add_runs(db, ["2026-01-10 12:00Z"], cost="0.1", tokens=(2**53 + 1, 0))
        add_runs(db, ["2026-01-10 12:01Z"], cost="0.2", tokens=(2, 0))
        add_runs(db, ["2026-01-10 12:02Z"], cost="999998.700000", tokens=(2**53, 0))
        add_runs(db, ["2026-01-11 12:00Z"] * 999, cost="0.000001", tokens=(0, 0))
    for zone in (None, ZoneInfo("UTC")):
        found = usage(db, "2026-01-10", "2026-01-12", zone=zone)
        first, second = found.to_dict()["rows"]  # type: ignore[misc]
        assert first["cost_usd"] == "999999.000000"  # type: ignore[has-type]
        assert first["input_tokens"] == 2**54 + 3  # type: ignore[has-type]
        assert second["cost_usd"] == "0.000999"  # type: ignore[has-type]
        assert found.total.cost_usd == Decimal("999999.000999")


def test_a_project_is_filtered(db: Connection) -> None:
    add_runs(db, ["2026-01-10 12:00Z"], project="red", tokens=(3, 0))
    add_runs(db, ["2026-01-10 12:00Z"], project="blue", agent="test", tokens=(5, 0))
    for zone in (None, NEW_YORK):
        for by, key in (
            ("day", "2026-01-10"),
            ("agent", "test"),
            ("model", "m"),
            ("project", "blue"),
        ):
            found = usage(db, "2026-01-10", "2026-01-11", by=by, zone=zone, project="blue")
            assert tokens(found) == {key: 5}


def test_the_default_is_the_last_thirty_days(db: Connection) -> None:
    ((now,),) = db.execute("select now()").fetchall()
    add_runs(db, [now - timedelta(days=n) for n in (0, 29, 30)])
    with connect(db.info.dsn) as reader:
        found = read_usage(reader, by="agent")
        assert (found.until - found.since).days == 30
        assert found.total.input_tokens == 2
        later = read_usage(reader, by="agent", until=found.until - timedelta(days=1))
        assert (later.until - later.since).days == 30
        assert later.total.input_tokens == 2


def test_far_apart_days_are_not_listed(db: Connection, database: str, capsys: Output) -> None:
    add_runs(db, ["0100-01-01 12:00Z", "9000-01-01 12:00Z"])
    period = ["--since", "0002-01-01", "--until", "9998-12-31", "--dsn", database]
    for zone in ([], ["--timezone", "Asia/Tokyo"]):
        code, out, err = run(capsys, *period, *zone)
        assert (code, out) == (2, "")
        assert "error C001" in err
        assert run(capsys, *period, *zone, "--by", "agent")[0] == 0


# ---- who may read -----------------------------------------------------------------------------


def test_a_role_that_may_only_select_can_read(db: Connection, server: EmbeddedServer) -> None:
    add_runs(db, ["2026-01-10 12:00Z"])
    role = f"reader_{uuid.uuid4().hex}"
    name = db.info.dbname
    db.execute(f"create role {role} login bypassrls; grant {role} to postgres".encode())
    try:
        db.execute(f"grant usage on schema codered to {role}".encode())
        db.execute(f"grant select on all tables in schema codered to {role}".encode())
        options = (
            "-c default_transaction_read_only=on -c search_path=nowhere -c timezone=Asia/Tokyo"
        )
        options += " -c datestyle=German"
        dsn = psycopg.conninfo.make_conninfo(server.dsn(role, name), options=options)
        for zone in (None, NEW_YORK):
            for by in ("day", "agent", "model", "project"):
                with connect(dsn, read_only=True) as reader:
                    since, until = date(2026, 1, 1), date(2026, 2, 1)
                    found = read_usage(reader, by=by, zone=zone, since=since, until=until)
                    assert [line.input_tokens for line in found.lines] == [1]
        db.execute(f"revoke select on codered.llm_usage_daily from {role}".encode())
        assert main(["usage", "--dsn", dsn]) == 3
    finally:
        db.execute(f"drop owned by {role}".encode())
        db.execute(f"drop role {identifier(role)}".encode())


def test_an_evil_search_path_changes_nothing(db: Connection) -> None:
    add_runs(db, ["2026-01-10 12:00Z"])
    db.execute("create schema evil; create table evil.pg_class (relname text)")
    db.execute(
        "create function evil.now() returns timestamptz language sql return timestamptz 'epoch'"
    )
    dsn = psycopg.conninfo.make_conninfo(db.info.dsn, options="-c search_path=evil,pg_catalog")
    with connect(dsn) as reader:
        found = read_usage(reader, by="day", since=date(2026, 1, 1))
        assert found.until > date(2026, 1, 10)
        assert found.total.input_tokens == 1


# ---- the command ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(server: EmbeddedServer, template: str) -> Iterator[str]:
    """The DSN of a database with three runs."""
    name = f"test_{uuid.uuid4().hex}"
    with connect(server.dsn()) as connection:
        connection.execute(f"create database {name} template {identifier(template)}".encode())
        with connect(server.dsn(database=name)) as own:
            prepare(own)
            add_runs(own, ["2026-03-08 06:00Z"] * 2, cost="1.25", tokens=(1000, 20))
            add_runs(own, ["2026-03-09 03:00Z"], project="blue", agent="test", cost="0.5")
        yield server.dsn(database=name)
        connection.execute(f"drop database {name} with (force)".encode())


PERIOD = ("--since", "2026-03-08", "--until", "2026-03-10")


def test_the_table(filled: str, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(capsys, "--dsn", filled, *PERIOD)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "usage by day, from 2026-03-08 up to, not including, 2026-03-10, UTC",
        "day         input tokens  output tokens       USD",
        "2026-03-08         2,000             40  2.500000  " + "█" * 29,
        "2026-03-09             1              2  0.500000  " + "█" * 5 + "▊",
        "total              2,001             42  3.000000",
    ]


def test_json(filled: str, capsys: Output) -> None:
    code, out, err = run(
        capsys, "--dsn", filled, *PERIOD, "--json", "--timezone", "America/New_York"
    )
    assert (code, err) == (0, "")
    total = {"runs": None, "input_tokens": 2001, "output_tokens": 42, "cost_usd": "3.000000"}
    assert json.loads(out) == {
        "by": "day",
        "since": "2026-03-08",
        "until": "2026-03-10",
        "timezone": "America/New_York",
        "project": None,
        "source": "llm_usage_by_agent",
        "rows": [{"key": "2026-03-08", **total}],
        "total": total,
        "notes": [],
    }


def test_csv(filled: str, capsys: Output) -> None:
    code, out, err = run(capsys, "--dsn", filled, *PERIOD, "--csv", "--by", "model")
    assert (code, err) == (0, "")
    assert out == "model,runs,input_tokens,output_tokens,cost_usd\nm,3,2001,42,3.000000\n"
    out = run(capsys, "--dsn", filled, *PERIOD, "--csv", "--by", "project")[1]
    assert out == (
        "project,input_tokens,output_tokens,cost_usd\nred,2000,40,2.500000\nblue,1,2,0.500000\n"
    )


def test_nothing_is_no_error(db: Connection, database: str, capsys: Output) -> None:
    assert db.info.dbname in database
    for by in ("day", "agent", "model", "project"):
        for zone in ([], ["--timezone", "Asia/Tokyo"]):
            options = ["--dsn", database, "--by", by, *zone]
            code, out, err = run(capsys, *options)
            assert (code, out.splitlines()[1:], err) == (0, ["none"], "")
            code, out, err = run(capsys, *options, "--json")
            found = json.loads(out)
            assert (code, found["rows"], err) == (0, [], "")
            assert found["total"]["cost_usd"] == "0.000000"
            code, out, err = run(capsys, *options, "--csv")
            assert (code, out.count("\n"), err) == (0, 1, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--timezone", "Mars/Olympus"],
        ["--timezone", ""],
        ["--timezone", "America"],
        ["--timezone", "../../etc/passwd"],
        ["--timezone", "/etc/passwd"],
        ["--timezone", "a\nb"],
        ["--timezone", "x" * 5000],
        ["--timezone", "\udcff"],
        ["--since", "2026-02-30"],
        ["--since", "20260201"],
        ["--since", "2026-02-01T00:00"],
        ["--until", "today"],
        ["--until", "0001-01-01"],
        ["--until", "9999-01-01"],
        ["--by", "moon"],
        ["--csv", "--json"],
    ],
)
def test_bad_arguments_end_with_2_before_the_database(arguments: list[str], capsys: Output) -> None:
    code, out, err = run(capsys, "--dsn", "host=/nowhere", *arguments)
    assert (code, out) == (2, "")
    assert "C001" in err


def test_a_zone_of_nearly_the_name_is_hinted_at(capsys: Output) -> None:
    err = run(capsys, "--dsn", "host=/nowhere", "--timezone", "Europe/Berlim")[2]
    assert "did you mean Europe/Berlin?" in err
    assert find_zone("Europe/Berlin").key == "Europe/Berlin"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "2026-03-08", "--until", "2026-03-08"],
        ["--since", "9998-01-01"],
        ["--project", "rot"],
        ["--project", ""],
        ["--project", "\udcff"],
        ["--project", "re\x00d"],
        ["--project", "red", "--project", "x'; drop table codered.projects; --"],
    ],
)
def test_bad_periods_and_projects_end_with_2(
    arguments: list[str], filled: str, capsys: Output
) -> None:
    code, out, err = run(capsys, "--dsn", filled, *arguments)
    assert (code, out) == (2, "")
    assert "error C001" in err


def test_a_project_of_nearly_the_name_is_hinted_at(filled: str, capsys: Output) -> None:
    assert "did you mean blue?" in run(capsys, "--dsn", filled, "--project", "bleu")[2]


def test_extreme_periods_work(filled: str, capsys: Output) -> None:
    for zone in ([], ["--timezone", "Pacific/Kiritimati"], ["--timezone", "Pacific/Niue"]):
        for by in ("day", "agent", "model"):
            options = ["--by", by, "--since", "0002-01-01", "--until", "9998-12-31", "--json"]
            code, out, _ = run(capsys, "--dsn", filled, *options, *zone)
            assert code == 0
            assert json.loads(out)["total"]["cost_usd"] == "3.000000"
    assert run(capsys, "--dsn", filled, "--until", "0002-01-02")[0] == 0


def test_an_unreachable_database_ends_with_3(capsys: Output) -> None:
    code, out, err = run(capsys, "--dsn", "host=/nowhere")
    assert (code, out) == (3, "")
    assert "error P001" in err


def test_another_database_ends_with_1(
    connection: Connection, database: str, capsys: Output
) -> None:
    def expect(code: str) -> None:
        for options in ([], ["--by", "model"], ["--timezone", "Asia/Tokyo"]):
            exit_code, out, err = run(capsys, "--dsn", database, *options)
            assert (exit_code, out) == (1, "")
            assert f"error {code}" in err

    expect("V001")
    connection.execute("create schema codered")
    expect("V002")
    for table in ("agent_runs", "llm_usage_daily", "llm_usage_by_agent"):
        connection.execute(f"create table codered.{table} (id int)".encode())
    assert "error V002" in run(capsys, "--dsn", database)[2]  # nothing keeps it
    assert "error V004" in run(capsys, "--dsn", database, "--by", "model")[2]


@pytest.mark.parametrize("event", ["insert", "update", "delete"])
def test_usage_that_is_not_kept_is_not_trusted(
    db: Connection, database: str, capsys: Output, event: str
) -> None:
    db.execute(f"alter table codered.agent_runs disable trigger agent_runs_note_{event}".encode())
    code, out, err = run(capsys, "--dsn", database)
    assert (code, out) == (1, "")
    assert "error V002" in err
    assert run(capsys, "--dsn", database, "--by", "model")[0] == 0


# ---- the table for people ---------------------------------------------------------------------


def example(*lines: tuple[str, int | None, int, int, str]) -> Usage:
    made = tuple(Line(key, runs, a, b, Decimal(cost)) for key, runs, a, b, cost in lines)
    source = "agent_runs" if made and made[0].runs is not None else "llm_usage_daily"
    return Usage("model", date(2026, 1, 1), date(2026, 2, 1), "UTC", None, source, made)


LONG = example(
    ("a" * 300, 7, 10**12, 10**9, "123456.789012"),
    ("大" * 60, 1, 5, 5, "0.000001"),
    ("e\u0301" * 60, 1, 5, 5, "0.000000"),
    ("evil\x1b[31m\nname", 0, 0, 0, "0.000000"),
)


@pytest.mark.parametrize("width", [*range(80, 140), 300])
def test_lines_fit_the_terminal(width: int) -> None:
    title, *lines = to_lines(LONG, width, colour=False)
    assert title.startswith("usage by model")
    from codered_spec.usage import _columns

    assert max(map(_columns, lines)) <= width
    assert all(line.isprintable() for line in lines)
    assert "▏" in lines[2]  # the least that is something
    assert not {"█", "▏"} & set(lines[3] + lines[4] + lines[5])


def test_a_narrow_terminal_gets_no_bars() -> None:
    assert not {"█", "▏"} & set("".join(to_lines(LONG, 40, colour=False)))


def test_colour_is_only_added() -> None:
    plain = list(to_lines(LONG, 100, colour=False))
    coloured = "\n".join(to_lines(LONG, 100, colour=True))
    assert "\x1b[36m" in coloured
    for sign in ("\x1b[36m", "\x1b[1m", "\x1b[0m"):
        coloured = coloured.replace(sign, "")
    assert coloured.splitlines() == plain


def test_free_usage_has_bars_of_tokens() -> None:
    lines = list(to_lines(example(("a", 1, 4, 0, "0"), ("b", 1, 1, 1, "0")), 70, colour=False))
    assert lines[2].count("█") == 2 * lines[3].count("█") > 0


def test_a_terminal_without_blocks_gets_other_bars(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "ascii"))
    assert main(["usage", "--dsn", filled, *PERIOD]) == 0
    assert b"#####" in raw.getvalue()


def test_csv_can_be_read_back() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(LONG))))
    assert [row[0] for row in rows[1:]] == [line.key for line in LONG.lines]
