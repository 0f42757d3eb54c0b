"""Wrong usage: each line marked so is an error of mypy and of pyright, and no other line is."""

from codered_spec.rows import TaskInsert, TaskRow, TaskUpdate, Zone
from codered_spec.validators import problems, validate

typo: Zone = "gren"  # error
typo_in_a_list: TaskUpdate = {
    "impact_axes": ["A", "F"],  # error
}
typo_in_a_row: TaskInsert = {
    "project_id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "title": "a",
    "description": "b",
    "zone": "Green",  # error
    "size": "xs",
    "status": "backlog",
}
missing: TaskInsert = {  # error
    "project_id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "title": "a",
    "zone": "green",
    "size": "xs",
    "status": "backlog",
}
unknown: TaskUpdate = {"zome": "green"}  # error
null: TaskUpdate = {"title": None}  # error
of_another_type: TaskUpdate = {"task_token_budget": "1"}  # error
validate("tasks", [("zone", "green")])  # error
problems(5, {})  # error


def read(stored: TaskRow) -> str:
    """A column is read that the table does not have, and one that may be NULL."""
    if stored["titel"]:  # error
        return ""
    return stored["task_token_budget"]  # error
