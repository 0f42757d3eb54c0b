"""YAML is read where everybody reads it alike, refused with a place where not, written one way."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codered_spec.codes import CODES
from codered_spec.errors import Diagnostic, InputError, Place
from codered_spec.sources.spec.yaml_text import (
    MAX_DEPTH,
    Data,
    comment_places,
    read_yaml,
    write_yaml,
)


def refusals(text: str) -> tuple[Diagnostic, ...]:
    """Every complaint about the text, which is not accepted."""
    with pytest.raises(InputError) as caught:
        read_yaml(text, "x.yaml")
    assert all(d.code in CODES and d.fix and d.place for d in caught.value.diagnostics)
    return caught.value.diagnostics


def refusal(text: str) -> tuple[str, int, int]:
    """Code, line and column of the only complaint about the text."""
    (found,) = refusals(text)
    assert found.place is not None
    return found.code, found.place.line, found.place.column


# ---- what plain scalars mean ------------------------------------------------------------------

AMBIGUOUS = (
    "no No NO on On ON off Off OFF yes Yes YES True TRUE False FALSE ~ null Null NULL"
    " 2026-01-01 2026-01-01T10:00:00Z 1:30 190:20:30 1:30.5 1_000 -1_0 0x1F 0b101 0o17 017 08 +12"
    " .inf -.inf .Inf +.INF .nan .NaN 1. .5 +.5 1e3 1E3 1e+3 1.5e3 1.5e+3 -2e-3 .5e1 1_0.5 ="
).split()


@pytest.mark.parametrize("word", AMBIGUOUS)
def test_a_value_that_only_looks_like_text_or_a_number_is_refused_unquoted(word: str) -> None:
    assert refusal(f"a: 1\nkey: {word}\n") == ("S003", 2, 6)


@pytest.mark.parametrize("word", AMBIGUOUS)
def test_the_same_value_in_quotes_is_text(word: str) -> None:
    assert read_yaml(f"key: '{word}'\n", "x").value == {"key": word}


@pytest.mark.parametrize("word", AMBIGUOUS)
def test_the_writer_puts_it_in_quotes(word: str) -> None:
    assert read_yaml(write_yaml({"key": word}), "x").value == {"key": word}


@pytest.mark.parametrize("word", ["no", "on", "~", "1", "2026-01-01", "1e3", "true", "0.5"])
def test_a_key_that_is_not_text_is_refused_unquoted(word: str) -> None:
    assert refusal(f"a: 1\n{word}: 2\n") == ("S003", 2, 1)


def test_a_missing_value_is_refused_where_it_should_be() -> None:
    assert refusal("a: 1\nkey:\n") == ("S003", 2, 5)


def test_every_ambiguous_value_is_found_in_one_run() -> None:
    found = refusals("a: no\nb: [1, on, ~]\nc: 0x1\n")
    assert [d.place for d in found] == [
        Place("x.yaml", 1, 4),
        Place("x.yaml", 2, 8),
        Place("x.yaml", 2, 12),
        Place("x.yaml", 3, 4),
    ]


def test_complaints_stop_after_fifty() -> None:
    assert len(refusals("\n".join(f"k{i}: no" for i in range(500)))) == 50


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("0", 0),
        ("-1", -1),
        ("384", 384),
        ("9" * 80, int("9" * 80)),
        ("0.10", Decimal("0.10")),
        ("-1.5", Decimal("-1.5")),
        ("true", True),
        ("false", False),
        ("a", "a"),
        ("now()", "now()"),
        ("numeric(10,2)", "numeric(10,2)"),
        ("gpt-5.1", "gpt-5.1"),
        ("1.2.3", "1.2.3"),
        ("4o", "4o"),
        ("1e", "1e"),
        ("y", "y"),
        ("N", "N"),
        ("no way", "no way"),
        ("nope", "nope"),
        ("^[a-z]$", "^[a-z]$"),
        ("http://x/#y", "http://x/#y"),
    ],
)
def test_what_everybody_reads_alike_is_accepted(word: str, value: object) -> None:
    found = read_yaml(f"key: {word}\n", "x").value
    assert isinstance(found, dict)
    assert (type(found["key"]), found["key"]) == (type(value), value)


def test_a_decimal_keeps_its_digits() -> None:
    found = read_yaml("key: 0.10\n", "x").value
    assert isinstance(found, dict)
    assert str(found["key"]) == "0.10"


def test_a_number_of_a_million_digits_is_refused_at_once() -> None:
    assert refusal("key: " + "9" * 1_000_000) == ("S003", 1, 6)


# ---- what is no part of the format ------------------------------------------------------------


def test_a_key_written_twice_is_refused_at_the_second_place() -> None:
    (found,) = refusals("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert (found.code, found.place) == ("S002", Place("x.yaml", 4, 3))
    assert "first in line 2" in found.message


def test_a_key_written_twice_in_different_quotes_is_refused() -> None:
    assert refusal("a: 1\n'a': 2\n") == ("S002", 2, 1)


def test_a_key_written_twice_in_a_flow_mapping_is_refused() -> None:
    assert refusal("x: {a: 1, a: 2}") == ("S002", 1, 11)


@pytest.mark.parametrize("text", ["x: &a 1", "x: &a {b: 1}", "x: &a [1]"])
def test_an_anchor_is_refused(text: str) -> None:
    assert refusal(text) == ("S004", 1, 4)


def test_an_alias_is_refused() -> None:
    assert [d.code for d in refusals("x: &a 1\nz: *a\n")] == ["S004", "S004"]


def test_an_alias_as_key_is_refused() -> None:
    assert {d.code for d in refusals("x: &a b\n*a : 1\n")} == {"S004", "S007"}


def test_a_billion_laughs_are_refused_in_no_time() -> None:
    lines = ["a0: &a0 lol"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    started = time.monotonic()
    assert {d.code for d in refusals("\n".join(lines))} == {"S004"}
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("tag", ["!!str", "!!python/object/apply:os.system", "!mine", "!!binary"])
def test_a_tag_is_refused(tag: str) -> None:
    assert refusal(f"x: {tag} 'ls'") == ("S004", 1, 4)


def test_a_merge_key_is_refused() -> None:
    assert refusal("x: {a: 1}\n<<: {b: 2}\n") == ("S003", 2, 1)


def test_a_second_document_is_refused_where_it_starts() -> None:
    assert refusal("a: 1\n---\na: 2\n") == ("S004", 2, 1)


@pytest.mark.parametrize("key", ["[a]", "{a: 1}"])
def test_a_key_that_is_a_collection_is_refused(key: str) -> None:
    assert refusal(f"? {key}\n: 1\n")[0] == "S007"


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n# nothing"])
def test_an_empty_file_is_refused(text: str) -> None:
    assert {d.code for d in refusals(text)} <= {"S001", "S003"}


# ---- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1, 2\n", 2),
        ("a: 'open\n", 2),
        ('a: "open\n', 2),
        ("a: {b: 1\nc: 2\n", 2),
        ("a: 1\n b: 2\n", 2),
        ("a: 1\nb\n", 3),
        ("a: b: c\n", 1),
        ("a:\n\t- 1\n", 2),
        ("a: @x\n", 1),
        ("a: %x\n", 1),
        ('a: "\\q"\n', 1),
        ("- 1\na: 2\n", 2),
        ("%YAML 3.0\n---\na: 1\n", 1),
    ],
)
def test_broken_syntax_is_refused_with_its_line(text: str, line: int) -> None:
    assert refusal(text)[:2] == ("S001", line)


@pytest.mark.parametrize("sign", ["\0", "\x07", "\x1b", "\x7f", "\ufffe", "\ud800"])
def test_a_control_character_is_refused_with_its_place(sign: str) -> None:
    assert refusal(f"a: 1\nbc: x{sign}y\n") == ("S001", 2, 6)


def test_a_tab_cannot_indent() -> None:
    assert refusal("a:\n\tb: 1\n")[:2] == ("S001", 2)


def test_a_tab_may_stand_before_a_value() -> None:
    assert read_yaml("a:\t1\n", "x").value == {"a": 1}


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems_are_accepted(end: str) -> None:
    assert read_yaml(f"a: 1{end}b:{end}  c: x{end}", "x").value == {"a": 1, "b": {"c": "x"}}


def test_a_byte_order_mark_is_skipped() -> None:
    assert read_yaml("\ufeffa: 1\n", "x").value == {"a": 1}


def test_places_count_code_points() -> None:
    assert refusal("'🚀é': no\n") == ("S003", 1, 7)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused(opening: str) -> None:
    assert refusal(opening * (MAX_DEPTH + 1))[0] == "S005"


@pytest.mark.parametrize("opening", ["[", "{", "- ", "{a: [", "? "])
def test_a_hundred_thousand_open_brackets_do_not_crash(opening: str) -> None:
    started = time.monotonic()
    assert refusal(opening * 100_000)[0] in ("S001", "S005")
    assert time.monotonic() - started < 2


def test_the_deepest_allowed_nesting_is_read() -> None:
    depth = MAX_DEPTH - 1
    assert read_yaml("a: " + "[" * depth + "]" * depth, "x").value is not None


def test_five_megabytes_are_read_in_linear_time() -> None:
    lines = [f"key{i}: {{a: 'text {'of some length ' * 15}', b: [1]}}\n" for i in range(20_000)]
    assert sum(map(len, lines)) > 5_000_000
    started = time.monotonic()
    read_yaml("".join(lines[:2000]), "x")
    middle = time.monotonic()
    value = read_yaml("".join(lines), "x").value
    assert isinstance(value, dict)
    assert len(value) == 20_000
    assert time.monotonic() - middle < 40 * (middle - started)


def test_a_long_line_of_five_megabytes_is_read() -> None:
    assert read_yaml("a: " + "x" * 5_000_000, "x").value == {"a": "x" * 5_000_000}


def test_a_file_over_the_limit_is_refused_unread() -> None:
    assert refusal("x" * (32 * 1024 * 1024 + 1)) == ("S001", 1, 1)


def well_refused(text: str) -> bool:
    """Whether the text is refused; a refusal has only codes of the family and places."""
    try:
        read_yaml(text, "x")
    except InputError as error:
        found = error.diagnostics
    else:
        return False
    assert all(d.code.startswith("S0") and d.place for d in found)
    return True


@given(cut=st.integers(0, 200))
def test_a_truncated_file_is_read_or_refused(cut: int) -> None:
    text = "# x\na: {b: 'c d', \"e\": [1, 2.5]}\nf: >-\n  long\n  text\ng: |\n  lines\n"[:cut]
    well_refused(text)


@settings(max_examples=300)
@given(text=st.text(max_size=30) | st.text("ab:-?[]{},#&*!|>'\"%@` \t\n\r~0.", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    if not well_refused(text):
        comment_places(text, "x")


# ---- comments ---------------------------------------------------------------------------------


def comments(text: str) -> list[tuple[int, int]]:
    """Line and column of every comment in the text."""
    return [(p.line, p.column) for p in comment_places(text, "x.yaml")]


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n",
        "a: 'x # y'\n",
        'a: "x # y"\n',
        'a: "x\n  # y"\n',
        "a: 'x\n\n  # y'\n",
        "a: http://x/#y\n",
        "a: x#y\n",
        "a#b: c\n",
        "'# a': b\n",
        "a: '#'\n",
        "a: ['#', \"#\", x#]\n",
        "a: >-\n  long # text\n  # more\n",
        "a: |\n  # text\n\n  # more\nb: 1\n",
        "# yaml-language-server: $schema=x.json\na: 1\n",
        "# yaml-language-server: $schema=x.json\r\na: 1\r\n",
    ],
)
def test_what_is_no_comment_is_not_taken_for_one(text: str) -> None:
    assert comments(text) == []


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a: 1 # x\n", [(1, 6)]),
        ("a: 1\n# x\n", [(2, 1)]),
        ("a: 1\n  # x", [(2, 3)]),
        ("a: 1\n#\nb: 2", [(2, 1)]),
        ("a: 1\t# x\n", [(1, 6)]),
        ("a: # x\n  b: 1\n", [(1, 4)]),
        ("a: [1, # x\n  2]\n", [(1, 8)]),
        ("a: 'x' # y # z\n", [(1, 8)]),
        ("a: '#' # y\n", [(1, 8)]),
        ("a: > # x\n  text\n", [(1, 6)]),
        ("a: | # x\n  # text\n# y\nb: 1\n", [(1, 6), (3, 1)]),
        ("a: >-\n  text\n\n# x\n", [(4, 1)]),
        ("# x\na: 1\n", [(1, 1)]),
        ("# yaml-language-server: y\n# x\na: 1\n", [(2, 1)]),
        ("a: 1\n# yaml-language-server: y\n", [(2, 1)]),
        ("'é🚀': 1 # x\n", [(1, 9)]),
        ("a: 1 # x\r\nb: 2 # y\r\n", [(1, 6), (2, 6)]),
    ],
)
def test_a_comment_is_found_where_it_is(text: str, places: list[tuple[int, int]]) -> None:
    read_yaml(text, "x")
    assert comments(text) == places


def test_many_comments_are_found_in_linear_time() -> None:
    text = "".join(f"k{i}: 'value # no comment' # x\n" for i in range(50_000))
    started = time.monotonic()
    assert len(comments(text)) == 50_000
    assert time.monotonic() - started < 10


# ---- writing ----------------------------------------------------------------------------------

NASTY = (
    "no", "Y", "n", "~", "", "1_0", "1e3", "08", "0o7", ".5e3", "1:30", "2026-01-01", "=", "<<",
    " a", "a ", "  ", "a\n", "\na", "a\n\nb", "a\n b\n", "\n", "a\tb", "\t", "\r", "a\rb", "a\r\nb",
    "a\x85b", "\x85", "a\u2028b", "a\u2029", "\u2028 a b", "\ufeff", "\ufffe", "\x00", "\x07",
    "\x7f", "\U0001f680", "\U0001f680 " * 40, "\U0010ffff", "x" * 300, "é" * 200, "a: b", "a:",
    ":a", "a #b", "#", '"', "'", "'\"", "\\", "{}", "[]", "a {}", "{a: b}", "...", "---", "--- a",
    "- a", "? a", "%a", "@", "`", "&a", "*a", "!a", "|", ">", "word " * 40, "word  " * 40,
    "two words " * 20 + "end", "  " + "w " * 60, ("word " * 20 + "\n") * 3, "a" * 128, "a" * 129,
)  # fmt: skip
STRINGS = (
    st.sampled_from(NASTY)
    | st.text(st.characters(codec="utf-8"))
    | st.lists(st.sampled_from([*NASTY, "word", "and", "longer"]), max_size=30).map(" ".join)
)
SCALARS = (
    STRINGS
    | st.integers(-(10**78), 10**78)
    | st.booleans()
    | st.decimals(-(10**20), 10**20, places=3)
)


def _containers(children: st.SearchStrategy[Data]) -> st.SearchStrategy[Data]:
    return st.one_of(st.lists(children, max_size=4), st.dictionaries(STRINGS, children, max_size=4))


DATA: st.SearchStrategy[Data] = st.recursive(SCALARS, _containers, max_leaves=12)
WHOLE = st.dictionaries(STRINGS, DATA, min_size=1, max_size=5)
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
some = settings(many, max_examples=50)


def identical(left: object, right: object) -> bool:
    """Equality that sees the types of numbers and the order of keys."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(identical(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(identical, left, right))
    return left == right


