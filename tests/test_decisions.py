"""Decisions add to what the document states, narrow it, and never contradict it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from codered_spec.errors import Diagnostic, InputError, Place
from codered_spec.model.check import check
from codered_spec.model.schema import (
    Column,
    Literal,
    Matches,
    Measure,
    Method,
    Now,
    Range,
    Rollup,
    RollupKey,
    Schema,
    Table,
)
from codered_spec.model.types import Array, DoublePrecision, Numeric, Vector
from codered_spec.sources.spec import Spec, parse_spec, prune, read_spec

STATED = """\
format: 1
schema: s
tables:
  tasks:
    columns:
      id:
        type: uuid
        primary_key: true
      project_id:
        type: uuid
        references: tasks.id
      zone:
        type: text
        one_of: [green, red]
      phase:
        type: text
        known: [plan, code]
        note: stated note
      title:
        type: text
        nullable: true
        default: none
      cost:
        type: numeric
      tags:
        type: text[]
      vec:
        type: vector
    indexes:
      tasks_vec_idx:
        columns: [vec]
        method: ivfflat
        opclass:
          vec: vector_cosine_ops
  runs:
    columns:
      id:
        type: uuid
        primary_key: true
      task_id:
        type: uuid
      cost:
        type: numeric
      count:
        type: integer
