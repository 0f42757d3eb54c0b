"""The validators: every problem code, every trap, and that verdict and explanation agree."""

from __future__ import annotations

import copy
import inspect
import json
import math
import pickle
import re
import subprocess
import sys
from collections import ChainMap, OrderedDict, UserDict
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import pytest
from every_type import (
    ANYTHING,
    BERLIN,
    SOME_UUID,
    TYPES,
    Colour,
    Day,
    Fraction,
    Identity,
    Level,
    Listed,
    Lost,
    Mapped,
    Moment,
    Money,
    Unwilling,
    Whole,
    Word,
    every_type,
    pick,
    table_name,
    validators_of,
    values,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codered_spec import validation
from codered_spec.generated.validators import TABLES
from codered_spec.model.schema import (
    Check,
    Column,
    Literal,
    Matches,
    MaxBytes,
    NonZero,
    OneOf,
    Ordered,
    PrimaryKey,
    Range,
    Rule,
    Schema,
    SubsetOf,
    Table,
)
from codered_spec.model.types import (
    Array,
    DoublePrecision,
    Integer,
    Numeric,
    PgType,
    Real,
    Text,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)
from codered_spec.validation import InvalidRow, JsonText, Problem, Validator
from codered_spec.validators import problems, validate

PAGE: Final = Path(__file__).parents[1] / "docs" / "reference" / "validators.md"
OF_TYPE: Final = validators_of(every_type())
quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def validator(type_: PgType, *rules: Rule, **more: Any) -> Validator:
    """The validator of a table with one column ``v``."""
    table = Table(
        "t",
        (Column("v", type_, **more),),
        PrimaryKey("t_pkey", ("v",)),
        checks=tuple(Check(f"check_{i}", rule) for i, rule in enumerate(rules)),
    )
    return validators_of(Schema("s", (table,)))["t"]


def only(found: list[Problem]) -> Problem:
    (problem,) = found
    return problem


# ---- problem codes ----------------------------------------------------------------------------

MODEL: Final = validators_of(
    Schema(
        "s",
        (
            Table(
                "things",
                (
                    Column("id", Uuid()),
                    Column("zone", Text()),
                    Column("axes", Array(Text())),
                    Column("mode", Text(), known=("intake", "design")),
                    Column("name", Text()),
                    Column("label", Varchar(3), nullable=True),
                    Column("count", Integer(), default=Literal("0")),
                    Column("cost", Numeric(10, 2)),
                    Column("tags", Array(Text())),
                    Column("embedding", Vector(3), nullable=True),
                    Column("starts", Timestamptz()),
                    Column("ends", Timestamptz(), nullable=True),
                ),
                PrimaryKey("things_pkey", ("id",)),
                checks=(
                    Check("a", OneOf("zone", ("green", "yellow", "red"))),
                    Check("b", SubsetOf("axes", ("A", "B"))),
                    Check("c", Matches("mode", "^[a-z][a-z0-9_]*$")),
                    Check("d", MaxBytes("name", 10)),
                    Check("e", Range("count", Decimal(0), Decimal(9))),
                    Check("f", Range("cost", Decimal(0))),
                    Check("g", NonZero("embedding")),
                    Check("h", Ordered("starts", "ends")),
                    Check("i", MaxBytes("tags", 10)),
                ),
            ),
        ),
    )
)["things"]
GOOD: Final[dict[str, object]] = {
    "id": str(SOME_UUID),
    "zone": "green",
    "axes": ["A", "A"],
    "mode": "intake",
    "name": "x",
    "cost": "1.005",
    "tags": [],
    "starts": "2020-01-01T00:00:00Z",
}
CASES: Final[tuple[tuple[str, dict[str, object], str, str, str | None], ...]] = (
    ("null", {"zone": None}, "zone", "zone cannot be null: it is required", None),
    ("null", {"count": None}, "count", "leave it out to get the default", None),
    ("unknown_column", {"zome": 1}, "zome", "there is no column zome", "did you mean zone?"),
    ("unknown_column", {7: 1}, "7", "there is no column 7", None),  # type: ignore[dict-item]
    ("unknown_column", {"\ud800": 1}, "\\ud800", "there is no column", None),
    ("type", {"id": "x"}, "id", "'x' is not a UUID", None),
    ("type", {"name": 5}, "name", "5 is not text", None),
    ("type", {"count": True}, "count", "True is not a whole number", None),
    ("type", {"count": 1.0}, "count", "1.0 is not a whole number", None),
    ("type", {"cost": math.nan}, "cost", "nan is not a finite number", None),
    ("type", {"cost": 0.1 + 0.2}, "cost", "pass a Decimal or text", None),
    ("type", {"starts": datetime(2020, 1, 1)}, "starts", "with a time zone", None),  # noqa: DTZ001
    ("type", {"tags": ("a",)}, "tags", "('a',) is not a list", None),
    ("type", {"embedding": "[1,2,3]"}, "embedding", "not a list of numbers", None),
    ("value", {"zone": "Green "}, "zone", "is not one of green, yellow, red", "green"),
    ("value", {"zone": "yelow"}, "zone", "'yelow' is not one of", "did you mean yellow?"),
    ("value", {"axes": ["A", "b"]}, "axes", "'b' not among A, B", "did you mean B?"),
    ("value", {"axes": [None]}, "axes", "None not among A, B", None),
    ("range", {"count": 10}, "count", "at least 0 and at most 9 and within integer", None),
    ("range", {"count": 10**5000}, "count", "must be at least 0", None),
    ("range", {"cost": Decimal("-0.005")}, "cost", "at least 0", None),
    ("range", {"cost": "99999999.995"}, "cost", "within numeric(10,2)", None),
    (
        "format",
        {"mode": "Intake"},
        "mode",
        "does not match ^[a-z][a-z0-9_]*$, such as intake",
        None,
    ),
    ("format", {"mode": "intake\n"}, "mode", "does not match", None),
    ("size", {"name": "é" * 6}, "name", "12 bytes, 10 are possible", None),
    ("size", {"label": "abcd"}, "label", "4 characters, 3 are possible", None),
    ("size", {"tags": ["abcdef", "ghijk"]}, "tags", "more than 10 bytes together", None),
    ("text", {"name": "a\0"}, "name", "NUL and lone surrogates", None),
    ("text", {"name": "\ud800"}, "name", "NUL and lone surrogates", None),
    ("elements", {"tags": ["a", None]}, "tags", "an element is not text", None),
    ("elements", {"embedding": [1, 2, math.inf]}, "embedding", "single precision", None),
    ("dimensions", {"embedding": [1, 2]}, "embedding", "2 numbers, 3 are needed", None),
    ("zero_vector", {"embedding": [0, 0.0, -0.0]}, "embedding", "no direction", None),
    ("order", {"ends": "2020-01-01T00:00:00Z"}, "ends", "ends must come after starts", None),
)


@pytest.mark.parametrize(("code", "change", "column", "message", "hint"), CASES)
def test_a_problem_says_what_where_and_what_instead(
    code: str, change: dict[str, object], column: str, message: str, hint: str | None
) -> None:
    row = GOOD | change
    problem = only(MODEL.problems(row))
    assert (problem.code, problem.column) == (code, column)
    assert message in problem.message
    assert problem.hint is None if hint is None else hint in str(problem.hint)
    assert problem.allowed == {"zone": ("green", "yellow", "red"), "axes": ("A", "B")}.get(
        column, ()
    )
    assert json.loads(json.dumps(problem.to_dict())) == problem.to_dict()
    assert not MODEL.ok(row)
    # a change is judged alike
    assert MODEL.problems({"starts": GOOD["starts"]} | change, for_update=True) == [problem]
    with pytest.raises(InvalidRow) as raised:
        MODEL.validate(row)
    assert raised.value.problems == (problem,)
    assert str(problem) in str(raised.value)


@pytest.mark.parametrize("name", list(GOOD))
def test_a_required_column_is_missing(name: str) -> None:
    row = {key: value for key, value in GOOD.items() if key != name}
    problem = only(MODEL.problems(row))
    assert (problem.code, problem.column, problem.message) == (
        "missing",
        name,
        f"{name} is required",
    )
    assert MODEL.problems(row, for_update=True) == []


def test_every_code_is_tested_and_documented() -> None:
    source = inspect.getsource(validation)
    named = set(re.findall(r'return "([a-z_]+)", f?"', source))
    (listed,) = re.findall(r"``code`` is stable: (.*?)\n {4}\"\"\"", source, re.DOTALL)
    (section,) = re.findall(r"## Problems\n(.*)", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    documented = re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)
    assert sorted(documented) == sorted(named) == sorted(re.findall(r"``([a-z_]+)``", listed))
    assert {code for code, *_ in CASES} | {"missing"} == named


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(InvalidRow) as raised:
        MODEL.validate({"zome": 1, "zone": "blue", "axes": ["C"], "count": -1, "ends": 5})
    found = [(p.column, p.code) for p in raised.value.problems]
    assert found == [
        ("zome", "unknown_column"),
        ("id", "missing"),
        ("zone", "value"),
        ("axes", "value"),
        ("mode", "missing"),
        ("name", "missing"),
        ("count", "range"),
        ("cost", "missing"),
        ("tags", "missing"),
        ("starts", "missing"),
        ("ends", "type"),
    ]
    told = raised.value.to_dict()
    assert told["table"] == "things"
    assert json.loads(json.dumps(told)) == told


def test_a_good_row_is_normalised() -> None:
    row = GOOD | {"embedding": [1, 0.1, -0.0]}
    before = copy.deepcopy(row)
    stored = MODEL.validate(row)
    assert row == before
    assert stored["id"] == SOME_UUID
    assert str(stored["cost"]) == "1.01"
    assert stored["starts"] == datetime(2020, 1, 1, tzinfo=UTC)
    assert repr(stored["embedding"]) == "[1.0, 0.10000000149011612, 0.0]"
    assert "count" not in stored
    assert MODEL.validate(stored) == stored


def test_a_change_of_some_columns() -> None:
    assert MODEL.validate({}, for_update=True) == {}
    assert MODEL.validate({"label": None, "cost": 1}, for_update=True) == {
        "label": None,
        "cost": Decimal("1.00"),
    }
    found = MODEL.problems({"zone": None, "zome": 1, "starts": None}, for_update=True)
    assert [(p.column, p.code) for p in found] == [
        ("zome", "unknown_column"),
        ("zone", "null"),
        ("starts", "null"),
    ]
    assert MODEL.problems({"ends": "2020-01-01T00:00:00Z"}, for_update=True) == []


def test_a_problem_can_travel_between_processes() -> None:
    error = InvalidRow("things", tuple(MODEL.problems({"zone": "blue"})))
    again = pickle.loads(pickle.dumps(error))
    assert again.to_dict() == error.to_dict()


# ---- rows of other kinds ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [dict, OrderedDict, UserDict, MappingProxyType, ChainMap, Mapped],
    ids=lambda k: k.__name__,
)
def test_a_row_is_any_mapping(kind: Any) -> None:
    assert MODEL.validate(kind(GOOD)) == MODEL.validate(GOOD)
    assert type(MODEL.validate(kind(GOOD))) is dict
    assert only(MODEL.problems(kind(GOOD | {"zone": 1}))).code == "type"


