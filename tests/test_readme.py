"""The tour of the README is real: its commands print what it says they print."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from codered_spec.postgres import EmbeddedServer

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOUR = README.partition("## A tour of 60 seconds")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```console\n(.*?)```", TOUR, re.DOTALL)


def steps(block: str) -> Iterator[tuple[list[str], list[str]]]:
    """Arguments of each command and the lines that follow it."""
    for part in re.split(r"^\$ codered-spec ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        words = [quoted or plain for quoted, plain in re.findall(r"'([^']*)'|(\S+)", command)]
        yield words, output.splitlines()


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    """A copy of the project; not in a folder of pytest, where no other user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="codered-readme-"))
    for name in ("schema.yaml", "docs", "migrations", "codered_spec", "supabase"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    yield folder
    EmbeddedServer(folder / ".codered").stop()
    shutil.rmtree(folder)


def run(project: Path, words: list[str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "codered_spec", *words],
        cwd=project,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(project)},
    )
    return done.stdout.splitlines()


def without_lines(output: list[str]) -> list[str]:
    """The lines in order of their text, without line numbers, which change with every fact."""
    return sorted(re.sub(r":\d+:\d+: ", ": ", line) for line in output)


def test_there_are_three_blocks() -> None:
    assert len(BLOCKS) == 3


def test_the_change_of_a_fact_is_followed(project: Path) -> None:
    document = project / "docs" / "schema-supabase.md"
    before = document.read_text(encoding="utf-8")
    spec = (project / "schema.yaml").read_text(encoding="utf-8")
    changed = before.replace("- `latency_ms` – `integer`", "- `latency_ms` – `bigint`")
    assert changed != before
    document.write_text(changed, encoding="utf-8")
    try:
        for words, expected in steps(BLOCKS[0]):
            assert without_lines(run(project, words)) == without_lines(expected), words
    finally:
        document.write_text(before, encoding="utf-8")
        (project / "schema.yaml").write_text(spec, encoding="utf-8")


def test_damage_is_found(project: Path) -> None:
    for words, expected in steps(BLOCKS[1]):
        assert sorted(run(project, words)) == sorted(expected), words


def test_decisions_are_explained(project: Path) -> None:
    ((words, expected),) = steps(BLOCKS[2])
    printed = "\n".join(run(project, words)).lstrip("\n")
    assert printed.startswith("\n".join(expected).rstrip(" …"))


def test_the_demo_prints_what_it_says(project: Path) -> None:
    shown = README.partition("The demo ends like this:")[2].partition("```text\n")[2]
    expected = shown.partition("```")[0].splitlines()
    printed = run(project, ["demo"])
    assert [line for line in expected if line not in printed] == []
