"""The command `debug ctl`: change the record of a build. Mirrors cmd/buildctl/debug/ctl.go, v0.32.2."""

from __future__ import annotations

from pybuildkit.cmd.buildctl import _control
from pybuildkit.cmd.buildctl.common import command_channel
from pybuildkit.golang.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl._app import CommandContext


class CtlError(BuildkitError):
    """The arguments do not say what to do with which record."""


def ctl(c: CommandContext) -> None:
    """Pin, unpin or remove the record that the argument names."""
    from pybuildkit.api.services.control import _methods, control_pb2

    if not c.args:
        raise CtlError("build ref must be specified")
    pin, unpin, delete = c.bool("pin"), c.bool("unpin"), c.bool("delete")
    with command_channel(c) as channel:
        if not (pin or unpin or delete):
            raise CtlError("must specify one of --pin, --unpin, --delete")
        if pin and unpin:
            raise CtlError("cannot specify both --pin and --unpin")
        if delete and (pin or unpin):
            raise CtlError("cannot specify --delete with --pin or --unpin")
        request = control_pb2.UpdateBuildHistoryRequest(Ref=c.arg(0), Pinned=pin, Delete=delete)
        _control.unary(channel, _methods.UPDATE_BUILD_HISTORY, request)
