"""Extended attributes: how they are read, walked and sent."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pybuildkit.golang.errors import error_text
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil import ReceiveOpt, new_fs
from pybuildkit.third_party.fsutil._xattr import XattrError, load_xattrs
from tests.third_party.fsutil.changes import make
from tests.third_party.fsutil.transfer import transfer

KEY, VALUE = "user.fsutil.rootfs", b"value\x00\xff"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A file and a directory with an attribute each, and a link to the file."""
    root = make(tmp_path / "d", ["ADD dir dir", "ADD file file data", "ADD link symlink file"])
    try:
        for name in ("dir", "file"):
            os.setxattr(root / name, KEY, VALUE)
    except OSError:
        pytest.skip("the file system knows no attributes")
    return root


def test_root_fs_walk_xattrs(tree: Path) -> None:
    """TestRootFSWalkXattrs; a link has not its target's."""
    found = {entry.path: entry.stat().xattrs for entry in new_fs(str(tree)).walk()}
    assert found == {b"dir": {KEY: VALUE}, b"file": {KEY: VALUE}, b"link": None}


async def test_attributes_arrive(tree: Path, tmp_path: Path) -> None:
    dest = make(tmp_path / "dest", [])
    await transfer(new_fs(str(tree)), dest, ReceiveOpt())
    assert {name: os.getxattr(dest / name, KEY) for name in ("dir", "file")} == {"dir": VALUE, "file": VALUE}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENODATA])
def test_attribute_that_cannot_be_read_is_left_out(tree: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """TestLoadRootXattrIgnoresOpenPermissionError: nothing is opened here, so that reading one may be refused."""

    def refuse(path: bytes, key: str, *, follow_symlinks: bool = True) -> bytes:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "getxattr", refuse)
    assert load_xattrs(os.fsencode(tree / "file")) is None


@pytest.mark.parametrize(("number", "fails"), [(errno.ENOTSUP, False), (errno.ENOSYS, False), (errno.EIO, True)])
def test_attributes_that_cannot_be_listed(
    tree: Path, monkeypatch: pytest.MonkeyPatch, number: int, fails: bool
) -> None:
    def refuse(path: bytes, *, follow_symlinks: bool = True) -> list[str]:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "listxattr", refuse)
    if not fails:
        assert fsutil.stat(str(tree / "file")).xattrs is None
        return
    with pytest.raises(XattrError) as caught:
        fsutil.stat(str(tree / "file"))
    assert error_text(caught.value) == f"failed to xattr {tree}/file: input/output error"


def test_stat_skips_apple_xattrs(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TestStat_SkipAppleXattrs, on any system."""
    monkeypatch.setattr(os, "listxattr", lambda path, follow_symlinks=True: ["com.apple.quarantine", KEY])
    assert fsutil.stat(str(tree / "file")).xattrs == {KEY: VALUE}
