"""Format patterns: the regular expressions that Postgres and Python read alike, and fast.

The subset: ``^`` first and ``$`` last, literal ASCII characters, character classes of ASCII
letters, digits and simple punctuation, groups, alternatives, and repetitions up to 255. Python must
read it with ``re.fullmatch``: its ``$`` also matches before a final line break.

Python tries the ways in which a repetition can match one by one. Where a text can go round a
repetition in two ways, as in ``^(a+)+$``, their number doubles with each character, and one bad row
takes forever: such a pattern is *exponentially ambiguous*, which its positions automaton shows
(Weber and Seidl, On the degree of ambiguity of finite automata, 1991).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from codered_spec.model.graph import strong_components

MAX_DEPTH: Final = 20
MAX_SIZE: Final = 600
"""Postgres refuses larger patterns as too complex, and only when a row comes."""
_MAX_STEPS: Final = 1_000_000
"""Pairs of ways that are looked at before a pattern counts as ambiguous."""
_PIECE: Final = re.compile(
    r"""
      (?P<literal> [A-Za-z0-9_ :/@,;=~<>!%&\#'"`-] | \\[.^$*+?()\[\]{}|/-] | \\\\ )
    | (?P<class>   \[ \^? (?: [A-Za-z0-9_ .:/@+,;=] (?: -[A-Za-z0-9] )? )+ -? \] )
    | (?P<open>    \( (?: \?: )? )
    | (?P<close>   \) )
    | (?P<or>      \| )
    | (?P<repeat>  [*+?] | \{ (?: [0-9]{1,3} ) (?: , [0-9]{0,3} )? \} )
    """,
    re.VERBOSE,
)
_EVERYTHING: Final = (1 << 129) - 1
"""All of ASCII, and one bit for the rest of Unicode."""


def pattern_problem(pattern: str) -> str | None:
    """Why a format pattern is not in the subset, or may take exponential time, or None."""
    if not (pattern.startswith("^") and pattern.endswith("$") and len(pattern) > 1):
        return "it must start with ^ and end with $"
    try:
        tree = _parse(pattern[1:-1])
        if _size(tree) > MAX_SIZE:
            return f"with all repetitions it is longer than {MAX_SIZE} characters"
        re.compile(pattern)
    except (_UnfitError, re.error) as error:
        return str(error)
    if _exponential(tree):
        return (
            "a repetition can match one text in several ways, so that a bad text takes"
            " exponential time"
        )
    return None


# ---- the tree of a pattern --------------------------------------------------------------------


class _UnfitError(Exception):
    """What keeps a pattern out of the subset."""


@dataclass(frozen=True, slots=True)
class _Character:
    allowed: int
    """One bit for each ASCII character, and one for all others together."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    options: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    body: _Node
    least: int
    most: int | None


_Node: TypeAlias = _Character | _Sequence | _Choice | _Repeat


def _parse(body: str) -> _Node:
    """The tree of what stands between the anchors; raises _UnfitError."""
    groups: list[list[list[_Node]]] = [[[]]]  # of each open group its options, of these their parts
    position, previous = 0, ""
    while position < len(body):
        match = _PIECE.match(body, position)
        if match is None:
            raise _UnfitError(
                f"{body[position]!r} at character {position + 2} is not part of the subset"
            )
        kind, piece = str(match.lastgroup), match.group()
        if kind == "repeat":
            if previous not in ("literal", "class", "close"):
                raise _UnfitError(f"nothing to repeat before {piece}")
            parts = groups[-1][-1]
            parts[-1] = _repeat(parts[-1], piece)
        elif kind == "open":
            groups.append([[]])
        elif kind == "close":
            if len(groups) == 1:
                raise _UnfitError("a parenthesis closes that was not open")
            options = tuple(_Sequence(tuple(parts)) for parts in groups.pop())
            groups[-1][-1].append(options[0] if len(options) == 1 else _Choice(options))
        elif kind == "or":
            if len(groups) == 1:
                raise _UnfitError(
                    "alternatives outside of a group escape the anchors: write ^(a|b)$"
                )
            groups[-1].append([])
        else:
            groups[-1][-1].append(_Character(_characters(kind, piece)))
        if kind in ("close", "or") and previous in ("open", "or"):
            raise _UnfitError("an empty alternative")
        if len(groups) > MAX_DEPTH:
            raise _UnfitError(f"groups are nested more than {MAX_DEPTH} levels deep")
        previous = kind
        position = match.end()
    if len(groups) > 1:
        raise _UnfitError("a parenthesis stays open")
    return _Sequence(tuple(groups[0][0]))


def _repeat(body: _Node, piece: str) -> _Repeat:
    if piece in "*+?":
        return _Repeat(body, int(piece == "+"), 1 if piece == "?" else None)
    numbers = [int(n) for n in re.findall("[0-9]+", piece)]
    if any(n > 255 for n in numbers) or numbers != sorted(numbers):
        raise _UnfitError(f"the repetition {piece} is out of range")
    return _Repeat(body, numbers[0], None if piece.endswith(",}") else numbers[-1])


def _characters(kind: str, piece: str) -> int:
    if kind == "literal":
        return 1 << ord(piece[-1])
    allowed = 0
    inner = piece[1:-1].removeprefix("^")
    for low, high in re.findall(r"(.)(?:-(.))?", inner):
        if high and low > high:
            raise _UnfitError(f"the range {low}-{high} is backwards")
        for code in range(ord(low), ord(high or low) + 1):
            allowed |= 1 << code
    return _EVERYTHING & ~allowed if piece.startswith("[^") else allowed


def _size(node: _Node) -> int:
    """Characters of the pattern with its repetitions written out."""
    match node:
        case _Character():
            return 1
        case _Sequence(parts) | _Choice(parts):
            return sum(map(_size, parts))
        case _Repeat(body, least, most):
            return _size(body) * max(1, least, most or 0)


# ---- ambiguity --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Part:
    """Positions of characters that a piece may begin and end with, and the ways to do so.

    ``empty`` counts the ways to match nothing. Of all ways no more than two are counted.
    """

    empty: int
    first: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)


class _Automaton:
    """The positions automaton (Glushkov): its states are the characters of the pattern.

    A repetition with an upper limit counts as one without. One that says exactly how often repeats
    a piece that has one way to match is written out twice, which shows what may follow what.
    ``exponential`` is true if nothing may be repeated so many times: it can be so in any of them.
    """

    def __init__(self, node: _Node) -> None:
        self.exponential = False
        self.allowed: list[int] = []
        self.next: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._build(node)

    def _build(self, node: _Node) -> _Part:
        match node:
            case _Character(allowed):
                self.allowed.append(allowed)
                here = {len(self.allowed) - 1: 1}
                return _Part(0, here, here)
            case _Sequence(parts):
                return self._sequence(parts)
            case _Choice(options):
                found = _Part(0)
                for option in map(self._build, options):
                    found.empty = min(2, found.empty + option.empty)
                    found.first |= option.first
                    found.last |= option.last
                return found
            case _Repeat(body, least, most):
                if most == 0:
                    return _Part(1)
                if least == most and most > 1 and _single_way(body):
                    return self._sequence((body, body))
                part = self._build(body)
                if most != 1:
                    self._join(part.last, part.first)
                    counted = most is not None or least > 1
                    self.exponential = self.exponential or bool(counted and part.empty)
                return _Part(min(2, part.empty + (least == 0)), part.first, part.last)

    def _sequence(self, parts: Sequence[_Node]) -> _Part:
        found = _Part(1)
        for part in map(self._build, parts):
            self._join(found.last, part.first)
            found = _Part(
                min(2, found.empty * part.empty),
                found.first | {p: min(2, n * found.empty) for p, n in part.first.items()}
                if found.empty
                else found.first,
                {p: min(2, n * part.empty) for p, n in found.last.items()} | part.last
                if part.empty
                else part.last,
            )
        return found

    def _join(self, last: dict[int, int], first: dict[int, int]) -> None:
        for before, ways in last.items():
            following = self.next[before]
            for after, more in first.items():
                following[after] = min(2, following.get(after, 0) + ways * more)


def _single_way(node: _Node) -> bool:
    match node:
        case _Character():
            return True
        case _Sequence(parts):
            return all(map(_single_way, parts))
        case _Choice():
            return False
        case _Repeat(body, least, most):
            return least == most and _single_way(body)


def _exponential(node: _Node) -> bool:
    """Whether a text leads from a position back to it in two ways, or nobody could tell in time."""
    automaton = _Automaton(node)
    if automaton.exponential:
        return True
    every = {p: set(automaton.next[p]) for p in range(len(automaton.allowed))}
    for loop in map(set, strong_components(every)):
        inside = {p: every[p] & loop for p in loop}
        if any(automaton.next[p][q] > 1 for p in loop for q in inside[p]):
            return True
        if sum(len(after) ** 2 for after in inside.values()) > _MAX_STEPS:
            return True
        if _two_ways(inside, automaton.allowed):
            return True
    return False


def _two_ways(after: dict[int, set[int]], allowed: list[int]) -> bool:
    """Whether the same text leads from a position to two different ones, and both back to it."""
    pairs: dict[tuple[int, int], set[tuple[int, int]]] = {}
    waiting = [(p, p) for p in after]
    steps = 0
    while waiting:
        pair = waiting.pop()
        if pair in pairs:
            continue
        steps += len(after[pair[0]]) * len(after[pair[1]])
        if steps > _MAX_STEPS:
            return True
        pairs[pair] = {
            (min(p, q), max(p, q))
            for p in after[pair[0]]
            for q in after[pair[1]]
            if allowed[p] & allowed[q]
        }
        waiting += pairs[pair] - pairs.keys()
    return any(
        any(p == q for p, q in group) and any(p != q for p, q in group)
        for group in strong_components(pairs)
    )
