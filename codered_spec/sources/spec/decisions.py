"""Applying decisions to what the document states.

Decisions add facts where the document is silent. They may narrow (a check, NOT NULL) or make a
recorded exception (nullable), but never rename, retype or drop what is stated. A selector without
wildcards beats one with them; two equally specific decisions that differ contradict each other.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from codered_spec.errors import Diagnostic, Place
from codered_spec.model.decision import Effect
from codered_spec.model.schema import ACTIONS
from codered_spec.model.types import Vector, base_name, parse_type
from codered_spec.sources.spec.build import Path
from codered_spec.sources.spec.conventions import COLUMN_KEYS, Record
from codered_spec.sources.spec.yaml_text import Node


@dataclass(slots=True)
class Merged:
    """Spec data with all decisions applied."""

    data: Record
    effects: list[Effect] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    stale: list[Path] = field(default_factory=list)
    """Paths in the file of what decisions say about things that do not exist."""
    origins: dict[Path, Path] = field(default_factory=dict)
    """Path of a fact in the merged data to its path in the file, where the two differ."""

    def file_path(self, path: Path) -> Path:
        """Where in the file the fact at ``path`` of the merged data is written."""
        for length in range(len(path), 0, -1):
            origin = self.origins.get(path[:length])
            if origin is not None:
                return (*origin, *path[length:])
        return path


_NAMED: Final = ("uniques", "foreign_keys", "checks", "indexes")


def apply_decisions(data: Record, root: Node) -> Merged:
    """The spec data without ``decisions``, every decision applied; ``root`` gives places."""
    merged = Merged({k: copy.deepcopy(v) for k, v in data.items() if k != "decisions"})
    applier = _Applier(merged, root)
    decisions: dict[str, Record] = data.get("decisions", {})
    for exact in (False, True):
        for name, decision in decisions.items():
            applier.columns(name, decision, exact=exact)
    for name, decision in decisions.items():
        applier.rest(name, decision)
    for name, decision in decisions.items():
        applier.rights(name, decision)
    applier.finish()
    return merged


class _Applier:
    def __init__(self, merged: Merged, root: Node) -> None:
        self.merged = merged
        self.root = root
        self.tables: dict[str, Record] = merged.data.setdefault("tables", {})
        self.owner: dict[Path, tuple[str, bool]] = {}  # fact -> decision, exact selector
        self.stated: dict[Path, Any] = {}  # fact -> what the document says, where decided otherwise

    def _refuse(self, code: str, message: str, fix: str, path: Path) -> None:
        self.merged.diagnostics.append(Diagnostic(code, message, fix, self.root.at(path)))

    def _stale(self, name: str, what: str, path: Path) -> None:
        self.merged.stale.append(path)
        self._refuse(
            "S012",
            f"the decision {name} speaks of {what}, which does not exist",
            "correct the name, or drop it with `sync --prune`",
            path,
        )

    # ---- columns ----

    def columns(self, name: str, decision: Record, *, exact: bool) -> None:
        for selector, facts in decision.get("columns", {}).items():
            if exact is _has_wildcards(selector):
                continue
            source: Path = ("decisions", name, "columns", selector)
            found = False
            for table, column in self._select(selector):
                found = True
                for fact in COLUMN_KEYS:
                    if fact in facts:
                        self._set_fact(name, decision, table, column, fact, facts[fact], source)
            if not found:
                self._stale(name, selector, source)

    def _select(self, selector: str) -> Iterator[tuple[str, str]]:
        pattern, _, type_name = selector.partition(" ")
        table_pattern, _, column_pattern = pattern.partition(".")
        if not _has_wildcards(pattern):
            names = [table_pattern] if table_pattern in self.tables else []
        else:
            names = [t for t in self.tables if fnmatchcase(t, table_pattern)]
        for table in names:
            for column, facts in self.tables[table]["columns"].items():
                if not fnmatchcase(column, column_pattern):
                    continue
                if type_name:
                    type_ = parse_type(facts["type"])
                    if type_ is None or base_name(type_) != type_name:
                        continue
                yield table, column

    def _set_fact(
        self,
        name: str,
        decision: Record,
        table: str,
        column: str,
        fact: str,
        value: Any,
        source: Path,
    ) -> None:
        facts = self.tables[table]["columns"][column]
        path: Path = ("tables", table, "columns", column, fact)
        exact = not _has_wildcards(str(source[-1]))
        before = facts.get(fact, False if fact == "nullable" else None)
        owner = self.owner.get(path)
        if before == value and type(before) is type(value):
            if owner is None:  # stated as decided; on record all the same
                self._effect(name, decision, f"{table}.{column}", fact, before, value)
            return
        before = self.stated.get(path, before)
        if fact == "nullable" and value and facts.get("primary_key"):
            self._contradiction(name, table, column, fact, "primary key", value, source)
            return
        if owner is not None:
            if owner[1] == exact:
                self._refuse(
                    "S014",
                    f"the decisions {owner[0]} and {name} differ on {fact} of {table}.{column}",
                    "keep one of them, or make one selector exact",
                    (*source, fact),
                )
                return
            self._forget(owner[0], f"{table}.{column}", fact)
        if fact == "note" and before is not None:
            value = f"{before}; {value}"
        elif not self._may_change(fact, before, value, facts):
            self._contradiction(name, table, column, fact, before, value, source)
            return
        if fact in ("one_of", "subset_of") and "known" in facts:
            del facts["known"]  # a closed list narrows the open one
        facts[fact] = value
        self.stated[path] = before
        self.tables[table]["columns"][column] = {k: facts[k] for k in COLUMN_KEYS if k in facts}
        self.owner[path] = (name, exact)
        self.merged.origins[path] = (*source, fact)
        self._effect(name, decision, f"{table}.{column}", fact, before, value)

    @staticmethod
    def _may_change(fact: str, before: Any, value: Any, facts: Record) -> bool:
        if fact == "known" and ("one_of" in facts or "subset_of" in facts):
            return False
        if before is None or fact == "nullable":
            return True
        if fact == "type":
            stated, wanted = parse_type(str(before)), parse_type(str(value))
            if stated is None or wanted is None:
                return wanted is None  # reported as unknown type when it is built
            gains_parameter = "(" not in str(stated) and base_name(stated) == base_name(wanted)
            without_pgvector = stated == Vector() and str(wanted) == "double precision[]"
            return gains_parameter or without_pgvector
        return False

    def _contradiction(
        self, name: str, table: str, column: str, fact: str, before: Any, value: Any, source: Path
    ) -> None:
        self._refuse(
            "S013",
            f"the decision {name} sets {fact} of {table}.{column} to {show(value)},"
            f" but the document states {show(before)}",
            "change the document first, then sync",
            (*source, fact),
        )

    def _forget(self, decision: str, address: str, fact: str) -> None:
        """Takes back the effect of a decision on a fact that a more exact one decides."""
        self.merged.effects = [
            e
            for e in self.merged.effects
            if (e.decision, e.address, e.fact) != (decision, address, fact)
        ]

    def _effect(
        self, name: str, decision: Record, address: str, fact: str, before: Any, after: Any
    ) -> None:
        because = decision["because"]
        self.merged.effects.append(Effect(name, because, address, fact, show(before), show(after)))

    # ---- everything that has a name of its own ----

    def rest(self, name: str, decision: Record) -> None:
        if "embedding_dimensions" in decision:
            self._dimensions(name, decision)
        for kind in ("extensions", "value_sets", "rollups", "views", "roles"):
            target = self.merged.data.setdefault(kind, {}) if kind in decision else {}
            for key, value in decision.get(kind, {}).items():
                source: Path = ("decisions", name, kind, key)
                if key in target:
                    self._refuse("S014", f"{kind} {key} is declared twice", "keep one", source)
                    continue
                target[key] = value
                self.merged.origins[(kind, key)] = source
                self._effect(name, decision, key, kind, None, value)
        for kind in _NAMED:
            for key, entry in decision.get(kind, {}).items():
                self._named(name, decision, kind, key, entry)
        for position, address in enumerate(decision.get("kept", ())):
            table, _, column = address.partition(".")
            if column in self.tables.get(table, {}).get("columns", {}) or (
                not column and table in self.tables
            ):
                self._effect(name, decision, address, "kept", None, "as stated")
            else:
                self._stale(name, address, ("decisions", name, "kept", position))

    def rights(self, name: str, decision: Record) -> None:
        """Whether what roles may do is about something that is there."""
        known = {*self.tables, *self.merged.data.get("views", ())}
        for role, facts in decision.get("roles", {}).items():
            source: Path = ("decisions", name, "roles", role)
            for action in ACTIONS:
                for position, table in enumerate(facts.get(action, ())):
                    if table not in known:
                        self._stale(name, f"the table {table}", (*source, action, position))
            for table, actions in facts.get("except", {}).items():
                if table not in known:
                    self._stale(name, f"the table {table}", (*source, "except", table))
                    continue
                columns = self.tables.get(table, {}).get("columns", {})
                for action, hidden in actions.items():
                    for position, column in enumerate(hidden):
                        if column not in columns:
                            where: Path = (*source, "except", table, action, position)
                            self._stale(name, f"the column {table}.{column}", where)

    def _dimensions(self, name: str, decision: Record) -> None:
        wanted = f"vector({decision['embedding_dimensions']})"
        source: Path = ("decisions", name, "embedding_dimensions")
        found = False
        for table, column in self._select("*.* vector"):
            facts = self.tables[table]["columns"][column]
            if parse_type(facts["type"]) == Vector():
                found = True
                self._effect(name, decision, f"{table}.{column}", "type", facts["type"], wanted)
                facts["type"] = wanted
                self.merged.origins[("tables", table, "columns", column, "type")] = source
        if not found:
            self._stale(name, "a vector column without a dimension", source)

    def _named(self, name: str, decision: Record, kind: str, key: str, entry: Record) -> None:
        source: Path = ("decisions", name, kind, key)
        table = entry.get("table")
        if table is None:
            self._refuse("S008", f"{key} lacks the key table", "add `table:`", source)
            return
        if table not in self.tables:
            self._stale(name, f"the table {table}", source)
            return
        facts = {k: v for k, v in entry.items() if k != "table"}
        existing = self.tables[table].setdefault(kind, {})
        stated = existing.get(key)
        target: Path = ("tables", table, kind, key)
        owner = self.owner.get(target)
        if stated is None:
            existing[key] = facts
            self.owner[target] = (name, True)
            self.merged.origins[target] = source
            self._effect(name, decision, f"{table}.{key}", kind, None, facts)
            return
        if stated == facts:
            return
        if owner is not None:
            self._refuse(
                "S014",
                f"the decisions {owner[0]} and {name} differ on {key} of {table}",
                "keep one of them",
                source,
            )
            return
        wider = facts.get("columns", stated.get("columns"))
        if kind != "indexes" or wider[: len(stated["columns"])] != stated["columns"]:
            self._refuse(
                "S013",
                f"{key} of {table} is stated already, with other facts",
                "choose another name, or change the document first",
                source,
            )
            return
        self.owner[target] = (name, True)
        for fact, value in facts.items():
            if stated.get(fact) != value:
                self._effect(name, decision, f"{table}.{key}", fact, stated.get(fact), value)
                stated[fact] = value
                self.merged.origins[(*target, fact)] = (*source, fact)

    def finish(self) -> None:
        """Drops sections that stayed empty."""
        for table in self.tables.values():
            for kind in _NAMED:
                if kind in table and not table[kind]:
                    del table[kind]


def _has_wildcards(selector: str) -> bool:
    return any(sign in selector.partition(" ")[0] for sign in "*?[")


def show(value: Any) -> str:
    """A fact in words for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {show(v)}" for k, v in value.items()) + "}"
    return str(value)


def prune(data: Record) -> tuple[Record, tuple[str, ...]]:
    """The data without what decisions say of things that are gone, and what was dropped.

    A decision that says nothing any more goes whole.
    """
    dropped: list[str] = []
    pruned = copy.deepcopy(data)
    nowhere = Node({}, Place("", 1, 1), {}, {})
    while stale := apply_decisions(pruned, nowhere).stale:
        for path in sorted(stale, key=lambda p: [str(s).zfill(9) for s in p], reverse=True):
            holders: list[Any] = [pruned]
            for step in path[:-1]:
                holders.append(holders[-1][step])
            gone = path[-1] if isinstance(path[-1], str) else holders[-1][path[-1]]
            dropped.append(f"{path[1]}: {gone}")
            del holders[-1][path[-1]]
            for depth in range(len(path) - 1, 0, -1):
                if holders[depth]:
                    break
                del holders[depth - 1][path[depth - 1]]
        pruned["decisions"] = {
            name: decision for name, decision in pruned["decisions"].items() if len(decision) > 1
        }
    return pruned, tuple(dropped)
