"""Secrets in files and environment variables. Mirrors session/secrets/secretsprovider/store.go, v0.32.2.

A source that names neither file nor variable means the variable with the secret's own id where there is one, else
the file of that name.

Differs on purpose:
- At most 500 KiB and a byte are read of a file, whatever its size was before; a file that is no regular one (a pipe,
  a terminal, a device) must deliver all within `PATIENCE_SECONDS`, and is read once: a process substitution can be
  asked for again and again.
- A variable that is not set still is an empty secret, but a warning names it.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, error_text, with_op, wrap
from pybuildkit.session.secrets._secrets import SecretNotFoundError
from pybuildkit.session.secrets.secretsprovider._secretsprovider import MAX_SECRET_SIZE
from pybuildkit.util import bklog

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context

PATIENCE_SECONDS = 10.0


class SecretReadError(BuildkitError):
    """A secret's file cannot be read, is too large, or does not come to its end."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one secret's value is.

    Attributes:
        id: the secret's name, as the daemon asks for it.
        file_path: the file that holds the value.
        env: the environment variable that holds it; it wins over a file.
    """

    id: str = ""
    file_path: str = ""
    env: str = ""


def new_store(sources: Iterable[Source], *, patience: float = PATIENCE_SECONDS) -> FileStore:
    """A store over the sources; the last of those with the same id counts.

    Args:
        sources: the secrets.
        patience: seconds that a file which is no regular one has to deliver its content.

    Raises:
        SecretReadError: a source without id, a file that is not there or is over 500 KiB.
    """
    found: dict[str, Source] = {}
    for source in sources:
        if not source.id:
            raise SecretReadError("secret missing ID")
        chosen = _choose(source)
        if chosen.file_path:
            _check_size(chosen)
        if chosen.env and chosen.env not in os.environ:
            bklog.L.warning(f"secret {chosen.id}: environment variable {chosen.env} is not set, the secret is empty")
        found[chosen.id] = chosen
    return FileStore(found, patience)


def _choose(source: Source) -> Source:
    if source.env or source.file_path:
        return source
    if source.id in os.environ:
        return Source(id=source.id, env=source.id)
    return Source(id=source.id, file_path=source.id)


def _check_size(source: Source) -> None:
    try:
        size = os.stat(source.file_path).st_size
    except (OSError, ValueError) as err:
        failure = err if isinstance(err, OSError) else OSError(errno.EINVAL, "invalid argument", source.file_path)
        raise wrap(with_op(failure, "stat"), f"failed to stat {source.file_path}") from err
    if size > MAX_SECRET_SIZE:
        raise _too_big(source)


def _too_big(source: Source) -> SecretReadError:
    return SecretReadError(f"secret {source.id} too big. max size 500KiB")


class FileStore:
    """The store that `new_store` makes; values are read when they are asked for."""

    def __init__(self, sources: dict[str, Source], patience: float) -> None:
        self._sources = sources
        self._patience = patience
        self._lock = threading.Lock()
        self._once: dict[str, bytes] = {}

    async def get_secret(self, ctx: Context, secret_id: str) -> bytes:
        """The secret's value.

        Raises:
            SecretNotFoundError: for an id that no source has.
            SecretReadError: the file cannot be read whole.

        Cancelling leaves a thread that ends with its read, at the latest when the patience is over.
        """
        from pybuildkit.golang import threads

        source = self._sources.get(secret_id)
        if source is None:
            raise SecretNotFoundError
        if source.env:
            return os.environb.get(os.fsencode(source.env), b"")
        return await threads.call(ctx, lambda: self._read(source))

    def _read(self, source: Source) -> bytes:
        try:
            return self._read_file(source)
        except OSError as err:
            raise SecretReadError(error_text(err)) from err

    def _read_file(self, source: Source) -> bytes:
        path = source.file_path
        with self._lock:
            if path in self._once:
                return self._once[path]
        # O_NONBLOCK: opening a pipe must not wait for its writer
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and status.st_size > MAX_SECRET_SIZE:
                raise SecretReadError(f"invalid secret size {status.st_size}")
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                return _read_bounded(fd, source, None)
            with self._lock:
                if path not in self._once:
                    self._once[path] = _read_bounded(fd, source, time.monotonic() + self._patience)
                return self._once[path]
        finally:
            os.close(fd)


def _read_bounded(fd: int, source: Source, deadline: float | None) -> bytes:
    """All that the descriptor gives, at most the largest secret, until the deadline on the monotonic clock."""
    data = bytearray()
    while len(data) <= MAX_SECRET_SIZE:
        if deadline is not None:
            _wait_readable(fd, source, deadline)
        try:
            piece = os.read(fd, MAX_SECRET_SIZE + 1 - len(data))
        except BlockingIOError:
            continue
        except OSError as err:
            raise with_op(OSError(err.errno, err.strerror, source.file_path), "read") from err
        if not piece:
            return bytes(data)
        data += piece
    raise _too_big(source)


def _wait_readable(fd: int, source: Source, deadline: float) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise SecretReadError(f"secret {source.id}: {source.file_path} did not come to its end in time")
