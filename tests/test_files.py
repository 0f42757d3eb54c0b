"""A file is replaced as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codered_spec.errors import InputError, Place
from codered_spec.files import read_text, write_text


def refusal(error: pytest.ExceptionInfo[InputError]) -> tuple[str, Place | None]:
    (diagnostic,) = error.value.diagnostics
    return diagnostic.code, diagnostic.place


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with old content, alone in its folder."""
    path = tmp_path / "file.txt"
    path.write_bytes(b"old\n")
    return path


def test_the_new_text_is_there(file: Path) -> None:
    write_text(str(file), "né\r\n")
    assert file.read_bytes() == "né\r\n".encode()


def test_a_write_says_that_it_changed_something(file: Path) -> None:
    assert write_text(str(file), "new\n") is True


def test_an_equal_file_is_left_alone(file: Path) -> None:
    os.utime(file, ns=(1, 1))
    before = file.stat()
    assert write_text(str(file), "old\n") is False
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, 1)


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(str(tmp_path / "a/b/c.txt"), "x")
    assert (tmp_path / "a/b/c.txt").read_text() == "x"


@pytest.mark.parametrize("mode", [0o600, 0o755])
def test_the_mode_is_kept(file: Path, mode: int) -> None:
    file.chmod(mode)
    write_text(str(file), "new\n")
    assert file.stat().st_mode & 0o777 == mode


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(str(tmp_path / "new"), "x")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_a_link_stays_and_its_target_changes(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    write_text(str(link), "new\n")
    assert link.is_symlink()
    assert file.read_text() == "new\n"


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["codered_spec.files.os.fsync", "pathlib.Path.replace"])
def test_a_failed_write_leaves_the_old_text_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(step, fail)
    with pytest.raises(InputError) as caught:
        write_text(str(file), "new\n")
    assert refusal(caught) == ("C003", None)
    assert file.read_text() == "old\n"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("step", ["codered_spec.files.os.fsync", "pathlib.Path.replace"])
def test_an_interrupted_write_leaves_the_old_text_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(str(file), "new\n")
    assert file.read_text() == "old\n"
    assert list(file.parent.iterdir()) == [file]


def test_the_text_appears_in_one_step(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        seen.extend([file.read_text(), self.read_text()])
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    write_text(str(file), "new\n")
    assert seen == ["old\n", "new\n"]


@pytest.mark.parametrize(
    ("name", "text"), [("", "x"), ("file.txt/below", "x"), ("a\0b", "x"), ("new", "\ud800")]
)
def test_what_cannot_be_written_is_refused(file: Path, name: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        write_text(os.path.join(file.parent, name), text)  # noqa: PTH118
    assert refusal(caught) == ("C003", None)


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError):
        write_text(str(pipe), "x")
    assert pipe.is_fifo()


def test_a_file_is_read_with_its_line_ends(file: Path) -> None:
    file.write_bytes(b"a\r\nb\n")
    assert read_text(str(file)) == "a\r\nb\n"


def test_a_byte_order_mark_is_no_text(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfa")
    assert read_text(str(file)) == "a"


@pytest.mark.parametrize("name", ["missing", "", "file.txt/below", "a\0b"])
def test_what_cannot_be_read_is_refused(file: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        read_text(os.path.join(file.parent, name))  # noqa: PTH118
    assert refusal(caught) == ("C002", None)


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [(b"\xff", 1, 1), (b"a\nb\xe9", 2, 2), ("é漢\n漢é".encode() + b"\xff\n", 2, 3)],
)
def test_what_is_not_utf8_is_refused_with_its_place(
    file: Path, content: bytes, line: int, column: int
) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_text(str(file))
    assert refusal(caught) == ("C004", Place(str(file), line, column))