@pytest.mark.parametrize("row", [None, 5, "zone", [("zone", "green")], [], {"zone"}])
def test_what_is_no_mapping_is_no_row(row: Any) -> None:
    with pytest.raises(TypeError, match="a row is a mapping"):
        MODEL.problems(row)
    with pytest.raises(TypeError, match="a row is a mapping"):
        MODEL.validate(row)


def test_an_unknown_table_comes_with_a_suggestion() -> None:
    with pytest.raises(LookupError, match=r"there is no table task \(did you mean tasks\?\)"):
        validate("task", {})
    with pytest.raises(LookupError, match="there is no table"):
        problems("", {})


# ---- traps ------------------------------------------------------------------------------------

REFUSED: Final = object()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


TRAPS: Final[tuple[tuple[str, object, object], ...]] = (
    # text
    *(("text", value, REFUSED) for value in ("a\0b", "\ud800", "\udfff", 5, True, b"abc", ())),
    *(
        ("text", value, REFUSED)
        for value in (Decimal("1.5"), date(2020, 1, 1), Word("a"), Colour.RED)
    ),
    *(("text", value, value) for value in ("", " ", "\uffff", "\U0010ffff", "\ufeff", "e\u0301")),
    *(("varchar(5)", value, REFUSED) for value in ("abcdef", "abcde ", "e\u0301" * 3)),
    *(("varchar(5)", value, value) for value in ("abcde", "😀" * 5, "")),
    # whole numbers and booleans
    *(("smallint", value, REFUSED) for value in (2**15, -(2**15) - 1, True, 1.0, "1", Whole(1))),
    *(("smallint", value, value) for value in (2**15 - 1, -(2**15))),
    *(("integer", value, REFUSED) for value in (2**31, -(2**31) - 1, 5.5, Decimal(5), Level.LOW)),
    *(
        ("integer", value, REFUSED)
        for value in ("5.0", "٣", "0x10", "1_000", math.nan, "5", 10**30)
    ),
    *(("integer", value, value) for value in (2**31 - 1, -(2**31), 0)),
    *(("bigint", value, REFUSED) for value in (2**63, -(2**63) - 1, 2.0**63)),
    *(("bigint", value, value) for value in (2**63 - 1, -(2**63))),
    *(("boolean", value, REFUSED) for value in (0, 1, 2, 1.0, "t", "true", "", None)),
    *(("boolean", value, value) for value in (True, False)),
    # numeric
    ("numeric(10,2)", "99999999.994999", Decimal("99999999.99")),
    ("numeric(10,2)", 99999999.99, Decimal("99999999.99")),
    ("numeric(10,2)", Decimal("1E-30"), Decimal("0.00")),
    ("numeric(10,2)", Decimal("-0"), Decimal("0.00")),
    ("numeric(10,2)", -0.0, Decimal("0.00")),
    ("numeric(10,2)", "-0.004", Decimal("0.00")),
    ("numeric(10,2)", "007", Decimal("7.00")),
    ("numeric(10,2)", 5e-324, Decimal("0.00")),
    *(
        ("numeric(10,2)", Decimal(value), Decimal(rounded))
        for value, rounded in (("0.005", "0.01"), ("0.015", "0.02"), ("0.025", "0.03"))
    ),
    ("numeric(10,2)", Decimal("-0.005"), Decimal("-0.01")),
    *(
        ("numeric(10,2)", value, Decimal(rounded))
        for value, rounded in ((0.285, "0.29"), (1.005, "1.01"), (2.675, "2.68"))
    ),
    *(("numeric(10,2)", Decimal(v), REFUSED) for v in ("99999999.995", "-99999999.995", "1e8")),
    *(("numeric(10,2)", Decimal(v), REFUSED) for v in ("NaN", "-NaN", "sNaN", "Infinity")),
    *(("numeric(10,2)", v, REFUSED) for v in ("NaN", "1e5", " 12 ", "12.", "1,5", "", "+7", "٣")),
    *(("numeric(10,2)", v, REFUSED) for v in (True, math.inf, 0.1 + 0.2, Money("1"), Fraction(1))),
    ("numeric(38,10)", "9" * 28 + "." + "9" * 10 + "4", Decimal("9" * 28 + "." + "9" * 10)),
    ("numeric(38,10)", "9" * 28 + "." + "9" * 10 + "5", REFUSED),
    ("numeric", "1." + "1" * 50, Decimal("1." + "1" * 50)),
    ("numeric", Decimal("-0.00"), Decimal("0.00")),
    ("numeric", "9" * 400, Decimal("9" * 400)),
    ("numeric", 10**400, REFUSED),
    *(("numeric", Decimal(value), REFUSED) for value in ("1e131072", "1e-16384", "1e400")),
    # floats
    *(
        ("real", value, REFUSED)
        for value in (3.4028236e38, 1e-46, 5e-324, 1e-40, math.nan, math.inf)
    ),
    *(
        ("real", value, REFUSED)
        for value in (2**53 + 1, "1.5", Decimal("1.5"), True, Fraction(1.5))
    ),
    ("real", 16777217, 16777216.0),
    ("real", 0.1, 0.10000000149011612),
    ("real", -0.0, 0.0),
    ("real", 3.4028234663852886e38, 3.4028234663852886e38),
    *(
        ("double precision", v, REFUSED)
        for v in (math.nan, -math.inf, "1", True, Decimal(1), 2**60)
    ),
    *(("double precision", v, v) for v in (5e-324, 1.7976931348623157e308, 0.1 + 0.2)),
    ("double precision", 5, 5.0),
    # dates and instants
    *(
        ("date", v, REFUSED)
        for v in ("0000-01-01", "2020-02-30", "13/02/2020", "01/02/2020", "now")
    ),
    *(("date", v, REFUSED) for v in ("infinity", "20200101", "2020-W01-1", "2020-01-01\n", 5)),
    *(("date", v, REFUSED) for v in (_moment("2020-01-01T00:00Z"), Day(2020, 1, 1))),
    ("date", "2020-02-29", date(2020, 2, 29)),
    ("date", date.max, date.max),
    *(("timestamptz", v, REFUSED) for v in ("now", "today", "epoch", "infinity", "", "2020-01-01")),
    *(("timestamptz", v, REFUSED) for v in (1577836800, True, date(2020, 1, 1))),
    *(("timestamptz", f"2020-01-01{v}", REFUSED) for v in (" 24:00:00Z", "T23:59:60Z", "T00:00Z")),
    *(
        ("timestamptz", f"2020-01-01T00:00:00{v}", REFUSED)
        for v in ("", "+16:00", ".1234567Z", "+01")
    ),
    ("timestamptz", _moment("2020-01-01"), REFUSED),
    ("timestamptz", Moment(2020, 1, 1, tzinfo=UTC), REFUSED),
    ("timestamptz", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), REFUSED),
    ("timestamptz", datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12))), REFUSED),
    ("timestamptz", datetime(2020, 1, 1, tzinfo=Lost()), REFUSED),
    ("timestamptz", "2020-01-01 00:00:00.5-08:00", _moment("2020-01-01T08:00:00.5Z")),
    (
        "timestamptz",
        datetime(2020, 3, 29, 2, 30, tzinfo=BERLIN),  # in the gap of the clock
        _moment("2020-03-29T01:30:00Z"),
    ),
    # uuid
    *(
        ("uuid", v, REFUSED)
        for v in (SOME_UUID.urn, SOME_UUID.hex, f"{{{SOME_UUID}}}", SOME_UUID.int)
    ),
    *(("uuid", v, REFUSED) for v in (f" {SOME_UUID}", f"{SOME_UUID}\n", "", SOME_UUID.bytes)),
    *(("uuid", v, REFUSED) for v in (str(SOME_UUID).replace("0", "٠"), f"{SOME_UUID}-")),
    ("uuid", Identity(int=1), REFUSED),
    ("uuid", str(SOME_UUID).upper(), SOME_UUID),
    ("uuid", UUID(int=0), UUID(int=0)),
    # jsonb
    *(("jsonb", v, REFUSED) for v in ({"a": "\0"}, {"a\0": 1}, ["\ud800"], [math.nan], {1: 2})),
    *(("jsonb", v, REFUSED) for v in ((1,), {1}, [10**400], {"a": SOME_UUID}, JsonText("1"))),
    *(("jsonb", v, REFUSED) for v in (Mapped(), Listed(), [Word("a")], [Whole(1)], [Level.LOW])),
    ("jsonb", {"a": [1, None, True, "\\u0000"]}, '{"a": [1, null, true, "\\\\u0000"]}'),
    ("jsonb", "text", '"text"'),
    # arrays
    *(
        ("text[]", v, REFUSED)
        for v in ([None], ["a", None], [["a"]], ("a",), "{a}", [1], ["\0"], {"a"})
    ),
    *(("text[]", v, v) for v in ([], ["NULL", ""], ["a", "a"])),
    *(("uuid[]", v, REFUSED) for v in ([None], [1], ["x"], [[SOME_UUID]])),
    ("uuid[]", [SOME_UUID, str(SOME_UUID)], [SOME_UUID, SOME_UUID]),
    ("double precision[]", [1, 2.5], [1.0, 2.5]),
    ("numeric(10,2)[]", [1, "2.005", 0.5], [Decimal("1.00"), Decimal("2.01"), Decimal("0.50")]),
    ("integer[]", [1, True], REFUSED),
    ("jsonb[]", [None], REFUSED),
    ("jsonb[]", [[1], [2]], REFUSED),
    ("jsonb[]", [{"a": [1]}, "x"], ['{"a": [1]}', '"x"']),
    ("vector(3)[]", [[1, 2, 3]], ["[1.0,2.0,3.0]"]),
    # vectors
    *(("vector(3)", v, REFUSED) for v in ([1, 2], [], [1, 2, math.nan], [1, 2, 1e39], (1, 2, 3))),
    *(("vector(3)", v, REFUSED) for v in ([1, 2, 3.4028236e38], [1e-46, 0, 0], [1, 2, None])),
    *(("vector(3)", v, REFUSED) for v in ([True, 1, 1], [[1, 2, 3]], ["1", "2", "3"], "[1,2,3]")),
    ("vector(3)", [2**60, 0, 0], REFUSED),
    ("vector(3)", [0, 0.0, -0.0], [0.0, 0.0, 0.0]),
    ("vector(3)", [1, 16777217, 0.1], [1.0, 16777216.0, 0.10000000149011612]),
    ("vector", [], REFUSED),
    ("vector", [1.5], [1.5]),
)


