"""Sync brings the spec up to the document, says what changed, and never touches a decision."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codered_spec.cli import main
from codered_spec.compiler import sync
from codered_spec.errors import FindingsError, InputError
from codered_spec.model.schema import Schema, Table
from codered_spec.sources.document import read_document
from codered_spec.sources.spec import canonical_text, dump_schema, parse_spec, read_spec, show

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / "docs" / "schema-supabase.md"
THEIRS = ROOT.parent / "shared" / "schema-supabase.md"
needs_theirs = pytest.mark.skipif(
    not THEIRS.exists(), reason="the user's own edition of the document is not on this machine"
)
EDITIONS = [OURS, pytest.param(THEIRS, marks=needs_theirs)]


class Project:
    """A copy of the project's spec and document."""

    def __init__(self, root: Path) -> None:
        self.spec = root / "schema.yaml"
        self.document = root / "docs" / "schema-supabase.md"
        self.document.parent.mkdir()
        shutil.copyfile(ROOT / "schema.yaml", self.spec)
        shutil.copyfile(OURS, self.document)

    def edit(self, old: str, new: str, count: int = 1) -> None:
        """Changes the document."""
        self._edit(self.document, old, new, count)

    def edit_spec(self, old: str, new: str, count: int = 1) -> None:
        self._edit(self.spec, old, new, count)

    @staticmethod
    def _edit(path: Path, old: str, new: str, count: int) -> None:
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, count), "utf-8")

    def run(self, *options: str) -> int:
        return main(["sync", "--spec", str(self.spec), *options])

    @property
    def data(self) -> dict[str, Any]:
        return parse_spec(self.spec.read_text("utf-8"), "x")[0]

    def column(self, address: str) -> dict[str, Any]:
        table, _, column = address.partition(".")
        found: dict[str, Any] = self.data["tables"][table]["columns"][column]
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


Output = pytest.CaptureFixture[str]


# ---- beginning and repeating ------------------------------------------------------------------


@pytest.mark.parametrize("document", EDITIONS)
def test_a_spec_is_begun_from_a_document(document: Path, tmp_path: Path) -> None:
    spec = tmp_path / "new.yaml"
    assert main(["sync", str(document), "--spec", str(spec)]) == 0
    data = parse_spec(spec.read_text("utf-8"), "x")[0]
    assert len(data["tables"]) == 21
    assert data.keys() == {"format", "schema", "title", "document", "tables"}


@pytest.mark.parametrize("document", EDITIONS)
def test_the_second_run_changes_not_one_byte(document: Path, tmp_path: Path) -> None:
    spec = tmp_path / "new.yaml"
    main(["sync", str(document), "--spec", str(spec)])
    before = (spec.read_bytes(), spec.stat().st_mtime_ns)
    assert main(["sync", str(document), "--spec", str(spec)]) == 0
    assert main(["sync", "--spec", str(spec)]) == 0
    assert (spec.read_bytes(), spec.stat().st_mtime_ns) == before


@pytest.mark.parametrize("document", EDITIONS)
def test_the_real_decisions_fit_both_editions(document: Path, project: Project) -> None:
    decisions = project.data["decisions"]
    assert project.run(str(document)) == 0
    assert project.data["decisions"] == decisions
    before = project.spec.read_bytes()
    assert project.run(str(document)) == 0
    assert project.spec.read_bytes() == before


def test_a_sync_of_the_repository_changes_nothing(project: Project, capsys: Output) -> None:
    before = project.spec.read_bytes()
    assert project.run() == 0
    assert project.spec.read_bytes() == before
    assert capsys.readouterr().out == f"{project.spec}: up to date\n"


@pytest.mark.parametrize("document", EDITIONS)
def test_the_written_file_is_canonical(document: Path, tmp_path: Path) -> None:
    spec = tmp_path / "new.yaml"
    main(["sync", str(document), "--spec", str(spec)])
    text = spec.read_text("utf-8")
    assert canonical_text(parse_spec(text, "x")[0]) == text


