"""Slash paths as Go's package path treats them, and paths as the target's operating system does.

`clean` and `join` are Go's path.Clean and path.Join, which differ from `posixpath` in what they do with a leading
"//" and with nothing. The other functions take the operating system's name ("" for linux, "windows", …).

Mirrors util/system/path.go, v0.32.2.
"""

from __future__ import annotations

import posixpath
from typing import Final

from pybuildkit.golang.errors import BuildkitError, wrap

DEFAULT_PATH_ENV_UNIX: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_PATH_ENV_WINDOWS: Final = "c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0"


class SystemPathError(BuildkitError):
    """A path that the target's operating system cannot have inside a build."""


def clean(path: str) -> str:
    """The shortest equal path: no empty, "." or inner ".." parts, "." for nothing, one leading slash at most."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def join(*parts: str) -> str:
    """The parts that are not empty, joined by slashes and cleaned; "" where all are empty."""
    filled = [part for part in parts if part]
    return clean("/".join(filled)) if filled else ""


def default_path_env(os: str) -> str:
    """The PATH of a process that sets none."""
    return DEFAULT_PATH_ENV_WINDOWS if os == "windows" else DEFAULT_PATH_ENV_UNIX


def to_slash(path: str, os: str) -> str:
    """The path with forward slashes."""
    return path.replace("\\", "/") if os == "windows" else path


def from_slash(path: str, os: str) -> str:
    """The path with the operating system's separator."""
    return path.replace("/", "\\" if os == "windows" else "/")


def normalize_path(parent: str, new_path: str, os: str, keep_slash: bool) -> str:
    """`new_path` as an absolute path with forward slashes and without a drive letter.

    Args:
        parent: what a relative path is joined to; "" for the root.
        new_path: "" for the parent itself.
        os: the target's operating system.
        keep_slash: whether a trailing "/" or "/." survives.

    Raises:
        WrappedError: of SystemPathError, for a path on another drive and the like.
    """
    os = os or "linux"
    new_path = original = to_slash(new_path, os)
    try:
        parent = check_system_drive_and_remove_drive_letter(to_slash(parent, os) or "/", os, keep_slash)
        if not is_abs(parent, os):
            parent = join("/", parent)
        new_path = check_system_drive_and_remove_drive_letter(new_path or parent, os, keep_slash)
    except SystemPathError as err:
        raise wrap(err, "removing drive letter") from err
    if not is_abs(new_path, os):
        new_path = join(parent, new_path)
    if keep_slash:
        if original.endswith("/") and not new_path.endswith("/"):
            new_path += "/"
        elif original.endswith("/."):
            new_path += "." if new_path == "/" else "/."
    return to_slash(new_path, os)


def normalize_workdir(current: str, workdir: str, os: str) -> str:
    """The working directory after a change to `workdir`, with the target's own separators."""
    try:
        normal = normalize_path(current, workdir, os, False)
    except BuildkitError as err:
        raise wrap(err, "normalizing working directory") from err
    return from_slash(normal, os or "linux")


def is_abs(path: str, os: str) -> bool:
    """Whether the path is absolute inside a build: a drive letter counts only where a slash follows it."""
    try:
        stripped = check_system_drive_and_remove_drive_letter(path, os, False)
    except SystemPathError:
        return False
    return to_slash(stripped, os or "linux").startswith("/")


def check_system_drive_and_remove_drive_letter(path: str, os: str, keep_slash: bool) -> str:
    """A Windows path without its drive letter, with forward slashes; any other path as it is.

    Raises:
        SystemPathError: for a drive other than C:, a bare drive letter, and a UNC path.
    """
    if os != "windows":
        return path
    if len(path) == 2 and path[1] == ":":
        raise SystemPathError(f'No relative path specified in "{path}"')
    if to_slash(path[:2], os) == "//":
        raise SystemPathError("UNC paths are not supported")
    drive, colon, rest = path.partition(":")
    if not colon:
        return _clean_path(path, os, keep_slash)
    if drive.lower() != "c":
        raise SystemPathError("The specified path is not on the system drive (C:)")
    return _clean_path(rest, os, keep_slash)


def _clean_path(path: str, os: str, keep_slash: bool) -> str:
    path = to_slash(path, os)
    cleaned = clean(path)
    return cleaned + "/" if keep_slash and len(cleaned) > 1 and path.endswith("/") else cleaned
