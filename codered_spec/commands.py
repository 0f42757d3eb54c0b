"""The commands: one function each, from options to an exit code.

Modules are imported by the command that needs them, so that a command starts as fast as its own
work allows.
"""

import argparse
import os
import sys

from codered_spec.arguments import Parser, global_options
from codered_spec.console import FINDINGS, OK, as_data, progress, report, say, say_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from codered_spec.connection import Connection
    from codered_spec.emit.file import File
    from codered_spec.model.schema import Schema
    from codered_spec.postgres import EmbeddedServer
    from codered_spec.sources.spec import Spec

STATE = ".codered"
"""Folder beside the spec for the embedded server and caches."""


# ---- without a database -----------------------------------------------------------------------


def _state(options: argparse.Namespace) -> str:
    return os.path.join(os.path.dirname(options.spec) or ".", STATE)  # noqa: PTH118, PTH120


def recall_check(options: argparse.Namespace) -> "int | None":
    """Prints the remembered verdict of `check` and returns its exit code, or None."""
    from codered_spec.check_cache import recall

    verdict = recall(options.spec, _state(options))
    if verdict is None:
        return None
    key = "json" if options.json else "text"
    sys.stderr.write(verdict.text[f"{key}_err"])
    sys.stdout.write(verdict.text[f"{key}_out"])
    return verdict.code


def _check(options: argparse.Namespace) -> int:
    import json
    import time

    from codered_spec.check_cache import Verdict, remember
    from codered_spec.compiler import check_project, explain, load

    if options.explain:
        return _explain(options, explain(load(options.spec)))
    started = time.time_ns()
    checked = check_project(options.spec, _pgtap)
    found = checked.findings
    code = FINDINGS if found else OK
    summary = f"{len(found)} finding{'s'[: len(found) != 1]}" if found else "all well"
    text = f"{options.spec}: {summary}\n"
    data = json.dumps({"findings": [as_data(d) for d in found]}, ensure_ascii=False, indent=2)
    sys.stdout.write(data + "\n" if options.json else text)
    report(options, found)
    remember(
        options.spec,
        _state(options),
        checked.files,
        checked.folders,
        started,
        Verdict(
            code,
            {
                "text_out": text,
                "text_err": "".join(f"{d}\n" for d in found),
                "json_out": data + "\n",
                "json_err": "".join(
                    json.dumps(as_data(d), ensure_ascii=False) + "\n" for d in found
                ),
            },
        ),
    )
    return code


def _explain(options: argparse.Namespace, effects: "list[dict[str, object]]") -> int:
    if options.json:
        say_json(effects)
        return OK
    decision = None
    for effect in effects:
        if effect["decision"] != decision:
            decision = effect["decision"]
            say(f"\n{decision}\n  because: {effect['because']}")
        stated = "" if effect["stated"] == "nothing" else f" (stated: {effect['stated']})"
        stated = " (as stated)" if effect["stated"] == effect["decided"] else stated
        say(f"  {effect['subject']}: {effect['fact']} {effect['decided']}{stated}")
    return OK


def _sync(options: argparse.Namespace) -> int:
    from codered_spec.compiler import sync
    from codered_spec.files import write_text

    result = sync(options.document, options.spec, drop_stale=options.prune)
    if options.json:
        say_json(
            {
                "changed": result.changed,
                "changes": result.changes,
                "dropped": result.dropped,
                "open": [as_data(d) for d in result.open_questions],
            }
        )
    else:
        for line in (*result.changes, *(f"dropped {d}" for d in result.dropped)):
            say(line)
        count = len(result.changes) + len(result.dropped)
        if not result.changed:
            say(f"{options.spec}: up to date")
        elif options.check:
            say(f"{options.spec}: differs from the document")
        else:
            say(f"{options.spec}: {count} change{'s'[: count != 1]}")
    report(options, result.open_questions)
    if options.check:
        return FINDINGS if result.changed else OK
    if result.changed:
        write_text(options.spec, result.text)
    return OK


def _generate(options: argparse.Namespace) -> int:
    from codered_spec.compiler import (
        generate,
        left_over,
        load,
        migration_findings,
        root_of,
        stale_files,
    )
    from codered_spec.files import write_text

    spec = load(options.spec)
    files = generate(spec, _pgtap)
    if options.check:
        found = (*stale_files(spec, files), *migration_findings(spec))
        report(options, found)
        if options.json:
            say_json({"findings": [as_data(d) for d in found]})
        elif not found:
            say("generated files are up to date")
        return FINDINGS if found else OK
    written = []
    for file in files:
        path = str(root_of(options.spec) / file.path)
        if write_text(path, file.text):
            written.append(path)
    if options.json:
        say_json({"written": written})
    else:
        for path in written:
            say(f"wrote {path}")
        if not written:
            say("generated files are up to date")
    behind = (*left_over(spec, files), *migration_findings(spec))
    report(options, behind)
    return FINDINGS if behind else OK


