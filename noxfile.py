"""What `make test` and `make demo` run. `nox --list` shows the sessions."""

from __future__ import annotations

import os

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "typing", "generated", "tests"]

WORKERS = min(4, max(2, os.cpu_count() or 2))


def install(session: nox.Session) -> None:
    session.install("--editable", ".[dev]")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format and the directions of imports."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def typing(session: nox.Session) -> None:
    """Types, strictly."""
    install(session)
    session.run("mypy")


@nox.session
def generated(session: nox.Session) -> None:
    """Spec and generated files are what their sources say."""
    install(session)
    session.run("codered-spec", "sync", "--check")
    session.run("codered-spec", "fmt", "--check")
    session.run("codered-spec", "generate", "--check")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests; arguments after `--` go to pytest."""
    install(session)
    session.run("pytest", "-n", str(WORKERS), *session.posargs)


@nox.session
def contract_deep(session: nox.Session) -> None:
    """The contract and round trip properties with far more rows than a normal run tries."""
    install(session)
    deep = {
        "CONTRACT_ROWS": "1000000",
        "TRANSPORT_VALUES": "50000",
        "ROUND_TRIP_EXAMPLES": "1000",
        "ANY_SPEC_EXAMPLES": "40",
    }
    names = ("contract", "contract_any_spec", "transports", "round_trip")
    files = tuple(f"tests/test_{name}.py" for name in names)
    session.run("pytest", "-n", str(WORKERS), *(session.posargs or files), env=deep)


@nox.session
def mutation(session: nox.Session) -> None:
    """Every mutant of schema, spec and validators against `verify` and the contract tests."""
    install(session)
    session.run("python", "-m", "codered_spec.contract.mutation", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """The rollups under many writers for minutes, and long random histories."""
    install(session)
    deep = {"ROLLUP_SECONDS": "60", "ROLLUP_EXAMPLES": "300"}
    files = ("tests/test_rollup_machine.py", "tests/test_rollup_concurrency.py")
    session.run("pytest", *(session.posargs or files), env=deep)


@nox.session
def supabase(session: nox.Session) -> None:
    """The Supabase CLI, its advisors and linters on the migrations; needs npm, and Debian."""
    session.install("--editable", ".[dev,gates]")
    session.run("python", "-m", "gates.supabase", *session.posargs)


@nox.session
def matrix(session: nox.Session) -> None:
    """The schema on Postgres 15 to 18, and its pgTAP tests; needs Debian for 15."""
    session.install("--editable", ".[dev,gates]")
    session.run("python", "-m", "gates.matrix", *session.posargs)
    if not session.posargs:
        session.run("python", "-m", "gates.pgtap")


@nox.session
def demo(session: nox.Session) -> None:
    """The main job, end to end, on the embedded server."""
    install(session)
    session.run("codered-spec", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Time figures; arguments after `--` choose the benchmarks."""
    session.install("--editable", ".[dev,bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)
