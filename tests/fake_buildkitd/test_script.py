"""Builds that follow a script."""

from __future__ import annotations

import asyncio
import time

import pytest

from fake_buildkitd import Daemon
from fake_buildkitd.script import Call, Delay, EndStatus, Fail, Hang, Script, Send, Step
from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from pybuildkit.client._solveopt import SolveOpt
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Code, RpcError
from pybuildkit.session import Caller
from tests import virtual_clock
from tests.fake_buildkitd.helpers import Built, connected, solve

STEP = Vertex(digest="sha256:" + "1" * 64, name="a step")
LOG = VertexLog(vertex=STEP.digest, stream=1, data=b"hello\n")
OPT = SolveOpt(frontend="anything")


async def play(script: Script) -> Built:
    """One build that follows the script."""
    async with Daemon(script=script) as daemon, connected(daemon) as client:
        return await solve(client, OPT)


async def test_statuses_and_response() -> None:
    steps = [Send(SolveStatus(vertexes=[STEP])), Send(SolveStatus(logs=[LOG]))]
    built = await play(Script(steps, response={"key": "value"}))
    assert built.error is None
    assert built.response is not None
    assert built.response.exporter_response == {"key": "value"}
    assert built.names() == ["a step"]
    assert [log.data for status in built.statuses for log in status.logs] == [b"hello\n"]


async def test_failure_after_statuses() -> None:
    error = RpcError(Code.INTERNAL, "it broke")
    built = await play(Script([Send(SolveStatus(vertexes=[STEP])), Fail(error), Send(SolveStatus(logs=[LOG]))]))
    assert str(built.error) == "failed to solve: Internal: it broke"
    assert built.names() == ["a step"]
    assert not any(status.logs for status in built.statuses)


def test_delays_pass_on_the_loop_s_clock() -> None:
    script = Script([Delay(3_600.0), Send(SolveStatus(vertexes=[STEP])), Delay(1_800.0)])
    began = time.monotonic()
    built, outcome = virtual_clock.run_with_outcome(play(script))
    assert built.error is None
    assert built.names() == ["a step"]
    assert 5_400 <= outcome.seconds < 5_430
    assert time.monotonic() - began < 20


async def test_hanging_build_is_cancelled() -> None:
    async with (
        Daemon(script=Script([Send(SolveStatus(vertexes=[STEP])), Hang()])) as daemon,
        connected(daemon) as client,
    ):
        build = asyncio.ensure_future(solve(client, OPT))
        await asyncio.sleep(0.05)
        assert not build.done()
        build.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(build, 5)


async def test_status_ends_before_the_build() -> None:
    steps: list[Step] = [Send(SolveStatus(vertexes=[STEP])), EndStatus(), Delay(0.01)]
    built = await play(Script(steps))
    assert built.error is None
    assert built.names() == ["a step"]


async def test_status_ends_with_an_error() -> None:
    error = RpcError(Code.UNAVAILABLE, "no more of it")
    built = await play(Script([Send(SolveStatus(vertexes=[STEP])), EndStatus(error), Delay(0.01)]))
    assert built.names() == ["a step"]
    assert "no more of it" in str(built.error)


def test_statuses_go_on_after_the_build() -> None:
    late: list[Step] = [Delay(2), Send(SolveStatus(logs=[LOG])), Hang()]
    script = Script([Send(SolveStatus(vertexes=[STEP]))], response={"key": "value"}, late=late)
    built, outcome = virtual_clock.run_with_outcome(play(script))
    assert built.response is not None
    assert built.names() == ["a step"]
    assert [log.data for status in built.statuses for log in status.logs] == [b"hello\n"]
    assert outcome.seconds == pytest.approx(5, abs=0.1), "a client waits so long for a Status call"


async def test_statuses_end_with_an_error_after_the_build() -> None:
    error = RpcError(Code.INTERNAL, "no more of it")
    built = await play(Script(late=[Send(SolveStatus(vertexes=[STEP])), EndStatus(error)]))
    assert built.names() == ["a step"]
    assert "no more of it" in str(built.error)


@pytest.mark.parametrize(("session_seconds", "waited"), [(0.0, 0.0), (1.5, 1.5), (60.0, 2.0)])
def test_session_that_the_daemon_keeps(session_seconds: float, waited: float) -> None:
    async def look(_: Context, caller: Caller) -> None:
        caller.shared_key()

    script = Script([Call(look), Delay(3)], session_seconds=session_seconds)
    built, outcome = virtual_clock.run_with_outcome(play(script))
    assert built.error is None
    assert outcome.seconds == pytest.approx(3 + waited, abs=0.1)


async def test_calls_get_the_session() -> None:
    seen: list[str] = []

    async def ask(_: Context, caller: Caller) -> None:
        seen.append(caller.shared_key())

    built = await play(Script([Call(ask)]))
    assert built.error is None
    assert len(seen) == 1


async def test_before_every_call() -> None:
    seen: list[str] = []

    async def before(method: str, _: Context) -> None:
        seen.append(method)
        if method == "Info":
            raise RpcError(Code.PERMISSION_DENIED, "not for you")

    async with Daemon(script=Script(before=before)) as daemon, connected(daemon) as client:
        assert (await solve(client, OPT)).error is None
        with pytest.raises(BuildkitError, match="not for you"):
            await client.info(context.background())
    assert {"Solve", "Status", "Session", "Info"} <= set(seen)


async def test_a_build_costs_little() -> None:
    steps = [Send(SolveStatus(vertexes=[STEP])), Send(SolveStatus(logs=[LOG]))]
    async with Daemon(script=Script(steps)) as daemon, connected(daemon) as client:
        for _ in range(3):
            await solve(client, OPT)
        costs = []
        for _ in range(20):
            began = time.process_time()
            await solve(client, OPT)
            costs.append(time.process_time() - began)
    assert min(costs) < 0.010
