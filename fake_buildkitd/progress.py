"""What a build tells about itself while it runs, for any number of readers, now and later.

Mirrors util/progress and solver/progress.go, v0.32.2.

Every item has an id; a reader that is behind gets the last item of an id only. A reader that comes late gets the
last item of every id first. Times count nanoseconds since the epoch.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import replace

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning
from pybuildkit.golang import context
from pybuildkit.golang.context import Context

Item = Vertex | VertexStatus | VertexLog | VertexWarning


class Progress:
    """The items of one build.

    Args:
        clock: gives the time.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self.clock = clock
        self._items: dict[str, tuple[int, Item]] = {}
        self._readers: set[_Reader] = set()
        self._ids = itertools.count()
        self.closed = False

    def new_id(self) -> str:
        """An id that no other item of this build has."""
        return f"#{next(self._ids)}"

    def write(self, item_id: str, item: Item) -> None:
        """Add an item, or replace the one with this id; nothing happens after `close`."""
        if self.closed:
            return
        entry = (self.clock(), item)
        self._items.pop(item_id, None)
        self._items[item_id] = entry
        for reader in self._readers:
            reader.dirty[item_id] = entry
            reader.wake()

    def close(self) -> None:
        """No more items come: readers end after what they have."""
        self.closed = True
        for reader in self._readers:
            reader.wake()

    async def read(self, ctx: Context, emit: Callable[[SolveStatus], object]) -> None:
        """Give statuses to `emit` (and await what it returns, if anything) until the build ends.

        Raises:
            the context's cause, when it ends first.
        """
        reader = _Reader(dict(self._items))
        self._readers.add(reader)
        vertexes = _VertexStream(self.clock)
        try:
            while True:
                await reader.wait(ctx, self)
                batch, reader.dirty = reader.dirty, {}
                if not batch:
                    break
                await _give(emit, vertexes.status(list(batch.values())))
            last = vertexes.encore()
            if last:
                await _give(emit, SolveStatus(vertexes=last))
        finally:
            self._readers.discard(reader)


async def _give(emit: Callable[[SolveStatus], object], status: SolveStatus) -> None:
    result = emit(status)
    if asyncio.iscoroutine(result):
        await result


class _Reader:
    def __init__(self, dirty: dict[str, tuple[int, Item]]) -> None:
        self.dirty = dirty
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, ctx: Context, progress: Progress) -> None:
        """Return when something came or nothing more will."""
        while not self.dirty and not progress.closed:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await context.run(ctx, self._waiter)
            finally:
                self._waiter = None


