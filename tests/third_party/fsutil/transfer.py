"""One whole transfer in memory, for tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from pybuildkit.golang.context import background
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party.fsutil import FS, ReceiveOpt, Receiver, receive, send
from tests.third_party.fsutil.streams import pair


async def transfer(fs: FS, dest: Path, opt: ReceiveOpt, progress: Callable[[int, bool], None] | None = None) -> None:
    """Send and receive; raises the receiver's error, and the sender's where there is none."""
    near, far = pair()

    async def sending() -> None:
        try:
            await send(background(), near, fs, progress)
        finally:
            await near.close_send()

    async def receiving() -> None:
        try:
            await receive(background(), far, str(dest), opt)
        finally:
            await far.close_send()

    sender, receiver = await asyncio.gather(sending(), receiving(), return_exceptions=True)
    for err in (receiver, sender):
        if isinstance(err, BaseException):
            raise err


async def outcome(fs: FS, dest: Path, opt: ReceiveOpt) -> tuple[BaseException | None, BaseException | None]:
    """The sender's and the receiver's error."""
    near, far = pair()

    async def sending() -> None:
        try:
            await send(background(), near, fs)
        finally:
            await near.close_send()

    async def receiving() -> None:
        try:
            await receive(background(), far, str(dest), opt)
        finally:
            await far.close_send()

    results = await asyncio.gather(sending(), receiving(), return_exceptions=True)
    sender, receiver = (err if isinstance(err, BaseException) else None for err in results)
    for err in (sender, receiver):
        if err is not None and not isinstance(err, BuildkitError | OSError):
            raise err
    return sender, receiver


def answers(core: Receiver, packets: list[bytes]) -> list[bytes]:
    """What a receiver says to packets."""
    core.feed(packets)
    return core.outgoing(1 << 30)


def names(root: Path) -> list[str]:
    """Every name below a directory."""
    found = []
    for folder, folders, files in os.walk(root):
        found += [os.path.relpath(os.path.join(folder, name), root) for name in folders + files]
    return sorted(found)


def open_descriptors() -> set[str]:
    """What this process has open, except for what the event loop opens by itself."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith("/") and not target.startswith(("/proc", "/dev")):
            found.add(f"{fd} {target}")
    return found
