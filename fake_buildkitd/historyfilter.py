"""Which records of builds a client wants to hear of.

Mirrors solver/llbsolver/history/filter.go, v0.32.2.

A filter is a line of comma-separated conditions that must all hold; one filter of several must. `startedAt`,
`completedAt` and `duration` compare with `>=`, `<=`, `>` and `<`; `ref`, `status` (completed, error, canceled,
running) and `repository` as containerd's filters do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.golang import duration
from pybuildkit.golang import time as gotime
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.third_party import csvvalue
from pybuildkit.third_party.containerd import filters as filter_language
from pybuildkit.util import gitutil

_SECOND = 1_000_000_000
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}

Test = Callable[[pb.BuildHistoryRecord], bool]


class HistoryFilterError(BuildkitError):
    """A filter or a limit that cannot be."""


def filter_events(
    events: list[pb.BuildHistoryEvent], filters: Sequence[str], limit: int, now: int
) -> list[pb.BuildHistoryEvent]:
    """The events whose records pass.

    Args:
        events: in any order, which is kept.
        filters: one of them must pass a record; none passes all.
        limit: how many, the newest builds first; 0 for all.
        now: the time that ages are counted from, in nanoseconds.

    Raises:
        BuildkitError: a filter cannot be read, or the limit is negative.
    """
    tests = [_parse(text, now) for text in filters]
    if tests:
        events = [event for event in events if any(all(test(event.record) for test in every) for every in tests)]
    if limit < 0:
        raise HistoryFilterError(f"invalid limit {limit}")
    if limit:
        events = sorted(events, key=lambda event: event.record.CreatedAt.ToNanoseconds(), reverse=True)[:limit]
    return events


def _parse(text: str, now: int) -> list[Test]:
    tests: list[Test] = []
    rest: list[str] = []
    for field in csvvalue.fields(text):
        test = _time_test(field, now)
        if test is None:
            rest.append(field)
        else:
            tests.append(test)
    try:
        wanted = filter_language.parse_all([",".join(rest)])
    except filter_language.FilterError as err:
        raise wrap(err, f"failed to parse history filters {text}") from err
    tests.append(lambda record: wanted.match(lambda path: _field(record, path[0])))
    return tests


def _time_test(field: str, now: int) -> Test | None:
    """The test of a condition on times; None for any other condition."""
    operator = next((each for each in _COMPARE if each in field), "<")
    key, _, value = field.partition(operator)
    compare = _COMPARE[operator]
    if key in ("startedAt", "completedAt"):
        limit = _moment(value, now)
        return lambda record: compare(_seconds(record, key), limit)
    if key == "duration":
        try:
            length = duration.parse(value)
        except BuildkitError as err:
            raise HistoryFilterError(f"invalid duration {value}") from err
        return lambda record: compare(_length(record), length)
    return None


def _moment(value: str, now: int) -> int:
    """Seconds since the epoch of a time, or of the time that long ago."""
    try:
        return (now - duration.parse(value)) // _SECOND
    except BuildkitError:
        pass
    try:
        return gotime.parse(value, gotime.RFC3339).ns // _SECOND
    except BuildkitError as err:
        raise HistoryFilterError(f"invalid time {value}") from err


def _seconds(record: pb.BuildHistoryRecord, key: str) -> int:
    return record.CreatedAt.seconds if key == "startedAt" else record.CompletedAt.seconds


def _length(record: pb.BuildHistoryRecord) -> int:
    if not record.HasField("CompletedAt"):
        return 0
    return record.CompletedAt.ToNanoseconds() - record.CreatedAt.ToNanoseconds()


def _field(record: pb.BuildHistoryRecord, name: str) -> str | None:
    if name == "ref":
        return record.Ref or None
    if name == "status":
        return _status(record)
    if name == "repository":
        return _repository(record)
    return None


def _status(record: pb.BuildHistoryRecord) -> str:
    if not record.HasField("CompletedAt"):
        return "running"
    if not record.HasField("error"):
        return "completed"
    return "canceled" if "context canceled" in record.error.message else "error"


def _repository(record: pb.BuildHistoryRecord) -> str | None:
    if "vcs:source" in record.FrontendAttrs:
        return record.FrontendAttrs["vcs:source"]
    try:
        return gitutil.parse_url(record.FrontendAttrs["context"]).remote if "context" in record.FrontendAttrs else None
    except gitutil.GitURLError:
        return None
