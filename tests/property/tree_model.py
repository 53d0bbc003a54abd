"""What file ops, merges and diffs make of trees, told as simply as possible: a mapping from paths to entries.

The rules, in the words of a user:
- a copy follows links in the destination and in the folders above the source, never the last part of the source
  unless told to; it joins directories, replaces files and links by files and links, and refuses everything else;
- patterns take entries, and with an entry the directories above it;
- a merge lays the *layers* of its inputs over each other: each file op makes one layer of what it changed and of
  what it removed, so a removal reaches what an earlier input brought;
- a difference is the layers that one state has more than the other, or else what has to change between their trees.

Directories' times, hard links and extended attributes are not modelled. `Refused` stands for any error of a daemon.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

ROOT = "/"
MAX_LINKS = 255


class Refused(Exception):
    """A daemon fails here."""


class Unclear(Refused):
    """What happens here depends on the daemon's own file system."""


@dataclass(frozen=True)
class Entry:
    """A directory ("d"), file ("f") or link ("l"): its permissions, owner, content or target, and time."""

    kind: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    data: bytes = b""
    time: int = 0


Tree = Mapping[str, Entry]
"""Entries by absolute path; the root has none."""

_TOP = Entry("d")


@dataclass(frozen=True, eq=False)
class Layer:
    """What one op changed: entries with the directories above them, and the paths that it removed."""

    entries: Tree
    removed: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class State:
    """A tree, the layers that it is made of, and the state that a file op changed to make it.

    Two states are the same only when one op made them.
    """

    tree: Tree = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    base: State | None = None


def lookup(tree: Tree, path: str) -> Entry | None:
    """What is at a path, no link followed."""
    return _TOP if path == ROOT else tree.get(path)


def resolve(tree: Tree, path: str, follow_last: bool = True) -> str:
    """The path with its links followed inside the tree; what does not exist stays as it is."""
    todo = [part for part in path.split("/") if part not in ("", ".")]
    at, links = ROOT, 0
    while todo:
        part = todo.pop(0)
        if part == "..":
            at = posixpath.dirname(at)
            continue
        here = lookup(tree, at)
        if here is not None and here.kind != "d":
            raise Refused(f"{at} is no directory")
        step = posixpath.join(at, part)
        found = lookup(tree, step)
        if found is None or found.kind != "l" or (not todo and not follow_last):
            at = step
            continue
        links += 1
        if links > MAX_LINKS:
            raise Refused("too many links")
        target = found.data.decode()
        at = ROOT if target.startswith("/") else at
        todo = [each for each in target.split("/") if each not in ("", ".")] + todo
    return at


def below(tree: Tree, path: str) -> list[str]:
    """All paths below a directory, each after the directories above it."""
    prefix = path.rstrip("/") + "/"
    return sorted((each for each in tree if each.startswith(prefix)), key=lambda each: each.split("/"))


def pattern(glob: str) -> re.Pattern[str]:
    """A wildcard pattern: `*` and `?` stop at slashes, `**` does not."""
    text = re.escape(glob)
    text = text.replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return re.compile(re.sub(r"\\\[(\w+)\\\]", r"[\1]", text) + r"\Z")


def wildcards(tree: Tree, path: str, follow: bool) -> list[str]:
    """The paths that a path with wildcards stands for."""
    parts = [part for part in path.split("/") if part]
    first = next((i for i, part in enumerate(parts) if re.search(r"[*?\[]", part)), None)
    if first is None:
        return [path]
    base = resolve(tree, ROOT + "/".join(parts[:first]), follow)
    if lookup(tree, base) is None:
        raise Refused(f"{base} does not exist")
    glob = pattern("/".join(parts[first:]))
    prefix = base.rstrip("/") + "/"
    return [each for each in below(tree, base) if glob.match(each[len(prefix) :])]


