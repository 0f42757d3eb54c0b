"""The command line: one function per command.

Results go to stdout, diagnostics and progress to stderr. Exit codes: 0 all well, 1 findings, 2 bad
usage or input, 3 database unreachable or refusing. Modules are imported by the command that needs
them, so that a command starts as fast as its own work allows.
"""

import argparse
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

    from codered_spec.connection import Connection
    from codered_spec.errors import CoderedError, Diagnostic
    from codered_spec.postgres import EmbeddedServer

STATE = ".codered"
"""Folder beside the spec for the embedded server and caches."""

OK, FINDINGS, INPUT, DATABASE = 0, 1, 2, 3


# ---- arguments --------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> "NoReturn":
        self.print_usage(sys.stderr)
        sys.stderr.write(f"error C001: {message}\n    fix: see `{self.prog} --help`\n")
        raise SystemExit(INPUT)


def _global_options(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """The options that may stand before and after the command."""

    def default(value: object) -> object:
        return value if top else argparse.SUPPRESS

    add = parser.add_argument
    add("--spec", metavar="FILE", default=default("schema.yaml"), help="spec file (schema.yaml)")
    add("--json", action="store_true", default=default(False), help="results as JSON")
    add("--no-color", action="store_true", default=default(False), help="never colour messages")
    add("-v", "--verbose", action="store_true", default=default(False), help="say more")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="codered-spec", description="A Postgres schema as data, proved to agree.")
    _global_options(parser, top=True)
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary)
        _global_options(sub, top=False)
        return sub

    def database(name: str, summary: str) -> argparse.ArgumentParser:
        sub = command(name, summary)
        sub.add_argument("--dsn", help="connection string (else DATABASE_URL, else embedded)")
        return sub

    command("demo", "the main job, end to end, on the embedded server")
    sub = command("sync", "bring the spec up to the document")
    sub.add_argument("document", nargs="?", help="Markdown file (else the one the spec names)")
    sub.add_argument("--check", action="store_true", help="change nothing, exit 1 if different")
    sub.add_argument("--prune", action="store_true", help="drop decisions about what is gone")
    sub = command("generate", "write every generated file")
    sub.add_argument("--check", action="store_true", help="write nothing, exit 1 if different")
    sub = command("fmt", "bring the spec file into canonical format")
    sub.add_argument("--check", action="store_true", help="change nothing, exit 1 if different")
    sub = command("check", "everything that can be checked without a database")
    sub.add_argument("--explain", action="store_true", help="list every decision and its effects")
    sub.add_argument("--no-cache", action="store_true", help="check also what has not changed")
    command("sql", "print the whole schema for an empty database")
    sub = database("migrate", "apply pending migrations")
    sub.add_argument("--to", metavar="VERSION", help="stop after this version")
    sub.add_argument("--dry-run", action="store_true", help="say what would be applied")
    database("status", "what is applied, pending or edited")
    database("verify", "compare a live database with the spec")
    sub = database("introspect", "print a live schema as a spec")
    sub.add_argument("--schema", metavar="NAME", help="schema to read (else the spec's)")
    sub = command("db", "the embedded server")
    sub.add_argument("action", choices=("start", "stop", "url", "psql"))
    sub.add_argument("arguments", nargs=argparse.REMAINDER, help="for psql: its own arguments")
    return parser


def main(argv: "list[str] | None" = None) -> int:
    """Runs one command and returns its exit code."""
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads our output has seen enough
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.dup2(nowhere, sys.stderr.fileno())
        return OK
    return code


def _run(argv: "list[str] | None") -> int:
    parser = _parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    if options.version:
        from codered_spec import __version__

        sys.stdout.write(f"codered-spec {__version__}\n")
        return OK
    if options.command is None:
        parser.print_help(sys.stderr)
        return INPUT
    if options.command == "check" and not (options.no_cache or options.explain):
        verdict = _recall(options)
        if verdict is not None:
            return verdict
    return _guarded(options)


def _guarded(options: argparse.Namespace) -> int:
    """Runs the command; whatever goes wrong becomes a diagnostic and an exit code."""
    from codered_spec.errors import CoderedError, Diagnostic, InputError

    try:
        code = _COMMANDS[options.command](options)
        sys.stdout.flush()
    except CoderedError as error:
        _report(options, error.diagnostics)
        return int(error.exit_code)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        interrupted = Diagnostic("C005", "interrupted", "run it again: nothing is half-written")
        _report(options, (interrupted,))
        return 130
    except (RecursionError, MemoryError) as error:
        too_much = Diagnostic("C006", f"the input is too large: {error}", "split it")
        return _fail(options, InputError(too_much))
    except Exception as error:
        if options.verbose:
            raise
        bug = Diagnostic(
            "C006",
            f"internal error: {type(error).__name__}: {error}",
            "this is a bug: run with -v for the traceback and report it",
        )
        return _fail(options, InputError(bug))
    return code


