"""Values written as code: defaults, and lists in the array notation ``{'A','B'}``."""

from __future__ import annotations

from typing import Final

from codered_spec import sql
from codered_spec.model.schema import Default, Literal, Now, RandomUuid
from codered_spec.sources.document.pieces import Piece
from codered_spec.sources.document.text import Complaint, shown

_FUNCTIONS: Final[dict[str, Default]] = {"gen_random_uuid()": RandomUuid(), "now()": Now()}


def _tokens(text: str) -> list[sql.Token]:
    try:
        return [token for token in sql.tokenize(text) if token.kind != "space"]
    except sql.UnterminatedError:
        return []


def _string(token: sql.Token) -> str | None:
    """The content of a plain ``'…'`` constant."""
    if token.kind != "string" or not token.text.startswith("'"):
        return None
    return token.text[1:-1].replace("''", "'")


def read_default(code: Piece) -> Default:
    """The default that a code span states; D005 where it is neither a constant nor a known call."""
    text = code.text.strip()
    if text.lower() in _FUNCTIONS:
        return _FUNCTIONS[text.lower()]
    tokens = _tokens(text)
    if len(tokens) == 1:
        (token,) = tokens
        content = _string(token)
        if content is not None:
            return Literal(content)
        if token.text.lower() in ("true", "false"):
            return Literal(token.text.lower())
        if token.kind == "number":
            return Literal(text)
        if token.kind == "word" and token.text.lower() not in sql.RESERVED:
            return Literal(text)
    if len(tokens) == 2 and tokens[0].text in "+-" and tokens[1].kind == "number":
        return Literal(tokens[0].text.replace("+", "") + tokens[1].text)
    if text == "{}":
        return Literal(text)
    raise Complaint(
        "D005",
        f"`{shown(text)}` is not a default that a column can have here",
        "write `gen_random_uuid()`, `now()`, a number, `true`, `false` or a 'quoted' constant",
        code.place,
    )


def is_braced(text: str) -> bool:
    """Whether the text looks like ``{…}``."""
    return text.startswith("{") and text.endswith("}")


def read_braced(code: Piece) -> tuple[str, ...]:
    """The values of ``{'A','B'}`` or ``{A,B}``; D007 where it is something else."""
    tokens = _tokens(code.text[1:-1])
    values: list[str] = []
    for position, token in enumerate(tokens):
        if position % 2:
            if token.text != ",":
                break
            continue
        content = token.text if token.kind == "word" else _string(token)
        if content is None:
            break
        values.append(content)
    else:
        if len(tokens) % 2:
            return tuple(values)
    raise Complaint(
        "D007",
        f"`{shown(code.text)}` is not a list of values",
        "write `{'A','B'}`: values in single quotes, commas between them",
        code.place,
    )
