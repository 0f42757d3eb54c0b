"""Reference pages for people: tables, decisions and diagnostic codes, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from codered_spec.codes import CODES
from codered_spec.emit.expressions import default_sql, predicate_sql, rule_sql
from codered_spec.emit.file import GENERATED, File
from codered_spec.emit.markdown import cell, code, prose
from codered_spec.model.check import column_values
from codered_spec.model.decision import Effect
from codered_spec.model.schema import (
    Action,
    Column,
    ForeignKey,
    Measure,
    Method,
    Rollup,
    RollupKey,
    Schema,
    Table,
    rule_columns,
)

_HEADER = f"<!-- {GENERATED} -->\n\n"

_FAMILIES = {
    "C": "Command line and files",
    "D": "The document",
    "S": "The spec file",
    "M": "The model",
    "G": "Generated files",
    "P": "Connection and server",
    "R": "Migrations",
    "V": "Verification of a live database",
}


def emit_reference(schema: Schema, effects: Iterable[Effect]) -> tuple[File, ...]:
    """``docs/reference/tables.md``, ``decisions.md`` and ``diagnostics.md``."""
    return (
        File("docs/reference/tables.md", _HEADER + "\n".join(_tables(schema))),
        File("docs/reference/decisions.md", _HEADER + "\n".join(_decisions(effects))),
        File("docs/reference/diagnostics.md", _HEADER + "\n".join(_diagnostics())),
    )


def _tables(schema: Schema) -> Iterator[str]:
    columns = sum(len(table.columns) for table in schema.tables)
    yield f"# Tables of the schema {code(schema.name)}\n"
    yield f"{len(schema.tables)} tables, {columns} columns.\n"
    for table in schema.tables:
        yield from _table(schema, table)


def _table(schema: Schema, table: Table) -> Iterator[str]:
    vector_schema = schema.extension_schema("vector")
    yield f"## {code(table.name)}\n"
    if table.comment:
        yield table.comment.replace("<", "\\<") + "\n"
    for rollup in schema.rollups:
        if rollup.name == table.name:
            yield _rollup(rollup) + "\n"
    into = [code(r.name) for r in schema.rollups if r.source == table.name]
    if into:
        yield f"Rolled up into {', '.join(into)}.\n"
    yield "| column | type | NULL | default | values | note |"
    yield "|---|---|---|---|---|---|"
    for column in table.columns:
        cells = (
            code(column.name),
            code(str(column.type)),
            "yes" if column.nullable else "no",
            code(default_sql(column.default, column)) if column.default else "",
            _values(table, column),
            prose(column.comment or ""),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""
    for key in table.keys:
        kind = "primary key" if key == table.primary_key else "unique"
        yield f"- {code(key.name)}: {kind} ({', '.join(key.columns)})"
    for foreign_key in table.foreign_keys:
        yield f"- {code(foreign_key.name)}: {_foreign_key(foreign_key)}"
    for index in table.indexes:
        kind = "unique index" if index.unique else "index"
        method = "" if index.method is Method.BTREE else f" {index.method.value}"
        where = f" where {predicate_sql(index.predicate)}" if index.predicate else ""
        names = ", ".join(k.column for k in index.keys)
        yield f"- {code(index.name)}:{method} {kind} ({names}){where}"
    for check in sorted(table.checks, key=lambda c: (rule_columns(c.rule), c.name)):
        yield f"- {code(check.name)}: {code(rule_sql(check.rule, table, vector_schema))}"
    for trigger in table.triggers:
        yield f"- {code(trigger.name)}: trigger, calls {code(trigger.function)}"
    yield ""


def _rollup(rollup: Rollup) -> str:
    """What a rollup holds, as one sentence."""
    per = [_rollup_key(key) for key in rollup.keys]
    window = rollup.window
    if window is not None:
        size = "" if window.grid is None else f" of {window.grid} minutes"
        per.append(
            f"window{size} of {code(window.source)} from {code(window.start)} to {code(window.end)}"
        )
    when = "kept on every write" if rollup.kept else "worked out on demand"
    *most, last = per
    listed = f"{', '.join(most)} and {last}" if most else last
    measures = ", ".join(map(_measure, rollup.measures))
    return f"Rollup of {code(rollup.source)}, {when}: one row per {listed}; {measures}."


def _rollup_key(key: RollupKey) -> str:
    own = code(key.target)
    if key.day:
        return f"{own} (UTC day of {code(key.source)})"
    return own if key.target == key.source else f"{own} ({code(key.source)})"


def _measure(measure: Measure) -> str:
    what = "number of rows" if measure.source is None else f"sum of {code(measure.source)}"
    return f"{code(measure.target)} = {what}"


def _values(table: Table, column: Column) -> str:
    values = column_values(table, column)
    shown = ", ".join(code(value) for value in values)
    return f"{shown}, …" if values and values == column.known else shown


def _foreign_key(key: ForeignKey) -> str:
    text = f"({', '.join(key.columns)}) → {key.table} ({', '.join(key.referenced)})"
    if key.on_delete is not Action.NO_ACTION:
        text += f", on delete {key.on_delete.value}"
        if key.on_delete_columns:
            text += f" ({', '.join(key.on_delete_columns)})"
    return text


def _decisions(effects: Iterable[Effect]) -> Iterator[str]:
    yield "# Decisions\n"
    yield (
        "Where the document is silent, the spec decides. Each decision, its reason, and every fact"
        " that it adds:\n"
    )
    ordered = sorted(effects, key=lambda e: (e.decision, e.address, e.fact))
    for decision, group in groupby(ordered, key=lambda e: e.decision):
        found = list(group)
        yield f"## {decision}\n"
        yield found[0].because + "\n"
        yield "| subject | fact | stated | decided |"
        yield "|---|---|---|---|"
        for effect in found:
            stated = "" if effect.before == "nothing" else code(effect.before)
            yield f"| {code(effect.address)} | {effect.fact} | {stated} | {code(effect.after)} |"
        yield ""


def _diagnostics() -> Iterator[str]:
    yield "# Diagnostic codes\n"
    yield "A code keeps its meaning for ever. Exit codes: 0 all well, 1 findings, 2 bad usage or"
    yield "input, 3 database unreachable or refusing.\n"
    for letter, title in _FAMILIES.items():
        yield f"## {title}\n"
        yield "| code | meaning |"
        yield "|---|---|"
        for name, meaning in CODES.items():
            if name.startswith(letter):
                yield f"| `{name}` | {cell(meaning)} |"
        yield ""
