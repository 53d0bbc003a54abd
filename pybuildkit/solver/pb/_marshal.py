"""Messages to bytes as Go's protobuf library writes them when it is asked to be deterministic.

Mirrors the deterministic marshalling of google.golang.org/protobuf, v1.36.

Fields are in the order of their numbers, the members of a oneof after all others, and a map's entries in the order
of the bytes of their keys. Python's library knows the last rule too, but puts a key behind longer ones that begin
with it; so messages with a map in them are put together here, and all others left to it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pybuildkit.golang.protofields import is_repeated

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

_LEN = 2


def marshal(message: Message) -> bytes:
    """The message's bytes, the same for equal messages."""
    if not needs_care(message.DESCRIPTOR):
        return message.SerializeToString(deterministic=True)
    return b"".join(part for field in _fields(message.DESCRIPTOR) for part in _field(message, field))


@functools.cache
def needs_care(descriptor: Descriptor) -> bool:
    """Whether a map, or a oneof that stands before other fields, is anywhere in the message."""
    seen: set[str] = set()
    pending = [descriptor]
    while pending:
        current = pending.pop()
        if current.full_name in seen:
            continue
        seen.add(current.full_name)
        if current.GetOptions().map_entry or list(_fields(current)) != sorted(current.fields, key=_number):
            return True
        pending += [field.message_type for field in current.fields if field.message_type is not None]
    return False


def _number(field: FieldDescriptor) -> int:
    return int(field.number)


@functools.cache
def _fields(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return tuple(sorted(descriptor.fields, key=lambda field: (field.containing_oneof is not None, field.number)))


def _field(message: Message, field: FieldDescriptor) -> Iterator[bytes]:
    value = getattr(message, field.name)
    if field.message_type is None:
        if is_repeated(field) and len(value) == 0:
            return
        if field.containing_oneof is not None and not message.HasField(field.name):
            return
        yield type(message)(**{field.name: value}).SerializeToString()
    elif field.message_type.GetOptions().map_entry:
        yield from _map(field, cast(Mapping[str, object], value))
    elif is_repeated(field):
        for item in cast(Sequence[Message], value):
            yield delimited(field.number, marshal(item))
    elif message.HasField(field.name):
        yield delimited(field.number, marshal(value))


def _map(field: FieldDescriptor, values: Mapping[str, object]) -> Iterator[bytes]:
    for key in sorted(values, key=str.encode):
        value = values[key]
        entry = delimited(1, key.encode())
        if isinstance(value, str):
            entry += delimited(2, value.encode())
        elif isinstance(value, bool):
            entry += bytes((2 << 3, value))
        else:
            entry += delimited(2, marshal(cast(Message, value)))
        yield delimited(field.number, entry)


def delimited(number: int, body: bytes) -> bytes:
    """A field with a length: text, bytes or a message. The number is below 16."""
    return bytes((number << 3 | _LEN,)) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
