"""The HTTP/2 connection without I/O: legal orders, illegal ones, flow control, floods, and bytes one at a time."""

from __future__ import annotations

import pytest

from pybuildkit.rpc import _frames as f
from pybuildkit.rpc._connection import Connection
from pybuildkit.rpc._events import ConnectionFailed, DataReceived, HeadersReceived, StreamReset
from pybuildkit.rpc._frames import ErrorCode
from pybuildkit.rpc._headers import encode_block
from pybuildkit.rpc._limits import Limits
from tests.rpc.frames import (
    CLIENT_GREETING,
    REQUEST,
    RESPONSE,
    SERVER_GREETING,
    TRAILERS,
    client,
    data,
    exchange,
    frame,
    headers,
    output,
    parse,
    server,
    settings,
    summary,
)

PROTOCOL, SIZE, FLOW = ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR, ErrorCode.FLOW_CONTROL_ERROR
CLOSED, COMPRESSION, CALM = ErrorCode.STREAM_CLOSED, ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM
OPEN = headers(1)
BLOCK = encode_block(REQUEST)
ZERO4 = b"\0" * 4

# What a client may not send, after its greeting: the bytes, and the code that the connection ends with.
CONNECTION_FAULTS = {
    "data on stream 0": (data(0, b"x"), PROTOCOL),
    "data on an idle stream": (data(1, b"x"), PROTOCOL),
    "headers on stream 0": (headers(0), PROTOCOL),
    "headers on an even stream": (headers(2), PROTOCOL),
    "headers on an older stream": (headers(5, end=True) + headers(3), CLOSED),
    "rst_stream on stream 0": (frame(f.RST_STREAM, 0, 0, ZERO4), PROTOCOL),
    "rst_stream on an idle stream": (frame(f.RST_STREAM, 0, 7, ZERO4), PROTOCOL),
    "rst_stream of 3 bytes": (OPEN + frame(f.RST_STREAM, 0, 1, b"abc"), SIZE),
    "priority on stream 0": (frame(f.PRIORITY, 0, 0, b"\0" * 5), PROTOCOL),
    "priority of 4 bytes": (frame(f.PRIORITY, 0, 1, ZERO4), SIZE),
    "settings on a stream": (frame(f.SETTINGS, 0, 1), PROTOCOL),
    "settings of 5 bytes": (frame(f.SETTINGS, 0, 0, b"\0" * 5), SIZE),
    "settings ack with a payload": (frame(f.SETTINGS, f.ACK, 0, b"\0" * 6), SIZE),
    "initial window too large": (settings(INITIAL_WINDOW_SIZE=2**31), FLOW),
    "initial window overflows a stream": (
        OPEN + frame(f.WINDOW_UPDATE, 0, 1, b"\x7f\xff\0\0") + settings(INITIAL_WINDOW_SIZE=2**31 - 1),
        FLOW,
    ),
    "max frame size too small": (settings(MAX_FRAME_SIZE=16383), PROTOCOL),
    "max frame size too large": (settings(MAX_FRAME_SIZE=1 << 24), PROTOCOL),
    "enable push of 2": (settings(ENABLE_PUSH=2), PROTOCOL),
    "many settings in one frame": (frame(f.SETTINGS, 0, 0, b"\0\x03\0\0\0\1" * 65), CALM),
    "push promise": (OPEN + frame(f.PUSH_PROMISE, f.END_HEADERS, 1, b"\0\0\0\2" + BLOCK), PROTOCOL),
    "ping on a stream": (frame(f.PING, 0, 1, b"\0" * 8), PROTOCOL),
    "ping of 7 bytes": (frame(f.PING, 0, 0, b"\0" * 7), SIZE),
    "goaway on a stream": (frame(f.GOAWAY, 0, 1, b"\0" * 8), PROTOCOL),
    "goaway of 7 bytes": (frame(f.GOAWAY, 0, 0, b"\0" * 7), SIZE),
    "window update of 3 bytes": (frame(f.WINDOW_UPDATE, 0, 0, b"abc"), SIZE),
    "window update of 0": (frame(f.WINDOW_UPDATE, 0, 0, ZERO4), PROTOCOL),
    "window update on an idle stream": (frame(f.WINDOW_UPDATE, 0, 9, b"\0\0\0\1"), PROTOCOL),
    "window overflow": (frame(f.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), FLOW),
    "continuation alone": (frame(f.CONTINUATION, f.END_HEADERS, 1, BLOCK), PROTOCOL),
    "continuation of another stream": (
        frame(f.HEADERS, 0, 1, BLOCK[:5]) + frame(f.CONTINUATION, f.END_HEADERS, 3, BLOCK[5:]),
        PROTOCOL,
    ),
    "data inside a header block": (frame(f.HEADERS, 0, 1, BLOCK[:5]) + data(1, b"x"), PROTOCOL),
    "headers inside a header block": (frame(f.HEADERS, 0, 1, BLOCK[:5]) + headers(3), PROTOCOL),
    "unknown frame inside a header block": (frame(f.HEADERS, 0, 1, BLOCK[:5]) + frame(99, 0, 0), PROTOCOL),
    "padding longer than data": (OPEN + frame(f.DATA, f.PADDED, 1, b"\x05abcd"), PROTOCOL),
    "padded data of 0 bytes": (OPEN + frame(f.DATA, f.PADDED, 1), PROTOCOL),
    "padding longer than headers": (frame(f.HEADERS, f.PADDED | f.END_HEADERS, 1, b"\xff" + BLOCK), PROTOCOL),
    "headers too short for a priority": (frame(f.HEADERS, f.PRIORITY_FLAG | f.END_HEADERS, 1, ZERO4), SIZE),
    "header block that does not decode": (
        frame(f.HEADERS, f.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"),
        COMPRESSION,
    ),
    "index that is in no table": (frame(f.HEADERS, f.END_HEADERS, 1, b"\xbf"), COMPRESSION),
    "frame too large": (f.frame_header(16385, f.DATA, 0, 1), SIZE),
    "frame too large, of an unknown type": (f.frame_header(1 << 20, 77, 0, 1), SIZE),
}

# What ends one stream only: the bytes, and the code of the stream that must be 1.
STREAM_FAULTS = {
    "data after end": (headers(1, end=True) + data(1, b"x"), CLOSED),
    "headers after end": (headers(1, end=True) + headers(1, TRAILERS, end=True), CLOSED),
    "trailers that do not end": (OPEN + headers(1, TRAILERS), PROTOCOL),
    "trailers with a pseudo header": (OPEN + headers(1, [(b":path", b"/")], end=True), PROTOCOL),
    "window update of 0": (OPEN + frame(f.WINDOW_UPDATE, 0, 1, ZERO4), PROTOCOL),
    "window overflow": (OPEN + frame(f.WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), FLOW),
    "upper case name": (headers(1, [*REQUEST, (b"X-Y", b"z")]), PROTOCOL),
    "empty name": (headers(1, [*REQUEST, (b"", b"z")]), PROTOCOL),
    "connection header": (headers(1, [*REQUEST, (b"connection", b"close")]), PROTOCOL),
    "te other than trailers": (headers(1, [*REQUEST[:5], (b"te", b"gzip")]), PROTOCOL),
    "line feed in a value": (headers(1, [*REQUEST, (b"a", b"b\nc")]), PROTOCOL),
    "pseudo header after regular": (headers(1, [*REQUEST[1:], REQUEST[0]]), PROTOCOL),
    "pseudo header twice": (headers(1, [REQUEST[0], *REQUEST]), PROTOCOL),
    "unknown pseudo header": (headers(1, [(b":odd", b"1"), *REQUEST]), PROTOCOL),
    "response pseudo header in a request": (headers(1, [(b":status", b"200"), *REQUEST]), PROTOCOL),
    "missing path": (headers(1, [h for h in REQUEST if h[0] != b":path"]), PROTOCOL),
}


@pytest.mark.parametrize("case", CONNECTION_FAULTS)
def test_a_peer_that_breaks_the_rules_is_told_why(case: str) -> None:
    raw, code = CONNECTION_FAULTS[case]
    conn = server()
    events = conn.receive(raw)
    assert isinstance(events[-1], ConnectionFailed)
    assert events[-1].fault.code == code
    sent = parse(output(conn))
    assert sent[-1][0] == f.GOAWAY
    assert sent[-1][3][4:8] == f.UINT32.pack(code)
    assert conn.receive(headers(101)) == [], "a failed connection takes nothing more"


@pytest.mark.parametrize("case", STREAM_FAULTS)
def test_a_stream_that_breaks_the_rules_ends_alone(case: str) -> None:
    raw, code = STREAM_FAULTS[case]
    conn = server()
    events = conn.receive(raw)
    assert isinstance(events[-1], StreamReset)
    assert (events[-1].stream_id, events[-1].code) == (1, code)
    assert events[-1].reason
    assert (f.RST_STREAM, 0, 1, f.UINT32.pack(code)) in parse(output(conn))
    assert summary(conn.receive(headers(3))) == [("headers", 3, REQUEST, False)]


@pytest.mark.parametrize("greeting", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"\0"])
def test_a_client_without_the_preface_is_refused(greeting: bytes) -> None:
    events = Connection(client=False).receive(greeting)
    assert isinstance(events[0], ConnectionFailed)


