"""Byte streams over sockets, pipes, TLS and memory, for asyncio.

Has no counterpart in Go, whose runtime does this.

Sockets and pipes are driven by the loop's readiness callbacks: a read is one `recv` when the loop says that there is
something, a write is a gathering `sendmsg`/`writev` tried at once and continued when there is room. So every read
passes through the loop once, and a busy peer cannot starve the rest of the program.

A peer that sends many small pieces in quick succession, each of which would wake everything above, is read a few
milliseconds later, when there is more at a time. Where that brings no more (the peer waits for our answer to each
piece) it is given up for the next few hundred. It is not done where much is under way: when we send it, the small
pieces are what lets us send more (WINDOW_UPDATE), and what the peer measures us by (PING); when we receive it, the
peer cannot go on before we have read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from pybuildkit.golang.errors import error_text
from pybuildkit.rpc._sock import IOV_MAX, advance, socket_label
from pybuildkit.rpc._types import Buffer, ByteStream, Endpoint

if TYPE_CHECKING:
    import ssl

READ_SIZE = 256 * 1024
_SEND_BUFFER = 1 << 20
_MEMORY_LIMIT = 1 << 20

_SMALL = 4096
_QUICK_SECONDS = 0.003
_BURST = 16
_PAUSE_SECONDS = 0.004
_GAIN = 2
_MOST_DOUBT = 256
_BULK = 64 * 1024


class _Device(Protocol):
    """The system calls of one kind of descriptor."""

    def read_fd(self) -> int: ...
    def write_fd(self) -> int: ...
    def recv(self, n: int) -> bytes: ...
    def send(self, buffers: Sequence[Buffer]) -> int: ...
    def label(self) -> str: ...
    def close(self) -> None: ...


class _SocketDevice:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_fd(self) -> int:
        return self.sock.fileno()

    write_fd = read_fd

    def recv(self, n: int) -> bytes:
        return self.sock.recv(n)

    def send(self, buffers: Sequence[Buffer]) -> int:
        return self.sock.sendmsg(buffers)

    def label(self) -> str:
        return socket_label(self.sock)

    def close(self) -> None:
        self.sock.close()


class _PipeDevice:
    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._fds = (read_fd, write_fd)
        for fd in self._fds:
            os.set_blocking(fd, False)

    def read_fd(self) -> int:
        return self._fds[0]

    def write_fd(self) -> int:
        return self._fds[1]

    def recv(self, n: int) -> bytes:
        return os.read(self._fds[0], n)

    def send(self, buffers: Sequence[Buffer]) -> int:
        return os.writev(self._fds[1], buffers)

    def label(self) -> str:
        return "|0"

    def close(self) -> None:
        for fd in set(self._fds):
            os.close(fd)


class PollStream:
    """A ByteStream over a socket or a pair of pipes.

    Args:
        device: the descriptors; owned by the stream from now on.
        leftover: bytes that were read before.
        on_close: called once, after the descriptors are closed.
    """

    def __init__(self, device: _Device, *, leftover: bytes = b"", on_close: Callable[[], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._device = device
        self._label = device.label()
        self._leftover = leftover
        self._on_close = on_close
        self._closed = False
        self._reading = False
        self._reader: asyncio.Future[bytes] | None = None
        self._read_size = 0
        self._writer: asyncio.Future[None] | None = None
        self._unsent: list[Buffer] = []
        self._start = 0
        self._quick = 0
        self._doubt = 8
        self._usual = 0.0
        self._last_read = 0.0
        self._written = 0

    def error_text(self, err: OSError, op: str) -> str:
        """An error of the descriptor as Go's net package prints it; `op` is "read" or "write"."""
        return f"{op} {self._label}: {op}: {error_text(err)}"

    async def read(self, n: int) -> bytes:
        """Up to `n` bytes; b"" at the end.

        Raises:
            OSError: as the descriptor's.
        """
        if self._leftover:
            data, self._leftover = self._leftover[:n], self._leftover[n:]
            return data
        if self._closed:
            return b""
        assert self._reader is None, "two reads at once"
        if self._quick >= _BURST and self._written < _BULK and (gathered := await self._read_later(n)) is not None:
            return gathered
        self._read_size = n
        reader: asyncio.Future[bytes] = self._loop.create_future()
        self._reader = reader
        if not self._reading:
            self._loop.add_reader(self._device.read_fd(), self._readable)
            self._reading = True
        try:
            return await reader
        except asyncio.CancelledError:
            if reader.done() and not reader.cancelled() and reader.exception() is None:
                self._leftover = reader.result()
            raise
        finally:
            self._reader = None

    async def _read_later(self, n: int) -> bytes | None:
        """Let several small pieces arrive, and read them together; None where nothing came."""
        self._pause()
        await asyncio.sleep(_PAUSE_SECONDS)
        if self._closed:
            return b""
        try:
            data = self._device.recv(n)
        except (BlockingIOError, InterruptedError):
            self._quick = 0
            return None
        written, self._written = self._written, 0
        if len(data) >= min(n, _BULK) or written >= _BULK:
            self._quick = 0
        if len(data) >= _GAIN * self._usual:
            self._doubt = 8
        else:
            self._quick = _BURST - self._doubt
            self._doubt = min(2 * self._doubt, _MOST_DOUBT)
        return data

    def _note_size(self, size: int) -> None:
        """Count the small pieces that came in quick succession, with little sent between them."""
        now = self._loop.time()
        written, self._written = self._written, 0
        if size < _SMALL and written < _BULK and now - self._last_read < _QUICK_SECONDS:
            self._quick += 1
            self._usual += (size - self._usual) / 8
        else:
            self._quick = min(self._quick, 0)
        self._last_read = now

    def _readable(self) -> None:
        reader = self._reader
        if reader is None or reader.done():
            self._pause()
            return
        try:
            data = self._device.recv(self._read_size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as err:
            self._pause()
            reader.set_exception(err)
            return
        if not data:
            self._pause()
        self._note_size(len(data))
        reader.set_result(data)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._device.read_fd())

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        """Write the buffers; returns when the kernel has taken them.

        Raises:
            OSError: as the descriptor's. Cancelling leaves the write unfinished: the stream is then of no use.
        """
        if self._closed:
            raise BrokenPipeError("the stream is closed")
        self._unsent = buffers
        self._start = 0
        if self._push():
            return
        self._writer = writer = self._loop.create_future()
        self._loop.add_writer(self._device.write_fd(), self._writable)
        try:
            await writer
        finally:
            self._writer = None
            self._unsent = []
            if not self._closed:
                self._loop.remove_writer(self._device.write_fd())

    def _push(self) -> bool:
        """Send what the kernel takes now; whether that was all."""
        buffers = self._unsent
        while self._start < len(buffers):
            try:
                sent = self._device.send(buffers[self._start : self._start + IOV_MAX])
            except (BlockingIOError, InterruptedError):
                return False
            self._written += sent
            self._start = advance(buffers, self._start, sent)
        self._unsent = []
        return True

    def _writable(self) -> None:
        writer = self._writer
        if writer is None or writer.done():
            return
        try:
            if self._push():
                writer.set_result(None)
        except OSError as err:
            writer.set_exception(err)

    async def close(self) -> None:
        """Close the descriptors; a pending read gives b"", a pending write fails."""
        if self._closed:
            return
        self._closed = True
        self._pause()
        if self._writer is not None:
            self._loop.remove_writer(self._device.write_fd())
            if not self._writer.done():
                self._writer.set_exception(BrokenPipeError("the stream is closed"))
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(b"")
        self._device.close()
        if self._on_close is not None:
            self._on_close()


