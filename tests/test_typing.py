"""The row types: mypy and pyright catch a wrong row as it is written, and let a right one pass."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "typing_cases"


def marked(name: str) -> list[int]:
    """The lines of a case that must be errors."""
    lines = (CASES / name).read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith("  # error")]


@pytest.fixture(scope="module")
def mypy_errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    cache = tmp_path_factory.mktemp("mypy")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file=", "--strict", "--no-error-summary"),
            *(f"--cache-dir={cache}", "--no-color-output", "--no-pretty", "right.py", "wrong.py"),
        ],
        cwd=CASES,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("MYPY")},
    )
    assert done.stderr == ""
    found = re.findall(r"^(\w+\.py):([0-9]+): error: ", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return {case: sorted({int(line) for name, line in found if name == case}) for case, _ in found}


def test_mypy_finds_every_wrong_line_and_no_other(mypy_errors: dict[str, list[int]]) -> None:
    assert marked("wrong.py")
    assert mypy_errors == {"wrong.py": marked("wrong.py")}


def test_pyright_finds_every_wrong_line_and_no_other() -> None:
    program = shutil.which("pyright", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    if program is None:
        pytest.skip("pyright is not installed")
    try:
        done = subprocess.run(
            [program, "--outputjson", "--pythonpath", sys.executable, "right.py", "wrong.py"],
            cwd=CASES,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        report = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        pytest.skip("pyright cannot start: its program is fetched when it is used first")
    found = {
        (Path(d["file"]).name, d["range"]["start"]["line"] + 1)
        for d in report["generalDiagnostics"]
        if d["severity"] == "error"
    }
    assert sorted(found) == [("wrong.py", line) for line in marked("wrong.py")]
