"""A directory of migration files: their names, their order, and what may stand in them.

A file is called ``YYYYMMDDHHMMSS_name.sql``, as the Supabase CLI calls it; the digits are its
version. Hidden files, folders and files that are not SQL are no concern of ours.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from codered_spec.errors import Diagnostic, InputError, Place
from codered_spec.sql import Statement, Token, UnterminatedError, split_statements, tokenize

FILE_NAME: Final = re.compile(r"(?P<version>[0-9]{14})_(?P<name>[a-z0-9_]+)\.sql")

_TRANSACTION_CONTROL: Final = frozenset("begin commit end rollback abort savepoint release".split())
_TRANSACTION_CONTROL_PAIRS: Final = frozenset(
    {("start", "transaction"), ("prepare", "transaction")}
)

_SUSPICIOUS: Final = _TRANSACTION_CONTROL | {"start", "prepare", "copy"}


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration file; ``text`` is what stands in it, without a byte order mark."""

    version: str
    name: str
    path: str
    text: str

    @property
    def file_name(self) -> str:
        """``YYYYMMDDHHMMSS_name.sql``."""
        return f"{self.version}_{self.name}.sql"

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The statements in order, without semicolons. Raises :class:`UnterminatedError`."""
        return _split(self.text)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the statements; equal to :func:`stored_digest` of what is recorded."""
        return _digest([statement.text for statement in self.statements])

    def recorded_as(self, statements: Sequence[str]) -> bool:
        """Whether a history row with these ``statements`` is the record of this text."""
        if list(statements) == [statement.text for statement in self.statements]:
            return True  # what our own runner wrote; no need to split it
        return stored_digest(statements) == self.digest

    def place(self, index: int, offset: int = 0) -> Place:
        """The place of the character ``offset`` (from 0) of the statement ``index`` (from 0)."""
        return _place(self.path, self.text, self.statements[index].start + offset)


def stored_digest(statements: Sequence[str]) -> str:
    """The digest of the ``statements`` of a history row, whichever tool cut the file into them.

    The Supabase CLI keeps comments after the last statement as one more piece, its dashboard
    records a whole file as one piece; both give the digest of the file. A line that ends in CR LF
    counts like one that ends in LF, so a checkout on Windows is not an edit.
    """
    # the semicolon has a line of its own, because a piece may end in a line comment
    joined = "\n;\n".join(statements)
    try:
        pieces = [statement.text for statement in split_statements(joined)]
    except UnterminatedError:
        pieces = [joined]
    return _digest(pieces)


def _digest(pieces: Sequence[str]) -> str:
    canonical = json.dumps([piece.replace("\r\n", "\n") for piece in pieces])
    return hashlib.sha256(canonical.encode()).hexdigest()


@functools.lru_cache(maxsize=256)  # a run asks for the same files again under the lock
def _split(text: str) -> tuple[Statement, ...]:
    return split_statements(text)


def read_directory(path: Path) -> tuple[Migration, ...]:
    """The migrations of a directory in the order of their versions.

    Raises :class:`InputError` with every complaint about every file: C002 unreadable, C004 not
    UTF-8, R001 bad name, R005 a quote without an end, R008 transaction control, R009 two files
    with one version.
    """
    try:
        files = sorted(p for p in path.iterdir() if _is_migration(p))
    except OSError as exc:
        raise InputError(
            Diagnostic(
                "C002",
                f"the migration directory {path} cannot be read: {exc.strerror}",
                "name an existing directory, or make the first migration with `codered-spec new`",
            )
        ) from None
    migrations: list[Migration] = []
    complaints: list[Diagnostic] = []
    for file in files:
        read = _read_file(file)
        if isinstance(read, Diagnostic):
            complaints.append(read)
        else:
            migrations.append(read)
            complaints += forbidden(read)
    migrations.sort(key=lambda migration: (migration.version, migration.name))
    complaints += _same_versions(migrations)
    if complaints:
        raise InputError(*complaints)
    return tuple(migrations)


