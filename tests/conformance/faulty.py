"""A daemon that misbehaves on demand: the client's view of BuildKit, with a hook wherever a real one could fail.

It is made of the project's daemon ends (`rpc.Server`, `grpchijack.hijack`, `session.Manager`) and runs on a unix
socket in a thread of its own, so that a test can run the command beside it. A test subclasses `Script` and overrides
the step that is to go wrong; the hooks run in the daemon's loop. What a test has to wait for, a hook `reach`es.

    with serve(MyScript(), tmp_path) as daemon:
        result = run("build", …, addr=daemon.addr)
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fake_buildkitd.errors import to_status
from pybuildkit.api.services.control import _methods as control
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.frontend.gateway.pb import CAPS as GATEWAY_CAPS
from pybuildkit.frontend.gateway.pb import _methods as gateway
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Buffer, ByteStream, ClientStream, Code, Metadata, RpcError, Server, ServerStream
from pybuildkit.rpc import incoming_metadata as metadata_of
from pybuildkit.rpc._io import socket_stream
from pybuildkit.session import Caller, Manager
from pybuildkit.session.filesync._filesync import DIFF_COPY
from pybuildkit.session.filesync._synctarget import FILE_SEND, KEY_EXPORTER_ID, FileWriter, copy_file_writer
from pybuildkit.session.grpchijack import HijackedStream, hijack
from pybuildkit.session.grpchijack._grpchijack import SESSION
from pybuildkit.solver.pb import CAPS as LLB_CAPS
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil import ReceiveOpt
from tests.daemons import Result

REACH_SECONDS = 30.0


class Connection:
    """A byte stream that can go silent or be cut; the daemon's end of one connection."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._silent: asyncio.Event | None = None

    async def _pass(self) -> None:
        if self._silent is not None:
            await self._silent.wait()

    async def read(self, n: int) -> bytes:
        data = await self._stream.read(n)
        await self._pass()
        return data

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        await self._pass()
        await self._stream.write_buffers(buffers)

    async def close(self) -> None:
        if self._silent is not None:
            self._silent.set()
        await self._stream.close()

    def silence(self) -> None:
        """From now on nothing is read or answered."""
        self._silent = asyncio.Event()


class Build:
    """One build: what the client asked for, and what the daemon tells of it.

    Args:
        daemon: the daemon.
        ref: the build's name.
    """

    def __init__(self, daemon: FaultyDaemon, ref: str) -> None:
        self.daemon = daemon
        self.ref = ref
        self.request = pb.SolveRequest()
        self.gateway_request = gateway_pb2.SolveRequest()
        self.statuses: asyncio.Queue[pb.StatusResponse | None] = asyncio.Queue()
        self.returned: asyncio.Future[RpcError | None] = asyncio.get_running_loop().create_future()

    async def caller(self) -> Caller:
        """The client's session."""
        timed, stop = context.with_timeout(context.background(), 10)
        try:
            return await self.daemon.manager.get(timed, self.request.Session)
        finally:
            stop()

    def log(self, text: str) -> None:
        """Tell the client a line of a step's log."""
        self.statuses.put_nowait(status(text))

    async def pull(
        self,
        dest: Path,
        *,
        name: str = "context",
        listed: Callable[[], None] = lambda: None,
    ) -> None:
        """Take a local source from the client.

        Args:
            dest: where the files go.
            name: the source.
            listed: called when the list has come, before any content is asked for.
        """
        caller = await self.caller()
        stream = await caller.conn().stream(
            caller.context(context.background()), DIFF_COPY, metadata=[("dir-name", name)]
        )
        try:
            os.makedirs(dest, exist_ok=True)
            await fsutil.receive(context.background(), _Pausing(stream, listed), str(dest), ReceiveOpt())
            await stream.close_send()
        finally:
            stream.cancel()

    async def export(self, id: int = 0, *, metadata: Metadata = ()) -> ClientStream[object, bytes]:
        """Open an export's call, to send whatever a test likes."""
        caller = await self.caller()
        ctx = caller.context(context.background())
        return await caller.conn().stream(ctx, FILE_SEND, metadata=[(KEY_EXPORTER_ID, str(id)), *metadata])

    async def file(self, id: int = 0) -> FileWriter:
        """Open a file export as a daemon does."""
        return await copy_file_writer(context.background(), {}, id, await self.caller())


