"""The packets of a file transfer.

Mirrors types/wire.proto of tonistiigi/fsutil (6d9dc2e).

    message Packet { PacketType type = 1; Stat stat = 2; uint32 ID = 3; bytes data = 4; }

    STAT 0   an entry; one without a stat ends the list (no bytes at all on the wire)
    REQ  1   the receiver wants the content of entry ID
    DATA 2   a piece of the content of entry ID; an empty one ends it
    FIN  3   the receiver has everything; the sender answers with the same
    ERR  4   a text; the transfer has failed
"""

from __future__ import annotations

import enum
import re

from pybuildkit.third_party.fsutil._stat import Stat, decode_stat
from pybuildkit.third_party.fsutil._wire import WireError, decode_varint, encode_varint, skip_field


class PacketType(enum.IntEnum):
    """What a packet is."""

    STAT = 0
    REQ = 1
    DATA = 2
    FIN = 3
    ERR = 4


STAT, REQ, DATA, FIN, ERR = (int(kind) for kind in PacketType)

END_OF_LIST = b""
FIN_PACKET = b"\x08\x03"


def stat_packet(stat: Stat) -> bytes:
    """The packet that lists an entry."""
    body = stat.marshal()
    return b"\x12" + encode_varint(len(body)) + body


def request_packet(id: int) -> bytes:
    """The packet that asks for an entry's content."""
    return b"\x08\x01\x18" + encode_varint(id) if id else b"\x08\x01"


def data_header(id: int, size: int) -> bytes:
    """What stands before `size` bytes of content in their packet."""
    return data_end(id) + b'"' + encode_varint(size)


def data_end(id: int) -> bytes:
    """The packet that ends an entry's content."""
    return b"\x08\x02\x18" + encode_varint(id) if id else b"\x08\x02"


def error_packet(text: str) -> bytes:
    """The packet that tells the other end why the transfer has failed."""
    data = text.encode("utf-8", "surrogateescape")
    return b'\x08\x04"' + encode_varint(len(data)) + data if data else b"\x08\x04"


def split_request(raw: bytes) -> int:
    """The id in a REQ packet as everybody writes it; -1 for all others."""
    size = len(raw)
    if raw[:3] != b"\x08\x01\x18" or not 4 <= size <= 7 or raw[-1] > 0x7F:
        return -1
    id = raw[3] & 0x7F
    for index in range(4, size):
        if raw[index - 1] < 0x80:
            return -1
        id |= (raw[index] & 0x7F) << 7 * (index - 3)
    return id


_V = rb"[\x80-\xff]{0,8}[\x00-\x7f]"
_DATA = re.compile(rb"\x08\x02(?:\x18(%b))?(?:\x22(%b))?" % (_V, _V))


def split_data(raw: bytes) -> tuple[bytes, memoryview | bytes] | None:
    """A DATA packet as everybody writes it: the id's varint (nothing for 0) and the content; None for all others."""
    found = _DATA.match(raw)
    if found is None:
        return None
    id, size = found.groups(b"")
    begin = found.end()
    if len(raw) - begin != (decode_varint(size, 0, len(size))[0] if size else 0):
        return None
    return id, raw[begin:] if len(raw) < _COPIED else memoryview(raw)[begin:]


_COPIED = 2048
"""Smaller contents are copied out of their packets: that costs less than a view."""


class Packet:
    """A decoded packet; `data` is a view on the bytes that it was decoded from."""

    __slots__ = ("data", "id", "stat", "type")

    def __init__(self, type: int = STAT, stat: Stat | None = None, id: int = 0, data: memoryview | bytes = b"") -> None:
        self.type = type
        self.stat = stat
        self.id = id
        self.data = data


def decode_packet(raw: bytes) -> Packet:
    """Read a packet.

    Raises:
        WireError: the bytes are no packet.
    """
    packet = Packet()
    pos, end = 0, len(raw)
    if end > 2 and raw[0] == 0x12 and raw[1] == end - 2 and end < 0x82:
        packet.stat = decode_stat(raw, 2, end)
        return packet
    while pos < end:
        tag = raw[pos]
        if tag == 0x08 or tag == 0x18:
            value, pos = decode_varint(raw, pos + 1, end)
            if tag == 0x08:
                packet.type = value
            else:
                packet.id = value & 0xFFFFFFFF
        elif tag == 0x12 or tag == 0x22:
            length, pos = decode_varint(raw, pos + 1, end)
            stop = pos + length
            if stop > end:
                raise WireError("unexpected EOF")
            if tag == 0x12:
                packet.stat = decode_stat(raw, pos, stop)
            else:
                packet.data = memoryview(raw)[pos:stop]
            pos = stop
        else:
            pos = skip_field(raw, pos, end)
    return packet
