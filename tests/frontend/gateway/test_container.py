"""Processes of a frontend's containers, against the daemon's end of their stream with programs of the test."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pybuildkit import rpc
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.frontend.gateway.grpcclient._container import GrpcContainer, MessageForwarder, new_container
from pybuildkit.frontend.gateway.pb import CAPS, ExitError
from pybuildkit.frontend.gateway.pb import _methods as methods
from pybuildkit.frontend.gateway.pb import gateway_pb2 as pb
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError

BG = context.background()
PIECES = 200
ExecStream = rpc.ServerStream[pb.ExecMessage, pb.ExecMessage]


class Daemon:
    """Containers without a file system, whose programs are: `exit CODE`, `cat`, `flood`, `sleep`, `break`, `vanish`."""

    def __init__(self) -> None:
        self.streams = 0
        self.ended = 0
        self.server = rpc.Server()
        self.server.add_unary(methods.NEW_CONTAINER, self._new)
        self.server.add_unary(methods.RELEASE_CONTAINER, self._release)
        self.server.add_stream(methods.EXEC_PROCESS, self._exec)

    async def _new(self, ctx: Context, request: pb.NewContainerRequest) -> pb.NewContainerResponse:
        return pb.NewContainerResponse()

    async def _release(self, ctx: Context, request: pb.ReleaseContainerRequest) -> pb.ReleaseContainerResponse:
        return pb.ReleaseContainerResponse()

    async def _exec(self, stream: ExecStream) -> None:
        self.streams += 1
        cats: set[str] = set()
        while (message := await stream.recv()) is not None:
            if message.HasField("Init"):
                await self._start(stream, message, cats)
                if message.Init.Meta.args[0] == "vanish":
                    return
            elif message.HasField("File") and message.ProcessID in cats:
                if message.File.EOF:
                    self.ended += 1
                    await _end(stream, message.ProcessID, 0)
                else:
                    await _say(stream, message.ProcessID, message.File.Data)

    async def _start(self, stream: ExecStream, message: pb.ExecMessage, cats: set[str]) -> None:
        pid, args = message.ProcessID, list(message.Init.Meta.args)
        if args[0] == "break":
            raise rpc.RpcError(rpc.Code.NOT_FOUND, "no such program")
        await stream.send(pb.ExecMessage(ProcessID=pid, Started=pb.StartedMessage()))
        if args[0] == "cat":
            cats.add(pid)
        elif args[0] == "flood":
            for _ in range(PIECES):
                await _say(stream, pid, b"data")
            await _end(stream, pid, 0)
        elif args[0] == "exit":
            await _end(stream, pid, int(args[1]))
        elif args[0] == "half":
            cats.add(pid)
            await stream.send(pb.ExecMessage(ProcessID=pid, Exit=pb.ExitMessage(Code=0)))


async def _say(stream: ExecStream, pid: str, data: bytes) -> None:
    await stream.send(pb.ExecMessage(ProcessID=pid, File=pb.FdMessage(Fd=1, Data=data)))


async def _end(stream: ExecStream, pid: str, code: int) -> None:
    error = rpc.RpcError(rpc.Code.UNKNOWN, f"exit code: {code}").status_proto()
    await stream.send(pb.ExecMessage(ProcessID=pid, Exit=pb.ExitMessage(Code=code, Error=error if code else None)))
    await stream.send(pb.ExecMessage(ProcessID=pid, Done=pb.DoneMessage()))


@dataclass
class Output:
    """Takes what a process writes; `gate` holds its writes back, and `failure` is raised by them."""

    data: bytearray = field(default_factory=bytearray)
    gate: asyncio.Event | None = None
    failure: OSError | None = None

    async def write_all(self, data: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        if self.gate is not None:
            await self.gate.wait()
        self.data += data


@dataclass
class Input:
    """Gives pieces, then breaks off or ends."""

    pieces: list[bytes]
    failure: OSError | None = None
    endless: bool = False

    async def read(self, n: int) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.endless:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return b""


@dataclass
class Frontend:
    """The client's end."""

    daemon: Daemon
    channel: rpc.Channel
    forwarder: MessageForwarder

    async def container(self) -> GrpcContainer:
        caps = CAPS.cap_set(CAPS.all())
        return await new_container(self.channel, caps, self.forwarder, BG, gateway.NewContainerRequest())


@asynccontextmanager
async def frontend() -> AsyncIterator[Frontend]:
    daemon = Daemon()
    here, there = rpc.memory_pipe()
    ctx, cancel = context.with_cancel(BG)
    serving = asyncio.ensure_future(daemon.server.serve(here, ctx))
    channel = rpc.Channel.over(there)
    forwarder = MessageForwarder(channel)
    try:
        yield Frontend(daemon, channel, forwarder)
    finally:
        await forwarder.release()
        await channel.close()
        cancel()
        await asyncio.gather(serving, return_exceptions=True)


