"""A report of a trace: what ran when, what took long and what it said.

Not in BuildKit. `Timeline` reads statuses, `render_html` makes one page that needs nothing else, `render_svg` the
chart alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pybuildkit.util.progress.timeline._html import render_html
    from pybuildkit.util.progress.timeline._model import Timeline, TimelineStep
    from pybuildkit.util.progress.timeline._svg import render_svg

_EXPORTS = {"Timeline": "_model", "TimelineStep": "_model", "render_html": "_html", "render_svg": "_svg"}

__all__ = ["Timeline", "TimelineStep", "render_html", "render_svg"]


def __getattr__(name: str) -> object:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)
