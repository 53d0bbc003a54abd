"""Random trees and random graphs of file ops, merges and diffs, for the model and for daemons.

A recipe is a context and a list of steps; each step makes a state out of earlier ones, which it names by number
(taken modulo what there is; 0 is the context). `follow` builds the graph for a daemon and the state of the model
side by side.
"""

from __future__ import annotations

import hashlib
import itertools
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from pybuildkit.client import llb
from pybuildkit.third_party import fsutil
from tests.property import tree_model as model
from tests.property.tree_model import Entry, Refused, State, Tree

TIME = 1_500_000_000 * 10**9
"""When everything in a context was changed, in nanoseconds."""
_UNKNOWN = 10**18 * 2
"""From here on: the times of what a daemon made, by its own clock."""

WORDS: dict[str, Callable[[int, bool], int]] = {
    "u+x": lambda mode, is_dir: mode | 0o100,
    "go-rwx": lambda mode, is_dir: mode & ~0o077,
    "a=r,u+w": lambda mode, is_dir: (mode & 0o1000) | 0o644,
    "a+X": lambda mode, is_dir: mode | 0o111 if is_dir or mode & 0o111 else mode,
    "g=u": lambda mode, is_dir: mode & ~0o070 | mode >> 3 & 0o070,
}


@dataclass(frozen=True)
class Act:
    """One file action; what a kind does not need is ignored."""

    kind: str
    path: str
    other: str = ""
    use: int = 0
    mode: int = 0o644
    data: bytes = b""
    owner: tuple[int, int] | None = None
    flags: frozenset[str] = frozenset()
    words: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """File actions ("file") on one of the states or on none (-1), or a "merge" or "diff" of some of them."""

    kind: str
    uses: tuple[int, ...]
    acts: tuple[Act, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A context and the steps from it."""

    context: dict[str, Entry]
    steps: tuple[Step, ...]


@dataclass
class Abilities:
    """What a daemon can do, of what recipes may ask for."""

    layers: bool = True
    symlink: bool = True
    patterns: bool = True
    words: bool = True
    replace: bool = True
    rm_links: bool = True
    errors: bool = True
    """Whether it refuses all that the model refuses; old daemons let some of it pass."""

    def knows(self, step: Step) -> bool:
        """Whether a step can be asked for."""
        return (self.layers or step.kind == "file") and all(self._knows(act) for act in step.acts)

    def _knows(self, act: Act) -> bool:
        if act.kind == "symlink":
            return self.symlink
        if act.kind != "copy":
            return True
        patterns = bool(act.include or act.exclude)
        return (
            (self.patterns or not patterns)
            and (self.words or not act.words)
            and (self.replace or "replace" not in act.flags)
        )


ALL = Abilities()

_NAMES = st.sampled_from(["a", "b", "c"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=2).map(lambda parts: "/" + "/".join(parts))
_TARGETS = st.sampled_from(["/a", "b", "../a", "/b/c", "c/a", "/nowhere"])
_GLOBS = st.sampled_from(["/*", "/a*", "/?", "/[ab]", "/a/*", "/*/b", "/b/[bc]", "/*/*/a", "/x*"])
_PATTERNS = st.sampled_from(["a", "b", "*", "a/b", "*/c", "**/a", "**/c", "b/*"])
_EXCLUDES = st.one_of(_PATTERNS, st.sampled_from(["!a", "!b/c", "!**/b"]))
_FILE_MODES = st.sampled_from([0o600, 0o644, 0o755, 0o444, 0o4755])
_DIR_MODES = st.sampled_from([0o755, 0o700, 0o1777])
_OWNERS = st.one_of(st.none(), st.tuples(st.sampled_from([0, 5]), st.sampled_from([0, 6])))
_FLAGS = st.sampled_from(["follow", "contents", "replace", "time", "empty"])
_DATA = st.sampled_from([b"", b"one", b"two"])


def _parents_first(entries: dict[str, Entry]) -> dict[str, Entry]:
    """A tree without what stands below a file or link, and with the directories above everything."""
    tree: dict[str, Entry] = {}
    for path in sorted(entries, key=lambda each: each.split("/")):
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(2, len(parts))]
        if all(tree.get(each, model._TOP).kind == "d" for each in above):
            for each in above:
                tree.setdefault(each, Entry("d", 0o755, time=TIME))
            tree[path] = entries[path]
    return tree


_ENTRIES = st.one_of(
    st.builds(Entry, kind=st.just("d"), mode=_DIR_MODES, time=st.just(TIME)),
    st.builds(Entry, kind=st.just("f"), mode=_FILE_MODES, data=_DATA, time=st.just(TIME)),
    st.builds(Entry, kind=st.just("f"), mode=_FILE_MODES, data=_DATA, time=st.just(TIME)),
    st.builds(Entry, kind=st.just("l"), mode=st.just(0o777), data=_TARGETS.map(str.encode), time=st.just(TIME)),
)
trees = st.dictionaries(_PATHS, _ENTRIES, min_size=2, max_size=8).map(_parents_first)

_copies = st.builds(
    Act,
    kind=st.just("copy"),
    path=st.one_of(_PATHS, _PATHS, _GLOBS, st.just("/")),
    other=st.one_of(_PATHS, _PATHS.map(lambda path: path + "/"), st.just("/")),
    use=st.integers(0, 1000),
    mode=st.sampled_from([-1, -1, 0o640, 0o700, 0o1755]),
    owner=_OWNERS,
    flags=st.frozensets(_FLAGS, max_size=3).map(lambda flags: flags | {"parents"}) | st.frozensets(_FLAGS, max_size=2),
    words=st.sampled_from(["", "", "", *WORDS]),
    include=st.lists(_PATTERNS, max_size=2).map(tuple) | st.just(()),
    exclude=st.lists(_EXCLUDES, max_size=2).map(tuple) | st.just(()),
)
_acts = st.one_of(
    st.builds(
        Act, kind=st.just("mkdir"), path=_PATHS, mode=_DIR_MODES, owner=_OWNERS, flags=st.frozensets(st.just("parents"))
    ),
    st.builds(Act, kind=st.just("mkfile"), path=_PATHS, mode=_FILE_MODES, data=_DATA, owner=_OWNERS),
    st.builds(Act, kind=st.just("symlink"), path=_PATHS, other=_TARGETS, owner=_OWNERS),
    st.builds(
        Act, kind=st.just("rm"), path=st.one_of(_PATHS, _GLOBS), flags=st.frozensets(st.sampled_from(["missing"]))
    ),
    _copies,
    _copies,
)
_steps = st.one_of(
    st.builds(
        Step,
        kind=st.just("file"),
        uses=st.tuples(st.integers(-1, 1000)),
        acts=st.lists(_acts, min_size=1, max_size=4).map(tuple),
    ),
    st.builds(
        Step,
        kind=st.just("file"),
        uses=st.tuples(st.integers(-1, 1000)),
        acts=st.lists(_acts, min_size=1, max_size=2).map(tuple),
    ),
    st.builds(
        Step, kind=st.just("merge"), uses=st.lists(st.integers(0, 1000), min_size=2, max_size=3, unique=True).map(tuple)
    ),
    st.builds(Step, kind=st.just("diff"), uses=st.tuples(st.integers(0, 1000), st.integers(0, 1000))),
)
Change = tuple[int, Entry | None]
"""Which path of a context changes (its number, modulo what there is), and what is there then, None for nothing."""
changes = st.tuples(st.integers(0, 1000), st.none() | _ENTRIES)
recipes = st.builds(Recipe, context=trees, steps=st.lists(_steps, min_size=1, max_size=7).map(tuple))


def change_context(recipe: Recipe, change: Change) -> Recipe:
    """The recipe with another context; its steps are the same."""
    number, entry = change
    tree = dict(recipe.context)
    path = sorted(tree)[number % len(tree)]
    if entry is None:
        del tree[path]
    else:
        tree[path] = entry
    return replace(recipe, context=_parents_first(tree))


@dataclass
class Followed:
    """What became of a recipe: the graph and the tree of its last state, and a graph that must fail, if any."""

    graph: llb.State
    state: State
    refused: llb.State | None = None
    kinds: set[str] = field(default_factory=set)


def context_files(tree: Tree) -> fsutil.FS:
    """A tree as a client's directory."""
    kinds = {"d": stat.S_IFDIR, "f": stat.S_IFREG, "l": stat.S_IFLNK}
    fs = fsutil.StaticFS()
    for path, entry in tree.items():
        mode = fsutil.go_mode(kinds[entry.kind] | entry.mode)
        link = entry.data if entry.kind == "l" else b""
        made = fsutil.Stat(mode=mode, mod_time=entry.time, linkname=link)
        fs.add(path, made, entry.data if entry.kind == "f" else b"")
    return fs


def follow(recipe: Recipe, can: Abilities = ALL) -> Followed:
    """Build a recipe's graph and the model's state; steps that a daemon does not know are left out.

    Actions that the model refuses are left out; the first one is kept in a graph of its own, to see that a daemon
    refuses it too.
    """
    # A key of its own: a daemon takes files of the same size and time under one key for the same.
    key = hashlib.sha256(repr(recipe.context).encode()).hexdigest()
    graphs = [llb.local("context", llb.shared_key_hint(key))]
    states = [State(recipe.context, (model.Layer(recipe.context),))]
    clock = itertools.count(_UNKNOWN)
    numbers = [0]
    known: dict[Step, int] = {}
    followed = Followed(graphs[0], states[0])
    for step in recipe.steps:
        if not can.knows(step):
            continue
        acts, refused, made = _follow_step(step, states, clock, can)
        if refused and can.errors and followed.refused is None and _on_something(step, states):
            followed.refused = _graph_of(replace(step, acts=refused), graphs)
        if made is None:
            continue
        done = replace(step, acts=acts)
        graphs.append(_graph_of(done, graphs))
        # What a graph holds twice is made once, and has one time.
        number = known.setdefault(_numbered(done, numbers), len(states))
        states.append(states[number] if number < len(states) else made)
        numbers.append(number)
        followed.kinds |= {step.kind, *(act.kind for act in acts)}
    followed.graph, followed.state = graphs[-1], states[-1]
    return followed


def _numbered(step: Step, numbers: Sequence[int]) -> Step:
    """A step that names each state by the first one that is the same."""

    def number(use: int) -> int:
        return numbers[use % len(numbers)] if use >= 0 else use

    acts = tuple(replace(act, use=number(act.use)) for act in step.acts)
    return replace(step, uses=tuple(map(number, step.uses)), acts=acts)


def _follow_step(
    step: Step, states: Sequence[State], clock: Iterator[int], can: Abilities
) -> tuple[tuple[Act, ...], tuple[Act, ...], State | None]:
    """The actions that work, those up to the first one that is refused, and the state that the step makes."""
    used = [states[use % len(states)] if use >= 0 else State() for use in step.uses]
    if step.kind == "file":
        return _follow_file(step, used[0] if step.uses[0] >= 0 else None, states, clock, can)
    try:
        return (), (), model.merge(used) if step.kind == "merge" else model.diff(*used)
    except model.Unclear:
        return (), (), None


def _follow_file(
    step: Step, base: State | None, states: Sequence[State], clock: Iterator[int], can: Abilities
) -> tuple[tuple[Act, ...], tuple[Act, ...], State | None]:
    editor = model.Editor(base.tree if base is not None else {}, lambda: next(clock), keeps_links=not can.rm_links)
    done: list[Act] = []
    refused: tuple[Act, ...] = ()
    for act in step.acts:
        before = dict(editor.tree)
        try:
            _perform(editor, act, states)
        except Refused as err:
            editor.tree = before
            if not isinstance(err, model.Unclear):
                refused = refused or (*done, act)
        else:
            done.append(act)
    return tuple(done), refused, model.after(base, editor.tree) if done else None


def _on_something(step: Step, states: Sequence[State]) -> bool:
    """Whether every state of a step is more than an empty difference: BuildKit v0.32.2 crashes where an action fails
    that has such a one as an input."""
    used = [*step.uses, *(act.use for act in step.acts)]
    return all(use < 0 or states[use % len(states)].layers for use in used)


def _perform(editor: model.Editor, act: Act, states: Sequence[State]) -> None:
    time = TIME + 5 * 10**9 if "time" in act.flags else None
    match act.kind:
        case "mkdir":
            editor.mkdir(act.path, act.mode, "parents" in act.flags, act.owner)
        case "mkfile":
            editor.mkfile(act.path, act.mode, act.data, act.owner, time)
        case "symlink":
            editor.symlink(act.other, act.path, act.owner, time)
        case "rm":
            editor.rm(act.path, "missing" in act.flags, _is_glob(act.path))
        case _:
            how = model.Copy(
                owner=act.owner,
                mode=None if act.mode == -1 or act.words else act.mode,
                words=WORDS.get(act.words),
                time=time,
                follow="follow" in act.flags,
                contents="contents" in act.flags,
                parents="parents" in act.flags,
                glob=_is_glob(act.path),
                empty_glob="empty" in act.flags,
                replace="replace" in act.flags,
                include=act.include,
                exclude=act.exclude,
            )
            editor.copy(states[act.use % len(states)].tree, act.path, act.other, how)


def _is_glob(path: str) -> bool:
    return any(char in path for char in "*?[")


def _graph_of(step: Step, graphs: Sequence[llb.State]) -> llb.State:
    used = [graphs[use % len(graphs)] if use >= 0 else llb.scratch() for use in step.uses]
    if step.kind == "merge":
        return llb.merge(used)
    if step.kind == "diff":
        return llb.diff(used[0], used[1])
    chain: llb.FileAction | None = None
    for act in step.acts:
        chain = _chain(chain, act, graphs)
    assert chain is not None
    return used[0].file(chain)


def _chain(on: llb.FileAction | None, act: Act, graphs: Sequence[llb.State]) -> llb.FileAction:
    owner = [llb.with_uid_gid(*act.owner)] if act.owner is not None else []
    time = [llb.with_created_time(TIME + 5 * 10**9)] if "time" in act.flags else []
    match act.kind:
        case "mkdir":
            parents = llb.with_parents("parents" in act.flags)
            return (on.mkdir if on else llb.mkdir)(act.path, act.mode, parents, *owner)
        case "mkfile":
            return (on.mkfile if on else llb.mkfile)(act.path, act.mode, act.data, *owner, *time)
        case "symlink":
            return (on.symlink if on else llb.symlink)(act.other, act.path, *owner, *time)
        case "rm":
            glob, missing = (
                llb.with_allow_wildcard(_is_glob(act.path)),
                llb.with_allow_not_found("missing" in act.flags),
            )
            return (on.rm if on else llb.rm)(act.path, glob, missing)
        case _:
            source = graphs[act.use % len(graphs)]
            return (on.copy if on else llb.copy)(source, act.path, act.other, _copy_info(act), *owner, *time)


def _copy_info(act: Act) -> llb.CopyInfo:
    mode = llb.ChmodOpt(mode_str=act.words) if act.words else llb.ChmodOpt(mode=act.mode) if act.mode != -1 else None
    return llb.CopyInfo(
        mode=mode,
        follow_symlinks="follow" in act.flags,
        copy_dir_contents_only="contents" in act.flags,
        include_patterns=act.include,
        exclude_patterns=act.exclude,
        create_dest_path="parents" in act.flags,
        allow_wildcard=_is_glob(act.path),
        allow_empty_wildcard="empty" in act.flags,
        always_replace_existing_dest_paths="replace" in act.flags,
    )


def known_time(entry: Entry) -> int:
    """The time of a file or link in seconds, 0 where only the daemon knows it."""
    return entry.time // 10**9 if entry.kind != "d" and entry.time < _UNKNOWN else 0
