"""What each role can do with rows of two sides, held against what the roles of the spec say.

The database gets rows that belong to two rows of each scope's root, A and B. Every role then tries
each action on each table, view and function as a session that speaks for A: it must reach what the
model of rights says, and nothing else. Beside the roles of the spec come somebody without any right
and those who may read or write all data of the server, so that row-level security alone stops them.

Needs a superuser, the role ``authenticator``, and a scratch database: the rows stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid4

from codered_spec.connection import Connection
from codered_spec.contract.choices import RandomChoices
from codered_spec.contract.rules import Row
from codered_spec.contract.verdicts import insert, text_of
from codered_spec.contract.world import Plan, World, predicate_columns, unique_keys
from codered_spec.emit.access import ISSUE, KEYS
from codered_spec.migrate.lowering import lowered
from codered_spec.model.check_roles import way_to
from codered_spec.model.graph import creation_order
from codered_spec.model.schema import (
    Event,
    Function,
    Ordered,
    Right,
    Role,
    RowScope,
    Schema,
    Table,
    View,
)
from codered_spec.sql import columns as column_list
from codered_spec.sql import identifier, literal

DENIED: Final = "42501"
DOOR: Final = "authenticator"
"""The login of the API, in whose sessions a verified token names the rows."""
OUTSIDER: Final = "pg_signal_backend"
"""A role of every server that has no right to any table, nor to the schema."""
READER: Final = "pg_read_all_data"
WRITER: Final = "pg_write_all_data"
OWNER: Final = "the owner"
_HEIR: Final = "pg_checkpoint"
"""To whom nobody may hand a right on."""
SCHEMA: Final = "schema"
"""The subject of questions about the schema itself."""
_SIDES: Final = (0, 1)
_TRAP: Final = "codered_trap"
_SPRUNG: Final = "CS002"
_NOT_DENIED: Final = "not denied"
_ANY: Final = "any"


@dataclass(frozen=True, slots=True)
class Question:
    """A statement of somebody, what may come of it, and what a query must answer after it.

    ``state`` is an SQLSTATE, None for success, or a word: not denied, any. ``told`` is a part
    of the message of a refusal.
    """

    subject: str
    words: str
    session: str
    sql: str
    state: str | None = None
    hits: int | None = None
    then: str | None = None
    result: str | None = None
    told: str = ""
    role: str = "none"
    replica: bool = False
    """Without foreign keys and triggers, so that only rights decide."""
    settings: dict[str, str] = field(default_factory=dict)

    def hole(self, state: str | None, hits: int, result: str | None) -> str | None:
        """What is wrong with an outcome, in words."""
        right = {_ANY: True, _NOT_DENIED: state not in (DENIED, _SPRUNG)}.get(self.state or "")
        if right is None:
            right = state == self.state and (state is None or self.told in str(result))
        if right and state is None and self.hits is not None:
            right = hits == self.hits
        if right and self.then is not None and state is None:
            right = result == self.result
        if right:
            return None
        return f"{self.words}: {state or 'allowed'}, {hits} rows, {str(result)[:80]}"


@dataclass(frozen=True, slots=True)
class _Who:
    """Somebody with a session, and which rows of the tables are his."""

    name: str
    session: str
    role: Role | None
    settings: dict[str, str] = field(default_factory=dict)
    itself: bool = False
    """Whether the session has the rights of the role already."""

    @property
    def acts_as(self) -> str:
        return self.session if self.role is None else self.role.name

    def asks(self, subject: str, words: str, sql: str, **more: Any) -> Question:
        role = "none" if self.role is None or self.itself else self.role.name
        settings = {**self.settings, **more.pop("settings", {})}
        words = f"{self.name} {words}"
        return Question(subject, words, self.session, sql, role=role, settings=settings, **more)

    def right(self, action: str, relation: str) -> Right | None:
        """The right to rows; policies stop the ones that the spec does not know."""
        if self.role is None:
            may = {READER: ("select",), WRITER: ("insert", "update", "delete")}
            return Right(action, relation) if action in may.get(self.name, ()) else None
        if self.role.everything:
            return Right(action, relation)
        return next(
            (r for r in self.role.rights if (r.action, r.table) == (action, relation)), None
        )


class AccessExam:
    """The questions, made once on a database with the schema, to which the rows are added."""

    def __init__(self, connection: Connection, schema: Schema) -> None:
        self.schema = schema
        self.wanted = lowered(schema)
        self.scopes = {r.name: r.scope for r in schema.roles if r.scope is not None}
        self.roots = sorted({scope.root for scope in self.scopes.values()})
        stored, self.first, self.spare = _rows(schema)
        with connection.transaction():
            insert(connection, schema, stored)
            connection.execute("set constraints all immediate")
        self.keys = {t.name: self._keys(connection, t) for t in self.wanted.tables}
        assert all(self.keys[table.name] for table in schema.tables), "a table without rows"
        self.owners = {
            (root, table.name): self._owners(connection, table, root)
            for root in self.roots
            for table in schema.tables
        }
        [[owner]] = connection.execute(
            b"select nspowner::regrole::text from pg_namespace where nspname = %s", [schema.name]
        ).fetchall()
        found = connection.execute(b"select rolname from pg_roles where rolbypassrls").fetchall()
        self.bypassing = {str(name) for (name,) in found}
        self.stand_ins: dict[str, str] = {}
        self.people = [
            *(self._person(r.name, DOOR, r, self._claims(r, 0)) for r in schema.roles),
            *(_Who(name, name, None) for name in (OUTSIDER, READER, WRITER)),
        ]
        self.owner = _Who(OWNER, self._stand_in(str(owner)), None)
        # an interval has no end since Postgres 17
        self.endless = ("infinity",) if connection.info.server_version >= 170000 else ()
        self.signing = connection.execute(self._signing_sql()).fetchall()
        self.questions: dict[str, list[Question]] = {}
        for table in self.wanted.tables:
            known = schema.table(table.name) is not None
            own = list(self._of_table(table) if known else self._of_closed(table))
            self.questions[table.name] = own
        truth = self._truth(connection)
        for view in self.wanted.views:
            self.questions[view.name] = list(self._of_view(view, truth))
        for function in self.wanted.functions:
            self.questions[function.name] = list(self._of_function(function))
        self.questions[SCHEMA] = list(self._of_schema())

    def _person(self, name: str, session: str, role: Role, settings: dict[str, str]) -> _Who:
        if role.name in self.bypassing:
            return _Who(name, self._stand_in(role.name), role, settings, itself=True)
        return _Who(name, session, role, settings)

    def _stand_in(self, role: str) -> str:
        """A member of a role that, unlike it, does not bypass row-level security."""
        return self.stand_ins.setdefault(role, f"exam_{uuid4().hex}")

    # ---- rows and whose they are ----

    def _own(self, name: str) -> str:
        return identifier(self.schema.name, name)

    @staticmethod
    def _key(table: Table, alias: str = "t") -> str:
        if table.primary_key is None:
            return f"{alias}.ctid::text"
        parts = ", ".join(f"{alias}.{identifier(c)}" for c in table.primary_key.columns)
        return f"concat_ws('|', {parts})"

    def _keys(self, connection: Connection, table: Table) -> set[str]:
        query = f"select {self._key(table)} from {self._own(table.name)} t"
        return {str(key) for (key,) in connection.execute(query.encode()).fetchall()}

    def _owners(self, connection: Connection, table: Table, root: str) -> dict[str, str | None]:
        """Of each row by its key: the row of the root that it belongs to."""
        way = way_to(self.schema, table, root)
        if way is None:
            return {}
        joins, last = "", "t"
        for number, key in enumerate(way[:-1]):
            joins += (
                f" left join {self._own(key.table)} w{number}"
                f" on w{number}.{identifier(key.referenced[0])}"
                f" = {last}.{identifier(key.columns[0])}"
            )
            last = f"w{number}"
        column = way[-1].columns[0] if way else self._root_key(root)
        query = (
            f"select {self._key(table)}, {last}.{identifier(column)}::text"
            f" from {self._own(table.name)} t{joins}"
        )
        return dict(connection.execute(query.encode()).fetchall())

    def _root_key(self, root: str) -> str:
        table = self.schema.table(root)
        assert table is not None
        assert table.primary_key is not None
        return table.primary_key.columns[0]

    def _side(self, root: str, side: int) -> str:
        return str(self.first[root, side][self._root_key(root)])

    def reach(self, who: _Who, name: str, sides: Iterable[str] | None = None) -> set[str]:
        """Keys of the rows that somebody may write; ``sides`` are those of A."""
        scope = self._scope(who)
        if who.role is None:
            return set()
        if scope is None or not self.owners[scope.root, name]:
            return self.keys[name]
        mine = {self._side(scope.root, 0)} if sides is None else set(sides)
        return {key for key, owner in self.owners[scope.root, name].items() if owner in mine}

    def visible(self, who: _Who, name: str, sides: Iterable[str] | None = None) -> set[str]:
        """Keys of the rows that somebody may read: rows that belong to nobody, too."""
        found = self.reach(who, name, sides)
        scope = self._scope(who)
        if scope is not None:
            owners = self.owners[scope.root, name]
            found = found | {key for key, owner in owners.items() if owner is None}
        return found

    def _scope(self, who: _Who) -> RowScope | None:
        return None if who.role is None else who.role.scope

    def _claims(self, role: Role, *sides: int) -> dict[str, str]:
        if role.scope is None:
            return {}
        ids = [self._side(role.scope.root, side) for side in sides]
        return _claim(role.scope, ids[0] if len(ids) == 1 else ids)

    # ---- tables ----

    def _of_table(self, table: Table) -> Iterator[Question]:
        for who in self.people:
            yield from self._reads(who, table)
            yield from self._inserts(who, table)
            yield from self._updates(who, table)
            yield from self._deletes(who, table)
            yield from self._others(who, table)
        yield self._seen_by_owner(table)

    def _seen_by_owner(self, table: Table) -> Question:
        count = len(self.keys[table.name])
        sql = f"select from {self._own(table.name)}"
        return self.owner.asks(table.name, f"reads {table.name}", sql, hits=count)

    def _reads(self, who: _Who, table: Table) -> Iterator[Question]:
        name, own = table.name, self._own(table.name)
        right = who.right("select", name)
        seen = self.visible(who, name)
        for column in table.columns if who.name != OUTSIDER else table.columns[:1]:
            may = right is not None and column.name not in right.without
            yield who.asks(
                name,
                f"reads {name}.{column.name}",
                f"select {identifier(column.name)} from {own}",
                state=None if may else DENIED,
                hits=len(seen) if may else None,
            )
        primary = () if table.primary_key is None else table.primary_key.columns
        if right is not None and not set(primary) & set(right.without):
            key = self._key(table)
            yield who.asks(
                name,
                f"reads the keys of {name}",
                "select",
                then=f"select string_agg({key}, ' ' order by {key} collate \"C\") from {own} t",
                result=" ".join(sorted(seen)) or None,
            )

    def _inserts(self, who: _Who, table: Table) -> Iterator[Question]:
        name, own = table.name, self._own(table.name)
        right = who.right("insert", name)
        scope = self._scope(who)
        walled = scope is not None and bool(self.owners[scope.root, name])
        for side in (0, 1, None):
            row = self.spare.get((name, side))
            if row is None:
                continue
            names = [c for c in row if right is None or c not in right.without]
            may = right is not None and who.role is not None and (side == 0 or not walled)
            yield who.asks(
                name,
                f"puts a row of side {side} into {name}",
                f"insert into {own} {column_list(tuple(names))}"
                f" values ({_values(table, row, names)})",
                state=None if may else DENIED,
                hits=1 if may else None,
            )
        for column in table.columns if who.name != OUTSIDER else ():
            may = right is not None and column.name not in right.without
            yield who.asks(
                name,
                f"may put {name}.{column.name}",
                f"insert into {own} ({identifier(column.name)}) select null where false",
                state=None if may else DENIED,
                replica=True,
            )

    def _updates(self, who: _Who, table: Table) -> Iterator[Question]:
        name, own = table.name, self._own(table.name)
        right, reads = who.right("update", name), who.right("select", name)
        mine = self.reach(who, name)
        for column in table.columns if who.name != OUTSIDER else table.columns[:1]:
            quoted = identifier(column.name)
            may = right is not None and column.name not in right.without
            yield who.asks(
                name,
                f"may change {name}.{column.name}",
                f"update {own} set {quoted} = default where false",
                state=None if may else DENIED,
                replica=True,
            )
            sees = may and reads is not None and column.name not in reads.without
            yield who.asks(
                name,
                f"changes {name}.{column.name}",
                f"update {own} set {quoted} = {quoted}",
                state=None if sees else DENIED,
                hits=len(mine) if sees else None,
                replica=True,
            )
        row = self.first.get((name, 0), self.spare[name, 0])
        for free in _free_columns(table, right)[:1] if right is not None else ():
            value = _values(table, row, [free])
            yield who.asks(
                name,
                f"changes rows of {name} that it need not see",
                f"update {own} set {identifier(free)} = {value}",
                hits=len(mine),
                replica=True,
            )
        yield from self._moves(who, table, right)

    def _moves(self, who: _Who, table: Table, right: Right | None) -> Iterator[Question]:
        """A row of one's own is given to the other side."""
        scope = self._scope(who)
        way = None if scope is None else way_to(self.schema, table, scope.root)
        if right is None or scope is None or way is None:
            return
        own = way[0].columns[0] if way else self._root_key(scope.root)
        other = self.first.get((table.name, 1)) or self.spare[table.name, 1]
        if own not in right.without:
            yield who.asks(
                table.name,
                f"moves rows of {table.name} to the other side",
                f"update {self._own(table.name)}"
                f" set {identifier(own)} = {_values(table, other, [own])}",
                state=DENIED,
                replica=True,
            )

    def _deletes(self, who: _Who, table: Table) -> Iterator[Question]:
        may = who.right("delete", table.name) is not None
        sees = who.right("select", table.name)
        key = self._key(table)
        left = f"select string_agg({key}, ' ' order by {key} collate \"C\") from {{}} t"
        hidden = self.visible(who, table.name) - self.reach(who, table.name)
        primary = () if table.primary_key is None else table.primary_key.columns
        counted = may and sees is not None and not set(primary) & set(sees.without)
        yield who.asks(
            table.name,
            f"removes all of {table.name}",
            f"delete from {self._own(table.name)}",
            state=None if may else DENIED,
            hits=len(self.reach(who, table.name)) if may else None,
            then=left.format(self._own(table.name)) if counted else None,
            result=" ".join(sorted(hidden)) or None,
            replica=True,
        )

    def _others(self, who: _Who, table: Table) -> Iterator[Question]:
        name, own = table.name, self._own(table.name)
        yield who.asks(name, f"truncates {name}", f"truncate {own}", state=DENIED)
        yield who.asks(name, f"hangs a trigger on {name}", _trigger_sql(own), state=DENIED)
        for action in ("select", "insert", "update", "delete"):
            right = None if who.role is None else who.right(action, name)
            if right is None:
                continue
            column = next(c.name for c in table.columns if c.name not in right.without)
            listed = "" if action == "delete" else f" ({identifier(column)})"
            yield who.asks(
                name,
                f"hands on the right to {action} {name}",
                f"grant {action}{listed} on {own} to {_HEIR}",
                state=_ANY,
                then=_handed_on("rel", f"'{own}'::regclass")
                if action == "delete"
                else "select min(attacl::text) from pg_attribute"
                f" where attrelid = '{own}'::regclass and attacl::text ~ '{_HEIR}='",
            )

    def _of_closed(self, table: Table) -> Iterator[Question]:
        """A table that only functions of the owner use."""
        own = self._own(table.name)
        for who in self.people:
            reads, writes = who.name == READER, who.name == WRITER
            columns = [identifier(column.name) for column in table.columns]
            for words, sql, may in (
                ("reads", f"select from {own}", reads),
                *(("reads a column of", f"select {c} from {own}", reads) for c in columns),
                *(
                    ("may put", f"insert into {own} ({c}) select null where false", writes)
                    for c in columns
                ),
                *(
                    ("may change", f"update {own} set {c} = default where false", writes)
                    for c in columns
                ),
                ("changes all of", f"update {own} set {columns[0]} = default", writes),
                ("removes all of", f"delete from {own}", writes),
                ("truncates", f"truncate {own}", False),
                ("hangs a trigger on", _trigger_sql(own), False),
            ):
                yield who.asks(
                    table.name,
                    f"{words} {table.name}",
                    sql,
                    state=None if may else DENIED,
                    hits=0 if may else None,
                    replica=True,
                )
            row = f"insert into {own} default values"
            yield who.asks(table.name, f"puts a row into {table.name}", row, state=DENIED)
        yield self._seen_by_owner(table)
        row = f"insert into {own} default values"
        yield self.owner.asks(table.name, f"may put {table.name}", row, state=_NOT_DENIED)

    # ---- views ----

    def _truth(self, connection: Connection) -> dict[tuple[str, str, str], str | None]:
        """What each view would be if the tables had only the rows that somebody sees."""
        found: dict[tuple[str, str, str], str | None] = {}
        for who in self.people if self.wanted.views else ():
            with connection.transaction(force_rollback=True):
                connection.execute("set local session_replication_role = replica")
                for table in self.schema.tables:
                    keys = list(self.visible(who, table.name))
                    remove = (
                        f"delete from {self._own(table.name)} t where {self._key(table)} <> all(%s)"
                    )
                    connection.execute(remove.encode(), [keys])
                for view in self.schema.views:
                    for column in _columns_of(connection, self._own(view.name)):
                        query = _digest(view, column, f"({view.query})")
                        [[digest]] = connection.execute(query.encode()).fetchall()
                        found[who.name, view.name, column] = None if digest is None else str(digest)
        return found

    def _of_view(
        self, view: View, truth: dict[tuple[str, str, str], str | None]
    ) -> Iterator[Question]:
        own = self._own(view.name)
        query = next(v for v in self.schema.views if v.name == view.name)
        for who in self.people:
            may = who.right("select", view.name) is not None and who.name != WRITER
            for name, of, column in truth:
                if (name, of) != (who.name, view.name):
                    continue
                yield who.asks(
                    of,
                    f"reads {of}.{column}",
                    "select",
                    state=None if may else DENIED,
                    then=_digest(query, column, own),
                    result=truth[name, of, column],
                )
            if may and who.role is not None:
                yield who.asks(
                    view.name,
                    f"hands on the right to select {view.name}",
                    f"grant select on {own} to {_HEIR}",
                    state=_ANY,
                    then=_handed_on("rel", f"'{own}'::regclass"),
                )

    # ---- functions ----

    def _of_function(self, function: Function) -> Iterator[Question]:
        own = self._own(function.name)
        call = f"select {own}({', '.join(self._arguments(function))})"
        for who in self.people:
            may = function.public_execute or who.acts_as in function.execute
            if may:
                state = _NOT_DENIED if function.returns == "trigger" else None
                yield who.asks(function.name, f"calls {function.name}", call, state=state)
            else:
                told = "for schema" if who.name == OUTSIDER else f"for function {function.name}"
                words = f"calls {function.name}"
                yield who.asks(function.name, words, call, state=DENIED, told=told)
            if may:
                signature = re.sub(" DEFAULT [^,]*", "", function.arguments)
                yield who.asks(
                    function.name,
                    f"hands on the right to call {function.name}",
                    f"grant execute on function {own}({signature}) to {_HEIR}",
                    state=_ANY,
                    then=_handed_on("pro", f"'{own}'::regproc"),
                )
            if function.name == ISSUE and may:
                for values in ("null, '1 h'", f"'{self._any_id()}', null"):
                    yield who.asks(
                        ISSUE, "issues no token", f"select {own}({values})", state="22023"
                    )
                for span in ("0", "-1 h", *self.endless):
                    call_ = f"select {own}('{self._any_id()}', '{span}')"
                    yield who.asks(ISSUE, "issues no dead token", call_, state="22023")

    def _arguments(self, function: Function) -> Iterator[str]:
        """Some value for each argument; instants rise."""
        for number, argument in enumerate(filter(None, function.arguments.split(","))):
            found = [value for type_, value in _SOME.items() if f" {type_}" in f" {argument}"]
            text = found[0] if found else "null"
            yield text.format(id=self._any_id(), day=number + 1)

    def _fired(self, function: Function) -> Iterator[Question]:
        """Statements that make triggers call a function."""
        sources = {rollup.source for rollup in self.schema.rollups}
        full = next((who for who in self.people if who.role and who.role.everything), None)
        for table in self.schema.tables:
            events = {
                event
                for owner in self.wanted.tables
                if owner.name == table.name or (table.name in sources and not owner.grants)
                for trigger in owner.triggers
                if trigger.function == function.name
                for event in trigger.events
            }
            own, row = self._own(table.name), self.spare[table.name, 0]
            first = self.first.get((table.name, 0), row)
            free = [c for c in _free_columns(table, None) if row[c] != first[c]] or list(row)
            value = f"{identifier(free[0])} = {_values(table, row, free[:1])}"
            listed = f"{own} {column_list(tuple(row))} values ({_values(table, row, row)})"
            for event, who, sql in (
                (Event.INSERT, full, f"insert into {listed}"),
                (Event.UPDATE, full, f"update {own} set {value}"),
                (Event.TRUNCATE, self.owner, f"truncate {own} cascade"),
            ):
                if event in events and who is not None:
                    yield who.asks(function.name, f"{event.value} on {table.name}", sql)

    def _any_id(self) -> str:
        return self._side(self.roots[0], 0)

    # ---- who a session speaks for ----

    def scope_questions(self, connection: Connection) -> Iterator[Question]:
        """Claims and tokens of every kind, each with what it opens."""
        everything = next((r for r in self.schema.roles if r.everything), None)
        for role in self.schema.roles:
            scope = role.scope
            probe = None if scope is None else self._probe(role, scope.root)
            if scope is None or probe is None:
                continue
            a, b = (self._side(scope.root, side) for side in _SIDES)
            door = _Who(f"{role.name} by the door", DOOR, role)
            own = _Who(f"{role.name} in a session of his own", role.name, role, itself=True)
            others = [o for o in self.scopes.values() if o.claim != scope.claim]
            for words, claims, sides in _claimed(scope, others, a, b):
                settings = {"request.jwt.claims": claims}
                yield self._opens(door, probe, f"with {words}", settings, sides)
                sides = [] if scope.token else sides
                yield self._opens(own, probe, f"with {words}", settings, sides)
            setting = f"{self.schema.name}.token"
            if not scope.token:
                continue
            for words, token, sides in self._tokens(a, b):
                yield self._opens(own, probe, f"with {words}", {setting: token}, sides)
            claim = {setting: self._signed(f"{a}.{_LATER}"), **_claim(scope, b)}
            yield self._opens(own, probe, "with a token and a claim", claim, [a])
            only = {setting: self._signed(f"{a}.{_LATER}")}
            yield self._opens(door, probe, "with a token only", only, [])
            if everything is not None:
                issued = self._issued(connection, everything, a)
                yield self._opens(own, probe, "with a token as issued", {setting: issued}, [a])
                brief = self._issued(connection, everything, a, "1 ms")
                yield self._opens(own, probe, "with a token that ended", {setting: brief}, [])

    def _probe(self, role: Role, root: str) -> Table | None:
        return next(
            (
                table
                for table in self.schema.tables
                if self.owners[root, table.name]
                and any((r.action, r.table) == ("select", table.name) for r in role.rights)
                and table.primary_key is not None
            ),
            None,
        )

    def _opens(
        self, who: _Who, table: Table, words: str, settings: dict[str, str], sides: list[str]
    ) -> Question:
        key = self._key(table)
        return who.asks(
            table.name,
            words,
            "select",
            then=f"select string_agg({key}, ' ' order by {key} collate \"C\")"
            f" from {self._own(table.name)} t",
            result=" ".join(sorted(self.visible(who, table.name, sides))) or None,
            settings=settings,
        )

    def _tokens(self, a: str, b: str) -> Iterator[tuple[str, str, list[str]]]:
        yield "a token", self._signed(f"{a}.{_LATER}"), [a]
        yield "a token of the other side", self._signed(f"{b}.{_LATER}"), [b]
        yield "an expired token", self._signed(f"{a}.1000000000"), []
        signed = self._signed(f"{a}.{_LATER}")
        yield "a token for the other side's rows", signed.replace(a, b), []
        yield "a token of another end", signed.replace(str(_LATER), str(_LATER + 1)), []
        yield "a token with a wrong signature", f"{a}.{_LATER}.{'0' * 64}", []
        yield "a token without a signature", f"{a}.{_LATER}", []
        yield "a token with more behind it", f"{signed}.more", []
        yield "a token of no id", self._signed(f"junk.{_LATER}"), []
        yield "a token of no end", self._signed(f"{a}.junk"), []
        yield "an empty token", "", []

    def _signing_sql(self) -> bytes:
        if self.wanted.table(KEYS) is None:
            return b"select where false"
        return f"select inner_a, inner_b, outer_a, outer_b from {self._own(KEYS)}".encode()

    def _signed(self, text: str) -> str:
        keys = [part.bytes for part in self.signing[0] if isinstance(part, UUID)]
        inner = sha256(keys[0] + keys[1] + text.encode()).digest()
        return f"{text}.{sha256(keys[2] + keys[3] + inner).hexdigest()}"

    def _issued(self, connection: Connection, role: Role, id_: str, span: str = "1 h") -> str:
        who = self._person(role.name, DOOR, role, {})
        call = f"select {self._own(ISSUE)}('{id_}', '{span}')"
        [(_, _, token)] = _asked(connection, [who.asks(ISSUE, "issues", "select", then=call)])
        return token or "none was issued"

    # ---- the schema ----

    def _of_schema(self) -> Iterator[Question]:
        name = identifier(self.schema.name)
        some = self._own(self.schema.tables[0].name)
        for who in self.people:
            state = DENIED if who.name == OUTSIDER else None
            yield who.asks(SCHEMA, "names a table", f"select '{some}'::regclass", state=state)
            make = f"create table {name}.mutant_probe ()"
            yield who.asks(SCHEMA, "makes a table", make, state=DENIED)
            yield who.asks(
                SCHEMA,
                "hands on the use of the schema",
                f"grant usage on schema {name} to {_HEIR}",
                state=_ANY,
                then=_handed_on("nsp", f"'{name}'::regnamespace"),
            )

    # ---- asking ----

    def holes(
        self, connection: Connection, subjects: Collection[str] | None = None
    ) -> Iterator[str]:
        """What is not as the roles say, in words. Lazy: whoever wants one stops at the first.

        ``subjects`` are names of tables, views and functions, or the schema; all by default.
        """
        names = list(self.questions) if subjects is None else list(subjects)
        functions = {f.name for f in self.wanted.functions}
        with connection.transaction(force_rollback=True):
            for role, name in self.stand_ins.items():
                make = f"create role {identifier(name)} in role {identifier(role)}"
                connection.execute(make.encode())
            for name in names:
                yield from _holes(connection, self.questions[name])
            if functions & set(names):
                found = list(self.scope_questions(connection))
                yield from _holes(connection, found)
                _set_traps(connection, [f for f in self.wanted.functions if f.name in names])
                yield from _holes(connection, [_trapped(question) for question in found])
                ours = [f for f in self.wanted.functions if f.name in names]
                calls = [q for f in ours for q in (*self.questions[f.name], *self._fired(f))]
                yield from _holes(connection, [_trapped(q) for q in calls if q.state != DENIED])


