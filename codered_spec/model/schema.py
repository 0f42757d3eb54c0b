"""The typed model of a Postgres schema: one frozen tree, references by name, generated equality.

Everything that a source reads or an emitter writes is one of these classes. Families (rules,
defaults, predicates, function bodies) are closed: whoever walks them handles or refuses each
member. SQL text occurs only in the ``Opaque…`` members, which hold what a live database printed and
which a spec cannot contain.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, TypeAlias

from codered_spec.model.types import PgType

# ---- defaults ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Now:
    """``now()``: the start of the transaction."""


@dataclass(frozen=True, slots=True)
class RandomUuid:
    """``gen_random_uuid()`` of the core server, a version 4 UUID."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant in the text form that Postgres prints for the column's type."""

    text: str


@dataclass(frozen=True, slots=True)
class OpaqueDefault:
    """A default outside of this family, as a live database prints it."""

    expression: str


Default: TypeAlias = Now | RandomUuid | Literal | OpaqueDefault

# ---- rules of check constraints ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OneOf:
    """The text is one of ``values`` (NULL passes, as in every check)."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SubsetOf:
    """Every element of the text array is one of ``values``; no element is NULL."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matches:
    """The text matches a regular expression in the common subset of Postgres and Python."""

    column: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Range:
    """``minimum <= value <= maximum``; never NaN and never an infinity, whatever the bounds."""

    column: str
    minimum: Decimal | None = None
    maximum: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Finite:
    """The date or instant is not ``infinity`` or ``-infinity``."""

    column: str


@dataclass(frozen=True, slots=True)
class Flat:
    """The array has one dimension, starts at 1 and has no NULL element; ``{}`` passes."""

    column: str


@dataclass(frozen=True, slots=True)
class MaxBytes:
    """The UTF-8 text (of an array: all elements together) takes at most ``limit`` bytes."""

    column: str
    limit: int


@dataclass(frozen=True, slots=True)
class NonZero:
    """The vector has a norm above zero, so that a cosine distance to it exists."""

    column: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """``lower < upper`` (``strict``) or ``lower <= upper`` between two columns of the row."""

    lower: str
    upper: str
    strict: bool = True


@dataclass(frozen=True, slots=True)
class OpaqueRule:
    """A check outside of this family, as a live database prints its expression."""

    expression: str


Rule: TypeAlias = (
    OneOf | SubsetOf | Matches | Range | Finite | Flat | MaxBytes | NonZero | Ordered | OpaqueRule
)


def rule_columns(rule: Rule) -> tuple[str, ...]:
    """The columns that a rule speaks of; empty for an opaque rule."""
    if isinstance(rule, OpaqueRule):
        return ()
    if isinstance(rule, Ordered):
        return (rule.lower, rule.upper)
    return (rule.column,)


# ---- constraints ------------------------------------------------------------------------------


class Trait(Enum):
    """What makes a live constraint weaker than the one that a spec asks for."""

    NOT_VALID = "not valid"
    NOT_ENFORCED = "not enforced"
    NO_INHERIT = "no inherit"
    DEFERRABLE = "deferrable"
    INITIALLY_DEFERRED = "initially deferred"
    MATCH_FULL = "match full"
    INCLUDES_COLUMNS = "includes columns"
    WITHOUT_OVERLAPS = "without overlaps"


Traits: TypeAlias = tuple[Trait, ...]


@dataclass(frozen=True, slots=True)
class PrimaryKey:
    """``constraint name primary key (columns)``."""

    name: str
    columns: tuple[str, ...]
    traits: Traits = ()


@dataclass(frozen=True, slots=True)
class Unique:
    """``constraint name unique (columns)``."""

    name: str
    columns: tuple[str, ...]
    nulls_distinct: bool = True
    traits: Traits = ()


class Action(Enum):
    """What a foreign key does when the referenced row goes or changes its key."""

    NO_ACTION = "no action"
    RESTRICT = "restrict"
    CASCADE = "cascade"
    SET_NULL = "set null"
    SET_DEFAULT = "set default"


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``columns`` of this table point to ``referenced`` of ``table`` (same schema)."""

    name: str
    columns: tuple[str, ...]
    table: str
    referenced: tuple[str, ...]
    on_delete: Action = Action.NO_ACTION
    on_delete_columns: tuple[str, ...] = ()
    """The columns that SET NULL or SET DEFAULT changes; empty means all of ``columns``."""
    on_update: Action = Action.NO_ACTION
    traits: Traits = ()


@dataclass(frozen=True, slots=True)
class Check:
    """``constraint name check (rule)``."""

    name: str
    rule: Rule
    traits: Traits = ()


# ---- indexes ----------------------------------------------------------------------------------


class Method(Enum):
    """Index access methods."""

    BTREE = "btree"
    HASH = "hash"
    GIN = "gin"
    GIST = "gist"
    BRIN = "brin"
    HNSW = "hnsw"
    IVFFLAT = "ivfflat"


@dataclass(frozen=True, slots=True)
class IndexKey:
    """One key column; ``opclass`` is None for the default of type and method."""

    column: str
    opclass: str | None = None
    descending: bool = False
    nulls_first: bool = False
    """Effective order: Postgres' own default is nulls first exactly where descending."""


