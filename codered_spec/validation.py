"""What the generated validators share: value tests, problems, and the explanation of a refusal.

Only the standard library is imported, because agents import the validators at run time. A value
passes a test here exactly if Postgres stores it, and stores the same, through each of three
transports: parameters of psycopg, COPY, and JSON as PostgREST sends it. Where the transports differ
the tests are stricter than each of them; ``docs/reference/validators.md`` lists these places.
"""

from __future__ import annotations

import re
import sys
from array import array
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from math import isfinite
from uuid import UUID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

MAX_TEXT = 2**24
"""Code points: JSON strings end at 256 MB, and a row as JSON or as a line of COPY at a gigabyte."""

MAX_DEPTH = 100
"""Levels of nesting in a JSON value."""

MAX_ITEMS = 2**19
"""Values in a JSON value, all levels together, and elements of an array."""

MAX_DIMENSIONS = 16_000
"""Of a vector whose type does not say how many."""

_FLOAT32_MAX = 3.4028234663852886e38
_FLOAT32_MIN = 1.1754943508222875e-38  # smaller ones lose digits, and vanish in some transports
_HALF_BITS = 0x1000_0000  # what a double has beyond single precision, halfway between two singles
_REST_BITS = 0x1FFF_FFFF
_WHOLE_FLOAT = 2**53  # from here on a double skips whole numbers
_HUGE = 10**400
FIRST = datetime(1, 1, 2, tzinfo=UTC)
LAST = datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)
_read_instant = datetime.fromisoformat
_FARTHEST = timedelta(hours=16)
_EXACT = Context(prec=2000, rounding=ROUND_HALF_UP)

# To translate all digits to 0 and compare takes half the time of a regular expression.
HEX_TO_ZERO = bytes.maketrans(b"0123456789abcdefABCDEF", b"0" * 22)
UUID_FORM = b"00000000-0000-0000-0000-000000000000"
"""What ``HEX_TO_ZERO`` makes of every UUID text, and of nothing else."""

NEAREST = 1.5 * 2.0**52
"""Added and subtracted again, it rounds a float below 2**51 like ``round``, half to even."""

_decimal_text = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?", re.ASCII).fullmatch
_date_text = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII).fullmatch
_DIGITS_TO_ZERO = bytes.maketrans(b"0123456789", b"0" * 10)
_USUAL_INSTANT = b"0000-00-00T00:00:00+00:00"
_INSTANTS = frozenset(
    b"0000-00-00" + separator + b"00:00:00" + fraction + offset
    for separator in (b"T", b" ")
    for fraction in (b"", b".0", b".00", b".000", b".0000", b".00000", b".000000")
    for offset in (b"Z", b"+00:00", b"-00:00")
)
_READS_24 = sys.version_info >= (3, 14)  # as the midnight after


class _Missing:
    """A column that a row does not name. Not NULL: the default applies."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"  # the one object also in another process


MISSING = _Missing()


class JsonText(str):
    """A JSON value as text, for a ``jsonb`` column: psycopg sends it like any string."""

    __slots__ = ()


# ---- tests of values, used by the generated expressions ---------------------------------------


def unicode_ok(value: str) -> bool:
    """Whether the text has neither NUL nor a lone surrogate."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def size(value: str) -> int:
    """Bytes of the text in UTF-8; the caller knows that it can be encoded."""
    return len(value) if value.isascii() else len(value.encode())


def number(value: Any) -> Decimal | None:
    """The exact number that every transport would store, or None if there is no such number.

    A float counts when fifteen digits say all of it: Postgres reads no more of a float parameter.
    """
    kind = type(value)
    if kind is Decimal:
        # as_tuple() makes an object of each digit, and is not needed for a short number
        exact: Decimal = value
        if exact.is_finite() and -900 < exact.adjusted() < 900 and len(str(exact)) < 90:
            return exact
        exponent = exact.as_tuple().exponent
        # a letter for NaN and infinities
        return exact if type(exponent) is int and -1000 <= exponent <= 1000 else None
    if kind is int:
        return Decimal(value) if -_HUGE < value < _HUGE else None
    if kind is float:
        if not isfinite(value):
            return None
        text = repr(value)
        # one of the characters is a point or an e
        if len(text) > 16 and len(text.partition("e")[0].replace(".", "").strip("-0")) > 15:
            return None
        return Decimal(text)
    if kind is str and _decimal_text(value):
        return Decimal(value)
    return None


