"""The chart of a timeline as an SVG picture; it holds no script and loads nothing. Not in BuildKit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from pybuildkit.util.progress.timeline._model import Timeline, TimelineStep
from pybuildkit.util.progress.timeline._scale import Scale, duration_text

_WIDTH = 1200
_LEFT = 420
_RIGHT = 90
_ROW = 22
_TOP = 84
_BOTTOM = 44
_MAX_NAME = 56
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LEGEND = ("done", "critical", "cached", "failed", "canceled", "running")

_STYLE = """
text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}.bg{fill:#fff}.axis{stroke:#eaeef2}
.title{font-size:17px;font-weight:600}.group{font-weight:600}.tick,.time,.note{fill:#59636e;font-size:11px}
.bar{fill:#4a90f2}.critical{fill:#e8590c}.cached{fill:#8c959f;fill-opacity:.55;stroke:#8c959f}.failed{fill:#cf222e}
.canceled{fill:#9a6700}.running{fill-opacity:.55;stroke:#4a90f2;stroke-dasharray:4 3}.band{fill:#f6f8fa}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bg{fill:#0d1117}.axis{stroke:#1c222b}
.tick,.time,.note{fill:#9198a1}.bar{fill:#3f7fd9}.critical{fill:#f0883e}.cached{fill:#6e7681;stroke:#6e7681}
.failed{fill:#f85149}.canceled{fill:#d29922}.running{stroke:#3f7fd9}.band{fill:#151b23}}
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


def bars_of(step: TimelineStep, scale: Scale) -> Iterator[tuple[float, float]]:
    """Where the bars of a step begin and how wide they are, in percent."""
    for span in step.spans:
        first = scale.percent(span.start or 0)
        yield first, scale.percent(scale.end if span.stop is None else span.stop) - first


def render_svg(timeline: Timeline, title: str = "Build timeline") -> str:
    """The picture, as a whole document.

    Args:
        timeline: what to show.
        title: what stands above it.
    """
    groups = timeline.groups()
    scale = Scale(timeline.start, timeline.end)
    rows = sum(len(steps) + 1 for steps in groups.values())
    height = _TOP + rows * _ROW + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" aria-label="{clean_xml(title)}"><style>{_STYLE}</style>'
        f'<rect class="bg" width="{_WIDTH}" height="{height}"/>'
        f'<text class="title" x="16" y="30">{clean_xml(title)}</text>'
        f'<text class="note" x="16" y="50">{clean_xml(_summary(timeline, groups))}</text>'
    ]
    y = _TOP
    for steps in groups.values():
        parts.append(f'<rect class="band" x="0" y="{y}" width="{_WIDTH}" height="{_ROW}"/>')
        y += (len(steps) + 1) * _ROW
    for percent, text in scale.ticks():
        x = _x(percent)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 14}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{x + 3:.1f}" y="{_TOP - 6}">{clean_xml(text)}</text>')
    parts += _rows(groups, scale)
    parts += _legend(height - 16)
    parts.append("</svg>\n")
    return "".join(parts)


def _summary(timeline: Timeline, groups: dict[str, list[TimelineStep]]) -> str:
    """How long it took, and how many steps ended how."""
    states = [state_of(step) for steps in groups.values() for step in steps]
    counts = [f"{states.count(state)} {state}" for state in ("cached", "failed", "canceled") if state in states]
    total = duration_text(timeline.end - timeline.start if states else 0)
    return ", ".join([total, f"{len(states)} step{'s' if len(states) != 1 else ''}", *counts])


def _rows(groups: dict[str, list[TimelineStep]], scale: Scale) -> Iterator[str]:
    y = _TOP
    for group, steps in groups.items():
        y += _ROW
        yield f'<text class="group" x="16" y="{y - 7}">{clean_xml(_cut(group))}</text>'
        for step in steps:
            y += _ROW
            yield _row(step, scale, y)


def _legend(y: int) -> Iterator[str]:
    x = 16
    for state in _LEGEND:
        name = {"critical": "on the critical path", "running": "not finished"}.get(state, state)
        yield f'<rect class="bar {state}" x="{x}" y="{y - 9}" width="20" height="10" rx="2"/>'
        yield f'<text class="note" x="{x + 26}" y="{y}">{name}</text>'
        x += 56 + 6 * len(name)


def _x(percent: float) -> float:
    return _LEFT + percent / 100 * (_WIDTH - _LEFT - _RIGHT)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 1] + "…"


def _row(step: TimelineStep, scale: Scale, y: int) -> str:
    state = state_of(step)
    css = "critical" if step.is_critical and state == "done" else state
    length = duration_text(step.duration(scale.end))
    parts = [f"<g><title>{clean_xml(f'{step.name} ({state}, {length})')}</title>"]
    mark = "◆ " if step.is_critical else ""
    parts.append(f'<text x="28" y="{y - 7}">{mark}{clean_xml(_cut(step.name))}</text>')
    right = float(_LEFT)
    for first, width in bars_of(step, scale):
        left, right = _x(first), _x(first + width)
        parts.append(
            f'<rect class="bar {css}" x="{left:.1f}" y="{y - 17}"'
            f' width="{max(right - left, 2):.1f}" height="12" rx="2"/>'
        )
    parts.append(f'<text class="time" x="{right + 6:.1f}" y="{y - 7}">{length}</text></g>')
    return "".join(parts)