_SOME: Final = {
    "uuid": "'{id}'",
    "interval": "'1 h'",
    "timestamp": "'2001-02-0{day}'",
    "date": "'2001-02-03'",
    "text": "''",
}
"""A value for a type of arguments."""
_LATER: Final = 4102444800
_BATCH: Final = 60


def _holes(connection: Connection, questions: Sequence[Question]) -> Iterator[str]:
    for start in range(0, len(questions), _BATCH):
        some = questions[start : start + _BATCH]
        for question, answer in zip(some, _asked(connection, some), strict=True):
            hole = question.hole(*answer)
            if hole is not None:
                yield hole


def _trapped(question: Question) -> Question:
    path = f"{_TRAP}, pg_catalog"
    words = f"{question.words}, with functions of others on the path"
    return replace(question, words=words, settings={**question.settings, "search_path": path})


def _set_traps(connection: Connection, functions: Iterable[Function]) -> None:
    """Functions with the names of the server's own that ours call, which raise."""
    connection.execute(f"create schema {_TRAP}".encode())
    connection.execute(f"grant usage on schema {_TRAP} to public".encode())
    names = sorted(
        {
            name
            for function in functions
            for name in re.findall(r"\b(\w+)\(", getattr(function.body, "source", ""))
        }
    )
    connection.execute(
        f"""do $do$
declare
  f pg_catalog.record;
begin
  for f in
    select proname, pg_get_function_arguments(oid) as arguments,
      pg_get_function_result(oid) as result
    from pg_catalog.pg_proc
    where pronamespace = 'pg_catalog'::regnamespace and prokind = 'f' and provariadic = 0
      and proname = any({literal("{" + ",".join(names) + "}")}::text[])
  loop
    begin
      execute format('create or replace function {_TRAP}.%I(%s) returns %s language plpgsql as '
        '$trap$begin raise exception using errcode = ''{_SPRUNG}''; end$trap$',
        f.proname, f.arguments, f.result);
    exception when others then
      null; -- types that no such function can take
    end;
  end loop;
  for f in
    select o.oid, oprname, oprleft::regtype as a, oprright::regtype as b,
      oprresult::regtype as result
    from pg_catalog.pg_operator o
    where oprnamespace = 'pg_catalog'::regnamespace
      and oprname in ('=', '<', '<=', '>=', '+', '||')
      and array[oprleft, oprright]
        <@ '{{uuid,text,int4,int8,numeric,date,timestamptz}}'::regtype[]::oid[]
  loop
    execute format('create or replace function {_TRAP}.op_%s(%s, %s) returns %s'
      ' language plpgsql as $trap$begin raise exception using errcode = ''{_SPRUNG}''; end$trap$',
      f.oid, f.a, f.b, f.result);
    execute format('create operator {_TRAP}.%s'
      ' (leftarg = %s, rightarg = %s, function = {_TRAP}.op_%s)',
      f.oprname, f.a, f.b, f.oid);
  end loop;
end
$do$""".encode()
    )


