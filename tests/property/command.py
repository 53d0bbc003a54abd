"""The build command and a scripted daemon in one event loop, on virtual time, and what a run of them leaves behind.

    seen = play(Stage(folder), ["--progress", "plain"], script, [(3.5, lambda run: run.signal(signal.SIGINT))])

The command is the real one, from its arguments to its exit code. What is put in its surroundings' place: the address,
which leads to the daemon of the test; blocking calls, which are done at once, so that every run is the same; the
clock of the display, which is the loop's. Standard error and the trace are pipes of the test's own.

Times are seconds since the beginning of the run.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from fake_buildkitd import Daemon
from fake_buildkitd.faults import Fault, FaultKind
from fake_buildkitd.script import Script
from pybuildkit.api.services.control._methods import STATUS
from pybuildkit.client import _client
from pybuildkit.client._dial import Target
from pybuildkit.client._graph import SolveStatus
from pybuildkit.client._status import new_solve_status
from pybuildkit.cmd.buildctl import _build
from pybuildkit.cmd.buildctl._app import CommandContext
from pybuildkit.cmd.buildctl._run import run_main
from pybuildkit.cmd.buildctl.common import Std, _std
from pybuildkit.golang import threads
from pybuildkit.golang.context import Context
from pybuildkit.rpc import Buffer, ByteStream, Endpoint
from pybuildkit.rpc._io import socket_stream
from pybuildkit.util import bklog
from pybuildkit.util.progress import _sink
from pybuildkit.util.progress.progressui import _display
from tests import virtual_clock
from tests.cmd.buildctl.streams import Recorder

T = TypeVar("T")

GARBAGE = bytes(range(251, 150, -1))
_PIPE_SIZE = 1 << 20

_is_clients: contextvars.ContextVar[bool] = contextvars.ContextVar("_is_clients", default=False)


class Wire:
    """The daemon's end of a connection that can be broken at any moment."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._is_silent = False
        self._closed = asyncio.Event()
        self.last_written = virtual_clock.START

    async def read(self, n: int) -> bytes:
        data = await self._stream.read(n)
        await self._pass()
        return data

    async def write_buffers(self, buffers: list[Buffer]) -> None:
        await self._pass()
        self.last_written = asyncio.get_running_loop().time()
        await self._stream.write_buffers(buffers)

    async def close(self) -> None:
        self._closed.set()
        await self._stream.close()

    async def _pass(self) -> None:
        if self._is_silent:
            await self._closed.wait()
            raise BrokenPipeError(32, "Broken pipe")

    async def break_off(self, kind: FaultKind) -> None:
        """End the connection, fill it with garbage, or say nothing more on it."""
        if kind is FaultKind.SILENCE:
            self._is_silent = True
            return
        if kind is FaultKind.GARBAGE:
            await self._stream.write_buffers([GARBAGE])
        await self.close()


@dataclass
class Seen:
    """What a run did.

    Attributes:
        code, stdout, stderr, trace: what it gave.
        seconds: when the command had ended.
        signalled, lost, deaf: when it got a signal, when its connection broke, and when it noticed that nobody reads
            standard error; None for never.
        last_heard: when the daemon had last sent anything before the connection broke.
        writing: how long all slow writes took together.
        is_read: whether standard error was read to the end.
        arrived: the statuses that the client has taken from the daemon.
        tasks: the client's tasks that were left.
        descriptors: those that were left, and what they are.
    """

    code: int = -1
    stdout: str = ""
    stderr: str = ""
    trace: str = ""
    seconds: float = 0.0
    signalled: float | None = None
    lost: float | None = None
    deaf: float | None = None
    last_heard: float = 0.0
    writing: float = 0.0
    is_read: bool = True
    arrived: list[SolveStatus] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    descriptors: dict[int, str] = field(default_factory=dict)

    @property
    def error(self) -> str:
        """The text of the error that was printed last, "" for none."""
        _, found, text = ("\n" + self.stderr).rpartition("\nerror: ")
        return text.removesuffix("\n") if found else ""


