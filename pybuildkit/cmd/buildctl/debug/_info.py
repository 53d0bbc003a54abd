"""The command `debug info`: the daemon's version. Mirrors cmd/buildctl/debug/info.go, v0.32.2."""

from __future__ import annotations

from pybuildkit.cmd.buildctl import _control, _format
from pybuildkit.cmd.buildctl.common import command_channel
from pybuildkit.golang.tabwriter import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pybuildkit.api.types import worker_pb2
    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.golang.reflect import Struct


def info(c: CommandContext) -> None:
    """Print from what the daemon was built."""
    from pybuildkit.api.services.control import _methods, control_pb2

    with command_channel(c) as channel:
        response = _control.unary(channel, _methods.INFO, control_pb2.InfoRequest(), "failed to call info")
    version = response.buildkitVersion
    show = _format.formatter(c)
    if show is not None:
        from pybuildkit.golang.reflect import Field, Struct

        field = Field("BuildkitVersion", "buildkitVersion", version_struct(version))
        show(Struct("client.Info", field, is_pointer=True))
        return
    table = Writer(c.stdout.show, 0, 0, 1, " ")
    table.write(f"BuildKit:\t{version.package} {version.version} {version.revision}\n")
    if version.dockerfileVersion:
        table.write(f"Dockerfile:\t{version.dockerfileVersion}\n")
    table.flush()


def version_struct(version: worker_pb2.BuildkitVersion) -> Struct:
    """A version as `--format` sees it."""
    from pybuildkit.golang.reflect import Field, Struct

    return Struct(
        "client.BuildkitVersion",
        Field("Package", "package", version.package),
        Field("Version", "version", version.version),
        Field("Revision", "revision", version.revision),
        Field("DockerfileVersion", "dockerfileVersion", version.dockerfileVersion, omit_empty=True),
    )
