"""YAML text to a tree with places, and plain data to canonical YAML text.

The accepted language is the part of YAML that everybody reads alike: one document, no anchors,
aliases, tags or merge keys, no duplicate keys, string keys, and plain scalars that mean what they
look like. Everything else is refused with its place.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

import yaml

from codered_spec.errors import Diagnostic, InputError, Place

Scalar: TypeAlias = str | int | bool | Decimal
Data: TypeAlias = "Scalar | list[Data] | dict[str, Data]"

MAX_DEPTH: Final = 32
MAX_BYTES: Final = 32 * 1024 * 1024
EDITOR_LINE: Final = "# yaml-language-server:"
"""Start of the one comment that a file may have, in its first line."""


@dataclass(slots=True)
class Node:
    """A value and where it starts; children by key or index; mapping keys have places too."""

    value: Data
    place: Place
    children: dict[str | int, Node]
    keys: dict[str, Place]

    def at(self, path: tuple[str | int, ...]) -> Place:
        """The place of the deepest node on ``path`` that exists; of its key where it has one."""
        node, place = self, self.place
        for step in path:
            child = node.children.get(step)
            if child is None:
                break
            place = node.keys.get(step, child.place) if isinstance(step, str) else child.place
            node = child
        return place


_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")
_AMBIGUOUS: Final = (
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("int", r"^0o[0-7]+$", "0"),
)
"""Text to PyYAML and YAML 1.1, but numbers to YAML 1.2 and thereby to editors."""
_STRING_TAG: Final = "tag:yaml.org,2002:str"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _plain(text: str) -> tuple[Scalar | None, str | None]:
    """The value of an unquoted scalar, or the reason to refuse it."""
    if text in ("true", "false"):
        return text == "true", None
    if _INTEGER.fullmatch(text):
        return (int(text), None) if len(text) <= 80 else (None, "a number of over 80 digits")
    if _DECIMAL.fullmatch(text):
        return (Decimal(text), None) if len(text) <= 80 else (None, "a number of over 80 digits")
    implicit = _Dumper.yaml_implicit_resolvers
    for tag, pattern in implicit.get(text[:1], []) + implicit.get(None, []):
        if tag != _STRING_TAG and pattern.match(text):
            return None, tag.rpartition(":")[2]
    return text, None


def read_yaml(text: str, path: str) -> Node:
    """The tree of one YAML document. Raises InputError (S001 to S005); linear in the text."""
    if len(text) > MAX_BYTES:
        raise InputError(
            Diagnostic("S001", "the file is larger than 32 MB", "split it", Place(path, 1, 1))
        )
    reader = _Reader(path)
    try:
        loader = _LOADER(text)
        try:
            while (event := loader.get_event()) is not None:
                reader.feed(event)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path, 1, 1)
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise InputError(
            Diagnostic("S001", f"not YAML: {problem}", "correct the syntax at this place", place)
        ) from None
    except (yaml.YAMLError, UnicodeError) as error:
        message = " ".join(str(error).split())
        raise InputError(
            Diagnostic(
                "S001", f"not YAML: {message}", "remove the character", _bad_character(text, path)
            )
        ) from None
    if reader.problems:
        raise InputError(*reader.problems)
    if reader.root is None:
        raise InputError(
            Diagnostic("S001", "the file is empty", "start with `format: 1`", Place(path, 1, 1))
        )
    return reader.root


def _bad_character(text: str, path: str) -> Place:
    found = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    if found is None:
        return Place(path, 1, 1)
    line_start = text.rfind("\n", 0, found.start()) + 1
    return Place(path, text.count("\n", 0, found.start()) + 1, found.start() - line_start + 1)


class _Reader:
    """Builds the tree from parser events without recursion."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.root: Node | None = None
        self.problems: list[Diagnostic] = []
        self._stack: list[Node] = []
        self._key: list[tuple[str, Place] | None] = []
        self._documents = 0

    def _refuse(self, code: str, message: str, fix: str, place: Place) -> None:
        if len(self.problems) < 50:
            self.problems.append(Diagnostic(code, message, fix, place))

    def feed(self, event: yaml.Event) -> None:
        mark = event.start_mark
        assert mark is not None
        place = Place(self.path, mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            self._anchors(event.anchor, event.tag, place)
            self._scalar(event, place)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._anchors(event.anchor, event.tag, place)
            if len(self._stack) >= MAX_DEPTH:
                raise InputError(
                    Diagnostic(
                        "S005",
                        f"nested more than {MAX_DEPTH} levels deep",
                        "a spec needs no more than ten",
                        place,
                    )
                )
            empty: Data = {} if isinstance(event, yaml.MappingStartEvent) else []
            node = Node(empty, place, {}, {})
            self._attach(node)
            self._stack.append(node)
            self._key.append(None)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._stack.pop()
            self._key.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._refuse("S004", "aliases are not part of the format", "write it out", place)
            self._attach(Node("", place, {}, {}))
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse("S004", "a second document starts here", "keep one per file", place)

    def _anchors(self, anchor: str | None, tag: str | None, place: Place) -> None:
        if anchor is not None:
            self._refuse("S004", f"anchor &{anchor} is not part of the format", "remove it", place)
        if tag is not None:
            self._refuse("S004", f"tag {tag} is not part of the format", "remove it", place)

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> None:
        value: Scalar = event.value
        expects_key = (
            self._stack and isinstance(self._stack[-1].value, dict) and self._key[-1] is None
        )
        if event.style is None or event.style == "":
            plain, reason = _plain(event.value)
            if reason is not None:
                self._refuse(
                    "S003",
                    f"YAML reads {event.value or 'nothing'} as {reason}, not as text",
                    f'write "{event.value}" in quotes, or give a value',
                    place,
                )
            elif plain is not None:
                value = plain
        if expects_key:
            if not isinstance(value, str):
                self._refuse("S003", f"the key {event.value} is not text", "quote it", place)
            self._key[-1] = (str(event.value), place)
            return
        self._attach(Node(value, place, {}, {}))

    def _attach(self, node: Node) -> None:
        if not self._stack:
            if self.root is None:
                self.root = node
            return
        parent = self._stack[-1]
        if isinstance(parent.value, list):
            parent.children[len(parent.value)] = node
            parent.value.append(node.value)
            return
        assert isinstance(parent.value, dict)
        if self._key[-1] is None:
            self._refuse("S007", "a key must be text", "write a plain name", node.place)
            self._key[-1] = ("", node.place)
            return
        key, place = self._key[-1]
        self._key[-1] = None
        if key in parent.value:
            first = parent.keys[key]
            self._refuse(
                "S002", f"{key} is written twice, first in line {first.line}", "keep one", place
            )
            return
        parent.value[key] = node.value
        parent.children[key] = node
        parent.keys[key] = place


# ---- writing ----------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """The canonical style. The pure Python emitter, as the C one folds lines differently."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


_WIDTH: Final = 96
_OTHER_BREAK: Final = re.compile("[\r\x85\u2028\u2029]")


def _represent_str(dumper: _Dumper, value: str) -> yaml.Node:
    if _OTHER_BREAK.search(value):  # in other styles a reader makes it a space or a line feed
        return dumper.represent_scalar(_STRING_TAG, value, style='"')
    foldable = len(value) > 72 and not re.search(r"\s\s|[^\S ]|^\s|\s$", value)
    return dumper.represent_scalar(_STRING_TAG, value, style=">" if foldable else None)


def _represent_list(dumper: _Dumper, value: list[Data]) -> yaml.Node:
    flat = not any(isinstance(item, (list, dict)) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


def _represent_decimal(dumper: _Dumper, value: Decimal) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:float", format(value, "f"))


for _kind, _pattern, _first in _AMBIGUOUS:
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(_pattern), list(_first))
_Dumper.add_representer(str, _represent_str)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(Decimal, _represent_decimal)


def write_yaml(data: MappingABC[str, Data], header: str = "") -> str:
    """Canonical YAML text of plain data: equal data gives equal bytes.

    A blank line sets off the entries of the first two levels from each other.
    """
    blocks: list[str] = []
    for key, value in data.items():
        if isinstance(value, dict) and value:
            entries = [textwrap.indent(_dump({name: item}), "  ") for name, item in value.items()]
            spaced = any(isinstance(item, dict) for item in value.values())
            head = _dump({key: {}}).removesuffix(" {}\n") + "\n"
            blocks.append("\n" + head + ("\n" if spaced else "").join(entries))
        else:
            blocks.append(_dump({key: value}))
    return header + "".join(blocks)


def _dump(data: dict[str, Data]) -> str:
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True))


