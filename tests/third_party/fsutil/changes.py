"""Trees and lists of entries as short lines: "ADD foo/bar file data", "ADD l symlink target", "ADD h file >foo"."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pybuildkit.third_party.fsutil import (
    MODE_DIR,
    MODE_SOCKET,
    MODE_SYMLINK,
    ChangeKind,
    Entry,
    Stat,
)

_KINDS = {"ADD": ChangeKind.ADD, "CHG": ChangeKind.MODIFY, "DEL": ChangeKind.DELETE}
_MODES = {"dir": MODE_DIR, "socket": MODE_SOCKET, "symlink": MODE_SYMLINK}


@dataclass
class Change:
    """One line."""

    kind: ChangeKind
    stat: Stat
    data: bytes = b""


def parse(lines: Iterable[str]) -> list[Change]:
    """The lines' changes."""
    changes = []
    for line in lines:
        kind, path, what, *rest = line.split()
        change = Change(_KINDS[kind], Stat(path.encode(), _MODES.get(what, 0)))
        if what == "symlink" or (rest and rest[0].startswith(">")):
            change.stat.linkname = rest[0].removeprefix(">").encode()
        elif rest:
            change.data = rest[0].encode()
        changes.append(change)
    return changes


def make(root: Path, lines: Iterable[str]) -> Path:
    """Make the tree that the lines tell of."""
    root.mkdir(exist_ok=True)
    for change in parse(lines):
        path = root / os.fsdecode(change.stat.path)
        link = os.fsdecode(change.stat.linkname)
        if change.stat.is_dir():
            path.mkdir(0o700)
        elif change.stat.mode & MODE_SYMLINK:
            path.symlink_to(link)
        elif link:
            path.hardlink_to(root / link)
        elif change.stat.mode & MODE_SOCKET:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(path))
        else:
            path.write_bytes(change.data)
            path.chmod(0o644)
    return root


def shown(entries: Iterable[Entry]) -> list[str]:
    """A walk as lines: "dir foo", "file foo/bar", "symlink:target l", "file h >foo"."""
    return list(_lines(entries))


def _lines(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.error is not None:
            raise entry.error
        stat = entry.stat()
        path, link = os.fsdecode(entry.path), os.fsdecode(stat.linkname)
        if stat.mode & MODE_SYMLINK:
            yield f"symlink:{link} {path}"
        else:
            yield f"{'dir' if stat.is_dir() else 'file'} {path}" + (f" >{link}" if link else "")
