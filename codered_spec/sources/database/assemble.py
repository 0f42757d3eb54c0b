"""Rows of the catalog queries to the model. Pure: no connection, no SQL."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from codered_spec.model.normalize import grants, normalize
from codered_spec.model.schema import (
    VIEW_MARK,
    Action,
    Check,
    Column,
    Event,
    Extension,
    ForeignKey,
    Function,
    Index,
    IndexKey,
    Method,
    OpaqueBody,
    OpaqueColumn,
    OtherObject,
    Policy,
    PrimaryKey,
    Schema,
    Table,
    Timing,
    Trait,
    Traits,
    Trigger,
    Unique,
    View,
)
from codered_spec.model.types import PgType, parse_type
from codered_spec.sources.database.expressions import (
    Surroundings,
    read_default,
    read_predicate,
    read_rule,
    read_when,
)

Row: TypeAlias = dict[str, Any]

KNOWN_VALUES: Final = "Known values: "
_ACTIONS: Final = {
    "a": Action.NO_ACTION,
    "r": Action.RESTRICT,
    "c": Action.CASCADE,
    "n": Action.SET_NULL,
    "d": Action.SET_DEFAULT,
}
_EVENT_BITS: Final = (
    (4, Event.INSERT),
    (16, Event.UPDATE),
    (8, Event.DELETE),
    (32, Event.TRUNCATE),
)
_MARGIN: Final = re.compile(r"\n +(?=FROM |WHERE )")
_METHODS: Final = {method.value: method for method in Method}


def assemble(name: str, schema: Row, rows: Mapping[str, list[Row]]) -> Schema:
    """The model of the schema ``name`` from the row of ``schema.sql`` and those of the others."""
    extensions = tuple(Extension(*pair) for pair in schema["extensions"])
    vector_schema = next((e.schema for e in extensions if e.name == "vector"), None)
    tables = {row["oid"]: row["name"] for row in rows["tables"]}
    parts: dict[str, dict[int, list[Row]]] = {}
    for query in ("columns", "constraints", "indexes", "triggers", "policies"):
        parts[query] = defaultdict(list)
        for row in rows[query]:
            parts[query][row["table_oid"]].append(row)
    strange = [
        OtherObject(f"{row['method']} index", row["name"])
        for row in rows["indexes"]
        if row["method"] not in _METHODS and row["table_oid"] in tables
    ]
    return normalize(
        Schema(
            name=name,
            tables=tuple(
                _table(row, {q: found[row["oid"]] for q, found in parts.items()}, vector_schema)
                for row in sorted(rows["tables"], key=lambda row: str(row["name"]))
            ),
            extensions=extensions,
            functions=tuple(map(_function, rows["functions"])),
            views=tuple(map(_view, rows["views"])),
            usage=tuple(schema["usage"]),
            comment=schema["comment"],
            others=(
                *(OtherObject(row["kind"], row["name"]) for row in rows["others"]),
                *strange,
            ),
        )
    )


@dataclass(slots=True)
class _Constraints:
    """The constraints of one table by kind."""

    primary_key: PrimaryKey | None
    uniques: list[Unique]
    foreign_keys: list[ForeignKey]
    checks: list[Check]
    opaque: list[tuple[str, str]]


def _table(row: Row, parts: dict[str, list[Row]], vector_schema: str | None) -> Table:
    typed = [(c, parse_type(c["type"])) for c in parts["columns"]]
    types = {c["name"]: type_ for c, type_ in typed if type_ is not None}
    around = Surroundings(types, vector_schema)
    constraints = _constraints(parts["constraints"], around)
    return Table(
        name=row["name"],
        columns=tuple(_column(c, type_, vector_schema) for c, type_ in typed if type_ is not None),
        primary_key=constraints.primary_key,
        uniques=tuple(constraints.uniques),
        foreign_keys=tuple(constraints.foreign_keys),
        checks=tuple(constraints.checks),
        indexes=tuple(_index(i, around) for i in parts["indexes"] if i["method"] in _METHODS),
        triggers=tuple(map(_trigger, parts["triggers"])),
        policies=tuple(map(_policy, parts["policies"])),
        grants=grants(tuple(grant) for grant in row["grants"]),
        row_security=row["row_security"],
        force_row_security=row["force_row_security"],
        comment=row["comment"],
        opaque_columns=tuple(
            OpaqueColumn(c["name"], c["type"]) for c, type_ in typed if type_ is None
        ),
        opaque_constraints=tuple(constraints.opaque),
        storage=row["storage"],
    )


# ---- columns ----------------------------------------------------------------------------------


def _column(row: Row, type_: PgType, vector_schema: str | None) -> Column:
    generated = default = None
    if row["identity"]:
        generated = f"generated {row['identity']} as identity"
    elif row["generated"]:
        generated = f"generated always as ({row['expression']}) {row['generated']}"
    elif row["expression"] is not None:
        default = read_default(row["expression"], type_, vector_schema)
    comment, known = split_comment(row["comment"])
    return Column(
        name=row["name"],
        type=type_,
        nullable=row["nullable"],
        default=default,
        known=known,
        comment=comment,
        generated=generated,
        collation=row["collation"],
    )


def split_comment(text: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Prose and known values of a column's comment: the inverse of ``ddl.column_comment``."""
    prose, newline, last = (text or "").rpartition("\n")
    if last.startswith(KNOWN_VALUES) and bool(prose) == bool(newline):
        known = _string_list(last.removeprefix(KNOWN_VALUES))
        if known:
            return prose or None, known
    return text, ()


