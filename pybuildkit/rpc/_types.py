"""The small types that every part of rpc and its users share: methods, payloads, byte streams, endpoints.

Not a port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import socket
    import ssl

    from google.protobuf.message import Message

    MessageT = TypeVar("MessageT", bound=Message)
    ReplyT = TypeVar("ReplyT", bound=Message)

Req = TypeVar("Req")
Resp = TypeVar("Resp")

Buffer = bytes | bytearray | memoryview
"""Bytes that are only read, a memoryview being one of single bytes. They are kept until they are written: their content
must not change after a send."""

Payload = Buffer | Sequence[Buffer]
"""One encoded message, possibly in pieces (which are written in order, and not joined where they are large)."""

Metadata = Sequence[tuple[str, str | bytes]]
"""Metadata in order; keys in lower case, values of keys that end in "-bin" are bytes, all others text."""

Encoder = Callable[[Req], Payload]
Decoder = Callable[[bytes], Resp]


class Method(Generic[Req, Resp]):
    """One method of a service; make it with `of` or `raw`.

    Attributes:
        path: "/package.Service/Name".
        client_streaming, server_streaming: the shape of the call.
        encode_request, decode_request, encode_response, decode_response: between messages and bytes.
    """

    __slots__ = (
        "client_streaming",
        "decode_request",
        "decode_response",
        "encode_request",
        "encode_response",
        "path",
        "server_streaming",
    )

    def __init__(
        self,
        path: str,
        *,
        client_streaming: bool,
        server_streaming: bool,
        encode_request: Encoder[Req],
        decode_request: Decoder[Req],
        encode_response: Encoder[Resp],
        decode_response: Decoder[Resp],
    ) -> None:
        self.path = path
        self.client_streaming = client_streaming
        self.server_streaming = server_streaming
        self.encode_request = encode_request
        self.decode_request = decode_request
        self.encode_response = encode_response
        self.decode_response = decode_response

    def __repr__(self) -> str:
        return f"Method({self.path!r})"

    @staticmethod
    def of(
        path: str,
        request: type[MessageT],
        response: type[ReplyT],
        client_streaming: bool = False,
        server_streaming: bool = False,
    ) -> Method[MessageT, ReplyT]:
        """A method whose messages are protobuf classes."""
        return Method(
            path,
            client_streaming=client_streaming,
            server_streaming=server_streaming,
            encode_request=request.SerializeToString,
            decode_request=_decoder(request),
            encode_response=response.SerializeToString,
            decode_response=_decoder(response),
        )

    @staticmethod
    def raw(path: str, client_streaming: bool = True, server_streaming: bool = True) -> RawMethod:
        """A method whose messages stay encoded: what is sent is a `Payload`, what is received `bytes`."""
        return RawMethod(
            path,
            client_streaming=client_streaming,
            server_streaming=server_streaming,
            encode_request=as_payload,
            decode_request=_same,
            encode_response=as_payload,
            decode_response=_same,
        )


class RawMethod(Method[object, bytes]):
    """A method of undecoded messages; both sides send payloads (typed `object`) and receive bytes."""

    __slots__ = ()


def _decoder(message: type[MessageT]) -> Decoder[MessageT]:
    """Reads messages of a class; raises RpcError (Internal) for bytes that are none."""
    from google.protobuf.message import DecodeError

    from pybuildkit.rpc._code import Code, RpcError

    parse = message.FromString

    def decode(data: bytes) -> MessageT:
        try:
            return parse(data)
        except DecodeError as err:
            text = "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data"
            raise RpcError(Code.INTERNAL, text) from err

    return decode


def as_payload(message: object) -> Payload:
    """The message of a method without codecs: it is encoded already."""
    return message  # type: ignore[return-value]  # what a RawMethod sends is a Payload


def _same(message: bytes) -> bytes:
    return message


class ByteStream(Protocol):
    """A connection seen as bytes in both directions."""

    async def read(self, n: int) -> bytes:
        """Wait for at least one byte and return at most `n`; b"" at the end. Cancelling loses nothing."""

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        """Write the buffers in order; returns once they are taken, under the back-pressure of everything below."""

    async def close(self) -> None:
        """End both directions; a pending read ends. Closing twice is no error."""


class Endpoint:
    """A connected pipe, as a dialer gives it to a channel, which then owns it.

    Args:
        sock: a connected stream socket, or
        pipes: the descriptors (to read from, to write to).
        tls: wrap the socket with this TLS context (the handshake is the channel's part).
        server_hostname: the name to verify and to send as SNI.
        leftover: bytes of the peer that were already read.
        on_close: called once (in any thread) when the connection is over, for example to end a child process.
        explain: more about why a connection broke, for example what a child wrote to its standard error.
    """

    __slots__ = ("explain", "leftover", "on_close", "pipes", "server_hostname", "sock", "tls")

    def __init__(
        self,
        sock: socket.socket | None = None,
        *,
        pipes: tuple[int, int] | None = None,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        leftover: bytes = b"",
        on_close: Callable[[], None] | None = None,
        explain: Callable[[], str] | None = None,
    ) -> None:
        self.sock = sock
        self.pipes = pipes
        self.tls = tls
        self.server_hostname = server_hostname
        self.leftover = leftover
        self.on_close = on_close
        self.explain = explain

    def close(self) -> None:
        """Close the socket or the pipes and call `on_close`; used only for an endpoint that nobody adopted."""
        import os

        if self.sock is not None:
            self.sock.close()
        for fd in set(self.pipes or ()):
            os.close(fd)
        if self.on_close is not None:
            on_close, self.on_close = self.on_close, None
            on_close()


Dialer = Callable[[float | None], Endpoint]
"""Connects within so many seconds (None: no limit) or raises; blocks, so that it runs in a thread."""