def test_what_the_document_states_is_in_the_spec_word_for_word(tmp_path: Path) -> None:
    spec = tmp_path / "new.yaml"
    main(["sync", str(OURS), "--spec", str(spec)])
    stated = dump_schema(read_document(OURS.read_text("utf-8"), "d").schema)
    assert {**parse_spec(spec.read_text("utf-8"), "x")[0], **stated} == parse_spec(
        spec.read_text("utf-8"), "x"
    )[0]


def test_the_document_is_recorded_relative_to_the_spec(tmp_path: Path) -> None:
    document = tmp_path / "a" / "d.md"
    document.parent.mkdir()
    shutil.copyfile(OURS, document)
    spec = tmp_path / "b" / "s.yaml"
    main(["sync", str(document), "--spec", str(spec)])
    assert parse_spec(spec.read_text("utf-8"), "x")[0]["document"] == "../a/d.md"


def test_line_ends_of_the_document_do_not_matter(project: Project) -> None:
    before = project.spec.read_bytes()
    project.document.write_bytes(project.document.read_bytes().replace(b"\n", b"\r\n"))
    assert project.run() == 0
    assert project.spec.read_bytes() == before


def test_a_byte_order_mark_does_not_matter(project: Project) -> None:
    before = project.spec.read_bytes()
    project.document.write_bytes(b"\xef\xbb\xbf" + project.document.read_bytes())
    assert project.run("--check") == 0
    assert project.run() == 0
    assert project.spec.read_bytes() == before


def test_a_change_of_prose_alone_is_not_a_change_of_facts(project: Project) -> None:
    project.edit("Modules that come later", "Modules that may come later")
    assert project.run("--check") == 0


# ---- --check ----------------------------------------------------------------------------------


def test_check_is_content_with_an_up_to_date_spec(project: Project) -> None:
    assert project.run("--check") == 0


def test_check_reports_a_change_and_writes_nothing(project: Project, capsys: Output) -> None:
    project.edit("`slug` – `text` (unique", "`slug` – `varchar(9)` (unique")
    before = project.spec.read_bytes()
    assert project.run("--check") == 1
    assert project.spec.read_bytes() == before
    assert "projects.slug: type: text → varchar(9)" in capsys.readouterr().out


def test_check_of_a_spec_that_does_not_exist_writes_nothing(tmp_path: Path) -> None:
    spec = tmp_path / "new.yaml"
    assert main(["sync", str(OURS), "--spec", str(spec), "--check"]) == 1
    assert list(tmp_path.iterdir()) == []


# ---- every kind of change is said and written -------------------------------------------------