def _asked(
    connection: Connection, questions: Sequence[Question]
) -> list[tuple[str | None, int, str | None]]:
    connection.execute(_ATTEMPT)
    columns: list[list[Any]] = [
        [q.session for q in questions],
        [q.role for q in questions],
        [q.replica for q in questions],
        [json.dumps(q.settings) for q in questions],
        [q.sql for q in questions],
        [q.then for q in questions],
    ]
    query = (
        b"select a.state, a.hits, a.result"
        b" from unnest(%s::text[], %s::text[], %s::bool[], %s::text[], %s::text[], %s::text[])"
        b" with ordinality q (who, role, replica, settings, sql, after, n),"
        b" lateral pg_temp.attempt(who, role, replica, settings, sql, after) a order by n"
    )
    return [
        (None if s is None else str(s), int(str(h)), None if r is None else str(r))
        for s, h, r in connection.execute(query, columns).fetchall()
    ]


_ATTEMPT: Final = b"""
create or replace function pg_temp.attempt(
  who text, acting text, replica boolean, settings text, sql text, after text,
  out state text, out hits bigint, out result text
) language plpgsql as $$
declare
  entry record;
  told text;
begin
  begin
    if replica then
      perform pg_catalog.set_config('session_replication_role', 'replica', true);
    end if;
    for entry in select * from json_each_text(settings::json) loop
      perform pg_catalog.set_config(entry.key, entry.value, true);
    end loop;
    perform pg_catalog.set_config('lc_messages', 'C', true);
    perform pg_catalog.set_config('session_authorization', who, true);
    perform pg_catalog.set_config('role', acting, true);
    execute sql;
    get diagnostics hits = row_count;
    set constraints all immediate;
    if after is not null then
      execute after into result;
    end if;
    raise exception using errcode = 'CS001', message = hits,
      detail = coalesce('=' operator(pg_catalog.||) result, '-');
  exception when others then
    get stacked diagnostics
      state = returned_sqlstate, told = message_text, result = pg_exception_detail;
    if state = 'CS001' then
      state := null;
      hits := told::bigint;
      result := case when result = '-' then null else substr(result, 2) end;
    else
      hits := 0;
      result := told;
    end if;
  end;
end
$$"""


