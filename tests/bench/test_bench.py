"""The benchmarks run on very little data, with our command as its own peer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench.measure import BenchError, Row, cpu_of, daemon_pid, measure, report
from tests.bench.transfer import growth_report

ROOT = Path(__file__).resolve().parents[2]
FIGURES = {"case", "program", "wall", "cpu", "memory", "daemon", "daemon_share", "ratios"}


def bench(work: Path, addr: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/bench with our command as the peer."""
    peer = work / "peer"
    peer.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pybuildkit.cmd.buildctl "$@"\n')
    peer.chmod(0o755)
    argv = [ROOT / "scripts/bench", *words, "--peer", peer, "--addr", addr, "--runs", "1", "--work", work]
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("words", "cases"),
    [
        (["upload", "--case", "one"], ["upload one"]),
        (["upload", "--case", "many"], ["upload many"]),
        (["upload", "--case", "growth"], ["upload growth 5", "upload growth 50", "upload growth 200"]),
        (["resync"], ["resync unchanged", "resync 1% changed"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_uploads(tmp_path: Path, words: list[str], cases: list[str]) -> None:
    done = bench(tmp_path, f"embedded://{tmp_path}/state", *words, "--scale", "0.001", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["case"], row["program"]) for row in rows] == [
        (case, program) for case in cases for program in ("peer", "pybuildctl")
    ]
    for row in rows:
        assert set(row) == FIGURES
        assert row["wall"] > 0
        assert row["cpu"] > 0
        assert row["memory"] > 0
        assert bool(row["ratios"]) == (row["program"] == "pybuildctl")


@pytest.mark.parametrize("tar", [False, True])
def test_downloads(real_addr: str, tmp_path: Path, busybox: Path, tar: bool) -> None:
    words = ["download", "--case", "small", "--scale", "0.01", *(["--tar"] if tar else [])]
    done = bench(tmp_path, real_addr, *words)
    assert done.returncode == 0, done.stderr
    assert "daemon" in done.stdout.splitlines()[0]
    assert len(done.stdout.splitlines()) == 3


def test_growth_report() -> None:
    rows = [Row(f"upload growth {count}", "peer", wall, 1, 1) for count, wall in [(10, 2.0), (100, 20.0), (400, 120.0)]]
    assert (
        growth_report(rows) == "growth of peer: 10 files x1.00 a file, 100 files x1.00 a file, 400 files x1.50 a file"
    )


def test_report_shows_the_share_of_the_daemon() -> None:
    rows = [Row("c", "peer", 2.0, 1.0, 1024, 1.0), Row("c", "pybuildctl", 1.0, 0.5, 512, 0.75)]
    lines = report(rows, "peer", False).splitlines()
    assert lines[1].endswith("daemon 50%")
    assert lines[2].endswith("2.00x as fast, cpu 0.50, memory 0.50; daemon 75%")
    assert [row["daemon_share"] for row in json.loads(report(rows, "peer", True))] == [0.5, 0.75]


def test_cpu_of_a_process() -> None:
    before = cpu_of(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert 0.05 < cpu_of(os.getpid()) - before < 10


def test_figures_are_those_of_the_command_alone() -> None:
    """Not those of who starts it, which may be large and old."""
    ballast = bytearray(64 << 20)
    env = dict(os.environ)
    small = measure(["true"], env=env)
    code = (
        f"import time; a = b'x' * {100 << 20}; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    )
    large = measure([sys.executable, "-S", "-c", code], env=env)
    assert small.memory < 16 << 10
    assert 100 << 10 < large.memory < 140 << 10
    assert small.cpu < 0.1 < 0.2 <= large.cpu < 2
    assert large.wall >= 0.2
    assert len(ballast) == 64 << 20


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(BenchError, match=r"exited with 3:\nwhy"):
        measure(["sh", "-c", "echo why; exit 3"], env=dict(os.environ))
    with pytest.raises(BenchError, match="cannot be run"):
        measure(["/no/such/program"], env=dict(os.environ))


def test_pid_of_a_daemon(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        assert daemon_pid(f"unix://{tmp_path}/s") == os.getpid()
    assert daemon_pid("tcp://127.0.0.1:1") == 0
    assert daemon_pid("docker://") == 0
    with pytest.raises(BenchError):
        daemon_pid(f"unix://{tmp_path}/none")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / "scripts/bench"), "upload"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs --peer and --addr" in done.stderr
