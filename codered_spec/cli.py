"""The command line: arguments in, exit code out.

Results go to stdout, diagnostics and progress to stderr. Exit codes: 0 all well, 1 findings, 2 bad
usage or input, 3 database unreachable or refusing.
"""

import argparse
import os
import sys

from codered_spec.arguments import parser as make_parser
from codered_spec.commands import COMMANDS, recall_check
from codered_spec.console import INPUT, OK, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from codered_spec.errors import CoderedError


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
    parser = make_parser()
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
        verdict = recall_check(options)
        if verdict is not None:
            return verdict
    return _guarded(options)


def _guarded(options: argparse.Namespace) -> int:
    """Runs the command; whatever goes wrong becomes a diagnostic and an exit code."""
    from codered_spec.errors import CoderedError, Diagnostic, InputError

    try:
        code = COMMANDS[options.command](options)
        sys.stdout.flush()
    except CoderedError as error:
        report(options, error.diagnostics)
        return int(error.exit_code)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        interrupted = Diagnostic("C005", "interrupted", "run it again: nothing is half-written")
        report(options, (interrupted,))
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
    report(options, error.diagnostics)
    return int(error.exit_code)
