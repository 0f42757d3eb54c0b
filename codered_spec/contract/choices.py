"""Where the generators of rows get their decisions from: a seeded random source, or Hypothesis.

The same generators thus make the many rows of a differential test in microseconds each, and small
counterexamples where Hypothesis decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

PLANES: Final = (
    (0x61, 0x7A),
    (0x20, 0x7E),
    (0x01, 0x1F),
    (0x7F, 0xFF),
    (0x300, 0x36F),
    (0x5D0, 0x6FF),
    (0x2000, 0x206F),
    (0x4E00, 0x9FFF),
    (0xE000, 0xFFFF),
    (0x1F300, 0x1FAFF),
    (0x10FFF0, 0x10FFFF),
)
"""Ranges of code points that differ in length, direction and kind; no NUL, no surrogate."""


_ALPHABET: Final = st.characters(codec="utf-8", exclude_characters="\0")


class Choices(Protocol):
    """A source of decisions. The first option and the smallest number are the simplest ones."""

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        ...

    def integer(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        ...

    def text(self, most: int) -> str:
        """A storable text of at most so many code points."""
        ...


class RandomChoices:
    """Decisions of a seeded generator: reproducible and fast."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self._random.random() * len(options))]

    def integer(self, low: int, high: int) -> int:
        """A whole number, small ones as likely as large ones."""
        span = high - low
        bits = span.bit_length()
        if bits > 8 and self._random.random() < 0.5:
            span = min(span, 1 << self._random.randrange(bits))
        return low + self._random.randint(0, span)

    def text(self, most: int) -> str:
        """A storable text of at most so many code points."""
        low, high = self.pick(PLANES)
        size = self._random.randint(0, min(most, 12))
        return "".join(chr(self._random.randint(low, high)) for _ in range(size))


class DrawnChoices:
    """Decisions of Hypothesis, which remembers and shrinks them."""

    def __init__(self, draw: Callable[[SearchStrategy[object]], object]) -> None:
        self._draw = draw

    def pick(self, options: Sequence[T]) -> T:
        """One of the options; the first is the simplest."""
        return options[self.integer(0, len(options) - 1)]

    def integer(self, low: int, high: int) -> int:
        """A whole number; the one nearest to zero is the simplest."""
        found = self._draw(st.integers(low, high))
        assert isinstance(found, int)
        return found

    def text(self, most: int) -> str:
        """A storable text of at most so many code points."""
        found = self._draw(st.text(_ALPHABET, max_size=min(most, 12)))
        assert isinstance(found, str)
        return found
