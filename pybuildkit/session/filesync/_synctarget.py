"""Exports: directories and files that receive a build's results.

Mirrors the FileSend half of session/filesync/filesync.go and diffcopy.go, v0.32.2.

Protocol: the daemon calls FileSend.DiffCopy with the header `buildkit-attachable-exporter-id` (the export's
index; 0 where it is missing). For a directory the call carries fsutil packets, the client being the receiver;
for a file it carries `BytesMessage{bytes data = 1}`, ended by a half-close, and the headers `exporter-md-*` hold
what the file's opener is told.

Differs on purpose: a file takes its final name only when its stream has ended well; a second stream for a file
that is already written is refused, and fails the build (a directory may come in several: older daemons send one
for each platform); devices and `trusted.*` attributes are refused in a directory unless the
export allows them; the target remembers what was received and what failed, so that a build whose export never
came, or broke, ends with that error although the daemon may say otherwise. A daemon may end the call, and the whole
session, once it has sent the last packet: what has arrived is still written then. Transfers into one directory wait
where there are `MOST_TRANSFERS` already.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pybuildkit.golang import context, errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.filepath import mkdir_all
from pybuildkit.rpc import Code, Method, RpcError
from pybuildkit.session.grpchijack._grpchijack import decode_bytes_message, encode_bytes_message

if TYPE_CHECKING:
    from pybuildkit.client._solveopt import ExportWriter, FileOutputFunc
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import Buffer, ClientStream, Metadata, Server, ServerStream
    from pybuildkit.session import Caller
    from pybuildkit.session.filesync import ProgressCallback
    from pybuildkit.third_party.fsutil import FS
    from pybuildkit.third_party.fsutil._worker import Worker

FILE_SEND = Method.raw("/moby.filesync.v1.FileSend/DiffCopy")

KEY_EXPORTER_META_PREFIX = "exporter-md-"
KEY_EXPORTER_ID = "buildkit-attachable-exporter-id"
KEY_EXPORTER_MULTI_PLATFORM = "buildkit-exporter-multi-platform"

MOST_TRANSFERS = 8
"""Transfers into one directory at the same time."""

_MAX_CHUNK = 3 << 20
_ABORT_SECONDS = 0.5
_SETTLE_SECONDS = 10.0
"""How long an export may still be written after its call has ended."""


class TargetExistsError(RpcError):
    """The answer to an export whose opener wants no data; daemons take it as success."""

    def __init__(self) -> None:
        super().__init__(Code.ALREADY_EXISTS, "target already exists")


class ExportError(BuildkitError):
    """An export could not be written, or never came."""

    def __init__(self, text: str, cause: BaseException | None = None) -> None:
        super().__init__(text)
        self.__cause__ = cause


@dataclass(frozen=True, kw_only=True)
class FSSyncTarget:
    """Where one export goes: a directory, or a file's opener.

    Args:
        id: the export's index.
        outdir: the directory; "" for a file.
        delete_mode: whether what is not in the export is deleted from the directory.
        output: opens the file.
        special_files: whether devices and `trusted.*` attributes may be created in the directory.
    """

    id: int
    outdir: str = ""
    delete_mode: bool = False
    output: FileOutputFunc | None = None
    special_files: bool = False


def with_fs_sync(id: int, output: FileOutputFunc) -> FSSyncTarget:
    """The target of a file export.

    Args:
        id: the export's index in the build.
        output: opens the file, given the exporter's metadata, when the daemon sends it.
    """
    return FSSyncTarget(id=id, output=output)


def with_fs_sync_dir(id: int, outdir: str, *, special_files: bool = False) -> FSSyncTarget:
    """The target of a directory export that leaves other files in place.

    Args:
        id: the export's index in the build.
        outdir: the directory; made where it is missing.
        special_files: whether devices and `trusted.*` attributes may be created.
    """
    return FSSyncTarget(id=id, outdir=outdir, special_files=special_files)


def with_fs_sync_dir_delete(id: int, outdir: str, *, special_files: bool = False) -> FSSyncTarget:
    """The target of a directory export that deletes other files; the arguments are those of `with_fs_sync_dir`."""
    return FSSyncTarget(id=id, outdir=outdir, delete_mode=True, special_files=special_files)


class SyncTarget:
    """The FileSend service over a build's targets; an Attachable."""

    def __init__(self, *targets: FSSyncTarget) -> None:
        self._targets: dict[int, FSSyncTarget] = {}
        self._begun: set[int] = set()
        self._started: set[int] = set()
        self._unfinished: dict[int, int] = {}
        self._received: set[int] = set()
        self._failure: BuildkitError | None = None
        self._room: dict[int, asyncio.Semaphore] = {}
        self._abandoned = asyncio.Event()
        self.add(*targets)

    def add(self, *targets: FSSyncTarget) -> None:
        """Add targets; one with an index that is taken replaces the earlier one."""
        for target in targets:
            self._targets[target.id] = target

    def register(self, server: Server) -> None:
        """Add FileSend to a session's server."""
        server.add_stream(FILE_SEND, self._diff_copy)

    def failure(self) -> BuildkitError | None:
        """The first error that an export ended with on this side."""
        return self._failure

    def missing(self) -> list[FSSyncTarget]:
        """The targets that received nothing whole."""
        return [target for id, target in sorted(self._targets.items()) if id not in self._received]

    def interrupted(self) -> list[int]:
        """The indexes of the exports that have begun, and of which nothing whole was received."""
        return sorted(self._begun - self._received)

    def incomplete(self) -> list[str]:
        """The directories of exports that have begun and are not whole."""
        return [self._targets[id].outdir for id, count in sorted(self._unfinished.items()) if count]

    def abandon(self) -> None:
        """The build has failed or was given up: exports whose calls have ended are not written to their end."""
        self._abandoned.set()

    async def _diff_copy(self, stream: ServerStream[bytes, object]) -> None:
        receiving = asyncio.ensure_future(self._receive(stream))
        try:
            await asyncio.shield(receiving)
        except asyncio.CancelledError:
            await self._settle(receiving)
            raise

    async def _settle(self, receiving: asyncio.Task[None]) -> None:
        """Wait until what has arrived is written; the server that has cancelled the call waits for this."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _SETTLE_SECONDS
        abandoned = asyncio.ensure_future(self._abandoned.wait())
        both = (receiving, abandoned)
        while loop.time() < until and not any(task.done() for task in both):
            try:
                await asyncio.wait(both, timeout=until - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                continue  # the call is cancelled already: once for itself, and again with its connection
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)

    async def _receive(self, stream: ServerStream[bytes, object]) -> None:
        target = self._targets.get(_exporter_id(stream.metadata))
        if target is None:
            raise BuildkitError(f"exporter {_exporter_id(stream.metadata)} not found")
        self._begun.add(target.id)
        try:
            if target.outdir:
                await self._receive_dir(stream, target)
            else:
                await self._receive_file(stream, target)
        except (BuildkitError, OSError) as err:
            if isinstance(err, TargetExistsError):
                self._received.add(target.id)
            else:
                self._note_failure(stream.ctx, err)
            raise
        self._received.add(target.id)

    def _note_failure(self, ctx: Context, err: BaseException) -> None:
        """Remember an error of our own making; one that only says that the call ended is the daemon's."""
        cause = ctx.cause()
        if self._failure is not None:
            return
        if cause is not None and (err is cause or errors.is_error(err, cause)):
            return
        told = errors.find(err, RpcError)
        if told is not None and told.code in (Code.CANCELLED, Code.UNAVAILABLE):
            return
        self._failure = err if isinstance(err, BuildkitError) else ExportError(errors.error_text(err), err)

    async def _receive_dir(self, stream: ServerStream[bytes, object], target: FSSyncTarget) -> None:
        from pybuildkit.third_party import fsutil

        if target.delete_mode and "1" not in _values(stream.metadata, KEY_EXPORTER_MULTI_PLATFORM):
            raise BuildkitError(
                "local exporter mode=delete requires a BuildKit daemon with multi-platform local export support"
            )
        try:
            mkdir_all(target.outdir, 0o700)
        except BuildkitError as err:
            raise errors.wrap(err, f"failed to create synctarget dest dir {target.outdir}") from err
        uid, gid = os.getuid(), os.getgid()

        def own(path: bytes, stat: fsutil.Stat) -> bool:
            stat.uid, stat.gid = uid, gid
            return True

        opt = fsutil.ReceiveOpt(
            merge=not target.delete_mode,
            filter=own,
            differ=fsutil.DIFF_NONE if target.delete_mode else fsutil.DIFF_METADATA,
            special_files=target.special_files,
        )
        # The daemon drops the call as soon as it has confirmed the end, which may still be unread then, or be lost with
        # the call: the stream itself, not its context, tells when the transfer is over.
        ctx = context.without_cancel(stream.ctx)
        self._unfinished[target.id] = self._unfinished.get(target.id, 0) + 1
        try:
            async with self._room.setdefault(target.id, asyncio.Semaphore(MOST_TRANSFERS)):
                await fsutil.receive(ctx, stream, target.outdir, opt)
        except fsutil.UnconfirmedError:
            pass  # a daemon written in Go may drop its confirmation with the call; whether it is content, Solve tells
        except (BuildkitError, OSError) as err:
            raise ExportError(f"local export to {target.outdir} is incomplete: {errors.error_text(err)}", err) from err
        self._unfinished[target.id] -= 1

    async def _receive_file(self, stream: ServerStream[bytes, object], target: FSSyncTarget) -> None:
        from pybuildkit.third_party.fsutil._worker import Worker

        if target.id in self._started:
            raise ExportError(f"exporter {target.id} has already sent its file")
        self._started.add(target.id)
        worker = Worker("pybuildkit-export")
        writers: list[ExportWriter] = []
        try:
            await _write_target_file(stream, target, worker, writers)
        except BaseException:
            if not writers:
                self._started.discard(target.id)
            worker.submit(lambda: _abort(writers))
            raise
        finally:
            await worker.close(_ABORT_SECONDS)