def status(text: str) -> pb.StatusResponse:
    """A status message: a running step, and a line of its log."""
    message = pb.StatusResponse()
    vertex = message.vertexes.add(digest="sha256:" + "1" * 64, name="a step")
    vertex.started.FromSeconds(1_700_000_000)
    log = message.logs.add(vertex=vertex.digest, msg=text.encode() + b"\n", stream=1)
    log.timestamp.FromSeconds(1_700_000_001)
    return message


class _Pausing:
    """A packet stream that calls a function when the list of files has come."""

    def __init__(self, stream: ClientStream[object, bytes], action: Callable[[], None]) -> None:
        self._stream = stream
        self._action: Callable[[], None] | None = action

    async def send_many(self, payloads: Sequence[fsutil._tasks.Payload], /) -> None:
        await self._stream.send_many(payloads)

    async def recv_many(self) -> list[bytes]:
        packets = await self._stream.recv_many()
        if b"" in packets and self._action is not None:
            self._action()
            self._action = None
        return packets


class Script:
    """What the daemon does at each step; this one does everything right and builds nothing."""

    async def session(self, daemon: FaultyDaemon, stream: HijackedStream, headers: Metadata) -> None:
        """Keep a session until one of the two ends it."""
        ctx, cancel = context.with_cancel(context.background())
        closed = asyncio.ensure_future(stream.closed.wait())
        closed.add_done_callback(lambda _: cancel())
        try:
            await daemon.manager.handle_conn(ctx, stream, headers)
        finally:
            closed.cancel()
            await asyncio.gather(closed, return_exceptions=True)

    async def frontend(self, build: Build) -> None:
        """LLBBridge.Solve: the build's steps."""

    async def export(self, build: Build) -> Mapping[str, str]:
        """The rest of Control.Solve, once the gateway's client has returned."""
        return {}

    async def answer(self, build: Build, exported: Mapping[str, str]) -> pb.SolveResponse:
        """What Control.Solve answers."""
        return pb.SolveResponse(ExporterResponse=exported)

    async def status(self, build: Build, stream: ServerStream[pb.StatusRequest, pb.StatusResponse]) -> None:
        """Control.Status: the messages, until Solve has ended."""
        while (message := await build.statuses.get()) is not None:
            await stream.send(message)


