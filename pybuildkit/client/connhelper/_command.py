"""A child process as a connection: its standard input and output carry the bytes.

Mirrors commandconn.New of github.com/docker/cli v29.6.2, as BuildKit's connection helpers use it.

Differs on purpose: of the child's standard error only the last 4 KiB are kept, and they are part of the error
when the connection breaks; the child is asked to end (SIGTERM) when the connection is closed, killed 3 s later; a
child that closes its streams and stays is waited for 3 s, not 10. As in Go the kernel kills the child of a client that
is killed, on Linux; elsewhere the child is left to the end of its standard input.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pybuildkit.client._dial import DialError
from pybuildkit.golang.exec import LookPathError, look_path

if TYPE_CHECKING:
    from pybuildkit.rpc import Endpoint

_STDERR_KEPT = 4096
_PR_SET_PDEATHSIG = 1
_TERM_SECONDS = 3.0
_EXIT_SECONDS = 3.0


def _dies_with_its_parent() -> Callable[[], None] | None:
    """What a child calls before it becomes the command, so that the kernel kills it when its parent's thread ends."""
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        prctl = ctypes.PyDLL(None).prctl
    except (OSError, AttributeError):  # a C library that cannot be reached in this way
        return None
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


class _Child:
    """A running command, what it wrote to standard error, and its end.

    The kernel takes the thread that started a child for its parent: one thread starts it, reads its standard error, and
    stays until it has ended.
    """

    process: subprocess.Popen[bytes]

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._stderr = b""
        self._failure: OSError | None = None
        try:
            path = look_path(command[0])
        except LookPathError as err:
            raise DialError(str(err), err) from err
        started = threading.Event()
        self._reader = threading.Thread(target=self._run, args=(path, started), name="connhelper-child", daemon=True)
        self._reader.start()
        started.wait()
        if self._failure is not None:
            reason = os.strerror(self._failure.errno or 0).lower()
            raise DialError(f"fork/exec {path}: {reason}", self._failure) from self._failure

    def _run(self, path: str, started: threading.Event) -> None:
        try:
            self.process = subprocess.Popen(
                self._command,
                executable=path,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_dies_with_its_parent(),
            )
        except OSError as err:
            self._failure = err
            return
        finally:
            started.set()
        assert self.process.stderr is not None
        with self.process.stderr as pipe:
            while data := os.read(pipe.fileno(), 4096):
                self._stderr = (self._stderr + data)[-_STDERR_KEPT:]
        self.process.wait()

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
