"""Ingests of a store in a folder: their files, and the writer that turns one into a blob.

Mirrors plugins/content/local/writer.go and the resuming half of store.go, github.com/containerd/containerd v2.3.3.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, error_text, with_op
from pybuildkit.third_party.containerd.content._content import ALGORITHMS, Status
from pybuildkit.third_party.containerd.errdefs import AlreadyExistsError, FailedPreconditionError, NotFoundError
from pybuildkit.third_party.continuity import rename, write_all

if TYPE_CHECKING:
    import hashlib as hashes

_CHUNK = 1 << 20
_SECOND = 1_000_000_000


@dataclass(kw_only=True)
class OpenIngest:
    """An ingest whose data file is open at its end."""

    path: str
    ref: str
    fd: int
    algorithm: str
    hash: hashes._Hash
    offset: int
    total: int
    started_at: int
    updated_at: int


def _log(text: str) -> None:
    import logging

    logging.getLogger("pybuildkit").info("%s", text)


def _format_time(ns: int) -> str:
    base = datetime.fromtimestamp(ns // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{ns % _SECOND:09d}".rstrip("0").rstrip(".")
    return f"{base}{fraction}Z"


def _parse_time(text: str) -> int:
    """Nanoseconds since the epoch for an RFC 3339 time; raises ValueError."""
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if dot else ""
    moment = datetime.fromisoformat(head + rest[len(digits) :])
    return int(moment.timestamp()) * _SECOND + int(f"{digits[:9]:0<9}" if digits else 0)


def _read_text(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(1 << 16).decode("utf-8", "surrogateescape")


def _write_file(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        write_all(fd, data, path)
    finally:
        os.close(fd)


def _write_time(path: str, ns: int) -> None:
    temporary = f"{path}.tmp"
    try:
        _write_file(temporary, _format_time(ns).encode())
        rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def ingest_status(path: str) -> Status:
    """What the files of an ingest say.

    Raises:
        NotFoundError: it is not there. BuildkitError: a time cannot be read.
    """
    data = os.path.join(path, "data")
    try:
        stat_result = os.stat(data)
        ref = _read_text(os.path.join(path, "ref"))
        started = _parse_time(_read_text(os.path.join(path, "startedat")))
        updated = _parse_time(_read_text(os.path.join(path, "updatedat")))
    except FileNotFoundError as err:
        raise NotFoundError(error_text(with_op(err, "stat"))) from None
    except ValueError as err:
        raise BuildkitError(f"could not parse timestamp file in {path}: {err}") from err
    try:
        total = int(_read_text(os.path.join(path, "total")))
    except (FileNotFoundError, ValueError):
        total = 0
    return Status(
        ref=ref,
        offset=stat_result.st_size,
        total=total,
        started_at=started,
        updated_at=max(updated, stat_result.st_mtime_ns),
    )


def open_ingest(path: str, ref: str, total: int, expected: str) -> OpenIngest:
    """Make an ingest's folder, or resume the one that is there; one that cannot be resumed begins again.

    Raises:
        OSError: a file cannot be made.
    """
    algorithm = expected.partition(":")[0] if expected else "sha256"
    os.makedirs(os.path.dirname(path), 0o777, exist_ok=True)
    now = time.time_ns()
    state = OpenIngest(
        path=path,
        ref=ref,
        fd=-1,
        algorithm=algorithm,
        hash=hashlib.new(algorithm),
        offset=0,
        total=total,
        started_at=now,
        updated_at=now,
    )
    try:
        os.mkdir(path, 0o755)
        resumed = False
    except FileExistsError:
        resumed = _resume(state)
    except OSError as err:
        raise with_op(err, "mkdir") from None
    if not resumed:
        _begin(state)
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if resumed else os.O_TRUNC)
    fd = os.open(os.path.join(path, "data"), flags, 0o666)
    try:
        os.lseek(fd, state.offset, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    state.fd = fd
    return state


def _begin(state: OpenIngest) -> None:
    _write_file(os.path.join(state.path, "ref"), state.ref.encode("utf-8", "surrogateescape"))
    _write_time(os.path.join(state.path, "startedat"), state.started_at)
    _write_time(os.path.join(state.path, "updatedat"), state.started_at)
    if state.total > 0:
        _write_file(os.path.join(state.path, "total"), str(state.total).encode())


def _resume(state: OpenIngest) -> bool:
    """Take over what an earlier writer left, and hash it; False where that makes no sense."""
    try:
        status = ingest_status(state.path)
        if status.ref != state.ref:
            raise BuildkitError(f"ref key does not match: {state.ref} != {status.ref}")
        if state.total > 0 and status.total > 0 and state.total != status.total:
            raise BuildkitError(f"provided total differs from status: {state.total} != {status.total}")
        state.offset = _hash_file(os.path.join(state.path, "data"), state.hash)
    except (BuildkitError, OSError) as err:
        reason = error_text(err)
        _log(f"failed to resume the status from path {state.path}: {reason}. will recreate them")
        state.hash = hashlib.new(state.algorithm)
        state.offset = 0
        return False
    state.total = status.total
    state.started_at = status.started_at
    state.updated_at = status.updated_at
    return True


def _hash_file(path: str, into: hashes._Hash) -> int:
    size = 0
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_CHUNK):
            into.update(piece)
            size += len(piece)
    return size


class IngestWriter:
    """The Writer of an ingest.

    Args:
        state: the open ingest; the writer owns its descriptor.
        blob_path: where the blob with a digest belongs.
        unlock: called once, when the writer is closed.
    """

    def __init__(self, state: OpenIngest, blob_path: Callable[[str], str], unlock: Callable[[], None]) -> None:
        self._state = state
        self._blob_path = blob_path
        self._unlock = unlock

    @property
    def _data(self) -> str:
        return os.path.join(self._state.path, "data")

    def _check_open(self, action: str) -> None:
        if self._state.fd < 0:
            raise FailedPreconditionError(f"cannot {action} on closed writer")

    def write(self, data: bytes) -> int:
        """Append all of the data. Raises OSError; what was written until then stays in the ingest."""
        self._check_open("write")
        write_all(self._state.fd, data, self._data)
        self._state.hash.update(data)
        self._state.offset += len(data)
        self._state.updated_at = time.time_ns()
        return len(data)

    def status(self) -> Status:
        """What is known of the ingest."""
        state = self._state
        return Status(
            ref=state.ref,
            offset=state.offset,
            total=state.total,
            started_at=state.started_at,
            updated_at=state.updated_at,
        )

    def digest(self) -> str:
        """The digest of what was written so far."""
        return f"{self._state.algorithm}:{self._state.hash.hexdigest()}"

    def truncate(self, size: int) -> None:
        """Begin again; raises BuildkitError for a size other than 0."""
        self._check_open("truncate")
        if size != 0:
            raise BuildkitError("Truncate: unsupported size")
        os.ftruncate(self._state.fd, 0)
        os.lseek(self._state.fd, 0, os.SEEK_SET)
        self._state.hash = hashlib.new(self._state.algorithm)
        self._state.offset = 0

    def close(self) -> None:
        """Close the writer and leave the ingest to be resumed; twice is no error."""
        if self._state.fd < 0:
            return
        try:
            self._close_file()
            _write_time(os.path.join(self._state.path, "updatedat"), self._state.updated_at)
        except FileNotFoundError:
            pass  # aborted meanwhile
        finally:
            self._unlock()

    def _close_file(self) -> None:
        fd, self._state.fd = self._state.fd, -1
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] | None = None) -> None:
        """Make a blob of what was written, and close the writer in any case.

        Raises:
            FailedPreconditionError: the size or the digest is not the one asked for; the ingest stays.
            AlreadyExistsError: the blob is there; the ingest is gone.
            OSError: the data cannot be made durable or renamed; the ingest stays.
        """
        self._check_open("commit")
        try:
            mode = stat.S_IMODE(os.fstat(self._state.fd).st_mode)
            self._close_file()
            self._check(size, expected)
            self._publish(self._blob_path(self.digest()), mode)
        finally:
            self._unlock()

    def _check(self, size: int, expected: str) -> None:
        found = os.stat(self._data).st_size
        if size > 0 and size != found:
            raise FailedPreconditionError(f"unexpected commit size {found}, expected {size}")
        algorithm = expected.partition(":")[0]
        if expected and algorithm != self._state.algorithm and algorithm in ALGORITHMS:
            self._state.algorithm = algorithm
            self._state.hash = hashlib.new(algorithm)
            _hash_file(self._data, self._state.hash)
        if expected and expected != self.digest():
            raise FailedPreconditionError(f"unexpected commit digest {self.digest()}, expected {expected}")

    def _publish(self, target: str, mode: int) -> None:
        folder = os.path.dirname(target)
        os.makedirs(folder, 0o755, exist_ok=True)
        if os.path.exists(target):
            shutil.rmtree(self._state.path, ignore_errors=True)
            raise AlreadyExistsError(f"content {self.digest()}")
        rename(self._data, target)
        _sync_folder(folder)
        try:
            os.utime(target)
            os.chmod(target, mode & ~0o333)
        except OSError as err:
            _log(f"failed to make {target} read-only: {error_text(err)}")
        shutil.rmtree(self._state.path, ignore_errors=True)


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
