"""Calls of the control service by the short commands, with the daemon's errors as their types say.

Has no counterpart in Go, whose short commands use the client of package client.
"""

from __future__ import annotations

from pybuildkit.golang import errors
from pybuildkit.golang.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from google.protobuf.timestamp_pb2 import Timestamp

    from pybuildkit.client._client import Client
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import BlockingChannel, ClientStream
    from pybuildkit.rpc._types import Method, Req, Resp


def unary(channel: BlockingChannel, method: Method[Req, Resp], request: Req, failed: str = "") -> Resp:
    """Make one call.

    Args:
        failed: what stands in front of an error's text, "" for nothing.

    Raises:
        BuildkitError: the daemon's answer where it is not OK, in the layers of `util.grpcerrors`.
    """
    from pybuildkit.rpc import RpcError

    failure: BuildkitError
    try:
        return channel.unary(method, request)
    except RpcError as err:
        from pybuildkit.util import grpcerrors

        failure = grpcerrors.from_grpc(err)
    # Outside the handler: "from" would cut the layers that the error has been given.
    if failed:
        raise errors.wrap(failure, failed) from failure
    raise failure


def server_stream(
    channel: BlockingChannel, method: Method[Req, Resp], request: Req, failed: str = ""
) -> Generator[Resp, None, None]:
    """Call a method that answers with many messages, which are given as they come.

    Args:
        failed: what stands in front of the text when the call cannot even be begun.

    Raises:
        RpcError: what ended the stream. Go's client puts the status of a failed connection into a second one.
    """
    from pybuildkit.rpc import Code, RpcError

    try:
        yield from channel.server_stream(method, request)
    except RpcError as err:
        if err.code != Code.UNAVAILABLE or not err.message.startswith("connection error:"):
            raise
        twice = RpcError(err.code, str(err))
        raise (errors.wrap(twice, failed) if failed else twice) from err


def connect(channel: BlockingChannel) -> None:
    """Connect before anything else is looked at; the error is that of a `server_stream`."""
    from pybuildkit.rpc import RpcError

    try:
        channel.connect()
    except RpcError as err:
        raise RpcError(err.code, str(err)) from err


async def open_stream(ctx: Context, client: Client, method: Method[Req, Resp]) -> ClientStream[Req, Resp]:
    """Open a streaming call on the event loop's client; see `server_stream` for a failed connection's error."""
    from pybuildkit.rpc import RpcError

    try:
        return await client.stream(ctx, method)
    except RpcError as err:
        raise RpcError(err.code, str(err)) from err


def nanoseconds(stamp: Timestamp) -> int:
    """A message's time as nanoseconds since the epoch."""
    return stamp.seconds * 1_000_000_000 + stamp.nanos
