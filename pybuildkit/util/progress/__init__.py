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

__all__ = [
    "Event",
    "EventSource",
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
    from pybuildkit.util.progress import _events

    return getattr(_events, name)
