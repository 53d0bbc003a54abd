"""Files that change under the sender, and trees that cannot be read or written."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pybuildkit.golang.context import background
from pybuildkit.golang.errors import error_text
from pybuildkit.third_party.fsutil import FilterOpt, ReceiveOpt, new_filter_fs, new_fs, receive, send
from tests.session.unprivileged import unprivileged
from tests.third_party.fsutil.changes import make
from tests.third_party.fsutil.streams import MemoryStream, pair
from tests.third_party.fsutil.transfer import names, open_descriptors, outcome

LARGE = 1 << 20


def unlink(path: Path) -> None:
    path.unlink()


def shrink(path: Path) -> None:
    os.truncate(path, 5)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def to_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_dir(path: Path) -> None:
    path.unlink()
    path.mkdir()


def parent_to_link(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.symlink_to("moved")


MUTATIONS: dict[Callable[[Path], None], str | None] = {
    unlink: "open {path}: no such file or directory",
    shrink: "read {path}: file is shorter than it was when it was listed",
    grow: None,
    to_link: "open {path}: too many levels of symbolic links",
    to_fifo: "open {path}: not a regular file",
    to_dir: "open {path}: not a regular file",
    parent_to_link: "open {path}: not a directory",
}


class Pausing(MemoryStream):
    """The receiver's end; calls a function when the list has come, before anything is asked for."""

    def __init__(self, stream: MemoryStream, action: Callable[[], None]) -> None:
        super().__init__(stream._incoming, stream._outgoing)
        self._action: Callable[[], None] | None = action

    async def recv_many(self) -> list[bytes]:
        packets = await super().recv_many()
        if b"" in packets and self._action is not None:
            self._action()
            self._action = None
        return packets


@pytest.mark.parametrize("size", [100, LARGE])
@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_file_changes_between_the_walk_and_the_open(
    tmp_path: Path, mutation: Callable[[Path], None], size: int
) -> None:
    source, dest = make(tmp_path / "src", ["ADD d dir", "ADD z file ok"]), make(tmp_path / "dest", [])
    path = source / "d/f"
    content = os.urandom(size)
    path.write_bytes(content)
    before = open_descriptors()
    near, far = pair()
    results = await asyncio.gather(
        send(background(), near, new_fs(str(source))),
        receive(background(), Pausing(far, lambda: mutation(path)), str(dest), ReceiveOpt()),
        return_exceptions=True,
    )
    assert open_descriptors() <= before
    text = MUTATIONS[mutation]
    if text is None:
        assert not any(results)
        assert (dest / "d/f").read_bytes() == content
        return
    wanted = text.format(path=path)
    assert isinstance(results[0], OSError)
    assert error_text(results[0]) == wanted
    assert str(results[1]) == f"error from sender: {wanted}"
    assert "d/f" not in names(dest)


@pytest.mark.parametrize(("size", "cached"), [(100, True), (LARGE, True), (LARGE, False), (4 * LARGE, True)])
async def test_file_shrinks_when_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, cached: bool
) -> None:
    source, dest = make(tmp_path / "src", []), make(tmp_path / "dest", [])
    path = source / "f"
    path.write_bytes(os.urandom(size))
    fstat = os.fstat

    def then_shrink(fd: int) -> os.stat_result:
        info = fstat(fd)
        if info.st_size == size:
            os.truncate(path, size - 1)
        return info

    def not_cached(*args: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fstat", then_shrink)
    if not cached:
        monkeypatch.setattr(os, "preadv", not_cached)
    sender, receiver = await outcome(new_fs(str(source)), dest, ReceiveOpt())
    assert sender is not None
    assert error_text(sender) == f"read {path}: file is shorter than it was when it was listed"
    assert receiver is not None
    assert error_text(receiver) == f"error from sender: {error_text(sender)}"
    assert names(dest) == []


def to_device_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("mutation", "wanted"),
    [
        (unlink, "lstat {path}: no such file or directory"),
        (to_device_link, "open {path}: not a regular file"),
        (to_fifo, "open {path}: not a regular file"),
        (parent_to_link, "lstat {path}: not a directory"),
        (grow, None),
    ],
)
async def test_empty_file_changes_between_the_walk_and_the_end(
    tmp_path: Path, mutation: Callable[[Path], None], wanted: str | None
) -> None:
    """There is nothing to be opened or read, and yet it must still be there."""
    source, dest = make(tmp_path / "src", ["ADD d dir", "ADD d/f file"]), make(tmp_path / "dest", [])
    path = source / "d/f"
    near, far = pair()
    results = await asyncio.gather(
        send(background(), near, new_fs(str(source))),
        receive(background(), Pausing(far, lambda: mutation(path)), str(dest), ReceiveOpt()),
        return_exceptions=True,
    )
    if wanted is None:
        assert not any(results)
        assert (dest / "d/f").stat().st_size == 0
        return
    assert isinstance(results[0], OSError)
    assert error_text(results[0]) == wanted.format(path=path)
    assert "d/f" not in names(dest)


