"""Quoting agrees with Postgres, and the lexer cuts a script where Postgres would."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from model_strategies import NASTY_NAMES, NASTY_TEXTS

from codered_spec.connection import Connection
from codered_spec.sql import (
    MAX_IDENTIFIER_BYTES,
    RESERVED,
    UnterminatedError,
    columns,
    identifier,
    literal,
    split_statements,
    tokenize,
)

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.text(CHARACTERS) | st.text("'\\\"$-/*;eE \n", max_size=12) | st.sampled_from(NASTY_TEXTS)
NAMES = (
    (st.text(CHARACTERS, min_size=1, max_size=20) | st.text("aA_1$\"'. ", min_size=1, max_size=8))
    | st.sampled_from(NASTY_NAMES)
    | st.sampled_from(sorted(RESERVED))
).filter(lambda name: len(name.encode()) <= MAX_IDENTIFIER_BYTES)

on_a_server = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def fetch(connection: Connection, query: str, *values: object) -> object:
    """The one value that a query returns; the text goes to the server as it is without values."""
    row = connection.execute(query.encode(), values or None).fetchone()
    assert row is not None
    return row[0]


# ---- quoting ----------------------------------------------------------------------------------


@on_a_server
@given(text=TEXTS)
def test_a_literal_means_its_text(connection: Connection, text: str) -> None:
    connection.execute("set standard_conforming_strings = on")
    assert fetch(connection, f"select {literal(text)}") == text


@pytest.mark.filterwarnings("ignore")
@on_a_server
@given(text=TEXTS)
def test_a_literal_means_its_text_without_standard_strings(
    connection: Connection, text: str
) -> None:
    connection.execute("set standard_conforming_strings = off")
    connection.execute("set escape_string_warning = off")
    assert fetch(connection, f"select {literal(text)}") == text


@on_a_server
@given(text=TEXTS)
def test_a_literal_is_what_quote_literal_writes(connection: Connection, text: str) -> None:
    assert literal(text) == fetch(connection, "select quote_literal(%s)", text)


@on_a_server
@given(name=NAMES)
def test_an_identifier_is_what_quote_ident_writes(connection: Connection, name: str) -> None:
    written = fetch(connection, "select quote_ident(%s)", name)
    quoted = '"' + name.replace('"', '""') + '"'
    # words that only another version of Postgres reserves may have needless quotes
    assert identifier(name) == written or (name in RESERVED and identifier(name) == quoted)


@on_a_server
@given(name=NAMES)
def test_an_identifier_parses_back_to_its_name(connection: Connection, name: str) -> None:
    result = connection.execute(f"select 1 as {identifier(name)}".encode())
    assert result.description is not None
    assert result.description[0].name == name


def test_every_word_that_the_server_reserves_is_known(connection: Connection) -> None:
    rows = connection.execute("select word from pg_get_keywords() where catcode <> 'U'")
    assert {row[0] for row in rows} <= RESERVED


def test_every_reserved_word_is_a_keyword_somewhere(connection: Connection) -> None:
    rows = connection.execute("select word from pg_get_keywords()")
    # the words of versions 15 to 18 that the newest one has not got any more
    assert RESERVED - {row[0] for row in rows} == frozenset()


def test_each_part_of_a_qualified_name_is_quoted_by_itself() -> None:
    assert identifier("codered", "user", "a.b") == 'codered."user"."a.b"'


def test_a_list_of_columns_is_quoted() -> None:
    assert columns(("id", "Order")) == '(id, "Order")'


# ---- tokens -----------------------------------------------------------------------------------

SCRIPT_PIECES = st.sampled_from(
    [
        "select", " ", "\n", "\r", ";", "(", ")", "'", "''", '"', "$$", "$a$", "$1", "--", "/*",
        "*/", "E'", "\\", "\\'", "u&'", "begin atomic", "case", "end", "+", "::", ":=", "1.5e3",
        "é", "\u00a0", "x", ".", "[", "]", ",", "@>", "-", "/", "*", "do",
    ]
)  # fmt: skip
SCRIPTS = st.text() | st.lists(SCRIPT_PIECES, max_size=30).map("".join)


def kinds(text: str) -> list[tuple[str, str]]:
    """Kind and text of each token but space."""
    return [(token.kind, token.text) for token in tokenize(text) if token.kind != "space"]


@settings(max_examples=500, deadline=None)
@given(text=SCRIPTS)
def test_tokens_join_back_to_the_text(text: str) -> None:
    try:
        tokens = tokenize(text)
    except UnterminatedError:
        return
    assert "".join(token.text for token in tokens) == text


@given(text=SCRIPTS)
def test_each_token_knows_its_offset(text: str) -> None:
    try:
        tokens = tokenize(text)
    except UnterminatedError:
        return
    assert all(text.startswith(token.text, token.start) for token in tokens)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/* a /* b */ c */", ("comment", "/* a /* b */ c */")),
        ("-- it's", ("comment", "-- it's")),
        ("'it''s; --'", ("string", "'it''s; --'")),
        ("E'it\\'s'", ("string", "E'it\\'s'")),
        ("e'\\\\'", ("string", "e'\\\\'")),
        ("'\\'", ("string", "'\\'")),
        ("U&'\\0041'", ("string", "U&'\\0041'")),
        ("$$a;'b$$", ("string", "$$a;'b$$")),
        ("$a$ $b$ $$ $a$", ("string", "$a$ $b$ $$ $a$")),
        ('"a""b;"', ("quoted", '"a""b;"')),
        ("a$b$c", ("word", "a$b$c")),
        ("é\u00a0", ("word", "é\u00a0")),
        ("$1", ("parameter", "$1")),
        ("1.5e-3", ("number", "1.5e-3")),
        ("<=>", ("operator", "<=>")),
        ("E'a'\n 'b\\'c'", ("string", "E'a'\n 'b\\'c'")),
    ],
)
def test_a_lexical_unit_is_one_token(text: str, expected: tuple[str, str]) -> None:
    assert kinds(text) == [expected]


@pytest.mark.parametrize("comment", ["--x", "/*x*/"])
def test_an_operator_ends_where_a_comment_starts(comment: str) -> None:
    assert kinds(f"1+{comment}") == [("number", "1"), ("operator", "+"), ("comment", comment)]


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_a_comment_ends_with_its_line(end: str) -> None:
    assert kinds(f"-- x{end}a") == [("comment", "-- x"), ("word", "a")]


@pytest.mark.parametrize(
    ("text", "what", "start"),
    [
        ("select 'a", "quote", 7),
        ('select "a', "quote", 7),
        ("  E'a\\'", "quote", 2),
        ("  $a$ $$", "dollar quote", 2),
        (" /* /* */", "comment", 1),
    ],
)
def test_what_never_ends_is_refused_with_its_offset(text: str, what: str, start: int) -> None:
    with pytest.raises(UnterminatedError) as caught:
        tokenize(text)
    assert (caught.value.what, caught.value.start) == (what, start)


# ---- statements -------------------------------------------------------------------------------


def split(text: str) -> list[str]:
    return [statement.text for statement in split_statements(text)]


@pytest.mark.parametrize(
    "statement",
    [
        "create rule r as on insert to t do also (delete from a; delete from b)",
        "create function f() returns int begin atomic select 1; select 2; end",
        "create function f() begin atomic select case when a then case b end end; select 3; end",
        "create function f() returns int BEGIN /* x */ ATOMIC select 1; END",
        "create function f() returns trigger as $$ begin; return new; end $$ language plpgsql",
        "select ';', E'\\';', \";\", $x$;$x$ /* ; */ -- ;",
        "do $$ begin null; end $$",
    ],
)
def test_a_semicolon_inside_does_not_split(statement: str) -> None:
    assert split(f"{statement}\n; select 1;") == [statement, "select 1"]


def test_a_transaction_block_is_several_statements() -> None:
    assert split("begin; select 1; end; select 2") == ["begin", "select 1", "end", "select 2"]


def test_a_closing_parenthesis_too_many_hides_no_semicolon() -> None:
    assert split("select 1); select 2; select (3)") == ["select 1)", "select 2", "select (3)"]


@pytest.mark.parametrize("text", ["", " \n", ";;", "-- nothing\n;", "/* nothing */", "; -- x"])
def test_a_text_without_a_command_has_no_statement(text: str) -> None:
    assert split(text) == []


def test_comments_before_a_statement_belong_to_it() -> None:
    assert split("-- why\nselect 1;") == ["-- why\nselect 1"]


def test_a_space_that_postgres_takes_for_a_letter_stays() -> None:
    assert split("select 1 as x\u00a0 ;") == ["select 1 as x\u00a0"]


def test_statements_know_their_line() -> None:
    found = split_statements("select 1;\n\n\nselect\n2; select 3;\n-- x\nselect 4")
    assert [statement.line for statement in found] == [1, 4, 5, 6]


@settings(max_examples=500, deadline=None)
@given(text=SCRIPTS)
@example(";;\n\nselect 1;\r\nselect 2")
def test_a_statement_occurs_at_its_start(text: str) -> None:
    try:
        found = split_statements(text)
    except UnterminatedError:
        return
    assert all(text.startswith(statement.text, statement.start) for statement in found)


@settings(max_examples=500, deadline=None)
@given(text=SCRIPTS)
def test_the_line_counts_the_breaks_before_the_start(text: str) -> None:
    try:
        found = split_statements(text)
    except UnterminatedError:
        return
    assert all(s.line == text.count("\n", 0, s.start) + 1 for s in found)


def test_a_script_of_two_megabytes_splits() -> None:
    line = "select 1, 'a;b', $$;$$ from t; -- c\n"
    assert len(split_statements(line * (2**21 // len(line)))) == 2**21 // len(line)


@pytest.mark.parametrize("unit", ["+/**/", "(;", "'a'\n", "E'a'\n"])
def test_a_script_that_never_splits_is_one_statement(unit: str) -> None:
    assert len(split_statements("select " + unit * 50_000)) == 1
