"""What the runners of the command's vectors share: the working directory, the environment, standard output."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PREFIX = "/tmp/w"


def rewrite(value: Any, work: Path) -> Any:
    """The value with the vectors' prefix replaced by the folder, in every text."""
    if isinstance(value, str):
        return value.replace(PREFIX, str(work))
    if isinstance(value, list):
        return [rewrite(item, work) for item in value]
    if isinstance(value, dict):
        return {rewrite(key, work): rewrite(item, work) for key, item in value.items()}
    return value


def make_files(root: Path, files: list[dict[str, Any]]) -> None:
    """Make the listed files, folders, links and sockets below a folder."""
    for file in files:
        path = root / file["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        match file["type"]:
            case "dir":
                path.mkdir(exist_ok=True)
            case "symlink":
                path.symlink_to(file["target"])
            case "socket":
                _make_socket(path)
            case _:
                content = file.get("content") or ""
                path.write_bytes(content.encode().ljust(file.get("size") or 0, b"x"))


def _make_socket(path: Path) -> None:
    """A socket in the file system that nobody listens at; its path may be longer than a socket's address."""
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path.name)


@contextlib.contextmanager
def chdir(path: Path) -> Iterator[None]:
    """Work in a folder."""
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these environment variables and no other."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def stdout_is_pipe() -> Iterator[None]:
    """Have a pipe as standard output."""
    saved = os.dup(1)
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        for fd in (saved, reader, writer):
            os.close(fd)


def tree(root: Path) -> set[str]:
    """The paths below a folder; folders end in a slash."""
    found: set[str] = set()
    for folder, folders, files in os.walk(root):
        found.update(os.path.relpath(os.path.join(folder, name), root) + "/" for name in folders)
        found.update(os.path.relpath(os.path.join(folder, name), root) for name in files)
    return found
