"""Writing a file so that it is whole or not there. Mirrors AtomicWriteFile of github.com/containerd/continuity, v0.5.0.

Differs on purpose: the user's umask is kept, a temporary file is removed when the writing fails, and a device, a pipe
or `/dev/stdout` is written to, not replaced by a file.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import stat

from pybuildkit.golang.errors import with_op


def atomic_write_file(filename: str, data: bytes, mode: int = 0o666) -> None:
    """Write a file through a temporary one in the same folder.

    Args:
        filename: the final name.
        data: the whole content.
        mode: the permissions, less the umask.

    Raises:
        OSError: whatever fails; nothing is left of the file then, and one that was there is as it was.
    """
    if _is_open_ended(filename):
        try:
            fd = os.open(filename, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as err:
            raise with_op(err, "open") from err
        try:
            write_all(fd, data, filename)
        finally:
            os.close(fd)
        return
    folder, base = os.path.split(filename)
    fd, temporary = create_temp(folder or ".", f".tmp-{base}", mode)
    try:
        try:
            write_all(fd, data, temporary)
            os.fsync(fd)
        finally:
            os.close(fd)
        rename(temporary, filename)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _is_open_ended(filename: str) -> bool:
    """Whether a name is that of a device or a pipe, or leads to an open descriptor."""
    try:
        kind = stat.S_IFMT(os.stat(filename).st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            return True
        return os.path.islink(filename) and os.path.abspath(filename).startswith(("/dev/", "/proc/"))
    except OSError:
        return False


def create_temp(folder: str, prefix: str, mode: int) -> tuple[int, str]:
    """A new file in a folder, named `prefix` and digits; its descriptor, opened for writing, and its path."""
    while True:
        path = f"{folder}/{prefix}{random.randrange(1 << 32)}"  # a name, not a secret: O_EXCL does the rest
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), path
        except FileExistsError:
            continue


def write_all(fd: int, data: bytes | memoryview, name: str) -> None:
    """Write all of the data; raises OSError that names the file."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            select.select((), (fd,), ())
        except OSError as err:
            raise with_op(OSError(err.errno, err.strerror, name), "write") from err


def rename(old: str, new: str) -> None:
    """Rename a file, over a file that is there but not over a folder; raises OSError as Go words it."""
    try:
        if stat.S_ISDIR(os.lstat(new).st_mode):
            raise with_op(FileExistsError(17, "File exists", old, None, new), "rename")
    except FileNotFoundError:
        pass
    try:
        os.rename(old, new)
    except OSError as err:
        raise with_op(err, "rename") from err
