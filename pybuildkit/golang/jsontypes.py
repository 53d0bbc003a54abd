"""JSON read into types, as Go reads a struct: what is found, and the error for a value of a wrong type.

Mirrors the decoder of encoding/json, Go 1.26.

Names of members are found whatever their case, the last of several counts, unknown ones are dropped, null leaves the
empty value, and of several values of a wrong type the first is reported while the rest is still read.

A type is a `Kind`; values are plain: str, int, bytes, list, dict. No error quotes a string, except that of a time.
"""

from __future__ import annotations

from collections.abc import Mapping

from pybuildkit.golang import json
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

Json = dict[str, object]


class UnmarshalError(BuildkitError):
    """A JSON value of the wrong type: `json: cannot unmarshal VALUE into Go struct field PATH of type TYPE`."""


class Errors:
    """The first error of a reading, and where in the value the reading is.

    Args:
        root: the name of the outermost type.
    """

    def __init__(self, root: str) -> None:
        self.first: BuildkitError | None = None
        self._path = [root]
        self._elements = [False]

    def enter(self, token: str, is_element: bool = False) -> None:
        """Go to a member, or to an element of a list."""
        self._path.append(token)
        self._elements.append(is_element)

    def leave(self) -> None:
        """Go back."""
        self._path.pop()
        self._elements.pop()

    def wrong(self, value: object, kind: Kind, reason: str = "") -> None:
        """Note that the value is not of the kind."""
        into = ".".join(self._path)
        if len(self._path) == 1:
            into = "Go value"
        elif not self._elements[-1]:
            into = f"Go struct field {into}"
        text = f"json: cannot unmarshal {_describe(value, kind)} into {into} of type {kind.go_type}{reason}"
        self.note(UnmarshalError(text))

    def note(self, error: BuildkitError) -> None:
        """Note an error."""
        self.first = self.first or error


def _describe(value: object, kind: Kind) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        wanted = isinstance(kind, Int)
        return f"number {value.text if isinstance(value, json.Number) else value}" if wanted else "number"
    return "object" if isinstance(value, dict) else "array"


class Kind:
    """A type, by its name in Go."""

    go_type = ""

    def zero(self) -> object:
        """The empty value."""
        return None

    def read(self, value: object, errors: Errors) -> object:
        """The value in this type; the empty value, and a note, where it is of another one."""
        raise NotImplementedError


class String(Kind):
    """A text."""

    def __init__(self, go_type: str = "string") -> None:
        self.go_type = go_type

    def zero(self) -> object:
        return ""

    def read(self, value: object, errors: Errors) -> object:
        if isinstance(value, str):
            return value
        errors.wrong(value, self)
        return ""


class Int(Kind):
    """A whole number of 64 bits."""

    def __init__(self, go_type: str) -> None:
        self.go_type = go_type

    def zero(self) -> object:
        return 0

    def read(self, value: object, errors: Errors) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63:
            return value
        errors.wrong(value, self)
        return 0


class Time(Kind):
    """A time as RFC 3339 has it; nanoseconds since the epoch."""

    go_type = "time.Time"

    def zero(self) -> object:
        from pybuildkit.golang.time import ZERO

        return ZERO

    def read(self, value: object, errors: Errors) -> object:
        from pybuildkit.golang.time import RFC3339, TimeError, parse

        if not isinstance(value, str):
            errors.note(BuildkitError("Time.UnmarshalJSON: input is not a JSON string"))
            return self.zero()
        try:
            return parse(value, RFC3339).ns
        except TimeError as err:
            errors.note(err)
            return self.zero()


class Bytes(Kind):
    """Bytes, in base64 or as a list of numbers."""

    go_type = "[]uint8"

    def read(self, value: object, errors: Errors) -> object:
        if isinstance(value, list) and all(isinstance(item, int) and 0 <= item <= 255 for item in value):
            return bytes(value)
        if not isinstance(value, str):
            errors.wrong(value, self)
            return None
        try:
            return decode_base64(value)
        except Base64Error as err:
            errors.wrong(value, self, f": {err}")
            return None


class Base64Error(BuildkitError):
    """A text that is no base64: `illegal base64 data at input byte N`."""


