"""Runs of agents, put into a real database through SQL."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final

from codered_spec import load_spec
from codered_spec.connection import Connection
from codered_spec.emit.ddl import emit_sql

SPEC: Final = Path(__file__).resolve().parent.parent / "schema.yaml"
QUARTER: Final = timedelta(minutes=15)


@cache
def schema_sql() -> bytes:
    return emit_sql(load_spec(str(SPEC))).encode()


def prepare(connection: Connection) -> None:
    """The schema with two projects (red, blue) and two agents (code, test)."""
    with connection.transaction():
        connection.execute(schema_sql())
        connection.execute(
            "insert into codered.projects (slug, name, description, status)"
            " select s, s, s, 'active' from unnest(array['red', 'blue']) s"
        )
        connection.execute(
            "insert into codered.agents (slug, name, description, default_tier,"
            " max_tokens_per_call, max_calls_per_task, cost_ceiling_usd_per_task)"
            " select s, s, s, 'gold', 1, 1, 1 from unnest(array['code', 'test']) s"
        )


def add_runs(
    connection: Connection,
    moments: list[datetime] | list[str],
    *,
    project: str = "red",
    agent: str = "code",
    model: str = "m",
    tokens: tuple[int, int] = (1, 2),
    cost: Decimal | str = "0.000001",
) -> None:
    """One run at each of the moments."""
    connection.execute(
        "insert into codered.agent_runs (project_id, agent_id, mode, provider, model, tier,"
        " input_tokens, output_tokens, estimated_cost_usd, latency_ms, status, input_summary,"
        " output_summary, created_at)"
        " select p.id, a.id, 'design', 'openai', %s, 'gold', %s, %s, %s, 1, 'succeeded', '', '', m"
        " from codered.projects p, codered.agents a, unnest(%s::text[]::timestamptz[]) m"
        " where p.slug = %s and a.slug = %s",
        [model, *tokens, cost, list(map(str, moments)), project, agent],
    )
