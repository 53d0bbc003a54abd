"""Contexts: local directories that the daemon may ask for.

Mirrors the FileSync half of session/filesync/filesync.go and diffcopy.go, v0.32.2.

Protocol: the daemon calls FileSync.DiffCopy with request headers `dir-name`, `include-patterns`,
`exclude-patterns` and `followpaths` (repeated; values that are not ASCII are query-escaped, and the header
`<key>-encoded: 1` says so). The call then carries fsutil packets, the client being the sender.

Differs from Go: calls beyond `MOST_CALLS` wait until one of the others has ended, so that a daemon cannot have any
number of threads and open files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pybuildkit.golang import errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote
from pybuildkit.golang.url import URLError, query_escape, query_unescape
from pybuildkit.rpc import Code, Method, RpcError

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import Metadata, Server, ServerStream
    from pybuildkit.session import Caller
    from pybuildkit.third_party.fsutil import FS, ReceiveOpt

DIFF_COPY = Method.raw("/moby.filesync.v1.FileSync/DiffCopy")
TAR_STREAM = Method.raw("/moby.filesync.v1.FileSync/TarStream")

MOST_CALLS = 32
"""Contexts that are sent at the same time."""

KEY_INCLUDE_PATTERNS = "include-patterns"
KEY_EXCLUDE_PATTERNS = "exclude-patterns"
KEY_FOLLOW_PATHS = "followpaths"
KEY_DIR_NAME = "dir-name"

ProgressCallback = Callable[[int, bool], None]
"""Called with the bytes moved so far and whether the transfer has ended."""


class InvalidSessionError(BuildkitError):
    """The daemon asked for something that this session does not offer."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.cause = cause
        self.__cause__ = cause

    def __str__(self) -> str:
        return errors.error_text(self.cause)


class DirSource(Protocol):
    """Finds the file system behind a name."""

    def lookup_dir(self, name: str) -> FS | None:
        """The file system that the daemon gets for a name; None where there is none. Must not block."""


class StaticDirSource(dict[str, "FS"]):
    """A DirSource with fixed names."""

    def lookup_dir(self, name: str) -> FS | None:
        """The file system with this name, or None."""
        return self.get(name)


class FSSyncProvider:
    """The FileSync service over a DirSource; an Attachable.

    Args:
        dirs: what may be asked for.
        progress: called while files are sent.

    Attributes:
        interrupted: the names of what was being sent when its call broke, in that order.
    """

    def __init__(self, dirs: DirSource, progress: ProgressCallback | None = None) -> None:
        self.interrupted: list[str] = []
        self._dirs = dirs
        self._progress = progress
        self._room = asyncio.Semaphore(MOST_CALLS)

    def register(self, server: Server) -> None:
        """Add FileSync to a session's server."""
        server.add_stream(DIFF_COPY, self._diff_copy)
        server.add_stream(TAR_STREAM, self._tar_stream)

    async def _tar_stream(self, stream: ServerStream[bytes, object]) -> None:
        raise InvalidSessionError(BuildkitError("failed to negotiate protocol"))

    async def _diff_copy(self, stream: ServerStream[bytes, object]) -> None:
        from pybuildkit.third_party import fsutil

        opts = decode_opts(stream.metadata)
        name = next(iter(opts.get(KEY_DIR_NAME, [])), "")
        directory = self._dirs.lookup_dir(name)
        if directory is None:
            raise InvalidSessionError(RpcError(Code.NOT_FOUND, f"no access allowed to dir {quote(name)}"))
        filtered = fsutil.new_filter_fs(
            directory,
            fsutil.FilterOpt(
                include_patterns=opts.get(KEY_INCLUDE_PATTERNS, []),
                exclude_patterns=opts.get(KEY_EXCLUDE_PATTERNS, []),
                follow_paths=opts.get(KEY_FOLLOW_PATHS, []),
            ),
        )
        try:
            async with self._room:
                await fsutil.send(stream.ctx, stream, filtered, self._progress)
        except BaseException:
            self.interrupted.append(name)
            raise


def new_fs_sync_provider(dirs: DirSource) -> FSSyncProvider:
    """The service that sends files from the client.

    Args:
        dirs: what the daemon may ask for, by name.
    """
    return FSSyncProvider(dirs)


@dataclass(frozen=True, kw_only=True)
class FSSendRequestOpt:
    """What a daemon asks a client to send.

    Args:
        name: the local source's name.
        include_patterns, exclude_patterns, follow_paths: filters, applied by the client.
        dest_dir: where the files go.
        receive: how they are received.
    """

    name: str
    dest_dir: str
    receive: ReceiveOpt
    include_patterns: Sequence[str] = ()
    exclude_patterns: Sequence[str] = ()
    follow_paths: Sequence[str] = ()


async def fs_sync(ctx: Context, caller: Caller, opt: FSSendRequestOpt) -> None:
    """Receive a local source from a client (the daemon's side).

    Args:
        ctx: ends the transfer; what was received stays in `opt.dest_dir`.
        caller: the client's session.
        opt: what to ask for, and where it goes.

    Raises:
        BuildkitError: "no local sources enabled" when the session offers none, or the transfer's error.
    """
    from pybuildkit.third_party import fsutil

    if not caller.supports(DIFF_COPY.path):
        raise BuildkitError("no local sources enabled")
    metadata = encode_opts(
        {
            KEY_INCLUDE_PATTERNS: opt.include_patterns,
            KEY_EXCLUDE_PATTERNS: opt.exclude_patterns,
            KEY_FOLLOW_PATHS: opt.follow_paths,
            KEY_DIR_NAME: [opt.name],
        }
    )
    ctx = caller.context(ctx)
    stream = await caller.conn().stream(ctx, DIFF_COPY, metadata=metadata)
    try:
        await fsutil.receive(ctx, stream, opt.dest_dir, opt.receive)
        await stream.close_send()
    finally:
        stream.cancel()


def encode_opts(opts: Mapping[str, Sequence[str]]) -> list[tuple[str, str | bytes]]:
    """Request headers for options: a header a value, escaped as a whole key where one value is not ASCII."""
    metadata: list[tuple[str, str | bytes]] = []
    for key, values in opts.items():
        encoded = not all(value.isascii() for value in values)
        metadata += [(key, query_escape(value) if encoded else value) for value in values]
        if encoded:
            metadata.append((f"{key}-encoded", "1"))
    return metadata


def decode_opts(metadata: Metadata) -> dict[str, list[str]]:
    """The options in request headers; a value whose escapes are broken becomes empty."""
    grouped: dict[str, list[str]] = {}
    for key, value in metadata:
        grouped.setdefault(key, []).append(value if isinstance(value, str) else value.decode("utf-8", "replace"))
    for key, values in grouped.items():
        if next(iter(grouped.get(f"{key}-encoded", [])), "") in ("1", "t", "T", "true", "TRUE", "True"):
            grouped[key] = [_unescape(value) for value in values]
    return grouped


def _unescape(value: str) -> str:
    try:
        return query_unescape(value)
    except URLError:
        return ""
