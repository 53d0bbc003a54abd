"""Solving a graph: every vertex once, in parallel, from the cache where it is known.

Mirrors solver/jobs.go and solver/edge.go in what a client can see, v0.32.2.

A vertex has a cache key made of its operation and its inputs: of an input that it copies from, the content of what
it reads counts; of any other, that input's own key. A local source's key is the content that came. So a file that
was only touched changes nothing. Vertices whose key is known do not run; they are shown as cached once their
result is needed, or as inputs of what runs.

First come the keys, from the bottom up: only sources, and what others need the content of, are made for them. So a
copy of a file that is not there fails before anything below it has run. Then the result is made, and with it what it
needs.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from fake_buildkitd.errors import ContentCacheError, OpError, UnsupportedError
from fake_buildkitd.progress import Progress, VertexWriter
from fake_buildkitd.solver._assembly import Assembly
from fake_buildkitd.solver._build import Nesting, definition_input, nested_graph
from fake_buildkitd.solver._fileop import check_inputs, selectors
from fake_buildkitd.solver._graph import Edge, Vertex, walk
from fake_buildkitd.solver._maker import Maker
from fake_buildkitd.store import (
    Node,
    Selector,
    Snapshot,
    Store,
    empty_root,
    root_digest,
    selected_digest,
)
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errgroup import Group, with_context
from pybuildkit.golang.errors import BuildkitError, WrappedError, wrap
from pybuildkit.solver.errdefs import wrap_vertex
from pybuildkit.solver.pb import ops_pb2 as pb


@dataclass(frozen=True)
class Kept:
    """What a source has from an earlier build: it is shown as cached."""

    snapshot: Snapshot


class CacheKeyError(WrappedError):
    """A source of which it cannot be told what is in it: `failed to load cache key: REASON`."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause, "failed to load cache key")


SourceFunc = Callable[[Context, Vertex, VertexWriter], Awaitable[Snapshot | Kept | None]]
"""Fetches a source, None for an empty tree; `VertexWriter` takes its statuses."""


class CacheImports(Protocol):
    """Build caches from elsewhere."""

    async def load(self, ctx: Context) -> None:
        """Read what the caches know; one that cannot be read is shown as such and left out."""

    def has_result(self, key: str) -> bool:
        """Whether a cache has the result of a key."""

    async def fetch(self, ctx: Context, key: str, writer: VertexWriter) -> Snapshot | None:
        """The result of a key, or None where no cache has it or can give it."""


@dataclass(eq=False)
class Result:
    """What a vertex gave: a snapshot for each output (None for an empty tree), and its cache key.

    A result that is not known yet is not made before somebody needs it: until then it is `pending`, and
    `importable` where an imported cache has it. One that is made whatever is known is `forced`, and `ignored` where
    that is said of its own vertex.
    """

    snapshots: list[Snapshot | None]
    key: str
    load: Callable[[], None] | None = None
    inputs: list[tuple[Result, int]] = field(default_factory=list)
    pending: Callable[[], asyncio.Task[Result]] | None = None
    importable: bool = False
    ignored: bool = False
    forced: bool = False

    async def make(self, ctx: Context) -> None:
        """Make the trees of a result of which only the key is known yet.

        Raises:
            VertexError: around what went wrong.
        """
        if self.pending is None:
            return
        made = await context.run(ctx, asyncio.shield(self.pending()))
        if self.pending is not None:
            self.snapshots, self.load, self.pending = made.snapshots, made.load, None

    def use(self) -> None:
        """Note that the result is needed: a cached one is now shown as such."""
        if self.load is not None:
            load, self.load = self.load, None
            load()

    def root(self, index: int) -> Node:
        """The tree of an output."""
        snapshot = self.snapshot(index)
        return snapshot.root if snapshot is not None else empty_root()

    def snapshot(self, index: int) -> Snapshot | None:
        """The tree of an output, None for an empty one, once it was made.

        Raises:
            BuildkitError: there is no such output.
        """
        if index >= len(self.snapshots):
            count = len(self.snapshots)
            raise BuildkitError(f"invalid response from exec need {index} index but {count} results received")
        return self.snapshots[index]


