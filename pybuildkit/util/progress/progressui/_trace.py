"""The model behind the displays: what is known about every step, brought up to date status by status.

Mirrors type trace and its parts of util/progress/progressui/display.go, v0.32.2. No I/O, and the time comes from the
clock that it is given.

Two displays draw from it. The plain one prints and drops `logs` (the lines since the last print, the older ones of
which may be packed: `waiting`); the terminal one
keeps all lines of a step in `archive`, for the error block, and the last ones on a small screen, `term`.

Differs on purpose: for a terminal names and logs are cleaned (see `_clean`), archived logs are bounded (`_logs`),
and a hostile daemon can make at most `MAX_VERTEXES` steps and `MAX_STATUSES` status lines a step; further ones are
not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import lru_cache
from typing import NamedTuple

from pybuildkit.client._graph import BareLog, SolveStatus, Vertex, VertexStatus, VertexWarning
from pybuildkit.third_party.vt100 import VT100
from pybuildkit.util.progress.progressui._clean import clean_log, clean_name, split_cut
from pybuildkit.util.progress.progressui._interval import Interval, merge_intervals, seconds, subtract
from pybuildkit.util.progress.progressui._job import Job
from pybuildkit.util.progress.progressui._logs import MAX_WAITING, PACKED_LINES, LogArchive, PackedLines

Clock = Callable[[], int]
"""Gives the time in nanoseconds since the epoch."""

MAX_VERTEXES = 100_000
MAX_STATUSES = 10_000
TERM_PAD = 10
TERM_HEIGHT_MIN = 6
LOGS_BUFFER_SIZE = 10
_SECOND = 1_000_000_000
_TEN_SECONDS = 10 * _SECOND
_MILLISECOND = 1_000_000
CANCELED = b"context canceled"


class TermHeight:
    """How many log lines a running step may show on a terminal: the wish of the user and what fits at the moment."""

    __slots__ = ("current", "initial")

    def __init__(self, lines: int = TERM_HEIGHT_MIN) -> None:
        self.initial = lines
        self.current = lines

    def fit(self, height: int) -> None:
        """Take what a window of `height` lines leaves, within the wish and the minimum."""
        self.current = max(TERM_HEIGHT_MIN, min(self.initial, height - TERM_HEIGHT_MIN - 1))


class LogsRing:
    """The last ten lines that were printed of a step, for the error block.

    As in the original, a batch whose last line is unfinished overwrites one place again and again.
    """

    __slots__ = ("_index", "_lines")

    def __init__(self) -> None:
        self._lines: list[bytes | None] = [None] * LOGS_BUFFER_SIZE
        self._index = 0

    def extend(self, lines: list[bytes]) -> None:
        """Add finished lines, each in the next place."""
        skipped = max(len(lines) - LOGS_BUFFER_SIZE, 0)
        self._index = (self._index + skipped) % LOGS_BUFFER_SIZE
        for line in lines[skipped:]:
            self._lines[self._index] = line
            self._index = (self._index + 1) % LOGS_BUFFER_SIZE

    def replace(self, line: bytes) -> None:
        """Set the current place and stay there."""
        self._lines[self._index] = line

    def lines(self) -> list[bytes]:
        """What is kept, from the current place on."""
        turned = self._lines[self._index :] + self._lines[: self._index]
        return [line for line in turned if line is not None]


class TraceVertex:
    """A step, or a group of steps that is shown as one."""

    def __init__(self, vertex: Vertex, term_height: int) -> None:
        self.vertex = vertex
        self.name = b""
        self.error = b""
        self.statuses: list[str] = []
        self.by_id: dict[str, VertexStatus] = {}
        self.status_updates: set[str] = set()
        self.index = 0
        self.logs: list[bytes] = []
        self.waiting: list[PackedLines] = []
        self.logs_partial = False
        self.logs_offset = 0
        self.logs_buffer: LogsRing | None = None
        self.archive: LogArchive | None = None
        self.held = b""
        self.prev: Vertex | None = None
        self.last_block_time: int | None = None
        self.count = 0
        self.warnings: list[VertexWarning] = []
        self.warning_index = 0
        self.jobs: list[Job] = []
        self.job_cached = False
        self.term: VT100 | None = None
        self.term_height = term_height
        self.term_bytes = 0
        self.term_count = 0
        self.intervals: dict[int, Interval] = {}
        self.merged_intervals: list[Interval] = []
        self.hidden = False

    def touch(self, clock: Clock) -> None:
        """Count a thing that happened since the step was printed last."""
        if self.count == 0:
            self.last_block_time = clock()
        self.count += 1

    def most_recent_interval(self) -> Interval | None:
        """The newest span, or None before the start."""
        return self.merged_intervals[-1] if self.merged_intervals else None

    def is_started(self) -> bool:
        """Whether it has begun at least once."""
        return bool(self.merged_intervals)

    def is_completed(self) -> bool:
        """Whether it has begun and does not run now."""
        return bool(self.merged_intervals) and self.merged_intervals[-1].stop is not None

    def is_canceled(self) -> bool:
        """Whether it ended since somebody gave up."""
        return self.error.endswith(CANCELED)

    def merge(self) -> None:
        """Bring `merged_intervals` up to date."""
        self.merged_intervals = merge_intervals(self.intervals.values())


class GroupChange(NamedTuple):
    """What `VertexGroup.refresh` found."""

    changed: bool
    newly_started: bool
    newly_revealed: bool


class VertexGroup(TraceVertex):
    """Steps with the same progress group; hidden until one starts whose group is not weak."""

    def __init__(self, vertex: Vertex, term_height: int) -> None:
        super().__init__(vertex, term_height)
        self.hidden = True
        self.members: dict[str, Vertex] = {}

    def refresh(self) -> GroupChange:
        """Make one step of the members' states: cached if all are, the first error, every span."""
        was_started, was_hidden = self.is_started(), self.hidden
        vertex = copy(self.vertex)
        vertex.cached = True
        changed = False
        for member in self.members.values():
            if member.started is not None:
                changed |= self._add_interval(member, member.started)
            vertex.cached = vertex.cached and member.cached
            if not vertex.error:
                vertex.error = member.error
            else:
                self.hidden = False
        newly_started = not was_started and bool(self.intervals)
        changed |= self.vertex.cached != vertex.cached or self.vertex.error != vertex.error
        self.vertex = vertex
        newly_revealed = was_hidden and not self.hidden
        self.merge()
        return GroupChange(changed or newly_revealed, newly_started, newly_revealed)

    def _add_interval(self, member: Vertex, started: int) -> bool:
        interval = Interval(started, member.completed)
        changed = self.intervals.get(started) != interval
        self.intervals[started] = interval
        if member.progress_group is not None and not member.progress_group.weak:
            self.hidden = False
        return changed


