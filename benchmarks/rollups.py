"""What keeping the usage tables costs the writers of `agent_runs`, and what readers save."""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from codered_spec import load_spec
from codered_spec.connection import Connection, connect
from codered_spec.emit.ddl import emit_sql
from codered_spec.postgres import EmbeddedServer

SPEC = Path(__file__).resolve().parents[1] / "schema.yaml"
CLIENTS = 8
SECONDS = 5
ROUNDS = 3
KEYS = 200
"""Projects, and as many agents: keys enough that writers seldom meet."""

_RUN = (
    "insert into codered.agent_runs (project_id, agent_id, mode, provider, model, tier,"
    " input_tokens, output_tokens, estimated_cost_usd, latency_ms, status, input_summary,"
    " output_summary{more}) values (md5('p{key}')::uuid, md5('a{key}')::uuid, 'implementation',"
    " 'anthropic', 'claude-3-opus', 'gold', 1200, 300, 0.004512, 900, 'succeeded',"
    " 'The failing step and the last lines of its log', 'A retry with backoff'{values});"
)
_SPREAD = f"\\set k random(1, {KEYS})\n"


def _insert(key: str) -> str:
    return _RUN.format(key="' || :k || '" if key == ":k" else key, more="", values="")


SCRIPTS = {
    "one row, spread keys": _SPREAD + _insert(":k") + "\n",
    "one row, one hot key": _insert("1") + "\n",
    "open for 10 ms, one hot key": f"begin;\n{_insert('1')}\n\\sleep 10 ms\ncommit;\n",
    "five statements, random keys": "begin;\n"
    + "".join(f"\\set k random(1, 10)\n{_insert(':k')}\n" for _ in range(5))
    + "commit;\n",
}


@contextmanager
def tuned_server() -> Iterator[tuple[EmbeddedServer, Path]]:
    """A server with the settings that a careful production server has, as far as it matters."""
    with tempfile.TemporaryDirectory(prefix="codered-bench-") as folder:
        settings = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min"}
        server = EmbeddedServer(Path(folder) / "state", settings)
        server.start()
        try:
            yield server, Path(folder)
        finally:
            server.stop()


def prepare(connection: Connection, projects: int = KEYS, agents: int = KEYS) -> None:
    """The schema, with projects of the ids md5('p1'), ... and agents of md5('a1'), ..."""
    with connection.transaction():
        connection.execute(emit_sql(load_spec(SPEC)).encode())
    connection.execute(
        "insert into codered.projects (id, slug, name, description, status)"
        " select md5('p' || n)::uuid, 'p' || n, 'p', 'p', 'active'"
        f" from generate_series(1, {projects}) n".encode()
    )
    connection.execute(
        "insert into codered.agents (id, slug, name, description, default_tier,"
        " max_tokens_per_call, max_calls_per_task, cost_ceiling_usd_per_task)"
        " select md5('a' || n)::uuid, 'a' || n, 'a', 'a', 'gold', 1, 1, 1"
        f" from generate_series(1, {agents}) n".encode()
    )


def keep_rollups(connection: Connection, on: bool) -> None:
    """Switches the triggers that keep the rollups."""
    word = "enable" if on else "disable"
    for event in ("insert", "update", "delete"):
        name = f"agent_runs_note_{event}"
        connection.execute(f"alter table codered.agent_runs {word} trigger {name}".encode())


AT_ONCE = """
create function codered.peer() returns trigger
  language plpgsql security definer set search_path = '' as $$
begin
  insert into codered.llm_usage_daily as t
    (date, project_id, agent_id, total_input_tokens, total_output_tokens, total_cost_usd)
  select (created_at at time zone 'UTC')::date, project_id, agent_id,
    coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
    coalesce(sum(estimated_cost_usd), 0)
  from new_rows group by 1, 2, 3 order by 1, 2, 3
  on conflict (date, project_id, agent_id) do update set
    total_input_tokens = t.total_input_tokens + excluded.total_input_tokens,
    total_output_tokens = t.total_output_tokens + excluded.total_output_tokens,
    total_cost_usd = t.total_cost_usd + excluded.total_cost_usd;
  return null;
end $$;
create trigger peer after insert on codered.agent_runs referencing new table as new_rows
  for each statement execute function codered.peer();
alter table codered.agent_runs disable trigger peer;
"""
"""The least that a trigger can do: the days alone, added up when the statement ends."""

WAYS = ("none", "kept", "at once")


