"""Between a store's values and the messages of its service.

Mirrors the conversions of core/content/proxy, github.com/containerd/containerd v2.3.3.
"""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from pybuildkit.third_party.containerd.content import content_pb2 as pb
from pybuildkit.third_party.containerd.content._content import Info, Status

_SECOND = 1_000_000_000


def to_timestamp(ns: int) -> Timestamp:
    """The message for nanoseconds since the epoch."""
    seconds, nanos = divmod(ns, _SECOND)
    return Timestamp(seconds=seconds, nanos=nanos)


def from_timestamp(message: Timestamp) -> int:
    """Nanoseconds since the epoch."""
    return message.seconds * _SECOND + message.nanos


def info_to_pb(info: Info) -> pb.Info:
    """The message for a blob."""
    return pb.Info(
        digest=info.digest,
        size=info.size,
        created_at=to_timestamp(info.created_at),
        updated_at=to_timestamp(info.updated_at),
        labels=info.labels,
    )


def info_from_pb(message: pb.Info) -> Info:
    """The blob of a message."""
    return Info(
        digest=message.digest,
        size=message.size,
        created_at=from_timestamp(message.created_at),
        updated_at=from_timestamp(message.updated_at),
        labels=dict(message.labels),
    )


def status_to_pb(status: Status) -> pb.Status:
    """The message for an ingest."""
    return pb.Status(
        ref=status.ref,
        offset=status.offset,
        total=status.total,
        expected=status.expected,
        started_at=to_timestamp(status.started_at),
        updated_at=to_timestamp(status.updated_at),
    )


def status_from_pb(message: pb.Status) -> Status:
    """The ingest of a message."""
    return Status(
        ref=message.ref,
        offset=message.offset,
        total=message.total,
        expected=message.expected,
        started_at=from_timestamp(message.started_at),
        updated_at=from_timestamp(message.updated_at),
    )
