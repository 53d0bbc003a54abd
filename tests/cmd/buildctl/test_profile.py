"""The hidden flags that profile a run."""

from __future__ import annotations

import pstats
import tracemalloc
from pathlib import Path

from tests.cmd.buildctl.streams import run_in_process


def test_profiles_are_written(tmp_path: Path) -> None:
    flags = ["--profile-cpu", str(tmp_path / "p"), "--profile-memory", str(tmp_path / "p"), "--profile-memoryrate", "1"]
    code, _, err = run_in_process(*flags, "debug", "dump-llb", "/nowhere")
    assert (code, err) == (1, "error: open /nowhere: no such file or directory\n")
    assert pstats.Stats(str(tmp_path / "p/cpu.pstats")).total_calls > 0  # type: ignore[attr-defined]  # set at run time
    assert tracemalloc.Snapshot.load(str(tmp_path / "p/memory.tracemalloc")).traces
    assert not tracemalloc.is_tracing()


def test_a_folder_that_cannot_be_made() -> None:
    code, _, err = run_in_process("--profile-cpu", "/dev/null/x", "debug", "dump-llb", "/nowhere")
    assert (code, err) == (1, "error: mkdir /dev/null/x: not a directory\n")


def test_what_python_does_not_measure_is_warned_of() -> None:
    code, _, err = run_in_process("--profile-mutex", "x", "debug", "dump-llb", "/nowhere")
    assert code == 1
    assert "--profile-mutex is ignored" in err
