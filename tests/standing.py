"""`fake-buildkitd` processes for clients that cannot have the embedded daemon in themselves."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.daemons import environment

_START_SECONDS = 60


class Standing:
    """A daemon of its own, with its state in a folder.

    Args:
        folder: an empty folder for the socket.
        root: the folder of the state.

    Attributes:
        addr: where it listens.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.addr = f"unix://{folder}/bk.sock"
        words = [sys.executable, "-m", "fake_buildkitd", "--addr", self.addr, "--root", str(root)]
        self.process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        if "listens on" not in line:
            self.stop()
            raise AssertionError(f"fake-buildkitd did not start: {line}")

    def stop(self) -> int:
        """End it as a service manager does; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            if self.process.stderr is not None:
                self.process.stderr.close()


@cache
def standing_for(addr: str) -> str:
    """The address of a process that stands for an `embedded://` address, until the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="pybuildkit-"))
    path = addr.removeprefix("embedded://")
    daemon = Standing(folder, Path(path) if path else folder / "state")

    def end() -> None:
        daemon.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return daemon.addr
