"""The daemons that tests run against, and running our command as a user does.

`PYBUILDKIT_TEST_ADDRS` names real daemons, separated by commas. `PYBUILDKIT_REQUIRE_DAEMON=1` makes a missing one a
failure. The embedded daemon is always there. `PYBUILDKIT_TEST_CLIENT` is the command line of another client to test in
place of ours; tests of the library stay with ours, and other clients meet the embedded daemon as a `fake-buildkitd`.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

EMBEDDED = "embedded://"
OTHER_CLIENT = shlex.split(os.environ.get("PYBUILDKIT_TEST_CLIENT", ""))
COMMAND = OTHER_CLIENT or [sys.executable, "-m", "pybuildkit.cmd.buildctl"]
ours_alone = pytest.mark.skipif(
    bool(OTHER_CLIENT), reason="BuildKit's own client does otherwise: docs/compatibility.md"
)
RUN_OPTIONS = ["--opt", "force-network-mode=host", "--allow", "network.host"]


def real_addresses() -> list[str]:
    """The addresses of the real daemons to test against."""
    return [addr.strip() for addr in os.environ.get("PYBUILDKIT_TEST_ADDRS", "").split(",") if addr.strip()]


@dataclass(frozen=True)
class Result:
    """What a run of the command gave."""

    code: int
    stdout: bytes
    stderr: str


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a run: ours, without what would change the command's behaviour."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("BUILDKIT_", "DOCKER_", "SOURCE_DATE_"))}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled modules are kept: start-up is part of what users see
    env.update(extra or {})
    root = str(Path(__file__).resolve().parent.parent)
    env["PYTHONPATH"] = root
    return env


def _command(addr: str | None) -> list[str]:
    """The command with its address."""
    if addr is None:
        return COMMAND
    if OTHER_CLIENT and addr.startswith(EMBEDDED):
        from tests.standing import standing_for

        addr = standing_for(addr)
    return [*COMMAND, "--addr", addr]


def run(
    *argv: str,
    addr: str | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = 90,
) -> Result:
    """Run `pybuildctl` to its end."""
    words = [*_command(addr), *argv]
    done = subprocess.run(
        words, cwd=cwd, input=stdin, env=environment(env), capture_output=True, timeout=timeout, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def start(*argv: str, addr: str, cwd: Path, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start `pybuildctl` in the background."""
    return subprocess.Popen(
        [*_command(addr), *argv],
        cwd=cwd,
        env=environment(),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Poll until a condition holds; fails the test after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.02)


def read_until(process: subprocess.Popen[bytes], text: bytes, seconds: float = 60) -> bytes:
    """Read a process's standard error until a text has appeared; what was read so far."""
    assert process.stderr is not None
    descriptor = process.stderr.fileno()
    os.set_blocking(descriptor, False)
    seen = b""
    end = time.monotonic() + seconds
    while text not in seen:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            data = None
        if data == b"" or time.monotonic() > end:
            process.kill()
            pytest.fail(f"{text!r} did not appear on standard error; it was {seen!r}")
        seen += data or b""
        if data is None:
            time.sleep(0.01)
    os.set_blocking(descriptor, True)
    return seen


def finish(process: subprocess.Popen[bytes], seconds: float) -> tuple[int, str, float]:
    """Wait for a process: its code, the rest of its standard error, and how long it took."""
    started = time.monotonic()
    try:
        _, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        _, stderr = process.communicate()
        pytest.fail(f"the command had not ended after {seconds:g} s; it had printed {stderr!r}")
    return process.returncode, stderr.decode("utf-8", "replace"), time.monotonic() - started


@cache
def can_run(addr: str) -> str | None:
    """None where the daemon runs RUN steps, else the reason why it does not."""
    return "the embedded daemon runs no containers" if addr.startswith("embedded") else None


def tree(root: Path, *, times: bool = True) -> dict[str, tuple[object, ...]]:
    """A directory tree as values to compare: type, permissions, size or target, time, content."""
    out: dict[str, tuple[object, ...]] = {}
    inodes: dict[tuple[int, int], str] = {}
    for folder, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            info = path.lstat()
            key = str(path.relative_to(root))
            mtime = info.st_mtime_ns if times and not path.is_dir() else 0
            if path.is_symlink():
                out[key] = ("link", os.readlink(path))
            elif path.is_dir():
                out[key] = ("dir", info.st_mode & 0o7777)
            elif path.is_file():
                link = inodes.setdefault((info.st_dev, info.st_ino), key)
                out[key] = ("file", info.st_mode & 0o7777, mtime, path.read_bytes(), link)
            else:
                out[key] = ("other", info.st_mode)
    return out


def write_tree(root: Path, files: Mapping[str, str | bytes], order: Sequence[str] = ()) -> Path:
    """Make files below a folder; names that end in a slash are directories."""
    for name, content in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root
