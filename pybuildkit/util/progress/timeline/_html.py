"""A timeline as one page of HTML that loads nothing.

All that a trace says is text in it, escaped; the only script is the constant one below, which the page's policy
allows by its hash, so that nothing else in the page could ever run. Every step is a `<details>`: a click, Enter or
Space opens its log, also where scripts are off.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from pybuildkit.client._graph import VertexWarning
from pybuildkit.third_party.units import format_bytes
from pybuildkit.util.progress.progressui._clean import clean_log
from pybuildkit.util.progress.timeline._assets import SCRIPT, STYLE
from pybuildkit.util.progress.timeline._model import Timeline, TimelineStep
from pybuildkit.util.progress.timeline._scale import Scale, duration_text
from pybuildkit.util.progress.timeline._svg import clean_xml, state_of

_CONTEXT_LINES = 2
_MAX_SOURCE_LINES = 40


def render_html(timeline: Timeline, title: str = "Build timeline") -> str:
    """The page, as a whole document.

    Args:
        timeline: what to show.
        title: the page's title.
    """
    groups = timeline.groups()
    scale = Scale(timeline.start, timeline.end)
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    body = "".join([*_head(timeline, groups, title), *_chart(groups, scale), *_warnings(groups)])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{clean_xml(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>{body}<script>{SCRIPT}</script></body></html>\n"
    )


def _head(timeline: Timeline, groups: dict[str, list[TimelineStep]], title: str) -> Iterator[str]:
    steps = [step for group in groups.values() for step in group]
    states = [state_of(step) for step in steps]
    critical = sum(step.duration(timeline.end) for step in steps if step.is_critical)
    facts = [
        ("time", duration_text(timeline.end - timeline.start)),
        ("critical path", duration_text(critical)),
        ("steps", str(len(steps))),
        ("cached", str(states.count("cached"))),
        ("failed", str(states.count("failed"))),
        ("warnings", str(sum(len(step.warnings) for step in steps))),
    ]
    yield f"<header><h1>{clean_xml(title)}</h1><dl>"
    for name, value in facts:
        yield f"<div><dt>{name}</dt><dd>{clean_xml(value)}</dd></div>"
    yield (
        '</dl><form role="search"><label>Search <input id="search" type="search" placeholder="name or log (press /)">'
        '</label><label><input id="only-critical" type="checkbox"> critical path</label>'
        '<label><input id="only-failed" type="checkbox"> failed</label>'
        '<button id="open-all" type="button">open all</button><button id="close-all" type="button">close all</button>'
        '<output id="count" aria-live="polite"></output></form></header><main>'
    )


def _chart(groups: dict[str, list[TimelineStep]], scale: Scale) -> Iterator[str]:
    yield '<div class="axis" aria-hidden="true">'
    for percent, text in scale.ticks():
        yield f'<span style="left:{percent:.3f}%">{clean_xml(text)}</span>'
    yield "</div>"
    for group, steps in groups.items():
        yield f'<section class="group"><h2>{clean_xml(group)}</h2>'
        for step in steps:
            yield from _step(step, scale)
        yield "</section>"


def _step(step: TimelineStep, scale: Scale) -> Iterator[str]:
    state = state_of(step)
    critical = " critical" if step.is_critical else ""
    length = duration_text(step.duration(scale.end))
    size = f" · {format_bytes(step.size())}" if step.size() else ""
    label = "" if state == "done" else f'<b class="state">{state}</b> '
    mark = '<b class="path" title="on the critical path">★</b> ' if step.is_critical else ""
    yield f'<details class="step {state}{critical}" id="step-{step.number}"><summary><span class="name">'
    yield f'{mark}{label}{clean_xml(step.name)}</span><span class="bars">'
    for span in step.spans:
        left = scale.percent(span.start or 0)
        right = scale.percent(scale.end if span.stop is None else span.stop)
        yield f'<i class="bar" style="left:{left:.3f}%;width:{max(right - left, 0.15):.3f}%"></i>'
    yield f'</span><span class="time">{length}{size}</span></summary><div class="more">'
    yield from _details(step)
    yield "</div></details>"


def _details(step: TimelineStep) -> Iterator[str]:
    yield f'<p class="digest">#{step.number} {clean_xml(step.digest)}</p>'
    if step.error:
        yield f'<p class="error">{clean_xml(step.error)}</p>'
    parts = step.part_texts()
    if parts:
        yield f'<ul class="parts">{"".join(f"<li>{clean_xml(part)}</li>" for part in parts)}</ul>'
    for warning in step.warnings:
        yield from _warning(warning)
    log = step.log_text()
    if step.is_log_cut:
        yield '<p class="note">The beginning of the log is left out.</p>'
    yield f'<pre class="log" tabindex="0">{clean_xml(log)}</pre>' if log else '<p class="note">No output.</p>'


def _warnings(groups: dict[str, list[TimelineStep]]) -> Iterator[str]:
    steps = [step for group in groups.values() for step in group if step.warnings]
    if steps:
        yield '<section class="warnings"><h2>Warnings</h2>'
        for step in steps:
            yield f'<p><a href="#step-{step.number}">{clean_xml(step.name)}</a></p>'
            for warning in step.warnings:
                yield from _warning(warning)
        yield "</section>"
    yield "</main>"


def _warning(warning: VertexWarning) -> Iterator[str]:
    yield f'<div class="warning"><p><b>{clean_xml(_text(warning.short))}</b></p>'
    for detail in warning.detail:
        yield f"<p>{clean_xml(_text(detail))}</p>"
    if warning.url.startswith(("https://", "http://")):
        url = clean_xml(warning.url)
        yield f'<p><a href="{url}" rel="noopener noreferrer">{url}</a></p>'
    yield from _source(warning)
    yield "</div>"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _source(warning: VertexWarning) -> Iterator[str]:
    """The lines that a warning is about, marked, with some around them."""
    info = warning.source_info
    if info is None or not info.data:
        return
    lines = clean_log(info.data).decode("utf-8", "replace").split("\n")
    marked = {line for span in warning.range for line in _lines_of(span.start.line, span.end.line, len(lines))}
    shown = sorted(
        {near for line in marked for near in _lines_of(line - _CONTEXT_LINES, line + _CONTEXT_LINES, len(lines))}
    )
    if not shown:
        return
    yield f'<figure><figcaption>{clean_xml(info.filename)}</figcaption><pre class="source">'
    for number in shown[:_MAX_SOURCE_LINES]:
        mark = ("<mark>", "</mark>") if number in marked else ("", "")
        yield f"{number:5} {mark[0]}{clean_xml(lines[number - 1])}{mark[1]}\n"
    yield "</pre></figure>"


def _lines_of(first: int, last: int, count: int) -> range:
    """Line numbers within a file of `count` lines."""
    return range(max(first, 1), min(max(last, first), count) + 1)
