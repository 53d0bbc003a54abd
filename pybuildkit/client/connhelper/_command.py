"""A child process as a connection: its standard input and output carry the bytes.

Mirrors commandconn.New of github.com/docker/cli, as BuildKit's connection helpers use it.

Differs on purpose: of the child's standard error only the last 4 KiB are kept, and they are part of the error
when the connection breaks; the child is asked to end (SIGTERM) when the connection is closed, killed 3 s later; a
child that closes its streams and stays is waited for 3 s, not 10; a client that is killed leaves the child to the end
of its standard input.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybuildkit.client._dial import DialError
from pybuildkit.golang.strconv import quote

if TYPE_CHECKING:
    from pybuildkit.rpc import Endpoint

_STDERR_KEPT = 4096
_TERM_SECONDS = 3.0
_EXIT_SECONDS = 3.0


def _look_path(name: str) -> str:
    """The path of a program on PATH, which is never found below the current directory."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(folder or ".", name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            if os.path.isabs(path):
                return path
            raise DialError(f"exec: {quote(name)}: cannot run executable found relative to current directory")
    raise DialError(f"exec: {quote(name)}: executable file not found in $PATH")


class _Child:
    """A running command, what it wrote to standard error, and its end."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        path = _look_path(command[0])
        try:
            self.process = subprocess.Popen(
                command,
                executable=path,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as err:
            raise DialError(f"fork/exec {path}: {os.strerror(err.errno or 0).lower()}", err) from err
        self._stderr = b""
        self._reader = threading.Thread(target=self._read_stderr, name="connhelper-stderr", daemon=True)
        self._reader.start()

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as pipe:
            while data := os.read(pipe.fileno(), 4096):
                self._stderr = (self._stderr + data)[-_STDERR_KEPT:]

    def close(self) -> None:
        """End the child; waits for it at most 3 s before it is killed."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_TERM_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(_TERM_SECONDS)

    def explain(self) -> str:
        """Why the connection broke, as far as the child tells: its exit and its standard error."""
        try:
            code = self.process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return ""
        self._reader.join(1.0)
        if code == 0:
            return ""
        ended = f"exit status {code}" if code > 0 else f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"
        text = self._stderr.decode("utf-8", "replace")
        shown = " ".join(self._command)
        return (
            f"command [{shown}] has exited with {ended}, make sure the URL is valid, and Docker 18.09 or later is "
            f"installed on the remote host: stderr={text}"
        )


def dial(command: Sequence[str]) -> Endpoint:
    """Start a command and take its standard input and output as the connection.

    Raises:
        DialError: when the command cannot be started.
    """
    from pybuildkit.rpc import Endpoint

    child = _Child(command)
    assert child.process.stdin is not None
    assert child.process.stdout is not None
    read_fd = os.dup(child.process.stdout.fileno())
    write_fd = os.dup(child.process.stdin.fileno())
    child.process.stdout.close()
    child.process.stdin.close()
    return Endpoint(pipes=(read_fd, write_fd), on_close=child.close, explain=child.explain)
