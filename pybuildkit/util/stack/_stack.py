"""The stack of a remote process as a layer of an error. Mirrors util/stack/stack.go, v0.32.2."""

from __future__ import annotations

from pybuildkit.golang import errors
from pybuildkit.util.grpcerrors import TypedError
from pybuildkit.util.stack import stack_pb2 as pb


class StackError(TypedError):
    """Where in a daemon's code the error was made: `detail.frames`."""

    detail: pb.Stack
    detail_name = "stack.Stack+json"


def traces(err: BaseException | None) -> list[pb.Stack]:
    """The remote stacks of an error, outermost first."""
    return [layer.detail for layer in errors.layers(err) if isinstance(layer, StackError)]


def format_stacks(err: BaseException | None) -> str:
    """The remote stacks of an error as text: for each its process, then function and place of each frame."""
    out = []
    for stack in traces(err):
        out.append(f"{stack.pid} {stack.version} {' '.join(stack.cmdline)}\n")
        out.extend(f"{frame.Name}\n\t{frame.File}:{frame.Line}\n" for frame in stack.frames)
        out.append("\n")
    return "".join(out)
