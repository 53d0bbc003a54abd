"""Where the bytes of a file export go: a file that gets its name when it is whole, or standard output.

Mirrors the files that cmd/buildctl/build/output.go creates, v0.32.2. Differs from BuildKit on purpose, which creates
the file when it reads the flag: here a destination that cannot be created is refused at that point, with the same
text, but nothing is made. The data goes to a temporary file in the destination's folder; closing it renames it, and
aborting it, or a failed write, removes it. A destination that is no regular file (a pipe, a device) is written
directly. One that may be written in a folder that may not gets a copy of the data, made when the export is whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import threading
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

from pybuildkit.cmd.buildctl.build._build import FlagValueError
from pybuildkit.cmd.buildctl.common._std import Std, was_closed
from pybuildkit.golang.errors import with_op, wrap
from pybuildkit.third_party import continuity

if TYPE_CHECKING:
    from pybuildkit.rpc import Buffer

_COPY_SIZE = 1 << 20
_STALLED_SECONDS = 0.5


def check_creatable(dest: str) -> None:
    """Refuse a destination that cannot be created or opened for writing, without making or changing anything.

    Raises:
        FlagValueError: it is a directory.
        WrappedError: it cannot be looked at.
        OSError: it cannot be created or written; the text is that of opening it.
    """
    try:
        info = os.stat(dest)
    except FileNotFoundError:
        _check_new(dest)
        return
    except OSError as err:
        raise wrap(with_op(err, "stat"), f"invalid destination file: {dest}") from err
    if stat.S_ISDIR(info.st_mode):
        raise FlagValueError("destination file is a directory")
    if stat.S_ISREG(info.st_mode):
        os.close(os.open(dest, os.O_WRONLY | os.O_CLOEXEC))


def _check_new(dest: str) -> None:
    """Raise what creating the file would raise."""
    folder = os.path.dirname(os.path.realpath(dest)) or "."
    if dest.endswith("/"):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", dest)
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as err:
        if err.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise OSError(err.errno, err.strerror, dest) from err
        _check_new_by_name(folder, dest)


def _check_new_by_name(folder: str, dest: str) -> None:
    """The same on a file system without nameless files: a file of another name is made and removed."""
    try:
        fd, path = continuity.create_temp(folder, ".tmp-probe", 0o600)
    except OSError as err:
        raise OSError(err.errno, err.strerror, dest) from err
    os.close(fd)
    os.unlink(path)


class FileOutput:
    """Opens a file export (a `FileOutputFunc`), and knows what was opened, for the end of the program.

    Args:
        dest: the file's name as the user gave it.
    """

    def __init__(self, dest: str) -> None:
        self.dest = dest
        self._open: list[OutputFile] = []

    def __call__(self, metadata: Mapping[str, str]) -> OutputFile:
        """A writer for the export; raises OSError where nothing can be written."""
        writer = OutputFile(self.dest)
        self._open.append(writer)
        return writer

    def abort(self) -> None:
        """Remove what has not become whole."""
        for writer in self._open:
            writer.abort()


class OutputFile:
    """The writer of one file export; `write_all`, `close` and `abort` may come from any thread.

    Args:
        dest: the file's name as the user gave it; a symbolic link to a file is followed.
    """

    def __init__(self, dest: str) -> None:
        self._dest = dest
        self._target = os.path.realpath(dest)
        self._lock = threading.Lock()
        self._temporary = ""
        self._spool: IO[bytes] | None = None
        self._fd = self._open_fd()

    def _open_fd(self) -> int:
        try:
            info = os.stat(self._target)
        except FileNotFoundError:
            return self._open_temporary(0o666)
        if not stat.S_ISREG(info.st_mode):
            return os.open(self._dest, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            fd = self._open_temporary(0o600)
        except PermissionError:
            self._spool = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close or abort
            return self._spool.fileno()
        with contextlib.suppress(OSError):  # a file system without owners and modes
            os.fchown(fd, info.st_uid, info.st_gid)
        with contextlib.suppress(OSError):
            os.fchmod(fd, stat.S_IMODE(info.st_mode))
        return fd

    def _open_temporary(self, mode: int) -> int:
        folder, base = os.path.split(self._target)
        try:
            fd, self._temporary = continuity.create_temp(folder, f".tmp-{base[:200]}", mode)
        except OSError as err:
            raise type(err)(err.errno, err.strerror, self._dest) from err
        return fd

    def write_all(self, data: Buffer) -> None:
        """Write all of the data; after an error nothing is left of the file."""
        with self._lock:
            if self._fd < 0:
                raise with_op(OSError(errno.EBADF, "File already closed", self._dest), "write")
            try:
                continuity.write_all(self._fd, memoryview(data), self._dest)
            except OSError:
                self._discard()
                raise

    def close(self) -> None:
        """Give the file its name; without effect on one that is closed or aborted.

        Raises:
            OSError: it could not be completed; nothing is left of it then.
        """
        with self._lock:
            if self._fd < 0:
                return
            try:
                if self._spool is not None:
                    self._copy_spool(self._spool)
                else:
                    fd, self._fd = self._fd, -1
                    os.close(fd)
                    if self._temporary:
                        continuity.rename(self._temporary, self._target)
                        self._temporary = ""
            finally:
                self._discard()

    def abort(self) -> None:
        """Remove what was written; without effect on a file that is closed or aborted.

        A write that hangs in another thread is not waited for: the file loses its temporary name under it.
        """
        if not self._lock.acquire(timeout=_STALLED_SECONDS):
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            return
        try:
            if self._fd >= 0:
                self._discard()
        finally:
            self._lock.release()

    def _copy_spool(self, spool: IO[bytes]) -> None:
        """Write the data over the file in place: its folder takes no new names."""
        spool.seek(0)
        fd = os.open(self._dest, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            while chunk := spool.read(_COPY_SIZE):
                continuity.write_all(fd, chunk, self._dest)
        finally:
            os.close(fd)

    def _discard(self) -> None:
        """Close the descriptor and remove the temporary file."""
        if self._spool is not None:
            self._spool.close()
        elif self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        if self._temporary:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)


class StdoutOutput:
    """Opens an export to standard output, which may be a pipe, a file or a device.

    A standard output that was closed when the program began is an error, where BuildKit loses the data. It takes one
    export: a second one is an error before it has mixed its bytes with those of the first.
    """

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._taken = False

    def isatty(self) -> bool:
        """Whether standard output is a terminal."""
        return os.isatty(self._fd)

    def __call__(self, metadata: Mapping[str, str]) -> StdoutFile:
        """A writer for the export; raises OSError where standard output was closed from the start, or is taken."""
        if was_closed(self._fd):
            raise with_op(OSError(errno.EBADF, "Bad file descriptor", "/dev/stdout"), "write")
        if self._taken:
            raise with_op(OSError(errno.EBADF, "File already closed", "/dev/stdout"), "write")
        self._taken = True
        return StdoutFile(self._fd)

    def abort(self) -> None:
        """Nothing can be taken back."""


class StdoutFile:
    """The writer of an export to standard output; the descriptor stays open.

    Args:
        fd: the descriptor.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write_all(self, data: Buffer) -> None:
        """Write all of the data; raises StdClosedError where the reader is gone, OSError where it is full."""
        Std(self._fd).write(data)

    def close(self) -> None:
        """All is written already."""

    def abort(self) -> None:
        """Nothing can be taken back."""
