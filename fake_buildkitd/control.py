"""The control service.

Mirrors control/control.go, v0.32.2.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fake_buildkitd import usage
from fake_buildkitd.errors import to_status
from fake_buildkitd.gateway import Gateway, UnknownJobError
from fake_buildkitd.jobs import Job, JobOptions
from fake_buildkitd.script import Before, Script, ScriptedJob
from fake_buildkitd.store import Snapshot
from pybuildkit.api.services.control import _methods as methods
from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.api.types import worker_pb2
from pybuildkit.client._graph import SolveStatus, Vertex
from pybuildkit.client._status import marshal
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Method, Server, ServerStream
from pybuildkit.session.grpchijack import hijack
from pybuildkit.session.grpchijack._grpchijack import SESSION

PACKAGE = "github.com/moby/buildkit"
VERSION = "v0.32.2+pybuildkit"
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
        workers: what is told of this daemon.
        script: gives the script of a build, or None for a real one.
        before: called before every call.
    """

    def __init__(
        self,
        options: JobOptions,
        gateway: Gateway,
        workers: Callable[[], list[worker_pb2.WorkerRecord]],
        script: Callable[[pb.SolveRequest], Script | None] = lambda request: None,
        before: Before | None = None,
    ) -> None:
        self._options = options
        self._gateway = gateway
        self._workers = workers
        self._script = script
        self._before = before
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
            else ScriptedJob(ctx, request, script, self._options.manager)
        )
        self._active[job.id] = job
        self._finished.pop(job.id, None)
        self._broadcast()
        try:
            response = await job.run(self._gateway.add)
        finally:
            self._gateway.discard(job)
            self._active.pop(job.id, None)
            if not request.Internal:
                self._finished[job.id] = job
            while len(self._finished) > _KEPT_JOBS:
                self._finished.popitem(last=False)
            self._broadcast()
        return pb.SolveResponse(ExporterResponse=response)

    def _broadcast(self) -> None:
        for waiter in self._changed:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self, ctx: Context) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.add(waiter)
        try:
            await context.run(ctx, waiter)
        finally:
            self._changed.discard(waiter)

    async def _job(self, ctx: Context, ref: str) -> AnyJob:
        timed, stop = context.with_timeout(ctx, _STATUS_WAIT)
        try:
            while True:
                job = self._active.get(ref) or self._finished.get(ref)
                if job is not None:
                    return job
                await self._change(timed)
        except BuildkitError as err:
            if ctx.is_done():
                raise
            raise UnknownJobError(ref) from err
        finally:
            stop()

    async def status(self, stream: ServerStream[pb.StatusRequest, pb.StatusResponse]) -> None:
        """Tell of a build until it ends; a finished one is told again."""
        request = await stream.recv() or pb.StatusRequest()
        await self._pass("Status", stream.ctx)
        await stream.send_header([])
        job = await self._job(stream.ctx, request.Ref)

        async def emit(status: SolveStatus) -> None:
            await stream.send_many(marshal(status))

        await job.progress.read(stream.ctx, emit)

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
            await hijacked.close()

    async def list_workers(self, ctx: Context, request: pb.ListWorkersRequest) -> pb.ListWorkersResponse:
        """The one worker that this daemon is."""
        return pb.ListWorkersResponse(record=self._workers())

    async def info(self, ctx: Context, request: pb.InfoRequest) -> pb.InfoResponse:
        """Name and release."""
        response = pb.InfoResponse()
        response.buildkitVersion.package = PACKAGE
        response.buildkitVersion.version = VERSION
        return response

    def _in_use(self, snapshot: Snapshot) -> bool:
        started = min((job.started for job in self._active.values()), default=None)
        return started is not None and max(snapshot.created_at, snapshot.last_used_at) >= started

    async def disk_usage(self, ctx: Context, request: pb.DiskUsageRequest) -> pb.DiskUsageResponse:
        """What the store holds."""
        records = await asyncio.to_thread(usage.select, self._options.store(), list(request.filter), self._in_use)
        return pb.DiskUsageResponse(record=records)

    async def prune(self, stream: ServerStream[pb.PruneRequest, pb.UsageRecord]) -> None:
        """Remove what nobody needs, and tell what was removed."""
        request = await stream.recv() or pb.PruneRequest()
        await self._pass("Prune", stream.ctx)
        removed = await asyncio.to_thread(usage.prune, self._options.store(), request, self._in_use)
        await stream.send_many(removed)

    async def listen_build_history(self, stream: ServerStream[pb.BuildHistoryRequest, pb.BuildHistoryEvent]) -> None:
        """Tell of the builds that are known, and unless an early end is asked for, of those that come."""
        request = await stream.recv() or pb.BuildHistoryRequest()
        told: dict[str, int] = {}
        while True:
            finished = {} if request.ActiveOnly else dict(self._finished)
            for job in [*finished.values(), *self._active.values()]:
                kind = pb.COMPLETE if job.completed is not None else pb.STARTED
                if request.Ref not in ("", job.id) or told.get(job.id) == kind:
                    continue
                told[job.id] = kind
                await stream.send(pb.BuildHistoryEvent(type=kind, record=_history(job)))
            for gone in [ref for ref in told if ref not in self._finished and ref not in self._active]:
                del told[gone]
                event = pb.BuildHistoryEvent(type=pb.DELETED)
                event.record.Ref = gone
                await stream.send(event)
            if request.EarlyExit:
                return
            await self._change(stream.ctx)

    async def update_build_history(
        self, ctx: Context, request: pb.UpdateBuildHistoryRequest
    ) -> pb.UpdateBuildHistoryResponse:
        """Forget a build."""
        if request.Ref not in self._finished:
            raise BuildkitError(f"failed to retrieve bucket for {request.Ref}")
        if request.Delete:
            del self._finished[request.Ref]
            self._broadcast()
        return pb.UpdateBuildHistoryResponse()


def _history(job: AnyJob) -> pb.BuildHistoryRecord:
    record = pb.BuildHistoryRecord(
        Ref=job.id,
        Frontend=job.request.Frontend,
        FrontendAttrs=job.request.FrontendAttrs,
        Exporters=job.request.Exporters,
        ExporterResponse=job.response,
    )
    record.CreatedAt.FromNanoseconds(job.started)
    if job.completed is not None:
        record.CompletedAt.FromNanoseconds(job.completed)
    if job.error is not None:
        status = to_status(job.error if isinstance(job.error, BuildkitError) else context.CanceledError())
        record.error.CopyFrom(status.status_proto())
    vertexes: dict[str, Vertex] = {vertex.digest: vertex for vertex in job.progress.vertexes()}
    record.numTotalSteps = len(vertexes)
    record.numCachedSteps = sum(vertex.cached for vertex in vertexes.values())
    record.numCompletedSteps = sum(vertex.completed is not None for vertex in vertexes.values())
    record.numWarnings = job.progress.warnings()
    return record
