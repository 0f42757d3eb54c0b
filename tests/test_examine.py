"""What is wrong with a database is found row by row, said with the smallest row, and repeated."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

import psycopg
import pytest
from every_type import every_type

from codered_spec import load_spec
from codered_spec.codes import CODES
from codered_spec.connection import Connection, connect
from codered_spec.contract import Plan, RandomChoices, Scene
from codered_spec.contract import examine as examine_module
from codered_spec.contract.examine import Finding, TableReport, examine, serialize
from codered_spec.contract.verdicts import insert
from codered_spec.emit.ddl import emit_sql
from codered_spec.errors import CoderedError, InputError
from codered_spec.model.schema import Check, OneOf, Schema

SHOP: Final = """\
format: 1
schema: shop
functions:
  touch: {set_updated_at: seen_at}
tables:
  customers:
    columns:
      id: {type: uuid, primary_key: true, default: gen_random_uuid()}
      email: {type: text, unique: true, max_bytes: 200}
      state: {type: text, one_of: [new, trusted, banned], default: new}
      note: {type: text, nullable: true}
  orders:
    columns:
      id: {type: uuid, primary_key: true, default: gen_random_uuid()}
      customer_id: {type: uuid, references: customers.id, on_delete: restrict}
      total: {type: "numeric(10,2)", min: 0}
      tags: {type: "text[]", default: "{}", flat: true}
      placed_at: {type: timestamptz, default: now(), finite: true}
    indexes:
      orders_customer_id_idx: {columns: [customer_id]}
  visits:
    columns:
      id: {type: uuid, primary_key: true, default: gen_random_uuid()}
      count: {type: integer, min: 1, max: 5}
      seen_at: {type: timestamptz, finite: true}
    triggers:
      visits_touch: {function: touch, timing: before, events: [insert], each: row}
  stays:
    columns:
      id: {type: uuid, primary_key: true, default: gen_random_uuid()}
      came_at: {type: timestamptz, finite: true}
      seen_at: {type: timestamptz, finite: true}
    checks:
      stays_order: {rule: ordered, lower: came_at, upper: seen_at}
    triggers:
      stays_touch: {function: touch, timing: before, events: [insert], each: row}
  switches:
    columns:
      on: {type: boolean, primary_key: true}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    path = tmp_path_factory.mktemp("shop") / "schema.yaml"
    path.write_text(SHOP.replace("      on:", '      "on":'), encoding="utf-8")
    return load_spec(path)


@pytest.fixture
def live(connection: Connection, shop: Schema) -> Connection:
    """A database with the shop."""
    connection.execute(emit_sql(shop).encode())
    return connection


def run(connection: Connection, schema: Schema, *tables: str, seed: int = 1) -> list[TableReport]:
    return list(examine(connection, schema, tables, rows=60, seed=seed))


def found(connection: Connection, schema: Schema, table: str, seed: int = 1) -> list[Finding]:
    (report,) = run(connection, schema, table, seed=seed)
    assert report.ok is not bool(report.findings)
    return list(report.findings)


# ---- a database that is what the spec says ----------------------------------------------------


def test_a_good_database_has_no_finding(live: Connection, shop: Schema) -> None:
    customers, orders, visits, stays, switches = run(live, shop)
    for report in (customers, orders, visits):
        assert report.ok
        assert report.diagnostics == ()
        assert report.faults > 10
        assert report.neighbours > 5
        assert report.random == 60
    assert (customers.unjudged, orders.unjudged) == ((), ())
    assert visits.unjudged == ("visits_seen_at_finite",)  # the trigger writes over every fault
    for report in (stays, switches):  # nobody knows the order; three keys of two values
        assert (report.rows, report.ok) == (0, True)
        (obstacle,) = report.obstacles
        assert (obstacle.code, obstacle.warning, obstacle.subject) == ("V012", True, report.table)
    assert switches.unjudged == ("switches_pkey",)


def test_nothing_is_left_behind(live: Connection, shop: Schema) -> None:
    run(live, shop)
    for table in shop.tables:
        assert live.execute(f"select * from shop.{table.name}".encode()).fetchall() == []
    left = "select proname from pg_proc where proname like 'codered%'"
    assert live.execute(left.encode()).fetchall() == []
    assert live.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_an_examination_inside_of_a_transaction_keeps_it(live: Connection, shop: Schema) -> None:
    with live.transaction():
        live.execute("insert into shop.customers (email) values ('ada@example.org')")
        assert all(report.ok for report in run(live, shop, "customers"))
    assert live.execute("select email from shop.customers").fetchall() == [("ada@example.org",)]


