"""Spec and model say the same in both directions, and the real spec decides as designed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from model_strategies import schemas

import codered_spec
from codered_spec.compiler import load
from codered_spec.errors import InputError, Place
from codered_spec.migrate.expressible import expressible
from codered_spec.model.check import check
from codered_spec.model.normalize import normalize
from codered_spec.model.schema import (
    Action,
    Event,
    Finite,
    Flat,
    IndexKey,
    IsTrue,
    Literal,
    Matches,
    MaxBytes,
    Method,
    NonZero,
    Now,
    OneOf,
    OpaqueRule,
    Ordered,
    RandomUuid,
    Range,
    RowChanged,
    Rule,
    Schema,
    SetUpdatedAt,
    SubsetOf,
    Table,
    Timing,
    Unique,
)
from codered_spec.model.types import NUMBERS, TEMPORAL, Array, Text, Timestamptz, Vector
from codered_spec.sources.spec import canonical_text, dump_schema, read_spec
from codered_spec.sources.spec.build import Path as DataPath
from codered_spec.sources.spec.build import build_schema

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "schema.yaml"
SCHEMA = load(str(SPEC)).schema


def built(data: dict[str, Any]) -> Schema:
    """The model of plain data without meaningless parts."""

    def report(path: DataPath, code: str, message: str, fix: str) -> None:
        raise AssertionError((path, code, message, fix))

    return build_schema(data, report)


# ---- both directions --------------------------------------------------------------------------

some = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def plain(schema: Schema) -> Schema:
    """The part of a random model that a spec can contain."""
    found, _ = expressible(schema)
    # functions have only the default properties in a spec
    names = {f.name for f in found.functions if not _ordinary(f)}
    assume(not names)
    return found


def _ordinary(function: Any) -> bool:
    return bool(
        function.volatility == "volatile"
        and not function.security_definer
        and not function.public_execute
        and function.settings == (("search_path", '""'),)
    )


@some
@given(schema=schemas())
def test_what_is_dumped_is_built_again(schema: Schema) -> None:
    schema = plain(schema)
    assert normalize(built(dump_schema(schema))) == normalize(schema)


@some
@given(schema=schemas())
def test_a_model_survives_its_canonical_text(schema: Schema) -> None:
    schema = plain(schema)
    text = canonical_text({"format": 1, **dump_schema(schema)})
    assert normalize(read_spec(text, "x").schema) == normalize(schema)


@some
@given(schema=schemas())
def test_a_canonical_text_is_dumped_as_it_was(schema: Schema) -> None:
    text = canonical_text({"format": 1, **dump_schema(plain(schema))})
    again = canonical_text({"format": 1, **dump_schema(read_spec(text, "x").schema)})
    assert again == text


@pytest.mark.parametrize(
    "default",
    [
        "now()",
        "gen_random_uuid()",
        "",
        "no",
        "0",
        "true",
        "{}",
        "1e3",
        " x ",
        "now() ",
        "{text: x}",
    ],
)
def test_a_text_default_is_never_taken_for_something_else(default: str) -> None:
    text = canonical_text(
        {
            "format": 1,
            "schema": "s",
            "tables": {"t": {"columns": {"a": {"type": "text", "default": {"text": default}}}}},
        }
    )
    (table,) = read_spec(text, "x").schema.tables
    assert table.columns[0].default == Literal(default)
    assert built(dump_schema(Schema("s", (table,)))).tables == (table,)


def test_a_bound_of_sixty_digits_survives() -> None:
    data = {"tables": {"t": {"columns": {"a": {"type": "numeric", "max": 10**59}}}}}
    text = canonical_text({"format": 1, "schema": "s", **data})
    (table,) = read_spec(text, "x").schema.tables
    assert table.checks[0].rule == Range("a", None, Decimal(10**59))


def test_the_real_spec_is_dumped_as_it_is_built() -> None:
    assert normalize(built(dump_schema(SCHEMA))) == normalize(SCHEMA)


# ---- the real spec ----------------------------------------------------------------------------


def test_the_spec_of_the_repository_is_canonical() -> None:
    text = SPEC.read_text("utf-8")
    assert canonical_text(read_spec(text, "schema.yaml").data) == text


def test_it_has_no_finding_of_its_own() -> None:
    spec = read_spec(SPEC.read_text("utf-8"), "schema.yaml")
    assert spec.locate(check(spec.schema)) == ()


def test_it_has_21_tables_with_235_columns_in_the_schema_codered() -> None:
    assert SCHEMA.name == "codered"
    assert (len(SCHEMA.tables), sum(len(t.columns) for t in SCHEMA.tables)) == (21, 235)


def test_the_public_function_loads_it() -> None:
    assert codered_spec.load_spec(SPEC) == SCHEMA
    assert codered_spec.load_spec(str(SPEC)) == SCHEMA


def test_the_public_function_raises_an_input_error_for_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="C002"):
        codered_spec.load_spec(tmp_path / "none.yaml")


def test_the_public_function_raises_an_input_error_for_a_model_error(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("format: 1\nschema: s\ntables: {t: {columns: {a: {type: text}}}}\n")
    with pytest.raises(InputError, match=r"x\.yaml:3:10: error M014"):
        codered_spec.load_spec(path)


def rules(kind: type[Rule]) -> dict[str, Any]:
    """Address of a column to its rule of the kind."""
    return {
        f"{t.name}.{c.rule.column}": c.rule
        for t in SCHEMA.tables
        for c in t.checks
        if isinstance(c.rule, kind) and not isinstance(c.rule, Ordered | OpaqueRule)
    }  # fmt: skip


def addresses(*types: type) -> set[str]:
    """Addresses of the columns of certain types."""
    return {
        f"{t.name}.{c.name}" for t in SCHEMA.tables for c in t.columns if isinstance(c.type, types)
    }


def table(name: str) -> Table:
    found = SCHEMA.table(name)
    assert found is not None
    return found


# ---- decision 1: nullable exactly where it is said --------------------------------------------

NULLABLE = """
    projects.max_daily_spend_usd projects.max_daily_tokens tasks.milestone_id
    tasks.task_token_budget tasks.task_cost_ceiling_usd tasks.created_by task_runs.agent_run_id
    task_runs.completed_at agents.allowed_models agent_runs.task_id agent_runs.error_message
    agent_runs.degraded_from_model agent_runs.full_input agent_runs.full_output
    ci_events.task_id ci_events.started_at ci_events.completed_at ci_events.logs_url
    deployments.task_id deployments.url deployments.started_at deployments.completed_at
    errors.task_id errors.ci_event_id errors.deployment_id errors.agent_run_id errors.details
    lessons.related_task_id lessons.related_agent_id lessons.last_applied_at
    decisions.observed_outcome decisions.outcome_rating decisions.time_to_impact
    llm_providers.base_url doc_chunks.embedding doc_chunks.section long_runs.started_at
    long_runs.completed_at user_overrides.task_id user_overrides.agent_run_id
