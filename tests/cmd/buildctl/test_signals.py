"""Signals and lost readers while a build runs, with the command in a process of its own."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cmd.buildctl.streams import ROOT, spawn

_SECONDS = 20.0


@contextmanager
def _running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, killed at the end where it still runs."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _catches(process: subprocess.Popen[bytes], number: int) -> bool:
    """Whether the process has a handler for the signal."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _wait_until_caught(process: subprocess.Popen[bytes], number: int, *, caught: bool) -> None:
    deadline = time.monotonic() + _SECONDS
    while _catches(process, number) is not caught:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _read_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stderr is not None
    return process.stderr.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_ends_a_build_that_reads_standard_input(tmp_path: Path, number: signal.Signals) -> None:
    reader, writer = os.pipe()
    with _running(spawn(["build", "--trace", "t"], cwd=tmp_path, stdin=reader)) as process:
        assert b"tracing logs to t" in _read_line(process)
        begun = time.monotonic()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=_SECONDS)
        assert (process.returncode, stderr) == (1, b"error: context canceled\n")
        assert time.monotonic() - begun < 2
    os.close(reader)
    os.close(writer)


def test_the_first_signal_ends_a_build_whose_daemon_is_silent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        addr = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        argv = ["--timeout", "60", "--addr", addr, "build", "--frontend", "f", "--progress", "plain"]
        argv += ["--output", "type=tar,dest=o.tar", "--ref-file", "ref"]
        with _running(spawn(argv, cwd=tmp_path)) as process:
            peer, _ = server.accept()
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=_SECONDS)
            peer.close()
    assert process.returncode == 1
    assert stderr.startswith(b"error: listing workers for Build: failed to list workers: Canceled: context canceled")
    assert stderr.count(b"\n") == 1
    assert sorted(os.listdir(tmp_path)) == [".home", "ref"]


def test_timeout_bounds_a_peer_that_accepts_and_stays_silent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        addr = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        begun = time.monotonic()
        with _running(spawn(["--timeout", "1", "--addr", addr, "build", "--frontend", "f"], cwd=tmp_path)) as process:
            _, stderr = process.communicate(timeout=_SECONDS)
    assert process.returncode == 1
    assert stderr.startswith(b"error: listing workers for Build: failed to list workers: Unavailable: ")
    assert time.monotonic() - begun < 5


def test_the_second_signal_ends_a_process_whose_loop_is_stuck(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    argv = ["build", "--frontend", "f", "--trace", "t", "--source-policy-file", "fifo"]
    with _running(spawn(argv, cwd=tmp_path)) as process:
        assert b"tracing logs to t" in _read_line(process)
        process.send_signal(signal.SIGINT)
        _wait_until_caught(process, signal.SIGINT, caught=False)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=_SECONDS)
        assert process.returncode == -signal.SIGINT


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    """As nohup starts it."""
    reader, writer = os.pipe()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running = spawn(["build", "--trace", "t"], cwd=tmp_path, stdin=reader)
    finally:
        signal.signal(signal.SIGHUP, before)
    os.close(reader)
    with _running(running) as process:
        _read_line(process)
        process.send_signal(signal.SIGHUP)
        os.close(writer)
        _, stderr = process.communicate(timeout=_SECONDS)
        assert (process.returncode, stderr) == (
            1,
            b"error: empty definition sent to build. Specify --frontend instead?\n",
        )


def _context(folder: Path) -> list[str]:
    """Flags of a small build on the embedded daemon."""
    (folder / "ctx").mkdir()
    (folder / "ctx" / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    flags = ["--addr", f"embedded://{folder}/state", "build", "--frontend", "dockerfile.v0", "--progress", "plain"]
    return [*flags, "--local", "context=ctx", "--local", "dockerfile=ctx"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_lost_reader_ends_a_build_by_sigpipe_after_cleaning_up(tmp_path: Path, stream: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = "type=tar" if stream == "stdout" else "type=tar,dest=o.tar"
    argv = [*_context(tmp_path), "--output", output, "--ref-file", "ref"]
    running = spawn(argv, cwd=tmp_path, **{stream: writer})  # type: ignore[arg-type]  # one of two streams
    os.close(writer)
    with _running(running) as process:
        process.communicate(timeout=_SECONDS)
        assert process.returncode == -signal.SIGPIPE
    left = set(os.listdir(tmp_path)) - {".home", "ctx", "ref", "state"}
    assert left <= {"o.tar"}
    for name in left:  # the export may have been whole before the display noticed
        subprocess.run(["tar", "-tf", tmp_path / name], capture_output=True, check=True)


def test_a_tar_to_standard_output(tmp_path: Path) -> None:
    with _running(spawn([*_context(tmp_path), "--output", "type=tar"], cwd=tmp_path)) as process:
        stdout, stderr = process.communicate(timeout=_SECONDS)
    assert process.returncode == 0, stderr
    listing = subprocess.run(["tar", "-t"], input=stdout, capture_output=True, check=True)
    assert listing.stdout == b"Dockerfile\n"


def test_a_tar_to_a_closed_standard_output_is_an_error(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pybuildkit.cmd.buildctl", *_context(tmp_path), "--output", "type=tar"]
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = ["/bin/sh", "-c", f"exec {shlex.join(argv)} >&-"]
    done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, check=False, env=env, timeout=_SECONDS)
    assert done.returncode == 1
    assert b"write /dev/stdout: bad file descriptor" in done.stderr


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["du"], "failed to call diskusage: Canceled: context canceled"),
        (["debug", "workers"], "failed to list workers: Canceled: context canceled"),
        (["debug", "monitor"], "rpc error: code = Canceled desc = context canceled"),
    ],
)
def test_the_first_signal_ends_a_short_command(tmp_path: Path, argv: list[str], error: str) -> None:
    """Even where it began with SIGINT ignored, as a shell's background job does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        addr = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            running = spawn(["--timeout", "60", "--addr", addr, *argv], cwd=tmp_path)
        finally:
            signal.signal(signal.SIGINT, before)
        with _running(running) as process:
            peer, _ = server.accept()
            _wait_until_caught(process, signal.SIGINT, caught=True)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=_SECONDS)
            peer.close()
    assert (process.returncode, stderr.decode()) == (1, f"error: {error}\n")