def forbidden(migration: Migration) -> tuple[Diagnostic, ...]:
    """What the text of a migration must not contain: R005 and R008."""
    try:
        statements = migration.statements
    except UnterminatedError as exc:
        return (
            Diagnostic(
                "R005",
                f"{migration.file_name}: this {exc.what} never ends",
                "close it; everything up to the end of the file is taken as part of it",
                _place(migration.path, migration.text, exc.start),
            ),
        )
    return tuple(
        Diagnostic("R008", f"{migration.file_name}: {message}", fix, migration.place(index, offset))
        for index, statement in enumerate(statements)
        for message, fix, offset in _forbidden_in(statement)
    )


def _forbidden_in(statement: Statement) -> Iterator[tuple[str, str, int]]:
    if statement.text[0] not in "-/" and "\\" not in statement.text:
        word = re.match(r"\w*", statement.text)
        if word and word.group().lower() not in _SUSPICIOUS:
            return
    solid = [t for t in tokenize(statement.text) if t.kind not in ("space", "comment")]
    first, second = (_word(solid, 0), _word(solid, 1))
    if first in _TRANSACTION_CONTROL or (first, second) in _TRANSACTION_CONTROL_PAIRS:
        shown = f"{first} {second}" if first in ("start", "prepare") else first
        yield (
            f"{shown.upper()} is transaction control",
            "remove it; every file runs in a transaction of its own, split the file to have two",
            solid[0].start,
        )
    if first == "copy" and any(_word(solid, i) in ("stdin", "stdout") for i in range(len(solid))):
        yield (
            "COPY with data in the file works in psql only",
            "write the rows as INSERT statements",
            solid[0].start,
        )
    for token in solid:
        if token.kind == "other" and token.text == "\\":
            yield (
                "a backslash outside of quotes is a command of psql, not SQL",
                "remove the line, or write what it does as SQL",
                token.start,
            )
            return


def _word(tokens: Sequence[Token], index: int) -> str:
    if index >= len(tokens) or tokens[index].kind != "word":
        return ""
    return tokens[index].text.lower()


def _is_migration(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() == ".sql" and not hidden and not path.is_dir()


def _read_file(file: Path) -> Migration | Diagnostic:
    name = FILE_NAME.fullmatch(file.name)
    if name is None:
        return Diagnostic(
            "R001",
            f"{file.name!r} is not the name of a migration",
            "call it YYYYMMDDHHMMSS_name.sql, with 14 digits and a name of a-z, 0-9 and _",
            Place(str(file), 1, 1),
        )
    try:
        raw = file.read_bytes()
    except OSError as exc:
        return Diagnostic(
            "C002",
            f"{file.name} cannot be read: {exc.strerror}",
            "give yourself read permission, or restore the file",
            Place(str(file), 1, 1),
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        return Diagnostic(
            "C004",
            f"{file.name} is not UTF-8 text: {exc.reason} {raw[exc.start]:#04x}",
            "save the file as UTF-8",
            _place(str(file), raw[: exc.start].decode("utf-8-sig", "replace"), exc.start),
        )
    if "\0" in text:  # so looks UTF-16 without a mark; Postgres would stop reading here
        return Diagnostic(
            "C004",
            f"{file.name} contains a NUL character",
            "save the file as UTF-8, without NUL",
            _place(str(file), text, text.index("\0")),
        )
    return Migration(name["version"], name["name"], str(file), text)


def _same_versions(migrations: Sequence[Migration]) -> Iterator[Diagnostic]:
    for earlier, later in itertools.pairwise(migrations):
        if earlier.version == later.version:
            yield Diagnostic(
                "R009",
                f"{earlier.file_name} and {later.file_name} have the same version",
                "rename the one that is not applied yet; its version must be the newest",
                Place(later.path, 1, 1),
            )


def _place(path: str, text: str, offset: int) -> Place:
    before = text[:offset]
    return Place(path, before.count("\n") + 1, len(before) - before.rfind("\n"))
