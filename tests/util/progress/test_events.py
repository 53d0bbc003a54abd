"""Statuses as events."""

from __future__ import annotations

import asyncio

import pytest

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning
from pybuildkit.golang import context
from pybuildkit.solver.pb.ops_pb2 import ProgressGroup
from pybuildkit.util.progress import (
    Event,
    EventSource,
    StepAnnounced,
    StepCompleted,
    StepLog,
    StepProgress,
    StepStarted,
    StepWarning,
    watch,
)
from pybuildkit.util.progress.progresswriter import StatusChan


def vertex(started: int | None = None, completed: int | None = None, error: str = "") -> SolveStatus:
    group = ProgressGroup(name="g")
    return SolveStatus([Vertex("d", ["i"], "name", started, completed, error=error, progress_group=group)])


def test_a_step_says_each_thing_once() -> None:
    source = EventSource()
    step = source.feed(vertex())[0].step
    assert (step.number, step.name, step.inputs, step.group) == (1, "name", ["i"], "g")
    table = [
        (vertex(), []),
        (vertex(10), [StepStarted(step)]),
        (vertex(10), []),
        (vertex(10, 30), [StepCompleted(step, 20)]),
        (vertex(10, 30), []),
        (vertex(40, 35, "bad"), [StepStarted(step), StepCompleted(step, 0)]),
        (vertex(50), [StepStarted(step)]),
    ]
    for number, (status, expected) in enumerate(table):
        assert source.feed(status) == expected, number
    assert (step.started, step.completed, step.error) == (50, None, "")


def test_parts_logs_and_warnings_of_known_steps() -> None:
    source = EventSource()
    warning = VertexWarning("d", short=b"w")
    status = vertex(1)
    status.statuses = [VertexStatus("id", "d", total=9, current=4, completed=3), VertexStatus("id", "unknown")]
    status.logs = [VertexLog("d", 2, b"x"), VertexLog("unknown", 1, b"y")]
    status.warnings = [warning, VertexWarning("unknown")]
    announced, started, *rest = source.feed(status)
    step = announced.step
    assert (announced, started) == (StepAnnounced(step), StepStarted(step))
    assert rest == [StepProgress(step, "id", 4, 9, True), StepWarning(step, warning), StepLog(step, 2, b"x")]


async def test_watch_until_the_channel_is_closed() -> None:
    channel = StatusChan()
    await channel.send(vertex(1))
    await channel.send(vertex(1, 2))
    channel.close()
    seen: list[Event] = []
    await watch(context.background(), channel, seen.append)
    assert [type(event) for event in seen] == [StepAnnounced, StepStarted, StepCompleted]


async def test_the_context_ends_the_iteration() -> None:
    ctx, cancel = context.with_cancel(context.background())
    channel = StatusChan()
    await channel.send(vertex())
    asyncio.get_running_loop().call_soon(cancel)
    seen: list[Event] = []
    with pytest.raises(context.CanceledError):
        await watch(ctx, channel, seen.append)
    assert [type(event) for event in seen] == [StepAnnounced]
