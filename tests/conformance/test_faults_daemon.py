"""Section A of the list of faults: the daemon dies, hangs, or does not keep to the protocol."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from pybuildkit import client
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.client import ExportEntry, SolveOpt, _solve
from pybuildkit.client._graph import SolveStatus
from pybuildkit.frontend.gateway.client import Client as GatewayClient
from pybuildkit.frontend.gateway.client import Result as GatewayResult
from pybuildkit.frontend.gateway.client import SolveRequest
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.context import Context, background, with_cancel
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Metadata, ServerStream
from pybuildkit.session.grpchijack import HijackedStream
from tests.conformance.faulty import BUILD, TAR, Build, FaultyDaemon, Script, names, one_error, serve, status
from tests.daemons import Result, finish, run, start, write_tree

CONTEXT = ["--local", "context=test"]
FOREVER = 3600.0


class Cut(Script):
    """Closes the connection in one of the phases of a build.

    Args:
        phase: "upload", "log" or "export".
        dest: where the context goes.
        work: the client's folder.
    """

    def __init__(self, phase: str, dest: Path, work: Path) -> None:
        self.phase = phase
        self.dest = dest
        self.work = work

    async def frontend(self, build: Build) -> None:
        if self.phase == "upload":
            await build.pull(self.dest, listed=build.daemon.cut_soon)
        if self.phase == "log":
            build.log("before the end")
            await build.daemon.cut()

    async def export(self, build: Build) -> Mapping[str, str]:
        writer = await build.file()
        await writer.write_all(b"x" * 100_000)
        while names(self.work) == {"test", "test/Dockerfile", "test/big"}:
            await asyncio.sleep(0.01)  # until the client has begun to write
        await build.daemon.cut()
        return {}


@pytest.mark.parametrize(
    ("phase", "doing"),
    [
        ("upload", "local source context was sent"),
        ("log", "the daemon was building"),
        ("export", "the tar export was received"),
    ],
)
def test_daemon_killed(tmp_path: Path, work: Path, phase: str, doing: str) -> None:
    write_tree(work / "test", {"Dockerfile": "FROM scratch\n", "big": b"x" * 5_000_000})
    with serve(Cut(phase, tmp_path / "got", work), tmp_path) as daemon:
        started = time.monotonic()
        result = run(*BUILD, *CONTEXT, *TAR, addr=daemon.addr, cwd=work)
        assert time.monotonic() - started < 4
    text = one_error(result)
    assert "Unavailable" in text, text
    assert f'level=warning msg="the connection was lost while {doing}"' in result.stderr
    assert names(work) == {"test", "test/Dockerfile", "test/big"}


class Silent(Script):
    """Goes silent, with the connection open, in the middle of a build."""

    async def frontend(self, build: Build) -> None:
        build.log("before the end")
        build.daemon.silence()
        build.daemon.reach()
        await asyncio.sleep(FOREVER)


async def frontend(ctx: Context, gateway: GatewayClient) -> GatewayResult | None:
    """The frontend that the command runs."""
    return await gateway.solve(ctx, SolveRequest(frontend="dockerfile.v0"))


async def solve(addr: str, status: Chan[SolveStatus] | None = None) -> None:
    """A build in this process, as the command runs it."""
    async with await client.new(background(), addr) as connection:
        await connection.build(background(), SolveOpt(), "test", frontend, status)


async def test_silent_daemon_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (_solve.IDLE_SECONDS, _solve.PING_SECONDS) == (10.0, 5.0)
    monkeypatch.setattr(_solve, "IDLE_SECONDS", 0.4)
    monkeypatch.setattr(_solve, "PING_SECONDS", 0.3)
    with serve(Silent(), tmp_path) as daemon:
        started = time.monotonic()
        with pytest.raises(BuildkitError, match="keepalive ping failed"):
            await asyncio.wait_for(solve(daemon.addr), 10)
        assert 0.7 <= time.monotonic() - started < 4


class Quiet(Script):
    """Says nothing for some time, but is alive."""

    async def frontend(self, build: Build) -> None:
        await asyncio.sleep(1.5)


async def test_quiet_daemon_that_answers_pings_is_not_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_solve, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(_solve, "PING_SECONDS", 0.5)
    with serve(Quiet(), tmp_path) as daemon:
        await asyncio.wait_for(solve(daemon.addr), 10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_a_build_on_a_silent_daemon(tmp_path: Path, work: Path, number: signal.Signals) -> None:
    with serve(Silent(), tmp_path) as daemon:
        process = start(*BUILD, *TAR, addr=daemon.addr, cwd=work)
        daemon.wait_reached()
        process.send_signal(number)
        code, stderr, seconds = finish(process, 20)
    assert one_error(Result(code, b"", stderr)) == "error: failed to solve: Canceled: context canceled"
    assert seconds < 3
    assert names(work) == set()


class BrokenSession(Script):
    """Breaks the session's stream while Solve stays open."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def session(self, daemon: FaultyDaemon, stream: HijackedStream, headers: Metadata) -> None:
        if self.how == "refused":
            raise BuildkitError("no session for you")
        if self.how == "garbage":
            await stream.write_buffers([b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n" * 10])
            await asyncio.sleep(FOREVER)
        if self.how == "half":
            await stream.write_buffers([b"PRI * HTTP/2.0\r\n"])

    async def frontend(self, build: Build) -> None:
        await asyncio.sleep(FOREVER)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("closed", "session closed by the daemon while the build was running"),
        ("half", "session closed by the daemon while the build was running"),
        ("refused", "no session for you"),
        ("garbage", "session closed by the daemon while the build was running: "),
    ],
)
def test_broken_session_fails_the_build(tmp_path: Path, work: Path, how: str, text: str) -> None:
    with serve(BrokenSession(how), tmp_path) as daemon:
        started = time.monotonic()
        result = run(*BUILD, *TAR, addr=daemon.addr, cwd=work, timeout=20)
        assert time.monotonic() - started < 5
    assert text in one_error(result)
    assert names(work) == set()


