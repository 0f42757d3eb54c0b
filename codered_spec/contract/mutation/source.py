"""The mutants of generated validators: the source with one small thing changed.

Each is one change of the syntax tree: a clause dropped, a comparison, a bound or a value changed, a
statement or a conversion lost. Names, messages and the descriptions of columns are left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import CodeType
from typing import Any, Final, TypeAlias

_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_CONSTANTS: Final = re.compile(r"_(VALUES|KNOWN|NUMBER|FORMAT|CONVERT|STORED)_")
"""Module constants that belong to the tests and conversions; others describe."""

Change: TypeAlias = tuple[str, str, dict[str, Any]]
"""Operator, detail, and the new attributes of a node."""


@dataclass(frozen=True, slots=True)
class SourceMutant:
    """The compiled source with one change; ``line`` is that of the original."""

    operator: str
    line: int
    detail: str
    code: CodeType
    equivalence: str | None = None
    """The name of the rule in EQUIVALENCES by which the mutant behaves like the original."""

    def __str__(self) -> str:
        return f"{self.operator}: line {self.line} {self.detail}".rstrip()


def source_mutants(source: str, every: int = 1) -> Iterator[SourceMutant]:
    """Every ``every``-th mutant of the source of a generated validator module."""
    tree = ast.parse(source)
    number = 0
    for top in tree.body:
        if isinstance(top, ast.Assign) and not _CONSTANTS.match(ast.unparse(top.targets[0])):
            continue
        if not isinstance(top, ast.Assign | ast.FunctionDef):
            continue
        inside = _shortcuts(top)
        for node in list(ast.walk(top)):
            for change in _changes(node):
                number += 1
                if number % every:
                    continue
                before = dict(vars(node))
                operator, detail, attributes = change
                vars(node).update(attributes)
                code = compile(ast.fix_missing_locations(tree), "<mutant>", "exec")
                vars(node).update(before)
                line = getattr(node, "lineno", 0)
                rule = _equivalence(top, node, inside, change)
                yield SourceMutant(operator, line, detail, code, rule)


def _changes(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.BoolOp(op, values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "and and or exchanged", ast.unparse(node)[:80], {"op": other}
            for place, value in enumerate(values):
                neutral = ast.Constant(isinstance(op, ast.And))
                rest = [*values[:place], neutral, *values[place + 1 :]]
                yield "clause dropped", ast.unparse(value)[:80], {"values": rest}
        case ast.Compare(_, operators):
            for place, operator in enumerate(operators):
                for other_type in _COMPARISONS.get(type(operator), ()):
                    changed = [*operators[:place], other_type(), *operators[place + 1 :]]
                    detail = f"{ast.unparse(node)[:80]} to {other_type.__name__}"
                    yield "comparison changed", detail, {"ops": changed}
        case ast.UnaryOp(ast.Not(), operand):
            twice = ast.UnaryOp(ast.Not(), operand)
            yield "not removed", ast.unparse(node)[:80], {"operand": twice}
        case ast.IfExp(_, body, orelse):
            yield "choice removed", ast.unparse(body)[:80], {"orelse": body}
            yield "choice removed", ast.unparse(orelse)[:80], {"body": orelse}
        case ast.If(test):
            yield "statement removed", ast.unparse(test)[:80], {"test": ast.Constant(False)}
        case ast.Set(elements) if len(elements) > 1:
            for place, element in enumerate(elements):
                rest = [*elements[:place], *elements[place + 1 :]]
                yield "value removed", ast.unparse(element)[:80], {"elts": rest}
            yield "value added", "", {"elts": [*elements, ast.Constant("no such value")]}
        case ast.Tuple(elements) if elements and all(isinstance(e, ast.Tuple) for e in elements):
            for place, element in enumerate(elements):
                rest = [*elements[:place], *elements[place + 1 :]]
                yield "conversion dropped", ast.unparse(element)[:80], {"elts": rest}
        case ast.Constant(bool() as value):
            yield "constant changed", str(value), {"value": not value}
        case ast.Constant(int() | float() as value):
            for step in (1, -1):
                yield "constant changed", f"{value} by {step}", {"value": value + step}
        case ast.Call(ast.Name("Decimal"), [ast.Constant(str() as text)]):
            for other_text in _numbers_beside(text):
                argument = ast.Constant(other_text)
                yield "constant changed", f"{text} to {other_text}", {"args": [argument]}


def _numbers_beside(text: str) -> Iterator[str]:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and len(text) < 40:
        for step in (1, -1):
            yield str(number + Decimal(step).scaleb(exponent))


# ---- equivalents ------------------------------------------------------------------------------

EQUIVALENCES: Final = {
    "shortcut": (
        "A test of the usual case stands before the full test of the same thing: without it, or"
        " with a narrower one, the full test decides."
    ),
    "guard": (
        "The exact number of digits up to which a number goes through a shortcut makes no"
        " difference: the full test decides about the others, and its own limits are far ones."
    ),
    "full test": "The full test takes the place of its quicker form and says the same.",
    "conversion of the converted": (
        "A value that has its type already is converted again, which changes nothing."
    ),
    "far limit": (
        "The limit of 16 million characters or half a million elements is the validator's own,"
        " far below those of Postgres, so that no answer of Postgres can show it."
    ),
    "sentinel": "No row holds the object that stands for a column that is left out.",
}


_FULL_TEST: Final = re.compile(r"(number|instant|date_of|unicode_ok|_FORMAT_\d+)\(")
_GUARD: Final = re.compile(r"\.adjusted\(\)|len\(str\(|round\(")
_FAR: Final = re.compile(r"len\(\w+\) <= MAX_(TEXT|ITEMS)")


def _shortcuts(top: ast.stmt) -> set[ast.AST]:
    """Every node inside of an alternative that the full test follows."""
    found: set[ast.AST] = set()
    for node in ast.walk(top):
        if not isinstance(node, ast.BoolOp) or isinstance(node.op, ast.And):
            continue
        if _FULL_TEST.search(ast.unparse(node.values[-1])):
            for value in node.values[:-1]:
                if not re.search(r" is (None|MISSING|UUID)$", ast.unparse(value)):
                    found |= set(ast.walk(value))
    return found


def _guards(top: ast.stmt) -> set[ast.AST]:
    """Every node of the comparisons that keep numbers of very many digits out of a shortcut."""
    compared = [node for node in ast.walk(top) if isinstance(node, ast.Compare)]
    return {
        part for node in compared if _GUARD.search(ast.unparse(node)) for part in ast.walk(node)
    }


def _equivalence(
    top: ast.stmt, node: ast.AST, shortcuts: set[ast.AST], change: Change
) -> str | None:
    operator, detail, attributes = change
    name = top.name if isinstance(top, ast.FunctionDef) else ast.unparse(top)
    if node in shortcuts and node in _guards(top):
        far = operator == "constant changed" or "len(str(" in detail or detail.endswith(" LtE")
        return "guard" if far else None
    match operator:
        case "clause dropped":
            assert isinstance(node, ast.BoolOp)
            if _FAR.fullmatch(detail):
                return "far limit"
            if isinstance(node.op, ast.And):
                return "guard" if node in shortcuts and detail.startswith("len(str(") else None
            if detail.endswith(" is MISSING") and name.startswith("_ok"):
                return "sentinel"
            if name.startswith("_store") and not detail.endswith(" is None"):
                return "conversion of the converted"
            dropped = next(v for v in node.values if ast.unparse(v)[:80] == detail)
            return "shortcut" if dropped in shortcuts else None
        case "constant changed" if node in shortcuts:
            last = any(
                isinstance(parent, ast.Compare) and node is parent.comparators[-1]
                for parent in shortcuts
            )
            return "shortcut" if detail.endswith(f" by {-1 if last else 1}") else None
        case "comparison changed":
            if _FAR.match(detail) and detail.endswith(" Lt"):
                return "far limit"
            stricter = detail.endswith((" Lt", " Gt")) and " <= " in detail
            return "shortcut" if node in shortcuts and stricter else None
        case "value removed" if name.startswith("_KNOWN_"):
            return "shortcut"
        case "choice removed" if isinstance(node, ast.IfExp):
            quick = ".isascii()" in ast.unparse(node.test) or ast.unparse(node.orelse) == "[]"
            full = (
                "body" in attributes if ast.unparse(node.orelse) != "[]" else "orelse" in attributes
            )
            return "full test" if quick and full else None
        case _:
            return None
