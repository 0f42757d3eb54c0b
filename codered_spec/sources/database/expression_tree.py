"""A parser for the expressions that Postgres deparses: text to a small tree.

Postgres prints an expression fully parenthesised, with keywords in capitals and every identifier
quoted that needs it. Only the part of the grammar is known that a recogniser looks at; all else
raises :class:`UnrecognisedError`, never anything else.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from codered_spec.sql import RESERVED, Token, UnterminatedError, tokenize


class UnrecognisedError(ValueError):
    """The text is outside of the grammar that is known here."""


@dataclass(frozen=True, slots=True)
class Name:
    """A possibly qualified name; ``star`` is a ``.*`` after it, not a column of that name."""

    parts: tuple[str, ...]
    star: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A string constant, decoded."""

    value: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written, without a sign."""

    text: str


@dataclass(frozen=True, slots=True)
class Keyword:
    """A constant that is a keyword, in lower case: true, false, null, current_timestamp."""

    word: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function call with positional arguments."""

    function: tuple[str, ...]
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """``operand::type``; ``type`` has the parts of its name, brackets and parameters at the end."""

    operand: Node
    type: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Elements:
    """``ARRAY[…]``."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator, ``and``, ``or`` or ``is distinct from`` between two operands."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class AnyOf:
    """``left operator ANY (array)``."""

    operator: str
    left: Node
    array: Node


@dataclass(frozen=True, slots=True)
class NullTest:
    """``operand IS NULL``, or ``IS NOT NULL`` where negated."""

    operand: Node
    negated: bool


@dataclass(frozen=True, slots=True)
class Case:
    """``CASE WHEN condition THEN result … ELSE otherwise END``."""

    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node


Node: TypeAlias = (
    Name | Text | Number | Keyword | Call | Cast | Elements | Binary | AnyOf | NullTest | Case
)

_MAX_DEPTH: Final = 60
_CONSTANTS: Final = frozenset(("true", "false", "null", "current_timestamp"))
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_$]*")
_PARAMETERS: Final = re.compile(r"[0-9]{1,9}")
_LONG_TYPES: Final = (
    ("double", "precision"),
    ("character", "varying"),
    ("bit", "varying"),
    ("timestamp", "with", "time", "zone"),
    ("timestamp", "without", "time", "zone"),
)
_COMPARISONS: Final = frozenset(("=", "<", ">", "<=", ">=", "<>"))
_OR, _AND, _IS, _COMPARE, _OTHER, _CAST = 1, 2, 4, 5, 7, 14
_SIMPLE_ESCAPES: Final = {
    "\\": "\\", "'": "'", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f",
}  # fmt: skip
_ESCAPE: Final = re.compile(r"\\(.)|''|[^\\]", re.DOTALL)


@functools.lru_cache(maxsize=4096)  # schemas repeat themselves, and are read again and again
def parse_expression(text: str) -> Node:
    """The tree of a deparsed expression. Raises only :class:`UnrecognisedError`."""
    try:
        tokens = [t for t in tokenize(text) if t.kind != "space"]
    except UnterminatedError as error:
        raise UnrecognisedError(str(error)) from None
    parser = _Parser(tokens)
    node = parser.expression(0)
    parser.expect_end()
    return node


def decode_string(text: str) -> str:
    """The value of a string constant ``'…'`` or ``E'…'``."""
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text[:2] not in ("E'", "e'"):
        raise UnrecognisedError(text)
    parts: list[str] = []
    for match in _ESCAPE.finditer(text[2:-1]):
        if match.group(1) is not None:
            if match.group(1) not in _SIMPLE_ESCAPES:
                raise UnrecognisedError(text)
            parts.append(_SIMPLE_ESCAPES[match.group(1)])
        else:
            parts.append(match.group()[0])
    return "".join(parts)


class _Parser:
    """Precedence climbing (Pratt) over tokens without spaces."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    # ---- tokens

    def _peek(self, offset: int = 0) -> Token:
        index = self._at + offset
        return self._tokens[index] if index < len(self._tokens) else Token("end", "", -1)

    def _next(self) -> Token:
        token = self._peek()
        if token.kind == "end":
            raise UnrecognisedError("the expression ends too early")
        self._at += 1
        return token

    def _take(self, text: str) -> bool:
        """Consumes punctuation or a keyword (in any case), if it comes next."""
        token = self._peek()
        if token.kind in ("punctuation", "word") and token.text.lower() == text:
            self._at += 1
            return True
        return False

    def _expect(self, *texts: str) -> None:
        for text in texts:
            if not self._take(text):
                raise UnrecognisedError(f"{text} expected, found {self._peek().text!r}")

    def expect_end(self) -> None:
        """Refuses a rest."""
        if self._peek().kind != "end":
            raise UnrecognisedError(f"unexpected {self._peek().text!r}")

    # ---- expressions

    def expression(self, power: int) -> Node:
        """The longest expression whose operators bind tighter than ``power``."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UnrecognisedError("nested too deeply")
        node = self._operand()
        while (binding := self._binding()) > power:
            node = self._infix(node, binding)
        self._depth -= 1
        return node

    def _binding(self) -> int:
        token = self._peek()
        if token.kind == "operator":
            return _COMPARE if token.text in _COMPARISONS else _OTHER
        if token.kind == "punctuation":
            return _CAST if token.text == "::" else 0
        if token.kind == "word":
            return {"or": _OR, "and": _AND, "is": _IS}.get(token.text.lower(), 0)
        return 0

    def _infix(self, left: Node, binding: int) -> Node:
        token = self._next()
        if binding == _CAST:
            return Cast(left, self._type())
        if binding == _IS:
            negated = self._take("not")
            if self._take("null"):
                return NullTest(left, negated)
            if negated:
                raise UnrecognisedError("only IS NOT NULL is known")
            self._expect("distinct", "from")
            return Binary("is distinct from", left, self.expression(_IS))
        if token.kind == "operator" and self._take("any"):
            self._expect("(")
            array = self.expression(0)
            self._expect(")")
            return AnyOf(token.text, left, array)
        return Binary(token.text.lower(), left, self.expression(binding))

    def _operand(self) -> Node:
        token = self._next()
        if token.kind == "string":
            return Text(decode_string(token.text))
        if token.kind == "number":
            return Number(token.text)
        if token.kind == "punctuation" and token.text == "(":
            node = self.expression(0)
            self._expect(")")
            return node
        if token.kind == "word":
            word = token.text.lower()
            if word in _CONSTANTS:
                if self._peek().text == "(":
                    raise UnrecognisedError("a constant is no function")
                return Keyword(word)
            if word == "array":
                self._expect("[")
                return Elements(self._list("]"))
            if word == "case":
                return self._case()
        parts = [self._part(token)]
        while self._take("."):
            if self._peek().text == "*":
                self._at += 1
                return Name(tuple(parts), star=True)
            parts.append(self._part(self._next()))
        if self._take("("):
            return Call(tuple(parts), self._list(")"))
        return Name(tuple(parts))

    def _list(self, close: str) -> tuple[Node, ...]:
        if self._take(close):
            return ()
        items = [self.expression(0)]
        while self._take(","):
            items.append(self.expression(0))
        self._expect(close)
        return tuple(items)

    def _case(self) -> Node:
        branches: list[tuple[Node, Node]] = []
        while self._take("when"):
            condition = self.expression(0)
            self._expect("then")
            branches.append((condition, self.expression(0)))
        self._expect("else")
        otherwise = self.expression(0)
        self._expect("end")
        return Case(tuple(branches), otherwise)

    def _part(self, token: Token) -> str:
        if token.kind == "quoted" and token.text.startswith('"'):
            return token.text[1:-1].replace('""', '"')
        plain = token.kind == "word" and _PLAIN.fullmatch(token.text)
        if plain and token.text not in RESERVED:
            return token.text
        raise UnrecognisedError(f"unexpected {token.text!r}")

    def _type(self) -> tuple[str, ...]:
        for words in _LONG_TYPES:
            texts = tuple(self._peek(i).text for i in range(len(words)))
            if texts == words:
                self._at += len(words)
                parts = [" ".join(words)]
                break
        else:
            parts = [self._type_word()]
            while self._take("."):
                parts.append(self._type_word())
        if self._peek().text == "(" and _PARAMETERS.fullmatch(self._peek(1).text):
            self._at += 1
            numbers = [self._next().text]
            while self._take(","):
                numbers.append(self._next().text)
            self._expect(")")
            parts[-1] += f"({','.join(numbers)})"
        while self._peek().text == "[" and self._peek(1).text == "]":
            self._at += 2
            parts[-1] += "[]"
        return tuple(parts)

    def _type_word(self) -> str:
        # the names of built-in types are keywords themselves
        token = self._next()
        if token.kind == "word" and _PLAIN.fullmatch(token.text):
            return token.text
        return self._part(token)
