"""Channels: values handed from task to task, in order, with a bounded buffer, a close, and select.

Mirrors Go's built-in channels and select statement (Go 1.26).

Rules:
- Capacity 0 is a rendezvous: `send` returns when a receiver has taken the value. Otherwise `send` returns once
  the value is in the buffer. Waiting senders and receivers are served in the order they came.
- After `close` the values that were sent still arrive, then `recv` gives `(None, False)` for ever.
- Cancelling a `recv` (or a `select`) never loses a value: one that was on its way goes back to the front.
- Cancelling a `send` takes the value back, unless it has been handed over already.

Differs from Go: where several cases of a select are ready, the first in the order of arguments is chosen, not a
random one; sending on a closed channel and closing it twice raise `ChanError` (Go panics). Not thread-safe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic, TypeVar, cast

from pybuildkit.golang.context import Context, after_func
from pybuildkit.golang.errors import BuildkitError

T = TypeVar("T")


class ChanError(BuildkitError):
    """A misuse of a channel: send after close, or close after close."""


class Case:
    """One case of a select; made by `Chan.recv_case`, `Chan.send_case` and `done`."""

    def _try(self) -> bool:
        """Take the case now if it is ready; whether it was."""
        raise NotImplementedError

    def _enlist(self, waiter: _Waiter) -> None:
        """Have `waiter` fired when the case becomes ready."""
        raise NotImplementedError

    def _withdraw(self, waiter: _Waiter) -> None:
        """Undo `_enlist`, whether or not the waiter was fired."""
        raise NotImplementedError

    def _undo(self) -> None:
        """Give back what a fired case took, since the select was cancelled before it could report it."""


class _Waiter:
    """A task blocked in one or more cases; the first to fire wins and says which case it was."""

    __slots__ = ("error", "future")

    def __init__(self) -> None:
        self.future: asyncio.Future[Case] = asyncio.get_running_loop().create_future()
        self.error: ChanError | None = None

    def fire(self, case: Case, error: ChanError | None = None) -> None:
        self.error = error
        self.future.set_result(case)

    def is_live(self) -> bool:
        return not self.future.done()


class RecvCase(Case, Generic[T]):
    """Receiving from a channel; `value` and `ok` hold the result once select has returned this case."""

    def __init__(self, chan: Chan[T]) -> None:
        self._chan = chan
        self.value: T | None = None
        self.ok = False

    def _fill(self, value: T | None, ok: bool) -> None:
        self.value = value
        self.ok = ok

    def _try(self) -> bool:
        got = self._chan._take()
        if got is None:
            return False
        self._fill(*got)
        return True

    def _enlist(self, waiter: _Waiter) -> None:
        self._chan._receivers.append((waiter, self))

    def _withdraw(self, waiter: _Waiter) -> None:
        _remove(self._chan._receivers, waiter, self)

    def _undo(self) -> None:
        if self.ok:
            self._chan._give_back(cast(T, self.value))
            self._fill(None, False)


class SendCase(Case, Generic[T]):
    """Sending a value to a channel."""

    def __init__(self, chan: Chan[T], value: T) -> None:
        self._chan = chan
        self.value = value

    def _try(self) -> bool:
        return self._chan.try_send(self.value)

    def _enlist(self, waiter: _Waiter) -> None:
        self._chan._senders.append((waiter, self))

    def _withdraw(self, waiter: _Waiter) -> None:
        _remove(self._chan._senders, waiter, self)


class DoneCase(Case):
    """The end of a context."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._stop: Callable[[], bool] | None = None

    def _try(self) -> bool:
        return self._ctx.is_done()

    def _enlist(self, waiter: _Waiter) -> None:
        def wake() -> None:
            if waiter.is_live():
                waiter.fire(self)

        self._stop = after_func(self._ctx, wake)

    def _withdraw(self, waiter: _Waiter) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None


_C = TypeVar("_C")


def _remove(queue: deque[tuple[_Waiter, _C]], waiter: _Waiter, case: _C) -> None:
    for index, (queued, of) in enumerate(queue):
        if queued is waiter and of is case:
            del queue[index]
            return


def _next_live(queue: deque[tuple[_Waiter, _C]]) -> tuple[_Waiter, _C] | None:
    """Take the first entry whose task still waits; entries of selects that were served elsewhere are dropped."""
    while queue:
        waiter, case = queue.popleft()
        if waiter.is_live():
            return waiter, case
    return None


