"""The frontend dockerfile.v0.

Mirrors frontend/dockerfile/builder/build.go and frontend/dockerui/build.go, v0.32.2.

Differs on purpose: a `syntax` directive, or BUILDKIT_SYNTAX, does not fetch another frontend, this one answers; the
sub-request convertllb is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fake_buildkitd.frontend._bridge import Bridge, FrontendResult, Ref
from fake_buildkitd.frontend.dockerfile._convert import Converted, Converter, ConvertOpt, PathsFunc
from fake_buildkitd.frontend.dockerfile._dispatch import to_pb_ranges
from fake_buildkitd.frontend.dockerfile._dockerui import BuildFiles, BuildOptions
from fake_buildkitd.frontend.dockerfile._epoch import epoch_time
from fake_buildkitd.frontend.dockerfile._image import Image
from fake_buildkitd.frontend.dockerfile._linter import Rule, Warn, format_short
from fake_buildkitd.frontend.dockerfile._lintresult import LintResult
from fake_buildkitd.frontend.dockerfile._location import LocationError, Range
from fake_buildkitd.frontend.dockerfile._namedcontext import NamedContexts
from fake_buildkitd.frontend.dockerfile._state import NamedContext, StageState
from fake_buildkitd.frontend.dockerfile._subrequest import (
    LINT,
    OUTLINE,
    handle_subrequest,
    lint_answer,
    outline_answer,
)
from fake_buildkitd.image._spec import platform_json
from pybuildkit.client import llb
from pybuildkit.client._graph import VertexWarning
from pybuildkit.golang import json
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, find, wrap
from pybuildkit.rpc import Code
from pybuildkit.solver.errdefs import UnsupportedFrontendCapError, errdefs_pb2, with_source
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.third_party import platforms
from pybuildkit.third_party.platforms import Platform
from pybuildkit.util.grpcerrors import wrap_code

T = TypeVar("T")

KEY_IMAGE_CONFIG = "containerimage.config"
KEY_BASE_CONFIG = "containerimage.base.config"
KEY_PLATFORMS = "refs.platforms"
KEY_EPOCH = "source.date.epoch"
_CAPS = frozenset(f"moby.buildkit.frontend.{name}" for name in ("inputs", "subrequests", "contexts", "gitquerystring"))


async def build(
    ctx: Context, bridge: Bridge, opts: Mapping[str, str], inputs: Mapping[str, pb.Definition]
) -> FrontendResult:
    """Build a Dockerfile.

    Raises:
        BuildkitError: with the lines of the Dockerfile, where the fault lies in it.
    """
    options = BuildOptions(opts)
    refused = _check_caps(opts.get("frontend.caps", ""))
    files = BuildFiles(bridge, options, inputs)
    data = await files.read_dockerfile(ctx)
    if refused is not None:
        raise refused
    text = data.decode("utf-8", "surrogateescape")
    builder = _Builder(ctx, bridge, options, files, text, inputs)
    request = opts.get("requestid")
    if request == LINT:
        return await builder.lint()
    if request == OUTLINE:
        return outline_answer(await builder.target(), data)
    if request is not None:
        return handle_subrequest(request, data, text)
    try:
        return await builder.run()
    except BuildkitError as err:
        placed = _with_sources(err, files.source_map)
        raise placed from placed.__cause__


def _check_caps(wanted: str) -> BuildkitError | None:
    """Refuse what no frontend of this daemon can; gives the refusal where another frontend could be asked first.

    Raises:
        UnsupportedFrontendCapError: at least one is asked of this frontend.
    """
    refused: BuildkitError | None = None
    for cap in filter(None, wanted.split(",")):
        name = cap.partition("+")[0]
        if name in _CAPS:
            continue
        err = UnsupportedFrontendCapError(None, errdefs_pb2.FrontendCap(name=name))
        refused = wrap_code(err, Code.UNIMPLEMENTED)
        if "+forward" not in cap:
            raise refused
    return refused


def _with_sources(err: BuildkitError, source_map: llb.SourceMap | None) -> BuildkitError:
    located = find(err, LocationError)
    if located is None or source_map is None:
        return err
    info = _source_info(source_map)
    for location in located.locations:
        err = with_source(err, errdefs_pb2.Source(info=info, ranges=to_pb_ranges(location)))
    return err


def _source_info(source_map: llb.SourceMap) -> pb.SourceInfo:
    info = pb.SourceInfo(data=source_map.data, filename=source_map.filename, language=source_map.language)
    if source_map.definition is not None:
        info.definition.CopyFrom(source_map.definition.to_pb())
    return info


@dataclass(frozen=True)
class _Replacement:
    """A named context, loaded when it is needed."""

    load: Callable[[], tuple[llb.State, Image | None]]


class _Builder:
    def __init__(
        self,
        ctx: Context,
        bridge: Bridge,
        options: BuildOptions,
        files: BuildFiles,
        text: str,
        inputs: Mapping[str, pb.Definition],
    ) -> None:
        self.ctx = ctx
        self.bridge = bridge
        self.options = options
        self.files = files
        self.text = text
        self.loop = asyncio.get_running_loop()
        self.contexts = NamedContexts(ctx, bridge, options.opts, inputs)
        self.pending: list[Callable[[], None]] = []

    async def run(self) -> FrontendResult:
        result = FrontendResult(refs={} if self.options.multi_platform else None)
        exported: list[dict[str, object]] = []
        targets: list[Platform | None] = list(self.options.platforms) or [None]
        for number, target in enumerate(targets):
            converted = await self._convert(self._options(self._warn() if number == 0 else None, target=target))
            await self._add(result, exported, target, converted)
        result.metadata[KEY_PLATFORMS] = json.marshal({"Platforms": exported}).encode()
        return result

    async def lint(self) -> FrontendResult:
        """What the checks say of the target, or of all stages where none is named, instead of a build."""
        assert self.files.source_map is not None
        result = LintResult(_source_info(self.files.source_map))
        try:
            await self._convert(self._options(result.add, all_stages=not self.options.target))
        except BuildkitError as err:
            result.error = err
        return lint_answer(result)

    async def target(self) -> StageState:
        """The stage to build, with all that is known of it."""
        return (await self._convert(self._options(self._warn()))).target

    def _options(self, warn: Warn | None, *, target: Platform | None = None, all_stages: bool = False) -> ConvertOpt:
        return ConvertOpt(
            build_args=self.options.build_args,
            labels=self.options.labels,
            target=self.options.target,
            no_cache=self.options.is_no_cache,
            target_platform=target,
            multi_platform=self.options.multi_platform,
            source_map=self.files.source_map,
            main_context=self.files.main_context,
            resolve_image=self._resolve_image,
            named_context=self._named_context,
            epoch=lambda state, name: self._from_thread(epoch_time(self.ctx, self.bridge, state, name)),
            warn=warn,
            lint_config=self.options.lint_config,
            all_stages=all_stages,
        )

    async def _convert(self, opt: ConvertOpt) -> Converted:
        converter = await self._in_thread(lambda: _prepared(self.text, opt))
        ignored = await self.files.ignore_patterns(self.ctx)
        return await self._in_thread(lambda: converter.finish(ignored))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run a step of the conversion beside the loop, and show what it had to tell."""
        try:
            return await asyncio.to_thread(work)
        finally:
            pending, self.pending = self.pending, []
            for show in pending:
                show()

    async def _add(
        self,
        result: FrontendResult,
        exported: list[dict[str, object]],
        target: Platform | None,
        converted: Converted,
    ) -> None:
        try:
            definition = await converted.state.marshal(self.ctx)
        except BuildkitError as err:
            raise wrap(err, "failed to marshal LLB definition") from err
        self.bridge.import_caches(self.options.cache_imports)
        ref: Ref | None = self.bridge.ref(definition.to_pb())
        platform = platforms.normalize(target or platforms.default_spec())
        name = platforms.format_all(platform)
        suffix = ""
        if result.refs is not None:
            result.refs[name] = ref
            suffix = f"/{name}"
        else:
            result.ref = ref
        result.metadata[KEY_IMAGE_CONFIG + suffix] = converted.image.to_json().encode("utf-8", "surrogateescape")
        if converted.target.base_config is not None:
            result.metadata[KEY_BASE_CONFIG + suffix] = converted.target.base_config
        if converted.epoch is not None:
            result.metadata[KEY_EPOCH + suffix] = str(converted.epoch).encode()
        exported.append({"ID": name, "Platform": platform_json(platform)})

    def _resolve_image(self, ref: str, platform: Platform, log_name: str) -> tuple[str, bytes]:
        return self._from_thread(self.bridge.resolve_image(self.ctx, ref, platform, log_name))

    def _named_context(self, name: str, platform: Platform | None, paths: PathsFunc) -> NamedContext | None:
        if self.contexts.find(name, platform) is None:
            return None
        return _Replacement(lambda: self._from_thread(self.contexts.load(name, platform, paths)))

    def _from_thread(self, work: Coroutine[object, object, T]) -> T:
        """The result of what the loop does, waited for in the conversion's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def _warn(self) -> Warn:
        source_map = self.files.source_map
        info = _source_info(source_map) if source_map is not None else None

        def warn(rule: Rule, message: str, location: Sequence[Range]) -> None:
            line = location[0].start if location else 0
            warning = VertexWarning(
                vertex=self.files.head,
                level=1,
                short=format_short(rule.name, message, line).encode("utf-8", "replace"),
                detail=[rule.description.encode()],
                url=rule.url,
                source_info=info,
                range=to_pb_ranges(location),
            )
            self.pending.append(lambda: self.bridge.warn(warning))

        return warn


def _prepared(text: str, opt: ConvertOpt) -> Converter:
    converter = Converter(text, opt)
    converter.prepare()
    return converter
