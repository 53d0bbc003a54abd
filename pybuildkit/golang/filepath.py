"""Folders as Go makes them. Mirrors os.MkdirAll of Go 1.26 with its errors' texts."""

from __future__ import annotations

import os

from pybuildkit.golang.errors import BuildkitError, error_text, with_op


class PathError(BuildkitError):
    """A file operation that failed, in Go's words: "mkdir NAME: not a directory"; the OSError is the cause."""

    def __init__(self, text: str, cause: OSError) -> None:
        super().__init__(text)
        self.__cause__ = cause


def mkdir_all(path: str, mode: int) -> None:
    """Make a folder and its missing parents; one that is there already is left as it is.

    Args:
        path: the folder.
        mode: permissions of the folders that are made, less the user's umask.

    Raises:
        PathError: when one of them cannot be made, or is no folder; what was made before stays.
    """
    try:
        _mkdir_all(path, mode)
    except OSError as err:
        raise PathError(error_text(with_op(err, "mkdir")), err) from err


def _mkdir_all(path: str, mode: int) -> None:
    if os.path.isdir(path):
        return
    if os.path.lexists(path) and os.path.exists(path):
        raise NotADirectoryError(20, os.strerror(20), path)
    parent = os.path.dirname(path.rstrip("/"))
    if parent and parent != path:
        _mkdir_all(parent, mode)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
