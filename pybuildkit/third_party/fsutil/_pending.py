"""The files of a list whose content has not come yet, held small.

Mirrors what receive.go of tonistiigi/fsutil (6d9dc2e) keeps. A sender may list everything before it sends anything,
and Go's does: what has been asked for cannot be limited by not reading on, for the contents that are waited for come
behind the list on the same stream. So a file costs about a hundred bytes until its content comes, requests are made
when they can be sent, and a list that needs more than `MOST_HELD` bytes ends the transfer.

Differs from Go: the limit.
"""

from __future__ import annotations

from array import array

from pybuildkit.third_party.fsutil._diskwriter import FileWriter
from pybuildkit.third_party.fsutil._packet import request_packet
from pybuildkit.third_party.fsutil._sender import ProtocolError
from pybuildkit.third_party.fsutil._stat import Stat
from pybuildkit.third_party.fsutil._wire import decode_varint, encode_varint

MOST_HELD = 512 << 20
"""Bytes that may be held of a list: enough for some four million files of which nothing has come."""

_ENTRY = 48
_PLAIN = 80
_OBJECT = 600

_WANTED = 1


class Pending:
    """The files that are waited for, by their numbers in the list.

    One thread adds and takes; another may make the requests.

    Attributes:
        count: how many there are.
    """

    def __init__(self) -> None:
        self.count = 0
        self._held = 0
        self._most = MOST_HELD
        self._state = bytearray()
        self._names: list[bytes | None] = []
        self._heads = array("I")
        self._sizes = array("q")
        self._times = array("q")
        self._head_numbers: dict[tuple[int, int, int], int] = {}
        self._head_values: list[tuple[int, int, int]] = []
        self._whole: dict[int, FileWriter] = {}
        self._begun: dict[bytes, FileWriter] = {}
        self._asked = 0

    def charge(self, size: int) -> None:
        """Count bytes that are held until the end because of an entry.

        Raises:
            ProtocolError: there are too many.
        """
        self._held += size + _ENTRY
        if self._held > self._most:
            raise ProtocolError(f"the sender's list is too long: it needs more than {self._most >> 20} MiB")

    def charge_object(self, size: int) -> None:
        """The same for an entry that is kept as objects."""
        self.charge(size + _OBJECT)

    def add(self, id: int, file: FileWriter) -> None:
        """Wait for a file; numbers come in ascending order.

        Raises:
            ProtocolError: too much is held.
        """
        state, stat = self._state, file.stat
        gap = id - len(state)
        if gap:
            self._skip(gap)
        if stat.xattrs or file.hasher is not None or file.path != stat.path:
            self.charge_object(len(file.path) + sum(map(len, (stat.xattrs or {}).values())))
            self._whole[id] = file
            self._skip(1)
        else:
            self.charge(_PLAIN + len(stat.path))
            self._names.append(stat.path)
            self._heads.append(self._head((stat.mode, stat.uid, stat.gid)))
            self._sizes.append(stat.size)
            self._times.append(stat.mod_time)
            state.append(0)
        self.count += 1
        state[id] = _WANTED  # last: only now the other thread may see it

    def _skip(self, count: int) -> None:
        self._names += [None] * count
        self._heads.frombytes(bytes(self._heads.itemsize * count))
        self._sizes.frombytes(bytes(8 * count))
        self._times.frombytes(bytes(8 * count))
        self._state += bytes(count)

    def _head(self, values: tuple[int, int, int]) -> int:
        """The number of a combination of mode and owner; a tree has few."""
        number = self._head_numbers.get(values)
        if number is None:
            self.charge_object(0)
            number = self._head_numbers[values] = len(self._head_values)
            self._head_values.append(values)
        return number

    def requests(self, limit: int) -> list[bytes]:
        """The next packets that ask for files, in order; none when all have been asked for."""
        out: list[bytes] = []
        state, id = self._state, self._asked
        while len(out) < limit:
            id = state.find(_WANTED, id)
            if id < 0:
                break
            out.append(request_packet(id))
            id += 1
            self._asked = id
        return out

    def get(self, id: bytes) -> FileWriter | None:
        """The file whose number has this varint (nothing for 0), where one is waited for.

        Raises:
            ProtocolError: too much is held.
        """
        return self._begun.get(id) or self._begin(id)

    def _begin(self, varint: bytes) -> FileWriter | None:
        id = decode_varint(varint, 0, len(varint))[0] if varint else 0
        if varint[-1:] == b"\0":  # longer than it need be
            varint = encode_varint(id) if id else b""
            if varint in self._begun:
                return self._begun[varint]
        if id >= len(self._state) or self._state[id] != _WANTED:
            return None
        self._state[id] = 0
        path = self._names[id]
        if path is None:
            found = self._whole.pop(id)
        else:
            self._names[id] = None
            mode, uid, gid = self._head_values[self._heads[id]]
            stat = Stat(path, mode, uid, gid, self._sizes[id], self._times[id])
            found = FileWriter(path, stat, stat)
            self._held += _OBJECT - _PLAIN
            if self._held > self._most:
                self.charge(0)
        found.key = varint
        self._begun[varint] = found
        return found

    def done(self, file: FileWriter) -> None:
        """A file's content is complete."""
        del self._begun[file.key]
        self._held -= _OBJECT + len(file.path)
        self.count -= 1
