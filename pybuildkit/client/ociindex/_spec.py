"""The JSON values of an OCI index, read by their types and put in the specification's order.

Mirrors the structs of github.com/opencontainers/image-spec/specs-go/v1 that an index is made of, and what Go's
encoding/json does with them: names are found whatever their case, unknown ones are dropped, null leaves the empty
value, empty optional members are left out, and of several values of a wrong type the first is reported.
"""

from __future__ import annotations

from collections.abc import Mapping

from pybuildkit.golang import json
from pybuildkit.golang.errors import BuildkitError

Json = dict[str, object]


class UnmarshalError(BuildkitError):
    """A JSON value of the wrong type: `json: cannot unmarshal VALUE into Go struct field PATH of type TYPE`."""


class _Errors:
    def __init__(self, root: str) -> None:
        self.first: str | None = None
        self._path = [root]
        self._elements = [False]

    def enter(self, token: str, is_element: bool = False) -> None:
        self._path.append(token)
        self._elements.append(is_element)

    def leave(self) -> None:
        self._path.pop()
        self._elements.pop()

    def wrong(self, value: object, kind: _Kind, reason: str = "") -> None:
        if self.first is not None:
            return
        into = ".".join(self._path)
        if len(self._path) == 1:
            into = "Go value"
        elif not self._elements[-1]:
            into = f"Go struct field {into}"
        self.first = f"json: cannot unmarshal {_describe(value, kind)} into {into} of type {kind.go_type}{reason}"


def _describe(value: object, kind: _Kind) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        wanted = isinstance(kind, _Int)
        return f"number {value.text if isinstance(value, json.Number) else value}" if wanted else "number"
    return "object" if isinstance(value, dict) else "array"


class _Kind:
    go_type = ""

    def zero(self) -> object:
        return None

    def read(self, value: object, errors: _Errors) -> object:
        raise NotImplementedError


class _String(_Kind):
    def __init__(self, go_type: str = "string") -> None:
        self.go_type = go_type

    def zero(self) -> object:
        return ""

    def read(self, value: object, errors: _Errors) -> object:
        if isinstance(value, str):
            return value
        errors.wrong(value, self)
        return ""


class _Int(_Kind):
    def __init__(self, go_type: str) -> None:
        self.go_type = go_type

    def zero(self) -> object:
        return 0

    def read(self, value: object, errors: _Errors) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63:
            return value
        errors.wrong(value, self)
        return 0


class _Bytes(_Kind):
    go_type = "[]uint8"

    def read(self, value: object, errors: _Errors) -> object:
        if isinstance(value, list) and all(isinstance(item, int) and 0 <= item <= 255 for item in value):
            return bytes(value)
        if not isinstance(value, str):
            errors.wrong(value, self)
            return None
        import binascii

        try:
            return binascii.a2b_base64(value.replace("\n", "").replace("\r", ""), strict_mode=True)
        except (binascii.Error, ValueError):
            errors.wrong(value, self, f": illegal base64 data at input byte {_bad_base64(value)}")
            return None


def _bad_base64(text: str) -> int:
    for index, char in enumerate(text):
        if not (char.isascii() and (char.isalnum() or char in "+/")):
            return index
    return len(text) // 4 * 4


class _List(_Kind):
    def __init__(self, member: _Kind) -> None:
        self._member = member
        self.go_type = "[]" + member.go_type

    def read(self, value: object, errors: _Errors) -> object:
        if not isinstance(value, list):
            errors.wrong(value, self)
            return None
        members = []
        for index, item in enumerate(value):
            errors.enter(str(index), True)
            members.append(self._member.zero() if item is None else self._member.read(item, errors))
            errors.leave()
        return members


class _Map(_Kind):
    go_type = "map[string]string"

    def read(self, value: object, errors: _Errors) -> object:
        if not isinstance(value, dict):
            errors.wrong(value, self)
            return None
        found = {}
        for key, item in value.items():
            errors.enter(key)
            found[key] = "" if item is None else _STRING.read(item, errors)
            errors.leave()
        return json.sorted_map(found)


class _Struct(_Kind):
    """Members as (name, kind, whether it is left out when empty), in the order of the specification."""

    def __init__(self, go_type: str, members: tuple[tuple[str, _Kind, bool], ...]) -> None:
        self.go_type = go_type
        self._members = members
        self._by_name = {name: (name, kind) for name, kind, _ in members}
        self._by_folded = {name.lower(): (name, kind) for name, kind, _ in members}

    def zero(self) -> object:
        return self._ordered({})

    def read(self, value: object, errors: _Errors) -> object:
        if not isinstance(value, dict):
            errors.wrong(value, self)
            return self.zero()
        found: Json = {}
        for key, item in value.items():
            member = self._by_name.get(key) or self._by_folded.get(key.lower())
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


_STRING = _String()
_STRINGS = _List(_STRING)
_PLATFORM = _Struct(
    "v1.Platform",
    (
        ("architecture", _STRING, False),
        ("os", _STRING, False),
        ("os.version", _STRING, True),
        ("os.features", _STRINGS, True),
        ("variant", _STRING, True),
    ),
)
_DESCRIPTOR = _Struct(
    "v1.Descriptor",
    (
        ("mediaType", _STRING, False),
        ("digest", _String("digest.Digest"), False),
        ("size", _Int("int64"), False),
        ("urls", _STRINGS, True),
        ("annotations", _Map(), True),
        ("data", _Bytes(), True),
        ("platform", _PLATFORM, True),
        ("artifactType", _STRING, True),
    ),
)
_INDEX = _Struct(
    "v1.Index",
    (
        ("schemaVersion", _Int("int"), False),
        ("mediaType", _STRING, True),
        ("artifactType", _STRING, True),
        ("manifests", _List(_DESCRIPTOR), False),
        ("subject", _DESCRIPTOR, True),
        ("annotations", _Map(), True),
    ),
)


def _read(kind: _Struct, value: object) -> Json:
    errors = _Errors(kind.go_type.removeprefix("v1."))
    found = kind.zero() if value is None else kind.read(value, errors)
    if errors.first is not None:
        raise UnmarshalError(errors.first)
    assert isinstance(found, dict)
    return found


def read_index(text: str | bytes) -> Json:
    """The index that a JSON text says.

    Raises:
        SyntaxError: no JSON.
        UnmarshalError: a value of the wrong type.
    """
    return _read(_INDEX, json.unmarshal(text))


def read_descriptor(value: Mapping[str, object]) -> Json:
    """A descriptor in the specification's order.

    Raises:
        UnmarshalError: a value of the wrong type.
    """
    data = value.get("data")
    if isinstance(data, (bytes, bytearray)):
        value = {**value, "data": list(data)}
    return _read(_DESCRIPTOR, dict(value))