def float_ok(value: Any) -> bool:
    """A finite number that ``double precision`` stores unchanged."""
    kind = type(value)
    if kind is float:
        return isfinite(value)
    return kind is int and -_WHOLE_FLOAT <= value <= _WHOLE_FLOAT


def real_ok(value: Any) -> bool:
    """A finite number within the range of ``real``, neither overflowing nor vanishing."""
    if not float_ok(value):
        return False
    magnitude: float = abs(value)
    return magnitude == 0 or _FLOAT32_MIN <= magnitude <= _FLOAT32_MAX


def single(value: float) -> float:
    """The number that ``real`` stores for the decimal digits of ``value``.

    A double halfway between two singles rounds to the even one, its shortest decimal form may lie
    on either side; a text goes the way of its digits.
    """
    near = array("f", (value,))[0]
    if near != value:
        (bits,) = array("Q", array("d", (value,)).tobytes())
        if bits & _REST_BITS == _HALF_BITS:
            digits, exact = abs(Decimal(repr(float(value)))), abs(Decimal(value))
            if digits != exact:
                bits += _HALF_BITS if digits > exact else -_HALF_BITS
                near = array("d", array("Q", (bits,)).tobytes())[0]
    return near + 0.0  # without the sign of zero, which jsonb cannot carry


