"""The JSON Schemas: current, valid, looser than the validators, and strict where they say so."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

import pytest
from every_type import TYPES, every_type, json_native, table_name, validators_of, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from codered_spec.generated.validators import TABLES
from codered_spec.model.types import PgType
from codered_spec.validation import Validator
from codered_spec.validation import json_schema as schema_of
from codered_spec.validators import json_schema

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference" / "json-schema"
OF_TYPE: Final = validators_of(every_type())
STRICT_KEYWORDS: Final = frozenset(
    "additionalProperties description enum format items properties required title type".split()
)
STRICT_FORMATS: Final = frozenset({"date", "date-time", "uuid"})

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def test_there_is_a_file_for_each_table_and_form() -> None:
    wanted = {f"{name}{form}.json" for name in TABLES for form in ("", ".strict")}
    assert {path.name for path in FOLDER.glob("*.json")} == wanted


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_files_are_what_the_function_gives_and_valid(name: str, strict: bool) -> None:
    path = FOLDER / f"{name}{'.strict' * strict}.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert schema == json_schema(name, strict=strict)
    Draft202012Validator.check_schema(schema)


def subschemas(schema: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [*schema.get("properties", {}).values()]
    inner += [schema["items"]] if "items" in schema else []
    return [schema, *(deep for one in inner for deep in subschemas(one))]


@pytest.mark.parametrize("tested", [*TABLES.values(), *OF_TYPE.values()], ids=lambda v: v.name)
def test_strict_schemas_keep_to_the_subset(tested: Validator) -> None:
    schema = schema_of(tested.columns, tested.name, strict=True)
    Draft202012Validator.check_schema(schema)
    for part in subschemas(schema):
        assert part.keys() <= STRICT_KEYWORDS
        assert "type" in part
        assert part.get("format", "date") in STRICT_FORMATS
        if part["type"] == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
    for name, part in schema["properties"].items():
        column = tested.columns[name]
        optional = column.nullable or column.default
        assert ("null" in part["type"]) is optional
        if "enum" in part:
            assert (None in part["enum"]) is optional
    left_out = {c.name for c in tested.columns.values()} - schema["properties"].keys()
    assert all(tested.columns[name].type.startswith(("jsonb", "vector")) for name in left_out)


@pytest.mark.parametrize("type_", TYPES, ids=str)
@quick
@given(data=st.data())
def test_what_a_validator_accepts_satisfies_the_schema(type_: PgType, data: st.DataObject) -> None:
    tested = OF_TYPE[table_name(type_)]
    judge = Draft202012Validator(schema_of(tested.columns, tested.name))
    for value in data.draw(st.lists(values(type_), min_size=10, max_size=10)):
        row = {"k": 1, "v": value}
        if json_native(value) and tested.ok(row):
            assert [error.message for error in judge.iter_errors(row)] == []


def example(tested: Validator, name: str, more: object) -> list[object]:
    """Values for a column of CodeRed, as JSON."""
    column = tested.columns[name]
    plain: dict[str, list[object]] = {
        "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
        "text": [*column.allowed, *column.known, "abc", "", "é" * 1300],
        "boolean": [True, False],
        "integer": [0, 1, -1, 2**31 - 1],
        "bigint": [0, 1, -1, 2**63 - 1],
        "numeric": [0, 1.5, "12.50", -0.0000001, -0.004, "99999.9999994"],
        "date": ["2020-01-01"],
        "timestamptz": ["2020-01-01T00:00:00Z", "2021-01-01 00:00:00.5+01:00"],
        "jsonb": [{}, [1], "a", {"a": None}],
        "text[]": [[], [*column.allowed, *column.known], ["abc"]],
        "uuid[]": [[], ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]],
        "vector": [[1] * 384, [0.5] * 384],
    }
    base = column.type.partition("(")[0]
    return [*plain[base], *([None] if column.nullable else []), more]


@pytest.mark.parametrize("name", sorted(TABLES))
@quick
@given(data=st.data())
def test_rows_that_are_accepted_satisfy_the_schema(name: str, data: st.DataObject) -> None:
    tested = TABLES[name]
    judge = Draft202012Validator(json_schema(name))
    row = {}
    for column, facts in tested.columns.items():
        if (facts.nullable or facts.default) and data.draw(st.booleans()):
            continue
        fitting = [
            value
            for value in example(tested, column, math.pi)
            if tested.problems({column: value}, for_update=True) == []
        ]
        row[column] = fitting[data.draw(st.integers(0, len(fitting) - 1))]
    if tested.ok(row):
        assert [error.message for error in judge.iter_errors(row)] == []
    else:
        assert [p.code for p in tested.problems(row)] == ["order"]


def test_the_schema_refuses_what_it_can() -> None:
    judge = Draft202012Validator(json_schema("tasks"))
    assert not judge.is_valid({})
    assert not judge.is_valid({"zome": 1})
    properties = json_schema("tasks")["properties"]
    assert not Draft202012Validator(properties["zone"]).is_valid("gren")
    assert not Draft202012Validator(properties["title"]).is_valid(None)
