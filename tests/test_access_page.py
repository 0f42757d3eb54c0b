"""The reference page of roles says what the model says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from codered_spec import load_spec
from codered_spec.compiler import generate, load
from codered_spec.emit.access import with_access
from codered_spec.emit.access_page import PATH, emit_access_page
from codered_spec.emit.file import GENERATED
from codered_spec.emit.rollups import expanded
from codered_spec.model.schema import (
    ACTIONS,
    Column,
    ForeignKey,
    PrimaryKey,
    Right,
    Role,
    RowScope,
    Schema,
    Table,
    View,
)
from codered_spec.model.types import Text, Uuid

ROOT = Path(__file__).resolve().parents[1]
SPEC = load_spec(ROOT / "schema.yaml")


def page(schema: Schema) -> str:
    (file,) = emit_access_page(schema)
    assert file.path == PATH
    return file.text


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, its head first."""
    part = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[c.strip() for c in line.strip("|").split(" | ")] for line in (lines[0], *lines[2:])]


def rights(cell: str, table: str) -> set[Right]:
    """What a cell of the matrix says that a role may do."""
    found = set()
    for part in re.split("[;,] ", cell) if cell.strip("|") else ():
        action, _, without = part.partition(" without ")
        found.add(Right(action, table, tuple(re.findall("`([^`]+)`", without))))
    return found


def granted(role: Role, schema: Schema) -> set[Right]:
    """What the model says, all rights spelt out."""
    if not role.everything:
        return set(role.rights)
    every = {Right(action, table.name) for action in ACTIONS for table in schema.tables}
    return every | {Right("select", view.name) for view in schema.views}


def matrix(schema: Schema) -> dict[str, set[Right]]:
    """The rights of each role by the page."""
    head, *body = rows(page(schema), "Rights")
    names = [name.strip("`") for name in head[-len(schema.roles) :]]
    found: dict[str, set[Right]] = {name: set() for name in names}
    for cells in body:
        table = cells[0].split("`")[1]
        for name, cell in zip(names, cells[-len(names) :], strict=True):
            found[name] |= rights(cell, table)
    return found


def _table(name: str, *columns: Column, to: tuple[tuple[str, str], ...] = ()) -> Table:
    return Table(
        name,
        (Column("id", Uuid()), *columns),
        PrimaryKey(f"{name}_pkey", ("id",)),
        foreign_keys=tuple(
            ForeignKey(f"{name}_{column}_fkey", (column,), table, ("id",)) for column, table in to
        ),
    )


SHOPS = Schema(
    "market",
    (
        _table("shops"),
        _table("orders", Column("shop", Uuid()), to=(("shop", "shops"),)),
        _table("lines", Column("order", Uuid()), to=(("order", "orders"),)),
        _table("parts", Column("line", Uuid()), Column("a|b", Text()), to=(("line", "lines"),)),
        _table("notes", Column("shop", Uuid(), nullable=True), to=(("shop", "shops"),)),
        _table("colours"),
    ),
    views=(View("totals", "select 1"),),
    roles=(
        Role(
            "keeper",
            RowScope("shops", ("shops",)),
            (
                *(Right("select", name) for name in ("shops", "orders", "lines", "notes")),
                Right("select", "totals"),
                Right("insert", "parts", ("a|b",)),
            ),
        ),
        Role("auditor", None, (Right("select", "colours"),)),
    ),
)


@pytest.mark.parametrize("schema", [SPEC, SHOPS], ids=["codered", "shops"])
def test_every_table_and_view_has_a_row(schema: Schema) -> None:
    _, *body = rows(page(schema), "Rights")
    shown = [cells[0].split("`")[1] for cells in body]
    assert shown == [t.name for t in schema.tables] + [v.name for v in schema.views]


def test_the_matrix_says_what_the_roles_may() -> None:
    assert matrix(SPEC) == {role.name: granted(role, SPEC) for role in SPEC.roles}


def test_a_right_that_goes_goes_from_the_matrix() -> None:
    role = next(role for role in SPEC.roles if role.rights)
    less = replace(role, rights=role.rights[1:])
    roles = tuple(less if r is role else r for r in SPEC.roles)
    changed = replace(SPEC, roles=roles)
    assert matrix(changed)[role.name] == matrix(SPEC)[role.name] - {role.rights[0]}


def test_the_matrix_says_by_which_way_a_row_belongs_to_the_root() -> None:
    _, *body = rows(page(SHOPS), "Rights")
    assert {cells[0]: cells[1] for cells in body} == {
        "`shops`": "its own `id`",
        "`orders`": "`shop`",
        "`lines`": "`order` → `orders.shop`",
        "`parts`": "`line` → `lines.order` → `orders.shop`",
        "`notes`": "`shop`; rows without one can be read, not written",
        "`colours`": "none: all rows",
        "`totals` (view)": "the rights of the reader",
    }


def test_a_bar_in_a_name_does_not_end_a_cell() -> None:
    assert "| insert without `a\\|b` |" in page(SHOPS)


def test_a_schema_without_a_scope_has_no_way() -> None:
    head, *_ = rows(page(replace(SHOPS, roles=SHOPS.roles[1:])), "Rights")
    assert head == ["table or view", "`auditor`"]


def test_objects_of_the_tool_are_those_that_are_made() -> None:
    made = with_access(SPEC, expanded(SPEC))
    own = {table.name for table in SPEC.tables}
    _, *closed = rows(page(SPEC), "Closed tables")
    assert [c[0].strip("`") for c in closed] == [t.name for t in made.tables if t.name not in own]
    _, *functions = rows(page(SPEC), "Functions")
    assert [(c[0].strip("`"), c[2], re.findall("`([^`]+)`", c[3])) for c in functions] == [
        (f.name, "the owner" if f.security_definer else "the caller", list(f.execute))
        for f in sorted(made.functions, key=lambda f: f.name)
    ]


def test_the_page_is_generated_and_the_same_each_time() -> None:
    spec = load(str(ROOT / "schema.yaml"))
    texts = [file.text for file in generate(spec) if file.path == PATH]
    assert texts == [page(spec.schema)]
    assert texts[0].startswith(f"<!-- {GENERATED} -->\n")
    assert texts[0] == (ROOT / PATH).read_text(encoding="utf-8")


def test_a_spec_without_roles_has_no_page(tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(
        "format: 1\nschema: shop\ntables:\n  t:\n    columns:\n      id: {type: uuid,"
        " primary_key: true}\n"
    )
    files = generate(load(str(path)))
    assert "docs/reference/tables.md" in {file.path for file in files}
    assert PATH not in {file.path for file in files}
