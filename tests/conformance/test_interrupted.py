"""Builds that end early: SIGINT in each phase, and a daemon that is killed or stopped in each phase.

The daemons that are killed are the test's own: Debian's dockerd on its own socket and data folder, and fake-buildkitd.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import RUN_OPTIONS, can_run, environment, finish, read_until, run, start, wait_for, write_tree

MAIN = [
    "build",
    "--progress=plain",
    "--frontend=dockerfile.v0",
    "--local",
    "context=test",
    "--local",
    "dockerfile=test/",
]
LOCAL = ["--output", "type=local,dest=out"]
TAR = ["--output", "type=tar,dest=out.tar"]
SLEEPING_RUN = 'FROM scratch\nCOPY busybox /bin/\nRUN ["/bin/busybox", "sh", "-c", "echo started; sleep 60"]\n'


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Large contexts are nothing for the user's own embedded daemon."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    yield
    shutil.rmtree(folder)


class Dockerd:
    """A dockerd of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "docker.sock"
        self.addr = f"docker://{self.socket}"
        self._folder = folder
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "dockerd",
                *("-H", f"unix://{self.socket}", "--data-root", folder / "data", "--exec-root", folder / "exec"),
                *("--pidfile", folder / "pid", "--iptables=false", "--bridge=none"),
            ],
            stdout=self._log,
            stderr=self._log,
        )
        try:
            wait_for(self._answers, "dockerd's start")
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            try:
                sock.connect(str(self.socket))
                sock.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in sock.recv(100)
            except OSError:
                return False

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End the daemon and its containerd."""
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        pids = list((self._folder / "exec").rglob("containerd.pid"))
        for path in pids:
            try:
                os.kill(int(path.read_text()), signal.SIGKILL)
            except (ProcessLookupError, ValueError):
                continue
        self._log.close()
        subprocess.run(
            ["umount", "--recursive", "--lazy", self._folder / "data"], stderr=subprocess.DEVNULL, check=False
        )
        shutil.rmtree(self._folder, ignore_errors=True)


class FakeBuildkitd:
    """A fake-buildkitd of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.addr = f"unix://{folder}/s.sock"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fake_buildkitd", "--addr", self.addr, "--root", folder / "state"],
            env=environment(),
            stderr=subprocess.PIPE,
        )
        read_until(self._process, b"listens on")

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End the daemon."""
        self._process.kill()
        self._process.communicate()


Daemon = Dockerd | FakeBuildkitd


@pytest.fixture(params=["dockerd", "fake-buildkitd"])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that the test may kill."""
    make = _dockerd if request.param == "dockerd" else FakeBuildkitd
    daemon = make(tmp_path_factory.mktemp(request.param))
    try:
        yield daemon
    finally:
        daemon.stop()


def _dockerd(folder: Path) -> Dockerd:
    if os.geteuid() != 0:
        pytest.skip("dockerd needs root")
    if shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        if os.environ.get("PYBUILDKIT_REQUIRE_DAEMON") == "1":
            pytest.fail("PYBUILDKIT_REQUIRE_DAEMON=1, but there is no dockerd (Debian package docker.io)")
        pytest.skip("no dockerd (Debian package docker.io)")
    return Dockerd(folder)


