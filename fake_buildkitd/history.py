"""What is remembered of builds: a record of each, its log and its error.

Mirrors solver/llbsolver/history/buildhistory.go and filter.go, and recordBuildHistory of solver/llbsolver/history.go,
v0.32.2.

A build that runs has a record in memory. When it has ended, its statuses become a blob (each a StatusResponse behind
its length, four bytes, little-endian), an error another, and the record names both. With a folder all of that
survives the process:

    records/SHA256 OF REF      the record
    blobs/sha256/DIGITS        logs and errors

50 builds are kept, and more while they are younger than 48 hours (in memory only those 50); what is pinned stays.

Differs on purpose: there is neither a trace nor provenance, since this daemon makes none.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from fake_buildkitd.content import Blobs, FolderBlobs, MemoryBlobs, write_whole
from fake_buildkitd.historyfilter import filter_events
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote
from pybuildkit.rpc import RpcError
from pybuildkit.third_party.containerd.errdefs import NotFoundError

MAX_ENTRIES = 50
MAX_AGE = 48 * 3600 * 1_000_000_000
"""Nanoseconds."""
LOGS = "application/vnd.buildkit.status.v0"
ERROR = "application/vnd.googeapis.google.rpc.status+proto"

T = TypeVar("T")
Emit = Callable[[pb.BuildHistoryEvent], Awaitable[None]]


class MissingError(BuildkitError):
    """No record has the reference."""


class History:
    """The records of one daemon's builds.

    Args:
        folder: where they are kept; None for in memory.
        clock: gives the time in nanoseconds.
    """

    def __init__(self, folder: str | None, clock: Callable[[], int] = time.time_ns) -> None:
        self._folder = folder
        self._clock = clock
        self.blobs: Blobs = MemoryBlobs(clock) if folder is None else FolderBlobs(folder)
        self._active: dict[str, pb.BuildHistoryRecord] = {}
        self._records: dict[str, pb.BuildHistoryRecord] | None = {} if folder is None else None
        self._lock = asyncio.Lock()
        self._listeners: set[asyncio.Queue[pb.BuildHistoryEvent]] = set()
        self._watched: dict[str, int] = {}
        self._deleted: set[str] = set()

    async def _work(self, work: Callable[[dict[str, pb.BuildHistoryRecord]], T]) -> T:
        """Do something with the finished records; in a thread where they are on a disk."""
        async with self._lock:
            if self._folder is None:
                return work(self._known())
            return await asyncio.to_thread(lambda: work(self._known()))

    def _known(self) -> dict[str, pb.BuildHistoryRecord]:
        if self._records is None:
            self._records = self._load()
        return self._records

    def _load(self) -> dict[str, pb.BuildHistoryRecord]:
        """Read the records from the disk, and remove what a killed process left of others."""
        assert isinstance(self.blobs, FolderBlobs)
        folder = self._record_folder()
        found: dict[str, pb.BuildHistoryRecord] = {}
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            record = self._read(os.path.join(folder, name))
            if record is None or record.Ref in found or name != _file_name(record.Ref):
                os.unlink(os.path.join(folder, name))
            else:
                found[record.Ref] = record
        self.blobs.sweep({digest for record in found.values() for digest in _blobs_of(record)})
        return found

    def _read(self, path: str) -> pb.BuildHistoryRecord | None:
        """A record, None where it is broken or a blob of it is missing."""
        from google.protobuf.message import DecodeError

        try:
            with open(path, "rb") as file:
                record = pb.BuildHistoryRecord.FromString(file.read())
            for digest in _blobs_of(record):
                self.blobs.info(digest)
        except (DecodeError, NotFoundError):
            return None
        return record

    def _record_folder(self) -> str:
        assert self._folder is not None
        return os.path.join(self._folder, "records")

    def _save(self, record: pb.BuildHistoryRecord) -> None:
        self._known()[record.Ref] = record
        if self._folder is not None:
            os.makedirs(self._record_folder(), mode=0o700, exist_ok=True)
            write_whole(os.path.join(self._record_folder(), _file_name(record.Ref)), record.SerializeToString())

    def _remove(self, ref: str) -> None:
        known = self._known()
        record = known.pop(ref)
        if self._folder is not None:
            path = os.path.join(self._record_folder(), _file_name(ref))
            if os.path.exists(path):
                os.unlink(path)
        kept = {digest for each in known.values() for digest in _blobs_of(each)}
        for digest in _blobs_of(record):
            if digest not in kept:
                self.blobs.drop(digest)

    def _publish(self, kind: pb.BuildHistoryEventType.ValueType, record: pb.BuildHistoryRecord) -> None:
        for queue in self._listeners:
            queue.put_nowait(pb.BuildHistoryEvent(type=kind, record=record))

    # A build's life.

    def started(self, record: pb.BuildHistoryRecord) -> None:
        """Remember a build that begins."""
        self._active[record.Ref] = record
        self._publish(pb.STARTED, record)

    async def completed(
        self, record: pb.BuildHistoryRecord, statuses: list[pb.StatusResponse], error: RpcError | None
    ) -> None:
        """Remember how a build ended.

        Args:
            record: as given to `started`, with everything but what follows from the other arguments.
            statuses: what its log is made of.
            error: why it failed.

        Raises:
            OSError: it cannot be written; the build is forgotten.
        """
        _count(record, statuses)
        log = b"".join(_frame(status.SerializeToString()) for status in statuses)

        def work(known: dict[str, pb.BuildHistoryRecord]) -> list[str]:
            record.logs.CopyFrom(self._blob(log, LOGS))
            if error is not None:
                status = error.status_proto()
                record.externalError.CopyFrom(self._blob(status.SerializeToString(), ERROR))
                del status.details[:]
                record.error.CopyFrom(status)
            self._save(record)
            return self._expire(known)

        try:
            gone = await self._work(work)
        finally:
            self._active.pop(record.Ref, None)
        self._publish(pb.COMPLETE, record)
        for ref in gone:
            self._publish(pb.DELETED, pb.BuildHistoryRecord(Ref=ref))

    def _blob(self, data: bytes, media_type: str) -> pb.Descriptor:
        return pb.Descriptor(media_type=media_type, digest=self.blobs.put(data), size=len(data))

    def _expire(self, known: dict[str, pb.BuildHistoryRecord]) -> list[str]:
        """Remove the oldest records where there are too many; their references."""
        if len(known) <= MAX_ENTRIES:
            return []
        loose = sorted(
            (record for record in known.values() if not record.pinned),
            key=lambda record: record.CompletedAt.ToNanoseconds(),
            reverse=True,
        )
        limit = self._clock() - (MAX_AGE if self._folder is not None else 0)
        old = [record.Ref for record in loose[MAX_ENTRIES:] if record.CompletedAt.ToNanoseconds() <= limit]
        gone = [ref for ref in old if ref not in self._watched]
        for ref in gone:
            self._remove(ref)
        return gone

    # What clients ask for.

    async def logs(self, ref: str) -> list[pb.StatusResponse] | None:
        """What a finished build told; None where there is no record of it."""

        def work(known: dict[str, pb.BuildHistoryRecord]) -> bytes | None:
            record = known.get(ref)
            return self.blobs.read_blob(record.logs.digest) if record is not None else None

        data = await self._work(work)
        return [pb.StatusResponse.FromString(part) for part in _parts(data)] if data is not None else None

    async def update(self, request: pb.UpdateBuildHistoryRequest) -> None:
        """Pin, unpin or remove a record; a removal waits for those who listen to that record alone.

        Raises:
            BuildkitError: there is no such record.
        """
        if request.Delete:
            await self._delete(request.Ref)
            return
        if request.Finalize:
            return

        def work(known: dict[str, pb.BuildHistoryRecord]) -> pb.BuildHistoryRecord:
            record = known.get(request.Ref)
            if record is None:
                raise MissingError(f"failed to retrieve ref {request.Ref}: file does not exist")
            changed = pb.BuildHistoryRecord()
            changed.CopyFrom(record)
            changed.pinned = request.Pinned
            changed.Generation += 1
            self._save(changed)
            return changed

        self._publish(pb.COMPLETE, await self._work(work))

    async def _delete(self, ref: str) -> None:
        if ref in self._watched:
            self._deleted.add(ref)
            return

        def work(known: dict[str, pb.BuildHistoryRecord]) -> bool:
            if ref in known:
                self._remove(ref)
                return True
            return False

        self._publish(pb.DELETED, pb.BuildHistoryRecord(Ref=ref))
        if not await self._work(work):
            raise MissingError(f"lease {quote('ref_' + ref)}: not found")

    async def listen(self, ctx: Context, request: pb.BuildHistoryRequest, emit: Emit) -> None:
        """Tell of the builds that run, of those that have ended, and then of what happens, until `ctx` ends.

        Raises:
            BuildkitError: a filter cannot be read, or the record is about to be removed.
        """
        if request.Ref and request.Ref in self._deleted:
            raise BuildkitError(f"ref {request.Ref} is deleted: file does not exist")
        queue: asyncio.Queue[pb.BuildHistoryEvent] = asyncio.Queue()
        self._listeners.add(queue)
        if request.Ref:
            self._watched[request.Ref] = self._watched.get(request.Ref, 0) + 1
        try:
            await self._tell_known(request, emit)
            while not request.EarlyExit:
                event = await context.run(ctx, queue.get())
                if request.Ref in ("", event.record.Ref):
                    await emit(event)
        finally:
            self._listeners.discard(queue)
            if request.Ref:
                await self._unwatch(request.Ref)

    async def _tell_known(self, request: pb.BuildHistoryRequest, emit: Emit) -> None:
        for record in list(self._active.values()):
            if request.Ref in ("", record.Ref) and record.Ref not in self._deleted:
                await emit(pb.BuildHistoryEvent(type=pb.STARTED, record=record))
        if request.ActiveOnly:
            return
        finished = await self._work(lambda known: [known[ref] for ref in sorted(known)])
        events = [
            pb.BuildHistoryEvent(type=pb.COMPLETE, record=record)
            for record in finished
            if request.Ref in ("", record.Ref) and record.Ref not in self._deleted
        ]
        for event in filter_events(events, list(request.Filter), request.Limit, self._clock()):
            await emit(event)

    async def _unwatch(self, ref: str) -> None:
        self._watched[ref] -= 1
        if not self._watched[ref]:
            del self._watched[ref]
            if ref in self._deleted:
                self._deleted.discard(ref)
                await self._delete(ref)


def _file_name(ref: str) -> str:
    return hashlib.sha256(ref.encode("utf-8", "surrogateescape")).hexdigest()


def _blobs_of(record: pb.BuildHistoryRecord) -> list[str]:
    return [each.digest for each in (record.logs, record.externalError) if each.digest]


def _frame(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def _parts(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        end = position + 4 + int.from_bytes(data[position : position + 4], "little")
        yield data[position + 4 : end]
        position = end


def _count(record: pb.BuildHistoryRecord, statuses: list[pb.StatusResponse]) -> None:
    """Note how many steps there were, and how many were cached and completed."""
    steps: set[str] = set()
    cached: set[str] = set()
    completed: set[str] = set()
    for status in statuses:
        record.numWarnings += len(status.warnings)
        for vertex in status.vertexes:
            steps.add(vertex.digest)
            if vertex.cached:
                cached.add(vertex.digest)
            if vertex.HasField("completed"):
                completed.add(vertex.digest)
    record.numTotalSteps = len(steps)
    record.numCachedSteps = len(cached)
    record.numCompletedSteps = len(completed)