@dataclass(frozen=True, slots=True)
class IsTrue:
    """Rows in which the boolean column is true."""

    column: str


@dataclass(frozen=True, slots=True)
class IsNull:
    """Rows in which the column is NULL."""

    column: str


@dataclass(frozen=True, slots=True)
class IsNotNull:
    """Rows in which the column is not NULL."""

    column: str


@dataclass(frozen=True, slots=True)
class OpaquePredicate:
    """A predicate outside of this family, as a live database prints it."""

    expression: str


Predicate: TypeAlias = IsTrue | IsNull | IsNotNull | OpaquePredicate


@dataclass(frozen=True, slots=True)
class Index:
    """An index that no constraint owns."""

    name: str
    keys: tuple[IndexKey, ...]
    method: Method = Method.BTREE
    unique: bool = False
    nulls_distinct: bool = True
    predicate: Predicate | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    """Storage parameters by name, sorted."""
    include: tuple[str, ...] = ()
    valid: bool = True
    opaque_keys: tuple[str, ...] = ()
    """Expression keys of a live index, which a spec cannot contain."""


# ---- functions and triggers -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetUpdatedAt:
    """Sets ``column`` of the new row to ``now()`` and returns the row."""

    column: str


@dataclass(frozen=True, slots=True)
class OpaqueBody:
    """The source text of a live function."""

    source: str


FunctionBody: TypeAlias = SetUpdatedAt | OpaqueBody


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the schema; ``settings`` are its own ``SET name = value`` pairs."""

    name: str
    body: FunctionBody
    arguments: str = ""
    returns: str = "trigger"
    language: str = "plpgsql"
    volatility: str = "volatile"
    security_definer: bool = False
    settings: tuple[tuple[str, str], ...] = (("search_path", '""'),)
    public_execute: bool = False
    comment: str | None = None
    execute: tuple[str, ...] = ()
    """Roles that may call it, beside its owner."""


class Timing(Enum):
    """When a trigger fires."""

    BEFORE = "before"
    AFTER = "after"
    INSTEAD_OF = "instead of"


class Event(Enum):
    """What a trigger fires on."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class RowChanged:
    """``old.* is distinct from new.*``."""


@dataclass(frozen=True, slots=True)
class OpaqueCondition:
    """A WHEN clause outside of this family, as a live database prints it."""

    expression: str


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger of a table; ``function`` is a function of the same schema."""

    name: str
    function: str
    timing: Timing
    events: tuple[Event, ...]
    each_row: bool = True
    when: RowChanged | OpaqueCondition | None = None
    columns: tuple[str, ...] = ()
    old_rows: str | None = None
    """Name of the transition table of old rows."""
    new_rows: str | None = None
    """Name of the transition table of new rows."""
    deferred: bool = False
    """A constraint trigger that fires when the transaction ends, unless it is made to earlier."""
    enabled: bool = True
    opaque: str | None = None
    """Definition of a live trigger with parts that the other fields cannot hold."""


# ---- access and aggregates --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """A row-level security policy; ``using`` and ``with_check`` as a live database prints them."""

    name: str
    command: str
    roles: tuple[str, ...]
    permissive: bool = True
    using: str | None = None
    with_check: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Privileges of a role on a table; no columns means the whole table."""

    role: str
    privileges: tuple[str, ...]
    columns: tuple[str, ...] = ()


ACTIONS: Final = ("select", "insert", "update", "delete")
"""What a role may do with a table."""


@dataclass(frozen=True, slots=True)
class RowScope:
    """Which rows of the schema are a role's: those that belong to some rows of the table ``root``.

    Their ids are in the request's verified token, at the path ``claim``: one, or a list. With
    ``token``, sessions that do not come from the API name them by a token that only a role with all
    rights can issue.
    """

    root: str
    claim: tuple[str, ...]
    token: bool = False