@many
@given(data=WHOLE)
@example(data={"a": "x\x85y"})
@example(data={"a {} b": {"c": {"d": 1}}})
@example(data={"k" * 200: {"c": "w" * 200}})
def test_what_is_written_is_read_back_as_it_was(data: dict[str, Data]) -> None:
    assert identical(read_yaml(write_yaml(data), "x").value, data)


@many
@given(data=WHOLE)
def test_writing_what_was_read_gives_the_same_bytes(data: dict[str, Data]) -> None:
    text = write_yaml(data)
    value = read_yaml(text, "x").value
    assert isinstance(value, dict)
    assert write_yaml(value) == text


@some
@given(data=WHOLE)
def test_what_is_written_has_no_comment(data: dict[str, Data]) -> None:
    assert comments(write_yaml(data)) == []


@some
@given(data=WHOLE)
def test_what_is_written_is_utf8_of_printable_characters(data: dict[str, Data]) -> None:
    text = write_yaml(data)
    assert text.encode().decode() == text
    assert all(c == "\n" or c.isprintable() or ord(c) >= 0xA0 for c in text)


@pytest.mark.parametrize("word", NASTY)
def test_a_nasty_text_survives_as_value_and_as_key(word: str) -> None:
    data: dict[str, Data] = {"a": word, "b": [word], "c": {word: {word: word}}}
    assert read_yaml(write_yaml(data), "x").value == data


def test_the_order_of_keys_is_kept() -> None:
    assert list(read_yaml(write_yaml({"b": 1, "a": 2, "c": 3}), "x").children) == ["b", "a", "c"]


def test_a_place_leads_to_the_deepest_known_step() -> None:
    root = read_yaml("a:\n  b: [x, z]\n", "p")
    assert root.at(("a", "b", 1)) == Place("p", 2, 10)
    assert root.at(("a", "b", 7, "z")) == Place("p", 2, 3)
    assert root.at(("q",)) == Place("p", 1, 1)
