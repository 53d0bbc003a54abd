"""What the store holds, which of it to show and which to remove.

Mirrors DiskUsage and Prune of control/control.go and cache/manager.go, and worker/filter.go, v0.32.2. Filters are
containerd's; a record has the fields id, parents, description, type, and, present or not, inuse, mutable, immutable,
shared, private.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial

from fake_buildkitd.store import DiskStore, Snapshot, Store
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.api.types import worker_pb2
from pybuildkit.golang.errors import wrap
from pybuildkit.third_party.containerd import filters as filter_language
from pybuildkit.third_party.containerd.filters import Filter, FilterError

InUse = Callable[[Snapshot], bool]

_SHARED_KINDS = frozenset({"internal", "frontend"})


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


def _parse(texts: Sequence[str], what: str) -> Filter:
    try:
        return filter_language.parse_all(texts)
    except FilterError as err:
        raise wrap(err, f"failed to parse {what} filters [{' '.join(texts)}]") from err


def select(store: Store, filters: Sequence[str], in_use: InUse, age_limit: int = 0) -> list[pb.UsageRecord]:
    """The records that one of the filters takes (all without filters).

    Args:
        store: what is looked at.
        filters: containerd's filters.
        in_use: whether a build that runs needs a snapshot.
        age_limit: nanoseconds; leaves out what was used since. 0 for no limit.

    Raises:
        WrappedError: a filter cannot be read.
    """
    wanted = _parse(filters, "diskusage")
    records = [record(snapshot, in_use(snapshot)) for snapshot in store.snapshots()]
    limit = store.clock() - age_limit if age_limit > 0 else None
    return [each for each in records if _passes(wanted, each) and not _used_since(each, limit)]


def _passes(wanted: Filter, each: pb.UsageRecord) -> bool:
    return wanted.match(partial(_field, each))


def _used_since(each: pb.UsageRecord, limit: int | None) -> bool:
    return limit is not None and _last_used(each) > limit


def _last_used(each: pb.UsageRecord) -> int:
    """When something was done with it last; making it counts."""
    return (each.LastUsedAt if each.HasField("LastUsedAt") else each.CreatedAt).ToNanoseconds()


def _field(each: pb.UsageRecord, path: Sequence[str]) -> str | None:
    name = path[0]
    texts = {
        "id": each.ID,
        "parents": ";".join(each.Parents),
        "description": each.Description,
        "type": each.RecordType,
    }
    if name in texts:
        return texts[name] or None
    flags = {
        "inuse": each.InUse,
        "mutable": each.Mutable,
        "immutable": not each.Mutable,
        "shared": each.Shared,
        "private": not each.Shared,
    }
    return "" if flags.get(name) else None


def prune(store: Store, request: pb.PruneRequest, in_use: InUse) -> list[pb.UsageRecord]:
    """Remove what the request names, the least used first; the records that were removed.

    Raises:
        WrappedError: a filter cannot be read.
    """
    wanted = _parse(request.filter, "prune")
    records = [record(snapshot, in_use(snapshot)) for snapshot in store.snapshots()]
    limit = store.clock() - request.keepDuration if request.keepDuration > 0 else None
    candidates = [
        each
        for each in records
        if not each.InUse
        and (request.all or each.RecordType not in _SHARED_KINDS)
        and not _used_since(each, limit)
        and _passes(wanted, each)
    ]
    total = sum(each.Size for each in records)
    keep = _keep_bytes(request, total, store.folder if isinstance(store, DiskStore) else "/")
    if keep:
        candidates = _until(_order(candidates), total, keep)
    store.remove([each.ID for each in candidates])
    return candidates


def _keep_bytes(request: pb.PruneRequest, total: int, folder: str) -> int:
    """Below how many bytes to come; 0 where the request sets no bound."""
    if not (request.maxUsedSpace or request.reservedSpace or request.minFreeSpace):
        return 0
    keep = request.maxUsedSpace
    if request.minFreeSpace:
        missing = request.minFreeSpace - shutil.disk_usage(folder).free
        if missing > 0:
            keep = min(keep, total - missing) if keep else total - missing
        elif not keep:
            keep = total + 1
    return max(keep, request.reservedSpace)


def _until(records: list[pb.UsageRecord], total: int, keep: int) -> list[pb.UsageRecord]:
    chosen = []
    for each in records:
        if total < keep:
            break
        chosen.append(each)
        total -= each.Size
    return chosen


def _order(records: list[pb.UsageRecord]) -> list[pb.UsageRecord]:
    """By how long ago and how often they were used, both counted in ranks."""
    ages = _ranks(sorted({_last_used(each) for each in records}))
    counts = _ranks(sorted({each.UsageCount for each in records} - {0}))
    oldest, most = len(ages) + 1, len(counts) + 1
    return sorted(
        records,
        key=lambda each: ages[_last_used(each)] / oldest + counts.get(each.UsageCount, 1) / most,
    )


def _ranks(values: list[int]) -> dict[int, int]:
    return {value: rank for rank, value in enumerate(values, 2)}


def select_workers(workers: Sequence[worker_pb2.WorkerRecord], filters: Sequence[str]) -> list[worker_pb2.WorkerRecord]:
    """The workers that one of the filters takes, by `id` and `labels.NAME`.

    Raises:
        FilterError: a filter cannot be read.
    """
    wanted = filter_language.parse_all(filters)
    return [worker for worker in workers if wanted.match(partial(_worker_field, worker))]


def _worker_field(worker: worker_pb2.WorkerRecord, path: Sequence[str]) -> str | None:
    if path[0] == "id":
        return worker.ID or None
    return worker.Labels.get(".".join(path[1:])) if path[0] == "labels" else None
