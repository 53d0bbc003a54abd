"""The progress of a solve as events, for programs that show it in their own way.

Not in BuildKit. Statuses repeat whole steps; events say once what happened:

    channel = StatusChan()
    async for event in events(ctx, channel):      # while `client.solve(…, channel)` runs beside it
        match event:
            case StepStarted(step): ...

`EventSource.feed` is the same without a loop or a channel, and `watch` calls a function for each event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pybuildkit.client._graph import SolveStatus, Vertex, VertexStatus, VertexWarning

if TYPE_CHECKING:
    from pybuildkit.golang.chan import Chan
    from pybuildkit.golang.context import Context


@dataclass(slots=True, eq=False)
class Step:
    """A step of the build, as far as it is known; times are nanoseconds since the epoch.

    `number` counts steps from 1 in the order in which they were announced.
    """

    number: int
    digest: str
    name: str
    inputs: list[str] = field(default_factory=list)
    group: str = ""
    started: int | None = None
    completed: int | None = None
    cached: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class StepAnnounced:
    """A step is part of the build."""

    step: Step


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step runs, perhaps again."""

    step: Step


@dataclass(frozen=True, slots=True)
class StepCompleted:
    """A step has ended; `step.cached` and `step.error` say how. `duration` is nanoseconds, never below 0."""

    step: Step
    duration: int


@dataclass(frozen=True, slots=True)
class StepProgress:
    """A part of a step moved on; `current` and `total` are bytes, a total of 0 is unknown."""

    step: Step
    id: str
    current: int
    total: int
    is_completed: bool


@dataclass(frozen=True, slots=True)
class StepLog:
    """A piece of output, cut anywhere, as the program wrote it; clean it before you show it on a terminal."""

    step: Step
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StepWarning:
    """A warning of the frontend."""

    step: Step
    warning: VertexWarning


Event = StepAnnounced | StepStarted | StepCompleted | StepProgress | StepLog | StepWarning


class EventSource:
    """Turns statuses into events."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}

    def feed(self, status: SolveStatus) -> list[Event]:
        """The events that a status brings, in order; what belongs to an unknown step is dropped."""
        found: list[Event] = []
        for vertex in status.vertexes:
            self._feed_vertex(vertex, found)
        for item in status.statuses:
            step = self.steps.get(item.vertex)
            if step is not None:
                found.append(_progress(step, item))
        for warning in status.warnings:
            step = self.steps.get(warning.vertex)
            if step is not None:
                found.append(StepWarning(step, warning))
        for log in status.logs:
            step = self.steps.get(log.vertex)
            if step is not None:
                found.append(StepLog(step, log.stream, log.data))
        return found

    def _feed_vertex(self, vertex: Vertex, found: list[Event]) -> None:
        step = self.steps.get(vertex.digest)
        if step is None:
            step = Step(len(self.steps) + 1, vertex.digest, vertex.name)
            self.steps[vertex.digest] = step
            found.append(StepAnnounced(step))
        step.name = vertex.name
        step.inputs = vertex.inputs
        if vertex.progress_group is not None:
            step.group = vertex.progress_group.name
        if vertex.started is None:
            return
        is_new = vertex.started != step.started
        was_completed = step.completed is not None and not is_new
        step.started, step.completed = vertex.started, vertex.completed
        step.cached, step.error = vertex.cached, vertex.error
        if is_new:
            found.append(StepStarted(step))
        if vertex.completed is not None and not was_completed:
            found.append(StepCompleted(step, max(vertex.completed - vertex.started, 0)))


def _progress(step: Step, item: VertexStatus) -> StepProgress:
    return StepProgress(step, item.id, item.current, item.total, item.completed is not None)


async def events(ctx: Context, channel: Chan[SolveStatus]) -> AsyncIterator[Event]:
    """The events of a solve until its channel is closed.

    Raises:
        the context's cause: it ended first. Leaving the loop early leaves the channel open: whoever sends has to be
        cancelled, too.
    """
    from pybuildkit.golang import chan

    source = EventSource()
    while True:
        received = channel.recv_case()
        if await chan.select(received, chan.done(ctx)) is not received:
            ctx.raise_if_done()
        if not received.ok or received.value is None:
            return
        for event in source.feed(received.value):
            yield event


async def watch(ctx: Context, channel: Chan[SolveStatus], callback: Callable[[Event], None]) -> None:
    """Call a function for each event until the channel is closed; its errors are raised."""
    async for event in events(ctx, channel):
        callback(event)
