"""Many writers of the same few keys: no deadlock, no error, exact at every moment and at the end.

Each writer changes and deletes its own runs only, so that whatever two of them fight for is of the
rollups. A normal run takes some seconds; ``ROLLUP_SECONDS`` asks for a longer one.

The usual way, a row trigger that adds each run to its totals at once, does not pass: its writers
lock the totals in the order of their statements. In 8 seconds of this load on two cores 9 of its
transactions committed and 11 died in deadlocks (40P01); with deltas that are folded at the commit
2,172 committed and none died.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from rollup_cases import (
    COLUMNS,
    USAGE,
    Connection,
    Db,
    Run,
    copy_of,
    differences,
    fetch,
    number,
    own_server,
    rows,
    run_sql,
    template,
)

from codered_spec.postgres import EmbeddedServer

SECONDS = float(os.environ.get("ROLLUP_SECONDS", "6"))
WRITERS = 8
RUNS = "codered.agent_runs"
TIMES = ["2026-03-01 12:00+00", "2026-03-01 23:59:59.999999+00", "2026-03-02 00:00+00"]
CHANGES = [
    "input_tokens = input_tokens + 1",
    "output_tokens = 0, input_tokens = 0, estimated_cost_usd = 0",
    f"agent_id = '{number(1)}'",
    f"agent_id = '{number(2)}', output_tokens = 3",
    f"project_id = '{number(2)}'",
    "created_at = created_at + interval '15 minutes'",
    "created_at = '2026-03-01 12:00+00'",
    "status = 'failed'",
]


class Writer(threading.Thread):
    """Random transactions until it is told to stop; keeps what it knows to be committed."""

    def __init__(self, connection: Connection, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.connection = connection
        self.random = random.Random(seed)
        self.stop = stop
        self.own: set[str] = set()
        self.unsure: set[str] = set()
        """What may or may not be there if the last commit did not return."""
        self.errors: list[psycopg.Error] = []
        self.committed = 0

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self.transaction()
            except psycopg.Error as error:
                self.errors.append(error)
                if self.connection.closed or self.connection.broken:
                    return
                self.connection.rollback()

    def transaction(self) -> None:
        draw = self.random
        now = set(self.own)
        kept: set[str] | None = None  # at the savepoint
        for _ in range(draw.randint(1, 5)):
            if kept is None and draw.random() < 0.3:
                run_sql(self.connection, "savepoint s")
                kept = set(now)
            now = self.statement(now)
            if kept is not None and draw.random() < 0.3:
                run_sql(self.connection, "rollback to s")
                now = set(kept)
        if draw.random() < 0.15:
            self.connection.rollback()
            return
        self.unsure = self.own ^ now
        self.connection.commit()
        self.own, self.unsure = now, set()
        self.committed += 1

    def statement(self, own: set[str]) -> set[str]:
        """One statement; returns the ids of the writer's runs after it."""
        draw = self.random
        some = draw.sample(sorted(own), min(len(own), draw.randint(1, 6)))
        ids = "(" + ", ".join(f"'{one}'" for one in some) + ")"
        kind = draw.random()
        if not some or (kind < 0.45 and len(own) < 60):
            runs = [
                Run(draw.randint(1, 2), draw.randint(1, 2), draw.choice(TIMES), draw.randint(0, 2))
                for _ in range(draw.randint(1, 4))
            ]
            new = [str(uuid.UUID(int=draw.getrandbits(128))) for _ in runs]
            lines = ", ".join(
                f"('{one}'::uuid, {rows([run]).removeprefix('values (')}"
                for one, run in zip(new, runs, strict=True)
            )
            run_sql(self.connection, f"insert into {RUNS} (id, {COLUMNS}) values {lines}")
            return own | set(new)
        if kind < 0.8:
            run_sql(self.connection, f"update {RUNS} set {draw.choice(CHANGES)} where id in {ids}")
            return own
        run_sql(self.connection, f"delete from {RUNS} where id in {ids}")
        return own - set(some)


