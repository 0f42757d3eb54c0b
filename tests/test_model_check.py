"""For each semantic rule a model that breaks just it, and the nearest model that does not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from codered_spec.codes import CODES
from codered_spec.model.check import check, column_values, errors
from codered_spec.model.schema import (
    ACTIONS,
    Action,
    Check,
    Column,
    Event,
    Extension,
    Finite,
    Flat,
    ForeignKey,
    Function,
    Index,
    IndexKey,
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
    OpaqueBody,
    OpaqueDefault,
    OpaqueRule,
    Ordered,
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
    Trait,
    Trigger,
    Unique,
    ValueSet,
    View,
    Window,
)
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

ID = Column("id", Uuid())
EXTENSIONS = (Extension("vector", "extensions"),)
FUNCTIONS = (Function("touch", SetUpdatedAt("at")), Function("audit", OpaqueBody("x")))


def table(*columns: Column, name: str = "t", **parts: Any) -> Table:
    """A table with a key ``id`` and these columns."""
    parts.setdefault("primary_key", PrimaryKey(f"{name}_pkey", ("id",)))
    return Table(name, (ID, *columns), **parts)


def schema(*tables: Table, **parts: Any) -> Schema:
    """A schema with an extension for vectors and two functions."""
    parts = {"extensions": EXTENSIONS, "functions": FUNCTIONS, **parts}
    return Schema(parts.pop("name", "s"), tables, **parts)


def column(type_: PgType, **parts: Any) -> Schema:
    return schema(table(Column("c", type_, **parts)))


def rule(type_: PgType, rule: Rule, **parts: Any) -> Schema:
    return schema(table(Column("c", type_, **parts), checks=(Check("k", rule),)))


def index(type_: PgType, *, bounded: bool = True, bytes_: int = 2600, **parts: Any) -> Schema:
    limit = (Check("k", MaxBytes("c", bytes_)),) if bounded and "text" in str(type_) else ()
    parts.setdefault("keys", (IndexKey("c", parts.pop("opclass", None)),))
    own = table(Column("c", type_), checks=limit, indexes=(Index("i", **parts),))
    return schema(own)


def reference(type_: PgType = Uuid(), nullable: bool = True, **parts: Any) -> Schema:  # noqa: B008
    """A table ``t`` whose column ``p_id`` points to ``p``, with an index."""
    parts = {"columns": ("p_id",), "table": "p", "referenced": ("id",), **parts}
    own = table(
        Column("p_id", type_, nullable),
        foreign_keys=(ForeignKey("fk", **parts),),
        indexes=(Index("i", (IndexKey("p_id"),)),),
    )
    return schema(table(Column("c", Uuid()), name="p"), own)


def trigger(**parts: Any) -> Schema:
    when = {"timing": Timing.BEFORE, "events": (Event.UPDATE,)}
    parts = {"name": "g", "function": "touch", **when, **parts}
    return schema(table(Column("at", Timestamptz()), triggers=(Trigger(**parts),)))


def two(**facts: Any) -> Schema:
    """Tables ``a`` and ``b`` that point to each other."""

    def one(name: str, other: str, **parts: Any) -> Table:
        return table(
            Column("x", Uuid(), **parts),
            name=name,
            foreign_keys=(ForeignKey(f"{name}_fk", ("x",), other, ("id",)),),
            indexes=(Index(f"{name}_i", (IndexKey("x"),)),),
        )

    return schema(one("a", "b"), one("b", "a", **facts))


def shared(*values: str, columns: tuple[str, ...] = ("t.c", "t.d")) -> Schema:
    own = table(
        Column("c", Text(), known=("a", "b")),
        Column("d", Text()),
        checks=(Check("k", OneOf("d", values)),),
    )
    return schema(own, value_sets=(ValueSet("v", columns),))


def rolled(
    *rollups: Rollup,
    source: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    name: str = "e",
    **parts: Any,
) -> Schema:
    """A table of events and one of their sums per day and kind, with changed facts of both.

    ``source`` and ``target`` give columns other facts or, for None, leave them out; a word of
    :class:`Table` replaces that part of the table.
    """
    events = {
        "id": Column("id", Uuid()),
        "at": Column("at", Timestamptz()),
        "kind": Column("kind", Uuid()),
        "cost": Column("cost", Numeric(10, 2)),
        "tries": Column("tries", Integer(), nullable=True),
    }
    sums = {
        "day": Column("day", Date()),
        "kind": Column("kind", Uuid()),
        "since": Column("since", Timestamptz(), default=Now()),
        "until": Column("until", Timestamptz(), default=Now()),
        "cost": Column("cost", Numeric(12, 2), default=Literal("0")),
        "tries": Column("tries", BigInt(), default=Literal("0")),
        "rows": Column("rows", Integer(), default=Literal("0")),
    }

    def built(plain: Table, columns: dict[str, Column], facts: dict[str, Any]) -> Table:
        words = {k: v for k, v in facts.items() if k not in columns and k != "more"}
        own = {k: replace(v, **facts.get(k, {})) for k, v in columns.items()}
        return replace(plain, columns=(*own.values(), *facts.get("more", ())), **words)

    own = Table(
        name,
        (),
        PrimaryKey(f"{name}_pkey", ("id",)),
        checks=(
            Check("e_at", Finite("at")),
            Check("e_cost", Range("cost", Decimal(0))),
            Check("e_tries", Range("tries", Decimal(0))),
        ),
    )
    result = Table("r", (), PrimaryKey("r_pkey", ("day", "kind")))
    return schema(
        built(own, events, source or {}),
        built(result, sums, target or {}),
        rollups=rollups or (daily(source=name),),
        **parts,
    )


DAYS = (RollupKey("day", "at", day=True), RollupKey("kind", "kind"))
KINDS = (RollupKey("kind", "kind"),)
SUMS = (Measure("cost", "cost"), Measure("tries", "tries"), Measure("rows"))


def daily(**facts: Any) -> Rollup:
    """The sums of ``e`` per day and kind."""
    return Rollup(**{"name": "r", "source": "e", "keys": DAYS, "measures": SUMS, **facts})


def windowed(grid: int | None = 15, instant: str = "at", **facts: Any) -> Schema:
    """The sums of ``e`` per window of time and kind."""
    target = {
        "day": {"nullable": True},
        "primary_key": PrimaryKey("r_pkey", ("kind", "since", "until")),
        **facts.pop("target", {}),
    }
    window = Window(instant, "since", "until", grid)
    return rolled(daily(keys=KINDS, window=window, name="r"), target=target, **facts)


def walled(*roles: Role, link: bool = False, **parts: Any) -> Schema:
    """Projects, their tasks, and the steps of tasks (perhaps of none), with roles."""
    project = table(name="p")
    task = table(
        Column("p_id", Uuid()),
        Column("title", Text()),
        name="t",
        foreign_keys=(ForeignKey("t_p", ("p_id",), "p", ("id",)),),
        indexes=(Index("t_p_idx", (IndexKey("p_id"),)),),
    )
    step = table(
        Column("t_id", Uuid(), link),
        name="s",
        foreign_keys=(ForeignKey("s_t", ("t_id",), "t", ("id",)),),
        indexes=(Index("s_t_idx", (IndexKey("t_id"),)),),
    )
    more = parts.pop("more", ())
    return schema(project, task, step, *more, views=(VIEW,), roles=roles, **parts)


VIEW = View("v", "select 1 as one")


def agent(*rights: Right, root: str = "p", name: str = "a", **facts: Any) -> Role:
    """A role that sees the rows of its project."""
    return Role(name, RowScope(root, ("p",)), rights or (Right("select", "t"),), **facts)


EVERY = (
    Right("select", "v"),
    *(Right(action, name) for action in ACTIONS for name in ("p", "t", "s")),
)
READ_T, READ_S = Right("select", "t"), Right("select", "s")
ROLE_CASES: list[tuple[str, str, Schema, Schema]] = [
    ("M004", "a", walled(agent(), agent()), walled(agent(), agent(name="b"))),
    ("M005", "public", walled(agent(name="public")), walled(agent(name="publi"))),
    ("M005", "pg_a", walled(agent(name="pg_a")), walled(agent(name="p_a"))),
    ("M005", "x" * 57, walled(agent(name="x" * 57)), walled(agent(name="x" * 56))),
    ("M001", "a", walled(agent(root="q")), walled(agent())),
    ("M001", "a", walled(agent(Right("select", "u"))), walled(agent(READ_T))),
    ("M001", "a", walled(agent(Right("insert", "v"))), walled(agent(Right("select", "v")))),
    (
        "M001",
        "a",
        walled(agent(Right("select", "t", ("x",)))),
        walled(agent(Right("select", "t", ("title",)))),
    ),
    (
        "M032",
        "a",
        walled(
            agent(root="n"),
            more=(Table("n", (Column("id", Integer()),), PrimaryKey("n_pkey", ("id",))),),
        ),
        walled(agent(root="n"), more=(table(name="n"),)),
    ),
    ("M033", "a", walled(Role("a")), walled(Role("a", everything=True))),
    ("M033", "a", walled(Role("a", rights=(READ_T,), everything=True)), walled(agent())),
    ("M033", "a", walled(agent(everything=True)), walled(agent())),
    (
        "M033",
        "a",
        walled(Role("a", rights=EVERY)),
        walled(Role("a", rights=EVERY[1:])),
    ),
    (
        "M032",
        "a",
        walled(agent(Right("select", "s"), Right("select", "t")), link=True),
        walled(agent(Right("select", "s"), Right("select", "t"))),
    ),
    (
        "M034",
        "a",
        walled(agent(Right("select", "t", ("id", "p_id", "title")))),
        walled(agent(Right("select", "t", ("id", "title")))),
    ),
    (
        "M034",
        "a",
        walled(agent(Right("update", "t"))),
        walled(agent(Right("update", "t"), READ_T)),
    ),
    (
        "M034",
        "a",
        walled(agent(Right("delete", "t"))),
        walled(agent(Right("delete", "t"), READ_T)),
    ),
    (
        "M034",
        "a",
        walled(agent(Right("insert", "t", ("title",)))),
        walled(agent(Right("insert", "t"))),
    ),
    ("M034", "a", walled(agent(READ_S)), walled(agent(READ_S, READ_T))),
    (
        "M034",
        "a",
        walled(agent(READ_S, Right("select", "t", ("p_id",)))),
        walled(agent(READ_S, Right("select", "t", ("title",)))),
    ),
    (
        "M004",
        "a_scope",
        walled(agent(), functions=(Function("a_scope", OpaqueBody("x")),)),
        walled(agent(), functions=(Function("b_scope", OpaqueBody("x")),)),
    ),
    (
        "M004",
        "access_keys",
        walled(
            Role("a", RowScope("p", ("p",), token=True), (READ_T,)),
            more=(table(name="access_keys", primary_key=PrimaryKey("x", ("id",))),),
        ),
        walled(agent(), more=(table(name="access_keys", primary_key=PrimaryKey("x", ("id",))),)),
    ),
]


E_CHECKS = rolled().tables[0].checks


def with_checks(**other: Check | None) -> dict[str, Any]:
    """The checks of ``e`` with others in the place of some."""
    return {"checks": tuple(c for old in E_CHECKS if (c := other.get(old.name, old)) is not None)}


def after(*events: Event, **parts: Any) -> Schema:
    """A trigger with parts that no spec has words for."""
    return trigger(**{"timing": Timing.AFTER, "function": "audit", "events": events, **parts})


def by(column: str) -> Schema:
    """A rollup with a key more, by a date of that name."""
    return rolled(
        daily(keys=(*DAYS, RollupKey("more", column))),
        source={"more": (Column(column, Date()),)},
        target={
            "more": (Column("more", Date()),),
            "primary_key": PrimaryKey("r_pkey", ("day", "kind", "more")),
        },
    )


def summing(column: str) -> Schema:
    """A rollup that sums a column of that name."""
    check = Check("k", Range(column, Decimal(0)))
    return rolled(
        daily(measures=(Measure("tries", column),)),
        source={"more": (Column(column, Integer()),), "checks": (*E_CHECKS, check)},
    )


def keyed(name: str, **facts: Any) -> Schema:
    """A rollup with a key column of that name."""
    return rolled(
        daily(keys=(*DAYS, RollupKey(name, "id")), **facts),
        target={
            "more": (Column(name, Uuid()),),
            "primary_key": PrimaryKey("r_pkey", ("day", "kind", name)),
        },
    )


def scoped(name: str) -> Schema:
    """A rollup of windows whose first key has that name."""
    window = Window("at", "since", "until")
    return rolled(
        daily(keys=(RollupKey(name, "kind"),), window=window),
        target={
            "more": (Column(name, Uuid()),),
            "day": {"nullable": True},
            "kind": {"nullable": True},
            "primary_key": PrimaryKey("r_pkey", (name, "since", "until")),
        },
    )


def noted(name: str) -> Trigger:
    return Trigger(name, "audit", Timing.AFTER, (Event.INSERT,))


PAIR = schema(
    table(Column("c", Date()), Column("x", Date()), checks=(Check("k", Ordered("c", "x")),))
)
COSINE = "vector_cosine_ops"
HNSW: dict[str, Any] = {"method": Method.HNSW, "opclass": COSINE}

# code, subject, what breaks the rule, its neighbour that does not
CASES: list[tuple[str, str, Schema, Schema]] = [
    ("M001", "t.k", rule(Text(), MaxBytes("x", 1)), rule(Text(), MaxBytes("c", 1))),
    ("M001", "t.k", rule(Date(), Ordered("c", "x")), PAIR),
    ("M001", "t.fk", reference(columns=("x",)), reference()),
    ("M001", "t.fk", reference(table="x"), reference()),
    ("M001", "t.fk", reference(referenced=("x",)), reference()),
    ("M001", "t.i", index(Date(), keys=(IndexKey("x"),)), index(Date())),
    ("M001", "t.i", index(Date(), predicate=IsNull("x")), index(Date(), predicate=IsNull("c"))),
    (
        "M001",
        "t.t_pkey",
        schema(table(primary_key=PrimaryKey("t_pkey", ("x",)))),
        schema(table()),
    ),
    ("M001", "v", shared("a", "b", columns=("t.c", "t.x")), shared("a", "b")),
    ("M001", "v", shared("a", "b", columns=("t.c", "c")), shared("a", "b")),
    ("M002", "t.fk", reference(BigInt()), reference(Uuid())),
    ("M003", "t.fk", reference(referenced=("c",)), reference(referenced=("id",))),
    ("M004", "t.c", schema(table(Column("c", Date()), Column("c", Date()))), column(Date())),
    ("M004", "t", schema(table(), table(primary_key=PrimaryKey("k", ("id",)))), schema(table())),
    ("M004", "t.t", schema(table(primary_key=PrimaryKey("t", ("id",)))), schema(table())),
    ("M004", "touch", schema(functions=FUNCTIONS + FUNCTIONS[:1]), schema()),
    ("M004", "vector", schema(extensions=EXTENSIONS * 2), schema()),
    (
        "M004",
        "v",
        schema(value_sets=(ValueSet("v", ()),) * 2),
        schema(value_sets=(ValueSet("v", ()),)),
    ),
    ("M004", "t.u", schema(table(uniques=(Unique("u", ()),))), schema(table(uniques=()))),
    (
        "M004",
        "t.i",
        index(Date(), keys=(IndexKey("c"), IndexKey("c"))),
        index(Date(), keys=(IndexKey("c"), IndexKey("id"))),
    ),
    (
        "M004",
        "t.t_c_not_null",
        schema(table(Column("c", Date()), uniques=(Unique("t_c_not_null", ("c",)),))),
        schema(table(Column("c", Date(), True), uniques=(Unique("t_c_not_null", ("c",)),))),
    ),
    ("M005", "", schema(name=""), schema(name="s")),
    ("M005", "", schema(name="pg_s"), schema(name="pgs")),
    ("M005", "", schema(name="information_schema"), schema(name="information")),
    ("M005", "vector", schema(extensions=(Extension("vector", "pg_x"),)), schema()),
    (
        "M005",
        "t." + "é" * 32,
        schema(table(Column("é" * 32, Date()))),
        schema(table(Column("é" * 31, Date()))),
    ),
    ("M005", "t.a\0", schema(table(Column("a\0", Date()))), schema(table(Column("a", Date())))),
    (
        "M005",
        "t.xmin",
        schema(table(Column("xmin", Date()))),
        schema(table(Column("Xmin", Date()))),
    ),
    ("M006", "t.k", rule(Text(), OneOf("c", ())), rule(Text(), OneOf("c", ("",)))),
    ("M006", "t.k", rule(Text(), OneOf("c", ("a", "a"))), rule(Text(), OneOf("c", ("a", "A")))),
    ("M006", "t.k", rule(Text(), OneOf("c", ("\0",))), rule(Text(), OneOf("c", ("0",)))),
    ("M006", "t.k", rule(Varchar(1), OneOf("c", ("ab",))), rule(Varchar(2), OneOf("c", ("ab",)))),
    ("M006", "t.k", rule(Date(), OneOf("c", ("a",))), rule(Text(), OneOf("c", ("a",)))),
    ("M006", "t.c", column(Date(), known=("a",)), column(Array(Text()), known=("a",))),
    ("M007", "t.i", index(Vector(), **HNSW), index(Vector(1), **HNSW)),
    ("M007", "t.i", index(Vector(2001), **HNSW), index(Vector(2000), **HNSW)),
    ("M008", "a", two(), two(nullable=True)),
    ("M009", "t.i", index(Text(), method=Method.GIN), index(Array(Text()), method=Method.GIN)),
    ("M009", "t.i", index(Vector(3)), index(Array(Date()))),
    ("M009", "t.i", index(Date(), method=Method.GIST), index(Date(), method=Method.BRIN)),
    ("M009", "t.i", index(Boolean(), method=Method.BRIN), index(Boolean())),
    ("M009", "t.i", index(Date(), unique=True, method=Method.HASH), index(Date(), unique=True)),
    (
        "M009",
        "t.i",
        index(Date(), nulls_distinct=False),
        index(Date(), unique=True, nulls_distinct=False),
    ),
    (
        "M009",
        "t.i",
        index(Date(), opclass="text_pattern_ops"),
        index(Text(), opclass="text_pattern_ops"),
    ),
    ("M009", "t.i", index(Vector(3), method=Method.HNSW), index(Vector(3), **HNSW)),
    ("M009", "t.i", index(Date(), predicate=IsTrue("c")), index(Boolean(), predicate=IsTrue("c"))),
    (
        "M009",
        "t.i",
        index(Date(), parameters=(("m", "16"),)),
        index(Vector(3), parameters=(("m", "16"),), **HNSW),
    ),
    (
        "M009",
        "t.i",
        index(Vector(3), parameters=(("m", "33"),), **HNSW),
        index(Vector(3), parameters=(("m", "32"),), **HNSW),
    ),
    (
        "M009",
        "t.i",
        index(Date(), parameters=(("fillfactor", "9"),)),
        index(Date(), parameters=(("fillfactor", "10"),)),
    ),
    (
        "M009",
        "t.i",
        index(Date(), parameters=(("fillfactor", "٩٠"),)),
        index(Date(), parameters=(("fillfactor", "90"),)),
    ),
    (
        "M009",
        "t.i",
        index(Date(), parameters=(("fillfactor", "90"),) * 2),
        index(Date(), parameters=(("fillfactor", "90"),)),
    ),
    (
        "M009",
        "t.i",
        index(Jsonb(), method=Method.GIN, keys=(IndexKey("c", None, True, True),)),
        index(Jsonb(), keys=(IndexKey("c", None, True, True),)),
    ),
    ("M010", "t.c", column(Date(), default=Now()), column(Timestamptz(), default=Now())),
    ("M010", "t.c", column(Text(), default=RandomUuid()), column(Uuid(), default=RandomUuid())),
    ("M010", "t.c", column(Integer(), default=Literal("a")), column(Text(), default=Literal("a"))),
    (
        "M010",
        "t.c",
        rule(Text(), OneOf("c", ("a",)), default=Literal("b")),
        rule(Text(), OneOf("c", ("a",)), default=Literal("a")),
    ),
    (
        "M011",
        "t.k",
        rule(Text(), SubsetOf("c", ("a",))),
        rule(Array(Text()), SubsetOf("c", ("a",))),
    ),
    ("M011", "t.k", rule(Date(), Matches("c", "^a$")), rule(Text(), Matches("c", "^a$"))),
    ("M011", "t.k", rule(Text(), Range("c", Decimal(0))), rule(Numeric(), Range("c", Decimal(0)))),
    ("M011", "t.k", rule(Integer(), Range("c")), rule(Integer(), Range("c", None, Decimal(0)))),
    (
        "M011",
        "t.k",
        rule(Integer(), Range("c", Decimal(2), Decimal(1))),
        rule(Integer(), Range("c", Decimal(1), Decimal(1))),
    ),
    (
        "M011",
        "t.k",
        rule(Integer(), Range("c", Decimal("0.5"))),
        rule(DoublePrecision(), Range("c", Decimal("0.5"))),
    ),
    (
        "M011",
        "t.k",
        rule(Integer(), Range("c", Decimal(2**31))),
        rule(BigInt(), Range("c", Decimal(2**31))),
    ),
    ("M011", "t.k", rule(Integer(), Finite("c")), rule(Numeric(), Finite("c"))),
    ("M011", "t.k", rule(Text(), Flat("c")), rule(Array(Text()), Flat("c"))),
    ("M011", "t.k", rule(Uuid(), MaxBytes("c", 1)), rule(Array(Text()), MaxBytes("c", 1))),
    ("M011", "t.k", rule(Text(), MaxBytes("c", 0)), rule(Text(), MaxBytes("c", 1))),
    ("M011", "t.k", rule(Array(Vector(3)), NonZero("c")), rule(Vector(3), NonZero("c"))),
    (
        "M012",
        "t.fk",
        reference(nullable=False, on_delete=Action.SET_NULL),
        reference(on_delete=Action.SET_NULL),
    ),
    (
        "M012",
        "t.fk",
        reference(nullable=False, on_update=Action.SET_NULL),
        reference(nullable=False, on_update=Action.CASCADE),
    ),
    (
        "M012",
        "t.fk",
        reference(on_delete_columns=("p_id",)),
        reference(on_delete=Action.SET_NULL, on_delete_columns=("p_id",)),
    ),
    (
        "M012",
        "t.fk",
        reference(on_delete=Action.SET_NULL, on_delete_columns=("id",)),
        reference(on_delete=Action.SET_NULL),
    ),
    ("M013", "t.c", column(Varchar(0)), column(Varchar(1))),
    ("M013", "t.c", column(Array(Varchar(10_485_761))), column(Array(Varchar(10_485_760)))),
    ("M013", "t.c", column(Numeric(1001, 0)), column(Numeric(1000, 0))),
    ("M013", "t.c", column(Numeric(2, 3)), column(Numeric(3, 3))),
    ("M013", "t.c", column(Vector(16_001)), column(Vector(16_000))),
    ("M014", "t", schema(table(primary_key=None)), schema(table())),
    ("M014", "t", schema(Table("t", ())), schema(table())),
    ("M015", "t.c", index(Text(), bounded=False), index(Text())),
    (
        "M015",
        "t.c",
        index(Text(), bounded=False, method=Method.BRIN),
        index(Text(), method=Method.BRIN),
    ),
    (
        "M024",
        "t",
        schema(table(*(Column(f"c{n}", Text()) for n in range(1600)))),
        schema(table(*(Column(f"c{n}", Text()) for n in range(1599)))),
    ),
    ("M015", "t.c", index(Varchar(651)), index(Varchar(650))),
    ("M015", "t.c", index(Text(), bytes_=2601), index(Text())),
    (
        "M015",
        "t.c",
        index(Array(Text()), bounded=False, method=Method.GIN),
        index(Text(), bounded=False, method=Method.HASH),
    ),
    ("M016", "t.k", rule(Text(), Matches("c", r"^\d$")), rule(Text(), Matches("c", "^[0-9]$"))),
    ("M017", "t.c", column(Date(), comment="\0"), column(Date(), comment="0")),
    ("M017", "", schema(comment=""), schema(comment=None)),
    ("M017", "t", schema(table(comment="\ud800")), schema(table(comment="\ue000"))),
    ("M019", "v", shared("a", "c"), shared("a", "b")),
    ("M019", "v", shared("b", "a"), shared("a", "b")),
    ("M020", "t.g", trigger(function="x"), trigger()),
    ("M020", "t.g", trigger(timing=Timing.AFTER), trigger(timing=Timing.AFTER, function="audit")),
    ("M020", "t.g", trigger(each_row=False), trigger(each_row=False, function="audit")),
    (
        "M020",
        "t.g",
        trigger(events=(Event.DELETE,)),
        trigger(events=(Event.DELETE,), function="audit"),
    ),
    ("M020", "t.g", trigger(events=()), trigger(events=(Event.INSERT, Event.UPDATE))),
    ("M020", "t.g", trigger(events=(Event.UPDATE,) * 2), trigger()),
    ("M020", "t.g", trigger(columns=("x",)), trigger(columns=("id",))),
    ("M020", "t.g", trigger(columns=("id", "id")), trigger(columns=("id", "at"))),
    (
        "M020",
        "t.g",
        trigger(columns=("id",), events=(Event.INSERT,)),
        trigger(events=(Event.INSERT,)),
    ),
    ("M020", "t.g", trigger(when=RowChanged(), events=(Event.INSERT,)), trigger(when=RowChanged())),
    (
        "M020",
        "t.g",
        trigger(function="audit", events=(Event.TRUNCATE,)),
        trigger(function="audit", events=(Event.TRUNCATE,), each_row=False),
    ),
    ("M020", "t.g", trigger(function="audit", timing=Timing.INSTEAD_OF), trigger(function="audit")),
    (
        "M022",
        "t.c",
        schema(table(Column("c", Date(), True), primary_key=PrimaryKey("k", ("id", "c")))),
        schema(table(Column("c", Date()), primary_key=PrimaryKey("k", ("id", "c")))),
    ),
    ("M023", "t.c", replace(column(Vector(3)), extensions=()), column(Vector(3))),
    (
        "M023",
        "t.c",
        replace(column(Array(Vector(3))), extensions=()),
        replace(column(Date()), extensions=()),
    ),
    ("M020", "t.g", after(Event.UPDATE, deferred=True, timing=Timing.BEFORE), after(Event.UPDATE)),
    (
        "M004",
        "t.t_pkey",
        after(Event.UPDATE, name="t_pkey", deferred=True),
        after(Event.UPDATE, name="t_pkey"),
    ),
    (
        "M004",
        "t.t_id_not_null",
        after(Event.UPDATE, name="t_id_not_null", deferred=True),
        after(Event.UPDATE, name="t_id_not_null"),
    ),
    (
        "M020",
        "t.g",
        after(Event.UPDATE, deferred=True, each_row=False),
        after(Event.UPDATE, deferred=True),
    ),
    (
        "M020",
        "t.g",
        after(Event.UPDATE, deferred=True, new_rows="n"),
        after(Event.UPDATE, new_rows="n"),
    ),
    (
        "M020",
        "t.g",
        after(Event.UPDATE, timing=Timing.BEFORE, new_rows="n"),
        after(Event.UPDATE, old_rows="o", new_rows="n"),
    ),
    (
        "M020",
        "t.g",
        after(Event.INSERT, Event.UPDATE, new_rows="n"),
        after(Event.INSERT, new_rows="n"),
    ),
    (
        "M020",
        "t.g",
        after(Event.UPDATE, columns=("id",), new_rows="n"),
        after(Event.UPDATE, columns=("id",)),
    ),
    ("M020", "t.g", after(Event.INSERT, old_rows="o"), after(Event.DELETE, old_rows="o")),
    ("M020", "t.g", after(Event.DELETE, new_rows="n"), after(Event.UPDATE, new_rows="n")),
    (
        "M020",
        "t.g",
        after(Event.TRUNCATE, each_row=False, old_rows="o"),
        after(Event.TRUNCATE, each_row=False),
    ),
    (
        "M020",
        "t.g",
        after(Event.UPDATE, old_rows="x", new_rows="x"),
        after(Event.UPDATE, old_rows="x", new_rows="y"),
    ),
    ("M005", "t.g", after(Event.UPDATE, new_rows=""), after(Event.UPDATE, new_rows=" ")),
    # rollups
    ("M001", "r", rolled(daily(source="x")), rolled()),
    ("M001", "x", rolled(daily(name="x")), rolled()),
    ("M001", "r", rolled(daily(keys=(*KINDS, RollupKey("x", "at", day=True)))), rolled()),
    ("M001", "r", rolled(daily(keys=(*KINDS, RollupKey("day", "x", day=True)))), rolled()),
    ("M001", "r", rolled(daily(measures=(Measure("x"),))), rolled(daily(measures=SUMS[2:]))),
    ("M001", "r", rolled(daily(measures=(Measure("cost", "x"),))), rolled(daily())),
    ("M001", "r", windowed(instant="x"), windowed()),
    (
        "M001",
        "r",
        rolled(daily(window=Window("at", "x", "until"))),
        windowed(grid=None),
    ),
    ("M004", "r", rolled(daily(), daily()), rolled(daily())),
    ("M004", "r.day", rolled(daily(keys=DAYS + DAYS[:1])), rolled()),
    ("M004", "r.cost", rolled(daily(measures=(*SUMS, Measure("cost", "tries")))), rolled()),
    (
        "M004",
        "r.since",
        rolled(daily(window=Window("at", "since", "since"))),
        windowed(),
    ),
    ("M025", "e", rolled(daily(name="e", keys=(), measures=())), rolled()),
    (
        "M026",
        "r.kind",
        rolled(target={"kind": {"type": BigInt()}}),
        rolled(target={"kind": {"type": BigInt()}}, source={"kind": {"type": BigInt()}}),
    ),
    ("M026", "e.kind", rolled(source={"kind": {"nullable": True}}), rolled()),
    (
        "M026",
        "r.kind",
        rolled(
            target={
                "kind": {"nullable": True},
                "primary_key": PrimaryKey("r_pkey", ("day",)),
                "uniques": (Unique("u", ("day", "kind")),),
            }
        ),
        rolled(
            target={
                "primary_key": PrimaryKey("r_pkey", ("day",)),
                "uniques": (Unique("u", ("day", "kind")),),
            }
        ),
    ),
    ("M026", "r.day", rolled(target={"day": {"type": Timestamptz()}}), rolled()),
    ("M026", "e.at", rolled(source=with_checks(e_at=None)), rolled()),
    (
        "M026",
        "e.at",
        rolled(source=with_checks(e_at=Check("e_at", Finite("at"), (Trait.NOT_VALID,)))),
        rolled(source=with_checks(e_at=Check("e_at", Finite("at")))),
    ),
    ("M026", "e.at", rolled(source={"at": {"nullable": True}}), rolled()),
    ("M026", "e.at", rolled(source={"at": {"type": Date()}}), rolled()),
    ("M027", "e.at", windowed(source={"at": {"type": Date()}}), windowed()),
    ("M027", "e.at", windowed(source={"at": {"nullable": True}}), windowed()),
    ("M027", "e.at", windowed(source=with_checks(e_at=None)), windowed()),
    ("M027", "r.since", windowed(target={"since": {"type": Date(), "default": None}}), windowed()),
    (
        "M027",
        "r.until",
        windowed(
            target={
                "until": {"nullable": True},
                "primary_key": PrimaryKey("r_pkey", ("kind",)),
                "uniques": (Unique("u", ("kind", "since", "until")),),
            }
        ),
        windowed(),
    ),
    ("M027", "r", windowed(7), windowed(1440)),
    ("M027", "r", windowed(2880), windowed(1)),
    ("M027", "r", windowed(0), windowed(None)),
    (
        "M028",
        "r",
        rolled(target={"primary_key": PrimaryKey("r_pkey", ("day",))}),
        rolled(target={"primary_key": PrimaryKey("r_pkey", ("kind", "day"))}),
    ),
    (
        "M028",
        "r",
        rolled(target={"primary_key": PrimaryKey("r_pkey", ("day", "kind", "rows"))}),
        rolled(),
    ),
    (
        "M028",
        "r",
        rolled(target={"primary_key": PrimaryKey("k", ("day", "kind"), (Trait.DEFERRABLE,))}),
        rolled(target={"primary_key": PrimaryKey("k", ("day", "kind"))}),
    ),
    (
        "M028",
        "r",
        rolled(
            target={
                "primary_key": PrimaryKey("r_pkey", ("day",)),
                "indexes": (
                    Index(
                        "i",
                        (IndexKey("day"), IndexKey("kind")),
                        predicate=IsNull("tries"),
                        unique=True,
                    ),
                ),
            }
        ),
        rolled(
            target={
                "primary_key": PrimaryKey("r_pkey", ("day",)),
                "indexes": (Index("i", (IndexKey("day"), IndexKey("kind")), unique=True),),
            }
        ),
    ),
    (
        "M028",
        "r",
        rolled(
            target={
                "primary_key": PrimaryKey("r_pkey", ("day",)),
                "indexes": (Index("i", (IndexKey("day"), IndexKey("kind"))),),
            }
        ),
        rolled(),
    ),
    ("M028", "r", windowed(target={"primary_key": PrimaryKey("k", ("kind", "since"))}), windowed()),
    (
        "M029",
        "r.since",
        rolled(target={"since": {"default": None}}),
        rolled(target={"since": {"default": None, "nullable": True}}),
    ),
    (
        "M029",
        "r.rows",
        rolled(daily(measures=SUMS[:2]), target={"rows": {"default": None}}),
        rolled(target={"rows": {"default": None}}),
    ),
    (
        "M030",
        "e.cost",
        rolled(source={"cost": {"type": DoublePrecision()}}),
        rolled(source={"cost": {"type": BigInt()}}),
    ),
    (
        "M030",
        "e.cost",
        rolled(source={"cost": {"type": Numeric()}}),
        rolled(source={"cost": {"type": Numeric(10)}}),
    ),
    (
        "M030",
        "e.cost",
        rolled(source=with_checks(e_cost=None)),
        rolled(daily(measures=SUMS[1:]), source=with_checks(e_cost=None)),
    ),
    (
        "M030",
        "e.cost",
        rolled(source=with_checks(e_cost=Check("k", Range("cost", Decimal(-1))))),
        rolled(source=with_checks(e_cost=Check("k", Range("cost", Decimal(1))))),
    ),
    (
        "M030",
        "e.cost",
        rolled(source=with_checks(e_cost=Check("k", Range("cost", None, Decimal(1))))),
        rolled(source=with_checks(e_cost=Check("k", Range("cost", Decimal(0), Decimal(1))))),
    ),
    (
        "M030",
        "e.cost",
        rolled(
            source=with_checks(e_cost=Check("k", Range("cost", Decimal(0)), (Trait.NOT_VALID,)))
        ),
        rolled(source=with_checks(e_cost=Check("k", Range("cost", Decimal(0))))),
    ),
    (
        "M030",
        "r.cost",
        rolled(target={"cost": {"type": Numeric(12, 1)}}),
        rolled(target={"cost": {"type": Numeric(12, 3)}}),
    ),
    (
        "M030",
        "r.cost",
        rolled(target={"cost": {"type": BigInt()}}),
        rolled(target={"cost": {"type": BigInt()}}, source={"cost": {"type": SmallInt()}}),
    ),
    (
        "M030",
        "r.cost",
        rolled(target={"cost": {"type": Real()}}),
        rolled(target={"cost": {"type": Numeric()}}),
    ),
    (
        "M030",
        "r.rows",
        rolled(target={"rows": {"type": SmallInt()}}),
        rolled(target={"rows": {"type": BigInt()}}),
    ),
    ("M030", "r.rows", rolled(target={"rows": {"type": Numeric(9)}}), rolled()),
    (
        "M030",
        "r.rows",
        rolled(target={"rows": {"nullable": True}}),
        rolled(daily(measures=SUMS[:2]), target={"rows": {"nullable": True}}),
    ),
    (
        "M030",
        "r.rows",
        rolled(target={"checks": (Check("k", Range("rows", Decimal(1))),)}),
        rolled(target={"checks": (Check("k", Range("rows", Decimal(0))),)}),
    ),
    (
        "M030",
        "r.rows",
        rolled(target={"checks": (Check("k", Range("rows", None, Decimal(-1))),)}),
        rolled(target={"checks": (Check("k", Range("rows", None, Decimal(1))),)}),
    ),
    ("M031", "r", rolled(daily(keys=())), rolled()),
    ("M031", "r", rolled(daily(measures=())), rolled(daily(measures=SUMS[:1]))),
    ("M004", "r", rolled(functions=(Function("rebuild_r", OpaqueBody("x")),)), rolled()),
    (
        "M004",
        "r",
        windowed(functions=(Function("refresh_r", OpaqueBody("x")),)),
        rolled(functions=(Function("refresh_r", OpaqueBody("x")),)),
    ),
    (
        "M004",
        "r",
        rolled(functions=(Function("e_overflow", OpaqueBody("x")),)),
        rolled(daily(on_write=False), functions=(Function("e_overflow", OpaqueBody("x")),)),
    ),
    (
        "M004",
        "r",
        rolled(
            functions=FUNCTIONS,
            target={"indexes": (Index("e_deltas_pkey", (IndexKey("day"),)),)},
        ),
        rolled(target={"indexes": (Index("pkey", (IndexKey("day"),)),)}),
    ),
    (
        "M004",
        "r",
        rolled(source={"triggers": (noted("e_note_insert"),)}),
        rolled(source={"triggers": (noted("e_note"),)}),
    ),
    (
        "M005",
        "r",
        rolled(name="e" * 48),
        rolled(name="e" * 47),
    ),
    ("M004", "r", by("row_count"), by("rows")),
    ("M004", "r", by("xact"), by("xmin2")),
    ("M004", "r", by("at_day"), by("day")),
    ("M004", "r", by("sum_cost"), by("sum")),
    ("M005", "r", summing("x" * 60), summing("x" * 59)),
    ("M005", "r", scoped("x" * 59), scoped("x" * 58)),
    ("M004", "r", keyed("expected"), keyed("expect")),
    ("M004", "r", keyed("delta_rows"), keyed("delta_rows", on_write=False)),
    *ROLE_CASES,
]


def found(schema: Schema) -> set[tuple[str, str | None]]:
    """Code and subject of every diagnostic."""
    return {(d.code, d.subject) for d in check(schema)}


@pytest.mark.parametrize(("code", "subject", "broken", "sound"), CASES)
def test_breaking_a_rule_gives_its_code_and_no_other(
    code: str, subject: str, broken: Schema, sound: Schema
) -> None:
    del sound
    assert found(broken) == {(code, subject)}


@pytest.mark.parametrize(("code", "subject", "broken", "sound"), CASES)
def test_the_nearest_sound_model_has_no_finding(
    code: str, subject: str, broken: Schema, sound: Schema
) -> None:
    del code, subject, broken
    assert found(sound) == set()


def test_a_foreign_key_of_another_width_breaks_two_rules() -> None:
    wide = reference(columns=("p_id", "id"))
    assert found(wide) == {("M002", "t.fk")}


def test_a_foreign_key_without_an_index_is_a_warning() -> None:
    plain = reference()
    bare = replace(plain, tables=tuple(replace(t, indexes=()) for t in plain.tables))
    assert found(bare) == {("M018", "t.fk")}


def test_a_partial_index_does_not_serve_a_foreign_key() -> None:
    plain = reference()
    partial = Index("i", (IndexKey("p_id"),), predicate=IsNull("p_id"))
    weak = replace(plain, tables=(plain.tables[0], replace(plain.tables[1], indexes=(partial,))))
    assert found(weak) == {("M018", "t.fk")}


def test_a_foreign_key_may_point_to_a_unique_index() -> None:
    plain = reference(referenced=("c",))
    unique = Index("u", (IndexKey("c"),), unique=True)
    sound = replace(plain, tables=(replace(plain.tables[0], indexes=(unique,)), plain.tables[1]))
    assert found(sound) == set()


def test_a_foreign_key_may_not_point_to_a_partial_unique_index() -> None:
    plain = reference(referenced=("c",))
    unique = Index("u", (IndexKey("c"),), unique=True, predicate=IsNull("c"))
    weak = replace(plain, tables=(replace(plain.tables[0], indexes=(unique,)), plain.tables[1]))
    assert found(weak) == {("M003", "t.fk")}


@pytest.mark.parametrize(
    ("nulls_distinct", "expected"), [(True, {("M004", "t.u")}), (False, set())]
)
def test_keys_that_postgres_makes_one_of_are_refused(
    nulls_distinct: bool, expected: set[tuple[str, str]]
) -> None:
    keys = (Unique("u", ("id",), nulls_distinct),)
    assert found(schema(table(uniques=keys))) == expected


@pytest.mark.parametrize("count", [32, 33])
def test_a_key_has_at_most_32_columns(count: int) -> None:
    columns = tuple(Column(f"c{i}", Integer()) for i in range(count))
    wide = schema(table(*columns, uniques=(Unique("u", tuple(c.name for c in columns)),)))
    assert found(wide) == ({("M009", "t.u")} if count > 32 else set())


def test_a_required_reference_to_itself_is_a_cycle() -> None:
    own = table(
        foreign_keys=(ForeignKey("fk", ("id",), "t", ("id",)),),
    )
    assert found(schema(own)) == {("M008", "t")}


def test_a_rollup_of_a_rollup_is_refused_on_both_sides() -> None:
    plain = rolled()
    third = replace(plain.tables[1], name="q", primary_key=PrimaryKey("q_pkey", ("day", "kind")))
    chain = replace(
        plain,
        tables=(*plain.tables, third),
        rollups=(daily(), daily(name="q", source="r", keys=KINDS, measures=SUMS[2:])),
    )
    assert found(chain) == {("M025", "r"), ("M025", "q")}


def test_two_rollups_of_one_source_share_its_objects() -> None:
    plain = rolled()
    other = replace(plain.tables[1], name="q", primary_key=PrimaryKey("q_pkey", ("day", "kind")))
    rollups = (daily(), daily(name="q"))
    assert found(replace(plain, tables=(*plain.tables, other), rollups=rollups)) == set()


def test_two_sources_may_not_need_one_name() -> None:
    first, result = rolled().tables
    second = replace(first, name="rebuild", primary_key=PrimaryKey("x", ("id",)))
    note = replace(result, name="note", primary_key=PrimaryKey("y", ("day", "kind")))
    rollups = (daily(name="note"), daily(source="rebuild"))
    assert found(schema(first, second, result, note, rollups=rollups)) == {("M004", "note")}


def test_a_table_may_not_have_the_name_of_the_deltas() -> None:
    plain = rolled()
    more = replace(plain, tables=(*plain.tables, table(name="e_deltas")))
    assert found(more) == {("M004", "r")}
    demanded = replace(more, rollups=(daily(on_write=False),))
    assert found(demanded) == set()


def test_a_bound_that_is_no_number_is_refused_as_that_alone() -> None:
    broken = with_checks(e_cost=Check("k", Range("cost", Decimal("NaN"))))
    assert found(rolled(source=broken)) == {("M011", "e.k"), ("M030", "e.cost")}


def test_what_a_live_database_printed_is_not_judged() -> None:
    live = rule(Text(), OpaqueRule("c <> ''"), default=OpaqueDefault("lower('A')"))
    assert found(live) == set()


def test_warnings_are_no_errors() -> None:
    assert errors(check(index(Text(), bounded=False))) == ()


@pytest.mark.parametrize("code", sorted({"M015", "M018"}))
def test_only_performance_is_a_matter_of_warnings(code: str) -> None:
    broken = [case[2] for case in CASES if case[0] == code] or [reference()]
    assert all(d.warning for model in broken for d in check(model) if d.code == code)


def test_every_rule_has_a_case() -> None:
    separate = {"M018", "M021"}  # the emitter refuses with M021
    assert {case[0] for case in CASES} | separate == {c for c in CODES if c.startswith("M")}


def test_a_closed_list_goes_before_an_open_one() -> None:
    own = table(Column("c", Text(), known=("x",)), checks=(Check("k", OneOf("c", ("b", "a"))),))
    assert column_values(own, own.columns[1]) == ("b", "a")
