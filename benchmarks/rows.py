"""The accept and the refuse path of `agent_runs` against pydantic and jsonschema, same rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from jsonschema import Draft202012Validator
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from benchmarks.measure import cpu_of
from codered_spec.generated.validators import TABLES
from codered_spec.validation import json_schema

RUNS = 5
ROWS = 5_000


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("NUL cannot be stored")
    text.encode()
    return text


def _short(text: str) -> str:
    if len(text.encode()) > 2600:
        raise ValueError("over 2600 bytes")
    return text


def _finite(number: Decimal) -> Decimal:
    if not Decimal("-0.0000005") < number < Decimal("999999.9999995"):
        raise ValueError("out of range")
    return number


Text = Annotated[str, AfterValidator(_storable)]
Count = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


class AgentRun(BaseModel):
    """The rules of the table as a user of pydantic would write them."""

    model_config = ConfigDict(extra="forbid")

    id: UUID | None = None
    project_id: UUID
    task_id: UUID | None = None
    agent_id: UUID
    mode: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    provider: Text
    model: Annotated[str, AfterValidator(_storable), AfterValidator(_short)]
    tier: Literal["gold", "silver", "bronze"]
    input_tokens: Count
    output_tokens: Count
    estimated_cost_usd: Annotated[Decimal, AfterValidator(_finite)]
    latency_ms: Annotated[int, Field(ge=0, lt=2**31, strict=True)]
    status: Literal["succeeded", "failed"]
    error_message: Text | None = None
    degraded_from_model: Text | None = None
    input_summary: Text
    output_summary: Text
    full_input: Text | None = None
    full_output: Text | None = None
    created_at: AwareDatetime | None = None


def python_rows() -> list[dict[str, Any]]:
    """Rows as a program makes them."""
    return [
        {
            "project_id": uuid4(),
            "task_id": uuid4() if n % 2 else None,
            "agent_id": uuid4(),
            "mode": "implementation",
            "provider": "anthropic",
            "model": "claude-3-opus",
            "tier": ("gold", "silver", "bronze")[n % 3],
            "input_tokens": 1000 + n,
            "output_tokens": 300 + n,
            "estimated_cost_usd": Decimal(n).scaleb(-6),
            "latency_ms": 900 + n,
            "status": "succeeded",
            "input_summary": "The failing step and the last lines of its log",
            "output_summary": "A retry with backoff, and a test with a fake clock",
            "created_at": datetime(2026, 11, 22, 9, n % 60, tzinfo=UTC),
        }
        for n in range(ROWS)
    ]


def json_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows as they come out of JSON."""

    def plain(value: object) -> object:
        if isinstance(value, Decimal):
            return float(value)
        return value.isoformat() if isinstance(value, datetime) else str(value)

    loaded: list[dict[str, Any]] = json.loads(json.dumps(rows, default=plain))
    return loaded


def _each(rows: list[dict[str, Any]], judge: Callable[[dict[str, Any]], object]) -> float:
    """CPU microseconds a row."""

    def run() -> None:
        for row in rows:
            judge(row)

    return cpu_of(run, RUNS) / len(rows) * 1e6


def _pydantic_errors(row: dict[str, Any]) -> object:
    try:
        AgentRun.model_validate(row)
    except ValidationError as error:
        return error.errors()
    raise SystemExit("a bad row was accepted")


def bench_rows() -> None:
    """CPU time a row of the verdict, the normalised row and the list of problems."""
    ours = TABLES["agent_runs"]
    peer = AgentRun.model_validate
    schema = Draft202012Validator(json_schema(ours.columns, "agent_runs"))
    rows = python_rows()
    plain = json_rows(rows)
    bad = [{**row, "tier": "golden", "input_tokens": -1, "extra": 1} for row in rows]
    if not all(map(ours.ok, rows)) or not all(map(ours.ok, plain)) or any(map(ours.ok, bad)):
        raise SystemExit("the rows are not what they should be")
    table = [
        ("verdict, Python rows", _each(rows, ours.ok), _each(rows, peer), "pydantic"),
        ("validate, Python rows", _each(rows, ours.validate), _each(rows, peer), "pydantic"),
        ("verdict, JSON rows", _each(plain, ours.ok), _each(plain, peer), "pydantic"),
        ("validate, JSON rows", _each(plain, ours.validate), _each(plain, peer), "pydantic"),
        (
            "verdict, JSON rows",
            _each(plain, ours.ok),
            _each(plain[:200], schema.is_valid),
            "jsonschema",
        ),
        (
            "problems of a bad row",
            _each(bad, ours.problems),
            _each(bad, _pydantic_errors),
            "pydantic",
        ),
    ]
    print(f"\n{'agent_runs':<24} {'µs/row':>8} {'peer':>10} {'µs/row':>9} {'peer/ours':>10}")
    for name, own, other, who in table:
        print(f"{name:<24} {own:8.2f} {who:>10} {other:9.2f} {other / own:10.2f}")
