"""What takes the statuses of a solve.

Mirrors util/progress/progresswriter/writer.go, v0.32.2; `Done` is `is_done` and `await wait()` here.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from pybuildkit.client._graph import SolveStatus, Vertex
from pybuildkit.golang.errors import error_text
from pybuildkit.util.progress.progresswriter._channel import StatusChan

if TYPE_CHECKING:
    from pybuildkit.util.progress.progresswriter._progress import Logger


class Writer(Protocol):
    """Takes statuses until its channel is closed."""

    def status(self) -> StatusChan:
        """Where to send the statuses; whoever sends closes it, once."""

    def is_done(self) -> bool:
        """Whether everything has been shown, or showing has failed."""

    def err(self) -> BaseException | None:
        """Why showing failed, once it is done."""

    async def wait(self) -> None:
        """Return when it is done, raising nothing; cancelling the wait leaves the writer as it was."""


class Derived:
    """A writer that hands on to another one through its own channel."""

    def __init__(self, writer: Writer, channel: StatusChan) -> None:
        self._writer = writer
        self._channel = channel

    def status(self) -> StatusChan:
        """Where to send the statuses."""
        return self._channel

    def is_done(self) -> bool:
        """Whether the other one is done."""
        return self._writer.is_done()

    def err(self) -> BaseException | None:
        """The other one's error."""
        return self._writer.err()

    async def wait(self) -> None:
        """Return when the other one is done."""
        await self._writer.wait()


def new_digest() -> str:
    """A digest that no other step has."""
    return "sha256:" + hashlib.sha256(os.urandom(16)).hexdigest()


async def write(writer: Writer, name: str, func: Callable[[], Awaitable[None]] | None = None) -> None:
    """Show something as a step of its own; an error of it becomes the step's, and is not raised.

    Args:
        name: the name of the step.
        func: what the step does.
    """
    vertex = Vertex(digest=new_digest(), name=name, started=time.time_ns())
    await writer.status().send(SolveStatus(vertexes=[vertex]))
    error = ""
    if func is not None:
        try:
            await func()
        except Exception as err:  # noqa: BLE001  # the step reports it
            error = error_text(err)
    ended = Vertex(vertex.digest, name=name, started=vertex.started, completed=time.time_ns(), error=error)
    await writer.status().send(SolveStatus(vertexes=[ended]))


def logger(writer: Writer) -> Logger:
    """A plain function that sends to the writer without waiting; it may be called from any thread.

    Call `logger` itself on the event loop.
    """
    loop = asyncio.get_running_loop()
    channel = writer.status()

    def log(status: SolveStatus) -> None:
        try:
            is_on_loop = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_on_loop = False
        if is_on_loop:
            channel.push(status)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(channel.push, status)

    return log
