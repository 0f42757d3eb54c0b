"""The shape of a spec file: one published JSON Schema, and an interpreter that agrees with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codered_spec.errors import Diagnostic, Place
from codered_spec.sources.spec.conventions import COLUMN_KEYS
from codered_spec.sources.spec.shape import _KNOWN_KEYWORDS, check_shape, shape
from codered_spec.sources.spec.yaml_text import Node, read_yaml

ROOT = Path(__file__).resolve().parent.parent
REAL: dict[str, Any] = read_yaml((ROOT / "schema.yaml").read_text("utf-8"), "x").value  # type: ignore[assignment]
JUDGE = jsonschema.Draft202012Validator(shape())


def node(value: Any, line: int = 1) -> Node:
    """A tree for plain data; every place is in the same line."""
    place = Place("x", line, 1)
    if isinstance(value, dict):
        children: dict[str | int, Node] = {k: node(v) for k, v in value.items()}
        return Node(value, place, children, dict.fromkeys(value, place))
    if isinstance(value, list):
        return Node(value, place, {i: node(v) for i, v in enumerate(value)}, {})
    return Node(value, place, {}, {})


def agree(data: Any) -> bool:
    """Whether interpreter and jsonschema give one verdict; the verdict itself is returned."""
    ours = not check_shape(node(data))
    assert ours == JUDGE.is_valid(data), data
    return ours


# ---- the same verdict as jsonschema -----------------------------------------------------------

WORDS = [
    *COLUMN_KEYS,
    *"columns table tables indexes checks rule references referenced where is_true with method"
    " nulls opclass because kept decisions format schema title extensions value_sets baseline"
    " functions function timing events embedding_dimensions name text".split(),
]
VALUES = [
    *"text uuid now() cascade gin hnsw one_of range first last before update row a.b a.* *.*"
    " tasks.id 20260101000000_x x-y x".split(),
    "",
    " ",
    "*.* text[]",
    "a.b.c",
    "a\n",
]  # fmt: skip
scalars = st.one_of(
    st.sampled_from(VALUES),
    st.text(max_size=5),
    st.sampled_from([True, False, 0, 1, -1, 2, 2000, 2001, Decimal("0.5"), Decimal("1.0")]),
)
keys = st.sampled_from([*WORDS, *VALUES])


def _containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=3) | st.dictionaries(keys, children, max_size=4)


anything = st.recursive(scalars, _containers, max_leaves=10)
many = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value below the top."""
    items = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in items:
        yield (*path, key)
        yield from paths(value, (*path, key))


SMALL: dict[str, Any] = {
    "format": 1,
    "schema": "s",
    "title": "T",
    "document": "d.md",
    "baseline": "20260101000000_first",
    "extensions": {"vector": "extensions"},
    "functions": {"f": {"set_updated_at": "at", "note": "n"}},
    "value_sets": {"v": ["t.a"]},
    "rollups": {
        "r": {
            "source": "t",
            "days": {"d": "a"},
            "keys": {"k": "b"},
            "window": {"of": "a", "start": "f", "end": "g", "grid": "15 minutes"},
            "sums": {"m": "c"},
            "counts": ["n"],
            "on_demand": True,
        }
    },
    "tables": {
        "t": {
            "note": "n",
            "columns": {
                "a": {
                    "type": "text",
                    "primary_key": True,
                    "unique": True,
                    "references": "t.a",
                    "within": "b",
                    "on_delete": "set null",
                    "on_update": "cascade",
                    "nullable": False,
                    "default": {"text": "now()"},
                    "touch": True,
                    "one_of": ["x", "y"],
                    "subset_of": ["x"],
                    "known": ["x"],
                    "format": "^x$",
                    "min": 0,
                    "max": Decimal("1.5"),
                    "finite": True,
                    "flat": True,
                    "max_bytes": 1,
                    "nonzero": True,
                    "note": "n",
                },
                "b": {"type": "text", "default": True},
            },
            "primary_key": {"name": "p", "columns": ["a"]},
            "uniques": {"u": {"columns": ["a", "b"], "nulls_distinct": False}},
            "foreign_keys": {
                "k": {
                    "columns": ["a"],
                    "references": "t",
                    "referenced": ["a"],
                    "on_delete": "set default",
                    "on_delete_columns": ["a"],
                    "on_update": "restrict",
                }
            },
            "checks": {
                "c": {"rule": "ordered", "lower": "a", "upper": "b", "strict": False},
                "d": {"rule": "one_of", "column": "a", "values": ["x"]},
                "e": {"rule": "range", "column": "a", "min": 0, "max": 1},
                "f": {"rule": "format", "column": "a", "pattern": "^x$"},
                "g": {"rule": "max_bytes", "column": "a", "limit": 1},
            },
            "indexes": {
                "i": {
                    "columns": ["a"],
                    "method": "btree",
                    "unique": True,
                    "nulls_distinct": False,
                    "opclass": {"a": "text_ops"},
                    "descending": ["a"],
                    "nulls": {"a": "first"},
                    "where": {"is_null": "a"},
                    "with": {"fillfactor": 90},
                }
            },
            "triggers": {
                "x": {
                    "function": "f",
                    "timing": "before",
                    "events": ["insert", "update"],
                    "each": "row",
                    "when": "row changed",
                    "columns": ["a"],
                }
            },
        }
    },
    "decisions": {
        "d-1": {
            "because": "b",
            "embedding_dimensions": 3,
            "extensions": {"x": "y"},
            "columns": {"*.* text[]": {"flat": True}, "t.a": {"type": "text"}},
            "uniques": {"w": {"table": "t", "columns": ["a"]}},
            "foreign_keys": {
                "l": {"table": "t", "columns": ["a"], "references": "t", "referenced": ["a"]}
            },
            "checks": {"h": {"table": "t", "rule": "flat", "column": "a"}},
            "indexes": {"j": {"table": "t", "columns": ["a"]}},
            "value_sets": {"z": ["t.a"]},
            "rollups": {"q": {"source": "t", "counts": ["n"]}},
            "kept": ["t.a"],
        }
    },
}
"""A spec of the right shape that uses every key there is."""
SMALL_PATHS = list(paths(SMALL))
REAL_PATHS = list(paths(REAL))