class Flights:
    """At most one run of each cache key at a time, over all builds."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def __call__(self, ctx: Context, key: str, run: Callable[[], Awaitable[Result]]) -> Result:
        """Run, after every other run of this key has ended."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            await context.run(ctx, lock.acquire())
            try:
                return await run()
            finally:
                lock.release()
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)


class JobSolver:
    """The solver of one build.

    Args:
        store: keeps results.
        progress: takes the statuses.
        sources: how to fetch a source, by the scheme of its identifier.
        flights: shared by all builds on the store.
        worker_id: shown in errors about a tree.
        imports: build caches from elsewhere.
        session_id: of the client whose files are read.
    """

    def __init__(
        self,
        store: Store,
        progress: Progress,
        sources: dict[str, SourceFunc],
        flights: Flights,
        worker_id: str,
        imports: CacheImports | None = None,
        session_id: str = "",
    ) -> None:
        self.store = store
        self.imports = imports
        self.progress = progress
        self._sources = sources
        self._flights = flights
        self._worker_id = worker_id
        self._session_id = session_id
        self._running: dict[str, asyncio.Task[Result]] = {}
        self._making: dict[str, asyncio.Task[Result]] = {}
        self._writers: dict[str, VertexWriter] = {}
        self._nesting = Nesting()
        self.assembly = Assembly(store)
        self._maker = Maker(store, self.assembly)
        self._ctx, self._cancel = context.with_cancel(context.background())

    async def solve(self, ctx: Context, edge: Edge) -> Snapshot | None:
        """The tree that a graph makes; None for an empty one.

        Raises:
            VertexError: around what went wrong in which vertex.
        """
        for vertex in walk(edge):
            if vertex.digest not in self._writers:
                self._writers[vertex.digest] = VertexWriter(self.progress, vertex.client_vertex())
                self._writers[vertex.digest].announce()
        result = await self._result(ctx, edge.vertex)
        await self._need_output(ctx, result, edge.index)
        await result.make(ctx)
        result.use()
        snapshot = result.snapshot(edge.index)
        if snapshot is not None:
            self.store.use(snapshot)
        return snapshot

    async def result(self, ctx: Context, edge: Edge) -> Result:
        """What is known of the vertex of an edge that was solved: its key, its inputs, their trees."""
        return await self._result(ctx, edge.vertex)

    async def close(self) -> None:
        """End everything that still runs."""
        self._cancel()
        tasks = [*self._running.values(), *self._making.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _result(self, ctx: Context, vertex: Vertex) -> Result:
        """The result of a vertex, made once however often it is asked for."""
        task = self._running.get(vertex.digest)
        if task is None:
            task = asyncio.ensure_future(self._make(self._ctx, vertex))
            task.add_done_callback(_retrieve)
            self._running[vertex.digest] = task
        return await context.run(ctx, asyncio.shield(task))

    async def _make(self, ctx: Context, vertex: Vertex) -> Result:
        return await self._placed(vertex, self._run(ctx, vertex))

    def _check(self, vertex: Vertex) -> None:
        """Refuse what makes no key; of a vertex without inputs it is shown that it was looked at."""
        done = self._writers[vertex.digest].start() if not vertex.inputs else None
        error: BuildkitError | None = None
        try:
            if vertex.op.HasField("file"):
                check_inputs(vertex.op.file, len(vertex.inputs))
        except BuildkitError as err:
            error = err
            raise CacheKeyError(err) from err
        finally:
            if done is not None:
                done(error)

    async def _placed(self, vertex: Vertex, work: Awaitable[Result]) -> Result:
        """Do a vertex's work; an error says in which vertex it came up."""
        try:
            return await work
        except (BuildkitError, OSError) as err:
            if isinstance(err, _InputError):
                raise err.cause from None
            op_error = OpError(err, vertex.op, dict(vertex.metadata.description))
            placed = wrap_vertex(op_error, vertex.digest)
            raise placed from placed.__cause__

    async def _inputs(self, ctx: Context, vertex: Vertex) -> list[tuple[Result, int]]:
        results: list[Result | None] = [None] * len(vertex.inputs)
        group: Group
        group, group_ctx = with_context(ctx)
        for position, (below, _) in enumerate(vertex.inputs):

            async def fetch(position: int = position, below: Vertex = below) -> None:
                results[position] = await self._result(group_ctx, below)

            await group.go(fetch)
        try:
            await group.wait()
        except (BuildkitError, OSError) as err:
            raise _InputError(err) from err
        pairs: list[tuple[Result, int]] = []
        for result, (_, index) in zip(results, vertex.inputs, strict=True):
            assert result is not None
            await self._need_output(ctx, result, index)
            pairs.append((result, index))
        return pairs

    @staticmethod
    async def _need_output(ctx: Context, result: Result, index: int) -> None:
        """Refuse an output that a vertex does not have, once it has run."""
        if index >= len(result.snapshots):
            await result.make(ctx)
            result.snapshot(index)

    @staticmethod
    async def _need(ctx: Context, results: Iterable[Result]) -> None:
        """Make sure that inputs have their trees."""
        group: Group
        group, group_ctx = with_context(ctx)
        for result in results:
            await group.go(partial(result.make, group_ctx))
        try:
            await group.wait()
        except (BuildkitError, OSError) as err:
            raise _InputError(err) from err

    def _later(self, vertex: Vertex, work: Callable[[], Awaitable[Result]]) -> Callable[[], asyncio.Task[Result]]:
        """Work on a vertex that begins when its result is first asked for, and ends with the build."""

        def start() -> asyncio.Task[Result]:
            task = self._making.get(vertex.digest)
            if task is None:
                task = asyncio.ensure_future(self._placed(vertex, work()))
                task.add_done_callback(_retrieve)
                self._making[vertex.digest] = task
            return task

        return start

    async def _run(self, ctx: Context, vertex: Vertex) -> Result:
        self._check(vertex)
        inputs = await self._inputs(ctx, vertex)
        result = await self._run_op(ctx, vertex, inputs)
        result.inputs = inputs
        return result

    async def _run_op(self, ctx: Context, vertex: Vertex, inputs: list[tuple[Result, int]]) -> Result:
        kind = vertex.op.WhichOneof("op")
        if kind == "source":
            return await self._source(ctx, vertex)
        if kind == "file":
            return await self._file(ctx, vertex, inputs)
        if kind == "build":
            return await self._build(ctx, vertex, inputs)
        if kind in ("merge", "diff", "passthrough"):
            return await self._whole(ctx, vertex, inputs)
        raise await self._unsupported(vertex, kind)

    async def _unsupported(self, vertex: Vertex, kind: str | None) -> BuildkitError:
        what = "RUN: this daemon cannot run processes" if kind == "exec" else f"invalid op type {kind}"
        err = UnsupportedError(what) if kind else BuildkitError("unknown op type <nil>")
        self._writers[vertex.digest].start()(err)
        return err

    async def _source(self, ctx: Context, vertex: Vertex) -> Result:
        scheme = vertex.op.source.identifier.partition("://")[0]
        fetch = self._sources.get(scheme)
        writer = self._writers[vertex.digest]
        done = writer.start()
        try:
            if fetch is None:
                raise BuildkitError(f"unknown source {vertex.op.source.identifier}")
            found = await fetch(ctx, vertex, writer)
        except BaseException as err:
            shown = err.cause if isinstance(err, CacheKeyError) else err
            done(shown if isinstance(shown, BuildkitError | OSError) else context.CanceledError())
            raise
        done(None)
        kept = isinstance(found, Kept)
        snapshot = found.snapshot if isinstance(found, Kept) else found
        root = snapshot.root if snapshot is not None else empty_root()
        about = root_digest(root)
        if scheme == "local":  # never the same in two sessions, so that only what is copied from it can be cached
            about = f"{self._session_id} ".encode() + vertex.op.SerializeToString(deterministic=True)
        key = _key("source", [scheme, about.hex()])
        return Result([snapshot], key, load=(lambda: writer.start(cached=True)(None)) if kept else None)

    async def _file(self, ctx: Context, vertex: Vertex, inputs: list[tuple[Result, int]]) -> Result:
        reads = selectors(vertex.op.file, len(inputs))
        read = [inputs[position] for position in reads if reads[position] is not None]
        await self._need(ctx, (result for result, _ in read))
        self._assemble(read)
        by_key = [inputs[position][0] for position in range(len(inputs)) if reads.get(position) is None]
        forced = await self._forced(ctx, vertex, by_key)
        return await self._cached(ctx, vertex, self._file_key(vertex, inputs), inputs, forced)

    def _file_key(self, vertex: Vertex, inputs: list[tuple[Result, int]]) -> str:
        reads = selectors(vertex.op.file, len(inputs))
        parts: list[str] = []
        for position, (result, index) in enumerate(inputs):
            wanted = reads.get(position)
            if wanted is None:
                parts.append(f"{result.key}#{index}")
                continue
            parts.append(self._content(vertex, position, result, index, wanted))
        op = pb.FileOp()
        op.CopyFrom(vertex.op.file)
        for action in op.actions:
            if action.WhichOneof("action") == "copy" and 0 <= action.secondaryInput < len(inputs):
                action.copy.src = posixpath.basename(action.copy.src.rstrip("/"))
        return _key("file", [op.SerializeToString(deterministic=True).hex(), *parts])

    def _content(self, vertex: Vertex, position: int, result: Result, index: int, wanted: Sequence[Selector]) -> str:
        try:
            return _key("content", [selected_digest(result.root(index), each).hex() for each in wanted])
        except BuildkitError as err:
            snapshot = result.snapshot(index)
            name = f"{self._worker_id}::{snapshot.id if snapshot is not None else ''}"
            failed = wrap(err, f"failed to calculate checksum of ref {name}")
            self._writers[vertex.digest].start()(failed)
            keyless = wrap(failed, "failed to compute cache key")
            raise ContentCacheError(keyless, position) from keyless

    async def _build(self, ctx: Context, vertex: Vertex, inputs: list[tuple[Result, int]]) -> Result:
        writer = self._writers[vertex.digest]
        op = vertex.op.build
        key = _key("build", [op.SerializeToString(deterministic=True).hex(), *(f"{r.key}#{i}" for r, i in inputs)])
        forced = await self._forced(ctx, vertex, (result for result, _ in inputs))
        known = self._lookup(vertex, key) if not forced else None
        if known is not None:
            return known
        await self._need_all(ctx, inputs)
        self._assemble(inputs)
        done = writer.start()
        try:
            result, index = inputs[definition_input(op, len(inputs))]
            graph = await asyncio.to_thread(nested_graph, op, result.root(index), self.store.get_blob)
            self._nesting.enter(vertex, graph)
            snapshot = await self.solve(ctx, graph)
        except BaseException as err:
            done(err if isinstance(err, BuildkitError | OSError) else context.CanceledError())
            raise
        done(None)
        if snapshot is not None:
            self.store.cache(f"{key}#0", snapshot)
        return Result([snapshot], key)

    async def _whole(self, ctx: Context, vertex: Vertex, inputs: list[tuple[Result, int]]) -> Result:
        """The result of an operation whose inputs count as they are: their own keys make its key."""
        kind = vertex.op.WhichOneof("op") or ""
        keys = [f"{result.key}#{index}" for result, index in inputs]
        text = getattr(vertex.op, kind).SerializeToString(deterministic=True)
        forced = await self._forced(ctx, vertex, (result for result, _ in inputs))
        return await self._cached(ctx, vertex, _key(kind, [text.hex(), *keys]), inputs, forced)

    def _assemble(self, inputs: Iterable[tuple[Result, int]]) -> None:
        """Note that the trees of inputs are read."""
        for result, index in inputs:
            self.assembly.read(result.snapshot(index))

    def _show_assembly(self, vertex: Vertex, made: Sequence[Snapshot | None]) -> None:
        if made and (vertex.op.HasField("merge") or vertex.op.HasField("diff")):
            self.assembly.add(made[0], self._writers[vertex.digest], again=vertex.op.HasField("merge"))

    async def _need_all(self, ctx: Context, inputs: list[tuple[Result, int]]) -> None:
        """Make sure that all inputs have their trees, and show those that were kept."""
        await self._need(ctx, (result for result, _ in inputs))
        for result, _ in inputs:
            result.use()

    async def _forced(self, ctx: Context, vertex: Vertex, inputs: Iterable[Result]) -> bool:
        """Whether a vertex runs even if its result is known, because it or an input that counts by its key says so.

        The other results on top of such a one may be known again, but only once that one has run.
        """
        inputs = list(inputs)
        if vertex.ignore_cache or any(result.ignored for result in inputs):
            return True
        await self._need(ctx, (result for result in inputs if result.forced))
        return False

    async def _cached(
        self, ctx: Context, vertex: Vertex, key: str, inputs: list[tuple[Result, int]], forced: bool
    ) -> Result:
        """The cached result of a key, or one that is made when it is needed."""
        writer = self._writers[vertex.digest]
        imports = self.imports if not forced else None

        async def attempt() -> Result:
            known = self._lookup(vertex, key) if not forced else None
            if known is None and imports is not None:
                known = await self._import(vertex, key, imports)
            if known is not None:
                return known
            await self._need_all(self._ctx, inputs)
            trees = [result.snapshot(index) for result, index in inputs]
            if vertex.op.HasField("file"):
                self._assemble(inputs)
            done = writer.start()
            try:
                make = asyncio.to_thread(self._maker.make, vertex.op, vertex.name, trees)
                made = await context.run(self._ctx, make)
            except BaseException as err:
                done(err if isinstance(err, BuildkitError | OSError) else context.CanceledError())
                raise
            done(None)
            self._show_assembly(vertex, made)
            for index, snapshot in enumerate(made):
                if snapshot is not None:
                    self.store.cache(f"{key}#{index}", snapshot)
            return Result(made, key)

        if imports is not None:
            await imports.load(ctx)
        known = self._lookup(vertex, key) if not forced else None
        if known is not None:
            return known
        names = _names(vertex, key)
        importable = imports is not None and all(imports.has_result(name) for name in names)
        later = self._later(vertex, lambda: self._flights(self._ctx, key, attempt))
        unknown: list[Snapshot | None] = [None] * len(names)
        ignored = vertex.ignore_cache
        return Result(unknown, key, pending=later, importable=importable, ignored=ignored, forced=forced)

    async def _import(self, vertex: Vertex, key: str, imports: CacheImports) -> Result | None:
        """The result of a key from an imported cache, or None where no cache has it or can give it."""
        names = _names(vertex, key)
        if not all(imports.has_result(name) for name in names):
            return None
        done = self._writers[vertex.digest].start(cached=True)
        found = [await imports.fetch(self._ctx, name, self._writers[vertex.digest]) for name in names]
        done(None)
        if not all(found):
            return None
        for name, snapshot in zip(names, found, strict=True):
            assert snapshot is not None
            self.store.cache(name, snapshot)
        return Result(list(found), key)

    def _lookup(self, vertex: Vertex, key: str) -> Result | None:
        """The result of a key that the store has."""
        found = [self.store.cached(name) for name in _names(vertex, key)]
        if not found or not all(found):
            return None
        self._show_assembly(vertex, found)
        return Result(list(found), key, load=lambda: self._writers[vertex.digest].start(cached=True)(None))


class _InputError(BuildkitError):
    """Marks an error as that of an input, which has its own vertex already."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.cause = cause


def _retrieve(task: asyncio.Task[Result]) -> None:
    """Whoever asked for a result gets its error; when nobody is left, nobody minds it."""
    if not task.cancelled():
        task.exception()


def _names(vertex: Vertex, key: str) -> list[str]:
    """The keys of a vertex's outputs."""
    op = vertex.op
    count = len(op.passthrough.outputs) if op.HasField("passthrough") else 1
    if op.HasField("file"):
        count = sum(action.output != -1 for action in op.file.actions)
    return [f"{key}#{index}" for index in range(count)]


def _key(kind: str, parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join([kind, *parts]).encode("utf-8", "surrogateescape")).hexdigest()
