"""Connections that break at every frame of a build, in every way: builds end, and nothing false is called a result.

CI breaks every seventh frame of each kind, the kinds shifted against each other; PYBUILDKIT_ALL_FRAMES=1 breaks all.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_buildkitd import Daemon
from fake_buildkitd.faults import Direction, Fault, FaultKind, FrameCounter
from tests import virtual_clock
from tests.fake_buildkitd.helpers import Built, build_dockerfile, connected, settled, tree_on_disk, write_tree

FILES = {"Dockerfile": "FROM scratch\nCOPY d /d/\n", "d/small": "1", "d/large": "x" * 70_000, "d/empty": ""}
WANT = {
    "d": ("d755", ""),
    "d/small": ("f644", "1"),
    "d/large": ("f644", "x" * 70_000),
    "d/empty": ("f644", ""),
}
STEP = 1 if os.environ.get("PYBUILDKIT_ALL_FRAMES") else 7
LONGEST_SECONDS = 60.0
NO_FRAME = 10**9


@given(st.lists(st.binary(max_size=300), max_size=8), st.booleans(), st.data())
def test_frames_are_counted_in_any_pieces(payloads: list[bytes], preface: bool, data: st.DataObject) -> None:
    frames = [len(payload).to_bytes(3, "big") + bytes(6) + payload for payload in payloads]
    head = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if preface else b""
    wire = head + b"".join(frames)
    stop = data.draw(st.integers(0, len(frames)))
    want = len(head) + sum(map(len, frames[:stop]))
    counter = FrameCounter(preface)
    position = 0
    while position < len(wire):
        piece = wire[position : position + data.draw(st.integers(1, 200))]
        offset = counter.feed(piece, stop)
        if offset is not None:
            assert position + offset == want
            return
        position += len(piece)
    assert want == len(wire)
    assert counter.frames == len(frames)


async def build_with(fault: Fault, source: Path, dest: Path) -> tuple[Built, int]:
    """A build over a connection with a fault, and how many tasks it left behind."""
    before = len(asyncio.all_tasks())
    async with Daemon() as daemon, connected(daemon, fault) as client:
        built = await build_dockerfile(client, source, dest)
    return built, await settled(before) - before


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_frame(tmp_path: Path, kind: FaultKind, direction: Direction) -> None:
    source = write_tree(tmp_path / "src", FILES)
    frame = list(FaultKind).index(kind) % STEP
    broken = 0
    while True:
        fault = Fault(kind, frame, direction, seed=frame)
        dest = tmp_path / str(frame)
        (built, left), outcome = virtual_clock.run_with_outcome(build_with(fault, source, dest))
        where = f"{kind.value} at frame {frame} {direction.value}"
        assert outcome.seconds < LONGEST_SECONDS, where
        assert not outcome.left_over, where
        assert left == 0, where
        if built.error is None:
            assert tree_on_disk(dest) == WANT, where
        else:
            broken += 1
            assert "Traceback" not in str(built.error), where
        if not fault.hit:
            break
        frame += STEP
    assert broken > 3
