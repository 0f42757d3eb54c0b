"""The spec file as a source: YAML text to the merged model, with places for every complaint."""

from __future__ import annotations

from dataclasses import dataclass, replace

from codered_spec.errors import Diagnostic, InputError, Place
from codered_spec.model.decision import Effect
from codered_spec.model.schema import Schema
from codered_spec.sources.spec.build import Path, build_schema
from codered_spec.sources.spec.conventions import (
    FACT_SUFFIXES,
    Record,
    foreign_key_name,
    key_name,
    touch_names,
    unique_name,
)
from codered_spec.sources.spec.decisions import Merged, apply_decisions, prune, show
from codered_spec.sources.spec.dump import NotExpressibleError, dump_schema
from codered_spec.sources.spec.shape import check_shape
from codered_spec.sources.spec.yaml_text import (
    EDITOR_LINE,
    Node,
    comment_places,
    read_yaml,
    write_yaml,
)

__all__ = [
    "NotExpressibleError",
    "Record",
    "Spec",
    "canonical_text",
    "dump_schema",
    "lost_comments",
    "parse_spec",
    "prune",
    "read_spec",
    "show",
]

HEADER = f"{EDITOR_LINE} $schema=codered_spec/sources/spec/schema.json\n"
"""First line of a canonical spec file: editors find the shape by it."""

TOP_KEYS = (
    "format schema title document baseline package pgtap extensions functions value_sets rollups"
    " views roles tables decisions"
).split()
"""Top-level keys in canonical order."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A spec file that has been read: what it says, what it means, and where."""

    path: str
    text: str
    data: Record
    """Plain data as written, decisions included."""
    schema: Schema
    """The model with every decision applied."""
    warnings: tuple[Diagnostic, ...]
    effects: tuple[Effect, ...]
    root: Node
    merged: Merged

    def locate(self, diagnostics: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
        """The diagnostics with the place of their subject in this file."""
        places = _addresses(self.merged.data) if diagnostics else {}
        return tuple(d.at(self._place(places, d.subject)) for d in diagnostics)

    def _place(self, places: dict[str, Path], subject: str | None) -> Place:
        address = subject or ""
        while address and address not in places:
            address = address.rpartition(".")[0]
        return self.root.at(self.merged.file_path(places.get(address, ())))


def parse_spec(text: str, path: str) -> tuple[Record, Node]:
    """The data of a spec of the right shape, decisions not applied, and its tree of places.

    Raises InputError (S001 to S009).
    """
    root = read_yaml(text, path)
    problems = check_shape(root)
    if problems:
        raise InputError(*problems)
    assert isinstance(root.value, dict)
    return root.value, root


def read_spec(text: str, path: str) -> Spec:
    """The spec in ``text``; ``path`` is for places only.

    Raises InputError with every complaint found (S001 to S014 but S012, which is a warning: the
    rest of the spec still means something).
    """
    data, root = parse_spec(text, path)
    merged = apply_decisions(data, root)
    found = [d for d in merged.diagnostics if d.code != "S012"]

    def report(where: Path, code: str, message: str, fix: str) -> None:
        found.append(Diagnostic(code, message, fix, root.at(merged.file_path(where))))

    schema = build_schema(merged.data, report)
    if found:
        raise InputError(*found)
    position = {name: i for i, name in enumerate(data.get("decisions", ()))}
    effects = tuple(sorted(merged.effects, key=lambda effect: position[effect.decision]))
    warnings = tuple(replace(d, warning=True) for d in merged.diagnostics)
    return Spec(path, text, data, schema, warnings, effects, root, merged)


def canonical_text(data: Record) -> str:
    """The one canonical text of spec data; reading it gives the same data again."""
    ordered = {key: data[key] for key in TOP_KEYS if key in data}
    return write_yaml(ordered, HEADER)


def lost_comments(text: str, path: str) -> tuple[Diagnostic, ...]:
    """One diagnostic (S010) for each comment that a rewrite of the file would lose."""
    return tuple(
        Diagnostic(
            "S010",
            "a comment would be lost when the file is rewritten",
            "write it as `note:` or `because:`, or remove it",
            place,
        )
        for place in comment_places(text, path)
    )


def _addresses(data: Record) -> dict[str, Path]:
    """Address of every model object (``table``, ``table.name``) to its path in merged data."""
    places: dict[str, Path] = {}
    for table, facts in data.get("tables", {}).items():
        base: Path = ("tables", table)
        for kind in ("uniques", "foreign_keys", "checks", "indexes", "triggers"):
            for name in facts.get(kind, ()):
                places[f"{table}.{name}"] = (*base, kind, name)
        if "primary_key" in facts:
            name = facts["primary_key"].get("name", key_name(table))
            places[f"{table}.{name}"] = (*base, "primary_key")
        for column, column_facts in facts["columns"].items():
            where: Path = (*base, "columns", column)
            names = {
                "primary_key": key_name(table),
                "unique": unique_name(table, column),
                "references": foreign_key_name(table, column),
                "touch": touch_names(table, column)[0],
                **{f: f"{table}_{column}_{suffix}" for f, suffix in FACT_SUFFIXES.items()},
            }
            for fact, name in names.items():
                if fact in column_facts:
                    places.setdefault(f"{table}.{name}", (*where, fact))
            places[f"{table}.{column}"] = where
        places[table] = base
    for kind in ("functions", "value_sets", "extensions", "rollups", "views", "roles"):
        for name in data.get(kind, ()):
            places.setdefault(name, (kind, name))
    return places
