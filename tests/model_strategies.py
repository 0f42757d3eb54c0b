"""Hypothesis strategies for whole models that satisfy every semantic rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Final, TypeVar

from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from codered_spec.model.check import SYSTEM_COLUMNS, check, errors
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
    OpaqueBody,
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
    Window,
)
from codered_spec.model.types import (
    NUMBERS,
    TEMPORAL,
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
    Scalar,
    SmallInt,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)
from codered_spec.model.values import integer_range
from codered_spec.sql import MAX_IDENTIFIER_BYTES

T = TypeVar("T")
VECTOR_EXTENSION: Final = Extension("vector", "extensions")

NASTY_TEXTS: Final = (
    "", " ", "'", "''", "\\", "\\'", 'a"b', "line\nbreak", "tab\tcr\r", "null", "NULL", "{}",
    "a,b", "Ä‑ö 漢 🚀", "e'x'", "$$", "--", "/* x", "%s %(x)s", "$1", "\x01\x7f", "'a'::text",
    "\\x41\\n", "ARRAY['a'::text]", " both ", "\u2028", "\ufeff",
)  # fmt: skip
NASTY_NAMES: Final = (
    "user", "select", "order", "array", "any", "case", "current_timestamp", "null", "is", "old",
    "new", "when", "type", "value", "Zone", "UPPER", "two words", 'quo"te', "apo'strophe",
    "back\\slash", "dot.ted", "na\u00efve", "\u6f22\u5b57", "\U0001f680", "1st", "a-b", "$dollar",
    "a$b", " ", "x" * 63, "\u00e9" * 31 + "x", "line\nbreak", "timestamp", "between", "%s", "{}",
    "_", "infinity", "vector_norm", "isfinite", "numeric", "interval", "character varying",
    "text[]", "*", "true",
)  # fmt: skip
_CHARACTERS: Final = st.characters(codec="utf-8", exclude_characters="\0")


@cache
def texts(max_size: int = 20) -> SearchStrategy[str]:
    """Texts that Postgres can store; many of them try to escape from quotes."""
    fitting = [text for text in NASTY_TEXTS if len(text) <= max_size]
    return st.sampled_from(fitting) | st.text(_CHARACTERS, max_size=max_size)


@cache
def identifiers() -> SearchStrategy[str]:
    """Names that Postgres accepts when they are quoted."""
    free = st.text(_CHARACTERS, min_size=1, max_size=20) | st.from_regex(
        r"[a-z_][a-z0-9_]{0,20}", fullmatch=True
    )
    return (st.sampled_from(NASTY_NAMES) | free).filter(
        lambda name: len(name.encode()) <= MAX_IDENTIFIER_BYTES and name not in SYSTEM_COLUMNS
    )


@st.composite
def _unique_name(draw: DrawFn, taken: set[str]) -> str:
    """A name that is not taken yet, and takes it."""
    name = draw(identifiers())
    for number in range(1000):
        if name not in taken:
            break
        suffix = str(number)
        room = MAX_IDENTIFIER_BYTES - len(suffix)
        name = name.encode()[:room].decode(errors="ignore") + suffix
    taken.add(name)
    return name


# ---- columns ----------------------------------------------------------------------------------

_SCALARS: Final[SearchStrategy[Scalar]] = st.one_of(
    st.sampled_from(
        [
            Uuid(),
            Text(),
            Boolean(),
            SmallInt(),
            Integer(),
            BigInt(),
            Numeric(),
            Real(),
            DoublePrecision(),
            Date(),
            Timestamptz(),
            Jsonb(),
        ]
    ),
    st.integers(1, 10_485_760).map(Varchar),
    st.integers(1, 30).map(Varchar),
    st.tuples(st.integers(1, 1000), st.integers(0, 1000))
    .filter(lambda pair: pair[1] <= pair[0])
    .map(lambda pair: Numeric(*pair)),
)


@cache
def types(vectors: bool) -> SearchStrategy[PgType]:
    """Every type of the family."""
    scalars = _SCALARS
    if vectors:
        scalars |= st.none().map(Vector) | st.sampled_from([1, 3, 384, 2000, 16000]).map(Vector)
    return scalars | scalars.map(Array)


@cache
def _whole(type_: PgType) -> SearchStrategy[int] | None:
    limits = integer_range(type_)
    if limits is None:
        return None
    return st.integers(*limits) | st.sampled_from([*limits, 0, -1])


@cache
def defaults(type_: PgType) -> SearchStrategy[Default]:
    """Defaults that fit the type, in canonical text."""
    match type_:
        case SmallInt() | Integer() | BigInt():
            whole = _whole(type_)
            assert whole is not None
            return whole.map(lambda n: Literal(str(n)))
        case Numeric(None) | Real() | DoublePrecision():
            return st.sampled_from(["0", "-1", "1.50", "0.1", "-0.25", "123456"]).map(Literal)
        case Numeric():
            return st.just(Literal("0"))
        case Boolean():
            return st.sampled_from(["true", "false"]).map(Literal)
        case Uuid():
            return st.just(RandomUuid()) | st.uuids().map(lambda u: Literal(str(u)))
        case Text():
            return texts().map(Literal)
        case Varchar(length):
            return texts(min(length, 20)).map(Literal)
        case Date():
            return st.dates().map(lambda day: Literal(day.isoformat()))
        case Timestamptz():
            return st.just(Now()) | st.datetimes().map(
                lambda t: Literal(t.replace(microsecond=0).isoformat(" ") + "+00")
            )
        case Jsonb():
            return st.sampled_from(["{}", "[]"]).map(Literal)
        case Array():
            return st.just(Literal("{}"))
        case Vector():
            return st.nothing()


@cache
def _comments() -> SearchStrategy[str | None]:
    return st.none() | texts(40).filter(bool)


@st.composite
def columns(draw: DrawFn, taken: set[str], vectors: bool) -> Column:
    """A column with a name that is not taken."""
    type_ = draw(types(vectors))
    default = None
    if not isinstance(type_, Vector) and draw(st.booleans()):
        default = draw(defaults(type_))
    known: tuple[str, ...] = ()
    if isinstance(type_, Text) and draw(st.integers(0, 3)) == 0:
        known = tuple(draw(_value_lists(20)))
    return Column(
        name=draw(_unique_name(taken)),
        type=type_,
        nullable=draw(st.booleans()),
        default=default,
        known=known,
        comment=draw(_comments()),
    )


# ---- rules ------------------------------------------------------------------------------------

_PATTERNS: Final = (
    "^[a-z][a-z0-9_]*$", "^(a|b'c)$", "^\\\\$", "^\\.{1,3}$", '^"#%&$', "^(?:[A-Z]{2}-)+x?$",
)  # fmt: skip
_BOUNDS: Final = st.decimals(-(10**12), 10**12, places=3) | st.sampled_from(
    [
        Decimal("0"), Decimal("-0.0"), Decimal("0.10"), Decimal("1E+2"), Decimal("1e20"),
        Decimal("-1e-20"), Decimal("3000000000"), Decimal("-2147483648"),
        Decimal("123456789012345678901234567891"), Decimal("-9223372036854775809"),
    ]
)  # fmt: skip


@cache
def _value_lists(max_size: int) -> SearchStrategy[list[str]]:
    """Values of a list, each of at most ``max_size`` characters."""
    return st.lists(texts(max_size).filter(bool), min_size=1, max_size=4, unique=True)


@st.composite
def _ranges(draw: DrawFn, column: Column) -> Range:
    whole = _whole(column.type)
    bounds = _BOUNDS if whole is None else whole.map(Decimal)
    low, high = sorted([draw(bounds), draw(bounds)])
    sides = draw(st.sampled_from([(low, high), (low, None), (None, high), (low, low)]))
    return Range(column.name, *sides)


def rules(column: Column) -> SearchStrategy[Rule]:
    """Every kind of rule about one column that fits its type; perhaps none."""
    name = column.name
    element = column.type.element if isinstance(column.type, Array) else column.type
    found: list[SearchStrategy[Rule]] = []
    if isinstance(element, Text | Varchar):
        found.append(st.integers(1, 2**30 - 1).map(lambda limit: MaxBytes(name, limit)))
    match column.type:
        case Text() | Varchar():
            limit = column.type.length if isinstance(column.type, Varchar) else 20
            values = _value_lists(min(limit, 20))
            found.append(values.map(lambda v: OneOf(name, tuple(v))))
            found.append(st.sampled_from(_PATTERNS).map(lambda p: Matches(name, p)))
        case Array():
            found.append(st.just(Flat(name)))
            if isinstance(element, Text):
                values = _value_lists(20)
                found.append(values.map(lambda v: SubsetOf(name, tuple(v))))
        case Date() | Timestamptz():
            found.append(st.just(Finite(name)))
        case Vector():
            found.append(st.just(NonZero(name)))
        case _ if isinstance(column.type, NUMBERS):
            found.append(_ranges(column))
            if not isinstance(column.type, SmallInt | Integer | BigInt):
                found.append(st.just(Finite(name)))
    return st.one_of(found)


@st.composite
def _checks(draw: DrawFn, table: Table, taken: set[str]) -> tuple[Table, tuple[Check, ...]]:
    """Checks for some columns; a column with a rule loses a default that may not fit it."""
    found: list[Check] = []
    own: list[Column] = []
    for column in table.columns:
        options = rules(column)
        if options.is_empty or not draw(st.booleans()):
            own.append(column)
            continue
        rule = draw(options)
        found.append(Check(draw(_unique_name(taken)), rule))
        default: Default | None = None
        if isinstance(rule, OneOf) and draw(st.booleans()):
            default = Literal(draw(st.sampled_from(rule.values)))
        known = () if isinstance(rule, OneOf) else column.known
        own.append(replace(column, default=default, known=known))
    ordered = [c for c in table.columns if isinstance(c.type, (*NUMBERS, *TEMPORAL))]
    pairs = [(a, b) for a in ordered for b in ordered if a is not b and a.type == b.type]
    if pairs:
        a, b = draw(st.sampled_from(pairs))
        rule = Ordered(a.name, b.name, draw(st.booleans()))
        found.append(Check(draw(_unique_name(taken)), rule))
    return replace(table, columns=tuple(own)), tuple(found)


# ---- keys and indexes -------------------------------------------------------------------------


def _comparable(type_: PgType) -> bool:
    return not isinstance(type_.element if isinstance(type_, Array) else type_, Vector)


@st.composite
def _some(draw: DrawFn, items: list[T], most: int = 3) -> list[T]:
    """One to ``most`` of the items, in any order."""
    rest, found = list(items), list[T]()
    for _ in range(draw(st.integers(1, min(most, len(items))))):
        found.append(rest.pop(draw(st.integers(0, len(rest) - 1))))
    return found


_PARAMETERS: Final[dict[Method, tuple[tuple[str, int, int], ...]]] = {
    Method.BTREE: (("fillfactor", 10, 100),),
    Method.HASH: (("fillfactor", 10, 100),),
    Method.GIN: (("gin_pending_list_limit", 64, 9999),),
    Method.GIST: (),
    Method.BRIN: (("pages_per_range", 1, 1000),),
    Method.HNSW: (("ef_construction", 64, 100), ("m", 2, 16)),
    Method.IVFFLAT: (("lists", 1, 200),),
}
_VECTOR_OPCLASSES: Final = ("vector_cosine_ops", "vector_l2_ops", "vector_ip_ops", "vector_l1_ops")


def _fits(method: Method, type_: PgType) -> bool:
    match method:
        case Method.BTREE | Method.HASH:
            return _comparable(type_)
        case Method.GIN:
            return isinstance(type_, Jsonb | Array) and _comparable(type_)
        case Method.BRIN:
            return _comparable(type_) and not isinstance(type_, Array | Jsonb | Boolean)
        case Method.HNSW | Method.IVFFLAT:
            # of one dimension ivfflat refuses most operator classes
            return isinstance(type_, Vector) and 2 <= (type_.dimensions or 9999) <= 2000
        case Method.GIST:
            return False


@st.composite
def _index_keys(draw: DrawFn, column: Column, method: Method) -> IndexKey:
    opclass: str | None = None
    match method, column.type:
        case Method.BTREE, Text():
            opclass = draw(st.sampled_from([None, "text_pattern_ops"]))
        case Method.BTREE, Varchar():
            opclass = draw(st.sampled_from([None, "varchar_pattern_ops"]))
        case Method.GIN, Jsonb():
            opclass = draw(st.sampled_from([None, "jsonb_path_ops"]))
        case Method.HNSW, _:
            opclass = draw(st.sampled_from(_VECTOR_OPCLASSES))
        case Method.IVFFLAT, _:
            opclass = draw(st.sampled_from(_VECTOR_OPCLASSES[:3]))
    order = draw(st.tuples(st.booleans(), st.booleans())) if method is Method.BTREE else ()
    return IndexKey(column.name, opclass, *order)


@st.composite
def _predicates(draw: DrawFn, table: Table) -> Predicate | None:
    if draw(st.integers(0, 2)):
        return None
    column = draw(st.sampled_from(table.columns))
    options: list[Predicate] = [IsNull(column.name), IsNotNull(column.name)]
    if isinstance(column.type, Boolean):
        options.append(IsTrue(column.name))
    return draw(st.sampled_from(options[::-1]))


@st.composite
def _indexes(draw: DrawFn, table: Table, relations: set[str]) -> tuple[Index, ...]:
    found: list[Index] = []
    for _ in range(draw(st.integers(0, 3))):
        fitting = {m: [c for c in table.columns if _fits(m, c.type)] for m in Method}
        method = draw(st.sampled_from([m for m in Method if fitting[m]] or [Method.BTREE]))
        if not fitting[method]:
            break
        single = method in (Method.HASH, Method.HNSW, Method.IVFFLAT)
        chosen = draw(_some(fitting[method], 1 if single else 3))
        unique = method is Method.BTREE and draw(st.booleans())
        found.append(
            Index(
                name=draw(_unique_name(relations)),
                keys=tuple(draw(_index_keys(column, method)) for column in chosen),
                method=method,
                unique=unique,
                nulls_distinct=not unique or draw(st.booleans()),
                predicate=draw(_predicates(table)),
                parameters=tuple(
                    (name, str(draw(st.integers(low, high))))
                    for name, low, high in _PARAMETERS[method]
                    if draw(st.booleans())
                ),
            )
        )
    return tuple(found)


@dataclass
class _Names:
    """The names that are taken, by namespace."""

    relations: set[str] = field(default_factory=set)
    columns: dict[str, set[str]] = field(default_factory=dict)
    constraints: dict[str, set[str]] = field(default_factory=dict)

    def key(self, draw: Callable[[SearchStrategy[str]], str], table: str) -> str:
        """A name for a key, which is a relation and a constraint at once."""
        name = draw(_unique_name(self.relations | self.constraints[table]))
        self.relations.add(name)
        self.constraints[table].add(name)
        return name


@st.composite
def _tables(draw: DrawFn, names: _Names, vectors: bool) -> Table:
    name = draw(_unique_name(names.relations))
    taken = names.columns.setdefault(name, set())
    names.constraints[name] = set()
    options: list[PgType] = [Uuid(), BigInt(), Text()]
    first = draw(st.sampled_from(options))
    own = [Column(draw(_unique_name(taken)), first)]
    own += [draw(columns(taken, vectors)) for _ in range(draw(st.integers(0, 5)))]
    required = [c for c in own if not c.nullable and _comparable(c.type)]
    key = PrimaryKey(names.key(draw, name), tuple(c.name for c in draw(_some(required))))
    comparable = [c for c in own if _comparable(c.type)]
    uniques: dict[tuple[tuple[str, ...], bool], Unique] = {}
    for _ in range(draw(st.integers(0, 2))):
        chosen = tuple(c.name for c in draw(_some(comparable)))
        distinct = draw(st.booleans())
        # Postgres makes one constraint of two that are alike
        if (chosen, distinct) not in uniques and chosen != key.columns:
            uniques[chosen, distinct] = Unique(names.key(draw, name), chosen, distinct)
    return Table(
        name,
        tuple(own),
        primary_key=key,
        uniques=tuple(uniques.values()),
        comment=draw(_comments()),
    )


@st.composite
def _foreign_keys(draw: DrawFn, tables: list[Table], names: _Names) -> list[Table]:
    """Foreign keys with columns of their own: to other tables, to the same one, in cycles."""
    found = list(tables)
    for position, table in enumerate(tables):
        for _ in range(draw(st.integers(0, 2))):
            where = draw(st.integers(0, len(tables) - 1))
            target = found[where]
            referenced = draw(st.permutations(draw(st.sampled_from(target.keys)).columns))
            # Postgres cannot validate a key of arrays that comes after its table
            if any(isinstance(c.type, Array) for c in target.columns if c.name in referenced):
                continue
            # a required key only to an earlier table: else no first row would be possible
            nullable = where >= position or draw(st.booleans())
            own: list[Column] = []
            for other in referenced:
                pointed = target.column(other)
                assert pointed is not None
                own.append(
                    Column(draw(_unique_name(names.columns[table.name])), pointed.type, nullable)
                )
            actions = [a for a in Action if nullable or a is not Action.SET_NULL]
            on_delete = draw(st.sampled_from(actions))
            partial: list[str] = []
            if on_delete in (Action.SET_NULL, Action.SET_DEFAULT) and draw(st.booleans()):
                partial = draw(_some([c.name for c in own]))
            key = ForeignKey(
                name=draw(_unique_name(names.constraints[table.name])),
                columns=tuple(c.name for c in own),
                table=target.name,
                referenced=tuple(referenced),
                on_delete=on_delete,
                on_delete_columns=tuple(partial),
                on_update=draw(st.sampled_from(actions)),
            )
            found[position] = replace(
                found[position],
                columns=(*found[position].columns, *own),
                foreign_keys=(*found[position].foreign_keys, key),
            )
    return found


# ---- functions and triggers -------------------------------------------------------------------

_BODIES: Final = (
    "begin return null; end",
    "\nbegin\n  -- $$ 'quoted' \\ é 漢\n  raise exception '%', 'a''b';\nend\n",
)


@st.composite
def _functions(draw: DrawFn, taken: set[str], column: str | None) -> Function:
    settings = [("search_path", '""')]
    if draw(st.booleans()):
        settings.append(("work_mem", "64MB"))
    return Function(
        name=draw(_unique_name(taken)),
        body=SetUpdatedAt(column) if column else OpaqueBody(draw(st.sampled_from(_BODIES))),
        volatility=draw(st.sampled_from(["volatile", "stable", "immutable"])),
        security_definer=draw(st.booleans()),
        settings=tuple(settings),
        public_execute=draw(st.booleans()),
        comment=draw(_comments()),
    )


@st.composite
def _trigger(draw: DrawFn, table: Table, function: Function, taken: set[str]) -> Trigger:
    setter = isinstance(function.body, SetUpdatedAt)
    choices = [Event.INSERT, Event.UPDATE] if setter else [Event.INSERT, Event.UPDATE, Event.DELETE]
    chosen = draw(_some(choices))
    only_update = chosen == [Event.UPDATE]
    each_row = setter or only_update or draw(st.booleans())
    watched: list[str] = []
    if Event.UPDATE in chosen and draw(st.booleans()):
        watched = draw(_some([c.name for c in table.columns]))
    timing = Timing.BEFORE if setter else draw(st.sampled_from([Timing.BEFORE, Timing.AFTER]))
    after = timing is Timing.AFTER
    rows = {"old": "", "new": ""}
    if after and len(chosen) == 1 and not watched and draw(st.booleans()):
        has = {Event.INSERT: ("new",), Event.DELETE: ("old",)}.get(chosen[0], ("old", "new"))
        names: set[str] = set()
        rows |= {side: draw(_unique_name(names)) for side in draw(_some(list(has)))}
    name = draw(_unique_name(taken))
    implied = {f"{table.name}_{c.name}_not_null" for c in table.columns}
    waits = after and each_row and not any(rows.values()) and draw(st.booleans())
    return Trigger(
        name=name,
        function=function.name,
        timing=timing,
        events=tuple(event for event in Event if event in chosen),
        each_row=each_row,
        when=RowChanged() if only_update and each_row and draw(st.booleans()) else None,
        columns=tuple(watched),
        old_rows=rows["old"] or None,
        new_rows=rows["new"] or None,
        deferred=waits and name not in implied | {c.name for c in table.constraints},
    )


# ---- rollups ----------------------------------------------------------------------------------

_SUMMED: Final[tuple[tuple[PgType, PgType], ...]] = (
    (SmallInt(), SmallInt()),
    (Integer(), BigInt()),
    (BigInt(), Numeric()),
    (BigInt(), Numeric(30, 2)),
    (Numeric(12, 6), Numeric(12, 6)),
    (Numeric(5), Integer()),
    (Numeric(1000, 500), Numeric()),
)
"""Types of a column and of the sum of it."""


@st.composite
def _rollup(draw: DrawFn, source: Table, name: str) -> tuple[Rollup, Table]:
    """A rollup of the source, and the table that holds it."""
    taken: set[str] = set()
    own: list[Column] = []

    def add(type_: PgType) -> str:
        own.append(Column(draw(_unique_name(taken)), type_))
        return own[-1].name

    checked = {c.rule.column for c in source.checks if isinstance(c.rule, Finite | Range)}
    instants = [c for c in source.columns if isinstance(c.type, Timestamptz) and c.name in checked]
    days = [RollupKey(add(Date()), c.name, day=True) for c in instants if draw(st.booleans())]
    plain = [c for c in source.columns if not c.nullable and _comparable(c.type)]
    plain = draw(_some(plain)) if draw(st.booleans()) or not days else []
    keys = [*days, *(RollupKey(add(c.type), c.name) for c in plain)]
    window = None
    if draw(st.booleans()):
        grid = draw(st.sampled_from([None, 1, 15, 1440]))
        instant = draw(st.sampled_from(instants)).name
        window = Window(instant, add(Timestamptz()), add(Timestamptz()), grid)
    sums: list[Measure] = []
    for column in source.columns:
        if column.name in checked and isinstance(column.type, NUMBERS) and draw(st.booleans()):
            options = [total for type_, total in _SUMMED if type_ == column.type]
            sums.append(Measure(add(draw(st.sampled_from(options))), column.name))
    counts = range(draw(st.integers(0 if sums else 1, 2)))
    options = [Integer(), BigInt()]
    measures = [*sums, *(Measure(add(draw(st.sampled_from(options)))) for _ in counts)]
    found = Rollup(name, source.name, tuple(keys), tuple(measures), window, draw(st.booleans()))
    return found, Table(name, tuple(own), comment=draw(_comments()))


@st.composite
def rollup_schemas(draw: DrawFn) -> Schema:
    """A sound schema with one or two sources and up to three rollups of each."""
    names = _Names()
    tables: list[Table] = []
    rollups: list[Rollup] = []
    for _ in range(draw(st.integers(1, 2))):
        name = draw(_unique_name(names.relations))
        taken: set[str] = set()
        types_ = draw(st.lists(_SCALARS, max_size=4))
        own = [Column(draw(_unique_name(taken)), type_) for type_ in [Uuid(), *types_]]
        instants = [
            Column(draw(_unique_name(taken)), Timestamptz()) for _ in range(draw(st.integers(1, 2)))
        ]
        amounts = [
            Column(
                draw(_unique_name(taken)), draw(st.sampled_from(_SUMMED))[0], draw(st.booleans())
            )
            for _ in range(draw(st.integers(0, 3)))
        ]
        constraints: set[str] = set()
        key = PrimaryKey(draw(_unique_name(names.relations)), (own[0].name,))
        constraints.add(key.name)
        finite = [Check(draw(_unique_name(constraints)), Finite(c.name)) for c in instants]
        bounds = [
            Check(draw(_unique_name(constraints)), Range(c.name, Decimal(0))) for c in amounts
        ]
        columns_ = tuple(draw(st.permutations([*own, *instants, *amounts])))
        source = Table(name, columns_, key, checks=(*finite, *bounds))
        tables.append(source)
        for _ in range(draw(st.integers(1, 3))):
            rollup, target = draw(_rollup(source, draw(_unique_name(names.relations))))
            unique = draw(_unique_name(names.relations))
            order = tuple(draw(st.permutations(rollup.key_columns)))
            tables.append(replace(target, primary_key=PrimaryKey(unique, order)))
            rollups.append(rollup)
    found = Schema(
        name=draw(identifiers().filter(_free_schema_name)),
        tables=tuple(tables),
        rollups=tuple(rollups),
    )
    # names that rollups need may be too long, or the same as others
    assume(not errors(check(found)))
    return found


@st.composite
def _roles(draw: DrawFn, tables: list[Table], root: str, taken: set[str]) -> Role:
    """A role with rights on some tables, and perhaps with a scope."""
    name = draw(_unique_name(taken))
    if draw(st.integers(0, 3)) == 0:
        return Role(name, everything=True)
    scope = None
    if draw(st.booleans()):
        claim = tuple(draw(st.lists(identifiers(), min_size=1, max_size=2, unique=True)))
        scope = RowScope(root, claim, draw(st.booleans()))
    rights = []
    for table in tables:
        for action in ACTIONS:
            if action != "select" and draw(st.booleans()):
                continue
            free = [c.name for c in table.columns if c.nullable] if action != "delete" else []
            hides = bool(free) and draw(st.booleans())
            without: list[str] = draw(_some(free)) if hides else []
            rights.append(Right(action, table.name, tuple(without)))
    return Role(name, scope, tuple(draw(st.permutations(rights))))


@st.composite
def role_schemas(draw: DrawFn) -> Schema:
    """A sound schema whose tables belong to a root, to each other or to none, and its roles."""
    names = _Names()
    constraints: set[str] = set()
    tables: list[Table] = []
    for number in range(draw(st.integers(1, 5))):
        taken: set[str] = set()
        own = [Column(draw(_unique_name(taken)), Uuid())]
        more = [Column(draw(_unique_name(taken)), Text(), nullable=True) for _ in range(2)]
        keys = []
        if number and draw(st.integers(0, 4)):
            parent = tables[draw(st.integers(0, number - 1))]
            key = parent.primary_key
            assert key is not None
            link = Column(draw(_unique_name(taken)), Uuid(), nullable=draw(st.booleans()))
            more.append(link)
            name = draw(_unique_name(constraints))
            keys.append(ForeignKey(name, (link.name,), parent.name, key.columns))
        primary = PrimaryKey(draw(_unique_name(names.relations)), (own[0].name,))
        order = tuple(draw(st.permutations([*own, *more])))
        tables.append(
            Table(draw(_unique_name(names.relations)), order, primary, foreign_keys=tuple(keys))
        )
    taken = set()
    roles = [draw(_roles(tables, tables[0].name, taken)) for _ in range(draw(st.integers(1, 3)))]
    found = Schema(
        name=draw(identifiers().filter(_free_schema_name)), tables=tuple(tables), roles=tuple(roles)
    )
    assume(not errors(check(found)))
    return found


# ---- the whole --------------------------------------------------------------------------------


@st.composite
def schemas(draw: DrawFn, vectors: bool = True) -> Schema:
    """A whole valid model; with ``vectors``, pgvector lives in the schema ``extensions``."""
    names = _Names()
    tables = [draw(_tables(names, vectors)) for _ in range(draw(st.integers(0, 4)))]
    if tables:
        tables = draw(_foreign_keys(tables, names))
    functions: list[Function] = []
    function_names: set[str] = set()
    for position, plain in enumerate(tables):
        table, checks = draw(_checks(plain, names.constraints[plain.name]))
        table = replace(table, checks=checks, indexes=draw(_indexes(table, names.relations)))
        instants = [c.name for c in table.columns if isinstance(c.type, Timestamptz)]
        if draw(st.booleans()):
            column = draw(st.sampled_from(instants)) if instants else None
            functions.append(draw(_functions(function_names, column)))
            triggers: set[str] = set()
            table = replace(table, triggers=(draw(_trigger(table, functions[-1], triggers)),))
        tables[position] = table
    found = Schema(
        name=draw(identifiers().filter(_free_schema_name)),
        tables=tuple(tables),
        extensions=(VECTOR_EXTENSION,) if vectors else (),
        functions=tuple(functions),
        comment=draw(_comments()),
    )
    complaints = errors(check(found))
    assert not complaints, complaints
    assume(not any("Known values: " in (c.comment or "") for t in tables for c in t.columns))
    return found


def _free_schema_name(name: str) -> bool:
    taken = ("public", "extensions", "information_schema", "auth")
    return name not in taken and not name.startswith("pg_")
