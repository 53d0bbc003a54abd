"""The exporters `local` and `tar`.

Mirrors exporter/local (export.go, fs.go) and exporter/tar, v0.32.2.

With several platforms each one's tree goes into a folder of its name (`linux_amd64`), unless `platform-split=false`
joins them. `mode=delete` sends all platforms in one transfer, so that the client may delete what is not in it.
"""

from __future__ import annotations

import hashlib
import posixpath
import stat as st
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fake_buildkitd.exporters._source import ExportContext, ExportError, parse_epoch
from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.store import walk
from fake_buildkitd.store._fs import TreeFS
from pybuildkit.client._solveopt import parse_local_exporter_mode
from pybuildkit.golang import json
from pybuildkit.golang.context import Context
from pybuildkit.golang.errgroup import with_context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_bool
from pybuildkit.session.filesync import copy_file_writer, copy_to_caller
from pybuildkit.third_party import fsutil

if TYPE_CHECKING:
    from fake_buildkitd.attestations import Attestation


class _TreeExporter:
    def __init__(self, index: int, attrs: Mapping[str, str]) -> None:
        self.index = index
        self._epoch: int | None = None
        self._has_epoch = "source-date-epoch" in attrs
        if self._has_epoch:
            self._epoch = parse_epoch("source-date-epoch", attrs["source-date-epoch"])
        self._split: bool | None = None
        if "platform-split" in attrs:
            try:
                self._split = parse_bool(attrs["platform-split"])
            except BuildkitError as err:
                raise wrap(err, f"non-bool value for platform-split: {attrs['platform-split']}") from err
        self.mode = parse_local_exporter_mode(attrs.get("mode", ""))
        self._prefix = attrs.get("attestation-prefix", "")

    def split(self, source: ExportContext) -> bool:
        """Whether each platform gets a folder of its own."""
        return source.snapshots is not None if self._split is None else self._split

    def names(self, source: ExportContext) -> list[str]:
        """The names of the trees, "" for a single one that gets no folder."""
        return source.platforms() or [source.image_platforms()[0].id if self.split(source) else ""]

    def fs(self, source: ExportContext, name: str) -> tuple[fsutil.FS, int | None]:
        """The tree of a platform, and the time of its files where one is given."""
        epoch = self._epoch if self._has_epoch else source.epoch(name)

        def change(stat: fsutil.Stat) -> None:
            if epoch is not None:
                stat.mod_time = epoch * 1_000_000_000

        snapshot, _ = source.find(name)
        if snapshot is not None:
            source.read(snapshot)
        fs: fsutil.FS = TreeFS(source.store, source.root(name), change)
        attested = source.attestations.get(name or source.image_platforms()[0].id) if source.attestations else None
        return (self._attested(source, name, fs, attested, epoch) if attested else fs), epoch

    def _attested(
        self, source: ExportContext, name: str, fs: fsutil.FS, attested: Sequence[Attestation], epoch: int | None
    ) -> fsutil.FS:
        """A tree with a file for each thing that is attested of it."""
        subjects: list[dict[str, object]] = []
        for path, node in walk(source.root(name)):
            if node.is_regular():
                digits = (node.blob or hashlib.sha256().digest()).hex()
                subjects.append({"name": path.decode("utf-8", "replace"), "digest": {"sha256": digits}})
        added = fsutil.StaticFS()
        names: set[str] = set()
        for each in attested:
            data = json.marshal_indent(each.statement(subjects), "", "  ").encode()
            file = self._prefix + posixpath.basename(each.path)
            if source.snapshots is not None and not self.split(source):
                stem, extension = posixpath.splitext(file)
                file = f"{stem}.{name.replace('/', '_')}{extension}"
            if file in names:
                raise ExportError(f"duplicate attestation path name {file}")
            names.add(file)
            mtime = epoch * 1_000_000_000 if epoch is not None else source.store.clock()
            added.add(file, fsutil.Stat(mode=0o600, mod_time=mtime), data)
        return fsutil.MergeFS(fs, added)

    @staticmethod
    def folder(name: str, epoch: int | None) -> fsutil.Stat:
        """The folder of a platform."""
        mode = fsutil.go_mode(st.S_IFDIR | 0o755)
        path = name.replace("/", "_").encode("utf-8", "surrogateescape")
        return fsutil.Stat(path, mode, mod_time=(epoch or 0) * 1_000_000_000)


class LocalExporter(_TreeExporter):
    """Sends trees to a client's directory."""

    name = "exporting to client directory"

    async def export(self, ctx: Context, source: ExportContext, writer: VertexWriter) -> dict[str, str]:
        names = self.names(source)
        caller = await source.caller(ctx)
        split = self.split(source)
        if not split:
            _check_duplicates(source, names)
        if self.mode == "delete":
            fs = self._joined(source, names, split)
            report = writer.transfer("copying files")
            await copy_to_caller(ctx, fs, self.index, caller, report, multi_platform=True)
            return {}
        group, group_ctx = with_context(ctx)
        for name in names:

            async def send(name: str = name) -> None:
                fs, epoch = self.fs(source, name)
                label = "copying files"
                if split:
                    label += f" {name}"
                    fs = fsutil.SubDirFS([fsutil.Dir(self.folder(name, epoch), fs)])
                await copy_to_caller(group_ctx, fs, self.index, caller, writer.transfer(label))

            await group.go(send)
        await group.wait()
        return {}

    def _joined(self, source: ExportContext, names: list[str], split: bool) -> fsutil.FS:
        trees = [(name, *self.fs(source, name)) for name in names]
        if split:
            return fsutil.SubDirFS([fsutil.Dir(self.folder(name, epoch), fs) for name, fs, epoch in trees])
        joined: fsutil.FS = trees[0][1]
        for _, fs, _ in trees[1:]:
            joined = fsutil.MergeFS(joined, fs)
        return joined


def _check_duplicates(source: ExportContext, names: list[str]) -> None:
    """Refuse two platforms with a file of the same name in one folder."""
    seen: dict[bytes, str] = {}
    for name in names:
        for path, node in walk(source.root(name)):
            if node.is_dir():
                continue
            if path in seen:
                shown = path.decode("utf-8", "replace")
                raise ExportError(
                    f"cannot overwrite {shown} from {seen[path]} with {name} when split option is disabled"
                )
            seen[path] = name


class TarExporter(_TreeExporter):
    """Sends a tar stream to a client's file."""

    name = "exporting to client tarball"

    async def export(self, ctx: Context, source: ExportContext, writer: VertexWriter) -> dict[str, str]:
        names = self.names(source)
        trees = [(name, *self.fs(source, name)) for name in names]
        fs: fsutil.FS = trees[0][1]
        if source.snapshots is not None:
            fs = fsutil.SubDirFS([fsutil.Dir(self.folder(name, epoch), tree) for name, tree, epoch in trees])
        caller = await source.caller(ctx)
        file = await copy_file_writer(ctx, {}, self.index, caller)
        done = writer.one_off("sending tarball")
        try:
            await fsutil.write_tar(ctx, fs, file)
            await file.close()
        except BaseException:
            file.abort()
            raise
        done()
        return {}