def decode_base64(text: str) -> bytes:
    """What a text in base64 with padding stands for; line breaks in it do not count.

    Raises:
        Base64Error: at the first byte that does not belong there.
    """
    import binascii

    bare = text.translate({10: None, 13: None})
    try:
        if len(bare) % 4 or bare.endswith("==="):
            raise ValueError("padding is missing, or too much")
        return binascii.a2b_base64(bare, strict_mode=True)
    except ValueError:  # binascii.Error is one
        position = _bad_byte(text.encode("utf-8", "surrogatepass"))
        raise Base64Error(f"illegal base64 data at input byte {position}") from None


_BASE64_DIGITS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def _bad_byte(data: bytes) -> int:
    """Where data stops being base64."""
    digits = 0
    for position, byte in enumerate(data):
        if byte in _BASE64_DIGITS:
            digits = (digits + 1) % 4
        elif byte == ord("="):
            return position if digits < 2 else _bad_padding(data, position + 1, digits)
        elif byte not in b"\r\n":
            return position
    return len(data) - digits


def _bad_padding(data: bytes, position: int, digits: int) -> int:
    """The same after the first sign of padding, which stands behind two or three digits."""

    def end_of_line_breaks(start: int) -> int:
        return len(data) - len(data[start:].lstrip(b"\r\n"))

    if digits == 2:
        position = end_of_line_breaks(position)
        if data[position : position + 1] != b"=":
            return position if position == len(data) else position - 1
        position += 1
    return end_of_line_breaks(position)


class List(Kind):
    """Elements of one kind."""

    def __init__(self, member: Kind) -> None:
        self._member = member
        self.go_type = "[]" + member.go_type

    def read(self, value: object, errors: Errors) -> object:
        if not isinstance(value, list):
            errors.wrong(value, self)
            return None
        members = []
        for index, item in enumerate(value):
            errors.enter(str(index), True)
            members.append(self._member.zero() if item is None else self._member.read(item, errors))
            errors.leave()
        return members


class Map(Kind):
    """Values of one kind by any names, which are sorted."""

    def __init__(self, member: Kind) -> None:
        self._member = member
        self.go_type = "map[string]" + member.go_type

    def read(self, value: object, errors: Errors) -> object:
        if not isinstance(value, dict):
            errors.wrong(value, self)
            return None
        found = {}
        for key, item in value.items():
            errors.enter(key)
            found[key] = self._member.zero() if item is None else self._member.read(item, errors)
            errors.leave()
        return json.sorted_map(found)


class Struct(Kind):
    """Members as (name, kind, whether it is left out when empty), in the order in which they are written.

    Args:
        go_type: its name.
        members: what it has.
        strict: whether another member is an error.
    """

    def __init__(self, go_type: str, members: tuple[tuple[str, Kind, bool], ...], *, strict: bool = False) -> None:
        self.go_type = go_type
        self._strict = strict
        self._members = members
        self._by_name = {name: (name, kind) for name, kind, _ in members}
        self._by_folded = {name.lower(): (name, kind) for name, kind, _ in members}

    def zero(self) -> object:
        return self._ordered({})

    def read(self, value: object, errors: Errors) -> object:
        if not isinstance(value, dict):
            errors.wrong(value, self)
            return self.zero()
        found: Json = {}
        for key, item in value.items():
            member = self._by_name.get(key) or self._by_folded.get(key.lower())
            if member is None and self._strict:
                errors.note(BuildkitError(f"json: unknown field {quote(key)}"))
            if member is not None and item is not None:
                errors.enter(member[0])
                found[member[0]] = member[1].read(item, errors)
                errors.leave()
        return self._ordered(found)

    def _ordered(self, found: Json) -> Json:
        out: Json = {}
        for name, kind, optional in self._members:
            value = found.get(name) if optional else found.get(name, kind.zero())
            if value or not optional:
                out[name] = value
        return out


STRING = String()


def convert(kind: Struct, value: object) -> tuple[Json, BuildkitError | None]:
    """A JSON value in a type, as far as it is of that type, and the first error."""
    errors = Errors(kind.go_type.rpartition(".")[2])
    found = kind.zero() if value is None else kind.read(value, errors)
    assert isinstance(found, dict)
    return found, errors.first


def text(found: Mapping[str, object], name: str) -> str:
    """A member that is a text, or "" where it was left out."""
    value = found.get(name, "")
    assert isinstance(value, str)
    return value
