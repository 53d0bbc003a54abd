"""A display as a writer, and a second receiver beside a writer.

Mirrors util/progress/progresswriter/printer.go, v0.32.2.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from pybuildkit.util.progress.progressui import Display, DisplayMode, DisplayOpt, new_display
from pybuildkit.util.progress.progresswriter._channel import StatusChan, TeeChan
from pybuildkit.util.progress.progresswriter._writer import Derived, Writer

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.util.progress._sink import Output


class Printer:
    """A display that runs in a task of its own; `wait` waits for it.

    When showing fails, what is sent afterwards is dropped, so that nobody waits for ever.
    """

    def __init__(self, ctx: Context, display: Display) -> None:
        self._status = StatusChan()
        self._err: BaseException | None = None
        self._task = asyncio.get_running_loop().create_task(self._run(ctx, display), name="progress display")

    async def _run(self, ctx: Context, display: Display) -> None:
        try:
            await display.update_from(ctx, self._status)
        except Exception as err:  # noqa: BLE001  # whoever waits asks for it by err()
            self._err = err
        finally:
            self._status.abandon()

    def status(self) -> StatusChan:
        """Where to send the statuses."""
        return self._status

    def is_done(self) -> bool:
        """Whether the display has ended."""
        return self._task.done()

    def err(self) -> BaseException | None:
        """Why the display failed, once it is done."""
        return self._err

    async def wait(self) -> None:
        """Return when the display has ended."""
        await asyncio.wait({self._task})


def new_printer(ctx: Context, out: Output, mode: str, *opts: DisplayOpt) -> Writer:
    """A display on `out` as a writer; must be called on the event loop.

    Args:
        ctx: ends the display early. It is not the context of the build, whose last words the display prints.
        out: where to.
        mode: a `DisplayMode`; where it is "auto", the environment's BUILDKIT_PROGRESS decides if it is set.
        opts: options of `new_display`.

    Raises:
        ProgressModeError, WrappedError: as `new_display`.
    """
    if mode == DisplayMode.AUTO:
        mode = os.environ.get("BUILDKIT_PROGRESS") or mode
    return Printer(ctx, new_display(out, mode, *opts))


def tee(writer: Writer, channel: StatusChan) -> Writer:
    """A writer that sends to another one and to a channel, and closes both."""
    return Derived(writer, TeeChan(writer.status(), channel))
