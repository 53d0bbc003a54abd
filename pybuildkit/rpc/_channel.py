"""The asyncio client: calls over a connection that is dialled when it is needed, and again after a loss.

Mirrors ClientConn of google.golang.org/grpc, v1.82.1, as far as BuildKit's client uses it; texts of errors are
grpc-go's.

Differs on purpose: no back-off between attempts to connect (each call that finds no connection tries once), and the
time limit for connecting runs until the peer's SETTINGS have come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from pybuildkit.golang import context, threads
from pybuildkit.golang.context import Context, DeadlineExceededError
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.golang.strconv import quote
from pybuildkit.rpc._call import Response, request_headers, reset_status
from pybuildkit.rpc._code import Code, RpcError, StreamEndedError
from pybuildkit.rpc._events import DataReceived, HeadersReceived, StreamReset
from pybuildkit.rpc._frames import ErrorCode
from pybuildkit.rpc._grpc import frame_messages
from pybuildkit.rpc._io import open_endpoint
from pybuildkit.rpc._link import Link
from pybuildkit.rpc._stream import MessageStream
from pybuildkit.rpc._tls import handshake_text
from pybuildkit.rpc._types import ByteStream, Dialer, Endpoint, Metadata, Method, Req, Resp

Req_contra = TypeVar("Req_contra", contravariant=True)
Resp_co = TypeVar("Resp_co", covariant=True)

_LOST_CONNECTIONS = 3
_RETRY_SECONDS = 0.2


def context_error(ctx: Context) -> RpcError:
    """The status of a call whose context is done."""
    if isinstance(ctx.err(), DeadlineExceededError):
        return RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
    return RpcError(Code.CANCELLED, "context canceled")


class ClientStream(MessageStream[Resp_co, Req_contra], Generic[Req_contra, Resp_co]):
    """One call of any shape, from the client's side; `Channel.stream` makes it.

    The call ends with the server's status, with `cancel`, or with its context. A call that is not read to its end
    must be cancelled, else it stays open.
    """

    def __init__(self, ctx: Context, link: Link, method: Method[Req_contra, Resp_co], max_size: int) -> None:
        self._response = Response(max_size)
        super().__init__(link, self._response.deframer, method.encode_request, method.decode_response)
        self._ctx = ctx
        self._half_closed = False
        self._heads: list[asyncio.Future[None]] = []
        self._stop: Callable[[], bool] | None = None
        self.unprocessed = False

    def _open(self, headers: list[tuple[bytes, bytes]]) -> None:
        self._stream_id = self._link.open(headers, self)
        self._stop = context.after_func(self._ctx, self._context_done)

    async def close_send(self) -> None:
        """Say that no more messages are sent; the response still comes."""
        self._half_close([], 0)

    def _half_close(self, chunks: list[bytes | memoryview], size: int) -> None:
        if not self._half_closed and not self._response.ended:
            self._half_closed = True
            self._link.send_data(self._stream_id, chunks, size, end_stream=True)

    async def header(self) -> Metadata:
        """The response's metadata, waited for; () where the call ended without any.

        Raises:
            RpcError: when the call ended with an error before.
        """
        response = self._response
        while response.header is None:
            head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._heads.append(head)
            await head
        if response.ended and not response.header and response.error is not None:
            raise response.error
        return response.header

    def trailer(self) -> Metadata:
        """The metadata that came with the status; () before the call has ended."""
        return self._response.trailer

    def cancel(self) -> None:
        """End the call now, if it has not ended; whoever waits for it gets Canceled."""
        self._abort(RpcError(Code.CANCELLED, "context canceled"), ErrorCode.CANCEL)

    def _context_done(self) -> None:
        self._abort(context_error(self._ctx), ErrorCode.CANCEL)

    def _abort(self, error: RpcError, code: ErrorCode) -> None:
        if not self._response.ended:
            self._response.finish(error)
            self._link.reset(self._stream_id, code)
            self._deframer.clear()
            self._ended()

    def _ended(self) -> None:
        """The call is over; what the server said before stays readable, and its status comes after that."""
        if self._stop is not None:
            self._stop()
            self._stop = None
        self._credit_all()
        self._link.forget(self._stream_id)
        self._wake_receiver()
        self._wake_head()

    def _wake_head(self) -> None:
        for head in self._heads:
            if not head.done():
                head.set_result(None)
        self._heads.clear()

    # What the link tells.

    def on_headers(self, event: HeadersReceived) -> None:
        """Take the response's head or trailers."""
        try:
            self._response.on_headers(event)
        except RpcError as err:
            self._abort(err, ErrorCode.PROTOCOL_ERROR)
            return
        if not self._response.ended:
            self._wake_head()
            return
        if not self._half_closed:
            self._link.reset(self._stream_id, ErrorCode.NO_ERROR)
        self._ended()

    def on_data(self, event: DataReceived) -> None:
        """Take bytes of the response."""
        try:
            if self._response.takes_messages:
                self._feed(event)
            else:
                self._link.consumed(self._stream_id, event.size)
            self._response.on_data(event)
        except RpcError as err:
            self._abort(err, ErrorCode.CANCEL)

    def on_reset(self, event: StreamReset) -> None:
        """The stream is over."""
        self.unprocessed = event.unprocessed
        error = reset_status(event)
        deadline = context.remaining(self._ctx)
        if error.code == Code.CANCELLED and deadline is not None and deadline <= 0:
            error = RpcError(Code.DEADLINE_EXCEEDED, error.message)
        self.on_lost(error)

    def on_lost(self, error: RpcError) -> None:
        """The connection is over."""
        if not self._response.ended:
            self._response.finish(error)
            self._ended()

    # For MessageStream.

    def _raise_if_over(self) -> bool:
        if self._response.ended and self._response.error is not None:
            raise self._response.error
        return self._response.ended

    def _raise_if_unsendable(self) -> None:
        if self._raise_if_over():
            raise StreamEndedError
        if self._half_closed:
            raise RpcError(Code.INTERNAL, "SendMsg called after CloseSend")

    async def _single(self) -> Resp_co:
        """The only message of a call that is not server-streaming, once its status has come."""
        while not self._response.ended:
            if len(self._deframer.messages) > 1:
                break
            await self._wait_news()
        if self._response.error is not None:
            raise self._response.error
        if len(self._deframer.messages) > 1:
            text = "cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message"
            self._abort(RpcError(Code.INTERNAL, text), ErrorCode.CANCEL)
            raise RpcError(Code.INTERNAL, text)
        if not self._deframer.messages:
            deadline = context.remaining(self._ctx)
            if deadline is not None and deadline <= 0:
                raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            text = "cardinality violation: received no response message from non-server-streaming RPC"
            raise RpcError(Code.INTERNAL, text)
        return self._decode(self._take())


