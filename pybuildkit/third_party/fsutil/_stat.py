"""What is known of one file, and its form on the wire.

Mirrors stat.go, stat_unix.go and types/stat.go of tonistiigi/fsutil, as vendored by BuildKit v0.32.2.

A Stat's mode is Go's: nine permission bits, and type and set-id bits at Go's positions (`MODE_DIR` and so on).
Names are bytes, relative to the tree's root, with "/" between components; times are nanoseconds since the epoch.
The encoder writes the fields in the order of their numbers and leaves out zeros, as Go does, so that equal values
have equal bytes.
"""

from __future__ import annotations

import os
import re
import stat as _unix
import sys
from collections.abc import Mapping

from pybuildkit.third_party.fsutil._wire import (
    WireError,
    decode_signed,
    decode_varint,
    encode_varint,
    signed64,
    skip_field,
    unsigned64,
)

MODE_DIR = 1 << 31
MODE_SYMLINK = 1 << 27
MODE_DEVICE = 1 << 26
MODE_NAMED_PIPE = 1 << 25
MODE_SOCKET = 1 << 24
MODE_SETUID = 1 << 23
MODE_SETGID = 1 << 22
MODE_CHAR_DEVICE = 1 << 21
MODE_STICKY = 1 << 20
MODE_IRREGULAR = 1 << 19
MODE_TYPE = MODE_DIR | MODE_SYMLINK | MODE_NAMED_PIPE | MODE_SOCKET | MODE_DEVICE | MODE_CHAR_DEVICE | MODE_IRREGULAR
MODE_PERM = 0o777

FS_ENCODING = sys.getfilesystemencoding()
"""How the operating system's names become text; always with the error handler "surrogateescape"."""

_GO_TYPE = {
    _unix.S_IFREG: 0,
    _unix.S_IFDIR: MODE_DIR,
    _unix.S_IFLNK: MODE_SYMLINK,
    _unix.S_IFBLK: MODE_DEVICE,
    _unix.S_IFCHR: MODE_DEVICE | MODE_CHAR_DEVICE,
    _unix.S_IFIFO: MODE_NAMED_PIPE,
    _unix.S_IFSOCK: MODE_SOCKET,
}
_GO_MODES: dict[int, int] = {}
"""Unix modes seen so far and what they are in Go; a tree has few different ones."""


class Stat:
    """One entry of a tree.

    Attributes:
        path: the name below the root.
        mode: Go's file mode.
        uid, gid: the owner.
        size: bytes of content, or the length of a symbolic link's target.
        mod_time: nanoseconds since the epoch, may be negative.
        linkname: a symbolic link's target, or for a hard link the path of the entry that has the content.
        devmajor, devminor: a device's numbers.
        xattrs: extended attributes, None where there are none.
        nlink: the number of names that the file has; 0 where it is not known. It does not travel.
    """

    __slots__ = (
        "devmajor",
        "devminor",
        "gid",
        "linkname",
        "mod_time",
        "mode",
        "nlink",
        "path",
        "size",
        "uid",
        "xattrs",
    )

    def __init__(
        self,
        path: bytes = b"",
        mode: int = 0,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mod_time: int = 0,
        linkname: bytes = b"",
        devmajor: int = 0,
        devminor: int = 0,
        xattrs: Mapping[str, bytes] | None = None,
        nlink: int = 0,
    ) -> None:
        self.path = path
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mod_time = mod_time
        self.linkname = linkname
        self.devmajor = devmajor
        self.devminor = devminor
        self.xattrs = xattrs
        self.nlink = nlink

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in Stat.__slots__ if getattr(self, name))
        return f"Stat({fields})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stat) and self.marshal() == other.marshal()

    __hash__ = None  # type: ignore[assignment]  # a value that changes

    def clone(self) -> Stat:
        """A copy that can be changed alone."""
        return Stat(
            self.path,
            self.mode,
            self.uid,
            self.gid,
            self.size,
            self.mod_time,
            self.linkname,
            self.devmajor,
            self.devminor,
            dict(self.xattrs) if self.xattrs is not None else None,
            self.nlink,
        )

    def is_dir(self) -> bool:
        """Whether the entry is a directory."""
        return self.mode & MODE_DIR != 0

    def marshal(self) -> bytes:
        """The message `fsutil.types.Stat`."""
        path, head = self.path, _HEADS.get((self.mode, self.uid, self.gid))
        parts = [
            b"\n" + encode_varint(len(path)) + path if path else b"",
            _encode_head(self.mode, self.uid, self.gid) if head is None else head,
            b"(" + encode_varint(unsigned64(self.size)) if self.size else b"",
            b"0" + encode_varint(unsigned64(self.mod_time)) if self.mod_time else b"",
        ]
        if self.linkname:
            parts += (b":", encode_varint(len(self.linkname)), self.linkname)
        if self.devmajor:
            parts += (b"@", encode_varint(unsigned64(self.devmajor)))
        if self.devminor:
            parts += (b"H", encode_varint(unsigned64(self.devminor)))
        if self.xattrs:
            parts.append(_encode_xattrs(self.xattrs))
        return b"".join(parts)

    @staticmethod
    def unmarshal(data: bytes) -> Stat:
        """Read the message `fsutil.types.Stat`.

        Raises:
            WireError: the bytes are no such message.
        """
        return decode_stat(data, 0, len(data))


