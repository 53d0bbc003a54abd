"""Every call on either tree fails once, in five ways, wherever our code makes it; the errors name what they are about.

A good transfer records each call and the line that makes it. Then the first and the last call of each line fail.
"""

from __future__ import annotations

import errno
import os
import stat as unix
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil import (
    DIFF_CONTENT,
    DIFF_NONE,
    ChangeKind,
    DiskWriter,
    ReceiveOpt,
    Receiver,
    Stat,
    new_fs,
)
from pybuildkit.third_party.fsutil._diskwriter import MAX_OPEN_FILES
from pybuildkit.third_party.fsutil._packet import END_OF_LIST, stat_packet
from tests.third_party.fsutil.changes import make
from tests.third_party.fsutil.transfer import open_descriptors, outcome

OURS = os.path.dirname(fsutil.__file__)
NUMBERS = [errno.EACCES, errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EINTR]
LARGE = 300_000
SOURCE = [
    "ADD a dir",
    "ADD a/link symlink small",
    "ADD a/small file abc",
    "ADD b file >a/small",
    "ADD c dir",
    "ADD c/empty file",
    "ADD d file in place of a folder",
    "ADD e dir",
    "ADD f file of no folder",
    "ADD g file >a/small",
]
DEST = [
    "ADD a dir",
    "ADD a/link file old",
    "ADD a/small file old",
    "ADD b dir",
    "ADD b/x file y",
    "ADD d dir",
    "ADD d/deep dir",
    "ADD d/deep/x file y",
    "ADD e file old",
    "ADD g file old",
    "ADD gone dir",
    "ADD gone/f file old",
]
_NAMES = (
    "open read pread preadv write pwritev close fstat stat scandir readlink listxattr getxattr setxattr mkdir mknod "
    "symlink link rename unlink rmdir ftruncate fchmod chmod fchown chown utime"
)
CALLS = _NAMES.split()
NAMELESS = (
    *("read", "pread", "preadv", "write", "pwritev", "close", "fstat"),
    *("ftruncate", "fchmod", "fchown", "scandir", "utime", "mknod"),
)
"""Calls whose errors name nothing; those of the others hold the name that was given."""
FORGIVEN = ("setxattr", "listxattr", "getxattr", "unlink")
"""Calls whose failure may be no error, if the result is whole.

A file system may know no attributes, and Go passes over them as well; what cannot be unlinked may be a directory,
and what is to be cleared away may be gone. So it is with closing what was only read.
"""

Site = tuple[str, str]
"""A call and the line of ours that makes it."""


class Calls:
    """Stands in for functions of os, and lets one call fail.

    Attributes:
        counts: how often each line made its call.
        failed: whether the call has failed.
    """

    def __init__(self, fail: tuple[Site, int] | None, number: int) -> None:
        self.counts: Counter[Site] = Counter()
        self.failed = False
        self._fail = fail
        self._number = number
        self._next = ""
        self._lock = threading.Lock()

    def fail_next(self, name: str) -> None:
        """Let the next call of this name fail, whatever line makes it."""
        self._next = name

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Replace the functions."""
        for name in CALLS:
            patch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            code = sys._getframe(1)
            if not code.f_code.co_filename.startswith(OURS):
                return function(*args, **kwargs)
            site = (name, f"{os.path.basename(code.f_code.co_filename)}:{code.f_lineno}")
            with self._lock:
                self.counts[site] += 1
                fails = self._fail == (site, self.counts[site]) or self._next == name
                self._next = "" if fails else self._next
                self.failed |= fails
            if not fails:
                return function(*args, **kwargs)
            if name == "close":  # an error of close leaves the descriptor closed
                function(*args, **kwargs)
            named = () if name in NAMELESS else args[:1]
            raise OSError(self._number, os.strerror(self._number), *named)

        return call


Seen = tuple[int, int, bytes]
"""Type and mode, time, and content or target; of a directory only its type."""


def listed(root: Path) -> dict[str, Seen]:
    """Every entry of a tree."""
    found = {}
    for path in root.rglob("*"):
        info = path.lstat()
        mode = info.st_mode
        content = os.fsencode(os.readlink(path)) if unix.S_ISLNK(mode) else b""
        content = path.read_bytes() if unix.S_ISREG(mode) else content
        found[str(path.relative_to(root))] = (mode, info.st_mtime_ns, content)
        if unix.S_ISDIR(mode):
            found[str(path.relative_to(root))] = (unix.S_IFDIR, 0, b"")
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with everything that takes a call of its own."""
    source = make(tmp_path / "src", SOURCE)
    (source / "c/large").write_bytes(os.urandom(LARGE))
    with (source / "c/sparse").open("wb") as file:
        file.truncate(LARGE)
    os.mkfifo(source / "c/pipe")
    (source / "a/small").chmod(0o4711)
    try:
        os.setxattr(source / "a/small", "user.name", b"value")
    except OSError:
        pass  # a file system without attributes
    return source


