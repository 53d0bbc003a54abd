"""The sources of one build, each made when it is first used.

Mirrors the worker's list of sources in worker/base/worker.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fake_buildkitd.progress import VertexWriter
from fake_buildkitd.solver import Kept, SourceFunc, Vertex
from fake_buildkitd.sources._local import LocalSource
from fake_buildkitd.store import Snapshot, Store
from pybuildkit.golang.context import Context
from pybuildkit.session import Manager

if TYPE_CHECKING:
    from fake_buildkitd.registry import Authorizer
    from fake_buildkitd.sources._git import GitSource
    from fake_buildkitd.sources._http import HTTPSource
    from fake_buildkitd.sources._image import ImageSource


class JobSources:
    """The sources of one build.

    Args:
        store: keeps what comes.
        manager: knows the sessions.
        session_id: the build's session.
    """

    def __init__(self, store: Callable[[], Store], manager: Manager, session_id: str) -> None:
        self._store = store
        self._manager = manager
        self._session_id = session_id
        self._authorizer: Authorizer | None = None
        self._images: ImageSource | None = None
        self._files: HTTPSource | None = None
        self._repositories: GitSource | None = None

    def by_scheme(self) -> dict[str, SourceFunc]:
        """How to fetch a source, by the scheme of its identifier."""
        return {
            "local": LocalSource(self._store(), self._manager, self._session_id),
            "docker-image": self._image,
            "oci-layout": self._image,
            "docker-image+blob": self._blob,
            "oci-layout+blob": self._blob,
            "http": self._file,
            "https": self._file,
            "git": self._repository,
        }

    @property
    def authorizer(self) -> Authorizer:
        """The build's logins at registries."""
        if self._authorizer is None:
            from fake_buildkitd.registry import Authorizer
            from pybuildkit.session._group import new_group

            self._authorizer = Authorizer(self._manager, new_group(self._session_id))
        return self._authorizer

    @property
    def images(self) -> ImageSource:
        """Images of registries and layouts."""
        if self._images is None:
            from fake_buildkitd.sources._image import ImageSource

            self._images = ImageSource(self._store(), self._manager, self._session_id, self.authorizer)
        return self._images

    @property
    def files(self) -> HTTPSource:
        """Files from web servers, and uploads."""
        if self._files is None:
            from fake_buildkitd.sources._http import HTTPSource

            self._files = HTTPSource(self._store(), self._manager, self._session_id)
        return self._files

    @property
    def repositories(self) -> GitSource:
        """Git repositories."""
        if self._repositories is None:
            from fake_buildkitd.sources._git import GitSource

            self._repositories = GitSource(self._store(), self._manager, self._session_id)
        return self._repositories

    async def _image(self, ctx: Context, vertex: Vertex, writer: VertexWriter) -> Snapshot | Kept | None:
        return await self.images(ctx, vertex, writer)

    async def _blob(self, ctx: Context, vertex: Vertex, writer: VertexWriter) -> Snapshot | Kept | None:
        from fake_buildkitd.sources._blob import BlobSource

        source = BlobSource(self._store(), self._manager, self._session_id, self.authorizer)
        return await source(ctx, vertex, writer)

    async def _file(self, ctx: Context, vertex: Vertex, writer: VertexWriter) -> Snapshot | Kept | None:
        return await self.files(ctx, vertex, writer)

    async def _repository(self, ctx: Context, vertex: Vertex, writer: VertexWriter) -> Snapshot | Kept | None:
        return await self.repositories(ctx, vertex, writer)