def _string_list(text: str) -> tuple[str, ...]:
    """A JSON list of strings as the emitter writes it; empty if it is anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        return ()
    return tuple(found) if json.dumps(found, ensure_ascii=False) == text else ()


# ---- constraints ------------------------------------------------------------------------------


def _constraints(rows: list[Row], around: Surroundings) -> _Constraints:
    found = _Constraints(None, [], [], [], [])
    for row in rows:
        name, columns, traits = row["name"], tuple(row["columns"]), _traits(row)
        match row["kind"]:
            case "p":
                found.primary_key = PrimaryKey(name, columns, traits)
            case "u":
                found.uniques.append(Unique(name, columns, row["nulls_distinct"], traits))
            case "c":
                found.checks.append(Check(name, read_rule(row["expression"], around), traits))
            case "f" if row["same_schema"]:
                found.foreign_keys.append(
                    ForeignKey(
                        name=name,
                        columns=columns,
                        table=row["referenced_table"],
                        referenced=tuple(row["referenced"]),
                        on_delete=_ACTIONS[row["on_delete"]],
                        on_delete_columns=tuple(row["on_delete_columns"]),
                        on_update=_ACTIONS[row["on_update"]],
                        traits=traits,
                    )
                )
            case _:
                found.opaque.append((name, row["definition"]))
    return found


def _traits(row: Row) -> Traits:
    """In alphabetical order. What is not enforced is not called invalid as well."""
    present = {
        Trait.NOT_VALID: row["enforced"] and not row["validated"],
        Trait.NOT_ENFORCED: not row["enforced"],
        Trait.NO_INHERIT: row["no_inherit"],
        Trait.DEFERRABLE: row["deferrable"],
        Trait.INITIALLY_DEFERRED: row["deferred"],
        Trait.MATCH_FULL: row["match_full"],
        Trait.INCLUDES_COLUMNS: row["includes_columns"],
        Trait.WITHOUT_OVERLAPS: row["period"],
    }
    return tuple(sorted((t for t, is_so in present.items() if is_so), key=lambda t: t.value))


# ---- indexes, triggers, policies, functions ---------------------------------------------------


def _index(row: Row, around: Surroundings) -> Index:
    plain = [key for key in row["keys"] if key["plain"]]
    predicate = row["predicate"]
    return Index(
        name=row["name"],
        keys=tuple(
            IndexKey(key["column"], key["opclass"], key["descending"], key["nulls_first"])
            for key in plain
        ),
        method=_METHODS[row["method"]],
        unique=row["is_unique"],
        nulls_distinct=row["nulls_distinct"],
        predicate=None if predicate is None else read_predicate(predicate, around),
        parameters=_pairs(row["parameters"]),
        include=tuple(row["include"]),
        valid=row["valid"],
        opaque_keys=tuple(key["definition"] for key in row["keys"] if not key["plain"]),
    )


def _pairs(settings: list[str]) -> tuple[tuple[str, str], ...]:
    """``name=value`` texts as sorted pairs."""
    return tuple(sorted((s.partition("=")[0], s.partition("=")[2]) for s in settings))


def _trigger(row: Row) -> Trigger:
    kind: int = row["kind"]
    timing = Timing.BEFORE if kind & 2 else Timing.INSTEAD_OF if kind & 64 else Timing.AFTER
    return Trigger(
        name=row["name"],
        function=row["function"],
        timing=timing,
        events=tuple(event for bit, event in _EVENT_BITS if kind & bit),
        each_row=bool(kind & 1),
        when=read_when(row["definition"]) if row["conditional"] else None,
        columns=tuple(row["columns"]),
        old_rows=row["old_rows"],
        new_rows=row["new_rows"],
        deferred=row["deferred"],
        enabled=row["enabled"],
        opaque=row["definition"] if row["special"] else None,
    )


def _view(row: Row) -> View:
    """The view; its digest is that of its query only if the definition is as it was made."""
    prose, mark, digests = (row["comment"] or "").rpartition(VIEW_MARK)
    query, _, definition = digests.partition(" ")
    intact = bool(mark) and definition == row["definition"]
    return View(
        row["name"],
        row["query"].strip(),
        (prose.rstrip("\n") if mark else row["comment"]) or None,
        row["security_invoker"],
        query if intact else f"another definition ({row['definition']})",
        tuple(_reader(*grant) for grant in row["grants"]),
    )


def _reader(role: str, privilege: str, column: str | None) -> str:
    """The role, and what it may do if that is not just to read all of the view."""
    more = [] if privilege == "select" else [privilege]
    more += [] if column is None else [column]
    return f"{role} ({' of '.join(more)})" if more else role


def _policy(row: Row) -> Policy:
    return Policy(
        name=row["name"],
        command=row["command"],
        roles=tuple(row["roles"]),
        permissive=row["permissive"],
        using=_on_one_line(row["using"]),
        with_check=_on_one_line(row["with_check"]),
    )


def _on_one_line(expression: str | None) -> str | None:
    """As a server prints it, but for the line breaks and margins of queries inside."""
    return None if expression is None else _MARGIN.sub(" ", expression)


def _function(row: Row) -> Function:
    return Function(
        name=row["name"],
        body=OpaqueBody(row["source"]),
        arguments=row["arguments"],
        returns=row["returns"],
        language=row["language"],
        volatility=row["volatility"],
        security_definer=row["security_definer"],
        settings=_pairs(row["settings"]),
        public_execute=row["public_execute"],
        comment=row["comment"],
        execute=tuple(row["execute"]),
    )
