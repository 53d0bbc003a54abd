"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pybuildkit.golang.errors import error_text
from pybuildkit.third_party.continuity import atomic_write_file


@pytest.fixture
def umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def test_atomic_write_file(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "f"
    atomic_write_file(str(path), b"data")
    assert path.read_bytes() == b"data"
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    atomic_write_file(str(path), b"other", 0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"other", 0o600)
    assert os.listdir(tmp_path) == ["f"]


def test_a_name_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    atomic_write_file("f", b"x")
    assert os.listdir(tmp_path) == ["f"]


def test_devices_and_pipes_are_written_to(tmp_path: Path) -> None:
    atomic_write_file("/dev/null", b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="No such device or address") as caught:
        atomic_write_file(str(pipe), b"nobody reads")
    assert error_text(caught.value) == f"open {pipe}: no such device or address"
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    atomic_write_file(str(pipe), b"data")
    assert os.read(reader, 100) == b"data"
    os.close(reader)
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_open_descriptors_are_written_to(tmp_path: Path, name: str) -> None:
    with open(tmp_path / "out", "wb", buffering=0) as file:
        file.write(b"before ")
        atomic_write_file(name.format(file.fileno()), b"data")
    assert (tmp_path / "out").read_bytes() == b"before data"
    assert os.listdir(tmp_path) == ["out"]


def _refuse(code: int) -> Callable[..., object]:
    def call(*args: object, **kwargs: object) -> object:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "close"])
def test_nothing_is_left_when_a_call_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    (tmp_path / "f").write_text("before")
    real_close = os.close
    closed: list[int] = []

    def close(fd: int) -> None:
        real_close(fd)
        if not closed:
            closed.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, close if call == "close" else _refuse(errno.ENOSPC))
    with pytest.raises(OSError):  # noqa: PT011  # any of the errors above
        atomic_write_file(str(tmp_path / "f"), b"after")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_text() == "before"


def test_error_texts(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the text is checked
        atomic_write_file(f"{tmp_path}/d", b"")
    assert error_text(caught.value).startswith(f"rename {tmp_path}/.tmp-d")
    assert error_text(caught.value).endswith(f" {tmp_path}/d: file exists")
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the text is checked
        atomic_write_file(f"{tmp_path}/no/f", b"")
    assert error_text(caught.value).endswith(": no such file or directory")
    assert error_text(caught.value).startswith(f"open {tmp_path}/no/.tmp-f")
