"""The client without asyncio, for short calls made one after the other.

Has no counterpart in Go, where every call blocks its goroutine.

Importing asyncio costs more than such a call. This is the same connection and the same course of a call, driven by
blocking reads and writes with time limits. The first request leaves together with the connection's preface. A signal
ends a wait for bytes even where it comes just before it.

Differs on purpose from grpc-go: the time limit for connecting runs until the peer's SETTINGS have come.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.golang.strconv import quote
from pybuildkit.rpc._call import Response, goaway_text, request_headers, reset_status
from pybuildkit.rpc._code import Code, RpcError
from pybuildkit.rpc._connection import Connection
from pybuildkit.rpc._events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    StreamReset,
)
from pybuildkit.rpc._frames import ErrorCode, server_fault_text
from pybuildkit.rpc._grpc import frame_messages
from pybuildkit.rpc._sock import IOV_MAX, advance, socket_label
from pybuildkit.rpc._tls import broken_text, handshake_text
from pybuildkit.rpc._types import Buffer, Dialer, Endpoint, Metadata, Method, Req, Resp

if TYPE_CHECKING:
    import ssl

_READ_SIZE = 256 * 1024
_FLUSH_SIZE = 512 * 1024
_RETRY_SECONDS = 0.2
_FOREVER = float("inf")


class _Wakeup:
    """Readable once a signal has come: the interpreter runs its handler only between two steps of the program, and a
    wait that has begun meanwhile would not end.

    In the main thread alone, and where nobody else wakes up by signals.
    """

    def __init__(self) -> None:
        self.fd = -1
        self._ends: tuple[socket.socket, ...] = ()
        if threading.current_thread() is not threading.main_thread():
            return
        reader, writer = ends = socket.socketpair()
        for end in ends:
            end.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
            reader.close()
            writer.close()
            return
        self.fd = reader.fileno()
        self._ends = ends

    def clear(self) -> None:
        """Forget the signals that have come."""
        self._ends[0].recv(4096)

    def close(self) -> None:
        """Leave signals alone again."""
        if self._ends:
            signal.set_wakeup_fd(-1)
        for end in self._ends:
            end.close()
        self._ends, self.fd = (), -1


class _Wire:
    """An endpoint's bytes, read and written with deadlines (of `time.monotonic`)."""

    def __init__(self, endpoint: Endpoint, deadline: float) -> None:
        self._endpoint = endpoint
        self._sock = endpoint.sock
        self._pipes = endpoint.pipes
        self._tls: ssl.SSLSocket | None = None
        self._leftover = endpoint.leftover
        self.label = socket_label(endpoint.sock) if endpoint.sock is not None else "|0"
        if endpoint.tls is not None and endpoint.sock is not None:
            self._limit(deadline)
            endpoint.tls.set_alpn_protocols(["h2"])
            self._tls = endpoint.tls.wrap_socket(endpoint.sock, server_hostname=endpoint.server_hostname)
            self._sock = self._tls
        self._wakeup = _Wakeup()

    def _limit(self, deadline: float) -> None:
        left = None if deadline == _FOREVER else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        if self._sock is not None:
            self._sock.settimeout(left)

    def _poll(self, fd: int, events: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(fd, events)
        wakeup = self._wakeup
        if wakeup.fd >= 0:
            poll.register(wakeup.fd, select.POLLIN)
        while True:
            ready = poll.poll(None if deadline == _FOREVER else max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                raise TimeoutError
            if any(number == fd for number, _ in ready):
                return
            wakeup.clear()  # the handler has run by now: it does not want to end us

    def recv(self, deadline: float) -> bytes:
        """Some bytes; b"" at the end. Raises TimeoutError at the deadline."""
        if self._leftover:
            data, self._leftover = self._leftover, b""
            return data
        if self._pipes is not None:
            self._poll(self._pipes[0], select.POLLIN, deadline)
            return os.read(self._pipes[0], _READ_SIZE)
        assert self._sock is not None
        if self._tls is None or not self._tls.pending():
            self._poll(self._sock.fileno(), select.POLLIN, deadline)
        self._limit(deadline)
        return self._sock.recv(_READ_SIZE)

    def send(self, buffers: list[Buffer], deadline: float) -> None:
        """Write all buffers."""
        start = 0
        while start < len(buffers):
            start = advance(buffers, start, self._send_some(buffers[start : start + IOV_MAX], deadline))

    def _send_some(self, buffers: list[Buffer], deadline: float) -> int:
        if self._pipes is not None:
            self._poll(self._pipes[1], select.POLLOUT, deadline)
            return os.write(self._pipes[1], memoryview(b"".join(buffers))[: select.PIPE_BUF])
        assert self._sock is not None
        self._limit(deadline)
        if self._tls is not None:
            return self._tls.send(b"".join(buffers))
        return self._sock.sendmsg(buffers)

    def explain(self) -> str:
        """More about a broken connection, "" for nothing."""
        return self._endpoint.explain() if self._endpoint.explain is not None else ""

    def close(self) -> None:
        """Close the endpoint."""
        self._wakeup.close()
        if self._tls is not None:
            self._tls.close()
        self._endpoint.close()
        self._endpoint.pipes = None


class BlockingChannel:
    """Calls to one peer that block; nothing is dialled before the first call. Not thread-safe.

    Args:
        dialer: connects.
        authority: the `:authority` of every call.
        metadata: sent with every call.
        timeout: seconds until the peer's SETTINGS must have come; None for no limit.
        max_recv_size: the largest message accepted, in bytes.
        user_agent: the `user-agent` of every call.
    """

    def __init__(
        self,
        dialer: Dialer,
        *,
        authority: str = "localhost",
        metadata: Metadata = (),
        timeout: float | None = None,
        max_recv_size: int = 16 << 20,
        user_agent: str = "pybuildkit",
    ) -> None:
        self._dialer = dialer
        self._authority = authority
        self._metadata = tuple(metadata)
        self._timeout = timeout
        self._max_recv_size = max_recv_size
        self._user_agent = user_agent
        self._scheme = "http"
        self._wire: _Wire | None = None
        self._conn = Connection(client=True)
        self._settle_by = _FOREVER
        self._calls: dict[int, Response] = {}
        self._goaway = ""
        self._closed = False

    # Connecting.

    def connect(self) -> None:
        """Dial, unless a connection stands; what the peer says is read by the first call. Raises RpcError."""
        self._connect(_FOREVER)

    def _connect(self, deadline: float) -> None:
        if self._closed:
            raise RpcError(Code.CANCELLED, "grpc: the client connection is closing")
        if self._wire is not None and self._conn.can_open():
            return
        self._drop()
        now = time.monotonic()
        limit = min(deadline, _FOREVER if self._timeout is None else now + self._timeout)
        try:
            endpoint = self._dialer(None if limit == _FOREVER else limit - now)
        except RpcError:
            raise
        except TimeoutError as err:
            if limit == deadline:
                raise
            raise _dial_error(f"transport: Error while dialing: {error_text(err)}") from err
        except (OSError, BuildkitError, ValueError) as err:
            raise _dial_error(f"transport: Error while dialing: {error_text(err)}") from err
        self._scheme = "https" if endpoint.tls is not None else "http"
        try:
            self._wire = _Wire(endpoint, limit)
        except TimeoutError:
            endpoint.close()
            raise _dial_error("transport: authentication handshake failed: context deadline exceeded") from None
        except OSError as err:
            endpoint.close()
            raise _dial_error(f"transport: authentication handshake failed: {handshake_text(err)}") from err
        self._conn = Connection(client=True)
        self._goaway = ""
        self._settle_by = limit

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    # One call.

    def _open(
        self, path: str, payload: tuple[list[bytes | memoryview], int], timeout: float | None, metadata: Metadata
    ) -> tuple[int, Response]:
        headers = request_headers(
            path,
            scheme=self._scheme,
            authority=self._authority,
            user_agent=self._user_agent,
            timeout=timeout,
            metadata=(*self._metadata, *metadata),
        )
        chunks, size = payload
        stream_id = self._conn.open_stream(headers)
        self._conn.send_data(stream_id, list(chunks), size, end_stream=True)
        response = Response(self._max_recv_size)
        self._calls[stream_id] = response
        return stream_id, response

    def _step(self, deadline: float) -> None:
        """Write what may be written, then read once and act on it; raises TimeoutError at the deadline."""
        assert self._wire is not None
        if not self._conn.settled:
            deadline = min(deadline, self._settle_by)
        try:
            self._flush(deadline)
            data = self._wire.recv(deadline)
        except TimeoutError:
            if not self._conn.settled and deadline == self._settle_by:
                self._lose("error reading server preface: context deadline exceeded")
                return
            raise
        except OSError as err:
            self._lost_text(broken_text(err) or f"read {self._wire.label}: read: {error_text(err)}")
            return
        if not data:
            self._lost_text(self._conn.end_text)
            return
        for event in self._conn.receive(data):
            self._dispatch(event)

    def _flush(self, deadline: float) -> None:
        assert self._wire is not None
        while chunks := self._conn.take(_FLUSH_SIZE):
            try:
                self._wire.send(list(chunks), deadline)
            except (BrokenPipeError, ConnectionResetError):
                return  # what the peer said before it went is still to be read; reading tells why it went

    def _lost_text(self, text: str) -> None:
        assert self._wire is not None
        where = "error reading from server" if self._conn.settled else "error reading server preface"
        self._lose(f"{where}: {self._wire.explain() or text}")

    def _lose(self, description: str) -> None:
        reason = f"connection error: desc = {quote(description)}"
        if self._goaway:
            message = f"closing transport due to: {reason}, received prior goaway: {self._goaway}"
        else:
            message = description if self._conn.settled else reason
        for response in self._calls.values():
            response.finish(RpcError(Code.UNAVAILABLE, message))
        self._calls.clear()
        self._drop()

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, GoAwayReceived):
            self._goaway = goaway_text(event)
        elif isinstance(event, ConnectionFailed):
            self._lose(server_fault_text(event.fault, self._conn.settled))
        elif isinstance(event, (HeadersReceived, DataReceived, StreamReset)):
            response = self._calls.get(event.stream_id)
            if isinstance(event, DataReceived):
                self._conn.consumed(event.stream_id, event.size)
            if response is not None:
                self._deliver(event, response)

    def _deliver(self, event: HeadersReceived | DataReceived | StreamReset, response: Response) -> None:
        try:
            if isinstance(event, HeadersReceived):
                response.on_headers(event)
            elif isinstance(event, StreamReset):
                response.finish(reset_status(event))
            else:
                if response.takes_messages:
                    response.deframer.feed(event.pieces)
                response.on_data(event)
        except RpcError as err:
            response.finish(err)
            self._conn.reset(event.stream_id, ErrorCode.CANCEL)
        if response.ended:
            self._calls.pop(event.stream_id, None)

    def _messages(
        self, method: Method[Req, Resp], request: Req, timeout: float | None, metadata: Metadata, wait: bool
    ) -> Iterator[bytes]:
        """The call's encoded responses as they come; raises its status at the end."""
        deadline = _FOREVER if timeout is None else time.monotonic() + timeout
        payload = frame_messages((method.encode_request(request),))
        try:
            self._connect_waiting(deadline) if wait else self._connect(deadline)
        except TimeoutError:
            text = "context deadline exceeded while waiting for connections to become ready"
            raise RpcError(Code.DEADLINE_EXCEEDED, text) from None
        left = None if timeout is None else max(0.0, deadline - time.monotonic())
        stream_id, response = self._open(method.path, payload, left, metadata)
        try:
            while True:
                while response.deframer.messages:
                    yield response.deframer.messages.popleft()
                    response.deframer.unpack()
                if response.ended:
                    break
                self._step(deadline)
        except TimeoutError:
            raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
        finally:
            if self._calls.pop(stream_id, None) is not None:
                self._conn.reset(stream_id, ErrorCode.CANCEL)
        if response.error is not None:
            raise response.error

    def _connect_waiting(self, deadline: float) -> None:
        """Connect, again and again until the deadline."""
        while True:
            try:
                self._connect(deadline)
                while not self._conn.settled and self._wire is not None:
                    self._step(deadline)
                if self._wire is not None:
                    return
                problem = "connection error"
            except RpcError as err:
                if self._closed:
                    raise
                problem = err.message
            if time.monotonic() + _RETRY_SECONDS >= deadline:
                raise RpcError(Code.DEADLINE_EXCEEDED, f"latest balancer error: {problem}") from None
            time.sleep(_RETRY_SECONDS)

    # What users call.

    def unary(
        self,
        method: Method[Req, Resp],
        request: Req,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        wait_for_ready: bool = False,
    ) -> Resp:
        """Call a method with one request and one response.

        Args:
            method: what to call.
            request: the message.
            timeout: seconds for the call, connecting included; sent along as its deadline.
            metadata: sent along, after the channel's own.
            wait_for_ready: try to connect again and again until the timeout.

        Raises:
            RpcError: the status, or Unavailable where the peer cannot be reached.
        """
        end = _FOREVER if timeout is None else time.monotonic() + timeout
        answers = list(self._messages(method, request, timeout, metadata, wait_for_ready))
        if not answers:
            if time.monotonic() >= end:
                # The server saw the deadline first, and ended the call without a word about it.
                raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            text = "cardinality violation: received no response message from non-server-streaming RPC"
            raise RpcError(Code.INTERNAL, text)
        if len(answers) > 1:
            text = "cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message"
            raise RpcError(Code.INTERNAL, text)
        return method.decode_response(answers[0])

    def server_stream(
        self, method: Method[Req, Resp], request: Req, *, timeout: float | None = None, metadata: Metadata = ()
    ) -> Iterator[Resp]:
        """Call a method with one request and many responses, which are given as they come; see `unary`.

        Closing the iterator before its end cancels the call.
        """
        for answer in self._messages(method, request, timeout, metadata, False):
            yield method.decode_response(answer)

    def close(self) -> None:
        """Close the connection; calls are no longer possible."""
        self._closed = True
        if self._wire is not None:
            self._conn.go_away()
            try:
                self._flush(time.monotonic() + 0.1)
            except OSError:
                pass  # the goodbye is a courtesy; the peer sees the end anyway
        self._drop()


def _dial_error(description: str) -> RpcError:
    return RpcError(Code.UNAVAILABLE, f"connection error: desc = {quote(description)}")
