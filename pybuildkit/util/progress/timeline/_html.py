"""A timeline as one page of HTML that loads nothing. Not in BuildKit.

All that a trace says is text in it, escaped; the only script is a constant one, which the page's policy allows by
its hash, so that nothing else in the page could ever run. Every step is a `<details>`: a click, Enter or Space opens
its log, also where scripts are off.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from itertools import accumulate

from pybuildkit.third_party.units import format_bytes
from pybuildkit.util.progress.progressui._interval import Interval, merge_intervals
from pybuildkit.util.progress.timeline._details import details_of, warning_of
from pybuildkit.util.progress.timeline._model import Timeline, TimelineStep
from pybuildkit.util.progress.timeline._scale import TICK_STEPS, Scale, duration_text
from pybuildkit.util.progress.timeline._script import SCRIPT
from pybuildkit.util.progress.timeline._style import STYLE
from pybuildkit.util.progress.timeline._svg import bars_of, clean_xml, state_of

_STAGE = re.compile(r"(\[[^\]]*\])\s+(\S.*)", re.DOTALL)
_ICONS = {"done": "✓", "cached": "⟲", "failed": "✗", "canceled": "⊘", "running": "…"}
_LONGEST = 10
_MAX_FAILURES = 20
_KEYS = (
    ("/", "search"),
    ("↑ ↓", "next step"),
    ("Enter", "open"),
    ("← →", "close, open"),
    ("+ −", "zoom"),
    ("[ ]", "move"),
    ("z", "zoom to the step"),
    ("0", "everything"),
)


def render_html(timeline: Timeline, title: str = "Build timeline") -> str:
    """The page, as a whole document.

    Args:
        timeline: what to show.
        title: the page's title.
    """
    groups = timeline.groups()
    steps = [step for group in groups.values() for step in group]
    scale = Scale(timeline.start, timeline.end)
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none';"
        " form-action 'none'"
    )
    body = "".join(
        [*_head(timeline, steps, title), *_top(steps, scale), *_chart(timeline, groups, scale), *_foot(steps)]
    )
    return (
        '<!doctype html>\n<html lang="en" style="--from:0;--zoom:1"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{clean_xml(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>{body}<script>{SCRIPT}</script></body></html>\n"
    )


def _head(timeline: Timeline, steps: list[TimelineStep], title: str) -> Iterator[str]:
    yield f"<header><h1>{clean_xml(title)}</h1>"
    if timeline.earlier_builds:
        yield f'<p class="note">The last build of {timeline.earlier_builds + 1} in this trace.</p>'
    yield '<dl class="facts">'
    for name, value, css in _facts(timeline, steps):
        yield f'<div class="{css}"><dt>{name}</dt><dd>{value}</dd></div>'
    yield "</dl>"
    failed = [step for step in steps if state_of(step) == "failed"]
    for step in failed[:_MAX_FAILURES]:
        yield (
            f'<div class="failure" role="alert"><p><a href="#step-{step.number}">{clean_xml(step.name)}</a></p>'
            f'<p class="error">{clean_xml(step.error)}</p></div>'
        )
    if len(steps) > _LONGEST:
        longest = sorted(steps, key=lambda step: -step.duration(timeline.end))[:_LONGEST]
        yield f'<details class="longest"><summary>The {_LONGEST} longest steps</summary><ol>'
        for step in longest:
            length = duration_text(step.duration(timeline.end))
            yield f'<li><b>{length}</b> <a href="#step-{step.number}">{clean_xml(step.name)}</a></li>'
        yield "</ol></details>"
    yield "</header>"


def _facts(timeline: Timeline, steps: list[TimelineStep]) -> Iterator[tuple[str, str, str]]:
    """What stands above everything else: a name, HTML and a class each."""
    states = [state_of(step) for step in steps]
    total = timeline.end - timeline.start
    critical = sum(step.duration(timeline.end) for step in steps if step.is_critical)
    yield "total time", duration_text(total if steps else 0), ""
    share = f" <small>{min(critical / total, 1):.0%}</small>"
    yield "critical path", duration_text(critical) + share, ""
    yield "steps", str(len(steps)), ""
    cached = states.count("cached")
    yield "cached", str(cached) + (f" <small>{cached / len(steps):.0%}</small>" if cached else ""), ""
    failed = states.count("failed")
    yield "failed", str(failed), "bad" if failed else ""
    warnings = sum(len(step.warnings) for step in steps)
    yield "warnings", f'<a href="#warnings">{warnings}</a>' if warnings else "0", "warned" if warnings else ""
    yield "moved", format_bytes(sum(step.size() for step in steps)), ""


def _top(steps: list[TimelineStep], scale: Scale) -> Iterator[str]:
    """What stays in sight: the controls, the overview and the axis."""
    states = [state_of(step) for step in steps]
    boxes = [
        ("only-critical", "critical path", sum(step.is_critical for step in steps)),
        ("only-failed", "failed", states.count("failed")),
        ("only-warned", "with warnings", sum(bool(step.warnings) for step in steps)),
        ("hide-cached", "without cached", states.count("cached")),
    ]
    yield (
        '<div class="top"><form role="search">'
        '<input id="search" type="search" aria-label="Search" placeholder="Search names and logs ( / )">'
    )
    for box, label, count in boxes:
        css = "chip" if count else "chip none"
        yield f'<label class="{css}"><input id="{box}" type="checkbox">{label}</label>'
    yield (
        '<button id="open-all" type="button">Open all</button><button id="close-all" type="button">Close all</button>'
        '<button id="fold" type="button">Fold groups</button>'
        '<button id="reset" type="button" hidden>Whole time</button><output id="count" aria-live="polite"></output>'
        "</form>"
    )
    points, most = _running_at_once(steps, scale)
    tick_steps = " ".join(map(str, TICK_STEPS))
    yield (
        f'<div class="row overview"><span class="label">at most {most} at once; drag to zoom</span>'
        f'<div class="strip" id="strip" data-length="{scale.length}" data-steps="{tick_steps}" aria-hidden="true">'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none"><path d="{points}"/></svg>'
        '<div class="brush" id="brush" hidden></div></div><span></span></div>'
    )
    yield '<div class="row axis-row" aria-hidden="true"><span></span><div class="axis" id="axis">'
    for percent, text in scale.ticks():
        yield f'<span class="tick" style="--s:{percent:.4f}">{clean_xml(text)}</span>'
    yield "</div><span></span></div></div>"


def _running_at_once(steps: list[TimelineStep], scale: Scale) -> tuple[str, int]:
    """How many steps run at each time, as the path of an area, and the most of them."""
    changes: dict[float, int] = {}
    for step in steps:
        for first, width in bars_of(step, scale):
            changes[first] = changes.get(first, 0) + 1
            changes[first + width] = changes.get(first + width, 0) - 1
    places = sorted(changes)
    counts = list(accumulate(changes[place] for place in places))
    most = max(counts, default=0)
    parts = ["M0 100"]
    for place, count in zip(places, counts, strict=True):
        parts.append(f"H{place:.3f}V{100 - 88 * count / max(most, 1):.2f}")
    return "".join([*parts, "V100Z"]), most


def _chart(timeline: Timeline, groups: dict[str, list[TimelineStep]], scale: Scale) -> Iterator[str]:
    yield (
        '<main><div class="chart" id="chart"><div class="row grid" aria-hidden="true"><span></span>'
        '<div class="lines" id="lines">'
    )
    for percent, _ in scale.ticks():
        yield f'<i style="--s:{percent:.4f}"></i>'
    yield "</div><span></span></div>"
    if not groups:
        yield '<p class="note">No step of this build has run.</p>'
    for group, steps in groups.items():
        spans = merge_intervals(span for step in steps for span in step.spans)
        length = sum(max(span.duration(scale.end), 0) for span in spans)
        count = f"{len(steps)} step" + ("s" if len(steps) != 1 else "")
        yield f'<details class="group" open><summary class="row"><span class="name">{clean_xml(group)}</span>'
        yield f'<span class="bars">{_bars(spans, scale)}</span>'
        yield f'<span class="time"><small>{count}</small>{duration_text(length)}</span></summary>'
        for step in steps:
            yield from _step(timeline, step, scale)
        yield "</details>"


def _bars(spans: list[Interval], scale: Scale) -> str:
    parts = []
    for span in spans:
        left = scale.percent(span.start or 0)
        width = scale.percent(scale.end if span.stop is None else span.stop) - left
        parts.append(f'<i class="bar" style="--s:{left:.5f};--w:{width:.5f}"></i>')
    return "".join(parts)


def _step(timeline: Timeline, step: TimelineStep, scale: Scale) -> Iterator[str]:
    state = state_of(step)
    css = f"step {state}{' critical' if step.is_critical else ''}{' warned' if step.warnings else ''}"
    yield f'<details class="{css}" id="step-{step.number}"><summary class="row">'
    yield f'<span class="name" title="{clean_xml(step.name)}">'
    yield f'<span class="icon" aria-hidden="true">{_ICONS[state]}</span><span class="sr">{state} </span>'
    match = _STAGE.fullmatch(step.name)
    if match is not None:
        yield f'<span class="stage">{clean_xml(match[1])}</span> '
    yield f'<span class="title">{clean_xml(match[2] if match is not None else step.name)}</span>'
    if step.is_critical:
        yield '<span class="path" title="on the critical path">◆<span class="sr"> on the critical path</span></span>'
    if step.warnings:
        yield '<span class="flag" title="has warnings">⚠<span class="sr"> has warnings</span></span>'
    yield f'</span><span class="bars">{_bars(step.spans, scale)}</span><span class="time">'
    if step.size():
        yield f"<small>{format_bytes(step.size())}</small>"
    yield f"{duration_text(step.duration(scale.end))}</span></summary>"
    for part, span, amount in step.parts():
        bar = _bars([span] if span.start is not None else [], scale)
        length = f"{max(span.duration(scale.end), 0) / 1e9:.2f}s" if span.stop is not None else ""
        yield f'<div class="row part"><span class="name"><span class="title">{clean_xml(part)}</span></span>'
        yield f'<span class="bars">{bar}</span><span class="time"><small>{amount}</small>{length}</span></div>'
    yield f'<div class="more">{"".join(details_of(timeline, step))}</div></details>'


def _foot(steps: list[TimelineStep]) -> Iterator[str]:
    names = {"done": "done", "critical": "on the critical path", "cached": "cached", "failed": "failed"}
    names |= {"canceled": "canceled", "running": "not finished"}
    yield '<ul class="legend" aria-label="Colours">'
    for css, name in names.items():
        yield f'<li class="{css}"><i class="bar"></i>{name}</li>'
    yield "</ul></div>"
    warned = [step for step in steps if step.warnings]
    if warned:
        yield '<section class="warnings" id="warnings"><h2>Warnings</h2>'
        for step in warned:
            for warning in step.warnings:
                yield from warning_of(warning, step)
        yield "</section>"
    yield '</main><footer class="legend">'
    for key, name in _KEYS:
        yield f"<span><kbd>{key}</kbd> {name}</span>"
    yield "</footer>"