def new_fs_sync_target(*targets: FSSyncTarget) -> SyncTarget:
    """The service that receives a build's exports."""
    return SyncTarget(*targets)


def _values(metadata: Metadata, key: str) -> list[str]:
    return [value for name, value in metadata if name == key and isinstance(value, str)]


def _exporter_id(metadata: Metadata) -> int:
    value = next(iter(_values(metadata, KEY_EXPORTER_ID)), "0")
    try:
        return int(value)
    except ValueError:
        return 0


def _exporter_metadata(metadata: Metadata) -> dict[str, str]:
    grouped: dict[str, list[str]] = {}
    for name, value in metadata:
        if name.startswith(KEY_EXPORTER_META_PREFIX) and isinstance(value, str):
            grouped.setdefault(name.removeprefix(KEY_EXPORTER_META_PREFIX), []).append(value)
    return {name: ",".join(values) for name, values in grouped.items()}


def _abort(writers: list[ExportWriter]) -> None:
    for writer in writers:
        writer.abort()


async def _write_target_file(
    stream: ServerStream[bytes, object], target: FSSyncTarget, worker: Worker, writers: list[ExportWriter]
) -> None:
    """Write what arrives, in the worker's thread, one batch being written while the next one is received.

    A call that hangs (a pipe that nobody reads, a stalled file system) is given up when the stream's context ends.

    Args:
        stream: the call.
        target: opens the file.
        worker: does what may block.
        writers: gets the file's writer, once there is one.
    """
    output, ctx = target.output, stream.ctx
    assert output is not None

    def open_writer() -> None:
        writer = output(_exporter_metadata(stream.metadata))
        if writer is None:
            raise TargetExistsError
        writers.append(writer)

    def write(messages: list[bytes]) -> None:
        writers[0].write_all(b"".join([decode_bytes_message(message) for message in messages]))

    await context.run(ctx, worker.submit(open_writer))
    writing: asyncio.Future[None] | None = None
    try:
        while messages := await stream.recv_many():
            if writing is not None:
                await context.run(ctx, writing)
            writing = worker.submit(lambda batch=messages: write(batch))  # type: ignore[misc]  # bound now
    finally:
        if writing is not None:
            await context.run(ctx, writing)
    await worker.submit(writers[0].close)


