"""The catalogue of codes, the source and the reference page name the same codes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from codered_spec.codes import CODES

ROOT = Path(__file__).parent.parent
CODE = re.compile(r"\b[CDSMGPRV][0-9]{3}\b")


def docstrings(tree: ast.AST) -> Iterator[ast.expr]:
    """Texts that stand alone: docstrings of modules, classes, functions and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            yield node.value


def used() -> dict[str, str]:
    """Each code in a text of the source (no docstring), and one place of it."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "codered_spec").rglob("*.py")):
        if path.name == "codes.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(node) for node in docstrings(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) in prose:
                    continue
                for code in CODE.findall(node.value):
                    found.setdefault(code, f"{path.name}:{node.lineno}")
    return found


USED = used()


@pytest.mark.parametrize("code", sorted(USED))
def test_a_code_in_the_source_is_in_the_catalogue(code: str) -> None:
    assert code in CODES, USED[code]


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_code_in_the_catalogue_is_in_the_source(code: str) -> None:
    assert code in USED


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_code_has_a_family_and_a_number(code: str) -> None:
    assert CODE.fullmatch(code)


def test_the_reference_lists_the_codes_of_the_catalogue() -> None:
    page = (ROOT / "docs/reference/diagnostics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    assert dict(rows) == CODES


def test_no_two_codes_mean_the_same() -> None:
    assert len(set(CODES.values())) == len(CODES)
