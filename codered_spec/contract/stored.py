"""Whether what Postgres stored is what a validator promised."""

from __future__ import annotations

import json
from array import array
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from codered_spec.model.types import (
    Array,
    Date,
    DoublePrecision,
    Jsonb,
    Numeric,
    PgType,
    Real,
    Timestamptz,
    Uuid,
    Vector,
)


def kept(type_: PgType, promised: Any, stored: Any) -> bool:
    """Whether the JSON that Postgres printed is the value, of the right type, that was promised."""
    if promised is None or stored is None:
        return promised is None and stored is None
    try:
        match type_:
            case Jsonb():
                wanted: Any = json.loads(promised, parse_float=Decimal)
                return bool(wanted == stored)
            case Array(element):
                return isinstance(stored, list) and (
                    len(promised) == len(stored)
                    and all(kept(element, p, s) for p, s in zip(promised, stored, strict=True))
                )
            case Vector():
                wanted = json.loads(promised) if isinstance(promised, str) else promised
                return array("f", json.loads(stored)) == array("f", wanted)
            case Real():
                single = array("f", [float(stored)]) == array("f", [promised])
                return single and type(promised) is float
            case DoublePrecision():
                return bool(promised == float(stored)) and type(promised) is float
            case Timestamptz():
                instant = datetime.fromisoformat(stored)
                zones = {instant.utcoffset(), promised.utcoffset()}
                return bool(instant == promised) and zones == {timedelta(0)}
            case Date():
                return type(promised) is date and promised.isoformat() == stored
            case Uuid():
                return type(promised) is UUID and str(promised) == stored
            case Numeric(precision):
                same = Decimal(str(stored)) == promised and type(promised) is Decimal
                return same and (precision is None or str(stored) == str(promised))
            case _:
                return type(stored) is type(promised) and bool(stored == promised)
    except (TypeError, ValueError, ArithmeticError):  # a column of another type printed it
        return False
