"""Random transactions: after each commit both rollups are what Postgres and DuckDB add up.

A normal run takes some seconds; ``ROLLUP_EXAMPLES`` asks for more examples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from rollup_cases import (
    COLUMNS,
    RESET,
    USAGE,
    Db,
    Run,
    bypass,
    copy_of,
    differences,
    insert,
    number,
    rows,
    spec,
    template,
)

from codered_spec.emit.duck import duck_rollup_sql
from codered_spec.postgres import EmbeddedServer

EXAMPLES = int(os.environ.get("ROLLUP_EXAMPLES", "25"))
RUNS = "codered.agent_runs"

INSTANTS = [
    f"{day} {time}+00"
    for day in ["2026-03-01", "2026-03-02"]
    for time in ["00:00:00", "12:07:30", "12:14:59.999999", "12:15:00", "23:59:59.999999"]
] + [
    "2026-03-29 00:59:59.999999+00",  # summer time begins in Europe
    "2026-03-29 01:00:00+00",
    "2026-11-01 05:59:59.999999+00",  # and ends in New York
    "2026-11-01 06:00:00+00",
    "1969-12-31 23:59:59.999999+00",
    "2024-02-29 23:50:00+00",
]
ZONES = ["UTC", "Asia/Kolkata", "Pacific/Kiritimati", "America/New_York", "Europe/Berlin", "UTC+3"]
CHANGES = [
    "input_tokens = input_tokens + 3",
    "output_tokens = output_tokens / 2",
    "input_tokens = output_tokens, output_tokens = input_tokens",
    "estimated_cost_usd = estimated_cost_usd * 0.5",
    "input_tokens = 0, output_tokens = 0, estimated_cost_usd = 0",
    "created_at = created_at + interval '1 day'",
    "created_at = created_at - interval '1 microsecond'",
    "created_at = created_at + interval '15 minutes'",
    f"agent_id = '{number(1)}'",
    f"agent_id = '{number(2)}', output_tokens = 2",
    f"project_id = '{number(2)}'",
    "status = 'failed'",
]
WINDOWS = [
    ("2026-03-01 00:00+00", "2026-03-02 00:00+00"),
    ("2026-03-01 12:07:30+00", "2026-03-02 12:15+00"),
    ("2026-03-01 12:00+00", "2026-03-01 12:15+00"),
    ("1969-01-01 00:00+00", "2027-01-01 00:00+00"),
]

RUN = st.builds(
    Run,
    project=st.integers(1, 2),
    agent=st.integers(1, 2),
    at=st.sampled_from(INSTANTS),
    input=st.sampled_from([0, 0, 1, 10, 2**40]),
    output=st.sampled_from([0, 0, 5]),
    cost=st.sampled_from(["0", "0", "0.000001", "0.25", "1000"]),
)
WHERE = st.sampled_from(
    [
        "true",
        f"project_id = '{number(1)}'",
        f"agent_id = '{number(2)}'",
        "input_tokens = 0",
        "output_tokens > 0",
        "created_at < '2026-03-02'",
        f"id = (select id from {RUNS} order by created_at, input_tokens limit 1)",
        f"id in (select id from {RUNS} order by created_at desc, output_tokens limit 2)",
    ]
)


def by_duck(runs: list[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    """What DuckDB says the rollups are."""
    with duckdb.connect() as duck:
        duck.execute(
            "create table agent_runs (project_id uuid, agent_id uuid, created_at timestamptz,"
            " input_tokens bigint, output_tokens bigint, estimated_cost_usd decimal(12, 6))"
        )
        if runs:
            texts = [list(column) for column in zip(*runs, strict=True)]
            given = ", ".join(f"unnest(${n + 1}::varchar[])" for n in range(len(texts)))
            duck.execute(f"insert into agent_runs select {given}", texts)
        found = {}
        for rollup in spec().rollups:
            keys = [
                f'epoch_us("{name}")' if name.startswith("window") else f'"{name}"::varchar'
                for name in rollup.key_columns
            ]
            measures = [f'"{measure.target}"::varchar' for measure in rollup.measures]
            query = f"select {', '.join([*keys, *measures])} from ({duck_rollup_sql(rollup)})"
            found[rollup.name] = sorted(duck.execute(query).fetchall())
    return found


def by_postgres(db: Db) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the rollups in the same form."""
    found = {}
    for rollup in spec().rollups:
        keys = [
            f"(extract(epoch from {name}) * 1000000)::bigint"
            if name.startswith("window")
            else f"{name}::text"
            for name in rollup.key_columns
        ]
        measures = [f"{measure.target}::text" for measure in rollup.measures]
        query = f"select {', '.join([*keys, *measures])} from codered.{rollup.name}"
        if rollup.window is not None:
            query += " where window_end - window_start = interval '15 minutes'"
            query += " and extract(epoch from window_start) % 900 = 0"
        found[rollup.name] = sorted(db.rows(query))
    return found


