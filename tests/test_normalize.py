"""The canonical form forgets order where there is none, and the fingerprint forgets nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any, Final, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from model_strategies import schemas

from codered_spec.model import schema as model
from codered_spec.model import types
from codered_spec.model.normalize import fingerprint, normalize, physical
from codered_spec.model.schema import Check, Column, Range, Schema, Table, ValueSet

few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])

UNORDERED: Final = {
    "Schema": ("tables", "extensions", "functions", "rollups", "value_sets", "others"),
    "Table": (
        "uniques foreign_keys checks indexes triggers policies grants opaque_columns"
        " opaque_constraints"
    ).split(),
    "Check": ("traits",),
    "Index": ("parameters",),
}


def shuffled(data: DataObject, node: Any) -> Any:
    """The same tree with everything that has no order of its own in another order."""
    if isinstance(node, tuple):
        return tuple(shuffled(data, item) for item in node)
    if not is_dataclass(node) or isinstance(node, type):
        return node
    new: dict[str, Any] = {}
    for field in fields(node):
        value = shuffled(data, getattr(node, field.name))
        if field.name in UNORDERED.get(type(node).__name__, ()):
            value = tuple(data.draw(st.permutations(value)))
        new[field.name] = value
    return replace(node, **new)


@few
@given(schema=schemas(), data=st.data())
def test_order_does_not_change_the_fingerprint(schema: Schema, data: DataObject) -> None:
    assert fingerprint(shuffled(data, schema)) == fingerprint(schema)


@few
@given(schema=schemas(), data=st.data())
def test_order_does_not_change_the_physical_form(schema: Schema, data: DataObject) -> None:
    assert physical(shuffled(data, schema)) == physical(schema)


@few
@given(schema=schemas())
def test_the_canonical_form_is_its_own_canonical_form(schema: Schema) -> None:
    assert normalize(normalize(schema)) == normalize(schema)


def test_the_order_of_tables_and_columns_is_kept() -> None:
    columns = (Column("b", types.Uuid()), Column("a", types.Uuid()))
    schema = Schema("s", (Table("b", columns), Table("a", ())))
    assert normalize(schema) == schema


@pytest.mark.parametrize("spelling", ["10", "10.0", "1E+1", "10.000"])
def test_a_bound_has_one_spelling(spelling: str) -> None:
    table = Table("t", (), checks=(Check("k", Range("c", Decimal(spelling))),))
    (found,) = normalize(Schema("s", (table,))).tables[0].checks
    assert str(found.rule) == str(Range("c", Decimal("10")))


def test_every_zero_is_the_same_bound() -> None:
    table = Table("t", (), checks=(Check("k", Range("c", Decimal("-0.00"))),))
    (found,) = normalize(Schema("s", (table,))).tables[0].checks
    assert str(found.rule) == str(Range("c", Decimal("0")))


# ---- every field counts -----------------------------------------------------------------------

CLASSES: Final = {
    name: class_
    for module in (model, types)
    for name, class_ in vars(module).items()
    if isinstance(class_, type) and is_dataclass(class_) and class_.__module__ == module.__name__
}


def sample(annotation: Any) -> Any:
    """Some value of a field's type."""
    options = [option for option in get_args(annotation) if option is not type(None)]
    if annotation is str:
        return "a"
    if annotation is bool:
        return False
    if annotation is int:
        return 1
    if annotation is Decimal:
        return Decimal(1)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation))
    if isinstance(annotation, type) and is_dataclass(annotation):
        return built(annotation)
    if getattr(annotation, "__origin__", None) is tuple:
        if Ellipsis in options:
            return (sample(options[0]),)
        return tuple(sample(option) for option in options)
    return sample(options[0])


def built(class_: type) -> Any:
    """An object of a model class with a value in every field."""
    hints = get_type_hints(class_)
    return class_(**{field.name: sample(hints[field.name]) for field in fields(class_)})


def altered(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case str():
            return value + "b"
        case int() | Decimal():
            return value + 1
        case Enum():
            return list(type(value))[-1]
        case tuple():
            return (*value[:-1], altered(value[-1]))
        case types.Uuid():
            return types.Text()
        case model.Now():
            return model.RandomUuid()
        case model.RowChanged():
            return model.OpaqueCondition("x")
    first = fields(value)[0]
    return replace(value, **{first.name: altered(getattr(value, first.name))})


def holding(part: Any) -> Schema:
    """A schema that has the part somewhere."""
    match part:
        case Schema():
            return part
        case Table():
            return Schema("s", (part,))
        case model.Trigger():
            return holding(Table("t", (), triggers=(part,)))
        case Check():
            return holding(Table("t", (), checks=(part,)))
        case model.Index():
            return holding(Table("t", (), indexes=(part,)))
        case Range():
            return holding(Check("k", part))
        case ValueSet():
            return Schema("s", value_sets=(part,))
    return Schema("s", comment=part)


def all_fields() -> Iterator[tuple[str, str]]:
    for name, class_ in CLASSES.items():
        for field in fields(class_):
            yield name, field.name


IGNORED: Final = {("Schema", "value_sets"), ("ValueSet", "name"), ("ValueSet", "columns")}
"""Names of shared value lists exist in the spec only."""


@pytest.mark.parametrize(("class_", "field"), [f for f in all_fields() if f not in IGNORED])
def test_every_field_changes_the_fingerprint(class_: str, field: str) -> None:
    before = built(CLASSES[class_])
    after = replace(before, **{field: altered(getattr(before, field))})
    assert fingerprint(holding(before)) != fingerprint(holding(after))


@pytest.mark.parametrize(("class_", "field"), sorted(IGNORED))
def test_a_field_of_the_spec_alone_does_not(class_: str, field: str) -> None:
    before = built(CLASSES[class_])
    after = replace(before, **{field: altered(getattr(before, field))})
    assert fingerprint(holding(before)) == fingerprint(holding(after))


def test_another_class_with_the_same_fields_has_another_fingerprint() -> None:
    assert fingerprint(holding(model.Flat("c"))) != fingerprint(holding(model.Finite("c")))


def test_nothing_and_the_word_for_it_differ() -> None:
    assert fingerprint(Schema("s", comment=None)) != fingerprint(Schema("s", comment="None"))


def test_a_text_cannot_imitate_two() -> None:
    one, other = model.OneOf("c", ("a", "bstr:c")), model.OneOf("c", ("astr:b", "c"))
    assert fingerprint(holding(Check("k", one))) != fingerprint(holding(Check("k", other)))


def test_a_value_outside_of_the_model_has_no_fingerprint() -> None:
    with pytest.raises(TypeError):
        fingerprint(holding(1.5))
