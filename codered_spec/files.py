"""Reading and replacing text files: UTF-8 only, and never half-written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from codered_spec.errors import Diagnostic, InputError, Place


def read_text(path: str) -> str:
    """The text of a file, without a byte order mark, line ends as they are.

    Raises InputError: C002 when it cannot be read, C004 when it is not UTF-8.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            Diagnostic("C002", f"{path} cannot be read: {reason}", "name a file that exists")
        ) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        raise InputError(
            Diagnostic(
                "C004",
                f"byte {error.start} is not UTF-8",
                "save the file as UTF-8",
                Place(path, line, column),
            )
        ) from None


def write_text(path: str, text: str) -> bool:
    """Replaces a file in one step; whoever reads meanwhile sees the old or the new text.

    Returns whether anything changed: a file that has the text already is left alone. Makes missing
    folders. Raises InputError (C003) and then leaves the old file as it was.
    """
    temporary: str | None = None
    try:
        content = text.encode("utf-8")
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise OSError("it is not a file")
        if target.is_file() and target.read_bytes() == content:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(target)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, a lone surrogate
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            Diagnostic(
                "C003",
                f"{path} cannot be written: {reason}",
                "check the folder and its permissions",
            )
        ) from None
    finally:  # also after an interrupt
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return True


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