@pytest.mark.parametrize(
    "first", [data(1, b"x"), frame(f.PING, 0, 0, b"\0" * 8), f.SETTINGS_ACK, b"HTTP/1.1 400 Bad\r\n"]
)
def test_the_first_frame_of_a_server_is_settings(first: bytes) -> None:
    events = Connection(client=True).receive(first)
    assert isinstance(events[0], ConnectionFailed)


CONVERSATION = (
    CLIENT_GREETING
    + frame(f.HEADERS, f.PADDED | f.PRIORITY_FLAG, 1, b"\x03" + b"\0" * 5 + BLOCK[:20] + b"\0" * 3)
    + frame(f.CONTINUATION, 0, 1, BLOCK[20:25])
    + frame(f.CONTINUATION, f.END_HEADERS, 1, BLOCK[25:])
    + frame(f.DATA, f.PADDED, 1, b"\x02hello\0\0")
    + frame(77, 3, 1, b"unknown")
    + frame(f.PING, 0, 0, b"12345678")
    + headers(3)
    + data(1, b"world" * 1000)
    + frame(f.PRIORITY, 0, 5, b"\0" * 5)
    + frame(f.RST_STREAM, 0, 3, f.UINT32.pack(ErrorCode.CANCEL))
    + headers(1, [(b"x-trailer", b"1")], end=True)
)
SEEN = [
    ("SettingsReceived",),
    ("headers", 1, REQUEST, False),
    ("data", 1, b"hello", False),
    ("headers", 3, REQUEST, False),
    ("data", 1, b"world" * 1000, False),
    ("StreamReset", str(int(ErrorCode.CANCEL)), "None", "3", "False"),
    ("headers", 1, [(b"x-trailer", b"1")], True),
]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 9, 10, 100, len(CONVERSATION)])
def test_bytes_may_come_in_any_pieces(step: int) -> None:
    conn = Connection(client=False)
    seen: list[object] = []
    for start in range(0, len(CONVERSATION), step):
        for event in conn.receive(CONVERSATION[start : start + step]):
            seen += summary([event])
    assert seen == SEEN
    answers = parse(output(conn))
    assert (f.PING, f.ACK, 0, b"12345678") in answers
    assert (f.SETTINGS, f.ACK, 0, b"") in answers