def _fail(options: argparse.Namespace, error: "CoderedError") -> int:
    _report(options, error.diagnostics)
    return int(error.exit_code)


# ---- output -----------------------------------------------------------------------------------


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _progress(text: str) -> None:
    sys.stderr.write(text + "\n")


def _say_json(value: object) -> None:
    import json

    _say(json.dumps(value, ensure_ascii=False, indent=2))


def _as_data(diagnostic: "Diagnostic") -> "dict[str, object]":
    place = diagnostic.place
    return {
        "code": diagnostic.code,
        "severity": "warning" if diagnostic.warning else "error",
        "message": diagnostic.message,
        "fix": diagnostic.fix,
        "subject": diagnostic.subject,
        "place": {"path": place.path, "line": place.line, "column": place.column}
        if place
        else None,
    }


def _report(options: argparse.Namespace, diagnostics: "Iterable[Diagnostic]") -> None:
    """Diagnostics to stderr: as JSON lines with --json, else for people."""
    colour = not options.no_color and "NO_COLOR" not in os.environ and sys.stderr.isatty()
    for diagnostic in diagnostics:
        if options.json:
            import json

            sys.stderr.write(json.dumps(_as_data(diagnostic), ensure_ascii=False) + "\n")
            continue
        text = str(diagnostic)
        if colour:
            word = "warning" if diagnostic.warning else "error"
            sign = "33" if diagnostic.warning else "31"
            text = text.replace(
                f"{word} {diagnostic.code}", f"\033[{sign}m{word} {diagnostic.code}\033[0m", 1
            )
        sys.stderr.write(text.encode("utf-8", "replace").decode() + "\n")


# ---- without a database -----------------------------------------------------------------------


def _state(options: argparse.Namespace) -> str:
    return os.path.join(os.path.dirname(options.spec) or ".", STATE)  # noqa: PTH118, PTH120


def _recall(options: argparse.Namespace) -> "int | None":
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
    from codered_spec.compiler import MIGRATIONS, check_project, explain, load, root_of

    if options.explain:
        return _explain(options, explain(load(options.spec)))
    started = time.time_ns()
    found, inputs = check_project(options.spec)
    code = FINDINGS if found else OK
    summary = f"{len(found)} finding{'s'[: len(found) != 1]}" if found else "all well"
    text = f"{options.spec}: {summary}\n"
    data = json.dumps({"findings": [_as_data(d) for d in found]}, ensure_ascii=False, indent=2)
    sys.stdout.write(data + "\n" if options.json else text)
    _report(options, found)
    remember(
        options.spec,
        _state(options),
        inputs,
        (str(root_of(options.spec) / MIGRATIONS),),
        started,
        Verdict(
            code,
            {
                "text_out": text,
                "text_err": "".join(f"{d}\n" for d in found),
                "json_out": data + "\n",
                "json_err": "".join(
                    json.dumps(_as_data(d), ensure_ascii=False) + "\n" for d in found
                ),
            },
        ),
    )
    return code


def _explain(options: argparse.Namespace, effects: "list[dict[str, object]]") -> int:
    if options.json:
        _say_json(effects)
        return OK
    decision = None
    for effect in effects:
        if effect["decision"] != decision:
            decision = effect["decision"]
            _say(f"\n{decision}\n  because: {effect['because']}")
        stated = "" if effect["stated"] == "nothing" else f" (stated: {effect['stated']})"
        stated = " (as stated)" if effect["stated"] == effect["decided"] else stated
        _say(f"  {effect['subject']}: {effect['fact']} {effect['decided']}{stated}")
    return OK


def _sync(options: argparse.Namespace) -> int:
    from codered_spec.compiler import sync
    from codered_spec.files import write_text

    result = sync(options.document, options.spec, drop_stale=options.prune)
    if options.json:
        _say_json(
            {
                "changed": result.changed,
                "changes": result.changes,
                "dropped": result.dropped,
                "open": [_as_data(d) for d in result.open_questions],
            }
        )
    else:
        for line in (*result.changes, *(f"dropped {d}" for d in result.dropped)):
            _say(line)
        count = len(result.changes) + len(result.dropped)
        if not result.changed:
            _say(f"{options.spec}: up to date")
        elif options.check:
            _say(f"{options.spec}: differs from the document")
        else:
            _say(f"{options.spec}: {count} change{'s'[: count != 1]}")
    _report(options, result.open_questions)
    if options.check:
        return FINDINGS if result.changed else OK
    if result.changed:
        write_text(options.spec, result.text)
    return OK


