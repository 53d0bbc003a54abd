"""Where the daemon keeps what it built: contents, trees, snapshots and the build cache.

Three kinds of data:
- blobs: contents of regular files by SHA-256 digest. Small ones are rows of a database, large ones files.
- directories: see `_codec`.
- records: a snapshot is a tree with a name, times and a use count; the cache maps a key to a snapshot; a shared
  key maps to the last tree that a local source had; notes tell more of a snapshot, as its layers.

`MemoryStore` keeps all of it in the process, `DiskStore` in a folder that one process at a time may use. A
process that is killed leaves the folder as it was after the last `commit`: the database undoes the rest, and a
large blob has its final name only when it is whole. Anything unfinished is removed at the next start.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from fake_buildkitd.store._codec import decode_dir, encode_dir
from fake_buildkitd.store._tree import Node, empty_root, total_size, walk
from pybuildkit.golang.errors import BuildkitError

SMALL = 64 * 1024
_DIGEST_SIZE = 32


class StoreError(BuildkitError):
    """The state folder cannot be used."""


class LockedError(StoreError):
    """Another process uses the state folder."""


@dataclass
class Snapshot:
    """A committed tree.

    Args:
        id: its name.
        root: the tree.
        created_at, last_used_at: nanoseconds since the epoch.
        kind: what it is for: "regular", "source.local", "internal" or "frontend".
    """

    id: str
    root: Node
    description: str = ""
    kind: str = "regular"
    created_at: int = 0
    last_used_at: int = 0
    usage_count: int = 0
    size: int = field(default=0)


class BlobWriter(Protocol):
    """Takes the content of one file; `finish` gives its digest and size, `abort` forgets it."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def finish(self) -> tuple[bytes, int]: ...

    def abort(self) -> None: ...


class Store:
    """What both stores share: snapshots in memory and their records; the subclasses keep the data.

    The methods may be called from any thread.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self.clock = clock
        self._lock = threading.RLock()
        self._loaded: dict[str, Snapshot] = {}

    def put_blob(self, data: bytes) -> bytes:
        """Keep a content and give its digest (b"" for an empty one)."""
        raise NotImplementedError

    def get_blob(self, digest: bytes) -> bytes:
        """A whole content."""
        raise NotImplementedError

    def open_blob(self, digest: bytes) -> BinaryIO:
        """A content as a file open for reading."""
        import io

        return io.BytesIO(self.get_blob(digest) if digest else b"")

    def blob_writer(self) -> BlobWriter:
        """A writer for a content that comes in pieces."""
        return _BufferedWriter(self)

    def commit(self, root: Node, description: str = "", kind: str = "regular") -> Snapshot:
        """Keep a tree as a snapshot."""
        now = self.clock()
        snapshot = Snapshot(new_id(), root, description, kind, now, now, 0, total_size(root))
        with self._lock:
            self._save_snapshot(snapshot)
            self._loaded[snapshot.id] = snapshot
        return snapshot

    def get(self, snapshot_id: str) -> Snapshot | None:
        """The snapshot with an id, or None where it was pruned."""
        with self._lock:
            return self._loaded.get(snapshot_id)

    def use(self, snapshot: Snapshot) -> None:
        """Note that a build used a snapshot."""
        with self._lock:
            snapshot.last_used_at = self.clock()
            snapshot.usage_count += 1

    def cached(self, key: str) -> Snapshot | None:
        """The snapshot that the build cache has for a key, or None."""
        raise NotImplementedError

    def cache(self, key: str, snapshot: Snapshot) -> None:
        """Enter a snapshot into the build cache."""
        raise NotImplementedError

    def source(self, shared_key: str) -> Snapshot | None:
        """The last tree that was received under a shared key, or None."""
        raise NotImplementedError

    def set_source(self, shared_key: str, snapshot: Snapshot) -> None:
        """Keep a received tree under a shared key, in place of the one before."""
        raise NotImplementedError

    def note(self, key: str) -> str | None:
        """What was noted under a key, or None."""
        raise NotImplementedError

    def set_note(self, key: str, value: str, snapshot: Snapshot, blobs: Iterable[bytes] = ()) -> None:
        """Note something about a snapshot: it is kept, with the contents it names, as long as the snapshot is."""
        raise NotImplementedError

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, oldest first."""
        with self._lock:
            return sorted(self._loaded.values(), key=lambda snapshot: (snapshot.created_at, snapshot.id))

    def remove(self, ids: Iterable[str]) -> None:
        """Forget snapshots, the cache entries that point to them, and contents that nothing else needs."""
        raise NotImplementedError

    def flush(self) -> None:
        """Make everything so far survive the end of the process."""

    def close(self) -> None:
        """Flush, and let another process use the state."""

    def _save_snapshot(self, snapshot: Snapshot) -> None:
        raise NotImplementedError