def test_frames_of_a_stream_that_follow_each_other_are_one_event() -> None:
    conn = server()
    raw = headers(1) + data(1, b"a" * 5) + data(1, b"") + data(1, b"b" * 7) + headers(3)
    raw += data(1, b"c") + data(3, b"d") + data(1, b"e", end=True)
    seen = [item for event in conn.receive(raw) for item in summary([event])]
    assert [item for item in seen if isinstance(item, tuple) and item[0] == "data"] == [
        ("data", 1, b"a" * 5 + b"b" * 7, False),
        ("data", 1, b"c", False),
        ("data", 3, b"d", False),
        ("data", 1, b"e", True),
    ]
    assert not conn.consumed(1, 14)


def test_frames_that_follow_each_other_count_against_both_windows() -> None:
    narrow = Limits(connection_window=10, unread=0)
    for limits, kind in ((Limits(stream_window=10), "StreamReset"), (narrow, "ConnectionFailed")):
        conn = Connection(client=False, limits=limits)
        conn.receive(CLIENT_GREETING + headers(1))
        events = conn.receive(data(1, b"x" * 6) + data(1, b"x" * 6))
        assert [type(event).__name__ for event in events] == ["DataReceived", kind]
        assert isinstance(events[0], DataReceived)
        assert events[0].size == 6


