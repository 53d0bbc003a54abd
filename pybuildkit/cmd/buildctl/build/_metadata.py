"""`--metadata-file`: the exporter's response as a JSON file.

Mirrors writeMetadataFile of cmd/buildctl/build.go, v0.32.2.

A value that is base64 of a JSON object that is not empty stands in the file as that object, its keys, numbers and
escapes as they were; every other value stands as a string.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping

from pybuildkit.golang.json import marshal
from pybuildkit.third_party.continuity import atomic_write_file

_ESCAPES = {ord("<"): b"\\u003c", ord(">"): b"\\u003e", ord("&"): b"\\u0026"}
_SPACE = b" \t\r\n"


def write_metadata_file(filename: str, exporter_response: Mapping[str, str]) -> None:
    """Write the response to a file, whole or not at all.

    Raises:
        OSError: the file cannot be written; nothing is left of it then.
    """
    atomic_write_file(filename, encode_metadata(exporter_response))


def encode_metadata(exporter_response: Mapping[str, str]) -> bytes:
    """The content of the metadata file: keys in byte order, two spaces a level, no line end at the end."""
    entries = []
    for key in sorted(exporter_response, key=lambda key: key.encode("utf-8", "surrogateescape")):
        value = exporter_response[key]
        document = _decode_object(value)
        text = _quote(value) if document is None else _indent(document, 1)
        entries.append(b"  " + _quote(key) + b": " + text)
    return b"{\n" + b",\n".join(entries) + b"\n}" if entries else b"{}"


def _quote(text: str) -> bytes:
    quoted = marshal(text)
    return quoted.encode() if isinstance(quoted, str) else bytes(quoted)


def _decode_object(value: str) -> bytes | None:
    """The JSON object that the text holds in base64, or None."""
    import json

    try:
        encoded = value.encode("ascii").replace(b"\r", b"").replace(b"\n", b"")
        document = base64.b64decode(encoded, validate=True)
        parsed = json.loads(
            document.decode("utf-8", "replace"), parse_float=_number, parse_int=_number, parse_constant=_no_constant
        )
    except (UnicodeError, binascii.Error, ValueError, RecursionError):
        return None
    return document if isinstance(parsed, dict) and parsed else None


def _number(text: str) -> float:
    """A number as Go's decoder takes it: one that no float64 can hold is an error."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _no_constant(text: str) -> float:
    raise ValueError(text)


def _indent(document: bytes, depth: int) -> bytes:
    """A valid JSON text with two spaces a level and HTML's characters escaped, otherwise byte for byte."""
    out = bytearray()
    position = 0
    while position < len(document):
        char = document[position]
        if char == ord('"'):
            position = _copy_string(document, position, out)
            continue
        position += 1
        if char in _SPACE:
            continue
        if char in b"{[":
            position = _skip_space(document, position)
            out.append(char)
            if document[position] in b"}]":
                out.append(document[position])
                position += 1
                continue
            depth += 1
            out += b"\n" + b"  " * depth
        elif char in b"}]":
            depth -= 1
            out += b"\n" + b"  " * depth
            out.append(char)
        elif char == ord(","):
            out += b",\n" + b"  " * depth
        elif char == ord(":"):
            out += b": "
        else:
            out.append(char)
    return bytes(out)


def _skip_space(document: bytes, position: int) -> int:
    while document[position] in _SPACE:
        position += 1
    return position


def _copy_string(document: bytes, start: int, out: bytearray) -> int:
    """Copy the string that begins at `start`, escaped as Go's encoder does; returns where it ends."""
    end = start + 1
    while document[end] != ord('"'):
        end += 2 if document[end] == ord("\\") else 1
    text = document[start : end + 1]
    for char, escape in _ESCAPES.items():
        text = text.replace(bytes((char,)), escape)
    out += text.replace("\u2028".encode(), b"\\u2028").replace("\u2029".encode(), b"\\u2029")
    return end + 1
