"""An asyncio event loop whose clock is a number: sleeping costs nothing, and every run is the same.

    result = virtual_clock.run(scenario())

Time stands still while anything can run, and then jumps to the next timer. Where nothing can run and no timer is
set, the loop waits for what comes from outside (a descriptor, a thread that `run_in_executor` started); where
nothing can come either, it raises DeadlockError instead of hanging.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = 1_000.0
"""Where the clock starts, in seconds."""
_PATIENCE_SECONDS = 20.0


class DeadlockError(AssertionError):
    """Every task waits for another, for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    """Moves the loop's clock where another selector would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.outside = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; without anything, time passes."""
        if self.outside:
            return super().select(timeout)
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return self._wait_outside()
        self.now += max(timeout, 0)
        return []

    def _wait_outside(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait in real time, but not for ever, for a descriptor or a thread that the loop knows nothing of."""
        # The loop's own wake-up descriptor is always there; any other is something from outside.
        if len(self.get_map()) > 1 or threading.active_count() > 1:
            ready = super().select(_PATIENCE_SECONDS)
            if ready:
                return ready
        raise DeadlockError("nothing can run, and no timer is set")


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A loop on virtual time; `time()` gives seconds from START on."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The virtual time."""
        return self._jumping.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As in every loop; virtual time stands still meanwhile."""
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._jumping.outside += 1

        def ended(_: asyncio.Future[T]) -> None:
            self._jumping.outside -= 1

        future.add_done_callback(ended)
        return future


class Outcome:
    """What is left when a scenario has ended: the virtual seconds that it took, and the tasks that still ran."""

    def __init__(self, seconds: float, left_over: list[str]) -> None:
        self.seconds = seconds
        self.left_over = left_over


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on virtual time; what it gives.

    Raises:
        AssertionError: it left tasks behind, or every task waited for ever.
    """
    value, outcome = run_with_outcome(main)
    assert not outcome.left_over, f"tasks left behind: {outcome.left_over}"
    return value


def run_with_outcome(main: Coroutine[Any, Any, T]) -> tuple[T, Outcome]:
    """As `run`, but tasks left behind are told and not refused."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        loop = runner.get_loop()
        begin = loop.time()
        value = runner.run(main)
        left_over = sorted(task.get_name() for task in asyncio.all_tasks(loop))
        return value, Outcome(loop.time() - begin, left_over)
