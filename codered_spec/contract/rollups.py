"""Whether rollups are what their sources say, after every kind of write and repair.

A history of statements goes over a source; after each the rollups must equal a plain aggregate, and
the deltas must be gone. Then rows of a rollup are spoilt, and ``check_…`` must name them,
``rebuild_…`` and ``refresh_…`` mend them. Nothing lasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg

from codered_spec.connection import Connection
from codered_spec.contract.choices import RandomChoices
from codered_spec.contract.rules import Row
from codered_spec.contract.verdicts import insert, text_of
from codered_spec.contract.world import Plan, World
from codered_spec.emit.rollups import deltas_name
from codered_spec.model.schema import Rollup, Schema
from codered_spec.model.types import Numeric
from codered_spec.model.values import integer_range
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier, literal

_OVERFLOW: Final = "22003"
_EMPTY_WINDOW: Final = "22023"
_AT: Final = (
    "2026-03-01T23:50:00Z",
    "2026-03-01T23:51:00Z",
    "2026-03-01T23:50:00Z",
    "2026-03-02T23:51:00Z",
    "2026-03-02T00:00:00Z",
    "2026-03-01T23:50:00Z",
)
"""When the rows of the source are: the fifth is right behind a day and a window."""


class RollupExam:
    """The history of one source, made once; the database has the schema and no row."""

    def __init__(self, schema: Schema, source: str) -> None:
        self.schema = schema
        self.source = source
        self.rollups = [rollup for rollup in schema.rollups if rollup.source == source]
        self.own = identifier(schema.name, source)
        table = schema.table(source)
        assert table is not None
        assert table.primary_key is not None
        self.table = table
        self.key = identifier(table.primary_key.columns[0])
        self.world = World(Plan(schema), RandomChoices(f"rollups of {source}"))
        self.before, self.rows = self._rows()

    def _rows(self) -> tuple[list[tuple[str, Row]], list[Row]]:
        """Parents, and rows of the source: amounts differ, half the rows share their keys."""
        instants = {
            name
            for rollup in self.rollups
            for name in (
                *(key.source for key in rollup.keys if key.day),
                *([rollup.window.source] if rollup.window else []),
            )
        }
        amounts = sorted({m.source for r in self.rollups for m in r.measures if m.source})
        rows = []
        for number, instant in enumerate(_AT):
            fixed: dict[str, Any] = dict.fromkeys(instants, instant)
            fixed |= {name: 10 ** (place + 1) + number for place, name in enumerate(amounts)}
            row = self.world.row(self.source, fixed, full=True, fresh=number == len(_AT) - 1)
            rows.append(self.world.add(self.source, row))
        return [(name, row) for name, row in self.world.rows if name != self.source], rows

    # ---- statements ----

    def _id(self, number: int) -> str:
        return literal(str(self.rows[number][self.key]))

    def _insert(self, *numbers: int) -> str:
        names = tuple(self.rows[0])
        types = {column.name: column.type for column in self.table.columns}
        rows = [
            ", ".join(
                "null" if text is None else literal(text)
                for text in (text_of(types[name], self.rows[number][name]) for name in names)
            )
            for number in numbers
        ]
        return f"insert into {self.own} {column_list(names)} values ({'), ('.join(rows)})"

    def _history(self) -> Iterator[tuple[str, list[str]]]:
        """Transactions: names of what they do, and their statements."""
        amounts = [m.source for r in self.rollups for m in r.measures if m.source]
        moved = [k.source for r in self.rollups for k in r.keys if k.day]
        yield "one row", [self._insert(0)]
        yield "a row of the same keys", [self._insert(2)]
        yield "several rows", [self._insert(1, 3, 4)]
        yield "two statements", [self._insert(5), self._delete(0)]
        if amounts:
            amount = identifier(amounts[0])
            yield "more", [f"update {self.own} set {amount} = {amount} + 5"]
            yield "less", [f"update {self.own} set {amount} = {amount} - 3{self._of(1)}"]
            yield "less of all", [f"update {self.own} set {amount} = {amount} - 1"]
        for name in moved[:1]:
            yield "moved", [self._moved(name, 2)]
        if amounts:
            none = ", ".join(f"{identifier(name)} = 0" for name in dict.fromkeys(amounts))
            yield "nothing of one", [f"update {self.own} set {none}{self._of(5)}"]
            yield "nothing of several", [f"update {self.own} set {none}{self._of(2, 3, 4)}"]
            for name in moved[:1]:
                yield "nothing, moved", [self._moved(name, 5)]
        yield "one row gone", [self._delete(5)]
        yield "two of one key gone, one comes", [self._delete(3, 4), self._insert(0)]
        yield "all gone", [f"delete from {self.own}"]
        yield "again", [self._insert(0, 1, 2, 3, 4, 5)]

    def _of(self, *numbers: int) -> str:
        return f" where {self.key} in ({', '.join(map(self._id, numbers))})"

    def _delete(self, *numbers: int) -> str:
        return f"delete from {self.own}{self._of(*numbers)}"

    def _moved(self, column: str, number: int) -> str:
        own = identifier(column)
        return f"update {self.own} set {own} = {own} + interval '1 day'{self._of(number)}"

    def holes(self, connection: Connection) -> Iterator[str]:
        """What is not as the sources say, in words."""
        with connection.transaction(force_rollback=True):
            try:
                insert(connection, self.schema, self.before)
                for words, statements in self._history():
                    for sql in statements:
                        connection.execute(sql.encode())
                    yield from self._compared(connection, words)
                for rollup in self.rollups:
                    yield from self._repairs(connection, rollup)
                    yield from self._overflows(connection, rollup)
                yield from self._lost(connection)
                connection.execute(f"delete from {self.own}".encode())
                yield from self._compared(connection, "all gone again")
                connection.execute(self._insert(1).encode())
                yield from self._compared(connection, "one row again")
                connection.execute(self._insert(0).encode())
                connection.execute(f"truncate {self.own} cascade".encode())
                yield from self._compared(connection, "truncated")
            except psycopg.Error as error:
                yield f"refused with {error.sqlstate}: {str(error).splitlines()[0]}"

    def _compared(self, connection: Connection, words: str) -> Iterator[str]:
        connection.execute("set constraints all immediate")
        connection.execute("set constraints all deferred")
        for rollup in self.rollups:
            if rollup.kept:
                found = self._difference(connection, rollup)
                if found:
                    yield f"{rollup.name}, {words}: {found} rows differ"
                checked = self._count(connection, f"{self._call('check', rollup)}")
                if checked != found:
                    yield f"check_{rollup.name}, {words}: names {checked} rows"
        if any(rollup.kept for rollup in self.rollups):
            deltas = identifier(self.schema.name, deltas_name(self.source))
            if self._count(connection, deltas):
                yield f"{words}: deltas are left"

    def _call(self, verb: str, rollup: Rollup, arguments: str = "") -> str:
        return f"{identifier(self.schema.name, f'{verb}_{rollup.name}')}({arguments})"

    @staticmethod
    def _count(connection: Connection, relation: str) -> int:
        [[count]] = connection.execute(f"select count(*) from {relation}".encode()).fetchall()
        return int(str(count))

    # ---- the truth ----

    def _truth(self, rollup: Rollup, window: tuple[str, str] | None = None) -> str:
        """The rollup as a query of the source, written anew."""
        keys = []
        for key in rollup.keys:
            own = f"s.{identifier(key.source)}"
            keys.append(f"({own} at time zone 'UTC')::date" if key.day else own)
        where = ""
        if rollup.window is not None:
            at = f"s.{identifier(rollup.window.source)}"
            if window is not None:
                keys += [f"{literal(edge)}::timestamptz" for edge in window]
                where = f" where {at} >= {literal(window[0])} and {at} < {literal(window[1])}"
            else:
                step = 60 * (rollup.window.grid or 1)
                start = f"to_timestamp(floor(extract(epoch from {at}) / {step}) * {step})"
                keys += [start, f"{start} + make_interval(secs => {step})"]
        sums = [
            "count(*)" if m.source is None else f"coalesce(sum(s.{identifier(m.source)}), 0)"
            for m in rollup.measures
        ]
        places = ", ".join(str(n + 1) for n in range(len(keys)))
        return f"select {', '.join([*keys, *sums])} from {self.own} s{where} group by {places}"

    def _stored(self, rollup: Rollup, where: str = "") -> str:
        names = [*rollup.key_columns, *(m.target for m in rollup.measures)]
        own = identifier(self.schema.name, rollup.name)
        return f"select {', '.join(map(identifier, names))} from {own}{where}"

    def _difference(
        self, connection: Connection, rollup: Rollup, window: tuple[str, str] | None = None
    ) -> int:
        """How many rows of the rollup, by their keys, are not what the source says."""
        where = "" if window is None else self._in_window(rollup, window)
        truth, stored = self._truth(rollup, window), self._stored(rollup, where)
        places = len(rollup.key_columns)
        wrong = f"(({truth}) except all ({stored})) union all (({stored}) except all ({truth}))"
        listed = ", ".join(f"c{n}" for n in range(places + len(rollup.measures)))
        keys = ", ".join(f"c{n}" for n in range(places))
        return self._count(connection, f"(select distinct {keys} from ({wrong}) w ({listed})) k")

    def _in_window(self, rollup: Rollup, window: tuple[str, str]) -> str:
        assert rollup.window is not None
        start, end = identifier(rollup.window.start), identifier(rollup.window.end)
        return f" where {start} = {literal(window[0])} and {end} = {literal(window[1])}"

    # ---- spoilt rows ----

    def _repairs(self, connection: Connection, rollup: Rollup) -> Iterator[str]:
        own = identifier(self.schema.name, rollup.name)
        measures = [identifier(m.target) for m in rollup.measures]
        one = f"(select ctid from {own} order by ctid limit 1)"
        key = identifier(next(k.target for k in rollup.keys))
        spoils = [
            (f"{m} spoilt", f"update {own} set {m} = {m} + 1 where ctid = {one}") for m in measures
        ]
        spoils.append(("a row lost", f"delete from {own} where ctid = {one}"))
        for words, sql in spoils if rollup.kept else ():
            connection.execute(sql.encode())
            if self._count(connection, self._call("check", rollup)) != 1:
                yield f"check_{rollup.name} does not name {words}"
            [[changed]] = connection.execute(
                f"select {self._call('rebuild', rollup)}".encode()
            ).fetchall()
            if changed != 1:
                yield f"rebuild_{rollup.name} says {changed}, {words}"
            yield from self._compared(connection, f"rebuilt, {words}")
        if rollup.kept:  # a row that no row of the source stands behind
            with connection.transaction(force_rollback=True):
                connection.execute("set local session_replication_role = replica")
                some = f"{self.key} = {self._id(5)}"
                connection.execute(f"delete from {self.own} where {some}".encode())
                wrong = self._difference(connection, rollup)
                connection.execute("set local session_replication_role = origin")
                if self._count(connection, self._call("check", rollup)) != wrong:
                    yield f"check_{rollup.name} does not name a row too many"
                [[changed]] = connection.execute(
                    f"select {self._call('rebuild', rollup)}".encode()
                ).fetchall()
                if changed != wrong or self._difference(connection, rollup):
                    yield f"rebuild_{rollup.name} leaves a row too many"
        if rollup.window is not None:
            yield from self._refreshes(connection, rollup, key)

    def _refreshes(self, connection: Connection, rollup: Rollup, key: str) -> Iterator[str]:
        window = ("2026-03-01T00:00:30Z", "2026-03-02T00:00:00Z")
        listed = ", ".join(map(literal, window))
        own = identifier(self.schema.name, rollup.name)
        where = self._in_window(rollup, window)
        spoilt = identifier(rollup.measures[0].target)
        steps = [
            ("made", ""),
            ("mended", f"update {own} set {spoilt} = {spoilt} + 1{where}"),
            ("of one key", f"delete from {own}{where}"),
            ("made again", ""),
            ("of rows that are gone", self._delete(5)),
        ]
        for words, sql in steps:
            with connection.transaction():
                connection.execute(sql.encode() or b"select")
                only = ""
                if words == "of one key":
                    only = f", (select {identifier(rollup.keys[0].source)} from {self.own} limit 1)"
                wrong = self._difference(connection, rollup, window)
                call = f"select {self._call('refresh', rollup, listed + only)}".encode()
                [[changed]] = connection.execute(call).fetchall()
                [[again]] = connection.execute(call).fetchall()
                mended = changed == wrong and not self._difference(connection, rollup, window)
                if again or (not only and not mended):
                    yield f"refresh_{rollup.name}, {words}: not what the source says"
                if (
                    only
                    and self._count(connection, f"(select distinct {key} from {own}{where}) k") != 1
                ):
                    yield f"refresh_{rollup.name}, {words}: not that one"
        connection.execute(f"delete from {own}{where}".encode())
        connection.execute(self._insert(5).encode())
        connection.execute("set constraints all immediate")
        for empty in (
            "null, now()",
            "now(), null",
            "now(), now()",
            "'-infinity', now()",
            "now(), 'infinity'",
        ):
            yield from self._refused(
                connection, f"select {self._call('refresh', rollup, empty)}", _EMPTY_WINDOW
            )

    def _refused(self, connection: Connection, sql: str, state: str) -> Iterator[str]:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(sql.encode())
                connection.execute("set constraints all immediate")
        except psycopg.Error as error:
            if error.sqlstate != state:
                yield f"{sql[:80]}: {error.sqlstate}"
        else:
            yield f"{sql[:80]}: not refused"

    def _overflows(self, connection: Connection, rollup: Rollup) -> Iterator[str]:
        """A total at the edge of its column, and one amount more."""
        target = self.schema.table(rollup.name)
        assert target is not None
        for measure in rollup.measures if rollup.kept else ():
            column = target.column(measure.target)
            assert column is not None
            limits = integer_range(column.type)
            edge = str(limits[1]) if limits else ""
            if isinstance(column.type, Numeric) and column.type.precision is not None:
                digits = "9" * (column.type.precision - column.type.scale)
                edge = f"{digits}.{'9' * column.type.scale}"
            if not edge or measure.source is None:
                continue
            own = identifier(measure.source)
            for sql in (
                f"update {self.own} set {own} = {own} + 1 where {self.key} = {self._id(1)}",
                f"update {self.own} set {own} = {own} + 1",
            ):
                with connection.transaction(force_rollback=True):
                    full = f"update {identifier(self.schema.name, rollup.name)}"
                    connection.execute(f"{full} set {identifier(measure.target)} = {edge}".encode())
                    yield from self._refused(connection, sql, _OVERFLOW)

    def _lost(self, connection: Connection) -> Iterator[str]:
        """Rows of the rollups went missing: what goes down counts its source again."""
        alone = ((5,), (0, 1, 2))  # all that have these keys
        for numbers in (*alone, (1,), (2, 3)):
            with connection.transaction(force_rollback=True):
                kept = [rollup for rollup in self.rollups if rollup.kept]
                for rollup in kept:
                    own = identifier(self.schema.name, rollup.name)
                    connection.execute(f"delete from {own}".encode())
                connection.execute(self._delete(*numbers).encode())
                connection.execute("set constraints all immediate")
                for rollup in kept:
                    own = identifier(self.schema.name, rollup.name)
                    stored, truth = self._stored(rollup), self._truth(rollup)
                    wrong = f"(({stored}) except all ({truth})) w"
                    known = self._count(connection, own)
                    if self._count(connection, wrong) or bool(known) is (numbers in alone):
                        yield f"{rollup.name} is not counted again"
