"""Contexts: cancellation with a cause, deadlines and values, handed down explicitly as the first argument.

Mirrors package context of Go 1.26. A context is not an asyncio task group and not a context variable: cancelling a
context interrupts nobody by itself, it tells everyone who looks. `run` is the one bridge between the two
worlds: it runs an awaitable until it ends or the context is done.

Rules:
- A context is done at most once, and its `err()` and `cause()` never change after that.
- Cancelling a parent cancels its children with the parent's cause; cancelling a child leaves the parent alone.
- Callbacks (`after_func`) run in the loop's thread, at the moment of cancellation, in the order of
  registration. Cancelling is not thread-safe: other threads go through `loop.call_soon_threadsafe`.

Differs from Go: a context needs no goroutine, so dropping one without cancelling it leaks nothing but its
timer; the functions of `after_func` run at once and not in a goroutine of their own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class CanceledError(BuildkitError):
    """The context was cancelled (Go's `context.Canceled`)."""

    def __str__(self) -> str:
        return "context canceled"


class DeadlineExceededError(BuildkitError):
    """The context's deadline passed (Go's `context.DeadlineExceeded`)."""

    def __str__(self) -> str:
        return "context deadline exceeded"


CancelFunc = Callable[[], None]
CancelCauseFunc = Callable[[BaseException | None], None]


class Context:
    """A node in the tree of contexts; made by the functions of this module."""

    __slots__ = ("_callbacks", "_cause", "_deadline", "_detach", "_err", "_key", "_parent", "_timer", "_value")

    def __init__(self, parent: Context | None) -> None:
        self._parent = parent
        self._key: object = None
        self._value: object = None
        self._err: BuildkitError | None = None
        self._cause: BaseException | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._deadline: float | None = parent._deadline if parent is not None else None
        self._detach: Callable[[], bool] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def err(self) -> BuildkitError | None:
        """None while the context lives, else CanceledError or DeadlineExceededError."""
        return self._err

    def cause(self) -> BaseException | None:
        """What `err` gives, or the error that cancelled the context where one was named."""
        return self._cause

    def deadline(self) -> float | None:
        """When the context ends by itself, in seconds of `time.monotonic()`'s clock (the loop's), or None."""
        return self._deadline

    def value(self, key: object) -> Any:
        """The value that the nearest `with_value` gave for the key, or None."""
        node: Context | None = self
        while node is not None:
            if node._key is not None and node._key == key:
                return node._value
            node = node._parent
        return None

    def is_done(self) -> bool:
        """Whether the context has ended."""
        return self._err is not None

    async def done(self) -> None:
        """Return when the context has ended; cancelling the wait leaves the context as it was."""
        if self._err is not None:
            return
        import asyncio

        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not waiter.done():
                waiter.set_result(None)

        stop = after_func(self, wake)
        try:
            await waiter
        finally:
            stop()

    def raise_if_done(self) -> None:
        """Raise the cause when the context has ended."""
        if self._cause is not None:
            raise self._cause

    def _cancel(self, err: BuildkitError, cause: BaseException | None) -> None:
        if self._err is not None:
            return
        self._err = err
        self._cause = cause if cause is not None else err
        if self._detach is not None:
            self._detach()
            self._detach = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        callbacks = list(self._callbacks.values())
        self._callbacks.clear()
        for callback in callbacks:
            callback()


class _Background(Context):
    __slots__ = ()


_BACKGROUND = _Background(None)


def background() -> Context:
    """The root: never cancelled, without deadline or values."""
    return _BACKGROUND


def _child(parent: Context) -> Context:
    """A cancellable node below `parent`, already done where the parent is."""
    node = Context(parent)

    def follow() -> None:
        err = parent.err()
        assert err is not None
        node._detach = None
        node._cancel(err, parent.cause())

    if parent.is_done():
        follow()
    else:
        node._detach = after_func(parent, follow)
    return node


def with_cancel_cause(parent: Context) -> tuple[Context, CancelCauseFunc]:
    """A context below `parent` and the function that ends it with a cause (None for a plain cancel)."""
    node = _child(parent)

    def cancel(cause: BaseException | None = None) -> None:
        node._cancel(CanceledError(), cause)

    return node, cancel


def with_cancel(parent: Context) -> tuple[Context, CancelFunc]:
    """A context below `parent` and the function that ends it."""
    node, cancel = with_cancel_cause(parent)
    return node, lambda: cancel(None)


def with_timeout_cause(parent: Context, seconds: float, cause: BaseException | None) -> tuple[Context, CancelFunc]:
    """A context that ends after `seconds` with `cause` (None: DeadlineExceededError itself).

    Needs a running asyncio loop for the timer. A parent's earlier deadline stays in force.
    """
    import asyncio

    node = _child(parent)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    if node._deadline is None or deadline < node._deadline:
        node._deadline = deadline
        if seconds <= 0:
            node._cancel(DeadlineExceededError(), cause)
        elif not node.is_done():
            node._timer = loop.call_at(deadline, lambda: node._cancel(DeadlineExceededError(), cause))
    return node, lambda: node._cancel(CanceledError(), None)


def with_timeout(parent: Context, seconds: float) -> tuple[Context, CancelFunc]:
    """A context that ends after `seconds` with DeadlineExceededError."""
    return with_timeout_cause(parent, seconds, None)


def with_value(parent: Context, key: object, value: object) -> Context:
    """A context that also carries `value` under `key`."""
    node = _child(parent)
    node._key = key
    node._value = value
    return node


def without_cancel(parent: Context) -> Context:
    """A context with the parent's values that does not end when the parent does, and has no deadline."""
    node = Context(parent)
    node._deadline = None
    return node


def after_func(ctx: Context, callback: Callable[[], None]) -> Callable[[], bool]:
    """Call `callback` once when the context ends (at once where it has ended).

    Returns:
        a function that takes the callback back; it gives True where the callback had not run and now never will.
    """
    if ctx.is_done():
        callback()
        return lambda: False
    if ctx is _BACKGROUND:
        return lambda: True
    key = id(callback)
    while key in ctx._callbacks:
        key += 1
    ctx._callbacks[key] = callback

    def stop() -> bool:
        return ctx._callbacks.pop(key, None) is not None

    return stop


def cause(ctx: Context) -> BaseException | None:
    """Why the context ended, or None while it lives."""
    return ctx.cause()


def remaining(ctx: Context) -> float | None:
    """Seconds until the context's deadline (not below 0), or None where it has none."""
    deadline = ctx.deadline()
    return None if deadline is None else max(0.0, deadline - _now())


def _now() -> float:
    """The running loop's time, which deadlines are made of; without a loop the clock that loops go by."""
    asyncio = sys.modules.get("asyncio")
    try:
        return time.monotonic() if asyncio is None else float(asyncio.get_running_loop().time())
    except RuntimeError:
        return time.monotonic()


async def run(ctx: Context, awaitable: Awaitable[T]) -> T:
    """Run an awaitable until it ends or the context is done; the latter cancels it and raises the cause.

    The awaitable has always ended when this returns. Where it ends with a result although the context is done,
    the result counts. Cancelling `run` itself cancels the awaitable.
    """
    import asyncio

    if ctx._cause is not None:
        if asyncio.iscoroutine(awaitable):
            awaitable.close()
        elif isinstance(awaitable, asyncio.Future):
            awaitable.cancel()
        raise ctx._cause
    if ctx is _BACKGROUND:
        return await awaitable
    task = asyncio.ensure_future(awaitable)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if not task.done():
            interrupted = True
            task.cancel()

    stop = after_func(ctx, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if interrupted and ctx._cause is not None and not (current is not None and current.cancelling()):
            raise ctx._cause from None
        raise
    finally:
        stop()
        if not task.done():
            task.cancel()
