"""What is in an archive's headers, as ADD takes it over; the trees themselves are in `good.py` and `mistakes.py`."""

from __future__ import annotations

import io
import stat as st
import tarfile
from collections.abc import Sequence

import pytest

from fake_buildkitd.solver._unpack import unpack
from fake_buildkitd.store import MemoryStore, Node, Tree

SECOND = 1_000_000_000


def unpacked(members: Sequence[tarfile.TarInfo], fmt: int = tarfile.PAX_FORMAT) -> Tree:
    """The tree of an archive."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=fmt) as archive:
        for member in members:
            archive.addfile(member)
    store = MemoryStore()
    blob = store.put_blob(data.getvalue())
    source, target = Tree(), Tree()
    source.put(b"/a", Node(st.S_IFREG | 0o644, size=len(data.getvalue()), blob=blob))
    assert unpack(store, source, b"/a", target, b"/", None, None)
    return target


def member(name: str, kind: bytes = tarfile.REGTYPE, mtime: float = 0, text: str = "") -> tarfile.TarInfo:
    """A member without content; `text` is its time as a header has it."""
    info = tarfile.TarInfo(name)
    info.type, info.mtime, info.pax_headers = kind, mtime, {"mtime": text} if text else {}
    return info


@pytest.mark.parametrize(
    ("info", "time"),
    [
        (member("f", mtime=1000), 1000 * SECOND),
        (member("f", mtime=1.5), SECOND + SECOND // 2),
        (member("f", text="1234567890.123456789"), 1_234_567_890_123_456_789),
        (member("f", mtime=-5), 0),
        (member("f", mtime=1 << 33), (1 << 33) * SECOND),
        (member("f", mtime=1 << 40), 0),
    ],
)
def test_times(info: tarfile.TarInfo, time: int) -> None:
    assert unpacked([info]).must_lstat(b"/f").mtime == time


@pytest.mark.parametrize(
    ("kind", "kept"),
    [(tarfile.REGTYPE, ["security.x", "user.x"]), (tarfile.DIRTYPE, ["security.x", "user.x"])]
    + [(kind, ["security.x"]) for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE)],
)
def test_attributes(kind: bytes, kept: list[str]) -> None:
    info = member("f", kind)
    info.pax_headers = {"SCHILY.xattr.user.x": "1", "SCHILY.xattr.security.x": "2"}
    assert [key for key, _ in unpacked([info]).must_lstat(b"/f").xattrs] == kept


def test_a_directory_that_becomes_a_link() -> None:
    """Directories get their times last, through what stands there then."""
    link = member("d", tarfile.SYMTYPE, 2)
    link.linkname = "f"
    tree = unpacked([member("f", mtime=1), member("d", tarfile.DIRTYPE, 7), link])
    assert (tree.must_lstat(b"/f").mtime, tree.must_lstat(b"/d").mtime) == (7 * SECOND, 2 * SECOND)


def test_a_root_with_attributes() -> None:
    """The name `/` is the place itself; `.` leaves it as it is."""
    for name, mode in (("/", 0o700), (".", 0o755)):
        info = member(name, tarfile.DIRTYPE)
        info.mode = 0o700
        assert st.S_IMODE(unpacked([info, member("f")]).root.mode) == mode