class Observer(threading.Thread):
    """Checks, refreshes and rebuilds again and again: at every moment all must be exact."""

    def __init__(self, connection: Connection, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.connection = connection
        self.stop = stop
        self.found: list[Any] = []
        self.rounds = 0

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                for kept in USAGE:
                    query = f"select c::text from codered.check_{kept.table}() c"
                    self.found += fetch(self.connection, query)
                    self.connection.commit()
                refresh = "select codered.refresh_llm_usage_by_agent('2026-03-01', '2026-03-02')"
                run_sql(self.connection, refresh)
                self.connection.commit()
                if self.rounds % 10 == 0:
                    for kept in USAGE:
                        query = f"select codered.rebuild_{kept.table}()"
                        self.found += [n for (n,) in fetch(self.connection, query) if n]
                        self.connection.commit()
                self.rounds += 1
        except psycopg.Error as error:
            self.found.append(error)


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Look again and again until it is so, or the time is over."""
    end = time.monotonic() + seconds
    ticks = threading.Event()
    while not condition() and time.monotonic() < end:
        ticks.wait(0.01)


def test_many_writers_of_the_same_keys(server: EmbeddedServer, world: str) -> None:
    with copy_of(server, world) as name:
        db = Db(server, name)
        stop = threading.Event()
        seed = random.SystemRandom().getrandbits(32)
        writers = [Writer(db.connect(), seed + n, stop) for n in range(WRITERS)]
        observer = Observer(db.connect(), stop)
        threads: list[threading.Thread] = [*writers, observer]
        for thread in threads:
            thread.start()
        until(lambda: bool(observer.found) or any(w.errors for w in writers), SECONDS)
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        for session in (*(writer.connection for writer in writers), observer.connection):
            session.close()
        said = Counter(str(error) for writer in writers for error in writer.errors)
        assert (seed, dict(said), observer.found) == (seed, {}, [])
        with db.session:
            db.exact()
            stored = {str(run) for (run,) in db.rows(f"select id from {RUNS}")}
        assert stored == set().union(*(writer.own for writer in writers))
        assert observer.rounds > 0
        assert sum(writer.committed for writer in writers) > WRITERS * SECONDS


def kill(server: EmbeddedServer, db: Db) -> None:
    """End a server and all of its processes at once, without a word."""
    with db.superuser() as connection:
        children = [pid for (pid,) in fetch(connection, "select pid from pg_stat_activity")]
    postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
    for pid in (postmaster, *children):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    until(lambda: not server.running(), 30)  # a killed process listens until the kernel is done


def test_a_crash_in_the_middle_of_the_load() -> None:
    known: set[str] = set()
    unsure: set[str] = set()
    with own_server({"max_connections": "40"}) as server, template(server) as name:
        for attempt in range(2):
            db = Db(server, name)
            stop = threading.Event()
            writers = [Writer(db.connect(), 100 * attempt + n, stop) for n in range(WRITERS)]
            for writer in writers:
                writer.start()
            until(partial(enough, writers), 60)
            kill(server, db)
            stop.set()
            for writer in writers:
                writer.join(60)
                assert not writer.is_alive()
                writer.connection.close()
                known |= writer.own - writer.unsure
                unsure |= writer.unsure
            db.session.close()
            server.start()
            db = Db(server, name)
            with db.session:
                db.exact()
                stored = {str(run) for (run,) in db.rows(f"select id from {RUNS}")}
            assert known <= stored <= known | unsure


def enough(writers: list[Writer]) -> bool:
    """Whether the load is well under way."""
    return sum(writer.committed for writer in writers) > 200


@pytest.fixture(scope="module")
def world(server: EmbeddedServer) -> Iterator[str]:
    with template(server) as name:
        yield name


def test_the_judgement_is_not_blind(server: EmbeddedServer, world: str) -> None:
    with copy_of(server, world) as name, Db(server, name).session as session:
        entry = (
            "insert into codered.agent_runs_deltas"
            " select 1, gen_random_uuid(), project.id, agent.id, now(), now()::date,"
            " 1, 1, 1, 1, false"
            " from codered.projects project, codered.agents agent limit 1"
        )
        run_sql(session, entry)
        assert len(differences(session)) == 1
