"""Pieces of Markdown that the reference pages share."""

from __future__ import annotations


def cell(text: str) -> str:
    """The text as one line that can stand between two bars of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """Inline code, also where the text has backticks of its own."""
    fence = "`"
    while fence in text:
        fence += "`"
    pad = " " if "`" in text else ""
    return cell(f"{fence}{pad}{text}{pad}{fence}")


def prose(text: str) -> str:
    """Text of a comment as a cell, where no tag can begin."""
    return cell(text).replace("<", "\\<")