class EndlessStatus(Script):
    """Goes on telling of a build that has ended."""

    async def status(self, build: Build, stream: ServerStream[pb.StatusRequest, pb.StatusResponse]) -> None:
        while True:
            await stream.send(status("still here"))
            await asyncio.sleep(0.02)


def test_statuses_after_the_answer_end(tmp_path: Path, work: Path) -> None:
    with serve(EndlessStatus(), tmp_path) as daemon:
        started = time.monotonic()
        result = run(*BUILD, addr=daemon.addr, cwd=work)
        seconds = time.monotonic() - started
    assert result.code == 0, result.stderr
    assert 5 <= seconds < 7.5


class SilentStatus(Script):
    """Leaves the status stream open after the build."""

    async def status(self, build: Build, stream: ServerStream[pb.StatusRequest, pb.StatusResponse]) -> None:
        await asyncio.sleep(FOREVER)


async def test_status_that_is_left_open_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_solve, "STATUS_SECONDS", 0.3)
    with serve(SilentStatus(), tmp_path) as daemon:
        await asyncio.wait_for(solve(daemon.addr, status=Chan(100)), 5)


class Large(Script):
    """Sends a message over 16 MiB."""

    def __init__(self, where: str) -> None:
        self.where = where

    async def status(self, build: Build, stream: ServerStream[pb.StatusRequest, pb.StatusResponse]) -> None:
        if self.where == "status":
            await stream.send(status("x" * (17 << 20)))
        await super().status(build, stream)

    async def frontend(self, build: Build) -> None:
        if self.where == "status":
            await asyncio.sleep(FOREVER)

    async def answer(self, build: Build, exported: Mapping[str, str]) -> pb.SolveResponse:
        return pb.SolveResponse(ExporterResponse={"key": "x" * (17 << 20)})


@pytest.mark.parametrize("where", ["status", "answer"])
def test_message_over_the_size_limit(tmp_path: Path, work: Path, where: str) -> None:
    with serve(Large(where), tmp_path) as daemon:
        started = time.monotonic()
        result = run(*BUILD, addr=daemon.addr, cwd=work)
        assert time.monotonic() - started < 4
    text = one_error(result)
    assert "ResourceExhausted" in text
    assert "received message larger than max" in text


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_timeout_bounds_dialling_a_silent_listener(tmp_path: Path, work: Path, family: socket.AddressFamily) -> None:
    with socket.socket(family) as listener:
        if family == socket.AF_UNIX:
            listener.bind(str(tmp_path / "s.sock"))
            addr = f"unix://{tmp_path}/s.sock"
        else:
            listener.bind(("127.0.0.1", 0))
            addr = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.listen()
        started = time.monotonic()
        result = run("--timeout", "1", *BUILD, addr=addr, cwd=work, timeout=15)
        assert 1 <= time.monotonic() - started < 5
    assert "deadline exceeded" in one_error(result)


class Slow(Script):
    """A build that takes longer than `--timeout`."""

    async def frontend(self, build: Build) -> None:
        await asyncio.sleep(1.5)


def test_timeout_does_not_bound_the_build(tmp_path: Path, work: Path) -> None:
    with serve(Slow(), tmp_path) as daemon:
        result = run("--timeout", "1", *BUILD, addr=daemon.addr, cwd=work)
    assert result.code == 0, result.stderr


class Logs(Script):
    """Tells a few lines."""

    async def frontend(self, build: Build) -> None:
        for number in range(50):
            build.log(f"line {number}")


def test_trace_file_on_a_full_disk(tmp_path: Path, work: Path) -> None:
    with serve(Logs(), tmp_path) as daemon:
        result = run(*BUILD, "--trace", "/dev/full", addr=daemon.addr, cwd=work, timeout=20)
    assert result.code == 0, result.stderr
    complaints = [line for line in result.stderr.splitlines() if "no space left on device" in line]
    assert len(complaints) == 1, result.stderr
    assert "level=error" in complaints[0]
    assert "/dev/full" in complaints[0]
    assert "line 49" in result.stderr


class Interruptible(Script):
    """A build that is under way until it is cancelled."""

    async def frontend(self, build: Build) -> None:
        build.daemon.reach()
        await asyncio.sleep(FOREVER)


async def test_cancelled_solve_leaves_no_task(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with serve(Interruptible(), tmp_path) as daemon:
        ctx, cancel = with_cancel(background())
        async with await client.new(background(), daemon.addr) as connection:
            status_channel: Chan[SolveStatus] = Chan(100)

            opt = SolveOpt(exports=[ExportEntry(type="local", output_dir=str(tmp_path / "out"))])
            building = asyncio.ensure_future(connection.build(ctx, opt, "test", frontend, status_channel))
            await asyncio.to_thread(daemon.wait_reached)
            cancel()
            with pytest.raises(BuildkitError, match="failed to solve: Canceled: context canceled"):
                await asyncio.wait_for(building, 3)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == []
    assert len(os.listdir("/proc/self/fd")) == before