def test_request_and_response() -> None:
    left, right = Connection(client=True), Connection(client=False)
    stream = left.open_stream(REQUEST)
    left.send_data(stream, [memoryview(b"a" * 100_000)], 100_000, end_stream=True)
    _, at_server = exchange(left, right)
    body = b"".join(item[2] for item in at_server if isinstance(item, tuple) and item[0] == "data")
    assert body == b"a" * 100_000
    assert at_server[-1] == ("data", 1, at_server[-1][2], True)  # type: ignore[index]  # a tuple, as all of them
    right.send_headers(stream, RESPONSE)
    right.send_data(stream, [b"answer"], 6)
    right.send_headers(stream, TRAILERS, end_stream=True)
    at_client, _ = exchange(left, right)
    assert at_client == [
        ("headers", 1, RESPONSE, False),
        ("data", 1, b"answer", False),
        ("headers", 1, TRAILERS, True),
    ]
    assert left.open_streams == right.open_streams == 0


def test_an_informational_response_is_skipped() -> None:
    conn = client()
    conn.open_stream(REQUEST)
    events = conn.receive(headers(1, [(b":status", b"103"), (b"link", b"x")]) + headers(1, RESPONSE))
    assert summary(events) == [("headers", 1, RESPONSE, False)]


def test_frames_are_never_larger_than_16384_bytes() -> None:
    conn = client(INITIAL_WINDOW_SIZE=1 << 20, MAX_FRAME_SIZE=1 << 20)
    stream = conn.open_stream([*REQUEST, (b"big", b"v" * 40_000)])
    conn.receive(frame(f.WINDOW_UPDATE, 0, 0, f.UINT32.pack(1 << 20)))
    conn.send_data(stream, [memoryview(bytes(500_000))], 500_000)
    sent = parse(output(conn))
    assert max(len(payload) for _, _, _, payload in sent) == 16384
    assert [kind for kind, *_ in sent[:3]] == [f.HEADERS, f.CONTINUATION, f.CONTINUATION]
    assert sum(len(payload) for kind, _, _, payload in sent if kind == f.DATA) == 500_000


def test_payloads_are_slices_not_copies() -> None:
    conn = client()
    block = memoryview(bytes(40_000))
    stream = conn.open_stream(REQUEST)
    conn.send_data(stream, [block], 40_000)
    chunks = [c for c in conn.take(1 << 20) if isinstance(c, memoryview)]
    assert sum(map(len, chunks)) == 40_000
    assert all(c.obj is block.obj for c in chunks)


def test_windows_hold_the_sender_back() -> None:
    conn = client(INITIAL_WINDOW_SIZE=10)
    stream = conn.open_stream(REQUEST)
    conn.send_data(stream, [b"x" * 30], 30, end_stream=True)
    assert parse(output(conn))[-1] == (f.DATA, 0, 1, b"x" * 10)
    assert not conn.has_output()
    conn.receive(frame(f.WINDOW_UPDATE, 0, 1, f.UINT32.pack(5)))
    assert parse(output(conn)) == [(f.DATA, 0, 1, b"x" * 5)]
    conn.receive(settings(INITIAL_WINDOW_SIZE=0))
    conn.receive(frame(f.WINDOW_UPDATE, 0, 1, f.UINT32.pack(10)))
    assert parse(output(conn)) == [(f.SETTINGS, f.ACK, 0, b"")], "the window went to -10 and came back to 0"
    conn.receive(settings(INITIAL_WINDOW_SIZE=100))
    assert parse(output(conn))[-1] == (f.DATA, f.END_STREAM, 1, b"x" * 15)


