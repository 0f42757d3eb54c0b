"""``python -m benchmarks [name ...]``: prints a table for each, or for all of them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import yaml

from benchmarks.contract import bench_contract
from benchmarks.measure import cpu_of, processes, wall_of
from benchmarks.peers import bench_peers
from benchmarks.rollups import bench_rollups
from benchmarks.rows import bench_load, bench_rows
from benchmarks.synthetic import synthetic_spec
from benchmarks.usage import bench_usage
from codered_spec.compiler import load
from codered_spec.connection import connect
from codered_spec.emit.ddl import emit_sql
from codered_spec.migrate.directory import read_directory
from codered_spec.migrate.runner import migrate
from codered_spec.migrate.verify import verify
from codered_spec.model.check import check, errors
from codered_spec.postgres import EmbeddedServer
from codered_spec.sources.spec import canonical_text, read_spec

ROOT = Path(__file__).resolve().parents[1]


def bench_check() -> None:
    """CPU time and memory of `codered-spec check` against an empty Python program."""
    spec = str(ROOT / "schema.yaml")
    tool = [sys.executable, "-m", "codered_spec", "--spec", spec]
    subprocess.run([*tool, "check"], check=True, stdout=subprocess.DEVNULL)
    found = processes(
        {
            "python -c pass": [sys.executable, "-c", "pass"],
            "check (nothing changed)": [*tool, "check"],
            "check --no-cache": [*tool, "check", "--no-cache"],
            "python -c 'import yaml; yaml.safe_load'": [
                sys.executable,
                "-c",
                f"import yaml; yaml.load(open({spec!r}), Loader=yaml.CSafeLoader)",
            ],
        },
        runs=15,
    )
    base = found["python -c pass"]
    print(f"\n{'process':<42} {'CPU ms':>8} {'ratio':>7} {'MiB':>7}")
    for name, one in found.items():
        print(f"{name:<42} {one.cpu * 1000:8.1f} {one.cpu / base.cpu:7.2f} {one.memory:7.1f}")


def bench_scale() -> None:
    """Parse, check and emit of 100, 300 and 1,000 tables, per table and against PyYAML alone."""
    print(
        f"\n{'tables':>6} {'parse ms':>9} {'check ms':>9} {'emit ms':>8} {'ms/table':>9}"
        f" {'to 100':>7} {'parse / PyYAML':>15}"
    )
    first = 0.0
    for tables in (100, 300, 1000):
        text = canonical_text(synthetic_spec(tables))
        schema = read_spec(text, "synthetic.yaml").schema
        if errors(check(schema)):
            raise SystemExit("the synthetic spec has errors")
        runs = 3 if tables == 1000 else 5
        parse = cpu_of(partial(read_spec, text, "synthetic.yaml"), runs)
        checked = cpu_of(partial(check, schema), runs)
        emitted = cpu_of(partial(emit_sql, schema), runs)
        peer = cpu_of(partial(yaml.load, text, Loader=yaml.CSafeLoader), runs)
        each = (parse + checked + emitted) / tables * 1000
        first = first or each
        print(
            f"{tables:6} {parse * 1000:9.0f} {checked * 1000:9.0f} {emitted * 1000:8.0f}"
            f" {each:9.2f} {each / first:7.2f} {parse / peer:15.2f}"
        )


def bench_verify() -> None:
    """`verify` of the CodeRed schema against pg_dump --schema-only of the same database."""
    schema = load(str(ROOT / "schema.yaml")).schema
    migrations = read_directory(ROOT / "migrations")
    with tempfile.TemporaryDirectory(prefix="codered-bench-") as folder:
        server = EmbeddedServer(Path(folder) / "state")
        server.start()
        try:
            with connect(server.dsn()) as connection:
                migrate(connection, migrations, report=lambda _line: None)
                psql = Path(server.psql_command(server.dsn())[0])
                dump = [str(psql.with_name("pg_dump")), "--schema-only", server.dsn()]
                dump += ["--schema", schema.name]
                found = wall_of(
                    {
                        "verify": lambda: verify(connection, schema),
                        "pg_dump": lambda: subprocess.run(dump, check=True, capture_output=True),
                    },
                    runs=10,
                )
        finally:
            server.stop()
    print(f"\n{'database work':<24} {'wall ms':>8} {'ratio':>7}")
    for name, seconds in found.items():
        print(f"{name:<24} {seconds * 1000:8.1f} {seconds / found['pg_dump']:7.2f}")


BENCHMARKS = {
    "check": bench_check,
    "contract": bench_contract,
    "load": bench_load,
    "peers": bench_peers,
    "rollups": bench_rollups,
    "rows": bench_rows,
    "scale": bench_scale,
    "usage": bench_usage,
    "verify": bench_verify,
}


def main(names: list[str]) -> int:
    """Runs the named benchmarks, or all of them."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; choose from {', '.join(BENCHMARKS)}")
        return 2
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()
    return 0


sys.exit(main(sys.argv[1:]))