def new_id() -> str:
    """A fresh snapshot id: 25 lower-case letters and digits."""
    number = secrets.randbits(128)
    digits = []
    while number:
        number, digit = divmod(number, 36)
        digits.append("0123456789abcdefghijklmnopqrstuvwxyz"[digit])
    return "".join(reversed(digits)).rjust(25, "0")[-25:]


class _BufferedWriter:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._data = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._data += data

    def finish(self) -> tuple[bytes, int]:
        return self._store.put_blob(bytes(self._data)), len(self._data)

    def abort(self) -> None:
        self._data.clear()


class MemoryStore(Store):
    """A store that lives as long as the process."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(clock)
        self._blobs: dict[bytes, bytes] = {}
        self._cache: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._notes: dict[str, tuple[str, str, tuple[bytes, ...]]] = {}

    def put_blob(self, data: bytes) -> bytes:
        if not data:
            return b""
        digest = hashlib.sha256(data).digest()
        self._blobs.setdefault(digest, data)
        return digest

    def get_blob(self, digest: bytes) -> bytes:
        return self._blobs[digest] if digest else b""

    def cached(self, key: str) -> Snapshot | None:
        with self._lock:
            return self._loaded.get(self._cache.get(key, ""))

    def cache(self, key: str, snapshot: Snapshot) -> None:
        with self._lock:
            self._cache[key] = snapshot.id

    def source(self, shared_key: str) -> Snapshot | None:
        with self._lock:
            return self._loaded.get(self._sources.get(shared_key, ""))

    def set_source(self, shared_key: str, snapshot: Snapshot) -> None:
        with self._lock:
            old = self._sources.get(shared_key)
            self._sources[shared_key] = snapshot.id
            if old is not None and old != snapshot.id and old not in self._cache.values():
                self._loaded.pop(old, None)

    def note(self, key: str) -> str | None:
        with self._lock:
            found = self._notes.get(key)
            return found[1] if found is not None else None

    def set_note(self, key: str, value: str, snapshot: Snapshot, blobs: Iterable[bytes] = ()) -> None:
        with self._lock:
            self._notes[key] = (snapshot.id, value, tuple(blobs))

    def remove(self, ids: Iterable[str]) -> None:
        with self._lock:
            gone = set(ids)
            self._loaded = {i: s for i, s in self._loaded.items() if i not in gone}
            self._cache = {k: i for k, i in self._cache.items() if i not in gone}
            self._sources = {k: i for k, i in self._sources.items() if i not in gone}
            self._notes = {k: note for k, note in self._notes.items() if note[0] in self._loaded}
            used = {node.blob for s in self._loaded.values() for _, node in walk(s.root)}
            used.update(blob for _, _, blobs in self._notes.values() for blob in blobs)
            self._blobs = {d: b for d, b in self._blobs.items() if d in used}

    def _save_snapshot(self, snapshot: Snapshot) -> None:
        pass


_SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (digest BLOB PRIMARY KEY, data BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dirs (digest BLOB PRIMARY KEY, data BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snapshots (id TEXT PRIMARY KEY, root BLOB, root_mode INTEGER, description TEXT,
    kind TEXT, created INTEGER, used INTEGER, uses INTEGER, size INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cache (key TEXT PRIMARY KEY, snapshot TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (key TEXT PRIMARY KEY, snapshot TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, snapshot TEXT, value TEXT, blobs BLOB) WITHOUT ROWID;
"""