class TLSStream:
    """A ByteStream over asyncio's TLS transport; made by `open_tls`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_close: Callable[[], None] | None
    ) -> None:
        writer.transport.set_write_buffer_limits(high=READ_SIZE)
        self._reader = reader
        self._writer = writer
        self._on_close = on_close

    async def read(self, n: int) -> bytes:
        """Up to `n` bytes; b"" at the end."""
        return await self._reader.read(n)

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        """Encrypt and write the buffers; returns when the transport's queue is short again."""
        if self._writer.transport.is_closing() or self._reader.at_eof():
            raise BrokenPipeError("the stream is closed")
        self._writer.writelines(buffers)
        await self._writer.drain()

    async def close(self) -> None:
        """Close the connection without waiting for the peer's closing alert."""
        on_close, self._on_close = self._on_close, None
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        if on_close is not None:
            on_close()


class _MemoryEnd:
    """One end of a memory pipe."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._eof = False
        self._closed = False
        self._changed: set[asyncio.Future[None]] = set()
        self._peer: _MemoryEnd = self

    def _wake(self) -> None:
        for waiter in self._changed:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.add(waiter)
        try:
            await waiter
        finally:
            self._changed.discard(waiter)

    async def read(self, n: int) -> bytes:
        """Up to `n` bytes; b"" once the other end is closed and all is read."""
        while not self._chunks:
            if self._eof or self._closed:
                return b""
            await self._wait()
        head = self._chunks.popleft()
        if len(head) > n:
            self._chunks.appendleft(head[n:])
            head = head[:n]
        self._size -= len(head)
        self._wake()
        return head

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        """Hand the bytes to the other end; waits while it has more than 1 MiB unread."""
        peer = self._peer
        while peer._size > _MEMORY_LIMIT and not (peer._closed or self._closed):
            await peer._wait()
        if peer._closed or self._closed:
            raise BrokenPipeError("the pipe is closed")
        data = b"".join(buffers)
        if data:
            peer._chunks.append(data)
            peer._size += len(data)
            peer._wake()

    async def close(self) -> None:
        """Close this end; the other reads what was written, then b""."""
        self._closed = True
        self._peer._eof = True
        self._wake()
        self._peer._wake()


def memory_pipe() -> tuple[ByteStream, ByteStream]:
    """Two byte streams; what is written to one is read from the other, with 1 MiB of room each way."""
    left, right = _MemoryEnd(), _MemoryEnd()
    left._peer, right._peer = right, left
    return left, right


def socket_stream(sock: socket.socket) -> PollStream:
    """A byte stream over a connected socket, which it owns from now on."""
    return PollStream(_SocketDevice(sock))


async def accept_tls(sock: socket.socket, context: ssl.SSLContext) -> ByteStream:
    """A byte stream over an accepted socket, after the server's part of the TLS handshake.

    Raises:
        OSError: when the handshake fails; the socket is closed then.
    """
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    context.set_alpn_protocols(["h2"])
    reader = asyncio.StreamReader(limit=READ_SIZE)
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=context)
    except BaseException:
        sock.close()
        raise
    return TLSStream(reader, asyncio.StreamWriter(transport, protocol, reader, loop), None)


async def open_endpoint(endpoint: Endpoint) -> ByteStream:
    """A byte stream over what a dialer connected; the TLS handshake is done here.

    Raises:
        OSError: when the handshake fails (`ssl.SSLError` included); the endpoint is closed then.
    """
    if endpoint.pipes is not None:
        return PollStream(_PipeDevice(*endpoint.pipes), leftover=endpoint.leftover, on_close=endpoint.on_close)
    assert endpoint.sock is not None, "an endpoint has a socket or pipes"
    if endpoint.tls is None:
        device = _SocketDevice(endpoint.sock)
        return PollStream(device, leftover=endpoint.leftover, on_close=endpoint.on_close)
    endpoint.sock.setblocking(False)
    endpoint.tls.set_alpn_protocols(["h2"])
    try:
        reader, writer = await asyncio.open_connection(
            sock=endpoint.sock, ssl=endpoint.tls, server_hostname=endpoint.server_hostname or "", limit=READ_SIZE
        )
    except BaseException:
        endpoint.close()
        raise
    return TLSStream(reader, writer, endpoint.on_close)
