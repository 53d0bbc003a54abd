"""The command `prune`: remove data from the build cache.

Mirrors cmd/buildctl/prune.go and client/prune.go, v0.32.2.
"""

from __future__ import annotations

from pybuildkit.cmd.buildctl import _control, _format, _usage
from pybuildkit.cmd.buildctl.common import command_channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pybuildkit.api.services.control import control_pb2 as pb
    from pybuildkit.cmd.buildctl._app import CommandContext

_INT64_MIN = -(1 << 63)


def prune(c: CommandContext) -> None:
    """Print each record as it is removed, and at the end how much that was."""
    from pybuildkit.api.services.control import _methods

    total = 0
    show = _format.formatter(c)
    if show is not None:
        _format.note_ignored_verbose(c)
    shower = _template_shower(show) if show is not None else _table_shower(c)
    with command_channel(c) as channel:
        for record in _control.server_stream(channel, _methods.PRUNE, _request(c), "failed to call prune"):
            total += record.Size
            shower(record)
    if show is None:
        c.stdout.write(f"Total:\t{_usage.size(total)}\n")


def _request(c: CommandContext) -> pb.PruneRequest:
    from pybuildkit.api.services.control import control_pb2

    return control_pb2.PruneRequest(
        filter=c.string_slice("filter"),
        all=c.bool("all"),
        keepDuration=c.duration("keep-duration"),
        reservedSpace=_megabytes(c.float64("keep-storage-min")),
        maxUsedSpace=_megabytes(c.float64("keep-storage")),
        minFreeSpace=_megabytes(c.float64("free-storage")),
    )


def _megabytes(count: float) -> int:
    """The bytes of so many megabytes; what 64 bits cannot hold is what amd64 makes of it."""
    value = count * 1e6
    return int(value) if abs(value) < 2**63 else _INT64_MIN


def _template_shower(show: Callable[[object], None]) -> Callable[[pb.UsageRecord], None]:
    return lambda record: show(_usage.usage_info(record, is_pointer=False))


def _table_shower(c: CommandContext) -> Callable[[pb.UsageRecord], None]:
    table = _usage.table_writer(c)
    header = [] if c.bool("verbose") else [_usage.HEADER]

    def shower(record: pb.UsageRecord) -> None:
        if header:
            table.write(header.pop())
        table.write(_usage.verbose(record) if c.bool("verbose") else _usage.row(record))
        table.flush()

    return shower
