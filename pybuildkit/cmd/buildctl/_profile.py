"""The hidden flags `--profile-…`: where a run spent its time and its memory.

Mirrors util/profiler, v0.32.2, whose flags name folders. Differs: the files are those of Python's own tools,
`cpu.pstats` (read by `python -m pstats`) and `memory.tracemalloc` (`tracemalloc.Snapshot.load`); what Python cannot
measure (waiting for locks and channels, the scheduler's trace) is warned of and left out, as is the rate of memory
samples. A file that cannot be written is a warning.
"""

from __future__ import annotations

import os

from pybuildkit.golang.errors import error_text, with_op
from pybuildkit.util import bklog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pybuildkit.cmd.buildctl._app import CommandContext

CPU_FILE = "cpu.pstats"
MEMORY_FILE = "memory.tracemalloc"
_MISSING = ("profile-block", "profile-mutex", "profile-trace")


def start(c: CommandContext) -> Callable[[], None]:
    """Begin what the flags ask for; gives what ends it and writes the files.

    Raises:
        OSError: a folder cannot be made.
    """
    ends: list[Callable[[], None]] = []
    for name in _MISSING:
        if c.string(name):
            bklog.L.warning(f"--{name} is ignored: there is no such profile of a Python program")
    if memory := c.string("profile-memory"):
        ends.append(_start_memory(memory))
    if cpu := c.string("profile-cpu"):
        ends.append(_start_cpu(cpu))

    def stop() -> None:
        while ends:
            try:
                ends.pop()()
            except OSError as err:
                bklog.L.warning(f"could not write a profile: {error_text(err)}")

    return stop


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as err:
        raise with_op(err, "mkdir") from err


def _start_cpu(folder: str) -> Callable[[], None]:
    import cProfile

    _make(folder)
    profile = cProfile.Profile()
    profile.enable()

    def stop() -> None:
        profile.disable()
        profile.dump_stats(os.path.join(folder, CPU_FILE))

    return stop


def _start_memory(folder: str) -> Callable[[], None]:
    import tracemalloc

    _make(folder)
    tracemalloc.start()

    def stop() -> None:
        tracemalloc.take_snapshot().dump(os.path.join(folder, MEMORY_FILE))
        tracemalloc.stop()

    return stop