def test_the_connection_window_is_shared_in_turns() -> None:
    conn = client(INITIAL_WINDOW_SIZE=1 << 20)
    streams = [conn.open_stream(REQUEST) for _ in range(3)]
    for stream in streams:
        conn.send_data(stream, [memoryview(bytes(400_000))], 400_000)
    sent = dict.fromkeys(streams, 0)
    output(conn)
    for _ in range(9):
        conn.receive(frame(f.WINDOW_UPDATE, 0, 0, f.UINT32.pack(65_536)))
        for kind, _, stream, payload in parse(output(conn)):
            if kind == f.DATA:
                sent[stream] += len(payload)
    assert max(sent.values()) - min(sent.values()) <= 65_536
    assert all(sent.values())


def test_a_small_message_does_not_wait_behind_a_large_one() -> None:
    conn = client(INITIAL_WINDOW_SIZE=1 << 24)
    conn.receive(frame(f.WINDOW_UPDATE, 0, 0, f.UINT32.pack(1 << 24)))
    large, small = conn.open_stream(REQUEST), conn.open_stream(REQUEST)
    conn.send_data(large, [memoryview(bytes(1 << 22))], 1 << 22)
    conn.send_data(small, [b"small"], 5)
    order = [stream for kind, _, stream, _ in parse(b"".join(conn.take(1 << 20))) if kind == f.DATA]
    assert order.index(small) <= 4


def test_trailers_follow_the_data_that_waits() -> None:
    conn = Connection(client=False)
    conn.receive(CLIENT_GREETING[:24] + settings(INITIAL_WINDOW_SIZE=4) + headers(1, end=True))
    output(conn)
    conn.send_headers(1, RESPONSE)
    conn.send_data(1, [b"abcdef"], 6)
    conn.send_headers(1, TRAILERS, end_stream=True)
    assert [kind for kind, *_ in parse(output(conn))] == [f.HEADERS, f.DATA]
    conn.receive(frame(f.WINDOW_UPDATE, 0, 1, f.UINT32.pack(2)))
    assert [(kind, flags & 1) for kind, flags, *_ in parse(output(conn))] == [(f.DATA, 0), (f.HEADERS, 1)]
    assert conn.open_streams == 0


def test_a_server_that_answers_early_wants_no_more_of_the_request() -> None:
    conn = server()
    conn.receive(headers(1))
    conn.send_headers(1, [*RESPONSE, *TRAILERS], end_stream=True)
    assert [(kind, s) for kind, _, s, _ in parse(output(conn))] == [(f.HEADERS, 1), (f.RST_STREAM, 1)]
    assert conn.receive(data(1, b"late")) == [], "what was under way is dropped"


def test_window_is_given_back_as_the_application_consumes() -> None:
    limits = Limits(stream_window=1000, connection_window=100_000)
    conn = Connection(client=False, limits=limits)
    conn.receive(CLIENT_GREETING + headers(1) + data(1, b"x" * 900))
    output(conn)
    assert not conn.consumed(1, 200)
    assert conn.consumed(1, 100)
    assert parse(output(conn)) == [(f.WINDOW_UPDATE, 0, 1, f.UINT32.pack(300))]
    events = conn.receive(data(1, b"x" * 401))
    assert isinstance(events[-1], StreamReset)
    assert events[-1].code == FLOW


