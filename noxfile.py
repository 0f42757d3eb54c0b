"""What `make test` and `make demo` run. `nox --list` shows the sessions."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "typing", "generated", "tests"]

LOCK = Path("requirements-dev.lock")
PIN = re.compile(r"^([a-z0-9.-]+)==([^ ;\\]+)([^\\\n]*)", re.MULTILINE)
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
    """The contract, round trips and damages with far more rows than a normal run tries."""
    install(session)
    deep = {
        "CONTRACT_ROWS": "1000000",
        "TRANSPORT_VALUES": "50000",
        "ROUND_TRIP_EXAMPLES": "1000",
        "ANY_SPEC_EXAMPLES": "40",
        "DAMAGES_EVERY": "1",
    }
    names = ("contract", "contract_any_spec", "transports", "round_trip", "codered_damage")
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


@nox.session
def audit(session: nox.Session) -> None:
    """Lock file and known vulnerabilities; needs an index. `-- --upgrade` renews the file first.

    It fails as well where nobody can say whether there are vulnerabilities.
    """
    session.install("pip-audit>=2.7", "uv>=0.5")
    scratch = Path(session.create_tmp())
    _lock_is_current(session, scratch / "lock.txt")
    installed = scratch / "installed"
    shutil.rmtree(installed, ignore_errors=True)
    session.install("--require-hashes", "--target", str(installed), "-r", str(LOCK))
    _no_advisories(session, scratch)


def _lock_is_current(session: nox.Session, copy: Path) -> None:
    """Compiles the lock file again, with the versions that it has, and compares the versions."""
    options = ("--universal", "--python-version=3.11", "--extra=dev", "--generate-hashes")
    quiet = ("--quiet", "--no-header", "--no-annotate", "--no-emit-index-url")
    compiled = ("uv", "pip", "compile", *options, *quiet, "pyproject.toml", "--output-file")
    if session.posargs:
        session.run(*compiled, str(LOCK), *session.posargs)
    locked = LOCK.read_text("utf-8")
    if "://" in locked:
        session.error(f"{LOCK} names an index: nobody else may have it")
    copy.write_text(locked, "utf-8")
    session.run(*compiled, str(copy))
    differing = sorted(set(PIN.findall(locked)) ^ set(PIN.findall(copy.read_text("utf-8"))))
    if differing:
        names = ", ".join(dict.fromkeys(name for name, *_ in differing))
        session.error(f"{LOCK} is not what pyproject.toml asks for ({names}): -- --upgrade")


def _no_advisories(session: nox.Session, scratch: Path) -> None:
    """Asks PyPI about every pin, those for other systems, too."""
    pins = {(name, version) for name, version, _ in PIN.findall(LOCK.read_text("utf-8"))}
    wanted, report = scratch / "pins.txt", scratch / "advisories.json"
    wanted.write_text("".join(f"{name}=={version}\n" for name, version in sorted(pins)), "utf-8")
    report.unlink(missing_ok=True)
    options = (
        "--no-deps",
        "--disable-pip",
        "--progress-spinner=off",
        "--vulnerability-service=pypi",
    )
    output = ("--format=json", f"--output={report}")
    session.run("pip-audit", *options, *output, "-r", str(wanted), success_codes=[0, 1])
    # without an answer pip-audit leaves a package out, and ends as if all were well
    found = json.loads(report.read_text("utf-8"))["dependencies"] if report.exists() else []
    known = {(one["name"], one["version"]): one["vulns"] for one in found if "vulns" in one}
    bad = [f"{pin[0]} {pin[1]}: {entry['id']}" for pin, vulns in known.items() for entry in vulns]
    if bad:
        session.error("known vulnerabilities: " + "; ".join(bad))
    if silent := pins - known.keys():
        session.error(
            f"NOT AUDITED: {len(silent)} of {len(pins)} packages, as the advisories of PyPI could"
            " not be read from here; this says nothing about vulnerabilities"
        )
    session.log(f"{len(pins)} packages, no known vulnerability")
