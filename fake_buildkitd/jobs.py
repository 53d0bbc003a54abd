"""A build: from the request to its result and its exports.

Mirrors solver/llbsolver/solver.go and bridge.go, v0.32.2.

A build's result comes from a definition, from a frontend, or, where the request names neither, from the client
itself: it works through the gateway under the build's id and returns a result. Then every tree of the result is
made, and every exporter runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from fake_buildkitd.errors import UnsupportedError, with_definition_source
from fake_buildkitd.exporters import ExportContext, Exporter, resolve_exporter
from fake_buildkitd.frontend._bridge import Frontend, FrontendResult, Ref
from fake_buildkitd.policies import SourcePolicies
from fake_buildkitd.progress import Progress, VertexWriter
from fake_buildkitd.solver import Edge, Flights, JobSolver, Result, digest_of, load
from fake_buildkitd.sources import JobSources
from fake_buildkitd.store import Snapshot, Store, Tree
from fake_buildkitd.store._tree import PathError, clean
from pybuildkit.api.services.control import control_pb2
from pybuildkit.client._graph import Vertex as ClientVertex
from pybuildkit.client._graph import VertexWarning
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errgroup import with_context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.session import Manager
from pybuildkit.solver.pb import ATTR_OCI_LAYOUT_SESSION_ID, ATTR_OCI_LAYOUT_STORE_ID, platform_from_spec, spec
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.third_party import platforms
from pybuildkit.util import entitlements

if TYPE_CHECKING:
    from fake_buildkitd.attestations import Attestation
    from fake_buildkitd.cache._export import CacheEntry
    from fake_buildkitd.cache._job import JobCaches
    from fake_buildkitd.exporters._source import InlineCache
    from fake_buildkitd.image import Layer
    from pybuildkit.frontend.gateway.pb import gateway_pb2
    from pybuildkit.third_party.platforms import Platform


async def dockerfile_frontend(
    ctx: Context, bridge: Job, opts: Mapping[str, str], inputs: Mapping[str, pb.Definition]
) -> FrontendResult:
    """The frontend dockerfile.v0, imported when it is first used."""
    from fake_buildkitd.frontend.dockerfile import build

    return await build(ctx, bridge, opts, inputs)


def _begin_of_blob(store: Store, blob: bytes, length: int) -> bytes:
    with store.open_blob(blob) as file:
        return file.read(length)


@dataclass
class JobOptions:
    """What all builds of a daemon share."""

    store: Callable[[], Store]
    manager: Manager
    worker_id: str
    flights: Flights = field(default_factory=Flights)
    frontends: dict[str, Frontend] = field(default_factory=dict)
    clock: Callable[[], int] = time.time_ns


class JobRef:
    """The result of a definition in a build; solved when somebody asks for it, and once."""

    def __init__(self, job: Job, definition: pb.Definition) -> None:
        self.definition = definition
        self._job = job
        self._task: asyncio.Task[Snapshot | None] | None = None
        self._edge: Edge | None = None

    async def output(self, ctx: Context) -> tuple[Result, int] | None:
        """What is known of the vertex that made the tree, and which of its outputs the tree is."""
        await self.result(ctx)
        if self._edge is None:
            return None
        return await self._job.solver.result(ctx, self._edge), self._edge.index

    async def result(self, ctx: Context) -> Snapshot | None:
        """The tree, None for an empty one.

        Raises:
            BuildkitError: with the failed vertex and its source lines.
        """
        if self._task is None:
            self._task = self._job.start(self._solve())
        return await context.run(ctx, asyncio.shield(self._task))

    async def _solve(self) -> Snapshot | None:
        definition = await self._job.policies.apply(self._job.ctx, self.definition)
        try:
            self._edge = load(definition)
            return await self._job.solver.solve(self._job.ctx, self._edge)
        except BuildkitError as err:
            placed = with_definition_source(err, definition)
            raise placed from placed.__cause__


class Job:
    """One build; a Bridge for its frontend.

    Args:
        ctx: ends the build.
        request: what is to be built.
        options: the daemon's.
    """

    def __init__(self, ctx: Context, request: control_pb2.SolveRequest, options: JobOptions) -> None:
        self.ctx, self._cancel = context.with_cancel(ctx)
        self.id = request.Ref
        self.request = request
        self.session_id = request.Session
        self.progress = Progress(options.clock)
        self.started = options.clock()
        self.completed: int | None = None
        self.error: BaseException | None = None
        self.metadata: dict[str, str] = {}
        self.results: dict[str, Ref] = {}
        self._options = options
        self._solver: JobSolver | None = None
        self.sources = JobSources(options.store, options.manager, self.session_id)
        self._caches: JobCaches | None = None
        self._attest: dict[str, dict[str, str]] = {}
        self._frontend_used = ""
        policy = request.SourcePolicy if request.HasField("SourcePolicy") else None
        self.policies = SourcePolicies(options.manager, policy, request.SourcePolicySession, self.describe_source)
        self._tasks: set[asyncio.Task[Snapshot | None]] = set()
        self._returned: asyncio.Future[FrontendResult] | None = None

    @property
    def store(self) -> Store:
        """The daemon's store, opened when it is first used."""
        return self._options.store()

    @property
    def solver(self) -> JobSolver:
        """The build's solver."""
        if self._solver is None:
            options = self._options
            imports = self._caches.imports if self._caches is not None else None
            self._solver = JobSolver(
                self.store,
                self.progress,
                self.sources.by_scheme(),
                options.flights,
                options.worker_id,
                imports,
                self.session_id,
            )
        return self._solver

    def start(self, solve) -> asyncio.Task[Snapshot | None]:  # type: ignore[no-untyped-def]  # a coroutine
        """Run part of the build in a task that ends with the build."""
        task: asyncio.Task[Snapshot | None] = asyncio.ensure_future(solve)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    # The bridge.

    def ref(self, definition: pb.Definition) -> JobRef | None:
        """The result of a definition; None for an empty one."""
        return JobRef(self, definition) if getattr(definition, "def") else None

    def import_caches(self, entries: Sequence[CacheEntry]) -> None:
        """Let the graphs that follow look into caches from elsewhere, too."""
        if entries:
            self._use_caches([], entries)

    def _use_caches(self, exports: Sequence[CacheEntry], imports: Sequence[CacheEntry]) -> None:
        from fake_buildkitd.cache._export import CacheContext
        from fake_buildkitd.cache._job import JobCaches

        if self._caches is None:
            source = CacheContext(
                self.store, self._options.manager, self.session_id, lambda: self.sources.authorizer, self.writer
            )
            self._caches = JobCaches(source, exports)
        self._caches.imports.add(imports)
        if self._solver is not None:
            self._solver.imports = self._caches.imports

    async def read_file(self, ctx: Context, ref: Ref | None, name: str, length: int = -1) -> bytes:
        """The content of a file of a result; not more of it than `length` bytes, unless that is negative."""
        import errno

        path = name.encode("utf-8", "surrogateescape")
        snapshot = await ref.result(ctx) if ref is not None else None
        self.solver.assembly.read(snapshot)
        tree = Tree(snapshot.root if snapshot is not None else None)
        node = tree.stat(clean(path))
        if node is None:
            raise PathError("open", path, errno.ENOENT)
        if not node.is_regular():
            raise BuildkitError(f"{name} is not a regular file")
        return await asyncio.to_thread(_begin_of_blob, self.store, node.blob, length)

    def warn(self, warning: VertexWarning) -> None:
        """Add a warning to the build's statuses."""
        self.progress.write(self.progress.new_id(), warning)

    async def resolve_image(
        self,
        ctx: Context,
        ref: str,
        platform: Platform | None,
        log_name: str,
        layout: tuple[str, str] | None = None,
        *,
        judge: bool = True,
    ) -> tuple[str, bytes]:
        """The digest and the configuration of an image, found in a step of its own.

        Args:
            platform: None for the daemon's own.
            log_name: of the step; "" for the usual one.
            layout: session (empty for the build's) and store of an OCI layout; None for an image of a registry.
            judge: whether the build's policies have a say.

        Raises:
            BuildkitError: "failed to resolve source metadata for REF: …".
        """
        scheme = "docker-image" if layout is None else "oci-layout"
        if judge and self.policies.needed:
            ref = await self._judged(ctx, scheme, ref, platform)
        suffix = platforms.format_all(platform or platforms.default_spec())
        name = log_name or f"resolve image config for {scheme}://{ref}"
        done = self.writer(name, f"{scheme}://{ref}{suffix}").start()
        try:
            found = await self.sources.images.config(ctx, ref, platform, layout)
        except BuildkitError as err:
            done(err)
            raise wrap(err, f"failed to resolve source metadata for {ref}") from err
        except BaseException:
            done(context.CanceledError())
            raise
        done(None)
        return found

    async def _judged(self, ctx: Context, scheme: str, ref: str, platform: Platform | None) -> str:
        """The name of the image that the build's policies let be used for this one."""
        op = pb.Op(source=pb.SourceOp(identifier=f"{scheme}://{ref}"))
        if platform is not None:
            op.platform.CopyFrom(platform_from_spec(platform))
        try:
            await self.policies.evaluate(ctx, op)
        except BuildkitError as err:
            raise wrap(err, "could not resolve image due to policy") from err
        changed, _, name = op.source.identifier.partition("://")
        if changed != scheme:
            raise BuildkitError(f"could not resolve image due to policy: {op.source.identifier} is no {scheme}")
        return name

    async def describe_source(
        self, ctx: Context, request: gateway_pb2.ResolveSourceMetaRequest, *, judge: bool = False
    ) -> gateway_pb2.ResolveSourceMetaResponse:
        """What is known of a source: of an image its digest and configuration, of a file from the web its digest, name
        and time, of a repository the commit; of others no more than was asked.
        """
        from pybuildkit.frontend.gateway.pb import gateway_pb2

        response = gateway_pb2.ResolveSourceMetaResponse(Source=request.Source)
        scheme, _, name = request.Source.identifier.partition("://")
        if scheme in ("http", "https", "git"):
            return await self._describe_file(ctx, request, judge)
        if scheme not in ("docker-image", "oci-layout"):
            asked = request.LogName or f"resolve image config for {request.Source.identifier}"
            self.writer(asked, request.Source.identifier).start()(None)
            return response
        attrs = request.Source.attrs
        session = attrs.get(ATTR_OCI_LAYOUT_SESSION_ID, "")
        layout = (session, attrs.get(ATTR_OCI_LAYOUT_STORE_ID, "")) if scheme == "oci-layout" else None
        platform = spec(request.Platform) if request.HasField("Platform") else None
        digest, config = await self.resolve_image(ctx, name, platform, request.LogName, layout, judge=judge)
        response.Image.Digest, response.Image.Config = digest, config
        return response

    async def _describe_file(
        self, ctx: Context, request: gateway_pb2.ResolveSourceMetaRequest, judge: bool
    ) -> gateway_pb2.ResolveSourceMetaResponse:
        """What is known of a file from a web server or of a git repository, found in a step of its own."""
        from pybuildkit.frontend.gateway.pb import gateway_pb2

        op = pb.Op(source=request.Source)
        if judge and self.policies.needed:
            try:
                await self.policies.evaluate(ctx, op)
            except BuildkitError as err:
                raise wrap(err, "could not resolve image due to policy") from err
        response = gateway_pb2.ResolveSourceMetaResponse(Source=request.Source)
        name = request.LogName or f"resolve image config for {request.Source.identifier}"
        writer = self.writer(name, request.Source.identifier)
        done = writer.start()
        try:
            if op.source.identifier.startswith("git://"):
                git = await self.sources.repositories.describe(ctx, op.source, request.Git.ReturnObject, writer)
                response.Git.CopyFrom(git)
            else:
                wanted = request.HTTP.ChecksumRequest if request.HTTP.HasField("ChecksumRequest") else None
                response.HTTP.CopyFrom(await self.sources.files.describe(ctx, op.source, wanted))
        except BaseException as err:
            done(err if isinstance(err, BuildkitError | OSError) else context.CanceledError())
            raise
        done(None)
        return response

    def writer(self, name: str, identity: str) -> VertexWriter:
        """The statuses of a step that is no operation."""
        return VertexWriter(self.progress, ClientVertex(digest=digest_of(identity.encode()), name=name))

    async def frontend(
        self, ctx: Context, name: str, opts: Mapping[str, str], inputs: Mapping[str, pb.Definition]
    ) -> FrontendResult:
        """The result of a frontend.

        Raises:
            BuildkitError: there is no such frontend, or it fails.
        """
        opts = dict(opts)
        if name == "gateway.v0":
            source = opts.pop("source", "")
            if source != "dockerfile.v0" and not source.startswith("docker/dockerfile"):
                raise UnsupportedError(f"frontend {source}: this daemon cannot run images, use dockerfile.v0")
            name = "dockerfile.v0"
        self._frontend_used = name
        run = self._options.frontends.get(name)
        if run is None:
            raise BuildkitError(f"invalid frontend: {name}")
        return await run(ctx, self, opts, inputs)

    # The build.

    async def run(self, register: Callable[[Job], None], begin: Callable[[], None] = lambda: None) -> dict[str, str]:
        """Build and export.

        Args:
            register: makes the build known to the gateway.
            begin: called when the request has been found good.

        Returns:
            what the exporters tell the client.

        Raises:
            BuildkitError: what went wrong.
        """
        try:
            exporters = self._resolve()
            begin()
            result = await self._result(register)
            self.metadata = {key: value.decode("utf-8", "replace") for key, value in result.metadata.items()}
            return await self._finish(result, exporters)
        except BaseException as err:
            self.error = err
            raise
        finally:
            await self._close()

    def _resolve(self) -> list[Exporter]:
        request = self.request
        if not request.Exporters and request.ExporterDeprecated:
            request.Exporters.add(Type=request.ExporterDeprecated, Attrs=request.ExporterAttrsDeprecated)
        epoch = request.FrontendAttrs.get("build-arg:SOURCE_DATE_EPOCH", "")
        exporters: list[Exporter] = []
        for index, entry in enumerate(request.Exporters):
            attrs = dict(entry.Attrs)
            if epoch.lstrip("-").isdigit():
                attrs.setdefault("source-date-epoch", epoch)
            exporters.append(resolve_exporter(entry.Type, index, attrs))
        if any(key.startswith(("attest:", "build-arg:BUILDKIT_ATTEST_")) for key in request.FrontendAttrs):
            from fake_buildkitd.attestations import parse

            self._attest = parse(request.FrontendAttrs)
        if request.Cache.Exports or request.Cache.Imports:
            self._use_caches(request.Cache.Exports, request.Cache.Imports)
        entitlements.white_list(request.Entitlements, [])
        return exporters

    async def _result(self, register: Callable[[Job], None]) -> FrontendResult:
        request = self.request
        if request.HasField("Definition") and getattr(request.Definition, "def"):
            if request.Frontend:
                raise BuildkitError("cannot solve with Definition and Frontend specified")
            return FrontendResult(ref=self.ref(request.Definition))
        if request.Frontend:
            inputs = dict(request.FrontendInputs)
            return await self.frontend(self.ctx, request.Frontend, request.FrontendAttrs, inputs)
        if request.HasField("Definition"):
            return FrontendResult()
        self._returned = asyncio.get_running_loop().create_future()
        register(self)
        return await context.run(self.ctx, self._returned)

    def returned(self, result: FrontendResult | BaseException) -> None:
        """What the client, working through the gateway, gives as the build's result or error."""
        if self._returned is None or self._returned.done():
            raise BuildkitError("return already called")
        if isinstance(result, BaseException):
            self._returned.set_exception(result)
        else:
            self._returned.set_result(result)

    async def _finish(self, result: FrontendResult, exporters: list[Exporter]) -> dict[str, str]:
        group, ctx = with_context(self.ctx)
        for ref in result.all():

            async def evaluate(ref: Ref = ref) -> None:
                await ref.result(ctx)

            await group.go(evaluate)
        await group.wait()
        if "provenance" in self._attest:
            from fake_buildkitd.attestations import check_provenance

            check_provenance(self._attest["provenance"])
        wanted = self.request.EnableSessionExporter
        source = (
            ExportContext(
                self.store,
                self._options.manager,
                self.session_id,
                await result.ref.result(self.ctx) if result.ref is not None else None,
                await self._snapshots(result),
                result.metadata,
                lambda: self.sources.authorizer,
                self._inline_cache(result),
                await self._attestations(result),
                self.solver.assembly.read,
            )
            if exporters or wanted
            else None
        )
        if source is not None and wanted:
            exporters = [*exporters, *await self._session_exporters(source, result, len(exporters))]
        response: dict[str, str] = {}
        group, ctx = with_context(self.ctx)
        for index, exporter in enumerate(exporters):

            async def export(index: int = index, exporter: Exporter = exporter) -> None:
                assert source is not None
                response.update(await self._export(ctx, index, exporter, source))

            await group.go(export)
        await group.wait()
        if self._caches is not None:
            outputs = (await self._outputs(self.ctx, result)).values()
            response.update(await self._caches.export(self.ctx, list(outputs)))
        for key, value in result.metadata.items():
            if key.startswith("frontend."):
                response[key] = value.decode("utf-8", "replace")
        if source is not None and wanted:
            from pybuildkit.session.exporter import finalize_export

            await finalize_export(self.ctx, await source.caller(self.ctx), response)
        return response

    async def _session_exporters(self, source: ExportContext, result: FrontendResult, first: int) -> list[Exporter]:
        """The exporters that the session chooses, which may look at the result before."""
        from pybuildkit.session.exporter import find_exporters

        for ref in result.all():
            snapshot = await ref.result(self.ctx)
            if snapshot is not None:
                self.results[snapshot.id] = ref
        found = await find_exporters(self.ctx, await source.caller(self.ctx), result.metadata, list(self.results))
        return [resolve_exporter(each.Type, first + index, dict(each.Attrs)) for index, each in enumerate(found)]

    async def _outputs(self, ctx: Context, result: FrontendResult) -> dict[str, tuple[Result, int]]:
        """What made the trees of a result, by platform ("" for the only one)."""
        refs = result.refs if result.refs is not None else {"": result.ref}
        found = {name: await ref.output(ctx) for name, ref in refs.items() if isinstance(ref, JobRef)}
        return {name: output for name, output in found.items() if output is not None}

    async def _attestations(self, result: FrontendResult) -> dict[str, list[Attestation]]:
        """What is attested of a result, by platform."""
        if not result.attestations and not self._attest:
            return {}
        from fake_buildkitd import attestations as attest
        from fake_buildkitd.exporters._source import platforms_of

        found: dict[str, list[Attestation]] = {}
        for name, attested in result.attestations.items():
            for message, ref in attested:
                read_file, read_dir = partial(self.read_file, self.ctx, ref), partial(self._names, ref)
                found.setdefault(name, []).extend(await attest.read(message, read_file, read_dir))
        options = self._attest.get("provenance")
        if options is None:
            return found
        request = self.request
        attrs = dict(request.FrontendAttrs)
        frontend = request.Frontend or self._frontend_used
        info = attest.BuildInfo(self.id, frontend, attrs, self.started, self._options.clock())
        for platform in platforms_of(result.metadata, result.refs is not None):
            made = result.refs.get(platform.id) if result.refs is not None else result.ref
            definition = made.definition if made is not None else None
            found.setdefault(platform.id, []).append(attest.provenance(info, definition, options))
        return found

    async def _names(self, ref: Ref, path: str) -> list[str]:
        """The names of the files in a directory of a result."""
        snapshot = await ref.result(self.ctx)
        node = Tree(snapshot.root if snapshot is not None else None).stat(
            clean(path.encode("utf-8", "surrogateescape"))
        )
        return [name.decode("utf-8", "surrogateescape") for name in sorted(node.children or ())] if node else []

    def _inline_cache(self, result: FrontendResult) -> InlineCache | None:
        caches = self._caches
        if caches is None or not caches.inline:
            return None

        async def records(name: str, layers: Sequence[Layer]) -> bytes | None:
            return await caches.inline_records(self.ctx, await self._outputs(self.ctx, result), name, layers)

        return records

    async def _snapshots(self, result: FrontendResult) -> dict[str, Snapshot | None] | None:
        if result.refs is None:
            return None
        return {name: await ref.result(self.ctx) if ref is not None else None for name, ref in result.refs.items()}

    async def _export(self, ctx: Context, index: int, exporter: Exporter, source: ExportContext) -> dict[str, str]:
        writer = self.writer(exporter.name, f"{self.session_id}-export-{index}")
        done = writer.start()
        if index == 0:
            self._warn_of_platforms(writer, source)
        try:
            response = await exporter.export(ctx, source, writer)
        except BaseException as err:
            done(err if isinstance(err, BuildkitError | OSError) else context.CanceledError())
            raise
        done(None)
        return response

    def _warn_of_platforms(self, writer: VertexWriter, source: ExportContext) -> None:
        """Tell, as a warning of the first export, where the result is not what was asked for."""
        if not self.request.Frontend or "refs.platforms" not in source.metadata:
            return
        from fake_buildkitd.verifier import check_platforms

        for text in check_platforms(self.request.FrontendAttrs, source.metadata, source.snapshots is not None):
            warning = VertexWarning(vertex=writer.vertex.digest, short=text.encode("utf-8", "replace"))
            self.progress.write(self.progress.new_id(), warning)

    async def _close(self) -> None:
        self._cancel()
        if self._solver is not None:
            await self._solver.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._returned is not None:
            self._returned.cancel()
        self.completed = self.progress.clock()
        self.progress.close()
