"""Statuses as they travel: from and to the messages of Control.Status.

Mirrors client/status.go, v0.32.2. Unlike Go's, `marshal` leaves the status that it is given as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.api.services.control import control_pb2
from pybuildkit.client._graph import (
    NANOS,
    NIL,
    SolveStatus,
    Vertex,
    VertexLog,
    VertexStatus,
    VertexWarning,
    clean_text,
)

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

MAX_LOG_BYTES = 1024 * 1024
"""A message is closed once its logs hold more bytes than this."""


def time_from_pb(stamp: Timestamp) -> int:
    """Nanoseconds since the epoch."""
    return stamp.seconds * NANOS + stamp.nanos


def time_to_pb(target: Timestamp, nanos: int) -> None:
    """Set a timestamp message to nanoseconds since the epoch."""
    target.seconds, target.nanos = divmod(nanos, NANOS)
    target.SetInParent()


def new_solve_status(response: control_pb2.StatusResponse) -> SolveStatus:
    """The status that a message of the daemon holds."""
    status = SolveStatus.__new__(SolveStatus)
    fill_status(status, response)
    return status


def fill_status(status: SolveStatus, response: control_pb2.StatusResponse) -> None:
    """Set every list of a status to what a message holds."""
    vertexes, statuses, warnings = response.vertexes, response.statuses, response.warnings
    status.vertexes = [_vertex_from_pb(vertex) for vertex in vertexes] if vertexes else []
    status.statuses = [_status_from_pb(item) for item in statuses] if statuses else []
    status.logs = [
        VertexLog(log.vertex, log.stream, log.msg or NIL, (stamp := log.timestamp).seconds * NANOS + stamp.nanos)
        for log in response.logs
    ]
    status.warnings = [_warning_from_pb(warning) for warning in warnings] if warnings else []


def _vertex_from_pb(vertex: control_pb2.Vertex) -> Vertex:
    return Vertex(
        digest=vertex.digest,
        inputs=list(vertex.inputs),
        name=vertex.name,
        started=time_from_pb(vertex.started) if vertex.HasField("started") else None,
        completed=time_from_pb(vertex.completed) if vertex.HasField("completed") else None,
        cached=vertex.cached,
        error=vertex.error,
        progress_group=vertex.progressGroup if vertex.HasField("progressGroup") else None,
    )


def _status_from_pb(status: control_pb2.VertexStatus) -> VertexStatus:
    return VertexStatus(
        id=status.ID,
        vertex=status.vertex,
        name=status.name,
        total=status.total,
        current=status.current,
        timestamp=time_from_pb(status.timestamp),
        started=time_from_pb(status.started) if status.HasField("started") else None,
        completed=time_from_pb(status.completed) if status.HasField("completed") else None,
    )


def _warning_from_pb(warning: control_pb2.VertexWarning) -> VertexWarning:
    return VertexWarning(
        vertex=warning.vertex,
        level=warning.level,
        short=warning.short or NIL,
        detail=list(warning.detail),
        url=warning.url,
        source_info=warning.info if warning.HasField("info") else None,
        range=list(warning.ranges),
    )


def marshal(status: SolveStatus) -> list[control_pb2.StatusResponse]:
    """The messages that carry a status, at least one; logs over `MAX_LOG_BYTES` are spread over several.

    Each message holds the warnings, as Go's do; vertexes and statuses are in the first.
    """
    responses: list[control_pb2.StatusResponse] = []
    start = 0
    while True:
        response = control_pb2.StatusResponse()
        if not responses:
            for vertex in status.vertexes:
                _vertex_to_pb(response.vertexes.add(), vertex)
            for item in status.statuses:
                _status_to_pb(response.statuses.add(), item)
        next_start = _add_logs(response, status.logs, start, over=bool(responses))
        for warning in status.warnings:
            _warning_to_pb(response.warnings.add(), warning)
        responses.append(response)
        if next_start is None:
            return responses
        start = next_start


def _add_logs(response: control_pb2.StatusResponse, logs: list[VertexLog], start: int, *, over: bool) -> int | None:
    """Add logs until the message is full; where to go on, or None at the end.

    Go never counts from zero again, so after the first full message each one holds a single log (`over`).
    """
    size = MAX_LOG_BYTES + 1 if over else 0
    for index in range(start, len(logs)):
        log = logs[index]
        target = response.logs.add(vertex=clean_text(log.vertex), stream=log.stream, msg=log.data)
        time_to_pb(target.timestamp, log.timestamp)
        size += len(log.data)
        if size > MAX_LOG_BYTES:
            return index + 1
    return None


def _vertex_to_pb(target: control_pb2.Vertex, vertex: Vertex) -> None:
    target.digest = clean_text(vertex.digest)
    target.inputs.extend(map(clean_text, vertex.inputs))
    target.name = clean_text(vertex.name)
    target.cached = vertex.cached
    target.error = clean_text(vertex.error)
    if vertex.started is not None:
        time_to_pb(target.started, vertex.started)
    if vertex.completed is not None:
        time_to_pb(target.completed, vertex.completed)
    if vertex.progress_group is not None:
        target.progressGroup.CopyFrom(vertex.progress_group)


def _status_to_pb(target: control_pb2.VertexStatus, status: VertexStatus) -> None:
    target.ID = clean_text(status.id)
    target.vertex = clean_text(status.vertex)
    target.name = clean_text(status.name)
    target.current = status.current
    target.total = status.total
    time_to_pb(target.timestamp, status.timestamp)
    if status.started is not None:
        time_to_pb(target.started, status.started)
    if status.completed is not None:
        time_to_pb(target.completed, status.completed)


def _warning_to_pb(target: control_pb2.VertexWarning, warning: VertexWarning) -> None:
    target.vertex = clean_text(warning.vertex)
    target.level = warning.level
    target.short = warning.short
    target.detail.extend(warning.detail)
    target.url = clean_text(warning.url)
    if warning.source_info is not None:
        target.info.CopyFrom(warning.source_info)
    target.ranges.extend(warning.range)
