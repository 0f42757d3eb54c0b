"""A value that a validator accepts is stored, and stored the same, through every transport.

The transports: parameters of psycopg, COPY in text format, and JSON as PostgREST sends it (from
``json`` and from ``jsonb``), each from the normalised row; and JSON from the row as it came, where
JSON can carry it. ``TRANSPORT_VALUES`` is the number of values for each type.
"""

from __future__ import annotations

import json
import math
import os
import re
import uuid
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from every_type import ANYTHING, TYPES, every_type, json_native, table_name, validators_of, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb as JsonParameter
from psycopg.types.json import set_json_loads

from codered_spec.connection import Connection, connect
from codered_spec.emit.ddl import emit_sql
from codered_spec.model.types import (
    Array,
    BigInt,
    Boolean,
    Date,
    DoublePrecision,
    Integer,
    Jsonb,
    Numeric,
    PgType,
    Real,
    Scalar,
    SmallInt,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
    base_name,
)
from codered_spec.postgres import EmbeddedServer
from codered_spec.sql import identifier
from codered_spec.validation import JsonText

VALUES: Final = int(os.environ.get("TRANSPORT_VALUES", "3000"))
BATCH: Final = 100
VALIDATORS: Final = validators_of(every_type())
PAGE: Final = Path(__file__).parents[1] / "docs" / "reference" / "validators.md"
loads = partial(json.loads, parse_float=Decimal)

