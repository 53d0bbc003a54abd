"""The command `debug histories`: the records of builds. Mirrors cmd/buildctl/debug/histories.go, v0.32.2."""

from __future__ import annotations

from pybuildkit.cmd.buildctl import _control, _format, _histories
from pybuildkit.cmd.buildctl.common import command_channel
from pybuildkit.golang.tabwriter import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pybuildkit.api.services.control import control_pb2 as pb
    from pybuildkit.cmd.buildctl._app import CommandContext


def histories(c: CommandContext) -> None:
    """Print the records, each as it comes."""
    from pybuildkit.api.services.control import _methods, control_pb2

    with command_channel(c) as channel:
        _control.connect(channel)  # a daemon that is not there is told before a template that is none
        request = control_pb2.BuildHistoryRequest(EarlyExit=True)
        events = _control.server_stream(channel, _methods.LISTEN_BUILD_HISTORY, request)
        show = _format.formatter(c)
        if show is None:
            _print_table(c, events)
            return
        from pybuildkit.golang import protoreflect

        for event in events:
            show(protoreflect.struct(event, "moby_buildkit_v1"))


def _print_table(c: CommandContext, events: Iterable[pb.BuildHistoryEvent]) -> None:
    table = Writer(c.stdout.show, 1, 8, 1, "\t")
    table.write("TYPE\tREF\tCREATED\tCOMPLETED\tGENERATION\tPINNED\n")
    for event in events:
        pinned = "*" if event.record.pinned else ""
        table.write("\t".join((*_histories.columns(event), pinned)) + "\n")
        table.flush()
    table.flush()
