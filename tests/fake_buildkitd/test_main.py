"""The command fake-buildkitd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_buildkitd.__main__ import AddressError, main, open_listener
from pybuildkit.client._client import new
from pybuildkit.golang import context
from tests.fake_buildkitd.helpers import build_dockerfile, tree_on_disk, write_tree


@contextlib.contextmanager
def running(addr: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command, ready to serve."""
    command = [sys.executable, "-m", "fake_buildkitd", "--addr", addr, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            assert "listens on" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Its exit code and what more it says after a signal."""
    process.send_signal(number)
    _, text = process.communicate(timeout=10)
    return process.returncode, text


async def build_at(addr: str, folder: Path, dest: Path) -> None:
    """A build that must succeed."""
    async with await new(context.background(), addr) as client:
        built = await build_dockerfile(client, folder, dest)
    assert built.error is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_socket_and_signals(tmp_path: Path, number: signal.Signals) -> None:
    files = write_tree(tmp_path / "src", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    path = tmp_path / "s.sock"
    with running(f"unix://{path}", "--root", str(tmp_path / "root")) as process:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        asyncio.run(build_at(f"unix://{path}", files, tmp_path / "out"))
        assert set(tree_on_disk(tmp_path / "out")) == {"Dockerfile"}
        with socket.socket(socket.AF_UNIX) as idle:
            idle.connect(str(path))
            assert end(process, number) == (0, "")
    assert not path.exists()


def test_garbage_disturbs_nobody(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    path = tmp_path / "s.sock"
    with running(f"unix://{path}", "--memory") as process:
        for text in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(5_000)):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(text)
        asyncio.run(build_at(f"unix://{path}", files, tmp_path / "out"))
        assert end(process, signal.SIGTERM) == (0, "")


def test_one_process_for_a_root(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / "root")
    with running(f"unix://{tmp_path}/one.sock", "--root", root):
        assert main(["--addr", f"unix://{tmp_path}/two.sock", "--root", root]) == 1
        assert capfd.readouterr().err == f"fake-buildkitd: the daemon's state in {root} is used by another process\n"
        assert not (tmp_path / "two.sock").exists()
        with pytest.raises(AddressError, match="another process does"):
            open_listener(f"unix://{tmp_path}/one.sock")


def test_killed_process_leaves_no_obstacle(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    path = tmp_path / "s.sock"
    for number in range(2):
        with running(f"unix://{path}", "--root", str(tmp_path / "root")) as process:
            asyncio.run(build_at(f"unix://{path}", files, tmp_path / str(number)))
            end(process, signal.SIGKILL)
        assert path.exists()


@pytest.mark.parametrize("address", ["unix://", "/run/x.sock", "npipe:////./pipe/x", "tcp://host:port"])
def test_bad_addresses(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--addr", address]) == 1
    assert (
        capfd.readouterr().err == f"fake-buildkitd: cannot listen on {address}: use unix:///path or tcp://host:port\n"
    )


def test_a_file_in_the_socket_s_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(AddressError, match="a file that is no socket"):
        open_listener(f"unix://{path}")
    assert path.read_text() == "data"


def test_missing_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--addr", f"unix://{tmp_path}/none/s.sock"]) == 1
    assert "no such file or directory" in capfd.readouterr().err