@pytest.mark.parametrize(("seconds", "window"), [(0.01, 3 << 20), (0.03, 16 << 20)])
def test_a_peer_that_is_far_away_gets_larger_windows(seconds: float, window: int) -> None:
    now = 5.0
    conn = Connection(client=False, clock=lambda: now)
    conn.receive(CLIENT_GREETING + headers(1))
    output(conn)
    now += seconds
    conn.receive(f.SETTINGS_ACK)
    told = [
        (f.SETTINGS, 0, 0, f.SETTING.pack(f.INITIAL_WINDOW_SIZE, 16 << 20)),
        (f.WINDOW_UPDATE, 0, 0, f.UINT32.pack(13 << 20)),
    ]
    assert parse(output(conn)) == (told if window > 3 << 20 else [])
    now += 60
    conn.receive(f.SETTINGS_ACK)
    assert parse(output(conn)) == [], "only the first acknowledgement tells the distance"
    conn.receive(headers(3))
    for stream in (1, 3):
        for _ in range(window // 16384):
            assert not isinstance(conn.receive(data(stream, bytes(16384)))[-1], (ConnectionFailed, StreamReset))
        assert isinstance(conn.receive(data(stream, b"x"))[-1], StreamReset)


def test_a_stalled_reader_does_not_use_up_the_connection() -> None:
    limits = Limits(stream_window=1 << 16, connection_window=1 << 16, unread=1 << 20)
    conn = Connection(client=False, limits=limits)
    conn.receive(CLIENT_GREETING + headers(1) + headers(3))
    for _ in range(4):
        conn.receive(data(1, bytes(16384)))
    granted = 0
    for _ in range(100):
        events = conn.receive(data(3, bytes(16384)))
        assert not isinstance(events[-1], (ConnectionFailed, StreamReset))
        conn.consumed(3, 16384)
        granted += sum(1 for kind, _, stream, _ in parse(output(conn)) if kind == f.WINDOW_UPDATE and stream == 0)
    assert granted


def test_unread_bytes_of_all_streams_are_bounded() -> None:
    limits = Limits(stream_window=1 << 20, connection_window=1 << 16, unread=1 << 17)
    conn = Connection(client=False, limits=limits)
    conn.receive(CLIENT_GREETING + headers(1))
    taken = 0
    events: list[object] = []
    while not any(isinstance(event, ConnectionFailed) for event in events):
        events = list(conn.receive(data(1, bytes(16384))))
        taken += 16384
    assert taken <= (1 << 16) + (1 << 17) + 16384


def test_resets_drop_what_waits() -> None:
    conn = client(INITIAL_WINDOW_SIZE=0)
    stream = conn.open_stream(REQUEST)
    conn.send_data(stream, [b"x" * 100], 100)
    output(conn)
    conn.reset(stream)
    conn.receive(frame(f.WINDOW_UPDATE, 0, stream, f.UINT32.pack(100)))
    assert parse(output(conn)) == [(f.RST_STREAM, 0, 1, f.UINT32.pack(ErrorCode.CANCEL))]
    assert conn.pending(stream) == 0
    assert conn.receive(headers(1, RESPONSE) + data(1, b"x") + headers(1, TRAILERS, end=True)) == []


def test_goaway_ends_the_streams_that_the_peer_will_not_look_at() -> None:
    conn = client()
    first, second = conn.open_stream(REQUEST), conn.open_stream(REQUEST)
    events = conn.receive(frame(f.GOAWAY, 0, 0, f.GOAWAY_HEAD.pack(first, 0) + b"bye"))
    assert summary(events)[0] == ("GoAwayReceived", "0", "b'bye'", "1")
    assert isinstance(events[1], StreamReset)
    assert events[1].stream_id == second
    assert events[1].unprocessed
    assert not conn.can_open()
    assert isinstance(conn.receive(headers(1, RESPONSE))[0], HeadersReceived)


def test_the_peer_limits_how_many_streams_are_open() -> None:
    conn = client(MAX_CONCURRENT_STREAMS=1)
    assert conn.can_open()
    stream = conn.open_stream(REQUEST, end_stream=True)
    assert not conn.can_open()
    conn.receive(headers(stream, [*RESPONSE, *TRAILERS], end=True))
    assert conn.can_open()


def test_more_streams_than_allowed_are_refused() -> None:
    conn = Connection(client=False, limits=Limits(streams=2))
    events = conn.receive(CLIENT_GREETING + headers(1) + headers(3) + headers(5))
    assert [item[1] for item in summary(events)[1:]] == [1, 3]  # type: ignore[index]  # tuples, all of them
    assert (f.RST_STREAM, 0, 5, f.UINT32.pack(ErrorCode.REFUSED_STREAM)) in parse(output(conn))


FLOODS = {
    "pings": frame(f.PING, 0, 0, b"\0" * 8),
    "settings": settings(),
    "settings acks": f.SETTINGS_ACK,
    "empty data": data(1),
    "padding only": frame(f.DATA, f.PADDED, 1, b"\0"),
    "priorities": frame(f.PRIORITY, 0, 1, b"\0" * 5),
    "unknown frames": frame(200, 0, 0),
    "resets of closed streams": frame(f.RST_STREAM, 0, 1, ZERO4),
    "goaways": frame(f.GOAWAY, 0, 0, b"\0" * 8),
}


@pytest.mark.parametrize("case", FLOODS)
def test_floods_end_the_connection(case: str) -> None:
    conn = Connection(client=False, limits=Limits(nuisance=100), clock=lambda: 0.0)
    conn.receive(CLIENT_GREETING + OPEN)
    for _ in range(102):
        events = conn.receive(FLOODS[case])
        output(conn)
        if events and isinstance(events[-1], ConnectionFailed):
            assert events[-1].fault.code == CALM
            return
    pytest.fail("the flood was taken")


def test_rapid_resets_end_the_connection() -> None:
    conn = Connection(client=False, limits=Limits(nuisance=100), clock=lambda: 0.0)
    conn.receive(CLIENT_GREETING)
    for number in range(1, 301, 2):
        events = conn.receive(headers(number) + frame(f.RST_STREAM, 0, number, ZERO4))
        if isinstance(events[-1], ConnectionFailed):
            assert events[-1].fault.code == CALM
            return
    pytest.fail("the flood was taken")


def test_a_steady_trickle_is_no_flood() -> None:
    now = 0.0

    def clock() -> float:
        return now

    conn = Connection(client=False, limits=Limits(nuisance=10, nuisance_rate=1.0), clock=clock)
    conn.receive(CLIENT_GREETING)
    for _ in range(1000):
        now += 1.0
        assert conn.receive(frame(f.PING, 0, 0, b"\0" * 8)) == []
        output(conn)


def test_answers_that_are_not_read_are_bounded() -> None:
    conn = Connection(client=False, limits=Limits(nuisance=100, nuisance_rate=1e9), clock=iter(range(10**6)).__next__)
    conn.receive(CLIENT_GREETING)
    for _ in range(200):
        if conn.receive(frame(f.PING, 0, 0, b"\0" * 8)):
            return
    pytest.fail("answers pile up without bound")


@pytest.mark.parametrize("piece", [b"", b"\x00\x01a\x01b"])
def test_continuations_without_end(piece: bytes) -> None:
    conn = server()
    conn.receive(frame(f.HEADERS, 0, 1, BLOCK))
    for _ in range(1000):
        events = conn.receive(frame(f.CONTINUATION, 0, 1, piece))
        if events:
            assert isinstance(events[0], ConnectionFailed)
            assert events[0].fault.code == CALM
            return
    pytest.fail("the flood was taken")


def test_a_header_list_bomb_is_refused() -> None:
    name = b"n" * 4000
    block = b"\x40" + b"\x7f" + b"\xa1\x1e" + name + b"\x00" + b"\xbe" * 16000
    conn = server()
    pieces = [block[start : start + 16384] for start in range(0, len(block), 16384)]
    raw = frame(f.HEADERS, 0, 1, pieces[0])
    for piece in pieces[1:-1]:
        raw += frame(f.CONTINUATION, 0, 1, piece)
    raw += frame(f.CONTINUATION, f.END_HEADERS, 1, pieces[-1])
    events = conn.receive(raw)
    assert isinstance(events[0], ConnectionFailed)
    assert events[0].fault.code == CALM


def test_settings_are_sent_first_and_acknowledged() -> None:
    for conn, greeting in ((Connection(client=True), SERVER_GREETING), (Connection(client=False), CLIENT_GREETING)):
        first = parse(output(conn))
        assert first[0][0] == f.SETTINGS
        assert (f.WINDOW_UPDATE, 0, 0, f.UINT32.pack((3 << 20) - 65535)) in first
        assert not conn.settled
        conn.receive(greeting)
        assert conn.settled
        assert parse(output(conn)) == [(f.SETTINGS, f.ACK, 0, b"")]
