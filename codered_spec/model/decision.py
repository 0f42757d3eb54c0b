"""What decisions did to a schema, as data for reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effect:
    """One fact that a decision put into the schema; ``before`` is what the document states."""

    decision: str
    because: str
    address: str
    """The table, ``table.column`` or ``table.name`` that it speaks of."""
    fact: str
    before: str
    after: str
