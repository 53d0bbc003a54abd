"""A resolver that asks registries without credentials, and remembers what they said.

Questions about one image wait for each other, so that each is asked once. The requests block, so they run in a
thread; cancelling the wait lets the request end by itself, its answer unused.

Mirrors client/llb/imagemetaresolver/resolver.go, v0.32.2. Differs: no traces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pybuildkit.client.llb import _image
from pybuildkit.golang import threads
from pybuildkit.golang.context import Context
from pybuildkit.third_party import platforms

if TYPE_CHECKING:
    import asyncio

    from pybuildkit.client.llb.sourceresolver import ImageMetaResolver, Opt
    from pybuildkit.third_party.platforms import Platform


class _Resolver:
    def __init__(self) -> None:
        self.platform: Platform | None = None
        self._known: dict[str, tuple[str, bytes]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def resolve_image_config(self, ctx: Context, ref: str, opt: Opt) -> tuple[str, str, bytes]:
        """The reference, its digest and the image's configuration.

        Raises:
            RegistryError: the registry refuses or answers nonsense.
        """
        import asyncio

        from pybuildkit.client.llb.imagemetaresolver import _registry

        asked = opt.image_opt.platform if opt.image_opt is not None else None
        platform = asked or self.platform
        key = ref + (platforms.format_all(platform) if platform is not None else "")
        async with self._locks.setdefault(ref, asyncio.Lock()):
            if key not in self._known:
                wanted = platform or platforms.normalize(platforms.default_spec())
                self._known[key] = await threads.call(ctx, lambda: _registry.image_config(ref, wanted))
        digest, config = self._known[key]
        return ref, digest, config


ImageMetaResolverOpt = Callable[[_Resolver], None]


def with_default_platform(platform: Platform | None) -> ImageMetaResolverOpt:
    """The platform of questions that name none; this machine's unless given."""

    def change(resolver: _Resolver) -> None:
        resolver.platform = platform

    return change


def new(*options: ImageMetaResolverOpt) -> ImageMetaResolver:
    """A resolver with nothing in its memory. It belongs to one event loop."""
    resolver = _Resolver()
    for option in options:
        option(resolver)
    return resolver


_default: list[ImageMetaResolver] = []


def default() -> ImageMetaResolver:
    """The resolver that is shared by everyone who asks for no other."""
    if not _default:
        _default.append(new())
    return _default[0]


class _WithDefault:
    """Lets `image` ask the shared resolver; made when it is used, so that a program that never asks loads nothing."""

    def __repr__(self) -> str:
        return "imagemetaresolver.with_default"

    def set_image_option(self, info: _image.ImageInfo) -> None:
        info.meta_resolver = default()


with_default: Final = _WithDefault()
"""Option of `llb.image`: take the configuration from the registry."""