def date_of(value: Any) -> date | None:
    """The day that a ``date`` or an ISO text names, or None."""
    if type(value) is date:
        return value
    if type(value) is str and _date_text(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    return None


def instant(value: Any) -> datetime | None:
    """The instant that a value names, or None: a time zone is required, infinity does not count.

    Instants within a day of the ends of Python's calendar are refused, because another time zone
    could not show them.
    """
    try:
        if type(value) is str:
            form = value.encode().translate(_DIGITS_TO_ZERO)
            if form != _USUAL_INSTANT and form not in _INSTANTS:
                return None
            if _READS_24 and value[11:13] == "24":
                return None
            read = _read_instant(value)
            if read.tzinfo is not UTC and (value[-5:] >= "16" or value[-2] > "5"):
                return None
            if "0002" <= value < "9999":  # a year from which no time zone leads to the ends
                return read
            value = read
        elif type(value) is not datetime or value.tzinfo is None:
            return None
        elif value.tzinfo is not UTC:
            offset = value.utcoffset()
            if offset is None or offset.microseconds or not -_FARTHEST < offset < _FARTHEST:
                return None  # no text form that Postgres reads
        return value if FIRST <= value <= LAST else None
    except Exception:  # noqa: BLE001 -- no such day, or a tzinfo, which is anybody's code
        return None


def json_ok(value: Any) -> bool:
    """Whether ``jsonb`` can hold the value: storable text, finite numbers, bounded depth."""
    level: list[Any] = [value]
    budget = MAX_ITEMS
    text = MAX_TEXT
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                text -= len(item)
                if text < 0 or not unicode_ok(item):
                    return False
            elif kind is dict:
                budget -= len(item)
                if budget < 0:
                    return False
                for key in item:
                    if type(key) is not str or not unicode_ok(key):
                        return False
                    text -= len(key)
                deeper.extend(item.values())
            elif kind is list:
                budget -= len(item)  # before they are collected: a list may contain itself
                if budget < 0:
                    return False
                deeper.extend(item)
            elif kind is float:
                if not isfinite(item):
                    return False
            elif kind is int:
                if not -_HUGE < item < _HUGE:
                    return False
            elif item is not None and kind is not bool:
                return False
        if not deeper:
            return text >= 0
        level = deeper
    return False


def texts_ok(value: Any, limit: int = MAX_TEXT) -> bool:
    """A list of storable texts, together of at most ``limit`` bytes."""
    if type(value) is not list or len(value) > MAX_ITEMS:
        return False
    total = 0
    for item in value:
        if type(item) is not str or not unicode_ok(item):
            return False
        total += size(item)
    return total <= limit


def subset_ok(value: Any, allowed: Collection[str]) -> bool:
    """A list whose elements are all among the allowed texts."""
    return (
        type(value) is list
        and len(value) <= MAX_ITEMS
        and all(type(item) is str and item in allowed for item in value)
    )


def uuids_ok(value: Any) -> bool:
    """A list of UUIDs, each an object or a text with hyphens."""
    return (
        type(value) is list
        and len(value) <= MAX_ITEMS
        and all(
            (item.isascii() and item.encode().translate(HEX_TO_ZERO) == UUID_FORM)
            if type(item) is str
            else type(item) is UUID
            for item in value
        )
    )


def vector_ok(value: Any, dimensions: int | None, *, nonzero: bool) -> bool:
    """A list of so many finite numbers that single precision can hold."""
    if type(value) is not list or not _dimensions_ok(value, dimensions):
        return False
    kinds = {*map(type, value)}
    if not kinds <= _NUMERIC:
        return False
    if int in kinds and any(type(item) is int and not float_ok(item) for item in value):
        return False
    if not (-_FLOAT32_MAX <= min(value) <= max(value) <= _FLOAT32_MAX):
        return False
    if not all(map(isfinite, value)):
        return False
    if any(item and -_FLOAT32_MIN < item < _FLOAT32_MIN for item in value):
        return False
    return not nonzero or any(value)


_NUMERIC = {int, float}


def _dimensions_ok(value: list[Any], dimensions: int | None) -> bool:
    return 1 <= len(value) <= MAX_DIMENSIONS if dimensions is None else len(value) == dimensions


def ordered(lower: object, upper: object, strict: bool, convert: Callable[[Any], Any]) -> bool:
    """Whether two values of one column type, as they are stored, stand in order.

    True where one is missing or refused by its own column.
    """
    if lower is None or upper is None:
        return True
    try:
        a, b = convert(lower), convert(upper)
        return bool(a < b if strict else a <= b)
    except Exception:  # noqa: BLE001 -- values of any kind come here
        return True


# ---- normalisation ----------------------------------------------------------------------------


def convert_uuid(value: Any) -> UUID:
    """A ``uuid.UUID``."""
    # UUID(value) would look for the forms that the validator has kept out
    return value if type(value) is UUID else UUID(int=int(value.replace("-", ""), 16))


def convert_uuids(value: Any) -> list[UUID]:
    """A list of ``uuid.UUID``."""
    return [convert_uuid(item) for item in value]


def convert_numeric(scale: int | None) -> Callable[[Any], Decimal]:
    """Rounds as Postgres does, half away from zero, to ``scale`` digits; None keeps all."""
    unit = None if scale is None else Decimal(1).scaleb(-scale)

    def convert(value: Any) -> Decimal:
        found = number(value)
        assert found is not None
        if unit is None:
            return found or found.copy_abs()  # numeric has no negative zero
        rounded = found.quantize(unit, None, _EXACT)
        return rounded or rounded.copy_abs()

    return convert


def convert_whole(value: Any) -> int:
    """A whole number; a text of digits is none. Raises TypeError."""
    if type(value) is not int:
        raise TypeError(type(value).__name__)
    return value


def convert_date(value: Any) -> date:
    """A ``datetime.date``."""
    found = date_of(value)
    assert found is not None
    return found


def convert_instant(value: Any) -> datetime:
    """An aware ``datetime`` in UTC."""
    found = instant(value)
    assert found is not None
    return found if found.tzinfo is UTC else found.astimezone(UTC)


def convert_json(value: Any) -> JsonText:
    """The value as JSON text."""
    import json

    return JsonText(json.dumps(value, ensure_ascii=False, allow_nan=False))


def convert_float(value: float) -> float:
    """A ``float``: psycopg takes no list with whole numbers among others."""
    return float(value) + 0.0  # without the sign of zero, which jsonb cannot carry


def convert_vector(value: Any) -> list[float]:
    """The numbers in single precision, as pgvector keeps them."""
    singles = array("f", value).tolist()
    if singles != value:
        doubles = array("Q", array("d", value).tobytes())
        if any(bits & _REST_BITS == _HALF_BITS for bits in doubles):
            singles = [single(item) for item in value]
    return singles if all(singles) else [item + 0.0 for item in singles]


def convert_vector_text(value: Any) -> str:
    """A vector in an array, as text: JSON would read a list as another dimension of the array."""
    return "[" + ",".join(map(repr, convert_vector(value))) + "]"


def convert_each(convert: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    """The conversion of a list, element by element."""

    def convert_list(value: Any) -> list[Any]:
        return [convert(item) for item in value]

    return convert_list


# ---- problems ---------------------------------------------------------------------------------


class Column:
    """What the explanation of a refusal knows of a column: its name, its type and some facts."""

    nullable: bool = False
    default: bool = False
    allowed: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    minimum: str | None = None
    maximum: str | None = None
    pattern: str | None = None
    max_bytes: int | None = None
    nonzero: bool = False

    def __init__(self, name: str, type_: str, **facts: Any) -> None:
        self.name = name
        self.type = type_
        self.__dict__.update(facts)


class Problem:
    """One reason to refuse a row. Code, message and hint are worked out when they are asked for.

    ``code`` is stable: ``missing``, ``null``, ``unknown_column``, ``type``, ``value``, ``range``,
    ``format``, ``size``, ``text``, ``elements``, ``dimensions``, ``zero_vector`` or ``order``.
    """

    __slots__ = ("_after", "_column", "_known_columns", "_value")

    def __init__(
        self,
        column: Column,
        value: Any,
        *,
        after: str | None = None,
        known_columns: Collection[str] | None = None,
    ) -> None:
        self._column = column
        self._value = value
        self._after = after
        self._known_columns = known_columns

    @property
    def column(self) -> str:
        """The column that the problem is about."""
        return self._column.name

    @property
    def allowed(self) -> tuple[str, ...]:
        """The allowed values of a closed list, else ``()``."""
        return self._column.allowed

    @property
    def code(self) -> str:
        """What kind of problem it is."""
        return self._explain()[0]

    @property
    def message(self) -> str:
        """What is wrong, in words."""
        return self._explain()[1]

    @property
    def hint(self) -> str | None:
        """The value or column that was probably meant, or None."""
        import difflib

        code = self.code
        options: Collection[str] = ()
        word: object = self._value
        if code == "unknown_column":
            options, word = self._known_columns or (), self.column
        elif code == "value":
            options = self._column.allowed
            if type(word) is list:
                strange = [i for i in word if type(i) is str and i not in options]
                word = strange[0] if strange else None
        if type(word) is not str or len(word) > _MAX_HINTED:
            return None
        same = [option for option in options if option.lower() == word.strip().lower()]
        close = same or difflib.get_close_matches(word, options, n=1)
        return f"did you mean {close[0]}?" if close else None

    def to_dict(self) -> dict[str, object]:
        """The problem as JSON data, so that an agent can mend its own output."""
        return {
            "column": self.column,
            "code": self.code,
            "message": self.message,
            "allowed": list(self.allowed),
            "hint": self.hint,
        }

    def _explain(self) -> tuple[str, str]:
        name = self._column.name
        if self._known_columns is not None:
            return "unknown_column", f"there is no column {name}"
        if self._after is not None:
            return "order", f"{name} must come after {self._after}"
        if self._value is MISSING:
            return "missing", f"{name} is required"
        if self._value is None:
            how = "leave it out to get the default" if self._column.default else "it is required"
            return "null", f"{name} cannot be null: {how}"
        code, reason = _diagnose(self._column, self._value)
        return code, f"{name}: {reason}"

    def __str__(self) -> str:
        hint = self.hint
        return f"{self.message} ({hint})" if hint else self.message

    def __repr__(self) -> str:
        return f"Problem({self.column!r}, {self.code!r}, {self.message!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


_MAX_HINTED = 200


def _show(value: Any) -> str:
    try:
        text = repr(value[:60] if type(value) is str else value)
    except Exception:  # noqa: BLE001 -- anybody's __repr__, and whole numbers of 5000 digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "…"


def _diagnose(column: Column, value: Any) -> tuple[str, str]:
    """The code and the words for a value that the column refuses."""
    type_ = column.type
    base = type_.partition("(")[0].removesuffix("[]")
    if type_.endswith("[]"):
        return _diagnose_array(column, value)
    if base in ("text", "varchar"):
        return _diagnose_text(column, value)
    if base in ("smallint", "integer", "bigint", "numeric", "real", "double precision"):
        return _diagnose_number(column, value)
    if base == "vector":
        return _diagnose_vector(column, value)
    wanted = {
        "uuid": "a UUID: 8-4-4-4-12 hexadecimal digits",
        "boolean": "true or false",
        "date": "a date: YYYY-MM-DD",
        "timestamptz": "an instant with a time zone: 2026-01-31T12:00:00+00:00",
        "jsonb": f"a JSON value without NUL, NaN or infinity, at most {MAX_DEPTH} levels deep",
    }[base]
    return "type", f"{_show(value)} is not {wanted}"


def _diagnose_text(column: Column, value: Any) -> tuple[str, str]:
    if type(value) is not str:
        return "type", f"{_show(value)} is not text"
    if column.allowed:
        return "value", f"{_show(value)} is not one of {', '.join(column.allowed)}"
    if not unicode_ok(value):
        return "text", "NUL and lone surrogates cannot be stored"
    if column.max_bytes is not None and size(value) > column.max_bytes:
        return "size", f"{size(value)} bytes, {column.max_bytes} are possible"
    longest = min(MAX_TEXT, int(column.type.partition("(")[2].rstrip(")") or MAX_TEXT))
    if len(value) > longest:
        return "size", f"{len(value)} characters, {longest} are possible"
    known = f", such as {column.known[0]}" if column.known else ""
    return "format", f"{_show(value)} does not match {column.pattern}{known}"


def _diagnose_number(column: Column, value: Any) -> tuple[str, str]:
    if column.type in ("smallint", "integer", "bigint"):
        if type(value) is not int:
            return "type", f"{_show(value)} is not a whole number"
    elif column.type in ("real", "double precision"):
        if type(value) is not int and not (type(value) is float and isfinite(value)):
            return "type", f"{_show(value)} is not a finite float or int"
    elif number(value) is None:
        if type(value) is float and isfinite(value):
            return "type", f"{value!r} has more than 15 digits: pass a Decimal or text"
        if type(value) is not int:
            return "type", f"{_show(value)} is not a finite number"
    lowest = f"at least {column.minimum}" if column.minimum is not None else ""
    highest = f"at most {column.maximum}" if column.maximum is not None else ""
    bounds = " and ".join(filter(None, (lowest, highest, f"within {column.type}")))
    return "range", f"{_show(value)} must be {bounds}"


def _diagnose_array(column: Column, value: Any) -> tuple[str, str]:
    if type(value) is not list:
        return "type", f"{_show(value)} is not a list"
    if column.allowed:
        strange = [item for item in value if type(item) is not str or item not in column.allowed]
        shown = ", ".join(map(_show, strange[:3]))
        return "value", f"{shown} not among {', '.join(column.allowed)}"
    if len(value) > MAX_ITEMS:
        return "size", f"{len(value)} elements, {MAX_ITEMS} are possible"
    limit = MAX_TEXT if column.max_bytes is None else min(MAX_TEXT, column.max_bytes)
    if all(type(item) is str and unicode_ok(item) for item in value) and not texts_ok(value, limit):
        return "size", f"the elements have more than {limit} bytes together"
    return "elements", f"an element is not {column.type.removesuffix('[]')}"


def _diagnose_vector(column: Column, value: Any) -> tuple[str, str]:
    dimensions = _dimensions(column.type)
    if type(value) is not list:
        return "type", f"{_show(value)} is not a list of numbers"
    if not _dimensions_ok(value, dimensions):
        needed = f"{dimensions} are" if dimensions else f"1 to {MAX_DIMENSIONS} are"
        return "dimensions", f"{len(value)} numbers, {needed} needed"
    if vector_ok(value, dimensions, nonzero=False):
        return "zero_vector", "a vector of zeros has no direction to compare"
    return "elements", "an element is not a number that single precision can hold"


def _dimensions(type_: str) -> int | None:
    inside = type_.partition("(")[2].rstrip(")")
    return int(inside) if inside else None


class InvalidRow(ValueError):  # noqa: N818 -- the public name
    """A row that the database would refuse; ``problems`` has every reason."""

    def __init__(self, table: str, problems: tuple[Problem, ...]) -> None:
        self.table = table
        self.problems = problems
        super().__init__(table, problems)

    def __str__(self) -> str:
        return f"{self.table}: " + "; ".join(map(str, self.problems))

    def to_dict(self) -> dict[str, object]:
        """The error as JSON data."""
        return {"table": self.table, "problems": [p.to_dict() for p in self.problems]}


def empty_row(columns: Mapping[str, Column]) -> dict[str, Any]:
    """What a row without any column says: NULL where a column takes it, else that it is missing.

    A row laid over it has every column in a fixed order, and more entries only if it has unknown
    ones.
    """
    return {name: None if column.nullable else MISSING for name, column in columns.items()}


def unknown_columns(row: Mapping[str, object], columns: Mapping[str, Column]) -> list[Problem]:
    """A problem for each key that is not a column."""
    return [
        Problem(Column(_key(key), "unknown"), row[key], known_columns=columns)
        for key in row
        if key not in columns
    ]


def _key(key: object) -> str:
    if type(key) is not str:
        return _show(key)
    return key.encode("utf-8", "backslashreplace").decode()


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    if type(row) is dict:
        return row
    if not hasattr(row, "keys"):
        raise TypeError(f"a row is a mapping of columns to values, not {type(row).__name__}")
    return dict(row)


class Validator:
    """The validator of one table, put together from its generated functions."""

    __slots__ = ("_problems", "_store", "columns", "name", "ok")

    def __init__(
        self,
        name: str,
        ok: Callable[[dict[str, Any]], bool],
        problems: Callable[[dict[str, Any], bool], list[Problem]],
        columns: Mapping[str, Column],
        store: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        self.name = name
        self.ok = ok
        """Whether the row can be inserted: the fast answer without reasons."""
        self._problems = problems
        self.columns = columns
        self._store = store

    def problems(self, row: Mapping[str, Any], *, for_update: bool = False) -> list[Problem]:
        """Every problem of the row, in the order of the columns; unknown columns first."""
        return self._problems(_plain(row), for_update)

    def validate(self, row: Mapping[str, Any], *, for_update: bool = False) -> dict[str, Any]:
        """The row as the database would store it. Raises :class:`InvalidRow`."""
        plain = row if type(row) is dict else _plain(row)
        if for_update or not self.ok(plain):
            found = self._problems(plain, for_update)
            if found:
                raise InvalidRow(self.name, tuple(found))
        return self._store(plain.copy())


# ---- JSON Schema ------------------------------------------------------------------------------

_NO_STRICT_FORM = ("jsonb", "vector")


def json_schema(
    columns: Mapping[str, Column], title: str, *, strict: bool = False
) -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of a row to insert, as JSON would carry it.

    ``strict`` keeps to what tool-calling interfaces accept: every property is required (NULL
    stands for one that is left out), and ``jsonb`` and ``vector`` columns are not offered. Every
    JSON row that the validator accepts satisfies the schema that is not strict; the reverse does
    not hold, because JSON Schema cannot count bytes or compare columns.
    """
    offered = {
        name: column
        for name, column in columns.items()
        if not (strict and column.type.partition("(")[0].removesuffix("[]") in _NO_STRICT_FORM)
    }
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "properties": {name: _property(column, strict) for name, column in offered.items()},
        "required": [
            name for name, c in offered.items() if strict or not (c.nullable or c.default)
        ],
        "additionalProperties": False,
    }
    if strict:
        del schema["$schema"]
    return schema


def _property(column: Column, strict: bool) -> dict[str, Any]:
    type_ = column.type
    if type_.endswith("[]"):
        item = Column(column.name, type_[:-2], allowed=column.allowed)
        found: dict[str, Any] = {"type": "array", "items": _property(item, strict)}
    else:
        found = _scalar(column, strict)
    if column.nullable or (strict and column.default):
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
        if "type" in found:
            kinds = found["type"] if isinstance(found["type"], list) else [found["type"]]
            found["type"] = [*kinds, "null"]
    if column.known:
        found["description"] = f"Known values, others are possible: {', '.join(column.known)}."
    return found


def _scalar(column: Column, strict: bool) -> dict[str, Any]:
    type_ = column.type
    base = type_.partition("(")[0]
    bounds: dict[str, Any] = {}
    if not strict:
        if column.minimum is not None:
            bounds["minimum"] = (
                float(column.minimum) if "." in column.minimum else int(column.minimum)
            )
        if column.maximum is not None:
            bounds["maximum"] = (
                float(column.maximum) if "." in column.maximum else int(column.maximum)
            )
    match base:
        case "uuid":
            return {"type": "string", "format": "uuid"}
        case "boolean":
            return {"type": "boolean"}
        case "smallint" | "integer" | "bigint":
            return {"type": "integer", **bounds}
        case "numeric":
            if strict:
                return {"type": "number"}
            bounds.pop("minimum", None)  # rounding lets half a unit below it through
            bounds.pop("maximum", None)
            return {"type": ["number", "string"], "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
        case "real":
            return {"type": "number"}  # rounding lets values a little outside of bounds through
        case "double precision":
            return {"type": "number", **bounds}
        case "date":
            return {"type": "string", "format": "date"}
        case "timestamptz":
            return {"type": "string", "format": "date-time"}
        case "jsonb":
            return {}
        case "vector":
            length = _dimensions(type_)
            return {
                "type": "array",
                "items": {"type": "number"},
                "minItems": length or 1,
                "maxItems": length or MAX_DIMENSIONS,
            }
    if column.allowed:
        return {"type": "string", "enum": list(column.allowed)}
    found: dict[str, Any] = {"type": "string"}
    if strict:
        return found
    if column.pattern is not None:
        found["pattern"] = column.pattern
    if column.max_bytes is not None:
        found["maxLength"] = column.max_bytes
    return found