class Patterns:
    """Include or exclude patterns: the last one that matches a path or a directory above it decides."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules = [(pattern(each.removeprefix("!")), not each.startswith("!")) for each in patterns]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def match(self, path: str) -> bool:
        parts = path.split("/")
        taken = False
        for glob, positive in self._rules:
            if any(glob.match("/".join(parts[: count + 1])) for count in range(len(parts))):
                taken = positive
        return taken


@dataclass(frozen=True)
class Copy:
    """The options of a copy; `words` changes permissions, given the old ones and whether it is a directory."""

    owner: tuple[int, int] | None = None
    mode: int | None = None
    words: Callable[[int, bool], int] | None = None
    time: int | None = None
    follow: bool = False
    contents: bool = False
    parents: bool = False
    glob: bool = False
    empty_glob: bool = False
    replace: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Editor:
    """A tree that file actions change.

    Args:
        now: the time of what they make.
        keeps_links: never remove links: old daemons remove what they point to.
    """

    def __init__(self, tree: Tree, now: Callable[[], int], keeps_links: bool = False) -> None:
        self.tree = dict(tree)
        self._now = now
        self._keeps_links = keeps_links

    def _put(self, path: str, entry: Entry) -> None:
        above = lookup(self.tree, posixpath.dirname(path))
        if above is None or above.kind != "d":
            raise Refused(f"nothing can be made at {path}")
        self.tree[path] = entry

    def _drop(self, path: str) -> None:
        for each in [path, *below(self.tree, path)]:
            self.tree.pop(each, None)

    def mkdir(self, path: str, mode: int, parents: bool, owner: tuple[int, int] | None) -> None:
        path = resolve(self.tree, path)
        if parents:
            self._make_all(path, mode, owner)
        elif lookup(self.tree, path) is None:
            self._put(path, _owned(Entry("d", mode & 0o777), owner))

    def _make_all(self, path: str, mode: int, owner: tuple[int, int] | None) -> None:
        found = lookup(self.tree, path)
        if found is not None:
            if found.kind != "d":
                raise Refused(f"{path} is no directory")
            return
        self._make_all(posixpath.dirname(path), mode, owner)
        self._put(path, _owned(Entry("d", mode & 0o777), owner))

    def mkfile(self, path: str, mode: int, data: bytes, owner: tuple[int, int] | None, time: int | None) -> None:
        path = resolve(self.tree, path)
        found = lookup(self.tree, path)
        if found is not None and found.kind != "f":
            raise Refused(f"{path} is a directory")
        entry = replace(found or Entry("f", mode & 0o777), data=data, time=time or self._now())
        if owner is not None:
            entry = replace(entry, mode=entry.mode & ~0o4000)  # as chown(2) does
        self._put(path, _owned(entry, owner))

    def symlink(self, target: str, path: str, owner: tuple[int, int] | None, time: int | None) -> None:
        path = resolve(self.tree, path)
        if lookup(self.tree, path) is not None:
            raise Refused(f"{path} exists")
        self._put(path, _owned(Entry("l", 0o777, data=target.encode(), time=time or self._now()), owner))

    def rm(self, path: str, missing_ok: bool, glob: bool) -> None:
        for each in wildcards(self.tree, path, False) if glob else [path]:
            above, name = posixpath.split(each)
            place = posixpath.join(resolve(self.tree, above), name)
            parent = lookup(self.tree, posixpath.dirname(place))
            if parent is not None and parent.kind != "d":
                raise Refused(f"{place} is below a file")
            found = lookup(self.tree, place)
            if not missing_ok and found is None:
                raise Refused(f"{place} does not exist")
            if found is not None and found.kind == "l" and (self._keeps_links or not missing_ok):
                raise Unclear("a daemon looks at what a link points to before it removes the link")
            self._drop(place)

    def copy(self, source: Tree, src: str, dst: str, how: Copy) -> None:
        if how.follow and any(_loops(source, path) for path in source):
            raise Unclear("whether a daemon follows a link that it does not copy")
        if not how.parents and lookup(self.tree, posixpath.dirname(resolve(self.tree, dst))) is None:
            raise Refused(f"no directory for {dst}")
        matches = wildcards(source, src, how.follow) if how.glob else [src]
        if not matches and not how.empty_glob:
            raise Refused(f"nothing matches {src}")
        for match in matches:
            self._copy_one(source, match, dst, how)

    def _copy_one(self, source: Tree, src: str, dst: str, how: Copy) -> None:
        mode = how.mode if how.mode is not None else 0o755
        wanted = dst if dst.endswith("/") else posixpath.dirname(dst)
        self._make_all(resolve(self.tree, wanted), mode, how.owner)
        target = resolve(self.tree, dst)
        start = resolve(source, src, how.follow)
        node = lookup(source, start)
        if node is None:
            raise Refused(f"{src} does not exist")
        there = lookup(self.tree, target)
        is_dir = node.kind == "d"
        if there is not None and ((is_dir and not how.contents) or (not is_dir and there.kind == "d")):
            target = posixpath.join(target, posixpath.basename(src.rstrip("/"))).rstrip("/") or ROOT
        parent = target if is_dir and how.contents and there is None else posixpath.dirname(target)
        self._make_all(parent, mode, how.owner)
        self._place(node, target, how, keep=True)
        if is_dir:
            self._copy_below(source, start, target, how)

    def _copy_below(self, source: Tree, start: str, target: str, how: Copy) -> None:
        include, exclude = Patterns(how.include), Patterns(how.exclude)
        prefix = start.rstrip("/") + "/"
        made: set[str] = set()
        everywhere = bool(how.include) or any(each.startswith("!") for each in how.exclude)
        for path in below(source, start):
            name = path[len(prefix) :]
            if (include and not include.match(name)) or exclude.match(name):
                if everywhere and source[path].kind == "d":
                    self._look(posixpath.join(target, name))
                continue
            parts = name.split("/")
            for count in range(1, len(parts)):
                above = "/".join(parts[:count])
                if above not in made:
                    made.add(above)
                    self._pass_through(source[prefix + above], posixpath.join(target, above), how)
            made.add(name)
            self._place(source[path], posixpath.join(target, name), how)

    def _look(self, target: str) -> None:
        """A daemon looks at the place of every directory on its way, taken or not."""
        above = lookup(self.tree, posixpath.dirname(target))
        if above is not None and above.kind != "d":
            raise Refused(f"{target} is below a file")

    def _pass_through(self, node: Entry, target: str, how: Copy) -> None:
        """A directory that patterns did not take, above something that they take: one that exists keeps its owner."""
        there = lookup(self.tree, target)
        if there is None:
            self._place(node, target, how)
        elif there.kind == "d":
            self._put(target, replace(there, mode=node.mode))
        else:
            raise Refused(f"{target} is no directory")

    def _place(self, node: Entry, target: str, how: Copy, *, keep: bool = False) -> None:
        there = lookup(self.tree, target)
        if there is not None and how.replace and "d" in (there.kind, node.kind) and there.kind != node.kind:
            if target == ROOT:
                raise Refused("the root cannot be replaced")
            self._drop(target)
            there = None
        if there is not None and (there.kind == "d") != (node.kind == "d"):
            raise Refused(f"{target} is of another kind")
        if target == ROOT or (keep and there is not None and node.kind == "d"):
            return
        self._put(target, changed(node, how))


def _loops(tree: Tree, path: str) -> bool:
    try:
        resolve(tree, path)
    except Refused:
        return True
    return False


def _owned(entry: Entry, owner: tuple[int, int] | None) -> Entry:
    return entry if owner is None else replace(entry, uid=owner[0], gid=owner[1])


def changed(node: Entry, how: Copy) -> Entry:
    """A copied entry with the owner, permissions and time that the copy asks for."""
    entry = _owned(node, how.owner)
    if node.kind != "l" and how.words is not None:
        entry = replace(entry, mode=how.words(node.mode, node.kind == "d"))
    elif node.kind != "l" and how.mode is not None:
        entry = replace(entry, mode=how.mode & 0o7777)
    return entry if how.time is None else replace(entry, time=how.time)


def changes(lower: Tree, upper: Tree) -> Layer:
    """What has to be laid over a tree to make another one of it."""
    removed = {path for path in lower if path not in upper and _directory_in(upper, path)}
    kept = {path for path, entry in upper.items() if path not in lower or not _same(lower[path], entry)}
    for path in list(kept | removed):
        above = posixpath.dirname(path)
        while above != ROOT:
            kept.add(above)
            above = posixpath.dirname(above)
    return Layer({path: upper[path] for path in kept}, frozenset(removed))


def _directory_in(tree: Tree, path: str) -> bool:
    """Whether the directory of a path is one in that tree: else the path went away together with it."""
    above = lookup(tree, posixpath.dirname(path))
    return above is not None and above.kind == "d"


def _same(one: Entry, other: Entry) -> bool:
    return one == other or (one.kind == other.kind == "d" and replace(one, time=0) == replace(other, time=0))


def lay(layers: Sequence[Layer]) -> dict[str, Entry]:
    """The tree of layers that are laid over each other."""
    tree: dict[str, Entry] = {}
    for layer in layers:
        for path in layer.removed:
            for each in [path, *below(tree, path)]:
                tree.pop(each, None)
        for path in sorted(layer.entries, key=lambda each: each.split("/")):
            entry, there = layer.entries[path], tree.get(path)
            if there is not None and there.kind == "d" and entry.kind != "d":
                for each in below(tree, path):
                    del tree[each]
            tree[path] = entry
    return tree


def after(state: State | None, tree: Tree) -> State:
    """The state of a file op that made a tree of another state's."""
    if state is None or not state.layers:
        return State(tree, (Layer(tree),))
    return State(tree, (*state.layers, changes(state.tree, tree)), state)


def merge(states: Sequence[State]) -> State:
    """The states on top of each other."""
    given = [state for state in states if state.layers]
    if not given:
        raise Unclear("BuildKit has no result for a merge of nothing")
    if len(given) == 1:
        return given[0]
    layers = tuple(layer for state in given for layer in state.layers)
    return State(lay(layers), layers)


def diff(lower: State, upper: State) -> State:
    """What an upper state has more than a lower one."""
    if not lower.layers:
        return upper
    if lower is upper:
        return State()
    count = len(lower.layers)
    several = len(upper.layers) > count + 1 and upper.layers[:count] == lower.layers
    if several or upper.base is lower:
        layers = upper.layers[count:]
    else:
        layers = (changes(lower.tree, upper.tree),)
    return State(lay(layers), layers)
