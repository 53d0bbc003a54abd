"""The asyncio server: serves its methods on any byte stream, a socket, or a listening socket.

Mirrors Server of google.golang.org/grpc, v1.82.1, as far as BuildKit uses it; texts of errors are grpc-go's.

Each call is a task that its connection awaits. When a call's context ends (reset, deadline, lost connection) its
handler sees that through the context and its stream; one that has not ended a second later is cancelled.

Differs on purpose: a peer that breaks HTTP/2's rules makes `serve` raise, where Go only logs it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from pybuildkit.golang import context
from pybuildkit.golang.context import CanceledError, Context, DeadlineExceededError
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.rpc._call import Request, unknown_method
from pybuildkit.rpc._code import Code, RpcError, StreamEndedError
from pybuildkit.rpc._events import DataReceived, HeadersReceived, StreamReset
from pybuildkit.rpc._grpc import CONTENT_TYPE, Deframer, encode_metadata, encode_status
from pybuildkit.rpc._io import accept_tls, socket_stream
from pybuildkit.rpc._limits import Limits
from pybuildkit.rpc._link import Link
from pybuildkit.rpc._stream import MessageStream
from pybuildkit.rpc._types import ByteStream, Metadata, Method, RawMethod, Req, Resp

if TYPE_CHECKING:
    import ssl

Req_co = TypeVar("Req_co", covariant=True)
Resp_contra = TypeVar("Resp_contra", contravariant=True)

_GRACE_SECONDS = 1.0
_ACCEPT_PAUSE = 0.1
_METADATA = object()

ToStatus = Callable[[BaseException], RpcError]


def incoming_metadata(ctx: Context) -> Metadata:
    """The metadata of the request that a handler's context belongs to; () for any other context."""
    metadata: Metadata | None = ctx.value(_METADATA)
    return metadata if metadata is not None else ()


def default_status(err: BaseException) -> RpcError:
    """The status for what a handler raised: its own, the context's, else Unknown with the error's text."""
    if isinstance(err, RpcError):
        return err
    if isinstance(err, CanceledError):
        return RpcError(Code.CANCELLED, str(err))
    if isinstance(err, DeadlineExceededError):
        return RpcError(Code.DEADLINE_EXCEEDED, str(err))
    return RpcError(Code.UNKNOWN, error_text(err))