fuzz = settings(
    max_examples=max(1, VALUES // BATCH), deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def tables(server: EmbeddedServer, template: str) -> Iterator[Connection]:
    """A connection to a database with a table for each type."""
    name = f"test_{uuid.uuid4().hex}"
    with connect(server.dsn()) as admin:
        admin.execute(
            f"create database {identifier(name)} template {identifier(template)}".encode()
        )
    with connect(server.dsn(database=name)) as connection:
        connection.execute(emit_sql(every_type()).encode())
        set_json_loads(loads, connection)
        yield connection
    with connect(server.dsn()) as admin:
        admin.execute(f"drop database {identifier(name)} with (force)".encode())


# ---- what a transport carries -----------------------------------------------------------------


def json_text(value: Any) -> str:
    """The JSON form of a normalised value."""
    if isinstance(value, JsonText):
        return value
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, (UUID, Decimal, date)):
        return json.dumps(str(value))
    return json.dumps(value, ensure_ascii=False)


def copy_text(value: Any, type_: PgType) -> str:
    """The text form of a normalised value, for COPY."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, list) and isinstance(type_, Array):
        items = (copy_text(item, type_.element) for item in value)
        return "{" + ",".join('"' + re.sub(r'(["\\])', r"\\\1", item) + '"' for item in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(repr, value)) + "]"
    return repr(value) if isinstance(value, float) else str(value)


def copy_field(value: Any, type_: PgType) -> str:
    text = copy_text(value, type_).replace("\\", "\\\\")
    return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


class Batch:
    """Accepted values of one type: as they came, and normalised."""

    def __init__(self, type_: PgType, pairs: Sequence[tuple[object, Any]]) -> None:
        self.type = type_
        self.pairs = pairs
        self.table = identifier("everything", table_name(type_))

    def parameters(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                f"insert into {self.table} values (%s, %s)".encode(),
                [(key, value) for key, (_, value) in enumerate(self.pairs)],
            )

    def copy(self, connection: Connection) -> None:
        lines = (f"{key}\t{copy_field(v, self.type)}\n" for key, (_, v) in enumerate(self.pairs))
        with (
            connection.cursor() as cursor,
            cursor.copy(f"copy {self.table} from stdin".encode()) as copy,
        ):
            copy.write("".join(lines))

    def _json(self, connection: Connection, kind: str, forms: Iterator[tuple[int, str]]) -> None:
        rows = [f'{{"k":{key},"v":{form}}}' for key, form in forms]
        connection.execute(
            f"insert into {self.table} select r.* from unnest(%s::text[]) as t(x),"
            f" lateral {kind}_populate_record(null::{self.table}, x::{kind}) as r".encode(),
            [rows],
        )

    def json(self, connection: Connection, kind: str = "json") -> None:
        forms = ((key, json_text(value)) for key, (_, value) in enumerate(self.pairs))
        self._json(connection, kind, forms)

    def jsonb(self, connection: Connection) -> None:
        self.json(connection, "jsonb")

    def raw_json(self, connection: Connection, kind: str = "json") -> None:
        """The values as they came, where they are JSON."""
        forms = [
            (key, json.dumps(raw, ensure_ascii=False))
            for key, (raw, _) in enumerate(self.pairs)
            if json_native(raw) and base_name(self.type) != "vector[]"
        ]
        if kind == "json":  # which alone keeps the sign of zero
            forms = [(key, re.sub(r"-0\.0\b(?!\d|e)", "0.0", form)) for key, form in forms]
        self._json(connection, kind, iter(forms))

    def raw_jsonb(self, connection: Connection) -> None:
        self.raw_json(connection, "jsonb")


TRANSPORTS: Final[tuple[Callable[[Batch, Connection], None], ...]] = (
    Batch.parameters,
    Batch.copy,
    Batch.json,
    Batch.jsonb,
    Batch.raw_json,
    Batch.raw_jsonb,
)


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    with connection.transaction(force_rollback=True):
        yield


def read(batch: Batch, connection: Connection) -> tuple[dict[int, str], dict[int, Any]]:
    """What is stored, by key: as text and as Python values."""
    shown = "null" if base_name(batch.type).startswith("vector") else "v"
    with connection.cursor(binary=True) as cursor:
        cursor.execute(f"select k, v::text, {shown} from {batch.table}".encode())
        found = cursor.fetchall()
    return {k: text for k, text, _ in found}, {k: value for k, _, value in found}


def sent(
    batch: Batch, connection: Connection, transport: Callable[[Batch, Connection], None]
) -> tuple[dict[int, str], dict[int, Any]]:
    """What a transport stores; fails with the value that it does not take."""
    try:
        with undone(connection):
            transport(batch, connection)
            return read(batch, connection)
    except (psycopg.Error, UnicodeError):
        for pair in batch.pairs:
            try:
                with undone(connection):
                    transport(Batch(batch.type, [pair]), connection)
            except (psycopg.Error, UnicodeError) as error:
                pytest.fail(f"{transport.__name__} refuses {pair!r} as {batch.type}: {error}")
        raise


def same(type_: PgType, stored: Any, text: str, normalised: Any) -> bool:
    """Whether the stored value is the normalised one."""
    if isinstance(type_, Vector):
        singles = array("f", map(float, text.strip("[]").split(",")))
        return bool(singles.tolist() == normalised)
    if base_name(type_) == "vector[]":
        inside = re.findall(r"\[[^\]]*\]", text)
        return len(inside) == len(normalised) and all(
            same(Vector(), None, one, json.loads(other))
            for one, other in zip(inside, normalised, strict=True)
        )
    if isinstance(type_, Jsonb):
        return bool(stored == loads(normalised))
    if base_name(type_) == "jsonb[]":
        return bool(stored == [loads(item) for item in normalised])
    return type(stored) is type(normalised) and bool(stored == normalised)


def accepted(type_: PgType, candidates: Sequence[object]) -> list[tuple[object, Any]]:
    """The pairs of value and normalised value of those that the validator accepts."""
    validator = VALIDATORS[table_name(type_)]
    found = []
    for value in candidates:
        row = {"k": 0, "v": value}
        if value is not None and validator.ok(row):
            found.append((value, validator.validate(row)["v"]))
    return found


def check_transports(type_: PgType, candidates: Sequence[object], connection: Connection) -> int:
    batch = Batch(type_, accepted(type_, candidates))
    if not batch.pairs:
        return 0
    first, stored = sent(batch, connection, TRANSPORTS[0])
    for key, (value, normalised) in enumerate(batch.pairs):
        assert same(type_, stored[key], first[key], normalised), (value, normalised, first[key])
    for transport in TRANSPORTS[1:]:
        for key, text in sent(batch, connection, transport)[0].items():
            assert text == first[key], (transport.__name__, batch.pairs[key], text, first[key])
    return len(batch.pairs)


# ---- the tests --------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_what_is_accepted_is_stored_alike_by_every_transport(
    type_: PgType, tables: Connection, record_property: Callable[[str, object], None]
) -> None:
    total = [check_transports(type_, ANYTHING, tables)]
    if isinstance(type_, Array):
        singly = [[value] for value in ANYTHING]
        total.append(check_transports(type_, singly, tables))

    @fuzz
    @given(st.lists(values(type_), min_size=BATCH, max_size=BATCH))
    def run(candidates: list[object]) -> None:
        total.append(check_transports(type_, candidates, tables))

    run()
    record_property("accepted", sum(total))
    assert sum(total) >= VALUES // 5, "too few of the values are of use"


# ---- what is refused although a transport takes it --------------------------------------------

EXACT: Final[dict[type, tuple[type, ...]]] = {
    Uuid: (UUID, str),
    Text: (str,),
    Varchar: (str,),
    Boolean: (bool,),
    SmallInt: (int,),
    Integer: (int,),
    BigInt: (int,),
    Numeric: (Decimal, int, float, str),
    Real: (float, int),
    DoublePrecision: (float, int),
    Date: (date, str),
    Timestamptz: (datetime, str),
    Jsonb: (dict, list, str, int, float, bool),
    Vector: (list,),
}
MAX_SINGLE: Final = 3.4028234663852886e38
NOT_WITNESSED: Final = {"JSON null", "text size"}  # no value, and values of many megabytes
_instant_form = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])"
)


def reasons(type_: PgType, value: Any) -> set[str]:
    """The documented kinds of strictness that a value falls under."""
    if isinstance(type_, Array):
        if type(value) is not list:
            return {"exact types"}
        found: set[str] = set()
        for item in value:
            nested = type(item) is list and not isinstance(type_.element, Vector)
            flat = item is not None and item != [] and not nested
            found |= reasons(type_.element, item) if flat else {"flat arrays"}
        return found
    if type(value) not in EXACT[type(type_)]:
        return {"exact types"}
    return set(_reasons(type_, value))


def _reasons(type_: Scalar, value: Any) -> Iterator[str]:
    endless = type(value) is float and not math.isfinite(value)
    if endless or (type(value) is Decimal and not value.is_finite()):
        yield "finite"
        return
    match type_:
        case Uuid() if type(value) is str and not re.fullmatch(r"[0-9a-fA-F-]{36}", value):
            yield "uuid text"
        case Varchar(length) if len(value.rstrip(" ")) <= length < len(value):
            yield "varchar spaces"
        case Numeric() if type(value) is str:
            if not re.fullmatch(r"-?[0-9]{1,400}(\.[0-9]{1,400})?", value):
                yield "number text"
        case Numeric() if type(value) is float:
            if len(repr(value).partition("e")[0].replace(".", "").strip("0-")) > 15:
                yield "float digits"
        case Numeric():
            exponent = Decimal(value).as_tuple().exponent
            if abs(value) >= 10**400 or abs(int(exponent)) > 1000:
                yield "number limits"
        case Real() | DoublePrecision():
            if type(value) is int and abs(value) > 2**53:
                yield "whole floats"
            if type_ == Real() and value and not 1.1754943508222875e-38 <= abs(value) <= MAX_SINGLE:
                yield "single precision"
        case Date() if type(value) is str:
            if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
                yield "date text"
        case Timestamptz() if type(value) is str:
            yield "calendar" if _instant_form.fullmatch(value) else "instant text"
        case Timestamptz():
            yield "time zone" if value.tzinfo is None else "calendar"
        case Jsonb():
            yield from _json_reasons(value, 1)
        case Vector():
            for item in value:
                yield from reasons(Real(), item)
        case _:
            pass


def _json_reasons(value: Any, depth: int) -> Iterator[str]:
    if value is not None and type(value) not in EXACT[Jsonb]:
        yield "exact types"
    elif depth > 100 or (type(value) is int and abs(value) >= 10**400):
        yield "JSON limits"
    elif type(value) in (list, dict):
        if type(value) is dict and {*map(type, value)} - {str}:
            yield "exact types"
        for item in value if type(value) is list else value.values():
            yield from _json_reasons(item, depth + 1)


def taken(connection: Connection, type_: PgType, value: object) -> list[str]:
    """The transports that take a value as it is."""
    table = identifier("everything", table_name(type_))
    found = []
    parameter = JsonParameter(value) if isinstance(type_, Jsonb) else value
    insert = f"insert into {table} values (nextval('k'), %s)"
    populate = (
        f"insert into {table} select nextval('k'), (json_populate_record(null::{table}, %s)).v"
    )
    try:
        connection.execute(insert.encode(), [parameter])
        found.append("a parameter")
    except Exception:  # noqa: BLE001 -- whatever it is, the value is not stored
        pass
    try:
        form = json.dumps({"v": value}, allow_nan=False)
        connection.execute(populate.encode(), [form])
        found.append("JSON")
    except Exception:  # noqa: BLE001
        pass
    return found


def test_whatever_is_refused_is_refused_by_postgres_or_for_a_documented_reason(
    tables: Connection,
) -> None:
    tables.execute("create temporary sequence k")
    text = PAGE.read_text(encoding="utf-8")
    documented = set(re.findall(r"^- \*\*(.+?)\*\*:", text, re.MULTILINE))
    witnessed: set[str] = set()
    for type_ in TYPES:
        validator = VALIDATORS[table_name(type_)]
        candidates = [*ANYTHING]
        if isinstance(type_, Array):
            candidates = [[value] for value in ANYTHING] + [[[1, 2]], [[[1, 2, 3]]], ("a",), "{}"]
        for value in candidates:
            if value is None or validator.ok({"k": 0, "v": value}):
                continue
            if ways := taken(tables, type_, value):
                why = reasons(type_, value)
                assert why, (str(type_), value, ways)
                witnessed |= why
    assert witnessed <= documented
    assert documented - witnessed == NOT_WITNESSED
