"""Records of the build cache, as `du` and `prune` print them.

Mirrors client/diskusage.go and the tables of cmd/buildctl/diskusage.go, v0.32.2.
"""

from __future__ import annotations

from pybuildkit.cmd.buildctl._control import nanoseconds
from pybuildkit.golang import time
from pybuildkit.golang.tabwriter import Writer
from pybuildkit.third_party import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pybuildkit.api.services.control import control_pb2 as pb
    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.golang.reflect import Struct

HEADER = "ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n"


def table_writer(c: CommandContext) -> Writer:
    """Columns that are padded by tabs, on standard output."""
    return Writer(c.stdout.show, 1, 8, 1, "\t")


def size(count: int) -> str:
    """A size with two decimals."""
    return units.format(count, "f", 2)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def row(record: pb.UsageRecord) -> str:
    """The record's line in the table."""
    name = record.ID + ("*" if record.Mutable else "")
    shown = size(record.Size) + ("*" if record.Shared else "")
    return f"{name:<71}\t{_bool(not record.InUse):<11}\t{shown}\t\n"


def verbose(record: pb.UsageRecord) -> str:
    """The record's block of lines, with an empty one behind it."""
    lines = [("ID", record.ID)]
    if record.Parents:
        lines.append(("Parents", ";".join(record.Parents)))
    lines += [
        ("Created at", time.string(nanoseconds(record.CreatedAt))),
        ("Mutable", _bool(record.Mutable)),
        ("Reclaimable", _bool(not record.InUse)),
        ("Shared", _bool(record.Shared)),
        ("Size", size(record.Size)),
    ]
    if record.Description:
        lines.append(("Description", record.Description))
    lines.append(("Usage count", str(record.UsageCount)))
    if record.HasField("LastUsedAt"):
        lines.append(("Last used", time.string(nanoseconds(record.LastUsedAt))))
    if record.RecordType:
        lines.append(("Type", record.RecordType))
    return "".join(f"{key}:\t{value}\n" for key, value in lines) + "\n"


def summary(records: Iterable[pb.UsageRecord]) -> str:
    """The lines with the sums; a negative size counts among the shared ones alone."""
    total = reclaimable = shared = 0
    for record in records:
        if record.Size > 0:
            total += record.Size
            reclaimable += 0 if record.InUse else record.Size
        if record.Shared:
            shared += record.Size
    text = f"Shared:\t{size(shared)}\nPrivate:\t{size(total - shared)}\n" if shared > 0 else ""
    return text + f"Reclaimable:\t{size(reclaimable)}\nTotal:\t{size(total)}\n"


def usage_info(record: pb.UsageRecord, *, is_pointer: bool) -> Struct:
    """The record as `--format` sees it."""
    from pybuildkit.golang.reflect import Field, Int64, Nil, Slice, Struct, Time, named

    last_used = Nil("*time.Time")
    used = Time(nanoseconds(record.LastUsedAt), is_pointer=True) if record.HasField("LastUsedAt") else last_used
    return Struct(
        "client.UsageInfo",
        Field("ID", "id", record.ID),
        Field("Mutable", "mutable", record.Mutable),
        Field("InUse", "inUse", record.InUse),
        Field("Size", "size", Int64(record.Size)),
        Field("CreatedAt", "createdAt", Time(nanoseconds(record.CreatedAt))),
        Field("LastUsedAt", "lastUsedAt", used),
        Field("UsageCount", "usageCount", record.UsageCount),
        Field("Parents", "parents", Slice("string", record.Parents, is_nil=not record.Parents)),
        Field("Description", "description", record.Description),
        Field("RecordType", "recordType", named("client.UsageRecordType", record.RecordType)),
        Field("Shared", "shared", record.Shared),
        is_pointer=is_pointer,
    )
