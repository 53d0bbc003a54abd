"""Definitions: reading, writing, and as a part of new graphs. Ports definition_test.go by name."""

from __future__ import annotations

import io
import random

import pytest

from pybuildkit.client import llb
from pybuildkit.golang.context import background
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver.pb import ops_pb2

OPTS = (llb.linux_amd64, llb.local_unique_id("id"))


def _as_state(definition: llb.Definition) -> llb.State:
    return llb.new_state(llb.new_definition_op(definition.to_pb()))


def test_definition_equivalence() -> None:
    for name, state in (
        ("scratch", llb.scratch()),
        ("image op", llb.image("ref")),
        ("exec op", llb.image("ref").run(llb.shlex("args")).root()),
        ("local op", llb.local("name")),
        ("git op", llb.git("remote.example/x", "ref")),
        ("http op", llb.http("https://example.com/url")),
        ("file op", llb.scratch().file(llb.mkdir("foo", 0o600).mkfile("foo/bar.txt", 0o600, b"data"))),
        ("platform constraint", llb.image("ref", llb.linux_arm64)),
        ("mount", llb.image("busybox").run(llb.shlex("x")).add_mount("/out", llb.scratch())),
    ):
        definition = state.marshal_sync(*OPTS)
        if not definition.def_:
            continue
        again = _as_state(definition).marshal_sync(*OPTS)
        assert again.def_ == definition.def_, name
        assert again.metadata == definition.metadata, name
        platform = llb.run_sync(_as_state(definition).get_platform(background()))
        expected = llb.run_sync(state.get_platform(background()))
        assert expected is None or platform == expected or platform is None, name


def test_definition_input_cache() -> None:
    base = llb.image("base")
    run = base.run(llb.shlex("x"), llb.add_mount("/a", llb.scratch()))
    merged = llb.merge([run.root(), run.add_mount("/out", llb.scratch()), base])
    definition = merged.marshal_sync(*OPTS)
    state = _as_state(definition)
    assert state.marshal_sync(*OPTS).def_ == definition.def_
    assert llb.merge([state, base]).marshal_sync(*OPTS).def_[:2] == definition.def_[:2]


def test_definition_nil() -> None:
    for message in (None, ops_pb2.Definition()):
        with pytest.raises(llb.LLBError, match="invalid nil input definition to definition op"):
            llb.new_definition_op(message)


def test_an_op_that_is_missing_is_named() -> None:
    definition = llb.image("a").run(llb.shlex("x")).root().marshal_sync(*OPTS)
    del definition.def_[0]
    with pytest.raises(llb.LLBError, match='unknown op "sha256:'):
        _as_state(definition).marshal_sync(*OPTS)


def test_source_maps_survive() -> None:
    source = llb.new_source_map(llb.local("src"), "Dockerfile", "Dockerfile", b"FROM a\nRUN b\n")
    ranges = [ops_pb2.Range(start=ops_pb2.Position(line=2), end=ops_pb2.Position(line=2))]
    state = llb.image("a").run(llb.shlex("b"), source.location(ranges)).root()
    definition = state.marshal_sync(*OPTS)
    assert definition.source is not None
    assert definition.source.infos[0].data == b"FROM a\nRUN b\n"
    again = _as_state(definition).marshal_sync(*OPTS)
    assert again.source == definition.source
    definition.source.locations[definition.head()].locations[0].sourceIndex = 7
    with pytest.raises(llb.LLBError, match="failed to find source map with index 7"):
        _as_state(definition)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xff\xff\xff\xff", "unexpected EOF"),
        (b"\n\x02", "unexpected EOF"),
        (b"garbage", "proto: illegal wireType 7"),
        (b"\x08\x01", "proto: wrong wireType = 0 for field Def"),
        (b"\x0c", "proto: Definition: wiretype end group for non-group"),
        (b"\x00", "proto: Definition: illegal tag 0 (wire type 0)"),
        (b"\xff" * 10, "proto: integer overflow"),
        (b"\n" + b"\xff" * 9 + b"\x01", "proto: negative length found during unmarshaling"),
    ],
)
def test_bytes_that_are_no_definition(data: bytes, text: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        llb.read_from(io.BytesIO(data))
    assert str(caught.value) == text


def test_written_bytes_do_not_depend_on_the_order_of_metadata() -> None:
    definition = llb.merge([llb.image(name) for name in "abcdef"]).marshal_sync(*OPTS)
    entries = list(definition.metadata.items())
    random.Random(1).shuffle(entries)
    shuffled = llb.Definition(def_=definition.def_, metadata=dict(entries), source=definition.source)
    assert shuffled.to_bytes() == definition.to_bytes()


def test_dump_is_one_line_an_op() -> None:
    definition = llb.image("a").run(llb.shlex("x")).root().marshal_sync(*OPTS)
    lines = definition.dump().splitlines()
    assert len(lines) == len(definition) == 3
    assert '"args": ["x"]' in lines[1]
    assert llb.scratch().marshal_sync().dump() == ""
