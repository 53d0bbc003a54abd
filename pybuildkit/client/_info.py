"""The daemon's version. Mirrors client/info.go, v0.32.2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pybuildkit.api.services.control import _methods as control
from pybuildkit.api.services.control import control_pb2
from pybuildkit.golang import errors
from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.api.types import worker_pb2
    from pybuildkit.client._client import Client
    from pybuildkit.golang.context import Context


@dataclass(frozen=True, kw_only=True)
class BuildkitVersion:
    """What a daemon was built from."""

    package: str = ""
    version: str = ""
    revision: str = ""
    dockerfile_version: str = ""

    @staticmethod
    def from_pb(message: worker_pb2.BuildkitVersion) -> BuildkitVersion:
        """The version in a message."""
        return BuildkitVersion(
            package=message.package,
            version=message.version,
            revision=message.revision,
            dockerfile_version=message.dockerfileVersion,
        )


@dataclass(frozen=True, kw_only=True)
class Info:
    """What a daemon says of itself."""

    buildkit_version: BuildkitVersion = field(default_factory=BuildkitVersion)


async def info(client: Client, ctx: Context) -> Info:
    """The daemon's version.

    Raises:
        BuildkitError: "failed to call info: …"; daemons before v0.11 have no such call (Unimplemented).
    """
    try:
        response = await client.unary(ctx, control.INFO, control_pb2.InfoRequest())
    except BuildkitError as err:
        raise errors.wrap(err, "failed to call info") from err
    return Info(buildkit_version=BuildkitVersion.from_pb(response.buildkitVersion))
