"""Paths and everything that they lead to through symbolic links, as a list of include patterns.

Mirrors followlinks.go of tonistiigi/fsutil (6d9dc2e).

Differs from Go: a path that leads out of the root is kept as it is, and nothing outside is looked at.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.third_party.fsutil._fs import FS, Entry, walking
from pybuildkit.third_party.fsutil._stat import FS_ENCODING, MODE_SYMLINK
from pybuildkit.third_party.patternmatcher import BadPatternError, match


class FollowError(BuildkitError):
    """A file system walked something that it was not asked for."""


def follow_links(fs: FS, paths: Iterable[str]) -> list[str] | None:
    """The paths, and every link on the way from them to what they mean, sorted; None where that is everything.

    Args:
        fs: where links are looked up.
        paths: names below its root; components with wildcards stand for all that match.
    """
    resolver = _Resolver(fs)
    for path in paths:
        cleaned = os.path.normpath(path.lstrip("/") or ".")
        if cleaned.startswith(".."):
            resolver.resolved.add(cleaned)
        else:
            resolver.append(cleaned)
    return dedupe_paths(sorted(resolver.resolved, key=_encode))


class _Resolver:
    def __init__(self, fs: FS) -> None:
        self._fs = fs
        self.resolved: set[str] = set()

    def append(self, path: str) -> None:
        """Follow a path; what is to be followed waits in a list, so that long chains need no recursion."""
        waiting = [path]
        while waiting:
            targets = self._walk(waiting.pop())
            waiting += reversed(targets)

    def _walk(self, path: str) -> list[str]:
        """Go down a path up to the first link; the paths that it leads to."""
        current = "."
        while True:
            first, _, rest = path.partition("/")
            current = _clean(f"{current}/{first}")
            targets = self._read_links(current)
            if (not rest or targets is not None) and current in self.resolved:
                return []
            if targets is not None:
                self.resolved.add(current)
                return [_clean(f"{target}/{rest}") for target in targets]
            if not rest:
                self.resolved.add(current)
                return []
            path = rest

    def _read_links(self, path: str) -> list[str] | None:
        """Where a link leads, or all links that a wildcard means; None for what is no link."""
        parent, _, base = path.rpartition("/")
        if not contains_wildcards(base):
            return self._read_link(path)
        try:
            entries = read_dir(self._fs, parent or ".")
        except FileNotFoundError:
            return None
        except OSError as err:
            raise wrap(err, "readdir") from err
        found: list[str] = []
        for entry in entries:
            name = _decode(entry.path).rpartition("/")[2]
            if _matches(base, name):
                found += self._read_link(f"{parent}/{name}" if parent else name) or []
        return found or None

    def _read_link(self, path: str) -> list[str] | None:
        try:
            entry = stat_file(self._fs, path)
            if entry is None:
                return None
            stat = entry.stat()
        except FileNotFoundError:
            return None
        if not stat.mode & MODE_SYMLINK:
            return None
        link = _decode(stat.linkname)
        if link.startswith("/"):
            return [_clean(link)]
        return [_clean(f"{path.rpartition('/')[0]}/{link}")]


def _matches(pattern: str, name: str) -> bool:
    try:
        return match(pattern, name)
    except BadPatternError:
        return False


def stat_file(fs: FS, path: str) -> Entry | None:
    """The entry at a path, None for the root.

    Raises:
        FileNotFoundError: there is none.
    """
    root = _clean(path)
    if root == ".":
        return None
    target = _encode(root)
    found: Entry | None = None
    with walking(fs, target) as walk:
        for entry in walk:
            if entry.error is not None:
                raise entry.error
            if entry.path != target:
                raise FollowError(f'expected single entry "{root}" but got "{_decode(entry.path)}"')
            found = entry
            found.stat()
            entry.skip = entry.is_dir
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), root)
    return found


def read_dir(fs: FS, path: str) -> list[Entry]:
    """The entries of a directory in order.

    Raises:
        FileNotFoundError: it does not exist, or is no directory.
    """
    root = _clean(path)
    target = b"" if root == "." else _encode(root)
    out: list[Entry] = []
    found = not target
    with walking(fs, target) as walk:
        for entry in walk:
            if entry.error is not None:
                raise entry.error
            if target and entry.path == target:
                if not entry.is_dir:
                    break
                found = True
                continue
            out.append(entry)
            entry.skip = entry.is_dir
    if not found:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), root)
    return out


def contains_wildcards(name: str) -> bool:
    """Whether a name is a pattern."""
    index = 0
    while index < len(name):
        if name[index] == "\\":
            index += 1
        elif name[index] in "*?[":
            return True
        index += 1
    return False


def dedupe_paths(paths: Iterable[str]) -> list[str] | None:
    """Sorted paths without those below another; None where the root is among them."""
    out: list[str] = []
    last = ""
    for path in paths:
        if path == ".":
            return None
        if path.startswith(last + "/"):
            continue
        out.append(path)
        last = path
    return out


def _clean(path: str) -> str:
    """A path relative to the root, which it does not leave."""
    return os.path.normpath("/" + path).lstrip("/") or "."


def _encode(path: str) -> bytes:
    return path.encode(FS_ENCODING, "surrogateescape")


def _decode(path: bytes) -> str:
    return path.decode(FS_ENCODING, "surrogateescape")
