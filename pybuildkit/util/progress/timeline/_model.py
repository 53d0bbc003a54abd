"""The model of a timeline: steps with their spans of time, by group, and the critical path. Not in BuildKit.

A step's group is its progress group, else what stands in front of its name: `[build 2/5] RUN …` belongs to "build",
`[internal] …` to "internal", `[2/5] …` to "build"; what has no brackets goes to "other", exports to "export".

The critical path goes back from the step that ended last: from each step to that of its inputs, over steps that
never ran, which ended last. A step without such inputs (an export, the build context) waited, as far as a trace can
tell, for the step that ended last before it started. Spans that go backwards count as 0.

Of a trace that holds several builds, the last one is shown.

Everything here is text or a number; output keeps at most `MAX_LOG_BYTES` a step, its end.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning
from pybuildkit.util.progress._gaps import Gaps
from pybuildkit.util.progress.progressui._clean import clean_log, clean_name
from pybuildkit.util.progress.progressui._interval import Interval, merge_intervals
from pybuildkit.util.progress.progressui._printer import amount_text

MAX_LOG_BYTES = 1024 * 1024
MAX_PARTS = 1000
_STAGE = re.compile(r"\[([^\]\s][^\]]*?)\s+\d+/\d+\]")
_ONLY_STAGE = re.compile(r"\[\s*\d+/\d+\]")
_BRACKETS = re.compile(r"\[([a-z]+)[^\]]*\]")


@dataclass(slots=True, eq=False)
class TimelineStep:
    """A step; times are nanoseconds since the epoch."""

    number: int
    digest: str
    name: str = ""
    group: str = "other"
    inputs: list[str] = field(default_factory=list)
    intervals: dict[int, Interval] = field(default_factory=dict)
    cached: bool = False
    error: str = ""
    is_critical: bool = False
    statuses: dict[str, VertexStatus] = field(default_factory=dict)
    warnings: list[VertexWarning] = field(default_factory=list)
    logs: deque[bytes] = field(default_factory=deque)
    log_bytes: int = 0
    is_log_cut: bool = False

    @property
    def spans(self) -> list[Interval]:
        """When it ran, merged, none of them backwards; an end of None is one that the trace does not tell."""
        return merge_intervals(
            Interval(start, None if stop is None else max(start or 0, stop)) for start, stop in self.intervals.values()
        )

    @property
    def is_canceled(self) -> bool:
        """Whether somebody gave it up."""
        return self.error.endswith("context canceled")

    def duration(self, end: int) -> int:
        """Nanoseconds that it ran, up to `end` where no end is told."""
        return sum(max(span.duration(end), 0) for span in self.spans)

    def end(self, end: int) -> int:
        """When it ended, `end` where no end is told."""
        stop = self.spans[-1].stop if self.spans else None
        return end if stop is None else stop

    def size(self) -> int:
        """The bytes that its parts moved."""
        return sum(max(status.current, 0) for status in self.statuses.values())

    def colored_log(self) -> str:
        """Its output; colours and styles are the only escape sequences in it."""
        return clean_log(b"".join(self.logs)).decode("utf-8", "replace")

    def parts(self) -> Iterator[tuple[str, Interval, str]]:
        """Its parts, at most `MAX_PARTS`: id, when it ran, never backwards, and the bytes it moved."""
        for status in islice(self.statuses.values(), MAX_PARTS):
            start, stop = status.started, status.completed
            if start is not None and stop is not None:
                stop = max(start, stop)
            yield clean_name(status.id), Interval(start, None if start is None else stop), amount_text(status)


class Timeline:
    """What a trace tells.

    Args:
        statuses: the trace.
    """

    def __init__(self, statuses: Iterable[SolveStatus] = ()) -> None:
        self.steps: dict[str, TimelineStep] = {}
        self.earlier_builds = 0
        self._gaps = Gaps()
        self._newest = 0
        self._count = 0
        for status in statuses:
            self.add(status)

    def add(self, status: SolveStatus) -> None:
        """Take in a status; what belongs to an unknown step is left out."""
        if self._gaps.before(status):
            self.earlier_builds += 1
            self.steps = {digest: step for digest, step in self.steps.items() if not step.intervals}
            self._newest = 0
        for vertex in status.vertexes:
            self._add_vertex(vertex)
        for item in status.statuses:
            self._see(item.timestamp)
            if item.vertex in self.steps:
                self.steps[item.vertex].statuses[item.id] = item
        for warning in status.warnings:
            if warning.vertex in self.steps:
                self.steps[warning.vertex].warnings.append(warning)
        for log in status.logs:
            self._see(log.timestamp)
            if log.vertex in self.steps:
                _add_log(self.steps[log.vertex], log)

    def _add_vertex(self, vertex: Vertex) -> None:
        step = self.steps.get(vertex.digest)
        if step is None:
            self._count += 1
            step = self.steps[vertex.digest] = TimelineStep(self._count, vertex.digest)
        step.name = clean_name(vertex.name)
        step.inputs = vertex.inputs
        group = clean_name(vertex.progress_group.name) if vertex.progress_group is not None else ""
        step.group = group or group_of(step.name)
        if vertex.started is not None:
            step.intervals[vertex.started] = Interval(vertex.started, vertex.completed)
            step.cached = vertex.cached
            step.error = clean_name(vertex.error)
            self._see(vertex.started)
            self._see(vertex.completed or 0)

    def _see(self, moment: int) -> None:
        self._newest = max(self._newest, moment)

    @property
    def start(self) -> int:
        """When the first step started."""
        return min((min(step.intervals) for step in self.steps.values() if step.intervals), default=0)

    @property
    def end(self) -> int:
        """The newest time in the trace, at least a microsecond after the start."""
        return max(self._newest, self.start + 1000)

    def groups(self) -> dict[str, list[TimelineStep]]:
        """The steps that ran, by group; groups and steps in order of their starts."""
        self._mark_critical_path()
        ran = sorted((step for step in self.steps.values() if step.intervals), key=lambda step: min(step.intervals))
        groups: dict[str, list[TimelineStep]] = {}
        for step in ran:
            groups.setdefault(step.group, []).append(step)
        return groups

    def critical_path(self) -> list[TimelineStep]:
        """The steps that decided how long it took, first to last."""
        end = self.end
        ends = {step: step.end(end) for step in self.steps.values() if step.intervals}
        path: dict[TimelineStep, None] = {}
        step = max(ends, key=ends.__getitem__, default=None)
        while step is not None and step not in path:
            path[step] = None
            before = self._inputs_that_ran(step) or _ended_before(ends, min(step.intervals))
            step = max(before, key=ends.__getitem__, default=None)
        return [*reversed(path)]

    def _inputs_that_ran(self, step: TimelineStep) -> list[TimelineStep]:
        found = []
        seen = {step.digest}
        pending = list(step.inputs)
        while pending:
            digest = pending.pop()
            known = self.steps.get(digest)
            if digest in seen or known is None:
                continue
            seen.add(digest)
            if known.intervals:
                found.append(known)
            else:
                pending += known.inputs
        return found

    def _mark_critical_path(self) -> None:
        for step in self.steps.values():
            step.is_critical = False
        for step in self.critical_path():
            step.is_critical = True


def _ended_before(ends: dict[TimelineStep, int], moment: int) -> list[TimelineStep]:
    return [step for step, end in ends.items() if end <= moment]


def group_of(name: str) -> str:
    """The group of a step, by its name."""
    if _ONLY_STAGE.match(name):
        return "build"
    match = _STAGE.match(name) or _BRACKETS.match(name)
    if match is not None:
        return match[1]
    if name.startswith(("exporting ", "pushing ", "sending ", "preparing build cache")):
        return "export"
    return "import" if name.startswith("importing ") else "other"


def _add_log(step: TimelineStep, log: VertexLog) -> None:
    step.logs.append(log.data)
    step.log_bytes += len(log.data)
    while step.log_bytes > MAX_LOG_BYTES and len(step.logs) > 1:
        step.log_bytes -= len(step.logs.popleft())
        step.is_log_cut = True