class DiskStore(Store):
    """A store in a folder.

    Args:
        folder: made where it does not exist, with mode 0700.
        wait: seconds to wait while another process uses it.

    Raises:
        LockedError: another process still uses it after that time.
        StoreError: the folder cannot be made or written.
    """

    def __init__(self, folder: str, *, wait: float = 0, clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(clock)
        self.folder = folder
        self._blob_folder = os.path.join(folder, "blobs")
        try:
            for made in (folder, self._blob_folder):
                os.makedirs(made, mode=0o700, exist_ok=True)
            self._lock_fd = _lock_folder(folder, wait)
        except OSError as err:
            raise StoreError(f"cannot use {folder} for the daemon's state: {err.strerror}") from err
        try:
            self._open_database()
        except BaseException:
            os.close(self._lock_fd)
            raise

    def _open_database(self) -> None:
        import sqlite3

        path = os.path.join(self.folder, "state.db")
        try:
            self._db = _connect(path)
        except sqlite3.DatabaseError:
            for name in (path, path + "-wal", path + "-shm"):
                if os.path.exists(name):
                    os.unlink(name)
            self._db = _connect(path)
        for name in os.listdir(self._blob_folder):
            if name.endswith(".tmp"):
                os.unlink(os.path.join(self._blob_folder, name))

    def put_blob(self, data: bytes) -> bytes:
        if not data:
            return b""
        if len(data) > SMALL:
            writer = _FileWriter(self._blob_folder)
            writer.write(data)
            return writer.finish()[0]
        digest = hashlib.sha256(data).digest()
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (digest, data))
        return digest

    def get_blob(self, digest: bytes) -> bytes:
        if not digest:
            return b""
        data = self._small(digest)
        if data is not None:
            return data
        with open(self._blob_path(digest), "rb") as file:
            return file.read()

    def open_blob(self, digest: bytes) -> BinaryIO:
        data = self._small(digest) if digest else b""
        if data is None:
            return open(self._blob_path(digest), "rb")
        import io

        return io.BytesIO(data)

    def blob_writer(self) -> BlobWriter:
        return _SpillingWriter(self, self._blob_folder)

    def _small(self, digest: bytes) -> bytes | None:
        with self._lock:
            row = self._db.execute("SELECT data FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return bytes(row[0]) if row is not None else None

    def _blob_path(self, digest: bytes) -> str:
        return os.path.join(self._blob_folder, digest.hex())

    def get(self, snapshot_id: str) -> Snapshot | None:
        with self._lock:
            found = self._loaded.get(snapshot_id)
            if found is not None:
                return found
            row = self._db.execute("SELECT * FROM snapshots WHERE id = ?", (snapshot_id,)).fetchone()
            if row is None:
                return None
            root = empty_root()
            root.mode = row[2]
            try:
                root.children = decode_dir(self._dir(row[1]), self._dir)
            except KeyError:
                return None
            root.stored = row[1]
            snapshot = Snapshot(row[0], root, row[3], row[4], row[5], row[6], row[7], row[8])
            self._loaded[snapshot.id] = snapshot
            return snapshot

    def _dir(self, digest: bytes) -> bytes:
        row = self._db.execute("SELECT data FROM dirs WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            raise KeyError(digest)
        return bytes(row[0])

    def use(self, snapshot: Snapshot) -> None:
        super().use(snapshot)
        with self._lock:
            self._db.execute(
                "UPDATE snapshots SET used = ?, uses = ? WHERE id = ?",
                (snapshot.last_used_at, snapshot.usage_count, snapshot.id),
            )

    def cached(self, key: str) -> Snapshot | None:
        return self._by_key("cache", key)

    def cache(self, key: str, snapshot: Snapshot) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO cache VALUES (?, ?)", (key, snapshot.id))
            self._db.commit()

    def source(self, shared_key: str) -> Snapshot | None:
        return self._by_key("sources", shared_key)

    def set_source(self, shared_key: str, snapshot: Snapshot) -> None:
        with self._lock:
            row = self._db.execute("SELECT snapshot FROM sources WHERE key = ?", (shared_key,)).fetchone()
            self._db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?)", (shared_key, snapshot.id))
            if row is not None and row[0] != snapshot.id:
                unused = "DELETE FROM snapshots WHERE id = ? AND id NOT IN (SELECT snapshot FROM cache)"
                self._db.execute(unused, (row[0],))
                self._loaded.pop(row[0], None)
            self._db.commit()

    def note(self, key: str) -> str | None:
        with self._lock:
            row = self._db.execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row is not None else None

    def set_note(self, key: str, value: str, snapshot: Snapshot, blobs: Iterable[bytes] = ()) -> None:
        with self._lock:
            row = (key, snapshot.id, value, b"".join(blobs))
            self._db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?)", row)
            self._db.commit()

    def _by_key(self, table: str, key: str) -> Snapshot | None:
        query = {
            "cache": "SELECT snapshot FROM cache WHERE key = ?",
            "sources": "SELECT snapshot FROM sources WHERE key = ?",
        }[table]
        with self._lock:
            row = self._db.execute(query, (key,)).fetchone()
            return self.get(row[0]) if row is not None else None

    def snapshots(self) -> list[Snapshot]:
        with self._lock:
            rows = self._db.execute("SELECT id FROM snapshots").fetchall()
            found = [self.get(row[0]) for row in rows]
        kept = [snapshot for snapshot in found if snapshot is not None]
        return sorted(kept, key=lambda snapshot: (snapshot.created_at, snapshot.id))

    def _save_snapshot(self, snapshot: Snapshot) -> None:
        dirs: list[tuple[bytes, bytes]] = []
        root = encode_dir(snapshot.root, lambda digest, text: dirs.append((digest, text)))
        self._db.executemany("INSERT OR IGNORE INTO dirs VALUES (?, ?)", dirs)
        self._db.execute(
            "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                snapshot.id,
                root,
                snapshot.root.mode,
                snapshot.description,
                snapshot.kind,
                snapshot.created_at,
                snapshot.last_used_at,
                snapshot.usage_count,
                snapshot.size,
            ),
        )
        self._db.commit()

    def remove(self, ids: Iterable[str]) -> None:
        with self._lock:
            for snapshot_id in ids:
                self._loaded.pop(snapshot_id, None)
                self._db.execute("DELETE FROM snapshots WHERE id = ?", (snapshot_id,))
                self._db.execute("DELETE FROM cache WHERE snapshot = ?", (snapshot_id,))
                self._db.execute("DELETE FROM sources WHERE snapshot = ?", (snapshot_id,))
            self._sweep()
            self._db.commit()

    def _sweep(self) -> None:
        """Delete contents and directories that no snapshot reaches."""
        self._db.execute("DELETE FROM notes WHERE snapshot NOT IN (SELECT id FROM snapshots)")
        noted = b"".join(bytes(row[0]) for row in self._db.execute("SELECT blobs FROM notes").fetchall())
        blobs = {noted[at : at + _DIGEST_SIZE] for at in range(0, len(noted), _DIGEST_SIZE)}
        dirs: set[bytes] = set()
        for snapshot in self.snapshots():
            encode_dir(snapshot.root, lambda digest, text: None)
            for node in [snapshot.root, *(node for _, node in walk(snapshot.root))]:
                if node.stored is not None:
                    dirs.add(node.stored)
                blobs.add(node.blob)
        for query, delete, kept in (
            ("SELECT digest FROM blobs", "DELETE FROM blobs WHERE digest = ?", blobs),
            ("SELECT digest FROM dirs", "DELETE FROM dirs WHERE digest = ?", dirs),
        ):
            gone = [row for row in self._db.execute(query).fetchall() if bytes(row[0]) not in kept]
            self._db.executemany(delete, gone)
        for name in os.listdir(self._blob_folder):
            if not name.endswith(".tmp") and bytes.fromhex(name) not in blobs:
                os.unlink(os.path.join(self._blob_folder, name))

    def flush(self) -> None:
        with self._lock:
            self._db.commit()

    def close(self) -> None:
        with self._lock:
            self._db.commit()
            self._db.close()
            os.close(self._lock_fd)


