"""Reading messages that may be anything, with the error texts of BuildKit's own reader.

`unmarshal` parses with protobuf's fast parser. Only when that fails, or leaves something that it did not know,
`check` walks the bytes field by field the way the generated reader of BuildKit does and raises what that would
have said, so that a broken definition gets the same text from both clients.

Mirrors what vtprotobuf generates into solver/pb/ops_vtproto.pb.go, v0.32.2. Differs: a string that is not UTF-8,
which Go takes, is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.protofields import is_repeated

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

M = TypeVar("M", bound=Message)

_WIRE_TYPES: Final = {
    FieldDescriptor.TYPE_INT32: 0,
    FieldDescriptor.TYPE_INT64: 0,
    FieldDescriptor.TYPE_UINT32: 0,
    FieldDescriptor.TYPE_UINT64: 0,
    FieldDescriptor.TYPE_BOOL: 0,
    FieldDescriptor.TYPE_ENUM: 0,
    FieldDescriptor.TYPE_STRING: 2,
    FieldDescriptor.TYPE_BYTES: 2,
    FieldDescriptor.TYPE_MESSAGE: 2,
}
_OVERFLOW: Final = "proto: integer overflow"
_BAD_LENGTH: Final = "proto: negative length found during unmarshaling"
_EOF: Final = "unexpected EOF"
_INT64_MAX: Final = (1 << 63) - 1
_INT32_SIGN: Final = 1 << 31


class UnmarshalError(BuildkitError):
    """Bytes that are not the message they should be."""


def unmarshal(message: type[M], data: bytes) -> M:
    """The message that the bytes hold.

    Raises:
        UnmarshalError: with the text that BuildKit's client has for these bytes.
    """
    result = message()
    try:
        result.ParseFromString(data)
    except DecodeError as err:
        check(message.DESCRIPTOR, data)
        raise UnmarshalError("string field contains invalid UTF-8") from err
    if result.ByteSize() != len(data) or _has_unknown(result):
        check(message.DESCRIPTOR, data)
    return result


def _has_unknown(message: Message) -> bool:
    """Whether the message, or one below it, keeps fields that it does not know."""
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()  # type: ignore[attr-defined]  # the stubs of protobuf 5.29 leave it out
    return known.ByteSize() != message.ByteSize()


def check(descriptor: Descriptor, data: bytes) -> None:
    """Raise UnmarshalError for the first thing that BuildKit's reader would refuse; return where it takes all."""
    pos = 0
    while pos < len(data):
        start = pos
        wire, pos = _varint(data, pos)
        number, wire_type = _int32(wire >> 3), wire & 7
        if wire_type == 4:
            raise UnmarshalError(f"proto: {_type_name(descriptor)}: wiretype end group for non-group")
        if number <= 0:
            raise UnmarshalError(f"proto: {_type_name(descriptor)}: illegal tag {number} (wire type {wire})")
        field = descriptor.fields_by_number.get(number)
        if field is None:
            pos = _skip_within(data, start, len(data))
        else:
            pos = _check_field(field, wire_type, data, pos)


def _check_field(field: FieldDescriptor, wire_type: int, data: bytes, pos: int) -> int:
    expected = _WIRE_TYPES[field.type]
    packed = is_repeated(field) and expected == 0
    if wire_type != expected and not (packed and wire_type == 2):
        raise UnmarshalError(f"proto: wrong wireType = {wire_type} for field {_go_name(field.name)}")
    if wire_type == 0:
        return _varint(data, pos)[1]
    end, pos = _length(data, pos)
    if packed:
        while pos < end:
            pos = _varint(data, pos)[1]
    elif field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            _check_map_entry(field.message_type, data, pos, end)
        else:
            check(field.message_type, data[pos:end])
    return end


def _check_map_entry(entry: Descriptor, data: bytes, pos: int, end: int) -> None:
    """A map's entry: its fields are taken by number alone, and may reach beyond the entry's own end."""
    while pos < end:
        start = pos
        wire, pos = _varint(data, pos)
        field = entry.fields_by_number.get(_int32(wire >> 3))
        if field is None:
            pos = _skip_within(data, start, end)
        elif _WIRE_TYPES[field.type] == 0:
            pos = _varint(data, pos)[1]
        else:
            field_end, pos = _length(data, pos)
            if field.message_type is not None:
                check(field.message_type, data[pos:field_end])
            pos = field_end


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """The number at `pos`, cut to 64 bits, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        if pos >= len(data):
            raise UnmarshalError(_EOF)
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, pos
    raise UnmarshalError(_OVERFLOW)


def _length(data: bytes, pos: int) -> tuple[int, int]:
    """Where the field whose length stands at `pos` ends, and where it begins."""
    size, pos = _varint(data, pos)
    if size > _INT64_MAX or pos + size > _INT64_MAX:
        raise UnmarshalError(_BAD_LENGTH)
    if pos + size > len(data):
        raise UnmarshalError(_EOF)
    return pos + size, pos


def _skip_within(data: bytes, start: int, end: int) -> int:
    """Where the unknown field at `start` ends."""
    after = _skip(data, start)
    if after > end:
        raise UnmarshalError(_EOF)
    return after


def _skip(data: bytes, pos: int) -> int:
    depth = 0
    while pos < len(data):
        wire, pos = _varint(data, pos)
        wire_type = wire & 7
        if wire_type == 0:
            pos = _varint(data, pos)[1]
        elif wire_type == 1:
            pos += 8
        elif wire_type == 2:
            size, pos = _varint(data, pos)
            if size > _INT64_MAX or pos + size > _INT64_MAX:
                raise UnmarshalError(_BAD_LENGTH)
            pos += size
        elif wire_type == 3:
            depth += 1
        elif wire_type == 4:
            if depth == 0:
                raise UnmarshalError("proto: unexpected end of group")
            depth -= 1
        elif wire_type == 5:
            pos += 4
        else:
            raise UnmarshalError(f"proto: illegal wireType {wire_type}")
        if depth == 0:
            return pos
    raise UnmarshalError(_EOF)


def _int32(value: int) -> int:
    return ((value + _INT32_SIGN) & 0xFFFF_FFFF) - _INT32_SIGN


def _type_name(descriptor: Descriptor) -> str:
    return str(descriptor.full_name).split(".", 1)[-1].replace(".", "_")


def _go_name(name: str) -> str:
    """The field's name in generated Go code: `proxy_env` is ProxyEnv."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