def test_every_type_is_stored_as_promised(connection: Connection) -> None:
    schema = every_type()
    connection.execute(emit_sql(schema).encode())
    wrong = [str(d) for report in run(connection, schema) for d in report.diagnostics]
    assert wrong == []


# ---- damage -----------------------------------------------------------------------------------

DAMAGE: Final = {
    "a check is gone": (
        "alter table shop.orders drop constraint orders_total_range",
        ("V006", "orders", "total", "orders_total_range"),
    ),
    "a list is wider": (
        (
            "alter table shop.customers drop constraint customers_state_values,"
            " add constraint customers_state_values check (state in ('new','trusted','banned',''))"
        ),
        ("V006", "customers", "state", "customers_state_values"),
    ),
    "a bound is off by one cent": (
        (
            "alter table shop.orders drop constraint orders_total_range,"
            " add constraint orders_total_range check (total >= -0.01 and total < 'Infinity')"
        ),
        ("V006", "orders", "total", "orders_total_range"),
    ),
    "NULL is allowed": (
        "alter table shop.customers alter email drop not null",
        ("V006", "customers", "email", None),
    ),
    "a default has come": (
        "alter table shop.customers alter email set default gen_random_uuid()",
        ("V006", "customers", "email", None),
    ),
    "a unique constraint is gone": (
        "alter table shop.customers drop constraint customers_email_key",
        ("V006", "customers", "email", "customers_email_key"),
    ),
    "a foreign key is gone": (
        "alter table shop.orders drop constraint orders_customer_id_fkey",
        ("V006", "orders", "customer_id", "orders_customer_id_fkey"),
    ),
    "a check has come": (
        "alter table shop.customers add constraint hand check (length(note) < 4)",
        ("V007", "customers", "note", "hand"),
    ),
    "a list is narrower": (
        (
            "alter table shop.customers drop constraint customers_state_values,"
            " add constraint customers_state_values check (state in ('new', 'trusted'))"
        ),
        ("V007", "customers", "state", "customers_state_values"),
    ),
    "a column is required": (
        "alter table shop.customers alter note set not null",
        ("V007", "customers", "note", None),
    ),
    "a unique index has come": (
        "create unique index hand on shop.orders (total)",
        ("V007", "orders", "total", "hand"),
    ),
    "a trigger takes rows away": (
        (
            "create function shop.nothing() returns trigger language plpgsql as 'begin return null;"
            " end'; create trigger gone before insert on shop.customers for each row"
            " when (new.state = 'banned') execute function shop.nothing()"
        ),
        ("V007", "customers", None, None),
    ),
    "a constraint has another name": (
        "alter table shop.orders rename constraint orders_total_range to positive",
        ("V008", "orders", "total", "orders_total_range"),
    ),
    "a default is another": (
        "alter table shop.orders alter placed_at set default now() - interval '1 second'",
        ("V009", "orders", "placed_at", None),
    ),
    "a constant default is another": (
        "alter table shop.customers alter state set default 'trusted'",
        ("V009", "customers", "state", None),
    ),
    "a scale is smaller": (
        "alter table shop.orders alter total type numeric(10,1)",
        ("V009", "orders", "total", None),
    ),
    "a trigger changes text": (
        (
            "create function shop.lower() returns trigger language plpgsql as 'begin"
            " new.note := lower(new.note); return new; end'; create trigger lower before insert"
            " on shop.customers for each row execute function shop.lower()"
        ),
        ("V009", "customers", "note", None),
    ),
    "a trigger of the spec is gone": (
        "drop trigger visits_touch on shop.visits",
        ("V009", "visits", "seen_at", None),
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found(kind: str, live: Connection, shop: Schema) -> None:
    statement, wanted = DAMAGE[kind]
    live.execute(statement.encode())
    findings = found(live, shop, wanted[1])
    assert wanted in {(f.code, f.table, f.column, f.clause) for f in findings}
    for finding in findings:
        assert finding.code in CODES
        assert finding.examined == wanted[1]
        assert finding.diagnostic.subject == ".".join(filter(None, (finding.table, finding.column)))
        json.dumps(finding.to_dict())


def test_every_code_of_a_finding_has_a_damage() -> None:
    assert {wanted[0] for _, wanted in DAMAGE.values()} == {"V006", "V007", "V008", "V009"}


def test_damage_of_a_parent_is_named_where_it_is(live: Connection, shop: Schema) -> None:
    live.execute("alter table shop.customers add constraint hand check (email = 'none')")
    (finding,) = found(live, shop, "orders")
    assert (finding.table, finding.examined, finding.clause) == ("customers", "orders", "hand")
    assert "codered-spec contract orders --rows 60 --seed 1" in str(finding.diagnostic)


def with_states(schema: Schema, *states: str) -> Schema:
    """The schema with another list of states; without a list where there are none."""
    customers = schema.tables[0]
    checks = tuple(
        replace(check, rule=OneOf("state", states)) if isinstance(check.rule, OneOf) else check
        for check in customers.checks
        if states or not isinstance(check.rule, OneOf)
    )
    return replace(schema, tables=(replace(customers, checks=checks), *schema.tables[1:]))


def test_a_validator_that_disagrees_is_found(
    live: Connection, shop: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = examine_module._validators
    cases = {}
    for states in ((), ("new", "trusted"), ("new", "banned"), ("trusted", "banned")):
        other = real(with_states(shop, *states))
        monkeypatch.setattr(examine_module, "_validators", lambda _, other=other: other)
        (finding,) = found(live, shop, "customers")
        assert (finding.code, finding.column) == ("V010", "state")
        cases[states] = finding.case
    assert cases.pop(()).startswith("customers_state_values: ")
    assert any(case.startswith("a valid row") for case in cases.values())


# ---- the smallest row, again and again --------------------------------------------------------


def test_the_row_of_a_finding_is_small(live: Connection, shop: Schema) -> None:
    live.execute("alter table shop.customers add constraint hand check (length(note) < 4)")
    (finding,) = found(live, shop, "customers")
    assert finding.row.keys() == {"email", "note"}
    assert len(finding.row["note"]) == 4
    assert finding.count > 1


def test_the_row_of_a_fault_is_small(live: Connection, shop: Schema) -> None:
    live.execute("alter table shop.orders drop constraint orders_total_range")
    (finding,) = found(live, shop, "orders")
    assert finding.row.keys() == {"customer_id", "total"}
    assert finding.row["total"] < 0 or not finding.row["total"].is_finite()


HOLE: Final = "alter table shop.visits add constraint hole check (count <> 3)"


def test_random_rows_find_what_no_limit_shows(live: Connection, shop: Schema) -> None:
    live.execute(HOLE.encode())
    (finding,) = found(live, shop, "visits")
    assert (finding.code, finding.column, finding.clause) == ("V007", "count", "hole")
    assert finding.row == {"count": 3, "seen_at": finding.row["seen_at"]}


def test_a_seed_repeats_its_rows(live: Connection, shop: Schema) -> None:
    live.execute(HOLE.encode())
    assert run(live, shop, seed=7) == run(live, shop, seed=7)
    assert found(live, shop, "visits", 7) == found(live, shop, "visits", 7)
    alone = run(live, shop, "visits", seed=7)
    assert alone == [r for r in run(live, shop, seed=7) if r.table == "visits"]


def test_a_report_is_plain_ascii_json(live: Connection, shop: Schema) -> None:
    live.execute("alter table shop.customers add constraint hand check (note <> 'é')")
    live.execute("alter table shop.orders drop constraint orders_total_range")
    reports = run(live, shop)
    text = json.dumps([report.to_dict() for report in reports])
    assert json.loads(text)[1]["findings"][0]["row"].keys() == {"customer_id", "total"}
    assert all(str(d).isascii() for report in reports for d in report.diagnostics)


def test_long_and_strange_values_are_shown_short() -> None:
    row = {"a": "x" * 5000, "b": [1.5] * 400, "c": "\ud800\u202e", "d": float("nan"), "e": 10**50}
    finding = Finding("V006", "t", "a", None, "n" * 999, "x", "y", row, "t", 0, 0)
    text = str(finding.diagnostic)
    assert len(text) < 700
    assert text.isascii() or "…" in text
    text.replace("…", "").encode()
    data = json.loads(json.dumps(finding.to_dict()))
    assert (len(data["row"]["a"]), len(data["row"]["b"]), data["row"]["d"]) == (5000, 400, "nan")


# ---- rows that are there already --------------------------------------------------------------


def test_rows_that_are_there_do_not_matter(live: Connection, shop: Schema) -> None:
    live.execute("insert into shop.customers (email) select 'c' || n from generate_series(1, 50) n")
    live.execute("insert into shop.orders (customer_id, total) select id, 1 from shop.customers")
    assert all(report.ok for report in run(live, shop))
    assert live.execute("select count(*) from shop.orders").fetchone() == (50,)


def test_rows_in_the_way_are_said_and_no_finding(live: Connection, shop: Schema) -> None:
    # the answer to a valid row with this address, and to an order of this customer, is theirs
    live.execute("insert into shop.customers (email) values (' '), ('0'), ('😀')")
    live.execute(
        "insert into shop.customers (id, email)"
        " values ('00000000-0000-0000-0000-000000005eee', 'nobody')"
    )
    customers, orders = run(live, shop, "customers", "orders")
    assert customers.ok
    assert orders.ok
    for report in (customers, orders):
        (obstacle,) = report.obstacles
        assert (obstacle.code, obstacle.warning) == ("V011", True)
    assert live.execute("select count(*) from shop.customers").fetchone() == (4,)


def test_a_table_that_cannot_be_judged_is_no_success(live: Connection, shop: Schema) -> None:
    plan = Plan(shop)
    for attempt in range(examine_module._SCENES):
        for label in ("clauses", "rows 0"):
            choices = RandomChoices(f"1 orders {label} {attempt}")
            before = Scene(plan, "orders", choices).before
            try:
                with live.transaction():
                    insert(live, shop, before[:1])
            except psycopg.errors.UniqueViolation:
                pass
    (report,) = run(live, shop, "orders")
    assert (report.ok, report.findings) == (False, ())
    (obstacle,) = [o for o in report.obstacles if not o.warning]
    assert obstacle.code == "V011"
    assert "empty scratch database" in obstacle.fix


# ---- what cannot be examined ------------------------------------------------------------------


def code_of(connection: Connection, schema: Schema, *tables: str) -> list[tuple[str, str | None]]:
    with pytest.raises(CoderedError) as caught:
        examine(connection, schema, tables)
    return [(d.code, d.subject) for d in caught.value.diagnostics]


def test_a_missing_schema_is_named(connection: Connection, shop: Schema) -> None:
    assert code_of(connection, shop) == [("V001", "schema")]


def test_missing_tables_and_columns_are_named(live: Connection, shop: Schema) -> None:
    live.execute("alter table shop.customers drop column note")
    live.execute("drop table shop.visits")
    assert set(code_of(live, shop)) == {("V002", "visits"), ("V002", "customers.note")}
    # of a parent, too
    assert code_of(live, shop, "orders") == [("V002", "customers.note")]
    assert [report.table for report in run(live, shop, "switches")] == ["switches"]


def test_an_unknown_table_is_named(live: Connection, shop: Schema) -> None:
    with pytest.raises(InputError, match="there is no table order"):
        examine(live, shop, ["order"])


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("set default_transaction_read_only = on", "P004"),
        ("set role anon", "P009"),
        ("select pg_terminate_backend(pg_backend_pid())", "P001"),
    ],
)
def test_a_database_that_refuses_to_work_is_an_error(
    statement: str, code: str, live: Connection, shop: Schema
) -> None:
    if code == "P001":
        reports = examine(live, shop)
        with pytest.raises(psycopg.OperationalError):
            live.execute(statement.encode())
    else:
        live.execute("grant usage on schema shop to anon")
        live.execute(statement.encode())
        reports = examine(live, shop)
    with pytest.raises(CoderedError) as caught:
        list(reports)
    assert [d.code for d in caught.value.diagnostics] == [code]


def test_examinations_wait_for_each_other(live: Connection, database: str) -> None:
    with connect(database) as other:
        other.execute("set lock_timeout = '50ms'")
        with live.transaction():
            serialize(live)
            with pytest.raises(psycopg.errors.LockNotAvailable), other.transaction():
                serialize(other)
        with other.transaction():
            serialize(other)


def test_a_check_that_is_new_in_the_spec_is_missed_in_the_database(
    live: Connection, shop: Schema
) -> None:
    """What a person does: change the spec, forget the migration."""
    customers = shop.tables[0]
    check = Check("customers_note_values", OneOf("note", ("short", "long")))
    changed = replace(customers, checks=(*customers.checks, check))
    schema = replace(shop, tables=(changed, *shop.tables[1:]))
    findings = found(live, schema, "customers")
    assert ("V006", "customers_note_values") in {(f.code, f.clause) for f in findings}
