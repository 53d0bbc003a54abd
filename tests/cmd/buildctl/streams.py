"""Streams and runs of the command for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pybuildkit.cmd.buildctl._run import run_main
from pybuildkit.cmd.buildctl.common import Std
from pybuildkit.rpc import Buffer
from pybuildkit.util import bklog

ROOT = Path(__file__).resolve().parents[3]


class Recorder(Std):
    """A standard stream that keeps what is written.

    Args:
        fd: the number that it claims to have.
        tty: whether it claims to be a terminal.
    """

    def __init__(self, fd: int = 1, *, tty: bool = False) -> None:
        super().__init__(fd)
        self.data = b""
        self.tty = tty

    def write(self, data: str | Buffer) -> None:
        self.data += data.encode() if isinstance(data, str) else bytes(data)

    def isatty(self) -> bool:
        return self.tty

    def __str__(self) -> str:
        return self.data.decode()


def run_in_process(*argv: str, tty: bool = False) -> tuple[int, str, str]:
    """The exit code and what the command wrote to standard output and standard error."""
    stdout, stderr = Recorder(1, tty=tty), Recorder(2, tty=tty)
    try:
        code = run_main(argv, stdout=stdout, stderr=stderr)
    finally:
        bklog.set_sink(None)
        bklog.set_level(bklog.INFO)
    return code, str(stdout), str(stderr)


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    home = cwd / ".home"
    home.mkdir(exist_ok=True)
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "TZ": "UTC", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "pybuildkit.cmd.buildctl", *argv],
        cwd=cwd,
        env=environment | dict(env or {}),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
    )
