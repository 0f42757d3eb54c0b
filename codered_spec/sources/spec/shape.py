"""The shape of a spec file: the published JSON Schema, applied to a tree with places.

``schema.json`` beside this module is the one definition of the shape. Editors read it, and so does
the small interpreter here, which knows just the keywords that the file uses and answers with
places and suggestions. A property test holds its verdicts against the ``jsonschema`` package.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

from codered_spec.errors import Diagnostic
from codered_spec.sources.spec.yaml_text import Node

SHAPE_FILE: Final = Path(__file__).with_name("schema.json")


@cache
def shape() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a spec file."""
    loaded: dict[str, Any] = json.loads(SHAPE_FILE.read_text(encoding="utf-8"))
    return loaded


def check_shape(root: Node) -> tuple[Diagnostic, ...]:
    """Everything about the tree that the shape forbids, in the order of the file."""
    return tuple(_check(root, shape(), "the spec"))


_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, Decimal),
}
_WORDS: Final = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}
_KNOWN_KEYWORDS: Final = frozenset(
    "$schema $id $ref $defs title description type properties required additionalProperties"
    " propertyNames items enum const pattern minimum maximum minItems minProperties maxProperties"
    " uniqueItems".split()
)


def _kind_fits(value: object, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _check(node: Node, rule: dict[str, Any], what: str) -> Iterator[Diagnostic]:
    if "$ref" in rule:
        yield from _check(node, shape()["$defs"][rule["$ref"].rpartition("/")[2]], what)
        return
    assert rule.keys() <= _KNOWN_KEYWORDS, rule.keys() - _KNOWN_KEYWORDS
    value = node.value
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_kind_fits(value, kind) for kind in kinds):
        wanted = " or ".join(_WORDS[kind] for kind in kinds)
        fix = f"write {wanted}"
        if "string" in kinds and not isinstance(value, (dict, list)):
            fix = f'quote it: "{_show(value)}"'
        yield Diagnostic(
            "S007", f"{what} must be {wanted}, not {_describe(value)}", fix, node.place
        )
        return
    if "const" in rule and value != rule["const"]:
        yield Diagnostic(
            "S009", f"{what} must be {rule['const']}", f"write {rule['const']}", node.place
        )
    if "enum" in rule and value not in rule["enum"]:
        options = ", ".join(rule["enum"])
        hint = _suggest(str(value), rule["enum"])
        yield Diagnostic(
            "S009", f"{what} cannot be {_show(value)}{hint}", f"one of: {options}", node.place
        )
    if isinstance(value, str) and "pattern" in rule and not re.search(rule["pattern"], value):
        meaning = rule.get("description", f"text that matches {rule['pattern']}")
        yield Diagnostic("S009", f"{what} cannot be {_show(value)}", f"write {meaning}", node.place)
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        if value < rule.get("minimum", value):
            yield Diagnostic(
                "S009", f"{what} is below {rule['minimum']}", "write a larger number", node.place
            )
        if value > rule.get("maximum", value):
            yield Diagnostic(
                "S009", f"{what} is above {rule['maximum']}", "write a smaller number", node.place
            )
    if isinstance(value, list):
        yield from _check_list(node, value, rule, what)
    if isinstance(value, dict):
        yield from _check_mapping(node, value, rule, what)


def _check_list(
    node: Node, value: list[Any], rule: dict[str, Any], what: str
) -> Iterator[Diagnostic]:
    if len(value) < rule.get("minItems", 0):
        yield Diagnostic("S009", f"{what} is empty", "add an entry or remove it", node.place)
    if rule.get("uniqueItems"):
        seen: list[Any] = []
        for position, item in enumerate(value):
            if item in seen:
                place = node.children[position].place
                yield Diagnostic("S009", f"{_show(item)} occurs twice in {what}", "keep one", place)
            seen.append(item)
    if "items" in rule:
        for position in range(len(value)):
            yield from _check(node.children[position], rule["items"], f"an entry of {what}")


def _check_mapping(
    node: Node, value: dict[str, Any], rule: dict[str, Any], what: str
) -> Iterator[Diagnostic]:
    known: dict[str, Any] = rule.get("properties", {})
    missing = [key for key in rule.get("required", ()) if key not in value]
    for key in missing:
        yield Diagnostic("S008", f"{what} lacks the key {key}", f"add `{key}:`", node.place)
    if len(value) < rule.get("minProperties", 0) and not missing:
        short = f"has nothing but {', '.join(value)}" if value else "is empty"
        yield Diagnostic("S009", f"{what} {short}", "add an entry or remove it", node.place)
    if len(value) > rule.get("maxProperties", len(value)):
        limit = rule["maxProperties"]
        yield Diagnostic(
            "S009", f"{what} has over {limit} entries", "keep what belongs here", node.place
        )
    names = rule.get("propertyNames")
    others = rule.get("additionalProperties", True)
    for key in value:
        place = node.keys[key]
        if names is not None and not re.search(names["pattern"], key):
            yield Diagnostic(
                "S009",
                f"{_show(key)} cannot be a key of {what}",
                f"write {names['description']}",
                place,
            )
        if key in known:
            yield from _check(node.children[key], known[key], key)
        elif others is False:
            yield Diagnostic(
                "S006",
                f"unknown key {_show(key)} in {what}{_suggest(key, list(known))}",
                f"known keys: {', '.join(known)}",
                place,
            )
        elif others is not True:
            yield from _check(node.children[key], others, key)


def _suggest(word: str, options: list[str]) -> str:
    close = difflib.get_close_matches(word, options, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _describe(value: object) -> str:
    for kind, word in _WORDS.items():
        if _kind_fits(value, kind):
            return word if isinstance(value, (dict, list)) else f"{word} {_show(value)}"
    return _show(value)
