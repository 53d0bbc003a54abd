"""An asyncio event loop whose clock is a number: sleeping costs nothing, and every run is the same.

    result = virtual_clock.run(scenario())

Time stands still while anything can run, in the loop or in a thread that was started since, and then jumps to the
next timer. (A thread that is stuck for seconds is taken for a stalled disk: time passes all the same.) Where nothing
can run and no timer is set, the loop waits for what comes from outside (a descriptor, a thread); where nothing can
come either, it raises DeadlockError instead of hanging.
"""

from __future__ import annotations

import _thread
import asyncio
import selectors
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from concurrent.futures import thread as executor_threads
from types import FrameType
from typing import Any, TypeVar, TypeVarTuple, Unpack

from pybuildkit.third_party.fsutil._worker import Worker

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = 1_000.0
"""Where the clock starts, in seconds."""
_PATIENCE_SECONDS = 20.0
_STUCK_SECONDS = 5.0
_counting = threading.Lock()


class DeadlockError(AssertionError):
    """Every task waits for another, for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    """Moves the loop's clock where another selector would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.outside = 0
        self._strangers = set(sys._current_frames())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; without anything, time passes."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._others_work():
            ready = self._wait_for_threads()
            if ready or not self._others_work():
                return ready
        ready = super().select(0)  # a thread may have ended since, and have left something
        if ready:
            return ready
        if timeout is None:
            return self._wait_outside()
        self.now += timeout
        return []

    def _others_work(self) -> bool:
        """Whether a thread that was started since the loop was made has something to do."""
        if self.outside:
            return True
        if not _thread._count():
            return False
        here = threading.get_ident()
        return any(
            ident != here and ident not in self._strangers and not _is_idle(frame)
            for ident, frame in sys._current_frames().items()
        )

    def _wait_for_threads(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait in real time for what the threads give; one that is stuck is not waited for for ever."""
        end = time.monotonic() + _STUCK_SECONDS
        while time.monotonic() < end:
            ready = super().select(0.0005)
            if ready or not self._others_work():
                return ready
        return []

    def _wait_outside(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait in real time, but not for ever, for a descriptor or a thread that the loop knows nothing of."""
        # The loop's own wake-up descriptor is always there; any other is something from outside.
        if len(self.get_map()) > 1 or threading.active_count() > 1:
            ready = super().select(_PATIENCE_SECONDS)
            if ready:
                return ready
        raise DeadlockError("nothing can run, and no timer is set")


def _is_idle(frame: FrameType) -> bool:
    """Whether a thread with this innermost frame waits in a pool, or for the next call of a fsutil Worker."""
    if frame.f_code is executor_threads._worker.__code__:
        return True
    if frame.f_code is not Worker._run.__code__:
        return False
    own = frame.f_locals
    return own["self"]._calls.empty() and own.get("call") is None


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A loop on virtual time; `time()` gives seconds from START on."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        self._start_new_thread = _thread.start_new_thread
        # A thread of `threading` can be seen from its start on, a bare one only when it runs.
        _thread.start_new_thread = self._start_bare_thread  # type: ignore[assignment]  # as it is called in the project
        super().__init__(self._jumping)

    def time(self) -> float:
        """The virtual time."""
        return self._jumping.now

    def close(self) -> None:
        """As in every loop."""
        _thread.start_new_thread = self._start_new_thread
        super().close()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As in every loop; virtual time stands still meanwhile."""
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        with _counting:
            self._jumping.outside += 1

        def ended(_: asyncio.Future[T]) -> None:
            with _counting:
                self._jumping.outside -= 1

        future.add_done_callback(ended)
        return future

    def _start_bare_thread(self, function: Callable[[Unpack[Ts]], object], args: tuple[*Ts]) -> int:
        jumping = self._jumping
        with _counting:
            jumping.outside += 1

        def run() -> None:
            try:
                function(*args)
            finally:
                with _counting:
                    jumping.outside -= 1

        return self._start_new_thread(run, ())


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