def _pgtap(spec: "Spec") -> "tuple[File, ...]":
    """The pgTAP tests of the spec, if it names a folder for them."""
    if "pgtap" not in spec.data:
        return ()
    _need_rows()
    from codered_spec.contract.pgtap import pgtap_files

    return pgtap_files(spec.schema, spec.data["pgtap"])


def _need_rows() -> None:
    from importlib import import_module

    from codered_spec.errors import Diagnostic, InputError

    for package in ("hypothesis", "psycopg"):
        try:
            import_module(package)
        except ImportError:
            missing = f"the package {package}, which rows are made with, is not installed"
            fix = "pip install 'codered-spec[contract]'"
            raise InputError(Diagnostic("C008", missing, fix)) from None


def _fmt(options: argparse.Namespace) -> int:
    from codered_spec.errors import InputError
    from codered_spec.files import read_text, write_text
    from codered_spec.sources.spec import canonical_text, lost_comments, parse_spec

    text = read_text(options.spec)
    data, _ = parse_spec(text, options.spec)
    lost = lost_comments(text, options.spec)
    if lost:
        raise InputError(*lost)
    canonical = canonical_text(data)
    changed = canonical != text
    if changed and not options.check:
        write_text(options.spec, canonical)
    if options.json:
        say_json({"changed": changed})
    elif changed:
        say(f"{options.spec}: {'not in canonical format' if options.check else 'rewritten'}")
    else:
        say(f"{options.spec}: in canonical format")
    return FINDINGS if changed and options.check else OK


def _sql(options: argparse.Namespace) -> int:
    from codered_spec.compiler import load
    from codered_spec.emit.ddl import emit_sql

    text = emit_sql(load(options.spec).schema)
    if options.json:
        say_json({"sql": text})
    else:
        sys.stdout.write(text)
    return OK


