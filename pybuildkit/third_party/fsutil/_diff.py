"""What has to change in a directory for it to become what a list says.

Mirrors diff_containerd.go of tonistiigi/fsutil (6d9dc2e), as a merge of two walks: the directory's own runs along
with the list, a step behind what is written, so that it never sees what the transfer makes.

Differs from Go: DIFF_CONTENT takes every regular file as changed (Go compares two names relative to the current
directory, which are not the files that are meant).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator

from pybuildkit.third_party.fsutil._fs import Entry, close_walk
from pybuildkit.third_party.fsutil._stat import MODE_DIR, MODE_TYPE, Stat
from pybuildkit.third_party.fsutil._staticfs import walk_key
from pybuildkit.third_party.fsutil._validator import ChangeKind


class DiffType(enum.IntEnum):
    """How an entry that is there already is compared.

    METADATA: by type, mode, owner, size and time. NONE: it has always changed. CONTENT: as METADATA, and regular
    files have always changed.
    """

    METADATA = 0
    NONE = 1
    CONTENT = 2


DIFF_METADATA = DiffType.METADATA
DIFF_NONE = DiffType.NONE
DIFF_CONTENT = DiffType.CONTENT


class Differ:
    """Compares a list, entry by entry, with a walk over what is there.

    Args:
        there: the walk, None where what is there does not matter.
        differ: how to compare.
        delete: called with each name that is there and not in the list.
    """

    def __init__(self, there: Iterator[Entry] | None, differ: DiffType, delete: Callable[[bytes], None]) -> None:
        self._there = there
        self._differ = differ
        self._delete = delete
        self._entry: Entry | None = None
        self._key = b""
        self._started = False

    def change(self, path: bytes, stat: Stat) -> ChangeKind | None:
        """What an entry of the list is, None where it is there as it should be. Deletes what comes before it."""
        if self._there is None:
            return ChangeKind.ADD
        key = walk_key(path)
        if not self._started:
            self._step()
        while self._entry is not None and self._key < key:
            self._drop()
        if self._entry is None or self._key != key:
            return ChangeKind.ADD
        entry = self._entry
        try:
            same = self._same(entry.stat(), stat)
        except FileNotFoundError:
            same = False
        if entry.is_dir and not stat.is_dir():
            entry.skip = True
        self._entry = None
        self._started = False
        return None if same else ChangeKind.MODIFY

    def finish(self) -> None:
        """The list has ended: delete the rest."""
        if self._there is None:
            return
        if not self._started:
            self._step()
        while self._entry is not None:
            self._drop()

    def close(self) -> None:
        """End the walk over what is there."""
        if self._there is not None:
            close_walk(self._there)

    def _step(self) -> None:
        """The next entry that is there; not before it is needed, for the walk must not run ahead of the writing."""
        assert self._there is not None
        self._started = True
        self._entry = next(self._there, None)
        if self._entry is not None:
            if self._entry.error is not None:
                raise self._entry.error
            self._key = walk_key(self._entry.path)

    def _drop(self) -> None:
        assert self._entry is not None
        self._entry.skip = self._entry.is_dir
        self._delete(self._entry.path)
        self._step()

    def _same(self, old: Stat, new: Stat) -> bool:
        if self._differ is DiffType.NONE:
            return False
        if not old.mode & MODE_DIR and (old.size != new.size or old.mod_time != new.mod_time):
            return False
        if not _same_stat(old, new):
            return False
        return self._differ is DiffType.METADATA or bool(new.mode & MODE_TYPE)


def _same_stat(old: Stat, new: Stat) -> bool:
    return (old.mode, old.uid, old.gid, old.devmajor, old.devminor, old.linkname) == (
        new.mode,
        new.uid,
        new.gid,
        new.devmajor,
        new.devminor,
        new.linkname,
    )
