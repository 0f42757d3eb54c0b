"""Remembers the verdict of `check`, keyed by the content of everything it depends on.

A verdict is used again only when the program, the names and the bytes of all inputs are the same;
anything else, also an unreadable cache, means a full check. Imports nothing that costs time.
"""

import hashlib
import json
import os
import sys

CLOCK_TICK = 20_000_000
"""Nanoseconds by which the time of a file may lag behind the clock."""

NAME = "check.json"
"""File name in the state folder of the project."""

OUTPUTS = ("text_out", "text_err", "json_out", "json_err")
"""Keys of what a check prints: for people or as JSON, to stdout or stderr."""


class Verdict:
    """The exit code of a check and all that it may print, by the keys in ``OUTPUTS``."""

    __slots__ = ("code", "text")

    def __init__(self, code: int, text: "dict[str, str]") -> None:
        self.code = code
        self.text = text


def _digest(path: str) -> "str | None":
    try:
        with open(path, "rb") as file:  # noqa: PTH123 -- pathlib costs more than the whole check
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None


def _listing(folder: str) -> "list[str] | None":
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return None


def _program() -> str:
    """Changes whenever any file of this package or the interpreter does."""
    facts = [sys.version]
    pending = [os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120
    while pending:
        for entry in os.scandir(pending.pop()):
            if entry.name == "__pycache__":
                continue
            if entry.is_dir():
                pending.append(entry.path)
            else:
                stat = entry.stat()
                facts.append(f"{entry.path} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(facts)).encode()).hexdigest()


def _written(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0


def recall(spec_path: str, state: str) -> "Verdict | None":
    """The stored verdict for the spec, if nothing that it depends on has changed."""
    try:
        with open(os.path.join(state, NAME), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            stored = json.load(file)
        same = (
            stored["spec"] == spec_path
            and all(_digest(path) == digest for path, digest in stored["files"].items())
            and all(_listing(path) == names for path, names in stored["folders"].items())
            and stored["program"] == _program()
        )
        verdict = Verdict(stored["code"], {key: stored["text"][key] for key in OUTPUTS})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    usable = type(verdict.code) is int and all(type(t) is str for t in verdict.text.values())
    return verdict if same and usable else None


def remember(
    spec_path: str,
    state: str,
    files: "tuple[str, ...]",
    folders: "tuple[str, ...]",
    started: int,
    verdict: Verdict,
) -> None:
    """Stores a verdict of a check that started at ``started`` (nanoseconds of the epoch).

    Nothing is stored when an input was written since: what the check read may be another text
    than what is there now. A cache that cannot be written is no reason to fail.
    """
    from codered_spec.errors import InputError
    from codered_spec.files import write_text

    if any(_written(path) > started - CLOCK_TICK for path in (*files, *folders)):
        return
    content = {
        "spec": spec_path,
        "program": _program(),
        "files": {path: _digest(path) for path in files},
        "folders": {path: _listing(path) for path in folders},
        "code": verdict.code,
        "text": verdict.text,
    }
    try:
        write_text(os.path.join(state, NAME), json.dumps(content))  # noqa: PTH118
    except InputError:
        return