@dataclass(frozen=True, slots=True)
class Right:
    """What a role may do (``select``, ``insert``, ``update`` or ``delete``) with a table or view.

    ``without`` are columns that it may not read, or not write.
    """

    action: str
    table: str
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Role:
    """A database role and its rights. Without a scope it sees all rows; ``everything`` are all
    rights on everything.
    """

    name: str
    scope: RowScope | None = None
    rights: tuple[Right, ...] = ()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """Column ``target`` of a rollup: the sum of ``source`` (NULL counts as 0), or, without it, the
    number of rows.
    """

    target: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class RollupKey:
    """Column ``target`` of a rollup: ``source`` itself, or the UTC day of that instant."""

    target: str
    source: str
    day: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """The instant ``source`` lies in the half-open window from column ``start`` to ``end``.

    With ``grid``, windows of so many minutes, in UTC, are kept on every write; other windows are
    worked out on demand.
    """

    source: str
    start: str
    end: str
    grid: int | None = None


@dataclass(frozen=True, slots=True)
class Rollup:
    """The table ``name`` is kept equal to an aggregate of the table ``source``."""

    name: str
    source: str
    keys: tuple[RollupKey, ...]
    measures: tuple[Measure, ...]
    window: Window | None = None
    on_write: bool = True
    """Whether every commit that changes the source changes the rollup, too."""

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Columns of the rollup that name a row of it, in order."""
        own = tuple(key.target for key in self.keys)
        return own if self.window is None else (*own, self.window.start, self.window.end)

    @property
    def kept(self) -> bool:
        """Whether writes to the source maintain rows of it."""
        return self.on_write and (self.window is None or self.window.grid is not None)


VIEW_MARK = "Made by codered-spec: "
"""Before the digests of query and definition, in the last line of a live view's comment."""


@dataclass(frozen=True, slots=True)
class View:
    """A named query, run with the rights of whoever reads it (``security_invoker``).

    ``query`` is a SELECT without a semicolon, with qualified names. A database rewrites it, so that
    two of them are compared by ``digest``: of the query, as long as nobody changed the view.
    """

    name: str
    query: str
    comment: str | None = None
    security_invoker: bool = True
    digest: str | None = None
    select: tuple[str, ...] = ()
    """Roles that may read it, beside its owner."""


# ---- the tree ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``known`` are the values of an open list: for types and docs, not enforced."""

    name: str
    type: PgType
    nullable: bool = False
    default: Default | None = None
    known: tuple[str, ...] = ()
    comment: str | None = None
    generated: str | None = None
    """Identity or generation expression of a live column, which a spec cannot contain."""
    collation: str | None = None
    """A collation other than the type's own, of a live column."""


@dataclass(frozen=True, slots=True)
class OpaqueColumn:
    """A live column whose type is outside of the family."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table with all that belongs to it."""

    name: str
    columns: tuple[Column, ...]
    primary_key: PrimaryKey | None = None
    uniques: tuple[Unique, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    indexes: tuple[Index, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    policies: tuple[Policy, ...] = ()
    grants: tuple[Grant, ...] = ()
    row_security: bool = False
    force_row_security: bool = False
    comment: str | None = None
    opaque_columns: tuple[OpaqueColumn, ...] = ()
    opaque_constraints: tuple[tuple[str, str], ...] = ()
    """Name and definition of live constraints of other kinds (exclusion, foreign to elsewhere)."""
    storage: str | None = None
    """Persistence, partitioning or inheritance of a live table, where it is not an ordinary one."""

    @property
    def constraints(self) -> tuple[PrimaryKey | Unique | ForeignKey | Check, ...]:
        """Every constraint: primary key, uniques, foreign keys, checks."""
        primary = () if self.primary_key is None else (self.primary_key,)
        return (*primary, *self.uniques, *self.foreign_keys, *self.checks)

    @property
    def keys(self) -> tuple[PrimaryKey | Unique, ...]:
        """The primary key and the unique constraints."""
        return (*(() if self.primary_key is None else (self.primary_key,)), *self.uniques)

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A name for the one value list that several columns (``table.column``) share."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension and the schema that its objects live in."""

    name: str
    schema: str


@dataclass(frozen=True, slots=True)
class OtherObject:
    """A live object of the schema that the model has no class for (view, sequence, type)."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Schema:
    """A whole Postgres schema."""

    name: str
    tables: tuple[Table, ...] = ()
    extensions: tuple[Extension, ...] = ()
    functions: tuple[Function, ...] = ()
    rollups: tuple[Rollup, ...] = ()
    views: tuple[View, ...] = ()
    roles: tuple[Role, ...] = ()
    usage: tuple[str, ...] = ()
    """Roles that may use the schema at all, beside its owner."""
    value_sets: tuple[ValueSet, ...] = ()
    comment: str | None = None
    others: tuple[OtherObject, ...] = ()

    def table(self, name: str) -> Table | None:
        """The table of that name, or None."""
        return next((t for t in self.tables if t.name == name), None)

    def extension_schema(self, name: str) -> str | None:
        """The schema that the extension is declared to live in, or None."""
        return next((e.schema for e in self.extensions if e.name == name), None)
