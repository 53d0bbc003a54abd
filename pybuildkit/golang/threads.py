"""Blocking calls of an asyncio program, each in a daemon thread of its own.

Has no counterpart in Go, which lets any goroutine block. Here a call that may stall (a file system, a credential
helper, an HTTP request) runs in a thread that nobody has to join: a context that ends frees the waiter at once, and a
call that never returns keeps neither the event loop nor the process from ending. `asyncio.to_thread` cannot give
that: its pool is joined at exit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pybuildkit.golang import context

if TYPE_CHECKING:
    import asyncio

    from pybuildkit.golang.context import Context

T = TypeVar("T")


async def call(ctx: Context, func: Callable[[], T], *, interrupt: Callable[[], None] | None = None) -> T:
    """Run `func` in a thread and give its result.

    Args:
        ctx: ends the wait.
        func: the blocking call, without arguments.
        interrupt: called in the loop's thread when the wait ends before `func` does, to make `func` end early.

    Raises:
        whatever `func` raises, or the context's cause when that ends first. Cancelling does the same as a context
        that ends: the thread goes on until `func` returns, and its result is dropped.
    """
    import asyncio
    import threading

    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = func()
        except BaseException as err:  # noqa: BLE001 - handed over to the waiter, whatever it is
            failure = err
        try:
            loop.call_soon_threadsafe(_settle, future, result, failure)
        except RuntimeError:
            pass  # the loop has been closed: nobody waits any more

    threading.Thread(target=work, name="pybuildkit-blocking", daemon=True).start()
    try:
        return await context.run(ctx, future)
    finally:
        if interrupt is not None and (not future.done() or future.cancelled()):
            interrupt()


def _settle(future: asyncio.Future[T], result: T | None, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it
    elif isinstance(failure, StopIteration):
        future.set_exception(RuntimeError("a blocking call raised StopIteration"))
    else:
        future.set_exception(failure)
