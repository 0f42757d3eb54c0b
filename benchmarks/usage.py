"""What readers of the usage tables save: ``python -m benchmarks usage``.

The whole takes some twenty minutes and 10 GB of disk. ``bench_usage(50_000, 200_000)`` is quick.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from benchmarks.rollups import keep_rollups, prepare, require_exact, tuned_server
from codered_spec.connection import Connection, connect
from codered_spec.postgres import SUPERUSER

PROJECTS = 20
AGENTS = 10
DAYS = 32
"""Days with runs, today included; all pairs of a project and an agent have runs on each."""
PERIOD = 30

_COLUMNS = (
    "project_id, agent_id, mode, provider, model, tier, input_tokens, output_tokens,"
    " estimated_cost_usd, latency_ms, status, input_summary, output_summary, created_at"
)
_DAY = "(created_at at time zone interval '0')::date"
_START = "date_bin('15 minutes', created_at, timestamptz 'epoch')"
_STATISTICS = (
    f"create statistics codered.bench_keys on ({_DAY}), ({_START}), project_id, agent_id"
    " from codered.agent_runs"
)
"""An opponent at its best: without them the planner expects too many groups and sorts the runs."""
_SCANS = ("Index Scan", "Index Only Scan", "Bitmap Heap Scan")


@dataclass(frozen=True, slots=True)
class _History:
    """So many runs at an even pace, from a midnight until now."""

    runs: int
    since: datetime
    until: datetime

    @property
    def today(self) -> date:
        return self.until.date()

    @property
    def pace(self) -> float:
        """Seconds from one run to the next."""
        return (self.until - self.since).total_seconds() / self.runs


def _history(connection: Connection, runs: int) -> _History:
    ((now,),) = connection.execute("select now()").fetchall()
    until = now.astimezone(UTC)
    midnight = until.replace(hour=0, minute=0, second=0, microsecond=0)
    return _History(runs, midnight - timedelta(days=DAYS - 1), until)


def _insert(series: str, model: str, moment: str) -> str:
    """One run for each number of a series."""
    return (
        f"insert into codered.agent_runs ({_COLUMNS})"
        f" select md5('p' || n % {PROJECTS} + 1)::uuid,"
        f" md5('a' || n / {PROJECTS} % {AGENTS} + 1)::uuid, 'implementation', 'anthropic',"
        f" '{model}', 'gold', 1000 + n % 999, 300 + n % 77, 0.004512 + n % 997 * 0.00001, 900,"
        " 'succeeded', 'The failing step and the last lines of its log', 'A retry with backoff',"
        f" {moment} from {series} n"
    )


def _load(connection: Connection, history: _History, chunk: int = 250_000) -> None:
    """Replaces all runs, past the triggers, and rebuilds the rollups."""
    connection.execute("truncate codered.agent_runs cascade")
    keep_rollups(connection, False)
    moment = f"timestamptz '{history.since.isoformat()}' + interval '1 second' * {history.pace} * n"
    for first in range(0, history.runs, chunk):
        last = min(first + chunk, history.runs) - 1
        series = f"generate_series({first}, {last})"
        connection.execute(_insert(series, "claude-3-opus", moment).encode())
    keep_rollups(connection, True)
    connection.execute("select codered.rebuild_llm_usage_daily()")
    connection.execute("select codered.rebuild_llm_usage_by_agent()")
    for table in ("agent_runs", "llm_usage_daily", "llm_usage_by_agent"):
        connection.execute(f"vacuum analyze codered.{table}".encode())


# ---- server time ------------------------------------------------------------------------------


def _explained(connection: Connection, statement: str, more: str = "timing off") -> dict[str, Any]:
    """What EXPLAIN ANALYZE says of a statement."""
    query = f"explain (analyze, buffers off, format json, {more}) {statement}"
    ((found,),) = connection.execute(query.encode()).fetchall()
    answer = (json.loads(found) if isinstance(found, str) else found)[0]
    assert isinstance(answer, dict)
    return answer


def _server_ms(answer: dict[str, Any]) -> float:
    return float(answer["Planning Time"]) + float(answer["Execution Time"])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _seconds(connection: Connection, statement: str) -> float:
    """Clock around one statement on the Unix socket, with its commit if it is alone."""
    query = statement.encode()
    before = time.perf_counter()
    connection.execute(query)
    return time.perf_counter() - before


def _percentile(samples: Sequence[float], share: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * share))]


# ---- the last thirty days ---------------------------------------------------------------------


def _queries(today: date) -> tuple[str, str]:
    """Usage per day and agent of the last days, from the rollup and from the runs."""
    since = today - timedelta(days=PERIOD - 1)
    daily = (
        "select date, agent_id, sum(total_input_tokens), sum(total_output_tokens),"
        f" sum(total_cost_usd) from codered.llm_usage_daily where date >= '{since}'"
        " group by 1, 2 order by 1, 2"
    )
    raw = (
        f"select {_DAY}, agent_id, sum(input_tokens),"
        " sum(output_tokens), sum(estimated_cost_usd) from codered.agent_runs"
        f" where created_at >= '{since} 00:00+00' group by 1, 2 order by 1, 2"
    )
    return daily, raw


def _last_days(connection: Connection, history: _History, rounds: int = 7) -> float:
    """Prints a line; the median milliseconds of the query on the rollup."""
    daily, raw = _queries(history.today)
    rows = connection.execute(daily.encode()).fetchall()
    if not rows or rows != connection.execute(raw.encode()).fetchall():
        raise SystemExit("llm_usage_daily and agent_runs give different answers")
    found: dict[str, list[float]] = {daily: [], raw: []}
    for _ in range(rounds):
        found[raw].append(_server_ms(_explained(connection, raw)))
        found[daily] += [_server_ms(_explained(connection, daily)) for _ in range(20)]
    ours, theirs = (statistics.median(found[query]) for query in (daily, raw))
    since = history.today - timedelta(days=PERIOD - 1)
    ((read,),) = connection.execute(
        "select count(*) from codered.llm_usage_daily where date >= %s", [since]
    ).fetchall()
    print(
        f"{f'{history.runs:,} runs':<34} {ours:8.2f} {theirs:8.0f} {theirs / ours:7.0f}"
        f" {read:9,} {len(rows):5}"
    )
    return ours


# ---- budgets ----------------------------------------------------------------------------------

_TODAY = "(now() at time zone interval '0')::date"
_RAW = "spend from agent_runs"
_BUDGET = {
    "spend from llm_usage_daily": (
        "select coalesce(sum(total_cost_usd), 0) from codered.llm_usage_daily"
        f" where project_id = $1 and date = {_TODAY}"
    ),
    "view project_budgets": (
        "select spend_usd, max_daily_spend_usd, exhausted from codered.project_budgets"
        " where project_id = $1"
    ),
    _RAW: (
        "select coalesce(sum(estimated_cost_usd), 0) from codered.agent_runs"
        f" where project_id = $1 and created_at >= {_TODAY}::timestamp at time zone interval '0'"
    ),
}


def _budgets(connection: Connection, checks: int) -> None:
    """Prints what a check of one project's spend of today takes."""
    connection.execute("update codered.projects set max_daily_spend_usd = 1000")
    connection.execute("vacuum analyze codered.projects")
    ids = [
        project
        for (project,) in connection.execute("select id from codered.projects order by slug")
    ]
    spends = []
    print(f"\n{'budget of a project, ms':<34} {'p50':>8} {'p99':>8} {'clock':>8}")
    for name, query in _BUDGET.items():
        connection.execute(f"prepare budget(uuid) as {query}".encode())
        calls = [f"execute budget('{project}')" for project in ids]
        spends.append([connection.execute(call.encode()).fetchall()[0][0] for call in calls])
        look_up = "" if name == _RAW else _require_one_look_up(connection, calls[0])
        times, clock = [], []
        for check in range(checks if name != _RAW else checks // 10):
            call = calls[check * 7 % len(calls)]
            times.append(_server_ms(_explained(connection, call)))
            clock.append(_seconds(connection, call) * 1000)
        connection.execute("deallocate budget")
        p50, p99 = statistics.median(times), _percentile(times, 0.99)
        print(f"{name:<34} {p50:8.3f} {p99:8.3f} {statistics.median(clock):8.3f}  {look_up}")
    if not all(spends[0]) or spends[1:] != [spends[0]] * 2:
        raise SystemExit("the answers about budgets differ, or midnight passed: try again")


def _require_one_look_up(connection: Connection, call: str) -> str:
    """The one scan of the rollup in a plan, by an index; ends the program if there is another."""
    nodes = list(_nodes(_explained(connection, call)["Plan"]))
    scans = [node for node in nodes if node.get("Relation Name") == "llm_usage_daily"]
    kinds = [node["Node Type"] for node in nodes]
    if len(scans) != 1 or scans[0]["Node Type"] not in _SCANS:
        raise SystemExit(f"no single index scan: {kinds}")
    indexed = [node for node in _nodes(scans[0]) if "Index Name" in node]
    if len(indexed) != 1 or "date = " not in indexed[0]["Index Cond"]:
        raise SystemExit(f"not one look-up by day: {indexed}")
    kept, dropped = (
        int(scans[0].get(name, 0)) for name in ("Actual Rows", "Rows Removed by Filter")
    )
    return f"{indexed[0]['Index Name']}: {kept + dropped} rows read, {kept} kept"


# ---- a materialized view ----------------------------------------------------------------------

_KEYS = {
    "llm_usage_daily": {"date": _DAY, "project_id": "project_id", "agent_id": "agent_id"},
    "llm_usage_by_agent": {
        "project_id": "project_id",
        "agent_id": "agent_id",
        "window_start": _START,
    },
}


def _refresh(connection: Connection, rollup: str, batch: str, rounds: int) -> float:
    """Prints the median seconds of both kinds of refresh after a batch; the shorter one."""
    keys = ", ".join(_KEYS[rollup])
    chosen = ", ".join(f"{expression} as {key}" for key, expression in _KEYS[rollup].items())
    view = (
        f"create materialized view codered.bench_usage as select {chosen},"
        " sum(input_tokens) as total_input_tokens, sum(output_tokens) as total_output_tokens,"
        " sum(estimated_cost_usd) as total_cost_usd from codered.agent_runs group by 1, 2, 3"
    )
    connection.execute(view.encode())
    connection.execute(f"create unique index on codered.bench_usage ({keys})".encode())
    connection.execute("analyze codered.bench_usage")
    found: dict[str, list[float]] = {"": [], "concurrently ": []}
    for _ in range(rounds):
        for kind, samples in found.items():
            connection.execute(batch.encode())
            query = f"refresh materialized view {kind}codered.bench_usage"
            samples.append(_seconds(connection, query))
    same = f"{keys}, total_input_tokens, total_output_tokens, total_cost_usd"
    except_ = f"select {same} from codered.bench_usage except select {same} from codered.{rollup}"
    if connection.execute(except_.encode()).fetchall():
        raise SystemExit(f"the materialized view and {rollup} differ")
    connection.execute("drop materialized view codered.bench_usage")
    plain, concurrent = (statistics.median(samples) for samples in found.values())
    print(f"{f'as {rollup}':<34} {plain * 1000:8.0f} {concurrent * 1000:12.0f}")
    return min(plain, concurrent)


@dataclass(frozen=True, slots=True)
class _Upkeep:
    """Median seconds of a batch without the triggers and with them, and of their difference."""

    none: float
    kept: float
    extra: float
    noise: float


def _upkeep(connection: Connection, batch: Callable[[str], str], rounds: int) -> _Upkeep:
    """What the triggers add to a batch.

    Each round has a batch with them between two without: what these differ by is noise. Their rows
    are deleted at the end, so that the rollups must be exact without being rebuilt.
    """
    found = []
    for step in range(rounds + 1):
        took = []
        for on in (False, True, False):
            keep_rollups(connection, on)
            took.append(_seconds(connection, batch("kept" if on else "past")))
        if step:
            found.append(took)
    keep_rollups(connection, False)
    connection.execute("delete from codered.agent_runs where model = 'past'")
    keep_rollups(connection, True)
    return _Upkeep(
        none=statistics.median((before + after) / 2 for before, _, after in found),
        kept=statistics.median(kept for _, kept, _ in found),
        extra=statistics.median(kept - (before + after) / 2 for before, kept, after in found),
        noise=abs(statistics.median(before - after for before, _, after in found)),
    )


def _inside(connection: Connection, batch: str, rounds: int) -> float:
    """Median seconds that note and fold themselves take in a batch of one statement."""
    found = []
    for _ in range(rounds):
        with connection.transaction():
            answer = _explained(connection, batch, "timing on")
            note = sum(
                float(trigger["Time"])
                for trigger in answer["Triggers"]
                if trigger["Trigger Name"] == "agent_runs_note_insert"
            )
            fold = _seconds(connection, "set constraints all immediate")
            found.append(note / 1000 + fold)
    return statistics.median(found)


def _against_view(connection: Connection, history: _History, size: int, rounds: int) -> None:
    """Prints what a refresh after a batch takes, and what the triggers add to the batch."""
    series = f"generate_series(1, {size})"
    at_pace = f"now() - interval '1 second' * {history.pace} * n"
    statements = {
        "one statement, all of now": partial(_insert, series, moment="now()"),
        f"one statement, of {history.pace * size / 60:.0f} minutes": partial(
            _insert, series, moment=at_pace
        ),
    }
    more = _insert(series, "kept", at_pace)
    print(f"\n{f'{size:,} runs more: refresh, ms':<34} {'plain':>8} {'concurrently':>12}")
    refresh = [_refresh(connection, rollup, more, max(3, rounds // 3)) for rollup in _KEYS]
    print(
        f"\n{f'{size:,} runs more: insert, ms':<34} {'none':>8} {'kept':>8} {'extra':>7}"
        f" {'noise':>6} {'inside':>7} {'daily view':>11} {'both':>6}"
    )
    for name, batch in statements.items():
        inside = _inside(connection, batch("kept"), rounds)
        _print_upkeep(name, _upkeep(connection, batch, rounds), inside, refresh)
    connection.execute("set synchronous_commit = off")
    cost = _upkeep(connection, partial(_one_by_one, size), max(2, rounds // 5))
    connection.execute("reset synchronous_commit")
    _print_upkeep("one transaction each", cost, None, refresh)
    print(
        "inside: clock of the triggers alone; daily view, both: the cheaper refresh of the view of"
        " days,\nand of days and windows, which is what the triggers keep, divided by the largest"
        " of extra, noise and inside"
    )


def _one_by_one(size: int, model: str) -> str:
    one = _insert("generate_series(i, i)", model, "now()")
    return f"do $$ begin for i in 1..{size} loop {one}; commit; end loop; end $$"


def _print_upkeep(name: str, cost: _Upkeep, inside: float | None, refresh: Sequence[float]) -> None:
    most = max(cost.extra, cost.noise, inside or 0)
    alone = "-" if inside is None else f"{inside * 1000:.1f}"
    print(
        f"{name:<34} {cost.none * 1000:8.0f} {cost.kept * 1000:8.0f} {cost.extra * 1000:7.1f}"
        f" {cost.noise * 1000:6.1f} {alone:>7} {refresh[0] / most:11.1f} {sum(refresh) / most:6.1f}"
    )


def bench_usage(
    small: int = 1_000_000,
    large: int = 5_000_000,
    checks: int = 2000,
    batch: int = 10_000,
    rounds: int = 15,
) -> None:
    """Reading the rollups against reading the runs, and against a materialized view."""
    with (
        tuned_server() as (server, _),
        connect(server.dsn()) as connection,
        connect(server.dsn(SUPERUSER)) as superuser,
    ):
        prepare(connection, PROJECTS, AGENTS)
        connection.execute("set work_mem = '64MB'")
        connection.execute(_STATISTICS.encode())
        print(
            f"\n{PROJECTS} projects, {AGENTS} agents, all {PROJECTS * AGENTS} pairs on each of"
            f" {DAYS} days; planning and execution as EXPLAIN ANALYZE says, medians"
        )
        print(
            f"\n{f'usage per day and agent, {PERIOD} days, ms':<34} {'rollup':>8} {'runs':>8}"
            f" {'ratio':>7} {'read':>9} {'lines':>5}"
        )
        found = []
        for runs in (small, large):
            history = _history(connection, runs)
            _load(connection, history)
            superuser.execute("checkpoint")
            found.append(_last_days(connection, history))
        print(f"rollup at {large:,} / at {small:,}: {found[1] / found[0]:.2f}")
        history = _history(connection, large)
        _budgets(connection, checks)
        _against_view(connection, history, batch, rounds)
        require_exact(connection)
        print("both rollups exact at the end")
