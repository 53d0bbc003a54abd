"""Displays for the logs of CI systems: every step is a block that can be folded, in order of completion.

Not in BuildKit. A block is written, whole, shortly after its step ended, so that steps which run at the same time are
not mixed and the last line of output is in it. What comes later still makes a block of its own at the end.

What the daemon sends cannot give the CI system orders: texts are cleaned as for a terminal, and on GitHub workflow
commands are switched off, under a token that nobody can guess, while output is printed that could hold one.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pybuildkit.client._graph import SolveStatus
from pybuildkit.util.progress._sink import Sink
from pybuildkit.util.progress.progressui._clean import clean_text
from pybuildkit.util.progress.progressui._limiter import Limiter
from pybuildkit.util.progress.progressui._printer import duration_text, status_text
from pybuildkit.util.progress.progressui._trace import Clock, Trace, TraceVertex

_SECOND = 1_000_000_000
_WIDTH = 80
_GRACE = 300_000_000
_RESET = b"\x1b[0m"


class Block(NamedTuple):
    """What is said about a step: its number, title, lines, error or b"", and when it started and ended (seconds)."""

    number: int
    title: bytes
    lines: list[bytes]
    error: bytes
    started: int
    ended: int


Format = Callable[[Block, str], bytes]
"""Writes a block; the text is a token that nobody can guess."""


def github_block(block: Block, token: str) -> bytes:
    """A group of a GitHub Actions log; an error is annotated after it."""
    stop = token.encode()
    lines = [b"::group::" + _escape(block.title)]
    if any(b"::" in line or b"##[" in line for line in block.lines):
        lines += [b"::stop-commands::" + stop, *block.lines, b"::" + stop + b"::"]
    else:
        lines += block.lines
    lines.append(b"::endgroup::")
    if block.error:
        lines.append(b"::error title=" + _escape_property(block.title) + b"::" + _escape(block.error))
    return b"\n".join(lines) + b"\n"


def gitlab_block(block: Block, token: str) -> bytes:
    """A section of a GitLab log, folded unless the step failed."""
    name = b"pybuildkit_%d_%s" % (block.number, token.encode())
    fold = b"" if block.error else b"[collapsed=true]"
    start = b"\x1b[0Ksection_start:%d:%s%s\r\x1b[0K%s" % (block.started, name, fold, block.title)
    end = b"\x1b[0Ksection_end:%d:%s\r\x1b[0K" % (block.ended, name)
    return b"\n".join([start, *block.lines, end]) + b"\n"


def _escape(text: bytes) -> bytes:
    return text.replace(b"%", b"%25").replace(b"\r", b"%0D").replace(b"\n", b"%0A")


def _escape_property(text: bytes) -> bytes:
    return _escape(text).replace(b":", b"%3A").replace(b",", b"%2C")


_GITHUB_ORDER = re.compile(r"^\s*::|##\[", re.MULTILINE)


def guarded(text: str, environ: Mapping[str, str]) -> str:
    """Lines for the log of the CI system that the environment names, which takes no orders from them.

    Anywhere else, and where there is no order in it, the text itself.
    """
    if environ.get("GITHUB_ACTIONS") == "true" and _GITHUB_ORDER.search(text):
        token = _new_token()
        return f"::stop-commands::{token}\n{text}::{token}::\n"
    if environ.get("GITLAB_CI") == "true" and "section_" in text:
        return clean_text(text)
    return text


class FoldedView:
    """Writes a block for each step that ends.

    Args:
        block_format: `github_block` or `gitlab_block`.
        new_token: gives a token that nobody can guess.
    """

    def __init__(
        self, sink: Sink, clock: Clock, block_format: Format, new_token: Callable[[], str] | None = None
    ) -> None:
        self.sink = sink
        self._trace = Trace(clock, clean=True, archive=True)
        self._format = block_format
        self._new_token = new_token or _new_token
        self._ended: dict[TraceVertex, int] = {}
        self._count = 0

    def init(self, limiter: Limiter) -> None:
        """Nothing to prepare."""

    def update(self, statuses: Sequence[SolveStatus]) -> Sequence[SolveStatus]:
        """Take in statuses, and write the steps that ended a while ago."""
        for status in statuses:
            self._take_in(status)
        self.refresh()
        return statuses

    def _take_in(self, status: SolveStatus) -> None:
        trace = self._trace
        trace.update(status, _WIDTH)
        for digest in trace.updates:
            vertex = trace.by_digest.get(digest)
            if vertex is None or vertex.vertex.progress_group is not None or vertex.hidden:
                continue
            if not vertex.is_completed():
                self._ended.pop(vertex, None)
            elif vertex.index == 0:
                self._ended.setdefault(vertex, trace.clock())
        trace.updates.clear()

    def refresh(self) -> None:
        """Write the steps that ended a while ago, by the time of their ends."""
        limit = self._trace.clock() - _GRACE
        self._write_all([vertex for vertex, seen in self._ended.items() if seen <= limit])

    def done(self) -> None:
        """Write the steps that have ended, then those that have not, and what came late."""
        self._write_all([*self._ended])
        for vertex in self._trace.vertexes:
            if vertex.index == 0 or _has_news(vertex):
                self._write(vertex)

    def _write_all(self, vertexes: list[TraceVertex]) -> None:
        for vertex in sorted(vertexes, key=_stop):
            del self._ended[vertex]
            self._write(vertex)

    def _write(self, vertex: TraceVertex) -> None:
        is_first = vertex.index == 0
        if is_first:
            self._count += 1
            vertex.index = self._count
        span = vertex.most_recent_interval()
        now = self._trace.clock()
        started = span.start if span is not None and span.start is not None else now
        ended = span.stop if span is not None and span.stop is not None else now
        outcome, error = self._outcome(vertex)
        lines = self._lines(vertex)
        if error:
            lines.append(b"ERROR: " + error)
        if any(b"\x1b" in line for line in lines):
            lines[-1] += _RESET
        title = b"#%d %s%s" % (vertex.index, vertex.name, outcome if is_first else b" (later)")
        block = Block(vertex.index, title, lines, error, started // _SECOND, max(started, ended) // _SECOND)
        self.sink.put(self._format(block, self._new_token()))

    def _outcome(self, vertex: TraceVertex) -> tuple[bytes, bytes]:
        """What stands behind the name, and the error."""
        if not vertex.is_completed():
            return b" (not finished)", b""
        if vertex.is_canceled():
            return b" CANCELED", b""
        if vertex.error:
            return b" ERROR" + duration_text(self._trace, vertex), vertex.error
        return (b" CACHED" if vertex.vertex.cached else b" DONE" + duration_text(self._trace, vertex)), b""

    def _lines(self, vertex: TraceVertex) -> list[bytes]:
        """Status lines, warnings and output since the step was written last."""
        updated = [status_id for status_id in vertex.statuses if status_id in vertex.status_updates]
        lines = [self._trace.text(name) + status_text(vertex.by_id[name]).encode() for name in updated]
        vertex.status_updates = set()
        warnings = vertex.warnings[vertex.warning_index :]
        lines += (b"WARN: " + self._trace.text(warning.short.decode("utf-8", "replace")) for warning in warnings)
        vertex.warning_index = len(vertex.warnings)
        lines += vertex.archive or ()
        vertex.archive = None
        vertex.logs_partial = False
        return lines


def _new_token() -> str:
    return secrets.token_hex(16)


def _stop(vertex: TraceVertex) -> int:
    span = vertex.most_recent_interval()
    return span.stop if span is not None and span.stop is not None else 0


def _has_news(vertex: TraceVertex) -> bool:
    return bool(vertex.archive or vertex.status_updates or len(vertex.warnings) > vertex.warning_index)
