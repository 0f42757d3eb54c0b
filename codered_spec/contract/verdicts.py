"""The verdict of a real server on many rows, each alone: SQLSTATE, constraint, the stored row.

A temporary PL/pgSQL function takes one ``text[]`` per column and tries each row in a subtransaction
of its own that never lasts, so that no row sees another and the table stays as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from codered_spec.connection import Connection
from codered_spec.contract.rules import Row
from codered_spec.emit.expressions import sql_type
from codered_spec.errors import Diagnostic, InputError
from codered_spec.model.schema import Schema, Table
from codered_spec.model.types import Array, Jsonb, PgType, Varchar, Vector
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier

UNSENDABLE: Final = "22021"
"""SQLSTATE of text with NUL or a lone surrogate, which no client can even send."""
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


def verdicts(
    connection: Connection, schema: Schema, table: str, rows: Sequence[Mapping[str, Any]]
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
        for names, group in groups.items():
            _judge(connection, schema, found, names, group, answers)
    return [answers[position] for position in range(len(rows))]


def insert(connection: Connection, schema: Schema, rows: Sequence[tuple[str, Row]]) -> None:
    """Inserts rows in their order, with the same text forms and casts as the verdicts."""
    vectors = schema.extension_schema("vector")
    for name, row in rows:
        table = schema.table(name)
        assert table is not None
        present = [column for column in table.columns if column.name in row]
        values = ", ".join(f"%s::text::{_cast(c.type, vectors)}" for c in present)
        target = identifier(schema.name, name)
        names = column_list(tuple(c.name for c in present)).replace("%", "%%")
        text = f"insert into {target.replace('%', '%%')} {names} values ({values})"
        if not present:
            text = f"insert into {target} default values"
        parameters = [text_of(c.type, row[c.name]) for c in present]
        connection.execute(text.encode(), parameters if present else None)


def _cast(type_: PgType, vectors: str | None) -> str:
    """The type to cast to: without the length of varchar, to which a cast would cut silently."""
    if isinstance(type_, Array):
        return _cast(type_.element, vectors) + "[]"
    return "varchar" if isinstance(type_, Varchar) else sql_type(type_, vectors)


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
    schema: Schema,
    table: Table,
    names: tuple[str, ...],
    group: list[tuple[int, list[str | None]]],
    answers: dict[int, Verdict],
) -> None:
    connection.execute(_function(schema, table, names).encode())
    holders = ", ".join(["%b::integer", *["%b::text[]"] * len(names)])
    query = f"select * from pg_temp.codered_verdicts({holders})".encode()
    for start in range(0, len(group), _BATCH):
        batch = group[start : start + _BATCH]
        arrays = [[texts[i] for _, texts in batch] for i in range(len(names))]
        result = connection.execute(query, [len(batch), *arrays]).fetchall()
        for (position, _), (ok, *details) in zip(batch, result, strict=True):
            answers[position] = Verdict(ok, *(detail or None for detail in details))
    signature = ", ".join(["integer", *["text[]"] * len(names)])
    connection.execute(f"drop function pg_temp.codered_verdicts({signature})".encode())


def _function(schema: Schema, table: Table, names: tuple[str, ...]) -> str:
    vectors = schema.extension_schema("vector")
    target = identifier(schema.name, table.name)
    by_name = {column.name: column for column in table.columns}
    values = ", ".join(
        f"${i}[at_]::{_cast(by_name[name].type, vectors)}" for i, name in enumerate(names, 2)
    )
    source = f"{column_list(names)} values ({values})" if names else "default values"
    arguments = ", ".join(["integer", *["text[]"] * len(names)])
    body = f"""
declare at_ integer;
begin
  for at_ in 1 .. $1 loop
    ok := false; state := null; named := null; field := null; said := null; stored := null;
    begin
      insert into {target} as t {source} returning to_jsonb(t.*)::text into stored;
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
        f"create function pg_temp.codered_verdicts({arguments}) returns table (ok boolean,"
        " state text, named text, field text, said text, stored text)"
        f" language plpgsql as {quote}{body}{quote}"
    )
