"""The pytest plugin in runs of its own, on a user's spec; and the example of the guide."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import psycopg
import pytest

from codered_spec import load_spec
from codered_spec.connection import connect
from codered_spec.emit.ddl import emit_sql

ROOT: Final = Path(__file__).resolve().parents[1]
GUIDE: Final = (ROOT / "docs/guides/contract-tests.md").read_text(encoding="utf-8")


def block(language: str, after: str) -> str:
    """The first block of that language in the guide after some words."""
    found = re.search(rf"```{language}\n(.*?)```", GUIDE.partition(after)[2], re.DOTALL)
    assert found is not None
    return found[1]


SPEC: Final = block("yaml", "`schema.yaml`:")
EXAMPLE: Final = block("python", "`test_shop.py`:")
CHECK: Final = "def test_check(contract):\n    contract.check(rows=20, seed=3)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's project: a spec and an ini file, no conftest."""
    (tmp_path / "schema.yaml").write_text(SPEC, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def shop(database: str, folder: Path) -> str:
    """The DSN of a database with the schema of the spec."""
    with connect(database) as connection:
        connection.execute(emit_sql(load_spec(folder / "schema.yaml")).encode())
    return database


def pytest_run(
    folder: Path, *options: str, test: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A run of pytest in a process and a folder of its own."""
    if test is not None:
        (folder / "test_user.py").write_text(test, encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "DATABASE_URL"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", *options]
    return subprocess.run(
        command,
        cwd=folder,
        env={**kept, "HYPOTHESIS_STORAGE_DIRECTORY": str(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def outcome(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of a run, without the time."""
    assert "INTERNALERROR" not in done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1].strip("= ").partition(" in ")[0]


# ---- inert until it is used -------------------------------------------------------------------

HEAVY: Final = {
    *("hypothesis", "psycopg", "yaml", "jsonschema"),
    *("codered_spec.contract", "codered_spec.errors", "codered_spec.model"),
}
PEACE: Final = f"""\
import sys

def test_peace():
    assert "codered_spec.pytest_plugin" in sys.modules
    assert set(sys.modules) & {HEAVY!r} == set()
"""


def test_a_run_without_the_fixture_loads_nothing(folder: Path) -> None:
    before = set(Path(tempfile.gettempdir()).glob("codered-contract-*"))
    assert outcome(pytest_run(folder, test=PEACE)) == "1 passed"
    assert outcome(pytest_run(folder, "-n", "1")) == "1 passed"
    assert set(Path(tempfile.gettempdir()).glob("codered-contract-*")) <= before


def test_the_check_of_modules_can_fail(folder: Path) -> None:
    done = pytest_run(folder, test=f"import codered_spec.contract\n{PEACE}")
    assert outcome(done) == "1 failed"


def test_a_folder_without_a_spec_runs_its_tests(tmp_path: Path) -> None:
    assert outcome(pytest_run(tmp_path, test=PEACE)) == "1 passed"


def test_the_options_are_in_the_help(tmp_path: Path) -> None:
    help_text = pytest_run(tmp_path, "--help").stdout
    for option in ("--codered-spec", "--codered-dsn", "codered_spec (string)"):
        assert option in help_text


# ---- a database that is there -----------------------------------------------------------------


def test_a_good_database_passes_and_may_be_named_by_the_variable(folder: Path, shop: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(shop)["dbname"]
    test = (
        "def test_name(contract):\n    with contract.database() as connection:\n"
        f"        assert connection.info.dbname == {name!r}\n    contract.check()\n"
    )
    assert outcome(pytest_run(folder, test=test, DATABASE_URL=shop)) == "1 passed"
    with connect(shop) as connection:
        assert connection.execute("select from shop.customers").fetchall() == []


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_dropped_constraint_is_named(folder: Path, shop: str, workers: tuple[str, ...]) -> None:
    with connect(shop) as connection:
        connection.execute("alter table shop.orders drop constraint orders_total_range")
    test = f"{CHECK}\ndef test_customers(contract):\n    contract.check('customers', rows=5)\n"
    done = pytest_run(folder, "--codered-dsn", shop, *workers, test=test)
    assert (outcome(done), done.returncode) == ("1 failed, 1 passed", 1)
    assert "1 of 2 tables are not what the spec says" in done.stdout
    assert "orders.total: error V006: orders_total_range" in done.stdout
    assert "repeat here: contract.check('orders', rows=20, seed=3)" in done.stdout
    assert "plugin.py" not in done.stdout  # no traceback through the library


def test_a_failing_property_shows_the_smallest_row(folder: Path, shop: str) -> None:
    with connect(shop) as connection:
        connection.execute("alter table shop.orders drop constraint orders_total_range")
    done = pytest_run(folder, "--codered-dsn", shop, "-k", "broken", test=EXAMPLE)
    assert outcome(done) == "1 failed, 2 deselected"
    assert "test_every_broken_check_is_named" in done.stdout
    assert re.search(r"Draw 1: Invalid\(", done.stdout)
    assert "constraint='orders_total_range'" in done.stdout
    assert "<contract of the schema shop>" in done.stdout


def test_rows_are_inserted_and_judged_only_inside(folder: Path, shop: str) -> None:
    test = """\
import pytest
from decimal import Decimal

def test_inside(contract):
    assert contract.tables == ("customers", "orders")
    customer = {"id": "a2f4c1d8-0b1e-4c5a-9d3f-2f1e0d9c8b7a", "email": "a@b"}
    order = {"customer_id": customer["id"], "total": Decimal(1)}
    with pytest.raises(RuntimeError, match="inside of"):
        contract.insert([("customers", customer)])
    with contract.database() as connection:
        contract.insert([("customers", customer)])
        good, bad = contract.verdicts("orders", [order, {**order, "total": Decimal(-1)}])
        assert good.ok
        assert bad.constraint == "orders_total_range"
        contract.check("orders", rows=5)  # in the way, maybe, but no finding
        assert connection.execute("select email from shop.customers").fetchall() == [("a@b",)]
    assert contract.verdicts("orders", [order])[0].sqlstate == "23503"
    with pytest.raises(RuntimeError, match="inside of"):
        contract.insert([("customers", customer)])
"""
    done = pytest_run(folder, "--codered-dsn", shop, test=test)
    assert outcome(done) == "1 passed", done.stdout
    with connect(shop) as connection:
        assert connection.execute("select from shop.customers").fetchall() == []


# ---- what cannot be used ----------------------------------------------------------------------


def test_a_spec_that_is_not_there_is_a_usage_error(folder: Path) -> None:
    done = pytest_run(folder, "--codered-spec", "none.yaml", test=CHECK)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr == f"ERROR: --codered-spec: there is no file {folder / 'none.yaml'}\n\n"
    assert "Traceback" not in done.stdout


def test_the_ini_file_names_the_spec(folder: Path, shop: str) -> None:
    (folder / "specs").mkdir()
    (folder / "schema.yaml").rename(folder / "specs" / "shop.yaml")
    with (folder / "pytest.ini").open("a") as file:
        file.write("codered_spec = specs/shop.yaml\n")
    (folder / "below").mkdir()
    done = pytest_run(folder, "--codered-dsn", shop, "--strict-config", test=CHECK)
    assert outcome(done) == "1 passed"
    (folder / "specs" / "shop.yaml").unlink()
    done = pytest_run(folder, "--codered-dsn", shop)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "codered_spec in the ini file: there is no file" in done.stderr


NO_PACKAGE: Final = "raise ImportError('there is no such package')\n"


def test_what_cannot_be_used_is_said_without_a_traceback(folder: Path, database: str) -> None:
    blocked = folder / "blocked"
    blocked.mkdir()
    (blocked / "psycopg.py").write_text(NO_PACKAGE)

    def said(*words: str, dsn: str = database, **variables: str) -> None:
        done = pytest_run(folder, "--codered-dsn", dsn, test=CHECK, **variables)
        assert (outcome(done), done.returncode) == ("1 error", 1)
        assert [word for word in words if word not in done.stdout] == [], done.stdout
        assert "Error:" not in done.stdout
        assert "During handling" not in done.stdout

    said("C008", "'codered-spec[contract]'", PYTHONPATH=str(blocked))
    said("V001", "codered-spec migrate")
    said("P001", dsn="host=127.0.0.1 port=1")
    (folder / "schema.yaml").write_text("format: 1\nschema: [\n")
    said("S001", "schema.yaml:3:1")
    (folder / "schema.yaml").unlink()
    said("C002", "schema.yaml", "--codered-spec or the ini option")


# ---- an embedded server of the run's own ------------------------------------------------------

WHERE: Final = """\
import os
import pytest

@pytest.mark.parametrize("n", range(4))
def test_where(contract, n):
    contract.check("orders", rows=5)
    with contract.database() as connection:
        name = os.environ.get("PYTEST_XDIST_WORKER", "alone")
        with open(f"where_{name}", "w") as file:
            file.write(f"{connection.info.host} {connection.info.dbname}")
        if n == 3:
            connection.execute("nonsense")
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_has_one_embedded_server_and_stops_it(folder: Path, workers: int) -> None:
    options = ("-n", str(workers)) if workers else ()
    done = pytest_run(folder, *options, test=WHERE)
    assert outcome(done) == "1 failed, 3 passed", done.stdout
    places = [path.read_text().split() for path in folder.glob("where_*")]
    assert len(places) == max(workers, 1)
    (host,) = {host for host, _ in places}
    assert len({name for _, name in places}) == len(places)
    assert "codered-contract-" in host
    assert not Path(host).exists()
    assert not Path(host).parent.exists()


# ---- the guide --------------------------------------------------------------------------------


def test_the_example_of_the_guide_runs(folder: Path) -> None:
    done = pytest_run(folder, test=EXAMPLE)
    assert outcome(done) == "3 passed", done.stdout


def test_the_command_prints_what_the_guide_says(folder: Path, shop: str) -> None:
    shown = block("console", "Somebody drops a constraint by hand:")
    damage, command = re.findall(r"^\$ codered-spec (.*)$", shown, re.MULTILINE)
    with connect(shop) as connection:
        connection.execute(damage.partition("'")[2].strip("'").encode())
    done = subprocess.run(
        [sys.executable, "-m", "codered_spec", *command.split(), "--dsn", shop],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1

    def steady(text: str) -> list[str]:
        """Without the numbers that change with every new kind of row."""
        text = re.sub(r" +[\d,]+ rows", " N rows", text)
        return re.sub(r'"[0-9a-f-]{36}"', '"UUID"', text).splitlines()

    assert steady(done.stdout) == steady(shown.partition(f"{command}\n")[2])