class FaultyDaemon:
    """The services on a unix socket; `serve` runs it.

    Args:
        script: what it does.
        path: the socket's path.
    """

    def __init__(self, script: Script, path: Path) -> None:
        self.addr = f"unix://{path}"
        self.manager = Manager()
        self.builds: dict[str, Build] = {}
        self._script = script
        self._connections: list[Connection] = []
        self._reached = threading.Event()
        self._cutting: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server = Server(to_status=to_status)
        self._server.add_unary(control.LIST_WORKERS, self._list_workers)
        self._server.add_unary(control.INFO, self._info)
        self._server.add_unary(control.SOLVE, self._solve)
        self._server.add_stream(control.STATUS, self._status)
        self._server.add_stream(SESSION, self._session)
        self._server.add_unary(gateway.PING, self._ping)
        self._server.add_unary(gateway.SOLVE, self._gateway_solve)
        self._server.add_unary(gateway.RETURN, self._return)

    # For tests.

    def reach(self) -> None:
        """Tell the test that the daemon is where it wanted it."""
        self._reached.set()

    def wait_reached(self) -> None:
        """Wait, in the test's thread, until a hook has called `reach`."""
        assert self._reached.wait(REACH_SECONDS), "the daemon did not get there"

    async def cut(self) -> None:
        """Close all connections, as a killed daemon's kernel does."""
        for connection in self._connections:
            await connection.close()

    def cut_soon(self) -> None:
        """The same, beside whatever goes on; from the daemon's loop."""
        self._cutting = asyncio.ensure_future(self.cut())

    def silence(self) -> None:
        """Stop reading and answering, as a stopped daemon does; any thread may call it."""
        assert self._loop is not None
        for connection in self._connections:
            self._loop.call_soon_threadsafe(connection.silence)

    # The services.

    def _build(self, ref: str) -> Build:
        if ref not in self.builds:
            self.builds[ref] = Build(self, ref)
        return self.builds[ref]

    def _build_of(self, ctx: Context) -> Build:
        ids = [value for key, value in metadata_of(ctx) if key == "buildkit-controlapi-buildid"]
        assert isinstance(ids[0], str)
        return self._build(ids[0])

    async def _list_workers(self, ctx: Context, request: pb.ListWorkersRequest) -> pb.ListWorkersResponse:
        return pb.ListWorkersResponse()

    async def _info(self, ctx: Context, request: pb.InfoRequest) -> pb.InfoResponse:
        return pb.InfoResponse()

    async def _solve(self, ctx: Context, request: pb.SolveRequest) -> pb.SolveResponse:
        build = self._build(request.Ref)
        build.request.CopyFrom(request)
        try:
            error = await context.run(ctx, build.returned)
            if error is not None:
                raise error
            exported = await context.run(ctx, self._script.export(build))
            return await self._script.answer(build, exported)
        finally:
            build.statuses.put_nowait(None)

    async def _status(self, stream: ServerStream[pb.StatusRequest, pb.StatusResponse]) -> None:
        request = await stream.recv()
        assert request is not None
        await stream.send_header([])
        await context.run(stream.ctx, self._script.status(self._build(request.Ref), stream))

    async def _session(self, stream: ServerStream[bytes, object]) -> None:
        hijacked, headers = hijack(stream)
        await context.run(stream.ctx, self._script.session(self, hijacked, headers))

    async def _ping(self, ctx: Context, request: gateway_pb2.PingRequest) -> gateway_pb2.PongResponse:
        return gateway_pb2.PongResponse(FrontendAPICaps=GATEWAY_CAPS.all(), LLBCaps=LLB_CAPS.all())

    async def _gateway_solve(self, ctx: Context, request: gateway_pb2.SolveRequest) -> gateway_pb2.SolveResponse:
        build = self._build_of(ctx)
        build.gateway_request = request
        await context.run(ctx, self._script.frontend(build))
        response = gateway_pb2.SolveResponse()
        response.result.ref.id = "a-ref"
        return response

    async def _return(self, ctx: Context, request: gateway_pb2.ReturnRequest) -> gateway_pb2.ReturnResponse:
        build = self._build_of(ctx)
        error = request.error
        failure = RpcError(Code(error.code), error.message, list(error.details)) if request.HasField("error") else None
        if not build.returned.done():
            build.returned.set_result(failure)
        return gateway_pb2.ReturnResponse()

    # The connections.

    async def run(self, listener: socket.socket, stop: Context) -> None:
        """Accept connections until `stop` is done."""
        self._loop = asyncio.get_running_loop()
        serving: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        try:
            while True:
                sock, _ = await context.run(stop, self._loop.sock_accept(listener))
                connection = Connection(socket_stream(sock))
                self._connections.append(connection)
                serving.add(asyncio.ensure_future(self._serve(connection, stop)))
        except BuildkitError:
            await self.cut()
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, *([self._cutting] if self._cutting else []), return_exceptions=True)

    async def _serve(self, connection: Connection, stop: Context) -> None:
        try:
            await self._server.serve(connection, stop)
        except (BuildkitError, OSError):
            return  # the client is gone, which is what most tests are about


@contextmanager
def serve(script: Script, folder: Path) -> Iterator[FaultyDaemon]:
    """Run a faulty daemon on a socket in the folder."""
    path = folder / "d.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        daemon = FaultyDaemon(script, path)
        stop, cancel = context.with_cancel(context.background())
        loops: list[asyncio.AbstractEventLoop] = []
        started = threading.Event()

        async def main() -> None:
            loops.append(asyncio.get_running_loop())
            started.set()
            await daemon.run(listener, stop)

        thread = threading.Thread(target=lambda: asyncio.run(main()), name="faulty-daemon")
        thread.start()
        try:
            assert started.wait(REACH_SECONDS)
            yield daemon
        finally:
            loops[0].call_soon_threadsafe(cancel)
            thread.join(REACH_SECONDS)
            assert not thread.is_alive(), "the daemon did not end"
            path.unlink()


BUILD = ["build", "--frontend=dockerfile.v0", "--progress=plain"]
LOCAL = ["--output", "type=local,dest=out"]
TAR = ["--output", "type=tar,dest=out.tar"]


def one_error(result: Result) -> str:
    """The error that a command which failed as it should has printed: exit code 1, one line, no traceback."""
    assert result.code == 1, (result.code, result.stderr)
    assert "Traceback" not in result.stderr, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert result.stderr.endswith(errors[0] + "\n"), result.stderr
    return errors[0]


def names(folder: Path) -> set[str]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
