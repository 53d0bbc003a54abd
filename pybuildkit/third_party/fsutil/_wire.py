"""Varints and fields of protobuf, as far as the packets of a file transfer need them.

Mirrors what Go generates from types/wire.proto and types/stat.proto, tonistiigi/fsutil (6d9dc2e). Written by hand
because every file that moves passes here; the tests compare it with the generated messages.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError

_MASK64 = (1 << 64) - 1
_ONE = tuple(bytes((n,)) for n in range(128))


class WireError(BuildkitError):
    """Bytes that are not the message they should be."""


def encode_varint(value: int) -> bytes:
    """The varint of a number from 0 up to 2**64 - 1."""
    if value < 0x80:
        return _ONE[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x200000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    if 1 << 56 <= value < 1 << 63:
        return _encode_time(value)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _encode_time(value: int) -> bytes:
    """The nine bytes of a number of 57 to 63 bits: times in nanoseconds are of this size.

    Spreads eight groups of seven bits over eight bytes in three steps instead of nine.
    """
    low = (value & 0x0FFFFFFF) | (value & 0xFFFFFFF0000000) << 4
    low = (low & 0x00003FFF00003FFF) | (low & 0x0FFFC0000FFFC000) << 2
    low = (low & 0x007F007F007F007F) | (low & 0x3F803F803F803F80) << 1
    return ((low | 0x8080808080808080) | (value >> 56) << 64).to_bytes(9, "little")


def decode_varint(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """The number at `pos` and the position behind it.

    Raises:
        WireError: the data ends before `end` is reached, or the number has more than 64 bits.
    """
    if pos >= end:
        raise WireError("unexpected EOF")
    byte = data[pos]
    pos += 1
    if byte < 0x80:
        return byte, pos
    value = byte & 0x7F
    shift = 7
    while True:
        if pos >= end:
            raise WireError("unexpected EOF")
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK64, pos
        shift += 7
        if shift >= 70:
            raise WireError("proto: integer overflow")


def decode_signed(raw: bytes) -> int:
    """The int64 whose varint `raw` is."""
    if len(raw) == 9:
        low = int.from_bytes(raw[:8], "little") & 0x7F7F7F7F7F7F7F7F
        low = (low & 0x007F007F007F007F) | (low & 0x7F007F007F007F00) >> 1
        low = (low & 0x00003FFF00003FFF) | (low & 0x3FFF00003FFF0000) >> 2
        return (low & 0x0FFFFFFF) | (low & 0x0FFFFFFF00000000) >> 4 | raw[8] << 56
    return signed64(decode_varint(raw, 0, len(raw))[0])


def skip_field(data: bytes, pos: int, end: int) -> int:
    """The position behind the field that begins at `pos`, whose number nobody knows.

    Raises:
        WireError: it is no field, or a group.
    """
    tag, pos = decode_varint(data, pos, end)
    kind = tag & 7
    if tag >> 3 == 0:
        raise WireError(f"proto: illegal tag 0 (wire type {tag})")
    if kind == 0:
        pos = decode_varint(data, pos, end)[1]
    elif kind == 1:
        pos += 8
    elif kind == 2:
        length, pos = decode_varint(data, pos, end)
        pos += length
    elif kind == 5:
        pos += 4
    else:
        raise WireError(f"proto: illegal wire type {kind}")
    if pos > end:
        raise WireError("unexpected EOF")
    return pos


def signed64(value: int) -> int:
    """The int64 whose 64 bits are `value`."""
    return value - (1 << 64) if value >> 63 else value


def unsigned64(value: int) -> int:
    """The 64 bits of an int64."""
    return value & _MASK64