class _VertexStream:
    """Marks inputs of a started vertex as cached where nothing was heard of them."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._known: dict[str, Vertex] = {}
        self._cached: set[str] = set()

    def status(self, entries: list[tuple[int, Item]]) -> SolveStatus:
        """One status of the items, each kind in the order of time."""
        status = SolveStatus()
        for timestamp, item in sorted(entries, key=lambda entry: entry[0]):
            if isinstance(item, Vertex):
                status.vertexes += self._append(item)
            elif isinstance(item, VertexStatus):
                status.statuses.append(replace(item, timestamp=timestamp))
            elif isinstance(item, VertexLog):
                status.logs.append(replace(item, timestamp=timestamp))
            else:
                status.warnings.append(item)
        status.vertexes.sort(key=lambda vertex: -1 if vertex.started is None else vertex.started)
        return status

    def _append(self, vertex: Vertex) -> list[Vertex]:
        """The vertex, after those below it of which it tells that they are cached; a graph may be very deep."""
        out: list[Vertex] = []
        stack: list[tuple[Vertex, bool]] = [(vertex, False)]
        while stack:
            each, below_done = stack.pop()
            if below_done:
                if each.cached:
                    self._mark_cached(each.digest)
                if each is not vertex:
                    self._known.pop(each.digest, None)
                out.append(replace(each))
                continue
            if each is not vertex and not self._unheard(each.digest):
                continue
            self._known[each.digest] = each
            stack.append((each, True))
            if each.started is None:
                continue
            known = [self._known[digest] for digest in reversed(each.inputs) if self._unheard(digest)]
            stack += [(replace(v, cached=True, started=each.started, completed=each.started), False) for v in known]
        return out

    def _unheard(self, digest: str) -> bool:
        """Whether a vertex is known, but nothing of its end."""
        known = self._known.get(digest)
        return known is not None and not known.cached and known.completed is None

    def _mark_cached(self, digest: str) -> None:
        stack = [digest]
        while stack:
            each = stack.pop()
            vertex = self._known.get(each)
            if vertex is None:
                continue
            if each not in self._cached:
                stack += vertex.inputs
            self._cached.add(each)

    def encore(self) -> list[Vertex]:
        """The vertices that were started and never completed, as completed now."""
        out: list[Vertex] = []
        for vertex in self._known.values():
            if vertex.started is not None and vertex.completed is None:
                error = vertex.error
                if vertex.digest not in self._cached and not error:
                    error = "context canceled"
                out.append(replace(vertex, completed=self._clock(), error=error))
        return out


class VertexWriter:
    """Writes the items of one vertex.

    Args:
        progress: the build's items.
        vertex: what is known of it; its times and error are set here.
    """

    def __init__(self, progress: Progress, vertex: Vertex) -> None:
        self.progress = progress
        self.vertex = vertex

    def announce(self) -> None:
        """Tell that the vertex is part of the build."""
        self.progress.write(self.progress.new_id(), replace(self.vertex))

    def start(self, cached: bool = False) -> Callable[[BaseException | None], None]:
        """Tell that work on the vertex begins; the function that is returned tells that it has ended."""
        from pybuildkit.golang.errors import error_text

        item_id = self.progress.new_id()
        self.vertex = replace(self.vertex, started=self.progress.clock(), completed=None, cached=cached)
        self.progress.write(item_id, replace(self.vertex))

        def completed(err: BaseException | None) -> None:
            error = error_text(err) if err is not None else ""
            self.vertex = replace(self.vertex, completed=self.progress.clock(), cached=cached, error=error)
            self.progress.write(item_id, replace(self.vertex))

        return completed

    def _key(self, item_id: str) -> str:
        """Other vertices may have a status of the same id."""
        return f"{self.vertex.digest} {item_id}"

    def transfer(self, item_id: str) -> Callable[[int, bool], None]:
        """Tell of a transfer; called with the bytes so far, at most ten times a second, and at its end."""
        clock = self.progress.clock
        key = self._key(item_id)
        started = clock()
        status = VertexStatus(id=item_id, vertex=self.vertex.digest, name="transferring", started=started)
        self.progress.write(key, status)
        next_time = 0

        def report(current: int, last: bool) -> None:
            nonlocal status, next_time
            now = clock()
            if not last and now < next_time:
                return
            next_time = now + 100_000_000
            status = replace(status, current=current, completed=now if last else None)
            self.progress.write(key, status)

        return report

    def again(self, name: str, action: str) -> None:
        """Tell of work on the vertex after its end; as BuildKit does, without the vertex's inputs.

        Args:
            name: of the piece of work, whose kind is `action`.
        """
        item_id, started = self.progress.new_id(), self.progress.clock()
        vertex = replace(self.vertex, inputs=[], started=started, completed=None, cached=False, error="")
        self.progress.write(item_id, vertex)
        status = VertexStatus(id=name, vertex=vertex.digest, name=action, started=started)
        completed = self.progress.clock()
        self.progress.write(self._key(name), replace(status, completed=completed))
        self.progress.write(item_id, replace(vertex, completed=completed))

    def one_off(self, item_id: str) -> Callable[[], None]:
        """Tell of one piece of work; the function that is returned tells that it is done."""
        key = self._key(item_id)
        status = VertexStatus(id=item_id, vertex=self.vertex.digest, started=self.progress.clock())
        self.progress.write(key, status)

        def done() -> None:
            self.progress.write(key, replace(status, completed=self.progress.clock()))

        return done
