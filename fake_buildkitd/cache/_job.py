"""The caches of one build: what is imported before its steps, and exported after.

Mirrors runCacheExporters and runInlineCacheExporter of solver/llbsolver/export.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_buildkitd.cache._collect import Output
from fake_buildkitd.cache._export import (
    CacheContext,
    CacheEntry,
    CacheExporter,
    export_cache,
    inline_records,
    resolve_exports,
)
from fake_buildkitd.cache._import import Imports
from fake_buildkitd.image import Compression, Layer
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.golang.errgroup import with_context
from pybuildkit.golang.errors import BuildkitError


class JobCaches:
    """The caches of one build.

    Args:
        source: the build.

    Raises:
        BuildkitError: an option that makes no sense. UnsupportedError: a cache that this daemon does not have.
    """

    def __init__(self, source: CacheContext, exports: Sequence[CacheEntry]) -> None:
        self._source = source
        self._exporters, self.inline = resolve_exports(exports)
        self.imports = Imports(source)

    async def export(self, ctx: Context, outputs: Sequence[Output]) -> dict[str, str]:
        """Export all caches, and give what the client is told of them.

        Raises:
            BuildkitError, OSError: one cannot be exported, and its errors are not to be ignored.
        """
        response: dict[str, str] = {}
        group, group_ctx = with_context(ctx)
        for index, exporter in enumerate(self._exporters):

            async def export(index: int = index, exporter: CacheExporter = exporter) -> None:
                response.update(await self._export(group_ctx, index, exporter, outputs))

            await group.go(export)
        await group.wait()
        return response

    async def _export(
        self, ctx: Context, index: int, exporter: CacheExporter, outputs: Sequence[Output]
    ) -> dict[str, str]:
        writer = self._source.writer(exporter.name, f"{self._source.session_id}-cache-{index}")
        done = writer.start()
        try:
            response = await export_cache(ctx, self._source, exporter, outputs, writer)
        except (BuildkitError, OSError) as err:
            done(err)
            if exporter.ignore_error and not ctx.is_done():
                return {}
            raise
        except BaseException:
            done(context.CanceledError())
            raise
        done(None)
        return response

    async def inline_records(
        self, ctx: Context, outputs: Mapping[str, Output], name: str, layers: Sequence[Layer]
    ) -> bytes | None:
        """The cache that the image of a platform is to carry; None where there is none."""
        output = outputs.get(name) or outputs.get("")
        if output is None:
            return None
        return await inline_records(ctx, self._source.store, Compression(), output, layers)
