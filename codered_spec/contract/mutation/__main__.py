"""``python -m codered_spec.contract.mutation``: the scores, on the embedded server.

Exits with 1 if a mutant survives that no rule excludes, or if a rule excludes one that is noticed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from codered_spec import load_spec
from codered_spec.connection import connect
from codered_spec.contract.mutation.access_rules import ACCESS_EQUIVALENCES
from codered_spec.contract.mutation.equivalents import EQUIVALENCES
from codered_spec.contract.mutation.guarded import guarded_fates
from codered_spec.contract.mutation.rollups import ROLLUP_EQUIVALENCES
from codered_spec.contract.mutation.score import Fate, fates
from codered_spec.contract.mutation.source import EQUIVALENCES as SOURCE_EQUIVALENCES
from codered_spec.contract.mutation.validators import SourceFate, source_fates
from codered_spec.emit.ddl import emit_sql
from codered_spec.model.schema import Schema
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sql import identifier

PLACES = ("database", "spec", "validators", "access", "rollups")
RULES = {"access": ACCESS_EQUIVALENCES, "rollups": ROLLUP_EQUIVALENCES}
"""The rules of the places that have their own."""
PROCESSES = min(4, os.cpu_count() or 2)
LEAST_NOTICED = 0.95
"""Of the mutants of the validators: a few are equivalent in ways that no rule tells."""


@contextmanager
def databases(schema: Schema, count: int, role: str = "postgres") -> Iterator[list[str]]:
    """DSNs by which a role finds so many databases with the schema, on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="codered-mutation-") as folder:
        server = EmbeddedServer(Path(folder) / "state", {"fsync": "off"})
        server.start()
        try:
            found = []
            for number in range(count):
                name = f"mutation_{number}"
                with connect(server.dsn()) as connection:
                    connection.execute(f"create database {identifier(name)}".encode())
                dsn = server.dsn(database=name)
                with connect(dsn) as connection, connection.transaction():
                    connection.execute(emit_sql(schema).encode())
                found.append(server.dsn(role, name))
            yield found
        finally:
            server.stop()


def report(found: list[Fate], place: str) -> Iterator[str]:
    """A Markdown table of the fates by operator, and the mutants that are not as they must be."""
    lived = [fate for fate in found if fate.stillborn is None]
    baseline = place == "database"
    by = "exam" if place in RULES else "contract"
    yield f"| operator ({place}) | mutants | verify | equivalent | {by} |" + (
        " valid rows only |" if baseline else ""
    )
    yield f"|---|---:|---:|---:|---:|{'---:|' if baseline else ''}"
    for operator in [*sorted({fate.operator for fate in lived}), None]:
        own = [fate for fate in lived if operator in (None, fate.operator)]
        differing = [fate for fate in own if fate.equivalence is None]
        alone = f" {_share([f.valid_rows for f in differing])} |" if baseline else ""
        yield (
            f"| {operator or '**all**'} | {len(own)} | {_share([f.verify for f in own])}"
            f" | {len(own) - len(differing)} | {_share([f.contract for f in differing])} |{alone}"
        )
    yield ""
    yield f"{len(found) - len(lived)} further mutants cannot exist:"
    for why, count in Counter(_kind(f.stillborn) for f in found if f.stillborn).most_common():
        yield f"- {count}: {why}"
    yield ""
    excluded = Counter(fate.equivalence for fate in lived if fate.equivalence)
    for rule in RULES.get(place, EQUIVALENCES):
        yield f"- {rule.name}: {excluded[rule.name]} mutants. {rule.reason}"
    yield ""
    for fate in lived:
        if not fate.sound:
            what = "not noticed by verify" if not fate.verify else "not noticed by behaviour"
            if fate.verify and fate.equivalence:
                what = f"noticed, though the rule {fate.equivalence!r} excludes it"
            yield f"{what}: {fate.mutant}"


def source_report(found: list[SourceFate]) -> Iterator[str]:
    """The same for mutants of the validators."""
    yield "| operator (validators) | mutants | equivalent | noticed |"
    yield "|---|---:|---:|---:|"
    for operator in [*sorted({fate.operator for fate in found}), None]:
        own = [fate for fate in found if operator in (None, fate.operator)]
        differing = [fate for fate in own if fate.equivalence is None]
        yield (
            f"| {operator or '**all**'} | {len(own)} | {len(own) - len(differing)}"
            f" | {_share([f.noticed for f in differing])} |"
        )
    yield ""
    excluded = Counter(fate.equivalence for fate in found if fate.equivalence)
    for name, reason in SOURCE_EQUIVALENCES.items():
        yield f"- {name}: {excluded[name]} mutants. {reason}"
    yield ""
    for fate in found:
        if fate.noticed and fate.equivalence:
            yield f"noticed, though the rule {fate.equivalence!r} excludes it: {fate.mutant}"
    survivors = Counter(f.operator for f in found if not f.noticed and f.equivalence is None)
    if survivors:
        told = ", ".join(f"{count} of {operator!r}" for operator, count in survivors.most_common())
        yield f"not noticed: {told}"


def _share(hits: list[bool]) -> str:
    return f"{sum(hits) / len(hits):.1%}" if hits else "–"


def _kind(message: str) -> str:
    return message.split(":")[0][:100]


def _told(found: list[Fate], place: str) -> bool:
    """Prints the report; whether mutants were judged at all, and each was noticed as it must be."""
    sys.stdout.write("\n".join([*report(found, place), ""]))
    return all(f.sound for f in found) and any(f.stillborn is None for f in found)


def main(arguments: list[str]) -> int:
    """Runs the analysis; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m codered_spec.contract.mutation")
    parser.add_argument("--spec", default="schema.yaml")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th mutant")
    parser.add_argument("--place", choices=PLACES, action="append", help="all by default")
    options = parser.parse_args(arguments)
    places = set(options.place or PLACES)
    spec = load_spec(options.spec)
    sound = True
    for place in (place for place in PLACES if place in places and place in RULES):
        with databases(spec, PROCESSES, SUPERUSER) as dsns:
            found = guarded_fates(dsns, spec, place, every=options.every)
        sound &= _told(found, place)
    if places <= RULES.keys():
        return 0 if sound else 1
    # a view would keep the columns that it reads from changing their type, and roles name views
    schema = replace(spec, views=(), roles=())
    with databases(schema, PROCESSES) as dsns:
        for place in ("database", "spec"):
            if place in places:
                sound &= _told(fates(dsns, schema, every=options.every, place=place), place)
        if "validators" in places:
            mutants = source_fates(dsns, schema, options.every)
            sys.stdout.write("\n".join([*source_report(mutants), ""]))
            differing = [fate.noticed for fate in mutants if fate.equivalence is None]
            rules_hold = not any(fate.noticed for fate in mutants if fate.equivalence)
            sound &= rules_hold and sum(differing) >= LEAST_NOTICED * len(differing)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
