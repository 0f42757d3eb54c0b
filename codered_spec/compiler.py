"""The compiler, as a list of steps: load, merge, check, emit; and sync, the way back from the
document.

Paths in a spec are relative to the folder of the spec file, which is the root of the project.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from codered_spec.emit.access_page import emit_access_page
from codered_spec.emit.ddl import FINGERPRINT_LINE, emit_migration
from codered_spec.emit.file import GENERATED, File
from codered_spec.emit.json_schema import emit_json_schema
from codered_spec.emit.reference import emit_reference
from codered_spec.emit.rows import emit_rows
from codered_spec.emit.validators import emit_validators
from codered_spec.errors import CoderedError, Diagnostic, FindingsError, InputError, Place
from codered_spec.files import read_text
from codered_spec.migrate.directory import Migration, read_directory
from codered_spec.model.check import check, errors
from codered_spec.model.normalize import fingerprint
from codered_spec.model.schema import Schema
from codered_spec.sources.document import read_document
from codered_spec.sources.spec import (
    Record,
    Spec,
    canonical_text,
    dump_schema,
    lost_comments,
    parse_spec,
    prune,
    read_spec,
    show,
)
from codered_spec.validation import Validator

MIGRATIONS = "migrations"
"""Folder of the migration files, from the root of the project."""

Emitter: TypeAlias = Callable[[Spec], tuple[File, ...]]
"""Makes files of a spec that this module knows nothing of."""


# ---- spec to model ----------------------------------------------------------------------------


def load(path: str) -> Spec:
    """Reads, merges and checks a spec file. Raises InputError with every error found."""
    spec = read_spec(read_text(path), path)
    found = spec.locate(errors(check(spec.schema)))
    if found:
        raise InputError(*found)
    return spec


def root_of(spec_path: str) -> Path:
    """The root of the project that a spec file belongs to."""
    return Path(spec_path).parent


# ---- document to spec -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sync:
    """What a sync found: the new text of the spec file, and what is different, in words."""

    text: str
    changed: bool
    changes: tuple[str, ...]
    dropped: tuple[str, ...]
    open_questions: tuple[Diagnostic, ...]
    """What the spec has yet to decide, or what decisions say of things that are gone."""


def sync(document: str | None, spec_path: str, *, drop_stale: bool = False) -> Sync:
    """Brings the document-owned parts of a spec up to the document, decisions untouched.

    ``document`` is a path; None takes the one that the spec names. A spec file that does not
    exist yet is begun. Raises InputError when either file cannot be used, and FindingsError when
    a decision contradicts what the document states now. Writes nothing.
    """
    root = root_of(spec_path)
    old_text = read_text(spec_path) if os.path.lexists(spec_path) else None
    data: Record = {"format": 1}
    if old_text is not None:
        data = parse_spec(old_text, spec_path)[0]
        lost = lost_comments(old_text, spec_path)
        if lost:
            raise InputError(*lost)
    if document is None:
        if "document" not in data:
            raise InputError(
                Diagnostic(
                    "C001",
                    f"{spec_path} names no document",
                    "run `codered-spec sync DOCUMENT`, or add `document:` to the spec",
                )
            )
        document = str(root / data["document"])
    new = _restated(data, document)
    new.setdefault("document", os.path.relpath(document, root))
    dropped: tuple[str, ...] = ()
    if drop_stale:
        new, dropped = prune(new)
    changes = _changes(data, new) if old_text is not None else _table_list_changes({}, new)
    text = canonical_text(new) if old_text is None or changes or dropped else old_text
    try:
        spec = read_spec(text, spec_path)
    except InputError as error:
        raise FindingsError(*error.diagnostics) from None
    unclear = (*spec.warnings, *spec.locate(check(spec.schema)))
    return Sync(text, text != old_text, tuple(changes), dropped, unclear)


def _restated(data: Record, document: str) -> Record:
    """The data with the document-owned parts (``schema``, ``title``, ``tables``) as stated."""
    stated = dump_schema(read_document(read_text(document), document).schema)
    return {**{key: value for key, value in data.items() if key != "title"}, **stated}


def _changes(old: Record, new: Record) -> list[str]:
    """Every difference of the document-owned parts in words, one line for each fact."""
    changes = [
        f"{key}: {show(old.get(key))} → {show(new.get(key))}"
        for key in ("schema", "title")
        if old.get(key) != new.get(key)
    ]
    return changes + _table_list_changes(old.get("tables", {}), new)


def _table_list_changes(old: Record, merged: Record) -> list[str]:
    new: Record = merged.get("tables", {})
    changes: list[str] = []
    for table in (*new, *(t for t in old if t not in new)):
        if table not in old:
            count = len(new[table]["columns"])
            changes.append(f"{table}: new table, {count} column{'s'[: count != 1]}")
        elif table not in new:
            changes.append(f"{table}: no longer a table")
        else:
            changes += _table_changes(table, old[table], new[table])
    if [t for t in old if t in new] != [t for t in new if t in old]:
        changes.append("the order of the tables changed")
    return changes


def _table_changes(table: str, old: Record, new: Record) -> Iterator[str]:
    for kind in (*new, *(k for k in old if k not in new)):
        before, after = old.get(kind), new.get(kind)
        if not isinstance(before or after, dict) or kind == "primary_key":
            if before != after:
                yield f"{table}: {kind}: {show(before)} → {show(after)}"
            continue
        word = {"indexes": "index"}.get(kind, kind.removesuffix("s").replace("_", " "))
        yield from _entry_changes(table, word, before or {}, after or {})
        common = [name for name in before or {} if name in (after or {})]
        if common != [name for name in after or {} if name in (before or {})]:
            yield f"{table}: the order of its {kind} changed"


def _entry_changes(table: str, word: str, old: Record, new: Record) -> Iterator[str]:
    for name in (*new, *(n for n in old if n not in new)):
        address = f"{table}.{name}"
        if name not in old:
            yield f"{address}: new {word}: {show(new[name])}"
        elif name not in new:
            yield f"{address}: no longer {'an' if word == 'index' else 'a'} {word}"
        elif old[name] != new[name]:
            before, after = old[name], new[name]
            for fact in (*after, *(f for f in before if f not in after)):
                if before.get(fact) != after.get(fact):
                    yield f"{address}: {fact}: {show(before.get(fact))} → {show(after.get(fact))}"


# ---- model to files ---------------------------------------------------------------------------


def generate(spec: Spec, *more: Emitter) -> tuple[File, ...]:
    """Every file that is made from the spec, with paths from the root of the project.

    The first migration is among them only while the folder has none: once a migration may have
    been applied somewhere it is history, and the next change gets a file of its own.
    """
    files = emit_reference(spec.schema, spec.effects) + emit_access_page(spec.schema)
    if "package" in spec.data:
        files += emit_validators(spec.schema, spec.data["package"])
        files += emit_rows(spec.schema, spec.data["package"])
        files += emit_json_schema(spec.schema)
    folder = root_of(spec.path) / MIGRATIONS
    if "baseline" in spec.data and not _has_migrations(folder):
        baseline = f"{MIGRATIONS}/{spec.data['baseline']}.sql"
        files += emit_migration(spec.schema, baseline)
    return files + tuple(file for emit in more for file in emit(spec))


def validators(schema: Schema) -> dict[str, Validator]:
    """The validators of a schema by table, made in memory from the generated source."""
    (file,) = emit_validators(schema, "generated")
    namespace: dict[str, Any] = {}
    exec(compile(file.text, file.path, "exec"), namespace)
    found: dict[str, Validator] = namespace["TABLES"]
    return found


def _has_migrations(folder: Path) -> bool:
    """Whether there is a file that may be a migration; if it is a good one, others find out."""
    return folder.is_dir() and any(
        path.suffix.lower() == ".sql" and not path.name.startswith(".") for path in folder.iterdir()
    )


def stale_files(spec: Spec, files: Iterable[File]) -> Iterator[Diagnostic]:
    """One diagnostic (G001) for each generated file that is missing, different or left over."""
    files = tuple(files)
    fix = "run `codered-spec generate`"
    for file in files:
        path = root_of(spec.path) / file.path
        if not path.exists():
            yield Diagnostic("G001", f"{path} is missing", fix, Place(str(path), 1, 1))
            continue
        have = read_text(str(path))
        if have != file.text:
            line = _first_difference(have, file.text)
            yield Diagnostic(
                "G001",
                f"{path} differs from what the spec generates",
                fix,
                Place(str(path), line, 1),
            )
    yield from left_over(spec, files)


def left_over(spec: Spec, files: Iterable[File]) -> Iterator[Diagnostic]:
    """One diagnostic (G001) for each file that says to be generated, beside the files that are.

    Such a file is what a table that is gone has left. Migrations are history, and stay.
    """
    made = {root_of(spec.path) / file.path for file in files}
    for folder in sorted({path.parent for path in made} - {root_of(spec.path) / MIGRATIONS}):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path not in made and path.is_file() and _says_generated(path):
                yield Diagnostic(
                    "G001",
                    f"{path} is no longer generated from the spec",
                    "delete it",
                    Place(str(path), 1, 1),
                )


def _says_generated(path: Path) -> bool:
    with path.open("rb") as file:
        return GENERATED.encode() in file.readline(200)


def _first_difference(have: str, want: str) -> int:
    pairs = zip(have.splitlines(), want.splitlines(), strict=False)
    return next(
        (n for n, (left, right) in enumerate(pairs, 1) if left != right),
        min(have.count("\n"), want.count("\n")) + 1,
    )


def migration_findings(spec: Spec) -> tuple[Diagnostic, ...]:
    """What is wrong with the migration files, as far as it can be seen without a database."""
    folder = root_of(spec.path) / MIGRATIONS
    if "baseline" not in spec.data and not folder.is_dir():
        return ()
    try:
        migrations = read_directory(folder) if folder.is_dir() else ()
    except CoderedError as error:
        return error.diagnostics
    if not migrations:
        return ()
    newest = migrations[-1]
    recorded = _recorded_fingerprint(newest)
    place = Place(newest.path, 1, 1)
    if recorded is not None and recorded != fingerprint(spec.schema):
        return (
            Diagnostic(
                "G003",
                f"the spec has changed since {newest.file_name} was made",
                "write a new migration; if this one was never applied anywhere, delete it and"
                " run `codered-spec generate`",
                place,
            ),
        )
    edited = len(migrations) == 1 and GENERATED in newest.text
    if edited and emit_migration(spec.schema, newest.path)[0].text != newest.text:
        return (
            Diagnostic(
                "G001",
                f"{newest.file_name} differs from what the spec generates",
                "restore it; if it was never applied anywhere, delete it and run"
                " `codered-spec generate`",
                place,
            ),
        )
    return ()


def _recorded_fingerprint(migration: Migration) -> str | None:
    for line in migration.text.splitlines()[:20]:
        if line.startswith(FINGERPRINT_LINE):
            return line.removeprefix(FINGERPRINT_LINE).strip()
    return None


# ---- everything that can be checked without a database ----------------------------------------


@dataclass(frozen=True, slots=True)
class Checked:
    """All findings about a project, and the files and folders that the verdict depends on."""

    findings: tuple[Diagnostic, ...]
    files: tuple[str, ...]
    folders: tuple[str, ...]


def check_project(spec_path: str, *more: Emitter) -> Checked:
    """Checks everything of a project that needs no database.

    Raises InputError when the spec cannot be used at all.
    """
    inputs = [spec_path]
    spec = read_spec(read_text(spec_path), spec_path)
    problems = spec.locate(check(spec.schema))
    found = [*spec.warnings, *problems, *format_findings(spec)]
    if "document" in spec.data:
        document = str(root_of(spec_path) / spec.data["document"])
        inputs.append(document)
        found += document_findings(spec, document)
    folder = root_of(spec_path) / MIGRATIONS
    folders = {folder}
    if not errors(problems):
        files = generate(spec, *more)
        found += stale_files(spec, files)
        made = [root_of(spec_path) / file.path for file in files]
        inputs += map(str, made)
        folders |= {path.parent for path in made}
        found += migration_findings(spec)
    with contextlib.suppress(OSError):  # what cannot be read is a finding already
        inputs += [str(path) for path in sorted(folder.iterdir()) if path.is_file()]
    return Checked(tuple(found), tuple(inputs), tuple(sorted(map(str, folders))))


def format_findings(spec: Spec) -> tuple[Diagnostic, ...]:
    """G004 when the spec file is not in canonical format."""
    text = canonical_text(spec.data)
    if text == spec.text:
        return ()
    place = Place(spec.path, _first_difference(spec.text, text), 1)
    return (
        Diagnostic(
            "G004",
            f"{spec.path} is not in canonical format",
            "run `codered-spec fmt`",
            place,
        ),
    )


def document_findings(spec: Spec, document: str) -> tuple[Diagnostic, ...]:
    """G002 for each fact in which the spec differs from its document.

    Raises InputError when the document cannot be used.
    """
    place = Place(spec.path, 1, 1)
    return tuple(
        Diagnostic(
            "G002", f"the document says otherwise: {change}", "run `codered-spec sync`", place
        )
        for change in _changes(spec.data, _restated(spec.data, document))
    )


def explain(spec: Spec) -> list[dict[str, Any]]:
    """Every effect of every decision as plain data."""
    return [
        {
            "decision": effect.decision,
            "because": effect.because,
            "subject": effect.address,
            "fact": effect.fact,
            "stated": effect.before,
            "decided": effect.after,
        }
        for effect in spec.effects
    ]
