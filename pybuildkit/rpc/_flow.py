"""The flow of data on a connection: what waits to be sent, in which frames and order it leaves, and how much may come.

Not a port; it stands for controlbuf.go and flowcontrol.go of google.golang.org/grpc, v1.82.1.

Streams that may send take turns (round robin), a quantum each, so that a large message does not hold up a small
one. Payloads leave as slices of the buffers that were given: nothing is joined, and a slice of a `memoryview`
copies nothing.

What the peer may send is bounded by windows that begin small: what they let in is memory where the reader is the
slower end. A peer that is far away needs more under way, and gets the whole windows (`RecvSide.widen`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from pybuildkit.rpc._frames import (
    DATA,
    DEFAULT_WINDOW,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME,
    frame_header,
    header_frames,
    settings_frame,
    window_update_frame,
)
from pybuildkit.rpc._limits import Limits

QUANTUM = 4 * MAX_FRAME

Chunk = bytes | memoryview


class StreamState:
    """One stream, as the connection sees it.

    Attributes:
        send_window: bytes that the peer lets us send; negative after the peer has lowered its initial window.
        pending: bytes that wait to be sent.
        ending: END_STREAM goes with the last of them; `trailer`: this header block follows them, and ends it.
        recv_window: bytes that we let the peer send; `uncredited`: consumed bytes not yet given back.
    """

    __slots__ = (
        "ending",
        "full_header",
        "head_received",
        "local_done",
        "offset",
        "pending",
        "queue",
        "queued",
        "recv_window",
        "remote_done",
        "send_window",
        "stream_id",
        "trailer",
        "uncredited",
    )

    def __init__(self, stream_id: int, send_window: int, recv_window: int) -> None:
        self.stream_id = stream_id
        self.send_window = send_window
        self.recv_window = recv_window
        self.uncredited = 0
        self.queue: deque[Chunk] = deque()
        self.offset = 0
        self.pending = 0
        self.queued = False
        self.ending = False
        self.trailer: bytes | None = None
        self.head_received = False
        self.local_done = False
        self.remote_done = False
        self.full_header = frame_header(MAX_FRAME, DATA, 0, stream_id)

    def drop(self) -> None:
        """Forget what waits to be sent."""
        self.queue.clear()
        self.pending = self.offset = 0
        self.trailer = None
        self.ending = False

    def emit(self, out: list[Chunk], budget: int) -> int:
        """Append frames with at most `budget` bytes of payload to `out`; gives the payload's bytes.

        An empty END_STREAM frame is sent where nothing else is left to carry the flag.
        """
        emitted = 0
        while self.pending and budget:
            size = min(MAX_FRAME, budget, self.pending)
            last = self.ending and size == self.pending
            if size == MAX_FRAME and not last:
                out.append(self.full_header)
            else:
                out.append(frame_header(size, DATA, END_STREAM if last else 0, self.stream_id))
            self._slice(out, size)
            self.pending -= size
            budget -= size
            emitted += size
            if last:
                self.local_done = True
        if not self.pending and not self.local_done:
            if self.trailer is not None:
                out.append(self.trailer)
                self.trailer = None
                self.local_done = True
            elif self.ending:
                out.append(frame_header(0, DATA, END_STREAM, self.stream_id))
                self.local_done = True
        return emitted

    def _slice(self, out: list[Chunk], size: int) -> None:
        queue = self.queue
        while size:
            head = queue[0]
            offset = self.offset
            left = len(head) - offset
            if left > size:
                out.append(head[offset : offset + size])
                self.offset = offset + size
                return
            out.append(head[offset:] if offset else head)
            queue.popleft()
            self.offset = 0
            size -= left


class SendSide:
    """All streams' waiting bytes, the connection's window, and frames without flow control in front of them."""

    def __init__(self) -> None:
        self.window = DEFAULT_WINDOW
        self.control: list[Chunk] = []
        self._turns: deque[StreamState] = deque()

    def has_output(self) -> bool:
        """Whether `take` would give anything."""
        return bool(self.control) or any(self._can_emit(stream) for stream in self._turns)

    def _can_emit(self, stream: StreamState) -> bool:
        if not stream.pending:
            return stream.trailer is not None or stream.ending
        return self.window > 0 and stream.send_window > 0

    def enqueue(self, stream: StreamState, buffers: list[Chunk], size: int) -> None:
        """Add buffers (`size` bytes in all) to what waits on a stream."""
        stream.queue.extend(buffers)
        stream.pending += size
        self.schedule(stream)

    def schedule(self, stream: StreamState) -> None:
        """Give the stream a turn when it has something that it may send."""
        if not stream.queued and (stream.pending or stream.ending or stream.trailer is not None):
            stream.queued = True
            self._turns.append(stream)

    def end_with(self, stream: StreamState, headers_block: bytes) -> None:
        """Let a trailing header block follow what waits on the stream."""
        stream.trailer = header_frames(stream.stream_id, headers_block, True)
        self.schedule(stream)

    def take(self, limit: int, finished: list[StreamState]) -> list[Chunk]:
        """The next buffers to write: control frames, then some `limit` bytes of payload, streams in turn.

        Streams that have now said all they had to say are added to `finished`.
        """
        out, self.control = self.control, []
        turns = self._turns
        parked: list[StreamState] = []
        while turns and limit > 0:
            stream = turns.popleft()
            budget = min(limit, self.window, stream.send_window)
            if turns and budget > QUANTUM:
                budget = QUANTUM
            emitted = stream.emit(out, max(budget, 0))
            if emitted:
                self.window -= emitted
                stream.send_window -= emitted
                limit -= emitted
            if stream.local_done:
                stream.queued = False
                finished.append(stream)
            elif not stream.pending:
                stream.queued = False
            elif stream.send_window <= 0:
                stream.queued = False  # a WINDOW_UPDATE schedules it again
            elif self.window <= 0 and not emitted:
                parked.append(stream)  # keeps its turn until the connection's window opens
            else:
                turns.append(stream)
        turns.extendleft(reversed(parked))
        return out


class RecvSide:
    """How much the peer may send: the connection's window, and the bytes that nobody has consumed yet.

    Args:
        limits: the bounds.
        send: takes the frames that give window back.

    Attributes:
        window: bytes that the peer may send on all streams together.
        stream_window: what a new stream begins with.
    """

    __slots__ = ("_credit_below", "_limits", "_send", "_unread", "_whole", "stream_window", "window")

    def __init__(self, limits: Limits, send: SendSide) -> None:
        self._limits = limits
        self._send = send
        self._unread = 0
        self.stream_window = min(limits.stream_window, limits.near_window)
        self._whole = self.window = min(limits.connection_window, limits.near_window)
        self._credit_below = self._whole * 3 // 4 + 1

    def greet(self) -> None:
        """Tell a new peer the connection's window; that of streams is in the SETTINGS."""
        extra = self._whole - DEFAULT_WINDOW
        if extra > 0:
            self._send.control.append(window_update_frame(0, extra))

    def widen(self, streams: Iterable[StreamState]) -> None:
        """Open the whole windows, for a peer that is far away."""
        limits, control = self._limits, self._send.control
        more = limits.stream_window - self.stream_window
        if more > 0:
            self.stream_window = limits.stream_window
            for stream in streams:
                stream.recv_window += more
            control.append(settings_frame({INITIAL_WINDOW_SIZE: limits.stream_window}))
        more = limits.connection_window - self._whole
        if more > 0:
            self._whole = limits.connection_window
            self._credit_below = self._whole * 3 // 4 + 1
            self.window += more
            control.append(window_update_frame(0, more))

    def take(self, stream: StreamState, size: int, unread: int) -> None:
        """Count received bytes of a stream, and how many of them somebody has yet to consume."""
        stream.recv_window -= size
        self._unread += unread
        if self.window < self._credit_below:
            self.credit_connection()

    def consumed(self, stream: StreamState | None, size: int) -> bool:
        """Give back window for consumed bytes; whether there is now something to send for it."""
        self._unread -= size
        told = self.window < self._credit_below and self.credit_connection()
        if stream is not None and not stream.remote_done:
            told = self.credit_stream(stream, size) or told
        return told

    def credit_stream(self, stream: StreamState, size: int) -> bool:
        """Give back a stream's window, once enough has come together."""
        stream.uncredited += size
        if stream.uncredited * 4 < self.stream_window:
            return False
        self._send.control.append(window_update_frame(stream.stream_id, stream.uncredited))
        stream.recv_window += stream.uncredited
        stream.uncredited = 0
        return True

    def credit_connection(self) -> bool:
        """Give back the connection's window, as far as unread bytes allow and once it is worth a frame."""
        whole = self._whole
        grant = min(whole, whole + self._limits.unread - self._unread) - self.window
        if grant * 4 < whole:
            return False
        self._send.control.append(window_update_frame(0, grant))
        self.window += grant
        return True
