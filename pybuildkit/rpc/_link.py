"""A connection on a byte stream, for asyncio: one task reads, one writes, calls are told what concerns them.

Not a port; it stands for the reading and writing goroutines of grpc-go's internal/transport.

All output of one turn of the loop leaves in one write: whoever sends only queues, and the writing task takes what is
there when it runs. A sender waits while more than `SEND_LIMIT` bytes of its own stream are queued; the writing task
waits for the byte stream below, which waits for its own queue. So the bytes held in all layers together are bounded,
and a slow reader at the far end stops whoever produces.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.golang.strconv import quote
from pybuildkit.rpc._call import goaway_text
from pybuildkit.rpc._code import Code, RpcError
from pybuildkit.rpc._connection import Connection
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
from pybuildkit.rpc._flow import Chunk
from pybuildkit.rpc._frames import ErrorCode, server_fault_text
from pybuildkit.rpc._headers import Headers
from pybuildkit.rpc._limits import Limits
from pybuildkit.rpc._tls import broken_text
from pybuildkit.rpc._types import Buffer, ByteStream

READ_SIZE = 256 * 1024
FLUSH_SIZE = 768 * 1024
SEND_LIMIT = 512 * 1024
_GOODBYE_SECONDS = 1.0
_EXPLAIN_SECONDS = 2.0


class CallEnd(Protocol):
    """What a link tells a call."""

    def on_headers(self, event: HeadersReceived) -> None: ...
    def on_data(self, event: DataReceived) -> None: ...
    def on_reset(self, event: StreamReset) -> None: ...
    def on_lost(self, error: RpcError) -> None: ...


class Link:
    """One connection; `run` it until it ends.

    Args:
        stream: the bytes; closed when `run` returns.
        client: the role.
        on_request: a server's, called with the headers of each new call.
        limits: what the peer may do.
        explain: more about a broken connection, in place of "EOF"; may block.

    Attributes:
        calls: whom to tell about a stream.
        last_activity: when bytes last arrived, in seconds of the loop's clock.
        error: why the connection is over, for calls that were under way; None while it is not.
        failure: what went wrong, None after an orderly end.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        client: bool,
        on_request: Callable[[HeadersReceived], None] | None = None,
        limits: Limits | None = None,
        explain: Callable[[], str] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._client = client
        self._on_request = on_request
        self._explain = explain
        self._conn = Connection(client=client, limits=limits)
        self.calls: dict[int, CallEnd] = {}
        self.last_activity = self._loop.time()
        self.error: RpcError | None = None
        self.failure: BaseException | None = None
        self.preface_error = ""
        self._goaway = ""
        self._closing = False
        self._idle: asyncio.Future[None] | None = None
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._waiters: dict[int, list[asyncio.Future[None]]] = {}
        self._openers: list[asyncio.Future[None]] = []
        self._settling: list[asyncio.Future[None]] = []
        self._pings: dict[bytes, asyncio.Future[None]] = {}
        self._ping_count = 0

    # For calls.

    @property
    def usable(self) -> bool:
        """Whether new calls may be opened on this link, now or when others have ended."""
        return self.error is None and not self._closing and not self._conn.draining

    @property
    def settled(self) -> bool:
        """Whether the peer's first SETTINGS have come."""
        return self._conn.settled

    def open(self, headers: Headers, call: CallEnd) -> int:
        """Open a stream for a call; only where `can_open`."""
        stream_id = self._conn.open_stream(headers)
        self.calls[stream_id] = call
        self.wake()
        return stream_id

    def can_open(self) -> bool:
        """Whether a stream may be opened now."""
        return self.usable and self._conn.can_open()

    async def wait_open(self) -> None:
        """Wait until something changed that may let a stream be opened."""
        await self._wait_in(self._openers)

    async def wait_settled(self) -> None:
        """Wait for the peer's first SETTINGS, or for the end of the connection."""
        while not self._conn.settled and self.error is None:
            await self._wait_in(self._settling)

    async def _wait_in(self, waiters: list[asyncio.Future[None]]) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in waiters:
                waiters.remove(waiter)

    def send_headers(self, stream_id: int, headers: Headers, *, end_stream: bool = False) -> None:
        """Queue a response's headers or trailers."""
        self._conn.send_headers(stream_id, headers, end_stream=end_stream)
        self.wake()

    def send_data(self, stream_id: int, chunks: list[Chunk], size: int, *, end_stream: bool = False) -> bool:
        """Queue data; whether the sender should wait (`drained`) before it sends more."""
        self._conn.send_data(stream_id, chunks, size, end_stream=end_stream)
        self.wake()
        return self._conn.pending(stream_id) > SEND_LIMIT

    async def drained(self, stream_id: int) -> None:
        """Wait until less than `SEND_LIMIT` bytes of the stream are queued, or it is over."""
        while self._conn.pending(stream_id) > SEND_LIMIT and self.error is None:
            await self._wait_in(self._waiters.setdefault(stream_id, []))

    def consumed(self, stream_id: int, size: int) -> None:
        """Give back window for bytes that a call has taken."""
        if size and self._conn.consumed(stream_id, size):
            self.wake()

    def reset(self, stream_id: int, code: int = ErrorCode.CANCEL) -> None:
        """End a stream at once in both directions."""
        self._conn.reset(stream_id, code)
        self.forget(stream_id)
        self.wake()

    def forget(self, stream_id: int) -> None:
        """Tell the call nothing any more; those who wait to send or to open a stream look again."""
        self.calls.pop(stream_id, None)
        _release(self._waiters.pop(stream_id, []))
        _release(self._openers)
        if self._conn.draining and not self.calls:
            self.wake()

    async def ping(self) -> None:
        """Send a PING and wait for its answer.

        Raises:
            RpcError: when the connection ends first.
        """
        self._ping_count += 1
        payload = self._ping_count.to_bytes(8, "big")
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._pings[payload] = waiter
        try:
            if self.error is None:
                self._conn.ping(payload)
                self.wake()
                await waiter
            if self.error is not None:
                raise self.error
        finally:
            self._pings.pop(payload, None)

    def wake(self) -> None:
        """Let the writing task look for output."""
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    # The two tasks.

    def stop(self) -> None:
        """End the connection: GOAWAY is sent where the peer still reads, then `run` returns."""
        if not self._stopped.done():
            self._stopped.set_result(None)

    async def run(self) -> None:
        """Read and write until the connection ends or `stop` is called; closes the stream.

        Cancelling it is the same as `stop`, without a GOAWAY.
        """
        reader = asyncio.ensure_future(self._read())
        writer = asyncio.ensure_future(self._write())
        try:
            await asyncio.wait({reader, writer, self._stopped}, return_when=asyncio.FIRST_COMPLETED)
            self._closing = True
            if self._stopped.done() or self.failure is not None:
                self._conn.go_away()
                self.wake()
                await asyncio.wait({writer}, timeout=_GOODBYE_SECONDS)
        finally:
            self._lose("transport is closing", None)
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            with contextlib.suppress(OSError, BuildkitError):
                await self._stream.close()
        for task in (reader, writer):
            if not task.cancelled():
                task.result()

    async def _read(self) -> None:
        while True:
            try:
                data = await self._stream.read(READ_SIZE)
            except OSError as err:
                await self._broken(self._os_text(err, "read"), err)
                return
            except BuildkitError as err:
                await self._broken(error_text(err), err)
                return
            if not data:
                await self._broken(self._conn.end_text, None)
                return
            self.last_activity = self._loop.time()
            for event in self._conn.receive(data):
                self._dispatch(event)
                if type(event) is ConnectionFailed:
                    return
            if self._goaway and self._client and not self.calls:
                self._lose_goaway()
                return
            self.wake()

    async def _write(self) -> None:
        while True:
            chunks = self._conn.take(FLUSH_SIZE)
            if not chunks:
                if self._closing:
                    return
                self._idle = self._loop.create_future()
                await self._idle
                continue
            self._release_senders()
            buffers: list[Buffer] = list(chunks)
            try:
                await self._stream.write_buffers(buffers)
            except (OSError, BuildkitError) as err:
                await self._write_failed(err)
                return

    async def _write_failed(self, err: BaseException) -> None:
        """A peer that is gone is noticed by the reader too, which knows more: it is given a moment."""
        if self._closing:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wait_lost(), 0.2)
        text = self._os_text(err, "write") if isinstance(err, OSError) else error_text(err)
        self._lose(f"error writing to server: {text}" if self._client else text, err)

    async def _wait_lost(self) -> None:
        while self.error is None:
            await self._wait_in(self._openers)

    def _release_senders(self) -> None:
        if not self._waiters:
            return
        for stream_id in list(self._waiters):
            if self._conn.pending(stream_id) <= SEND_LIMIT:
                _release(self._waiters.pop(stream_id))

    # Events.

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            call = self.calls.get(event.stream_id)
            if call is not None:
                call.on_data(event)
            else:
                self.consumed(event.stream_id, event.size)
        elif isinstance(event, HeadersReceived):
            call = self.calls.get(event.stream_id)
            if call is not None:
                call.on_headers(event)
            elif self._on_request is not None:
                self._on_request(event)
        elif isinstance(event, StreamReset):
            call = self.calls.get(event.stream_id)
            if call is not None:
                call.on_reset(event)
            self.forget(event.stream_id)
        elif isinstance(event, SettingsReceived):
            _release(self._settling)
            _release(self._openers)
        elif isinstance(event, PingAnswered):
            waiter = self._pings.pop(event.payload, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        elif isinstance(event, GoAwayReceived):
            self._goaway = goaway_text(event)
            _release(self._openers)
        else:
            self._fault(event)

    def _fault(self, event: ConnectionFailed) -> None:
        self._lose(server_fault_text(event.fault, self._conn.settled), event.fault)

    def _os_text(self, err: OSError, op: str) -> str:
        describe = getattr(self._stream, "error_text", None)
        return str(describe(err, op)) if describe is not None else broken_text(err) or error_text(err)

    async def _broken(self, text: str, failure: BaseException | None) -> None:
        """The stream gave an error or its end."""
        if self._explain is not None:
            from pybuildkit.golang import context, threads

            with contextlib.suppress(TimeoutError):
                asking = threads.call(context.background(), self._explain)
                text = await asyncio.wait_for(asking, _EXPLAIN_SECONDS) or text
        where = "error reading from server" if self._conn.settled else "error reading server preface"
        self._lose(f"{where}: {text}", failure)

    def _lose_goaway(self) -> None:
        self._lose("received goaway and there are no active streams", None)

    def _lose(self, description: str, failure: BaseException | None) -> None:
        """The connection is over; tell everyone, once."""
        if self.error is not None:
            return
        message = description
        if self._goaway:
            reason = f"connection error: desc = {quote(description)}"
            message = f"closing transport due to: {reason}, received prior goaway: {self._goaway}"
        self.error = RpcError(Code.UNAVAILABLE, message)
        self.preface_error = f"connection error: desc = {quote(description)}"
        self.failure = failure
        for call in list(self.calls.values()):
            call.on_lost(self.error)
        self.calls.clear()
        for waiters in (self._openers, self._settling, self._pings.values(), *self._waiters.values()):
            _release(list(waiters))
        self._waiters.clear()


def _release(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
