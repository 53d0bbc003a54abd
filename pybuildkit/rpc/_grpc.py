"""gRPC's own framing on top of HTTP/2: messages, metadata, deadlines, status.

Mirrors what rpc_util.go and internal/transport/http_util.go of google.golang.org/grpc, v1.82.1, write and accept.

Wire (gRPC over HTTP/2): a message is a flag byte (1: compressed), its length in four bytes, and its bytes; messages
follow each other in DATA frames without regard to the frames' borders. A call ends with trailers that hold
`grpc-status`, percent-encoded `grpc-message` and, for typed details, `grpc-status-details-bin`.

Texts of errors are grpc-go's.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections import deque
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import TYPE_CHECKING

from pybuildkit.rpc._code import Code, RpcError
from pybuildkit.rpc._flow import Chunk
from pybuildkit.rpc._headers import Headers
from pybuildkit.rpc._types import Buffer, Metadata, Payload

if TYPE_CHECKING:
    from google.protobuf import any_pb2

PREFIX = Struct(">BI")
CONTENT_TYPE = (b"content-type", b"application/grpc")

_JOINED_BELOW = 4096
_MANY = 4096
_PACK_SIZE = 64 * 1024
_RESERVED = frozenset(
    b"content-type user-agent grpc-message-type grpc-encoding grpc-message grpc-status grpc-timeout te".split()
)
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_PRINTABLE = frozenset(range(0x20, 0x7F))


def frame_messages(payloads: Iterable[Payload]) -> tuple[list[Chunk], int]:
    """Messages as they go into DATA frames, and their size in bytes.

    Large pieces are passed on as they are; small ones that follow each other are joined, so that many small
    messages become one buffer.
    """
    out: list[Chunk] = []
    small: list[Buffer] = []
    total = 0
    pack, add = PREFIX.pack, small.append
    for payload in payloads:
        if type(payload) is bytes and (size := len(payload)) < _JOINED_BELOW:
            add(pack(0, size))
            add(payload)
            total += size + 5
            continue
        pieces: Sequence[Buffer] = (payload,) if isinstance(payload, (bytes, bytearray, memoryview)) else payload
        size = sum(map(len, pieces))
        add(pack(0, size))
        total += size + 5
        for piece in pieces:
            if len(piece) < _JOINED_BELOW:
                add(piece)
                continue
            if small:
                out.append(b"".join(small))
                small.clear()
            out.append(piece if type(piece) is memoryview else memoryview(piece))
    if small:
        out.append(b"".join(small))
    return out, total


class Deframer:
    """Cuts the bytes of a call into messages.

    A message costs some forty bytes more than it has. Where nobody takes them, thousands of small ones would so hold
    many times what the windows allow: beyond `_MANY` they are kept as bytes, and cut again when they are wanted.

    Args:
        max_size: the largest message that is accepted, in bytes.

    Attributes:
        messages: whole messages, the oldest first; whoever has taken the last calls `unpack`.
        partial: bytes of a message that is not whole yet, with its prefix.
    """

    __slots__ = ("_add", "_left", "_max_size", "_owned", "_packed", "_pieces", "_prefix", "messages", "partial")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._prefix = b""
        self._pieces: list[Chunk] = []
        self._owned = 0
        self._left = 0
        self.partial = 0
        self.messages: deque[bytes] = deque()
        self._packed: deque[bytearray] = deque()
        self._add = self.messages.append

    def clear(self) -> None:
        """Forget the messages that nobody has taken."""
        self.messages.clear()
        self._packed.clear()

    def unpack(self) -> None:
        """Bring more of the messages to where they are taken from, if none is there."""
        if self.messages or not self._packed:
            return
        raw = bytes(self._packed.popleft())
        position, end = 0, len(raw)
        while position < end:
            start = position + 5
            position = start + PREFIX.unpack_from(raw, start - 5)[1]
            self.messages.append(raw[start:position])

    def _pack(self, message: bytes) -> None:
        """Keep a message as bytes."""
        if not self._packed or len(self._packed[-1]) >= _PACK_SIZE:
            self._packed.append(bytearray())
        self._packed[-1] += PREFIX.pack(0, len(message)) + message

    def feed(self, pieces: Iterable[memoryview]) -> None:
        """Take the bytes of DATA frames that followed each other; none of them is kept.

        Raises:
            RpcError: for a message that is too large, compressed, or has an unknown flag.
        """
        self._add = self._pack if self._packed or len(self.messages) >= _MANY else self.messages.append
        for data in pieces:
            left = self._left
            if left:
                size = len(data)
                if size < left:  # the middle of a message
                    self._pieces.append(data)
                    self._left = left - size
                    self.partial += size
                    continue
                self._complete(data[:left] if size > left else data)
                if size == left:
                    continue
                data = data[left:]
            size = len(data) - 5
            if 0 <= size <= self._max_size and not self._prefix and PREFIX.unpack_from(data) == (0, size):
                self._add(bytes(data[5:]))  # just one message, as most frames of small ones hold
                continue
            self._begin(data)
        if len(self._pieces) > self._owned:
            self._pieces[self._owned :] = [b"".join(self._pieces[self._owned :])]  # nothing else is kept alive
            self._owned += 1

    def _begin(self, data: memoryview) -> None:
        """Take bytes that begin with a message's prefix, or with what is left of one."""
        position, end = 0, len(data)
        while position < end:
            if end - position >= 5 and not self._prefix:
                flag, size = PREFIX.unpack_from(data, position)
                position += 5
            else:
                step = min(5 - len(self._prefix), end - position)
                self._prefix += data[position : position + step]
                position += step
                self.partial = len(self._prefix)
                if len(self._prefix) < 5:
                    return
                flag, size = PREFIX.unpack(self._prefix)
                self._prefix = b""
            if flag or size > self._max_size:
                self._refuse(flag, size)
            if end - position < size:
                self._left = size - (end - position)
                self.partial = 5 + end - position
                if position < end:
                    self._pieces.append(data[position:])
                return
            self._add(bytes(data[position : position + size]))
            position += size
            self.partial = 0

    def _complete(self, data: memoryview) -> None:
        """Take the last piece of a message."""
        self._pieces.append(data)
        self._add(b"".join(self._pieces))
        self._pieces.clear()
        self._owned = 0
        self._left = 0
        self.partial = 0

    def _refuse(self, flag: int, size: int) -> None:
        if flag == 1:
            raise RpcError(Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
        if flag:
            raise RpcError(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")
        raise RpcError(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {self._max_size})")


def encode_metadata(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    """Metadata as headers.

    Raises:
        RpcError: Internal, for a key or a value that cannot be a header.
    """
    headers: list[tuple[bytes, bytes]] = []
    for key, value in metadata:
        name = key.lower()
        if name.startswith(":") or name.encode() in _RESERVED:
            continue
        if not name or not all(char in "0123456789abcdefghijklmnopqrstuvwxyz-_." for char in name):
            raise RpcError(Code.INTERNAL, f'header key "{key}" contains illegal characters not in [0-9a-z-_.]')
        if name.endswith("-bin"):
            raw = value.encode() if isinstance(value, str) else value
            headers.append((name.encode(), b2a_base64(raw, newline=False).rstrip(b"=")))
            continue
        text = value.encode() if isinstance(value, str) else bytes(value)
        if not _PRINTABLE.issuperset(text):
            raise RpcError(Code.INTERNAL, f'header key "{key}" contains value with non-printable ASCII characters')
        headers.append((name.encode(), text))
    return headers


def decode_metadata(headers: Headers) -> list[tuple[str, str | bytes]]:
    """The metadata among received headers; what belongs to the protocol is left out, except `user-agent`.

    Raises:
        RpcError: Internal, for a "-bin" value that is not base64.
    """
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name in _RESERVED and name not in (b"content-type", b"user-agent"):
            continue
        if name == b":authority" or name[:1] != b":":
            key = name.decode("latin-1")
            if name == b"grpc-status-details-bin":
                continue
            metadata.append((key, _decode_value(key, value)))
    return metadata


def _decode_value(key: str, value: bytes) -> str | bytes:
    if not key.endswith("-bin"):
        return value.decode("utf-8", "replace")
    return decode_binary(key, value)


def decode_binary(key: str, value: bytes) -> bytes:
    """The bytes of a "-bin" header, padded or not."""
    try:
        return a2b_base64(value + b"=" * (-len(value) % 4), strict_mode=True)
    except (Base64Error, ValueError) as err:
        raise RpcError(Code.INTERNAL, f"transport: malformed {key}: illegal base64 data") from err


def encode_timeout(seconds: float) -> bytes:
    """A `grpc-timeout` of at most eight digits, rounded up."""
    if seconds <= 0:
        return b"0n"
    nanoseconds = int(seconds * 1e9)
    for unit, size in (("n", 1), ("u", 10**3), ("m", 10**6), ("S", 10**9), ("M", 60 * 10**9), ("H", 3600 * 10**9)):
        value = -(-nanoseconds // size)
        if value < 100_000_000:
            return f"{value}{unit}".encode()
    return b"99999999H"


def decode_timeout(value: bytes) -> float:
    """Seconds of a `grpc-timeout`.

    Raises:
        RpcError: Internal, "malformed grpc-timeout: …".
    """
    text = value.decode("latin-1")
    problem = ""
    if len(text) < 2:
        problem = f'transport: timeout string is too short: "{text}"'
    elif len(text) > 9:
        problem = f'transport: timeout string is too long: "{text}"'
    elif text[-1] not in _UNITS:
        problem = f'transport: timeout unit is not recognized: "{text}"'
    elif not (text[:-1].isascii() and text[:-1].isdigit()):
        problem = f'strconv.ParseUint: parsing "{text[:-1]}": invalid syntax'
    if problem:
        raise RpcError(Code.INTERNAL, f"malformed grpc-timeout: {problem}")
    return int(text[:-1]) * _UNITS[text[-1]]


def encode_message(message: str) -> bytes:
    """A status message as the value of `grpc-message`."""
    raw = message.encode("utf-8", "replace")
    if all(0x20 <= byte <= 0x7E and byte != 0x25 for byte in raw):
        return raw
    return b"".join(
        raw[i : i + 1] if 0x20 <= raw[i] <= 0x7E and raw[i] != 0x25 else b"%%%02X" % raw[i] for i in range(len(raw))
    )


def decode_message(value: bytes) -> str:
    """The status message in a `grpc-message`; escapes that are broken stay as they are."""
    if b"%" not in value:
        return value.decode("utf-8", "replace")
    first, *rest = value.split(b"%")
    parts = [first]
    for part in rest:
        try:
            parts.append(
                bytes((int(part[:2], 16),)) + part[2:] if part[:2].isalnum() and len(part) > 1 else b"%" + part
            )
        except ValueError:
            parts.append(b"%" + part)
    return b"".join(parts).decode("utf-8", "replace")


def encode_status(error: RpcError | None, trailer: Metadata = ()) -> list[tuple[bytes, bytes]]:
    """The trailers for a call's end; None for OK."""
    headers = [(b"grpc-status", str(error.raw_code if error else 0).encode())]
    if error is not None:
        if error.message:
            headers.append((b"grpc-message", encode_message(error.message)))
        if error.details:
            raw = error.status_proto().SerializeToString()
            headers.append((b"grpc-status-details-bin", b2a_base64(raw, newline=False).rstrip(b"=")))
    return headers + encode_metadata(trailer)


def decode_status(headers: Headers) -> RpcError | None:
    """How a call ended, from its trailers; None for OK.

    Raises:
        RpcError: Internal, for typed details that contradict the status or are not base64.
    """
    code: int = Code.UNKNOWN
    message = ""
    packed: list[bytes] = []
    for name, value in headers:
        if name == b"grpc-status":
            if not value.isdigit() or len(value) > 9:
                text = value.decode("utf-8", "replace")
                problem = f'strconv.ParseInt: parsing "{text}": invalid syntax'
                return RpcError(Code.UNKNOWN, f"transport: malformed grpc-status: {problem}")
            code = int(value)
        elif name == b"grpc-message":
            message = decode_message(value)
        elif name == b"grpc-status-details-bin":
            packed.append(decode_binary("grpc-status-details-bin", value))
    if code == Code.OK:
        return None
    message, details = _decode_details(packed, code, message)
    return RpcError(code, message, details)


def _decode_details(packed: list[bytes], code: int, message: str) -> tuple[str, list[any_pb2.Any]]:
    """Message and typed details; bytes that are no status message are ignored, as grpc-go does."""
    if len(packed) != 1:
        return message, []
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2

    try:
        status = status_pb2.Status.FromString(packed[0])
    except DecodeError:
        return message, []
    if status.code != code:
        text = f"grpc-status-details-bin mismatch: grpc-status={Code(code).text if code <= 16 else code}"
        raise RpcError(Code.INTERNAL, f'{text}, grpc-message="{message}", grpc-status-details-bin={status}')
    return status.message, list(status.details)