def _connect(path: str):  # type: ignore[no-untyped-def]  # sqlite3 is imported only where a disk store is used
    import sqlite3

    db = sqlite3.connect(path, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")
    db.executescript(_SCHEMA)
    return db


def _lock_folder(folder: str, wait: float) -> int:
    import fcntl

    fd = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(fd)
                raise LockedError(f"the daemon's state in {folder} is used by another process") from None
            time.sleep(0.05)
        except OSError:
            os.close(fd)
            raise


class _FileWriter:
    """Writes a large content to a temporary name, and to its digest's name when it is whole."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, f"{secrets.token_hex(8)}.tmp")
        self._file = open(self._path, "xb")  # noqa: SIM115  # closed by finish or abort
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._digest.update(data)
        self._file.write(data)
        self._size += len(data)

    def finish(self) -> tuple[bytes, int]:
        self._file.close()
        digest = self._digest.digest()
        os.replace(self._path, os.path.join(self._folder, digest.hex()))
        return digest, self._size

    def abort(self) -> None:
        self._file.close()
        if os.path.exists(self._path):
            os.unlink(self._path)


class _SpillingWriter:
    """Keeps a content in memory until it is large."""

    def __init__(self, store: DiskStore, folder: str) -> None:
        self._store = store
        self._folder = folder
        self._data = bytearray()
        self._file: _FileWriter | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._file is not None:
            self._file.write(data)
            return
        self._data += data
        if len(self._data) > SMALL:
            self._file = _FileWriter(self._folder)
            self._file.write(self._data)
            self._data.clear()

    def finish(self) -> tuple[bytes, int]:
        if self._file is not None:
            return self._file.finish()
        return self._store.put_blob(bytes(self._data)), len(self._data)

    def abort(self) -> None:
        self._data.clear()
        if self._file is not None:
            self._file.abort()
