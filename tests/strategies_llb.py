"""Random LLB graphs, and trees of files that file ops make, for property tests.

`graphs` draws recipes: lists of steps that only name what they use by number, so that one recipe can be built twice
and in different ways. `file_recipes` draws programs of file actions on one tree, and `model` says which tree they
make, without any daemon: a mapping from path to Directory, File or Link.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from pybuildkit.client import llb

_WORDS = st.sampled_from(["a", "b", "c", "docs", "src", "x.txt", "y z", "é"])
_REFS = st.sampled_from(["alpine", "busybox:1.36", "example.com/app:v1"])


@dataclass(frozen=True)
class Step:
    """One op: its kind, the earlier steps that it uses (taken modulo what there is), and its words."""

    kind: str
    uses: tuple[int, ...]
    words: tuple[str, ...]
    options: tuple[str, ...]


KINDS = ("scratch", "image", "local", "http", "git", "run", "mounts", "file", "copy", "merge", "diff", "requires")
OPTIONS = {
    "name": llb.with_custom_name("a name"),
    "ignore": llb.ignore_cache,
    "arm": llb.linux_arm64,
    "export": llb.with_export_cache(),
    "group": llb.progress_group("id", "group", True),
    "memory": llb.memory_limit(1 << 20),
    "require": llb.require("worker==1"),
}

graphs = st.lists(
    st.builds(
        Step,
        kind=st.sampled_from(KINDS),
        uses=st.lists(st.integers(0, 1000), min_size=3, max_size=3).map(tuple),
        words=st.lists(_WORDS, min_size=2, max_size=2).map(tuple),
        options=st.lists(st.sampled_from(sorted(OPTIONS)), max_size=3, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=24,
)


def build(recipe: Sequence[Step]) -> llb.State:
    """The state of a recipe: its last step."""
    states = [llb.image("base")]
    for step in recipe:
        used = [states[use % len(states)] for use in step.uses]
        made = _build_step(step, used)
        states.append(made)
    return states[-1]


def _build_step(step: Step, used: list[llb.State]) -> llb.State:
    one, two, three = used
    first, second = step.words
    opts = [OPTIONS[name] for name in step.options]
    match step.kind:
        case "scratch":
            return llb.scratch().dir("/" + first)
        case "image":
            return llb.image(first.strip("é .").replace(" ", "") or "a", *opts)
        case "local":
            return llb.local(first, llb.include_patterns([second]), *opts)
        case "http":
            return llb.http(f"https://example.com/{first}", llb.filename(second), *opts)
        case "git":
            return llb.git("https://example.com/repo.git", first, *opts)
        case "run":
            return one.run(llb.args(["run", first]), llb.add_env(first, second), *opts).root()
        case "mounts":
            run = one.run(llb.args(["mount", second]), llb.add_mount("/ro", two, llb.readonly), *opts)
            return run.add_mount("/out", three)
        case "file":
            return one.file(llb.mkdir(first, 0o755).mkfile(f"{first}/{second}", 0o644, second), *opts)
        case "copy":
            inner = llb.mkfile("/inner", 0o600, first).with_state(two)
            return one.file(llb.copy(two, first, second).copy(inner, "/inner", "/"), *opts)
        case "merge":
            return llb.merge([one, two, three], *opts)
        case "diff":
            return llb.diff(one, two, *opts)
        case _:
            return one.requires(first, two) if one.output() is not None else two


# Trees that file actions make


@dataclass(frozen=True)
class Directory:
    """A directory with its permissions."""

    mode: int


@dataclass(frozen=True)
class File:
    """A file with its permissions and contents."""

    mode: int
    data: bytes


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


Tree = dict[str, Directory | File | Link]


@dataclass(frozen=True)
class Act:
    """One file action on the tree so far: "mkdir", "mkfile", "symlink", "rm" or "copy" (from the tree itself)."""

    kind: str
    path: str
    other: str = ""
    mode: int = 0o644
    data: bytes = b""


_PARTS = st.sampled_from(["a", "b", "c", "d"])
_PATHS = st.lists(_PARTS, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
_MODES = st.sampled_from([0o600, 0o644, 0o755, 0o700])

file_recipes = st.lists(
    st.one_of(
        st.builds(Act, kind=st.just("mkdir"), path=_PATHS, mode=st.sampled_from([0o755, 0o700])),
        st.builds(Act, kind=st.just("mkfile"), path=_PATHS, mode=_MODES, data=st.binary(max_size=16)),
        st.builds(Act, kind=st.just("symlink"), path=_PATHS, other=_PATHS),
        st.builds(Act, kind=st.just("rm"), path=_PATHS),
        st.builds(Act, kind=st.just("copy"), path=_PATHS, other=_PATHS),
    ),
    max_size=12,
)


def applicable(acts: Sequence[Act]) -> tuple[list[Act], Tree]:
    """The actions that can be done, one after the other from an empty tree, and the tree that they make.

    Left out is what a daemon refuses or what the model is too simple for: anything below a file or link, a directory
    or link in the place of something else, a copy onto something that is there or into itself.
    """
    tree: Tree = {}
    done = []
    for act in acts:
        if _apply(tree, act):
            done.append(act)  # noqa: PERF401  # what can be done depends on what was done before
    return done, tree


def _apply(tree: Tree, act: Act) -> bool:
    parent = posixpath.dirname(act.path)
    parent_there = parent == "/" or isinstance(tree.get(parent), Directory)
    match act.kind:
        case "mkdir" if _free(tree, act.path):
            for path in _ancestors(act.path):
                tree.setdefault(path, Directory(act.mode))
            return True
        case "mkfile" if parent_there and isinstance(there := tree.get(act.path), File | None):
            # As with open(2): a file that is there already keeps its permissions.
            tree[act.path] = File(there.mode if there is not None else act.mode, act.data)
            return True
        case "symlink" if parent_there and act.path not in tree:
            tree[act.path] = Link(act.other)
            return True
        case "rm" if isinstance(tree.get(act.path), Directory | File):
            # A daemon looks at what a link points to before it removes the link; the model leaves those out.
            for path in [path for path in tree if path == act.path or path.startswith(act.path + "/")]:
                del tree[path]
            return True
        case "copy" if parent_there and act.path not in tree and isinstance(tree.get(act.other), File):
            tree[act.path] = tree[act.other]
            return True
    return False


def _ancestors(path: str) -> list[str]:
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]


def _free(tree: Tree, path: str) -> bool:
    return path not in tree and all(isinstance(tree.get(each, Directory(0)), Directory) for each in _ancestors(path))


def build_files(acts: Sequence[Act], *, chained: bool = False) -> llb.State:
    """The state of the actions, each an op of its own, or as far as possible chained into one."""
    state = llb.scratch()
    chain: llb.FileAction | None = None
    for act in acts:
        if act.kind == "copy" or not chained:
            state = state.file(chain) if chain is not None else state
            state, chain = state.file(_action(state, act)), None
        else:
            chain = _chain(chain, act)
    return state.file(chain) if chain is not None else state


def _action(state: llb.State, act: Act) -> llb.FileAction:
    if act.kind == "copy":
        return llb.copy(state, act.other, act.path)
    return _chain(None, act)


def _chain(chain: llb.FileAction | None, act: Act) -> llb.FileAction:
    on: llb.FileAction | None = chain
    match act.kind:
        case "mkdir":
            parents = llb.with_parents(True)
            return on.mkdir(act.path, act.mode, parents) if on else llb.mkdir(act.path, act.mode, parents)
        case "mkfile":
            return on.mkfile(act.path, act.mode, act.data) if on else llb.mkfile(act.path, act.mode, act.data)
        case "symlink":
            return on.symlink(act.other, act.path) if on else llb.symlink(act.other, act.path)
        case _:
            return on.rm(act.path) if on else llb.rm(act.path)