class Trace:
    """Every step of a solve.

    Args:
        clock: gives the current time.
        console: whether a terminal's display draws from it: screens and archives are kept then.
        clean: whether texts are made safe for a terminal.
        archive: whether all lines of a step are kept; a terminal's display needs them.
        term_height: shared with the terminal's display.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        console: bool = False,
        clean: bool = False,
        archive: bool = False,
        term_height: TermHeight | None = None,
    ) -> None:
        self.clock = clock
        self.console = console
        self.clean = clean
        self.keeps_archive = console or archive
        self.term_height = term_height or TermHeight()
        self.start_time: int | None = None
        self.local_time_diff = 0
        self.vertexes: list[TraceVertex] = []
        self.by_digest: dict[str, TraceVertex] = {}
        self.updates: dict[str, None] = {}
        self.groups: dict[str, VertexGroup] = {}
        self._room = MAX_WAITING

    def update(self, status: SolveStatus, term_width: int) -> None:
        """Take in a status.

        Args:
            status: what changed; it is not kept nor changed, its vertexes and vertex statuses are kept.
            term_width: the width of the terminal in cells.
        """
        logs = status.bare_logs()
        if logs is None:
            self._update_steps(status)
            logs = [(log.vertex, log.data, log.timestamp) for log in status.logs]
        self._update_logs(logs, term_width)

    def update_many(self, statuses: Sequence[SolveStatus], term_width: int) -> bool:
        """Take in several statuses, one after the other; whether there was nothing but logs in them."""
        if not statuses:
            return True
        logs = statuses[0].bare_logs(statuses[1:])
        if logs is not None:
            self._update_logs(logs, term_width)
            return True
        for status in statuses:
            self.update(status, term_width)
        return False

    def _update_logs(self, logs: Iterable[BareLog], term_width: int) -> None:
        if self.console or self.clean or self.keeps_archive:
            for vertex, data, timestamp in logs:
                self._update_log(vertex, data, timestamp, term_width)
        else:
            self._update_raw_logs(logs)

    def _update_steps(self, status: SolveStatus) -> None:
        """Take in all but the logs."""
        groups: dict[str, None] = {}
        for vertex in status.vertexes:
            if self.start_time is None:
                self.start_time = vertex.started
            if vertex.progress_group is not None:
                self._update_group_member(vertex, vertex.progress_group.id, groups)
            else:
                self._update_vertex(vertex)
        for group_id in groups:
            self._refresh_group(self.groups[group_id])
        for item in status.statuses:
            self._update_status(item)
        for warning in status.warnings:
            self._update_warning(warning)

    def text(self, value: str) -> bytes:
        """A name, an id or an error as it is shown."""
        return (clean_name(value) if self.clean else value).encode("utf-8", "replace")

    def _is_full(self) -> bool:
        return len(self.by_digest) >= MAX_VERTEXES

    def _update_group_member(self, vertex: Vertex, group_id: str, groups: dict[str, None]) -> None:
        group = self.groups.get(group_id)
        if group is None:
            if self._is_full():
                return
            name = vertex.progress_group.name if vertex.progress_group is not None else ""
            group = VertexGroup(Vertex(digest=group_id, name=name), self.term_height.current)
            group.name = self.text(name)
            self.groups[group_id] = group
            self.by_digest[group_id] = group
        elif vertex.digest not in group.members and self._is_full():
            return
        groups[group_id] = None
        group.members[vertex.digest] = vertex
        self.by_digest[vertex.digest] = group

    def _update_vertex(self, vertex: Vertex) -> None:
        known = self.by_digest.get(vertex.digest)
        was_started = known is not None and known.is_started()
        if known is None:
            if self._is_full():
                return
            known = TraceVertex(vertex, self.term_height.current)
            self.by_digest[vertex.digest] = known
            self._set_vertex(known, vertex)
        self._trigger_vertex_event(known, vertex)
        if vertex.started is not None and not was_started:
            self._note_start(vertex.started)
            self.vertexes.append(known)
        if not was_started or vertex.started is not None:
            self._set_vertex(known, vertex)
        if vertex.started is not None:
            known.intervals[vertex.started] = Interval(vertex.started, vertex.completed)
            known.merge()
            if known.archive is not None and vertex.completed is not None:
                known.archive.compress()
        known.job_cached = False

    def _set_vertex(self, known: TraceVertex, vertex: Vertex) -> None:
        known.vertex = vertex
        known.name = self.text(vertex.name)
        known.error = self.text(vertex.error) if vertex.error else b""

    def _note_start(self, started: int) -> None:
        if self.local_time_diff == 0:
            self.local_time_diff = subtract(self.clock(), started)

    def _trigger_vertex_event(self, known: TraceVertex, vertex: Vertex) -> None:
        """Mark a started vertex as news unless nothing about it changed; a completed one always is news."""
        if vertex.started is None:
            return
        old = known.prev or Vertex()
        if (
            vertex.completed is not None
            or vertex.digest != old.digest
            or vertex.name != old.name
            or vertex.started != old.started
            or vertex.cached != old.cached
            or vertex.error != old.error
        ):
            known.touch(self.clock)
            self.updates[vertex.digest] = None
        known.prev = vertex

    def _refresh_group(self, group: VertexGroup) -> None:
        change = group.refresh()
        group.error = self.text(group.vertex.error)
        if change.newly_started:
            first = group.merged_intervals[0].start
            self._note_start(first if first is not None else 0)
        if group.hidden:
            return
        if change.newly_revealed:
            self.vertexes.append(group)
        if change.changed:
            group.touch(self.clock)
            self.updates[group.vertex.digest] = None
        group.job_cached = False

    def _update_status(self, status: VertexStatus) -> None:
        known = self.by_digest.get(status.vertex)
        if known is None:
            return
        previous = known.by_id.get(status.id)
        if previous is None and len(known.by_id) >= MAX_STATUSES:
            return
        known.job_cached = False
        if status.started is not None and (previous is None or previous.started is None):
            known.statuses.append(status.id)
        known.by_id[status.id] = status
        known.status_updates.add(status.id)
        self.updates[known.vertex.digest] = None
        known.touch(self.clock)

    def _update_warning(self, warning: VertexWarning) -> None:
        known = self.by_digest.get(warning.vertex)
        if known is None or len(known.warnings) >= MAX_STATUSES:
            return
        known.warnings.append(warning)
        known.touch(self.clock)

    def _update_raw_logs(self, logs: Iterable[BareLog]) -> None:
        """Take in logs that are shown as they are; one loop with few calls, since it runs for all that is printed."""
        by_digest, updates = self.by_digest, self.updates
        for vertex, data, timestamp in logs:
            known = by_digest.get(vertex)
            if known is None:
                continue
            if data.find(b"\n") + 1 == len(data) > 0 and not known.logs_partial:
                known.logs.append(self._log_prefix(known, timestamp) + data[:-1])
            else:
                self._append_log(known, data, timestamp)
            updates[known.vertex.digest] = None
            if known.count == 0:
                known.last_block_time = self.clock()
            known.count += 1

    def _update_log(self, vertex: str, data: bytes, timestamp: int, term_width: int) -> None:
        known = self.by_digest.get(vertex)
        if known is None:
            return
        known.job_cached = False
        if self.console:
            self._write_term(known, data, term_width)
        if self.clean:
            data, known.held = split_cut(known.held + data)
            data = clean_log(data)
        self._append_log(known, data, timestamp)
        self.updates[known.vertex.digest] = None
        known.touch(self.clock)

    def _write_term(self, known: TraceVertex, data: bytes, term_width: int) -> None:
        if known.term is None:
            known.term = VT100(known.term_height, max(term_width - TERM_PAD, 1))
        if known.term.width != term_width:
            self.term_height.fit(known.term.height)
            known.term.resize(self.term_height.current, term_width - TERM_PAD)
        known.term_bytes += len(data)
        known.term.write(data)

    def _append_log(self, known: TraceVertex, data: bytes, timestamp: int) -> None:
        """Cut a piece of output into lines, each with the seconds since the step's start in front."""
        if not data:
            known.logs_partial = known.logs_partial or not self.clean
            return
        if self.keeps_archive and known.archive is None:
            known.archive = LogArchive()
        target = known.logs if known.archive is None else known.archive
        lines = data.split(b"\n")
        is_partial = bool(lines[-1])
        if not is_partial:
            lines.pop()
        if known.logs_partial and target:
            target[-1] += lines[0]
            del lines[0]
        if lines:
            prefix = self._log_prefix(known, timestamp)
            for line in lines:
                target.append(prefix + line)
        known.logs_partial = is_partial

    def _log_prefix(self, known: TraceVertex, timestamp: int) -> bytes:
        start = known.merged_intervals[-1].start if known.merged_intervals else None
        if start is None:
            return b"0.000 "
        nanos = timestamp - start
        if 0 <= nanos < _TEN_SECONDS:
            millis, rest = divmod(nanos, _MILLISECOND)
            if rest == _MILLISECOND // 2:
                return b"%.3f " % (nanos // _SECOND + nanos % _SECOND / 1e9)
            return _millis_text(millis + (rest > _MILLISECOND // 2))
        elapsed = seconds(subtract(timestamp, start))
        if self.clean:
            elapsed = max(elapsed, 0.0)
        return b"%.*f " % (3 if elapsed < 10 else 2 if elapsed < 100 else 1, elapsed)

    def pack_logs(self) -> None:
        """Make the lines small that steps with news hold; the last line of each, which may still grow, stays."""
        for digest in self.updates:
            vertex = self.by_digest.get(digest)
            if vertex is None or len(vertex.logs) <= PACKED_LINES:
                continue
            *lines, newest = vertex.logs
            packed = PackedLines(lines, self._room, LOGS_BUFFER_SIZE)
            self._room -= packed.room
            vertex.waiting.append(packed)
            vertex.logs = [newest]

    def take_packed(self, vertex: TraceVertex) -> list[PackedLines]:
        """The packed lines of a step, which are older than its `logs`."""
        taken = vertex.waiting
        if taken:
            vertex.waiting = []
            self._room += sum(packed.room for packed in taken)
        return taken

    def error_logs(self) -> bytes:
        """The error block of every step that failed: its name and its last lines of output."""
        out = []
        for vertex in self.vertexes:
            if not vertex.error or vertex.is_canceled():
                continue
            out.append(b"------\n > %s:\n" % vertex.name)
            lines = [*(vertex.archive or ())]
            for packed in self.take_packed(vertex):
                lines += bytes(packed).split(b"\n")[:-1]
            lines += vertex.logs
            if vertex.logs_buffer is not None:
                lines += vertex.logs_buffer.lines()
            out.extend(line + b"\n" for line in lines)
            if self.clean and any(b"\x1b" in line for line in lines):
                out.append(b"\x1b[0m")
            out.append(b"------\n")
        return b"".join(out)


@lru_cache(maxsize=1024)
def _millis_text(millis: int) -> bytes:
    return b"%d.%03d " % divmod(millis, 1000)
