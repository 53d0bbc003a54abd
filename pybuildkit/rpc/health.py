"""The health service grpc.health.v1, its messages encoded by hand. Mirrors google.golang.org/grpc/health, v1.82.1.

`HealthCheckRequest{string service = 1}`, `HealthCheckResponse{enum status = 1}`; SERVING is 1, NOT_SERVING 2,
SERVICE_UNKNOWN 3. They are encoded here so that no other package that brings the same messages in a user's process
collides with them in protobuf's pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.rpc._code import Code, RpcError
from pybuildkit.rpc._types import Method

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc._channel import Channel
    from pybuildkit.rpc._server import Server, ServerStream

CHECK = Method.raw("/grpc.health.v1.Health/Check", client_streaming=False, server_streaming=False)
WATCH = Method.raw("/grpc.health.v1.Health/Watch", client_streaming=False, server_streaming=True)
LIST = Method.raw("/grpc.health.v1.Health/List", client_streaming=False, server_streaming=False)

_SERVING = b"\x08\x01"
_SERVICE_UNKNOWN = b"\x08\x03"
_LIST_RESPONSE = b"\x0a\x06\x0a\x00\x12\x02" + _SERVING
_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def _service(request: bytes) -> bytes:
    """The service that a request names; b"" for the server as a whole."""
    if request[:1] == b"\x0a" and len(request) > 2:
        return request[2:]
    return b""


def add_health(server: Server) -> None:
    """Offer the health service: the server as a whole is serving, services by name are not known."""

    async def check_handler(ctx: Context, request: object) -> bytes:
        assert isinstance(request, bytes)
        if _service(request):
            raise RpcError(Code.NOT_FOUND, "unknown service")
        return _SERVING

    async def watch_handler(stream: ServerStream[bytes, object]) -> None:
        request = await stream.recv() or b""
        await stream.send(_SERVICE_UNKNOWN if _service(request) else _SERVING)
        await stream.ctx.done()
        raise RpcError(Code.CANCELLED, "Stream has ended.")

    async def list_handler(ctx: Context, request: object) -> bytes:
        return _LIST_RESPONSE

    server.add_unary(CHECK, check_handler)
    server.add_stream(WATCH, watch_handler)
    server.add_unary(LIST, list_handler)


async def check(channel: Channel, ctx: Context, service: str = "") -> None:
    """Ask whether a service (or the whole server) is serving.

    Raises:
        RpcError: the call's own error, or Unavailable when the answer is another status than SERVING.
    """
    name = service.encode()
    if len(name) > 127:
        raise RpcError(Code.INVALID_ARGUMENT, "the name of the service is too long")
    answer = await channel.unary(ctx, CHECK, b"\x0a" + bytes((len(name),)) + name if name else b"")
    status = answer[1] if len(answer) == 2 and answer[0] == 8 else 0
    if status != 1:
        raise RpcError(Code.UNAVAILABLE, f"service is not serving: {_NAMES.get(status, str(status))}")