@pytest.mark.parametrize(("type_", "value", "normalised"), TRAPS)
def test_traps(type_: str, value: object, normalised: object) -> None:
    tested = OF_TYPE[f"of {type_}"]
    row = {"k": 1, "v": value}
    if value is None:
        row = {"k": None, "v": 1}  # the other column is the one that cannot be NULL
    if normalised is REFUSED:
        assert tested.problems(row) != []
        assert not tested.ok(row)
    else:
        stored = tested.validate(row)["v"]
        assert repr(stored) == repr(normalised)


def test_a_double_halfway_between_two_singles_goes_the_way_of_its_digits() -> None:
    # the text form of this double lies above the middle, the double itself is the middle
    halfway = float.fromhex("0x1.0000010000000p-10")
    assert Decimal(repr(halfway)) != Decimal(halfway)
    up = Decimal(repr(halfway)) > Decimal(halfway)
    wanted = float.fromhex("0x1.0000020000000p-10" if up else "0x1p-10")
    assert validation.single(halfway) == wanted
    assert validation.convert_vector([halfway, -halfway]) == [wanted, -wanted]


def test_size_limits() -> None:
    text = validator(Text())
    assert text.ok({"v": "x" * validation.MAX_TEXT})
    assert only(text.problems({"v": "x" * (validation.MAX_TEXT + 1)})).code == "size"
    array = OF_TYPE["of boolean[]"]
    assert array.ok({"k": 1, "v": [True] * validation.MAX_ITEMS})
    assert only(array.problems({"k": 1, "v": [True] * (validation.MAX_ITEMS + 1)})).code == "size"
    tested = OF_TYPE["of jsonb"]
    assert tested.ok({"k": 1, "v": [1] * (validation.MAX_ITEMS)})
    assert not tested.ok({"k": 1, "v": [1] * (validation.MAX_ITEMS + 1)})
    assert not tested.ok({"k": 1, "v": ["x" * validation.MAX_TEXT, "x"]})
    assert not tested.ok({"k": 1, "v": {"x" * validation.MAX_TEXT: 1, "x": 1}})


