"""A content store in a folder. Mirrors plugins/content/local of github.com/containerd/containerd, v2.3.3.

Layout, below the root:

    blobs/ALGORITHM/DIGITS    the blobs, read-only once they are there
    ingest/SHA256 OF REF/     one folder for each ingest:
        data                  what was written so far
        ref, total            its name, the bytes expected (absent when not known)
        startedat, updatedat  times, RFC 3339

An ingest survives its process: a writer with the same name goes on at the end of `data`, after hashing it. A commit
checks size and digest, makes the data durable, then renames it to its final name.

Differs on purpose: a store may be read-only, for what a build is given as input (PermissionDeniedError for every
call that would change it; the root is still made where it is missing, as ever); the user's umask holds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import with_op, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.third_party.containerd import filters as filter_language
from pybuildkit.third_party.containerd.content._content import ALGORITHMS, Info, Status, check_digest
from pybuildkit.third_party.containerd.content._ingest import IngestWriter, ingest_status, open_ingest
from pybuildkit.third_party.containerd.errdefs import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from pybuildkit.third_party.containerd.content._content import ReaderAt, Writer


def new_store(root: str, *, read_only: bool = False) -> LocalStore:
    """The content store in a folder, which is made where it is missing.

    Args:
        root: the folder; of an OCI image layout, for example.
        read_only: refuse every call that would change the store.

    Raises:
        BuildkitError: 'failed to stat "ROOT": …', 'failed to mkdir "ROOT": …'.
    """
    try:
        os.stat(root)
    except FileNotFoundError:
        try:
            os.makedirs(root, 0o755, exist_ok=True)
        except OSError as err:
            failure = with_op(OSError(err.errno, err.strerror, err.filename or root), "mkdir")
            raise wrap(failure, f"failed to mkdir {quote(root)}") from err
    except OSError as err:
        raise wrap(with_op(err, "stat"), f"failed to stat {quote(root)}") from err
    return LocalStore(root, read_only=read_only)


class LocalStore:
    """A Store in a folder; made by `new_store`."""

    def __init__(self, root: str, *, read_only: bool) -> None:
        self.root = root
        self.read_only = read_only
        self._lock = threading.Lock()
        self._writing: dict[str, float] = {}

    def _writable(self) -> None:
        if self.read_only:
            raise PermissionDeniedError(f"content store {self.root} is read-only")

    def blob_path(self, digest: str, what: str = "blob path") -> str:
        """Where a blob is or would be.

        Raises:
            BuildkitError: "calculating WHAT: …" (around an InvalidArgumentError) for no digest.
        """
        try:
            algorithm, digits = check_digest(digest)
        except InvalidArgumentError as err:
            invalid = InvalidArgumentError(f"cannot calculate blob path from invalid digest: {err.what}")
            raise wrap(invalid, f"calculating {what}") from err
        return os.path.join(self.root, "blobs", algorithm, digits)

    def ingest_path(self, ref: str) -> str:
        """The folder of an ingest."""
        digits = hashlib.sha256(ref.encode("utf-8", "surrogateescape")).hexdigest()
        return os.path.join(self.root, "ingest", digits)

    def info(self, digest: str) -> Info:
        """What is known of a blob; raises NotFoundError."""
        try:
            return _blob_info(digest, os.stat(self.blob_path(digest, "blob info path")))
        except FileNotFoundError:
            raise NotFoundError(f"content {digest}") from None
        except OSError as err:
            raise with_op(err, "stat") from None

    def update(self, info: Info, fieldpaths: Sequence[str] = ()) -> Info:
        """Refused: this store keeps no labels."""
        self._writable()
        raise FailedPreconditionError("update not supported on immutable content store")

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """Every blob that matches, in the order of the algorithms and digits.

        Raises:
            FilterError: a filter cannot be read. OSError: the folder cannot.
        """
        wanted = filter_language.parse_all(filters)
        blobs = os.path.join(self.root, "blobs")
        for algorithm in sorted(set(os.listdir(blobs)) & set(ALGORITHMS)):
            folder = os.path.join(blobs, algorithm)
            for digits in sorted(os.listdir(folder)):
                digest = f"{algorithm}:{digits}"
                try:
                    check_digest(digest)
                    info = _blob_info(digest, os.stat(os.path.join(folder, digits)))
                except (InvalidArgumentError, FileNotFoundError):
                    continue  # no blob, or one that has just gone
                if wanted.match(partial(_info_field, info)):
                    yield info

    def delete(self, digest: str) -> None:
        """Remove a blob; one that is not there is no error."""
        self._writable()
        try:
            os.unlink(self.blob_path(digest, "blob path for delete"))
        except FileNotFoundError:
            pass
        except OSError as err:
            raise with_op(err, "unlink") from None

    def open(self, digest: str) -> ReaderAt:
        """A blob's content; raises NotFoundError."""
        path = self.blob_path(digest, "blob path for ReaderAt")
        try:
            return FileReaderAt(path)
        except FileNotFoundError:
            raise NotFoundError(f"blob {digest} expected at {path}: blob not found") from None
        except OSError as err:
            raise wrap(err, f"blob {digest} expected at {path}") from err

    def read_blob(self, digest: str) -> bytes:
        """A blob's whole content; raises NotFoundError."""
        reader = self.open(digest)
        try:
            return reader.read_at(reader.size, 0)
        finally:
            reader.close()

    def status(self, ref: str) -> Status:
        """What is known of an ingest; raises NotFoundError."""
        return ingest_status(self.ingest_path(ref))

    def list_statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        """Every ingest that matches; raises FilterError for a filter that cannot be read."""
        wanted = filter_language.parse_all(filters)
        folder = os.path.join(self.root, "ingest")
        found = []
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            try:
                status = ingest_status(os.path.join(folder, name))
            except NotFoundError:
                continue  # committed or aborted in the meantime
            if wanted.match(partial(_status_field, status)):
                found.append(status)
        return found

    def abort(self, ref: str) -> None:
        """Remove an ingest; one that is not there is no error."""
        self._writable()
        try:
            shutil.rmtree(self.ingest_path(ref))
        except FileNotFoundError:
            pass

    def writer(self, ref: str, total: int = 0, expected: str = "") -> Writer:
        """Begin or resume an ingest.

        Raises:
            InvalidArgumentError: no name, or an expected digest that is none.
            AlreadyExistsError: there is a blob with the expected digest.
            UnavailableError: the ingest has a writer already.
            OSError: a file cannot be made.
        """
        self._writable()
        if not ref:
            raise InvalidArgumentError("ref must not be empty")
        self._try_lock(ref)
        try:
            if expected and os.path.exists(self.blob_path(expected, "expected blob path for writer")):
                raise AlreadyExistsError(f"content {expected}")
            opened = open_ingest(self.ingest_path(ref), ref, total, expected)
        except BaseException:
            self._unlock(ref)
            raise
        return IngestWriter(opened, self.blob_path, lambda: self._unlock(ref))

    def _try_lock(self, ref: str) -> None:
        with self._lock:
            since = self._writing.get(ref)
            if since is not None:
                raise UnavailableError(f"ref {ref} locked for {time.monotonic() - since:.3f}s")
            self._writing[ref] = time.monotonic()

    def _unlock(self, ref: str) -> None:
        with self._lock:
            self._writing.pop(ref, None)