def _prepared(connection: Connection, way: str) -> None:
    """An empty table of runs, whose usage is kept so."""
    connection.execute("truncate codered.agent_runs cascade")
    keep_rollups(connection, way == "kept")
    word = "enable" if way == "at once" else "disable"
    connection.execute(f"alter table codered.agent_runs {word} trigger peer".encode())
    if way != "kept":
        connection.execute("truncate codered.llm_usage_daily, codered.llm_usage_by_agent")
    connection.execute("vacuum analyze codered.agent_runs")


def require_exact(connection: Connection) -> None:
    """Ends the program if a rollup differs from the runs."""
    for rollup in ("daily", "by_agent"):
        query = f"select * from codered.check_llm_usage_{rollup}() limit 1"
        if connection.execute(query.encode()).fetchall():
            raise SystemExit(f"llm_usage_{rollup} is not exact")


def _transactions(server: EmbeddedServer, script: Path) -> float | None:
    """Transactions a second of all clients; None if some failed, which only a deadlock does."""
    program = Path(server.psql_command("")[0]).with_name("pgbench")
    command = [str(program), "-n", "-c", str(CLIENTS), "-j", "2", "-T", str(SECONDS)]
    done = subprocess.run(
        [*command, "-f", str(script), server.dsn()], capture_output=True, text=True, check=False
    )
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    if failed is not None and failed.group(1) != "0":
        return None
    if done.returncode or failed is None:
        raise SystemExit(f"pgbench failed: {done.stdout}{done.stderr}")
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None
    return float(found.group(1))


def bench_rollups() -> None:
    """Transactions a second with the rollups and without, in turn; all of them exact at the end."""
    with tuned_server() as (server, folder), connect(server.dsn()) as connection:
        prepare(connection)
        connection.execute(AT_ONCE)
        print(f"\n{'8 clients, transactions a second':<34} {'none':>8}", end="")
        print(f" {'kept':>8} {'ratio':>7} {'at once':>9} {'ratio':>7}")
        for name, text in SCRIPTS.items():
            script = folder / "script.sql"
            script.write_text(text, encoding="utf-8")
            found: dict[str, list[float | None]] = {way: [] for way in WAYS}
            for _ in range(ROUNDS):
                for way in WAYS:
                    _prepared(connection, way)
                    found[way].append(_transactions(server, script))
                    if way == "kept":
                        require_exact(connection)
            none, kept, peer = (_median(found[way]) for way in WAYS)
            if none is None or kept is None:
                raise SystemExit(f"{name}: deadlock")
            last = "deadlock" if peer is None else f"{peer:9.0f} {peer / none:7.2f}"
            print(f"{name:<34} {none:8.0f} {kept:8.0f} {kept / none:7.2f} {last:>9}")
        _bench_copy(connection)


def _median(samples: Sequence[float | None]) -> float | None:
    """The median, or None if a sample is."""
    numbers = [sample for sample in samples if sample is not None]
    return statistics.median(numbers) if len(numbers) == len(samples) else None


def _bench_copy(connection: Connection, rows: int = 1_000_000) -> None:
    """COPY of a million runs of 30 days."""
    select = (
        "select md5('p' || n % 200 + 1)::uuid project_id, md5('a' || n % 200 + 1)::uuid agent_id,"
        " 'implementation' mode, 'anthropic' provider, 'claude-3-opus' model, 'gold' tier,"
        " 1000 + n % 999 input_tokens, 300 output_tokens, 0.004512 estimated_cost_usd,"
        " 900 latency_ms, 'succeeded' status, 'The failing step and its log' input_summary,"
        " 'A retry with backoff' output_summary,"
        " now() - interval '1 minute' * (n % 43200) created_at"
        f" from generate_series(1, {rows}) n"
    )
    columns = (
        "project_id, agent_id, mode, provider, model, tier, input_tokens, output_tokens,"
        " estimated_cost_usd, latency_ms, status, input_summary, output_summary, created_at"
    )
    with connection.cursor() as cursor, cursor.copy(f"copy ({select}) to stdout".encode()) as copy:
        data = [bytes(piece) for piece in copy]
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            _prepared(connection, way)
            before = time.perf_counter()
            into = f"copy codered.agent_runs ({columns}) from stdin".encode()
            with connection.cursor() as cursor, cursor.copy(into) as copy:
                for piece in data:
                    copy.write(piece)
            found[way].append(time.perf_counter() - before)
            if way == "kept":
                require_exact(connection)
    none, kept, peer = (statistics.median(found[way]) for way in WAYS)
    print(f"\n{'seconds':<34} {'none':>8} {'kept':>8} {'ratio':>7} {'at once':>9} {'ratio':>7}")
    figures = f"{none:8.2f} {kept:8.2f} {kept / none:7.2f} {peer:9.2f} {peer / none:7.2f}"
    print(f"{f'COPY of {rows:,} runs':<34} {figures}")