def run(*args: str, stdin: Input | None = None, stdout: Output | None = None) -> gateway.StartRequest:
    return gateway.StartRequest(args=args, stdin=stdin, stdout=stdout or Output())


async def test_exit_codes() -> None:
    async with frontend() as ends:
        container = await ends.container()
        await (await container.start(BG, run("exit", "0"))).wait()
        with pytest.raises(ExitError, match="exit code: 7") as caught:
            await (await container.start(BG, run("exit", "7"))).wait()
    assert caught.value.exit_code == 7


async def test_input_that_breaks_off_has_an_end() -> None:
    out = Output()
    async with frontend() as ends:
        container = await ends.container()
        source = Input([b"one ", b"two"], failure=OSError(5, "Input/output error"))
        await (await container.start(BG, run("cat", stdin=source, stdout=out))).wait()
    assert out.data == b"one two"


async def test_open_input_is_ended_for_a_process_that_has_exited() -> None:
    """The daemon tells that it is done once the input has ended; a terminal's input never does."""
    async with frontend() as ends:
        container = await ends.container()
        process = await container.start(BG, run("half", stdin=Input([], endless=True)))
        await asyncio.wait_for(process.wait(), 20)


async def test_open_input_is_ended_with_the_context() -> None:
    ctx, cancel = context.with_cancel(BG)
    async with frontend() as ends:
        container = await ends.container()
        process = await container.start(ctx, run("cat", stdin=Input([], endless=True)))
        cancel()
        with pytest.raises(context.CanceledError):
            await process.wait()
        await (await container.start(BG, run("exit", "0"))).wait()
    assert ends.daemon.ended == 1


async def test_slow_writer_loses_nothing_at_the_end_of_the_stream() -> None:
    """More has arrived than the buffer holds when the stream ends."""
    out = Output(gate=asyncio.Event())
    async with frontend() as ends:
        container = await ends.container()
        process = await container.start(BG, run("flood", stdout=out))
        assert out.gate is not None
        out.gate.set()
        await process.wait()
        assert out.data == b"data" * PIECES


async def test_failing_writer_stops_no_other_process() -> None:
    async with frontend() as ends:
        container = await ends.container()
        failing = await container.start(BG, run("flood", stdout=Output(failure=OSError(28, "No space left on device"))))
        out = Output()
        await (await container.start(BG, run("flood", stdout=out))).wait()
        with pytest.raises(OSError, match="No space left"):
            await failing.wait()
    assert out.data == b"data" * PIECES


async def test_start_in_a_released_container() -> None:
    """It is refused at once, and the processes of another container go on."""
    async with frontend() as ends:
        released, other = await ends.container(), await ends.container()
        cat = await other.start(BG, run("cat", stdin=Input([b"x"])))
        await released.release(BG)
        with pytest.raises(BuildkitError, match="previously released or not created"):
            await released.start(BG, run("exit", "0"))
        await cat.wait()
    assert ends.daemon.streams == 1


async def test_failed_stream_is_told_and_opened_anew() -> None:
    async with frontend() as ends:
        container = await ends.container()
        sleeping = await container.start(BG, run("sleep"))
        with pytest.raises(BuildkitError, match=r"failed to receive started message: .*no such program"):
            await container.start(BG, run("break"))
        with pytest.raises(BuildkitError, match="no such program"):
            await sleeping.wait()
        with pytest.raises(BuildkitError, match="has ended, not sending message"):
            await container.start(BG, run("exit", "0"))
        again = await ends.container()
        await (await again.start(BG, run("exit", "0"))).wait()
    assert ends.daemon.streams == 2


async def test_stream_that_ends_before_the_process() -> None:
    async with frontend() as ends:
        container = await ends.container()
        process = await container.start(BG, run("vanish"))
        with pytest.raises(BuildkitError, match="was given up before its end"):
            await process.wait()


async def test_process_that_nobody_waits_for() -> None:
    """It ends with the client, and the event loop has nothing to complain of."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    async with frontend() as ends:
        container = await ends.container()
        await container.start(BG, run("exit", "3"))
        await container.start(BG, run("sleep"))
        await (await container.start(BG, run("exit", "0"))).wait()
        tasks = asyncio.all_tasks()
    assert all(task.done() for task in tasks if task is not asyncio.current_task())
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_waiting_ends_with_the_client() -> None:
    async with frontend() as ends:
        container = await ends.container()
        process = await container.start(BG, run("sleep"))
        waiting = asyncio.ensure_future(process.wait())
        await ends.forwarder.release()
        with pytest.raises(BuildkitError, match="was given up before its end"):
            await waiting


async def test_context_that_ends_while_starting() -> None:
    ctx, cancel = context.with_cancel(BG)
    cancel()
    async with frontend() as ends:
        container = await ends.container()
        with pytest.raises(context.CanceledError):
            await container.start(ctx, run("sleep"))
        await (await container.start(BG, run("exit", "0"))).wait()