class Run:
    """A run while it goes on; what the test does to it."""

    def __init__(self, seen: Seen, stderr: Pipe, fault: Fault | None) -> None:
        self.seen = seen
        self._stderr = stderr
        self._fault = fault
        self._wires: list[Wire] = []
        self._breaking: set[asyncio.Task[None]] = set()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """The run begins on that loop."""
        self._loop = loop

    @property
    def now(self) -> float:
        """The time."""
        return self._loop.time() - virtual_clock.START

    def connect(self, daemon: Daemon) -> Endpoint:
        """A connection to the daemon."""
        if self._fault is not None:
            fault, self._fault = self._fault, None
            return contextvars.Context().run(lambda: daemon.dialer(fault)(None))
        ours, theirs = socket.socketpair()
        wire = Wire(socket_stream(theirs))
        self._wires.append(wire)
        task = self._loop.create_task(daemon._serve_quietly(wire), context=contextvars.Context())
        daemon._serving.add(task)
        task.add_done_callback(daemon._serving.discard)
        return Endpoint(sock=ours)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self.seen.signalled = self.now
        signal.raise_signal(number)

    def stop_reading(self) -> None:
        """Let the reader of standard error go away."""
        self.seen.is_read = False
        self._stderr.stop_reading()

    def break_off(self, kind: FaultKind) -> None:
        """Break the connections."""
        self.seen.lost = self.now
        self.seen.last_heard = max(wire.last_written for wire in self._wires) - virtual_clock.START
        for wire in self._wires:
            task = self._loop.create_task(wire.break_off(kind), context=contextvars.Context())
            self._breaking.add(task)

    async def finish(self) -> None:
        """Wait for what the test itself has started."""
        if self._breaking:
            await asyncio.wait(self._breaking)


class Pipe:
    """A pipe that takes whatever is written, and is read at the end."""

    def __init__(self) -> None:
        self._reader, self.fd = os.pipe()
        self._data = b""
        self._is_read = True

    def _read(self) -> None:
        os.set_blocking(self._reader, False)
        try:
            while data := os.read(self._reader, _PIPE_SIZE):
                self._data += data
        except BlockingIOError:
            pass

    def stop_reading(self) -> None:
        """Close the reader's end."""
        if self._is_read:
            self._is_read = False
            self._read()
            os.close(self._reader)

    def finish(self) -> str:
        """Close the pipe; what was written."""
        self.stop_reading()
        os.close(self.fd)
        return self._data.decode("utf-8", "replace")


Action = Callable[[Run], None]


def play(
    argv: Sequence[str],
    script: Script | None,
    actions: Sequence[tuple[float, Action]] = (),
    fault: Fault | None = None,
    write_seconds: tuple[float, float] = (0.0, 0.0),
) -> Seen:
    """Run `build` with the arguments against a daemon that follows the script.

    Args:
        argv: after `build`; `{trace}` stands for a file that gives what is written to it to `Seen.trace`.
        script: what the daemon does; None for a daemon that really builds.
        fault: what happens to the connection.
        actions: what else happens, and when, unless the command has ended by then.
        write_seconds: how long a write to standard error takes, and one to the trace.
    """
    seen = Seen()
    before = open_descriptors()
    stderr, trace = Pipe(), Pipe()
    with ExitStack() as stack:
        stack.enter_context(_surroundings(seen))

        def action(c: CommandContext) -> None:
            virtual_clock.run(_main(c, Run(seen, stderr, fault), script, actions))

        stack.enter_context(mock.patch.object(_build, "build_action", action))
        if any(write_seconds):
            stack.enter_context(_slow_writes(seen, stderr.fd, write_seconds))
        stdout = Recorder(1)
        argv = [arg.replace("{trace}", f"/proc/self/fd/{trace.fd}") for arg in argv]
        try:
            seen.code = run_main(["build", *argv], stdout=stdout, stderr=Std(stderr.fd, lossy=True))
        except _std.StdClosedError:
            seen.code = 1  # of which the process then ends, by SIGPIPE
    seen.stdout, seen.stderr, seen.trace = str(stdout), stderr.finish(), trace.finish()
    seen.descriptors = {fd: what for fd, what in open_descriptors().items() if before.get(fd) != what}
    return seen


async def _main(c: CommandContext, run: Run, script: Script | None, actions: Sequence[tuple[float, Action]]) -> None:
    loop = asyncio.get_running_loop()
    run.begin(loop)
    seen = run.seen
    tasks = _note_clients_tasks(loop)
    _std.on_broken(lambda: _note_deaf(run))
    async with Daemon(script=script) as daemon:
        target = Target(dial=lambda _: run.connect(daemon), authority="localhost", address="")
        timers = [loop.call_at(virtual_clock.START + when, action, run) for when, action in actions]
        with mock.patch.object(_client, "resolve", return_value=target):
            command = loop.create_task(_as_client(_build._main(c)))
            try:
                await command
            finally:
                seen.seconds = run.now
                for timer in timers:
                    timer.cancel()
                seen.tasks = [repr(task) for task in tasks if not task.done() and task is not command]
                await run.finish()