class ServerStream(MessageStream[Req_co, Resp_contra], Generic[Req_co, Resp_contra]):
    """One call, from the server's side; a handler gets it.

    Attributes:
        ctx: ends with the call: reset by the client, past the deadline, connection lost, or answered.
        metadata: the request's.
        path: the method's path.
    """

    def __init__(
        self, link: Link, stream_id: int, method: Method[Any, Any], request: Request, ctx: Context, max_size: int
    ) -> None:
        deframer = Deframer(max_size)
        super().__init__(link, deframer, method.encode_response, method.decode_request)
        self._stream_id = stream_id
        self._remote_done = False
        self._error: RpcError | None = None
        self._over = False
        self._head_sent = False
        self._trailer: list[tuple[str, str | bytes]] = []
        self.path = request.path
        self.metadata: Metadata = request.metadata
        ctx = context.with_value(ctx, _METADATA, request.metadata)
        self.ctx, self._cancel = context.with_cancel(ctx)
        if request.timeout is not None:
            self.ctx, self._cancel = context.with_timeout(ctx, request.timeout)
        context.after_func(self.ctx, self._context_done)

    async def send_header(self, metadata: Metadata) -> None:
        """Send the response's head with metadata; once, before the first message.

        Raises:
            RpcError: Internal, when it has been sent already.
        """
        if self._head_sent:
            raise RpcError(Code.INTERNAL, "transport: the stream is done or WriteHeader was already called")
        self._raise_if_unsendable()
        self._send_head(metadata)

    def set_trailer(self, metadata: Metadata) -> None:
        """Add metadata that goes with the status."""
        self._trailer += metadata

    def _send_head(self, metadata: Metadata = ()) -> None:
        self._head_sent = True
        self._link.send_headers(self._stream_id, [(b":status", b"200"), CONTENT_TYPE, *encode_metadata(metadata)])

    def _before_send(self) -> None:
        if not self._head_sent:
            self._send_head()

    def _context_done(self) -> None:
        """Whoever waits in a stream's function gets the context's error."""
        if self._error is None and not self._over:
            self._error = default_status(self.ctx.err() or CanceledError())
        self._wake_receiver()

    def _finish(self, error: RpcError | None, http_status: int = 200) -> None:
        """Answer with a status; the first answer counts."""
        if self._over:
            return
        self._over = True
        try:
            trailers = encode_status(error, self._trailer)
        except RpcError as err:
            trailers = encode_status(err)
        if not self._head_sent:
            trailers = [(b":status", str(http_status).encode()), CONTENT_TYPE, *trailers]
        self._deframer.clear()
        self._credit_all()
        self._link.send_headers(self._stream_id, trailers, end_stream=True)
        self._link.forget(self._stream_id)
        self._cancel()

    # What the link tells.

    def on_headers(self, event: HeadersReceived) -> None:
        """Trailers of a request: its end."""
        self._end_of_request()

    def on_data(self, event: DataReceived) -> None:
        """Take bytes of the request."""
        if self._error is not None:
            self._link.consumed(self._stream_id, event.size)
        else:
            try:
                self._feed(event)
            except RpcError as err:
                self._fail(err)
        if event.ended:
            self._end_of_request()

    def _end_of_request(self) -> None:
        self._remote_done = True
        if self._deframer.partial and self._error is None:
            self._fail(RpcError(Code.INTERNAL, "unexpected EOF"))
        self._wake_receiver()

    def _fail(self, error: RpcError) -> None:
        """Messages that were whole stay readable, then the error comes."""
        self._error = error
        self._credit_all()
        self._wake_receiver()

    def on_reset(self, event: StreamReset) -> None:
        """The client has given the call up."""
        self._fail(RpcError(Code.CANCELLED, "context canceled"))
        self._cancel()

    def on_lost(self, error: RpcError) -> None:
        """The connection is over."""
        self._fail(RpcError(Code.CANCELLED, "context canceled"))
        self._cancel()

    # For MessageStream.

    def _raise_if_over(self) -> bool:
        if self._error is not None:
            raise self._error
        return self._remote_done

    def _raise_if_unsendable(self) -> None:
        if self.ctx.is_done() and self._error is not None:
            raise self._error
        if self._over:
            raise StreamEndedError

    async def _single(self) -> Req_co:
        """The only message of a call that is not client-streaming."""
        message = await self.recv()
        if message is None:
            text = "cardinality violation: received no request message from non-client-streaming RPC"
            raise RpcError(Code.INTERNAL, text)
        if self._deframer.messages:
            text = "cardinality violation: received multiple request messages for non-client-streaming RPC"
            raise RpcError(Code.INTERNAL, text)
        return message


_Handler = Callable[[ServerStream[Any, Any]], Awaitable[None]]


