"""Random conversations between our connection and h2's, in both roles: both must see the same."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybuildkit.rpc._connection import Connection
from pybuildkit.rpc._events import ConnectionFailed, DataReceived, HeadersReceived, PingAnswered, StreamReset
from tests.rpc.frames import REQUEST, RESPONSE, TRAILERS, output


class Meeting:
    """Our end and h2's, joined byte by byte or in larger pieces."""

    def __init__(self, *, ours_is_client: bool, step: int) -> None:
        self.ours = Connection(client=ours_is_client)
        config = h2.config.H2Configuration(client_side=not ours_is_client, header_encoding=False)
        self.theirs = h2.connection.H2Connection(config)
        self.theirs.initiate_connection()
        self.step = step
        self.our_data: dict[int, bytes] = {}
        self.their_data: dict[int, bytes] = {}
        self.our_ends: set[int] = set()
        self.their_ends: set[int] = set()
        self.our_resets: dict[int, int] = {}
        self.their_resets: dict[int, int] = {}
        self.pings: list[bytes] = []
        self.settle()

    def settle(self) -> None:
        """Carry bytes until both are silent."""
        while True:
            ours, theirs = output(self.ours), self.theirs.data_to_send()
            if not ours and not theirs:
                return
            for start in range(0, len(ours), self.step):
                for event in self.theirs.receive_data(ours[start : start + self.step]):
                    self._at_theirs(event)
            for start in range(0, len(theirs), self.step):
                for seen in self.ours.receive(theirs[start : start + self.step]):
                    self._at_ours(seen)

    def _at_ours(self, event: object) -> None:
        assert not isinstance(event, ConnectionFailed), event
        if isinstance(event, DataReceived):
            self.our_data[event.stream_id] = self.our_data.get(event.stream_id, b"") + event.data
            self.ours.consumed(event.stream_id, len(event.data))
        if isinstance(event, (DataReceived, HeadersReceived)) and event.ended:
            self.our_ends.add(event.stream_id)
        if isinstance(event, StreamReset):
            self.our_resets[event.stream_id] = event.code
        if isinstance(event, PingAnswered):
            self.pings.append(event.payload)

    def _at_theirs(self, event: Any) -> None:
        if isinstance(event, h2.events.DataReceived):
            self.their_data[event.stream_id] = self.their_data.get(event.stream_id, b"") + event.data
            self.theirs.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if isinstance(event, h2.events.StreamEnded):
            self.their_ends.add(event.stream_id)
        if isinstance(event, h2.events.StreamReset):
            self.their_resets[event.stream_id] = event.error_code


SIZES = st.one_of(st.integers(0, 50), st.sampled_from([16383, 16384, 16385, 65535, 65536, 200_000]))
STEPS = st.sampled_from([1 << 20, 16384, 1000, 13])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("data"), st.integers(0, 3), SIZES),
        st.tuples(st.just("window"), st.integers(0, 100_000), st.just(0)),
        st.tuples(st.just("ping"), st.integers(0, 255), st.just(0)),
        st.tuples(st.just("reset"), st.integers(0, 3), st.integers(0, 1)),
        st.tuples(st.just("settle"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS, STEPS)
def test_our_client_and_their_server(actions: list[tuple[str, int, int]], step: int) -> None:
    meeting = Meeting(ours_is_client=True, step=step)
    streams = [meeting.ours.open_stream(REQUEST) for _ in range(4)]
    meeting.settle()
    sent = dict.fromkeys(streams, b"")
    reset: set[int] = set()
    pings = []
    for action, number, size in actions:
        if action == "data" and streams[number] not in reset:
            payload = bytes((number,)) * size
            meeting.ours.send_data(streams[number], [memoryview(payload)], size)
            sent[streams[number]] += payload
        elif action == "window":
            meeting.theirs.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: number})
            meeting.settle()
        elif action == "ping":
            pings.append(bytes((number,)) * 8)
            meeting.ours.ping(pings[-1])
        elif action == "reset" and streams[number] not in reset:
            reset.add(streams[number])
            if size:
                meeting.ours.reset(streams[number])
            else:
                meeting.settle()
                meeting.theirs.reset_stream(streams[number], 8)
            meeting.settle()
        elif action == "settle":
            meeting.settle()
    meeting.theirs.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24})
    meeting.settle()
    for stream in streams:
        if stream in reset:
            assert sent[stream].startswith(meeting.their_data.get(stream, b""))
            continue
        meeting.ours.send_data(stream, [], 0, end_stream=True)
        meeting.settle()
        assert meeting.their_data.get(stream, b"") == sent[stream]
        assert stream in meeting.their_ends
        meeting.theirs.send_headers(stream, [*RESPONSE, *TRAILERS], end_stream=True)
        meeting.settle()
        assert stream in meeting.our_ends
    assert meeting.pings == pings
    assert meeting.ours.open_streams == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(SIZES, st.integers(0, 255), SIZES), min_size=1, max_size=6), STEPS)
def test_their_client_and_our_server(calls: list[tuple[int, int, int]], step: int) -> None:
    meeting = Meeting(ours_is_client=False, step=step)
    for index, (up, padding, down) in enumerate(calls):
        stream = 2 * index + 1
        meeting.theirs.send_headers(stream, REQUEST)
        left = up
        while left:
            size = min(left, 16384 - 256, meeting.theirs.local_flow_control_window(stream) - 256)
            meeting.theirs.send_data(stream, b"u" * size, pad_length=padding)
            meeting.settle()
            left -= size
        meeting.theirs.end_stream(stream)
        meeting.settle()
        assert meeting.our_data.get(stream, b"") == b"u" * up
        assert stream in meeting.our_ends
        meeting.ours.send_headers(stream, RESPONSE)
        meeting.ours.send_data(stream, [b"d" * down], down)
        meeting.ours.send_headers(stream, TRAILERS, end_stream=True)
        meeting.settle()
        assert meeting.their_data.get(stream, b"") == b"d" * down
        assert stream in meeting.their_ends
    assert meeting.ours.open_streams == 0


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_garbage_never_raises(raw: bytes, client: bool) -> None:
    conn = Connection(client=client)
    conn.receive(b"" if client else b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    conn.receive(raw)
    output(conn)


FRAMES = st.tuples(
    st.integers(0, 11), st.integers(0, 255), st.integers(0, 9), st.one_of(st.binary(max_size=30), st.just(b"\0" * 8))
)


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAMES, max_size=20), st.booleans(), st.integers(1, 50))
def test_random_frames_never_raise_and_pieces_change_nothing(
    frames: list[tuple[int, int, int, bytes]], client: bool, step: int
) -> None:
    from tests.rpc.frames import CLIENT_GREETING, SERVER_GREETING, frame, summary

    raw = (SERVER_GREETING if client else CLIENT_GREETING) + b"".join(frame(*item) for item in frames)
    results = []
    for size in (len(raw), step):
        conn = Connection(client=client, clock=lambda: 0.0)
        if client:
            conn.open_stream(REQUEST)
            conn.open_stream(REQUEST, end_stream=True)
        seen: list[object] = []
        for start in range(0, len(raw), size):
            for event in conn.receive(raw[start : start + size]):
                seen += summary([event])
        results.append((seen, output(conn)))
    assert results[0] == results[1]


@pytest.mark.parametrize("ours_is_client", [True, False])
def test_both_ends_say_goodbye(ours_is_client: bool) -> None:
    meeting = Meeting(ours_is_client=ours_is_client, step=100)
    meeting.ours.go_away()
    meeting.settle()
    assert meeting.theirs.state_machine.state == h2.connection.ConnectionState.CLOSED
