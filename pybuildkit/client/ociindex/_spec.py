"""The JSON values of an OCI index, read by their types and put in the specification's order.

Mirrors the structs of github.com/opencontainers/image-spec/specs-go/v1 (v1.1.1) that an index is made of.
"""

from __future__ import annotations

from collections.abc import Mapping

from pybuildkit.golang import json
from pybuildkit.golang.jsontypes import STRING, Bytes, Int, List, Map, String, Struct, convert
from pybuildkit.golang.jsontypes import Json as Json

_STRINGS = List(STRING)
_PLATFORM = Struct(
    "v1.Platform",
    (
        ("architecture", STRING, False),
        ("os", STRING, False),
        ("os.version", STRING, True),
        ("os.features", _STRINGS, True),
        ("variant", STRING, True),
    ),
)
_DESCRIPTOR = Struct(
    "v1.Descriptor",
    (
        ("mediaType", STRING, False),
        ("digest", String("digest.Digest"), False),
        ("size", Int("int64"), False),
        ("urls", _STRINGS, True),
        ("annotations", Map(STRING), True),
        ("data", Bytes(), True),
        ("platform", _PLATFORM, True),
        ("artifactType", STRING, True),
    ),
)
_INDEX = Struct(
    "v1.Index",
    (
        ("schemaVersion", Int("int"), False),
        ("mediaType", STRING, True),
        ("artifactType", STRING, True),
        ("manifests", List(_DESCRIPTOR), False),
        ("subject", _DESCRIPTOR, True),
        ("annotations", Map(STRING), True),
    ),
)


def _read(kind: Struct, value: object) -> Json:
    found, error = convert(kind, value)
    if error is not None:
        raise error
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
