"""LLB on standard input: what arrives at the daemon, and what is said of input that is no definition.

a definition arrives as it is · `--no-cache` marks every op and changes nothing else · whatever else the bytes
are, the text is one of the vectors `cli`, or the daemon's, in one line, and never a traceback
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_buildkitd.gateway import ScriptedForwarder
from fake_buildkitd.script import Delay, Script
from pybuildkit.client import llb
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang.context import Context
from pybuildkit.solver.pb import ops_pb2
from tests import strategies_llb as graphs
from tests.property.command import Seen, play

_SETTINGS = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
_EMPTY = "empty definition sent to build. Specify --frontend instead?"
_TERMINAL = "please specify --frontend or pipe LLB definition to stdin"
_MALFORMED = r"failed to parse (input|llb proto op): (unexpected EOF|proto: \S.*|string field contains invalid UTF-8)"


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("DOCKER_CONFIG", raising=False)
        yield


@contextmanager
def standard_input(fd: int) -> Iterator[None]:
    """Let a descriptor be standard input."""
    kept = os.dup(0)
    os.dup2(fd, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def build(data: bytes, *flags: str) -> tuple[Seen, list[ops_pb2.Definition]]:
    """Pipe bytes into the command; what it did, and the definitions that arrived at the daemon."""
    arrived: list[ops_pb2.Definition] = []
    answer = ScriptedForwarder.solve

    async def solve(
        forwarder: ScriptedForwarder, ctx: Context, request: gateway_pb2.SolveRequest
    ) -> gateway_pb2.SolveResponse:
        arrived.append(request.Definition)
        return await answer(forwarder, ctx, request)

    with tempfile.TemporaryFile() as file, mock.patch.object(ScriptedForwarder, "solve", solve):
        file.write(data)
        file.seek(0)
        with standard_input(file.fileno()):
            return play(["--progress", "plain", *flags], Script([Delay(1)])), arrived


def _definition(recipe: list[graphs.Step]) -> bytes:
    return graphs.build(recipe).marshal_sync(llb.linux_amd64, llb.local_unique_id("unique")).to_bytes()


def _ops(definition: ops_pb2.Definition) -> list[bytes]:
    return list(getattr(definition, "def"))


@_SETTINGS
@given(graphs.graphs, st.booleans(), st.booleans())
def test_a_definition_arrives_as_it_is(recipe: list[graphs.Step], no_cache: bool, bare: bool) -> None:
    given_ = ops_pb2.Definition.FromString(_definition(recipe))
    if bare:
        given_.ClearField("metadata")
    seen, arrived = build(given_.SerializeToString(), *["--no-cache"] * no_cache)
    if not _ops(given_):
        assert (seen.code, seen.error, arrived) == (1, _EMPTY, [])
        return
    assert (seen.code, seen.stderr) == (0, "")
    (got,) = arrived
    assert _ops(got) == _ops(given_)
    if no_cache:
        _mark_all(given_)
    assert got == given_
    assert got.SerializeToString(deterministic=True) == given_.SerializeToString(deterministic=True)
    assert (seen.tasks, seen.descriptors) == ([], {})


def _mark_all(definition: ops_pb2.Definition) -> None:
    """Mark every op to be run anew."""
    for op in _ops(definition):
        definition.metadata[f"sha256:{hashlib.sha256(op).hexdigest()}"].ignore_cache = True


def _check_refused_or_built(data: bytes, no_cache: bool) -> None:
    seen, arrived = build(data, *["--no-cache"] * no_cache)
    assert "Traceback" not in seen.stderr
    if seen.code == 0:
        assert seen.stderr == ""
        (got,) = arrived
        assert _ops(got) == _ops(ops_pb2.Definition.FromString(data)) != []
        marks = ops_pb2.Definition(metadata=got.metadata)
        if no_cache:
            _mark_all(got)
        assert marks.metadata == got.metadata
        return
    assert seen.code == 1
    assert seen.stderr == f"error: {seen.error}\n"
    assert "\n" not in seen.error
    if seen.error == _EMPTY:
        assert not _ops(ops_pb2.Definition.FromString(data))
    else:
        assert re.fullmatch(_MALFORMED, seen.error), seen.error
    assert arrived == []
    assert (seen.tasks, seen.descriptors) == ([], {})


@_SETTINGS
@given(graphs.graphs, st.data(), st.booleans())
def test_a_definition_that_is_cut_off(recipe: list[graphs.Step], data: st.DataObject, no_cache: bool) -> None:
    whole = _definition(recipe)
    end = data.draw(st.integers(0, max(len(whole) - 1, 0)))
    _check_refused_or_built(whole[:end], no_cache)


@_SETTINGS
@given(graphs.graphs, st.integers(0, 1 << 30), st.integers(1, 8), st.booleans())
def test_a_definition_with_changed_bytes(recipe: list[graphs.Step], seed: int, count: int, no_cache: bool) -> None:
    changed = bytearray(_definition(recipe))
    chance = random.Random(seed)
    for _ in range(count if changed else 0):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    _check_refused_or_built(bytes(changed), no_cache)


@_SETTINGS
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes(data: bytes, no_cache: bool) -> None:
    _check_refused_or_built(data, no_cache)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", _EMPTY),
        (b"garbage", "failed to parse input: proto: illegal wireType 7"),
        (b"\xff\xff\xff\xff", "failed to parse input: unexpected EOF"),
    ],
)
def test_the_texts_of_the_vectors(data: bytes, text: str) -> None:
    seen, arrived = build(data)
    assert (seen.code, seen.stderr, arrived) == (1, f"error: {text}\n", [])


def test_a_definition_over_the_message_limit() -> None:
    message = ops_pb2.Definition()
    for number in range(5):
        op = ops_pb2.Op(source=ops_pb2.SourceOp(identifier=f"local://{number}" + "x" * (4 << 20)))
        getattr(message, "def").append(op.SerializeToString())
    seen, arrived = build(message.SerializeToString())
    assert seen.code == 1
    assert "ResourceExhausted: " in seen.error
    assert "\n" not in seen.error
    assert len(seen.error) < 1000
    assert arrived == []
    assert (seen.tasks, seen.descriptors) == ([], {})


@pytest.mark.parametrize("kind", ["terminal", "null"])
def test_nothing_is_piped(kind: str) -> None:
    main, fd = os.openpty() if kind == "terminal" else (-1, os.open(os.devnull, os.O_RDONLY))
    try:
        with standard_input(fd):
            seen = play([], Script())
    finally:
        for each in {main, fd} - {-1}:
            os.close(each)
    assert (seen.code, seen.stderr) == (1, f"error: {_TERMINAL}\n")