class Channel:
    """Calls to one peer; nothing is dialled before the first call.

    Args:
        dialer: connects; runs in a thread.
        authority: the `:authority` of every call.
        user_agent: the `user-agent` of every call.
        max_recv_size: the largest message accepted, in bytes.
        metadata: sent with every call.
        dial_timeout: seconds until the peer's SETTINGS must have come; None for no limit.
    """

    def __init__(
        self,
        dialer: Dialer,
        *,
        authority: str = "localhost",
        user_agent: str = "pybuildkit",
        max_recv_size: int = 16 << 20,
        metadata: Metadata = (),
        dial_timeout: float | None = 20.0,
    ) -> None:
        self._dialer: Dialer | None = dialer
        self._authority = authority
        self._user_agent = user_agent
        self._max_recv_size = max_recv_size
        self._default_metadata = tuple(metadata)
        self._dial_timeout = dial_timeout
        self._scheme = "http"
        self._link: Link | None = None
        self._running: asyncio.Task[None] | None = None
        self._lock: asyncio.Lock | None = None
        self._attempts = 0
        self._dial_error: RpcError | None = None
        self._closed = False
        self._draining: list[tuple[Link, asyncio.Task[None]]] = []

    @classmethod
    def over(
        cls,
        stream: ByteStream,
        *,
        authority: str = "localhost",
        user_agent: str = "pybuildkit",
        max_recv_size: int = 16 << 20,
        metadata: Metadata = (),
        dial_timeout: float | None = 20.0,
    ) -> Channel:
        """A channel on a byte stream that is there already, which it owns; needs a running loop.

        When the stream ends the channel stays without a connection.
        """
        channel = cls(
            _no_dialer,
            authority=authority,
            user_agent=user_agent,
            max_recv_size=max_recv_size,
            metadata=metadata,
            dial_timeout=dial_timeout,
        )
        channel._dialer = None
        channel._start(stream, None)
        return channel

    # Connecting.

    def _start(self, stream: ByteStream, endpoint: Endpoint | None) -> Link:
        link = Link(stream, client=True, explain=endpoint.explain if endpoint is not None else None)
        self._link = link
        self._running = asyncio.ensure_future(link.run())
        return link

    async def _ready(self, ctx: Context, wait: bool) -> Link:
        """A settled connection; with `wait`, tried again until the context is done."""
        while True:
            if self._closed:
                raise RpcError(Code.CANCELLED, "grpc: the client connection is closing")
            link = self._link
            if link is not None and link.usable and link.settled:
                return link
            try:
                return await context.run(ctx, self._connect())
            except RpcError as err:
                if not wait or self._dialer is None:
                    raise
                last = err
            except BuildkitError:
                if not ctx.is_done():
                    raise
                raise _waiting_error(ctx) from None
            try:
                await context.run(ctx, asyncio.sleep(_RETRY_SECONDS))
            except BuildkitError:
                raise RpcError(context_error(ctx).code, f"latest balancer error: {last.message}") from None

    async def _connect(self) -> Link:
        """Connect, or share the outcome of an attempt that is under way."""
        attempt = self._attempts
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            link = self._link
            if link is not None and link.usable and link.settled:
                return link
            if self._attempts != attempt and self._dial_error is not None:
                raise self._dial_error
            self._attempts += 1
            try:
                return await self._connect_once()
            except RpcError as err:
                self._dial_error = err
                raise

    async def _connect_once(self) -> Link:
        link = self._link
        try:
            async with asyncio.timeout(self._dial_timeout):
                if self._dialer is not None:
                    await self._retire()
                    link = await self._dial()
                assert link is not None
                await link.wait_settled()
        except TimeoutError:
            if link is None or link is not self._link or self._dialer is None:
                raise _dial_error("transport: Error while dialing: context deadline exceeded") from None
            await self._retire()
            raise _dial_error("error reading server preface: context deadline exceeded") from None
        except asyncio.CancelledError:
            if self._dialer is not None:
                await self._retire()
            raise
        if link.error is not None:
            raise RpcError(Code.UNAVAILABLE, link.preface_error)
        if not link.usable:
            raise RpcError(Code.UNAVAILABLE, "the connection is draining")
        return link

    async def _dial(self) -> Link:
        dialer = self._dialer
        assert dialer is not None
        abandoned = False

        def connect() -> Endpoint:
            endpoint = dialer(self._dial_timeout)
            if abandoned:
                endpoint.close()
            return endpoint

        def abandon() -> None:
            nonlocal abandoned
            abandoned = True

        try:
            endpoint = await threads.call(context.background(), connect, interrupt=abandon)
        except RpcError:
            raise
        except (OSError, BuildkitError, ValueError) as err:
            raise _dial_error(f"transport: Error while dialing: {error_text(err)}") from err
        self._scheme = "https" if endpoint.tls is not None else "http"
        try:
            stream = await open_endpoint(endpoint)
        except OSError as err:
            raise _dial_error(f"transport: authentication handshake failed: {handshake_text(err)}") from err
        if self._closed:
            await stream.close()
            raise RpcError(Code.CANCELLED, "grpc: the client connection is closing")
        return self._start(stream, endpoint)

    async def _retire(self) -> None:
        """End the connection there was, and wait for its task; calls on a draining one may still finish."""
        running, link = self._running, self._link
        self._running = self._link = None
        if running is None or link is None:
            return
        self._draining = [(old, task) for old, task in self._draining if not task.done()]
        if link.calls and link.error is None:
            self._draining.append((link, running))
            return
        link.stop()
        await running

    # Calls.

    async def _open(
        self, ctx: Context, method: Method[Req, Resp], metadata: Metadata, wait: bool
    ) -> ClientStream[Req, Resp]:
        if ctx.is_done():
            raise context_error(ctx)
        lost = 0
        while True:
            link = await self._ready(ctx, wait)
            headers = request_headers(
                method.path,
                scheme=self._scheme,
                authority=self._authority,
                user_agent=self._user_agent,
                timeout=context.remaining(ctx),
                metadata=(*self._default_metadata, *metadata),
            )
            if link.can_open():
                stream: ClientStream[Req, Resp] = ClientStream(ctx, link, method, self._max_recv_size)
                stream._open(headers)
                return stream
            if link.usable:
                try:
                    await context.run(ctx, link.wait_open())
                except BuildkitError:
                    raise context_error(ctx) from None
            elif link.error is not None:
                # The connection was lost between its first frames and the call, of which it knew nothing yet.
                lost += 1
                if not wait and lost > _LOST_CONNECTIONS:
                    raise link.error

    async def unary(
        self,
        ctx: Context,
        method: Method[Req, Resp],
        request: Req,
        *,
        metadata: Metadata = (),
        wait_for_ready: bool = False,
    ) -> Resp:
        """Call a method with one request and one response.

        Args:
            ctx: ends the call; its deadline is sent along.
            method: what to call.
            request: the message.
            metadata: sent along, after the channel's own.
            wait_for_ready: try to connect again and again until the context is done.

        Raises:
            RpcError: the status, or Unavailable where the peer cannot be reached. Cancelling resets the call.
        """
        chunks, size = frame_messages((method.encode_request(request),))
        retried = False
        while True:
            stream = await self._open(ctx, method, metadata, wait_for_ready)
            stream._half_close(chunks, size)
            try:
                return await stream._single()
            except RpcError:
                if not stream.unprocessed or retried or self._dialer is None:
                    raise
                retried = True
            finally:
                stream.cancel()

    async def stream(
        self, ctx: Context, method: Method[Req, Resp], *, metadata: Metadata = (), wait_for_ready: bool = False
    ) -> ClientStream[Req, Resp]:
        """Open a call of any shape; arguments and errors as `unary`. The call lives until its end or its context's."""
        return await self._open(ctx, method, metadata, wait_for_ready)

    async def ping(self, ctx: Context) -> None:
        """Send an HTTP/2 PING and wait for the answer.

        Raises:
            RpcError: DeadlineExceeded or Canceled by the context, or Unavailable.
        """
        link = await self._ready(ctx, False)
        try:
            await context.run(ctx, link.ping())
        except RpcError:
            raise
        except BuildkitError:
            raise context_error(ctx) from None

    @property
    def last_activity(self) -> float:
        """When bytes of the peer last arrived, in seconds of the loop's clock; 0 before the first connection."""
        return self._link.last_activity if self._link is not None else 0.0

    @property
    def connected(self) -> bool:
        """Whether there is a connection whose peer has sent its SETTINGS."""
        return self._link is not None and self._link.usable and self._link.settled

    @property
    def closed(self) -> bool:
        """Whether `close` was called or the connection there was is gone."""
        return self._closed or (self._link is not None and self._link.error is not None)

    async def wait_closed(self) -> None:
        """Return when the present connection is gone (at once where there is none); cancelling changes nothing."""
        if self._running is not None:
            await asyncio.wait({self._running})

    async def close(self) -> None:
        """End all calls and the connection; at most a second is spent on the goodbye."""
        self._closed = True
        running, link = self._running, self._link
        ending, self._draining = self._draining, []
        if running is not None and link is not None:
            ending.append((link, running))
        for link, _ in ending:
            link.stop()
        if ending:
            await asyncio.wait({task for _, task in ending})
        for _, task in ending:
            if not task.cancelled():
                task.result()


def _no_dialer(timeout: float | None) -> Endpoint:
    raise BuildkitError("the channel has no dialer")


def _dial_error(description: str) -> RpcError:
    return RpcError(Code.UNAVAILABLE, f"connection error: desc = {quote(description)}")


def _waiting_error(ctx: Context) -> RpcError:
    status = context_error(ctx)
    return RpcError(status.code, f"{status.message} while waiting for connections to become ready")
