"""Diagnostics and the exception tree: every complaint has a stable code, a place and a cure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum


class Exit(IntEnum):
    """Process exit codes of the command line."""

    OK = 0
    FINDINGS = 1
    INPUT = 2
    DATABASE = 3


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a text file: ``line`` and ``column`` count from 1, columns in code points."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One complaint that a person can act on.

    ``code`` is a key of :data:`codered_spec.codes.CODES`; ``subject`` is the address of the model
    object it speaks of (``tasks.zone``), from which the caller may find the place; ``fix`` says how
    to mend the input.
    """

    code: str
    message: str
    fix: str
    place: Place | None = None
    subject: str | None = None
    warning: bool = False

    def at(self, place: Place | None) -> Diagnostic:
        """The same diagnostic with a place, unless it already has one."""
        return self if self.place is not None or place is None else replace(self, place=place)

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else f"{self.subject}: " if self.subject else ""
        kind = "warning" if self.warning else "error"
        return f"{where}{kind} {self.code}: {self.message}\n    fix: {self.fix}"


class CoderedError(Exception):
    """Base of every error this package raises on purpose; carries at least one diagnostic."""

    exit_code: Exit = Exit.INPUT

    def __init__(self, *diagnostics: Diagnostic) -> None:
        if not diagnostics:
            raise ValueError("an error without a diagnostic cannot be acted on")
        self.diagnostics = diagnostics
        super().__init__("\n".join(map(str, diagnostics)))


class InputError(CoderedError):
    """The document, the spec, a file or an argument cannot be used (exit code 2)."""

    exit_code = Exit.INPUT


class FindingsError(CoderedError):
    """The inputs are readable but disagree with each other (exit code 1)."""

    exit_code = Exit.FINDINGS


class DatabaseError(CoderedError):
    """The database cannot be reached, or refused what was asked (exit code 3)."""

    exit_code = Exit.DATABASE
