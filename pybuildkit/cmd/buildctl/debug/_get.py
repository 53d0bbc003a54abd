"""The command `debug get`: a blob of the daemon's content store. Mirrors cmd/buildctl/debug/get.go, v0.32.2."""

from __future__ import annotations

from pybuildkit.cmd.buildctl.common import command_channel
from pybuildkit.golang.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.rpc import BlockingChannel


class GetError(BuildkitError):
    """No digest is given, or the daemon has not sent the whole blob."""


def get(c: CommandContext) -> None:
    """Write the blob that the argument names to standard output.

    Raises:
        BuildkitError: no such blob, or it came short.
    """
    from pybuildkit.third_party.opencontainers import digest

    if not c.args:
        raise GetError("blob digest must be specified")
    blob = digest.parse(c.arg(0))
    with command_channel(c) as channel:
        copy_blob(c, channel, blob)


def copy_blob(c: CommandContext, channel: BlockingChannel, blob: str) -> None:
    """Write a blob to standard output, piece by piece."""
    from pybuildkit.rpc import RpcError
    from pybuildkit.third_party.containerd.content import _methods, content_pb2

    try:
        size = channel.unary(_methods.INFO, content_pb2.InfoRequest(digest=blob)).info.size
        written = 0
        request = content_pb2.ReadContentRequest(digest=blob, size=size)
        for response in channel.server_stream(_methods.READ, request) if size else ():
            c.stdout.write(response.data)
            written += len(response.data)
    except RpcError as err:
        raise GetError(f"{err.code.text}: {err.message}") from err
    if written != size:
        raise GetError(f"{blob}: got {written} of {size} bytes: unexpected EOF")
