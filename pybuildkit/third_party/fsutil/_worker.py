"""One thread for calls that may wait for a disk, so that the event loop never does.

Has no counterpart in Go, where any goroutine may wait.

A call is a batch of work (many files), which keeps the cost of the hand-over small. The thread is a daemon: a call
that never returns, in a file system that hangs, keeps neither the loop nor the process from ending.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from pybuildkit.golang.errors import BuildkitError

T = TypeVar("T")


class StoppedError(BuildkitError):
    """The work was given up while it was under way."""

    def __str__(self) -> str:
        return "file transfer stopped"


class Worker:
    """A thread that does one call after the other; needs a running loop.

    Attributes:
        stopping: set when the work is given up; long calls look at it between files.
    """

    def __init__(self, name: str) -> None:
        self.stopping = False
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread: threading.Thread | None = None
        self._name = name

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Do a call after those before it; its result or error is the future's."""
        future: asyncio.Future[T] = self._loop.create_future()

        def run() -> None:
            try:
                result = call()
            except BaseException as err:  # noqa: BLE001  # the future's owner gets it
                self._report(_set_error, future, err)
            else:
                self._report(_set_result, future, result)

        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._calls.put(run)
        return future

    async def close(self, patience: float = 0.8) -> None:
        """Let the thread end after the calls it has.

        Args:
            patience: seconds to wait for that; a call that takes longer is left behind.
        """
        if self._thread is None:
            return
        self._calls.put(None)
        await asyncio.wait([self._ended], timeout=patience)

    def check(self) -> None:
        """Raise StoppedError when the work is given up; for calls that take long."""
        if self.stopping:
            raise StoppedError

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call
        self._report(_set_result, self._ended, None)

    def _report(self, function: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more


def _set_result(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _set_error(future: asyncio.Future[T], err: BaseException) -> None:
    if not future.done():
        future.set_exception(err)
        future.exception()  # an owner that was cancelled does not look any more
