"""Blocks of Markdown, and the sections that headings and rules cut them into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from codered_spec.sources.document.pieces import Piece, prose, read_pieces
from codered_spec.sources.document.text import Text

if TYPE_CHECKING:
    from markdown_it.token import Token

# What a schema document has no use for is switched off and stays as it is written: links keep
# their brackets, and a link definition is a paragraph instead of vanishing without a token.
_UNUSED_RULES: Final = ("reference", "link", "image", "autolink", "html_inline")


@dataclass(frozen=True, slots=True)
class Block:
    """A block with its tokens; ``kind`` is the token type without ``_open``."""

    kind: str
    tokens: Sequence[Token]

    @property
    def row(self) -> int:
        """The first line, from 0."""
        position = self.tokens[0].map
        return position[0] if position else 0

    @property
    def level(self) -> int:
        """1 to 6 for a heading."""
        return int(self.tokens[0].tag[1:])

    def inline(self) -> Token:
        """The content of a heading or paragraph."""
        return self.tokens[1]

    def children(self) -> list[Block]:
        """The blocks inside of a list or list item."""
        return group(self.tokens[1:-1])

    def is_strong(self) -> bool:
        """Whether a paragraph is set in bold, apart from a colon behind it."""
        children = [c for c in self.inline().children or () if c.content or c.type != "text"]
        strong = [i for i, child in enumerate(children) if child.type == "strong_close"]
        return (
            len(strong) == 1
            and children[0].type == "strong_open"
            and "".join(c.content for c in children[strong[0] + 1 :]).strip() in ("", ":")
        )

    def bold_runs(self) -> list[str]:
        """The plain text of every bold run of a paragraph."""
        runs: list[list[str]] = []
        depth = 0
        for child in self.inline().children or ():
            if child.type == "strong_open":
                runs.append([])
                depth += 1
            elif child.type == "strong_close":
                depth -= 1
            elif depth:
                runs[-1].append(child.content or " ")
        return [" ".join("".join(run).split()) for run in runs]


@dataclass(slots=True)
class Section:
    """Blocks under one heading, or behind a rule (then without a heading)."""

    heading: Block | None
    blocks: list[Block]


def parse(text: Text) -> list[Token]:
    """The tokens of the document, of CommonMark without links, images and inline HTML."""
    from markdown_it import MarkdownIt  # 60 ms, which commands without a document need not wait for

    return MarkdownIt("commonmark").disable(list(_UNUSED_RULES)).parse(text.content)


def group(tokens: Sequence[Token]) -> list[Block]:
    """The outermost blocks of a run of tokens."""
    blocks: list[Block] = []
    depth = start = 0
    for position, token in enumerate(tokens):
        if depth == 0:
            start = position
        depth += token.nesting
        if depth == 0:
            kind = tokens[start].type.removesuffix("_open")
            blocks.append(Block(kind, tokens[start : position + 1]))
    return blocks


def sections(blocks: Sequence[Block]) -> list[Section]:
    """Cut at every heading and every rule."""
    found = [Section(None, [])]
    for block in blocks:
        if block.kind == "heading":
            found.append(Section(block, []))
        elif block.kind == "hr":
            found.append(Section(None, []))
        else:
            found[-1].blocks.append(block)
    return found


def pieces_of(block: Block, text: Text) -> tuple[Piece, ...]:
    """The pieces of a heading or paragraph."""
    return read_pieces(block.inline(), text)


def plain(block: Block, text: Text) -> str:
    """The plain text of a heading or paragraph."""
    return prose(pieces_of(block, text))
