"""What the two ends of a call have in common, for asyncio: messages out under back-pressure, messages in.

Not a port.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Generic, TypeVar

from pybuildkit.rpc._events import DataReceived
from pybuildkit.rpc._grpc import Deframer, frame_messages
from pybuildkit.rpc._link import Link
from pybuildkit.rpc._types import Payload

In = TypeVar("In", covariant=True)
Out = TypeVar("Out", contravariant=True)

_BATCH_SIZE = 1 << 20


class MessageStream(Generic[In, Out]):
    """The messages of one call.

    Tasks may receive and send at the same time; of several that receive, each message goes to one.
    """

    def __init__(
        self, link: Link, deframer: Deframer, encode: Callable[[Out], Payload], decode: Callable[[bytes], In]
    ) -> None:
        self._link = link
        self._stream_id = 0
        self._deframer = deframer
        self._encode = encode
        self._decode = decode
        self._receivers: list[asyncio.Future[None]] = []
        self._early = 0
        self._held = 0

    # What an end says about its state.

    def _raise_if_over(self) -> bool:
        """Whether no more messages come; raises where the call ended with an error."""
        raise NotImplementedError

    def _raise_if_unsendable(self) -> None:
        """Raise where a message can no longer be sent."""
        raise NotImplementedError

    # Receiving.

    async def recv(self) -> In | None:
        """The next message; None when the other end has sent its last.

        Raises:
            RpcError: when the call ended otherwise. Cancelling loses no message.
        """
        if not self._deframer.messages:
            await self._wait_message()
            if not self._deframer.messages:
                return None
        return self._decode(self._take())

    async def recv_many(self) -> list[In]:
        """All messages that have arrived (of 1 MiB together, or one), at least one; [] after the last.

        Raises:
            RpcError: when the call ended otherwise. Cancelling loses no message.
        """
        messages = self._deframer.messages
        if not messages:
            await self._wait_message()
        taken: list[In] = []
        size, decode = 0, self._decode
        try:
            while messages and size < _BATCH_SIZE:
                message = messages.popleft()
                size += len(message) + 5
                taken.append(decode(message))
        finally:
            if not messages:
                self._deframer.unpack()
            if size:
                self._credit(size - self._early)
                self._early = 0
        return taken

    async def __aiter__(self) -> AsyncIterator[In]:
        while (message := await self.recv()) is not None:
            yield message

    def _take(self) -> bytes:
        message = self._deframer.messages.popleft()
        if not self._deframer.messages:
            self._deframer.unpack()
        self._credit(len(message) + 5 - self._early)
        self._early = 0
        return message

    def _credit(self, size: int) -> None:
        size = min(size, self._held)
        self._held -= size
        self._link.consumed(self._stream_id, size)

    def _credit_all(self) -> None:
        """Give back the window of everything that was received; what is unread stays readable."""
        self._credit(self._held)

    async def _wait_message(self) -> None:
        while not self._deframer.messages and not self._raise_if_over():
            await self._wait_news()

    async def _wait_news(self) -> None:
        """Wait until something has come."""
        self._credit_partial()
        receiver: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receivers.append(receiver)
        try:
            await receiver
        finally:
            self._receivers.remove(receiver)

    def _credit_partial(self) -> None:
        """A message that is awaited may be larger than the window: what there is of it is given back early."""
        more = self._deframer.partial - self._early
        if more > 0:
            self._early += more
            self._credit(more)

    def _feed(self, event: DataReceived) -> None:
        """Take received bytes; raises RpcError where they are no legal messages."""
        self._held += event.size
        self._deframer.feed(event.pieces)
        if self._deframer.messages:
            self._wake_receiver()
        elif self._receivers:
            self._credit_partial()

    def _wake_receiver(self) -> None:
        for receiver in self._receivers:
            if not receiver.done():
                receiver.set_result(None)

    # Sending.

    async def send(self, message: Out) -> None:
        """Send one message; returns once it is queued and the queue is short enough.

        Raises:
            RpcError: when the call is over; StreamEndedError when it ended with OK. Cancelling leaves the message
                queued: it is still sent.
        """
        await self.send_many((message,))

    async def send_many(self, messages: Sequence[Out]) -> None:
        """Send several messages in one write; otherwise as `send`."""
        self._raise_if_unsendable()
        chunks, size = frame_messages(map(self._encode, messages))
        self._before_send()
        if self._link.send_data(self._stream_id, chunks, size):
            await self._link.drained(self._stream_id)
            self._raise_if_unsendable()

    def _before_send(self) -> None:
        """Called before the first message is queued."""
