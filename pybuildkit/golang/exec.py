"""Finding programs. Mirrors LookPath of os/exec, Go 1.26, with its texts."""

from __future__ import annotations

import os

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote


class LookPathError(BuildkitError):
    """There is no such program: `exec: "NAME": REASON`."""


def look_path(name: str) -> str:
    """The path of a program on PATH; a name with a slash is a path already.

    A program that is found by way of the current directory is an error, since whoever wrote into that directory would
    choose what is run.

    Raises:
        LookPathError: there is none, or PATH leads to the current directory for it.
    """
    if "/" in name:
        return name
    search = os.environ.get("PATH", "")
    for folder in search.split(os.pathsep) if search else ():
        path = os.path.join(folder or ".", name)
        if _is_program(path):
            if os.path.isabs(path):
                return path
            raise LookPathError(f"exec: {quote(name)}: cannot run executable found relative to current directory")
    raise LookPathError(f"exec: {quote(name)}: executable file not found in $PATH")


def _is_program(path: str) -> bool:
    try:
        return os.path.isfile(path) and os.access(path, os.X_OK)
    except ValueError:  # a NUL in the name
        return False
