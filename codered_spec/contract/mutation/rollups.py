"""The mutants of what keeps rollups: its triggers, and the bodies of its functions.

A body is emptied, is that of another rollup (another measure, key or window), or has one sign,
bound or step changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Final

from codered_spec.contract.mutation.access import replaced
from codered_spec.contract.mutation.equivalents import Equivalence
from codered_spec.contract.mutation.operators import Mutant
from codered_spec.emit.rollups import expanded
from codered_spec.migrate.lowering import lowered
from codered_spec.model.schema import Function, Rollup, Schema
from codered_spec.sql import identifier


def rollup_mutants(spec: Schema) -> Iterator[Mutant]:
    """Every mutant of the triggers and functions that keep the rollups of a spec."""
    schema = lowered(spec)
    own = {t.name: {g.name for g in t.triggers} for t in spec.tables}
    for table in schema.tables:
        for trigger in table.triggers:
            if trigger.name in own.get(table.name, set()):
                continue
            named = f"trigger {identifier(trigger.name)}"
            of = identifier(schema.name, table.name)
            for operator, sql, new in (
                ("rollup trigger removed", f"drop {named} on {of};", ()),
                (
                    "rollup trigger disabled",
                    f"alter table {of} disable {named};",
                    (replace(trigger, enabled=False),),
                ),
            ):
                rest = tuple(t for t in table.triggers if t != trigger)
                changed = replace(table, triggers=(*rest, *new))
                tables = tuple(changed if t.name == table.name else t for t in schema.tables)
                after = replace(schema, tables=tables)
                yield Mutant(operator, table.name, trigger.name, "", sql, after)
    names = {f.name for f in spec.functions}
    kept = {f.name for f in expanded(spec).functions} - names
    others = list(_variants(spec))
    for function in schema.functions:
        if function.name not in kept:
            continue
        yield replaced(schema, function, "rollup function emptied", "", _empty(function))
        # the deltas have the same columns, whatever is summed of them
        for detail, variant in others if not function.name.endswith("_note") else ():
            found = next((f for f in variant.functions if f.name == function.name), None)
            if found is not None and found.body != function.body:
                operator = "function of another rollup"
                yield replaced(schema, function, operator, detail, _source(found))
        for operator, detail, source in _edits(function):
            yield replaced(schema, function, operator, detail, source)


def _source(function: Function) -> str:
    return str(getattr(function.body, "source", ""))


def _empty(function: Function) -> str:
    if function.returns in ("trigger", "numeric"):
        return "begin return null; end"
    return "begin return 0; end" if function.returns == "bigint" else "begin return; end"


def _variants(spec: Schema) -> Iterator[tuple[str, Schema]]:
    """The schema with one rollup of it being another one."""
    for rollup in spec.rollups:
        for detail, other in _others(rollup):
            rollups = tuple(other if r is rollup else r for r in spec.rollups)
            yield f"{rollup.name}: {detail}", lowered(replace(spec, rollups=rollups))


def _others(rollup: Rollup) -> Iterator[tuple[str, Rollup]]:
    measures = rollup.measures
    for place, measure in enumerate(measures):
        for source in dict.fromkeys([*(m.source for m in measures), None]):
            if source != measure.source:
                new = replace(measure, source=source)
                changed = (*measures[:place], new, *measures[place + 1 :])
                yield f"{measure.target} of {source}", replace(rollup, measures=changed)
    plain = [key for key in rollup.keys if not key.day]
    for first, second in pairwise(plain):
        turned = {first: replace(first, source=second.source)}
        turned[second] = replace(second, source=first.source)
        keys = tuple(turned.get(key, key) for key in rollup.keys)
        yield f"{first.target} and {second.target} exchanged", replace(rollup, keys=keys)
    if rollup.window is not None and rollup.window.grid is not None:
        wider = replace(rollup.window, grid=2 * rollup.window.grid)
        yield "windows twice as long", replace(rollup, window=wider)


_CHANGES: Final = {
    "note": (
        ("sign changed", r"-(?=sum\(|count\(|coalesce\(|1 as)", ""),
        ("ticket refused", r"row_number\(\) over \(\) = 1|true(?=\n      from)", "false"),
    ),
    "fold": (
        ("sign changed", r"(?<=set )(\w+ = t\.\w+) \+ (new\.|d\.)", r"\1 - \2"),
        ("sign changed", r"(, \w+ = t\.\w+) \+ (new\.|d\.)", r"\1 - \2"),
        ("sign changed", r"( then t\.\w+::numeric) \+ (new\.|d\.)", r"\1 - \2"),
        (
            "sign changed",
            r"(order by [\d, ]+\n +on conflict[^\n]*? then t\.\w+::numeric) \+ (excluded\.)",
            r"\1 - \2",
        ),
        ("step removed", r"\n  delete from [^\n]*xact = fold\.own;", ""),
        ("step removed", r"perform \S+_recount\([^;]*;", "null;"),
        ("step removed", r"delete from [^;]*? t where [^;]*;(?=\n *end if)", "null;"),
        ("emptiness not looked up", r"empty and not exists \(select[^;]*\) then", "empty then"),
        ("search turned", r"if not found then", "if found then"),
    ),
    "forget": (("step removed", r"  delete from [^;]*;", ""),),
    "recount": (
        ("step removed", r"delete from [^;]*;", ""),
        ("step removed", r"update (?!set)[^;]*;", ""),
        ("bound changed", r" < ", " <= "),
    ),
    "rebuild": (
        ("search turned", r"not exists", "exists"),
        ("difference not looked at", r"\n    where \([^\n]*is distinct from[^\n]*", ""),
        ("count changed", r"\(select count\(\*\) from (gone|put)\)", "0"),
    ),
    "check": (
        ("comparison turned", r"is distinct from", "is not distinct from"),
        ("side lost", r"full join", "left join"),
        ("side lost", r"full join", "right join"),
    ),
    "refresh": (
        ("clause removed", r"\$[12] is null or |not isfinite\(\$[12]\) or |or \$1 >= \$2", ""),
        ("bound changed", r"\$1 >= \$2", "$1 > $2"),
        ("bound changed", r"(?<= )< \$2 and", "<= $2 and"),
        ("scope not looked at", r" and \(\$3 is null or r\.[^\n]*\)", ""),
        ("search turned", r"not exists", "exists"),
        ("difference not looked at", r"\n    where \([^\n]*is distinct from[^\n]*", ""),
        ("count changed", r"\(select count\(\*\) from (gone|put)\)", "0"),
    ),
}
"""Of the functions by the word in their names: what an operator finds, and what it puts there."""


def _edits(function: Function) -> Iterator[tuple[str, str, str]]:
    source = _source(function)
    word = next((w for w in _CHANGES if w in function.name.split("_")), None)
    seen = {source}
    for operator, pattern, new in _CHANGES.get(word or "", ()):
        for number, match in enumerate(re.finditer(pattern, source)):
            changed = source[: match.start()] + match.expand(new) + source[match.end() :]
            if changed not in seen:
                seen.add(changed)
                yield operator, f"{match[0].strip()[:50]!r} ({number + 1})", changed


def _kept_anyway(_spec: Schema, mutant: Mutant) -> bool:
    return mutant.table.startswith("refresh_") and mutant.detail.endswith("windows twice as long")


ROLLUP_EQUIVALENCES: Final = (
    Equivalence(
        "kept anyway",
        "The function does more than it has to: a window that every write keeps is refreshed,"
        " which changes nothing.",
        _kept_anyway,
    ),
)


def rollup_equivalence(spec: Schema, mutant: Mutant) -> Equivalence | None:
    """The rule by which a mutant of a rollup behaves like the schema, or None."""
    return next((rule for rule in ROLLUP_EQUIVALENCES if rule.holds(spec, mutant)), None)