def test_a_length_holds_beside_a_limit_of_bytes() -> None:
    tested = validator(Varchar(3), MaxBytes("v", 2600))
    assert tested.ok({"v": "abc"})
    assert only(tested.problems({"v": "abcd"})).message == "v: 4 characters, 3 are possible"


@pytest.mark.parametrize(
    ("type_", "lower", "upper", "strict", "good"),
    [
        (Numeric(10, 2), "1.001", "1.004", True, False),  # both are stored as 1.00
        (Numeric(10, 2), "1.001", "1.004", False, True),
        (Numeric(10, 2), "1.004", "1.005", True, True),
        (DoublePrecision(), 0.1 + 0.2, 0.1, True, False),
        (DoublePrecision(), 0.3, 0.1 + 0.2, True, True),
        (Real(), 16777216, 16777217, True, False),
        (Integer(), 2, 1, False, False),
        (Integer(), 1, 1, False, True),
        (Timestamptz(), "2020-01-01T00:00:00Z", "2020-01-01T00:30:00+01:00", True, False),
        (  # the same wall clock runs twice
            Timestamptz(),
            datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN),
            datetime(2020, 10, 25, 2, 10, tzinfo=BERLIN, fold=1),
            True,
            True,
        ),
    ],
)
def test_order_is_that_of_the_stored_values(
    type_: PgType, lower: object, upper: object, strict: bool, good: bool
) -> None:
    table = Table(
        "t",
        (Column("a", type_), Column("b", type_, nullable=True)),
        PrimaryKey("t_pkey", ("a",)),
        checks=(Check("c", Ordered("a", "b", strict)),),
    )
    tested = validators_of(Schema("s", (table,)))["t"]
    assert tested.ok({"a": lower, "b": upper}) is good
    assert [p.code for p in tested.problems({"a": lower, "b": upper})] == ["order"] * (not good)
    assert tested.ok({"a": lower})


