"""`export`: Parquet files that hold what the database holds, or nothing at all."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from usage_rows import SPEC, add_runs, prepare

from codered_spec import export as module
from codered_spec.cli import main
from codered_spec.connection import Connection, connect
from codered_spec.errors import InputError
from codered_spec.export import MANIFEST, TABLES, export

Output = pytest.CaptureFixture[str]

NASTY = [
    "",
    "NULL",
    "\\N",
    "\\.",
    '"',
    '""',
    "a,b",
    "a\nb",
    "a\r\nb",
    "\r",
    "\n",
    "\t",
    "\x01\x7f",
    " lead and trail ",
    "'; drop table t; --",
    "é€😀\u2028\ufeff",
    "\\",
    "{}",
    "x" * 3_000_000,
]


@pytest.fixture
def db(connection: Connection) -> Connection:
    """Runs in four months, with all texts that a format could trip over."""
    prepare(connection)
    with connection.transaction():
        for n, text in enumerate(NASTY):
            add_runs(
                connection,
                [f"2026-0{1 + n % 3}-01 00:00:00.{n:06}Z"],
                agent=("code", "test")[n % 2],
                model=f"m{n}",
                tokens=(2**62 + n if n == 5 else n, 2**53 + n),
                cost=Decimal(n) / 10**6 if n else "900000.123456",
            )
            connection.execute(
                "update codered.agent_runs set full_input = %s, input_summary = %s"
                " where model = %s",
                [text, text, f"m{n}"],
            )
        add_runs(connection, ["2025-12-31 23:59:59.999999Z", "1969-12-31 23:59:59.999999Z"])
    connection.execute(
        "select codered.refresh_llm_usage_by_agent('2026-01-01 00:00Z', '2026-01-08 00:00Z')"
    )
    return connection


def exported(dsn: str, folder: Path, **options: Any) -> dict[str, Any]:
    with connect(dsn, read_only=True) as reader:
        return export(reader, str(folder), **options)


def run(capsys: Output, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["export", *arguments])
    return code, *capsys.readouterr()


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def query(text: str) -> duckdb.DuckDBPyRelation:
    found = duckdb.sql(text)
    assert found is not None
    return found


# ---- what is written --------------------------------------------------------------------------


def test_everything_comes_back(db: Connection, database: str, tmp_path: Path) -> None:
    folder = tmp_path / "a[b]*c?d'e" / "out"
    manifest = exported(database, folder)
    assert listed(folder) == ["agent_runs", "llm_usage_by_agent", "llm_usage_daily", MANIFEST]
    for table, moment in TABLES.items():
        names = [
            column.name
            for column in db.execute(f"table codered.{table}".encode()).description or ()
        ]
        stored = (
            f"select * from read_parquet('{duck_glob(folder / table)}', hive_partitioning = false)"
        )
        # texts, as Python's calendars and clocks are not those of a database
        texts = ", ".join(
            f"epoch_us({n})::varchar" if n in MOMENTS else f"{n}::varchar" for n in names
        )
        live = ", ".join(
            f"(extract(epoch from {n}) * 1000000)::bigint::text" if n in MOMENTS else f"{n}::text"
            for n in names
        )
        rows = query(f"select {texts} from ({stored})").fetchall()
        wanted = db.execute(f"select {live} from codered.{table}".encode()).fetchall()
        assert sorted(map(repr, rows)) == sorted(map(repr, wanted))
        assert manifest["tables"][table]["rows"] == len(wanted) > 0
        del moment


MOMENTS = ("created_at", "window_start", "window_end")


def duck_glob(folder: Path) -> str:
    escaped = re.sub(r"([*?[])", r"[\1]", str(folder)).replace("'", "''")
    return f"{escaped}/**/*.parquet"


def test_types_are_kept(db: Connection, database: str, tmp_path: Path) -> None:
    assert db.info.dbname in database
    exported(database, tmp_path / "out")
    found = query(f"describe from '{tmp_path}/out/agent_runs/**/*.parquet'").fetchall()
    types = {name: kind for name, kind, *_ in found}
    assert types["id"] == types["task_id"] == "UUID"
    assert types["estimated_cost_usd"] == "DECIMAL(12,6)"
    assert types["created_at"] == "TIMESTAMP WITH TIME ZONE"
    assert (types["input_tokens"], types["latency_ms"]) == ("BIGINT", "INTEGER")
    assert (types["year"], types["month"]) == ("BIGINT", "BIGINT")
    found = query(f"describe from '{tmp_path}/out/llm_usage_daily/**/*.parquet'").fetchall()
    assert {name: kind for name, kind, *_ in found}["date"] == "DATE"


def test_a_row_is_in_the_folder_of_its_month(db: Connection, database: str, tmp_path: Path) -> None:
    assert db.info.dbname in database
    exported(database, tmp_path / "out")
    for table, moment in TABLES.items():
        rows = query(
            f"select distinct year, month, ({moment}::varchar)[:7], file_row_number is null"
            f" from read_parquet('{tmp_path}/out/{table}/**/*.parquet', file_row_number = true)"
        ).fetchall()
        if table == "llm_usage_daily":
            assert {(1969, 12, "1969-12", False), (2026, 3, "2026-03", False)} <= set(rows)
            assert all(shown == f"{year}-{month:02}" for year, month, shown, _ in rows)
        else:
            assert {(y, m) for y, m, *_ in rows} == {
                (1969, 12),
                (2025, 12),
                (2026, 1),
                (2026, 2),
                (2026, 3),
            }


def test_many_parts_make_one_month(
    db: Connection, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_runs(db, ["2026-05-05 05:05Z"] * 50)
    monkeypatch.setattr(module, "PART_ROWS", 7)
    manifest = exported(database, tmp_path / "out")
    (month,) = (m for m in manifest["tables"]["agent_runs"]["months"] if m["month"].endswith("=5"))
    assert [month["rows"], len(month["files"])] == [50, 8]
    monkeypatch.setattr(module, "PART_ROWS", 100_000)
    monkeypatch.setattr(module, "PART_BYTES", 1)
    again = exported(database, tmp_path / "again")["tables"]["agent_runs"]
    assert again["checksum"] == manifest["tables"]["agent_runs"]["checksum"]


def test_the_manifest_says_what_is_there(db: Connection, database: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    manifest = exported(database, folder)
    assert json.loads((folder / MANIFEST).read_text("utf-8")) == manifest
    files = {
        f["path"]: f["bytes"]
        for t in manifest["tables"].values()
        for m in t["months"]
        for f in m["files"]
    }
    assert files == {
        p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*.parquet")
    }
    ((cost, tokens),) = db.execute(
        "select sum(estimated_cost_usd)::text, sum(input_tokens)::text from codered.agent_runs"
    ).fetchall()
    sums = manifest["tables"]["agent_runs"]["sums"]
    assert (sums["estimated_cost_usd"], sums["input_tokens"]) == (cost, tokens)


def test_the_checksum_notices_every_change(db: Connection, database: str, tmp_path: Path) -> None:
    seen = set()
    changes = [
        "status = 'succeeded'",
        "full_output = ''",
        "full_output = 'N'",
        "full_output = null, error_message = ''",
        "error_message = 'ab', degraded_from_model = 'c'",
        "error_message = 'a', degraded_from_model = 'bc'",
        "created_at = created_at + interval '1 microsecond'",
        "task_id = null, latency_ms = 2",
    ]
    for number, change in enumerate(changes):
        db.execute(f"update codered.agent_runs set {change} where model = 'm3'".encode())
        seen.add(exported(database, tmp_path / str(number))["tables"]["agent_runs"]["checksum"])
    assert len(seen) == len(changes)


def test_an_empty_database_gives_empty_tables(
    connection: Connection, database: str, tmp_path: Path, capsys: Output
) -> None:
    prepare(connection)
    folder = str(tmp_path / "out")
    code, out, err = run(capsys, "--dsn", database, "--parquet", folder)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith(f"wrote {folder}: ")
    for table in TABLES:
        found = query(f"from '{folder}/{table}/**/*.parquet'")
        assert (found.fetchall(), "id" in found.columns) == ([], True)


def test_it_is_one_snapshot(
    db: Connection, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = db.execute("select count(*) from codered.agent_runs").fetchone()
    part = module._Table._part

    def busy(self: Any, file: Path, longest: int) -> None:
        part(self, file, longest)
        add_runs(db, ["2026-01-01 00:00Z", "2026-04-01 00:00Z"])

    monkeypatch.setattr(module._Table, "_part", busy)
    manifest = exported(database, tmp_path / "out")
    assert (manifest["tables"]["agent_runs"]["rows"],) == before


# ---- proof ------------------------------------------------------------------------------------


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(rows: bytes) -> bytes:
        assert old in rows
        return rows.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replaced(b'"m0"', b'"M0"'), "some value"),
        (replaced(b'"900000.123456"', b'"900000.123457"'), "sum of estimated_cost_usd 900000.12"),
        (replaced(b'"",', b","), "some value"),
        (replaced(b'"succeeded",', b'"failed",'), "some value"),
        (lambda rows: rows + rows, "rows 14 instead of 7"),
        (lambda rows: rows[:-1].rpartition(b'\n"')[0] + b"\n", "rows 6 instead of 7"),
    ],
    ids=["letter", "millionth", "null", "status", "twice", "lost"],
)
def test_a_value_that_changes_on_the_way_is_noticed(
    change: Callable[[bytes], bytes],
    told: str,
    db: Connection,
    database: str,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert db.info.dbname in database
    part = module._Table._part

    def tampered(self: Any, file: Path, longest: int) -> None:
        if self.name == "agent_runs" and "year=2026/month=1" in str(file):
            rows = self.spool.read_bytes()
            self.spool.write_bytes(change(rows))
        part(self, file, longest)

    monkeypatch.setattr(module._Table, "_part", tampered)
    code, out, err = run(capsys, "--dsn", database, "--parquet", str(tmp_path / "out"))
    assert (code, out) == (1, "")
    assert "error V014: agent_runs/year=2026/month=1 differs" in err
    assert told in err
    assert listed(tmp_path) == []


# ---- the folder -------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_stays(
    db: Connection, database: str, tmp_path: Path, capsys: Output
) -> None:
    assert db.info.dbname in database
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for place in (folder, tmp_path / "file", tmp_path / "file" / "below"):
        for options in ([], ["--replace"]):
            code, out, err = run(capsys, "--dsn", database, "--parquet", str(place), *options)
            assert (code, out) == (2, "")
            assert "error C003" in err
    assert (listed(tmp_path), listed(folder)) == (["file", "out"], ["mine"])


def test_an_empty_folder_is_filled(db: Connection, database: str, tmp_path: Path) -> None:
    assert db.info.dbname in database
    folder = tmp_path / "out"
    folder.mkdir()
    exported(database, folder)
    assert MANIFEST in listed(folder)
    assert listed(tmp_path) == ["out"]


def test_an_earlier_export_is_replaced_when_asked_for(
    db: Connection, database: str, tmp_path: Path, capsys: Output
) -> None:
    folder, link = tmp_path / "out", tmp_path / "link"
    link.symlink_to(folder)
    first = exported(database, folder)
    add_runs(db, ["2026-06-01 00:00Z"])
    assert run(capsys, "--dsn", database, "--parquet", str(folder))[0] == 2
    assert json.loads((folder / MANIFEST).read_text("utf-8")) == first
    code, out, _ = run(capsys, "--dsn", database, "--parquet", str(link), "--replace", "--json")
    assert code == 0
    second = json.loads(out)
    assert second["tables"]["agent_runs"]["rows"] == first["tables"]["agent_runs"]["rows"] + 1
    assert json.loads((folder / MANIFEST).read_text("utf-8")) == second
    assert (listed(tmp_path), link.is_symlink()) == (["link", "out"], True)


def test_a_failed_swap_brings_the_old_folder_back(
    db: Connection, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert db.info.dbname in database
    folder = tmp_path / "out"
    exported(database, folder)
    before = sorted(folder.rglob("*"))
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(InputError, match="C003"):
        exported(database, folder, replace=True)
    assert (sorted(folder.rglob("*")), listed(tmp_path)) == (before, ["out"])


def test_a_full_disk_leaves_nothing(
    db: Connection,
    database: str,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert db.info.dbname in database

    def full(*_: object) -> None:
        raise duckdb.IOException("No space left on device")

    monkeypatch.setattr(module._Table, "_to_parquet", full)
    code, out, err = run(capsys, "--dsn", database, "--parquet", str(tmp_path / "out"))
    assert (code, out) == (2, "")
    assert "error C003" in err
    assert "No space left on device" in err
    assert listed(tmp_path) == []


# ---- the command ------------------------------------------------------------------------------


def test_a_missing_duckdb_is_named(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    code, out, err = run(capsys, "--dsn", "host=/nowhere", "--parquet", str(tmp_path / "out"))
    assert (code, out) == (2, "")
    assert "error C008" in err
    assert "pip install 'codered-spec[export]'" in err


def test_an_unreachable_database_ends_with_3(tmp_path: Path, capsys: Output) -> None:
    code, out, err = run(capsys, "--dsn", "host=/nowhere", "--parquet", str(tmp_path / "out"))
    assert (code, out) == (3, "")
    assert "error P001" in err


def test_another_database_ends_with_1(
    connection: Connection, database: str, tmp_path: Path, capsys: Output
) -> None:
    for statement, expected in (
        ("select 1", "V001"),
        ("create schema codered", "V002"),
        ("create table codered.agent_runs (id int)", "V002"),
        (
            "create table codered.llm_usage_daily (id int)",
            "V002",
        ),
        (
            "create table codered.llm_usage_by_agent (id int)",
            "V004",
        ),
        ("alter table codered.agent_runs add created_at timestamptz", "V004"),
        ("insert into codered.agent_runs values (1, null)", "V004"),
    ):
        connection.execute(statement.encode())
        code, out, err = run(capsys, "--dsn", database, "--parquet", str(tmp_path / "out"))
        assert (code, out) == (1, "")
        assert f"error {expected}" in err
        assert listed(tmp_path) == []


def test_columns_of_other_types_are_kept_as_text(
    db: Connection, database: str, tmp_path: Path
) -> None:
    db.execute(
        """alter table codered.agent_runs add "at {0} ""x" jsonb default '{"a": [1]}',"""
        """ add tags text[] default '{a,"b c"}', add free numeric default 1.50,"""
        """ add yes boolean default true"""
    )
    exported(database, tmp_path / "out")
    rows = query(f"from '{tmp_path}/out/agent_runs/**/*.parquet'").select("*").limit(1)
    found = rows.project(
        ", ".join(f'"{n.replace(chr(34), chr(34) * 2)}"' for n in rows.columns[20:])
    )
    assert found.fetchall()[0][:4] == ('{"a": [1]}', '{a,"b c"}', "1.50", True)


def test_the_database_loses_its_connection(
    db: Connection, database: str, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = module._Table._part

    def severed(self: Any, file: Path, longest: int) -> None:
        pid = self.connection.info.backend_pid
        db.execute("select pg_terminate_backend(%s)", [pid])
        part(self, file, longest)

    monkeypatch.setattr(module._Table, "_part", severed)
    monkeypatch.setattr(module, "PART_ROWS", 2)
    code, out, err = run(capsys, "--dsn", database, "--parquet", str(tmp_path / "out"))
    assert (code, out) == (3, "")
    assert "error P001" in err
    assert listed(tmp_path) == []
    shutil.rmtree(tmp_path)


# ---- the guide --------------------------------------------------------------------------------

GUIDE = (Path(__file__).resolve().parent.parent / "docs/guides/usage.md").read_text("utf-8")


def _short(match: re.Match[str]) -> str:
    return "{…}" if match[0].startswith("{") else "…"


def test_the_guide_shows_what_happens(
    connection: Connection,
    database: str,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare(connection)
    (rows,) = re.findall(r"^```sql\n(insert .*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    connection.execute(rows.encode())
    shutil.copyfile(SPEC, tmp_path / "schema.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("DATABASE_URL", database)
    (mend,) = re.findall(
        r"^```sql\n(select codered.rebuild.*?)^```", GUIDE, re.MULTILINE | re.DOTALL
    )
    seen = set()
    for block in re.findall(r"^```console\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL):
        line, _, shown = block.partition("\n")
        _, program, *arguments = line.split()
        if program != "codered-spec":
            continue
        seen.add(arguments[0])
        if arguments[0] == "verify":
            connection.execute(
                "update codered.llm_usage_daily set total_cost_usd = 1 where"
                " id = (select id from codered.llm_usage_daily where date = '2026-03-08' limit 1)"
            )
        assert main(arguments) == (1 if arguments[0] == "verify" else 0)
        printed = "".join(capsys.readouterr())
        if arguments[0] == "verify":
            printed = re.sub(r"\{.*?\}|(?<=_id )[-0-9a-f]{36}", _short, printed)
            connection.execute(mend.encode())
        if arguments[0] == "export":  # identifiers are random, so is what compression makes of them
            printed, shown = (re.sub(r" +[0-9,]+ bytes", "", text) for text in (printed, shown))
        assert printed == shown
    assert seen == {"usage", "verify", "export"}
    (tree, answer) = re.findall(r"^```text\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    found = (
        path.relative_to(tmp_path).as_posix() for path in Path("usage").absolute().rglob("*.*")
    )
    assert sorted(found) == tree.split()
    (program,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    exec(program, {})
    assert capsys.readouterr().out == answer
    assert main(["verify", "--data"]) == 0