def mutated(data: dict[str, Any], where: list[tuple[Any, ...]]) -> st.SearchStrategy[Any]:
    """The data with one to three values replaced, removed, renamed, or added."""

    @st.composite
    def strategy(draw: st.DrawFn) -> Any:
        result = copy.deepcopy(data)
        for _ in range(draw(st.integers(1, 3))):
            path = draw(st.sampled_from(where))
            holder: Any = result
            try:
                for step in path[:-1]:
                    holder = holder[step]
                holder[path[-1]]
            except (KeyError, IndexError, TypeError):
                continue  # an earlier mutation took it away
            if not isinstance(holder, (dict, list)):
                continue
            match draw(st.sampled_from(["replace", "remove", "rename", "add", "twice"])):
                case "replace":
                    holder[path[-1]] = draw(anything)
                case "remove":
                    del holder[path[-1]]
                case "rename" if isinstance(holder, dict):
                    holder[draw(keys)] = holder.pop(path[-1])
                case "add" if isinstance(holder, dict):
                    holder[draw(keys)] = draw(anything)
                case _ if isinstance(holder, list):
                    holder.append(holder[path[-1]])
        return result

    return strategy()


@many
@given(data=mutated(SMALL, SMALL_PATHS))
def test_jsonschema_gives_the_same_verdict_on_a_mutated_spec(data: Any) -> None:
    agree(data)


@settings(many, max_examples=25)
@given(data=mutated(REAL, REAL_PATHS))
def test_jsonschema_gives_the_same_verdict_on_a_mutation_of_the_real_spec(data: Any) -> None:
    agree(data)


@many
@given(data=anything)
def test_jsonschema_gives_the_same_verdict_on_any_data(data: Any) -> None:
    agree(data)


@pytest.mark.parametrize("path", SMALL_PATHS, ids=lambda p: ".".join(map(str, p)))
def test_jsonschema_gives_the_same_verdict_on_every_value_of_every_kind(
    path: tuple[Any, ...],
) -> None:
    values: list[Any] = [True, False, 0, 1, -1, Decimal("0.5"), "", "x", [], ["x"], ["x", "x"], {}]
    for value in values:
        data = copy.deepcopy(SMALL)
        holder: Any = data
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = value
        agree(data)


def test_the_spec_with_every_key_has_the_right_shape() -> None:
    assert agree(SMALL)


def test_the_real_spec_has_the_right_shape() -> None:
    assert agree(REAL)


# ---- the published schema ---------------------------------------------------------------------