class FileReaderAt:
    """A file as a ReaderAt."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._size = os.fstat(self._fd).st_size
        except OSError:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Bytes that the file had when it was opened."""
        return self._size

    def read_at(self, n: int, offset: int) -> bytes:
        """The bytes from the offset on, at most `n`; fewer only at the end. Raises OSError."""
        pieces = []
        try:
            while n > 0 and (piece := os.pread(self._fd, n, offset)):
                pieces.append(piece)
                n -= len(piece)
                offset += len(piece)
        except OSError as err:
            raise with_op(OSError(err.errno, err.strerror, self._path), "read") from err
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Close the file; twice is no error."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _blob_info(digest: str, stat: os.stat_result) -> Info:
    return Info(digest=digest, size=stat.st_size, created_at=stat.st_mtime_ns, updated_at=stat.st_atime_ns)


def _status_field(status: Status, path: Sequence[str]) -> str | None:
    return status.ref if list(path) == ["ref"] else None


def _info_field(info: Info, path: Sequence[str]) -> str | None:
    match list(path):
        case ["digest"]:
            return info.digest
        case ["labels", *rest]:
            labels: Mapping[str, str] = info.labels
            return labels.get(".".join(rest))
        case _:
            return None


__all__ = ["FileReaderAt", "LocalStore", "new_store"]
