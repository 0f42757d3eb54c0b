"""Migration files: names, order, forbidden content, digests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from codered_spec.errors import InputError
from codered_spec.migrate.directory import Migration, read_directory, stored_digest
from codered_spec.sql import UnterminatedError

NAME = "20260101000000_one.sql"


def migration(text: str) -> Migration:
    return Migration("20260101000000", "one", NAME, text)


def written(folder: Path, *files: tuple[str, str]) -> Path:
    for name, text in files:
        (folder / name).write_bytes(text.encode())
    return folder


def complaints(folder: Path) -> list[str]:
    """Code and place of every diagnostic, with the path shortened to the file name."""
    with pytest.raises(InputError) as caught:
        read_directory(folder)
    return [
        f"{d.code} {d.place.path.rpartition('/')[2]}:{d.place.line}:{d.place.column}"
        if d.place
        else d.code
        for d in caught.value.diagnostics
    ]


# -- names and order ------------------------------------------------------------------------------


def test_files_come_in_the_order_of_their_versions(tmp_path: Path) -> None:
    written(tmp_path, ("20260102000000_a.sql", ""), ("20260101000000_b.sql", ""))
    assert [m.file_name for m in read_directory(tmp_path)] == [
        "20260101000000_b.sql",
        "20260102000000_a.sql",
    ]


def test_an_empty_directory_has_no_migrations(tmp_path: Path) -> None:
    assert read_directory(tmp_path) == ()


@pytest.mark.parametrize("name", ["README.md", ".hidden.sql", "notes.sql.bak"])
def test_other_files_are_ignored(tmp_path: Path, name: str) -> None:
    assert read_directory(written(tmp_path, (name, "commit;"))) == ()


def test_a_folder_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "20260101000000_folder.sql").mkdir()
    assert read_directory(tmp_path) == ()


@pytest.mark.parametrize(
    "name",
    [
        "init.sql",
        "2026_one.sql",
        "202601010000000_one.sql",
        "20260101000000.sql",
        "20260101000000_One.sql",
        "20260101000000_one-two.sql",
        "20260101000000_one.SQL",
        "٢٠٢٦٠١٠١٠٠٠٠٠٠_one.sql",
    ],
)
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    assert complaints(written(tmp_path, (name, ""))) == [f"R001 {name}:1:1"]


def test_two_files_with_one_version_are_refused(tmp_path: Path) -> None:
    written(tmp_path, (NAME, ""), ("20260101000000_two.sql", ""))
    assert complaints(tmp_path) == ["R009 20260101000000_two.sql:1:1"]


def test_a_missing_directory_is_a_complaint(tmp_path: Path) -> None:
    assert complaints(tmp_path / "gone") == ["C002"]


def test_an_unreadable_file_is_a_complaint(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(tmp_path / "gone")
    assert complaints(tmp_path) == [f"C002 {NAME}:1:1"]


def test_every_file_is_complained_about_at_once(tmp_path: Path) -> None:
    written(tmp_path, ("a.sql", ""), ("b.sql", ""), (NAME, "commit"))
    assert complaints(tmp_path) == [f"R008 {NAME}:1:1", "R001 a.sql:1:1", "R001 b.sql:1:1"]


# -- text -----------------------------------------------------------------------------------------


def test_text_that_is_not_utf8_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes("select 1;\nselect 'é'".encode("latin-1"))
    assert complaints(tmp_path) == [f"C004 {NAME}:2:9"]


def test_a_nul_character_is_refused_with_its_place(tmp_path: Path) -> None:
    assert complaints(written(tmp_path, (NAME, "select 1;\n\0"))) == [f"C004 {NAME}:2:1"]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert read_directory(written(tmp_path, (NAME, "\ufeffselect 1")))[0].text == "select 1"


def test_line_ends_are_kept(tmp_path: Path) -> None:
    assert read_directory(written(tmp_path, (NAME, "select 1\r\n")))[0].text == "select 1\r\n"


@pytest.mark.parametrize("text", ["select 'x", "do $$ begin", "/* /* */", 'select "x'])
def test_a_quote_without_an_end_is_refused(tmp_path: Path, text: str) -> None:
    column = max(text.find(c) for c in ("'x", "$$", "/* /*", '"x')) + 1
    assert complaints(written(tmp_path, (NAME, "\n" + text))) == [f"R005 {NAME}:2:{column}"]


# -- what a file must not contain -----------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN",
        "begin isolation level serializable",
        "Commit",
        "END",
        "rollback",
        "rollback to savepoint a",
        "abort",
        "savepoint a",
        "release savepoint a",
        "start transaction",
        "start /* x */ transaction",
        "prepare transaction 'x'",
        "commit prepared 'x'",
        "copy t from stdin",
        "\\set x 1",
    ],
)
def test_transaction_control_is_refused_with_its_place(tmp_path: Path, statement: str) -> None:
    written(tmp_path, (NAME, f"select 1;\n  /* é */ {statement};\n"))
    assert complaints(tmp_path) == [f"R008 {NAME}:2:11"]


@pytest.mark.parametrize(
    "statement",
    [
        "do $$ begin null; end $$",
        "create function f() returns int begin atomic select 1; select 2; end",
        "create table begin_end (id int)",
        "select 'commit; rollback'",
        "comment on table t is '\\set'; select \"\\x\"",
        "prepare a as select 1",
        "copy t to '/dev/null'",
        "-- commit;\nselect 1",
        "",
    ],
)
def test_what_only_resembles_transaction_control_is_allowed(tmp_path: Path, statement: str) -> None:
    assert len(read_directory(written(tmp_path, (NAME, statement)))) == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("select 1; /* select 2 */; select 2", "1:27"),
        ("create function f() returns int begin atomic select 2; end; select 2", "1:61"),
        ("select 1;\n-- note\nselect 2", "2:1"),
        ("select 'é'; select 2", "1:13"),
    ],
)
def test_the_place_of_a_statement_is_exact(text: str, place: str) -> None:
    assert str(migration(text).place(1)) == f"{NAME}:{place}"


# -- digest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "stored"),
    [
        ("select 1;\nselect 2;\n", ["select 1", "select 2"]),
        ("select 1;\n-- the end\n", ["select 1", "-- the end"]),
        ("select 1;\n-- note\nselect 2;", ["select 1", "-- note\nselect 2"]),
        ("select 1 -- one\n;\nselect 2", ["select 1 -- one", "select 2"]),
        ("select 1;\nselect 2;\n", ["select 1;\nselect 2;\n"]),
        ("select 1;;\n ; select 2", ["select 1", "select 2"]),
        ("select 1;\r\nselect\r\n2;", ["select 1", "select\n2"]),
        ("/* only a comment */", []),
        ("do $$ begin perform 1; end $$;", ["do $$ begin perform 1; end $$"]),
    ],
)
def test_the_stored_statements_have_the_digest_of_the_file(file: str, stored: list[str]) -> None:
    assert stored_digest(stored) == migration(file).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select 1", "select 2"),
        ("select 'a b'", "select 'a  b'"),
        ("select /* a */ 1", "select /* b */ 1"),
        ("select 1; select 2", "select 2; select 1"),
        ("select 1; select 2", "select 1 select 2"),
        ("select 1", ""),
        ("select '1;2'", "select 1;2"),
    ],
)
def test_another_text_has_another_digest(one: str, other: str) -> None:
    assert migration(one).digest != migration(other).digest


LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.text(LETTERS, max_size=12)
PIECES = st.one_of(
    st.from_regex(r"[a-z%]{1,8}", fullmatch=True),
    TEXT.map(lambda t: "'" + t.replace("'", "''") + "'"),
    TEXT.map(lambda t: '"' + t.replace('"', '""') + '"'),
    TEXT.filter(lambda t: "$" not in t).map(lambda t: f"$q$ {t} $q$"),
    st.text(LETTERS, max_size=8).filter(lambda t: not set(t) & set("*/")).map("/* {} */".format),
)
STATEMENT = st.lists(PIECES, min_size=1, max_size=5).map(" ".join)
GAPS = st.sampled_from(["", "\n", " ", "\r\n\t", "\n-- ; note 'x\n", "/* a; /* b */ */"])


@given(st.lists(st.tuples(GAPS, st.one_of(STATEMENT, st.just("")), GAPS), max_size=6))
def test_splitting_storing_and_joining_keeps_the_digest(parts: list[tuple[str, str, str]]) -> None:
    pieces = ["".join(part) for part in parts]  # what stands between two semicolons
    file = migration(";".join(pieces))
    stored_by_the_cli = [piece.strip() for piece in pieces if piece.strip()]
    assert stored_digest([s.text for s in file.statements]) == file.digest
    assert stored_digest(stored_by_the_cli) == file.digest


@given(statements=st.lists(STATEMENT, max_size=6), data=st.data())
def test_changing_a_character_of_a_statement_changes_the_digest(
    statements: list[str], data: st.DataObject
) -> None:
    text = ";\n".join(statements)
    solid = [
        start + i
        for start, s in starts(migration(text))
        for i, c in enumerate(s)
        if not c.isspace()
    ]
    assume(solid)
    at = data.draw(st.sampled_from(solid))
    new = data.draw(LETTERS.filter(lambda c: c != text[at] and not c.isspace()))
    try:
        changed = migration(text[:at] + new + text[at + 1 :]).digest
    except UnterminatedError:
        return  # refused when the file is read
    assert changed != migration(text).digest


def starts(file: Migration) -> list[tuple[int, str]]:
    """Offset and text of every statement."""
    lines = file.text.split("\n")
    found = []
    for index, statement in enumerate(file.statements):
        place = file.place(index)
        offset = sum(len(line) + 1 for line in lines[: place.line - 1]) + place.column - 1
        assert file.text.startswith(statement.text, offset)
        found.append((offset, statement.text))
    return found