def big_context(tmp_path: Path, mebibytes: int) -> None:
    """A context that takes a while to send."""
    root = write_tree(tmp_path / "test", {"Dockerfile": "FROM scratch\nCOPY . /\n"})
    with open(root / "big", "wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))


def run_context(tmp_path: Path, busybox: Path) -> None:
    """A context whose build sleeps in a RUN step."""
    root = write_tree(tmp_path / "test", {"Dockerfile": SLEEPING_RUN})
    shutil.copy(busybox, root / "busybox")


def check_interrupted(process: subprocess.Popen[bytes], seen: bytes, limit: float) -> str:
    code, rest, seconds = finish(process, 20)
    text = seen.decode("utf-8", "replace") + rest
    assert code == 1, text
    assert "Traceback" not in text
    assert seconds < limit, f"took {seconds:.1f} s: {text}"
    assert [line for line in text.splitlines() if line.startswith("error: ")], text
    return text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_during_upload(addr: str, tmp_path: Path, number: signal.Signals) -> None:
    big_context(tmp_path, 400)
    process = start(*MAIN, *TAR, addr=addr, cwd=tmp_path)
    seen = read_until(process, b"transferring context")
    process.send_signal(number)
    text = check_interrupted(process, seen, 3)
    assert "error: failed to solve: Canceled: context canceled" in text
    assert {p.name for p in tmp_path.iterdir()} == {"test"}


def test_sigint_during_run(real_addr: str, tmp_path: Path, busybox: Path) -> None:
    if reason := can_run(real_addr):
        pytest.skip(reason)
    run_context(tmp_path, busybox)
    process = start(*MAIN, *RUN_OPTIONS, *LOCAL, addr=real_addr, cwd=tmp_path)
    seen = read_until(process, b"started")
    process.send_signal(signal.SIGINT)
    text = check_interrupted(process, seen, 3)
    assert "error: failed to solve: Canceled: context canceled" in text


def test_sigint_during_export(addr: str, tmp_path: Path) -> None:
    big_context(tmp_path, 300)
    assert run(*MAIN, addr=addr, cwd=tmp_path).code == 0
    process = start(*MAIN, *TAR, addr=addr, cwd=tmp_path)
    seen = read_until(process, b"sending tarball")
    process.send_signal(signal.SIGINT)
    code, rest, seconds = finish(process, 20)
    # The export may have been whole before the signal came; then, and only then, it is there.
    assert seconds < 3, rest
    assert (code == 0) == (tmp_path / "out.tar").exists(), seen.decode() + rest
    assert not [p.name for p in tmp_path.iterdir() if p.name not in ("test", "out.tar")]


@pytest.mark.parametrize("phase", ["upload", "run", "export"])
def test_daemon_killed(daemon: Daemon, tmp_path: Path, busybox: Path, phase: str) -> None:
    if phase == "run":
        if isinstance(daemon, FakeBuildkitd):
            pytest.skip("fake-buildkitd runs no containers")
        run_context(tmp_path, busybox)
    else:
        big_context(tmp_path, 300)
    if phase == "export":
        assert run(*MAIN, addr=daemon.addr, cwd=tmp_path).code == 0
    options = RUN_OPTIONS if phase == "run" else []
    process = start(*MAIN, *options, *TAR, addr=daemon.addr, cwd=tmp_path)
    if phase == "export":
        # The display tells of the export only now and then; its unfinished file is there from the beginning on.
        wait_for(lambda: len(list(tmp_path.iterdir())) > 1, "the beginning of the export")
        seen = b""
    else:
        seen = read_until(process, b"started" if phase == "run" else b"transferring context")
    daemon.signal(signal.SIGKILL)
    text = check_interrupted(process, seen, 5)
    assert "Unavailable" in text.splitlines()[-1] or "session closed" in text.splitlines()[-1]
    assert not [p.name for p in tmp_path.iterdir() if p.name != "test"]


@pytest.mark.parametrize("daemon", ["dockerd"], indirect=True)
def test_daemon_stopped(daemon: Daemon, tmp_path: Path) -> None:
    big_context(tmp_path, 200)
    process = start(*MAIN, *TAR, addr=daemon.addr, cwd=tmp_path)
    seen = read_until(process, b"transferring context")
    daemon.signal(signal.SIGSTOP)
    text = check_interrupted(process, seen, 20)
    assert "keepalive ping failed" in text
    assert not [p.name for p in tmp_path.iterdir() if p.name != "test"]


def test_sigint_with_a_stopped_daemon(daemon: Daemon, tmp_path: Path) -> None:
    big_context(tmp_path, 200)
    process = start(*MAIN, *TAR, addr=daemon.addr, cwd=tmp_path)
    seen = read_until(process, b"transferring context")
    daemon.signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    text = check_interrupted(process, seen, 3)
    assert "error: failed to solve: Canceled: context canceled" in text
