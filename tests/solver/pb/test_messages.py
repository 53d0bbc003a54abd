"""LLB's messages: deterministic bytes, JSON, reading. Ports json_test.go by name."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from pybuildkit.client.llb._vertex import Input, encode_op
from pybuildkit.solver import pb
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party.platforms import Platform


def test_a_key_stands_before_longer_ones() -> None:
    attrs = {"ab": "2", "a": "1", "abc": "", "b": "3"}
    data = pb.marshal(ops_pb2.SourceOp(identifier="x", attrs=attrs))
    assert data == b"\n\x01x" + b"".join(
        bytes((0x12, len(key) + len(value) + 4, 0x0A, len(key)))
        + key.encode()
        + bytes((0x12, len(value)))
        + value.encode()
        for key, value in sorted(attrs.items())
    )
    assert ops_pb2.SourceOp.FromString(data) == ops_pb2.SourceOp(identifier="x", attrs=attrs)


def test_an_op_s_kind_comes_last() -> None:
    source = ops_pb2.SourceOp(identifier="local://x")
    platform = Platform(os="linux", architecture="amd64")
    op = ops_pb2.Op(
        source=source,
        inputs=[ops_pb2.Input(digest="sha256:1", index=3)],
        platform=pb.platform_from_spec(platform),
        constraints=ops_pb2.WorkerConstraints(filter=["a"]),
    )
    data = encode_op("source", source, [Input("sha256:1", 3)], platform, ["a"])
    assert data == pb.marshal(op)
    assert data.endswith(source.SerializeToString())
    assert ops_pb2.Op.FromString(data) == op


OPS: list[Message] = [
    ops_pb2.Op(exec=ops_pb2.ExecOp(meta=ops_pb2.Meta(args=["a"]), mounts=[ops_pb2.Mount(input=-1, dest="/")])),
    ops_pb2.Op(source=ops_pb2.SourceOp(identifier="x", attrs={"k": "v"}), inputs=[ops_pb2.Input(digest="d", index=1)]),
    ops_pb2.Op(file=ops_pb2.FileOp(actions=[ops_pb2.FileAction(input=1, mkfile=ops_pb2.FileActionMkFile(data=b"\0"))])),
    ops_pb2.Op(
        build=ops_pb2.BuildOp(builder=-1, inputs={"a": ops_pb2.BuildInput(input=2)}),
        platform=ops_pb2.Platform(OS="linux"),
        constraints=ops_pb2.WorkerConstraints(filter=["f"]),
    ),
    ops_pb2.Op(merge=ops_pb2.MergeOp(inputs=[ops_pb2.MergeInput(input=1)])),
    ops_pb2.Op(diff=ops_pb2.DiffOp(lower=ops_pb2.LowerDiffInput(input=-1), upper=ops_pb2.UpperDiffInput())),
    ops_pb2.FileAction(copy=ops_pb2.FileActionCopy(include_patterns=["p"], mode=-1)),
    ops_pb2.FileAction(rm=ops_pb2.FileActionRm(allowNotFound=True), output=-1),
    ops_pb2.UserOpt(byName=ops_pb2.NamedUserOpt(name="root", input=1)),
    ops_pb2.UserOpt(byID=7),
]


@pytest.mark.parametrize("message", OPS)
def test_json_round_trip(message: Message) -> None:
    again = type(message)()
    pb.from_json(again, pb.to_json(message))
    assert again == message


def test_unknown_fields_are_taken_and_wrong_ones_refused() -> None:
    assert pb.unmarshal(ops_pb2.Op, b"\xf8\x01\x01").inputs == []
    with pytest.raises(pb.UnmarshalError, match="proto: wrong wireType = 0 for field Inputs"):
        pb.unmarshal(ops_pb2.Op, b"\x08\x01")
    with pytest.raises(pb.UnmarshalError, match="invalid UTF-8"):
        pb.unmarshal(ops_pb2.Op, b"\x1a\x03\n\x01\xff")


def test_security_modes() -> None:
    pb.validate_security_mode(1)
    with pytest.raises(pb.SecurityModeError, match="invalid security mode 2"):
        pb.validate_security_mode(2)
