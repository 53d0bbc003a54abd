"""The options of a Dockerfile build, its Dockerfile, its ignore file and its context.

Mirrors frontend/dockerui (config.go, context.go), v0.32.2.

A context may be a local source, an input, a git repository, or what a web server or the client's session gives: an
archive, or a Dockerfile that is the only file of its own context.
"""

from __future__ import annotations

import asyncio
import io
import posixpath
import tarfile
from collections.abc import Mapping, Sequence

from fake_buildkitd.frontend._bridge import Bridge, Ref
from fake_buildkitd.frontend.dockerfile._gitref import git_context
from fake_buildkitd.frontend.dockerfile._linter import LintConfig, parse_lint_options
from fake_buildkitd.frontend.dockerfile._options import (
    OptionError,
    cache_imports,
    check_removed,
    check_run_options,
    parse_platforms,
)
from fake_buildkitd.frontend.dockerfile._text import SPACE, clean
from pybuildkit.client import llb
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_bool
from pybuildkit.solver.pb import ops_pb2 as pb

IGNORE_FILE = ".dockerignore"
CONTEXT_FILE = "context"
"""The name of what a web address gives."""

_ARCHIVES = (b"BZh", b"\x1f\x8b\x08", b"\xfd7zXZ\x00")
_HEAD = 1024