def comment_places(text: str, path: str) -> tuple[Place, ...]:
    """Where the text has comments, other than the line for editors at its very beginning.

    The text is YAML that :func:`read_yaml` accepts.
    """
    if "#" not in text:
        return ()
    spans: list[tuple[int, int]] = []
    loader = _LOADER(text)
    try:
        while (event := loader.get_event()) is not None:
            if isinstance(event, yaml.ScalarEvent) and event.start_mark and event.end_mark:
                start = event.start_mark.index
                if event.style in ("|", ">"):  # a comment may follow the sign
                    start = text.find("\n", start)
                spans.append((start, event.end_mark.index))
    finally:
        loader.dispose()
    first = text.find("\n") if text.startswith(EDITOR_LINE) else -1
    places: list[Place] = []
    position = line = line_start = 0
    for match in re.finditer(r"(?:^|(?<=\s))#", text, re.MULTILINE):
        start = match.start()
        while position < len(spans) and spans[position][1] <= start:
            position += 1
        inside = position < len(spans) and spans[position][0] <= start
        if start <= first or inside:
            continue
        line += text.count("\n", line_start, start)
        line_start = text.rfind("\n", 0, start) + 1
        if not places or places[-1].line != line + 1:
            places.append(Place(path, line + 1, start - line_start + 1))
    return tuple(places)