class Transactions(RuleBasedStateMachine):
    """One session with any statements; other sessions only look."""

    db: Db

    def __init__(self) -> None:
        super().__init__()
        self.savepoints: list[str] = []

    @initialize()
    def start(self) -> None:
        self.db.session.rollback()
        self.db.do("reset timezone")
        self.db.session.commit()
        bypass(self.db, *RESET)

    @rule(runs=st.lists(RUN, min_size=1, max_size=4))
    def insert(self, runs: list[Run]) -> None:
        self.db.do(insert(*runs))

    @rule(runs=st.lists(RUN, min_size=1, max_size=3))
    def insert_one_by_one(self, runs: list[Run]) -> None:
        self.db.do(*(insert(run) for run in runs))

    @rule(runs=st.lists(RUN, max_size=4))
    def copy(self, runs: list[Run]) -> None:
        with self.db.session.cursor() as cursor:
            command = f"copy {RUNS} ({COLUMNS}) from stdin"
            with cursor.copy(command.encode()) as copy:
                for run in runs:
                    copy.write_row((number(run.project), number(run.agent), *run[2:]))

    @rule(runs=st.lists(RUN, min_size=1, max_size=3), where=WHERE)
    def merge(self, runs: list[Run], where: str) -> None:
        self.db.do(
            f"merge into {RUNS} t using (select id, input_tokens n from {RUNS} where {where}) s"
            " on t.id = s.id when matched and n = 0 then delete"
            " when matched then update set output_tokens = t.output_tokens + 1"
        )
        self.db.do(
            f"with gone as (delete from {RUNS} where {where} returning 1)"
            f" insert into {RUNS} ({COLUMNS}) {rows(runs)}"
        )

    @rule(change=st.sampled_from(CHANGES), where=WHERE)
    def update(self, change: str, where: str) -> None:
        self.db.do(f"update {RUNS} set {change} where {where}")

    @rule(where=WHERE)
    def delete(self, where: str) -> None:
        self.db.do(f"delete from {RUNS} where {where}")

    @rule()
    def truncate(self) -> None:
        self.db.do(f"truncate {RUNS} cascade")

    @rule()
    def savepoint(self) -> None:
        self.savepoints.append(f"s{len(self.savepoints)}")
        self.db.do(f"savepoint {self.savepoints[-1]}")

    @precondition(lambda self: self.savepoints)
    @rule(data=st.data(), release=st.booleans())
    def end_savepoint(self, data: st.DataObject, release: bool) -> None:
        place = data.draw(st.integers(0, len(self.savepoints) - 1))
        name = self.savepoints[place]
        self.db.do(f"{'release' if release else 'rollback to'} {name}")
        del self.savepoints[place + (not release) :]

    @rule(zone=st.sampled_from(ZONES))
    def set_time_zone(self, zone: str) -> None:
        self.db.do(f"set time zone '{zone}'")

    @rule(mode=st.sampled_from(["immediate", "deferred"]))
    def set_constraints(self, mode: str) -> None:
        self.db.do(f"set constraints all {mode}")
        if mode == "immediate":
            assert differences(self.db.session) == []

    @rule(window=st.sampled_from(WINDOWS), project=st.sampled_from([None, 1, 2]))
    def refresh(self, window: tuple[str, str], project: int | None) -> None:
        only = "null" if project is None else f"'{number(project)}'"
        start, end = window
        self.db.do(f"select codered.refresh_llm_usage_by_agent('{start}', '{end}', {only})")
        if start.endswith("12:00+00") and end.endswith("12:15+00"):
            return  # on the grid
        stored = self.db.rows(
            "select project_id, agent_id, total_input_tokens, total_output_tokens, total_cost_usd"
            " from codered.llm_usage_by_agent where window_start = "
            f"'{start}' and window_end = '{end}' and project_id = coalesce({only}, project_id)"
        )
        truth = self.db.rows(
            "select project_id, agent_id, sum(input_tokens), sum(output_tokens),"
            f" sum(estimated_cost_usd) from {RUNS} where created_at >= '{start}'"
            f" and created_at < '{end}' and project_id = coalesce({only}, project_id)"
            " group by 1, 2"
        )
        assert sorted(stored) == sorted(truth)

    @rule(name=st.sampled_from([kept.table for kept in USAGE]))
    def rebuild(self, name: str) -> None:
        assert self.db.value(f"select codered.rebuild_{name}()") == 0

    @rule()
    def rollback(self) -> None:
        self.savepoints.clear()
        self.db.session.rollback()

    @rule()
    def commit(self) -> None:
        self.savepoints.clear()
        self.db.session.commit()
        assert differences(self.db.session) == []
        runs = self.db.rows(
            "select project_id::text, agent_id::text,"
            " timezone(interval '0', created_at)::text || '+00',"
            f" input_tokens::text, output_tokens::text, estimated_cost_usd::text from {RUNS}"
        )
        assert by_duck(runs) == by_postgres(self.db)
        self.db.session.commit()

    def teardown(self) -> None:
        if self.db.session.info.transaction_status.name != "INERROR":
            self.commit()
        self.db.session.rollback()


@pytest.fixture(scope="module")
def db(server: EmbeddedServer) -> Iterator[Db]:
    with ExitStack() as stack:
        name = stack.enter_context(template(server))
        db = Db(server, stack.enter_context(copy_of(server, name)))
        stack.enter_context(db.session)
        yield db
        db.session.rollback()


def test_random_transactions(db: Db) -> None:
    class Machine(Transactions):
        pass

    Machine.db = db
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            phases=[Phase.explicit, Phase.generate],  # to shrink takes minutes
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
