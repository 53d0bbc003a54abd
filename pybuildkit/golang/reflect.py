"""Values that know their Go type, for what Go does by reflection: templates, printing, JSON.

Has no counterpart in Go, where package reflect reads the types themselves.

Python's own bool, int, float and str stand for Go's; these classes stand for the rest. A value of a named type is a
subclass with a `go_type`.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Method = Callable[..., object]


class Int64(int):
    """An int64."""

    go_type = "int64"


class Uint64(int):
    """A uint64."""

    go_type = "uint64"


class Int32(int):
    """An int32."""

    go_type = "int32"


def named(go_type: str, text: str) -> str:
    """A text of a named string type."""

    class NamedString(str):
        __slots__ = ()

    NamedString.go_type = go_type  # type: ignore[attr-defined]  # read by type_name
    return NamedString(text)


class Nil:
    """A nil pointer, slice or map of a type."""

    def __init__(self, go_type: str) -> None:
        self.go_type = go_type

    def __bool__(self) -> bool:
        return False

    def method(self, name: str) -> Method | None:
        """A method of the type that it would point at, which fails when it is called; None where there is none."""
        if self.go_type != "*time.Time" or Time(0).method(name) is None:
            return None

        def fail(*_: object) -> object:
            raise NilPointerError(f"value method time.Time.{name} called using nil *Time pointer")

        return fail


class NilPointerError(BuildkitError):
    """A method of a value is called on a nil pointer."""


class Slice(list[object]):
    """A slice; `is_nil` says whether it is nil rather than empty."""

    def __init__(self, element_type: str, members: Iterable[object] = (), *, is_nil: bool = False) -> None:
        super().__init__(members)
        self.go_type = "[]" + element_type
        self.is_nil = is_nil


class Map(dict[str, object]):
    """A map with keys of type string."""

    def __init__(self, value_type: str, members: Mapping[str, object] = {}, *, is_nil: bool = False) -> None:
        super().__init__(members)
        self.go_type = "map[string]" + value_type
        self.is_nil = is_nil


class Field:
    """A field of a struct: its name in Go, its name in JSON, its value, and whether JSON leaves it out when empty."""

    __slots__ = ("json_name", "name", "omit_empty", "value")

    def __init__(self, name: str, json_name: str, value: object, omit_empty: bool = False) -> None:
        self.name = name
        self.json_name = json_name
        self.value = value
        self.omit_empty = omit_empty


class Struct:
    """A struct, or a pointer to one.

    Attributes:
        go_type: such as `client.UsageInfo`, with a star in front where it is a pointer.
        fields: in the order of the declaration.
    """

    def __init__(self, go_type: str, *fields: Field, is_pointer: bool = False) -> None:
        self._name = go_type
        self.is_pointer = is_pointer
        self.fields = fields

    @property
    def go_type(self) -> str:
        """The type's name."""
        return "*" + self._name if self.is_pointer else self._name

    def field(self, name: str) -> Field | None:
        """The field of that name, or None."""
        for field in self.fields:
            if field.name == name:
                return field
        return None

    def method(self, name: str) -> Method | None:
        """The method of that name, or None."""
        return None

    def go_string(self) -> str | None:
        """What the type's String method gives, None where it has none."""
        return None

    def go_json(self) -> object:
        """The plain value that JSON shows."""
        return {
            field.json_name: to_json(field.value)
            for field in self.fields
            if not (field.omit_empty and _is_empty(field.value))
        }


def _is_empty(value: object) -> bool:
    return not isinstance(value, Struct) and not value


def to_json(value: object) -> object:
    """What `golang.json.marshal` is to be given for a value."""
    if isinstance(value, Struct):
        return value.go_json()
    if isinstance(value, Nil):
        return None
    if isinstance(value, dict):
        from pybuildkit.golang.json import sorted_map

        members = {str(key): to_json(member) for key, member in value.items()}
        return None if getattr(value, "is_nil", False) else sorted_map(members)
    if isinstance(value, (list, tuple)):
        return None if getattr(value, "is_nil", False) else [to_json(member) for member in value]
    return value


def type_name(value: object) -> str:
    """The name of a value's Go type."""
    if value is None:
        return "nil"
    name = getattr(value, "go_type", None)
    if isinstance(name, str):
        return name
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "bool"),
        (int, "int"),
        (float, "float64"),
        (str, "string"),
        (bytes, "[]uint8"),
        (list, "[]interface {}"),
        (dict, "map[string]interface {}"),
    )
    for kind, text in kinds:
        if isinstance(value, kind):
            return text
    return type(value).__name__


