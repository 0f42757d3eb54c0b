"""Values with exactly one fault, and the answer that Postgres owes each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any

from codered_spec.contract.rules import EXACT, FLOAT32_MAX, LONGEST, numbers_around
from codered_spec.contract.values import Domain
from codered_spec.contract.verdicts import text_of
from codered_spec.model.schema import (
    Finite,
    Flat,
    OneOf,
    SubsetOf,
)
from codered_spec.model.types import (
    FLOATING,
    INTEGRAL,
    TEXTUAL,
    Array,
    Boolean,
    Date,
    Jsonb,
    Numeric,
    Timestamptz,
    Uuid,
    Varchar,
    Vector,
)
from codered_spec.model.values import integer_range


def value_faults(
    domain: Domain, others: Collection[str] = ()
) -> Iterator[tuple[str, Any, str, str | None]]:
    """Name, value, SQLSTATE and constraint of each fault of one value.

    ``others`` are words that some column allows: those of another list are likely mistakes.
    """
    for name, value, state in _type_faults(domain):
        yield name, value, state, None
    for name, value in _rule_candidates(domain, others):
        if not domain.fits_type(value):
            continue
        broken = domain.violated(value)
        # a NULL element breaks two rules at once: the first in the order of names answers
        if len(broken) == 1 or (broken and name == "null element"):
            yield f"{broken[0]}: {name}", value, "23514", broken[0]
    for check in domain.checks:
        if isinstance(check.rule, Finite) and isinstance(domain.type, (Date, Timestamptz)):
            for text in ("infinity", "-infinity"):
                yield f"{check.name}: {text}", text, "23514", check.name
        if isinstance(check.rule, Flat):
            text = f"[2:2]={text_of(domain.type, [_members(domain)[0]])}"
            yield f"{check.name}: other first index", text, "23514", check.name


def _members(domain: Domain) -> list[Any]:
    """Some valid elements of an array."""
    found: list[Any] = domain.edges[-1] or domain.edges[1]
    return found


def _rule_candidates(domain: Domain, others: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Values of the right type that some rule may refuse."""
    type_ = domain.type
    lists = [c.rule.values for c in domain.checks if isinstance(c.rule, (OneOf, SubsetOf))]
    strange = ["", "no such value", "\ufeff"]
    for value in lists[0] if lists else ():
        strange += [value.upper(), value.lower(), f"{value} ", f" {value}", f"{value}\n"]
    if lists:
        strange += ["x" * 300, *others]
    strange = list(dict.fromkeys(strange))
    if isinstance(type_, TEXTUAL):
        plain = ["", "A", "aA", "a-", "1a", "a b", "é", "a\n", "\na", "a\u0301", "ａ", "_a", "٣"]
        yield from ((repr(text), text) for text in dict.fromkeys([*strange, *plain]))
        yield from ((f"{len(t.encode())} bytes", t) for t in domain.texts_of(1))
    elif isinstance(type_, INTEGRAL):
        for bound in domain.bounds:
            if bound is not None:
                yield from ((str(int(bound) + d), int(bound) + d) for d in (1, -1))
    elif isinstance(type_, Numeric):
        yield from ((str(n), n) for n in numbers_around(type_, *domain.bounds))
        yield "NaN", Decimal("NaN")
        if type_.precision is None:
            yield from ((text, Decimal(text)) for text in ("Infinity", "-Infinity"))
    elif isinstance(type_, FLOATING):
        for bound in domain.bounds:
            if bound is not None:
                yield from ((f"{bound} {d:+}", float(bound) + d) for d in (1, -1))
        yield from ((text, float(text)) for text in ("nan", "inf", "-inf"))
    elif isinstance(type_, Vector):
        yield "zero", [0.0] * (type_.dimensions or 3)
        yield "negative zero", [-0.0] * (type_.dimensions or 3)
    elif isinstance(type_, Array):
        whole = _members(domain)
        first = whole[0]
        if not isinstance(type_.element, Jsonb):  # a list in JSON is an element
            yield "nested", [[first]]
            yield "nested twice", [[first, first], [first, first]]
        yield "null element", [None]
        yield "null among elements", [first, None]
        if lists:
            yield from ((repr([text]), [text]) for text in strange if text not in lists[0])
            yield "one strange among good ones", [*lists[0], "no such value"]
        if domain.max_bytes is not None and domain.max_bytes <= LONGEST:
            yield "bytes", ["x" * (domain.max_bytes + 1)]
            yield "bytes together", ["é" * (domain.max_bytes // 2), "xy"]


def _type_faults(domain: Domain) -> Iterator[tuple[str, Any, str]]:
    """Values that the type itself refuses, whatever the rules."""
    type_ = domain.type
    limits = integer_range(type_)
    if limits is not None:
        yield "overflow", limits[1] + 1, "22003"
        yield "underflow", limits[0] - 1, "22003"
        yield "far overflow", 10**30, "22003"
        yield "fraction", "5.0", "22P02"
    elif isinstance(type_, Numeric):
        if type_.precision is not None:
            edge = Decimal(10) ** (type_.precision - type_.scale)
            half = Decimal(5).scaleb(-type_.scale - 1)
            for name, number in (("edge", edge), ("rounded up", EXACT.subtract(edge, half))):
                yield name, number, "22003"
                yield f"minus {name}", number.copy_negate(), "22003"
            yield "infinity", Decimal("Infinity"), "22003"
        yield "words", "one", "22P02"
    elif isinstance(type_, Uuid):
        yield "short", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "22P02"
        yield "urn", "urn:uuid:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "22P02"
    elif isinstance(type_, TEXTUAL):
        yield "NUL", "a\0b", "22021"
        yield "surrogate", "a\ud800", "22021"
        if isinstance(type_, Varchar):
            yield from (("length", text, "22001") for text in _long(type_))
    elif isinstance(type_, Boolean):
        yield "word", "maybe", "22P02"
    elif isinstance(type_, Date):
        yield "no such day", "2023-02-29", "22008"
    elif isinstance(type_, Timestamptz):
        yield "no such month", "2023-13-01T00:00:00+00:00", "22008"
        yield "words", "soon", "22007"
    elif isinstance(type_, Jsonb):
        yield "NUL", {"a": ["\0"]}, "22P05"
        yield "NUL key", {"\0": 1}, "22P05"
        yield "surrogate", ["\ud800"], "22P02"
        yield "NaN", [float("nan")], "22P02"
    elif isinstance(type_, Vector) and type_.dimensions is not None:
        size = type_.dimensions
        for length in (size - 1, size + 1):
            yield f"{length} dimensions", [1.0] * length, "22000"
        yield "NaN", [float("nan"), *[1.0] * (size - 1)], "22000"
        yield "infinity", [float("inf"), *[1.0] * (size - 1)], "22000"
        yield "overflow", [FLOAT32_MAX * 1.01, *[1.0] * (size - 1)], "22003"
    elif isinstance(type_, Array):
        whole = _members(domain)
        if not isinstance(type_.element, Jsonb):
            yield "ragged", [[whole[0]], [whole[0], whole[0]]], "22P02"
        yield "open brace", "{a", "22P02"
        if isinstance(type_.element, TEXTUAL):
            yield "NUL element", ["a\0"], "22021"
        elif not isinstance(type_.element, Jsonb):
            state = "22007" if isinstance(type_.element, (Date, Timestamptz)) else "22P02"
            yield "strange element", ["no such thing"], state


def _long(type_: Varchar) -> list[str]:
    return [fill * (type_.length + 1) for fill in "a😀" if type_.length < 5000]
