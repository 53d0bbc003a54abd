"""The calls that write to a directory: temporary names, links, contents with holes.

Mirrors a part of diskwriter.go, tonistiigi/fsutil (6d9dc2e); holes are ours.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterable

Piece = bytes | memoryview

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a file is made that must not be there."""

_HOLE = 4096
_ZEROS = bytes(_HOLE)
_IOV_MAX = 512


def link(source_fd: int, source: bytes, fd: int, name: bytes) -> None:
    """Give a file another name; a symbolic link is not followed."""
    os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=fd, follow_symlinks=False)


def _temporary_name() -> bytes:
    return b".tmp.%09d" % random.randrange(10**9)


def make_temporary(fd: int, make: Callable[[int, bytes], None]) -> bytes:
    """Make an entry under a temporary name, which is returned."""
    while True:
        name = _temporary_name()
        try:
            make(fd, name)
        except FileExistsError:
            continue
        return name


def open_temporary(fd: int) -> tuple[bytes, int]:
    """Make a file under a temporary name: the name and the descriptor, which is the caller's."""
    while True:
        name = _temporary_name()
        try:
            return name, os.open(name, CREATE, 0o600, dir_fd=fd)
        except FileExistsError:
            continue


def change_mode(fd: int, name: bytes, permissions: int) -> None:
    """Change the mode of an entry that cannot or must not be opened; a link is not followed."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.chmod(f"/proc/self/fd/{handle}", permissions)
    finally:
        os.close(handle)


def unlink_quietly(fd: int, name: bytes) -> None:
    """Remove what is ours and half done; what went wrong before is what counts."""
    try:
        os.unlink(name, dir_fd=fd)
    except OSError:
        return


def write_all(fd: int, data: Piece) -> None:
    """Write all of a piece where the file stands."""
    done = os.write(fd, data)
    while done < len(data):
        more = os.write(fd, data[done:])
        if not more:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done += more


def with_holes(chunks: Iterable[Piece], offset: int) -> list[Piece]:
    """Pieces of content, which begin at an offset of their file, cut around blocks of zeros."""
    pieces: list[Piece] = []
    for chunk in chunks:
        pieces += _cut(chunk, offset) if len(chunk) >= _HOLE else [chunk]
        offset += len(chunk)
    return pieces


def _cut(chunk: Piece, offset: int) -> list[Piece]:
    """A piece of content cut so that blocks of zeros, aligned in the file, are pieces of their own."""
    start = -offset % _HOLE
    view = memoryview(chunk)
    if 0 not in bytes(view[start::_HOLE]):
        return [chunk]
    pieces: list[Piece] = []
    begin = pos = 0
    in_hole = False
    pos = start
    while pos < len(view):
        zero = pos + _HOLE <= len(view) and view[pos] == 0 and view[pos : pos + _HOLE].tobytes() == _ZEROS
        if zero != in_hole:
            if pos > begin:
                pieces.append(view[begin:pos])
            begin, in_hole = pos, zero
        pos += _HOLE
    pieces.append(view[begin:])
    return pieces


def _is_hole(piece: Piece) -> bool:
    size = len(piece)
    if size < _HOLE or piece[0] or piece[size - 1]:
        return False
    return not any(memoryview(piece)[:64]) and bytes(piece) == bytes(size)


def write_pieces(fd: int, pieces: Iterable[Piece], offset: int) -> int:
    """Write pieces from an offset on, leaving out those of zeros only; the offset behind them."""
    run: list[Piece] = []
    for piece in pieces:
        if _is_hole(piece):
            offset = _write_run(fd, run, offset) + len(piece)
            run = []
        else:
            run.append(piece)
    return _write_run(fd, run, offset)


def _write_run(fd: int, run: list[Piece], offset: int) -> int:
    for index in range(0, len(run), _IOV_MAX):
        part = run[index : index + _IOV_MAX]
        while part:
            done = os.pwritev(fd, part, offset)
            offset += done
            while part and done >= len(part[0]):
                done -= len(part.pop(0))
            if part and done:
                part[0] = memoryview(part[0])[done:]
    return offset
