"""A context that changes all the time while it is sent, and packets of a transfer in any order that is allowed."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybuildkit.third_party.fsutil import FilterOpt, ReceiveOpt, Receiver, Stat, new_filter_fs, new_fs
from pybuildkit.third_party.fsutil._packet import (
    END_OF_LIST,
    FIN_PACKET,
    data_end,
    data_header,
    request_packet,
    stat_packet,
)
from tests.third_party.fsutil.transfer import answers, open_descriptors, outcome

SECRET = b"outside-" * 20_000
INSIDE = b"inside-" * 20_000
SETTINGS = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def swap_file(context: Path, outside: Path) -> None:
    """A file becomes a link to the secret, and a file again."""
    (context / "new").symlink_to(outside / "d/file")
    os.replace(context / "new", context / "d/file")
    (context / "new").write_bytes(INSIDE)
    os.replace(context / "new", context / "d/file")


def swap_directory(context: Path, outside: Path) -> None:
    """A directory becomes a link to one with the secret under the same name, and a directory again."""
    os.rename(context / "d", context / "away")
    (context / "d").symlink_to(outside / "d")
    (context / "d").unlink()
    os.rename(context / "away", context / "d")


def move_out(context: Path, outside: Path) -> None:
    """A directory is moved out of the context while something may be open in it, so that ".." leads elsewhere."""
    os.rename(context / "d", outside / "moved")
    os.rename(outside / "moved", context / "d")


def swap_parent(context: Path, outside: Path) -> None:
    """A directory between is a link to the outside for a moment."""
    os.rename(context / "p", context / "away-p")
    (context / "p").symlink_to(outside)
    (context / "p").unlink()
    os.rename(context / "away-p", context / "p")


@pytest.mark.parametrize("swap", [swap_file, swap_directory, move_out, swap_parent])
def test_nothing_outside_is_sent_whatever_changes(tmp_path: Path, swap: Callable[[Path, Path], None]) -> None:
    context, outside = tmp_path / "context", tmp_path / "outside"
    for folder, data in ((context / "d", INSIDE), (context / "p/d", INSIDE), (outside / "d", SECRET)):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(data)
        for number in range(20):
            (folder / f"small{number}").write_bytes(data[:50])
    stop = threading.Event()
    swaps = [0]

    def change() -> None:
        while not stop.is_set():
            swap(context, outside)
            swaps[0] += 1

    before = open_descriptors()
    fs = new_filter_fs(new_fs(str(context)), FilterOpt(exclude_patterns=["away*", "new"]))
    thread = threading.Thread(target=change)
    thread.start()
    done = 0
    try:
        while done < 25 or swaps[0] < 50:
            dest = tmp_path / f"dest{done}"
            dest.mkdir()
            asyncio.run(outcome(fs, dest, ReceiveOpt(merge=True)))
            for path in dest.rglob("*"):
                assert path.is_symlink() or not path.is_file() or b"outside" not in path.read_bytes()
            done += 1
    finally:
        stop.set()
        thread.join()
    assert open_descriptors() <= before


FILES = st.lists(
    st.tuples(st.binary(min_size=0, max_size=40), st.booleans(), st.integers(1, 3000)), min_size=1, max_size=8
)


@settings(SETTINGS, max_examples=150)
@given(FILES, st.integers(0, 2**32))
def test_any_order_of_valid_packets_gives_the_tree(files: list[tuple[bytes, bool, int]], seed: int) -> None:
    """Contents cut anywhere and mixed in any way, also with the list, taken in batches of any size."""
    choose = random.Random(seed)
    contents = [data * (times if large else 1) for data, large, times in files]
    waiting = [stat_packet(Stat(b"f%d" % n, 0o644, size=len(data))) for n, data in enumerate(contents)] + [END_OF_LIST]
    waiting.reverse()
    sending: dict[int, int] = {}
    batch: list[bytes] = []
    finished = False
    with tempfile.TemporaryDirectory() as dest:
        core = Receiver(dest, ReceiveOpt())
        while not core.finished:
            if waiting and (not sending or choose.random() < 0.4):
                batch.append(waiting.pop())
            elif sending:
                batch.append(_piece(choose, contents, sending))
            if batch and (choose.random() < 0.3 or not (waiting or sending)):
                requests = answers(core, batch)
                batch = [FIN_PACKET] if FIN_PACKET in requests else []
                finished |= FIN_PACKET in requests
                asked = {request_packet(n): n for n in range(len(files))}
                sending |= {asked[raw]: 0 for raw in requests if raw != FIN_PACKET}
        core.end()
        core.close()
        assert finished
        assert {name: Path(dest, name).read_bytes() for name in os.listdir(dest)} == {
            f"f{n}": data for n, data in enumerate(contents)
        }


def _piece(choose: random.Random, contents: list[bytes], sending: dict[int, int]) -> bytes:
    """The next packet of one of the files that were asked for."""
    number = choose.choice(list(sending))
    rest = contents[number][sending[number] :]
    if not rest:
        del sending[number]
        return data_end(number)
    data = rest[: choose.choice([1, 7, 4096, 70_000, 300_000])]
    sending[number] += len(data)
    return data_header(number, len(data)) + data
