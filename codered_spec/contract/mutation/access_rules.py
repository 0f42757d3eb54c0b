"""Mutants of access that nobody's session can tell from the schema, excluded by rules.

As with the other rules: they look at what was changed, and the score fails if one of these mutants
is noticed after all.
"""

from __future__ import annotations

import re
from typing import Final

from codered_spec.contract.access import OUTSIDER, READER, WRITER
from codered_spec.contract.mutation.access import FAULTS_TOLD, NULL_ID, OPTION
from codered_spec.contract.mutation.equivalents import Equivalence
from codered_spec.contract.mutation.operators import Mutant
from codered_spec.emit.access import TOKEN
from codered_spec.emit.rollups import deltas_name
from codered_spec.migrate.lowering import lowered
from codered_spec.model.schema import ACTIONS, Event, Function, Policy, Schema, Table

_SERVER: Final = {READER: {"select"}, WRITER: {"insert", "update", "delete"}}
"""What the server itself lets these roles do with every table."""


def access_equivalence(spec: Schema, mutant: Mutant) -> Equivalence | None:
    """The rule by which a mutant of access behaves like the schema, or None."""
    return next((rule for rule in ACCESS_EQUIVALENCES if rule.holds(spec, mutant)), None)


_lowered: dict[int, tuple[Schema, Schema]] = {}


def _wanted(spec: Schema) -> Schema:
    """The spec as a database holds it; kept, as each mutant asks, and hashing it takes long."""
    if id(spec) not in _lowered:
        _lowered.clear()
        _lowered[id(spec)] = spec, lowered(spec)
    return _lowered[id(spec)][1]


# ---- rights to tables -------------------------------------------------------------------------

_Rights = dict[str, tuple[frozenset[str], frozenset[str], frozenset[str]]]
"""Of each privilege: the columns, and which conditions let a row be touched, and be left behind."""


def _rights(schema: Schema, person: str, table: Table) -> _Rights:
    known = {person, "public"}
    every = frozenset(column.name for column in table.columns)
    found: _Rights = {}
    privileges = {p for g in table.grants if g.role in known for p in g.privileges}
    for privilege in privileges | _SERVER.get(person, set()):
        columns = {
            column
            for grant in table.grants
            if grant.role in known and privilege in grant.privileges
            for column in (grant.columns or every)
        }
        if privilege in _SERVER.get(person, set()):
            columns |= every
        plain = privilege.removesuffix(OPTION)
        before = _conditions(schema, person, table, plain, "using")
        behind = _conditions(schema, person, table, plain, "with_check")
        own = (frozenset(columns), before, behind)
        found[privilege] = own
        if privilege != plain:  # whoever may hand a right on has it
            found.setdefault(plain, own)
    return found


def _conditions(
    schema: Schema, person: str, table: Table, action: str, field: str
) -> frozenset[str]:
    """Any one of them suffices; none lets nothing through."""
    if not table.row_security:
        return frozenset({"true"})
    own = [
        policy
        for policy in table.policies
        if policy.command in (action, "all") and {person, "public"} & set(policy.roles)
    ]
    walls = {_condition(p, action, field) for p in own if not p.permissive} - {"true"}
    doors = {_condition(p, action, field) for p in own if p.permissive} - {"false"}
    if action == "insert":  # refused in any case: by the policy, or by the function that it calls
        doors = {text for text in doors if _calls_only(schema, person, text)}
    if "false" in walls or not doors:
        return frozenset()
    return frozenset({"true"} if "true" in doors else doors) | {f"and {w}" for w in walls}


def _condition(policy: Policy, action: str, field: str) -> str:
    if action in ("select", "delete"):
        field = "using"
    if field == "using":
        return (policy.using or "true") if action != "insert" else "true"
    return policy.with_check or policy.using or "true"


def _calls_only(schema: Schema, person: str, condition: str) -> bool:
    names = set(re.findall(r"\.(\w+)\(\)", condition))
    return all(
        function.public_execute or person in function.execute
        for function in schema.functions
        if function.name in names
    )


def _same_rights(spec: Schema, mutant: Mutant) -> bool:
    before = _wanted(spec)
    if mutant.schema is None:
        return False
    old, new = before.table(mutant.table), mutant.schema.table(mutant.table)
    if old is None or new is None or old == new:
        return False
    if old.force_row_security != new.force_row_security:
        return False
    return all(
        _rights(before, person, old) == _rights(mutant.schema, person, new)
        for person in (*before.usage, READER, WRITER)
    )


def _way_walled(spec: Schema, mutant: Mutant) -> bool:
    if mutant.detail != "cut" or mutant.operator not in ("USING changed", "WITH CHECK changed"):
        return False
    after = mutant.schema
    assert after is not None
    table = after.table(mutant.table)
    assert table is not None
    policy = next(p for p in table.policies if p.name == mutant.target)
    through = re.search(
        rf" FROM {re.escape(spec.name)}\.(\w+)\)", str(policy.using or policy.with_check)
    )
    if through is None:
        return False
    parent = after.table(through[1])
    return parent is not None and all(
        any(
            p.command == "select" and role in p.roles and p.using != "true" for p in parent.policies
        )
        for role in policy.roles
    )


# ---- views and functions ----------------------------------------------------------------------


