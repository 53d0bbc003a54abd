"""The plain display: steps in turns, a number in front of every line.

Mirrors util/progress/progressui/printer.go, v0.32.2. One step holds the floor. Finished ones are always printed;
while the step with the floor runs, the others wait until it has had its share of the time or they have waited too
long. `TextMux.print` returns the text in pieces, and writes nothing itself.

Differs on purpose: what running steps have said by the end is printed too (Go drops what it was holding back, so that
the last words of a build whose daemon went away are lost); where the trace is cleaned for a terminal, spans of time
that go backwards count as 0, and a colour that a log leaves on is taken back after each batch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import NamedTuple

from pybuildkit.client._graph import VertexStatus
from pybuildkit.third_party.units import format_bytes
from pybuildkit.util.progress._sink import Piece
from pybuildkit.util.progress.progressui._interval import seconds, subtract
from pybuildkit.util.progress.progressui._trace import LogsRing, Trace, TraceVertex

SECOND = 1_000_000_000
ANTI_FLICKER = 5.0
MAX_DELAY = 10 * SECOND
MIN_TIME_DELTA = 5 * SECOND
MIN_PROGRESS_DELTA = 0.05
NAME_LIMIT = 72


class _VertexStat(NamedTuple):
    block_time: float
    speed: float
    over_limit: bool


class TextMux:
    """What has been printed so far.

    Args:
        desc: a line to begin with.
        no_trunc: the value of PROGRESS_NO_TRUNC; "0" cuts long names.
    """

    def __init__(self, desc: str = "", no_trunc: str | None = None) -> None:
        self._desc = desc
        self._truncate = (os.environ.get("PROGRESS_NO_TRUNC") if no_trunc is None else no_trunc) == "0"
        self._current = ""
        self._last: dict[str, tuple[int, int]] = {}
        self._not_first = False
        self._next_index = 0
        self._out: list[Piece] = []

    def print(self, trace: Trace) -> list[Piece]:
        """The text for what changed since the last call, [] where that is nothing to show yet."""
        self._print(trace)
        trace.pack_logs()
        return self._taken(trace)

    def print_rest(self, trace: Trace) -> list[Piece]:
        """The text for what `print` holds back while another step has the floor; for the end."""
        _, rest = _pending(trace)
        for digest in rest:
            self._print_vertex(trace, digest)
        return self._taken(trace)

    def _taken(self, trace: Trace) -> list[Piece]:
        pieces, self._out = self._out, []
        if trace.clean and any(b"\x1b" in bytes(piece) for piece in pieces):
            pieces.append(b"\x1b[0m")
        return pieces

    def _print(self, trace: Trace) -> None:
        completed, rest = _pending(trace)
        current = self._current
        if current in completed:
            self._print_vertex(trace, current)
        for digest in _sort_completed(trace, completed):
            if digest != current:
                self._print_vertex(trace, digest)
        if not rest:
            self._print_any_open(trace, current)
            return
        if current in rest:
            self._print_vertex(trace, current)
        elif current:
            rest[current] = None
        self._share_floor(trace, current, rest, is_free=not current or current in completed)

    def _print_any_open(self, trace: Trace, current: str) -> None:
        """Give the floor to a running step, unless the one that has it still runs."""
        if current and _is_open(trace.by_digest[current]):
            return
        for digest, vertex in trace.by_digest.items():
            if _is_open(vertex) and vertex.vertex.progress_group is None and not vertex.hidden:
                self._print_vertex(trace, digest)
                return

    def _share_floor(self, trace: Trace, current: str, rest: Iterable[str], *, is_free: bool) -> None:
        """Decide whether another step gets the floor."""
        stats, busiest = _statistics(trace, current, rest)
        if is_free:
            self._print_vertex(trace, busiest)
            return
        for digest, stat in stats.items():
            if stat.over_limit:
                self._print_vertex(trace, digest)
                return
        mine = stats.get(current)
        if mine is None:
            return
        share = _divide(mine.speed, sum(stat.speed for stat in stats.values()))
        if _divide(1.0, 1.0 - share) * ANTI_FLICKER < mine.block_time:
            self._print_vertex(trace, busiest)

    def _print_vertex(self, trace: Trace, digest: str) -> None:
        vertex = trace.by_digest.get(digest)
        if vertex is None:
            return
        if vertex.index == 0:
            self._next_index += 1
            vertex.index = self._next_index
        if digest != self._current:
            self._print_header(trace, vertex)
        is_open_status = self._print_statuses(trace, vertex)
        for warning in vertex.warnings[vertex.warning_index :]:
            short = trace.text(warning.short.decode("utf-8", "replace")) if trace.clean else warning.short
            self._out.append(b"#%d WARN: %s\n" % (vertex.index, short))
        vertex.warning_index = len(vertex.warnings)
        self._print_logs(trace, vertex)
        self._current = digest
        if vertex.is_completed() and not is_open_status:
            self._print_outcome(trace, vertex)
        trace.updates.pop(digest, None)

    def _print_header(self, trace: Trace, vertex: TraceVertex) -> None:
        """Take the floor from the step that has it, and name the new one."""
        if self._current:
            old = trace.by_digest[self._current]
            if old.logs_partial:
                self._out.append(b"\n")
            old.logs_offset = 0
            old.count = 0
            self._out.append(b"#%d ...\n" % old.index)
        if self._not_first:
            self._out.append(b"\n")
        elif self._desc:
            self._out.append(b"#0 %s\n\n" % self._desc.encode("utf-8", "replace"))
        self._not_first = True
        name = vertex.name
        if self._truncate and len(name) > NAME_LIMIT:
            name = name[:NAME_LIMIT] + b"..."
        self._out.append(b"#%d %s\n" % (vertex.index, name))

    def _print_statuses(self, trace: Trace, vertex: TraceVertex) -> bool:
        """Print the status lines that moved far enough; whether one of them goes on."""
        if not vertex.status_updates:
            return False
        is_open = False
        for status_id in vertex.statuses:
            status = vertex.by_id[status_id]
            if status_id not in vertex.status_updates or not self._has_moved(status):
                continue
            self._last[status_id] = (status.current, status.timestamp)
            is_open |= status.completed is None
            line = b"#%d %s%s\n" % (vertex.index, trace.text(status_id), status_text(status).encode())
            self._out.append(line)
        vertex.status_updates = set()
        return is_open

    def _has_moved(self, status: VertexStatus) -> bool:
        last = self._last.get(status.id)
        if last is None or status.completed is not None:
            return True
        progress = (status.current - last[0]) / status.total if status.total > 0 else 0.0
        return progress >= MIN_PROGRESS_DELTA or subtract(status.timestamp, last[1]) >= MIN_TIME_DELTA

    def _print_logs(self, trace: Trace, vertex: TraceVertex) -> None:
        """Print the new lines, and keep them for the error block and an unfinished one for its end."""
        if not vertex.logs:
            return
        lines, newest = vertex.logs, vertex.logs[-1]
        number = b"#%d " % vertex.index
        packed = trace.take_packed(vertex)
        if vertex.logs_offset == 0:
            self._out.append(number)
        elif packed:
            packed[0].skip(vertex.logs_offset)
        else:
            lines[0] = lines[0][vertex.logs_offset :]
        for some in packed:
            some.set_number(number)
            self._out.append(bytes(some) if trace.clean else some)
        self._out.append((b"\n" + number).join(lines))
        if vertex.logs_buffer is None:
            vertex.logs_buffer = LogsRing()
        if vertex.logs_partial:
            vertex.logs_buffer.replace(lines[-1])
            vertex.logs = [newest]
            vertex.logs_offset = len(newest)
        else:
            self._out.append(b"\n")
            for some in packed:
                vertex.logs_buffer.extend(some.tail)
            vertex.logs_buffer.extend(lines)
            vertex.logs = []
            vertex.logs_offset = 0

    def _print_outcome(self, trace: Trace, vertex: TraceVertex) -> None:
        """Say how the step ended, and leave the floor."""
        self._current = ""
        vertex.count = 0
        if vertex.logs_partial:
            self._out.append(b"\n")
        if vertex.error:
            text = b"CANCELED" if vertex.is_canceled() else b"ERROR: " + vertex.error
        elif vertex.vertex.cached:
            text = b"CACHED"
        else:
            text = b"DONE" + duration_text(trace, vertex)
        self._out.append(b"#%d %s\n" % (vertex.index, text))


def _pending(trace: Trace) -> tuple[dict[str, None], dict[str, None]]:
    """The digests with news, those of finished steps and the rest; steps in a group are shown as the group."""
    completed: dict[str, None] = {}
    rest: dict[str, None] = {}
    for digest in trace.updates:
        vertex = trace.by_digest.get(digest)
        if vertex is None or vertex.vertex.progress_group is not None or vertex.hidden:
            continue
        (completed if vertex.is_completed() else rest)[digest] = None
    return completed, rest


def _sort_completed(trace: Trace, digests: Iterable[str]) -> list[str]:
    """By the time of completion; among equals, in the order in which their news came."""

    def stop(digest: str) -> int:
        span = trace.by_digest[digest].most_recent_interval()
        return span.stop if span is not None and span.stop is not None else 0

    return sorted(digests, key=stop)


def _is_open(vertex: TraceVertex) -> bool:
    return vertex.is_started() and not vertex.is_completed()


def _statistics(trace: Trace, current: str, rest: Iterable[str]) -> tuple[dict[str, _VertexStat], str]:
    """What each waiting step has done since it was printed last, and the busiest one."""
    stats: dict[str, _VertexStat] = {}
    busiest = ""
    now = trace.clock()
    for digest in rest:
        vertex = trace.by_digest.get(digest)
        if vertex is None or vertex.last_block_time is None:
            continue
        blocked = subtract(now, vertex.last_block_time)
        speed = _divide(float(vertex.count), seconds(blocked))
        over_limit = blocked > MAX_DELAY and digest != current
        stats[digest] = _VertexStat(seconds(blocked), speed, over_limit)
        if over_limit or not busiest or stats[busiest].speed < speed:
            busiest = digest
    return stats, busiest


def _divide(dividend: float, divisor: float) -> float:
    """Division with IEEE's answers for a zero divisor, as Go's."""
    if divisor != 0:
        return dividend / divisor
    if dividend == 0 or math.isnan(dividend):
        return math.nan
    return math.copysign(math.inf, dividend) * math.copysign(1.0, divisor)


def amount_text(status: VertexStatus) -> str:
    """Bytes done and, where it is known, of how many; "" where there is nothing to say."""
    if status.total != 0:
        return f"{format_bytes(status.current)} / {format_bytes(status.total)}"
    return format_bytes(status.current) if status.current != 0 else ""


def status_text(status: VertexStatus) -> str:
    """What follows the id on a status line: the amount, the time and whether it is done."""
    amount = amount_text(status)
    text = f" {amount}" if amount else ""
    if status.started is not None:
        end = status.timestamp if status.completed is None else status.completed
        elapsed = seconds(subtract(end, status.started))
        if elapsed > 0.01:
            text += f" {elapsed:.1f}s"
    return text if status.completed is None else text + " done"


def duration_text(trace: Trace, vertex: TraceVertex) -> bytes:
    """How long the step ran, with a space in front; b"" where it never did."""
    if not vertex.merged_intervals:
        return b""
    now = trace.clock()
    total = 0.0
    for span in vertex.merged_intervals:
        total += seconds(span.duration(now))
    if trace.clean:
        total = max(total, 0.0)
    return b" %.1fs" % total
