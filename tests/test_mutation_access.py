"""Access and rollups in the mutation score: some mutants, and the exams that notice them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from codered_spec import load_spec
from codered_spec.connection import connect
from codered_spec.contract.mutation.access import access_mutants
from codered_spec.contract.mutation.access_rules import ACCESS_EQUIVALENCES
from codered_spec.contract.mutation.guarded import PLACES, GuardJudge
from codered_spec.contract.mutation.operators import Mutant
from codered_spec.contract.mutation.rollups import ROLLUP_EQUIVALENCES, rollup_mutants
from codered_spec.emit.ddl import emit_sql
from codered_spec.migrate.diff import diff
from codered_spec.postgres import SUPERUSER, EmbeddedServer
from codered_spec.sources.database.reader import read_catalog
from codered_spec.sql import identifier

ROOT: Final = Path(__file__).resolve().parents[1]
SPEC: Final = load_spec(ROOT / "schema.yaml")
ACCESS: Final = tuple(access_mutants(SPEC))
ROLLUPS: Final = tuple(rollup_mutants(SPEC))


def judge_of(server: EmbeddedServer, template: str, place: str) -> Iterator[GuardJudge]:
    name = f"guarded_{uuid.uuid4().hex}"
    with connect(server.dsn()) as admin:
        create = f"create database {identifier(name)} template {identifier(template)}"
        admin.execute(create.encode())
    with connect(server.dsn(database=name)) as owner, owner.transaction():
        owner.execute(emit_sql(SPEC).encode())
    with connect(server.dsn(SUPERUSER, name)) as connection:
        yield GuardJudge(connection, SPEC, place)
    with connect(server.dsn(SUPERUSER)) as admin:
        admin.execute(f"drop database {identifier(name)} with (force)".encode())


@pytest.fixture(scope="module")
def access(server: EmbeddedServer, template: str) -> Iterator[GuardJudge]:
    yield from judge_of(server, template, "access")


@pytest.fixture(scope="module")
def rollups(server: EmbeddedServer, template: str) -> Iterator[GuardJudge]:
    yield from judge_of(server, template, "rollups")


def one(mutants: tuple[Mutant, ...], text: str) -> Mutant:
    return next(mutant for mutant in mutants if str(mutant) == text)


@pytest.mark.parametrize(
    "text",
    [
        "policy role changed: tasks.service_role_select to public",
        "USING constant: doc_chunks.codered_agent_delete true",
        "USING constant: tasks.codered_agent_update true",
        "WITH CHECK constant: tasks.codered_agent_insert true",
        "WITH CHECK constant: tasks.codered_agent_update true",
        "policy added: access_keys.mutant for insert",
        "row security disabled: access_keys.access_keys",
        "row security forced: access_keys.access_keys",
        "grant added: tasks.grants delete to codered_agent",
        "grant added: tasks.grants truncate to service_role",
        "grant added: tasks.grants select to public",
        "grant widened: agent_runs.grants select to authenticated",
        "grant option added: tasks.grants select to codered_agent",
        "view runs as its owner: task_budgets.view",
        "caller added: token_scope.function public",
        "function runs as another: codered_agent_scope.function invoker",
        "search path removed: codered_agent_scope.function",
        "access function changed: token_scope.function signature unchecked",
        "schema usage added: schema.schema public",
    ],
)
def test_a_mutant_of_access_is_noticed(access: GuardJudge, text: str) -> None:
    fate = access.fate(one(ACCESS, text))
    assert (fate.stillborn, fate.verify, fate.contract, fate.equivalence) == (
        None,
        True,
        True,
        None,
    )


@pytest.mark.parametrize("rule", ACCESS_EQUIVALENCES, ids=lambda rule: rule.name)
def test_a_rule_excludes_what_the_exam_cannot_notice(access: GuardJudge, rule: object) -> None:
    excluded = (m for m in reversed(ACCESS) if PLACES["access"][1](SPEC, m) is rule)
    fate = access.fate(next(excluded))
    assert (fate.verify, fate.contract) == (True, False)


def test_a_mutant_of_access_is_what_it_says(access: GuardJudge) -> None:
    first = {mutant.operator: mutant for mutant in ACCESS if mutant.schema is not None}
    for mutant in [*first.values()][::3]:
        assert mutant.schema is not None
        with access.connection.transaction(force_rollback=True):
            access.connection.execute(mutant.sql.encode())
            live = read_catalog(access.connection, SPEC.name)
        assert not diff(mutant.schema, live), str(mutant)


@pytest.mark.parametrize(
    "text",
    [
        "rollup trigger removed: agent_runs.agent_runs_note_insert",
        "rollup trigger disabled: agent_runs.agent_runs_note_update",
        "rollup trigger removed: agent_runs.agent_runs_forget_truncate",
        "rollup trigger disabled: agent_runs_deltas.agent_runs_deltas_fold",
        "rollup function emptied: llm_usage_daily_recount.function",
        "rollup function emptied: check_llm_usage_daily.function",
        "rollup function emptied: agent_runs_overflow.function",
        "sign changed: agent_runs_note.function '-' (1)",
        "side lost: check_llm_usage_daily.function 'full join' (1)",
    ],
)
def test_a_mutant_of_a_rollup_is_noticed(rollups: GuardJudge, text: str) -> None:
    fate = rollups.fate(one(ROLLUPS, text))
    assert (fate.verify, fate.contract, fate.equivalence) == (True, True, None)


def test_a_mutant_that_changes_nothing_survives(access: GuardJudge, rollups: GuardJudge) -> None:
    for judge in (access, rollups):
        fate = judge.fate(Mutant("nothing", "tasks", "tasks", "", "select 1"))
        assert not fate.verify
        assert not fate.contract
        assert not fate.sound


def test_there_are_many_and_none_twice() -> None:
    assert len(ACCESS) > 3000
    for mutants in (ACCESS, ROLLUPS):
        assert len({mutant.sql for mutant in mutants}) == len(mutants)
    names = {rule.name for rule in ROLLUP_EQUIVALENCES}
    found = {getattr(PLACES["rollups"][1](SPEC, m), "name", None) for m in ROLLUPS}
    assert names <= found
