"""Properties of LLB graphs: order, digests, round trips, whatever the graph."""

from __future__ import annotations

import io
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybuildkit.client import llb
from pybuildkit.client.llb import Definition
from pybuildkit.solver.pb import UnmarshalError, ops_pb2
from tests import strategies_llb as graphs
from tests.golden.areas.llb import python_name

_OPTS = (llb.linux_amd64, llb.local_unique_id("unique"))
_SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _marshal(state: llb.State) -> Definition:
    return state.marshal_sync(*_OPTS)


@given(graphs.graphs)
@_SETTINGS
def test_marshal_is_deterministic(recipe: list[graphs.Step]) -> None:
    state = graphs.build(recipe)
    first, again, rebuilt = _marshal(state), _marshal(state), _marshal(graphs.build(recipe))
    assert first.to_bytes() == again.to_bytes() == rebuilt.to_bytes()


@given(graphs.graphs)
@_SETTINGS
def test_inputs_stand_before_users_and_one_op_is_the_head(recipe: list[graphs.Step]) -> None:
    definition = _marshal(graphs.build(recipe))
    seen: set[str] = set()
    used: set[str] = set()
    for digest, op in definition.ops():
        assert digest not in seen
        for edge in op.inputs:
            assert edge.digest in seen
            used.add(edge.digest)
        seen.add(digest)
    if definition.def_:
        last = list(definition.ops())[-1]
        assert seen - used == {last[0]}
        assert last[1].WhichOneof("op") is None
        assert [edge.digest for edge in last[1].inputs] == [definition.head()]
        assert set(definition.metadata) == seen


@given(graphs.graphs)
@_SETTINGS
def test_definition_round_trips(recipe: list[graphs.Step]) -> None:
    definition = _marshal(graphs.build(recipe))
    buffer = io.BytesIO()
    llb.write_to(definition, buffer)
    buffer.seek(0)
    read = llb.read_from(buffer)
    assert read == definition
    assert read.to_bytes() == definition.to_bytes()
    assert Definition.from_pb(ops_pb2.Definition.FromString(definition.to_bytes())) == definition


@given(graphs.graphs)
@_SETTINGS
def test_definition_op_marshals_to_the_same_ops(recipe: list[graphs.Step]) -> None:
    definition = _marshal(graphs.build(recipe))
    if not definition.def_:
        return
    state = llb.new_state(llb.new_definition_op(definition.to_pb()).output())
    again = _marshal(state)
    assert set(again.def_) == set(definition.def_)  # a file op reads its inputs in another order than they stand in it
    assert again.head() == definition.head()


@given(graphs.graphs, st.randoms(use_true_random=False))
@_SETTINGS
def test_order_of_independent_options_does_not_matter(recipe: list[graphs.Step], rng: random.Random) -> None:
    shuffled = [
        graphs.Step(step.kind, step.uses, step.words, tuple(rng.sample(step.options, len(step.options))))
        for step in recipe
    ]
    assert _marshal(graphs.build(recipe)).to_bytes() == _marshal(graphs.build(shuffled)).to_bytes()


@given(graphs.graphs)
@_SETTINGS
def test_asynchronous_states_change_nothing(recipe: list[graphs.Step]) -> None:
    state = graphs.build(recipe)
    later = llb.scratch().async_(lambda _ctx, _state, _constraints: state)
    assert _marshal(later).to_bytes() == _marshal(state).to_bytes()
    assert _marshal(later.file(llb.mkdir("x", 0o755))).def_ == _marshal(state.file(llb.mkdir("x", 0o755))).def_


@given(graphs.file_recipes)
@_SETTINGS
def test_equal_file_graphs_have_equal_digests(recipe: list[graphs.Act]) -> None:
    acts, _ = graphs.applicable(recipe)
    for chained in (False, True):
        one, other = (graphs.build_files(acts, chained=chained) for _ in range(2))
        assert _marshal(one).head() == _marshal(other).head()


@given(graphs.file_recipes)
def test_the_model_keeps_parents(recipe: list[graphs.Act]) -> None:
    _, tree = graphs.applicable(recipe)
    for path in tree:
        parent = path.rpartition("/")[0]
        assert parent == "" or isinstance(tree[parent], graphs.Directory)


@given(st.binary(max_size=200))
def test_reading_garbage_gives_one_line(data: bytes) -> None:
    try:
        definition = llb.read_from(io.BytesIO(data))
    except UnmarshalError as err:
        text = str(err)
    else:
        text = repr(definition.def_)
    assert text
    assert "\n" not in text


def test_python_name_is_the_naming_rule() -> None:
    for go, ours in (
        ("AddSSHSocket", "add_ssh_socket"),
        ("SSHID", "ssh_id"),
        ("WithUIDGID", "with_uid_gid"),
        ("ReadonlyRootFS", "readonly_root_fs"),
        ("GitMTimeCommit", "git_mtime_commit"),
        ("With", "with_"),
        ("LinuxPpc64le", "linux_ppc64le"),
        ("CPUShares", "cpu_shares"),
        ("OSVersion", "os_version"),
    ):
        assert python_name(go) == ours
