"""Containers that a frontend runs at the daemon.

Mirrors the container half of frontend/gateway/grpcclient/client.go, v0.32.2.

Protocol: all processes of a client share one ExecProcess stream. Init starts a process (answered by Started);
File messages carry its standard streams by descriptor number, either way, with an EOF mark; Resize and Signal go
to it; Exit brings its code, is answered by the end of the input if that is still open, and Done ends it. Every
message names its process.

Differs on purpose:
- The copying of standard input ends with the process, so nothing is left reading it.
- A process of a released container is refused here: the daemon would end the stream of all other processes for it.
- A stream that has failed is opened anew with the next container; a process whose end was not told has failed.
"""

from __future__ import annotations

import asyncio
import signal as signals
from typing import TYPE_CHECKING

from pybuildkit import identity
from pybuildkit.frontend.gateway.grpcclient._reference import GrpcReference, file_range
from pybuildkit.frontend.gateway.pb import UNKNOWN_EXIT_STATUS, ExitError
from pybuildkit.frontend.gateway.pb import _caps as caps
from pybuildkit.frontend.gateway.pb import _methods as methods
from pybuildkit.frontend.gateway.pb import gateway_pb2 as pb
from pybuildkit.golang import context
from pybuildkit.golang.chan import Chan, done, select
from pybuildkit.golang.errors import BuildkitError, error_text, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.rpc import Code, RpcError
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.util import bklog, grpcerrors

if TYPE_CHECKING:
    from pybuildkit.frontend.gateway.client import FileRange, Mount, NewContainerRequest, StartRequest, WinSize
    from pybuildkit.frontend.gateway.client._client import ProcessReader, ProcessWriter
    from pybuildkit.frontend.gateway.grpcclient._client import Conn
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import ClientStream
    from pybuildkit.third_party.fsutil.types.stat_pb2 import Stat
    from pybuildkit.util.apicaps import CapSet

_STDIN_CHUNK = 32 << 10
_QUEUE = 64


class _ProcessMessages:
    """What has arrived for one process, in order; a reader that is slow slows the stream."""

    def __init__(self) -> None:
        self._arrived: Chan[pb.ExecMessage] = Chan(_QUEUE)
        self._unread, self._drop = context.with_cancel(context.background())

    async def put(self, message: pb.ExecMessage) -> None:
        """Add a message; dropped where nobody reads any more."""
        await select(done(self._unread), self._arrived.send_case(message))

    async def get(self, ctx: Context) -> pb.ExecMessage | None:
        """The next message, None at the end of the stream; raises the cause of a context that ends before."""
        message, _ = await context.run(ctx, self._arrived.recv())
        return message

    def end(self) -> None:
        """No more messages come; those that have arrived can still be read."""
        self._arrived.close()

    def drop(self) -> None:
        """Nobody reads any more."""
        self._drop()