def read_ignore_file(text: str) -> list[str]:
    """The patterns of an ignore file, one a line: cleaned, comments and empty lines left out."""
    patterns: list[str] = []
    for number, line in enumerate(text.split("\n")):
        line = line.removesuffix("\r")
        if number == 0:
            line = line.removeprefix("\ufeff")
        if line.startswith("#"):
            continue
        pattern = line.strip(SPACE)
        if not pattern:
            continue
        inverted = pattern.startswith("!")
        if inverted:
            pattern = pattern[1:].strip(SPACE)
        if pattern:
            pattern = clean(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix("/")
        patterns.append(("!" if inverted else "") + pattern)
    return patterns


class BuildOptions:
    """The build's options, as BuildKit's Dockerfile frontend reads them.

    Raises:
        BuildkitError: an option that cannot be read, or that this daemon cannot follow.
    """

    def __init__(self, opts: Mapping[str, str]) -> None:
        check_removed(opts)
        self.opts = dict(opts)
        self.platforms = parse_platforms(opts.get("platform", ""))
        check_run_options(opts)
        self.no_cache = self._no_cache()
        self.multi_platform = self._multi_platform()
        self.cache_imports = cache_imports(opts)
        _check_attestations(opts)
        self.build_args = self._prefixed("build-arg:")
        self.labels = self._prefixed("label:")
        self.target = self.opts.get("target", "")
        self.filename = self.opts.get("filename", "Dockerfile")
        self.dockerfile_key = self.opts.get("dockerfilekey", "dockerfile")
        self.context_key = "context"
        self.force_dockerfile = "dockerfilekey" in self.opts
        self.lint_config = self._lint_config()
        self.address = self.opts.get(self.opts.get("contextkey", "context"), "")

    def _prefixed(self, prefix: str) -> dict[str, str]:
        return {key.removeprefix(prefix): value for key, value in self.opts.items() if key.startswith(prefix)}

    def _multi_platform(self) -> bool:
        several = len(self.platforms) > 1
        value = self.opts.get("build-arg:BUILDKIT_MULTI_PLATFORM") or self.opts.get("multi-platform", "")
        if not value:
            return several
        try:
            wanted = parse_bool(value)
        except BuildkitError as err:
            raise OptionError(f"invalid boolean value for multi-platform: {value}") from err
        if several and not wanted:
            raise OptionError("conflicting config: returning multiple target platforms is not allowed")
        return wanted

    def _no_cache(self) -> list[str] | None:
        value = self.opts.get("no-cache")
        if value is None:
            return None
        return value.split(",") if value else []

    def _lint_config(self) -> LintConfig | None:
        value = self.opts.get("build-arg:BUILDKIT_DOCKERFILE_CHECK")
        if value is None:
            return None
        try:
            return parse_lint_options(value)
        except BuildkitError as err:
            raise wrap(err, "failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK") from err

    @property
    def keep_git_dir(self) -> bool:
        """Whether a context keeps its `.git` directory."""
        try:
            return parse_bool(self.opts.get("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR", ""))
        except BuildkitError:
            return False

    def is_no_cache(self, stage: str) -> bool:
        """Whether the steps of a stage must run again."""
        if not self.no_cache:
            return self.no_cache is not None
        return any(name.lower() == stage.lower() for name in self.no_cache)


def _check_attestations(opts: Mapping[str, str]) -> None:
    """Refuse attestations of an unknown kind; provenance is the daemon's own business."""
    wanted = {
        key: value
        for key, value in opts.items()
        if key.startswith(("attest:", "build-arg:BUILDKIT_ATTEST_")) and not key.lower().endswith("provenance")
    }
    if wanted:
        from fake_buildkitd import attestations

        attestations.parse(wanted)


class BuildFiles:
    """The files that a Dockerfile build starts from.

    Args:
        bridge: the daemon.
        options: the build's.
        inputs: graphs that stand for the Dockerfile's place or for the context.
    """

    def __init__(self, bridge: Bridge, options: BuildOptions, inputs: Mapping[str, pb.Definition]) -> None:
        self._bridge = bridge
        self._options = options
        self._inputs = inputs
        self._ignore: bytes | None = None
        self._ignore_name = ""
        self._remote: llb.State | None = None
        self.source_map: llb.SourceMap | None = None
        self.head = ""

    def _session(self, name: str) -> str:
        return self._options.opts.get(f"local-sessionid:{name}", self._bridge.session_id)

    async def read_dockerfile(self, ctx: Context) -> bytes:
        """The Dockerfile; notes its source map, and its own ignore file where there is one.

        Raises:
            BuildkitError: "failed to read dockerfile: …".
        """
        filename = await self._find_context(ctx)
        state = self._dockerfile_state(filename)
        definition = await state.marshal(ctx)
        message = definition.to_pb()
        ref = self._bridge.ref(message)
        self.head = definition.head() or ""
        try:
            data = await self._read_either_case(ctx, ref, filename)
        except BuildkitError as err:
            raise wrap(err, "failed to read dockerfile") from err
        self.source_map = llb.new_source_map(state, filename, "Dockerfile", data)
        self.source_map.definition = definition
        try:
            self._ignore = await self._bridge.read_file(ctx, ref, filename + IGNORE_FILE)
            self._ignore_name = filename + IGNORE_FILE
        except BuildkitError:
            self._ignore = None
        return data

    async def _find_context(self, ctx: Context) -> str:
        """Look where the context is; the name of the Dockerfile."""
        options = self._options
        mtime = [llb.git_mtime_commit()] if options.opts.get("build-arg:SOURCE_DATE_EPOCH") else []
        git = await asyncio.to_thread(git_context, options.address, options.keep_git_dir, mtime)
        if git is not None:
            self._remote = git
        elif options.address.startswith(("http://", "https://")):
            name = llb.with_custom_name("[internal] load remote build context")
            self._remote = llb.http(options.address, llb.filename(CONTEXT_FILE), name)
            ref = self._bridge.ref((await self._remote.marshal(ctx)).to_pb())
            try:
                head = await self._bridge.read_file(ctx, ref, CONTEXT_FILE, _HEAD)
            except BuildkitError as err:
                raise wrap(err, "failed to read downloaded context") from err
            if not is_archive(head):
                return CONTEXT_FILE
            info = llb.CopyInfo(attempt_unpack=True)
            self._remote = llb.scratch().file(llb.copy(self._remote, f"/{CONTEXT_FILE}", "/", info))
        return options.filename

    def _dockerfile_state(self, filename: str) -> llb.State:
        options = self._options
        if self._remote is not None and not options.force_dockerfile:
            return self._remote
        if options.dockerfile_key in self._inputs and not options.force_dockerfile:
            return llb.new_state(llb.new_definition_op(self._inputs[options.dockerfile_key]))
        names = [filename, filename + IGNORE_FILE]
        if posixpath.basename(filename) == "Dockerfile":
            names.append(posixpath.join(posixpath.dirname(filename), "dockerfile"))
        return llb.local(
            options.dockerfile_key,
            llb.follow_paths(names),
            llb.session_id(self._session(options.dockerfile_key)),
            llb.shared_key_hint(options.dockerfile_key),
            llb.with_custom_name(f"[internal] load build definition from {filename}"),
            llb.differ(llb.DIFF_NONE, False),
        )

    async def _read_either_case(self, ctx: Context, ref: Ref | None, filename: str) -> bytes:
        try:
            return await self._bridge.read_file(ctx, ref, filename)
        except BuildkitError:
            if posixpath.basename(filename) != "Dockerfile":
                raise
            try:
                lower = posixpath.join(posixpath.dirname(filename), "dockerfile")
                return await self._bridge.read_file(ctx, ref, lower)
            except BuildkitError:
                pass
            raise

    async def ignore_patterns(self, ctx: Context) -> list[str]:
        """What the context leaves out; none where the context is an input or not local."""
        if self._remote is not None or self._options.context_key in self._inputs:
            return []
        if self._ignore is None:
            name = self._options.context_key
            state = llb.local(
                name,
                llb.session_id(self._session(name)),
                llb.follow_paths([IGNORE_FILE]),
                llb.shared_key_hint(f"{name}-{IGNORE_FILE}"),
                llb.with_custom_name(f"[internal] load {IGNORE_FILE}"),
                llb.differ(llb.DIFF_NONE, False),
            )
            ref = self._bridge.ref((await state.marshal(ctx)).to_pb())
            if ref is not None:
                await ref.result(ctx)
            try:
                self._ignore = await self._bridge.read_file(ctx, ref, IGNORE_FILE)
            except BuildkitError:
                self._ignore = b""
        return read_ignore_file(self._ignore.decode("utf-8", "surrogateescape"))

    def main_context(self, ignored: Sequence[str], paths: Sequence[str]) -> llb.State:
        """The context's state."""
        name = self._options.context_key
        if self._remote is not None:
            return _subdirectory(self._remote, self._options.opts.get("contextsubdir"))
        if name in self._inputs:
            state = llb.new_state(llb.new_definition_op(self._inputs[name]))
            return _subdirectory(state, self._options.opts.get("contextsubdir"))
        options: list[llb.LocalOption] = [
            llb.session_id(self._session(name)),
            llb.exclude_patterns(list(ignored)),
            llb.shared_key_hint(name),
            llb.with_custom_name("[internal] load build context"),
        ]
        if paths:
            options.append(llb.follow_paths(list(paths)))
        return llb.local(name, *options)


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so is an archive, perhaps a compressed one."""
    if head.startswith(_ARCHIVES):
        return True
    try:
        with tarfile.open(fileobj=io.BytesIO(head), mode="r:") as archive:
            return getattr(archive, "firstmember", None) is not None
    except (tarfile.TarError, EOFError):
        return False


def _subdirectory(state: llb.State, path: str | None) -> llb.State:
    """A directory of a tree as a tree of its own; the tree where none is named."""
    if path is None:
        return state
    return llb.scratch().file(llb.copy(state, path, "/", llb.CopyInfo(copy_dir_contents_only=True)))
