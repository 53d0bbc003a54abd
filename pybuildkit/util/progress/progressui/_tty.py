"""The terminal's display: a header and a line for each step, drawn over the last drawing.

Mirrors the console parts of util/progress/progressui/display.go, v0.32.2. No I/O: `TtyDisplay.draw` returns the
bytes of a whole drawing.

A drawing: cursor up over the old one, cursor hidden, header, jobs, blank lines over what is left of the old one,
cursor shown. Lengths are counted in bytes and padding in characters, as the original does, so a wide or cut
character moves the right edge; where the terminal is kept safe, such lines are cut and padded by cells instead, so
that none is longer than the terminal.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pybuildkit.util.progress.progressui._clean import clean_name
from pybuildkit.util.progress.progressui._colors import FAINT, Colors, paint
from pybuildkit.util.progress.progressui._interval import Interval, merge_intervals, seconds
from pybuildkit.util.progress.progressui._job import Job
from pybuildkit.util.progress.progressui._printer import amount_text
from pybuildkit.util.progress.progressui._trace import TERM_PAD, TermHeight, Trace, TraceVertex

DEFAULT_WIDTH = 80
DEFAULT_HEIGHT = 10

_HIDE = b"\x1b[?25l"
_SHOW = b"\x1b[?25h"
_UP = b"\x1b[1A"
_DOWN = b"\x1b[1B"
_PREFIX = b" => "
_MIN_NAME = 12
_MIN_WITH_STATUS = 20


class DisplayInfo(NamedTuple):
    """What a drawing shows; times are on the local clock, and `clean` says whether the terminal is kept safe."""

    start_time: int
    jobs: list[Job]
    count_total: int
    count_completed: int
    clean: bool


def display_info(trace: Trace) -> DisplayInfo:
    """The state of the trace as lines; those of a step that did not change are the same objects as before."""
    start_time = trace.clock()
    if trace.start_time is not None:
        start_time = trace.start_time + trace.local_time_diff
    shown = [vertex for vertex in trace.by_digest.values() if not _is_in_group(vertex) and not vertex.hidden]
    jobs: list[Job] = []
    for vertex in trace.vertexes:
        if not vertex.job_cached:
            vertex.jobs = _jobs_of(trace, vertex)
            vertex.job_cached = True
        jobs += vertex.jobs
    return DisplayInfo(start_time, jobs, len(shown), sum(vertex.is_completed() for vertex in shown), trace.clean)


def _is_in_group(vertex: TraceVertex) -> bool:
    return vertex.vertex.progress_group is not None


def _jobs_of(trace: Trace, vertex: TraceVertex) -> list[Job]:
    """The line of a step, then those of its statuses and warnings."""
    diff = trace.local_time_diff
    job = Job(vertex.name.replace(b"\t", b" "), merge_intervals(_shift(i, diff) for i in vertex.intervals.values()))
    job.vertex = vertex
    job.is_completed = all(span.stop is not None for span in vertex.intervals.values())
    if vertex.error:
        job.is_canceled = vertex.is_canceled()
        job.has_error = not job.is_canceled
        job.name = (b"CANCELED " if job.is_canceled else b"ERROR ") + job.name
    if vertex.vertex.cached:
        job.name = b"CACHED " + job.name
    jobs = [job]
    for status_id in vertex.statuses:
        status = vertex.by_id[status_id]
        jobs.append(
            Job(
                b"=> " + trace.text(status_id),
                [_shift(Interval(status.started, status.completed), diff)],
                is_completed=status.completed is not None,
                status=amount_text(status).encode(),
            )
        )
    recent = vertex.most_recent_interval() or Interval(None, None)
    for warning in vertex.warnings:
        short = trace.text(warning.short.decode("utf-8", "replace")) if trace.clean else warning.short
        jobs.append(Job(b"WARN: " + short, [_shift(recent, diff)], is_canceled=True))
    return jobs


def _shift(interval: Interval, diff: int) -> Interval:
    """The span on the local clock."""
    start, stop = interval
    return Interval(None if start is None else start + diff, None if stop is None else stop + diff)


def setup_terminals(jobs: list[Job], height: int, term_height: TermHeight, *, show_all: bool) -> list[Job]:
    """Choose the running steps whose last log lines are shown, and the jobs that fit beside them.

    Steps that wrote much, or were shown often, come first.
    """
    candidates = []
    in_use = 0
    for job in jobs:
        if job.is_completed:
            continue
        in_use += 1
        if job.vertex is not None and job.vertex.term_bytes > 0:
            candidates.append((job.vertex.term_bytes + job.vertex.term_count * 50, job, job.vertex))
    candidates.sort(key=lambda candidate: -candidate[0])
    free = height - 2 - in_use
    hidden = 0
    term_height.fit(height)
    limit = term_height.current + 3
    for _, job, vertex in candidates:
        if free <= limit:
            break
        job.show_term = True
        hidden += vertex.term.used_height() if vertex.term is not None else 0
        free -= limit
    return jobs if show_all else wrap_height(jobs, height - 2 - hidden)


def wrap_height(jobs: list[Job], limit: int) -> list[Job]:
    """The last `limit` jobs; running ones above them take the places of finished ones among them."""
    if limit < 0:
        return []
    if len(jobs) <= limit:
        return jobs
    cut = len(jobs) - limit
    visible = jobs[cut:]
    invisible = [job for job in jobs[:cut] if not job.is_completed]
    if not invisible:
        return visible
    left = len(invisible)
    kept = []
    for job in visible:
        if not job.is_completed or left <= 0:
            kept.append(job)
        left -= 1
    free = len(visible) - len(kept)
    return [*invisible[len(invisible) - free :], *kept]


class TtyDisplay:
    """The drawings of one terminal.

    Args:
        phase: the first word of the header.
        desc: what the header says at the right.
        colors, term_height: as the user wants them.
    """

    def __init__(self, phase: str, desc: str, colors: Colors, term_height: TermHeight) -> None:
        self._phase = phase.encode("utf-8", "replace")
        self._desc = desc.encode("utf-8", "replace")
        self._colors = colors
        self._term_height = term_height
        self._clean = False
        self._line_count = 0
        self._repeated = False
        self._out: list[bytes] = []

    def draw(self, info: DisplayInfo, now: int, width: int, height: int, *, is_last: bool) -> bytes:
        """The bytes that replace the last drawing.

        Args:
            info: what to show.
            now: the time on the local clock.
            width, height: the size of the terminal in cells.
            is_last: every job is shown, however high the terminal is.
        """
        jobs = setup_terminals(info.jobs, height, self._term_height, show_all=is_last)
        self._out = [_UP * (self._line_count + 1), b"" if self._repeated else _DOWN, b"\x1b[0G", _HIDE]
        self._repeated = True
        self._clean = info.clean
        self._draw_header(info, now, width, is_last=is_last)
        line_count = 0
        for job in jobs:
            if job.intervals:
                line_count += self._draw_job(job, now, width)
        left_over = self._line_count - line_count
        if left_over > 0:
            self._out.append((b" " * width + b"\n") * left_over)
            self._out.append(b"\x1b[%dA\x1b[0G" % left_over)
        self._line_count = line_count
        self._out.append(_SHOW)
        return b"".join(self._out)

    def _draw_header(self, info: DisplayInfo, now: int, width: int, *, is_last: bool) -> None:
        is_finished = is_last and 0 < info.count_completed == info.count_total
        header = b"[+] %s %.1fs (%d/%d) %s" % (
            self._phase,
            seconds(Interval(info.start_time, None).duration(now)),
            info.count_completed,
            info.count_total,
            b"FINISHED" if is_finished else b"",
        )
        header = align(header, self._desc, width - 1) if self._desc else align(header, b"", width)
        self._out.append(header[:width] + b"\n")

    def _draw_job(self, job: Job, now: int, width: int) -> int:
        """Add the line of a job and its log lines; how many lines these are."""
        elapsed = 0.0
        for span in job.intervals:
            elapsed += seconds(span.duration(now))
        timer = b" %3.1fs\n" % (0.0 if elapsed < 0.05 else elapsed)
        left = width - len(_PREFIX) - len(timer) - 1
        status = b""
        if job.status and left + len(job.status) > _MIN_WITH_STATUS:
            status = b" " + job.status
            left -= len(status)
        if left < _MIN_NAME:
            return 0
        line = align(_PREFIX + job.name[:left] + status, timer, width)
        if self._clean and not line.isascii():
            line = _align_by_cells(job.name, left, status, timer, line, width)
        if job.is_completed:
            line = paint(line, self._color_of(job))
        self._out.append(line)
        return 1 + (self._draw_term(job, width) if job.show_term else 0)

    def _color_of(self, job: Job) -> bytes:
        if job.is_canceled:
            return self._colors.cancel
        return self._colors.error if job.has_error else self._colors.run

    def _draw_term(self, job: Job, width: int) -> int:
        job.show_term = False
        if job.vertex is None or job.vertex.term is None:
            return 0
        job.vertex.term_count += 1
        term = job.vertex.term
        term.resize(self._term_height.current, width - TERM_PAD)
        lines = [line for line in term.lines() if line.strip(" ")]
        if self._clean:
            lines = [line if line.isascii() else _safe_line(line, width - TERM_PAD) for line in lines]
        self._out.extend(paint(b" => => # %s\n" % line.encode("utf-8", "replace"), FAINT) for line in lines)
        return len(lines)


def align(left: bytes, right: bytes, width: int) -> bytes:
    """The left text padded with spaces so that the right one ends at the width, where they fit."""
    wanted = abs(width - len(right) - 1)
    return left + b" " * (wanted - _rune_count(left)) + b" " + right


def _align_by_cells(name: bytes, left: int, status: bytes, timer: bytes, line: bytes, width: int) -> bytes:
    """The line of a job, cut and padded by cells where counting bytes and characters does not end at the edge."""
    from pybuildkit.util.progress.progressui._cells import cell_count, cut_to_cells

    if cell_count(line[:-1].decode("utf-8", "replace")) == width - 1:
        return line
    text = cut_to_cells(name.decode("utf-8", "replace"), left)
    padding = width - len(_PREFIX) - cell_count(text) - len(status) - len(timer)
    return _PREFIX + text.encode() + status + b" " * padding + timer


def _safe_line(line: str, cells: int) -> str:
    """A line of output that does not steer the terminal and has no more than so many cells."""
    from pybuildkit.util.progress.progressui._cells import cut_to_cells

    return cut_to_cells(clean_name(line), cells)


def _rune_count(text: bytes) -> int:
    """Characters; a byte that is no UTF-8 counts as one."""
    return len(text) if text.isascii() else len(text.decode("utf-8", "surrogateescape"))


def terminal_size(fd: int) -> tuple[int, int]:
    """Columns and lines of the terminal at a file descriptor; (0, 0) where they are not known."""
    try:
        size = os.get_terminal_size(fd)
    except (OSError, ValueError):
        return 0, 0
    return size.columns, size.lines