"""


def text_of(*decisions: str) -> str:
    """The stated tables with decisions ``name: {…}`` in flow style, each in a line of its own."""
    lines = []
    for position, decision in enumerate(decisions):
        name, _, rest = decision.partition("{")
        name = name.removesuffix(": ") or f"d{position}"
        lines.append(f"  {name}: {{because: reason of {name}, {rest}\n")
    return STATED + "decisions:\n" + "".join(lines)


def decided(*decisions: str) -> Spec:
    """The spec with the decisions applied."""
    return read_spec(text_of(*decisions), "x")


def refused(*decisions: str) -> tuple[Diagnostic, ...]:
    """The complaints about decisions that cannot be applied."""
    with pytest.raises(InputError) as caught:
        decided(*decisions)
    return caught.value.diagnostics


def only(*decisions: str) -> Diagnostic:
    """The only complaint."""
    (found,) = refused(*decisions)
    return found


FIRST = STATED.count("\n") + 2
"""The line of the first decision."""


def table(spec: Spec, name: str = "tasks") -> Table:
    found = spec.schema.table(name)
    assert found is not None
    return found


def column(spec: Spec, name: str, of: str = "tasks") -> Column:
    found = table(spec, of).column(name)
    assert found is not None
    return found


def ranged(schema: Schema) -> set[str]:
    """Addresses of the columns with a range check."""
    return {
        f"{t.name}.{c.rule.column}"
        for t in schema.tables
        for c in t.checks
        if isinstance(c.rule, Range)
    }


# ---- selectors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "hit"),
    [
        ("tasks.cost", {"tasks.cost"}),
        ("*.cost", {"tasks.cost", "runs.cost"}),
        ("runs.co*", {"runs.cost", "runs.count"}),
        ("runs.co?t", {"runs.cost"}),
        ("r*.* numeric", {"runs.cost"}),
        ("*.* integer", {"runs.count"}),
        ("*.* numeric", {"tasks.cost", "runs.cost"}),
        ("*.c* integer", {"runs.count"}),
        ("tasks.cost numeric", {"tasks.cost"}),
    ],
)
def test_a_selector_finds_columns_by_pattern_and_type(selector: str, hit: set[str]) -> None:
    assert ranged(decided("{columns: {'" + selector + "': {min: 0}}}").schema) == hit


def test_a_type_with_parameters_is_found_by_its_base_name() -> None:
    spec = decided(
        "a: {columns: {tasks.cost: {type: 'numeric(10,2)'}}}",
        "b: {columns: {'*.* numeric': {min: 0}}}",
    )
    assert ranged(spec.schema) == {"tasks.cost", "runs.cost"}


def test_a_type_selector_tells_an_array_from_its_element() -> None:
    spec = decided("{columns: {'*.* text[]': {flat: true}}}")
    assert [c.name for c in table(spec).checks if c.name.endswith("_flat")] == ["tasks_tags_flat"]


@pytest.mark.parametrize("flipped", [False, True])
def test_an_exact_selector_beats_a_wildcard_whatever_the_order(flipped: bool) -> None:
    decisions = ["a: {columns: {'*.cost': {min: 0}}}", "b: {columns: {runs.cost: {min: 5}}}"]
    spec = decided(*(reversed(decisions) if flipped else decisions))
    assert [str(c.rule.minimum) for c in table(spec, "runs").checks if isinstance(c.rule, Range)]
    (rule,) = (c.rule for c in table(spec, "runs").checks)
    assert isinstance(rule, Range)
    assert rule.minimum == 5


def test_an_exact_selector_with_an_array_type_is_exact() -> None:
    spec = decided(
        "a: {columns: {'*.tags': {note: any}}}", "b: {columns: {'tasks.tags text[]': {note: one}}}"
    )
    assert column(spec, "tags").comment == "one"


def test_two_wildcards_that_differ_contradict_each_other() -> None:
    found = only("a: {columns: {'*.cost': {min: 0}}}", "b: {columns: {'runs.*': {min: 1}}}")
    assert (found.code, found.place) == ("S014", Place("x", FIRST + 1, 50))
    assert "a and b differ on min of runs." in found.message


def test_two_exact_selectors_that_differ_contradict_each_other() -> None:
    found = only(
        "a: {columns: {runs.cost: {min: 0}}}", "b: {columns: {'runs.cost numeric': {min: 1}}}"
    )
    assert found.code == "S014"


def test_two_decisions_may_say_the_same() -> None:
    spec = decided("a: {columns: {'*.cost': {min: 0}}}", "b: {columns: {runs.cost: {min: 0}}}")
    assert ranged(spec.schema) == {"tasks.cost", "runs.cost"}


def test_facts_of_several_decisions_on_one_column_add_up() -> None:
    spec = decided(
        "a: {columns: {'*.cost': {min: 0}}}", "b: {columns: {tasks.cost: {max: 9, note: new}}}"
    )
    (rule,) = (c.rule for c in table(spec).checks if isinstance(c.rule, Range))
    assert (rule.minimum, rule.maximum) == (Decimal(0), Decimal(9))


# ---- what decisions say of things that are gone -----------------------------------------------

STALE = (
    "live: {columns: {'*.cost': {min: 0}, runs.gone: {flat: true}, '*.* uuid[]': {flat: true}}}",
    "dead: {columns: {gone.id: {note: new}}, kept: [gone.x]}",
    "mixed: {kept: [tasks.zone, tasks.gone, gone.y, runs.cost, tasks]}",
    "named: {uniques: {u1: {table: gone, columns: [a]}, u2: {table: runs, columns: [id, cost]}}}",
)


def test_a_decision_about_what_is_gone_is_a_warning() -> None:
    found = decided(*STALE).warnings
    assert [(d.code, d.warning) for d in found] == [("S012", True)] * 7


def test_the_warning_points_to_the_selector_or_entry() -> None:
    places = {d.place for d in decided(*STALE).warnings}
    kept = text_of(*STALE).splitlines()[FIRST + 1].index("tasks.gone") + 1
    assert Place("x", FIRST + 2, kept) in places
    assert {p.line for p in places if p} == {FIRST, FIRST + 1, FIRST + 2, FIRST + 3}


def pruned(*decisions: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    data, dropped = prune(parse_spec(text_of(*decisions), "x")[0])
    return data["decisions"], dropped


def test_prune_drops_exactly_what_is_gone() -> None:
    decisions, _ = pruned(*STALE)
    assert decisions == {
        "live": {"because": "reason of live", "columns": {"*.cost": {"min": 0}}},
        "mixed": {"because": "reason of mixed", "kept": ["tasks.zone", "runs.cost", "tasks"]},
        "named": {
            "because": "reason of named",
            "uniques": {"u2": {"table": "runs", "columns": ["id", "cost"]}},
        },
    }


def test_prune_names_what_it_drops() -> None:
    assert set(pruned(*STALE)[1]) == {
        "live: runs.gone",
        "live: *.* uuid[]",
        "dead: gone.id",
        "dead: gone.x",
        "mixed: tasks.gone",
        "mixed: gone.y",
        "named: u1",
    }


def test_prune_of_more_than_ten_entries_drops_the_right_ones() -> None:
    entries = ["gone.a"] * 11 + ["tasks.id"] + ["gone.b"] * 11 + ["runs.id"]
    assert pruned("k: {kept: [" + ", ".join(entries) + "]}")[0]["k"]["kept"] == [
        "tasks.id",
        "runs.id",
    ]


def test_prune_leaves_no_warning() -> None:
    text = text_of(*STALE)
    data = {**parse_spec(text, "x")[0]}
    again = prune(prune(data)[0])
    assert again[1] == ()


def test_prune_changes_nothing_where_nothing_is_gone() -> None:
    data = parse_spec(text_of("{columns: {'*.cost': {min: 0}}, kept: [tasks.zone]}"), "x")[0]
    assert prune(data) == (data, ())


def test_prune_does_not_touch_its_argument() -> None:
    data = parse_spec(text_of(*STALE), "x")[0]
    prune(data)
    assert data == parse_spec(text_of(*STALE), "x")[0]


def test_dimensions_without_a_vector_are_stale() -> None:
    text = text_of("{embedding_dimensions: 3}").replace("type: vector", "type: vector(4)")
    (found,) = read_spec(text, "x").warnings
    assert found.code == "S012"


# ---- contradictions ---------------------------------------------------------------------------

CONTRADICTIONS = {
    "retype": "{tasks.zone: {type: uuid}}",
    "retype to an array": "{tasks.zone: {type: 'text[]'}}",
    "retype text to varchar": "{tasks.zone: {type: varchar(9)}}",
    "retype by a wildcard": "{'tasks.z*': {type: uuid}}",
    "array of other elements": "{tasks.tags: {type: 'uuid[]'}}",
    "other numbers for vectors": "{tasks.vec: {type: 'real[]'}}",
    "other default": "{tasks.title: {default: other}}",
    "other reference": "{tasks.project_id: {references: runs.id}}",
    "other values": "{tasks.zone: {one_of: [green, blue]}}",
    "fewer values": "{tasks.zone: {one_of: [green]}}",
    "more values": "{tasks.zone: {one_of: [green, red, blue]}}",
    "widening a closed list": "{tasks.zone: {known: [green, red, blue]}}",
    "other known values": "{tasks.phase: {known: [plan]}}",
    "nullable primary key": "{tasks.id: {nullable: true}}",
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_decision_cannot_contradict_what_is_stated(kind: str) -> None:
    found = only("d: {columns: " + CONTRADICTIONS[kind] + "}")
    assert found.code == "S013"
    assert found.place is not None
    assert found.place.line == FIRST


def test_a_contradiction_says_both_sides() -> None:
    assert (
        only("d: {columns: {tasks.zone: {one_of: [a]}}}").message
        == "the decision d sets one_of of tasks.zone to [a], but the document states [green, red]"
    )


def test_a_contradiction_points_to_the_fact_in_the_decision() -> None:
    text = text_of("d: {columns: {tasks.zone: {one_of: [a]}}}").splitlines()[FIRST - 1]
    found = only("d: {columns: {tasks.zone: {one_of: [a]}}}")
    assert found.place == Place("x", FIRST, text.index("one_of") + 1)


def test_an_exact_selector_cannot_retype_behind_a_permitted_wildcard() -> None:
    found = only(
        "a: {columns: {'*.cost': {type: 'numeric(10,2)'}}}",
        "b: {columns: {tasks.cost: {type: text}}}",
    )
    assert found.code == "S013"
    assert "the document states numeric" in found.message


def test_a_parameter_cannot_be_changed() -> None:
    text = text_of("{columns: {tasks.cost: {type: 'numeric(12,6)'}}}")
    with pytest.raises(InputError) as caught:
        read_spec(text.replace("type: numeric\n", "type: numeric(10,2)\n", 1), "x")
    assert [d.code for d in caught.value.diagnostics] == ["S013"]


def test_a_parameter_cannot_be_lost() -> None:
    text = text_of("{columns: {tasks.cost: {type: numeric}}}")
    with pytest.raises(InputError) as caught:
        read_spec(text.replace("type: numeric\n", "type: numeric(10,2)\n", 1), "x")
    assert [d.code for d in caught.value.diagnostics] == ["S013"]


@pytest.mark.parametrize(
    "entry",
    [
        "indexes: {tasks_vec_idx: {table: tasks, columns: [zone]}}",
    ],
)
def test_a_stated_index_keeps_its_columns(entry: str) -> None:
    assert only("{" + entry + "}").code == "S013"


def test_every_contradiction_is_found_in_one_run() -> None:
    found = refused(
        "a: {columns: {tasks.zone: {type: uuid, one_of: [a]}}}",
        "b: {columns: {tasks.title: {default: x}}}",
    )
    assert [d.code for d in found] == ["S013", "S013", "S013"]


# ---- what is permitted ------------------------------------------------------------------------


def test_a_decision_may_make_a_recorded_exception_for_null() -> None:
    assert column(decided("{columns: {tasks.zone: {nullable: true}}}"), "zone").nullable


def test_a_decision_may_require_what_is_nullable() -> None:
    assert not column(decided("{columns: {tasks.title: {nullable: false}}}"), "title").nullable


@pytest.mark.parametrize("fact", ["one_of", "subset_of"])
def test_a_closed_list_may_replace_known_values(fact: str) -> None:
    spec = decided("{columns: {tasks.phase: {" + fact + ": [plan, code]}}}")
    assert column(spec, "phase").known == ()
    assert [c.name for c in table(spec).checks if "phase" in c.name] == ["tasks_phase_values"]


def test_a_format_may_be_added_to_known_values() -> None:
    spec = decided("{columns: {tasks.phase: {format: '^[a-z]+$'}}}")
    assert column(spec, "phase").known == ("plan", "code")
    assert Matches("phase", "^[a-z]+$") in [c.rule for c in table(spec).checks]


def test_a_type_may_gain_a_parameter() -> None:
    spec = decided("{columns: {tasks.cost: {type: 'numeric(10,2)'}}}")
    assert column(spec, "cost").type == Numeric(10, 2)


def test_a_vector_may_become_an_array_of_doubles() -> None:
    spec = decided("{columns: {tasks.vec: {type: 'double precision[]'}}}")
    assert column(spec, "vec").type == Array(DoublePrecision())


def test_a_default_may_be_added() -> None:
    spec = decided("{columns: {tasks.zone: {default: red}}}")
    assert column(spec, "zone").default == Literal("red")


def test_a_note_is_appended() -> None:
    spec = decided("{columns: {tasks.phase: {note: decided note}}}")
    assert column(spec, "phase").comment == "stated note; decided note"


def test_an_exact_note_replaces_that_of_a_wildcard_and_keeps_the_stated_one() -> None:
    spec = decided(
        "a: {columns: {'*.p*': {note: wild}}}", "b: {columns: {tasks.phase: {note: exact}}}"
    )
    assert column(spec, "phase").comment == "stated note; exact"


def test_a_column_without_a_note_gets_one() -> None:
    assert column(decided("{columns: {tasks.zone: {note: new}}}"), "zone").comment == "new"


def test_embedding_dimensions_fix_every_open_vector() -> None:
    spec = decided("{embedding_dimensions: 384}")
    assert column(spec, "vec").type == Vector(384)


def test_embedding_dimensions_leave_a_stated_dimension_alone() -> None:
    text = text_of("{embedding_dimensions: 3}").replace("type: vector", "type: vector(4)")
    assert column(read_spec(text, "x"), "vec").type == Vector(4)


def test_the_method_of_a_stated_index_can_be_decided() -> None:
    spec = decided("{indexes: {tasks_vec_idx: {table: tasks, method: hnsw}}}")
    (index,) = table(spec).indexes
    assert (index.method, index.keys[0].opclass) == (Method.HNSW, "vector_cosine_ops")


def test_two_decisions_on_one_stated_index_that_differ_contradict_each_other() -> None:
    found = only(
        "a: {indexes: {tasks_vec_idx: {table: tasks, method: hnsw}}}",
        "b: {indexes: {tasks_vec_idx: {table: tasks, method: gin}}}",
    )
    assert found.code == "S014"


@pytest.mark.parametrize(
    ("kind", "entry", "other"),
    [
        ("uniques", "{table: runs, columns: [id, cost]}", "{table: runs, columns: [cost]}"),
        ("indexes", "{table: runs, columns: [cost]}", "{table: runs, columns: [id]}"),
        (
            "checks",
            "{table: runs, rule: range, column: cost, min: 0}",
            "{table: runs, rule: range, column: cost, min: 1}",
        ),
        (
            "foreign_keys",
            "{table: runs, columns: [task_id], references: tasks, referenced: [id]}",
            "{table: runs, columns: [id], references: tasks, referenced: [id]}",
        ),
    ],
)
class TestNamedEntries:
    def test_is_added_to_its_table(self, kind: str, entry: str, other: str) -> None:  # noqa: ARG002
        spec = decided("{" + kind + ": {own: " + entry + "}}")
        assert "own" in [
            x.name for x in (*table(spec, "runs").constraints, *table(spec, "runs").indexes)
        ]

    def test_may_be_decided_twice_alike(self, kind: str, entry: str, other: str) -> None:  # noqa: ARG002
        decided(
            "a: {" + kind + ": {own: " + entry + "}}", "b: {" + kind + ": {own: " + entry + "}}"
        )

    def test_cannot_be_decided_twice_differently(self, kind: str, entry: str, other: str) -> None:
        found = only(
            "a: {" + kind + ": {own: " + entry + "}}", "b: {" + kind + ": {own: " + other + "}}"
        )
        assert (found.code, found.place and found.place.line) == ("S014", FIRST + 1)

    def test_needs_a_table(self, kind: str, entry: str, other: str) -> None:  # noqa: ARG002
        found = only("{" + kind + ": {own: " + entry.replace("table: runs, ", "") + "}}")
        assert (found.code, found.place and found.place.line) == ("S008", FIRST)


@pytest.mark.parametrize("kind", ["extensions", "value_sets", "rollups"])
def test_a_declaration_cannot_be_made_twice(kind: str) -> None:
    entry = {
        "extensions": "{e: f}",
        "value_sets": "{x: [tasks.zone]}",
        "rollups": "{runs: {source: tasks, counts: [cost]}}",
    }[kind]
    assert only("a: {" + kind + ": " + entry + "}", "b: {" + kind + ": " + entry + "}").code == (
        "S014"
    )


ROLLUP = "{rollups: {runs: {source: tasks, keys: {task_id: id}, counts: [cost]}}}"


def test_a_decision_may_make_a_table_a_rollup() -> None:
    keys, measures = (RollupKey("task_id", "id"),), (Measure("cost"),)
    assert decided(ROLLUP).schema.rollups == (Rollup("runs", "tasks", keys, measures),)


def test_a_rollup_is_an_effect_of_its_decision() -> None:
    (found,) = effects(ROLLUP)
    assert found[1:3] == ("runs", "rollups")


def test_a_rollup_that_is_stated_cannot_be_decided() -> None:
    stated = text_of(ROLLUP).replace("tables:", "rollups: {runs: {source: tasks}}\ntables:", 1)
    with pytest.raises(InputError) as caught:
        read_spec(stated, "x")
    assert [d.code for d in caught.value.diagnostics] == ["S014"]


def test_an_unknown_type_is_reported_in_the_decision() -> None:
    found = only("{columns: {tasks.cost: {type: money}}}")
    assert (found.code, found.place and found.place.line) == ("S011", FIRST)


def test_within_without_references_is_reported_in_the_decision() -> None:
    found = only("{columns: {runs.task_id: {within: cost}}}")
    assert (found.code, found.place and found.place.line) == ("S011", FIRST)


# ---- effects ----------------------------------------------------------------------------------


def effects(*decisions: str) -> list[tuple[str, str, str, str, str]]:
    return [(e.decision, e.address, e.fact, e.before, e.after) for e in decided(*decisions).effects]


def test_every_effect_is_listed_with_what_was_stated() -> None:
    assert effects(
        "a: {columns: {'*.cost': {min: 0}, tasks.title: {nullable: false, note: new}},"
        " kept: [runs]}",
        "b: {embedding_dimensions: 3, extensions: {vector: ext}, value_sets: {z: [tasks.zone]}}",
        "c: {indexes: {tasks_vec_idx: {table: tasks, method: hnsw},"
        " i: {table: runs, columns: [cost]}}}",
        "d: {uniques: {u: {table: runs, columns: [cost]}}}",
    ) == [
        ("a", "tasks.cost", "min", "nothing", "0"),
        ("a", "runs.cost", "min", "nothing", "0"),
        ("a", "tasks.title", "nullable", "true", "false"),
        ("a", "tasks.title", "note", "nothing", "new"),
        ("a", "runs", "kept", "nothing", "as stated"),
        ("b", "tasks.vec", "type", "vector", "vector(3)"),
        ("b", "vector", "extensions", "nothing", "ext"),
        ("b", "z", "value_sets", "nothing", "[tasks.zone]"),
        ("c", "tasks.tasks_vec_idx", "method", "ivfflat", "hnsw"),
        ("c", "runs.i", "indexes", "nothing", "{columns: [cost]}"),
        ("d", "runs.u", "uniques", "nothing", "{columns: [cost]}"),
    ]


def test_an_overridden_wildcard_has_no_effect_there() -> None:
    assert effects("a: {columns: {'*.cost': {min: 0}}}", "b: {columns: {runs.cost: {min: 5}}}") == [
        ("a", "tasks.cost", "min", "nothing", "0"),
        ("b", "runs.cost", "min", "nothing", "5"),
    ]


def test_effects_come_in_the_order_of_the_decisions() -> None:
    found = effects("z: {columns: {tasks.cost: {min: 0}}}", "a: {columns: {'*.zone': {note: new}}}")
    assert [e[0] for e in found] == ["z", "a"]


def test_an_effect_carries_the_reason() -> None:
    (effect,) = decided("why: {columns: {tasks.cost: {min: 0}}}").effects
    assert effect.because == "reason of why"


def test_what_the_document_states_already_is_on_record_too() -> None:
    (effect,) = decided("{columns: {tasks.title: {default: none}}}").effects
    assert (effect.before, effect.after) == ("none", "none")


# ---- places of what the model says about decided facts ----------------------------------------


@pytest.mark.parametrize(
    ("decision", "code"),
    [
        ("{columns: {tasks.zone: {min: 0}}}", "M011"),
        ("{columns: {'*.cost': {finite: true, flat: true}}}", "M011"),
        ("{columns: {runs.task_id: {references: gone.id}}}", "M001"),
        ("{columns: {runs.task_id: {references: tasks.zone}}}", "M002"),
        ("{columns: {tasks.zone: {touch: true}}}", "M020"),
        ("{uniques: {u: {table: runs, columns: [gone]}}}", "M001"),
        ("{uniques: {tasks: {table: runs, columns: [cost]}}}", "M004"),
        ("{checks: {c: {table: runs, rule: flat, column: cost}}}", "M011"),
        ("{indexes: {i: {table: runs, columns: [cost], method: gin}}}", "M009"),
        ("{value_sets: {z: [tasks.gone]}}", "M001"),
        ("{extensions: {'" + "x" * 64 + "': e}}", "M005"),
    ],
)
def test_the_model_blames_the_decision_that_put_the_fact_there(decision: str, code: str) -> None:
    spec = decided(decision)
    lines = {d.place.line for d in spec.locate(check(spec.schema)) if d.code == code and d.place}
    assert FIRST in lines


def test_the_model_blames_the_table_for_stated_facts() -> None:
    spec = read_spec(STATED.replace("one_of: [green, red]", "min: 0"), "x")
    (found,) = (d for d in spec.locate(check(spec.schema)) if d.code == "M011")
    assert found.place == Place(
        "x", STATED.splitlines().index("        one_of: [green, red]") + 1, 9
    )


@pytest.mark.parametrize(
    ("decision", "code", "stated"),
    [
        ("{columns: {tasks.project_id: {on_delete: set null}}}", "M012", "references: tasks.id"),
        ("{indexes: {tasks_vec_idx: {table: tasks, method: gin}}}", "M009", "tasks_vec_idx:"),
    ],
)
def test_the_model_blames_the_stated_object_that_a_decision_changed(
    decision: str, code: str, stated: str
) -> None:
    spec = decided(decision)
    lines = {d.place.line for d in spec.locate(check(spec.schema)) if d.code == code and d.place}
    assert lines == {[line.strip() for line in STATED.splitlines()].index(stated) + 1}


def test_defaults_are_read_as_what_they_mean() -> None:
    text = text_of("{columns: {runs.count: {default: 0}}}").replace(
        "      cost:\n        type: numeric\n      count",
        "      at:\n        type: timestamptz\n        default: now()\n"
        "      cost:\n        type: numeric\n      count",
    )
    spec = read_spec(text, "x")
    assert column(spec, "count", "runs").default == Literal("0")
    assert column(spec, "at", "runs").default == Now()


def test_the_real_decisions_all_apply() -> None:
    path = Path(__file__).resolve().parent.parent / "schema.yaml"
    spec = read_spec(path.read_text("utf-8"), "schema.yaml")
    assert spec.warnings == ()
    assert {e.decision for e in spec.effects} == set(spec.data["decisions"])
