"""The command `debug logs`: what a build printed, or its trace. Mirrors cmd/buildctl/debug/logs.go, v0.32.2."""

from __future__ import annotations

from pybuildkit.cmd.buildctl import _control
from pybuildkit.cmd.buildctl.common import command_channel
from pybuildkit.golang.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl._app import CommandContext


class LogsError(BuildkitError):
    """No build is named, or it has left nothing to print."""


def logs(c: CommandContext) -> None:
    """Print the log of the build that the argument names, as the display would have shown it."""
    if not c.args:
        raise LogsError("build ref must be specified")
    if c.bool("trace"):
        _print_trace(c, c.arg(0))
        return
    import asyncio

    asyncio.run(_print_logs(c, c.arg(0)))


def _print_trace(c: CommandContext, ref: str) -> None:
    from pybuildkit.api.services.control import _methods, control_pb2
    from pybuildkit.cmd.buildctl.debug._get import copy_blob
    from pybuildkit.third_party.opencontainers import digest

    with command_channel(c) as channel:
        request = control_pb2.BuildHistoryRequest(Ref=ref)
        events = _control.server_stream(channel, _methods.LISTEN_BUILD_HISTORY, request)
        event = next(events, None)
        events.close()
        if event is None:
            raise LogsError(f"ref {ref} not found")
        if not event.record.HasField("trace"):
            raise LogsError(f"ref {ref} does not have trace")
        copy_blob(c, channel, digest.parse(event.record.trace.digest))


async def _print_logs(c: CommandContext, ref: str) -> None:
    from pybuildkit.api.services.control import control_pb2
    from pybuildkit.client._received import STATUS
    from pybuildkit.cmd.buildctl.common import resolve_client
    from pybuildkit.cmd.buildctl.common._signals import app_context
    from pybuildkit.golang import context
    from pybuildkit.util.progress import progresswriter

    with app_context() as ctx:
        client = await resolve_client(ctx, c)
        try:
            stream = await _control.open_stream(ctx, client, STATUS)
            await stream.send(control_pb2.StatusRequest(Ref=ref))
            await stream.close_send()
            writer = progresswriter.new_printer(context.background(), c.stdout, c.string("progress"))
            try:
                while statuses := await stream.recv_many():
                    await writer.status().send_many(statuses)
            finally:
                writer.status().close()
                await writer.wait()
            if (failure := writer.err()) is not None:
                raise failure
        finally:
            await client.close()