# ---- rows of two sides ------------------------------------------------------------------------

_Rows = dict[tuple[str, int | None], Row]


def _rows(schema: Schema) -> tuple[list[tuple[str, Row]], _Rows, _Rows]:
    """Rows to insert, the first of each table and side, and one more of each that would fit.

    Rows of a rollup come from its source. Where a row may belong to nobody, one does.
    """
    world = World(Plan(schema), RandomChoices("access"))
    kept = {rollup.name for rollup in schema.rollups if rollup.kept}
    order = creation_order(schema)[0]
    first: _Rows = {}
    for table in order:
        for side in _SIDES if table.name not in kept else ():
            row = world.row(table.name, _tied(table, side, first), full=True)
            first[table.name, side] = world.add(table.name, row)
        if table.name not in kept and _loose(schema, table):
            world.add(table.name, world.row(table.name, dict.fromkeys(_loose(schema, table))))
    spare: _Rows = {}
    for table in order:
        for side in _SIDES:
            spare[table.name, side] = world.row(table.name, _tied(table, side, first), full=True)
        if _loose(schema, table):
            spare[table.name, None] = world.row(table.name, dict.fromkeys(_loose(schema, table)))
    return world.rows, first, spare


def _tied(table: Table, side: int, first: _Rows) -> dict[str, Any]:
    """Every link that leads to a row of the same side."""
    fixed: dict[str, Any] = {}
    for key in table.foreign_keys:
        parent = first.get((key.table, side), {})
        for own, theirs in zip(key.columns, key.referenced, strict=True):
            if parent.get(theirs) is not None:
                fixed.setdefault(own, parent[theirs])
    return fixed


