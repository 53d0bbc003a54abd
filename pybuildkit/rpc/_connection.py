"""An HTTP/2 connection without I/O, for both roles: bytes in, events out, and buffers to send.

Not a port; it stands for internal/transport of google.golang.org/grpc, v1.82.1.

Rules (RFC 9113):
- A client opens with the preface and SETTINGS, a server with SETTINGS; each side's first frame is SETTINGS, and
  every SETTINGS is acknowledged once it is applied.
- A stream is HEADERS, any number of DATA, and possibly trailing HEADERS; END_STREAM closes one direction, RST_STREAM
  both. Clients use odd numbers, always rising. A header block's CONTINUATION frames follow it with nothing between.
- DATA counts against two windows, the stream's and the connection's. A stream's window is given back as the
  application consumes (`consumed`), so a reader that stops stalls its own stream only; the connection's is given
  back as bytes arrive, up to a bound on what all streams together hold unread. Both begin small, since what the
  windows let in is memory where the reader is the slower end; a peer that is slow to acknowledge our SETTINGS is far
  away, needs more under way, and gets the whole windows.

Use: give received bytes to `receive`, act on its events, call the `send_…` functions, then write what `take`
gives, in that order. A peer that breaks the rules makes `receive` end with `ConnectionFailed`; a stream that does,
with `StreamReset`. Peers that send more of what costs us than them (`Limits`) are refused the same way.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from pybuildkit.rpc import _frames as f
from pybuildkit.rpc._events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    PingAnswered,
    SettingsReceived,
    StreamReset,
)
from pybuildkit.rpc._flow import Chunk, RecvSide, SendSide, StreamState
from pybuildkit.rpc._frames import (
    ErrorCode,
    FloodFault,
    FlowControlFault,
    FrameSizeFault,
    FrameTooLargeFault,
    NotSettingsFault,
    ProtocolFault,
)
from pybuildkit.rpc._headers import BlockDecoder, Headers, encode_block, malformed
from pybuildkit.rpc._limits import Limits

_REMEMBERED = 1000
_MOST_SETTINGS = 64
_FORGIVEN = 2
_FORGIVEN_BYTES = 4096


class Connection:
    """One end of a connection.

    Args:
        client: whether this end is the client.
        limits: what the peer may do.
        clock: seconds, for the limits on nuisances and the distance of the peer.
    """

    def __init__(
        self, *, client: bool, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._limits = limits or Limits()
        self._clock = clock
        self._streams: dict[int, StreamState] = {}
        self._send = SendSide()
        self._recv = RecvSide(self._limits, self._send)
        self._next_id = 1
        self._last_peer_id = 0
        self._reset_by_us: OrderedDict[int, None] = OrderedDict()
        self._peer_initial_window = f.DEFAULT_WINDOW
        self._peer_max_streams = f.MAX_STREAM_ID
        self._decoder = BlockDecoder(self._limits.header_list)
        self._block: bytearray | None = None
        self._block_frames = 0
        self._block_head = (0, 0)
        self._partial = bytearray()
        self._preface_left = b"" if client else f.PREFACE
        self._settled = False
        self._going_away = False
        self._peer_going_away = False
        self._failed = False
        self._nuisance = 0.0
        self._nuisance_at = 0.0
        self._answers = 0
        self._events: list[Event] = []
        self._handlers: tuple[Callable[[int, int, memoryview], None], ...] = (
            self._on_data,
            self._on_headers,
            self._on_priority,
            self._on_rst_stream,
            self._on_settings,
            self._on_push_promise,
            self._on_ping,
            self._on_goaway,
            self._on_window_update,
            self._on_continuation,
        )
        self._greet()

    def _greet(self) -> None:
        limits = self._limits
        settings = {f.INITIAL_WINDOW_SIZE: self._recv.stream_window, f.MAX_HEADER_LIST_SIZE: limits.header_list}
        if self._client:
            settings[f.ENABLE_PUSH] = 0
            self._send.control.append(f.PREFACE)
        else:
            settings[f.MAX_CONCURRENT_STREAMS] = limits.streams
        self._send.control.append(f.settings_frame(settings))
        self._recv.greet()
        self._greeted: float | None = self._clock()

    # What the peer has told us.

    @property
    def settled(self) -> bool:
        """Whether the peer's first SETTINGS have come."""
        return self._settled

    @property
    def end_text(self) -> str:
        """The end of the peer's bytes, if it were now, in Go's words: between two frames or within one."""
        return "EOF" if len(self._partial) in (0, f.HEADER_SIZE) else "unexpected EOF"

    @property
    def draining(self) -> bool:
        """Whether either side has said that no new streams are taken."""
        return self._going_away or self._peer_going_away

    @property
    def open_streams(self) -> int:
        """How many streams are open in at least one direction."""
        return len(self._streams)

    def can_open(self) -> bool:
        """Whether a client may open one more stream now."""
        return not self.draining and not self._failed and len(self._streams) < self._peer_max_streams

    def pending(self, stream_id: int) -> int:
        """Bytes of a stream that wait to be taken; 0 for one that is over."""
        stream = self._streams.get(stream_id)
        return stream.pending if stream is not None else 0

    # Sending.

    def open_stream(self, headers: Headers, *, end_stream: bool = False) -> int:
        """Send a request's headers on a new stream; gives the stream's number. Only where `can_open`."""
        stream_id = self._next_id
        self._next_id += 2
        if stream_id > f.MAX_STREAM_ID:
            raise ProtocolFault("the connection has no stream numbers left")
        stream = StreamState(stream_id, self._peer_initial_window, self._recv.stream_window)
        self._streams[stream_id] = stream
        self._send.control.append(f.header_frames(stream_id, encode_block(headers), end_stream))
        if end_stream:
            stream.local_done = True
        return stream_id

    def send_headers(self, stream_id: int, headers: Headers, *, end_stream: bool = False) -> None:
        """Send a response's headers, or with `end_stream` its trailers, after the data that waits."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_done or stream.ending or stream.trailer is not None:
            return
        block = encode_block(headers)
        if end_stream:
            self._send.end_with(stream, block)
        else:
            self._send.control.append(f.header_frames(stream_id, block, False))

    def send_data(self, stream_id: int, buffers: list[Chunk], size: int, *, end_stream: bool = False) -> None:
        """Queue buffers of `size` bytes in all; they must not change until they have been written.

        On a stream that is over, or whose sending side is, this does nothing.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_done or stream.ending or stream.trailer is not None:
            return
        stream.ending = end_stream
        # A peer that measures bandwidth sends a PING for some of the data it gets: those are no nuisance.
        self._nuisance = max(0.0, self._nuisance - _FORGIVEN - size / _FORGIVEN_BYTES)
        self._send.enqueue(stream, buffers, size)

    def reset(self, stream_id: int, code: int = ErrorCode.CANCEL) -> None:
        """End a stream in both directions; does nothing for one that is over."""
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            return
        stream.drop()
        stream.local_done = stream.remote_done = True
        self._send.control.append(f.rst_stream_frame(stream_id, code))
        self._remember(stream_id)

    def ping(self, payload: bytes) -> None:
        """Send a PING with eight bytes; `PingAnswered` brings them back."""
        self._send.control.append(f.ping_frame(payload))

    def go_away(self, code: int = ErrorCode.NO_ERROR, debug: bytes = b"") -> None:
        """Tell the peer, once, that no new streams are taken; open ones go on."""
        if not self._going_away:
            self._going_away = True
            self._send.control.append(f.goaway_frame(self._last_peer_id, code, debug))

    def consumed(self, stream_id: int, size: int) -> bool:
        """Give back window for bytes of a stream that the application has taken (or will never take).

        Returns:
            whether there is now something to send for it.
        """
        return self._recv.consumed(self._streams.get(stream_id), size)

    def has_output(self) -> bool:
        """Whether `take` would give anything now."""
        return self._send.has_output()

    def take(self, limit: int) -> list[Chunk]:
        """The next buffers to write, of some `limit` bytes of payload; [] when nothing may be sent now."""
        finished: list[StreamState] = []
        out = self._send.take(limit, finished)
        self._answers = 0
        for stream in finished:
            self._local_end(stream)
        return out

    def _local_end(self, stream: StreamState) -> None:
        if self._streams.get(stream.stream_id) is not stream:
            return
        if stream.remote_done:
            del self._streams[stream.stream_id]
        elif not self._client:
            # A server that has sent its trailers wants no more of the request.
            self.reset(stream.stream_id, ErrorCode.NO_ERROR)

    def _remember(self, stream_id: int) -> None:
        self._reset_by_us[stream_id] = None
        if len(self._reset_by_us) > _REMEMBERED:
            self._reset_by_us.popitem(last=False)

    # Receiving.

    def receive(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take bytes of the peer; gives what happened, in order.

        After a `ConnectionFailed` event nothing more is taken. Payloads in the events are slices of `data`.
        """
        if self._failed:
            return []
        events: list[Event] = []
        self._events = events
        try:
            self._parse(memoryview(data))
        except f.Http2Error as fault:
            self._failed = True
            self.go_away(fault.code, fault.reason.encode()[:256])
            events.append(ConnectionFailed(fault))
        return events

    def _parse(self, view: memoryview) -> None:
        position = self._take_preface(view)
        end = len(view)
        if self._partial:
            position = self._complete(view, position, end)
        unpack, size, most = f.HEADER.unpack_from, f.HEADER_SIZE, f.MAX_FRAME
        while end - position >= size:
            high, low, kind, flags, stream_id = unpack(view, position)
            length = high << 8 | low
            if length > most:
                raise FrameTooLargeFault(bytes(view[position : position + size]))
            start = position + size
            position = start + length
            if position > end:
                position = start - size
                break
            if kind or flags or not length or not self._more_data(stream_id, length, view[start:position]):
                self._frame(kind, flags, stream_id & f.MAX_STREAM_ID, view[start:position])
        if position < end:
            self._partial += view[position:]

    def _more_data(self, stream_id: int, size: int, payload: memoryview) -> bool:
        """Add a plain DATA frame to the event before it, where that is of the same stream; False for all others."""
        event = self._events[-1] if self._events else None
        if type(event) is not DataReceived or event.stream_id != stream_id or event.ended or self._block is not None:
            return False
        stream = self._streams.get(stream_id)
        recv = self._recv
        if stream is None or size > stream.recv_window or size > recv.window:
            return False
        recv.window -= size
        recv.take(stream, size, size)
        event.pieces.append(payload)
        event.size += size
        return True

    def _take_preface(self, view: memoryview) -> int:
        expected = self._preface_left
        if not expected:
            return 0
        size = min(len(expected), len(view))
        if view[:size] != expected[:size]:
            raise ProtocolFault("the client's preface is wrong")
        self._preface_left = expected[size:]
        return size

    def _complete(self, view: memoryview, position: int, end: int) -> int:
        """Complete the frame that an earlier call had only the beginning of; gives the new position."""
        partial = self._partial
        while position < end:
            need = f.HEADER_SIZE
            if len(partial) >= need:
                high, low, kind, flags, stream_id = f.HEADER.unpack_from(partial)
                length = high << 8 | low
                if length > f.MAX_FRAME:
                    raise FrameTooLargeFault(bytes(partial[: f.HEADER_SIZE]))
                need += length
                if len(partial) == need:
                    break
            step = min(need - len(partial), end - position)
            partial += view[position : position + step]
            position += step
        if len(partial) < f.HEADER_SIZE:
            return position
        high, low, kind, flags, stream_id = f.HEADER.unpack_from(partial)
        length = high << 8 | low
        if length > f.MAX_FRAME:
            raise FrameTooLargeFault(bytes(partial[: f.HEADER_SIZE]))
        if len(partial) == f.HEADER_SIZE + length:
            self._partial = bytearray()
            self._frame(kind, flags, stream_id & f.MAX_STREAM_ID, memoryview(partial)[f.HEADER_SIZE :])
        return position

    def _frame(self, kind: int, flags: int, stream_id: int, payload: memoryview) -> None:
        if self._block is not None and (kind != f.CONTINUATION or stream_id != self._block_head[0]):
            raise ProtocolFault("a header block is interrupted by another frame")
        if not self._settled and (kind != f.SETTINGS or flags & f.ACK):
            if self._client and kind != f.SETTINGS:
                raise NotSettingsFault(kind)
            raise ProtocolFault("the first frame is not SETTINGS")
        if kind < len(self._handlers):
            self._handlers[kind](flags, stream_id, payload)
        else:
            self._annoy("unknown frames")

    def _annoy(self, what: str) -> None:
        """Count a frame that costs us more than the peer."""
        now = self._clock()
        limits = self._limits
        self._nuisance = max(0.0, self._nuisance - (now - self._nuisance_at) * limits.nuisance_rate) + 1
        self._nuisance_at = now
        if self._nuisance > limits.nuisance:
            raise FloodFault(f"too many {what}")

    def _answer(self, frame: bytes) -> None:
        """Queue an answer that the peer asked for; a peer that asks but does not read is refused."""
        self._answers += 1
        if self._answers > self._limits.nuisance:
            raise FloodFault("answers are not read")
        self._send.control.append(frame)

    def _missing(self, stream_id: int, what: str) -> bool:
        """Judge a frame for a stream that is not open: ignored (True) where it may be late, else a fault."""
        ours = (stream_id & 1 == 1) is self._client
        if stream_id == 0:
            raise ProtocolFault(f"{what} on stream 0")
        if (ours and stream_id >= self._next_id) or (not ours and stream_id > self._last_peer_id):
            raise ProtocolFault(f"{what} on idle stream {stream_id}")
        return True

    def _stream_fault(self, stream: StreamState, code: ErrorCode, reason: str) -> None:
        self._annoy("stream errors")
        self.reset(stream.stream_id, code)
        self._events.append(StreamReset(stream.stream_id, code, reason))

    def _late(self, stream_id: int, what: str) -> None:
        """A DATA or HEADERS frame for a stream that is not open any more."""
        self._missing(stream_id, what)
        if stream_id not in self._reset_by_us:
            raise f.StreamClosedFault(f"{what} on closed stream {stream_id}")

    def _unpad(self, flags: int, payload: memoryview) -> memoryview:
        if not flags & f.PADDED:
            return payload
        if not payload or payload[0] >= len(payload):
            raise ProtocolFault("padding is longer than the frame")
        return payload[1 : len(payload) - payload[0]]

    def _on_data(self, flags: int, stream_id: int, payload: memoryview) -> None:
        size = len(payload)
        recv = self._recv
        if size > recv.window:
            raise FlowControlFault("the connection's window is exceeded")
        recv.window -= size
        stream = self._streams.get(stream_id)
        if stream is None or stream.remote_done or not stream.head_received or size > stream.recv_window:
            self._refuse_data(stream, stream_id, size)
            return
        ended = flags & f.END_STREAM
        if flags & f.PADDED:
            payload = self._unpad(flags, payload)
        recv.take(stream, size, len(payload))
        if size > len(payload) and not ended:
            recv.credit_stream(stream, size - len(payload))
        if not payload and not ended:
            self._annoy("empty frames")
            return
        self._events.append(DataReceived(stream_id, payload, bool(ended)))
        if ended:
            self._remote_end(stream)

    def _refuse_data(self, stream: StreamState | None, stream_id: int, size: int) -> None:
        """DATA that no one may have: late, or against the rules of its stream."""
        if stream is None:
            self._late(stream_id, "DATA")
            if not size:
                self._annoy("late frames")
        elif stream.remote_done:
            self._stream_fault(stream, ErrorCode.STREAM_CLOSED, "DATA after END_STREAM")
        elif not stream.head_received:
            self._stream_fault(stream, ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS")
        else:
            self._stream_fault(stream, ErrorCode.FLOW_CONTROL_ERROR, "the stream's window is exceeded")
        self._recv.credit_connection()

    def _remote_end(self, stream: StreamState) -> None:
        stream.remote_done = True
        if stream.local_done:
            self._streams.pop(stream.stream_id, None)

    def _on_headers(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if stream_id == 0:
            raise ProtocolFault("HEADERS on stream 0")
        payload = self._unpad(flags, payload)
        if flags & f.PRIORITY_FLAG:
            if len(payload) < 5:
                raise FrameSizeFault("HEADERS are too short for their priority")
            payload = payload[5:]
        if flags & f.END_HEADERS:
            self._header_block(stream_id, flags, bytes(payload))
            return
        self._block = bytearray(payload)
        self._block_head = (stream_id, flags)
        self._block_frames = 0

    def _on_continuation(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if self._block is None:
            raise ProtocolFault("CONTINUATION without HEADERS")
        self._block += payload
        self._block_frames += 1
        limit = self._limits.header_list
        if len(self._block) > limit or self._block_frames > 16 + limit // f.MAX_FRAME:
            raise FloodFault("a header block is too large")
        if flags & f.END_HEADERS:
            block, self._block = bytes(self._block), None
            self._header_block(stream_id, self._block_head[1], block)

    def _header_block(self, stream_id: int, flags: int, block: bytes) -> None:
        headers = self._decoder.decode(block)
        ended = bool(flags & f.END_STREAM)
        stream = self._streams.get(stream_id)
        if stream is None and not self._client and stream_id & 1 and stream_id > self._last_peer_id:
            stream = self._accept_stream(stream_id)
            if stream is None:
                return
        elif stream is None:
            self._late(stream_id, "HEADERS")
            return
        elif stream.remote_done:
            self._stream_fault(stream, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")
            return
        trailer = stream.head_received
        reason = malformed(headers, request=not self._client, trailer=trailer)
        if reason is None and trailer and not ended:
            reason = "a HEADERS frame cannot appear in the middle of a stream"
        if reason is not None:
            self._stream_fault(stream, ErrorCode.PROTOCOL_ERROR, reason)
            return
        if self._client and not trailer and not ended and headers[0][1][:1] == b"1":
            return  # an informational response; the real one follows
        stream.head_received = True
        self._events.append(HeadersReceived(stream_id, headers, ended))
        if ended:
            self._remote_end(stream)

    def _accept_stream(self, stream_id: int) -> StreamState | None:
        self._last_peer_id = stream_id
        if self._going_away or len(self._streams) >= self._limits.streams:
            self._annoy("streams")
            self._answer(f.rst_stream_frame(stream_id, ErrorCode.REFUSED_STREAM))
            self._remember(stream_id)
            return None
        stream = StreamState(stream_id, self._peer_initial_window, self._recv.stream_window)
        self._streams[stream_id] = stream
        return stream

    def _on_priority(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if stream_id == 0:
            raise ProtocolFault("PRIORITY on stream 0")
        if len(payload) != 5:
            raise FrameSizeFault("PRIORITY is not of 5 bytes")
        self._annoy("priorities")

    def _on_rst_stream(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if len(payload) != 4:
            raise FrameSizeFault("RST_STREAM is not of 4 bytes")
        stream = self._streams.pop(stream_id, None)
        self._annoy("resets")
        if stream is None:
            self._missing(stream_id, "RST_STREAM")
            return
        code: int = f.UINT32.unpack(payload)[0]
        stream.drop()
        stream.local_done = stream.remote_done = True
        self._events.append(StreamReset(stream_id, code, None, code == ErrorCode.REFUSED_STREAM))

    def _on_settings(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if stream_id:
            raise ProtocolFault("SETTINGS on a stream")
        if flags & f.ACK:
            if payload:
                raise FrameSizeFault("an acknowledgement of SETTINGS with a payload")
            self._annoy("settings")
            greeted, self._greeted = self._greeted, None
            if greeted is not None and self._clock() - greeted >= self._limits.near_seconds:
                self._recv.widen(self._streams.values())
            return
        if len(payload) % 6:
            raise FrameSizeFault("SETTINGS of a wrong size")
        if len(payload) > 6 * _MOST_SETTINGS:
            raise FloodFault("too many settings")
        if self._settled:
            self._annoy("settings")
        for key, value in f.SETTING.iter_unpack(payload):
            self._apply_setting(key, value)
        self._settled = True
        self._answer(f.SETTINGS_ACK)
        self._events.append(SettingsReceived())

    def _apply_setting(self, key: int, value: int) -> None:
        if key == f.INITIAL_WINDOW_SIZE:
            if value > f.MAX_WINDOW:
                raise FlowControlFault("the initial window is too large")
            delta = value - self._peer_initial_window
            self._peer_initial_window = value
            for stream in self._streams.values():
                if stream.send_window + delta > f.MAX_WINDOW:
                    raise FlowControlFault("a stream's window is too large")
                stream.send_window += delta
                self._send.schedule(stream)
        elif key == f.MAX_CONCURRENT_STREAMS:
            self._peer_max_streams = value
        elif key == f.MAX_FRAME_SIZE and not f.MAX_FRAME <= value <= (1 << 24) - 1:
            raise ProtocolFault("the largest frame's size is out of range")
        elif key == f.ENABLE_PUSH and value > (0 if self._client else 1):
            raise ProtocolFault("ENABLE_PUSH is out of range")

    def _on_push_promise(self, flags: int, stream_id: int, payload: memoryview) -> None:
        raise ProtocolFault("PUSH_PROMISE is not allowed")

    def _on_ping(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if stream_id:
            raise ProtocolFault("PING on a stream")
        if len(payload) != 8:
            raise FrameSizeFault("PING is not of 8 bytes")
        if flags & f.ACK:
            self._events.append(PingAnswered(bytes(payload)))
        else:
            self._annoy("pings")
            self._answer(f.ping_frame(bytes(payload), ack=True))

    def _on_goaway(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if stream_id:
            raise ProtocolFault("GOAWAY on a stream")
        if len(payload) < 8:
            raise FrameSizeFault("GOAWAY is too short")
        last, code = f.GOAWAY_HEAD.unpack_from(payload)
        last &= f.MAX_STREAM_ID
        self._annoy("goaways")
        self._peer_going_away = True
        self._events.append(GoAwayReceived(last, code, bytes(payload[8:])))
        if not self._client:
            return
        for number in [number for number in self._streams if number > last]:
            stream = self._streams.pop(number)
            stream.drop()
            stream.local_done = stream.remote_done = True
            self._events.append(StreamReset(number, ErrorCode.NO_ERROR, None, True))

    def _on_window_update(self, flags: int, stream_id: int, payload: memoryview) -> None:
        if len(payload) != 4:
            raise FrameSizeFault("WINDOW_UPDATE is not of 4 bytes")
        increment: int = f.UINT32.unpack(payload)[0] & f.MAX_WINDOW
        if stream_id == 0:
            if not increment:
                raise ProtocolFault("WINDOW_UPDATE of 0")
            if self._send.window + increment > f.MAX_WINDOW:
                raise FlowControlFault("the connection's window is too large")
            self._send.window += increment
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self._missing(stream_id, "WINDOW_UPDATE")
        elif not increment:
            self._stream_fault(stream, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        elif stream.send_window + increment > f.MAX_WINDOW:
            self._stream_fault(stream, ErrorCode.FLOW_CONTROL_ERROR, "the stream's window is too large")
        else:
            stream.send_window += increment
            self._send.schedule(stream)