async def _as_client(main: Awaitable[T]) -> T:
    _is_clients.set(True)
    return await main


def _note_clients_tasks(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[Any]]:
    """The set that gets every task which the client starts from now on."""
    tasks: set[asyncio.Task[Any]] = set()

    def make(loop: asyncio.AbstractEventLoop, coro: Any, context: contextvars.Context | None = None) -> Any:
        task = asyncio.Task(coro, loop=loop, context=context)
        if _is_clients.get() if context is None else context.get(_is_clients, False):
            tasks.add(task)
        return task

    loop.set_task_factory(make)
    return tasks


def _note_deaf(run: Run) -> None:
    run.seen.deaf = run.now


@contextmanager
def _surroundings(seen: Seen) -> Iterator[None]:
    """Watch the statuses, do blocking calls at once, and put everything back in its place at the end."""
    open_stream = _client.Client.stream

    async def opening(client: Any, ctx: Context, method: Any, metadata: Any = ()) -> Any:
        stream = await open_stream(client, ctx, method, metadata)
        if method.path == STATUS.path:
            _tap(stream, seen)
        return stream

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with ExitStack() as stack:
        for place, name, new in (
            (_client.Client, "stream", opening),
            (threads, "call", _at_once),
            (_display, "steady_clock", _loop_s_clock),
        ):
            stack.enter_context(mock.patch.object(place, name, new))
        try:
            yield
        finally:
            _std._broken.clear()
            _std._listeners.clear()
            bklog.set_sink(None)
            bklog.set_level(bklog.INFO)
            for number, handler in handlers.items():
                if signal.getsignal(number) != handler:
                    signal.signal(number, handler)


@contextmanager
def _slow_writes(seen: Seen, stderr: int, seconds: tuple[float, float]) -> Iterator[None]:
    """Let every write of progress that takes time block for so long; first standard error, then everything else."""
    in_thread, is_writable = _sink._in_thread, _sink.Sink._is_writable

    def duration(sink: _sink.Sink) -> float:
        return seconds[_sink.descriptor(sink._out) != stderr]

    def blocks(sink: _sink.Sink) -> bool:
        return not duration(sink) and is_writable(sink)

    def slowly(write: Any, pieces: Sequence[_sink.Piece]) -> asyncio.Future[None]:
        if not (takes := duration(write.__self__)):
            return in_thread(write, pieces)
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()

        def finish() -> None:
            try:
                write(pieces)
            except Exception as err:
                written.set_exception(err)
            else:
                written.set_result(None)

        seen.writing += takes
        loop.call_later(takes, finish)
        return written

    with mock.patch.object(_sink, "_in_thread", slowly), mock.patch.object(_sink.Sink, "_is_writable", blocks):
        yield


def _tap(stream: Any, seen: Seen) -> None:
    """Note what the client takes from its Status call."""
    receive = stream.recv_many

    async def recv_many() -> list[Any]:
        messages: list[Any] = await receive()
        seen.arrived += [m if isinstance(m, SolveStatus) else new_solve_status(m) for m in messages]
        return messages

    stream.recv_many = recv_many


async def _at_once(ctx: Context, func: Callable[[], T], *, interrupt: Callable[[], None] | None = None) -> T:
    ctx.raise_if_done()
    return func()


def _loop_s_clock() -> Callable[[], int]:
    loop = asyncio.get_running_loop()
    return lambda: int(loop.time() * 1e9)


def open_descriptors() -> dict[int, str]:
    """The open descriptors of the process, and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the one of the listing itself
    return found


class Stage:
    """A folder for the files of one run after the other, and for what they should not leave.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder.with_name(folder.name + ".tmp")

    def __enter__(self) -> Stage:
        for folder in (self.folder, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        tempfile.tempdir = str(self.temporary)
        return self

    def __exit__(self, *exc: object) -> None:
        tempfile.tempdir = None

    def path(self, name: str) -> str:
        """The path of a file."""
        return str(self.folder / name)

    def files(self) -> set[str]:
        """The names of the files that are there, temporary ones too."""
        return {*os.listdir(self.folder), *os.listdir(self.temporary)}