# ---- verdict and explanation agree ------------------------------------------------------------

anything = st.one_of(pick(ANYTHING), *(values(type_) for type_ in TYPES))


def _agree(tested: Validator, row: dict[Any, object]) -> None:
    found = tested.problems(row)
    assert tested.ok(row) is (not found)
    for problem in [*found, *tested.problems(row, for_update=True)]:
        json.dumps(problem.to_dict())
        str(problem).encode()
    if not found:
        tested.validate(row)


@quick
@given(st.data())
def test_verdict_and_explanation_agree_on_any_row(data: st.DataObject) -> None:
    tested = TABLES[data.draw(st.sampled_from(sorted(TABLES)))]
    names = [*tested.columns, "zome", 1, None, "\ud800", Word("id"), SOME_UUID]
    for _ in range(5):
        chosen = data.draw(st.lists(st.integers(0, len(names) - 1), max_size=len(names)))
        _agree(tested, {names[i]: data.draw(anything) for i in chosen})


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_verdict_and_explanation_agree_on_every_trap(type_: PgType) -> None:
    tested = OF_TYPE[table_name(type_)]
    for value in ANYTHING:
        _agree(tested, {"k": 1, "v": value})
        _agree(tested, {"k": 1, "v": [value]})
        _agree(tested, {"k": value})


