"""Handing statuses on: to a display, to several places, with prefixes or moved times.

Mirrors util/progress/progresswriter, v0.32.2. Names are loaded when they are first used.

    writer = new_printer(ctx, out, "auto")        a display; statuses go to writer.status()
    writer = tee(writer, trace.channel)           a trace or metrics beside it
    multi = MultiWriter(writer)                   several sources
    source = reset_time(multi.with_prefix("", False))

Every source closes its `status()` once; the display ends when all have, and `await writer.wait()` returns then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pybuildkit.util.progress.progresswriter._channel import StatusChan
    from pybuildkit.util.progress.progresswriter._multiwriter import MultiWriter
    from pybuildkit.util.progress.progresswriter._printer import new_printer, tee
    from pybuildkit.util.progress.progresswriter._progress import Logger, SubLogger, wrap
    from pybuildkit.util.progress.progresswriter._reset import TimeShift, reset_time
    from pybuildkit.util.progress.progresswriter._trace import TraceWriter
    from pybuildkit.util.progress.progresswriter._writer import Writer, logger, write

_EXPORTS = {
    "Logger": "_progress",
    "MultiWriter": "_multiwriter",
    "StatusChan": "_channel",
    "SubLogger": "_progress",
    "TimeShift": "_reset",
    "TraceWriter": "_trace",
    "Writer": "_writer",
    "logger": "_writer",
    "new_printer": "_printer",
    "reset_time": "_reset",
    "tee": "_printer",
    "wrap": "_progress",
    "write": "_writer",
}

__all__ = [
    "Logger",
    "MultiWriter",
    "StatusChan",
    "SubLogger",
    "TimeShift",
    "TraceWriter",
    "Writer",
    "logger",
    "new_printer",
    "reset_time",
    "tee",
    "wrap",
    "write",
]


def __getattr__(name: str) -> object:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)