def _no_tables(spec: Schema, mutant: Mutant) -> bool:
    if mutant.operator != "reader added":
        return False
    view = next(v for v in _wanted(spec).views if v.name == mutant.table)
    newcomers = {OUTSIDER} if mutant.detail == OUTSIDER else set(_wanted(spec).usage)
    return mutant.detail in (OUTSIDER, "public") and newcomers - {OUTSIDER} <= set(view.select)


def _no_usage(_spec: Schema, mutant: Mutant) -> bool:
    return mutant.operator == "caller added" and mutant.detail == OUTSIDER


def _function(spec: Schema, mutant: Mutant) -> Function | None:
    return next((f for f in _wanted(spec).functions if f.name == mutant.table), None)


def _reads_nothing(spec: Schema, mutant: Mutant) -> bool:
    function = _function(spec, mutant)
    if function is None or mutant.operator != "function runs as another":
        return False
    return f"{spec.name}." not in getattr(function.body, "source", "")


def _inner(spec: Schema, mutant: Mutant) -> bool:
    function = _function(spec, mutant)
    if function is None or function.returns == "trigger" or function.execute:
        return False
    return mutant.operator in ("function runs as another", "search path removed")


def _caller_has_all(spec: Schema, mutant: Mutant) -> bool:
    function = _function(spec, mutant)
    full = {role.name for role in spec.roles if role.everything}
    return (
        function is not None
        and mutant.operator == "function runs as another"
        and mutant.detail == "definer"
        and bool(function.execute)
        and set(function.execute) <= full
    )


def _owner_truncates(spec: Schema, mutant: Mutant) -> bool:
    if mutant.operator != "function runs as another":
        return False
    events = {
        event
        for table in _wanted(spec).tables
        for trigger in table.triggers
        if trigger.function == mutant.table
        for event in trigger.events
    }
    return events == {Event.TRUNCATE}


def _queued_by_owner(spec: Schema, mutant: Mutant) -> bool:
    firing = [
        (table, trigger)
        for table in _wanted(spec).tables
        for trigger in table.triggers
        if trigger.function == mutant.table
    ]
    return (
        mutant.operator == "function runs as another"
        and bool(firing)
        and all(trigger.deferred and not table.grants for table, trigger in firing)
    )


def _owner_has_all(spec: Schema, mutant: Mutant) -> bool:
    full = {role.name for role in spec.roles if role.everything}
    table = _wanted(spec).table(mutant.table)
    return (
        mutant.operator == "row security forced"
        and table is not None
        and {policy.command for policy in table.policies if full & set(policy.roles)}
        == set(ACTIONS)
    )


def _caught_by_caller(_spec: Schema, mutant: Mutant) -> bool:
    return (mutant.table, mutant.detail) == (TOKEN, FAULTS_TOLD)


def _gone_by_then(spec: Schema, mutant: Mutant) -> bool:
    deltas = {deltas_name(rollup.source) for rollup in spec.rollups if rollup.kept}
    others = ("for update", "for delete")
    return mutant.table in deltas and mutant.operator == "policy added" and mutant.detail in others


def _null_id(_spec: Schema, mutant: Mutant) -> bool:
    return mutant.operator == "access function changed" and mutant.detail == NULL_ID


ACCESS_EQUIVALENCES: Final = (
    Equivalence(
        "same rights",
        "Nobody who can name the table gains or loses a privilege, a column or a row: the newcomer"
        " has no right to the schema or to the action, has the row already, or is refused by the"
        " function that the policy calls; or no policy lets anybody in.",
        _same_rights,
    ),
    Equivalence(
        "way walled itself",
        "The query of the policy reads the parent with the rights of whoever asks, and the"
        " parent's own policies leave the same rows.",
        _way_walled,
    ),
    Equivalence(
        "no right to the tables",
        "A view runs with the rights of its reader, and the newcomer may not use the schema or"
        " read its tables.",
        _no_tables,
    ),
    Equivalence("outside of the schema", "The newcomer has no right to use the schema.", _no_usage),
    Equivalence(
        "reads nothing", "The function reads no table, as whoever it runs.", _reads_nothing
    ),
    Equivalence(
        "inner function",
        "Nobody may call the function but functions of the owner, whose rights and search path"
        " hold inside of it, too.",
        _inner,
    ),
    Equivalence(
        "caller has everything",
        "Whoever may call the function may do all that it does himself.",
        _caller_has_all,
    ),
    Equivalence(
        "only the owner truncates",
        "The function is called by TRUNCATE alone, which nobody but the owner may do.",
        _owner_truncates,
    ),
    Equivalence(
        "queued by the owner",
        "Since Postgres 18 a deferred trigger runs as whoever queued it: here a function of the"
        " owner, as nobody else may write to the table.",
        _queued_by_owner,
    ),
    Equivalence(
        "owner has everything",
        "On a server like Supabase's the owner is a member of the role with all rights, whose"
        " policies let everything through.",
        _owner_has_all,
    ),
    Equivalence(
        "caught by the caller",
        "What the function raises, the only function that calls it catches in the same way.",
        _caught_by_caller,
    ),
    Equivalence(
        "gone by then",
        "Deltas are folded and removed before the transaction that left them ends: nobody else ever"
        " finds a row to change or remove.",
        _gone_by_then,
    ),
    Equivalence("NULL id", "NULL among the ids is equal to no id.", _null_id),
)
