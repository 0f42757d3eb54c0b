"""UUIDs, instants and floats are judged without regular expressions and ``round``.

The accepted language is what it was with them: they are kept here to be held against.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from functools import cache
from typing import Final
from uuid import UUID

import pytest
from every_type import Word, validators_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codered_spec import validation
from codered_spec.model.schema import Column, PrimaryKey, Schema, Table
from codered_spec.model.types import Array, Numeric, PgType, Timestamptz, Uuid
from codered_spec.validation import Validator

UUID_TEXT: Final = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
INSTANT_TEXT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:Z|[+-](?:0[0-9]|1[0-5]):[0-5][0-9])"
).fullmatch
many = settings(max_examples=400, deadline=None)


@cache
def validator(type_: PgType) -> Validator:
    """The validator of a table with one column ``v``."""
    table = Table("t", (Column("v", type_),), PrimaryKey("t_pkey", ("v",)))
    return validators_of(Schema("s", (table,)))["t"]


def accepts(type_: PgType, value: object) -> bool:
    """The verdict, which must not differ from the explanation."""
    verdict = validator(type_).ok({"v": value})
    assert verdict == (validator(type_).problems({"v": value}) == [])
    return verdict


def uuid_by_regex(text: str) -> bool:
    """The verdict of the regular expression."""
    return re.fullmatch(UUID_TEXT, text) is not None


def instant_by_regex(text: str) -> datetime | None:
    """The instant of a text that the regular expression takes."""
    if INSTANT_TEXT(text) is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found if validation.FIRST <= found <= validation.LAST else None
    except (ValueError, OverflowError):
        return None


ODD: Final = "٣3０𝟎²_ \t\n\0\ud800\udfffé-:.,+−‐zZTtfFgGxX{}"
SOME: Final = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
UUIDS: Final = (
    *(SOME, SOME.upper(), "A0eEbC99" + SOME[8:], "0" * 8 + "-0000" * 3 + "-" + "0" * 12),
    *("", "-", SOME[:-1], SOME + "0", SOME + "\n", " " + SOME, SOME + "\0", SOME[:-1] + "\0"),
    *(SOME.replace("-", ""), f"{{{SOME}}}", f"urn:uuid:{SOME}", SOME.replace("-", "_")),
    *(SOME.replace("-", "‐"), SOME.replace("0", "٠"), SOME.replace("0", "０")),
    *("a0eebc999-c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d6-bb9bd380a11"),
    *("-" * 36, "0" * 36, SOME[:8] + "-" + SOME[8:-1], "0x" + SOME[2:], "+" + SOME[1:]),
    *("\ud800", SOME[:-1] + "\udfff", SOME[:-1] + "é", SOME[:-1] + "_", SOME[:8] + " " + SOME[9:]),
)
DAY: Final = "2026-11-22"
INSTANTS: Final = (
    *(f"{DAY}{s}09:05:00{f}{o}" for s in "T t_\0" for f in ("", ".5", ".123456") for o in ("Z",)),
    *(f"{DAY}T09:05:00{o}" for o in ("", "z", "+00", "+0000", "+00:00", "-00:00", "−00:00")),
    *(f"{DAY}T09:05:00{o}" for o in ("+00:00:00", "+00:00:00.5", "+00:000", " Z", "Z ", "Z\n")),
    *(f"{DAY}T09:05:00{s}{o}" for s in "+-" for o in ("09:59", "15:59", "16:00", "15:60", "00:60")),
    *(f"{DAY}T09:05:00{s}{o}" for s in "+-" for o in ("23:59", "24:00", "99:99", "10:00", "19:00")),
    *(f"{DAY}T09:05:00.{'1' * n}{o}" for n in range(9) for o in ("Z", "+00:00", "+05:30")),
    *(f"{DAY}T09:05:00,{'1' * n}+00:00" for n in (1, 6)),
    *(f"{DAY}T{t}+00:00" for t in ("00:00:00", "19:00:00", "20:00:00", "23:59:59", "24:00:00")),
    *(f"{DAY}T{t}+00:00" for t in ("24:00:01", "25:00:00", "09:60:00", "23:59:60", "99:99:99")),
    *(f"{DAY}T{t}+00:00" for t in ("09:05", "09", "090500", "090500.1", "9:05:000", "09:05:0٠")),
    *(f"{DAY} 24:00:00{o}" for o in ("Z", "-00:00", "+01:00", ".000000Z")),
    *(f"{d}T00:00:00Z" for d in ("2026-02-29", "2024-02-29", "1900-02-29", "2026-13-01")),
    *(f"{d}T00:00:00Z" for d in ("2026-00-01", "2026-01-00", "2026-01-32", "0000-01-01")),
    *(f"{d}T00:00:00Z" for d in ("0001-01-01", "0001-01-02", "9999-12-30", "9999-12-31")),
    *(
        f"{d}T09:05:00+00:00"
        for d in ("2026-W47-7", "2026-W47", "2026W477", "20261122", "2026-326")
    ),
    *(f"{d}T00:00:00Z" for d in ("10000-01-01", "+2026-01-01", "-2026-01-01", "٢٠٢٦-01-01")),
    *("0001-01-02T00:00:00+00:01", "0001-01-02T15:59:00+15:59", "0001-01-01T23:59:00-00:01"),
    *("9999-12-30T23:59:59.999999Z", "9999-12-30T23:59:59-00:01", "9999-12-31T00:00:00+00:01"),
    *("9999-12-31T23:59:59-15:59", "0001-01-01T00:00:00+15:59", f"{DAY} 00:00:00Z BC", "infinity"),
    *(f"{DAY}T09:05:0\0Z", f"{DAY}T09:05:0\ud800Z", f"{DAY}\ud80009:05:00Z", "", "now", DAY),
)


@pytest.mark.parametrize("text", UUIDS)
def test_identifiers(text: str) -> None:
    assert accepts(Uuid(), text) is uuid_by_regex(text)
    assert accepts(Array(Uuid()), [UUID(SOME), text]) is uuid_by_regex(text)


@pytest.mark.parametrize("text", INSTANTS)
def test_instants(text: str) -> None:
    wanted = instant_by_regex(text)
    assert validation.instant(text) == wanted
    assert accepts(Timestamptz(), text) is (wanted is not None)


@pytest.mark.parametrize("value", [Word(SOME), SOME.encode(), [SOME], 1, None, UUID])
def test_only_exact_types_are_identifiers(value: object) -> None:
    assert not accepts(Uuid(), value)
    assert not accepts(Array(Uuid()), [value])


def test_a_python_that_reads_24_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_READS_24", True)
    monkeypatch.setattr(
        validation, "_read_instant", lambda _text: datetime(2026, 11, 23, tzinfo=UTC)
    )
    assert validation.instant(f"{DAY}T24:00:00Z") is None
    assert validation.instant(f"{DAY}T23:00:00Z") is not None


def spoiled(good: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts of the form, most of them with a few characters exchanged, lost or too many."""

    def spoil(text: str, cuts: list[tuple[int, int, str]]) -> str:
        for place, lost, put in cuts:
            at = place % (len(text) + 1)
            text = text[:at] + put + text[at + lost :]
        return text

    change = st.tuples(
        st.integers(0, 40), st.integers(0, 2), st.text(st.sampled_from("0129abF" + ODD), max_size=2)
    )
    return st.builds(spoil, good, st.lists(change, max_size=2))