_HEADS: dict[tuple[int, int, int], bytes] = {}
"""Encoded mode, uid and gid; a tree has few different combinations."""


def _encode_head(mode: int, uid: int, gid: int) -> bytes:
    parts = [tag + encode_varint(value) for tag, value in ((b"\x10", mode), (b"\x18", uid), (b" ", gid)) if value]
    if len(_HEADS) >= 4096:
        _HEADS.clear()
    head = _HEADS[mode, uid, gid] = b"".join(parts)
    return head


def _encode_xattrs(xattrs: Mapping[str, bytes]) -> bytes:
    out = bytearray()
    for name in sorted(xattrs):
        key, value = name.encode("utf-8", "surrogateescape"), xattrs[name]
        entry = b"".join((b"\n", encode_varint(len(key)), key, b"\x12", encode_varint(len(value)), value))
        out += b"R" + encode_varint(len(entry)) + entry
    return bytes(out)


_V = rb"[\x80-\xff]{0,8}[\x00-\x7f]"
_COMMON = re.compile(rb"((?:\x10%b)?(?:\x18%b)?(?:\x20%b)?)(?:\x28(%b))?(?:\x30(%b))?" % ((_V,) * 5))
"""The fields behind the path of most entries: mode and owner, size, time."""
_HEADS_BACK: dict[bytes, tuple[int, int, int]] = {}
"""Mode, uid and gid as they were encoded."""


def decode_stat(data: bytes, pos: int, end: int) -> Stat:
    """Read a Stat from `data[pos:end]`.

    Raises:
        WireError: the bytes are no such message.
    """
    if pos + 1 < end and data[pos] == 0x0A and data[pos + 1] < 0x80:
        behind = pos + 2 + data[pos + 1]
        if behind <= end:
            found = _COMMON.match(data, behind, end)
            if found is not None and found.end() == end:
                head, size, time = found.groups()
                mode, uid, gid = _HEADS_BACK.get(head) or _decode_head(head)
                return Stat(
                    data[pos + 2 : behind],
                    mode,
                    uid,
                    gid,
                    0 if size is None else size[0] if len(size) == 1 else decode_signed(size),
                    0 if time is None else decode_signed(time),
                )
    return _decode_any(data, pos, end)


def _decode_head(head: bytes) -> tuple[int, int, int]:
    stat = _decode_any(head, 0, len(head))
    if len(_HEADS_BACK) >= 4096:
        _HEADS_BACK.clear()
    found = _HEADS_BACK[head] = (stat.mode, stat.uid, stat.gid)
    return found


