"""Rollups as the tables, functions and triggers that keep them.

A statement that writes to a source leaves its deltas, grouped, in an unlogged table, under the
number of its transaction. A deferred constraint trigger on that table folds all deltas of the
transaction into the rollups when it commits: once, and in the order of the keys, so that two
transactions never wait for each other in a circle. ``docs/concepts/rollups.md`` has the picture.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from textwrap import indent

from codered_spec.model.schema import (
    Column,
    Event,
    Function,
    Measure,
    OpaqueBody,
    OpaqueCondition,
    PrimaryKey,
    RandomUuid,
    Rollup,
    RollupKey,
    Schema,
    Table,
    Timing,
    Trigger,
    Window,
)
from codered_spec.model.types import BigInt, Boolean, Date, Numeric, Timestamptz, Uuid, base_name
from codered_spec.model.values import integer_range
from codered_spec.sql import identifier, literal

COMMENT = "Rollup: "
"""Before the rollup as JSON in the comment of its rebuild function: by it a reader knows it."""

# In functions of the owner every type name that is no word of the grammar is qualified: a search
# path without any schema still finds the types of pg_temp first, which anybody can make. And UTC is
# written as interval '0': Postgres 18 asks the abbreviations of the session's time zone for "UTC".
_OWN = "pg_current_xact_id()::pg_catalog.text::bigint"


def expanded(schema: Schema) -> Schema:
    """The schema with every rollup replaced by the objects that keep it. Idempotent."""
    if not schema.rollups:
        return schema
    sources: dict[str, list[Rollup]] = {}
    for rollup in schema.rollups:
        if rollup.kept:
            sources.setdefault(rollup.source, []).append(rollup)
    tables = list(schema.tables)
    functions = list(schema.functions)
    for name, rollups in sources.items():
        made = _Source(schema, name, sorted(rollups, key=lambda rollup: rollup.name))
        place = next(i for i, table in enumerate(tables) if table.name == name)
        tables[place] = replace(
            tables[place], triggers=(*tables[place].triggers, *made.source_triggers())
        )
        tables.append(made.deltas_table())
        functions += made.functions()
    for rollup in sorted(schema.rollups, key=lambda rollup: rollup.name):
        functions += _OneRollup(schema, rollup).functions()
    return replace(schema, tables=tuple(tables), functions=tuple(functions), rollups=())


def contracted(schema: Schema) -> Schema:
    """The inverse of :func:`expanded`, for a schema that was read from a database.

    A rollup whose objects are not exactly what it needs stays as these objects.
    """
    found: list[Rollup] = []
    for function in schema.functions:
        rollup = rollup_of(function.comment)
        if rollup is not None and function.name == f"rebuild_{rollup.name}":
            found.append(rollup)
    if not found:
        return schema
    rollups = tuple(sorted(found, key=lambda rollup: rollup.name))
    bare = _without(schema, rollups)
    try:
        again = expanded(replace(bare, rollups=rollups))
    except (KeyError, StopIteration):
        return schema
    same = {f.name: f for f in again.functions} == {f.name: f for f in schema.functions} and {
        t.name: _loose(t) for t in again.tables
    } == {t.name: _loose(t) for t in schema.tables}
    return replace(bare, rollups=rollups) if same else schema


def _loose(table: Table) -> Table:
    by_name = sorted(table.triggers, key=lambda trigger: trigger.name)
    return replace(table, triggers=tuple(by_name))


def _without(schema: Schema, rollups: tuple[Rollup, ...]) -> Schema:
    """The schema without everything that bears the name of what rollups need."""
    gone: set[str] = set()
    for rollup in rollups:
        gone |= {f"{verb}_{rollup.name}" for verb in ("rebuild", "check", "refresh")}
        gone.add(f"{rollup.name}_recount")
    sources = {rollup.source for rollup in rollups if rollup.kept}
    gone |= {f"{name}_{verb}" for name in sources for verb in _VERBS}
    tables = []
    for table in schema.tables:
        if table.name in {deltas_name(name) for name in sources}:
            continue
        if table.name in sources:
            kept = tuple(t for t in table.triggers if t.function not in gone)
            table = replace(table, triggers=kept)
        tables.append(table)
    functions = tuple(f for f in schema.functions if f.name not in gone)
    return replace(schema, tables=tuple(tables), functions=functions)


def deltas_name(source: str) -> str:
    """The table that holds the deltas of open transactions on a source."""
    return f"{source}_deltas"


_VERBS = ("note", "fold", "forget", "overflow")


def _fresh_snapshot(complaint: str) -> str:
    """The refusal of a transaction whose snapshot may be older than what others have committed."""
    fresh = "('read committed', 'read uncommitted')"
    return f"""  if current_setting('transaction_isolation') not in {fresh} then
    raise exception using errcode = '25001',
      message = {literal(complaint)},
      hint = 'do it in a transaction that is READ COMMITTED';
  end if;"""


def _comment(rollup: Rollup) -> str:
    data = {
        "name": rollup.name,
        "source": rollup.source,
        "keys": [[key.target, key.source, key.day] for key in rollup.keys],
        "measures": [[measure.target, measure.source] for measure in rollup.measures],
        "window": None
        if rollup.window is None
        else [getattr(rollup.window, f.name) for f in fields(Window)],
        "on_write": rollup.on_write,
    }
    return COMMENT + json.dumps(data, ensure_ascii=False)


def rollup_of(comment: str | None) -> Rollup | None:
    """The rollup that the comment of a rebuild function tells of, or None."""
    if comment is None or not comment.startswith(COMMENT):
        return None
    try:
        data = json.loads(comment.removeprefix(COMMENT))
        return Rollup(
            str(data["name"]),
            str(data["source"]),
            tuple(RollupKey(str(k[0]), str(k[1]), bool(k[2])) for k in data["keys"]),
            tuple(Measure(*measure) for measure in data["measures"]),
            None if data["window"] is None else Window(*data["window"]),
            bool(data["on_write"]),
        )
    except (ValueError, KeyError, TypeError, IndexError):
        return None


# ---- expressions ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """A column of the deltas: how it comes from a row of the source, and its column there."""

    column: Column
    expression: str
    """In terms of a row ``r`` of the source."""


def _day(column: str) -> str:
    return f"(r.{identifier(column)} at time zone interval '0')::pg_catalog.date"


def _bin(window: Window) -> str:
    own = f"r.{identifier(window.source)}"
    return f"date_bin('{window.grid} minutes', {own}, pg_catalog.timestamptz 'epoch')"


def _key_part(table: Table, key: RollupKey) -> _Part:
    if key.day:
        return _Part(Column(f"{key.source}_day", Date()), _day(key.source))
    column = _column(table, key.source)
    return _Part(Column(key.source, column.type), f"r.{identifier(key.source)}")


def _measure_part(measure: Measure) -> _Part:
    if measure.source is None:
        return _Part(Column("row_count", BigInt()), "1")
    own = f"coalesce(r.{identifier(measure.source)}, 0)"
    return _Part(Column(f"sum_{measure.source}", Numeric(None, 0)), own)


def _column(table: Table, name: str) -> Column:
    found = table.column(name)
    if found is None:
        raise KeyError(name)
    return found


def _table(schema: Schema, name: str) -> Table:
    found = schema.table(name)
    if found is None:
        raise KeyError(name)
    return found


def _list(items: list[str] | tuple[str, ...]) -> str:
    return ", ".join(items)


def _names(items: list[str] | tuple[str, ...]) -> str:
    return ", ".join(map(identifier, items))


def _function(
    name: str,
    source: str,
    *,
    arguments: str = "",
    returns: str = "trigger",
    volatility: str = "volatile",
    definer: bool = False,
    comment: str | None = None,
) -> Function:
    return Function(
        name,
        OpaqueBody(f"\n{source.strip()}\n"),
        arguments=arguments,
        returns=returns,
        volatility=volatility,
        security_definer=definer,
        comment=comment,
    )


# ---- what a source needs ----------------------------------------------------------------------


class _Source:
    """The objects of one source, for all rollups that its writes keep."""

    def __init__(self, schema: Schema, name: str, rollups: list[Rollup]) -> None:
        self.schema = schema
        self.name = name
        self.table = _table(schema, name)
        self.rollups = rollups
        self.deltas = identifier(schema.name, deltas_name(name))
        keys: dict[str, _Part] = {}
        sums: dict[str, _Part] = {}
        for rollup in rollups:
            keys |= {part.column.name: part for part in self._key_parts(rollup)}
            found = [_measure_part(measure) for measure in rollup.measures]
            sums |= {part.column.name: part for part in found}
        sums.pop("row_count", None)
        self.keys = list(keys.values())
        self.sums = list(sums.values())

    def _key_parts(self, rollup: Rollup) -> list[_Part]:
        parts = [_key_part(self.table, key) for key in rollup.keys]
        if rollup.window is not None:
            column = Column(f"{rollup.window.source}_{rollup.window.grid}m", Timestamptz())
            parts.append(_Part(column, _bin(rollup.window)))
        return parts

    def deltas_table(self) -> Table:
        """The unlogged table of deltas, empty outside of transactions."""
        parts = [p.column for p in (*self.keys, *self.sums)]
        columns = (
            Column("xact", BigInt()),
            Column("entry", Uuid(), default=RandomUuid()),
            *parts,
            Column("row_count", BigInt()),
            Column("ticket", Boolean()),
        )
        name = deltas_name(self.name)
        return Table(
            name,
            columns,
            primary_key=PrimaryKey(f"{name}_pkey", ("xact", "entry")),
            triggers=(
                Trigger(
                    f"{name}_fold",
                    f"{self.name}_fold",
                    Timing.AFTER,
                    (Event.INSERT,),
                    when=OpaqueCondition("new.ticket"),
                    deferred=True,
                ),
            ),
            storage="unlogged",
            comment=f"Changes of {self.name} by open transactions, not yet in its rollups.",
        )

    def source_triggers(self) -> tuple[Trigger, ...]:
        """One trigger for each kind of statement."""
        note, forget = f"{self.name}_note", f"{self.name}_forget"

        def after(event: Event, function: str, old: bool = False, new: bool = False) -> Trigger:
            return Trigger(
                f"{function}_{event.value}",
                function,
                Timing.AFTER,
                (event,),
                each_row=False,
                old_rows="old_rows" if old else None,
                new_rows="new_rows" if new else None,
            )

        return (
            after(Event.INSERT, note, new=True),
            after(Event.UPDATE, note, old=True, new=True),
            after(Event.DELETE, note, old=True),
            after(Event.TRUNCATE, forget),
        )

    def functions(self) -> list[Function]:
        """What the triggers call."""
        return [
            _function(f"{self.name}_note", self._note(), definer=True),
            _function(f"{self.name}_fold", self._fold(), definer=True),
            _function(f"{self.name}_forget", self._forget(), definer=True),
            _function(
                f"{self.name}_overflow",
                _OVERFLOW,
                arguments="text",
                returns="numeric",
                volatility="stable",
            ),
        ]

    def _note(self) -> str:
        names = [p.column.name for p in self.keys]
        sums = [identifier(p.column.name) for p in self.sums]
        columns = _list([_names(["xact", *names]), *sums, "row_count", "ticket"])
        # one row of each statement calls the fold: an event for each of many rows would take long
        ticket = "row_number() over () = 1"
        keys = _list([p.expression for p in self.keys])
        places = _list([str(n) for n in range(2, len(self.keys) + 2)])

        def grouped(rows: str, sign: str, margin: str) -> str:
            totals = [f"{sign}sum({p.expression})" for p in self.sums]
            counted = _list([*totals, f"{sign}count(*)"])
            return (
                f"{margin}insert into {self.deltas} ({columns})\n"
                f"{margin}select {_OWN}, {keys}, {counted}, {ticket}\n"
                f"{margin}from {rows} r group by {places};"
            )

        inner = _list([f"{p.expression} as {identifier(p.column.name)}" for p in self.keys])

        def half(rows: str, sign: str) -> str:
            values = [f"{sign}{p.expression} as {identifier(p.column.name)}" for p in self.sums]
            return f"select {_list([inner, *values, f'{sign}1 as row_count'])} from {rows} r"

        totals = [f"sum(d.{name})" for name in (*sums, "row_count")]
        changed = " or ".join(f"{total} <> 0" for total in totals)
        own = _list([f"d.{identifier(name)}" for name in names])
        single = _list([*(p.expression for p in self.sums), "1", "true"])
        return f"""