""".split()


def test_exactly_these_columns_are_nullable() -> None:
    found = [f"{t.name}.{c.name}" for t in SCHEMA.tables for c in t.columns if c.nullable]
    assert found == NULLABLE


# ---- decision 2: defaults ---------------------------------------------------------------------


def defaults(value: object) -> set[str]:
    return {f"{t.name}.{c.name}" for t in SCHEMA.tables for c in t.columns if c.default == value}


def test_every_id_and_nothing_else_has_a_random_default() -> None:
    assert defaults(RandomUuid()) == {f"{t.name}.id" for t in SCHEMA.tables}


def test_every_time_of_creation_or_change_and_nothing_else_has_the_default_now() -> None:
    assert defaults(Now()) == {
        f"{t.name}.{c.name}"
        for t in SCHEMA.tables
        for c in t.columns
        if c.name in ("created_at", "updated_at")
    }


def test_every_array_but_allowed_models_has_the_empty_array_as_default() -> None:
    assert defaults(Literal("{}")) == addresses(Array) - {"agents.allowed_models"}


def test_activity_starts_true() -> None:
    assert defaults(Literal("true")) == {"agents.is_active", "doc_manifest.is_active"}


def test_no_other_column_has_a_default_but_the_stated_count() -> None:
    known = (None, RandomUuid(), Now(), Literal("{}"), Literal("true"))
    found = {
        f"{t.name}.{c.name}": c.default
        for t in SCHEMA.tables
        for c in t.columns
        if c.default not in known
    }
    assert found == {"lessons.applied_count": Literal("0")}


# ---- decision 3: value lists ------------------------------------------------------------------

CLOSED = {
    "projects.status": "active paused archived",
    "tasks.zone": "green yellow red",
    "tasks.size": "xs s m l xl",
    "tasks.status": "backlog in_progress blocked needs_validation done",
    "task_runs.status": "queued in_progress succeeded failed blocked",
    "agents.default_tier": "gold silver bronze",
    "agent_runs.tier": "gold silver bronze",
    "agent_runs.status": "succeeded failed",
    "ci_events.status": "queued in_progress succeeded failed cancelled",
    "deployments.environment": "preview staging production",
    "deployments.status": "queued in_progress succeeded failed",
    "deployments.trigger_source": "manual ci webhook",
    "errors.source": "ci deploy agent infra unknown",
    "errors.severity": "low medium high critical",
    "lessons.status": "draft applied deprecated",
    "bug_patterns.impact": "low medium high critical",
    "bug_patterns.status": "draft active deprecated",
    "decisions.status": "active reversed superseded",
    "decisions.outcome_rating": "positive neutral negative",
    "decisions.time_to_impact": "short medium long",
    "llm_providers.status": "active deprecated",
    "llm_models.tier": "gold silver bronze",
    "llm_models.status": "active deprecated experimental",
    "long_runs.status": "planned running completed stopped",
}


def test_exactly_these_lists_are_closed() -> None:
    assert {a: " ".join(rule.values) for a, rule in rules(OneOf).items()} == CLOSED


def test_impact_axes_are_subsets_of_five_letters() -> None:
    letters = {a: "".join(rule.values) for a, rule in rules(SubsetOf).items()}
    assert letters == {"tasks.impact_axes": "ABCDE", "decisions.impact_axes": "ABCDE"}


OPEN = {
    "projects.slug",
    "tasks.domain_tags",
    "task_runs.phase",
    "agents.slug",
    "agent_runs.mode",
    "agent_runs.provider",
    "agent_runs.model",
    "ci_events.provider",
    "deployments.provider",
    "lessons.source_type",
    "llm_providers.name",
    "llm_models.capabilities",
    "doc_manifest.path",
    "doc_manifest.module",
    "doc_manifest.domain",
    "user_overrides.override_type",
}


def test_exactly_these_lists_are_open() -> None:
    assert {f"{t.name}.{c.name}" for t in SCHEMA.tables for c in t.columns if c.known} == OPEN


def test_open_codes_have_a_form() -> None:
    assert {a: rule.pattern for a, rule in rules(Matches).items()} == dict.fromkeys(
        (
            "task_runs.phase agent_runs.mode lessons.source_type doc_manifest.domain"
            " user_overrides.override_type"
        ).split(),
        "^[a-z][a-z0-9_]*$",
    )


def test_lists_that_mean_the_same_are_shared_by_name() -> None:
    assert {s.name: set(s.columns) for s in SCHEMA.value_sets} == {
        "tier": {"agents.default_tier", "agent_runs.tier", "llm_models.tier"},
        "severity": {"errors.severity", "bug_patterns.impact"},
        "impact_axis": {"tasks.impact_axes", "decisions.impact_axes"},
    }


# ---- decisions 4 and 5: foreign keys ----------------------------------------------------------

FOREIGN_KEYS = """
    task_runs.task_id,project_id -> tasks.id,project_id cascade
    task_runs.agent_run_id,project_id -> agent_runs.id,project_id set null agent_run_id
    agent_runs.task_id,project_id -> tasks.id,project_id set null task_id
    agent_runs.agent_id -> agents.id restrict
    ci_events.task_id,project_id -> tasks.id,project_id set null task_id
    deployments.task_id,project_id -> tasks.id,project_id set null task_id
    errors.task_id,project_id -> tasks.id,project_id set null task_id
    errors.ci_event_id,project_id -> ci_events.id,project_id set null ci_event_id
    errors.deployment_id,project_id -> deployments.id,project_id set null deployment_id
    errors.agent_run_id,project_id -> agent_runs.id,project_id set null agent_run_id
    lessons.related_task_id,project_id -> tasks.id,project_id set null related_task_id
    lessons.related_agent_id -> agents.id set null
    llm_models.provider_id -> llm_providers.id restrict
    llm_usage_daily.agent_id -> agents.id restrict
    llm_usage_by_agent.agent_id -> agents.id restrict
    llm_degradation_events.agent_run_id -> agent_runs.id cascade
    doc_chunks.doc_id,project_id -> doc_manifest.id,project_id cascade
    long_run_checkpoints.long_run_id -> long_runs.id cascade
    user_overrides.task_id,project_id -> tasks.id,project_id set null task_id
    user_overrides.agent_run_id,project_id -> agent_runs.id,project_id set null agent_run_id
