"""Header blocks: our own are literals without state, the peer's are decoded by `hpack`.

Not a port; it stands for golang.org/x/net/http2/hpack.

What we send needs no table and no Huffman code: every peer accepts literals, and the few headers of a call are
not worth more. Decoding needs all of HPACK; `hpack` is imported when the first block arrives, by which time the
first request is already under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pybuildkit.rpc._frames import CompressionFault, FloodFault

if TYPE_CHECKING:
    from hpack import Decoder

Headers = Sequence[tuple[bytes, bytes]]

_INDEXED = {
    (b":method", b"POST"): b"\x83",
    (b":scheme", b"http"): b"\x86",
    (b":scheme", b"https"): b"\x87",
    (b":status", b"200"): b"\x88",
}

_CONNECTION_HEADERS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"),
)
_REQUEST_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_RESPONSE_PSEUDO = frozenset((b":status",))
_UPPER = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_BAD_IN_VALUE = frozenset(b"\x00\r\n")
_BAD_IN_NAME = _UPPER | frozenset(range(0x21)) | frozenset(range(0x7F, 0x100))


def _length(value: int) -> bytes:
    """A string's length as an HPACK integer with a prefix of seven bits, no Huffman code."""
    if value < 127:
        return bytes((value,))
    out = bytearray((127,))
    value -= 127
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_block(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The header block for a list of headers."""
    parts: list[bytes] = []
    for header in headers:
        indexed = _INDEXED.get(header)
        if indexed is not None:
            parts.append(indexed)
        else:
            name, value = header
            parts += (b"\x00", _length(len(name)), name, _length(len(value)), value)
    return b"".join(parts)


class BlockDecoder:
    """Decodes the peer's header blocks, in order, since each may change the table that the next one uses.

    Args:
        max_list_size: the largest list, in bytes as RFC 9113 counts them (names, values, 32 for each header).
    """

    def __init__(self, max_list_size: int) -> None:
        self._max_list_size = max_list_size
        self._decoder: Decoder | None = None

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """The headers of a block.

        Raises:
            CompressionFault: when it does not decode.
            FloodFault: when the list is larger than allowed.
        """
        from hpack import Decoder, HPACKError, OversizedHeaderListError

        if self._decoder is None:
            self._decoder = Decoder(max_header_list_size=self._max_list_size)
        try:
            return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError as err:
            raise FloodFault("peer header list size exceeded limit") from err
        except (HPACKError, IndexError, ValueError) as err:
            raise CompressionFault("a header block does not decode") from err


def malformed(headers: Headers, *, request: bool, trailer: bool) -> str | None:
    """Why a header list is malformed (RFC 9113, section 8.2), or None where it is not."""
    allowed = frozenset[bytes]() if trailer else _REQUEST_PSEUDO if request else _RESPONSE_PSEUDO
    seen: set[bytes] = set()
    regular = False
    for name, value in headers:
        if name[:1] == b":":
            if regular:
                return "pseudo header field after regular"
            if name not in allowed or name in seen:
                return f"invalid pseudo-header {name.decode('latin-1')!r}"
            seen.add(name)
        else:
            regular = True
            if not name or not _BAD_IN_NAME.isdisjoint(name) or b":" in name:
                return f"invalid header field name {name.decode('latin-1')!r}"
            if name in _CONNECTION_HEADERS or (name == b"te" and value != b"trailers"):
                return f"header field {name.decode('latin-1')!r} is not allowed"
        if not _BAD_IN_VALUE.isdisjoint(value):
            return f"invalid header field value for {name.decode('latin-1')!r}"
    missing = (allowed - {b":authority"}) - seen
    if missing:
        return f"missing pseudo-header {min(missing).decode()!r}"
    return None