class MessageForwarder:
    """The ExecProcess stream of a gateway client: opened with the first container, shared by all processes."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn
        self._stream: ClientStream[pb.ExecMessage, pb.ExecMessage] | None = None
        self._processes: dict[str, _ProcessMessages] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader: asyncio.Task[None] | None = None
        self._failure: BuildkitError | None = None
        self._ctx, self._cancel = context.with_cancel(context.background())

    async def start(self) -> None:
        """Open the stream, unless it is open."""
        if self._is_open():
            return
        self._failure = None
        self._stream = await self._conn.stream(self._ctx, methods.EXEC_PROCESS)
        self._reader = asyncio.ensure_future(self._read(self._stream))

    def _is_open(self) -> bool:
        return self._reader is not None and not self._reader.done()

    async def _read(self, stream: ClientStream[pb.ExecMessage, pb.ExecMessage]) -> None:
        try:
            while (message := await stream.recv()) is not None:
                process = self._processes.get(message.ProcessID)
                if process is not None:
                    await process.put(message)
        except BuildkitError as err:
            if not (isinstance(err, RpcError) and err.code == Code.CANCELLED):
                self._failure = err
        finally:
            for process in self._processes.values():
                process.end()
            self._processes.clear()

    def register(self, process_id: str) -> _ProcessMessages:
        """Take the messages of a process; those of a stream that has ended are at their end."""
        messages = _ProcessMessages()
        if self._is_open():
            self._processes[process_id] = messages
        else:
            messages.end()
        return messages

    def deregister(self, process_id: str) -> None:
        """The process has ended; further messages for it are dropped."""
        messages = self._processes.pop(process_id, None)
        if messages is not None:
            messages.drop()

    def own(self, task: asyncio.Task[None]) -> None:
        """Let a process's task end with the stream at the latest."""
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # `wait` raises it; a process that nobody waits for is no trouble of the event loop

    async def send(self, message: pb.ExecMessage) -> None:
        """Send a message of a process that has not ended."""
        if message.ProcessID not in self._processes or self._stream is None:
            ended = BuildkitError(f"process {message.ProcessID} has ended, not sending message")
            raise ended from self._failure
        await self._stream.send(message)

    def failure(self) -> BuildkitError | None:
        """Why the stream ended, where it did not end well."""
        return self._failure

    async def release(self) -> None:
        """End the stream and whatever runs on it."""
        self._cancel()
        if self._stream is not None:
            self._stream.cancel()
        tasks = [*self._tasks, *([self._reader] if self._reader is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def new_container(
    conn: Conn, cap_set: CapSet, forwarder: MessageForwarder, ctx: Context, req: NewContainerRequest
) -> GrpcContainer:
    """Make a container from solved references."""
    container_id = identity.new_id()
    request = pb.NewContainerRequest(
        ContainerID=container_id,
        Mounts=[_mount_pb(mount) for mount in req.mounts],
        platform=req.platform,
        constraints=req.constraints,
        extraHosts=req.extra_hosts,
        hostname=req.hostname,
    )
    request.Network = req.net_mode  # type: ignore[assignment]  # enums are plain numbers here
    await conn.unary(ctx, methods.NEW_CONTAINER, request)
    await forwarder.start()
    return GrpcContainer(conn, cap_set, forwarder, container_id)


def _mount_pb(mount: Mount) -> ops_pb2.Mount:
    result_id = mount.result_id
    if mount.ref is not None:
        if not isinstance(mount.ref, GrpcReference):
            raise BuildkitError(f"unexpected type for reference, got {type(mount.ref).__name__}")
        result_id = mount.ref.id
    message = ops_pb2.Mount(
        dest=mount.dest,
        selector=mount.selector,
        readonly=mount.readonly,
        resultID=result_id,
        cacheOpt=mount.cache_opt,
        secretOpt=mount.secret_opt,
        SSHOpt=mount.ssh_opt,
    )
    message.mountType = mount.mount_type  # type: ignore[assignment]  # enums are plain numbers here
    return message


class GrpcContainer:
    """A `Container` of the gateway client."""

    def __init__(self, conn: Conn, cap_set: CapSet, forwarder: MessageForwarder, id: str) -> None:
        self._conn = conn
        self._caps = cap_set
        self._forwarder = forwarder
        self._id = id
        self._released = False

    async def start(self, ctx: Context, req: StartRequest) -> GrpcProcess:
        """Start a process.

        Raises:
            BuildkitError: when the daemon does not start it, or the container is released.
        """
        if self._released:
            raise BuildkitError(f"container {quote(self._id)} previously released or not created")
        if req.secret_env:
            self._caps.supports(caps.CAP_GATEWAY_EXEC_SECRET_ENV)
        process_id = f"{self._id}:{identity.new_id()}"
        messages = self._forwarder.register(process_id)
        try:
            await self._forwarder.send(pb.ExecMessage(ProcessID=process_id, Init=self._init_message(req)))
            first = await messages.get(ctx)
            if first is None:
                raise _no_start(self._forwarder.failure())
            if first.WhichOneof("Input") != "Started":
                raise BuildkitError(f"expecting started message, got {first.WhichOneof('Input')}")
        except BaseException:
            self._forwarder.deregister(process_id)
            raise
        return GrpcProcess(ctx, self._forwarder, process_id, messages, req)

    def _init_message(self, req: StartRequest) -> pb.InitMessage:
        meta = ops_pb2.Meta(
            args=req.args,
            env=req.env,
            cwd=req.cwd,
            user=req.user,
            removeMountStubsRecursive=req.remove_mount_stubs_recursive,
        )
        fds = [fd for fd, end in enumerate((req.stdin, req.stdout, req.stderr)) if end is not None]
        message = pb.InitMessage(ContainerID=self._id, Meta=meta, Fds=fds, Tty=req.tty, secretenv=req.secret_env)
        message.Security = req.security_mode  # type: ignore[assignment]  # enums are plain numbers here
        return message

    async def release(self, ctx: Context) -> None:
        """End the container and whatever runs in it."""
        self._released = True
        await self._conn.unary(ctx, methods.RELEASE_CONTAINER, pb.ReleaseContainerRequest(ContainerID=self._id))

    async def read_file(
        self, ctx: Context, filename: str, range: FileRange | None = None, mount_index: int = 0
    ) -> bytes:
        """The content of a file of one of the container's mounts."""
        self._caps.supports(caps.CAP_GATEWAY_EXEC_FILESYSTEM)
        request = pb.ReadFileRequest(Ref=self._id, FilePath=filename, Range=file_range(range), MountIndex=mount_index)
        return (await self._conn.unary(ctx, methods.READ_FILE_CONTAINER, request)).Data

    async def read_dir(self, ctx: Context, path: str, include_pattern: str = "", mount_index: int = 0) -> list[Stat]:
        """The entries of a directory of one of the container's mounts."""
        self._caps.supports(caps.CAP_GATEWAY_EXEC_FILESYSTEM)
        request = pb.ReadDirRequest(Ref=self._id, DirPath=path, IncludePattern=include_pattern, MountIndex=mount_index)
        return list((await self._conn.unary(ctx, methods.READ_DIR_CONTAINER, request)).entries)

    async def stat_file(self, ctx: Context, path: str, mount_index: int = 0) -> Stat:
        """What is known of a file of one of the container's mounts."""
        self._caps.supports(caps.CAP_GATEWAY_EXEC_FILESYSTEM)
        request = pb.StatFileRequest(Ref=self._id, Path=path, MountIndex=mount_index)
        return (await self._conn.unary(ctx, methods.STAT_FILE_CONTAINER, request)).stat


class GrpcProcess:
    """A `ContainerProcess` of the gateway client; its streams are copied from the moment it has started."""

    def __init__(
        self, ctx: Context, forwarder: MessageForwarder, id: str, messages: _ProcessMessages, req: StartRequest
    ) -> None:
        self._ctx = ctx
        self._forwarder = forwarder
        self._id = id
        self._messages = messages
        self._outputs: dict[int, ProcessWriter | None] = {1: req.stdout, 2: req.stderr}
        self._input_open = True
        self._stdin = None if req.stdin is None else asyncio.ensure_future(self._copy_stdin(req.stdin))
        self._receiver = asyncio.ensure_future(self._receive())
        forwarder.own(self._receiver)
        if self._stdin is not None:
            forwarder.own(self._stdin)

    async def _copy_stdin(self, source: ProcessReader) -> None:
        """Send the input, also where it breaks off, with its end behind it."""
        try:
            while data := await source.read(_STDIN_CHUNK):
                await self._forwarder.send(pb.ExecMessage(ProcessID=self._id, File=pb.FdMessage(Fd=0, Data=data)))
        except OSError as err:
            bklog.get_logger(self._ctx).debug(f"standard input of {self._id} ended: {error_text(err)}")
        self._input_open = False
        await self._forwarder.send(pb.ExecMessage(ProcessID=self._id, File=pb.FdMessage(Fd=0, EOF=True)))

    async def _end_input(self) -> None:
        """Stop reading the input and send its end, unless that was sent: a daemon waits for it before Done."""
        if self._stdin is None or not self._input_open:
            return
        self._input_open = False
        self._stdin.cancel()
        try:
            await self._forwarder.send(pb.ExecMessage(ProcessID=self._id, File=pb.FdMessage(Fd=0, EOF=True)))
        except BuildkitError as err:
            bklog.get_logger(self._ctx).debug(f"end of standard input of {self._id}: {error_text(err)}")

    async def _receive(self) -> None:
        """Write the process's output until Done; raises what the process ended with."""
        try:
            failure = await self._output()
        except BuildkitError:
            await self._end_input()
            raise
        finally:
            self._forwarder.deregister(self._id)
            if self._stdin is not None:
                self._stdin.cancel()
        if failure is not None:
            raise failure

    async def _output(self) -> BuildkitError | None:
        failure: BuildkitError | None = None
        has_exited = False
        while (message := await self._messages.get(self._ctx)) is not None:
            kind = message.WhichOneof("Input")
            if kind == "File":
                await self._write(message.File)
            elif kind == "Exit":
                has_exited, failure = True, _exit_error(message.Exit)
                await self._end_input()
            elif kind == "Done":
                return failure
            else:
                raise BuildkitError(f"unexpected Exec Message for pid {self._id}: {kind}")
        if has_exited:
            return failure
        return self._forwarder.failure() or BuildkitError(f"process {self._id} was given up before its end")

    async def _write(self, message: pb.FdMessage) -> None:
        writer = self._outputs.get(message.Fd)
        if writer is None:
            raise BuildkitError(f"missing writer for output fd {message.Fd}")
        if message.Data:
            await writer.write_all(message.Data)

    async def wait(self) -> None:
        """Return when the process has ended well.

        Raises:
            ExitError: with the exit code, when it has not.
            BuildkitError: its end was not told. OSError: a writer of its output failed.

        Cancelling the wait leaves the process running.
        """
        try:
            await asyncio.shield(self._receiver)
        except asyncio.CancelledError:
            if self._receiver.cancelled():
                raise BuildkitError(f"process {self._id} was given up before its end") from None
            raise
        finally:
            if self._receiver.done() and self._stdin is not None:
                await asyncio.gather(self._stdin, return_exceptions=True)

    async def resize(self, ctx: Context, size: WinSize) -> None:
        """Tell the process its terminal's size."""
        message = pb.ResizeMessage(Rows=size.rows, Cols=size.cols)
        await self._forwarder.send(pb.ExecMessage(ProcessID=self._id, Resize=message))

    async def signal(self, ctx: Context, signum: int) -> None:
        """Send the process a signal, by number.

        Raises:
            BuildkitError: for a number that is no signal.
        """
        try:
            name = signals.Signals(signum).name.removeprefix("SIG")
        except ValueError as err:
            raise BuildkitError(f"unknown signal {signum}") from err
        await self._forwarder.send(pb.ExecMessage(ProcessID=self._id, Signal=pb.SignalMessage(Name=name)))


def _no_start(failure: BuildkitError | None) -> BuildkitError:
    text = "failed to receive started message"
    return BuildkitError(text) if failure is None else wrap(failure, text)


def _exit_error(message: pb.ExitMessage) -> BuildkitError | None:
    if message.Code == 0:
        return None
    error = grpcerrors.from_grpc(RpcError(Code(message.Error.code), message.Error.message, list(message.Error.details)))
    if message.Code == UNKNOWN_EXIT_STATUS:
        return error
    return ExitError(error, pb.ExitMessage(Code=message.Code))