class Server:
    """A set of methods that can be served on connections.

    Args:
        to_status: makes a status of what a handler raised.
        max_recv_size: the largest message accepted, in bytes.
        limits: what a client may do to its connection.
    """

    def __init__(
        self,
        *,
        to_status: ToStatus | None = None,
        max_recv_size: int = 16 << 20,
        limits: Limits | None = None,
    ) -> None:
        self._to_status = to_status or default_status
        self._max_recv_size = max_recv_size
        self._limits = limits
        self._methods: dict[str, tuple[Method[Any, Any], _Handler]] = {}
        self._services: set[str] = set()

    def _add(self, method: Method[Any, Any], handler: _Handler) -> None:
        self._methods[method.path] = (method, handler)
        self._services.add(method.path[1:].rpartition("/")[0])

    def add_unary(self, method: Method[Req, Resp], handler: Callable[[Context, Req], Awaitable[Resp]]) -> None:
        """Serve a method with one request and one response; `incoming_metadata(ctx)` has the request's metadata."""

        async def run(stream: ServerStream[Req, Resp]) -> None:
            request = await stream._single()
            response = await handler(stream.ctx, request)
            await stream.send(response)

        self._add(method, run)

    @overload
    def add_stream(
        self, method: RawMethod, handler: Callable[[ServerStream[bytes, object]], Awaitable[None]]
    ) -> None: ...
    @overload
    def add_stream(
        self, method: Method[Req, Resp], handler: Callable[[ServerStream[Req, Resp]], Awaitable[None]]
    ) -> None: ...
    def add_stream(self, method: Method[Any, Any], handler: _Handler) -> None:
        """Serve a method of any shape; the call ends with OK when the handler returns, else with what it raises."""
        self._add(method, handler)

    def methods(self) -> list[str]:
        """The paths of all methods that are served, in the order in which they were added."""
        return list(self._methods)

    async def serve(self, stream: ByteStream, ctx: Context) -> None:
        """Serve one connection until it ends or the context is done; the stream is closed then.

        Raises:
            BuildkitError, OSError: when the peer broke the protocol or the stream failed; not for its plain end.

        Cancelling ends the connection at once. All handlers have ended when this returns.
        """
        await _Serving(self, stream, ctx).run()

    async def serve_socket(self, sock: socket.socket, ctx: Context, *, tls: ssl.SSLContext | None = None) -> None:
        """Serve one connected socket, as `serve`; with `tls` the handshake comes first."""
        await self.serve(socket_stream(sock) if tls is None else await accept_tls(sock, tls), ctx)

    async def listen(self, sock: socket.socket, ctx: Context, *, tls: ssl.SSLContext | None = None) -> None:
        """Serve every connection that a listening socket accepts, until the context is done.

        The socket stays open. A connection that fails ends alone. Cancelling ends all connections.
        """
        sock.setblocking(False)
        serving: set[asyncio.Task[None]] = set()
        try:
            while True:
                try:
                    conn, _ = await context.run(ctx, asyncio.get_running_loop().sock_accept(sock))
                except OSError as err:
                    if err.errno not in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED):
                        raise
                    await context.run(ctx, asyncio.sleep(_ACCEPT_PAUSE))
                    continue
                task = asyncio.ensure_future(self._serve_accepted(conn, ctx, tls))
                serving.add(task)
                task.add_done_callback(serving.discard)
        except BuildkitError:
            if not ctx.is_done():
                raise
            if serving:
                await asyncio.wait(serving)
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def _serve_accepted(self, sock: socket.socket, ctx: Context, tls: ssl.SSLContext | None) -> None:
        try:
            await self.serve_socket(sock, ctx, tls=tls)
        except (BuildkitError, OSError):
            sock.close()  # the peer's fault: its connection is over, the others go on


class _Serving:
    """One connection of a server, and the tasks of its calls."""

    def __init__(self, server: Server, stream: ByteStream, ctx: Context) -> None:
        self._server = server
        self._outer = ctx
        self._ctx, self._cancel = context.with_cancel(ctx)
        self._tasks: set[asyncio.Task[None]] = set()
        self._link = Link(stream, client=False, on_request=self._accept, limits=server._limits)

    async def run(self) -> None:
        stop = context.after_func(self._outer, self._link.stop)
        try:
            await self._link.run()
        finally:
            stop()
            self._cancel()
            await self._end_calls()
        if self._link.failure is not None and not self._outer.is_done():
            raise self._link.failure

    async def _end_calls(self) -> None:
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_GRACE_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, event: HeadersReceived) -> None:
        request = Request(event.headers)
        known = self._server._methods.get(request.path)
        method, handler = known if known is not None else (_UNKNOWN, _no_handler)
        stream: ServerStream[Any, Any] = ServerStream(
            self._link, event.stream_id, method, request, self._ctx, self._server._max_recv_size
        )
        self._link.calls[event.stream_id] = stream
        if event.ended:
            stream._end_of_request()
        error = request.error
        if error is None and known is None:
            error = unknown_method(request.path, self._server._services)
        if error is not None:
            stream._finish(error, request.http_status)
            return
        task = asyncio.ensure_future(self._call(stream, handler))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, stream: ServerStream[Any, Any], handler: _Handler) -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        timers: list[asyncio.TimerHandle] = []
        stop = context.after_func(stream.ctx, lambda: timers.append(loop.call_later(_GRACE_SECONDS, task.cancel)))
        error: RpcError | None = None
        try:
            await handler(stream)
        except asyncio.CancelledError:
            error = stream._error or RpcError(Code.CANCELLED, "context canceled")
        except Exception as err:  # noqa: BLE001 - what a handler raises is the status of its call
            error = self._server._to_status(err)
        finally:
            stop()
            for timer in timers:
                timer.cancel()
            stream._finish(error)


_UNKNOWN = Method.raw("")


async def _no_handler(stream: ServerStream[Any, Any]) -> None:
    raise RpcError(Code.UNIMPLEMENTED, f"unknown method {stream.path}")
