"""The command `du`: what the build cache holds. Mirrors cmd/buildctl/diskusage.go, v0.32.2."""

from __future__ import annotations

from pybuildkit.cmd.buildctl import _control, _format, _usage
from pybuildkit.cmd.buildctl.common import command_channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl._app import CommandContext


def disk_usage(c: CommandContext) -> None:
    """Print the records, smallest first, and without a filter their sums."""
    from pybuildkit.api.services.control import _methods, control_pb2

    filters = c.string_slice("filter")
    with command_channel(c) as channel:
        request = control_pb2.DiskUsageRequest(filter=filters)
        response = _control.unary(channel, _methods.DISK_USAGE, request, "failed to call diskusage")
    records = sorted(response.record, key=lambda record: (record.Size, record.ID.encode()))
    show = _format.formatter(c)
    if show is not None:
        from pybuildkit.golang.reflect import Slice

        _format.note_ignored_verbose(c)
        members = [_usage.usage_info(record, is_pointer=True) for record in records]
        show(Slice("*client.UsageInfo", members, is_nil=not members))
        return
    table = _usage.table_writer(c)
    if not c.bool("verbose"):
        table.write(_usage.HEADER)
    for record in records:
        table.write(_usage.verbose(record) if c.bool("verbose") else _usage.row(record))
    table.flush()
    if not filters:
        table.write(_usage.summary(records))
        table.flush()