async def test_unreadable_file() -> None:
    with unprivileged() as folder:
        source, dest = make(folder / "src", ["ADD f file data"]), make(folder / "dest", [])
        (source / "f").chmod(0)
        sender, _ = await outcome(new_fs(str(source)), dest, ReceiveOpt())
    assert sender is not None
    assert error_text(sender) == f"open {source}/f: permission denied"


async def test_empty_files_and_sockets_are_not_opened(tmp_path: Path) -> None:
    source, dest = make(tmp_path / "s", ["ADD empty file"]), make(tmp_path / "dest", [])
    make(source, ["ADD sock socket"])
    assert await outcome(new_fs(str(source)), dest, ReceiveOpt()) == (None, None)
    assert {name: (dest / name).stat().st_size for name in names(dest)} == {"empty": 0, "sock": 0}


class FailOnce:
    """Replaces one of os's functions; its n-th call fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, nth: int, number: int) -> None:
        self.calls = 0
        self._function: Callable[..., Any] = getattr(os, name)
        self._nth = nth
        self._number = number
        self._lock = threading.Lock()
        monkeypatch.setattr(os, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread().name.startswith("fsutil"):
            with self._lock:
                self.calls += 1
                if self.calls == self._nth:
                    raise OSError(self._number, os.strerror(self._number))
        return self._function(*args, **kwargs)


async def test_error_of_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, dest = make(tmp_path / "src", ["ADD d dir", "ADD d/f file data"]), make(tmp_path / "dest", [])
    FailOnce(monkeypatch, "write", 1, errno.ENOSPC)
    sender, receiver = await outcome(new_fs(str(source)), dest, ReceiveOpt())
    assert receiver is not None
    assert error_text(receiver) == f"write {dest}/d/f: no space left on device"
    assert str(sender) == f"error from receiver: write {dest}/d/f: no space left on device"
    assert names(dest) == ["d"]


async def test_destination_removed_during_the_transfer(tmp_path: Path) -> None:
    source, dest = make(tmp_path / "src", ["ADD d dir", "ADD d/f file data"]), make(tmp_path / "dest", [])
    near, far = pair()

    def remove() -> None:
        dest.rmdir()

    results = await asyncio.gather(
        send(background(), near, new_fs(str(source))),
        receive(background(), Pausing(far, remove), str(dest), ReceiveOpt()),
        return_exceptions=True,
    )
    assert all(isinstance(result, Exception) for result in results)


async def test_a_stalled_open_does_not_block_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open that hangs holds one thread; the loop goes on, and cancelling ends the transfer."""
    source = make(tmp_path / "src", ["ADD f file data"])
    release = threading.Event()
    entered = threading.Event()
    real = os.open

    def stall(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == b"f":
            entered.set()
            release.wait(30)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", stall)
    near, far = pair()
    task = asyncio.ensure_future(send(background(), near, new_fs(str(source))))
    assert await far.recv_many()
    await far.send_many([b"\x08\x01"])
    while not entered.is_set():
        await asyncio.sleep(0)
    task.cancel()
    started = asyncio.get_running_loop().time()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.get_running_loop().time() - started < 3
    release.set()


async def test_works_with_few_descriptors(tmp_path: Path) -> None:
    import resource

    source, dest = tmp_path / "src", make(tmp_path / "dest", [])
    before = open_descriptors()
    for number in range(120):
        folder = source / f"d{number}" / "e" / "f" / "g"
        folder.mkdir(parents=True)
        for name in range(3):
            (folder / f"f{name}").write_bytes(os.urandom(200 if name else 100_000))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = max(int(fd) for fd in os.listdir("/proc/self/fd")) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(64, in_use + 50), limits[1]))
    try:
        assert await outcome(new_fs(str(source)), dest, ReceiveOpt()) == (None, None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert names(source) == names(dest)
    assert open_descriptors() <= before


async def test_bad_follow_path_reaches_the_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What new_filter_fs leaves for later fails in the transfer."""
    source, dest = make(tmp_path / "src", ["ADD f file data"]), make(tmp_path / "dest", [])
    fs = new_filter_fs(new_fs(str(source)), FilterOpt(follow_paths=["f*"]))

    def refuse(fd: int) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    sender, receiver = await outcome(fs, dest, ReceiveOpt(merge=True))
    assert sender is not None
    assert error_text(sender) == f"readdir: open {source}: permission denied"
    assert str(receiver) == f"error from sender: readdir: open {source}: permission denied"
