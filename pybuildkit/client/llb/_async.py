"""States that a function makes while the graph is marshalled.

`state.async_(f)` stands for what `f(ctx, state, constraints)` returns. The function runs once, when something first
needs to know, and its result (or its error) is kept. Everything else in the package is synchronous: code that meets
an unresolved state raises PendingError, which says which one; `drive` resolves it and starts the step again. Steps
keep what they have done, so nothing is done twice.

A function may be a coroutine function. Where none of them really waits, `run_sync` runs the whole without an event
loop.

Mirrors client/llb/async.go and the part of util/flightcontrol that it needs, v0.32.2. Differs: a function that
returns scratch gives scratch, where Go crashes; one that returns its own state is an error, where Go never ends.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from pybuildkit.client.llb._constraints import Constraints
from pybuildkit.client.llb._errors import LLBError, PendingError
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import is_error

if TYPE_CHECKING:
    import asyncio

    from pybuildkit.client.llb._state import State
    from pybuildkit.client.llb._vertex import Input, Output, Vertex

_T = TypeVar("_T")


class AsyncState:
    """The output of a state that is not known yet."""

    __slots__ = ("_error", "_make", "_previous", "_running", "_target", "_waiters")

    def __init__(
        self,
        make: Callable[[Context, State, Constraints], State | Awaitable[State]],
        previous: State,
    ) -> None:
        self._make = make
        self._previous = previous
        self._target: State | None = None
        self._error: Exception | None = None
        self._running = False
        self._waiters: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        return f"<async {self._target!r}>" if self._target is not None else "<async>"

    def target(self, constraints: Constraints) -> State:
        """The state that the function made.

        Raises:
            PendingError: it has not run yet.
        """
        if self._target is not None:
            return self._target
        if self._error is not None:
            raise self._error
        raise PendingError(self, constraints)

    def target_output(self, constraints: Constraints) -> Output | None:
        """The first output behind this and any further asynchronous states."""
        seen = {self}
        out = self.target(constraints).output()
        while isinstance(out, AsyncState):
            if out in seen:
                raise LLBError("asynchronous state is made of itself")
            seen.add(out)
            out = out.target(constraints).output()
        return out

    def vertex(self, constraints: Constraints) -> Vertex | None:
        """The op behind the state."""
        out = self.target_output(constraints)
        return None if out is None else out.vertex(constraints)

    def to_input(self, constraints: Constraints) -> Input | None:
        """The edge to what is behind the state."""
        out = self.target_output(constraints)
        return None if out is None else out.to_input(constraints)

    async def resolve(self, ctx: Context, constraints: Constraints) -> None:
        """Run the function unless it has run; one that is running is waited for.

        Its error is kept for `target`, except where it only says that the context ended: that is raised.
        """
        while self._target is None and self._error is None:
            if self._running:
                await self._wait()
            else:
                await self._run(ctx, constraints)

    async def _run(self, ctx: Context, constraints: Constraints) -> None:
        self._running = True
        try:
            made = self._make(ctx, self._previous, constraints)
            self._target = await made if inspect.isawaitable(made) else made
        except Exception as err:
            cause = ctx.cause()
            if cause is not None and is_error(err, cause):
                raise
            self._error = err
        finally:
            self._running = False
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    async def _wait(self) -> None:
        import asyncio

        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


async def drive(ctx: Context, step: Callable[[], _T]) -> _T:
    """Run `step` again and again, resolving what it meets in between, until it returns.

    Raises:
        BuildkitError: the cause of the context's end, when it has ended before a function would run.
    """
    while True:
        try:
            return step()
        except PendingError as pending:
            state, constraints = pending.state, pending.constraints
            if state is None or constraints is None:
                raise
        ctx.raise_if_done()
        await state.resolve(ctx, constraints)


def run_sync(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that never really waits, without an event loop.

    Raises:
        PendingError: it waits for something; await it in a running loop instead.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: _T = stop.value
        return result
    coroutine.close()
    raise PendingError
