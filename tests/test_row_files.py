"""Rows from files: every format gives the same rows, with places, in constant memory."""

from __future__ import annotations

import io
import itertools
import json
import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codered_spec.cli import main
from codered_spec.errors import Diagnostic, InputError
from codered_spec.row_files import format_of, read_rows
from codered_spec.validation import Column

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = {
    "name": Column("name", "text"),
    "note": Column("note", "text", nullable=True),
    "calls": Column("calls", "integer", nullable=True),
    "cost": Column("cost", "numeric(10,2)", nullable=True),
    "ratio": Column("ratio", "double precision", nullable=True),
    "tags": Column("tags", "text[]", nullable=True),
    "details": Column("details", "jsonb", nullable=True),
    "active": Column("active", "boolean", nullable=True),
}

Rows = list[tuple[int, int, object]]


def read(text: str, kind: str) -> Rows:
    """Line, column and row; the code in place of a row that cannot be read."""
    return [
        (place.line, place.column, row.code if isinstance(row, Diagnostic) else row)
        for place, row in read_rows(io.StringIO(text, newline=""), "f", kind, COLUMNS)
    ]


def refusal(text: str, kind: str) -> Diagnostic:
    with pytest.raises(InputError) as caught:
        read(text, kind)
    return caught.value.diagnostics[0]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.csv", "csv"),
        ("a.JSON", "json"),
        ("a.jsonl", "jsonl"),
        ("a.txt", "jsonl"),
        ("-", "jsonl"),
    ],
)
def test_the_ending_says_the_format(path: str, kind: str) -> None:
    assert format_of(path) == kind


def test_every_line_is_a_row() -> None:
    assert read('{"name": "a"}\n\n{"name": "b"}', "jsonl") == [
        (1, 1, {"name": "a"}),
        (3, 1, {"name": "b"}),
    ]


def test_a_broken_line_does_not_hide_the_next() -> None:
    assert read('{"name": \n{"name": "b"}\n', "jsonl") == [(1, 10, "C007"), (2, 1, {"name": "b"})]


@pytest.mark.parametrize("text", ["[1]", "1", '"x"', "null", '{"cost": NaN}', '{"a": 1} x'])
def test_what_is_no_object_is_reported(text: str) -> None:
    assert [code for _, _, code in read(text + "\n", "jsonl")] == ["C007"]


def test_numbers_of_numeric_columns_stay_exact() -> None:
    ((_, _, row),) = read('{"cost": 0.12345678901234567890, "ratio": 0.5}', "jsonl")
    assert row == {"cost": Decimal("0.12345678901234567890"), "ratio": 0.5}
    assert isinstance(row, dict)
    assert type(row["ratio"]) is float


def test_an_array_has_places() -> None:
    assert read('[{"name": "a"},\n  {"name": "b"} ]\n', "json") == [
        (1, 2, {"name": "a"}),
        (2, 3, {"name": "b"}),
    ]


def test_a_single_object_is_one_row() -> None:
    assert read(' {"name": "a"}', "json") == [(1, 2, {"name": "a"})]


def test_an_empty_array_has_no_rows() -> None:
    assert read("[ ]", "json") == []


@pytest.mark.parametrize(
    "text", ["", "1", "[1, ", '[{"name": "a"}', '[{"name": "a"} {"name": "b"}]', "[] []", "[{]"]
)
def test_a_broken_array_is_refused_with_a_place(text: str) -> None:
    diagnostic = refusal(text, "json")
    assert (diagnostic.code, diagnostic.place is not None) == ("C007", True)


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans())))
def test_all_formats_of_json_agree(rows: list[dict[str, object]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    array = json.dumps(rows, indent=1)
    assert [row for *_, row in read(lines, "jsonl")] == rows
    assert [row for *_, row in read(array, "json")] == rows


def test_an_array_longer_than_the_window_is_read() -> None:
    rows = [{"name": "x" * (n * 1000)} for n in range(200)]
    assert [row for *_, row in read(json.dumps(rows), "json")] == rows


def test_csv_fields_have_the_types_of_their_columns() -> None:
    text = (
        "name,note,calls,cost,ratio,tags,details,active\r\n"
        'a,"x, y",3,1.50,0.5,"[""t""]","{""k"": 1.5}",true\r\n'
        ",,,,,,,\r\n"
    )
    full = {
        "name": "a",
        "note": "x, y",
        "calls": 3,
        "cost": "1.50",
        "ratio": 0.5,
        "tags": ["t"],
        "details": {"k": 1.5},
        "active": True,
    }
    empty = dict.fromkeys(full) | {"name": ""}
    assert read(text, "csv") == [(2, 1, full), (3, 1, empty)]


def test_a_csv_field_that_fits_no_type_stays_text() -> None:
    assert read("calls,active\nmany,yes\n", "csv") == [(2, 1, {"calls": "many", "active": "yes"})]


def test_a_csv_row_of_another_length_is_reported() -> None:
    assert read("name,calls\na\nb,1\n", "csv") == [
        (2, 1, "C007"),
        (3, 1, {"name": "b", "calls": 1}),
    ]


def test_an_open_quote_in_csv_is_refused() -> None:
    assert refusal('name\n"a\n', "csv").code == "C007"


# ---- the command ------------------------------------------------------------------------------

GOOD = {"name": "n", "slug": "s", "description": "d", "status": "active"}


def validate(tmp_path: Path, name: str, content: str, *options: str) -> int:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    spec = ["--spec", str(ROOT / "schema.yaml")]
    return main(["validate", "projects", str(file), *options, *spec])


def test_good_rows_are_well(tmp_path: Path) -> None:
    assert validate(tmp_path, "a.jsonl", json.dumps(GOOD)) == 0


def test_a_bad_row_is_named_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.dumps(GOOD) + "\n" + json.dumps(GOOD | {"status": "activ"}) + "\n"
    assert validate(tmp_path, "a.jsonl", rows) == 1
    out, err = capsys.readouterr()
    assert out == (
        f"{tmp_path}/a.jsonl:2:1: value: status: 'activ' is not one of active, paused, archived"
        " (did you mean active?)\n"
    )
    assert err == "2 rows, 1 refused\n"


def test_problems_come_as_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(tmp_path, "a.json", json.dumps([GOOD | {"status": 1}]), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["place"]["line"] == 1
    assert [(p["column"], p["code"]) for p in found["problems"]] == [("status", "type")]


def test_a_change_may_leave_columns_out(tmp_path: Path) -> None:
    assert validate(tmp_path, "a.jsonl", '{"status": "paused"}') == 1
    assert validate(tmp_path, "a.jsonl", '{"status": "paused"}', "--update") == 0


def test_progress_is_told_while_all_rows_are_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=3)  # seconds between two looks
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    assert validate(tmp_path, "a.jsonl", (json.dumps(GOOD) + "\n") * 2) == 0
    told = [f"{n} rows, 0 refused" for n in (1, 2, 2)]
    assert capsys.readouterr().err.splitlines() == told


def test_an_unknown_table_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "project", "-", "--spec", str(ROOT / "schema.yaml")]) == 2
    assert "did you mean projects?" in capsys.readouterr().err


def test_a_missing_file_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = str(ROOT / "schema.yaml")
    assert main(["validate", "projects", str(tmp_path / "no.csv"), "--spec", spec]) == 2
    assert "C002" in capsys.readouterr().err


def test_bytes_that_are_not_utf8_are_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"name": "\xff"}\n')
    assert main(["validate", "projects", str(file), "--spec", str(ROOT / "schema.yaml")]) == 2
    assert "C004" in capsys.readouterr().err
