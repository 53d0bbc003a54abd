"""The daemon: its services together, on any connection.

Use:
    async with Daemon() as daemon:                 everything in memory, for tests
        await daemon.serve(stream)
    async with Daemon(state="/var/lib/x") as …     what it builds is kept in a folder
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import time
from collections.abc import Callable
from types import TracebackType

from fake_buildkitd.content import AllBlobs, register_content
from fake_buildkitd.control import DOCKERFILE_VERSION, PACKAGE, VERSION, Control
from fake_buildkitd.errors import to_status
from fake_buildkitd.faults import Fault, FaultStream, reset_on_close, tcp_pair
from fake_buildkitd.gateway import Gateway
from fake_buildkitd.history import History
from fake_buildkitd.jobs import JobOptions, dockerfile_frontend
from fake_buildkitd.script import Script
from fake_buildkitd.store import DiskStore, MemoryStore, Store
from pybuildkit import identity
from pybuildkit.api.services.control import control_pb2
from pybuildkit.api.types import worker_pb2
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import ByteStream, Endpoint, Server
from pybuildkit.rpc._io import socket_stream
from pybuildkit.rpc.health import add_health
from pybuildkit.session import HealthCheckConfig, Manager
from pybuildkit.solver.pb import platforms_from_spec
from pybuildkit.third_party import platforms


class Daemon:
    """A BuildKit daemon.

    Args:
        state: the folder for what is built; None to keep it in memory.
        wait: seconds to wait while another process uses that folder.
        health: how sessions are watched; None for BuildKit's own way.
        script: gives for a request the script that its build follows, or None for a real build; a Script stands
            for one that is followed by every build.
        clock: gives the time in nanoseconds.

    Raises:
        StoreError: the folder cannot be used, or is used by another process.
    """

    def __init__(
        self,
        *,
        state: str | None = None,
        wait: float = 0,
        health: HealthCheckConfig | None = None,
        script: Script | Callable[[control_pb2.SolveRequest], Script | None] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._clock = clock
        self._store: Store | None = DiskStore(state, wait=wait, clock=clock) if state is not None else None
        self._ctx, self._cancel = context.with_cancel(context.background())
        self._worker_id = _worker_id(state)
        self._serving: set[asyncio.Task[None]] = set()
        self.manager = Manager(health)
        self.options = JobOptions(self.store, self.manager, self._worker_id, clock=clock)
        self.options.frontends["dockerfile.v0"] = dockerfile_frontend  # type: ignore[assignment]  # a Job is the bridge
        before = script.before if isinstance(script, Script) else None
        linger = script.session_seconds if isinstance(script, Script) else 0.0
        gateway = Gateway(self.workers, before)
        history = History(os.path.join(state, "history") if state is not None else None, clock)
        self.content = AllBlobs([history.blobs])
        self.control = Control(self.options, gateway, history, self.workers, _chooser(script), before, linger)
        self.server = Server(to_status=to_status)
        self.control.register(self.server)
        gateway.register(self.server)
        register_content(self.server, self.content)
        add_health(self.server)

    def store(self) -> Store:
        """Where results are kept."""
        if self._store is None:
            self._store = MemoryStore(self._clock)
        return self._store

    def workers(self) -> list[worker_pb2.WorkerRecord]:
        """The daemon's worker."""
        return [self._worker]

    @functools.cached_property
    def _worker(self) -> worker_pb2.WorkerRecord:
        labels = {
            "org.mobyproject.buildkit.worker.executor": "none",
            "org.mobyproject.buildkit.worker.hostname": socket.gethostname(),
            "org.mobyproject.buildkit.worker.network": "none",
            "org.mobyproject.buildkit.worker.snapshotter": "tree",
        }
        here = platforms.normalize(platforms.default_spec())
        record = worker_pb2.WorkerRecord(ID=self._worker_id, Labels=labels, platforms=platforms_from_spec([here]))
        record.BuildkitVersion.package = PACKAGE
        record.BuildkitVersion.version = VERSION
        record.BuildkitVersion.dockerfileVersion = DOCKERFILE_VERSION
        return record

    async def __aenter__(self) -> Daemon:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def serve(self, stream: ByteStream, ctx: Context | None = None) -> None:
        """Serve one connection until it ends.

        Raises:
            BuildkitError: the peer broke the protocol.
        """
        joined, cancel = context.with_cancel(self._ctx)
        stop = context.after_func(ctx, cancel) if ctx is not None else None
        try:
            await self.server.serve(stream, joined)
        finally:
            if stop is not None:
                stop()
            cancel()

    def dialer(self, fault: Fault | None = None) -> Callable[[float | None], Endpoint]:
        """A dialer to this daemon for a client in any thread; call it in the daemon's event loop.

        Args:
            fault: happens to the first connection that is made.
        """
        loop = asyncio.get_running_loop()
        faults = [fault] if fault is not None else []

        def dial(timeout: float | None) -> Endpoint:
            fault = faults.pop() if faults else None
            ours, theirs = tcp_pair() if fault is not None else socket.socketpair()
            loop.call_soon_threadsafe(self._start, theirs, fault)
            return Endpoint(sock=ours)

        return dial

    def _start(self, sock: socket.socket, fault: Fault | None) -> None:
        stream: ByteStream = socket_stream(sock)
        if fault is not None:
            stream = FaultStream(stream, fault, functools.partial(reset_on_close, sock))
        task = asyncio.ensure_future(self._serve_quietly(stream))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve_quietly(self, stream: ByteStream) -> None:
        try:
            await self.serve(stream)
        except (BuildkitError, OSError):
            await stream.close()  # the connection broke: that is the client's to tell

    async def serve_socket(self, sock: socket.socket) -> None:
        """Serve one connected socket until the connection ends."""
        await self.server.serve_socket(sock, self._ctx)

    async def listen(self, sock: socket.socket) -> None:
        """Serve every connection that a listening socket accepts, until `stop`."""
        await self.server.listen(sock, self._ctx)

    def stop(self) -> None:
        """End all connections."""
        self._cancel()

    async def close(self) -> None:
        """End all connections and let go of the state."""
        self._cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        if self._store is not None:
            await asyncio.to_thread(self._store.close)
            self._store = None


def _chooser(
    script: Script | Callable[[control_pb2.SolveRequest], Script | None] | None,
) -> Callable[[control_pb2.SolveRequest], Script | None]:
    if callable(script):
        return script
    return lambda request: script


def _worker_id(state: str | None) -> str:
    """The worker's id, the same for the same state."""
    if state is None:
        return identity.new_id()
    path = os.path.join(state, "workerid")
    try:
        with open(path, encoding="ascii") as file:
            known = file.read().strip()
        if known:
            return known
    except FileNotFoundError:
        pass
    worker = identity.new_id()
    with open(path + ".tmp", "w", encoding="ascii") as file:
        file.write(worker)
    os.replace(path + ".tmp", path)
    return worker
