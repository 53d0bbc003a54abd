"""HTTP/2 frames as bytes, and what can be wrong with them.

Not a port; it stands for the Framer of golang.org/x/net/http2.

Wire (RFC 9113, section 4.1): length (3 bytes), type, flags, stream id (31 bits), then `length` bytes. grpc-go's
reader refuses payloads over 16,384 bytes, which is also what a peer may send where nothing else was agreed: so
neither is a larger frame sent, nor accepted.

    Http2Error              the peer broke the rules; `code` is what it is told
    ├── ProtocolFault       PROTOCOL_ERROR: a frame that is illegal here
    ├── FrameSizeFault      FRAME_SIZE_ERROR: a frame of an impossible size
    ├── FlowControlFault    FLOW_CONTROL_ERROR: more bytes than there was window for, or a window too large
    ├── StreamClosedFault   STREAM_CLOSED: a frame on a stream that had ended
    ├── CompressionFault    COMPRESSION_ERROR: a header block that does not decode
    └── FloodFault          ENHANCE_YOUR_CALM: legal, but too much of it
"""

from __future__ import annotations

import enum
from struct import Struct
from typing import ClassVar

from pybuildkit.golang.errors import BuildkitError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME = 16384
HEADER_SIZE = 9
DEFAULT_WINDOW = 65535
MAX_WINDOW = 2**31 - 1
MAX_STREAM_ID = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

HEADER = Struct(">HBBBI")
SETTING = Struct(">HI")
UINT32 = Struct(">I")
GOAWAY_HEAD = Struct(">II")


class ErrorCode(enum.IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def error_name(code: int) -> str:
    """The name of an error code as Go prints it."""
    return ErrorCode(code).name if 0 <= code <= 13 else f"unknown error code 0x{code:x}"


class Http2Error(BuildkitError):
    """The peer broke HTTP/2's rules, or our limits; the connection ends."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"http2: connection error: {self.code.name}: {self.reason}"


class ProtocolFault(Http2Error):
    """A frame that is illegal where it came."""

    code = ErrorCode.PROTOCOL_ERROR


class FrameSizeFault(Http2Error):
    """A frame whose size its type does not allow."""

    code = ErrorCode.FRAME_SIZE_ERROR


class FrameTooLargeFault(FrameSizeFault):
    """A frame of more bytes than any peer may send us; told in the words of Go's framer.

    Args:
        header: the frame's nine bytes.
    """

    def __init__(self, header: bytes) -> None:
        super().__init__(f"a frame of {int.from_bytes(header[:3], 'big')} bytes")
        self._is_http1 = header == b"HTTP/1.1 "

    def __str__(self) -> str:
        text = "http2: frame too large"
        if not self._is_http1:
            return text
        hint = "note that the frame header looked like an HTTP/1.1 header"
        return f"http2: failed reading the frame payload: {text}, {hint}"


class NotSettingsFault(ProtocolFault):
    """A server whose first frame is not SETTINGS.

    Args:
        kind: the frame's type.
    """

    def __init__(self, kind: int) -> None:
        super().__init__("the first frame is not SETTINGS")
        self._kind = kind

    def __str__(self) -> str:
        name = _GO_NAMES[self._kind] if self._kind < len(_GO_NAMES) else "Unknown"
        return f"initial http2 frame from server is not a settings frame: *http2.{name}Frame"


_GO_NAMES = (
    *("Data", "Headers", "Priority", "RSTStream", "Settings"),
    *("PushPromise", "Ping", "GoAway", "WindowUpdate", "Continuation"),
)


def server_fault_text(fault: Http2Error, settled: bool) -> str:
    """What a client says of a server's mistake: after the server's SETTINGS, or before."""
    if settled:
        return f"error reading from server: {fault}"
    return str(fault) if isinstance(fault, NotSettingsFault) else f"error reading server preface: {fault}"


class FlowControlFault(Http2Error):
    """More bytes than the window allowed, or a window beyond the largest legal one."""

    code = ErrorCode.FLOW_CONTROL_ERROR


class StreamClosedFault(Http2Error):
    """A frame on a stream that the peer itself had ended."""

    code = ErrorCode.STREAM_CLOSED


class CompressionFault(Http2Error):
    """A header block that does not decode."""

    code = ErrorCode.COMPRESSION_ERROR


class FloodFault(Http2Error):
    """Frames that cost the receiver more than the sender, in a number that no honest peer sends."""

    code = ErrorCode.ENHANCE_YOUR_CALM


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes in front of a payload."""
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def settings_frame(values: dict[int, int]) -> bytes:
    """SETTINGS with the given identifiers and values."""
    payload = b"".join(SETTING.pack(key, value) for key, value in values.items())
    return frame_header(len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK = frame_header(0, SETTINGS, ACK, 0)


def ping_frame(payload: bytes, ack: bool = False) -> bytes:
    """PING with eight bytes of payload."""
    return frame_header(8, PING, ACK if ack else 0, 0) + payload


def window_update_frame(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE for a stream, or for the connection (stream 0)."""
    return frame_header(4, WINDOW_UPDATE, 0, stream_id) + UINT32.pack(increment)


def rst_stream_frame(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return frame_header(4, RST_STREAM, 0, stream_id) + UINT32.pack(code)


def goaway_frame(last_stream_id: int, code: int, debug: bytes) -> bytes:
    """GOAWAY."""
    return frame_header(8 + len(debug), GOAWAY, 0, 0) + GOAWAY_HEAD.pack(last_stream_id, code) + debug


def header_frames(stream_id: int, block: bytes, end_stream: bool) -> bytes:
    """HEADERS, and CONTINUATION frames for a block that is larger than one frame."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= MAX_FRAME:
        return frame_header(len(block), HEADERS, flags | END_HEADERS, stream_id) + block
    parts = [frame_header(MAX_FRAME, HEADERS, flags, stream_id), block[:MAX_FRAME]]
    for start in range(MAX_FRAME, len(block), MAX_FRAME):
        piece = block[start : start + MAX_FRAME]
        last = start + MAX_FRAME >= len(block)
        parts += (frame_header(len(piece), CONTINUATION, END_HEADERS if last else 0, stream_id), piece)
    return b"".join(parts)
