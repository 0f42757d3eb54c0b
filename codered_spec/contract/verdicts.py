"""The verdict of a real server on many rows, each alone: SQLSTATE, constraint, the stored row.

A temporary PL/pgSQL function tries each row in a subtransaction of its own that never lasts, so
that no row sees another and the table stays as it was. It takes one ``text[]`` per column, or one
of whole rows as JSON, which it inserts as PostgREST does: ``json_to_record`` with the full type of
each column that the row names, so that an absent column gets its default and a null is NULL.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from codered_spec.connection import Connection
from codered_spec.contract.rules import Row
from codered_spec.emit.expressions import sql_type
from codered_spec.errors import Diagnostic, InputError
from codered_spec.model.schema import Schema, Table
from codered_spec.model.types import Array, Jsonb, PgType, Vector
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier

UNSENDABLE: Final = "22021"
"""SQLSTATE of text with NUL or a lone surrogate, which no client can even send."""
Transport: TypeAlias = Literal["text", "json"]
"""How a row is sent: a text for each value, with a cast, or one JSON object."""
_BATCH: Final = 500
_UNDONE: Final = "CS001"


class Unsendable(ValueError):  # noqa: N818 -- what the value is
    """A Python value that has no text form for the column."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Postgres says of one row.

    ``sqlstate``, ``constraint`` and ``column`` are of the refusal; a refusal without SQLSTATE never
    reached the server. ``stored`` is the row as JSON text, where the row was accepted.
    """

    ok: bool
    sqlstate: str | None = None
    constraint: str | None = None
    column: str | None = None
    message: str | None = None
    stored: str | None = None


def text_of(type_: PgType, value: Any) -> str | None:
    """The text that stands for a Python value in a column of the type; None is NULL.

    Raises :class:`Unsendable` for what has no text form.
    """
    if value is None:
        return None
    if isinstance(type_, Jsonb):
        try:
            return json.dumps(value)
        except (TypeError, ValueError, RecursionError) as exc:
            raise Unsendable(str(exc)) from None
    if isinstance(value, list):
        if isinstance(type_, Vector):
            return f"[{','.join(_scalar(item) for item in value)}]"
        element = type_.element if isinstance(type_, Array) else type_
        return _array(element, value)
    return _scalar(value)


def _array(element: PgType, items: list[Any]) -> str:
    parts = []
    for item in items:
        if item is None:
            parts.append("NULL")
        elif isinstance(item, list) and not isinstance(element, (Jsonb, Vector)):
            parts.append(_array(element, item))
        else:
            text = text_of(element, item) or ""
            parts.append('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return "{" + ",".join(parts) + "}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (int, Decimal, UUID)):
        try:
            return str(value)
        except ValueError as exc:  # more digits than Python prints
            raise Unsendable(str(exc)) from None
    raise Unsendable(f"{type(value).__name__} has no text form")


def json_of(type_: PgType, value: Any) -> str:
    """The JSON that stands for a Python value in a column of the type; None is null.

    What JSON cannot say is a string in Postgres' own form: an instant, ``"NaN"``, a vector inside
    of an array. Raises :class:`Unsendable` for what has no text form either.
    """
    if value is None:
        return "null"
    if isinstance(type_, Jsonb):
        return str(text_of(type_, value))
    if isinstance(value, list):
        items = [_json_item(type_, item) for item in value]
        if isinstance(type_, Vector) and any(item.startswith('"') for item in items):
            return json.dumps(text_of(type_, value))
        return f"[{','.join(items)}]"
    text = _scalar(value)
    plain = isinstance(value, (bool, int)) or (
        isinstance(value, (float, Decimal)) and math.isfinite(value)
    )
    return text if plain else json.dumps(text)


def _json_item(type_: PgType, item: Any) -> str:
    """The JSON of an item in a list for a column of the type."""
    element = type_.element if isinstance(type_, Array) else type_
    if isinstance(item, list) and not isinstance(element, Jsonb):
        if isinstance(element, Vector):  # a list in a list would be another dimension
            return json.dumps(text_of(element, item))
        return json_of(type_, item)
    return json_of(element, item)


def verdicts(
    connection: Connection,
    schema: Schema,
    table: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    transport: Transport = "text",
) -> list[Verdict]:
    """What Postgres says of each row alone, in the order of the rows. Nothing is kept.

    Rows with the same columns are judged together; few sets of columns make it fast. Raises
    InputError for a table or column that the schema does not have.
    """
    found = schema.table(table)
    if found is None:
        raise InputError(Diagnostic("M001", f"there is no table {table}", "name a table"))
    types = {column.name: column.type for column in found.columns}
    answers: dict[int, Verdict] = {}
    groups: dict[tuple[str, ...], list[tuple[int, list[str | None]]]] = {}
    for position, row in enumerate(rows):
        if unknown := row.keys() - types.keys():
            strange = ", ".join(sorted(map(str, unknown)))
            raise InputError(Diagnostic("M001", f"{table} has no column {strange}", "remove it"))
        names = tuple(name for name in types if name in row)
        try:
            if transport == "json":
                pairs = (f"{json.dumps(name)}:{json_of(types[name], row[name])}" for name in names)
                texts: list[str | None] = [f"{{{','.join(pairs)}}}"]
            else:
                texts = [text_of(types[name], row[name]) for name in names]
        except Unsendable as exc:
            answers[position] = Verdict(False, message=str(exc))
            continue
        if all(text is None or _clean(text) for text in texts):
            groups.setdefault(names, []).append((position, texts))
        else:
            answers[position] = Verdict(False, UNSENDABLE, message="NUL or lone surrogate")
    with connection.transaction(force_rollback=True):
        connection.execute("set local time zone 'UTC'")
        connection.execute("set local client_min_messages = warning")
        casts = live_types(connection, schema, found, full=transport == "json")
        target = identifier(schema.name, table)
        for names, group in groups.items():
            source = _source(names, casts, transport)
            _judge(connection, f"{target} as t {source}", group, answers)
    return [answers[position] for position in range(len(rows))]


def insert(connection: Connection, schema: Schema, rows: Sequence[tuple[str, Row]]) -> None:
    """Inserts rows in their order, with the same text forms and casts as the verdicts."""
    casts: dict[str, dict[str, str]] = {}
    for name, row in rows:
        table = schema.table(name)
        assert table is not None
        if name not in casts:
            casts[name] = live_types(connection, schema, table)
        present = [column for column in table.columns if column.name in row]
        values = ", ".join(f"%s::text::{casts[name][c.name]}" for c in present)
        target = identifier(schema.name, name)
        names = column_list(tuple(c.name for c in present)).replace("%", "%%")
        text = f"insert into {target.replace('%', '%%')} {names} values ({values})"
        if not present:
            text = f"insert into {target} default values"
        parameters = [text_of(c.type, row[c.name]) for c in present]
        connection.execute(text.encode(), parameters if present else None)


def live_types(
    connection: Connection, schema: Schema, table: Table, *, full: bool = False
) -> dict[str, str]:
    """What to cast the text of each column to: the type that the live column has.

    Not the type of the spec, whose cast would judge in the place of a column of another type. And
    without length, precision or dimensions, unless ``full``: those are for the column to judge, as
    a cast to ``varchar(n)`` cuts silently.
    """
    query = (
        f"select attname, format_type(atttypid, {'atttypmod' if full else 'null'})"
        " from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
    )
    vectors = schema.extension_schema("vector")
    casts = {column.name: sql_type(column.type, vectors) for column in table.columns}
    live = connection.execute(query.encode(), [identifier(schema.name, table.name)]).fetchall()
    return casts | {str(name): str(type_) for name, type_ in live}


def _clean(text: str) -> bool:
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _judge(
    connection: Connection,
    insertion: str,
    group: list[tuple[int, list[str | None]]],
    answers: dict[int, Verdict],
) -> None:
    count = len(group[0][1])
    signature = ", ".join(["integer", *["text[]"] * count])
    connection.execute(_function(insertion, signature).encode())
    holders = ", ".join(["%b::integer", *["%b::text[]"] * count])
    query = f"select * from pg_temp.codered_verdicts({holders})".encode()
    for start in range(0, len(group), _BATCH):
        batch = group[start : start + _BATCH]
        arrays = [[texts[i] for _, texts in batch] for i in range(count)]
        result = connection.execute(query, [len(batch), *arrays]).fetchall()
        for (position, _), (ok, *details) in zip(batch, result, strict=True):
            answers[position] = Verdict(ok, *(detail or None for detail in details))
    connection.execute(f"drop function pg_temp.codered_verdicts({signature})".encode())


def _source(names: tuple[str, ...], casts: dict[str, str], transport: Transport) -> str:
    """What to insert: the texts of the columns, or the columns of the JSON."""
    if not names:
        return "default values"
    if transport == "json":
        typed = ", ".join(f"{identifier(name)} {casts[name]}" for name in names)
        return f"{column_list(names)} select * from json_to_record($2[at_]::json) as ({typed})"
    values = ", ".join(f"${i}[at_]::{casts[name]}" for i, name in enumerate(names, 2))
    return f"{column_list(names)} values ({values})"


def _function(insertion: str, signature: str) -> str:
    body = f"""
declare at_ integer;
begin
  for at_ in 1 .. $1 loop
    ok := false; state := null; named := null; field := null; said := null; stored := null;
    begin
      insert into {insertion} returning to_jsonb(t.*)::text into stored;
      raise exception using errcode = '{_UNDONE}';
    exception
      when sqlstate '{_UNDONE}' then
        ok := stored is not null;
        said := case when not ok then 'a trigger took the row away' end;
      when others or assert_failure then
        get stacked diagnostics state = returned_sqlstate, named = constraint_name,
          field = column_name, said = message_text;
        stored := null;
    end;
    return next;
  end loop;
end
"""
    quote = "$$"
    while quote in body:
        quote = "$" + "q" * (len(quote) - 1) + "$"
    return (
        f"create function pg_temp.codered_verdicts({signature}) returns table (ok boolean,"
        " state text, named text, field text, said text, stored text)"
        f" language plpgsql as {quote}{body}{quote}"
    )
