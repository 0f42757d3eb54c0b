"""The accept and the refuse path of `agent_runs` against pydantic and jsonschema, same rules.

And the share of validation in a load: `bench_load`.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from uuid import UUID, uuid4

import psycopg
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import NotRequired, TypedDict  # noqa: UP035 -- pydantic asks for these

from benchmarks.measure import processes
from codered_spec import load_spec
from codered_spec.connection import connect
from codered_spec.contract import Plan, RandomChoices, Scene, faults, neighbours
from codered_spec.contract.verdicts import insert
from codered_spec.generated.validators import TABLES
from codered_spec.migrate.directory import read_directory
from codered_spec.migrate.runner import migrate
from codered_spec.postgres import EmbeddedServer
from codered_spec.validation import json_schema

ROOT = Path(__file__).resolve().parents[1]
RUNS = 31
ROWS = 500
LOADED = 20_000

Row = dict[str, Any]
Judge = Callable[[Row], object]

# ---- the rules, as a user of pydantic would write them ----
#
# Constraints of fields where pydantic has them, functions for the rest. `max_length` makes pydantic
# read the text as UTF-8, which finds lone surrogates.


def _identifier(value: Any) -> Any:
    if type(value) is UUID or (type(value) is str and len(value) == 36):
        return value  # of the forms that pydantic takes, this length has only the usual one
    raise ValueError("not a UUID: 8-4-4-4-12 hexadecimal digits")


_plain_number = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?").fullmatch


def _exact(value: Any) -> Any:
    kind = type(value)
    if kind is Decimal or kind is int:
        return value
    if kind is float and len(repr(value).partition("e")[0].replace(".", "").strip("-0")) <= 15:
        return value
    if kind is str and _plain_number(value):
        return value
    raise ValueError("not an exact number")


_plain_instant = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])"
).fullmatch


def _instant(value: Any) -> Any:
    if type(value) is str and _plain_instant(value):
        return value
    if type(value) is datetime:
        offset = value.utcoffset()
        if offset is not None and abs(offset) < timedelta(hours=16) and not offset.microseconds:
            return value
    raise ValueError("not an instant with a time zone")


def _short(text: str) -> str:
    if len(text.encode()) > 2600:
        raise ValueError("over 2600 bytes")
    return text


Identifier = Annotated[UUID, BeforeValidator(_identifier)]
Text = Annotated[str, Field(strict=True, max_length=2**24, pattern=r"^[^\x00]*$")]
Count = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Cost = Annotated[
    Decimal,
    Field(gt=Decimal("-0.0000005"), lt=Decimal("999999.9999995")),
    BeforeValidator(_exact),
]
Instant = Annotated[
    AwareDatetime,
    Field(
        ge=datetime(1, 1, 2, tzinfo=UTC), le=datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)
    ),
    BeforeValidator(_instant),
]


class AgentRun(BaseModel):
    """The rules of the table."""

    model_config = ConfigDict(extra="forbid")

    id: Identifier = None  # type: ignore[assignment]  # may be left out, but not be null
    project_id: Identifier
    task_id: Identifier | None = None
    agent_id: Identifier
    mode: Annotated[str, Field(strict=True, max_length=2**24, pattern=r"^[a-z][a-z0-9_]*$")]
    provider: Text
    model: Annotated[Text, AfterValidator(_short)]
    tier: Literal["gold", "silver", "bronze"]
    input_tokens: Count
    output_tokens: Count
    estimated_cost_usd: Cost
    latency_ms: Annotated[int, Field(strict=True, ge=0, lt=2**31)]
    status: Literal["succeeded", "failed"]
    error_message: Text | None = None
    degraded_from_model: Text | None = None
    input_summary: Text
    output_summary: Text
    full_input: Text | None = None
    full_output: Text | None = None
    created_at: Instant = None  # type: ignore[assignment]


def _typed_dict() -> TypeAdapter[Any]:
    """The same fields as a TypedDict, which pydantic's manual recommends for speed."""
    fields = {
        name: hint if AgentRun.model_fields[name].is_required() else NotRequired[hint]
        for name, hint in get_type_hints(AgentRun, include_extras=True).items()
        if name in AgentRun.model_fields
    }
    kind = TypedDict("kind", fields)  # type: ignore[misc]
    kind.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return TypeAdapter(kind)


