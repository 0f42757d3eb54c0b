"""What commands print: results to stdout, diagnostics and progress to stderr."""

import argparse
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from codered_spec.errors import Diagnostic

OK, FINDINGS, INPUT, DATABASE = 0, 1, 2, 3
"""Exit codes: all well, findings, bad usage or input, database unreachable or refusing."""


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")


def progress(text: str) -> None:
    """A line about what is being done."""
    sys.stderr.write(text + "\n")


def say_json(value: object) -> None:
    """The result as JSON."""
    import json

    say(json.dumps(value, ensure_ascii=False, indent=2))


def as_data(diagnostic: "Diagnostic") -> "dict[str, object]":
    """A diagnostic as JSON data."""
    place = diagnostic.place
    return {
        "code": diagnostic.code,
        "severity": "warning" if diagnostic.warning else "error",
        "message": diagnostic.message,
        "fix": diagnostic.fix,
        "subject": diagnostic.subject,
        "place": {"path": place.path, "line": place.line, "column": place.column}
        if place
        else None,
    }


def report(options: argparse.Namespace, diagnostics: "Iterable[Diagnostic]") -> None:
    """Diagnostics to stderr: as JSON lines with --json, else for people."""
    colour = not options.no_color and "NO_COLOR" not in os.environ and sys.stderr.isatty()
    for diagnostic in diagnostics:
        if options.json:
            import json

            sys.stderr.write(json.dumps(as_data(diagnostic), ensure_ascii=False) + "\n")
            continue
        text = str(diagnostic)
        if colour:
            word = "warning" if diagnostic.warning else "error"
            sign = "33" if diagnostic.warning else "31"
            text = text.replace(
                f"{word} {diagnostic.code}", f"\033[{sign}m{word} {diagnostic.code}\033[0m", 1
            )
        sys.stderr.write(text.encode("utf-8", "replace").decode() + "\n")
