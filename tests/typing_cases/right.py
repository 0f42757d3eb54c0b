"""Right usage: neither mypy nor pyright complains."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

from codered_spec.rows import ImpactAxis, TaskInsert, TaskRow, TaskUpdate, Zone
from codered_spec.validators import problems, validate

zone: Zone = "green"
axes: list[ImpactAxis] = ["A", "E"]
task: TaskInsert = {
    "project_id": uuid4(),
    "title": "a",
    "description": "b",
    "zone": zone,
    "impact_axes": axes,
    "size": "xs",
    "status": "backlog",
    "domain_tags": ["infra", "another one"],
    "task_cost_ceiling_usd": Decimal("1.5"),
    "milestone_id": None,
    "created_at": datetime.now(UTC),
}
change: TaskUpdate = {"status": "done", "created_by": None}
row: dict[str, object] = validate("tasks", task)
changed: dict[str, object] = validate("tasks", change, for_update=True)
reasons: list[str] = [problem.message for problem in problems("tasks", task)]


def read(stored: TaskRow) -> UUID:
    """What is read has the types of psycopg."""
    return stored["id"]