def _json_validator() -> Draft202012Validator:
    """The generated JSON Schema with what it could say besides.

    It cannot say: bytes of a text, lone surrogates, the range of instants, the digits of a float.
    """
    schema = json_schema(TABLES["agent_runs"].columns, "agent_runs")
    for name, column in TABLES["agent_runs"].columns.items():
        stated = schema["properties"][name]
        if column.type == "text" and not column.allowed and column.pattern is None:
            stated["pattern"] = "^[^\\x00]*$"
    cost = schema["properties"]["estimated_cost_usd"]
    cost.update(exclusiveMinimum=-0.0000005, exclusiveMaximum=999999.9999995)
    checker = FormatChecker(["uuid"])

    @checker.checks("date-time", raises=ValueError)
    def _aware(value: object) -> bool:
        return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None

    return Draft202012Validator(schema, format_checker=checker)


# ---- rows ----


def python_rows(count: int = ROWS) -> list[Row]:
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
        for n in range(count)
    ]


def json_rows(rows: list[Row]) -> list[Row]:
    """The same rows as they come out of JSON."""

    def plain(value: object) -> object:
        if isinstance(value, Decimal):
            return float(value)
        return value.isoformat() if isinstance(value, datetime) else str(value)

    loaded: list[Row] = json.loads(json.dumps(rows, default=plain))
    return loaded


