"""What a step of the timeline's page shows once it is opened: facts, inputs, warnings and its log. Not in BuildKit."""

from __future__ import annotations

from collections.abc import Iterator

from pybuildkit.client._graph import VertexWarning
from pybuildkit.util.progress.progressui._clean import clean_log, clean_name
from pybuildkit.util.progress.timeline._ansi import render_log
from pybuildkit.util.progress.timeline._model import MAX_PARTS, Timeline, TimelineStep
from pybuildkit.util.progress.timeline._scale import duration_text
from pybuildkit.util.progress.timeline._svg import clean_xml

_CONTEXT_LINES = 2
_MAX_SOURCE_LINES = 40
_MAX_INPUTS = 20


def details_of(timeline: Timeline, step: TimelineStep) -> Iterator[str]:
    """The inside of a step."""
    began = max(min(step.intervals) - timeline.start, 0)
    yield f'<p class="facts2"><span>#{step.number}</span><span>began at {duration_text(began)}</span>'
    if step.spans and step.spans[-1].stop is None:
        yield "<span>its end is not in the trace</span>"
    yield f"<span>{clean_xml(step.digest)}</span></p>"
    inputs = [timeline.steps[digest] for digest in dict.fromkeys(step.inputs) if digest in timeline.steps]
    if inputs:
        yield '<p class="facts2">needs '
        yield ", ".join(_link(each) for each in inputs[:_MAX_INPUTS])
        yield f" and {len(inputs) - _MAX_INPUTS} more</p>" if len(inputs) > _MAX_INPUTS else "</p>"
    if step.error:
        yield f'<p class="error">{clean_xml(step.error)}</p>'
    if len(step.statuses) > MAX_PARTS:
        yield f'<p class="note">{len(step.statuses) - MAX_PARTS} more parts are left out.</p>'
    for warning in step.warnings:
        yield from warning_of(warning)
    if step.is_log_cut:
        yield '<p class="note">The beginning of the log is left out.</p>'
    log = step.colored_log()
    yield f'<pre class="log" tabindex="0">{render_log(log)}</pre>' if log else '<p class="note">No output.</p>'


def _link(step: TimelineStep) -> str:
    name = clean_xml(step.name)
    return f'<a href="#step-{step.number}">{name}</a>' if step.intervals else name


def warning_of(warning: VertexWarning, step: TimelineStep | None = None) -> Iterator[str]:
    """A warning with its source; with the step that it is about, where one is given."""
    yield f'<div class="warning"><p><b>{clean_xml(_text(warning.short))}</b></p>'
    for detail in warning.detail:
        yield f"<p>{clean_xml(_text(detail))}</p>"
    if warning.url.startswith(("https://", "http://")):
        url = clean_xml(warning.url)
        yield f'<p><a href="{url}" rel="noopener noreferrer">{url}</a></p>'
    if step is not None:
        yield f'<p class="note">in {_link(step)}</p>'
    yield from _source(warning)
    yield "</div>"


def _text(data: bytes) -> str:
    return clean_name(data.decode("utf-8", "replace"))


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
    yield f'<figure><figcaption>{clean_xml(clean_name(info.filename))}</figcaption><pre class="source">'
    for number in shown[:_MAX_SOURCE_LINES]:
        line = f'<span class="number">{number}</span>{clean_xml(lines[number - 1])}'
        yield f"<mark>{line}</mark>\n" if number in marked else f"{line}\n"
    yield "</pre></figure>"


def _lines_of(first: int, last: int, count: int) -> range:
    """Line numbers within a file of `count` lines."""
    return range(max(first, 1), min(max(last, first), count) + 1)
