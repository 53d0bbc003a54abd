"""The command `debug dump-llb`: a build definition for people, or as a graph.

Mirrors cmd/buildctl/debug/dumpllb.go, v0.32.2. Needs no daemon.
"""

from __future__ import annotations

import os

from pybuildkit.golang import errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.solver.pb import ops_pb2

    Ops = list[tuple[str, ops_pb2.Op, ops_pb2.OpMetadata]]


def dump_llb(c: CommandContext) -> None:
    """Print the definition in the file that the argument names, or in standard input.

    Raises:
        BuildkitError, OSError: the file cannot be read or holds no definition.
    """
    ops = _load(_read(c.arg(0)))
    if c.bool("dot"):
        c.stdout.write("".join(_dot(ops)))
    else:
        c.stdout.write("".join(_json(ops)))


def _read(name: str) -> bytes:
    if name not in ("", "-"):
        from pybuildkit.golang.os import read_file

        return read_file(name)
    with os.fdopen(0, "rb", closefd=False) as file:
        return file.read()


def _load(data: bytes) -> Ops:
    from pybuildkit.solver.pb import ops_pb2, unmarshal
    from pybuildkit.third_party.opencontainers import digest

    definition = unmarshal(ops_pb2.Definition, data)
    ops: Ops = []
    for encoded in getattr(definition, "def"):
        try:
            op = unmarshal(ops_pb2.Op, encoded)
        except BuildkitError as err:
            raise errors.wrap(err, "failed to parse op") from err
        name = digest.from_bytes(encoded)
        metadata = definition.metadata[name] if name in definition.metadata else ops_pb2.OpMetadata()
        ops.append((name, op, metadata))
    return ops


def _json(ops: Ops) -> Iterator[str]:
    from pybuildkit.golang import json
    from pybuildkit.solver.pb import to_json

    for name, op, metadata in ops:
        yield json.marshal({"Op": to_json(op), "Digest": name, "OpMetadata": to_json(metadata)}) + "\n"


def _dot(ops: Ops) -> Iterator[str]:
    yield "digraph {\n"
    for name, op, _ in ops:
        label, shape = _look(name, op)
        yield f"  {quote(name)} [label={quote(label)} shape={quote(shape)}];\n"
    for name, op, _ in ops:
        for number, source in enumerate(op.inputs):
            mounts = op.exec.mounts if op.WhichOneof("op") == "exec" else ()
            label = next((m.dest for m in reversed(mounts) if m.input == number and m.dest != "/"), "")
            yield f"  {quote(source.digest)} -> {quote(name)} [label={quote(label)}];\n"
    yield "}\n"


def _look(name: str, op: ops_pb2.Op) -> tuple[str, str]:
    """An op's label and shape in the graph."""
    kind = op.WhichOneof("op")
    if kind == "source":
        return op.source.identifier, "ellipse"
    if kind == "exec":
        return " ".join(op.exec.meta.args), "box"
    if kind == "file":
        return ",".join(_action(action) for action in op.file.actions), "note"
    plain = {"build": ("build", "box3d"), "merge": ("merge", "invtriangle"), "diff": ("diff", "doublecircle")}
    return plain.get(kind or "", (name, "plaintext"))


def _action(action: ops_pb2.FileAction) -> str:
    kind = action.WhichOneof("action")
    if kind == "copy":
        return f"copy{{src={action.copy.src}, dest={action.copy.dest}}}"
    if kind == "mkfile":
        return f"mkfile{{path={action.mkfile.path}}}"
    if kind == "mkdir":
        return f"mkdir{{path={action.mkdir.path}}}"
    if kind == "rm":
        return f"rm{{path={action.rm.path}}}"
    if kind == "symlink":
        return f"symlink{{oldpath={action.symlink.oldpath}, newpath={action.symlink.newpath}}}"
    return ""