async def copy_to_caller(
    ctx: Context,
    fs: FS,
    id: int,
    caller: Caller,
    progress: ProgressCallback | None = None,
    *,
    multi_platform: bool = False,
) -> None:
    """Send a tree to a client's directory export (the daemon's side).

    Args:
        ctx: ends the transfer.
        fs: the tree.
        id: the export's index.
        caller: the client's session.
        progress: called with the bytes sent so far.
        multi_platform: tell the client that one transfer carries all platforms.
    """
    from pybuildkit.third_party import fsutil

    metadata = [(KEY_EXPORTER_ID, str(id))]
    if multi_platform:
        metadata.append((KEY_EXPORTER_MULTI_PLATFORM, "1"))
    _check_support(caller)
    ctx = caller.context(ctx)
    stream = await caller.conn().stream(ctx, FILE_SEND, metadata=metadata)
    try:
        await fsutil.send(ctx, stream, fs, progress)
        await stream.close_send()
        while await stream.recv_many():
            pass
    finally:
        stream.cancel()


def _check_support(caller: Caller) -> None:
    method = "/moby.filesync.v1.FileSend/diffcopy"
    if not caller.supports(method):
        raise BuildkitError(f"method {method} not supported by the client")


class FileWriter:
    """Sends a file export's bytes to a client; made by `copy_file_writer`."""

    def __init__(self, stream: ClientStream[object, bytes]) -> None:
        self._stream = stream

    async def write_all(self, data: Buffer) -> None:
        """Send bytes, in messages of at most 3 MiB."""
        view = memoryview(data)
        for start in range(0, len(view), _MAX_CHUNK):
            chunk = view[start : start + _MAX_CHUNK]
            await self._stream.send(encode_bytes_message([chunk], len(chunk)))

    async def close(self) -> None:
        """End the file and wait until the client has stored it.

        Raises:
            RpcError: when the client could not store it.
        """
        await self._stream.close_send()
        while await self._stream.recv_many():
            pass

    def abort(self) -> None:
        """Break the transfer off; the client keeps nothing of it."""
        self._stream.cancel()


async def copy_file_writer(ctx: Context, metadata: Mapping[str, str], id: int, caller: Caller) -> FileWriter:
    """Open a client's file export (the daemon's side).

    Args:
        ctx: ends the transfer.
        metadata: what the file's opener is told.
        id: the export's index.
        caller: the client's session.
    """
    _check_support(caller)
    headers = [(KEY_EXPORTER_META_PREFIX + name, value) for name, value in metadata.items()]
    headers.append((KEY_EXPORTER_ID, str(id)))
    return FileWriter(await caller.conn().stream(caller.context(ctx), FILE_SEND, metadata=headers))
