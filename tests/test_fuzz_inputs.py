"""Whatever happens to the input files: a clear verdict, never a crash, nothing else touched."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codered_spec.cli import main

ROOT = Path(__file__).resolve().parent.parent
SPEC = (ROOT / "schema.yaml").read_text("utf-8")
DOCUMENT = (ROOT / "docs" / "schema-supabase.md").read_text("utf-8")
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
"""Raise it for a deep run: ``FUZZ_EXAMPLES=5000 pytest tests/test_fuzz_inputs.py``."""

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 100,
    suppress_health_check=list(HealthCheck),
)

fewer = settings(fuzz, max_examples=max(EXAMPLES // 3, 1))

SNIPPETS = (
    "\0", "\x07", "\x1b", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\U0001f680", "\t", "\r",
    "\r\n", "\n", "\n\n", " ", "  ", "#", " # x", "'", '"', "`", "``", "```\n", "[", "]", "{", "}",
    "(", ")", "|", ":", ": ", "- ", "&a ", "*a", "!!str ", "<<: ", "---\n", "...\n", "%", "@", "\\",
    "<!--", "-->", "~~~\n", "\u2013", "\u2192", "null", "no", "0x1", "1e3", "99999999999999999999",
    "é", "e\u0301", "\u202e", "\u200b", "**", "### ", "# ", "> ", "| a | b |\n", "const", "</a>",
)  # fmt: skip


@st.composite
def corrupted(draw: st.DrawFn, text: str) -> bytes:
    """The text after one to three accidents, as bytes."""
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True) or [""]
        at = draw(st.integers(0, len(text)))
        line = draw(st.integers(0, len(lines) - 1))
        other = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(ACCIDENTS)):
            case "truncate":
                text = text[:at]
            case "behead":
                text = text[at:]
            case "swap lines":
                lines[line], lines[other] = lines[other], lines[line]
                text = "".join(lines)
            case "repeat a line":
                text = "".join([*lines[:line], lines[other], *lines[line:]])
            case "lose a line":
                text = "".join(lines[:line] + lines[line + 1 :])
            case "join lines":
                lines[line] = lines[line].rstrip("\n")
                text = "".join(lines)
            case "insert":
                text = text[:at] + draw(st.sampled_from(SNIPPETS)) + text[at:]
            case "insert anything":
                text = text[:at] + draw(st.text(min_size=1, max_size=4)) + text[at:]
            case "overwrite":
                text = text[:at] + draw(st.sampled_from(SNIPPETS)) + text[at + 1 :]
            case "delete":
                text = text[:at] + text[at + draw(st.integers(1, 12)) :]
            case "indent":
                lines[line] = draw(st.sampled_from([" ", "  ", "\t"])) + lines[line]
                text = "".join(lines)
            case "outdent":
                lines[line] = lines[line].lstrip(" ")
                text = "".join(lines)
            case "line ends":
                text = text.replace("\n", draw(st.sampled_from(["\r\n", "\r", "\x85", "\u2028"])))
            case "byte order mark":
                text = "\ufeff" + text
            case "another word":
                words = text.split()
                if words:
                    text = text.replace(
                        draw(st.sampled_from(words)), draw(st.sampled_from(words)), 3
                    )
    content = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 15)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(min_size=1, max_size=3)) + content[at:]
    return content


ACCIDENTS = (
    "truncate", "behead", "swap lines", "repeat a line", "lose a line", "join lines", "insert",
    "insert anything", "overwrite", "delete", "indent", "outdent", "line ends", "byte order mark",
    "another word",
)  # fmt: skip


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    """A project folder that every example fills anew."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "docs").mkdir()
        yield root


def files(root: Path) -> dict[str, bytes]:
    """Every file below the folder, but the state of the tool."""
    found = (p for p in root.rglob("*") if p.is_file() and ".codered" not in p.parts)
    return {str(p.relative_to(root)): p.read_bytes() for p in found}


def verdict(
    root: Path, arguments: list[str], spec: bytes, document: bytes, may_write: bool = False
) -> int:
    """Runs the command on the two files; returns its exit code, having checked everything else."""
    shutil.rmtree(root / ".codered", ignore_errors=True)
    (root / "schema.yaml").write_bytes(spec)
    (root / "docs" / "schema-supabase.md").write_bytes(document)
    before = files(root)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        code = main(["--spec", str(root / "schema.yaml"), *arguments])
    said = errors.getvalue()
    assert code in (0, 1, 2)
    assert "Traceback" not in said
    assert "C006" not in said, said
    assert code == 0 or "error" in said or "warning" in said or "--check" in arguments, said
    after = files(root)
    assert after.keys() == before.keys()
    changed = {name for name, content in after.items() if content != before[name]}
    assert changed <= ({"schema.yaml"} if may_write and code == 0 else set())
    state = root / ".codered"
    left = {p.name for p in state.iterdir()} if state.exists() else set()
    assert left <= {"check.json"}
    return code


GOOD_SPEC, GOOD_DOCUMENT = SPEC.encode(), DOCUMENT.encode()


@fuzz
@given(spec=corrupted(SPEC))
def test_check_of_a_corrupted_spec_gives_a_verdict(project: Path, spec: bytes) -> None:
    verdict(project, ["check"], spec, GOOD_DOCUMENT)


@fuzz
@given(spec=corrupted(SPEC))
def test_fmt_of_a_corrupted_spec_gives_a_verdict(project: Path, spec: bytes) -> None:
    if verdict(project, ["fmt"], spec, GOOD_DOCUMENT, may_write=True) == 0:
        formatted = (project / "schema.yaml").read_bytes()
        assert verdict(project, ["fmt", "--check"], formatted, GOOD_DOCUMENT) == 0


@fuzz
@given(spec=corrupted(SPEC))
def test_sync_of_a_corrupted_spec_gives_a_verdict(project: Path, spec: bytes) -> None:
    verdict(project, ["sync"], spec, GOOD_DOCUMENT, may_write=True)


@fuzz
@given(document=corrupted(DOCUMENT))
def test_sync_of_a_corrupted_document_gives_a_verdict(project: Path, document: bytes) -> None:
    if verdict(project, ["sync"], GOOD_SPEC, document, may_write=True) == 0:
        synced = (project / "schema.yaml").read_bytes()
        assert verdict(project, ["sync", "--check"], synced, document) == 0


@fewer
@given(document=corrupted(DOCUMENT))
def test_check_of_a_corrupted_document_gives_a_verdict(project: Path, document: bytes) -> None:
    verdict(project, ["check"], GOOD_SPEC, document)


@fewer
@given(document=corrupted(DOCUMENT))
def test_sync_prune_of_a_corrupted_document_gives_a_verdict(project: Path, document: bytes) -> None:
    verdict(project, ["sync", "--prune"], GOOD_SPEC, document, may_write=True)


@pytest.mark.parametrize("command", ["check", "fmt", "sync"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 1000, b"\xff" * 1000, b"[" * 100_000, b"- " * 100_000, b"> " * 10_000, b"\n" * 9],
)
def test_a_hopeless_file_gives_a_verdict(project: Path, command: str, content: bytes) -> None:
    assert verdict(project, [command], content, GOOD_DOCUMENT) == 2
    if command != "fmt":
        assert verdict(project, [command], GOOD_SPEC, content) == 2
