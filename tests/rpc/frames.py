"""A frame factory: raw HTTP/2 frames, legal and not, and two connections joined in memory."""

from __future__ import annotations

from pybuildkit.rpc import _frames as f
from pybuildkit.rpc._connection import Connection
from pybuildkit.rpc._events import DataReceived, Event, HeadersReceived
from pybuildkit.rpc._headers import encode_block

REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/pkg.Service/Name"),
    (b":authority", b"localhost"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
RESPONSE = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILERS = [(b"grpc-status", b"0")]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Any frame at all."""
    return f.frame_header(len(payload), kind, flags, stream_id) + payload


def headers(stream_id: int, fields: list[tuple[bytes, bytes]] = REQUEST, *, end: bool = False) -> bytes:
    """HEADERS that are whole."""
    return frame(f.HEADERS, f.END_HEADERS | (f.END_STREAM if end else 0), stream_id, encode_block(fields))


def data(stream_id: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    """DATA."""
    return frame(f.DATA, f.END_STREAM if end else 0, stream_id, payload)


def settings(**values: int) -> bytes:
    """SETTINGS by the names of the identifiers."""
    return f.settings_frame({getattr(f, name): value for name, value in values.items()})


CLIENT_GREETING = f.PREFACE + settings()
SERVER_GREETING = settings()


def server() -> Connection:
    """A server that has been greeted."""
    conn = Connection(client=False)
    conn.receive(CLIENT_GREETING)
    conn.take(1 << 20)
    return conn


def client(**values: int) -> Connection:
    """A client that has been greeted, with settings."""
    conn = Connection(client=True)
    conn.receive(settings(**values))
    conn.take(1 << 20)
    return conn


def output(conn: Connection) -> bytes:
    """All that a connection has to say now."""
    out = bytearray()
    while chunks := conn.take(1 << 20):
        out += b"".join(chunks)
    return bytes(out)


def parse(raw: bytes) -> list[tuple[int, int, int, bytes]]:
    """The frames (type, flags, stream, payload) of some output, without a preface."""
    raw = raw.removeprefix(f.PREFACE)
    frames = []
    while raw:
        high, low, kind, flags, stream_id = f.HEADER.unpack_from(raw)
        end = f.HEADER_SIZE + (high << 8 | low)
        assert len(raw) >= end, "a frame is cut short"
        frames.append((kind, flags, stream_id, raw[f.HEADER_SIZE : end]))
        raw = raw[end:]
    return frames


def summary(events: list[Event]) -> list[object]:
    """Events as plain values that compare; data is copied out."""
    plain: list[object] = []
    for event in events:
        if isinstance(event, DataReceived):
            plain.append(("data", event.stream_id, bytes(event.data), event.ended))
        elif isinstance(event, HeadersReceived):
            plain.append(("headers", event.stream_id, list(event.headers), event.ended))
        else:
            fields = [getattr(event, name) for name in event.__slots__]
            plain.append((type(event).__name__, *map(str, fields)))
    return plain


def exchange(left: Connection, right: Connection) -> tuple[list[object], list[object]]:
    """Carry bytes both ways until both are silent; gives what each saw."""
    seen: tuple[list[object], list[object]] = ([], [])
    while True:
        moved = False
        for source, target, events in ((left, right, seen[1]), (right, left, seen[0])):
            raw = output(source)
            if raw:
                moved = True
                for event in target.receive(raw):
                    events.extend(summary([event]))
                    if isinstance(event, DataReceived):
                        target.consumed(event.stream_id, len(event.data))
        if not moved:
            return seen
