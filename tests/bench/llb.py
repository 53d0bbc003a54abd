"""Benchmark of the LLB builder: CPU time for each op of building a graph, marshalling it, and writing it out.

Three shapes at three sizes: a chain of exec ops, a merge of many sources, a lattice in which every node is used
twice. What counts is that the time for an op stays the same as the graph grows, and that marshalling an op takes at
most 40 microseconds.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from pybuildkit.client import llb

LIMIT = 40.0
"""Microseconds for marshalling an op."""


@dataclass(frozen=True)
class Figure:
    """One graph; times in microseconds of CPU for each op."""

    shape: str
    size: int
    ops: int
    build: float
    marshal: float
    write: float


def chain(size: int) -> llb.State:
    """Exec ops, each on the result of the one before."""
    state = llb.image("docker.io/library/busybox:latest")
    for number in range(size):
        state = state.run(llb.args(["sh", "-c", f"echo {number}"])).root()
    return state


def fan_in(size: int) -> llb.State:
    """One merge of many sources."""
    return llb.merge([llb.local(f"context{number}") for number in range(size)])


def lattice(size: int) -> llb.State:
    """Rows of exec ops, each of which mounts its neighbour of the row before."""
    row = [llb.image(f"image{column}") for column in range(size)]
    for number in range(size):
        row = [
            row[column]
            .run(llb.args([str(number), str(column)]), llb.add_mount("/m", row[(column + 1) % size], llb.readonly))
            .root()
            for column in range(size)
        ]
    return llb.merge(row)


SHAPES: dict[str, tuple[Callable[[int], llb.State], tuple[int, ...]]] = {
    "chain": (chain, (2500, 5000, 10000)),
    "fan-in": (fan_in, (250, 500, 1000)),
    "lattice": (lattice, (25, 50, 100)),
}


def measure(shape: str, size: int, rounds: int = 3) -> Figure:
    """The best of some rounds."""
    make = SHAPES[shape][0]
    times = []
    for _ in range(rounds):
        gc.collect()
        begin = time.process_time()
        state = make(size)
        built = time.process_time()
        definition = state.marshal_sync(llb.linux_amd64)
        marshalled = time.process_time()
        definition.to_bytes()
        times.append((built - begin, marshalled - built, time.process_time() - marshalled))
        ops = len(definition.def_)
    best = [round(min(column) / ops * 1e6, 1) for column in zip(*times, strict=True)]
    return Figure(shape, size, ops, *best)


def main(as_json: bool) -> int:
    """Print the figures; 1 where marshalling an op takes longer than the limit."""
    figures = [measure(shape, size) for shape, (_, sizes) in SHAPES.items() for size in sizes]
    if as_json:
        print(json.dumps([asdict(figure) for figure in figures], indent=1))
    else:
        print(f"{'shape':8} {'size':>6} {'ops':>6} {'build':>7} {'marshal':>8} {'write':>6}  µs of CPU an op")
        for figure in figures:
            print(
                f"{figure.shape:8} {figure.size:6} {figure.ops:6} {figure.build:7} {figure.marshal:8} {figure.write:6}"
            )
    return int(any(figure.marshal > LIMIT for figure in figures))