PROJECTS = "- `projects_slug_key` (unique)\n\n---\n"
EXTRA = "\n### 2.9 `codered.extra`\n\nMore.\n\n**Columns:**\n\n- `id` – `uuid` (PK)\n\n---\n"
CHANGES = {
    "type": (
        "`commit_sha` – `text`",
        "`commit_sha` – `varchar(40)`",
        "ci_events.commit_sha: type: text → varchar(40)",
    ),
    "nullability": (
        "`workflow_name` – `text`",
        "`workflow_name` – `text` (nullable)",
        "ci_events.workflow_name: nullable: nothing → true",
    ),
    "added value": (
        "(`active` | `paused` | `archived`)",
        "(`active` | `paused` | `archived` | `gone`)",
        "projects.status: one_of: [active, paused, archived] → [active, paused, archived, gone]",
    ),
    "removed value": (
        "(`active` | `paused` | `archived`)",
        "(`active` | `archived`)",
        "projects.status: one_of: [active, paused, archived] → [active, archived]",
    ),
    "order of values": (
        "(`active` | `paused` | `archived`)",
        "(`paused` | `active` | `archived`)",
        "projects.status: one_of: [active, paused, archived] → [paused, active, archived]",
    ),
    "default": (
        "(default `0`)",
        "(default `1`)",
        "lessons.applied_count: default: 0 → 1",
    ),
    "removed default": (
        " (default `0`)",
        "",
        "lessons.applied_count: default: 0 → nothing",
    ),
    "added index": (
        "- `projects_slug_key` (unique)\n",
        "- `projects_slug_key` (unique)\n- `projects_status_idx`\n",
        "projects.projects_status_idx: new index: {columns: [status]}",
    ),
    "another index": (
        "- `tasks_zone_idx`\n",
        "- `tasks_zone_idx`\n- `tasks_size_idx`\n",
        "tasks.tasks_size_idx: new index: {columns: [size]}",
    ),
    "removed index": (
        "- `tasks_zone_idx`\n",
        "",
        "tasks.tasks_zone_idx: no longer an index",
    ),
    "order of columns": (
        "- `name` – `text`\n- `description` – `text`\n- `status`",
        "- `description` – `text`\n- `name` – `text`\n- `status`",
        "projects: the order of its columns changed",
    ),
    "added column": (
        "- `max_daily_tokens` – `bigint` (nullable)\n",
        "- `max_daily_tokens` – `bigint` (nullable)\n- `colour` – `text`\n",
        "projects.colour: new column: {type: text}",
    ),
    "removed column": (
        "- `max_daily_tokens` – `bigint` (nullable)\n",
        "",
        "projects.max_daily_tokens: no longer a column",
    ),
    "added table": (
        PROJECTS,
        PROJECTS + EXTRA,
        "extra: new table, 1 column",
    ),
    "purpose": (
        "One row per role that an agent can play",
        "One row for each role that an agent can play",
        "agents: note: One row per role",
    ),
    "note": (
        "(page where the run can be watched)",
        "(where the run can be watched)",
        "ci_events.url: note: page where the run can be watched → where the run can be watched",
    ),
    "title": (
        "# Supabase Schema –",
        "# Database Schema –",
        "title: Supabase Schema – antigravityCodeRed (Modules 1–2) → Database Schema –",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class History:
    """A sync after one change of the document, another one, and one after undoing the change."""

    before: bytes
    out: str
    data: dict[str, Any]
    stated: dict[str, Any]
    codes: tuple[int, int, int]
    undone: bytes


@functools.cache
def history(kind: str) -> History:
    """What happens around the change; several tests look at it."""
    old, new, _ = CHANGES[kind]
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        before, document = project.spec.read_bytes(), project.document.read_bytes()
        project.edit(old, new)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            first = project.run()
            data, second = project.data, project.run("--check")
            stated = dump_schema(read_document(project.document.read_text("utf-8"), "d").schema)
            project.document.write_bytes(document)
            third = project.run()
        undone = project.spec.read_bytes()
        return History(before, out.getvalue(), data, stated, (first, second, third), undone)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_said_in_words(kind: str) -> None:
    words, out = CHANGES[kind][2], history(kind).out.splitlines()
    assert words in out[0]
    assert out[1].endswith("schema.yaml: 1 change")


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_written(kind: str) -> None:
    found = history(kind)
    written = {key: found.data[key] for key in found.stated}
    assert canonical_text(written) == canonical_text(found.stated)


@pytest.mark.parametrize("kind", CHANGES)
def test_after_a_change_the_next_sync_is_content(kind: str) -> None:
    assert history(kind).codes == (0, 0, 0)


@pytest.mark.parametrize("kind", CHANGES)
def test_everything_else_survives_a_change(kind: str) -> None:
    found = history(kind)
    before = parse_spec(found.before.decode(), "x")[0]
    owned = {"schema", "title", "tables"}
    assert {k: v for k, v in found.data.items() if k not in owned} == {
        k: v for k, v in before.items() if k not in owned
    }


@pytest.mark.parametrize("kind", CHANGES)
def test_undoing_a_change_gives_the_same_bytes_again(kind: str) -> None:
    assert history(kind).undone == history(kind).before


def sections(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the sections of tables 8.2 and 8.3."""
    second = text.index("### 8.2 ")
    third = text.index("### 8.3 ")
    yield second, third
    yield third, text.index("## 9. ")


def test_the_order_of_tables_is_said_and_written(project: Project, capsys: Output) -> None:
    text = project.document.read_text("utf-8")
    (a, b), (c, d) = sections(text)
    project.document.write_text(text[:a] + text[c:d] + text[a:b] + text[d:], "utf-8")
    assert project.run("--check") == 1
    assert "the order of the tables changed" in capsys.readouterr().out
    assert project.run() == 0
    assert list(project.data["tables"])[-2:] == ["user_overrides", "long_run_checkpoints"]
    assert project.run("--check") == 0


def test_a_removed_table_is_said_and_written(project: Project, capsys: Output) -> None:
    text = project.document.read_text("utf-8")
    _, (start, end) = sections(text)
    project.document.write_text(text[:start] + text[end:], "utf-8")
    assert project.run() == 0
    assert "user_overrides: no longer a table" in capsys.readouterr().out
    assert "user_overrides" not in project.data["tables"]


def test_a_title_that_is_gone_is_taken_out(project: Project) -> None:
    text = project.document.read_text("utf-8")
    project.document.write_text(text.partition("\n")[2], "utf-8")
    assert project.run() == 0
    assert "title" not in project.data


def test_another_schema_name_is_said_and_written(project: Project, capsys: Output) -> None:
    project.edit("codered.", "scarlet.", -1)
    project.edit("schema: codered", "schema: scarlet")
    assert project.run() == 0
    assert "schema: codered → scarlet" in capsys.readouterr().out
    assert project.data["schema"] == "scarlet"


def test_a_fact_written_by_hand_into_the_stated_part_is_taken_out(
    project: Project, capsys: Output
) -> None:
    project.edit_spec("      max_daily_tokens:\n", "      max_daily_tokens:\n        min: 5\n")
    before = project.data
    assert project.run() == 0
    assert "projects.max_daily_tokens: min: 5 → nothing" in capsys.readouterr().out
    assert project.data != before


def test_changes_come_as_json(project: Project, capsys: Output) -> None:
    project.edit("(default `0`)", "(default `1`)")
    assert project.run("--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "changed": True,
        "changes": ["lessons.applied_count: default: 0 → 1"],
        "dropped": [],
        "open": [],
    }


# ---- decisions about what is gone -------------------------------------------------------------

GONE = "- `related_agent_id` – `uuid` (nullable FK → `codered.agents.id`)\n"


def test_a_decision_about_a_removed_column_is_reported_and_kept(
    project: Project, capsys: Output
) -> None:
    decisions = project.data["decisions"]
    project.edit(GONE, "")
    assert project.run() == 0
    err = capsys.readouterr().err
    assert "warning S012: the decision links-are-cut speaks of lessons.related_agent_id" in err
    assert project.data["decisions"] == decisions


def test_prune_drops_it_and_nothing_else(project: Project, capsys: Output) -> None:
    decisions = project.data["decisions"]
    project.edit(GONE, "")
    assert project.run("--prune") == 0
    assert "dropped links-are-cut: lessons.related_agent_id" in capsys.readouterr().out
    del decisions["links-are-cut"]["columns"]["lessons.related_agent_id"]
    assert project.data["decisions"] == decisions


def test_prune_drops_entries_of_kept(project: Project) -> None:
    project.edit("- `latency_ms` – `integer`\n", "")
    assert project.run("--prune") == 0
    assert project.data["decisions"]["required-unless-said"]["kept"][-1] == (
        "agent_runs.estimated_cost_usd"
    )


def test_prune_drops_what_belonged_to_a_removed_table(project: Project) -> None:
    text = project.document.read_text("utf-8")
    (start, end), _ = sections(text)
    project.document.write_text(text[:start] + text[end:], "utf-8")
    assert project.run("--prune") == 0
    assert "long_run_checkpoints" not in project.spec.read_text("utf-8")
    assert project.run("--prune", "--check") == 0


def test_prune_of_an_up_to_date_spec_changes_nothing(project: Project) -> None:
    before = project.spec.read_bytes()
    assert project.run("--prune") == 0
    assert project.spec.read_bytes() == before


def test_check_with_prune_writes_nothing(project: Project) -> None:
    project.edit(GONE, "")
    before = project.spec.read_bytes()
    assert project.run("--prune", "--check") == 1
    assert project.spec.read_bytes() == before


# ---- refusals leave the file alone ------------------------------------------------------------


def refused(project: Project, code: int, *options: str) -> None:
    """Sync ends with the code, the spec stays, and no other file is left."""
    before = project.spec.read_bytes()
    files = sorted(project.spec.parent.rglob("*"))
    assert project.run(*options) == code
    assert project.spec.read_bytes() == before
    assert sorted(project.spec.parent.rglob("*")) == files


AXES = "`impact_axes` – `text[]` (default `'{}'`; subset of `{%s}`)\n- `owner`"
ACTIVE = """`is_active` – `boolean` (default `%s`)
- `created_at` – `timestamptz` (default `now()`)
- `updated_at` – `timestamptz` (default `now()`)

**Indexes:**

- `doc_manifest"""
PROVIDER = "`provider_id` – `uuid` (FK → `codered.%s.id`)"


@pytest.mark.parametrize(
    ("line", "old", "new", "fact"),
    [
        (PROVIDER, "llm_providers", "agents", "references"),
        (ACTIVE, "true", "false", "default"),
        (AXES, "'A','B','C','D','E'", "'A','B'", "subset_of"),
    ],
)
def test_a_decision_that_the_document_contradicts_now_stops_the_sync(
    line: str, old: str, new: str, fact: str, project: Project, capsys: Output
) -> None:
    project.edit(line % old, line % new)
    refused(project, 1)
    err = capsys.readouterr().err
    assert "error S013" in err
    assert f"sets {fact} of" in err


def test_a_contradiction_is_a_findings_error(project: Project) -> None:
    project.edit(PROVIDER % "llm_providers", PROVIDER % "agents")
    with pytest.raises(FindingsError):
        sync(None, str(project.spec))


def test_a_comment_in_the_spec_stops_the_sync(project: Project, capsys: Output) -> None:
    project.edit_spec("tables:\n", "# mine\ntables:\n")
    refused(project, 2)
    line = project.spec.read_text(encoding="utf-8").splitlines().index("# mine") + 1
    assert f"{project.spec}:{line}:1: error S010" in capsys.readouterr().err


def test_a_comment_above_the_spec_stops_the_sync(project: Project, capsys: Output) -> None:
    project.edit_spec("# yaml-language-server", "# Copyright somebody\n# yaml-language-server")
    refused(project, 2)
    assert f"{project.spec}:1:1: error S010" in capsys.readouterr().err


def test_a_number_sign_in_a_text_stops_nothing(project: Project) -> None:
    another = "because: 'Provider #1 # is'\n    kept: [tasks.id]\n  x:\n    because: A provider is"
    project.edit_spec("because: A provider is", another)
    project.edit("(default `0`)", "(default `1`)")
    assert project.run() == 0


@pytest.mark.parametrize(
    "damage",
    [
        ("`zone` – `text`", "`zone` - text"),
        ("`zone` – `text`", "`zone` – `texd`"),
        ("(`green` | `yellow` | `red`)", "(`green` | `yellow` |"),
        ("### 2.2 `codered.tasks`", "### 2.2 `codered.projects`"),
        ("schema: codered", "schema:"),
        ("- `tasks_zone_idx`", "- `tasks_nothing_idx`"),
    ],
)
def test_a_malformed_document_stops_the_sync(
    damage: tuple[str, str], project: Project, capsys: Output
) -> None:
    project.edit(*damage)
    refused(project, 2)
    assert f"{project.document}:" in capsys.readouterr().err


def test_a_missing_document_stops_the_sync(project: Project, capsys: Output) -> None:
    project.document.unlink()
    refused(project, 2)
    assert "error C002" in capsys.readouterr().err


def test_a_folder_as_document_stops_the_sync(project: Project) -> None:
    refused(project, 2, str(project.document.parent))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe#\x00", b"\xff", b"\0\0\0", b"# only prose\n"])
def test_an_unreadable_document_stops_the_sync(content: bytes, project: Project) -> None:
    project.document.write_bytes(content)
    refused(project, 2)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"a: [", b"format: 1\n", b"format: 2\nschema: s\n"]
)
def test_an_unreadable_spec_stops_the_sync(content: bytes, project: Project) -> None:
    project.spec.write_bytes(content)
    refused(project, 2)


def test_a_spec_that_names_no_document_needs_one(project: Project, capsys: Output) -> None:
    project.edit_spec("document: docs/schema-supabase.md\n", "")
    refused(project, 2)
    assert "names no document" in capsys.readouterr().err
    assert project.run(str(project.document)) == 0


def test_a_link_to_nowhere_is_not_taken_for_a_new_spec(tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    spec.symlink_to(tmp_path / "gone.yaml")
    with pytest.raises(InputError, match="C002"):
        sync(str(OURS), str(spec))


def test_a_linked_spec_is_written_where_it_is(project: Project) -> None:
    link = project.spec.with_name("link.yaml")
    link.symlink_to(project.spec)
    project.edit("(default `0`)", "(default `1`)")
    assert main(["sync", str(project.document), "--spec", str(link)]) == 0
    assert link.is_symlink()
    assert project.column("lessons.applied_count")["default"] == 1


# ---- the user's edition and ours --------------------------------------------------------------


def merged(document: Path) -> Schema:
    """The repository's decisions applied to what an edition of the document states."""
    return read_spec(sync(str(document), str(ROOT / "schema.yaml")).text, "x").schema


def without_comments(schema: Schema) -> dict[str, Any]:
    """Facts of the merged model by address, notes left out."""
    found: dict[str, Any] = {"schema": (schema.name, schema.extensions, schema.functions)}
    for table in schema.tables:
        for column in table.columns:
            found[f"{table.name}.{column.name}"] = (
                str(column.type), column.nullable, column.default, column.known,
            )  # fmt: skip
        for item in (*table.constraints, *table.indexes, *table.triggers):
            found[f"{table.name}/{item.name}"] = item
    return found


@needs_theirs
def test_both_editions_give_one_database_but_for_comments() -> None:
    ours, theirs = without_comments(merged(OURS)), without_comments(merged(THEIRS))
    assert list(ours) == list(theirs)
    assert {a: (theirs[a], ours[a]) for a in ours if ours[a] != theirs[a]} == {}


def noted(tables: tuple[Table, ...]) -> dict[str, str | None]:
    found = {t.name: t.comment for t in tables}
    return found | {f"{t.name}.{c.name}": c.comment for t in tables for c in t.columns}


DIFFERENT_NOTES = """
    agent_runs agent_runs.full_input agent_runs.full_output agent_runs.input_summary
    agent_runs.output_summary agents agents.allowed_models agents.allowed_tools bug_patterns
    bug_patterns.examples ci_events ci_events.run_id ci_events.url decisions decisions.owner
    deployments deployments.deployment_id deployments.url doc_chunks doc_chunks.embedding
    doc_chunks.section doc_manifest doc_manifest.hash doc_manifest.version errors errors.code
    errors.details lessons llm_degradation_events llm_models llm_models.name llm_providers
    llm_usage_by_agent llm_usage_daily long_run_checkpoints long_runs long_runs.allowed_agents
    projects task_runs task_runs.summary tasks tasks.created_by tasks.milestone_id user_overrides
    user_overrides.created_by
"""


@needs_theirs
def test_exactly_these_notes_differ() -> None:
    ours, theirs = noted(merged(OURS).tables), noted(merged(THEIRS).tables)
    assert sorted(a for a in ours if ours[a] != theirs[a]) == sorted(DIFFERENT_NOTES.split())


STATED_BY_US_ALONE = {
    "default: gen_random_uuid()": """
        agent_runs.id agents.id bug_patterns.id ci_events.id decisions.id deployments.id
        doc_chunks.id doc_manifest.id errors.id lessons.id llm_degradation_events.id llm_models.id
        llm_providers.id llm_usage_by_agent.id llm_usage_daily.id long_run_checkpoints.id
        long_runs.id task_runs.id tasks.id user_overrides.id
    """,
    "default: {}": """
        agents.allowed_tools bug_patterns.examples bug_patterns.tags decisions.impact_axes
        doc_chunks.tags doc_manifest.tags lessons.tags llm_models.capabilities
        llm_models.default_usage_domains long_runs.allowed_agents tasks.domain_tags
        tasks.impact_axes
    """,
    "default: now()": """
        bug_patterns.created_at bug_patterns.updated_at decisions.created_at decisions.updated_at
        doc_chunks.created_at doc_manifest.created_at doc_manifest.updated_at
        llm_degradation_events.created_at llm_models.created_at llm_models.updated_at
        llm_providers.created_at llm_providers.updated_at long_run_checkpoints.created_at
        long_runs.created_at long_runs.updated_at user_overrides.created_at
    """,
    "default: true": "doc_manifest.is_active",
    "references: projects.id": """
        bug_patterns.project_id ci_events.project_id decisions.project_id deployments.project_id
        doc_chunks.project_id doc_manifest.project_id errors.project_id lessons.project_id
        llm_usage_by_agent.project_id llm_usage_daily.project_id long_runs.project_id
        user_overrides.project_id
    """,
    "references: tasks.id": """
        ci_events.task_id deployments.task_id errors.task_id lessons.related_task_id
        user_overrides.task_id
    """,
    "references: agents.id": """
        lessons.related_agent_id llm_usage_by_agent.agent_id llm_usage_daily.agent_id
    """,
    "references: agent_runs.id": "user_overrides.agent_run_id",
    "nullable: true": """
        ci_events.started_at deployments.started_at deployments.url doc_chunks.embedding
    """,
    "subset_of: [A, B, C, D, E]": "decisions.impact_axes",
}
"""Facts that are decisions on top of the user's edition, and stated in ours."""


def facts(document: Path) -> set[str]:
    """Every stated fact but notes, as ``table.column fact``."""
    tables = dump_schema(read_document(document.read_text("utf-8"), "d").schema)["tables"]
    found = set()
    for name, table in tables.items():
        for column, stated in table["columns"].items():
            found |= {f"{name}.{column} {f}: {show(v)}" for f, v in stated.items() if f != "note"}
        for kind in table.keys() - {"columns", "note"}:
            found |= {f"{name}.{n} {kind}: {v}" for n, v in table[kind].items()}
    return found


@needs_theirs
def test_our_edition_states_all_that_the_users_does() -> None:
    assert facts(THEIRS) - facts(OURS) == set()


@needs_theirs
def test_our_edition_states_exactly_this_beyond_the_users() -> None:
    assert facts(OURS) - facts(THEIRS) == {
        f"{address} {fact}"
        for fact, addresses in STATED_BY_US_ALONE.items()
        for address in addresses.split()
    }
