"""File operations: a table of cases, and random graphs against a simple model."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_buildkitd import Daemon
from fake_buildkitd.solver import solve_file_op
from fake_buildkitd.solver._graph import load
from fake_buildkitd.store import MemoryStore, Node
from pybuildkit.client import Client, llb
from pybuildkit.client._client import new
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.solver.pb import ops_pb2 as pb
from tests.fake_buildkitd.helpers import Built, Entry, connected, owners_of, solve, tree_of, tree_on_disk
from tests.fake_buildkitd.twins import plain


def perform(store: MemoryStore, state: llb.State, context: Node | None = None) -> Node:
    """The tree of a graph of file operations; `local` sources are `context`."""
    definition = state.marshal_sync(llb.linux_amd64)
    edge = load(definition.to_pb())
    done: dict[str, list[Node]] = {}

    def result(vertex: object, index: int) -> Node:
        from fake_buildkitd.solver import Vertex

        assert isinstance(vertex, Vertex)
        if vertex.op.HasField("source"):
            assert context is not None
            return context
        if vertex.digest not in done:
            inputs = [result(below, number) for below, number in vertex.inputs]
            outputs = solve_file_op(store, vertex.op.file, inputs)
            done[vertex.digest] = [output.layers[-1][1] for output in outputs]
        return done[vertex.digest][index]

    return result(edge.vertex, edge.index)


def base(action: llb.FileAction) -> llb.State:
    """A state with these actions on nothing."""
    return llb.scratch().file(action)


SOURCE = base(
    llb.mkdir("/d/e", 0o700, llb.with_parents(True))
    .mkfile("/a", 0o644, "A")
    .mkfile("/d/b", 0o600, "B")
    .mkfile("/d/e/c", 0o755, "C")
    .symlink("d/b", "/l")
)

CASES: list[tuple[str, llb.State, dict[str, Entry]]] = [
    ("mkdir", base(llb.mkdir("/x", 0o711)), {"x": ("d711", "")}),
    ("mkdir twice", base(llb.mkdir("/x", 0o711).mkdir("/x", 0o700)), {"x": ("d711", "")}),
    ("mkfile over", base(llb.mkfile("/x", 0o600, "1").mkfile("/x", 0o777, "22")), {"x": ("f600", "22")}),
    (
        "mkfile through link",
        base(llb.mkfile("/x", 0o600, "1").symlink("x", "/l").mkfile("/l", 0o644, "2")),
        {"x": ("f600", "2"), "l": ("l", "x")},
    ),
    ("rm", base(llb.mkdir("/x", 0o755).mkfile("/x/y", 0o644, "").rm("/x")), {}),
    ("rm wildcard", SOURCE.file(llb.rm("/l").rm("/d/*", llb.with_allow_wildcard(True)).rm("/a")), {"d": ("d700", "")}),
    ("rm missing allowed", base(llb.mkdir("/x", 0o755).rm("/y", llb.with_allow_not_found(True))), {"x": ("d755", "")}),
    ("copy file", base(llb.copy(SOURCE, "/a", "/z")), {"z": ("f644", "A")}),
    (
        "copy dir into existing",
        base(llb.mkdir("/z", 0o755).copy(SOURCE, "/d", "/z")),
        {
            "z": ("d755", ""),
            "z/d": ("d700", ""),
            "z/d/b": ("f600", "B"),
            "z/d/e": ("d700", ""),
            "z/d/e/c": ("f755", "C"),
        },
    ),
    (
        "copy dir contents",
        base(llb.mkdir("/z", 0o755).copy(SOURCE, "/d", "/z", llb.CopyInfo(copy_dir_contents_only=True))),
        {"z": ("d755", ""), "z/b": ("f600", "B"), "z/e": ("d700", ""), "z/e/c": ("f755", "C")},
    ),
    (
        "copy link followed",
        base(llb.copy(SOURCE, "/l", "/z", llb.CopyInfo(follow_symlinks=True))),
        {"z": ("f600", "B")},
    ),
    ("copy link", base(llb.copy(SOURCE, "/l", "/z")), {"z": ("l", "d/b")}),
    (
        "copy chmod",
        base(llb.copy(SOURCE, "/d/e", "/z", llb.CopyInfo(mode=llb.ChmodOpt(mode_str="go+rX,u-w")))),
        {"z": ("d555", ""), "z/c": ("f555", "C")},
    ),
    (
        "copy include",
        base(llb.copy(SOURCE, "/", "/z", llb.CopyInfo(include_patterns=["d/e"], create_dest_path=True))),
        {"z": ("d755", ""), "z/d": ("d700", ""), "z/d/e": ("d700", ""), "z/d/e/c": ("f755", "C")},
    ),
    (
        "copy wildcard",
        base(llb.mkdir("/z", 0o755).copy(SOURCE, "/?", "/z", llb.CopyInfo(allow_wildcard=True))),
        {
            "z": ("d755", ""),
            "z/a": ("f644", "A"),
            "z/d": ("d700", ""),
            "z/d/b": ("f600", "B"),
            "z/d/e": ("d700", ""),
            "z/d/e/c": ("f755", "C"),
            "z/l": ("l", "d/b"),
        },
    ),
    (
        "copy replaces",
        base(
            llb.mkfile("/z", 0o644, "").copy(
                SOURCE, "/d/e", "/z", llb.CopyInfo(copy_dir_contents_only=True, always_replace_existing_dest_paths=True)
            )
        ),
        {"z": ("d700", ""), "z/c": ("f755", "C")},
    ),
]


@pytest.mark.parametrize(("state", "want"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cases(state: llb.State, want: dict[str, Entry]) -> None:
    store = MemoryStore()
    assert tree_of(store, perform(store, state)) == want


ERRORS = [
    ("mkdir no parent", base(llb.mkdir("/x/y", 0o755)), "mkdir /x/y: no such file or directory"),
    ("mkfile no parent", base(llb.mkfile("/x/y", 0o644, "")), "open /x/y: no such file or directory"),
    ("mkfile on dir", base(llb.mkdir("/x", 0o755).mkfile("/x", 0o644, "")), "open /x: is a directory"),
    ("rm missing", base(llb.mkdir("/x", 0o755).rm("/y")), "stat /y: no such file or directory"),
    ("symlink exists", base(llb.mkdir("/x", 0o755).symlink("a", "/x")), "symlink a /x: file exists"),
    ("copy missing", base(llb.copy(SOURCE, "/none", "/z")), "lstat /none: no such file or directory"),
    (
        "copy no dest",
        base(llb.copy(SOURCE, "/a", "/x/y/z")),
        "failed to stat /x/y/z: lstat /x/y: no such file or directory",
    ),
    (
        "copy no match",
        base(llb.copy(SOURCE, "/q*", "/z", llb.CopyInfo(allow_wildcard=True))),
        "/q* not found",
    ),
    (
        "copy dir on file",
        base(llb.mkfile("/z", 0o644, "").copy(SOURCE, "/d", "/z")),
        "mkdir /z: not a directory",
    ),
    ("rm dangling", base(llb.symlink("none", "/l").rm("/l")), "stat /l: no such file or directory"),
    (
        "rm below file",
        base(llb.mkfile("/x", 0o644, "").rm("/x/y", llb.with_allow_not_found(True))),
        "unlinkat /x/y: not a directory",
    ),
    (
        "copy file on dir",
        base(llb.mkdir("/z", 0o755).mkdir("/z/a", 0o755).copy(SOURCE, "/a", "/z")),
        "cannot replace to directory /z/a with file",
    ),
]


@pytest.mark.parametrize(("state", "reason"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_errors(state: llb.State, reason: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        perform(MemoryStore(), state)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (pb.FileOp(actions=[pb.FileAction(input=5, secondaryInput=-1, output=0)]), "invalid input index 5, 1 provided"),
        (pb.FileOp(actions=[pb.FileAction(input=-1, secondaryInput=-1, output=-1)]), "no outputs specified"),
        (pb.FileOp(actions=[pb.FileAction(input=-1, secondaryInput=-1, output=1)]), "missing output index 0"),
        (pb.FileOp(actions=[pb.FileAction(input=0, secondaryInput=-1, output=0)]), "loop from index 0"),
        (pb.FileOp(actions=[pb.FileAction(input=-1, secondaryInput=-1, output=0)]), "invalid action type <nil>"),
    ],
)
def test_senseless_ops(op: pb.FileOp, reason: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        solve_file_op(MemoryStore(), op, [])
    assert str(caught.value) == reason


async def test_real_daemon(real_addr: str, tmp_path: Path) -> None:
    """A real daemon makes the same trees and the same errors."""
    if real_addr.startswith("docker:"):
        pytest.skip("the BuildKit of Docker 20.10 knows no symlink action, and its errors have other texts")
    async with await new(context.background(), real_addr) as client:
        for number, (name, state, want) in enumerate(CASES):
            dest = tmp_path / str(number)
            built = await solve_to(client, state, dest)
            assert built.error is None, name
            assert tree_on_disk(dest) == want, name
        async with Daemon() as daemon, connected(daemon) as own:
            for name, state, _ in ERRORS:
                said = [await solve_to(each, state, tmp_path / "none") for each in (client, own)]
                assert plain(str(said[0].error)) == plain(str(said[1].error)), name


async def solve_to(client: Client, state: llb.State, dest: Path) -> Built:
    """Solve a graph into a directory."""
    definition = await state.marshal(context.background(), llb.linux_amd64)
    return await solve(client, SolveOpt(exports=[ExportEntry(type="local", output_dir=str(dest))]), definition)


def test_owner_by_name() -> None:
    store = MemoryStore()
    passwd = llb.mkdir("/etc", 0o755).mkfile("/etc/passwd", 0o644, "root:x:0:0::\nme:x:7:8::\n")
    state = base(passwd.mkfile("/etc/group", 0o644, "us:x:9:\n"))
    state = state.file(
        llb.copy(SOURCE, "/a", "/a", llb.with_user("me")).copy(SOURCE, "/a", "/b", llb.with_user("me:us"))
    )
    owners = owners_of(perform(store, state))
    assert (owners["a"], owners["b"]) == ((7, 8), (7, 9))


# A model: a tree is a dictionary from paths to entries, and every action is a line or two.

Model = dict[str, Entry]
Command = tuple[str, ...]


def model_mkdir(tree: Model, path: str) -> None:
    parts = path.strip("/").split("/")
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        if name in tree and tree[name][0][0] != "d":
            raise BuildkitError("not a directory")
        tree.setdefault(name, ("d755", ""))


def model_put(tree: Model, path: str, entry: Entry) -> None:
    parent = posixpath.dirname(path)
    if parent and tree.get(parent, ("?", ""))[0][0] != "d":
        raise BuildkitError("no parent")
    tree[path] = entry


def model_rm(tree: Model, path: str) -> None:
    for name in [name for name in tree if name == path or name.startswith(path + "/")]:
        del tree[name]


def model_copy(source: Model, src: str, tree: Model, dst: str, contents: bool) -> None:
    """A copy of a whole tree or of one entry; missing parents are made."""
    kind = "d755" if not src else source[src][0]
    parent = posixpath.dirname(dst)
    if parent:
        model_mkdir(tree, parent)
    is_dir = dst == "" or tree.get(dst, ("?", ""))[0][0] == "d"
    if is_dir and not (kind[0] == "d" and contents):
        dst = posixpath.join(dst, posixpath.basename(src)) if src else dst
    below = sorted(name for name in source if name == src or not src or name.startswith(src + "/"))
    if kind[0] == "d" and dst and tree.get(dst, ("d", ""))[0][0] != "d":
        raise BuildkitError("cannot copy to non-directory")
    if kind[0] == "d" and dst and dst not in tree:
        tree[dst] = (kind if not contents else "d755", "")
    for name in below:
        relative = name[len(src) :].strip("/")
        target = "/".join(part for part in (dst, relative) if part)
        if not target or (not relative and kind[0] == "d"):
            if target and tree[target][0][0] != "d":
                raise BuildkitError("not a directory")
            continue
        old, new = tree.get(target, ("?", ""))[0][0], source[name][0][0]
        if (old == "d") != (new == "d") and old != "?":
            raise BuildkitError("cannot replace")
        tree[target] = source[name]


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
ACTIONS = st.one_of(
    st.tuples(st.just("mkdir"), PATHS),
    st.tuples(st.just("mkfile"), PATHS, st.text("xyz", max_size=2)),
    st.tuples(st.just("rm"), PATHS),
    st.tuples(st.just("copy"), st.one_of(st.just(""), PATHS), PATHS, st.sampled_from(["contents", "itself"])),
)


def to_llb(command: Command, action: llb.FileAction | None, source: llb.State) -> llb.FileAction:
    """The action of a command, behind those before it."""
    if command[0] == "mkdir":
        arguments = (f"/{command[1]}", 0o755, llb.with_parents(True))
        return llb.mkdir(*arguments) if action is None else action.mkdir(*arguments)
    if command[0] == "mkfile":
        path, text = f"/{command[1]}", command[2]
        return llb.mkfile(path, 0o644, text) if action is None else action.mkfile(path, 0o644, text)
    if command[0] == "rm":
        option = llb.with_allow_not_found(True)
        return llb.rm(f"/{command[1]}", option) if action is None else action.rm(f"/{command[1]}", option)
    info = llb.CopyInfo(create_dest_path=True, copy_dir_contents_only=command[3] == "contents")
    src, dst = f"/{command[1]}", f"/{command[2]}"
    return llb.copy(source, src, dst, info) if action is None else action.copy(source, src, dst, info)


def apply(tree: Model, command: Command, source: Model) -> None:
    """What a command does in the model.

    Raises:
        BuildkitError: it cannot be done.
    """
    if command[0] == "mkdir":
        model_mkdir(tree, command[1])
    elif command[0] == "mkfile":
        if tree.get(command[1], ("?", ""))[0][0] == "d":
            raise BuildkitError("is a directory")
        model_put(tree, command[1], ("f644", command[2]))
    elif command[0] == "rm":
        parent = posixpath.dirname(command[1])
        while parent:
            if tree.get(parent, ("?", ""))[0][0] == "f":
                raise BuildkitError("not a directory")
            parent = posixpath.dirname(parent)
        model_rm(tree, command[1])
    else:
        if command[1] and command[1] not in source:
            raise BuildkitError("not found")
        model_copy(source, command[1], tree, command[2], command[3] == "contents")


@given(st.lists(st.lists(ACTIONS, min_size=1, max_size=4), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_random_graphs_against_the_model(layers: Sequence[Sequence[Command]]) -> None:
    """Layers of actions, each on top of the last; copies take from the layer before the last."""
    store = MemoryStore()
    states, models = [llb.scratch().file(llb.mkdir("/a", 0o755))], [{"a": ("d755", "")}]
    for commands in layers:
        model: Model = dict(models[-1])
        action: llb.FileAction | None = None
        for command in commands:
            attempt = dict(model)
            try:
                apply(attempt, command, models[0 if len(models) == 1 else -2])
            except BuildkitError:
                failing = states[-1].file(to_llb(command, action, states[0 if len(states) == 1 else -2]))
                with pytest.raises(BuildkitError):
                    perform(store, failing)
                continue
            model = attempt
            action = to_llb(command, action, states[0 if len(states) == 1 else -2])
        if action is None:
            continue
        states.append(states[-1].file(action))
        models.append(model)
        assert tree_of(store, perform(store, states[-1])) == model