begin
  if tg_op = 'INSERT' then
    perform from new_rows offset 1 limit 1;
    if found then
{grouped("new_rows", "", "      ")}
    else
      insert into {self.deltas} ({columns})
      select {_OWN}, {keys}, {single}
      from new_rows r;
    end if;
  elsif tg_op = 'DELETE' then
{grouped("old_rows", "-", "    ")}
  else
    insert into {self.deltas} ({columns})
    select {_OWN}, {own}, {_list(totals)}, {ticket}
    from (
      {half("new_rows", "")}
      union all
      {half("old_rows", "-")}
    ) d
    group by {places}
    having {changed};
  end if;
  return null;
end
"""

    def _fold(self) -> str:
        each = [_OneRollup(self.schema, r) for r in self.rollups]
        sums = [identifier(part.column.name) for part in self.sums]
        rising = " and ".join(f"{name} >= 0" for name in (*sums, "row_count"))
        queue = _list([f"new.{identifier(name)}" for name in self._shared_keys()])
        return f"""
#variable_conflict use_column
<<fold>>
declare
  own constant bigint := {_OWN};
  rising boolean;
  d pg_catalog.record;
  empty boolean;
begin
  -- mostly it is the only delta of its transaction
  delete from {self.deltas} t
  where t.ctid = new.ctid
    and not exists (select from {self.deltas} o where o.xact = t.xact and o.ctid <> t.ctid);
  if found then
    -- writers of a busy key queue here, which costs far less than a queue at its row
    perform pg_advisory_xact_lock(hash_record_extended(row({queue}), 0));
{"".join(r.single("new") for r in each)}
    return null;
  end if;
  perform from {self.deltas} t where t.ctid = new.ctid;
  if not found then
    return null; -- an earlier event of the transaction has folded everything
  end if;
  select bool_and({rising}) into rising
  from {self.deltas} where xact = fold.own;
{"".join(r.all_of(self.deltas) for r in each)}
  delete from {self.deltas} where xact = fold.own;
  return null;
