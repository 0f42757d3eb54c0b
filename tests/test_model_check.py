"""For each semantic rule a model that breaks just it, and the nearest model that does not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from codered_spec.codes import CODES
from codered_spec.model.check import check, column_values, errors
from codered_spec.model.schema import (
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
    RowChanged,
    Rule,
    Schema,
    SetUpdatedAt,
    SubsetOf,
    Table,
    Timing,
    Trigger,
    Unique,
    ValueSet,
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


def index(type_: PgType, *, bounded: bool = True, **parts: Any) -> Schema:
    limit = (Check("k", MaxBytes("c", 2600)),) if bounded and "text" in str(type_) else ()
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
    parts = {"timing": Timing.BEFORE, "events": (Event.UPDATE,), "function": "touch", **parts}
    return schema(table(Column("at", Timestamptz()), triggers=(Trigger("g", **parts),)))


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
