"""A small hand-made model with every kind of object that the emitter writes."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

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
    IsNotNull,
    IsTrue,
    Literal,
    Matches,
    MaxBytes,
    Measure,
    Method,
    NonZero,
    Now,
    OneOf,
    Ordered,
    PrimaryKey,
    RandomUuid,
    Range,
    Rollup,
    RollupKey,
    RowChanged,
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
    Array,
    BigInt,
    Boolean,
    Date,
    Integer,
    Jsonb,
    Numeric,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)

_ID: Final = Column("id", Uuid(), default=RandomUuid(), comment="key")

PROJECTS: Final = Table(
    name="projects",
    columns=(
        _ID,
        Column("slug", Text(), comment="short name"),
        Column("title", Varchar(80), nullable=True),
        Column("is_active", Boolean(), default=Literal("true")),
        Column("tags", Array(Text()), default=Literal("{}"), known=("a", "b")),
        Column("updated_at", Timestamptz(), default=Now()),
    ),
    primary_key=PrimaryKey("projects_pkey", ("id",)),
    uniques=(Unique("projects_slug_key", ("slug",)),),
    checks=(
        Check("projects_slug_bytes", MaxBytes("slug", 2600)),
        Check("projects_slug_format", Matches("slug", "^[a-z][a-z0-9_]*$")),
        Check("projects_tags_flat", Flat("tags")),
        Check("projects_tags_values", SubsetOf("tags", ("a", "b", "it's"))),
        Check("projects_updated_at_finite", Finite("updated_at")),
    ),
    indexes=(
        Index("idx_projects_tags", (IndexKey("tags"),), Method.GIN),
        Index("idx_projects_active", (IndexKey("slug"),), predicate=IsTrue("is_active")),
    ),
    triggers=(
        Trigger(
            "projects_set_updated_at",
            "set_updated_at",
            Timing.BEFORE,
            (Event.UPDATE,),
            when=RowChanged(),
        ),
    ),
    comment="what is worked on",
)

TASKS: Final = Table(
    name="tasks",
    columns=(
        _ID,
        Column("project_id", Uuid()),
        Column("parent_id", Uuid(), nullable=True),
        Column("zone", Text(), comment="risk"),
        Column("cost", Numeric(10, 4), default=Literal("0")),
        Column("attempts", Integer(), default=Literal("0")),
        Column("payload", Jsonb(), nullable=True),
        Column("started_at", Timestamptz(), nullable=True),
        Column("ended_at", Timestamptz(), nullable=True),
        Column("embedding", Vector(3), nullable=True),
    ),
    primary_key=PrimaryKey("tasks_pkey", ("id",)),
    uniques=(Unique("tasks_project_id_id_key", ("project_id", "id")),),
    foreign_keys=(
        ForeignKey(
            "tasks_parent_id_fkey",
            ("project_id", "parent_id"),
            "tasks",
            ("project_id", "id"),
            Action.SET_NULL,
            ("parent_id",),
        ),
        ForeignKey("tasks_project_id_fkey", ("project_id",), "projects", ("id",), Action.RESTRICT),
    ),
    checks=(
        Check("tasks_attempts_range", Range("attempts", Decimal(0), Decimal(10))),
        Check("tasks_cost_range", Range("cost", Decimal(0))),
        Check("tasks_embedding_nonzero", NonZero("embedding")),
        Check("tasks_order", Ordered("started_at", "ended_at", strict=False)),
        Check("tasks_zone_values", OneOf("zone", ("green", "yellow", "red"))),
    ),
    indexes=(
        Index(
            "idx_tasks_embedding",
            (IndexKey("embedding", "vector_cosine_ops"),),
            Method.HNSW,
            parameters=(("m", "16"),),
        ),
        Index(
            "idx_tasks_project_started",
            (IndexKey("project_id"), IndexKey("started_at", descending=True)),
            predicate=IsNotNull("started_at"),
        ),
        Index("idx_tasks_zone_attempts", (IndexKey("zone"), IndexKey("attempts")), unique=True),
    ),
    comment="a unit of work",
)


def wanted_schema() -> Schema:
    """Two tables, a function with a trigger, pgvector."""
    return Schema(
        name="codered",
        tables=(PROJECTS, TASKS),
        extensions=(Extension("vector", "extensions"),),
        functions=(Function("set_updated_at", SetUpdatedAt("updated_at"), comment="keeps time"),),
        comment="the brain",
    )


# ---- rollups ----------------------------------------------------------------------------------

DAYS: Final = RollupKey("day", "started_at", day=True)
KIND: Final = RollupKey("kind", "kind")
COST: Final = Measure("cost", "cost")
RUNS: Final = Measure("runs")
QUARTER: Final = Window("started_at", "from_time", "to_time", 15)


def _runs(name: str) -> Table:
    instants, amounts = ("started_at", "ended_at"), ("cost", "price")
    return Table(
        name,
        (
            _ID,
            Column("kind", Integer()),
            *(Column(column, Timestamptz()) for column in instants),
            *(Column(column, Numeric(10, 4)) for column in amounts),
        ),
        PrimaryKey(f"{name}_pkey", ("id",)),
        checks=(
            *(Check(f"{name}_{column}_finite", Finite(column)) for column in instants),
            *(Check(f"{name}_{column}_range", Range(column, Decimal(0))) for column in amounts),
        ),
    )


def _costs(name: str, *keys: str) -> Table:
    return Table(
        name,
        (
            Column("day", Date(), default=Literal("2000-01-01")),
            Column("kind", Integer()),
            Column("other_kind", Integer(), default=Literal("0")),
            Column("from_time", Timestamptz(), default=Now()),
            Column("to_time", Timestamptz(), default=Now()),
            Column("cost", Numeric(20, 4)),
            Column("runs", BigInt(), default=Literal("0")),
            Column("more", BigInt(), default=Literal("0")),
        ),
        PrimaryKey(f"{name}_pkey", keys),
    )


def rollup_schema() -> Schema:
    """Runs and their costs, per day and per quarter of an hour; and tables to change it with."""
    return Schema(
        name="costs",
        tables=(
            _runs("runs"),
            _runs("old_runs"),
            _costs("daily_costs", "day", "kind"),
            _costs("costs_too", "day", "kind"),
            _costs("quarterly_costs", "kind", "from_time", "to_time"),
        ),
        rollups=(
            Rollup("daily_costs", "runs", (DAYS, KIND), (COST, RUNS)),
            Rollup("quarterly_costs", "runs", (KIND,), (COST, RUNS), QUARTER),
        ),
    )
