"""What the store holds, which of it to show and which to remove.

Mirrors DiskUsage and Prune of control/control.go and cache/manager.go, and containerd's filter language as far as
BuildKit's records use it: `FIELD`, `FIELD==VALUE`, `FIELD!=VALUE`, `FIELD~=REGEX`, joined by commas; several filters
are alternatives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from fake_buildkitd.store import Snapshot, Store
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

_CONDITION = re.compile(r"([A-Za-z_]+)(?:(==|!=|~=|=)(.*))?\Z", re.DOTALL)
_SHARED_KINDS = frozenset({"internal", "frontend"})


class FilterError(BuildkitError):
    """A filter that cannot be read."""


def record(snapshot: Snapshot, in_use: bool) -> pb.UsageRecord:
    """A snapshot as a client sees it."""
    out = pb.UsageRecord(
        ID=snapshot.id,
        Mutable=False,
        InUse=in_use,
        Size=snapshot.size,
        UsageCount=snapshot.usage_count,
        Description=snapshot.description,
        RecordType=snapshot.kind,
        Shared=False,
    )
    out.CreatedAt.FromNanoseconds(snapshot.created_at)
    if snapshot.usage_count:
        out.LastUsedAt.FromNanoseconds(snapshot.last_used_at)
    return out


def select(store: Store, filters: Sequence[str], in_use: Callable[[Snapshot], bool]) -> list[pb.UsageRecord]:
    """The records that one of the filters takes (all without filters).

    Raises:
        FilterError: a filter cannot be read.
    """
    wanted = [_parse(text) for text in filters if text]
    records = [record(snapshot, in_use(snapshot)) for snapshot in store.snapshots()]
    return [each for each in records if not wanted or any(all(test(each) for test in tests) for tests in wanted)]


Test = Callable[[pb.UsageRecord], bool]


def _parse(text: str) -> list[Test]:
    return [_condition(part, text) for part in text.split(",")]


def _condition(part: str, text: str) -> Test:
    match = _CONDITION.match(part.strip())
    if match is None:
        raise FilterError(f"failed to parse filter {quote(text)}")
    name, op, value = match[1].lower(), match[2], (match[3] or "").strip().strip('"')
    if op is None:
        return lambda each: _field(each, name) not in ("", "false")
    if op == "~=":
        try:
            pattern = re.compile(value)
        except re.error as err:
            raise FilterError(f"failed to parse filter {quote(text)}: {err}") from err
        return lambda each: pattern.search(_field(each, name)) is not None
    if op == "!=":
        return lambda each: _field(each, name) != value
    return lambda each: _field(each, name) == value


def _field(each: pb.UsageRecord, name: str) -> str:
    values: dict[str, object] = {
        "id": each.ID,
        "type": each.RecordType,
        "description": each.Description,
        "inuse": each.InUse,
        "mutable": each.Mutable,
        "immutable": not each.Mutable,
        "shared": each.Shared,
        "private": not each.Shared,
    }
    value = values.get(name, "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def prune(store: Store, request: pb.PruneRequest, in_use: Callable[[Snapshot], bool]) -> list[pb.UsageRecord]:
    """Remove what the request names, the least used first; the records that were removed.

    Raises:
        FilterError: a filter cannot be read.
    """
    candidates = [each for each in select(store, list(request.filter), in_use) if not each.InUse]
    if not request.all:
        candidates = [each for each in candidates if each.RecordType not in _SHARED_KINDS]
    if request.keepDuration > 0:
        limit = store.clock() - request.keepDuration
        candidates = [each for each in candidates if _last_used(each) < limit]
    candidates.sort(key=_last_used)
    keep = max(request.reservedSpace, request.maxUsedSpace)
    if keep > 0:
        total = sum(snapshot.size for snapshot in store.snapshots())
        chosen = []
        for each in candidates:
            if total <= keep:
                break
            chosen.append(each)
            total -= each.Size
        candidates = chosen
    store.remove([each.ID for each in candidates])
    return candidates


def _last_used(each: pb.UsageRecord) -> int:
    stamp = each.LastUsedAt if each.HasField("LastUsedAt") else each.CreatedAt
    return stamp.ToNanoseconds()
