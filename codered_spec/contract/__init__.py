"""Property tests from a spec: valid rows, rows with one fault, and the verdict of a real server.

>>> from codered_spec.contract import rows, invalid_rows
"""

from codered_spec.contract.choices import RandomChoices
from codered_spec.contract.faults import Fault, Neighbour, Scene, faults, neighbours
from codered_spec.contract.rules import Row
from codered_spec.contract.strategies import Invalid, Valid, connected_rows, invalid_rows, rows
from codered_spec.contract.world import Plan, World

__all__ = [
    "Fault",
    "Invalid",
    "Neighbour",
    "Plan",
    "RandomChoices",
    "Row",
    "Scene",
    "Valid",
    "World",
    "connected_rows",
    "faults",
    "invalid_rows",
    "neighbours",
    "rows",
]
