"""The channels that statuses travel through.

Not in BuildKit, where a goroutine stands between every two channels. Here a channel that only changes or doubles
what it is given does so while it is sent, so that nothing can be left running, and a status is handed over once.

Such a channel is for sending alone: `send`, `try_send`, `push` and `close`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pybuildkit.client._graph import SolveStatus
from pybuildkit.golang.chan import Chan, ChanError, SendCase

CAPACITY = 128


class StatusChan(Chan[SolveStatus]):
    """A channel of statuses with room for some; its receiver may walk away."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        super().__init__(capacity)
        self._abandoned = False

    def try_send(self, value: SolveStatus) -> bool:
        """As `Chan.try_send`; after `abandon` the value is dropped."""
        return True if self._abandoned and not self.closed else super().try_send(value)

    async def send_many(self, values: Iterable[SolveStatus]) -> None:
        """As `Chan.send_many`; where there is room for one of the values, all that follow are taken with it."""
        batch = [*values]
        for index, value in enumerate(batch):
            if self.closed or self._abandoned or self._receivers or len(self._buffer) >= self._capacity:
                await self.send(value)
            else:
                self._buffer.extend(batch[index:])
                return

    def push(self, value: SolveStatus) -> None:
        """Send without waiting, over the capacity if need be; dropped where the channel is closed or abandoned."""
        if not self.closed and not self.try_send(value):
            self._buffer.append(value)

    def abandon(self) -> None:
        """Say that nobody receives any more: what is in the channel and what comes is dropped."""
        self._abandoned = True
        while (got := self.try_recv()) is not None and got[1]:
            continue


class MappedChan(StatusChan):
    """Changes what it is given, and sends it on.

    Args:
        target: where to.
        change: what to do with each status; it must not change its argument.
        on_close: called in place of the target's `close`.
    """

    def __init__(
        self,
        target: StatusChan,
        change: Callable[[SolveStatus], SolveStatus],
        on_close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(0)
        self._target = target
        self._change = change
        self._on_close = on_close or target.close

    async def send(self, value: SolveStatus) -> None:
        """As `Chan.send`, to the target."""
        self._raise_if_closed()
        await self._target.send(self._change(value))

    async def send_many(self, values: Iterable[SolveStatus]) -> None:
        """As `Chan.send_many`, to the target."""
        self._raise_if_closed()
        await self._target.send_many(map(self._change, values))

    def try_send(self, value: SolveStatus) -> bool:
        """As `Chan.try_send`, to the target."""
        self._raise_if_closed()
        return self._target.try_send(self._change(value))

    def push(self, value: SolveStatus) -> None:
        """As `StatusChan.push`, to the target."""
        if not self.closed:
            self._target.push(self._change(value))

    def send_case(self, value: SolveStatus) -> SendCase[SolveStatus]:
        """Sending to the target as a case of select."""
        self._raise_if_closed()
        return self._target.send_case(self._change(value))

    def close(self) -> None:
        """Close this end."""
        super().close()
        self._on_close()

    def _raise_if_closed(self) -> None:
        if self.closed:
            raise ChanError("send on closed channel")


class TeeChan(StatusChan):
    """Sends what it is given to two channels, and closes both; `try_send` always says that it would wait."""

    def __init__(self, first: StatusChan, second: StatusChan) -> None:
        super().__init__(0)
        self._first = first
        self._second = second

    async def send(self, value: SolveStatus) -> None:
        """As `Chan.send`, to the first and then to the second; cancelling may leave it sent to the first alone."""
        if self.closed:
            raise ChanError("send on closed channel")
        await self._first.send(value)
        await self._second.send(value)

    async def send_many(self, values: Iterable[SolveStatus]) -> None:
        """As `Chan.send_many`, to the first and then to the second; cancelling leaves what `send` may leave."""
        if self.closed:
            raise ChanError("send on closed channel")
        batch = [*values]
        await self._first.send_many(batch)
        await self._second.send_many(batch)

    def try_send(self, value: SolveStatus) -> bool:
        """False: whether both have room cannot be known."""
        if self.closed:
            raise ChanError("send on closed channel")
        return False

    def push(self, value: SolveStatus) -> None:
        """As `StatusChan.push`, to both."""
        if not self.closed:
            self._first.push(value)
            self._second.push(value)

    def send_case(self, value: SolveStatus) -> SendCase[SolveStatus]:
        """Not to be had: two channels make no single case."""
        raise ChanError("a tee cannot be a case of select")

    def close(self) -> None:
        """Close both ends."""
        super().close()
        self._first.close()
        self._second.close()