def _generate(options: argparse.Namespace) -> int:
    from codered_spec.compiler import generate, load, migration_findings, root_of, stale_files
    from codered_spec.files import write_text

    spec = load(options.spec)
    if options.check:
        found = (*stale_files(spec), *migration_findings(spec))
        _report(options, found)
        if options.json:
            _say_json({"findings": [_as_data(d) for d in found]})
        elif not found:
            _say("generated files are up to date")
        return FINDINGS if found else OK
    written = []
    for file in generate(spec):
        path = str(root_of(options.spec) / file.path)
        if write_text(path, file.text):
            written.append(path)
    if options.json:
        _say_json({"written": written})
    else:
        for path in written:
            _say(f"wrote {path}")
        if not written:
            _say("generated files are up to date")
    behind = migration_findings(spec)
    _report(options, behind)
    return FINDINGS if behind else OK


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
        _say_json({"changed": changed})
    elif changed:
        _say(f"{options.spec}: {'not in canonical format' if options.check else 'rewritten'}")
    else:
        _say(f"{options.spec}: in canonical format")
    return FINDINGS if changed and options.check else OK


def _sql(options: argparse.Namespace) -> int:
    from codered_spec.compiler import load
    from codered_spec.emit.ddl import emit_sql

    text = emit_sql(load(options.spec).schema)
    if options.json:
        _say_json({"sql": text})
    else:
        sys.stdout.write(text)
    return OK


# ---- with a database --------------------------------------------------------------------------


def _server(options: argparse.Namespace) -> "EmbeddedServer":
    from pathlib import Path

    from codered_spec.postgres import EmbeddedServer

    return EmbeddedServer(Path(_state(options)).absolute())


def _connect(options: argparse.Namespace, *, read_only: bool = False) -> "Connection":
    from codered_spec.errors import DatabaseError, Diagnostic

    try:
        from codered_spec.connection import connect
    except ImportError:
        raise DatabaseError(
            Diagnostic(
                "P006", "the database driver is not installed", "pip install 'codered-spec[db]'"
            )
        ) from None
    dsn = options.dsn or os.environ.get("DATABASE_URL")
    if not dsn:
        server = _server(options)
        if not server.running():
            _progress("starting the embedded server")
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
            connection, migrations, to=options.to, dry_run=options.dry_run, report=_progress
        )
    names = [migration.file_name for migration in applied]
    if options.json:
        _say_json({"applied": names})
    elif not options.dry_run:
        count = len(names)
        _say(f"{count} migration{'s'[: count != 1]} applied" if names else "nothing to apply")
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
        _say_json([{"migration": name, "state": state} for name, state in rows])
    else:
        for name, state in sorted(rows):
            _say(f"{state:<12}  {name}")
        if not rows:
            _say("no migrations")
    _report(options, current.problems)
    return FINDINGS if current.problems else OK


def _verify(options: argparse.Namespace) -> int:
    from codered_spec.compiler import load
    from codered_spec.migrate.verify import verify

    schema = load(options.spec).schema
    with _connect(options, read_only=True) as connection:
        differences = verify(connection, schema)
    if options.json:
        _say_json(
            [
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
        )
    else:
        for difference in differences:
            _say(str(difference))
        count = len(differences)
        _say(
            f"{count} difference{'s'[: count != 1]} between the database and {options.spec}"
            if differences
            else f"no difference: the database is what {options.spec} says"
        )
    return FINDINGS if differences else OK


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

        _say(json.dumps(data, ensure_ascii=False, indent=2, default=str))
    else:
        sys.stdout.write(canonical_text(data))
    _report(options, left_out)
    return FINDINGS if left_out else OK


def _db(options: argparse.Namespace) -> int:
    if options.action != "psql":  # what follows are our own options, not those of psql
        rest = _Parser(prog=f"codered-spec db {options.action}")
        _global_options(rest, top=False)
        try:
            rest.parse_args(options.arguments, namespace=options)
        except SystemExit as stop:
            return int(stop.code or 0)
    server = _server(options)
    if options.action == "stop":
        running = server.running()
        server.stop()
        _say("stopped" if running else "not running")
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
        _say_json({"url": server.dsn()})
    else:
        _say(server.dsn() if options.action == "url" else f"running at {server.dsn()}")
    return OK


def _demo(options: argparse.Namespace) -> int:
    from codered_spec.demo import demo, summary

    run = demo(options.spec, _server(options), _progress)
    if options.json:
        _say_json(run.to_dict())
    else:
        for line in summary(run):
            _say(line)
    return FINDINGS if run.differences else OK


_COMMANDS = {
    "check": _check,
    "db": _db,
    "demo": _demo,
    "fmt": _fmt,
    "generate": _generate,
    "introspect": _introspect,
    "migrate": _migrate,
    "sql": _sql,
    "status": _status,
    "sync": _sync,
    "verify": _verify,
}
