"""Groups of tasks that work on one thing: wait for all, and raise the first error.

Mirrors golang.org/x/sync/errgroup, v0.22.0.

Rules:
- `Group()` never cancels anything. `with_context(ctx)` gives a group and a derived context that is cancelled at
  the first error, with that error as its cause, or when `wait` returns, whichever comes first.
- The other functions are not interrupted by an error; they learn of it through the context alone.
- `wait` returns after all have ended, and raises the first error.
- A limit counts the functions that run: `go` waits for a slot, `try_go` gives up instead.

Differs from Go where asyncio adds something: cancelling the task that is in `wait` cancels the derived context
and the group's tasks, and `wait` still ends after them; a function that ends with `asyncio.CancelledError` of its
own counts as one that returned `context.CanceledError`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from pybuildkit.golang.context import CancelCauseFunc, CanceledError, Context, with_cancel_cause

Func = Callable[[], Awaitable[None]]


class Group:
    """Tasks of one piece of work; use it for that one piece only."""

    def __init__(self) -> None:
        self._cancel: CancelCauseFunc | None = None
        self._err: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._limit: int | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._promised = 0
        self._interrupted = False

    async def go(self, func: Func) -> None:
        """Start `func` in a task of the group, after waiting for a slot where the limit is reached.

        Cancelling the wait for a slot leaves `func` not started.
        """
        if not self._has_slot():
            await self._wait_for_slot()
        self._start(func)

    def try_go(self, func: Func) -> bool:
        """Start `func` unless the limit is reached; whether it was started."""
        if not self._has_slot():
            return False
        self._start(func)
        return True

    def set_limit(self, limit: int) -> None:
        """Let at most `limit` functions run at once; negative: any number, 0: none at all.

        Raises:
            RuntimeError: functions of the group are running.
        """
        if limit >= 0 and self._limit is not None and self._tasks:
            raise RuntimeError(
                f"errgroup: modify limit while {len(self._tasks)} goroutines in the group are still active"
            )
        self._limit = None if limit < 0 else limit
        self._wake()

    async def wait(self) -> None:
        """Return when every function has ended.

        Raises:
            the first error that a function raised. Cancelling the wait cancels the functions' tasks too, and it
            ends, with CancelledError, after all of them have.
        """
        cancelled: asyncio.CancelledError | None = None
        while self._tasks:
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError as err:
                cancelled = err
                self._interrupt()
        if self._cancel is not None:
            self._cancel(self._err)
        if cancelled is not None:
            raise cancelled
        if self._err is not None:
            raise self._err

    def _start(self, func: Func) -> None:
        task = asyncio.get_running_loop().create_task(self._run(func))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _run(self, func: Func) -> None:
        try:
            await func()
        except asyncio.CancelledError:
            if self._interrupted:
                raise
            self._fail(CanceledError())
        except Exception as err:  # noqa: BLE001 - the group owns the task and reports the error from wait
            self._fail(err)

    def _fail(self, err: BaseException) -> None:
        if self._err is not None:
            return
        self._err = err
        if self._cancel is not None:
            self._cancel(err)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Only KeyboardInterrupt and SystemExit get here; the loop has passed them on already.
            escaped = task.exception()
            if escaped is not None:
                self._fail(escaped)
        self._wake()

    def _interrupt(self) -> None:
        self._interrupted = True
        if self._cancel is not None:
            self._cancel(self._err)
        for task in self._tasks:
            task.cancel()

    def _has_slot(self) -> bool:
        return self._limit is None or len(self._tasks) + self._promised < self._limit

    async def _wait_for_slot(self) -> None:
        """Take a slot that `_wake` promised; the promise ends when this returns, without an await in between."""
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(ticket)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():
                self._promised -= 1
                self._wake()
            else:
                self._waiting.remove(ticket)
            raise
        self._promised -= 1

    def _wake(self) -> None:
        while self._waiting and self._has_slot():
            ticket = self._waiting.popleft()
            if not ticket.done():
                self._promised += 1
                ticket.set_result(None)


def with_context(ctx: Context) -> tuple[Group, Context]:
    """A group and a context below `ctx` that ends at the group's first error or when its `wait` returns."""
    derived, cancel = with_cancel_cause(ctx)
    group = Group()
    group._cancel = cancel
    return group, derived
