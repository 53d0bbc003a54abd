"""The client's own randomness in the keys of its token authority, a seed for each host.

Mirrors session/auth/authprovider/tokenseed.go, v0.32.2.

The file `.token_seed` in Docker's configuration folder is a JSON object {HOST: {"Seed": base64}}; whoever uses it
holds the lock of `.token_seed.lock` (flock). Without the seeds a daemon could choose what the client's key signs.

Differs on purpose: a file of another user or a symlink is not used, one that others may read is closed to them, and
it is replaced whole; where nothing can be kept, a seed lasts as long as the process.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import json
import os
import stat
import threading
import time
from collections.abc import Iterator

from pybuildkit.golang.errors import error_text
from pybuildkit.third_party.continuity import create_temp, rename, write_all
from pybuildkit.util import bklog

_LOCK_SECONDS = 5.0
_MAX_SIZE = 1 << 20
_TOLERATED = (
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT),
    *(errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ELOOP),
)


class TokenSeeds:
    """The seeds in a folder; `get_seed` blocks and is safe from any thread.

    Args:
        folder: Docker's configuration folder, made where it is missing.
        lock_seconds: how long to wait for another process that holds the lock; after that, go on without.
    """

    def __init__(self, folder: str, *, lock_seconds: float = _LOCK_SECONDS) -> None:
        self._folder = folder
        self._lock_seconds = lock_seconds
        self._lock = threading.Lock()
        self._seeds: dict[str, bytes] = {}

    def get_seed(self, host: str) -> bytes:
        """The seed of a host, 16 bytes; made where there is none yet.

        Raises:
            OSError: the file cannot be read or written, for reasons other than permissions and space.
        """
        with self._lock:
            try:
                os.makedirs(self._folder, 0o755, exist_ok=True)
                with self._locked():
                    return self._load_or_make(host)
            except OSError as err:
                if err.errno not in _TOLERATED:
                    raise
                return self._seeds.setdefault(host, os.urandom(16))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = os.path.join(self._folder, ".token_seed.lock")
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as err:
            if err.errno not in _TOLERATED:
                raise
            yield
            return
        try:
            _flock(fd, time.monotonic() + self._lock_seconds)
            yield
        finally:
            os.close(fd)

    def _load_or_make(self, host: str) -> bytes:
        path = os.path.join(self._folder, ".token_seed")
        usable, stored = _read(path)
        self._seeds.update(stored)
        if host in stored:
            return stored[host]
        seed = self._seeds.setdefault(host, os.urandom(16))
        if usable:
            _write(self._folder, path, {**stored, host: seed})
        return seed


def _flock(fd: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return
            time.sleep(0.02)


def _read(path: str) -> tuple[bool, dict[str, bytes]]:
    """Whether the file may be written, and the seeds in it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True, {}
    except OSError as err:
        bklog.L.warning(f"token seeds are not kept: {error_text(err)}")
        return False, {}
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            bklog.L.warning(f"token seeds are not kept: {path} is no regular file")
            return False, {}
        if status.st_uid != os.geteuid():
            bklog.L.warning(f"token seeds are not kept: {path} does not belong to this user")
            return False, {}
        if status.st_mode & 0o077:
            os.fchmod(fd, 0o600)
        return True, _decode(os.read(fd, _MAX_SIZE))
    finally:
        os.close(fd)


def _decode(data: bytes) -> dict[str, bytes]:
    """The seeds of a file's content; what is no seed is left out, as after a crash while writing."""
    from pybuildkit.golang.jsontypes import Bytes, Map, Struct, convert

    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    entry = Struct("authprovider.seed", (("Seed", Bytes(), True),))
    found, _ = convert(Struct("authprovider.tokenSeeds", (("m", Map(entry), True),)), {"m": document})
    entries = found.get("m")
    assert isinstance(entries, dict | None)
    return {host: each["Seed"] for host, each in (entries or {}).items() if "Seed" in each}


def _write(folder: str, path: str, seeds: dict[str, bytes]) -> None:
    document = {host: {"Seed": base64.b64encode(seeds[host]).decode()} for host in sorted(seeds)}
    fd, temporary = create_temp(folder, ".token_seed.tmp-", 0o600)
    try:
        try:
            write_all(fd, json.dumps(document, indent=2).encode(), temporary)
        finally:
            os.close(fd)
        rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
