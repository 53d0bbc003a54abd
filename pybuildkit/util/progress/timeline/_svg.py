"""The chart of a timeline as an SVG picture; it holds no script and loads nothing."""

from __future__ import annotations

import re
from html import escape

from pybuildkit.util.progress.timeline._model import Timeline, TimelineStep
from pybuildkit.util.progress.timeline._scale import Scale, duration_text

_WIDTH = 1200
_LEFT = 420
_RIGHT = 80
_ROW = 20
_MAX_NAME = 60
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_STYLE = """
text{font:12px system-ui,sans-serif;fill:#1b1f24}.bg{fill:#fff}.axis{stroke:#d0d7de}.group{font-weight:600}
.tick,.time{fill:#59636e;font-size:11px}.bar{fill:#2f6feb}.cached{fill:#8c959f}.failed{fill:#cf222e}
.canceled{fill:#bf8700}.critical{stroke:#d4572a;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bg{fill:#0d1117}.axis{stroke:#30363d}.tick,.time{fill:#9198a1}
.bar{fill:#4493f8}.cached{fill:#6e7681}.failed{fill:#f85149}.canceled{fill:#d29922}.critical{stroke:#ffa657}}
"""


def clean_xml(text: str) -> str:
    """The text with what neither XML nor UTF-8 can hold replaced, and escaped."""
    return escape(_NO_XML.sub("\ufffd", text), quote=True)


def state_of(step: TimelineStep) -> str:
    """How a step ended: failed, canceled, cached, running or done."""
    if step.error:
        return "canceled" if step.is_canceled else "failed"
    if step.cached:
        return "cached"
    return "running" if step.spans and step.spans[-1].stop is None else "done"


def render_svg(timeline: Timeline) -> str:
    """The picture, as a whole document."""
    groups = timeline.groups()
    scale = Scale(timeline.start, timeline.end)
    rows = sum(len(steps) + 1 for steps in groups.values())
    height = (rows + 2) * _ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-label="Build timeline"><style>{_STYLE}</style><rect class="bg" width="{_WIDTH}" height="{height}"/>'
    ]
    for percent, text in scale.ticks():
        x = _x(percent)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_ROW}" y2="{height}"/>')
        parts.append(f'<text class="tick" x="{x + 2:.1f}" y="{_ROW - 6}">{clean_xml(text)}</text>')
    y = _ROW
    for group, steps in groups.items():
        y += _ROW
        parts.append(f'<text class="group" x="8" y="{y - 5}">{clean_xml(group)}</text>')
        for step in steps:
            y += _ROW
            parts.append(_row(step, scale, y))
    parts.append("</svg>\n")
    return "".join(parts)


def _x(percent: float) -> float:
    return _LEFT + percent / 100 * (_WIDTH - _LEFT - _RIGHT)


def _row(step: TimelineStep, scale: Scale, y: int) -> str:
    name = step.name if len(step.name) <= _MAX_NAME else step.name[: _MAX_NAME - 1] + "…"
    critical = " critical" if step.is_critical else ""
    length = duration_text(step.duration(scale.end))
    parts = [f"<g><title>{clean_xml(f'{step.name} ({state_of(step)}, {length})')}</title>"]
    parts.append(f'<text x="16" y="{y - 5}">{clean_xml(name)}</text>')
    right = float(_LEFT)
    for span in step.spans:
        left = _x(scale.percent(span.start or 0))
        right = _x(scale.percent(scale.end if span.stop is None else span.stop))
        parts.append(
            f'<rect class="bar {state_of(step)}{critical}" x="{left:.1f}" y="{y - 16}"'
            f' width="{max(right - left, 2):.1f}" height="12" rx="2"/>'
        )
    parts.append(f'<text class="time" x="{right + 6:.1f}" y="{y - 5}">{length}</text></g>')
    return "".join(parts)
