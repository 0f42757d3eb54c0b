"""Spec data of any size: tables like CodeRed's, each pointing to the one before it."""

from __future__ import annotations

from typing import Any


def synthetic_spec(tables: int) -> dict[str, Any]:
    """Spec data with so many tables of twelve columns, checks, foreign keys and indexes."""
    return {
        "format": 1,
        "schema": "synthetic",
        "title": f"{tables} tables",
        "tables": {f"t{n}": _table(n) for n in range(tables)},
        "decisions": {
            "times": {
                "because": "Every table has them.",
                "columns": {
                    "*.created_at": {"default": "now()", "finite": True},
                    "*.* bigint": {"min": 0},
                },
            }
        },
    }


def _table(n: int) -> dict[str, Any]:
    link: dict[str, Any] = {"type": "uuid", "nullable": True}
    if n:
        link |= {"references": f"t{n - 1}.id", "on_delete": "set null"}
    return {
        "note": f"The table number {n}.",
        "columns": {
            "id": {"type": "uuid", "primary_key": True, "default": "gen_random_uuid()"},
            "parent_id": link,
            "slug": {"type": "text", "unique": True, "max_bytes": 200},
            "status": {"type": "text", "one_of": ["new", "open", "closed"]},
            "phase": {"type": "text", "known": ["plan", "do"], "format": "^[a-z_]+$"},
            "tokens": {"type": "bigint"},
            "calls": {"type": "integer", "min": 0, "default": 0},
            "cost": {"type": "numeric(12,6)", "min": 0},
            "tags": {"type": "text[]", "default": "{}", "flat": True, "max_bytes": 2600},
            "details": {"type": "jsonb", "nullable": True},
            "active": {"type": "boolean", "default": True},
            "created_at": {"type": "timestamptz", "note": "when the row was written"},
        },
        "indexes": {
            f"t{n}_parent_id_idx": {"columns": ["parent_id"]},
            f"t{n}_status_idx": {"columns": ["status", "created_at"], "descending": ["created_at"]},
            f"t{n}_tags_gin": {"columns": ["tags"], "method": "gin"},
        },
    }