def _forms() -> list[Row]:
    """Values in forms that only some would take."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    some = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    values: dict[str, list[Any]] = {
        "id": [some, some.upper(), UUID(some).hex, f"{{{some}}}", some.encode(), 1, some + " "],
        "provider": [b"text", 5, True, Decimal(1), ["x"]],
        "mode": [b"intake", "unknown_mode", "intake\n", "Intake", ""],
        "tier": [True, 1, "Gold", None],
        "latency_ms": [True, 1.0, "1", 2**31 - 1, 2**31, Decimal(1)],
        "estimated_cost_usd": [
            *(
                0,
                5,
                True,
                -0.0,
                0.1,
                0.1 + 0.2,
                1e-7,
                -1e-7,
                999999.999999,
                1e6,
                "0.10",
                "-0.000001",
            ),
            *("1e5", " 1", "1_0", ".5", "1.", "NaN", "Infinity", float("nan"), float("inf")),
            *map(Decimal, ("NaN", "sNaN", "-Infinity", "0.00", "1E+5", "1E-7", "-0")),
        ],
        "created_at": [
            *("2026-01-01T00:00:00Z", "2026-01-01 00:00:00.5-08:00", "2026-01-01T00:00:00+15:59"),
            *("2026-01-01T00:00:00", "2026-01-01T00:00Z", "2026-01-01", "20260101T000000Z"),
            *("2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01T00:00:00+16:00"),
            *("2026-02-30T00:00:00Z", "2026-01-01T00:00:00.1234567Z", "0001-01-01T00:00:00Z"),
            *("9999-12-31T00:00:00Z", "1767225600", 1767225600, 1.5, at.date(), at),
            *(at.replace(tzinfo=None), at.replace(year=1, day=1), at.replace(year=9999, month=12)),
        ],
        "no_such_column": [None, 1],
    }
    row = python_rows(1)[0]
    return [row | {name: value} for name, tried in values.items() for value in tried]


def _agree(accepts: dict[str, Callable[[Row], bool]]) -> int:
    """Has all judge the same rows, good and bad; any difference ends the benchmark."""
    scene = Scene(Plan(load_spec(ROOT / "schema.yaml")), "agent_runs", RandomChoices("agent_runs"))
    good = [near.row for near in neighbours(scene)]
    bad = [fault.row for fault in faults(scene) if not fault.cross_row]
    for row in good + bad + _forms():
        verdicts = {name: accept(row) for name, accept in accepts.items()}
        if len(set(verdicts.values())) != 1:
            raise SystemExit(f"no agreement: {verdicts} of {row}")
    ours = accepts["ours"]
    if not all(map(ours, good)) or any(map(ours, bad)):
        raise SystemExit("a neighbour is refused, or a fault accepted")
    return len(good) + len(bad) + len(_forms())


def _accepts(validate: Judge) -> Callable[[Row], bool]:
    def accept(row: Row) -> bool:
        try:
            validate(row)
        except ValidationError:
            return False
        return True

    return accept


# ---- times ----


def _each(*jobs: tuple[Judge, Sequence[Row]]) -> list[float]:
    """CPU microseconds a row of each job, in turns, so that a busy machine slows all down alike."""
    found: list[list[float]] = [[] for _ in jobs]
    for run in range(RUNS + 1):
        for (judge, rows), samples in zip(jobs, found, strict=True):
            before = time.process_time()
            for row in rows:
                judge(row)
            if run:
                samples.append((time.process_time() - before) / len(rows) * 1e6)
    return [statistics.median(samples) for samples in found]


def _errors(validate: Judge) -> Judge:
    def errors(row: Row) -> object:
        try:
            validate(row)
        except ValidationError as error:
            return error.errors()
        raise SystemExit("a bad row was accepted")

    return errors


def bench_rows() -> None:
    """CPU time a row of the verdict, the normalised row and the list of problems; the import."""
    ours = TABLES["agent_runs"]
    model, typed = AgentRun.model_validate, _typed_dict().validate_python
    schema = _json_validator()
    rows = python_rows()
    plain = json_rows(rows)
    bad = [{**row, "tier": "golden", "input_tokens": -1, "extra": 1} for row in rows]
    accepts = {"ours": ours.ok, "pydantic": _accepts(model), "TypedDict": _accepts(typed)}
    judged = _agree(accepts)
    few = plain[:100]
    if not all(accept(row) for accept in accepts.values() for row in rows + plain):
        raise SystemExit("a row that should be good is refused")
    if not all(map(schema.is_valid, few)):
        raise SystemExit("jsonschema refuses a row that should be good")
    unlisted = [{**row, "mode": "m", "provider": "p", "model": "x"} for row in rows]
    table: list[tuple[str, Judge, Judge, list[Row], str]] = [
        ("verdict, Python rows", ours.ok, model, rows, "pydantic"),
        ("verdict, Python rows", ours.ok, typed, rows, "TypedDict"),
        ("  mode … not well-known", ours.ok, model, unlisted, "pydantic"),
        ("validate, Python rows", ours.validate, model, rows, "pydantic"),
        ("verdict, JSON rows", ours.ok, model, plain, "pydantic"),
        ("verdict, JSON rows", ours.ok, typed, plain, "TypedDict"),
        ("validate, JSON rows", ours.validate, model, plain, "pydantic"),
        ("verdict, JSON rows", ours.ok, schema.is_valid, few, "jsonschema"),
        ("problems of a bad row", ours.problems, _errors(model), bad, "pydantic"),
        ("problems of a bad row", ours.problems, _errors(typed), bad, "TypedDict"),
    ]
    print(f"\n{judged:,} good and bad rows judged alike by ours, pydantic and TypedDict")
    print("jsonschema cannot check bytes, surrogates, the range of instants, the digits of a float")
    print(f"{'agent_runs':<24} {'µs/row':>8} {'peer':>10} {'µs/row':>9} {'peer/ours':>10}")
    for name, own, other, given, who in table:
        # a judge of microseconds is at its own speed only after some thousand rows
        mine, theirs = _each((own, given * (len(rows) // len(given))), (other, given))
        print(f"{name:<24} {mine:8.2f} {who:>10} {theirs:9.2f} {theirs / mine:10.2f}")
    _import_times()


_STANDARD = "import array, datetime, decimal, math, re, uuid"
_FIRST_USE = "from codered_spec.validators import validate\ntry: validate('agent_runs', {})"
_FIRST_USE += "\nexcept ValueError: pass"


def _import_times() -> None:
    """The import and the first verdict, against the standard library's modules alone.

    Bytecode is written to a folder of its own first: an installed package has it.
    """
    with tempfile.TemporaryDirectory(prefix="codered-bench-") as folder:
        environment = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            found = processes(
                {
                    "standard library only": [sys.executable, "-c", _STANDARD],
                    "with the validators": [sys.executable, "-c", f"{_STANDARD}\n{_FIRST_USE}"],
                    "with pydantic": [sys.executable, "-c", f"{_STANDARD}\nimport pydantic.main"],
                },
                runs=15,
            )
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
    base = found["standard library only"].cpu
    print(f"\n{'import and first use':<24} {'CPU ms':>8} {'beyond':>10}")
    for name, one in found.items():
        print(f"{name:<24} {one.cpu * 1000:8.1f} {(one.cpu - base) * 1000:10.1f}")


# ---- the share of a load ----

_TYPES = {"numeric(12,6)": "numeric", "integer": "int4", "bigint": "int8"}


def bench_load() -> None:
    """CPU time of validating rows against that of writing them: COPY and executemany."""
    spec = load_spec(ROOT / "schema.yaml")
    scene = Scene(Plan(spec), "agent_runs", RandomChoices("load"))
    parents = {name: scene.row[name] for name in ("project_id", "agent_id")}
    # the same few rows again and again: a program judges and writes a row right after making it
    batch = [row | parents | {"task_id": None} for row in python_rows()]
    rows = batch * (LOADED // len(batch))
    stored = list(map(TABLES["agent_runs"].validate, batch)) * (LOADED // len(batch))
    with tempfile.TemporaryDirectory(prefix="codered-bench-") as folder:
        server = EmbeddedServer(Path(folder) / "state")
        server.start()
        try:
            with connect(server.dsn()) as connection:
                migrate(connection, read_directory(ROOT / "migrations"), report=lambda _line: None)
                insert(connection, spec, scene.before)
            with psycopg.connect(server.dsn()) as connection:
                times = _load_times(connection, rows, stored)
        finally:
            server.stop()
    scope = "client and server" if _server_cpu(os.getpid()) else "client"
    print(f"\n{f'{LOADED:,} rows, CPU of {scope}':<38} {'µs/row':>8} {'validate':>9}")
    for name, seconds in times.items():
        share = times["validate, Python rows"] / seconds
        print(f"{name:<38} {seconds / LOADED * 1e6:8.2f} {share:9.1%}")


def _load_times(
    connection: psycopg.Connection[Any], rows: list[Row], stored: list[Row]
) -> dict[str, float]:
    """Medians of the CPU seconds of each kind of work, in turns."""
    names = list(stored[0])
    columns = TABLES["agent_runs"].columns
    types = [_TYPES.get(columns[name].type, columns[name].type) for name in names]
    target = f"codered.agent_runs ({', '.join(names)})"
    statement = f"insert into {target} values ({', '.join(['%s'] * len(names))})"
    tuples = [tuple(row.values()) for row in stored[:ROWS]] * (len(stored) // ROWS)
    validate = TABLES["agent_runs"].validate
    plain = json_rows(rows[:ROWS]) * (len(rows) // ROWS)

    def each(given: list[Row]) -> None:
        for row in given:
            validate(row)

    def copy(form: str) -> None:
        with (
            connection.cursor() as cursor,
            cursor.copy(f"copy {target} from stdin (format {form})".encode()) as stream,
        ):
            stream.set_types(types)
            for values in tuples:
                stream.write_row(values)

    def executemany() -> None:
        with connection.cursor() as cursor:
            cursor.executemany(statement.encode(), tuples)

    jobs: dict[str, Callable[[], object]] = {
        "validate, Python rows": lambda: each(rows),
        "validate, JSON rows": lambda: each(plain),
        "COPY, binary": lambda: copy("binary"),
        "COPY, text": lambda: copy("text"),
        "executemany": executemany,
    }
    found: dict[str, list[float]] = {name: [] for name in jobs}
    backend = connection.info.backend_pid
    for run in range(4):
        for name, job in jobs.items():
            before = time.process_time() + _server_cpu(backend)
            job()
            connection.execute("select 1")  # waits until the server is through
            after = time.process_time() + _server_cpu(backend)
            connection.rollback()
            if run:
                found[name].append(after - before)
    return {name: statistics.median(samples) for name, samples in found.items()}


def _server_cpu(process: int) -> float:
    """CPU seconds of a process of this machine; 0 where the system does not tell (not Linux)."""
    try:
        fields = (
            Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
