"""What a connection reports after it was given bytes. Not a port."""

from __future__ import annotations

from pybuildkit.rpc._frames import Http2Error
from pybuildkit.rpc._headers import Headers


class HeadersReceived:
    """A whole header list: a request, a response's head, or trailers (`ended`)."""

    __slots__ = ("ended", "headers", "stream_id")

    def __init__(self, stream_id: int, headers: Headers, ended: bool) -> None:
        self.stream_id = stream_id
        self.headers = headers
        self.ended = ended


class DataReceived:
    """Bytes of a stream, of DATA frames that followed each other; give their number back with `consumed`.

    Attributes:
        pieces: the bytes, valid until the next call of `receive`.
        size: how many there are.
    """

    __slots__ = ("ended", "pieces", "size", "stream_id")

    def __init__(self, stream_id: int, data: memoryview, ended: bool) -> None:
        self.stream_id = stream_id
        self.pieces = [data]
        self.size = len(data)
        self.ended = ended

    @property
    def data(self) -> bytes:
        """The bytes in one piece, copied."""
        return b"".join(self.pieces)


class StreamReset:
    """A stream that is over before its time; nothing more comes for it and nothing more is sent.

    Attributes:
        code: the error code (an `ErrorCode` where it is a known one).
        reason: what was wrong where our side ended the stream, else None (the peer did).
        unprocessed: the peer says that it has not looked at the stream, so the call may be made again.
    """

    __slots__ = ("code", "reason", "stream_id", "unprocessed")

    def __init__(self, stream_id: int, code: int, reason: str | None = None, unprocessed: bool = False) -> None:
        self.stream_id = stream_id
        self.code = code
        self.reason = reason
        self.unprocessed = unprocessed


class SettingsReceived:
    """The peer's SETTINGS have been applied; the first one ends the handshake."""

    __slots__ = ()


class PingAnswered:
    """The answer to a PING of ours came."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload


class GoAwayReceived:
    """The peer takes no new streams; StreamReset events follow for those that it will not look at."""

    __slots__ = ("code", "debug", "last_stream_id")

    def __init__(self, last_stream_id: int, code: int, debug: bytes) -> None:
        self.last_stream_id = last_stream_id
        self.code = code
        self.debug = debug


class ConnectionFailed:
    """The peer broke the rules: the connection takes no more bytes, a GOAWAY is ready to be sent."""

    __slots__ = ("fault",)

    def __init__(self, fault: Http2Error) -> None:
        self.fault = fault


Event = (
    HeadersReceived | DataReceived | StreamReset | SettingsReceived | PingAnswered | GoAwayReceived | ConnectionFailed
)
