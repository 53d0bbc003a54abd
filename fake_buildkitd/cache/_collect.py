"""From a build's results to a build cache.

Mirrors solver/exporter.go and cache/remotecache/v1/chains.go in what they select, v0.32.2.

With mode `min` the layers of the build's own result are in the cache, with `max` those of every step; the keys of all
steps are in both.
"""

from __future__ import annotations

from collections.abc import Sequence

from fake_buildkitd.cache._config import CacheConfig, Record, record_digest
from fake_buildkitd.image import Compression, Descriptor, Layer, export_layers
from fake_buildkitd.solver import Result
from fake_buildkitd.store import Snapshot, Store
from pybuildkit.golang import threads
from pybuildkit.golang.context import Context

Output = tuple[Result, int]
_LOCAL = "source.local"


class Collector:
    """Gathers one cache.

    Args:
        store: has the trees.
        compression: of layers.
        everything: whether the layers of every step are gathered.
    """

    def __init__(self, store: Store, compression: Compression, everything: bool) -> None:
        self.config = CacheConfig()
        self.blobs: dict[str, Descriptor] = {}
        self._store = store
        self._compression = compression
        self._everything = everything
        self._places: dict[str, int] = {}

    async def add(self, ctx: Context, output: Output) -> None:
        """Add a result of the build and the steps that it is made of.

        Raises:
            BuildkitError, OSError: a layer cannot be made.
        """
        for each in _inputs_first(output):
            key = f"{each[0].key}#{each[1]}"
            if key in self._places or _is_local(each):
                continue
            below = [output for output in each[0].inputs if not _is_local(output)]
            inputs = [self._places[f"{result.key}#{index}"] for result, index in below]
            record = Record(record_digest(key), inputs=inputs)
            if self._everything or (each[0] is output[0] and each[1] == output[1]):
                await self._add_result(ctx, each, record)
            self._places[key] = len(self.config.records)
            self.config.records.append(record)

    async def _add_result(self, ctx: Context, output: Output, record: Record) -> None:
        result, index = output
        if result.pending is not None and result.importable:
            await result.make(ctx)
        snapshot = result.snapshot(index) if result.pending is None else None
        if snapshot is None:
            return
        layers = await self.layers(ctx, snapshot)
        if not layers:
            return
        for layer in layers:
            self.blobs[layer.descriptor.digest] = layer.descriptor
        record.results.append((self.config.add_chain(layers), snapshot.created_at))

    async def layers(self, ctx: Context, snapshot: Snapshot) -> list[Layer]:
        """The layers of a tree."""
        store, compression = self._store, self._compression
        return await threads.call(ctx, lambda: export_layers(store, snapshot, compression))


def _is_local(output: Output) -> bool:
    """Whether an output is a client's files, whose key is worth nothing in another session."""
    result, index = output
    snapshot = result.snapshots[index] if index < len(result.snapshots) else None
    return snapshot is not None and snapshot.kind == _LOCAL


def _inputs_first(output: Output) -> Sequence[Output]:
    """An output and everything that it is made of, without recursion."""
    order: list[Output] = []
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[Output, bool]] = [(output, False)]
    while stack:
        each, done = stack.pop()
        if done:
            order.append(each)
            continue
        mark = (id(each[0]), each[1])
        if mark in seen:
            continue
        seen.add(mark)
        stack.append((each, True))
        stack += [(below, False) for below in reversed(each[0].inputs)]
    return order
