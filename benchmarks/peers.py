"""What supabase-pydantic's models let through of the rows that the contract tests judge.

Its command makes the models from a live CodeRed schema on the embedded server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ValidationError

from codered_spec import load_spec
from codered_spec.connection import connect
from codered_spec.contract import Plan, RandomChoices, Row, Scene, faults, neighbours
from codered_spec.emit.ddl import emit_sql
from codered_spec.model.schema import Schema
from codered_spec.postgres import EmbeddedServer
from codered_spec.validators import problems

ROOT = Path(__file__).resolve().parents[1]
RANDOM_ROWS = 200
"""Random valid rows of each table, next to those at the limits."""

Refuses = Callable[[str, Row], bool]


def corpus(schema: Schema) -> Iterator[tuple[str, bool, Row]]:
    """Table, whether Postgres takes the row, and the row, as the contract tests prove it."""
    plan = Plan(schema)
    for table in plan.tables:
        scene = Scene(plan, table, RandomChoices(table))
        for fault in faults(scene):
            if not fault.cross_row:
                yield table, False, with_usual_ids(fault.row, fault.column)
        for near in neighbours(scene):
            yield table, True, with_usual_ids(near.row, near.column)
        for _ in range(RANDOM_ROWS):
            yield table, True, with_usual_ids(scene.world.row(table))


def with_usual_ids(row: Row, tried: str | None = None) -> Row:
    """The row with ids of version 4, as Postgres makes them, but for the column that is tried.

    Else a peer that knows no other version would refuse nearly everything, and nearly every fault
    for another reason than the fault.
    """
    return {
        name: UUID(int=value.int, version=4) if type(value) is UUID and name != tried else value
        for name, value in row.items()
    }


def program() -> str:
    """The path of the command of supabase-pydantic."""
    found = shutil.which("sb-pydantic", path=str(Path(sys.executable).parent))
    if found is None:
        raise SystemExit('sb-pydantic is missing; run pip install -e ".[dev,bench]"')
    return found


def source_of_models(schema: Schema, folder: Path) -> str:
    """What the command writes for the schema, which must be that of the spec."""
    server = EmbeddedServer(folder / "state")
    server.start()
    try:
        with connect(server.dsn()) as connection:
            connection.execute(emit_sql(schema).encode())
        place = server.environment()
        environment = os.environ | {
            "DB_NAME": place["PGDATABASE"],
            "DB_USER": place["PGUSER"],
            "DB_PASS": "unused",
            "DB_HOST": place["PGHOST"],
            "DB_PORT": place["PGPORT"],
        }
        command = [program(), "gen", "--type", "pydantic", "--local", "--db-type", "postgres"]
        command += ["--schema", schema.name, "--dir", str(folder / "models")]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    finally:
        server.stop()
    written = sorted((folder / "models").rglob("*.py"))
    if done.returncode or len(written) != 1:
        raise SystemExit(f"sb-pydantic failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return written[0].read_text(encoding="utf-8")


def models(schema: Schema, folder: Path) -> dict[str, type[BaseModel]]:
    """The Insert model of each table.

    The written module imports ARRAY from pydantic, which has none, and from SQLAlchemy, and does
    not use it; without these lines it can be imported.
    """
    lines = source_of_models(schema, folder).splitlines()
    lines = ["from pydantic import UUID4" if "import UUID4, ARRAY" in s else s for s in lines]
    path = folder / "insert_models.py"
    kept = [line for line in lines if not line.startswith("from sqlalchemy")]
    path.write_text("\n".join(kept), encoding="utf-8")
    spec = spec_from_file_location("insert_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["insert_models"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, type[BaseModel]] = {}
    for table in schema.tables:
        words = table.name.split("_")
        found[table.name] = getattr(module, f"{''.join(w.capitalize() for w in words)}Insert")
        found[table.name].model_rebuild(_types_namespace=vars(module))
    return found


def bench_peers() -> None:
    """False accepts and false refusals of the validators and of supabase-pydantic."""
    schema = load_spec(ROOT / "schema.yaml")
    with tempfile.TemporaryDirectory(prefix="codered-bench-", ignore_cleanup_errors=True) as folder:
        classes = models(schema, Path(folder))

    def refused_by_peer(table: str, row: Row) -> bool:
        try:
            classes[table].model_validate(row)
        except ValidationError:
            return True
        return False

    judges: dict[str, Refuses] = {
        "codered_spec.validators": lambda table, row: bool(problems(table, row)),
        f"supabase-pydantic {version('supabase-pydantic')}": refused_by_peer,
    }
    cases = list(corpus(schema))
    good = [(table, row) for table, valid, row in cases if valid]
    bad = [(table, row) for table, valid, row in cases if not valid]
    print(
        f"\n{len(schema.tables)} tables, {len(bad)} rows with one fault that needs no other row,"
        f" {len(good)} valid rows\n{'validator':<28} {'false accepts':>16} {'false refusals':>16}"
    )
    for name, refuses in judges.items():
        accepted = sum(not refuses(*case) for case in bad)
        refused = sum(refuses(*case) for case in good)
        print(f"{name:<28} {_share(accepted, bad):>16} {_share(refused, good):>16}")
    print("(its module is read without two imports of ARRAY, which cannot be resolved)")


def _share(count: int, cases: list[Any]) -> str:
    return f"{count} ({count / len(cases):.1%})"