def _handed_on(prefix: str, oid: str) -> str:
    """A query for the rights to an object, if the heir is among those who have one."""
    catalog = {"rel": "pg_class", "pro": "pg_proc", "nsp": "pg_namespace"}[prefix]
    acl = f"{prefix}acl::text"
    return f"select {acl} from {catalog} where oid = {oid} and {acl} ~ '{_HEIR}='"


def _trigger_sql(table: str) -> str:
    return (
        f"create trigger mutant_probe before update on {table} for each row"
        " execute function pg_catalog.suppress_redundant_updates_trigger()"
    )


def _loose(schema: Schema, table: Table) -> set[str]:
    """Columns by which a row belongs to nobody, where they are NULL."""
    ways = [way_to(schema, table, r.scope.root) for r in schema.roles if r.scope is not None]
    firsts = {way[0].columns[0] for way in ways if way}
    return {c.name for c in table.columns if c.nullable and c.name in firsts}


def _values(table: Table, row: Row, names: Iterable[str]) -> str:
    types = {column.name: column.type for column in table.columns}
    texts = [text_of(types[name], row[name]) for name in names]
    return ", ".join("null" if text is None else literal(text) for text in texts)


def _free_columns(table: Table, right: Right | None) -> list[str]:
    """Columns that may have the same value in all rows."""
    taken = {c for key in table.foreign_keys for c in key.columns}
    taken |= {c for _, columns, _, _ in unique_keys(table) for c in columns}
    taken |= {c for *_, predicate in unique_keys(table) for c in predicate_columns(predicate)}
    for check in table.checks:
        if isinstance(check.rule, Ordered):
            taken |= {check.rule.lower, check.rule.upper}
    hidden = () if right is None else right.without
    return [c.name for c in table.columns if c.name not in {*taken, *hidden}]


