"""The arguments of the command line."""

import argparse
import re
import sys

from codered_spec.console import INPUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import date
    from typing import NoReturn


def _count(text: str) -> int:
    """A number of rows."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)


def _seed(text: str) -> int:
    """A whole number of at most 18 digits."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of up to 18 digits")
    return int(text)


def _day(text: str) -> "date":
    """A day of a year that calendars of Python and Postgres share."""
    import re
    from datetime import date

    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) and "0002" <= text[:4] <= "9998":
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2026-03-31")


_SECRET = re.compile(r"(://|(?:password|secret|_key)\s*=).*", re.DOTALL | re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """A parser that complains as the rest of the program does."""

    def error(self, message: str) -> "NoReturn":
        """Prints usage and diagnostic C001, and exits with 2."""
        self.print_usage(sys.stderr)
        # a connection string in a wrong place, say: nobody knows where the password in it ends
        message = _SECRET.sub(r"\1***", message)
        sys.stderr.write(f"error C001: {message}\n    fix: see `{self.prog} --help`\n")
        raise SystemExit(INPUT)


def global_options(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """The options that may stand before and after the command."""

    def default(value: object) -> object:
        return value if top else argparse.SUPPRESS

    add = parser.add_argument
    add("--spec", metavar="FILE", default=default("schema.yaml"), help="spec file (schema.yaml)")
    add("--json", action="store_true", default=default(False), help="results as JSON")
    add("--no-color", action="store_true", default=default(False), help="never colour messages")
    add("-v", "--verbose", action="store_true", default=default(False), help="say more")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = Parser(prog="codered-spec", description="A Postgres schema as data, proved to agree.")
    global_options(parser, top=True)
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary)
        global_options(sub, top=False)
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
    sub = command("validate", "check rows against the validators")
    sub.add_argument("table", help="table that the rows are meant for")
    sub.add_argument("file", help="JSON lines, JSON or CSV, by its ending; - for standard input")
    sub.add_argument("--format", choices=("jsonl", "json", "csv"), help="whatever the ending says")
    sub.add_argument("--update", action="store_true", help="rows are changes: nothing is required")
    command("sql", "print the whole schema for an empty database")
    sub = database("migrate", "apply pending migrations")
    sub.add_argument("--to", metavar="VERSION", help="stop after this version")
    sub.add_argument("--dry-run", action="store_true", help="say what would be applied")
    database("status", "what is applied, pending or edited")
    sub = database("verify", "compare a live database with the spec")
    sub.add_argument("--data", action="store_true", help="compare also rollups with their source")
    sub = database("contract", "judge rows in a scratch database as the spec does; keep none")
    sub.add_argument("tables", nargs="*", metavar="TABLE", help="tables to examine (else all)")
    sub.add_argument(
        "--rows", type=_count, metavar="N", help="random valid rows of each table (200)"
    )
    sub.add_argument("--seed", type=_seed, metavar="S", help="repeat the rows of an earlier run")
    sub = database("introspect", "print a live schema as a spec")
    sub.add_argument("--schema", metavar="NAME", help="schema to read (else the spec's)")
    sub = database("usage", "tokens and dollars of agents, in CodeRed's own schema")
    sub.add_argument(
        "--by", choices=("day", "agent", "model", "project"), default="day", help="one line each"
    )
    sub.add_argument(
        "--since", type=_day, metavar="DATE", help="first day (else 30 days before --until)"
    )
    sub.add_argument(
        "--until", type=_day, metavar="DATE", help="end of the period, not included (else tomorrow)"
    )
    sub.add_argument("--project", metavar="SLUG", help="of this project alone")
    sub.add_argument("--timezone", metavar="ZONE", help="days of an IANA time zone (else of UTC)")
    sub.add_argument("--csv", action="store_true", help="results as CSV, without the total")
    sub = database("export", "copy runs and usage, of CodeRed's own schema, into files")
    sub.add_argument("--parquet", metavar="DIR", required=True, help="new folder of Parquet files")
    sub.add_argument("--replace", action="store_true", help="let it replace an earlier export")
    sub = command("db", "the embedded server")
    sub.add_argument("action", choices=("start", "stop", "url", "psql"))
    sub.add_argument("arguments", nargs=argparse.REMAINDER, help="for psql: its own arguments")
    return parser