class Chan(Generic[T]):
    """A channel of `capacity` values; see the module's rules."""

    def __init__(self, capacity: int = 0) -> None:
        if capacity < 0:
            raise ValueError("makechan: size out of range")
        self._capacity = capacity
        self._buffer: deque[T] = deque()
        self._receivers: deque[tuple[_Waiter, RecvCase[T]]] = deque()
        self._senders: deque[tuple[_Waiter, SendCase[T]]] = deque()
        self._closed = False

    def __len__(self) -> int:
        """How many values lie in the buffer."""
        return len(self._buffer)

    def __bool__(self) -> bool:
        return True

    @property
    def capacity(self) -> int:
        """How many values the buffer holds."""
        return self._capacity

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def send(self, value: T) -> None:
        """Hand a value over, waiting for a receiver or for room in the buffer.

        Raises:
            ChanError: the channel is closed, or gets closed while this waits.
        """
        if not self.try_send(value):
            await select(SendCase(self, value))

    async def send_many(self, values: Iterable[T]) -> None:
        """Send several values, in order; raises as `send`. Cancelling may leave the first ones sent."""
        for value in values:
            if not self.try_send(value):
                await self.send(value)

    async def recv(self) -> tuple[T | None, bool]:
        """The next value and True, or `(None, False)` once the channel is closed and empty."""
        got = self._take()
        if got is not None:
            return got
        case = RecvCase(self)
        await select(case)
        return case.value, case.ok

    def try_send(self, value: T) -> bool:
        """Hand a value over if that needs no waiting; whether it was.

        Raises:
            ChanError: the channel is closed.
        """
        if self._closed:
            raise ChanError("send on closed channel")
        entry = _next_live(self._receivers)
        if entry is not None:
            waiter, case = entry
            case._fill(value, True)
            waiter.fire(case)
            return True
        if len(self._buffer) < self._capacity:
            self._buffer.append(value)
            return True
        return False

    def try_recv(self) -> tuple[T | None, bool] | None:
        """What `recv` would give at once, or None where it would wait."""
        return self._take()

    def take_all(self) -> list[T]:
        """The values in the buffer, all at once; [] where it is empty."""
        taken = [*self._buffer]
        if taken:
            self._buffer.clear()
            self._refill()
        return taken

    def close(self) -> None:
        """Say that no more values come; waiting receivers are told, waiting senders get a ChanError.

        Raises:
            ChanError: the channel is closed already.
        """
        if self._closed:
            raise ChanError("close of closed channel")
        self._closed = True
        while (receiver := _next_live(self._receivers)) is not None:
            receiver[1]._fill(None, False)
            receiver[0].fire(receiver[1])
        while (sender := _next_live(self._senders)) is not None:
            sender[0].fire(sender[1], ChanError("send on closed channel"))

    def recv_case(self) -> RecvCase[T]:
        """Receiving as a case of `select`."""
        return RecvCase(self)

    def send_case(self, value: T) -> SendCase[T]:
        """Sending `value` as a case of `select`."""
        return SendCase(self, value)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        value, ok = await self.recv()
        if not ok:
            raise StopAsyncIteration
        return cast(T, value)

    def _take(self) -> tuple[T | None, bool] | None:
        if self._buffer:
            value = self._buffer.popleft()
            self._refill()
            return value, True
        sender = _next_live(self._senders)
        if sender is not None:
            sender[0].fire(sender[1])
            return sender[1].value, True
        return (None, False) if self._closed else None

    def _refill(self) -> None:
        while len(self._buffer) < self._capacity:
            sender = _next_live(self._senders)
            if sender is None:
                return
            self._buffer.append(sender[1].value)
            sender[0].fire(sender[1])

    def _give_back(self, value: T) -> None:
        """Put a value in front of all others, in the hands of a waiting receiver or over the buffer's capacity."""
        receiver = _next_live(self._receivers)
        if receiver is not None:
            receiver[1]._fill(value, True)
            receiver[0].fire(receiver[1])
        else:
            self._buffer.appendleft(value)


def done(ctx: Context) -> DoneCase:
    """The end of a context as a case of `select`."""
    return DoneCase(ctx)


def select_now(*cases: Case) -> Case | None:
    """The first case that is ready, taken; None where none is (Go's select with a default)."""
    for case in cases:
        if case._try():
            return case
    return None


async def select(*cases: Case) -> Case:
    """Wait until one case is ready and take it, that one alone; the chosen case is returned.

        got = jobs.recv_case()
        if await select(got, chan.done(ctx)) is got and got.ok: work(got.value)

    Raises:
        ChanError: a send case's channel is closed, or gets closed. Cancelling leaves every channel as if the
        select had never been, except that a value already handed to a receiver stays handed over.
    """
    ready = select_now(*cases)
    if ready is not None:
        return ready
    waiter = _Waiter()
    for case in cases:
        case._enlist(waiter)
    try:
        chosen = await waiter.future
    except asyncio.CancelledError:
        if waiter.future.done() and not waiter.future.cancelled():
            waiter.future.result()._undo()
        raise
    finally:
        for case in cases:
            case._withdraw(waiter)
    if waiter.error is not None:
        raise waiter.error
    return chosen
