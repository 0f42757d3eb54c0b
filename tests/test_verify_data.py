"""`verify --data`: rollups that are not what their source says are named, key by key."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import psycopg
import pytest
from usage_rows import SPEC, add_runs, prepare

from codered_spec.cli import main
from codered_spec.connection import Connection, connect
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sql import identifier

Output = pytest.CaptureFixture[str]


@pytest.fixture
def db(connection: Connection) -> Connection:
    """Thirty days with one run each."""
    prepare(connection)
    add_runs(connection, [f"2026-01-{day:02} 12:00Z" for day in range(1, 31)], cost="0.3")
    return connection


def run(capsys: Output, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["verify", "--spec", str(SPEC), "--data", *arguments])
    return code, *capsys.readouterr()


def test_sound_data_has_no_difference(db: Connection, database: str, capsys: Output) -> None:
    db.execute("select codered.refresh_llm_usage_by_agent('2026-01-01Z', '2026-02-01Z')")
    code, out, err = run(capsys, "--dsn", database)
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == ["no difference: the 2 rollups equal their sources"]
    assert run(capsys, "--dsn", database, "--json") == (0, "[]\n", "")


def test_every_kind_of_difference_is_told(db: Connection, database: str, capsys: Output) -> None:
    db.execute(
        "update codered.llm_usage_daily set total_cost_usd = 0.300001 where date = '2026-01-05'"
    )
    db.execute("delete from codered.llm_usage_daily where date = '2026-01-06'")
    db.execute("update codered.llm_usage_daily set date = '2027-01-01' where date = '2026-01-07'")
    code, out, err = run(capsys, "--dsn", database)
    assert code == 1
    _, *lines = out.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        f"llm_usage_daily (date {day}"
        for day in ("2026-01-05", "2026-01-06", "2026-01-07", "2027-01-01")
    ]
    assert '"total_cost_usd": 0.300001' in lines[0]
    assert '"total_cost_usd": 0.300000' in lines[0]
    assert "has no row, agent_runs says {" in lines[1]
    assert lines[3].endswith("agent_runs says no row")
    assert "llm_usage_daily: error V013: 4 rows differ from what agent_runs says" in err
    assert "select codered.rebuild_llm_usage_daily();" in err
    assert "llm_usage_by_agent" not in out + err
    db.execute("select codered.rebuild_llm_usage_daily()")
    assert run(capsys, "--dsn", database)[0] == 0


def test_rows_that_went_past_the_triggers_are_found(
    db: Connection, database: str, server: EmbeddedServer, capsys: Output
) -> None:
    with connect(server.dsn(SUPERUSER, db.info.dbname)) as superuser, superuser.transaction():
        superuser.execute("set local session_replication_role = replica")
        add_runs(superuser, [f"2026-02-{day:02} 12:00Z" for day in range(1, 26)])
    code, out, err = run(capsys, "--dsn", database)
    assert code == 1
    _, *lines = out.splitlines()
    assert len(lines) == 22
    assert (lines[10], lines[21]) == ("llm_usage_by_agent: 15 more", "llm_usage_daily: 15 more")
    assert err.count("error V013: 25 rows differ") == 2
    code, out, err = run(capsys, "--dsn", database, "--json")
    found = json.loads(out)
    assert (code, len(found), len(err.splitlines())) == (1, 50, 2)
    assert found[-1].keys() == {"kind", "address", "what", "want", "have", "message", "key"}
    assert (found[-1]["kind"], found[-1]["address"]) == ("data", "llm_usage_daily")
    assert found[-1]["key"]["date"] == "2026-02-25"
    assert found[-1]["have"] is None
    assert json.loads(found[-1]["want"], parse_float=str)["total_cost_usd"] == "0.000001"
    for name in ("llm_usage_by_agent", "llm_usage_daily"):
        assert db.execute(f"select codered.rebuild_{name}()".encode()).fetchone() == (25,)
    assert run(capsys, "--dsn", database)[0] == 0


def test_data_is_not_checked_where_the_structure_differs(
    db: Connection, database: str, capsys: Output
) -> None:
    db.execute("delete from codered.llm_usage_daily")
    db.execute("drop function codered.check_llm_usage_daily()")
    code, out, err = run(capsys, "--dsn", database)
    assert code == 1
    assert "function check_llm_usage_daily() is missing" in out
    assert "the data was not checked" in err
    code, out, err = run(capsys, "--dsn", database, "--json")
    assert (code, {entry["kind"] for entry in json.loads(out)}) == (1, {"missing"})
    assert "the data was not checked" in err


def test_without_the_option_data_is_not_looked_at(
    db: Connection, database: str, capsys: Output
) -> None:
    db.execute("delete from codered.llm_usage_daily")
    assert main(["verify", "--spec", str(SPEC), "--dsn", database]) == 0
    assert "rollup" not in capsys.readouterr().out


def test_who_may_not_call_the_function_is_told(
    db: Connection, server: EmbeddedServer, capsys: Output
) -> None:
    role = f"reader_{uuid.uuid4().hex}"
    db.execute(f"create role {role} login".encode())
    try:
        code, _, err = run(capsys, "--dsn", server.dsn(role, db.info.dbname))
        assert code == 3
        assert "error P009: checking the data of llm_usage_by_agent" in err
    finally:
        db.execute(f"drop role {identifier(role)}".encode())


def test_a_strange_session_sees_the_same(db: Connection, database: str, capsys: Output) -> None:
    db.execute("delete from codered.llm_usage_by_agent where window_start < '2026-01-02Z'")
    options = "-c search_path=nowhere -c timezone=Asia/Tokyo -c datestyle=German"
    options += " -c default_transaction_read_only=on"
    code, out, _ = run(
        capsys, "--dsn", psycopg.conninfo.make_conninfo(database, options=options), "--json"
    )
    (found,) = json.loads(out)
    assert code == 1
    assert found["key"]["window_start"] == "2026-01-01 12:00:00+00"


def test_a_spec_without_rollups_says_so(
    connection: Connection, database: str, tmp_path: Path, capsys: Output
) -> None:
    spec = tmp_path / "schema.yaml"
    columns = "{id: {type: uuid, primary_key: true}}"
    spec.write_text(f"format: 1\nschema: bare\ntables:\n  t:\n    columns: {columns}\n")
    connection.execute("create schema bare; create table bare.t (id uuid primary key)")
    main(["verify", "--spec", str(spec), "--dsn", database])
    structure = capsys.readouterr().out
    assert main(["verify", "--spec", str(spec), "--dsn", database, "--data"]) in (0, 1)
    out = capsys.readouterr().out
    if structure.startswith("no difference"):
        assert out.endswith("there is no rollup whose data to check\n")
