"""Signals and lost readers while an event loop runs.

Mirrors util/appcontext, v0.32.2. Differs on purpose: SIGHUP counts as SIGTERM does; the second signal ends the process
at once, whatever the loop is doing, because the first has given the signals back to the system.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pybuildkit.cmd.buildctl.common._std import on_broken
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.util import bklog

_Handler = Callable[[int, FrameType | None], object]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def app_context() -> Iterator[Context]:
    """A context that ends with the first signal, or when the reader of a standard stream goes away.

    Needs a running event loop. In a thread that is not the main one signals are left alone.
    """
    loop = asyncio.get_running_loop()
    ctx, cancel = context.with_cancel(context.background())

    def cancel_soon() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(cancel)

    def handle(signum: int, frame: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        bklog.L.debug(f"got {signal.Signals(signum).name}, ending")
        cancel_soon()

    before = _install(handle)
    forget = on_broken(cancel_soon)
    try:
        yield ctx
    finally:
        forget()
        cancel()
        for number, handler in before.items():
            if signal.getsignal(number) == handle:
                signal.signal(number, handler)


def _install(handle: _Handler) -> dict[int, _Handler | int | None]:
    """Set the handler, except for a SIGHUP that is ignored (nohup); gives the handlers before."""
    before: dict[int, _Handler | int | None] = {}
    for number in _SIGNALS:
        current = signal.getsignal(number)
        if number == signal.SIGHUP and current is signal.SIG_IGN:
            continue
        try:
            signal.signal(number, handle)
        except ValueError:
            return {}
        before[number] = current
    return before