"""
WITHOUT_PROJECT = {
    "projects", "agents", "llm_providers", "llm_models", "llm_degradation_events",
    "long_run_checkpoints",
}  # fmt: skip


def test_exactly_these_foreign_keys_exist_beside_those_to_projects() -> None:
    found = []
    for t in SCHEMA.tables:
        for key in t.foreign_keys:
            if key.table != "projects":
                left, right = ",".join(key.columns), ",".join(key.referenced)
                partial = "".join(f" {c}" for c in key.on_delete_columns)
                action = key.on_delete.value
                found.append(f"{t.name}.{left} -> {key.table}.{right} {action}{partial}")
    assert sorted(found) == sorted(line.strip() for line in FOREIGN_KEYS.strip().splitlines())


def test_every_project_id_points_to_a_project_that_cannot_be_deleted() -> None:
    found = {
        t.name: (key.referenced, key.on_delete)
        for t in SCHEMA.tables
        for key in t.foreign_keys
        if key.table == "projects" and key.columns == ("project_id",)
    }
    tables = {t.name for t in SCHEMA.tables} - WITHOUT_PROJECT
    assert found == dict.fromkeys(tables, (("id",), Action.RESTRICT))


def test_no_foreign_key_acts_on_update_and_none_is_weakened() -> None:
    keys = [key for t in SCHEMA.tables for key in t.foreign_keys]
    assert {(key.on_update, key.traits) for key in keys} == {(Action.NO_ACTION, ())}


@pytest.mark.parametrize("address", ["tasks.milestone_id", "tasks.created_by", "decisions.owner"])
def test_a_column_that_points_elsewhere_has_no_foreign_key(address: str) -> None:
    owner, _, column = address.partition(".")
    assert all(column not in key.columns for key in table(owner).foreign_keys)


def test_an_index_leads_with_every_column_of_a_foreign_key() -> None:
    for t in SCHEMA.tables:
        leading = {i.keys[0].column for i in t.indexes if i.predicate is None}
        leading |= {key.columns[0] for key in t.keys}
        assert {key.columns[0] for key in t.foreign_keys} <= leading


def test_a_link_between_two_tables_of_projects_stays_in_one_project() -> None:
    for t in SCHEMA.tables:
        for key in t.foreign_keys:
            both = t.column("project_id") and table(key.table).column("project_id")
            if both:
                assert key.columns[1:] == key.referenced[1:] == ("project_id",)


# ---- decision 6: uniques ----------------------------------------------------------------------


def test_exactly_these_uniques_exist() -> None:
    found = {(t.name, u.columns) for t in SCHEMA.tables for u in t.uniques}
    assert found == {
        ("projects", ("slug",)),
        ("agents", ("slug",)),
        ("tasks", ("project_id", "id")),
        ("agent_runs", ("project_id", "id")),
        ("ci_events", ("project_id", "id")),
        ("deployments", ("project_id", "id")),
        ("doc_manifest", ("project_id", "id")),
        ("llm_providers", ("name",)),
        ("llm_models", ("provider_id", "name")),
        ("doc_manifest", ("project_id", "path", "version")),
        ("doc_chunks", ("doc_id", "chunk_index")),
        ("long_run_checkpoints", ("long_run_id", "checkpoint_index")),
        ("llm_usage_daily", ("date", "project_id", "agent_id")),
        ("llm_usage_by_agent", ("project_id", "agent_id", "window_start", "window_end")),
    }


def test_the_stated_unique_names_are_kept() -> None:
    assert table("projects").uniques == (Unique("projects_slug_key", ("slug",)),)
    assert table("agents").uniques == (Unique("agents_slug_key", ("slug",)),)


def test_a_path_has_one_active_version() -> None:
    (index,) = (i for t in SCHEMA.tables for i in t.indexes if i.unique)
    assert index in table("doc_manifest").indexes
    assert index.keys == (IndexKey("project_id"), IndexKey("path"))
    assert index.predicate == IsTrue("is_active")


def test_every_primary_key_is_the_id() -> None:
    assert {t.primary_key and t.primary_key.columns for t in SCHEMA.tables} == {("id",)}


# ---- decision 7: checks -----------------------------------------------------------------------


def test_every_number_is_at_least_zero_and_never_nan() -> None:
    found = rules(Range)
    assert found.keys() == addresses(*NUMBERS)
    assert all(r.minimum == 0 and r.maximum is None for r in found.values())


def test_every_date_and_instant_is_finite() -> None:
    assert rules(Finite).keys() == addresses(*TEMPORAL)


def test_every_array_is_flat() -> None:
    assert rules(Flat).keys() == addresses(Array)


def test_every_indexed_text_without_a_closed_list_is_bounded() -> None:
    closed = rules(OneOf).keys() | rules(SubsetOf).keys()
    indexed = set()
    for t in SCHEMA.tables:
        columns = [k.column for i in t.indexes for k in i.keys]
        columns += [c for key in t.keys for c in key.columns]
        for column in filter(None, map(t.column, columns)):
            element = column.type.element if isinstance(column.type, Array) else column.type
            if isinstance(element, Text):
                indexed.add(f"{t.name}.{column.name}")
    bounds = rules(MaxBytes)
    assert bounds.keys() == indexed - closed
    assert {rule.limit for rule in bounds.values()} == {2600}


def test_a_window_ends_after_it_starts() -> None:
    ordered = [c.rule for t in SCHEMA.tables for c in t.checks if isinstance(c.rule, Ordered)]
    assert ordered == [Ordered("window_start", "window_end", strict=True)]


def test_an_embedding_is_not_zero() -> None:
    assert rules(NonZero).keys() == {"doc_chunks.embedding"}


# ---- decisions 8 to 10 ------------------------------------------------------------------------


def test_embeddings_have_384_dimensions() -> None:
    assert addresses(Vector) == {"doc_chunks.embedding"}
    column = table("doc_chunks").column("embedding")
    assert column is not None
    assert column.type == Vector(384)


def test_the_vector_index_has_the_documented_name_and_is_hnsw_with_cosine() -> None:
    (index,) = (i for t in SCHEMA.tables for i in t.indexes if i.name == "doc_chunks_embedding_idx")
    assert index.method is Method.HNSW
    assert index.keys == (IndexKey("embedding", "vector_cosine_ops"),)


def test_the_vector_extension_lives_in_extensions() -> None:
    assert SCHEMA.extension_schema("vector") == "extensions"
    assert len(SCHEMA.extensions) == 1


@pytest.mark.parametrize("name", ["llm_usage_daily", "llm_usage_by_agent"])
def test_usage_is_kept_in_tables_with_keys(name: str) -> None:
    assert table(name).primary_key
    assert table(name).indexes


def test_exactly_the_tables_with_updated_at_have_the_trigger() -> None:
    with_column = {t.name for t in SCHEMA.tables if t.column("updated_at")}
    assert {t.name for t in SCHEMA.tables if t.triggers} == with_column
    assert len(with_column) == 10


def test_the_trigger_moves_updated_at_when_the_row_really_changed() -> None:
    (function,) = SCHEMA.functions
    assert function.body == SetUpdatedAt("updated_at")
    assert function.settings == (("search_path", '""'),)
    for t in SCHEMA.tables:
        for trigger in t.triggers:
            column = t.column("updated_at")
            assert column is not None
            assert isinstance(column.type, Timestamptz)
            assert trigger.function == function.name
            assert (trigger.timing, trigger.events) == (Timing.BEFORE, (Event.UPDATE,))
            assert trigger.when == RowChanged()
            assert trigger.each_row


# ---- every complaint of the model has a place in the file -------------------------------------

HEAD = "format: 1\nschema: s\n"
TABLES = """\
tables:
  t:
    columns:
      id:
        type: uuid
        primary_key: true
      a:
        type: text
      n:
        type: integer
  u:
    columns:
      id:
        type: uuid
        primary_key: true
      t_id:
        type: uuid
        references: t.id
    indexes:
      u_t_id_idx:
        columns: [t_id]
