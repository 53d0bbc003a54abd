"""Showing and handing on the progress of solves. Mirrors util/progress, v0.32.2, as far as clients use it.

`progressui` has the displays, `progresswriter` what stands between a solve and a display, `timeline` the report of a
trace. The events here are for programs with a display of their own. Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pybuildkit.util.progress._events import (
        Event,
        EventSource,
        Step,
        StepAnnounced,
        StepCompleted,
        StepLog,
        StepProgress,
        StepStarted,
        StepWarning,
        events,
        watch,
    )
    from pybuildkit.util.progress._sink import FdOutput, Output

__all__ = [
    "Event",
    "EventSource",
    "FdOutput",
    "Output",
    "Step",
    "StepAnnounced",
    "StepCompleted",
    "StepLog",
    "StepProgress",
    "StepStarted",
    "StepWarning",
    "events",
    "watch",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = "_sink" if name in ("FdOutput", "Output") else "_events"
    return getattr(import_module(f"{__name__}.{module}"), name)