@many
@given(spoiled(st.from_regex(UUID_TEXT, fullmatch=True)))
def test_identifiers_of_any_form(text: str) -> None:
    assert accepts(Uuid(), text) is uuid_by_regex(text)


@many
@given(
    spoiled(
        st.from_regex(
            r"(?:000[0-2]|20[0-9]{2}|999[89])-[01][0-9]-[0-3][0-9]"
            r"[T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]"
            r"[T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]"
            r"(?:\.[0-9]{1,7})?(?:Z|[+-][0-2][0-9]:[0-6][0-9])",
            fullmatch=True,
        )
    )
)
@example("2026-11-22T09:05:00+00:00")
def test_instants_of_any_form(text: str) -> None:
    assert validation.instant(text) == instant_by_regex(text)


@many
@given(st.integers(-(2**51), 2**51), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
@example(2**51, 0.0)
@example(-(2**51), 0.5)
def test_a_float_is_rounded_like_round(whole: int, part: float) -> None:
    for value in (whole + part, math.nextafter(whole + part, 0.0)):
        if abs(value) <= 2**51:
            assert value + validation.NEAREST - validation.NEAREST == round(value)


@many
@given(st.floats(-(10.0**9), 10.0**9), st.integers(0, 7))
def test_a_float_of_few_digits_is_judged_by_them(value: float, digits: int) -> None:
    for tried in (value, round(value, digits)):
        exact = validation.number(tried)
        limit = 10**6 - 0.5e-6
        assert accepts(Numeric(12, 6), tried) is (exact is not None and -limit < exact < limit)
