"""The model to plain spec data. Its inverse is :mod:`codered_spec.sources.spec.build`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from codered_spec.model.schema import (
    ACTIONS,
    Action,
    Column,
    Default,
    Event,
    Finite,
    Flat,
    Function,
    Index,
    IsNotNull,
    IsNull,
    IsTrue,
    Literal,
    Matches,
    MaxBytes,
    Method,
    NonZero,
    Now,
    OneOf,
    OpaqueBody,
    OpaqueDefault,
    OpaquePredicate,
    OpaqueRule,
    Ordered,
    PrimaryKey,
    RandomUuid,
    Range,
    Role,
    Rollup,
    RowChanged,
    Rule,
    Schema,
    SetUpdatedAt,
    SubsetOf,
    Table,
    Timing,
    Trigger,
    Unique,
    View,
)
from codered_spec.model.types import FLOATING, INTEGRAL, Boolean, Numeric
from codered_spec.sources.spec.build import build_reference
from codered_spec.sources.spec.conventions import (
    COLUMN_KEYS,
    Record,
    conventional_check_name,
    key_name,
    touch_names,
    unique_name,
)


class NotExpressibleError(ValueError):
    """A live object that a spec has no words for."""


def dump_schema(schema: Schema) -> Record:
    """Plain data with the keys ``schema``, ``title``, ``extensions``, ``functions``,
    ``value_sets``, ``rollups`` and ``tables``; empty ones are left out.

    Raises NotExpressibleError for a model with opaque members, policies or grants.
    """
    if schema.others:
        raise NotExpressibleError("other objects")
    touched: dict[str, str] = {}
    tables = {table.name: _dump_table(table, schema, touched) for table in schema.tables}
    functions = {f.name: _dump_function(f) for f in schema.functions if touched.get(f.name) is None}
    data: Record = {"schema": schema.name}
    if schema.comment is not None:
        data["title"] = schema.comment
    if schema.extensions:
        data["extensions"] = {e.name: e.schema for e in schema.extensions}
    if functions:
        data["functions"] = functions
    if schema.value_sets:
        data["value_sets"] = {s.name: list(s.columns) for s in schema.value_sets}
    if schema.rollups:
        data["rollups"] = {rollup.name: _dump_rollup(rollup) for rollup in schema.rollups}
    if schema.views:
        data["views"] = {view.name: _dump_view(view) for view in schema.views}
    if schema.roles:
        data["roles"] = {role.name: _dump_role(role) for role in schema.roles}
    if tables:
        data["tables"] = tables
    return data


def _dump_role(role: Role) -> Record:
    data: Record = {}
    if role.everything:
        data["everything"] = True
    if role.scope is not None:
        data["scope"] = {"root": role.scope.root, "claim": list(role.scope.claim)}
        if role.scope.token:
            data["scope"]["token"] = True
    hidden: dict[str, Record] = {}
    for action in ACTIONS:
        rights = [right for right in role.rights if right.action == action]
        if rights:
            data[action] = [right.table for right in rights]
        for right in rights:
            if right.without:
                hidden.setdefault(right.table, {})[action] = list(right.without)
    if hidden:
        data["except"] = hidden
    return data


def _dump_view(view: View) -> Record:
    if not view.security_invoker:
        raise NotExpressibleError(f"the rights of the view {view.name}")
    data: Record = {"query": view.query}
    if view.comment is not None:
        data["note"] = view.comment
    return data


def _dump_rollup(rollup: Rollup) -> Record:
    data: Record = {"source": rollup.source}
    days = {key.target: key.source for key in rollup.keys if key.day}
    keys = {key.target: key.source for key in rollup.keys if not key.day}
    sums = {m.target: m.source for m in rollup.measures if m.source is not None}
    counts = [measure.target for measure in rollup.measures if measure.source is None]
    if days:
        data["days"] = days
    if keys:
        data["keys"] = keys
    window = rollup.window
    if window is not None:
        data["window"] = {"of": window.source, "start": window.start, "end": window.end}
        if window.grid is not None:
            data["window"]["grid"] = f"{window.grid} minutes"
    if sums:
        data["sums"] = sums
    if counts:
        data["counts"] = counts
    if not rollup.on_write:
        data["on_demand"] = True
    return data


def _dump_function(function: Function) -> Record:
    body = function.body
    if isinstance(body, OpaqueBody) or function != Function(
        function.name, body, comment=function.comment
    ):
        raise NotExpressibleError(f"function {function.name}")
    data: Record = {"set_updated_at": body.column}
    if function.comment is not None:
        data["note"] = function.comment
    return data


def _dump_table(table: Table, schema: Schema, touched: dict[str, str]) -> Record:
    columns: dict[str, Record] = {c.name: _dump_column(c) for c in table.columns}
    data: Record = {}
    if table.comment is not None:
        data["note"] = table.comment
    data["columns"] = columns
    _dump_keys(table, columns, data)
    _dump_foreign_keys(table, columns, data)
    _dump_checks(table, columns, data)
    if table.indexes:
        data["indexes"] = {i.name: _dump_index(i) for i in table.indexes}
    _dump_triggers(table, schema, columns, data, touched)
    if table.policies or table.grants or table.row_security or table.opaque_columns:
        raise NotExpressibleError(f"policies, grants or foreign types of {table.name}")
    if table.opaque_constraints or table.storage:
        raise NotExpressibleError(f"special constraints or storage of {table.name}")
    for name, facts in columns.items():
        columns[name] = {key: facts[key] for key in COLUMN_KEYS if key in facts}
    return data


def _dump_column(column: Column) -> Record:
    if column.generated is not None or column.collation is not None:
        raise NotExpressibleError(f"generated or collated column {column.name}")
    facts: Record = {"type": str(column.type)}
    if column.nullable:
        facts["nullable"] = True
    if column.default is not None:
        facts["default"] = _dump_default(column.default, column)
    if column.known:
        facts["known"] = list(column.known)
    if column.comment is not None:
        facts["note"] = column.comment
    return facts


def _dump_default(default: Default, column: Column) -> Any:
    match default:
        case Now():
            return "now()"
        case RandomUuid():
            return "gen_random_uuid()"
        case OpaqueDefault(expression):
            raise NotExpressibleError(f"default {expression} of {column.name}")
        case Literal(text):
            if text in ("now()", "gen_random_uuid()"):
                return {"text": text}
            if isinstance(column.type, Boolean) and text in ("true", "false"):
                return text == "true"
            if isinstance(column.type, (*INTEGRAL, Numeric, *FLOATING)):
                number = text.removeprefix("-")
                if len(number) <= 30 and number.isascii() and str(number).isdigit():
                    return int(text) if str(int(text)) == text else {"text": text}
            return text


def _dump_keys(table: Table, columns: dict[str, Record], data: Record) -> None:
    key = table.primary_key
    if key is not None:
        if key == PrimaryKey(key_name(table.name), key.columns[:1]):
            columns[key.columns[0]]["primary_key"] = True
        else:
            _no_traits(key.name, key.traits)
            named = {} if key.name == key_name(table.name) else {"name": key.name}
            data["primary_key"] = {**named, "columns": list(key.columns)}
    uniques: Record = {}
    for unique in table.uniques:
        first = unique.columns[0]
        if unique == Unique(unique_name(table.name, first), (first,)):
            columns[first]["unique"] = True
        else:
            _no_traits(unique.name, unique.traits)
            uniques[unique.name] = {"columns": list(unique.columns)}
            if not unique.nulls_distinct:
                uniques[unique.name]["nulls_distinct"] = False
    if uniques:
        data["uniques"] = uniques


def _no_traits(name: str, traits: tuple[object, ...]) -> None:
    if traits:
        raise NotExpressibleError(f"traits of {name}")


def _dump_foreign_keys(table: Table, columns: dict[str, Record], data: Record) -> None:
    explicit: Record = {}
    for key in table.foreign_keys:
        column = key.columns[0]
        facts: Record = {"references": f"{key.table}.{key.referenced[0]}"}
        if len(key.columns) == 2:
            facts["within"] = key.columns[1]
        if key.on_delete is not Action.NO_ACTION:
            facts["on_delete"] = key.on_delete.value
        if key.on_update is not Action.NO_ACTION:
            facts["on_update"] = key.on_update.value
        plain = facts["references"].count(".") == 1 and "references" not in columns[column]
        if (
            plain
            and all(facts["references"].split("."))
            and key == build_reference(table.name, column, facts)
        ):
            columns[column].update(facts)
            continue
        _no_traits(key.name, key.traits)
        entry: Record = {
            "columns": list(key.columns),
            "references": key.table,
            "referenced": list(key.referenced),
        }
        if key.on_delete is not Action.NO_ACTION:
            entry["on_delete"] = key.on_delete.value
        if key.on_delete_columns:
            entry["on_delete_columns"] = list(key.on_delete_columns)
        if key.on_update is not Action.NO_ACTION:
            entry["on_update"] = key.on_update.value
        explicit[key.name] = entry
    if explicit:
        data["foreign_keys"] = explicit


def _dump_checks(table: Table, columns: dict[str, Record], data: Record) -> None:
    explicit: Record = {}
    for check in table.checks:
        _no_traits(check.name, check.traits)
        rule = check.rule
        if isinstance(rule, (Ordered, OpaqueRule)):
            explicit[check.name] = _dump_rule(rule)
        elif check.name == conventional_check_name(table.name, rule):
            columns[rule.column].update(_rule_facts(rule))
        else:
            explicit[check.name] = _dump_rule(check.rule)
    if explicit:
        data["checks"] = explicit


def _rule_facts(rule: Rule) -> Record:
    match rule:
        case OneOf(_, values):
            return {"one_of": list(values)}
        case SubsetOf(_, values):
            return {"subset_of": list(values)}
        case Matches(_, pattern):
            return {"format": pattern}
        case Range(_, minimum, maximum):
            return _bounds(minimum, maximum)
        case Finite():
            return {"finite": True}
        case Flat():
            return {"flat": True}
        case MaxBytes(_, limit):
            return {"max_bytes": limit}
        case NonZero():
            return {"nonzero": True}
        case Ordered() | OpaqueRule():
            raise NotExpressibleError(str(rule))


def _bounds(minimum: Decimal | None, maximum: Decimal | None) -> Record:
    return {
        word: int(bound) if bound == bound.to_integral_value() else bound
        for word, bound in (("min", minimum), ("max", maximum))
        if bound is not None
    }


def _dump_rule(rule: Rule) -> Record:
    match rule:
        case OneOf(column, values):
            return {"rule": "one_of", "column": column, "values": list(values)}
        case SubsetOf(column, values):
            return {"rule": "subset_of", "column": column, "values": list(values)}
        case Matches(column, pattern):
            return {"rule": "format", "column": column, "pattern": pattern}
        case Range(column, minimum, maximum):
            return {"rule": "range", "column": column, **_bounds(minimum, maximum)}
        case MaxBytes(column, limit):
            return {"rule": "max_bytes", "column": column, "limit": limit}
        case Ordered(lower, upper, strict):
            order: Record = {"rule": "ordered", "lower": lower, "upper": upper}
            return order if strict else {**order, "strict": False}
        case Finite(column):
            return {"rule": "finite", "column": column}
        case Flat(column):
            return {"rule": "flat", "column": column}
        case NonZero(column):
            return {"rule": "nonzero", "column": column}
        case OpaqueRule(expression):
            raise NotExpressibleError(f"check {expression}")


def _dump_index(index: Index) -> Record:
    if index.include or index.opaque_keys or not index.valid:
        raise NotExpressibleError(f"index {index.name}")
    data: Record = {"columns": [key.column for key in index.keys]}
    if index.method is not Method.BTREE:
        data["method"] = index.method.value
    if index.unique:
        data["unique"] = True
    if not index.nulls_distinct:
        data["nulls_distinct"] = False
    opclass = {k.column: k.opclass for k in index.keys if k.opclass is not None}
    if opclass:
        data["opclass"] = opclass
    descending = [k.column for k in index.keys if k.descending]
    if descending:
        data["descending"] = descending
    nulls = {
        k.column: "first" if k.nulls_first else "last"
        for k in index.keys
        if k.nulls_first != k.descending
    }
    if nulls:
        data["nulls"] = nulls
    match index.predicate:
        case IsTrue(column):
            data["where"] = {"is_true": column}
        case IsNull(column):
            data["where"] = {"is_null": column}
        case IsNotNull(column):
            data["where"] = {"is_not_null": column}
        case OpaquePredicate():
            raise NotExpressibleError(f"predicate of {index.name}")
        case None:
            pass
    if index.parameters:
        data["with"] = {k: int(v) if v.isdecimal() else v for k, v in index.parameters}
    return data


def _dump_triggers(
    table: Table,
    schema: Schema,
    columns: dict[str, Record],
    data: Record,
    touched: dict[str, str],
) -> None:
    functions = {f.name: f for f in schema.functions}
    explicit: Record = {}
    for trigger in table.triggers:
        function = functions.get(trigger.function)
        body = function.body if function else None
        if (
            isinstance(body, SetUpdatedAt)
            and body.column in columns
            and function == Function(f"set_{body.column}", body)
            and trigger
            == Trigger(
                *touch_names(table.name, body.column),
                Timing.BEFORE,
                (Event.UPDATE,),
                when=RowChanged(),
            )
        ):
            columns[body.column]["touch"] = True
            touched[trigger.function] = body.column
        else:
            explicit[trigger.name] = _dump_trigger(trigger)
    if explicit:
        data["triggers"] = explicit


def _dump_trigger(trigger: Trigger) -> Record:
    special = trigger.deferred or trigger.old_rows is not None or trigger.new_rows is not None
    if trigger.opaque is not None or not trigger.enabled or special:
        raise NotExpressibleError(f"trigger {trigger.name}")
    data: Record = {
        "function": trigger.function,
        "timing": trigger.timing.value,
        "events": [e.value for e in trigger.events],
    }
    if not trigger.each_row:
        data["each"] = "statement"
    if isinstance(trigger.when, RowChanged):
        data["when"] = "row changed"
    elif trigger.when is not None:
        raise NotExpressibleError(f"condition of trigger {trigger.name}")
    if trigger.columns:
        data["columns"] = list(trigger.columns)
    return data
