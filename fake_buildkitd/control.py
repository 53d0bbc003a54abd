"""The control service.

Mirrors control/control.go, v0.32.2.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fake_buildkitd import usage
from fake_buildkitd.errors import to_status
from fake_buildkitd.gateway import Gateway, UnknownJobError
from fake_buildkitd.history import History
from fake_buildkitd.jobs import Job, JobOptions
from fake_buildkitd.script import Before, Script, ScriptedJob
from fake_buildkitd.store import Snapshot
from pybuildkit.api.services.control import _methods as methods
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.api.types import worker_pb2
from pybuildkit.client._graph import SolveStatus
from pybuildkit.client._status import marshal
from pybuildkit.golang import context
from pybuildkit.golang import time as gotime
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Method, RpcError, Server, ServerStream
from pybuildkit.session.grpchijack import hijack
from pybuildkit.session.grpchijack._grpchijack import SESSION

PACKAGE = "github.com/moby/buildkit"
VERSION = "v0.32.2-pybuildkit"
DOCKERFILE_VERSION = "1.26.0"
_TIMESTAMP_KEY = "buildkit-current-timestamp"
_STATUS_WAIT = 6.0
_KEPT_JOBS = 20


AnyJob = Job | ScriptedJob
Req = TypeVar("Req")
Resp = TypeVar("Resp")


class Control:
    """Builds, sessions and the store, as a client asks for them.

    Args:
        options: what builds share.
        gateway: gets to know the builds of clients that work through it.
        history: remembers builds.
        workers: what is told of this daemon.
        script: gives the script of a build, or None for a real one.
        before: called before every call.
        session_seconds: how long a session stays open on this side after the client's end.
    """

    def __init__(
        self,
        options: JobOptions,
        gateway: Gateway,
        history: History,
        workers: Callable[[], list[worker_pb2.WorkerRecord]],
        script: Callable[[pb.SolveRequest], Script | None] = lambda request: None,
        before: Before | None = None,
        session_seconds: float = 0.0,
    ) -> None:
        self._options = options
        self._gateway = gateway
        self._history = history
        self._workers = workers
        self._script = script
        self._before = before
        self._session_seconds = session_seconds
        self._active: dict[str, AnyJob] = {}
        self._finished: OrderedDict[str, AnyJob] = OrderedDict()
        self._changed: set[asyncio.Future[None]] = set()

    def register(self, server: Server) -> None:
        """Add the service to a server."""
        self._add_unary(server, methods.SOLVE, self.solve)
        self._add_unary(server, methods.LIST_WORKERS, self.list_workers)
        self._add_unary(server, methods.INFO, self.info)
        self._add_unary(server, methods.DISK_USAGE, self.disk_usage)
        self._add_unary(server, methods.UPDATE_BUILD_HISTORY, self.update_build_history)
        server.add_stream(methods.STATUS, self.status)
        server.add_stream(SESSION, self.session)
        server.add_stream(methods.PRUNE, self.prune)
        server.add_stream(methods.LISTEN_BUILD_HISTORY, self.listen_build_history)

    def _add_unary(
        self, server: Server, method: Method[Req, Resp], handler: Callable[[Context, Req], Awaitable[Resp]]
    ) -> None:
        name = method.path.rpartition("/")[2]

        async def handle(ctx: Context, request: Req) -> Resp:
            await self._pass(name, ctx)
            return await handler(ctx, request)

        server.add_unary(method, handle)

    async def _pass(self, name: str, ctx: Context) -> None:
        """Let a call come in, unless the script of a test stops it."""
        if self._before is not None:
            await self._before(name, ctx)

    async def solve(self, ctx: Context, request: pb.SolveRequest) -> pb.SolveResponse:
        """Build something; ends when the result is exported."""
        if request.Ref in self._active:
            raise BuildkitError(f"job ID {request.Ref} exists")
        script = self._script(request)
        job: AnyJob = (
            Job(ctx, request, self._options)
            if script is None
            else ScriptedJob(ctx, request, script, self._options.manager, self._options.clock)
        )
        self._active[job.id] = job
        self._finished.pop(job.id, None)
        self._broadcast()
        record: pb.BuildHistoryRecord | None = None

        def begin() -> None:
            nonlocal record
            if not request.Internal:
                record = _record(job)
                self._history.started(record)

        try:
            return pb.SolveResponse(ExporterResponse=await job.run(self._gateway.add, begin))
        finally:
            self._gateway.discard(job)
            try:
                if record is not None:
                    await self._remember(job, record)
            finally:
                self._forget(job, keep=record is None or isinstance(job, ScriptedJob))

    async def _remember(self, job: AnyJob, record: pb.BuildHistoryRecord) -> None:
        record.ExporterResponse.update(job.metadata)
        record.CompletedAt.FromNanoseconds(job.completed or 0)
        statuses: list[pb.StatusResponse] = []
        with contextlib.suppress(BuildkitError):  # a script may end its statuses with an error
            await job.progress.read(context.background(), lambda status: _collect(statuses, status))
        await self._history.completed(record, statuses, _failure(job.error))

    def _forget(self, job: AnyJob, keep: bool) -> None:
        """Take a build off those that run; for clients that ask of it, one without a record, or with a script, is kept
        for a while.
        """
        self._active.pop(job.id, None)
        if keep:
            self._finished[job.id] = job
            while len(self._finished) > _KEPT_JOBS:
                self._finished.popitem(last=False)
        self._broadcast()

    def _broadcast(self) -> None:
        for waiter in self._changed:
            if not waiter.done():
                waiter.set_result(None)

    async def _find(self, ctx: Context, ref: str) -> AnyJob | list[pb.StatusResponse]:
        """A build that runs, or what a finished one told; waits for one that is about to begin."""
        timed, stop = context.with_timeout(ctx, _STATUS_WAIT)
        try:
            while True:
                changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._changed.add(changed)
                try:
                    found = self._active.get(ref) or self._finished.get(ref) or await self._history.logs(ref)
                    if found is not None:
                        return found
                    await context.run(timed, changed)
                finally:
                    self._changed.discard(changed)
        except context.DeadlineExceededError as err:
            if ctx.is_done():
                raise
            raise UnknownJobError(ref) from err
        finally:
            stop()

    async def status(self, stream: ServerStream[pb.StatusRequest, pb.StatusResponse]) -> None:
        """Tell of a build until it ends; a finished one is told again."""
        request = await stream.recv() or pb.StatusRequest()
        await self._pass("Status", stream.ctx)
        await self._send_timestamp(stream)
        found = await self._find(stream.ctx, request.Ref)
        if isinstance(found, list):
            await stream.send_many(found)
            return

        async def emit(status: SolveStatus) -> None:
            await stream.send_many(marshal(status))

        if isinstance(found, ScriptedJob):
            await found.progress.follow(stream.ctx, emit)
        else:
            await found.progress.read(stream.ctx, emit)

    async def _send_timestamp(self, stream: ServerStream[Req, Resp]) -> None:
        await stream.send_header([(_TIMESTAMP_KEY, gotime.rfc3339_nano(self._options.clock()))])

    async def session(self, stream: ServerStream[bytes, object]) -> None:
        """Keep a client's session until one of the two ends it."""
        await self._pass("Session", stream.ctx)
        hijacked, headers = hijack(stream)
        ctx, cancel = context.with_cancel(stream.ctx)
        closed = asyncio.ensure_future(hijacked.closed.wait())
        closed.add_done_callback(lambda _: cancel())
        try:
            await self._options.manager.handle_conn(ctx, hijacked, headers)
        finally:
            closed.cancel()
            await asyncio.gather(closed, return_exceptions=True)
            if self._session_seconds and hijacked.at_end:
                with contextlib.suppress(context.CanceledError):
                    await context.run(stream.ctx, asyncio.sleep(self._session_seconds))
            await hijacked.close()

    async def list_workers(self, ctx: Context, request: pb.ListWorkersRequest) -> pb.ListWorkersResponse:
        """The one worker that this daemon is, where a filter does not leave it out."""
        return pb.ListWorkersResponse(record=usage.select_workers(self._workers(), list(request.filter)))

    async def info(self, ctx: Context, request: pb.InfoRequest) -> pb.InfoResponse:
        """Name and release."""
        response = pb.InfoResponse()
        response.buildkitVersion.package = PACKAGE
        response.buildkitVersion.version = VERSION
        response.buildkitVersion.dockerfileVersion = DOCKERFILE_VERSION
        return response

    def _in_use(self, snapshot: Snapshot) -> bool:
        started = min((job.started for job in self._active.values()), default=None)
        return started is not None and max(snapshot.created_at, snapshot.last_used_at) >= started

    async def disk_usage(self, ctx: Context, request: pb.DiskUsageRequest) -> pb.DiskUsageResponse:
        """What the store holds."""
        arguments = (self._options.store(), list(request.filter), self._in_use, request.ageLimit)
        records = await asyncio.to_thread(usage.select, *arguments)
        return pb.DiskUsageResponse(record=records)

    async def prune(self, stream: ServerStream[pb.PruneRequest, pb.UsageRecord]) -> None:
        """Remove what nobody needs, and tell what was removed."""
        request = await stream.recv() or pb.PruneRequest()
        await self._pass("Prune", stream.ctx)
        removed = await asyncio.to_thread(usage.prune, self._options.store(), request, self._in_use)
        await stream.send_many(removed)

    async def listen_build_history(self, stream: ServerStream[pb.BuildHistoryRequest, pb.BuildHistoryEvent]) -> None:
        """Tell of the builds that are known, and unless an early end is asked for, of what becomes of them."""
        request = await stream.recv() or pb.BuildHistoryRequest()
        await self._pass("ListenBuildHistory", stream.ctx)
        await self._send_timestamp(stream)
        await self._history.listen(stream.ctx, request, stream.send)

    async def update_build_history(
        self, ctx: Context, request: pb.UpdateBuildHistoryRequest
    ) -> pb.UpdateBuildHistoryResponse:
        """Pin, unpin or forget a build."""
        await self._history.update(request)
        return pb.UpdateBuildHistoryResponse()


async def _collect(statuses: list[pb.StatusResponse], status: SolveStatus) -> None:
    statuses += marshal(status)


def _record(job: AnyJob) -> pb.BuildHistoryRecord:
    """The record of a build that begins."""
    record = pb.BuildHistoryRecord(
        Ref=job.id,
        Frontend=job.request.Frontend,
        FrontendAttrs=job.request.FrontendAttrs,
        Exporters=job.request.Exporters,
    )
    record.CreatedAt.FromNanoseconds(job.started)
    return record


def _failure(error: BaseException | None) -> RpcError | None:
    if error is None:
        return None
    return to_status(error if isinstance(error, BuildkitError | OSError) else context.CanceledError())