"""


@pytest.mark.parametrize(
    ("old", "new", "code", "at"),
    [
        ("references: t.id", "references: gone.id", "M001", "references: gone.id"),
        ("references: t.id", "references: t.gone", "M001", "references: t.gone"),
        ("columns: [t_id]", "columns: [gone]", "M001", "u_t_id_idx:"),
        ("references: t.id", "references: t.n", "M002", "references: t.n"),
        ("t_id:\n        type: uuid", "t_id:\n        type: text", "M002", "references"),
        ("references: t.id", "references: t.a\n        format: ^x$", "M003", "references: t.a"),
        ("u_t_id_idx:", "t:", "M004", "t:", ),
        ("      a:\n", "      " + "a" * 64 + ":\n", "M005", "a" * 64),
        ("      a:\n", "      ctid:\n", "M005", "ctid:"),
        ("type: integer", "type: integer\n        one_of: ['1']", "M006", "one_of"),
        ("type: integer", "type: vector\n    indexes:\n      v: {columns: [n], method: hnsw}",
         "M007", "v: {"),
        ("columns: [t_id]", "columns: [t_id]\n        method: gin", "M009", "u_t_id_idx:"),
        ("type: integer", "type: integer\n        default: x", "M010", "n:"),
        ("type: integer", "type: integer\n        finite: true", "M011", "finite: true"),
        ("references: t.id", "references: t.id\n        on_delete: set null", "M012", "references"),
        ("type: text", "type: varchar(0)", "M013", "a:"),
        ("      id:\n        type: uuid\n        primary_key: true\n      a:", "      a:", "M014",
         "t:"),
        ("type: text", "type: text\n        unique: true", "M015", "a:"),
        ("type: text", "type: text\n        format: x", "M016", "format: x"),
        ("type: text", "type: text\n        note: ''", "M017", "a:"),
        ("    indexes:\n      u_t_id_idx:\n        columns: [t_id]\n", "", "M018", "references"),
        ("tables:", "value_sets: {z: [t.a]}\ntables:", "M019", "value_sets: {z"),
        ("type: text", "type: text\n        touch: true", "M020", "touch: true"),
        ("key: true\n      a:", "key: true\n        nullable: true\n      a:", "M022", "id:"),
        ("type: text", "type: vector(3)", "M023", "a:"),
    ],
)  # fmt: skip
def test_a_complaint_of_the_model_has_its_place(old: str, new: str, code: str, at: str) -> None:
    assert old in TABLES
    text = HEAD + TABLES.replace(old, new, 1)
    spec = read_spec(text, "x")
    places = [d.place for d in spec.locate(check(spec.schema)) if d.code == code]
    assert len(places) == 1
    assert isinstance(places[0], Place)
    assert text.splitlines()[places[0].line - 1].strip().startswith(at)


def test_required_keys_in_a_cycle_are_reported_at_a_table() -> None:
    cycle = TABLES.replace("      a:\n", "      u_id: {type: uuid, references: u.id}\n      a:\n")
    spec = read_spec(HEAD + cycle, "x")
    (found,) = (d for d in spec.locate(check(spec.schema)) if d.code == "M008")
    assert found.place in (Place("x", 4, 3), Place("x", 12, 3))


def test_a_complaint_without_a_subject_points_to_the_start() -> None:
    spec = read_spec((HEAD + TABLES).replace("schema: s", "schema: pg_s"), "x")
    (found,) = (d for d in spec.locate(check(spec.schema)) if d.code == "M005")
    assert found.place == Place("x", 1, 1)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("{rule: range}", "lacks column"),
        ("{rule: one_of, column: a}", "lacks values"),
        ("{rule: flat, column: a, values: [x]}", "has no use for values"),
        ("{rule: ordered, lower: a}", "lacks upper"),
    ],
)
def test_a_rule_with_the_wrong_fields_is_reported_at_its_place(entry: str, line: str) -> None:
    text = HEAD + TABLES + f"    checks:\n      c: {entry}\n"
    with pytest.raises(InputError) as caught:
        read_spec(text, "x")
    (found,) = caught.value.diagnostics
    assert found.code == "S011"
    assert line in found.message
    assert found.place
    assert found.place.line == text.count("\n")


def test_an_order_of_a_column_that_the_index_does_not_have_is_reported() -> None:
    with pytest.raises(InputError, match="M001") as caught:
        read_spec(HEAD + TABLES + "        descending: [id]\n", "x")
    assert caught.value.diagnostics[0].place == Place("x", 24, 9)


def test_two_primary_keys_are_reported() -> None:
    text = HEAD + TABLES + "    primary_key: {columns: [t_id]}\n"
    with pytest.raises(InputError, match="M004"):
        read_spec(text, "x")


def test_an_index_without_columns_is_reported() -> None:
    with pytest.raises(InputError, match="S008"):
        read_spec(HEAD + TABLES + "      bad: {method: gin}\n", "x")
