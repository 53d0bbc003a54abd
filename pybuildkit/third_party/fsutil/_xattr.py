"""Extended attributes: read as a whole, written one by one.

Mirrors loadXattr and skipXattr of stat_unix.go, tonistiigi/fsutil (6d9dc2e).
"""

from __future__ import annotations

import errno
import os

from pybuildkit.golang import errors

_APPLE_PREFIX = "com.apple."
_UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class XattrError(errors.WrappedError):
    """The attributes of a file cannot be listed."""


def may_have_xattrs(path: bytes) -> bool:
    """Whether `load_xattrs` is worth while for a file with this absolute name.

    Most files have none, and a plain name is half as dear as one through a descriptor. The name may lead through
    links that were made meanwhile: so it only tells that there is nothing to read, and nothing is read by it.
    """
    try:
        return bool(os.listxattr(path, follow_symlinks=False))
    except OSError:
        return True


def load_xattrs(name: bytes, shown: bytes | None = None) -> dict[str, bytes] | None:
    """The attributes of a file or link (which is not followed), None where it has none.

    Args:
        name: how to reach it.
        shown: its name in an error, where that differs.

    Raises:
        FileNotFoundError: it is gone.
        XattrError: they cannot be listed, though the file system has attributes.
    """
    try:
        keys = os.listxattr(name, follow_symlinks=False)
    except OSError as err:
        if err.errno in _UNSUPPORTED:
            return None
        if err.errno in (errno.ENOENT, errno.ENOTDIR):
            raise
        text = os.fsdecode(name if shown is None else shown)
        raise XattrError(OSError(err.errno, err.strerror), f"failed to xattr {text}") from err
    if not keys:
        return None
    found: dict[str, bytes] = {}
    for key in keys:
        if key.startswith(_APPLE_PREFIX):
            continue
        try:
            found[key] = os.getxattr(name, key, follow_symlinks=False)
        except OSError:
            continue
    return found or None