def _validate(options: argparse.Namespace) -> int:
    import contextlib
    import json
    import time

    from codered_spec.compiler import load, validators
    from codered_spec.errors import Diagnostic, InputError
    from codered_spec.row_files import format_of, read_rows

    tables = validators(load(options.spec).schema)
    validator = tables.get(options.table)
    if validator is None:
        import difflib

        close = difflib.get_close_matches(options.table, tables, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        message = f"there is no table {options.table}{hint}"
        raise InputError(Diagnostic("C001", message, f"tables: {', '.join(tables)}"))
    count = bad = 0
    told = time.monotonic()
    with contextlib.ExitStack() as stack:
        if options.file == "-":
            file = stack.enter_context(
                open(sys.stdin.fileno(), encoding="utf-8", newline="", closefd=False)
            )
        else:
            try:
                file = stack.enter_context(open(options.file, encoding="utf-8", newline=""))  # noqa: PTH123
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                unreadable = f"{options.file} cannot be read: {reason}"
                raise InputError(Diagnostic("C002", unreadable, "name a file")) from None
        kind = options.format or format_of(options.file)
        for place, row in read_rows(file, options.file, kind, validator.columns):
            count += 1
            problems: list[dict[str, object]] = []
            if isinstance(row, Diagnostic):
                report(options, (row,))
                bad += 1
            elif found := validator.problems(row, for_update=options.update):
                problems = [problem.to_dict() for problem in found]
                if not options.json:
                    for problem in found:
                        say(f"{place}: {problem.code}: {problem}")
                bad += 1
            if options.json and problems:
                where = {"path": place.path, "line": place.line, "column": place.column}
                say(json.dumps({"place": where, "problems": problems}, ensure_ascii=False))
            if time.monotonic() - told > 2:
                told = time.monotonic()
                progress(f"{count:,} rows, {bad:,} refused")
    progress(f"{count:,} rows, {bad:,} refused")
    return FINDINGS if bad else OK


# ---- with a database --------------------------------------------------------------------------


def _server(options: argparse.Namespace) -> "EmbeddedServer":
    from pathlib import Path

    from codered_spec.postgres import EmbeddedServer

    return EmbeddedServer(Path(_state(options)).absolute())


def _need_driver() -> None:
    from codered_spec.errors import DatabaseError, Diagnostic

    try:
        import codered_spec.connection  # noqa: F401 -- needs psycopg
    except ImportError:
        raise DatabaseError(
            Diagnostic(
                "P006", "the database driver is not installed", "pip install 'codered-spec[db]'"
            )
        ) from None


def _connect(options: argparse.Namespace, *, read_only: bool = False) -> "Connection":
    _need_driver()
    from codered_spec.connection import connect

    dsn = options.dsn or os.environ.get("DATABASE_URL")
    if not dsn:
        server = _server(options)
        if not server.running():
            progress("starting the embedded server")
            server.start()
        dsn = server.dsn()
    return connect(dsn, read_only=read_only)


def _migrate(options: argparse.Namespace) -> int:
    from codered_spec.compiler import MIGRATIONS, root_of
    from codered_spec.migrate.directory import read_directory
    from codered_spec.migrate.runner import migrate

    migrations = read_directory(root_of(options.spec) / MIGRATIONS)
    with _connect(options) as connection:
        applied = migrate(
            connection, migrations, to=options.to, dry_run=options.dry_run, report=progress
        )
    names = [migration.file_name for migration in applied]
    if options.json:
        say_json({"applied": names})
    elif not options.dry_run:
        count = len(names)
        say(f"{count} migration{'s'[: count != 1]} applied" if names else "nothing to apply")
    return OK


def _status(options: argparse.Namespace) -> int:
    from codered_spec.compiler import MIGRATIONS, root_of
    from codered_spec.migrate.directory import read_directory
    from codered_spec.migrate.history import status

    migrations = read_directory(root_of(options.spec) / MIGRATIONS)
    with _connect(options, read_only=True) as connection:
        current = status(connection, migrations)
    rows = [(m.file_name, "edited" if m in current.edited else "applied") for m in current.applied]
    rows += [
        (m.file_name, "out of order" if m in current.out_of_order else "pending")
        for m in current.pending
    ]
    rows += [(version, "missing") for version in current.missing]
    if options.json:
        say_json([{"migration": name, "state": state} for name, state in rows])
    else:
        for name, state in sorted(rows):
            say(f"{state:<12}  {name}")
        if not rows:
            say("no migrations")
    report(options, current.problems)
    return FINDINGS if current.problems else OK


def _verify(options: argparse.Namespace) -> int:
    from codered_spec.compiler import load
    from codered_spec.migrate.verify import verify

    schema = load(options.spec).schema
    with _connect(options, read_only=True) as connection:
        differences = verify(connection, schema)
        entries: list[dict[str, object]] = [
            {
                "kind": d.kind,
                "address": d.address,
                "what": d.what,
                "want": d.want,
                "have": d.have,
                "message": str(d),
            }
            for d in differences
        ]
        if not options.json:
            for difference in differences:
                say(str(difference))
            count = len(differences)
            say(
                f"{count} difference{'s'[: count != 1]} between the database and {options.spec}"
                if differences
                else f"no difference: the database is what {options.spec} says"
            )
        well = not differences
        if options.data and well:
            well = _verify_data(options, connection, schema, entries)
        elif options.data:
            progress("the data was not checked, as the structure differs")
    if options.json:
        say_json(entries)
    return OK if well else FINDINGS


def _verify_data(
    options: argparse.Namespace,
    connection: "Connection",
    schema: "Schema",
    entries: "list[dict[str, object]]",
) -> bool:
    """Whether every rollup equals its source; what does not is printed, or added to ``entries``."""
    from itertools import groupby

    from codered_spec.migrate.verify import check_data, mend

    shown, well = 10, True
    for name, group in groupby(check_data(connection, schema), key=lambda d: d.rollup):
        well, count = False, 0
        for found in group:
            count += 1
            if options.json:
                entries.append(found.to_dict())
            elif count <= shown:
                say(str(found))
        if not options.json and count > shown:
            say(f"{name}: {count - shown:,} more")
        report(options, (mend(schema, name, count),))
    if well and not options.json:
        count = len(schema.rollups)
        equal = f"the {count} rollups equal their sources"
        equal = equal if count != 1 else "the rollup equals its source"
        say(f"no difference: {equal}" if count else "there is no rollup whose data to check")
    return well


def _contract(options: argparse.Namespace) -> int:
    import json
    import random

    from codered_spec.compiler import load

    schema = load(options.spec).schema
    _need_rows()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    tables = rows = findings = 0
    well = True
    reports = []
    with _connect(options) as connection:
        from codered_spec.contract.examine import ROWS, examine

        count = ROWS if options.rows is None else options.rows
        width = max((len(table.name) for table in schema.tables), default=0)
        for found in examine(connection, schema, options.tables, rows=count, seed=seed):
            tables += 1
            rows += found.rows
            findings += len(found.findings)
            well = well and found.ok
            if options.json:
                reports.append(found.to_dict())
            else:
                said = _findings(len(found.findings))
                if not found.rows and not found.findings:
                    said = "not judged"
                say(f"{found.table:<{width}}  {found.rows:>7,} rows  {said}")
                sys.stdout.flush()
            if options.verbose and found.unjudged:
                progress(f"{found.table}: no row breaks alone: {', '.join(found.unjudged)}")
            report(options, found.diagnostics)
    if options.json:
        # ASCII: strange characters of rows must survive every terminal and log
        say(json.dumps({"seed": seed, "rows": count, "tables": reports}, indent=2))
    else:
        say(
            f"{tables} table{'s'[: tables != 1]}, {rows:,} rows, {_findings(findings)}; seed {seed}"
        )
    return OK if well else FINDINGS


def _findings(count: int) -> str:
    return f"{count or 'no'} finding{'s'[: count != 1]}"


def _usage(options: argparse.Namespace) -> int:
    from codered_spec.errors import Diagnostic, InputError

    if options.json and options.csv:
        message = "argument --csv: not allowed with argument --json"
        raise InputError(Diagnostic("C001", message, "see `codered-spec usage --help`"))
    _need_driver()
    from codered_spec.usage import find_zone, read_usage, to_csv, to_lines

    zone = None if options.timezone is None else find_zone(options.timezone)
    with _connect(options, read_only=True) as connection:
        usage = read_usage(
            connection,
            by=options.by,
            since=options.since,
            until=options.until,
            zone=zone,
            project=options.project,
        )
    if options.json:
        say_json(usage.to_dict())
        return OK
    for note in usage.notes:
        progress(f"note: {note}")
    if options.csv:
        sys.stdout.write(to_csv(usage))
        return OK
    import shutil

    encoding = sys.stdout.encoding or "utf-8"
    ascii_only = "█".encode(encoding, "ignore") == b""
    colour = not options.no_color and "NO_COLOR" not in os.environ and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns
    for line in to_lines(usage, width, colour=colour, ascii_only=ascii_only):
        say(line.encode(encoding, "backslashreplace").decode(encoding))
    return OK


def _export(options: argparse.Namespace) -> int:
    _need_driver()
    from codered_spec.export import export, need_duckdb, summary

    need_duckdb()
    with _connect(options, read_only=True) as connection:
        manifest = export(connection, options.parquet, replace=options.replace, progress=progress)
    if options.json:
        say_json(manifest)
    else:
        for line in summary(manifest, options.parquet):
            say(line)
    return OK


def _introspect(options: argparse.Namespace) -> int:
    from codered_spec.migrate.verify import introspect
    from codered_spec.sources.spec import canonical_text, dump_schema

    name = options.schema
    if name is None:
        from codered_spec.compiler import load

        name = load(options.spec).schema.name
    with _connect(options, read_only=True) as connection:
        schema, left_out = introspect(connection, name)
    data = {"format": 1, **dump_schema(schema)}
    if options.json:
        import json

        say(json.dumps(data, ensure_ascii=False, indent=2, default=str))
    else:
        sys.stdout.write(canonical_text(data))
    report(options, left_out)
    return FINDINGS if left_out else OK


def _db(options: argparse.Namespace) -> int:
    if options.action != "psql":  # what follows are our own options, not those of psql
        rest = Parser(prog=f"codered-spec db {options.action}")
        global_options(rest, top=False)
        try:
            rest.parse_args(options.arguments, namespace=options)
        except SystemExit as stop:
            return int(stop.code or 0)
    server = _server(options)
    if options.action == "stop":
        running = server.running()
        server.stop()
        say("stopped" if running else "not running")
        return OK
    server.start()
    if options.action == "psql":
        import subprocess

        # by variables, so that psql's own -d and -U still count
        psql = server.psql_command("")[0]
        command = [psql, *options.arguments]
        environment = {**os.environ, **server.environment()}
        return subprocess.run(command, env=environment, check=False).returncode
    if options.json:
        say_json({"url": server.dsn()})
    else:
        say(server.dsn() if options.action == "url" else f"running at {server.dsn()}")
    return OK


def _demo(options: argparse.Namespace) -> int:
    from codered_spec.demo import demo, summary

    run = demo(options.spec, _server(options), progress)
    if options.json:
        say_json(run.to_dict())
    else:
        for line in summary(run):
            say(line)
    return FINDINGS if run.differences else OK


COMMANDS = {
    "check": _check,
    "contract": _contract,
    "db": _db,
    "demo": _demo,
    "export": _export,
    "fmt": _fmt,
    "generate": _generate,
    "introspect": _introspect,
    "migrate": _migrate,
    "sql": _sql,
    "status": _status,
    "sync": _sync,
    "usage": _usage,
    "validate": _validate,
    "verify": _verify,
}