def _decode_any(data: bytes, pos: int, end: int) -> Stat:
    """Read a Stat field by field, in whatever order they come."""
    stat = Stat()
    while pos < end:
        tag = data[pos]
        pos += 1
        if tag in _NUMBERS:
            value, pos = decode_varint(data, pos, end)
            _set_number(stat, tag, value)
        elif tag in (0x0A, 0x3A, 0x52):
            length, pos = decode_varint(data, pos, end)
            stop = pos + length
            if stop > end:
                raise WireError("unexpected EOF")
            if tag == 0x0A:
                stat.path = data[pos:stop]
            elif tag == 0x3A:
                stat.linkname = data[pos:stop]
            else:
                key, content = _decode_xattr(data, pos, stop)
                stat.xattrs = {**(stat.xattrs or {}), key: content}
            pos = stop
        else:
            pos = skip_field(data, pos - 1, end)
    return stat


_NUMBERS = frozenset((0x10, 0x18, 0x20, 0x28, 0x30, 0x40, 0x48))


def _set_number(stat: Stat, tag: int, value: int) -> None:
    if tag == 0x30:
        stat.mod_time = signed64(value)
    elif tag == 0x10:
        stat.mode = value & 0xFFFFFFFF
    elif tag == 0x28:
        stat.size = signed64(value)
    elif tag == 0x18:
        stat.uid = value & 0xFFFFFFFF
    elif tag == 0x20:
        stat.gid = value & 0xFFFFFFFF
    elif tag == 0x40:
        stat.devmajor = signed64(value)
    else:
        stat.devminor = signed64(value)


def _decode_xattr(data: bytes, pos: int, end: int) -> tuple[str, bytes]:
    key = value = b""
    while pos < end:
        tag = data[pos]
        if tag not in (0x0A, 0x12):
            pos = skip_field(data, pos, end)
            continue
        length, pos = decode_varint(data, pos + 1, end)
        if pos + length > end:
            raise WireError("unexpected EOF")
        if tag == 0x0A:
            key = data[pos : pos + length]
        else:
            value = data[pos : pos + length]
        pos += length
    return key.decode("utf-8", "surrogateescape"), value


def go_mode(mode: int) -> int:
    """Go's file mode for a Unix `st_mode`."""
    found = _GO_MODES.get(mode)
    if found is None:
        found = _GO_TYPE.get(_unix.S_IFMT(mode), MODE_IRREGULAR) | mode & MODE_PERM
        for unix_bit, go_bit in ((_unix.S_ISUID, MODE_SETUID), (_unix.S_ISGID, MODE_SETGID)):
            found |= go_bit if mode & unix_bit else 0
        found |= MODE_STICKY if mode & _unix.S_ISVTX else 0
        _GO_MODES[mode] = found
    return found


def unix_permissions(mode: int) -> int:
    """The twelve low bits of a Unix mode for a mode of Go's."""
    permissions = mode & MODE_PERM
    if mode & (MODE_SETUID | MODE_SETGID | MODE_STICKY):
        permissions |= _unix.S_ISUID if mode & MODE_SETUID else 0
        permissions |= _unix.S_ISGID if mode & MODE_SETGID else 0
        permissions |= _unix.S_ISVTX if mode & MODE_STICKY else 0
    return permissions


def from_lstat(path: bytes, info: os.stat_result) -> Stat:
    """A Stat from what `lstat` gave; a link's target, attributes and hard links are the caller's.

    A socket loses its type, as with Go: it is sent as an empty file.
    """
    mode = _GO_MODES.get(info.st_mode)
    if mode is None:
        mode = go_mode(info.st_mode)
    stat = Stat(path, mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns)
    if mode & MODE_TYPE:
        if mode & MODE_DIR:
            stat.size = 0
        elif mode & MODE_DEVICE:
            stat.devmajor, stat.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
        stat.mode = mode & ~MODE_SOCKET
    stat.nlink = info.st_nlink
    return stat


def stat(path: str | bytes) -> Stat:
    """The Stat of one file on disk, named by its last component.

    Raises:
        OSError: it cannot be read.
    """
    from pybuildkit.third_party.fsutil._xattr import load_xattrs

    name = os.fsencode(path)
    info = os.lstat(name)
    found = from_lstat(os.path.basename(name.rstrip(b"/")) or b"/", info)
    if found.mode & MODE_SYMLINK:
        found.linkname = os.readlink(name)
    found.xattrs = load_xattrs(name)
    return found
