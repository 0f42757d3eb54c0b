"""The schema document is read completely or not at all."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codered_spec.codes import CODES
from codered_spec.errors import Diagnostic, InputError
from codered_spec.model.schema import (
    Index,
    IndexKey,
    Literal,
    Method,
    Now,
    OneOf,
    RandomUuid,
    Schema,
    SubsetOf,
)
from codered_spec.model.types import Numeric, Vector
from codered_spec.sources.document import Document, read_document

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "cases" / "document"
THEIRS = ROOT.parent / "shared" / "schema-supabase.md"
OURS = ROOT / "docs" / "schema-supabase.md"
UPDATE = os.environ.get("CODERED_UPDATE_CASES") == "1"

# ---- golden folders ---------------------------------------------------------------------------


def brief(value: object) -> str:
    """A model object on one line, without the fields that have their default."""
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name
    if isinstance(value, tuple):
        return "(" + ", ".join(map(brief, value)) + ")"
    if not dataclasses.is_dataclass(value) or type(value).__module__.endswith("model.types"):
        return repr(value) if isinstance(value, str) else str(value)
    parts = []
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if item != field.default:
            parts.append(f"{field.name}={brief(item)}")
    return f"{type(value).__name__}({', '.join(parts)})"


def shown(document: Document) -> str:
    """A document as the text of a golden file."""
    schema = document.schema
    lines = [f"schema {schema.name!r} {schema.comment!r}"]
    for table in schema.tables:
        lines.append(f"table {table.name!r} {table.comment!r}")
        objects: tuple[object, ...] = (
            *table.columns,
            *filter(None, [table.primary_key]),
            *table.uniques,
        )
        objects = (*objects, *table.foreign_keys, *table.checks, *table.indexes)
        lines += [f"  {brief(item)}" for item in objects]
    lines += [f"{place.line}:{place.column} {name}" for name, place in document.places.items()]
    return "\n".join(lines) + "\n"


def outcome(text: str) -> str:
    """What reading gives: a document, or every complaint."""
    try:
        return shown(read_document(text, "input.md"))
    except InputError as error:
        return f"{error}\n"


@pytest.mark.parametrize("case", sorted(p.name for p in CASES.iterdir()))
def test_case_gives_what_its_folder_expects(case: str) -> None:
    text = (CASES / case / "input.md").read_bytes().decode()
    expected = CASES / case / "expected.txt"
    if UPDATE:
        expected.write_text(outcome(text), encoding="utf-8")
    assert outcome(text) == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", sorted(p.name for p in CASES.glob("d0*")))
def test_case_named_after_a_code_shows_that_code(case: str) -> None:
    complaint = f"error {case[:4].upper()}:"
    assert (complaint in (CASES / case / "expected.txt").read_text()) == (
        "not-reported" not in case
    )


def test_every_code_of_the_document_has_a_case() -> None:
    codes = {code for code in CODES if code.startswith("D")}
    assert {p.name[:4].upper() for p in CASES.glob("d0*")} == codes


def test_every_code_of_the_document_is_explained() -> None:
    page = (ROOT / "docs" / "reference" / "document-format.md").read_text(encoding="utf-8")
    assert [code for code in CODES if code.startswith("D") and f"### {code}" not in page] == []


# ---- the real documents -----------------------------------------------------------------------

needs_theirs = pytest.mark.skipif(
    not THEIRS.exists(), reason="the user's own document is not part of this repository"
)
EDITIONS = pytest.mark.parametrize(
    "path", [pytest.param(THEIRS, marks=needs_theirs, id="theirs"), pytest.param(OURS, id="ours")]
)


def read(path: Path) -> Document:
    return read_document(path.read_text(encoding="utf-8"), path.name)


TABLES = """
projects tasks task_runs agents agent_runs ci_events deployments errors lessons bug_patterns
decisions llm_providers llm_models llm_usage_daily llm_usage_by_agent llm_degradation_events
doc_manifest doc_chunks long_runs long_run_checkpoints user_overrides
""".split()

COLUMNS = dict(
    zip(
        TABLES,
        [9, 15, 9, 13, 20, 13, 13, 12, 14, 11, 16, 7, 12, 7, 8, 6, 12, 10, 13, 7, 8],
        strict=True,
    )
)

# name, method, columns; every name that the document lists
NAMED_INDEXES = """
projects_slug_key unique slug
tasks_project_id_idx btree project_id
tasks_status_idx btree status
tasks_zone_idx btree zone
tasks_domain_tags_gin gin domain_tags
tasks_impact_axes_gin gin impact_axes
task_runs_task_id_idx btree task_id
task_runs_phase_idx btree phase
task_runs_status_idx btree status
agents_slug_key unique slug
agent_runs_project_id_idx btree project_id
agent_runs_task_id_idx btree task_id
agent_runs_agent_id_idx btree agent_id
agent_runs_model_idx btree model
agent_runs_created_at_idx btree created_at
ci_events_project_id_idx btree project_id
ci_events_task_id_idx btree task_id
ci_events_run_id_idx btree run_id
ci_events_status_idx btree status
deployments_project_id_idx btree project_id
deployments_task_id_idx btree task_id
deployments_status_idx btree status
deployments_environment_idx btree environment
errors_project_id_idx btree project_id
errors_task_id_idx btree task_id
errors_source_idx btree source
errors_severity_idx btree severity
errors_details_gin gin details
lessons_project_id_idx btree project_id
lessons_tags_gin gin tags
lessons_status_idx btree status
bug_patterns_project_id_idx btree project_id
bug_patterns_status_idx btree status
bug_patterns_tags_gin gin tags
decisions_project_id_idx btree project_id
decisions_status_idx btree status
llm_models_name_idx btree name
llm_models_provider_id_idx btree provider_id
llm_usage_daily_date_idx btree date
llm_usage_daily_project_id_idx btree project_id
llm_usage_daily_agent_id_idx btree agent_id
llm_usage_by_agent_project_id_idx btree project_id
llm_usage_by_agent_agent_id_idx btree agent_id
llm_degradation_events_agent_run_id_idx btree agent_run_id
doc_manifest_project_id_idx btree project_id
doc_manifest_path_idx btree path
doc_manifest_domain_idx btree domain
doc_manifest_tags_gin gin tags
doc_chunks_doc_id_idx btree doc_id
doc_chunks_project_id_idx btree project_id
doc_chunks_tags_gin gin tags
doc_chunks_embedding_idx ivfflat embedding
long_runs_project_id_idx btree project_id
long_runs_status_idx btree status
long_run_checkpoints_long_run_id_idx btree long_run_id
user_overrides_project_id_idx btree project_id
user_overrides_task_id_idx btree task_id
"""

FOREIGN_KEYS = """
tasks.project_id projects
task_runs.task_id tasks
task_runs.project_id projects
task_runs.agent_run_id agent_runs
agent_runs.project_id projects
agent_runs.task_id tasks
agent_runs.agent_id agents
errors.ci_event_id ci_events
errors.deployment_id deployments
errors.agent_run_id agent_runs
llm_models.provider_id llm_providers
llm_degradation_events.agent_run_id agent_runs
doc_chunks.doc_id doc_manifest
long_run_checkpoints.long_run_id long_runs
"""

# stated in our edition only, because the customer's leaves them open
FURTHER_FOREIGN_KEYS = """
ci_events.project_id projects
ci_events.task_id tasks
deployments.project_id projects
deployments.task_id tasks
errors.project_id projects
errors.task_id tasks
lessons.project_id projects
lessons.related_task_id tasks
lessons.related_agent_id agents
bug_patterns.project_id projects
decisions.project_id projects
llm_usage_daily.project_id projects
llm_usage_daily.agent_id agents
llm_usage_by_agent.project_id projects
llm_usage_by_agent.agent_id agents
doc_manifest.project_id projects
doc_chunks.project_id projects
long_runs.project_id projects
user_overrides.project_id projects
user_overrides.task_id tasks
user_overrides.agent_run_id agent_runs
"""

NULLABLE = """
projects.max_daily_spend_usd projects.max_daily_tokens
tasks.milestone_id tasks.task_token_budget tasks.task_cost_ceiling_usd tasks.created_by
task_runs.agent_run_id task_runs.completed_at
agents.allowed_models
agent_runs.task_id agent_runs.error_message agent_runs.degraded_from_model
agent_runs.full_input agent_runs.full_output
ci_events.task_id ci_events.completed_at ci_events.logs_url
deployments.task_id deployments.completed_at
errors.task_id errors.ci_event_id errors.deployment_id errors.agent_run_id errors.details
lessons.related_task_id lessons.related_agent_id lessons.last_applied_at
decisions.observed_outcome decisions.outcome_rating decisions.time_to_impact
llm_providers.base_url
doc_chunks.section
long_runs.started_at long_runs.completed_at
user_overrides.task_id user_overrides.agent_run_id
"""
FURTHER_NULLABLE = """
ci_events.started_at deployments.started_at deployments.url doc_chunks.embedding
"""

CLOSED = """
projects.status active paused archived
tasks.zone green yellow red
tasks.impact_axes A B C D E
tasks.size xs s m l xl
tasks.status backlog in_progress blocked needs_validation done
task_runs.status queued in_progress succeeded failed blocked
agents.default_tier gold silver bronze
agent_runs.tier gold silver bronze
agent_runs.status succeeded failed
ci_events.status queued in_progress succeeded failed cancelled
deployments.environment preview staging production
deployments.status queued in_progress succeeded failed
deployments.trigger_source manual ci webhook
errors.source ci deploy agent infra unknown
errors.severity low medium high critical
lessons.status draft applied deprecated
bug_patterns.impact low medium high critical
bug_patterns.status draft active deprecated
decisions.status active reversed superseded
decisions.outcome_rating positive neutral negative
decisions.time_to_impact short medium long
llm_providers.status active deprecated
llm_models.tier gold silver bronze
llm_models.status active deprecated experimental
long_runs.status planned running completed stopped
"""
FURTHER_CLOSED = """
decisions.impact_axes A B C D E
"""

OPEN = """
projects.slug antigravity-codered
tasks.domain_tags infra ide legal-adjacent
task_runs.phase orchestrator architect code test infra safety cynic research librarian
agents.slug orchestrator architect code test infra safety cynic research librarian
agent_runs.mode intake design implementation testing infra safety_review cynic_review \
web_research doc_update
agent_runs.provider openai anthropic google xai local
agent_runs.model gpt-5.1 claude-3-opus
ci_events.provider github_actions
deployments.provider vercel
lessons.source_type ci_failure cynic_review safety_escalation success_story
llm_providers.name openai anthropic google xai local
llm_models.capabilities code reasoning tool_use vision long_context
doc_manifest.path README.md docs/orchestration.md
doc_manifest.module modules-1-2
doc_manifest.domain ide infra tokens guardrails learning
user_overrides.override_type deploy_anyway cynic_reject ignore_safety budget_increase
"""


def rows(*tables: str) -> dict[str, tuple[str, ...]]:
    """First word of each line to the other words."""
    lines = [line.split() for table in tables for line in table.strip().splitlines()]
    return {line[0]: tuple(line[1:]) for line in lines}


def more(path: Path, stated: str, further: str) -> tuple[str, ...]:
    """What both editions state, and for ours also what only ours states."""
    return (stated, further) if path == OURS else (stated,)


def check_columns(schema: Schema) -> dict[str, tuple[str, ...]]:
    checks: dict[str, tuple[str, ...]] = {}
    for table in schema.tables:
        for check in table.checks:
            assert isinstance(check.rule, OneOf | SubsetOf)
            assert check.name == f"{table.name}_{check.rule.column}_values"
            checks[f"{table.name}.{check.rule.column}"] = check.rule.values
    return checks


@EDITIONS
def test_tables_in_document_order(path: Path) -> None:
    assert [table.name for table in read(path).schema.tables] == TABLES


@EDITIONS
def test_schema_has_the_stated_name(path: Path) -> None:
    assert read(path).schema.name == "codered"


@EDITIONS
def test_schema_comment_is_the_title(path: Path) -> None:
    title = "Supabase Schema – antigravityCodeRed (Modules 1–2)"
    assert read(path).schema.comment == title


@EDITIONS
def test_columns_are_235(path: Path) -> None:
    counted = {table.name: len(table.columns) for table in read(path).schema.tables}
    assert counted == COLUMNS
    assert sum(counted.values()) == 235


@EDITIONS
def test_named_indexes_have_their_method_and_columns(path: Path) -> None:
    found: dict[str, tuple[str, ...]] = {}
    for table in read(path).schema.tables:
        found |= {unique.name: ("unique", *unique.columns) for unique in table.uniques}
        for index in table.indexes:
            found[index.name] = (index.method.value, *(key.column for key in index.keys))
    assert found == rows(NAMED_INDEXES)
    assert len(found) == 57


@EDITIONS
def test_vector_index_has_the_stated_operator_class(path: Path) -> None:
    table = read(path).schema.table("doc_chunks")
    assert table is not None
    key = IndexKey("embedding", opclass="vector_cosine_ops")
    assert table.indexes[-1] == Index("doc_chunks_embedding_idx", (key,), Method.IVFFLAT)


@EDITIONS
def test_foreign_keys(path: Path) -> None:
    found: dict[str, tuple[str, ...]] = {}
    for table in read(path).schema.tables:
        for key in table.foreign_keys:
            assert (key.name, key.referenced) == (f"{table.name}_{key.columns[0]}_fkey", ("id",))
            found[f"{table.name}.{key.columns[0]}"] = (key.table,)
    assert found == rows(*more(path, FOREIGN_KEYS, FURTHER_FOREIGN_KEYS))
    assert len(found) == (35 if path == OURS else 14)


@EDITIONS
def test_every_table_has_the_primary_key_id(path: Path) -> None:
    keys = [table.primary_key for table in read(path).schema.tables]
    assert [(k.name, k.columns) for k in keys if k] == [(f"{t}_pkey", ("id",)) for t in TABLES]


@EDITIONS
def test_nullable_columns(path: Path) -> None:
    schema = read(path).schema
    found = {f"{t.name}.{c.name}" for t in schema.tables for c in t.columns if c.nullable}
    assert found == set(" ".join(more(path, NULLABLE, FURTHER_NULLABLE)).split())


@EDITIONS
def test_closed_lists(path: Path) -> None:
    expected = rows(*more(path, CLOSED, FURTHER_CLOSED))
    assert check_columns(read(path).schema) == expected


@EDITIONS
def test_open_lists(path: Path) -> None:
    schema = read(path).schema
    found = {f"{t.name}.{c.name}": c.known for t in schema.tables for c in t.columns if c.known}
    assert found == rows(OPEN)


@EDITIONS
def test_every_object_has_a_place(path: Path) -> None:
    document = read(path)
    expected = {""}
    for table in document.schema.tables:
        expected.add(table.name)
        assert table.primary_key is not None
        names = {table.primary_key.name}
        names |= {column.name for column in table.columns}
        names |= {unique.name for unique in table.uniques}
        names |= {key.name for key in table.foreign_keys}
        names |= {check.name for check in table.checks}
        names |= {index.name for index in table.indexes}
        expected |= {f"{table.name}.{name}" for name in names}
    assert set(document.places) == expected


@EDITIONS
def test_places_point_at_the_name(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    document = read(path)
    for table in document.schema.tables:
        for column in table.columns:
            place = document.places[f"{table.name}.{column.name}"]
            assert lines[place.line - 1][place.column - 1 :].startswith(f"{column.name}` –")


@needs_theirs
def test_stated_defaults() -> None:
    found: dict[str, list[object]] = {}
    for table in read(THEIRS).schema.tables:
        for column in table.columns:
            if column.default is not None:
                found.setdefault(column.name, []).append(column.default)
    assert found == {
        "id": [RandomUuid()],
        "created_at": [Now()] * 7,
        "updated_at": [Now()] * 4,
        "is_active": [Literal("true")],
        "applied_count": [Literal("0")],
    }


RATINGS = ("positive", "neutral", "negative")
EMBEDDING = "or double precision[] depending on Supabase extension"

# the places where a literal reading goes wrong: line, column, what of it, and what it must be
TRAPS = [
    (78, "projects.slug", "comment", None),
    (101, "tasks.milestone_id", "comment", "future milestones table"),
    (105, "tasks.impact_axes", "rule", SubsetOf("impact_axes", ("A", "B", "C", "D", "E"))),
    (109, "tasks.task_cost_ceiling_usd", "type", Numeric(10, 2)),
    (110, "tasks.domain_tags", "rule", None),
    (111, "tasks.created_by", "comment", "future users table or external ID"),
    (134, "task_runs.phase", "rule", None),
    (138, "task_runs.summary", "comment", "short narrative of what happened in this phase"),
    (166, "agents.allowed_models", "comment", "cross-check with llm_models.name"),
    (166, "agents.allowed_models", "known", ()),
    (201, "agent_runs.full_input", "comment", "truncated or redacted"),
    (256, "deployments.environment", "comment", None),
    (290, "errors.details", "comment", "structured payload if available"),
    (343, "bug_patterns.examples", "comment", "references into errors or ci_events by convention"),
    (343, "bug_patterns.examples", "known", ()),
    (375, "decisions.outcome_rating", "rule", OneOf("outcome_rating", RATINGS)),
    (414, "llm_models.capabilities", "rule", None),
    (504, "doc_manifest.hash", "comment", "e.g. SHA-256"),
    (531, "doc_chunks.embedding", "type", Vector()),
    (531, "doc_chunks.embedding", "comment", EMBEDDING),
    (533, "doc_chunks.section", "comment", "heading/subheading info"),
]


@needs_theirs
@pytest.mark.parametrize(
    ("line", "address", "fact", "expected"), TRAPS, ids=[f"L{t[0]}-{t[2]}" for t in TRAPS]
)
def test_trap(line: int, address: str, fact: str, expected: object) -> None:
    document = read(THEIRS)
    table_name, _, name = address.partition(".")
    table = document.schema.table(table_name)
    assert table is not None
    if fact == "rule":
        rules = [c.rule for c in table.checks if c.name == f"{table_name}_{name}_values"]
        assert rules == ([] if expected is None else [expected])
    else:
        assert getattr(table.column(name), fact) == expected
    assert document.places[address].line == line


@needs_theirs
@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("errors.errors_details_gin", 300),
        ("lessons.lessons_tags_gin", 330),
        ("doc_chunks.doc_chunks_embedding_idx", 543),
        ("llm_usage_by_agent.llm_usage_by_agent_agent_id_idx", 467),
    ],
)
def test_index_trap_is_read_from_its_line(address: str, line: int) -> None:
    assert read(THEIRS).places[address].line == line


def test_section_without_indexes_has_none() -> None:
    table = read(OURS).schema.table("llm_providers")
    assert table is not None
    assert table.indexes == ()


# ---- odd input --------------------------------------------------------------------------------

SAMPLE = (CASES / "sample" / "input.md").read_text(encoding="utf-8")
SAMPLE_LINES = SAMPLE.split("\n")
SAMPLE_SCHEMA = read_document(SAMPLE, "sample.md").schema
FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def read_or_complaints(text: str) -> Schema | None:
    """The schema, or None where there are complaints, all of them with places inside the text."""
    try:
        document = read_document(text, "fuzz.md")
        places = list(document.places.values())
        schema: Schema | None = document.schema
        complaints: tuple[Diagnostic, ...] = ()
    except InputError as error:
        schema, complaints = None, error.diagnostics
        places = [d.place for d in complaints if d.place is not None]
    assert all(d.place is not None and d.code in CODES and d.fix for d in complaints)
    assert schema is not None or (complaints and places == sorted(places))
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for place in places:
        assert 1 <= place.line <= len(lines)
        assert 1 <= place.column <= len(lines[place.line - 1]) + 1
    return schema


def edits() -> st.SearchStrategy[str]:
    """The sample, damaged in up to four places."""
    scraps = "`|,;:()*_–—-→#>\\&<[]{}'\"~ \t\r\n\u00a0\ufeff\0é"
    scrap = st.one_of(
        st.text(alphabet=scraps, max_size=6),
        st.text(max_size=4),
        st.sampled_from(
            [" null", "e.g. ", "FK → ", "**Columns:**", "\n---\n", "\n\n### `shop.x`\n"]
        ),
    )
    edit = st.tuples(st.integers(0, len(SAMPLE)), st.integers(0, 12), scrap)

    def apply(changes: list[tuple[int, int, str]]) -> str:
        text = SAMPLE
        for start, length, new in changes:
            text = text[:start] + new + text[start + length :]
        return text

    return st.lists(edit, min_size=1, max_size=4).map(apply)


@given(edits())
@settings(FUZZ, max_examples=300)
def test_damaged_document_is_read_or_complained_about(text: str) -> None:
    read_or_complaints(text)


@given(st.integers(0, len(SAMPLE)))
@settings(FUZZ, max_examples=100)
def test_cut_document_is_read_or_complained_about(length: int) -> None:
    read_or_complaints(SAMPLE[:length])


@given(st.integers(0, len(SAMPLE_LINES) - 1), st.integers(0, len(SAMPLE_LINES) - 1))
@settings(FUZZ, max_examples=150)
def test_document_with_swapped_lines_is_read_or_complained_about(one: int, other: int) -> None:
    lines = list(SAMPLE_LINES)
    lines[one], lines[other] = lines[other], lines[one]
    read_or_complaints("\n".join(lines))


@given(st.text())
@settings(FUZZ, max_examples=200)
def test_any_text_is_read_or_complained_about(text: str) -> None:
    assert read_or_complaints(text) is None


@given(st.text(alphabet="`|,;: ()*_–→'{}a\n\\", max_size=40))
@settings(FUZZ, max_examples=300)
def test_any_note_is_read_or_complained_about(note: str) -> None:
    read_or_complaints(SAMPLE.replace("(e.g. SHA-256 of the photo)", f"({note})"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda t: t.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(lambda t: t.replace("\n", "\r"), id="CR"),
        pytest.param(lambda t: "\ufeff" + t, id="byte order mark"),
        pytest.param(lambda t: t.replace(" – ", "\t–\t"), id="tabs"),
        pytest.param(lambda t: t.replace(" – ", "\u00a0–\u00a0"), id="no-break spaces"),
        pytest.param(lambda t: t.replace(" – ", " — "), id="em dashes"),
        pytest.param(lambda t: t.replace(" – ", " - "), id="hyphens"),
        pytest.param(lambda t: t.replace("\n- ", "\n* "), id="other bullets"),
        pytest.param(lambda t: t.replace("\n- ", "\n\n- "), id="loose lists"),
        pytest.param(lambda t: t.rstrip("\n"), id="no last line ending"),
    ],
)
def test_typography_changes_nothing(change: Callable[[str], str]) -> None:
    body = SAMPLE.partition("\n")[2]  # the title holds a dash of its own
    changed = read_document(change("# The **Shop** – `sample`\n" + body), "sample.md").schema
    expected = "The Shop – sample"
    assert dataclasses.replace(changed, comment=expected) == SAMPLE_SCHEMA


BULLETS = [
    number
    for number, line in enumerate(SAMPLE_LINES)
    if line.startswith("- ") and SAMPLE_LINES.index("**Columns (core):**") < number
]


def bullet(number: int) -> tuple[int, int]:
    """First line of a bullet and the line behind it."""
    end = number + 1
    while SAMPLE_LINES[end].startswith("  "):
        end += 1
    return number, end


@pytest.mark.parametrize("number", BULLETS, ids=lambda n: SAMPLE_LINES[n][:30])
def test_removed_bullet_is_noticed(number: int) -> None:
    start, end = bullet(number)
    if SAMPLE_LINES[number] == "- `items_slug_key` (unique)":
        pytest.skip("it repeats what the column's own note says")
    text = "\n".join(SAMPLE_LINES[:start] + SAMPLE_LINES[end:])
    assert read_or_complaints(text) != SAMPLE_SCHEMA


@pytest.mark.parametrize("number", BULLETS, ids=lambda n: SAMPLE_LINES[n][:30])
@pytest.mark.parametrize(
    "garbled", ["- remark", "remark", "- [x](y)", "> - x", "<b>x</b>", "[x]: y"]
)
def test_garbled_bullet_is_a_complaint(number: int, garbled: str) -> None:
    start, end = bullet(number)
    text = "\n".join([*SAMPLE_LINES[:start], garbled, *SAMPLE_LINES[end:]])
    assert read_or_complaints(text) is None


def meaning(source: str) -> str:
    """The text of a bullet without the few characters that may be missing."""
    source = re.sub(r",? ?\be\.?g\.?[,:]?", " eg", source)
    source = re.sub(r"\b(optional|nullable)[;,]", r"\1", source)
    source = re.sub(r"\betc\b\.?", "etc", source)
    source = re.sub(r"\bfuture \w+\)", "future)", source)
    return source.replace(";`", "`")


@pytest.mark.parametrize("number", BULLETS, ids=lambda n: SAMPLE_LINES[n][:30])
def test_lost_character_is_noticed(number: int) -> None:
    start, end = bullet(number)
    source = "\n".join(SAMPLE_LINES[start:end])
    section = SAMPLE_LINES.index("### 2.1 `shop.items`")
    head = "```\nschema: shop\n```\n" + "\n".join(SAMPLE_LINES[section:start]) + "\n"
    tail = "\n" + "\n".join(SAMPLE_LINES[end:-5])
    whole = read_document(head + source + tail, "part.md").schema
    for position, character in enumerate(source):
        damaged = source[:position] + source[position + 1 :]
        if not character.isspace() and meaning(damaged) != meaning(source):
            assert read_or_complaints(head + damaged + tail) != whole, (position, damaged)


# ---- size and depth ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(">" * 100_000, id="quotes"),
        pytest.param("- " * 100_000, id="lists"),
        pytest.param("`" * 100_001, id="backticks"),
        pytest.param("[" * 100_000, id="brackets"),
        pytest.param("*a " * 50_000, id="emphasis"),
        pytest.param("### `a.b`\n" * 10_000, id="headings"),
        pytest.param("**Columns:**\n\n- `a` – `text" + "[]" * 50_000 + "`", id="array type"),
        pytest.param("**Columns:**\n\n- `a` – `text` " + "(" * 100_000, id="parentheses"),
        pytest.param("**Columns:**\n\n- `a` – `text` (" + "`x`, " * 20_000, id="values"),
    ],
)
def test_large_nonsense_ends_in_complaints(text: str) -> None:
    assert read_or_complaints(text) is None


def test_nesting_beyond_the_stack_is_a_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("codered_spec.sources.document.blocks.parse", deep)
    with pytest.raises(InputError, match="D001: the document is nested too deeply"):
        read_document(SAMPLE, "sample.md")


def test_reading_twice_gives_the_same() -> None:
    assert shown(read_document(SAMPLE, "a.md")) == shown(read_document(SAMPLE, "a.md"))


def test_importing_does_not_load_the_markdown_parser() -> None:
    code = "import sys, codered_spec.sources.document; sys.exit('markdown_it' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
