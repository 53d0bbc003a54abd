"""Events of the build history, as the commands print them. Mirrors the tables of cmd/buildctl, v0.32.2."""

from __future__ import annotations

from pybuildkit.cmd.buildctl._control import nanoseconds
from pybuildkit.golang import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from pybuildkit.api.services.control import control_pb2 as pb


def event_type(event: pb.BuildHistoryEvent) -> str:
    """The name of the event's kind, its number where it has no name."""
    from pybuildkit.api.services.control import control_pb2

    names = {value: name for name, value in control_pb2.BuildHistoryEventType.items()}
    return names.get(event.type, str(int(event.type)))


def local_time(stamp: Timestamp, is_set: bool) -> str:
    """A time in the machine's zone, "" where there is none."""
    if not is_set:
        return ""
    ns = nanoseconds(stamp)
    return time.rfc3339(ns, time.local_offset(ns) or None)


def columns(event: pb.BuildHistoryEvent) -> list[str]:
    """Kind, reference, when it was begun and ended, and how often the record changed."""
    record = event.record
    return [
        event_type(event),
        record.Ref,
        local_time(record.CreatedAt, record.HasField("CreatedAt")),
        local_time(record.CompletedAt, record.HasField("CompletedAt")),
        str(record.Generation),
    ]