def rules(rule: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rule and every rule inside of it."""
    yield rule
    for word in ("properties", "$defs"):
        for inner in rule.get(word, {}).values():
            yield from rules(inner)
    for word in ("items", "additionalProperties", "propertyNames"):
        if isinstance(rule.get(word), dict):
            yield from rules(rule[word])


RULES = list(rules(shape()))


def test_the_published_schema_is_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(shape())
    assert shape()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_interpreter_knows_every_keyword_of_the_schema() -> None:
    assert set().union(*RULES) <= _KNOWN_KEYWORDS


def test_a_reference_has_no_keyword_beside_it_that_would_be_overlooked() -> None:
    assert all(r.keys() <= {"$ref", "description"} for r in RULES if "$ref" in r)


def test_every_reference_leads_to_a_definition() -> None:
    names = {r["$ref"] for r in RULES if "$ref" in r}
    assert names == {f"#/$defs/{name}" for name in shape()["$defs"]}


def test_every_rule_about_keys_says_in_words_what_a_key_is() -> None:
    for rule in RULES:
        if "propertyNames" in rule:
            assert rule["propertyNames"].keys() == {"pattern", "description"}


def test_a_decision_may_say_all_of_a_column_but_that_it_is_the_key() -> None:
    column = shape()["$defs"]["column"]["properties"]
    decided = shape()["$defs"]["column_decision"]["properties"]
    assert decided.keys() == column.keys() - {"primary_key"}
    for fact, rule in decided.items():
        assert rule == {k: column[fact][k] for k in rule}


def test_the_canonical_order_of_column_facts_is_that_of_the_schema() -> None:
    assert list(shape()["$defs"]["column"]["properties"]) == COLUMN_KEYS


# ---- what people are told ---------------------------------------------------------------------

HEAD = "format: 1\nschema: s\n"


def only(text: str) -> Diagnostic:
    """The only complaint about a spec text."""
    (found,) = check_shape(read_yaml(text, "x"))
    assert found.place is not None
    assert found.fix
    return found


COLUMN = HEAD + "tables:\n  t:\n    columns:\n      a:\n        type: text\n"


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "words"),
    [
        (HEAD + "tabels: {}\n", "S006", 3, 1, "did you mean tables?"),
        (COLUMN + "        nulable: true\n", "S006", 8, 9, "did you mean nullable?"),
        (COLUMN + "    index: {}\n", "S006", 8, 5, "did you mean indexes?"),
        (HEAD + "rollups: {r: {keys: {a: b}}}\n", "S008", 3, 14, "source"),
        (HEAD + "rollups: {r: {source: t, keys: {}}}\n", "S009", 3, 32, "keys"),
        (HEAD + "rollups: {r: {source: t, sum: {a: b}}}\n", "S006", 3, 26, "did you mean sums?"),
        (HEAD + "qqq: 1\n", "S006", 3, 1, "unknown key qqq in the spec"),
        (HEAD + "title: 5\n", "S007", 3, 8, "title must be text, not a whole number 5"),
        (HEAD + "title: true\n", "S007", 3, 8, "not true or false true"),
        (HEAD + "title: 0.50\n", "S007", 3, 8, "not a number 0.50"),
        (HEAD + "title: []\n", "S007", 3, 8, "not a list"),
        (HEAD + "tables: []\n", "S007", 3, 9, "tables must be a mapping, not a list"),
        (COLUMN + "        min: abc\n", "S007", 8, 14, "min must be a number, not text abc"),
        (COLUMN + "        known: a\n", "S007", 8, 16, "known must be a list, not text a"),
        (COLUMN + "        known: [a, 1]\n", "S007", 8, 20, "an entry of known must be text"),
        (COLUMN + "        default: []\n", "S007", 8, 18, "default must be text or true or false"),
        ("- 1\n", "S007", 1, 1, "the spec must be a mapping"),
        ("schema: s\n", "S008", 1, 1, "the spec lacks the key format"),
        ("format: 1\n", "S008", 1, 1, "the spec lacks the key schema"),
        (HEAD + "tables:\n  t: {}\n", "S008", 4, 6, "t lacks the key columns"),
        (
            HEAD + "tables:\n  t:\n    columns:\n      a: {}\n",
            "S008",
            6,
            10,
            "a lacks the key type",
        ),
        (HEAD + "decisions:\n  d:\n    kept: [a.b]\n", "S008", 5, 5, "lacks the key because"),
        ("format: 2\nschema: s\n", "S009", 1, 9, "format must be 1"),
        (HEAD + "baseline: first\n", "S009", 3, 11, "baseline cannot be first"),
        (HEAD + "tables: {t: {columns: {}}}\n", "S009", 3, 23, "columns is empty"),
        (COLUMN + "        known: []\n", "S009", 8, 16, "known is empty"),
        (COLUMN + "        known: [a, b, a]\n", "S009", 8, 23, "a occurs twice in known"),
        (COLUMN + "        unique: false\n", "S009", 8, 17, "unique must be True"),
        (COLUMN + "        max_bytes: 0\n", "S009", 8, 20, "max_bytes is below 1"),
        (COLUMN + "        references: tasks\n", "S009", 8, 21, "references cannot be tasks"),
        (COLUMN + "        on_delete: cascad\n", "S009", 8, 20, "did you mean cascade?"),
        (COLUMN + "        on_delete: zzzzz\n", "S009", 8, 20, "on_delete cannot be zzzzz"),
        (
            HEAD + "decisions:\n  Bad_Name: {because: b, kept: [a.b]}\n",
            "S009",
            4,
            3,
            "Bad_Name cannot be a key of decisions",
        ),
        (HEAD + "decisions:\n  d: {because: b}\n", "S009", 4, 6, "d has nothing but because"),
        (
            HEAD + "decisions:\n  d: {because: b, columns: {a: {flat: true}}}\n",
            "S009",
            4,
            29,
            "a cannot be a key of columns",
        ),
        (
            HEAD + "decisions:\n  d: {because: b, embedding_dimensions: 2001}\n",
            "S009",
            4,
            41,
            "embedding_dimensions is above 2000",
        ),
        (
            COLUMN + "    indexes: {i: {where: {is_null: a, is_true: a}}}\n",
            "S009",
            8,
            26,
            "where has over 1 entries",
        ),
    ],
)
def test_a_wrong_shape_is_named_at_its_place(
    text: str, code: str, line: int, column: int, words: str
) -> None:
    found = only(text)
    assert (found.code, found.place) == (code, Place("x", line, column))
    assert words in found.message


def test_a_number_where_text_is_wanted_can_be_mended_with_quotes() -> None:
    assert only(HEAD + "title: 5\n").fix == 'quote it: "5"'


def test_an_unknown_key_comes_with_the_known_ones() -> None:
    assert "tables, decisions" in only(HEAD + "tabels: {}\n").fix


def test_a_wrong_word_comes_with_the_allowed_ones() -> None:
    found = only(COLUMN + "        on_delete: x\n")
    assert found.fix == "one of: no action, restrict, cascade, set null, set default"


def test_all_complaints_are_found_in_one_run_in_the_order_of_the_file() -> None:
    text = "format: 2\nschema: s\nx: 1\ntables:\n  t:\n    columns:\n      a: {typ: text}\n"
    found = check_shape(read_yaml(text, "x"))
    assert [(d.code, d.place.line) for d in found if d.place] == [
        ("S009", 1),
        ("S006", 3),
        ("S008", 7),
        ("S006", 7),
    ]


def test_a_very_long_value_is_shown_shortened() -> None:
    assert len(only(COLUMN + f"        on_delete: {'x' * 10_000}\n").message) < 200


@pytest.mark.parametrize("grid", ["1 minutes", "15 minutes", "1440 minutes"])
def test_a_grid_is_so_many_minutes(grid: str) -> None:
    assert _accepts(_with_grid, grid)


@pytest.mark.parametrize(
    "grid", ["15", "15 min", "0 minutes", "015 minutes", "15 minutes ", "99999 minutes", "1 hours"]
)
def test_nothing_else_is_a_grid(grid: str) -> None:
    assert not _accepts(_with_grid, grid)


def _with_grid(text: str) -> dict[str, Any]:
    window = {"of": "a", "start": "b", "end": "c", "grid": text}
    rollup = {"source": "t", "window": window}
    return {"format": 1, "schema": "s", "rollups": {"r": rollup}}


def _accepts(make: Callable[[str], dict[str, Any]], text: str) -> bool:
    return agree({"format": 1, "schema": "s", **make(text)})


@pytest.mark.parametrize("text", ["a.b", "*.id", "t*.?d", "*.* text", "a.b double precision[]"])
def test_a_selector_is_table_dot_column_and_perhaps_a_type(text: str) -> None:
    assert _accepts(
        lambda s: {"decisions": {"d": {"because": "b", "columns": {s: {"flat": True}}}}}, text
    )


@pytest.mark.parametrize("text", ["a", "a.b.c", ".b", "a.", "a.b ", "a.b TEXT", ""])
def test_nothing_else_is_a_selector(text: str) -> None:
    assert not _accepts(
        lambda s: {"decisions": {"d": {"because": "b", "columns": {s: {"flat": True}}}}}, text
    )
