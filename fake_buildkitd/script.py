"""Builds that follow a script instead of solving anything, for tests of clients.

A script is a list of steps that a build goes through, in order:

    Send(status)          tell this status to whoever listens
    Delay(seconds)        wait, on the event loop's clock
    Fail(error)           end the build with this error
    Call(function)        await `function(ctx, session)` with the build's session, such as to ask for files
    Hang()                wait until the client gives up
    EndStatus(error)      end the Status calls now, with an error or, without one, as if the build were over

At the end of its steps a build ends with the script's response. The gateway of such a build answers Ping, Solve and
Return with empty results at once. `Script.before` runs before every call to the daemon, by the method's name
("Solve", "LLBBridge.Solve", "Status", "Session", …), and may wait or raise. When the build has ended, each of its
Status calls goes through the steps of `Script.late`, of which it knows Send, Delay, Hang and EndStatus.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pybuildkit.api.services.control import control_pb2
from pybuildkit.client._graph import SolveStatus
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.session import Caller, Manager


@dataclass(frozen=True)
class Send:
    """Tell a status."""

    status: SolveStatus


@dataclass(frozen=True)
class Delay:
    """Wait for some seconds of the event loop's clock."""

    seconds: float


@dataclass(frozen=True)
class Fail:
    """End the build with an error."""

    error: BaseException


@dataclass(frozen=True)
class Call:
    """Do something with the client's session."""

    function: Callable[[Context, Caller], Awaitable[object]]


@dataclass(frozen=True)
class Hang:
    """Wait until the client gives up."""


@dataclass(frozen=True)
class EndStatus:
    """End the Status calls of the build."""

    error: BaseException | None = None


Step = Send | Delay | Fail | Call | Hang | EndStatus
Before = Callable[[str, Context], Awaitable[None]]


@dataclass(frozen=True)
class Script:
    """What a build does.

    Args:
        steps: in order.
        response: what the client is told at the end.
        before: called before every call of the daemon's services.
        late: what a Status call still does after the build's end; not after an `EndStatus` among the steps.
        session_seconds: how long the daemon keeps its end of a session open after the client's.
    """

    steps: Sequence[Step] = ()
    response: Mapping[str, str] = field(default_factory=dict)
    before: Before | None = None
    late: Sequence[Step] = ()
    session_seconds: float = 0.0


class ScriptedJob:
    """A build that follows a script; takes a Job's place.

    Args:
        ctx: ends the build.
        request: what the client asked for.
        script: what happens.
        manager: knows the sessions.
        clock: gives the time in nanoseconds.
    """

    def __init__(
        self,
        ctx: Context,
        request: control_pb2.SolveRequest,
        script: Script,
        manager: Manager,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.ctx, self._cancel = context.with_cancel(ctx)
        self.id = request.Ref
        self.request = request
        self.session_id = request.Session
        self.progress = ScriptedProgress(script.late)
        self.started = clock()
        self.completed: int | None = None
        self.error: BaseException | None = None
        self.metadata: dict[str, str] = {}
        self._clock = clock
        self._script = script
        self._manager = manager

    async def run(
        self, register: Callable[[ScriptedJob], None], begin: Callable[[], None] = lambda: None
    ) -> dict[str, str]:
        """Go through the steps; see `Job.run`.

        Raises:
            whatever a step says.
        """
        register(self)
        begin()
        try:
            for step in self._script.steps:
                await self._step(step)
            return dict(self._script.response)
        except BaseException as err:
            self.error = err
            raise
        finally:
            self.completed = self._clock()
            self.progress.finish()
            self._cancel()

    async def _step(self, step: Step) -> None:
        if isinstance(step, Send):
            self.progress.send(step.status)
            await asyncio.sleep(0)
        elif isinstance(step, Delay):
            await context.run(self.ctx, asyncio.sleep(step.seconds))
        elif isinstance(step, Fail):
            raise step.error
        elif isinstance(step, Call):
            caller = await self._manager.get(self.ctx, self.session_id)
            await step.function(self.ctx, caller)
        elif isinstance(step, EndStatus):
            self.progress.close(step.error)
        else:
            await self.ctx.done()
            self.ctx.raise_if_done()


class ScriptedProgress:
    """The statuses of a scripted build, exactly as they were given.

    Args:
        late: the steps of each reader after the build's end.
    """

    def __init__(self, late: Sequence[Step] = ()) -> None:
        self._late = late
        self._is_over = False
        self._statuses: list[SolveStatus] = []
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False
        self._error: BaseException | None = None

    def send(self, status: SolveStatus) -> None:
        """Tell a status."""
        self._statuses.append(status)
        self._wake()

    def close(self, error: BaseException | None) -> None:
        """No more statuses come; the first call counts."""
        if not self._closed:
            self._closed = True
            self._error = error
            self._wake()

    def finish(self) -> None:
        """The build is over."""
        if not self._closed:
            self._is_over = True
            self.close(None)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def read(self, ctx: Context, emit: Callable[[SolveStatus], Awaitable[None]]) -> None:
        """Give every status to `emit`, from the first on."""
        position = 0
        while True:
            while position < len(self._statuses):
                await emit(self._statuses[position])
                position += 1
            if self._closed:
                break
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await context.run(ctx, waiter)
            finally:
                self._waiters.discard(waiter)
        if self._error is not None:
            raise self._error

    async def follow(self, ctx: Context, emit: Callable[[SolveStatus], Awaitable[None]]) -> None:
        """As `read`, and then what is told after the build's end."""
        await self.read(ctx, emit)
        for step in self._late if self._is_over else ():
            if isinstance(step, Send):
                await emit(step.status)
            elif isinstance(step, Delay):
                await context.run(ctx, asyncio.sleep(step.seconds))
            elif isinstance(step, EndStatus):
                if step.error is not None:
                    raise step.error
                return
            elif isinstance(step, Hang):
                await ctx.done()
                ctx.raise_if_done()
            else:
                raise TypeError(f"{step} is nothing that a Status call can do")
