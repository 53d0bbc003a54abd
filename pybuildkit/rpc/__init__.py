"""gRPC over HTTP/2, on any byte stream: channels, servers, a blocking channel for short calls.

Stands for google.golang.org/grpc, v1.82.1, and follows its texts and answers; the make is our own.

Layers, from the wire up; each knows only those before it:

    _frames, _headers     frames and header blocks as bytes
    _connection           the HTTP/2 connection without I/O: bytes in, events out, buffers to send
    _grpc, _call          gRPC's framing, metadata, status and the course of one call
    _io, _link            byte streams over sockets, pipes and memory; a connection on one of them
    _channel, _server     the asyncio ends; _blocking is the client without asyncio

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.rpc._blocking import BlockingChannel
    from pybuildkit.rpc._channel import Channel, ClientStream
    from pybuildkit.rpc._code import Code, RpcError, StreamEndedError
    from pybuildkit.rpc._io import memory_pipe
    from pybuildkit.rpc._server import Server, ServerStream, incoming_metadata
    from pybuildkit.rpc._types import Buffer, ByteStream, Dialer, Endpoint, Metadata, Method, Payload, RawMethod

__all__ = [
    "BlockingChannel",
    "Buffer",
    "ByteStream",
    "Channel",
    "ClientStream",
    "Code",
    "Dialer",
    "Endpoint",
    "Metadata",
    "Method",
    "Payload",
    "RawMethod",
    "RpcError",
    "Server",
    "ServerStream",
    "StreamEndedError",
    "incoming_metadata",
    "memory_pipe",
]

__getattr__, _ = attach(
    __name__,
    {
        **dict.fromkeys(("Code", "RpcError", "StreamEndedError"), "_code"),
        **dict.fromkeys(
            ("Buffer", "ByteStream", "Dialer", "Endpoint", "Metadata", "Method", "Payload", "RawMethod"), "_types"
        ),
        **dict.fromkeys(("Channel", "ClientStream"), "_channel"),
        **dict.fromkeys(("Server", "ServerStream", "incoming_metadata"), "_server"),
        "BlockingChannel": "_blocking",
        "memory_pipe": "_io",
    },
)
