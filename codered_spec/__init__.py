"""One typed model of a Postgres schema, and everything that is made from it and must agree."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost more than the rest
if TYPE_CHECKING:
    from pathlib import Path

    from codered_spec.model.schema import Schema

__version__ = "0.1.0"
__all__ = ["__version__", "load_spec"]


def load_spec(path: str | Path) -> Schema:
    """The model of a spec file, every decision applied and every semantic rule checked.

    Raises InputError with a place for every complaint, and OSError never: a file that cannot be
    read is an InputError too.
    """
    from codered_spec.compiler import load

    return load(str(path)).schema
