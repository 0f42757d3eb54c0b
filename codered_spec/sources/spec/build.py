"""Plain spec data to the model. Its inverse is :mod:`codered_spec.sources.spec.dump`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final, TypeAlias

from codered_spec.model.schema import (
    ACTIONS,
    Action,
    Check,
    Column,
    Default,
    Event,
    Extension,
    Finite,
    Flat,
    ForeignKey,
    Function,
    Index,
    IndexKey,
    IsNotNull,
    IsNull,
    IsTrue,
    Literal,
    Matches,
    MaxBytes,
    Measure,
    Method,
    NonZero,
    Now,
    OneOf,
    OpaqueRule,
    Ordered,
    Predicate,
    PrimaryKey,
    RandomUuid,
    Range,
    Right,
    Role,
    Rollup,
    RollupKey,
    RowChanged,
    RowScope,
    Rule,
    Schema,
    SetUpdatedAt,
    SubsetOf,
    Table,
    Timing,
    Trigger,
    Unique,
    ValueSet,
    View,
    Window,
)
from codered_spec.model.types import TYPE_NAMES, Array, Vector, parse_type
from codered_spec.sources.spec.conventions import (
    Record,
    conventional_check_name,
    foreign_key_name,
    key_name,
    touch_names,
    unique_name,
)

Path: TypeAlias = tuple[str | int, ...]
Report: TypeAlias = Callable[[Path, str, str, str], None]
"""``report(path, code, message, fix)`` for data that has the right shape but no meaning."""


def build_schema(data: Record, report: Report) -> Schema:
    """The model of merged spec data (no decisions left), which has passed the shape check.

    What has no meaning (an unknown type) is reported, and a neighbouring value used instead, so
    that one run finds all such places.
    """
    tables = tuple(
        _build_table(name, table, ("tables", name), report)
        for name, table in data.get("tables", {}).items()
    )
    functions = {
        name: Function(name, SetUpdatedAt(entry["set_updated_at"]), comment=entry.get("note"))
        for name, entry in data.get("functions", {}).items()
    }
    for name, table in data.get("tables", {}).items():
        for column, facts in table["columns"].items():
            if facts.get("touch"):
                function = touch_names(name, column)[1]
                functions.setdefault(function, Function(function, SetUpdatedAt(column)))
    return Schema(
        name=data["schema"],
        tables=tables,
        extensions=tuple(Extension(k, v) for k, v in data.get("extensions", {}).items()),
        functions=tuple(functions.values()),
        rollups=tuple(_build_rollup(k, v) for k, v in data.get("rollups", {}).items()),
        views=tuple(View(k, v["query"], v.get("note")) for k, v in data.get("views", {}).items()),
        roles=tuple(_build_role(k, v) for k, v in data.get("roles", {}).items()),
        value_sets=tuple(ValueSet(k, tuple(v)) for k, v in data.get("value_sets", {}).items()),
        comment=data.get("title"),
    )


def _build_table(name: str, data: Record, path: Path, report: Report) -> Table:
    columns: list[Column] = []
    uniques = [
        Unique(n, tuple(u["columns"]), u.get("nulls_distinct", True))
        for n, u in data.get("uniques", {}).items()
    ]
    keys = [
        ForeignKey(
            n,
            tuple(k["columns"]),
            k["references"],
            tuple(k["referenced"]),
            Action(k.get("on_delete", "no action")),
            tuple(k.get("on_delete_columns", ())),
            Action(k.get("on_update", "no action")),
        )
        for n, k in data.get("foreign_keys", {}).items()
    ]
    checks = [
        Check(n, _build_rule(c, (*path, "checks", n), report))
        for n, c in data.get("checks", {}).items()
    ]
    triggers = [_build_trigger(n, t) for n, t in data.get("triggers", {}).items()]
    primary: PrimaryKey | None = None
    if "primary_key" in data:
        entry = data["primary_key"]
        primary = PrimaryKey(entry.get("name", key_name(name)), tuple(entry["columns"]))
    for column, facts in data["columns"].items():
        where = (*path, "columns", column)
        columns.append(_build_column(column, facts, where, report))
        if facts.get("primary_key"):
            if primary is not None:
                report(where, "M004", f"{name} has two primary keys", "list the columns in one")
            primary = PrimaryKey(key_name(name), (column,))
        if facts.get("unique"):
            uniques.append(Unique(unique_name(name, column), (column,)))
        if "references" in facts:
            keys.append(build_reference(name, column, facts))
        else:
            for word in ("within", "on_delete", "on_update"):
                if word in facts:
                    report(
                        (*where, word),
                        "S011",
                        f"{word} of {name}.{column} without references",
                        "say which column it references, or remove it",
                    )
        if facts.get("touch"):
            trigger, function = touch_names(name, column)
            triggers.append(
                Trigger(trigger, function, Timing.BEFORE, (Event.UPDATE,), when=RowChanged())
            )
        checks.extend(
            Check(str(conventional_check_name(name, rule)), rule)
            for rule in _column_rules(column, facts)
        )
    return Table(
        name=name,
        columns=tuple(columns),
        primary_key=primary,
        uniques=tuple(uniques),
        foreign_keys=tuple(keys),
        checks=tuple(checks),
        indexes=tuple(
            _build_index(n, i, (*path, "indexes", n), report)
            for n, i in data.get("indexes", {}).items()
        ),
        triggers=tuple(triggers),
        comment=data.get("note"),
    )


def _build_column(name: str, facts: Record, path: Path, report: Report) -> Column:
    type_ = parse_type(facts["type"])
    if type_ is None:
        report(
            (*path, "type"),
            "S011",
            f"unknown type {facts['type']}",
            f"one of: {', '.join(TYPE_NAMES)}; [] after it for an array",
        )
        type_ = Array(Vector())  # fits no rule and is never emitted: the report stops the build
    default: Default | None = None
    if "default" in facts:
        default = _build_default(facts["default"])
    return Column(
        name,
        type_,
        nullable=facts.get("nullable", False),
        default=default,
        known=tuple(facts.get("known", ())),
        comment=facts.get("note"),
    )


def _build_default(value: Any) -> Default:
    if isinstance(value, dict):
        return Literal(value["text"])
    if isinstance(value, bool):
        return Literal("true" if value else "false")
    if value == "now()":
        return Now()
    if value == "gen_random_uuid()":
        return RandomUuid()
    return Literal(format(value, "f") if isinstance(value, Decimal) else str(value))


def build_reference(table: str, column: str, facts: Record) -> ForeignKey:
    """The foreign key that ``references``, ``within`` and the actions of a column mean."""
    target, _, referenced = facts["references"].partition(".")
    on_delete = Action(facts.get("on_delete", "no action"))
    on_update = Action(facts.get("on_update", "no action"))
    within = facts.get("within")
    if within is None:
        return ForeignKey(
            foreign_key_name(table, column),
            (column,),
            target,
            (referenced,),
            on_delete,
            (),
            on_update,
        )
    only = (column,) if on_delete in (Action.SET_NULL, Action.SET_DEFAULT) else ()
    return ForeignKey(
        foreign_key_name(table, column),
        (column, within),
        target,
        (referenced, within),
        on_delete,
        only,
        on_update,
    )


def _column_rules(column: str, facts: Record) -> Iterator[Rule]:
    if "one_of" in facts:
        yield OneOf(column, tuple(facts["one_of"]))
    if "subset_of" in facts:
        yield SubsetOf(column, tuple(facts["subset_of"]))
    if "format" in facts:
        yield Matches(column, facts["format"])
    if "min" in facts or "max" in facts:
        yield Range(column, _decimal(facts.get("min")), _decimal(facts.get("max")))
    if facts.get("finite"):
        yield Finite(column)
    if facts.get("flat"):
        yield Flat(column)
    if "max_bytes" in facts:
        yield MaxBytes(column, facts["max_bytes"])
    if facts.get("nonzero"):
        yield NonZero(column)


def _decimal(value: int | Decimal | None) -> Decimal | None:
    return None if value is None else Decimal(value)


_RULE_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "one_of": ("column", "values"),
    "subset_of": ("column", "values"),
    "format": ("column", "pattern"),
    "range": ("column",),
    "finite": ("column",),
    "flat": ("column",),
    "max_bytes": ("column", "limit"),
    "nonzero": ("column",),
    "ordered": ("lower", "upper"),
}
_OPTIONAL_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "range": ("min", "max"),
    "ordered": ("strict",),
}


def _build_rule(data: Record, path: Path, report: Report) -> Rule:
    kind = data["rule"]
    needed = _RULE_FIELDS[kind]
    allowed = {"table", "rule", *needed, *_OPTIONAL_FIELDS.get(kind, ())}
    missing = [field for field in needed if field not in data]
    surplus = [field for field in data if field not in allowed]
    if missing or surplus:
        what = f"lacks {missing[0]}" if missing else f"has no use for {surplus[0]}"
        report(
            path if missing else (*path, surplus[0]),
            "S011",
            f"the rule {kind} {what}",
            f"fields of {kind}: {', '.join(sorted(allowed - {'table', 'rule'}))}",
        )
        return OpaqueRule("true")
    match kind:
        case "one_of":
            return OneOf(data["column"], tuple(data["values"]))
        case "subset_of":
            return SubsetOf(data["column"], tuple(data["values"]))
        case "format":
            return Matches(data["column"], data["pattern"])
        case "range":
            return Range(data["column"], _decimal(data.get("min")), _decimal(data.get("max")))
        case "finite":
            return Finite(data["column"])
        case "flat":
            return Flat(data["column"])
        case "max_bytes":
            return MaxBytes(data["column"], data["limit"])
        case "nonzero":
            return NonZero(data["column"])
        case _:
            return Ordered(data["lower"], data["upper"], data.get("strict", True))


def _build_index(name: str, data: Record, path: Path, report: Report) -> Index:
    columns = data.get("columns", [])
    if not columns:
        report(path, "S008", f"the index {name} lacks the key columns", "add `columns:`")
    for word in ("opclass", "descending", "nulls"):
        for column in data.get(word, ()):
            if column not in columns:
                report(
                    (*path, word),
                    "M001",
                    f"{word} of {name} names {column}, which is not among its columns",
                    f"columns of the index: {', '.join(columns)}",
                )
    descending = data.get("descending", ())
    nulls = data.get("nulls", {})
    keys = tuple(
        IndexKey(
            column,
            data.get("opclass", {}).get(column),
            column in descending,
            nulls.get(column, "first" if column in descending else "last") == "first",
        )
        for column in columns
    )
    return Index(
        name,
        keys,
        Method(data.get("method", "btree")),
        data.get("unique", False),
        data.get("nulls_distinct", True),
        _build_predicate(data["where"]) if "where" in data else None,
        tuple(sorted((k, _parameter(v)) for k, v in data.get("with", {}).items())),
    )


def _parameter(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _build_predicate(data: Record) -> Predicate:
    kinds: dict[str, type[IsTrue | IsNull | IsNotNull]] = {
        "is_true": IsTrue,
        "is_null": IsNull,
        "is_not_null": IsNotNull,
    }
    ((kind, column),) = data.items()
    return kinds[kind](column)


def _build_rollup(name: str, data: Record) -> Rollup:
    days = [RollupKey(key, column, day=True) for key, column in data.get("days", {}).items()]
    keys = [RollupKey(key, column) for key, column in data.get("keys", {}).items()]
    sums = [Measure(target, column) for target, column in data.get("sums", {}).items()]
    counts = [Measure(target) for target in data.get("counts", ())]
    window = data.get("window")
    return Rollup(
        name,
        data["source"],
        (*days, *keys),
        (*sums, *counts),
        None
        if window is None
        else Window(
            window["of"],
            window["start"],
            window["end"],
            int(window["grid"].partition(" ")[0]) if "grid" in window else None,
        ),
        on_write=not data.get("on_demand", False),
    )


def _build_role(name: str, data: Record) -> Role:
    scope = data.get("scope")
    hidden = data.get("except", {})
    rights = tuple(
        Right(action, table, tuple(hidden.get(table, {}).get(action, ())))
        for action in ACTIONS
        for table in data.get(action, ())
    )
    return Role(
        name,
        None
        if scope is None
        else RowScope(scope["root"], tuple(scope["claim"]), scope.get("token", False)),
        rights,
        data.get("everything", False),
    )


def _build_trigger(name: str, data: Record) -> Trigger:
    return Trigger(
        name,
        data["function"],
        Timing(data["timing"]),
        tuple(Event(e) for e in sorted(data["events"], key=_EVENT_ORDER.index)),
        data.get("each", "row") == "row",
        RowChanged() if "when" in data else None,
        tuple(data.get("columns", ())),
    )


_EVENT_ORDER: Final = ["insert", "update", "delete", "truncate"]