def forgiven(name: str, line: str) -> bool:
    """Whether a call may fail without an error."""
    return name in FORGIVEN or (name == "close" and line.startswith("_root.py"))


async def run(source: Path, dest: Path, opt: ReceiveOpt, fail: tuple[Site, int] | None, number: int) -> Calls:
    """One transfer, one call of which fails; what it leaves is checked."""
    before, descriptors = listed(make(dest, DEST)), open_descriptors()
    calls = Calls(fail, number)
    with pytest.MonkeyPatch.context() as patch:
        calls.install(patch)
        errors = await outcome(new_fs(str(source)), dest, opt)
    where = (fail, os.strerror(number), *(err and error_text(err) for err in errors))
    assert open_descriptors() <= descriptors, where
    good, left = listed(source), listed(dest)
    if errors == (None, None):
        assert left == good, where
        assert not calls.failed or (fail is not None and forgiven(*fail[0])), where
        return calls
    assert calls.failed, where
    for name, entry in left.items():
        if name.startswith(".tmp.") or "/.tmp." in name:
            assert fail is not None, where
            assert fail[0][0] == "unlink", where
        else:
            assert entry in (good.get(name), before.get(name)), (name, *where)
    texts = sorted((error_text(err) for err in errors if err is not None), key=len)
    assert len(texts) == 2, where
    assert texts[1].endswith(texts[0]), where
    assert texts[1].startswith("error from "), where
    reason = os.strerror(number)
    assert texts[0].endswith(": " + reason[0].lower() + reason[1:]), where
    assert f" {source}" in texts[0] or f" {dest}" in texts[0], where
    return calls


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: errno.errorcode[number])
async def test_each_call_fails_once(tmp_path: Path, source: Path, number: int) -> None:
    opt = ReceiveOpt(differ=DIFF_CONTENT if number == errno.EIO else DIFF_NONE)
    recorded = await run(source, tmp_path / "good", opt, None, number)
    todo = [(site, nth) for site, count in recorded.counts.items() for nth in sorted({1, count})]
    made = {name for (name, _), _ in todo}
    wanted = "open read write pwritev close fstat stat scandir readlink mkdir mknod symlink link rename unlink rmdir"
    assert made >= {*wanted.split(), "utime", "fchmod", "chmod"}
    for turn, fail in enumerate(todo):
        await run(source, tmp_path / str(turn), opt, fail, number)


def test_the_error_of_closing_a_file_names_that_file(tmp_path: Path) -> None:
    """Too many are open: the oldest gives way, and a disk may say only now that it was full."""
    writer = DiskWriter(str(tmp_path))
    stats = [Stat(b"f%d" % number, 0o644, size=2 * LARGE) for number in range(MAX_OPEN_FILES + 1)]
    files = [writer.add(ChangeKind.ADD, stat.path, stat, stat) for stat in stats]
    before = open_descriptors()
    calls = Calls(None, errno.EDQUOT)
    with pytest.MonkeyPatch.context() as patch:
        for file in files[:-1]:
            assert file is not None
            writer.write(file, os.urandom(LARGE))
        calls.install(patch)
        calls.fail_next("close")
        assert files[-1] is not None
        with pytest.raises(OSError, match="quota") as caught:
            writer.write(files[-1], os.urandom(LARGE))
    assert error_text(caught.value) == f"close {tmp_path}/f0: disk quota exceeded"
    writer.close()
    assert open_descriptors() <= before
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["unlink", "open", "write", "close"])
def test_a_list_that_cannot_be_written_is_not_there(tmp_path: Path, source: Path, name: str) -> None:
    """The file that takes the place of what is not wanted is whole or absent."""
    dest = make(tmp_path / "dest", ["ADD .fsutil-metadata file old"])
    receiver = Receiver(str(dest), ReceiveOpt(merge=True, metadata_only=lambda path, stat: False))
    receiver.feed([stat_packet(entry.stat()) for entry in new_fs(str(source)).walk()])
    calls = Calls(None, errno.EIO)
    with pytest.MonkeyPatch.context() as patch:
        calls.install(patch)
        calls.fail_next(name)
        with pytest.raises((OSError, BuildkitError)) as caught:
            receiver.feed([END_OF_LIST])
    receiver.close()
    assert f" {dest}/.fsutil-metadata: input/output error" in error_text(caught.value)
    assert listed(dest).keys() == ({".fsutil-metadata"} if name == "unlink" else set())
    assert not receiver.whole
