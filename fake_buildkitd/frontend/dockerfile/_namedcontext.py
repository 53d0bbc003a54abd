"""Build contexts by name: `--opt context:NAME=…` puts them in the place of images and stages.

Mirrors frontend/dockerui/namedcontext.go, v0.32.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from fake_buildkitd.frontend._bridge import Bridge
from fake_buildkitd.frontend.dockerfile._dockerui import CONTEXT_FILE, IGNORE_FILE, read_ignore_file
from fake_buildkitd.frontend.dockerfile._gitref import git_context
from fake_buildkitd.frontend.dockerfile._image import Image, read_image
from pybuildkit.client import llb
from pybuildkit.golang import json
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.golang.url import redacted
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.third_party import platforms
from pybuildkit.third_party.distribution import reference
from pybuildkit.third_party.platforms import Platform

_PREFIX = "context:"
_CONFIG = "containerimage.config"

Loaded = tuple[llb.State, Image | None]


class _LateOutput:
    """The tree of a state that is made when it is first asked for, and once."""

    def __init__(self, make: Callable[[], llb.State]) -> None:
        self._make = make
        self._made: llb.State | None = None

    def _output(self) -> llb.Output:
        if self._made is None:
            self._made = self._make()
        output = self._made.output()
        assert output is not None
        return output

    def to_input(self, constraints: llb.Constraints) -> llb.Input | None:
        return self._output().to_input(constraints)

    def vertex(self, constraints: llb.Constraints) -> llb.Vertex | None:
        return self._output().vertex(constraints)


class NamedContexts:
    """The named contexts of a build.

    Args:
        ctx: the build's.
        bridge: the daemon.
        opts: the build's options.
        inputs: graphs that a context may name.
    """

    def __init__(
        self, ctx: Context, bridge: Bridge, opts: Mapping[str, str], inputs: Mapping[str, pb.Definition]
    ) -> None:
        self._ctx = ctx
        self._bridge = bridge
        self._opts = opts
        self._inputs = inputs

    def find(self, name: str, platform: Platform | None) -> tuple[str, str] | None:
        """The name of a context with its platform, and what the option says of it; None where there is none.

        Raises:
            BuildkitError: "invalid context name NAME: …".
        """
        try:
            named = reference.parse_normalized_named(name)
        except BuildkitError as err:
            raise wrap(err, f"invalid context name {name}") from err
        short = str(named.familiar()).removesuffix(":latest")
        wanted = platforms.format_all(platforms.normalize(platform or platforms.default_spec()))
        for key in (f"{short}::{wanted}", short):
            if _PREFIX + key in self._opts:
                return key, self._opts[_PREFIX + key]
        return None

    async def load(self, name: str, platform: Platform | None, paths: Callable[[], Sequence[str]]) -> Loaded:
        """The tree of a context, and its configuration where it is an image.

        Args:
            paths: called when the graph is marshalled: what is read of a local context (none: everything).

        Raises:
            BuildkitError: the option cannot be followed.
        """
        found = self.find(name, platform)
        assert found is not None
        key, value = found
        kind, colon, rest = value.partition(":")
        if not colon:
            raise BuildkitError(f"invalid context specifier {value} for {key}")
        if kind == "docker-image":
            return await self._image(key, rest.removeprefix("//"), platform)
        if kind == "oci-layout":
            return await self._layout(key.partition("::")[0], key, rest.removeprefix("//"), platform)
        if kind == "local":
            return await self._local(key, rest, paths), None
        if kind == "input":
            return self._input(key, rest)
        if kind in ("git", "http", "https") or kind.startswith("git@"):
            return await self._remote(key, value, kind), None
        raise BuildkitError(f"unsupported context source {kind} for {key}")

    async def _remote(self, key: str, address: str, kind: str) -> llb.State:
        git = await asyncio.to_thread(git_context, address)
        if git is not None:
            return git
        if kind not in ("http", "https"):
            raise BuildkitError(f"invalid git context {address}")
        name = llb.with_custom_name(f"[context {key}] {redacted(address)}")
        return llb.http(address, llb.filename(CONTEXT_FILE), name)

    async def _image(self, key: str, ref: str, platform: Platform | None) -> Loaded:
        if ref == "scratch":
            return llb.scratch(), None
        named = str(reference.tag_name_only(reference.parse_normalized_named(ref)))
        log = f"[context {key}] load metadata for {ref}"
        digest, config = await self._bridge.resolve_image(self._ctx, named, platform, log)
        pinned = str(reference.with_digest(reference.parse(named), digest))
        options: list[llb.ImageOption] = [llb.with_custom_name(f"[context {key}] {ref}")]
        if platform is not None:
            options.append(llb.platform(platform))
        return llb.image(pinned, *options).with_image_config(config), read_image(config)

    async def _layout(self, name: str, key: str, spec: str, platform: Platform | None) -> Loaded:
        try:
            named = reference.parse(spec)
        except BuildkitError as err:
            raise wrap(err, f"could not parse oci-layout reference {quote(spec)}") from err
        if not named.digest:
            raise BuildkitError(f"oci-layout reference {quote(str(named))} has no digest")
        shown = str(reference.with_digest(reference.parse_normalized_named(name), named.digest))
        log = f"[context {key}] load metadata for {shown}"
        layout = (self._bridge.session_id, named.name())
        _, config = await self._bridge.resolve_image(self._ctx, shown, platform, log, layout)
        options: list[llb.OCILayoutOption] = [
            llb.with_custom_name(f"[context {key}] OCI load from client"),
            llb.oci_store(self._bridge.session_id, named.name()),
        ]
        if platform is not None:
            options.append(llb.platform(platform))
        return llb.oci_layout(shown, *options).with_image_config(config), read_image(config)

    async def _local(self, key: str, name: str, paths: Callable[[], Sequence[str]]) -> llb.State:
        session = self._opts.get(f"local-sessionid:{name}", self._bridge.session_id)
        ignore = llb.local(
            name,
            llb.session_id(session),
            llb.follow_paths([IGNORE_FILE]),
            llb.shared_key_hint(f"context:{key}-{IGNORE_FILE}"),
            llb.with_custom_name(f"[context {key}] load {IGNORE_FILE}"),
            llb.differ(llb.DIFF_NONE, False),
        )
        ref = self._bridge.ref((await ignore.marshal(self._ctx)).to_pb())
        if ref is not None:
            await ref.result(self._ctx)
        try:
            text = await self._bridge.read_file(self._ctx, ref, IGNORE_FILE)
        except BuildkitError:
            text = b""
        options: list[llb.LocalOption] = [
            llb.with_custom_name(f"[context {key}] load from client"),
            llb.session_id(session),
            llb.shared_key_hint(f"context:{key}-{self._opts.get(f'sharedkey:localdir:{key}', '')}"),
            llb.exclude_patterns(read_ignore_file(text.decode("utf-8", "surrogateescape"))),
        ]

        def make() -> llb.State:
            needed = paths()
            return llb.local(name, *options, *([llb.follow_paths(list(needed))] if needed else []))

        return llb.new_state(_LateOutput(make))

    def _input(self, key: str, name: str) -> Loaded:
        if name not in self._inputs:
            raise BuildkitError(f"invalid input {name} for {key}")
        state = llb.new_state(llb.new_definition_op(self._inputs[name]))
        text = self._opts.get(f"input-metadata:{name}")
        if text is None:
            return state, None
        import base64

        try:
            value = json.unmarshal(text)
            config = value.get(_CONFIG) if isinstance(value, dict) else None
            data = base64.b64decode(config) if isinstance(config, str) else None
        except (BuildkitError, ValueError) as err:
            raise wrap(err, f"failed to parse input metadata {text}") from err
        if data is None:
            return state, None
        return state.with_image_config(data), read_image(data)