@pytest.mark.parametrize("name", sorted(TABLES))
def test_verdict_and_explanation_agree_on_every_trap_in_every_column(name: str) -> None:
    tested = TABLES[name]
    good: dict[str, object] = {}
    for column, facts in tested.columns.items():
        allowed = list(facts.allowed or facts.known)
        for value in (allowed[:1], *allowed[:1], *ANYTHING):
            if value is not None and tested.problems({column: value}, for_update=True) == []:
                good[column] = value
                break
    for value in ANYTHING:
        for column in good:
            _agree(tested, good | {column: value})
            _agree(tested, {column: value})


def test_values_of_hostile_classes_are_refused_without_asking_them() -> None:
    tested = TABLES["tasks"]
    row = {column: Unwilling() for column in tested.columns}
    found = tested.problems(row)
    assert {p.column for p in found} == set(tested.columns)
    assert all(type(p.to_dict()["message"]) is str for p in found)


# ---- imports ----------------------------------------------------------------------------------


def test_the_validators_load_the_standard_library_only() -> None:
    code = (
        "import sys, codered_spec.validators, codered_spec.rows\n"
        "print(*(n for n in sys.modules if '.' not in n or n.startswith('codered_spec.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found = set(done.stdout.split())
    heavy = {"yaml", "psycopg", "jsonschema", "hypothesis", "markdown_it", "pgvector"}
    assert found & heavy == set()
    own = {name for name in found if name.startswith("codered_spec.")}
    assert own == {
        f"codered_spec.{name}"
        for name in (
            *("validators", "rows", "validation"),
            *("generated", "generated.validators", "generated.rows"),
        )
    }
