"""A line of the terminal's display.

Mirrors type job of util/progress/progressui/display.go, v0.32.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pybuildkit.util.progress.progressui._interval import Interval
    from pybuildkit.util.progress.progressui._trace import TraceVertex


@dataclass(slots=True, eq=False)
class Job:
    """A step, one of its status lines or one of its warnings.

    `intervals` are on the local clock; `vertex` is set for steps alone; `show_term` asks for the step's last log
    lines at the next drawing.
    """

    name: bytes
    intervals: list[Interval]
    is_completed: bool = False
    status: bytes = b""
    has_error: bool = False
    is_canceled: bool = False
    vertex: TraceVertex | None = None
    show_term: bool = False