# ---- claims and views -------------------------------------------------------------------------


def _claim(scope: RowScope, value: object) -> dict[str, str]:
    found = value
    for step in reversed(scope.claim):
        found = {step: found}
    return {"request.jwt.claims": json.dumps(found)}


def _claimed(
    scope: RowScope, others: list[RowScope], a: str, b: str
) -> Iterator[tuple[str, str, list[str]]]:
    for words, value, sides in (
        ("a claim", a, [a]),
        ("a claim of the other side", b, [b]),
        ("a list of claims", [a, b], [a, b]),
        ("a list with null", [None, a], [a]),
        ("an empty list", [], []),
        ("a claim of null", None, []),
        ("a claim of junk", "junk", []),
        ("a claim of an object", {"id": a}, []),
        ("a claim of another id", "00000000-0000-0000-0000-000000000000", []),
    ):
        yield words, _claim(scope, value)["request.jwt.claims"], sides
    for other in others:
        yield "the claim of another role", _claim(other, a)["request.jwt.claims"], []
    yield "no claims", "", []
    yield "claims that are no JSON", "junk", []


def _columns_of(connection: Connection, view: str) -> list[str]:
    query = (
        b"select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
        b" order by attnum"
    )
    return [str(name) for (name,) in connection.execute(query, [view]).fetchall()]


def _digest(view: View, column: str, source: str) -> str:
    """A query for what a column of a view holds; of one that reads the clock, how many rows."""
    own = f"v.{identifier(column)}::text"
    if re.search(r"\b(now|clock_timestamp|current_\w+|localtime\w*)\b", view.query):
        return f"select count({own} is null)::text from {source} v"
    all_ = f"string_agg(coalesce({own}, '-'), ' ' order by {own} collate \"C\")"
    return f"select md5({all_}) from {source} v"