_SECONDS_BEFORE_1970 = 62_135_596_800
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


class Time(Struct):
    """A time.Time, or a pointer to one; its JSON and its text are the time's."""

    def __init__(self, ns: int, offset: int | None = None, *, is_pointer: bool = False) -> None:
        super().__init__("time.Time", is_pointer=is_pointer)
        self.ns = ns
        self.offset = offset

    def go_string(self) -> str:
        from pybuildkit.golang import time

        return time.string(self.ns, self.offset)

    def go_fields(self) -> list[tuple[str, object]]:
        """The struct behind the text: the fraction in nanoseconds, the seconds since the year 1, the zone."""
        zone = Nil("*time.Location") if self.offset is None else Struct("time.Location", is_pointer=True)
        seconds, nanoseconds = divmod(self.ns, 1_000_000_000)
        return [("wall", Uint64(nanoseconds)), ("ext", Int64(seconds + _SECONDS_BEFORE_1970)), ("loc", zone)]

    def go_json(self) -> object:
        from pybuildkit.golang import time

        return time.rfc3339_nano(self.ns, self.offset)

    def method(self, name: str) -> Method | None:
        simple: dict[str, Method] = {
            "Unix": lambda: Int64(self.ns // 1_000_000_000),
            "UnixMilli": lambda: Int64(self.ns // 1_000_000),
            "UnixMicro": lambda: Int64(self.ns // 1_000),
            "UnixNano": lambda: Int64((self.ns + (1 << 63)) % (1 << 64) - (1 << 63)),
            "String": self.go_string,
            "UTC": lambda: Time(self.ns),
            "Local": self._local,
            "IsZero": self._is_zero,
            "YearDay": self._year_day,
            "Nanosecond": lambda: self.ns % 1_000_000_000,
            "Format": self._format,
        }
        for kind, layout in (("Month", "January"), ("Weekday", "Monday")):
            if name == kind:
                return lambda: Enum.of(f"time.{kind}", self._number_of(kind), self._format(layout))
        parts = {"Year": 0, "Day": 2, "Hour": 3, "Minute": 4, "Second": 5}
        if name in parts:
            return lambda: self._parts()[parts[name]]
        return simple.get(name)

    def _is_zero(self) -> bool:
        from pybuildkit.golang import time

        return self.ns == time.ZERO

    def _local(self) -> Time:
        from pybuildkit.golang import time

        return Time(self.ns, time.local_offset(self.ns) or None)

    def _parts(self) -> tuple[int, ...]:
        from pybuildkit.golang import time

        return time.civil(self.ns, self.offset)

    def _year_day(self) -> int:
        year, month, day = self._parts()[:3]
        is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return _DAYS_BEFORE[month - 1] + day + (is_leap and month > 2)

    def _number_of(self, kind: str) -> int:
        """The month, from 1, or the day of the week, from 0 for Sunday."""
        if kind == "Month":
            return self._parts()[1]
        return ((self.ns // 1_000_000_000 + (self.offset or 0)) // 86_400 + 4) % 7

    def _format(self, layout: str) -> str:
        from pybuildkit.golang import time

        return time.format(self.ns, layout, self.offset)


class Duration(Int64):
    """A time.Duration."""

    go_type = "time.Duration"

    def go_string(self) -> str:
        """The span as Go prints it."""
        from pybuildkit.golang import duration

        return duration.string(self)

    def method(self, name: str) -> Method | None:
        """The method of that name, or None."""
        from pybuildkit.golang import duration

        methods: dict[str, Method] = {
            "String": self.go_string,
            "Seconds": lambda: duration.seconds(self),
            "Minutes": lambda: duration.seconds(self) / 60,
            "Hours": lambda: duration.seconds(self) / 3600,
            "Milliseconds": lambda: Int64(int(self / 1_000_000)),
            "Microseconds": lambda: Int64(int(self / 1_000)),
            "Nanoseconds": lambda: Int64(self),
        }
        return methods.get(name)


class Enum(Int32):
    """A protobuf enumeration: its text is the name of its value, its JSON the number."""

    text = ""

    @staticmethod
    def of(go_type: str, number: int, text: str) -> Enum:
        """The value of that number and name."""
        value = Enum(number)
        value.go_type = go_type
        value.text = text
        return value

    def go_string(self) -> str:
        """The name of the value."""
        return self.text

    def method(self, name: str) -> Method | None:
        """The method of that name, or None."""
        methods: dict[str, Method] = {"String": self.go_string, "Number": lambda: Int32(self)}
        return methods.get(name)