end
"""

    def _shared_keys(self) -> list[str]:
        """Columns of the deltas that agree wherever two deltas meet at a row of some rollup."""
        parts = [[part.column.name for part in self._key_parts(r)] for r in self.rollups]
        return [name for name in parts[0] if all(name in other for other in parts)] or parts[0]

    def _forget(self) -> str:
        deletions = "\n".join(
            f"  delete from {identifier(self.schema.name, rollup.name)};" for rollup in self.rollups
        )
        return f"""
begin
{_fresh_snapshot(f"an old snapshot hides some of what TRUNCATE {self.name} takes")}
{deletions}
  delete from {self.deltas} where xact = {_OWN};
  return null;
end
"""


# ---- what a rollup needs ----------------------------------------------------------------------


class _OneRollup:
    """The statements about one rollup."""

    def __init__(self, schema: Schema, rollup: Rollup) -> None:
        self.schema = schema
        self.rollup = rollup
        self.source = _table(schema, rollup.source)
        self.target = _table(schema, rollup.name)
        self.name = identifier(schema.name, rollup.name)
        self.from_ = identifier(schema.name, rollup.source)
        self.keys = list(rollup.key_columns)
        self.measures = [measure.target for measure in rollup.measures]

    def functions(self) -> list[Function]:
        """The functions that people and the fold call."""
        found = []
        name = self.rollup.name
        if self.rollup.kept:
            arguments = _list([_result_type(_column(self.target, key)) for key in self.keys])
            found.append(
                _function(
                    f"{name}_recount",
                    self._recount(),
                    arguments=arguments,
                    returns="void",
                    definer=True,
                )
            )
        found.append(
            _function(
                f"rebuild_{name}",
                self._rebuild(),
                returns="bigint",
                comment=_comment(self.rollup),
            )
        )
        returned = _list(
            [
                *(
                    f"{identifier(key)} {_result_type(_column(self.target, key))}"
                    for key in self.keys
                ),
                "stored jsonb",
                "expected jsonb",
            ]
        )
        found.append(
            _function(
                f"check_{name}",
                self._check(),
                returns=f"TABLE({returned})",
                volatility="stable",
            )
        )
        if self.rollup.window is not None:
            found.append(self._refresh())
        return found

    # ---- pieces ----

    def _match(self, values: list[str], alias: str = "t") -> str:
        pairs = zip(self.keys, values, strict=True)
        return " and ".join(f"{alias}.{identifier(key)} = {value}" for key, value in pairs)

    def _from_source(self, values: list[str]) -> str:
        """The rows ``r`` of the source that belong to a key."""
        parts = []
        for key, value in zip(self.rollup.keys, values, strict=False):
            own = f"r.{identifier(key.source)}"
            if key.day:
                parts.append(f"{own} >= {value}::timestamp at time zone interval '0'")
                parts.append(f"{own} < ({value} + 1)::timestamp at time zone interval '0'")
            else:
                parts.append(f"{own} = {value}")
        if self.rollup.window is not None:
            own = f"r.{identifier(self.rollup.window.source)}"
            parts += [f"{own} >= {values[-2]}", f"{own} < {values[-1]}"]
        return f"from {self.from_} r where {' and '.join(parts)}"

    def _sums(self) -> list[str]:
        return [
            "count(*)" if m.source is None else f"coalesce(sum(r.{identifier(m.source)}), 0)"
            for m in self.rollup.measures
        ]

    def _truth(self) -> str:
        """The rollup as a query of the source; of a window, its grid."""
        keys = [
            f"{_key_part(self.source, key).expression} as {identifier(key.target)}"
            for key in self.rollup.keys
        ]
        window = self.rollup.window
        if window is not None and window.grid is not None:
            start = _bin(window)
            keys.append(f"{start} as {identifier(window.start)}")
            keys.append(f"{start} + interval '{window.grid} minutes' as {identifier(window.end)}")
        places = _list([str(n) for n in range(1, len(keys) + 1)])
        sums = [
            f"{total} as {identifier(name)}"
            for total, name in zip(self._sums(), self.measures, strict=True)
        ]
        return f"select {_list([*keys, *sums])} from {self.from_} r group by {places}"

    def _is_kept(self, alias: str) -> str:
        """Whether a row of the rollup is one that writes maintain."""
        window = self.rollup.window
        if window is None:
            return "true"
        if window.grid is None:
            return "false"
        start, end = (f"{alias}.{identifier(name)}" for name in (window.start, window.end))
        return _aligned(window.grid, start, end)

    def _limit(self, measure: str) -> str:
        type_ = _column(self.target, measure).type
        limits = integer_range(type_)
        if limits is not None:
            return str(limits[1])
        if isinstance(type_, Numeric) and type_.precision is not None:
            edge = Decimal(10) ** (type_.precision - type_.scale)
            return format(edge - Decimal(1).scaleb(-type_.scale), "f")
        return "'Infinity'"

    # ---- statements ----

    def single(self, delta: str) -> str:
        """Adds one delta of this rollup's source, a record with the columns of the deltas."""
        names = [_key_part(self.source, key).column.name for key in self.rollup.keys]
        keys = [f"{delta}.{identifier(name)}" for name in names]
        keys += self._window_of(delta)
        parts = [_measure_part(measure).column.name for measure in self.rollup.measures]
        amounts = [f"{delta}.{identifier(part)}" for part in parts]
        return self._apply(keys, amounts, f"{delta}.row_count", "    ")

    def all_of(self, deltas: str) -> str:
        """Adds the deltas of a transaction in the order of the keys.

        All at once where nothing goes down. Else one by one, as a row with an amount below zero
        cannot even be offered to the table.
        """
        keys = [
            f"t.{identifier(_key_part(self.source, key).column.name)} as {identifier(key.target)}"
            for key in self.rollup.keys
        ]
        bounds = zip(self._window_of("t"), self.keys[len(keys) :], strict=True)
        keys += [f"{bound} as {identifier(name)}" for bound, name in bounds]
        places = _list([str(n) for n in range(1, len(keys) + 1)])
        parts = [identifier(_measure_part(m).column.name) for m in self.rollup.measures]
        totals = [f"sum(t.{part})" for part in parts]
        measures = [identifier(m) for m in self.measures]
        whole = [
            f"{self._guarded(total, name)} as {m}"
            for total, name, m in zip(totals, self.measures, measures, strict=True)
        ]
        plain = [f"{total} as {m}" for total, m in zip(totals, measures, strict=True)]
        changed = " or ".join(f"{total} <> 0" for total in dict.fromkeys([*totals, _ROWS]))
        from_deltas = f"from {deltas} t where t.xact = fold.own group by {places}"
        amounts = [f"d.{m}" for m in measures]
        own = [f"d.{identifier(key)}" for key in self.keys]
        return f"""
  if rising then
    insert into {self.name} as t ({_names([*self.keys, *self.measures])})
    select {_list([*keys, *whole])}
    {from_deltas} order by {places}
    {self._conflict()};
  else
    for d in
      select {_list([*keys, *plain])}, {_ROWS} as delta_rows
      {from_deltas}
      having {changed}
      order by {places}
    loop
{self._apply(own, amounts, "d.delta_rows", "      ")}    end loop;
  end if;"""

    def _window_of(self, delta: str) -> list[str]:
        window = self.rollup.window
        if window is None:
            return []
        start = f"{delta}.{identifier(f'{window.source}_{window.grid}m')}"
        return [start, f"{start} + interval '{window.grid} minutes'"]

    def _conflict(self) -> str:
        """Adds what was offered to the row that is there already."""
        changes = []
        for measure in self.measures:
            name = identifier(measure)
            total = self._guarded(f"t.{name}::numeric + excluded.{name}", measure)
            changes.append(f"{name} = {total}")
        return f"on conflict ({_names(self.keys)}) do update set {_list(changes)}"

    def _apply(self, keys: list[str], amounts: list[str], rows: str, margin: str) -> str:
        """Adds one amount for each measure to the row of a key."""
        pairs = [(identifier(m), amount) for m, amount in zip(self.measures, amounts, strict=True)]
        match = self._match(keys)
        rises = " and ".join(f"{amount} >= 0" for amount in (rows, *amounts))
        add = _list([f"{m} = t.{m} + {amount}" for m, amount in pairs])
        fits = " and ".join(
            f"t.{m} <= {self._limit(name)} - {amount}"
            for (m, amount), name in zip(pairs, self.measures, strict=True)
        )
        change = _list(
            [
                f"{m} = {self._guarded(f't.{m}::numeric + {amount}', name)}"
                for (m, amount), name in zip(pairs, self.measures, strict=True)
            ]
        )
        stays = " and ".join(f"t.{m} + {amount} >= 0" for m, amount in pairs)
        zero = " and ".join(f"t.{m} = 0" for m, _ in pairs)
        offered = [
            self._guarded(amount, name) for amount, name in zip(amounts, self.measures, strict=True)
        ]
        recount = identifier(self.schema.name, f"{self.rollup.name}_recount")
        return indent(
            f"""\
if {rises} then
  update {self.name} as t
  set {add}
  where {match}
    and {fits};
  if not found then
    insert into {self.name} as t ({_names([*self.keys, *self.measures])})
    values ({_list([*keys, *offered])})
    {self._conflict()};
  end if;
else
  update {self.name} as t
  set {change}
  where {match}
    and {stays}
  returning {zero} into empty;
  if not found then
    -- not what the source says: some load went past the triggers
    perform {recount}({_list(keys)});
  elsif empty and not exists (select {self._from_source(keys)}) then
    delete from {self.name} t where {match};
  end if;
end if;
""",
            margin,
        )

    def _guarded(self, amount: str, measure: str) -> str:
        """The amount, or a clear error where the column cannot hold it."""
        overflow = identifier(self.schema.name, f"{self.rollup.source}_overflow")
        name = literal(f"{self.schema.name}.{self.rollup.name}.{measure}")
        return (
            f"case when {amount} <= {self._limit(measure)} then {amount}"
            f" else {overflow}({name}) end"
        )

    def _recount(self) -> str:
        places = [f"${n}" for n in range(1, len(self.keys) + 1)]
        zeros = ["0"] * len(self.measures)
        same = _list([f"{identifier(m)} = t.{identifier(m)}" for m in self.measures])
        match = self._match(places)
        return f"""
begin
  -- one statement that leaves the row locked, whether it was there or not
  insert into {self.name} as t ({_names([*self.keys, *self.measures])})
  values ({_list([*places, *zeros])})
  on conflict ({_names(self.keys)}) do update set {same};
  -- a statement of its own, so that it sees whoever held the row before
  update {self.name} t
  set ({_names(self.measures)}) = row(s.*)
  from (select {_list(self._sums())} {self._from_source(places)}) s
  where {match};
  delete from {self.name} t
  where {match} and not exists (select {self._from_source(places)});
end
"""

    def _rebuild(self) -> str:
        fold = ""
        if self.rollup.kept:
            name = deltas_name(self.rollup.source)
            event = identifier(self.schema.name, f"{name}_fold")
            fold = f"\n  set constraints {event} immediate;\n  set constraints {event} deferred;"
        if self.rollup.window is not None and self.rollup.window.grid is None:
            return "begin\n  return 0::bigint;\nend"
        names = [*self.keys, *self.measures]
        set_ = _list([f"{identifier(m)} = excluded.{identifier(m)}" for m in self.measures])
        old = _list([f"t.{identifier(m)}" for m in self.measures])
        new = _list([f"excluded.{identifier(m)}" for m in self.measures])
        match = self._match([f"u.{identifier(key)}" for key in self.keys])
        return f"""
#variable_conflict use_column
declare
  changed bigint;
begin
{_fresh_snapshot(f"an old snapshot is no base to rebuild {self.rollup.name}")}
  lock table {self.from_} in share row exclusive mode;{fold}
  with truth as (
    {self._truth()}
  ), gone as (
    delete from {self.name} t
    where {self._is_kept("t")}
      and not exists (select from truth u where {match})
    returning 1
  ), put as (
    insert into {self.name} as t ({_names(names)})
    select {_names(names)} from truth order by {_names(self.keys)}
    on conflict ({_names(self.keys)}) do update set {set_}
    where ({old}) is distinct from ({new})
    returning 1
  )
  select (select count(*) from gone) + (select count(*) from put) into changed;
  return changed;
end
"""

    def _check(self) -> str:
        if self.rollup.window is not None and self.rollup.window.grid is None:
            return "begin\n  return;\nend"
        keys = [f"coalesce(t.{identifier(k)}, u.{identifier(k)})" for k in self.keys]

        def measures(alias: str) -> str:
            pairs = _list([f"{literal(m)}, {alias}.{identifier(m)}" for m in self.measures])
            first = f"{alias}.{identifier(self.keys[0])}"
            return f"case when {first} is not null then jsonb_build_object({pairs}) end"

        old = _list([f"t.{identifier(m)}" for m in self.measures])
        new = _list([f"u.{identifier(m)}" for m in self.measures])
        match = self._match([f"u.{identifier(key)}" for key in self.keys])
        return f"""
#variable_conflict use_column
begin
  return query
  select {_list(keys)}, {measures("t")}, {measures("u")}
  from (select * from {self.name} t where {self._is_kept("t")}) t
  full join (
    {self._truth()}
  ) u on {match}
  where ({old}) is distinct from ({new})
  order by {_list([str(n) for n in range(1, len(keys) + 1)])};
end
"""

    def _refresh(self) -> Function:
        window = self.rollup.window
        assert window is not None
        first = self.rollup.keys[0]
        scope = _column(self.target, first.target)
        own_keys = [identifier(key.target) for key in self.rollup.keys]
        exprs = [
            f"{_key_part(self.source, key).expression} as {identifier(key.target)}"
            for key in self.rollup.keys
        ]
        places = _list([str(n) for n in range(1, len(exprs) + 1)])
        named = [
            f"{total} as {identifier(m)}"
            for total, m in zip(self._sums(), self.measures, strict=True)
        ]
        at = f"r.{identifier(window.source)}"
        names = [*self.keys, *self.measures]
        start, end = identifier(window.start), identifier(window.end)
        set_ = _list([f"{identifier(m)} = excluded.{identifier(m)}" for m in self.measures])
        old = _list([f"t.{identifier(m)}" for m in self.measures])
        new = _list([f"excluded.{identifier(m)}" for m in self.measures])
        match = " and ".join(f"t.{key} = u.{key}" for key in own_keys)
        scoped = f"{_key_part(self.source, first).expression} = $3"
        kept = (
            "false"
            if window.grid is None or not self.rollup.on_write
            else _aligned(window.grid, "$1", "$2")
        )
        body = f"""
#variable_conflict use_column
declare
  changed bigint;
begin
  if $1 is null or $2 is null or not isfinite($1) or not isfinite($2) or $1 >= $2 then
    raise exception using errcode = '22023',
      message = format('the window from %s to %s is empty or not finite', $1, $2),
      hint = 'give two instants, the first before the second';
  end if;
  if {kept} then
    return 0::bigint; -- every write keeps this window already
  end if;
  -- one at a time for each window, so that the later snapshot is stored last
  perform pg_advisory_xact_lock(hashtextextended(
    {literal(self.rollup.name)} || extract(epoch from $1) || ' ' || extract(epoch from $2), 0));
  with truth as (
    select {_list([*exprs, *named])} from {self.from_} r
    where {at} >= $1 and {at} < $2 and ($3 is null or {scoped})
    group by {places}
  ), gone as (
    delete from {self.name} t
    where t.{start} = $1 and t.{end} = $2
      and ($3 is null or t.{identifier(first.target)} = $3)
      and not exists (select from truth u where {match})
    returning 1
  ), put as (
    insert into {self.name} as t ({_names(names)})
    select {_list([*own_keys, "$1", "$2", *map(identifier, self.measures)])}
    from truth order by {places}
    on conflict ({_names(self.keys)}) do update set {set_}
    where ({old}) is distinct from ({new})
    returning 1
  )
  select (select count(*) from gone) + (select count(*) from put) into changed;
  return changed;
end
"""
        arguments = (
            "window_from timestamp with time zone, window_to timestamp with time zone,"
            f" {identifier(f'only_{first.target}')} {_result_type(scope)}"
            f" DEFAULT NULL::{_result_type(scope)}"
        )
        name = f"refresh_{self.rollup.name}"
        return _function(name, body, arguments=arguments, returns="bigint")


_ROWS = "sum(t.row_count)"
_OVERFLOW = """
begin
  raise exception using errcode = '22003',
    message = format('a total in %s would exceed the type of the column', $1),
    hint = 'widen the column, or correct the amounts of the rows';
end
"""


def _aligned(minutes: int, start: str, end: str) -> str:
    step = f"interval '{minutes} minutes'"
    return (
        f"({end} = {start} + {step}"
        f" and {start} = date_bin('{minutes} minutes', {start}, pg_catalog.timestamptz 'epoch'))"
    )


def _result_type(column: Column) -> str:
    name = base_name(column.type)
    for ours, theirs in _SPELLED.items():
        if name in (ours, f"{ours}[]"):
            return theirs + name.removeprefix(ours)
    return name


_SPELLED = {"timestamptz": "timestamp with time zone", "varchar": "character varying"}
"""How the catalog spells types of arguments, which have no parameters."""
