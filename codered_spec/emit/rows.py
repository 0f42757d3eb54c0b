"""The row type emitter: ``TypedDict`` and ``Literal`` types, for mypy and pyright."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterator
from typing import assert_never

from codered_spec.emit.file import GENERATED, File, docstring
from codered_spec.model.check import column_values
from codered_spec.model.schema import Column, Schema, Table
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
    SmallInt,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)


def emit_rows(schema: Schema, package: str) -> tuple[File, ...]:
    """``PACKAGE/rows.py`` for the schema: three types a table, one type a value list.

    ``TaskRow`` is a row as it is read, ``TaskInsert`` one to insert (columns with a default or
    NULL may be left out), ``TaskUpdate`` a change of some columns.
    """
    return (File(f"{package}/rows.py", "\n".join(_module(schema)) + "\n"),)


def type_names(schema: Schema) -> dict[tuple[str, str], str]:
    """Table and column to the name of the type of its value list.

    A shared list has the name of its value set; a list whose column name occurs once has the name
    of the column, and any other one that of table and column.
    """
    shared = {
        address: _camel(value_set.name)
        for value_set in schema.value_sets
        for address in value_set.columns
    }
    listed = [(t, c) for t in schema.tables for c in t.columns if column_values(t, c)]
    alone = Counter(c.name for t, c in listed if f"{t.name}.{c.name}" not in shared)
    names: dict[tuple[str, str], str] = {}
    for table, column in listed:
        name = shared.get(f"{table.name}.{column.name}")
        if name is None:
            name = _camel(column.name)
            if alone[column.name] > 1 or name in shared.values():
                name = singular(table.name) + name
        names[table.name, column.name] = name
    return names


def singular(table: str) -> str:
    """The type name of one row: ``AgentRun`` for ``agent_runs``."""
    name = _camel(table)
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _camel(name: str) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    joined = "".join(word[0].upper() + word[1:] for word in words)
    return joined if joined and not joined[0].isdigit() else f"T{joined}"


def _module(schema: Schema) -> Iterator[str]:
    names = type_names(schema)
    yield f"# {GENERATED}"
    yield docstring(f"Types of the rows of the schema {schema.name}.")
    yield ""
    yield "from datetime import date, datetime"
    yield "from decimal import Decimal"
    yield "from typing import Any, Literal, NotRequired, TypedDict"
    yield "from uuid import UUID"
    yield ""
    done: set[str] = set()
    for table in schema.tables:
        for column in table.columns:
            name = names.get((table.name, column.name))
            if name is None or name in done:
                continue
            done.add(name)
            yield from _values(table, column, name)
    for table in schema.tables:
        yield from _types(table, names)


def _values(table: Table, column: Column, name: str) -> Iterator[str]:
    values = column_values(table, column)
    yield f"{name} = Literal["
    yield from (f"    {value!r}," for value in values)
    yield "]"
    if values == column.known:
        address = f"{table.name}.{column.name}"
        yield docstring(f"Known values of an open list: {address} takes others too.")
    yield ""


def _types(table: Table, names: dict[tuple[str, str], str]) -> Iterator[str]:
    base = singular(table.name)
    told = " ".join((table.comment or f"A row of {table.name}.").split()).replace('"', "'")
    told = told.replace("\\", "/")
    short = told.partition(". ")[0].rstrip(".") + "."
    for suffix, what in (("Row", short), ("Insert", "To insert."), ("Update", "To update.")):
        lines = [
            (column.name, _member(column, names.get((table.name, column.name)), suffix))
            for column in table.columns
        ]
        yield ""
        if all(name.isidentifier() and not keyword.iskeyword(name) for name, _ in lines):
            yield f"class {base}{suffix}(TypedDict{', total=False' * (suffix == 'Update')}):"
            yield f"    {docstring(what)}"
            yield ""
            yield from (f"    {name}: {type_}" for name, type_ in lines)
        else:
            yield f"{base}{suffix} = TypedDict("
            yield f"    {base + suffix!r},"
            yield "    {" + ", ".join(f"{name!r}: {type_!r}" for name, type_ in lines) + "},"
            yield f"    total={suffix != 'Update'},"
            yield ")"
        yield ""


def _member(column: Column, values: str | None, suffix: str) -> str:
    text = _python(column.type, values, closed=not column.known, written=suffix != "Row")
    if column.nullable:
        text += " | None"
    if suffix == "Insert" and (column.nullable or column.default is not None):
        return f"NotRequired[{text}]"
    return text


def _python(type_: PgType, values: str | None, *, closed: bool, written: bool) -> str:
    """The Python type of a value as psycopg reads it, or as a validator takes it."""
    if values is not None:
        one = values if closed else f"{values} | str"
        return f"list[{one}]" if isinstance(type_, Array) else one
    match type_:
        case Uuid():
            return "UUID | str" if written else "UUID"
        case Text() | Varchar():
            return "str"
        case Boolean():
            return "bool"
        case SmallInt() | Integer() | BigInt():
            return "int"
        case Numeric():
            return "Decimal | int | float | str" if written else "Decimal"
        case Real() | DoublePrecision():
            return "float"
        case Date():
            return "date | str" if written else "date"
        case Timestamptz():
            return "datetime | str" if written else "datetime"
        case Jsonb():
            return "Any"
        case Vector():
            return "list[float]"
        case Array(element):
            return f"list[{_python(element, None, closed=closed, written=written)}]"
    assert_never(type_)
