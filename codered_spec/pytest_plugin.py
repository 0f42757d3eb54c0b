"""What pytest loads at its start: two options, an ini option and the fixture ``contract``.

Every pytest run of an environment loads this module, so it imports nothing but pytest and touches
nothing until somebody asks for the fixture. The rest is in :mod:`codered_spec.contract.plugin`,
whose package needs Hypothesis.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from codered_spec.contract.plugin import Contract

SPEC = "schema.yaml"
STATE = "codered_spec_state"
_FOLDER = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--codered-spec``, ``--codered-dsn`` and the ini option ``codered_spec``."""
    group = parser.getgroup("codered-spec", "contract tests of a Postgres schema")
    group.addoption(
        "--codered-spec",
        metavar="PATH",
        help="spec file of the fixture `contract` (else ini option codered_spec, else"
        f" {SPEC} in the root folder)",
    )
    group.addoption(
        "--codered-dsn",
        metavar="DSN",
        help="scratch database with the schema of the spec (else DATABASE_URL, else a database"
        " made from the spec on an embedded server)",
    )
    parser.addini("codered_spec", "spec file of the fixture `contract`, from the ini file's folder")


def pytest_configure(config: pytest.Config) -> None:
    """Refuses a spec file that was named and does not exist."""
    source, path = _named(config)
    if path is not None and not path.is_file():
        raise pytest.UsageError(f"{source}: there is no file {path}")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker of xdist where the server is that all workers share."""
    node.workerinput[STATE] = str(_state(node.config))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Stops the embedded server of the run, if one was started."""
    folder = config.stash.get(_FOLDER, None)
    if folder is not None and folder.exists():
        import shutil

        from codered_spec.postgres import EmbeddedServer

        EmbeddedServer(folder).stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def contract(request: pytest.FixtureRequest) -> Iterator[Contract]:
    """The spec, strategies of rows for it, and a database that judges them and keeps none."""
    import contextlib

    from codered_spec.errors import CoderedError

    config = request.config
    _, path = _named(config)
    path = path or config.rootpath / SPEC
    complaint = ""
    with contextlib.ExitStack() as stack:
        found = None
        try:
            from codered_spec.contract.plugin import opened

            dsn = config.getoption("--codered-dsn") or os.environ.get("DATABASE_URL")
            found = stack.enter_context(opened(path, dsn, _state(config)))
        except ImportError as error:
            complaint = (
                f"error C008: the fixture contract needs a package that is not installed: {error}\n"
                "    fix: pip install 'codered-spec[contract]'"
            )
        except CoderedError as error:
            complaint = "\n".join(map(str, error.diagnostics))
            if not path.is_file():
                complaint += " by --codered-spec or the ini option codered_spec"
        if found is None:  # not where the exception is handled: it would be shown twice
            pytest.fail(complaint, pytrace=False)
        yield found


def _named(config: pytest.Config) -> tuple[str, Path | None]:
    """The spec that somebody named, and by what."""
    given = config.getoption("--codered-spec")
    if given:
        return "--codered-spec", config.invocation_params.dir / given
    written = config.getini("codered_spec")
    if written:
        folder = config.inipath.parent if config.inipath else config.rootpath
        return "codered_spec in the ini file", folder / written
    return "", None


def _state(config: pytest.Config) -> Path:
    """The folder of the server that this run and its workers share; nobody may have made it yet."""
    worker: dict[str, str] | None = getattr(config, "workerinput", None)
    if worker is not None:
        return Path(worker[STATE])
    if _FOLDER not in config.stash:
        import tempfile
        import uuid

        name = f"codered-contract-{uuid.uuid4().hex}"
        config.stash[_FOLDER] = Path(tempfile.gettempdir()) / name
    return config.stash[_FOLDER]
